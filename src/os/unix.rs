//! What Linux and macOS have in common: signals, process groups, sessions, inherited file descriptors.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

pub(crate) const SHELL: [&str; 2] = ["sh", "-c"];

use super::terminal::Job;
use super::{Group, lock_folder, own_binary, process_with};

pub(crate) type Wire = UnixStream;

pub(crate) fn text(bytes: Vec<u8>) -> OsString {
    OsString::from_vec(bytes)
}

/// Here it understands them.
pub(crate) fn prepare_terminal() {}

pub(crate) fn takes_writes(stream: impl AsFd) -> bool {
    let mut polled = [PollFd::new(&stream, PollFlags::OUT)];
    // An error, or a reader that is gone, makes a write fail, which does not block either.
    poll(&mut polled, Some(&Timespec::default())) != Ok(0)
}

pub(crate) fn is_served(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

pub(crate) fn request(socket: &Path, question: &mut dyn io::Read, limit: Option<Duration>) -> io::Result<Vec<u8>> {
    let began = Instant::now();
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(limit)?;
    let mut buffered = io::BufWriter::with_capacity(1 << 18, &stream);
    io::copy(question, &mut buffered).and_then(|_| buffered.flush()).map_err(timed_out)?;
    drop(buffered);
    let mut answer = Vec::new();
    let mut part = [0; 8192];
    loop {
        // A timeout of nothing would be an error of another kind.
        let left = limit.map(|limit| limit.saturating_sub(began.elapsed()).max(Duration::from_millis(1)));
        stream.set_read_timeout(left)?;
        match stream.read(&mut part) {
            Ok(0) => return Ok(answer),
            Ok(read) => answer.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(timed_out(error)),
        }
        if limit.is_some_and(|limit| began.elapsed() > limit) {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// The system says of a time that is over that the call would block.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

pub(crate) fn join(command: &mut Command, group: Group) {
    match group {
        Group::Ours => {}
        Group::Own | Group::Foreground => {
            command.process_group(0);
        }
        Group::Of(leader) => {
            // A number that is none makes the start fail, as the group that is gone does.
            command.process_group(i32::try_from(leader).unwrap_or(i32::MAX));
        }
    }
}

pub(crate) fn spawn(command: &mut Command, group: Group) -> io::Result<(Child, Option<Tree>)> {
    let child = command.spawn()?;
    let own = || Tree { group: Pid::from_child(&child), job: None };
    let tree = match group {
        Group::Own => Some(own()),
        Group::Foreground => Some(Tree { job: Some(Arc::new(Job::start(&child))), ..own() }),
        Group::Ours | Group::Of(_) => None,
    };
    Ok((child, tree))
}

/// A process group of its own.
pub(crate) struct Tree {
    group: Pid,
    job: Option<Arc<Job>>,
}

impl Tree {
    pub(crate) fn kill(&self) -> io::Result<()> {
        Ok(kill_process_group(self.group, Signal::KILL)?)
    }

    pub(crate) fn signal(&self, number: u8) -> io::Result<()> {
        let signal = Signal::from_named_raw(number.into()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(kill_process_group(self.group, signal)?)
    }

    /// Nothing to do: a process group does not end with us.
    pub(crate) fn let_go(&self) {}
}

/// Waited for, but not reaped: until that is done, the process id cannot be reused.
const LOOK: WaitIdOptions = WaitIdOptions::EXITED.union(WaitIdOptions::NOWAIT);

pub(crate) fn end_of(child: &Child, tree: Option<&Tree>) -> io::Result<impl FnOnce() + Send + 'static> {
    let pid = Pid::from_child(child);
    let job = tree.and_then(|tree| tree.job.clone());
    Ok(move || match job {
        Some(job) => job.wait(),
        None => while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), LOOK) {},
    })
}

pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
    // The system's exit codes are bytes.
    u8::try_from(code).unwrap_or(u8::MAX)
}

pub(crate) fn has_failed(child: &mut Child) -> bool {
    let status = waitid(WaitId::Pid(Pid::from_child(child)), LOOK);
    matches!(status, Ok(Some(status)) if status.exit_status() != Some(0))
}

pub(crate) fn exec(command: &mut Command) -> io::Error {
    command.exec()
}

pub(crate) fn find(argv: &[Vec<u8>], cwd: &Path, variable: &str, value: &str) -> Option<u32> {
    let set = format!("{variable}={value}").into_bytes();
    let cwd = fs::canonicalize(cwd).ok()?;
    // It may not have come further than to its fork yet.
    (0..FIND_TRIES).find_map(|tried| {
        thread::sleep(FIND_PAUSE * tried);
        process_with(argv, &cwd, &set)
    })
}

/// How often and after which pause a process is looked for that may be about to be started.
const FIND_TRIES: u32 = 3;
const FIND_PAUSE: Duration = Duration::from_millis(20);

/// Whether a process leads its group.
pub(super) fn leads(pid: i32) -> bool {
    rustix::process::getpgid(Pid::from_raw(pid)).is_ok_and(|group| group.as_raw_nonzero().get() == pid)
}

pub(crate) fn guard_command() -> io::Result<Command> {
    let mut command = Command::new(own_binary()?);
    command.arg0(env!("CARGO_PKG_NAME")).current_dir("/");
    Ok(command)
}

/// Its standard output is the open file of the lock, which so does not fall free when we are killed.
pub(crate) fn start_guard(mut command: Command, lock: Option<File>) -> io::Result<(Child, Wire)> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = command.stdin(OwnedFd::from(theirs)).stdout(lock.map_or_else(Stdio::null, Stdio::from)).spawn()?;
    Ok((child, ours))
}

