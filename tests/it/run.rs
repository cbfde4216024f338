//! `dev run`: what is refused before anything is started.

use std::collections::BTreeSet;
use std::fs;

use cargo_stagecraft::internals::Code;

use crate::support::{COMPOSE_FILE, Sandbox};

#[test]
fn a_command_line_without_a_command_or_with_options_before_run_is_wrong_usage() {
    let sandbox = Sandbox::new();
    sandbox.run(["dev", "run"]).exits(2).says("<COMMAND>...");
    for option in ["--detach", "--isolated", "--wait"] {
        sandbox.run(["dev", option, "run", "--", "true"]).exits(2).says("the options of `dev run` come after `run`");
    }
    assert!(sandbox.engine.calls().is_empty());
}

#[test]
fn a_program_that_does_not_exist_is_found_out_before_docker_is_asked() {
    let sandbox = Sandbox::new();
    let finished = sandbox.run(["dev", "run", "--", "no-such-program"]).exits(127);
    assert_eq!(
        finished.stderr,
        "error: cannot find the command `no-such-program`\nhelp: put it on PATH, or give its path\n"
    );
    sandbox.run(["dev", "run", "--", "./Cargo.toml"]).exits(126);
    assert!(sandbox.engine.calls().is_empty());
}

#[test]
fn what_prevents_the_command_is_125_and_a_message_has_its_own_code() {
    let sandbox = Sandbox::new();
    sandbox.remove(COMPOSE_FILE);
    let finished = sandbox.run(["dev", "run", "--", "true"]).exits(125);
    finished.says("error: no compose file at ").says("note: the command was not run; instead of 3 (nothing to run: ");
    let finished = sandbox.run(["dev", "run", "--message-format", "json", "--", "true"]).exits(125);
    assert!(finished.stdout().contains(r#"{"reason":"command-not-run","exit_code":3}"#), "{}", finished.stdout());
}

#[test]
fn the_exit_codes_of_the_spec_are_those_of_the_code() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/spec/commands/run.md")).unwrap();
    let (_, table) = page.split_once("## Exit codes").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |")).map(|(code, _)| code);
    let said: BTreeSet<&str> =
        rows.flat_map(|code| code.split(", ")).filter(|code| code.parse::<u8>().is_ok()).collect();
    let own = Code::OF_RUN.iter().map(|(code, _)| *code);
    let interrupts = [1, 2, 15].map(Code::Interrupted);
    let codes = own.chain(interrupts).chain([Code::Usage]).map(|code| code.number().to_string());
    assert_eq!(said, codes.collect::<BTreeSet<_>>().iter().map(String::as_str).collect());
}

#[test]
fn down_before_the_compose_file_has_been_generated_is_a_success() {
    let sandbox = Sandbox::new();
    sandbox.remove(COMPOSE_FILE);
    let manifest = "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
                    [workspace.metadata.stagecraft.dev.services]\ndb = { image = \"postgres\" }\n";
    sandbox.write("Cargo.toml", manifest);
    sandbox.write("src/main.rs", "fn main() {}\n");
    sandbox.run(["dev", "down"]).exits(0).says("note: nothing has been started");
}
