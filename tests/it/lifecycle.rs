//! How a stack is started, waited for and taken down: signals, failures, and what is left in the end.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::path::Path;
use std::thread;

use rustix::fs::OFlags;
use rustix::process::Signal;
use serde_json::json;
use snapbox::str;

use crate::support::{COMPOSE_FILE, Reply, Sandbox, Started, UpEnds, Verb};

const UP: &str = "COMPOSE_MENU=0 COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml up";
const UP_DETACHED: &str =
    "COMPOSE_MENU=0 COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml up -d";
const DOWN: &str = "COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml down";
const DOWN_AT_ONCE: &str = "COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml down --timeout 0";
const DOWN_EVERYTHING: &str =
    "COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml --profile '*' down --remove-orphans";
const DOWN_BY_NAME: &str = "docker compose -p shop down --remove-orphans";
const STOP: &str = "COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml stop";

const INTERRUPTS: [(Signal, i32); 3] = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];

/// A run of `up` whose containers are there.
fn started<'a>(sandbox: &'a Sandbox, args: &[&str]) -> Started<'a> {
    let run = sandbox.stagecraft(args).start();
    sandbox.engine.wait_running(Verb::Up);
    run
}

/// Checks every case at the same time, since a teardown after a failed `up` looks twice and takes a second.
fn each<C: Send>(cases: impl IntoIterator<Item = C>, check: impl Fn(C) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| check(case));
        }
    });
}

#[track_caller]
fn nothing_is_left(sandbox: &Sandbox) {
    sandbox.engine.world(|world| assert!(world.is_empty(), "{world:?}"));
}

/// The stack runs before we come.
fn already_running(sandbox: &Sandbox) {
    let root = sandbox.root().to_owned();
    sandbox.engine.world(|world| {
        world.add_container("shop", "api", "running", &root);
        world.add_container("shop", "db", "running", &root);
    });
}

// ------------------------------------------------------------------------------------------- in the foreground

#[test]
fn up_and_down_run_in_process_groups_of_their_own() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    run.signal(Signal::INT);
    run.wait().exits(130);
    for verb in [Verb::Up, Verb::Down] {
        let call = sandbox.engine.only(verb);
        assert_eq!(call.pgid, call.pid, "{}", call.line());
    }
}

#[test]
fn what_up_prints_goes_straight_to_our_stdout_and_stderr() {
    let sandbox = Sandbox::new();
    // Else it may end by itself, and say nothing, as soon as its containers have.
    sandbox.engine.world(|world| world.up_ends = UpEnds::Never);
    let run = started(&sandbox, &["dev", "-q"]);
    sandbox.engine.world(|world| ["api", "db"].map(|service| world.exits(service, 0)));
    sandbox.engine.end(Verb::Up, Reply::exit(0).stdout("api-1  | hello\n").stderr("Gracefully stopping\n"));
    let finished = run.wait().exits(0);
    assert_eq!(finished.stdout(), "api-1  | hello\n");
    assert_eq!(finished.stderr, "Gracefully stopping\n");
}

#[test]
fn an_interrupt_takes_the_stack_down_once_and_sends_up_no_signal() {
    for (signal, code) in INTERRUPTS {
        let sandbox = Sandbox::new();
        let run = started(&sandbox, &["dev"]);
        run.signal(signal);
        run.wait().exits(code);
        assert_eq!(sandbox.engine.changes(), [UP, DOWN], "{signal:?}");
        let up = sandbox.engine.only(Verb::Up);
        assert!(up.signals.is_empty() && !up.was_killed(), "{signal:?}: {up:?}");
        nothing_is_left(&sandbox);
    }
}

#[test]
fn the_timeout_is_the_grace_of_the_first_interrupt() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev", "--timeout", "7"]);
    run.signal(Signal::INT);
    run.wait().exits(130);
    assert_eq!(sandbox.engine.changes(), [UP, &format!("{DOWN} --timeout 7")]);
}

