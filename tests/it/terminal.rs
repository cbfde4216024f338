//! At a terminal: what Ctrl+C and a closed window do, and that the terminal is left as it was found.

use std::ffi::OsStr;

use serde_json::json;

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
fn each_interrupt_prints_what_the_next_one_does() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Down);
    let terminal = started(&sandbox);
    terminal.wait_for_text("(Ctrl+C stops and removes it)");
    terminal.press_ctrl_c();
    terminal.wait_for_text("press Ctrl+C again to kill its containers at once");
    sandbox.engine.wait_called(Verb::Down, 1);
    terminal.press_ctrl_c();
    terminal.wait_for_text("press Ctrl+C again to exit and let the guard finish");
    sandbox.engine.wait_called(Verb::Down, 2);
    assert_eq!(downs(&sandbox), ["down", "down --timeout 0"]);
    for call in sandbox.engine.calls_of(Verb::Down) {
        assert!(call.signals.is_empty(), "no press cuts a `down` off: {}", call.line());
    }
    terminal.press_ctrl_c();
    terminal.wait_for_text("shop to the guard, which finishes the teardown");
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

// ------------------------------------------------------------------------------------- what a terminal can show

/// The stack of two services runs; one is reached at an address, the other one was killed for a long reason.
fn shown() -> Sandbox {
    let sandbox = Sandbox::new();
    let root = sandbox.root().to_owned();
    sandbox.engine.world(|world| {
        let bindings = json!({ "8080/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "49153" }] });
        world.services.insert("api".to_string(), json!({ "bindings": bindings }));
        world.add_container("shop", "api", "running", &root).health = "healthy";
        world.add_container("shop", "db", "running", &root).health = "unhealthy";
    });
    sandbox
}

const LINK: &str = "\x1b]8;;http://localhost:49153\x1b\\";
const LINK_ENDS: &str = "\x1b]8;;\x1b\\";
const KNOWN: (&str, &str) = ("VTE_VERSION", "7600");

fn width(line: &str) -> usize {
    line.chars().count()
}

#[test]
fn a_table_is_cut_to_the_width_of_the_terminal_and_never_in_a_pipe() {
    let sandbox = shown();
    let whole = sandbox.run(["dev", "status"]).exits(1).stdout().to_string();
    let widest = whole.lines().map(width).max().unwrap();
    for columns in [48, 54, 60] {
        assert!(usize::from(columns) < widest, "{whole}");
        let finished = sandbox.stagecraft(["dev", "status"]).columns(columns).in_terminal().wait().exits(1);
        let lines: Vec<&str> = finished.stderr.lines().collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines.iter().all(|line| width(line) <= columns.into()), "{columns}: {lines:?}");
        assert!(lines[1].contains('…') && lines[1].starts_with("api "), "{lines:?}");
    }
    for columns in [0, 200] {
        let finished = sandbox.stagecraft(["dev", "status"]).columns(columns).in_terminal().wait().exits(1);
        assert_eq!(finished.stderr, whole, "{columns}: not known, or wide enough");
    }
}

#[test]
fn an_address_is_a_link_on_a_terminal_that_is_known_to_show_it() {
    let sandbox = shown();
    let link = |text: &str| format!("{LINK}{text}{LINK_ENDS}");
    let status = || sandbox.stagecraft(["dev", "status"]).env(KNOWN.0, KNOWN.1);
    status().in_terminal().wait().exits(1).says(&link("http://localhost:49153"));
    status().columns(40).in_terminal().wait().exits(1).says(LINK).says(&format!("…{LINK_ENDS}"));
    let piped = status().env("CARGO_TERM_COLOR", "always").env("CARGO_TERM_HYPERLINKS", "true").run().exits(1);
    assert!(!piped.stdout().contains('\x1b'), "{:?}", piped.stdout());
}

#[test]
fn whether_there_are_links_says_cargos_variable_and_never_without_colour() {
    let sandbox = shown();
    type Variables = &'static [(&'static str, &'static str)];
    let table: [(Variables, bool); 8] = [
        (&[], false),
        (&[KNOWN], true),
        (&[KNOWN, ("CARGO_TERM_HYPERLINKS", "false")], false),
        (&[("CARGO_TERM_HYPERLINKS", "true")], true),
        (&[KNOWN, ("NO_COLOR", "1")], false),
        (&[KNOWN, ("CARGO_TERM_COLOR", "never")], false),
        (&[KNOWN, ("TERM", "dumb")], false),
        (&[("CARGO_TERM_HYPERLINKS", "true"), ("TERM", "dumb"), ("CARGO_TERM_COLOR", "always")], false),
    ];
    for (variables, linked) in table {
        let program = sandbox.stagecraft(["dev", "status"]);
        let program = variables.iter().fold(program, |program, (name, value)| program.env(name, value));
        let finished = program.in_terminal().wait().exits(1);
        assert_eq!(finished.stderr.contains(LINK), linked, "{variables:?}: {:?}", finished.stderr);
    }
}

#[test]
fn the_addresses_of_a_start_are_links_and_fit_as_well() {
    let sandbox = shown();
    sandbox.engine.world(|world| world.containers.clear());
    let start = || sandbox.stagecraft(["dev", "--detach"]);
    let finished = start().env(KNOWN.0, KNOWN.1).columns(48).in_terminal().wait().exits(0).says(LINK);
    let row = finished.stderr.lines().find(|line| line.contains(LINK)).unwrap();
    let row = row.replace(LINK, "").replace(LINK_ENDS, "");
    assert!(width(&row) <= 48 && row.starts_with("             api ") && row.ends_with('…'), "{row:?}");
}

#[test]
fn neither_a_pipe_nor_a_dumb_terminal_gets_an_escape_sequence() {
    let sandbox = with_a_wait();
    let run = sandbox.stagecraft(["dev", "--detach", "--wait"]).env("TERM", "dumb").in_terminal();
    run.wait_for_text("Waiting for db: running (starting)");
    becomes_healthy(&sandbox);
    let dumb = run.wait().exits(0);
    assert!(!dumb.stderr.contains('\x1b'), "{:?}", dumb.stderr);

    let sandbox = with_a_wait();
    let run = sandbox.stagecraft(["dev", "--detach", "--wait"]).start();
    sandbox.engine.wait_gone(Verb::Inspect);
    becomes_healthy(&sandbox);
    let piped = run.wait().exits(0);
    assert!(!piped.stderr.contains('\x1b') && piped.stdout().is_empty(), "{:?}", piped.stderr);
}

fn with_a_wait() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| world.health = "starting");
    sandbox.engine.hold(Verb::Starts);
    sandbox
}

