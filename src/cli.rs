//! The command line: clap's structs and how they become options. The only room that knows clap.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::compose::{Attach, PROJECT_NAME, ProjectName, Traefik, Volumes};
use crate::exit::Code;
use crate::ops::{DevOptions, DownOptions, Selection};
use crate::process::OnEnd;
use crate::shell::{ColorChoice, Verbosity};

/// What the user asks for.
#[derive(Debug)]
pub enum Verb {
    /// Start the stack.
    Dev(DevOptions),
    /// Take it down.
    Down(DownOptions),
}

/// A command line that makes sense.
#[derive(Debug)]
pub struct Request {
    /// What to do.
    pub verb: Verb,
    /// How much to say about it.
    pub verbosity: Verbosity,
    /// In colour or not.
    pub color: ColorChoice,
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
    Cli::try_parse_from(args)?.into_request()
}

/// The exit code of what clap has to say: success for help and version, else wrong usage.
pub fn exit_code(error: &clap::Error) -> Code {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Code::Success,
        _ => Code::Usage,
    }
}

/// The definition of the command line, for tests and generators.
pub fn command() -> clap::Command {
    Cli::command()
}

/// One command for a running dev stack in a Rust repo
#[derive(Debug, Parser)]
#[command(
    name = "cargo-stagecraft",
    bin_name = "cargo stagecraft",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = exit_codes()
)]
struct Cli {
    #[command(flatten, next_help_heading = "Common options")]
    common: Common,
    #[command(subcommand)]
    verb: TopVerb,
}

#[derive(Debug, Args)]
struct Common {
    /// Print errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,

    /// Also print every command line run, the files used and what happens when
    #[arg(short, long, global = true)]
    verbose: bool,

    /// When to use colour
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        env = "CARGO_TERM_COLOR",
        hide_env_values = true,
        default_value = "auto"
    )]
    color: When,

    /// Path to the Cargo.toml of the workspace or of one of its members
    #[arg(long, global = true, value_name = "PATH")]
    manifest_path: Option<PathBuf>,

    /// Compose project to use [default: COMPOSE_PROJECT_NAME, then what the compose file or its .env says, then the
    /// name of the workspace's folder]
    #[arg(long, global = true, value_name = "NAME", value_parser = project_name)]
    project_name: Option<ProjectName>,
}

fn project_name(name: &str) -> Result<ProjectName, String> {
    ProjectName::new(name)
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum TopVerb {
    /// Start the dev stack of the workspace, stream its logs, and take it down at the end
    Dev(Dev),
}

#[derive(Debug, Args)]
#[command(
    long_about = "Start the dev stack of the workspace, stream its logs, and take it down at the end\n\nThe stack is \
                  what .stagecraft/dev/compose.yaml in the workspace root describes. Ctrl+C stops and removes it.",
    after_help = exit_codes()
)]
struct Dev {
    #[command(flatten)]
    start: Start,

    /// Seconds that containers get to stop before they are killed [default: each service's stop_grace_period]
    #[arg(long, global = true, value_name = "SECONDS")]
    timeout: Option<u32>,

    /// Print the docker compose commands instead of running them
    #[arg(long, global = true)]
    dry_run: bool,

    #[command(subcommand)]
    verb: Option<DevVerb>,
}

#[derive(Debug, Default, PartialEq, Eq, Args)]
struct Start {
    /// Start in the background and return
    #[arg(short, long)]
    detach: bool,

    /// Do not remove what a failed start or a finished foreground run leaves
    #[arg(long)]
    keep: bool,

    /// Start without the service `traefik`
    #[arg(long)]
    no_traefik: bool,

