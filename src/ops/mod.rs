//! One file per command, and what several of them need. Nothing in here uses clap, colour or signals.

mod complete;
mod completions;
mod dev;
mod doctor;
mod down;
mod env;
mod files;
mod guard;
mod init;
mod list;
mod logs;
mod man;
mod model;
mod ownership;
mod status;
mod target;
mod version;

use std::path::Path;

pub(crate) use complete::{Candidate, CompleteOptions, Names, Offer, complete};
pub(crate) use completions::{Interpreter, completions};
pub(crate) use dev::{DevOptions, ForCommand, RunOptions, dev, run};
pub(crate) use doctor::{DoctorOptions, doctor};
pub(crate) use down::{DownOptions, down};
pub(crate) use env::{EnvOptions, env};
pub(crate) use files::{FilesOptions, files};
pub(crate) use guard::guard;
pub(crate) use init::{InitOptions, NewService, init};
pub(crate) use list::{ListOptions, list};
pub(crate) use logs::{LogsOptions, logs};
pub use man::PAGES;
pub(crate) use man::{ManOptions, man, show};
pub(crate) use status::{StatusOptions, status};

use crate::command::{Commander, Hook};
use crate::compose::{Compose, ProjectName};
use crate::reporter::Shell;
use crate::session::Arm;
use crate::workspace::{ManifestOptions, Workspace};

/// The tools that a verb works with.
pub(crate) struct Context<'a> {
    /// Runs commands.
    pub commander: Commander,
    /// The terminal.
    pub shell: &'a Shell,
    /// Makes interrupts arrive.
    pub hook: &'a Hook,
    /// Arms a guard.
    pub arm: &'a Arm,
    /// The directory that the user is in.
    pub cwd: &'a Path,
}

impl Context<'_> {
    /// Builds commands for a project that speak as we do.
    fn compose(&self, workspace: &Workspace, project: ProjectName) -> anyhow::Result<Compose> {
        Compose::new(workspace, project, self.shell.options().color)
    }
}

/// What every verb needs to know about the stack that is meant.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Where to look for the workspace.
    pub manifest: ManifestOptions,
    /// The project's name, if the command line or the environment gives one.
    pub project_name: Option<ProjectName>,
}
