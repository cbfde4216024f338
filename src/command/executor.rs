//! What runs commands: the seam behind which tests put a fake.

use std::io;
use std::process::{ExitStatus, Output};

use super::invocation::Invocation;
use super::request::Request;

/// How a spawned command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code or the signal that ended it.
    pub status: ExitStatus,
    /// What it printed, where that was held back ([`Show::IfItFails`](super::Show::IfItFails)), or the end of it, where that was kept
    /// ([`Show::LiveAndKept`](super::Show::LiveAndKept)).
    pub kept: Vec<u8>,
    /// The standard output of a command that showed only its errors ([`Show::ErrorsLive`](super::Show::ErrorsLive)).
    pub held_back: Vec<u8>,
}

/// Called once, from another thread, when a spawned command has ended.
pub type OnExit = Box<dyn FnOnce() + Send>;

/// Runs commands.
pub trait Executor: Send + Sync {
    /// Runs a command to its end and returns what it printed.
    ///
    /// # Errors
    /// If the program cannot be started; how it ended is no error here.
    fn output(&self, invocation: &Invocation) -> io::Result<Output>;

    /// Starts a command and returns at once; `on_exit` is called when it has ended.
    ///
    /// # Errors
    /// If the program cannot be started; `on_exit` is not called then.
    fn spawn(&self, invocation: &Invocation, on_exit: OnExit) -> io::Result<Box<dyn Running>>;

    /// Starts a command and returns at once; `on_line` is called for each line of its standard output, from another
    /// thread. Its standard error is discarded, unless it is shown or goes to standard output.
    ///
    /// # Errors
    /// If the program cannot be started.
    fn listen(&self, invocation: &Invocation, on_line: OnLine) -> io::Result<Box<dyn Running>>;

    /// Asks a server behind a socket and returns the body of its answer.
    ///
    /// # Errors
    /// If there is no answer with status 200.
    fn request(&self, request: &Request) -> io::Result<Vec<u8>>;

    /// Replaces this process by the command. Returns only if that fails.
    fn exec(&self, invocation: &Invocation) -> io::Error;
}

/// Called for each line that a command prints; dropped when there will be no more.
pub type OnLine = Box<dyn FnMut(&str) + Send>;

/// A command that was started.
pub trait Running: Send {
    /// How it ended; blocks until it has. What a command that failed leaves in a process group of its own is ended too: a
    /// plugin goes on without the docker that started it.
    ///
    /// # Errors
    /// If the system does not tell.
    fn wait(&mut self) -> io::Result<Ended>;

    /// Ends the command at once (SIGKILL), and what else is in its process group if it has one of its own. Containers do not
    /// belong to it.
    fn cut_off(&mut self);

    /// Sends the command, and what else is in its process group if it has one of its own, this signal.
    fn pass_on(&mut self, signal: u8);

    /// The process's id.
    fn id(&self) -> u32;
}
