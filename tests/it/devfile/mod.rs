//! The dev files that are made from Cargo.toml.
//!
//! Each folder of `fixtures/devfile` holds a workspace, `in`, and the dev dir that is to be made from it, `out`, byte for
//! byte. `BLESS=1 cargo test --test it devfile` writes the `out` of all of them anew: read the diff before it is
//! committed. A `.gitignore` is called `gitignore` in there: Git would obey it, and not see the files that it names.

mod contexts;
mod order;
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cargo_stagecraft::internals::command::System;
use cargo_stagecraft::internals::devfile::{self, Topology};
use cargo_stagecraft::internals::workspace::{BrokenMember, ManifestOptions, Workspace};
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::{Map, Value};
use tempfile::TempDir;
use toml_edit::{DocumentMut, InlineTable, Item};

use crate::support::{COMPOSE_FILE, Finished, Sandbox};

const DEV_DIR: &str = ".stagecraft/dev";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/devfile")
}

/// The names of the trees, sorted.
fn trees() -> Vec<String> {
    let folders = fs::read_dir(fixtures()).unwrap();
    let mut names: Vec<String> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

/// The text of every file in a folder, by its path in there; none if there is no folder.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let Ok(entries) = fs::read_dir(next) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_string();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn write(folder: &Path, files: &BTreeMap<String, String>) {
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// What the dev dir of this tree is to hold.
fn golden(tree: &str) -> BTreeMap<String, String> {
    let name = |stored: &str| match stored.rsplit_once('/') {
        Some((folder, "gitignore")) => format!("{folder}/.gitignore"),
        None if stored == "gitignore" => ".gitignore".to_string(),
        _ => stored.to_string(),
    };
    files(&fixtures().join(tree).join("out")).into_iter().map(|(path, text)| (name(&path), text)).collect()
}

fn bless(tree: &str, made: &BTreeMap<String, String>) {
    let out = fixtures().join(tree).join("out");
    let _ = fs::remove_dir_all(&out);
    write(&out, &made.iter().map(|(path, text)| (path.replace(".gitignore", "gitignore"), text.clone())).collect());
}

/// The workspace of these files, in a folder of its own.
fn discover(files: &BTreeMap<String, String>) -> (TempDir, Workspace) {
    let dir = tempfile::Builder::new().prefix("stagecraft-").tempdir().unwrap();
    write(dir.path(), files);
    let workspace = Workspace::discover(&System, dir.path(), &ManifestOptions::default(), BrokenMember::Refuse);
    (dir, workspace.unwrap())
}

#[track_caller]
fn topology(workspace: &Workspace) -> Topology {
    devfile::plan(workspace).unwrap().expect("its manifests describe a stack")
}

#[track_caller]
fn rendered(workspace: &Workspace) -> BTreeMap<String, String> {
    devfile::render(&topology(workspace)).unwrap()
}

/// The files that are others than expected, as `diff -u` shows them.
fn differences(expected: &BTreeMap<String, String>, made: &BTreeMap<String, String>) -> String {
    let paths: BTreeSet<&String> = expected.keys().chain(made.keys()).collect();
    let text = |files: &BTreeMap<String, String>, path: &str| files.get(path).cloned().unwrap_or_default();
    let differ = paths.into_iter().filter(|path| expected.get(*path) != made.get(*path));
    differ.map(|path| devfile::diff(path, &text(expected, path), &text(made, path))).collect()
}

#[test]
fn every_tree_becomes_the_dev_files_that_stand_beside_it() {
    let mut wrong = String::new();
    for tree in trees() {
        let (_dir, workspace) = discover(&files(&fixtures().join(&tree).join("in")));
        let made = rendered(&workspace);
        if std::env::var_os("BLESS").is_some_and(|bless| bless == "1") {
            bless(&tree, &made);
        }
        let golden = golden(&tree);
        assert!(!golden.is_empty(), "{tree} has no `out`: see the head of this file");
        if golden != made {
            wrong +=
                &format!("==== fixtures/devfile/{tree}: expected (-), made (+)\n{}\n", differences(&golden, &made));
        }
    }
    assert!(wrong.is_empty(), "{wrong}`BLESS=1` takes what is made for what is expected.");
}

/// What is written is read again as the same, by another reader of YAML than Compose's; that one is asked end to end.
#[test]
fn the_generated_yaml_parses_to_the_manifests_values() {
    for tree in trees() {
        let (_dir, workspace) = discover(&files(&fixtures().join(&tree).join("in")));
        let topology = topology(&workspace);
        let read: Value = serde_yaml_ng::from_str(&rendered(&workspace)["compose.yaml"]).unwrap();
        for (service, keys) in &topology.services {
            let is_route = |key: &str| key == "labels" && topology.routes.iter().any(|route| route.service == *service);
            for (key, value) in keys.iter().filter(|(key, _)| !is_route(key)) {
                assert_eq!(read["services"][service][key], *value, "{tree}: {service}.{key}");
            }
        }
    }
}

const CRATE: &str = "[package.metadata.stagecraft.dev]\n";

const CRATE_WITH_ROUTE: &str = "[package.metadata.stagecraft.dev]\nroute = 8080\n";

const SERVICE: &str = "[workspace.metadata.stagecraft.dev.services.db]\nimage = \"db\"\n";

/// A sandbox with this tree in it and an empty dev dir.
fn sandbox(tree: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    fs::remove_dir_all(sandbox.root()).unwrap();
    write(sandbox.root(), &files(&fixtures().join(tree).join("in")));
    sandbox
}

fn dev_dir(sandbox: &Sandbox) -> BTreeMap<String, String> {
    files(&sandbox.root().join(DEV_DIR))
}

/// Of each file in the dev dir, whether it is still the same one.
fn identities(sandbox: &Sandbox) -> BTreeMap<String, (u64, i64, i64)> {
    let dev_dir = sandbox.root().join(DEV_DIR);
    let identity = |path: &str| {
        let file = fs::metadata(dev_dir.join(path)).unwrap();
        (file.ino(), file.mtime(), file.mtime_nsec())
    };
    files(&dev_dir).into_keys().map(|path| (path.clone(), identity(&path))).collect()
}

#[track_caller]
fn assert_golden(sandbox: &Sandbox, tree: &str) {
    let (golden, made) = (golden(tree), dev_dir(sandbox));
    assert!(made == golden, "{tree}: {}", differences(&golden, &made));
}

/// The manifest of the one package in there, with this table of ours or none.
fn describe(sandbox: &Sandbox, ours: &str) {
    sandbox
        .write("Cargo.toml", &format!("[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{ours}"));
    sandbox.write("src/main.rs", "fn main() {}\n");
}

/// A package that describes a stack like this, with nothing in the dev dir.
fn package(ours: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.remove(COMPOSE_FILE);
    describe(&sandbox, ours);
    sandbox
}
