//! Applies one change: builds, replaces the programs that differ, and lets Compose do what it takes for the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::command::{Ended, EndedBy};
use super::{RESTLESS, Reloader, Wish};
use crate::cargo;
use crate::command::Invocation;
use crate::engine;
use crate::exit::Code;
use crate::files::hash;
use crate::ops::dev::before_build::BeforeBuild;
use crate::ops::dev::programs::Programs;
use crate::ops::dev::{Described, is_started};
use crate::ops::files::{DevFiles, Occasion};
use crate::reporter::Logger as _;
use crate::reporter::event::Event;
use crate::session::Options;
use crate::settings::Settings;
use crate::stack::expected::Expected;
use crate::watch::Snapshot;
use crate::workspace::{BrokenMember, Workspace};
use anyhow::anyhow;

/// What an attempt has come to.
enum Applied {
    Done,
    /// A newer change came during the build.
    Superseded,
    /// The run ends.
    Ending,
}

/// A change that is being applied.
struct Attempt {
    /// When it was seen.
    began: Instant,
    /// How long the builds took until now.
    cargo: f64,
    /// The services of crates whose binary cargo has reported.
    reported: BTreeMap<String, PathBuf>,
    /// Those of them that have been dealt with.
    done: BTreeSet<String>,
    /// Those whose program differs and could not be replaced in place, with a hash of the new one.
    left: BTreeMap<String, Option<u64>>,
    /// Every program is reloaded, whether it differs or not.
    all: bool,
}

