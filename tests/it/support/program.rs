//! The built program: how it is started, and what it printed when it ended.

use super::*;

/// How the master of a terminal is opened. Where it cannot be kept from others at once, that comes a moment later.
#[cfg(target_os = "linux")]
pub(super) const OPEN: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY).union(OpenptFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
pub(super) const OPEN: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY);

/// A program that is about to run.
pub struct Program<'a> {
    pub(super) sandbox: &'a Sandbox,
    pub(super) command: Command,
    pub(super) stdin: Option<Stdio>,
    pub(super) stdout: Option<Stdio>,
    pub(super) stderr: Option<Stdio>,
    pub(super) columns: u16,
    pub(super) ignored: Vec<Signal>,
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
    pub(super) fn set_signals(&mut self) {
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

pub(super) fn scratch() -> File {
    tempfile::tempfile().expect("a temporary file")
}

pub(super) fn content(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("what was written can be read");
    bytes
}

/// A child that does not outlive its test, also if that fails.
pub(super) struct Ours(Child);

impl Ours {
    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    pub(super) fn wait(&mut self) -> Option<ExitStatus> {
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
    pub(super) sandbox: &'a Sandbox,
    pub(super) interrupted: LastInterrupt,
    pub(super) child: Ours,
    pub(super) stdout: File,
    pub(super) stderr: File,
}

/// When a program was last interrupted.
pub(super) type LastInterrupt = Cell<Option<Instant>>;

/// The same interrupt within 100 ms counts as the echo of the one before, so a second one that is meant to count has to
/// wait for that time, as a finger does.
pub(super) fn wait_out_the_echo(last: &LastInterrupt) {
    const ECHO: Duration = Duration::from_millis(250);
    if let Some(before) = last.replace(Some(Instant::now())) {
        thread::sleep(ECHO.saturating_sub(before.elapsed()));
        last.set(Some(Instant::now()));
    }
}

pub(super) fn kill(id: &str) -> Value {
    json!({ "action": "kill", "id": id, "signal": "15", "time": nanoseconds() })
}

/// How far the engine's clock is behind this machine's: nothing may compare the two.
pub(super) const BEHIND: Duration = Duration::from_secs(3600);

/// The engine's time.
pub(super) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now() - BEHIND
}

/// In nanoseconds since 1970, as the engine dates its events.
pub(super) fn nanoseconds() -> i128 {
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
    pub(super) code: i32,
    pub(super) killed: bool,
    /// Standard output, as it is.
    pub stdout: Vec<u8>,
    /// Standard error, with the folders of the sandbox replaced by `[ROOT]` and `[OUTSIDE]`.
    pub stderr: String,
    pub(super) story: String,
}

impl Finished {
    pub(super) fn new(sandbox: &Sandbox, status: ExitStatus, stdout: Vec<u8>, stderr: &[u8]) -> Finished {
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
