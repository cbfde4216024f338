use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt;

use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use proptest::prelude::*;
use xshell::{Shell, cmd};

use super::*;
use crate::os;

fn sh(script: &str) -> Invocation {
    let shell = Shell::new().unwrap();
    Invocation::from(cmd!(shell, "sh -c {script}"))
}

/// What a real shell makes of a line.
fn paste(invocation: &Invocation) -> Vec<u8> {
    let output = Command::new("sh").arg("-c").arg(invocation.line()).output().unwrap();
    assert!(output.status.success(), "{invocation}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn word() -> impl Strategy<Value = OsString> {
    let bytes = prop::collection::vec(1..=u8::MAX, 0..12).prop_map(OsString::from_vec);
    let text = "[ -~\n\t\u{e9}\u{1f600}]{0,12}".prop_map(OsString::from);
    prop_oneof![bytes, text]
}

#[test]
fn a_direct_question_is_shown_as_a_curl_command() {
    let line = |socket: &str, path: &str| Invocation::from(Request::new(Path::new(socket), path).curl()).to_string();
    assert_eq!(line("/run/x.sock", "/version"), "curl --unix-socket /run/x.sock http://localhost/version");
    assert_eq!(line("/a b/c", "/x?y=1&z=2"), "curl --unix-socket '/a b/c' 'http://localhost/x?y=1&z=2'");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_line_pasted_into_a_shell_runs_the_same_thing(
        args in prop::collection::vec(word(), 0..6),
        value in word(),
        stdin in "[ -~\n\u{e9}]{0,20}",
    ) {
        let script = r#"printf '%s\0' "$V" "$(cat; echo .)"; for a; do printf '%s\0' "$a"; done"#;
        let shell = Shell::new().unwrap();
        let given = &args;
        let invocation = cmd!(shell, "sh -c {script} name {given...}").env("V", &value);
        let invocation = Invocation::from(invocation).stdin(stdin.clone());
        let mut expected = value.into_vec();
        expected.push(0);
        expected.extend_from_slice(stdin.as_bytes());
        expected.extend_from_slice(b".\0");
        for arg in args {
            expected.extend_from_slice(arg.as_encoded_bytes());
            expected.push(0);
        }
        prop_assert_eq!(System.output(&invocation).unwrap().stdout, expected.clone());
        let spawned = System.spawn(&invocation.clone().show(Show::IfItFails), Box::new(|| {})).unwrap().wait().unwrap();
        prop_assert_eq!(spawned.kept, expected.clone());
        prop_assert_eq!(paste(&invocation), expected);
    }
}

#[test]
fn an_unknown_up_process_is_found_in_the_process_table() {
    let temp = tempfile::tempdir().unwrap();
    let shell = Shell::new().unwrap();
    shell.change_dir(temp.path());
    let invocation = Invocation::from(cmd!(shell, "sleep 1000").env("MARK", "a b")).shielded();
    let found = |value: &str| os::find(&invocation.argv(), temp.path(), "MARK", value);
    assert_eq!(found("a b"), None);
    let (over, is_over) = mpsc::channel();
    let mut running = System.spawn(&invocation, Box::new(move || over.send(()).unwrap())).unwrap();
    assert_eq!((found("a b"), found("a")), (Some(running.id()), None));
    running.cut_off();
    is_over.recv().unwrap();
    assert!(running.wait().is_ok());
}

#[test]
fn a_line_shows_the_environment_sorted_and_quotes_no_more_than_it_must() {
    let shell = Shell::new().unwrap();
    let word = "it's";
    let invocation = cmd!(shell, "docker up --scale traefik=0 {word}").env("B", "x y").env("A", "");
    assert_eq!(Invocation::from(invocation).to_string(), "A='' B='x y' docker up --scale traefik=0 \"it's\"");
}

#[test]
fn an_invocation_keeps_program_arguments_environment_and_directory() {
    let shell = Shell::new().unwrap();
    shell.change_dir("/usr");
    let invocation = Invocation::from(cmd!(shell, "docker ps -q").env("K", "v"));
    assert_eq!(invocation.program(), "docker");
    assert_eq!(invocation.args(), ["ps", "-q"]);
    assert_eq!(invocation.env(), [("K".into(), "v".into())]);
    assert_eq!(invocation.cwd(), Some(Path::new("/usr")));
}

fn spawn(invocation: &Invocation) -> (Box<dyn Running>, mpsc::Receiver<()>) {
    let (sender, ended) = mpsc::channel();
    let on_exit = Box::new(move || sender.send(()).unwrap());
    (System.spawn(invocation, on_exit).unwrap(), ended)
}

#[test]
fn the_end_of_a_spawned_command_is_reported_before_it_is_reaped() {
    let (mut running, ended) = spawn(&sh("exit 7"));
    ended.recv().unwrap();
    assert_eq!(running.wait().unwrap().status.code(), Some(7));
}

#[test]
fn captured_output_is_complete_at_the_end() {
    let long = sh("echo begin; head -c 300000 /dev/zero; echo end >&2").show(Show::IfItFails);
    let (mut running, ended) = spawn(&long);
    ended.recv().unwrap();
    let kept = running.wait().unwrap().kept;
    assert_eq!(kept.len(), 300_000 + "begin\nend\n".len());
    assert!(kept.ends_with(b"end\n"));
}

#[test]
fn the_end_of_streamed_output_is_kept() {
    let (mut running, ended) = spawn(&sh("echo progress >&2; echo the reason >&2").show(Show::LiveAndKept));
    ended.recv().unwrap();
    assert_eq!(running.wait().unwrap().kept, b"progress\nthe reason\n");
}

#[test]
fn of_a_command_that_shows_its_errors_the_output_is_held_back() {
    let (mut running, ended) = spawn(&sh("echo progress; echo the reason >&2").show(Show::ErrorsLive));
    ended.recv().unwrap();
    let ended = running.wait().unwrap();
    assert_eq!((&ended.held_back[..], &ended.kept[..]), (&b"progress\n"[..], &b"the reason\n"[..]));
}

#[test]
fn lines_that_are_left_out_are_kept() {
    let script = "printf ' Container a  Running\\n Container b  Created\\nthe rest' >&2";
    let left_out = sh(script).show(Show::ErrorsLive).leave_out(" Container ", " Running");
    let (mut running, ended) = spawn(&left_out);
    ended.recv().unwrap();
    assert_eq!(running.wait().unwrap().kept, b" Container a  Running\n Container b  Created\nthe rest");
}

#[test]
fn the_end_is_reported_even_if_another_process_holds_the_output() {
    let (mut running, ended) = spawn(&sh("sleep 1000 & exit 7").shielded().show(Show::IfItFails));
    ended.recv().unwrap();
    assert_eq!(running.wait().unwrap().status.code(), Some(7));
}

#[test]
fn stderr_is_returned_with_the_output_on_request() {
    let both = sh("echo one; echo two >&2; echo three").with_errors();
    assert_eq!(System.output(&both).unwrap().stdout, b"one\ntwo\nthree\n");
    assert!(both.to_string().ends_with(" 2>&1"), "{both}");
}

#[test]
fn cutting_off_ends_the_whole_group_of_a_shielded_command() {
    // The grandchild holds the pipe: only when it is gone, too, does reading come to an end.
    let tree = sh("sleep 1000 & wait").shielded().show(Show::IfItFails);
    let (mut running, ended) = spawn(&tree);
    running.cut_off();
    ended.recv().unwrap();
    assert!(!running.wait().unwrap().status.success());
}

#[test]
fn output_that_does_not_come_in_time_is_an_error_and_ends_the_command() {
    // Nothing is left that would hold the pipe: reading it comes to an end.
    let (mut reader, writer) = io::pipe().unwrap();
    let fd = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&writer));
    let silent = sh(&format!("exec 7>{fd}; echo up >&7; exec sleep 1000")).within(Duration::from_secs(1));
    assert_eq!(System.output(&silent).unwrap_err().kind(), io::ErrorKind::TimedOut);
    drop(writer);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(said, "up\n");
    let quick = sh("echo out; echo err >&2; exit 3").within(Duration::from_secs(60));
    let output = System.output(&quick).unwrap();
    assert_eq!((output.status.code(), &*output.stdout, &*output.stderr), (Some(3), &b"out\n"[..], &b"err\n"[..]));
}

#[test]
fn only_questions_to_the_engine_have_to_be_answered_in_time() {
    let is_question = |line: &str| {
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        Invocation::from(command).is_question()
    };
    for line in ["docker ps --all", "docker info", "docker network ls", "docker container inspect 1", "docker events"] {
        assert!(is_question(line), "{line}");
    }
    for line in ["docker compose ps", "docker volume rm x", "docker image rm x", "docker context inspect x", "cargo ps"]
    {
        assert!(!is_question(line), "{line}");
    }
}

#[test]
fn a_program_that_does_not_exist_is_an_error_and_no_panic() {
    let shell = Shell::new().unwrap();
    let invocation = Invocation::from(cmd!(shell, "/no/such/program"));
    assert_eq!(System.output(&invocation).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(System.spawn(&invocation, Box::new(|| {})).is_err());
}
