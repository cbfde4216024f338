//! What is known of the containers of a start, kept up to date by what the engine tells, and what it amounts to.
//!
//! Pure: time comes in with each event. The rules for one container are those of [`crate::readiness`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::expected::Expected;
use crate::compose::Stack;
use crate::diagnosis::Crashes;
use crate::engine::{Container, Happening, Health, Inspected, Signal};
use crate::listening::Deaf;
use crate::readiness::{History, LOOP, Ports, Role, STEADY, Standing, role, standing, summary};
use crate::sorted;

/// How a service stands: as the worst of its containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceStanding {
    pub(super) service: String,
    pub(super) standing: Standing,
    /// How that container is.
    pub(super) summary: String,
    /// What it has exited with the last time, if it has.
    pub(super) exit_code: Option<i64>,
    /// The crashes that make a loop.
    pub(super) crashes: Option<Crashes>,
    /// Why, where more is known.
    pub(super) cause: Option<String>,
}

/// What the start amounts to so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overall {
    /// Every service is what it should be.
    Ready,
    /// Not yet. If nothing else happens, time may change that, at this moment.
    Pending(Option<Instant>),
    /// Some service will not become that.
    Failed,
}

/// Whether `up` is still at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It is: containers may be missing, and those that are replaced are stopped.
    UnderWay,
    /// All that it was to do is done.
    Over,
}

pub(super) struct Tracker {
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
    /// The published ports behind which nobody listens, once that was looked at in this run of it.
    deaf: Option<Vec<Deaf>>,
}

/// Crashes in a row, counted by the engine: what it tells of them may come late, or be missed.
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

    /// Whether somebody has told it to end through the engine.
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
pub(super) enum Consequence {
    /// Nothing.
    None,
    /// The start has started a container.
    Started,
    /// A container's process has ended; the engine knows whether it starts it again: ask, and tell by [`Tracker::saw_one`].
    Ask,
}

impl Tracker {
    /// For a start of `stack`; `before` is what was there before.
    pub(super) fn new(stack: &Stack, expected: Expected, before: &[Container], ports: Ports) -> Tracker {
        let roles = stack.services.keys().map(|name| (name.clone(), role(stack, name, ports)));
        let known = before.iter().map(|container| (container.id.clone(), container.state == "running"));
        Tracker {
            expected,
            roles: sorted::collect(roles),
            known: sorted::collect(known),
            containers: BTreeMap::new(),
            has_seen_all: false,
        }
    }

    /// Whether a container belongs to this start: by its service, or since it has made it.
    fn is_ours(&self, id: &str, service: &str) -> bool {
        self.expected.has(service) || !self.known.contains_key(id)
    }

