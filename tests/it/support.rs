//! What the tests of the command line stand on: a workspace in a temporary folder, the built program, a terminal, and
//! an engine that is simulated in this process, behind the fake `docker` on the program's PATH (`docker.rs`).
//!
//! Everything waits for events; the one deadline is there so that a test that hangs fails with what has happened so far.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use rustix::pty::OpenptFlags;
use rustix::termios::{Termios, Winsize};
use serde::Deserialize;
use serde_json::{Value, json};
use snapbox::Assert;
use snapbox::assert::DEFAULT_ACTION_ENV;
use snapbox::data::Inline;
use tempfile::TempDir;

/// How long anything may take. No test comes near it unless it hangs.
const DEADLINE: Duration = Duration::from_secs(30);

/// The compose file, where every command expects it.
pub const COMPOSE_FILE: &str = ".stagecraft/dev/compose.yaml";

// ------------------------------------------------------------------------------------------------ the sandbox

/// A workspace named `shop` in a temporary folder, with an engine of its own.
pub struct Sandbox {
    pub engine: FakeEngine,
    root: PathBuf,
    dir: TempDir,
}

impl Sandbox {
    /// A workspace of one package, in a folder named `shop`.
    pub fn new() -> Sandbox {
        Sandbox::in_folder("shop")
    }

    /// A workspace of one package, in a folder of this name.
    pub fn in_folder(name: &str) -> Sandbox {
        let dir = tempfile::Builder::new().prefix("stagecraft-").tempdir().expect("a temporary folder");
        // Cargo tells canonical paths.
        let base = dir.path().canonicalize().expect("the temporary folder is there");
        let bin = base.join("bin");
        fs::create_dir(&bin).expect("a folder for programs");
        symlink(fake_docker(), bin.join("docker")).expect("the fake docker can be linked");
        symlink(env!("CARGO_BIN_EXE_cargo-stagecraft"), bin.join("cargo-stagecraft")).expect("so can the program");
        let engine = FakeEngine::listen(&base.join("engine.sock"));
        let sandbox = Sandbox { engine, root: base.join(name), dir };
        sandbox.write("Cargo.toml", "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        sandbox.write("src/lib.rs", "");
        sandbox.install_compose("#!/bin/sh\n");
        sandbox.configure_docker(r#"{"HttpHeaders": {}}"#);
        sandbox.write(COMPOSE_FILE, "services: {}\n");
        sandbox
    }

    /// The root of the workspace.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder round the workspace; `bin` in it is first on PATH.
    pub fn outside(&self) -> PathBuf {
        self.dir.path().canonicalize().expect("the temporary folder is there")
    }

    /// Puts this in the place of the Compose plugin. The fake docker does not run it; a script is what the program would
    /// rather ask.
    pub fn install_compose(&self, plugin: &str) {
        let plugins = self.outside().join("docker-config/cli-plugins");
        fs::create_dir_all(&plugins).expect("a folder for plugins");
        fs::write(plugins.join("docker-compose"), plugin).expect("the plugin can be written");
    }

    /// Configures the docker CLI. With headers, which only that would send, it is asked itself, and not the engine behind the
    /// socket of this machine.
    pub fn configure_docker(&self, config: &str) {
        fs::write(self.outside().join("docker-config/config.json"), config).expect("the configuration can be written");
    }

    /// Writes a file of the workspace.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folder can be made");
        fs::write(path, text).expect("the file can be written");
    }

    /// Removes a file of the workspace.
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.root.join(path)).expect("the file was there");
    }

    /// The program with these arguments, in the root of the workspace.
    pub fn stagecraft<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Program<'_> {
        self.program(env!("CARGO_BIN_EXE_cargo-stagecraft"), args)
    }

    /// Any program in the same surroundings: fake docker first on PATH, no variable set that could matter.
    pub fn program<A: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = A>) -> Program<'_> {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.root);
        let meddling = |key: &str| {
            let prefixes = ["COMPOSE_", "DOCKER_", "CARGO", "CLICOLOR", "GITHUB_", "STAGECRAFT_"];
            // What terminals set to be known by.
            let terminals = [
                "COLORTERM",
                "DOMTERM",
                "FORCE_HYPERLINK",
                "KONSOLE_VERSION",
                "TERM_PROGRAM",
                "VTE_VERSION",
                "WT_SESSION",
            ];
            let meddling = prefixes.iter().any(|prefix| key.starts_with(prefix))
                || terminals.contains(&key)
                || ["CI", "NO_COLOR"].contains(&key);
            // Without it cargo would look for its toolchains elsewhere.
            (meddling || key.to_lowercase().ends_with("_proxy")) && key != "CARGO_HOME"
        };
        for (key, _) in std::env::vars_os().filter(|(key, _)| meddling(&key.to_string_lossy())) {
            command.env_remove(key);
        }
        let mut path = self.outside().join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.env("PATH", path);
        command.env("FAKE_DOCKER", self.outside().join("engine.sock"));
        command.env("DOCKER_CONFIG", self.outside().join("docker-config"));
        // Where locks are.
        command.env("XDG_RUNTIME_DIR", self.outside());
        command.env("TERM", "xterm").env("COLUMNS", "100");
        // Were there ever a panic, a test would see all of it.
        command.env("RUST_BACKTRACE", "1");
        Program { sandbox: self, command, stdin: None, stdout: None, stderr: None, columns: 0, ignored: Vec::new() }
    }

    /// Runs the program with these arguments to its end.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Finished {
        self.stagecraft(args).run()
    }

    /// Blocks until the start of a run in the foreground is over and has been told: as another command would that changes the
    /// project.
    pub fn wait_until_unlocked(&self) {
        self.engine.wait_gone(Verb::Starts);
        let lock = File::open(self.outside().join("cargo-stagecraft/shop.lock")).expect("the lock is there");
        lock.lock().expect("it can be taken");
    }

    fn redacted(&self, text: &str) -> String {
        let outside = self.outside();
        text.replace(&*self.root.to_string_lossy(), "[ROOT]").replace(&*outside.to_string_lossy(), "[OUTSIDE]")
    }
}

