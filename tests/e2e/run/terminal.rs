//! The command has the terminal.

use super::{assert_removed, isolated, small};
use crate::support::stage::Stage;

on_the_new_pair![
    keys_and_ctrl_c,
    ctrl_c_ends_both,
    stopped_and_continued,
    a_pager_has_the_keys,
    a_shell_that_is_killed_while_its_job_has_the_terminal,
    window_closed
];

/// Ctrl+C is the command's to understand, and the stack stays.
fn keys_and_ctrl_c(stage: &Stage) {
    small(stage);
    let project = isolated(stage);
    let script = "trap 'echo; echo it w\"\"as Ctrl+C' INT; echo the command ru\"\"ns; while ! read line; do :; done; echo got $line";
    let run = stage.tool(&["dev", "run", "--", "bash", "-c", script]).start_in_terminal();
    run.wait_for("the command runs");
    let modes = run.terminal().modes();
    run.press_ctrl_c();
    run.wait_for("it was Ctrl+C");
    assert_eq!(stage.containers_of(&project)["web"], "running");
    run.terminal().type_in(b"a line\n");
    run.wait_for("got a line");
    let after = run.terminal().modes();
    run.end().with(0).says("Removed");
    assert_eq!(after, modes);
    assert_removed(stage, &project);
}

/// First the command, then the stack.
fn ctrl_c_ends_both(stage: &Stage) {
    small(stage);
    let project = isolated(stage);
    let run =
        // dash sometimes loses an interrupt before it starts a program.
        stage.tool(&["dev", "run", "--", "bash", "-c", "stty raw -echo isig; echo the command ru\"\"ns; sleep 1000"]);
    let run = run.start_in_terminal();
    run.wait_for("the command runs");
    run.press_ctrl_c();
    run.wait_for("Stopping");
    // The modes that the command has left are not those of the shell.
    assert!(run.terminal().modes().is_cooked());
    run.end().with(130).says("Removed");
    assert_removed(stage, &project);
}

/// In a shell with job control.
fn stopped_and_continued(stage: &Stage) {
    small(stage);
    let project = isolated(stage);
    let shell = stage.program("bash", &["--norc", "-i"]).env("PS1", "prompt> ").start_in_terminal();
    shell.wait_for("prompt> ");
    let tool = env!("CARGO_BIN_EXE_cargo-stagecraft");
    let type_in = |line: &str| shell.terminal().type_in(format!("{line}\n").as_bytes());
    type_in(&format!("{tool} dev run -- sh -c 'echo the command ru\"\"ns; read line; echo got $line'"));
    shell.wait_for("the command runs");
    shell.terminal().type_in(b"\x1a");
    shell.wait_for("Stopped");
    type_in("echo the shell is $((1+1))");
    shell.wait_for("the shell is 2");
    type_in("fg");
    shell.wait_for_times("dev run -- sh -c", 3);
    type_in("a word");
    shell.wait_for("got a word");
    shell.wait_for("Removed");
    type_in("echo it has ended with $?");
    shell.wait_for("it has ended with 0");
    type_in("exit");
    shell.end().with(0);
    assert_removed(stage, &project);
}

/// Of a line of commands that share the terminal, one that reads from it has it: here the last one, as a pager does.
fn a_pager_has_the_keys(stage: &Stage) {
    small(stage);
    isolated(stage);
    let shell = stage.program("bash", &["--norc", "-i"]).env("PS1", "prompt> ").start_in_terminal();
    shell.wait_for("prompt> ");
    let tool = env!("CARGO_BIN_EXE_cargo-stagecraft");
    let type_in = |line: &str| shell.terminal().type_in(format!("{line}\n").as_bytes());
    type_in(&format!(
        "{tool} dev run -- sh -c 'echo 1st; sleep 1000' | sh -c 'read a; echo $a; read key < /dev/tty; echo key $key'"
    ));
    shell.wait_for("1st\r\n");
    type_in("q");
    shell.wait_for("key q");
    shell.press_ctrl_c();
    shell.wait_for("Removed");
    // A command that reads gets the keys all the same.
    type_in(&format!("{tool} dev run -- sh -c 'echo 2nd; read word; echo word $word' | cat"));
    shell.wait_for("2nd\r\n");
    type_in("w");
    shell.wait_for("word w");
    shell.wait_for_times("Removed", 2);
    type_in("exit");
    shell.end();
}

/// The terminal is not ours then, and what changes its modes would stop us.
fn a_shell_that_is_killed_while_its_job_has_the_terminal(stage: &Stage) {
    small(stage);
    let project = isolated(stage);
    let script = "bash -c 'kill -9 $PPID; sleep 1'; true";
    let run = stage.tool(&["dev", "run", "--", "bash", "-m", "-c", script]).start_in_terminal();
    run.end().with(137).says("Removed");
    assert_removed(stage, &project);
}

fn window_closed(stage: &Stage) {
    small(stage);
    let project = isolated(stage);
    let mut run =
        stage.tool(&["dev", "run", "--", "bash", "-c", "echo the command ru\"\"ns; sleep 1000"]).start_in_terminal();
    run.wait_for("the command runs");
    run.close_terminal();
    run.end().with(129);
    assert_removed(stage, &project);
}
