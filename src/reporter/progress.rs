//! The services that are not ready yet: live lines on a terminal, otherwise a line for each change.
//!
//! Our own instead of `indicatif`, which writes by itself: a stopped terminal (Ctrl+S) would delay a teardown.

use std::fmt::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::outlet::{LINE_LIMIT, Outlet, Patience};
use super::screen::{Screen, Stream};
use super::table::cut;

/// How often live lines move, so that one sees that something goes on.
const TICK: Duration = Duration::from_millis(200);
/// What turns in front of each.
const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// The services that are waited for, as they were shown last.
pub(super) struct Progress {
    /// None without a terminal.
    live: Option<Arc<Live>>,
    /// Each service with its state.
    shown: Vec<(String, String)>,
}

impl Progress {
    /// Lines on what stderr leads to, live if they can be drawn anew there.
    pub(super) fn new(screen: Screen, outlet: Arc<Outlet>) -> Progress {
        let live =
            screen.cursor.then(|| Arc::new(Live { screen, outlet, lines: Mutex::default(), over: Condvar::new() }));
        Progress { live, shown: Vec::new() }
    }

    /// Shows these services with their states instead of the previous ones. Returns the plain lines to print.
    pub(super) fn show(&mut self, services: &[(String, String)]) -> Vec<String> {
        let before = std::mem::replace(&mut self.shown, services.to_vec());
        let Some(live) = &self.live else {
            let news = self.shown.iter().filter(|service| !before.contains(service));
            return news.map(|(name, state)| format!("{name}: {state}")).collect();
        };
        live.show(&self.shown);
        if before.is_empty() && !self.shown.is_empty() {
            let live = Arc::clone(live);
            thread::spawn(move || live.tick());
        }
        Vec::new()
    }

    /// Writes something else without a live line in its way.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.live {
            Some(live) if !self.shown.is_empty() => live.aside(write),
            _ => write(),
        }
    }
}

/// Lines on a terminal that are drawn anew.
struct Live {
    screen: Screen,
    outlet: Arc<Outlet>,
    lines: Mutex<Lines>,
    /// Told when there are none any more.
    over: Condvar,
}

impl Live {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, services: &[(String, String)]) {
        let mut lines = self.lines();
        lines.take(services, Instant::now());
        self.draw(&mut lines);
        if services.is_empty() {
            self.over.notify_all();
        }
    }

    /// Moves the lines until there are none any more.
    fn tick(&self) {
        let mut lines = self.lines();
        while !lines.all.is_empty() {
            lines = self.over.wait_timeout(lines, TICK).unwrap_or_else(PoisonError::into_inner).0;
            lines.frame += 1;
            // While nothing is read, frames would use up the buffer for lines.
            if self.outlet.is_idle() {
                self.draw(&mut lines);
            }
        }
    }

    fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        // Held while writing, so that no frame is drawn into a line.
        let mut lines = self.lines();
        self.say(lines.erased());
        let value = write();
        self.draw(&mut lines);
        value
    }

    fn draw(&self, lines: &mut Lines) {
        self.say(lines.drawn(self.screen.size(), Instant::now()));
    }

    /// In one piece, so that it does not flicker. The terminal may be gone, which is no reason to end.
    fn say(&self, text: String) {
        if !text.is_empty() {
            let _ = self.outlet.say(Stream::Stderr, text.into_bytes(), Patience::Limited(LINE_LIMIT));
        }
    }
}

#[derive(Default)]
struct Lines {
    all: Vec<Line>,
    /// How many are on the screen.
    drawn: usize,
    frame: usize,
}

struct Line {
    service: String,
    state: String,
    since: Instant,
}

impl Lines {
    /// The services that are waited for now; those that were already keep their time.
    fn take(&mut self, services: &[(String, String)], now: Instant) {
        let since = |name: &str| self.all.iter().find(|line| line.service == name).map_or(now, |line| line.since);
        let lines = services.iter().map(|(service, state)| Line {
            since: since(service),
            service: service.clone(),
            state: state.clone(),
        });
        self.all = lines.collect();
    }

