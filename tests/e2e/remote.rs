//! An engine behind an address instead of a socket, by each of the ways to choose it.

use std::fs;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use crate::support::run::Ended;
use crate::support::stage::{Stage, page, polite, stack, write};

on_both_pairs![by_address, by_context, crates_of_this_machine];

/// An address of this machine at which the engine answers. Whoever is connected when the scenario ends is cut off with it.
pub(crate) fn address_of(stage: &Stage) -> String {
    let socket = PathBuf::from(stage.engine.host.strip_prefix("unix://").expect("an engine on a unix socket"));
    // Not the address that published ports of a local engine would be shown at.
    let door = TcpListener::bind("127.0.0.2:0").expect("a loopback address");
    let address = door.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        for client in door.incoming() {
            let (Ok(client), Ok(engine)) = (client, UnixStream::connect(&socket)) else { continue };
            let (Ok(from_client), Ok(to_engine)) = (client.try_clone(), engine.try_clone()) else { continue };
            thread::spawn(move || pass_on(from_client, to_engine));
            thread::spawn(move || answer(engine, client));
        }
    });
    address
}

fn pass_on(mut from: TcpStream, mut to: UnixStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn answer(mut from: UnixStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// Everything works, and addresses are those of the engine's host.
fn works(stage: &Stage, tool: impl Fn(&[&str]) -> Ended) {
    let open = stage.root().join(".stagecraft/dev/compose.yaml");
    stage.compose(&stack(&[page("web", "hello"), polite("wide", &["ports: ['80']"])]));
    assert!(open.exists());
    // Nobody may be asked about ports of this machine.
    let started = tool(&["dev", "--detach", "--wait", "-v"]).with(0).says("the ports are on another machine");
    let row = |service: &str| {
        let line = started.stderr.lines().rfind(|line| line.trim_start().starts_with(&format!("{service} ")));
        line.expect("a row").split_ascii_whitespace().last().expect("an address").to_string()
    };
    assert!(row("wide").starts_with("http://127.0.0.2:"), "{}", row("wide"));
    assert!(row("web").starts_with("http://127.0.0.1:"), "bound to one address of a host that is this machine");
    tool(&["dev", "status"]).with(0).says("http://127.0.0.2:");
    tool(&["dev", "env"]).with(0).says("WIDE_80_HOST=127.0.0.2");
    tool(&["dev", "logs", "web"]).with(0).says("web is ready");
    assert!(!tool(&["dev", "list"]).with(0).stdout.contains("(gone)"));
    tool(&["dev", "list", "--prune"]).with(3).says("the engine is on another host");
    tool(&["dev", "down"]).with(0);
    stage.assert_gone();
}

fn by_address(stage: &Stage) {
    let host = format!("tcp://{}", address_of(stage));
    works(stage, |args| stage.tool(args).env("DOCKER_HOST", &host).run());
}

fn by_context(stage: &Stage) {
    let host = format!("tcp://{}", address_of(stage));
    let config = stage.temp().join("docker-config");
    fs::create_dir_all(&config).expect("a folder");
    symlink(stage.engine.config.join("cli-plugins"), config.join("cli-plugins")).expect("the plugin");
    let docker = |args: &[&str]| {
        stage.program("docker", args).env("DOCKER_CONFIG", &config).env("DOCKER_HOST", "").run().with(0);
    };
    docker(&["context", "create", "elsewhere", "--docker", &format!("host={host}")]);
    let tool = |args: &[&str]| stage.tool(args).env("DOCKER_CONFIG", &config).env("DOCKER_HOST", "");
    works(stage, |args| tool(args).env("DOCKER_CONTEXT", "elsewhere").run());
    docker(&["context", "use", "elsewhere"]);
    works(stage, |args| tool(args).run());
}

/// Built here, with the libraries of this machine, and loaded there.
fn crates_of_this_machine(stage: &Stage) {
    let host = format!("tcp://{}", address_of(stage));
    let manifest =
        "[package]\nname = \"api\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[package.metadata.stagecraft.dev]\n";
    write(&stage.root().join("Cargo.toml"), manifest);
    fs::create_dir_all(stage.root().join("src")).expect("a folder");
    write(&stage.root().join("src/main.rs"), "fn main() { println!(\"api has run\"); }\n");
    fs::remove_dir_all(stage.root().join(".stagecraft")).expect("a dev dir");
    let tool = |args: &[&str]| stage.tool(args).env("DOCKER_HOST", &host).run();
    tool(&["dev", "--detach", "--wait"]).with(0).says("Loading image");
    tool(&["dev", "logs"]).with(0).says("api has run");
    tool(&["dev", "down", "--images"]).with(0);
    stage.assert_gone();
}