fn becomes_healthy(sandbox: &Sandbox) {
    for service in ["api", "db"] {
        sandbox.engine.world(|world| {
            let container = world.containers.iter_mut().find(|container| container.service == service);
            container.expect("a container").health = "healthy";
        });
        sandbox.engine.happens(service, "health_status: healthy", "");
    }
}

#[test]
fn help_and_wrong_usage_are_painted_as_cargos_and_when_cargos_variable_says_so() {
    let sandbox = Sandbox::new();
    let (header, error) = ("\x1b[1m\x1b[92mUsage:\x1b[0m", "\x1b[1m\x1b[91merror:\x1b[0m");
    let help = |when: &str| sandbox.stagecraft(["dev", "--help"]).env("CARGO_TERM_COLOR", when);
    help("auto").in_terminal().wait().exits(0).says(header);
    help("never").in_terminal().wait().exits(0).does_not_say("\x1b");
    assert!(help("always").run().exits(0).stdout().contains(header));
    sandbox.stagecraft(["dev", "--helf"]).env("CARGO_TERM_COLOR", "always").run().exits(2).says(error);
    sandbox
        .stagecraft(["dev", "--helf"])
        .env("CARGO_TERM_COLOR", "never")
        .in_terminal()
        .wait()
        .exits(2)
        .does_not_say("\x1b");
    sandbox.stagecraft(["dev", "--helf"]).run().exits(2).does_not_say("\x1b");
}
