//! One run: turns arrivals on its channel into events of the lifecycle table, and carries out the actions.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use anyhow::Context as _;
use jiff::Timestamp;

use super::readiness::Readiness;
use super::undoing::{Answers, Undoing};
use super::up::UpClient;
use super::{Arrival, Mode, Options, Outcome, Plan, Run, Runner, Teardown, waiting_for_others};
use crate::command::{Echo, Executor, Invocation, OnExit, Pending, Running, Show};
use crate::compose::{Attach, Compose, forget_overlay};
use crate::engine;
use crate::reporter::{Logger, Verbosity};
use crate::session::guard::{Guard, GuardTask};
use crate::session::lifecycle::{self, Action, End, EndCause, Phase, RunEvent, SETTLE, State, Undo};
use crate::session::lock::{HeldFor, ProjectLock};
use crate::session::preparation::Preparation;
use crate::stack::diagnosis::Finding;
use crate::stack::observer::Observation;

impl<'a> Run<'a> {
    /// Hooks the interrupts, so that none can fall between this and the first spawn.
    pub(super) fn new(
        runner: &'a Runner<'a>,
        compose: &'a Compose,
        mode: Mode<'a>,
        teardown: Teardown,
        state: State,
        lock: ProjectLock,
    ) -> anyhow::Result<Run<'a>> {
        let (sender, receiver) = mpsc::channel();
        let interrupts = sender.clone();
        // Nobody to receive it means that the run is over.
        (runner.hook)(Box::new(move |interrupt| {
            let _ = interrupts.send(Arrival::Interrupt(interrupt, Instant::now()));
        }))?;
        let plan = mode.plan();
        Ok(Run {
            runner,
            compose,
            mode,
            policy: mode.policy(),
            state,
            expected: plan.as_ref().map(Plan::expected).unwrap_or_default(),
            plan,
            next_plan: None,
            clock: None,
            guard: Guard::none(),
            lock: Some(lock),
            sender,
            receiver,
            deadline: None,
            began: Instant::now(),
            echo: Echo::default(),
            up: UpClient::default(),
            readiness: Readiness::default(),
            undoing: Undoing::new(teardown),
            summary: None,
            answers: Answers::default(),
            watching: None,
            builder: None,
        })
    }

    /// From here on the guard tears the stack down if the run dies.
    pub(super) fn arm(&mut self) {
        let task = GuardTask {
            root: self.compose.root().to_owned(),
            project: self.compose.project().clone(),
            is_isolated: self.compose.is_isolated(),
            expected: self.expected.clone(),
            start: self.plan.as_ref().map(|plan| plan.up(self.compose).argv()),
            undo: self.policy.undo,
            timeout: self.grace_of_an_interrupt(),
            volumes: self.undoing.options.volumes,
            images: self.undoing.options.images,
        };
        let lock = self.lock.as_ref().context("the lock is away");
        match lock.and_then(|lock| (self.runner.arm)(&task, lock)) {
            Ok(guard) => self.guard = guard,
            Err(error) => self
                .logger()
                .warn(&format!("this run has no guard, `kill -9` would leave the stack running: {error:#}")),
        }
    }

    /// Interrupts that came before they were hooked here.
    pub(super) fn add_pending(&self, interrupts: Option<&Pending>) {
        if let Some(interrupt) = interrupts.and_then(Pending::take) {
            let _ = self.sender.send(Arrival::Interrupt(interrupt, Instant::now()));
        }
    }

    /// Spawns the `up` of the start, and whatever follows the services meanwhile. `since`: events before this time are about another one.
    ///
    /// # Errors
    /// [`crate::exit::Code::EngineUnavailable`] if docker cannot be started.
    pub(super) fn start_up(&mut self, options: &Options, since: Option<Timestamp>) -> anyhow::Result<()> {
        // Before anything listens, since events of another `up` are ignored.
        self.up.number += 1;
        if self.policy.waits {
            self.watch_what_becomes_ready();
        }
        let show = match (options.attach, options.teardown.verbosity) {
            (Attach::Detached, Verbosity::Quiet) => Show::IfItFails,
            // On a terminal Compose draws, and who sees it has read what it says.
            (Attach::Detached, Verbosity::Verbose) if !self.logger().is_terminal() => Show::LiveAndKept,
            // Nobody reads 25 lines about each image that did not change.
            (Attach::Detached, _) if !self.logger().is_terminal() => Show::ErrorsLive,
            _ => Show::Live,
        };
        let up = self.compose.up(options.attach, options.traefik, &options.args).show(show);
        self.up.line = up.to_string();
        match self.spawn(&up, Arrival::UpExited(self.up.number)) {
            Ok(up) => {
                self.guard.watch(up.id());
                self.note(HeldFor::Start, up.id());
                if options.attach == Attach::Foreground {
                    self.watch_the_start(up.id(), since);
                }
                self.up.process = Some(up);
                Ok(())
            }
            Err(error) => {
                self.guard.disarm();
                Err(engine::no_docker(error).into())
            }
        }
    }

    /// Records a command in the lock file, for the next holder, in case the command outlives the run and its guard.
    pub(super) fn note(&self, held_for: HeldFor, pid: u32) {
        if let Some(lock) = &self.lock {
            lock.note(held_for, pid);
        }
    }

    pub(super) fn logger(&self) -> &'a dyn Logger {
        self.runner.logger
    }

    pub(super) fn drive(mut self) -> Outcome {
        self.drive_to_the_end();
        self.end()
    }

    pub(super) fn drive_to_the_end(&mut self) {
        while !matches!(self.state.phase, Phase::Ended(_)) {
            let Some(event) = self.receive() else { continue };
            let before = self.state;
            let (state, action) = lifecycle::next(self.policy, before, event);
            self.state = state;
            if let RunEvent::Interrupt(interrupt) = event {
                self.tell_interrupt(interrupt, before);
            }
            if state.force != before.force {
                self.guard.hurry();
            }
            self.tell_watching(before);
            self.act(action);
        }
    }

    /// Drives on, and passes on what the next part needs if this one has ended well; otherwise, how it has ended.
    ///
    /// # Errors
    /// If interrupts cannot be hooked; then the guard takes down what was started.
    pub(super) fn drive_to_the_next_part(mut self) -> anyhow::Result<Result<Preparation, Outcome>> {
        self.drive_to_the_end();
        match (self.state.phase, self.state.cause) {
            (Phase::Ended(End::Clean), Some(EndCause::Finished)) => Ok(Ok(self.into_preparation()?)),
            _ => Ok(Err(self.end())),
        }
    }

    /// Passes on what the next part of the run needs: the lock, the guard and the interrupts.
    ///
    /// # Errors
    /// If interrupts cannot be hooked; then the guard takes down what was started.
    pub(super) fn into_preparation(mut self) -> anyhow::Result<Preparation> {
        let interrupts = Pending::default();
        (self.runner.hook)(interrupts.remember())?;
        for arrival in self.receiver.try_iter() {
            if let Arrival::Interrupt(interrupt, _) = arrival {
                interrupts.add(interrupt);
            }
        }
        self.stop_observing();
        Ok(Preparation {
            lock: self.lock.take().unwrap_or_else(ProjectLock::none),
            guard: std::mem::take(&mut self.guard),
            interrupts: Some(interrupts),
        })
    }

    /// Blocks until something happens. None if it was of no consequence.
    fn receive(&mut self) -> Option<RunEvent> {
        let message = match self.deadline {
            // Cannot fail: we hold a sender ourselves.
            None => self.receiver.recv().ok()?,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                match self.receiver.recv_timeout(left) {
                    Ok(message) => message,
                    Err(RecvTimeoutError::Timeout) => {
                        self.deadline = None;
                        return Some(RunEvent::TimeIsUp);
                    }
                    Err(RecvTimeoutError::Disconnected) => return None,
                }
            }
        };
        match message {
            Arrival::Interrupt(interrupt, now) => {
                (!self.echo.is_heard(interrupt, now)).then_some(RunEvent::Interrupt(interrupt))
            }
            Arrival::Observation(number, _) if number != self.up.number => None,
            Arrival::Observation(_, Observation::Started(containers)) => {
                if !self.waits() {
                    self.stop_observing();
                }
                let Some((containers, endpoint)) = containers else {
                    return Some(RunEvent::Started { shutdown: None });
                };
                self.undoing.known = Some(containers.clone());
                if let Some(Plan { stack, .. }) = self.plan.clone() {
                    let ours = containers.iter().filter(|container| stack.has(&container.service));
                    self.tell_attached(&endpoint, &ours.map(Finding::listed).collect::<Vec<_>>());
                }
                Some(RunEvent::Started { shutdown: self.up_shutdown(&containers) })
            }
            Arrival::Observation(_, Observation::Crashed(crash)) => {
                self.tell_crash(&crash);
                None
            }
            Arrival::Observation(_, Observation::Over(known)) => {
                self.stop_observing();
                // Otherwise it is being taken down already.
                if !known && self.state.phase == Phase::Staying {
                    self.logger().error(&format!("{} cannot be watched any longer", self.compose.project()));
                }
                Some(RunEvent::Over { known })
            }
            Arrival::Observation(_, Observation::Progress(services, start)) => {
                self.progress(services, start);
                None
            }
            Arrival::Observation(_, Observation::Settled(settled)) => self.settled(settled),
            Arrival::Ready(ready) => {
                self.tell_ready(ready);
                None
            }
            Arrival::Locked(lock) => {
                self.lock = Some(lock);
                Some(RunEvent::Locked)
            }
            Arrival::UpExited(number) if number == self.up.number => Some(self.up_ended()),
            // It was ended for another one.
            Arrival::UpExited(_) => None,
            Arrival::Again(plan, clock) => {
                self.clock = clock;
                self.next_plan = plan.map(|plan| *plan).or(self.next_plan.take());
                Some(RunEvent::Again)
            }
            Arrival::Helper(helper) => {
                self.note_helper(helper);
                None
            }
            Arrival::UndoExited(number) if number == self.undoing.number => {
                self.undo_ended();
                Some(RunEvent::UndoEnded)
            }
            Arrival::UndoExited(_) => None,
            Arrival::Probably(anonymous) => {
                self.remember(anonymous);
                None
            }
            Arrival::Late(found) => {
                self.found_late(found);
                None
            }
            Arrival::Unread(number) => {
                // It is blocked, or soon will be. The second run prints only why it failed, if it fails.
                if let Some((invocation, reach)) = self.undoing.command.take().filter(|_| number == self.undoing.number)
                {
                    self.tear(invocation, reach);
                }
                None
            }
            Arrival::Listed(listed) => {
                self.listed(listed);
                None
            }
            Arrival::Silent(number, since) => {
                if let Some(undo) = self.undoing.process.as_mut().filter(|_| number == self.undoing.number) {
                    self.answers.missing_since.get_or_insert(since);
                    undo.cut_off();
                }
                None
            }
            Arrival::Judged(verdict) => Some(self.judged(verdict)),
            Arrival::Followed => Some(self.followed()),
            Arrival::Looked(containers) => {
                self.note_silence();
                self.note_takeover(containers.as_deref().unwrap_or_default());
                self.undoing.known = containers.as_ref().ok().cloned().or(self.undoing.known.take());
                let started = containers.ok().filter(|containers| self.expected.have_started(containers));
                let shutdown = started.and_then(|containers| self.up_shutdown(&containers));
                let found = if shutdown.is_some() { "everything has started" } else { "the start is not over" };
                self.logger().detail("Asked", &format!("the engine: {found}"));
                Some(RunEvent::Looked { shutdown })
            }
            Arrival::Checked(leftovers, kept) => Some(self.checked(leftovers, kept)),
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        if action != Action::Idle {
            self.deadline = None;
        }
        match action {
            Action::Idle | Action::Finish => {}
            Action::Judge => self.judge(),
            Action::KillUpAndJudge => {
                self.kill_up();
                self.judge();
            }
            Action::Unlock => self.unlock(),
            Action::Rest => self.rest(),
            Action::KillUpAndLock => {
                self.end_up();
                self.take_lock();
            }
            Action::StartAgain => self.start_again(),
            Action::Stay => {
                self.unlock();
                self.watch_what_runs_on();
            }
            Action::Lock => self.take_lock(),
            Action::Look => {
                let project = self.compose.project().clone();
                self.answers.asked = Instant::now();
                self.ask(move |executor| Arrival::Looked(engine::containers(executor, &project)));
            }
            Action::Stop => self.stop(),
            Action::Undo(reach) => self.undo(reach),
            Action::KillUpAndUndo(reach) => {
                self.kill_up();
                self.undo(reach);
            }
            Action::KillUp => self.kill_up(),
            Action::Wait(SETTLE) => self.deadline = Some(Instant::now() + self.settling_time()),
            Action::Wait(time) => self.deadline = Some(Instant::now() + time),
            Action::Check => self.check(),
        }
    }

    pub(super) fn spawn(&self, invocation: &Invocation, ended: Arrival) -> std::io::Result<Box<dyn Running>> {
        let sender = self.sender.clone();
        let on_exit: OnExit = Box::new(move || {
            let _ = sender.send(ended);
        });
        self.runner.commander.spawn(invocation, on_exit)
    }

    /// Asks in a thread of its own, so that interrupts are handled while the engine does not answer.
    pub(super) fn ask(&self, question: impl FnOnce(&dyn Executor) -> Arrival + Send + 'static) {
        let commander = self.runner.commander.clone();
        let sender = self.sender.clone();
        thread::spawn(move || {
            let _ = sender.send(question(&commander));
        });
    }

    pub(super) fn unlock(&mut self) {
        if let Some(lock) = &mut self.lock {
            lock.give_back();
        }
    }

    /// Takes the lock, in a thread of its own if somebody else holds it: an interrupt is heard meanwhile, and a second one
    /// goes ahead without.
    fn take_lock(&mut self) {
        // If locking fails, the stack still has to be taken down.
        let Some(mut lock) = self.lock.take() else { return };
        let sender = self.sender.clone();
        if lock.try_take().unwrap_or(true) {
            let _ = sender.send(Arrival::Locked(lock));
            return;
        }
        self.logger().status("Blocking", &waiting_for_others(self.compose.project()));
        thread::spawn(move || {
            let _ = lock.take();
            let _ = sender.send(Arrival::Locked(lock));
        });
    }

    /// Whether a run that has ended well has removed the stack.
    fn has_taken_down(&self) -> bool {
        let runs_on = self.state.cause == Some(EndCause::Finished) && self.policy.leaves_running;
        self.policy.undo == Undo::Remove && !runs_on && !self.state.leaves_what_it_found(self.policy)
    }

    /// Lets everything go that the run has held, in the order in which others may have it.
    pub(super) fn end(mut self) -> Outcome {
        let end = match self.state.phase {
            Phase::Ended(end) => end,
            _ => End::Incomplete,
        };
        let goes_on = end == End::Abandoned && self.guard.is_armed();
        if end == End::Abandoned {
            self.kill_up();
        }
        if let Some(undo) = self.undoing.process.as_mut().filter(|_| goes_on) {
            undo.cut_off();
        }
        self.stop_observing();
        self.tell_end(end);
        if end == End::Clean && self.compose.is_isolated() && self.has_taken_down() {
            // As long as the lock is held: another stack may get this name then.
            forget_overlay(&self.compose.root(), self.compose.project());
        }
        match self.lock.take() {
            Some(lock) if goes_on => lock.leave_to_the_guard(),
            _ if end == End::Abandoned => {}
            lock => {
                // The guard has the same lock: others come when it is gone.
                self.guard.disarm();
                drop(lock);
            }
        }
        match (end, self.state.cause) {
            // Dropped undisarmed, which is what the guard waits for.
            (End::Abandoned, Some(EndCause::Interrupted(interrupt))) if goes_on => Outcome::Interrupted(interrupt),
            (End::Incomplete | End::Abandoned, _) => Outcome::Incomplete,
            (End::Clean, Some(EndCause::Interrupted(interrupt))) => Outcome::Interrupted(interrupt),
            (End::Clean, Some(EndCause::Failed | EndCause::Finished)) if self.up.asked_code.is_some() => {
                Outcome::Exited(self.up.asked_code.unwrap_or_default())
            }
            (End::Clean, Some(EndCause::Failed)) => Outcome::Failed,
            (End::Clean, Some(EndCause::Late)) => Outcome::Late,
            (End::Clean, Some(EndCause::Requested | EndCause::Finished) | None) => Outcome::Done,
        }
    }
}
