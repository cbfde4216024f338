//! The command line: clap's structs and how they become options. The only room that knows clap.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::Styles;
use clap::builder::styling::{AnsiColor, Effects};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Args, Command, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};

use crate::compose::{Attach, Images, Logs, PROJECT_NAME, ProjectName, Traefik, Volumes};
use crate::devfile::Reached;
use crate::exit::Code;
use crate::ops::{
    CompleteOptions, DevOptions, DoctorOptions, DownOptions, EnvOptions, FilesOptions, InitOptions, Interpreter,
    ListOptions, LogsOptions, ManOptions, NewService, Selection, StatusOptions,
};
use crate::reporter::{ColorChoice, MessageFormat, ShellOptions, Verbosity};
use crate::session::OnEnd;
use crate::settings::{self, Settings, boolean, seconds};
use crate::suggest::similar;
use crate::workspace::ManifestOptions;

const DEV: &str = "dev";
const CARGO_TERM_COLOR: &str = "CARGO_TERM_COLOR";
const CARGO_TERM_HYPERLINKS: &str = "CARGO_TERM_HYPERLINKS";
const CARGO_TERM_QUIET: &str = "CARGO_TERM_QUIET";
const CARGO_TERM_VERBOSE: &str = "CARGO_TERM_VERBOSE";

mod complete;
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
struct Cli {
    #[command(flatten, next_help_heading = "Common options")]
    common: Common,
    #[command(subcommand)]
    verb: TopVerb,
}

/// Cargo's: <https://github.com/rust-lang/cargo/blob/master/src/cargo/util/style.rs>.
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::BrightGreen.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::BrightGreen.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::BrightCyan.on_default().effects(Effects::BOLD))
    .placeholder(AnsiColor::Cyan.on_default())
    .error(AnsiColor::BrightRed.on_default().effects(Effects::BOLD))
    .valid(AnsiColor::BrightCyan.on_default().effects(Effects::BOLD))
    .invalid(AnsiColor::Yellow.on_default().effects(Effects::BOLD));

#[derive(Debug, Args)]
struct Common {
    /// Print errors only [env: CARGO_TERM_QUIET]
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,

    /// Also print every command that runs, the files used and each step [env: CARGO_TERM_VERBOSE]
    #[arg(short, long, global = true)]
    verbose: bool,

    /// When to use color
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        env = CARGO_TERM_COLOR,
        hide_env_values = true,
        default_value = "auto"
    )]
    color: When,

    /// Output format: `human`, or `json` (one object per line on stdout)
    #[arg(long, global = true, value_name = "FMT", default_value = "human", hide_possible_values = true)]
    message_format: Format,

    /// Path to the Cargo.toml of the workspace or of one of its members
    #[arg(long, global = true, value_name = "PATH")]
    manifest_path: Option<PathBuf>,

    /// Pass --locked to cargo: assert that Cargo.lock will remain unchanged
    #[arg(long, global = true)]
    locked: bool,

    /// Pass --offline to cargo: run without accessing the network [env: CARGO_NET_OFFLINE]
    #[arg(long, global = true)]
    offline: bool,

    /// Pass --frozen to cargo: --locked and --offline
    #[arg(long, global = true)]
    frozen: bool,

    /// Compose project name [env: COMPOSE_PROJECT_NAME] [Cargo.toml: dev.project-name] [default: the name in the
    /// compose file or in .env, else the name of the workspace directory]
    #[arg(long, global = true, value_name = "NAME", value_parser = ProjectName::new)]
    project_name: Option<ProjectName>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

#[derive(Debug, Subcommand)]
enum TopVerb {
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
struct Completions {
    /// Shell to print the script for
    #[arg(value_name = "SHELL")]
    shell: ShellName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ShellName {
    Bash,
    Zsh,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Elvish,
}

impl ShellName {
    fn interpreter(self) -> Interpreter {
        match self {
            ShellName::Bash => Interpreter::Bash,
            ShellName::Zsh => Interpreter::Zsh,
            ShellName::Fish => Interpreter::Fish,
            ShellName::PowerShell => Interpreter::PowerShell,
            ShellName::Elvish => Interpreter::Elvish,
        }
    }
}

#[derive(Debug, Args)]
struct Complete {
    /// The words before the cursor, and the one at it
    #[arg(last = true, value_name = "WORDS")]
    words: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(after_help = help::man())]
struct Man {
    /// Directory to write the man pages to; created if it does not exist
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = help::init())]
struct Init {
    /// Package or binary to add as a service, with the port that it listens on, if any
    #[arg(long = "service", value_name = "NAME[:PORT]", value_parser = new_service)]
    services: Vec<NewService>,