    /// Something has happened to a container.
    pub(super) fn happened(&mut self, event: &Happening, now: Instant) -> Consequence {
        // Once it is known what there is, what is told of anything else is about something that is gone.
        let is_known = !self.has_seen_all || self.containers.contains_key(&event.id);
        if !is_known || !self.is_ours(&event.id, &event.service) {
            return Consequence::None;
        }
        if event.action == "destroy" {
            self.containers.remove(&event.id);
            return Consequence::None;
        }
        // The engine tells also what was before: such a container has been started by an earlier start.
        let was_running = self.known.get(&event.id) == Some(&true);
        let tracked = self.containers.entry(event.id.clone()).or_insert_with(|| Tracked {
            it: Inspected { id: event.id.clone(), service: event.service.clone(), ..Inspected::default() },
            ..Tracked::default()
        });
        // What the engine remembers of an earlier run, by its own clock.
        if tracked.it.started_at.is_some_and(|started| event.is_before(started)) {
            return Consequence::None;
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
    pub(super) fn asks_for_the_time(&self) -> bool {
        !self.has_seen_all && self.known.values().any(|was_running| *was_running)
    }

    /// This is all that there is, by the engine's own word; `time` is by its clock.
    pub(super) fn saw(&mut self, all: Vec<Inspected>, time: Option<Timestamp>, now: Instant) {
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
    pub(super) fn saw_one(&mut self, it: Inspected, now: Instant) -> bool {
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

    fn standing_of(&self, tracked: &Tracked, start: Start, now: Instant) -> Standing {
        let is_new = !self.known.contains_key(&tracked.it.id);
        let history = History { is_steady: tracked.is_steady(now), crashes: tracked.crashes() };
        let standing = standing(&tracked.it, self.role_of(&tracked.it.service), history);
        let standing =
            if self.is_awaited(tracked) && standing == Standing::Ready { Standing::Pending } else { standing };
        match start {
            // It may be about to be replaced, or was failing already.
            Start::UnderWay if !is_new || tracked.was_told_to_end() => standing.min(Standing::Pending),
            Start::Over if tracked.has_ended() && tracked.was_told_to_end() => Standing::Failed,
            Start::UnderWay | Start::Over => standing,
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

    /// The containers whose ports are to be looked at.
    pub(super) fn to_be_heard(&self) -> Vec<Inspected> {
        let awaited =
            self.containers.values().filter(|tracked| self.is_awaited(tracked) && !tracked.it.name.is_empty());
        awaited.map(|tracked| tracked.it.clone()).collect()
    }

    /// These ports of a container have nobody behind them; none of them any more, if it is empty.
    pub(super) fn heard(&mut self, id: &str, deaf: Vec<Deaf>) {
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
    pub(super) fn services(&self, start: Start, now: Instant) -> Vec<ServiceStanding> {
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

    /// Whether a container is believed to be up since nothing else was heard of it.
    pub(super) fn believes_in_silence(&self) -> bool {
        self.containers.values().any(|it| it.since.is_some() && it.it.health.is_none() && it.it.state == "running")
    }

    /// What it amounts to.
    pub(super) fn overall(&self, start: Start, now: Instant) -> Overall {
        let services = self.services(start, now);
        let is = |standing| move |service: &ServiceStanding| service.standing == standing;
        let nothing_was_started = start == Start::Over && services.is_empty() && !self.expected.is_empty();
        if nothing_was_started || services.iter().any(is(Standing::Failed)) {
            return Overall::Failed;
        }
        if start == Start::Over && services.iter().all(is(Standing::Ready)) {
            return Overall::Ready;
        }
        let running = self.containers.values().filter(|tracked| tracked.it.state == "running");
        let steady = running.filter_map(|tracked| Some(tracked.since? + STEADY));
        Overall::Pending(steady.filter(|moment| start == Start::Over && *moment > now).min())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::compose::Traefik;

    fn tracker(services: &str, before: &[Container]) -> Tracker {
        let json = format!(r#"{{"name": "x", "services": {services}}}"#);
        let stack = Stack::parse(json.as_bytes()).unwrap();
        Tracker::new(&stack, Expected::new(&stack, Traefik::On, &[]), before, Ports::Awaited)
    }

    /// `web start`, `web die with 3`, `web kill with 15`, `web health_status: healthy`; a container is called as its service.
    fn happened(tracker: &mut Tracker, now: Instant, story: &[&str]) {
        for line in story {
            let (service, action) = line.split_once(' ').unwrap();
            let (action, number) = action.split_once(" with ").unwrap_or((action, ""));
            let (exit_code, signal) = if action == "kill" { ("", number) } else { (number, "") };
            let [action, service, exit_code, signal] = [action, service, exit_code, signal].map(str::to_string);
            let time = i128::try_from(now.duration_since(*BEGAN).as_nanos()).unwrap();
            tracker.happened(&Happening { id: service.clone(), action, service, exit_code, signal, time }, now);
        }
    }

    /// When the engine's clock began, whose times are counted from then.
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

    /// A moment of both clocks.
    fn moment() -> Instant {
        *BEGAN + Duration::from_secs(1)
    }

    fn restarting(service: &str, restarts: u32) -> Inspected {
        Inspected { state: "restarting".to_string(), exit_code: 1, restarts, ..running(service, None) }
    }

    fn running(service: &str, health: Option<&str>) -> Inspected {
        let health = health.map(|status| Health { status: status.to_string(), failure: None });
        let [id, name, service, state] = [service, service, service, "running"].map(str::to_string);
        Inspected { id, name, service, state, health, ..Inspected::default() }
    }

    #[test]
    fn a_service_without_a_healthcheck_is_ready_after_it_has_run_for_a_while() {
        let start = moment();
        let mut tracker = tracker(r#"{"web": {}}"#, &[]);
        happened(&mut tracker, start, &["web create", "web start"]);
        assert_eq!(tracker.overall(Start::UnderWay, start), Overall::Pending(None));
        tracker.saw(vec![running("web", None)], None, start + STEADY / 2);
        let ready = start + STEADY;
        assert_eq!(tracker.overall(Start::Over, start + STEADY / 2), Overall::Pending(Some(ready)));
        assert_eq!(tracker.overall(Start::Over, ready), Overall::Ready);
        happened(&mut tracker, ready, &["web die with 1"]);
        assert_eq!(tracker.overall(Start::Over, ready), Overall::Failed);
    }

    #[test]
    fn one_that_has_been_running_all_along_is_ready_at_once() {
        let before = Container { id: "web".into(), state: "running".into(), ..Container::default() };
        let mut tracker = tracker(r#"{"web": {}}"#, &[before]);
        let now = moment();
        // Told of late: it was running when it was looked for.
        happened(&mut tracker, now, &["web start"]);
        tracker.saw(vec![running("web", None)], None, now);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Ready);
        happened(&mut tracker, now, &["web kill with 15", "web die with 143", "web start"]);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Pending(Some(now + STEADY)));
    }

    #[test]
    fn one_that_was_started_a_moment_before_has_to_go_on() {
        let before = Container { id: "web".into(), state: "running".into(), ..Container::default() };
        let mut tracker = tracker(r#"{"web": {}}"#, &[before]);
        assert!(tracker.asks_for_the_time());
        let (now, at) = (moment(), |second| Some(Timestamp::from_second(second).unwrap()));
        tracker.saw(vec![Inspected { started_at: at(100), ..running("web", None) }], at(101), now);
        let ready = now + STEADY - Duration::from_secs(1);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Pending(Some(ready)));
        assert!(!tracker.asks_for_the_time());
    }

    #[test]
    fn one_that_publishes_ports_is_ready_when_something_listens_there() {
        let mut tracker = tracker(r#"{"web": {"ports": [{"target": 80}]}, "job": {}}"#, &[]);
        let start = moment();
        happened(&mut tracker, start, &["web create", "web start", "job start", "job die with 0"]);
        let exited = |service: &str| Inspected { state: "exited".into(), ..running(service, None) };
        tracker.saw(vec![running("web", None), exited("job")], None, start);
        let later = start + STEADY;
        assert_eq!(tracker.overall(Start::Over, later), Overall::Pending(None));
        assert_eq!(tracker.to_be_heard().iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["web"]);
        tracker.heard("web", vec![Deaf { port: 80, at_loopback: true }]);
        let web = tracker.services(Start::Over, later).pop().unwrap();
        assert_eq!((web.standing, web.summary.as_str()), (Standing::Pending, "nothing listens on port 80 yet"));
        assert!(web.cause.unwrap().ends_with("let the program bind 0.0.0.0"));
        tracker.heard("web", vec![]);
        assert_eq!(tracker.overall(Start::Over, later), Overall::Ready);
        assert!(tracker.to_be_heard().is_empty());
        // Its next run has to begin anew.
        happened(&mut tracker, later, &["web die with 1", "web start"]);
        assert_eq!(tracker.to_be_heard().len(), 1);
        tracker.saw(vec![exited("web"), exited("job")], None, later);
        assert_eq!(tracker.overall(Start::Over, later), Overall::Failed, "a server that has ended well is none");
    }

    #[test]
    fn a_healthcheck_decides_at_once_whatever_the_time() {
        let mut tracker = tracker(r#"{"web": {}}"#, &[]);
        let now = moment();
        tracker.saw(vec![running("web", Some("starting"))], None, now);
        assert_eq!(tracker.overall(Start::Over, now + STEADY), Overall::Pending(None));
        happened(&mut tracker, now, &["web health_status: healthy"]);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Ready);
        happened(&mut tracker, now, &["web health_status: unhealthy"]);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Failed);
    }

    #[test]
    fn a_crash_that_the_engine_does_not_answer_fails_the_start_also_while_it_is_under_way() {
        let now = moment();
        let mut tracker = tracker(r#"{"web": {}, "db": {}}"#, &[]);
        happened(&mut tracker, now, &["web create", "web start", "web die with 101"]);
        assert!(!tracker.saw_one(Inspected { state: "exited".into(), exit_code: 101, ..running("web", None) }, now));
        assert_eq!(tracker.overall(Start::UnderWay, now), Overall::Failed);
    }

    #[test]
    fn a_restart_that_heals_is_no_failure() {
        let start = moment();
        let crash = start + STEADY / 3;
        let mut tracker = tracker(r#"{"web": {}}"#, &[]);
        happened(&mut tracker, start, &["web create", "web start"]);
        tracker.saw(vec![running("web", None)], None, start);
        happened(&mut tracker, crash, &["web die with 1"]);
        assert!(tracker.saw_one(restarting("web", 1), crash), "that is news");
        assert_eq!(tracker.overall(Start::Over, crash), Overall::Pending(None));
        happened(&mut tracker, crash, &["web start"]);
        // The steady time begins anew.
        assert_eq!(tracker.overall(Start::Over, start + STEADY), Overall::Pending(Some(crash + STEADY)));
        assert_eq!(tracker.overall(Start::Over, crash + STEADY), Overall::Ready);
    }

    #[test]
    fn a_one_shot_may_succeed_at_the_second_try() {
        let services =
            r#"{"web": {"depends_on": {"job": {"condition": "service_completed_successfully"}}}, "job": {}}"#;
        let mut tracker = tracker(services, &[]);
        let now = moment();
        tracker.saw(vec![running("web", Some("healthy")), running("job", None)], None, now);
        happened(&mut tracker, now, &["job die with 1"]);
        tracker.saw_one(restarting("job", 1), now);
        assert_eq!(tracker.overall(Start::Over, now + STEADY), Overall::Pending(None));
        happened(&mut tracker, now, &["job start", "job die with 0"]);
        tracker.saw_one(Inspected { state: "exited".into(), ..running("job", None) }, now);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Ready);
    }

    #[test]
    fn three_crashes_in_a_row_are_a_loop_and_a_steady_run_begins_a_new_row() {
        let start = moment();
        let mut tracker = tracker(r#"{"web": {}}"#, &[]);
        happened(&mut tracker, start, &["web create", "web start"]);
        let mut restarts = 0;
        let mut crash = |after: Instant| {
            restarts += 1;
            happened(&mut tracker, after, &["web die with 1"]);
            tracker.saw_one(restarting("web", restarts), after);
            let overall = tracker.overall(Start::Over, after);
            happened(&mut tracker, after, &["web start"]);
            (overall, tracker.services(Start::Over, after)[0].crashes)
        };
        assert_eq!(crash(start), (Overall::Pending(None), None));
        assert_eq!(crash(start + STEADY / 2), (Overall::Pending(None), None));
        assert_eq!(crash(start + STEADY * 2), (Overall::Pending(None), None), "it was up for a while");
        assert_eq!(crash(start + STEADY * 2 + STEADY / 2), (Overall::Pending(None), None));
        let within = Some(STEADY);
        assert_eq!(crash(start + STEADY * 3), (Overall::Failed, Some(Crashes { times: 3, within })));
    }

    #[test]
    fn a_run_that_was_missed_is_seen_before_anything_is_believed() {
        let start = moment();
        let mut tracker = tracker(r#"{"web": {}}"#, &[]);
        happened(&mut tracker, start, &["web create", "web start"]);
        tracker.saw(vec![running("web", None)], None, start);
        assert_eq!(tracker.overall(Start::Over, start + STEADY), Overall::Ready);
        // What the engine tells comes late; asked, it says that it has started it twice since.
        tracker.saw(vec![Inspected { restarts: 2, ..running("web", None) }], None, start + STEADY);
        assert_eq!(tracker.overall(Start::Over, start + STEADY), Overall::Pending(Some(start + STEADY * 2)));
    }

    #[test]
    fn a_signal_that_reloads_is_no_stop() {
        let now = moment();
        let mut tracker = tracker(r#"{"web": {}, "job": {}}"#, &[]);
        tracker.saw(vec![running("web", None), running("job", None)], None, now);
        happened(&mut tracker, now, &["job kill with 10", "job die with 0"]);
        assert_eq!(tracker.overall(Start::Over, now + STEADY), Overall::Ready);
        happened(&mut tracker, now, &["web kill with 1", "web die with 3"]);
        assert_eq!(tracker.overall(Start::UnderWay, now + STEADY), Overall::Failed);
        let mut own = running("web", None);
        own.stop_signal = Signal::parse("SIGUSR1").unwrap();
        tracker.saw(vec![own, running("job", None)], None, now);
        happened(&mut tracker, now, &["web kill with 10", "web die with 0"]);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Failed, "somebody has stopped it");
    }

    #[test]
    fn what_the_engine_remembers_of_an_earlier_run_counts_for_nothing() {
        let now = moment();
        let mut tracker = tracker(r#"{"web": {}}"#, &[]);
        let started_at = Some(Timestamp::from_second(1_000_000_000).unwrap());
        tracker.saw(vec![Inspected { started_at, ..running("web", Some("healthy")) }], None, now);
        happened(&mut tracker, now, &["web die with 1"]);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Ready);
    }

    #[test]
    fn a_service_that_the_file_lacks_counts_if_the_start_has_made_it_and_nothing_at_all_is_no_success() {
        let now = moment();
        let before = Container { id: "old".into(), state: "exited".into(), ..Container::default() };
        let stack = Stack::parse(br#"{"name": "x", "services": {"web": {}}}"#).unwrap();
        let guess = Expected::new(&stack, Traefik::On, &["--scale=debug=1".into()]);
        let mut tracker = Tracker::new(&stack, guess, &[before], Ports::Awaited);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Failed);
        let ended = |service: &str| Inspected { state: "exited".into(), exit_code: 3, ..running(service, None) };
        tracker.saw(vec![ended("old"), running("web", Some("healthy"))], None, now);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Ready);
        tracker.saw(vec![ended("old"), running("web", Some("healthy")), ended("debug")], None, now);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Failed);
    }

    #[test]
    fn a_container_that_is_replaced_or_was_failing_before_fails_nothing() {
        let before = Container { id: "web".into(), state: "restarting".into(), ..Container::default() };
        let mut tracker = tracker(r#"{"web": {}, "db": {}}"#, &[before]);
        let now = moment();
        // The old attempt goes on crashing, and is then taken away; and what Compose stops was told to end.
        happened(&mut tracker, now, &["web start", "web die with 3", "web start", "web die with 3", "web start"]);
        happened(&mut tracker, now, &["web die with 3", "db start", "db kill with 15", "db die with 143"]);
        assert_eq!(tracker.overall(Start::UnderWay, now), Overall::Pending(None));
        happened(&mut tracker, now, &["web destroy", "db destroy"]);
        assert!(tracker.services(Start::UnderWay, now).iter().all(|it| it.summary == "not created"));
    }

    #[test]
    fn afterwards_a_service_that_somebody_stops_is_not_ready_even_if_it_exits_with_0() {
        let mut tracker = tracker(r#"{"web": {}}"#, &[]);
        let now = moment();
        tracker.saw(vec![running("web", None)], None, now);
        happened(&mut tracker, now, &["web kill with 15", "web die with 0"]);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Failed);
    }

    #[test]
    fn what_is_told_of_a_container_that_is_gone_fails_nothing() {
        let mut tracker = tracker(r#"{"web": {}}"#, &[]);
        let now = moment();
        tracker.saw(vec![running("web", Some("healthy"))], None, now);
        let [id, action, service, exit_code] = ["earlier", "die", "web", "134"].map(str::to_string);
        tracker.happened(&Happening { id, action, service, exit_code, ..Happening::default() }, now);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Ready);
    }

    #[test]
    fn every_replica_counts_and_one_shots_have_to_do_their_work() {
        let services = r#"{"web": {"scale": 2, "depends_on": {"job": {"condition": "service_completed_successfully"}}},
            "job": {}}"#;
        let mut tracker = tracker(services, &[]);
        let now = moment();
        let web = |id: &str| Inspected { id: id.to_string(), ..running("web", Some("healthy")) };
        tracker.saw(vec![web("1"), running("job", None)], None, now);
        let services = tracker.services(Start::Over, now + STEADY);
        let summaries: Vec<_> = services.iter().map(|it| (it.standing, it.summary.as_str())).collect();
        assert_eq!(summaries, [(Standing::Pending, "at work"), (Standing::Pending, "not created")]);
        tracker.saw(vec![web("1"), web("2"), running("job", None)], None, now);
        happened(&mut tracker, now, &["job die with 0"]);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Ready);
    }
}
