//! Reads values from tables of Cargo.toml; errors name the file, the table and the key.

use std::fmt::Display;
use std::path::Path;

use anyhow::anyhow;
use serde_json::{Map, Value};

use crate::exit::{Code, Failure};
use crate::reporter::one_line;
use crate::suggest::suggestion;
use crate::workspace::Workspace;

/// A table of a manifest, as errors name it. Each error is [`Code::NothingToRun`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The manifest, relative to the workspace root.
    pub file: String,
    /// All keys that lead to it.
    pub name: String,
}

impl Table {
    /// The table of this name in this manifest.
    pub fn of(workspace: &Workspace, manifest: &Path, name: &str) -> Table {
        let file = manifest.strip_prefix(workspace.root()).unwrap_or(manifest);
        Table { file: file.display().to_string(), name: name.to_string() }
    }

    /// The table that this key holds.
    #[must_use]
    pub fn sub(&self, key: &str) -> Table {
        let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let key = if is_bare { key.to_string() } else { format!("{key:?}") };
        Table { file: self.file.clone(), name: format!("{}.{key}", self.name) }
    }

    /// The place of a key in it, or its own, as errors begin.
    pub fn place(&self, key: Option<&str>) -> String {
        let key = key.map(|key| format!(" `{}`", one_line(key))).unwrap_or_default();
        format!("{}: [{}]{key}", one_line(&self.file), one_line(&self.name))
    }

    /// What is wrong with a key of it. `what` may contain values of the manifest, and stays one line.
    pub fn error(&self, key: &str, what: impl Display) -> Failure {
        Code::NothingToRun.because(anyhow!("{} {}", self.place(Some(key)), one_line(&what.to_string())))
    }

    /// # Errors
    /// If the key's value is no table.
    pub fn table<'a>(&self, key: &str, value: &'a Value) -> Result<&'a Map<String, Value>, Failure> {
        value.as_object().ok_or_else(|| self.wrong_type(key, "a table", value))
    }

    /// The content of the table itself.
    ///
    /// # Errors
    /// If it is no table, which is an error of its key in the table above.
    pub fn whole<'a>(&self, value: &'a Value) -> Result<&'a Map<String, Value>, Failure> {
        let (above, key) = self.name.rsplit_once('.').unwrap_or_default();
        Table { file: self.file.clone(), name: above.to_string() }.table(key, value)
    }

    /// # Errors
    /// If the key's value is no string, or an empty one.
    pub fn text(&self, key: &str, value: &Value) -> Result<String, Failure> {
        let text = value.as_str().ok_or_else(|| self.wrong_type(key, "a string", value))?;
        if text.is_empty() { Err(self.error(key, "is empty")) } else { Ok(text.to_string()) }
    }

    /// # Errors
    /// If the key's value is no boolean.
    pub fn boolean(&self, key: &str, value: &Value) -> Result<bool, Failure> {
        value.as_bool().ok_or_else(|| self.wrong_type(key, "a boolean", value))
    }

    /// # Errors
    /// If the key's value is no whole number of seconds.
    pub fn seconds(&self, key: &str, value: &Value) -> Result<u32, Failure> {
        let number = value.as_i64().ok_or_else(|| self.wrong_type(key, "a number of seconds", value))?;
        u32::try_from(number).map_err(|_| self.error(key, format!("is {number}, which is not a number of seconds")))
    }

    /// # Errors
    /// If the key's value is no port.
    pub fn port(&self, key: &str, value: &Value) -> Result<u16, Failure> {
        let number = value.as_i64().ok_or_else(|| self.wrong_type(key, "a port", value))?;
        let port = u16::try_from(number).ok().filter(|port| *port > 0);
        port.ok_or_else(|| self.error(key, format!("is {number}, and ports are from 1 to 65535")))
    }

    /// That a key's value is of another type than the one that is wanted.
    pub fn wrong_type(&self, key: &str, wanted: &str, value: &Value) -> Failure {
        let kind = match value {
            Value::Null | Value::Object(_) => "a table",
            Value::Bool(_) => "a boolean",
            Value::Number(number) if number.is_f64() => "a float",
            Value::Number(_) => "an integer",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
        };
        self.error(key, format!("must be {wanted}, found {kind}"))
    }

    /// # Errors
    /// If a key is none of these. What begins with `x-` is for others to read.
    pub fn require_known<'k>(
        &self,
        table: &Map<String, Value>,
        known: impl Iterator<Item = &'k str> + Clone,
    ) -> Result<(), Failure> {
        let is_known = |key: &&String| key.starts_with("x-") || known.clone().any(|name| name == *key);
        match table.keys().find(|key| !is_known(key)) {
            Some(key) => Err(self.error(key, "is not known").help_if(suggestion("key", key, known.clone()))),
            None => Ok(()),
        }
    }
}

/// The same value with each date as a string: cargo metadata prints a date as a table with this key.
pub(crate) fn without_dates(value: &Value) -> Value {
    match value {
        Value::Object(table) => match table.get("$__toml_private_datetime") {
            Some(date) => date.clone(),
            None => Value::Object(table.iter().map(|(key, value)| (key.clone(), without_dates(value))).collect()),
        },
        Value::Array(all) => all.iter().map(without_dates).collect(),
        other => other.clone(),
    }
}