fn fake_docker() -> PathBuf {
    let exe = std::env::current_exe().expect("the test has a path");
    // target/<profile>/deps/it-0123 → target/<profile>/examples/docker
    let profile = exe.ancestors().nth(2).expect("the test lies in target/<profile>/deps");
    let docker = profile.join("examples/docker");
    assert!(docker.is_file(), "no fake docker at {}: run `cargo build --examples`", docker.display());
    docker
}

// ------------------------------------------------------------------------------------------------ the program

/// How the master of a terminal is opened. Where it cannot be kept from others at once, that comes a moment later.
#[cfg(target_os = "linux")]
const OPEN: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY).union(OpenptFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const OPEN: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY);

/// A program that is about to run.
pub struct Program<'a> {
    sandbox: &'a Sandbox,
    command: Command,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    columns: u16,
    ignored: Vec<Signal>,
}

impl<'a> Program<'a> {
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stderr = Some(stderr.into());
        self
    }

    /// Starts it with this signal ignored, as `nohup` does.
    pub fn ignoring(mut self, signal: Signal) -> Self {
        self.ignored.push(signal);
        self
    }

    /// Says how wide a terminal of its own is; otherwise nobody knows.
    pub fn columns(mut self, columns: u16) -> Self {
        self.columns = columns;
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Finished {
        self.start().wait()
    }

    /// Starts it with its output in files: unlike a pipe, a file never makes us wait for whoever else holds it open.
    pub fn start(mut self) -> Started<'a> {
        let (stdout, stderr) = (scratch(), scratch());
        let clone = |file: &File| Stdio::from(file.try_clone().expect("a file can be shared"));
        self.command.stdin(self.stdin.take().unwrap_or_else(Stdio::null));
        self.command.stdout(self.stdout.take().unwrap_or_else(|| clone(&stdout)));
        self.command.stderr(self.stderr.take().unwrap_or_else(|| clone(&stderr)));
        self.command.process_group(0);
        self.set_signals();
        let child = Ours(self.command.spawn().expect("the program can be started"));
        Started { sandbox: self.sandbox, interrupted: Cell::default(), child, stdout, stderr }
    }

    /// Starts it as the leader of a session with a terminal of its own.
    pub fn in_terminal(mut self) -> Terminal<'a> {
        // CLOEXEC, since the programs of tests that run at the same moment in other threads would inherit the master:
        // a terminal that somebody else holds open never hangs up, and never comes to its end.
        let master = rustix::pty::openpt(OPEN).expect("a pseudoterminal");
        fcntl_setfd(&master, FdFlags::CLOEXEC).expect("it can be kept to ourselves");
        rustix::pty::unlockpt(&master).expect("it can be unlocked");
        let other_side = rustix::pty::ptsname(&master, Vec::new()).expect("its other side has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(other_side, flags, Mode::empty()).expect("its other side can be opened");
        let size = Winsize { ws_row: 0, ws_col: self.columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size).expect("it has a size");
        let modes_before = rustix::termios::tcgetattr(&master).expect("it has modes");
        let clone = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("it can be shared"));
        self.command.stdin(clone(&slave)).stdout(clone(&slave)).stderr(slave);
        self.set_signals();
        // SAFETY: between fork and exec only two system calls are made, both of which are async-signal-safe.
        unsafe {
            self.command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(())
            });
        }
        let child = Ours(self.command.spawn().expect("the program can be started"));
        // The command holds the slave; while anybody does, the end of the output cannot be seen.
        drop(self.command);
        Terminal {
            sandbox: self.sandbox,
            interrupted: Cell::default(),
            child,
            screen: Screen::watch(master),
            modes_before,
        }
    }

    /// Nobody who runs these tests in the background or under nohup shall pass ignored signals on to the program.
    fn set_signals(&mut self) {
        let ignored = std::mem::take(&mut self.ignored);
        // SAFETY: signal(2) is async-signal-safe, and nothing else happens between fork and exec.
        unsafe {
            self.command.pre_exec(move || {
                for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
                    let action = if ignored.contains(&signal) { libc::SIG_IGN } else { libc::SIG_DFL };
                    libc::signal(signal.as_raw(), action);
                }
                Ok(())
            });
        }
    }
}

fn scratch() -> File {
    tempfile::tempfile().expect("a temporary file")
}

fn content(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("what was written can be read");
    bytes
}

/// A child that does not outlive its test, also if that fails.
struct Ours(Child);

impl Ours {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    fn wait(&mut self) -> Option<ExitStatus> {
        let pid = self.pid();
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || {
            // Not reaped here, so that the pid stays ours.
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let _ = sender.send(());
        });
        ended.recv_timeout(DEADLINE).ok()?;
        Some(self.0.wait().expect("a child can be waited for"))
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that runs.
pub struct Started<'a> {
    sandbox: &'a Sandbox,
    interrupted: LastInterrupt,
    child: Ours,
    stdout: File,
    stderr: File,
}

/// When a program was last interrupted.
type LastInterrupt = Cell<Option<Instant>>;

/// The same interrupt within 100 ms counts as the echo of the one before, so a second one that is meant to count has to
/// wait for that time, as a finger does.
fn wait_out_the_echo(last: &LastInterrupt) {
    const ECHO: Duration = Duration::from_millis(250);
    if let Some(before) = last.replace(Some(Instant::now())) {
        thread::sleep(ECHO.saturating_sub(before.elapsed()));
        last.set(Some(Instant::now()));
    }
}

fn kill(id: &str) -> Value {
    json!({ "action": "kill", "id": id, "signal": "15", "time": nanoseconds() })
}

/// How far the engine's clock is behind this machine's: nothing may compare the two.
const BEHIND: Duration = Duration::from_secs(3600);

/// The engine's time.
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now() - BEHIND
}

/// In nanoseconds since 1970, as the engine dates its events.
fn nanoseconds() -> i128 {
    now().as_nanosecond()
}

impl Started<'_> {
    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        wait_out_the_echo(&self.interrupted);
        kill_process(self.child.pid(), signal).expect("the program is there");
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Finished {
        let status = self.child.wait();
        let (stdout, stderr) = (content(&self.stdout), content(&self.stderr));
        let Some(status) = status else {
            let stderr = String::from_utf8_lossy(&stderr);
            panic!("the program does not end.\nstderr:\n{stderr}\n{}", self.sandbox.engine.story());
        };
        Finished::new(self.sandbox, status, stdout, &stderr)
    }
}

