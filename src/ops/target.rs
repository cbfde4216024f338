//! Which project a command is about.

use anyhow::anyhow;

use super::model::resolve;
use super::{Context, Selection};
use crate::compose::{DownScope, NameChoice, ProjectName, Stack};
use crate::engine;
use crate::exit::{Code, Failure};
use crate::reporter::Logger;
use crate::settings::Settings;
use crate::workspace::Workspace;

/// The default project name: the name of the workspace directory, with symlinks resolved.
pub(super) fn default_name(workspace: &Workspace) -> Option<ProjectName> {
    let root = workspace.root().canonicalize().unwrap_or_else(|_| workspace.root().to_owned());
    ProjectName::normalized(root.file_name()?)
}

/// The settings of Cargo.toml for a verb that looks at a stack or takes it down, which goes on without those that make no sense.
pub(super) fn settings_if_sound(cx: &Context<'_>, workspace: &Workspace) -> Settings {
    Settings::of(workspace).unwrap_or_else(|error| {
        cx.shell.warn(&format!("{error}; continuing without settings"));
        Settings::default()
    })
}

/// Where the project's name comes from.
pub(super) fn name_choice<'a>(
    workspace: &Workspace,
    selection: &'a Selection,
    default: Option<&'a ProjectName>,
) -> Result<NameChoice<'a>, Failure> {
    match (&selection.project_name, default) {
        (Some(name), _) => Ok(NameChoice::Given(name)),
        (None, Some(name)) => Ok(NameChoice::Default(name)),
        (None, None) => {
            let error = anyhow!(
                "the name of the workspace directory, {}, contains no character of a project name",
                workspace.root().display()
            );
            Err(Code::NothingToRun.because(error).help("name the project with `--project-name`"))
        }
    }
}

/// The selected project, and how messages name it.
pub(super) struct Target {
    pub(super) project: ProjectName,
    pub(super) reach: DownScope,
    /// None where the file cannot be read.
    pub(super) stack: Option<Stack>,
}

/// The project that is meant, also where the compose file cannot tell its name any more.
///
/// # Errors
/// [`Code::NothingToRun`] if this checkout has nothing on the engine in that case; [`Code::EngineUnavailable`].
pub(super) fn target(cx: &Context<'_>, workspace: &Workspace, selection: &Selection) -> anyhow::Result<Target> {
    match resolve(cx, workspace, selection) {
        Ok(stack) => Ok(Target { project: stack.project.clone(), reach: DownScope::File, stack: Some(stack) }),
        Err(error) => match project_without_file(cx, workspace, selection, &error)? {
            Some(project) => {
                cx.shell.warn(&format!("{error:#}; using the project name `{project}`"));
                Ok(Target { project, reach: DownScope::ByName, stack: None })
            }
            None => Err(error),
        },
    }
}

/// The project of this checkout that is on the engine although the compose file cannot tell its name: a file that was
/// broken, moved or deleted must not keep a stack alive.
pub(super) fn project_without_file(
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
