//! Asks the engine why containers are not ready, and why services have none.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;

use super::verdict::{Question, UpEnd, Verdict};
use crate::command::Executor;
use crate::engine::{self, Container, Endpoint};
use crate::stack::diagnosis::{Cause, Finding, NameConflict, cause_in_log, cause_of};
use crate::stack::ports;
use crate::stack::readiness::Standing;
use crate::workspace::checkout_name;

/// How many lines of the log of a container that failed are shown.
pub(crate) const LAST_WORDS: u32 = 50;

/// How much of a container's id docker shows.
const SHORT_ID: usize = 12;

impl Question {
    /// Finds out why. Asked now, since the containers may be removed in a moment, and their logs with them.
    pub(crate) fn look_into(&self, executor: &dyn Executor, verdict: &mut Verdict) {
        if self.up == UpEnd::Badly {
            self.look_for_the_missing(executor, verdict);
            verdict.cause = self.cause_of_up(executor, &verdict.findings);
        }
        let project = &self.stack.project;
        let failed: BTreeSet<String> = verdict.failed().map(|finding| finding.service.clone()).collect();
        thread::scope(|scope| {
            for finding in &mut verdict.findings {
                let Some(container) = finding.container.clone() else { continue };
                if finding.standing == Standing::Ready {
                    continue;
                }
                let failed = &failed;
                scope.spawn(move || {
                    let has_run = container.state != "created";
                    if has_run {
                        finding.last_words = engine::last_words(executor, &container.name, LAST_WORDS);
                    }
                    let cause = match container.error.as_str() {
                        "" if has_run => cause_in_log(&finding.last_words),
                        "" => self.waits_for(&container.service, failed).map(Cause::Words),
                        error => Some(cause_of(error)),
                    };
                    let cause = cause.map(|cause| match cause {
                        Cause::Words(words) => words,
                        Cause::PortTaken(port) if Endpoint::current(executor).is_local() => {
                            format!("port {port} is {}", ports::holder(executor, project, port))
                        }
                        Cause::PortTaken(port) => format!("port {port} is taken on the engine's host"),
                        Cause::WrongArchitecture => wrong_architecture(executor, &container.name),
                    });
                    finding.cause = finding.cause.take().or(cause);
                });
            }
        });
    }

    /// The services without a container, and what is known to stand in their way.
    fn look_for_the_missing(&self, executor: &dyn Executor, verdict: &mut Verdict) {
        let there: BTreeSet<String> = verdict.findings.iter().map(|finding| finding.service.clone()).collect();
        let missing = self.expected.services().filter(|(name, wanted)| *wanted > 0 && !there.contains(*name));
        let missing: Vec<&str> = missing.map(|(name, _)| name).collect();
        let image = |name: &str| self.stack.services.get(name).map(|it| it.image(&self.stack.project, name));
        let images = missing.iter().filter_map(|name| Some(image(name)?.0)).collect();
        let gone = engine::missing_images(executor, &images).unwrap_or_default();
        let is_local = Endpoint::current(executor).is_local();
        for name in missing {
            let cause = match image(name) {
                Some((image, true)) if gone.contains(&image) => Some(format!("its image {image} could not be built")),
                Some((image, false)) if gone.contains(&image) => {
                    let why = self.up_words.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
                    Some(format!("its image {image} is not on the engine and could not be pulled{why}"))
                }
                _ if is_local => self.missing_mount(name),
                _ => None,
            };
            verdict.findings.push(Finding::missing(name, cause));
        }
    }

    /// The file or folder to mount that does not exist and that Compose does not create.
    fn missing_mount(&self, service: &str) -> Option<String> {
        let mut sources = self.stack.services.get(service)?.required_bind_sources();
        let is_blamed = |source: &str| self.up_words.as_ref().is_none_or(|words| words.contains(source));
        let gone = sources.find(|source| !source.exists() && is_blamed(&source.to_string_lossy()))?;
        Some(format!("mount source {} does not exist", gone.display()))
    }

    /// Why `up` has failed, by Compose's last words.
    fn cause_of_up(&self, executor: &dyn Executor, findings: &[Finding]) -> Option<String> {
        let words = self.up_words.as_deref()?;
        if words.contains("cannot start a paused container") {
            let paused = findings.iter().filter_map(|it| it.container.as_ref()).filter(|it| it.state == "paused");
            let names: Vec<&str> = paused.map(|container| container.name.as_str()).collect();
            let verb = if names.len() > 1 { "are" } else { "is" };
            return Some(format!("{} {verb} paused: `docker unpause {}`", names.join(", "), names.join(" ")));
        }
        let Some(conflict) = NameConflict::in_words(words) else { return Some(words.to_string()) };
        let containers = engine::compose_containers(executor).unwrap_or_default();
        let holder = containers.iter().find(|container| container.id == conflict.holder);
        Some(match holder {
            Some(holder) => {
                let checkout = checkout_name(Path::new(&holder.working_dir));
                let Container { service, project, .. } = holder;
                format!(
                    "the container name {} is already in use by {service} of project {project} ({checkout})",
                    conflict.name
                )
            }
            None => {
                let id: String = conflict.holder.chars().take(SHORT_ID).collect();
                format!("the container name {} is already in use by container {id}", conflict.name)
            }
        })
    }

    /// The services that it waits for and that have failed, or all that it waits for.
    fn waits_for(&self, service: &str, failed: &BTreeSet<String>) -> Option<String> {
        let awaited = &self.stack.services.get(service)?.depends_on;
        let names = awaited.keys().filter(|name| failed.contains(*name));
        let names: Vec<&str> = names.map(String::as_str).collect();
        (!names.is_empty()).then(|| format!("it waits for {}", names.join(", ")))
    }
}

fn wrong_architecture(executor: &dyn Executor, container: &str) -> String {
    match engine::architectures(executor, container) {
        Ok((image, engine)) if image != engine => {
            format!("its program is for another architecture: the image is for {image}, the engine runs {engine}")
        }
        Ok((_, engine)) => format!("its program is for another architecture than the engine's, {engine}"),
        Err(_) => "its program is for another architecture than the engine's".to_string(),
    }
}
