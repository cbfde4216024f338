//! The key `before-build`: commands of this machine that need the services which crates depend on.

use serde_json::{Map, Value};

use crate::exit::Failure;
use crate::manifest::Table;
use crate::os;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// As it is shown.
    pub line: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The files and directories that it reads, relative to the workspace root. None if it has to run at every start.
    pub files: Option<Vec<String>>,
    /// The services that it needs. It is left out of a start that does not start all of them before the build.
    pub depends_on: Vec<String>,
}

const KEY: &str = "before-build";
const STEP_KEYS: [&str; 3] = ["depends_on", "files", "run"];

/// The commands of this value of the key.
///
/// # Errors
/// [`crate::exit::Code::NothingToRun`] if the value is of another form.
pub(super) fn steps(at: &Table, value: &Value) -> Result<Vec<Step>, Failure> {
    let all = value.as_array().ok_or_else(|| at.wrong_type(KEY, "an array of commands", value))?;
    all.iter().map(|step| self::step(at, step)).collect()
}

fn step(at: &Table, value: &Value) -> Result<Step, Failure> {
    match value {
        Value::Object(table) => {
            let at = at.sub(KEY);
            at.require_known(table, STEP_KEYS.into_iter())?;
            let run = table.get("run").ok_or_else(|| at.error("run", "is missing"))?;
            let files = table.get("files").map(|files| texts(&at, "files", files)).transpose()?;
            let depends_on = table.get("depends_on").map(|all| texts(&at, "depends_on", all)).transpose()?;
            Ok(Step { files, depends_on: depends_on.unwrap_or_default(), ..command(&at, "run", run)? })
        }
        _ => command(at, KEY, value),
    }
}

fn command(at: &Table, key: &str, value: &Value) -> Result<Step, Failure> {
    if value.is_array() {
        let argv = texts(at, key, value)?;
        if argv.is_empty() {
            return Err(at.error(key, "contains an empty command"));
        }
        return Ok(Step { line: argv.join(" "), argv, files: None, depends_on: Vec::new() });
    }
    let line =
        value.as_str().ok_or_else(|| at.wrong_type(key, "a command (a string or an array of strings)", value))?;
    if line.trim().is_empty() {
        return Err(at.error(key, "contains an empty command"));
    }
    let argv = os::SHELL.into_iter().chain([line]).map(str::to_string).collect();
    Ok(Step { line: line.to_string(), argv, files: None, depends_on: Vec::new() })
}

fn texts(at: &Table, key: &str, value: &Value) -> Result<Vec<String>, Failure> {
    let all = value.as_array().ok_or_else(|| at.wrong_type(key, "an array of strings", value))?;
    all.iter().map(|text| at.text(key, text)).collect()
}

/// That the services which commands name exist.
pub(super) fn require_services(at: &Table, steps: &[Step], is_service: &dyn Fn(&str) -> bool) -> Result<(), Failure> {
    match steps.iter().flat_map(|step| &step.depends_on).find(|service| !is_service(service)) {
        Some(service) => Err(at.sub(KEY).error("depends_on", format!("contains `{service}`, which is no service"))),
        None => Ok(()),
    }
}

/// The commands of the key in this table of the workspace; none without the key.
pub(super) fn of(at: &Table, table: &Map<String, Value>) -> Result<Option<Vec<Step>>, Failure> {
    table.get(KEY).map(|value| steps(at, value)).transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table() -> Table {
        Table { file: "Cargo.toml".to_string(), name: "t".to_string() }
    }

    #[test]
    fn a_command_is_a_line_or_a_list_of_words_with_or_without_files() {
        let value = json!([
            "sqlx migrate run",
            ["echo", "a b"],
            {"run": "make", "files": ["migrations", "seed.sql"], "depends_on": ["db"]},
            {"run": ["true"], "files": []}
        ]);
        let steps = steps(&table(), &value).unwrap();
        let lines: Vec<&str> = steps.iter().map(|step| step.line.as_str()).collect();
        assert_eq!(lines, ["sqlx migrate run", "echo a b", "make", "true"]);
        assert_eq!(steps[0].argv[1..], os::SHELL[1..].iter().copied().chain(["sqlx migrate run"]).collect::<Vec<_>>());
        assert_eq!(steps[1].argv, ["echo", "a b"]);
        let files: Vec<Option<usize>> = steps.iter().map(|step| step.files.as_ref().map(Vec::len)).collect();
        assert_eq!(files, [None, None, Some(2), Some(0)]);
        assert_eq!((&steps[1].depends_on[..], &steps[2].depends_on[..]), (&[][..], &["db".to_string()][..]));
        assert!(require_services(&table(), &steps, &|service| service == "db").is_ok());
        let error = require_services(&table(), &steps, &|_| false).unwrap_err();
        assert_eq!(error.to_string(), "Cargo.toml: [t.before-build] `depends_on` contains `db`, which is no service");
    }

    #[test]
    fn another_form_is_an_error_that_names_the_key() {
        for (value, expected) in [
            (json!("sqlx"), "Cargo.toml: [t] `before-build` must be an array of commands, found a string"),
            (
                json!([1]),
                "Cargo.toml: [t] `before-build` must be a command (a string or an array of strings), found an integer",
            ),
            (json!([" "]), "Cargo.toml: [t] `before-build` contains an empty command"),
            (json!([[]]), "Cargo.toml: [t] `before-build` contains an empty command"),
            (json!([{"files": []}]), "Cargo.toml: [t.before-build] `run` is missing"),
            (json!([{"run": "a", "file": []}]), "Cargo.toml: [t.before-build] `file` is not known"),
            (
                json!([{"run": "a", "files": "a"}]),
                "Cargo.toml: [t.before-build] `files` must be an array of strings, found a string",
            ),
        ] {
            assert_eq!(steps(&table(), &value).unwrap_err().to_string(), expected);
        }
    }
}
