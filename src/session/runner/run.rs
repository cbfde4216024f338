//! One run: what arrives on its one channel becomes events of the lifecycle table, and its actions are carried out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::latecomers::{Found, Latecomers};
use super::{Arrival, Listed, Outcome, Run, Runner, Teardown, silence, unread, waiting_for_others};
use crate::command::Interrupt;
use crate::command::{Executor, Invocation, OnExit, PAUSE_AFTER_SILENCE, Running, Show};
use crate::compose::{Attach, Compose, DownScope};
use crate::engine::{self, Container, Endpoint, Inspected, Kept, Leftovers};
use crate::exit::Failure;
use crate::reporter::message::Message;
use crate::reporter::{Logger, Verbosity};
use crate::session::guard::{Guard, GuardTask};
use crate::session::lifecycle::{
    self, Action, Cause, End, Event, Force, Judgement, PATIENCE, Phase, Policy, SETTLE, State, Undo, Up, UpShutdown,
};
use crate::session::lock::{Change, ProjectLock};
use crate::stack::diagnosis::Finding;
use crate::stack::expected::{Expected, UpArgs};
use crate::stack::observer::{Observation, Observer, Settled, Wait};
use crate::stack::readiness::{Ports, Standing};
use crate::stack::tracker::{ServiceStanding, Start, Tracker};
use crate::stack::verdict::{Question, UpEnd, Verdict};
use crate::workspace::{DEV_DIR, checkout_name};

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

/// The services that are ready now and were not before.
pub(super) fn newly_ready<'a>(
    before: &'a [ServiceStanding],
    now: &'a [ServiceStanding],
) -> impl Iterator<Item = &'a ServiceStanding> {
    let was_ready = |name: &str| before.iter().any(|it| it.service == name && it.standing == Standing::Ready);
    now.iter().filter(move |it| it.standing == Standing::Ready && !was_ready(&it.service))
}

fn answer(question: &Question, executor: &dyn Executor) -> Result<(Verdict, Endpoint), Failure> {
    Ok((question.ask(executor)?, Endpoint::current(executor)))
}

