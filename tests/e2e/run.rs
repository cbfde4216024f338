//! `dev run`: a stack for one command, and how both end.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::run::{Other, Run};
use crate::support::stage::{Stage, healthy, polite, service, stack, write};

mod terminal;

on_both_pairs![
    exit_codes,
    beside_the_stack,
    only_what_is_named,
    not_ready,
    reuse_of_what_runs,
    reuse_where_nothing_runs,
    reuse_of_a_part,
    interrupted_before_the_command,
    killed_while_the_command_runs,
    last_words_of_a_service,
    ten_at_once
];

// These are about the command.
mod about_the_command {
    on_the_new_pair![
        environment,
        input_of_a_pipe,
        interrupts_are_passed_on,
        a_second_interrupt_kills_the_command,
        what_the_command_leaves_running,
        logs,
        dry_run,
    ];

    use super::{
        a_second_interrupt_kills_the_command, dry_run, environment, input_of_a_pipe, interrupts_are_passed_on, logs,
        what_the_command_leaves_running,
    };
}

/// The project of the first isolated stack.
fn isolated(stage: &Stage) -> String {
    let project = format!("{}-1", stage.project);
    stage.expect_project(&project);
    project
}

/// That nothing of the isolated stack is left, and no file of it.
#[track_caller]
fn assert_removed(stage: &Stage, project: &str) {
    let left = stage.engine.left(project);
    assert!(left.is_empty(), "still on the engine: {left:#?}");
    assert!(!stage.engine.has_volume(&format!("{project}_data")));
    assert!(!stage.root().join(".stagecraft/dev/stacks").exists());
}

fn run_sh(script: &str) -> [&str; 6] {
    ["dev", "run", "--", "sh", "-c", script]
}

/// A stack of which everything is ready soon.
fn small(stage: &Stage) {
    stage.compose(&stack(&[healthy("web", &["ports: ['127.0.0.1::80']", "volumes: ['data:/data']"])]));
    let file = stage.root().join(".stagecraft/dev/compose.yaml");
    let text = fs::read_to_string(&file).expect("the compose file");
    write(&file, &format!("{text}volumes: {{data: {{}}}}\n"));
}

fn exit_codes(stage: &Stage) {
    small(stage);
    let project = isolated(stage);
    for (script, code) in [("exit 0", 0), ("exit 101", 101)] {
        stage.tool(&run_sh(script)).run().with(code).says("Removed");
        assert_removed(stage, &project);
    }
    stage.tool(&["dev", "--detach", "--wait"]).run().with(0);
    let joined = |command: &[&str]| stage.tool(&[&["dev", "run", "--reuse", "--"], command].concat()).run();
    for (script, code) in [("exit 1", 1), ("exit 6", 6), ("exit 125", 125), ("kill -9 $$", 137), ("kill $$", 143)] {
        joined(&["sh", "-c", script]).with(code).does_not_say("error");
    }
    joined(&["no-such-program"]).with(127).says("cannot find the command `no-such-program`");
    joined(&["./none"]).with(127);
    let file = stage.root().join("file");
    write(&file, "#!/no/such/interpreter\n");
    joined(&["./file"]).with(126).says("cannot execute `./file`");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("permissions");
    // The system says of both that there is no such file.
    joined(&["./file"]).with(127);
    stage.assert_running(&["web"]);
    stage.tool(&["dev", "down", "--volumes"]).run().with(0);
    // Found out before anything is started.
    stage.tool(&["dev", "run", "--", "no-such-program"]).run().with(127).does_not_say("Starting");
}

/// The developer's stack stays as it is, its data among that.
fn beside_the_stack(stage: &Stage) {
    small(stage);
    let project = isolated(stage);
    stage.tool(&["dev", "--detach", "--wait"]).run().with(0);
    let container = stage.container("web");
    let address = stage.tool(&["dev", "env"]).run().with(0).stdout;
    let run = stage.tool(&run_sh("env; echo the command ru\"\"ns; read line")).start_in_terminal();
    run.wait_for("the command runs");
    assert_eq!(stage.containers_of(&project)["web"], "running");
    assert!(stage.engine.has_volume(&format!("{project}_data")));
    let printed = run.transcript.text();
    assert!(printed.contains(&format!("COMPOSE_PROJECT_NAME={project}")), "{printed}");
    let theirs = address.lines().find(|line| line.starts_with("WEB_80_ADDR=")).expect("an address");
    assert!(printed.contains("WEB_80_ADDR=127.0.0.1:2") || printed.contains("WEB_80_ADDR=127.0.0.1:3"), "{printed}");
    assert!(!printed.contains(theirs), "{printed}");
    run.terminal().type_in(b"\n");
    run.end().with(0);
    assert_removed(stage, &project);
    assert_eq!(stage.container("web"), container);
    assert!(stage.engine.has_volume(&format!("{}_data", stage.project)));
    stage.tool(&["dev", "down", "--volumes"]).run().with(0);
}

