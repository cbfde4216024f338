//! `--message-format json`: every line is valid by the schema of the spec.

use std::collections::BTreeSet;
use std::path::Path;

use boon::{Compiler, Schemas};
use serde_json::{Value, json};

use crate::support::{COMPOSE_FILE, Finished, Reply, Sandbox, Verb};

/// The messages of a run, each checked against the schema.
#[track_caller]
pub fn messages(finished: &Finished) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/messages.schema.json");
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    let schema = compiler.compile(path.to_str().unwrap(), &mut schemas).unwrap();
    let lines = finished.stdout().lines().map(|line| serde_json::from_str(line).expect(line));
    let messages: Vec<Value> = lines.collect();
    for message in &messages {
        schemas.validate(message, schema).unwrap_or_else(|error| panic!("{message}: {error:#}"));
    }
    messages
}

#[track_caller]
fn reasons(finished: &Finished) -> Vec<String> {
    messages(finished).iter().map(|message| message["reason"].as_str().unwrap().to_string()).collect()
}

fn json_of(sandbox: &Sandbox, args: &[&str], code: i32) -> Finished {
    sandbox.run([args, &["--message-format", "json"]].concat()).exits(code)
}

#[test]
fn a_detached_start_and_its_end() {
    let sandbox = Sandbox::new();
    sandbox.engine.on(Verb::Up, |call, world| {
        world.up_for(call);
        Some(Reply::exit(0).stdout("what a build prints\n"))
    });
    let started = json_of(&sandbox, &["dev", "--detach", "--verbose"], 0);
    assert_eq!(reasons(&started), ["stack-started", "finished"]);
    assert!(started.stderr.contains("what a build prints\n"), "stdout is for messages: {}", started.stderr);
    let message = &messages(&started)[0];
    assert_eq!(message["project"], "shop");
    assert_eq!((&message["attached"], &message["services"][1]["container"]), (&json!(false), &json!("shop-db-1")));

    let status = json_of(&sandbox, &["dev", "status"], 0);
    assert_eq!(reasons(&status), ["service-status", "service-status", "finished"]);
    let list = json_of(&sandbox, &["dev", "list"], 0);
    assert_eq!(messages(&list)[0]["workspace_gone"], false);
    let ended = json_of(&sandbox, &["dev", "down"], 0);
    assert_eq!(reasons(&ended), ["stack-stopped", "finished"]);
    assert_eq!(messages(&ended)[0]["cause"], "requested");
}

#[test]
fn a_wait() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| world.health = "healthy");
    sandbox.engine.hold(Verb::Starts);
    let ready = json_of(&sandbox, &["dev", "--detach", "--wait"], 0);
    let expected = ["service-ready", "service-ready", "stack-started", "stack-ready", "finished"];
    assert_eq!(reasons(&ready), expected);
    sandbox.engine.world(|world| world.containers[0].health = "unhealthy");
    let failed = json_of(&sandbox, &["dev", "--detach", "--wait"], 1);
    assert_eq!(reasons(&failed), ["service-ready", "service-failed", "stack-failed", "finished"]);
    assert_eq!(messages(&failed)[1]["health"], "unhealthy");
}

#[test]
fn a_failed_start_with_its_last_words_and_what_compose_said() {
    let sandbox = Sandbox::new();
    sandbox.engine.on(Verb::Up, |call, world| {
        world.up_for(call);
        world.log = "one\ntwo\n";
        world.exits("db", 101);
        Some(Reply::exit(1).stderr("progress\nError response from daemon: no luck\n"))
    });
    let failed = json_of(&sandbox, &["dev", "--detach"], 1);
    assert_eq!(reasons(&failed), ["service-failed", "stack-failed", "stack-stopped", "finished"]);
    let all = messages(&failed);
    assert_eq!((&all[0]["exit_code"], &all[0]["log"]), (&json!(101), &json!(["one", "two"])));
    assert_eq!(all[1]["compose"], "no luck");
    assert_eq!((&all[2]["cause"], &all[2]["complete"]), (&json!("failed"), &json!(true)));
    assert_eq!(all[3]["exit_code"], 1);
}

