//! cargo-stagecraft: one command for a running dev stack in a Rust repo.
//!
//! `argv → cli → ops::<verb>(options, &Context) → Workspace → Stack → session::Runner → Outcome →
//! exit::Code`; nothing on this line turns back.
//!
//! | module | subject |
//! |---|---|
//! | `cli` | the command line; uses clap |
//! | `ops` | one file per command: what it does, in order |
//! | `session` | what is done to a stack: start, wait, tear down; the guard and the lock |
//! | `stack` | what is known of a stack: whether it is ready, and if not, why |
//! | `devfile` | the stack that Cargo.toml describes, and the files generated from it |
//! | `cargo` | builds the binaries of the services |
//! | `image` | writes the images of the services as archives |
//! | `compose` | the `docker compose` commands, and what their answers mean |
//! | `engine` | questions to the engine, and where it is |
//! | `settings` | defaults of options from environment variables and Cargo.toml |
//! | `manifest` | reads values from tables of Cargo.toml |
//! | `workspace` | finds the workspace, its dev dir and its tables |
//! | `command` | commands as data, what runs and shows them, interrupts |
//! | `docker` | where the docker CLI and its plugins are installed |
//! | `reporter` | output for people, programs and CI services |
//! | `watch` | watches the files that a stack is made from |
//! | `supervisor` | the first process of a container whose program is replaced while it runs |
//! | `files` | reads and replaces files safely |
//! | `suggest` | finds similar names |
//! | `os` | differences between operating systems |
//! | `exit` | the exit codes |
//!
//! Everything but [`run`] is private. `internals` re-exports what the tests beside this crate look at.

// Only `run` and what the tests look at is public.
#![warn(unreachable_pub)]
// The documentation is for those who change the program: it is built with `--document-private-items`.
#![allow(rustdoc::private_intra_doc_links)]

mod cargo;
mod cli;
mod command;
mod compose;
mod devfile;
mod docker;
mod engine;
mod exit;
mod files;
mod image;
mod manifest;
mod ops;
mod os;
mod reporter;
mod session;
mod settings;
mod stack;
mod suggest;
mod supervisor;
mod watch;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use cli::Verb;
use command::{Commander, SendInterrupt, System};
use exit::{Code, Failure};
use reporter::event::Event;
use reporter::{Logger, MessageFormat, Shell, ShellOptions};
use session::Guard;

/// What the tests in `tests/` look at. Not an interface: it changes with the program.
#[doc(hidden)]
pub mod internals {
    pub use crate::exit::Code;
    pub use crate::reporter::ColorChoice;

    pub mod cargo {
        pub use crate::cargo::sysroot;
    }
    pub mod cli {
        pub use crate::cli::{Verb, command, parse};
    }
    pub mod command {
        pub use crate::command::{Archive, Executor, Invocation, OnExit, OnLine, Request, Running, System};
    }
    pub mod compose {
        pub use crate::compose::{
            Attach, Compose, DownScope, Images, Logs, NameChoice, ProjectName, Stack, Traefik, Volumes, check, config,
            config_in_yaml, config_of, config_without_ssh, version,
        };
    }
    pub mod devfile {
        pub use crate::devfile::{Topology, diff, place, plan, render, service_keys};
    }
    pub mod engine {
        pub use crate::engine::{
            Container, Endpoint, Leftovers, Network, Past, Process, address, anonymous_volumes, architecture,
            architectures, compose_containers, container_events, containers, has_the_labels_of_its_image, host_name,
            images, info, inspect, last_words, look_into_networks, missing_images, processes, put_program, remains,
            remove_anonymous, remove_replaced_images, running_containers, signal, signals, unused_anonymous_volumes,
            unused_networks, versions, volume_configs,
        };
    }
    pub mod image {
        pub use crate::image::{BIN, load, program_archive};
    }
    pub mod ops {
        pub use crate::ops::PAGES;
    }
    pub mod session {
        pub use crate::session::{Guard, GuardTask, ProjectLock, is_guard};
    }
    pub mod settings {
        pub use crate::settings::{KEYS, PREFIX, VARIABLES};
    }
    pub mod workspace {
        pub use crate::workspace::{BrokenMember, COMPOSE_FILE, ManifestOptions, Workspace};
    }
}

