//! `doctor`: checks everything that a dev stack needs and suggests fixes.
//!
//! It is run when nothing works, so it takes nothing for granted: a failed question is a finding, and checks that depend
//! on it are skipped. It changes nothing.

mod check;
mod disk;
mod docker;
mod proxy;
mod site;

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::Context as _;

use super::list::{stacks, without_workspace};
use super::ownership::require_own;
use super::{Context, Selection};
use crate::command::Executor;
use crate::compose::{self, ProjectName, Stack};
use crate::engine::{self, Address, Container, Endpoint, Info, Server, Versions};
use crate::exit::Code;
use crate::os;
use crate::reporter::message::{CheckState, Message};
use crate::workspace::Workspace;

use check::Check;
use disk::Place;
use docker::Surroundings;
use proxy::Environment;
use site::Site;

/// How long an engine may take for its first answer. One on this machine takes some milliseconds, one at the other end of an
/// SSH connection a second or two.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What `doctor` is asked to look at.
#[derive(Clone, Debug)]
pub struct DoctorOptions {
    /// Which workspace and project.
    pub selection: Selection,
}

/// Prints what is found, and returns [`Code::Failed`] if something is wrong with which no stack can be started.
///
/// # Errors
/// If standard output cannot be written to.
pub(crate) fn doctor(options: &DoctorOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    let checks = examine(options, cx);
    for check in &checks {
        check.print(cx)?;
    }
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (errors, warnings) = (count(CheckState::Error), count(CheckState::Warning));
    let state = checks.iter().map(|check| check.state).max().unwrap_or(CheckState::Ok);
    let message = Message::Verdict { state, errors, warnings };
    cx.shell.print_message(&message).context("cannot write to stdout")?;
    cx.shell.print_verdict(state, &verdict(errors, warnings)).context("cannot write to stdout")?;
    Ok(if errors == 0 { Code::Success } else { Code::Failed })
}

fn verdict(errors: usize, warnings: usize) -> String {
    let plural = |number: usize, what: &str| match number {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{number} {what}s")),
    };
    let counted: Vec<String> = [plural(errors, "error"), plural(warnings, "warning")].into_iter().flatten().collect();
    if counted.is_empty() { "all is well".to_string() } else { counted.join(", ") }
}

fn joined<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// What can be asked without knowing anything.
struct Answers {
    cargo: Check,
    site: Site,
    /// Compose's, to the question for its version.
    compose: anyhow::Result<Output>,
    address: Result<Address, String>,
    versions: io::Result<Versions>,
}

impl Answers {
    fn ask(options: &DoctorOptions, cx: &Context<'_>) -> Answers {
        let executor = &cx.commander;
        let compose = || Ok(executor.output(&compose::version(&Workspace::at(cx.cwd))?)?);
        // Side by side: none of the answers depends on another, and each costs the start of a program.
        thread::scope(|scope| {
            let cargo = scope.spawn(|| site::cargo(executor));
            let site = scope.spawn(|| Site::look(cx, &options.selection));
            let compose = scope.spawn(compose);
            let address = scope.spawn(|| engine::address(executor));
            let versions = engine::versions(executor, ANSWER_LIMIT);
            let (cargo, site, compose, address) = (joined(cargo), joined(site), joined(compose), joined(address));
            Answers { cargo, site, compose, address, versions }
        })
    }
}

