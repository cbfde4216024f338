//! Carries out what the lifecycle table says: spawns, asks, waits, and tells.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;

use super::exec::{self, Executor, Invocation, OnExit, Running, Shield, Show};
use super::expected::Expected;
use super::guard::{Charge, Guard, Orphaned};
use super::interrupt::Interrupt;
use super::lifecycle::{
    self, Action, Cause, End, Event, Farewell, Force, PATIENCE, Phase, Policy, SETTLE, State, Undo, Up,
};
use super::lock::{Change, ProjectLock};
use super::startup::Startup;
use super::verdict::{Question, Verdict};
use crate::compose::{Attach, Compose, ContainerStatus, PROJECT_NAME, ProjectName, Reach, Stack, Traefik, Volumes};
use crate::engine::{self, Container, Remains};
use crate::exit::{Code, Failure};
use crate::shell::{Logger, Verbosity};
use crate::workspace::Workspace;

/// How soon after an interrupt the same one counts as its echo: timeout(1) signals the process and then its whole group,
/// and no finger presses twice so quickly.
const ECHO: Duration = Duration::from_millis(100);

/// How much longer than the answer to a question the engine may take for what it was asked to make. An idle machine answers
/// within 50 ms and makes a network in 0.2 s; with many times more work than cores it was 0.4 s and 1.9 s.
const SLOWER_THAN_AN_ANSWER: u32 = 20;
const SETTLE_AT_MOST: Duration = Duration::from_secs(5);

/// The last version of Compose (2.26) that was seen to bear a `down` under an attached `up`; 2.40 may crash:
/// <https://github.com/docker/compose/issues/13559>.
const LAST_TO_BEAR_A_DOWN: (u32, u32) = (2, 26);

/// The exit code of a Go program that has crashed.
const GO_PANIC: i32 = 2;

/// How many lines of each log come first when a stack is followed that runs already.
const LAST_LINES: u32 = 20;

/// What is said while somebody else changes the project.
pub fn waiting_for_others(project: &ProjectName) -> String {
    format!("waiting for another command on {project} to finish")
}

/// What the end of a run does with containers that nobody needs any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnEnd {
    /// Remove them.
    #[default]
    TearDown,
    /// Leave them there to be looked at.
    Keep,
}

/// How to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Stay attached or return.
    pub attach: Attach,
    /// With or without the service `traefik`.
    pub traefik: Traefik,
    /// What a failed start or a finished foreground run does with what it leaves.
    pub on_end: OnEnd,
    /// Whether containers of the stack were up before; a detached start leaves those alone if it fails.
    pub found_running: bool,
    /// The user's own arguments for `up`.
    pub args: Vec<OsString>,
    /// How to take down what has to be taken down.
    pub teardown: Teardown,
}

/// How to take down.
#[derive(Clone, Copy, Debug, Default)]
pub struct Teardown {
    /// Grace for containers in seconds; without it each service's own counts.
    pub timeout: Option<u32>,
    /// The grace after an interrupt, in seconds, where `timeout` gives none: a CI runner does not wait for long.
    pub interrupt_timeout: Option<u32>,
    /// Whether volumes go too.
    pub volumes: Volumes,
    /// How much to show of what Compose prints meanwhile.
    pub verbosity: Verbosity,
}

/// How a run ended. What there is to say about it has been said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As asked: started in the background, finished with success, or taken down.
    Done,
    /// The stack failed to start or to run; what had to be taken down is gone.
    Failed,
    /// Interrupted; what had to be taken down is gone.
    Interrupted(Interrupt),
    /// Something is left on the engine, or nobody knows.
    Incomplete,
}

impl Outcome {
    /// The exit code.
    pub fn code(self) -> Code {
        match self {
            Outcome::Done => Code::Success,
            Outcome::Failed => Code::Failed,
            Outcome::Interrupted(interrupt) => Code::Interrupted(interrupt.number()),
            Outcome::Incomplete => Code::TeardownIncomplete,
        }
    }
}

/// Passes an interrupt on to the run.
pub type SendInterrupt = Box<dyn Fn(Interrupt) + Send + Sync>;

/// Makes interrupts arrive at the given function from now on. The real one is [`super::hook`].
pub type Hook = dyn Fn(SendInterrupt) -> anyhow::Result<()> + Send + Sync;

/// Arms a guard for this charge, which shares the lock. The real one is [`Guard::arm`].
pub type Arm = dyn Fn(&Charge, &ProjectLock) -> anyhow::Result<Guard> + Send + Sync;

/// Starts stacks and takes them down.
pub struct Runner<'a> {
    executor: Arc<dyn Executor>,
    logger: &'a dyn Logger,
    hook: &'a Hook,
    arm: &'a Arm,
}