/// How a program ended. That nobody has seen a panic is checked already.
pub struct Finished {
    /// As a shell sees it: 128 + n if signal n ended it.
    code: i32,
    killed: bool,
    /// Standard output, as it is.
    pub stdout: Vec<u8>,
    /// Standard error, with the folders of the sandbox replaced by `[ROOT]` and `[OUTSIDE]`.
    pub stderr: String,
    story: String,
}

impl Finished {
    fn new(sandbox: &Sandbox, status: ExitStatus, stdout: Vec<u8>, stderr: &[u8]) -> Finished {
        let stderr = sandbox.redacted(&String::from_utf8_lossy(stderr));
        for sign in ["panicked at", "stack backtrace", "RUST_BACKTRACE", "Stack backtrace"] {
            assert!(!stderr.contains(sign), "a panic or a backtrace was shown:\n{stderr}");
        }
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).expect("it has ended");
        let story = sandbox.engine.story();
        Finished { code, killed: status.signal().is_some(), stdout, stderr, story }
    }

    /// Checks the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Finished {
        let Finished { stderr, story, .. } = &self;
        assert!(!self.killed, "a signal ended it.\nstderr:\n{stderr}\n{story}");
        assert_eq!(self.code, code, "the exit code is another.\nstderr:\n{stderr}\n{story}");
        self
    }

    /// Checks that a signal ended it, as it ends any program that does not listen.
    #[track_caller]
    pub fn dies_of(self, signal: Signal) -> Finished {
        let Finished { stderr, story, .. } = &self;
        assert!(self.killed, "no signal ended it, but {}.\nstderr:\n{stderr}\n{story}", self.code);
        assert_eq!(self.code, 128 + signal.as_raw());
        self
    }

    /// Checks that stderr holds this.
    #[track_caller]
    pub fn says(self, text: &str) -> Finished {
        assert!(self.stderr.contains(text), "`{text}` was not said:\n{}", self.stderr);
        self
    }

    /// Checks that stderr does not hold this.
    #[track_caller]
    pub fn does_not_say(self, text: &str) -> Finished {
        assert!(!self.stderr.contains(text), "`{text}` was said:\n{}", self.stderr);
        self
    }

    /// Checks all of stderr against a snapshot.
    #[track_caller]
    pub fn tells(self, expected: Inline) -> Finished {
        Assert::new().action_env(DEFAULT_ACTION_ENV).eq(&self.stderr, expected);
        self
    }

    pub fn stdout(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("stdout is text")
    }
}

// ------------------------------------------------------------------------------------------------ the terminal

/// A program that runs in a terminal.
pub struct Terminal<'a> {
    sandbox: &'a Sandbox,
    interrupted: LastInterrupt,
    child: Ours,
    screen: Screen,
    modes_before: Termios,
}

impl Terminal<'_> {
    /// Presses Ctrl+C: the terminal makes a signal of it, for every process in its foreground group.
    pub fn press_ctrl_c(&self) {
        wait_out_the_echo(&self.interrupted);
        rustix::io::write(&*self.screen.master, b"\x03").expect("the terminal takes input");
    }

    /// Presses Ctrl+S: the terminal takes no more output.
    pub fn press_ctrl_s(&self) {
        rustix::io::write(&*self.screen.master, b"\x13").expect("the terminal takes input");
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        wait_out_the_echo(&self.interrupted);
        kill_process(self.child.pid(), signal).expect("the program is there");
    }

    /// Waits until this text has appeared.
    pub fn wait_for_text(&self, text: &str) {
        self.screen.wait_until(text, |seen| String::from_utf8_lossy(&seen.bytes).contains(text));
    }

    /// Waits until one of these has appeared, and returns it.
    pub fn wait_for_any<'t>(&self, texts: &[&'t str]) -> &'t str {
        let found = |bytes: &[u8]| texts.iter().find(|text| String::from_utf8_lossy(bytes).contains(**text)).copied();
        self.screen.wait_until("one of these", |seen| found(&seen.bytes).is_some());
        found(&self.screen.seen.0.lock().expect("nobody panics with it").bytes).expect("it was there")
    }

    /// Waits for the end; what was on the screen is the stderr of the answer. The terminal is as it was.
    pub fn wait(mut self) -> Finished {
        let Some(status) = self.child.wait() else {
            panic!("the program does not end.\n{}\n{}", self.screen.text(), self.sandbox.engine.story());
        };
        let modes_after = rustix::termios::tcgetattr(&*self.screen.master).expect("the terminal has modes");
        assert_eq!(format!("{modes_after:?}"), format!("{:?}", self.modes_before), "the terminal is left changed");
        self.screen.wait_until("the end of the output", |seen| seen.over);
        Finished::new(self.sandbox, status, Vec::new(), self.screen.text().as_bytes())
    }

    /// Closes the terminal's window, and waits for the end.
    pub fn hang_up(self) -> Finished {
        let Terminal { sandbox, mut child, screen, .. } = self;
        let text = screen.close();
        let Some(status) = child.wait() else {
            panic!("the program does not end.\n{text}\n{}", sandbox.engine.story());
        };
        Finished::new(sandbox, status, Vec::new(), text.as_bytes())
    }
}

/// What is on a terminal's screen, read by a thread so that a program never waits for us.
struct Screen {
    master: Arc<OwnedFd>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    /// Closed to end the thread, which holds the master open while it reads.
    wake: std::io::PipeWriter,
    reader: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    over: bool,
}

impl Screen {
    fn watch(master: OwnedFd) -> Screen {
        let master = Arc::new(master);
        let seen = Arc::new((Mutex::new(Seen::default()), Condvar::new()));
        let (woken, wake) = std::io::pipe().expect("a pipe");
        let (source, sink) = (Arc::clone(&master), Arc::clone(&seen));
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let mut fds = [PollFd::new(&*source, PollFlags::IN), PollFd::new(&woken, PollFlags::IN)];
                poll(&mut fds, None).expect("a terminal can be waited for");
                if !fds[1].revents().is_empty() {
                    return;
                }
                // EIO: nobody has the other side open any more.
                let read = rustix::io::read(&*source, &mut buffer).unwrap_or(0);
                let mut seen = sink.0.lock().expect("nobody panics with it");
                seen.bytes.extend_from_slice(&buffer[..read]);
                seen.over = read == 0;
                sink.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        Screen { master, seen, wake, reader }
    }

