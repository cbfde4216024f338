//! `dev` in the foreground: how a run ends without an interrupt.

use rustix::process::{Signal, kill_process_group};

use crate::support::run::group_of_child;
use crate::support::stage::{Stage, compose_in, ending, polite, service, stack};

on_both_pairs![
    a_start_that_fails_leaves_a_running_stack,
    everything_finishes_well,
    one_of_all_fails,
    a_crash_while_others_run,
    port_taken_by_another_container,
    command_not_in_the_image,
    without_traces_of_compose_on_stdout,
    taken_down_from_another_terminal,
    stopped_by_hand,
    compose_killed_under_us,
    compose_file_broken_meanwhile,
    kept_after_the_end,
    kept_after_an_interrupt,
];

fn everything_finishes_well(stage: &Stage) {
    stage.compose(&stack(&[ending("migrate", 0), ending("seed", 0)]));
    stage.tool(&["dev"]).run().with(0).says("migrate has done its work").says("every container exited with 0");
    stage.assert_gone();
}

/// Compose's own `up` says 0 here.
fn one_of_all_fails(stage: &Stage) {
    stage.compose(&stack(&[ending("migrate", 3), ending("seed", 0)]));
    let ended = stage.tool(&["dev"]).run().with(1);
    assert_eq!(ended.complaints(), format!("error: {} failed: migrate exited with 3", stage.project));
    stage.assert_gone();
}

/// A stack goes on without one of its services, until it is interrupted.
fn a_crash_while_others_run(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), ending("worker", 3)]));
    let events = stage.events();
    let run = stage.tool(&["dev"]).start();
    stage.wait_until_up(&run, &["web"]);
    events.wait_for("die worker 3;");
    run.wait_for("exited with code 3");
    stage.assert_running(&["web"]);
    run.signal(Signal::INT);
    run.end().with(130);
    stage.events().wait_for("die web 0;");
    stage.assert_gone();
}

fn port_taken_by_another_container(stage: &Stage) {
    let holder = format!("{}-holder", stage.project);
    stage.expect_project(&holder);
    let label = format!("com.docker.compose.project={holder}");
    let id = stage.engine.ask(&[
        "run",
        "--detach",
        "--label",
        &label,
        "--publish",
        "127.0.0.1::80",
        "stagecraft-test",
        "sleep",
        "1000",
    ]);
    let address = stage.engine.ask(&["port", &id, "80/tcp"]);
    stage.compose(&stack(&[polite("web", &[&format!("ports: ['{address}:80']")]), polite("worker", &[])]));
    let ended = stage.tool(&["dev"]).run().with(1);
    assert!(ended.stderr.contains(&format!("web: port {address} is held by container ")), "says who has it");
    assert!(ended.stderr.contains(&format!(" of project {holder}\n")), "and whose that is");
    stage.assert_gone();
    assert_eq!(stage.engine.ask(&["container", "inspect", "--format", "{{.State.Status}}", &id]), "running");
    stage.engine.remove(&holder);
}

fn command_not_in_the_image(stage: &Stage) {
    let broken = "  broken:\n    image: stagecraft-test\n    command: [no-such-program]\n".to_string();
    stage.compose(&stack(&[broken, polite("web", &[])]));
    let ended = stage.tool(&["dev"]).run().with(1);
    assert!(
        ended.complaints().contains("broken could not be started: its command `no-such-program` is not in the image")
    );
    stage.assert_gone();
}

/// What the containers say on stdout is on stdout, and nothing of ours.
fn without_traces_of_compose_on_stdout(stage: &Stage) {
    stage.compose(&stack(&[service("job", "echo the result is 42; echo a warning >&2", &[])]));
    let ended = stage.tool(&["dev", "--quiet"]).run().with(0);
    assert!(ended.stdout.contains("the result is 42"));
    assert!(!ended.stdout.contains(&format!("Network {}", stage.project)));
    assert!(!ended.stderr.contains("the result is 42"));
    stage.assert_gone();
}

fn taken_down_from_another_terminal(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), polite("worker", &[])]));
    let events = stage.events();
    let run = stage.tool(&["dev"]).start();
    stage.wait_until_up(&run, &["web", "worker"]);
    stage.tool(&["dev", "down"]).run().with(0);
    // Compose 2.40 may crash when its containers vanish: see spec/dev/process-mgmt.md.
    run.end_whatever_compose_says().with(0);
    stage.assert_gone();
    for service in ["web", "worker"] {
        events.wait_for(&format!("die {service} 0;"));
    }
}

/// `docker compose stop` in another terminal: nothing crashed, and the run is over.
fn stopped_by_hand(stage: &Stage) {
    // Without a handler for SIGTERM, as a program that is not process 1: ends with 143.
    stage.compose(&stack(&[service("web", "echo web is ready; sleep 1000", &["init: true"])]));
    let run = stage.tool(&["dev"]).start();
    stage.wait_until_up(&run, &["web"]);
    stage.compose_by_hand(&["stop"]);
    run.end().with(0).says("stopped from elsewhere");
    stage.assert_gone();
}

fn compose_killed_under_us(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let events = stage.events();
    let run = stage.tool(&["dev"]).start();
    stage.wait_until_up(&run, &["web"]);
    let group = group_of_child(run.pid(), " up ");
    kill_process_group(group, Signal::KILL).expect("killed");
    run.end().with(1).says("up` ended with signal: 9");
    stage.assert_gone();
    events.wait_for("die web 0;");
}

fn compose_file_broken_meanwhile(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), polite("worker", &[])]));
    let run = stage.tool(&["dev"]).start();
    stage.wait_until_up(&run, &["web", "worker"]);
    compose_in(&stage.root(), "services: [\n");
    run.signal(Signal::INT);
    run.end().with(130);
    stage.events().wait_for("die web 0;");
    stage.events().wait_for("die worker 0;");
    stage.assert_gone();
}

fn kept_after_the_end(stage: &Stage) {
    stage.compose(&stack(&[ending("migrate", 3), ending("seed", 0)]));
    stage.tool(&["dev", "--keep"]).run().with(1).says("the containers are kept because of --keep");
    assert_eq!(stage.containers().len(), 2);
    stage.assert_running(&[]);
    stage.take_down();
}

fn kept_after_an_interrupt(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let run = stage.tool(&["dev", "--keep"]).start();
    stage.wait_until_up(&run, &["web"]);
    run.signal(Signal::INT);
    run.end().with(130);
    stage.events().wait_for("die web 0;");
    assert_eq!(stage.containers()["web"], "exited");
    stage.take_down();
}

/// Somebody follows the advice to look at a failed start in the foreground.
fn a_start_that_fails_leaves_a_running_stack(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    stage.start_detached();
    let web = stage.container("web");
    stage.compose(&format!(
        "{}  broken:\n    image: no-such-image-of-anybody\n    pull_policy: never\n",
        stack(&[polite("web", &[])])
    ));
    for args in [&["dev", "--detach"][..], &["dev"]] {
        stage.tool(args).run().with(1).says("the stack was running before and is left alone");
        stage.assert_running(&["web"]);
        assert_eq!(stage.container("web"), web);
    }
    stage.take_down();
}
