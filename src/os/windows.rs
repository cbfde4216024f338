//! Windows: job objects, console process groups, and the system's tables, which have no safe wrappers.
//!
//! What we start in a group of its own, or in that of another command, is in a job that ends with us: when we are killed there
//! is no orphan for the guard, or for whoever takes the lock next, to look for.
#![allow(unsafe_code)]

use std::ffi::{OsString, c_void};
use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, IntoRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::ptr;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_INSUFFICIENT_BUFFER, HANDLE, INVALID_HANDLE_VALUE, NO_ERROR, STATUS_CONTROL_C_EXIT,
};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, GetExtendedUdpTable, MIB_TCP6ROW_OWNER_PID, MIB_TCPROW_OWNER_PID, MIB_UDP6ROW_OWNER_PID,
    MIB_UDPROW_OWNER_PID, TCP_TABLE_OWNER_PID_LISTENER, UDP_TABLE_OWNER_PID,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6};
use windows_sys::Win32::Storage::FileSystem::{BY_HANDLE_FILE_INFORMATION, GetFileInformationByHandle};
use windows_sys::Win32::System::Console::{
    CONSOLE_SCREEN_BUFFER_INFO, ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode, GetConsoleScreenBufferInfo,
    STD_OUTPUT_HANDLE, SetConsoleCtrlHandler, SetConsoleMode, SetStdHandle,
};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
    TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{
    CREATE_BREAKAWAY_FROM_JOB, CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, CREATE_SUSPENDED, ExitProcess, INFINITE,
    OpenProcess, OpenThread, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION, QueryFullProcessImageNameW,
    ResumeThread, THREAD_SUSPEND_RESUME, WaitForSingleObject,
};
use windows_sys::core::BOOL;

pub(crate) const SHELL: [&str; 2] = ["cmd", "/C"];

use super::{Ask, Group};

pub(crate) const RUNS_LINUX_PROGRAMS: bool = false;

