//! The terminal: all output for people goes through here, in cargo's format.
//!
//! The terminal may be gone (SIGHUP, a closed pipe) while there are still containers to remove, and
//! `eprintln!` panics then. Here a failed write is not an error, and a blocked reader delays nothing (see `outlet`). Written
//! over [`io::Write`], so that tests can read the output.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
#[cfg(test)]
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use owo_colors::{OwoColorize, Style};

use event::Event;
use message::{CheckState, Message};

pub(crate) mod event;
mod github;
mod gitlab;
pub(crate) mod message;
mod outlet;
pub(crate) mod people;
mod progress;
mod safe;
mod screen;
mod table;

use github::Actions;
use outlet::{Outlet, Patience};
use progress::Progress;
pub(crate) use safe::one_line;
pub(crate) use screen::is_interactive;
use screen::{Screen, Stream};

/// What standard output is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageFormat {
    /// People: what was asked for, as text.
    #[default]
    Human,
    /// Programs: a [`Message`] a line.
    Json,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    /// If it is a terminal that is not dumb, and `NO_COLOR` is not set.
    #[default]
    Auto,
    /// Also in a pipe.
    Always,
    /// Not at all.
    Never,
}

/// How much to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// Status lines, notes and warnings too.
    #[default]
    Normal,
    /// Also every command line run and key lifecycle events.
    Verbose,
}

/// How to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShellOptions {
    /// How much to say.
    pub verbosity: Verbosity,
    /// In colour or not.
    pub color: ColorChoice,
    /// Whether addresses are links; without it, if the terminal is known to show them. Never without colour.
    pub hyperlinks: Option<bool>,
    /// For people or for programs.
    pub format: MessageFormat,
}

/// What the other modules use to tell people something.
pub(crate) trait Logger: Send + Sync {
    /// A step that is begun or done: a right-aligned green verb and what it is about.
    fn status(&self, verb: &str, message: &str);
    /// A step of which only `--verbose` speaks.
    fn detail(&self, verb: &str, message: &str);
    /// A command line that is about to run, ready to be pasted into a shell. Shown with `--verbose`.
    fn command(&self, line: &OsStr);
    /// Something worth knowing that changes nothing.
    fn note(&self, message: &str);
    /// Something that deserves attention and is no failure.
    fn warn(&self, message: &str);
    /// What failed, and where. Shown at every verbosity.
    fn error(&self, message: &str);
    /// The next step after an error.
    fn help(&self, message: &str);
    /// Rows below a status line, in columns.
    fn table(&self, rows: &[Vec<String>]);
    /// What another program said and what we had held back, shown at every verbosity.
    fn replay(&self, output: &[u8]);
    /// A part of what a container has printed, under a title of its own; shown at every verbosity.
    fn excerpt(&self, title: &str, text: &[u8]);
    /// The services that are waited for, with their states, until it is called again; none any more without any.
    fn waiting(&self, services: &[(String, String)]);
    /// Whether what is said appears on a terminal.
    fn is_terminal(&self) -> bool;
    /// Whether the last line is still unread.
    fn is_unread(&self) -> bool;
    /// Something that has happened: for people, for a program that reads standard output, and for the CI service.
    fn event(&self, event: &Event<'_>);
    /// Undoes what a program that was cut off may have done to the terminal.
    fn restore_terminal(&self);
}

/// The columns in front of a table: it stands below what status lines are about.
const TABLE_INDENT: usize = 13;

/// The real terminal, or a buffer that stands in for it.
pub(crate) struct Shell {
    outlet: Arc<Outlet>,
    /// How long what happens on the way may wait for its reader.
    patience: Patience,
    options: ShellOptions,
    err_screen: Screen,
    out_screen: Screen,
    progress: Mutex<Progress>,
    github: Option<Actions>,
    gitlab: Option<gitlab::Job>,
}

impl Shell {
    /// The process's own stdout and stderr.
    pub(crate) fn stdio(options: &ShellOptions) -> Shell {
        let err_screen = Screen::of(Stream::Stderr, options);
        let outlet = Arc::new(Outlet::new(Box::new(io::stderr()), Box::new(io::stdout())));
        Shell {
            outlet: Arc::clone(&outlet),
            patience: Patience::Limited(outlet::LINE_LIMIT),
            options: *options,
            err_screen,
            out_screen: Screen::of(Stream::Stdout, options),
            progress: Mutex::new(Progress::new(err_screen, outlet)),
            github: Actions::from_env(),
            gitlab: gitlab::Job::from_env(),
        }
    }

