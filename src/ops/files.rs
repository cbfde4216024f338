//! `dev files`: generates the dev files from Cargo.toml. A start uses this, too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::{Context, Selection};
use crate::cargo::{self, Build, Targets};
use crate::command::{CommandEnd, Executor, Interrupt, Invocation};
use crate::compose::Stack;
use crate::devfile::{self, Base, Change, Crate, ImageRecord, Kind, Topology};
use crate::engine;
use crate::exit::Code;
use crate::image::runtime::Runtime;
use crate::image::{self, Image};
use crate::reporter::Logger;
use crate::reporter::event::{Event, FileState};
use crate::settings::Settings;
use crate::supervisor::Supervision;
use crate::workspace::{BrokenMember, DEV_DIR, Workspace};

/// What `dev files` is asked to do.
#[derive(Clone, Debug)]
pub struct FilesOptions {
    /// Which workspace.
    pub selection: Selection,
    /// Only look whether they are what they should be.
    pub check: bool,
}

/// Makes the files, or looks whether they are up to date.
///
/// # Errors
/// [`Code::NothingToRun`] if the manifests cannot be understood, say nothing of a stack, or somebody else's file is in the
/// way.
pub(crate) fn files(options: &FilesOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    let workspace = Workspace::discover(&cx.commander, cx.cwd, &options.selection.manifest, BrokenMember::Refuse)?;
    Settings::of(&workspace)?;
    let files = DevFiles::of(&workspace)?;
    if files.topology.is_none() && files.changes.is_empty() {
        let error = anyhow!("no Cargo.toml of {} describes a dev stack", workspace.root().display());
        return Err(Code::NothingToRun.because(error).help("describe one with `cargo stagecraft init`").into());
    }
    if !options.check {
        files.write(cx, &workspace)?;
        if files.changes.is_empty() {
            cx.shell.status("Fresh", &format!("{DEV_DIR} is up to date with Cargo.toml"));
        }
        return Ok(Code::Success);
    }
    for Change { path, kind } in &files.changes {
        let path = format!("{DEV_DIR}/{path}");
        cx.shell.event(&Event::DevFile { path: &path, change: kind.change(), state: FileState::Stale });
    }
    if files.changes.is_empty() {
        return Ok(Code::Success);
    }
    cx.shell.help("`cargo stagecraft dev files` updates them");
    Ok(Code::Failed)
}

/// Runs a command for its output until it ends or an interrupt arrives.
pub(super) type Run<'a> = dyn FnMut(&Invocation) -> anyhow::Result<CommandEnd> + 'a;

/// The stack that the manifests describe, and the changes that the dev dir needs.
#[derive(Clone)]
pub(super) struct DevFiles {
    /// None if they describe none: then the files in the dev dir are written by hand.
    pub(super) topology: Option<Topology>,
    pub(super) changes: Vec<Change>,
}

impl DevFiles {
    /// # Errors
    /// As those of [`files`].
    pub(super) fn of(workspace: &Workspace) -> anyhow::Result<DevFiles> {
        let topology = devfile::plan(workspace)?;
        let files = match &topology {
            Some(topology) => devfile::render(topology).map_err(|error| Code::NothingToRun.because(error))?,
            None => BTreeMap::new(),
        };
        let changes = devfile::changes(workspace, &files)?;
        Ok(DevFiles { topology, changes })
    }

    /// Whether the compose file is what it should be.
    pub(super) fn compose_file_is_current(&self) -> bool {
        !self.changes.iter().any(|change| change.path == "compose.yaml")
    }

    /// The compose file to write; empty if it is up to date.
    pub(super) fn compose_file(&self) -> &str {
        let change = self.changes.iter().find(|change| change.path == "compose.yaml");
        match change.map(|change| &change.kind) {
            Some(Kind::Write(text)) => text,
            Some(Kind::Remove) | None => "",
        }
    }

