//! Turns signals into values: INT, TERM and HUP are sent on, and a handler does nothing else.
//!
//! ctrlc handles INT on every system; the others are in `os`. A signal that was ignored when the program started stays
//! ignored. QUIT has its default effect.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::os;

/// A request to end, by the signal that carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Interrupt {
    /// SIGINT: Ctrl+C.
    Int,
    /// SIGTERM: a service manager or a CI runner.
    Term,
    /// SIGHUP: the terminal is gone.
    Hup,
}

impl Interrupt {
    /// Every kind.
    #[cfg(test)]
    pub(crate) const ALL: [Interrupt; 3] = [Interrupt::Int, Interrupt::Term, Interrupt::Hup];

    /// The signal's number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Interrupt::Hup => 1,
            Interrupt::Int => 2,
            Interrupt::Term => 15,
        }
    }

    /// The signal's name, as in `kill -l` with the usual prefix.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Interrupt::Int => "SIGINT",
            Interrupt::Term => "SIGTERM",
            Interrupt::Hup => "SIGHUP",
        }
    }
}

/// Passes an interrupt on.
pub(crate) type SendInterrupt = Box<dyn Fn(Interrupt) + Send + Sync>;

/// Makes interrupts arrive at the given function from now on. The real one is [`hook`].
pub(crate) type Hook = dyn Fn(SendInterrupt) -> anyhow::Result<()> + Send + Sync;

/// The first interrupt that arrived while there was nothing that it could end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending(Arc<Mutex<Option<Interrupt>>>);

impl Pending {
    /// What a [`Hook`] calls so that an interrupt is remembered here.
    pub(crate) fn remember(&self) -> SendInterrupt {
        let pending = self.clone();
        Box::new(move |interrupt| pending.add(interrupt))
    }

    /// Remembers an interrupt, unless there is one already.
    pub(crate) fn add(&self, interrupt: Interrupt) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(interrupt);
    }

    /// The interrupt, which is forgotten here.
    pub(crate) fn take(&self) -> Option<Interrupt> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// How soon after an interrupt the same one counts as its echo: timeout(1) signals the process and then its whole group,
/// and no finger presses twice so quickly.
const ECHO: Duration = Duration::from_millis(100);

/// Distinguishes an interrupt from its echo.
#[derive(Debug, Default)]
pub(crate) struct Echo(Option<(Interrupt, Instant)>);

impl Echo {
    /// Whether this interrupt, which arrived at this time, is the one before once more.
    pub(crate) fn is_heard(&mut self, interrupt: Interrupt, at: Instant) -> bool {
        let before = self.0.replace((interrupt, at));
        before.is_some_and(|(kind, time)| kind == interrupt && at.saturating_duration_since(time) < ECHO)
    }
}

/// What is called for an interrupt.
type Target = Box<dyn Fn(Interrupt) + Send>;

/// None as long as nothing is hooked.
static TARGET: Mutex<Option<Target>> = Mutex::new(None);

/// Calls `send` for every interrupt from now on, from a thread of its own, and what was hooked before no more: when this
/// returns, that has returned too.
///
/// # Errors
/// If the system refuses the handlers.
pub(crate) fn hook(send: impl Fn(Interrupt) + Send + 'static) -> anyhow::Result<()> {
    let before = TARGET.lock().unwrap_or_else(PoisonError::into_inner).replace(Box::new(send));
    if before.is_none() { listen() } else { Ok(()) }
}

/// Does what the signal does by default: ends the process by it.
pub(super) fn end_by(interrupt: Interrupt) {
    os::end_by(interrupt.number());
}

fn pass_on(interrupt: Interrupt) {
    if let Some(send) = &*TARGET.lock().unwrap_or_else(PoisonError::into_inner) {
        send(interrupt);
    }
}

fn listen() -> anyhow::Result<()> {
    let is_heard = |interrupt: &Interrupt| !os::ignores(interrupt.number());
    if is_heard(&Interrupt::Int) {
        ctrlc::set_handler(|| pass_on(Interrupt::Int)).context("cannot listen for Ctrl+C")?;
    }
    // ctrlc cannot tell these apart and would overwrite a HUP that `nohup` ignores.
    let others: Vec<Interrupt> = [Interrupt::Term, Interrupt::Hup].into_iter().filter(is_heard).collect();
    let numbers: Vec<u8> = others.iter().map(|interrupt| interrupt.number()).collect();
    let on_signal = move |number| others.iter().filter(|it| it.number() == number).for_each(|it| pass_on(*it));
    os::hear(numbers, on_signal).context("cannot listen for signals")
}
