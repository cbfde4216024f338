//! Code for one operating system, each in files of its own. No other module depends on the operating system.
//!
//! All of them offer the same, which is described here once:
//!
//! | name | what it is |
//! |---|---|
//! | `RUNS_LINUX_PROGRAMS` | whether programs of this system run in Linux containers |
//! | `SHELL` | the program that runs a command line, and its option for that |
//! | `text` | bytes of this system's as a text of it |
//! | `join` | puts a command that has not run yet into a [`Group`] |
//! | `spawn` | starts a command that has been put into one, with the [`Tree`] that can be ended with it |
//! | `Tree` | a command with all that it has started; `kill` ends it, `signal` sends it a signal, `let_go` leaves what is still there to itself |
//! | `end_of` | a function that blocks until a child has ended; the child's number stays its own meanwhile. A child that has the terminal gives it back |
//! | `exit_code` | the exit code of a status as shells count it: 128+n after signal n |
//! | `has_failed` | blocks until a child has ended, and says how |
//! | `exec` | lets a command take the place of this process |
//! | `find` | a process by its command line, its folder and a variable |
//! | `start_of` | when a process was started, in a unit of the system's own |
//! | `Orphan` | a process that another process has started: found with `of`, it can be waited for (`wait`) and ended (`kill`) |
//! | `port_holder` | name and number of the process that listens at an address |
//! | `first_free_port` | the lowest port that everybody may have |
//! | `is_served` | whether a program listens at a socket |
//! | `request` | sends a request to a socket and reads the answer to its end, within a time if one is given |
//! | `host_name` | what this host is called |
//! | `Wire` | one end of what a guard and we tell each other: to be written to, and read from |
//! | `guard_command`, `start_guard` | this very program as a guard |
//! | `stand_guard` | makes a guard of this process: out of reach of what ends the one that started it |
//! | `ignores` | whether a signal was ignored when we were started |
//! | `hear` | calls a function for each of these signals from now on, from a thread of its own; where there are none it does nothing |
//! | `end_by` | ends the process as this signal does by default |
//! | `with_mode` | who may do what with a file, where systems have modes |
//! | `open_private`, `open_existing`, `is_at`, `own_folder` | the files of the locks; links are not followed |
//! | `listeners_of` | at which addresses a container listens |
//! | `bind`, `ignore_closing_connections` | whether an address can be bound |
//! | `prepare_terminal` | lets the terminal understand colours |
//! | `takes_writes` | whether a write to a stream would not block now |
//! | `window_size` | how many columns and rows a terminal shows |
//! | `is_remote` | whether a directory is on another machine, so that this system does not learn of its changes |
//! | `read_keys` | calls a function for each key that is pressed in the terminal, until [`Keys`] is dropped; None where there is no terminal to read from |
//! | `supervise`, `start_listening` | the first process of a container whose program is replaced while it runs; on Linux only |

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

#[cfg(any(target_os = "macos", test))]
mod answers;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "linux")]
mod supervise;
#[cfg(unix)]
mod terminal;
#[cfg(unix)]
mod unix;
#[cfg(not(target_os = "linux"))]
mod unsupervised;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(target_os = "macos")]
pub(crate) use macos::*;
#[cfg(target_os = "linux")]
pub(crate) use supervise::*;
#[cfg(unix)]
pub(crate) use terminal::*;
#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupervised::*;
#[cfg(windows)]
pub(crate) use windows::*;

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
compile_error!("cargo-stagecraft is for Linux, macOS and Windows; on any other system add a file here");

/// Runs a command to its end, for a system without a call for the same.
pub(crate) type Ask<'a> = &'a dyn Fn(Command) -> io::Result<Output>;

/// What standard input is called where a program reads files only; on Windows by those that come from Unix.
pub(crate) const STDIN: &str = "/dev/stdin";

/// The first argument of a process that becomes a program with passed-on sockets.
pub(crate) const START: &str = "__start";
/// The signal that lets a supervisor reload its program: the last real-time signal of Linux. glibc uses the first ones, systemd those after.
pub(crate) const RELOAD: i32 = 64;

/// A program that is supervised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Supervised {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    /// The number of the signal that asks it to end.
    pub(crate) stop_signal: u8,
    /// How long it may take then.
    pub(crate) grace: Duration,
    /// The addresses that are held open and passed on to it.
    pub(crate) listen: Vec<SocketAddr>,
}

/// The process group that a command runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Ours: the terminal's Ctrl+C reaches it as it does us.
    Ours,
    /// One of its own.
    Own,
    /// One of its own, which has the terminal if this process has it.
    Foreground,
    /// That of another command.
    Of(u32),
}

/// The end of a command with this exit code, for those that stand in for one.
/// Binds an address for `tcp` or `udp` as an engine does, the two versions of IP apart, and lets it go.
///
/// # Errors
/// If it cannot be bound: [`io::ErrorKind::AddrInUse`] where it is in use.
pub(crate) fn bind(address: SocketAddr, protocol: &str) -> io::Result<()> {
    let kind = if protocol == "udp" { Type::DGRAM } else { Type::STREAM };
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if kind == Type::DGRAM {
        return socket.bind(&address.into());
    }
    ignore_closing_connections(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}

#[cfg(test)]
pub(crate) fn exited(code: i32) -> std::process::ExitStatus {
    #[cfg(unix)]
    return std::os::unix::process::ExitStatusExt::from_raw(code << 8);
    #[cfg(windows)]
    std::os::windows::process::ExitStatusExt::from_raw(code.cast_unsigned())
}
