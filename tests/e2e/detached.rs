//! `dev --detach`: a CI job starts the stack, uses it and takes it down; or the start fails, and says why.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;

use crate::support::stage::{Stage, page, polite, service, stack, write};

on_both_pairs![
    life_cycle,
    color_never_applies_to_compose_too,
    arguments_reach_up,
    progress_of_a_build_is_shown_only_if_it_fails,
    crash_at_start,
    command_not_in_the_image,
    image_missing,
    failed_dependency,
    failed_start_leaves_a_running_stack_alone,
    failed_start_with_keep,
    interrupted_start,
    interrupted_start_leaves_a_running_stack_alone,
];

/// Compose's progress is painted in a terminal as our own lines are, or neither is.
fn color_never_applies_to_compose_too(stage: &Stage) {
    stage.compose(&stack(&[page("web", "hello"), polite("worker", &[])]));
    for (choice, is_painted) in [("auto", true), ("never", false)] {
        for words in [&["dev", "--detach"][..], &["dev", "logs"], &["dev", "down"]] {
            let ended = stage.tool(&[words, &["--color", choice]].concat()).start_in_terminal().end().with(0);
            let painted =
                ended.all.split("\x1b[").skip(1).any(|sequence| {
                    sequence.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
                });
            assert_eq!(painted, is_painted, "{words:?} with {choice}: {:?}", ended.all);
        }
    }
}

/// In a pipe, where the progress of a build would be a line for each step.
fn progress_of_a_build_is_shown_only_if_it_fails(stage: &Stage) {
    let built = |run: &str| {
        let build =
            format!("    build:\n      dockerfile_inline: |\n        FROM stagecraft-test\n        RUN {run}\n");
        stage.compose(&format!("services:\n  web:\n{build}    command: [sleep, '1000']\n    stop_signal: SIGKILL\n"));
    };
    let shows_steps = |text: &str| text.lines().any(|line| line.starts_with("#1 "));
    built("echo fine");
    let started = stage.tool(&["dev", "--detach"]).run().with(0);
    assert!(!shows_steps(&started.all), "{}", started.all);
    let started = stage.tool(&["dev", "--detach", "--verbose", "--", "--build"]).run().with(0);
    assert!(shows_steps(&started.all), "{}", started.all);
    stage.tool(&["dev", "down", "--images"]).run().with(0);

    built("echo the reason && exit 7");
    let failed = stage.tool(&["dev", "--detach"]).run().with(1);
    assert!(shows_steps(&failed.stderr) && failed.stderr.contains("the reason"), "{}", failed.all);
    assert_eq!(failed.stdout, "");
}

fn life_cycle(stage: &Stage) {
    stage.compose(&stack(&[page("web", "hello-from-the-stack"), polite("worker", &[])]));
    let events = stage.events();
    let started = stage.start_detached();
    assert_eq!(started.stdout, "", "stdout is for what was asked for");
    assert!(started.stderr.contains(&format!("Started {} in ", stage.project)));
    let row = |service: &str| {
        let row = started.stderr.lines().find(|line| line.trim_start().starts_with(&format!("{service} ")));
        row.unwrap_or_else(|| panic!("no line about {service}")).split_ascii_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(row("worker")[1..], ["running"]);
    assert_eq!(row("web")[1], "running");
    stage.assert_running(&["web", "worker"]);

    stage.wait_for_log("web", "web is ready");
    let address = row("web")[2].strip_prefix("http://").expect("an address to open");
    let mut browser = TcpStream::connect(address).expect("the address answers");
    browser.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("a request");
    let mut answer = String::new();
    browser.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains(" 200 OK") && answer.ends_with("hello-from-the-stack\n"), "{answer}");

    // The command that the message offers is the one that shows the logs.
    let logs = started.stderr.split('`').find(|text| text.ends_with("logs -f")).expect("how to see the logs");
    let tool = std::path::Path::new(env!("CARGO_BIN_EXE_cargo-stagecraft"));
    let path = format!("{}:{}", tool.parent().expect("a folder").display(), std::env::var("PATH").expect("PATH"));
    stage.program("sh", &["-c", logs]).env("PATH", path).start().wait_for("worker is ready");

    // Once more changes nothing.
    let web = stage.container("web");
    stage.start_detached();
    assert_eq!(stage.container("web"), web);

    let ended = stage.take_down();
    assert!(ended.stderr.contains(&format!("Removed {}; nothing of it is left", stage.project)));
    events.wait_for("kill web 15;");
    events.wait_for("die web 0;");
    events.wait_for("die worker 0;");
    // And again: nothing to do is no failure.
    stage.take_down();
}

