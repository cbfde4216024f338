//! Binaries of the workspace as services: what is done in which order, and what is not done when something fails.

use std::fs;

use serde_json::json;

use crate::support::{COMPOSE_FILE, Finished, Reply, Sandbox, Verb};

/// A workspace with the binary `shop` as the service `api`, and one that nobody starts.
fn shop() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.remove(COMPOSE_FILE);
    let manifest = "[workspace]\nmembers = [\"unused\"]\n\n[package]\nname = \"shop\"\nversion = \"0.1.0\"\n\
                    edition = \"2024\"\n\n[package.metadata.stagecraft.dev]\nservice = \"api\"\n";
    sandbox.write("Cargo.toml", manifest);
    sandbox.write("src/main.rs", "fn main() {}\n");
    let manifest = "[package]\nname = \"unused\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
                    [package.metadata.stagecraft.dev]\nprofiles = [\"never\"]\n";
    sandbox.write("unused/Cargo.toml", manifest);
    sandbox.write("unused/src/main.rs", "this cannot be built\n");
    sandbox.engine.world(|world| world.services = [("api".to_string(), json!({}))].into());
    sandbox
}

/// The verbs of the lines that say what is done, and the programs of those that are run.
fn steps(finished: &Finished) -> Vec<String> {
    let step = |line: &str| {
        let (verb, rest) = line.trim_start().split_once(' ')?;
        let words: Vec<&str> = rest.split_whitespace().filter(|word| !word.contains('=')).collect();
        let program = words.first()?.rsplit('/').next()?;
        match verb {
            "Running" if program == "docker" && words[1] == "compose" => {
                words.iter().find(|word| ["config", "up"].contains(*word)).map(|word| format!("compose {word}"))
            }
            "Running" if program == "printf" => Some("compose config".to_string()),
            "Running" if program.starts_with("ld-") => Some(format!("loader {}", words[1])),
            "Running" => Some(format!("{program} {}", words[1])),
            "Writing" | "Removing" | "Loading" => Some(format!("{verb} {rest}")),
            "Starting" => Some(verb.to_string()),
            _ => None,
        }
    };
    finished.stderr.lines().filter_map(step).collect()
}

#[test]
fn first_the_files_then_the_build_then_the_start() {
    let sandbox = shop();
    let finished = sandbox.run(["dev", "--detach", "-v"]).exits(0);
    let expected = [
        "cargo metadata",
        "Writing .stagecraft/dev/.gitignore",
        "Writing .stagecraft/dev/compose.yaml",
        "Writing .stagecraft/dev/images/.gitignore",
        "cargo build",
        "docker ps",
        "docker image",
        "loader --list",
        "Loading image shop-api",
        "docker load",
        "Starting",
        "compose up",
        "docker ps",
        "docker container",
    ];
    // These are asked side by side.
    let (questions, others): (Vec<String>, Vec<String>) =
        steps(&finished).into_iter().partition(|step| ["compose config", "docker version"].contains(&step.as_str()));
    assert_eq!(others, expected);
    assert_eq!(questions.len(), 2, "{questions:?}");
    // As the developer builds: the other service is no default member.
    assert!(finished.stderr.contains(" build --bin shop --message-format "), "{}", finished.stderr);
    let image = sandbox.engine.world(|world| world.images.clone()).remove(0);
    let end = ["usr/", "usr/local/", "usr/local/bin/", "usr/local/bin/shop"];
    assert!(image.paths.ends_with(&end.map(str::to_string)), "{:?}", image.paths);
    for needed in ["etc/passwd", "etc/group", "etc/nsswitch.conf"] {
        assert!(image.paths.iter().any(|path| path == needed), "{needed} of {:?}", image.paths);
    }
    assert_eq!(image.config["config"]["Entrypoint"], json!(["/usr/local/bin/shop"]));
    assert_eq!(files_in(&sandbox, "images"), [".gitignore", "api.json"], "the archive was removed");

    // Nothing has changed: nothing is written and no image is loaded.
    let again = sandbox.run(["dev", "--detach", "-v"]).exits(0);
    let is_a_change =
        |step: &String| step.starts_with("Writing") || step.starts_with("Loading") || step == "docker load";
    assert!(!steps(&again).iter().any(is_a_change), "{}", again.stderr);
}