/// Half of a character that has two halves is not kept.
pub(crate) fn text(bytes: Vec<u8>) -> OsString {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// An old console prints them as text unless this mode is set.
pub(crate) fn prepare_terminal() {
    for handle in [io::stdout().as_raw_handle(), io::stderr().as_raw_handle()] {
        let mut mode = 0;
        // SAFETY: with any handle, these fail at worst.
        unsafe {
            if GetConsoleMode(handle, &raw mut mode) != 0 {
                SetConsoleMode(handle, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
            }
        }
    }
}

/// It is not known here.
pub(crate) fn takes_writes(_: impl AsHandle) -> bool {
    true
}

pub(crate) fn window_size(stream: impl AsHandle) -> Option<(u16, u16)> {
    let mut about = CONSOLE_SCREEN_BUFFER_INFO::default();
    // SAFETY: the handle is open, and the structure is ours.
    done(unsafe { GetConsoleScreenBufferInfo(stream.as_handle().as_raw_handle(), &raw mut about) }).ok()?;
    let window = about.srWindow;
    let length = |first: i16, last: i16| u16::try_from(i32::from(last) - i32::from(first) + 1).ok();
    Some((length(window.Left, window.Right)?, length(window.Top, window.Bottom)?))
}

/// Engines are behind named pipes here.
pub(crate) fn is_served(_: &Path) -> bool {
    false
}

pub(crate) fn request(_: &Path, _: &mut dyn io::Read, _: Option<Duration>) -> io::Result<Vec<u8>> {
    Err(io::ErrorKind::Unsupported.into())
}

fn flags(group: Group) -> u32 {
    match group {
        Group::Ours | Group::Foreground => 0,
        // A process in a group of its own does not receive the console's Ctrl+C.
        Group::Own | Group::Of(_) => CREATE_NEW_PROCESS_GROUP,
    }
}

pub(crate) fn join(command: &mut Command, group: Group) {
    command.creation_flags(flags(group));
}

pub(crate) fn spawn(command: &mut Command, group: Group) -> io::Result<(Child, Option<Tree>)> {
    match group {
        Group::Ours => Ok((command.spawn()?, None)),
        // Nothing but our end ends two of them at once, and the job sees to that.
        Group::Own | Group::Foreground | Group::Of(_) => {
            spawn_tree(command, group).map(|(child, tree)| (child, Some(tree)))
        }
    }
}

/// Suspended until it is in its job: what it starts will be in there, too.
fn spawn_tree(command: &mut Command, group: Group) -> io::Result<(Child, Tree)> {
    let tree = Tree::new()?;
    let mut child = command.creation_flags(flags(group) | CREATE_SUSPENDED).spawn()?;
    match tree.hold(&child).and_then(|()| resume(child.id())) {
        Ok(()) => Ok((child, tree)),
        Err(error) => {
            let _ = child.kill();
            Err(error)
        }
    }
}

/// A job object, which ends what is in it when its only handle is closed: by us or by our end. Our own instead of `process-wrap`, which waits
/// for all processes of a job and does not release one: a run would wait for what docker leaves behind.
pub(crate) struct Tree(OwnedHandle);

impl Tree {
    fn new() -> io::Result<Tree> {
        // SAFETY: neither attributes nor a name are given; no one else has the handle.
        let job = unsafe { owned(CreateJobObjectW(ptr::null(), ptr::null())) }?;
        let tree = Tree(job);
        tree.limit(JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE)?;
        Ok(tree)
    }

    fn limit(&self, flags: u32) -> io::Result<()> {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = flags;
        let size = u32::try_from(size_of_val(&limits)).unwrap_or(0);
        // SAFETY: the structure is ours, of the kind that is named, and as large as we say.
        done(unsafe {
            let limits = (&raw const limits).cast();
            SetInformationJobObject(self.0.as_raw_handle(), JobObjectExtendedLimitInformation, limits, size)
        })
    }

    fn hold(&self, child: &Child) -> io::Result<()> {
        // SAFETY: both handles are open.
        done(unsafe { AssignProcessToJobObject(self.0.as_raw_handle(), child.as_raw_handle()) })
    }

    pub(crate) fn kill(&self) -> io::Result<()> {
        // SAFETY: the handle is open.
        done(unsafe { TerminateJobObject(self.0.as_raw_handle(), 1) })
    }

    /// There are none; Ctrl+C in the console reaches it as it does us.
    #[allow(clippy::unnecessary_wraps, clippy::unused_self)]
    pub(crate) fn signal(&self, _: u8) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn let_go(&self) {
        // If it cannot be, what is left ends with us.
        let _ = self.limit(0);
    }
}

/// Resumes the only thread of a process that has been started suspended, of which std keeps no handle.
fn resume(pid: u32) -> io::Result<()> {
    // SAFETY: a snapshot of all threads needs no more than this, and no one else has the handle.
    let snapshot = unsafe { owned(CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0)) }?;
    let size = u32::try_from(size_of::<THREADENTRY32>()).unwrap_or(0);
    let mut entry = THREADENTRY32 { dwSize: size, ..Default::default() };
    // SAFETY: the entry is ours and says its size.
    let mut there_is_one = unsafe { Thread32First(snapshot.as_raw_handle(), &raw mut entry) } != 0;
    while there_is_one && entry.th32OwnerProcessID != pid {
        // SAFETY: as above.
        there_is_one = unsafe { Thread32Next(snapshot.as_raw_handle(), &raw mut entry) } != 0;
    }
    if !there_is_one {
        return Err(io::ErrorKind::NotFound.into());
    }
    // SAFETY: it is suspended, so the number is still its own; no one else has the handle.
    unsafe {
        let thread = owned(OpenThread(THREAD_SUSPEND_RESUME, 0, entry.th32ThreadID))?;
        if ResumeThread(thread.as_raw_handle()) == u32::MAX { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// # Safety
/// No one else has the handle.
unsafe fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and the caller promises the rest.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

fn done(result: BOOL) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// As long as a handle is open the number stays its own.
pub(crate) fn end_of(child: &Child, _: Option<&Tree>) -> io::Result<impl FnOnce() + Send + 'static> {
    let process = child.as_handle().try_clone_to_owned()?;
    Ok(move || {
        // SAFETY: the handle is open.
        unsafe { WaitForSingleObject(process.as_raw_handle(), INFINITE) };
    })
}

pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

pub(crate) fn has_failed(child: &mut Child) -> bool {
    child.wait().is_ok_and(|status| !status.success())
}

/// There is no such thing, so it runs while we do nothing else, and its exit code becomes ours.
pub(crate) fn exec(command: &mut Command) -> io::Error {
    // SAFETY: the handler is a function and does nothing.
    unsafe { SetConsoleCtrlHandler(Some(leave_it_to_the_child), 1) };
    let ended = spawn_tree(command, Group::Ours).and_then(|(mut child, _tree)| child.wait());
    match ended {
        // SAFETY: nothing else of us is at work, and this is how the program ends.
        Ok(status) => unsafe { ExitProcess(status.code().unwrap_or(1).cast_unsigned()) },
        Err(error) => error,
    }
}

extern "system" fn leave_it_to_the_child(_: u32) -> BOOL {
    1
}

/// It has ended with those who started it.
pub(crate) fn find(_: &[Vec<u8>], _: &Path, _: &str, _: &str) -> Option<u32> {
    None
}

/// Nobody has to know it again.
pub(crate) fn start_of(_: u32) -> Option<u64> {
    None
}

/// There are none.
pub(crate) enum Orphan {}

impl Orphan {
    pub(crate) fn of(_: u32) -> Option<Orphan> {
        None
    }

    pub(crate) fn wait(&self) {
        match *self {}
    }

    pub(crate) fn kill(&self) {
        match *self {}
    }
}

/// As far as this user may see.
pub(crate) fn port_holder(_: Ask<'_>, protocol: &str, is_it: &dyn Fn(&SocketAddr) -> bool) -> Option<(String, i32)> {
    let sockets = if protocol == "udp" { udp_sockets() } else { tcp_listeners() };
    let (_, pid) = sockets.into_iter().find(|(address, _)| is_it(address))?;
    Some((name_of(pid)?, pid.cast_signed()))
}

fn tcp_listeners() -> Vec<(SocketAddr, u32)> {
    let ask = |family: u16| {
        move |table: *mut c_void, size: *mut u32| {
            // SAFETY: the table is as large as we say.
            unsafe { GetExtendedTcpTable(table, size, 0, family.into(), TCP_TABLE_OWNER_PID_LISTENER, 0) }
        }
    };
    let v4 = |row: MIB_TCPROW_OWNER_PID| (v4(row.dwLocalAddr, row.dwLocalPort), row.dwOwningPid);
    let v6 = |row: MIB_TCP6ROW_OWNER_PID| (v6(row.ucLocalAddr, row.dwLocalPort), row.dwOwningPid);
    // SAFETY: these are the rows of these tables.
    unsafe { rows(ask(AF_INET)).into_iter().map(v4).chain(rows(ask(AF_INET6)).into_iter().map(v6)).collect() }
}

fn udp_sockets() -> Vec<(SocketAddr, u32)> {
    let ask = |family: u16| {
        move |table: *mut c_void, size: *mut u32| {
            // SAFETY: the table is as large as we say.
            unsafe { GetExtendedUdpTable(table, size, 0, family.into(), UDP_TABLE_OWNER_PID, 0) }
        }
    };
    let v4 = |row: MIB_UDPROW_OWNER_PID| (v4(row.dwLocalAddr, row.dwLocalPort), row.dwOwningPid);
    let v6 = |row: MIB_UDP6ROW_OWNER_PID| (v6(row.ucLocalAddr, row.dwLocalPort), row.dwOwningPid);
    // SAFETY: these are the rows of these tables.
    unsafe { rows(ask(AF_INET)).into_iter().map(v4).chain(rows(ask(AF_INET6)).into_iter().map(v6)).collect() }
}

/// The rows of a table of the system's, which begins with their number.
///
/// # Safety
/// The rows are of this type, which holds numbers only.
unsafe fn rows<Row: Copy>(ask: impl Fn(*mut c_void, *mut u32) -> u32) -> Vec<Row> {
    let mut size = 0;
    let mut table: Vec<u8> = Vec::new();
    let mut answer = ask(ptr::null_mut(), &raw mut size);
    // It may grow between the two questions.
    while answer == ERROR_INSUFFICIENT_BUFFER {
        table.resize(size as usize, 0);
        answer = ask(table.as_mut_ptr().cast(), &raw mut size);
    }
    let Some((count, rest)) = table.split_first_chunk().filter(|_| answer == NO_ERROR) else { return Vec::new() };
    let rows = rest.chunks_exact(size_of::<Row>()).take(u32::from_ne_bytes(*count) as usize);
    // SAFETY: each chunk is as long as a row; the caller promises the rest.
    rows.map(|row| unsafe { row.as_ptr().cast::<Row>().read_unaligned() }).collect()
}

fn v4(ip: u32, port: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip.to_ne_bytes())), port_of(port))
}

