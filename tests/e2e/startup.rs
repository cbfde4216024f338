//! Interrupted while the stack is still starting: whatever Compose is in the middle of, nothing is left.

use rustix::process::Signal;

use crate::support::run::runs;
use crate::support::stage::{Stage, polite, stack};

on_both_pairs![while_creating, while_starting, before_anything, while_waiting_for_health, while_building];

const MANY: usize = 20;

fn many() -> String {
    let services: Vec<String> = (1..=MANY).map(|n| polite(&format!("s{n:02}"), &[])).collect();
    stack(&services)
}

fn interrupted_at(stage: &Stage, event: &str) {
    stage.compose(&many());
    let events = stage.events();
    let run = stage.tool(&["dev"]).start_in_terminal();
    events.wait_for(event);
    run.press_ctrl_c();
    run.end().with(130).says("nothing of it is left");
    stage.assert_gone();
}

fn while_creating(stage: &Stage) {
    interrupted_at(stage, "create s");
}

fn while_starting(stage: &Stage) {
    interrupted_at(stage, "start s");
}

fn before_anything(stage: &Stage) {
    stage.compose(&many());
    let run = stage.tool(&["dev"]).start();
    run.wait_for("Starting");
    run.signal(Signal::TERM);
    run.end().with(143);
    stage.assert_gone();
}

fn while_waiting_for_health(stage: &Stage) {
    stage.compose(&stack(&[
        polite("db", &["healthcheck: {test: [CMD, 'false'], interval: 1s, retries: 1000}"]),
        polite("web", &["depends_on: {db: {condition: service_healthy}}"]),
    ]));
    let events = stage.events();
    let run = stage.tool(&["dev"]).start_in_terminal();
    // Once the probe has failed: `up` is waiting.
    events.wait_for("exec_die db 1;");
    run.press_ctrl_c();
    run.end().with(130);
    stage.assert_gone();
    events.wait_for("die db 0;");
}

fn while_building(stage: &Stage) {
    // A number that tells this build's process from everybody else's.
    let sleep = format!("sleep 9{:010}", u32::from_str_radix(&stage.id, 16).expect("hexadecimal"));
    let build = "    build:\n      dockerfile_inline: |\n        FROM stagecraft-test\n";
    stage.compose(&format!(
        "services:\n  slow:\n{build}        RUN echo at step $$((6 * 7)); {sleep}\n{}",
        polite("web", &[])
    ));
    let run = stage.tool(&["dev"]).start();
    run.wait_for("at step 42");
    run.signal(Signal::INT);
    run.end().with(130);
    stage.assert_gone();
    let image = format!("{}-slow", stage.project);
    assert!(stage.engine.try_ask(&["image", "inspect", &image]).is_err(), "the image came to be");
    builds_no_longer(&sleep);
}

/// The build has lost its client; the engine ends it, and tells nobody when.
fn builds_no_longer(sleep: &str) {
    let deadline = std::time::Instant::now() + crate::support::engine::DEADLINE;
    while runs(sleep) {
        assert!(std::time::Instant::now() < deadline, "`{sleep}` still runs: the build goes on");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