    /// A shell that writes what goes to stderr into `err` and what goes to stdout into `out`.
    #[cfg(test)]
    pub(crate) fn from_write(
        err: Box<dyn Write + Send>,
        out: Box<dyn Write + Send>,
        verbosity: Verbosity,
        color: bool,
    ) -> Shell {
        let outlet = Arc::new(Outlet::new(err, out));
        Shell {
            outlet: Arc::clone(&outlet),
            patience: Patience::Unlimited,
            options: ShellOptions { verbosity, ..ShellOptions::default() },
            err_screen: Screen::stand_in(color),
            out_screen: Screen::stand_in(color),
            progress: Mutex::new(Progress::new(Screen::default(), outlet)),
            github: None,
            gitlab: None,
        }
    }

    /// The process's stdout and stderr for the guard, which does not wait for a reader.
    pub(crate) fn afterwards(options: &ShellOptions) -> Shell {
        Shell { patience: Patience::Limited(Duration::ZERO), ..Shell::stdio(options) }
    }

    /// Whether everything that was said has been written.
    pub(crate) fn is_idle(&self) -> bool {
        self.outlet.is_idle()
    }

    /// Waits until everything that was said is written: for as long as something of it still is within `limit`.
    pub(crate) fn flush(&self, limit: Option<Duration>) {
        self.outlet.flush(limit);
    }

    /// Ends a [`Shell::flush`], now or later.
    pub(crate) fn give_up(&self) {
        self.outlet.give_up();
    }

    /// How it speaks.
    pub(crate) fn options(&self) -> &ShellOptions {
        &self.options
    }

    /// What standard output is for.
    pub(crate) fn format(&self) -> MessageFormat {
        self.options.format
    }

    /// How much this shell says.
    pub(crate) fn verbosity(&self) -> Verbosity {
        self.options.verbosity
    }

    /// Prints requested output, a line on stdout.
    ///
    /// # Errors
    /// If stdout cannot be written to; output that was asked for and is lost must not look like success.
    pub(crate) fn print(&self, line: &OsStr) -> io::Result<()> {
        self.print_within(line, Patience::Unlimited)
    }

    fn print_within(&self, line: &OsStr, patience: Patience) -> io::Result<()> {
        let mut bytes = line.as_encoded_bytes().to_vec();
        bytes.push(b'\n');
        self.outlet.say(Stream::Stdout, bytes, patience)
    }

    fn line(&self, least: Verbosity, bytes: &[u8]) {
        if self.options.verbosity < least {
            return;
        }
        let mut line = Vec::with_capacity(bytes.len() + 1);
        line.extend_from_slice(bytes);
        line.push(b'\n');
        self.write(&line);
    }

    fn write(&self, bytes: &[u8]) {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).aside(|| {
            // The terminal may be gone, or blocked.
            let _ = self.outlet.say(Stream::Stderr, bytes.to_vec(), self.patience);
        });
    }

    /// Prints a message on stdout, a line, if that is for programs.
    ///
    /// # Errors
    /// If stdout cannot be written to.
    pub(crate) fn print_message(&self, message: &Message<'_>) -> io::Result<()> {
        self.print_message_within(message, Patience::Unlimited)
    }

    fn print_message_within(&self, message: &Message<'_>, patience: Patience) -> io::Result<()> {
        match self.options.format {
            MessageFormat::Human => Ok(()),
            MessageFormat::Json => self.print_within(OsStr::new(&serde_json::to_string(message)?), patience),
        }
    }

