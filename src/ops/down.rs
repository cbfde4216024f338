//! `dev down`: tears the workspace's stack down, whichever command started it.

use anyhow::Context as _;

use super::ownership::{own_containers, take_lock};
use super::target::{Target, settings_if_sound, target};
use super::{Context, Selection};
use crate::compose::{Images, Volumes};
use crate::exit::Code;
use crate::reporter::Logger;
use crate::session::{Runner, Teardown};
use crate::workspace::{BrokenMember, Workspace};

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
    let Target { project, reach, .. } = target(cx, &workspace, &options.selection)?;
    cx.shell.detail("Project", project.as_str());
    let compose = cx.compose(&workspace, project)?;
    if options.dry_run {
        let down = compose.down(reach, timeout, options.volumes, options.images);
        cx.shell.print_command(&down.line()).context("cannot write to stdout")?;
        return Ok(Code::Success);
    }
    let lock = take_lock(cx, compose.project());
    let before = own_containers(cx, &workspace, compose.project())?;
    let (volumes, images) = (options.volumes, options.images);
    let teardown = Teardown { timeout, interrupt_timeout: None, volumes, images, verbosity: cx.shell.verbosity() };
    let runner = Runner::new(cx.commander.clone(), cx.shell, cx.hook, cx.arm);
    Ok(runner.take_down(&compose, reach, teardown, before, lock)?.code())
}
