//! What the completion scripts are told. The scripts themselves are executed in `tests/e2e/completions.rs`, each in its
//! shell.

use std::collections::BTreeSet;
use std::ffi::OsString;

use cargo_stagecraft::internals::cli::{self, Verb};
use serde_json::json;

use crate::support::{self, COMPOSE_FILE, Reply, Sandbox};

/// What is offered at the end of this line; a space at its end begins a new word.
fn offered(sandbox: &Sandbox, line: &str) -> Vec<String> {
    let finished = sandbox.run(["complete", "--"].into_iter().chain(line.split(' '))).exits(0);
    assert_eq!(finished.stderr, "", "somebody is typing");
    finished.stdout().lines().map(|line| line.split('\t').next().unwrap().to_string()).collect()
}

/// Two services in a hand-written file.
fn two_services() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| {
        world.services.clear();
        world.services.insert("web".to_string(), json!({}));
        world.services.insert("worker".to_string(), json!({}));
    });
    sandbox
}

#[test]
fn verbs_options_and_values_are_completed_where_they_can_stand() {
    let sandbox = Sandbox::new();
    for (line, expected) in [
        ("", &["dev", "init", "doctor", "completions", "man", "help"][..]),
        ("de", &["dev"]),
        ("stagecraft de", &["dev"]),
        ("dev ", &["run", "down", "status", "logs", "list", "env", "files", "help"]),
        ("dev --detach l", &["logs", "list"]),
        ("dev --wait", &["--wait", "--wait-timeout"]),
        ("dev logs --ta", &["--tail"]),
        ("--color ", &["auto", "always", "never"]),
        ("dev --color=a", &["--color=auto", "--color=always"]),
        ("-v dev down --message-format ", &["human", "json"]),
        ("dev --timeout ", &[]),
        ("dev logs -n ", &[]),
        ("dev -q --nonsense st", &["status"]),
        ("completions ", &["bash", "zsh", "fish", "powershell", "elvish"]),
        ("dev --manifest-path ", &[":files"]),
        ("dev --manifest-path=x", &[":files"]),
        ("man ", &[":files"]),
        ("help dev d", &["down"]),
        ("nonsense ", &["dev", "init", "doctor", "completions", "man", "help"]),
    ] {
        assert_eq!(offered(&sandbox, line), expected, "`{line}`");
    }
    assert!(sandbox.engine.calls().is_empty(), "none of them is a question to docker");
}

#[test]
fn each_candidate_has_a_description_after_a_tab() {
    let finished = Sandbox::new().run(["complete", "--", "dev", "do"]).exits(0);
    assert_eq!(finished.stdout(), "down\tStop and remove the dev stack, however it was started\n");
}

#[test]
fn services_are_those_of_the_model_that_compose_resolves() {
    let sandbox = two_services();
    for line in ["dev logs ", "dev -- ", "dev --detach -- --build w", "dev logs -f --tail 5 web w", "dev logs -fn5 "] {
        assert_eq!(offered(&sandbox, line), ["web", "worker"], "`{line}`");
    }
    assert_eq!(offered(&sandbox, "dev logs wo"), ["worker"]);
    let calls = sandbox.engine.calls();
    assert!(calls.iter().all(|call| call.verb == support::Verb::Config), "{calls:?}");
}

#[test]
fn services_are_found_from_anywhere_through_manifest_path() {
    let sandbox = two_services();
    for line in ["dev --manifest-path shop/Cargo.toml logs ", "dev logs --manifest-path=~/shop/Cargo.toml "] {
        let words = ["complete", "--"].into_iter().chain(line.split(' '));
        let finished = sandbox.stagecraft(words).cwd(sandbox.outside()).env("HOME", sandbox.outside()).run().exits(0);
        assert_eq!(finished.stdout(), "web\nworker\n", "`{line}`");
    }
}

