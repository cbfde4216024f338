//! Points to what people may have meant: commands and options of Docker Compose and cargo, and misspelt ones.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};
use clap::{Command, CommandFactory};

use super::args::Cli;
use super::convert::DEV;
use crate::suggest::similar;

/// What people type, and what does that here.
const POINTERS: &[(&[&str], &str)] = &[
    (&["up", "start", "run"], "to start the stack, use `cargo stagecraft dev`, with `--detach` in the background"),
    (&["stop", "rm", "destroy", "delete"], "to stop and remove the stack, use `cargo stagecraft dev down`"),
    (&["ps", "top", "state"], "to see the state of each service, use `cargo stagecraft dev status`"),
    (&["ls"], "to list the stacks on this engine, use `cargo stagecraft dev list`"),
    (&["log"], "to see the logs, use `cargo stagecraft dev logs`"),
    (&["restart", "reload"], "to apply changes to a running stack, use `cargo stagecraft dev --detach` again"),
    (&["port", "ports", "addresses"], "to see the addresses of published ports, use `cargo stagecraft dev env`"),
    (&["build", "--build"], "to rebuild the images that Compose builds, use `cargo stagecraft dev -- --build`"),
    (
        &["exec", "config", "pull", "attach", "cp", "images", "kill", "pause", "unpause", "events"],
        "for other commands of Compose, use `docker compose -f .stagecraft/dev/compose.yaml`",
    ),
    (
        &["--release", "-r", "--features", "--bin"],
        "how a service's binary is built is set in [package.metadata.stagecraft.dev]: `profile = \"release\"`, `features`, `bin`",
    ),
    (&["--profile"], "to activate a profile of the compose file, set COMPOSE_PROFILES"),
    (
        &["-f", "--file"],
        "the compose file is always .stagecraft/dev/compose.yaml; use --manifest-path to choose the workspace",
    ),
    (&["-p", "--project"], "to choose the project name, use --project-name"),
    (&["-t"], "to choose how long containers may take to stop, use --timeout"),
    (
        &["--rm", "--remove"],
        "a run in the foreground removes its containers at the end; `dev down` removes them at once",
    ),
];

/// Adds a pointer to an error about an unknown command or option.
pub(super) fn with_pointer(mut error: clap::Error) -> clap::Error {
    let Some(word) = unknown_word(&error) else { return error };
    let option = word.split('=').next().unwrap_or(&word);
    if let Some((_, pointer)) = POINTERS.iter().find(|(words, _)| words.contains(&option)) {
        error.remove(ContextKind::SuggestedSubcommand);
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(*pointer)]));
        return error;
    }
    with_similar_verb(error, &word)
}

fn unknown_word(error: &clap::Error) -> Option<String> {
    match error.get(ContextKind::InvalidArg).or(error.get(ContextKind::InvalidSubcommand)) {
        Some(ContextValue::String(word)) if error.get(ContextKind::InvalidValue).is_none() => Some(word.clone()),
        _ => None,
    }
}

/// Clap suggests no command after `dev`, which accepts arguments, and none that needs `dev` first.
fn with_similar_verb(mut error: clap::Error, word: &str) -> clap::Error {
    let names = |command: &Command| command.get_subcommands().map(|it| it.get_name().to_string()).collect();
    let cli = Cli::command();
    let (verbs, of_dev): (Vec<_>, Vec<_>) = (names(&cli), cli.find_subcommand(DEV).map(names).unwrap_or_default());
    let Some(verb) = similar(word, verbs.iter().chain(&of_dev).map(String::as_str)) else { return error };
    let verb = if verbs.iter().any(|it| it == verb) { verb.to_string() } else { format!("{DEV} {verb}") };
    error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![verb]));
    error
}
