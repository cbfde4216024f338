//! Linux: `/proc` and pidfds.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::Ask;
use super::unix::leads;

pub(crate) const RUNS_LINUX_PROGRAMS: bool = true;

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
    let is_leader = |pid: &u32| i32::try_from(*pid).is_ok_and(leads);
    processes().filter(|pid| is_it(&PathBuf::from(format!("/proc/{pid}")))).filter(is_leader).last()
}

/// In the kernel's ticks since boot: see proc(5).
pub(crate) fn start_of(pid: u32) -> Option<u64> {
    stat_of(pid)?.get(19)?.parse().ok()
}

/// What the kernel says of a process, from its state on: see proc(5).
pub(super) fn stat_of(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it is in parentheses and may hold anything.
    Some(stat.rsplit_once(") ")?.1.split(' ').map(str::to_string).collect())
}

/// Every process that is seen here.
pub(super) fn processes() -> impl Iterator<Item = u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The descriptor stands for this process, even if its id is reused.
pub(crate) struct Orphan {
    pid: Pid,
    process: OwnedFd,
}

impl Orphan {
    /// None if it is over.
    pub(crate) fn of(pid: u32) -> Option<Orphan> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        Some(Orphan { pid, process: pidfd_open(pid, PidfdFlags::empty()).ok()? })
    }

    /// Blocks until it is over.
    pub(crate) fn wait(&self) {
        while let Err(rustix::io::Errno::INTR) = poll(&mut [PollFd::new(&self.process, PollFlags::IN)], None) {}
    }

    /// Ends its whole group, if it is not over.
    pub(crate) fn kill(&self) {
        let over = poll(&mut [PollFd::new(&self.process, PollFlags::IN)], Some(&Timespec::default()));
        if over == Ok(0) {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

/// As far as this user may see.
pub(crate) fn port_holder(_: Ask<'_>, protocol: &str, is_it: &dyn Fn(&SocketAddr) -> bool) -> Option<(String, i32)> {
    let tables = [format!("/proc/net/{protocol}"), format!("/proc/net/{protocol}6")];
    let tables = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
    let sockets: Vec<Socket> = tables.flat_map(|table| table.lines().filter_map(socket).collect::<Vec<_>>()).collect();
    let has_it = |socket: &&Socket| (protocol == "udp" || socket.listens) && is_it(&socket.address);
    let links: Vec<String> = sockets.iter().filter(has_it).map(|socket| format!("socket:[{}]", socket.inode)).collect();
    let holds = |process: &Path| {
        let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let mut links_to = open.filter_map(|file| fs::read_link(file.path()).ok());
        links_to.any(|target| links.iter().any(|link| target.as_os_str() == link.as_str()))
    };
    if links.is_empty() {
        return None;
    }
    processes().find_map(|pid| {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let name = || fs::read_to_string(process.join("comm")).ok();
        holds(&process).then(|| Some((name()?.trim_end().to_string(), pid.try_into().ok()?)))?
    })
}

/// The addresses at which the container with this id, whose first process this is, listens for TCP. None where the process is not
/// seen here, or is another one: the engine may run in a virtual machine, or this program in a container.
pub(crate) fn listeners_of(pid: u32, container: &str) -> Option<Vec<SocketAddr>> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let is_it = || fs::read_to_string(process.join("cgroup")).is_ok_and(|groups| groups.contains(container));
    if pid == 0 || container.is_empty() || !is_it() {
        return None;
    }
    let tables = ["net/tcp", "net/tcp6"].map(|table| fs::read_to_string(process.join(table)));
    if tables.iter().all(Result::is_err) || !is_it() {
        return None;
    }
    let lines = tables.iter().flatten().flat_map(|table| table.lines());
    Some(lines.filter_map(socket).filter(|socket| socket.listens).map(|socket| socket.address).collect())
}

/// A line of a table of sockets: see proc_pid_net(5).
struct Socket {
    address: SocketAddr,
    listens: bool,
    inode: u64,
}

fn socket(line: &str) -> Option<Socket> {
    const LISTENS: &str = "0A";
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (ip, port) = words.get(1)?.split_once(':')?;
    // Each group of eight digits is a number of this machine's, whose bytes are those of the address.
    let groups = ip.as_bytes().chunks(8).map(|digits| u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
    let bytes: Vec<u8> = groups.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(Socket {
        address: SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?),
        listens: *words.get(3)? == LISTENS,
        inode: words.get(9)?.parse().ok()?,
    })
}

pub(crate) fn first_free_port() -> u16 {
    let set = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok();
    set.and_then(|port| port.trim().parse().ok()).unwrap_or(1024)
}

/// By the kind of file system: NFS, SMB, 9P (WSL), FUSE and VirtualBox. Source: statfs(2).
pub(crate) fn is_remote(directory: &Path) -> bool {
    const REMOTE: [u32; 7] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x517b, 0x0102_1997, 0x6573_5546, 0x786f_4256];
    let kind = rustix::fs::statfs(directory).map(|about| about.f_type);
    kind.is_ok_and(|kind| REMOTE.iter().any(|remote| i128::from(*remote) == i128::from(kind)))
}

pub(crate) fn host_name() -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_line_of_a_table_is_a_socket() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert!(socket(head).is_none());
        let rest = "00000000:00000000 00:00000000 00000000     0        0 24601 1 0000000000000000 100 0 0 10 0";
        let v4 = socket(&format!("   0: 0100007F:1F90 00000000:0000 0A {rest}")).unwrap();
        assert_eq!((v4.address, v4.listens, v4.inode), ("127.0.0.1:8080".parse().unwrap(), true, 24601));
        let zeros = "0".repeat(32);
        let v6 =
            socket(&format!("   1: 000000000000000000000000{:08X}:0035 {zeros}:0000 07 {rest}", 1u32.to_be())).unwrap();
        assert_eq!((v6.address, v6.listens), ("[::1]:53".parse().unwrap(), false));
    }

    #[test]
    fn the_holder_of_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = listener.local_addr().unwrap();
        let ask = |_: std::process::Command| Err(io::ErrorKind::Unsupported.into());
        let (_, pid) = port_holder(&ask, "tcp", &|address| *address == ours).unwrap();
        assert_eq!(u32::try_from(pid).unwrap(), std::process::id());
        drop(listener);
        assert!(port_holder(&ask, "tcp", &|address| *address == ours).is_none());
    }
}
