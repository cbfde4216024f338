//! Runs on a fake: which commands, in which order, and what is said.

use std::ffi::OsStr;
use std::io;
use std::process::Output;
use std::sync::{Arc, Mutex};

use super::*;
use crate::command::{Ended, Executor, Invocation, OnLine, Running, SendInterrupt};
use crate::exit::Failure;
use crate::os;
use crate::reporter::event::Event;
use crate::reporter::message::Message;
use crate::reporter::people;

type Answers = fn(&str) -> (i32, &'static str);

/// A docker whose `up` runs until `down` or `stop` ends it, unless the test sets how it ends by itself.
struct Fake {
    calls: Mutex<Vec<String>>,
    up: Mutex<Option<OnExit>>,
    up_ends_with: Option<i32>,
    answers: Answers,
    on_up: Box<dyn Fn() + Send + Sync>,
}

impl Fake {
    fn new(up_ends_with: Option<i32>, answers: Answers) -> Fake {
        Fake { calls: Mutex::default(), up: Mutex::default(), up_ends_with, answers, on_up: Box::new(|| {}) }
    }

    fn call(&self, invocation: &Invocation) -> String {
        let mut words: Vec<_> = invocation.args().iter().map(|arg| arg.to_string_lossy()).collect();
        words.retain(|word| !["compose", "-f", ".stagecraft/dev/compose.yaml"].contains(&word.as_ref()));
        let call = words.join(" ");
        self.calls.lock().unwrap().push(call.clone());
        call
    }
}

struct FakeRunning(i32);

impl Running for FakeRunning {
    fn wait(&mut self) -> io::Result<Ended> {
        Ok(Ended { status: os::exited(self.0), kept: b"held back\n".to_vec(), held_back: Vec::new() })
    }

    fn pass_on(&mut self, _: u8) {}

    fn cut_off(&mut self) {}

    fn id(&self) -> u32 {
        0
    }
}

fn no_guard(_: &GuardTask, _: &ProjectLock) -> anyhow::Result<Guard> {
    Ok(Guard::none())
}

impl Executor for Fake {
    fn output(&self, invocation: &Invocation) -> io::Result<Output> {
        let (code, stdout) = (self.answers)(&self.call(invocation));
        Ok(Output { status: os::exited(code), stdout: stdout.into(), stderr: Vec::new() })
    }

    fn spawn(&self, invocation: &Invocation, on_exit: OnExit) -> io::Result<Box<dyn Running>> {
        let call = self.call(invocation);
        if !call.starts_with("up") {
            self.up.lock().unwrap().take().into_iter().for_each(|up_ends| up_ends());
            on_exit();
        } else if self.up_ends_with.is_some() {
            on_exit();
        } else {
            *self.up.lock().unwrap() = Some(on_exit);
            (self.on_up)();
        }
        Ok(Box::new(FakeRunning(self.up_ends_with.unwrap_or(0))))
    }

    fn listen(&self, invocation: &Invocation, _: OnLine) -> io::Result<Box<dyn Running>> {
        self.call(invocation);
        Err(io::ErrorKind::Unsupported.into())
    }

    crate::command::refuse!(request, exec);
}

/// Keeps what was said, one line each, with the kind in front.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn push(&self, kind: &str, message: &str) {
        self.0.lock().unwrap().push(format!("{kind}: {message}"));
    }

    fn said(&self, kind: &str) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(": ").map(str::to_string)).collect()
    }
}

