//! `doctor`: what it says of each thing that can be wrong, and that it only looks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;
use snapbox::{assert_data_eq, str};

use crate::messages::messages;
use crate::support::{COMPOSE_FILE, Finished, Program, Reply, Sandbox, Verb};

/// A machine with enough room and no Compose of old.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    has_free(&sandbox, 78_643_200);
    program(&sandbox, "docker-compose", "exit 1");
    sandbox
}

/// Puts a script on the PATH of the sandbox.
fn program(sandbox: &Sandbox, name: &str, script: &str) -> PathBuf {
    let path = sandbox.outside().join("bin").join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Every disk has so many KiB left.
fn has_free(sandbox: &Sandbox, kib: u32) {
    let answer = format!("echo Filesystem 1024-blocks Used Available Capacity Mounted on; echo /dev/a 9 1 {kib} 1% /");
    program(sandbox, "df", &answer);
}

fn doctor<'a>(sandbox: &'a Sandbox, args: &[&str]) -> Program<'a> {
    sandbox.stagecraft([&["doctor"], args].concat())
}

/// What is printed, without what differs from machine to machine.
fn printed(sandbox: &Sandbox, finished: &Finished) -> String {
    let outside = sandbox.outside();
    let text = finished.stdout().replace(&*sandbox.root().to_string_lossy(), "[ROOT]");
    text.replace(&*outside.to_string_lossy(), "[OUTSIDE]")
}

/// That this is printed: a line, or the beginning of one and the help below it.
#[track_caller]
fn finds(sandbox: &Sandbox, program: Program<'_>, code: i32, line: &str) -> String {
    let finished = program.run().exits(code);
    let printed = printed(sandbox, &finished);
    assert!(printed.contains(line), "no\n{line}\nin\n{printed}");
    only_looks(sandbox);
    printed
}

/// No command that was run can have changed anything.
#[track_caller]
fn only_looks(sandbox: &Sandbox) {
    let looking = [
        Verb::Config,
        Verb::Version,
        Verb::Containers,
        Verb::Info,
        Verb::Networks,
        Verb::Volumes,
        Verb::Architecture,
        Verb::Context,
        Verb::Image,
    ];
    for call in sandbox.engine.calls() {
        assert!(looking.contains(&call.verb) && !call.args.iter().any(|arg| arg == "rm"), "{}", call.line());
    }
}

