//! `dev down`: tears the workspace's stack down, whichever command started it.

use anyhow::Context as _;

use super::ownership::{own_containers, take_lock};
use super::target::{Target, settings_if_sound, target};
use super::{Context, Selection};
use crate::compose::{Images, Volumes};
use crate::engine;
use crate::exit::{Code, Failure};
use crate::reporter::Logger;
use crate::session::{Runner, Teardown};
use crate::workspace::{BrokenMember, COMPOSE_FILE, Workspace};

/// What `dev down` is asked to do.
#[derive(Clone, Debug)]
pub struct DownOptions {
    /// Which stack.
    pub selection: Selection,
    /// Whether the named volumes go too.
    pub volumes: Volumes,
    /// Whether the images that were built go too.
    pub images: Images,
    /// Grace for containers in seconds; without it Cargo.toml's, then each service's own counts.
    pub timeout: Option<u32>,
    /// Print the command instead of running it.
    pub dry_run: bool,
}

/// Takes the stack down and looks whether it is gone.
///
/// # Errors
/// Before anything is touched: [`Code::NothingToRun`], [`Code::EngineUnavailable`].
pub(crate) fn down(options: &DownOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    let workspace = Workspace::discover(&cx.commander, cx.cwd, &options.selection.manifest, BrokenMember::Tolerate)?;
    cx.shell.detail("Workspace", &workspace.root().display().to_string());
    let timeout = options.timeout.or(settings_if_sound(cx, &workspace).timeout);
    let Target { project, reach, .. } = match target(cx, &workspace, &options.selection) {
        Err(_) if is_not_generated(cx, &workspace)? => {
            cx.shell.note(&format!("nothing has been started: {COMPOSE_FILE} has not been generated yet"));
            return Ok(Code::Success);
        }
        target => target?,
    };
    cx.shell.detail("Project", project.as_str());
    let compose = cx.compose(&workspace, project)?;
    // Nothing of an isolated stack is for a later one.
    let volumes = if compose.is_isolated() { Volumes::Remove } else { options.volumes };
    if options.dry_run {
        let down = compose.down(reach, timeout, volumes, options.images);
        cx.shell.print_command(&down.line()).context("cannot write to stdout")?;
        return Ok(Code::Success);
    }
    let lock = take_lock(cx, compose.project());
    let before = own_containers(cx, &workspace, compose.project())?;
    let (images, verbosity) = (options.images, cx.shell.verbosity());
    let teardown = Teardown { timeout, interrupt_timeout: None, volumes, images, verbosity };
    let runner = Runner::new(cx.commander.clone(), cx.shell, cx.hook, cx.arm);
    Ok(runner.take_down(&compose, reach, teardown, before, lock)?.code())
}

/// Whether the compose file that the manifests describe is still to be written, and nothing runs that was made from an earlier one.
fn is_not_generated(cx: &Context<'_>, workspace: &Workspace) -> Result<bool, Failure> {
    let is_missing = workspace.describes_a_stack() && !workspace.root().join(COMPOSE_FILE).exists();
    Ok(is_missing && engine::projects_of(&cx.commander, &workspace.dev_dir())?.is_empty())
}