#[test]
fn what_an_interrupted_run_says() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    run.signal(Signal::INT);
    run.wait().exits(130).tells(str![[r#"
    Starting shop (Ctrl+C stops and removes it)
    Stopping shop (SIGINT); press Ctrl+C again to kill its containers at once
     Removed shop; nothing of it is left

"#]]);
}

#[test]
fn the_engine_is_asked_what_is_left_after_down_has_ended() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    run.signal(Signal::TERM);
    run.wait().exits(143);
    let verbs: Vec<Verb> = sandbox.engine.calls().iter().map(|call| call.verb).collect();
    let down = verbs.iter().position(|verb| *verb == Verb::Down).unwrap();
    for question in [Verb::Containers, Verb::Networks] {
        assert!(verbs[down..].contains(&question), "{question:?} after {verbs:?}");
    }
    assert!(!verbs.contains(&Verb::Volumes), "volumes are to stay");
}

#[test]
fn a_second_interrupt_kills_the_containers_at_once() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let sandbox = Sandbox::new();
        sandbox.engine.hold(Verb::Down);
        let run = started(&sandbox, &["dev", "--timeout", "60"]);
        run.signal(signal);
        sandbox.engine.wait_called(Verb::Down, 1);
        run.signal(signal);
        sandbox.engine.wait_called(Verb::Down, 2);
        assert!(sandbox.engine.wait_gone(Verb::Down).was_killed(), "the patient `down` makes way");
        sandbox.engine.release(Verb::Down);
        run.wait().exits(code).says("Killing shop");
        assert_eq!(sandbox.engine.changes(), [UP, &format!("{DOWN} --timeout 60"), DOWN_AT_ONCE]);
        nothing_is_left(&sandbox);
    }
}

#[test]
fn a_second_interrupt_replaces_a_patient_down() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Down);
    let run = started(&sandbox, &["dev"]);
    run.signal(Signal::INT);
    sandbox.engine.wait_called(Verb::Down, 1);
    run.signal(Signal::INT);
    sandbox.engine.wait_called(Verb::Down, 2);
    assert!(sandbox.engine.wait_gone(Verb::Down).was_killed(), "the patient `down` makes way");
    sandbox.engine.release(Verb::Down);
    run.wait().exits(130);
    assert_eq!(sandbox.engine.changes(), [UP, DOWN, DOWN_AT_ONCE]);
    nothing_is_left(&sandbox);
}

#[test]
fn the_exit_code_is_that_of_the_first_interrupt() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Down);
    let run = started(&sandbox, &["dev"]);
    run.signal(Signal::INT);
    sandbox.engine.wait_called(Verb::Down, 1);
    run.signal(Signal::TERM);
    sandbox.engine.wait_called(Verb::Down, 2);
    sandbox.engine.release(Verb::Down);
    run.wait().exits(130);
}

#[test]
fn a_second_hup_is_no_second_wish() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Down);
    let run = started(&sandbox, &["dev"]);
    run.signal(Signal::HUP);
    sandbox.engine.wait_called(Verb::Down, 1);
    run.signal(Signal::HUP);
    // Whichever of the two is heard first: were they both counted, this would be the third, which leaves with 6.
    run.signal(Signal::TERM);
    sandbox.engine.wait_called(Verb::Down, 2);
    sandbox.engine.release(Verb::Down);
    run.wait().exits(129);
    assert_eq!(sandbox.engine.changes(), [UP, DOWN, DOWN_AT_ONCE]);
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    for (ignored, other, code) in
        [(Signal::HUP, Signal::TERM, 143), (Signal::INT, Signal::TERM, 143), (Signal::TERM, Signal::INT, 130)]
    {
        let sandbox = Sandbox::new();
        sandbox.engine.hold(Verb::Down);
        let run = sandbox.stagecraft(["dev"]).ignoring(ignored).start();
        sandbox.engine.wait_running(Verb::Up);
        run.signal(ignored);
        run.signal(other);
        sandbox.engine.wait_called(Verb::Down, 1);
        run.signal(ignored);
        sandbox.engine.release(Verb::Down);
        run.wait().exits(code);
        assert_eq!(sandbox.engine.changes(), [UP, DOWN], "{ignored:?}");
    }
}