fn only_what_is_named(stage: &Stage) {
    let depends = "depends_on: {db: {condition: service_healthy}}";
    stage.compose(&stack(&[healthy("db", &[]), healthy("api", &[depends]), healthy("other", &[])]));
    let project = isolated(stage);
    let script =
        "docker ps --filter label=com.docker.compose.project=$COMPOSE_PROJECT_NAME --format 'there: {{.Names}}'";
    let ended = stage.tool(&["dev", "run", "--service", "api", "--", "sh", "-c", script]).run().with(0);
    assert_eq!(ended.stdout.matches("there: ").count(), 2, "{}", ended.stdout);
    assert!(ended.stdout.contains(&format!("{project}-api-1")) && ended.stdout.contains(&format!("{project}-db-1")));
    stage.tool(&["dev", "run", "--service", "ap", "--", "true"]).run().with(125).says("has no service `ap`");
    assert_removed(stage, &project);
}

/// The exit code cannot be mistaken for one of the command, and the messages have the one of `dev`.
fn not_ready(stage: &Stage) {
    stage.compose(&stack(&[service("web", "echo no luck; exit 3", &[])]));
    let project = isolated(stage);
    let ended = stage.tool(&run_sh("echo it runs")).run().with(125);
    let ended = ended.says("no luck").says("the command was not run").does_not_say("it runs");
    assert!(ended.complaints().contains("web exited with 3"), "{}", ended.complaints());
    assert_removed(stage, &project);
    stage.compose(&stack(&[polite("web", &["healthcheck: {test: [CMD, 'false'], interval: 100s}"])]));
    let args = ["dev", "run", "--wait-timeout", "1", "--message-format", "json", "--", "true"];
    let ended = stage.tool(&args).run().with(125);
    let messages: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |reason: &str| messages.iter().find(|message| message["reason"] == reason).expect("a message");
    assert_eq!(of("command-not-run")["exit_code"], 5);
    assert_eq!(of("finished")["exit_code"], 125);
    assert_removed(stage, &project);
}

fn reuse_of_what_runs(stage: &Stage) {
    small(stage);
    stage.tool(&["dev", "--detach", "--wait"]).run().with(0);
    let container = stage.container("web");
    // A change that a start would apply.
    let file = stage.root().join(".stagecraft/dev/compose.yaml");
    let text = fs::read_to_string(&file).expect("the compose file");
    write(&file, &text.replace("    volumes: ['data:/data']", "    volumes: ['data:/data']\n    environment: {A: b}"));
    let args = ["dev", "run", "--reuse", "--message-format", "json", "--", "sh", "-c", "exit 4"];
    let ended = stage.tool(&args).run().with(4);
    let reasons: Vec<String> = ended
        .stdout
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("JSON")["reason"].as_str().expect("a reason").to_string()
        })
        .collect();
    assert_eq!(reasons, ["command-started", "command-ended", "finished"]);
    assert_eq!(stage.container("web"), container);
    stage.assert_running(&["web"]);
    stage.tool(&["dev", "down", "--volumes"]).run().with(0);
}

fn reuse_where_nothing_runs(stage: &Stage) {
    small(stage);
    let ended = stage.tool(&["dev", "run", "--reuse", "--", "sh", "-c", "echo $COMPOSE_PROJECT_NAME"]).run().with(0);
    assert_eq!(ended.stdout.trim(), stage.project);
    assert!(stage.containers().is_empty());
    assert!(stage.engine.has_volume(&format!("{}_data", stage.project)));
    stage.tool(&["dev", "down", "--volumes"]).run().with(0);
}

