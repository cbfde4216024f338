//! What crates need while they are compiled: services that are started first, and commands that run when they are ready.

use super::interrupted::{accept, endless_build};
use super::*;

on_both_pairs![
    a_build_reads_from_a_service_of_its_stack,
    a_failed_build_takes_down_what_was_started_for_it,
    a_service_that_never_becomes_ready,
    ctrl_c_while_a_command_runs,
    ctrl_c_while_cargo_builds_for_services_that_run,
    killed_while_a_command_runs,
    killed_while_cargo_builds_for_services_that_run
];

/// A service that answers with what it was asked to contain, at an address that the engine chooses.
const DB: &str = "[workspace.metadata.stagecraft.dev.services.db]\nimage = 'stagecraft-test'\ninit = true\n\
                  command = ['sh', '-c', 'mkdir /www; echo the types > /www/types; exec httpd -f -p 8080 -h /www']\n\
                  ports = ['127.0.0.1::8080']\n\
                  healthcheck = {test = ['CMD', 'wget', '-q', '-O', '-', 'http://127.0.0.1:8080/types'], interval = '1s'}\n";
const DEPENDS: &str = "depends_on = {db = {condition = 'service_healthy'}}\n";

fn tables(before_build: &str) -> String {
    format!("[workspace.metadata.stagecraft.dev]\nbefore-build = {before_build}\n{DB}")
}

fn a_build_reads_from_a_service_of_its_stack(stage: &Stage) {
    let keys = format!("{PUBLISHED}{DEPENDS}");
    let main = program("api", "MARK", 8080).replace("\"MARK\".to_string()", "env!(\"TYPES\").to_string()");
    let step = "[{run = 'curl --fail --silent $TYPES_URL > types', files = ['api/src']}]";
    let env = "[workspace.metadata.stagecraft.dev.env]\nTYPES_URL = '${DB_8080_URL}/types'\n";
    workspace(stage, &(tables(step) + env), &[Package { name: "api", keys: &keys, main }]);
    // As sqlx does, it asks the service, and fails without.
    let script = "fn main() {\n    let url = std::env::var(\"TYPES_URL\").expect(\"an address\");\n    \
                  let answer = std::process::Command::new(\"curl\").args([\"-sf\", &url]).output().expect(\"curl\");\n    \
                  let by_command = std::fs::read_to_string(\"../types\").expect(\"the file of the command\");\n    \
                  assert_eq!(String::from_utf8_lossy(&answer.stdout), by_command);\n    \
                  println!(\"cargo:rustc-env=TYPES={}\", by_command.trim());\n}\n";
    write(&stage.root().join("api/build.rs"), script);
    let run = stage.tool(&["dev"]).start();
    run.wait_for("api is ready");
    assert_eq!(ask(stage, "api", "/"), "the types");
    run.signal(Signal::INT);
    let ended = run
        .end()
        .with(130)
        .says(&format!("Starting {}: db before the build (Ctrl+C stops and removes it)\n", stage.project));
    ended.says("Preparing `curl --fail").says("Compiling api");
    stage.assert_gone();
    // Detached, and once more: nothing is left to do.
    stage.tool(&["dev", "--detach"]).run().with(0).says("Preparing `curl --fail");
    stage.tool(&["dev", "--detach"]).run().with(0).does_not_say("before the build").does_not_say("Preparing");
    stage.take_down();
}

fn a_failed_build_takes_down_what_was_started_for_it(stage: &Stage) {
    workspace(stage, &tables("[]"), &[Package { name: "api", keys: DEPENDS, main: BROKEN.to_string() }]);
    let failed =
        || stage.tool(&["dev", "--detach"]).run().with(1).says("error: the programs of the stack cannot be built\n");
    failed().says("Removed");
    stage.assert_gone();
    stage.tool(&["dev", "--keep"]).run().with(1).says("note: the containers are kept because of --keep");
    stage.assert_running(&["db"]);
    failed().does_not_say("Removed");
    stage.assert_running(&["db"]);
    stage.take_down();
}

fn a_service_that_never_becomes_ready(stage: &Stage) {
    let tables = tables("['true']").replace("8080/types'", "8080/none'");
    workspace(stage, &tables, &[package("api", DEPENDS)]);
    let late = stage.tool(&["dev"]).env("STAGECRAFT_WAIT_TIMEOUT", "2").run().with(5);
    late.says("was not ready within 2 s: db is still running (starting)")
        .does_not_say("Preparing")
        .does_not_say("Compiling");
    stage.assert_gone();
}

/// A workspace with a command that lasts until this listener, or what has connected to it, is gone.
fn endless_command(stage: &Stage) -> TcpListener {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    // In a child of the shell, which has to end with it.
    let step = format!("['curl --silent http://{address}/; true']");
    workspace(stage, &tables(&step), &[package("api", DEPENDS)]);
    listener
}

/// The processes of the command, or of cargo, that runs now.
fn family(run: &Run) -> Vec<Other> {
    let family = Other::descendants(run.pid());
    assert!(family.len() >= 2, "a command and what it has started");
    family
}

fn interrupt(stage: &Stage, listener: &TcpListener) {
    let run = stage.tool(&["dev", "--detach"]).start_in_terminal();
    let _connection = accept(listener);
    stage.assert_running(&["db"]);
    let family = family(&run);
    run.press_ctrl_c();
    run.end().with(130).says("(SIGINT); press Ctrl+C again").says("nothing of it is left");
    family.into_iter().for_each(Other::ends);
    stage.assert_gone();
}

fn ctrl_c_while_a_command_runs(stage: &Stage) {
    interrupt(stage, &endless_command(stage));
}

fn ctrl_c_while_cargo_builds_for_services_that_run(stage: &Stage) {
    let listener = endless_build(stage, &tables("[]"), DEPENDS);
    interrupt(stage, &listener);
}

/// The guard ends what runs, and takes down what was started.
fn kill(stage: &Stage, listener: &TcpListener) {
    let events = stage.events();
    let run = stage.tool(&["dev", "--detach"]).start();
    let _connection = accept(listener);
    stage.assert_running(&["db"]);
    // The guard is among them.
    let family = family(&run);
    run.signal(Signal::KILL);
    run.end().with(-9);
    events.wait_for("destroy db;");
    family.into_iter().for_each(Other::ends);
    stage.assert_gone();
}

fn killed_while_a_command_runs(stage: &Stage) {
    kill(stage, &endless_command(stage));
}

fn killed_while_cargo_builds_for_services_that_run(stage: &Stage) {
    let listener = endless_build(stage, &tables("[]"), DEPENDS);
    kill(stage, &listener);
}
