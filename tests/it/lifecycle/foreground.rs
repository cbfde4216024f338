//! A run in the foreground: how it starts, is interrupted and ends.

use super::*;

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
fn up_inherits_stdout_and_stderr() {
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
fn the_output_of_an_interrupted_run() {
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
fn a_second_hup_does_not_count() {
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
fn containers_created_after_up_was_killed_are_removed() {
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
     Removed shop; nothing of it is left
error: shop failed: `COMPOSE_MENU=0 COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml up` ended with exit status: 1

"#]]);
    assert_eq!(sandbox.engine.changes(), [UP, DOWN]);
    nothing_is_left(&sandbox);
}

#[test]
fn a_failed_up_is_exit_1_and_its_code_is_printed() {
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
     Removed shop; nothing of it is left
error: shop failed: api exited with 3

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
fn an_up_that_crashes_because_its_containers_are_removed_is_not_a_failure() {
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
