//! The terminal: its size, its keys, and a command that has it as a job of a shell has it: in the foreground, and what stops it stops us.
//!
//! Source of the rules: "Process Groups" and "Terminal Access Control" of POSIX.1-2017, chapter 11.

use std::fs::File;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::process::Child;
use std::ptr;
use std::thread;

use rustix::fs::{FileType, fstat};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, getpgrp, kill_process_group, waitid};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, tcsetpgrp};

pub(crate) fn window_size(stream: impl AsFd) -> Option<(u16, u16)> {
    let size = tcgetwinsize(stream).ok()?;
    Some((size.ws_col, size.ws_row))
}

/// While it exists, keys arrive as they are pressed, and are not shown.
pub(crate) struct Keys(Termios);

pub(crate) fn read_keys(on_key: impl Fn(char) + Send + 'static) -> Option<Keys> {
    let stdin = io::stdin();
    let before = tcgetattr(&stdin).ok()?;
    // A job in the background would be stopped.
    if tcgetpgrp(&stdin).ok()? != getpgrp() {
        return None;
    }
    let mut modes = before.clone();
    modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
    tcsetattr(&stdin, OptionalActions::Now, &modes).ok()?;
    thread::spawn(move || {
        let mut byte = [0];
        while let Ok(1) = io::stdin().lock().read(&mut byte) {
            on_key(char::from(byte[0]));
        }
    });
    Some(Keys(before))
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// The terminal of this process, which the process group of a command may have.
pub(super) struct Job {
    group: Pid,
    /// None if standard input is no terminal.
    terminal: Option<Terminal>,
}

struct Terminal {
    file: File,
    /// Its modes before the command.
    modes: Termios,
}

impl Job {
    /// Gives the terminal to a command that has just been started in a process group of its own. Not if this process is in the background.
    /// If standard output is a pipe, another command of the same line may read from the terminal, a pager for example: then the command gets it when
    /// it reads.
    pub(super) fn start(child: &Child) -> Job {
        let terminal = io::stdin().as_fd().try_clone_to_owned().ok().map(File::from);
        let terminal = terminal.and_then(|file| Some(Terminal { modes: tcgetattr(&file).ok()?, file }));
        let job = Job { group: Pid::from_child(child), terminal };
        let is_pipe = fstat(io::stdout()).is_ok_and(|it| FileType::from_raw_mode(it.st_mode) == FileType::Fifo);
        if !is_pipe {
            job.give();
        }
        job
    }

    /// Blocks until the command has ended, and then takes the terminal back.
    pub(super) fn wait(&self) {
        let look = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
        let command = || WaitId::Pid(self.group);
        let end = loop {
            match waitid(command(), look) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(Some(status)) if status.stopped() => {
                    // So that the next question is not answered by the same stop.
                    let _ = waitid(command(), WaitIdOptions::STOPPED | WaitIdOptions::NOHANG);
                    self.stopped(&status);
                }
                end => break end.ok().flatten(),
            }
        };
        self.take();
        // A program that was killed may have left it in a mode of its own. In the background this would stop us.
        let is_killed = end.is_some_and(|status| status.killed() || status.dumped());
        let ours = self.terminal.as_ref().filter(|it| tcgetpgrp(&it.file) == Ok(getpgrp()));
        if let (Some(terminal), true) = (ours, is_killed) {
            let _ = tcsetattr(&terminal.file, OptionalActions::Now, &terminal.modes);
        }
    }

    fn stopped(&self, status: &WaitIdStatus) {
        let signals = [Signal::TTIN, Signal::TTOU].map(Signal::as_raw);
        let wants_terminal = status.stopping_signal().is_some_and(|signal| signals.contains(&signal));
        if wants_terminal && self.give() {
            return;
        }
        // It was stopped in the moment in which it was given the terminal.
        if wants_terminal && self.has_terminal() {
            let _ = kill_process_group(self.group, Signal::CONT);
            return;
        }
        // Where there is none, no shell continues us.
        if self.terminal.is_none() {
            return;
        }
        let had_terminal = self.take();
        // With everything of the same command line, so that the shell sees it.
        let _ = kill_process_group(getpgrp(), Signal::STOP);
        // Continued: by `fg` in the foreground, by `bg` not.
        if !(had_terminal && self.give()) {
            let _ = kill_process_group(self.group, Signal::CONT);
        }
    }

    /// Whether the command has the terminal now.
    fn give(&self) -> bool {
        let Some(terminal) = self.terminal.as_ref().filter(|it| tcgetpgrp(&it.file) == Ok(getpgrp())) else {
            return false;
        };
        let is_given = put_into_foreground(&terminal.file, self.group);
        // It may have been stopped because it did not have it yet.
        let _ = kill_process_group(self.group, Signal::CONT);
        is_given
    }

    /// Whether the command had the terminal.
    fn take(&self) -> bool {
        let terminal = self.terminal.as_ref().filter(|_| self.has_terminal());
        terminal.is_some_and(|terminal| put_into_foreground(&terminal.file, getpgrp()))
    }

    fn has_terminal(&self) -> bool {
        self.terminal.as_ref().is_some_and(|it| tcgetpgrp(&it.file) == Ok(self.group))
    }
}

/// A process in the background may only do this with the signal blocked that would stop it.
#[allow(unsafe_code)]
fn put_into_foreground(terminal: &File, group: Pid) -> bool {
    let (mut stop, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: sigemptyset(3) makes the first one a set, and pthread_sigmask(3) the second one.
    unsafe {
        libc::sigemptyset(stop.as_mut_ptr());
        libc::sigaddset(stop.as_mut_ptr(), libc::SIGTTOU);
        libc::pthread_sigmask(libc::SIG_BLOCK, stop.as_ptr(), before.as_mut_ptr());
    }
    let is_done = tcsetpgrp(terminal, group).is_ok();
    // SAFETY: a set, from above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    is_done
}
