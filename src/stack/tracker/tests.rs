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
        tracker.happened(&ContainerEvent { id: service.clone(), action, service, exit_code, signal, time }, now);
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
    assert_eq!(tracker.overall(StartPhase::UnderWay, start), Overall::Pending(None));
    tracker.saw(vec![running("web", None)], None, start + STEADY / 2);
    let ready = start + STEADY;
    assert_eq!(tracker.overall(StartPhase::Over, start + STEADY / 2), Overall::Pending(Some(ready)));
    assert_eq!(tracker.overall(StartPhase::Over, ready), Overall::Ready);
    happened(&mut tracker, ready, &["web die with 1"]);
    assert_eq!(tracker.overall(StartPhase::Over, ready), Overall::Failed);
}

#[test]
fn one_that_has_been_running_all_along_is_ready_at_once() {
    let before = Container { id: "web".into(), state: "running".into(), ..Container::default() };
    let mut tracker = tracker(r#"{"web": {}}"#, &[before]);
    let now = moment();
    // Told of late: it was running when it was looked for.
    happened(&mut tracker, now, &["web start"]);
    tracker.saw(vec![running("web", None)], None, now);
    assert_eq!(tracker.overall(StartPhase::Over, now), Overall::Ready);
    happened(&mut tracker, now, &["web kill with 15", "web die with 143", "web start"]);
    assert_eq!(tracker.overall(StartPhase::Over, now), Overall::Pending(Some(now + STEADY)));
}

#[test]
fn one_that_was_started_a_moment_before_has_to_go_on() {
    let before = Container { id: "web".into(), state: "running".into(), ..Container::default() };
    let mut tracker = tracker(r#"{"web": {}}"#, &[before]);
    assert!(tracker.asks_for_the_time());
    let (now, at) = (moment(), |second| Some(Timestamp::from_second(second).unwrap()));
    tracker.saw(vec![Inspected { started_at: at(100), ..running("web", None) }], at(101), now);
    let ready = now + STEADY - Duration::from_secs(1);
    assert_eq!(tracker.overall(StartPhase::Over, now), Overall::Pending(Some(ready)));
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
    assert_eq!(tracker.overall(StartPhase::Over, later), Overall::Pending(None));
    assert_eq!(tracker.to_be_heard().iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["web"]);
    tracker.heard("web", vec![Deaf { port: 80, at_loopback: true }]);
    let web = tracker.services(StartPhase::Over, later).pop().unwrap();
    assert_eq!((web.standing, web.summary.as_str()), (Standing::Pending, "nothing listens on port 80 yet"));
    assert!(web.cause.unwrap().ends_with("bind 0.0.0.0 in the program"));
    tracker.heard("web", vec![]);
    assert_eq!(tracker.overall(StartPhase::Over, later), Overall::Ready);
    assert!(tracker.to_be_heard().is_empty());
    // Its next run has to begin anew.
    happened(&mut tracker, later, &["web die with 1", "web start"]);
    assert_eq!(tracker.to_be_heard().len(), 1);
    tracker.saw(vec![exited("web"), exited("job")], None, later);
    assert_eq!(tracker.overall(StartPhase::Over, later), Overall::Failed, "a server that has ended well is none");
}

#[test]
fn a_healthcheck_decides_without_the_steady_time() {
    let mut tracker = tracker(r#"{"web": {}}"#, &[]);
    let now = moment();
    tracker.saw(vec![running("web", Some("starting"))], None, now);
    assert_eq!(tracker.overall(StartPhase::Over, now + STEADY), Overall::Pending(None));
    happened(&mut tracker, now, &["web health_status: healthy"]);
    assert_eq!(tracker.overall(StartPhase::Over, now), Overall::Ready);
    happened(&mut tracker, now, &["web health_status: unhealthy"]);
    assert_eq!(tracker.overall(StartPhase::Over, now), Overall::Failed);
}

#[test]
fn a_crash_that_the_engine_does_not_answer_fails_the_start_also_while_it_is_under_way() {
    let now = moment();
    let mut tracker = tracker(r#"{"web": {}, "db": {}}"#, &[]);
    happened(&mut tracker, now, &["web create", "web start", "web die with 101"]);
    assert!(!tracker.saw_one(Inspected { state: "exited".into(), exit_code: 101, ..running("web", None) }, now));
    assert_eq!(tracker.overall(StartPhase::UnderWay, now), Overall::Failed);
}

#[test]
fn a_crash_that_heals_is_not_a_failure() {
    let start = moment();
    let crash = start + STEADY / 3;
    let mut tracker = tracker(r#"{"web": {}}"#, &[]);
    happened(&mut tracker, start, &["web create", "web start"]);
    tracker.saw(vec![running("web", None)], None, start);
    happened(&mut tracker, crash, &["web die with 1"]);
    assert!(tracker.saw_one(restarting("web", 1), crash), "that is news");
    assert_eq!(tracker.overall(StartPhase::Over, crash), Overall::Pending(None));
    happened(&mut tracker, crash, &["web start"]);
    // The steady time begins anew.
    assert_eq!(tracker.overall(StartPhase::Over, start + STEADY), Overall::Pending(Some(crash + STEADY)));
    assert_eq!(tracker.overall(StartPhase::Over, crash + STEADY), Overall::Ready);
}

#[test]
fn a_one_shot_may_succeed_at_the_second_try() {
    let services = r#"{"web": {"depends_on": {"job": {"condition": "service_completed_successfully"}}}, "job": {}}"#;
    let mut tracker = tracker(services, &[]);
    let now = moment();
    tracker.saw(vec![running("web", Some("healthy")), running("job", None)], None, now);
    happened(&mut tracker, now, &["job die with 1"]);
    tracker.saw_one(restarting("job", 1), now);
    assert_eq!(tracker.overall(StartPhase::Over, now + STEADY), Overall::Pending(None));
    happened(&mut tracker, now, &["job start", "job die with 0"]);
    tracker.saw_one(Inspected { state: "exited".into(), ..running("job", None) }, now);
    assert_eq!(tracker.overall(StartPhase::Over, now), Overall::Ready);
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
        let overall = tracker.overall(StartPhase::Over, after);
        happened(&mut tracker, after, &["web start"]);
        (overall, tracker.services(StartPhase::Over, after)[0].crashes)
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
    assert_eq!(tracker.overall(StartPhase::Over, start + STEADY), Overall::Ready);
    // The events are late; the engine's answer shows two more starts.
    tracker.saw(vec![Inspected { restarts: 2, ..running("web", None) }], None, start + STEADY);
    assert_eq!(tracker.overall(StartPhase::Over, start + STEADY), Overall::Pending(Some(start + STEADY * 2)));
}

#[test]
fn a_signal_that_reloads_is_not_a_stop() {
    let now = moment();
    let mut tracker = tracker(r#"{"web": {}, "job": {}}"#, &[]);
    tracker.saw(vec![running("web", None), running("job", None)], None, now);
    happened(&mut tracker, now, &["job kill with 10", "job die with 0"]);
    assert_eq!(tracker.overall(StartPhase::Over, now + STEADY), Overall::Ready);
    happened(&mut tracker, now, &["web kill with 1", "web die with 3"]);
    assert_eq!(tracker.overall(StartPhase::UnderWay, now + STEADY), Overall::Failed);
    let mut own = running("web", None);
    own.stop_signal = Signal::parse("SIGUSR1").unwrap();
    tracker.saw(vec![own, running("job", None)], None, now);
    happened(&mut tracker, now, &["web kill with 10", "web die with 0"]);
    assert_eq!(tracker.overall(StartPhase::Over, now), Overall::Failed, "somebody has stopped it");
}

#[test]
fn events_of_an_earlier_run_do_not_count() {
    let now = moment();
    let mut tracker = tracker(r#"{"web": {}}"#, &[]);
    let started_at = Some(Timestamp::from_second(1_000_000_000).unwrap());
    tracker.saw(vec![Inspected { started_at, ..running("web", Some("healthy")) }], None, now);
    happened(&mut tracker, now, &["web die with 1"]);
    assert_eq!(tracker.overall(StartPhase::Over, now), Overall::Ready);
}

#[test]
fn a_service_that_the_file_lacks_counts_if_the_start_has_made_it_and_nothing_at_all_is_no_success() {
    let now = moment();
    let before = Container { id: "old".into(), state: "exited".into(), ..Container::default() };
    let stack = Stack::parse(br#"{"name": "x", "services": {"web": {}}}"#).unwrap();
    let guess = Expected::new(&stack, Traefik::On, &["--scale=debug=1".into()]);
    let mut tracker = Tracker::new(&stack, guess, &[before], Ports::Awaited);
    assert_eq!(tracker.overall(StartPhase::Over, now), Overall::Failed);
    let ended = |service: &str| Inspected { state: "exited".into(), exit_code: 3, ..running(service, None) };
    tracker.saw(vec![ended("old"), running("web", Some("healthy"))], None, now);
    assert_eq!(tracker.overall(StartPhase::Over, now), Overall::Ready);
    tracker.saw(vec![ended("old"), running("web", Some("healthy")), ended("debug")], None, now);
    assert_eq!(tracker.overall(StartPhase::Over, now), Overall::Failed);
}

#[test]
fn a_container_that_is_replaced_or_was_failing_before_fails_nothing() {
    let before = Container { id: "web".into(), state: "restarting".into(), ..Container::default() };
    let mut tracker = tracker(r#"{"web": {}, "db": {}}"#, &[before]);
    let now = moment();
    // The old container goes on crashing until it is removed; Compose stops the others on purpose.
    happened(&mut tracker, now, &["web start", "web die with 3", "web start", "web die with 3", "web start"]);
    happened(&mut tracker, now, &["web die with 3", "db start", "db kill with 15", "db die with 143"]);
    assert_eq!(tracker.overall(StartPhase::UnderWay, now), Overall::Pending(None));
    happened(&mut tracker, now, &["web destroy", "db destroy"]);
    assert!(tracker.services(StartPhase::UnderWay, now).iter().all(|it| it.summary == "not created"));
}

#[test]
fn a_service_stopped_later_is_not_ready_even_with_exit_code_0() {
    let mut tracker = tracker(r#"{"web": {}}"#, &[]);
    let now = moment();
    tracker.saw(vec![running("web", None)], None, now);
    happened(&mut tracker, now, &["web kill with 15", "web die with 0"]);
    assert_eq!(tracker.overall(StartPhase::Over, now), Overall::Failed);
}

/// A quick restart is over before the event of the end has arrived.
#[test]
fn an_end_that_is_told_after_the_restart_was_seen_is_asked_about() {
    let now = moment();
    let mut tracker = tracker(r#"{"web": {}}"#, &[]);
    happened(&mut tracker, now, &["web create", "web start"]);
    let again = Inspected {
        restarts: 1,
        started_at: Some(Timestamp::from_second(1_000_000_000).unwrap()),
        ..running("web", None)
    };
    tracker.saw(vec![again.clone()], None, now);
    let [id, service] = ["web", "web"].map(str::to_string);
    let (action, exit_code, signal) = ("die".to_string(), "1".to_string(), String::new());
    let late = ContainerEvent { id, action, service, exit_code, signal, time: 0 };
    assert_eq!(tracker.happened(&late, now), Consequence::Ask);
    assert!(tracker.saw_one(again, now), "that is news");
    assert_eq!(tracker.overall(StartPhase::Over, now), Overall::Pending(Some(now + STEADY)));
}

#[test]
fn events_of_a_removed_container_do_not_fail() {
    let mut tracker = tracker(r#"{"web": {}}"#, &[]);
    let now = moment();
    tracker.saw(vec![running("web", Some("healthy"))], None, now);
    let [id, action, service, exit_code] = ["earlier", "die", "web", "134"].map(str::to_string);
    tracker.happened(&ContainerEvent { id, action, service, exit_code, ..ContainerEvent::default() }, now);
    assert_eq!(tracker.overall(StartPhase::Over, now), Overall::Ready);
}

#[test]
fn every_replica_counts_and_one_shots_have_to_do_their_work() {
    let services = r#"{"web": {"scale": 2, "depends_on": {"job": {"condition": "service_completed_successfully"}}},
        "job": {}}"#;
    let mut tracker = tracker(services, &[]);
    let now = moment();
    let web = |id: &str| Inspected { id: id.to_string(), ..running("web", Some("healthy")) };
    tracker.saw(vec![web("1"), running("job", None)], None, now);
    let services = tracker.services(StartPhase::Over, now + STEADY);
    let summaries: Vec<_> = services.iter().map(|it| (it.standing, it.summary.as_str())).collect();
    assert_eq!(summaries, [(Standing::Pending, "at work"), (Standing::Pending, "not created")]);
    tracker.saw(vec![web("1"), web("2"), running("job", None)], None, now);
    happened(&mut tracker, now, &["job die with 0"]);
    assert_eq!(tracker.overall(StartPhase::Over, now), Overall::Ready);
}