#[test]
fn all_is_well() {
    let sandbox = sandbox();
    let finished = doctor(&sandbox, &[]).run().exits(0);
    assert_eq!(finished.stderr, "");
    assert_data_eq!(
        printed(&sandbox, &finished),
        str![[r#"
          ok cargo          1.[..]
          ok workspace      [ROOT], 1 package
          ok dev files      .stagecraft/dev/compose.yaml, written by hand
          ok docker         28.2.2
          ok compose        2.26.1 at /plugins/docker-compose
          ok engine         28.5.2 at unix:///var/run/docker.sock
          ok architecture   linux/[..]
          ok disk           75.0 GiB free for cargo ([ROOT]/target), 75.0 GiB free for the engine (/)
          ok proxy          none
          ok project        shop, not started
          ok leftovers      none
    Finished all is well

"#]]
    );
    only_looks(&sandbox);
    assert_eq!(doctor(&sandbox, &["--quiet"]).run().exits(0).stdout(), "");
}

#[test]
fn every_command_is_shown_where_that_is_asked_for() {
    let sandbox = sandbox();
    let finished = doctor(&sandbox, &["--verbose"]).run().exits(0);
    for call in sandbox.engine.calls() {
        let line = call.line();
        let line = &line[line.find("docker ").unwrap()..];
        assert!(finished.stderr.contains(line), "`{line}` was not shown:\n{}", finished.stderr);
    }
    assert!(finished.stderr.contains("Running df -Pk -- [ROOT]\n"), "{}", finished.stderr);
}

#[test]
fn programs_read_a_message_each_and_a_verdict() {
    let sandbox = sandbox();
    sandbox.engine.world(|world| world.engine = "19.03.15");
    has_free(&sandbox, 1024);
    let finished = doctor(&sandbox, &["--message-format", "json"]).run().exits(1);
    assert_eq!(finished.stderr, "");
    let all = messages(&finished);
    let reasons: Vec<&str> = all.iter().map(|message| message["reason"].as_str().unwrap()).collect();
    let (checks, end) = reasons.split_at(reasons.len() - 2);
    assert!(checks.iter().all(|reason| *reason == "check") && checks.len() >= 10, "{reasons:?}");
    assert_eq!(end, ["verdict", "finished"]);
    let engine = all.iter().find(|message| message["name"] == "engine").unwrap();
    assert_eq!(engine["state"], "warning");
    assert_eq!(engine["fix"], "upgrade it: https://docs.docker.com/engine/install/");
    let verdict = &all[checks.len()];
    assert_eq!(*verdict, json!({ "reason": "verdict", "state": "error", "errors": 2, "warnings": 1 }));
}

// ------------------------------------------------------------------------------------------ cargo and workspace

#[test]
fn without_cargo_there_is_nothing_to_be_said_of_a_workspace() {
    let sandbox = sandbox();
    let printed = finds(
        &sandbox,
        doctor(&sandbox, &[]).env("CARGO", "/nowhere/cargo"),
        1,
        "       error cargo          cannot run `/nowhere/cargo`: No such file or directory (os error 2)\n\
         \x20                           help: install Rust, or put cargo on PATH: https://rustup.rs\n",
    );
    assert!(!printed.contains("workspace") && printed.contains("ok engine"), "{printed}");
}

#[test]
fn outside_of_a_workspace_the_rest_is_looked_at() {
    let sandbox = sandbox();
    let line = "     warning workspace      none: no Cargo.toml in / or above it\n\
                \x20                           help: run this inside a Cargo workspace, or point to one with";
    let printed = finds(&sandbox, doctor(&sandbox, &[]).cwd("/"), 0, line);
    assert!(printed.contains("ok engine") && printed.contains("Finished 1 warning\n"), "{printed}");
    let manifest = ["--manifest-path", "nowhere/Cargo.toml"];
    finds(
        &sandbox,
        doctor(&sandbox, &manifest),
        1,
        "error workspace      manifest path `nowhere/Cargo.toml` does not exist",
    );
}

#[test]
fn a_workspace_that_cargo_rejects_is_an_error_in_its_words() {
    let sandbox = sandbox();
    sandbox.write("Cargo.toml", "[package]\nname = 7\n");
    let printed = finds(&sandbox, doctor(&sandbox, &[]), 1, "       error workspace      ");
    assert!(printed.contains("expected a string") && !printed.contains("dev files"), "{printed}");
}

// ---------------------------------------------------------------------------------------------------- dev files

const PACKAGE: &str = "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
const TABLE: &str = "[workspace.metadata.stagecraft.dev.services.db]\nimage = \"db\"\n";

#[test]
fn dev_files_are_missing_outdated_or_hand_written() {
    let sandbox = sandbox();
    sandbox.remove(COMPOSE_FILE);
    let none = "     warning dev files      none: no dev stack is described yet\n\
                \x20                           help: write .stagecraft/dev/compose.yaml, or";
    finds(&sandbox, doctor(&sandbox, &[]), 0, none);
    sandbox.write("Cargo.toml", &format!("{PACKAGE}[workspace]\n{TABLE}"));
    let first = "          ok dev files      described in Cargo.toml; the first start generates them\n";
    let printed = finds(&sandbox, doctor(&sandbox, &[]), 0, first);
    assert!(printed.contains("ok project        shop, not started"), "{printed}");
    assert!(!sandbox.root().join(COMPOSE_FILE).exists(), "nothing is written");

    sandbox.run(["dev", "files"]).exits(0);
    finds(&sandbox, doctor(&sandbox, &[]), 0, "          ok dev files      up to date with Cargo.toml\n");
    sandbox.write("Cargo.toml", &format!("{PACKAGE}[workspace]\n{TABLE}environment.A = \"b\"\n"));
    let outdated = "     warning dev files      out of date: .stagecraft/dev/compose.yaml\n\
                    \x20                           help: `cargo stagecraft dev files` updates them";
    finds(&sandbox, doctor(&sandbox, &[]), 0, outdated);

    sandbox.write(COMPOSE_FILE, "services: {}\n");
    let foreign = "       error dev files      .stagecraft/dev/compose.yaml was not generated by cargo-stagecraft";
    let printed = finds(&sandbox, doctor(&sandbox, &[]), 1, foreign);
    assert!(printed.contains("help: move its services to"), "{printed}");
}

#[test]
fn invalid_tables_or_compose_files_are_errors() {
    let sandbox = sandbox();
    sandbox.engine.answer(Verb::Config, Reply::exit(15).stderr("services.web must be a mapping\n"));
    let invalid = "       error dev files      .stagecraft/dev/compose.yaml is not valid: services.web must be a mapping\n\
                   \x20                           help: fix it; `docker compose -f .stagecraft/dev/compose.yaml config` checks";
    let printed = finds(&sandbox, doctor(&sandbox, &[]), 1, invalid);
    assert!(printed.matches("dev files").count() == 1 && !printed.contains(" project "), "{printed}");

    sandbox.write("Cargo.toml", &format!("{PACKAGE}[package.metadata.stagecraft.dev]\nbin = \"nobody\"\n"));
    finds(&sandbox, doctor(&sandbox, &[]), 1, "       error dev files      ");
}

// ----------------------------------------------------------------------------------------- docker and its plugin

#[test]
fn without_docker_nothing_of_it_is_looked_at() {
    let sandbox = sandbox();
    let empty = sandbox.outside().join("empty");
    fs::create_dir(&empty).unwrap();
    let cargo = std::env::var_os("CARGO").expect("tests are run by cargo");
    let line = "       error docker         cannot run `docker`: No such file or directory (os error 2)\n\
                \x20                           help: install the Docker CLI with Compose v2, or put it on PATH";
    let printed = finds(&sandbox, doctor(&sandbox, &[]).env("CARGO", cargo).env("PATH", empty), 1, line);
    assert!(!printed.contains("compose  ") && printed.ends_with("    Finished 1 error\n"), "{printed}");
}

#[test]
fn an_invalid_docker_configuration_is_reported() {
    let sandbox = sandbox();
    sandbox.configure_docker("{broken");
    let line = "     warning docker         [OUTSIDE]/docker-config/config.json is invalid; docker ignores it: ";
    finds(&sandbox, doctor(&sandbox, &[]), 0, line);
}

#[test]
fn compose_may_be_missing_or_apart_or_too_old() {
    let install = "                            help: install Docker Compose v2 or newer as a plugin of the Docker CLI";
    for (standalone, found, help) in [
        ("exit 1", "missing\n", install),
        ("echo 1.29.2", "missing; there is a separate docker-compose 1.29.2\n", install),
        (
            "echo v2.40.3",
            "missing; there is a separate docker-compose 2.40.3\n",
            "                            help: `mkdir -p ~/.docker/cli-plugins && ln -s",
        ),
    ] {
        let sandbox = sandbox();
        program(&sandbox, "docker-compose", standalone);
        for verb in [Verb::Version, Verb::Config] {
            sandbox.engine.answer(verb, Reply::exit(125).stderr("unknown command: compose\n"));
        }
        let line = format!("       error compose        the Compose plugin of the docker CLI is {found}{help}");
        let printed = finds(&sandbox, doctor(&sandbox, &[]), 1, &line);
        assert!(printed.contains("ok dev files"), "that is not the file's fault: {printed}");
    }
    for (version, code, line) in [
        ("1.29.2", 1, "       error compose        1.29.2 at /plugins/docker-compose is too old\n"),
        ("v2.5.0", 0, "     warning compose        2.5.0 at /plugins/docker-compose is older than 2.26, the oldest"),
        ("5.0.0-rc1", 0, "          ok compose        5.0.0-rc1 at /plugins/docker-compose\n"),
    ] {
        let sandbox = sandbox();
        sandbox.engine.world(|world| world.compose = version);
        finds(&sandbox, doctor(&sandbox, &[]), code, line);
    }
}

#[test]
fn a_plugin_that_hides_a_newer_one_is_a_warning() {
    for (hidden, line) in [
        ("v2.40.3", "     warning compose        2.26.1 at /mine hides a newer one, 2.40.3 at [OUTSIDE]/bin/hidden\n"),
        ("v2.17.0", "          ok compose        2.26.1 at /mine\n"),
    ] {
        let sandbox = sandbox();
        let script = format!("[ \"$*\" = docker-cli-plugin-metadata ] && echo '{{\"Version\":\"{hidden}\"}}'");
        let hidden = program(&sandbox, "hidden", &script);
        let plugin = json!({ "Name": "compose", "Path": "/mine", "ShadowedPaths": [hidden, "/gone"] });
        sandbox.engine.world(|world| world.info = json!({ "ClientInfo": { "Plugins": [plugin] } }));
        finds(&sandbox, doctor(&sandbox, &[]), 0, line);
    }
}

// --------------------------------------------------------------------------------------------------- the engine

/// The engine is away, in these words.
fn without_engine(words: &str) -> Sandbox {
    let sandbox = sandbox();
    let reply =
        Reply::exit(1).stdout("{\"Client\":{\"Version\":\"28.2.2\"},\"Server\":null}\n").stderr(format!("{words}\n"));
    sandbox.engine.answer(Verb::Architecture, reply);
    sandbox
}

#[test]
fn an_engine_that_does_not_answer_is_an_error_and_later_checks_are_skipped() {
    let sandbox = without_engine("Cannot connect to the Docker daemon");
    let host = "unix:///nowhere.sock";
    let line = "       error engine         no engine at unix:///nowhere.sock (by DOCKER_HOST): Cannot connect to the Docker daemon\n\
                \x20                           help: start it: `sudo systemctl start docker`";
    let printed = finds(&sandbox, doctor(&sandbox, &[]).env("DOCKER_HOST", host), 1, line);
    for absent in ["architecture", "project  ", "leftovers"] {
        assert!(!printed.contains(absent), "{printed}");
    }
    assert!(
        printed.contains("ok docker         28.2.2\n") && printed.contains("ok compose        2.26.1\n"),
        "{printed}"
    );
    assert!(sandbox.engine.calls_of(Verb::Containers).is_empty(), "it is not asked again");
}

#[test]
fn a_forbidden_socket_is_reported() {
    let sandbox = without_engine("permission denied while trying to connect to the Docker daemon socket");
    let line = "       error engine         this user may not use the engine at unix:///var/run/docker.sock\n\
                \x20                           help: join the docker group: `sudo usermod -aG docker \"$USER\"`";
    finds(&sandbox, doctor(&sandbox, &[]), 1, line);
}

#[test]
fn an_invalid_engine_address_is_reported_with_its_source() {
    let sandbox = without_engine("Failed to initialize: context \"x\": context not found");
    sandbox.engine.answer(Verb::Context, Reply::exit(1).stdout("\n").stderr("context \"x\": context not found\n"));
    let line = "       error engine         context \"x\": context not found\n\
                \x20                           help: set DOCKER_CONTEXT to one of `docker context ls`";
    finds(&sandbox, doctor(&sandbox, &[]).env("DOCKER_CONTEXT", "x"), 1, line);
}

#[test]
fn an_engine_on_another_host_is_a_warning_without_its_password() {
    let sandbox = sandbox();
    let host = "tcp://me:secret@build.example:2375";
    let line =
        "     warning engine         28.5.2 at tcp://***@build.example:2375 (by DOCKER_HOST) is on another machine";
    let printed = finds(&sandbox, doctor(&sandbox, &["--verbose"]).env("DOCKER_HOST", host), 0, line);
    assert!(!printed.contains("secret"), "{printed}");
    assert!(!printed.contains("free for the engine"), "that disk is elsewhere: {printed}");
}

#[test]
fn an_engine_that_answers_one_question_and_not_the_next_is_an_error() {
    let sandbox = sandbox();
    sandbox.engine.answer(Verb::Info, Reply::exit(1).stderr("Error response from daemon: shutting down\n"));
    let line =
        "       error engine         the docker engine does not answer: Error response from daemon: shutting down\n";
    finds(&sandbox, doctor(&sandbox, &[]), 1, line);
}

// ----------------------------------------------------------------------------------- architecture, disks, proxies

#[test]
fn a_toolchain_that_cannot_build_for_the_engine_is_an_error_where_crates_are_services() {
    let sandbox = sandbox();
    sandbox.remove(COMPOSE_FILE);
    sandbox.write("src/main.rs", "fn main() {}\n");
    sandbox.write("Cargo.toml", &format!("{PACKAGE}[package.metadata.stagecraft.dev]\n"));
    let rustc = program(&sandbox, "fake-rustc", "echo /nowhere");
    sandbox.engine.on(Verb::Architecture, |_, _| {
        let server = json!({ "Version": "28.5.2", "Os": "linux", "Arch": "arm64" });
        Some(Reply::exit(0).stdout(json!({ "Client": { "Version": "28.2.2" }, "Server": server }).to_string()))
    });
    let line = "       error architecture   this toolchain cannot build static programs for the engine, which is arm64 with Linux\n\
                \x20                           help: `rustup target add aarch64-unknown-linux-musl`\n";
    finds(&sandbox, doctor(&sandbox, &[]).env("RUSTC", &rustc), 1, line);
    let sysroot = sandbox.outside().join("sysroot");
    fs::create_dir_all(sysroot.join("lib/rustlib/aarch64-unknown-linux-gnu/lib")).unwrap();
    program(&sandbox, "fake-rustc", &format!("echo {}", sysroot.display()));
    let line = "          ok architecture   linux/arm64; crates are built for aarch64-unknown-linux-gnu\n";
    finds(&sandbox, doctor(&sandbox, &[]).env("RUSTC", &rustc), 0, line);
}

#[test]
fn a_disk_may_be_nearly_or_quite_full() {
    for (kib, code, line) in [
        (4 * 1024 * 1024, 0, "     warning disk           4.0 GiB free for cargo ([ROOT]/target)\n"),
        (100 * 1024, 1, "       error disk           100 MiB free for the engine (/)\n"),
    ] {
        let sandbox = sandbox();
        has_free(&sandbox, kib);
        let printed = finds(&sandbox, doctor(&sandbox, &[]), code, line);
        assert!(printed.contains("help: `cargo clean` frees space\n"), "{printed}");
        assert!(printed.contains("help: `docker system df` shows"), "{printed}");
    }
    let sandbox = sandbox();
    program(&sandbox, "df", "echo none such >&2; exit 1");
    let printed = finds(&sandbox, doctor(&sandbox, &[]), 0, "Finished all is well\n");
    assert!(!printed.contains(" disk "), "{printed}");
}

#[test]
fn proxies_are_shown_without_passwords() {
    let sandbox = sandbox();
    let proxy = "http://me:secret@proxy:3128";
    let line = "     warning proxy          requests to published ports go through http://***@proxy:3128";
    let shell = doctor(&sandbox, &["--verbose"]).env("HTTP_PROXY", proxy);
    let printed = finds(&sandbox, shell, 0, line);
    assert!(printed.contains("help: add localhost, 127.0.0.1 and ::1 to NO_PROXY and no_proxy\n"), "{printed}");
    assert!(printed.contains("but the engine, which pulls images, does not\n"), "{printed}");
    assert!(!printed.contains("secret"), "{printed}");

    let config = json!({ "proxies": { "default": { "httpProxy": proxy, "noProxy": "api" } } });
    sandbox.configure_docker(&config.to_string());
    let line = "     warning proxy          requests between containers go through http://***@proxy:3128: noProxy does not contain db\n";
    finds(&sandbox, doctor(&sandbox, &[]), 0, line);
}

// ------------------------------------------------------------------------------------------ project and leftovers

#[test]
fn the_containers_of_the_project_are_counted_and_those_of_another_checkout_are_an_error() {
    let sandbox = sandbox();
    let root = sandbox.root().to_owned();
    sandbox.engine.world(|world| {
        world.add_container("shop", "api", "running", &root);
        world.add_container("shop", "db", "exited", &root);
    });
    let printed =
        finds(&sandbox, doctor(&sandbox, &[]), 0, "          ok project        shop, 1 of 2 containers are running\n");
    assert!(printed.contains("ok leftovers      none\n"), "{printed}");

    let elsewhere = sandbox.outside().join("elsewhere");
    fs::create_dir_all(elsewhere.join(".stagecraft/dev")).unwrap();
    sandbox.engine.world(|world| drop(world.add_container("other", "api", "running", &elsewhere).clone()));
    let line = "       error project        project `other` already has containers of another checkout: [OUTSIDE]/elsewhere\n\
                \x20                           help: choose another name with `--project-name`";
    finds(&sandbox, doctor(&sandbox, &["--project-name", "other"]), 1, line);
}

#[test]
fn leftovers_of_earlier_stacks_are_reported_with_the_command() {
    let sandbox = sandbox();
    let (root, gone) = (sandbox.root().to_owned(), sandbox.outside().join("feature"));
    sandbox.engine.world(|world| {
        world.add_container("shop", "api", "exited", &root);
        world.add_container("feature", "api", "running", &gone);
        world.networks.push(("shop".to_string(), "shop_default".to_string()));
        for name in ["old_default", "old_back"] {
            world.networks.push(("old".to_string(), name.to_string()));
        }
        world.anonymous = vec!["ab".repeat(32)];
        world.replaced = vec!["sha256:1".to_string(), "sha256:2".to_string()];
    });
    let finished = doctor(&sandbox, &[]).run().exits(0);
    let printed = printed(&sandbox, &finished);
    let (_, leftovers) = printed.split_at(printed.find("     warning leftovers").unwrap());
    assert_data_eq!(
        leftovers,
        str![[r#"
     warning leftovers      shop is not running and has stopped containers: 1
                            help: `cargo stagecraft dev` starts them again, `cargo stagecraft dev down` removes them
     warning leftovers      images of shop that newer ones have replaced: 2
                            help: `docker image rm sha256:1 sha256:2`
     warning leftovers      stacks of deleted workspaces: feature
                            help: `cargo stagecraft dev list --prune` removes them
     warning leftovers      networks of Compose projects without containers: old_back, old_default
                            help: `docker network rm old_back old_default`
     warning leftovers      anonymous volumes that no container uses: 1
                            help: `docker volume rm abababababababababababababababababababababababababababababababab`
    Finished 5 warnings

"#]]
    );
    only_looks(&sandbox);
    // Where the engine is elsewhere, folders here say nothing of folders there.
    sandbox.engine.world(|world| world.host = "another".to_string());
    assert!(!doctor(&sandbox, &[]).run().exits(0).stdout().contains("workspace is gone"));
}

#[test]
fn a_rootless_engine_that_is_to_publish_a_privileged_port_is_a_warning() {
    let sandbox = sandbox();
    sandbox.engine.world(|world| {
        world.info = json!({ "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"] });
        world.services.insert("web".to_string(), json!({ "ports": [{ "target": 80, "published": "80" }] }));
    });
    let unprivileged = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let printed = finds(&sandbox, doctor(&sandbox, &[]), 0, "28.5.2, rootless at unix:///var/run/docker.sock\n");
    let told = printed.contains("     warning project        web publishes port 80, which a rootless engine may not\n");
    assert_eq!(told, unprivileged.trim().parse::<u16>().unwrap() > 80, "{printed}");
}
