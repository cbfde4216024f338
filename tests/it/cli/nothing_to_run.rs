//! A compose file that is missing or wrong.

use super::*;

#[test]
fn no_compose_file() {
    let sandbox = Sandbox::new();
    sandbox.remove(COMPOSE_FILE);
    for args in [&["dev"][..], &["dev", "--detach"], &["dev", "--dry-run"], &["dev", "down"]] {
        sandbox.run(args).exits(3).tells(str![[r#"
error: no compose file at [ROOT]/.stagecraft/dev/compose.yaml
help: write .stagecraft/dev/compose.yaml, or describe the stack in Cargo.toml with `cargo stagecraft init`

"#]]);
    }
    touches_nothing(&sandbox);
}

#[test]
fn a_compose_file_by_another_name() {
    for name in ["compose.yml", "docker-compose.yaml", "docker-compose.yml"] {
        let sandbox = Sandbox::new();
        sandbox.remove(COMPOSE_FILE);
        sandbox.write(&format!(".stagecraft/dev/{name}"), "services: {}\n");
        sandbox.run(["dev"]).exits(3).says(&format!("help: rename .stagecraft/dev/{name} to compose.yaml\n"));
    }
}

#[test]
fn a_compose_file_that_is_a_folder() {
    let sandbox = Sandbox::new();
    sandbox.remove(COMPOSE_FILE);
    fs::create_dir(sandbox.root().join(COMPOSE_FILE)).unwrap();
    sandbox.run(["dev"]).exits(3).tells(str![[r#"
error: cannot read [ROOT]/.stagecraft/dev/compose.yaml

Caused by:
  is a directory

"#]]);
}

#[test]
fn a_compose_file_that_cannot_be_read() {
    let sandbox = Sandbox::new();
    let file = sandbox.root().join(COMPOSE_FILE);
    if rustix::process::geteuid().is_root() {
        // Root may read everything, but nobody can follow this.
        fs::remove_file(&file).unwrap();
        symlink(&file, &file).unwrap();
    } else {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    }
    sandbox.run(["dev"]).exits(3).says("error: cannot read [ROOT]/.stagecraft/dev/compose.yaml\n\nCaused by:\n");
    assert!(sandbox.engine.calls().is_empty());
}

#[test]
fn an_invalid_compose_file_is_reported_once_in_composes_words() {
    for (code, words) in [(15, "services.api.image must be a string"), (1, "yaml: line 3: found a tab character")] {
        let sandbox = Sandbox::new();
        sandbox.engine.answer(Verb::Config, Reply::exit(code).stderr(format!("{words}\n")));
        for args in [&["dev"][..], &["dev", "--detach"], &["dev", "down"]] {
            let finished = sandbox.run(args).exits(3);
            let expected = format!("error: .stagecraft/dev/compose.yaml is not valid\n\nCaused by:\n  {words}\n");
            assert_eq!(finished.stderr, expected);
        }
        touches_nothing(&sandbox);
    }
}

#[test]
fn an_answer_of_config_that_cannot_be_read_is_not_shown_since_it_holds_secrets() {
    let sandbox = Sandbox::new();
    sandbox.engine.answer(Verb::Config, Reply::exit(0).stdout("{\"name\": \"shop\", \"services\": \"hunter2\"}"));
    let finished = sandbox.run(["dev", "-v"]).exits(3).says("cannot read what `docker compose config` printed");
    assert!(!finished.stderr.contains("hunter2"), "{}", finished.stderr);
    touches_nothing(&sandbox);
}

#[test]
fn no_workspace() {
    let sandbox = Sandbox::new();
    for args in [&["dev"][..], &["dev", "down"]] {
        sandbox.stagecraft(args).cwd(sandbox.outside()).run().exits(3).tells(str![[r#"
error: could not find `Cargo.toml` in `[OUTSIDE]` or any parent directory
help: run this inside a Cargo workspace, or point to one with `--manifest-path`

"#]]);
    }
    assert!(sandbox.engine.calls().is_empty());
}

#[test]
fn a_working_directory_that_is_gone() {
    let sandbox = Sandbox::new();
    let gone = sandbox.outside().join("gone");
    fs::create_dir(&gone).unwrap();
    let script = "rmdir \"$1\" && exec \"$0\" dev";
    let program = env!("CARGO_BIN_EXE_cargo-stagecraft");
    let run = sandbox.program("sh", [OsStr::new("-c"), script.as_ref(), program.as_ref(), gone.as_os_str()]);
    run.cwd(&gone).run().exits(3).says("error: the current directory cannot be found");
}
