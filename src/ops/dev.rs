//! `dev`: starts the workspace's dev stack.

mod approach;
mod before_build;
mod checks;
mod dry_run;
mod isolate;
mod pinned;
mod programs;
mod run;
mod traefik;
mod watch;

use std::ffi::OsString;
use std::panic::resume_unwind;
use std::thread;

use self::approach::{approach_stack, is_run_by_another};
use self::before_build::BeforeBuild;
use self::checks::{require_ports, warn_of_changed_volumes, warn_of_moved_mounts};
use self::dry_run::dry_run;
use self::isolate::{Slot, give_back, warn_of_what_is_shared};
use self::programs::{Prepared, Programs};
pub(crate) use self::run::{ForCommand, RunOptions, run};
use self::run::{Together, require_services};
use self::traefik::{traefik_of, without_traefik};
use self::watch::Reloads;
use super::files::{DevFiles, Occasion};
use super::model::{resolve, resolve_services};
use super::{Context, Selection};
use crate::cargo::Targets;
use crate::command::{Interrupt, output_until_interrupt};
use crate::compose::{Attach, Compose, Images, Stack, TRAEFIK, Traefik, Volumes};
use crate::engine::{self, Container};
use crate::exit::{self, Code, Failure};
use crate::reporter::Logger;
use crate::session::{GivenUp, OnEnd, Options, Outcome, Preparation, Runner, Teardown};
use crate::settings::Settings;
use crate::stack::expected::{Expected, UpArgs};
use crate::workspace::{BrokenMember, COMPOSE_FILE, DEV_DIR, Workspace};

/// The grace after an interrupt in a CI job, in seconds. GitHub's runner sends SIGINT, SIGTERM 7.5 s later, and kills
/// after 2.5 s more.
const CI_GRACE: u32 = 5;

/// What `dev` is asked to do.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// Which stack.
    pub selection: Selection,
    /// Stay attached or return.
    pub attach: Attach,
    /// What the command line and the variables set; Cargo.toml has the rest.
    pub settings: Settings,
    /// What to do with what a failed start or a finished foreground run leaves.
    pub on_end: OnEnd,
    /// Whether this is a CI job, whose runner does not wait for long after an interrupt.
    pub ci: bool,
    /// Print the commands instead of running them.
    pub dry_run: bool,
    /// Whether it is an isolated stack, beside the workspace's own one.
    pub isolated: bool,
    /// The user's own arguments for `docker compose up`.
    pub args: Vec<OsString>,
}

/// Starts the stack and returns when it is started or, in the foreground, over. What happened has been told then.
///
/// # Errors
/// Before anything is started: [`Code::NothingToRun`], [`Code::EngineUnavailable`].
pub(crate) fn dev(options: &DevOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    dev_for(options, None, cx)
}

/// As [`dev`]; with `run` for a command, which is run as soon as the stack is ready.
fn dev_for(options: &DevOptions, run: Option<&RunOptions>, cx: &Context<'_>) -> anyhow::Result<Code> {
    let workspace = Workspace::discover(&cx.commander, cx.cwd, &options.selection.manifest, BrokenMember::Refuse)?;
    cx.shell.detail("Workspace", &workspace.root().display().to_string());
    cx.shell.detail("Dev dir", DEV_DIR);
    cx.shell.detail("Compose file", COMPOSE_FILE);
    let settings = options.settings.or(Settings::of(&workspace)?);
    let files = DevFiles::of(&workspace)?;
    if options.dry_run {
        return dry_run(options, run, settings, cx, &workspace, &files);
    }
    let described = Described::new(options, cx, workspace, settings, files)?;
    if !options.isolated {
        return start(options, run, cx, &described, None);
    }
    let mut slot = Slot::take(cx, &described.workspace, &described.stack.project)?;
    let project = slot.project.clone();
    let root = described.workspace.root().to_owned();
    let code = described.isolate(options, cx, &mut slot).and_then(|it| start(options, run, cx, &it, Some(slot)));
    // The end of a run has removed the file; not everything gets that far.
    give_back(cx, &root, &project);
    code
}

