//! `dev run`: a stack for one command.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::anyhow;

use super::{Described, DevOptions, dev_for};
use crate::command::{Executor as _, ForegroundEnd, Invocation, Running};
use crate::compose::{Compose, DownScope, Logs, PROJECT_NAME};
use crate::engine::{self, Container};
use crate::exit::{self, Code, Failure};
use crate::ops::Context;
use crate::ops::env::Variables;
use crate::ops::ownership::own_containers;
use crate::ops::status::standings;
use crate::os;
use crate::reporter::event::Event;
use crate::reporter::{Logger, one_line};
use crate::session::{Options, Outcome, Preparation, Runner};
use crate::stack::expected::Expected;
use crate::stack::readiness::Standing;
use crate::suggest::suggestion;

/// What `dev run` is asked to do.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// How the stack is started.
    pub start: DevOptions,
    /// Whether a stack that runs is used.
    pub reuse: bool,
    /// The command.
    pub command: ForCommand,
}

/// A command that a stack is started for.
#[derive(Clone, Debug)]
pub struct ForCommand {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Whether the logs of the services are shown meanwhile.
    pub logs: bool,
}

impl ForCommand {
    /// The command, without the variables that it gets.
    pub(super) fn invocation(&self, cwd: &Path) -> Invocation {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).current_dir(cwd);
        Invocation::from(command)
    }

    /// Its program, as messages name it.
    fn program(&self) -> String {
        one_line(&self.argv[0].to_string_lossy()).into_owned()
    }
}

/// Runs a command with a stack. Whatever prevents that has been reported then.
///
/// # Errors
/// If the program of the command does not exist; nothing was started then.
pub(crate) fn run(options: &RunOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    // Before anything is built or started for it.
    require_program(&options.command, cx.cwd)?;
    let not_run = |code: Code| {
        cx.shell.event(&Event::CommandNotRun { exit_code: code.number() });
        Code::WithoutCommand(code.number())
    };
    match dev_for(&options.start, Some(options), cx) {
        Ok(code) if Code::words(code.number()).is_some() && !matches!(code, Code::OfCommand(_) | Code::Success) => {
            Ok(not_run(code))
        }
        Ok(code) => Ok(code),
        Err(error) => match error.downcast_ref::<Failure>().map_or(Code::Failed, Failure::code) {
            Code::NotFound | Code::NotExecutable => Err(error),
            code => {
                let help = error.downcast_ref::<Failure>().and_then(Failure::next_step);
                cx.shell.event(&Event::Failed { message: &exit::message(&error), help });
                Ok(not_run(code))
            }
        },
    }
}

/// That the program of the command is there.
fn require_program(command: &ForCommand, cwd: &Path) -> Result<(), Failure> {
    let program = Path::new(&command.argv[0]);
    if which::which_in(program, env::var_os("PATH"), cwd).is_ok() {
        return Ok(());
    }
    let is_path = program.components().count() > 1;
    if is_path && cwd.join(program).exists() {
        return Err(not_executable(command, anyhow!("it is not an executable file")));
    }
    Err(not_found(command))
}

/// That the stack has these services, also those behind a profile.
pub(super) fn require_services(described: &Described, services: &[OsString]) -> anyhow::Result<()> {
    let stack = &described.whole_stack;
    let names = services.iter().map(|name| name.to_string_lossy());
    let Some(unknown) = names.into_iter().find(|name| !stack.has(name)) else { return Ok(()) };
    let names = || stack.services.keys().map(String::as_str);
    let help = suggestion("service", &unknown, names());
    let help = help.unwrap_or_else(|| format!("its services: {}", names().collect::<Vec<_>>().join(", ")));
    let error = anyhow!("{} has no service `{}`", stack.project_of_images(), one_line(&unknown));
    Err(Code::NothingToRun.because(error).help(help).into())
}

fn not_found(command: &ForCommand) -> Failure {
    let error = anyhow!("cannot find the command `{}`", command.program());
    Code::NotFound.because(error).help("put it on PATH, or give its path")
}

fn not_executable(command: &ForCommand, error: anyhow::Error) -> Failure {
    Code::NotExecutable.because(error.context(format!("cannot execute `{}`", command.program())))
}

/// A command with the stack that it is run with.
pub(super) struct Together<'a> {
    pub(super) run: &'a RunOptions,
    pub(super) cx: &'a Context<'a>,
    pub(super) described: &'a Described,
    pub(super) runner: &'a Runner<'a>,
    pub(super) compose: &'a Compose,
}