#[test]
fn what_is_left() {
    let sandbox = Sandbox::new();
    json_of(&sandbox, &["dev", "--detach"], 0);
    sandbox.engine.world(|world| world.containers[0].stuck = true);
    let ended = json_of(&sandbox, &["dev", "down"], 6);
    assert_eq!(reasons(&ended), ["leftover", "leftover", "stack-stopped", "finished"]);
    assert_eq!(messages(&ended)[0]["name"], "shop-api-1");
    assert_eq!(messages(&ended)[2]["complete"], false);
}

#[test]
fn a_run_in_the_foreground_and_its_logs() {
    let sandbox = Sandbox::new();
    let run = sandbox.stagecraft(["dev", "--message-format", "json"]).start();
    sandbox.wait_until_unlocked();
    sandbox.engine.world(|world| {
        world.exits("api", 0);
        world.exits("db", 0);
    });
    let finished = run.wait().exits(0);
    assert_eq!(reasons(&finished), ["stack-started", "stack-stopped", "finished"]);
    assert_eq!(messages(&finished)[1]["cause"], "finished");
}

#[test]
fn a_run_in_the_foreground_that_is_over_before_its_start_has_been_seen() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Starts);
    let run = sandbox.stagecraft(["dev", "--message-format", "json"]).start();
    sandbox.engine.wait_running(Verb::Up);
    sandbox.engine.world(|world| {
        world.exits("api", 0);
        world.exits("db", 0);
    });
    let finished = run.wait().exits(0);
    assert_eq!(reasons(&finished), ["stack-started", "stack-stopped", "finished"]);
    let started = &messages(&finished)[0];
    assert_eq!((&started["attached"], &started["services"][1]["state"]), (&true.into(), &"exited".into()));
}

#[test]
fn errors_dry_runs_and_addresses() {
    let sandbox = Sandbox::new();
    let dry = json_of(&sandbox, &["dev", "--dry-run"], 0);
    assert_eq!(reasons(&dry), ["command", "command", "finished"]);
    let root = sandbox.root().to_owned();
    sandbox.engine.world(|world| {
        let bindings = json!({ "80/tcp": [{ "HostIp": "", "HostPort": "8080" }] });
        world.services.insert("api".to_string(), json!({ "bindings": bindings }));
        world.add_container("shop", "api", "running", &root);
    });
    let env = json_of(&sandbox, &["dev", "env"], 0);
    assert_eq!(reasons(&env), ["address", "address", "address", "address", "finished"]);
    sandbox.remove(COMPOSE_FILE);
    let failed = json_of(&sandbox, &["dev"], 3);
    assert_eq!(reasons(&failed), ["error", "finished"]);
    assert!(messages(&failed)[0]["help"].is_string());
}

#[test]
fn ports_that_are_taken() {
    let sandbox = Sandbox::new();
    let somebody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = somebody.local_addr().unwrap().port().to_string();
    sandbox.engine.world(|world| {
        let ports = json!([{ "target": 80, "published": port, "host_ip": "127.0.0.1", "protocol": "tcp" }]);
        world.services.insert("api".to_string(), json!({ "ports": ports }));
    });
    assert_eq!(reasons(&json_of(&sandbox, &["dev", "-d"], 1)), ["port-taken", "error", "finished"]);
}

/// The tests above have seen each of them but these, which need a pruned or an interrupted stack, or differ in words only.
#[test]
fn every_reason_of_the_spec_is_in_the_schema_and_the_other_way_round() {
    let read = |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let schema: Value = serde_json::from_str(&read("spec/messages.schema.json")).unwrap();
    let kinds = schema["oneOf"].as_array().unwrap().iter();
    let known: BTreeSet<&str> = kinds.map(|kind| kind["properties"]["reason"]["const"].as_str().unwrap()).collect();
    let page = read("spec/messages.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let told: BTreeSet<&str> = rows.map(|(reason, _)| reason).collect();
    assert_eq!(told, known);
}
