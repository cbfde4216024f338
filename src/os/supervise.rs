//! Linux only: the first process of a container whose program can be replaced while it runs.
//!
//! It does what such a process has to: passes signals on, waits for processes that lost their parent, and ends as its program does.
//! At the signal [`RELOAD`] it ends the program as a stop of the container would, and starts the file that is in its place now.
#![allow(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::ptr;
use std::time::Instant;

use libc::{c_int, pid_t};
use rustix::process::set_child_subreaper;

use super::linux::{processes, stat_of};
use super::{RELOAD, START, Supervised};

/// The first descriptor that is passed on. Source: sd_listen_fds(3).
const FIRST_PASSED_ON: c_int = 3;

/// Runs the program until it ends by itself, and returns the exit code of the container.
///
/// # Errors
/// If an address cannot be bound, or the program cannot be started.
pub(crate) fn supervise(task: &Supervised) -> io::Result<u8> {
    let all = block_signals();
    let listening = hold(&task.listen)?;
    // Where the engine's own init comes first, orphans would be that one's.
    let _ = set_child_subreaper(Some(rustix::process::getpid()));
    let mut program = start(task, listening)?;
    let mut reload = Reload::None;
    loop {
        match next_signal(&all, reload.deadline()) {
            // The grace is over.
            None => {
                let _ = send(program, libc::SIGKILL);
                reload = Reload::Killed;
            }
            Some((libc::SIGCHLD, _)) => {
                let Some(code) = reap(program) else { continue };
                if mem::replace(&mut reload, Reload::None) == Reload::None {
                    return Ok(code);
                }
                end_orphans();
                program = start(task, listening)?;
            }
            Some((RELOAD, _)) if reload == Reload::None => {
                let _ = send(program, task.stop_signal.into());
                reload = Reload::Until(Instant::now() + task.grace);
            }
            Some((RELOAD, _)) => {}
            // A terminal signals all of its processes itself.
            Some((_, Sender::Kernel)) => {}
            Some((number, Sender::Process)) => {
                let _ = send(program, number);
                // The container is stopped meanwhile.
                if number == c_int::from(task.stop_signal) {
                    reload = Reload::None;
                }
            }
        }
    }
}

/// Where a reload is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reload {
    None,
    /// The program was asked to end, and has time until then.
    Until(Instant),
    /// It was killed.
    Killed,
}

impl Reload {
    fn deadline(self) -> Option<Instant> {
        match self {
            Reload::Until(deadline) => Some(deadline),
            Reload::None | Reload::Killed => None,
        }
    }
}

/// Who has sent a signal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Kernel,
    Process,
}

/// Blocks every signal, so that each waits to be fetched. No thread has been started yet.
fn block_signals() -> libc::sigset_t {
    let mut all = MaybeUninit::uninit();
    // SAFETY: sigfillset(3) makes it a set; the old one is not asked for.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut());
        all.assume_init()
    }
}

/// A program starts without blocked signals. The standard library leaves them as they are.
fn unblock_signals() -> io::Result<()> {
    let mut none = MaybeUninit::uninit();
    // SAFETY: sigemptyset(3) makes it a set; the old one is not asked for.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
    Ok(())
}

/// The next signal; None when the time is over.
fn next_signal(all: &libc::sigset_t, deadline: Option<Instant>) -> Option<(c_int, Sender)> {
    loop {
        let mut about: libc::siginfo_t = unsafe { mem::zeroed() };
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let number = match left {
            // SAFETY: both are ours and valid.
            None => unsafe { libc::sigwaitinfo(all, &raw mut about) },
            Some(left) => {
                let mut limit: libc::timespec = unsafe { mem::zeroed() };
                limit.tv_sec = left.as_secs().try_into().unwrap_or(i32::MAX.into());
                limit.tv_nsec = libc::c_long::from(left.subsec_nanos().cast_signed());
                // SAFETY: all three are ours and valid.
                unsafe { libc::sigtimedwait(all, &raw mut about, &raw const limit) }
            }
        };
        if number > 0 {
            let sender = if about.si_code == libc::SI_KERNEL { Sender::Kernel } else { Sender::Process };
            return Some((number, sender));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return None;
        }
    }
}

fn send(to: pid_t, signal: c_int) -> io::Result<()> {
    // SAFETY: kill(2) takes any numbers.
    if unsafe { libc::kill(to, signal) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reaps whatever has ended; the program's exit code, in the engine's words, if it is among them.
fn reap(program: pid_t) -> Option<u8> {
    let mut code = None;
    loop {
        let mut status = 0;
        // SAFETY: the number is ours to be written to.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if pid <= 0 {
            return code;
        }
        if pid == program {
            let number =
                if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) };
            code = u8::try_from(number).ok();
        }
    }
}

/// Ends what the old program has left, as the end of a container does.
fn end_orphans() {
    let ours = pid_t::try_from(std::process::id()).unwrap_or_default();
    loop {
        let orphans = children_of(ours);
        if orphans.is_empty() {
            return;
        }
        for orphan in orphans {
            let _ = send(orphan, libc::SIGKILL);
            let mut status = 0;
            // SAFETY: the number is ours to be written to. What was killed ends.
            unsafe { libc::waitpid(orphan, &raw mut status, 0) };
        }
    }
}

/// The processes that have this parent. A zombie was one.
fn children_of(parent: pid_t) -> Vec<pid_t> {
    let is_child = |pid: &u32| {
        let stat = stat_of(*pid).unwrap_or_default();
        matches!(&stat[..], [state, of, ..] if state != "Z" && of.parse() == Ok(parent))
    };
    processes().filter(is_child).filter_map(|pid| pid.try_into().ok()).collect()
}

/// Binds the addresses at the descriptors that a program expects them at, which stay open in it. How many there are.
fn hold(addresses: &[SocketAddr]) -> io::Result<usize> {
    for (number, address) in (FIRST_PASSED_ON..).zip(addresses) {
        let listener = TcpListener::bind(address)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen at {address}: {error}")))?;
        if listener.as_raw_fd() == number {
            // SAFETY: it is open, and stays so.
            unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
            mem::forget(listener);
        // SAFETY: nothing of ours is at this number.
        } else if unsafe { libc::dup2(listener.as_raw_fd(), number) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(addresses.len())
}

fn start(task: &Supervised, listening: usize) -> io::Result<pid_t> {
    let mut command = if listening == 0 {
        let mut command = Command::new(&task.program);
        command.args(&task.args);
        command
    } else {
        // LISTEN_PID is the number of the new process, so that process sets it.
        let mut command = Command::new("/proc/self/exe");
        command.arg(START).arg(&task.program).args(&task.args).env("LISTEN_FDS", listening.to_string());
        command
    };
    // SAFETY: both calls may be made between fork and exec.
    unsafe { command.pre_exec(unblock_signals) };
    match command.spawn() {
        // Reaped by number, with all others.
        Ok(child) => Ok(child.id().try_into().unwrap_or_default()),
        Err(error) => {
            let program = Path::new(&task.program).display();
            Err(io::Error::new(error.kind(), format!("cannot start {program}: {error}")))
        }
    }
}

/// The program for which sockets are passed on, if these arguments start one; why it cannot be started.
pub(crate) fn start_listening(args: &[OsString]) -> Option<io::Error> {
    let [_, start, program, args @ ..] = args else { return None };
    (start == START).then(|| Command::new(program).args(args).env("LISTEN_PID", std::process::id().to_string()).exec())
}
