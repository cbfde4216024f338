//! `dev status`, `dev logs`, `dev list`, `dev env`, and messages for programs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::Value;

use crate::own_engine::OwnEngine;
use crate::support::stage::{Stage, ending, page, polite, service, stack, write};

on_both_pairs![status, status_of_what_fails, logs, logs_until_ctrl_c, env, env_of_replicas, list, prune, messages,];

fn status(stage: &Stage) {
    stage.tool(&["dev", "status"]).run().with(3);
    stage.compose(&stack(&[page("web", "hello"), ending("job", 0)]));
    stage.tool(&["dev", "--detach", "--wait"]).run().with(0);
    let ended = stage.tool(&["dev", "status"]).run().with(0);
    let row = |service: &str| {
        let line = ended.stdout.lines().find(|line| line.starts_with(&format!("{service} "))).expect("a line");
        line.split_ascii_whitespace().map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(row("job")[1..], ["exited", "(0)"]);
    assert_eq!(row("web")[1], "running");
    assert!(row("web").last().expect("an address").starts_with("http://127.0.0.1:"));
    stage.take_down();
    stage.tool(&["dev", "status"]).run().with(3).says(" has not been started");
}

fn status_of_what_fails(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), service("loop", "sleep 0.2; exit 3", &["restart: always"])]));
    stage.tool(&["dev", "--detach", "--keep"]).run();
    stage.events().wait_for("die loop 3;");
    // Whether it runs at this moment or not.
    let ended = stage.tool(&["dev", "status"]).run().with(1);
    assert!(ended.stdout.lines().any(|line| line.starts_with("loop ")));
    stage.take_down();
}

fn logs(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), polite("db", &[])]));
    stage.start_detached();
    for service in ["web", "db"] {
        stage.wait_for_log(service, "is ready");
    }
    let all = stage.tool(&["dev", "logs"]).run().with(0);
    assert!(all.stdout.contains("web is ready") && all.stdout.contains("db is ready"));
    let one = stage.tool(&["dev", "logs", "--tail", "1", "db"]).run().with(0);
    assert!(!one.stdout.contains("web is ready") && one.stdout.contains("db is ready"));
    stage.tool(&["dev", "logs", "nobody"]).run().with(2).says("its services: db, web");
    // A file that became invalid hides no log.
    stage.compose("services: [\n");
    stage.tool(&["dev", "logs", "web"]).run().with(0).says("web is ready");
    stage.take_down();
}

fn logs_until_ctrl_c(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    stage.start_detached();
    let run = stage.tool(&["dev", "logs", "-f"]).start_in_terminal();
    run.wait_for("web is ready");
    run.press_ctrl_c();
    // It is Compose's own end.
    assert!([0, 130].contains(&run.end().code));
    stage.assert_running(&["web"]);
    stage.take_down();
}

fn variables(stdout: &str) -> BTreeMap<String, String> {
    let lines = stdout.lines().map(|line| line.split_once('=').expect("KEY=value"));
    lines.map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fn env(stage: &Stage) {
    stage.compose(&stack(&[page("my-web", "hello-from-the-stack"), polite("db", &[])]));
    stage.start_detached();
    stage.wait_for_log("my-web", "my-web is ready");
    let variables = variables(&stage.tool(&["dev", "env"]).run().with(0).stdout);
    assert_eq!(variables.len(), 4, "{variables:?}");
    let address = &variables["MY_WEB_80_ADDR"];
    assert_eq!(*address, format!("{}:{}", variables["MY_WEB_80_HOST"], variables["MY_WEB_80_PORT"]));
    assert_eq!(variables["MY_WEB_80_URL"], format!("http://{address}"));
    let mut browser = TcpStream::connect(address).expect("the address answers");
    browser.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("a request");
    let mut answer = String::new();
    browser.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("hello-from-the-stack\n"), "{answer}");
    stage.take_down();
}

fn env_of_replicas(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &["scale: 2", "ports: ['127.0.0.1::80', '127.0.0.1::53/udp']"])]));
    stage.start_detached();
    let variables = variables(&stage.tool(&["dev", "env"]).run().with(0).stdout);
    let addresses: Vec<&String> = variables.keys().filter(|key| key.contains("ADDR")).collect();
    assert_eq!(addresses, ["WEB_53_UDP_ADDR", "WEB_53_UDP_ADDR_2", "WEB_80_ADDR", "WEB_80_ADDR_2"]);
    assert_ne!(variables["WEB_80_ADDR"], variables["WEB_80_ADDR_2"]);
    stage.take_down();
}

fn list(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[]), ending("job", 0)]));
    stage.tool(&["dev", "--detach", "--wait"]).run().with(0);
    let ended = stage.tool(&["dev", "list"]).dir("/").run().with(0);
    let line = ended.stdout.lines().find(|line| line.starts_with(&format!("{} ", stage.project))).expect("a line");
    assert!(line.contains("1 of 2 running") && line.ends_with(&stage.root().display().to_string()), "{line}");
    stage.take_down();
}

