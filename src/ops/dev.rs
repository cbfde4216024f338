//! `dev`: starts the workspace's dev stack.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::panic::resume_unwind;
use std::thread;

use anyhow::{Context as _, anyhow};

use super::files::DevFiles;
use super::{Context, Selection, own_containers, project_name, resolve, resolve_services, take_lock};
use crate::compose::{Attach, Images, Reach, Stack, TRAEFIK, Traefik, Volumes};
use crate::engine::{self, Container, Endpoint};
use crate::exit::Code;
use crate::message::Message;
use crate::ports::{self, Kept, Taken};
use crate::process::{Expected, Logger, OnEnd, Options, Runner, Teardown, UpArgs, waiting_for_others};
use crate::settings::Settings;
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
pub fn dev(options: &DevOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    let workspace =
        Workspace::discover(cx.executor.as_ref(), cx.cwd, &options.selection.manifest, BrokenMember::Refuse)?;
    cx.shell.detail("Workspace", &workspace.root().display().to_string());
    cx.shell.detail("Dev dir", DEV_DIR);
    cx.shell.detail("Compose file", COMPOSE_FILE);
    let settings = options.settings.or(Settings::of(&workspace)?);
    let files = DevFiles::of(&workspace)?;
    if options.dry_run {
        return dry_run(options, settings, cx, &workspace, &files);
    }
    files.write(cx, &workspace)?;
    let executor = cx.executor.as_ref();
    // Neither question waits for the other's answer.
    let (stack, target) = thread::scope(|scope| {
        let target = scope.spawn(|| files.target(executor));
        (resolve(cx, &workspace, &options.selection), target.join())
    });
    let (stack, target) = (stack?, target.unwrap_or_else(|panic| resume_unwind(panic))?);
    let mut stack = with_named_services(options, cx, &workspace, stack)?;
    cx.shell.detail("Project", stack.project.as_str());
    let traefik = traefik_of(options, settings, cx, stack.has(TRAEFIK));
    stack.leave_out(traefik);
    let expected = Expected::new(&stack, traefik, &options.args);
    let binaries =
        match files.build(cx, &workspace, target.as_deref(), &|service| is_started(&stack, &expected, service))? {
            Ok(binaries) => binaries,
            Err(interrupt) => {
                cx.shell.note("interrupted while cargo was building; nothing was started");
                return Ok(Code::Interrupted(interrupt.number()));
            }
        };
    let compose = cx.compose(&workspace, stack.project.clone())?;
    let runner = Runner::new(cx.executor.clone(), cx.shell, cx.hook, cx.arm);
    let mut lock = take_lock(cx, &stack.project);
    let before = loop {
        let before = own_containers(cx, &workspace, &stack.project)?;
        let found_running = before.iter().any(Container::is_up);
        let is_ours = match options.attach {
            Attach::Foreground => lock.own().unwrap_or(true),
            Attach::Detached => !lock.is_owned_by_another(),
        };
        match (is_ours, found_running, options.attach) {
            (true, ..) => break before,
            (false, true, Attach::Foreground) => {
                drop(lock);
                return Ok(runner.follow(&compose, cx.shell.verbosity())?.code());
            }
            (false, true, Attach::Detached) => {
                cx.shell.note("another run is attached to the stack, and takes it down when it ends");
                break before;
            }
            (false, false, _) => {
                // Taken down from elsewhere, and the run that was attached to it is about to see that it is gone: started
                // now, it would be taken down again.
                cx.shell.status("Blocking", &waiting_for_others(&stack.project));
                lock.wait_for_the_owner()?;
                lock = take_lock(cx, &stack.project);
            }
        }
    };
    warn_of_changed_volumes(cx, &stack, &options.args);
    require_ports(cx, &stack, &expected, &before, UpArgs::parse(&options.args).removes_orphans)?;
    let has_changed = files.place(&workspace, &binaries)?;
    let options = Options {
        attach: options.attach,
        traefik,
        on_end: options.on_end,
        before,
        wait: settings.wait(),
        args: options.args.clone(),
        teardown: Teardown {
            timeout: settings.timeout,
            interrupt_timeout: options.ci.then_some(CI_GRACE),
            volumes: Volumes::Keep,
            images: Images::Keep,
            verbosity: cx.shell.verbosity(),
        },
    };
    let anonymous = engine::anonymous_volumes(executor, &options.before);
    let outcome = runner.run(&compose, &stack, &options, lock)?;
    // What cannot be removed now is found by `doctor`.
    let _ = engine::remove_unused(executor, &anonymous);
    if has_changed {
        engine::remove_replaced_images(cx.executor.as_ref(), &stack.project);
    }
    Ok(outcome.code())
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
        // What is not there yet cannot be resolved.
        Some(topology) if !files.compose_file_is_current() => {
            let project = project_name(cx, workspace, &options.selection, topology.project_name.as_ref())?;
            Stack { project, services: topology.services_by_default(), volumes: BTreeMap::new() }
        }
        _ => with_named_services(options, cx, workspace, resolve(cx, workspace, &options.selection)?)?,
    };
    cx.shell.detail("Project", stack.project.as_str());
    let traefik = traefik_of(options, settings, cx, stack.has(TRAEFIK));
    let compose = cx.compose(workspace, stack.project.clone())?;
    if cx.cwd != workspace.root() {
        cx.shell.note(&format!("these commands are for {}", workspace.root().display()));
    }
    let expected = Expected::new(&stack, traefik, &options.args);
    let target = files.target(cx.executor.as_ref())?;
    let is_wanted = |service: &str| is_started(&stack, &expected, service);
    let mut commands = files.builds(cx, workspace, target.as_deref(), &is_wanted)?;
    commands.push(compose.up(options.attach, traefik, &options.args));
    commands.push(compose.down(Reach::File, settings.timeout, Volumes::Keep, Images::Keep));
    for command in commands {
        cx.shell.print_command(&command.line()).context("cannot write to stdout")?;
    }
    Ok(Code::Success)
}

