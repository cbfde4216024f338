//! Runs a command that has the terminal until it ends.

use std::io;
use std::process::ExitStatus;
use std::sync::mpsc;
use std::time::Instant;

use super::interrupt::{Echo, Hook, Interrupt, Pending};
use super::{Executor, Invocation};

enum Heard {
    Interrupt(Interrupt, Instant),
    End,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum ForegroundEnd {
    /// By itself, or by an interrupt that was passed on.
    Ended(ExitStatus),
    /// It could not be started.
    NotStarted(io::Error),
    /// An interrupt came before it was started.
    Interrupted(Interrupt),
}

/// Runs the command, unless an interrupt is pending. Those that arrive meanwhile are passed on; the second one ends the command at once.
/// Afterwards interrupts are pending again. `started` gets the process's id.
///
/// # Errors
/// If interrupts cannot be hooked.
pub(crate) fn in_foreground(
    executor: &dyn Executor,
    hook: &Hook,
    command: &Invocation,
    pending: &Pending,
    started: &mut dyn FnMut(u32),
) -> anyhow::Result<ForegroundEnd> {
    let (sender, heard) = mpsc::channel();
    let interrupts = sender.clone();
    hook(Box::new(move |interrupt| {
        let _ = interrupts.send(Heard::Interrupt(interrupt, Instant::now()));
    }))?;
    if let Some(interrupt) = pending.take() {
        hook(pending.remember())?;
        return Ok(ForegroundEnd::Interrupted(interrupt));
    }
    let on_exit = Box::new(move || {
        let _ = sender.send(Heard::End);
    });
    let mut running = match executor.spawn(&command.clone().in_foreground(), on_exit) {
        Ok(running) => running,
        Err(error) => {
            hook(pending.remember())?;
            return Ok(ForegroundEnd::NotStarted(error));
        }
    };
    started(running.id());
    let (mut echo, mut first) = (Echo::default(), None);
    for heard in &heard {
        match heard {
            Heard::End => break,
            Heard::Interrupt(interrupt, at) if echo.is_heard(interrupt, at) => {}
            // The kernel and the shell may both report a terminal that closes.
            Heard::Interrupt(Interrupt::Hup, _) if first == Some(Interrupt::Hup) => {}
            Heard::Interrupt(interrupt, _) if first.is_none() => {
                first = Some(interrupt);
                running.pass_on(interrupt.number());
            }
            Heard::Interrupt(..) => running.cut_off(),
        }
    }
    let status = running.wait()?.status;
    hook(pending.remember())?;
    Ok(ForegroundEnd::Ended(status))
}
