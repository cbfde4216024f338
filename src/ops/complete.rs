//! The hidden command that completion scripts call: prints the completions for the word at the cursor.
//!
//! Errors only lead to fewer candidates. Nothing is printed on stderr, because the user is typing.

use std::ffi::OsStr;

use super::model::resolve;
use super::{Context, Selection};
use crate::devfile;
use crate::exit::Code;
use crate::workspace::{BrokenMember, Workspace};

/// The kind of word to complete.
#[derive(Clone, Debug)]
pub struct CompleteOptions {
    /// Which workspace the names come from.
    pub selection: Selection,
    /// The word at the cursor.
    pub current: String,
    /// What can stand there.
    pub offer: Offer,
}

/// What can stand somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Candidates from the command line definition.
    pub candidates: Vec<Candidate>,
    /// Candidates from the workspace.
    pub names: Option<Names>,
    /// What such a name has to stand after: an option and its `=`.
    pub front: String,
    /// Files, which the shell completes.
    pub files: bool,
}

/// A word that can stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The word.
    pub value: String,
    /// What it means; may be empty.
    pub help: String,
}

/// Names from the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The services of the dev stack.
    Services,
    /// The packages that can become services.
    Packages,
}

/// What a script does with files of its own.
const FILES: &str = ":files";

/// Prints what begins as the current word does, one a line, each with a tab and what it means; or `:files`.
pub(crate) fn complete(options: &CompleteOptions, cx: &Context<'_>) -> Code {
    let CompleteOptions { selection, current, offer } = options;
    let names = offer.names.and_then(|names| match names {
        Names::Services => services(selection, cx),
        Names::Packages => packages(selection, cx),
    });
    let names = names.unwrap_or_default().into_iter();
    let names = names.map(|name| Candidate { value: format!("{}{name}", offer.front), help: String::new() });
    let candidates = offer.candidates.iter().cloned().chain(names);
    let lines = candidates.filter(|it| it.value.starts_with(current)).map(|Candidate { value, help }| match &*help {
        "" => value,
        help => format!("{value}\t{}", help.lines().next().unwrap_or_default()),
    });
    // A shell that no longer listens has found something better to do.
    let mut lines = lines.chain(offer.files.then(|| FILES.to_string()));
    let _ = lines.try_for_each(|line| cx.shell.print(OsStr::new(&line)));
    Code::Success
}

fn workspace(selection: &Selection, cx: &Context<'_>) -> Option<Workspace> {
    Workspace::discover(&cx.commander, cx.cwd, &selection.manifest, BrokenMember::Tolerate).ok()
}

/// The services without a profile. Those that Cargo.toml describes are known at once, as they will be when the compose file
/// has been made; a hand-written one is read without asking an engine.
fn services(selection: &Selection, cx: &Context<'_>) -> Option<Vec<String>> {
    let workspace = workspace(selection, cx)?;
    if let Some(topology) = devfile::plan(&workspace).ok()? {
        return Some(topology.services_by_default().into_keys().collect());
    }
    Some(resolve(cx, &workspace, selection).ok()?.services.into_keys().collect())
}

fn packages(selection: &Selection, cx: &Context<'_>) -> Option<Vec<String>> {
    let packages = workspace(selection, cx)?.packages.into_iter();
    let possible = packages.filter(|package| package.metadata.is_null() && !package.binaries.is_empty());
    Some(possible.map(|package| package.name).collect())
}