#[test]
fn an_interrupt_before_anything_is_started_ends_us_as_any_program() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Config);
    let run = sandbox.stagecraft(["dev"]).start();
    sandbox.engine.wait_called(Verb::Config, 1);
    run.signal(Signal::TERM);
    run.wait().dies_of(Signal::TERM);
    assert!(sandbox.engine.changes().is_empty());
}

#[test]
fn an_interrupt_while_containers_are_still_made_kills_up_before_down() {
    each([(&["dev"][..], UP), (&["dev", "--detach"], UP_DETACHED)], |(args, up)| {
        let sandbox = Sandbox::new();
        sandbox.engine.world(|world| {
            world.starts_as = "created";
            world.up_ends = UpEnds::Never;
        });
        sandbox.engine.hold(Verb::Down);
        let run = started(&sandbox, args);
        run.signal(Signal::INT);
        sandbox.engine.wait_called(Verb::Down, 1);
        assert!(sandbox.engine.wait_gone(Verb::Up).was_killed(), "its client is gone while `down` works");
        sandbox.engine.release(Verb::Down);
        run.wait().exits(130);
        assert_eq!(sandbox.engine.changes(), [up, DOWN]);
        nothing_is_left(&sandbox);
    });
}

#[test]
fn an_up_that_lacks_a_container_has_not_started() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| world.services.insert("web".to_string(), json!({ "scale": 2 })));
    let run = started(&sandbox, &["dev"]);
    run.signal(Signal::INT);
    run.wait().exits(130);
    assert!(sandbox.engine.only(Verb::Up).was_killed(), "one of two `web` is still to come");
}

#[test]
fn what_an_up_that_was_cut_off_makes_afterwards_is_removed_too() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| world.starts_as = "created");
    let root = sandbox.root().to_owned();
    let mut asked = 0;
    sandbox.engine.on(Verb::Containers, move |_, world| {
        asked += 1;
        // Before the start, at the interrupt, after `down`, and once more: by then it has come.
        if asked == 4 {
            world.add_container("shop", "api", "created", &root);
        }
        None
    });
    let run = started(&sandbox, &["dev"]);
    run.signal(Signal::INT);
    run.wait().exits(130);
    assert_eq!(sandbox.engine.changes(), [UP, DOWN, DOWN_EVERYTHING]);
    nothing_is_left(&sandbox);
}

#[test]
fn an_engine_that_does_not_answer_does_not_keep_a_second_interrupt_waiting() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    sandbox.engine.hold(Verb::Containers);
    run.signal(Signal::INT);
    sandbox.engine.wait_called(Verb::Containers, 2);
    run.signal(Signal::INT);
    sandbox.engine.wait_called(Verb::Down, 1);
    sandbox.engine.release(Verb::Containers);
    run.wait().exits(130);
    assert_eq!(sandbox.engine.changes(), [UP, DOWN_AT_ONCE]);
}

#[test]
fn an_up_that_stays_after_down_is_cut_off() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| world.up_ends = UpEnds::Never);
    let run = started(&sandbox, &["dev"]);
    run.signal(Signal::INT);
    run.wait().exits(130);
    assert!(sandbox.engine.only(Verb::Up).was_killed());
    assert_eq!(sandbox.engine.changes(), [UP, DOWN]);
}

/// It could crash when its containers vanish.
#[test]
fn an_up_of_a_newer_compose_is_cut_off_first_and_nothing_is_waited_for() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| {
        world.compose = "2.40.3";
        world.up_ends = UpEnds::Never;
    });
    let run = started(&sandbox, &["dev"]);
    run.signal(Signal::INT);
    run.wait().exits(130);
    assert!(sandbox.engine.only(Verb::Up).was_killed());
    assert_eq!(sandbox.engine.changes(), [UP, DOWN]);
    assert_eq!(sandbox.engine.calls_of(Verb::Networks).len(), 1, "everything had started: there is one look");
}

