//! The programs that cargo-stagecraft starts.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::ExitCode;

use serde_json::{Value, json};

/// Asks the engine; ends with 1 if that is gone.
pub fn docker() -> ExitCode {
    let engine = std::env::var("FAKE_DOCKER").expect("FAKE_DOCKER is the engine's address");
    let Ok(mut engine) = TcpStream::connect(engine) else { return ExitCode::FAILURE };
    let args: Vec<String> = std::env::args().skip(1).collect();
    if writeln!(engine, "{}", args.join(" ")).is_err() {
        return ExitCode::FAILURE;
    }
    for line in BufReader::new(engine).lines().map_while(Result::ok) {
        let answer: Value = serde_json::from_str(&line).expect("the engine answers in JSON");
        if let Some(words) = answer["says"].as_str() {
            // Whoever asked may be gone.
            let _ = writeln!(io::stdout(), "{words}");
        }
        if let Some(code) = answer["exit"].as_u64() {
            return ExitCode::from(u8::try_from(code).expect("an exit code"));
        }
    }
    ExitCode::FAILURE
}

/// Says where the workspace is.
pub fn cargo() -> ExitCode {
    let root = std::env::var("FAKE_WORKSPACE").expect("FAKE_WORKSPACE is the workspace's folder");
    let metadata = json!({
        "packages": [], "workspace_members": [], "resolve": null, "version": 1, "metadata": null,
        "workspace_root": root, "target_directory": format!("{root}\\target"),
    });
    let _ = writeln!(io::stdout(), "{metadata}");
    ExitCode::SUCCESS
}
