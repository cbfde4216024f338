//! Published ports, as real engines see them. Those that are taken are among `failures.rs`.

use std::net::TcpListener;

use crate::stage::{Stage, page, polite, service, stack};

on_both_pairs![own_port_is_no_obstacle, a_range_with_a_free_port, port_that_is_taken_on_version_6_only, foreground];

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port()
}

/// The running stack has it: the next start, and one that changes the service, have to get by with that.
fn own_port_is_no_obstacle(stage: &Stage) {
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
    assert!(ours.complaints().contains("ports that it publishes are not to be had"));
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
