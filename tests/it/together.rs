//! Several commands on one project at the same time.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::guard::guard_of;
use crate::support::{Sandbox, Started, Terminal, UpEnds, Verb};

/// The locks of this sandbox that are there.
fn locks(sandbox: &Sandbox) -> Vec<String> {
    let folder = sandbox.outside().join("cargo-stagecraft");
    let names = fs::read_dir(folder).map(|entries| entries.map(|e| e.unwrap().file_name().into_string().unwrap()));
    let mut names: Vec<String> = names.map(Iterator::collect).unwrap_or_default();
    names.sort();
    names
}

/// A run in the foreground whose start is over.
fn attached(sandbox: &Sandbox) -> Terminal<'_> {
    let terminal = sandbox.stagecraft(["dev"]).in_terminal();
    sandbox.wait_until_unlocked();
    terminal
}

#[test]
fn two_detached_starts_at_once_become_one_after_the_other() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Up);
    let starts = [(); 2].map(|()| sandbox.stagecraft(["dev", "--detach"]).in_terminal());
    sandbox.engine.wait_called(Verb::Up, 1);
    // One of the two waits, and says so.
    let mut said = starts.each_ref().map(|start| start.wait_for_any(&["Starting", "Blocking"]));
    said.sort_unstable();
    assert_eq!(said, ["Blocking", "Starting"]);
    assert_eq!(sandbox.engine.calls_of(Verb::Up).len(), 1);
    sandbox.engine.release(Verb::Up);
    for start in starts {
        start.wait().exits(0).says("Started");
    }
    assert_eq!(locks(&sandbox), [""; 0]);
    sandbox.run(["dev", "down"]).exits(0);
    assert_eq!(locks(&sandbox), [""; 0]);
}

#[test]
fn a_down_during_a_start_waits_for_it_and_takes_it_down() {
    for args in [&["dev", "--detach"][..], &["dev"]] {
        let sandbox = Sandbox::new();
        sandbox.engine.hold(Verb::Up);
        let start = sandbox.stagecraft(args).in_terminal();
        sandbox.engine.wait_called(Verb::Up, 1);
        let down = sandbox.stagecraft(["dev", "down"]).in_terminal();
        down.wait_for_text("waiting for another command on shop to finish");
        sandbox.engine.release(Verb::Up);
        down.wait().exits(0).says("shop; nothing of it is left");
        start.wait().exits(0);
        assert!(sandbox.engine.world(|world| world.is_empty()));
        let ups = sandbox.engine.calls().iter().position(|call| call.verb == Verb::Up);
        let downs = sandbox.engine.calls().iter().position(|call| call.verb == Verb::Down);
        assert!(ups < downs);
        assert_eq!(locks(&sandbox), [""; 0]);
    }
}

#[test]
fn a_run_holds_no_lock_while_the_stack_runs_and_takes_it_at_the_end() {
    let sandbox = Sandbox::new();
    let run = attached(&sandbox);
    sandbox.run(["dev", "--detach"]).exits(0).says("note: another run owns the stack and takes it down when it ends");
    sandbox.engine.hold(Verb::Up);
    let start = sandbox.stagecraft(["dev", "--detach"]).start();
    sandbox.engine.wait_called(Verb::Up, 3);
    run.press_ctrl_c();
    run.wait_for_text("waiting for another command on shop to finish");
    assert!(sandbox.engine.calls_of(Verb::Stop).is_empty());
    sandbox.engine.release(Verb::Up);
    start.wait().exits(0);
    run.wait().exits(130).says("shop; nothing of it is left");
    assert_eq!(locks(&sandbox), [""; 0]);
}

#[test]
fn a_second_press_does_not_wait_for_others() {
    let sandbox = Sandbox::new();
    let run = attached(&sandbox);
    sandbox.engine.hold(Verb::Up);
    let start = sandbox.stagecraft(["dev", "--detach"]).start();
    sandbox.engine.wait_called(Verb::Up, 2);
    run.press_ctrl_c();
    run.wait_for_text("waiting for another command on shop to finish");
    run.press_ctrl_c();
    run.wait().exits(130).says("shop; nothing of it is left");
    sandbox.engine.release(Verb::Up);
    start.wait().exits(0);
    sandbox.run(["dev", "down"]).exits(0);
    assert_eq!(locks(&sandbox), [""; 0]);
}

