//! Settings: what variables and Cargo.toml say where the command line says nothing, and what is passed on to cargo.

use serde_json::json;
use snapbox::str;

use crate::support::{COMPOSE_FILE, Finished, Sandbox, Verb};

/// A sandbox whose services never become ready, and whose Cargo.toml has these settings.
fn with_settings(settings: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    set(&sandbox, settings);
    sandbox.engine.world(|world| {
        world.health = "starting";
        world.services.insert("traefik".to_string(), json!({}));
    });
    sandbox.engine.hold(Verb::Starts);
    sandbox
}

fn set(sandbox: &Sandbox, settings: &str) {
    let package = "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    sandbox.write("Cargo.toml", &format!("{package}\n[workspace.metadata.stagecraft]\n{settings}"));
}

/// Names and values.
type Variables<'a> = &'a [(&'a str, &'a str)];

fn run(sandbox: &Sandbox, typed: &str, variables: Variables<'_>) -> Finished {
    let program = sandbox.stagecraft(typed.split(' '));
    variables.iter().fold(program, |program, (name, value)| program.env(name, value)).run()
}

#[test]
fn the_command_line_comes_before_variables_and_these_before_cargo_toml() {
    const NONE: Variables<'_> = &[];
    let table: [(&str, &str, Variables<'_>, &str); 18] = [
        // in Cargo.toml, on the command line, variables, in the commands
        ("", "dev --dry-run", NONE, "up\ndown\n"),
        ("timeout = 7\n", "dev --dry-run", NONE, "up\ndown --timeout 7\n"),
        ("timeout = 7\n", "dev --dry-run", &[("STAGECRAFT_TIMEOUT", "8")], "up\ndown --timeout 8\n"),
        ("timeout = 7\n", "dev --dry-run", &[("STAGECRAFT_TIMEOUT", "")], "up\ndown --timeout 7\n"),
        ("timeout = 7\n", "dev --dry-run --timeout 9", &[("STAGECRAFT_TIMEOUT", "8")], "up\ndown --timeout 9\n"),
        ("timeout = '1m'\n", "dev --dry-run", &[], "up\ndown --timeout 60\n"),
        ("", "dev --dry-run", &[("STAGECRAFT_TIMEOUT", "1m30s")], "up\ndown --timeout 90\n"),
        ("", "dev --timeout 2m --dry-run down", &[], "down --timeout 120\n"),
        ("timeout = 7\n", "dev down --dry-run", NONE, "down --timeout 7\n"),
        ("timeout = 7\n", "dev down --dry-run", &[("STAGECRAFT_TIMEOUT", "8")], "down --timeout 8\n"),
        ("timeout = 7\n", "dev down --dry-run --timeout 9", &[("STAGECRAFT_TIMEOUT", "8")], "down --timeout 9\n"),
        ("traefik = false\n", "dev --dry-run", NONE, "up --scale traefik=0\ndown\n"),
        ("traefik = true\n", "dev --dry-run", NONE, "up\ndown\n"),
        ("traefik = true\n", "dev --dry-run", &[("STAGECRAFT_TRAEFIK", "false")], "up --scale traefik=0\ndown\n"),
        ("traefik = false\n", "dev --dry-run", &[("STAGECRAFT_TRAEFIK", "true")], "up\ndown\n"),
        ("traefik = false\n", "dev --dry-run --traefik", NONE, "up\ndown\n"),
        ("", "dev --dry-run --traefik", &[("STAGECRAFT_TRAEFIK", "false")], "up\ndown\n"),
        ("", "dev --dry-run --no-traefik", &[("STAGECRAFT_TRAEFIK", "true")], "up --scale traefik=0\ndown\n"),
    ];
    for (settings, typed, variables, expected) in table {
        let finished = run(&with_settings(settings), typed, variables).exits(0);
        let words = |line: &str| line.split_once("compose.yaml ").expect(line).1.to_string() + "\n";
        let seen: String = finished.stdout().lines().map(words).collect();
        assert_eq!(seen, expected, "{settings:?}, {typed}, {variables:?}");
    }
}

#[test]
fn a_wait_and_its_time_are_set_one_by_one() {
    let table: [(&str, &str, Variables<'_>, Option<&str>); 9] = [
        // in Cargo.toml, on the command line, variables, waited in vain
        ("wait-timeout = 1\n", "dev --detach", &[], None),
        ("wait = true\nwait-timeout = 1\n", "dev --detach", &[], Some("not ready within 1 s")),
        ("wait = true\nwait-timeout = 1\n", "dev --detach --no-wait", &[], None),
        ("wait = true\nwait-timeout = 1\n", "dev --detach", &[("STAGECRAFT_WAIT", "false")], None),
        ("wait = true\n", "dev --detach", &[("STAGECRAFT_WAIT_TIMEOUT", "1")], Some("not ready within 1 s")),
        (
            "wait-timeout = 90\n",
            "dev --detach --wait",
            &[("STAGECRAFT_WAIT_TIMEOUT", "1")],
            Some("not ready within 1 s"),
        ),
        ("", "dev --detach --wait-timeout 1", &[("STAGECRAFT_WAIT", "false")], Some("not ready within 1 s")),
        ("", "dev --detach", &[("STAGECRAFT_WAIT_TIMEOUT", "1")], None),
        ("", "dev --detach --no-wait", &[("STAGECRAFT_WAIT", "true")], None),
    ];
    for (settings, typed, variables, late) in table {
        let finished = run(&with_settings(settings), typed, variables);
        match late {
            Some(words) => finished.exits(5).says(words),
            None => finished.exits(0),
        };
    }
}

#[test]
fn status_does_not_expect_services_that_were_not_started() {
    let sandbox = with_settings("traefik = false\n");
    sandbox.engine.world(|world| {
        world.health = "healthy";
        // What has been started is judged with what it depends on.
        let depends_on = json!({ "traefik": { "condition": "service_started" } });
        world.services.insert("api".to_string(), json!({ "depends_on": depends_on }));
    });
    run(&sandbox, "dev --detach", &[]).exits(0);
    let finished = run(&sandbox, "dev status", &[]).exits(0);
    assert!(!finished.stdout().contains("traefik"), "{}", finished.stdout());
    run(&sandbox, "dev status --traefik", &[]).exits(1);
    run(&sandbox, "dev status", &[("STAGECRAFT_TRAEFIK", "true")]).exits(1);
}

#[test]
fn an_invalid_setting_is_reported_with_file_table_and_key() {
    let sandbox = with_settings("wait-time = 3\n");
    run(&sandbox, "dev --detach", &[]).exits(3).tells(str![[r#"
error: Cargo.toml: [workspace.metadata.stagecraft] `wait-time` is not known
help: a key with a similar name exists: `wait-timeout`

"#]]);
    set(&sandbox, "wait = 1\n");
    run(&sandbox, "dev files --check", &[]).exits(3).tells(str![[r#"
error: Cargo.toml: [workspace.metadata.stagecraft] `wait` must be a boolean, found an integer

"#]]);
    assert!(sandbox.engine.calls().is_empty());
}

#[test]
fn an_invalid_setting_does_not_prevent_a_teardown() {
    let sandbox = with_settings("");
    sandbox.engine.world(|world| world.health = "");
    run(&sandbox, "dev --detach", &[]).exits(0);
    set(&sandbox, "timeout = \"long\"\n");
    run(&sandbox, "dev down", &[]).exits(0).says(
        "warning: Cargo.toml: [workspace.metadata.stagecraft] `timeout` must be a duration such as `90s` or `2m`, found `long`; continuing \
         without settings\n",
    );
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

#[test]
fn a_variable_that_makes_no_sense_is_wrong_usage_unless_the_flag_overrides_it_or_the_verb_does_not_ask() {
    let sandbox = with_settings("");
    for (typed, name, value, rule) in [
        ("dev", "STAGECRAFT_WAIT", "1", "expected `true` or `false`"),
        ("dev", "STAGECRAFT_TRAEFIK", "off", "expected `true` or `false`"),
        ("dev", "STAGECRAFT_WAIT_TIMEOUT", "soon", "expected whole seconds, as in `90`, `90s` or `1m30s`"),
        ("dev down", "STAGECRAFT_TIMEOUT", "-1", "expected whole seconds, as in `90`, `90s` or `1m30s`"),
        ("dev list", "CARGO_TERM_QUIET", "1", "expected `true` or `false`"),
        ("dev status", "CARGO_TERM_HYPERLINKS", "auto", "expected `true` or `false`"),
    ] {
        let expected = format!("error: invalid {name} `{value}`: {rule}\n");
        run(&sandbox, typed, &[(name, value)]).exits(2).says(&expected);
    }
    assert!(sandbox.engine.calls().is_empty());
    run(&sandbox, "dev --dry-run --no-wait --timeout 3", &[("STAGECRAFT_WAIT", "1"), ("STAGECRAFT_TIMEOUT", "x")])
        .exits(0);
    run(&sandbox, "dev down --dry-run", &[("STAGECRAFT_WAIT", "1")]).exits(0);
}

#[test]
fn a_variable_similar_to_a_setting_is_a_warning() {
    let sandbox = with_settings("");
    let variables = [("STAGECRAFT_WAITTIMEOUT", "3"), ("STAGECRAFT_WAIT_TIMEOUT", "3"), ("STAGECRAFT_ENGINES", "/x")];
    run(&sandbox, "dev --dry-run", &variables).exits(0).tells(str![[r#"
warning: variable `STAGECRAFT_WAITTIMEOUT` is not known; one with a similar name is: `STAGECRAFT_WAIT_TIMEOUT`

"#]]);
}

#[test]
fn a_default_of_cargo_toml_that_has_nothing_to_act_on_is_not_spoken_of() {
    let sandbox = with_settings("traefik = false\n");
    sandbox.engine.world(|world| world.services.remove("traefik"));
    run(&sandbox, "dev --dry-run", &[]).exits(0).does_not_say("traefik");
    run(&sandbox, "dev --dry-run --no-traefik", &[]).exits(0).says("note: the stack has no active service `traefik`");
}

#[test]
fn cargos_variables_say_how_much_is_said_where_no_flag_does() {
    let sandbox = with_settings("");
    sandbox.engine.world(|world| world.services.remove("traefik"));
    // Whether a note is shown, and whether commands are.
    let shows = |flags: &str, variables: Variables<'_>| {
        let said = run(&sandbox, &format!("dev --dry-run --no-traefik{flags}"), variables).exits(0).stderr;
        (said.contains("note: "), said.contains("     Running "))
    };
    let (quiet, verbose) = (("CARGO_TERM_QUIET", "true"), ("CARGO_TERM_VERBOSE", "true"));
    assert_eq!(shows("", &[]), (true, false));
    assert_eq!(shows("", &[quiet]), (false, false));
    assert_eq!(shows("", &[verbose]), (true, true));
    assert_eq!(shows(" -q", &[verbose]), (false, false));
    assert_eq!(shows(" -v", &[quiet]), (true, true));
    assert_eq!(shows("", &[("CARGO_TERM_QUIET", "false"), ("CARGO_TERM_VERBOSE", "false")]), (true, false));
    run(&sandbox, "dev --dry-run", &[quiet, verbose])
        .exits(2)
        .says("error: CARGO_TERM_QUIET and CARGO_TERM_VERBOSE cannot both be `true`\n");
}

#[test]
fn locked_offline_and_frozen_are_passed_to_every_call_of_cargo() {
    let sandbox = Sandbox::new();
    let manifest =
        "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[package.metadata.stagecraft.dev]\n";
    sandbox.write("Cargo.toml", manifest);
    sandbox.write("src/main.rs", "fn main() {}\n");
    sandbox.remove(COMPOSE_FILE);
    sandbox.engine.world(|world| world.services = [("shop".to_string(), json!({}))].into());
    let finished = run(&sandbox, "dev --dry-run -v --locked --offline", &[]).exits(0);
    finished.says(" metadata --format-version 1 --no-deps --locked --offline\n");
    let finished = run(&sandbox, "dev --dry-run --frozen", &[]).exits(0);
    assert!(finished.stdout().contains(" build --frozen --bin shop "), "{}", finished.stdout());
    // There is no lock file that could remain unchanged.
    let finished = run(&sandbox, "dev --detach --locked", &[]).exits(1);
    finished.says("because --locked was passed").says("the programs of the stack cannot be built; nothing was started");
    assert!(!sandbox.root().join("Cargo.lock").exists());
}

#[test]
fn a_mistyped_option_or_command_gets_a_suggestion() {
    let sandbox = Sandbox::new();
    for (typed, tip) in [
        ("dev --detatch", "tip: a similar argument exists: '--detach'"),
        ("dev --no-trafik", "tip: a similar argument exists: '--no-traefik'"),
        ("dev stauts", "tip: a similar subcommand exists: 'dev status'"),
        ("down", "tip: a similar subcommand exists: 'dev down'"),
        ("dve", "tip: a similar subcommand exists: 'dev'"),
        ("dev --color allways", "tip: a similar value exists: 'always'"),
    ] {
        run(&sandbox, typed, &[]).exits(2).says(tip);
    }
}
