//! Signals become values: INT, TERM and HUP are sent on, nothing else happens in a handler.
//!
//! ctrlc hears INT. It cannot tell TERM from HUP and would overwrite a HUP that `nohup` ignores, so signal-hook hears
//! those two. A signal that was ignored when we were started stays ignored, and QUIT is nobody's: it ends us.

use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::Context;

/// A request to end, by the signal that carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interrupt {
    /// SIGINT: Ctrl+C.
    Int,
    /// SIGTERM: a service manager or a CI runner.
    Term,
    /// SIGHUP: the terminal is gone.
    Hup,
}

impl Interrupt {
    /// Every kind.
    pub const ALL: [Interrupt; 3] = [Interrupt::Int, Interrupt::Term, Interrupt::Hup];

    /// The signal's number.
    pub fn number(self) -> u8 {
        match self {
            Interrupt::Hup => 1,
            Interrupt::Int => 2,
            Interrupt::Term => 15,
        }
    }

    /// The signal's name, as in `kill -l` with the usual prefix.
    pub fn name(self) -> &'static str {
        match self {
            Interrupt::Int => "SIGINT",
            Interrupt::Term => "SIGTERM",
            Interrupt::Hup => "SIGHUP",
        }
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
pub fn hook(send: impl Fn(Interrupt) + Send + 'static) -> anyhow::Result<()> {
    let before = TARGET.lock().unwrap_or_else(PoisonError::into_inner).replace(Box::new(send));
    if before.is_none() { listen() } else { Ok(()) }
}

/// Does what the signal would have done, had nobody hooked it: ends us by it.
pub fn end_by(interrupt: Interrupt) {
    let _ = signal_hook::low_level::emulate_default_handler(i32::from(interrupt.number()));
}

fn pass_on(interrupt: Interrupt) {
    if let Some(send) = &*TARGET.lock().unwrap_or_else(PoisonError::into_inner) {
        send(interrupt);
    }
}

fn listen() -> anyhow::Result<()> {
    if !is_ignored(libc::SIGINT) {
        ctrlc::set_handler(|| pass_on(Interrupt::Int)).context("cannot listen for Ctrl+C")?;
    }
    let wanted = [(libc::SIGTERM, Interrupt::Term), (libc::SIGHUP, Interrupt::Hup)];
    let heard: Vec<_> = wanted.into_iter().filter(|(signal, _)| !is_ignored(*signal)).collect();
    let numbers = heard.iter().map(|(signal, _)| *signal);
    let mut signals = signal_hook::iterator::Signals::new(numbers).context("cannot listen for signals")?;
    thread::spawn(move || {
        for number in signals.forever() {
            if let Some((_, interrupt)) = heard.iter().find(|(signal, _)| *signal == number) {
                pass_on(*interrupt);
            }
        }
    });
    Ok(())
}

#[allow(unsafe_code)]
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: with a null second argument sigaction(2) changes nothing and only fills the third, which is ours; all
    // zeroes are a valid `struct sigaction`.
    unsafe {
        let mut current: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut current) == 0 && current.sa_sigaction == libc::SIG_IGN
    }
}
