//! `--dry-run`.

use super::*;

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
fn a_dry_run_prints_the_commands_of_a_run() {
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
fn a_dry_run_in_a_subdirectory_names_the_directory_of_the_commands() {
    let sandbox = Sandbox::new();
    let finished = sandbox.stagecraft(["dev", "--dry-run"]).cwd(sandbox.root().join("src")).run().exits(0);
    assert_eq!(finished.stderr, "note: these commands are for [ROOT]\n");
    assert_eq!(finished.stdout(), format!("{UP}\n{DOWN}\n"));
}

#[test]
fn a_printed_command_pasted_into_a_shell_runs_the_same_command() {
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
