//! `--wait` on stacks where all is well, or where somebody has had enough of waiting. `failures.rs` has the others.

use rustix::process::Signal;

use crate::support::run::Other;
use crate::support::stage::{Stage, page, polite, service, stack};

on_both_pairs![
    a_stack_that_is_ready_already,
    a_changed_service_is_waited_for,
    set_in_cargo_toml,
    foreground,
    foreground_that_never_is,
    in_a_terminal,
    interrupted,
    terminal_closed,
    killed,
    killed_when_nothing_is_to_be_taken_back,
    failure_leaves_a_running_stack_alone,
    some_services_only,
    a_crash_loop_that_is_mended,
    one_failed_start_after_another,
    published_ports_do_not_count_where_they_are_not_to,
    published_ports_behind_a_socket_that_hides_the_processes,
    addresses_in_the_foreground,
];

/// Healthy as soon as somebody has made the file.
fn checked(name: &str, file: &str) -> String {
    let test =
        format!("healthcheck: {{test: [CMD, test, -e, /proof/{file}], interval: 1s, timeout: 5s, retries: 1000}}");
    polite(name, &[&test, "volumes: ['./proof:/proof']"])
}

fn allow(stage: &Stage, file: &str) {
    std::fs::create_dir_all(stage.root().join(".stagecraft/dev/proof")).expect("a folder");
    crate::support::stage::write(&stage.root().join(".stagecraft/dev/proof").join(file), "");
}

fn a_stack_that_is_ready_already(stage: &Stage) {
    allow(stage, "db");
    stage.compose(&stack(&[checked("db", "db"), polite("web", &[])]));
    let wait = || stage.tool(&["dev", "--detach", "--wait"]).run().with(0).says(", ready");
    wait().says("Waiting for web: up for less than 3 s");
    wait().does_not_say("Waiting for");
    stage.take_down();
}

fn a_changed_service_is_waited_for(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), polite("db", &[])]));
    stage.tool(&["dev", "--detach", "--wait"]).run().with(0);
    let db = stage.container("db");
    stage.compose(&stack(&[polite("web", &["environment: {A: b}"]), polite("db", &[])]));
    let ended = stage.tool(&["dev", "--detach", "--wait"]).run().with(0);
    ended.says("Waiting for web: up for less than 3 s").does_not_say("Waiting for db");
    assert_eq!(stage.container("db"), db);
    stage.take_down();
}

fn set_in_cargo_toml(stage: &Stage) {
    let settings = "[workspace.metadata.stagecraft]\nwait = true\ntimeout = 1\n";
    crate::support::stage::write(
        &stage.root().join("Cargo.toml"),
        &format!("[workspace]\nmembers = [\"app\"]\n{settings}"),
    );
    stage.compose(&stack(&[polite("web", &[])]));
    stage.tool(&["dev", "--detach", "--no-wait"]).run().with(0).does_not_say(", ready");
    stage.tool(&["dev", "down", "-v"]).run().with(0).says(" down --timeout 1\n");
    stage.tool(&["dev", "--detach"]).run().with(0).says(", ready");
    stage.take_down();
}

fn foreground(stage: &Stage) {
    stage.compose(&stack(&[checked("web", "web")]));
    let run = stage.tool(&["dev", "--wait"]).start();
    stage.wait_until_up(&run, &["web"]);
    allow(stage, "web");
    run.wait_for(&format!("Ready {} in ", stage.project));
    run.wait_for("web  running (healthy)");
    run.signal(Signal::INT);
    run.end().with(130);
    stage.assert_gone();
}

fn foreground_that_never_is(stage: &Stage) {
    stage.compose(&stack(&[checked("web", "never")]));
    let run = stage.tool(&["dev", "--wait", "--wait-timeout", "1"]).start();
    run.wait_for(&format!("warning: {} is not ready after 1 s: web is still running (starting)", stage.project));
    stage.assert_running(&["web"]);
    run.signal(Signal::TERM);
    run.end().with(143);
    stage.assert_gone();
}

fn in_a_terminal(stage: &Stage) {
    stage.compose(&stack(&[checked("web", "web"), polite("db", &[])]));
    let run = stage.tool(&["dev", "--detach", "--wait"]).start_in_terminal();
    let modes = run.terminal().modes();
    run.wait_for("Waiting for web: running (starting)");
    allow(stage, "web");
    run.wait_for(", ready");
    assert_eq!(run.terminal().modes(), modes);
    run.end().with(0);
    stage.take_down();
}

fn interrupted(stage: &Stage) {
    stage.compose(&stack(&[checked("web", "never")]));
    let run = stage.tool(&["dev", "--detach", "--wait"]).start_in_terminal();
    run.wait_for("Waiting for web: running (starting)");
    run.press_ctrl_c();
    run.end().with(130);
    stage.assert_gone();
    stage.events().wait_for("die web 0;");
}

/// Also while a line of it is alive.
fn terminal_closed(stage: &Stage) {
    stage.compose(&stack(&[checked("web", "never")]));
    let mut run = stage.tool(&["dev", "--detach", "--wait"]).start_in_terminal();
    run.wait_for("Waiting for web: running (starting)");
    run.close_terminal();
    run.end().with(129);
    stage.assert_gone();
    stage.events().wait_for("die web 0;");
}

