//! What a run is for.

use std::sync::Arc;

use super::Options;
use crate::command::Invocation;
use crate::compose::{Attach, Compose, Stack};
use crate::session::lifecycle::{Policy, Undo};
use crate::stack::expected::Expected;

/// What a run is for.
#[derive(Clone, Copy)]
pub(super) enum Mode<'a> {
    /// Start a stack, and stay attached or return.
    Start(&'a Stack, &'a Options),
    /// Start what crates depend on, before they are built; what to undo if the start goes no further.
    First(&'a Stack, &'a Options, Undo),
    /// Start a stack for a command that follows.
    ForCommand(&'a Stack, &'a Options),
    /// Wait for a stack that runs, for a command that follows.
    Join(&'a Stack, &'a Options),
    /// Show the logs of a stack that another run owns.
    Follow,
    /// Tear down a stack, whichever command started it.
    TakeDown,
    /// Finish the teardown of a run that died, with this scope.
    TakeOver(Undo),
}

impl<'a> Mode<'a> {
    pub(super) fn policy(self) -> Policy {
        let nothing = Policy {
            leaves_running: false,
            waits: false,
            undo: Undo::Nothing,
            found_running: false,
            precedes_build: false,
            watches: false,
        };
        match self {
            Mode::Start(_, options) => Policy {
                leaves_running: options.attach == Attach::Detached,
                waits: options.attach == Attach::Detached && options.wait.is_some(),
                undo: options.undo(),
                found_running: options.found_running,
                ..nothing
            },
            Mode::First(_, options, undo) => Policy {
                leaves_running: true,
                waits: true,
                undo,
                found_running: options.found_running,
                precedes_build: true,
                ..nothing
            },
            Mode::ForCommand(_, options) => Policy {
                leaves_running: true,
                waits: true,
                undo: options.undo(),
                found_running: options.found_running,
                ..nothing
            },
            Mode::Join(..) => Policy { leaves_running: true, waits: true, found_running: true, ..nothing },
            Mode::Follow => Policy { leaves_running: true, found_running: true, ..nothing },
            Mode::TakeDown => Policy { undo: Undo::Remove, ..nothing },
            Mode::TakeOver(undo) => Policy { undo, ..nothing },
        }
    }

    /// The stack that is started, and how.
    pub(super) fn plan(self) -> Option<Plan> {
        match self {
            Mode::Start(stack, options)
            | Mode::First(stack, options, _)
            | Mode::ForCommand(stack, options)
            | Mode::Join(stack, options) => Some(Plan::new(stack.clone(), options.clone())),
            Mode::Follow | Mode::TakeDown | Mode::TakeOver(_) => None,
        }
    }
}

/// A stack that is started, and how. A change of the files can put another one in its place.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) stack: Arc<Stack>,
    pub(super) options: Arc<Options>,
}

impl Plan {
    pub(super) fn new(stack: Stack, options: Options) -> Plan {
        Plan { stack: Arc::new(stack), options: Arc::new(options) }
    }

    pub(super) fn expected(&self) -> Expected {
        Expected::new(&self.stack, self.options.traefik, &self.options.args)
    }

    /// The `up` that starts the stack.
    pub(super) fn up(&self, compose: &Compose) -> Invocation {
        compose.up(self.options.attach, self.options.traefik, &self.options.args)
    }
}
