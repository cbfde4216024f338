//! Questions that are put to the engine itself: its answers are docker's, and docker is asked wherever they are none.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::stage::{Stage, ending, page, polite, stack};

on_both_pairs![
    the_engine_answers_as_docker_does,
    behind_a_context,
    docker_is_asked_if_the_engines_answer_is_unusable,
    a_script_in_the_place_of_docker_is_asked,
];

/// Set to the version that both engines know, it lets docker be asked: only that would know what else it could mean.
const ASK_DOCKER: (&str, &str) = ("DOCKER_API_VERSION", "1.41");

fn the_engine_answers_as_docker_does(stage: &Stage) {
    let ports = "ports: ['127.0.0.1::80', '127.0.0.1::53/udp', '7000', '127.0.0.1::7001-7003']";
    let check = "healthcheck: {test: [CMD, sh, -c, 'echo sick; exit 1'], interval: 100ms, retries: 1}";
    stage.compose(&stack(&[
        page("web", "hello"),
        polite("wide", &["scale: 2", ports, "expose: ['9000']"]),
        polite("sick", &[check]),
        ending("job", 0),
        ending("crash", 3),
    ]));
    stage.tool(&["dev", "--detach", "--keep"]).run().with(1);
    stage.wait_for_log("web", "is ready");
    stage.events().wait_for("health_status: unhealthy sick;");
    // What runs has to be up for a while before `status` says that it is ready, and both shall say the same. Nothing listens in `wide`.
    let tool = |args: &[&str]| stage.tool(args).env("STAGECRAFT_WAIT_FOR_PORTS", "false");
    let question = ["dev", "status", "--message-format=json"];
    let pending = || tool(&question).run().stdout.contains(r#""standing":"pending""#);
    while pending() {}
    for question in [
        ["dev", "status", "--message-format=json"],
        ["dev", "env", "--message-format=json"],
        ["dev", "list", "--message-format=json"],
    ] {
        let args = [&question[..], &["--verbose"]].concat();
        let engines = tool(&args).run();
        let dockers = tool(&args).env(ASK_DOCKER.0, ASK_DOCKER.1).run();
        assert_eq!(engines.code, dockers.code);
        // Other scenarios' stacks come and go.
        let ours = |stdout: &str| {
            let of_list = |line: &&str| question[1] != "list" || line.contains(&stage.project);
            stdout.lines().filter(of_list).map(str::to_string).collect::<Vec<_>>()
        };
        assert_eq!(ours(&engines.stdout), ours(&dockers.stdout));
        assert!(!ours(&engines.stdout).is_empty());
        let socket = stage.engine.host.strip_prefix("unix://").expect("an engine on a unix socket");
        let asking = format!("Asking curl --unix-socket {socket} 'http://localhost/containers/");
        assert!(engines.stderr.contains(&asking) && !engines.stderr.contains("Running docker ps"));
        assert!(dockers.stderr.contains("Running docker ps") && !dockers.stderr.contains("Asking"));
    }
    let down = stage.tool(&["dev", "down", "--verbose"]).run().with(0).says("/networks?filters=");
    stage.assert_gone();
    assert_is_in_the_spec(stage, &down.stderr);
}

/// That each question that was put to the engine is one that the spec shows for a project `hello`.
fn assert_is_in_the_spec(stage: &Stage, stderr: &str) {
    let page = include_str!("../../spec/dev/process-mgmt.md");
    let (_, shown) = page.split_once("```http\n").expect("the questions");
    let shown: Vec<&str> = shown.split("```").next().expect("their end").lines().collect();
    let socket = stage.engine.host.trim_start_matches("unix://");
    for asked in stderr.lines().filter_map(|line| line.split_once("Asking ")) {
        let asked = asked.1.replace(socket, "/var/run/docker.sock").replace(&stage.project, "hello");
        assert!(shown.contains(&asked.as_str()), "{asked} is not in the spec");
    }
}

/// The contexts of Docker Desktop, of rootless engines and the like are sockets, too.
fn behind_a_context(stage: &Stage) {
    let config = stage.temp().join("docker-config");
    fs::create_dir_all(&config).expect("a folder");
    symlink(stage.engine.config.join("cli-plugins"), config.join("cli-plugins")).expect("the plugin");
    let docker = |args: &[&str]| {
        stage.program("docker", args).env("DOCKER_CONFIG", &config).env("DOCKER_HOST", "").run().with(0);
    };
    docker(&["context", "create", "here", "--docker", &format!("host={}", stage.engine.host)]);
    docker(&["context", "use", "here"]);
    stage.compose(&stack(&[polite("web", &[])]));
    let tool = |args: &[&str]| stage.tool(args).env("DOCKER_CONFIG", &config).env("DOCKER_HOST", "").run().with(0);
    tool(&["dev", "--detach", "--verbose"]).says("Asking curl");
    let down = tool(&["dev", "down", "--verbose"]);
    assert!(!down.stderr.contains("Running docker ps") && !down.stderr.contains("docker context"), "{}", down.stderr);
    stage.assert_gone();
}

/// How an answer that comes straight from the engine is spoilt, in turn; docker's questions are passed on as they are.
const SPOILT: [fn(UnixStream, Vec<u8>); 5] = [
    |client, _| drop(client),
    |mut client, _| drop(client.write_all(b"HTTP/1.0 500 Internal Server Error\r\n\r\n{\"message\":\"\"}")),
    |mut client, answer| drop(client.write_all(&answer[..answer.len() * 9 / 10])),
    |mut client, _| drop(client.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>")),
    |mut client, _| drop(client.write_all(b"HTTP/1.0 200 OK\r\n\r\n{}")),
];

/// How often a stack is started, looked at and taken down, which takes more questions than there are ways to spoil them.
const ROUNDS: usize = 3;

fn docker_is_asked_if_the_engines_answer_is_unusable(stage: &Stage) {
    let engine = PathBuf::from(stage.engine.host.strip_prefix("unix://").expect("an engine on a unix socket"));
    let socket = stage.temp().join("between.sock");
    let spoilt = Arc::new(AtomicUsize::default());
    let door = UnixListener::bind(&socket).expect("a socket");
    let counter = Arc::clone(&spoilt);
    thread::spawn(move || {
        for client in door.incoming().flatten() {
            let (engine, counter) = (engine.clone(), Arc::clone(&counter));
            thread::spawn(move || between(client, &engine, &counter));
        }
    });
    stage.compose(&stack(&[polite("db", &[]), ending("job", 0)]));
    let host = format!("unix://{}", socket.display());
    let tool = |args: &[&str]| stage.tool(args).env("DOCKER_HOST", &host).run();
    for _ in 0..ROUNDS {
        tool(&["dev", "--detach", "--wait"]).with(0);
        let status = tool(&["dev", "status"]).with(0).stdout;
        assert!(status.lines().any(|line| line.starts_with("db ") && line.contains("running")), "{status}");
        tool(&["dev", "down"]).with(0);
        stage.assert_gone();
    }
    let spoilt = spoilt.load(Ordering::SeqCst);
    assert!(spoilt >= ROUNDS * SPOILT.len(), "{spoilt} answers were spoilt, which is not each in each way");
}

fn between(client: UnixStream, engine: &Path, counter: &AtomicUsize) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut question = String::new();
    reader.read_line(&mut question)?;
    let mut engine = UnixStream::connect(engine)?;
    engine.write_all(question.as_bytes())?;
    if question.trim_end().ends_with("HTTP/1.0") {
        engine.write_all(b"Host: localhost\r\n\r\n")?;
        let mut answer = Vec::new();
        engine.read_to_end(&mut answer)?;
        SPOILT[counter.fetch_add(1, Ordering::SeqCst) % SPOILT.len()](client, answer);
        return Ok(());
    }
    let mut to_engine = engine.try_clone()?;
    thread::spawn(move || {
        let _ = io::copy(&mut reader, &mut to_engine);
        let _ = to_engine.shutdown(Shutdown::Write);
    });
    let mut to_client = client;
    let _ = io::copy(&mut engine, &mut to_client);
    to_client.shutdown(Shutdown::Both)
}

/// It may lead to another engine, or there as somebody else.
fn a_script_in_the_place_of_docker_is_asked(stage: &Stage) {
    let path = std::env::var("PATH").expect("PATH");
    let docker = std::env::split_paths(&path).map(|folder| folder.join("docker")).find(|docker| docker.is_file());
    let docker = docker.expect("docker on PATH");
    let bin = stage.temp().join("bin");
    fs::create_dir(&bin).expect("a folder");
    crate::support::stage::write(&bin.join("docker"), &format!("#!/bin/sh\nexec {} \"$@\"\n", docker.display()));
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bin.join("docker"), executable).expect("a script");
    stage.compose(&stack(&[polite("web", &[])]));
    let path = format!("{}:{path}", bin.display());
    let tool = |args: &[&str]| stage.tool(args).env("PATH", &path).run().with(0);
    let started = tool(&["dev", "--detach", "--verbose"]).says("Running docker ps");
    assert!(!started.stderr.contains("Asking"), "{}", started.stderr);
    tool(&["dev", "down"]);
    stage.assert_gone();
}
