//! Which files are watched, and what counts as a change.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::workspace::{Package, Workspace};

/// A workspace with the packages `api`, which has been built, and `lib`.
fn workspace() -> (TempDir, Workspace, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for (path, text) in [
        ("Cargo.toml", ""),
        (".gitignore", "ignored\n"),
        ("api/Cargo.toml", ""),
        ("api/src/main.rs", "fn main() {}"),
        ("api/notes.txt", ""),
        ("lib/Cargo.toml", ""),
        ("lib/build.rs", ""),
        ("lib/src/lib.rs", ""),
        ("lib/proto/a.proto", ""),
        ("lib/ignored/file", ""),
        ("lib/.hidden", ""),
        ("lib/src/lib.rs~", ""),
        ("target/debug/api", "binary"),
        ("target/debug/build/out/generated.rs", ""),
        (".stagecraft/dev/compose.yaml", ""),
        (".stagecraft/dev/.env", ""),
        (".stagecraft/dev/images/api.json", ""),
    ] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }
    let sources = ["api/src/main.rs", "lib/src/lib.rs", "target/debug/build/out/generated.rs"];
    let read: Vec<String> = sources.iter().map(|source| root.join(source).display().to_string()).collect();
    fs::write(root.join("target/debug/api.d"), format!("api: {}\n", read.join(" "))).unwrap();
    let mut workspace = Workspace::at(root);
    workspace.target_dir = root.join("target");
    let package = |name: &str| Package { manifest_path: root.join(name).join("Cargo.toml"), ..Package::default() };
    workspace.packages = ["api", "lib"].map(package).to_vec();
    let binary = root.join("target/debug/api");
    (dir, workspace, binary)
}

/// From the root, with `/` on every system.
fn names(files: BTreeSet<PathBuf>, root: &Path) -> Vec<String> {
    let name = |file: &PathBuf| file.strip_prefix(root).unwrap().display().to_string().replace('\\', "/");
    files.iter().map(name).collect()
}

#[test]
fn what_cargo_has_read_is_watched_and_packages_with_a_build_script_whole() {
    let (dir, workspace, binary) = workspace();
    let set = FileSet::of(&workspace, &[binary], true);
    let files = names(set.files(), dir.path());
    for file in [
        "Cargo.toml",
        "Cargo.lock",
        "rust-toolchain.toml",
        ".cargo/config.toml",
        "api/Cargo.toml",
        "api/src/main.rs",
        "lib/src/lib.rs",
        "lib/proto/a.proto",
        "lib/build.rs",
        ".stagecraft/dev/compose.yaml",
        ".stagecraft/dev/.env",
    ] {
        assert!(files.iter().any(|it| it == file), "{file} is not in {files:?}");
    }
    for file in ["api/notes.txt", "lib/ignored/file", "lib/.hidden", "lib/src/lib.rs~"] {
        assert!(!files.iter().any(|it| it == file), "{file} is in {files:?}");
    }
    assert!(!files.iter().any(|it| it.starts_with("target") || it.contains("images")), "{files:?}");
    let root = |file: &str| dir.path().join(file);
    assert!(set.is_plan(&root("api/Cargo.toml")) && set.is_plan(&root(".stagecraft/dev/.env")));
    assert!(!set.is_plan(&root("api/src/main.rs")) && !set.is_plan(&root("Cargo.lock")));
}

/// The error may be that a file is missing, which nothing has read.
#[test]
fn after_a_failed_build_packages_are_watched_whole() {
    let (dir, workspace, binary) = workspace();
    let whole = |set: FileSet| names(set.files(), dir.path()).contains(&"api/notes.txt".to_string());
    assert!(whole(FileSet::of(&workspace, std::slice::from_ref(&binary), false)));
    // Also where nothing is known of it.
    fs::remove_file(binary.with_extension("d")).unwrap();
    assert!(whole(FileSet::of(&workspace, &[binary], true)));
}

#[test]
fn a_change_is_one_of_contents() {
    let (dir, workspace, binary) = workspace();
    let set = FileSet::of(&workspace, &[binary], true);
    let first = Snapshot::take(&set, &Snapshot::default());
    let main = dir.path().join("api/src/main.rs");
    fs::write(&main, "fn main() {}").unwrap();
    let later = std::time::SystemTime::now() + Duration::from_secs(10);
    fs::File::open(&main).unwrap().set_modified(later).unwrap();
    let touched = Snapshot::take(&set, &first);
    assert!(touched.changes(&first).is_empty(), "another time alone is none");
    fs::write(&main, "fn main() {;}").unwrap();
    let new = dir.path().join("lib/proto/b.proto");
    fs::write(&new, "").unwrap();
    let old = dir.path().join("lib/proto/a.proto");
    fs::remove_file(&old).unwrap();
    let changed = Snapshot::take(&set, &touched);
    let expected = BTreeSet::from([main.clone(), new, old]);
    assert_eq!(changed.changes(&first).into_iter().collect::<BTreeSet<_>>(), expected);
    // What was looked at is no change any more, but for what is taken back.
    assert!(changed.changes(&changed).is_empty());
    let back = changed.clone().with(std::slice::from_ref(&main), &first);
    assert_eq!(changed.changes(&back), [main]);
}

#[test]
fn a_change_in_a_watched_directory_wakes() {
    let (dir, workspace, binary) = workspace();
    let (sender, woken) = mpsc::channel();
    let mut wake = Wake::new(move || {
        let _ = sender.send(());
    });
    let set = FileSet::of(&workspace, &[binary], true);
    if wake.watch(&set).is_err() {
        // The limits of this machine are reached; then nothing can be said here.
        return;
    }
    fs::write(dir.path().join("api/src/main.rs"), "fn main() {;}").unwrap();
    woken.recv_timeout(Duration::from_secs(60)).unwrap();
}
