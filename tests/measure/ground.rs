//! Where one measurement takes place: a Cargo workspace with a unique name, hence a Compose project of its own, and
//! what can be seen of it from outside. Whatever was measured, nothing of it stays.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tempfile::TempDir;

use crate::BROKEN_OFF;
use crate::support::engine::{DEADLINE, Engine};
use crate::support::fixture::Fixture;
use crate::support::pty::Pty;
use crate::support::run::{Run, Transcript};
use crate::support::stage::{service, write};

/// Not the prefix of the end-to-end scenarios, which look for their own leftovers and may run at the same time.
const PREFIX: &str = "measure-";

pub struct Ground {
    pub engine: &'static Engine,
    pub project: String,
    temp: TempDir,
    began: String,
}

impl Ground {
    /// # Panics
    /// If the program is to end.
    pub fn new(engine: &'static Engine) -> Ground {
        assert!(!BROKEN_OFF.load(Ordering::SeqCst), "broken off");
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let project = format!("{PREFIX}{:x}-{}-{number}", now.as_secs(), std::process::id());
        let temp = tempfile::Builder::new().prefix(PREFIX).tempdir().expect("a temporary folder");
        let began = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
        let ground = Ground { engine, project, temp, began };
        for folder in [ground.root().join("src"), ground.root().join(".stagecraft/dev"), ground.traces()] {
            fs::create_dir_all(folder).expect("folders");
        }
        write(
            &ground.root().join("Cargo.toml"),
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
        );
        write(&ground.root().join("src/lib.rs"), "");
        ground
    }

    pub fn root(&self) -> PathBuf {
        self.temp.path().join(&self.project)
    }

    /// Puts the workspace of a scenario here.
    pub fn copy(&self, fixture: &Fixture) {
        fixture.copy_to(&self.root());
    }

    /// Where the services leave traces that nobody has to be attached for.
    fn traces(&self) -> PathBuf {
        self.temp.path().join("traces")
    }

    pub fn write_compose_file(&self, text: &str) {
        write(&self.root().join(".stagecraft/dev/compose.yaml"), text);
    }

    /// A service that honours SIGTERM and leaves a trace when it is ready and when it was told to end. Prints
    /// `NAME is ready`.
    pub fn witness(&self, name: &str, more: &[&str]) -> String {
        let script = format!(
            "trap ': > /traces/{name}.farewell; exit 0' TERM; : > /traces/{name}.ready; echo {name} is ready; sleep 1000 & wait"
        );
        let mount = format!("volumes: ['{}:/traces']", self.traces().display());
        service(name, &script, &[&[mount.as_str()], more].concat())
    }

    /// Which services have left this trace.
    pub fn trace(&self, kind: &str) -> BTreeSet<String> {
        let names =
            fs::read_dir(self.traces()).expect("traces").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter_map(|name| Some(name.strip_suffix(kind)?.strip_suffix('.')?.to_string())).collect()
    }

    /// A folder beside the workspace.
    pub fn temp(&self) -> &Path {
        self.temp.path()
    }

    /// A program in the workspace's root.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.engine.command(program);
        // Compose that is killed in the middle of a build leaves its temporary Dockerfile in TMPDIR.
        command.args(args).current_dir(self.root()).env("TMPDIR", self.temp.path()).env("TERM", "xterm-256color");
        command.env("COMPOSE_PROJECT_NAME", &self.project).env("COMPOSE_MENU", "0");
        // As cargo tells the subcommands that it starts.
        command.env("CARGO", env!("CARGO"));
        command
    }

    /// `docker compose ARGS`.
    pub fn compose(&self, args: &[&str]) -> Command {
        self.command("docker", &[&["compose", "-f", ".stagecraft/dev/compose.yaml"], args].concat())
    }

    /// When this has happened last to a container of the project, in nanoseconds since 1970 by the engine's clock.
    pub fn when(&self, action: &str) -> u128 {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let args = ["events", "--since", &self.began, "--until", "-1s", "--filter", &project, "--format"];
        let events = self.engine.ask(&[&args[..], &["{{.TimeNano}} {{.Action}}"]].concat());
        let mut times = events.lines().filter_map(|line| line.split_once(' ').filter(|(_, it)| *it == action));
        times.next_back().expect("it has happened").0.parse().expect("a time")
    }

    /// What happens to the containers of the project from now on.
    pub fn events(&self) -> Events {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let args = ["events", "--since", &self.began, "--filter", &project, "--filter", "type=container"];
        let mut command = self.command("docker", &[&args[..], &["--format", "{{.Action}}"]].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("docker starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let (sender, actions) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Events { child, actions }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.engine.remove(&self.project);
        Fixture::remove_images(self.engine, &self.project);
    }
}

/// The events of the engine, in their order; each is heard once.
pub struct Events {
    child: Child,
    actions: Receiver<String>,
}

impl Events {
    /// Blocks until this has happened so many times, not counting what was heard before.
    pub fn wait_for(&self, action: &str, times: usize) {
        let deadline = Instant::now() + DEADLINE;
        for _ in 0..times {
            let next = || self.actions.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            while next().unwrap_or_else(|_| panic!("no event `{action}`, or not {times} of them")) != action {}
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a command in a process group of its own, its output read through pipes.
pub fn start(mut command: Command) -> Run {
    command.process_group(0);
    Run::start(command, Arc::default())
}

/// Runs a command to its end and returns what it prints on stdout. Unlike `start` it has no deadline: a compiler on a
/// busy machine needs what it needs.
///
/// # Panics
/// If the command fails; what it has said stands on stderr then.
pub fn succeed(mut command: Command) -> String {
    let output = command.process_group(0).stdin(Stdio::null()).output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        eprintln!("{}{}", text(&output.stdout), text(&output.stderr));
        panic!("{command:?}: {}", output.status);
    }
    text(&output.stdout)
}

/// Starts a command in a terminal of its own.
pub fn start_in_terminal(command: Command) -> Run {
    Run::start_in(Pty::open(), command, Arc::<Transcript>::default())
}

/// Blocks until the process has ended, but no longer than this. It stays unreaped.
pub fn ends_within(pid: Pid, limit: Duration) -> bool {
    let process = pidfd_open(pid, PidfdFlags::empty()).expect("a pidfd");
    is_ready_within(process, limit)
}

/// Blocks until there is something to read, or to accept, but no longer than this.
pub fn is_ready_within(file: impl AsFd, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).expect("a short time");
    poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&limit)).expect("poll") > 0
}
