//! Aligns rows in columns by their display width. The only module that uses unicode-width.
//!
//! Our own instead of a table library: a row must stay one line in a narrow terminal, with links that lead to the whole URL.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The space between two columns.
const GAP: usize = 2;
/// A column is not cut further down than this: what no longer fits then is for the terminal to wrap.
const NARROWEST: usize = 8;

/// A line for each row. Where there is not room enough the widest columns are cut; with `links`, URLs lead to where they say.
pub(super) fn lines(rows: &[Vec<String>], room: Option<usize>, links: bool) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| rows.iter().filter_map(|row| Some(row.get(column)?.width())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    let most = room.map_or(usize::MAX, |room| width_that_fits(&widths, room));
    rows.iter().map(|row| line(row, &widths, most, links)).collect()
}

/// How wide a column may be at most, so that all of them fit.
fn width_that_fits(widths: &[usize], room: usize) -> usize {
    let gaps = GAP * widths.len().saturating_sub(1);
    let fits = |most: &usize| widths.iter().map(|width| width.min(most)).sum::<usize>() + gaps <= room;
    let widest = widths.iter().copied().max().unwrap_or(0);
    (NARROWEST..=widest).rev().find(fits).unwrap_or(NARROWEST)
}

fn line(row: &[String], widths: &[usize], most: usize, links: bool) -> String {
    let mut line = String::new();
    let mut space = 0;
    for (cell, width) in row.iter().zip(widths) {
        let width = *width.min(&most);
        let text = cut(cell, width);
        if !text.is_empty() {
            line.extend(std::iter::repeat_n(' ', space));
            line.push_str(&if links { linked(&text, cell) } else { text.clone() });
            space = 0;
        }
        space += width - text.width() + GAP;
    }
    line
}

/// As much of a text as fits, with a mark that there is more.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_string();
    }
    let mut left = width.saturating_sub(1);
    let fits = |c: &char| {
        let rest = left.checked_sub(c.width().unwrap_or(0));
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    let mut kept: String = text.chars().take_while(fits).collect();
    kept.push('…');
    kept
}

/// The text with each URL in it as a link, also where just its beginning is left of it in the whole.
fn linked(text: &str, whole: &str) -> String {
    let is_url = |word: &str| word.starts_with("http://") || word.starts_with("https://");
    let link = |(text, word): (&str, &str)| match is_url(word) && word.chars().all(|c| c.is_ascii_graphic()) {
        // https://gist.github.com/egmontkob/eb114294efbcd5adb1944c9f3cb5feda
        true => format!("\x1b]8;;{word}\x1b\\{text}\x1b]8;;\x1b\\"),
        false => text.to_string(),
    };
    text.split(' ').zip(whole.split(' ')).map(link).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect()
    }

    #[test]
    fn columns_are_as_wide_as_a_terminal_shows_them() {
        let table = rows(&[&["a", "x"], &["店舗", "y"], &["e\u{301}te\u{301}", "", "z"], &["long", "running"]]);
        let expected = ["a     x", "店舗  y", "e\u{301}te\u{301}            z", "long  running"];
        assert_eq!(lines(&table, None, false), expected);
        assert!(lines(&[], Some(10), false).is_empty());
    }

    #[test]
    fn the_widest_columns_are_cut_where_there_is_not_room_enough() {
        let table =
            rows(&[&["web", "running", "http://127.0.0.1:8080 http://shop.localhost", "no answer at all so far"]]);
        let cut_to = |room| lines(&table, Some(room), false).remove(0);
        assert_eq!(cut_to(200), lines(&table, None, false)[0]);
        assert_eq!(cut_to(82), lines(&table, None, false)[0]);
        assert_eq!(cut_to(70), "web  running  http://127.0.0.1:8080 http://s…  no answer at all so far");
        assert_eq!(cut_to(50), "web  running  http://127.0.0.1…  no answer at all…");
        assert_eq!(cut_to(1), "web  running  http://…  no answ…", "columns keep 8 characters");
    }

    #[test]
    fn a_wide_character_is_never_cut_in_half() {
        let table = rows(&[&["店舗店舗店舗"]]);
        assert_eq!(lines(&table, Some(9), false), ["店舗店舗…"]);
        assert_eq!(lines(&table, Some(10), false), ["店舗店舗…"]);
    }

    #[test]
    fn a_url_is_a_link_to_all_of_it_also_where_it_is_cut() {
        let table = rows(&[&["web", "http://a.localhost:8080 1.2.3.4:5 https://b.localhost", "end"]]);
        let link = |url: &str, text: &str| format!("\x1b]8;;{url}\x1b\\{text}\x1b]8;;\x1b\\");
        let (a, b) = ("http://a.localhost:8080", "https://b.localhost");
        let all = format!("web  {} 1.2.3.4:5 {}  end", link(a, a), link(b, b));
        assert_eq!(lines(&table, None, true), [all]);
        assert_eq!(lines(&table, Some(30), true), [format!("web  {}  end", link(a, "http://a.localhost:…"))]);
        let table = rows(&[&["http://a\x1b]8;;http://b", "ftp://c"]]);
        assert_eq!(lines(&table, None, true), lines(&table, None, false), "what is no plain URL leads nowhere");
    }
}
