//! The lifecycle as a table: (state, event) → (state, action). Pure: nothing runs in here.
//!
//! The hazard is an end that comes from several sides at once: a second Ctrl+C during a teardown, `up` dying while the
//! engine is being asked, a container created after `down` has looked. As data, each of these is one row that a test
//! can name.

use std::time::Duration;

use crate::command::Interrupt;
pub(super) use crate::command::PATIENCE;
use crate::compose::DownScope;

mod state;

pub(super) use state::{Action, End, EndCause, Force, Judgement, Phase, Policy, RunEvent, State, Undo, Up, UpShutdown};

/// How long `up` gets, after `down` is done, to print the last logs and end by itself.
pub(super) const DRAIN: Duration = Duration::from_secs(3);
/// How long after a cut-off `up` the engine may still be busy with a container that was asked for before.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);
/// How often it asks meanwhile.
pub(super) const RETRY: Duration = Duration::from_millis(500);

impl State {
    /// A run that begins with `up`.
    pub(super) const STARTING: State = State {
        phase: Phase::Running,
        cause: None,
        force: Force::Graceful,
        up: Up::Alive,
        shutdown: None,
        start_is_over: false,
        has_started: false,
        again: false,
    };

    /// A run that begins when everything has been started, and waits until it is ready.
    pub(super) const WAITING: State = State { phase: Phase::Waiting, up: Up::Over, ..State::STARTING };

    /// The teardown after a command for which the stack was started. Others may have had the lock meanwhile.
    pub(super) fn after_the_command() -> (State, Action) {
        let state = State { cause: Some(EndCause::Requested), up: Up::Over, ..State::STARTING };
        state.to(Phase::Locking, Action::Lock)
    }

    /// A run that is nothing but a teardown; it begins with [`Action::Undo`].
    pub(super) fn taking_down(reach: DownScope) -> State {
        State { phase: Phase::Undoing(reach), cause: Some(EndCause::Requested), up: Up::Over, ..State::STARTING }
    }

    /// As [`State::taking_down`], of a stack that another run is attached to: it begins with [`Action::Stop`].
    pub(super) fn stopping() -> State {
        State { phase: Phase::Stopping, ..State::taking_down(DownScope::File) }
    }

    /// A run that has started a part of the stack and goes no further.
    pub(super) fn given_up(policy: Policy, cause: EndCause) -> (State, Action) {
        let state = State { cause: Some(cause), up: Up::Over, ..State::STARTING };
        match (policy.undo, cause) {
            (Undo::Nothing, _) => state.end(End::Clean),
            _ if state.leaves_what_it_found(policy) => state.end(End::Clean),
            // What failed may be looked at; an interrupt stops it.
            (Undo::StopOnly, EndCause::Failed) => state.end(End::Clean),
            (Undo::Remove | Undo::StopOnly, _) => state.undo(DownScope::File),
        }
    }

    /// A run that goes on after the process that began it has died; it begins with [`Action::Look`].
    pub(super) fn orphaned(force: Force) -> State {
        State { phase: Phase::Looking, cause: Some(EndCause::Requested), force, ..State::STARTING }
    }

    fn to(self, phase: Phase, action: Action) -> (State, Action) {
        (State { phase, ..self }, action)
    }

    fn end(self, end: End) -> (State, Action) {
        self.to(Phase::Ended(end), Action::Finish)
    }

    fn undo(self, reach: DownScope) -> (State, Action) {
        self.to(Phase::Undoing(reach), Action::Undo(reach))
    }

    fn cut_up_and_undo(mut self) -> (State, Action) {
        self.up = Up::CutOff;
        self.to(Phase::Undoing(DownScope::File), Action::KillUpAndUndo(DownScope::File))
    }

    fn check(self, policy: Policy, reach: DownScope) -> (State, Action) {
        match policy.undo {
            Undo::Nothing => self.end(End::Clean),
            Undo::Remove | Undo::StopOnly => self.to(Phase::Checking(reach), Action::Check),
        }
    }

    /// With every container started: nothing that `up` has asked the engine for is open.
    fn shut_down_up(mut self, policy: Policy) -> (State, Action) {
        match self.shutdown {
            // Nothing is attached, or nothing is removed.
            _ if policy.undo == Undo::StopOnly || policy.leaves_running => self.undo(DownScope::File),
            Some(UpShutdown::Attached) => self.undo(DownScope::File),
            Some(UpShutdown::Cut) | None => {
                self.up = Up::Over;
                self.to(Phase::Undoing(DownScope::File), Action::KillUpAndUndo(DownScope::File))
            }
        }
    }

    /// After the engine has not answered what is left.
    fn wait_for_engine(self, reach: DownScope, patience: bool) -> (State, Action) {
        if patience && self.force == Force::Graceful {
            self.to(Phase::Away(reach), Action::Wait(RETRY))
        } else {
            self.end(End::Incomplete)
        }
    }

