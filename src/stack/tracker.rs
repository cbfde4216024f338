//! Keeps the state of each container of a start up to date from the engine's events.
//!
//! Pure: time comes in with each event. The rules for one container are those of [`crate::stack::readiness`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::expected::Expected;
use crate::compose::Stack;
use crate::engine::{Container, ContainerEvent, Health, Inspected, Signal};
use crate::stack::diagnosis::Crashes;
use crate::stack::listening::Deaf;
use crate::stack::readiness::{History, LOOP, Ports, Role, STEADY, Standing, role, standing, summary};

/// How a service stands: as the worst of its containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceStanding {
    pub(crate) service: String,
    pub(crate) standing: Standing,
    /// How that container is.
    pub(crate) summary: String,
    /// What it has exited with the last time, if it has.
    pub(crate) exit_code: Option<i64>,
    /// The crashes that make a loop.
    pub(crate) crashes: Option<Crashes>,
    /// Why, where more is known.
    pub(crate) cause: Option<String>,
}

/// What the start amounts to so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overall {
    /// Every service is what it should be.
    Ready,
    /// Not yet. If nothing else happens, time may change that, at this moment.
    Pending(Option<Instant>),
    /// Some service will not become that.
    Failed,
}

/// Whether `up` is still at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartPhase {
    /// It is: containers may be missing, and those that are replaced are stopped.
    UnderWay,
    /// All that it was to do is done.
    Over,
}

pub(crate) struct Tracker {
    expected: Expected,
    roles: BTreeMap<String, Role>,
    /// The containers that were there before the start, and whether they were running.
    known: BTreeMap<String, bool>,
    containers: BTreeMap<String, Tracked>,
    /// Whether the engine has said what there is.
    has_seen_all: bool,
}

#[derive(Default)]
struct Tracked {
    it: Inspected,
    /// Since when it has been running, where that was seen.
    since: Option<Instant>,
    /// The signals that it was sent through the engine since it was started.
    signals: Vec<Signal>,
    /// What it exited with the last time, where it ended by itself.
    last_exit: Option<i64>,
    /// When its last run began, by the engine's clock, in nanoseconds since 1970.
    started: Option<i128>,
    /// Its crashes in a row, with no run of [`STEADY`] among them.
    row: Option<Row>,
    /// The published ports without a listener, if they were checked since its last start.
    deaf: Option<Vec<Deaf>>,
}

/// Crashes in a row, from the engine's restart count: events may be late or missed.
#[derive(Clone, Copy)]
struct Row {
    /// How often the engine had started it again before.
    restarts: u32,
    /// From the beginning of the first run (its end, if it ran well) to the end of the last, by the engine's clock.
    first_start: i128,
    last_end: i128,
}

impl Tracked {
    fn is_steady(&self, now: Instant) -> bool {
        self.since.is_none_or(|since| now >= since + STEADY)
    }

    /// Whether it was sent a stop signal through the engine.
    fn was_told_to_end(&self) -> bool {
        self.signals.iter().any(|signal| signal.ends(self.it.stop_signal))
    }

    fn has_ended(&self) -> bool {
        self.it.ended_with().is_some()
    }

    /// Its process has ended, by itself or not.
    fn died(&mut self, exit_code: i64, time: i128) {
        (self.it.state, self.it.exit_code) = ("exited".to_string(), exit_code);
        if self.was_told_to_end() {
            return;
        }
        self.last_exit = Some(exit_code);
        let started = self.started.unwrap_or(time);
        let ran_well = time - started >= i128::try_from(STEADY.as_nanos()).unwrap_or_default();
        match &mut self.row {
            Some(row) if !ran_well => row.last_end = time,
            row => {
                let first_start = if ran_well { time } else { started };
                *row = Some(Row { restarts: self.it.restarts, first_start, last_end: time });
            }
        }
    }

    fn crashes(&self) -> u32 {
        self.row.map_or(0, |row| self.it.restarts.saturating_sub(row.restarts))
    }

    /// The crashes that make a loop.
    fn a_loop(&self) -> Option<Crashes> {
        let row = self.row.filter(|_| self.crashes() >= LOOP)?;
        let within = u64::try_from(row.last_end - row.first_start).ok().map(Duration::from_nanos);
        Some(Crashes { times: self.crashes(), within })
    }
}

/// What to do about something that has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// Nothing.
    None,
    /// The start has started a container.
    Started,
    /// A container's process has ended. The engine decides whether to restart it: ask it, and pass the answer to [`Tracker::saw_one`].
    Ask,
}

impl Tracker {
    /// For a start of `stack`; `before` is what was there before.
    pub(crate) fn new(stack: &Stack, expected: Expected, before: &[Container], ports: Ports) -> Tracker {
        let roles = stack.services.keys().map(|name| (name.clone(), role(stack, name, ports)));
        let known = before.iter().map(|container| (container.id.clone(), container.state == "running"));
        Tracker {
            expected,
            roles: roles.collect(),
            known: known.collect(),
            containers: BTreeMap::new(),
            has_seen_all: false,
        }
    }