#[test]
fn services_that_cargo_toml_describes_are_known_without_compose() {
    let sandbox = Sandbox::new();
    sandbox.remove(COMPOSE_FILE);
    let package = "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    let stack = "[package.metadata.stagecraft.dev]\n[workspace]\n[workspace.metadata.stagecraft.dev.services]\n\
                 db = { image = \"postgres:17\" }\noff = { image = \"x\", profiles = [\"other\"] }\n";
    sandbox.write("Cargo.toml", &format!("{package}{stack}"));
    sandbox.write("src/main.rs", "fn main() {}\n");
    assert_eq!(offered(&sandbox, "dev logs "), ["db", "shop"]);
    assert!(sandbox.engine.calls().is_empty());
    assert!(!sandbox.root().join(COMPOSE_FILE).exists(), "nothing is written");
}

#[test]
fn init_is_offered_the_packages_that_are_no_services_yet() {
    let sandbox = Sandbox::new();
    assert!(offered(&sandbox, "init --service ").is_empty(), "a library is none");
    sandbox.write("src/main.rs", "fn main() {}\n");
    assert_eq!(offered(&sandbox, "init --service "), ["shop"]);
    assert_eq!(offered(&sandbox, "init --service=s"), ["--service=shop"]);
}

#[test]
fn without_names_there_are_no_candidates_and_no_errors() {
    let outside = Sandbox::new();
    let finished = outside.stagecraft(["complete", "--", "dev", "logs", ""]).cwd("/").run().exits(0);
    assert_eq!((finished.stdout(), &*finished.stderr), ("", ""));

    let broken = Sandbox::new();
    broken.engine.on(support::Verb::Config, |_, _| Some(Reply::exit(15).stderr("yaml: line 1: no")));
    assert!(offered(&broken, "dev logs ").is_empty());
    let bad_name =
        broken.stagecraft(["complete", "--", "de"]).env("COMPOSE_PROJECT_NAME", "Bad").env("CARGO_TERM_QUIET", "x");
    let bad_name = bad_name.env("STAGECRAFT_TIMEUOT", "x").run().exits(0);
    assert_eq!(bad_name.stderr, "");
    assert!(bad_name.stdout().starts_with("dev\t"), "{}", bad_name.stdout());

    let no_docker = Sandbox::new();
    std::fs::remove_file(no_docker.outside().join("bin/docker")).unwrap();
    let cargo = std::env::var_os("CARGO").expect("tests are run by cargo");
    let bin = no_docker.outside().join("bin");
    let finished = no_docker.stagecraft(["complete", "--", "dev", "logs", ""]).env("PATH", bin).env("CARGO", cargo);
    let finished = finished.run().exits(0);
    assert_eq!((finished.stdout(), &*finished.stderr), ("", ""));
}

/// Words that lead to every verb, with what may stand at each place.
fn lines(command: &clap::Command, words: &[&str], lines: &mut Vec<Vec<String>>) {
    let line = |more: &[&str]| [words, more].concat().into_iter().map(str::to_string).collect::<Vec<String>>();
    lines.extend([line(&[""]), line(&["-"]), line(&["--"]), line(&["--message-format", "human", ""])]);
    for arg in command.get_arguments().filter(|arg| arg.get_action().takes_values()) {
        let Some(long) = arg.get_long() else { continue };
        lines.push(line(&[&format!("--{long}"), ""]));
        lines.push(line(&[&format!("--{long}=")]));
        lines.push(line(&[&format!("--{long}=1"), "--"]));
    }
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        self::lines(verb, &[words, &[verb.get_name()]].concat(), lines);
    }
}

#[test]
fn candidates_are_those_of_clap_complete() {
    let mut command = cli::command();
    command.build();
    let mut lines = Vec::new();
    self::lines(&command, &[], &mut lines);
    assert!(lines.len() > 200, "{} lines", lines.len());
    // Of files it tells itself; in here there is none but the folder.
    let empty = tempfile::tempdir().unwrap();
    for line in lines {
        let args: Vec<OsString> =
            ["x"].into_iter().map(OsString::from).chain(line.iter().map(OsString::from)).collect();
        let at = args.len() - 1;
        let theirs = clap_complete::engine::complete(&mut cli::command(), args, at, Some(empty.path())).unwrap();
        let theirs = theirs.iter().map(|it| it.get_value().to_string_lossy().into_owned());
        let theirs = theirs.filter(|word| !word.trim_end_matches('.').is_empty() && !word.ends_with("=."));
        let begun = &**line.last().unwrap();
        // Options are offered once one is begun; then also those that have a short form.
        let theirs: BTreeSet<String> = theirs.filter(|word| !word.starts_with('-') || !begun.is_empty()).collect();
        let words = ["x", "complete", "--"].into_iter().map(OsString::from).chain(line.iter().map(OsString::from));
        let Verb::Complete(ours) = cli::parse(words).unwrap().verb else { panic!("{line:?} is another verb") };
        let ours = ours.offer.candidates.into_iter().map(|candidate| candidate.value);
        let mut ours: BTreeSet<String> = ours.filter(|word| word.starts_with(begun)).collect();
        if begun == "-" {
            ours = ours.intersection(&theirs).cloned().collect();
        }
        assert_eq!(ours, theirs, "{line:?}");
    }
}

#[test]
fn completions_prints_the_script_of_each_shell_and_needs_no_workspace() {
    for (shell, sign) in [
        ("bash", "complete -F _cargo_stagecraft cargo-stagecraft\n"),
        ("zsh", "#compdef cargo-stagecraft\n"),
        ("fish", "complete --command cargo-stagecraft "),
        ("elvish", "set edit:completion:arg-completer[cargo-stagecraft] = "),
        ("powershell", "Register-ArgumentCompleter -Native -CommandName 'cargo-stagecraft', 'cargo' "),
    ] {
        let sandbox = Sandbox::new();
        let finished = sandbox.stagecraft(["completions", shell]).cwd("/").run().exits(0);
        assert!(finished.stdout().contains(sign), "{}", finished.stdout());
        assert!(sandbox.engine.calls().is_empty());
    }
}

#[test]
fn a_script_that_cannot_be_printed_is_exit_1() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let finished = Sandbox::new().stagecraft(["completions", "bash"]).stdout(full).run().exits(1);
    finished.says("error: cannot write to stdout\n");
}
