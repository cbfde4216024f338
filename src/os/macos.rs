//! macOS: libproc, sysctl and kqueue, which have no safe wrappers, and `lsof` for the sockets of other processes.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;
use std::time::Duration;

use rustix::event::kqueue::{Event, EventFilter, EventFlags, ProcessEvents, kevent, kqueue};
use rustix::process::{Pid, Signal, kill_process_group};

use super::Ask;
use super::answers::{holder_in, words_in};
use super::unix::leads;

pub(crate) const RUNS_LINUX_PROGRAMS: bool = false;

pub(super) fn own_binary() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// The leader of a group that has these arguments, works in this folder, and has this `variable=value`.
pub(super) fn process_with(argv: &[Vec<u8>], cwd: &Path, set: &[u8]) -> Option<u32> {
    let is_it = |pid: libc::pid_t| {
        let Some(answer) = arguments_of(pid) else { return false };
        let Some(words) = words_in(&answer) else { return false };
        words.argv == argv && words.env.contains(&set) && folder_of(pid).as_deref() == Some(cwd) && leads(pid)
    };
    let pid = processes().into_iter().rfind(|pid| *pid > 0 && is_it(*pid))?;
    u32::try_from(pid).ok()
}

fn processes() -> Vec<libc::pid_t> {
    // SAFETY: without a buffer it only says how many there are.
    let there_are = unsafe { libc::proc_listallpids(ptr::null_mut(), 0) };
    // Some may be started meanwhile.
    let mut pids: Vec<libc::pid_t> = vec![0; usize::try_from(there_are).unwrap_or(0) + 64];
    let size = libc::c_int::try_from(mem::size_of_val(pids.as_slice())).unwrap_or(0);
    // SAFETY: the buffer is ours and as large as we say.
    let told = unsafe { libc::proc_listallpids(pids.as_mut_ptr().cast(), size) };
    pids.truncate(usize::try_from(told).unwrap_or(0));
    pids
}

/// What [`words_in`] reads. None for a process of another user's.
fn arguments_of(pid: libc::pid_t) -> Option<Vec<u8>> {
    /// No process has longer ones: ARG_MAX.
    const LONGEST: usize = 1024 * 1024;
    let mut name = [libc::CTL_KERN, libc::KERN_PROCARGS2, pid];
    let mut answer = vec![0; LONGEST];
    let mut size = answer.len();
    // SAFETY: name and buffer are ours and as long as we say; nothing is set.
    let asked =
        unsafe { libc::sysctl(name.as_mut_ptr(), 3, answer.as_mut_ptr().cast(), &raw mut size, ptr::null_mut(), 0) };
    answer.truncate(size);
    (asked == 0).then_some(answer)
}

fn folder_of(pid: libc::pid_t) -> Option<PathBuf> {
    let about: libc::proc_vnodepathinfo = ask(pid, libc::PROC_PIDVNODEPATHINFO)?;
    // An array of arrays for the sake of old compilers: the bytes are those of one.
    let path: Vec<u8> = about.pvi_cdir.vip_path.as_flattened().iter().map(|byte| byte.cast_unsigned()).collect();
    let path = CStr::from_bytes_until_nul(&path).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(path.to_bytes())))
}

/// What libproc says of a process in a structure of its own. None for one that is over.
fn ask<T>(pid: libc::pid_t, what: libc::c_int) -> Option<T> {
    let size = libc::c_int::try_from(size_of::<T>()).ok()?;
    let mut about = mem::MaybeUninit::<T>::zeroed();
    // SAFETY: the buffer is ours and as large as we say.
    let told = unsafe { libc::proc_pidinfo(pid, what, 0, about.as_mut_ptr().cast(), size) };
    // SAFETY: it is filled to its end, and was zeroes before; the structures hold numbers only.
    (told == size).then(|| unsafe { about.assume_init() })
}

/// In microseconds.
pub(crate) fn start_of(pid: u32) -> Option<u64> {
    let about: libc::proc_bsdinfo = ask(libc::pid_t::try_from(pid).ok()?, libc::PROC_PIDTBSDINFO)?;
    Some(about.pbi_start_tvsec * 1_000_000 + about.pbi_start_tvusec)
}

/// The queue tells of the end of the process that had this number then; for its identity stands when it was started.
pub(crate) struct Orphan {
    pid: u32,
    start: u64,
    queue: OwnedFd,
}

impl Orphan {
    /// None if it is over.
    pub(crate) fn of(pid: u32) -> Option<Orphan> {
        let start = start_of(pid)?;
        let queue = kqueue().ok()?;
        let filter = EventFilter::Proc { pid: number(pid)?, flags: ProcessEvents::EXIT };
        let exit = Event::new(filter, EventFlags::ADD, ptr::null_mut());
        let mut none: [Event; 0] = [];
        // SAFETY: no descriptor is among the events.
        unsafe { kevent(&queue, &[exit], &mut none, Some(Duration::ZERO)) }.ok()?;
        // The number has not changed hands before the queue knew it.
        (start_of(pid) == Some(start)).then_some(Orphan { pid, start, queue })
    }

    /// Blocks until it is over.
    pub(crate) fn wait(&self) {
        let mut event = [mem::MaybeUninit::<Event>::uninit()];
        // SAFETY: no descriptor is among the events.
        while let Err(rustix::io::Errno::INTR) = unsafe { kevent(&self.queue, &[], &mut event, None) } {}
    }

    /// Ends its whole group, if it is not over.
    pub(crate) fn kill(&self) {
        if start_of(self.pid) == Some(self.start)
            && let Some(group) = number(self.pid)
        {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn number(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// As far as this user may see.
pub(crate) fn port_holder(ask: Ask<'_>, protocol: &str, is_it: &dyn Fn(&SocketAddr) -> bool) -> Option<(String, i32)> {
    let mut lsof = Command::new("lsof");
    // Numbers for hosts and ports, whole names, and a letter before each field.
    lsof.args(["-nP", "+c0", "-Fpcn"]);
    match protocol {
        "udp" => lsof.arg("-iUDP"),
        _ => lsof.args(["-iTCP", "-sTCP:LISTEN"]),
    };
    let told = ask(lsof).ok()?;
    holder_in(&String::from_utf8_lossy(&told.stdout), is_it)
}

/// None needs rights, since 10.14.
pub(crate) fn first_free_port() -> u16 {
    1
}

/// Only detected on Linux.
pub(crate) fn is_remote(_: &Path) -> bool {
    false
}

pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Not `/tmp`, from which the system removes what is three days old.
pub(super) fn lock_folder(_: u32, _: impl Fn(&Path) -> bool) -> io::Result<PathBuf> {
    let home = std::env::home_dir().ok_or_else(|| io::Error::other("the home folder is not known"))?;
    Ok(home.join("Library/Caches/cargo-stagecraft"))
}

/// None: here the engine runs in a virtual machine.
pub(crate) fn listeners_of(_: u32, _: &str) -> Option<Vec<SocketAddr>> {
    None
}
