//! A fake `docker`: it tells the test who called it and how, and does what the test answers.
//!
//! It connects to the unix socket named by `FAKE_DOCKER`, sends one JSON line about itself and then one for each signal
//! that it gets, and one before it exits; it dies of none of them, as a real `docker compose up` in a process group of its own does not. Each
//! line that comes back is printed; the one with an exit code ends it. If the test hangs up, it ends with 1.
//!
//! Nothing in here waits for time to pass. `tests/it/support/engine.rs` is the other end of the socket.

// It is a program for tests: its exit is in a thread, and its output is its purpose.
#![allow(clippy::exit, missing_docs)]

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

fn main() {
    // First of all, so that no signal falls between our start and the first line.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1]).expect("signals can be heard");
    let socket = std::env::var_os("FAKE_DOCKER").expect("FAKE_DOCKER names the test's socket");
    let Ok(mut test) = UnixStream::connect(socket) else {
        std::process::exit(1);
    };
    send(&mut test, &whoami());

    let exit = Arc::new(AtomicI32::new(1));
    let (reporting, code) = (test.try_clone().expect("a socket can be shared"), Arc::clone(&exit));
    thread::spawn(move || report_signals(signals, reporting, &code));

    obey(&test, &exit);
    // Whoever is killed does not say so.
    send(&mut test, &json!({ "done": exit.load(Ordering::SeqCst) }));
    // The thread that hears signals ends us, so that those that came before are reported.
    signal_hook::low_level::raise(SIGUSR1).expect("a signal can be raised");
    loop {
        thread::park();
    }
}

fn report_signals(mut signals: Signals, mut test: UnixStream, exit: &AtomicI32) {
    loop {
        let heard: Vec<i32> = signals.wait().collect();
        for signal in heard.iter().filter(|signal| **signal != SIGUSR1) {
            send(&mut test, &json!({ "signal": signal }));
        }
        if heard.contains(&SIGUSR1) {
            std::process::exit(exit.load(Ordering::SeqCst));
        }
    }
}

/// Prints what the test sends until it sends an exit code, or hangs up.
fn obey(test: &UnixStream, exit: &AtomicI32) {
    for line in BufReader::new(test).lines() {
        let Ok(line) = line else { return };
        let reply: serde_json::Value = serde_json::from_str(&line).expect("the test answers in JSON");
        let text = |key: &str| reply[key].as_str().unwrap_or_default().as_bytes().to_vec();
        // The terminal may be gone, and a test may want just that.
        let _ = io::stdout().write_all(&text("stdout")).and_then(|()| io::stdout().flush());
        let _ = io::stderr().write_all(&text("stderr"));
        if let Some(code) = reply["exit"].as_i64() {
            exit.store(i32::try_from(code).expect("an exit code"), Ordering::SeqCst);
            return;
        }
    }
}

fn send(test: &mut UnixStream, line: &serde_json::Value) {
    // If the test is over, reading the socket tells.
    let _ = test.write_all(format!("{line}\n").as_bytes());
}

fn whoami() -> serde_json::Value {
    let argv: Vec<Vec<u8>> = std::env::args_os().skip(1).map(OsString::into_vec).collect();
    // Each test sets where the configuration is.
    let ours = |key: &OsString| {
        ["COMPOSE_", "DOCKER_"].iter().any(|p| key.to_string_lossy().starts_with(p)) && key != "DOCKER_CONFIG"
    };
    let env: Vec<(Vec<u8>, Vec<u8>)> = std::env::vars_os()
        .filter(|(key, _)| ours(key))
        .map(|(key, value)| (key.into_vec(), value.into_vec()))
        .collect();
    let mut stdin = String::new();
    if argv.windows(2).any(|pair| pair == [b"-f".to_vec(), b"-".to_vec()]) {
        io::stdin().read_to_string(&mut stdin).expect("standard input is text");
    }
    json!({
        "argv": argv,
        "env": env,
        "stdin": stdin,
        "cwd": std::env::current_dir().expect("a working directory").into_os_string().into_vec(),
        "pid": std::process::id(),
        "pgid": rustix::process::getpgrp().as_raw_nonzero().get(),
        "tty": [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()],
        "null": [is_null(io::stdin().as_fd()), is_null(io::stdout().as_fd()), is_null(io::stderr().as_fd())],
    })
}

/// Whether this is /dev/null.
fn is_null(fd: BorrowedFd<'_>) -> bool {
    let device = |file: File| file.metadata().map(|metadata| metadata.rdev()).unwrap_or_default();
    let null = device(File::open("/dev/null").expect("every system has /dev/null"));
    fd.try_clone_to_owned().is_ok_and(|fd| device(fd.into()) == null)
}