    fn text(&self) -> String {
        let seen = self.seen.0.lock().expect("nobody panics with it");
        String::from_utf8_lossy(&seen.bytes).replace("\r\n", "\n")
    }

    fn wait_until(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        let seen = self.seen.0.lock().expect("nobody panics with it");
        let waited = self.seen.1.wait_timeout_while(seen, DEADLINE, |seen| !condition(seen));
        let (seen, timeout) = waited.expect("nobody panics with it");
        let text = String::from_utf8_lossy(&seen.bytes).into_owned();
        drop(seen);
        assert!(!timeout.timed_out(), "waited in vain for {what}; on the screen:\n{text}");
    }

    fn close(self) -> String {
        let text = self.text();
        drop(self.wake);
        self.reader.join().expect("the reader has no reason to panic");
        assert_eq!(Arc::strong_count(&self.master), 1, "ours is the last hand on the terminal");
        text
    }
}

// ------------------------------------------------------------------------------------------------ the engine

/// What a call of docker asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `docker compose config`
    Config,
    /// `docker compose version`
    Version,
    /// `docker compose up`, attached or not
    Up,
    /// `docker compose down`
    Down,
    /// `docker compose stop`
    Stop,
    /// `docker compose logs`
    Logs,
    /// `docker ps`, the containers with what they belong to
    Containers,
    /// `docker ps`, the ids of those that the file asks for
    Ids,
    /// `docker container inspect`
    Inspect,
    /// `docker logs`
    LastWords,
    /// `docker image inspect`
    Image,
    /// `docker info`
    Info,
    /// `docker network ls`
    Networks,
    /// `docker volume ls`
    Volumes,
    /// `docker events` up to now
    Events,
    /// `docker events` from now on
    Starts,
    /// `docker version`
    Architecture,
    /// `docker context`
    Context,
    /// Anything else
    Other,
}

/// A call of docker, from its first word to its end.
#[derive(Clone, Debug)]
pub struct Call {
    pub verb: Verb,
    pub args: Vec<OsString>,
    /// `COMPOSE_…` and `DOCKER_…`, sorted.
    pub env: BTreeMap<OsString, OsString>,
    pub cwd: PathBuf,
    pub pid: i32,
    pub pgid: i32,
    /// What stdin held, where docker was told to read it.
    pub stdin: String,
    /// Whether stdin, stdout and stderr are terminals.
    pub tty: [bool; 3],
    /// Whether they are /dev/null.
    pub null: [bool; 3],
    /// Which signals it has got, SIGKILL apart.
    pub signals: Vec<i32>,
    /// It does now what it was called for: containers of an `up` exist.
    pub running: bool,
    /// The exit code that it has ended with by itself.
    pub exit: Option<i32>,
    /// It has ended.
    pub gone: bool,
}

impl Call {
    /// Whether it was killed before it could do what it was answered.
    pub fn was_killed(&self) -> bool {
        self.gone && self.exit.is_none()
    }

    /// The call as a line for a shell.
    pub fn line(&self) -> String {
        let quoted = |word: &OsStr| {
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(byte);
            if !word.is_empty() && word.as_bytes().iter().all(plain) {
                return word.to_string_lossy().into_owned();
            }
            let quoted = shlex::bytes::try_quote(word.as_bytes()).expect("no NUL in an argument");
            String::from_utf8_lossy(&quoted).into_owned()
        };
        let mut line = String::new();
        if !self.stdin.is_empty() {
            let _ = write!(line, "printf %s {} | ", quoted(OsStr::new(&self.stdin)));
        }
        for (key, value) in &self.env {
            let _ = write!(line, "{}={} ", key.to_string_lossy(), quoted(value));
        }
        line.push_str("docker");
        for arg in &self.args {
            let _ = write!(line, " {}", quoted(arg));
        }
        line
    }

    fn has(&self, arg: &str) -> bool {
        self.args.iter().any(|a| a == arg)
    }

    fn value_of(&self, option: &str) -> Option<String> {
        let at = self.args.iter().position(|arg| arg == option)?;
        Some(self.args.get(at + 1)?.to_string_lossy().into_owned())
    }

    /// The compose file that it reads.
    fn file(&self) -> Option<String> {
        self.args.iter().find(|arg| *arg == COMPOSE_FILE).map(|arg| arg.to_string_lossy().into_owned())
    }

    /// The project that it is about, if it says so.
    fn project(&self) -> Option<String> {
        let label = "label=com.docker.compose.project=";
        let by_label = self.args.iter().find_map(|arg| arg.to_string_lossy().strip_prefix(label).map(str::to_owned));
        let by_name = || {
            let name = self.env.get(OsStr::new("COMPOSE_PROJECT_NAME"))?.to_string_lossy().into_owned();
            // To Compose an empty name is none.
            (!name.is_empty()).then_some(name)
        };
        by_label.or_else(|| self.value_of("-p")).or_else(by_name)
    }
}

/// This machine's architecture, as Docker names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn verb_of(args: &[OsString]) -> Verb {
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let mut words = args.iter().map(|arg| &**arg);
    match words.next() {
        Some("ps") if args.iter().any(|arg| arg == "label=com.docker.compose.oneoff=False") => return Verb::Ids,
        Some("ps") => return Verb::Containers,
        Some("container") => return Verb::Inspect,
        Some("logs") => return Verb::LastWords,
        Some("image") => return Verb::Image,
        Some("info") => return Verb::Info,
        Some("version") => return Verb::Architecture,
        Some("context") => return Verb::Context,
        Some("network") => return Verb::Networks,
        Some("volume") => return Verb::Volumes,
        Some("events") if args.iter().any(|arg| arg == "--until") => return Verb::Events,
        Some("events") => return Verb::Starts,
        Some("compose") => {}
        _ => return Verb::Other,
    }
    while let Some(word) = words.next() {
        return match word {
            "-f" | "-p" | "--profile" | "--project-directory" => {
                words.next();
                continue;
            }
            "config" => Verb::Config,
            "version" => Verb::Version,
            "up" => Verb::Up,
            "down" => Verb::Down,
            "stop" => Verb::Stop,
            "logs" => Verb::Logs,
            _ => Verb::Other,
        };
    }
    Verb::Other
}

