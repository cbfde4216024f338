//! cargo-stagecraft: one command for a running dev stack in a Rust repo.
//!
//! `argv → cli → ops::<verb>(options, &Context) → Workspace → Stack → Invocation(s) → process::Runner → Outcome →
//! exit::Code`; nothing on this line turns back.
//!
//! | room | knows |
//! |---|---|
//! | [`cli`] | clap |
//! | [`ops`] | what each verb does, in order |
//! | [`process`] | how a stack is started, waited for and taken down; signals |
//! | [`compose`] | which `docker compose` command does what, and what the answers mean |
//! | [`engine`] | what of a project exists on the engine |
//! | [`workspace`] | where the workspace and its compose file are |
//! | [`shell`] | the terminal |
//! | [`exit`] | the exit codes |
//!
//! The library serves the program of the same name; its interface follows the program's needs.

#[cfg(not(target_os = "linux"))]
compile_error!("cargo-stagecraft runs on Linux only, so far");

pub mod cli;
pub mod compose;
pub mod engine;
pub mod exit;
pub mod ops;
pub mod process;
pub mod shell;
pub mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;

use cli::Verb;
use exit::{Code, Failure};
use process::{Echo, Guard, Logger, SendInterrupt, System};
use shell::{ColorChoice, Shell, Verbosity};

/// Runs the program with these arguments and returns its exit code. Whatever there is to say has been said then.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if process::is_guard(&args) {
        let shell = Shell::stdio(Verbosity::Normal, ColorChoice::Auto);
        let code = ops::guard(Arc::new(System), &shell).unwrap_or_else(|error| report(&error, &shell));
        return ExitCode::from(code.number());
    }
    let request = match cli::parse(args) {
        Ok(request) => request,
        Err(error) => {
            // The terminal may be gone; the exit code is what counts.
            let _ = error.print();
            return ExitCode::from(cli::exit_code(&error).number());
        }
    };
    let shell = Arc::new(Shell::stdio(request.verbosity, request.color));
    let code = perform(&request.verb, &shell).unwrap_or_else(|error| report(&error, &shell));
    ExitCode::from(code.number())
}

fn perform(verb: &Verb, shell: &Arc<Shell>) -> anyhow::Result<Code> {
    let cwd = std::env::current_dir()
        .context("the current directory cannot be found")
        .map_err(|error| Code::NothingToRun.because(error))?;
    let cx = ops::Context {
        executor: Arc::new(Echo::new(Arc::new(System), shell.clone())),
        shell,
        hook: &|send: SendInterrupt| {
            let send = Arc::new(send);
            process::hook(move |interrupt| send(interrupt))
        },
        arm: &Guard::arm,
        cwd: &cwd,
    };
    match verb {
        Verb::Dev(options) => ops::dev(options, &cx),
        Verb::Down(options) => ops::down(options, &cx),
    }
}

/// Shows an error in cargo's shape and returns the exit code that it asks for.
fn report(error: &anyhow::Error, shell: &Shell) -> Code {
    let mut message = error.to_string();
    let causes: Vec<String> = error.chain().skip(1).map(|cause| cause.to_string().replace('\n', "\n  ")).collect();
    if !causes.is_empty() {
        message.push_str("\n\nCaused by:\n  ");
        message.push_str(&causes.join("\n  "));
    }
    shell.error(&message);
    match error.downcast_ref::<Failure>() {
        Some(failure) => {
            if let Some(help) = failure.next_step() {
                shell.help(help);
            }
            failure.code()
        }
        None => Code::Failed,
    }
}
