//! What is said in a job of GitHub Actions, and nowhere else.

use std::fs;

use crate::support::{Program, Reply, Sandbox, Verb};

/// A detached start of which `db` crashes, with a log that a runner could take for commands.
fn crash(sandbox: &Sandbox) -> Program<'_> {
    sandbox.engine.on(Verb::Up, |call, world| {
        world.up_for(call);
        world.log = "boom\n::error::not ours\n";
        world.exits("db", 101);
        Some(Reply::exit(0))
    });
    sandbox.stagecraft(["dev", "--detach"])
}

#[test]
fn a_log_is_folded_with_its_commands_off_a_failure_is_an_annotation_and_the_step_has_a_summary() {
    let sandbox = Sandbox::new();
    let summary = sandbox.outside().join("summary.md");
    let run = crash(&sandbox).env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary).run();
    let stderr = run.exits(1).stderr;
    let lines: Vec<&str> = stderr.lines().collect();
    let at =
        |line: &str| lines.iter().position(|it| *it == line).unwrap_or_else(|| panic!("no `{line}` in:\n{stderr}"));
    let group = at("::group::log of shop-db-1, its last 50 lines at most");
    let token = lines[group + 1].strip_prefix("::stop-commands::").expect("commands are switched off");
    assert_eq!(lines[group + 2..][..2], ["boom", "::error::not ours"]);
    assert_eq!(lines[group + 4..][..2], [format!("::{token}::").as_str(), "::endgroup::"]);
    at("::error title=db::db exited with 101: a panic in Rust");
    let table = "### shop could not be started\n\n| SERVICE | STATE | DETAIL |\n|---|---|---|\n| api | running |  |\n| db | exited (101) | a panic in Rust |\n\n";
    assert_eq!(fs::read_to_string(summary).unwrap(), table);
}

#[test]
fn a_failure_that_no_container_is_to_blame_for_is_one_of_the_project() {
    let sandbox = Sandbox::new();
    sandbox.engine.answer(Verb::Up, Reply::exit(1).stderr("Error response from daemon: network x not found\n"));
    let run = sandbox.stagecraft(["dev", "--detach"]).env("GITHUB_ACTIONS", "true").run();
    run.exits(1).says("::error title=shop::could not be started: network x not found\n");
}

#[test]
fn a_start_that_succeeds_has_a_summary_and_no_annotation() {
    let sandbox = Sandbox::new();
    let summary = sandbox.outside().join("summary.md");
    let run = sandbox.stagecraft(["dev", "--detach"]).env("GITHUB_ACTIONS", "true");
    run.env("GITHUB_STEP_SUMMARY", &summary).run().exits(0).does_not_say("::");
    assert!(fs::read_to_string(summary).unwrap().starts_with("### shop runs\n"));
}

#[test]
fn nothing_of_it_elsewhere() {
    let sandbox = Sandbox::new();
    let summary = sandbox.outside().join("summary.md");
    let run = crash(&sandbox).env("GITHUB_STEP_SUMMARY", &summary).env("CI", "true").run();
    let stderr = run.exits(1).stderr;
    assert_eq!(stderr.matches("::").count(), "::error::".matches("::").count(), "only the log has some: {stderr}");
    assert!(!summary.exists());
}

/// A lone carriage return ends a line for the runner, and `##[` is a command wherever it stands.
#[test]
fn nothing_that_is_foreign_is_a_command() {
    let sandbox = Sandbox::new();
    let words = "x\r::add-mask::e\r##[error]y";
    sandbox.engine.answer(Verb::Up, Reply::exit(1).stderr(format!("Error response from daemon: {words}\n")));
    let stderr = sandbox.stagecraft(["dev", "--detach"]).env("GITHUB_ACTIONS", "true").run().exits(1).stderr;
    // What Compose prints while it starts is shown as it comes.
    let is_ours = |line: &&str| !line.starts_with("::error title=") && !line.starts_with("Error response");
    let ours = stderr.lines().filter(is_ours).collect::<Vec<_>>().join("\n");
    assert!(!ours.contains('\r') && !ours.contains("##["), "{ours:?}");
    assert!(stderr.contains("x\\r::add-mask::e\\r# #[error]y"), "{stderr}");
}

#[test]
fn logs_have_their_commands_off() {
    let sandbox = Sandbox::new();
    sandbox.run(["dev", "--detach"]).exits(0);
    sandbox.engine.answer(Verb::Logs, Reply::exit(0).stdout("::error::not ours\n"));
    let finished = sandbox.stagecraft(["dev", "logs"]).env("GITHUB_ACTIONS", "true").run().exits(0);
    let lines: Vec<&str> = finished.stdout().lines().collect();
    let token = lines[0].strip_prefix("::stop-commands::").expect("commands are switched off");
    assert_eq!(lines[1..], ["::error::not ours", &format!("::{token}::")]);
    sandbox.engine.forget_answers();
    sandbox.engine.answer(Verb::Logs, Reply::exit(7));
    sandbox.stagecraft(["dev", "logs"]).env("GITHUB_ACTIONS", "true").run().exits(7);
}