/// What docker prints, and how it ends.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    stdout: String,
    stderr: String,
    exit: i32,
}

impl Reply {
    pub fn exit(exit: i32) -> Reply {
        Reply { exit, ..Reply::default() }
    }

    pub fn stdout(mut self, text: impl Into<String>) -> Reply {
        self.stdout = text.into();
        self
    }

    pub fn stderr(mut self, text: impl Into<String>) -> Reply {
        self.stderr = text.into();
        self
    }

    fn lines(values: impl IntoIterator<Item = Value>) -> Reply {
        let lines: String = values.into_iter().map(|value| format!("{value}\n")).collect();
        Reply::default().stdout(lines)
    }
}

/// A container on the engine.
#[derive(Clone, Debug)]
pub struct Container {
    pub project: String,
    pub service: String,
    pub name: String,
    pub id: String,
    pub state: String,
    pub exit_code: i64,
    /// `starting`, `healthy`, `unhealthy`, or empty without a healthcheck.
    pub health: &'static str,
    pub restarts: u32,
    /// Why it could not be started.
    pub error: String,
    /// As `docker ps` shows them.
    pub ports: String,
    pub is_one_off: bool,
    pub config_files: String,
    pub working_dir: String,
    /// The version of the Compose that made it.
    pub made_by: &'static str,
    /// No command stops or removes it.
    pub stuck: bool,
}

impl Container {
    fn is_alive(&self) -> bool {
        ["created", "running", "restarting", "paused"].contains(&&*self.state)
    }
}

/// When `up` comes to its end, unless a test ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpEnds {
    /// Detached at once, attached when no container lives any more.
    AsItShould,
    /// When no container lives any more, also if detached: it still starts something.
    WithItsContainers,
    /// Not at all: it builds an image, and would start containers afterwards.
    Never,
}

/// What there is on the engine, and what Compose makes of the compose file.
#[derive(Debug)]
pub struct World {
    /// The project's name that the compose file or its `.env` gives.
    pub name: Option<String>,
    /// The active services, as `config` shows them.
    pub services: BTreeMap<String, Value>,
    /// The state that containers are in after `up`.
    pub starts_as: &'static str,
    /// When `up` comes to its end.
    pub up_ends: UpEnds,
    /// Compose's version.
    pub compose: &'static str,
    /// The health of containers after `up`; empty without a healthcheck.
    pub health: &'static str,
    /// What each container has printed.
    pub log: &'static str,
    /// What the engine calls the host that it runs on.
    pub host: String,
    /// The engine's version.
    pub engine: &'static str,
    /// What it tells of itself besides.
    pub info: Value,
    /// Anonymous volumes that no container uses.
    pub anonymous: Vec<String>,
    /// The containers whose image has Compose's labels.
    pub forged: Vec<String>,
    /// The ids of images that newer ones have replaced.
    pub replaced: Vec<String>,
    pub containers: Vec<Container>,
    /// Project and name.
    pub networks: Vec<(String, String)>,
    /// Project and name.
    pub volumes: Vec<(String, String)>,
    events: Vec<(String, Value)>,
    made: usize,
}

impl World {
    fn new() -> World {
        World {
            name: None,
            services: BTreeMap::from([("api".to_string(), json!({})), ("db".to_string(), json!({}))]),
            starts_as: "running",
            up_ends: UpEnds::AsItShould,
            compose: "2.26.1",
            health: "",
            log: "",
            host: fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_string(),
            engine: "28.5.2",
            info: json!({}),
            anonymous: Vec::new(),
            forged: Vec::new(),
            replaced: Vec::new(),
            containers: Vec::new(),
            networks: Vec::new(),
            volumes: Vec::new(),
            events: Vec::new(),
            made: 0,
        }
    }

    /// A container as `up` in the workspace at `root` makes it.
    pub fn add_container(&mut self, project: &str, service: &str, state: &str, root: &Path) -> &mut Container {
        self.made += 1;
        self.containers.push(Container {
            project: project.to_string(),
            service: service.to_string(),
            name: format!("{project}-{service}-1"),
            id: format!("{:012x}{:052x}", self.made, self.made),
            state: state.to_string(),
            exit_code: 0,
            health: self.health,
            restarts: 0,
            error: String::new(),
            ports: String::new(),
            is_one_off: false,
            config_files: root.join(".stagecraft/dev/compose.yaml").display().to_string(),
            working_dir: root.join(".stagecraft/dev").display().to_string(),
            made_by: self.compose,
            stuck: false,
        });
        self.containers.last_mut().expect("it was just made")
    }

    fn up(&mut self, project: &str, root: &Path, without_traefik: bool) {
        let network = (project.to_string(), format!("{project}_default"));
        if !self.networks.contains(&network) {
            self.networks.push(network);
        }
        if without_traefik {
            self.containers.retain(|c| c.project != project || c.service != "traefik");
        }
        for service in self.services.keys().cloned().collect::<Vec<_>>() {
            let exists = self.containers.iter().any(|c| c.project == project && c.service == service);
            let left_out = without_traefik && service == "traefik";
            if !exists && !left_out {
                let state = self.starts_as;
                self.add_container(project, &service, state, root);
            }
        }
    }

    /// Lets a container end by itself.
    pub fn exits(&mut self, service: &str, code: i64) {
        for container in self.containers.iter_mut().filter(|c| c.service == service) {
            container.state = "exited".to_string();
            container.exit_code = code;
        }
    }

    /// Stops every container of a project, as `docker compose stop` does.
    pub fn stop(&mut self, project: &str) {
        for container in self.containers.iter_mut().filter(|c| c.project == project && c.is_alive() && !c.stuck) {
            self.events.push((project.to_string(), kill(&container.id)));
            container.state = "exited".to_string();
            container.exit_code = 143;
        }
    }

    /// Starts its containers again.
    pub fn start(&mut self, project: &str) {
        for container in self.containers.iter_mut().filter(|c| c.project == project) {
            self.events
                .push((project.to_string(), json!({ "action": "start", "id": container.id, "time": nanoseconds() })));
            container.state = "running".to_string();
            container.exit_code = 0;
        }
    }

