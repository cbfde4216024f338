//! Reports what happens in a run.

use super::readiness::newly_ready;
use super::{Mode, OnEnd, Options, Plan, Run, Summary};
use crate::command::Interrupt;
use crate::compose::{Attach, DownScope, ProjectName, Stack};
use crate::engine::{self, Endpoint, Kept};
use crate::exit::Failure;
use crate::reporter::event::{Event, FailureSummary, ServiceCrash, ServiceFailure, StackFailure};
use crate::reporter::message::lines;
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
        self.logger().event(&Event::ServiceCrashed(ServiceCrash {
            project: self.compose.project().as_str(),
            service,
            container,
            exit_code: *exit_code,
            meaning: meaning(*exit_code, *out_of_memory),
            log: last_line,
        }));
    }

    pub(super) fn tell_ready(&self, ready: Result<(Verdict, Endpoint), Failure>) {
        let Some(Plan { stack, options }) = &self.plan else { return };
        let (project, logger) = (self.compose.project().as_str(), self.logger());
        let (verdict, endpoint) = match ready {
            Ok(ready) => ready,
            Err(failure) => return logger.warn(&format!("cannot check whether {project} is ready: {failure:#}")),
        };
        if verdict.unready().next().is_none() {
            return logger.event(&Event::StackReady {
                project,
                seconds: self.seconds(),
                services: report::services(stack, &endpoint, &verdict.findings),
                rows: report::started(stack, &endpoint, &verdict.findings),
            });
        }
        let late = self.readiness.settled == Some(Settled::Late);
        let blamed = verdict.blamed(late);
        let reasons: Vec<String> = blamed.iter().map(|finding| finding.reason()).collect();
        let seconds = options.wait.map_or(0, |wait| wait.as_secs());
        let after = if late { format!(" after {seconds} s") } else { String::new() };
        logger.event(&Event::StackNotReady {
            project,
            problem: format!("{after}: {}", reasons.join("; ")),
            failures: failures(stack, &endpoint, &blamed),
            helps: helps(&blamed),
        });
    }

    /// How long the run has taken so far.
    fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// An attached `up` has started everything. Told once.
    pub(super) fn tell_attached(&mut self, endpoint: &Endpoint, findings: &[Finding]) {
        let Some(Plan { stack, .. }) = self.plan.clone().filter(|_| !self.readiness.has_told_start) else { return };
        self.readiness.has_told_start = true;
        let stack = &stack;
        let project = self.compose.project().as_str();
        let has_addresses = |it: &&Finding| !report::addresses(stack, endpoint, it).is_empty();
        // A wait shows them when the stack is ready.
        let shown: Vec<Finding> = match self.waits() {
            true => Vec::new(),
            false => findings.iter().filter(has_addresses).cloned().collect(),
        };
        self.logger().event(&Event::StackAttached {
            project,
            services: report::services(stack, endpoint, findings),
            rows: report::started(stack, endpoint, &shown),
        });
    }

    /// What each service has come to, what those that failed have printed last, why the stack failed, and what to do next.
    pub(super) fn tell_failed(
        &mut self,
        stack: &Stack,
        options: &Options,
        endpoint: &Endpoint,
        verdict: &Verdict,
        late: bool,
    ) {
        let blamed = verdict.blamed(late);
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
        let mut helps = helps(&blamed);
        let option = self.option();
        let has_a_log = blamed.iter().find(|finding| !finding.last_words.is_empty());
        match (options.attach, has_a_log) {
            (Attach::Detached, Some(finding)) if self.policy.undo == Undo::Nothing => {
                helps.push(format!("see all of its log with `cargo stagecraft dev logs{option} {}`", finding.service));
            }
            // All that there is of a shorter one has been shown.
            (Attach::Detached, Some(finding)) if lines(&finding.last_words).len() >= LAST_WORDS as usize => {
                let service = &finding.service;
                helps.push(format!(
                    "for all of its log rerun with `--keep`, then `cargo stagecraft dev logs{option} {service}`"
                ));
            }
            _ => {}
        }
        let note = self.why_it_is_kept(options);
        let failure = StackFailure {
            project: self.compose.project().as_str(),
            what,
            reasons,
            rows: report::table(stack, endpoint, &verdict.findings),
            failures: failures(stack, endpoint, &blamed),
            compose: self.up.last_words.as_deref(),
        };
        let message = format!("{} {}", failure.project, failure.message());
        self.logger().event(&Event::StackFailed(failure));
        self.summary = Some(Summary::Stack(FailureSummary { message, helps, note }));
    }

    /// Why a failed run leaves what there is of the stack, if it does.
    pub(super) fn why_it_is_kept(&self, options: &Options) -> Option<String> {
        // If the state has no cause yet, this failure becomes it.
        let failed = State { cause: Some(EndCause::Failed), ..self.state };
        let is_kept = self.policy.undo != Undo::Remove || failed.leaves_what_it_found(self.policy);
        is_kept.then(|| {
            let why = if options.on_end == OnEnd::Keep {
                "the containers are kept because of --keep"
            } else {
                "the stack was running before and is left alone"
            };
            format!("{why}; `cargo stagecraft dev down{}` removes it", self.option())
        })
    }

    pub(super) fn tell_started(&self, stack: &Stack, endpoint: &Endpoint, verdict: &Verdict) {
        let project = self.compose.project().as_str();
        let services = report::services(stack, endpoint, &verdict.findings);
        let rows = report::started(stack, endpoint, &verdict.findings);
        let logs_and_down = || {
            let option = self.option();
            let logs = format!("see its logs with `cargo stagecraft dev logs -f{option}`");
            vec![logs, format!("stop it with `cargo stagecraft dev down{option}`")]
        };
        let notes = match self.mode {
            Mode::Join(..) => {
                return self.logger().event(&Event::StackReady { project, seconds: self.seconds(), services, rows });
            }
            Mode::ForCommand(..) => Vec::new(),
            _ => logs_and_down(),
        };
        self.logger().event(&Event::StackStarted {
            project,
            seconds: self.seconds(),
            ready: self.policy.waits,
            services,
            rows,
            notes,
            summary: report::table(stack, endpoint, &verdict.findings),
        });
    }

    /// What the commands on the stack need besides their name.
    fn option(&self) -> String {
        if self.compose.is_isolated() { format!(" --project-name {}", self.compose.project()) } else { String::new() }
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
            (Undo::Nothing, _) => self.tell_left(interrupt),
            (_, Force::Graceful) => {
                let hint = "press Ctrl+C again to kill its containers at once";
                logger.status("Stopping", &format!("{project} ({name}); {hint}"));
            }
            (_, Force::AtOnce) => {
                let hint = if self.guard.is_armed() {
                    "press Ctrl+C again to exit and let the guard finish"
                } else {
                    "press Ctrl+C again to exit before it is done"
                };
                logger.status("Killing", &format!("{project} ({name}); {hint}"));
            }
        }
    }

    /// An interrupt that takes nothing down.
    pub(super) fn tell_left(&self, interrupt: Interrupt) {
        let (project, name) = (self.compose.project(), interrupt.name());
        self.logger().status("Interrupted", &format!("by {name}; {project} is left as it is"));
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
            logger.event(&Event::StackStopped { project: project.as_str(), cause, complete: end == End::Clean });
        }
    }

    fn tell_remains(&self) {
        let (project, logger) = (self.compose.project(), self.logger());
        match &self.undoing.leftovers {
            Some(Ok(leftovers)) => logger.event(&Event::Leftovers {
                project: project.as_str(),
                list: leftovers.to_string(),
                names: leftovers.names().collect(),
                removal: leftovers.removal(),
            }),
            Some(Err(failure)) => {
                logger.error(&format!("cannot check what is left of {project}: {failure:#}"));
                let by_name = self.compose.down(
                    DownScope::ByName,
                    None,
                    self.undoing.options.volumes,
                    self.undoing.options.images,
                );
                logger.help(&format!("once the engine answers, remove it with `{by_name}`"));
            }
            None => logger.error(&format!("could not check what is left of {project}")),
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
        let tell_failure = || match &self.summary {
            Some(Summary::Stack(summary)) => logger.event(&Event::FailureSummary(summary)),
            Some(Summary::Start { message, help, note }) => {
                logger.event(&Event::Failed { message, help: help.as_deref() });
                note.iter().for_each(|note| logger.note(note));
            }
            None => {}
        };
        // An error of the teardown comes last, since it decides the exit code.
        if end != End::Clean {
            tell_failure();
        }
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
                logger.status("Leaving", &format!("{project} to the guard, which finishes the teardown"));
            }
            End::Abandoned => {
                logger.error(&format!("exited before {project} was torn down; part of it may be left"));
                let again = self.compose.down(
                    DownScope::Everything,
                    None,
                    self.undoing.options.volumes,
                    self.undoing.options.images,
                );
                logger.help(&format!("finish with `cargo stagecraft dev down`, or `{again}`"));
            }
        }
        if end == End::Clean {
            tell_failure();
        }
        self.report_end(end);
    }
}

/// The last output of each failed container.
pub(super) fn failures(stack: &Stack, endpoint: &Endpoint, blamed: &[&Finding]) -> Vec<ServiceFailure> {
    let failure = |finding: &&Finding| {
        let name = finding.container.as_ref().map_or(finding.service.as_str(), |it| it.name.as_str());
        let probe = finding.failed_probe().filter(|_| finding.missing_probe().is_none());
        ServiceFailure {
            service: report::service(stack, endpoint, finding),
            reason: finding.reason(),
            probe: probe.map(str::to_string),
            log: finding.last_words.clone(),
            log_title: format!("log of {name}, its last {LAST_WORDS} lines at most"),
        }
    };
    blamed.iter().map(failure).collect()
}

fn helps(blamed: &[&Finding]) -> Vec<String> {
    blamed.iter().filter_map(|finding| finding.help_for_missing_probe()).collect()
}
