//! `dev`: starts the workspace's dev stack.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::{Context, Selection, own_containers, resolve, take_lock};
use crate::compose::{Attach, Compose, Reach, Stack, TRAEFIK, Traefik, Volumes};
use crate::engine::{Container, Endpoint};
use crate::exit::Code;
use crate::message::Message;
use crate::ports::{self, Taken};
use crate::process::{Expected, Logger, OnEnd, Options, Runner, Teardown, waiting_for_others};
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
    /// With or without the service `traefik`.
    pub traefik: Traefik,
    /// What to do with what a failed start or a finished foreground run leaves.
    pub on_end: OnEnd,
    /// Grace for containers in seconds; without it each service's own counts.
    pub timeout: Option<u32>,
    /// How long to wait until everything is ready, if that is asked for.
    pub wait: Option<Duration>,
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
    let manifest_path = options.selection.manifest_path.as_deref();
    let workspace = Workspace::discover(cx.executor.as_ref(), cx.cwd, manifest_path, BrokenMember::Refuse)?;
    cx.shell.detail("Workspace", &workspace.root().display().to_string());
    cx.shell.detail("Dev dir", DEV_DIR);
    cx.shell.detail("Compose file", COMPOSE_FILE);
    let stack = resolve(cx, &workspace, &options.selection)?;
    cx.shell.detail("Project", stack.project.as_str());
    let traefik = match options.traefik {
        Traefik::Off if !stack.has(TRAEFIK) => {
            cx.shell.note("the stack has no active service `traefik` to leave out");
            Traefik::On
        }
        choice => choice,
    };
    let compose = Compose::new(&workspace, stack.project.clone())?;
    if options.dry_run {
        if cx.cwd != workspace.root() {
            cx.shell.note(&format!("these commands are for {}", workspace.root().display()));
        }
        let up = compose.up(options.attach, traefik, &options.args);
        let down = compose.down(Reach::File, options.timeout, Volumes::Keep);
        for command in [up, down] {
            cx.shell.print_command(&command.line()).context("cannot write to stdout")?;
        }
        return Ok(Code::Success);
    }
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
    require_ports(cx, &stack, &Expected::new(&stack, traefik, &options.args))?;
    let options = Options {
        attach: options.attach,
        traefik,
        on_end: options.on_end,
        before,
        wait: options.wait,
        args: options.args.clone(),
        teardown: Teardown {
            timeout: options.timeout,
            interrupt_timeout: options.ci.then_some(CI_GRACE),
            volumes: Volumes::Keep,
            verbosity: cx.shell.verbosity(),
        },
    };
    Ok(runner.run(&compose, &stack, &options, lock)?.code())
}

/// That the ports which the stack publishes are to be had. The engine would find out one at a time, with half of the stack
/// running.
fn require_ports(cx: &Context<'_>, stack: &Stack, expected: &Expected) -> anyhow::Result<()> {
    let publishes =
        |(name, _): (&str, u32)| stack.services.get(name).is_some_and(|service| !service.ports().is_empty());
    if !expected.is_certain() || !expected.services().any(publishes) {
        return Ok(());
    }
    if !Endpoint::current(cx.executor.as_ref()).is_local() {
        cx.shell.detail("Skipping", "the look at the ports: they are another machine's");
        return Ok(());
    }
    let taken = ports::taken(cx.executor.as_ref(), stack, expected.services())?;
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
    let error = anyhow!("{project} was not started, since ports that it publishes are not to be had:{lines}");
    Err(Code::Failed.because(error).help(format!("free them, or publish others in {COMPOSE_FILE}")).into())
}
