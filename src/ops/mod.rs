//! One file a verb. In here nobody knows clap, colour or signals.

mod complete;
mod completions;
mod dev;
mod doctor;
mod down;
mod env;
mod files;
mod guard;
mod init;
mod list;
mod logs;
mod man;
mod model;
mod status;

use std::io;
use std::path::Path;
use std::process::Output;
use std::thread;

use anyhow::anyhow;

pub(crate) use complete::{Candidate, CompleteOptions, Names, Offer, complete};
pub(crate) use completions::{Interpreter, completions};
pub(crate) use dev::{DevOptions, dev};
pub(crate) use doctor::{DoctorOptions, doctor};
pub(crate) use down::{DownOptions, down};
pub(crate) use env::{EnvOptions, env};
pub(crate) use files::{FilesOptions, files};
pub(crate) use guard::guard;
pub(crate) use init::{InitOptions, NewService, init};
pub(crate) use list::{ListOptions, list};
pub(crate) use logs::{LogsOptions, logs};
pub use man::PAGES;
pub(crate) use man::{ManOptions, man, show};
pub(crate) use status::{StatusOptions, status};

use crate::command::{Commander, Executor as _, Hook};
use crate::compose::{self, Compose, DownScope, NameChoice, ProjectName, Stack};
use crate::engine::{self, Container};
use crate::exit::{Code, Failure};
use crate::reporter::Logger;
use crate::reporter::{Shell, one_line};
use crate::session::{Arm, ProjectLock, SETTLE, waiting_for_others};
use crate::settings::Settings;
use crate::workspace::{ManifestOptions, Workspace, checkout_name};
use model::{resolve, resolve_services, resolve_text};

/// The tools that a verb works with.
pub(crate) struct Context<'a> {
    /// Runs commands.
    pub commander: Commander,
    /// The terminal.
    pub shell: &'a Shell,
    /// Makes interrupts arrive.
    pub hook: &'a Hook,
    /// Arms a guard.
    pub arm: &'a Arm,
    /// The directory that the user is in.
    pub cwd: &'a Path,
}

impl Context<'_> {
    /// Builds commands for a project that speak as we do.
    fn compose(&self, workspace: &Workspace, project: ProjectName) -> anyhow::Result<Compose> {
        Compose::new(workspace, project, self.shell.options().color)
    }
}

/// What every verb needs to know about the stack that is meant.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Where to look for the workspace.
    pub manifest: ManifestOptions,
    /// The project's name, if the command line or the environment gives one.
    pub project_name: Option<ProjectName>,
}

/// The project's name if nobody says one: the folder of the workspace, by its own name, whatever symlink led there.
fn default_name(workspace: &Workspace) -> Option<ProjectName> {
    let root = workspace.root().canonicalize().unwrap_or_else(|_| workspace.root().to_owned());
    ProjectName::normalized(root.file_name()?)
}

/// The settings of Cargo.toml for a verb that looks at a stack or takes it down, which goes on without those that make no sense.
fn settings_if_sound(cx: &Context<'_>, workspace: &Workspace) -> Settings {
    Settings::of(workspace).unwrap_or_else(|error| {
        cx.shell.warn(&format!("{error}; going on without settings"));
        Settings::default()
    })
}

/// Where the project's name comes from.
fn name_choice<'a>(
    workspace: &Workspace,
    selection: &'a Selection,
    default: Option<&'a ProjectName>,
) -> Result<NameChoice<'a>, Failure> {
    match (&selection.project_name, default) {
        (Some(name), _) => Ok(NameChoice::Given(name)),
        (None, Some(name)) => Ok(NameChoice::Default(name)),
        (None, None) => {
            let error = anyhow!("the workspace's folder, {}, makes no project name", workspace.root().display());
            Err(Code::NothingToRun.because(error).help("name the project with `--project-name`"))
        }
    }
}

/// The project that is meant, and how it is to be spoken of.
struct Target {
    project: ProjectName,
    reach: DownScope,
    /// None where the file cannot be read.
    stack: Option<Stack>,
}

/// The project that is meant, also where the compose file cannot tell its name any more.
///
/// # Errors
/// [`Code::NothingToRun`] if this checkout has nothing on the engine in that case; [`Code::EngineUnavailable`].
fn target(cx: &Context<'_>, workspace: &Workspace, selection: &Selection) -> anyhow::Result<Target> {
    match resolve(cx, workspace, selection) {
        Ok(stack) => Ok(Target { project: stack.project.clone(), reach: DownScope::File, stack: Some(stack) }),
        Err(error) => match project_without_file(cx, workspace, selection, &error)? {
            Some(project) => {
                cx.shell.warn(&format!("{error:#}; going by the name, `{project}`"));
                Ok(Target { project, reach: DownScope::ByName, stack: None })
            }
            None => Err(error),
        },
    }
}

