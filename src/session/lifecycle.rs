//! The lifecycle as a table: (state, event) → (state, action). Pure: nothing runs in here.
//!
//! The hazard is an end that comes from several sides at once: a second Ctrl+C during a teardown, `up` dying while the
//! engine is being asked, a container created after `down` has looked. As data, each of these is one row that a test
//! can name.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::Interrupt;
pub(super) use crate::command::PATIENCE;
use crate::compose::DownScope;

/// How long `up` gets, after `down` is done, to print the last logs and end by itself.
pub(super) const DRAIN: Duration = Duration::from_secs(3);
/// How long after a cut-off `up` the engine may still be busy with a container that was asked for before.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);
/// How often it asks meanwhile.
pub(super) const RETRY: Duration = Duration::from_millis(500);

/// What a run has to undo when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Undo {
    /// Stop and remove the whole stack.
    Remove,
    /// Stop it if it is interrupted, remove nothing (`--keep` in the foreground).
    StopOnly,
    /// Leave everything as it is (`--keep`, or a stack that ran before we came).
    Nothing,
}

/// What a run is for, fixed before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// Whether a stack that started well outlives the run.
    pub leaves_running: bool,
    /// Whether it has started well only when all of it is ready.
    pub waits: bool,
    /// What any other end undoes.
    pub undo: Undo,
    /// Whether some of the stack was up before the run: if the run does not get it started, it leaves it as it is.
    pub found_running: bool,
    /// Whether it starts what crates depend on, before they are built.
    pub precedes_build: bool,
}

/// Why the run is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndCause {
    /// Somebody asked for a teardown.
    Requested,
    /// The first interrupt.
    Interrupted(Interrupt),
    /// `up` ended by itself, and all is well.
    Finished,
    /// `up` or a container failed.
    Failed,
    /// The stack was not ready in time.
    Late,
}

/// How the containers fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// As they should.
    Well,
    /// Some failed.
    Badly,
    /// None failed, but some were not ready in time.
    TooSlowly,
    /// `up` has ended, and some run on to which it was not attached.
    StillUp,
}

/// How much patience a teardown has with containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Force {
    /// Each gets its grace to end on SIGTERM.
    Graceful,
    /// None at all.
    AtOnce,
}

/// Where `up` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Up {
    /// Running.
    Alive,
    /// Over by itself, after everything it had asked the engine for was answered.
    Over,
    /// Killed or broken off in the middle: the engine may still be busy for it.
    CutOff,
}

/// How an `up` whose containers have all been started is ended (`spec/dev/process-mgmt.md` has the measurements).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpShutdown {
    /// It is killed, which no container notices, and `down` runs: right with every version of Compose.
    Cut,
    /// `down` runs while it is attached, so that it shows the last logs and ends by itself: not with a version that may
    /// crash when its containers vanish.
    Attached,
}

/// Where the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// `up` runs.
    Running,
    /// `up` has ended by itself, and what it has started becomes ready.
    Waiting,
    /// The start has ended; the engine is asked for the state of the containers.
    Judging,
    /// `up` has ended by itself, and containers run on to which it was not attached.
    Staying,
    /// Waiting for the project's lock, for a teardown.
    Locking,
    /// Interrupted; the engine is asked whether everything has started.
    Looking,
    /// A `stop` runs before the `down`, so that the `up` of an attached run ends before its containers vanish.
    Stopping,
    /// A `down` runs (or a `stop`, if nothing is removed).
    Undoing(DownScope),
    /// It is done; `up`, whose containers are gone, ends.
    Draining(DownScope),
    /// The engine is asked what is left.
    Checking(DownScope),
    /// Nothing was left, but `up` was cut off: look once more a little later.
    Settling,
    /// That second look.
    CheckingAgain,
    /// The engine did not answer such a question: ask again a little later.
    Away(DownScope),
    /// That question.
    CheckingBack(DownScope),
    /// Over.
    Ended(End),
}

/// How the run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As it should: torn down and checked, or left running as asked.
    Clean,
    /// With something left on the engine, or unknown.
    Incomplete,
    /// By the third interrupt, before the teardown was done.
    Abandoned,
}

