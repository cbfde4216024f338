//! A started program: its output as it comes, signals to it, and its end.

use std::cell::Cell;
use std::io::Read;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, waitid};

use crate::support::engine::DEADLINE;
use crate::support::pty::Pty;

/// What a program has printed so far; shared with the stage, which shows it when a scenario fails.
#[derive(Default)]
pub struct Transcript {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Both, in the order in which they came; a terminal has only this.
    all: Vec<u8>,
    open_streams: usize,
    exited: bool,
    /// Whether nobody reads for now.
    is_paused: bool,
}

#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
    Terminal,
}

impl Transcript {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().all).into_owned()
    }

    fn read(self: &Arc<Self>, mut from: impl Read + Send + 'static, stream: Stream) -> JoinHandle<()> {
        self.lock().open_streams += 1;
        let transcript = self.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                transcript.wait_while_paused();
                let read = from.read(&mut buffer).unwrap_or(0);
                let mut state = transcript.lock();
                let bytes = &buffer[..read];
                match stream {
                    Stream::Stdout => state.stdout.extend_from_slice(bytes),
                    Stream::Stderr => state.stderr.extend_from_slice(bytes),
                    Stream::Terminal => {}
                }
                state.all.extend_from_slice(bytes);
                if read == 0 {
                    state.open_streams -= 1;
                }
                drop(state);
                transcript.changed.notify_all();
                if read == 0 {
                    return;
                }
            }
        })
    }

    /// Stops to read what the program prints, but for what is being read already.
    pub fn pause(&self) {
        self.lock().is_paused = true;
    }

    /// Reads on.
    pub fn read_on(&self) {
        self.lock().is_paused = false;
        self.changed.notify_all();
    }

    fn wait_while_paused(&self) {
        let state = self.lock();
        drop(self.changed.wait_while(state, |state| state.is_paused).unwrap_or_else(PoisonError::into_inner));
    }

    /// Blocks until `done` says something. None if it does not in time.
    fn wait<T>(&self, done: impl Fn(&State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + DEADLINE;
        let mut state = self.lock();
        loop {
            if let Some(done) = done(&state) {
                return Some(done);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            (state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A program that was started.
pub struct Run {
    pub transcript: Arc<Transcript>,
    child: Child,
    pid: Pid,
    pty: Option<(Pty, JoinHandle<()>)>,
    ended: bool,
    interrupted: Cell<Option<Instant>>,
}

impl Run {
    /// With stdout and stderr read through pipes.
    pub fn start(mut command: Command, transcript: Arc<Transcript>) -> Run {
        with_default_signals(&mut command);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        transcript.read(child.stdout.take().expect("stdout"), Stream::Stdout);
        transcript.read(child.stderr.take().expect("stderr"), Stream::Stderr);
        Run::new(child, transcript, None)
    }

    /// As [`Run::start`], through pipes that are full soon when they are not read.
    pub fn start_with_small_pipes(mut command: Command, transcript: Arc<Transcript>) -> Run {
        with_default_signals(&mut command);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let (stdout, stderr) = (child.stdout.take().expect("stdout"), child.stderr.take().expect("stderr"));
        for pipe in [stdout.as_fd(), stderr.as_fd()] {
            // The size is rounded up to a page.
            rustix::pipe::fcntl_setpipe_size(pipe, 1).expect("a pipe of another size");
        }
        transcript.read(stdout, Stream::Stdout);
        transcript.read(stderr, Stream::Stderr);
        Run::new(child, transcript, None)
    }

    /// In a terminal of its own.
    pub fn start_in(pty: Pty, mut command: Command, transcript: Arc<Transcript>) -> Run {
        with_default_signals(&mut command);
        pty.attach(&mut command);
        let child = command.spawn().expect("the program starts");
        drop(command);
        let reader = transcript.read(pty.reader(), Stream::Terminal);
        Run::new(child, transcript, Some((pty, reader)))
    }

    fn new(child: Child, transcript: Arc<Transcript>, pty: Option<(Pty, JoinHandle<()>)>) -> Run {
        let pid = Pid::from_child(&child);
        let watched = transcript.clone();
        thread::spawn(move || {
            // Not reaped, so that the pid stays this program's until `end`.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
            watched.lock().exited = true;
            watched.changed.notify_all();
        });
        Run { transcript, child, pid, pty, ended: false, interrupted: Cell::default() }
    }

    /// Blocks until the program, or a container through it, has printed this.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let found = |state: &State| {
            let found = state.all.windows(text.len()).any(|window| window == text.as_bytes());
            if found { Some(true) } else { (state.open_streams == 0).then_some(false) }
        };
        match self.transcript.wait(found) {
            Some(true) => {}
            Some(false) => panic!("ended without having printed `{text}`"),
            None => panic!("`{text}` was not printed within {} seconds", DEADLINE.as_secs()),
        }
    }

    /// Blocks until this was printed so many times.
    #[track_caller]
    pub fn wait_for_times(&self, text: &str, times: usize) {
        let printed = |state: &State| String::from_utf8_lossy(&state.all).matches(text).count() >= times;
        let found = self.transcript.wait(|state| printed(state).then_some(()));
        assert!(found.is_some(), "`{text}` was not printed {times} times within {} seconds", DEADLINE.as_secs());
    }

    /// Waits, as a finger does, until it cannot be taken for the echo of the one before.
    fn wait_out_the_echo(&self) {
        const ECHO: Duration = Duration::from_millis(250);
        if let Some(before) = self.interrupted.replace(Some(Instant::now())) {
            thread::sleep(ECHO.saturating_sub(before.elapsed()));
            self.interrupted.set(Some(Instant::now()));
        }
    }

    pub fn signal(&self, signal: Signal) {
        self.wait_out_the_echo();
        kill_process(self.pid, signal).expect("a signal to the program");
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    pub fn terminal(&self) -> &Pty {
        &self.pty.as_ref().expect("a terminal").0
    }

    pub fn press_ctrl_c(&self) {
        self.wait_out_the_echo();
        self.terminal().type_in(b"\x03");
    }

    pub fn close_terminal(&mut self) {
        let (pty, reader) = self.pty.take().expect("a terminal");
        pty.hang_up(reader);
    }

    /// Blocks until the program has ended and nobody holds its output open any more.
    #[track_caller]
    pub fn end(self) -> Ended {
        let ended = self.end_whatever_compose_says();
        for panic in ["panic:", "goroutine ", "panicked at"] {
            assert!(!ended.all.contains(panic), "the user was shown a panic");
        }
        ended
    }

    /// As `end`, where Compose may crash for reasons of its own, and says so at length.
    #[track_caller]
    pub fn end_whatever_compose_says(mut self) -> Ended {
        let exited = self.transcript.wait(|state| state.exited.then_some(()));
        assert!(exited.is_some(), "did not end within {} seconds", DEADLINE.as_secs());
        let status = self.child.wait().expect("reaped");
        self.ended = true;
        let closed = self.transcript.wait(|state| (state.open_streams == 0).then_some(()));
        assert!(closed.is_some(), "ended, but something that it started holds its output open");
        let state = self.transcript.lock();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ended = Ended {
            code: status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)),
            stdout: text(&state.stdout),
            stderr: text(&state.stderr),
            all: text(&state.all),
        };
        drop(state);
        assert!(!ended.all.contains("panicked at"), "we panicked");
        ended
    }
}

/// Whatever the tests themselves have been started with: in the background of a script SIGINT and SIGQUIT are ignored,
/// with nohup SIGHUP, and all would be inherited.
fn with_default_signals(command: &mut Command) {
    let reset = || {
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: sets a disposition that every process may have, and is allowed between fork and exec.
            #[allow(unsafe_code)]
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        Ok(())
    };
    // SAFETY: nothing but the system calls above happens between fork and exec.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(reset);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.ended {
            let family = descendants(self.pid);
            let _ = self.child.kill();
            for pid in family {
                let _ = kill_process(pid, Signal::KILL);
            }
            let _ = self.child.wait();
        }
    }
}

