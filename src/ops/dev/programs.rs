//! The crates of a start: what has to happen before they are built, the build, and their images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::before_build::{BeforeBuild, Surroundings};
use crate::cargo::Targets;
use crate::command::{Interrupt, Invocation, Stdout};
use crate::compose::Stack;
use crate::engine::{self, Container};
use crate::ops::Context;
use crate::ops::env::Variables;
use crate::ops::files::{self, DevFiles};
use crate::session::Preparation;
use crate::workspace::Workspace;

/// The crates of a start, which are built and become images.
pub(super) struct Programs<'a> {
    pub(super) cx: &'a Context<'a>,
    pub(super) workspace: &'a Workspace,
    pub(super) files: &'a DevFiles,
    pub(super) stack: &'a Stack,
    pub(super) targets: Option<Targets>,
    /// Whether a service is started.
    pub(super) is_wanted: &'a dyn Fn(&str) -> bool,
}

impl Programs<'_> {
    /// Builds them: where the binary of each is; or the interrupt that ended it.
    pub(super) fn build(
        &self,
        variables: &[(String, String)],
        run: &mut files::Run<'_>,
    ) -> anyhow::Result<Result<BTreeMap<String, PathBuf>, Interrupt>> {
        self.files.build(self.cx, self.workspace, self.targets.as_ref(), self.is_wanted, variables, run)
    }

    /// What the commands before the build depend on now. Only of the services that are started first, since the others come and go.
    fn surroundings(&self, before_build: &BeforeBuild<'_>, there: &[Container]) -> anyhow::Result<Surroundings> {
        let ours = there.iter().filter(|container| before_build.services.contains(&container.service));
        let ids: BTreeSet<String> = ours.map(|container| container.id.clone()).collect();
        let containers = engine::inspect(&self.cx.commander, &self.stack.project, &ids)?;
        let containers: Vec<_> = containers.into_iter().filter(|it| ids.contains(&it.id)).collect();
        let variables = Variables::of(self.cx, self.workspace, self.stack, &containers)?;
        Ok(Surroundings { variables, containers: ids })
    }

    /// Whether nothing has to be started or run before the build.
    pub(super) fn are_prepared(&self, before_build: &BeforeBuild<'_>, there: &[Container]) -> anyhow::Result<bool> {
        if before_build.services.is_empty() {
            return Ok(true);
        }
        Ok(before_build.are_up(there) && before_build.is_done(&self.surroundings(before_build, there)?)?)
    }

    /// Runs what has to run before the build, builds the crates unless that has been done, and makes their images. Returns the images that
    /// they replace; or the interrupt that ended it.
    pub(super) fn prepare(
        &self,
        preparation: &mut Preparation,
        before_build: Option<&BeforeBuild<'_>>,
        binaries: Option<BTreeMap<String, PathBuf>>,
    ) -> anyhow::Result<Result<BTreeSet<String>, Interrupt>> {
        let (commander, hook) = (&self.cx.commander, self.cx.hook);
        let mut variables = Vec::new();
        if let Some(before_build) = before_build {
            let there = engine::containers(commander, &self.stack.project)?;
            let surroundings = self.surroundings(before_build, &there)?;
            let mut run = |command: &Invocation| preparation.run(commander, hook, command, Stdout::Shown);
            if let Err(interrupt) =
                before_build.run(self.cx.shell, self.cx.shell.verbosity(), &surroundings, &mut run)?
            {
                return Ok(Err(interrupt));
            }
            variables = surroundings.variables.values();
        }
        let mut run = |command: &Invocation| preparation.run(commander, hook, command, Stdout::Returned);
        let binaries = match binaries {
            Some(binaries) => binaries,
            None => match self.build(&variables, &mut run)? {
                Ok(binaries) => binaries,
                Err(interrupt) => return Ok(Err(interrupt)),
            },
        };
        self.files.make_images(self.cx, self.workspace, self.stack, self.targets.as_ref(), &binaries, &mut run)
    }
}