    /// Arguments for `docker compose up`
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
enum DevVerb {
    /// Take the dev stack down, whoever started it
    Down(Down),
}

#[derive(Debug, Args)]
#[command(after_help = exit_codes())]
struct Down {
    /// Also remove the stack's volumes, and the data in them
    #[arg(long)]
    volumes: bool,
}

impl Cli {
    fn into_request(self) -> Result<Request, clap::Error> {
        let Cli { common, verb: TopVerb::Dev(dev) } = self;
        let selection = Selection {
            manifest_path: common.manifest_path,
            project_name: common.project_name.map_or_else(project_name_from_env, |name| Ok(Some(name)))?,
        };
        let verb = match dev.verb {
            None => {
                dev.start.check()?;
                Verb::Dev(DevOptions {
                    selection,
                    attach: if dev.start.detach { Attach::Detached } else { Attach::Foreground },
                    traefik: if dev.start.no_traefik { Traefik::Off } else { Traefik::On },
                    on_end: if dev.start.keep { OnEnd::Keep } else { OnEnd::TearDown },
                    timeout: dev.timeout,
                    ci: is_ci(),
                    dry_run: dev.dry_run,
                    args: dev.start.args,
                })
            }
            Some(DevVerb::Down(_)) if dev.start != Start::default() => {
                return Err(usage("`dev down` starts nothing: it takes no --detach, --keep or --no-traefik"));
            }
            Some(DevVerb::Down(down)) => Verb::Down(DownOptions {
                selection,
                volumes: if down.volumes { Volumes::Remove } else { Volumes::Keep },
                timeout: dev.timeout,
                dry_run: dev.dry_run,
            }),
        };
        Ok(Request {
            verb,
            verbosity: match (common.quiet, common.verbose) {
                (true, _) => Verbosity::Quiet,
                (_, true) => Verbosity::Verbose,
                _ => Verbosity::Normal,
            },
            color: match common.color {
                When::Auto => ColorChoice::Auto,
                When::Always => ColorChoice::Always,
                When::Never => ColorChoice::Never,
            },
        })
    }
}

impl Start {
    /// Arguments that would make `up` return early contradict a foreground run, which would take the stack down then.
    fn check(&self) -> Result<(), clap::Error> {
        let returns = |arg: &&OsString| {
            let arg = arg.to_string_lossy();
            let long = ["--detach", "--wait", "--no-start"]
                .iter()
                .any(|long| arg.strip_prefix(long).is_some_and(|value| value.is_empty() || value.starts_with('=')));
            long || (arg.starts_with('-') && !arg.starts_with("--") && arg.contains('d'))
        };
        match self.args.iter().find(returns) {
            Some(arg) if !self.detach => Err(usage(&format!(
                "`-- {}` makes `docker compose up` return at once; use `cargo stagecraft dev --detach`",
                arg.to_string_lossy()
            ))),
            _ => Ok(()),
        }
    }
}

/// The variable that every CI service sets; some people set it to `false`.
fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// As Compose does, an empty variable counts as none.
fn project_name_from_env() -> Result<Option<ProjectName>, clap::Error> {
    match std::env::var_os(PROJECT_NAME) {
        None => Ok(None),
        Some(name) if name.is_empty() => Ok(None),
        Some(name) => {
            let name = name.to_string_lossy();
            let parsed = ProjectName::new(&name);
            parsed.map(Some).map_err(|rule| usage(&format!("invalid {PROJECT_NAME} `{name}`: {rule}")))
        }
    }
}

fn usage(message: &str) -> clap::Error {
    Cli::command().error(ErrorKind::ArgumentConflict, message)
}

fn exit_codes() -> String {
    let rows = Code::TABLE.iter().map(|(code, words)| format!("  {:<5} {words}\n", code.number()));
    format!("Exit codes:\n{}  128+n {}", rows.collect::<String>(), Code::INTERRUPTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, clap::Error> {
        parse(line.split(' ').map(OsString::from))
    }

    fn dev(line: &str) -> DevOptions {
        match parsed(line).unwrap().verb {
            Verb::Dev(options) => options,
            Verb::Down(_) => panic!("{line} is a down"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn cargo_and_the_user_may_both_call_it() {
        assert_eq!(dev("cargo-stagecraft stagecraft dev --detach").attach, Attach::Detached);
        assert_eq!(dev("cargo-stagecraft dev").attach, Attach::Foreground);
    }

    #[test]
    fn flags_become_policies() {
        let options = dev("x dev --keep --no-traefik --timeout 7 --dry-run --project-name p --manifest-path M -- a -b");
        assert_eq!(options.traefik, Traefik::Off);
        assert_eq!(options.on_end, OnEnd::Keep);
        assert_eq!(options.timeout, Some(7));
        assert!(options.dry_run);
        assert_eq!(options.args, ["a", "-b"]);
        assert_eq!(options.selection.project_name.unwrap().as_str(), "p");
        assert_eq!(options.selection.manifest_path.unwrap(), PathBuf::from("M"));
    }

    #[test]
    fn options_that_both_verbs_know_may_stand_before_and_after_down() {
        for line in ["x dev down --timeout 3 --volumes -v", "x -v dev --timeout 3 down --volumes"] {
            let request = parsed(line).unwrap();
            assert_eq!(request.verbosity, Verbosity::Verbose);
            let Verb::Down(options) = request.verb else { panic!("{line} is no down") };
            assert_eq!((options.timeout, options.volumes), (Some(3), Volumes::Remove));
        }
    }

    #[test]
    fn a_wrong_command_line_is_exit_code_2_and_help_is_0() {
        for line in [
            "x",
            "x dev --nonsense",
            "x dev --detach down",
            "x dev down --detach",
            "x dev -q -v",
            "x dev --project-name Bad",
            "x dev --timeout -1",
            "x dev -- --wait",
            "x dev -- web -d",
            "x dev -- -Vd",
            "x dev -- --detach=true",
            "x dev -- --no-start",
        ] {
            assert_eq!(exit_code(&parsed(line).unwrap_err()), Code::Usage, "{line}");
        }
        assert_eq!(exit_code(&parsed("x dev --help").unwrap_err()), Code::Success);
        assert_eq!(exit_code(&parsed("x -V").unwrap_err()), Code::Success);
        assert!(parsed("x dev --detach -- --wait").is_ok());
        assert!(parsed("x dev -- --wait-timeout-of-some-kind --build db").is_ok());
    }
}