/// Runs the program with these arguments and returns its exit code. Whatever there is to say has been said then.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    // Before anything is opened or any thread is started.
    if let Some(ended) = supervisor::run(&args) {
        return ExitCode::from(ended.unwrap_or_else(|error| supervisor::failed(&error)));
    }
    os::prepare_terminal();
    if session::is_guard(&args) {
        let shell = Shell::afterwards(&ShellOptions::default());
        let code =
            ops::guard(Commander::unlimited(Arc::new(System)), &shell).unwrap_or_else(|error| report(&error, &shell));
        shell.flush(Some(LAST_WORDS));
        return ExitCode::from(code.number());
    }
    let request = match cli::parse(args.iter().cloned()) {
        Ok(request) => request,
        Err(error) => {
            if !cli::page(&args, &error).is_some_and(|page| ops::show(&page, &System)) {
                // The terminal may be gone; the exit code is what counts.
                let _ = error.print();
            }
            return ExitCode::from(cli::exit_code(&error).number());
        }
    };
    let shell = Arc::new(Shell::stdio(&request.shell));
    for warning in &request.warnings {
        shell.warn(warning);
    }
    let code = perform(&request.verb, &shell).unwrap_or_else(|error| report(&error, &shell));
    shell.event(&Event::Finished { exit_code: code.number() });
    let_it_be_read(&shell, code);
    ExitCode::from(code.number())
}

/// How long an interrupted run, and a guard, wait for a reader that does not read.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Loses nothing for a reader that reads, however slowly. Everything has been done by now, and an interrupt ends us at once.
fn let_it_be_read(shell: &Arc<Shell>, code: Code) {
    if shell.is_idle() {
        return;
    }
    let interrupted = Arc::clone(shell);
    let _ = command::hook(move |_| interrupted.give_up());
    let is_hurried = matches!(code, Code::Interrupted(_) | Code::TeardownIncomplete);
    shell.flush(is_hurried.then_some(LAST_WORDS));
}

fn perform(verb: &Verb, shell: &Arc<Shell>) -> anyhow::Result<Code> {
    let cwd = std::env::current_dir()
        .context("the current directory cannot be found")
        .map_err(|error| Code::NothingToRun.because(error))?;
    let commander = Commander::new(Arc::new(System), shell.clone());
    let commander = match shell.format() {
        MessageFormat::Human => commander,
        MessageFormat::Json => commander.stdout_to_stderr(),
    };
    let cx = ops::Context {
        commander,
        shell,
        hook: &|send: SendInterrupt| {
            let send = Arc::new(send);
            command::hook(move |interrupt| send(interrupt))
        },
        arm: &Guard::arm,
        cwd: &cwd,
    };
    match verb {
        Verb::Dev(options) => ops::dev(options, &cx),
        Verb::Run(options) => ops::run(options, &cx),
        Verb::Down(options) => ops::down(options, &cx),
        Verb::Status(options) => ops::status(options, &cx),
        Verb::Logs(options) => ops::logs(options, &cx),
        Verb::List(options) => ops::list(options, &cx),
        Verb::Env(options) => ops::env(options, &cx),
        Verb::Files(options) => ops::files(options, &cx),
        Verb::Init(options) => ops::init(options, &cx),
        Verb::Doctor(options) => ops::doctor(options, &cx),
        Verb::Completions(interpreter) => ops::completions(*interpreter, &cx),
        Verb::Complete(options) => Ok(ops::complete(options, &cx)),
        Verb::Man(options) => ops::man(options, &cx),
    }
}

/// Shows an error in cargo's shape and returns the exit code that it asks for.
fn report(error: &anyhow::Error, shell: &Shell) -> Code {
    let message = exit::message(error);
    let failure = error.downcast_ref::<Failure>();
    let help = failure.and_then(Failure::next_step);
    shell.event(&Event::Failed { message: &message, help });
    failure.map_or(Code::Failed, Failure::code)
}
