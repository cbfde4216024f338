//! Shows every command before it runs, and limits how long the engine may take to answer.

use std::io;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::executor::{Executor, OnExit, OnLine, Running};
use super::invocation::Invocation;
use super::request::Request;
use crate::reporter::Logger;

/// How long to wait for an engine that does not answer: a restart takes about ten seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The limit for each further question until the engine has answered again.
const LITTLE_PATIENCE: Duration = Duration::from_secs(2);
/// How long no question is asked after one that was not answered. The same question to docker, and what else is asked in the same
/// moment, would wait for nothing, one after the other.
pub(crate) const PAUSE_AFTER_SILENCE: Duration = Duration::from_secs(1);
/// How long to wait before a status line says what is waited for.
const SAY_AFTER: Duration = Duration::from_secs(2);

/// Runs commands through another executor and shows each of them. Copies share what is known about the engine's silence.
#[derive(Clone)]
pub(crate) struct Commander {
    executor: Arc<dyn Executor>,
    /// Without a logger, commands are not shown and questions have no limit.
    logger: Option<Arc<dyn Logger>>,
    silence: Arc<Mutex<Option<Silence>>>,
    /// Whether a status line has said that the engine is waited for, since its last answer.
    has_said: Arc<AtomicBool>,
    stdout_to_stderr: bool,
    is_shielded: bool,
    is_repeating: bool,
}

/// An engine that accepts questions and does not answer.
#[derive(Clone, Copy)]
struct Silence {
    /// When the first question was asked that was not answered.
    since: Instant,
    /// When the last one was given up.
    last: Instant,
}

impl Silence {
    fn error(self) -> io::Error {
        let waited = format!("it gave no answer within {} seconds", self.since.elapsed().as_secs());
        io::Error::new(io::ErrorKind::TimedOut, waited)
    }
}

impl Commander {
    /// Shows to `logger` what `executor` is about to run, and gives up questions to the engine after [`PATIENCE`].
    pub(crate) fn new(executor: Arc<dyn Executor>, logger: Arc<dyn Logger>) -> Commander {
        Commander { logger: Some(logger), ..Commander::unlimited(executor) }
    }

    /// Shows nothing, and waits for the engine without a limit.
    pub(crate) fn unlimited(executor: Arc<dyn Executor>) -> Commander {
        Commander {
            executor,
            logger: None,
            silence: Arc::default(),
            has_said: Arc::default(),
            stdout_to_stderr: false,
            is_shielded: false,
            is_repeating: false,
        }
    }

    /// Sends the standard output of spawned commands to our standard error, because ours carries JSON messages.
    #[must_use]
    pub(crate) fn stdout_to_stderr(self) -> Commander {
        Commander { stdout_to_stderr: true, ..self }
    }

    /// Runs every command in a process group of its own, where a Ctrl+C in the terminal does not reach it.
    #[must_use]
    pub(crate) fn shielded(self) -> Commander {
        Commander { is_shielded: true, ..self }
    }

    /// Does not show requests over a socket, because the same ones were shown a moment ago.
    #[must_use]
    pub(crate) fn repeating(self) -> Commander {
        Commander { is_repeating: true, ..self }
    }

    /// Suppresses the status line, because the caller has printed one that the engine is waited for.
    pub(crate) fn says_that_it_waits(&self) {
        self.has_said.store(true, Ordering::SeqCst);
    }

    fn show(&self, invocation: &Invocation) {
        if let Some(logger) = &self.logger {
            logger.command(&invocation.line());
        }
    }

    fn shield(&self, invocation: &Invocation) -> Invocation {
        if self.is_shielded { invocation.clone().shielded() } else { invocation.clone() }
    }

    fn silence(&self) -> MutexGuard<'_, Option<Silence>> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if the engine has just left a question unanswered.
    fn require_answers(&self) -> io::Result<()> {
        match *self.silence() {
            Some(silence) if silence.last.elapsed() < PAUSE_AFTER_SILENCE => Err(silence.error()),
            _ => Ok(()),
        }
    }

    /// Asks the engine a question and gives up after the limit. The status line is written by another thread.
    fn within<T>(
        &self,
        logger: Option<&Arc<dyn Logger>>,
        ask: impl FnOnce(Duration) -> io::Result<T>,
    ) -> io::Result<T> {
        let was_silent = self.silence().is_some();
        let asked = Instant::now();
        let limit = if was_silent { LITTLE_PATIENCE } else { PATIENCE };
        let (answered, is_answered) = mpsc::channel::<()>();
        if let Some(logger) = logger.filter(|_| !was_silent).cloned() {
            let has_said = Arc::clone(&self.has_said);
            thread::spawn(move || {
                let is_late = is_answered.recv_timeout(SAY_AFTER) == Err(RecvTimeoutError::Timeout);
                // Several questions at once are one reason to wait.
                if is_late && !has_said.swap(true, Ordering::SeqCst) {
                    let seconds = PATIENCE.as_secs();
                    logger.status("Waiting", &format!("for the engine, which does not answer; {seconds} s at most"));
                }
            });
        }
        let answer = ask(limit);
        drop(answered);
        let mut silence = self.silence();
        match &answer {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let silence = silence.get_or_insert(Silence { since: asked, last: asked });
                silence.last = Instant::now();
                Err(silence.error())
            }
            _ => {
                *silence = None;
                if answer.is_ok() {
                    self.has_said.store(false, Ordering::SeqCst);
                }
                answer
            }
        }
    }
}

impl Executor for Commander {
    fn output(&self, invocation: &Invocation) -> io::Result<Output> {
        let invocation = self.shield(invocation);
        let Some(logger) = self.logger.as_ref().filter(|_| invocation.is_question()) else {
            self.show(&invocation);
            return self.executor.output(&invocation);
        };
        self.require_answers()?;
        self.show(&invocation);
        self.within(Some(logger), |limit| self.executor.output(&invocation.within(limit)))
    }

    fn spawn(&self, invocation: &Invocation, on_exit: OnExit) -> io::Result<Box<dyn Running>> {
        let invocation = self.shield(invocation);
        self.show(&invocation);
        let invocation = if self.stdout_to_stderr { invocation.stdout_to_stderr() } else { invocation };
        self.executor.spawn(&invocation, on_exit)
    }

    fn listen(&self, invocation: &Invocation, on_line: OnLine) -> io::Result<Box<dyn Running>> {
        let invocation = self.shield(invocation);
        self.show(&invocation);
        self.executor.listen(&invocation, on_line)
    }

    fn request(&self, request: &Request) -> io::Result<Vec<u8>> {
        let Some(logger) = &self.logger else { return self.executor.request(request) };
        self.require_answers()?;
        let shown_by = (!self.is_repeating).then_some(logger);
        if let Some(logger) = shown_by {
            let curl = Invocation::from(request.curl());
            let line = match request.tar() {
                Some(tar) => format!("{} | {curl}", Invocation::from(tar)),
                None => curl.to_string(),
            };
            logger.detail("Asking", &line);
        }
        self.within(shown_by, |limit| self.executor.request(&request.clone().within(limit)))
    }

    fn exec(&self, invocation: &Invocation) -> io::Error {
        self.show(invocation);
        self.executor.exec(invocation)
    }
}