impl<'a> Runner<'a> {
    /// A runner on these tools.
    pub fn new(executor: Arc<dyn Executor>, logger: &'a dyn Logger, hook: &'a Hook, arm: &'a Arm) -> Runner<'a> {
        Runner { executor: Arc::new(Shield(executor)), logger, hook, arm }
    }

    /// Starts `stack` and stays until it is started ([`Attach::Detached`]) or over ([`Attach::Foreground`]); then, or
    /// when an interrupt comes, takes down what has to be taken down and looks whether it is gone. `lock` is held; in the
    /// foreground it is given back while the stack just runs.
    ///
    /// # Errors
    /// [`Code::EngineUnavailable`] if docker could not be started at all; there is nothing to take down then.
    pub fn run(
        &self,
        compose: &Compose,
        stack: &Stack,
        options: &Options,
        lock: ProjectLock,
    ) -> anyhow::Result<Outcome> {
        let policy = Policy {
            leaves_running: options.attach == Attach::Detached,
            undo: match (options.attach, options.on_end) {
                (Attach::Foreground, OnEnd::TearDown) => Undo::Remove,
                (Attach::Foreground, OnEnd::Keep) => Undo::StopOnly,
                (Attach::Detached, OnEnd::TearDown) if !options.found_running => Undo::Remove,
                (Attach::Detached, _) => Undo::Nothing,
            },
        };
        let show = match (options.attach, options.teardown.verbosity) {
            (Attach::Detached, Verbosity::Quiet) => Show::IfItFails,
            _ => Show::Live,
        };
        let mut run = Run::new(self, compose, options.teardown, policy, State::STARTING, lock)?;
        run.start = Some((stack, options));
        run.expected = Expected::new(stack, options.traefik, &options.args);
        if policy.undo != Undo::Nothing {
            run.arm();
        }
        let up = compose.up(options.attach, options.traefik, &options.args).show(show);
        match options.attach {
            Attach::Foreground => self
                .logger
                .status("Starting", &format!("{} (Ctrl+C {})", compose.project(), run.what_an_interrupt_does())),
            Attach::Detached => self.logger.status("Starting", compose.project().as_str()),
        }
        run.up_line = up.to_string();
        match run.spawn(&up, Message::UpExited) {
            Ok(up) => {
                run.guard.watch(up.id());
                run.note(Change::Start, up.id());
                if options.attach == Attach::Foreground {
                    run.watch_the_start(up.id());
                }
                run.up = Some(up);
            }
            Err(error) => {
                run.guard.disarm();
                return Err(engine::no_docker(error).into());
            }
        }
        Ok(run.drive())
    }

    /// Follows a stack that another run owns until that takes it down, or an interrupt comes; undoes nothing.
    ///
    /// # Errors
    /// [`Code::EngineUnavailable`] if docker could not be started.
    pub fn follow(&self, compose: &Compose, verbosity: Verbosity) -> anyhow::Result<Outcome> {
        let policy = Policy { leaves_running: true, undo: Undo::Nothing };
        let teardown = Teardown { verbosity, ..Teardown::default() };
        let mut run = Run::new(self, compose, teardown, policy, State::STARTING, ProjectLock::none())?;
        let project = compose.project();
        self.logger
            .status("Following", &format!("{project}, which another run is attached to (Ctrl+C leaves it to that)"));
        let logs = compose.follow_logs_from(LAST_LINES);
        run.up_line = logs.to_string();
        run.up = Some(run.spawn(&logs, Message::UpExited).map_err(engine::no_docker)?);
        Ok(run.drive())
    }

    /// Takes the stack down, whoever started it, and looks whether it is gone; `reach` is how wide it begins. `lock` is
    /// held.
    ///
    /// # Errors
    /// If interrupts cannot be hooked; nothing was touched then.
    pub fn take_down(
        &self,
        compose: &Compose,
        reach: Reach,
        teardown: Teardown,
        lock: ProjectLock,
    ) -> anyhow::Result<Outcome> {
        let policy = Policy { leaves_running: false, undo: Undo::Remove };
        // For the sake of the `up` of whoever is attached: see `lifecycle`.
        let (state, action) = match reach {
            Reach::File if lock.is_owned_by_another() => (State::stopping(), Action::Stop),
            _ => (State::taking_down(reach), Action::Undo(reach)),
        };
        let mut run = Run::new(self, compose, teardown, policy, state, lock)?;
        run.arm();
        self.logger.status("Stopping", compose.project().as_str());
        run.act(action);
        Ok(run.drive())
    }

    /// Does what is left to do after the process that started `up` has died: what a guard is for.
    ///
    /// # Errors
    /// If the workspace cannot be named, or interrupts cannot be hooked.
    pub fn take_over(&self, orphaned: Orphaned, mut lock: ProjectLock) -> anyhow::Result<Outcome> {
        let Orphaned { charge, up, force } = orphaned;
        let project = charge.project.clone();
        let compose = Compose::new(&Workspace::at(charge.root), charge.project)?;
        let teardown = Teardown {
            timeout: charge.timeout,
            interrupt_timeout: None,
            volumes: charge.volumes,
            // What Compose has to say goes through us: who read our stderr may be gone, and would take Compose along.
            verbosity: Verbosity::Quiet,
        };
        let policy = Policy { leaves_running: false, undo: charge.undo };
        self.logger.status("Guarding", &format!("{}, whose `cargo stagecraft` is gone", compose.project()));
        // Held already if it died in the middle of a change; else others may be at one. Without a lock it goes on all the
        // same: a stack that stays is worse.
        let _ = lock.take();
        let mut run = Run::new(self, &compose, teardown, policy, State::orphaned(force), lock)?;
        run.expected = charge.expected;
        let sender = run.sender.clone();
        let on_exit: OnExit = Box::new(move || {
            let _ = sender.send(Message::UpExited);
        });
        // It may have died between the start of `up` and the word that tells which process that is.
        let up = up.or_else(|| exec::find(charge.start.as_ref()?, &compose.root(), PROJECT_NAME, project.as_str()));
        match up.and_then(|pid| exec::adopt(pid, on_exit)) {
            Some(up) => run.up = Some(up),
            None => run.state.up = Up::CutOff,
        }
        run.act(Action::Look);
        Ok(run.drive())
    }
}

/// Major and minor number.
fn minor_version(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// What arrives on the one channel.
enum Message {
    Interrupt(Interrupt),
    /// The start is over; with what has been started, if that was seen.
    Started(Option<Vec<Container>>),
    Locked(ProjectLock),
    UpExited,
    /// With the number of the command, since a `down` may have been replaced by a harder one.
    UndoExited(u32),
    Judged(Result<Verdict, Failure>),
    Followed,
    Looked(Result<Vec<Container>, Failure>),
    Checked(Result<Remains, Failure>),
}

struct Run<'a> {
    runner: &'a Runner<'a>,
    compose: &'a Compose,
    start: Option<(&'a Stack, &'a Options)>,
    expected: Expected,
    guard: Guard,
    /// None while a thread waits for it.
    lock: Option<ProjectLock>,
    teardown: Teardown,
    policy: Policy,
    state: State,
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    up: Option<Box<dyn Running>>,
    startup: Option<Startup>,
    up_line: String,
    /// How `up` failed, if it did.
    up_failure: Option<String>,
    /// Whether it did so by a crash of Compose itself.
    up_crashed: bool,
    undo: Option<Box<dyn Running>>,
    undos: u32,
    deadline: Option<Instant>,
    remains: Option<Result<Remains, Failure>>,
    /// Networks that the engine has lost track of.
    lost: Vec<String>,
    /// When it was asked, and how long that took the last time.
    asked: Instant,
    answered_in: Duration,
    /// Since when the engine has not answered.
    away: Option<Instant>,
    began: (Instant, SystemTime),
    last_interrupt: Option<(Interrupt, Instant)>,
}

impl<'a> Run<'a> {
    /// Hooks the interrupts, so that none can fall between this and the first spawn.
    fn new(
        runner: &'a Runner<'a>,
        compose: &'a Compose,
        teardown: Teardown,
        policy: Policy,
        state: State,
        lock: ProjectLock,
    ) -> anyhow::Result<Run<'a>> {
        let (sender, receiver) = mpsc::channel();
        let interrupts = sender.clone();
        // Nobody to receive it means that the run is over.
        (runner.hook)(Box::new(move |interrupt| {
            let _ = interrupts.send(Message::Interrupt(interrupt));
        }))?;
        Ok(Run {
            runner,
            compose,
            start: None,
            expected: Expected::default(),
            guard: Guard::none(),
            lock: Some(lock),
            teardown,
            policy,
            state,
            sender,
            receiver,
            up: None,
            startup: None,
            up_line: String::new(),
            up_failure: None,
            up_crashed: false,
            undo: None,
            undos: 0,
            deadline: None,
            remains: None,
            lost: Vec::new(),
            asked: Instant::now(),
            answered_in: Duration::ZERO,
            away: None,
            began: (Instant::now(), SystemTime::now()),
            last_interrupt: None,
        })
    }