/// Everything that is found, in the order in which one thing depends on another.
fn examine(options: &DoctorOptions, cx: &Context<'_>) -> Vec<Check> {
    let executor = &cx.commander;
    let Answers { cargo, mut site, compose, address, versions } = Answers::ask(options, cx);
    let server = versions.as_ref().ok().and_then(|versions| versions.server.as_ref().ok());
    let (engine, stack, architecture) = thread::scope(|scope| {
        let engine = scope.spawn(|| server.map(|server| Engine::ask(executor, server)).transpose());
        let stack = site.stack(cx, &options.selection);
        let architecture = server.map(|server| site.architecture(executor, server));
        (joined(engine), stack, architecture)
    });
    let mut checks = vec![cargo];
    // Without cargo there is nothing to be said of a workspace.
    if checks[0].state == CheckState::Ok {
        checks.append(&mut site.checks);
    }
    let config = engine::container_proxies(address.as_ref().map_or("", |address| &address.host));
    checks.extend(docker::cli(&versions, config.as_ref().err()));
    let Ok(versions) = &versions else { return checks };
    let info = engine.as_ref().ok().and_then(Option::as_ref).map(|engine| &engine.info);
    checks.push(docker::compose(executor, &compose, info));
    let around = surroundings();
    match (&engine, &versions.server) {
        (Err(failure), _) => checks.push(Check::failed("engine", failure)),
        (_, Err(words)) => checks.push(docker::unreachable(words, &address, &around)),
        (Ok(_), Ok(_)) => {}
    }
    let (engine, address) = (engine.ok().flatten(), address.unwrap_or_default());
    if let Some(engine) = &engine {
        checks.extend(engine.checks(&address, &around));
        checks.extend(architecture);
    }
    let local = engine.as_ref().filter(|_| Endpoint::of(&address.host).is_local());
    let here = local.filter(|engine| engine::is_our_host(&engine.info.name));
    checks.extend(disk::disk(executor, &places(site.workspace.as_ref(), here)));
    let services: Vec<&str> = stack.iter().flat_map(|stack| stack.services.keys()).map(String::as_str).collect();
    let engines = local.map(|engine| &engine.info);
    checks.extend(proxy::proxies(&Environment::ours(), engines, &config.unwrap_or_default(), &services));
    if let Some(engine) = &engine {
        let own = stack.as_ref().zip(site.workspace.as_ref());
        checks.extend(own.into_iter().flat_map(|(stack, workspace)| engine.project(stack, workspace)));
        checks.extend(engine.leftovers(executor, stack.as_ref(), here.is_some()));
    }
    checks
}

/// The places that have to hold something: cargo's, and the engine's where it is on this very host.
fn places<'a>(workspace: Option<&'a Workspace>, engine: Option<&'a Engine<'_>>) -> Vec<Place<'a>> {
    // Without cargo's word it is not known.
    let target = workspace.map(|workspace| workspace.target_dir.as_path()).filter(|path| path.is_absolute());
    let target = target.map(|path| Place { whose: "cargo", path, fix: "`cargo clean` frees space" });
    let root = engine.map(|engine| engine.info.docker_root_dir.as_path()).filter(|path| path.is_dir());
    let fix = "`docker system df` shows what fills it, `docker system prune` removes what is not used";
    target.into_iter().chain(root.map(|path| Place { whose: "the engine", path, fix })).collect()
}

fn surroundings() -> Surroundings {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let in_home = [".docker/run", ".docker/desktop", ".colima/default", ".orbstack/run", ".rd"];
    let home = env::home_dir();
    let folders =
        [Some(PathBuf::from("/var/run")), variable("XDG_RUNTIME_DIR").map(PathBuf::from)].into_iter().flatten();
    let folders = folders.chain(home.iter().flat_map(|home| in_home.map(|folder| home.join(folder))));
    let sockets = folders.map(|folder| folder.join("docker.sock"));
    Surroundings {
        docker_host: variable("DOCKER_HOST"),
        docker_context: variable("DOCKER_CONTEXT"),
        sockets: sockets.filter(|socket| os::is_served(socket)).collect(),
        in_container: Path::new("/.dockerenv").exists(),
    }
}

/// What an engine that answers has told.
struct Engine<'a> {
    server: &'a Server,
    info: Info,
    /// Of all Compose projects.
    containers: Vec<Container>,
    /// Those that no container runs on, by project.
    networks: BTreeMap<String, Vec<String>>,
    /// Anonymous ones that no container uses.
    volumes: Vec<String>,
}

