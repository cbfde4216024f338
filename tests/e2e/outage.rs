//! The engine goes away or comes back under a run or a teardown, and docker itself ends without having been asked: what
//! can be done is tried again for a bounded time, and what is left, or cannot be known, is said.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::own_engine::OwnEngine;
use crate::support::proxy::Proxy;
use crate::support::run::{Ended, Run, command_line, group_of_child};
use crate::support::stage::{Stage, polite, stack, stubborn};

on_both_pairs![
    engine_away_during_a_run_and_back,
    engine_away_during_a_start_and_back,
    engine_away_during_a_teardown_and_back,
    engine_away_during_dev_down_and_back,
    engine_restarted_during_a_run,
    engine_killed_during_a_run,
    engine_gone_for_good,
    second_press_while_the_engine_is_away,
    sigterm_to_docker_alone,
    docker_killed,
    docker_killed_while_starting,
    docker_killed_during_a_teardown,
    docker_killed_during_dev_down,
    sigterm_to_docker_during_a_teardown,
    plugin_killed,
];

/// What is said once when the engine does not answer and is asked again.
const WAITING: &str = "for the engine";

fn engine_that_can_go_away(stage: &Stage) -> Proxy {
    Proxy::before(&stage.engine.host, stage.temp())
}

/// `up` ends when it loses its engine, and the stack is taken down as soon as that is possible.
fn engine_away_during_a_run_and_back(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), polite("worker", &[])]));
    let (proxy, events) = (engine_that_can_go_away(stage), stage.events());
    let run = stage.tool(&["dev"]).env("DOCKER_HOST", proxy.host()).start();
    stage.wait_until_up(&run, &["web", "worker"]);
    proxy.go_away();
    run.wait_for(WAITING);
    stage.assert_running(&["web", "worker"]);
    proxy.come_back();
    waited_once(run.end().with(1).says("nothing of it is left"));
    stage.assert_gone();
    events.wait_for("die web 0;");
    events.wait_for("die worker 0;");
}

/// The engine may still be at work on what it was asked for.
fn engine_away_during_a_start_and_back(stage: &Stage) {
    let services: Vec<String> = (1..=20).map(|n| polite(&format!("s{n:02}"), &[])).collect();
    stage.compose(&stack(&services));
    let (proxy, events) = (engine_that_can_go_away(stage), stage.events());
    let run = stage.tool(&["dev"]).env("DOCKER_HOST", proxy.host()).start();
    events.wait_for("create s");
    proxy.go_away();
    run.wait_for(WAITING);
    proxy.come_back();
    waited_once(run.end().with(1).says("nothing of it is left"));
    stage.assert_gone();
}

/// A run that waits for its engine, which has gone away in the middle of the grace that a container gets.
fn interrupted_and_without_an_engine(stage: &Stage) -> (Proxy, Run) {
    stage.compose(&stack(&[stubborn("stub"), polite("web", &[])]));
    let (proxy, events) = (engine_that_can_go_away(stage), stage.events());
    let run = stage.tool(&["dev", "--timeout", "3"]).env("DOCKER_HOST", proxy.host()).start();
    stage.wait_until_up(&run, &["stub", "web"]);
    run.signal(Signal::INT);
    events.wait_for("kill stub 15;");
    proxy.go_away();
    run.wait_for(WAITING);
    (proxy, run)
}

fn engine_away_during_a_teardown_and_back(stage: &Stage) {
    let (proxy, run) = interrupted_and_without_an_engine(stage);
    proxy.come_back();
    waited_once(run.end().with(130).says("nothing of it is left"));
    stage.assert_gone();
}

fn engine_away_during_dev_down_and_back(stage: &Stage) {
    stage.compose(&stack(&[stubborn("stub"), polite("web", &[])]));
    stage.start_detached();
    stage.wait_for_log("stub", "stub is ready");
    let (proxy, events) = (engine_that_can_go_away(stage), stage.events());
    let run = stage.tool(&["dev", "down", "--timeout", "3"]).env("DOCKER_HOST", proxy.host()).start();
    events.wait_for("kill stub 15;");
    proxy.go_away();
    run.wait_for(WAITING);
    proxy.come_back();
    waited_once(run.end().with(0).says("nothing of it is left"));
    stage.assert_gone();
}