#[test]
fn an_up_that_fails_is_exit_1_and_taken_down_and_its_words_are_not_repeated() {
    let sandbox = Sandbox::new();
    sandbox.engine.on(Verb::Up, |call, world| {
        world.starts_as = "created";
        world.up_for(call);
        Some(Reply::exit(1).stderr("Bind for 0.0.0.0:80 failed: port is already allocated\n"))
    });
    sandbox.run(["dev"]).exits(1).tells(str![[r#"
    Starting shop (Ctrl+C stops and removes it)
Bind for 0.0.0.0:80 failed: port is already allocated
             SERVICE  STATE    DETAIL
             api      created
             db       created
error: shop failed: `COMPOSE_MENU=0 COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml up` ended with exit status: 1
     Removed shop; nothing of it is left

"#]]);
    assert_eq!(sandbox.engine.changes(), [UP, DOWN]);
    nothing_is_left(&sandbox);
}

#[test]
fn the_exit_code_of_a_failed_up_is_told_and_ours_is_always_1() {
    each([14, 15, 18, 130], |code| {
        let sandbox = Sandbox::new();
        sandbox.engine.answer(Verb::Up, Reply::exit(code));
        sandbox.run(["dev"]).exits(1).says(&format!("ended with exit status: {code}\n"));
    });
}

#[test]
fn containers_that_have_all_finished_with_0_are_success_and_taken_down() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    sandbox.engine.world(|world| {
        world.exits("api", 0);
        world.exits("db", 0);
    });
    run.wait().exits(0).tells(str![[r#"
    Starting shop (Ctrl+C stops and removes it)
    Finished shop, every container exited with 0
     Removed shop; nothing of it is left

"#]]);
    assert_eq!(sandbox.engine.changes(), [UP, DOWN]);
    nothing_is_left(&sandbox);
}

#[test]
fn a_container_that_has_failed_is_exit_1_with_its_service_and_code_although_up_says_0() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    sandbox.engine.world(|world| {
        world.exits("api", 3);
        world.exits("db", 0);
    });
    let finished = run.wait().exits(1);
    assert_eq!(sandbox.engine.only(Verb::Up).exit, Some(0));
    finished.tells(str![[r#"
    Starting shop (Ctrl+C stops and removes it)
             SERVICE  STATE       DETAIL
             api      exited (3)
             db       exited (0)
error: shop failed: api exited with 3
     Removed shop; nothing of it is left

"#]]);
    assert_eq!(sandbox.engine.changes(), [UP, DOWN]);
    nothing_is_left(&sandbox);
}

#[test]
fn a_stack_that_is_taken_down_from_elsewhere_is_success() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    sandbox.run(["dev", "down"]).exits(0);
    run.wait().exits(0).says("Ended shop, stopped from elsewhere\n");
    nothing_is_left(&sandbox);
}

#[test]
fn a_stack_that_is_stopped_from_elsewhere_is_success_and_taken_down() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    sandbox.engine.world(|world| world.stop("shop"));
    run.wait().exits(0).says("Ended shop, stopped from elsewhere\n");
    assert_eq!(sandbox.engine.changes(), [UP, DOWN]);
    nothing_is_left(&sandbox);
}

/// Through the engine, of which `up` hears nothing more: it is attached to `db` alone.
#[test]
fn a_run_stays_while_a_container_runs_that_up_is_not_attached_to() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| world.up_ends = UpEnds::Never);
    let run = started(&sandbox, &["dev"]);
    sandbox.engine.wait_called(Verb::Starts, 1);
    sandbox.engine.hold(Verb::Starts);
    sandbox.engine.world(|world| world.exits("db", 0));
    sandbox.engine.end(Verb::Up, Reply::exit(0));
    sandbox.engine.wait_called(Verb::Starts, 2);
    assert_eq!(sandbox.engine.changes(), [UP], "it is still there");
    sandbox.engine.world(|world| world.exits("api", 0));
    sandbox.engine.happens("api", "die", "0");
    let finished = run.wait().exits(0).says("Running shop: api, not attached to (Ctrl+C stops and removes it)\n");
    finished.says("Finished shop, every container exited with 0\n");
    nothing_is_left(&sandbox);
}

#[test]
fn a_run_that_stays_is_ended_by_an_interrupt_and_by_an_engine_that_tells_no_more() {
    fn stays(sandbox: &Sandbox) -> Started<'_> {
        sandbox.engine.world(|world| world.up_ends = UpEnds::Never);
        let run = started(sandbox, &["dev"]);
        sandbox.engine.wait_called(Verb::Starts, 1);
        sandbox.engine.hold(Verb::Starts);
        sandbox.engine.end(Verb::Up, Reply::exit(0));
        run
    }
    let sandbox = Sandbox::new();
    let run = stays(&sandbox);
    sandbox.engine.wait_called(Verb::Starts, 2);
    run.signal(Signal::INT);
    run.wait().exits(130);
    nothing_is_left(&sandbox);
    let sandbox = Sandbox::new();
    let run = stays(&sandbox);
    sandbox.engine.release(Verb::Starts);
    run.wait().exits(1).says("error: shop cannot be watched any longer\n");
    nothing_is_left(&sandbox);
}

#[test]
fn an_up_that_crashes_because_somebody_else_removes_its_containers_is_no_failure() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| world.up_ends = UpEnds::Never);
    let run = started(&sandbox, &["dev"]);
    sandbox.engine.world(|world| {
        world.stop("shop");
        world.down("shop", true, false);
    });
    sandbox.engine.end(Verb::Up, Reply::exit(2).stderr("panic: runtime error\n"));
    run.wait().exits(0).says("stopped from elsewhere");
}

