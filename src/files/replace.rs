//! Replaces a file atomically: a reader sees the old file or the new one, and a failure leaves the old one.

use std::fs::{self, File, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::os;

/// The permissions of a new file.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// As the umask says.
    Umask,
    /// Mode 644, independent of the umask: a container reads it as another user.
    Readable,
    /// Mode 755, independent of the umask: it goes into an image.
    Program,
    /// As it was, with a file that is there.
    As(Permissions),
}

/// A file that is written and not in its place yet. Dropped, it is removed.
pub(crate) struct Staged {
    file: NamedTempFile,
    place: PathBuf,
}

impl Staged {
    /// Writes a file beside its place, under an unpredictable name; a link in the place is not followed.
    ///
    /// # Errors
    /// If the disk does not let us; there is no new file then.
    pub(crate) fn new(
        place: &Path,
        mode: &Mode,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<Staged> {
        let folder = place.parent().unwrap_or(Path::new("."));
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{name}.");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix);
        if let (Mode::Umask, Some(permissions)) = (mode, os::with_mode(0o666)) {
            builder.permissions(permissions);
        }
        let mut file = builder.tempfile_in(folder)?;
        write(file.as_file_mut())?;
        set_mode(file.as_file(), mode)?;
        Ok(Staged { file, place: place.to_owned() })
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// If the disk does not let us; what was there is there still.
    pub(crate) fn commit(self) -> io::Result<()> {
        self.file.persist(&self.place).map(drop).map_err(|error| error.error)
    }
}

fn set_mode(file: &File, mode: &Mode) -> io::Result<()> {
    let mode = match mode {
        Mode::Umask => return Ok(()),
        Mode::Readable => 0o644,
        Mode::Program => 0o755,
        Mode::As(permissions) => return file.set_permissions(permissions.clone()),
    };
    os::with_mode(mode).map_or(Ok(()), |permissions| file.set_permissions(permissions))
}

/// Creates a directory and its missing parents, with mode 755, independent of the umask.
///
/// # Errors
/// If the disk does not let us.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    for folder in missing.into_iter().rev() {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            // Another start has been faster.
            Err(_) => {}
            Ok(()) => os::with_mode(0o755).map_or(Ok(()), |permissions| fs::set_permissions(folder, permissions))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    use std::io::Write as _;
    #[cfg(unix)]
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, place) = (folder.path().join("theirs"), folder.path().join("place"));
        fs::write(&theirs, "theirs").unwrap();
        symlink(&theirs, &place).unwrap();
        Staged::new(&place, &Mode::Program, |file| file.write_all(b"ours")).unwrap().commit().unwrap();
        assert_eq!((fs::read(&theirs).unwrap(), fs::read(&place).unwrap()), (b"theirs".to_vec(), b"ours".to_vec()));
        assert_eq!(fs::symlink_metadata(&place).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_failed_write_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        let failed = Staged::new(&place, &Mode::Readable, |_| Err(io::ErrorKind::StorageFull.into()));
        assert!(failed.is_err() && fs::read_dir(folder.path()).unwrap().count() == 0);
    }
}