    /// What takes the lines off the screen.
    fn erased(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\r\x1b[J"),
        }
    }

    /// What puts them there in the place of those that are there. Lines that the terminal has no room for are left out: it would
    /// wrap or scroll them, and they could not be erased.
    fn drawn(&mut self, size: Option<(usize, usize)>, now: Instant) -> String {
        let (columns, rows) = size.unwrap_or((80, 24));
        let mut text = self.erased();
        let frame = FRAMES[self.frame % FRAMES.len()];
        for Line { service, state, since } in self.all.iter().take(rows.saturating_sub(1)) {
            let seconds = now.saturating_duration_since(*since).as_secs();
            // The verb stands where those of all status lines stand.
            let line = format!("{frame:>4} Waiting for {service}: {state} ({seconds}s)");
            let _ = writeln!(text, "{}", cut(&line, columns.saturating_sub(1)));
            self.drawn += 1;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn outlet() -> Arc<Outlet> {
        Arc::new(Outlet::new(Box::new(io::sink()), Box::new(io::sink())))
    }

    fn services(states: &[(&str, &str)]) -> Vec<(String, String)> {
        states.iter().map(|(name, state)| (name.to_string(), state.to_string())).collect()
    }

    #[test]
    fn without_a_terminal_there_is_a_line_for_each_change() {
        let mut progress = Progress::new(Screen::default(), outlet());
        let first = services(&[("db", "created"), ("web", "created")]);
        assert_eq!(progress.show(&first), ["db: created", "web: created"]);
        assert!(progress.show(&first).is_empty());
        assert_eq!(progress.show(&services(&[("db", "running"), ("web", "created")])), ["db: running"]);
        assert!(progress.show(&[]).is_empty());
        assert_eq!(progress.show(&services(&[("db", "running")])), ["db: running"], "it is waited for again");
    }

    #[test]
    fn live_lines_are_drawn_over_those_before() {
        let mut lines = Lines::default();
        let start = Instant::now();
        lines.take(&services(&[("db", "created"), ("web", "created")]), start);
        let drawn = lines.drawn(Some((100, 50)), start);
        assert_eq!(drawn, "   ⠋ Waiting for db: created (0s)\n   ⠋ Waiting for web: created (0s)\n");
        lines.take(&services(&[("web", "running")]), start + Duration::from_secs(2));
        lines.frame += 1;
        let drawn = lines.drawn(Some((100, 50)), start + Duration::from_secs(3));
        assert_eq!(drawn, "\x1b[2A\r\x1b[J   ⠙ Waiting for web: running (3s)\n");
        lines.take(&[], start);
        assert_eq!(lines.drawn(Some((100, 50)), start), "\x1b[1A\r\x1b[J");
        assert_eq!(lines.drawn(Some((100, 50)), start), "");
    }

    #[test]
    fn lines_beyond_the_terminal_height_are_left_out() {
        let mut lines = Lines::default();
        let start = Instant::now();
        lines.take(&services(&[("a", "created"), ("b", "created"), ("c", "created")]), start);
        assert_eq!(lines.drawn(Some((20, 3)), start), "   ⠋ Waiting for a…\n   ⠋ Waiting for b…\n");
        assert_eq!(lines.erased(), "\x1b[2A\r\x1b[J");
    }

    #[test]
    fn a_live_line_takes_no_plain_one_and_ends_with_the_wait() {
        let mut screen = Screen::stand_in(false);
        screen.cursor = true;
        let mut progress = Progress::new(screen, outlet());
        let live = Arc::clone(progress.live.as_ref().unwrap());
        assert!(progress.show(&services(&[("db", "created")])).is_empty());
        assert_eq!(progress.aside(|| 7), 7);
        assert!(progress.show(&[]).is_empty());
        live.tick();
        assert_eq!(live.lines().drawn, 0);
    }
}
