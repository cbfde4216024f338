//! Docker, Compose or the engine is missing.

use super::*;

/// The environment of somebody who has cargo and nothing else.
fn without_docker(sandbox: &Sandbox, args: &[&str]) -> Finished {
    let empty = sandbox.outside().join("empty");
    fs::create_dir_all(&empty).unwrap();
    let cargo = std::env::var_os("CARGO").expect("tests are run by cargo");
    sandbox.stagecraft(args).env("CARGO", cargo).env("PATH", &empty).run()
}

#[test]
fn docker_is_not_installed() {
    let sandbox = Sandbox::new();
    for args in [&["dev"][..], &["dev", "--detach"], &["dev", "--dry-run"], &["dev", "down"]] {
        without_docker(&sandbox, args).exits(4).tells(str![[r#"
error: cannot run `docker`

Caused by:
  No such file or directory (os error 2)
help: install the Docker CLI with Compose v2, or put it on PATH

"#]]);
    }
}

#[test]
fn docker_disappears_just_before_the_start() {
    // A teardown that was begun and cannot go on does not know what is left.
    for (args, code) in [(&["dev"][..], 4), (&["dev", "--detach"], 4), (&["dev", "down"], 6)] {
        let sandbox = Sandbox::new();
        let docker = sandbox.outside().join("bin/docker");
        let path = sandbox.outside().join("bin");
        sandbox.engine.on(Verb::Containers, move |_, _| {
            let _ = fs::remove_file(&docker);
            None
        });
        let cargo = std::env::var_os("CARGO").expect("tests are run by cargo");
        let program = sandbox.stagecraft(args).env("CARGO", cargo).env("PATH", path);
        program.run().exits(code).says("cannot run `docker`");
    }
}

#[test]
fn the_compose_plugin_is_not_installed() {
    let sandbox = Sandbox::new();
    let words = "unknown shorthand flag: 'f' in -f\n";
    sandbox.engine.answer(Verb::Config, Reply::exit(125).stderr(words));
    sandbox.engine.answer(Verb::Version, Reply::exit(1).stderr("docker: 'compose' is not a docker command.\n"));
    for args in [&["dev"][..], &["dev", "--detach"], &["dev", "down"]] {
        sandbox.run(args).exits(4).tells(str![[r#"
error: `docker compose` does not work: the Compose plugin is missing
help: install Docker Compose v2 or newer as a plugin of the Docker CLI: https://docs.docker.com/compose/install/

"#]]);
    }
    touches_nothing(&sandbox);
}

#[test]
fn compose_is_too_old() {
    let sandbox = Sandbox::new();
    sandbox.engine.answer(Verb::Config, Reply::exit(1).stderr("usage\n"));
    sandbox.engine.answer(Verb::Version, Reply::exit(0).stdout("1.29.2\n"));
    sandbox.run(["dev"]).exits(4).says("error: Docker Compose 1.29.2 is too old\nhelp: install Docker Compose v2");
}

#[test]
fn compose_v5_is_new_enough() {
    let sandbox = Sandbox::new();
    sandbox.engine.answer(Verb::Config, Reply::exit(1).stderr("broken file\n"));
    sandbox.engine.answer(Verb::Version, Reply::exit(0).stdout("v5.0.0\n"));
    sandbox.run(["dev"]).exits(3).says("broken file");
}

#[test]
fn the_daemon_does_not_answer() {
    for args in [&["dev"][..], &["dev", "--detach"], &["dev", "down"]] {
        let sandbox = Sandbox::new();
        let words =
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n";
        sandbox.engine.answer(Verb::Containers, Reply::exit(1).stderr(words));
        sandbox.run(args).exits(4).tells(str![[r#"
error: the docker engine does not answer

Caused by:
  Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?
help: start the engine, or look at DOCKER_HOST and `docker context ls`; `cargo stagecraft doctor` looks for the cause

"#]]);
        touches_nothing(&sandbox);
    }
}
