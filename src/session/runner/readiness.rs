//! Follows the engine's events while the services start, and shows the progress.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Arrival, Plan, Run};
use crate::engine::Inspected;
use crate::reporter::event::Event;
use crate::session::lifecycle::{Phase, RunEvent};
use crate::session::lock::HeldFor;
use crate::stack::observer::{Observation, Observer, Settled, Wait};
use crate::stack::readiness::Standing;
use crate::stack::tracker::{ServiceStanding, StartPhase, Tracker};

/// How far the services are.
#[derive(Default)]
pub(super) struct Readiness {
    pub(super) observer: Option<Observer>,
    /// The result of the wait, once there is one.
    pub(super) settled: Option<Settled>,
    /// The latest state of each service.
    pub(super) standings: Vec<ServiceStanding>,
    /// The states that were shown last.
    pub(super) shown: Vec<ServiceStanding>,
    /// Whether it was shown that an attached `up` has started everything.
    pub(super) has_told_start: bool,
}

/// The services that are ready now and were not before.
pub(super) fn newly_ready<'a>(
    before: &'a [ServiceStanding],
    now: &'a [ServiceStanding],
) -> impl Iterator<Item = &'a ServiceStanding> {
    let was_ready = |name: &str| before.iter().any(|it| it.service == name && it.standing == Standing::Ready);
    now.iter().filter(move |it| it.standing == Standing::Ready && !was_ready(&it.service))
}

impl Run<'_> {
    /// What tells of this `up`. Of an earlier one nothing counts any more.
    fn teller(&self) -> impl Fn(Observation) + Clone + Send + 'static {
        let (sender, number) = (self.sender.clone(), self.up.number);
        move |observation| {
            let _ = sender.send(Arrival::Observation(number, observation));
        }
    }

    /// Held until the start is over, so that no other command changes the project.
    pub(super) fn watch_the_start(&mut self, up: u32, since: Option<Timestamp>) {
        let tell = self.teller();
        let (commander, project, expected) = (&self.runner.commander, self.compose.project(), self.expected.clone());
        match Observer::attached(commander, project, up, since, expected, self.wait(), tell.clone()) {
            Ok(observer) => self.readiness.observer = Some(observer),
            // Better an early change than none at all.
            Err(_) => tell(Observation::Started(None)),
        }
    }

    /// Begun before `up -d` is, so that nothing of it is missed.
    pub(super) fn watch_what_becomes_ready(&mut self) {
        let Some(wait) = self.wait() else { return };
        let tell = self.teller();
        match Observer::detached(&self.runner.commander, self.compose.project(), wait, tell.clone()) {
            Ok(observer) => {
                self.guard.helper(observer.id());
                self.note(HeldFor::Start, observer.id());
                self.readiness.observer = Some(observer);
            }
            // Whoever cannot start docker for this will not start it for anything else, and say so.
            Err(_) => tell(Observation::Settled(Settled::Failed)),
        }
    }

    /// Where no `up` is to come, what is missing is missing.
    pub(super) fn begins_after_the_start(&self) {
        if let Some(observer) = &self.readiness.observer {
            observer.up_is_over();
        }
    }

    /// Where `up` has ended and containers run on.
    pub(super) fn watch_what_runs_on(&mut self) {
        let tell = self.teller();
        let (expected, before) = (self.expected.clone(), self.ids_before());
        let is_ours = move |it: &Inspected| expected.has(&it.service) || !before.contains(&it.id);
        match Observer::until_over(&self.runner.commander, self.compose.project(), is_ours, tell) {
            Ok(observer) => {
                self.guard.helper(observer.id());
                self.readiness.observer = Some(observer);
            }
            // Whoever cannot start docker for this will not start it for anything else, and say so.
            Err(_) => self.teller()(Observation::Over(false)),
        }
    }

    /// Ends what listens to the engine.
    pub(super) fn stop_observing(&mut self) {
        if self.readiness.observer.take().is_some() {
            self.guard.forget_helper();
        }
    }

    /// The containers that were there before the start, by id.
    pub(super) fn ids_before(&self) -> BTreeSet<String> {
        let before = self.plan.as_ref().map(|plan| plan.options.before.as_slice()).unwrap_or_default();
        before.iter().map(|container| container.id.clone()).collect()
    }

    pub(super) fn wait(&self) -> Option<Wait> {
        let Plan { stack, options } = self.plan.as_ref()?;
        let tracker = Tracker::new(stack, self.expected.clone(), &options.before, options.ports);
        Some(Wait { tracker, timeout: options.wait? })
    }

    /// Whether there is something to wait for beyond the start.
    pub(super) fn waits(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.options.wait.is_some())
    }

    /// How the services stand has changed.
    pub(super) fn progress(&mut self, services: Vec<ServiceStanding>, start: StartPhase) {
        let before = std::mem::replace(&mut self.readiness.standings, services);
        let project = self.compose.project().as_str();
        for ServiceStanding { service, summary, .. } in newly_ready(&before, &self.readiness.standings) {
            self.logger().event(&Event::ServiceReady { project, service, state: summary });
        }
        // Before that Compose itself shows what goes on, and in the foreground logs do; and of containers that ran already only
        // what has just happened to them is known before the engine has been asked.
        if self.state.phase == Phase::Waiting && start == StartPhase::Over {
            self.show_progress();
        }
    }

    pub(super) fn settled(&mut self, settled: Settled) -> Option<RunEvent> {
        self.readiness.settled = Some(settled);
        self.stop_observing();
        self.logger().waiting(&[]);
        if self.policy.waits {
            return Some(RunEvent::Settled { success: settled == Settled::Ready });
        }
        // In the foreground the stack keeps running, and a warning tells the developer.
        self.ask_what_is_ready();
        None
    }
}