    /// A command on stdout, as a line for a shell or as a message: what was asked for.
    ///
    /// # Errors
    /// If stdout cannot be written to.
    pub(crate) fn print_command(&self, line: &OsStr) -> io::Result<()> {
        match self.options.format {
            MessageFormat::Human => self.print(line),
            MessageFormat::Json => self.print_message(&Message::Command { line: line.to_string_lossy().into_owned() }),
        }
    }

    /// A table on stdout, its head first, if that is for people: what was asked for.
    ///
    /// # Errors
    /// If stdout cannot be written to.
    pub(crate) fn print_table(&self, rows: &[Vec<String>]) -> io::Result<()> {
        let rows = if self.options.format == MessageFormat::Human { rows } else { &[] };
        let lines = table::lines(&safe_cells(rows), self.out_screen.width(), self.out_screen.links);
        lines.iter().try_for_each(|line| self.print(OsStr::new(line)))
    }

    /// What was found of something, and what to do about it, on stdout, if that is for people: what was asked for. With
    /// [`Verbosity::Quiet`] errors only.
    ///
    /// # Errors
    /// If stdout cannot be written to.
    pub(crate) fn print_check(&self, state: CheckState, name: &str, found: &str, fix: Option<&str>) -> io::Result<()> {
        const INDENT: usize = 28;
        let lines = |text: &str| safe::lines(text).lines().collect::<Vec<_>>().join(&format!("\n{:INDENT$}", ""));
        let mut text = format!("{name:<13}  {}", lines(found));
        if let Some(fix) = fix {
            let help = self.paint_out("help", Style::new().cyan().bold());
            text.push_str(&format!("\n{:INDENT$}{help}: {}", "", lines(fix)));
        }
        self.print_state(state, state.word(), &text)
    }

    /// What all of it comes to; where and when as with [`Shell::print_check`].
    ///
    /// # Errors
    /// If stdout cannot be written to.
    pub(crate) fn print_verdict(&self, state: CheckState, text: &str) -> io::Result<()> {
        self.print_state(state, "Finished", text)
    }

    fn print_state(&self, state: CheckState, verb: &str, text: &str) -> io::Result<()> {
        if self.options.format == MessageFormat::Json
            || (self.options.verbosity == Verbosity::Quiet && state != CheckState::Error)
        {
            return Ok(());
        }
        let style = match state {
            CheckState::Ok => Style::new().green(),
            CheckState::Warning => Style::new().yellow(),
            CheckState::Error => Style::new().red(),
        };
        let verb = self.paint_out(&format!("{verb:>12}"), style.bold());
        self.print(OsStr::new(&format!("{verb} {text}")))
    }

    fn paint_out(&self, text: &str, style: Style) -> String {
        if self.out_screen.color { text.style(style).to_string() } else { text.to_string() }
    }

    fn paint(&self, text: &str, style: Style) -> String {
        if self.err_screen.color { text.style(style).to_string() } else { text.to_string() }
    }

    fn verb(&self, verb: &str, style: Style) -> String {
        self.paint(&format!("{verb:>12}"), style.bold())
    }

    fn labelled(&self, least: Verbosity, label: &str, style: Style, message: &str) {
        let label = self.paint(label, style.bold());
        self.line(least, format!("{label}: {}", self.safe(message)).as_bytes());
    }

    /// Text in which nothing is a command to a terminal or to the CI service.
    fn safe<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = safe::lines(text);
        if self.github.is_some() { Cow::Owned(github::without_commands(&text)) } else { text }
    }

    /// What has to stand before and behind what a program prints straight to our stdout, so that nothing in it is a command to
    /// the CI service. None elsewhere.
    pub(crate) fn around_foreign_output(&self) -> Option<(String, String)> {
        self.github.as_ref().map(|_| github::brackets())
    }
}

fn safe_cells(rows: &[Vec<String>]) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.iter().map(|cell| safe::one_line(cell).into_owned()).collect()).collect()
}

