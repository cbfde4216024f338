//! The build contexts of crates with a base image.

use super::*;

/// The workspace of one package with the binary `bin` and this table, and its stack.
fn with_binary(bin: &str) -> (TempDir, Workspace, Topology) {
    let manifest = format!(
        "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[[bin]]\nname = \"{bin}\"\npath = \"main.rs\"\n\
         [package.metadata.stagecraft.dev]\nbase = \"debian\"\n"
    );
    let files = [("Cargo.toml", manifest.as_str()), ("main.rs", "fn main() {}\n"), ("built", "one")];
    let (dir, workspace) = discover(&files.map(|(path, text)| (path.to_string(), text.to_string())).into());
    let topology = topology(&workspace);
    (dir, workspace, topology)
}

/// What lies in the folder, folders and all.
fn entries(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_build_context_holds_the_binary_and_nothing_else() {
    let (dir, workspace, topology) = with_binary("shop");
    let images = workspace.dev_dir().join("images");
    write(
        &images,
        &BTreeMap::from(
            ["shop/old", "shop/sub/old", "gone/bin", ".gitignore"].map(|path| (path.to_string(), String::new())),
        ),
    );
    let built = BTreeMap::from([("shop".to_string(), dir.path().join("built"))]);
    assert!(devfile::place(&workspace, &topology, &built).unwrap(), "it is new");
    assert_eq!(entries(&images), [".gitignore", "shop"].map(str::to_string).into());
    assert_eq!(entries(&images.join("shop")), ["shop".to_string()].into());

    let placed = images.join("shop/shop");
    let identity = |path: &Path| fs::metadata(path).map(|file| (file.ino(), file.mtime_nsec())).unwrap();
    let before = identity(&placed);
    assert!(!devfile::place(&workspace, &topology, &built).unwrap(), "nothing has changed");
    assert_eq!(identity(&placed), before);
    // As long as it was before, and the same up to the last byte, which is in another piece than the first.
    let of = |last: &str| format!("{}{last}", "x".repeat(100_000));
    for (text, changes) in [(of("1"), true), (of("1"), false), (of("2"), true), (of(""), true)] {
        fs::write(dir.path().join("built"), &text).unwrap();
        assert_eq!(devfile::place(&workspace, &topology, &built).unwrap(), changes);
        assert!(fs::read_to_string(&placed).unwrap() == text);
    }
    // One that was not to be built this time stays.
    assert!(!devfile::place(&workspace, &topology, &BTreeMap::new()).unwrap());
    assert!(placed.exists());
}

#[test]
fn a_binary_that_cargo_has_not_made_is_an_error() {
    let (dir, workspace, topology) = with_binary("shop");
    let built = BTreeMap::from([("shop".to_string(), dir.path().join("nowhere"))]);
    let error = devfile::place(&workspace, &topology, &built).unwrap_err();
    assert!(error.to_string().starts_with("cargo did not build "), "{error}");
}

#[test]
fn the_keys_of_a_service_are_sorted_and_each_stands_there_once() {
    let keys = devfile::service_keys();
    assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    assert!(keys.contains(&"image") && !keys.contains(&"route"));
}

#[cfg(unix)]
#[test]
fn nothing_behind_a_link_is_touched() {
    use std::os::unix::fs::symlink;

    let refused = |link: &str, args: &[&str]| {
        let sandbox = package(CRATE_WITH_ROUTE);
        if link.ends_with("/shop") {
            // In a folder that is ours.
            sandbox.run(["dev", "files"]).exits(0);
        }
        let theirs = sandbox.outside().join("theirs");
        fs::create_dir_all(&theirs).expect("a folder");
        fs::write(theirs.join("file"), "precious").expect("a file");
        let link_path = sandbox.root().join(link);
        fs::create_dir_all(link_path.parent().expect("a folder")).expect("folders");
        let _ = fs::remove_dir_all(&link_path);
        symlink(&theirs, &link_path).expect("a link");
        let finished = sandbox.run(args).exits(3);
        assert!(finished.stderr.contains(&format!("error: {link} is a symbolic link")), "{}", finished.stderr);
        let left: Vec<_> =
            fs::read_dir(&theirs).expect("the folder").map(|it| it.expect("a file").file_name()).collect();
        assert_eq!(left, ["file"], "{link}");
    };
    for link in [".stagecraft", ".stagecraft/dev", ".stagecraft/dev/images", ".stagecraft/dev/traefik"] {
        refused(link, &["dev", "files"]);
        refused(link, &["dev", "--detach"]);
    }
    refused(".stagecraft/dev/images/shop", &["dev", "--detach"]);
}