/// The names of the files in a directory of the dev dir, sorted.
fn files_in(sandbox: &Sandbox, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(sandbox.root().join(".stagecraft/dev").join(directory)).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_image_is_loaded_if_the_engine_does_not_have_it_and_only_then() {
    let sandbox = shop();
    let loaded = || sandbox.engine.calls_of(Verb::Load).len();
    sandbox.run(["dev", "--detach"]).exits(0);
    assert_eq!(loaded(), 1);
    let first = sandbox.engine.world(|world| world.images.clone()).remove(0);
    // Built again, and the same: it is read, and not loaded.
    let record = sandbox.root().join(".stagecraft/dev/images/api.json");
    fs::remove_file(&record).unwrap();
    sandbox.run(["dev", "--detach"]).exits(0);
    assert_eq!(loaded(), 1);
    assert!(record.exists());
    // Another program: the image that it replaces is removed.
    sandbox.write("src/main.rs", "fn main() { println!(\"2\") }\n");
    sandbox.run(["dev", "--detach", "-v"]).exits(0).says(&format!("docker image rm {}", first.id));
    assert_eq!(loaded(), 2);
    // The engine has lost it: the same image is loaded again.
    let second = sandbox.engine.world(|world| std::mem::take(&mut world.images)).remove(0);
    sandbox.run(["dev", "--detach"]).exits(0);
    let again = sandbox.engine.world(|world| world.images.clone()).remove(0);
    assert_eq!((loaded(), &again.id), (3, &second.id));
    assert_ne!(again.id, first.id);
}

/// The developer's own build uses the same target directory, and may come at any moment.
#[test]
fn a_program_that_is_built_while_its_image_is_loaded_is_loaded_by_the_next_start() {
    let sandbox = shop();
    sandbox.engine.hold(Verb::Load);
    let start = sandbox.stagecraft(["dev", "--detach"]).start();
    sandbox.engine.wait_called(Verb::Load, 1);
    let binary = sandbox.root().join("target/debug/shop");
    let mut built = fs::read(&binary).unwrap();
    built.push(0);
    fs::write(&binary, built).unwrap();
    sandbox.engine.release(Verb::Load);
    start.wait().exits(0);
    sandbox.run(["dev", "--detach"]).exits(0).says("Loading image shop-api");
    sandbox.run(["dev", "--detach"]).exits(0).does_not_say("Loading image");
}

#[test]
fn an_image_that_cannot_be_loaded_is_exit_1_and_nothing_is_started() {
    let sandbox = shop();
    sandbox.engine.answer(Verb::Load, Reply::exit(1).stderr("no space left on device\n"));
    let finished = sandbox.run(["dev", "--detach"]).exits(1);
    let end = "no space left on device\nerror: cannot load image shop-api; nothing was started\n";
    assert!(finished.stderr.ends_with(end), "{}", finished.stderr);
    assert!(sandbox.engine.calls_of(Verb::Up).is_empty());
    assert_eq!(files_in(&sandbox, "images"), [".gitignore"]);
}

#[test]
fn images_of_crates_are_removed_with_images_only() {
    let sandbox = shop();
    sandbox.run(["dev", "--detach"]).exits(0);
    sandbox.run(["dev", "down"]).exits(0);
    assert_eq!(sandbox.engine.world(|world| world.images.len()), 1);
    sandbox.run(["dev", "--detach"]).exits(0);
    sandbox.run(["dev", "down", "--images"]).exits(0);
    assert_eq!(sandbox.engine.world(|world| world.images.len()), 0);
}

#[test]
fn a_failed_build_starts_nothing() {
    let sandbox = shop();
    sandbox.write("src/main.rs", "fn main() { mistake }\n");
    let finished = sandbox.run(["dev", "--detach"]).exits(1);
    assert!(finished.stderr.contains("cannot find value `mistake`"), "cargo says why: {}", finished.stderr);
    let end = "error: the programs of the stack cannot be built; nothing was started\n";
    assert!(finished.stderr.ends_with(end), "{}", finished.stderr);
    assert!(sandbox.engine.changes().is_empty());
}

#[test]
fn a_dry_run_shows_everything_and_writes_nothing() {
    let sandbox = shop();
    let finished = sandbox.run(["dev", "--dry-run"]).exits(0);
    let lines: Vec<&str> = finished.stdout().lines().collect();
    assert!(lines[0].contains(" build --bin shop "), "{lines:?}");
    assert!(lines[1].ends_with(" up") && lines[2].ends_with(" down") && lines.len() == 3, "{lines:?}");
    assert!(finished.stderr.contains("note: it would write .stagecraft/dev/compose.yaml"), "{}", finished.stderr);
    assert!(!sandbox.root().join(".stagecraft/dev/compose.yaml").exists());
    assert!(!sandbox.root().join("target").exists());

    // Once the file is there, Compose is asked about it.
    sandbox.run(["dev", "files"]).exits(0);
    let after = sandbox.run(["dev", "--dry-run"]).exits(0);
    assert_eq!(after.stdout(), finished.stdout());
    assert!(!after.stderr.contains("it would write"), "{}", after.stderr);
}

#[test]
fn invalid_tables_are_reported_before_anything_is_written() {
    let sandbox = shop();
    let manifest = fs::read_to_string(sandbox.root().join("Cargo.toml")).unwrap();
    sandbox.write("Cargo.toml", &format!("{manifest}rout = 80\n"));
    let finished = sandbox.run(["dev", "--detach"]).exits(3);
    let expected = "error: Cargo.toml: [package.metadata.stagecraft.dev] `rout` is not known\nhelp: a key with a similar name exists: `route`\n";
    assert_eq!(finished.stderr, expected);
    assert!(!sandbox.root().join(".stagecraft/dev/compose.yaml").exists());
    assert!(sandbox.engine.calls().is_empty());
}

#[test]
fn quiet_is_passed_on_and_messages_are_alone_on_stdout() {
    let sandbox = shop();
    let finished = sandbox.run(["dev", "--detach", "--quiet"]).exits(0);
    assert_eq!(finished.stderr, "");
    sandbox.write("src/main.rs", "fn main() { println!() }\n");
    let finished = sandbox.run(["dev", "--detach", "--message-format", "json"]).exits(0);
    let reasons: Vec<serde_json::Value> =
        finished.stdout().lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line)).collect();
    assert_eq!(reasons.last().unwrap()["reason"], "finished");
    assert!(!sandbox.engine.calls_of(Verb::Up).is_empty());
}
