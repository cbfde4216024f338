//! `dev --detach`.

use super::*;

#[test]
fn a_detached_start_tells_project_services_addresses_logs_and_how_to_stop() {
    let sandbox = Sandbox::new();
    let at = |ip: &str, port: &str| json!({ "HostIp": ip, "HostPort": port });
    sandbox.engine.world(|world| {
        let api = json!({ "8080/tcp": [at("0.0.0.0", "18080"), at("::", "18080")] });
        let db = json!({ "5432/tcp": [at("127.0.0.1", "15432")], "9000/tcp": null });
        world.services.insert("api".to_string(), json!({ "bindings": api }));
        world.services.insert("db".to_string(), json!({ "bindings": db }));
        world.services.insert("worker".to_string(), json!({}));
    });
    let finished = sandbox.run(["dev", "--detach"]).exits(0).tells(str![[r#"
    Starting shop
     Started shop in [..]s
             api     running  http://localhost:18080
             db      running  127.0.0.1:15432
             worker  running
note: see its logs with `cargo stagecraft dev logs -f`
note: stop it with `cargo stagecraft dev down`

"#]]);
    assert_eq!(finished.stdout(), "");
    assert_eq!(sandbox.engine.changes(), [UP_DETACHED]);
}

#[test]
fn a_service_that_exits_with_0_is_not_a_failure() {
    let sandbox = Sandbox::new();
    sandbox.engine.on(Verb::Up, |call, world| {
        world.up_for(call);
        world.exits("db", 0);
        Some(Reply::exit(0))
    });
    sandbox.run(["dev", "--detach"]).exits(0).says("db   exited (0)");
    assert_eq!(sandbox.engine.changes(), [UP_DETACHED]);
}

#[test]
fn a_failed_detached_start_takes_back_what_it_created() {
    let sandbox = Sandbox::new();
    sandbox.engine.on(Verb::Up, |call, world| {
        world.up_for(call);
        Some(Reply::exit(1).stderr("Bind for 0.0.0.0:80 failed: port is already allocated\n"))
    });
    sandbox.run(["dev", "--detach"]).exits(1).tells(str![[r#"
    Starting shop
Bind for 0.0.0.0:80 failed: port is already allocated
             SERVICE  STATE    DETAIL
             api      running
             db       running
     Removed shop; nothing of it is left
error: shop could not be started: Bind for 0.0.0.0:80 failed: port is already allocated

"#]]);
    assert_eq!(sandbox.engine.changes(), [UP_DETACHED, DOWN]);
    nothing_is_left(&sandbox);
}

/// `up -d` says 0, but `db` has crashed.
fn db_crashes(sandbox: &Sandbox) {
    sandbox.engine.on(Verb::Up, |call, world| {
        world.up_for(call);
        world.exits("db", 3);
        Some(Reply::exit(0))
    });
    sandbox.engine.world(|world| world.log = "no space left on device\n");
}

#[test]
fn a_container_that_crashes_at_the_start_is_exit_1_with_its_last_words() {
    let sandbox = Sandbox::new();
    db_crashes(&sandbox);
    sandbox.run(["dev", "--detach"]).exits(1).tells(str![[r#"
    Starting shop
             SERVICE  STATE       DETAIL
             api      running
             db       exited (3)  no space is left on the engine's disk or in one of its mounts
---- log of shop-db-1, its last 50 lines at most
no space left on device
     Removed shop; nothing of it is left
error: shop could not be started: db exited with 3: no space is left on the engine's disk or in one of its mounts

"#]]);
    assert!(sandbox.engine.only(Verb::LastWords).line().ends_with(" shop-db-1"), "only what failed is shown");
    assert_eq!(sandbox.engine.changes(), [UP_DETACHED, DOWN]);
    nothing_is_left(&sandbox);
}

#[test]
fn a_failed_detached_start_leaves_a_running_stack_as_it_was_and_says_so() {
    for crash in [false, true] {
        let sandbox = Sandbox::new();
        already_running(&sandbox);
        match crash {
            true => db_crashes(&sandbox),
            false => sandbox.engine.answer(Verb::Up, Reply::exit(18).stderr("no such image\n")),
        }
        sandbox
            .run(["dev", "--detach"])
            .exits(1)
            .says("note: the stack was running before and is left alone; `cargo stagecraft dev down` removes it\n");
        assert_eq!(sandbox.engine.changes(), [UP_DETACHED]);
        assert_eq!(sandbox.engine.world(|world| world.containers.len()), 2);
    }
}

#[test]
fn containers_that_do_not_run_are_no_running_stack() {
    let sandbox = Sandbox::new();
    already_running(&sandbox);
    sandbox.engine.world(|world| world.stop("shop"));
    sandbox.engine.answer(Verb::Up, Reply::exit(1));
    sandbox.run(["dev", "--detach"]).exits(1);
    assert_eq!(sandbox.engine.changes(), [UP_DETACHED, DOWN]);
}

/// `up -d` does not come to its end by itself.
fn interrupted_while_starting(sandbox: &Sandbox, args: &[&str]) {
    sandbox.engine.world(|world| world.up_ends = UpEnds::WithItsContainers);
    let run = started(sandbox, args);
    run.signal(Signal::TERM);
    run.wait().exits(143);
}

#[test]
fn an_interrupted_detached_start_takes_back_what_it_created() {
    let sandbox = Sandbox::new();
    interrupted_while_starting(&sandbox, &["dev", "--detach"]);
    assert_eq!(sandbox.engine.changes(), [UP_DETACHED, DOWN]);
    nothing_is_left(&sandbox);
}

#[test]
fn an_interrupted_detached_start_leaves_a_running_stack_alone() {
    let sandbox = Sandbox::new();
    already_running(&sandbox);
    interrupted_while_starting(&sandbox, &["dev", "--detach"]);
    assert!(sandbox.engine.only(Verb::Up).was_killed());
    assert_eq!(sandbox.engine.changes(), [UP_DETACHED]);
    assert_eq!(sandbox.engine.world(|world| world.containers.len()), 2);
}

#[test]
fn an_interrupted_detached_start_with_keep_keeps_what_it_created() {
    let sandbox = Sandbox::new();
    interrupted_while_starting(&sandbox, &["dev", "--detach", "--keep"]);
    assert!(sandbox.engine.only(Verb::Up).was_killed());
    assert_eq!(sandbox.engine.changes(), [UP_DETACHED]);
    assert_eq!(sandbox.engine.world(|world| world.containers.len()), 2);
}

#[test]
fn the_output_of_a_failed_up_is_shown_once_at_every_verbosity() {
    each(["dev", "dev -q", "dev -d", "dev -dq", "dev -dv"], |typed| {
        let sandbox = Sandbox::new();
        sandbox.engine.answer(Verb::Up, Reply::exit(1).stderr("port is already allocated\n"));
        let finished = sandbox.run(typed.split(' ')).exits(1);
        let shown = finished.stderr.lines().filter(|line| *line == "port is already allocated");
        assert_eq!(shown.count(), 1, "{typed}: {}", finished.stderr);
    });
}
