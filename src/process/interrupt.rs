//! Signals become values: INT, TERM and HUP are sent on, nothing else happens in a handler.
//!
//! ctrlc hears INT. It cannot tell TERM from HUP and would overwrite a HUP that `nohup` ignores, so signal-hook hears
//! those two. A signal that was ignored when we were started stays ignored, and QUIT is nobody's: it ends us.

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

/// Calls `send` for every interrupt from now on, from a thread of its own.
///
/// # Errors
/// If the system refuses the handlers, or if called twice in one process.
pub fn hook(send: impl Fn(Interrupt) + Clone + Send + 'static) -> anyhow::Result<()> {
    if !is_ignored(libc::SIGINT) {
        let send = send.clone();
        ctrlc::set_handler(move || send(Interrupt::Int)).context("cannot listen for Ctrl+C")?;
    }
    let wanted = [(libc::SIGTERM, Interrupt::Term), (libc::SIGHUP, Interrupt::Hup)];
    let heard: Vec<_> = wanted.into_iter().filter(|(signal, _)| !is_ignored(*signal)).collect();
    let numbers = heard.iter().map(|(signal, _)| *signal);
    let mut signals = signal_hook::iterator::Signals::new(numbers).context("cannot listen for signals")?;
    thread::spawn(move || {
        for number in signals.forever() {
            if let Some((_, interrupt)) = heard.iter().find(|(signal, _)| *signal == number) {
                send(*interrupt);
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
