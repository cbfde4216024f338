//! The dev files that are made from Cargo.toml.
//!
//! Each folder of `fixtures/devfile` holds a workspace, `in`, and the dev dir that is to be made from it, `out`, byte for
//! byte. `BLESS=1 cargo test --test it devfile` writes the `out` of all of them anew: read the diff before it is
//! committed. A `.gitignore` is called `gitignore` in there: Git would obey it, and not see the files that it names.

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

// ------------------------------------------------------------------------------------------------ the trees

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
fn what_the_manifests_say_is_what_a_reader_of_yaml_finds() {
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

// ------------------------------------------------------------------------------------------------ the order of things

/// A value with the keys of its tables in another order, where a table keeps any.
fn shuffled(value: &Value, random: &mut fastrand::Rng) -> Value {
    match value {
        Value::Object(table) => {
            let mut entries: Vec<_> = table.iter().map(|(key, value)| (key.clone(), shuffled(value, random))).collect();
            random.shuffle(&mut entries);
            Value::Object(Map::from_iter(entries))
        }
        Value::Array(all) => all.iter().map(|value| shuffled(value, random)).collect(),
        other => other.clone(),
    }
}

/// A value of a manifest with its keys in another order, and written in one line.
fn shuffled_toml(value: toml_edit::Value, random: &mut fastrand::Rng) -> toml_edit::Value {
    let mut value = match value {
        toml_edit::Value::InlineTable(table) => {
            let mut entries: Vec<(String, toml_edit::Value)> =
                table.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
            random.shuffle(&mut entries);
            let mut shuffled = InlineTable::new();
            for (key, value) in entries {
                let value = match (key.as_str(), value) {
                    ("members", toml_edit::Value::Array(members)) => {
                        let mut members: Vec<_> = members.into_iter().collect();
                        random.shuffle(&mut members);
                        toml_edit::Value::Array(members.into_iter().collect())
                    }
                    (_, value) => shuffled_toml(value, random),
                };
                shuffled.insert(key, value);
            }
            toml_edit::Value::InlineTable(shuffled)
        }
        toml_edit::Value::Array(all) => {
            all.into_iter().map(|value| shuffled_toml(value, random)).collect::<toml_edit::Array>().into()
        }
        other => other,
    };
    // Comments and line ends.
    value.decor_mut().clear();
    value
}

fn shuffled_manifest(text: &str, random: &mut fastrand::Rng) -> String {
    let document: DocumentMut = text.parse().unwrap();
    let root = Item::Table(document.as_table().clone()).into_value().unwrap();
    let toml_edit::Value::InlineTable(root) = shuffled_toml(root, random) else { unreachable!("a table stays one") };
    root.iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
}

#[test]
fn the_order_of_members_and_keys_in_the_manifests_is_nobodys_business() {
    for tree in trees() {
        let written = files(&fixtures().join(&tree).join("in"));
        for seed in 0..4 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut files = written.clone();
            for (_, text) in files.iter_mut().filter(|(path, _)| path.ends_with("Cargo.toml")) {
                *text = shuffled_manifest(text, &mut random);
            }
            assert_ne!(files, written, "they were shuffled");
            let (_dir, workspace) = discover(&files);
            let made = rendered(&workspace);
            let golden = golden(&tree);
            assert!(made == golden, "{tree}, seed {seed}: {}\n{files:#?}", differences(&golden, &made));
        }
    }
}

#[test]
fn the_order_in_which_cargo_tells_of_packages_and_keys_is_nobodys_business() {
    let trees: Vec<_> = trees()
        .into_iter()
        .map(|tree| (discover(&files(&fixtures().join(&tree).join("in"))).1, golden(&tree)))
        .collect();
    proptest!(Config { failure_persistence: None, ..Config::with_cases(64) }, |(tree in 0..trees.len(), seed: u64)| {
        let (workspace, golden) = &trees[tree];
        let mut random = fastrand::Rng::with_seed(seed);
        let mut workspace = workspace.clone();
        random.shuffle(&mut workspace.packages);
        workspace.metadata = shuffled(&workspace.metadata, &mut random);
        for package in &mut workspace.packages {
            package.metadata = shuffled(&package.metadata, &mut random);
            random.shuffle(&mut package.binaries);
            random.shuffle(&mut package.features);
        }
        let made = rendered(&workspace);
        prop_assert!(made == *golden, "{}", differences(golden, &made));
    });
}

