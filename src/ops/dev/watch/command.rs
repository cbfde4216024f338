//! Runs a command of a reload, and ends it if a newer change arrives or the run ends.

use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Instant;

use super::inbox::News;
use super::{QUIET, Reloader};
use crate::command::{CommandEnd, Executor as _, Interrupt, Invocation};
use crate::session::Helper;

/// What ends a command early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndedBy {
    /// The end of the run, or a change of the files.
    Change,
    /// The end of the run.
    End,
    /// Only an end of the run that waits for nothing: the engine creates something for it.
    Hurry,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    ByItself(ExitStatus),
    /// By a change of the files.
    Superseded,
    /// By the end of the run.
    Ending,
}

enum Heard {
    News(News),
    Line(String),
    Over,
}

/// Sends [`Heard::Over`] when it is dropped.
struct Lines(Sender<Heard>);

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.0.send(Heard::Over);
    }
}

impl Reloader<'_> {
    /// Runs a command to its end, or to the end of the run, and returns its standard output.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn output(&mut self, command: &Invocation) -> anyhow::Result<CommandEnd> {
        let mut printed = String::new();
        let ended = self.command(command, EndedBy::End, |_| {}, &mut |_, line| {
            printed.push_str(line);
            printed.push('\n');
            Ok(())
        })?;
        Ok(match ended {
            Ended::ByItself(status) => CommandEnd::Ended(status, printed),
            // Whatever has ended the run.
            Ended::Superseded | Ended::Ending => CommandEnd::Interrupted(Interrupt::Int),
        })
    }

    /// Runs a command to its end, unless something ends it. `started` is called while it runs, `on_line` for each line that it prints.
    ///
    /// # Errors
    /// If it cannot be started; those of `on_line`.
    pub(super) fn command(
        &mut self,
        invocation: &Invocation,
        ended_by: EndedBy,
        started: impl FnOnce(&mut Self),
        on_line: &mut dyn FnMut(&mut Self, &str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Ended> {
        if self.inbox.is_ending() {
            return Ok(Ended::Ending);
        }
        let (sender, heard) = mpsc::channel();
        let (lines, news) = (Lines(sender.clone()), sender);
        let inbox = Arc::clone(self.inbox);
        let listening = inbox.listen(move |it| drop(news.send(Heard::News(it))));
        let tell_line = move |line: &str| drop(lines.0.send(Heard::Line(line.to_string())));
        // In a process group of its own, which can be ended as a whole.
        let mut process = self.cx.commander.listen(&invocation.clone().shielded(), Box::new(tell_line))?;
        self.handle.helper(Some(Helper { pid: process.id(), creates: ended_by == EndedBy::Hurry }));
        started(self);
        let mut quiet_at: Option<Instant> = None;
        let mut failed = None;
        let early = loop {
            let next = match quiet_at {
                None => heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => heard.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match next {
                Ok(Heard::Line(line)) => {
                    if let Err(error) = on_line(self, &line) {
                        failed = Some(error);
                        process.cut_off();
                        break None;
                    }
                }
                Ok(Heard::Over) | Err(RecvTimeoutError::Disconnected) => break None,
                Ok(Heard::News(news)) => {
                    if ended_by == EndedBy::Change && matches!(news, News::Woken) {
                        quiet_at = Some(Instant::now() + QUIET);
                    }
                    self.note(news);
                }
                Err(RecvTimeoutError::Timeout) => {
                    quiet_at = None;
                    if self.has_changed() {
                        process.cut_off();
                        break Some(Ended::Superseded);
                    }
                }
            }
            let is_over = match ended_by {
                EndedBy::Change | EndedBy::End => self.inbox.is_ending(),
                EndedBy::Hurry => self.inbox.is_hurried(),
            };
            if is_over {
                process.cut_off();
                break Some(Ended::Ending);
            }
        };
        drop(listening);
        let status = process.wait()?.status;
        self.handle.helper(None);
        for late in heard.try_iter() {
            if let Heard::News(news) = late {
                self.note(news);
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(early.unwrap_or(Ended::ByItself(status))),
        }
    }
}
