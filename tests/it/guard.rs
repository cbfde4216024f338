//! When the program itself is killed, the guard takes the stack down; when it ends, nothing of the guard stays.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::support::{Reply, Sandbox, Started, UpEnds, Verb};

/// A run of `up` whose containers are there.
fn started<'a>(sandbox: &'a Sandbox, args: &[&str]) -> Started<'a> {
    let run = sandbox.stagecraft(args).start();
    sandbox.engine.wait_running(Verb::Up);
    run
}

/// Waits until the guard has looked what is left, and checks that it is nothing.
#[track_caller]
fn the_guard_has_cleaned_up(sandbox: &Sandbox) {
    sandbox.engine.wait_gone(Verb::Down);
    sandbox.engine.wait_gone(Verb::Networks);
    sandbox.engine.world(|world| assert!(world.is_empty(), "{world:?}"));
}

/// The command lines of the processes that belong to this sandbox, by the variable that leads to its engine.
fn processes_of(sandbox: &Sandbox) -> Vec<String> {
    let mark = sandbox.outside().join("engine.sock");
    let is_ours = |environ: &[u8]| environ.split(|byte| *byte == 0).any(|v| v.ends_with(mark.as_os_str().as_bytes()));
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let ours = all.filter(|process| fs::read(process.join("environ")).is_ok_and(|environ| is_ours(&environ)));
    ours.map(|process| String::from_utf8_lossy(&fs::read(process.join("cmdline")).unwrap_or_default()).into_owned())
        .collect()
}

#[test]
fn a_killed_run_is_taken_down_by_its_guard() {
    for signal in [Signal::KILL, Signal::QUIT] {
        let sandbox = Sandbox::new();
        let run = started(&sandbox, &["dev"]);
        run.signal(signal);
        run.wait().dies_of(signal);
        the_guard_has_cleaned_up(&sandbox);
        let downs = sandbox.engine.calls_of(Verb::Down);
        assert_eq!(downs.len(), 1, "it is taken down once");
        assert_eq!(downs[0].null, [true, false, false], "what `down` says goes through the guard");
        assert!(!sandbox.engine.only(Verb::Up).was_killed(), "`up` had started: it ends by itself");
    }
}

#[test]
fn a_start_that_is_still_at_work_when_the_run_is_killed_is_cut_off() {
    for args in [&["dev"][..], &["dev", "--detach"]] {
        let sandbox = Sandbox::new();
        sandbox.engine.world(|world| {
            world.starts_as = "created";
            world.up_ends = UpEnds::Never;
        });
        let run = started(&sandbox, args);
        run.signal(Signal::KILL);
        run.wait().dies_of(Signal::KILL);
        assert!(sandbox.engine.wait_gone(Verb::Up).was_killed());
        the_guard_has_cleaned_up(&sandbox);
    }
}

#[test]
fn a_down_that_is_killed_is_finished_by_its_guard() {
    let sandbox = Sandbox::new();
    sandbox.run(["dev", "--detach"]).exits(0);
    sandbox.engine.hold(Verb::Down);
    let run = sandbox.stagecraft(["dev", "down"]).start();
    sandbox.engine.wait_called(Verb::Down, 1);
    run.signal(Signal::KILL);
    run.wait().dies_of(Signal::KILL);
    sandbox.engine.wait_called(Verb::Down, 2);
    sandbox.engine.release(Verb::Down);
    the_guard_has_cleaned_up(&sandbox);
}

#[test]
fn a_third_interrupt_leaves_the_rest_to_the_guard() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Down);
    let run = started(&sandbox, &["dev"]);
    run.signal(Signal::INT);
    for presses in 1..=2 {
        sandbox.engine.wait_called(Verb::Down, presses);
        run.signal(Signal::INT);
    }
    run.wait()
        .exits(130)
        .says("press Ctrl+C again to exit and let the guard finish")
        .says("Leaving shop to the guard, which finishes the teardown");
    sandbox.engine.wait_called(Verb::Down, 3);
    sandbox.engine.release(Verb::Down);
    the_guard_has_cleaned_up(&sandbox);
    let last = sandbox.engine.calls_of(Verb::Down).pop().unwrap();
    assert!(last.line().ends_with("down --timeout 0"), "it has no more patience than the run had: {}", last.line());
}

