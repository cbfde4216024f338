//! `dev`: starts the workspace's dev stack.

mod before_build;
mod checks;
mod programs;
mod watch;

use std::ffi::OsString;
use std::panic::resume_unwind;
use std::thread;

use anyhow::Context as _;

use self::before_build::BeforeBuild;
use self::checks::{require_ports, warn_of_changed_volumes, warn_of_moved_mounts};
use self::programs::{Prepared, Programs};
use self::watch::Reloads;
use super::files::{DevFiles, Occasion};
use super::model::{resolve, resolve_services, resolve_text};
use super::ownership::{own_containers, take_lock};
use super::{Context, Selection};
use crate::cargo::Targets;
use crate::command::{Interrupt, output_until_interrupt};
use crate::compose::{Attach, Compose, DownScope, Images, Stack, TRAEFIK, Traefik, Volumes};
use crate::engine::{self, Container};
use crate::exit::{self, Code, Failure};
use crate::reporter::Logger;
use crate::session::{
    GivenUp, OnEnd, Options, Outcome, Preparation, ProjectLock, Runner, Teardown, waiting_for_others,
};
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
    /// The user's own arguments for `docker compose up`.
    pub args: Vec<OsString>,
}

/// Starts the stack and returns when it is started or, in the foreground, over. What happened has been told then.
///
/// # Errors
/// Before anything is started: [`Code::NothingToRun`], [`Code::EngineUnavailable`].
pub(crate) fn dev(options: &DevOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    let workspace = Workspace::discover(&cx.commander, cx.cwd, &options.selection.manifest, BrokenMember::Refuse)?;
    cx.shell.detail("Workspace", &workspace.root().display().to_string());
    cx.shell.detail("Dev dir", DEV_DIR);
    cx.shell.detail("Compose file", COMPOSE_FILE);
    let settings = options.settings.or(Settings::of(&workspace)?);
    let files = DevFiles::of(&workspace)?;
    if options.dry_run {
        return dry_run(options, settings, cx, &workspace, &files);
    }
    let executor = &cx.commander;
    let described = Described::new(options, cx, workspace, settings, files)?;
    let Described { workspace, files, stack, traefik, .. } = &described;
    cx.shell.detail("Project", stack.project.as_str());
    let expected = Expected::new(stack, *traefik, &options.args);
    warn_of_moved_mounts(cx, workspace, stack);
    let compose = cx.compose(workspace, stack.project.clone())?;
    let runner = Runner::new(cx.commander.clone(), cx.shell, cx.hook, cx.arm);
    // What is followed only is not built.
    if options.attach == Attach::Foreground && is_run_by_another(cx, workspace, stack)? {
        return follow(cx, &runner, &compose);
    }
    let is_wanted = |service: &str| is_started(stack, &expected, service);
    let before_build = BeforeBuild::of(workspace, files, stack, &is_wanted);
    let is_watched = options.attach == Attach::Foreground && settings.watch == Some(true);
    let occasion = if is_watched { Occasion::WatchedStart } else { Occasion::Start };
    let programs = Programs { cx, described: &described, occasion, is_wanted: &is_wanted };
    // Nothing is locked for the build, unless services have to be started for it.
    let binaries = match before_build {
        Some(_) => None,
        None => match programs.build(&[], &mut |build| output_until_interrupt(executor, cx.hook, build))? {
            Ok(binaries) => Some(binaries),
            Err(interrupt) => return Ok(nothing_was_started(cx, interrupt, "while cargo was building")),
        },
    };
    let Some((lock, before)) = approach_stack(options, cx, workspace, stack)? else {
        return follow(cx, &runner, &compose);
    };
    warn_of_changed_volumes(cx, stack, &options.args);
    let removes_orphans = UpArgs::parse(&options.args).removes_orphans;
    require_ports(cx, stack, &expected, &before, removes_orphans, files.topology.as_ref())?;
    let (traefik, args) = described.arguments(options, cx, &before);
    let mut how = Options {
        attach: options.attach,
        traefik,
        on_end: options.on_end,
        found_running: before.iter().any(Container::is_up),
        before,
        wait: settings.wait(),
        ports: settings.ports(),
        args,
        teardown: Teardown {
            timeout: settings.timeout,
            interrupt_timeout: options.ci.then_some(CI_GRACE),
            volumes: Volumes::Keep,
            images: Images::Keep,
            verbosity: cx.shell.verbosity(),
        },
    };
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
    let (outcome, replaced) = if is_watched {
        let reloads =
            Reloads { cx, options, described: described.clone(), how: how.clone(), binaries, variables, replaced };
        watch::run(reloads, |watching| runner.run(&compose, stack, &how, preparation, Some(watching)))
    } else {
        (runner.run(&compose, stack, &how, preparation, None), replaced)
    };
    let outcome = outcome?;
    // What cannot be removed now is found by `doctor`.
    let _ = engine::remove_unused(executor, &anonymous);
    engine::remove_replaced_images(executor, &stack.project, &replaced);
    Ok(outcome.code())
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

/// Takes the lock of a stack that is to be started, with what there is of it. None if another run owns it and it is only followed.
fn approach_stack(
    options: &DevOptions,
    cx: &Context<'_>,
    workspace: &Workspace,
    stack: &Stack,
) -> anyhow::Result<Option<(ProjectLock, Vec<Container>)>> {
    let mut lock = take_lock(cx, &stack.project);
    loop {
        let before = own_containers(cx, workspace, &stack.project)?;
        let found_running = before.iter().any(Container::is_up);
        let is_ours = match options.attach {
            Attach::Foreground => lock.own().unwrap_or(true),
            Attach::Detached => !lock.is_owned_by_another(),
        };
        match approach(is_ours, found_running, options.attach) {
            Approach::Start => return Ok(Some((lock, before))),
            Approach::StartForOwner => {
                cx.shell.note("another run owns the stack and takes it down when it ends");
                return Ok(Some((lock, before)));
            }
            Approach::Follow => return Ok(None),
            Approach::WaitForOwner => {
                cx.shell.status("Blocking", &waiting_for_others(&stack.project));
                lock.wait_for_the_owner()?;
                lock = take_lock(cx, &stack.project);
            }
        }
    }
}

/// What to do about a stack, by who owns it and whether it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Approach {
    Start,
    /// Apply the changes; another run is attached to the stack and takes it down at its end.
    StartForOwner,
    /// Only show the logs of a stack that another run owns.
    Follow,
    /// The stack was taken down by a third command, and the run that was attached to it is about to notice: what is started now, it would
    /// take down again.
    WaitForOwner,
}

