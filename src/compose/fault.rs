//! Finds the line and key of a compose file that an error of Compose is about.

use std::env;

use super::remembered::words;
use crate::files::read;
use crate::workspace::{COMPOSE_FILE, DEV_DIR, ENV_FILE, Workspace};

/// What is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The compose file.
    ComposeFile,
    /// The `.env` of the dev dir.
    EnvFile,
    /// This variable has no value, and the compose file requires one.
    Missing(String),
    /// The value of this variable of the environment.
    Variable(String),
    /// The value of this variable of `.env`.
    VariableOfEnvFile(String),
}

impl Fault {
    /// What these words of Compose's are about.
    pub(crate) fn of(error: &str, workspace: &Workspace) -> Fault {
        let env_file = read::text(&workspace.root().join(ENV_FILE)).unwrap_or_default();
        let compose_file = read::text(&workspace.root().join(COMPOSE_FILE)).unwrap_or_default();
        let assigned = assigned(&env_file);
        let is_used = |name: &str| name.starts_with("COMPOSE_") || words(&compose_file).any(|word| word == name);
        let text = |it: std::ffi::OsString| it.into_string().ok();
        let all: Vec<_> = env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
        let ours = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).filter(|(name, _)| is_used(name));
        let env_file = assigned.into_iter().filter(|(name, _)| is_used(name));
        Fault::among(error, ours, env_file)
    }

    fn among<'a>(
        error: &str,
        mut environment: impl Iterator<Item = (&'a str, &'a str)>,
        mut env_file: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Fault {
        if error.starts_with("failed to read ") && error.contains("/.env: ") {
            return Fault::EnvFile;
        }
        if let Some((_, rest)) = error.split_once("required variable ") {
            return Fault::Missing(words(rest).next().unwrap_or_default().to_string());
        }
        if error.contains("compose.yaml") || error.contains("services.") {
            return Fault::ComposeFile;
        }
        let is_word =
            |word: &str| error.split_whitespace().any(|it| it.trim_matches(['"', '\'', ',', ':', '.']) == word);
        let is_meant = |&(name, value): &(&str, &str)| {
            is_word(name) || !value.is_empty() && (is_word(value) || error.contains(&format!("{value:?}")))
        };
        if let Some((name, _)) = environment.find(is_meant) {
            return Fault::Variable(name.to_string());
        }
        env_file.find(is_meant).map_or(Fault::ComposeFile, |(name, _)| Fault::VariableOfEnvFile(name.to_string()))
    }
}

impl Fault {
    /// As a sentence. The place is where the part of the compose file stands that the fault may be in.
    pub(crate) fn sentence(&self, place: &str) -> String {
        match self {
            Fault::ComposeFile => format!("{place} is not valid"),
            Fault::EnvFile => format!("{DEV_DIR}/.env is not valid"),
            Fault::Missing(name) => format!("{place} requires a value for the variable {name}"),
            Fault::Variable(name) => format!("the value of the environment variable {name} is not valid"),
            Fault::VariableOfEnvFile(name) => format!("the value of {name} in {DEV_DIR}/.env is not valid"),
        }
    }
}

/// The variables of a `.env` with their values, parsed line by line.
fn assigned(env_file: &str) -> Vec<(&str, &str)> {
    let lines = env_file.lines().filter_map(|line| line.trim().trim_start_matches("export ").split_once('='));
    lines.map(|(name, value)| (name.trim(), value.trim().trim_matches(['"', '\'']))).collect()
}

/// Compose's words about a file, with the names of variables in the place of their values, which may be secrets: those of `.env`, and
/// those of the environment that the text of the file refers to.
pub(crate) fn without_values(error: &str, text: &str, workspace: &Workspace) -> String {
    let env_file = read::text(&workspace.root().join(ENV_FILE)).unwrap_or_default();
    let is_used = |name: &str| text.contains(&format!("${name}")) || text.contains(&format!("${{{name}"));
    let ours = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let ours: Vec<(String, String)> = ours.filter(|(name, _)| is_used(name)).collect();
    let ours = ours.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    hidden(error, ours.chain(assigned(&env_file)))
}

