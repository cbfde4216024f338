//! Makes foreign text fit to be shown: logs, labels, names and the words of other programs may hold characters that move the cursor, set
//! the window's title or end a line in the middle. Everything that goes to a terminal or a CI service's log passes through here.

use std::borrow::Cow;

use anstream::adapter::strip_str;

/// Text of several lines; tabs stay.
pub(super) fn lines(text: &str) -> Cow<'_, str> {
    made_visible(text, |c| c == '\n' || c == '\t')
}

/// Text that has to stay one line.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    made_visible(text, |_| false)
}

/// Output of a program: colours and similar sequences are removed, other control characters are made visible.
pub(super) fn log(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    lines(&strip_str(&text).to_string()).into_owned()
}

fn made_visible(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_unsafe = |c: char| (c.is_control() || turns_around(c)) && !stays(c);
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for c in text.chars() {
        if is_unsafe(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// Whether it changes the direction in which what follows is read (<https://trojansource.codes>).
fn turns_around(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(lines("a\tb\nc ü"), "a\tb\nc ü");
        assert_eq!(lines("a\x1b]0;title\x07\rb\u{9b}2J\u{202e}"), "a\\u{1b}]0;title\\u{7}\\rb\\u{9b}2J\\u{202e}");
        assert_eq!(one_line("web\n     Removed x"), "web\\n     Removed x");
    }

    #[test]
    fn a_log_loses_its_colours_and_no_text() {
        assert_eq!(log(b"\x1b[32mready\x1b[0m\r\nnext\x1b]0;title\x07 \xff\rx\n"), "ready\nnext \u{fffd}\\rx\n");
    }
}
