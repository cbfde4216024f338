//! Ends that nobody has asked for: the program is killed, its folder goes away, nobody reads what it says.

use std::fs;

use rustix::process::Signal;

use crate::support::stage::{Stage, polite, stack, stubborn};

on_both_pairs![
    killed,
    killed_while_starting,
    killed_while_detaching,
    quit_at_the_terminal,
    killed_with_its_group,
    third_press,
    folder_gone,
    nobody_reads,
    compose_file_that_became_a_pipe,
    compose_file_that_became_a_pipe_and_killed,
    reader_dies_of_ctrl_c,
];

fn killed(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), polite("worker", &[])]));
    let events = stage.events();
    let run = stage.tool(&["dev"]).start();
    stage.wait_until_up(&run, &["web", "worker"]);
    run.signal(Signal::KILL);
    // Its output stays open until the guard has done its work.
    run.end().with(-9).says("whose `cargo stagecraft` is gone").says("nothing of it is left");
    stage.assert_gone();
    for service in ["web", "worker"] {
        events.wait_for(&format!("kill {service} 15;"));
        events.wait_for(&format!("die {service} 0;"));
    }
}

/// A stack whose `web` waits for a `db` that never becomes healthy.
fn never_ready(stage: &Stage) {
    stage.compose(&stack(&[
        polite("db", &["healthcheck: {test: [CMD, 'false'], interval: 1s, retries: 1000}"]),
        polite("web", &["depends_on: {db: {condition: service_healthy}}"]),
    ]));
}

fn killed_while_waiting(stage: &Stage, args: &[&str]) {
    never_ready(stage);
    let events = stage.events();
    let run = stage.tool(args).start();
    events.wait_for("exec_die db 1;");
    run.signal(Signal::KILL);
    run.end().with(-9).says("nothing of it is left");
    stage.assert_gone();
    events.wait_for("die db 0;");
}

fn killed_while_starting(stage: &Stage) {
    killed_while_waiting(stage, &["dev"]);
}

fn killed_while_detaching(stage: &Stage) {
    killed_while_waiting(stage, &["dev", "--detach"]);
}

fn quit_at_the_terminal(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let events = stage.events();
    let run = stage.tool(&["dev"]).start_in_terminal();
    stage.wait_until_up(&run, &["web"]);
    run.terminal().type_in(b"\x1c");
    run.end().with(-3);
    stage.assert_gone();
    events.wait_for("die web 0;");
}

fn killed_with_its_group(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let events = stage.events();
    // In a terminal it leads a group of its own.
    let run = stage.tool(&["dev"]).start_in_terminal();
    stage.wait_until_up(&run, &["web"]);
    rustix::process::kill_process_group(run.pid(), Signal::KILL).expect("killed");
    run.end().with(-9);
    stage.assert_gone();
    events.wait_for("die web 0;");
}

fn third_press(stage: &Stage) {
    stage.compose(&stack(&[stubborn("stub")]));
    let events = stage.events();
    let run = stage.tool(&["dev"]).start_in_terminal();
    stage.wait_until_up(&run, &["stub"]);
    run.press_ctrl_c();
    events.wait_for("kill stub 15;");
    // The second press may do its work before the third is heard.
    run.press_ctrl_c();
    run.wait_for("press Ctrl+C again to exit and let the guard finish");
    run.press_ctrl_c();
    run.end().with(130).says("nothing of it is left");
    stage.assert_gone();
}

fn folder_gone(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let events = stage.events();
    let run = stage.tool(&["dev"]).start();
    stage.wait_until_up(&run, &["web"]);
    fs::remove_dir_all(stage.root()).expect("the workspace can be removed");
    run.signal(Signal::INT);
    run.end().with(130).says("nothing of it is left");
    stage.assert_gone();
    events.wait_for("die web 0;");
}

/// `cargo stagecraft dev 2>&1 | head`: Compose dies of SIGPIPE, a `down` too.
fn nobody_reads(stage: &Stage) {
    let script = "trap 'exit 0' TERM; echo web is ready; while :; do echo and talks; sleep 0.1; done";
    stage.compose(&stack(&[crate::support::stage::service("web", script, &[])]));
    let events = stage.events();
    let pipe = format!("{} dev 2>&1 | head -n 12; exit ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_cargo-stagecraft"));
    stage.program("bash", &["-c", &pipe]).run().with(1);
    stage.assert_gone();
    events.wait_for("die web 0;");
}

/// `cargo stagecraft dev 2>&1 | tee log` in a terminal: Ctrl+C ends the reader as well.
fn reader_dies_of_ctrl_c(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), polite("worker", &[])]));
    let events = stage.events();
    let pipe = format!("{} dev 2>&1 | cat", env!("CARGO_BIN_EXE_cargo-stagecraft"));
    let run = stage.program("bash", &["-c", &pipe]).start_in_terminal();
    stage.wait_until_up(&run, &["web", "worker"]);
    run.press_ctrl_c();
    // The exit code is bash's; the terminal stays open until the program itself has ended, too.
    run.end();
    stage.assert_gone();
    for service in ["web", "worker"] {
        events.wait_for(&format!("die {service} 0;"));
    }
}

/// Compose would wait for ever for somebody who writes to it.
fn with_a_pipe_as_compose_file(stage: &Stage, signal: Signal) -> crate::support::run::Ended {
    stage.compose(&stack(&[polite("web", &[])]));
    let run = stage.tool(&["dev"]).start();
    stage.wait_until_up(&run, &["web"]);
    let file = stage.root().join(".stagecraft/dev/compose.yaml");
    fs::remove_file(&file).expect("the compose file");
    stage.program("mkfifo", &[&file.display().to_string()]).run().with(0);
    run.signal(signal);
    run.end()
}

fn compose_file_that_became_a_pipe(stage: &Stage) {
    with_a_pipe_as_compose_file(stage, Signal::INT).with(130).says("nothing of it is left");
    stage.events().wait_for("die web 0;");
    stage.assert_gone();
    for verb in
        [&["dev"][..], &["dev", "--detach"], &["dev", "status"], &["dev", "down"], &["dev", "logs"], &["dev", "env"]]
    {
        stage.tool(verb).run().with(3).says("it is a pipe, a socket or a device, and no regular file");
    }
}

fn compose_file_that_became_a_pipe_and_killed(stage: &Stage) {
    with_a_pipe_as_compose_file(stage, Signal::KILL).with(-9).says("nothing of it is left");
    stage.events().wait_for("die web 0;");
    stage.assert_gone();
}
