//! Caches Compose's answers in cargo's target directory.
//!
//! An answer is kept under a hash of everything that it can depend on. Where that cannot be known, nothing is remembered, and
//! Compose is asked. What is kept holds nothing of a service's environment.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Stack;
use crate::command::Invocation;
use crate::docker;
use crate::files::replace::{Mode, Staged};
use crate::files::{cache, read};
use crate::workspace::{COMPOSE_FILE, Workspace};

/// Where the answers are, in cargo's target directory.
const FOLDER: &str = "stagecraft/model";
/// How many answers are kept; the oldest go first.
const LIMIT: usize = 64;

/// The place of the answer to one question, as long as nothing changes that the answer depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    target_dir: PathBuf,
    hash: u64,
}

impl Place {
    /// Where the answer to this question about the workspace's compose file is kept. None where something could change the
    /// answer unseen.
    pub(crate) fn of(question: &Invocation, workspace: &Workspace) -> Option<Place> {
        if workspace.target_dir.as_os_str().is_empty() || !docker::is_program_on_path() {
            return None;
        }
        let compose_file = read(&workspace.root().join(COMPOSE_FILE))??;
        let env_file = read(&workspace.dev_dir().join(".env"))?;
        let mut files = question.args().windows(2).filter(|args| args[0] == "-f").map(|args| &args[1]);
        let overlay = files.rfind(|file| *file != "-" && *file != COMPOSE_FILE);
        let overlay = overlay.map(|file| read(&workspace.root().join(file))).unwrap_or(Some(None))?;
        let texts = [Some(compose_file), env_file, overlay];
        let words = words_of(&texts)?;
        let mut variables: Vec<(OsString, OsString)> =
            env::vars_os().filter(|(name, _)| name.to_str().is_some_and(|name| counts(name, &words))).collect();
        variables.sort();
        if variables.iter().any(|(name, value)| name == "COMPOSE_ENV_FILES" && !value.is_empty()) {
            return None;
        }
        let programs = [Program::at(&docker::compose_plugin()?)?, Program::at(&env::current_exe().ok()?)?];
        let mut hasher = DefaultHasher::new();
        (question.line(), question.cwd(), directory(workspace), texts, variables, programs).hash(&mut hasher);
        Some(Place { target_dir: workspace.target_dir.clone(), hash: hasher.finish() })
    }

    /// The answer, if it is known.
    pub(crate) fn read(&self) -> Option<Stack> {
        serde_json::from_slice(&fs::read(self.file()).ok()?).ok()
    }

    /// Keeps the answer. Where that is not possible, the question will be asked again.
    pub(crate) fn write(&self, stack: &Stack) {
        let _ = self.try_write(stack);
    }

    fn try_write(&self, stack: &Stack) -> io::Result<()> {
        let folder = cache::make_folder(&self.target_dir, FOLDER)?;
        // Who reads it meanwhile gets the whole answer or none.
        let answer = serde_json::to_vec(stack)?;
        Staged::new(&self.file(), &Mode::Umask, |file| file.write_all(&answer))?.commit()?;
        remove_oldest(&folder)
    }

    fn file(&self) -> PathBuf {
        self.target_dir.join(FOLDER).join(format!("{:016x}.json", self.hash))
    }
}

fn remove_oldest(folder: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    let surplus = files.len().saturating_sub(LIMIT);
    files[..surplus].iter().try_for_each(|(_, file)| fs::remove_file(file))
}

/// The text of a file; inside, none if there is no such file. None if it cannot be read, or only once, as from a pipe.
#[allow(clippy::option_option)]
fn read(path: &Path) -> Option<Option<String>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Some(Some(read::text(path).ok()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(None),
        _ => None,
    }
}

/// A program as it is installed: another version differs in something.
#[derive(Hash)]
struct Program {
    path: PathBuf,
    len: u64,
    modified: SystemTime,
    version: &'static str,
}

impl Program {
    fn at(path: &Path) -> Option<Program> {
        let path = path.canonicalize().ok()?;
        let metadata = path.metadata().ok()?;
        let version = env!("CARGO_PKG_VERSION");
        Some(Program { len: metadata.len(), modified: metadata.modified().ok()?, path, version })
    }
}

/// What Compose takes for its working directory where that has several names: Go believes `PWD`, if it is one of them.
fn directory(workspace: &Workspace) -> Option<OsString> {
    let pwd = env::var_os("PWD")?;
    let is_root = Path::new(&pwd).canonicalize().ok()? == workspace.root().canonicalize().ok()?;
    is_root.then_some(pwd)
}

