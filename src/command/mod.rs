//! Commands as data, what runs them, and interrupts.
//!
//! An [`Invocation`] prints itself so that it can be pasted into a shell. Everything that runs goes through an [`Executor`]: tests put
//! a fake there, [`System`] starts real processes, and [`Commander`] shows each command before it passes it on.

mod commander;
mod executor;
mod foreground;
mod interrupt;
mod invocation;
mod request;
mod system;
mod until_interrupt;

pub(crate) use commander::PAUSE_AFTER_SILENCE;
pub(crate) use commander::{Commander, PATIENCE};
#[cfg(test)]
pub(crate) use executor::Ended;
pub use executor::{Executor, OnExit, OnLine, Running};
pub(crate) use foreground::{ForegroundEnd, in_foreground};
pub(crate) use interrupt::{Echo, Hook, Interrupt, Pending, SendInterrupt, hook};
pub use invocation::Invocation;
pub(crate) use invocation::Show;
pub use request::{Archive, Request};
pub use system::System;
pub(crate) use system::adopt;
pub(crate) use until_interrupt::{CommandEnd, Stdout, output_until_interrupt, until_interrupt};

/// Implements these methods of [`Executor`] for a fake that never uses them.
#[cfg(test)]
macro_rules! refuse {
    (spawn) => {
        fn spawn(
            &self,
            _: &$crate::command::Invocation,
            _: $crate::command::OnExit,
        ) -> std::io::Result<Box<dyn $crate::command::Running>> {
            Err(std::io::ErrorKind::Unsupported.into())
        }
    };
    (listen) => {
        fn listen(
            &self,
            _: &$crate::command::Invocation,
            _: $crate::command::OnLine,
        ) -> std::io::Result<Box<dyn $crate::command::Running>> {
            Err(std::io::ErrorKind::Unsupported.into())
        }
    };
    (request) => {
        fn request(&self, _: &$crate::command::Request) -> std::io::Result<Vec<u8>> {
            Err(std::io::ErrorKind::Unsupported.into())
        }
    };
    (exec) => {
        fn exec(&self, _: &$crate::command::Invocation) -> std::io::Error {
            std::io::ErrorKind::Unsupported.into()
        }
    };
    ($($method:ident),+) => {
        $($crate::command::refuse!($method);)+
    };
}
#[cfg(test)]
pub(crate) use refuse;

#[cfg(test)]
#[cfg(unix)] // The commands run in sh.
mod tests;
