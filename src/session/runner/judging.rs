//! How a run ends for the services: asks the engine for their final states and decides whether that is a failure.

use super::{Arrival, Mode, Plan, Run, Summary};
use crate::command::Executor;
use crate::compose::{Attach, Stack};
use crate::engine::Endpoint;
use crate::exit::Failure;
use crate::reporter::event::{Event, FailureSummary};
use crate::session::lifecycle::{Judgement, Phase, RunEvent};
use crate::stack::diagnosis::Finding;
use crate::stack::expected::UpArgs;
use crate::stack::observer::Settled;
use crate::stack::readiness::{Ports, Standing};
use crate::stack::verdict::{Question, UpEnd, Verdict};

fn answer(question: &Question, executor: &dyn Executor) -> Result<(Verdict, Endpoint), Failure> {
    Ok((question.ask(executor)?, Endpoint::current(executor)))
}

impl Run<'_> {
    pub(super) fn judge(&self) {
        match self.question() {
            Some(question) => self.ask(move |executor| Arrival::Judged(answer(&question, executor))),
            // Followed only: whose stack it is judges it.
            None => {
                let _ = self.sender.send(Arrival::Followed);
            }
        }
    }

    /// Asks how the services are once the start of an attached run has settled.
    pub(super) fn ask_what_is_ready(&self) {
        if let Some(question) = self.question() {
            let question = Question { attach: Attach::Detached, ..question };
            self.ask(move |executor| Arrival::Ready(answer(&question, executor)));
        }
    }

    fn question(&self) -> Option<Question> {
        let Plan { stack, options } = self.plan.as_ref()?;
        let doubted = self.readiness.standings.iter().filter(|it| it.standing != Standing::Ready);
        Some(Question {
            stack: Stack::clone(stack),
            expected: self.expected.clone(),
            attach: options.attach,
            aborts: UpArgs::parse(&options.args).aborts,
            before: self.ids_before(),
            began: self.began,
            up: self.up.end,
            up_words: self.up.last_words.clone(),
            waits: self.waits(),
            ports: if self.waits() { options.ports } else { Ports::Ignored },
            doubted: match self.readiness.settled {
                Some(Settled::Failed | Settled::Late) => doubted.cloned().collect(),
                Some(Settled::Ready) | None => Vec::new(),
            },
        })
    }

    pub(super) fn followed(&self) -> RunEvent {
        match &self.up.failure {
            None => self
                .logger()
                .status("Ended", &format!("{}; the run that owns it has torn it down", self.compose.project())),
            Some(failure) => {
                self.logger().error(&format!("{} can no longer be followed: {failure}", self.compose.project()))
            }
        }
        RunEvent::Judged(if self.up.failure.is_none() { Judgement::Well } else { Judgement::Badly })
    }

    pub(super) fn judged(&mut self, answer: Result<(Verdict, Endpoint), Failure>) -> RunEvent {
        let Some(Plan { stack, options }) = self.plan.clone() else {
            return RunEvent::Judged(Judgement::Well);
        };
        if self.state.phase != Phase::Judging {
            // Interrupted meanwhile: how the containers fared is no longer the question.
            return RunEvent::Judged(Judgement::Well);
        }
        let (project, logger) = (self.compose.project(), self.logger());
        let (verdict, endpoint) = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                let up = self.up.failure.as_deref().map(|up| format!("{up}, and ")).unwrap_or_default();
                let message = format!("{up}its state cannot be checked: {failure:#}");
                let summary =
                    FailureSummary { message: format!("{project}: {message}"), helps: Vec::new(), note: None };
                logger.event(&Event::StackUnknown {
                    project: project.as_str(),
                    message,
                    compose: self.up.last_words.as_deref(),
                });
                self.summary = Some(Summary::Stack(summary));
                return RunEvent::Judged(Judgement::Badly);
            }
        };
        let args = UpArgs::parse(&options.args);
        let still_up = verdict.still_up();
        if self.up.end == UpEnd::Well && options.attach == Attach::Foreground && !args.aborts && !still_up.is_empty() {
            self.tell_attached(&endpoint, &verdict.findings);
            let what = self.what_an_interrupt_does();
            let services = still_up.join(", ");
            logger.status("Running", &format!("{project}: {services}, not attached to (Ctrl+C {what})"));
            return RunEvent::Judged(Judgement::StillUp);
        }
        // With `--abort-on-container-exit` and its like Compose ends with the exit code of a container.
        let is_up_code = |code: &i64| self.up.exit_code.map(i64::from) == Some(*code);
        self.up.asked_code = args.exit_code_from.and_then(|service| verdict.exit_code_of(service)).filter(is_up_code);
        let is_a_containers = self.up.asked_code.is_some()
            || args.aborts && verdict.failed().filter_map(Finding::exit_code).any(|code| is_up_code(&code));
        let up_is_excused = match self.up.end {
            UpEnd::Well => true,
            UpEnd::Crashed => verdict.stopped_elsewhere || is_a_containers,
            UpEnd::Badly => is_a_containers,
        };
        let nothing_was_started =
            options.attach == Attach::Detached && verdict.findings.is_empty() && !self.expected.is_empty();
        let failed = match self.up.asked_code {
            Some(code) => code != 0,
            None => verdict.failed().next().is_some() || nothing_was_started,
        };
        let unready = self.policy.waits && verdict.unready().next().is_some();
        if up_is_excused && !failed && !unready {
            if options.attach == Attach::Foreground {
                // Where all was over before its start had been seen.
                self.tell_attached(&endpoint, &verdict.findings);
            }
            let logger = self.logger();
            match (options.attach, args.exit_code_from) {
                (Attach::Foreground, _) if verdict.stopped_elsewhere => {
                    logger.status("Ended", &format!("{project}, stopped from elsewhere"));
                }
                (Attach::Foreground, Some(service)) if self.up.asked_code.is_some() => {
                    logger.status("Finished", &format!("{project}: {service} exited with 0"));
                }
                (Attach::Foreground, _) if args.aborts => {
                    logger.status("Finished", &format!("{project}; Compose stopped it because a container exited"));
                }
                (Attach::Foreground, _) if verdict.findings.is_empty() => {
                    logger.status("Finished", &format!("{project}; it has no containers"));
                }
                (Attach::Foreground, _) => {
                    logger.status("Finished", &format!("{project}, every container exited with 0"));
                }
                // The build follows.
                (Attach::Detached, _) if matches!(self.mode, Mode::First(..)) => {}
                (Attach::Detached, _) => self.tell_started(&stack, &endpoint, &verdict),
            }
            let is_elsewhere = verdict.stopped_elsewhere && options.attach == Attach::Foreground;
            return RunEvent::Judged(if is_elsewhere { Judgement::StoppedElsewhere } else { Judgement::Well });
        }
        if nothing_was_started && self.up.failure.is_none() {
            self.up.failure = Some("no container of it was created".to_string());
        }
        let late = !failed && unready && self.readiness.settled == Some(Settled::Late);
        self.tell_failed(&stack, &options, &endpoint, &verdict, late);
        RunEvent::Judged(if late { Judgement::TooSlowly } else { Judgement::Badly })
    }
}
