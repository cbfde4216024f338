//! A terminal for a program under test: it becomes the leader of a session whose controlling terminal this is, so that
//! Ctrl+C and hanging up mean what they mean to a user.
//!
//! Both ends are close-on-exec. An end that leaks into the child of another test keeps this terminal open: hanging up
//! would not be noticed and reading would never end, which looks like a stall.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

/// Our end of a terminal.
pub struct Pty {
    ours: Arc<OwnedFd>,
    theirs: std::ffi::CString,
    hung_up: Arc<AtomicBool>,
}

impl Pty {
    pub fn open() -> Pty {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("no pty");
        grantpt(&ours).expect("grantpt");
        unlockpt(&ours).expect("unlockpt");
        let theirs = ptsname(&ours, Vec::new()).expect("ptsname");
        let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = Pty { ours: Arc::new(ours), theirs, hung_up: Arc::default() };
        tcsetwinsize(pty.their_end(), size).expect("window size");
        pty
    }

    fn their_end(&self) -> OwnedFd {
        open(&*self.theirs, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).expect("the terminal")
    }

    /// Makes this the controlling terminal, stdin, stdout and stderr of `command`. Their end lives in the command: it has
    /// to be dropped once it is spawned, for reading to come to an end.
    pub fn attach(&self, command: &mut Command) {
        let theirs = self.their_end();
        let duplicate = || theirs.try_clone().expect("dup");
        command.stdin(duplicate()).stdout(duplicate()).stderr(duplicate());
        let become_leader = || {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        };
        // SAFETY: two system calls and no allocation, which is what may happen between fork and exec.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(become_leader);
        }
    }

    /// What the program prints; ends when nobody has the terminal open any more, or when it is hung up.
    pub fn reader(&self) -> impl Read + Send + 'static {
        Reader { ours: Some(self.ours.clone()), hung_up: self.hung_up.clone() }
    }

    /// Types something; `\x03` is Ctrl+C.
    pub fn type_in(&self, keys: &[u8]) {
        let mut written = keys;
        while !written.is_empty() {
            let n = rustix::io::write(&*self.ours, written).expect("typing");
            written = &written[n..];
        }
    }

    /// Takes the terminal away, as closing its window does.
    pub fn hang_up(self, reader: std::thread::JoinHandle<()>) {
        self.hung_up.store(true, Ordering::SeqCst);
        // A read in progress keeps our end open: something to read ends it, and the reader then sees the flag.
        let mut wake = File::from(self.their_end());
        wake.write_all(b"\n").expect("waking the reader");
        reader.join().expect("the reader");
        drop(wake);
        drop(Arc::into_inner(self.ours).expect("the last of our end"));
    }

    pub fn modes(&self) -> Modes {
        Modes(tcgetattr(&*self.ours).expect("terminal modes"))
    }
}

struct Reader {
    ours: Option<Arc<OwnedFd>>,
    hung_up: Arc<AtomicBool>,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(ours) = &self.ours else { return Ok(0) };
        let read = match rustix::io::read(&**ours, buffer) {
            // EIO: the other end is closed.
            Ok(0) | Err(rustix::io::Errno::IO) => 0,
            Ok(read) => read,
            Err(error) => return Err(error.into()),
        };
        if read == 0 || self.hung_up.load(Ordering::SeqCst) {
            self.ours = None;
        }
        Ok(read)
    }
}

/// The modes of a terminal.
#[derive(Debug)]
pub struct Modes(Termios);

impl Modes {
    /// Whether Ctrl+C makes a signal and lines are edited, as a shell leaves it.
    pub fn is_cooked(&self) -> bool {
        self.0.local_modes.contains(LocalModes::ISIG | LocalModes::ICANON | LocalModes::ECHO)
    }
}

impl PartialEq for Modes {
    fn eq(&self, other: &Modes) -> bool {
        let (a, b) = (&self.0, &other.0);
        a.input_modes == b.input_modes
            && a.output_modes == b.output_modes
            && a.control_modes == b.control_modes
            && a.local_modes == b.local_modes
    }
}
