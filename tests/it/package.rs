//! The package, and what is made of it at a release.

use std::collections::BTreeSet;
use std::process::Command;

use serde_yaml_ng::Value;
use toml_edit::DocumentMut;

use crate::spec::{files, read, root};

fn manifest() -> DocumentMut {
    read("Cargo.toml").parse().unwrap()
}

fn workflow(name: &str) -> Value {
    serde_yaml_ng::from_str(&read(format!(".github/workflows/{name}.yml"))).unwrap()
}

/// The jobs of a workflow.
fn jobs(workflow: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let jobs = workflow["jobs"].as_mapping().unwrap();
    jobs.iter().map(|(name, job)| (name.as_str().unwrap(), job))
}

/// What the steps of a job have under this key.
fn steps<'a>(job: &'a Value, key: &'a str) -> impl Iterator<Item = &'a str> {
    job["steps"].as_sequence().unwrap().iter().filter_map(move |step| step.get(key)?.as_str())
}

#[test]
fn the_package_has_the_program_and_its_pages_and_nothing_else() {
    let list = ["package", "--list", "--offline", "--allow-dirty"];
    let output = Command::new(env!("CARGO")).args(list).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).unwrap();
    let listed: BTreeSet<&str> = listed.lines().collect();
    let whole = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];
    let at_home = ["tests/", "fixtures/", "scripts/", "docs/", "CONTRIBUTING.md", "deny.toml"];
    for file in &listed {
        let is_hidden = file.starts_with('.') && *file != ".cargo_vcs_info.json";
        let stays = at_home.iter().any(|folder| file.starts_with(folder));
        assert!(!is_hidden && !stays, "{file} is in the package");
    }
    for file in files(&root().join("src"), "rs") {
        let file = file.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
        assert!(listed.contains(file.as_str()), "{file} is not in the package");
    }
    for file in whole {
        assert!(listed.contains(file), "{file} is not in the package");
    }
}

#[test]
fn a_release_has_the_archive_that_binstall_expects() {
    let manifest = manifest();
    let binstall = &manifest["package"]["metadata"]["binstall"];
    let name = "{ name }-{ target }-v{ version }";
    assert_eq!(binstall["bin-dir"].as_str(), Some(format!("{name}/{{ bin }}{{ binary-ext }}").as_str()));
    assert_eq!(binstall["pkg-fmt"].as_str(), Some("tgz"));
    let url = binstall["pkg-url"].as_str().unwrap();
    assert_eq!(url, format!("{{ repo }}/releases/download/v{{ version }}/{name}.tgz"));
    // What the archive is called and what is in it, tests/package.rs sees; here, that the release gets it.
    let workflow = workflow("release");
    let archives = &workflow["jobs"]["archives"];
    let runs: Vec<&str> = steps(archives, "run").collect();
    let packs = runs.iter().position(|run| run.starts_with("scripts/pack-release.sh \"$TARGET\"")).expect("it packs");
    assert!(runs[packs].ends_with(" target/archives"));
    assert_eq!(runs[packs + 1], "gh release upload --clobber \"$TAG\" target/archives/*");
}

#[test]
fn a_release_is_made_for_every_target_that_deny_toml_looks_at() {
    let workflow = workflow("release");
    let matrix = workflow["jobs"]["archives"]["strategy"]["matrix"]["include"].as_sequence().unwrap();
    let released: BTreeSet<&str> = matrix.iter().map(|one| one["target"].as_str().unwrap()).collect();
    let deny: DocumentMut = read("deny.toml").parse().unwrap();
    let looked_at = deny["graph"]["targets"].as_array().unwrap();
    assert_eq!(released, looked_at.iter().map(|target| target.as_str().unwrap()).collect());
}

#[test]
fn workflows_use_existing_scripts() {
    let rust_version = manifest()["package"]["rust-version"].as_str().unwrap().to_string();
    for name in ["ci", "release"] {
        let workflow = workflow(name);
        for (job, steps_of) in jobs(&workflow) {
            assert!(steps_of.get("runs-on").is_some(), "{name}/{job} runs nowhere");
            for run in steps(steps_of, "run") {
                let scripts = run.split_whitespace().filter(|word| word.starts_with("scripts/"));
                for script in scripts {
                    assert!(root().join(script).is_file(), "{name}/{job} runs {script}");
                }
            }
            for action in steps(steps_of, "uses") {
                assert!(action.contains("@v"), "{name}/{job} uses {action} of any version");
            }
            if job == "msrv" {
                assert!(steps(steps_of, "run").all(|run| run.contains(&rust_version)), "not with Rust {rust_version}");
            }
        }
    }
}

#[test]
fn the_debian_package_lists_existing_files() {
    let manifest = manifest();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let sources = assets.iter().map(|asset| asset.as_array().unwrap().get(0).unwrap().as_str().unwrap());
    let (built, kept): (Vec<&str>, Vec<&str>) = sources.partition(|source| source.starts_with("target/"));
    assert_eq!(built, ["target/release/cargo-stagecraft"]);
    for file in kept {
        let is_there = match file.split_once("*") {
            Some((folder, _)) => root().join(folder).is_dir(),
            None => root().join(file).is_file(),
        };
        assert!(is_there, "{file} is not there");
    }
}