fn reuse_of_a_part(stage: &Stage) {
    stage.compose(&stack(&[healthy("web", &[]), healthy("db", &[])]));
    stage.tool(&["dev", "--detach", "--wait", "--", "web"]).run().with(0);
    let ended = stage.tool(&["dev", "run", "--reuse", "--", "true"]).run().with(125);
    ended.says("runs without db").says("cargo stagecraft dev --detach");
    stage.tool(&["dev", "run", "--reuse", "--service", "web", "--", "true"]).run().with(0);
    stage.assert_running(&["web"]);
    stage.take_down();
}

fn interrupted_before_the_command(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &["healthcheck: {test: [CMD, 'false'], interval: 100s}"])]));
    let project = isolated(stage);
    let run = stage.tool(&run_sh("echo it runs")).start();
    run.wait_for("Waiting for web");
    run.signal(Signal::INT);
    run.end().with(130).does_not_say("it runs");
    assert_removed(stage, &project);
}

/// A command that says when it runs, and keeps a connection open as long as it does.
fn connected(stage: &Stage, script: &str) -> (Run, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; {script}");
    (stage.tool(&["dev", "run", "--", "bash", "-c", &script]).start(), listener)
}

/// The guard ends the command with all that it has started, and the stack.
fn killed_while_the_command_runs(stage: &Stage) {
    small(stage);
    let project = isolated(stage);
    let (run, listener) = connected(stage, "trap '' TERM; sleep 1000 & echo the command ru\"\"ns; wait");
    let (mut command, _) = listener.accept().expect("a connection");
    run.wait_for("the command runs");
    let family = Other::descendants(run.pid());
    run.signal(Signal::KILL);
    run.end_whatever_compose_says().with(-9);
    family.into_iter().for_each(Other::ends);
    assert!(matches!(command.read(&mut [0]), Ok(0) | Err(_)), "the command has ended");
    // It waits for the guard, or does its work.
    stage.tool(&["dev", "down", "--project-name", &project]).run().with(0);
    assert_removed(stage, &project);
}

fn last_words_of_a_service(stage: &Stage) {
    let script = "trap 'echo these are my last words; exit 9' USR1; echo web is ready; sleep 1000 & wait";
    stage.compose(&stack(&[service("web", script, &["healthcheck: {test: [CMD, 'true'], interval: 1s}"])]));
    let project = isolated(stage);
    let script = format!("docker kill -s USR1 {project}-web-1; docker wait {project}-web-1; exit 1");
    let ended = stage.tool(&run_sh(&script)).run().with(1);
    ended.says("these are my last words").says("is not ready any more: web exited with 9");
    // Nothing is said where the command has succeeded.
    let script = script.replace("exit 1", "exit 0");
    stage.tool(&run_sh(&script)).run().with(0).does_not_say("these are my last words");
    assert_removed(stage, &project);
}

fn ten_at_once(stage: &Stage) {
    const MANY: usize = 10;
    small(stage);
    let projects: Vec<String> = (1..=MANY).map(|slot| format!("{}-{slot}", stage.project)).collect();
    projects.iter().for_each(|project| stage.expect_project(project));
    let runs: Vec<Run> =
        (0..MANY).map(|_| stage.tool(&run_sh("echo $COMPOSE_PROJECT_NAME $WEB_80_ADDR")).start()).collect();
    let printed: Vec<String> = runs.into_iter().map(|run| run.end().with(0).stdout).collect();
    let mut addresses: Vec<&str> = printed.iter().map(|line| line.split_once(' ').expect("two words").1).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), MANY, "{printed:?}");
    projects.iter().for_each(|project| assert_removed(stage, project));
}

fn environment(stage: &Stage) {
    let manifest = stage.root().join("Cargo.toml");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let table = "URL = \"http://${WEB_80_ADDR}/\"\nMISSING = \"${DB_5432_ADDR}\"\n";
    write(&manifest, &format!("{text}[workspace.metadata.stagecraft.dev.env]\n{table}"));
    let db = healthy("db", &["ports: ['127.0.0.1::5432']"]);
    stage.compose(&stack(&[healthy("web", &["ports: ['127.0.0.1::80']"]), db]));
    let project = isolated(stage);
    // As after `export $(cargo stagecraft dev env)` for another stack.
    let run = stage.tool(&["dev", "run", "--service", "web", "--", "env"]);
    let run = ["WEB_80_ADDR", "WEB_80_URL", "URL", "MISSING", "DB_5432_ADDR", "DB_5432_PORT", "KEPT"]
        .into_iter()
        .fold(run, |run, name| run.env(name, "of another stack"));
    let ended = run.run().with(0).says("variable MISSING is left out");
    let value = |name: &str| ended.stdout.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    let address = value("WEB_80_ADDR").expect("an address").to_string();
    assert_eq!(value("URL"), Some(&*format!("http://{address}/")));
    assert_eq!(value("WEB_80_URL"), Some(&*format!("http://{address}")));
    assert_eq!(value("COMPOSE_PROJECT_NAME"), Some(&*project));
    assert_eq!(value("KEPT"), Some("of another stack"));
    for name in ["MISSING", "DB_5432_ADDR", "DB_5432_PORT"] {
        assert_eq!(value(name), None, "{name}");
    }
}