    /// Whether a run that has failed leaves the stack alone: it ran before, and not everything had been started anew.
    pub(super) fn leaves_what_it_found(self, policy: Policy) -> bool {
        let is_broken_off = self.up == Up::CutOff && self.shutdown.is_none() && self.cause == Some(EndCause::Failed);
        let comes_before = policy.precedes_build && matches!(self.cause, Some(EndCause::Failed | EndCause::Late));
        policy.found_running && (is_broken_off || comes_before)
    }

    /// Another `up` follows the one that is over.
    fn restart(mut self) -> (State, Action) {
        (self.again, self.shutdown, self.start_is_over) = (false, None, false);
        let action = if self.up == Up::Alive { Action::KillUpAndLock } else { Action::Lock };
        // What it has asked the engine for is done.
        self.up = Up::Over;
        self.to(Phase::Restarting, action)
    }

    /// After `up` has ended by itself, and what became of it is known.
    fn over(mut self, policy: Policy, judgement: Judgement) -> (State, Action) {
        self.cause = Some(match judgement {
            Judgement::Well | Judgement::StoppedElsewhere => EndCause::Finished,
            Judgement::Badly => EndCause::Failed,
            Judgement::TooSlowly => EndCause::Late,
            Judgement::StillUp => return self.to(Phase::Staying, Action::Stay),
        });
        let is_wanted = judgement != Judgement::StoppedElsewhere;
        // An `up` that has started everything ends well, unless it was struck. One that cannot start a change can be mended by the next.
        let is_over_by_itself = self.up == Up::Over || self.has_started && !self.start_is_over;
        if policy.watches && is_wanted && is_over_by_itself {
            self.cause = None;
            return if self.again { self.restart() } else { self.to(Phase::Resting, Action::Rest) };
        }
        match policy.undo {
            _ if self.cause == Some(EndCause::Finished) && policy.leaves_running => self.end(End::Clean),
            _ if self.leaves_what_it_found(policy) => self.end(End::Clean),
            Undo::Remove => self.to(Phase::Locking, Action::Lock),
            Undo::StopOnly | Undo::Nothing => self.end(End::Clean),
        }
    }
}

