//! Takes a stack down: `stop` and `down`, the anonymous volumes, and the check of what is left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::latecomers::{Found, Latecomers};
use super::ticker::Ticker;
use super::{Arrival, Listed, Run, Teardown, silence, unread};
use crate::command::{Interrupt, Invocation, PAUSE_AFTER_SILENCE, Running, Show};
use crate::compose::DownScope;
use crate::engine::{self, Container, Kept, Leftovers};
use crate::exit::Failure;
use crate::reporter::Verbosity;
use crate::session::lifecycle::{EndCause, Force, PATIENCE, Phase, RunEvent, SETTLE, Undo, Up};
use crate::session::lock::HeldFor;
use crate::workspace::{DEV_DIR, checkout_name};

/// How much longer than the answer to a question the engine may take to finish what it was asked to make. An idle machine answers
/// within 50 ms and makes a network in 0.2 s; with many times more work than cores it was 0.4 s and 1.9 s.
const SLOWER_THAN_AN_ANSWER: u32 = 20;
const SETTLE_AT_MOST: Duration = Duration::from_secs(5);

/// The teardown, as far as it is.
pub(super) struct Undoing {
    pub(super) options: Teardown,
    /// The teardown command that runs.
    pub(super) process: Option<Box<dyn Running>>,
    /// How many there were.
    pub(super) number: u32,
    /// The command that writes to our stderr, and its scope.
    pub(super) command: Option<(Invocation, DownScope)>,
    /// Detects that the output of the command is blocked.
    pub(super) unread: Option<Ticker>,
    /// Detects that the engine does not answer while the command runs.
    pub(super) silence: Option<Ticker>,
    /// The project's containers, by the engine's last answer.
    pub(super) known: Option<Vec<Container>>,
    /// Whether another checkout has made containers of this project since the start. Nothing of the project is stopped or removed then.
    pub(super) taken_over: bool,
    /// The containers that there were before each `down`.
    pub(super) removed: Vec<Container>,
    /// Their anonymous volumes.
    pub(super) anonymous: BTreeSet<String>,
    pub(super) latecomers: Option<Latecomers>,
    /// What stays on purpose.
    pub(super) kept: Kept,
    /// The result of the last check.
    pub(super) leftovers: Option<Result<Leftovers, Failure>>,
    /// Networks that the engine has lost track of.
    pub(super) lost_networks: Vec<String>,
}

impl Undoing {
    pub(super) fn new(options: Teardown) -> Undoing {
        Undoing {
            options,
            process: None,
            number: 0,
            command: None,
            unread: None,
            silence: None,
            known: None,
            taken_over: false,
            removed: Vec::new(),
            anonymous: BTreeSet::new(),
            latecomers: None,
            kept: Kept::default(),
            leftovers: None,
            lost_networks: Vec::new(),
        }
    }
}

/// How the engine answers.
pub(super) struct Answers {
    /// When it was asked last.
    pub(super) asked: Instant,
    /// How long the answer took.
    pub(super) answered_in: Duration,
    /// Since when it has not answered.
    pub(super) missing_since: Option<Instant>,
}

impl Default for Answers {
    fn default() -> Answers {
        Answers { asked: Instant::now(), answered_in: Duration::ZERO, missing_since: None }
    }
}

