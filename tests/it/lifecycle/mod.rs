//! How a stack is started, waited for and taken down: signals, failures, and what is left in the end.

mod detached;
mod down;
mod foreground;
mod keep;
mod leftovers;
mod silence;
mod unread;

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::path::Path;
use std::thread;

use rustix::fs::OFlags;
use rustix::process::Signal;
use serde_json::json;
use snapbox::str;

use crate::support::{COMPOSE_FILE, Reply, Sandbox, Started, UpEnds, Verb};

const UP: &str = "COMPOSE_MENU=0 COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml up";
const UP_DETACHED: &str =
    "COMPOSE_MENU=0 COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml up -d";
const DOWN: &str = "COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml down";
const DOWN_AT_ONCE: &str = "COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml down --timeout 0";
const DOWN_EVERYTHING: &str =
    "COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml --profile '*' down --remove-orphans";
const DOWN_BY_NAME: &str = "docker compose -p shop down --remove-orphans";
const STOP: &str = "COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml stop";

const INTERRUPTS: [(Signal, i32); 3] = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];

/// A run of `up` whose containers are there.
fn started<'a>(sandbox: &'a Sandbox, args: &[&str]) -> Started<'a> {
    let run = sandbox.stagecraft(args).start();
    sandbox.engine.wait_running(Verb::Up);
    run
}

/// Checks every case at the same time, since a teardown after a failed `up` looks twice and takes a second.
fn each<C: Send>(cases: impl IntoIterator<Item = C>, check: impl Fn(C) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| check(case));
        }
    });
}

#[track_caller]
fn nothing_is_left(sandbox: &Sandbox) {
    sandbox.engine.world(|world| assert!(world.is_empty(), "{world:?}"));
}

/// The stack runs before we come.
fn already_running(sandbox: &Sandbox) {
    let root = sandbox.root().to_owned();
    sandbox.engine.world(|world| {
        world.add_container("shop", "api", "running", &root);
        world.add_container("shop", "db", "running", &root);
    });
}