    /// Makes the changes, and reports them.
    pub(super) fn write(&self, cx: &Context<'_>, workspace: &Workspace) -> anyhow::Result<()> {
        self.tell(cx, true);
        devfile::write(workspace, &self.changes)
    }

    /// Reports the changes.
    pub(super) fn tell(&self, cx: &Context<'_>, done: bool) {
        for Change { path, kind } in &self.changes {
            let path = format!("{DEV_DIR}/{path}");
            let state = if done { FileState::Done } else { FileState::Planned };
            cx.shell.event(&Event::DevFile { path: &path, change: kind.change(), state });
        }
    }

    /// The names of the images of the crates on `scratch` among these services.
    pub(super) fn images_to_load(&self, stack: &Stack, is_wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
        let crates = self.crates(is_wanted).into_iter().filter(|(_, krate)| krate.base == Base::Scratch);
        crates.filter_map(|(name, _)| Some(stack.services.get(name)?.image(&stack.project, name).0)).collect()
    }

    /// The names of the images that are made of the crates.
    pub(super) fn images(&self, stack: &Stack) -> Vec<String> {
        let crates = self.topology.iter().flat_map(|topology| topology.crates.keys());
        crates.filter_map(|name| Some(stack.services.get(name)?.image(&stack.project, name).0)).collect()
    }

    /// Whether the program of a service can be replaced while it runs.
    pub(super) fn is_supervised(&self, stack: &Stack, targets: &Targets, service: &str) -> bool {
        let topology = self.topology.as_ref();
        topology.is_some_and(|topology| supervision(topology, stack, targets, service, true).is_some())
    }

    /// The crates among these services.
    pub(super) fn crates(&self, is_wanted: &dyn Fn(&str) -> bool) -> BTreeMap<&str, &Crate> {
        let crates = self.topology.iter().flat_map(|topology| &topology.crates);
        crates.map(|(service, krate)| (service.as_str(), krate)).filter(|(service, _)| is_wanted(service)).collect()
    }

    /// What the crates of the stack are built for; none if it has none.
    ///
    /// # Errors
    /// [`Code::NothingToRun`] if this toolchain cannot build for the engine; [`Code::EngineUnavailable`].
    pub(super) fn targets(&self, executor: &dyn Executor) -> anyhow::Result<Option<Targets>> {
        let Some(topology) = self.topology.as_ref().filter(|topology| !topology.crates.is_empty()) else {
            return Ok(None);
        };
        let architecture = match &topology.target {
            Some(target) => cargo::engines_architecture(target).to_string(),
            None => engine::architecture(executor)?,
        };
        let sysroot = || cargo::sysroot(executor, &|name| std::env::var_os(name));
        Ok(Some(Targets::of(topology, architecture, sysroot)?))
    }

    /// The commands that build the crates among these services.
    ///
    /// # Errors
    /// Those of [`cargo::build`].
    pub(super) fn builds(
        &self,
        cx: &Context<'_>,
        workspace: &Workspace,
        targets: Option<&Targets>,
        is_wanted: &dyn Fn(&str) -> bool,
    ) -> anyhow::Result<Vec<Build>> {
        let (Some(topology), Some(targets)) = (&self.topology, targets) else { return Ok(Vec::new()) };
        cargo::build(workspace, topology, is_wanted, targets, cx.shell.options())
    }

