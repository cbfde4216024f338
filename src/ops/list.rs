//! `dev list`: lists the stacks on this engine that were started from a dev dir, and whether their workspaces still exist.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::Context;
use super::ownership::take_lock;
use crate::command::Executor;
use crate::compose::{DownScope, Images, ProjectName, Volumes};
use crate::engine::{self, Container};
use crate::exit::{Code, Failure};
use crate::reporter::Logger;
use crate::reporter::message::Message;
use crate::session::{ProjectLock, Runner, Teardown};
use crate::workspace::{DEV_DIR, Workspace, checkout_name, checkout_of};

/// What `dev list` is asked for.
#[derive(Clone, Debug)]
pub struct ListOptions {
    /// Whether the stacks whose workspace is gone are taken down.
    pub prune: bool,
    /// Grace for their containers in seconds; without it each service's own counts.
    pub timeout: Option<u32>,
    /// Print the commands of that instead of running them.
    pub dry_run: bool,
}

/// A stack that was started from a dev dir.
pub(super) struct Listed {
    pub(super) project: String,
    dev_dir: PathBuf,
    containers: Vec<Container>,
}

/// Prints the stacks; with `prune` takes down those whose workspace is gone.
///
/// # Errors
/// [`Code::EngineUnavailable`]; [`Code::NothingToRun`] if stacks are to be pruned on an engine of another machine.
pub(crate) fn list(options: &ListOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    let stacks = stacks(engine::compose_containers(&cx.commander)?);
    // Whether a folder is gone can be seen on the machine alone where it was.
    let is_here = stacks.is_empty() || engine::is_on_this_host(&cx.commander)?;
    if options.prune {
        if !is_here {
            let error = anyhow!("cannot check which workspaces are deleted: the engine is on another host");
            return Err(Code::NothingToRun.because(error).help("run it on the machine that has the workspaces").into());
        }
        return prune(options, &stacks, cx);
    }
    let mut rows = vec![["PROJECT", "CONTAINERS", "WORKSPACE"].map(str::to_string).to_vec()];
    for stack in &stacks {
        let gone = is_here.then(|| stack.is_gone());
        let (running, containers) = stack.count();
        let workspace = checkout_of(&stack.dev_dir).display().to_string();
        let message = Message::StackListed {
            project: &stack.project,
            workspace: &workspace,
            workspace_gone: gone,
            running,
            containers,
        };
        cx.shell.print_message(&message).context("cannot write to stdout")?;
        let mark = if gone == Some(true) { " (gone)" } else { "" };
        rows.push(vec![
            stack.project.clone(),
            format!("{running} of {containers} running"),
            format!("{workspace}{mark}"),
        ]);
    }
    match stacks.is_empty() {
        true => cx.shell.note("there is no stack of cargo-stagecraft on this engine"),
        false => cx.shell.print_table(&rows).context("cannot write to stdout")?,
    }
    if is_here && stacks.iter().any(Listed::is_gone) {
        cx.shell.note("remove the stacks of deleted workspaces with `cargo stagecraft dev list --prune`");
    }
    Ok(Code::Success)
}

/// Those that these containers of Compose projects make, by project and dev dir.
pub(super) fn stacks(containers: Vec<Container>) -> Vec<Listed> {
    let mut stacks: BTreeMap<(String, PathBuf), Vec<Container>> = BTreeMap::new();
    for container in containers {
        let dev_dir = PathBuf::from(&container.working_dir);
        if dev_dir.ends_with(DEV_DIR) {
            stacks.entry((container.project.clone(), dev_dir)).or_default().push(container);
        }
    }
    let listed = stacks.into_iter();
    listed.map(|((project, dev_dir), containers)| Listed { project, dev_dir, containers }).collect()
}

impl Listed {
    /// Whether its dev dir is not there any more.
    fn is_gone(&self) -> bool {
        is_gone(&self.dev_dir)
    }

    /// How many containers run, and how many there are.
    fn count(&self) -> (usize, usize) {
        (self.containers.iter().filter(|container| container.is_up()).count(), self.containers.len())
    }
}