    /// Whether a container belongs to this start: by its service, or since it has made it.
    fn is_ours(&self, id: &str, service: &str) -> bool {
        self.expected.has(service) || !self.known.contains_key(id)
    }

    /// Something has happened to a container.
    pub(crate) fn happened(&mut self, event: &ContainerEvent, now: Instant) -> Consequence {
        // Once the containers are listed, events of others are about removed containers.
        let is_known = !self.has_seen_all || self.containers.contains_key(&event.id);
        if !is_known || !self.is_ours(&event.id, &event.service) {
            return Consequence::None;
        }
        if event.action == "destroy" {
            self.containers.remove(&event.id);
            return Consequence::None;
        }
        // Past events are included: this container was started by an earlier start.
        let was_running = self.known.get(&event.id) == Some(&true);
        let tracked = self.containers.entry(event.id.clone()).or_insert_with(|| Tracked {
            it: Inspected { id: event.id.clone(), service: event.service.clone(), ..Inspected::default() },
            ..Tracked::default()
        });
        // It has been started again since, by the engine's own clock.
        if tracked.it.started_at.is_some_and(|started| event.is_before(started)) {
            // The event of a container that this start has made may arrive after the look that has found it running again. Those of
            // others are about an earlier run.
            let is_new = !self.known.contains_key(&event.id);
            return if event.action == "die" && is_new { Consequence::Ask } else { Consequence::None };
        }
        match event.action.as_str() {
            "create" => tracked.it.state = "created".to_string(),
            "start" => {
                if !was_running || tracked.has_ended() || tracked.was_told_to_end() {
                    tracked.since = Some(now);
                }
                tracked.signals.clear();
                tracked.deaf = None;
                tracked.started = Some(event.time);
                let it = &mut tracked.it;
                (it.state, it.exit_code, it.error) = ("running".to_string(), 0, String::new());
                // What was known of its last run is over.
                it.health = it.has_healthcheck.then(|| Health { status: "starting".to_string(), failure: None });
                it.started_at = None;
                if !was_running {
                    return Consequence::Started;
                }
            }
            "kill" => tracked.signals.extend(Signal::parse(&event.signal)),
            "die" => {
                tracked.died(event.exit_code.parse().unwrap_or_default(), event.time);
                return Consequence::Ask;
            }
            "oom" => tracked.it.out_of_memory = true,
            "pause" => tracked.it.state = "paused".to_string(),
            "unpause" => tracked.it.state = "running".to_string(),
            action => {
                if let Some(status) = action.strip_prefix("health_status: ") {
                    tracked.it.health = Some(Health { status: status.to_string(), failure: None });
                }
            }
        }
        Consequence::None
    }

    /// Whether it matters how long containers have been running that were started before.
    pub(crate) fn asks_for_the_time(&self) -> bool {
        !self.has_seen_all && self.known.values().any(|was_running| *was_running)
    }

    /// This is all that there is, by the engine's own word; `time` is by its clock.
    pub(crate) fn saw(&mut self, all: Vec<Inspected>, time: Option<Timestamp>, now: Instant) {
        self.has_seen_all = true;
        let mut before = std::mem::take(&mut self.containers);
        for it in all {
            if self.is_ours(&it.id, &it.service) {
                let mut tracked = before.remove(&it.id).unwrap_or_default();
                if tracked.since.is_none()
                    && let Some(uptime) = time.and_then(|time| it.uptime(time)).filter(|uptime| *uptime < STEADY)
                {
                    tracked.since = now.checked_sub(uptime);
                }
                self.containers.insert(it.id.clone(), self.updated(tracked, it, now));
            }
        }
    }

    /// This is how a container is whose process has ended, by the engine's own word. Whether it will be started again.
    pub(crate) fn saw_one(&mut self, it: Inspected, now: Instant) -> bool {
        let Some(tracked) = self.containers.remove(&it.id) else { return false };
        let is_restarted = ["restarting", "running"].contains(&it.state.as_str()) && !tracked.was_told_to_end();
        self.containers.insert(it.id.clone(), self.updated(tracked, it, now));
        is_restarted
    }

    fn updated(&self, mut tracked: Tracked, it: Inspected, now: Instant) -> Tracked {
        let known = self.known.get(&it.id);
        let is_first_look = tracked.it.name.is_empty();
        if is_first_look && known.is_some() {
            // Of earlier starts.
            tracked.it.restarts = if tracked.row.is_some() { it.restarts.saturating_sub(1) } else { it.restarts };
            tracked.row = tracked.row.map(|row| Row { restarts: tracked.it.restarts, ..row });
        }
        let was_restarted = it.restarts > tracked.it.restarts;
        if was_restarted || tracked.since.is_none() && known != Some(&true) {
            // Perhaps before the engine's word of it has come.
            tracked.since = Some(now);
            tracked.deaf = None;
        }
        tracked.started = it.started_at.map(Timestamp::as_nanosecond).or(tracked.started);
        tracked.it = it;
        tracked
    }