    /// Removes a project, as `docker compose down` does: with `everything` also what the file does not name.
    pub fn down(&mut self, project: &str, everything: bool, volumes: bool) {
        let services = &self.services;
        self.containers
            .retain(|c| c.project != project || c.stuck || !everything && !services.contains_key(&c.service));
        if !self.containers.iter().any(|c| c.project == project) {
            self.networks.retain(|(owner, _)| owner != project);
        }
        if volumes {
            self.volumes.retain(|(owner, _)| owner != project);
        }
    }

    /// What `up` does, for a hook that answers in its place.
    pub fn up_for(&mut self, call: &Call) {
        self.up(&call.project().unwrap_or_default(), &call.cwd, call.has("traefik=0"));
    }

    /// What `down` does, for a hook that answers in its place.
    pub fn down_for(&mut self, call: &Call) {
        let everything = call.has("--remove-orphans");
        self.down(&call.project().unwrap_or_default(), everything, call.has("--volumes"));
    }

    fn is_up(&self, project: &str) -> bool {
        self.containers.iter().any(|c| c.project == project && c.is_alive() && !c.stuck)
    }

    fn has_started(&self, project: &str) -> bool {
        let mut ours = self.containers.iter().filter(|c| c.project == project).peekable();
        ours.peek().is_some() && ours.all(|c| c.state != "created")
    }

    /// Whether nothing at all is on the engine.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.networks.is_empty() && self.volumes.is_empty()
    }

    /// The beginning of what a call does, and its answer if that does not take longer.
    fn begin(&mut self, call: &Call) -> Option<Reply> {
        let project = call.project().unwrap_or_default();
        let of_project = |list: &[(String, String)]| {
            let names: Vec<_> =
                list.iter().filter(|(owner, _)| *owner == project).map(|(_, name)| json!({ "Name": name })).collect();
            Some(Reply::lines(names))
        };
        let ours = self.containers.iter().filter(|c| project.is_empty() || c.project == project);
        if let Some(file) = call.file()
            && !call.cwd.join(&file).is_file()
        {
            return Some(Reply::exit(1).stderr(format!("open {file}: no such file or directory\n")));
        }
        match call.verb {
            Verb::Config => {
                let on_stdin = call.stdin.strip_prefix("name: \"").and_then(|rest| rest.split('"').next());
                let name = call.project().or(self.name.clone()).or(on_stdin.map(str::to_owned));
                let model = json!({ "name": name.unwrap_or("dev".to_string()), "services": self.services });
                Some(Reply::lines([model]))
            }
            Verb::Version => Some(Reply::exit(0).stdout(format!("{}\n", self.compose))),
            Verb::Up => {
                self.up_for(call);
                (call.has("-d") && self.up_ends == UpEnds::AsItShould).then(Reply::default)
            }
            Verb::Down => {
                self.down_for(call);
                Some(Reply::default())
            }
            Verb::Stop => {
                self.stop(&project);
                Some(Reply::default())
            }
            Verb::Inspect if call.has("{{json .Image}}") => {
                let id = call.args.last().expect("an id");
                Some(Reply::lines(self.containers.iter().filter(|c| **id == *c.id).map(|c| json!(c.name))))
            }
            Verb::Image if call.has("{{json .Config.Labels}}") => {
                let forged = self.forged.iter().any(|name| call.has(name));
                Some(Reply::lines([json!(forged.then(|| json!({"com.docker.compose.project.working_dir": "/"})))]))
            }
            Verb::Inspect => {
                let (there, gone): (Vec<_>, Vec<_>) =
                    call.args[4..].iter().partition(|id| self.containers.iter().any(|c| **id == *c.id));
                let there = self.containers.iter().filter(|c| there.iter().any(|id| **id == *c.id));
                let reply = Reply::lines(there.map(|c| self.row(c)));
                Some(match gone.first() {
                    None => reply,
                    Some(id) => Reply {
                        exit: 1,
                        stderr: format!("Error: No such container: {}\n", id.to_string_lossy()),
                        ..reply
                    },
                })
            }
            Verb::LastWords => Some(Reply::exit(0).stdout(self.log)),
            Verb::Image if call.has("ls") => Some(Reply::exit(0).stdout(self.replaced.join("\n"))),
            Verb::Image => Some(Reply::exit(0).stdout("sha256:1\n")),
            Verb::Info if call.has("{\"SystemTime\":{{json .SystemTime}}}") => {
                Some(Reply::lines([json!({ "SystemTime": now().to_string() })]))
            }
            Verb::Info if call.has("{{json .}}") => {
                let mut info = json!({
                    "Name": self.host,
                    "DockerRootDir": "/",
                    "ClientInfo": { "Plugins": [{ "Name": "compose", "Path": "/plugins/docker-compose" }] },
                });
                info.as_object_mut()?.extend(self.info.as_object()?.clone());
                Some(Reply::lines([info]))
            }
            Verb::Info => Some(Reply::lines([json!(self.host)])),
            Verb::Context => {
                let set = |name: &str| call.env.get(OsStr::new(name)).map(|value| value.to_string_lossy().into_owned());
                let context = set("DOCKER_CONTEXT").unwrap_or("default".to_string());
                let host = set("DOCKER_HOST").unwrap_or("unix:///var/run/docker.sock".to_string());
                Some(Reply::lines([json!({ "context": context, "host": host })]))
            }
            Verb::Architecture if call.has("{{json .}}") => {
                let server = json!({ "Version": self.engine, "Os": "linux", "Arch": architecture() });
                Some(Reply::lines([json!({ "Client": { "Version": "28.2.2" }, "Server": server })]))
            }
            Verb::Architecture => Some(Reply::lines([json!({ "Os": "linux", "Arch": architecture() })])),
            Verb::Ids | Verb::Containers => Some(Reply::lines(ours.map(|c| {
                json!({
                    "Id": c.id,
                    "Names": [c.name],
                    "State": c.state,
                    "Labels": {
                        "com.docker.compose.project": c.project,
                        "com.docker.compose.service": c.service,
                        "com.docker.compose.oneoff": if c.is_one_off { "True" } else { "False" },
                        "com.docker.compose.project.config_files": c.config_files,
                        "com.docker.compose.project.working_dir": c.working_dir,
                        "com.docker.compose.version": c.made_by,
                    },
                    "PortsInWords": c.ports,
                })
            }))),
            Verb::Networks if call.has("dangling=true") => {
                let used = |owner: &String| self.containers.iter().any(|c| c.project == *owner && c.is_alive());
                let unused = self.networks.iter().filter(|(owner, _)| !used(owner));
                Some(Reply::lines(unused.map(|(owner, name)| json!({ "project": owner, "name": name }))))
            }
            Verb::Networks => of_project(&self.networks),
            Verb::Volumes if call.has("rm") => {
                self.anonymous.retain(|name| !call.has(name));
                Some(Reply::default())
            }
            Verb::Volumes if call.has("dangling=true") => {
                Some(Reply::lines(self.anonymous.iter().map(|name| json!({ "Name": name, "Labels": "" }))))
            }
            Verb::Volumes => of_project(&self.volumes),
            Verb::Events => {
                Some(Reply::lines(self.events.iter().filter(|(owner, _)| *owner == project).map(|(_, e)| e.clone())))
            }
            Verb::Logs => Some(Reply::default()),
            Verb::Starts => self.has_started(&project).then(|| Reply::lines([json!({ "action": "start" })])),
            Verb::Other => Some(Reply::exit(125).stderr(format!("unknown to the fake docker: {}\n", call.line()))),
        }
    }

    /// As `docker container inspect` describes it.
    fn row(&self, container: &Container) -> Value {
        let health = (!container.health.is_empty()).then(|| json!({ "Status": container.health }));
        json!({
            "Id": container.id,
            "Name": format!("/{}", container.name),
            "Config": { "Labels": {
                "com.docker.compose.service": container.service,
                "com.docker.compose.container-number": "1",
            } },
            "RestartCount": container.restarts,
            "State": {
                "Status": container.state,
                "ExitCode": container.exit_code,
                "Error": container.error,
                "StartedAt": "2026-01-02T03:04:05.6Z",
                "Health": health,
            },
            "NetworkSettings": {
                "Ports": self.services.get(&container.service).map(|service| service["bindings"].clone()),
            },
        })
    }
}