    /// Builds the crates among these services, with these variables in cargo's environment: where the binary of each is; or the interrupt
    /// that has ended it.
    ///
    /// # Errors
    /// [`Code::Failed`] if cargo fails, which has said why.
    pub(super) fn build(
        &self,
        cx: &Context<'_>,
        workspace: &Workspace,
        targets: Option<&Targets>,
        is_wanted: &dyn Fn(&str) -> bool,
        variables: &[(String, String)],
        run: &mut Run<'_>,
    ) -> anyhow::Result<Result<BTreeMap<String, PathBuf>, Interrupt>> {
        let crates = self.crates(is_wanted);
        let mut binaries = BTreeMap::new();
        for build in self.builds(cx, workspace, targets, is_wanted)? {
            let answer = run(&build.command.clone().with_hidden_env(variables));
            let (status, printed) = match answer.context("cannot run cargo").map_err(|e| Code::Failed.because(e))? {
                CommandEnd::Ended(status, printed) => (status, printed),
                CommandEnd::Interrupted(interrupt) => return Ok(Err(interrupt)),
            };
            if !status.success() {
                let error = anyhow!("the programs of the stack cannot be built{}", self.what_runs());
                let lacks_a_library = build.is_static
                    && match run(&build.for_the_reason().with_hidden_env(variables))? {
                        CommandEnd::Ended(_, printed) => cargo::lacks_a_library(&printed),
                        CommandEnd::Interrupted(interrupt) => return Ok(Err(interrupt)),
                    };
                let help = lacks_a_library.then(|| self.way_out_of_static());
                return Err(Code::Failed.because(error).help_if(help).into());
            }
            binaries.extend(cargo::binaries(workspace, &crates, &printed));
        }
        if let Some(service) = crates.keys().find(|service| !binaries.contains_key(**service)) {
            return Err(Code::Failed
                .because(anyhow!("cargo did not report where the binary of `{service}` is"))
                .into());
        }
        Ok(Ok(binaries))
    }

    /// Makes the images of these binaries, or what Compose makes them from. No other command may change the project meanwhile. Returns the
    /// images on the engine that are replaced by it, by id; or the interrupt that ended it.
    ///
    /// # Errors
    /// [`Code::Failed`] if a file cannot be written, or if docker cannot load an image.
    pub(super) fn make_images(
        &self,
        cx: &Context<'_>,
        making: &Making<'_>,
        binaries: &BTreeMap<String, PathBuf>,
        run: &mut Run<'_>,
    ) -> anyhow::Result<Result<BTreeSet<String>, Interrupt>> {
        let Making { workspace, stack, targets, occasion } = *making;
        let Some(topology) = &self.topology else { return Ok(Ok(BTreeSet::new())) };
        let must_build = devfile::place(workspace, topology, binaries)?;
        let Some(targets) = targets.filter(|_| !binaries.is_empty()) else { return Ok(Ok(BTreeSet::new())) };
        let on_engine = engine::images(&cx.commander, &self.images(stack));
        let mut replaced: BTreeSet<String> = BTreeSet::new();
        if must_build {
            replaced.extend(on_engine.iter().map(|image| image.id.clone()));
        }
        for (service, binary) in binaries {
            let Some(mut image) = image_of(topology, stack, targets, service, binary) else { continue };
            image.supervision = supervision(topology, stack, targets, service, occasion != Occasion::Start);
            let there = on_engine.iter().find(|it| it.is_named(&image.name));
            let has = |digest: &str| there.is_some_and(|it| it.label(image::DIGEST_LABEL) == Some(digest));
            let record = ImageRecord::read(workspace, service);
            if record.is_some_and(|record| has(&record.digest) && record.is_current(&image)) {
                continue;
            }
            image.runtime = Runtime::of(binary, &cx.commander)?;
            if image.supervision.is_some() && !image.runtime.add_supervisor(&cx.commander)? {
                image.supervision = None;
            }
            // Before the files are read: a build that comes later, such as the developer's own, must not count as loaded.
            let record = ImageRecord::new(&image)?;
            let made = devfile::with_archive(workspace, service, &image, |archive, digest| {
                // Built again, and the same.
                if !has(digest) {
                    replaced.extend(there.map(|it| it.id.clone()));
                    if let Err(interrupt) = self.load(cx, workspace, &image.name, archive, occasion, run)? {
                        return Ok(Err(interrupt));
                    }
                }
                Ok(Ok(digest.to_string()))
            })?;
            match made {
                Ok(digest) => ImageRecord { digest, ..record }.write(workspace, service)?,
                Err(interrupt) => return Ok(Err(interrupt)),
            }
        }
        Ok(Ok(replaced))
    }

