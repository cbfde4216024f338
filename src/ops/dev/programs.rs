//! The crates of a start: what has to happen before they are built, the build, and their images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::Described;
use super::before_build::{BeforeBuild, Surroundings};
use crate::command::{Interrupt, Invocation, Stdout};
use crate::engine::{self, Container};
use crate::ops::Context;
use crate::ops::env::Variables;
use crate::ops::files::{self, Making, Occasion};
use crate::session::Preparation;

/// The crates of a start, which are built and become images.
pub(super) struct Programs<'a> {
    pub(super) cx: &'a Context<'a>,
    pub(super) described: &'a Described,
    /// What their images are made for.
    pub(super) occasion: Occasion,
    /// Whether a service is started.
    pub(super) is_wanted: &'a dyn Fn(&str) -> bool,
}

/// What has been done before the `up` of the whole stack.
pub(super) struct Prepared {
    /// Where the binary of each crate is.
    pub(super) binaries: BTreeMap<String, PathBuf>,
    /// The variables with which they were built.
    pub(super) variables: Vec<(String, String)>,
    /// The images that theirs replace, by id.
    pub(super) replaced: BTreeSet<String>,
}

impl Programs<'_> {
    /// Builds them: where the binary of each is; or the interrupt that ended it.
    pub(super) fn build(
        &self,
        variables: &[(String, String)],
        run: &mut files::Run<'_>,
    ) -> anyhow::Result<Result<BTreeMap<String, PathBuf>, Interrupt>> {
        let Described { workspace, files, targets, .. } = self.described;
        files.build(self.cx, workspace, targets.as_ref(), self.is_wanted, variables, run)
    }

    /// What the commands before the build depend on now. Only of the services that are started first, since the others come and go.
    pub(super) fn surroundings(
        &self,
        before_build: &BeforeBuild<'_>,
        there: &[Container],
    ) -> anyhow::Result<Surroundings> {
        let ours = there.iter().filter(|container| before_build.services.contains(&container.service));
        let ids: BTreeSet<String> = ours.map(|container| container.id.clone()).collect();
        let containers = engine::inspect(&self.cx.commander, &self.described.stack.project, &ids)?;
        let containers: Vec<_> = containers.into_iter().filter(|it| ids.contains(&it.id)).collect();
        let variables = Variables::of(self.cx, &self.described.workspace, &self.described.stack, &containers)?;
        Ok(Surroundings { variables, containers: ids })
    }

    /// Whether nothing has to be started or run before the build.
    pub(super) fn are_prepared(&self, before_build: &BeforeBuild<'_>, there: &[Container]) -> anyhow::Result<bool> {
        if before_build.services.is_empty() {
            return Ok(true);
        }
        Ok(before_build.are_up(there) && before_build.is_done(&self.surroundings(before_build, there)?)?)
    }

    /// Runs what has to run before the build, builds the crates unless that has been done, and makes their images; or the interrupt that ended it.
    pub(super) fn prepare(
        &self,
        preparation: &mut Preparation,
        before_build: Option<&BeforeBuild<'_>>,
        binaries: Option<BTreeMap<String, PathBuf>>,
    ) -> anyhow::Result<Result<Prepared, Interrupt>> {
        let (commander, hook) = (&self.cx.commander, self.cx.hook);
        let mut variables = Vec::new();
        if let Some(before_build) = before_build {
            let there = engine::containers(commander, &self.described.stack.project)?;
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
        let Described { workspace, files, stack, targets, .. } = self.described;
        let making = Making { workspace, stack, targets: targets.as_ref(), occasion: self.occasion };
        let made = files.make_images(self.cx, &making, &binaries, &mut run)?;
        Ok(made.map(|replaced| Prepared { binaries, variables, replaced }))
    }
}