fn v6(ip: [u8; 16], port: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(ip)), port_of(port))
}

/// The first two bytes, in the order of the network.
fn port_of(port: u32) -> u16 {
    let [high, low, ..] = port.to_ne_bytes();
    u16::from_be_bytes([high, low])
}

/// The file name of a process's program.
fn name_of(pid: u32) -> Option<String> {
    let mut path = vec![0; 1024];
    let mut length = 1024;
    // SAFETY: no one else has the handle; the buffer is ours and as long as we say.
    unsafe {
        let process = owned(OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid)).ok()?;
        let path = path.as_mut_ptr();
        done(QueryFullProcessImageNameW(process.as_raw_handle(), PROCESS_NAME_WIN32, path, &raw mut length)).ok()?;
    }
    let path = PathBuf::from(OsString::from_wide(path.get(..length as usize)?));
    Some(path.file_name()?.to_string_lossy().into_owned())
}

/// None needs rights.
pub(crate) fn first_free_port() -> u16 {
    1
}

/// Only detected on Linux.
pub(crate) fn is_remote(_: &Path) -> bool {
    false
}

pub(crate) fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// Two pipes.
#[derive(Debug)]
pub(crate) struct Wire {
    from: PipeReader,
    to: PipeWriter,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.from.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

pub(crate) fn guard_command() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    // Not a directory that could block its removal.
    command.current_dir(std::env::temp_dir());
    Ok(command)
}