    fn standing_of(&self, tracked: &Tracked, start: StartPhase, now: Instant) -> Standing {
        let is_new = !self.known.contains_key(&tracked.it.id);
        let history = History { is_steady: tracked.is_steady(now), crashes: tracked.crashes() };
        let standing = standing(&tracked.it, self.role_of(&tracked.it.service), history);
        let standing =
            if self.is_awaited(tracked) && standing == Standing::Ready { Standing::Pending } else { standing };
        match start {
            // It may be about to be replaced, or was failing already.
            StartPhase::UnderWay if !is_new || tracked.was_told_to_end() => standing.min(Standing::Pending),
            StartPhase::Over if tracked.has_ended() && tracked.was_told_to_end() => Standing::Failed,
            StartPhase::UnderWay | StartPhase::Over => standing,
        }
    }

    /// Whether it still has to listen at its ports.
    fn is_awaited(&self, tracked: &Tracked) -> bool {
        let listens = tracked.deaf.as_ref().is_some_and(Vec::is_empty);
        self.role_of(&tracked.it.service) == Role::Server
            && tracked.it.state == "running"
            && !tracked.it.has_healthcheck
            && !listens
    }

    /// The containers whose ports to check.
    pub(crate) fn to_be_heard(&self) -> Vec<Inspected> {
        let awaited =
            self.containers.values().filter(|tracked| self.is_awaited(tracked) && !tracked.it.name.is_empty());
        awaited.map(|tracked| tracked.it.clone()).collect()
    }

    /// Sets the ports of a container without a listener.
    pub(crate) fn heard(&mut self, id: &str, deaf: Vec<Deaf>) {
        if let Some(tracked) = self.containers.get_mut(id) {
            tracked.deaf = Some(deaf);
        }
    }

    fn summary_of(&self, tracked: &Tracked, standing: Standing) -> String {
        let it = &tracked.it;
        if let Some(deaf) = tracked.deaf.iter().flatten().next().filter(|_| self.is_awaited(tracked)) {
            return format!("nothing listens on port {} yet", deaf.port);
        }
        match (standing, it.state.as_str(), &it.health) {
            (Standing::Pending, "running", None) if self.role_of(&it.service) == Role::OneShot => "at work".to_string(),
            (Standing::Pending, "running", None) => format!("up for less than {} s", STEADY.as_secs()),
            _ => summary(it),
        }
    }

    fn role_of(&self, service: &str) -> Role {
        self.roles.get(service).copied().unwrap_or(Role::Service)
    }

    /// How each service stands, by name.
    pub(crate) fn services(&self, start: StartPhase, now: Instant) -> Vec<ServiceStanding> {
        let mut services: BTreeMap<&str, Option<ServiceStanding>> = BTreeMap::new();
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for tracked in self.containers.values() {
            let service = tracked.it.service.as_str();
            *counts.entry(service).or_default() += 1;
            let standing = self.standing_of(tracked, start, now);
            let of_container = ServiceStanding {
                service: service.to_string(),
                standing,
                summary: self.summary_of(tracked, standing),
                exit_code: tracked.last_exit.or(tracked.it.ended_with()),
                crashes: tracked.a_loop(),
                cause: tracked.deaf.iter().flatten().next().filter(|_| self.is_awaited(tracked)).map(Deaf::cause),
            };
            let worst = services.entry(service).or_default();
            if worst.as_ref().is_none_or(|worst| worst.standing < standing) {
                *worst = Some(of_container);
            }
        }
        for (service, wanted) in self.expected.services().filter(|_| self.expected.is_certain()) {
            let is_missing = counts.get(service).copied().unwrap_or_default() < wanted;
            let worst = services.entry(service).or_default();
            if is_missing && worst.as_ref().is_none_or(|worst| worst.standing < Standing::Pending) {
                *worst = Some(ServiceStanding {
                    service: service.to_string(),
                    standing: Standing::Pending,
                    summary: "not created".to_string(),
                    exit_code: None,
                    crashes: None,
                    cause: None,
                });
            }
        }
        services.into_values().flatten().collect()
    }

    /// Whether a container counts as up because no event says otherwise.
    pub(crate) fn believes_in_silence(&self) -> bool {
        self.containers.values().any(|it| it.since.is_some() && it.it.health.is_none() && it.it.state == "running")
    }

    /// What it amounts to.
    pub(crate) fn overall(&self, start: StartPhase, now: Instant) -> Overall {
        let services = self.services(start, now);
        let is = |standing| move |service: &ServiceStanding| service.standing == standing;
        let nothing_was_started = start == StartPhase::Over && services.is_empty() && !self.expected.is_empty();
        if nothing_was_started || services.iter().any(is(Standing::Failed)) {
            return Overall::Failed;
        }
        if start == StartPhase::Over && services.iter().all(is(Standing::Ready)) {
            return Overall::Ready;
        }
        let running = self.containers.values().filter(|tracked| tracked.it.state == "running");
        let steady = running.filter_map(|tracked| Some(tracked.since? + STEADY));
        Overall::Pending(steady.filter(|moment| start == StartPhase::Over && *moment > now).min())
    }
}

#[cfg(test)]
mod tests;
