//! Calls a function when something happens in some directories. The only module that uses notify, which supports the file events of each system.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{ErrorKind, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::FileSet;
use crate::os;

/// Calls a function when something happens in the directories of a set of files.
pub(crate) struct Wake {
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
}

/// Why the system does not report all changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unwatched {
    /// It watches no more directories for this user: how many are needed.
    Limit(usize),
    /// The directory is on another machine, so the system does not report its changes.
    Remote(PathBuf),
    /// For this reason.
    Other(String),
}

impl Wake {
    /// Calls `wake` from another thread whenever something happens.
    pub(crate) fn new(wake: impl Fn() + Send + 'static) -> Wake {
        let on_event = move |event: notify::Result<notify::Event>| {
            // Who reads changes nothing. Our own looking at directories is reading, too.
            let is_reading = |kind: &EventKind| matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write));
            if !event.is_ok_and(|event| is_reading(&event.kind)) {
                wake();
            }
        };
        Wake { watcher: notify::recommended_watcher(on_event).ok(), directories: BTreeSet::new() }
    }

    /// Watches the directories of this set from now on, and no others.
    ///
    /// # Errors
    /// If the system does not say all that happens there: then it has to be looked at now and then.
    pub(crate) fn watch(&mut self, set: &FileSet) -> Result<(), Unwatched> {
        let wanted = set.directories();
        let Some(watcher) = &mut self.watcher else { return Err(Unwatched::Limit(wanted.len())) };
        for gone in self.directories.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        self.directories.retain(|directory| wanted.contains(directory));
        let mut first = Ok(());
        for new in wanted.difference(&self.directories.clone()) {
            if os::is_remote(new) {
                first = first.and(Err(Unwatched::Remote(new.clone())));
                continue;
            }
            match watcher.watch(new, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.directories.insert(new.clone())),
                Err(error) => first = first.and(reason(&error, new, wanted.len())),
            }
        }
        first
    }
}

fn reason(error: &notify::Error, directory: &Path, wanted: usize) -> Result<(), Unwatched> {
    match &error.kind {
        // It has just been removed.
        ErrorKind::PathNotFound => Ok(()),
        ErrorKind::MaxFilesWatch => Err(Unwatched::Limit(wanted)),
        _ if !directory.exists() => Ok(()),
        _ => Err(Unwatched::Other(error.to_string())),
    }
}
