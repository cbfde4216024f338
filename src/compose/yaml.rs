//! Reads the YAML that every reader reads alike: block and flow collections, plain and quoted scalars, literal blocks.
//!
//! It either gives what every reader would give, or nothing: an anchor, a tag, a scalar of several lines, a number that is
//! none elsewhere, a key that stands there twice, and whatever else it does not know for sure, is left to Compose. The
//! rules are those of YAML 1.2, <https://yaml.org/spec/1.2.2/>, where 1.1 has the same.

use serde_json::{Map, Value};

/// How deep collections may lie in each other.
const DEEPEST: usize = 16;

/// What the text stands for. None where readers might differ, or it is no YAML.
pub(super) fn read(text: &str) -> Option<Value> {
    // A byte order mark, a tab, a carriage return: each has rules of its own.
    let is_usual = |c: char| c == '\n' || (c >= ' ' && !('\u{7f}'..='\u{a0}').contains(&c) && !is_special(c));
    if !text.chars().all(is_usual) {
        return None;
    }
    let mut reader = Reader { lines: text.lines().map(Line::new).collect(), next: 0, depth: 0 };
    let first = reader.peek()?;
    let value = reader.block(first.indent)?;
    reader.peek().is_none().then_some(value)
}

/// Line and paragraph separators, and what cannot stand in a text.
fn is_special(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[derive(Clone, Copy)]
struct Line<'a> {
    /// How many columns stand before its content.
    indent: usize,
    /// Without the spaces before and behind.
    content: &'a str,
    /// As it is.
    whole: &'a str,
}

impl<'a> Line<'a> {
    fn new(whole: &'a str) -> Line<'a> {
        let content = whole.trim_start_matches(' ');
        Line { indent: whole.len() - content.len(), content: content.trim_end_matches(' '), whole }
    }

    fn is_empty(&self) -> bool {
        self.content.is_empty() || self.content.starts_with('#')
    }

    fn is_item(&self) -> bool {
        self.content == "-" || self.content.starts_with("- ")
    }
}

struct Reader<'a> {
    lines: Vec<Line<'a>>,
    next: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// The next line that has something in it.
    fn peek(&mut self) -> Option<Line<'a>> {
        while self.lines.get(self.next)?.is_empty() {
            self.next += 1;
        }
        self.lines.get(self.next).copied()
    }

    /// A collection whose entries begin in this column.
    fn block(&mut self, indent: usize) -> Option<Value> {
        self.depth += 1;
        let value = match self.peek()?.is_item() {
            _ if self.depth > DEEPEST => None,
            true => self.sequence(indent),
            false => self.mapping(indent),
        };
        self.depth -= 1;
        value
    }

    fn sequence(&mut self, indent: usize) -> Option<Value> {
        let mut items = Vec::new();
        while let Some(line) = self.peek().filter(|line| line.indent >= indent) {
            if line.indent > indent || !line.is_item() {
                // Under its key a sequence may stand in the key's own column; then the next key ends it.
                return (line.indent == indent).then_some(Value::Array(items));
            }
            let rest = line.content[1..].trim_start_matches(' ');
            if rest.is_empty() || rest.starts_with('#') {
                self.next += 1;
                items.push(self.nested(indent + 1)?);
            } else if key(rest).is_some() || rest == "-" || rest.starts_with("- ") {
                // A collection that begins in the line of its dash.
                let column = indent + line.content.len() - rest.len();
                self.lines[self.next] = Line { indent: column, content: rest, whole: line.whole };
                items.push(self.block(column)?);
            } else {
                self.next += 1;
                items.push(self.value(rest, indent)?);
            }
        }
        Some(Value::Array(items))
    }

    fn mapping(&mut self, indent: usize) -> Option<Value> {
        let mut table = Map::new();
        while let Some(line) = self.peek().filter(|line| line.indent >= indent) {
            if line.indent > indent || line.is_item() {
                return None;
            }
            let (key, rest) = key(line.content)?;
            self.next += 1;
            let value = if rest.is_empty() || rest.starts_with('#') {
                match self.peek() {
                    Some(next) if next.indent == indent && next.is_item() => self.block(indent)?,
                    _ => self.nested(indent + 1)?,
                }
            } else {
                self.value(rest, indent)?
            };
            if table.insert(key, value).is_some() {
                return None;
            }
        }
        Some(Value::Object(table))
    }

    /// What stands below, in this column at least; null if nothing does.
    fn nested(&mut self, least: usize) -> Option<Value> {
        match self.peek().filter(|line| line.indent >= least) {
            Some(line) => self.block(line.indent),
            None => Some(Value::Null),
        }
    }

    /// What stands in the line of its key or dash, whose column is `indent`.
    fn value(&mut self, text: &'a str, indent: usize) -> Option<Value> {
        let value = match text.as_bytes()[0] {
            b'|' => return self.literal(text, indent),
            b'[' | b'{' | b'"' | b'\'' => {
                let mut flow = Flow { rest: text, depth: self.depth };
                let value = flow.value()?;
                let rest = flow.rest;
                let is_over = rest.trim_start_matches(' ').is_empty() || rest.trim_start_matches(' ') != rest;
                let rest = rest.trim_start_matches(' ');
                (is_over && (rest.is_empty() || rest.starts_with('#'))).then_some(value)?
            }
            _ => {
                let text = text.split(" #").next().unwrap_or(text).trim_end_matches(' ');
                plain(text)?
            }
        };
        // What goes on in the next line is of several lines.
        match self.peek() {
            Some(next) if next.indent > indent => None,
            _ => Some(value),
        }
    }

    /// A block of text, as it stands there.
    fn literal(&mut self, header: &str, parent: usize) -> Option<Value> {
        let mut text = String::new();
        let mut indent = None;
        while let Some(line) = self.lines.get(self.next) {
            let is_blank = line.whole.trim_start_matches(' ').is_empty();
            if is_blank && indent.is_none_or(|indent| line.whole.len() > indent) {
                // How deep the text is cannot be seen yet, or spaces are a part of it.
                return None;
            }
            if !is_blank {
                if line.indent <= parent {
                    break;
                }
                let indent = *indent.get_or_insert(line.indent);
                if line.indent < indent {
                    return None;
                }
                text.push_str(&line.whole[indent..]);
            }
            text.push('\n');
            self.next += 1;
        }
        indent?;
        let text = match header {
            "|" => format!("{}\n", text.trim_end_matches('\n')),
            "|-" => text.trim_end_matches('\n').to_string(),
            _ => return None,
        };
        Some(Value::String(text))
    }
}

