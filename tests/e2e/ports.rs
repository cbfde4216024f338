//! Published ports, as real engines see them. Those that are taken are among `failures.rs`.

use std::net::TcpListener;

use crate::support::stage::{Stage, page, polite, service, stack};

on_both_pairs![
    a_port_of_this_stack_is_no_conflict,
    a_range_with_a_free_port,
    port_that_is_taken_on_version_6_only,
    both_versions_apart,
    a_port_of_a_service_that_is_not_in_the_file,
    own_port_of_another_profile,
    own_port_of_a_one_off,
    a_port_of_a_service_that_is_not_started,
    network_of_none,
    volume_with_another_configuration,
    foreground,
    of_a_generated_file,
];

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port()
}

/// The running stack has it: the next start, and one that changes the service, have to get by with that.
fn a_port_of_this_stack_is_no_conflict(stage: &Stage) {
    let ports = format!("ports: ['127.0.0.1:{}:80']", free_port());
    stage.compose(&stack(&[polite("web", &[&ports])]));
    stage.start_detached();
    stage.start_detached();
    stage.compose(&stack(&[polite("web", &[&ports, "environment: {A: b}"])]));
    stage.start_detached();
    stage.take_down();
}

fn a_range_with_a_free_port(stage: &Stage) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let first = taken.local_addr().expect("an address").port();
    // The kernel gives out neighbours to others seldom, and both to be taken would be an error that says so.
    let ports = format!("ports: ['127.0.0.1:{first}-{}:80']", first + 9);
    stage.compose(&stack(&[polite("web", &[&ports])]));
    // Engine 20.10 takes the first port that no container has, whether it is free or not.
    if stage.engine.name == "old" {
        let ended = stage.tool(&["dev", "--detach"]).run().with(1);
        assert!(ended.complaints().contains(&format!("port {first} is held by ")));
    } else {
        stage.start_detached();
        stage.take_down();
    }
}

/// An engine that publishes on all addresses wants that one too.
fn port_that_is_taken_on_version_6_only(stage: &Stage) {
    let Ok(taken) = TcpListener::bind("[::1]:0") else { return };
    let port = taken.local_addr().expect("an address").port();
    let ports = format!("ports: ['{port}:80']");
    stage.compose(&stack(&[polite("web", &[&ports])]));
    let ours = stage.tool(&["dev", "--detach"]).run().with(1);
    assert!(ours.complaints().contains("these ports are already in use:"));
    stage.assert_gone();
}

fn foreground(stage: &Stage) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let ports = format!("ports: ['127.0.0.1:{port}:80']");
    stage.compose(&stack(&[page("web", "never"), service("proxy", "sleep 1000", &[&ports])]));
    let ended = stage.tool(&["dev"]).run().with(1);
    let line = format!("proxy: port 127.0.0.1:{port} is held by ");
    assert!(ended.stderr.contains(&line), "who has it");
    stage.assert_gone();
}

fn both_versions_apart(stage: &Stage) {
    let port = free_port();
    stage.compose(&stack(&[polite("web", &[&format!("ports: ['0.0.0.0:{port}:80', '[::]:{port}:80']")])]));
    stage.start_detached();
    stage.take_down();

    // Rust's listener at `::` takes version 4 as well; at `::1` it is in the way of version 6 alone.
    let Ok(taken) = TcpListener::bind("[::1]:0") else { return };
    let port = taken.local_addr().expect("an address").port();
    stage.compose(&stack(&[polite("web", &[&format!("ports: ['0.0.0.0:{port}:80']")])]));
    stage.start_detached();
    stage.take_down();
}

/// A renamed service.
fn a_port_of_a_service_that_is_not_in_the_file(stage: &Stage) {
    let ports = format!("ports: ['127.0.0.1:{}:80']", free_port());
    stage.compose(&stack(&[polite("web", &[&ports])]));
    stage.start_detached();
    stage.compose(&stack(&[polite("api", &[&ports])]));
    let web = format!("{}-web-1", stage.project);
    let ended = stage.tool(&["dev", "--detach"]).run().with(1);
    ended
        .says(&format!("is held by {web} of this stack, which is no longer in the file"))
        .says(&format!("docker rm --force {web}"));
    // Compose removes orphans before it creates.
    stage.tool(&["dev", "--detach", "--", "--remove-orphans"]).run().with(0);
    stage.assert_running(&["api"]);
    stage.take_down();
}

