//! The command line: what the user types, which commands it becomes, and what is said about it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use snapbox::{assert_data_eq, file, str};

use crate::support::{COMPOSE_FILE, Call, Finished, Reply, Sandbox, Verb};

/// A sandbox where an attached `up` comes to its end at once.
fn short() -> Sandbox {
    let sandbox = Sandbox::new();
    ends_at_once(&sandbox);
    sandbox
}

fn ends_at_once(sandbox: &Sandbox) {
    sandbox.engine.on(Verb::Up, |call, _| (!call.args.contains(&"-d".into())).then(|| Reply::exit(0)));
}

/// Nothing was started and nothing taken down.
#[track_caller]
fn touches_nothing(sandbox: &Sandbox) {
    assert_eq!(sandbox.engine.changes(), Vec::<String>::new());
}

fn args_of(line: &str) -> impl Iterator<Item = String> {
    shlex::split(line).expect("a line of words").into_iter()
}

// ------------------------------------------------------------------------------------------ the commands run

const UP: &str = "COMPOSE_MENU=0 COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml up";
const DOWN: &str = "COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml down";

/// It is set all the same, so the engine of this machine is not meant; nobody is behind it, so docker has the word.
#[test]
fn an_address_that_is_no_text_is_not_taken_for_none() {
    let sandbox = Sandbox::new();
    sandbox.configure_docker("{}");
    let host = OsStr::from_bytes(b"unix:///nobody\xff.sock");
    let run = sandbox.stagecraft(["dev", "list", "--verbose"]).env("DOCKER_HOST", host).run().exits(0);
    run.says("Asking curl --unix-socket '/nobody\u{fffd}.sock' ").says("Running docker ps ");
}

#[test]
fn every_option_becomes_exactly_these_commands() {
    let table: [(&str, &[&str]); 18] = [
        ("dev", &["{up}", "{down}"]),
        ("dev --timeout 7", &["{up}", "{down} --timeout 7"]),
        ("dev --timeout 0", &["{up}", "{down} --timeout 0"]),
        ("dev --no-traefik", &["{up} --scale traefik=0", "{down}"]),
        ("dev -- --build api", &["{up} --build api", "{down}"]),
        ("dev --no-traefik -- --build", &["{up} --scale traefik=0 --build", "{down}"]),
        // Compose refuses to scale a service that is not among those that are named.
        ("dev --no-traefik -- --build api", &["{up} --build api", "{down}"]),
        ("dev -- -- --odd", &["{up} -- --odd", "{down}"]),
        ("dev -d", &["{up} -d"]),
        ("dev --detach", &["{up} -d"]),
        ("dev --detach --timeout 7", &["{up} -d"]),
        ("dev --detach --no-traefik", &["{up} -d --scale traefik=0"]),
        ("dev -d --no-traefik -- --wait 'a b'", &["{up} -d --scale traefik=0 --wait 'a b'"]),
        ("dev down", &["{down}"]),
        ("dev down --timeout 7", &["{down} --timeout 7"]),
        ("dev down --volumes", &["{down} --volumes"]),
        ("dev down --volumes --timeout 7", &["{down} --timeout 7 --volumes"]),
        ("dev --timeout 7 down", &["{down} --timeout 7"]),
    ];
    for (typed, expected) in table {
        let sandbox = short();
        sandbox.engine.world(|world| world.services.insert("traefik".to_string(), json!({})));
        sandbox.run(args_of(typed)).exits(0);
        let expected: Vec<String> =
            expected.iter().map(|line| line.replace("{up}", UP).replace("{down}", DOWN)).collect();
        assert_eq!(sandbox.engine.changes(), expected, "cargo stagecraft {typed}");
    }
}

#[test]
fn every_command_of_a_run_is_run_from_the_root_of_the_workspace() {
    let sandbox = short();
    sandbox.stagecraft(["dev"]).cwd(sandbox.root().join("src")).run().exits(0);
    let compose: Vec<Call> = sandbox.engine.calls().into_iter().filter(|call| call.args[0] == "compose").collect();
    assert!(compose.len() >= 3, "config, up, ps and down were run");
    for call in compose {
        assert_eq!(call.cwd, sandbox.root(), "{}", call.line());
    }
}

#[test]
fn up_gets_no_input_and_no_menu_also_where_we_have_input() {
    for mode in [&["dev"][..], &["dev", "--detach"]] {
        let sandbox = short();
        let (input, _writer) = std::io::pipe().unwrap();
        sandbox.stagecraft(mode).stdin(input).run().exits(0);
        let up = sandbox.engine.only(Verb::Up);
        assert!(up.null[0], "stdin of `up` is /dev/null");
        assert_eq!(up.env[OsStr::new("COMPOSE_MENU")], "0");
    }
}