/// The whole state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Where the run is.
    pub phase: Phase,
    /// Why it is ending, once it is.
    pub cause: Option<EndCause>,
    /// How much patience is left.
    pub force: Force,
    /// Where `up` is.
    pub up: Up,
    /// What `up` is ended by, once every container of the stack is known to have been started.
    pub shutdown: Option<UpShutdown>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunEvent {
    /// A signal came.
    Interrupt(Interrupt),
    /// `up` ended; whether with exit code 0.
    UpEnded {
        /// Exit code 0.
        success: bool,
    },
    /// Everything is ready, or something never will be, or the time is over.
    Settled {
        /// Ready.
        success: bool,
    },
    /// The engine told how the containers fared.
    Judged(Judgement),
    /// Something has happened to the containers of a stack that [`Action::Stay`] watches.
    Over {
        /// None runs any more. Otherwise they cannot be watched.
        known: bool,
    },
    /// The start is over.
    Started {
        /// What `up` is ended by from now on. None if it is only no longer to be seen whether everything has started.
        shutdown: Option<UpShutdown>,
    },
    /// The project's lock is held, or cannot be had.
    Locked,
    /// The engine told whether the start is over.
    Looked {
        /// What `up` is ended by, if every container of the stack has started.
        shutdown: Option<UpShutdown>,
    },
    /// `down` or `stop` has ended.
    UndoEnded,
    /// The time of a [`Action::Wait`] is over.
    TimeIsUp,
    /// The engine told what is left.
    Checked {
        /// Nothing.
        clean: bool,
    },
    /// The engine could not be asked what is left.
    Unanswered {
        /// It has been away for less than [`PATIENCE`].
        patience: bool,
    },
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing but wait for the next event.
    Idle,
    /// Ask how the containers fared.
    Judge,
    /// First cut `up` off, then as [`Action::Judge`].
    KillUpAndJudge,
    /// Send [`RunEvent::Over`] when no container of the stack runs any more; meanwhile let others have the project's lock.
    Stay,
    /// Let others have the project's lock.
    Unlock,
    /// Take the project's lock.
    Lock,
    /// Ask whether everything has started.
    Look,
    /// Run `stop`.
    Stop,
    /// Run `down` this wide (or `stop`), in place of one that may still be running.
    Undo(DownScope),
    /// First cut `up` off, then as [`Action::Undo`].
    KillUpAndUndo(DownScope),
    /// Cut `up` off and go on when it has ended.
    KillUp,
    /// Send [`RunEvent::TimeIsUp`] after this time.
    Wait(Duration),
    /// Ask what is left.
    Check,
    /// Return.
    Finish,
}

impl State {
    /// A run that begins with `up`.
    pub(super) const STARTING: State =
        State { phase: Phase::Running, cause: None, force: Force::Graceful, up: Up::Alive, shutdown: None };

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

    /// After `up` has ended by itself, and what became of it is known.
    fn over(mut self, policy: Policy, judgement: Judgement) -> (State, Action) {
        self.cause = Some(match judgement {
            Judgement::Well => EndCause::Finished,
            Judgement::Badly => EndCause::Failed,
            Judgement::TooSlowly => EndCause::Late,
            Judgement::StillUp => return self.to(Phase::Staying, Action::Stay),
        });
        match policy.undo {
            _ if judgement == Judgement::Well && policy.leaves_running => self.end(End::Clean),
            _ if self.leaves_what_it_found(policy) => self.end(End::Clean),
            Undo::Remove => self.to(Phase::Locking, Action::Lock),
            Undo::StopOnly | Undo::Nothing => self.end(End::Clean),
        }
    }
}

/// The table.
pub(super) fn next(policy: Policy, mut state: State, event: RunEvent) -> (State, Action) {
    use Phase::{
        Away, Checking, CheckingAgain, CheckingBack, Draining, Ended, Judging, Locking, Looking, Running, Settling,
        Staying, Stopping, Undoing, Waiting,
    };
    match (state.phase, event) {
        (Ended(_), _) => (state, Action::Idle),

        // Escalation: first graceful, then at once, then we leave.
        (_, RunEvent::Interrupt(interrupt)) => interrupted(policy, state, interrupt),

        // A stack that just runs may be changed by others.
        (Running, RunEvent::Started { shutdown }) => {
            state.shutdown = shutdown;
            (state, Action::Unlock)
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
    use Phase::{Away, Draining, Judging, Locking, Looking, Running, Staying, Stopping, Undoing, Waiting};
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
        (Running | Waiting | Judging | Staying, _) => state.to(Locking, Action::Lock),
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
