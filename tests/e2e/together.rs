//! Several commands on one project at the same time: one change after the other, and one owner.

use rustix::process::Signal;

use crate::support::stage::{Stage, compose_in, polite, service, stack};

on_both_pairs![
    two_detached_starts_at_once,
    down_during_a_detached_start,
    down_during_a_foreground_start,
    down_of_a_stack_that_was_there_before,
    a_second_run_follows_the_first,
    a_follower_stays_to_the_end,
    a_start_after_the_kill_of_a_start,
    a_stack_that_another_checkout_has_taken_over_is_left_alone,
];

/// A service that becomes healthy when it is allowed to, and one that waits for it.
fn slow_to_start() -> String {
    let script = "trap 'echo db says farewell; exit 0' TERM; echo db is ready; sleep 1000 & wait";
    let healthcheck = "healthcheck: {test: ['CMD', 'test', '-e', '/gate/open'], interval: 1s, retries: 1000}";
    let db = service("db", script, &["volumes: ['./gate:/gate']", healthcheck]);
    stack(&[db, polite("web", &["depends_on: {db: {condition: service_healthy}}"])])
}

fn open_the_gate(stage: &Stage) {
    std::fs::write(stage.root().join(".stagecraft/dev/gate/open"), "").expect("the gate");
}

/// The folder has to be there before the engine would make it.
fn with_a_gate(stage: &Stage) {
    std::fs::create_dir_all(stage.root().join(".stagecraft/dev/gate")).expect("the gate");
    stage.compose(&slow_to_start());
}

fn two_detached_starts_at_once(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), polite("worker", &[])]));
    let starts = [(); 2].map(|()| stage.tool(&["dev", "--detach"]).start());
    for start in starts {
        start.end().with(0).says("Started");
    }
    stage.assert_running(&["web", "worker"]);
    let created = stage.containers().len();
    assert_eq!(created, 2, "one stack");
    stage.take_down();
}

fn down_during_a_detached_start(stage: &Stage) {
    with_a_gate(stage);
    let start = stage.tool(&["dev", "--detach"]).start();
    stage.events().wait_for("start db;");
    let down = stage.tool(&["dev", "down"]).start();
    down.wait_for("waiting for another command");
    open_the_gate(stage);
    start.end().with(0).says("Started");
    down.end().with(0).says("nothing of it is left");
    stage.assert_gone();
    stage.events().wait_for("start web;");
}

fn down_during_a_foreground_start(stage: &Stage) {
    with_a_gate(stage);
    let run = stage.tool(&["dev"]).start();
    stage.events().wait_for("start db;");
    let down = stage.tool(&["dev", "down"]).start();
    down.wait_for("waiting for another command");
    open_the_gate(stage);
    down.end().with(0).says("nothing of it is left");
    run.end().with(0);
    stage.assert_gone();
    stage.events().wait_for("start web;");
    stage.events().wait_for("die db 0;");
}

/// Nothing is created and nothing is started: that the start is over shows in something else.
fn down_of_a_stack_that_was_there_before(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), polite("worker", &[])]));
    stage.start_detached();
    let run = stage.tool(&["dev"]).start();
    run.wait_for("Attaching to");
    stage.tool(&["dev", "down"]).run().with(0);
    run.end().with(0).says("web says farewell");
    stage.assert_gone();
}

fn a_second_run_follows_the_first(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let first = stage.tool(&["dev"]).start();
    stage.wait_until_up(&first, &["web"]);
    let second = stage.tool(&["dev"]).start_in_terminal();
    second.wait_for("which another run owns");
    second.wait_for("web is ready");
    second.press_ctrl_c();
    second.end().with(130).says("is left as it is");
    stage.assert_running(&["web"]);
    first.signal(Signal::INT);
    first.end().with(130);
    stage.events().wait_for("die web 0;");
    stage.assert_gone();
}

fn a_follower_stays_to_the_end(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let first = stage.tool(&["dev"]).start();
    stage.wait_until_up(&first, &["web"]);
    let second = stage.tool(&["dev"]).start();
    second.wait_for("web is ready");
    first.signal(Signal::INT);
    first.end().with(130);
    second.end().with(0).says("web says farewell").says("the run that owns it has torn it down");
    stage.assert_gone();
}

/// The guard has the lock of the start that was killed, so the next start begins with nothing.
fn a_start_after_the_kill_of_a_start(stage: &Stage) {
    with_a_gate(stage);
    let run = stage.tool(&["dev"]).start();
    stage.events().wait_for("start db;");
    run.signal(Signal::KILL);
    run.end().with(-9);
    open_the_gate(stage);
    stage.start_detached();
    stage.assert_running(&["db", "web"]);
    let events = stage.events();
    events.wait_for("destroy db;");
    stage.take_down();
}

/// By hand, with the same project name: no lock keeps that away.
fn a_stack_that_another_checkout_has_taken_over_is_left_alone(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let run = stage.tool(&["dev"]).start();
    stage.wait_until_up(&run, &["web"]);
    let elsewhere = stage.workspace("elsewhere");
    compose_in(&elsewhere, &stack(&[polite("web", &["environment: {OTHER: checkout}"])]));
    let file = elsewhere.join(".stagecraft/dev/compose.yaml");
    let file = file.to_str().expect("a path that is text");
    let by_hand = |args: &[&str]| {
        let words = [&["compose", "--project-name", &stage.project, "--file", file], args].concat();
        stage.program("docker", &words).run().with(0);
    };
    by_hand(&["up", "--detach"]);
    let theirs = stage.container("web");
    run.signal(Signal::INT);
    let ended = run.end();
    // Compose follows the new container, or ends with the old one.
    assert!([0, 130].contains(&ended.code), "{}", ended.all);
    assert!(ended.complaints().contains("was taken over by"), "{}", ended.all);
    assert!(!ended.all.contains("Removed "), "{}", ended.all);
    assert_eq!(stage.container("web"), theirs);
    stage.assert_running(&["web"]);
    by_hand(&["down"]);
}
