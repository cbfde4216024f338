//! `dev down`: whoever started the stack and whatever has become of the file, afterwards nothing is left; or the truth is
//! told.

use crate::support::stage::{Stage, polite, stack, write};

on_both_pairs![
    started_by_raw_compose,
    running_behind_a_profile,
    service_no_longer_in_the_file,
    foreign_container_on_the_network,
    volumes_are_kept_unless_asked,
    broken_member_manifest,
    honours_the_timeout,
];

fn started_by_raw_compose(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), polite("worker", &[])]));
    stage.compose_by_hand(&["up", "--detach"]);
    stage.assert_running(&["web", "worker"]);
    stage.take_down();
}

/// Compose's own `down` leaves it running and says 0.
fn running_behind_a_profile(stage: &Stage) {
    stage.compose(&stack(&[polite("tools", &["profiles: [extra]"]), polite("web", &[])]));
    let run = stage.tool(&["dev"]).start();
    stage.wait_until_up(&run, &["web"]);
    stage.compose_by_hand(&["--profile", "extra", "up", "--detach", "tools"]);
    stage.assert_running(&["tools", "web"]);
    run.signal(rustix::process::Signal::INT);
    run.end().with(130);
    stage.assert_gone();
}

/// Compose's own `down` leaves it running and says 0.
fn service_no_longer_in_the_file(stage: &Stage) {
    stage.compose(&stack(&[polite("former", &[]), polite("web", &[])]));
    stage.start_detached();
    stage.compose(&stack(&[polite("web", &[])]));
    let events = stage.events();
    stage.take_down();
    events.wait_for("die former 0;");
}

fn foreign_container_on_the_network(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    stage.start_detached();
    let network = format!("{}_default", stage.project);
    let foreign = format!("{}-foreign", stage.project);
    stage.expect_project(&foreign);
    let label = format!("com.docker.compose.project={foreign}");
    let container = stage.engine.ask(&[
        "run",
        "--detach",
        "--label",
        &label,
        "--network",
        &network,
        "stagecraft-test",
        "sleep",
        "1000",
    ]);

    let ended = stage.tool(&["dev", "down"]).run().with(6).says("is not completely torn down");
    assert!(ended.stderr.contains(&format!("  network {network}, used by ")), "names network and user");
    let help = ended.complaints();
    let (_, removal) = help.split_once("help: remove it with `").expect("the command that removes it");
    assert_eq!(stage.containers().len(), 0);
    let state = stage.engine.ask(&["container", "inspect", "--format", "{{.State.Status}}", &container]);
    assert_eq!(state, "running", "somebody else's container is not touched");

    stage.program("sh", &["-c", removal.trim_end_matches('`')]).run().with(0);
    stage.assert_gone();
    stage.engine.remove(&foreign);
}

fn volumes_are_kept_unless_asked(stage: &Stage) {
    stage.compose(&(stack(&[polite("db", &["volumes: ['data:/data']"])]) + "volumes:\n  data:\n"));
    stage.start_detached();
    stage.tool(&["dev", "down"]).run().with(0);
    let left: Vec<String> = stage.engine.remains(&stage.project).into_iter().map(|thing| thing.name).collect();
    assert_eq!(left, [format!("{}_data", stage.project)]);
    stage.tool(&["dev", "down", "--volumes"]).run().with(0);
    stage.assert_gone();
}

/// It must not keep a stack alive; starting one is another matter.
fn broken_member_manifest(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    stage.start_detached();
    write(&stage.root().join("app/Cargo.toml"), "[package\n");
    stage.tool(&["dev", "-d"]).run().with(3);
    stage.take_down();
}

fn honours_the_timeout(stage: &Stage) {
    stage.compose(&stack(&[crate::support::stage::stubborn("stub")]));
    stage.start_detached();
    stage.wait_for_log("stub", "stub is ready");
    let events = stage.events();
    stage.tool(&["dev", "down", "--timeout", "1"]).run().with(0);
    stage.assert_gone();
    events.wait_for("kill stub 15;");
    events.wait_for("die stub 137;");
}
