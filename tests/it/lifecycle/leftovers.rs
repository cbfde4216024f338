//! What `down` leaves behind is removed by wider steps, or listed.

use super::*;

/// A container of the project that the compose file knows nothing of.
fn with_orphan(sandbox: &Sandbox) {
    let root = sandbox.root().to_owned();
    sandbox.engine.world(|world| {
        world.add_container("shop", "old", "running", &root);
    });
}

#[test]
fn leftovers_of_down_are_removed_with_every_profile_and_orphan() {
    let sandbox = Sandbox::new();
    with_orphan(&sandbox);
    sandbox.run(["dev", "down", "--timeout", "7"]).exits(0);
    assert_eq!(sandbox.engine.changes(), [format!("{DOWN} --timeout 7"), format!("{DOWN_EVERYTHING} --timeout 7")]);
    nothing_is_left(&sandbox);
}

#[test]
fn remaining_leftovers_are_removed_by_project_name() {
    let sandbox = Sandbox::new();
    with_orphan(&sandbox);
    // A compose file that broke in the meantime.
    sandbox
        .engine
        .on(Verb::Down, |call, _| (!call.args.contains(&"-p".into())).then(|| Reply::exit(1).stderr("yaml: line 3\n")));
    sandbox.run(["dev", "down"]).exits(0);
    assert_eq!(sandbox.engine.changes(), [DOWN, DOWN_EVERYTHING, DOWN_BY_NAME]);
    nothing_is_left(&sandbox);
}

#[test]
fn leftovers_that_cannot_be_removed_are_exit_6() {
    let sandbox = Sandbox::new();
    let root = sandbox.root().to_owned();
    sandbox.engine.world(|world| {
        world.add_container("shop", "api", "running", &root).stuck = true;
        world.networks.push(("shop".to_string(), "shop_default".to_string()));
    });
    sandbox.run(["dev", "down"]).exits(6).tells(str![[r#"
    Stopping shop
error: shop is not completely torn down; still on the engine:
  container shop-api-1 (running)
  network shop_default
help: remove it with `docker rm --force shop-api-1 && docker network rm shop_default`

"#]]);
    assert_eq!(sandbox.engine.changes(), [DOWN, DOWN_EVERYTHING, DOWN_BY_NAME]);
}

#[test]
fn a_run_that_cannot_be_taken_down_is_exit_6_whatever_ended_it() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    sandbox.engine.world(|world| world.containers[0].stuck = true);
    run.signal(Signal::INT);
    run.wait().exits(6).says("container shop-api-1 (running)");
}

#[test]
fn volumes_count_as_left_only_where_they_were_to_go() {
    for (args, code) in [(&["dev", "down"][..], 0), (&["dev", "down", "--volumes"], 6)] {
        let sandbox = Sandbox::new();
        sandbox.engine.world(|world| world.volumes.push(("shop".to_string(), "shop_data".to_string())));
        sandbox.engine.on(Verb::Down, |_, _| Some(Reply::exit(0)));
        let finished = sandbox.run(args).exits(code);
        assert_eq!(finished.stderr.contains("volume shop_data"), code == 6);
    }
}

/// An engine that goes away now.
fn goes_away(sandbox: &Sandbox) {
    for verb in [Verb::Containers, Verb::Networks, Verb::Down, Verb::Stop] {
        sandbox.engine.answer(verb, Reply::exit(1).stderr("Cannot connect to the Docker daemon\n"));
    }
}

#[test]
fn an_engine_that_is_away_at_the_teardown_is_waited_for() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| world.up_ends = UpEnds::Never);
    let terminal = sandbox.stagecraft(["dev"]).in_terminal();
    sandbox.engine.wait_gone(Verb::Starts);
    goes_away(&sandbox);
    sandbox.engine.end(Verb::Up, Reply::exit(1).stderr("unexpected EOF\n"));
    terminal.wait_for_text("for the engine, which does not answer");
    sandbox.engine.forget_answers();
    terminal.wait().exits(1).says("shop failed").says("shop; nothing of it is left");
}

#[test]
fn an_engine_that_stays_away_is_exit_6_and_a_press_ends_the_wait() {
    let sandbox = Sandbox::new();
    let terminal = sandbox.stagecraft(["dev"]).in_terminal();
    sandbox.engine.wait_gone(Verb::Starts);
    goes_away(&sandbox);
    terminal.press_ctrl_c();
    terminal.wait_for_text("for the engine, which does not answer; 20 s at most, press Ctrl+C to stop waiting");
    terminal.press_ctrl_c();
    terminal
        .wait()
        .exits(6)
        .says("cannot check what is left of shop: the docker engine does not answer: Cannot connect to the Docker")
        .says("once the engine answers, remove it with `docker compose -p shop down --remove-orphans`");
}

#[test]
fn other_projects_are_not_touched() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| {
        world.add_container("other", "api", "running", Path::new("/"));
        world.networks.push(("other".to_string(), "other_default".to_string()));
    });
    sandbox.run(["dev", "--detach"]).exits(0);
    sandbox.run(["dev", "down", "--volumes"]).exits(0);
    sandbox.engine.world(|world| {
        assert_eq!(world.containers.len(), 1, "{world:?}");
        assert_eq!(world.networks.len(), 1, "{world:?}");
    });
}
