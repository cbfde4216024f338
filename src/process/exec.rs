//! Commands as data, and the one place where they become processes.
//!
//! An [`Invocation`] can be looked at, compared and printed before anything runs. [`Executor`] and [`Running`] are the
//! seam behind which tests put a fake; [`System`] is the real thing, and [`Echo`] shows every command on its way there.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::get::Get;
use crate::os::{self, Group};
use crate::shell::Logger;

/// Where the output of a spawned command goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// To our own stdout and stderr, without passing through us.
    #[default]
    Live,
    /// Standard output as with [`Show::Live`]; standard error through us, as it comes, so that its end can be kept.
    LiveAndKept,
    /// Held back, to be shown only if the command fails.
    IfItFails,
    /// Nowhere: there is no terminal left to write to.
    Nothing,
}

/// A command that has not run yet: program, arguments, environment, directory and standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
    stdin: Option<String>,
    show: Show,
    /// Whether its standard output goes to our standard error.
    aside: bool,
    errors: Errors,
    group: Group,
    /// How long its output may take to come.
    limit: Option<Duration>,
}

/// Where the standard error of a command goes that is asked for its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errors {
    /// Into a place of its own.
    Apart,
    /// To the standard output, as with `2>&1`.
    WithOutput,
    /// To our own.
    Shown,
}

impl From<Command> for Invocation {
    /// Takes over program, arguments, added environment and directory; variables that the command removes are not kept.
    fn from(command: Command) -> Invocation {
        let mut env: Vec<_> =
            command.get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect();
        env.sort();
        Invocation {
            program: command.get_program().to_owned(),
            args: command.get_args().map(OsStr::to_owned).collect(),
            env,
            cwd: command.get_current_dir().map(Path::to_owned),
            stdin: None,
            show: Show::Live,
            aside: false,
            errors: Errors::Apart,
            group: Group::Ours,
            limit: None,
        }
    }
}

impl From<xshell::Cmd<'_>> for Invocation {
    fn from(cmd: xshell::Cmd<'_>) -> Invocation {
        Invocation::from(Command::from(cmd))
    }
}

impl Invocation {
    /// Gives the command this text as standard input; without it, standard input is empty.
    #[must_use]
    pub fn stdin(mut self, text: impl Into<String>) -> Invocation {
        self.stdin = Some(text.into());
        self
    }

    /// Lets what it prints on standard output go to our standard error when it is spawned and shown.
    #[must_use]
    fn aside(mut self) -> Invocation {
        self.aside = true;
        self
    }

    /// Says where the output goes when the command is spawned.
    #[must_use]
    pub fn show(mut self, show: Show) -> Invocation {
        self.show = show;
        self
    }

    /// Lets standard error go to where standard output goes, each line in its place, when the command is asked for its
    /// output.
    #[must_use]
    pub fn with_errors(mut self) -> Invocation {
        self.errors = Errors::WithOutput;
        self
    }

    /// Lets standard error go to our own when the command is asked for its output or listened to.
    #[must_use]
    pub fn with_errors_shown(mut self) -> Invocation {
        self.errors = Errors::Shown;
        self
    }

    /// Puts the command into a process group of its own, where a Ctrl+C of the terminal does not reach it.
    #[must_use]
    pub fn shielded(mut self) -> Invocation {
        if self.group == Group::Ours {
            self.group = Group::Own;
        }
        self
    }

    /// Puts the command into the process group of another one, so that what ends that one's group ends both.
    #[must_use]
    pub fn beside(mut self, leader: u32) -> Invocation {
        self.group = Group::Of(leader);
        self
    }

    /// Ends the command with [`io::ErrorKind::TimedOut`] if its output takes longer, when it is asked for that.
    #[must_use]
    pub(super) fn within(mut self, limit: Duration) -> Invocation {
        self.limit = Some(limit);
        self
    }

    /// Whether it asks the engine for something that is there, which takes a moment. What removes something may take long, and
    /// Compose has more to do than to ask.
    fn is_question(&self) -> bool {
        let words: Vec<_> = self.args.iter().filter_map(|arg| arg.to_str()).take(2).collect();
        self.program == "docker"
            && match words[..] {
                ["ps" | "info" | "version" | "events" | "logs", ..] => true,
                [what, "ls" | "inspect"] => what != "context",
                _ => false,
            }
    }

    /// The program, as it is looked up on `PATH`.
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// The arguments, without the program.
    pub fn args(&self) -> &[OsString] {
        &self.args
    }

