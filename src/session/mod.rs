//! Runs the dev stack: starts it, waits, and tears it down, whatever happens in between.
//!
//! The lifecycle law:
//! 1. Interrupts are hooked and the guard is armed **before** `up` is spawned.
//! 2. A signal handler only sends an event. One thread waits for each child; the main thread blocks on one channel and
//!    polls nothing.
//! 3. `up` runs in a process group of its own, with empty stdin and `COMPOSE_MENU=0`; its output goes straight to the
//!    terminal. We alone hear Ctrl+C.
//! 4. A container that honours SIGTERM is never killed because of how we ended `up`: its client is killed, which no
//!    container notices, or stays attached until `down` has taken its containers, where its version bears that.
//! 5. Escalation is ours. First interrupt: graceful `down`. Second: `down --timeout 0`. Third: we leave, and
//!    the guard finishes. Each step says what the next press will do.
//! 6. `down` runs in a group of its own, so a nervous Ctrl+C never cuts it off.
//! 7. Exit code 0 of `down` proves nothing: the engine is asked what is left. Something left: once more with every
//!    profile and orphan; then by project name, without the file; then a truthful error.
//! 8. A foreground run owns the stack: every way out tears it down, unless `--keep`.
//! 9. A detached start that fails and found nothing running takes back what it created, after it has shown why; one
//!    that found a running stack leaves it alone and says so.
//! 10. The guard: our own binary in its own session, holding the other end of a socket. EOF without the word "done" means
//!     that we died; it takes down and looks as in 7. Nothing of it stays after a normal end.
//! 11. One project, one change at a time: whoever starts or takes down holds the project's lock, and the guard inherits
//!     it.
//! 12. An engine that does not answer is asked again for a bounded time.
//! 13. Compose's word that a stack is started, or ready, proves nothing either: the engine is asked how each container is, and
//!     tells meanwhile what happens to it.
//! 14. While a build goes on, before there is anything to take down, an interrupt ends it with all that it has started.
//!
//! `lifecycle` is the law as a table, [`Runner`] carries it out, and `spec/dev/process-mgmt.md` says where it comes from.

mod guard;
mod lifecycle;
mod lock;
mod runner;

pub(crate) use guard::listen;
pub use guard::{Guard, GuardTask, is_guard};
pub(crate) use lifecycle::SETTLE;
pub use lock::ProjectLock;
pub(crate) use runner::{Arm, OnEnd, Options, Runner, Teardown, waiting_for_others};
