//! What is still waited for: live lines on a terminal, otherwise a line for each change. The only room that knows indicatif.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

/// How often a live line moves, so that one sees that something goes on.
const TICK: Duration = Duration::from_millis(200);
/// How often the lines are drawn in a second, at most.
const DRAWN: u8 = 20;

/// The services that are waited for, as they were shown last.
pub(super) struct Progress {
    /// None without a terminal.
    live: Option<MultiProgress>,
    shown: BTreeMap<String, Shown>,
}

struct Shown {
    state: String,
    line: Option<ProgressBar>,
}

impl Progress {
    /// Lines on stderr, live if that is a terminal.
    pub(super) fn new(terminal: bool) -> Progress {
        let live = terminal.then(|| {
            let stderr = Box::new(Unfailing(Term::buffered_stderr()));
            MultiProgress::with_draw_target(ProgressDrawTarget::term_like_with_hz(stderr, DRAWN))
        });
        Progress { live, shown: BTreeMap::new() }
    }

    /// Shows these services with their states, and no others any more. Returns what there is to be said as plain lines.
    pub(super) fn show(&mut self, services: &[(String, String)]) -> Vec<String> {
        let still = |name: &String| services.iter().any(|(service, _)| service == name);
        self.shown.retain(|name, shown| {
            if let Some(line) = shown.line.take_if(|_| !still(name)) {
                line.finish_and_clear();
            }
            still(name)
        });
        let mut plain = Vec::new();
        for (name, state) in services {
            let text = format!("{name}: {state}");
            match self.shown.get_mut(name) {
                Some(shown) if shown.state == *state => {}
                Some(shown) => {
                    shown.state.clone_from(state);
                    match &shown.line {
                        Some(line) => line.set_message(text),
                        None => plain.push(text),
                    }
                }
                None => {
                    let line = self.live.as_ref().map(|live| live.add(live_line(&text)));
                    match &line {
                        Some(line) => line.enable_steady_tick(TICK),
                        None => plain.push(text),
                    }
                    self.shown.insert(name.clone(), Shown { state: state.clone(), line });
                }
            }
        }
        plain
    }

    /// Writes something else without a live line in its way.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.live {
            Some(live) if !self.shown.is_empty() => live.suspend(write),
            _ => write(),
        }
    }
}

/// A terminal that may be gone at any moment. To indicatif a write that fails is a reason to panic, to us it is none.
#[derive(Debug)]
struct Unfailing<T>(T);

impl<T: TermLike> TermLike for Unfailing<T> {
    fn width(&self) -> u16 {
        self.0.width()
    }

    fn height(&self) -> u16 {
        self.0.height()
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n).or(Ok(()))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n).or(Ok(()))
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n).or(Ok(()))
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n).or(Ok(()))
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.0.write_line(line).or(Ok(()))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text).or(Ok(()))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line().or(Ok(()))
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush().or(Ok(()))
    }
}

fn live_line(text: &str) -> ProgressBar {
    let line = ProgressBar::new_spinner().with_message(text.to_string());
    // The verb stands where those of all status lines stand. The template is a constant: without it there is the default.
    match ProgressStyle::with_template("{spinner:>4} Waiting for {msg} ({elapsed})") {
        Ok(style) => line.with_style(style),
        Err(_) => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(states: &[(&str, &str)]) -> Vec<(String, String)> {
        states.iter().map(|(name, state)| (name.to_string(), state.to_string())).collect()
    }

    #[test]
    fn without_a_terminal_there_is_a_line_for_each_change() {
        let mut progress = Progress::new(false);
        let first = services(&[("db", "created"), ("web", "created")]);
        assert_eq!(progress.show(&first), ["db: created", "web: created"]);
        assert!(progress.show(&first).is_empty());
        assert_eq!(progress.show(&services(&[("db", "running"), ("web", "created")])), ["db: running"]);
        assert!(progress.show(&[]).is_empty());
        assert_eq!(progress.show(&services(&[("db", "running")])), ["db: running"], "it is waited for again");
    }

    /// A terminal that is gone.
    #[derive(Debug)]
    struct Gone;

    impl TermLike for Gone {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn write_line(&self, _: &str) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn write_str(&self, _: &str) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn clear_line(&self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_terminal_that_is_gone_is_no_reason_to_panic() {
        let target = ProgressDrawTarget::term_like(Box::new(Unfailing(Gone)));
        let live = Some(MultiProgress::with_draw_target(target));
        let mut progress = Progress { live, shown: BTreeMap::new() };
        progress.show(&services(&[("db", "created"), ("web", "created")]));
        assert_eq!(progress.aside(|| 7), 7);
        progress.show(&services(&[("db", "running")]));
        progress.show(&[]);
    }

    #[test]
    fn a_live_line_takes_no_plain_one() {
        let mut progress = Progress {
            live: Some(MultiProgress::with_draw_target(ProgressDrawTarget::hidden())),
            shown: BTreeMap::new(),
        };
        assert!(progress.show(&services(&[("db", "created")])).is_empty());
        assert!(progress.show(&services(&[("db", "running")])).is_empty());
        assert_eq!(progress.aside(|| 7), 7);
        assert!(progress.show(&[]).is_empty());
        assert!(progress.shown.is_empty());
    }
}
