//! What is said of a run: to people as it happens, and to programs.

use super::readiness::newly_ready;
use super::{OnEnd, Options, Run};
use crate::command::Interrupt;
use crate::compose::{Attach, DownScope, ProjectName, Stack};
use crate::engine::{self, Endpoint, Kept};
use crate::exit::Failure;
use crate::reporter::message::{self, Message};
use crate::session::lifecycle::{End, EndCause, Force, Phase, State, Undo};
use crate::stack::causes::LAST_WORDS;
use crate::stack::diagnosis::Finding;
use crate::stack::observer::{Crash, Settled};
use crate::stack::readiness::{Standing, meaning};
use crate::stack::report;
use crate::stack::tracker::ServiceStanding;
use crate::stack::verdict::Verdict;
use crate::workspace::COMPOSE_FILE;

impl Run<'_> {
    /// Shows what has become ready since it was shown last, and what is still waited for.
    pub(super) fn show_progress(&mut self) {
        let before = std::mem::replace(&mut self.readiness.shown, self.readiness.standings.clone());
        for ServiceStanding { service, summary, .. } in newly_ready(&before, &self.readiness.standings) {
            self.logger().status("Ready", &format!("{service}: {summary}"));
        }
        let open = self.readiness.standings.iter().filter(|it| it.standing == Standing::Pending);
        self.logger().waiting(&open.map(|it| (it.service.clone(), it.summary.clone())).collect::<Vec<_>>());
    }

    /// A container has crashed, and the engine starts it again.
    pub(super) fn tell_crash(&self, crash: &Crash) {
        let Crash { service, container, exit_code, out_of_memory, last_line } = crash;
        let meaning = meaning(*exit_code, *out_of_memory);
        let why = meaning.as_deref().map(|meaning| format!(" ({meaning})")).unwrap_or_default();
        let words = if last_line.is_empty() { String::new() } else { format!(": {last_line}") };
        self.logger().status("Restarting", &format!("{service}, which exited with {exit_code}{why}{words}"));
        self.logger().message(&Message::ServiceCrashed {
            project: self.compose.project().as_str(),
            service,
            container,
            exit_code: *exit_code,
            meaning,
            log: last_line,
        });
    }

    pub(super) fn tell_ready(&self, ready: Result<(Verdict, Endpoint), Failure>) {
        let Some((stack, options)) = self.mode.start() else { return };
        let (project, logger) = (self.compose.project(), self.logger());
        let (verdict, endpoint) = match ready {
            Ok(ready) => ready,
            Err(failure) => return logger.warn(&format!("whether {project} is ready cannot be asked: {failure:#}")),
        };
        if verdict.unready().next().is_none() {
            logger.status("Ready", &format!("{project} in {}", self.elapsed()));
            logger.table(&report::started(stack, &endpoint, &verdict.findings));
            let services = report::services(stack, &endpoint, &verdict.findings);
            logger.message(&Message::StackReady { project: project.as_str(), services });
            return;
        }
        let late = self.readiness.settled == Some(Settled::Late);
        let blamed = verdict.blamed(late);
        self.report_failed(stack, &endpoint, &blamed);
        let reasons: Vec<String> = blamed.iter().map(|finding| finding.reason()).collect();
        let seconds = options.wait.map_or(0, |wait| wait.as_secs());
        let after = if late { format!(" after {seconds} s") } else { String::new() };
        logger.warn(&format!("{project} is not ready{after}: {}", reasons.join("; ")));
        self.help_with(&blamed);
    }

    fn help_with(&self, blamed: &[&Finding]) {
        for help in blamed.iter().filter_map(|finding| finding.help_for_missing_probe()) {
            self.logger().help(&help);
        }
    }

    fn elapsed(&self) -> String {
        format!("{:.1}s", self.began.elapsed().as_secs_f64())
    }

    /// An attached `up` has started everything. Told once.
    pub(super) fn tell_attached(&mut self, endpoint: &Endpoint, findings: &[Finding]) {
        let Some((stack, _)) = self.mode.start().filter(|_| !self.readiness.has_told_start) else { return };
        self.readiness.has_told_start = true;
        let services = report::services(stack, endpoint, findings);
        let with_addresses: Vec<Finding> =
            findings.iter().filter(|it| !report::addresses(stack, endpoint, it).is_empty()).cloned().collect();
        // A wait shows them when the stack is ready.
        if !self.waits() && !with_addresses.is_empty() {
            self.logger().status("Started", self.compose.project().as_str());
            self.logger().table(&report::started(stack, endpoint, &with_addresses));
        }
        self.logger().message(&Message::StackStarted {
            project: self.compose.project().as_str(),
            attached: true,
            services,
        });
    }

    /// What each service has come to, what those that failed have printed last, why the stack failed, and what to do next.
    pub(super) fn tell_failed(
        &self,
        stack: &Stack,
        options: &Options,
        endpoint: &Endpoint,
        verdict: &Verdict,
        late: bool,
    ) {
        let (project, logger) = (self.compose.project(), self.logger());
        let rows = report::table(stack, endpoint, &verdict.findings);
        logger.table(&rows);
        let blamed = verdict.blamed(late);
        self.report_failed(stack, endpoint, &blamed);
        let mut reasons: Vec<String> = blamed.iter().map(|finding| finding.reason()).collect();
        if reasons.is_empty() {
            // Without its words: why, Compose has just said itself.
            reasons.extend(verdict.cause.clone().or_else(|| self.up.failure.clone()));
        }
        if reasons.is_empty() {
            // The engine has told no more while it was waited for.
            reasons.extend(verdict.unready().map(Finding::reason));
        }
        let what = match (options.attach, options.wait) {
            (Attach::Detached, Some(wait)) if late => format!("was not ready within {} s", wait.as_secs()),
            (Attach::Detached, Some(_)) if self.readiness.settled.is_some() => "did not become ready".to_string(),
            (Attach::Detached, _) => "could not be started".to_string(),
            (Attach::Foreground, _) => "failed".to_string(),
        };
        let message = format!("{what}: {}", reasons.join("; "));
        logger.summarize(&format!("{project} {what}"), &rows);
        if blamed.is_empty() {
            logger.annotate(project.as_str(), &message);
        }
        logger.error(&format!("{project} {message}"));
        logger.message(&Message::StackFailed {
            project: project.as_str(),
            message: &message,
            compose: self.up.last_words.clone(),
        });
        self.help_with(&blamed);
        let has_a_log = blamed.iter().find(|finding| !finding.last_words.is_empty());
        match (options.attach, has_a_log) {
            (Attach::Detached, Some(finding)) if self.policy.undo == Undo::Nothing => {
                logger.help(&format!("see all of its log with `cargo stagecraft dev logs {}`", finding.service));
            }
            // All that there is of a shorter one has been shown.
            (Attach::Detached, Some(finding)) if message::lines(&finding.last_words).len() >= LAST_WORDS as usize => {
                let service = &finding.service;
                logger.help(&format!(
                    "for all of its log rerun with `--keep`, then `cargo stagecraft dev logs {service}`"
                ));
            }
            _ => {}
        }
        // The state has no cause yet: this failure becomes it.
        let failed = State { cause: Some(EndCause::Failed), ..self.state };
        if self.policy.undo != Undo::Remove || failed.leaves_what_it_found(self.policy) {
            let why = if options.on_end == OnEnd::Keep {
                "what was created is kept, as asked"
            } else {
                "the stack was running before and is left alone"
            };
            logger.note(&format!("{why}; `cargo stagecraft dev down` removes it"));
        }
    }

    /// What each container that failed has to say, for people and for programs.
    fn report_failed(&self, stack: &Stack, endpoint: &Endpoint, blamed: &[&Finding]) {
        let (project, logger) = (self.compose.project(), self.logger());
        for &finding in blamed {
            let name = finding.container.as_ref().map_or(finding.service.as_str(), |it| it.name.as_str());
            if let (Some(output), None) = (finding.failed_probe(), finding.missing_probe()) {
                logger.excerpt(&format!("last output of the healthcheck of {name}"), output.as_bytes());
            }
            if !finding.last_words.is_empty() {
                let title = format!("log of {name}, its last {LAST_WORDS} lines at most");
                logger.excerpt(&title, &finding.last_words);
            }
            logger.annotate(&finding.service, &finding.reason());
            let service = report::service(stack, endpoint, finding);
            let log = message::lines(&finding.last_words);
            logger.message(&Message::ServiceFailed {
                project: project.as_str(),
                service,
                message: finding.reason(),
                log,
            });
        }
    }

    pub(super) fn tell_started(&self, stack: &Stack, endpoint: &Endpoint, verdict: &Verdict) {
        let (project, logger) = (self.compose.project(), self.logger());
        let ready = if self.policy.waits { ", ready" } else { "" };
        logger.status("Started", &format!("{project} in {}{ready}", self.elapsed()));
        logger.table(&report::started(stack, endpoint, &verdict.findings));
        let services = || report::services(stack, endpoint, &verdict.findings);
        logger.message(&Message::StackStarted { project: project.as_str(), attached: false, services: services() });
        if self.policy.waits {
            logger.message(&Message::StackReady { project: project.as_str(), services: services() });
        }
        logger.summarize(&format!("{project} runs"), &report::table(stack, endpoint, &verdict.findings));
        logger.note("see its logs with `cargo stagecraft dev logs -f`");
        logger.note("stop it with `cargo stagecraft dev down`");
    }

    pub(super) fn what_an_interrupt_does(&self) -> &'static str {
        match self.policy.undo {
            Undo::Remove => "stops and removes it",
            Undo::StopOnly => "stops it",
            Undo::Nothing => "leaves it as it is",
        }
    }

    pub(super) fn tell_interrupt(&self, interrupt: Interrupt, before: State) {
        let (project, logger) = (self.compose.project(), self.logger());
        let name = interrupt.name();
        match (self.policy.undo, self.state.force) {
            _ if self.state == before || matches!(self.state.phase, Phase::Ended(_)) => {}
            (Undo::Nothing, _) => logger.status("Interrupted", &format!("by {name}; {project} is left as it is")),
            (_, Force::Graceful) => {
                let hint = "press Ctrl+C again to kill its containers at once";
                logger.status("Stopping", &format!("{project} ({name}); {hint}"));
            }
            (_, Force::AtOnce) => {
                let hint = if self.guard.is_armed() {
                    "press Ctrl+C once more to leave the rest to the guard"
                } else {
                    "press Ctrl+C once more to leave before it is done"
                };
                logger.status("Killing", &format!("{project} ({name}); {hint}"));
            }
        }
    }

    fn report_end(&self, end: End) {
        let (project, logger) = (self.compose.project(), self.logger());
        let cause = match self.state.cause {
            Some(EndCause::Requested) => "requested",
            Some(EndCause::Interrupted(_)) => "interrupted",
            Some(EndCause::Finished) if self.policy.leaves_running => return,
            Some(EndCause::Finished) => "finished",
            Some(EndCause::Failed) => "failed",
            Some(EndCause::Late) => "late",
            None => return,
        };
        if self.policy.undo != Undo::Nothing && !self.state.leaves_what_it_found(self.policy) {
            logger.message(&Message::StackStopped { project: project.as_str(), cause, complete: end == End::Clean });
        }
    }

    fn tell_remains(&self) {
        let (project, logger) = (self.compose.project(), self.logger());
        match &self.undoing.leftovers {
            Some(Ok(remains)) => {
                logger.error(&format!("{project} is not completely taken down; still on the engine:\n{remains}"));
                let removal = remains.removal();
                logger.help(&format!("remove it with `{removal}`"));
                for (kind, name) in remains.names() {
                    logger.message(&Message::Leftover { project: project.as_str(), kind, name, removal: &removal });
                }
            }
            Some(Err(failure)) => {
                logger.error(&format!("what is left of {project} cannot be known: {failure:#}"));
                let by_name = self.compose.down(
                    DownScope::ByName,
                    None,
                    self.undoing.options.volumes,
                    self.undoing.options.images,
                );
                logger.help(&format!("once the engine answers, remove it with `{by_name}`"));
            }
            None => logger.error(&format!("what is left of {project} is not known")),
        }
    }

    /// What of a stack that was taken down is kept on purpose, and the command that removes it.
    fn what_stays(&self) -> String {
        let Kept { volumes, images } = &self.undoing.kept;
        let named = |what: &str, names: &[String]| match names {
            [] => None,
            [name] => Some(format!("{what} {name}")),
            names => Some(format!("{what}s {}", names.join(", "))),
        };
        let kept: Vec<String> = [named("volume", volumes), named("image", images)].into_iter().flatten().collect();
        if kept.is_empty() {
            return "nothing of it is left".to_string();
        }
        format!("kept {}; remove with `{}`", kept.join(" and "), self.removal_of_kept())
    }

    fn removal_of_kept(&self) -> String {
        let Kept { volumes, images } = &self.undoing.kept;
        let (root, project) = (self.compose.root(), self.compose.project());
        if !root.join(COMPOSE_FILE).exists() {
            // The workspace is gone, and with it the place for a command of ours.
            return engine::removal(&[("volume", volumes), ("image", images)]);
        }
        let mut command = "cargo stagecraft dev down".to_string();
        if root.file_name().and_then(ProjectName::normalized).as_ref() != Some(project) {
            command.push_str(&format!(" --project-name {project}"));
        }
        for (option, names) in [(" --volumes", volumes), (" --images", images)] {
            command.push_str(if names.is_empty() { "" } else { option });
        }
        command
    }

    /// How it has ended.
    pub(super) fn tell_end(&self, end: End) {
        let (project, logger) = (self.compose.project(), self.logger());
        match end {
            End::Clean => match (self.state.cause, self.policy.undo) {
                // Reached through a check that found nothing.
                _ if self.undoing.leftovers.is_none() => {}
                // A warning has said so.
                _ if self.undoing.taken_over => {}
                (_, Undo::StopOnly) => logger.status("Stopped", &format!("{project}; its containers are kept")),
                (Some(EndCause::Requested), _) if self.undoing.removed.is_empty() => {
                    logger.status("Finished", &format!("{project} had no containers; {}", self.what_stays()));
                }
                _ => logger.status("Removed", &format!("{project}; {}", self.what_stays())),
            },
            End::Incomplete => self.tell_remains(),
            End::Abandoned if self.guard.is_armed() => {
                logger.status("Leaving", &format!("{project} to the guard, which takes it down behind us"));
            }
            End::Abandoned => {
                logger.error(&format!("left before {project} was taken down; some of it may remain"));
                let again = self.compose.down(
                    DownScope::Everything,
                    None,
                    self.undoing.options.volumes,
                    self.undoing.options.images,
                );
                logger.help(&format!("finish with `cargo stagecraft dev down`, or `{again}`"));
            }
        }
        self.report_end(end);
    }
}
