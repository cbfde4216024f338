//! One project, one change at a time: advisory file locks that end with their holder.
//!
//! Compose does not coordinate its commands: two `up -d` of one project at the same moment usually fail, and a
//! `down` during an `up` leaves a network behind. So every start and every teardown holds the project's lock.
//! A foreground run releases it while the stack just runs, and holds a second lock as long as it lives, which shows
//! others that the stack has an owner.
//!
//! A lock file names the processes that its holder has started. If one is alive although the lock is free, the holder and its guard
//! were killed together. The next holder ends it, or it would go on starting containers during a teardown.
//!
//! The files are in a directory of the user, outside the workspace, and the last holder removes them. A lock belongs to the
//! open file, not to the process. The guard shares the open file of the first lock, so the lock stays held when the run
//! is killed.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use crate::command;
use crate::os;

/// The lock of one project. Dropped, it is given back and its files are removed.
#[derive(Debug)]
pub struct ProjectLock(Option<Files>);

#[derive(Debug)]
struct Files {
    /// The lock's path without an extension.
    path: PathBuf,
    change: File,
    is_held: bool,
    owner: Option<File>,
}

impl ProjectLock {
    /// No lock at all, where files cannot be locked.
    pub fn none() -> ProjectLock {
        ProjectLock(None)
    }

    /// The lock of this name, not held yet.
    ///
    /// # Errors
    /// If there is no folder for it that is the user's own.
    pub fn open(name: &str) -> io::Result<ProjectLock> {
        let path = os::own_folder()?.join(name);
        let change = os::open_private(&change_file(&path))?;
        Ok(ProjectLock(Some(Files { path, change, is_held: false, owner: None })))
    }

    /// As [`ProjectLock::open`], with an open file that the process before us may have locked.
    ///
    /// # Errors
    /// As [`ProjectLock::open`].
    pub(super) fn inherited(name: &str, change: File) -> io::Result<ProjectLock> {
        let path = os::own_folder()?.join(name);
        Ok(ProjectLock(Some(Files { path, change, is_held: false, owner: None })))
    }