// ------------------------------------------------------------------------------------------------ the program

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

const CRATE: &str = "[package.metadata.stagecraft.dev]\n";
const CRATE_WITH_ROUTE: &str = "[package.metadata.stagecraft.dev]\nroute = 8080\n";
const SERVICE: &str = "[workspace.metadata.stagecraft.dev.services.db]\nimage = \"db\"\n";

/// A package that describes a stack like this, with nothing in the dev dir.
fn package(ours: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.remove(COMPOSE_FILE);
    describe(&sandbox, ours);
    sandbox
}

#[test]
fn language_and_time_zone_change_nothing() {
    for tree in trees() {
        for (language, zone) in [("C", "UTC"), ("de_DE.UTF-8", "Asia/Kathmandu"), ("tr_TR.UTF-8", "America/St_Johns")] {
            let sandbox = sandbox(&tree);
            let files = sandbox.stagecraft(["stagecraft", "dev", "files"]);
            files.env("LC_ALL", language).env("LANG", language).env("TZ", zone).run().exits(0);
            assert_golden(&sandbox, &tree);
        }
    }
}

#[test]
fn a_second_run_touches_nothing() {
    for tree in trees() {
        let sandbox = sandbox(&tree);
        let first = sandbox.run(["dev", "files"]).exits(0);
        for path in golden(&tree).into_keys() {
            assert!(first.stderr.contains(&format!("Writing {DEV_DIR}/{path}\n")), "{path}: {}", first.stderr);
        }
        let before = identities(&sandbox);
        let second = sandbox.run(["dev", "files"]).exits(0).does_not_say("Writing");
        second.says("Fresh .stagecraft/dev is what Cargo.toml describes");
        assert_eq!(identities(&sandbox), before, "{tree}");
    }
}

#[test]
fn what_has_changed_is_replaced_and_nothing_else() {
    let sandbox = package(CRATE_WITH_ROUTE);
    sandbox.run(["dev", "files"]).exits(0);
    let before = identities(&sandbox);
    describe(&sandbox, &CRATE_WITH_ROUTE.replace("8080", "8081"));
    // The router leads elsewhere; what Compose reads stays as it is, so no container is recreated.
    sandbox.run(["dev", "files"]).exits(0).says("Writing .stagecraft/dev/traefik/dynamic.yaml");
    let after = identities(&sandbox);
    let changed: Vec<&String> = before.keys().filter(|path| before[*path] != after[*path]).collect();
    assert_eq!(changed, ["traefik/dynamic.yaml"]);
    assert_eq!(after.len(), before.len());
    assert!(dev_dir(&sandbox)["traefik/dynamic.yaml"].contains("http://shop:8081"));
}

#[test]
fn a_compose_file_of_somebody_else_is_left_as_it_is() {
    for theirs in
        ["services: {}\n", "", " # Generated by cargo-stagecraft\n", "\u{feff}# Generated by cargo-stagecraft\n"]
    {
        let sandbox = package(CRATE_WITH_ROUTE);
        sandbox.write(COMPOSE_FILE, theirs);
        let before = identities(&sandbox);
        for args in [&["dev", "files"][..], &["dev", "files", "--check"], &["dev"], &["dev", "--dry-run"]] {
            let refused = sandbox.run(args).exits(3);
            refused
                .says(".stagecraft/dev/compose.yaml was written by somebody else")
                .says("help: move its services to");
        }
        // Nor has anything been written beside it.
        assert_eq!(identities(&sandbox), before);
        assert_eq!(dev_dir(&sandbox), BTreeMap::from([("compose.yaml".to_string(), theirs.to_string())]));
        assert!(sandbox.engine.calls().is_empty());
    }
}

