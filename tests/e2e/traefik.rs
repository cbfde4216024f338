//! `dev --no-traefik`.

use crate::support::stage::{Stage, polite, stack};

on_both_pairs![present, absent, behind_an_inactive_profile, depended_on, already_running, in_the_foreground];

fn present(stage: &Stage) {
    stage.compose(&stack(&[polite("traefik", &[]), polite("web", &[])]));
    stage.tool(&["dev", "-d", "--no-traefik"]).run().with(0).does_not_say("note: the stack has no");
    stage.assert_running(&["web"]);
    assert_eq!(stage.containers().len(), 1);
    stage.take_down();
}

const NOTE: &str = "note: the stack has no active service `traefik` to leave out";

fn absent(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    stage.tool(&["dev", "-d", "--no-traefik"]).run().with(0).says(NOTE);
    stage.assert_running(&["web"]);
    stage.take_down();
}

fn behind_an_inactive_profile(stage: &Stage) {
    stage.compose(&stack(&[polite("traefik", &["profiles: [proxy]"]), polite("web", &[])]));
    stage.tool(&["dev", "-d", "--no-traefik"]).run().with(0).says(NOTE);
    stage.assert_running(&["web"]);
    stage.take_down();
}

fn depended_on(stage: &Stage) {
    stage.compose(&stack(&[
        polite("traefik", &["healthcheck: {test: [CMD, 'true'], interval: 1s}"]),
        polite("web", &["depends_on: {traefik: {condition: service_healthy}}"]),
        polite("worker", &["depends_on: [traefik]"]),
    ]));
    stage.tool(&["dev", "-d", "--no-traefik"]).run().with(0);
    stage.assert_running(&["web", "worker"]);
    assert_eq!(stage.containers().len(), 2);
    stage.take_down();
}

fn already_running(stage: &Stage) {
    stage.compose(&stack(&[polite("traefik", &[]), polite("web", &[])]));
    stage.start_detached();
    stage.assert_running(&["traefik", "web"]);
    let web = stage.container("web");
    stage.tool(&["dev", "-d", "--no-traefik"]).run().with(0);
    stage.assert_running(&["web"]);
    assert_eq!(stage.containers().len(), 1, "traefik is removed, not only stopped");
    assert_eq!(stage.container("web"), web);
    stage.take_down();
}

fn in_the_foreground(stage: &Stage) {
    stage.compose(&stack(&[polite("traefik", &[]), polite("web", &[])]));
    let run = stage.tool(&["dev", "--no-traefik"]).start();
    stage.wait_until_up(&run, &["web"]);
    stage.assert_running(&["web"]);
    run.signal(rustix::process::Signal::INT);
    run.end().with(130).does_not_say("traefik is ready");
    stage.events().wait_for("die web 0;");
    stage.assert_gone();
}
