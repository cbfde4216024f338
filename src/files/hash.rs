//! Hashes of files, to see whether they hold the same.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{self, Read as _};
use std::path::Path;

/// A hash of what a file holds.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn of(path: &Path) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    let mut file = File::open(path)?;
    let mut buffer = [0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.write(&buffer[..read]),
        }
    }
}