impl Run<'_> {
    pub(super) fn stop(&mut self) {
        let stop = self.compose.stop(self.grace());
        self.tear(stop, DownScope::File);
    }

    /// Runs `stop`, or `down` as soon as it is known which anonymous volumes its containers have. A second interrupt waits for no
    /// answer.
    pub(super) fn undo(&mut self, reach: DownScope) {
        if self.policy.undo == Undo::StopOnly {
            return self.tear(self.compose.stop(self.grace()), reach);
        }
        let then = match self.state.force {
            Force::Graceful => {
                self.undoing.number += 1;
                Some(self.undoing.number)
            }
            Force::AtOnce => {
                self.note_takeover(&self.undoing.known.clone().unwrap_or_default());
                self.down(reach);
                None
            }
        };
        self.answers.asked = Instant::now();
        let (project, known) = (self.compose.project().clone(), self.undoing.known.clone());
        // If it runs already, it keeps what it has found.
        if self.state.up == Up::CutOff && self.undoing.latecomers.is_none() {
            let sender = self.sender.clone();
            let report = move |found| drop(sender.send(Arrival::Late(found)));
            self.undoing.latecomers = Some(Latecomers::watch(self.runner.commander.clone(), project.clone(), report));
        }
        let (stack, sender) = (self.plan.as_ref().map(|plan| Arc::clone(&plan.stack)), self.sender.clone());
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

    pub(super) fn down(&mut self, reach: DownScope) {
        let Teardown { volumes, images, .. } = self.undoing.options;
        self.tear(self.compose.down(reach, self.grace(), volumes, images), reach);
    }

    pub(super) fn listed(&mut self, Listed { containers, volumes, then, reach }: Listed) {
        self.note_silence();
        self.note_takeover(&containers);
        if !self.undoing.taken_over {
            self.remember(volumes.anonymous);
            self.undoing.removed.extend(containers);
        }
        for volume in volumes.others {
            if self.undoing.anonymous.remove(&volume) {
                self.guard.keep_volume(&volume);
            }
        }
        // Otherwise a harder teardown has replaced this one, or nothing is left to tear down.
        if then == Some(self.undoing.number) && self.state.phase == Phase::Undoing(reach) {
            self.down(reach);
        }
    }

    /// Looks whether another checkout has taken the project over, with `docker compose up` by hand: our lock does not keep that away.
    pub(super) fn note_takeover(&mut self, containers: &[Container]) {
        if self.undoing.taken_over {
            return;
        }
        let dev_dir = self.dev_dir();
        if let Some(container) = containers.iter().find(|it| engine::is_of_another_checkout(it, &dev_dir)) {
            let (project, checkout) = (self.compose.project(), checkout_name(Path::new(&container.working_dir)));
            self.logger()
                .warn(&format!("project {project} was taken over by {checkout}; its containers are left alone"));
            self.undoing.taken_over = true;
        }
    }

    fn dev_dir(&self) -> PathBuf {
        self.compose.root().join(DEV_DIR)
    }

    /// Adds containers that were created after the list was made.
    pub(super) fn found_late(&mut self, Found { containers, anonymous }: Found) {
        self.note_takeover(&containers);
        if self.undoing.taken_over {
            return;
        }
        let known: BTreeSet<String> = self.undoing.removed.iter().map(|container| container.id.clone()).collect();
        self.undoing.removed.extend(containers.into_iter().filter(|container| !known.contains(&container.id)));
        self.remember(anonymous);
    }

    /// Remembers anonymous volumes that are removed with their containers.
    pub(super) fn remember(&mut self, anonymous: BTreeSet<String>) {
        for volume in anonymous {
            self.guard.volume(&volume);
            self.undoing.anonymous.insert(volume);
        }
    }

    /// How long containers may take to stop, in seconds; without it each service's own counts.
    fn grace(&self) -> Option<u32> {
        match (self.state.force, self.state.cause) {
            (Force::AtOnce, _) => Some(0),
            (Force::Graceful, Some(EndCause::Interrupted(_))) => self.grace_of_an_interrupt(),
            (Force::Graceful, _) => self.undoing.options.timeout,
        }
    }

    pub(super) fn grace_of_an_interrupt(&self) -> Option<u32> {
        self.undoing.options.timeout.or(self.undoing.options.interrupt_timeout)
    }

    /// Runs a command of the teardown, in place of a softer one that may still be running.
    pub(super) fn tear(&mut self, invocation: Invocation, reach: DownScope) {
        if let Some(mut softer) = self.undoing.process.take() {
            softer.cut_off();
            // Reaped, so that it does not stay a zombie for as long as we live; it was killed.
            let _ = softer.wait();
        }
        (self.undoing.unread, self.undoing.command, self.undoing.silence) = (None, None, None);
        let show = match reach {
            _ if self.state.cause == Some(EndCause::Interrupted(Interrupt::Hup)) => Show::Nothing,
            DownScope::File if self.undoing.options.verbosity != Verbosity::Quiet && !self.logger().is_unread() => {
                Show::Live
            }
            // Perhaps the first `down` was killed by SIGPIPE, because our stderr was closed (`… | head`).
            DownScope::File | DownScope::Everything | DownScope::ByName => Show::IfItFails,
        };
        self.undoing.number += 1;
        if self.undoing.taken_over {
            let _ = self.sender.send(Arrival::UndoExited(self.undoing.number));
            return;
        }
        match self.spawn(&invocation.clone().show(show), Arrival::UndoExited(self.undoing.number)) {
            Ok(undo) => {
                self.note(HeldFor::End, undo.id());
                self.undoing.process = Some(undo);
                let (sender, number) = (self.sender.clone(), self.undoing.number);
                let report = move |since| drop(sender.send(Arrival::Silent(number, since)));
                let pause = if self.answers.missing_since.is_some() { PAUSE_AFTER_SILENCE } else { silence::PAUSE };
                let (commander, project) = (self.runner.commander.clone(), self.compose.project().clone());
                self.undoing.silence = Some(silence::watch(commander, project, pause, report));
                if show == Show::Live {
                    let (sender, number) = (self.sender.clone(), self.undoing.number);
                    self.undoing.unread = Some(unread::watch(move || drop(sender.send(Arrival::Unread(number)))));
                    self.undoing.command = Some((invocation, reach));
                }
            }
            Err(error) => {
                // The workspace's folder may be gone, and docker cannot be started in it: a wider step needs no folder.
                self.logger().detail("Failed", &format!("`{invocation}` cannot be started: {error}"));
                let _ = self.sender.send(Arrival::UndoExited(self.undoing.number));
            }
        }
    }

    pub(super) fn undo_ended(&mut self) {
        (self.undoing.unread, self.undoing.command, self.undoing.silence) = (None, None, None);
        // What was reported may still be behind this event in the queue.
        if let Some(latecomers) = self.undoing.latecomers.take() {
            self.found_late(latecomers.found());
        }
        // Its exit code decides nothing: what is left on the engine does.
        if let Some(Ok(ended)) = self.undoing.process.take().map(|mut undo| undo.wait()) {
            self.logger().detail("Ended", &format!("the teardown with {}", ended.status));
            if !ended.status.success() {
                self.logger().replay(&ended.kept);
            }
        }
    }

    /// What a check expects to be gone: after `stop`, running containers.
    fn only_what_counts(&self, mut remains: Leftovers) -> Leftovers {
        // It was looked into once, and no teardown will ever remove it.
        remains.networks.retain(|network| !self.undoing.lost_networks.contains(&network.name));
        if self.undoing.taken_over {
            let dev_dir = self.dev_dir();
            remains.containers.retain(|container| !engine::is_of_another_checkout(container, &dev_dir));
            remains.networks.clear();
            remains.volumes.retain(|volume| self.undoing.anonymous.contains(volume));
        }
        match self.policy.undo {
            Undo::Remove | Undo::Nothing => remains,
            Undo::StopOnly => Leftovers {
                containers: remains.containers.into_iter().filter(Container::is_up).collect(),
                ..Leftovers::default()
            },
        }
    }

    /// How long the engine may still be busy with what a killed `up` has asked for: an engine that is slow to answer is slow
    /// to make a network.
    pub(super) fn settling_time(&self) -> Duration {
        (self.answers.answered_in * SLOWER_THAN_AN_ANSWER).clamp(SETTLE, SETTLE_AT_MOST)
    }

    /// Counts the time of a question that was given up only when its time was over. No second patience is due to the same silence.
    pub(super) fn note_silence(&mut self) {
        if self.answers.asked.elapsed() >= PATIENCE {
            self.answers.missing_since.get_or_insert(self.answers.asked);
        }
    }

    /// Whether to go on asking an engine that does not answer.
    fn has_patience(&mut self) -> bool {
        if self.answers.missing_since.is_none() && self.state.force == Force::Graceful {
            let seconds = PATIENCE.as_secs();
            let what =
                format!("for the engine, which does not answer; {seconds} s at most, press Ctrl+C to stop waiting");
            self.logger().status("Waiting", &what);
            self.runner.commander.says_that_it_waits();
        }
        self.answers.missing_since.get_or_insert_with(Instant::now).elapsed() < PATIENCE
    }

    /// Asks what is left, and removes the anonymous volumes of containers that are gone.
    pub(super) fn check(&mut self) {
        let project = self.compose.project().clone();
        let Teardown { volumes, images, .. } = self.undoing.options;
        let (removed, anonymous) = (self.undoing.removed.clone(), self.undoing.anonymous.clone());
        let last = self.state.phase == Phase::Checking(DownScope::ByName);
        self.answers.asked = Instant::now();
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

    pub(super) fn checked(&mut self, leftovers: Result<Leftovers, Failure>, kept: Kept) -> RunEvent {
        self.answers.answered_in = self.answers.asked.elapsed();
        if let Ok(leftovers) = &leftovers {
            self.undoing.known = Some(leftovers.containers.clone());
            for volume in &leftovers.in_use {
                self.logger().detail("Keeping", &format!("volume {volume}, which another container uses"));
                self.undoing.anonymous.remove(volume);
            }
        }
        self.undoing.kept = kept;
        let leftovers = match leftovers {
            Ok(leftovers) => self.only_what_counts(leftovers),
            Err(failure) => {
                self.undoing.leftovers = Some(Err(failure));
                return RunEvent::Unanswered { patience: self.has_patience() };
            }
        };
        self.answers.missing_since = None;
        let clean = leftovers.is_empty();
        let found = if clean { "nothing is left" } else { "something is left" };
        self.logger().detail("Asked", &format!("the engine: {found}"));
        for network in &leftovers.lost {
            self.logger().warn(&format!(
                "the engine has lost track of network {network}: no container is on it, yet it cannot be removed; \
                 a restart of the engine removes it"
            ));
            self.undoing.lost_networks.push(network.clone());
        }
        self.undoing.leftovers = Some(Ok(leftovers));
        RunEvent::Checked { clean }
    }
}
