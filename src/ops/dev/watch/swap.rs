//! Replaces programs: in the containers that run them, or with the containers.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use super::command::{Ended, EndedBy};
use super::{Described, Reloader};
use crate::command::Invocation;
use crate::compose::{Attach, Traefik};
use crate::engine::{self, Container, Process};
use crate::exit::Code;
use crate::image;
use crate::ops::files::{Making, Occasion};
use crate::os;
use crate::reporter::Logger as _;
use crate::session::{ProjectLock, waiting_for_others};
use crate::supervisor;
use crate::watch::Snapshot;

/// How much longer than its grace a program may take to be replaced.
const MARGIN: Duration = Duration::from_secs(5);
/// The first and the longest pause between two checks whether the new program runs.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LAST_LOOK: Duration = Duration::from_millis(500);
/// How often to try to take the lock.
const LOOK_FOR_LOCK: Duration = Duration::from_millis(50);

impl Reloader<'_> {
    /// Replaces the program in each container of a service that runs. False if that is not possible.
    ///
    /// # Errors
    /// If docker cannot be started.
    pub(super) fn swap(&mut self, service: &str, binary: &Path) -> anyhow::Result<bool> {
        self.know_containers();
        let Described { files, stack, targets, .. } = &self.described;
        if !targets.as_ref().is_some_and(|targets| files.is_supervised(stack, targets, service)) {
            return Ok(false);
        }
        let limit = stack.services.get(service).map(|service| service.stop_grace()).unwrap_or_default() + MARGIN;
        let ours = self.containers.iter().flatten().filter(|it| it.service == service && !it.is_one_off);
        let running: Vec<_> = ours.cloned().collect();
        if running.is_empty() || running.iter().any(|container| container.state != "running") {
            return Ok(false);
        }
        let name = files.crates(&|it| it == service).get(service).map(|krate| krate.bin.clone()).unwrap_or_default();
        for container in running {
            if let Err(error) = self.swap_in(&container, binary, &name, limit) {
                self.cx.shell.detail("Replacing", &format!("the container of {service}: {error:#}"));
                self.containers = None;
                return Ok(false);
            }
            self.reloaded.insert(container.id, service.to_string());
        }
        Ok(true)
    }

    pub(super) fn know_containers(&mut self) {
        if self.containers.is_none() {
            self.containers = engine::containers(&self.cx.commander, &self.described.stack.project).ok();
        }
    }

    /// Replaces the program in a container, and returns when the new one runs.
    fn swap_in(&mut self, container: &Container, binary: &Path, name: &str, limit: Duration) -> anyhow::Result<()> {
        let executor = &self.cx.commander;
        let archive = image::program_archive(binary, name)?;
        let id = &container.id;
        let (before, put) = thread::scope(|scope| {
            let put = scope.spawn(|| engine::put_program(executor, id, image::BIN, name, archive));
            (engine::processes(executor, id), put.join())
        });
        let before = program_of(&before?).context("no supervisor runs in it")?;
        put.unwrap_or_else(|panic| resume_unwind(panic))?;
        engine::signal(executor, id, os::RELOAD)?;
        let began = Instant::now();
        let mut pause = FIRST_LOOK;
        while began.elapsed() < limit {
            // The container has ended. Its event is reported with the reason.
            let Ok(now) = engine::processes(&self.cx.commander, id) else { return Ok(()) };
            match program_of(&now) {
                Some(Some(program)) if before != Some(program) => return Ok(()),
                _ => {}
            }
            self.pause(pause);
            if self.inbox.is_ending() {
                return Err(anyhow!("the run ends"));
            }
            pause = (pause * 2).min(LAST_LOOK);
        }
        Err(anyhow!("the new program was not started within {} s", limit.as_secs()))
    }

    /// Waits for a while, and handles events meanwhile.
    fn pause(&mut self, time: Duration) {
        let (sender, news) = mpsc::channel();
        let inbox = Arc::clone(self.inbox);
        let listening = inbox.listen(move |it| drop(sender.send(it)));
        let until = Instant::now() + time;
        while let Ok(it) = news.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.note(it);
            if self.inbox.is_ending() {
                break;
            }
        }
        drop(listening);
        news.try_iter().for_each(|it| self.note(it));
    }

    /// The project's lock. None if the run ends meanwhile.
    pub(super) fn take_lock(&mut self) -> Option<ProjectLock> {
        let project = &self.described.stack.project;
        let mut lock = ProjectLock::open(&engine::lock_name(project)).unwrap_or_else(|_| ProjectLock::none());
        let mut said = false;
        while !lock.try_take().unwrap_or(true) {
            if !said {
                self.cx.shell.status("Blocking", &waiting_for_others(&self.described.stack.project));
                said = true;
            }
            self.pause(LOOK_FOR_LOCK);
            if self.inbox.is_ending() {
                return None;
            }
        }
        self.handle_events();
        (!self.inbox.is_ending()).then_some(lock)
    }

    /// Makes the images of these programs, so that a container that is created later runs them, too. The lock is held. False if the run
    /// ends meanwhile.
    ///
    /// # Errors
    /// [`Code::Failed`] if an image cannot be made.
    pub(super) fn make_images(&mut self) -> anyhow::Result<bool> {
        let described = self.described.clone();
        let Described { workspace, files, stack, targets, .. } = &described;
        let (cx, binaries) = (self.cx, self.binaries.clone());
        let mut run = |command: &Invocation| self.output(command);
        let making = Making { workspace, stack, targets: targets.as_ref(), occasion: Occasion::Reload };
        match files.make_images(cx, &making, &binaries, &mut run)? {
            Ok(replaced) => {
                // Those that no container runs go at once.
                engine::remove_replaced_images(&cx.commander, stack.project_of_images(), &replaced);
                self.replaced.extend(replaced);
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }

    /// Lets Compose replace the containers of these services, beside the attached `up`. The lock is held.
    ///
    /// # Errors
    /// [`Code::Failed`] if Compose fails, which has said why.
    pub(super) fn replace_containers(&mut self, services: &BTreeSet<String>) -> anyhow::Result<bool> {
        let Described { workspace, stack, .. } = &self.described;
        let compose = self.cx.compose(workspace, stack.project.clone())?;
        let names = services.iter().map(OsString::from);
        let args: Vec<_> = ["--no-deps".into()].into_iter().chain(names).collect();
        self.containers = None;
        let up = compose.up(Attach::Detached, Traefik::On, &args).with_errors_shown();
        match self.command(&up, EndedBy::Hurry, |_| {}, &mut |_, _| Ok(()))? {
            Ended::ByItself(status) if status.success() => Ok(true),
            Ended::ByItself(status) => {
                let services = services.iter().cloned().collect::<Vec<_>>().join(", ");
                Err(Code::Failed
                    .because(anyhow!("Compose could not replace {services}: `{up}` ended with {status}"))
                    .into())
            }
            Ended::Superseded | Ended::Ending => Ok(false),
        }
    }

    /// Whether a service runs a program with this hash.
    pub(super) fn is_same_program(&self, service: &str, hash: Option<u64>) -> bool {
        hash.is_some() && self.programs.get(service).copied() == hash
    }

    /// Handles the events that have arrived.
    pub(super) fn handle_events(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            self.note(news);
        }
    }

    /// Whether a file differs from what it was when it was looked at last.
    pub(super) fn has_changed(&self) -> bool {
        let now = Snapshot::take(&self.set, &self.snapshot);
        // Cargo itself writes its lock file.
        now.changes(&self.snapshot).iter().any(|file| !self.set.is_lock(file))
    }
}

/// The program that a container's supervisor runs, if it runs one now. None if there is no supervisor.
fn program_of(processes: &[Process]) -> Option<Option<u32>> {
    let is_supervisor = |it: &&Process| supervisor::is_supervisor(&it.line);
    // What is about to become the program has its words, too, and is its child.
    let is_child = |it: &Process| processes.iter().any(|parent| parent.pid == it.parent && is_supervisor(&parent));
    let supervisor = processes.iter().find(|it| is_supervisor(it) && !is_child(it))?;
    let program = processes.iter().find(|it| it.parent == supervisor.pid && !is_supervisor(it));
    Some(program.map(|program| program.pid))
}
