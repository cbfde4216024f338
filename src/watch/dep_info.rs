//! The file that cargo writes beside each binary, with everything that the binary was built from: sources of the package and of its path
//! dependencies, files that macros include, and what build scripts name.
//!
//! Source: <https://doc.rust-lang.org/cargo/reference/build-cache.html#dep-info-files>.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What a binary was built from. None if cargo has left no such file.
pub(super) fn of(binary: &Path) -> Option<BTreeSet<PathBuf>> {
    let text = fs::read_to_string(binary.with_extension("d")).ok()?;
    Some(paths(&text).into_iter().map(|path| fold(&path)).collect())
}

/// The paths behind the first colon that ends a word. A space in a path has a backslash before it.
fn paths(text: &str) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for line in text.lines() {
        let Some((_, rest)) = line.split_once(": ") else { continue };
        let mut path = String::new();
        let mut chars = rest.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '\\' if chars.peek() == Some(&' ') => path.extend(chars.next()),
                ' ' => paths.push(std::mem::take(&mut path)),
                char => path.push(char),
            }
        }
        paths.push(path);
    }
    paths.into_iter().filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

/// The path without `..` after a directory, as macros leave it: `src/../migrations/1.sql`.
fn fold(path: &Path) -> PathBuf {
    let mut folded = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir if folded.file_name().is_some() => {
                folded.pop();
            }
            part => folded.push(part),
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_with_spaces_and_without_detours() {
        let text = "/w/target/debug/api: /w/api/src/main.rs /w/my\\ lib/src/lib.rs /w/api/src/../seed.sql\n";
        let expected = ["/w/api/src/main.rs", "/w/my lib/src/lib.rs", "/w/api/src/../seed.sql"];
        assert_eq!(paths(text), expected.map(PathBuf::from));
        assert_eq!(fold(Path::new("/w/api/src/../seed.sql")), Path::new("/w/api/seed.sql"));
        assert!(paths("").is_empty() && paths("x:\n").is_empty());
    }

    #[test]
    fn a_binary_without_such_a_file_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of(&dir.path().join("api")), None);
        fs::write(dir.path().join("api.d"), "api: src/main.rs\n").unwrap();
        assert_eq!(of(&dir.path().join("api")), Some(BTreeSet::from([PathBuf::from("src/main.rs")])));
    }
}