/// The projects all of whose stacks have lost their workspace. One with containers of a workspace that is still there is that
/// one's.
pub(super) fn without_workspace(stacks: &[Listed]) -> Vec<&str> {
    let mut gone: Vec<&str> = stacks.iter().filter(|stack| stack.is_gone()).map(|stack| &*stack.project).collect();
    gone.retain(|project| stacks.iter().all(|stack| stack.project != *project || stack.is_gone()));
    gone.dedup();
    gone
}

fn prune(options: &ListOptions, stacks: &[Listed], cx: &Context<'_>) -> anyhow::Result<Code> {
    let mut gone: Vec<&Listed> = stacks.iter().filter(|stack| stack.is_gone()).collect();
    gone.dedup_by(|a, b| a.project == b.project);
    if gone.is_empty() {
        cx.shell.note("no stack on this engine belongs to a deleted workspace");
    }
    let runner = Runner::new(cx.commander.clone(), cx.shell, cx.hook, cx.arm);
    let mut worst = Code::Success;
    for stack in gone {
        // A name that Compose would not accept is none of its projects.
        let Ok(project) = ProjectName::new(&stack.project) else { continue };
        let compose = cx.compose(&Workspace::at(checkout_of(&stack.dev_dir)), project)?;
        let lock = if options.dry_run { ProjectLock::none() } else { take_lock(cx, compose.project()) };
        // Asked anew: while the lock was waited for, a workspace may have come back, or a stack of the same name been started.
        let containers = engine::containers(&cx.commander, compose.project())?;
        let in_the_way = in_the_way(&cx.commander, &containers)?;
        if !in_the_way.is_empty() {
            let lines: String = in_the_way.iter().map(|line| format!("\n  {line}")).collect();
            cx.shell.error(&format!(
                "{} is left alone, because not all of it belongs to a deleted workspace:{lines}",
                stack.project
            ));
            cx.shell.help("remove the containers that you do not need with `docker rm --force`");
            worst = worse(worst, Code::TeardownIncomplete);
            continue;
        }
        if options.dry_run {
            let down = compose.down(DownScope::ByName, options.timeout, Volumes::Keep, Images::Keep);
            cx.shell.print_command(&down.line()).context("cannot write to stdout")?;
            continue;
        }
        let teardown = Teardown { timeout: options.timeout, verbosity: cx.shell.verbosity(), ..Teardown::default() };
        let code = runner.take_down(&compose, DownScope::ByName, teardown, containers, lock)?.code();
        worst = worse(worst, code);
        if matches!(code, Code::Interrupted(_)) {
            break;
        }
    }
    Ok(worst)
}

fn worse(one: Code, other: Code) -> Code {
    if other.number() > one.number() { other } else { one }
}

/// The containers of a project that are not from a dev dir that is gone, each with what is known of it: a line for each.
///
/// # Errors
/// [`Code::EngineUnavailable`] if the engine does not answer.
fn in_the_way(executor: &dyn Executor, containers: &[Container]) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    for Container { id, name, working_dir, config_files, .. } in containers {
        let dev_dir = Path::new(working_dir);
        if working_dir.is_empty() {
            lines.push(format!("{name} does not say where it was started from"));
        } else if !dev_dir.ends_with(DEV_DIR) || !is_gone(dev_dir) {
            lines.push(format!("{name} was started from {}, which is there", checkout_name(dev_dir)));
        } else if !Path::new(config_files).starts_with(dev_dir) {
            lines.push(format!("{name} was not made from the compose file of a dev dir"));
        } else if engine::has_the_labels_of_its_image(executor, id)? {
            lines.push(format!(
                "{name} has the label from its image, which says nothing about where it was started from"
            ));
        }
    }
    Ok(lines)
}

/// Whether a dev dir is not there any more. One that we may not look at is.
fn is_gone(dev_dir: &Path) -> bool {
    fs::symlink_metadata(dev_dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}