#[test]
fn a_compose_file_that_is_no_text_is_somebody_elses() {
    let sandbox = package(CRATE);
    let path = sandbox.root().join(COMPOSE_FILE);
    fs::write(&path, b"\xff\xfe\x00").unwrap();
    sandbox.run(["dev", "files"]).exits(3).says("was written by somebody else");
    assert_eq!(fs::read(&path).unwrap(), b"\xff\xfe\x00");
}

#[test]
fn files_of_traefik_that_somebody_else_wrote_are_left_as_they_are() {
    for name in ["traefik/dynamic.yaml", "traefik/traefik.yaml"] {
        let sandbox = package(CRATE_WITH_ROUTE);
        sandbox.write(&format!("{DEV_DIR}/{name}"), "http: {}\n");
        let refused = sandbox.run(["dev", "files"]).exits(3);
        refused.says(&format!("{DEV_DIR}/{name} was written by somebody else")).says("help: move it away");
        assert_eq!(dev_dir(&sandbox), BTreeMap::from([(name.to_string(), "http: {}\n".to_string())]));
    }
}

#[test]
fn what_git_ignores_is_for_its_author_to_say() {
    let sandbox = package(CRATE);
    sandbox.write(&format!("{DEV_DIR}/.gitignore"), "*\n");
    sandbox.run(["dev", "files"]).exits(0).does_not_say("dev/.gitignore");
    assert_eq!(dev_dir(&sandbox)[".gitignore"], "*\n");
    sandbox.run(["dev", "files", "--check"]).exits(0);
    describe(&sandbox, "");
    sandbox.run(["dev", "files"]).exits(0);
    assert_eq!(dev_dir(&sandbox), BTreeMap::from([(".gitignore".to_string(), "*\n".to_string())]));
}

#[test]
fn images_of_somebody_else_are_left_where_they_are() {
    for theirs in ["images/logo.svg", "images/sub/.gitignore", "images"] {
        let sandbox = package(CRATE);
        sandbox.write(&format!("{DEV_DIR}/{theirs}"), "theirs\n");
        let refused = sandbox.run(["dev", "files"]).exits(3);
        refused.says(".stagecraft/dev/images was written by somebody else").says("help: move it away");
        assert_eq!(dev_dir(&sandbox), BTreeMap::from([(theirs.to_string(), "theirs\n".to_string())]));
    }
    // With a `.gitignore` of their own they are no more ours.
    let sandbox = package(CRATE);
    sandbox.write(&format!("{DEV_DIR}/images/.gitignore"), "*\n");
    sandbox.run(["dev", "files"]).exits(3).says("images/.gitignore was written by somebody else");
    describe(&sandbox, "");
    sandbox.run(["dev", "files"]).exits(3).says("describes a dev stack");
    assert_eq!(dev_dir(&sandbox), BTreeMap::from([("images/.gitignore".to_string(), "*\n".to_string())]));
}

#[test]
fn what_is_described_no_more_is_removed() {
    let sandbox = package(CRATE_WITH_ROUTE);
    let paths = |sandbox: &Sandbox| dev_dir(sandbox).into_keys().collect::<Vec<_>>();
    sandbox.run(["dev", "files"]).exits(0);
    let all = [".gitignore", "compose.yaml", "images/.gitignore", "traefik/dynamic.yaml", "traefik/traefik.yaml"];
    assert_eq!(paths(&sandbox), all);

    describe(&sandbox, CRATE);
    sandbox.run(["dev", "files"]).exits(0).says("Removing .stagecraft/dev/traefik/dynamic.yaml");
    assert_eq!(paths(&sandbox), all[..3]);
    assert!(!sandbox.root().join(DEV_DIR).join("traefik").exists());

    // What has been built goes with it.
    sandbox.write(&format!("{DEV_DIR}/images/shop/shop"), "a program");
    describe(&sandbox, SERVICE);
    sandbox.run(["dev", "files"]).exits(0).says("Removing .stagecraft/dev/images/.gitignore");
    assert_eq!(paths(&sandbox), all[..2]);
    assert!(!sandbox.root().join(DEV_DIR).join("images").exists());

    describe(&sandbox, "");
    sandbox.run(["dev", "files"]).exits(0).says("Removing .stagecraft/dev/compose.yaml");
    assert!(paths(&sandbox).is_empty());
    sandbox.run(["dev", "files"]).exits(3).says("help: `cargo stagecraft init` begins one");
}

