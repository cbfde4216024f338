//! The arguments of each command, as clap reads them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Effects};
use clap::builder::{PossibleValue, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use super::convert::{CARGO_TERM_COLOR, color_of_help};
use super::help;
use crate::compose::ProjectName;
use crate::ops::{Interpreter, NewService};
use crate::reporter::{ColorChoice, MessageFormat};
use crate::settings::seconds;

/// Run the dev stack of a Rust workspace with one command
#[derive(Debug, Parser)]
#[command(
    name = "cargo-stagecraft",
    bin_name = "cargo stagecraft",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    styles = STYLES,
    color = color_of_help(),
    after_help = help::stack()
)]
pub(super) struct Cli {
    #[command(flatten, next_help_heading = "Common options")]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) verb: TopVerb,
}

/// Cargo's: <https://github.com/rust-lang/cargo/blob/master/src/cargo/util/style.rs>.
pub(super) const STYLES: Styles = Styles::styled()
    .header(AnsiColor::BrightGreen.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::BrightGreen.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::BrightCyan.on_default().effects(Effects::BOLD))
    .placeholder(AnsiColor::Cyan.on_default())
    .error(AnsiColor::BrightRed.on_default().effects(Effects::BOLD))
    .valid(AnsiColor::BrightCyan.on_default().effects(Effects::BOLD))
    .invalid(AnsiColor::Yellow.on_default().effects(Effects::BOLD));

#[derive(Debug, Args)]
pub(super) struct Common {
    /// Print errors only [env: CARGO_TERM_QUIET]
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,

    /// Also print every command that runs, the files used and each step [env: CARGO_TERM_VERBOSE]
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,

    /// When to use color
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        env = CARGO_TERM_COLOR,
        hide_env_values = true,
        default_value = "auto"
    )]
    pub(super) color: ColorChoice,

    /// Output format: `human`, or `json` (one object per line on stdout)
    #[arg(long, global = true, value_name = "FMT", default_value = "human", hide_possible_values = true)]
    pub(super) message_format: MessageFormat,

    /// Path to the Cargo.toml of the workspace or of one of its members
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) manifest_path: Option<PathBuf>,

    /// Pass --locked to cargo: assert that Cargo.lock will remain unchanged
    #[arg(long, global = true)]
    pub(super) locked: bool,

    /// Pass --offline to cargo: run without accessing the network [env: CARGO_NET_OFFLINE]
    #[arg(long, global = true)]
    pub(super) offline: bool,

    /// Pass --frozen to cargo: --locked and --offline
    #[arg(long, global = true)]
    pub(super) frozen: bool,

    /// Compose project name [env: COMPOSE_PROJECT_NAME] [Cargo.toml: dev.project-name] [default: the name in the
    /// compose file or in .env, else the name of the workspace directory]
    #[arg(long, global = true, value_name = "NAME", value_parser = ProjectName::new)]
    pub(super) project_name: Option<ProjectName>,
}

#[derive(Debug, Subcommand)]
pub(super) enum TopVerb {
    /// Start the dev stack, stream its logs, and tear it down at the end
    Dev(Dev),
    /// Set up a dev stack in Cargo.toml: list possible services, or add them
    Init(Init),
    /// Check the environment and suggest fixes
    #[command(after_help = help::doctor())]
    Doctor,
    /// Print a shell completion script
    Completions(Completions),
    /// Tell a completion script what can be typed
    #[command(hide = true)]
    Complete(Complete),
    /// Write the man pages
    Man(Man),
}

#[derive(Debug, Args)]
#[command(after_help = help::completions())]
pub(super) struct Completions {
    /// Shell to print the script for
    #[arg(value_name = "SHELL")]
    pub(super) shell: Interpreter,
}

#[derive(Debug, Args)]
pub(super) struct Complete {
    /// The words before the cursor, and the one at it
    #[arg(last = true, value_name = "WORDS")]
    pub(super) words: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(after_help = help::man())]
