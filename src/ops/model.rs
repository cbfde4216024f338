//! The stack as Compose resolves it, from Compose or from the cache.

use anyhow::anyhow;

use super::target::{default_name, name_choice};
use super::version::require_compose;
use super::{Context, Selection};
use crate::command::{Executor as _, Invocation};
use crate::compose::{self, Fault, NameChoice, Place, Stack};
use crate::devfile::{self, Topology};
use crate::engine;
use crate::exit::Code;
use crate::files::read;
use crate::reporter::Logger as _;
use crate::workspace::{COMPOSE_FILE, Workspace};

/// The model, or why Compose rejects the file.
type Answer = Result<Stack, anyhow::Error>;

/// The stack as Compose understands it.
///
/// # Errors
/// [`Code::NothingToRun`] if there is no valid compose file, [`Code::EngineUnavailable`] if there is no Compose v2.
pub(super) fn resolve(cx: &Context<'_>, workspace: &Workspace, selection: &Selection) -> anyhow::Result<Stack> {
    workspace.require_compose_file()?;
    let error = match answer(cx, workspace, selection, &[])? {
        Ok(stack) => return Ok(stack),
        Err(error) => error,
    };
    require_compose(cx, workspace)?;
    Err(Code::NothingToRun.because(error).into())
}

/// What Compose makes of these services of the file and of what they depend on, whatever profiles they are behind. None if it makes
/// nothing of them.
///
/// # Errors
/// [`Code::EngineUnavailable`] if docker cannot be run.
pub(super) fn resolve_services(
    cx: &Context<'_>,
    workspace: &Workspace,
    selection: &Selection,
    services: &[&str],
) -> anyhow::Result<Option<Stack>> {
    Ok(answer(cx, workspace, selection, services)?.ok())
}

/// The stack of a compose file that Cargo.toml describes and that is not there yet, as Compose understands it.
///
/// # Errors
/// [`Code::NothingToRun`] if it is not valid, or nothing makes a name; [`Code::EngineUnavailable`] if there is no Compose v2.
pub(super) fn resolve_text(
    cx: &Context<'_>,
    workspace: &Workspace,
    selection: &Selection,
    topology: &Topology,
    text: &str,
) -> anyhow::Result<Stack> {
    let default = default_name(workspace);
    let name = match (&topology.project_name, &selection.project_name) {
        (Some(_), None) => None,
        _ => Some(name_choice(workspace, selection, default.as_ref())?),
    };
    let output = cx.commander.output(&compose::config_of(workspace, name, text)?).map_err(engine::no_docker)?;
    if !output.status.success() {
        require_compose(cx, workspace)?;
        return Err(Code::NothingToRun.because(rejected_of(Some(topology), text, &output.stderr, workspace)).into());
    }
    Stack::parse(&output.stdout).map_err(|error| Code::NothingToRun.because(error).into())
}

fn answer(cx: &Context<'_>, workspace: &Workspace, selection: &Selection, services: &[&str]) -> anyhow::Result<Answer> {
    let default = default_name(workspace);
    let name = name_choice(workspace, selection, default.as_ref())?;
    let question = compose::config(workspace, name, services)?;
    let place = Place::of(&question, workspace);
    if let Some(stack) = place.as_ref().and_then(Place::read) {
        cx.shell.detail("Remembered", &question.to_string());
        return Ok(Ok(stack));
    }
    let answer = ask(cx, workspace, name, services, &question)?;
    if let (Some(place), Ok(stack)) = (&place, &answer)
        // Else the answer may be about what has been changed meanwhile.
        && Place::of(&question, workspace).as_ref() == Some(place)
    {
        place.write(stack);
    }
    Ok(answer)
}

fn ask(
    cx: &Context<'_>,
    workspace: &Workspace,
    name: NameChoice<'_>,
    services: &[&str],
    question: &Invocation,
) -> anyhow::Result<Answer> {
    let output = |question: &Invocation| cx.commander.output(question).map_err(engine::no_docker);
    let mut asked = output(question)?;
    if !asked.status.success() && compose::cannot_print_json(&compose::without_warnings(&asked.stderr)) {
        let yaml = output(&compose::config_in_yaml(workspace, name, services)?)?.stdout;
        if let Some(question) = compose::config_without_ssh(workspace, &yaml, services)? {
            asked = output(&question)?;
        }
    }
    if !asked.status.success() {
        return Ok(Err(rejected(&asked.stderr, workspace)));
    }
    let stack = Stack::parse(&asked.stdout);
    if let (Ok(stack), NameChoice::Default(name)) = (&stack, name)
        && services.is_empty()
        && compose::may_hide_a_fault(workspace, name, stack)
    {
        let alone = output(&compose::check(workspace)?)?;
        if !alone.status.success() {
            return Ok(Err(rejected(&alone.stderr, workspace)));
        }
    }
    Ok(stack)
}

fn rejected(stderr: &[u8], workspace: &Workspace) -> anyhow::Error {
    let topology = devfile::plan(workspace).ok().flatten();
    let text = read::text(&workspace.root().join(COMPOSE_FILE)).unwrap_or_default();
    rejected_of(topology.as_ref().filter(|_| devfile::is_generated(workspace)), &text, stderr, workspace)
}

/// Compose's error, and where to mend it: in the compose file, or in what Cargo.toml says, from which that was generated.
fn rejected_of(topology: Option<&Topology>, text: &str, stderr: &[u8], workspace: &Workspace) -> anyhow::Error {
    let words = compose::without_warnings(stderr);
    let place = match topology {
        Some(topology) => topology
            .origin_of_error(&words)
            .unwrap_or_else(|| format!("{COMPOSE_FILE}, which is generated from Cargo.toml,")),
        None => COMPOSE_FILE.to_string(),
    };
    let fault = Fault::of(&words, workspace).sentence(&place);
    anyhow!("{}", compose::without_values(&words, text, workspace)).context(fault)
}
