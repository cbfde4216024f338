//! What a start holds before its `up` of the whole stack, while crates are built and images are made.

use super::guard::Guard;
use super::lock::ProjectLock;
use crate::command::{
    CommandEnd, Commander, ForegroundEnd, Hook, Invocation, Pending, Stdout, in_foreground, until_interrupt,
};

/// A start before its `up` of the whole stack: it holds the project's lock. If some services have been started already, a guard takes them
/// down if this process dies, and interrupts are remembered while no command runs that they could end.
pub(crate) struct Preparation {
    pub(super) lock: ProjectLock,
    pub(super) guard: Guard,
    /// None as long as nothing has been started: an interrupt then has its default effect.
    pub(super) interrupts: Option<Pending>,
}

impl Preparation {
    /// With nothing started. `lock` is held.
    pub(crate) fn new(lock: ProjectLock) -> Preparation {
        Preparation { lock, guard: Guard::none(), interrupts: None }
    }

    /// Whether something has been started that must be taken down if the start ends here.
    pub(crate) fn has_started(&self) -> bool {
        self.interrupts.is_some()
    }

    /// Runs a command until it ends or an interrupt arrives, which may have been before.
    ///
    /// # Errors
    /// If interrupts cannot be hooked, or the command cannot be started.
    pub(crate) fn run(
        &mut self,
        commander: &Commander,
        hook: &Hook,
        command: &Invocation,
        stdout: Stdout,
    ) -> anyhow::Result<CommandEnd> {
        let (guard, pending) = (&mut self.guard, self.interrupts.as_ref());
        let command = guard.announce(command);
        let end = until_interrupt(commander, hook, &command, stdout, pending, &mut |pid| guard.helper(pid));
        guard.forget_helper();
        end
    }

    /// Runs a command that has the terminal until it ends. Meanwhile this run owns the stack, and other commands may change it.
    ///
    /// # Errors
    /// If interrupts cannot be hooked.
    pub(crate) fn run_in_foreground(
        &mut self,
        commander: &Commander,
        hook: &Hook,
        command: &Invocation,
    ) -> anyhow::Result<ForegroundEnd> {
        let _ = self.lock.own();
        self.lock.give_back();
        let pending = self.interrupts.get_or_insert_default();
        let guard = &mut self.guard;
        let command = guard.announce(command);
        let end = in_foreground(commander, hook, &command, pending, &mut |pid| guard.helper(pid));
        guard.forget_helper();
        end
    }

    /// Ends it where nothing has to be taken down.
    pub(crate) fn end(mut self) {
        self.guard.disarm();
    }
}