/// The key that a line begins with, and what stands behind its colon.
fn key(line: &str) -> Option<(String, &str)> {
    let (key, rest) = match line.as_bytes().first()? {
        b'"' | b'\'' => {
            let mut flow = Flow { rest: line, depth: 0 };
            let key = flow.quoted()?;
            (key, flow.rest.strip_prefix(':')?)
        }
        _ => {
            let end = line.find(|c: char| !is_of_a_key(c))?;
            let (key, rest) = line.split_at(end);
            let Value::String(key) = plain(key)? else { return None };
            (key, rest.strip_prefix(':')?)
        }
    };
    (rest.is_empty() || rest.starts_with(' ')).then(|| (key, rest.trim_start_matches(' ')))
}

fn is_of_a_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/')
}

/// A scalar without quotes, without the spaces round it.
fn plain(text: &str) -> Option<Value> {
    let mut chars = text.chars();
    let first = chars.next()?;
    let second = chars.next().unwrap_or(' ');
    match text {
        "null" | "~" => return Some(Value::Null),
        "true" => return Some(Value::Bool(true)),
        "false" => return Some(Value::Bool(false)),
        _ => {}
    }
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty();
    if is_number(text) {
        let is_usual = text.len() < 16 && (text == "0" || first != '0');
        return is_usual.then(|| text.parse::<u64>().ok()).flatten().map(Value::from);
    }
    let is_word = |word: &&str| text.eq_ignore_ascii_case(word);
    let words = ["y", "yes", "n", "no", "on", "off", "true", "false", "null", "nan", "inf"];
    let begins_well = match first {
        'a'..='z' | 'A'..='Z' | '/' | '_' | '$' => !words.iter().any(is_word),
        // An option.
        '-' => second == '-' || second.is_ascii_alphabetic() && !text[1..].eq_ignore_ascii_case("inf"),
        // A path.
        '.' => text == "." || text == ".." || text.starts_with("./") || text.starts_with("../"),
        // A port or an address with a port, a time with its unit.
        '0'..='9' => {
            let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
            let is_time = matches!(unit, "ms" | "s" | "m" | "h");
            let is_address = || {
                let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
                let parts: Vec<&str> = ports.split(':').collect();
                let dotted = parts[0].split('.').count() == 4 && parts[0].split('.').all(is_number);
                let numbers = parts.iter().skip(usize::from(dotted)).all(|part| is_number(part));
                numbers && parts.len() > 1 && matches!(protocol, "tcp" | "udp")
            };
            (is_time && (number == "0" || !number.starts_with('0'))) || is_address()
        }
        _ => false,
    };
    let is_usual =
        text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) && !text.contains(": ") && !text.ends_with(':');
    (begins_well && is_usual && !text.contains(" #")).then(|| Value::String(text.to_string()))
}

/// What stands in one line.
struct Flow<'a> {
    rest: &'a str,
    depth: usize,
}