#[test]
fn an_up_that_crashes_by_itself_is_a_failure() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    sandbox.engine.end(Verb::Up, Reply::exit(2).stderr("panic: runtime error\n"));
    run.wait().exits(1);
    nothing_is_left(&sandbox);
}

#[test]
fn a_container_that_failed_before_the_rest_was_stopped_is_still_a_failure() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    sandbox.engine.world(|world| {
        world.exits("api", 3);
        world.stop("shop");
    });
    run.wait().exits(1).says("error: shop failed: api exited with 3\n");
}

#[test]
fn a_container_that_was_restarted_from_elsewhere_and_failed_then_is_a_failure() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    sandbox.engine.world(|world| {
        world.stop("shop");
        world.start("shop");
        world.exits("api", 3);
        world.exits("db", 0);
    });
    run.wait().exits(1).says("error: shop failed: api exited with 3\n");
}

#[test]
fn a_foreground_run_owns_a_stack_that_ran_before() {
    let sandbox = Sandbox::new();
    already_running(&sandbox);
    let run = started(&sandbox, &["dev"]);
    run.signal(Signal::INT);
    run.wait().exits(130);
    assert_eq!(sandbox.engine.changes(), [UP, DOWN]);
}

#[test]
fn a_terminal_that_is_not_there_changes_nothing() {
    let broken_pipe = || std::io::pipe().unwrap().1;
    let sandbox = Sandbox::new();
    let run = sandbox.stagecraft(["dev", "-v"]).stdout(broken_pipe()).stderr(broken_pipe()).start();
    sandbox.engine.wait_running(Verb::Up);
    run.signal(Signal::TERM);
    run.wait().exits(143);
    assert_eq!(sandbox.engine.changes(), [UP, DOWN]);
    nothing_is_left(&sandbox);
}

// ------------------------------------------------------------------------------------------ what a down leaves

/// A container of the project that the compose file knows nothing of.
fn with_orphan(sandbox: &Sandbox) {
    let root = sandbox.root().to_owned();
    sandbox.engine.world(|world| {
        world.add_container("shop", "old", "running", &root);
    });
}

#[test]
fn what_down_leaves_is_taken_down_with_every_profile_and_orphan() {
    let sandbox = Sandbox::new();
    with_orphan(&sandbox);
    sandbox.run(["dev", "down", "--timeout", "7"]).exits(0);
    assert_eq!(sandbox.engine.changes(), [format!("{DOWN} --timeout 7"), format!("{DOWN_EVERYTHING} --timeout 7")]);
    nothing_is_left(&sandbox);
}