impl Logger for Log {
    fn status(&self, verb: &str, message: &str) {
        self.push("status", &format!("{verb} {message}"));
    }
    fn detail(&self, verb: &str, message: &str) {
        self.push("detail", &format!("{verb} {message}"));
    }
    fn command(&self, line: &OsStr) {
        self.push("command", &line.to_string_lossy());
    }
    fn note(&self, message: &str) {
        self.push("note", message);
    }
    fn warn(&self, message: &str) {
        self.push("warning", message);
    }
    fn error(&self, message: &str) {
        self.push("error", message);
    }
    fn help(&self, message: &str) {
        self.push("help", message);
    }
    fn table(&self, rows: &[Vec<String>]) {
        rows.iter().for_each(|row| self.push("row", &row.join(" | ")));
    }
    fn replay(&self, output: &[u8]) {
        self.push("replay", &String::from_utf8_lossy(output));
    }
    fn restore_terminal(&self) {}
    fn excerpt(&self, title: &str, text: &[u8]) {
        self.push("excerpt", &format!("{title}: {}", String::from_utf8_lossy(text)));
    }
    fn waiting(&self, services: &[(String, String)]) {
        services.iter().for_each(|(name, state)| self.push("waiting", &format!("{name} ({state})")));
    }
    fn is_terminal(&self) -> bool {
        false
    }
    fn is_unread(&self) -> bool {
        false
    }
    fn event(&self, event: &Event<'_>) {
        people::show(event, self);
        for message in Message::of(event) {
            self.push("message", &serde_json::to_string(&message).unwrap());
        }
    }
}

fn options(attach: Attach) -> Options {
    Options {
        attach,
        traefik: Traefik::On,
        on_end: OnEnd::TearDown,
        before: Vec::new(),
        found_running: false,
        wait: None,
        ports: Ports::Ignored,
        args: Vec::new(),
        teardown: Teardown::default(),
    }
}

fn compose() -> Compose {
    Compose::new(&Workspace::at("/"), ProjectName::new("x").unwrap(), ColorChoice::Auto).unwrap()
}

fn stack() -> Stack {
    Stack::parse(br#"{"name": "x", "services": {"web": {}}}"#).unwrap()
}

/// Runs a stack with one service on a fake and returns what became of it, what was called and what was said.
fn run(mut fake: Fake, options: &Options, press: Option<Interrupt>) -> (Outcome, Vec<String>, Arc<Log>) {
    let log = Arc::new(Log::default());
    let send: Arc<Mutex<Option<SendInterrupt>>> = Arc::default();
    if let Some(interrupt) = press {
        let send = Arc::clone(&send);
        fake.on_up = Box::new(move || send.lock().unwrap().as_ref().unwrap()(interrupt));
    }
    let fake = Arc::new(fake);
    let hook = move |hooked: SendInterrupt| {
        *send.lock().unwrap() = Some(hooked);
        Ok(())
    };
    let runner = Runner::new(Commander::new(fake.clone(), log.clone()), log.as_ref(), &hook, &no_guard);
    let outcome = runner.run(&compose(), &stack(), options, Preparation::new(ProjectLock::none()), None).unwrap();
    let mut calls = fake.calls.lock().unwrap().clone();
    let is_question = |call: &&mut String| !["up", "down", "--profile", "-p"].iter().any(|it| call.starts_with(it));
    for call in calls.iter_mut().filter(is_question) {
        call.truncate(call.find(" --").unwrap_or(call.len()));
    }
    (outcome, calls, log)
}

fn web_has_crashed(call: &str) -> (i32, &'static str) {
    const CRASHED: &str = r#"{"Id":"1","Name":"/x-web-1","RestartCount":0,"NetworkSettings":{"Ports":{}},"Config":
        {"Labels":{"com.docker.compose.service":"web"}},"State":{"Status":"exited","ExitCode":101}}"#;
    match call {
        ids if ids.contains("oneoff=False") => (0, RUNNING),
        inspect if inspect.starts_with("container inspect") => (0, CRASHED),
        logs if logs.starts_with("logs") => (0, "boom\n"),
        _ => (0, ""),
    }
}

