//! Adds a service to a Cargo.toml; comments, order and everything else stay as they are.

use anyhow::{Context as _, anyhow};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value};

/// The keys of a new `[package.metadata.stagecraft.dev]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NewTable {
    /// The service's name, where it is not that of the package.
    pub service: Option<String>,
    /// The binary, where the package has others.
    pub bin: Option<String>,
    /// The port inside that it listens at, and how that is reached.
    pub port: Option<(u16, Reached)>,
}

/// How a port inside is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// At the same port of the loopback address.
    Published,
    /// By name, through Traefik.
    Routed,
}

/// The text of a Cargo.toml with the table added to its package.
///
/// # Errors
/// If it cannot be added without changing what is there.
pub(crate) fn add(manifest: &str, new: &NewTable) -> anyhow::Result<String> {
    let (mark, toml) = manifest.strip_prefix(BYTE_ORDER_MARK).map_or(("", manifest), |rest| (BYTE_ORDER_MARK, rest));
    let mut document: DocumentMut = toml.parse().context("is no TOML")?;
    let mut table = Table::new();
    table.decor_mut().set_prefix("\n");
    if let Some(service) = &new.service {
        table.insert("service", service.into());
    }
    if let Some(bin) = &new.bin {
        table.insert("bin", bin.into());
    }
    match new.port {
        Some((port, Reached::Published)) => {
            let ports = Array::from_iter([format!("127.0.0.1:{port}:{port}")]);
            table.insert("ports", Item::Value(ports.into()));
        }
        Some((port, Reached::Routed)) => drop(table.insert("route", Item::Value(Value::from(i64::from(port))))),
        None => {}
    }
    insert(document.as_item_mut(), &["package", "metadata", "stagecraft", "dev"], table)
        .context("has a value in place of the table [package.metadata.stagecraft.dev]")?;
    let text = document.to_string();
    // If the table cannot be extended in place, the result would be invalid TOML.
    match text.parse::<DocumentMut>() {
        Ok(_) => Ok(format!("{mark}{}", with_the_ends_of_lines(toml, &text))),
        Err(_) => Err(anyhow!("cannot be extended with the table [package.metadata.stagecraft.dev]")),
    }
}

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The new text, in which the lines of the old one end as they did: `toml_edit` ends every line with LF.
fn with_the_ends_of_lines(old: &str, new: &str) -> String {
    let content = |line: &&str| line.trim_end_matches(['\r', '\n']).to_string();
    let (old_lines, new_lines): (Vec<&str>, Vec<&str>) =
        (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let same = |(a, b): &(&&str, &&str)| content(a) == content(b);
    let above = old_lines.iter().zip(&new_lines).take_while(same).count();
    let (old_rest, new_rest) = (&old_lines[above..], &new_lines[above..]);
    let below = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(same).count();
    let end = if old.contains("\r\n") { "\r\n" } else { "\n" };
    let added = new_rest[..new_rest.len() - below].iter().map(|line| content(line) + end);
    let mut text = old_lines[..above].concat();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str(end);
    }
    text.extend(added);
    text + &old_rest[old_rest.len() - below..].concat()
}

/// None if something that is no table is in the way.
fn insert(item: &mut Item, path: &[&str], leaf: Table) -> Option<()> {
    let (key, rest) = path.split_first()?;
    match item {
        Item::Table(table) if !table.is_dotted() => {
            if rest.is_empty() {
                table.insert(key, Item::Table(leaf));
                return Some(());
            }
            let implicit = || {
                let mut table = Table::new();
                table.set_implicit(true);
                Item::Table(table)
            };
            insert(table.entry(key).or_insert_with(implicit), rest, leaf)
        }
        other => {
            let table = other.as_table_like_mut()?;
            if rest.is_empty() {
                table.insert(key, Item::Value(leaf.into_inline_table().into()));
                return Some(());
            }
            insert(table.entry(key).or_insert_with(|| Item::Value(InlineTable::new().into())), rest, leaf)
        }
    }
}

