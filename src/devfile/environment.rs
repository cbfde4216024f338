//! The table `env`: variables for programs on this machine, as they are written.

use std::collections::BTreeMap;

use super::plan::workspace_table;
use crate::exit::Failure;
use crate::manifest::without_dates;
use crate::workspace::Workspace;

pub(super) const KEY: &str = "env";

/// The variables by name, before other variables are put into them.
///
/// # Errors
/// [`crate::exit::Code::NothingToRun`] if a name or a value is none.
pub(crate) fn environment(workspace: &Workspace) -> Result<BTreeMap<String, String>, Failure> {
    let above = workspace_table();
    let metadata = without_dates(&workspace.metadata);
    let Some(value) = metadata.get(KEY) else { return Ok(BTreeMap::new()) };
    let at = above.sub(KEY);
    let mut variables = BTreeMap::new();
    for (name, value) in above.table(KEY, value)? {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_plain) {
            return Err(at.error(name, "is not the name of a variable: use letters, digits and `_`"));
        }
        let text = value.as_str().ok_or_else(|| at.wrong_type(name, "a string", value))?;
        if text.contains(['\n', '\r', '\0']) {
            return Err(at.error(name, "contains a line break or a NUL byte"));
        }
        variables.insert(name.clone(), text.to_string());
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_and_values_are_checked() {
        let of = |metadata| {
            let mut workspace = Workspace::at("/w");
            workspace.metadata = metadata;
            environment(&workspace)
        };
        assert_eq!(of(json!(null)).unwrap(), BTreeMap::new());
        let expected = BTreeMap::from([("A_1".to_string(), "${B}".to_string())]);
        assert_eq!(of(json!({"env": {"A_1": "${B}"}})).unwrap(), expected);
        for (metadata, expected) in [
            (json!({"env": []}), "[workspace.metadata.stagecraft.dev] `env` must be a table, found an array"),
            (
                json!({"env": {"1": ""}}),
                "[workspace.metadata.stagecraft.dev.env] `1` is not the name of a variable: use letters, digits and `_`",
            ),
            (
                json!({"env": {"A": 1}}),
                "[workspace.metadata.stagecraft.dev.env] `A` must be a string, found an integer",
            ),
            (
                json!({"env": {"A": "a\nb"}}),
                "[workspace.metadata.stagecraft.dev.env] `A` contains a line break or a NUL byte",
            ),
        ] {
            assert_eq!(of(metadata).unwrap_err().to_string(), format!("Cargo.toml: {expected}"));
        }
    }
}