    /// The `up` that is about to be started, as the system will show it.
    fn start_line(&self) -> Option<Vec<Vec<u8>>> {
        let (_, options) = self.start?;
        Some(self.compose.up(options.attach, options.traefik, &options.args).argv())
    }

    /// From here on somebody else takes the stack down if we die.
    fn arm(&mut self) {
        let charge = Charge {
            root: self.compose.root().to_owned(),
            project: self.compose.project().clone(),
            expected: self.expected.clone(),
            start: self.start_line(),
            undo: self.policy.undo,
            timeout: self.grace_of_an_interrupt(),
            volumes: self.teardown.volumes,
        };
        let lock = self.lock.as_ref().context("the lock is away");
        match lock.and_then(|lock| (self.runner.arm)(&charge, lock)) {
            Ok(guard) => self.guard = guard,
            Err(error) => self.logger().warn(&format!(
                "no guard watches over this run, and `kill -9` would leave the stack running: {error:#}"
            )),
        }
    }

    /// Lets whoever takes the lock after us know of a command, should it outlive us and the guard.
    fn note(&self, change: Change, pid: u32) {
        if let Some(lock) = &self.lock {
            lock.note(change, pid);
        }
    }

    fn logger(&self) -> &'a dyn Logger {
        self.runner.logger
    }

    fn drive(mut self) -> Outcome {
        while !matches!(self.state.phase, Phase::Ended(_)) {
            let Some(event) = self.receive() else { continue };
            let before = self.state;
            let (state, action) = lifecycle::next(self.policy, before, event);
            self.state = state;
            if let Event::Interrupt(interrupt) = event {
                self.tell_interrupt(interrupt, before);
            }
            if state.force != before.force {
                self.guard.hurry();
            }
            self.act(action);
        }
        self.tell_end()
    }

    /// Blocks until something happens. None if it was of no consequence.
    fn receive(&mut self) -> Option<Event> {
        let message = match self.deadline {
            // Cannot fail: we hold a sender ourselves.
            None => self.receiver.recv().ok()?,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                match self.receiver.recv_timeout(left) {
                    Ok(message) => message,
                    Err(RecvTimeoutError::Timeout) => {
                        self.deadline = None;
                        return Some(Event::TimeIsUp);
                    }
                    Err(RecvTimeoutError::Disconnected) => return None,
                }
            }
        };
        match message {
            Message::Interrupt(interrupt) => {
                let before = self.last_interrupt.replace((interrupt, Instant::now()));
                let is_echo = before.is_some_and(|(kind, time)| kind == interrupt && time.elapsed() < ECHO);
                (!is_echo).then_some(Event::Interrupt(interrupt))
            }
            Message::Started(containers) => {
                self.startup = None;
                Some(Event::Started { farewell: containers.and_then(|containers| self.farewell(&containers)) })
            }
            Message::Locked(lock) => {
                self.lock = Some(lock);
                Some(Event::Locked)
            }
            Message::UpExited => Some(self.up_ended()),
            Message::UndoExited(number) if number == self.undos => {
                self.undo_ended();
                Some(Event::UndoEnded)
            }
            Message::UndoExited(_) => None,
            Message::Judged(verdict) => Some(self.judged(verdict)),
            Message::Followed => Some(self.followed()),
            Message::Looked(containers) => {
                let started = containers.ok().filter(|containers| self.expected.have_started(containers));
                let farewell = started.and_then(|containers| self.farewell(&containers));
                let found = if farewell.is_some() { "everything has started" } else { "the start is not over" };
                self.logger().detail("Asked", &format!("the engine: {found}"));
                Some(Event::Looked { farewell })
            }
            Message::Checked(remains) => {
                self.answered_in = self.asked.elapsed();
                let remains = remains.map(|remains| self.only_what_counts(remains));
                let lost = remains.iter().flat_map(|remains| &remains.lost).cloned().collect::<Vec<String>>();
                if remains.is_err() {
                    self.remains = Some(remains);
                    return Some(Event::Unanswered { patience: self.has_patience() });
                }
                self.away = None;
                let clean = remains.as_ref().is_ok_and(Remains::is_empty);
                let found = if clean { "nothing is left" } else { "something is left" };
                self.logger().detail("Asked", &format!("the engine: {found}"));
                for network in lost {
                    self.logger().warn(&format!(
                        "the engine has lost track of network {network}: no container is on it, yet it cannot be removed; \
                         a restart of the engine removes it"
                    ));
                    self.lost.push(network);
                }
                self.remains = Some(remains);
                Some(Event::Checked { clean })
            }
        }
    }

    fn act(&mut self, action: Action) {
        if action != Action::Idle {
            self.deadline = None;
        }
        match action {
            Action::Idle | Action::Finish => {}
            Action::Judge => self.judge(),
            Action::Unlock => {
                if let Some(lock) = &mut self.lock {
                    lock.give_back();
                }
            }
            Action::Lock => self.take_lock(),
            Action::Look => {
                let project = self.compose.project().clone();
                self.ask(move |executor| Message::Looked(engine::containers(executor, &project)));
            }
            Action::Stop => self.stop(),
            Action::Undo(reach) => self.undo(reach),
            Action::CutUpAndUndo(reach) => {
                self.cut_up();
                self.undo(reach);
            }
            Action::CutUp => self.cut_up(),
            Action::Wait(SETTLE) => self.deadline = Some(Instant::now() + self.settling_time()),
            Action::Wait(time) => self.deadline = Some(Instant::now() + time),
            Action::Check => {
                let project = self.compose.project().clone();
                let volumes = self.teardown.volumes;
                let last = self.state.phase == Phase::Checking(Reach::ByName);
                self.asked = Instant::now();
                self.ask(move |executor| {
                    let remains = engine::remains(executor, &project, volumes);
                    let looked_into = |remains: Remains| match &remains {
                        Remains { containers, .. } if last && containers.is_empty() => {
                            engine::look_into_networks(executor, remains)
                        }
                        _ => remains,
                    };
                    Message::Checked(remains.map(looked_into))
                });
            }
        }
    }

    fn spawn(&self, invocation: &Invocation, ended: Message) -> std::io::Result<Box<dyn Running>> {
        let sender = self.sender.clone();
        let on_exit: OnExit = Box::new(move || {
            let _ = sender.send(ended);
        });
        self.runner.executor.spawn(invocation, on_exit)
    }

    /// Asks in a thread of its own, so that an interrupt is heard also while the engine does not answer.
    fn ask(&self, question: impl FnOnce(&dyn Executor) -> Message + Send + 'static) {
        let executor = Arc::clone(&self.runner.executor);
        let sender = self.sender.clone();
        thread::spawn(move || {
            let _ = sender.send(question(executor.as_ref()));
        });
    }

    /// Until it is over, nobody else may change anything.
    fn watch_the_start(&mut self, up: u32) {
        let sender = self.sender.clone();
        let over = move |containers| {
            let _ = sender.send(Message::Started(containers));
        };
        match Startup::watch(&self.runner.executor, self.compose.project(), &self.expected, up, over.clone()) {
            Ok(startup) => self.startup = Some(startup),
            // Better an early change than none at all.
            Err(_) => over(None),
        }
    }

    /// How to end an `up` that has started these containers. None if it may still be at work.
    fn farewell(&self, containers: &[Container]) -> Option<Farewell> {
        let shows_the_end = |container: &Container| {
            let version = minor_version(&container.made_by);
            version.is_some_and(|version| version <= LAST_TO_BEAR_A_DOWN)
        };
        let farewell = if containers.iter().all(shows_the_end) { Farewell::Attached } else { Farewell::Cut };
        self.expected.is_certain().then_some(farewell)
    }

    /// Takes the lock, in a thread of its own if somebody else holds it: an interrupt is heard meanwhile, and a second one
    /// goes ahead without.
    fn take_lock(&mut self) {
        // If locking fails, the stack still has to be taken down.
        let Some(mut lock) = self.lock.take() else { return };
        let sender = self.sender.clone();
        if lock.try_take().unwrap_or(true) {
            let _ = sender.send(Message::Locked(lock));
            return;
        }
        self.logger().status("Blocking", &waiting_for_others(self.compose.project()));
        thread::spawn(move || {
            let _ = lock.take();
            let _ = sender.send(Message::Locked(lock));
        });
    }

    /// How long the engine may still be busy with what a killed `up` has asked for: an engine that is slow to answer is slow
    /// to make a network.
    fn settling_time(&self) -> Duration {
        (self.answered_in * SLOWER_THAN_AN_ANSWER).clamp(SETTLE, SETTLE_AT_MOST)
    }

    /// Whether to go on asking an engine that does not answer.
    fn has_patience(&mut self) -> bool {
        if self.away.is_none() && self.state.force == Force::Graceful {
            let seconds = PATIENCE.as_secs();
            let what = format!("for the engine, which does not answer; {seconds} s at most, press Ctrl+C not to wait");
            self.logger().status("Waiting", &what);
        }
        self.away.get_or_insert_with(Instant::now).elapsed() < PATIENCE
    }

    fn up_ended(&mut self) -> Event {
        self.startup = None;
        let Some(mut up) = self.up.take() else {
            return Event::UpEnded { success: false };
        };
        self.guard.forget();
        match up.wait() {
            Ok(ended) if ended.status.success() => {
                self.logger().detail("Ended", &format!("`{}` with exit status: 0", self.up_line));
                Event::UpEnded { success: true }
            }
            Ok(ended) => {
                self.logger().detail("Ended", &format!("`{}` with {}", self.up_line, ended.status));
                self.logger().replay(&ended.held_back);
                self.up_failure = Some(format!("`{}` ended with {}", self.up_line, ended.status));
                self.up_crashed = ended.status.code() == Some(GO_PANIC);
                Event::UpEnded { success: false }
            }
            Err(error) => {
                self.up_failure = Some(format!("`{}` cannot be waited for: {error}", self.up_line));
                Event::UpEnded { success: false }
            }
        }
    }

    fn cut_up(&mut self) {
        if let Some(up) = &mut self.up {
            self.runner.logger.detail("Killing", "the command that waits for the stack, which no container notices");
            up.cut_off();
            self.runner.logger.restore_terminal();
        }
    }

    fn stop(&mut self) {
        let stop = self.compose.stop(self.grace());
        self.tear(stop, Reach::File);
    }

    fn undo(&mut self, reach: Reach) {
        let undo = match self.policy.undo {
            Undo::StopOnly => self.compose.stop(self.grace()),
            Undo::Remove | Undo::Nothing => self.compose.down(reach, self.grace(), self.teardown.volumes),
        };
        self.tear(undo, reach);
    }

    /// How long containers may take to stop, in seconds; without it each service's own counts.
    fn grace(&self) -> Option<u32> {
        match (self.state.force, self.state.cause) {
            (Force::AtOnce, _) => Some(0),
            (Force::Graceful, Some(Cause::Interrupted(_))) => self.grace_of_an_interrupt(),
            (Force::Graceful, _) => self.teardown.timeout,
        }
    }

    fn grace_of_an_interrupt(&self) -> Option<u32> {
        self.teardown.timeout.or(self.teardown.interrupt_timeout)
    }

    /// Runs a command of the teardown, in place of a softer one that may still be running.
    fn tear(&mut self, invocation: Invocation, reach: Reach) {
        if let Some(mut softer) = self.undo.take() {
            softer.cut_off();
            // Reaped, so that it does not stay a zombie for as long as we live; it was killed.
            let _ = softer.wait();
        }
        let show = match reach {
            _ if self.state.cause == Some(Cause::Interrupted(Interrupt::Hup)) => Show::Nothing,
            Reach::File if self.teardown.verbosity != Verbosity::Quiet => Show::Live,
            // Perhaps the first `down` was killed by what it had to say: nobody reads our stderr (`… | head`) any more.
            Reach::File | Reach::Everything | Reach::ByName => Show::IfItFails,
        };
        self.undos += 1;
        match self.spawn(&invocation.clone().show(show), Message::UndoExited(self.undos)) {
            Ok(undo) => {
                self.note(Change::End, undo.id());
                self.undo = Some(undo);
            }
            Err(error) => {
                // The workspace's folder may be gone, and docker cannot be started in it: a wider step needs no folder.
                self.logger().detail("Failed", &format!("`{invocation}` cannot be started: {error}"));
                let _ = self.sender.send(Message::UndoExited(self.undos));
            }
        }
    }

    fn undo_ended(&mut self) {
        // Its exit code decides nothing: what is left on the engine does.
        if let Some(Ok(ended)) = self.undo.take().map(|mut undo| undo.wait()) {
            self.logger().detail("Ended", &format!("the teardown with {}", ended.status));
            if !ended.status.success() {
                self.logger().replay(&ended.held_back);
            }
        }
    }

    /// What a check has to find gone: with `stop`, whatever still runs.
    fn only_what_counts(&self, mut remains: Remains) -> Remains {
        // It was looked into once, and no teardown will ever remove it.
        remains.networks.retain(|network| !self.lost.contains(&network.name));
        match self.policy.undo {
            Undo::Remove | Undo::Nothing => remains,
            Undo::StopOnly => Remains {
                containers: remains.containers.into_iter().filter(Container::is_up).collect(),
                ..Remains::default()
            },
        }
    }

    fn judge(&self) {
        match self.start {
            Some((stack, options)) => {
                let question = Question::new(self.compose, stack, options.attach, self.began.1, self.up_crashed);
                self.ask(move |executor| Message::Judged(question.ask(executor)));
            }
            // Followed only: whose stack it is judges it.
            None => {
                let _ = self.sender.send(Message::Followed);
            }
        }
    }

    fn followed(&self) -> Event {
        match &self.up_failure {
            None => self.logger().status("Ended", &format!("{}, which its run has taken down", self.compose.project())),
            Some(failure) => {
                self.logger().error(&format!("{} can no longer be followed: {failure}", self.compose.project()))
            }
        }
        Event::Judged { success: self.up_failure.is_none() }
    }

    fn judged(&self, verdict: Result<Verdict, Failure>) -> Event {
        let Some((stack, options)) = self.start else {
            return Event::Judged { success: true };
        };
        if self.state.phase != Phase::Judging {
            // Interrupted meanwhile: how the containers fared is no longer the question.
            return Event::Judged { success: true };
        }
        let (project, logger) = (self.compose.project(), self.logger());
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(failure) => {
                let up = self.up_failure.as_deref().map(|up| format!("{up}, and ")).unwrap_or_default();
                logger.error(&format!("{project}: {up}how it fared cannot be asked: {failure:#}"));
                return Event::Judged { success: false };
            }
        };
        let up_is_excused = self.up_crashed && verdict.stopped_elsewhere;
        let success = verdict.failed.is_empty() && (self.up_failure.is_none() || up_is_excused);
        if success {
            match options.attach {
                Attach::Foreground if verdict.stopped_elsewhere => {
                    logger.status("Ended", &format!("{project}, stopped from elsewhere"));
                }
                Attach::Foreground if verdict.is_over() => {
                    logger.status("Finished", &format!("{project}, every container exited with 0"));
                }
                Attach::Foreground => logger.status("Finished", &format!("{project}, all that it was attached to")),
                Attach::Detached => self.tell_started(stack, &verdict.containers),
            }
            return Event::Judged { success };
        }
        logger.replay(&verdict.last_words);
        let reasons: Vec<String> = verdict.reasons().chain(self.up_failure.clone()).collect();
        let what = match options.attach {
            Attach::Foreground => "failed",
            Attach::Detached => "could not be started",
        };
        logger.error(&format!("{project} {what}: {}", reasons.join(", ")));
        if options.attach == Attach::Detached {
            logger.help("run it without `--detach` for the whole story");
        }
        if self.policy.undo != Undo::Remove {
            let why = if options.on_end == OnEnd::Keep {
                "what was created is kept, as asked"
            } else {
                "the stack was running before and is left alone"
            };
            logger.note(&format!("{why}; `cargo stagecraft dev down` removes it"));
        }
        Event::Judged { success }
    }

    fn tell_started(&self, stack: &Stack, containers: &[ContainerStatus]) {
        let logger = self.logger();
        let time = self.began.0.elapsed().as_secs_f64();
        logger.status("Started", &format!("{} in {time:.1}s", self.compose.project()));
        let rows: Vec<Vec<String>> = containers
            .iter()
            .map(|container| {
                let published = container.publishers.iter().filter_map(|p| stack.address(&container.service, p));
                let mut addresses: Vec<String> = published.collect();
                addresses.sort();
                addresses.dedup();
                vec![container.service.clone(), container.summary(), addresses.join(" ")]
            })
            .collect();
        logger.table(&rows);
        logger.note(&format!("see its logs with `{}`", self.compose.follow_logs()));
        logger.note("stop it with `cargo stagecraft dev down`");
    }

    fn what_an_interrupt_does(&self) -> &'static str {
        match self.policy.undo {
            Undo::Remove => "stops and removes it",
            Undo::StopOnly => "stops it",
            Undo::Nothing => "leaves it as it is",
        }
    }

    fn tell_interrupt(&self, interrupt: Interrupt, before: State) {
        let (project, logger) = (self.compose.project(), self.logger());
        let name = interrupt.name();
        match (self.policy.undo, self.state.force) {
            _ if self.state == before || matches!(self.state.phase, Phase::Ended(_)) => {}
            (Undo::Nothing, _) => logger.status("Interrupted", &format!("by {name}; {project} is left as it is")),
            (_, Force::Graceful) => {
                let hint = "press Ctrl+C again to kill its containers at once";
                logger.status("Stopping", &format!("{project} ({name}); {hint}"));
            }
            (_, Force::AtOnce) => {
                let hint = if self.guard.is_armed() {
                    "press Ctrl+C once more to leave the rest to the guard"
                } else {
                    "press Ctrl+C once more to leave before it is done"
                };
                logger.status("Killing", &format!("{project} ({name}); {hint}"));
            }
        }
    }

    fn tell_end(&mut self) -> Outcome {
        let (project, logger) = (self.compose.project(), self.runner.logger);
        let end = match self.state.phase {
            Phase::Ended(end) => end,
            _ => End::Incomplete,
        };
        match end {
            End::Clean => match (self.state.cause, self.policy.undo) {
                // Reached through a check that found nothing.
                _ if self.remains.is_none() => {}
                (_, Undo::StopOnly) => logger.status("Stopped", &format!("{project}; its containers are kept")),
                _ => logger.status("Removed", &format!("{project}; nothing of it is left")),
            },
            End::Incomplete => self.tell_remains(),
            End::Abandoned if self.guard.is_armed() => {
                self.cut_up();
                if let Some(undo) = &mut self.undo {
                    undo.cut_off();
                }
                logger.status("Leaving", &format!("{project} to the guard, which takes it down behind us"));
            }
            End::Abandoned => {
                self.cut_up();
                logger.error(&format!("left before {project} was taken down; some of it may remain"));
                let again = self.compose.down(Reach::Everything, None, self.teardown.volumes);
                logger.help(&format!("finish with `cargo stagecraft dev down`, or `{again}`"));
            }
        }
        self.startup = None;
        match self.lock.take() {
            Some(lock) if end == End::Abandoned && self.guard.is_armed() => lock.leave_to_the_guard(),
            _ if end == End::Abandoned => {}
            lock => {
                // The guard has the same lock: others come when it is gone.
                self.guard.disarm();
                drop(lock);
            }
        }
        match (end, self.state.cause) {
            // Dropped undisarmed, which is what the guard waits for.
            (End::Abandoned, Some(Cause::Interrupted(interrupt))) if self.guard.is_armed() => {
                Outcome::Interrupted(interrupt)
            }
            (End::Incomplete | End::Abandoned, _) => Outcome::Incomplete,
            (End::Clean, Some(Cause::Interrupted(interrupt))) => Outcome::Interrupted(interrupt),
            (End::Clean, Some(Cause::Failed)) => Outcome::Failed,
            (End::Clean, Some(Cause::Requested | Cause::Finished) | None) => Outcome::Done,
        }
    }

    fn tell_remains(&self) {
        let (project, logger) = (self.compose.project(), self.logger());
        match &self.remains {
            Some(Ok(remains)) => {
                logger.error(&format!("{project} is not completely taken down; still on the engine:\n{remains}"));
                logger.help(&format!("remove it with `{}`", remains.removal()));
            }
            Some(Err(failure)) => {
                logger.error(&format!("what is left of {project} cannot be known: {failure:#}"));
                let by_name = self.compose.down(Reach::ByName, None, self.teardown.volumes);
                logger.help(&format!("once the engine answers, remove it with `{by_name}`"));
            }
            None => logger.error(&format!("what is left of {project} is not known")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::io;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{ExitStatus, Output};
    use std::sync::Mutex;

    use super::*;
    use crate::compose::ProjectName;
    use crate::process::{Charge, Echo, Ended, Guard, OnLine};

    type Answers = fn(&str) -> (i32, &'static str);

    /// A docker whose `up` runs until `down` or `stop` ends it, unless it is told how to end by itself.
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
            Ok(Ended { status: ExitStatus::from_raw(self.0 << 8), held_back: b"held back\n".to_vec() })
        }

        fn cut_off(&mut self) {}

        fn id(&self) -> u32 {
            0
        }
    }

    fn no_guard(_: &Charge, _: &ProjectLock) -> anyhow::Result<Guard> {
        Ok(Guard::none())
    }

    impl Executor for Fake {
        fn output(&self, invocation: &Invocation) -> io::Result<Output> {
            let (code, stdout) = (self.answers)(&self.call(invocation));
            Ok(Output { status: ExitStatus::from_raw(code << 8), stdout: stdout.into(), stderr: Vec::new() })
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
    }

    fn options(attach: Attach) -> Options {
        Options {
            attach,
            traefik: Traefik::On,
            on_end: OnEnd::TearDown,
            found_running: false,
            args: Vec::new(),
            teardown: Teardown::default(),
        }
    }

    fn compose() -> Compose {
        Compose::new(&Workspace::at("/"), ProjectName::new("x").unwrap()).unwrap()
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
        let runner = Runner::new(Arc::new(Echo::new(fake.clone(), log.clone())), log.as_ref(), &hook, &no_guard);
        let outcome = runner.run(&compose(), &stack(), options, ProjectLock::none()).unwrap();
        let mut calls = fake.calls.lock().unwrap().clone();
        for call in &mut calls {
            call.truncate(call.find(" --all").or(call.find(" --filter")).unwrap_or(call.len()));
        }
        (outcome, calls, log)
    }

    const RUNNING: &str = r#"{"name":"x-web-1","state":"running","service":"web","working_dir":"/"}"#;

    #[test]
    fn up_comes_before_down_and_down_comes_once() {
        fn answers(call: &str) -> (i32, &'static str) {
            static DOWN: Mutex<bool> = Mutex::new(false);
            let mut asked = DOWN.lock().unwrap();
            // The first question finds the stack running, those after `down` find nothing.
            let first = call.starts_with("ps") && !std::mem::replace(&mut *asked, true);
            (0, if first { RUNNING } else { "" })
        }
        let (outcome, mut calls, log) =
            run(Fake::new(None, answers), &options(Attach::Foreground), Some(Interrupt::Term));
        assert_eq!(outcome, Outcome::Interrupted(Interrupt::Term));
        calls[4..].sort();
        assert_eq!(calls, ["up", "events --since 10s", "ps", "down", "network ls", "ps"]);
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
    fn a_failure_of_up_names_the_command_and_how_it_ended() {
        for attach in [Attach::Foreground, Attach::Detached] {
            let (outcome, calls, log) = run(Fake::new(Some(18), |_| (0, "")), &options(attach), None);
            assert_eq!(outcome, Outcome::Failed);
            assert!(calls.contains(&"down".to_string()), "{calls:?}");
            let error = log.said("error").join("");
            assert!(error.contains("compose.yaml up") && error.contains("ended with exit status: 18"), "{error}");
        }
    }

    #[test]
    fn a_detached_start_that_compose_calls_a_success_fails_if_a_container_has() {
        fn answers(call: &str) -> (i32, &'static str) {
            match call {
                "ps --all --format json" => {
                    (0, r#"{"ID":"1","Name":"x-web-1","Service":"web","State":"exited","ExitCode":3}"#)
                }
                logs if logs.starts_with("logs") => (0, "web-1  | boom\n"),
                _ => (0, ""),
            }
        }
        let (outcome, calls, log) = run(Fake::new(Some(0), answers), &options(Attach::Detached), None);
        assert_eq!(outcome, Outcome::Failed);
        assert_eq!(calls[..3], ["up -d", "ps", "logs --no-color --tail 20 web"]);
        assert_eq!(log.said("replay")[0], "web-1  | boom\n");
        assert_eq!(log.said("error"), ["x could not be started: web exited with 3"]);
        assert_eq!(log.said("help"), ["run it without `--detach` for the whole story"]);
        // The reason comes before the rollback.
        let lines = log.0.lock().unwrap();
        let at = |piece: &str| lines.iter().position(|line| line.contains(piece)).unwrap();
        assert!(at("error: ") < at("compose.yaml down"));
    }

    #[test]
    fn a_failed_detached_start_leaves_alone_what_ran_before_or_is_to_be_kept() {
        let found = Options { found_running: true, ..options(Attach::Detached) };
        let keep = Options { on_end: OnEnd::Keep, ..options(Attach::Detached) };
        for (options, words) in [(found, "was running before and is left alone"), (keep, "is kept, as asked")] {
            let (outcome, calls, log) = run(Fake::new(Some(1), |_| (0, "")), &options, None);
            assert_eq!((outcome, calls), (Outcome::Failed, vec!["up -d".to_string(), "ps".to_string()]));
            assert!(log.said("note")[0].contains(words));
        }
    }

    #[test]
    fn what_three_teardowns_leave_is_listed_and_is_exit_code_6() {
        fn answers(call: &str) -> (i32, &'static str) {
            (0, if call.starts_with("ps --all --no-trunc") { RUNNING } else { "" })
        }
        let (outcome, calls, log) = run(Fake::new(None, answers), &options(Attach::Foreground), Some(Interrupt::Int));
        assert_eq!(outcome.code(), Code::TeardownIncomplete);
        let downs: Vec<_> = calls.iter().filter(|call| call.contains("down")).collect();
        assert_eq!(downs, ["down", "--profile * down --remove-orphans", "-p x down --remove-orphans"]);
        assert_eq!(
            log.said("error"),
            ["x is not completely taken down; still on the engine:\n  container x-web-1 (running)"]
        );
        assert_eq!(log.said("help"), ["remove it with `docker rm --force x-web-1`"]);
    }

    #[test]
    fn a_quiet_detached_start_shows_what_compose_said_only_if_it_failed() {
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
        }
        let log = Log::default();
        let hook = |_: SendInterrupt| Ok(());
        let runner = Runner::new(Arc::new(Missing), &log, &hook, &no_guard);
        let error = runner.run(&compose(), &stack(), &options(Attach::Foreground), ProjectLock::none()).unwrap_err();
        assert_eq!(error.downcast_ref::<Failure>().unwrap().code(), Code::EngineUnavailable);
        assert_eq!(
            runner.take_down(&compose(), Reach::File, Teardown::default(), ProjectLock::none()).unwrap(),
            Outcome::Incomplete
        );
        assert!(log.said("error")[0].contains("cannot be known: cannot run `docker`"), "{:?}", log.said("error"));
    }
}