impl Reloader<'_> {
    /// Applies changes of these files, or does what is wished.
    pub(super) fn apply(&mut self, mut changed: Vec<PathBuf>, wish: Option<Wish>) {
        let began = self.woken.take().unwrap_or_else(Instant::now);
        // A newer change ends the build of an older one, but not twice in a row: else one that goes on and on would prevent every build.
        let mut ended_by = EndedBy::Change;
        loop {
            if !changed.is_empty() {
                self.tell_changed(&changed);
            }
            let all = wish == Some(Wish::ReloadAll);
            let mut attempt = Attempt {
                began,
                cargo: 0.0,
                reported: BTreeMap::new(),
                done: BTreeSet::new(),
                left: BTreeMap::new(),
                all,
            };
            match self.try_to_apply(&changed, &mut attempt, ended_by) {
                Ok(Applied::Done) => break,
                Ok(Applied::Superseded) => {
                    ended_by = EndedBy::End;
                    self.woken = None;
                    let newer = self.changes();
                    changed = newer;
                }
                Ok(Applied::Ending) => return,
                Err(error) => {
                    self.failed(&error);
                    break;
                }
            }
        }
        self.look_after();
    }

    /// Goes on watching: what has changed during the build is looked at next.
    fn look_after(&mut self) {
        let before = self.snapshot.clone();
        self.watch_files();
        let now = Snapshot::take(&self.set, &before);
        // A file that was not watched before is as the build has read it, unless it was written later.
        // Cargo.lock is written by cargo itself.
        let is_news = |file: &PathBuf| before.has(file) || now.is_newer(file, self.build_began);
        let counts = |file: &PathBuf| is_news(file) && !self.set.is_lock(file);
        let changed: Vec<PathBuf> = now.changes(&before).into_iter().filter(counts).collect();
        self.snapshot = now.with(&changed, &before);
        if changed.is_empty() {
            self.restless = Default::default();
            return;
        }
        if changed != self.changed_by_build {
            self.restless = Default::default();
            self.woken.get_or_insert_with(Instant::now);
            return;
        }
        let times = if self.restless.0 == changed { self.restless.1 + 1 } else { 1 };
        self.restless = (changed.clone(), times);
        if times > RESTLESS {
            // Each build changes them: another one would not be the last.
            let files: Vec<String> = changed.iter().map(|file| self.shown(file)).collect();
            let files = files.join(", ");
            self.cx.shell.warn(&format!("each build changes {files}; waiting for a change of another file"));
            self.snapshot = Snapshot::take(&self.set, &before);
        } else {
            self.woken.get_or_insert_with(Instant::now);
        }
    }

    fn try_to_apply(
        &mut self,
        changed: &[PathBuf],
        attempt: &mut Attempt,
        ended_by: EndedBy,
    ) -> anyhow::Result<Applied> {
        if changed.iter().any(|file| self.set.is_plan(file)) {
            self.plan_again(changed)?;
        }
        let built = self.build(changed, attempt, ended_by);
        self.listen_to_the_reloaded(attempt.began);
        match built? {
            Ended::ByItself(_) => {}
            Ended::Superseded => return Ok(Applied::Superseded),
            Ended::Ending => return Ok(Applied::Ending),
        }
        if !self.lacks_images && !self.is_replanned {
            self.cx.shell.status("Fresh", "no program of the stack has changed");
            return Ok(Applied::Done);
        }
        let Some(_lock) = self.take_lock() else { return Ok(Applied::Ending) };
        if !self.make_images()? {
            return Ok(Applied::Ending);
        }
        self.lacks_images = false;
        if self.is_replanned {
            self.start_again();
            self.know_programs(attempt);
        } else if !attempt.left.is_empty() {
            self.replace_left(attempt)?;
        }
        Ok(Applied::Done)
    }

    /// The stack as the files describe it now.
    fn plan_again(&mut self, changed: &[PathBuf]) -> anyhow::Result<()> {
        let manifest = &self.options.selection.manifest;
        let workspace = Workspace::discover(&self.cx.commander, self.cx.cwd, manifest, BrokenMember::Refuse)?;
        let settings = self.options.settings.or(Settings::of(&workspace)?);
        let files = DevFiles::of(&workspace)?;
        let dev_dir = workspace.dev_dir();
        let is_in_dev_dir = changed.iter().any(|file| file.starts_with(&dev_dir));
        let before = &self.described;
        let is_same = files.changes.is_empty() && !is_in_dev_dir && settings == before.settings;
        let mut described = Described::new(self.options, self.cx, workspace, settings, files)?;
        if described.stack.project != *before.stack.project_of_images() {
            let error = anyhow!("the name of the project has changed to {}", described.stack.project);
            return Err(Code::NothingToRun.because(error).help("start the stack again for that").into());
        }
        if let Some(slot) = &mut self.slot {
            described = described.isolate(self.options, self.cx, slot)?;
        }
        let names = |described: &Described| described.stack.services.keys().cloned().collect::<BTreeSet<_>>();
        let (old, new) = (names(before), names(&described));
        self.removed.extend(&old - &new);
        self.removed.retain(|service| !new.contains(service));
        self.described = described;
        if !is_same {
            self.is_replanned = true;
            // What has been written there is known.
            self.watch_files();
            self.snapshot = Snapshot::take(&self.set, &self.snapshot);
        }
        Ok(())
    }

    /// Runs what has to run before the build, and cargo. A program that differs is replaced as soon as it and what its service depends on
    /// are built.
    fn build(&mut self, changed: &[PathBuf], attempt: &mut Attempt, ended_by: EndedBy) -> anyhow::Result<Ended> {
        let described = self.described.clone();
        let Described { workspace, files, stack, targets, traefik, .. } = &described;
        let expected = Expected::new(stack, *traefik, &self.options.args);
        let is_wanted = |service: &str| is_started(stack, &expected, service);
        if let Some(ended) = self.run_steps(&described, &is_wanted, changed)? {
            return Ok(ended);
        }
        let crates = files.crates(&is_wanted);
        let builds = files.builds(self.cx, workspace, targets.as_ref(), &is_wanted)?;
        let began = Instant::now();
        self.build_began = SystemTime::now();
        for build in builds {
            let command = build.command.with_hidden_env(&self.variables);
            let ended = self.command(
                &command,
                ended_by,
                // While cargo runs, this costs no time.
                Reloader::know_containers,
                &mut |reloader, line| {
                    let found = cargo::binaries(workspace, &crates, line);
                    if found.is_empty() {
                        return Ok(());
                    }
                    if attempt.reported.is_empty() {
                        // Changes that come later may be the developer's answer to the new program.
                        let now = Snapshot::take(&reloader.set, &reloader.snapshot);
                        reloader.changed_by_build = now.changes(&reloader.snapshot);
                    }
                    attempt.reported.extend(found);
                    attempt.cargo = began.elapsed().as_secs_f64();
                    reloader.swap_what_is_due(attempt, &crates.keys().copied().collect())
                },
            )?;
            match ended {
                Ended::ByItself(status) if status.success() => {}
                Ended::ByItself(_) => {
                    self.is_exact = false;
                    self.tell_built(false, began);
                    let what = if attempt.done.is_empty() {
                        "the running programs are kept"
                    } else {
                        "see above for what was reloaded"
                    };
                    return Err(Code::Failed.because(anyhow!("cargo could not build the change; {what}")).into());
                }
                ended => return Ok(ended),
            }
        }
        self.is_exact = true;
        self.tell_built(true, began);
        Ok(Ended::ByItself(std::process::ExitStatus::default()))
    }

    fn tell_built(&self, success: bool, began: Instant) {
        let seconds = began.elapsed().as_secs_f64();
        self.cx.shell.event(&Event::BuildFinished { project: self.project(), success, seconds });
    }

    /// Replaces the programs that differ and that nothing has to be built for any more.
    fn swap_what_is_due(&mut self, attempt: &mut Attempt, crates: &BTreeSet<&str>) -> anyhow::Result<()> {
        loop {
            let is_due = |service: &&String| {
                let needs = self.described.stack.with_dependencies([service.as_str()]);
                let mut needs = needs.into_iter().filter(|it| it != &service.as_str() && crates.contains(it));
                !attempt.done.contains(*service) && needs.all(|it| attempt.done.contains(it))
            };
            let Some(service) = attempt.reported.keys().find(is_due).cloned() else { return Ok(()) };
            attempt.done.insert(service.clone());
            let binary = attempt.reported[&service].clone();
            self.swap_if_it_differs(attempt, &service, binary)?;
        }
    }

    fn swap_if_it_differs(&mut self, attempt: &mut Attempt, service: &str, binary: PathBuf) -> anyhow::Result<()> {
        let hash = hash::of(&binary).ok();
        self.binaries.insert(service.to_string(), binary.clone());
        if self.is_same_program(service, hash) && !attempt.all {
            return Ok(());
        }
        self.lacks_images = true;
        if self.inbox.is_ending() {
            return Ok(());
        }
        // What is started anew soon need not be replaced before.
        let is_swapped = !self.is_replanned && self.swap_under_lock(service, &binary)?;
        if self.inbox.is_ending() {
            return Ok(());
        }
        if is_swapped {
            self.programs.extend(hash.map(|hash| (service.to_string(), hash)));
            self.tell_reloaded(attempt, service, true);
        } else {
            // Unknown until it is replaced: if that fails, the next build tries again.
            self.programs.remove(service);
            attempt.left.insert(service.to_string(), hash);
        }
        Ok(())
    }

    fn swap_under_lock(&mut self, service: &str, binary: &Path) -> anyhow::Result<bool> {
        let Some(_lock) = self.take_lock() else { return Ok(false) };
        self.swap(service, binary)
    }

    fn tell_reloaded(&self, attempt: &Attempt, service: &str, in_place: bool) {
        let seconds = attempt.began.elapsed().as_secs_f64();
        let (project, cargo) = (self.project(), attempt.cargo);
        self.cx.shell.event(&Event::ServiceReloaded { project, service, seconds, cargo, in_place });
    }

    /// The commands before the build whose files have changed. What has ended them, if something has.
    fn run_steps(
        &mut self,
        described: &Described,
        is_wanted: &dyn Fn(&str) -> bool,
        changed: &[PathBuf],
    ) -> anyhow::Result<Option<Ended>> {
        let files = self.step_files();
        if !changed.iter().any(|file| files.iter().any(|of_step| file.starts_with(of_step))) {
            return Ok(None);
        }
        let Described { workspace, files, stack, .. } = described;
        let Some(before_build) = BeforeBuild::of(workspace, files, stack, is_wanted) else { return Ok(None) };
        let programs = Programs { cx: self.cx, described, occasion: Occasion::Reload, is_wanted };
        let there = engine::containers(&self.cx.commander, &stack.project)?;
        let surroundings = programs.surroundings(&before_build, &there)?;
        let cx = self.cx;
        let mut run = |command: &Invocation| self.output(&command.clone().with_errors_shown());
        let ended = before_build.run(cx.shell, cx.shell.verbosity(), &surroundings, &mut run)?;
        Ok(ended.err().map(|_| Ended::Ending))
    }

    /// Lets the run start what differs, attached. The lock is held, and given back for that.
    fn start_again(&mut self) {
        let before = engine::containers(&self.cx.commander, &self.described.stack.project).unwrap_or_default();
        let Described { settings, stack, .. } = &self.described;
        let (traefik, mut args) = self.described.arguments(self.options, self.cx, &before);
        self.is_replanned = false;
        let removed = std::mem::take(&mut self.removed);
        if !removed.is_empty() {
            let names = removed.iter().cloned().collect::<Vec<_>>().join(", ");
            self.cx.shell.status("Removing", &format!("{names}, which the stack no longer has"));
            args.insert(0, "--remove-orphans".into());
        }
        self.how =
            Options { traefik, args, before, ports: settings.ports(), wait: settings.wait(), ..self.how.clone() };
        self.cx.shell.status("Applying", &format!("the changed stack to {}", self.project()));
        self.handle.start_again(Some((stack.clone(), self.how.clone())), self.clock);
    }

    /// These services run their new programs now.
    fn know_programs(&mut self, attempt: &Attempt) {
        let known = attempt.left.iter().filter_map(|(service, hash)| Some((service.clone(), (*hash)?)));
        self.programs.extend(known);
    }

    /// Replaces the containers of services whose program could not be replaced alone. The lock is held.
    fn replace_left(&mut self, attempt: &Attempt) -> anyhow::Result<()> {
        self.handle_events();
        if !self.is_attached {
            self.handle.start_again(None, self.clock);
        } else if !self.replace_containers(&attempt.left.keys().cloned().collect())? {
            return Ok(());
        }
        self.know_programs(attempt);
        attempt.left.keys().for_each(|service| self.tell_reloaded(attempt, service, false));
        // What replaced them may end at once, too.
        self.know_containers();
        let of_these = self.containers.iter().flatten().filter(|it| attempt.left.contains_key(&it.service));
        self.reloaded.extend(of_these.map(|it| (it.id.clone(), it.service.clone())));
        self.listen_to_the_reloaded(attempt.began);
        Ok(())
    }
}
