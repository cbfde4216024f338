//! Turns arguments and variables into the options of a command, and rejects combinations that make no sense.

use std::ffi::OsString;

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::args::{
    Cli, Common, Complete, Completions, Dev, DevVerb, EnvArgs, Files, Init, List, LogsArgs, Man, Run, Start,
    TeardownArgs, TopVerb, TraefikFlags,
};
use super::{Request, Verb, command, complete};
use crate::compose::{Attach, Images, Logs, PROJECT_NAME, ProjectName, Traefik, Volumes};
use crate::devfile::Reached;
use crate::ops::{
    DevOptions, DoctorOptions, DownOptions, EnvOptions, FilesOptions, ForCommand, InitOptions, ListOptions,
    LogsOptions, ManOptions, RunOptions, Selection, StatusOptions,
};
use crate::reporter::{MessageFormat, ShellOptions, Verbosity};
use crate::session::OnEnd;
use crate::settings::{self, Settings, boolean, seconds};
use crate::suggest::similar;
use crate::workspace::ManifestOptions;

pub(super) const DEV: &str = "dev";
pub(super) const CARGO_TERM_COLOR: &str = "CARGO_TERM_COLOR";
const CARGO_TERM_HYPERLINKS: &str = "CARGO_TERM_HYPERLINKS";
const CARGO_TERM_QUIET: &str = "CARGO_TERM_QUIET";
const CARGO_TERM_VERBOSE: &str = "CARGO_TERM_VERBOSE";

impl Cli {
    pub(super) fn into_request(self) -> Result<Request, clap::Error> {
        let Cli { common, verb } = self;
        // Somebody is typing: nothing in the environment is worth a word now.
        let is_silent = matches!(verb, TopVerb::Complete(_));
        let shell = if is_silent { ShellOptions::default() } else { common.shell()? };
        let verb = verb.into_verb(|| common.selection(), shell.format)?;
        Ok(Request { verb, shell, warnings: if is_silent { Vec::new() } else { odd_variables() } })
    }
}

impl Common {
    pub(super) fn shell(&self) -> Result<ShellOptions, clap::Error> {
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
        let color = self.color;
        let format = self.message_format;
        let hyperlinks = given_or(None, CARGO_TERM_HYPERLINKS, boolean)?;
        Ok(ShellOptions { verbosity, color, hyperlinks, format })
    }

    pub(super) fn selection(self) -> Result<Selection, clap::Error> {
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
            TopVerb::Completions(Completions { shell }) => return Ok(Verb::Completions(shell)),
            TopVerb::Complete(Complete { words }) => {
                return Ok(Verb::Complete(complete::complete(command(), &words)));
            }
            TopVerb::Man(_) if json => return Err(no_messages("man")),
            TopVerb::Man(Man { dir }) => return Ok(Verb::Man(ManOptions { dir })),
        };
        let selection = selection()?;
        dev.check(format)?;
        let teardown = dev.teardown();
        let timeout = || given_or(teardown.timeout, settings::TIMEOUT, seconds);
        let dry_run = teardown.dry_run;
        Ok(match dev.verb {
            None => Verb::Dev(DevOptions {
                selection,
                attach: if dev.start.detach { Attach::Detached } else { Attach::Foreground },
                settings: Settings { timeout: timeout()?, ..dev.start.settings()? },
                on_end: if dev.start.keep { OnEnd::Keep } else { OnEnd::TearDown },
                ci: is_ci(),
                dry_run,
                isolated: dev.start.isolated,
                args: dev.start.args,
            }),
            Some(DevVerb::Run(run)) => Verb::Run(run.options(selection, timeout()?, dry_run)?),
            Some(DevVerb::Down(down)) => Verb::Down(DownOptions {
                selection,
                volumes: if down.volumes { Volumes::Remove } else { Volumes::Keep },
                images: if down.images { Images::Remove } else { Images::Keep },
                timeout: timeout()?,
                dry_run,
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
            Some(DevVerb::List(List { prune, .. })) => Verb::List(ListOptions { prune, timeout: timeout()?, dry_run }),
            Some(DevVerb::Env(EnvArgs { write })) => Verb::Env(EnvOptions { selection, write }),
            Some(DevVerb::Files(Files { check })) => Verb::Files(FilesOptions { selection, check }),
        })
    }
}

impl Dev {
    /// The options of a teardown, which may be given before the subcommand or after it.
    fn teardown(&self) -> TeardownArgs {
        let TeardownArgs { timeout, dry_run } = match &self.verb {
            Some(DevVerb::Down(down)) => down.teardown,
            Some(DevVerb::List(list)) => list.teardown,
            Some(DevVerb::Run(run)) => run.teardown,
            _ => TeardownArgs::default(),
        };
        TeardownArgs { timeout: timeout.or(self.teardown.timeout), dry_run: dry_run || self.teardown.dry_run }
    }

