//! `before-build` of Cargo.toml: the services that crates depend on are started first, and commands of this machine run when they are ready.
//!
//! Which commands have succeeded is recorded in cargo's target directory, so that those that name their files run once for each change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow};
use walkdir::WalkDir;

use crate::command::{CommandEnd, Interrupt, Invocation, Show};
use crate::compose::{ProjectName, Stack};
use crate::devfile::Step;
use crate::engine::Container;
use crate::exit::{Code, Failure};
use crate::files::cache;
use crate::files::replace::{Mode, Staged};
use crate::ops::env::Variables;
use crate::ops::files::DevFiles;
use crate::reporter::{Logger, Verbosity};
use crate::workspace::Workspace;

/// Where the records are, in cargo's target directory.
const FOLDER: &str = "stagecraft/before-build";

/// What has to happen before the build.
pub(super) struct BeforeBuild<'a> {
    workspace: &'a Workspace,
    project: &'a ProjectName,
    steps: Vec<&'a Step>,
    /// The services that the crates to build depend on.
    pub(super) services: Vec<String>,
}

/// What a command depends on besides its files: the variables that it gets, and the containers of the services.
pub(super) struct Surroundings {
    pub(super) variables: Variables,
    /// Their ids.
    pub(super) containers: BTreeSet<String>,
}

impl<'a> BeforeBuild<'a> {
    /// None if Cargo.toml does not ask for it, or if no crate among the wanted services is to be built.
    pub(super) fn of(
        workspace: &'a Workspace,
        files: &'a DevFiles,
        stack: &'a Stack,
        is_wanted: &dyn Fn(&str) -> bool,
    ) -> Option<BeforeBuild<'a>> {
        let topology = files.topology.as_ref()?;
        let steps = topology.before_build.as_deref()?;
        let is_crate = |service: &str| topology.crates.contains_key(service);
        let crates: Vec<&str> = topology.crates.keys().map(String::as_str).filter(|name| is_wanted(name)).collect();
        if crates.is_empty() {
            return None;
        }
        let needs_no_crate = |service: &&str| !stack.with_dependencies([*service]).into_iter().any(is_crate);
        let services = stack.with_dependencies(crates).into_iter().filter(|name| is_wanted(name));
        let services: Vec<String> = services.filter(needs_no_crate).map(str::to_string).collect();
        let steps =
            steps.iter().filter(|step| step.depends_on.iter().all(|service| services.contains(service))).collect();
        Some(BeforeBuild { workspace, project: &stack.project, steps, services })
    }

    /// The commands, whether they have to run or not.
    pub(super) fn commands(&self) -> Vec<Invocation> {
        self.steps.iter().map(|step| self.command(step)).collect()
    }

    fn command(&self, step: &Step) -> Invocation {
        let mut command = Command::new(&step.argv[0]);
        command.args(&step.argv[1..]).current_dir(self.workspace.root());
        Invocation::from(command)
    }

    /// Whether each of the services has a container that is up.
    pub(super) fn are_up(&self, containers: &[Container]) -> bool {
        let is_up = |service: &String| containers.iter().any(|it| it.service == *service && it.is_up());
        self.services.iter().all(is_up)
    }

    /// Whether every command has succeeded before, and nothing has changed since.
    ///
    /// # Errors
    /// [`Code::NothingToRun`] if a file that a command names does not exist.
    pub(super) fn is_done(&self, surroundings: &Surroundings) -> Result<bool, Failure> {
        let recorded = self.read_record();
        for step in &self.steps {
            if !self.is_recorded(step, self.digest(step, surroundings)?, &recorded) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Runs the commands that have to run; or the interrupt that ended one.
    ///
    /// # Errors
    /// [`Code::Failed`] if a command fails; [`Code::NothingToRun`] if it cannot be started or names a file that does not exist.
    pub(super) fn run(
        &self,
        logger: &dyn Logger,
        verbosity: Verbosity,
        surroundings: &Surroundings,
        run: &mut dyn FnMut(&Invocation) -> anyhow::Result<CommandEnd>,
    ) -> anyhow::Result<Result<(), Interrupt>> {
        let mut recorded = self.read_record();
        for step in &self.steps {
            // Before the run: a file that changes meanwhile has to be read by another run.
            let digest = self.digest(step, surroundings)?;
            if self.is_recorded(step, digest, &recorded) {
                logger.detail("Skipping", &format!("`{}`, which has nothing new to do", step.line));
                continue;
            }
            logger.status("Preparing", &format!("`{}`", step.line));
            let show = if verbosity == Verbosity::Quiet { Show::IfItFails } else { Show::Live };
            let end = run(&self.command(step).with_hidden_env(&surroundings.variables.values()).show(show));
            let what = || format!("cannot run `{}`, a command of `before-build`", step.line);
            match end.with_context(what).map_err(|error| Code::NothingToRun.because(error))? {
                CommandEnd::Interrupted(interrupt) => return Ok(Err(interrupt)),
                CommandEnd::Ended(status, held_back) if !status.success() => {
                    logger.replay(held_back.as_bytes());
                    let error = anyhow!("`{}` ended with {status}; no crate was built", step.line);
                    return Err(Code::Failed.because(error).help_if(surroundings.variables.what_is_missing()).into());
                }
                CommandEnd::Ended(..) => {}
            }
            if step.files.is_some() {
                recorded.insert(step.line.clone(), digest);
                // Without a record the command runs again next time.
                let _ = self.write_record(&recorded);
            }
        }
        Ok(Ok(()))
    }

    fn is_recorded(&self, step: &Step, digest: u64, recorded: &BTreeMap<String, u64>) -> bool {
        step.files.is_some() && recorded.get(&step.line) == Some(&digest)
    }

    /// A hash of everything that the result of a command depends on.
    fn digest(&self, step: &Step, surroundings: &Surroundings) -> Result<u64, Failure> {
        let mut hasher = DefaultHasher::new();
        (&step.argv, surroundings.variables.values(), &surroundings.containers).hash(&mut hasher);
        for file in step.files.iter().flatten() {
            let read = hash_all(&self.workspace.root().join(file), &mut hasher);
            let what = || format!("cannot read {file}, which `before-build` names as a file of `{}`", step.line);
            read.with_context(what).map_err(|error| Code::NothingToRun.because(error))?;
        }
        Ok(hasher.finish())
    }

    fn record(&self) -> PathBuf {
        self.workspace.target_dir.join(FOLDER).join(format!("{}.json", self.project))
    }

    fn read_record(&self) -> BTreeMap<String, u64> {
        let record = fs::read(self.record()).ok();
        record.and_then(|record| serde_json::from_slice(&record).ok()).unwrap_or_default()
    }

    fn write_record(&self, recorded: &BTreeMap<String, u64>) -> anyhow::Result<()> {
        let (path, text) = (self.record(), serde_json::to_vec(recorded)?);
        cache::make_folder(&self.workspace.target_dir, FOLDER)?;
        Ok(Staged::new(&path, &Mode::Umask, |file| file.write_all(&text))?.commit()?)
    }
}

/// Adds the names and contents of a file, or of all files in a directory.
fn hash_all(path: &Path, hasher: &mut DefaultHasher) -> anyhow::Result<()> {
    for entry in WalkDir::new(path).follow_links(true).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_file() {
            (entry.path().strip_prefix(path)?, fs::read(entry.path())?).hash(hasher);
        }
    }
    Ok(())
}