    // Help is no Markdown.
    #[allow(rustdoc::bare_urls)]
    /// Route by name through Traefik (http://api.localhost) instead of publishing the port
    #[arg(long)]
    route: bool,

    /// Print the changes as a diff without writing them
    #[arg(long)]
    dry_run: bool,
}

fn new_service(text: &str) -> Result<NewService, String> {
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
struct Dev {
    #[command(flatten)]
    start: Start,

    /// Seconds to wait for containers to stop before killing them [env: STAGECRAFT_TIMEOUT] [Cargo.toml: timeout]
    /// [default: each service's stop_grace_period]
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
    /// Start the stack in the background and return
    #[arg(short, long)]
    detach: bool,

    /// Keep the containers after a failed start or at the end of a foreground run
    #[arg(long)]
    keep: bool,

    #[command(flatten)]
    traefik: TraefikFlags,

    /// Wait until all services are ready (in the foreground: report when they are) [env: STAGECRAFT_WAIT]
    /// [Cargo.toml: wait]
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,

    /// Do not wait until all services are ready (default)
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,

    /// Maximum number of seconds to wait; implies --wait [env: STAGECRAFT_WAIT_TIMEOUT] [Cargo.toml: wait-timeout] [default: 120]
    #[arg(long, value_name = "SECONDS", conflicts_with = "no_wait")]
    wait_timeout: Option<u32>,

    /// Arguments for `docker compose up`
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

#[derive(Debug, Default, PartialEq, Eq, Args)]
struct TraefikFlags {
    /// Start the `traefik` service, if there is one (default) [env: STAGECRAFT_TRAEFIK] [Cargo.toml: traefik]
    #[arg(long, overrides_with = "no_traefik")]
    traefik: bool,

    /// Do not start the `traefik` service
    #[arg(long, overrides_with = "traefik")]
    no_traefik: bool,
}

impl TraefikFlags {
    fn given(&self) -> Result<Option<Traefik>, clap::Error> {
        let given = either(self.traefik, self.no_traefik);
        Ok(given_or(given, settings::TRAEFIK, boolean)?.map(Traefik::from))
    }
}

#[derive(Debug, Subcommand)]
enum DevVerb {
    /// Stop and remove the dev stack, however it was started
    Down(Down),
    /// Show the state of each service (exit code 0 if all are ready)
    Status(Status),
    /// Show the logs of the services
    Logs(LogsArgs),
    /// List the dev stacks on this engine
    List(List),
    /// Print the addresses of published ports as KEY=value lines
    #[command(after_help = help::env())]
    Env,
    /// Generate the dev files from Cargo.toml without starting anything
    Files(Files),
}

#[derive(Debug, Args)]
#[command(after_help = help::files())]
struct Files {
    /// Check whether the files are up to date, without writing them (exit code 1 if not)
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Args)]
#[command(after_help = help::status())]
struct Status {
    #[command(flatten)]
    traefik: TraefikFlags,
}

#[derive(Debug, Args)]
#[command(after_help = help::logs())]
struct LogsArgs {
    /// Follow the log output
    #[arg(short, long)]
    follow: bool,

    /// Number of lines to show from the end of each container's log
    #[arg(short = 'n', long, value_name = "LINES")]
    tail: Option<u32>,

    /// Show only the logs of these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = help::list())]
struct List {
    /// Remove the stacks of deleted workspaces
    #[arg(long)]
    prune: bool,
}

#[derive(Debug, Args)]
#[command(after_help = help::down())]
struct Down {
    /// Also delete the named volumes
    #[arg(long)]
    volumes: bool,

    /// Also delete the images built for the stack
    #[arg(long)]
    images: bool,
}

impl Cli {
    fn into_request(self) -> Result<Request, clap::Error> {
        let Cli { common, verb } = self;
        // Somebody is typing: nothing in the environment is worth a word now.
        let is_silent = matches!(verb, TopVerb::Complete(_));
        let shell = if is_silent { ShellOptions::default() } else { common.shell()? };
        let verb = verb.into_verb(|| common.selection(), shell.format)?;
        Ok(Request { verb, shell, warnings: if is_silent { Vec::new() } else { odd_variables() } })
    }
}

impl Common {
    fn shell(&self) -> Result<ShellOptions, clap::Error> {
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => match (is_on(CARGO_TERM_QUIET)?, is_on(CARGO_TERM_VERBOSE)?) {
                (true, true) => {
                    return Err(usage(&format!("{CARGO_TERM_QUIET} and {CARGO_TERM_VERBOSE} cannot both be `true`")));
                }
                (true, _) => Verbosity::Quiet,
                (_, true) => Verbosity::Verbose,
                _ => Verbosity::Normal,
            },
        };
        let color = match self.color {
            When::Auto => ColorChoice::Auto,
            When::Always => ColorChoice::Always,
            When::Never => ColorChoice::Never,
        };
        let format = match self.message_format {
            Format::Human => MessageFormat::Human,
            Format::Json => MessageFormat::Json,
        };
        let hyperlinks = given_or(None, CARGO_TERM_HYPERLINKS, boolean)?;
        Ok(ShellOptions { verbosity, color, hyperlinks, format })
    }

    fn selection(self) -> Result<Selection, clap::Error> {
        let flags = [("--frozen", self.frozen), ("--locked", self.locked), ("--offline", self.offline)];
        let flags = flags.into_iter().filter_map(|(flag, given)| given.then_some(flag)).collect();
        let manifest = ManifestOptions { path: self.manifest_path, flags };
        let project_name = given_or(self.project_name, PROJECT_NAME, ProjectName::new)?;
        Ok(Selection { manifest, project_name })
    }
}

impl TopVerb {
    /// Commands that need no workspace skip the project selection, so an invalid environment variable cannot break them.
    fn into_verb(
        self,
        selection: impl FnOnce() -> Result<Selection, clap::Error>,
        format: MessageFormat,
    ) -> Result<Verb, clap::Error> {
        let json = format == MessageFormat::Json;
        let dev = match self {
            TopVerb::Dev(dev) => dev,
            TopVerb::Doctor => return Ok(Verb::Doctor(DoctorOptions { selection: selection()? })),
            TopVerb::Init(_) if json => return Err(no_messages("init")),
            TopVerb::Init(Init { services, route, dry_run }) => {
                let reached = if route { Reached::Routed } else { Reached::Published };
                return Ok(Verb::Init(InitOptions { selection: selection()?, services, reached, dry_run }));
            }
            TopVerb::Completions(_) if json => return Err(no_messages("completions")),
            TopVerb::Completions(Completions { shell }) => return Ok(Verb::Completions(shell.interpreter())),
            TopVerb::Complete(Complete { words }) => {
                return Ok(Verb::Complete(complete::complete(command(), &words)));
            }
            TopVerb::Man(_) if json => return Err(no_messages("man")),
            TopVerb::Man(Man { dir }) => return Ok(Verb::Man(ManOptions { dir })),
        };
        let selection = selection()?;
        dev.check(format)?;
        let timeout = || given_or(dev.timeout, settings::TIMEOUT, seconds);
        Ok(match dev.verb {
            None => Verb::Dev(DevOptions {
                selection,
                attach: if dev.start.detach { Attach::Detached } else { Attach::Foreground },
                settings: Settings { timeout: timeout()?, ..dev.start.settings()? },
                on_end: if dev.start.keep { OnEnd::Keep } else { OnEnd::TearDown },
                ci: is_ci(),
                dry_run: dev.dry_run,
                args: dev.start.args,
            }),
            Some(DevVerb::Down(down)) => Verb::Down(DownOptions {
                selection,
                volumes: if down.volumes { Volumes::Remove } else { Volumes::Keep },
                images: if down.images { Images::Remove } else { Images::Keep },
                timeout: timeout()?,
                dry_run: dev.dry_run,
            }),
            Some(DevVerb::Status(status)) => {
                let settings = Settings {
                    traefik: status.traefik.given()?,
                    wait_for_ports: given_or(None, settings::WAIT_FOR_PORTS, boolean)?,
                    ..Settings::default()
                };
                Verb::Status(StatusOptions { selection, settings })
            }
            Some(DevVerb::Logs(LogsArgs { follow, tail, services })) => {
                Verb::Logs(LogsOptions { selection, logs: Logs { follow, tail, services } })
            }
            Some(DevVerb::List(List { prune })) => {
                Verb::List(ListOptions { prune, timeout: timeout()?, dry_run: dev.dry_run })
            }
            Some(DevVerb::Env) => Verb::Env(EnvOptions { selection }),
            Some(DevVerb::Files(Files { check })) => Verb::Files(FilesOptions { selection, check }),
        })
    }
}

impl Dev {
    /// The options of a start, and those that a few verbs share, mean nothing to the others.
    fn check(&self, format: MessageFormat) -> Result<(), clap::Error> {
        let (name, tears_down) = match &self.verb {
            None => return self.start.check(),
            Some(DevVerb::Down(_)) => ("down", true),
            Some(DevVerb::List(list)) => ("list", list.prune),
            Some(DevVerb::Status(_)) => ("status", false),
            Some(DevVerb::Logs(_)) => ("logs", false),
            Some(DevVerb::Env) => ("env", false),
            Some(DevVerb::Files(_)) => ("files", false),
        };
        if self.start != Start::default() {
            let options = "--detach, --keep, --traefik, --no-traefik, --wait or --no-wait";
            return Err(usage_of(&["dev", name], &format!("`dev {name}` starts nothing: it takes no {options}")));
        }
        if !tears_down && (self.timeout.is_some() || self.dry_run) {
            let prune = if name == "list" { " without --prune" } else { "" };
            let message = format!("`dev {name}`{prune} takes nothing down: it takes no --timeout or --dry-run");
            return Err(usage_of(&["dev", name], &message));
        }
        if name == "logs" && format == MessageFormat::Json {
            let message = "`dev logs` shows what containers print: it takes no --message-format json";
            return Err(usage_of(&["dev", name], message));
        }
        Ok(())
    }
}

impl Start {
    fn settings(&self) -> Result<Settings, clap::Error> {
        let wait = either(self.wait || self.wait_timeout.is_some(), self.no_wait);
        Ok(Settings {
            timeout: None,
            traefik: self.traefik.given()?,
            wait: given_or(wait, settings::WAIT, boolean)?,
            wait_timeout: given_or(self.wait_timeout, settings::WAIT_TIMEOUT, seconds)?,
            wait_for_ports: given_or(None, settings::WAIT_FOR_PORTS, boolean)?,
        })
    }

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
            Some(arg) if !self.detach => {
                let arg = arg.to_string_lossy();
                let help = "makes `docker compose up` return at once; use `cargo stagecraft dev --detach`";
                Err(usage_of(&["dev"], &format!("`-- {arg}` {help}")))
            }
            _ => Ok(()),
        }
    }
}

