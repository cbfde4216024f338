//! The lock that commands on one project share, and the check that the project belongs to this checkout.

use std::io;
use std::path::Path;
use std::thread;

use anyhow::anyhow;

use super::Context;
use crate::compose::{ProjectName, has_overlay};
use crate::engine::{self, Container};
use crate::exit::{Code, Failure};
use crate::reporter::{Logger, one_line};
use crate::session::{ProjectLock, SETTLE, waiting_for_others};
use crate::workspace::{Workspace, checkout_name};

/// The project's lock, held: no other command starts or tears down the project.
pub(super) fn take_lock(cx: &Context<'_>, project: &ProjectName) -> ProjectLock {
    let take = || {
        let mut lock = ProjectLock::open(&engine::lock_name(project))?;
        if !lock.try_take()? {
            cx.shell.status("Blocking", &waiting_for_others(project));
            lock.take()?;
        }
        io::Result::Ok(lock)
    };
    let lock = take().unwrap_or_else(|error| no_lock(cx, project, &error));
    end_orphans(cx, project, &lock);
    lock
}

/// The project's lock, held, if no other command has it and no run owns the project.
pub(super) fn try_lock(cx: &Context<'_>, project: &ProjectName) -> Option<ProjectLock> {
    let take = || {
        let mut lock = ProjectLock::open(&engine::lock_name(project))?;
        let is_free = lock.try_take()? && !lock.is_owned_by_another();
        io::Result::Ok(is_free.then_some(lock))
    };
    let lock = take().unwrap_or_else(|error| Some(no_lock(cx, project, &error)))?;
    end_orphans(cx, project, &lock);
    Some(lock)
}

/// Where files cannot be locked.
fn no_lock(cx: &Context<'_>, project: &ProjectName, error: &io::Error) -> ProjectLock {
    cx.shell.warn(&format!("cannot lock {project}, other commands may change it at the same time: {error}"));
    ProjectLock::none()
}

/// Ends what a run has left that was killed with its guard.
fn end_orphans(cx: &Context<'_>, project: &ProjectName, lock: &ProjectLock) {
    let killed = format!("waiting for a command of a killed run of {project} to finish");
    if lock.end_orphans(|| cx.shell.status("Blocking", &killed)) {
        // The engine may still be at work on what it was asked for last.
        thread::sleep(SETTLE);
    }
}

/// What exists of the project on the engine, provided that it is this checkout's. Warns of what this checkout runs besides: a start
/// under another name, which this one is not about.
///
/// # Errors
/// [`Code::NothingToRun`] if the containers belong to another checkout, [`Code::EngineUnavailable`] if the engine does
/// not answer.
pub(super) fn own_containers(
    cx: &Context<'_>,
    workspace: &Workspace,
    project: &ProjectName,
) -> Result<Vec<Container>, Failure> {
    // One question for both.
    let all = engine::compose_containers(&cx.commander)?;
    for other in engine::running_projects_of(&all, &workspace.dev_dir()) {
        // An isolated stack is meant to run beside it.
        let is_isolated = ProjectName::new(&other).is_ok_and(|other| has_overlay(workspace.root(), &other));
        if other != project.as_str() && !is_isolated {
            let command = format!("cargo stagecraft dev down --project-name {other}");
            cx.shell.warn(&format!("this checkout also runs {other}; stop it with `{command}`"));
        }
    }
    let containers: Vec<Container> = all.into_iter().filter(|it| it.project == project.as_str()).collect();
    require_own(&containers, workspace, project)?;
    Ok(containers)
}

/// That each of the project's containers is made from this checkout's compose file.
pub(super) fn require_own(
    containers: &[Container],
    workspace: &Workspace,
    project: &ProjectName,
) -> Result<(), Failure> {
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