#[test]
fn a_second_run_follows_the_first_and_its_end_is_its_own() {
    let sandbox = Sandbox::new();
    let first = attached(&sandbox);
    sandbox.engine.hold(Verb::Logs);
    let second = sandbox.stagecraft(["dev", "-v"]).in_terminal();
    second.wait_for_text("shop, which another run owns (Ctrl+C only stops following)");
    sandbox.engine.wait_called(Verb::Logs, 1);
    assert!(sandbox.engine.calls_of(Verb::Logs)[0].line().ends_with("logs -f --tail 20"));
    second.press_ctrl_c();
    second.wait().exits(130).says("shop is left as it is");
    assert_eq!(sandbox.engine.calls_of(Verb::Up).len(), 1);
    assert!(sandbox.engine.calls_of(Verb::Down).is_empty() && sandbox.engine.calls_of(Verb::Stop).is_empty());
    // And one that is there when the stack ends.
    let third = sandbox.stagecraft(["dev"]).in_terminal();
    sandbox.engine.wait_called(Verb::Logs, 2);
    first.press_ctrl_c();
    first.wait().exits(130);
    sandbox.engine.release(Verb::Logs);
    third.wait().exits(0).says("shop; the run that owns it has torn it down");
    assert_eq!(locks(&sandbox), [""; 0]);
}

#[test]
fn logs_that_cannot_be_followed_are_a_failure() {
    let sandbox = Sandbox::new();
    let first = attached(&sandbox);
    sandbox.engine.answer(Verb::Logs, crate::support::Reply::exit(1).stderr("unexpected EOF\n"));
    sandbox
        .run(["dev"])
        .exits(1)
        .says("error: shop can no longer be followed: `COMPOSE_PROJECT_NAME=shop docker compose");
    first.press_ctrl_c();
    first.wait().exits(130);
}

/// The `up` of whoever is attached could crash if its containers vanished without having been stopped.
#[test]
fn down_of_an_attached_stack_runs_stop_first() {
    let sandbox = Sandbox::new();
    let run = attached(&sandbox);
    sandbox.run(["dev", "down"]).exits(0);
    run.wait().exits(0).says("stopped from elsewhere");
    let changes = sandbox.engine.changes();
    let verbs: Vec<_> = changes.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    // The last is the run's own, which finds nothing.
    assert_eq!(verbs, ["up", "stop", "down", "down"]);
    assert_eq!(locks(&sandbox), [""; 0]);
}

/// Started before the run has seen that its stack is gone, it would be taken down again.
#[test]
fn a_start_after_a_down_waits_for_the_end_of_the_run_that_was_attached() {
    let sandbox = Sandbox::new();
    let run = attached(&sandbox);
    sandbox.engine.hold(Verb::Ids);
    sandbox.run(["dev", "down"]).exits(0);
    sandbox.engine.wait_called(Verb::Ids, 1);
    let start = sandbox.stagecraft(["dev", "--detach"]).in_terminal();
    start.wait_for_text("waiting for another command on shop to finish");
    sandbox.engine.release(Verb::Ids);
    run.wait().exits(0);
    start.wait().exits(0);
    assert!(sandbox.engine.world(|world| !world.containers.is_empty()));
    sandbox.run(["dev", "down"]).exits(0);
}

#[test]
fn the_lock_of_a_killed_start_passes_to_its_guard() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Up);
    let run: Started<'_> = sandbox.stagecraft(["dev"]).start();
    sandbox.engine.wait_called(Verb::Up, 1);
    sandbox.engine.hold(Verb::Down);
    run.signal(Signal::KILL);
    run.wait().dies_of(Signal::KILL);
    let start = sandbox.stagecraft(["dev", "--detach"]).in_terminal();
    start.wait_for_text("waiting for another command on shop to finish");
    sandbox.engine.wait_called(Verb::Down, 1);
    sandbox.engine.release(Verb::Up);
    sandbox.engine.release(Verb::Down);
    start.wait().exits(0).says("Started");
    assert!(sandbox.engine.world(|world| !world.containers.is_empty()), "the guard has taken down what came after");
    sandbox.run(["dev", "down"]).exits(0);
    assert_eq!(locks(&sandbox), [""; 0]);
}