/// In a console of its own, which nobody sees, closes or presses Ctrl+C in. It opens the lock by itself: here a lock is its
/// process's.
pub(crate) fn start_guard(mut command: Command, _: Option<File>) -> io::Result<(Child, Wire)> {
    let (theirs, to) = io::pipe()?;
    let (from, answers) = io::pipe()?;
    command.stdin(theirs).stdout(answers);
    let alone = CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP;
    // Outside of the parent's job, if it permits that.
    let child = match command.creation_flags(alone | CREATE_BREAKAWAY_FROM_JOB).spawn() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => command.creation_flags(alone).spawn(),
        started => started,
    }?;
    Ok((child, Wire { from, to }))
}

/// The other end of the wire; no lock.
pub(crate) fn stand_guard() -> anyhow::Result<(Wire, Option<File>)> {
    let from = io::stdin().as_handle().try_clone_to_owned()?.into();
    let to = io::stdout().as_handle().try_clone_to_owned()?.into();
    let nowhere = OpenOptions::new().write(true).open("NUL")?;
    // SAFETY: the handle stays open, since it is never closed.
    done(unsafe { SetStdHandle(STD_OUTPUT_HANDLE, nowhere.into_raw_handle()) })?;
    Ok((Wire { from, to }, None))
}

pub(crate) fn ignores(_: u8) -> bool {
    false
}

/// There are none. A console that is closed, and a session that ends, end us too: that is for the guard.
pub(crate) fn hear(_: impl IntoIterator<Item = u8>, _: impl Fn(u8) + Send + 'static) -> io::Result<()> {
    Ok(())
}

pub(crate) fn end_by(_: u8) {
    // SAFETY: this is how a program ends at Ctrl+C.
    unsafe { ExitProcess(STATUS_CONTROL_C_EXIT.cast_unsigned()) }
}

/// Nobody is asked here for the mode of a file.
pub(crate) fn with_mode(_: u32) -> Option<std::fs::Permissions> {
    None
}

/// The folder that it is in is the user's own.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

pub(crate) fn open_existing(path: &Path) -> io::Result<File> {
    File::open(path)
}

pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let ours = identity(file);
    ours.is_some() && ours == File::open(path).ok().and_then(|theirs| identity(&theirs))
}

fn identity(file: &File) -> Option<(u32, u32, u32)> {
    let mut about = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open, and the structure is ours.
    let told = unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut about) };
    (told != 0).then_some((about.dwVolumeSerialNumber, about.nFileIndexHigh, about.nFileIndexLow))
}

pub(crate) fn own_folder() -> io::Result<PathBuf> {
    let local = std::env::var_os("LOCALAPPDATA").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let local = local.or_else(|| Some(std::env::home_dir()?.join("AppData").join("Local")));
    let folder = local.ok_or_else(|| io::Error::other("the home folder is not known"))?.join("cargo-stagecraft");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Lets a socket be bound although connections of an earlier server there are still closing: Windows does by itself, and its option of
/// that name would share the port.
pub(super) fn ignore_closing_connections(_: &socket2::Socket) -> io::Result<()> {
    Ok(())
}

/// None: here the engine runs in a virtual machine.
pub(crate) fn listeners_of(_: u32, _: &str) -> Option<Vec<SocketAddr>> {
    None
}

/// Consoles are left as they are.
pub(crate) struct Keys;

pub(crate) fn read_keys(_: impl Fn(char) + Send + 'static) -> Option<Keys> {
    None
}