#[test]
fn what_lies_beside_our_files_stays() {
    let sandbox = package(CRATE_WITH_ROUTE);
    let theirs = ["traefik/tls.yaml", ".env", "compose.override.yaml", "seed.sql"];
    for name in theirs {
        sandbox.write(&format!("{DEV_DIR}/{name}"), "theirs\n");
    }
    sandbox.run(["dev", "files"]).exits(0);
    describe(&sandbox, "");
    sandbox.run(["dev", "files"]).exits(0);
    assert_eq!(dev_dir(&sandbox), theirs.map(|name| (name.to_string(), "theirs\n".to_string())).into());
}

#[test]
fn a_compose_file_written_by_hand_stays_where_no_manifest_describes_a_stack() {
    let sandbox = Sandbox::new();
    let before = identities(&sandbox);
    sandbox.run(["dev", "files"]).exits(3).says("no Cargo.toml of [ROOT] describes a dev stack");
    sandbox.run(["dev", "--detach"]).exits(0);
    assert_eq!(identities(&sandbox), before);
}

#[test]
fn a_wrong_table_is_said_before_anything_is_written() {
    let sandbox = package("[package.metadata.stagecraft.dev]\nroute = 70000\n");
    for args in [&["dev", "files"][..], &["dev", "files", "--check"], &["dev"], &["dev", "--dry-run"]] {
        let refused = sandbox.run(args).exits(3);
        refused.says("Cargo.toml: [package.metadata.stagecraft.dev] `route` is 70000, and ports are from 1 to 65535");
    }
    assert!(dev_dir(&sandbox).is_empty());
    assert!(sandbox.engine.calls().is_empty());
}

