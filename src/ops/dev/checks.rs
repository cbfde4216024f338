//! What is checked before a start: mounts, volumes and ports.

use std::ffi::OsString;

use anyhow::anyhow;

use crate::compose::Stack;
use crate::devfile::Topology;
use crate::engine::{self, Container, Endpoint};
use crate::exit::Code;
use crate::ops::Context;
use crate::reporter::Logger;
use crate::reporter::event::{Event, PortConflict};
use crate::stack::expected::Expected;
use crate::stack::ports::{self, NotReplaced, Taken};
use crate::workspace::{COMPOSE_FILE, DEV_DIR, Workspace};

/// Warns of mounts from below the dev dir that the engine would make an empty folder for, where the same path exists from the
/// workspace root: the file was copied from there, and its paths mean something else now.
pub(super) fn warn_of_moved_mounts(cx: &Context<'_>, workspace: &Workspace, stack: &Stack) {
    for (name, service) in &stack.services {
        for source in service.bind_sources() {
            let Ok(path) = source.strip_prefix(workspace.dev_dir()) else { continue };
            if !source.exists() && workspace.root().join(path).exists() {
                let (path, up) = (path.display(), "../..");
                cx.shell.warn(&format!(
                    "{name} mounts {DEV_DIR}/{path}, which does not exist; {path} of the workspace does"
                ));
                cx.shell.help(&format!("paths in {COMPOSE_FILE} are relative to {DEV_DIR}: use {up}/{path}"));
            }
        }
    }
}

/// Warns of volumes that exist with another configuration than the file's: Compose 2.26 uses them as they are, and newer ones ask a
/// question that nobody can answer here, to the same end.
pub(super) fn warn_of_changed_volumes(cx: &Context<'_>, stack: &Stack, args: &[OsString]) {
    let is_answered = args.iter().any(|arg| arg == "--yes" || arg == "-y");
    if stack.volumes.is_empty() || is_answered {
        return;
    }
    // The start itself fails where the engine does not answer.
    let there = engine::volume_configs(&cx.commander, &stack.project).unwrap_or_default();
    for (name, config) in &there {
        if stack.volumes.get(name).is_some_and(|wanted| wanted != config) {
            cx.shell.warn(&format!(
                "volume {name} was created with another configuration than in the file; it is used as it is"
            ));
            cx.shell.help(
                "to apply the file's, which deletes the data of the volume: `cargo stagecraft dev down --volumes` and start \
                 again, or, with a Compose that has the option, `cargo stagecraft dev -- --yes`",
            );
        }
    }
}

/// That the ports which the stack publishes are free. The engine would find out one at a time, with half of the stack running.
pub(super) fn require_ports(
    cx: &Context<'_>,
    stack: &Stack,
    expected: &Expected,
    before: &[Container],
    removes_orphans: bool,
    topology: Option<&Topology>,
) -> anyhow::Result<()> {
    let publishes =
        |(name, _): (&str, u32)| stack.services.get(name).is_some_and(|service| !service.ports().is_empty());
    if !expected.is_certain() || !expected.services().any(publishes) {
        return Ok(());
    }
    if !Endpoint::current(&cx.commander).is_local() {
        cx.shell.detail("Skipping", "the port check: the ports are on another machine");
        return Ok(());
    }
    let is_kept = |container: &Container| match (stack.has(&container.service), container.is_one_off) {
        (_, true) => Some(NotReplaced::OneOff),
        (true, false) => (!expected.has(&container.service)).then_some(NotReplaced::NotStarted),
        // Compose removes it first, if it finds that the file has it nowhere.
        (false, false) => (!removes_orphans).then_some(NotReplaced::Unknown),
    };
    let taken = ports::taken(&cx.commander, stack, expected.services(), before, &is_kept)?;
    if taken.is_empty() {
        return Ok(());
    }
    let project = stack.project.as_str();
    let conflict = |it: &'_ Taken| PortConflict {
        service: it.service.clone(),
        port: it.port.clone(),
        holder: it.holder.to_string(),
    };
    cx.shell.event(&Event::PortsTaken { project, conflicts: taken.iter().map(conflict).collect() });
    let lines: String = taken.iter().map(|taken| format!("\n  {taken}")).collect();
    let error = anyhow!("cannot start {project}: these ports are already in use:{lines}");
    let ours: Vec<&str> = taken.iter().filter_map(|taken| taken.holder.own()).collect();
    let help = match ours.as_slice() {
        [] => {
            let origin = |taken: &Taken| topology?.origin(&taken.service, Some("ports"));
            let mut origins: Vec<String> = taken.iter().filter_map(origin).collect();
            origins.dedup();
            match origins.as_slice() {
                [] => format!("free them, or publish others in {COMPOSE_FILE}"),
                origins => format!("free them, or publish others with {}", origins.join(", ")),
            }
        }
        names => format!("remove what this stack does not need with `docker rm --force {}`", names.join(" ")),
    };
    Err(Code::Failed.because(error).help(help).into())
}