impl Logger for Shell {
    fn status(&self, verb: &str, message: &str) {
        let verb = self.verb(verb, Style::new().bright_green());
        self.line(Verbosity::Normal, format!("{verb} {}", self.safe(message)).as_bytes());
    }

    fn detail(&self, verb: &str, message: &str) {
        let verb = self.verb(verb, Style::new().bright_cyan());
        self.line(Verbosity::Verbose, format!("{verb} {}", self.safe(message)).as_bytes());
    }

    fn command(&self, line: &OsStr) {
        let mut bytes = self.verb("Running", Style::new().bright_green()).into_bytes();
        bytes.push(b' ');
        // Bytes, not text: a path that is not UTF-8 must come back from a paste as it was.
        let style = if self.err_screen.color { Style::new().cyan() } else { Style::new() };
        bytes.extend_from_slice(style.prefix_formatter().to_string().as_bytes());
        bytes.extend_from_slice(line.as_encoded_bytes());
        bytes.extend_from_slice(style.suffix_formatter().to_string().as_bytes());
        self.line(Verbosity::Verbose, &bytes);
    }

    fn note(&self, message: &str) {
        self.labelled(Verbosity::Normal, "note", Style::new().bright_green(), message);
    }

    fn warn(&self, message: &str) {
        self.labelled(Verbosity::Normal, "warning", Style::new().yellow(), message);
    }

    fn error(&self, message: &str) {
        self.labelled(Verbosity::Quiet, "error", Style::new().bright_red(), message);
    }

    fn help(&self, message: &str) {
        self.labelled(Verbosity::Quiet, "help", Style::new().bright_cyan(), message);
    }

    fn table(&self, rows: &[Vec<String>]) {
        let room = self.err_screen.width().map(|width| width.saturating_sub(TABLE_INDENT));
        for line in table::lines(&safe_cells(rows), room, self.err_screen.links) {
            self.line(Verbosity::Normal, format!("{:TABLE_INDENT$}{line}", "").as_bytes());
        }
    }

    fn replay(&self, output: &[u8]) {
        let text = safe::log(output.trim_ascii_end());
        if !text.is_empty() {
            self.line(Verbosity::Quiet, self.safe(&text).as_bytes());
        }
    }

    fn excerpt(&self, title: &str, text: &[u8]) {
        let (title, text) = (safe::one_line(title), safe::log(text.trim_ascii_end()));
        match (&self.github, &self.gitlab) {
            (Some(actions), _) => self.line(Verbosity::Quiet, actions.group(&title, &text).as_bytes()),
            (None, Some(job)) => self.line(Verbosity::Quiet, job.section(&title, &text).as_bytes()),
            (None, None) => {
                self.line(Verbosity::Quiet, self.paint(&format!("---- {title}"), Style::new().bold()).as_bytes());
                self.line(Verbosity::Quiet, text.as_bytes());
            }
        }
    }

    fn waiting(&self, services: &[(String, String)]) {
        if self.options.verbosity < Verbosity::Normal {
            return;
        }
        let plain = self.progress.lock().unwrap_or_else(PoisonError::into_inner).show(services);
        for line in plain {
            self.status("Waiting", &format!("for {line}"));
        }
    }

    fn is_terminal(&self) -> bool {
        self.err_screen.terminal
    }

    fn is_unread(&self) -> bool {
        self.outlet.is_stalled() || !self.err_screen.takes_writes()
    }

    fn event(&self, event: &Event<'_>) {
        for annotation in self.github.iter().flat_map(|actions| actions.show(event)) {
            self.line(Verbosity::Quiet, annotation.as_bytes());
        }
        people::show(event, self);
        for message in Message::of(event) {
            // A failed write is ignored: the exit code has the result, too.
            let _ = self.print_message_within(&message, self.patience);
        }
    }

    fn restore_terminal(&self) {
        if self.err_screen.cursor {
            // Compose hides the cursor while it draws its progress; cut off, it cannot show it again.
            self.write(b"\x1b[?25h\x1b[0m");
        }
    }
}

#[cfg(test)]
mod tests;