impl Flow<'_> {
    fn value(&mut self) -> Option<Value> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let value = match self.rest.as_bytes().first()? {
            b'[' => self.items(']', Flow::value).map(Value::Array),
            b'{' => {
                let mut table = Map::new();
                let pairs = self.items('}', Flow::pair)?;
                let length = pairs.len();
                table.extend(pairs);
                (table.len() == length).then_some(Value::Object(table))
            }
            b'"' | b'\'' => self.quoted().map(Value::String),
            _ => {
                let end = self.rest.find([',', '[', ']', '{', '}'])?;
                let (text, rest) = self.rest.split_at(end);
                self.rest = rest;
                // `a: b` is a table of one, and `a:b` is a question of the reader.
                let text = text.trim_end_matches(' ');
                if text.contains(": ") || text.contains(" #") { None } else { plain(text) }
            }
        };
        self.depth -= 1;
        value
    }

    /// What stands between brackets, with commas between.
    fn items<T>(&mut self, end: char, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.rest = self.rest[1..].trim_start_matches(' ');
        let mut items = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix(end) {
                self.rest = rest;
                return Some(items);
            }
            items.push(item(self)?);
            self.rest = self.rest.trim_start_matches(' ');
            match self.rest.strip_prefix(',') {
                // A comma at the end is one that other readers may not like.
                Some(rest) => {
                    self.rest = rest.trim_start_matches(' ');
                    if self.rest.starts_with(end) {
                        return None;
                    }
                }
                None if self.rest.starts_with(end) => {}
                None => return None,
            }
        }
    }

    fn pair(&mut self) -> Option<(String, Value)> {
        let (key, _) = key(self.rest)?;
        // Behind the colon; a key in quotes may hold colons itself.
        if self.rest.starts_with(['"', '\'']) {
            self.quoted()?;
        } else {
            self.rest = &self.rest[key.len()..];
        }
        self.rest = self.rest.strip_prefix(": ")?.trim_start_matches(' ');
        Some((key, self.value()?))
    }

    fn quoted(&mut self) -> Option<String> {
        let quote = self.rest.chars().next()?;
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' if quote == '"' => text.push(match chars.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    same @ ('"' | '\\') => same,
                    _ => return None,
                }),
                '\'' if quote == '\'' && chars.peek().is_some_and(|next| next.1 == '\'') => {
                    chars.next();
                    text.push('\'');
                }
                c if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Some(text);
                }
                c => text.push(c),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_usual_is_read() {
        let text = r#"# a comment
name: shop  # the name

services:
  web:
    image: "nginx"
    command: [sh, -c, 'it''s; exit', "a\tb", {a: 1}]
    ports:
    - 127.0.0.1:8080:80
    - "80"
    environment: {A: "x: y", 'B': b}
    depends_on:
      - db
      - name: x
        deep:
          - - 1
  db:
  text:
    inline: |
      FROM x
        RUN  # no comment

      END

    stripped: |-
      a
    last: 5s
"#;
        let expected = json!({"name": "shop", "services": {
            "web": {"image": "nginx", "command": ["sh", "-c", "it's; exit", "a\tb", {"a": 1}],
                "ports": ["127.0.0.1:8080:80", "80"], "environment": {"A": "x: y", "B": "b"},
                "depends_on": ["db", {"name": "x", "deep": [[1]]}]},
            "db": null,
            "text": {"inline": "FROM x\n  RUN  # no comment\n\nEND\n", "stripped": "a", "last": "5s"}}});
        assert_eq!(read(text), Some(expected));
    }

    #[test]
    fn what_readers_might_read_in_two_ways_is_left_alone() {
        for text in [
            "",
            "# nothing",
            "a",
            "a: &x 1",
            "a: *x",
            "a: !!str 1",
            "a: 1.5",
            "a: 010",
            "a: 0x10",
            "a: 1_000",
            "a: yes",
            "a: No",
            "a: 2026-01-02",
            "a: 1e3",
            "a: +1",
            "a: .inf",
            "a: >\n  x",
            "a: |2\n  x",
            "a: |+\n  x\n",
            "a: b: c",
            "a: b\n  c",
            "a: [b\n  ]",
            "a: 1\na: 2",
            "{a: 1, a: 2}",
            "a: {b: 1, b: 2}",
            "a: [b,]",
            "a: {b}",
            "a: [b: c]",
            "a: \"\\x41\"",
            "a: \"b",
            "a:\tb",
            "a: b\r\n",
            "---\na: b",
            "a: b\n---\nc: d",
            "? a",
            "<<: {}",
            "1: a",
            "no: a",
            "a: 'b'c",
            "a: [b] c",
            "a: [b]#c",
            "a:\n  b: 1\n c: 2",
            "a:\n- b\n  - c",
            " a: 1\nb: 2",
            "a: @b",
            "a: `b`",
            "a: %b",
            "a: #b\n  c",
            "a: - b",
            "\u{feff}a: b",
            "a: caf\u{e9}",
            "a: b:",
            "a: |\n  x\n y",
            "a: ~x",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
        let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(read(&deep), None);
    }
}
