//! Reports the results of a change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::inbox::News;
use super::{Listener, Reloader};
use crate::command::{Executor as _, OnLine};
use crate::engine::{self, ContainerEvent, Past};
use crate::reporter::Logger as _;
use crate::reporter::event::Event;
use crate::watch::Unwatched;

/// How long after a reload the end of a program counts as a failed reload.
const SOON: Duration = Duration::from_secs(10);
/// How many lines of its log are shown.
const LAST_WORDS: u32 = 20;

impl Reloader<'_> {
    pub(super) fn tell_changed(&self, files: &[PathBuf]) {
        let files = files.iter().map(|file| self.shown(file)).collect();
        self.cx.shell.event(&Event::ChangeSeen { project: self.project(), files });
    }

    pub(super) fn tell_failed(&self, message: String, help: Option<String>, log: Option<(String, Vec<u8>)>) {
        self.cx.shell.event(&Event::ReloadFailed { project: self.project(), message, help, log });
    }

    pub(super) fn tell_unwatched(&self, reason: &Unwatched) {
        let (why, help) = match reason {
            Unwatched::Limit(directories) => (
                format!("the system watches no more directories for this user; {directories} are needed"),
                Some(
                    "raise the limits, as root: `sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=1024`",
                ),
            ),
            Unwatched::Remote(directory) => {
                (format!("{} is on another machine, which does not tell of changes", self.shown(directory)), None)
            }
            Unwatched::Other(why) => (format!("not every directory can be watched: {why}"), None),
        };
        self.cx.shell.warn(&format!("{why}; the files are looked at twice a second instead"));
        help.iter().for_each(|help| self.cx.shell.help(help));
    }

    /// Listens to the end of containers whose programs were replaced, for [`SOON`]. `began` is a moment before that.
    pub(super) fn listen_to_the_reloaded(&mut self, began: Instant) {
        self.stop_listening();
        let Some(clock) = self.clock.filter(|_| !self.reloaded.is_empty()) else { return };
        let inbox = Arc::clone(self.inbox);
        let on_line: OnLine = Box::new(move |line| {
            if let Some(event) = ContainerEvent::parse(line).filter(|event| event.action == "die") {
                inbox.tell(News::Container(event));
            }
        });
        let question = engine::container_events(&self.described.stack.project, Past::Since(clock.at(began))).shielded();
        if let Ok(process) = self.cx.commander.listen(&question, on_line) {
            self.listener = Some(Listener { process, until: Instant::now() + SOON });
        }
    }

    pub(super) fn stop_listening(&mut self) {
        if let Some(mut listener) = self.listener.take() {
            listener.process.cut_off();
            // Reaped, so that it does not stay a zombie.
            let _ = listener.process.wait();
        }
    }

    /// A container has ended; if it was reloaded just now, that is a failed reload.
    pub(super) fn container_ended(&mut self, event: &ContainerEvent) {
        if self.inbox.is_ending() {
            return;
        }
        let Some(service) = self.reloaded.remove(&event.id) else { return };
        // A program that has done its work.
        if event.exit_code == "0" {
            return;
        }
        self.containers = None;
        // What replaces it next is not this program.
        self.programs.remove(&service);
        let log = engine::last_words(&self.cx.commander, &event.id, LAST_WORDS);
        let title = format!("log of {service}, its last {LAST_WORDS} lines at most");
        let message = format!("{service} exited with {} after the reload", event.exit_code);
        let log = (!log.is_empty()).then_some((title, log));
        self.tell_failed(message, Some("the next change of its files starts it again".to_string()), log);
    }
}