    /// The variables set for this command, sorted by name.
    pub fn env(&self) -> &[(OsString, OsString)] {
        &self.env
    }

    /// The directory that the command runs in; ours if there is none.
    pub fn cwd(&self) -> Option<&Path> {
        self.cwd.as_deref()
    }

    /// Program and arguments, as the system shows them of the process.
    pub(super) fn argv(&self) -> Vec<Vec<u8>> {
        [&self.program].into_iter().chain(&self.args).map(|word| word.as_encoded_bytes().to_vec()).collect()
    }

    /// The command as a line for a POSIX shell: pasted there, in [`Invocation::cwd`], it runs the same thing.
    ///
    /// Bytes that are not UTF-8 come out as they are, which is why this is no `String`.
    pub fn line(&self) -> OsString {
        let mut line = Vec::new();
        if let Some(stdin) = &self.stdin {
            line.extend_from_slice(b"printf %s ");
            push_quoted(&mut line, stdin.as_bytes());
            line.extend_from_slice(b" | ");
        }
        for (key, value) in &self.env {
            line.extend_from_slice(key.as_encoded_bytes());
            line.push(b'=');
            push_quoted(&mut line, value.as_encoded_bytes());
            line.push(b' ');
        }
        push_quoted(&mut line, self.program.as_encoded_bytes());
        for arg in &self.args {
            line.push(b' ');
            push_argument(&mut line, arg.as_encoded_bytes());
        }
        if self.errors == Errors::WithOutput {
            line.extend_from_slice(b" 2>&1");
        }
        os::text(line)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        os::join(&mut command, self.group);
        command
    }
}

impl fmt::Display for Invocation {
    /// [`Invocation::line`], with bytes that are not UTF-8 replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line().to_string_lossy().fmt(f)
    }
}

/// Adds a word that needs no quotes as it is, since a quoted `traefik=0` is harder to read; shlex quotes the others.
fn push_argument(line: &mut Vec<u8>, word: &[u8]) {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(byte);
    // zsh expands a leading `=`.
    if !word.is_empty() && !word.starts_with(b"=") && word.iter().all(plain) {
        line.extend_from_slice(word);
    } else {
        push_quoted(line, word);
    }
}

fn push_quoted(line: &mut Vec<u8>, word: &[u8]) {
    match shlex::bytes::try_quote(word) {
        Ok(quoted) => line.extend_from_slice(&quoted),
        // Only a NUL cannot be quoted, and the system starts no process with one in an argument.
        Err(_) => line.extend_from_slice(word),
    }
}

/// How a spawned command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code or the signal that ended it.
    pub status: ExitStatus,
    /// What it printed, where that was held back ([`Show::IfItFails`]), or the end of it, where that was kept
    /// ([`Show::LiveAndKept`]).
    pub kept: Vec<u8>,
}

/// Called once, from another thread, when a spawned command has ended.
pub type OnExit = Box<dyn FnOnce() + Send>;

/// Runs commands.
pub trait Executor: Send + Sync {
    /// Runs a command to its end and returns what it printed.
    ///
    /// # Errors
    /// If the program cannot be started; how it ended is no error here.
    fn output(&self, invocation: &Invocation) -> io::Result<Output>;

    /// Starts a command and returns at once; `on_exit` is called when it has ended.
    ///
    /// # Errors
    /// If the program cannot be started; `on_exit` is not called then.
    fn spawn(&self, invocation: &Invocation, on_exit: OnExit) -> io::Result<Box<dyn Running>>;