fn waited_once(ended: Ended) -> Ended {
    assert_eq!(ended.stderr.matches(WAITING).count(), 1, "says once that it waits");
    assert!(!ended.complaints().contains("cannot check what is left"), "what is left is known in the end");
    ended
}

/// A real one. When it is stopped it stops its containers; killed, it leaves them behind, and takes them for its own
/// again later.
fn engine_ends_during_a_run(stage: &Stage, signal: &str) {
    stage.compose(&stack(&[polite("web", &[]), polite("worker", &[])]));
    let mut engine = OwnEngine::start(stage);
    let run = stage.tool(&["dev"]).env("DOCKER_HOST", engine.host()).start();
    run.wait_for("web is ready");
    run.wait_for("worker is ready");
    engine.end_with(signal);
    run.wait_for(WAITING);
    engine.come_back();
    waited_once(run.end_whatever_compose_says().with(1).says("nothing of it is left"));
    engine.assert_gone();
}

fn engine_restarted_during_a_run(stage: &Stage) {
    engine_ends_during_a_run(stage, "TERM");
}

fn engine_killed_during_a_run(stage: &Stage) {
    engine_ends_during_a_run(stage, "KILL");
}

/// It has waited as long as it does; what is left cannot be known, and how to remove it can.
fn engine_gone_for_good(stage: &Stage) {
    let (proxy, run) = interrupted_and_without_an_engine(stage);
    let removal = cannot_be_known(stage, &run.end());
    proxy.come_back();
    stage.program("sh", &["-c", &removal]).env("DOCKER_HOST", proxy.host()).run().with(0);
    stage.assert_gone();
}

/// Whoever presses again has no patience for the engine either.
fn second_press_while_the_engine_is_away(stage: &Stage) {
    let (_proxy, run) = interrupted_and_without_an_engine(stage);
    run.signal(Signal::INT);
    let removal = cannot_be_known(stage, &run.end());
    stage.program("sh", &["-c", &removal]).run().with(0);
    stage.assert_gone();
}

/// The program has ended with 6; returns the command that it names.
#[track_caller]
fn cannot_be_known(stage: &Stage, ended: &Ended) -> String {
    let project = &stage.project;
    assert_eq!(ended.code, 6, "exit code");
    let complaints = ended.complaints();
    let lines: Vec<&str> = complaints.lines().collect();
    let error = format!("error: cannot check what is left of {project}: the docker engine does not answer: ");
    assert!(lines.iter().any(|line| line.starts_with(&error)), "does not say `{error}…`");
    let help = lines.iter().find_map(|line| line.strip_prefix("help: once the engine answers, remove it with `"));
    let removal = help.and_then(|help| help.strip_suffix('`')).expect("the command that removes it");
    assert_eq!(removal, format!("docker compose -p {project} down --remove-orphans"));
    removal.to_string()
}

/// Marks every process of a run, also those that nobody waits for.
const MARK: &str = "STAGECRAFT_E2E_MARK";

fn marked_run(stage: &Stage, args: &[&str]) -> Run {
    stage.tool(args).env(MARK, &stage.id).start()
}

/// That no process of the run is left, whoever has started it.
#[track_caller]
fn assert_no_process_left(stage: &Stage) {
    let mark = format!("{MARK}={}", stage.id);
    let files = fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let processes = files.filter_map(|name| Pid::from_raw(name.parse().ok()?));
    let left = processes.filter(|pid| {
        let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    });
    let left: Vec<String> = left.map(command_line).collect();
    assert!(left.is_empty(), "still running: {left:#?}");
}

/// The docker client that the program has started for this; it leads a group of its own.
fn docker(run: &Run, words: &str) -> Pid {
    group_of_child(run.pid(), words)
}

/// The Compose plugin that this docker client has started.
fn plugin(docker: Pid) -> Pid {
    let threads = fs::read_dir(format!("/proc/{}/task", docker.as_raw_nonzero())).expect("its threads");
    let children = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    let children: String = children.collect();
    let mut pids = children.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
    pids.find(|pid| command_line(*pid).contains("docker-compose")).expect("the Compose plugin")
}