#[test]
fn a_guard_waits_for_the_lock() {
    let sandbox = Sandbox::new();
    let run = sandbox.stagecraft(["dev"]).start();
    sandbox.wait_until_unlocked();
    sandbox.engine.hold(Verb::Up);
    let start = sandbox.stagecraft(["dev", "--detach"]).in_terminal();
    start.wait_for_text("Starting");
    sandbox.engine.wait_called(Verb::Up, 2);
    run.signal(Signal::KILL);
    run.wait().dies_of(Signal::KILL);
    sandbox.engine.release(Verb::Up);
    start.wait().exits(0);
    // It owned the stack, and its end takes it down.
    sandbox.engine.wait_gone(Verb::Down);
    sandbox.engine.wait_gone(Verb::Networks);
    let order: Vec<_> = sandbox.engine.changes();
    assert!(order.last().unwrap().ends_with("down"), "{order:?}");
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

/// Kills a run together with its guard, when it has noted its command of this kind for the next holder of the lock: docker may be called a
/// moment before.
fn kill_both(sandbox: &Sandbox, run: Started<'_>, kind: &str) {
    let folder = sandbox.outside().join("cargo-stagecraft");
    let text = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
    let began = Instant::now();
    while !["shop.lock", "shop.owner"].iter().any(|file| text(file).contains(kind)) {
        assert!(began.elapsed() < Duration::from_secs(30), "no command is noted");
        thread::yield_now();
    }
    let guard = guard_of(sandbox);
    let pid = guard.file_name().unwrap().to_str().unwrap().parse().unwrap();
    // The guard first, or it would hear of the other's end.
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    run.signal(Signal::KILL);
    run.wait().dies_of(Signal::KILL);
}

#[test]
fn a_start_whose_run_was_killed_with_its_guard_does_not_go_on_after_a_down() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| {
        world.starts_as = "created";
        world.up_ends = UpEnds::Never;
    });
    let run = sandbox.stagecraft(["dev"]).start();
    sandbox.engine.wait_running(Verb::Up);
    kill_both(&sandbox, run, "start ");
    sandbox.run(["dev", "down"]).exits(0).says("waiting for a command of a killed run of shop to finish");
    assert!(sandbox.engine.wait_gone(Verb::Up).was_killed());
    assert!(sandbox.engine.world(|world| world.is_empty()));
    assert_eq!(locks(&sandbox), [""; 0]);
}

#[test]
fn a_teardown_whose_run_was_killed_with_its_guard_is_waited_for() {
    let sandbox = Sandbox::new();
    sandbox.run(["dev", "--detach"]).exits(0);
    sandbox.engine.hold(Verb::Down);
    let run = sandbox.stagecraft(["dev", "down"]).start();
    sandbox.engine.wait_called(Verb::Down, 1);
    kill_both(&sandbox, run, "end ");
    let start = sandbox.stagecraft(["dev", "--detach"]).in_terminal();
    start.wait_for_text("waiting for a command of a killed run of shop to finish");
    sandbox.engine.release(Verb::Down);
    start.wait().exits(0).says("Started");
    assert!(!sandbox.engine.only(Verb::Down).was_killed());
    sandbox.run(["dev", "down"]).exits(0);
}

#[test]
fn other_projects_and_questions_do_not_wait() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Up);
    let start = sandbox.stagecraft(["dev", "--detach"]).start();
    sandbox.engine.wait_called(Verb::Up, 1);
    sandbox.run(["dev", "--dry-run"]).exits(0);
    sandbox.run(["dev", "down", "--project-name", "other"]).exits(0);
    sandbox.engine.release(Verb::Up);
    start.wait().exits(0);
}

#[test]
fn without_a_place_for_locks_there_is_a_warning_and_a_start() {
    let sandbox = Sandbox::new();
    // A folder is expected, and there is a file.
    fs::write(sandbox.outside().join("cargo-stagecraft"), "").unwrap();
    sandbox
        .run(["dev", "--detach"])
        .exits(0)
        .says("warning: cannot lock shop, other commands may change it at the same time");
}