    /// Starts a command and returns at once; `on_line` is called for each line of its standard output, from another
    /// thread. What it prints on standard error goes nowhere, unless it is to be shown.
    ///
    /// # Errors
    /// If the program cannot be started, or this executor cannot listen.
    fn listen(&self, invocation: &Invocation, on_line: OnLine) -> io::Result<Box<dyn Running>> {
        let _ = (invocation, on_line);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Asks a server behind a socket and returns the body of its answer.
    ///
    /// # Errors
    /// If there is no answer with status 200, or this executor cannot ask.
    fn get(&self, question: &Get) -> io::Result<Vec<u8>> {
        let _ = question;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Lets the command take the place of this very process; returns only if that cannot be, and why.
    fn become_it(&self, invocation: &Invocation) -> io::Error {
        let _ = invocation;
        io::ErrorKind::Unsupported.into()
    }
}

/// Called for each line that a command prints; dropped when there will be no more.
pub type OnLine = Box<dyn FnMut(&str) + Send>;

/// A command that was started.
pub trait Running: Send {
    /// How it ended; blocks until it has. What a command that failed leaves in a process group of its own is ended too: a
    /// plugin goes on without the docker that started it.
    ///
    /// # Errors
    /// If the system does not tell.
    fn wait(&mut self) -> io::Result<Ended>;

    /// Ends the command at once (SIGKILL), and what else is in its process group if it has one of its own. Containers do not
    /// belong to it.
    fn cut_off(&mut self);

    /// The process's id.
    fn id(&self) -> u32;
}

/// Starts real processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Executor for System {
    fn output(&self, invocation: &Invocation) -> io::Result<Output> {
        let mut command = invocation.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(limit) = invocation.limit {
            return output_within(command, invocation, limit);
        }
        if invocation.errors == Errors::Shown {
            command.stderr(Stdio::inherit());
        }
        if invocation.errors == Errors::WithOutput {
            let (mut reader, writer) = io::pipe()?;
            let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
            feed(&mut child, invocation);
            drop(command); // and with it our copies of the pipe, so that reading it comes to an end
            let mut stdout = Vec::new();
            reader.read_to_end(&mut stdout)?;
            return Ok(Output { status: child.wait()?, stdout, stderr: Vec::new() });
        }
        let mut child = command.spawn()?;
        feed(&mut child, invocation);
        child.wait_with_output()
    }

    fn spawn(&self, invocation: &Invocation, on_exit: OnExit) -> io::Result<Box<dyn Running>> {
        let mut command = invocation.command();
        let mut pipe = None;
        if invocation.aside {
            command.stdout(io::stderr());
        }
        match invocation.show {
            Show::Live => {}
            Show::Nothing => {
                command.stdout(Stdio::null()).stderr(Stdio::null());
            }
            Show::LiveAndKept => {
                let (reader, writer) = io::pipe()?;
                command.stderr(writer);
                pipe = Some(reader);
            }
            Show::IfItFails => {
                let (reader, writer) = io::pipe()?;
                command.stdout(writer.try_clone()?).stderr(writer);
                pipe = Some(reader);
            }
        }
        let mut process = Process::start(command, invocation)?;
        process.kept = pipe.map(|reader| keep(reader, invocation.show));
        let end = os::end_of(&process.child)?;
        thread::spawn(move || {
            end();
            on_exit();
        });
        Ok(Box::new(process))
    }

    fn listen(&self, invocation: &Invocation, mut on_line: OnLine) -> io::Result<Box<dyn Running>> {
        let mut command = invocation.command();
        let errors = if invocation.errors == Errors::Shown { Stdio::inherit() } else { Stdio::null() };
        command.stdout(Stdio::piped()).stderr(errors);
        let mut process = Process::start(command, invocation)?;
        if let Some(stdout) = process.child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    on_line(&line);
                }
            });
        }
        Ok(Box::new(process))
    }

    fn get(&self, question: &Get) -> io::Result<Vec<u8>> {
        question.answer()
    }

    fn become_it(&self, invocation: &Invocation) -> io::Error {
        os::become_it(&mut invocation.command())
    }
}

/// Gives a command what it is to read, in a thread of its own since nobody says that it does. One that does not has a reason,
/// and its exit status tells it.
fn feed(child: &mut Child, invocation: &Invocation) {
    if let (Some(text), Some(mut stdin)) = (invocation.stdin.clone(), child.stdin.take()) {
        thread::spawn(move || stdin.write_all(text.as_bytes()));
    }
}

/// As [`System::output`], for a command whose output may not come at all.
fn output_within(mut command: Command, invocation: &Invocation, limit: Duration) -> io::Result<Output> {
    let (out, out_end) = io::pipe()?;
    match invocation.errors {
        Errors::Apart => command.stdout(out_end),
        Errors::WithOutput => command.stderr(out_end.try_clone()?).stdout(out_end),
        Errors::Shown => command.stdout(out_end).stderr(Stdio::inherit()),
    };
    let mut process = Process::start(command, invocation)?;
    let err = process.child.stderr.take().map(read);
    let Ok(stdout) = read(out).recv_timeout(limit) else {
        process.cut_off();
        let _ = process.child.wait();
        return Err(io::ErrorKind::TimedOut.into());
    };
    let stderr = err.and_then(|err| err.recv_timeout(LAST_BREATH).ok()).unwrap_or_default();
    Ok(Output { status: process.child.wait()?, stdout, stderr })
}

/// Reads to the end, in a thread of its own.
fn read(mut reader: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, all) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = reader.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    all
}

