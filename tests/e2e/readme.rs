//! The quick start of the README, as a new user types it.

use std::net::TcpListener;
use std::path::PathBuf;

use crate::support::stage::Stage;

on_both_pairs![quick_start];

fn quick_start(stage: &Stage) {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the README");
    let (_, below) = readme.split_once("## Quick start").expect("a quick start");
    let (_, below) = below.split_once("```sh\n").expect("its commands");
    let (script, _) = below.split_once("```").expect("their end");
    // The port, and the name of the project, are this scenario's alone.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
    let script = script.replace("8080", &port.to_string());
    let tool = PathBuf::from(env!("CARGO_BIN_EXE_cargo-stagecraft"));
    let path = format!("{}:{}", tool.parent().expect("a folder").display(), std::env::var("PATH").expect("PATH"));
    let bash = stage.program("bash", &["-e", "-x", "-c", &script]).dir(stage.temp());
    let ended = bash.env("PATH", &path).env("COMPOSE_PROJECT_NAME", &stage.project).run().with(0);
    assert_eq!(ended.stdout.matches("hello from a container\n").count(), 1, "{}", ended.stdout);
    assert!(ended.stdout.contains("hello again from a container\n"), "{}", ended.stdout);
    ended
        .says("Adding [package.metadata.stagecraft.dev] to Cargo.toml")
        .says(&format!("Removed {}; kept image", stage.project));
}