pub(super) struct Man {
    /// Directory to write the man pages to; created if it does not exist
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) dir: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = help::init())]
pub(super) struct Init {
    /// Package or binary to add as a service, with the port that it listens on, if any
    #[arg(long = "service", value_name = "NAME[:PORT]", value_parser = new_service)]
    pub(super) services: Vec<NewService>,

    // Help is no Markdown.
    #[allow(rustdoc::bare_urls)]
    /// Route by name through Traefik (http://api.localhost) instead of publishing the port
    #[arg(long)]
    pub(super) route: bool,

    /// Print the changes as a diff without writing them
    #[arg(long)]
    pub(super) dry_run: bool,
}

pub(super) fn new_service(text: &str) -> Result<NewService, String> {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => {
            (name, Some(port.parse::<std::num::NonZeroU16>().map_err(|_| "a port is a number from 1 to 65535")?))
        }
        None => (text, None),
    };
    if name.is_empty() {
        return Err("the name is missing".to_string());
    }
    Ok(NewService { name: name.to_string(), port: port.map(std::num::NonZeroU16::get) })
}

#[derive(Debug, Args)]
#[command(after_help = help::dev())]
pub(super) struct Dev {
    #[command(flatten)]
    pub(super) start: Start,

    #[command(flatten)]
    pub(super) teardown: TeardownArgs,

    #[command(subcommand)]
    pub(super) verb: Option<DevVerb>,
}

/// Options of the commands that can take a stack down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub(super) struct TeardownArgs {
    /// Time for containers to stop before they are killed, as in `30` (seconds) or `2m` [env: STAGECRAFT_TIMEOUT]
    /// [Cargo.toml: timeout] [default: each service's stop_grace_period]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(super) timeout: Option<u32>,

    /// Print the commands instead of running them
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Default, PartialEq, Eq, Args)]
pub(super) struct Start {
    /// Start the stack in the background and return
    #[arg(short, long)]
    pub(super) detach: bool,

    /// Keep the containers at the end of a foreground run, and after a failed start
    #[arg(long)]
    pub(super) keep: bool,

    #[command(flatten)]
    pub(super) traefik: TraefikFlags,

    /// Wait until all services are ready (in the foreground: report when they are) [env: STAGECRAFT_WAIT]
    /// [Cargo.toml: wait]
    #[arg(long, overrides_with = "no_wait")]
    pub(super) wait: bool,

    /// Do not wait until all services are ready (default)
    #[arg(long, overrides_with = "wait")]
    pub(super) no_wait: bool,

    /// Maximum time to wait, as in `90` (seconds) or `2m`; implies --wait [env: STAGECRAFT_WAIT_TIMEOUT] [Cargo.toml: wait-timeout]
    /// [default: 120]
    #[arg(long, value_name = "TIME", value_parser = seconds, conflicts_with = "no_wait")]
    pub(super) wait_timeout: Option<u32>,

    /// Build and reload what changes (in the foreground) [env: STAGECRAFT_WATCH] [Cargo.toml: watch]
    #[arg(short, long, overrides_with = "no_watch", conflicts_with = "detach")]
    pub(super) watch: bool,

    /// Do not reload what changes (default)
    #[arg(long, overrides_with = "watch")]
    pub(super) no_watch: bool,

    /// Start another stack of this workspace, with a name, volumes and ports of its own
    #[arg(long)]
    pub(super) isolated: bool,

    /// Arguments for `docker compose up`
    #[arg(last = true, value_name = "ARGS")]
    pub(super) args: Vec<OsString>,
}

#[derive(Debug, Default, PartialEq, Eq, Args)]
pub(super) struct TraefikFlags {
    /// Start the `traefik` service, if there is one (default) [env: STAGECRAFT_TRAEFIK] [Cargo.toml: traefik]
    #[arg(long, overrides_with = "no_traefik")]
    pub(super) traefik: bool,

