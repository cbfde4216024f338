//! `dev --watch`: how it is asked for, and what runs first in its containers.
// That is a program for Linux.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{COMPOSE_FILE, Sandbox};

#[test]
fn it_is_for_the_foreground() {
    let sandbox = Sandbox::new();
    let finished = sandbox.run(["dev", "--watch", "--detach"]).exits(2);
    assert!(finished.stderr.contains("'--watch' cannot be used with '--detach'"), "{}", finished.stderr);
    // As a setting it is for those runs that it is for.
    sandbox.stagecraft(["dev", "--detach"]).env("STAGECRAFT_WATCH", "true").run().exits(0);
}

#[test]
fn an_address_to_listen_at_is_checked_before_anything_is_built() {
    for (keys, expected) in [
        ("listen = 'api'", "`listen` is `api`, which is not an address such as `0.0.0.0:8080`"),
        ("listen = [70000]", "`listen` "),
        ("listen = true", "`listen` must be a string, found a boolean"),
        ("listen = 8080\nbase = 'debian'", "`listen` is not possible with `base`"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.remove(COMPOSE_FILE);
        let manifest = format!(
            "[package]\nname = \"api\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
             [package.metadata.stagecraft.dev]\n{keys}\n"
        );
        sandbox.write("Cargo.toml", &manifest);
        sandbox.write("src/main.rs", "fn main() {}\n");
        let finished = sandbox.run(["dev", "--detach"]).exits(3);
        assert!(finished.stderr.contains(expected), "{keys}: {}", finished.stderr);
    }
}

/// A supervisor, outside of any container, of a shell that runs this.
struct Supervisor {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Supervisor {
    fn of(script: &str, grace: &str, listen: &str) -> Supervisor {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-stagecraft"));
        command.args(["__supervise", "15", grace, listen, "/bin/sh", "-c", script]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Supervisor { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }

    fn signal(&self, number: i32) {
        // SAFETY: one that is blocked by the supervisor, which waits for it.
        #[allow(unsafe_code)]
        unsafe {
            libc::kill(i32::try_from(self.child.id()).unwrap(), number);
        }
    }

    fn ends_with(mut self, code: i32) {
        let status = self.child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(code), None));
    }
}

const RELOAD: i32 = 64;

#[test]
fn it_ends_as_its_program_does() {
    Supervisor::of("exit 7", "1000", "").ends_with(7);
    Supervisor::of("kill -9 $$", "1000", "").ends_with(128 + 9);
    let mut missing = Command::new(env!("CARGO_BIN_EXE_cargo-stagecraft"));
    let missing = missing.args(["__supervise", "15", "1000", "", "/no/such/program"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&missing.stderr).starts_with("cannot start /no/such/program: "));
}

#[test]
fn signals_reach_its_program_which_starts_with_none_blocked() {
    let script = "trap 'echo usr1' USR1; trap 'echo term; exit 3' TERM; echo ready; while :; do read -t 1 x < /dev/zero; sleep 0.01; done";
    let mut supervisor = Supervisor::of(script, "1000", "");
    assert_eq!(supervisor.line(), "ready");
    supervisor.signal(libc::SIGUSR1);
    assert_eq!(supervisor.line(), "usr1");
    supervisor.signal(libc::SIGTERM);
    assert_eq!(supervisor.line(), "term");
    supervisor.ends_with(3);
}

#[test]
fn a_reload_ends_the_program_and_what_it_has_started_and_starts_it_again() {
    // The one that it starts in the background holds the output open, and would for long.
    let script = "setsid sleep 1000 & echo $! $$; exec sleep 1000";
    let mut supervisor = Supervisor::of(script, "10000", "");
    let first = supervisor.line();
    supervisor.signal(RELOAD);
    let second = supervisor.line();
    assert_ne!(first, second);
    let is_gone = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    assert!(first.split(' ').all(is_gone), "{first} is left");
    let left = second.split(' ').next().unwrap().parse().unwrap();
    supervisor.signal(libc::SIGTERM);
    supervisor.ends_with(128 + 15);
    // Outside of a container the end of the first process is not that of all.
    let _ = kill_process(Pid::from_raw(left).unwrap(), Signal::KILL);
}

#[test]
fn a_program_that_does_not_end_is_killed_when_its_grace_is_over() {
    let mut supervisor = Supervisor::of("trap 'echo no' TERM; echo $$; while :; do sleep 0.01; done", "300", "");
    let first = supervisor.line();
    supervisor.signal(RELOAD);
    assert_eq!(supervisor.line(), "no");
    let second = supervisor.line();
    assert_ne!(first, second);
    supervisor.signal(libc::SIGKILL);
    let _ = supervisor.child.wait();
    let _ = kill_process(Pid::from_raw(second.parse().unwrap()).unwrap(), Signal::KILL);
}

/// A stop of the container during a reload ends it.
#[test]
fn a_stop_during_a_reload_is_no_reload() {
    let script =
        "trap 'echo asked; test -e \"$GO\" && exit 5; touch \"$GO\"' TERM; echo ready; while :; do sleep 0.01; done";
    let dir = tempfile::tempdir().unwrap();
    let script = format!("GO={}; {script}", dir.path().join("go").display());
    let mut supervisor = Supervisor::of(&script, "60000", "");
    assert_eq!(supervisor.line(), "ready");
    supervisor.signal(RELOAD);
    assert_eq!(supervisor.line(), "asked");
    supervisor.signal(libc::SIGTERM);
    assert_eq!(supervisor.line(), "asked");
    supervisor.ends_with(5);
}

#[test]
fn sockets_are_passed_on_as_systemd_does() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = "test \"$LISTEN_PID\" = $$ && echo \"$LISTEN_FDS\" && readlink /proc/$$/fd/3; exec sleep 1000";
    let mut supervisor = Supervisor::of(script, "1000", &format!("127.0.0.1:{port}"));
    assert_eq!(supervisor.line(), "1");
    let socket = supervisor.line();
    assert!(socket.starts_with("socket:["), "{socket}");
    // The program accepts nothing; the connection waits in the queue.
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(b"x").unwrap();
    supervisor.signal(RELOAD);
    assert_eq!((supervisor.line(), supervisor.line()), ("1".to_string(), socket));
    supervisor.signal(libc::SIGTERM);
    supervisor.ends_with(128 + 15);
    let mut taken = Supervisor::of("exit 0", "1000", &format!("127.0.0.1:{port},127.0.0.1:{port}"));
    let mut words = String::new();
    taken.child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert!(words.starts_with(&format!("cannot listen at 127.0.0.1:{port}: ")), "{words}");
    taken.ends_with(127);
}