/// `slot`: that of an isolated stack.
fn start(
    options: &DevOptions,
    run: Option<&RunOptions>,
    cx: &Context<'_>,
    described: &Described,
    mut slot: Option<Slot>,
) -> anyhow::Result<Code> {
    let executor = &cx.commander;
    let Described { workspace, settings, files, stack, traefik, .. } = described;
    cx.shell.detail("Project", stack.project.as_str());
    let expected = Expected::new(stack, *traefik, &options.args);
    warn_of_moved_mounts(cx, workspace, stack);
    if slot.is_some() {
        warn_of_what_is_shared(cx, stack, &expected);
    }
    let compose = cx.compose(workspace, stack.project.clone())?;
    let runner = Runner::new(cx.commander.clone(), cx.shell, cx.hook, cx.arm);
    if run.is_some() {
        require_services(described, &options.args)?;
    }
    let together = run.map(|run| Together { run, cx, described, runner: &runner, compose: &compose });
    if let Some(together) = together.as_ref().filter(|together| together.run.reuse)
        && let Some(code) = together.join()?
    {
        return Ok(code);
    }
    // What is followed only is not built.
    if options.attach == Attach::Foreground && slot.is_none() && is_run_by_another(cx, workspace, stack)? {
        return follow(cx, &runner, &compose);
    }
    let is_wanted = |service: &str| is_started(stack, &expected, service);
    let before_build = BeforeBuild::of(workspace, files, stack, &is_wanted);
    let is_watched = options.attach == Attach::Foreground && settings.watch == Some(true);
    let occasion = if is_watched { Occasion::WatchedStart } else { Occasion::Start };
    let programs = Programs { cx, described, occasion, is_wanted: &is_wanted };
    // Nothing is locked for the build, unless services have to be started for it.
    let binaries = match before_build {
        Some(_) => None,
        None => match programs.build(&[], &mut |build| output_until_interrupt(executor, cx.hook, build))? {
            Ok(binaries) => Some(binaries),
            Err(interrupt) => return Ok(nothing_was_started(cx, interrupt, "while cargo was building")),
        },
    };
    let (lock, before) = match slot.as_mut().and_then(|slot| slot.lock.take()) {
        Some(lock) => (lock, Vec::new()),
        None => match approach_stack(options, cx, workspace, stack)? {
            Some(approached) => approached,
            None => return follow(cx, &runner, &compose),
        },
    };
    warn_of_changed_volumes(cx, stack, &options.args);
    let removes_orphans = UpArgs::parse(&options.args).removes_orphans;
    require_ports(cx, stack, &expected, &before, removes_orphans, files.topology.as_ref())?;
    let mut how = described.how(options, run.is_some(), cx, before);
    let anonymous = engine::anonymous_volumes(executor, &how.before);
    let mut preparation = match &before_build {
        Some(first) if !programs.are_prepared(first, &how.before)? => {
            match runner.start_first(&compose, stack, &how, &first.services, settings.wait_limit(), lock)? {
                Ok(preparation) => preparation,
                Err(outcome) => return Ok(outcome.code()),
            }
        }
        _ => Preparation::new(lock),
    };
    let prepared = match programs.prepare(&mut preparation, before_build.as_ref(), binaries) {
        Ok(Ok(prepared)) => prepared,
        Ok(Err(interrupt)) if !preparation.has_started() => {
            return Ok(nothing_was_started(cx, interrupt, "before the start"));
        }
        Err(error) if !preparation.has_started() => return Err(error),
        Ok(Err(interrupt)) => {
            let outcome = runner.give_up(&compose, stack, &how, preparation, GivenUp::Interrupted(interrupt))?;
            return Ok(outcome.code());
        }
        Err(error) => {
            let failure = error.downcast_ref::<Failure>();
            let help = failure.and_then(Failure::next_step).map(str::to_string);
            let why = GivenUp::Failed { message: exit::message(&error), help };
            return Ok(match runner.give_up(&compose, stack, &how, preparation, why)? {
                Outcome::Failed => failure.map_or(Code::Failed, Failure::code),
                outcome => outcome.code(),
            });
        }
    };
    if preparation.has_started() {
        // `up` finds out by itself if the engine does not answer any more.
        how.before = engine::containers(executor, &stack.project).unwrap_or(how.before);
    }
    let Prepared { binaries, variables, replaced } = prepared;
    let (code, replaced) = match &together {
        Some(together) => (together.start(&how, preparation), replaced),
        None if is_watched => {
            let described = described.clone();
            let reloads = Reloads { cx, options, described, slot, how: how.clone(), binaries, variables, replaced };
            let (outcome, replaced) =
                watch::run(reloads, |watching| runner.run(&compose, stack, &how, preparation, Some(watching)));
            (outcome.map(Outcome::code), replaced)
        }
        None => (runner.run(&compose, stack, &how, preparation, None).map(Outcome::code), replaced),
    };
    let code = code?;
    // What cannot be removed now is found by `doctor`.
    let _ = engine::remove_unused(executor, &anonymous);
    engine::remove_replaced_images(executor, stack.project_of_images(), &replaced);
    Ok(code)
}

