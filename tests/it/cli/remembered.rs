//! Compose is asked once, and its answer is remembered.

use super::*;

#[test]
fn compose_is_asked_once() {
    for verb in ["dev --detach", "dev --dry-run", "dev down", "dev --dry-run --project-name other"] {
        let sandbox = Sandbox::new();
        sandbox.install_compose("\x7fELF");
        let first = sandbox.run(args_of(verb)).exits(0);
        assert_eq!(sandbox.engine.calls_of(Verb::Config).len(), 1, "{verb}");
        let second = sandbox.run(args_of(verb)).exits(0);
        assert_eq!(sandbox.engine.calls_of(Verb::Config).len(), 1, "{verb}");
        if verb.contains("--dry-run") {
            assert_eq!(first.stdout(), second.stdout());
        }
    }
}

#[test]
fn verbose_shows_the_cached_command() {
    let sandbox = remembering();
    let finished = sandbox.run(["dev", "--dry-run", "-v"]).exits(0);
    let line = "  Remembered printf %s 'name: \"shop\"' | docker compose --project-directory .stagecraft/dev -f - \
                -f .stagecraft/dev/compose.yaml config --format json\n";
    assert!(finished.stderr.contains(line), "{}", finished.stderr);
    assert!(!finished.stderr.contains("Running printf"), "{}", finished.stderr);
}

#[test]
fn compose_is_asked_again_where_something_has_changed() {
    let asked = |prepare: &dyn Fn(&Sandbox), variable: Option<(&str, &str)>| {
        let sandbox = remembering();
        prepare(&sandbox);
        let run = || {
            let program = sandbox.stagecraft(["dev", "--dry-run"]);
            let program = variable.into_iter().fold(program, |program, (name, value)| program.env(name, value));
            program.run().exits(0);
            sandbox.engine.calls_of(Verb::Config).len() - 1
        };
        (run(), run())
    };
    assert_eq!(asked(&|_| {}, None), (0, 0));
    assert_eq!(asked(&|_| {}, Some(("TERM", "dumb"))), (0, 0));
    let changed = (1, 1);
    for (name, value) in [("COMPOSE_PROFILES", "x"), ("DOCKER_DEFAULT_PLATFORM", "linux/arm64"), ("TAG", "2")] {
        assert_eq!(asked(&|_| {}, Some((name, value))), changed, "{name}");
    }
    assert_eq!(asked(&|sandbox| sandbox.write(COMPOSE_FILE, &format!("{REMEMBERED} ")), None), changed, "a byte");
    assert_eq!(asked(&|sandbox| sandbox.write(".stagecraft/dev/.env", ""), None), changed, "a file of variables");
    assert_eq!(asked(&|sandbox| sandbox.install_compose("\x7fELF2"), None), changed, "another plugin");
    let damage = |text: &'static str| {
        move |sandbox: &Sandbox| {
            for file in answers(sandbox) {
                fs::write(file, text).unwrap();
            }
        }
    };
    for text in ["", "{", "{}", "[1]", "\0"] {
        assert_eq!(asked(&damage(text), None), changed, "a damaged answer: {text:?}");
    }
    let clean = |sandbox: &Sandbox| fs::remove_dir_all(sandbox.root().join("target")).unwrap();
    assert_eq!(asked(&clean, None), changed, "cargo clean");
}

#[test]
fn nothing_is_remembered_where_an_answer_could_depend_on_something_else() {
    let asked = |prepare: &dyn Fn(&Sandbox), variable: Option<(&str, &str)>| {
        let sandbox = remembering();
        prepare(&sandbox);
        for _ in 0..2 {
            let program = sandbox.stagecraft(["dev", "--dry-run"]);
            let program = variable.into_iter().fold(program, |program, (name, value)| program.env(name, value));
            let finished = program.run().exits(0);
            assert_eq!(finished.stderr, "", "not a word");
        }
        sandbox.engine.calls_of(Verb::Config).len() - 1
    };
    assert_eq!(asked(&|_| {}, Some(("COMPOSE_ENV_FILES", "x"))), 2);
    assert_eq!(asked(&|sandbox| sandbox.install_compose("#!/bin/sh\n"), None), 2, "a plugin that is a script");
    for text in ["include: [other.yaml]\n", "services: {web: {image: x, env_file: x.env}}\n"] {
        assert_eq!(asked(&|sandbox| sandbox.write(COMPOSE_FILE, text), None), 2, "{text}");
    }
    let block = |sandbox: &Sandbox| {
        fs::remove_dir_all(sandbox.root().join("target")).unwrap();
        sandbox.write("target", "a file, in the place of the folder");
    };
    assert_eq!(asked(&block, None), 2, "a target directory that cannot be written");
}

#[test]
fn only_valid_models_are_cached() {
    let sandbox = Sandbox::new();
    sandbox.install_compose("\x7fELF");
    sandbox.engine.answer(Verb::Config, Reply::exit(1).stderr("no\n"));
    sandbox.run(["dev", "--dry-run"]).exits(3);
    sandbox.run(["dev", "--dry-run"]).exits(3);
    assert!(answers(&sandbox).is_empty());
}

#[test]
fn a_model_that_compose_cannot_print_as_json_is_requested_without_ssh_keys() {
    const ERROR: &str =
        "json: error calling MarshalJSON for type types.SSHKey: invalid character ':' after top-level value\n";
    const WARNING: &str = "time=\"2026-01-02T03:04:05Z\" level=warning msg=\"The \\\"A\\\" variable is not set.\"\n";
    const YAML: &str = "name: hello\nservices:\n  web:\n    build:\n      ssh:\n        - 'default: /key'\n";
    let sandbox = Sandbox::new();
    sandbox.engine.on(Verb::Config, |call, _| {
        if call.args.last().is_some_and(|arg| arg == "config") {
            return Some(Reply::exit(0).stdout(YAML));
        }
        (!call.stdin.contains("!reset")).then(|| Reply::exit(1).stderr(format!("{WARNING}{ERROR}")))
    });
    let finished = sandbox.run(["dev", "--dry-run"]).exits(0);
    assert!(finished.stdout().contains("COMPOSE_PROJECT_NAME=hello docker compose"), "{}", finished.stdout());
    let lines: Vec<String> = sandbox.engine.calls_of(Verb::Config).iter().map(Call::line).collect();
    let ends = [" config --format json", " config", " -f - config --format json"];
    assert_eq!(lines.len(), ends.len(), "{lines:#?}");
    assert!(lines.iter().zip(ends).all(|(line, end)| line.ends_with(end)), "{lines:#?}");
}

const REMEMBERED: &str = "services: {web: {image: \"nginx:$TAG\"}} # with a comment\n";

/// A workspace of which the model has been asked for once.
fn remembering() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.install_compose("\x7fELF");
    sandbox.write(COMPOSE_FILE, REMEMBERED);
    sandbox.run(["dev", "--dry-run"]).exits(0);
    assert_eq!(answers(&sandbox).len(), 1);
    sandbox
}

fn answers(sandbox: &Sandbox) -> Vec<PathBuf> {
    let folder = fs::read_dir(sandbox.root().join("target/stagecraft/model"));
    folder.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}
