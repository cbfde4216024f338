//! The command line: what the user types, which commands it becomes, and what is said about it.

mod checkouts;
mod color;
mod commands;
mod dry_run;
mod errors;
mod no_engine;
mod nothing_to_run;
mod project_name;
mod remembered;
mod terminal;
mod usage;
mod verbosity;
mod workspaces;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use snapbox::{assert_data_eq, str};

use crate::support::{COMPOSE_FILE, Call, Finished, Reply, Sandbox, Verb};

/// A sandbox where an attached `up` comes to its end at once.
fn short() -> Sandbox {
    let sandbox = Sandbox::new();
    ends_at_once(&sandbox);
    sandbox
}

fn ends_at_once(sandbox: &Sandbox) {
    sandbox.engine.on(Verb::Up, |call, _| (!call.args.contains(&"-d".into())).then(|| Reply::exit(0)));
}

/// Nothing was started and nothing taken down.
#[track_caller]
fn touches_nothing(sandbox: &Sandbox) {
    assert_eq!(sandbox.engine.changes(), Vec::<String>::new());
}

fn args_of(line: &str) -> impl Iterator<Item = String> {
    shlex::split(line).expect("a line of words").into_iter()
}

const UP: &str = "COMPOSE_MENU=0 COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml up";

const DOWN: &str = "COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml down";
