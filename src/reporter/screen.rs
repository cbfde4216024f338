//! The capabilities of the terminal that stdout or stderr leads to: color, links, width.

use std::io::{self, IsTerminal};

use super::{ColorChoice, ShellOptions};
use crate::os;

/// Whether standard input and standard output are a terminal that can run a pager.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb()
}

/// Whether a terminal, if it is one, can only add line after line.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// What a stream leads to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Screen {
    /// None for what stands in for a stream in tests.
    stream: Option<Stream>,
    /// Whether it is a terminal.
    pub(super) terminal: bool,
    /// Whether it is one whose lines can be drawn anew.
    pub(super) cursor: bool,
    /// Whether to paint.
    pub(super) color: bool,
    /// Whether addresses are links.
    pub(super) links: bool,
}

impl Screen {
    /// What this stream leads to, and what of it is wanted.
    pub(super) fn of(stream: Stream, options: &ShellOptions) -> Screen {
        let terminal = match stream {
            Stream::Stdout => io::stdout().is_terminal(),
            Stream::Stderr => io::stderr().is_terminal(),
        };
        let cursor = terminal && !is_dumb();
        let color = match options.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            // https://no-color.org: present and not empty, with any value
            ColorChoice::Auto => cursor && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let links = cursor && color && options.hyperlinks.unwrap_or_else(supports_hyperlinks::supports_hyperlinks);
        Screen { stream: Some(stream), terminal, cursor, color, links }
    }

    /// A place that stands in for one.
    #[cfg(test)]
    pub(super) fn stand_in(color: bool) -> Screen {
        Screen { color, ..Screen::default() }
    }

    /// Whether a write to it would not block now.
    pub(super) fn takes_writes(self) -> bool {
        match self.stream {
            None => true,
            Some(Stream::Stdout) => os::takes_writes(io::stdout()),
            Some(Stream::Stderr) => os::takes_writes(io::stderr()),
        }
    }

    /// How many columns it has now, if that is known; a pipe has none.
    pub(super) fn width(self) -> Option<usize> {
        self.size().map(|(columns, _)| columns)
    }

    /// How many columns and rows it has now, if that is known.
    pub(super) fn size(self) -> Option<(usize, usize)> {
        let (columns, rows) = match self.stream? {
            Stream::Stdout => os::window_size(io::stdout()),
            Stream::Stderr => os::window_size(io::stderr()),
        }?;
        (columns > 0).then(|| (columns.into(), rows.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_terminal_has_no_width() {
        assert_eq!(Screen::stand_in(true).width(), None);
    }
}