fn arguments_reach_up(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), polite("worker", &[])]));
    stage.tool(&["dev", "-d", "--", "worker"]).run().with(0);
    stage.assert_running(&["worker"]);
    stage.take_down();
}

/// Compose's own `up -d` says 0 here.
fn crash_at_start(stage: &Stage) {
    // `late` waits for `gate`, which waits for the crash: so `up -d` returns after it.
    write(&stage.root().join(".stagecraft/dev/crashed"), "");
    let mounted = "volumes: ['./crashed:/crashed']";
    let crash = "echo cannot open the database; echo yes > /crashed; exit 3";
    let health = "healthcheck: {test: [CMD, test, -s, /crashed], interval: 300ms, retries: 1000}";
    stage.compose(&stack(&[
        service("crash", crash, &[mounted]),
        polite("gate", &[mounted, health]),
        polite("late", &["depends_on: {gate: {condition: service_healthy}}"]),
    ]));
    let ended = stage.tool(&["dev", "-d"]).run().with(1).says("cannot open the database");
    assert_eq!(ended.complaints(), format!("error: {} could not be started: crash exited with 3", stage.project));
    stage.assert_gone();
}

/// The program says which command failed, and does not repeat what Compose has said about it.
#[track_caller]
fn fails_to_start(stage: &Stage, reason: &str) {
    let ended = stage.tool(&["dev", "-d"]).run().with(1);
    assert!(ended.complaints().contains(reason), "says why");
    stage.assert_gone();
}

fn command_not_in_the_image(stage: &Stage) {
    let broken = "  broken:\n    image: stagecraft-test\n    command: [no-such-program]\n".to_string();
    stage.compose(&stack(&[broken, polite("web", &[])]));
    fails_to_start(stage, "broken could not be started: its command `no-such-program` is not in the image");
}

fn image_missing(stage: &Stage) {
    let broken = format!("  broken:\n    image: e2e-no-such-image-{}\n    pull_policy: never\n", stage.id);
    stage.compose(&stack(&[broken, polite("web", &[])]));
    fails_to_start(stage, "is not on the engine and could not be pulled");
}

/// Here Compose's own `up -d` fails, and leaves the rest running.
fn failed_dependency(stage: &Stage) {
    stage.compose(&stack(&[
        service("migrate", "echo the schema is too new; exit 4", &[]),
        polite("web", &["depends_on: {migrate: {condition: service_completed_successfully}}"]),
    ]));
    let ended = stage.tool(&["dev", "-d"]).run().with(1).says("the schema is too new");
    assert!(ended.complaints().contains("migrate exited with 4"));
    stage.assert_gone();
}

fn with_broken_service() -> String {
    let broken = "  broken:\n    image: stagecraft-test\n    command: [no-such-program]\n".to_string();
    stack(&[broken, polite("web", &[])])
}

fn failed_start_leaves_a_running_stack_alone(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    stage.start_detached();
    let web = stage.container("web");
    stage.compose(&with_broken_service());
    stage.tool(&["dev", "-d"]).run().with(1).says("the stack was running before and is left alone");
    assert_eq!(stage.container("web"), web);
    stage.assert_running(&["web"]);
    stage.take_down();
}

fn failed_start_with_keep(stage: &Stage) {
    stage.compose(&with_broken_service());
    stage.tool(&["dev", "-d", "--keep"]).run().with(1).says("the containers are kept because of --keep");
    assert_eq!(stage.containers()["broken"], "created");
    stage.take_down();
}

/// A stack whose start never comes to an end.
fn never_healthy() -> String {
    stack(&[
        polite("db", &["healthcheck: {test: [CMD, 'false'], interval: 1s, retries: 1000}"]),
        polite("web", &["depends_on: {db: {condition: service_healthy}}"]),
    ])
}

fn interrupted_start(stage: &Stage) {
    stage.compose(&never_healthy());
    let events = stage.events();
    let run = stage.tool(&["dev", "-d"]).start();
    events.wait_for("start db;");
    run.wait_for("Waiting");
    run.signal(Signal::INT);
    run.end().with(130);
    stage.assert_gone();
    events.wait_for("die db 0;");
}

fn interrupted_start_leaves_a_running_stack_alone(stage: &Stage) {
    stage.compose(&stack(&[polite("old", &[])]));
    stage.start_detached();
    let old = stage.container("old");
    stage.compose(&(never_healthy() + &polite("old", &[])));
    let run = stage.tool(&["dev", "-d"]).start();
    run.wait_for("Waiting");
    run.signal(Signal::TERM);
    run.end().with(143).says("is left as it is");
    assert_eq!(stage.container("old"), old);
    assert_eq!(stage.containers()["old"], "running");
    stage.take_down();
}