/// The project of this checkout that is on the engine although the compose file cannot tell its name: a file that was
/// broken, moved or deleted must not keep a stack alive.
fn project_without_file(
    cx: &Context<'_>,
    workspace: &Workspace,
    selection: &Selection,
    error: &anyhow::Error,
) -> anyhow::Result<Option<ProjectName>> {
    if error.downcast_ref::<Failure>().map(Failure::code) != Some(Code::NothingToRun) {
        return Ok(None);
    }
    let mut projects = engine::projects_of(&cx.commander, &workspace.dev_dir())?;
    if let Some(name) = &selection.project_name {
        projects.retain(|project| project == name);
    }
    if projects.len() > 1 {
        let names: Vec<&str> = projects.iter().map(ProjectName::as_str).collect();
        let error = anyhow!("this checkout runs several projects: {}", names.join(", "));
        return Err(Code::NothingToRun.because(error).help("choose one with `--project-name`").into());
    }
    Ok(projects.pop())
}

/// Where there is no Compose v2.
const INSTALL_COMPOSE: &str =
    "install Docker Compose v2 or newer as a plugin of the Docker CLI: https://docs.docker.com/compose/install/";

/// That Compose v2 or newer is installed. Asked only after something failed: a healthy run need not pay for it.
fn require_compose(cx: &Context<'_>, workspace: &Workspace) -> anyhow::Result<()> {
    let output = cx.commander.output(&compose::version(workspace)?).map_err(engine::no_docker)?;
    let error = match compose_version(&output) {
        Some((_, (2.., _))) => return Ok(()),
        Some((version, _)) => anyhow!("Docker Compose {version} is too old"),
        None => anyhow!("`docker compose` does not work: the Compose plugin is missing"),
    };
    Err(Code::EngineUnavailable.because(error).help(INSTALL_COMPOSE).into())
}

/// What Compose has answered to the question for its version, and the first two numbers of that. None if it is no answer.
fn compose_version(output: &Output) -> Option<(String, (u32, u32))> {
    let version = String::from_utf8_lossy(&output.stdout).trim().trim_start_matches('v').to_string();
    let number = version_number(&version).filter(|_| output.status.success())?;
    Some((version, number))
}

/// The first two numbers of a version.
fn version_number(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map_while(|part| part.parse().ok());
    Some((numbers.next()?, numbers.next().unwrap_or(0)))
}

/// The project's lock, held: nobody else starts it or takes it down meanwhile.
fn take_lock(cx: &Context<'_>, project: &ProjectName) -> ProjectLock {
    let take = || {
        let mut lock = ProjectLock::open(&engine::lock_name(project))?;
        if !lock.try_take()? {
            cx.shell.status("Blocking", &waiting_for_others(project));
            lock.take()?;
        }
        let killed = format!("waiting for the end of what a killed run of {project} was doing");
        if lock.end_orphans(|| cx.shell.status("Blocking", &killed)) {
            // The engine may still be at work on what it was asked for last.
            thread::sleep(SETTLE);
        }
        io::Result::Ok(lock)
    };
    take().unwrap_or_else(|error| {
        cx.shell.warn(&format!("nothing keeps other commands away from {project} meanwhile: {error}"));
        ProjectLock::none()
    })
}

/// What exists of the project on the engine, provided that it is this checkout's. Warns of what this checkout runs besides: a start
/// under another name, which this one is not about.
///
/// # Errors
/// [`Code::NothingToRun`] if the containers belong to another checkout, [`Code::EngineUnavailable`] if the engine does
/// not answer.
fn own_containers(cx: &Context<'_>, workspace: &Workspace, project: &ProjectName) -> Result<Vec<Container>, Failure> {
    // One question for both.
    let all = engine::compose_containers(&cx.commander)?;
    for other in engine::running_projects_of(&all, &workspace.dev_dir()) {
        if other != project.as_str() {
            let command = format!("cargo stagecraft dev down --project-name {other}");
            cx.shell.warn(&format!("this checkout also runs {other}, which `{command}` takes down"));
        }
    }
    let containers: Vec<Container> = all.into_iter().filter(|it| it.project == project.as_str()).collect();
    require_own(&containers, workspace, project)?;
    Ok(containers)
}

/// That each of the project's containers is made from this checkout's compose file.
fn require_own(containers: &[Container], workspace: &Workspace, project: &ProjectName) -> Result<(), Failure> {
    let Some(container) = engine::made_elsewhere(containers, &workspace.dev_dir()) else {
        return Ok(());
    };
    let theirs = Path::new(&container.working_dir);
    let is_root =
        theirs.canonicalize().is_ok_and(|theirs| workspace.root().canonicalize().is_ok_and(|it| it == theirs));
    if is_root {
        let files = container.config_files.split(',').filter_map(|file| Path::new(file).file_name());
        let files: Vec<_> = files.map(|file| file.to_string_lossy()).collect();
        let files = files.join(", ");
        let error = anyhow!("project `{project}` is already started from this workspace's own {}", one_line(&files));
        let help = format!(
            "take that down with `docker compose -p {project} down`, or choose another name with `--project-name`"
        );
        return Err(Code::NothingToRun.because(error).help(help));
    }
    let checkout = match container.working_dir.as_str() {
        "" => "something that is no compose file".to_string(),
        _ => checkout_name(&theirs.canonicalize().unwrap_or(theirs.to_owned())),
    };
    let error = anyhow!("project `{project}` already has containers of another checkout: {checkout}");
    let help = "choose another name with `--project-name`, or take that stack down first";
    Err(Code::NothingToRun.because(error).help(help))
}
