//! `dev logs`: shows the logs of the services.

use std::ffi::OsStr;

use anyhow::{Context as _, anyhow};

use super::ownership::own_containers;
use super::target::target;
use super::{Context, Selection};
use crate::command::Executor as _;
use crate::compose::Logs;
use crate::engine;
use crate::exit::Code;
use crate::suggest::suggestion;
use crate::workspace::{BrokenMember, Workspace};

/// What `dev logs` is asked for.
#[derive(Clone, Debug)]
pub struct LogsOptions {
    /// Which stack.
    pub selection: Selection,
    /// Which part of the logs.
    pub logs: Logs,
}

/// Shows Compose's logs of the stack. In its place, so that its exit code, and what a signal does to it, are its own; where a CI service
/// reads commands from what is printed, as its parent, which switches these off and on again.
///
/// # Errors
/// [`Code::NothingToRun`] if nothing has been started; [`Code::Usage`] if the stack has no such service;
/// [`Code::EngineUnavailable`].
pub(crate) fn logs(options: &LogsOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    let workspace = Workspace::discover(&cx.commander, cx.cwd, &options.selection.manifest, BrokenMember::Tolerate)?;
    let target = target(cx, &workspace, &options.selection)?;
    let containers = own_containers(cx, &workspace, &target.project)?;
    if containers.is_empty() {
        let error = anyhow!("{} has not been started", target.project);
        return Err(Code::NothingToRun.because(error).help("start it with `cargo stagecraft dev`").into());
    }
    let known = |name: &String| {
        let in_file = target.stack.as_ref().is_some_and(|stack| stack.has(name));
        in_file || containers.iter().any(|container| container.service == *name)
    };
    if let Some(unknown) = options.logs.services.iter().find(|name| !known(name)) {
        let mut names: Vec<&str> = containers.iter().map(|container| container.service.as_str()).collect();
        names.dedup();
        let error = anyhow!("{} has no service `{unknown}`", target.project);
        let help = suggestion("service", unknown, names.iter().copied());
        let help = help.unwrap_or_else(|| format!("its services: {}", names.join(", ")));
        return Err(Code::Usage.because(error).help(help).into());
    }
    let compose = cx.compose(&workspace, target.project)?;
    let logs = compose.logs(target.reach, &options.logs);
    let Some((before, behind)) = cx.shell.around_foreign_output() else {
        return Err(engine::no_docker(cx.commander.exec(&logs)).into());
    };
    cx.shell.print(OsStr::new(&before)).context("cannot write to stdout")?;
    let mut logs = cx.commander.spawn(&logs, Box::new(|| {})).map_err(engine::no_docker)?;
    let ended = logs.wait().context("cannot wait for docker")?;
    cx.shell.print(OsStr::new(&behind)).context("cannot write to stdout")?;
    Ok(match ended.status.code() {
        Some(0) => Code::Success,
        Some(code) => u8::try_from(code).map_or(Code::Failed, Code::OfService),
        None => Code::Failed,
    })
}
