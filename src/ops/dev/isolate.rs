//! Gives a start an isolated stack of its own, beside the workspace's.

use std::path::Path;

use anyhow::{Context as _, anyhow};

use super::pinned::PinnedPorts;
use super::{Described, DevOptions, with_named_services};
use crate::compose::{Overlay, ProjectName, ResourceKind, Stack, Volumes, forget_overlay, has_overlay};
use crate::engine::{self, Container, Endpoint};
use crate::exit::Code;
use crate::ops::model::resolve;
use crate::ops::ownership::try_lock;
use crate::ops::{Context, Selection};
use crate::reporter::Logger as _;
use crate::session::ProjectLock;
use crate::stack::expected::Expected;
use crate::workspace::Workspace;

/// More than one machine can run.
const MOST: u32 = 1000;

/// The name and the ports of an isolated stack, which no other start has.
pub(super) struct Slot {
    pub(super) project: ProjectName,
    /// The project's lock, held, until the start takes it.
    pub(super) lock: Option<ProjectLock>,
    ports: PinnedPorts,
}

impl Slot {
    /// The lowest one beside this project that is free.
    ///
    /// # Errors
    /// [`Code::NothingToRun`] if there is none; [`Code::EngineUnavailable`].
    pub(super) fn take(cx: &Context<'_>, workspace: &Workspace, project: &ProjectName) -> anyhow::Result<Slot> {
        let is_local = Endpoint::current(&cx.commander).is_local();
        for number in 1..MOST {
            let project = slot_name(project, number)?;
            let Some(lock) = try_lock(cx, &project) else { continue };
            // Volumes, too: they may have data of another workspace.
            let there = engine::remains(&cx.commander, &project, Volumes::Remove)?;
            if there.is_empty() {
                let ports = PinnedPorts::new(project.clone(), is_local);
                return Ok(Slot { project, lock: Some(lock), ports });
            }
            let is_abandoned = !there.containers.iter().any(Container::is_up);
            if is_abandoned && has_overlay(workspace.root(), &project) {
                let command = format!("cargo stagecraft dev down --project-name {project}");
                cx.shell.warn(&format!("{project} is left of an earlier run; remove it with `{command}`"));
            }
        }
        let error = anyhow!("every name from {project}-1 to {project}-{} is in use", MOST - 1);
        Err(Code::NothingToRun.because(error).help("`cargo stagecraft dev list` shows what runs").into())
    }
}

/// Removes the file of an isolated stack that has not been started, unless another start has the name by now.
pub(super) fn give_back(cx: &Context<'_>, root: &Path, project: &ProjectName) {
    if !has_overlay(root, project) {
        return;
    }
    let Some(_lock) = try_lock(cx, project) else { return };
    if engine::remains(&cx.commander, project, Volumes::Keep).is_ok_and(|there| there.is_empty()) {
        forget_overlay(root, project);
    }
}

pub(super) fn slot_name(project: &ProjectName, number: u32) -> anyhow::Result<ProjectName> {
    ProjectName::new(&format!("{project}-{number}")).map_err(|rule| anyhow!("`{project}-{number}`: {rule}"))
}

impl Described {
    /// The isolated stack of this name, beside this one.
    ///
    /// # Errors
    /// [`Code::NothingToRun`] if its file cannot be written or is not valid; [`Code::EngineUnavailable`].
    pub(super) fn isolate(self, options: &DevOptions, cx: &Context<'_>, slot: &mut Slot) -> anyhow::Result<Described> {
        let Described { workspace, whole_stack, traefik, .. } = &self;
        let overlay = Overlay::new(whole_stack, &slot.project, &mut |service, port, replicas| {
            slot.ports.choose(service, port, replicas)
        });
        let failure = |error| Code::NothingToRun.because(error);
        overlay.write(workspace.root()).context("cannot write the file of the isolated stack").map_err(failure)?;
        let selection = Selection { project_name: Some(slot.project.clone()), ..options.selection.clone() };
        let options = DevOptions { selection, ..options.clone() };
        let resolved = resolve(cx, workspace, &options.selection)?;
        let mut isolated = with_named_services(&options, cx, workspace, resolved)?;
        isolated.isolated_from = Some(whole_stack.project.clone());
        let mut stack = isolated.clone();
        stack.leave_out(*traefik);
        Ok(Described { whole_stack: isolated, stack, ..self })
    }
}

/// Warns of what the isolated stack has in common with others all the same.
pub(super) fn warn_of_what_is_shared(cx: &Context<'_>, stack: &Stack, expected: &Expected) {
    let is_started = |name: &str| !expected.is_certain() || expected.has(name);
    let mut shared = Vec::new();
    for resource in stack.resources.iter().filter(|it| it.is_external) {
        let kind = match resource.kind {
            ResourceKind::Volume => "volume",
            ResourceKind::Network => "network",
        };
        shared.push(format!("the external {kind} {}", resource.name));
    }
    for (name, service) in stack.services.iter().filter(|(name, _)| is_started(name)) {
        if service.has_host_network() {
            shared.push(format!("the network of the host ({name})"));
        }
        for source in service.writable_bind_sources() {
            shared.push(format!("{} (written by {name})", source.display()));
        }
    }
    if !shared.is_empty() {
        cx.shell.warn(&format!("{} is not isolated in everything; it shares {}", stack.project, shared.join(", ")));
    }
}
