//! What the tests of the command line stand on: a workspace in a temporary folder, the built program, a terminal, and
//! an engine that is simulated in this process, behind the fake `docker` on the program's PATH (`docker.rs`).
//!
//! Everything waits for events; the one deadline is there so that a test that hangs fails with what has happened so far.

mod call;
mod engine;
mod program;
mod sandbox;
mod terminal;
mod world;

pub use call::*;
pub use engine::*;
pub use program::*;
pub use sandbox::*;
pub use terminal::*;
pub use world::*;

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