/// How a program ended.
pub struct Ended {
    /// The exit code, or the negative number of the signal that ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// Both, or what a terminal has shown.
    pub all: String,
}

impl Ended {
    #[track_caller]
    pub fn with(self, code: i32) -> Ended {
        assert_eq!(self.code, code, "exit code");
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Ended {
        assert!(self.all.contains(text), "does not say `{text}`");
        self
    }

    #[track_caller]
    pub fn does_not_say(self, text: &str) -> Ended {
        assert!(!self.all.contains(text), "says `{text}`");
        self
    }

    /// The lines that are the program's own, as far as they tell of a failure; the others are Compose's.
    pub fn complaints(&self) -> String {
        let ours =
            |line: &&str| ["error: ", "help: ", "note: ", "warning: "].iter().any(|label| line.starts_with(label));
        self.stderr.lines().filter(ours).collect::<Vec<_>>().join("\n")
    }
}

/// The parent and the process group of a process.
fn parent_and_group(pid: Pid) -> Option<(Pid, Pid)> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // After the name, which is in parentheses and may hold anything: state, parent, group.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut numbers = rest.split_ascii_whitespace().skip(1).map(|number| Pid::from_raw(number.parse().ok()?));
    Some((numbers.next()??, numbers.next()??))
}

fn processes() -> Vec<Pid> {
    let names =
        std::fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| Pid::from_raw(name.parse().ok()?)).collect()
}

fn descendants(of: Pid) -> Vec<Pid> {
    let parents: Vec<(Pid, Pid)> =
        processes().into_iter().filter_map(|pid| Some((pid, parent_and_group(pid)?.0))).collect();
    let mut family = vec![of];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(parents.iter().filter(|(_, theirs)| *theirs == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    family.split_off(1)
}

/// The command line of a process, its words joined by blanks.
pub fn command_line(pid: Pid) -> String {
    let bytes = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// The process group of the child of `parent` whose command line contains `words`.
pub fn group_of_child(parent: Pid, words: &str) -> Pid {
    let children = processes().into_iter().filter_map(|pid| Some((pid, parent_and_group(pid)?)));
    let mut wanted = children.filter(|(pid, (theirs, _))| *theirs == parent && command_line(*pid).contains(words));
    let (_, (_, group)) = wanted.next().unwrap_or_else(|| panic!("no child with `{words}` in its command line"));
    group
}

/// A process that somebody else will end.
pub struct Other(OwnedFd);

impl Other {
    /// The leader of its own process group that is a child of `parent` and has these words in its command line.
    pub fn child_of(parent: Pid, words: &str) -> Other {
        let pid = group_of_child(parent, words);
        Other(pidfd_open(pid, PidfdFlags::empty()).expect("it is there"))
    }

    /// All that `of` has started, and what that has.
    pub fn descendants(of: Pid) -> Vec<Other> {
        // One that has ended meanwhile is nobody's concern.
        descendants(of).into_iter().filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()).map(Other).collect()
    }

    /// Blocks until it has ended.
    #[track_caller]
    pub fn ends(self) {
        let limit = Timespec::try_from(DEADLINE).expect("a short time");
        let ended = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&limit)).expect("poll");
        assert!(ended > 0, "it does not end");
    }
}

/// Whether any process of the machine has this in its command line.
pub fn runs(words: &str) -> bool {
    processes().into_iter().any(|pid| command_line(pid).contains(words))
}