/// The other end of the wire, and the lock.
pub(crate) fn stand_guard() -> anyhow::Result<(Wire, Option<File>)> {
    close_inherited();
    // With the session it leaves the terminal and the process group.
    rustix::process::setsid().context("cannot create a session")?;
    let lock = take_stdout().context("cannot keep the lock")?;
    let wire = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    Ok((wire, Some(lock.into())))
}

/// Closes what whoever called us had open: the guard outlives the run, and a lock of a wrapper's (`flock`) would stay held for as
/// long. A guard has opened nothing of its own yet.
#[allow(unsafe_code)]
fn close_inherited() {
    let open = fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    let open: Vec<i32> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // SAFETY: nobody in this process owns one of these; that of the folder is closed already, which is an error and no more.
        unsafe { libc::close(descriptor) };
    }
}

/// Takes standard output away from us and from what we start, and returns it.
fn take_stdout() -> io::Result<OwnedFd> {
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdout(OpenOptions::new().write(true).open("/dev/null")?)?;
    Ok(stdout)
}

#[allow(unsafe_code)]
pub(crate) fn ignores(signal: u8) -> bool {
    // SAFETY: with a null second argument sigaction(2) changes nothing and only fills the third, which is ours; all
    // zeroes are a valid `struct sigaction`.
    unsafe {
        let mut current: libc::sigaction = std::mem::zeroed();
        let asked = libc::sigaction(signal.into(), std::ptr::null(), &raw mut current);
        asked == 0 && current.sa_sigaction == libc::SIG_IGN
    }
}

pub(crate) fn hear(signals: impl IntoIterator<Item = u8>, on_signal: impl Fn(u8) + Send + 'static) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new(signals.into_iter().map(i32::from))?;
    thread::spawn(move || signals.forever().filter_map(|signal| u8::try_from(signal).ok()).for_each(on_signal));
    Ok(())
}

pub(crate) fn end_by(signal: u8) {
    let _ = signal_hook::low_level::emulate_default_handler(signal.into());
}

#[allow(clippy::unnecessary_wraps)]
pub(crate) fn with_mode(mode: u32) -> Option<Permissions> {
    Some(Permissions::from_mode(mode))
}

pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}

pub(crate) fn open_existing(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().is_ok_and(|ours| fs::symlink_metadata(path).is_ok_and(|theirs| identity(ours) == identity(theirs)))
}

/// It must belong to the user, and no one else may write to it.
pub(crate) fn own_folder() -> io::Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let is_ours = |folder: &Path| fs::symlink_metadata(folder).is_ok_and(|it| it.is_dir() && it.uid() == user);
    let folder = lock_folder(user, is_ours)?;
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ if is_ours(&folder) => {}
        _ => return Err(io::Error::other(format!("{} is not a directory of this user", folder.display()))),
    }
    if fs::metadata(&folder)?.mode() & 0o077 != 0 {
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
    }
    Ok(folder)
}

/// Lets a socket be bound although connections of an earlier server there are still closing.
pub(super) fn ignore_closing_connections(socket: &socket2::Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}
