//! Starts real processes.

use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use super::executor::{Ended, Executor, OnExit, OnLine, Running};
use super::invocation::{Errors, Invocation, Show};
use super::request::Request;
use crate::os;

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
        if invocation.stdout_to_stderr {
            command.stdout(io::stderr());
        }
        match invocation.show {
            Show::Live => {}
            Show::Nothing => {
                command.stdout(Stdio::null()).stderr(Stdio::null());
            }
            Show::LiveAndKept | Show::ErrorsLive => {
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
        let mut held_back = None;
        if invocation.show == Show::ErrorsLive {
            let (reader, writer) = io::pipe()?;
            command.stdout(writer);
            held_back = Some(reader);
        }
        let mut process = Process::start(command, invocation)?;
        process.held_back = held_back.map(read);
        let left_out = invocation.left_out.filter(|_| invocation.show == Show::ErrorsLive);
        process.kept = pipe.map(|reader| keep(reader, invocation.show, left_out));
        let end = os::end_of(&process.child, process.tree.as_ref())?;
        thread::spawn(move || {
            end();
            on_exit();
        });
        Ok(Box::new(process))
    }

    fn listen(&self, invocation: &Invocation, mut on_line: OnLine) -> io::Result<Box<dyn Running>> {
        let mut command = invocation.command();
        let (output, writer) = io::pipe()?;
        match invocation.errors {
            Errors::Apart => command.stderr(Stdio::null()),
            Errors::WithOutput => command.stderr(writer.try_clone()?),
            Errors::Shown => command.stderr(Stdio::inherit()),
        };
        command.stdout(writer);
        let process = Process::start(command, invocation)?;
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                on_line(&line);
            }
        });
        Ok(Box::new(process))
    }

    fn request(&self, request: &Request) -> io::Result<Vec<u8>> {
        request.answer()
    }

    fn exec(&self, invocation: &Invocation) -> io::Error {
        os::exec(&mut invocation.command())
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
/// meanwhile. `left_out`: how lines begin and end that are not shown.
fn keep(mut reader: PipeReader, show: Show, left_out: Option<(&'static str, &'static str)>) -> Receiver<Vec<u8>> {
    let (done, kept) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut relay = Relay { left_out, line: Vec::new() };
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = reader.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..read]);
            if [Show::LiveAndKept, Show::ErrorsLive].contains(&show) {
                relay.show(&buffer[..read]);
                bytes.drain(..bytes.len().saturating_sub(KEPT));
            }
        }
        relay.end();
        // Nobody waits for it any more when the run is over.
        let _ = done.send(bytes);
    });
    kept
}

/// Writes the output of a command to our standard error.
struct Relay {
    left_out: Option<(&'static str, &'static str)>,
    /// The beginning of a line, where lines are left out.
    line: Vec<u8>,
}

impl Relay {
    fn show(&mut self, bytes: &[u8]) {
        let Some((beginning, ending)) = self.left_out else { return write(bytes) };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if !piece.ends_with(b"\n") {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let text = line.trim_ascii_end();
            if !(text.starts_with(beginning.as_bytes()) && text.ends_with(ending.as_bytes())) {
                write(&line);
            }
        }
    }

    fn end(self) {
        write(&self.line);
    }
}

/// Whoever read it may be gone; the command is not to end because of that.
fn write(bytes: &[u8]) {
    let mut stderr = io::stderr();
    let _ = stderr.write_all(bytes).and_then(|()| stderr.flush());
}

struct Process {
    child: Child,
    tree: Option<os::Tree>,
    kept: Option<Receiver<Vec<u8>>>,
    held_back: Option<Receiver<Vec<u8>>>,
}

impl Process {
    /// Takes the command, and with it our copies of its pipes, so that reading them comes to an end.
    fn start(mut command: Command, invocation: &Invocation) -> io::Result<Process> {
        let (mut child, tree) = os::spawn(&mut command, invocation.group)?;
        feed(&mut child, invocation);
        Ok(Process { child, tree, kept: None, held_back: None })
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
        let rest = |pipe: Option<Receiver<Vec<u8>>>| pipe.and_then(|pipe| pipe.recv_timeout(LAST_BREATH).ok());
        let (kept, held_back) = (rest(self.kept.take()), rest(self.held_back.take()));
        Ok(Ended { status, kept: kept.unwrap_or_default(), held_back: held_back.unwrap_or_default() })
    }

    fn cut_off(&mut self) {
        // An error means that it is gone already, which is what was wanted.
        let _ = match &self.tree {
            Some(tree) => tree.kill(),
            None => self.child.kill(),
        };
    }

    fn pass_on(&mut self, signal: u8) {
        // As above.
        let _ = self.tree.as_ref().map(|tree| tree.signal(signal));
    }

    fn id(&self) -> u32 {
        self.child.id()
    }
}

/// A shielded command that was started by a process that has died since; None if it is over.
pub(crate) fn adopt(pid: u32, on_exit: OnExit) -> Option<Box<dyn Running>> {
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

    fn pass_on(&mut self, _: u8) {}

    fn id(&self) -> u32 {
        self.pid
    }
}