impl Together<'_> {
    /// Runs the command with the stack that runs, and leaves that as it is. None if nothing of it runs.
    ///
    /// # Errors
    /// [`Code::Failed`] if a service does not run that the command needs; those of the command.
    pub(super) fn join(&self) -> anyhow::Result<Option<Code>> {
        let Described { workspace, settings, stack, traefik, .. } = self.described;
        let there = own_containers(self.cx, workspace, &stack.project)?;
        if !there.iter().any(Container::is_up) {
            return Ok(None);
        }
        let expected = Expected::new(stack, *traefik, &self.run.start.args);
        let needs = |service: &str| !expected.is_certain() || expected.has(service);
        let ids = there.iter().map(|container| container.id.clone()).collect();
        let mut containers = engine::inspect(&self.cx.commander, &stack.project, &ids)?;
        let is_there = |service: &str| {
            containers.iter().any(|it| it.service == service && (it.is_up() || stack.is_one_shot(service)))
        };
        let missing: Vec<&str> = expected.services().map(|(service, _)| service).filter(|it| !is_there(it)).collect();
        if !missing.is_empty() {
            let error = anyhow!("{} runs without {}", stack.project, missing.join(", "));
            return Err(Code::Failed.because(error).help("start the rest with `cargo stagecraft dev --detach`").into());
        }
        containers.retain(|it| needs(&it.service));
        let findings = standings(self.cx, stack, containers, settings.ports())?.findings;
        let is_ready = findings.iter().all(|finding| finding.standing == Standing::Ready);
        let how = Options { found_running: true, ..self.described.how(&self.run.start, true, self.cx, Vec::new()) };
        let mut preparation = match self.runner.join_for_command(self.compose, stack, &how, is_ready)? {
            Ok(preparation) => preparation,
            Err(outcome) => return Ok(Some(outcome.code())),
        };
        let ended = self.run_command(&how, &mut preparation);
        preparation.end();
        ended.map(Some)
    }

    /// Runs the command with the stack that has been prepared, as soon as it is ready, and takes it down.
    ///
    /// # Errors
    /// Those of the command, once the stack is down.
    pub(super) fn start(&self, how: &Options, preparation: Preparation) -> anyhow::Result<Code> {
        let started = self.runner.start_for_command(self.compose, &self.described.stack, how, preparation)?;
        let mut preparation = match started {
            Ok(preparation) => preparation,
            Err(outcome) => return Ok(outcome.code()),
        };
        let ended = self.run_command(how, &mut preparation);
        let outcome = self.runner.end_for_command(self.compose, how, preparation)?;
        match (ended, outcome) {
            // It was run, and nothing else says that something is left.
            (Ok(Code::OfCommand(0)), Outcome::Incomplete) => {
                Ok(Code::WithoutCommand(Code::TeardownIncomplete.number()))
            }
            (ended, _) => ended,
        }
    }

    /// Runs the command until it ends.
    ///
    /// # Errors
    /// [`Code::NotFound`] and [`Code::NotExecutable`] if it cannot be started; [`Code::NothingToRun`] if its variables cannot be made.
    fn run_command(&self, how: &Options, preparation: &mut Preparation) -> anyhow::Result<Code> {
        let Described { workspace, whole_stack, stack, .. } = self.described;
        let (cx, command, project) = (self.cx, &self.run.command, stack.project.as_str());
        let containers = engine::inspect(&cx.commander, &stack.project, &BTreeSet::new())?;
        let variables = Variables::of(cx, workspace, stack, &containers)?;
        variables.warn_of_missing(cx.shell);
        let invocation = command.invocation(cx.cwd);
        let line = invocation.to_string();
        let mut values = variables.values();
        values.push((PROJECT_NAME.to_string(), project.to_string()));
        let invocation = invocation.with_hidden_env(&values).without_env(variables.names_without_value(whole_stack));
        let mut logs = if command.logs { follow_logs(cx, self.compose) } else { None };
        cx.shell.event(&Event::CommandStarted { project, command: &line });
        let end = preparation.run_in_foreground(&cx.commander, cx.hook, &invocation)?;
        if let Some(logs) = &mut logs {
            logs.cut_off();
            let _ = logs.wait();
        }
        let exit_code = match end {
            ForegroundEnd::Ended(status) => os::exit_code(status),
            ForegroundEnd::Interrupted(interrupt) => return Ok(Code::Interrupted(interrupt.number())),
            ForegroundEnd::NotStarted(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(not_found(command).into());
            }
            ForegroundEnd::NotStarted(error) => return Err(not_executable(command, error.into()).into()),
        };
        cx.shell.event(&Event::CommandEnded { project, exit_code });
        if exit_code != 0 {
            self.runner.tell_what_has_failed(stack, how);
        }
        Ok(Code::OfCommand(exit_code))
    }
}

/// Shows what the services print from now on, and what they have printed.
fn follow_logs(cx: &Context<'_>, compose: &Compose) -> Option<Box<dyn Running>> {
    let logs = Logs { follow: true, tail: None, services: Vec::new() };
    // In a group of its own, so that the command alone gets Ctrl+C.
    let logs = compose.logs(DownScope::File, &logs).shielded();
    let started = cx.commander.spawn(&logs, Box::new(|| {}));
    started.inspect_err(|error| cx.shell.warn(&format!("cannot show the logs: {error}"))).ok()
}
