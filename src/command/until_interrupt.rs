//! Runs a command until it ends or an interrupt arrives. An interrupt kills the command and everything that it has
//! started.

use std::process::ExitStatus;
use std::sync::mpsc::{self, Sender};

use super::interrupt::{Hook, Interrupt, Pending, SendInterrupt, end_by};
use super::{Executor, Invocation};

/// How it ended.
#[derive(Debug)]
pub(crate) enum CommandEnd {
    /// By itself; with what it printed on standard output, if that was returned or held back.
    Ended(ExitStatus, String),
    /// By this.
    Interrupted(Interrupt),
}

enum Heard {
    Line(String),
    End,
    Interrupt(Interrupt),
}

/// Tells of each line, and of the end when it is dropped.
struct Lines(Sender<Heard>);

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.0.send(Heard::End);
    }
}

/// What becomes of the standard output of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stdout {
    /// It is returned. Standard error is shown only if the command says so.
    Returned,
    /// It goes where the command says, as standard error does.
    Shown,
}

/// Asks a command for its output. Afterwards interrupts have their default effect.
///
/// # Errors
/// If interrupts cannot be hooked, or the command cannot be started.
pub(crate) fn output_until_interrupt(
    executor: &dyn Executor,
    hook: &Hook,
    invocation: &Invocation,
) -> anyhow::Result<CommandEnd> {
    until_interrupt(executor, hook, invocation, Stdout::Returned, None, &mut |_| {})
}

/// Runs a command, unless an interrupt is pending. Afterwards interrupts are pending again, or have their default effect where there is
/// no such place. `started` gets the process's id.
///
/// # Errors
/// If interrupts cannot be hooked, or the command cannot be started.
pub(crate) fn until_interrupt(
    executor: &dyn Executor,
    hook: &Hook,
    invocation: &Invocation,
    stdout: Stdout,
    pending: Option<&Pending>,
    started: &mut dyn FnMut(u32),
) -> anyhow::Result<CommandEnd> {
    let (sender, heard) = mpsc::channel();
    let interrupts = sender.clone();
    hook(Box::new(move |interrupt| {
        let _ = interrupts.send(Heard::Interrupt(interrupt));
    }))?;
    let afterwards = || pending.map_or_else(|| Box::new(end_by) as SendInterrupt, Pending::remember);
    if let Some(interrupt) = pending.and_then(Pending::take) {
        hook(afterwards())?;
        return Ok(CommandEnd::Interrupted(interrupt));
    }
    let lines = Lines(sender);
    // In a process group of its own, which can be ended as a whole.
    let invocation = invocation.clone().shielded();
    let command = match stdout {
        Stdout::Returned => {
            let on_line = move |line: &str| {
                let _ = lines.0.send(Heard::Line(line.to_string()));
            };
            executor.listen(&invocation, Box::new(on_line))
        }
        Stdout::Shown => executor.spawn(&invocation, Box::new(move || drop(lines))),
    };
    let mut command = match command {
        Ok(command) => command,
        Err(error) => {
            hook(afterwards())?;
            return Err(error.into());
        }
    };
    started(command.id());
    let mut printed = String::new();
    let mut interrupt = None;
    for heard in &heard {
        match heard {
            Heard::Line(line) => {
                printed.push_str(&line);
                printed.push('\n');
            }
            Heard::End => break,
            Heard::Interrupt(which) => {
                command.cut_off();
                interrupt = Some(which);
                break;
            }
        }
    }
    let ended = command.wait()?;
    hook(afterwards())?;
    let at_the_last_moment = || {
        heard.try_iter().find_map(|heard| match heard {
            Heard::Interrupt(interrupt) => Some(interrupt),
            Heard::Line(_) | Heard::End => None,
        })
    };
    Ok(match interrupt.or_else(at_the_last_moment) {
        Some(interrupt) => CommandEnd::Interrupted(interrupt),
        None if stdout == Stdout::Shown => {
            CommandEnd::Ended(ended.status, String::from_utf8_lossy(&ended.kept).into_owned())
        }
        None => CommandEnd::Ended(ended.status, printed),
    })
}

#[cfg(test)]
#[cfg(unix)] // What runs in them is sh.
mod tests {
    use std::fs::File;
    use std::io::{self, BufRead, BufReader};
    use std::process::Command;
    use std::sync::{Arc, Mutex};
    use std::thread;

    use xshell::{Shell, cmd};

    use super::*;
    use crate::command::{SendInterrupt, System};

    fn sh(script: &str) -> Invocation {
        let shell = Shell::new().unwrap();
        Invocation::from(cmd!(shell, "sh -c {script}"))
    }

    #[test]
    fn an_uninterrupted_command_returns_its_output() {
        let hook = |_: SendInterrupt| Ok(());
        let answer = output_until_interrupt(&System, &hook, &sh("echo a; echo b; exit 3")).unwrap();
        let CommandEnd::Ended(status, printed) = answer else { panic!("{answer:?}") };
        assert_eq!((status.code(), printed.as_str()), (Some(3), "a\nb\n"));
    }

    #[test]
    fn a_pending_interrupt_comes_before_the_command_and_later_ones_are_pending_again() {
        let hooked: Arc<Mutex<Option<SendInterrupt>>> = Arc::default();
        let hooks = Arc::clone(&hooked);
        let hook = move |send: SendInterrupt| {
            *hooks.lock().unwrap() = Some(send);
            Ok(())
        };
        let pending = Pending::default();
        let run =
            || until_interrupt(&System, &hook, &sh("exit 3"), Stdout::Shown, Some(&pending), &mut |_| {}).unwrap();
        assert!(matches!(run(), CommandEnd::Ended(status, _) if status.code() == Some(3)));
        let send = |interrupt| hooked.lock().unwrap().as_ref().unwrap()(interrupt);
        send(Interrupt::Hup);
        send(Interrupt::Int);
        assert!(matches!(run(), CommandEnd::Interrupted(Interrupt::Hup)), "the first counts");
        assert!(matches!(run(), CommandEnd::Ended(..)), "and only once");
    }

    #[test]
    fn an_interrupt_ends_all_of_it() {
        let temp = tempfile::tempdir().unwrap();
        let fifo = temp.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let script = format!("exec 3>{}; sleep 1000 & echo all is up >&3; wait", fifo.display());
        let interrupter = Arc::new(Mutex::new(None));
        let hooked = interrupter.clone();
        let hook = move |send: SendInterrupt| {
            let fifo = fifo.clone();
            // The second is for what comes afterwards.
            hooked.lock().unwrap().get_or_insert_with(|| {
                thread::spawn(move || {
                    let mut fifo = BufReader::new(File::open(fifo).unwrap());
                    fifo.read_line(&mut String::new()).unwrap();
                    send(Interrupt::Term);
                    // Ends when it is closed by the shell and by all processes that it started.
                    io::read_to_string(fifo).unwrap()
                })
            });
            Ok(())
        };
        let answer = output_until_interrupt(&System, &hook, &sh(&script)).unwrap();
        assert!(matches!(answer, CommandEnd::Interrupted(Interrupt::Term)), "{answer:?}");
        let interrupter = interrupter.lock().unwrap().take().unwrap();
        assert_eq!(interrupter.join().unwrap(), "");
    }
}
