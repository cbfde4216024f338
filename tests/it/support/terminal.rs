//! A terminal, and what is on its screen.

use super::*;

/// A program that runs in a terminal.
pub struct Terminal<'a> {
    pub(super) sandbox: &'a Sandbox,
    pub(super) interrupted: LastInterrupt,
    pub(super) child: Ours,
    pub(super) screen: Screen,
    pub(super) modes_before: Termios,
}

impl Terminal<'_> {
    /// Presses Ctrl+C: the terminal makes a signal of it, for every process in its foreground group.
    pub fn press_ctrl_c(&self) {
        wait_out_the_echo(&self.interrupted);
        rustix::io::write(&*self.screen.master, b"\x03").expect("the terminal takes input");
    }

    /// Presses Ctrl+S: the terminal takes no more output.
    pub fn press_ctrl_s(&self) {
        rustix::io::write(&*self.screen.master, b"\x13").expect("the terminal takes input");
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        wait_out_the_echo(&self.interrupted);
        kill_process(self.child.pid(), signal).expect("the program is there");
    }

    /// Waits until this text has appeared.
    pub fn wait_for_text(&self, text: &str) {
        self.screen.wait_until(text, |seen| String::from_utf8_lossy(&seen.bytes).contains(text));
    }

    /// Waits until one of these has appeared, and returns it.
    pub fn wait_for_any<'t>(&self, texts: &[&'t str]) -> &'t str {
        let found = |bytes: &[u8]| texts.iter().find(|text| String::from_utf8_lossy(bytes).contains(**text)).copied();
        self.screen.wait_until("one of these", |seen| found(&seen.bytes).is_some());
        found(&self.screen.seen.0.lock().expect("nobody panics with it").bytes).expect("it was there")
    }

    /// Waits for the end; what was on the screen is the stderr of the answer. The terminal is as it was.
    pub fn wait(mut self) -> Finished {
        let Some(status) = self.child.wait() else {
            panic!("the program does not end.\n{}\n{}", self.screen.text(), self.sandbox.engine.story());
        };
        let modes_after = rustix::termios::tcgetattr(&*self.screen.master).expect("the terminal has modes");
        assert_eq!(format!("{modes_after:?}"), format!("{:?}", self.modes_before), "the terminal is left changed");
        self.screen.wait_until("the end of the output", |seen| seen.over);
        Finished::new(self.sandbox, status, Vec::new(), self.screen.text().as_bytes())
    }

    /// Closes the terminal's window, and waits for the end.
    pub fn hang_up(self) -> Finished {
        let Terminal { sandbox, mut child, screen, .. } = self;
        let text = screen.close();
        let Some(status) = child.wait() else {
            panic!("the program does not end.\n{text}\n{}", sandbox.engine.story());
        };
        Finished::new(sandbox, status, Vec::new(), text.as_bytes())
    }
}

/// What is on a terminal's screen, read by a thread so that a program never waits for us.
pub(super) struct Screen {
    pub(super) master: Arc<OwnedFd>,
    pub(super) seen: Arc<(Mutex<Seen>, Condvar)>,
    /// Closed to end the thread, which holds the master open while it reads.
    pub(super) wake: std::io::PipeWriter,
    pub(super) reader: JoinHandle<()>,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) bytes: Vec<u8>,
    pub(super) over: bool,
}

impl Screen {
    pub(super) fn watch(master: OwnedFd) -> Screen {
        let master = Arc::new(master);
        let seen = Arc::new((Mutex::new(Seen::default()), Condvar::new()));
        let (woken, wake) = std::io::pipe().expect("a pipe");
        let (source, sink) = (Arc::clone(&master), Arc::clone(&seen));
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let mut fds = [PollFd::new(&*source, PollFlags::IN), PollFd::new(&woken, PollFlags::IN)];
                poll(&mut fds, None).expect("a terminal can be waited for");
                if !fds[1].revents().is_empty() {
                    return;
                }
                // EIO: nobody has the other side open any more.
                let read = rustix::io::read(&*source, &mut buffer).unwrap_or(0);
                let mut seen = sink.0.lock().expect("nobody panics with it");
                seen.bytes.extend_from_slice(&buffer[..read]);
                seen.over = read == 0;
                sink.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        Screen { master, seen, wake, reader }
    }

    pub(super) fn text(&self) -> String {
        let seen = self.seen.0.lock().expect("nobody panics with it");
        String::from_utf8_lossy(&seen.bytes).replace("\r\n", "\n")
    }

    pub(super) fn wait_until(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        let seen = self.seen.0.lock().expect("nobody panics with it");
        let waited = self.seen.1.wait_timeout_while(seen, DEADLINE, |seen| !condition(seen));
        let (seen, timeout) = waited.expect("nobody panics with it");
        let text = String::from_utf8_lossy(&seen.bytes).into_owned();
        drop(seen);
        assert!(!timeout.timed_out(), "waited in vain for {what}; on the screen:\n{text}");
    }

    pub(super) fn close(self) -> String {
        let text = self.text();
        drop(self.wake);
        self.reader.join().expect("the reader has no reason to panic");
        assert_eq!(Arc::strong_count(&self.master), 1, "ours is the last hand on the terminal");
        text
    }
}
