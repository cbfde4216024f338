//! `dev status`: how the workspace's dev stack is.

use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::{Context, Selection, own_containers, resolve, settings_if_sound};
use crate::compose::{Stack, Traefik};
use crate::diagnosis::Finding;
use crate::engine::{self, Endpoint};
use crate::exit::Code;
use crate::message::Message;
use crate::process::Logger;
use crate::readiness::{Standing, role, standing};
use crate::report;
use crate::sorted;
use crate::workspace::{BrokenMember, Workspace};

/// How long a container that has been restarted has to run before it counts as running: the engine itself takes as long to
/// believe it (<https://docs.docker.com/engine/containers/start-containers-automatically/>).
const STEADY: Duration = Duration::from_secs(10);

/// What `dev status` is asked.
#[derive(Clone, Debug)]
pub struct StatusOptions {
    /// Which stack.
    pub selection: Selection,
    /// Whether the service `traefik` is part of it; without it Cargo.toml says.
    pub traefik: Option<Traefik>,
}

/// Prints how each service is, and returns success if all of them are what they should be, [`Code::Failed`] if not.
///
/// # Errors
/// [`Code::NothingToRun`] if nothing has been started, or there is no stack; [`Code::EngineUnavailable`].
pub fn status(options: &StatusOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    let workspace =
        Workspace::discover(cx.executor.as_ref(), cx.cwd, &options.selection.manifest, BrokenMember::Tolerate)?;
    cx.shell.detail("Workspace", &workspace.root().display().to_string());
    let mut stack = resolve(cx, &workspace, &options.selection)?;
    cx.shell.detail("Project", stack.project.as_str());
    stack.leave_out(options.traefik.unwrap_or_else(|| settings_if_sound(cx, &workspace).traefik()));
    let findings = findings(cx, &workspace, &stack)?;
    let endpoint = Endpoint::current(cx.executor.as_ref());
    let project = stack.project.as_str();
    for finding in &findings {
        let service = report::service(&stack, &endpoint, finding);
        cx.shell.print_message(&Message::ServiceStatus { project, service }).context("cannot write to stdout")?;
    }
    cx.shell.print_table(&report::status(&stack, &endpoint, &findings)).context("cannot write to stdout")?;
    let ready = findings.iter().all(|finding| finding.standing == Standing::Ready);
    Ok(if ready { Code::Success } else { Code::Failed })
}

/// Every container of the stack, and every service that has too few, by name.
///
/// # Errors
/// [`Code::NothingToRun`] if there is none at all, or they are another checkout's; [`Code::EngineUnavailable`].
pub(super) fn findings(cx: &Context<'_>, workspace: &Workspace, stack: &Stack) -> anyhow::Result<Vec<Finding>> {
    // Whose they are is asked first: another checkout's stack is none of ours.
    let there = own_containers(cx, workspace, &stack.project)?;
    let there = sorted::collect(there.into_iter().map(|container| container.id));
    let containers = engine::inspect(cx.executor.as_ref(), &stack.project, &there)?;
    if containers.is_empty() {
        let error = anyhow!("nothing of {} has been started", stack.project);
        return Err(Code::NothingToRun.because(error).help("start it with `cargo stagecraft dev`").into());
    }
    let mut findings: Vec<Finding> = Vec::new();
    for (name, service) in &stack.services {
        let of_service = containers.iter().filter(|container| container.service == *name);
        let before = findings.len();
        findings.extend(of_service.cloned().map(|container| {
            // One that the engine restarts again and again happens to run now and then.
            let is_steady = container.restarts == 0 || report::uptime(&container).is_none_or(|time| time >= STEADY);
            let standing = standing(&container, role(stack, name), is_steady);
            Finding::of(container, standing)
        }));
        let there = findings.len() - before;
        if there < usize::try_from(service.replicas()).unwrap_or(usize::MAX) {
            findings.push(Finding::missing(name, None));
        }
    }
    Ok(findings)
}
