//! The messages between the run and the reloader, the thread that applies changes of files. Only the run starts and ends an attached `up`, and
//! tears the stack down.

use std::sync::mpsc::Sender;
use std::time::Instant;

use super::mode::Plan;
use super::{Arrival, Options, Run, Summary};
use crate::command::Interrupt;
use crate::compose::Stack;
use crate::engine::Clock;
use crate::reporter::event::Event;
use crate::session::lifecycle::{Force, Phase, State, Up};
use crate::session::lock::HeldFor;

/// How the reloader takes part in a run.
pub(crate) struct Watching<'a> {
    /// Called once, when `up` has been spawned.
    pub(crate) begin: Box<dyn FnOnce(RunHandle) + 'a>,
    /// Called with news of the run, from its thread.
    pub(crate) tell: Box<dyn Fn(RunNews) + 'a>,
}

/// A change of the run's state that concerns the reloader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunNews {
    /// Whether `up` has started everything and is attached.
    Attached(bool),
    /// The run ends: nothing may be begun any more. What would take long is ended.
    Ending,
    /// Nothing is waited for any more.
    Hurry,
}

/// A process that must not outlive the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Helper {
    pub(crate) pid: u32,
    /// Whether it lets the engine create something: after its end the engine may still be at work.
    pub(crate) creates: bool,
}

/// The reloader's access to the run.
#[derive(Clone)]
pub(crate) struct RunHandle(Sender<Arrival>);

impl RunHandle {
    /// Starts what differs from what runs: with `plan`, of another stack. `clock` is the engine's, if it is known.
    pub(crate) fn start_again(&self, plan: Option<(Stack, Options)>, clock: Option<Clock>) {
        self.send(Arrival::Again(plan.map(|(stack, options)| Box::new(Plan::new(stack, options))), clock));
    }

    /// A process has been started that must not outlive the run, or is over.
    pub(crate) fn helper(&self, helper: Option<Helper>) {
        self.send(Arrival::Helper(helper));
    }

    /// Ends the run, as Ctrl+C does.
    pub(crate) fn quit(&self) {
        self.send(Arrival::Interrupt(Interrupt::Int, Instant::now()));
    }

    fn send(&self, arrival: Arrival) {
        // The run may be over.
        let _ = self.0.send(arrival);
    }
}

impl Run<'_> {
    pub(super) fn begin_watching(&mut self) {
        let handle = RunHandle(self.sender.clone());
        if let Some(watching) = &mut self.watching {
            std::mem::replace(&mut watching.begin, Box::new(|_| {}))(handle);
        }
    }

    /// Tells of a change of the state.
    pub(super) fn tell_watching(&mut self, before: State) {
        let is_hurried = self.state.force != before.force;
        if is_hurried && self.builder.is_some_and(|helper| helper.creates) {
            // It is about to be cut off.
            self.state.up = Up::CutOff;
        }
        let Some(watching) = &self.watching else { return };
        let news = |state: State| match state.phase {
            _ if state.force == Force::AtOnce => Some(RunNews::Hurry),
            Phase::Running => Some(RunNews::Attached(state.start_is_over)),
            Phase::Judging | Phase::Staying | Phase::Resting | Phase::Restarting => Some(RunNews::Attached(false)),
            _ => Some(RunNews::Ending),
        };
        if let Some(new) = news(self.state).filter(|new| news(before) != Some(*new)) {
            (watching.tell)(new);
        }
    }

    /// The guard has to end it, too, if this process dies.
    pub(super) fn note_helper(&mut self, helper: Option<Helper>) {
        self.builder = helper;
        match helper {
            Some(helper) => {
                self.guard.builder(helper.pid);
                if helper.creates {
                    self.note(HeldFor::Start, helper.pid);
                }
            }
            None => self.guard.forget_builder(),
        }
    }

    /// Nothing runs any more, and a change of the files can start it again.
    pub(super) fn rest(&mut self) {
        if let Some(Summary::Stack(summary)) = self.summary.take() {
            self.logger().event(&Event::FailureSummary(&summary));
        }
        self.unlock();
        let what = self.what_an_interrupt_does();
        self.logger().status("Waiting", &format!("for a change of the files (Ctrl+C {what})"));
    }

    /// Another `up`, perhaps of another stack. The lock is held.
    pub(super) fn start_again(&mut self) {
        self.stop_observing();
        self.plan = self.next_plan.take().or(self.plan.take());
        let Some(plan) = self.plan.clone() else { return };
        self.expected = plan.expected();
        (self.up.failure, self.up.last_words, self.readiness.settled) = (None, None, None);
        self.began = Instant::now();
        let mut before = std::mem::take(&mut self.guard);
        self.arm();
        before.disarm();
        for volume in &self.undoing.anonymous {
            self.guard.volume(volume);
        }
        self.note_helper(self.builder);
        // Events of what is about to be replaced would look like those of the new containers.
        let since = self.clock.map(|clock| clock.at(Instant::now()));
        if let Err(error) = self.start_up(&plan.options, since) {
            self.logger().error(&format!("{error:#}"));
            let _ = self.sender.send(Arrival::UpExited(self.up.number));
        }
    }
}
