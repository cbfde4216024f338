//! Directories of ours in cargo's target directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Tells programs that make backups, and cargo, what the target directory is: <https://bford.info/cachedir/>.
const CACHE_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n";

/// Makes a directory in the target directory, which may not exist before the first build.
///
/// # Errors
/// If the disk does not let us.
pub(crate) fn make_folder(target_dir: &Path, folder: &str) -> io::Result<PathBuf> {
    if !target_dir.exists() {
        fs::create_dir_all(target_dir)?;
        fs::write(target_dir.join("CACHEDIR.TAG"), CACHE_TAG)?;
    }
    let folder = target_dir.join(folder);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