/// The table.
pub(super) fn next(policy: Policy, mut state: State, event: RunEvent) -> (State, Action) {
    use Phase::{
        Away, Checking, CheckingAgain, CheckingBack, Draining, Ended, Judging, Locking, Looking, Restarting, Resting,
        Running, Settling, Staying, Stopping, Undoing, Waiting,
    };
    match (state.phase, event) {
        (Ended(_), _) => (state, Action::Idle),

        // Escalation: first graceful, then at once, then we leave.
        (_, RunEvent::Interrupt(interrupt)) => interrupted(policy, state, interrupt),

        // A stack that just runs may be changed by others.
        (Running, RunEvent::Started { shutdown }) => {
            (state.shutdown, state.start_is_over, state.has_started) = (shutdown, true, true);
            if state.again { state.restart() } else { (state, Action::Unlock) }
        }

        (_, RunEvent::Again) if !policy.watches => (state, Action::Idle),
        (Running, RunEvent::Again) if state.up == Up::Alive && state.start_is_over => state.restart(),
        (Running | Judging, RunEvent::Again) => {
            state.again = true;
            (state, Action::Idle)
        }
        (Resting | Staying, RunEvent::Again) => state.restart(),
        (Restarting, RunEvent::Locked) => {
            state.up = Up::Alive;
            state.to(Running, Action::StartAgain)
        }

        (Running, RunEvent::UpEnded { success }) => {
            state.up = if success { Up::Over } else { Up::CutOff };
            if success && policy.waits { state.to(Waiting, Action::Idle) } else { state.to(Judging, Action::Judge) }
        }
        // It waits for something that does not matter any more.
        (Running, RunEvent::Settled { .. }) => {
            state.up = Up::CutOff;
            state.to(Judging, Action::KillUpAndJudge)
        }
        (Waiting, RunEvent::Settled { .. }) => state.to(Judging, Action::Judge),
        (phase, RunEvent::UpEnded { success }) => {
            // Ended under a teardown: if not with 0, then in the middle of something.
            if state.up == Up::Alive {
                state.up = if success { Up::Over } else { Up::CutOff };
            }
            match phase {
                Draining(reach) => state.check(policy, reach),
                _ => (state, Action::Idle),
            }
        }
        (Judging, RunEvent::Judged(judgement)) => state.over(policy, judgement),
        (Staying, RunEvent::Over { known: true }) => state.to(Judging, Action::Judge),
        (Staying, RunEvent::Over { known: false }) => state.over(policy, Judgement::Badly),

        (Locking, RunEvent::Locked) => match state.up {
            Up::Alive if state.shutdown.is_some() => state.shut_down_up(policy),
            Up::Alive => state.to(Looking, Action::Look),
            Up::Over | Up::CutOff => state.undo(DownScope::File),
        },
        (Looking, RunEvent::Looked { .. }) if state.up != Up::Alive => state.undo(DownScope::File),
        (Looking, RunEvent::Looked { shutdown: Some(shutdown) }) => {
            state.shutdown = Some(shutdown);
            state.shut_down_up(policy)
        }
        (Looking, RunEvent::Looked { .. }) => state.cut_up_and_undo(),
        (Stopping, RunEvent::UndoEnded) => state.undo(DownScope::File),
        (Undoing(reach), RunEvent::UndoEnded) => match state.up {
            Up::Alive => state.to(Draining(reach), Action::Wait(DRAIN)),
            Up::Over | Up::CutOff => state.check(policy, reach),
        },
        (Draining(_), RunEvent::TimeIsUp) if state.up == Up::Alive => {
            // Still busy although its containers are gone: it was building or pulling, and would start them again.
            state.up = Up::CutOff;
            (state, Action::KillUp)
        }
        // Something that a broken-off `up` had asked for may still be to come.
        (Checking(_) | CheckingBack(_), RunEvent::Checked { clean: true }) if state.up == Up::CutOff => {
            state.to(Settling, Action::Wait(SETTLE))
        }
        (Settling, RunEvent::TimeIsUp) => state.to(CheckingAgain, Action::Check),
        (Checking(_) | CheckingAgain | CheckingBack(_), RunEvent::Checked { clean: true }) => state.end(End::Clean),
        // What was tried without an engine has failed for that reason alone.
        (CheckingBack(reach), RunEvent::Checked { clean: false }) => state.undo(reach),
        (Checking(_) | CheckingAgain, RunEvent::Checked { clean: false }) if policy.undo == Undo::StopOnly => {
            state.end(End::Incomplete)
        }
        (Checking(DownScope::File) | CheckingAgain, RunEvent::Checked { clean: false }) => {
            state.undo(DownScope::Everything)
        }
        (Checking(DownScope::Everything), RunEvent::Checked { clean: false }) => state.undo(DownScope::ByName),
        (Checking(DownScope::ByName), RunEvent::Checked { clean: false }) => state.end(End::Incomplete),
        (Checking(reach) | CheckingBack(reach), RunEvent::Unanswered { patience }) => {
            state.wait_for_engine(reach, patience)
        }
        (CheckingAgain, RunEvent::Unanswered { patience }) => state.wait_for_engine(DownScope::File, patience),
        (Away(reach), RunEvent::TimeIsUp) => state.to(CheckingBack(reach), Action::Check),

        // An answer that came too late to matter.
        _ => (state, Action::Idle),
    }
}

fn interrupted(policy: Policy, mut state: State, interrupt: Interrupt) -> (State, Action) {
    use Phase::{
        Away, Draining, Judging, Locking, Looking, Restarting, Resting, Running, Staying, Stopping, Undoing, Waiting,
    };
    let before = state.cause;
    if before == Some(EndCause::Interrupted(Interrupt::Hup)) && interrupt == Interrupt::Hup {
        // A closing terminal is often told of twice, by the kernel and by the shell; that is no second wish.
        return (state, Action::Idle);
    }
    if !matches!(before, Some(EndCause::Interrupted(_))) {
        state.cause = Some(EndCause::Interrupted(interrupt));
    }
    match (state.phase, state.force) {
        (Running | Waiting | Judging | Staying, _) if policy.undo == Undo::Nothing => match state.up {
            Up::Alive => {
                state.up = Up::CutOff;
                state.to(Draining(DownScope::File), Action::KillUp)
            }
            Up::Over | Up::CutOff => state.end(End::Clean),
        },
        (Running | Waiting | Judging | Staying | Resting | Restarting, _) => state.to(Locking, Action::Lock),
        (_, Force::AtOnce) => state.end(End::Abandoned),
        // A teardown that started by itself continues: the first interrupt only asks for an end.
        _ if matches!(before, Some(EndCause::Finished | EndCause::Failed | EndCause::Late))
            && policy.undo != Undo::Nothing =>
        {
            (state, Action::Idle)
        }
        // One that was asked for is hurried up by the first interrupt already.
        (phase, Force::Graceful) => {
            state.force = Force::AtOnce;
            match phase {
                _ if policy.undo == Undo::Nothing => (state, Action::Idle),
                Locking | Looking if state.up == Up::Alive => state.cut_up_and_undo(),
                Locking | Looking | Stopping => state.undo(DownScope::File),
                Away(_) => state.end(End::Incomplete),
                Undoing(reach) | Draining(reach) => state.undo(reach),
                _ => (state, Action::Idle),
            }
        }
    }
}

#[cfg(test)]
mod tests;
