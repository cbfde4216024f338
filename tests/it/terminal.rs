//! At a terminal: what Ctrl+C and a closed window do, and that the terminal is left as it was found.

use std::ffi::OsStr;

use crate::support::{Sandbox, Terminal, UpEnds, Verb};

/// A foreground run in a terminal whose containers are there.
fn started(sandbox: &Sandbox) -> Terminal<'_> {
    let terminal = sandbox.stagecraft(["dev"]).in_terminal();
    sandbox.engine.wait_running(Verb::Up);
    terminal
}

/// The words of a `down`, from the verb on.
fn downs(sandbox: &Sandbox) -> Vec<String> {
    let calls = sandbox.engine.calls_of(Verb::Down);
    calls.iter().map(|call| call.line().split_once("compose.yaml ").unwrap().1.to_string()).collect()
}

#[test]
fn ctrl_c_reaches_us_alone_and_takes_the_stack_down_once() {
    let sandbox = Sandbox::new();
    let terminal = started(&sandbox);
    terminal.press_ctrl_c();
    terminal.wait().exits(130).says("Removed");
    assert_eq!(downs(&sandbox), ["down"]);
    for verb in [Verb::Up, Verb::Down] {
        let call = sandbox.engine.only(verb);
        assert_eq!((call.signals.as_slice(), call.was_killed()), (&[][..], false), "{}", call.line());
    }
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

#[test]
fn up_writes_to_the_terminal_and_reads_nothing_from_it() {
    let sandbox = Sandbox::new();
    let terminal = started(&sandbox);
    terminal.press_ctrl_c();
    terminal.wait().exits(130);
    let up = sandbox.engine.only(Verb::Up);
    assert_eq!(up.tty, [false, true, true], "its progress needs a terminal");
    assert!(up.null[0]);
    assert_eq!(up.env[OsStr::new("COMPOSE_MENU")], "0");
}

#[test]
fn each_press_says_what_the_next_one_does() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Down);
    let terminal = started(&sandbox);
    terminal.wait_for_text("(Ctrl+C stops and removes it)");
    terminal.press_ctrl_c();
    terminal.wait_for_text("press Ctrl+C again to kill its containers at once");
    sandbox.engine.wait_called(Verb::Down, 1);
    terminal.press_ctrl_c();
    terminal.wait_for_text("press Ctrl+C once more to leave the rest to the guard");
    sandbox.engine.wait_called(Verb::Down, 2);
    assert_eq!(downs(&sandbox), ["down", "down --timeout 0"]);
    for call in sandbox.engine.calls_of(Verb::Down) {
        assert!(call.signals.is_empty(), "no press cuts a `down` off: {}", call.line());
    }
    terminal.press_ctrl_c();
    terminal.wait_for_text("shop to the guard, which takes it down behind us");
    sandbox.engine.wait_called(Verb::Down, 3);
    sandbox.engine.release(Verb::Down);
    // When the guard is done, nobody holds the terminal open any more.
    terminal.wait().exits(130).says("shop; nothing of it is left");
}

#[test]
fn ctrl_c_during_down_is_shielded_from_it() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Down);
    let terminal = sandbox.stagecraft(["dev", "down"]).in_terminal();
    sandbox.engine.wait_called(Verb::Down, 1);
    terminal.press_ctrl_c();
    sandbox.engine.wait_called(Verb::Down, 2);
    sandbox.engine.release(Verb::Down);
    terminal.wait().exits(130);
    assert_eq!(downs(&sandbox), ["down", "down --timeout 0"]);
    assert!(sandbox.engine.calls_of(Verb::Down).iter().all(|call| call.signals.is_empty()));
}

#[test]
fn closing_the_window_takes_the_stack_down_with_nowhere_to_write() {
    let sandbox = Sandbox::new();
    let terminal = started(&sandbox);
    terminal.hang_up().exits(129);
    assert_eq!(downs(&sandbox), ["down"]);
    let down = sandbox.engine.only(Verb::Down);
    assert_eq!(down.null, [true; 3], "a terminal that is gone would make its writes fail");
    assert!(sandbox.engine.only(Verb::Up).signals.is_empty());
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

#[test]
fn ctrl_c_works_the_same_through_cargo() {
    let sandbox = Sandbox::new();
    let terminal = sandbox.program("cargo", ["stagecraft", "dev"]).in_terminal();
    sandbox.engine.wait_running(Verb::Up);
    terminal.press_ctrl_c();
    terminal.wait().exits(130);
    assert_eq!(downs(&sandbox), ["down"]);
    assert!(sandbox.engine.only(Verb::Up).signals.is_empty());
}

#[test]
fn ctrl_c_during_a_detached_start_takes_it_back() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| world.up_ends = UpEnds::WithItsContainers);
    let terminal = sandbox.stagecraft(["dev", "--detach"]).in_terminal();
    sandbox.engine.wait_running(Verb::Up);
    terminal.press_ctrl_c();
    terminal.wait().exits(130);
    assert_eq!(downs(&sandbox), ["down"]);
    assert!(sandbox.engine.only(Verb::Up).signals.is_empty());
}

#[test]
fn a_stack_that_ends_by_itself_leaves_the_terminal_as_it_was() {
    let sandbox = Sandbox::new();
    let terminal = started(&sandbox);
    sandbox.engine.world(|world| {
        world.exits("api", 0);
        world.exits("db", 0);
    });
    terminal.wait().exits(0);
}

#[test]
fn an_up_that_is_cut_off_gives_the_cursor_back() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| world.starts_as = "created");
    let terminal = started(&sandbox);
    terminal.press_ctrl_c();
    terminal.wait().exits(130).says("\x1b[?25h");
    assert!(sandbox.engine.only(Verb::Up).was_killed());
}