/// What has changed, as `diff -u` shows it, provided that all of it is in one place, as an added table is. A library for any
/// change would be a third of the program.
pub fn diff(file: &str, before: &str, after: &str) -> String {
    const CONTEXT: usize = 3;
    let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let (old, new) = (&before[same..], &after[same..]);
    let same_behind = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (gone, added) = (&old[..old.len() - same_behind], &new[..new.len() - same_behind]);
    let begin = same.saturating_sub(CONTEXT);
    let (above, behind) = (&before[begin..same], &old[old.len() - same_behind..]);
    let below = &behind[..behind.len().min(CONTEXT)];
    let span = |changed: usize| format!("{},{}", begin + 1, above.len() + changed + below.len());
    let mut lines = vec![
        format!("--- a/{file}"),
        format!("+++ b/{file}"),
        format!("@@ -{} +{} @@", span(gone.len()), span(added.len())),
    ];
    for (sign, part) in [(' ', above), ('-', gone), ('+', added), (' ', below)] {
        lines.extend(part.iter().map(|line| format!("{sign}{line}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api() -> NewTable {
        NewTable { port: Some((8080, Reached::Published)), ..NewTable::default() }
    }

    #[test]
    fn lines_end_as_they_did() {
        let lines = "[package]\nname = \"api\"\n\n[dependencies]\nserde = \"1\"\n";
        let expected = add(lines, &api()).unwrap().replace('\n', "\r\n");
        assert_eq!(add(&lines.replace('\n', "\r\n"), &api()).unwrap(), expected);
        // Of each line its own, and a text whose last line has none.
        let mixed = "[package]\r\nname = \"api\"\n\n[dependencies]\nserde = \"1\"";
        let after = add(mixed, &api()).unwrap();
        assert!(after.starts_with("[package]\r\nname = \"api\"\n"), "{after:?}");
        assert!(after.contains("[package.metadata.stagecraft.dev]\r\n"), "{after:?}");
        let marked = format!("\u{feff}{lines}");
        assert_eq!(add(&marked, &api()).unwrap(), format!("\u{feff}{}", add(lines, &api()).unwrap()));
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let before = "# The shop's front door.\n[package]\nname    = \"api\" # not `web`\nversion = \"0.1.0\"\n\n\
                      [dependencies]\nserde = \"1\"\n";
        let after = add(before, &api()).unwrap();
        let expected = before.replace(
            "\n[dependencies]",
            "\n[package.metadata.stagecraft.dev]\nports = [\"127.0.0.1:8080:8080\"]\n\n[dependencies]",
        );
        assert_eq!(after, expected);
        let diff = diff("api/Cargo.toml", before, &after);
        let expected = "--- a/api/Cargo.toml\n+++ b/api/Cargo.toml\n@@ -3,5 +3,8 @@\n name    = \"api\" # not `web`\n \
                        version = \"0.1.0\"\n \n+[package.metadata.stagecraft.dev]\n\
                        +ports = [\"127.0.0.1:8080:8080\"]\n+\n [dependencies]\n serde = \"1\"";
        assert_eq!(diff, expected);
    }

    #[test]
    fn the_settings_table_is_read() {
        let all = NewTable {
            service: Some("front".to_string()),
            bin: Some("server".to_string()),
            port: Some((3000, Reached::Routed)),
        };
        let text = add("[package]\nname = \"api\"\n", &all).unwrap();
        let table = "\n[package.metadata.stagecraft.dev]\nservice = \"front\"\nbin = \"server\"\nroute = 3000\n";
        assert_eq!(text, format!("[package]\nname = \"api\"\n{table}"));
        let text = add("[package]\nname = \"api\"\n", &NewTable::default()).unwrap();
        assert_eq!(text, "[package]\nname = \"api\"\n\n[package.metadata.stagecraft.dev]\n");
    }

    #[test]
    fn metadata_may_be_written_in_every_way() {
        for before in [
            "[package]\nname = \"a\"\n[package.metadata.docs.rs]\nall-features = true\n",
            "[package]\nname = \"a\"\nmetadata = { x = 1 }\n",
            "[package]\nname = \"a\"\nmetadata.x = 1\n",
            "[package]\nname = \"a\"\n[package.metadata]\nx = 1\n",
            "[package]\nname = \"a\"\n[package.metadata.stagecraft]\nx = 1\n",
        ] {
            let after: DocumentMut = add(before, &api()).unwrap().parse().unwrap();
            let ports = &after["package"]["metadata"]["stagecraft"]["dev"]["ports"];
            assert_eq!(ports[0].as_str(), Some("127.0.0.1:8080:8080"), "{before}");
            let kept = before.lines().filter(|line| !line.contains("metadata"));
            assert!(kept.clone().all(|line| after.to_string().contains(line)), "{after}");
        }
        for broken in ["[package", "[package]\nmetadata = 5\n", "package = 1\n"] {
            assert!(add(broken, &api()).is_err(), "{broken}");
        }
    }
}
