//! `dev down`.

use super::*;

#[test]
fn down_takes_a_detached_stack_down() {
    let sandbox = Sandbox::new();
    sandbox.run(["dev", "--detach"]).exits(0);
    sandbox.run(["dev", "down"]).exits(0).tells(str![[r#"
    Stopping shop
     Removed shop; nothing of it is left

"#]]);
    assert_eq!(sandbox.engine.changes(), [UP_DETACHED, DOWN]);
    nothing_is_left(&sandbox);
}

#[test]
fn down_where_nothing_is_there_is_success() {
    let sandbox = Sandbox::new();
    sandbox.run(["dev", "down"]).exits(0);
    sandbox.run(["dev", "down", "--volumes"]).exits(0);
}

#[test]
fn down_with_volumes_removes_them_and_without_keeps_them() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| world.volumes.push(("shop".to_string(), "shop_data".to_string())));
    sandbox.run(["dev", "down"]).exits(0);
    assert_eq!(sandbox.engine.world(|world| world.volumes.len()), 1);
    sandbox.run(["dev", "down", "--volumes"]).exits(0);
    nothing_is_left(&sandbox);
}

#[test]
fn an_interrupt_hurries_a_down_up() {
    let sandbox = Sandbox::new();
    already_running(&sandbox);
    sandbox.engine.hold(Verb::Down);
    let run = sandbox.stagecraft(["dev", "down"]).start();
    sandbox.engine.wait_called(Verb::Down, 1);
    run.signal(Signal::INT);
    sandbox.engine.wait_called(Verb::Down, 2);
    sandbox.engine.release(Verb::Down);
    run.wait().exits(130);
    assert_eq!(sandbox.engine.changes(), [DOWN, DOWN_AT_ONCE]);
    nothing_is_left(&sandbox);
}

#[test]
fn down_finds_its_stack_although_the_compose_file_is_missing_or_broken() {
    for broken in [false, true] {
        let sandbox = Sandbox::new();
        sandbox.engine.world(|world| world.name = Some("by-file".to_string()));
        sandbox.run(["dev", "--detach"]).exits(0);
        if broken {
            sandbox.engine.answer(Verb::Config, Reply::exit(1).stderr("yaml: line 3\n"));
            sandbox.engine.on(Verb::Down, |call, _| {
                call.args.contains(&COMPOSE_FILE.into()).then(|| Reply::exit(1).stderr("yaml: line 3\n"))
            });
        } else {
            fs::remove_dir_all(sandbox.root().join(".stagecraft")).unwrap();
        }
        sandbox.run(["dev", "down"]).exits(0).says("warning: ").says("using the project name `by-file`");
        nothing_is_left(&sandbox);
    }
}

#[test]
fn a_dry_run_of_down_without_a_compose_file_prints_a_line_that_works_without_it() {
    let sandbox = Sandbox::new();
    sandbox.run(["dev", "--detach"]).exits(0);
    sandbox.remove(COMPOSE_FILE);
    let printed = sandbox.run(["dev", "down", "--dry-run"]).exits(0);
    sandbox.program("sh", ["-c", printed.stdout()]).run().exits(0);
    nothing_is_left(&sandbox);
}

#[test]
fn down_without_a_compose_file_needs_a_name_for_several_projects() {
    let sandbox = Sandbox::new();
    for name in ["one", "two"] {
        sandbox.run(["dev", "--detach", "--project-name", name]).exits(0);
    }
    sandbox.remove(COMPOSE_FILE);
    sandbox.run(["dev", "down"]).exits(3).says("one, two\nhelp: choose one with `--project-name`\n");
    sandbox.run(["dev", "down", "--project-name", "one"]).exits(0);
    sandbox.engine.world(|world| assert!(world.containers.iter().all(|c| c.project == "two"), "{world:?}"));
}

#[test]
fn containers_that_vanish_while_they_are_asked_for_are_no_failure() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    let mut times = 0;
    sandbox.engine.on(Verb::Ids, move |_, _| {
        // Listed, and gone when it is looked into.

        times += 1;
        (times < 3).then(|| Reply::exit(0).stdout(r#"{"Id":"4a29","Names":["x"],"State":"exited","Labels":{}}"#))
    });
    sandbox.engine.world(|world| {
        world.stop("shop");
        world.down("shop", true, false);
    });
    run.wait().exits(0).says("stopped from elsewhere");
    assert_eq!(sandbox.engine.calls_of(Verb::Ids).len(), 3);
}

/// It cannot be removed, however often one looks.
#[test]
fn a_network_that_the_engine_lost_is_reported_once_and_does_not_count() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| {
        world.starts_as = "created";
        world.up_ends = UpEnds::Never;
    });
    sandbox.engine.on(Verb::Networks, |call, _| match call.args.get(1)?.to_str()? {
        "ls" => Some(Reply::exit(0).stdout("{\"Name\":\"shop_default\"}\n")),
        "inspect" => Some(Reply::exit(0)),
        _ => Some(Reply::exit(1).stderr("Error response from daemon: network shop_default has active endpoints\n")),
    });
    let run = started(&sandbox, &["dev"]);
    run.signal(Signal::INT);
    let finished = run.wait().exits(130);
    assert_eq!(finished.stderr.matches("the engine has lost track of network shop_default").count(), 1);
}