fn approach(is_ours: bool, runs: bool, attach: Attach) -> Approach {
    match (is_ours, runs, attach) {
        (true, _, _) => Approach::Start,
        (false, true, Attach::Detached) => Approach::StartForOwner,
        (false, true, Attach::Foreground) => Approach::Follow,
        (false, false, _) => Approach::WaitForOwner,
    }
}

/// Whether another run is attached to the stack, which is up. Asked without waiting for anybody: it is asked again under the lock.
fn is_run_by_another(cx: &Context<'_>, workspace: &Workspace, stack: &Stack) -> anyhow::Result<bool> {
    if !ProjectLock::open(&engine::lock_name(&stack.project)).is_ok_and(|lock| lock.is_owned_by_another()) {
        return Ok(false);
    }
    Ok(own_containers(cx, workspace, &stack.project)?.iter().any(Container::is_up))
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

/// What to leave out of a stack that has the service `traefik`, or has not.
fn traefik_of(options: &DevOptions, settings: Settings, cx: &Context<'_>, has_traefik: bool) -> Traefik {
    if has_traefik {
        return settings.traefik();
    }
    if options.settings.traefik == Some(Traefik::Off) {
        cx.shell.note("the stack has no active service `traefik` to leave out");
    }
    Traefik::On
}

/// How `up` leaves out the service `traefik` of this stack, and with which arguments.
///
/// By its scale, which also removes one that is there. But Compose refuses that where services are named without it, and pulls the
/// image of a service that is to have no container (2.26 and 2.40): where the engine lacks the image, the others are named.
fn without_traefik(
    cx: &Context<'_>,
    stack: &Stack,
    args: &[OsString],
    before: &[Container],
) -> (Traefik, Vec<OsString>) {
    let parsed = UpArgs::parse(args);
    if let Some(started) = parsed.started(stack) {
        let traefik = if started.contains(TRAEFIK) { Traefik::Off } else { Traefik::On };
        return (traefik, args.to_vec());
    }
    let others: Vec<&str> = stack.services.keys().map(String::as_str).filter(|name| *name != TRAEFIK).collect();
    let is_needed = stack.with_dependencies(others.iter().copied()).contains(TRAEFIK);
    let is_there = before.iter().any(|container| container.service == TRAEFIK);
    let image = stack.services.get(TRAEFIK).map(|service| service.image(&stack.project, TRAEFIK).0);
    let names_any = !parsed.services.is_empty();
    let lacks_image = || image.is_some_and(|image| engine::lacks_image(&cx.commander, &image));
    if names_any || others.is_empty() || is_needed || is_there || !lacks_image() {
        return (Traefik::Off, args.to_vec());
    }
    (Traefik::On, args.iter().cloned().chain(others.into_iter().map(OsString::from)).collect())
}

/// Says which files would be written, and prints the commands.
fn dry_run(
    options: &DevOptions,
    settings: Settings,
    cx: &Context<'_>,
    workspace: &Workspace,
    files: &DevFiles,
) -> anyhow::Result<Code> {
    files.tell(cx, false);
    let stack = match &files.topology {
        // What is not there yet.
        Some(topology) if !files.compose_file_is_current() => {
            resolve_text(cx, workspace, &options.selection, topology, files.compose_file())?
        }
        _ => with_named_services(options, cx, workspace, resolve(cx, workspace, &options.selection)?)?,
    };
    cx.shell.detail("Project", stack.project.as_str());
    let mut traefik = traefik_of(options, settings, cx, stack.has(TRAEFIK));
    let compose = cx.compose(workspace, stack.project.clone())?;
    if cx.cwd != workspace.root() {
        cx.shell.note(&format!("these commands are for {}", workspace.root().display()));
    }
    let expected = Expected::new(&stack, traefik, &options.args);
    let targets = files.targets(&cx.commander)?;
    let is_wanted = |service: &str| is_started(&stack, &expected, service);
    let images = files.images_to_load(&stack, &is_wanted);
    if !images.is_empty() {
        cx.shell.note(&format!("it would load the images {}, unless the engine has them", images.join(", ")));
    }
    let mut commands = Vec::new();
    if let Some(first) = BeforeBuild::of(workspace, files, &stack, &is_wanted) {
        let services: Vec<OsString> = first.services.iter().map(OsString::from).collect();
        if !services.is_empty() {
            commands.push(compose.up(Attach::Detached, Traefik::On, &services));
        }
        commands.extend(first.commands());
    }
    let builds = files.builds(cx, workspace, targets.as_ref(), &is_wanted)?;
    commands.extend(builds.into_iter().map(|build| build.command));
    if UpArgs::parse(&options.args).started(&stack).is_some_and(|started| !started.contains(TRAEFIK)) {
        traefik = Traefik::On;
    }
    commands.push(compose.up(options.attach, traefik, &options.args));
    commands.push(compose.down(DownScope::File, settings.timeout, Volumes::Keep, Images::Keep));
    for command in commands {
        cx.shell.print_command(&command.line()).context("cannot write to stdout")?;
    }
    Ok(Code::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_approach_follows_from_owner_state_and_attachment() {
        use Attach::{Detached, Foreground};
        for (is_ours, runs, attach, expected) in [
            (true, true, Foreground, Approach::Start),
            (true, false, Foreground, Approach::Start),
            (true, true, Detached, Approach::Start),
            (true, false, Detached, Approach::Start),
            (false, true, Foreground, Approach::Follow),
            (false, true, Detached, Approach::StartForOwner),
            (false, false, Foreground, Approach::WaitForOwner),
            (false, false, Detached, Approach::WaitForOwner),
        ] {
            assert_eq!(approach(is_ours, runs, attach), expected, "{is_ours} {runs} {attach:?}");
        }
    }
}
