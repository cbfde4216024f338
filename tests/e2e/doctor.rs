//! `doctor` on real engines: one that is well, one that is away, what is left on one, and plugins of all kinds.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::stage::{Stage, polite, stack, write};

on_both_pairs![healthy, dead_socket, leftovers, compose_too_old];

/// The lines of one thing.
fn lines<'a>(printed: &'a str, name: &str) -> Vec<&'a str> {
    printed.lines().filter(|line| line.split_ascii_whitespace().nth(1) == Some(name)).collect()
}

fn healthy(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let ended = stage.tool(&["doctor"]).run().with(0);
    for name in ["cargo", "workspace", "docker", "engine", "architecture", "project"] {
        let lines = lines(&ended.stdout, name);
        assert!(lines.len() == 1 && lines[0].trim_start().starts_with("ok "), "{}", ended.stdout);
    }
    assert!(lines(&ended.stdout, "engine")[0].contains(&stage.engine.ask(&[
        "version",
        "--format",
        "{{.Server.Version}}"
    ])));
    let plugin = stage.engine.config.join("cli-plugins/docker-compose").display().to_string();
    assert!(lines(&ended.stdout, "compose")[0].contains(&plugin), "{}", ended.stdout);
    assert_eq!(ended.stderr, "");

    let ended = stage.tool(&["doctor", "--message-format", "json"]).run().with(0);
    let messages = ended.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("one object a line"));
    let reasons: Vec<String> = messages.map(|it| it["reason"].as_str().expect("a reason").to_string()).collect();
    assert!(reasons.ends_with(&["verdict".to_string(), "finished".to_string()]), "{reasons:?}");
}

fn dead_socket(stage: &Stage) {
    let host = format!("unix://{}", stage.temp().join("nobody.sock").display());
    let ended = stage.tool(&["doctor"]).env("DOCKER_HOST", &host).run().with(1);
    let engine = lines(&ended.stdout, "engine");
    let expected = format!("error engine         no engine at {host} (by DOCKER_HOST): ");
    assert!(engine.len() == 1 && engine[0].trim_start().starts_with(&expected), "{}", ended.stdout);
    assert!(ended.stdout.contains("help: start it: "), "{}", ended.stdout);
    assert!(lines(&ended.stdout, "compose")[0].trim_start().starts_with("ok "), "{}", ended.stdout);
}

fn leftovers(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    stage.start_detached();
    let ended = stage.tool(&["doctor"]).run().with(0);
    assert!(lines(&ended.stdout, "project")[0].ends_with(", 1 of 1 containers are running"), "{}", ended.stdout);
    stage.compose_by_hand(&["stop", "--timeout", "0"]);
    let left = format!("{} is not running and has stopped containers: 1", stage.project);
    stage.tool(&["doctor"]).run().with(0).says(&left);
    // A network that has lost its containers is nobody's.
    stage.program("docker", &["rm", "--force", &stage.container("web")]).run().with(0);
    let ended = stage.tool(&["doctor"]).run().with(0);
    let network = format!("{}_default", stage.project);
    let told = lines(&ended.stdout, "leftovers").into_iter().any(|line| line.contains(&network));
    assert!(told && !ended.stdout.contains(&left), "{}", ended.stdout);
    stage.take_down();
    assert!(!stage.tool(&["doctor"]).run().with(0).stdout.contains(&network));
}

/// A plugin of the user's own, as the docker CLI asks it.
fn compose_too_old(stage: &Stage) {
    let plugins = stage.temp().join("docker-config/cli-plugins");
    fs::create_dir_all(&plugins).expect("a folder");
    let plugin = plugins.join("docker-compose");
    for (version, code, words) in
        [("1.29.2", 1, "is too old"), ("v2.5.1", 0, "is older than 2.26, the oldest that is tested")]
    {
        let metadata = format!(
            r#"{{"SchemaVersion":"0.1.0","Vendor":"Docker Inc.","Version":"{version}","ShortDescription":"Docker Compose"}}"#
        );
        let script = format!(
            "#!/bin/sh\ncase $* in\ndocker-cli-plugin-metadata) echo '{metadata}' ;;\n*version*) echo {version} ;;\n*) exit 1 ;;\nesac\n"
        );
        write(&plugin, &script);
        fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).expect("it can be made a program");
        let ended = stage.tool(&["doctor"]).env("DOCKER_CONFIG", stage.temp().join("docker-config")).run().with(code);
        let compose = lines(&ended.stdout, "compose");
        let expected = format!("{} at {} {words}", version.trim_start_matches('v'), plugin.display());
        assert!(compose.len() == 1 && compose[0].contains(&expected), "{}", ended.stdout);
    }
}