#[test]
fn a_failed_start_is_described_in_json_messages() {
    let (_, _, log) = run(Fake::new(Some(0), web_has_crashed), &options(Attach::Detached), None);
    let messages: Vec<serde_json::Value> =
        log.said("message").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let reasons: Vec<&str> = messages.iter().map(|message| message["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["service-failed", "stack-failed", "stack-stopped"]);
    assert_eq!(messages[0]["meaning"], "a panic in Rust");
    assert_eq!(messages[0]["log"][0], "boom");
    assert_eq!(messages[1]["message"], "could not be started: web exited with 101: a panic in Rust");
    assert_eq!((&messages[2]["cause"], &messages[2]["complete"]), (&"failed".into(), &true.into()));
}

const RUNNING: &str = r#"{"Id":"1","Names":["x-web-1"],"State":"running",
    "Labels":{"com.docker.compose.service":"web","com.docker.compose.project.working_dir":"/"}}"#;

#[test]
fn up_comes_before_down_and_down_comes_once() {
    fn answers(call: &str) -> (i32, &'static str) {
        static DOWN: Mutex<bool> = Mutex::new(false);
        let mut asked = DOWN.lock().unwrap();
        // The first question finds the stack running, those after `down` find nothing.
        let first = call.starts_with("ps") && !std::mem::replace(&mut *asked, true);
        (0, if first { RUNNING } else { "" })
    }
    let (outcome, mut calls, log) = run(Fake::new(None, answers), &options(Attach::Foreground), Some(Interrupt::Term));
    assert_eq!(outcome, Outcome::Interrupted(Interrupt::Term));
    calls[4..].sort();
    assert_eq!(calls, ["up", "events", "ps", "down", "network ls", "ps"]);
    assert_eq!(
        log.said("command")[0],
        "COMPOSE_MENU=0 COMPOSE_PROJECT_NAME=x docker compose -f .stagecraft/dev/compose.yaml up"
    );
    assert_eq!(log.said("command").len(), calls.len(), "every command is shown");
    let status = log.said("status");
    assert_eq!(status[1], "Stopping x (SIGTERM); press Ctrl+C again to kill its containers at once");
    assert_eq!(status[2], "Removed x; nothing of it is left");
}

#[test]
fn a_failed_up_is_reported_with_composes_last_message() {
    for attach in [Attach::Foreground, Attach::Detached] {
        let (outcome, calls, log) = run(Fake::new(Some(18), |_| (0, "")), &options(attach), None);
        assert_eq!(outcome, Outcome::Failed);
        assert!(calls.contains(&"down".to_string()), "{calls:?}");
        let what = if attach == Attach::Foreground { "failed" } else { "could not be started" };
        assert_eq!(log.said("error"), [format!("x {what}: held back")]);
    }
}

#[test]
fn a_detached_start_that_compose_calls_a_success_fails_if_a_container_has() {
    let (outcome, calls, log) = run(Fake::new(Some(0), web_has_crashed), &options(Attach::Detached), None);
    assert_eq!(outcome, Outcome::Failed);
    assert_eq!(calls[..4], ["up -d", "ps", "container inspect", "logs"]);
    assert_eq!(log.said("excerpt"), ["log of x-web-1, its last 50 lines at most: boom\n"]);
    assert_eq!(log.said("row"), ["SERVICE | STATE | DETAIL", "web | exited (101) | a panic in Rust"]);
    assert_eq!(log.said("error"), ["x could not be started: web exited with 101: a panic in Rust"]);
    assert_eq!(log.said("help"), [""; 0], "all that there is has been shown");
    // The logs come before the teardown, the error is the last thing on the screen.
    let lines = log.0.lock().unwrap();
    let at = |piece: &str| lines.iter().position(|line| line.contains(piece)).unwrap();
    assert!(at("excerpt: ") < at("compose.yaml down") && at("compose.yaml down") < at("error: "));
    assert!(at("status: Removed") < at("error: "));
}

#[test]
fn a_failed_detached_start_keeps_a_running_stack_or_with_keep() {
    let running = Container { state: "running".to_string(), ..Container::default() };
    let found = Options { before: vec![running], found_running: true, ..options(Attach::Detached) };
    let keep = Options { on_end: OnEnd::Keep, ..options(Attach::Detached) };
    for (options, words) in [(found, "was running before and is left alone"), (keep, "are kept because of --keep")] {
        let (outcome, calls, log) = run(Fake::new(Some(1), |_| (0, "")), &options, None);
        assert_eq!(outcome, Outcome::Failed);
        assert!(calls.contains(&"up -d".to_string()) && !calls.contains(&"down".to_string()), "{calls:?}");
        assert!(log.said("note")[0].contains(words));
    }
}

#[test]
fn leftovers_of_three_teardowns_are_listed_and_exit_code_6() {
    fn answers(call: &str) -> (i32, &'static str) {
        (0, if call.starts_with("ps --no-trunc") { RUNNING } else { "" })
    }
    let (outcome, calls, log) = run(Fake::new(None, answers), &options(Attach::Foreground), Some(Interrupt::Int));
    assert_eq!(outcome.code(), Code::TeardownIncomplete);
    let downs: Vec<_> = calls.iter().filter(|call| call.contains("down")).collect();
    assert_eq!(downs, ["down", "--profile * down --remove-orphans", "-p x down --remove-orphans"]);
    assert_eq!(
        log.said("error"),
        ["x is not completely torn down; still on the engine:\n  container x-web-1 (running)"]
    );
    assert_eq!(log.said("help"), ["remove it with `docker rm --force x-web-1`"]);
}

#[test]
fn a_quiet_detached_start_shows_composes_output_only_if_it_failed() {
    let quiet = |code| {
        let mut options = options(Attach::Detached);
        options.teardown.verbosity = Verbosity::Quiet;
        run(Fake::new(Some(code), |_| (0, "")), &options, None).2
    };
    assert_eq!(quiet(1).said("replay")[0], "held back\n");
    assert!(quiet(0).said("replay").is_empty());
}

#[test]
fn the_grace_of_an_interrupt_counts_only_after_one_and_only_if_no_other_is_given() {
    let downs = |timeout, press| {
        let mut options = options(Attach::Foreground);
        options.teardown = Teardown { timeout, interrupt_timeout: Some(5), ..Teardown::default() };
        let up_ends_with = if press { None } else { Some(0) };
        let (_, calls, _) = run(Fake::new(up_ends_with, |_| (0, "")), &options, press.then_some(Interrupt::Int));
        calls.into_iter().filter(|call| call.contains("down")).collect::<Vec<_>>()
    };
    assert_eq!(downs(None, true), ["down --timeout 5"]);
    assert_eq!(downs(Some(9), true), ["down --timeout 9"]);
    assert_eq!(downs(None, false), ["down"]);
}

#[test]
fn docker_that_cannot_be_started_is_exit_code_4_and_6_once_there_may_be_something() {
    struct Missing;
    impl Executor for Missing {
        fn output(&self, _: &Invocation) -> io::Result<Output> {
            Err(io::ErrorKind::NotFound.into())
        }
        fn spawn(&self, _: &Invocation, _: OnExit) -> io::Result<Box<dyn Running>> {
            Err(io::ErrorKind::NotFound.into())
        }
        crate::command::refuse!(listen, request, exec);
    }
    let log = Log::default();
    let hook = |_: SendInterrupt| Ok(());
    let runner = Runner::new(Commander::unlimited(Arc::new(Missing)), &log, &hook, &no_guard);
    let error = runner
        .run(&compose(), &stack(), &options(Attach::Foreground), Preparation::new(ProjectLock::none()), None)
        .unwrap_err();
    assert_eq!(error.downcast_ref::<Failure>().unwrap().code(), Code::EngineUnavailable);
    assert_eq!(
        runner.take_down(&compose(), DownScope::File, Teardown::default(), Vec::new(), ProjectLock::none()).unwrap(),
        Outcome::Incomplete
    );
    assert!(
        log.said("error")[0].contains("cannot check what is left of x: cannot run `docker`"),
        "{:?}",
        log.said("error")
    );
}

/// An engine that leaves every question unanswered, without the time that this takes.
#[derive(Default)]
struct Silent(Mutex<usize>);

impl Executor for Silent {
    fn output(&self, _: &Invocation) -> io::Result<Output> {
        *self.0.lock().unwrap() += 1;
        Err(io::ErrorKind::TimedOut.into())
    }

    crate::command::refuse!(spawn, listen, request, exec);
}

#[test]
fn an_engine_that_has_just_been_silent_is_not_asked_again_at_once() {
    let (engine, log) = (Arc::new(Silent::default()), Arc::new(Log::default()));
    let echo = Commander::new(engine.clone(), log.clone());
    let mut command = std::process::Command::new("docker");
    command.arg("info");
    let question = Invocation::from(command);
    for _ in 0..3 {
        let error = echo.output(&question).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "it gave no answer within 0 seconds");
    }
    // What was not asked is not shown.
    assert_eq!((*engine.0.lock().unwrap(), log.said("command").len()), (1, 1));
}