type Hook = Box<dyn FnMut(&Call, &mut World) -> Option<Reply> + Send>;

struct State {
    calls: Vec<Call>,
    replies: BTreeMap<usize, Reply>,
    connections: Vec<UnixStream>,
    /// Of each call, where it reads what to print.
    writers: BTreeMap<usize, UnixStream>,
    world: World,
    hooks: Vec<(Verb, Hook)>,
    held: HashSet<Verb>,
    over: bool,
}

/// The other end of every fake docker: records the calls and answers them, by default as Compose and an engine would.
pub struct FakeEngine {
    shared: Arc<Shared>,
    socket: PathBuf,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl FakeEngine {
    fn listen(socket: &Path) -> FakeEngine {
        let listener = UnixListener::bind(socket).expect("a socket in the temporary folder");
        let state = State {
            calls: Vec::new(),
            replies: BTreeMap::new(),
            connections: Vec::new(),
            writers: BTreeMap::new(),
            world: World::new(),
            hooks: Vec::new(),
            held: HashSet::new(),
            over: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let serving = Arc::clone(&shared);
        let listener = thread::spawn(move || {
            for connection in listener.incoming() {
                let connection = connection.expect("a connection of a fake docker");
                let mut state = serving.lock();
                if state.over {
                    return;
                }
                state.connections.push(connection.try_clone().expect("a socket can be shared"));
                drop(state);
                let serving = Arc::clone(&serving);
                thread::spawn(move || serving.serve(connection));
            }
        });
        FakeEngine { shared, socket: socket.to_owned(), listener: Some(listener) }
    }

    /// Changes what is on the engine, or reads it.
    pub fn world<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let answer = change(&mut self.shared.lock().world);
        self.shared.changed.notify_all();
        answer
    }

    /// Answers every such call with this instead.
    pub fn answer(&self, verb: Verb, reply: Reply) {
        self.on(verb, move |_, _| Some(reply.clone()));
    }

    /// Asks `hook` first at every such call; where it gives no reply, the call does what it always does.
    pub fn on(&self, verb: Verb, hook: impl FnMut(&Call, &mut World) -> Option<Reply> + Send + 'static) {
        self.shared.lock().hooks.push((verb, Box::new(hook)));
    }

    /// From now on every call does what it always does.
    pub fn forget_answers(&self) {
        self.shared.lock().hooks.clear();
    }

    /// Makes such calls stand still before they do anything.
    pub fn hold(&self, verb: Verb) {
        self.shared.lock().held.insert(verb);
    }

    /// Lets them go on.
    pub fn release(&self, verb: Verb) {
        self.shared.lock().held.remove(&verb);
        self.shared.changed.notify_all();
    }

    /// Ends the newest such call with this reply, whatever it was doing.
    pub fn end(&self, verb: Verb, reply: Reply) {
        let mut state = self.shared.lock();
        let newest = state.calls.iter().rposition(|call| call.verb == verb && !call.gone).expect("such a call runs");
        state.replies.insert(newest, reply);
        self.shared.changed.notify_all();
    }

    /// Tells whoever listens to what happens that this has happened to a service's container.
    #[track_caller]
    pub fn happens(&self, service: &str, action: &str, exit_code: &str) {
        self.wait_called(Verb::Starts, 1);
        let state = self.shared.lock();
        let newest = state.calls.iter().rposition(|call| call.verb == Verb::Starts && !call.gone).expect("a listener");
        let container = state.world.containers.iter().find(|container| container.service == service);
        let id = container.map_or("gone", |container| &container.id);
        let signal = if action == "kill" { "15" } else { "" };
        let event = json!({
            "action": action, "id": id, "service": service, "exit_code": exit_code, "signal": signal, "time": nanoseconds(),
        });
        let line = json!({ "stdout": format!("{event}\n") });
        // It may have been killed this very moment.
        let _ = (&state.writers[&newest]).write_all(format!("{line}\n").as_bytes());
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.clone()
    }

    /// Every call of one kind, in order.
    pub fn calls_of(&self, verb: Verb) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.verb == verb).collect()
    }

    /// The one call of a kind, after its end.
    #[track_caller]
    pub fn only(&self, verb: Verb) -> Call {
        self.wait_gone(verb);
        let calls = self.calls_of(verb);
        assert_eq!(calls.len(), 1, "calls of {verb:?}; {}", self.story());
        calls.into_iter().next().expect("there is one")
    }

    /// The lines of every call that changes anything, in order.
    pub fn changes(&self) -> Vec<String> {
        let changing = [Verb::Up, Verb::Down, Verb::Stop, Verb::Other];
        self.calls().iter().filter(|call| changing.contains(&call.verb)).map(Call::line).collect()
    }

    /// Waits until an `up` has made its containers, or another call is about to be answered.
    #[track_caller]
    pub fn wait_running(&self, verb: Verb) -> Call {
        self.wait_for(&format!("{verb:?} to run"), move |calls| {
            calls.iter().find(|call| call.verb == verb && call.running).cloned()
        })
    }

    /// Waits until docker has been called that often for this.
    #[track_caller]
    pub fn wait_called(&self, verb: Verb, times: usize) {
        self.wait_for(&format!("call {times} of {verb:?}"), move |calls| {
            (calls.iter().filter(|call| call.verb == verb).count() >= times).then_some(())
        });
    }

    /// Waits until the first such call has ended, and returns what became of it.
    #[track_caller]
    pub fn wait_gone(&self, verb: Verb) -> Call {
        self.wait_for(&format!("the end of {verb:?}"), move |calls| {
            calls.iter().find(|call| call.verb == verb && call.gone).cloned()
        })
    }

    #[track_caller]
    fn wait_for<T>(&self, what: &str, found: impl Fn(&[Call]) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut state = self.shared.lock();
        loop {
            if let Some(found) = found(&state.calls) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(state);
                panic!("waited in vain for {what}; {}", self.story());
            }
            state = self.shared.changed.wait_timeout(state, left).expect("nobody panics with it").0;
        }
    }

    /// What has happened, for the message of a failed test.
    fn story(&self) -> String {
        let state = self.shared.lock();
        let mut story = String::from("docker was called like this:\n");
        for call in &state.calls {
            let end = match (call.gone, call.exit) {
                (true, Some(code)) => format!("exit {code}"),
                (true, None) => "killed".to_string(),
                (false, _) => "still there".to_string(),
            };
            let _ = writeln!(story, "  {} → {end}, signals {:?}", call.line(), call.signals);
        }
        let _ = write!(story, "on the engine: {:?}", state.world);
        story
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.over = true;
        for connection in &state.connections {
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // So that the listener looks up.
        if UnixStream::connect(&self.socket).is_ok()
            && let Some(listener) = self.listener.take()
        {
            let _ = listener.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that failed with the lock held still has to clean up.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Reads what one fake docker says, from its first line to its end.
    fn serve(self: Arc<Shared>, connection: UnixStream) {
        let reading = connection.try_clone().expect("a socket can be shared");
        let mut lines = BufReader::new(reading).lines().map_while(Result::ok);
        let Some(hello) = lines.next() else { return };
        let mut state = self.lock();
        let id = state.calls.len();
        state.calls.push(call_from(&hello));
        state.writers.insert(id, connection.try_clone().expect("a socket can be shared"));
        drop(state);
        self.changed.notify_all();
        let answering = Arc::clone(&self);
        thread::spawn(move || answering.answer(id, connection));
        for line in lines {
            let said: Value = serde_json::from_str(&line).expect("a fake docker speaks JSON");
            let number = |key: &str| said[key].as_i64().and_then(|number| i32::try_from(number).ok());
            let mut state = self.lock();
            let call = &mut state.calls[id];
            call.signals.extend(number("signal"));
            call.exit = call.exit.or(number("done"));
            drop(state);
            self.changed.notify_all();
        }
        self.lock().calls[id].gone = true;
        self.changed.notify_all();
    }

    fn answer(&self, id: usize, mut connection: UnixStream) {
        let mut state = self.lock();
        let reply = loop {
            if state.calls[id].gone || state.over {
                return;
            }
            let before = state.calls[id].running;
            if let Some(reply) = state.answer(id) {
                break reply;
            }
            if state.calls[id].running != before {
                self.changed.notify_all();
            }
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        };
        drop(state);
        // What an `up` was waiting for may be what this call has done.
        self.changed.notify_all();
        let Reply { stdout, stderr, exit } = reply;
        let line = json!({ "stdout": stdout, "stderr": stderr, "exit": exit });
        // It may have been killed this very moment.
        let _ = connection.write_all(format!("{line}\n").as_bytes());
    }
}

impl State {
    /// The answer to a call, or none as long as it has to wait.
    fn answer(&mut self, id: usize) -> Option<Reply> {
        if let Some(reply) = self.replies.remove(&id) {
            return Some(reply);
        }
        let call = self.calls[id].clone();
        if !call.running {
            if self.held.contains(&call.verb) {
                return None;
            }
            self.calls[id].running = true;
            let world = &mut self.world;
            let hooks = self.hooks.iter_mut().filter(|(verb, _)| *verb == call.verb);
            let hooked = hooks.filter_map(|(_, hook)| hook(&call, world)).next();
            return hooked.or_else(|| self.world.begin(&call));
        }
        if call.verb == Verb::Starts {
            return self.world.begin(&call);
        }
        // Only an `up` takes its time: as long as one of its containers lives.
        let over = !self.world.is_up(&call.project().unwrap_or_default());
        (over && self.world.up_ends != UpEnds::Never).then(Reply::default)
    }
}

fn call_from(hello: &str) -> Call {
    #[derive(Deserialize)]
    struct Hello {
        argv: Vec<Vec<u8>>,
        env: Vec<(Vec<u8>, Vec<u8>)>,
        cwd: Vec<u8>,
        stdin: String,
        pid: i32,
        pgid: i32,
        tty: [bool; 3],
        null: [bool; 3],
    }
    let hello: Hello = serde_json::from_str(hello).expect("a fake docker introduces itself");
    let args: Vec<OsString> = hello.argv.into_iter().map(OsString::from_vec).collect();
    let env = hello.env.into_iter().map(|(key, value)| (OsString::from_vec(key), OsString::from_vec(value)));
    Call {
        verb: verb_of(&args),
        args,
        env: env.collect(),
        cwd: OsString::from_vec(hello.cwd).into(),
        pid: hello.pid,
        pgid: hello.pgid,
        stdin: hello.stdin,
        tty: hello.tty,
        null: hello.null,
        signals: Vec::new(),
        running: false,
        exit: None,
        gone: false,
    }
}