/// What else is there of the project whose workspace is gone, and what only seems to be, is kept, and the rest with it.
fn not_pruned(stage: &Stage, engine: &OwnEngine, project: &str) {
    let docker = |args: &[&str]| stage.program("docker", args).env("DOCKER_HOST", engine.host()).run().with(0).stdout;
    let prune = || stage.tool(&["dev", "list", "--prune"]).dir("/").env("DOCKER_HOST", engine.host()).run().with(6);
    let running = |name: &str| docker(&["inspect", "--format", "{{.State.Running}}", name]).trim() == "true";

    // An ordinary project of the same name.
    let folder = stage.temp().join("ordinary");
    fs::create_dir_all(&folder).expect("a folder");
    write(&folder.join("compose.yaml"), &stack(&[polite("db", &[])]));
    let file = folder.join("compose.yaml").display().to_string();
    docker(&["compose", "-p", project, "-f", &file, "up", "-d"]);
    prune().says(&format!("error: {project} is left alone")).says(&format!("{project}-db-1 was started from "));
    assert!(running(&format!("{project}-db-1")) && running(&format!("{project}-web-1")));
    docker(&["rm", "--force", &format!("{project}-db-1")]);

    // Labels of an image are no evidence.
    let (label, forged) = ("com.docker.compose.project", format!("{project}-forged"));
    let labels = format!(
        "LABEL {label}={forged} {label}.working_dir=/gone/.stagecraft/dev {label}.config_files=/gone/.stagecraft/dev/compose.yaml"
    );
    docker(&["create", "--name", "a-template", "stagecraft-test", "sh"]);
    docker(&["commit", "--change", &labels, "a-template", "forged-image"]);
    docker(&["run", "--detach", "--init", "--name", &forged, "forged-image", "sleep", "1000"]);
    prune()
        .says(&format!("Removed {project}; nothing of it is left"))
        .says(&format!("{forged} has the label from its image"));
    assert!(running(&forged));
    docker(&["rm", "--force", &forged, "a-template"]);
}

/// On an engine of its own, since it takes down what any other scenario has lost its workspace of.
fn prune(stage: &Stage) {
    let engine = OwnEngine::start(stage);
    let other = stage.workspace(&format!("e2e-feature-{}", stage.id));
    for root in [&stage.root(), &other] {
        crate::support::stage::compose_in(root, &stack(&[polite("web", &[])]));
        stage.tool(&["dev", "--detach"]).dir(root).env("DOCKER_HOST", engine.host()).run().with(0);
    }
    fs::remove_dir_all(&other).expect("the worktree can be deleted");
    let list = |args: &[&str]| {
        stage.tool(&[&["dev", "list"], args].concat()).dir("/").env("DOCKER_HOST", engine.host()).run().with(0)
    };
    let marked = list(&[]).stdout;
    let gone: Vec<&str> = marked.lines().filter(|line| line.ends_with(" (gone)")).collect();
    assert!(gone.len() == 1 && gone[0].starts_with("e2e-feature-"), "{marked}");
    not_pruned(stage, &engine, &format!("e2e-feature-{}", stage.id));
    let left = list(&[]).stdout;
    assert!(left.contains(&stage.project) && !left.contains("e2e-feature-"), "{left}");
    stage.tool(&["dev", "down"]).env("DOCKER_HOST", engine.host()).run().with(0);
    engine.assert_gone();
}

fn messages(stage: &Stage) {
    let messages = |args: &[&str], code: i32| -> Vec<Value> {
        let ended = stage.tool(&[args, &["--message-format", "json"]].concat()).run().with(code);
        ended.stdout.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
    };
    let reasons = |all: &[Value]| -> Vec<String> {
        all.iter().map(|it| it["reason"].as_str().expect("a reason").to_string()).collect()
    };
    // A build prints on stdout with some versions.
    let built = "  web:\n    build:\n      dockerfile_inline: |\n        FROM stagecraft-test\n        RUN echo built\n    command: [sh, -c, 'trap \"exit 0\" TERM; sleep 1000 & wait']\n";
    stage.compose(&stack(&[built.to_string(), page("page", "hello")]));
    let started = messages(&["dev", "--detach", "--wait"], 0);
    let expected = ["service-ready", "service-ready", "stack-started", "stack-ready", "finished"];
    assert_eq!(reasons(&started), expected);
    let address = started[2]["services"][0]["addresses"][0].as_str().expect("an address");
    assert!(address.starts_with("http://127.0.0.1:"), "{address}");
    assert_eq!(reasons(&messages(&["dev", "down"], 0)), ["stack-stopped", "finished"]);
    crate::support::fixture::Fixture::remove_images(stage.engine, &stage.project);

    stage.compose(&stack(&[service("web", "echo no luck; exit 101", &[])]));
    let failed = messages(&["dev", "--detach"], 1);
    assert_eq!(reasons(&failed), ["service-failed", "stack-failed", "stack-stopped", "finished"]);
    assert_eq!((&failed[0]["meaning"], &failed[0]["log"][0]), (&"a panic in Rust".into(), &"no luck".into()));

    // Over before anybody looks, perhaps.
    stage.compose(&stack(&[ending("job", 0), ending("other", 0)]));
    assert_eq!(reasons(&messages(&["dev"], 0)), ["stack-started", "stack-stopped", "finished"]);

    stage.compose(&stack(&[polite("web", &[])]));
    let run = stage.tool(&["dev", "--message-format", "json"]).start();
    run.wait_for("stack-started");
    run.signal(Signal::INT);
    let ended = run.end().with(130);
    assert!(ended.stdout.lines().all(|line| line.starts_with("{\"reason\":")), "logs go elsewhere: {}", ended.stdout);
}