fn hidden<'a>(error: &str, variables: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut variables: Vec<(&str, &str)> = variables.filter(|(_, value)| !value.is_empty()).collect();
    // One may be a part of another.
    variables.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    variables.iter().fold(error.to_string(), |error, (name, value)| {
        let is_part = |c: char| value.len() < LONG && (c.is_alphanumeric() || c == '_');
        let mut shown = String::new();
        let mut rest = error.as_str();
        while let Some(at) = rest.find(value) {
            let (before, behind) = (&rest[..at], &rest[at + value.len()..]);
            shown.push_str(before);
            let is_whole = !shown.ends_with(is_part) && !behind.starts_with(is_part);
            shown.push_str(&if is_whole { format!("${{{name}}}") } else { (*value).to_string() });
            rest = behind;
        }
        shown + rest
    })
}

/// A shorter value is one only where it stands as a word of its own: `1` is in many words.
const LONG: usize = 5;

/// What Compose printed on its standard error, without the warnings that stand before the error.
pub(crate) fn without_warnings(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let is_warning = |line: &&str| line.starts_with("time=") && line.contains(" level=warning ");
    let lines: Vec<&str> = text.lines().filter(|line| !is_warning(line)).collect();
    let rest = lines.join("\n").trim().to_string();
    if rest.is_empty() { text.trim().to_string() } else { rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_fault_is_read_from_composes_error() {
        let environment = [("COMPOSE_PROGRESS", "foo"), ("PORT", "808O"), ("COMPOSE_ENV_FILES", "/nope"), ("W", "web")];
        let env_file = [("COMPOSE_PROJECT_NAME", "Bad Name"), ("HTTP", "80a")];
        for (error, fault) in [
            ("failed to read /w/.stagecraft/dev/.env: line 1: key cannot contain a space", Fault::EnvFile),
            (
                "error while interpolating services.web.image: required variable A is missing a value: set it",
                Fault::Missing("A".into()),
            ),
            ("unsupported --progress value \"foo\"", Fault::Variable("COMPOSE_PROGRESS".into())),
            ("Couldn't find env file: /nope", Fault::Variable("COMPOSE_ENV_FILES".into())),
            ("Invalid hostPort: 808O", Fault::Variable("PORT".into())),
            ("Invalid hostPort: 80a", Fault::VariableOfEnvFile("HTTP".into())),
            ("Invalid hostPort: 80b", Fault::ComposeFile),
            (
                "invalid project name \"Bad Name\": must consist only of",
                Fault::VariableOfEnvFile("COMPOSE_PROJECT_NAME".into()),
            ),
            ("validating /w/.stagecraft/dev/compose.yaml: services.web must be a mapping", Fault::ComposeFile),
            ("services.web.ports.0 must be a string", Fault::ComposeFile),
        ] {
            assert_eq!(Fault::among(error, environment.into_iter(), env_file.into_iter()), fault, "{error}");
        }
    }

    #[test]
    fn values_of_variables_are_not_shown() {
        let variables =
            [("PASSWORD", "hunter2"), ("PORT", "808O"), ("ONE", "1"), ("URL", "db://hunter2@db"), ("NONE", "")];
        let hidden = |error: &str| hidden(error, variables.into_iter());
        assert_eq!(hidden("unterminated quoted value 'hunter2"), "unterminated quoted value '${PASSWORD}");
        assert_eq!(hidden("Invalid hostPort: 808O"), "Invalid hostPort: ${PORT}");
        assert_eq!(hidden("line 11: 1 is no db://hunter2@db"), "line 11: ${ONE} is no ${URL}");
        assert_eq!(hidden("xhunter2x 808O1"), "x${PASSWORD}x 808O1");
    }

    #[test]
    fn warnings_are_no_cause() {
        let warning = "time=\"2026-01-02T03:04:05Z\" level=warning msg=\"The \\\"A\\\" variable is not set.\"\n";
        assert_eq!(without_warnings(format!("{warning}{warning}no\nservice\n").as_bytes()), "no\nservice");
        assert_eq!(without_warnings(warning.as_bytes()), warning.trim());
    }
}