/// How much of a long output is kept: more than anybody reads, less than anybody notices.
const KEPT: usize = 64 * 1024;
/// How long the end of a command's output may take to come after the command itself has ended.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// Reads to the end, in a thread of its own, and then sends what there was: all of it, or the end of what is shown
/// meanwhile.
fn keep(mut reader: PipeReader, show: Show) -> Receiver<Vec<u8>> {
    let (done, kept) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = reader.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..read]);
            if show == Show::LiveAndKept {
                // Whoever read it may be gone; the command is not to end because of that.
                let mut stderr = io::stderr();
                let _ = stderr.write_all(&buffer[..read]).and_then(|()| stderr.flush());
                bytes.drain(..bytes.len().saturating_sub(KEPT));
            }
        }
        // Nobody waits for it any more when the run is over.
        let _ = done.send(bytes);
    });
    kept
}

struct Process {
    child: Child,
    tree: Option<os::Tree>,
    kept: Option<Receiver<Vec<u8>>>,
}

impl Process {
    /// Takes the command, and with it our copies of its pipes, so that reading them comes to an end.
    fn start(mut command: Command, invocation: &Invocation) -> io::Result<Process> {
        let (mut child, tree) = os::spawn(&mut command, invocation.group)?;
        feed(&mut child, invocation);
        Ok(Process { child, tree, kept: None })
    }
}

impl Running for Process {
    fn wait(&mut self) -> io::Result<Ended> {
        if let Some(tree) = &self.tree {
            // Until it is reaped, the group's number is its own.
            if os::has_failed(&mut self.child) {
                let _ = tree.kill();
            } else {
                tree.let_go();
            }
        }
        let status = self.child.wait()?;
        let kept = self.kept.take().and_then(|kept| kept.recv_timeout(LAST_BREATH).ok());
        Ok(Ended { status, kept: kept.unwrap_or_default() })
    }

    fn cut_off(&mut self) {
        // An error means that it is gone already, which is what was wanted.
        let _ = match &self.tree {
            Some(tree) => tree.kill(),
            None => self.child.kill(),
        };
    }

    fn id(&self) -> u32 {
        self.child.id()
    }
}

/// A shielded command that was started by a process that has died since; None if it is over.
pub(super) fn adopt(pid: u32, on_exit: OnExit) -> Option<Box<dyn Running>> {
    let orphan = Arc::new(os::Orphan::of(pid)?);
    let adopted = Adopted { pid, orphan: Arc::clone(&orphan) };
    thread::spawn(move || {
        orphan.wait();
        on_exit();
    });
    Some(Box::new(adopted))
}

struct Adopted {
    pid: u32,
    orphan: Arc<os::Orphan>,
}

impl Running for Adopted {
    fn wait(&mut self) -> io::Result<Ended> {
        Err(io::Error::other("it was started by another process"))
    }

    fn cut_off(&mut self) {
        self.orphan.kill();
    }

    fn id(&self) -> u32 {
        self.pid
    }
}

/// How long an engine that does not answer is waited for: a restart takes about ten seconds.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// As long as it has not answered again since.
const LITTLE_PATIENCE: Duration = Duration::from_secs(2);
/// How long no question is asked after one that was not answered. The same question to docker, and what else is asked in the same
/// moment, would wait for nothing, one after the other.
pub(super) const PAUSE_AFTER_SILENCE: Duration = Duration::from_secs(1);
/// After which time it is said what is waited for.
const SAY_AFTER: Duration = Duration::from_secs(2);

/// Shows every command before the executor within runs it, and waits for no answer of an engine for ever.
pub struct Echo {
    executor: Arc<dyn Executor>,
    logger: Arc<dyn Logger>,
    silent: Mutex<Option<Silence>>,
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

impl Echo {
    /// Shows to `logger` what `executor` is about to run.
    pub fn new(executor: Arc<dyn Executor>, logger: Arc<dyn Logger>) -> Echo {
        Echo { executor, logger, silent: Mutex::default() }
    }

    fn silent(&self) -> MutexGuard<'_, Option<Silence>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if the engine has just left a question unanswered.
    fn require_answers(&self) -> io::Result<()> {
        match *self.silent() {
            Some(silence) if silence.last.elapsed() < PAUSE_AFTER_SILENCE => Err(silence.error()),
            _ => Ok(()),
        }
    }

