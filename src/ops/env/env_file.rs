//! `dev env --write`: the variables in a file such as `.env`, between two marker lines. Nothing else in the file is changed.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, anyhow};

use crate::exit::{Code, Failure};
use crate::files::read;
use crate::files::replace::{Mode, Staged};

const BEGINNING: &str = "# >>> cargo stagecraft dev env";
const END: &str = "# <<< cargo stagecraft dev env";

/// Writes the variables into a file, which may not exist yet. Whether that changes it.
///
/// # Errors
/// [`Code::NothingToRun`] if the file is a link, cannot be read or has one marker line without the other; [`Code::Failed`] if it cannot be
/// written.
pub(super) fn write(path: &Path, variables: &[(String, String)]) -> Result<bool, Failure> {
    let name = path.display();
    let refuse = |error: anyhow::Error| Code::NothingToRun.because(error.context(format!("cannot update {name}")));
    let is_link = fs::symlink_metadata(path).is_ok_and(|file| file.is_symlink());
    if is_link {
        let failure = refuse(anyhow!("it is a symbolic link"));
        return Err(failure.help("name the file that the link leads to"));
    }
    let (before, mode) = match read::text(path) {
        Ok(text) => {
            let permissions = fs::metadata(path).map_err(|error| refuse(error.into()))?.permissions();
            (text, Mode::As(permissions))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), Mode::Umask),
        Err(error) => return Err(refuse(error.into())),
    };
    let after = with_variables(&before, variables).map_err(|why| {
        let help = format!("remove the line that begins with `{BEGINNING}` or `{END}`");
        refuse(anyhow!(why)).help(help)
    })?;
    if after == before {
        return Ok(false);
    }
    let written = Staged::new(path, &mode, |file| file.write_all(after.as_bytes())).and_then(Staged::commit);
    let written = written.with_context(|| format!("cannot write {name}"));
    written.map(|()| true).map_err(|error| Code::Failed.because(error))
}

/// The text with these variables between the markers; at its end if it has none.
fn with_variables(text: &str, variables: &[(String, String)]) -> Result<String, &'static str> {
    let lines: String = variables.iter().map(|(key, value)| format!("{key}={}\n", quoted(value))).collect();
    let block = format!("{BEGINNING}: do not edit; `dev env --write` replaces these lines.\n{lines}{END}\n");
    let place = |marker: &str| -> Vec<usize> {
        let starts = [0].into_iter().chain(text.match_indices('\n').map(|(at, _)| at + 1));
        starts.filter(|at| text[*at..].starts_with(marker)).collect()
    };
    match (place(BEGINNING).as_slice(), place(END).as_slice()) {
        ([], []) => {
            let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            Ok(format!("{text}{gap}{block}"))
        }
        ([beginning], [end]) if beginning < end => {
            let rest = text[*end..].split_once('\n').map_or("", |(_, rest)| rest);
            Ok(format!("{}{block}{rest}", &text[..*beginning]))
        }
        _ => Err("its marker lines are not a pair"),
    }
}

/// A value as readers of such files take it: without quotes if it is plain.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./?&[]-".contains(c);
    if value.chars().all(is_plain) {
        return value.to_string();
    }
    let mut text = String::from('"');
    for c in value.chars() {
        if ['"', '\\', '$', '`'].contains(&c) {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(value: &str) -> Vec<(String, String)> {
        vec![("A".to_string(), value.to_string())]
    }

    #[test]
    fn other_text_stays_as_it_is() {
        let first = with_variables("B=1\r\n# mine", &variables("1")).unwrap();
        let (own, block) = first.split_at("B=1\r\n# mine".len());
        assert_eq!(own, "B=1\r\n# mine");
        assert!(
            block.starts_with("\n# >>> cargo stagecraft dev env:")
                && block.ends_with("\nA=1\n# <<< cargo stagecraft dev env\n")
        );
        assert_eq!(with_variables(&first, &variables("1")).unwrap(), first, "nothing to do");
        let second = with_variables(&format!("{first}C=3\n"), &variables("2")).unwrap();
        assert_eq!(second, format!("{}C=3\n", first.replace("A=1", "A=2")));
        assert!(with_variables("", &[]).unwrap().starts_with(BEGINNING));
    }

    #[test]
    fn markers_that_are_no_pair_are_an_error() {
        for text in [BEGINNING, END, &format!("{END}\n{BEGINNING}\n"), &format!("{BEGINNING}\n{BEGINNING}\n{END}\n")] {
            assert!(with_variables(text, &variables("1")).is_err(), "{text}");
        }
        // Not at the beginning of a line: no marker.
        assert!(with_variables(&format!("B=\"{END}\"\n"), &variables("1")).is_ok());
    }

    #[test]
    fn values_are_quoted_where_readers_need_it() {
        assert_eq!(quoted("postgres://me@127.0.0.1:5432/a?b=c&d"), "postgres://me@127.0.0.1:5432/a?b=c&d");
        assert_eq!(quoted("http://[::1]:80"), "http://[::1]:80");
        assert_eq!(quoted("a b#\"$x\\`"), "\"a b#\\\"\\$x\\\\\\`\"");
        assert_eq!(quoted(""), "");
    }

    #[test]
    fn a_file_is_made_or_changed_and_a_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        assert!(write(&path, &variables("1")).unwrap());
        assert!(!write(&path, &variables("1")).unwrap());
        assert!(write(&path, &variables("2")).unwrap());
        assert!(fs::read_to_string(&path).unwrap().contains("\nA=2\n"));
        fs::write(&path, END).unwrap();
        assert_eq!(write(&path, &variables("1")).unwrap_err().code(), Code::NothingToRun);
        assert_eq!(fs::read_to_string(&path).unwrap(), END, "nothing was written");
        assert_eq!(write(folder.path(), &variables("1")).unwrap_err().code(), Code::NothingToRun);
    }
}
