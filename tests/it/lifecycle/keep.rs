//! `--keep`.

use super::*;

#[test]
fn an_interrupted_run_with_keep_stops_the_containers_and_keeps_them() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev", "--keep", "--timeout", "7"]);
    run.signal(Signal::INT);
    run.wait().exits(130).says("Stopped shop; its containers are kept\n");
    assert_eq!(sandbox.engine.changes(), [UP.to_string(), format!("{STOP} --timeout 7")]);
    sandbox.engine.world(|world| assert!(world.containers.iter().all(|c| c.state == "exited"), "{world:?}"));
}

#[test]
fn a_second_interrupt_with_keep_stops_the_containers_at_once() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Stop);
    let run = started(&sandbox, &["dev", "--keep"]);
    run.signal(Signal::INT);
    sandbox.engine.wait_called(Verb::Stop, 1);
    run.signal(Signal::INT);
    sandbox.engine.wait_called(Verb::Stop, 2);
    sandbox.engine.release(Verb::Stop);
    run.wait().exits(130);
    assert_eq!(sandbox.engine.changes(), [UP.to_string(), STOP.to_string(), format!("{STOP} --timeout 0")]);
}

#[test]
fn containers_that_a_stop_leaves_running_are_exit_6() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev", "--keep"]);
    sandbox.engine.world(|world| world.containers[0].stuck = true);
    run.signal(Signal::INT);
    run.wait().exits(6).says("container shop-api-1 (running)").does_not_say("shop-db-1");
}

#[test]
fn a_finished_run_with_keep_removes_nothing() {
    for (code, exit) in [(0, 0), (3, 1)] {
        let sandbox = Sandbox::new();
        let run = started(&sandbox, &["dev", "--keep"]);
        sandbox.engine.world(|world| {
            world.exits("api", code);
            world.exits("db", 0);
        });
        run.wait().exits(exit);
        assert_eq!(sandbox.engine.changes(), [UP]);
        assert_eq!(sandbox.engine.world(|world| world.containers.len()), 2);
    }
}

#[test]
fn a_failed_start_with_keep_removes_nothing_and_says_so() {
    for (args, up) in [(&["dev", "--keep"][..], UP), (&["dev", "--keep", "-d"], UP_DETACHED)] {
        let sandbox = Sandbox::new();
        sandbox.engine.on(Verb::Up, |call, world| {
            world.up_for(call);
            Some(Reply::exit(1).stderr("port is already allocated\n"))
        });
        let kept = "note: the containers are kept because of --keep; `cargo stagecraft dev down` removes it\n";
        sandbox.run(args).exits(1).says(kept);
        assert_eq!(sandbox.engine.changes(), [up]);
        assert_eq!(sandbox.engine.world(|world| world.containers.len()), 2);
    }
}
