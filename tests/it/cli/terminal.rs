//! A terminal that is closed.

use super::*;

/// A pipe that nobody reads.
fn broken_pipe() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

#[test]
fn a_closed_stderr_changes_no_exit_code() {
    let sandbox = short();
    let program = env!("CARGO_BIN_EXE_cargo-stagecraft");
    let closed = |args: &str| sandbox.program("sh", ["-c", &format!("exec \"$0\" {args} 2>&-"), program]).run();
    closed("dev").exits(0);
    closed("dev down").exits(0);
    closed("dev --detatch").exits(2);
    sandbox.remove(COMPOSE_FILE);
    closed("dev").exits(3);

    let sandbox = short();
    let broken = |args: &[&str]| sandbox.stagecraft(args).stderr(broken_pipe()).stdout(broken_pipe()).run();
    broken(&["dev"]).exits(0);
    broken(&["dev", "-v"]).exits(0);
    broken(&["dev", "--detach"]).exits(0);
    broken(&["dev", "down"]).exits(0);
    broken(&["dev", "--detatch"]).exits(2);
    broken(&["--help"]).exits(0);
    assert!(sandbox.engine.world(|world| world.is_empty()));
    sandbox.remove(COMPOSE_FILE);
    broken(&["dev"]).exits(3);
}

#[test]
fn a_dry_run_with_a_closed_stdout_fails() {
    Sandbox::new().stagecraft(["dev", "--dry-run"]).stdout(broken_pipe()).run().exits(1).tells(str![[r#"
error: cannot write to stdout

Caused by:
  Broken pipe (os error 32)

"#]]);
}

#[test]
fn the_environment_of_the_user_reaches_docker() {
    let sandbox = short();
    let host = ("DOCKER_HOST", "unix:///nowhere.sock");
    sandbox.stagecraft(["dev"]).env(host.0, host.1).env("COMPOSE_PROFILES", "extra").run().exits(0);
    for call in sandbox.engine.calls() {
        assert_eq!(call.env[OsStr::new(host.0)], host.1, "{}", call.line());
        assert_eq!(call.env[OsStr::new("COMPOSE_PROFILES")], "extra", "{}", call.line());
    }
}

#[test]
fn the_fake_docker_is_used_instead_of_the_real_one() {
    let sandbox = Sandbox::new();
    sandbox.engine.answer(Verb::Version, Reply::exit(0).stdout("fake\n"));
    let finished = sandbox.program("docker", ["compose", "version"]).run().exits(0);
    assert_eq!(finished.stdout(), "fake\n");
    // And without its socket it does nothing at all.
    assert!(
        !Command::new(sandbox.outside().join("bin/docker")).env("FAKE_DOCKER", "/nowhere").status().unwrap().success()
    );
}