/// Whether an answer can depend on this variable. What the text refers to is one of its words.
fn counts(variable: &str, words: &BTreeSet<&str>) -> bool {
    let prefixes = ["COMPOSE_", "DOCKER_"];
    ["HOME", "USERPROFILE"].contains(&variable)
        || words.contains(variable)
        || prefixes.iter().any(|prefix| variable.starts_with(prefix))
}

/// The words of these files. None if they may refer to other files, which the answer would depend on too.
fn words_of(texts: &[Option<String>]) -> Option<BTreeSet<&str>> {
    let texts = || texts.iter().flatten().map(String::as_str);
    if texts().any(hides_words) {
        return None;
    }
    let is_no_comment = |line: &&str| !line.trim_start().starts_with('#');
    let keys: BTreeSet<&str> = texts().flat_map(str::lines).filter(is_no_comment).flat_map(words).collect();
    let has = |key| keys.contains(key);
    let refers = ["include", "env_file", "label_file", "COMPOSE_ENV_FILES"].into_iter().any(has)
        || has("extends") && has("file");
    (!refers).then(|| texts().flat_map(words).collect())
}

/// Everything in a text that could be the name of a key or a variable.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !is_of_word(c)).filter(|word| !word.is_empty())
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether a word may be written in the escapes of a quoted scalar, or be broken by an escaped line end.
fn hides_words(text: &str) -> bool {
    text.match_indices('\\').any(|(at, _)| {
        let after = &text[at + 1..];
        let digits = match after.chars().next() {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            Some('\n' | '\r') => return text[..at].ends_with(|c| is_of_word(c) || "${".contains(c)),
            _ => return false,
        };
        let code = after.get(1..=digits).and_then(|code| u32::from_str_radix(code, 16).ok());
        code.and_then(char::from_u32).is_some_and(|c| c.is_ascii_graphic())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(compose_file: &str, env_file: &str) -> Option<Vec<String>> {
        let texts = [Some(compose_file.to_string()), Some(env_file.to_string())];
        Some(words_of(&texts)?.into_iter().map(String::from).collect())
    }

    #[test]
    fn the_words_of_both_files_are_seen_however_they_stand_there() {
        let words = of("a: \"${A:-${B_2}}$C\\n\" # $D\nb: {x: $E}\n", "F=${G?no}\n").unwrap();
        for name in ["A", "B_2", "C", "D", "E", "F", "G"] {
            assert!(words.contains(&name.to_string()), "{name}");
        }
    }

    #[test]
    fn nothing_is_remembered_where_a_file_refers_to_another() {
        for text in [
            "include: [x.yaml]",
            "{\"include\" : [x.yaml]}",
            "? include\n: [x.yaml]",
            "services: {web: {env_file: x}}",
            "services: {web: {label_file: [x]}}",
            "services: {web: {extends: {file: x, service: y}}}",
            r#"{"incl\x75de": [x]}"#,
            r#"a: "\u0024{A}""#,
            r#"a: "$\U00000041""#,
            "a: \"$A\\\n  B\"",
        ] {
            assert_eq!(of(text, ""), None, "{text}");
        }
        assert_eq!(of("", "COMPOSE_ENV_FILES=x"), None);
    }

    #[test]
    fn comments_secrets_and_escapes_are_no_reference() {
        for text in [
            "# include and env_file\nservices: {}",
            "services: {web: {extends: {service: y}}}",
            "secrets: {a: {file: x}}",
            r#"a: "\u00e9\x1b\n""#,
            "a: |\n  run --this \\\n    --that\n",
        ] {
            assert!(of(text, "").is_some(), "{text}");
        }
    }

    #[test]
    fn the_newest_answers_stay() {
        let temp = tempfile::tempdir().unwrap();
        let target_dir = temp.path().join("target");
        let stack = Stack::parse(br#"{"name": "x", "services": {"web": {"image": "i", "build": {}}}}"#).unwrap();
        let place = |hash| Place { target_dir: target_dir.clone(), hash };
        for hash in 0..LIMIT as u64 + 3 {
            place(hash).write(&stack);
        }
        let folder = target_dir.join(FOLDER);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), LIMIT);
        assert!(target_dir.join("CACHEDIR.TAG").is_file());
        let last = place(LIMIT as u64 + 2);
        assert_eq!(format!("{:?}", last.read().unwrap()), format!("{stack:?}"));
        for damaged in ["", "{", "{}", "\0\0\0"] {
            fs::write(last.file(), damaged).unwrap();
            assert!(last.read().is_none(), "{damaged:?}");
        }
    }
}