/// Warns of volumes that exist with another configuration than the file's: Compose 2.26 uses them as they are, and newer ones ask a
/// question that nobody can answer here, to the same end.
fn warn_of_changed_volumes(cx: &Context<'_>, stack: &Stack, args: &[OsString]) {
    let is_answered = args.iter().any(|arg| arg == "--yes" || arg == "-y");
    if stack.volumes.is_empty() || is_answered {
        return;
    }
    // The start itself fails where the engine does not answer.
    let there = engine::volume_configs(cx.executor.as_ref(), &stack.project).unwrap_or_default();
    for (name, config) in &there {
        if stack.volumes.get(name).is_some_and(|wanted| wanted != config) {
            cx.shell.warn(&format!(
                "volume {name} was created with another configuration than the file's, and stays as it is"
            ));
            cx.shell.help(
                "to apply the file's, which deletes the data of the volume: `cargo stagecraft dev down --volumes` and start \
                 again, or, with a Compose that has the option, `cargo stagecraft dev -- --yes`",
            );
        }
    }
}

/// That the ports which the stack publishes are free. The engine would find out one at a time, with half of the stack running.
fn require_ports(
    cx: &Context<'_>,
    stack: &Stack,
    expected: &Expected,
    before: &[Container],
    removes_orphans: bool,
) -> anyhow::Result<()> {
    let publishes =
        |(name, _): (&str, u32)| stack.services.get(name).is_some_and(|service| !service.ports().is_empty());
    if !expected.is_certain() || !expected.services().any(publishes) {
        return Ok(());
    }
    if !Endpoint::current(cx.executor.as_ref()).is_local() {
        cx.shell.detail("Skipping", "the look at the ports: they are another machine's");
        return Ok(());
    }
    let is_kept = |container: &Container| match (stack.has(&container.service), container.is_one_off) {
        (_, true) => Some(Kept::OneOff),
        (true, false) => (!expected.has(&container.service)).then_some(Kept::NotStarted),
        // Compose removes it first, if it finds that the file has it nowhere.
        (false, false) => (!removes_orphans).then_some(Kept::Unknown),
    };
    let taken = ports::taken(cx.executor.as_ref(), stack, expected.services(), before, &is_kept)?;
    if taken.is_empty() {
        return Ok(());
    }
    let project = stack.project.as_str();
    for Taken { service, port, holder } in &taken {
        let holder = holder.to_string();
        cx.shell.annotate(service, &format!("{service}: port {port} is {holder}"));
        cx.shell.message(&Message::PortTaken { project, service, port, holder });
    }
    let lines: String = taken.iter().map(|taken| format!("\n  {taken}")).collect();
    let error = anyhow!("cannot start {project}: these ports are already in use:{lines}");
    let ours: Vec<&str> = taken.iter().filter_map(|taken| taken.holder.own()).collect();
    let help = match ours.as_slice() {
        [] => format!("free them, or publish others in {COMPOSE_FILE}"),
        names => format!("remove what this stack does not need with `docker rm --force {}`", names.join(" ")),
    };
    Err(Code::Failed.because(error).help(help).into())
}