/// A run loses its `up` in some way; the containers get their SIGTERM and their grace all the same. What they say then
/// is not seen: Compose stops listening to them when it is told to end.
fn ends_under_us(stage: &Stage, kill: fn(&Run)) -> Ended {
    stage.compose(&stack(&[polite("web", &[]), polite("worker", &[])]));
    let events = stage.events();
    let run = marked_run(stage, &["dev"]);
    stage.wait_until_up(&run, &["web", "worker"]);
    kill(&run);
    let ended = run.end_whatever_compose_says().says("nothing of it is left");
    stage.assert_gone();
    assert_no_process_left(stage);
    for service in ["web", "worker"] {
        events.wait_for(&format!("die {service} 0;"));
    }
    ended
}

/// Compose stops the containers and ends with 130, which is a failure, unlike a stack that was stopped from elsewhere.
/// But 2.26 crashes about every fifth time when it has stopped them (`close of closed channel`), and a crash of Compose
/// after containers were stopped is none.
fn sigterm_to_docker_alone(stage: &Stage) {
    let ended = ends_under_us(stage, |run| kill_process(docker(run, " up "), Signal::TERM).expect("signalled"));
    if ended.all.contains("panic:") {
        ended.with(0).says("stopped from elsewhere");
    } else {
        ended.with(1).says("up` ended with exit status: 130");
    }
}

/// The plugin that it has started notices, and stops the containers as well.
fn docker_killed(stage: &Stage) {
    let ended = ends_under_us(stage, |run| kill_process(docker(run, " up "), Signal::KILL).expect("killed"));
    ended.with(1).says("up` ended with signal: 9");
}

fn plugin_killed(stage: &Stage) {
    let ended = ends_under_us(stage, |run| kill_process(plugin(docker(run, " up ")), Signal::KILL).expect("killed"));
    ended.with(1).says("up` ended with exit status: 255");
}

/// The plugin outlives it, and may still be creating containers.
fn docker_killed_while_starting(stage: &Stage) {
    let services: Vec<String> = (1..=20).map(|n| polite(&format!("s{n:02}"), &[])).collect();
    stage.compose(&stack(&services));
    let events = stage.events();
    let run = marked_run(stage, &["dev"]);
    events.wait_for("create s");
    kill_process(docker(&run, " up "), Signal::KILL).expect("killed");
    run.end_whatever_compose_says().with(1).says("nothing of it is left");
    assert_no_process_left(stage);
    stage.assert_gone();
}

/// The docker client of a teardown step ends in the middle of a container's grace.
fn ends_during_a_teardown(stage: &Stage, signal: Signal) {
    stage.compose(&stack(&[stubborn("stub"), polite("web", &[])]));
    let events = stage.events();
    let run = marked_run(stage, &["dev", "--timeout", "3"]);
    stage.wait_until_up(&run, &["stub", "web"]);
    run.signal(Signal::INT);
    events.wait_for("kill stub 15;");
    kill_process(docker(&run, " down "), signal).expect("signalled");
    run.end().with(130).says("nothing of it is left");
    stage.assert_gone();
    assert_no_process_left(stage);
    events.wait_for("die web 0;");
}

fn docker_killed_during_a_teardown(stage: &Stage) {
    ends_during_a_teardown(stage, Signal::KILL);
}

fn sigterm_to_docker_during_a_teardown(stage: &Stage) {
    ends_during_a_teardown(stage, Signal::TERM);
}

fn docker_killed_during_dev_down(stage: &Stage) {
    stage.compose(&stack(&[stubborn("stub"), polite("web", &[])]));
    stage.start_detached();
    stage.wait_for_log("stub", "stub is ready");
    let events = stage.events();
    let run = marked_run(stage, &["dev", "down", "--timeout", "3"]);
    events.wait_for("kill stub 15;");
    kill_process(docker(&run, " down "), Signal::KILL).expect("killed");
    run.end().with(0).says("nothing of it is left");
    stage.assert_gone();
    assert_no_process_left(stage);
}
