//! The scenarios.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use tempfile::TempDir;
use windows_sys::Win32::System::Console::{CTRL_C_EVENT, GenerateConsoleCtrlEvent, SetConsoleCtrlHandler};

use crate::engine::Engine;

/// Plays all of them, also where one has failed.
pub fn play() -> ExitCode {
    let scenarios: [(&str, fn(&Stage)); 6] = [
        ("a detached start and its teardown succeed", a_detached_start_and_its_teardown_succeed),
        ("ctrl c is heard by us alone and ends with down", ctrl_c_is_heard_by_us_alone_and_ends_with_down),
        ("up dies with us and the guard takes down", up_dies_with_us_and_the_guard_takes_down),
        ("a change waits for its turn", a_change_waits_for_its_turn),
        ("a second foreground run follows the first", a_second_foreground_run_follows_the_first),
        ("the holder of a port is named", the_holder_of_a_port_is_named),
    ];
    let mut failed = 0;
    for (name, scenario) in scenarios {
        let played = panic::catch_unwind(|| scenario(&Stage::new()));
        println!("{}: {name}", if played.is_ok() { "ok" } else { "FAILED" });
        failed += u8::from(played.is_err());
    }
    ExitCode::from(failed)
}

/// A workspace, an engine, and the programs on PATH.
struct Stage {
    engine: Engine,
    folder: TempDir,
}

impl Stage {
    fn new() -> Stage {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ours = std::env::current_exe().expect("a program knows itself");
        for program in ["docker.exe", "cargo.exe"] {
            fs::copy(&ours, folder.path().join(program)).expect("a copy of this program");
        }
        let dev_dir = folder.path().join("shop").join(".stagecraft").join("dev");
        fs::create_dir_all(&dev_dir).expect("a dev dir");
        fs::write(dev_dir.join("compose.yaml"), "services: { web: { image: web } }\n").expect("a compose file");
        let engine = Engine::start();
        engine.change(|state| state.dev_dir = dev_dir.display().to_string());
        Stage { engine, folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("shop")
    }

    fn stagecraft(&self, args: &[&str]) -> Child {
        let mut command = Command::new(program());
        command.arg("stagecraft").args(args).current_dir(self.root()).stdin(Stdio::null());
        command.env("PATH", self.folder.path()).env("CARGO", self.folder.path().join("cargo.exe"));
        command.env("FAKE_DOCKER", self.engine.address.to_string()).env("FAKE_WORKSPACE", self.root());
        command.env("LOCALAPPDATA", self.folder.path()).env_remove("DOCKER_HOST").env_remove("CI");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the program starts")
    }

    /// A run in the foreground whose start is over: it has given the lock back.
    fn attached(&self) -> Child {
        let run = self.stagecraft(&["dev"]);
        self.engine.until("the start", |state| state.runs);
        let lock = File::open(self.folder.path().join("cargo-stagecraft").join("shop.lock")).expect("the lock");
        lock.lock().expect("it can be locked");
        run
    }

    /// How it ends, and what it has said on stderr.
    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        end(self.stagecraft(args))
    }
}

/// The program beside the folder of the tests.
fn program() -> PathBuf {
    let ours = std::env::current_exe().expect("a program knows itself");
    let folder = ours.parent().and_then(Path::parent).expect("the folder of what was built");
    folder.join("cargo-stagecraft.exe")
}

fn end(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Reads what it says up to a line that holds this; the rest stays to be read.
fn read_until(child: &mut Child, words: &str) -> BufReader<impl Read + use<>> {
    let mut said = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut line = String::new();
    while !line.contains(words) {
        line.clear();
        assert!(said.read_line(&mut line).expect("it is text") > 0, "it ended without {words:?}");
    }
    said
}

fn a_detached_start_and_its_teardown_succeed(stage: &Stage) {
    let (code, said) = stage.run(&["dev", "--detach"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(stage.engine.change(|state| state.runs), "it is left running");
    let (code, said) = stage.run(&["dev", "down"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!stage.engine.change(|state| state.runs));
    let left = fs::read_dir(stage.folder.path().join("cargo-stagecraft")).expect("the folder of the locks");
    assert_eq!(left.count(), 0, "a lock is left");
}

fn ctrl_c_is_heard_by_us_alone_and_ends_with_down(stage: &Stage) {
    let run = stage.attached();
    stage.engine.change(|state| state.holds_down = true);
    press_ctrl_c();
    stage.engine.until("down", |state| state.count("down") == 1);
    stage.engine.change(|state| assert_eq!(state.count("lost up"), 0, "{:?}", state.heard));
    stage.engine.change(|state| state.holds_down = false);
    let (code, said) = end(run);
    assert_eq!(code, Some(130), "{said}");
    stage.engine.change(|state| assert!(!state.runs));
}

/// As the keyboard does: every process at this console hears it that is in no group of its own. So do we.
#[allow(unsafe_code)]
fn press_ctrl_c() {
    unsafe extern "system" fn not_us(_: u32) -> i32 {
        1
    }
    // SAFETY: the handler is a function and does nothing, and the rest are numbers.
    unsafe {
        assert_ne!(SetConsoleCtrlHandler(Some(not_us), 1), 0);
        assert_ne!(GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0), 0, "nothing can be sent: there is no console");
    }
}

fn up_dies_with_us_and_the_guard_takes_down(stage: &Stage) {
    let mut run = stage.attached();
    stage.engine.change(|state| state.holds_down = true);
    run.kill().expect("it can be killed");
    // Before anybody takes anything down.
    stage.engine.until("the death of up", |state| state.count("lost up") == 1);
    stage.engine.change(|state| state.holds_down = false);
    stage.engine.until("the guard's down", |state| !state.runs && state.count("down") == 1);
    // Its stderr comes to an end when the guard, too, is gone.
    let (_, said) = end(run);
    assert!(said.contains("Guarding"), "{said}");
}

fn a_change_waits_for_its_turn(stage: &Stage) {
    assert_eq!(stage.run(&["dev", "--detach"]).0, Some(0));
    stage.engine.change(|state| state.holds_down = true);
    let first = stage.stagecraft(&["dev", "down"]);
    stage.engine.until("the first down", |state| state.count("down") == 1);
    let mut second = stage.stagecraft(&["dev", "down"]);
    let _said = read_until(&mut second, "Blocking");
    stage.engine.change(|state| assert_eq!(state.count("down"), 1, "{:?}", state.heard));
    stage.engine.change(|state| state.holds_down = false);
    assert_eq!(end(first).0, Some(0));
    assert_eq!(second.wait().expect("it ends").code(), Some(0));
}

fn a_second_foreground_run_follows_the_first(stage: &Stage) {
    let mut first = stage.attached();
    let second = stage.stagecraft(&["dev"]);
    stage.engine.until("the second run", |state| state.count("logs") == 1);
    first.kill().expect("it can be killed");
    let (code, said) = end(second);
    assert_eq!(code, Some(0), "{said}");
    stage.engine.change(|state| assert_eq!(state.count("up"), 1, "{:?}", state.heard));
}

fn the_holder_of_a_port_is_named(stage: &Stage) {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    stage.engine.change(|state| state.port = Some(port));
    let (code, said) = stage.run(&["dev", "--detach"]);
    assert_eq!(code, Some(1), "{said}");
    let holder = format!("(pid {})", std::process::id());
    assert!(said.contains(&holder), "{said} does not name {holder}");
    stage.engine.change(|state| assert_eq!(state.count("up"), 0, "{:?}", state.heard));
}