fn own_port_of_another_profile(stage: &Stage) {
    let ports = format!("ports: ['127.0.0.1:{}:80']", free_port());
    stage.compose(&stack(&[
        polite("real", &[&ports, "profiles: [real]"]),
        polite("mock", &[&ports, "profiles: [mock]"]),
    ]));
    stage.tool(&["dev", "--detach", "--", "real"]).run().with(0);
    let ended = stage.tool(&["dev", "--detach", "--", "mock"]).run().with(1);
    ended.says(&format!(
        "is held by {}-real-1 of this stack, which is no longer in the file, or only in an inactive profile",
        stage.project
    ));
    stage.assert_running(&["real"]);
    stage.take_down();
}

fn own_port_of_a_one_off(stage: &Stage) {
    let ports = format!("ports: ['127.0.0.1:{}:80']", free_port());
    stage.compose(&stack(&[polite("web", &[&ports])]));
    stage.compose_by_hand(&["run", "--detach", "--service-ports", "web"]);
    let ended = stage.tool(&["dev", "--detach"]).run().with(1);
    ended.says("of this stack, a container of `docker compose run`");
    stage.tool(&["dev", "down"]).run();
    stage.assert_gone();
}

fn a_port_of_a_service_that_is_not_started(stage: &Stage) {
    let ports = format!("ports: ['127.0.0.1:{}:80']", free_port());
    stage.compose(&stack(&[polite("web", &[&ports]), polite("api", &[])]));
    stage.start_detached();
    stage.compose(&stack(&[polite("web", &[]), polite("api", &[&ports])]));
    let ended = stage.tool(&["dev", "--detach", "--", "api"]).run().with(1);
    ended.says(&format!("{}-web-1 of this stack, which this start does not include", stage.project));
    // Both are replaced, before either is started.
    stage.start_detached();
    stage.take_down();
}

fn network_of_none(stage: &Stage) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    stage.compose(&stack(&[polite("web", &["network_mode: none", &format!("ports: ['{port}:80']")])]));
    stage.start_detached();
    stage.take_down();
}

/// Compose 2.26 keeps it without a word, 2.40 asks a question whose answer is no.
fn volume_with_another_configuration(stage: &Stage) {
    let with = |config: &str| {
        stack(&[polite("web", &["volumes: ['data:/data']"])]) + &format!("volumes: {{data: {config}}}\n")
    };
    stage.compose(&with("{labels: {size: small}}"));
    stage.start_detached().does_not_say("another configuration");
    stage.start_detached().does_not_say("another configuration");
    stage.compose(&with("{labels: {size: large}}"));
    let ended = stage.start_detached();
    ended.says(&format!("warning: volume {}_data was created with another configuration", stage.project));
    if stage.engine.name == "new" {
        stage.tool(&["dev", "--detach", "--", "--yes"]).run().with(0).does_not_say("another configuration");
        stage.start_detached().does_not_say("another configuration");
    }
    stage.tool(&["dev", "down", "--volumes"]).run().with(0);
    stage.assert_gone();
}

/// What is to be changed is the manifest.
fn of_a_generated_file(stage: &Stage) {
    std::fs::remove_dir_all(stage.root().join(".stagecraft")).expect("the stage's own compose file");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let manifest = stage.root().join("Cargo.toml");
    let package = std::fs::read_to_string(&manifest).expect("a manifest");
    let table = format!(
        "[workspace.metadata.stagecraft.dev.services.web]\nimage = \"stagecraft-test\"\nports = [\"127.0.0.1:{port}:80\"]\n"
    );
    crate::support::stage::write(&manifest, &format!("{package}\n{table}"));
    let ended = stage.tool(&["dev", "--detach"]).run().with(1);
    ended.says("publish others with Cargo.toml: [workspace.metadata.stagecraft.dev.services.web] `ports`");
    stage.assert_gone();
}
