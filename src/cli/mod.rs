//! The command line: clap's structs, and their conversion into options. The only module that uses clap.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory, FromArgMatches, ValueHint};

use self::args::Cli;
use crate::exit::Code;
use crate::ops::{
    CompleteOptions, DevOptions, DoctorOptions, DownOptions, EnvOptions, FilesOptions, InitOptions, Interpreter,
    ListOptions, LogsOptions, ManOptions, RunOptions, StatusOptions,
};
use crate::reporter::ShellOptions;

mod args;
mod complete;
mod convert;
mod help;
mod pointers;

/// What the user asks for.
#[derive(Debug)]
pub enum Verb {
    /// Start the stack.
    Dev(DevOptions),
    /// Start one for a command.
    Run(RunOptions),
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
/// Clap's: a wrong command line, or a request for help or the version. `exit_code` distinguishes them.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, clap::Error> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    if args.get(1).is_some_and(|arg| arg == "stagecraft") {
        args.remove(1);
    }
    let error = match parse_with(Cli::command(), &args) {
        Ok(cli) => return cli.into_request(),
        Err(error) => error,
    };
    match error.kind() {
        // Only help needs the definition of every command, so a start does not pay for it.
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let wants_all = args.iter().any(|arg| arg == "--help" || arg == "help");
            let command = if wants_all { command() } else { help::brief(command()) };
            parse_with(command, &args)?.into_request()
        }
        _ => Err(pointers::with_pointer(error)),
    }
}

fn parse_with(mut command: Command, args: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = command.try_get_matches_from_mut(args)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// The manual page, by the name of its file, that shows what `help` was asked for. None for `--help`, which prints also where
/// there is a manual: as cargo's two do.
pub(crate) fn page(args: &[OsString], error: &clap::Error) -> Option<String> {
    let is_short = |arg: &[u8]| arg.starts_with(b"-") && !arg.starts_with(b"--") && arg.contains(&b'h');
    let is_flag = |arg: &[u8]| arg == b"--help" || is_short(arg);
    if error.kind() != ErrorKind::DisplayHelp || args.iter().any(|arg| is_flag(arg.as_encoded_bytes())) {
        return None;
    }
    // Only clap's text shows whose help it is.
    let help = error.render().to_string();
    let usage = help.lines().find_map(|line| line.strip_prefix("Usage: "))?;
    let names = usage.split(' ').take_while(|word| word.starts_with(|first: char| first.is_ascii_lowercase()));
    Some(format!("{}.1", names.collect::<Vec<_>>().join("-")))
}

/// The exit code of clap's output: success for help and version, else wrong usage.
pub(crate) fn exit_code(error: &clap::Error) -> Code {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Code::Success,
        _ => Code::Usage,
    }
}

/// The definition of the command line, for tests and generators.
pub fn command() -> Command {
    let mut command = Cli::command();
    // Only then each subcommand has the global options, too.
    command.build();
    with_own_options(command)
}

/// Hides the global options that a command does not take, and describes those that mean something else there.
fn with_own_options(command: Command) -> Command {
    const WORKSPACE: [&str; 5] = ["manifest_path", "locked", "offline", "frozen", "project_name"];
    let (messages, workspace) = match command.get_name() {
        "init" | "logs" => (false, true),
        "list" => (true, false),
        "completions" | "man" => (false, false),
        _ => (true, true),
    };
    let is_hidden = |id: &str| (!messages && id == "message_format") || (!workspace && WORKSPACE.contains(&id));
    let is_status = command.get_name() == "status";
    let adapt = |arg: Arg| match arg.get_id().as_str() {
        id if is_hidden(id) => arg.hide(true),
        "traefik" if is_status => arg.help(
            "Expect the `traefik` service, if there is one (default) [env: STAGECRAFT_TRAEFIK] [Cargo.toml: traefik]",
        ),
        "no_traefik" if is_status => arg.help("Do not expect the `traefik` service"),
        _ => arg,
    };
    command.mut_args(adapt).mut_subcommands(with_own_options)
}

#[cfg(test)]
mod tests;
