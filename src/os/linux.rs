//! Linux: procfs and pidfds.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use procfs::net::{TcpState, tcp, tcp6, udp, udp6};
use procfs::process::{FDTarget, all_processes};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::Ask;
use super::unix::leads;

/// Also if the file has been replaced or removed since.
pub(super) fn own_binary() -> io::Result<PathBuf> {
    Ok("/proc/self/exe".into())
}

/// The leader of a group that has these arguments, works in this folder, and has this `variable=value`.
pub(super) fn process_with(argv: &[Vec<u8>], cwd: &Path, set: &[u8]) -> Option<u32> {
    let words = |path: PathBuf| -> Option<Vec<Vec<u8>>> {
        let bytes = fs::read(path).ok()?;
        Some(bytes.strip_suffix(&[0])?.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect())
    };
    let is_it = |process: &Path| {
        words(process.join("cmdline")).as_deref() == Some(argv)
            && fs::read_link(process.join("cwd")).is_ok_and(|folder| folder == cwd)
            && words(process.join("environ")).is_some_and(|all| all.iter().any(|it| it == set))
    };
    let processes = fs::read_dir("/proc").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let pids = processes.filter(|process| is_it(process)).filter_map(|process| {
        let pid = process.file_name()?.to_str()?.parse().ok()?;
        leads(pid).then(|| u32::try_from(pid).ok())?
    });
    pids.last()
}

/// In the kernel's ticks since boot: see proc(5).
pub fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it is in parentheses and may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// The descriptor stands for this very process, whoever gets its number later.
pub struct Orphan {
    pid: Pid,
    process: OwnedFd,
}

impl Orphan {
    /// None if it is over.
    pub fn of(pid: u32) -> Option<Orphan> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        Some(Orphan { pid, process: pidfd_open(pid, PidfdFlags::empty()).ok()? })
    }

    /// Blocks until it is over.
    pub fn wait(&self) {
        while let Err(rustix::io::Errno::INTR) = poll(&mut [PollFd::new(&self.process, PollFlags::IN)], None) {}
    }

    /// Ends its whole group, if it is not over.
    pub fn kill(&self) {
        let over = poll(&mut [PollFd::new(&self.process, PollFlags::IN)], Some(&Timespec::default()));
        if over == Ok(0) {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

/// As far as this user may see.
pub fn port_holder(_: Ask<'_>, protocol: &str, is_it: &dyn Fn(&SocketAddr) -> bool) -> Option<(String, i32)> {
    let inodes: Vec<u64> = if protocol == "udp" {
        let all = [udp(), udp6()].into_iter().filter_map(Result::ok).flatten();
        all.filter(|entry| is_it(&entry.local_address)).map(|entry| entry.inode).collect()
    } else {
        let all = [tcp(), tcp6()].into_iter().filter_map(Result::ok).flatten();
        let listens = all.filter(|entry| entry.state == TcpState::Listen && is_it(&entry.local_address));
        listens.map(|entry| entry.inode).collect()
    };
    let has_it = |target: &FDTarget| matches!(target, FDTarget::Socket(inode) if inodes.contains(inode));
    all_processes().ok()?.filter_map(Result::ok).find_map(|process| {
        process.fd().ok()?.filter_map(Result::ok).find(|fd| has_it(&fd.target))?;
        Some((process.stat().ok()?.comm, process.pid))
    })
}

pub fn first_free_port() -> u16 {
    let set = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok();
    set.and_then(|port| port.trim().parse().ok()).unwrap_or(1024)
}

pub fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_string()
}

/// The folder for what lives as long as a session: every program of one user has to find the same one, whether it has the
/// variable or not.
pub(super) fn lock_folder(user: u32, is_ours: impl Fn(&Path) -> bool) -> io::Result<PathBuf> {
    let runtime = [std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), Some(format!("/run/user/{user}").into())];
    let runtime = runtime.into_iter().flatten().find(|folder| folder.is_absolute() && is_ours(folder));
    Ok(match runtime {
        Some(runtime) => runtime.join("cargo-stagecraft"),
        // Not TMPDIR, which differs from shell to shell.
        None => format!("/tmp/cargo-stagecraft-{user}").into(),
    })
}