    /// What to do if a library is missing for static programs.
    fn way_out_of_static(&self) -> String {
        let vendored = "a program for this engine or base image is static and needs static libraries: enable a feature such as \
                        `vendored` or `bundled` of the crate that links the library";
        let is_asked_for =
            self.topology.as_ref().is_some_and(|topology| topology.is_static || topology.target.is_some());
        match is_asked_for {
            true => format!(
                "{vendored}, or remove `static` and `target` from [workspace.metadata.stagecraft.dev], so that the image gets \
                 this machine's shared libraries"
            ),
            false => vendored.to_string(),
        }
    }

    /// The end of an error before the `up` of the whole stack.
    fn what_runs(&self) -> &'static str {
        let is_first = self.topology.as_ref().is_none_or(|topology| topology.before_build.is_none());
        if is_first { "; nothing was started" } else { "" }
    }

    /// Loads an image from its archive, unless an interrupt ends it.
    fn load(
        &self,
        cx: &Context<'_>,
        workspace: &Workspace,
        name: &str,
        archive: &Path,
        occasion: Occasion,
        run: &mut Run<'_>,
    ) -> anyhow::Result<Result<(), Interrupt>> {
        match occasion {
            // The program runs already.
            Occasion::Reload => cx.shell.detail("Loading", &format!("image {name}")),
            Occasion::Start | Occasion::WatchedStart => cx.shell.status("Loading", &format!("image {name}")),
        }
        let load = image::load(workspace.root(), archive)?;
        match run(&load).context("cannot run docker")? {
            CommandEnd::Ended(status, _) if status.success() => Ok(Ok(())),
            CommandEnd::Ended(..) => {
                Err(Code::Failed.because(anyhow!("cannot load image {name}{}", self.what_runs())).into())
            }
            CommandEnd::Interrupted(interrupt) => Ok(Err(interrupt)),
        }
    }
}

/// The image of a crate on `scratch`. None for a crate with another base, whose image Compose builds.
fn image_of(topology: &Topology, stack: &Stack, targets: &Targets, service: &str, binary: &Path) -> Option<Image> {
    let krate = topology.crates.get(service).filter(|krate| krate.base == Base::Scratch)?;
    let (name, _) = stack.services.get(service)?.image(&stack.project, service);
    let (writable, owner) = devfile::writable_directories(topology, service);
    let labels =
        [("com.docker.compose.project", stack.project_of_images().as_str()), ("com.docker.compose.service", service)];
    Some(Image {
        name,
        labels: labels.map(|(label, value)| (label.to_string(), value.to_string())).into(),
        architecture: targets.architecture.clone(),
        binary: binary.to_owned(),
        bin: krate.bin.clone(),
        writable,
        owner,
        runtime: Runtime::default(),
        supervision: None,
    })
}

/// Whose images are made, and what for.
#[derive(Clone, Copy)]
pub(super) struct Making<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) stack: &'a Stack,
    pub(super) targets: Option<&'a Targets>,
    pub(super) occasion: Occasion,
}

/// What images are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// A start.
    Start,
    /// A start whose programs can be replaced while they run.
    WatchedStart,
    /// Containers that are created after a change, when the program has been replaced in those that there are.
    Reload,
}

/// How the program of a crate on `scratch` is supervised: if it can be replaced while it runs, or addresses are held open for it. None if
/// the supervisor, which is this very program, does not run on the engine, or if the service itself sets what runs first in its containers.
fn supervision(
    topology: &Topology,
    stack: &Stack,
    targets: &Targets,
    service: &str,
    is_watched: bool,
) -> Option<Supervision> {
    let krate = topology.crates.get(service).filter(|krate| krate.base == Base::Scratch)?;
    let service = stack.services.get(service).filter(|service| !service.has_entrypoint() && targets.run_here)?;
    let stop_signal = engine::Signal::parse(service.stop_signal())?.number();
    let is_needed = is_watched || !krate.listen.is_empty();
    is_needed.then(|| Supervision { stop_signal, grace: service.stop_grace(), listen: krate.listen.clone() })
}
