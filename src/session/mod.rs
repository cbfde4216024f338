//! Runs the dev stack: starts it, waits, and tears it down in every case.
//!
//! The lifecycle law:
//! 1. Interrupts are handled and the guard is armed **before** `up` is spawned.
//! 2. A signal handler only sends an event. One thread waits for each child; the main thread blocks on one channel and
//!    polls nothing.
//! 3. `up` runs in a process group of its own, with empty stdin and `COMPOSE_MENU=0`; its output goes straight to the
//!    terminal. Only this program receives Ctrl+C.
//! 4. A container that handles SIGTERM is never killed because of how `up` was ended: the `up` client is killed (containers keep
//!    running), or it stays attached until `down` has removed its containers, if its version supports that.
//! 5. The first interrupt starts a graceful `down`, the second `down --timeout 0`. The third exits, and
//!    the guard finishes. Each prints what the next one will do.
//! 6. `down` runs in a process group of its own, so Ctrl+C never cuts it off.
//! 7. Exit code 0 of `down` proves nothing: the engine is asked what is left. If something is left: once more with every
//!    profile and orphan; then by project name, without the file; then an error.
//! 8. A foreground run owns the stack: however it ends, it tears the stack down, unless `--keep` was given.
//! 9. A detached start that fails and found nothing running reports the cause and removes what it created. One
//!    that found a running stack leaves it alone and says so.
//! 10. The guard is this program in a session of its own, holding the other end of a socket. If the socket closes without a final
//!     message, the run has died; the guard tears the stack down and checks as in 7. It is gone after a normal end.
//! 11. One project, one change at a time: every start and every teardown holds the project's lock, and the guard inherits
//!     it.
//! 12. An engine that does not answer is asked again for a limited time.
//! 13. Compose's report that a stack has started, or is ready, proves nothing: the engine is asked for the state of each container,
//!     and its events are followed.
//! 14. What crates need before they are built is a part of the same run: the guard is armed before its `up`, and stays until the whole
//!     stack has been started or this part is torn down.
//! 15. An interrupt during a build, before there is anything to tear down, ends the build with all its processes.
//! 16. Another thread, the reloader, applies changes. Only the run starts and ends an attached `up`. Before a teardown, the run notifies the
//!     reloader, which ends its command; the guard has the process id of that command.
//! 17. A command that a stack is started for runs between a start that is over and a teardown. Interrupts go to the command; the guard ends
//!     it, with its process group, before the teardown. Meanwhile the run owns the stack, and others may change it.
//!
//! `lifecycle` is this law as a table, [`Runner`] carries it out, and `spec/dev/process-mgmt.md` gives the reasons.

mod guard;
mod lifecycle;
mod lock;
mod preparation;
mod runner;

pub(crate) use guard::listen;
pub use guard::{Guard, GuardTask, is_guard};
pub(crate) use lifecycle::SETTLE;
pub use lock::ProjectLock;
pub(crate) use preparation::Preparation;
pub(crate) use runner::{
    Arm, GivenUp, Helper, OnEnd, Options, Outcome, RunHandle, RunNews, Runner, Teardown, Watching, waiting_for_others,
};
