//! The dev files that are made from Cargo.toml, as Compose itself reads them: what stands in the manifests is what it finds,
//! and what it finds is valid by its schema. Nothing is started here.

mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use cargo_stagecraft::internals::devfile::{self, Topology};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use crate::support::engine;
use crate::support::fixture::copy;
use crate::support::stage::{Stage, write};

on_both_pairs![any_stack_is_read_as_it_was_meant, every_golden_stack_is_read_with_all_its_files];

// ------------------------------------------------------------------------------------------------ any stack

/// Compose reads JSON too, since that is YAML: what we have made of the stack has to mean to it what the same stack says
/// in JSON, about whose quotes there is no doubt.
fn any_stack_is_read_as_it_was_meant(stage: &Stage) {
    let config = Config { cases: 12, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let outcome = TestRunner::new(config).run(&generate::topologies(), |topology| {
        let rendered = devfile::render(&topology).expect("every stack can be written");
        let ours = resolved(stage, "ours.yaml", &rendered["compose.yaml"]);
        let meant = resolved(stage, "meant.yaml", &ascii(&model(&topology).to_string()));
        // What Compose refuses in JSON too is none that says anything of how it was written.
        let meant = meant.map_err(|error| TestCaseError::fail(format!("the stack itself is wrong: {error}")))?;
        prop_assert_eq!(ours, Ok(meant), "{}", &rendered["compose.yaml"]);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

fn resolved(stage: &Stage, name: &str, text: &str) -> Result<Value, String> {
    let file = stage.temp().join(name);
    write(&file, text);
    let file = file.to_str().expect("a temporary folder has a plain name");
    let config = ["compose", "-p", &stage.project, "-f", file, "--profile", "*", "config", "--no-interpolate"];
    let answer = stage.engine.try_ask(&[&config[..], &["--format", "json"]].concat())?;
    Ok(serde_json::from_str(&answer).expect("it was asked for JSON"))
}

/// The same JSON without what its strings may hold and YAML's may not, or not in one line.
fn ascii(json: &str) -> String {
    let mut text = String::new();
    for c in json.chars() {
        match u16::try_from(u32::from(c)) {
            Ok(code) if !(' '..='~').contains(&c) => text += &format!("\\u{code:04x}"),
            // YAML has no pairs of surrogates, and takes these as they are.
            _ => text.push(c),
        }
    }
    text
}

/// What the compose file is to say.
fn model(topology: &Topology) -> Value {
    let mut model = Map::new();
    model.insert("services".to_string(), json!(topology.services));
    model.extend(topology.resources.iter().map(|(key, resources)| ((*key).to_string(), json!(resources))));
    Value::Object(model)
}

// ------------------------------------------------------------------------------------------------ the golden trees

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/devfile")
}

fn trees() -> Vec<PathBuf> {
    let trees: Vec<PathBuf> =
        fs::read_dir(fixtures()).expect("the trees").map(|tree| tree.expect("one").path()).collect();
    assert!(!trees.is_empty());
    trees
}

/// Compose looks for some of the files that are named, so the paths in there lead from the dev dir to where they lie.
fn every_golden_stack_is_read_with_all_its_files(stage: &Stage) {
    for tree in trees() {
        let name = tree.file_name().expect("a name").to_str().expect("a plain one");
        let root = stage.temp().join(name);
        copy(&tree.join("in"), &root);
        let dev_dir = root.join(".stagecraft/dev");
        copy(&tree.join("out"), &dev_dir);
        let file = dev_dir.join("compose.yaml");
        let file = file.to_str().expect("a temporary folder has a plain name");
        // Not as JSON: what Compose prints of a key for `ssh` is none.
        let args = ["compose", "-p", &stage.project, "-f", file, "--profile", "*", "config"];
        let answer = stage.engine.try_ask(&args).unwrap_or_else(|error| panic!("{name}: {error}"));
        let read: Value = serde_yaml_ng::from_str(&answer).expect("it prints YAML");
        let services = &read["services"];
        let below = |path: &str| json!(root.canonicalize().expect("it is there").join(path));
        match name {
            "two-members" => assert_eq!(services["api"]["environment"]["RUST_LOG"], "debug"),
            "unicode" => assert_eq!(services["gruesse"]["environment"]["GRÖSSE"], "5 µm"),
            "every-key" => {
                let server = &services["server"];
                assert_eq!(server["environment"], json!({"BASE": "server", "COMMON": "yes", "SERVER": "yes"}));
                assert_eq!(server["labels"]["from"], "server");
                assert_eq!(server["volumes"][0]["source"], below("server/data"));
                assert_eq!(services["wired"]["environment"], json!({"BASE": "root"}));
                assert_eq!(services["build"]["build"]["context"], below("db"));
                assert_eq!(services["build"]["labels"]["from"], "root");
                assert_eq!(read["configs"]["app"]["file"], below("app.toml"));
            }
            _ => {}
        }
    }
}

// ------------------------------------------------------------------------------------------------ the schema

fn schema() -> Value {
    let path = engine::home().join("compose-spec.json");
    let text = fs::read_to_string(&path);
    let text =
        text.unwrap_or_else(|error| panic!("no schema at {}: {error}; run scripts/setup-engine.sh", path.display()));
    serde_json::from_str(&text).expect("a schema is JSON")
}

fn compiled(mut schema: Value) -> (Schemas, SchemaIndex) {
    // It names draft 7 by an address that is not quite the one of draft 7.
    schema.as_object_mut().expect("a table").remove("$schema");
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.set_default_draft(Draft::V7);
    compiler.add_resource("compose-spec.json", schema).expect("it has a valid name");
    let index = compiler.compile("compose-spec.json", &mut schemas).expect("a schema");
    (schemas, index)
}

#[test]
fn every_golden_compose_file_is_valid_by_the_schema() {
    let (schemas, index) = compiled(schema());
    for tree in trees() {
        let path = tree.join("out/compose.yaml");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file: Value = serde_yaml_ng::from_str(&text).expect("YAML");
        schemas.validate(&file, index).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
        // That the schema has been asked at all.
        let mut wrong = file;
        wrong["services"]["wrong"] = json!({"route": 80});
        assert!(schemas.validate(&wrong, index).is_err());
    }
}

#[test]
fn the_keys_of_a_service_are_those_of_the_schema() {
    let schema = schema();
    let service = schema.pointer("/definitions/service/properties").and_then(Value::as_object).expect("keys");
    let theirs: BTreeSet<&str> = service.keys().map(String::as_str).collect();
    let ours: BTreeSet<&str> = devfile::service_keys().iter().copied().collect();
    let (missing, unknown) =
        (theirs.difference(&ours).collect::<Vec<_>>(), ours.difference(&theirs).collect::<Vec<_>>());
    assert_eq!((missing, unknown), (vec![], vec![]), "what we lack of the schema, and what it does not have");
}
