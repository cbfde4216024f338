//! The program as a command: help, version and wrong usage.

use snapbox::file;

use super::*;

#[test]
fn it_is_a_subcommand_of_cargo_and_a_program_of_its_own() {
    let ways: [(&str, &[&str]); 3] = [
        ("cargo", &["stagecraft", "dev", "--dry-run"]),
        (env!("CARGO_BIN_EXE_cargo-stagecraft"), &["dev", "--dry-run"]),
        (env!("CARGO_BIN_EXE_cargo-stagecraft"), &["stagecraft", "dev", "--dry-run"]),
    ];
    let sandbox = Sandbox::new();
    for (program, args) in ways {
        let finished = sandbox.program(program, args).run().exits(0);
        assert_eq!(finished.stdout(), format!("{UP}\n{DOWN}\n"), "{program} {args:?}");
    }
}

#[test]
fn the_exit_code_is_the_same_through_cargo() {
    let sandbox = Sandbox::new();
    sandbox.remove(COMPOSE_FILE);
    sandbox.program("cargo", ["stagecraft", "dev"]).run().exits(3).says("no compose file at ");
}

#[test]
fn cargo_help_stagecraft_shows_our_help() {
    let sandbox = Sandbox::new();
    let by_cargo = sandbox.program("cargo", ["help", "stagecraft"]).run().exits(0);
    assert_eq!(by_cargo.stdout(), sandbox.run(["--help"]).exits(0).stdout());
}

#[test]
fn the_version_is_the_packages() {
    for flag in ["-V", "--version"] {
        let finished = Sandbox::new().run([flag]).exits(0);
        assert_eq!(finished.stdout(), concat!("cargo-stagecraft ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}

#[test]
fn help_at_all_three_levels() {
    let sandbox = Sandbox::new();
    let help = |args: &[&str]| sandbox.run(args).exits(0).stdout().to_string();
    assert_data_eq!(help(&["--help"]), file!["../snapshots/help.txt"].raw());
    assert_data_eq!(help(&["dev", "--help"]), file!["../snapshots/help-dev.txt"].raw());
    assert_data_eq!(help(&["dev", "down", "--help"]), file!["../snapshots/help-dev-down.txt"].raw());
    assert!(sandbox.engine.calls().is_empty());
}

#[test]
fn help_fits_into_the_terminal() {
    let sandbox = Sandbox::new();
    for (columns, verb) in [("80", ""), ("80", "dev"), ("80", "completions"), ("80", "init"), ("60", "dev down")] {
        let args = verb.split_whitespace().chain(["--help"]);
        let finished = sandbox.stagecraft(args).env("COLUMNS", columns).run().exits(0);
        for line in finished.stdout().lines() {
            assert!(line.len() <= columns.parse().unwrap(), "{verb}, {columns}: {line}");
        }
    }
}

#[test]
fn without_a_verb_the_help_is_shown_and_the_exit_code_says_wrong_usage() {
    Sandbox::new().run([] as [&str; 0]).exits(2).says("Usage: cargo stagecraft");
}

#[test]
fn a_wrong_command_line_is_exit_2_before_anything_is_looked_at() {
    for typed in [
        "devel",
        "dev --detatch",
        "dev api",
        "dev --quiet --verbose",
        "dev --timeout soon",
        "dev --timeout -1",
        "dev --color sometimes",
        "dev --project-name Shop",
        "dev --project-name ''",
        "dev --volumes",
        "dev --detach down",
        "dev --keep down",
        "dev --no-traefik down",
        "dev down --detach",
        "dev down --keep",
        "dev down --no-traefik",
        "dev down -- api",
        "dev down api",
    ] {
        let sandbox = Sandbox::new();
        let finished = sandbox.run(args_of(typed)).exits(2).says("error: ");
        assert!(finished.stdout.is_empty(), "{typed}");
        assert!(sandbox.engine.calls().is_empty(), "{typed}");
    }
}

#[test]
fn dev_down_with_an_option_that_starts_something_says_why_not() {
    Sandbox::new().run(["dev", "--detach", "down"]).exits(2).tells(str![[r#"
error: `dev down` starts nothing: it takes no --detach, --isolated, --keep, --traefik, --no-traefik, --wait, --no-wait, --watch or --no-watch

Usage: cargo stagecraft dev down [OPTIONS]

For more information, try '--help'.

"#]]);
}

#[test]
fn the_brief_help_of_each_command_fits_on_a_screen_of_24_lines() {
    let sandbox = Sandbox::new();
    let verbs = ["", "dev", "dev run", "dev down", "dev status", "dev logs", "dev list", "dev env", "dev files"];
    for verb in verbs.iter().chain(&["init", "doctor", "completions", "man"]) {
        let args = args_of(verb).chain(["-h".to_string()]);
        let finished = sandbox.stagecraft(args).env("COLUMNS", "80").run().exits(0);
        let lines: Vec<&str> = finished.stdout().lines().collect();
        assert!(lines.len() <= 24, "{verb}: {} lines", lines.len());
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{verb}:\n{}", finished.stdout());
    }
    let bare = sandbox.stagecraft([""; 0]).env("COLUMNS", "80").run().exits(2);
    assert_eq!(bare.stderr, sandbox.stagecraft(["-h"]).env("COLUMNS", "80").run().exits(0).stdout());
}

#[test]
fn the_help_of_a_command_lists_the_options_that_it_takes() {
    let sandbox = Sandbox::new();
    let lists = |verb: &str, option: &str| {
        let finished = sandbox.run(args_of(verb).chain(["--help".to_string()])).exits(0);
        finished.stdout().contains(&format!("{option} "))
    };
    for (verb, option, expected) in [
        ("dev", "--timeout", true),
        ("dev down", "--timeout", true),
        ("dev list", "--timeout", true),
        ("dev status", "--timeout", false),
        ("dev logs", "--timeout", false),
        ("dev env", "--dry-run", false),
        ("dev files", "--dry-run", false),
        ("dev status", "--message-format", true),
        ("dev logs", "--message-format", false),
        ("init", "--message-format", false),
        ("init", "--manifest-path", true),
        ("completions", "--manifest-path", false),
        ("man", "--project-name", false),
        ("dev list", "--project-name", false),
    ] {
        assert_eq!(lists(verb, option), expected, "{verb} {option}");
    }
}

#[test]
fn commands_of_compose_and_cargo_get_a_pointer() {
    let sandbox = Sandbox::new();
    for (line, pointer) in [
        ("up", "use `cargo stagecraft dev`"),
        ("dev up", "use `cargo stagecraft dev`"),
        ("ps", "use `cargo stagecraft dev status`"),
        ("dev ps", "use `cargo stagecraft dev status`"),
        ("dev stop", "use `cargo stagecraft dev down`"),
        ("dev exec web sh", "use `docker compose -f .stagecraft/dev/compose.yaml`"),
        ("dev --release", "profile = \"release\""),
        ("dev --build", "use `cargo stagecraft dev -- --build`"),
        ("dev --file=x.yaml", "the compose file is always .stagecraft/dev/compose.yaml"),
        ("dev statsu", "a similar subcommand exists: 'dev status'"),
        ("dev --detahc", "a similar argument exists: '--detach'"),
    ] {
        sandbox.run(args_of(line)).exits(2).says(pointer);
    }
    touches_nothing(&sandbox);
}
