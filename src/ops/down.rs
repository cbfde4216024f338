//! `dev down`: takes the workspace's dev stack down, whoever started it.

use anyhow::{Context as _, anyhow};

use super::{Context, Selection, own_containers, resolve, take_lock};
use crate::compose::{Compose, ProjectName, Reach, Volumes};
use crate::engine;
use crate::exit::{Code, Failure};
use crate::process::{Logger, Runner, Teardown};
use crate::workspace::{BrokenMember, Workspace};

/// What `dev down` is asked to do.
#[derive(Clone, Debug)]
pub struct DownOptions {
    /// Which stack.
    pub selection: Selection,
    /// Whether the volumes go too.
    pub volumes: Volumes,
    /// Grace for containers in seconds; without it each service's own counts.
    pub timeout: Option<u32>,
    /// Print the command instead of running it.
    pub dry_run: bool,
}

/// Takes the stack down and looks whether it is gone.
///
/// # Errors
/// Before anything is touched: [`Code::NothingToRun`], [`Code::EngineUnavailable`].
pub fn down(options: &DownOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    let manifest_path = options.selection.manifest_path.as_deref();
    let workspace = Workspace::discover(cx.executor.as_ref(), cx.cwd, manifest_path, BrokenMember::Tolerate)?;
    cx.shell.detail("Workspace", &workspace.root().display().to_string());
    let (project, reach) = match resolve(cx, &workspace, &options.selection) {
        Ok(stack) => (stack.project, Reach::File),
        Err(error) => match project_without_file(cx, &workspace, &options.selection, &error)? {
            Some(project) => {
                cx.shell.warn(&format!("{error:#}; `{project}` is taken down by its name"));
                (project, Reach::ByName)
            }
            None => return Err(error),
        },
    };
    cx.shell.detail("Project", project.as_str());
    let compose = Compose::new(&workspace, project)?;
    if options.dry_run {
        cx.shell
            .print(&compose.down(reach, options.timeout, options.volumes).line())
            .context("cannot write to stdout")?;
        return Ok(Code::Success);
    }
    let lock = take_lock(cx, compose.project());
    own_containers(cx, &workspace, compose.project())?;
    let teardown = Teardown {
        timeout: options.timeout,
        interrupt_timeout: None,
        volumes: options.volumes,
        verbosity: cx.shell.verbosity(),
    };
    let runner = Runner::new(cx.executor.clone(), cx.shell, cx.hook, cx.arm);
    Ok(runner.take_down(&compose, reach, teardown, lock)?.code())
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
    let mut projects = engine::projects_of(cx.executor.as_ref(), &workspace.dev_dir())?;
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
