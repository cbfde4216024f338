//! The capabilities of the terminal that stdout or stderr leads to: color, links, width.

use std::io::{self, IsTerminal};

use super::{ColorChoice, ShellOptions};
use crate::os;

/// Whether somebody sits at standard input and standard output, at a terminal that can turn pages.
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
        let variable = |name: &str| std::env::var(name).ok();
        let terminal = match stream {
            Stream::Stdout => io::stdout().is_terminal(),
            Stream::Stderr => io::stderr().is_terminal(),
        };
        let cursor = terminal && !is_dumb();
        let color = match options.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            // https://no-color.org: present and not empty, whatever its value
            ColorChoice::Auto => cursor && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let links = cursor && color && options.hyperlinks.unwrap_or_else(|| shows_links(variable));
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

/// Whether these variables are of a terminal that is known to show links. It is those that cargo knows: the ones of
/// <https://crates.io/crates/supports-hyperlinks>, but for iTerm2.
fn shows_links(variable: impl Fn(&str) -> Option<String>) -> bool {
    if let Some(forced) = variable("FORCE_HYPERLINK") {
        return forced.trim() != "0";
    }
    let is_one_of = |name: &str, terminals: &[&str]| variable(name).is_some_and(|it| terminals.contains(&it.as_str()));
    let has_set = |name: &str| variable(name).is_some();
    let vte = variable("VTE_VERSION").and_then(|version| version.parse::<u32>().ok());
    vte.is_some_and(|version| version >= 5000)
        || is_one_of("TERM_PROGRAM", &["Hyper", "WezTerm", "ghostty", "terminology", "vscode"])
        || is_one_of("TERM", &["alacritty", "alacritty-direct", "xterm-kitty"])
        || is_one_of("COLORTERM", &["xfce4-terminal"])
        || ["DOMTERM", "KONSOLE_VERSION", "WT_SESSION"].into_iter().any(has_set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_for_terminals_that_are_known_to_show_them() {
        let shows = |set: &[(&str, &str)]| {
            shows_links(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string()))
        };
        for (set, expected) in [
            (&[][..], false),
            (&[("TERM", "xterm-256color")], false),
            (&[("TERM", "xterm-kitty")], true),
            (&[("VTE_VERSION", "4999")], false),
            (&[("VTE_VERSION", "7600")], true),
            (&[("VTE_VERSION", "new")], false),
            (&[("TERM_PROGRAM", "vscode")], true),
            (&[("TERM_PROGRAM", "iTerm.app")], false),
            (&[("TERM_PROGRAM", "tmux")], false),
            (&[("COLORTERM", "truecolor")], false),
            (&[("COLORTERM", "xfce4-terminal")], true),
            (&[("KONSOLE_VERSION", "220401")], true),
            (&[("FORCE_HYPERLINK", "1")], true),
            (&[("FORCE_HYPERLINK", "0"), ("KONSOLE_VERSION", "220401")], false),
        ] {
            assert_eq!(shows(set), expected, "{set:?}");
        }
    }

    #[test]
    fn what_stands_in_for_a_terminal_has_no_width() {
        assert_eq!(Screen::stand_in(true).width(), None);
    }
}
