//! Interrupts while cargo builds, and after.

use super::*;

on_both_pairs![
    ctrl_c_in_the_foreground,
    ctrl_c_while_cargo_builds,
    terminated_while_cargo_builds,
    ctrl_c_after_the_build
];

fn ctrl_c_in_the_foreground(stage: &Stage) {
    workspace(stage, "", &[package("api", PUBLISHED), package("db", "")]);
    let events = stage.events();
    let run = stage.tool(&["dev"]).start_in_terminal();
    stage.wait_until_up(&run, &["api", "db"]);
    assert_eq!(ask(stage, "api", "/"), "I am api");
    run.press_ctrl_c();
    run.end().with(130);
    stage.assert_gone();
    events.wait_for("die api 143;");
    events.wait_for("die db 143;");
}

/// Blocks until somebody has connected.
pub(super) fn accept(listener: &TcpListener) -> TcpStream {
    let limit = Timespec::try_from(DEADLINE).expect("a short time");
    let connected = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&limit)).expect("poll");
    assert!(connected > 0, "nobody has connected");
    listener.accept().expect("a connection").0
}

/// Makes a workspace whose build lasts until this listener, or what has connected to it, is gone.
pub(super) fn endless_build(stage: &Stage, tables: &str, keys: &str) -> TcpListener {
    workspace(stage, tables, &[package("api", keys)]);
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let script = format!(
        "fn main() {{\n    let mut test = std::net::TcpStream::connect({address:?}).expect(\"the test listens\");\n    \
         let _ = std::io::Read::read(&mut test, &mut [0]);\n}}\n"
    );
    write(&stage.root().join("api/build.rs"), &script);
    listener
}

/// Ends a run while cargo builds for it. Nothing may go on building for nobody, or start anything afterwards.
fn end_while_cargo_builds(stage: &Stage, listener: &TcpListener, run: Run, end: impl FnOnce(&Run)) -> Ended {
    let mut script = accept(listener);
    let family = Other::descendants(run.pid());
    assert!(family.len() >= 2, "cargo and the build script");
    end(&run);
    let ended = run.end();
    family.into_iter().for_each(Other::ends);
    assert!(matches!(script.read(&mut [0]), Ok(0) | Err(_)), "the build script has ended");
    stage.assert_gone();
    ended
}

fn ctrl_c_while_cargo_builds(stage: &Stage) {
    let listener = endless_build(stage, "", "");
    let run = stage.tool(&["dev", "--detach"]).start_in_terminal();
    end_while_cargo_builds(stage, &listener, run, Run::press_ctrl_c).with(130).says(INTERRUPTED);
}

/// Nobody but the program hears of that.
fn terminated_while_cargo_builds(stage: &Stage) {
    let listener = endless_build(stage, "", "");
    let run = stage.tool(&["dev", "--detach"]).start();
    let end = |run: &Run| run.signal(Signal::TERM);
    end_while_cargo_builds(stage, &listener, run, end).with(143).says(INTERRUPTED);
}

const INTERRUPTED: &str = "interrupted while cargo was building; nothing was started";

/// What has heard the interrupts during the build is gone, and nothing else hears them yet.
fn ctrl_c_after_the_build(stage: &Stage) {
    let tables = "[workspace.metadata.stagecraft.dev.services.db]\nimage = 'stagecraft-test'\ninit = true\n\
                  command = ['sleep', '1000']\nhealthcheck = {test = ['CMD', 'false'], interval = '1s', retries = 1000}\n";
    workspace(stage, tables, &[package("api", "depends_on = {db = {condition = 'service_healthy'}}\n")]);
    let first = stage.tool(&["dev", "--detach"]).start();
    stage.events().wait_for("start db;");
    let second = stage.tool(&["dev", "--detach"]).start_in_terminal();
    // Cargo may say that it is blocking, too.
    second.wait_for("waiting for another command on");
    second.press_ctrl_c();
    second.end().with(-2);
    first.signal(Signal::INT);
    first.end().with(130);
    stage.assert_gone();
}