    /// Do not start the `traefik` service
    #[arg(long, overrides_with = "traefik")]
    pub(super) no_traefik: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum DevVerb {
    /// Run a command with a stack that is started for it and removed after it
    Run(Run),
    /// Stop and remove the dev stack, however it was started
    Down(Down),
    /// Show the state of each service (exit code 0 if all are ready)
    Status(Status),
    /// Show the logs of the services
    Logs(LogsArgs),
    /// List the dev stacks on this engine
    List(List),
    /// Print the addresses of published ports as KEY=value lines
    Env(EnvArgs),
    /// Generate the dev files from Cargo.toml without starting anything
    Files(Files),
}

#[derive(Debug, Args)]
#[command(after_help = help::run())]
pub(super) struct Run {
    /// Start only this service and what it depends on; can be given several times
    #[arg(long = "service", value_name = "NAME")]
    pub(super) services: Vec<String>,

    /// Use the stack that runs and leave it running; if none runs, start it under its own name
    #[arg(long)]
    pub(super) reuse: bool,

    /// Stream the logs of the services
    #[arg(long)]
    pub(super) logs: bool,

    #[command(flatten)]
    pub(super) traefik: TraefikFlags,

    /// Maximum time to wait until all services are ready, as in `90` (seconds) or `2m` [env: STAGECRAFT_WAIT_TIMEOUT]
    /// [Cargo.toml: wait-timeout] [default: 120]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(super) wait_timeout: Option<u32>,

    #[command(flatten)]
    pub(super) teardown: TeardownArgs,

    /// Command to run, with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(after_help = help::env())]
pub(super) struct EnvArgs {
    /// Write them into this file instead, between two marker lines, for sqlx, IDEs and rust-analyzer
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) write: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = help::files())]
pub(super) struct Files {
    /// Check whether the files are up to date, without writing them (exit code 1 if not)
    #[arg(long)]
    pub(super) check: bool,
}

#[derive(Debug, Args)]
#[command(after_help = help::status())]
pub(super) struct Status {
    #[command(flatten)]
    pub(super) traefik: TraefikFlags,
}

#[derive(Debug, Args)]
#[command(after_help = help::logs())]
pub(super) struct LogsArgs {
    /// Follow the log output
    #[arg(short, long)]
    pub(super) follow: bool,

    /// Number of lines to show from the end of each container's log
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(super) tail: Option<u32>,

    /// Show only the logs of these services
    #[arg(value_name = "SERVICE")]
    pub(super) services: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = help::list())]
pub(super) struct List {
    /// Remove the stacks of deleted workspaces
    #[arg(long)]
    pub(super) prune: bool,

    #[command(flatten)]
    pub(super) teardown: TeardownArgs,
}

#[derive(Debug, Args)]
#[command(after_help = help::down())]
pub(super) struct Down {
    /// Also delete the named volumes
    #[arg(long)]
    pub(super) volumes: bool,

    /// Also delete the images built for the stack
    #[arg(long)]
    pub(super) images: bool,

    #[command(flatten)]
    pub(super) teardown: TeardownArgs,
}

impl ValueEnum for ColorChoice {
    fn value_variants<'a>() -> &'a [ColorChoice] {
        &[ColorChoice::Auto, ColorChoice::Always, ColorChoice::Never]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            ColorChoice::Auto => "auto",
            ColorChoice::Always => "always",
            ColorChoice::Never => "never",
        }))
    }
}

impl ValueEnum for MessageFormat {
    fn value_variants<'a>() -> &'a [MessageFormat] {
        &[MessageFormat::Human, MessageFormat::Json]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            MessageFormat::Human => "human",
            MessageFormat::Json => "json",
        }))
    }
}

impl ValueEnum for Interpreter {
    fn value_variants<'a>() -> &'a [Interpreter] {
        &[Interpreter::Bash, Interpreter::Zsh, Interpreter::Fish, Interpreter::PowerShell, Interpreter::Elvish]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Interpreter::Bash => "bash",
            Interpreter::Zsh => "zsh",
            Interpreter::Fish => "fish",
            Interpreter::PowerShell => "powershell",
            Interpreter::Elvish => "elvish",
        }))
    }
}