fn input_of_a_pipe(stage: &Stage) {
    small(stage);
    isolated(stage);
    let tool = env!("CARGO_BIN_EXE_cargo-stagecraft");
    let script = format!("echo some input | {tool} dev run -- cat | tr a-z A-Z");
    let ended = stage.program("sh", &["-c", &script]).run().with(0);
    assert_eq!(ended.stdout, "SOME INPUT\n");
}

fn interrupts_are_passed_on(stage: &Stage) {
    small(stage);
    let project = isolated(stage);
    for (signal, name) in [(Signal::INT, "INT"), (Signal::TERM, "TERM"), (Signal::HUP, "HUP")] {
        let script =
            format!("trap 'echo it w\"\"as {name}; exit 7' {name}; echo the command ru\"\"ns; sleep 1000 & wait");
        let run = stage.tool(&["dev", "run", "--", "bash", "-c", &script]).start();
        run.wait_for("the command runs");
        run.signal(signal);
        run.end().with(7).says(&format!("it was {name}")).says("Removed");
        assert_removed(stage, &project);
    }
    let run = stage.tool(&["dev", "run", "--", "bash", "-c", "echo the command ru\"\"ns; sleep 1000"]).start();
    run.wait_for("the command runs");
    run.signal(Signal::TERM);
    run.end().with(143);
    assert_removed(stage, &project);
}

fn a_second_interrupt_kills_the_command(stage: &Stage) {
    small(stage);
    let project = isolated(stage);
    let (run, listener) =
        connected(stage, "trap 'echo I st\"\"ay' INT; echo the command ru\"\"ns; while :; do sleep 1000; done");
    let (mut command, _) = listener.accept().expect("a connection");
    run.wait_for("the command runs");
    run.signal(Signal::INT);
    run.wait_for("I stay");
    run.signal(Signal::INT);
    run.end().with(137).says("Removed");
    assert!(matches!(command.read(&mut [0]), Ok(0) | Err(_)), "what it has started has ended");
    assert_removed(stage, &project);
}

fn what_the_command_leaves_running(stage: &Stage) {
    small(stage);
    isolated(stage);
    let (run, listener) = connected(stage, "sleep 1000 > /dev/null 2>&1 & exit 1");
    let (mut left, _) = listener.accept().expect("a connection");
    run.end().with(1);
    assert!(matches!(left.read(&mut [0]), Ok(0) | Err(_)), "it has ended");
}

fn logs(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &["healthcheck: {test: [CMD, 'true'], interval: 1s}"])]));
    isolated(stage);
    stage.tool(&run_sh("echo the command ru\"\"ns")).run().with(0).does_not_say("web is ready");
    let run = stage.tool(&["dev", "run", "--logs", "--", "sh", "-c", "read line"]).start_in_terminal();
    run.wait_for("web is ready");
    run.terminal().type_in(b"\n");
    run.end().with(0);
}

fn dry_run(stage: &Stage) {
    small(stage);
    let ended = stage.tool(&["dev", "run", "--dry-run", "--service", "web", "--", "cargo", "test"]).run().with(0);
    let project = format!("{}-1", stage.project);
    let compose = format!(
        "COMPOSE_PROJECT_NAME={project} docker compose -f .stagecraft/dev/compose.yaml -f .stagecraft/dev/stacks/{project}.yaml"
    );
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(
        lines,
        [format!("COMPOSE_MENU=0 {compose} up -d web"), "cargo test".to_string(), format!("{compose} down --volumes")]
    );
    assert!(!stage.root().join(".stagecraft/dev/stacks").exists());
    stage.assert_gone();
}
