//! What is known of the containers of a start, kept up to date by what the engine tells, and what it amounts to.
//!
//! Pure: time comes in with each event. The rules for one container are those of [`crate::readiness`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::expected::Expected;
use crate::compose::Stack;
use crate::engine::{Container, Happening, Health, Inspected};
use crate::readiness::{Role, Standing, role, standing, summary};
use crate::sorted;

/// How long a container without a healthcheck has to run before it is believed to.
pub(super) const STEADY: Duration = Duration::from_secs(3);

/// How a service stands: as the worst of its containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceStanding {
    pub(super) service: String,
    pub(super) standing: Standing,
    /// How that container is.
    pub(super) summary: String,
    /// What it has exited with the last time, if it has.
    pub(super) exit_code: Option<i64>,
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
    /// Somebody has sent it a signal through the engine since it was started.
    was_told_to_end: bool,
    /// It has ended by itself, with this exit code the last time.
    has_died: Option<i64>,
    /// The engine has started it again after that.
    has_crashed: bool,
}

impl Tracker {
    /// For a start of `stack`; `before` is what was there before.
    pub(super) fn new(stack: &Stack, expected: Expected, before: &[Container]) -> Tracker {
        let roles = stack.services.keys().map(|name| (name.clone(), role(stack, name)));
        let known = before.iter().map(|container| (container.id.clone(), container.state == "running"));
        Tracker {
            expected,
            roles: sorted::collect(roles),
            known: sorted::collect(known),
            containers: BTreeMap::new(),
            has_seen_all: false,
        }
    }

    /// Something has happened to a container. Whether that is that the start has started it.
    pub(super) fn happened(&mut self, event: &Happening, now: Instant) -> bool {
        // Once it is known what there is, what is told of anything else is about something that is gone.
        let is_known = !self.has_seen_all || self.containers.contains_key(&event.id);
        if !is_known || !self.expected.has(&event.service) {
            return false;
        }
        if event.action == "destroy" {
            self.containers.remove(&event.id);
            return false;
        }
        // The engine tells also what was before: such a container has been started by an earlier start.
        let was_running = self.known.get(&event.id) == Some(&true);
        let tracked = self.containers.entry(event.id.clone()).or_insert_with(|| Tracked {
            it: Inspected { id: event.id.clone(), service: event.service.clone(), ..Inspected::default() },
            ..Tracked::default()
        });
        let it = &mut tracked.it;
        match event.action.as_str() {
            "create" => it.state = "created".to_string(),
            "start" => {
                if !was_running || tracked.has_died.is_some() || tracked.was_told_to_end {
                    tracked.since = Some(now);
                }
                tracked.has_crashed |= tracked.has_died.is_some();
                tracked.was_told_to_end = false;
                (it.state, it.exit_code, it.error) = ("running".to_string(), 0, String::new());
            }
            "kill" => tracked.was_told_to_end = true,
            "die" => {
                it.state = "exited".to_string();
                it.exit_code = event.exit_code.parse().unwrap_or_default();
                if !tracked.was_told_to_end {
                    tracked.has_died = Some(it.exit_code);
                }
            }
            "oom" => it.out_of_memory = true,
            "pause" => it.state = "paused".to_string(),
            "unpause" => it.state = "running".to_string(),
            action => {
                if let Some(status) = action.strip_prefix("health_status: ") {
                    it.health = Some(Health { status: status.to_string(), failure: None });
                }
            }
        }
        event.action == "start" && !was_running
    }

    /// This is all that there is, by the engine's own word.
    pub(super) fn saw(&mut self, all: Vec<Inspected>, now: Instant) {
        self.has_seen_all = true;
        let mut before = std::mem::take(&mut self.containers);
        for it in all.into_iter().filter(|it| self.expected.has(&it.service)) {
            let mut tracked = before.remove(&it.id).unwrap_or_default();
            if tracked.since.is_none() && self.known.get(&it.id) != Some(&true) {
                tracked.since = Some(now);
            }
            tracked.it = it;
            self.containers.insert(tracked.it.id.clone(), tracked);
        }
    }

