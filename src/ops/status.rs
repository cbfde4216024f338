//! `dev status`: shows the state of each service.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::thread;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;

use super::model::resolve;
use super::ownership::own_containers;
use super::target::settings_if_sound;
use super::{Context, Selection};
use crate::compose::{Stack, TRAEFIK};
use crate::engine::{self, Endpoint, Inspected};
use crate::exit::Code;
use crate::reporter::Logger;
use crate::reporter::message::Message;
use crate::settings::Settings;
use crate::stack::diagnosis::{Crashes, Finding};
use crate::stack::listening::{Deaf, deaf_ports_seen};
use crate::stack::readiness::{History, Ports, Role, Standing, role, standing};
use crate::stack::report;
use crate::workspace::{BrokenMember, Workspace};

/// What `dev status` is asked.
#[derive(Clone, Debug)]
pub struct StatusOptions {
    /// Which stack.
    pub selection: Selection,
    /// What the command line and the variables set; Cargo.toml has the rest.
    pub settings: Settings,
}

/// Prints how each service is, and returns success if all of them are what they should be, [`Code::Failed`] if not.
///
/// # Errors
/// [`Code::NothingToRun`] if nothing has been started, or there is no stack; [`Code::EngineUnavailable`].
pub(crate) fn status(options: &StatusOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    let workspace = Workspace::discover(&cx.commander, cx.cwd, &options.selection.manifest, BrokenMember::Tolerate)?;
    cx.shell.detail("Workspace", &workspace.root().display().to_string());
    let mut stack = resolve(cx, &workspace, &options.selection)?;
    cx.shell.detail("Project", stack.project.as_str());
    let containers = containers(cx, &workspace, &stack)?;
    let settings = options.settings.or(settings_if_sound(cx, &workspace));
    if !containers.iter().any(|container| container.service == TRAEFIK) {
        stack.leave_out(settings.traefik());
    }
    let Standings { findings, endpoint, now } = standings(cx, &stack, containers, settings.ports())?;
    let project = stack.project.as_str();
    for finding in &findings {
        let service = report::service(&stack, &endpoint, finding);
        cx.shell.print_message(&Message::ServiceStatus { project, service }).context("cannot write to stdout")?;
    }
    cx.shell.print_table(&report::status(&stack, &endpoint, &findings, now)).context("cannot write to stdout")?;
    let ready = findings.iter().all(|finding| finding.standing == Standing::Ready);
    Ok(if ready { Code::Success } else { Code::Failed })
}

/// How the services are at one moment.
pub(super) struct Standings {
    pub(super) findings: Vec<Finding>,
    endpoint: Endpoint,
    now: Timestamp,
}

/// How the services are that have these containers.
///
/// # Errors
/// [`Code::EngineUnavailable`].
pub(super) fn standings(
    cx: &Context<'_>,
    stack: &Stack,
    containers: Vec<Inspected>,
    ports: Ports,
) -> anyhow::Result<Standings> {
    let executor = &cx.commander;
    // Neither question waits for the other's answer.
    let (endpoint, now) = thread::scope(|scope| {
        let now = scope.spawn(|| engine::now(executor));
        (Endpoint::current(executor), now.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let now = now?;
    let deaf = |container: &Inspected| deaf_ports_seen(container).filter(|_| endpoint.is_local()).unwrap_or_default();
    Ok(Standings { findings: findings(stack, containers, now, ports, &deaf), endpoint, now })
}

/// Every container of the project, by service, also those of services that the file does not have.
///
/// # Errors
/// [`Code::NothingToRun`] if there is none at all, or they are another checkout's; [`Code::EngineUnavailable`].
pub(super) fn containers(cx: &Context<'_>, workspace: &Workspace, stack: &Stack) -> anyhow::Result<Vec<Inspected>> {
    // Whose they are is asked first: another checkout's stack is none of ours.
    let there = own_containers(cx, workspace, &stack.project)?;
    let there = there.into_iter().map(|container| container.id).collect();
    let containers = engine::inspect(&cx.commander, &stack.project, &there)?;
    if containers.is_empty() {
        let error = anyhow!("{} has not been started", stack.project);
        return Err(Code::NothingToRun.because(error).help("start it with `cargo stagecraft dev`").into());
    }
    Ok(containers)
}

/// The rows for these containers, and for services with too few of them, sorted by name.
///
/// `deaf_ports`: the published ports of a container on which no program listens.
///
/// A service without any container counts only if one that has some depends on it: others may not have been asked for.
fn findings(
    stack: &Stack,
    containers: Vec<Inspected>,
    now: Timestamp,
    ports: Ports,
    deaf_ports: &dyn Fn(&Inspected) -> Vec<Deaf>,
) -> Vec<Finding> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for container in &containers {
        *counts.entry(container.service.clone()).or_default() += 1;
    }
    let mut findings = Vec::new();
    for container in containers {
        let history = History::of(&container, now);
        let role = role(stack, &container.service, ports);
        let standing = standing(&container, role, history);
        let asks_for_ports = role == Role::Server && standing == Standing::Ready && container.health.is_none();
        let deaf = if asks_for_ports { deaf_ports(&container) } else { Vec::new() };
        let standing = if deaf.is_empty() { standing } else { Standing::Pending };
        let cause = deaf.first().map(Deaf::cause);
        findings.push(Finding { crashes: Crashes::of(history), cause, ..Finding::of(container, standing) });
    }
    for service in stack.with_dependencies(counts.keys().map(String::as_str)) {
        if counts.get(service).copied().unwrap_or_default() < stack.services[service].replicas() {
            findings.push(Finding::missing(service, None));
        }
    }
    findings.sort_by(|a, b| a.service.cmp(&b.service));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(service: &str, state: &str) -> Inspected {
        let [service, state] = [service, state].map(str::to_string);
        Inspected { service, state, started_at: Some(Timestamp::UNIX_EPOCH), ..Inspected::default() }
    }

    #[test]
    fn status_judges_started_services_dependencies_and_unknown_ones() {
        let json = br#"{"name": "x", "services": {
            "web": {"depends_on": {"db": {"condition": "service_started"}}}, "db": {}, "redis": {"scale": 2}, "mail": {}}}"#;
        let stack = Stack::parse(json).unwrap();
        let containers = ["web", "redis"].map(|service| container(service, "running")).into_iter();
        let containers = containers.chain([container("old", "exited")]).collect();
        let found = findings(&stack, containers, Timestamp::from_second(60).unwrap(), Ports::Awaited, &|_| Vec::new());
        let found: Vec<_> = found.iter().map(|it| (it.service.as_str(), it.standing, it.container.is_some())).collect();
        let expected = [
            ("db", Standing::Pending, false),
            ("old", Standing::Ready, true),
            ("redis", Standing::Ready, true),
            ("redis", Standing::Pending, false),
            ("web", Standing::Ready, true),
        ];
        assert_eq!(found, expected);
    }
}