    /// The options of a start, and those that a few verbs share, mean nothing to the others.
    pub(super) fn check(&self, format: MessageFormat) -> Result<(), clap::Error> {
        let (name, tears_down) = match &self.verb {
            None => return self.start.check(),
            Some(DevVerb::Run(_)) => ("run", true),
            Some(DevVerb::Down(_)) => ("down", true),
            Some(DevVerb::List(list)) => ("list", list.prune),
            Some(DevVerb::Status(_)) => ("status", false),
            Some(DevVerb::Logs(_)) => ("logs", false),
            Some(DevVerb::Env(_)) => ("env", false),
            Some(DevVerb::Files(_)) => ("files", false),
        };
        if self.start != Start::default() {
            let options =
                "--detach, --isolated, --keep, --traefik, --no-traefik, --wait, --no-wait, --watch or --no-watch";
            let message = match name {
                "run" => "the options of `dev run` come after `run`; it always waits, and starts an isolated stack"
                    .to_string(),
                _ => format!("`dev {name}` starts nothing: it takes no {options}"),
            };
            return Err(usage_of(&["dev", name], &message));
        }
        if !tears_down && self.teardown() != TeardownArgs::default() {
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

impl Run {
    fn options(self, selection: Selection, timeout: Option<u32>, dry_run: bool) -> Result<RunOptions, clap::Error> {
        let settings = Settings {
            timeout,
            traefik: self.traefik.given()?,
            wait_timeout: given_or(self.wait_timeout, settings::WAIT_TIMEOUT, seconds)?,
            wait_for_ports: given_or(None, settings::WAIT_FOR_PORTS, boolean)?,
            ..Settings::default()
        };
        let start = DevOptions {
            selection,
            attach: Attach::Detached,
            settings,
            on_end: OnEnd::TearDown,
            ci: is_ci(),
            dry_run,
            isolated: !self.reuse,
            args: self.services.into_iter().map(OsString::from).collect(),
        };
        let command = ForCommand { argv: self.command, logs: self.logs };
        Ok(RunOptions { start, reuse: self.reuse, command })
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
            watch: given_or(either(self.watch, self.no_watch), settings::WATCH, boolean)?,
        })
    }

    /// Arguments that would make `up` return early contradict a foreground run, which would take the stack down then.
    pub(super) fn check(&self) -> Result<(), clap::Error> {
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

/// Prefixes of variables that are probably misspelt settings. Other variables may belong to other programs.
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

/// The color of help and of usage errors, which are printed before `--color` is read. As in cargo, only the variable counts.
pub(super) fn color_of_help() -> clap::ColorChoice {
    let variable = std::env::var(CARGO_TERM_COLOR).ok();
    variable.and_then(|when| when.parse().ok()).unwrap_or_default()
}

fn no_messages(verb: &str) -> clap::Error {
    let message = format!("`{verb}` has no JSON output: it takes no --message-format json");
    usage_of(&[verb], &message)
}

fn usage(message: &str) -> clap::Error {
    Cli::command().error(ErrorKind::ArgumentConflict, message)
}

/// Wrong usage of a verb, with its usage and not that of the whole program.
fn usage_of(verbs: &[&str], message: &str) -> clap::Error {
    let mut command = command();
    let found = verbs.iter().try_fold(&mut command, |command, verb| command.find_subcommand_mut(verb));
    match found {
        Some(command) => command.error(ErrorKind::ArgumentConflict, message),
        None => usage(message),
    }
}

impl TraefikFlags {
    fn given(&self) -> Result<Option<Traefik>, clap::Error> {
        let given = either(self.traefik, self.no_traefik);
        Ok(given_or(given, settings::TRAEFIK, boolean)?.map(Traefik::from))
    }
}
