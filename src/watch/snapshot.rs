//! What is in the files of a set at one moment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::FileSet;
use crate::files::hash;

/// What is in the files of a set at one moment. Contents are compared by their hash, since a file that is saved again may hold the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot(BTreeMap<PathBuf, Content>);

#[derive(Clone, Copy, Debug)]
struct Content {
    length: u64,
    modified: SystemTime,
    hash: u64,
}

impl Snapshot {
    /// The files of a set as they are now. Those that have neither another size nor another time than in `before` are not read.
    pub(crate) fn take(set: &FileSet, before: &Snapshot) -> Snapshot {
        let content = |path: PathBuf| {
            let content = Content::of(&path, before.0.get(&path))?;
            Some((path, content))
        };
        Snapshot(set.files().into_iter().filter_map(content).collect())
    }

    /// The files that are other ones now than in `before`, are new, or are gone.
    pub(crate) fn changes(&self, before: &Snapshot) -> Vec<PathBuf> {
        let differs = |path: &&PathBuf| self.hash(path) != before.hash(path);
        let gone = before.0.keys().filter(|path| !self.0.contains_key(*path));
        self.0.keys().filter(differs).chain(gone).cloned().collect()
    }

    /// Whether it has this file.
    pub(crate) fn has(&self, file: &Path) -> bool {
        self.0.contains_key(file)
    }

    /// Whether a file was written after this time.
    pub(crate) fn is_newer(&self, file: &Path, time: SystemTime) -> bool {
        self.0.get(file).is_some_and(|content| content.modified >= time)
    }

    fn hash(&self, path: &Path) -> Option<u64> {
        self.0.get(path).map(|content| content.hash)
    }

    /// These files as in `other`, the rest as here.
    pub(crate) fn with(mut self, files: &[PathBuf], other: &Snapshot) -> Snapshot {
        for file in files {
            match other.0.get(file) {
                Some(content) => drop(self.0.insert(file.clone(), *content)),
                None => drop(self.0.remove(file)),
            }
        }
        self
    }
}

impl Content {
    /// None if it is no file that can be read.
    fn of(path: &Path, before: Option<&Content>) -> Option<Content> {
        let about = fs::metadata(path).ok().filter(|about| about.is_file())?;
        let (length, modified) = (about.len(), about.modified().ok()?);
        if let Some(before) = before.filter(|before| (before.length, before.modified) == (length, modified)) {
            return Some(*before);
        }
        Some(Content { length, modified, hash: hash::of(path).ok()? })
    }
}
