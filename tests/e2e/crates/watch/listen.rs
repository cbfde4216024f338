//! Addresses that are held open while a program is replaced.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

on_both_pairs![no_request_is_refused_while_programs_are_replaced, an_address_is_passed_on_without_watching];

/// Takes its socket as systemd passes one on, and finishes what it has begun when it is asked to stop.
const LISTENING: &str = r#"
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};

const ANSWER: &str = "one";

#[repr(C)]
struct PollFd { fd: i32, events: i16, revents: i16 }

extern "C" {
    fn signal(number: i32, handler: usize) -> usize;
    fn write(fd: i32, bytes: *const u8, length: usize) -> isize;
    fn poll(fds: *mut PollFd, number: u64, timeout: i32) -> i32;
}

static STOP: AtomicI32 = AtomicI32::new(-1);

extern "C" fn stop(_: i32) { unsafe { write(STOP.load(Ordering::SeqCst), b"x".as_ptr(), 1) }; }

fn main() {
    let (stopping, to_stop) = UnixStream::pair().expect("sockets");
    STOP.store(to_stop.as_raw_fd(), Ordering::SeqCst);
    unsafe { signal(15, stop as *const () as usize) };
    assert_eq!(std::env::var("LISTEN_PID").expect("LISTEN_PID"), std::process::id().to_string());
    assert_eq!(std::env::var("LISTEN_FDS").expect("LISTEN_FDS"), "1");
    let listener = unsafe { std::net::TcpListener::from_raw_fd(3) };
    println!("{} says {ANSWER}", env!("CARGO_PKG_NAME"));
    loop {
        let mut fds = [stopping.as_raw_fd(), 3].map(|fd| PollFd { fd, events: 1, revents: 0 });
        unsafe { poll(fds.as_mut_ptr(), 2, -1) };
        if fds[0].revents != 0 {
            return;
        }
        if fds[1].revents != 0 {
            let (mut connection, _) = listener.accept().expect("a connection");
            let _ = connection.read(&mut [0; 1024]);
            // An answer takes a moment, so that the requests are spread over all reloads.
            std::thread::sleep(std::time::Duration::from_millis(10));
            let _ = write!(connection, "HTTP/1.0 200 OK\r\n\r\n{ANSWER}");
        }
    }
}
"#;

const LISTEN: &str = "ports = ['127.0.0.1::8080']\nlisten = 8080\n";

/// A thousand requests, one after the other, and twenty reloads meanwhile.
fn no_request_is_refused_while_programs_are_replaced(stage: &Stage) {
    const REQUESTS: usize = 1000;
    const RELOADS: usize = 20;
    workspace(stage, "", &[Package { name: "api", keys: LISTEN, main: LISTENING.to_string() }]);
    let run = watch(stage, &["api"]);
    let address = address(stage, "api", 8080);
    let (answered, enough) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let requests = scope.spawn(|| {
            while !enough.load(Ordering::SeqCst) || answered.load(Ordering::SeqCst) < REQUESTS {
                let answer = get(&address, "localhost", "/");
                assert!(answer == "one" || answer.starts_with("number "), "{answer}");
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
        for number in 0..RELOADS {
            edit(stage, "api", &format!("number {number}."));
            run.wait_for(&format!("api says number {number}."));
        }
        enough.store(true, Ordering::SeqCst);
        requests.join().expect("no request was refused");
    });
    assert!(answered.load(Ordering::SeqCst) >= REQUESTS);
    run.wait_for_times("Reloaded api in ", RELOADS);
    let ended = quit(stage, run);
    assert_eq!(count(&ended.all, "Reloaded api in "), RELOADS);
    assert!(!ended.all.contains("container replaced"));
}

fn an_address_is_passed_on_without_watching(stage: &Stage) {
    workspace(stage, "", &[Package { name: "api", keys: LISTEN, main: LISTENING.to_string() }]);
    stage.start_detached();
    stage.wait_for_log("api", "api says one");
    assert_eq!(ask(stage, "api", "/"), "one");
    stage.take_down();
    // Its own end is the container's.
    stage.events().wait_for("die api 0;");
}