impl<'a> Engine<'a> {
    fn ask(executor: &dyn Executor, server: &'a Server) -> anyhow::Result<Engine<'a>> {
        thread::scope(|scope| {
            let containers = scope.spawn(|| engine::compose_containers(executor));
            let networks = scope.spawn(|| engine::unused_networks(executor));
            let volumes = scope.spawn(|| engine::unused_anonymous_volumes(executor));
            let info = engine::info(executor)?;
            Ok(Engine {
                server,
                info,
                containers: joined(containers)?,
                networks: joined(networks)?,
                volumes: joined(volumes)?,
            })
        })
    }

    fn checks(&self, address: &Address, around: &Surroundings) -> Vec<Check> {
        docker::engine(self.server, address, &self.info, engine::is_our_host(&self.info.name), around)
    }

    fn of<'b>(&'b self, project: &'b ProjectName) -> impl Iterator<Item = &'b Container> {
        self.containers.iter().filter(|container| container.project == project.as_str())
    }

    /// How the workspace's own project is, and whether it is another's.
    fn project(&self, stack: &Stack, workspace: &Workspace) -> Vec<Check> {
        const NAME: &str = "project";
        let project = &stack.project;
        let containers: Vec<Container> = self.of(project).cloned().collect();
        if let Err(failure) = require_own(&containers, workspace, project) {
            return vec![Check::failed(NAME, &failure.into())];
        }
        let running = containers.iter().filter(|container| container.is_up()).count();
        let mut checks = vec![match containers.len() {
            0 => Check::ok(NAME, &format!("{project}, not started")),
            all => Check::ok(NAME, &format!("{project}, {running} of {all} containers are running")),
        }];
        let privileged =
            lowest_port(stack).filter(|(port, _)| self.info.is_rootless() && *port < os::first_free_port());
        checks.extend(privileged.map(|(port, service)| {
            let found = format!("{service} publishes port {port}, which a rootless engine may not");
            Check::warning(NAME, &found, &format!("`sudo sysctl net.ipv4.ip_unprivileged_port_start={port}`"))
        }));
        checks
    }

    /// Leftovers on the engine: of this workspace, of deleted workspaces, and of none.
    fn leftovers(&self, executor: &dyn Executor, own: Option<&Stack>, is_here: bool) -> Vec<Check> {
        let mut checks = Vec::new();
        let mut warn = |found: &str, fix: &str| checks.push(Check::warning("leftovers", found, fix));
        if let Some(Stack { project, .. }) = own {
            let stopped = self.of(project).count();
            if stopped > 0 && !self.of(project).any(Container::is_up) {
                let found = format!("{project} is not running and has stopped containers: {stopped}");
                warn(&found, "`cargo stagecraft dev` starts them again, `cargo stagecraft dev down` removes them");
            }
            let images = engine::replaced_images(executor, project);
            if !images.is_empty() {
                let found = format!("images of {project} that newer ones have replaced: {}", images.len());
                warn(&found, &format!("`docker image rm {}`", images.join(" ")));
            }
        }
        if is_here {
            let stacks = stacks(self.containers.clone());
            let names = without_workspace(&stacks);
            if !names.is_empty() {
                let found = format!("stacks of deleted workspaces: {}", names.join(", "));
                warn(&found, "`cargo stagecraft dev list --prune` removes them");
            }
        }
        let has_containers = |project: &str| self.containers.iter().any(|container| container.project == project);
        let unused = self.networks.iter().filter(|(project, _)| !has_containers(project));
        let names: Vec<&str> = unused.flat_map(|(_, names)| names).map(String::as_str).collect();
        if !names.is_empty() {
            let found = format!("networks of Compose projects without containers: {}", names.join(", "));
            warn(&found, &format!("`docker network rm {}`", names.join(" ")));
        }
        if !self.volumes.is_empty() {
            let found = format!("anonymous volumes that no container uses: {}", self.volumes.len());
            // Not `docker volume prune`, which removes named volumes, too, before Engine 23.
            warn(&found, &format!("`docker volume rm {}`", self.volumes.join(" ")));
        }
        if checks.is_empty() {
            checks.push(Check::ok("leftovers", "none"));
        }
        checks
    }
}

/// The lowest port that the stack asks for, and the service that publishes it.
fn lowest_port(stack: &Stack) -> Option<(u16, &str)> {
    let ports = stack.services.iter().flat_map(|(name, service)| service.ports().iter().map(move |port| (name, port)));
    ports.filter_map(|(name, port)| Some((*port.published()?.start(), name.as_str()))).min()
}
