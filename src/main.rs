//! The program's entry: everything happens in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    cargo_stagecraft::run(std::env::args_os())
}
