//! The version of Docker Compose that is installed.

use std::process::Output;

use anyhow::anyhow;

use super::Context;
use crate::command::Executor as _;
use crate::compose;
use crate::engine;
use crate::exit::Code;
use crate::workspace::Workspace;

/// Where there is no Compose v2.
pub(super) const INSTALL_COMPOSE: &str =
    "install Docker Compose v2 or newer as a plugin of the Docker CLI: https://docs.docker.com/compose/install/";

/// That Compose v2 or newer is installed. Asked only after something failed: a healthy run need not pay for it.
pub(super) fn require_compose(cx: &Context<'_>, workspace: &Workspace) -> anyhow::Result<()> {
    let output = cx.commander.output(&compose::version(workspace)?).map_err(engine::no_docker)?;
    let error = match compose_version(&output) {
        Some((_, (2.., _))) => return Ok(()),
        Some((version, _)) => anyhow!("Docker Compose {version} is too old"),
        None => anyhow!("`docker compose` does not work: the Compose plugin is missing"),
    };
    Err(Code::EngineUnavailable.because(error).help(INSTALL_COMPOSE).into())
}

/// What Compose has answered to the question for its version, and the first two numbers of that. None if it is no answer.
pub(super) fn compose_version(output: &Output) -> Option<(String, (u32, u32))> {
    let version = String::from_utf8_lossy(&output.stdout).trim().trim_start_matches('v').to_string();
    let number = version_number(&version).filter(|_| output.status.success())?;
    Some((version, number))
}

/// The first two numbers of a version.
pub(super) fn version_number(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map_while(|part| part.parse().ok());
    Some((numbers.next()?, numbers.next().unwrap_or(0)))
}
