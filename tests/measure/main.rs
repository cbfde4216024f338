//! The measurements behind the spec, on real engines: a program, not a test.
//!
//! ```sh
//! cargo test --release --features e2e --test measure -- designs [--pair NAME] [--rounds N]
//! cargo test --release --features e2e --test measure -- figures [--pair NAME] [--rounds N]
//! cargo test --release --features e2e --test measure -- verdicts [--pair NAME]
//! cargo test --release --features e2e --test measure -- edit [--pair NAME] [--rounds N]
//! cargo test --release --features e2e --test measure -- run [--pair NAME] [--rounds N]
//! cargo test --release --features e2e --test measure -- speed [--pair NAME] [--rounds N]
//! cargo test --release --features e2e --test measure -- watch [--pair NAME] [--rounds N]
//! ```
//!
//! `designs` measures ways to end a running `docker compose up`, `figures` what the spec promises of the program itself,
//! `verdicts` compares what it and raw Compose make of stacks with something wrong, `edit` how long it takes from an
//! edit of a service to its new answer, `run` what `dev run` takes, `speed` what it costs beyond Compose (by `scripts/bench.sh`), `watch` the same edit with `dev --watch`. All print Markdown on stdout, and on stderr how far they are.
//! `scripts/setup-engine.sh` makes the engines.
//!
//! It is built with the tests and asked by them for its list, which is empty: run as part of the checks it would only
//! take long, and a busy machine would make it fail.

// A report is all that this program is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

#[path = "../support/mod.rs"]
mod support;

mod designs;
mod edit;
mod figures;
mod ground;
mod run;
mod speed;
mod toolchain;
mod verdicts;
mod watch;

use crate::support::engine::{self, Engine};

const USAGE: &str = "usage: measure designs|figures|verdicts|edit|run|speed|watch [--pair NAME] [--rounds N]";

/// Set by Ctrl+C. What is under way comes to its end, nothing new begins, and nothing is left.
static BROKEN_OFF: AtomicBool = AtomicBool::new(false);

/// What is to be measured, and where.
struct Request {
    engines: Vec<&'static Engine>,
    /// How often; each measurement has its own default.
    rounds: Option<usize>,
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    // The guard is our own binary once more, and here that is this program.
    if cargo_stagecraft::internals::session::is_guard(&args) {
        return cargo_stagecraft::run(args);
    }
    let args: Vec<String> = args.into_iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let measure = match args.first().map(String::as_str) {
        Some("designs") => designs::measure,
        Some("figures") => figures::measure,
        Some("verdicts") => verdicts::measure,
        Some("edit") => edit::measure,
        Some("run") => run::measure,
        Some("speed") => speed::measure,
        Some("watch") => watch::measure,
        // `cargo test`, or a runner that asks for the list of tests.
        _ => return ExitCode::SUCCESS,
    };
    let Some(request) = parse(&args[1..]) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    ctrlc::set_handler(|| BROKEN_OFF.store(true, Ordering::SeqCst)).expect("the first handler");
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures are worse than those of a release");
    }
    measure(&request);
    ExitCode::SUCCESS
}

fn parse(args: &[String]) -> Option<Request> {
    let mut pair = None;
    let mut rounds = None;
    for option in args.chunks(2) {
        match option {
            [name, value] if name == "--pair" => pair = Some(value),
            [name, value] if name == "--rounds" => rounds = Some(value.parse().ok().filter(|&rounds| rounds > 0)?),
            _ => return None,
        }
    }
    let names = engine::all().iter().map(|engine| &engine.name);
    let engines = names.filter(|&name| pair.is_none_or(|pair| pair == name)).map(|name| engine::get(name)).collect();
    Some(Request { engines, rounds }).filter(|request| !request.engines.is_empty())
}

/// The middle of these values, which must not be empty.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
