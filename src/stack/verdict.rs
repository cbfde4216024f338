//! The final state of all containers, once the start or `up` has ended.
//!
//! Compose's exit code does not tell: it is 0 when every container has failed, and also when somebody else has taken
//! the stack down.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::Timestamp;

use super::expected::Expected;
use super::tracker::ServiceStanding;
use crate::command::Executor;
use crate::compose::{Attach, Stack};
use crate::engine::{self, Inspected, Signal};
use crate::exit::Failure;
use crate::stack::diagnosis::{Crashes, Finding};
use crate::stack::readiness::{History, Ports, Standing, role, standing};

/// The question, ready to be asked from another thread.
pub(crate) struct Question {
    pub(crate) stack: Stack,
    pub(crate) expected: Expected,
    pub(crate) attach: Attach,
    /// Whether Compose itself stops everything when a container ends.
    pub(crate) aborts: bool,
    pub(crate) began: Instant,
    /// The containers that were there before the start, by id.
    pub(crate) before: BTreeSet<String>,
    /// How `up` has ended, if it has.
    pub(crate) up: UpEnd,
    /// What Compose said last before `up` failed, where its output was kept.
    pub(crate) up_words: Option<String>,
    /// Whether what is not ready is to blame.
    pub(crate) waits: bool,
    /// Whether published ports count for that.
    pub(crate) ports: Ports,
    /// The services that a wait has not found ready.
    pub(crate) doubted: Vec<ServiceStanding>,
}

/// How `up` has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpEnd {
    /// Exit code 0.
    Well,
    /// Any other, or it was ended by us.
    Badly,
    /// It crashed, as Compose 2.40 may when somebody removes a container that it watches: it then looks into what is no longer
    /// there: <https://github.com/docker/compose/issues/13559>.
    Crashed,
}

/// The answer.
pub(crate) struct Verdict {
    /// Each container of the services that the start is about, and each service that has none, by name.
    pub(crate) findings: Vec<Finding>,
    /// Whether the stack was stopped or removed from elsewhere.
    pub(crate) stopped_elsewhere: bool,
    /// Why `up` has failed, where Compose's last words are known.
    pub(crate) cause: Option<String>,
}

impl Question {
    pub(crate) fn ask(&self, executor: &dyn Executor) -> Result<Verdict, Failure> {
        let mut containers = engine::inspect(executor, &self.stack.project, &self.before)?;
        // Containers that were there before, of services that this start is not about, are not what was started here.
        containers.retain(|it| self.expected.has(&it.service) || !self.before.contains(&it.id));
        let mut verdict = Verdict { findings: Vec::new(), stopped_elsewhere: false, cause: None };
        verdict.findings = containers.into_iter().map(|container| self.finding(container)).collect();
        match self.attach {
            Attach::Foreground => self.spare_the_stopped(executor, &mut verdict)?,
            Attach::Detached => self.doubt(&mut verdict),
        }
        if verdict.has_failed() || self.up == UpEnd::Badly || (self.waits && verdict.unready().next().is_some()) {
            self.look_into(executor, &mut verdict);
        }
        verdict.findings.sort_by(|a, b| a.service.cmp(&b.service));
        Ok(verdict)
    }

    fn finding(&self, container: Inspected) -> Finding {
        // Whether it stays up has been waited for, or is not the question.
        let history = History { is_steady: true, ..History::of(&container, Timestamp::UNIX_EPOCH) };
        let standing = match (self.attach, container.state.as_str()) {
            // At the end of a run in the foreground nothing is to become ready any more: what counts is how it ended.
            (Attach::Foreground, "running") => Standing::Ready,
            (Attach::Foreground, "exited") if container.exit_code == 0 => Standing::Ready,
            _ => standing(&container, role(&self.stack, &container.service, self.ports), history),
        };
        Finding { crashes: Crashes::of(history), ..Finding::of(container, standing) }
    }

    /// Events during the wait count, too: a container that crashed may be running at the moment.
    fn doubt(&self, verdict: &mut Verdict) {
        for ServiceStanding { service, standing, exit_code, crashes, cause, .. } in &self.doubted {
            let of_service = verdict.findings.iter_mut().filter(|finding| finding.service == *service);
            match of_service.max_by_key(|finding| finding.standing) {
                Some(worst) => {
                    worst.standing = worst.standing.max(*standing);
                    worst.last_exit = *exit_code;
                    worst.crashes = crashes.or(worst.crashes);
                    worst.cause = cause.clone();
                }
                None => verdict.findings.push(Finding::missing(service, None)),
            }
        }
    }

    fn spare_the_stopped(&self, executor: &dyn Executor, verdict: &mut Verdict) -> Result<(), Failure> {
        let crashed = self.up == UpEnd::Crashed;
        if !crashed && !verdict.has_failed() {
            // The containers of this start were removed from elsewhere.
            verdict.stopped_elsewhere = verdict.findings.is_empty() && !self.expected.is_empty();
            return Ok(());
        }
        let signals = engine::signals(executor, &self.stack.project, self.began)?;
        let ends = |id: &str, stop: Signal| signals.get(id).is_some_and(|sent| sent.iter().any(|it| it.ends(stop)));
        let mut stopped = crashed && signals.keys().any(|id| ends(id, Signal::TERM));
        for finding in verdict.findings.iter_mut().filter(|finding| finding.standing == Standing::Failed) {
            if finding.container.as_ref().is_some_and(|it| ends(&it.id, it.stop_signal)) {
                finding.standing = Standing::Ready;
                stopped = true;
            }
        }
        verdict.stopped_elsewhere = stopped && !self.aborts;
        Ok(())
    }
}

impl Verdict {
    /// What will not become what it should be.
    pub(crate) fn failed(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.standing == Standing::Failed)
    }

    fn has_failed(&self) -> bool {
        self.failed().next().is_some()
    }

    /// What is not what it should be, or not yet.
    pub(crate) fn unready(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.standing != Standing::Ready)
    }

    /// Whom to blame for a failure, or if it is one of time only, for that.
    pub(crate) fn blamed(&self, late: bool) -> Vec<&Finding> {
        if late { self.unready().collect() } else { self.failed().collect() }
    }

    /// The services of which a container runs, or will again.
    pub(crate) fn still_up(&self) -> Vec<&str> {
        let containers = self.findings.iter().filter_map(|finding| finding.container.as_ref());
        let mut services: Vec<&str> = containers.filter(|it| it.is_up()).map(|it| it.service.as_str()).collect();
        services.dedup();
        services
    }

    /// What a service's container has exited with.
    pub(crate) fn exit_code_of(&self, service: &str) -> Option<i64> {
        let finding = self.findings.iter().find(|finding| finding.service == service)?;
        finding.container.as_ref()?.ended_with()
    }
}