#[test]
fn the_guard_takes_the_wider_steps() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    sandbox.engine.on(Verb::Down, |call, _| {
        let narrow = !call.line().contains("--remove-orphans");
        narrow.then(|| Reply::exit(1).stderr("no such file"))
    });
    run.signal(Signal::KILL);
    run.wait().dies_of(Signal::KILL);
    sandbox.engine.wait_called(Verb::Networks, 2);
    assert_eq!(sandbox.engine.calls_of(Verb::Down).len(), 2);
    the_guard_has_cleaned_up(&sandbox);
}

#[test]
fn nothing_of_the_guard_is_left_after_a_normal_end() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    let guards = || processes_of(&sandbox).into_iter().filter(|line| line.contains("__guard")).count();
    assert_eq!(guards(), 1);
    run.signal(Signal::INT);
    run.wait().exits(130);
    assert_eq!(guards(), 0);
    sandbox.run(["dev", "--detach"]).exits(0);
    assert_eq!(guards(), 0, "a detached stack is nobody's to guard");
    sandbox.run(["dev", "down"]).exits(0);
    assert_eq!(guards(), 0);
}

/// The guard's folder in /proc.
pub fn guard_of(sandbox: &Sandbox) -> PathBuf {
    let mark = sandbox.outside().join("engine.sock");
    let guard = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path())).find(|process| {
        let has = |file: &str, text: &OsStr| {
            let bytes = fs::read(process.join(file)).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        };
        has("cmdline", OsStr::new("__guard")) && has("environ", mark.as_os_str())
    });
    guard.expect("a run has a guard")
}

#[test]
fn signals_to_the_run_do_not_end_the_guard() {
    let sandbox = Sandbox::new();
    let run = sandbox.stagecraft(["dev"]).env("RUNNER_TRACKING_ID", "github_1").start();
    sandbox.engine.wait_running(Verb::Up);
    let guard = guard_of(&sandbox);
    let stat = fs::read_to_string(guard.join("stat")).unwrap();
    let pid = stat.split(' ').next().unwrap();
    // pid (comm) state ppid pgrp session: see proc(5).
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!((fields[2], fields[3]), (pid, pid), "a group and a session of its own");
    let environ = fs::read(guard.join("environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environ).contains("RUNNER_TRACKING_ID"));
    run.signal(Signal::INT);
    run.wait().exits(130);
}

#[test]
fn in_a_ci_job_an_interrupt_has_five_seconds_of_grace() {
    let sandbox = Sandbox::new();
    let run = sandbox.stagecraft(["dev"]).env("CI", "true").start();
    sandbox.engine.wait_running(Verb::Up);
    run.signal(Signal::TERM);
    run.wait().exits(143);
    assert!(sandbox.engine.only(Verb::Down).line().ends_with("down --timeout 5"));
}

#[test]
fn the_guard_closes_inherited_files() {
    let sandbox = Sandbox::new();
    let held = sandbox.outside().join("held");
    let script = r#"exec 9> "$HELD"; exec "$0" "$@""#;
    let args = ["-c", script, env!("CARGO_BIN_EXE_cargo-stagecraft"), "dev"];
    let run = sandbox.program("sh", args).env("HELD", &held).start();
    sandbox.engine.wait_running(Verb::Up);
    let opens_it = |process: PathBuf| {
        let mut open = fs::read_dir(process.join("fd")).unwrap().flatten();
        open.any(|file| fs::read_link(file.path()).is_ok_and(|target| target == held))
    };
    assert!(!opens_it(guard_of(&sandbox)), "a lock on it would stay held");
    run.signal(Signal::INT);
    run.wait().exits(130);
}
