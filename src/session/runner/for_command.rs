//! A stack for one command: it is started before the command, and taken down after it.

use std::collections::BTreeSet;
use std::time::Instant;

use super::tell::failures;
use super::{Mode, Options, Outcome, Run, Runner};
use crate::compose::{Attach, Compose, Stack};
use crate::engine::Endpoint;
use crate::reporter::event::Event;
use crate::session::lifecycle::State;
use crate::session::lock::ProjectLock;
use crate::session::preparation::Preparation;
use crate::stack::diagnosis::Finding;
use crate::stack::expected::Expected;
use crate::stack::readiness::Ports;
use crate::stack::verdict::{Question, UpEnd};

impl<'a> Runner<'a> {
    /// Starts `stack` for a command and waits until it is ready. The lock of `preparation` is held. What it returns holds the lock, and a guard that takes
    /// the stack down, until [`Runner::end_for_command`] gets it; or how the start has ended.
    ///
    /// # Errors
    /// As those of [`Runner::run`].
    pub(crate) fn start_for_command(
        &self,
        compose: &Compose,
        stack: &Stack,
        options: &Options,
        preparation: Preparation,
    ) -> anyhow::Result<Result<Preparation, Outcome>> {
        let Preparation { lock, guard: mut guard_before, interrupts } = preparation;
        let mode = Mode::ForCommand(stack, options);
        let mut run = Run::new(self, compose, mode, options.teardown, State::STARTING, lock)?;
        run.add_pending(interrupts.as_ref());
        run.arm();
        guard_before.disarm();
        self.logger.status("Starting", &format!("{} (Ctrl+C {})", compose.project(), run.what_an_interrupt_does()));
        run.start_up(options, None)?;
        run.drive_to_the_next_part()
    }

    /// Waits until what runs of `stack` is ready, and leaves it alone. What it returns holds a guard that ends the command if this process dies; or how the
    /// wait has ended.
    ///
    /// # Errors
    /// If interrupts cannot be hooked.
    pub(crate) fn join_for_command(
        &self,
        compose: &Compose,
        stack: &Stack,
        options: &Options,
        is_ready: bool,
    ) -> anyhow::Result<Result<Preparation, Outcome>> {
        let mode = Mode::Join(stack, options);
        let mut run = Run::new(self, compose, mode, options.teardown, State::WAITING, ProjectLock::none())?;
        run.arm();
        if is_ready {
            return Ok(Ok(run.into_preparation()?));
        }
        self.logger.status("Waiting", &format!("until {} is ready", compose.project()));
        run.up.number += 1;
        run.watch_what_becomes_ready();
        run.begins_after_the_start();
        run.drive_to_the_next_part()
    }

    /// Takes down what [`Runner::start_for_command`] has started, and looks whether it is gone.
    ///
    /// # Errors
    /// If interrupts cannot be hooked; then the guard takes it down.
    pub(crate) fn end_for_command(
        &self,
        compose: &Compose,
        options: &Options,
        preparation: Preparation,
    ) -> anyhow::Result<Outcome> {
        let Preparation { lock, guard, interrupts } = preparation;
        let (state, action) = State::after_the_command();
        let mut run = Run::new(self, compose, Mode::TakeDown, options.teardown, state, lock)?;
        run.add_pending(interrupts.as_ref());
        run.guard = guard;
        self.logger.status("Stopping", compose.project().as_str());
        run.act(action);
        Ok(run.drive())
    }

    /// Shows the last words of services that should run and do not.
    pub(crate) fn tell_what_has_failed(&self, stack: &Stack, options: &Options) {
        let question = Question {
            stack: stack.clone(),
            expected: Expected::new(stack, options.traefik, &options.args),
            attach: Attach::Detached,
            aborts: false,
            before: BTreeSet::new(),
            began: Instant::now(),
            up: UpEnd::Well,
            up_words: None,
            waits: false,
            ports: Ports::Ignored,
            doubted: Vec::new(),
        };
        // That the engine does not answer, the teardown says.
        let Ok(verdict) = question.ask(&self.commander) else { return };
        let failed: Vec<&Finding> = verdict.failed().collect();
        if failed.is_empty() {
            return;
        }
        let reasons: Vec<String> = failed.iter().map(|finding| finding.reason()).collect();
        let endpoint = Endpoint::current(&self.commander);
        self.logger.event(&Event::StackNotReady {
            project: stack.project.as_str(),
            problem: format!(" any more: {}", reasons.join("; ")),
            failures: failures(stack, &endpoint, &failed),
            helps: Vec::new(),
        });
    }
}
