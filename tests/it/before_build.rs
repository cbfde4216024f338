//! `before-build`: what is started and run before crates are built, and what is undone when something fails.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{COMPOSE_FILE, Reply, Sandbox, Verb};

/// A workspace with a crate that depends on the service `db`, and this before its build.
fn shop(before_build: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.remove(COMPOSE_FILE);
    let manifest = format!(
        "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [package.metadata.stagecraft.dev]\nservice = \"api\"\ndepends_on = [\"db\"]\n\n\
         [workspace.metadata.stagecraft.dev]\nbefore-build = {before_build}\n\n\
         [workspace.metadata.stagecraft.dev.env]\nDATABASE_URL = \"postgres://dev:secret@${{DB_5432_ADDR}}/shop\"\n\n\
         [workspace.metadata.stagecraft.dev.services]\ndb = {{ image = \"postgres\" }}\nmail = {{ image = \"mail\" }}\n"
    );
    sandbox.write("Cargo.toml", &manifest);
    sandbox.write("src/main.rs", "fn main() {}\n");
    sandbox.write("migrations/1.sql", "create table a;\n");
    let api = json!({ "depends_on": { "db": { "condition": "service_started" } } });
    sandbox.engine.world(|world| {
        let db = json!({ "bindings": { "5432/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "49153" }] } });
        let services = [("api", api), ("db", db), ("mail", json!({}))];
        world.health = "healthy";
        world.services = services.map(|(name, service)| (name.to_string(), service)).into();
    });
    sandbox
}

/// The same, running already, and with this before its next build.
fn running_with(before_build: &str) -> Sandbox {
    let sandbox = shop("[]");
    sandbox.run(["dev", "--detach"]).exits(0);
    let manifest = fs::read_to_string(sandbox.root().join("Cargo.toml")).unwrap();
    let changed = manifest.replace("before-build = []", &format!("before-build = {before_build}"));
    sandbox.write("Cargo.toml", &changed);
    sandbox
}

/// What was told to happen, in order.
fn story(stderr: &str) -> Vec<&str> {
    let verbs = ["Starting", "Ready", "Preparing", "Compiling", "Loading", "Started", "Removed"];
    let lines = stderr.lines().map(str::trim_start);
    lines.filter_map(|line| verbs.into_iter().find(|verb| line.starts_with(&format!("{verb} ")))).collect()
}

const APPEND: &str = r#"[{ run = "echo $DATABASE_URL >> log", files = ["migrations"] }]"#;

fn log(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.root().join("log")).unwrap_or_default()
}

#[test]
fn first_the_services_then_the_commands_then_the_build_then_all() {
    let sandbox = shop(APPEND);
    let finished = sandbox.run(["dev", "--detach"]).exits(0);
    let expected = ["Starting", "Ready", "Preparing", "Compiling", "Loading", "Starting", "Started"];
    assert_eq!(story(&finished.stderr), expected, "{}", finished.stderr);
    finished.says("Starting shop: db before the build\n").says("Preparing `echo $DATABASE_URL >> log`\n");
    let ups: Vec<String> = sandbox.engine.calls_of(Verb::Up).iter().map(|call| call.line()).collect();
    let ends = [" up -d db", " up -d"];
    assert!(ups.iter().zip(ends).all(|(up, end)| up.ends_with(end)) && ups.len() == 2, "{ups:?}");
    assert_eq!(log(&sandbox), "postgres://dev:secret@127.0.0.1:49153/shop\n");
}

#[test]
fn a_command_runs_once_for_each_change_of_its_files_and_each_new_database() {
    let sandbox = shop(APPEND);
    let runs = || {
        sandbox.run(["dev", "--detach"]).exits(0);
        (log(&sandbox).lines().count(), sandbox.engine.calls_of(Verb::Up).len())
    };
    assert_eq!(runs(), (1, 2));
    assert_eq!(runs(), (1, 3), "nothing has changed: one `up`");
    sandbox.write("migrations/2.sql", "create table b;\n");
    assert_eq!(runs(), (2, 5));
    sandbox.write("migrations/2.sql", "create table c;\n");
    assert_eq!(runs(), (3, 7));
    fs::rename(sandbox.root().join("migrations/2.sql"), sandbox.root().join("migrations/3.sql")).unwrap();
    assert_eq!(runs(), (4, 9));
    assert_eq!(runs(), (4, 10));
    sandbox.run(["dev", "down"]).exits(0);
    assert_eq!(runs(), (5, 12), "the new database may be empty");
    fs::remove_dir_all(sandbox.root().join("target/stagecraft/before-build")).unwrap();
    assert_eq!(runs(), (6, 14), "`cargo clean` forgets it");
}

#[test]
fn a_command_without_files_runs_at_every_start() {
    let sandbox = shop(r#"["echo >> log", ["touch", "a b"]]"#);
    for runs in [1, 2] {
        sandbox.run(["dev", "--detach"]).exits(0);
        assert_eq!(log(&sandbox).lines().count(), runs);
    }
    assert!(sandbox.root().join("a b").exists(), "without a shell");
}

#[test]
fn without_commands_the_services_are_started_first() {
    let sandbox = shop("[]");
    sandbox.run(["dev", "--detach"]).exits(0);
    assert_eq!(sandbox.engine.calls_of(Verb::Up).len(), 2);
}

#[test]
fn a_command_that_needs_a_service_which_is_not_started_is_left_out() {
    let sandbox =
        shop(r#"[{ run = "echo db >> log", depends_on = ["db"] }, { run = "exit 1", depends_on = ["mail"] }]"#);
    sandbox.run(["dev", "--detach"]).exits(0);
    assert_eq!(log(&sandbox), "db\n");
    sandbox.run(["dev", "--detach", "--", "--no-deps", "api"]).exits(0);
    assert_eq!(log(&sandbox), "db\n");
}

#[test]
fn nothing_happens_before_the_build_if_no_crate_is_built() {
    let sandbox = shop(r#"["exit 1"]"#);
    sandbox.run(["dev", "--detach", "--", "mail"]).exits(0).does_not_say("before the build");
    assert_eq!(sandbox.engine.calls_of(Verb::Up).len(), 1);
}

#[test]
fn a_failed_command_takes_the_services_down() {
    let sandbox = shop(r#"["echo the table exists >&2; exit 7"]"#);
    let finished = sandbox.run(["dev", "--detach"]).exits(1);
    assert_eq!(story(&finished.stderr), ["Starting", "Ready", "Preparing", "Removed"], "{}", finished.stderr);
    let end = "error: `echo the table exists >&2; exit 7` ended with exit status: 7; no crate was built\n";
    assert!(finished.stderr.ends_with(end), "{}", finished.stderr);
    finished.says("\nthe table exists\n");
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

#[test]
fn a_failed_command_leaves_a_stack_that_ran_before_and_one_to_keep() {
    let sandbox = running_with("['exit 7']");
    for args in [&["dev", "--detach"][..], &["dev"]] {
        sandbox.run(args).exits(1).says("note: the stack was running before and is left alone;");
        assert_eq!(sandbox.engine.world(|world| world.containers.len()), 3);
    }
    sandbox.run(["dev", "down"]).exits(0);
    sandbox.run(["dev", "--keep"]).exits(1).says("note: the containers are kept because of --keep;");
    assert_eq!(sandbox.engine.world(|world| world.containers.len()), 1);
}

#[test]
fn a_failed_build_takes_the_services_down() {
    let sandbox = shop("[]");
    sandbox.write("src/main.rs", "fn main() { mistake }\n");
    let finished = sandbox.run(["dev", "--detach"]).exits(1);
    assert_eq!(story(&finished.stderr), ["Starting", "Ready", "Compiling", "Removed"], "{}", finished.stderr);
    assert!(finished.stderr.ends_with("error: the programs of the stack cannot be built\n"), "{}", finished.stderr);
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

#[test]
fn a_service_that_fails_is_reported_and_no_command_runs() {
    let sandbox = shop(r#"["echo >> log"]"#);
    sandbox.engine.on(Verb::Up, |call, world| {
        world.up_for(call);
        world.exits("db", 3);
        Some(Reply::default())
    });
    sandbox.engine.world(|world| world.log = "no space\n");
    let finished = sandbox.run(["dev"]).exits(1);
    finished.says("error: shop did not become ready: db exited with 3");
    assert_eq!(log(&sandbox), "");
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

#[test]
fn an_interrupt_ends_the_command_and_takes_the_services_down() {
    let sandbox = shop(r#"["echo started; sleep 1000"]"#);
    let run = sandbox.stagecraft(["dev"]).in_terminal();
    run.wait_for_text("started\r\n");
    run.press_ctrl_c();
    let finished = run.wait().exits(130);
    let finished = finished.says(" shop (SIGINT); press Ctrl+C again to kill its containers at once");
    finished.says(" shop; nothing of it is left");
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

/// As after its `up`.
#[test]
fn an_interrupt_in_the_foreground_takes_down_a_stack_that_ran_before() {
    let sandbox = running_with("['echo started; sleep 1000']");
    let run = sandbox.stagecraft(["dev"]).in_terminal();
    run.wait_for_text("started\r\n");
    run.press_ctrl_c();
    run.wait().exits(130).says(" shop: db before the build (Ctrl+C stops and removes it)");
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

#[test]
fn an_interrupt_leaves_a_stack_that_ran_before() {
    let sandbox = running_with("['echo started; sleep 1000']");
    let run = sandbox.stagecraft(["dev", "--detach"]).in_terminal();
    run.wait_for_text("started\r\n");
    run.signal(Signal::TERM);
    run.wait().exits(143).says(" by SIGTERM; shop is left as it is");
    assert_eq!(sandbox.engine.world(|world| world.containers.len()), 3);
}

#[test]
fn values_are_given_to_commands_and_cargo_and_are_not_printed() {
    let sandbox = shop(r#"[["sh", "-c", "test ${#DATABASE_URL} = 42"]]"#);
    sandbox.write("src/main.rs", "fn main() { const { assert!(env!(\"DATABASE_URL\").len() == 42) } }\n");
    let run = sandbox.stagecraft(["dev", "--detach", "--verbose"]).env("DATABASE_URL", "of another stack");
    run.run().exits(0).does_not_say("secret");
}

#[test]
fn a_command_that_fails_without_a_value_says_which() {
    let sandbox = shop(r#"["exit 1"]"#);
    sandbox.engine.world(|world| world.services.insert("db".to_string(), json!({})));
    let help = "help: DATABASE_URL was not set, because DB_5432_ADDR has no value; does the service publish its port?";
    sandbox.run(["dev", "--detach"]).exits(1).says(help);
}

#[test]
fn what_cannot_run_is_exit_code_3() {
    for (before_build, expected) in [
        (
            "'make'",
            "error: Cargo.toml: [workspace.metadata.stagecraft.dev] `before-build` must be an array of commands",
        ),
        ("[['no-such-program']]", "error: cannot run `no-such-program`, a command of `before-build`\n"),
        (
            "[{run = 'true', files = ['none']}]",
            "error: cannot read none, which `before-build` names as a file of `true`\n",
        ),
    ] {
        let sandbox = shop(before_build);
        sandbox.run(["dev", "--detach"]).exits(3).says(expected);
        assert!(sandbox.engine.world(|world| world.is_empty()), "{before_build}");
    }
}

#[test]
fn quiet_shows_the_output_of_a_command_that_fails() {
    let sandbox = shop(r#"["echo one"]"#);
    assert_eq!(sandbox.run(["dev", "--detach", "--quiet"]).exits(0).stderr, "");
    let manifest = fs::read_to_string(sandbox.root().join("Cargo.toml")).unwrap();
    sandbox.write("Cargo.toml", &manifest.replace("echo one", "echo two; exit 1"));
    sandbox
        .run(["dev", "--detach", "--quiet"])
        .exits(1)
        .says("two\nerror: `echo two; exit 1` ended with exit status: 1");
}

#[test]
fn messages_of_a_failure_are_alone_on_stdout() {
    let sandbox = shop(r#"["echo out; exit 1"]"#);
    let finished = sandbox.run(["dev", "--detach", "--message-format", "json"]).exits(1);
    let messages = finished.stdout().lines().filter(|line| !line.contains("dev-file"));
    let messages = messages.map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line));
    let reasons: Vec<String> = messages.map(|message| message["reason"].as_str().unwrap().to_string()).collect();
    assert_eq!(reasons, ["service-ready", "error", "stack-stopped", "finished"]);
    finished.says("out\n");
}

#[test]
fn a_dry_run_prints_the_first_up_and_the_commands() {
    let sandbox = shop(APPEND);
    let finished = sandbox.run(["dev", "--dry-run"]).exits(0);
    let lines: Vec<&str> = finished.stdout().lines().collect();
    assert!(lines[0].ends_with(" up -d db") && lines.len() == 5, "{lines:?}");
    assert_eq!(lines[1], "sh -c 'echo $DATABASE_URL >> log'");
    assert!(lines[2].contains(" build --bin shop "), "{lines:?}");
    assert!(sandbox.engine.changes().is_empty());
}
