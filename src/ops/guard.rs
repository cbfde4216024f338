//! The hidden command that the guard process runs.

use crate::command::{Commander, SendInterrupt};
use crate::exit::Code;
use crate::reporter::Logger;
use crate::session::{Guard, GuardTask, ProjectLock, Runner, listen};

/// Waits for the end of the run that it guards and does what that left undone.
///
/// # Errors
/// If there is nothing to guard, or docker cannot be asked. Nothing waits for the exit code.
pub(crate) fn guard(commander: Commander, logger: &dyn Logger) -> anyhow::Result<Code> {
    let Some((orphaned, lock)) = listen()? else { return Ok(Code::Success) };
    // No terminal can interrupt it, and there is no second guard.
    let hook = |_: SendInterrupt| Ok(());
    let arm = |_: &GuardTask, _: &ProjectLock| Ok(Guard::none());
    Ok(Runner::new(commander, logger, &hook, &arm).take_over(orphaned, lock)?.code())
}