/// A stack as the files describe it at one moment.
#[derive(Clone)]
struct Described {
    workspace: Workspace,
    settings: Settings,
    files: DevFiles,
    /// With the service `traefik`, whether it is started or not.
    whole_stack: Stack,
    stack: Stack,
    traefik: Traefik,
    targets: Option<Targets>,
}

impl Described {
    /// Writes the dev files, and asks Compose what they mean.
    ///
    /// # Errors
    /// [`Code::NothingToRun`] if the files cannot be written or are not valid; [`Code::EngineUnavailable`].
    fn new(
        options: &DevOptions,
        cx: &Context<'_>,
        workspace: Workspace,
        settings: Settings,
        files: DevFiles,
    ) -> anyhow::Result<Described> {
        files.write(cx, &workspace)?;
        // Neither question waits for the other's answer.
        let (stack, targets) = thread::scope(|scope| {
            let targets = scope.spawn(|| files.targets(&cx.commander));
            (resolve(cx, &workspace, &options.selection), targets.join())
        });
        let (stack, targets) = (stack?, targets.unwrap_or_else(|panic| resume_unwind(panic))?);
        let whole_stack = with_named_services(options, cx, &workspace, stack)?;
        let traefik = traefik_of(options, settings, cx, whole_stack.has(TRAEFIK));
        let mut stack = whole_stack.clone();
        stack.leave_out(traefik);
        Ok(Described { workspace, settings, files, whole_stack, stack, traefik, targets })
    }

    /// How the stack is started beside these containers, for a command or not.
    fn how(&self, options: &DevOptions, for_command: bool, cx: &Context<'_>, before: Vec<Container>) -> Options {
        let (traefik, args) = self.arguments(options, cx, &before);
        let settings = &self.settings;
        Options {
            attach: options.attach,
            traefik,
            on_end: options.on_end,
            found_running: before.iter().any(Container::is_up),
            before,
            wait: if for_command { Some(settings.wait_limit()) } else { settings.wait() },
            ports: settings.ports(),
            args,
            teardown: Teardown {
                timeout: settings.timeout,
                interrupt_timeout: options.ci.then_some(CI_GRACE),
                volumes: if options.isolated { Volumes::Remove } else { Volumes::Keep },
                images: Images::Keep,
                verbosity: cx.shell.verbosity(),
            },
        }
    }

    /// How `up` starts the stack beside these containers, with or without the service `traefik`, and with which arguments.
    fn arguments(&self, options: &DevOptions, cx: &Context<'_>, before: &[Container]) -> (Traefik, Vec<OsString>) {
        match self.traefik {
            Traefik::On => (Traefik::On, options.args.clone()),
            Traefik::Off => without_traefik(cx, &self.whole_stack, &options.args, before),
        }
    }
}

fn nothing_was_started(cx: &Context<'_>, interrupt: Interrupt, when: &str) -> Code {
    cx.shell.note(&format!("interrupted {when}; nothing was started"));
    Code::Interrupted(interrupt.number())
}

fn follow(cx: &Context<'_>, runner: &Runner<'_>, compose: &Compose) -> anyhow::Result<Code> {
    cx.shell.note("following does not apply changes; `cargo stagecraft dev --detach` does");
    Ok(runner.follow(compose, cx.shell.verbosity())?.code())
}

/// The stack of the start: where the user's arguments name a service that the stack lacks (one behind a profile, which naming it
/// activates), what Compose makes of those that are named.
fn with_named_services(
    options: &DevOptions,
    cx: &Context<'_>,
    workspace: &Workspace,
    stack: Stack,
) -> anyhow::Result<Stack> {
    match UpArgs::parse(&options.args).services_to_resolve(&stack) {
        // What is no service at all is for `up` to complain about.
        Some(services) => Ok(resolve_services(cx, workspace, &options.selection, services)?.unwrap_or(stack)),
        None => Ok(stack),
    }
}

/// Whether a start of this stack is about the service, as far as that can be known.
fn is_started(stack: &Stack, expected: &Expected, service: &str) -> bool {
    if expected.is_certain() { expected.has(service) } else { stack.has(service) }
}