#[test]
fn no_traefik_without_a_service_of_that_name_is_a_note_and_a_normal_start() {
    for mode in [&["dev", "--no-traefik"][..], &["dev", "--no-traefik", "--detach"]] {
        let sandbox = short();
        sandbox.run(mode).exits(0).says("note: the stack has no active service `traefik` to leave out\n");
        assert!(!sandbox.engine.only(Verb::Up).line().contains("--scale"));
    }
}

#[test]
fn no_traefik_removes_a_traefik_that_runs() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| world.services.insert("traefik".to_string(), json!({})));
    sandbox.run(["dev", "--detach"]).exits(0).says("traefik");
    sandbox.run(["dev", "--detach", "--no-traefik"]).exits(0).does_not_say("traefik");
}

#[test]
fn a_foreground_run_refuses_arguments_that_make_up_return_at_once() {
    for arg in ["-d", "--detach", "--wait"] {
        let sandbox = Sandbox::new();
        sandbox.run(["dev", "--", arg]).exits(2).says("use `cargo stagecraft dev --detach`");
        touches_nothing(&sandbox);
    }
}

// ---------------------------------------------------------------------------------------------------- dry run

#[test]
fn a_dry_run_prints_the_commands_on_stdout_and_nothing_else_and_starts_nothing() {
    let sandbox = Sandbox::new();
    let finished = sandbox.run(["dev", "--dry-run"]).exits(0);
    assert_data_eq!(
        finished.stdout(),
        str![[r#"
COMPOSE_MENU=0 COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml up
COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml down

"#]]
    );
    assert_eq!(finished.stderr, "");
    assert!(sandbox.engine.calls().iter().all(|call| call.verb == Verb::Config), "only Compose's reading is asked for");
}

#[test]
fn a_dry_run_prints_what_a_run_with_the_same_options_runs() {
    for typed in [
        "dev",
        "dev --timeout 7 --project-name other -- --build",
        "dev --no-traefik",
        "dev down",
        "dev down --volumes --timeout 7",
    ] {
        let sandbox = short();
        sandbox.engine.world(|world| world.services.insert("traefik".to_string(), json!({})));
        let mut printing: Vec<String> = args_of(typed).collect();
        let ours = printing.iter().position(|arg| arg == "--").unwrap_or(printing.len());
        printing.insert(ours, "--dry-run".to_string());
        let printed = sandbox.run(printing).exits(0);
        touches_nothing(&sandbox);
        sandbox.run(args_of(typed)).exits(0);
        assert_eq!(printed.stdout().lines().collect::<Vec<_>>(), sandbox.engine.changes(), "cargo stagecraft {typed}");
    }
}

#[test]
fn a_detached_dry_run_prints_how_the_stack_is_started_and_how_it_is_taken_down() {
    let finished = Sandbox::new().run(["dev", "--dry-run", "--detach", "--timeout", "3"]).exits(0);
    assert_eq!(finished.stdout(), format!("{UP} -d\n{DOWN} --timeout 3\n"));
}

#[test]
fn a_dry_run_elsewhere_says_which_folder_the_commands_are_for() {
    let sandbox = Sandbox::new();
    let finished = sandbox.stagecraft(["dev", "--dry-run"]).cwd(sandbox.root().join("src")).run().exits(0);
    assert_eq!(finished.stderr, "note: these commands are for [ROOT]\n");
    assert_eq!(finished.stdout(), format!("{UP}\n{DOWN}\n"));
}

#[test]
fn a_printed_line_pasted_into_a_shell_runs_the_same_thing_whatever_is_in_the_arguments() {
    let nasty: [&[u8]; 12] = [
        b"two words",
        b"it's",
        b"\"quoted\"",
        b"$HOME",
        b"`id`",
        b"*",
        b"a\nb",
        b"a\\b",
        "\u{fc}n\u{ef}c\u{f6}de \u{1f980}".as_bytes(),
        b"\xff\xfe",
        b"",
        b"!x;y&z|~#",
    ];
    let sandbox = short();
    let nasty = nasty.map(OsStr::from_bytes);
    let with = |args: &[&'static str]| args.iter().map(|arg| OsStr::new(*arg)).chain(nasty).collect::<Vec<_>>();
    sandbox.run(with(&["dev", "--"])).exits(0);
    let ours = sandbox.engine.only(Verb::Up);
    assert!(ours.args.ends_with(&nasty.map(OsStr::to_owned)), "up gets the arguments as they were typed");

    let printed = sandbox.run(with(&["dev", "--dry-run", "--"])).exits(0);
    let script = OsStr::from_bytes(&printed.stdout);
    sandbox.program("sh", [OsStr::new("-c"), script]).run().exits(0);
    let pasted = sandbox.engine.calls_of(Verb::Up).pop().unwrap();
    assert_eq!(pasted.args, ours.args);
    assert_eq!(pasted.env, ours.env);
    assert_eq!(pasted.cwd, ours.cwd);
    let downs = sandbox.engine.calls_of(Verb::Down);
    assert_eq!(downs.len(), 2, "the second line of the script is the `down` of the run");
    assert_eq!((&downs[0].args, &downs[0].env), (&downs[1].args, &downs[1].env));
}

#[test]
fn an_echoed_line_pasted_into_a_shell_asks_the_same_question() {
    let sandbox = Sandbox::new();
    let finished = sandbox.run(["dev", "--dry-run", "-v"]).exits(0);
    let line = finished.stderr.lines().find(|line| line.contains(" config ")).expect("the line is echoed");
    let line = line.trim_start().strip_prefix("Running ").unwrap();
    let answer = sandbox.program("sh", ["-c", line]).run().exits(0);
    assert!(answer.stdout().contains(r#""name":"shop""#), "{}", answer.stdout());
    let [ours, pasted] = <[Call; 2]>::try_from(sandbox.engine.calls()).unwrap();
    assert_eq!(ours.line(), pasted.line());
}

// ------------------------------------------------------------------------------------------------- as a command

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
fn through_cargo_the_exit_code_is_ours() {
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
    assert_data_eq!(help(&["--help"]), file!["snapshots/help.txt"].raw());
    assert_data_eq!(help(&["dev", "--help"]), file!["snapshots/help-dev.txt"].raw());
    assert_data_eq!(help(&["dev", "down", "--help"]), file!["snapshots/help-dev-down.txt"].raw());
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
error: `dev down` starts nothing: it takes no --detach, --keep, --traefik, --no-traefik, --wait or --no-wait

Usage: cargo stagecraft dev down [OPTIONS]

For more information, try '--help'.

"#]]);
}

// --------------------------------------------------------------------------------------------- the project name

/// The name that the program uses with this flag, variable and file.
fn name_used(folder: &str, flag: Option<&str>, variable: Option<&str>, file: Option<&str>) -> String {
    let sandbox = Sandbox::in_folder(folder);
    sandbox.engine.world(|world| world.name = file.map(str::to_owned));
    let flag = flag.map(|name| vec!["--project-name", name]).unwrap_or_default();
    let mut program = sandbox.stagecraft(["dev", "--detach"].into_iter().chain(flag));
    if let Some(variable) = variable {
        program = program.env("COMPOSE_PROJECT_NAME", variable);
    }
    program.run().exits(0);
    let up = sandbox.engine.only(Verb::Up);
    let name = up.env[OsStr::new("COMPOSE_PROJECT_NAME")].to_string_lossy().into_owned();
    // Before the start all projects are asked for, for the sake of others of this checkout.
    for call in sandbox.engine.calls().iter().filter(|call| call.verb == Verb::Containers).skip(1) {
        assert!(call.line().contains(&format!("label=com.docker.compose.project={name} ")), "{}", call.line());
    }
    name
}

#[test]
fn the_project_name_is_the_flags_else_the_variables_else_the_files_else_the_folders() {
    let (flag, variable, file) = (Some("by-flag"), Some("by-variable"), Some("by-file"));
    assert_eq!(name_used("shop", flag, variable, file), "by-flag");
    assert_eq!(name_used("shop", None, variable, file), "by-variable");
    assert_eq!(name_used("shop", None, None, file), "by-file");
    assert_eq!(name_used("shop", None, None, None), "shop");
}

#[test]
fn an_empty_variable_names_nothing() {
    assert_eq!(name_used("shop", None, Some(""), None), "shop");
    assert_eq!(name_used("shop", None, Some(""), Some("by-file")), "by-file");
}

#[test]
fn the_folders_name_is_normalized_by_composes_rules() {
    for (folder, name) in [
        ("My Shop", "myshop"),
        ("shop.v2", "shopv2"),
        ("_-shop_-", "shop_-"),
        ("Caf\u{e9} \u{1f980}", "caf"),
        ("dev", "dev"),
    ] {
        assert_eq!(name_used(folder, None, None, None), name, "{folder}");
    }
}

#[test]
fn a_folder_that_makes_no_name_is_refused_unless_somebody_names_the_project() {
    let sandbox = Sandbox::in_folder("\u{65e5}\u{672c}");
    sandbox.run(["dev", "--detach"]).exits(3).tells(str![[r#"
error: the workspace's folder, [ROOT], makes no project name
help: name the project with `--project-name`

"#]]);
    touches_nothing(&sandbox);
    assert_eq!(name_used("\u{65e5}\u{672c}", Some("given"), None, None), "given");
}

#[test]
fn a_variable_that_is_no_project_name_is_wrong_usage_unless_the_flag_overrides_it() {
    let sandbox = Sandbox::new();
    let run = |args: &[&str]| sandbox.stagecraft(args).env("COMPOSE_PROJECT_NAME", "My Shop").run();
    run(&["dev", "--detach"]).exits(2).says("invalid COMPOSE_PROJECT_NAME `My Shop`: a project name consists of");
    touches_nothing(&sandbox);
    run(&["dev", "--detach", "--project-name", "mine"]).exits(0);
}

#[test]
fn every_command_of_a_run_names_the_same_project() {
    let sandbox = short();
    sandbox.run(["dev", "--project-name", "mine"]).exits(0);
    for call in sandbox.engine.calls() {
        // The warning about other projects of this checkout asks for all.
        let is_about_all = call.line().contains("--filter label=com.docker.compose.project --format");
        assert!(is_about_all || call.line().contains("=mine "), "{}", call.line());
    }
}

// --------------------------------------------------------------------------------------------- other checkouts

/// A container of project `shop` that was made by the workspace at `root`, running.
fn made_by(sandbox: &Sandbox, root: &Path) {
    sandbox.engine.world(|world| {
        world.add_container("shop", "api", "running", root);
    });
}

#[test]
fn a_project_of_another_checkout_is_refused_before_anything_is_touched() {
    for args in [&["dev"][..], &["dev", "--detach"], &["dev", "down"], &["dev", "down", "--volumes"]] {
        let sandbox = Sandbox::new();
        let other = sandbox.outside().join("other");
        fs::create_dir_all(other.join(".stagecraft/dev")).unwrap();
        made_by(&sandbox, &other);
        sandbox.run(args).exits(3).tells(str![[r#"
error: project `shop` already has containers of another checkout: [OUTSIDE]/other
help: choose another name with `--project-name`, or take that stack down first

"#]]);
        touches_nothing(&sandbox);
    }
}

#[test]
fn one_container_of_another_checkout_among_ours_is_enough_to_refuse() {
    let sandbox = Sandbox::new();
    made_by(&sandbox, sandbox.root());
    made_by(&sandbox, Path::new("/"));
    let other = sandbox.outside().join("other");
    fs::create_dir_all(other.join(".stagecraft/dev")).unwrap();
    made_by(&sandbox, &other);
    sandbox.run(["dev", "down"]).exits(3).says("another checkout: [OUTSIDE]/other\n");
    touches_nothing(&sandbox);
}

#[test]
fn another_name_stands_beside_a_project_of_another_checkout() {
    let sandbox = Sandbox::new();
    made_by(&sandbox, Path::new("/"));
    sandbox.run(["dev", "--detach", "--project-name", "mine"]).exits(0);
}

#[test]
fn a_container_that_does_not_say_where_it_comes_from_is_not_ours() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| {
        world.add_container("shop", "api", "running", Path::new("/")).working_dir.clear();
    });
    sandbox.run(["dev", "--detach"]).exits(3).says("something that is no compose file");
    touches_nothing(&sandbox);
}

#[test]
fn our_own_containers_are_ours_also_through_a_symlink() {
    let sandbox = Sandbox::new();
    let link = sandbox.outside().join("link");
    symlink(sandbox.root(), &link).unwrap();
    made_by(&sandbox, &link);
    sandbox.run(["dev", "down"]).exits(0);
    assert_eq!(sandbox.engine.changes(), [DOWN]);
}

#[test]
fn a_workspace_reached_through_a_symlink_is_the_same_checkout() {
    let sandbox = Sandbox::new();
    let link = sandbox.outside().join("link");
    symlink(sandbox.root(), &link).unwrap();
    made_by(&sandbox, sandbox.root());
    // The folder's own name counts, not the link's.
    sandbox.stagecraft(["dev", "down"]).cwd(&link).run().exits(0);
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

#[test]
fn a_checkout_whose_folder_is_gone_no_longer_counts() {
    let sandbox = Sandbox::new();
    made_by(&sandbox, &sandbox.outside().join("moved-away"));
    sandbox.run(["dev", "down"]).exits(0);
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

// ---------------------------------------------------------------------------------------------- nothing to run

#[test]
fn no_compose_file() {
    let sandbox = Sandbox::new();
    sandbox.remove(COMPOSE_FILE);
    for args in [&["dev"][..], &["dev", "--detach"], &["dev", "--dry-run"], &["dev", "down"]] {
        sandbox.run(args).exits(3).tells(str![[r#"
error: no compose file at [ROOT]/.stagecraft/dev/compose.yaml
help: describe the dev stack in .stagecraft/dev/compose.yaml, or let `cargo stagecraft init` begin one in Cargo.toml

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
fn an_invalid_compose_file_is_told_once_in_composes_words() {
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

// -------------------------------------------------------------------------------------------------- workspaces

/// A workspace without a package of its own, with the member `api`.
fn virtual_workspace() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("Cargo.toml", "[workspace]\nmembers = [\"api\"]\nresolver = \"3\"\n");
    sandbox.remove("src/lib.rs");
    sandbox.write("api/Cargo.toml", "[package]\nname = \"api\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    sandbox.write("api/src/lib.rs", "");
    sandbox
}

#[test]
fn the_workspace_is_found_from_wherever_in_it_one_stands() {
    for dir in ["", "api", "api/src", ".stagecraft/dev"] {
        let sandbox = virtual_workspace();
        sandbox.stagecraft(["dev", "--detach"]).cwd(sandbox.root().join(dir)).run().exits(0);
        assert_eq!(sandbox.engine.changes(), [format!("{UP} -d")], "in {dir}");
        assert_eq!(sandbox.engine.only(Verb::Up).cwd, sandbox.root(), "in {dir}");
    }
}

#[test]
fn the_workspace_is_found_by_manifest_path() {
    for manifest in ["shop/Cargo.toml", "shop/api/Cargo.toml"] {
        let sandbox = virtual_workspace();
        let outside = sandbox.outside();
        for path in [Path::new(manifest).to_owned(), outside.join(manifest)] {
            let args = [OsStr::new("dev"), "--detach".as_ref(), "--manifest-path".as_ref(), path.as_ref()];
            sandbox.stagecraft(args).cwd(&outside).run().exits(0);
            assert_eq!(sandbox.engine.calls_of(Verb::Up).pop().unwrap().cwd, sandbox.root());
        }
    }
}

#[test]
fn a_manifest_path_that_leads_nowhere() {
    let sandbox = Sandbox::new();
    sandbox.run(["dev", "--manifest-path", "nowhere/Cargo.toml"]).exits(3).tells(str![[r#"
error: manifest path `nowhere/Cargo.toml` does not exist
help: run this inside a Cargo workspace, or point to one with `--manifest-path`

"#]]);
}

#[test]
fn finding_the_workspace_writes_no_lock_file() {
    let sandbox = virtual_workspace();
    sandbox.write("api/Cargo.toml", "[package]\nname = \"api\"\nversion = \"0.1.0\"\n[dependencies]\nserde = \"1\"\n");
    sandbox.run(["dev", "--detach"]).exits(0);
    assert!(!sandbox.root().join("Cargo.lock").exists());
    assert!(!sandbox.root().join("target").exists());
}

#[test]
fn a_broken_manifest_of_a_member_keeps_dev_from_starting_but_not_down_from_taking_down() {
    let sandbox = virtual_workspace();
    sandbox.run(["dev", "--detach"]).exits(0);
    sandbox.write("api/Cargo.toml", "[package\n");
    let before = sandbox.engine.calls().len();
    sandbox.run(["dev", "--detach"]).exits(3).says("error: ").says("api/Cargo.toml");
    assert_eq!(sandbox.engine.calls().len(), before);
    sandbox.run(["dev", "down"]).exits(0);
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

#[test]
fn down_works_also_where_one_stands_in_the_member_whose_manifest_is_broken() {
    for manifest in ["[package\n", "[package]\nname = \"api\"\nversion = \"one\"\n"] {
        let sandbox = virtual_workspace();
        sandbox.run(["dev", "--detach"]).exits(0);
        sandbox.write("api/Cargo.toml", manifest);
        sandbox.stagecraft(["dev", "down"]).cwd(sandbox.root().join("api")).run().exits(0);
        assert!(sandbox.engine.world(|world| world.is_empty()));
    }
}

// -------------------------------------------------------------------------------------------------- no engine

/// The environment of somebody who has cargo and nothing else.
fn without_docker(sandbox: &Sandbox, args: &[&str]) -> Finished {
    let empty = sandbox.outside().join("empty");
    fs::create_dir_all(&empty).unwrap();
    let cargo = std::env::var_os("CARGO").expect("tests are run by cargo");
    sandbox.stagecraft(args).env("CARGO", cargo).env("PATH", &empty).run()
}

#[test]
fn docker_is_not_installed() {
    let sandbox = Sandbox::new();
    for args in [&["dev"][..], &["dev", "--detach"], &["dev", "--dry-run"], &["dev", "down"]] {
        without_docker(&sandbox, args).exits(4).tells(str![[r#"
error: cannot run `docker`

Caused by:
  No such file or directory (os error 2)
help: install the Docker CLI with Compose v2, or put it on PATH

"#]]);
    }
}

#[test]
fn docker_disappears_just_before_the_start() {
    // A teardown that was begun and cannot go on does not know what is left.
    for (args, code) in [(&["dev"][..], 4), (&["dev", "--detach"], 4), (&["dev", "down"], 6)] {
        let sandbox = Sandbox::new();
        let docker = sandbox.outside().join("bin/docker");
        let path = sandbox.outside().join("bin");
        sandbox.engine.on(Verb::Containers, move |_, _| {
            let _ = fs::remove_file(&docker);
            None
        });
        let cargo = std::env::var_os("CARGO").expect("tests are run by cargo");
        let program = sandbox.stagecraft(args).env("CARGO", cargo).env("PATH", path);
        program.run().exits(code).says("cannot run `docker`");
    }
}

#[test]
fn the_compose_plugin_is_not_installed() {
    let sandbox = Sandbox::new();
    let words = "unknown shorthand flag: 'f' in -f\n";
    sandbox.engine.answer(Verb::Config, Reply::exit(125).stderr(words));
    sandbox.engine.answer(Verb::Version, Reply::exit(1).stderr("docker: 'compose' is not a docker command.\n"));
    for args in [&["dev"][..], &["dev", "--detach"], &["dev", "down"]] {
        sandbox.run(args).exits(4).tells(str![[r#"
error: `docker compose` does not work: the Compose plugin is missing
help: install Docker Compose v2 or newer as a plugin of the Docker CLI: https://docs.docker.com/compose/install/

"#]]);
    }
    touches_nothing(&sandbox);
}

#[test]
fn compose_is_too_old() {
    let sandbox = Sandbox::new();
    sandbox.engine.answer(Verb::Config, Reply::exit(1).stderr("usage\n"));
    sandbox.engine.answer(Verb::Version, Reply::exit(0).stdout("1.29.2\n"));
    sandbox.run(["dev"]).exits(4).says("error: Docker Compose 1.29.2 is too old\nhelp: install Docker Compose v2");
}

#[test]
fn compose_v5_is_new_enough() {
    let sandbox = Sandbox::new();
    sandbox.engine.answer(Verb::Config, Reply::exit(1).stderr("broken file\n"));
    sandbox.engine.answer(Verb::Version, Reply::exit(0).stdout("v5.0.0\n"));
    sandbox.run(["dev"]).exits(3).says("broken file");
}

#[test]
fn the_daemon_does_not_answer() {
    for args in [&["dev"][..], &["dev", "--detach"], &["dev", "down"]] {
        let sandbox = Sandbox::new();
        let words =
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n";
        sandbox.engine.answer(Verb::Containers, Reply::exit(1).stderr(words));
        sandbox.run(args).exits(4).tells(str![[r#"
error: the docker engine does not answer

Caused by:
  Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?
help: start the engine, or look at DOCKER_HOST and `docker context ls`; `cargo stagecraft doctor` looks for the cause

"#]]);
        touches_nothing(&sandbox);
    }
}

// ------------------------------------------------------------------------------------------- how much is said

#[test]
fn quiet_says_nothing_when_all_is_well() {
    for args in [&["dev", "-q"][..], &["dev", "-qd"], &["dev", "down", "-q"], &["-q", "dev", "--no-traefik"]] {
        let sandbox = short();
        sandbox.engine.on(Verb::Up, |call, world| {
            world.up_for(call);
            Some(Reply::exit(0).stderr("Container shop-api-1  Started\n"))
        });
        sandbox.engine.on(Verb::Down, |call, world| {
            world.down_for(call);
            Some(Reply::exit(0).stderr("Container shop-api-1  Removed\n"))
        });
        let finished = sandbox.run(args).exits(0);
        assert_eq!((finished.stdout(), &*finished.stderr), ("", ""), "{args:?}");
    }
}

#[test]
fn quiet_still_says_what_went_wrong_once() {
    let sandbox = Sandbox::new();
    sandbox.engine.answer(Verb::Up, Reply::exit(1).stderr("Bind for 0.0.0.0:80 failed: port is already allocated\n"));
    sandbox.run(["dev", "-qd"]).exits(1).tells(str![[r#"
Bind for 0.0.0.0:80 failed: port is already allocated
error: shop could not be started: Bind for 0.0.0.0:80 failed: port is already allocated

"#]]);
}

#[test]
fn verbose_shows_every_command_line_run() {
    for args in [&["dev", "-v"][..], &["dev", "-dv"], &["dev", "down", "-v"]] {
        let sandbox = short();
        let finished = sandbox.run(args).exits(0);
        let shown = finished.stderr.lines().filter_map(|line| line.trim_start().strip_prefix("Running "));
        let mut shown: Vec<String> = shown.map(str::to_owned).collect();
        let cargo = shown.remove(0);
        assert!(cargo.starts_with("cargo metadata "), "{cargo}");
        let mut run: Vec<String> = sandbox.engine.calls().iter().map(Call::line).collect();
        // This listens for the end of the start, and is ended with it: perhaps before it has begun.
        for lines in [&mut shown, &mut run] {
            lines.retain(|line| !line.contains("events --since 1 --filter type"));
        }
        // Some questions are asked side by side.
        shown.sort();
        run.sort();
        let words = |lines: Vec<String>| lines.iter().map(|line| shlex::split(line).unwrap()).collect::<Vec<_>>();
        assert_eq!(words(shown), words(run));
    }
}

#[test]
fn verbose_tells_the_workspace_the_dev_dir_the_compose_file_and_the_project() {
    let finished = short().run(["dev", "-v"]).exits(0);
    let told: Vec<&str> = finished.stderr.lines().filter(|line| !line.contains(" Running ")).collect();
    assert_data_eq!(
        told.join("\n"),
        str![[r#"
   Workspace [ROOT]
     Dev dir .stagecraft/dev
Compose file .stagecraft/dev/compose.yaml
     Project shop
...
"#]]
    );
}

#[test]
fn without_verbose_no_command_line_is_shown() {
    short().run(["dev"]).exits(0).does_not_say("docker compose");
}

// ------------------------------------------------------------------------------------------------------ colour

/// Whether a note is painted, with these arguments and variables.
fn is_painted(args: &[&str], variables: &[(&str, &str)], in_terminal: bool) -> bool {
    let sandbox = Sandbox::new();
    let mut program = sandbox.stagecraft(["dev", "--dry-run", "--no-traefik"].iter().chain(args));
    for (key, value) in variables {
        program = program.env(key, value);
    }
    let finished = if in_terminal { program.in_terminal().wait() } else { program.run() }.exits(0);
    let finished = finished.says("note");
    finished.stderr.contains("\x1b[")
}

#[test]
fn colour_follows_the_flag_then_cargo_term_color_then_no_color_then_the_terminal() {
    type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], bool, bool);
    const CARGO: &str = "CARGO_TERM_COLOR";
    let table: [Case; 15] = [
        // flag, variables, in a terminal, painted
        (&[], &[], true, true),
        (&[], &[], false, false),
        (&[], &[("NO_COLOR", "1")], true, false),
        (&[], &[("NO_COLOR", "")], true, true),
        (&[], &[(CARGO, "always")], false, true),
        (&[], &[(CARGO, "always"), ("NO_COLOR", "1")], false, true),
        (&[], &[(CARGO, "never")], true, false),
        (&[], &[(CARGO, "auto"), ("NO_COLOR", "1")], true, false),
        (&[], &[(CARGO, "auto")], true, true),
        (&["--color", "always"], &[], false, true),
        (&["--color", "always"], &[(CARGO, "never"), ("NO_COLOR", "1")], false, true),
        (&["--color", "never"], &[], true, false),
        (&["--color", "never"], &[(CARGO, "always")], true, false),
        (&["--color", "auto"], &[(CARGO, "never")], true, true),
        (&["--color", "auto"], &[(CARGO, "always")], false, false),
    ];
    for (args, variables, in_terminal, painted) in table {
        let seen = is_painted(args, variables, in_terminal);
        assert_eq!(seen, painted, "{args:?} {variables:?}, terminal: {in_terminal}");
    }
}

#[test]
fn the_lines_of_a_dry_run_are_never_painted() {
    let finished = Sandbox::new().run(["dev", "--dry-run", "--color", "always"]).exits(0);
    assert_eq!(finished.stdout(), format!("{UP}\n{DOWN}\n"));
}

#[test]
fn command_lines_are_shown_in_colour() {
    let finished = Sandbox::new().run(["dev", "--dry-run", "-v", "--color", "always"]).exits(0);
    let line = finished.stderr.lines().find(|line| line.contains(" config ")).expect("the line is echoed");
    assert!(line.starts_with("\x1b[") && line.ends_with("m"), "{line:?}");
}

// ------------------------------------------------------------------------------- a terminal that is not there

/// A pipe that nobody reads.
fn broken_pipe() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

#[test]
fn a_closed_stderr_changes_no_exit_code() {
    let sandbox = short();
    let program = env!("CARGO_BIN_EXE_cargo-stagecraft");
    let closed = |args: &str| sandbox.program("sh", ["-c", &format!("exec \"$0\" {args} 2>&-"), program]).run();
    closed("dev").exits(0);
    closed("dev down").exits(0);
    closed("dev --detatch").exits(2);
    sandbox.remove(COMPOSE_FILE);
    closed("dev").exits(3);

    let sandbox = short();
    let broken = |args: &[&str]| sandbox.stagecraft(args).stderr(broken_pipe()).stdout(broken_pipe()).run();
    broken(&["dev"]).exits(0);
    broken(&["dev", "-v"]).exits(0);
    broken(&["dev", "--detach"]).exits(0);
    broken(&["dev", "down"]).exits(0);
    broken(&["dev", "--detatch"]).exits(2);
    broken(&["--help"]).exits(0);
    assert!(sandbox.engine.world(|world| world.is_empty()));
    sandbox.remove(COMPOSE_FILE);
    broken(&["dev"]).exits(3);
}

#[test]
fn a_dry_run_that_nobody_can_read_is_no_success() {
    Sandbox::new().stagecraft(["dev", "--dry-run"]).stdout(broken_pipe()).run().exits(1).tells(str![[r#"
error: cannot write to stdout

Caused by:
  Broken pipe (os error 32)

"#]]);
}

#[test]
fn the_environment_of_the_user_reaches_docker() {
    let sandbox = short();
    let host = ("DOCKER_HOST", "unix:///nowhere.sock");
    sandbox.stagecraft(["dev"]).env(host.0, host.1).env("COMPOSE_PROFILES", "extra").run().exits(0);
    for call in sandbox.engine.calls() {
        assert_eq!(call.env[OsStr::new(host.0)], host.1, "{}", call.line());
        assert_eq!(call.env[OsStr::new("COMPOSE_PROFILES")], "extra", "{}", call.line());
    }
}

#[test]
fn the_fake_is_no_docker_of_this_machine() {
    let sandbox = Sandbox::new();
    sandbox.engine.answer(Verb::Version, Reply::exit(0).stdout("fake\n"));
    let finished = sandbox.program("docker", ["compose", "version"]).run().exits(0);
    assert_eq!(finished.stdout(), "fake\n");
    // And without its socket it does nothing at all.
    assert!(
        !Command::new(sandbox.outside().join("bin/docker")).env("FAKE_DOCKER", "/nowhere").status().unwrap().success()
    );
}

// ---------------------------------------------------------------------------------------------- the remembered model

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
fn verbose_says_what_is_remembered_and_the_command_that_it_stands_for() {
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
fn only_what_compose_has_accepted_is_remembered() {
    let sandbox = Sandbox::new();
    sandbox.install_compose("\x7fELF");
    sandbox.engine.answer(Verb::Config, Reply::exit(1).stderr("no\n"));
    sandbox.run(["dev", "--dry-run"]).exits(3);
    sandbox.run(["dev", "--dry-run"]).exits(3);
    assert!(answers(&sandbox).is_empty());
}

#[test]
fn a_model_that_compose_cannot_print_as_json_is_asked_for_without_what_it_cannot_print() {
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

// --------------------------------------------------------------------------------------------- what is wrong, and what next

#[test]
fn a_manifest_that_is_no_toml_is_cargos_to_explain() {
    let sandbox = Sandbox::new();
    sandbox.write("Cargo.toml", "[workspace\n");
    let finished = sandbox.run(["dev", "--detach"]).exits(3).says("unclosed table");
    finished.does_not_say("run this inside a Cargo workspace");
    let finished = sandbox.stagecraft(["dev", "--detach"]).cwd(sandbox.outside()).run().exits(3);
    finished.says("run this inside a Cargo workspace");
}

fn answers(sandbox: &Sandbox) -> Vec<PathBuf> {
    let folder = fs::read_dir(sandbox.root().join("target/stagecraft/model"));
    folder.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}