#[test]
fn what_that_leaves_is_taken_down_by_name() {
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
fn what_nothing_removes_is_exit_6_with_a_list_and_the_command() {
    let sandbox = Sandbox::new();
    let root = sandbox.root().to_owned();
    sandbox.engine.world(|world| {
        world.add_container("shop", "api", "running", &root).stuck = true;
        world.networks.push(("shop".to_string(), "shop_default".to_string()));
    });
    sandbox.run(["dev", "down"]).exits(6).tells(str![[r#"
    Stopping shop
error: shop is not completely taken down; still on the engine:
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
        .says("what is left of shop cannot be known: the docker engine does not answer: Cannot connect to the Docker")
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

// ------------------------------------------------------------------------------------------------------ --keep

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
        let kept = "note: what was created is kept, as asked; `cargo stagecraft dev down` removes it\n";
        sandbox.run(args).exits(1).says(kept);
        assert_eq!(sandbox.engine.changes(), [up]);
        assert_eq!(sandbox.engine.world(|world| world.containers.len()), 2);
    }
}

// ---------------------------------------------------------------------------------------------------- detached

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
fn a_service_that_ended_well_is_no_failed_start() {
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
error: shop could not be started: Bind for 0.0.0.0:80 failed: port is already allocated
     Removed shop; nothing of it is left

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
error: shop could not be started: db exited with 3: no space is left on the engine's disk or in one of its mounts
     Removed shop; nothing of it is left

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
fn what_up_printed_in_a_failed_start_is_shown_once_at_every_verbosity() {
    each(["dev", "dev -q", "dev -d", "dev -dq", "dev -dv"], |typed| {
        let sandbox = Sandbox::new();
        sandbox.engine.answer(Verb::Up, Reply::exit(1).stderr("port is already allocated\n"));
        let finished = sandbox.run(typed.split(' ')).exits(1);
        let shown = finished.stderr.lines().filter(|line| *line == "port is already allocated");
        assert_eq!(shown.count(), 1, "{typed}: {}", finished.stderr);
    });
}

// -------------------------------------------------------------------------------------------------------- down

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
        sandbox.run(["dev", "down"]).exits(0).says("warning: ").says("going by the name, `by-file`");
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
fn down_without_a_compose_file_asks_which_of_several_projects_is_meant() {
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
fn a_network_that_the_engine_has_lost_is_told_once_and_keeps_nobody() {
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

// ------------------------------------------------------------------------------------------- nobody reads

/// Writes to a pipe that nobody reads until nothing more fits.
fn fill(mut pipe: &PipeWriter) {
    rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK).unwrap();
    // In small pieces, so that it is full to the last byte.
    while let Ok(1..) = pipe.write(b"\n") {}
    rustix::fs::fcntl_setfl(pipe, OFlags::empty()).unwrap();
}

fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    fill(&writer);
    (reader, writer)
}

#[test]
fn a_reader_that_does_not_read_does_not_keep_the_stack_alive() {
    each(INTERRUPTS, |(signal, code)| {
        let sandbox = Sandbox::new();
        let (_err, full_err) = full_pipe();
        let (_out, full_out) = full_pipe();
        let args = ["dev", "--verbose", "--message-format", "json"];
        let run = sandbox.stagecraft(args).stdout(full_out).stderr(full_err).start();
        sandbox.engine.wait_running(Verb::Up);
        run.signal(signal);
        run.wait().exits(code);
        assert_eq!(sandbox.engine.changes(), [UP, DOWN], "{signal:?}");
        nothing_is_left(&sandbox);
    });
}

#[test]
fn a_third_interrupt_leaves_at_once_and_the_guard_acts_also_when_nobody_reads() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Down);
    let (_reader, full) = full_pipe();
    let run = sandbox.stagecraft(["dev"]).stderr(full).start();
    sandbox.engine.wait_running(Verb::Up);
    run.signal(Signal::INT);
    for presses in 1..=2 {
        sandbox.engine.wait_called(Verb::Down, presses);
        run.signal(Signal::INT);
    }
    run.wait().exits(130);
    sandbox.engine.wait_called(Verb::Down, 3);
    sandbox.engine.release(Verb::Down);
    sandbox.engine.wait_gone(Verb::Networks);
    nothing_is_left(&sandbox);
}

#[test]
fn a_down_whose_output_nobody_reads_any_more_is_run_again_without_output() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Down);
    let (_reader, pipe) = io::pipe().unwrap();
    let run = sandbox.stagecraft(["dev"]).stderr(pipe.try_clone().unwrap()).start();
    sandbox.engine.wait_running(Verb::Up);
    run.signal(Signal::INT);
    sandbox.engine.wait_called(Verb::Down, 1);
    fill(&pipe);
    sandbox.engine.wait_called(Verb::Down, 2);
    assert!(sandbox.engine.wait_gone(Verb::Down).was_killed());
    sandbox.engine.release(Verb::Down);
    run.wait().exits(130);
    assert_eq!(sandbox.engine.changes(), [UP, DOWN, DOWN], "with the grace that it had");
    nothing_is_left(&sandbox);
}

