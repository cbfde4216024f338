//! How the containers fared, once `up` has ended by itself.
//!
//! Compose's exit code does not tell: it is 0 when every container has failed, and also when somebody else has taken
//! the stack down.

use std::time::SystemTime;

use anyhow::anyhow;

use super::exec::{Executor, Invocation};
use crate::compose::{Attach, Compose, ContainerStatus, ProjectName, Stack};
use crate::engine;
use crate::exit::{Code, Failure};

/// How many lines of a failed service's log a detached start shows before it takes the service down.
const LAST_WORDS: u32 = 20;

/// The question, ready to be asked from another thread.
pub(super) struct Question {
    project: ProjectName,
    attach: Attach,
    began: SystemTime,
    /// Whether `up` crashed, as Compose 2.40 may when somebody removes a container that it watches: it then looks into
    /// what is no longer there: <https://github.com/docker/compose/issues/13559>.
    up_crashed: bool,
    ps: Invocation,
    /// For each service the question for its last words.
    logs: Vec<(String, Invocation)>,
}

/// The answer.
pub(super) struct Verdict {
    pub(super) containers: Vec<ContainerStatus>,
    pub(super) failed: Vec<ContainerStatus>,
    /// Whether somebody else stopped or removed the stack.
    pub(super) stopped_elsewhere: bool,
    pub(super) last_words: Vec<u8>,
}

impl Question {
    pub(super) fn new(
        compose: &Compose,
        stack: &Stack,
        attach: Attach,
        began: SystemTime,
        up_crashed: bool,
    ) -> Question {
        let logs = stack.services.keys().map(|name| (name.clone(), compose.last_logs(LAST_WORDS, &[name])));
        Question {
            project: compose.project().clone(),
            attach,
            began,
            up_crashed,
            ps: compose.ps(),
            logs: logs.collect(),
        }
    }

    pub(super) fn ask(&self, executor: &dyn Executor) -> Result<Verdict, Failure> {
        let mut containers =
            ContainerStatus::parse(&self.ask_compose(executor)?).map_err(|error| Code::Failed.because(error))?;
        // Containers of services that the file no longer has are not what was started here.
        containers.retain(|container| self.logs.iter().any(|(name, _)| *name == container.service));
        let failed = containers.iter().filter(|container| container.has_failed()).cloned().collect();
        let mut verdict = Verdict { stopped_elsewhere: false, failed, containers, last_words: Vec::new() };
        match self.attach {
            Attach::Foreground => self.spare_the_stopped(executor, &mut verdict)?,
            Attach::Detached => verdict.last_words = self.last_words(executor, &verdict.failed),
        }
        Ok(verdict)
    }

    /// What `ps` prints. It lists the containers and then looks into each, and fails if one has been removed in between: as
    /// long as somebody takes the stack down, it is asked again.
    fn ask_compose(&self, executor: &dyn Executor) -> Result<Vec<u8>, Failure> {
        let mut chances = 20;
        loop {
            let output = executor.output(&self.ps).map_err(engine::no_docker)?;
            if output.status.success() {
                return Ok(output.stdout);
            }
            let words = String::from_utf8_lossy(&output.stderr).trim().to_string();
            chances -= 1;
            if chances == 0 || !words.contains("No such container") {
                return Err(Code::EngineUnavailable.because(anyhow!(words)));
            }
        }
    }

    fn spare_the_stopped(&self, executor: &dyn Executor, verdict: &mut Verdict) -> Result<(), Failure> {
        if !self.up_crashed && verdict.failed.is_empty() {
            verdict.stopped_elsewhere = verdict.containers.is_empty();
            return Ok(());
        }
        let stopped = engine::stopped_by_somebody(executor, &self.project, self.began)?;
        let all = verdict.failed.len();
        verdict.failed.retain(|container| !stopped.iter().any(|id| id.starts_with(&container.id)));
        verdict.stopped_elsewhere = verdict.failed.len() < all || (self.up_crashed && !stopped.is_empty());
        Ok(())
    }

    /// Asked now, since the containers may be removed in a moment, and their logs with them.
    fn last_words(&self, executor: &dyn Executor, failed: &[ContainerStatus]) -> Vec<u8> {
        let failing = self.logs.iter().filter(|(name, _)| failed.iter().any(|container| container.service == *name));
        let outputs = failing.filter_map(|(_, logs)| executor.output(logs).ok());
        outputs.flat_map(|output| output.stdout).collect()
    }
}

impl Verdict {
    /// What each failed container has to be blamed for.
    pub(super) fn reasons(&self) -> impl Iterator<Item = String> + '_ {
        self.failed.iter().map(|container| match container.state.as_str() {
            "exited" => format!("{} exited with {}", container.service, container.exit_code),
            _ => format!("{} is {}", container.service, container.summary()),
        })
    }

    /// Whether every container has come to its end.
    pub(super) fn is_over(&self) -> bool {
        self.containers.iter().all(|container| container.state == "exited")
    }
}