/// The variable that every CI service sets; some people set it to `false`.
fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// What one of two flags says, if either is given.
fn either(on: bool, off: bool) -> Option<bool> {
    (on || off).then_some(on)
}

/// What the command line gives, else what a variable does. As for Compose, an empty one counts as none.
fn given_or<T>(
    given: Option<T>,
    variable: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, clap::Error> {
    let value = std::env::var_os(variable).filter(|value| given.is_none() && !value.is_empty());
    let Some(value) = value else { return Ok(given) };
    let text = value.to_string_lossy();
    read(&text).map(Some).map_err(|rule| usage(&format!("invalid {variable} `{text}`: {rule}")))
}

fn is_on(variable: &str) -> Result<bool, clap::Error> {
    Ok(given_or(None, variable, boolean)? == Some(true))
}

/// Variables with which one of ours may be meant. Others that begin alike may be somebody else's.
fn odd_variables() -> Vec<String> {
    let ours = || settings::VARIABLES.into_iter().filter_map(|name| name.strip_prefix(settings::PREFIX));
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let odd = names.filter_map(|name| {
        let name = name.strip_prefix(settings::PREFIX)?;
        let meant = similar(name, ours()).filter(|meant| *meant != name)?;
        let prefix = settings::PREFIX;
        Some(format!("variable `{prefix}{name}` is not known; one with a similar name is: `{prefix}{meant}`"))
    });
    odd.collect()
}

/// As for cargo, it is the variable that decides of help and of wrong command lines, which are told before `--color` is read.
fn color_of_help() -> clap::ColorChoice {
    let variable = std::env::var(CARGO_TERM_COLOR).ok();
    variable.and_then(|when| when.parse().ok()).unwrap_or_default()
}

fn no_messages(verb: &str) -> clap::Error {
    let message = format!("`{verb}` has nothing to tell a program: it takes no --message-format json");
    usage_of(&[verb], &message)
}

fn usage(message: &str) -> clap::Error {
    Cli::command().error(ErrorKind::ArgumentConflict, message)
}

/// Wrong usage of a verb, with its usage and not that of the whole program.
fn usage_of(verbs: &[&str], message: &str) -> clap::Error {
    let mut command = Cli::command();
    command.build();
    let found = verbs.iter().try_fold(&mut command, |command, verb| command.find_subcommand_mut(verb));
    match found {
        Some(command) => command.error(ErrorKind::ArgumentConflict, message),
        None => usage(message),
    }
}

#[cfg(test)]
mod tests;
