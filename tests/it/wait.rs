//! `--wait`, and the look at the ports before a start.

use std::net::TcpListener;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use snapbox::str;

use crate::support::{Sandbox, UpEnds, Verb};

/// A sandbox whose containers are like this after `up`, and whose engine goes on telling what happens.
fn with_health(health: &'static str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| world.health = health);
    sandbox.engine.hold(Verb::Starts);
    sandbox
}

fn becomes(sandbox: &Sandbox, service: &str, health: &'static str) {
    sandbox.engine.world(|world| {
        let container = world.containers.iter_mut().find(|container| container.service == service);
        container.expect("a container").health = health;
    });
    sandbox.engine.happens(service, &format!("health_status: {health}"), "");
}

#[test]
fn a_start_returns_when_every_service_is_healthy_and_not_before() {
    let sandbox = with_health("starting");
    let run = sandbox.stagecraft(["dev", "--detach", "--wait"]).in_terminal();
    run.wait_for_text("Waiting for db: running (starting)");
    becomes(&sandbox, "db", "healthy");
    run.wait_for_text("db: running (healthy)");
    becomes(&sandbox, "api", "healthy");
    run.wait().exits(0).says("s, ready\n");
    // What it listened to is gone with it.
    assert!(sandbox.engine.wait_gone(Verb::Starts).was_killed());
    // Once when `up -d` had returned, and once for the last word.
    assert_eq!(sandbox.engine.calls_of(Verb::Inspect).len(), 2);
}