    /// Takes the lock if it is free. Returns whether it is held now.
    ///
    /// # Errors
    /// If the system cannot lock files there.
    pub fn try_take(&mut self) -> io::Result<bool> {
        self.take_by(|file| match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        })
    }

    /// Takes the lock as soon as it is free.
    ///
    /// # Errors
    /// If the system cannot lock files there.
    pub fn take(&mut self) -> io::Result<()> {
        self.take_by(|file| file.lock().map(|()| true)).map(drop)
    }

    fn take_by(&mut self, lock: impl Fn(&File) -> io::Result<bool>) -> io::Result<bool> {
        let Some(files) = &mut self.0 else { return Ok(true) };
        while !files.is_held {
            match lock(&files.change) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let path = change_file(&files.path);
            if os::is_at(&files.change, &path) {
                files.is_held = true;
            } else {
                // The previous holder has removed the file: this lock excludes no other command.
                files.change = os::open_private(&path)?;
            }
        }
        Ok(true)
    }

    /// Whether it is held.
    pub fn is_held(&self) -> bool {
        self.0.as_ref().is_none_or(|files| files.is_held)
    }

    /// Lets others have it; it can be taken again.
    pub fn give_back(&mut self) {
        if let Some(files) = &mut self.0 {
            // Not closed: the guard has the same open file, and needs no more than that to take it again.
            let _ = files.change.unlock();
            files.is_held = false;
        }
    }

    /// Makes this run the owner of the stack, unless another one is. Returns whether it is now. Requires the lock.
    ///
    /// # Errors
    /// If the system cannot lock files there.
    pub fn own(&mut self) -> io::Result<bool> {
        let Some(files) = &mut self.0 else { return Ok(true) };
        let owner = os::open_private(&owner_file(&files.path))?;
        match owner.try_lock() {
            Ok(()) => files.owner = Some(owner),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(true)
    }

    /// Whether another run owns the stack. Requires the lock.
    pub fn is_owned_by_another(&self) -> bool {
        let Some(files) = &self.0 else { return false };
        let owned = |file: File| matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        files.owner.is_none() && os::open_existing(&owner_file(&files.path)).is_ok_and(owned)
    }

    /// Releases the lock and blocks for as long as another run owns the stack.
    ///
    /// # Errors
    /// If the system cannot lock files there.
    pub fn wait_for_the_owner(mut self) -> io::Result<()> {
        self.give_back();
        let Some(files) = &self.0 else { return Ok(()) };
        match os::open_existing(&owner_file(&files.path)) {
            Ok(owner) => owner.lock(),
            // It has just ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes down a command that we have started.
    pub(super) fn note(&self, change: HeldFor, pid: u32) {
        if let (Some(files), Some(start)) = (&self.0, os::start_of(pid)) {
            let mut file = files.owner.as_ref().unwrap_or(&files.change);
            // If it cannot be written, `dev down` is still there.
            let _ = file.seek(SeekFrom::End(0)).and_then(|_| writeln!(file, "{} {pid} {start}", change.word()));
        }
    }

    /// Ends the starts that a holder that died without giving it back has left at work, and waits for the end of its
    /// teardowns, which containers are in the middle of; whether there was any. `say` is called before it waits. To be asked
    /// with the lock held.
    pub fn end_orphans(&self, say: impl Fn()) -> bool {
        let Some(files) = &self.0 else { return false };
        let mut orphans = noted_in(&files.change);
        if !self.is_owned_by_another()
            && let Ok(owner) = os::open_existing(&owner_file(&files.path))
        {
            orphans.extend(noted_in(&owner));
        }
        let mut ended = false;
        for Noted { change, pid, start } in orphans {
            let (over, is_over) = mpsc::channel();
            let on_exit = Box::new(move || {
                let _ = over.send(());
            });
            // A process id can be reused; together with the start time it is unique.
            if let Some(mut orphan) = command::adopt(pid, on_exit)
                && os::start_of(pid) == Some(start)
            {
                say();
                if change == HeldFor::Start {
                    orphan.cut_off();
                }
                let _ = is_over.recv();
                ended = true;
            }
        }
        ended
    }

    /// Leaves it to the guard, which has the same open file.
    pub(super) fn leave_to_the_guard(mut self) {
        // Closed, but not unlocked.
        self.0 = None;
    }

    /// What the guard has to inherit.
    pub(super) fn to_share(&self) -> io::Result<Option<File>> {
        self.0.as_ref().map(|files| files.change.try_clone()).transpose()
    }
}

impl Drop for ProjectLock {
    fn drop(&mut self) {
        if self.is_held()
            && !self.is_owned_by_another()
            && let Some(files) = &self.0
        {
            let _ = fs::remove_file(owner_file(&files.path));
            let _ = fs::remove_file(change_file(&files.path));
        }
        self.give_back();
    }
}

fn change_file(path: &Path) -> PathBuf {
    with_extension(path, ".lock")
}

fn owner_file(path: &Path) -> PathBuf {
    with_extension(path, ".owner")
}

fn with_extension(path: &Path, extension: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(extension);
    path.into()
}

/// What a command does to the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldFor {
    /// `up`
    Start,
    /// `stop` or `down`
    End,
}

impl HeldFor {
    fn word(self) -> &'static str {
        match self {
            HeldFor::Start => "start",
            HeldFor::End => "end",
        }
    }
}

/// A command that a file names: its process, and when that was started.
struct Noted {
    change: HeldFor,
    pid: u32,
    start: u64,
}

fn noted_in(mut file: &File) -> Vec<Noted> {
    let mut text = String::new();
    // An unreadable file names no process.
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
    let read = |line: &str| {
        let mut words = line.split(' ');
        let word = words.next()?;
        let change = [HeldFor::Start, HeldFor::End].into_iter().find(|change| change.word() == word)?;
        Some(Noted { change, pid: words.next()?.parse().ok()?, start: words.next()?.parse().ok()? })
    };
    text.lines().filter_map(read).collect()
}
