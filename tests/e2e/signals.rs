//! Ctrl+C, SIGTERM, SIGHUP: the containers get SIGTERM and their grace, then nothing is left, and the exit code says which
//! signal it was.

use rustix::process::Signal;

use crate::support::stage::{Stage, polite, stack, stubborn};

on_both_pairs![
    ctrl_c_in_a_terminal,
    sigint,
    sigterm,
    sighup,
    terminal_closed,
    one_press_with_a_timeout,
    second_press_kills,
    second_press_during_dev_down,
    nohup,
    sent_by_timeout,
];

/// As a user runs it: through cargo, in a terminal, where Ctrl+C goes to the whole foreground group.
fn ctrl_c_in_a_terminal(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), polite("worker", &[])]));
    let events = stage.events();
    let run = stage.cargo(&["stagecraft", "dev"]).start_in_terminal();
    // Of the terminal itself: what the program or Compose might do to it comes later.
    let before = crate::support::pty::Pty::open().modes();
    stage.wait_until_up(&run, &["web", "worker"]);
    let meanwhile = run.terminal().modes();
    assert!(meanwhile.is_cooked(), "Ctrl+C would be no signal: {meanwhile:?}");
    run.press_ctrl_c();
    run.wait_for("press Ctrl+C again to kill");
    run.wait_for("nothing of it is left");
    assert_eq!(run.terminal().modes(), before);
    run.end().with(130);
    stage.events().wait_for("die web 0;");
    stage.events().wait_for("die worker 0;");
    stage.assert_gone();
    events.wait_for("die web 0;");
    events.wait_for("die worker 0;");
}

fn signalled(stage: &Stage, signal: Signal, code: i32) {
    stage.compose(&stack(&[polite("web", &[]), polite("worker", &[])]));
    let events = stage.events();
    let run = stage.tool(&["dev", "-v"]).start();
    stage.wait_until_up(&run, &["web", "worker"]);
    run.signal(signal);
    let ended = run.end().with(code);
    for line in ["web is ready", "worker is ready"] {
        assert!(ended.stdout.contains(line), "`{line}` is not on stdout");
    }
    // With the other pair `up` would not bear to see its containers vanish, and is ended first.
    if stage.engine.name == "old" {
        assert!(ended.stdout.contains("web says farewell") && ended.stdout.contains("worker says farewell"));
    }
    stage.assert_gone();
    events.wait_for("kill web 15;");
    events.wait_for("die web 0;");
    events.wait_for("die worker 0;");
}

fn sigint(stage: &Stage) {
    signalled(stage, Signal::INT, 130);
}

fn sigterm(stage: &Stage) {
    signalled(stage, Signal::TERM, 143);
}

fn sighup(stage: &Stage) {
    signalled(stage, Signal::HUP, 129);
}

fn terminal_closed(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let events = stage.events();
    let mut run = stage.tool(&["dev"]).start_in_terminal();
    stage.wait_until_up(&run, &["web"]);
    run.close_terminal();
    run.end().with(129);
    stage.assert_gone();
    events.wait_for("die web 0;");
}

/// The service's own grace is far longer than any test waits.
fn one_press_with_a_timeout(stage: &Stage) {
    stage.compose(&stack(&[stubborn("stub")]));
    let events = stage.events();
    let run = stage.tool(&["dev", "--timeout", "1"]).start_in_terminal();
    stage.wait_until_up(&run, &["stub"]);
    run.press_ctrl_c();
    run.end().with(130);
    stage.assert_gone();
    events.wait_for("kill stub 15;");
    events.wait_for("kill stub 9;");
}

fn second_press_kills(stage: &Stage) {
    stage.compose(&stack(&[stubborn("stub"), polite("web", &[])]));
    let events = stage.events();
    let run = stage.tool(&["dev"]).start_in_terminal();
    stage.wait_until_up(&run, &["stub", "web"]);
    run.press_ctrl_c();
    run.wait_for("press Ctrl+C again to kill");
    events.wait_for("kill stub 15;");
    events.wait_for("die web 0;");
    run.press_ctrl_c();
    run.wait_for("press Ctrl+C again to exit");
    run.end().with(130);
    stage.assert_gone();
    events.wait_for("die stub 137;");
}

fn second_press_during_dev_down(stage: &Stage) {
    stage.compose(&stack(&[stubborn("stub")]));
    stage.start_detached();
    stage.wait_for_log("stub", "stub is ready");
    let events = stage.events();
    let run = stage.tool(&["dev", "down"]).start_in_terminal();
    events.wait_for("kill stub 15;");
    run.press_ctrl_c();
    run.end().with(130);
    stage.assert_gone();
    events.wait_for("die stub 137;");
}

/// A hang-up that was ignored from the start stays ignored; SIGTERM still ends the run.
fn nohup(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let tool = env!("CARGO_BIN_EXE_cargo-stagecraft");
    let run = stage.program("sh", &["-c", r#"trap "" HUP; exec "$0" dev"#, tool]).start();
    stage.wait_until_up(&run, &["web"]);
    run.signal(Signal::HUP);
    // Nothing to wait for where nothing happens; but had it been heard, it would be the first, and decide.
    run.signal(Signal::TERM);
    run.end().with(143);
    stage.events().wait_for("die web 0;");
    stage.assert_gone();
}

/// timeout(1) sends its signal to the program and then to the whole group, the program included: one wish, not two.
fn sent_by_timeout(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let events = stage.events();
    let tool = env!("CARGO_BIN_EXE_cargo-stagecraft");
    let run = stage.program("timeout", &["--preserve-status", "--signal", "INT", "1000", tool, "dev"]).start();
    stage.wait_until_up(&run, &["web"]);
    // timeout passes on what it gets itself in the same way as its own.
    run.signal(Signal::INT);
    run.end().with(130).does_not_say("Killing");
    stage.events().wait_for("die web 0;");
    stage.assert_gone();
    events.wait_for("die web 0;");
}