/// Major and minor number.
fn minor_version(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

impl<'a> Run<'a> {
    /// Hooks the interrupts, so that none can fall between this and the first spawn.
    pub(super) fn new(
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
            let _ = interrupts.send(Arrival::Interrupt(interrupt, Instant::now()));
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
            watch: None,
            settled: None,
            standings: Vec::new(),
            shown: Vec::new(),
            up_line: String::new(),
            up_failure: None,
            up_words: None,
            up_end: UpEnd::Well,
            up_code: None,
            asked_code: None,
            undo: None,
            undos: 0,
            unread: None,
            silence: None,
            torn: None,
            known: None,
            taken_over: false,
            removed: Vec::new(),
            anonymous: BTreeSet::new(),
            latecomers: None,
            kept: Kept::default(),
            deadline: None,
            remains: None,
            lost: Vec::new(),
            asked: Instant::now(),
            answered_in: Duration::ZERO,
            away: None,
            began: Instant::now(),
            last_interrupt: None,
            has_told_start: false,
        })
    }

    /// The `up` that is about to be started, as the system will show it.
    fn start_line(&self) -> Option<Vec<Vec<u8>>> {
        let (_, options) = self.start?;
        Some(self.compose.up(options.attach, options.traefik, &options.args).argv())
    }

    /// From here on somebody else takes the stack down if we die.
    pub(super) fn arm(&mut self) {
        let charge = GuardTask {
            root: self.compose.root().to_owned(),
            project: self.compose.project().clone(),
            expected: self.expected.clone(),
            start: self.start_line(),
            undo: self.policy.undo,
            timeout: self.grace_of_an_interrupt(),
            volumes: self.teardown.volumes,
            images: self.teardown.images,
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
    pub(super) fn note(&self, change: Change, pid: u32) {
        if let Some(lock) = &self.lock {
            lock.note(change, pid);
        }
    }

    pub(super) fn logger(&self) -> &'a dyn Logger {
        self.runner.logger
    }

    pub(super) fn drive(mut self) -> Outcome {
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
        self.end()
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
            Arrival::Interrupt(interrupt, now) => {
                let before = self.last_interrupt.replace((interrupt, now));
                let is_echo = before.is_some_and(|(kind, time)| kind == interrupt && now - time < ECHO);
                (!is_echo).then_some(Event::Interrupt(interrupt))
            }
            Arrival::Observation(Observation::Started(containers)) => {
                if !self.waits() {
                    self.watch = None;
                }
                let Some((containers, endpoint)) = containers else {
                    return Some(Event::Started { farewell: None });
                };
                self.known = Some(containers.clone());
                if let Some((stack, _)) = self.start {
                    let ours = containers.iter().filter(|container| stack.has(&container.service));
                    self.tell_attached(&endpoint, &ours.map(Finding::listed).collect::<Vec<_>>());
                }
                Some(Event::Started { farewell: self.farewell(&containers) })
            }
            Arrival::Observation(Observation::Crashed(crash)) => {
                self.tell_crash(&crash);
                None
            }
            Arrival::Observation(Observation::Over(known)) => {
                self.watch = None;
                // Otherwise it is being taken down already.
                if !known && self.state.phase == Phase::Staying {
                    self.logger().error(&format!("{} cannot be watched any longer", self.compose.project()));
                }
                Some(Event::Over { known })
            }
            Arrival::Observation(Observation::Progress(services, start)) => {
                self.progress(services, start);
                None
            }
            Arrival::Observation(Observation::Settled(settled)) => self.settled(settled),
            Arrival::Ready(ready) => {
                self.tell_ready(ready);
                None
            }
            Arrival::Locked(lock) => {
                self.lock = Some(lock);
                Some(Event::Locked)
            }
            Arrival::UpExited => Some(self.up_ended()),
            Arrival::UndoExited(number) if number == self.undos => {
                self.undo_ended();
                Some(Event::UndoEnded)
            }
            Arrival::UndoExited(_) => None,
            Arrival::Probably(anonymous) => {
                self.remember(anonymous);
                None
            }
            Arrival::Late(found) => {
                self.found_late(found);
                None
            }
            Arrival::Unread(number) => {
                // It is blocked, or soon will be. The second run prints only why it failed, if it fails.
                if let Some((invocation, reach)) = self.torn.take().filter(|_| number == self.undos) {
                    self.tear(invocation, reach);
                }
                None
            }
            Arrival::Listed(listed) => {
                self.listed(listed);
                None
            }
            Arrival::Silent(number, since) => {
                if let Some(undo) = self.undo.as_mut().filter(|_| number == self.undos) {
                    self.away.get_or_insert(since);
                    undo.cut_off();
                }
                None
            }
            Arrival::Judged(verdict) => Some(self.judged(verdict)),
            Arrival::Followed => Some(self.followed()),
            Arrival::Looked(containers) => {
                self.note_silence();
                self.note_takeover(containers.as_deref().unwrap_or_default());
                self.known = containers.as_ref().ok().cloned().or(self.known.take());
                let started = containers.ok().filter(|containers| self.expected.have_started(containers));
                let farewell = started.and_then(|containers| self.farewell(&containers));
                let found = if farewell.is_some() { "everything has started" } else { "the start is not over" };
                self.logger().detail("Asked", &format!("the engine: {found}"));
                Some(Event::Looked { farewell })
            }
            Arrival::Checked(remains, kept) => {
                self.answered_in = self.asked.elapsed();
                if let Ok(remains) = &remains {
                    self.known = Some(remains.containers.clone());
                    for volume in &remains.in_use {
                        self.logger().detail("Keeping", &format!("volume {volume}, which another container uses"));
                        self.anonymous.remove(volume);
                    }
                }
                self.kept = kept;
                let remains = remains.map(|remains| self.only_what_counts(remains));
                let lost = remains.iter().flat_map(|remains| &remains.lost).cloned().collect::<Vec<String>>();
                if remains.is_err() {
                    self.remains = Some(remains);
                    return Some(Event::Unanswered { patience: self.has_patience() });
                }
                self.away = None;
                let clean = remains.as_ref().is_ok_and(Leftovers::is_empty);
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

    pub(super) fn act(&mut self, action: Action) {
        if action != Action::Idle {
            self.deadline = None;
        }
        match action {
            Action::Idle | Action::Finish => {}
            Action::Judge => self.judge(),
            Action::CutUpAndJudge => {
                self.cut_up();
                self.judge();
            }
            Action::Unlock => self.unlock(),
            Action::Stay => {
                self.unlock();
                self.watch_what_runs_on();
            }
            Action::Lock => self.take_lock(),
            Action::Look => {
                let project = self.compose.project().clone();
                self.asked = Instant::now();
                self.ask(move |executor| Arrival::Looked(engine::containers(executor, &project)));
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
                let Teardown { volumes, images, .. } = self.teardown;
                let (removed, anonymous) = (self.removed.clone(), self.anonymous.clone());
                let last = self.state.phase == Phase::Checking(DownScope::ByName);
                self.asked = Instant::now();
                self.ask(move |executor| {
                    let (remains, kept) = thread::scope(|scope| {
                        let kept = scope.spawn(|| engine::kept(executor, &project, &removed, volumes, images));
                        (engine::remains(executor, &project, volumes), kept.join().unwrap_or_default())
                    });
                    let remains = remains.and_then(|it| engine::remove_anonymous(executor, it, &anonymous));
                    let looked_into = |remains: Leftovers| match &remains {
                        Leftovers { containers, .. } if last && containers.is_empty() => {
                            engine::look_into_networks(executor, remains)
                        }
                        _ => remains,
                    };
                    Arrival::Checked(remains.map(looked_into), kept)
                });
            }
        }
    }

    pub(super) fn spawn(&self, invocation: &Invocation, ended: Arrival) -> std::io::Result<Box<dyn Running>> {
        let sender = self.sender.clone();
        let on_exit: OnExit = Box::new(move || {
            let _ = sender.send(ended);
        });
        self.runner.commander.spawn(invocation, on_exit)
    }

    /// Asks in a thread of its own, so that an interrupt is heard also while the engine does not answer.
    fn ask(&self, question: impl FnOnce(&dyn Executor) -> Arrival + Send + 'static) {
        let commander = self.runner.commander.clone();
        let sender = self.sender.clone();
        thread::spawn(move || {
            let _ = sender.send(question(&commander));
        });
    }

    /// Until it is over, nobody else may change anything.
    pub(super) fn watch_the_start(&mut self, up: u32) {
        let sender = self.sender.clone();
        let tell = move |news| {
            let _ = sender.send(Arrival::Observation(news));
        };
        let (commander, project, expected) = (&self.runner.commander, self.compose.project(), self.expected.clone());
        match Observer::attached(commander, project, up, expected, self.wait(), tell.clone()) {
            Ok(watch) => self.watch = Some(watch),
            // Better an early change than none at all.
            Err(_) => tell(Observation::Started(None)),
        }
    }

    /// Begun before `up -d` is, so that nothing of it is missed.
    pub(super) fn watch_what_becomes_ready(&mut self) {
        let Some(wait) = self.wait() else { return };
        let sender = self.sender.clone();
        let tell = move |news| {
            let _ = sender.send(Arrival::Observation(news));
        };
        match Observer::detached(&self.runner.commander, self.compose.project(), wait, tell.clone()) {
            Ok(watch) => {
                self.guard.listener(watch.id());
                self.note(Change::Start, watch.id());
                self.watch = Some(watch);
            }
            // Whoever cannot start docker for this will not start it for anything else, and say so.
            Err(_) => tell(Observation::Settled(Settled::Failed)),
        }
    }

    /// Where `up` has ended and containers run on.
    fn watch_what_runs_on(&mut self) {
        let sender = self.sender.clone();
        let tell = move |news| {
            let _ = sender.send(Arrival::Observation(news));
        };
        let (expected, before) = (self.expected.clone(), self.ids_before());
        let is_ours = move |it: &Inspected| expected.has(&it.service) || !before.contains(&it.id);
        match Observer::until_over(&self.runner.commander, self.compose.project(), is_ours, tell) {
            Ok(watch) => {
                self.guard.listener(watch.id());
                self.watch = Some(watch);
            }
            // Whoever cannot start docker for this will not start it for anything else, and say so.
            Err(_) => drop(self.sender.send(Arrival::Observation(Observation::Over(false)))),
        }
    }

    fn unlock(&mut self) {
        if let Some(lock) = &mut self.lock {
            lock.give_back();
        }
    }

    /// The containers that were there before the start, by id.
    fn ids_before(&self) -> BTreeSet<String> {
        let before = self.start.map(|(_, options)| options.before.as_slice()).unwrap_or_default();
        before.iter().map(|container| container.id.clone()).collect()
    }

    fn wait(&self) -> Option<Wait> {
        let (stack, options) = self.start?;
        let tracker = Tracker::new(stack, self.expected.clone(), &options.before, options.ports);
        Some(Wait { tracker, timeout: options.wait? })
    }

    /// Whether there is something to wait for beyond the start.
    pub(super) fn waits(&self) -> bool {
        self.start.is_some_and(|(_, options)| options.wait.is_some())
    }

    /// How to end an `up` that has started these containers. None if it may still be at work.
    fn farewell(&self, containers: &[Container]) -> Option<UpShutdown> {
        let shows_the_end = |container: &Container| {
            let version = minor_version(&container.made_by);
            version.is_some_and(|version| version <= LAST_TO_BEAR_A_DOWN)
        };
        let farewell = if containers.iter().all(shows_the_end) { UpShutdown::Attached } else { UpShutdown::Cut };
        self.expected.is_certain().then_some(farewell)
    }

    /// Takes the lock, in a thread of its own if somebody else holds it: an interrupt is heard meanwhile, and a second one
    /// goes ahead without.
    fn take_lock(&mut self) {
        // If locking fails, the stack still has to be taken down.
        let Some(mut lock) = self.lock.take() else { return };
        let sender = self.sender.clone();
        if lock.try_take().unwrap_or(true) {
            let _ = sender.send(Arrival::Locked(lock));
            return;
        }
        self.logger().status("Blocking", &waiting_for_others(self.compose.project()));
        thread::spawn(move || {
            let _ = lock.take();
            let _ = sender.send(Arrival::Locked(lock));
        });
    }

    /// How long the engine may still be busy with what a killed `up` has asked for: an engine that is slow to answer is slow
    /// to make a network.
    fn settling_time(&self) -> Duration {
        (self.answered_in * SLOWER_THAN_AN_ANSWER).clamp(SETTLE, SETTLE_AT_MOST)
    }

    /// Counts the time of a question that was given up only when its time was over. No second patience is due to the same silence.
    fn note_silence(&mut self) {
        if self.asked.elapsed() >= PATIENCE {
            self.away.get_or_insert(self.asked);
        }
    }

    /// Whether to go on asking an engine that does not answer.
    fn has_patience(&mut self) -> bool {
        if self.away.is_none() && self.state.force == Force::Graceful {
            let seconds = PATIENCE.as_secs();
            let what =
                format!("for the engine, which does not answer; {seconds} s at most, press Ctrl+C to stop waiting");
            self.logger().status("Waiting", &what);
        }
        self.away.get_or_insert_with(Instant::now).elapsed() < PATIENCE
    }

    fn up_ended(&mut self) -> Event {
        match &self.watch {
            // Its end is the beginning of the wait.
            Some(watch) if self.policy.waits => watch.up_is_over(),
            _ => self.watch = None,
        }
        let Some(mut up) = self.up.take() else {
            return Event::UpEnded { success: false };
        };
        self.guard.forget();
        match up.wait() {
            Ok(ended) if ended.status.success() => {
                self.up_code = Some(0);
                self.logger().detail("Ended", &format!("`{}` with exit status: 0", self.up_line));
                Event::UpEnded { success: true }
            }
            Ok(ended) => {
                self.logger().detail("Ended", &format!("`{}` with {}", self.up_line, ended.status));
                if self.is_quiet() {
                    self.logger().replay(&ended.kept);
                }
                let words = String::from_utf8_lossy(&ended.kept);
                let last = words.lines().map(str::trim).rfind(|line| !line.is_empty());
                self.up_words = last.map(|line| line.trim_start_matches("Error response from daemon: ").to_string());
                self.up_failure = Some(format!("`{}` ended with {}", self.up_line, ended.status));
                self.up_code = ended.status.code();
                let crashed = self.up_code == Some(GO_PANIC);
                self.up_end = if crashed { UpEnd::Crashed } else { UpEnd::Badly };
                Event::UpEnded { success: false }
            }
            Err(error) => {
                self.up_failure = Some(format!("`{}` cannot be waited for: {error}", self.up_line));
                self.up_end = UpEnd::Badly;
                Event::UpEnded { success: false }
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.teardown.verbosity == Verbosity::Quiet
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
        self.tear(stop, DownScope::File);
    }

    /// Runs `stop`, or `down` as soon as it is known which anonymous volumes its containers have. A second interrupt waits for no
    /// answer.
    fn undo(&mut self, reach: DownScope) {
        if self.policy.undo == Undo::StopOnly {
            return self.tear(self.compose.stop(self.grace()), reach);
        }
        let then = match self.state.force {
            Force::Graceful => {
                self.undos += 1;
                Some(self.undos)
            }
            Force::AtOnce => {
                self.note_takeover(&self.known.clone().unwrap_or_default());
                self.down(reach);
                None
            }
        };
        self.asked = Instant::now();
        let (project, known) = (self.compose.project().clone(), self.known.clone());
        // If it runs already, it keeps what it has found.
        if self.state.up == Up::CutOff && self.latecomers.is_none() {
            let sender = self.sender.clone();
            let report = move |found| drop(sender.send(Arrival::Late(found)));
            self.latecomers = Some(Latecomers::watch(self.runner.commander.clone(), project.clone(), report));
        }
        let (stack, sender) = (self.start.map(|(stack, _)| stack.clone()), self.sender.clone());
        self.ask(move |executor| {
            let containers = engine::containers_for_teardown(executor, &project, known);
            let probably = stack.map(|stack| engine::probably_anonymous(&containers, &stack)).unwrap_or_default();
            if !probably.is_empty() {
                let _ = sender.send(Arrival::Probably(probably));
            }
            let volumes = engine::sort_out_volumes(executor, &containers);
            Arrival::Listed(Listed { containers, volumes, then, reach })
        });
    }

    fn down(&mut self, reach: DownScope) {
        let Teardown { volumes, images, .. } = self.teardown;
        self.tear(self.compose.down(reach, self.grace(), volumes, images), reach);
    }

    fn listed(&mut self, Listed { containers, volumes, then, reach }: Listed) {
        self.note_silence();
        self.note_takeover(&containers);
        if !self.taken_over {
            self.remember(volumes.anonymous);
            self.removed.extend(containers);
        }
        for volume in volumes.others {
            if self.anonymous.remove(&volume) {
                self.guard.keep_volume(&volume);
            }
        }
        // Else a harder one has come meanwhile, or nothing is to be taken down any more.
        if then == Some(self.undos) && self.state.phase == Phase::Undoing(reach) {
            self.down(reach);
        }
    }

    /// Looks whether another checkout has taken the project over, with `docker compose up` by hand: our lock does not keep that away.
    fn note_takeover(&mut self, containers: &[Container]) {
        if self.taken_over {
            return;
        }
        let dev_dir = self.dev_dir();
        if let Some(container) = containers.iter().find(|it| engine::is_of_another_checkout(it, &dev_dir)) {
            let (project, checkout) = (self.compose.project(), checkout_name(Path::new(&container.working_dir)));
            self.logger()
                .warn(&format!("project {project} was taken over by {checkout}; its containers are left alone"));
            self.taken_over = true;
        }
    }

    fn dev_dir(&self) -> PathBuf {
        self.compose.root().join(DEV_DIR)
    }

    /// Adds containers that were created after the list was made.
    fn found_late(&mut self, Found { containers, anonymous }: Found) {
        self.note_takeover(&containers);
        if self.taken_over {
            return;
        }
        let known: BTreeSet<String> = self.removed.iter().map(|container| container.id.clone()).collect();
        self.removed.extend(containers.into_iter().filter(|container| !known.contains(&container.id)));
        self.remember(anonymous);
    }

    /// Remembers anonymous volumes that are removed with their containers.
    fn remember(&mut self, anonymous: BTreeSet<String>) {
        for volume in anonymous {
            self.guard.volume(&volume);
            self.anonymous.insert(volume);
        }
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
    fn tear(&mut self, invocation: Invocation, reach: DownScope) {
        if let Some(mut softer) = self.undo.take() {
            softer.cut_off();
            // Reaped, so that it does not stay a zombie for as long as we live; it was killed.
            let _ = softer.wait();
        }
        (self.unread, self.torn, self.silence) = (None, None, None);
        let show = match reach {
            _ if self.state.cause == Some(Cause::Interrupted(Interrupt::Hup)) => Show::Nothing,
            DownScope::File if self.teardown.verbosity != Verbosity::Quiet && !self.logger().is_unread() => Show::Live,
            // Perhaps the first `down` was killed by what it had to say: nobody reads our stderr (`… | head`) any more.
            DownScope::File | DownScope::Everything | DownScope::ByName => Show::IfItFails,
        };
        self.undos += 1;
        if self.taken_over {
            let _ = self.sender.send(Arrival::UndoExited(self.undos));
            return;
        }
        match self.spawn(&invocation.clone().show(show), Arrival::UndoExited(self.undos)) {
            Ok(undo) => {
                self.note(Change::End, undo.id());
                self.undo = Some(undo);
                let (sender, number) = (self.sender.clone(), self.undos);
                let report = move |since| drop(sender.send(Arrival::Silent(number, since)));
                let pause = if self.away.is_some() { PAUSE_AFTER_SILENCE } else { silence::PAUSE };
                let (commander, project) = (self.runner.commander.clone(), self.compose.project().clone());
                self.silence = Some(silence::watch(commander, project, pause, report));
                if show == Show::Live {
                    let (sender, number) = (self.sender.clone(), self.undos);
                    self.unread = Some(unread::watch(move || drop(sender.send(Arrival::Unread(number)))));
                    self.torn = Some((invocation, reach));
                }
            }
            Err(error) => {
                // The workspace's folder may be gone, and docker cannot be started in it: a wider step needs no folder.
                self.logger().detail("Failed", &format!("`{invocation}` cannot be started: {error}"));
                let _ = self.sender.send(Arrival::UndoExited(self.undos));
            }
        }
    }

    fn undo_ended(&mut self) {
        (self.unread, self.torn, self.silence) = (None, None, None);
        // What was reported may still be behind this event in the queue.
        if let Some(latecomers) = self.latecomers.take() {
            self.found_late(latecomers.found());
        }
        // Its exit code decides nothing: what is left on the engine does.
        if let Some(Ok(ended)) = self.undo.take().map(|mut undo| undo.wait()) {
            self.logger().detail("Ended", &format!("the teardown with {}", ended.status));
            if !ended.status.success() {
                self.logger().replay(&ended.kept);
            }
        }
    }

    /// What a check has to find gone: with `stop`, whatever still runs.
    fn only_what_counts(&self, mut remains: Leftovers) -> Leftovers {
        // It was looked into once, and no teardown will ever remove it.
        remains.networks.retain(|network| !self.lost.contains(&network.name));
        if self.taken_over {
            let dev_dir = self.dev_dir();
            remains.containers.retain(|container| !engine::is_of_another_checkout(container, &dev_dir));
            remains.networks.clear();
            remains.volumes.retain(|volume| self.anonymous.contains(volume));
        }
        match self.policy.undo {
            Undo::Remove | Undo::Nothing => remains,
            Undo::StopOnly => Leftovers {
                containers: remains.containers.into_iter().filter(Container::is_up).collect(),
                ..Leftovers::default()
            },
        }
    }

    fn judge(&self) {
        match self.question() {
            Some(question) => self.ask(move |executor| Arrival::Judged(answer(&question, executor))),
            // Followed only: whose stack it is judges it.
            None => {
                let _ = self.sender.send(Arrival::Followed);
            }
        }
    }

    fn question(&self) -> Option<Question> {
        let (stack, options) = self.start?;
        let doubted = self.standings.iter().filter(|it| it.standing != Standing::Ready);
        Some(Question {
            stack: stack.clone(),
            expected: self.expected.clone(),
            attach: options.attach,
            aborts: UpArgs::parse(&options.args).aborts,
            before: self.ids_before(),
            began: self.began,
            up: self.up_end,
            up_words: self.up_words.clone(),
            waits: self.waits(),
            ports: if self.waits() { options.ports } else { Ports::Ignored },
            doubted: match self.settled {
                Some(Settled::Failed | Settled::Late) => doubted.cloned().collect(),
                Some(Settled::Ready) | None => Vec::new(),
            },
        })
    }

    /// How the services stand has changed.
    fn progress(&mut self, services: Vec<ServiceStanding>, start: Start) {
        let before = std::mem::replace(&mut self.standings, services);
        let project = self.compose.project().as_str();
        for ServiceStanding { service, summary, .. } in newly_ready(&before, &self.standings) {
            self.logger().message(&Message::ServiceReady { project, service, state: summary });
        }
        // Before that Compose itself shows what goes on, and in the foreground logs do; and of containers that ran already only
        // what has just happened to them is known before the engine has been asked.
        if self.state.phase == Phase::Waiting && start == Start::Over {
            self.show_progress();
        }
    }

    fn settled(&mut self, settled: Settled) -> Option<Event> {
        self.settled = Some(settled);
        self.watch = None;
        self.logger().waiting(&[]);
        if self.policy.waits {
            return Some(Event::Settled { success: settled == Settled::Ready });
        }
        // In the foreground the stack runs on, and whoever looks at it gets to know.
        if let Some(question) = self.question() {
            let question = Question { attach: Attach::Detached, ..question };
            self.ask(move |executor| Arrival::Ready(answer(&question, executor)));
        }
        None
    }

    fn followed(&self) -> Event {
        match &self.up_failure {
            None => self.logger().status("Ended", &format!("{}, which its run has taken down", self.compose.project())),
            Some(failure) => {
                self.logger().error(&format!("{} can no longer be followed: {failure}", self.compose.project()))
            }
        }
        Event::Judged(if self.up_failure.is_none() { Judgement::Well } else { Judgement::Badly })
    }

    fn judged(&mut self, answer: Result<(Verdict, Endpoint), Failure>) -> Event {
        let Some((stack, options)) = self.start else {
            return Event::Judged(Judgement::Well);
        };
        if self.state.phase != Phase::Judging {
            // Interrupted meanwhile: how the containers fared is no longer the question.
            return Event::Judged(Judgement::Well);
        }
        let (project, logger) = (self.compose.project(), self.logger());
        let (verdict, endpoint) = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                let up = self.up_failure.as_deref().map(|up| format!("{up}, and ")).unwrap_or_default();
                let message = format!("{up}how it fared cannot be asked: {failure:#}");
                logger.error(&format!("{project}: {message}"));
                logger.message(&Message::StackFailed {
                    project: project.as_str(),
                    message: &message,
                    compose: self.up_words.clone(),
                });
                return Event::Judged(Judgement::Badly);
            }
        };
        let args = UpArgs::parse(&options.args);
        let still_up = verdict.still_up();
        if self.up_end == UpEnd::Well && options.attach == Attach::Foreground && !args.aborts && !still_up.is_empty() {
            self.tell_attached(&endpoint, &verdict.findings);
            let what = self.what_an_interrupt_does();
            let services = still_up.join(", ");
            logger.status("Running", &format!("{project}: {services}, not attached to (Ctrl+C {what})"));
            return Event::Judged(Judgement::StillUp);
        }
        // With `--abort-on-container-exit` and its like Compose ends with the exit code of a container.
        let is_up_code = |code: &i64| self.up_code.map(i64::from) == Some(*code);
        self.asked_code = args.exit_code_from.and_then(|service| verdict.exit_code_of(service)).filter(is_up_code);
        let is_a_containers = self.asked_code.is_some()
            || args.aborts && verdict.failed().filter_map(Finding::exit_code).any(|code| is_up_code(&code));
        let up_is_excused = match self.up_end {
            UpEnd::Well => true,
            UpEnd::Crashed => verdict.stopped_elsewhere || is_a_containers,
            UpEnd::Badly => is_a_containers,
        };
        let nothing_was_started =
            options.attach == Attach::Detached && verdict.findings.is_empty() && !self.expected.is_empty();
        let failed = match self.asked_code {
            Some(code) => code != 0,
            None => verdict.failed().next().is_some() || nothing_was_started,
        };
        let unready = self.policy.waits && verdict.unready().next().is_some();
        if up_is_excused && !failed && !unready {
            if options.attach == Attach::Foreground {
                // Where all was over before its start had been seen.
                self.tell_attached(&endpoint, &verdict.findings);
            }
            let logger = self.logger();
            match (options.attach, args.exit_code_from) {
                (Attach::Foreground, _) if verdict.stopped_elsewhere => {
                    logger.status("Ended", &format!("{project}, stopped from elsewhere"));
                }
                (Attach::Foreground, Some(service)) if self.asked_code.is_some() => {
                    logger.status("Finished", &format!("{project}: {service} exited with 0"));
                }
                (Attach::Foreground, _) if args.aborts => {
                    logger.status("Finished", &format!("{project}; Compose stopped it since a container exited"));
                }
                (Attach::Foreground, _) if verdict.findings.is_empty() => {
                    logger.status("Finished", &format!("{project}; it has no containers"));
                }
                (Attach::Foreground, _) => {
                    logger.status("Finished", &format!("{project}, every container exited with 0"));
                }
                (Attach::Detached, _) => self.tell_started(stack, &endpoint, &verdict),
            }
            return Event::Judged(Judgement::Well);
        }
        if nothing_was_started && self.up_failure.is_none() {
            self.up_failure = Some("no container of it was created".to_string());
        }
        let late = !failed && unready && self.settled == Some(Settled::Late);
        self.tell_failed(stack, options, &endpoint, &verdict, late);
        Event::Judged(if late { Judgement::TooSlowly } else { Judgement::Badly })
    }

    /// Lets everything go that the run has held, in the order in which others may have it.
    fn end(mut self) -> Outcome {
        let end = match self.state.phase {
            Phase::Ended(end) => end,
            _ => End::Incomplete,
        };
        let goes_on = end == End::Abandoned && self.guard.is_armed();
        if end == End::Abandoned {
            self.cut_up();
        }
        if let Some(undo) = self.undo.as_mut().filter(|_| goes_on) {
            undo.cut_off();
        }
        self.watch = None;
        self.tell_end(end);
        match self.lock.take() {
            Some(lock) if goes_on => lock.leave_to_the_guard(),
            _ if end == End::Abandoned => {}
            lock => {
                // The guard has the same lock: others come when it is gone.
                self.guard.disarm();
                drop(lock);
            }
        }
        match (end, self.state.cause) {
            // Dropped undisarmed, which is what the guard waits for.
            (End::Abandoned, Some(Cause::Interrupted(interrupt))) if goes_on => Outcome::Interrupted(interrupt),
            (End::Incomplete | End::Abandoned, _) => Outcome::Incomplete,
            (End::Clean, Some(Cause::Interrupted(interrupt))) => Outcome::Interrupted(interrupt),
            (End::Clean, Some(Cause::Failed | Cause::Finished)) if self.asked_code.is_some() => {
                Outcome::Exited(self.asked_code.unwrap_or_default())
            }
            (End::Clean, Some(Cause::Failed)) => Outcome::Failed,
            (End::Clean, Some(Cause::Late)) => Outcome::Late,
            (End::Clean, Some(Cause::Requested | Cause::Finished) | None) => Outcome::Done,
        }
    }
}