fn killed(stage: &Stage) {
    stage.compose(&stack(&[checked("web", "never")]));
    let run = stage.tool(&["dev", "--detach", "--wait"]).start();
    run.wait_for("Waiting for web: running (starting)");
    run.signal(Signal::KILL);
    // The guard holds stderr until it is done.
    run.end().with(-9).says("nothing of it is left");
    stage.assert_gone();
}

fn killed_when_nothing_is_to_be_taken_back(stage: &Stage) {
    stage.compose(&stack(&[polite("db", &[])]));
    stage.start_detached();
    stage.compose(&stack(&[polite("db", &[]), checked("web", "never")]));
    let run = stage.tool(&["dev", "--detach", "--wait"]).start();
    run.wait_for("Waiting for web: running (starting)");
    let listener = Other::child_of(run.pid(), "docker events");
    run.signal(Signal::KILL);
    run.end().with(-9);
    listener.ends();
    stage.assert_running(&["db", "web"]);
    stage.take_down();
}

fn failure_leaves_a_running_stack_alone(stage: &Stage) {
    stage.compose(&stack(&[polite("db", &[])]));
    stage.start_detached();
    stage.compose(&stack(&[polite("db", &[]), service("web", "echo no luck; exit 3", &[])]));
    let ended = stage.tool(&["dev", "--detach", "--wait"]).run().with(1).says("web exited with 3").says("no luck");
    ended.says("the stack was running before and is left alone");
    stage.assert_running(&["db"]);
    stage.take_down();
}

/// What another start has left behind, failed, is not this one's.
fn some_services_only(stage: &Stage) {
    stage.compose(&stack(&[polite("db", &[]), service("web", "exit 3", &[])]));
    // It may end a moment after the start is over.
    stage.tool(&["dev", "--detach", "--keep"]).run();
    stage.events().wait_for("die web 3;");
    stage.tool(&["dev", "--detach", "--wait", "--", "db"]).run().with(0).does_not_say("web");
    stage.take_down();
}

/// What crashes again and again is replaced, and its last crashes are not blamed on what replaces it.
fn a_crash_loop_that_is_mended(stage: &Stage) {
    stage.compose(&stack(&[service("web", "exit 3", &["restart: always"]), polite("db", &[])]));
    stage.tool(&["dev", "--detach", "--keep"]).run();
    stage.events().wait_for("die web 3;");
    stage.compose(&stack(&[polite("web", &["restart: always"]), polite("db", &[])]));
    stage.tool(&["dev", "--detach", "--wait"]).run().with(0);
    stage.take_down();
}

/// What was heard of the first is not held against the second.
fn one_failed_start_after_another(stage: &Stage) {
    stage.compose(&stack(&[service("web", "echo no luck; exit 3", &[]), polite("db", &[])]));
    stage.tool(&["dev", "--detach", "--wait"]).run().with(1).says("web exited with 3");
    stage.compose(&stack(&[polite("web", &[]), polite("db", &[])]));
    stage.tool(&["dev", "--detach", "--wait"]).run().with(0);
    stage.take_down();
}

fn published_ports_do_not_count_where_they_are_not_to(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &["ports: ['127.0.0.1::80']"])]));
    let with = |value: &str| {
        stage.tool(&["dev", "--detach", "--wait-timeout", "5"]).env("STAGECRAFT_WAIT_FOR_PORTS", value).run()
    };
    with("false").with(0);
    let status = stage.tool(&["dev", "status"]).run().with(1);
    assert!(status.stdout.contains("nothing listens on port 80 in the container"), "{}", status.stdout);
    stage.tool(&["dev", "status"]).env("STAGECRAFT_WAIT_FOR_PORTS", "false").run().with(0);
    with("true").with(5).says("web is still running: nothing listens on port 80 in the container");
    stage.take_down();
}

/// Somebody else's process has the number that the engine tells, as on another machine: a connection has to tell.
fn published_ports_behind_a_socket_that_hides_the_processes(stage: &Stage) {
    stage.compose(&stack(&[page("web", "hello"), polite("mute", &["ports: ['127.0.0.1::80']"])]));
    let own_pids = ["--fork", "--pid", "--mount-proc", "--kill-child"];
    let tool = env!("CARGO_BIN_EXE_cargo-stagecraft");
    let args = [&own_pids[..], &[tool, "dev", "--detach", "--wait", "--wait-timeout", "5"]].concat();
    let ended = stage.program("unshare", &args).run().with(5);
    let ended = ended
        .says("mute is still running: nothing listens on port 80 in the container; does the program bind 127.0.0.1?");
    ended.says("Ready web").does_not_say("web is still");
}

fn addresses_in_the_foreground(stage: &Stage) {
    stage.compose(&stack(&[page("web", "hello"), polite("db", &[])]));
    let run = stage.tool(&["dev"]).start();
    run.wait_for(&format!("Started {}\n", stage.project));
    run.wait_for("web  running  http://127.0.0.1:");
    run.signal(Signal::INT);
    run.end().with(130);
}