    /// Asks the engine a question and gives it up when the time is over.
    fn within<T>(&self, is_shown: bool, ask: impl FnOnce(Duration) -> io::Result<T>) -> io::Result<T> {
        let was_silent = self.silent().is_some();
        let asked = Instant::now();
        let limit = if was_silent { LITTLE_PATIENCE } else { PATIENCE };
        let (answered, is_answered) = mpsc::channel::<()>();
        if is_shown && !was_silent {
            let logger = Arc::clone(&self.logger);
            thread::spawn(move || {
                if is_answered.recv_timeout(SAY_AFTER) == Err(RecvTimeoutError::Timeout) {
                    let seconds = PATIENCE.as_secs();
                    logger.status("Waiting", &format!("for the engine, which does not answer; {seconds} s at most"));
                }
            });
        }
        let answer = ask(limit);
        drop(answered);
        let mut silent = self.silent();
        match &answer {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let silence = silent.get_or_insert(Silence { since: asked, last: asked });
                silence.last = Instant::now();
                Err(silence.error())
            }
            _ => {
                *silent = None;
                answer
            }
        }
    }
}

impl Executor for Echo {
    fn output(&self, invocation: &Invocation) -> io::Result<Output> {
        if invocation.is_question() {
            self.require_answers()?;
        }
        self.logger.command(&invocation.line());
        if invocation.is_question() {
            return self.within(true, |limit| self.executor.output(&invocation.clone().within(limit)));
        }
        self.executor.output(invocation)
    }

    fn spawn(&self, invocation: &Invocation, on_exit: OnExit) -> io::Result<Box<dyn Running>> {
        self.logger.command(&invocation.line());
        self.executor.spawn(invocation, on_exit)
    }

    fn listen(&self, invocation: &Invocation, on_line: OnLine) -> io::Result<Box<dyn Running>> {
        self.logger.command(&invocation.line());
        self.executor.listen(invocation, on_line)
    }

    fn get(&self, question: &Get) -> io::Result<Vec<u8>> {
        self.require_answers()?;
        if !question.is_repeated {
            self.logger.detail("Asking", &Invocation::from(question.curl()).to_string());
        }
        self.within(!question.is_repeated, |limit| self.executor.get(&question.clone().within(limit)))
    }

    fn become_it(&self, invocation: &Invocation) -> io::Error {
        self.logger.command(&invocation.line());
        self.executor.become_it(invocation)
    }
}

/// Lets what a command prints on its standard output go to our standard error, where ours is for others.
pub struct Aside(pub Arc<dyn Executor>);

impl Executor for Aside {
    fn output(&self, invocation: &Invocation) -> io::Result<Output> {
        self.0.output(invocation)
    }

    fn spawn(&self, invocation: &Invocation, on_exit: OnExit) -> io::Result<Box<dyn Running>> {
        self.0.spawn(&invocation.clone().aside(), on_exit)
    }

    fn listen(&self, invocation: &Invocation, on_line: OnLine) -> io::Result<Box<dyn Running>> {
        self.0.listen(invocation, on_line)
    }

    fn get(&self, question: &Get) -> io::Result<Vec<u8>> {
        self.0.get(question)
    }
}

/// Asks a server what has been shown before, so that it is not shown again.
pub struct Again(pub Arc<dyn Executor>);

impl Executor for Again {
    fn output(&self, invocation: &Invocation) -> io::Result<Output> {
        self.0.output(invocation)
    }

    fn spawn(&self, invocation: &Invocation, on_exit: OnExit) -> io::Result<Box<dyn Running>> {
        self.0.spawn(invocation, on_exit)
    }

    fn get(&self, question: &Get) -> io::Result<Vec<u8>> {
        self.0.get(&question.again())
    }
}

/// Keeps the terminal's Ctrl+C away from every command that it passes on.
pub struct Shield(pub Arc<dyn Executor>);

impl Executor for Shield {
    fn output(&self, invocation: &Invocation) -> io::Result<Output> {
        self.0.output(&invocation.clone().shielded())
    }

    fn spawn(&self, invocation: &Invocation, on_exit: OnExit) -> io::Result<Box<dyn Running>> {
        self.0.spawn(&invocation.clone().shielded(), on_exit)
    }

    fn listen(&self, invocation: &Invocation, on_line: OnLine) -> io::Result<Box<dyn Running>> {
        self.0.listen(&invocation.clone().shielded(), on_line)
    }

    fn get(&self, question: &Get) -> io::Result<Vec<u8>> {
        self.0.get(question)
    }
}

#[cfg(test)]
#[cfg(unix)] // What runs in them is sh.
mod tests;