    fn standing_of(&self, tracked: &Tracked, start: Start, now: Instant) -> Standing {
        let is_new = !self.known.contains_key(&tracked.it.id);
        let has_ended = tracked.it.state == "exited";
        let is_steady = tracked.since.is_none_or(|since| now >= since + STEADY);
        let standing = standing(&tracked.it, self.role_of(&tracked.it.service), is_steady);
        match start {
            // It may be about to be replaced, or was failing already.
            Start::UnderWay if !is_new || tracked.was_told_to_end => standing.min(Standing::Pending),
            Start::UnderWay | Start::Over if tracked.has_crashed => Standing::Failed,
            Start::Over if has_ended && tracked.was_told_to_end => Standing::Failed,
            Start::UnderWay | Start::Over => standing,
        }
    }

    fn summary_of(&self, tracked: &Tracked, standing: Standing) -> String {
        let it = &tracked.it;
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
        let of_service = |name: &str, wanted: u32| {
            let containers = self.containers.values().filter(|tracked| tracked.it.service == name);
            let mut all: Vec<(Standing, String, Option<i64>)> = containers
                .map(|tracked| {
                    let standing = self.standing_of(tracked, start, now);
                    (standing, self.summary_of(tracked, standing), tracked.has_died.or(tracked.it.ended_with()))
                })
                .collect();
            let missing = usize::try_from(wanted).unwrap_or(usize::MAX).saturating_sub(all.len());
            if missing > 0 && self.expected.is_certain() {
                all.push((Standing::Pending, "not created".to_string(), None));
            }
            sorted::sort(&mut all);
            let (standing, summary, exit_code) = all.pop()?;
            Some(ServiceStanding { service: name.to_string(), standing, summary, exit_code })
        };
        self.expected.services().filter_map(|(name, wanted)| of_service(name, wanted)).collect()
    }

