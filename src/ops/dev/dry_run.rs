//! `--dry-run`: what a start would do.

use std::ffi::OsString;

use anyhow::Context as _;

use super::before_build::BeforeBuild;
use super::isolate::slot_name;
use super::run::RunOptions;
use super::traefik::traefik_of;
use super::{DevOptions, is_started, with_named_services};
use crate::compose::{Attach, DownScope, Images, TRAEFIK, Traefik, Volumes, overlay_file};
use crate::exit::Code;
use crate::ops::Context;
use crate::ops::files::DevFiles;
use crate::ops::model::{resolve, resolve_text};
use crate::reporter::Logger as _;
use crate::settings::Settings;
use crate::stack::expected::{Expected, UpArgs};
use crate::workspace::Workspace;

/// Says which files would be written, and prints the commands.
pub(super) fn dry_run(
    options: &DevOptions,
    run: Option<&RunOptions>,
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
    let mut traefik = traefik_of(options, settings, cx, stack.has(TRAEFIK));
    let compose = if options.isolated {
        let project = slot_name(&stack.project, 1)?;
        cx.shell.note(&format!("it would write {}, and take the lowest free number", overlay_file(&project)));
        cx.compose(workspace, project)?.isolated_when_it_runs()
    } else {
        cx.compose(workspace, stack.project.clone())?
    };
    cx.shell.detail("Project", compose.project().as_str());
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
    commands.extend(run.map(|run| run.command.invocation(cx.cwd)));
    let volumes = if options.isolated { Volumes::Remove } else { Volumes::Keep };
    commands.push(compose.down(DownScope::File, settings.timeout, volumes, Images::Keep));
    for command in commands {
        cx.shell.print_command(&command.line()).context("cannot write to stdout")?;
    }
    Ok(Code::Success)
}
