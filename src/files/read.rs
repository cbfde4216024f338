//! Reads files that somebody else has written or put in their place. A named pipe would block for ever, and a device has no end: only
//! regular files are read, up to a limit.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// The longest file that is read, in bytes.
pub(crate) const LIMIT: u64 = 16 << 20;

/// What the file holds.
///
/// # Errors
/// If it cannot be read, is no regular file ([`io::ErrorKind::InvalidInput`]) or is longer than [`LIMIT`]
/// ([`io::ErrorKind::FileTooLarge`]).
pub(crate) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    require_regular(path)?;
    let mut bytes = Vec::new();
    File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        let error = format!("it is longer than {} MiB", LIMIT >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
    }
    Ok(bytes)
}

/// The text that the file holds.
///
/// # Errors
/// As those of [`bytes`]; [`io::ErrorKind::InvalidData`] if it is not UTF-8.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    String::from_utf8(bytes(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// That this is a regular file, or a link to one. Nothing is opened for that.
///
/// # Errors
/// If it cannot be looked at; [`io::ErrorKind::IsADirectory`]; [`io::ErrorKind::InvalidInput`] for a pipe, a socket or a device.
pub(crate) fn require_regular(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if metadata.is_file() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe, a socket or a device, and no regular file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "text").unwrap();
        assert_eq!(text(&path).unwrap(), "text");
        // Sparse: it takes no room.
        File::create(&path).unwrap().set_len(LIMIT).unwrap();
        assert_eq!(bytes(&path).unwrap().len() as u64, LIMIT);
        File::create(&path).unwrap().set_len(LIMIT + 1).unwrap();
        let error = bytes(&path).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::FileTooLarge, "it is longer than 16 MiB".into()));
        assert_eq!(bytes(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(bytes(&folder.path().join("gone")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_and_a_device_are_no_files() {
        assert_eq!(bytes(Path::new("/dev/zero")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(text(&path).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
