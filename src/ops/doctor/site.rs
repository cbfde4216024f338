//! Checks the workspace and its dev stack.

use std::process::Command;

use anyhow::anyhow;

use super::super::files::DevFiles;
use super::super::model::{resolve, resolve_text};
use super::super::{Context, Selection};
use super::check::Check;
use crate::cargo::{self, Targets};
use crate::command::{Executor, Invocation};
use crate::compose::Stack;
use crate::engine::Server;
use crate::exit::{Code, Failure};
use crate::settings::Settings;
use crate::workspace::{BrokenMember, COMPOSE_FILE, DEV_DIR, Workspace, error_of};

const FILES: &str = "dev files";
const WORKSPACE: &str = "workspace";

/// Cargo itself.
pub(super) fn cargo(executor: &dyn Executor) -> Check {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut question = Command::new(&program);
    question.arg("--version");
    let error = match executor.output(&Invocation::from(question)) {
        Ok(output) if output.status.success() => {
            let version = String::from_utf8_lossy(&output.stdout).trim().to_string();
            return Check::ok("cargo", version.strip_prefix("cargo ").unwrap_or(&version));
        }
        Ok(output) => error_of(&output.stderr),
        Err(error) => anyhow!(error),
    };
    let found = format!("cannot run `{}`: {error}", program.display());
    Check::error("cargo", &found, "install Rust, or put cargo on PATH: https://rustup.rs")
}

/// What there is of the workspace.
pub(super) struct Site {
    /// None where there is none.
    pub(super) workspace: Option<Workspace>,
    /// None where the manifests cannot be understood.
    files: Option<DevFiles>,
    /// Whether there is a stack that Compose can be asked about.
    has_stack: bool,
    pub(super) checks: Vec<Check>,
}

impl Site {
    pub(super) fn look(cx: &Context<'_>, selection: &Selection) -> Site {
        let discover = |broken_member| Workspace::discover(&cx.commander, cx.cwd, &selection.manifest, broken_member);
        match discover(BrokenMember::Refuse) {
            Ok(workspace) => Site::of(workspace),
            Err(failure) => {
                let nowhere = !cx.cwd.ancestors().any(|folder| folder.join("Cargo.toml").exists());
                let check = if nowhere && selection.manifest.path.is_none() {
                    let found = format!("none: no Cargo.toml in {} or above it", cx.cwd.display());
                    Check::warning(WORKSPACE, &found, failure.next_step().unwrap_or_default())
                } else {
                    Check::failed(WORKSPACE, &failure.into())
                };
                // Nothing can be started in it, and yet something of it may be on the engine.
                let workspace = if nowhere { None } else { discover(BrokenMember::Tolerate).ok() };
                Site { workspace, files: None, has_stack: false, checks: vec![check] }
            }
        }
    }

    fn of(workspace: Workspace) -> Site {
        let packages = workspace.packages.len();
        let plural = if packages == 1 { "" } else { "s" };
        let root = workspace.root().display();
        let found = match Settings::of(&workspace) {
            Ok(_) => Check::ok(WORKSPACE, &format!("{root}, {packages} package{plural}")),
            Err(failure) => Check::failed(WORKSPACE, &failure.into()),
        };
        let (files, check) = match DevFiles::of(&workspace) {
            Ok(files) => {
                let check = files_of(&workspace, &files);
                (Some(files), check)
            }
            Err(error) => (None, Check::failed(FILES, &error)),
        };
        let has_file = workspace.require_compose_file().is_ok();
        let has_stack = files.as_ref().is_some_and(|files| files.topology.is_some() || has_file);
        Site { workspace: Some(workspace), files, has_stack, checks: vec![found, check] }
    }

    /// The stack as Compose understands it, or as the manifests describe it where its files are not made yet. None where there
    /// is none, or that has been told already.
    pub(super) fn stack(&mut self, cx: &Context<'_>, selection: &Selection) -> Option<Stack> {
        let (workspace, files) = (self.workspace.as_ref()?, self.files.as_ref().filter(|_| self.has_stack)?);
        let stack = match &files.topology {
            Some(topology) if !files.compose_file_is_current() => {
                resolve_text(cx, workspace, selection, topology, files.compose_file())
            }
            _ => resolve(cx, workspace, selection),
        };
        stack
            .inspect_err(|error| {
                // That there is no Compose is another check's to tell.
                if error.downcast_ref::<Failure>().map(Failure::code) != Some(Code::EngineUnavailable) {
                    self.checks.retain(|check| check.name != FILES);
                    let check = Check::failed(FILES, error);
                    let again = || format!("fix it; `docker compose -f {COMPOSE_FILE} config` checks it");
                    self.checks.push(Check { fix: check.fix.clone().or_else(|| Some(again())), ..check });
                }
            })
            .ok()
    }

    /// Whether this toolchain can build the crates of the stack for the engine.
    pub(super) fn architecture(&self, executor: &dyn Executor, server: &Server) -> Check {
        const NAME: &str = "architecture";
        let engines = format!("{}/{}", server.os, server.arch);
        let topology = self.files.as_ref().and_then(|files| files.topology.as_ref());
        let Some(topology) = topology.filter(|topology| !topology.crates.is_empty()) else {
            return Check::ok(NAME, &engines);
        };
        let sysroot = || cargo::sysroot(executor, &|name| std::env::var_os(name));
        match Targets::of(topology, server.arch.clone(), sysroot) {
            Ok(Targets { static_target: Some(target), .. }) => {
                Check::ok(NAME, &format!("{engines}; crates are built for {target}"))
            }
            Ok(_) => Check::ok(NAME, &format!("{engines}; crates are built as `cargo build` does")),
            Err(failure) => {
                let failure = Check::failed(NAME, &failure.into());
                // What it knows as the next step is a command.
                let fix = failure.fix.map(|fix| if fix.starts_with("rustup") { format!("`{fix}`") } else { fix });
                Check { fix, ..failure }
            }
        }
    }
}

/// Where the stack is described, and whether its files are what they should be.
fn files_of(workspace: &Workspace, files: &DevFiles) -> Check {
    let outdated: Vec<String> = files.changes.iter().map(|change| format!("{DEV_DIR}/{}", change.path)).collect();
    let is_there = workspace.root().join(COMPOSE_FILE).exists();
    match &files.topology {
        Some(_) if !is_there => Check::ok(FILES, "described in Cargo.toml; the first start generates them"),
        _ if !outdated.is_empty() => {
            let found = format!("out of date: {}", outdated.join(", "));
            Check::warning(FILES, &found, "`cargo stagecraft dev files` updates them, as does the next start")
        }
        Some(_) => Check::ok(FILES, "up to date with Cargo.toml"),
        None => match workspace.require_compose_file() {
            Ok(()) => Check::ok(FILES, &format!("{COMPOSE_FILE}, written by hand")),
            Err(failure) if is_there => Check::failed(FILES, &failure.into()),
            Err(failure) => {
                let fix = failure.next_step().unwrap_or_default();
                Check::warning(FILES, "none: no dev stack is described yet", fix)
            }
        },
    }
}