    /// What it amounts to.
    pub(super) fn overall(&self, start: Start, now: Instant) -> Overall {
        let services = self.services(start, now);
        let is = |standing| move |service: &ServiceStanding| service.standing == standing;
        if services.iter().any(is(Standing::Failed)) {
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
    use super::*;
    use crate::compose::Traefik;

    fn tracker(services: &str, before: &[Container]) -> Tracker {
        let json = format!(r#"{{"name": "x", "services": {services}}}"#);
        let stack = Stack::parse(json.as_bytes()).unwrap();
        Tracker::new(&stack, Expected::new(&stack, Traefik::On, &[]), before)
    }

    /// `web start`, `web die 3`, `web health_status: healthy`; a container is called as its service.
    fn happened(tracker: &mut Tracker, now: Instant, story: &[&str]) {
        for line in story {
            let (service, action) = line.split_once(' ').unwrap();
            let (action, exit_code) = action.split_once(" with ").unwrap_or((action, ""));
            let [action, service, exit_code] = [action, service, exit_code].map(str::to_string);
            tracker.happened(&Happening { id: service.clone(), action, service, exit_code }, now);
        }
    }

    fn running(service: &str, health: Option<&str>) -> Inspected {
        let health = health.map(|status| Health { status: status.to_string(), failure: None });
        let [id, service, state] = [service, service, "running"].map(str::to_string);
        Inspected { id, service, state, health, ..Inspected::default() }
    }

    #[test]
    fn a_service_without_a_healthcheck_is_ready_after_it_has_run_for_a_while() {
        let start = Instant::now();
        let mut tracker = tracker(r#"{"web": {}}"#, &[]);
        happened(&mut tracker, start, &["web create", "web start"]);
        assert_eq!(tracker.overall(Start::UnderWay, start), Overall::Pending(None));
        tracker.saw(vec![running("web", None)], start + STEADY / 2);
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
        let now = Instant::now();
        // Told of late: it was running when it was looked for.
        happened(&mut tracker, now, &["web start"]);
        tracker.saw(vec![running("web", None)], now);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Ready);
        happened(&mut tracker, now, &["web kill", "web die with 143", "web start"]);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Pending(Some(now + STEADY)));
    }

    #[test]
    fn a_healthcheck_decides_at_once_whatever_the_time() {
        let mut tracker = tracker(r#"{"web": {}}"#, &[]);
        let now = Instant::now();
        tracker.saw(vec![running("web", Some("starting"))], now);
        assert_eq!(tracker.overall(Start::Over, now + STEADY), Overall::Pending(None));
        happened(&mut tracker, now, &["web health_status: healthy"]);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Ready);
        happened(&mut tracker, now, &["web health_status: unhealthy"]);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Failed);
    }

    #[test]
    fn a_crash_fails_the_start_also_while_it_is_under_way_and_a_restart_does_not_mend_it() {
        let now = Instant::now();
        let mut tracker = tracker(r#"{"web": {}, "db": {}}"#, &[]);
        happened(&mut tracker, now, &["web create", "web start", "web die with 101"]);
        assert_eq!(tracker.overall(Start::UnderWay, now), Overall::Failed);
        happened(&mut tracker, now, &["web start"]);
        assert_eq!(tracker.overall(Start::UnderWay, now), Overall::Failed);
        tracker.saw(vec![running("web", None), running("db", None)], now);
        let services = tracker.services(Start::Over, now + STEADY);
        let standings: Vec<_> = services.iter().map(|it| (it.service.as_str(), it.standing)).collect();
        assert_eq!(standings, [("db", Standing::Ready), ("web", Standing::Failed)]);
    }

    #[test]
    fn a_container_that_is_replaced_or_was_failing_before_fails_nothing() {
        let before = Container { id: "web".into(), state: "restarting".into(), ..Container::default() };
        let mut tracker = tracker(r#"{"web": {}, "db": {}}"#, &[before]);
        let now = Instant::now();
        // The old attempt goes on crashing, and is then taken away; and what Compose stops was told to end.
        happened(&mut tracker, now, &["web start", "web die with 3", "web start", "web die with 3"]);
        happened(&mut tracker, now, &["db start", "db kill", "db die with 143"]);
        assert_eq!(tracker.overall(Start::UnderWay, now), Overall::Pending(None));
        happened(&mut tracker, now, &["web destroy", "db destroy"]);
        assert!(tracker.services(Start::UnderWay, now).iter().all(|it| it.summary == "not created"));
    }

    #[test]
    fn afterwards_a_service_that_somebody_stops_is_not_ready_even_if_it_exits_with_0() {
        let mut tracker = tracker(r#"{"web": {}}"#, &[]);
        let now = Instant::now();
        tracker.saw(vec![running("web", None)], now);
        happened(&mut tracker, now, &["web kill", "web die with 0"]);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Failed);
    }

    #[test]
    fn what_is_told_of_a_container_that_is_gone_fails_nothing() {
        let mut tracker = tracker(r#"{"web": {}}"#, &[]);
        let now = Instant::now();
        tracker.saw(vec![running("web", Some("healthy"))], now);
        let [id, action, service, exit_code] = ["earlier", "die", "web", "134"].map(str::to_string);
        tracker.happened(&Happening { id, action, service, exit_code }, now);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Ready);
    }

    #[test]
    fn every_replica_counts_and_one_shots_have_to_do_their_work() {
        let services = r#"{"web": {"scale": 2, "depends_on": {"job": {"condition": "service_completed_successfully"}}},
            "job": {}}"#;
        let mut tracker = tracker(services, &[]);
        let now = Instant::now();
        let web = |id: &str| Inspected { id: id.to_string(), ..running("web", Some("healthy")) };
        tracker.saw(vec![web("1"), running("job", None)], now);
        let services = tracker.services(Start::Over, now + STEADY);
        let summaries: Vec<_> = services.iter().map(|it| (it.standing, it.summary.as_str())).collect();
        assert_eq!(summaries, [(Standing::Pending, "at work"), (Standing::Pending, "not created")]);
        tracker.saw(vec![web("1"), web("2"), running("job", None)], now);
        happened(&mut tracker, now, &["job die with 0"]);
        assert_eq!(tracker.overall(Start::Over, now), Overall::Ready);
    }
}
