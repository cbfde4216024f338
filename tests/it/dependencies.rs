//! What the program is made of is what `deny.toml` allows, also where `cargo deny` is not installed: it takes minutes to
//! build. The advisories of the day are left to it, and to CI.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};
use toml_edit::{DocumentMut, Item};

use crate::spec::{read, root};

/// The crates of the program on this machine, by id; what only builds or tests it is not among them.
fn crates() -> Vec<Value> {
    let options = ["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", &host()];
    let output = Command::new(env!("CARGO")).args(options).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let nodes: BTreeMap<String, &Value> = nodes.iter().map(|node| (text(&node["id"]), node)).collect();
    let mut found = BTreeSet::new();
    let mut next = vec![text(&metadata["resolve"]["root"])];
    while let Some(id) = next.pop() {
        let normal = |dep: &&Value| dep["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null());
        let deps = nodes[&id]["deps"].as_array().unwrap().iter().filter(normal);
        next.extend(deps.map(|dep| text(&dep["pkg"])).filter(|dep| !found.contains(dep)));
        found.insert(id);
    }
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().filter(|package| found.contains(package["id"].as_str().unwrap())).cloned().collect()
}

fn host() -> String {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(rustc.stdout).unwrap();
    version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_string()
}

fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap()
}

/// What stands in this list of `deny.toml`; of a table its key `crate`.
fn listed(deny: &DocumentMut, table: &str, key: &str) -> Vec<String> {
    let list = deny[table][key].as_array().unwrap_or_else(|| panic!("deny.toml has no {table}.{key}"));
    let text = |value: &toml_edit::Value| match value.as_inline_table() {
        Some(table) => table["crate"].as_str().map(str::to_string),
        None => value.as_str().map(str::to_string),
    };
    list.iter().map(|value| text(value).unwrap()).collect()
}

#[test]
fn all_dependencies_are_allowed() {
    let deny: DocumentMut = read("deny.toml").parse().unwrap();
    let allowed = listed(&deny, "licenses", "allow");
    let allowed: Vec<Licensee> = allowed.iter().map(|id| Licensee::parse(id).unwrap()).collect();
    let banned = listed(&deny, "bans", "deny");
    let crates = crates();
    for package in &crates {
        let licence = package["license"].as_str().unwrap_or_else(|| panic!("{} names no licence", name(package)));
        // Some old crates say `MIT/Apache-2.0`.
        let licence = Expression::parse_mode(licence, ParseMode::LAX).unwrap();
        let is_allowed = licence.evaluate(|asked| allowed.iter().any(|licensee| licensee.satisfies(asked)));
        assert!(is_allowed, "{} is under {licence}", name(package));
        assert!(!banned.contains(&name(package).to_string()), "deny.toml bans {}", name(package));
        let source = package["source"].as_str();
        assert!(source.is_none_or(|source| source.starts_with("registry+")), "{} is from {source:?}", name(package));
    }
}

#[test]
fn no_crate_is_there_twice() {
    let deny: DocumentMut = read("deny.toml").parse().unwrap();
    assert_eq!(deny["bans"]["multiple-versions"].as_str(), Some("deny"));
    let crates = crates();
    let names: BTreeSet<&str> = crates.iter().map(name).collect();
    let twice: Vec<&&str> =
        names.iter().filter(|one| crates.iter().filter(|package| name(package) == **one).count() > 1).collect();
    assert!(twice.is_empty(), "more than one version of {twice:?}");
}

#[test]
fn no_dependency_is_of_any_version() {
    let manifest: DocumentMut = read("Cargo.toml").parse().unwrap();
    for table in ["dependencies", "dev-dependencies"] {
        for (name, wanted) in manifest[table].as_table().unwrap() {
            let version = wanted.as_str().or_else(|| wanted.get("version").and_then(Item::as_str));
            assert!(version.is_some_and(|version| !version.contains('*')), "{table} wants any version of {name}");
        }
    }
}
