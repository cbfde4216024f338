//! The command line: clap's structs and how they become options. The only room that knows clap.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, Parser, ValueHint};

use self::args::Cli;
use self::convert::DEV;
use crate::exit::Code;
use crate::ops::{
    CompleteOptions, DevOptions, DoctorOptions, DownOptions, EnvOptions, FilesOptions, InitOptions, Interpreter,
    ListOptions, LogsOptions, ManOptions, StatusOptions,
};
use crate::reporter::ShellOptions;
use crate::suggest::similar;

mod args;
mod complete;
mod convert;
mod help;

/// What the user asks for.
#[derive(Debug)]
pub enum Verb {
    /// Start the stack.
    Dev(DevOptions),
    /// Take it down.
    Down(DownOptions),
    /// Tell how it is.
    Status(StatusOptions),
    /// Show what it prints.
    Logs(LogsOptions),
    /// List every stack.
    List(ListOptions),
    /// Tell where it can be reached.
    Env(EnvOptions),
    /// Make its files from Cargo.toml.
    Files(FilesOptions),
    /// Begin one in Cargo.toml.
    Init(InitOptions),
    /// Look at all that it needs.
    Doctor(DoctorOptions),
    /// Print the script that teaches a shell to complete.
    Completions(Interpreter),
    /// Tell such a script what can be typed.
    Complete(CompleteOptions),
    /// Write the manual.
    Man(ManOptions),
}

/// A command line that makes sense.
#[derive(Debug)]
pub struct Request {
    /// What to do.
    pub verb: Verb,
    /// How to speak of it.
    pub shell: ShellOptions,
    /// What is odd about the environment, and no reason to stop.
    pub warnings: Vec<String>,
}

/// Reads a command line, as cargo hands it to a subcommand (`cargo-stagecraft stagecraft …`) or as a user types it.
///
/// # Errors
/// Clap's: a wrong command line, or a request for help or the version. `exit_code` tells which.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, clap::Error> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    if args.get(1).is_some_and(|arg| arg == "stagecraft") {
        args.remove(1);
    }
    Cli::try_parse_from(args).map_err(with_similar_verb)?.into_request()
}

/// Clap suggests no verb behind `dev`, where arguments may stand in its place, and knows none of those that are missing it.
fn with_similar_verb(mut error: clap::Error) -> clap::Error {
    let word = error.get(ContextKind::InvalidArg).or(error.get(ContextKind::InvalidSubcommand));
    let Some(ContextValue::String(word)) = word else { return error };
    let names = |command: &clap::Command| command.get_subcommands().map(|it| it.get_name().to_string()).collect();
    let cli = Cli::command();
    let (verbs, of_dev): (Vec<_>, Vec<_>) = (names(&cli), cli.find_subcommand(DEV).map(names).unwrap_or_default());
    let Some(verb) = similar(word, verbs.iter().chain(&of_dev).map(String::as_str)) else { return error };
    let verb = if verbs.iter().any(|it| it == verb) { verb.to_string() } else { format!("{DEV} {verb}") };
    error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![verb]));
    error
}

/// The manual page, by the name of its file, that shows what `help` was asked for. None for `--help`, which prints also where
/// there is a manual: as cargo's two do.
pub(crate) fn page(args: &[OsString], error: &clap::Error) -> Option<String> {
    let is_short = |arg: &[u8]| arg.starts_with(b"-") && !arg.starts_with(b"--") && arg.contains(&b'h');
    let is_flag = |arg: &[u8]| arg == b"--help" || is_short(arg);
    if error.kind() != ErrorKind::DisplayHelp || args.iter().any(|arg| is_flag(arg.as_encoded_bytes())) {
        return None;
    }
    // Clap tells only in these words whose help it is.
    let help = error.render().to_string();
    let usage = help.lines().find_map(|line| line.strip_prefix("Usage: "))?;
    let names = usage.split(' ').take_while(|word| word.starts_with(|first: char| first.is_ascii_lowercase()));
    Some(format!("{}.1", names.collect::<Vec<_>>().join("-")))
}

/// The exit code of what clap has to say: success for help and version, else wrong usage.
pub(crate) fn exit_code(error: &clap::Error) -> Code {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Code::Success,
        _ => Code::Usage,
    }
}

/// The definition of the command line, for tests and generators.
pub fn command() -> Command {
    Cli::command()
}

#[cfg(test)]
mod tests;