#[test]
fn a_terminal_that_is_stopped_does_not_keep_the_stack_alive() {
    let sandbox = Sandbox::new();
    let run = sandbox.stagecraft(["dev"]).in_terminal();
    sandbox.engine.wait_running(Verb::Up);
    run.press_ctrl_s();
    // Ctrl+C would let the terminal go on.
    run.signal(Signal::TERM);
    sandbox.engine.wait_gone(Verb::Down);
    run.wait().exits(143);
    nothing_is_left(&sandbox);
}

#[test]
fn whoever_reads_late_gets_every_message_whole() {
    let sandbox = Sandbox::new();
    let (mut reader, full) = full_pipe();
    let run = sandbox.stagecraft(["dev", "--detach", "--message-format", "json"]).stdout(full).start();
    sandbox.engine.wait_gone(Verb::Up);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    run.wait().exits(0);
    let parse = |line| serde_json::from_str::<serde_json::Value>(line).expect(line);
    let messages: Vec<_> = text.trim_start().lines().map(parse).collect();
    assert_eq!(messages.last().unwrap()["exit_code"], 0, "{text}");
}

// ------------------------------------------------------------------------------------------- the engine does not answer

const QUESTIONS: [Verb; 6] = [Verb::Containers, Verb::Ids, Verb::Inspect, Verb::Networks, Verb::Volumes, Verb::Info];
const WAITS: &str = "Waiting for the engine, which does not answer; 20 s at most";

#[test]
fn an_engine_that_accepts_and_does_not_answer_is_given_up() {
    each([&["dev"][..], &["dev", "--detach"], &["dev", "status"], &["dev", "list"], &["dev", "down"]], |args| {
        let sandbox = Sandbox::new();
        QUESTIONS.iter().for_each(|verb| sandbox.engine.hold(*verb));
        sandbox.run(args).exits(4).says(WAITS).says("it gave no answer within 20 seconds");
        assert!(sandbox.engine.changes().is_empty(), "{args:?}");
    });
}

#[test]
fn an_engine_that_falls_silent_under_a_stack_is_given_up_after_the_first_press() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    sandbox.wait_until_unlocked();
    let asked = sandbox.engine.calls_of(Verb::Containers).len();
    QUESTIONS.iter().for_each(|verb| sandbox.engine.hold(*verb));
    sandbox.engine.hold(Verb::Down);
    run.signal(Signal::INT);
    // `down` waits; meanwhile the engine is asked something.
    sandbox.engine.wait_called(Verb::Down, 1);
    sandbox.engine.wait_called(Verb::Containers, asked + 1);
    assert!(sandbox.engine.wait_gone(Verb::Down).was_killed());
    run.wait().exits(6).says(WAITS).says("docker compose -p shop down");
    assert_eq!(sandbox.engine.changes(), [UP, DOWN]);
}