fn messages(finished: &Finished) -> Vec<Value> {
    finished.stdout().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The path, what is done with it, and whether it has been, of each message about a file.
fn of_files(finished: &Finished) -> Vec<(String, String, bool)> {
    let messages = messages(finished);
    let (last, files) = messages.split_last().unwrap();
    assert_eq!(last["reason"], "finished");
    let word = |message: &Value, key: &str| message[key].as_str().unwrap().to_string();
    let one = |message: &Value| {
        assert_eq!(message["reason"], "dev-file", "{message}");
        (word(message, "path"), word(message, "change"), message["done"].as_bool().unwrap())
    };
    files.iter().map(one).collect()
}

#[test]
fn a_check_tells_by_its_exit_code_and_writes_nothing() {
    let sandbox = package(CRATE);
    let paths = [".gitignore", "compose.yaml", "images/.gitignore"];
    let stale = sandbox.run(["dev", "files", "--check"]).exits(1);
    for path in paths {
        assert!(
            stale.stderr.contains(&format!("{DEV_DIR}/{path} is not what Cargo.toml describes")),
            "{}",
            stale.stderr
        );
    }
    stale.says("help: `cargo stagecraft dev files` brings them up to date");
    assert!(!sandbox.root().join(DEV_DIR).join("compose.yaml").exists());
    sandbox.run(["dev", "files"]).exits(0);
    assert!(sandbox.run(["dev", "files", "--check"]).exits(0).stderr.is_empty());

    let compose = dev_dir(&sandbox)["compose.yaml"].clone();
    sandbox.write(COMPOSE_FILE, &format!("{compose}# by hand\n"));
    let edited = sandbox.run(["dev", "files", "--check"]).exits(1).does_not_say("gitignore");
    edited.says(".stagecraft/dev/compose.yaml is not what Cargo.toml describes");
    assert!(dev_dir(&sandbox)["compose.yaml"].ends_with("# by hand\n"));
    sandbox.run(["dev", "files"]).exits(0);
    assert_eq!(dev_dir(&sandbox)["compose.yaml"], compose);

    describe(&sandbox, "");
    sandbox.run(["dev", "files", "--check"]).exits(1).says("compose.yaml is described by no Cargo.toml any more");
    assert_eq!(dev_dir(&sandbox)["compose.yaml"], compose);
}

#[test]
fn programs_are_told_of_each_file_in_a_line_of_json() {
    let sandbox = package(CRATE);
    let json = |args: &[&str], code: i32| sandbox.run([args, &["--message-format", "json"]].concat()).exits(code);
    let expected = |change: &str, done: bool| -> Vec<(String, String, bool)> {
        let paths = [".gitignore", "compose.yaml", "images/.gitignore"];
        paths.map(|path| (format!("{DEV_DIR}/{path}"), change.to_string(), done)).to_vec()
    };
    assert_eq!(of_files(&json(&["dev", "files", "--check"], 1)), expected("write", false));
    assert_eq!(of_files(&json(&["dev", "files"], 0)), expected("write", true));
    assert_eq!(of_files(&json(&["dev", "files"], 0)), []);
    assert_eq!(of_files(&json(&["dev", "files", "--check"], 0)), []);
    describe(&sandbox, "");
    assert_eq!(of_files(&json(&["dev", "files", "--check"], 1)), expected("remove", false));
    assert_eq!(of_files(&json(&["dev", "files"], 0)), expected("remove", true));
    let failed = json(&["dev", "files"], 3);
    let reasons: Vec<Value> = messages(&failed).into_iter().map(|message| message["reason"].clone()).collect();
    assert_eq!(reasons, ["error", "finished"]);
}

// ------------------------------------------------------------------------------------------------ the build contexts

/// The workspace of one package with the binary `bin` and this table, and its stack.
fn with_binary(bin: &str, volumes: &[&str]) -> (TempDir, Workspace, Topology) {
    let manifest = format!(
        "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[[bin]]\nname = \"{bin}\"\npath = \"main.rs\"\n\
         [package.metadata.stagecraft.dev]\nvolumes = {volumes:?}\n"
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
    let (dir, workspace, topology) = with_binary("shop", &[]);
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
    let (dir, workspace, topology) = with_binary("shop", &[]);
    let built = BTreeMap::from([("shop".to_string(), dir.path().join("nowhere"))]);
    let error = devfile::place(&workspace, &topology, &built).unwrap_err();
    assert!(error.to_string().starts_with("cargo has not made "), "{error}");
}

/// Also where the binary has what could be that folder's name.
#[test]
fn the_mount_point_of_a_volume_is_made_of_an_empty_folder() {
    for bin in ["shop", "empty"] {
        let (dir, workspace, topology) = with_binary(bin, &["data:/data", "/srv", "./x:/x"]);
        let built = BTreeMap::from([("shop".to_string(), dir.path().join("built"))]);
        devfile::place(&workspace, &topology, &built).unwrap();
        let context = workspace.dev_dir().join("images/shop");
        let compose: Value = serde_yaml_ng::from_str(&devfile::render(&topology).unwrap()["compose.yaml"]).unwrap();
        assert_eq!(compose["services"]["shop"]["build"]["context"], "./images/shop");
        let dockerfile = compose["services"]["shop"]["build"]["dockerfile_inline"].as_str().unwrap();
        let copied = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY "));
        let sources: Vec<&str> = copied
            .map(|line| line.split(' ').find(|word| !word.starts_with("--")).unwrap().trim_end_matches('/'))
            .collect();
        assert_eq!(sources.len(), 3, "{dockerfile}");
        assert_eq!(sources.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), entries(&context));
        assert!(context.join(bin).is_file() && entries(&context.join(sources[0])).is_empty(), "{dockerfile}");
    }
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