#[test]
fn without_a_terminal_there_is_a_line_for_each_change() {
    let sandbox = with_health("starting");
    let run = sandbox.stagecraft(["dev", "--detach", "--wait"]).start();
    sandbox.engine.wait_gone(Verb::Inspect);
    becomes(&sandbox, "db", "healthy");
    becomes(&sandbox, "api", "healthy");
    run.wait().exits(0).tells(str![[r#"
    Starting shop
     Waiting for api: running (starting)
     Waiting for db: running (starting)
       Ready db: running (healthy)
       Ready api: running (healthy)
     Started shop in [..]s, ready
             api  running (healthy)
             db   running (healthy)
note: see its logs with `cargo stagecraft dev logs -f`
note: stop it with `cargo stagecraft dev down`

"#]]);
}

#[test]
fn a_stack_that_was_running_is_ready_at_once() {
    let sandbox = with_health("");
    let root = sandbox.root().to_owned();
    sandbox.engine.world(|world| {
        world.add_container("shop", "api", "running", &root);
        world.add_container("shop", "db", "running", &root);
    });
    let finished = sandbox.run(["dev", "--detach", "--wait"]).exits(0);
    assert!(!finished.stderr.contains("Waiting"), "{}", finished.stderr);
}

#[test]
fn a_service_without_a_healthcheck_has_to_run_for_a_while() {
    let sandbox = with_health("");
    let finished = sandbox.run(["dev", "--detach", "--wait"]).exits(0);
    assert!(finished.stderr.contains("Waiting for api: up for less than 3 s"), "{}", finished.stderr);
}

#[test]
fn a_crash_ends_the_wait_at_once_and_the_start_is_taken_back() {
    let sandbox = with_health("starting");
    sandbox.engine.world(|world| world.log = "the schema is too new\n");
    let run = sandbox.stagecraft(["dev", "--detach", "--wait"]).start();
    sandbox.engine.wait_gone(Verb::Inspect);
    sandbox.engine.world(|world| world.exits("db", 4));
    sandbox.engine.happens("db", "die", "4");
    run.wait().exits(1).tells(str![[r#"
    Starting shop
     Waiting for api: running (starting)
     Waiting for db: running (starting)
             SERVICE  STATE               DETAIL
             api      running (starting)
             db       exited (4)
---- log of shop-db-1, its last 50 lines at most
the schema is too new
     Removed shop; nothing of it is left
error: shop did not become ready: db exited with 4

"#]]);
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

#[test]
fn a_crash_ends_also_an_up_that_still_waits_for_something_else() {
    let sandbox = with_health("starting");
    sandbox.engine.world(|world| world.up_ends = UpEnds::Never);
    let run = sandbox.stagecraft(["dev", "--detach", "--wait"]).start();
    sandbox.engine.wait_running(Verb::Up);
    sandbox.engine.happens("db", "start", "");
    sandbox.engine.world(|world| world.exits("db", 101));
    sandbox.engine.happens("db", "die", "101");
    run.wait().exits(1).says("db exited with 101: a panic in Rust");
    assert!(sandbox.engine.only(Verb::Up).was_killed());
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

#[test]
fn a_container_that_compose_replaces_fails_nothing() {
    let sandbox = with_health("healthy");
    let root = sandbox.root().to_owned();
    sandbox.engine.world(|world| {
        world.add_container("shop", "db", "running", &root);
        world.up_ends = UpEnds::Never;
    });
    let run = sandbox.stagecraft(["dev", "--detach", "--wait"]).start();
    sandbox.engine.wait_running(Verb::Up);
    for (action, code) in [("kill", ""), ("die", "143"), ("start", "")] {
        sandbox.engine.happens("db", action, code);
    }
    sandbox.engine.end(Verb::Up, crate::support::Reply::exit(0));
    run.wait().exits(0);
}

#[test]
fn a_timeout_is_exit_5_and_names_the_service() {
    let sandbox = with_health("starting");
    let args = ["dev", "--detach", "--wait", "--wait-timeout", "0"];
    sandbox.run(args).exits(5).says(
        "error: shop was not ready within 0 s: api is still running (starting); db is still running (starting)\n",
    );
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

#[test]
fn an_interrupted_wait_takes_the_start_back() {
    let sandbox = with_health("starting");
    let run = sandbox.stagecraft(["dev", "--detach", "--wait"]).start();
    sandbox.engine.wait_gone(Verb::Inspect);
    sandbox.engine.wait_called(Verb::Starts, 1);
    run.signal(Signal::TERM);
    run.wait().exits(143);
    assert!(sandbox.engine.world(|world| world.is_empty()));
    assert!(sandbox.engine.wait_gone(Verb::Starts).was_killed());
}

#[test]
fn a_wait_that_leaves_a_running_stack_alone_leaves_no_listener_when_it_is_killed() {
    let sandbox = with_health("starting");
    let root = sandbox.root().to_owned();
    sandbox.engine.world(|world| drop(world.add_container("shop", "db", "running", &root).clone()));
    let run = sandbox.stagecraft(["dev", "--detach", "--wait"]).start();
    sandbox.engine.wait_gone(Verb::Inspect);
    sandbox.engine.wait_called(Verb::Starts, 1);
    run.signal(Signal::KILL);
    assert!(sandbox.engine.wait_gone(Verb::Starts).was_killed());
    run.wait().dies_of(Signal::KILL);
    assert!(!sandbox.engine.calls().iter().any(|call| call.verb == Verb::Down), "it ran before we came");
}

#[test]
fn an_engine_that_tells_no_more_ends_the_wait() {
    let sandbox = with_health("starting");
    let run = sandbox.stagecraft(["dev", "--detach", "--wait"]).start();
    sandbox.engine.wait_gone(Verb::Inspect);
    sandbox.engine.release(Verb::Starts);
    run.wait().exits(1).says("shop did not become ready: api is still running (starting)");
}

#[test]
fn a_foreground_run_reports_readiness() {
    for (health, says) in [("healthy", "shop in "), ("unhealthy", ": shop is not ready: db is unhealthy")] {
        let sandbox = with_health("starting");
        let run = sandbox.stagecraft(["dev", "--wait"]).in_terminal();
        sandbox.engine.wait_running(Verb::Up);
        sandbox.engine.happens("api", "start", "");
        sandbox.engine.wait_gone(Verb::Inspect);
        becomes(&sandbox, "api", "healthy");
        becomes(&sandbox, "db", health);
        run.wait_for_text(says);
        run.press_ctrl_c();
        run.wait().exits(130);
    }
}

#[test]
fn a_wait_whose_listener_dies_asks_the_engine() {
    let sandbox = with_health("healthy");
    let pid = |call: crate::support::Call| Pid::from_raw(call.pid).expect("a pid");
    let run = sandbox.stagecraft(["dev", "--detach", "--wait"]).start();
    sandbox.engine.wait_called(Verb::Starts, 1);
    let listener = sandbox.engine.calls_of(Verb::Starts).pop().expect("a listener");
    kill_process(pid(listener), Signal::KILL).expect("it is there");
    // All is well by the engine's last word.
    run.wait().exits(0);
}

// ------------------------------------------------------------------------------------------------------- ports

/// Somebody who has a port, and the port.
fn somebody() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn publishes(sandbox: &Sandbox, service: &str, port: u16) {
    let ports = json!([{ "target": 80, "published": port.to_string(), "host_ip": "127.0.0.1", "protocol": "tcp" }]);
    sandbox.engine.world(|world| world.services.insert(service.to_string(), json!({ "ports": ports })));
}

#[test]
fn all_port_conflicts_are_reported_before_anything_is_created() {
    for args in [&["dev"][..], &["dev", "--detach"]] {
        let sandbox = Sandbox::new();
        let ((_one, first), (_two, second)) = (somebody(), somebody());
        publishes(&sandbox, "api", first);
        publishes(&sandbox, "db", second);
        let finished = sandbox.run(args).exits(1);
        for (service, port) in [("api", first), ("db", second)] {
            let line = format!("  {service}: port 127.0.0.1:{port} is held by ");
            assert!(finished.stderr.contains(&line), "{}", finished.stderr);
        }
        assert!(finished.stderr.contains(&format!("(pid {})", std::process::id())), "{}", finished.stderr);
        assert_eq!(sandbox.engine.changes(), [""; 0]);
    }
}

#[test]
fn a_port_conflict_names_the_container_unless_it_is_of_this_stack() {
    for (project, code) in [("other", 1), ("shop", 0)] {
        let sandbox = Sandbox::new();
        let (_somebody, port) = somebody();
        publishes(&sandbox, "api", port);
        let root = sandbox.outside().join("elsewhere");
        let root = if project == "shop" { sandbox.root().to_owned() } else { root };
        sandbox.engine.world(|world| {
            let service = if project == "shop" { "api" } else { "web" };
            world.add_container(project, service, "running", &root).ports = format!("127.0.0.1:{port}->80/tcp");
        });
        let finished = sandbox.run(["dev", "--detach"]).exits(code);
        if code == 1 {
            let line = format!(
                "port 127.0.0.1:{port} is held by container other-web-1 of project other ([OUTSIDE]/elsewhere)"
            );
            assert!(finished.stderr.contains(&line), "{}", finished.stderr);
        }
    }
}

#[test]
fn the_ports_of_a_remote_engine_are_not_tried() {
    let sandbox = Sandbox::new();
    let (_somebody, port) = somebody();
    publishes(&sandbox, "api", port);
    sandbox.stagecraft(["dev", "--detach"]).env("DOCKER_HOST", "tcp://build.example:2375").run().exits(0);
}

#[test]
fn only_the_ports_of_what_is_started_matter() {
    let sandbox = Sandbox::new();
    let (_somebody, port) = somebody();
    publishes(&sandbox, "traefik", port);
    sandbox.run(["dev", "--detach", "--no-traefik"]).exits(0);
    sandbox.run(["dev", "down"]).exits(0);
    sandbox.run(["dev", "--detach", "--", "api"]).exits(0);
}
