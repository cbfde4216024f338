//! What is Windows' own, played from outside: job objects, the guard, Ctrl+C, locks and who holds a port.
//!
//! The fake `docker` and the fake `cargo` on the program's PATH are copies of this very program. docker tells the engine in
//! here what it is asked over a connection, prints what comes back, and ends as it is told. Nothing waits for time to pass;
//! the one deadline is there so that what hangs fails.
//!
//! `scripts/check-platforms.sh` runs it under Wine.

#![allow(missing_docs)]

#[cfg(windows)]
mod engine;
#[cfg(windows)]
mod fake;
#[cfg(windows)]
mod scenarios;

use std::process::ExitCode;

#[cfg(not(windows))]
fn main() -> ExitCode {
    ExitCode::SUCCESS
}

#[cfg(windows)]
fn main() -> ExitCode {
    let ours = std::env::current_exe().expect("a program knows itself");
    match ours.file_stem().and_then(|name| name.to_str()) {
        Some("docker") => fake::docker(),
        Some("cargo") => fake::cargo(),
        _ => scenarios::play(),
    }
}
