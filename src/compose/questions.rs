//! What Compose is asked: how it understands the file, and which version it is.

use xshell::cmd;

use super::overlay::file_args;
use super::{NameChoice, PROJECT_NAME, ProjectName, Stack, remembered, shell_in, ssh};
use crate::command::Invocation;
use crate::files::read;
use crate::workspace::{COMPOSE_FILE, DEV_DIR, Workspace};

/// The question how Compose understands the file: `config --format json`, answered without a daemon.
///
/// Compose names a project after the file's folder, which is `dev` in every workspace. So that the workspace's own name
/// is the default instead, a first file that holds nothing but this name comes in on standard input: what the real
/// file or its `.env` says overrides it, by Compose's own rules.
///
/// Where `services` are named the answer has these and what they depend on, also those behind a profile; else all that are active.
///
/// # Errors
/// If our own working directory is gone.
pub fn config(workspace: &Workspace, name: NameChoice<'_>, services: &[&str]) -> anyhow::Result<Invocation> {
    ask(workspace, name, &["--format", "json"], services)
}

/// The same question, answered in YAML, where Compose [cannot print the model as JSON](ssh::cannot_print_json).
///
/// # Errors
/// If our own working directory is gone.
pub fn config_in_yaml(workspace: &Workspace, name: NameChoice<'_>, services: &[&str]) -> anyhow::Result<Invocation> {
    ask(workspace, name, &[], services)
}

fn ask(workspace: &Workspace, name: NameChoice<'_>, format: &[&str], services: &[&str]) -> anyhow::Result<Invocation> {
    let sh = shell_in(workspace.root())?;
    Ok(match name {
        NameChoice::Given(name) => {
            let files = file_args(workspace.root(), name);
            let config = cmd!(sh, "docker compose {files...} config {format...} {services...}");
            Invocation::from(config.env(PROJECT_NAME, name.as_str()))
        }
        NameChoice::Default(name) => Invocation::from(cmd!(
            sh,
            "docker compose --project-directory {DEV_DIR} -f - -f {COMPOSE_FILE} config {format...} {services...}"
        ))
        .stdin(format!("name: \"{name}\"")),
    })
}

/// The question for the model without every `build.ssh`, which nothing is read of; `yaml` is the answer to [`config_in_yaml`].
/// None where there is none.
///
/// # Errors
/// If our own working directory is gone.
pub fn config_without_ssh(workspace: &Workspace, yaml: &[u8], services: &[&str]) -> anyhow::Result<Option<Invocation>> {
    let Some((name, reset)) = ssh::reset(&String::from_utf8_lossy(yaml)) else { return Ok(None) };
    let sh = shell_in(workspace.root())?;
    let files = file_args(workspace.root(), &name);
    let config = cmd!(sh, "docker compose {files...} -f - config --format json {services...}");
    Ok(Some(Invocation::from(config.env(PROJECT_NAME, name.as_str())).stdin(reset)))
}

/// The question whether the file is valid by itself; the answer is the exit code.
///
/// # Errors
/// If our own working directory is gone.
pub fn check(workspace: &Workspace) -> anyhow::Result<Invocation> {
    let sh = shell_in(workspace.root())?;
    Ok(Invocation::from(cmd!(sh, "docker compose -f {COMPOSE_FILE} config --quiet")))
}

/// Whether the default name, which comes in as a file of its own, may have hidden a fault of the real one: that it is empty, or
/// has a `name` without a value.
pub(crate) fn may_hide_a_fault(workspace: &Workspace, default: &ProjectName, stack: &Stack) -> bool {
    let has_word = || {
        let text = read::bytes(&workspace.root().join(COMPOSE_FILE)).unwrap_or_default();
        remembered::words(&String::from_utf8_lossy(&text)).any(|word| word == "name")
    };
    stack.services.is_empty() || stack.project == *default && has_word()
}

/// The question how Compose understands a file that is not there yet, whose text comes in on standard input. Without a `name` the text
/// has one.
///
/// # Errors
/// If our own working directory is gone.
pub fn config_of(workspace: &Workspace, name: Option<NameChoice<'_>>, text: &str) -> anyhow::Result<Invocation> {
    let sh = shell_in(workspace.root())?;
    let config = cmd!(sh, "docker compose --project-directory {DEV_DIR} -f - config --format json");
    Ok(match name {
        Some(NameChoice::Given(name)) => {
            Invocation::from(config.env(PROJECT_NAME, name.as_str())).stdin(text.to_string())
        }
        Some(NameChoice::Default(name)) => Invocation::from(config).stdin(format!("name: \"{name}\"\n{text}")),
        None => Invocation::from(config).stdin(text.to_string()),
    })
}

/// The question which Compose is installed; its answer begins with the version.
///
/// # Errors
/// If our own working directory is gone.
pub fn version(workspace: &Workspace) -> anyhow::Result<Invocation> {
    let sh = shell_in(workspace.root())?;
    Ok(Invocation::from(cmd!(sh, "docker compose version --short")))
}
