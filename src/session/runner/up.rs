//! The `docker compose up` that a run has started, or the client that follows another run's logs.

use super::Run;
use crate::command::Running;
use crate::engine::Container;
use crate::reporter::Verbosity;
use crate::session::lifecycle::{RunEvent, UpShutdown};
use crate::stack::verdict::UpEnd;

/// The last version of Compose (2.26) that was seen to survive a `down` under an attached `up`; 2.40 may crash:
/// <https://github.com/docker/compose/issues/13559>.
const LAST_TO_BEAR_A_DOWN: (u32, u32) = (2, 26);

/// The exit code of a Go program that has crashed.
const GO_PANIC: i32 = 2;

/// The `up` process and what is known about its end.
pub(super) struct UpClient {
    /// How many there were.
    pub(super) number: u32,
    /// None before it was started, and once its end was handled.
    pub(super) process: Option<Box<dyn Running>>,
    /// The command, as it is shown.
    pub(super) line: String,
    /// How it failed, if it did.
    pub(super) failure: Option<String>,
    /// The last line that Compose printed, where its output was kept.
    pub(super) last_words: Option<String>,
    pub(super) end: UpEnd,
    pub(super) exit_code: Option<i32>,
    /// The exit code that the user's arguments ask for (`--exit-code-from`), once it is known.
    pub(super) asked_code: Option<i64>,
}

impl Default for UpClient {
    fn default() -> UpClient {
        UpClient {
            number: 0,
            process: None,
            line: String::new(),
            failure: None,
            last_words: None,
            end: UpEnd::Well,
            exit_code: None,
            asked_code: None,
        }
    }
}

/// Major and minor number.
fn minor_version(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

impl Run<'_> {
    pub(super) fn up_ended(&mut self) -> RunEvent {
        match &self.readiness.observer {
            // Its end is the beginning of the wait.
            Some(watch) if self.policy.waits => watch.up_is_over(),
            _ => self.stop_observing(),
        }
        let Some(mut up) = self.up.process.take() else {
            return RunEvent::UpEnded { success: false };
        };
        self.guard.forget();
        match up.wait() {
            Ok(ended) if ended.status.success() => {
                self.up.exit_code = Some(0);
                self.logger().detail("Ended", &format!("`{}` with exit status: 0", self.up.line));
                RunEvent::UpEnded { success: true }
            }
            Ok(ended) => {
                self.logger().detail("Ended", &format!("`{}` with {}", self.up.line, ended.status));
                if !ended.held_back.is_empty() {
                    self.logger().replay(&ended.held_back);
                }
                if self.is_quiet() {
                    self.logger().replay(&ended.kept);
                }
                let words = String::from_utf8_lossy(&ended.kept);
                let last = words.lines().map(str::trim).rfind(|line| !line.is_empty());
                self.up.last_words =
                    last.map(|line| line.trim_start_matches("Error response from daemon: ").to_string());
                self.up.failure = Some(format!("`{}` ended with {}", self.up.line, ended.status));
                self.up.exit_code = ended.status.code();
                let crashed = self.up.exit_code == Some(GO_PANIC);
                self.up.end = if crashed { UpEnd::Crashed } else { UpEnd::Badly };
                RunEvent::UpEnded { success: false }
            }
            Err(error) => {
                self.up.failure = Some(format!("`{}` cannot be waited for: {error}", self.up.line));
                self.up.end = UpEnd::Badly;
                RunEvent::UpEnded { success: false }
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.undoing.options.verbosity == Verbosity::Quiet
    }

    /// Ends an `up` that has started everything, so that another one can follow it.
    pub(super) fn end_up(&mut self) {
        self.kill_up();
        self.stop_observing();
        if let Some(mut up) = self.up.process.take() {
            self.guard.forget();
            let _ = up.wait();
        }
        // Its end is no news any more.
        self.up.number += 1;
    }

    pub(super) fn kill_up(&mut self) {
        if let Some(up) = &mut self.up.process {
            self.runner.logger.detail("Killing", "the `up` client; the containers keep running");
            up.cut_off();
            self.runner.logger.restore_terminal();
        }
    }

    /// How to end an `up` that has started these containers. None if it may still be at work.
    pub(super) fn up_shutdown(&self, containers: &[Container]) -> Option<UpShutdown> {
        let shows_the_end = |container: &Container| {
            let version = minor_version(&container.made_by);
            version.is_some_and(|version| version <= LAST_TO_BEAR_A_DOWN)
        };
        let shutdown = if containers.iter().all(shows_the_end) { UpShutdown::Attached } else { UpShutdown::Cut };
        self.expected.is_certain().then_some(shutdown)
    }
}
