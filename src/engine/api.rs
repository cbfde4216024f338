//! The engine's own API, behind its socket: it answers at once, where each start of docker costs 15 to 30 milliseconds.
//!
//! What counts is what docker says. So only questions that every engine answers in the same way are asked here, only where
//! docker itself would ask the same engine through the same socket, and where anything about the answer is not as it
//! should be, docker is asked.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{ask, endpoint, understood};
use crate::command::{Executor, Invocation, Request};
use crate::exit::Failure;

/// The question what the engine is.
pub(super) const VERSION: &str = "/version";

/// The question how the engine is, its time among that.
pub(super) const INFO: &str = "/info";

/// The question for containers with all of these labels (`label=…`, as docker is given them); for those that run, or for all.
pub(super) fn containers(all: bool, labels: &[&str]) -> String {
    let parameters: Vec<String> = all.then(|| "all=true".to_string()).into_iter().chain(filters(labels)).collect();
    with("/containers/json", &parameters)
}

/// The question for containers, running or not, that mount one of these volumes.
pub(super) fn containers_with(volumes: &BTreeSet<String>) -> String {
    with("/containers/json", &["all=true".to_string(), encoded(&json!({ "volume": volumes }))])
}

/// The question for all about a container, by id.
pub(super) fn container(id: &str) -> String {
    format!("/containers/{id}/json")
}

/// The question for images of this name.
pub(super) fn images(name: &str) -> String {
    with("/images/json", &[encoded(&json!({ "reference": [name] }))])
}

/// The question for networks with all of these labels.
pub(super) fn networks(labels: &[&str]) -> String {
    with("/networks", &Vec::from_iter(filters(labels)))
}

/// The question for volumes with this label.
pub(super) fn volumes_of(label: &str) -> String {
    with("/volumes", &Vec::from_iter(filters(&[label])))
}

/// The question for volumes with these names; for all of them, or for those that no container uses.
pub(super) fn volumes(names: &BTreeSet<String>, unused: bool) -> String {
    let filters = if unused { json!({ "dangling": ["true"], "name": names }) } else { json!({ "name": names }) };
    with("/volumes", &[encoded(&filters)])
}

fn with(path: &str, parameters: &[String]) -> String {
    if parameters.is_empty() { path.to_string() } else { format!("{path}?{}", parameters.join("&")) }
}

fn filters(labels: &[&str]) -> Option<String> {
    let labels: Vec<&str> = labels.iter().filter_map(|label| label.strip_prefix("label=")).collect();
    (!labels.is_empty()).then(|| encoded(&json!({ "label": labels })))
}

fn encoded(value: &Value) -> String {
    let mut filters = "filters=".to_string();
    for byte in value.to_string().bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => filters.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => filters.push(byte.into()),
            byte => filters.push_str(&format!("%{byte:02X}")),
        }
    }
    filters
}

/// What the engine answers to each of these, or docker to the command: values of the same form, one a line. Where there are no
/// questions for the engine, docker is asked.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if docker does not get an answer either.
pub(super) fn ask_or<T: DeserializeOwned>(
    executor: &dyn Executor,
    questions: &[String],
    command: &Invocation,
) -> Result<Vec<T>, Failure> {
    match ask_directly(executor, questions) {
        Some(answers) => Ok(answers),
        None => ask(executor, command),
    }
}

/// What the engine answers to each of these. None where docker would have to be asked.
pub(super) fn ask_directly<T: DeserializeOwned>(executor: &dyn Executor, questions: &[String]) -> Option<Vec<T>> {
    answers(executor, questions).and_then(|answers| understood(answers).ok())
}

fn answers(executor: &dyn Executor, questions: &[String]) -> Option<Vec<Value>> {
    let socket = endpoint::socket().filter(|_| !questions.is_empty())?;
    let mut answers = Vec::new();
    for question in questions {
        let answer = executor.request(&Request::new(&socket, question)).ok()?;
        match serde_json::from_slice(&answer).ok()? {
            Value::Array(several) => answers.extend(several),
            one => answers.push(one),
        }
    }
    Some(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_encoded_as_a_url_has_to_be() {
        let label = "label=com.docker.compose.project=a_b-c";
        let filters = "filters=%7B%22label%22%3A%5B%22com.docker.compose.project%3Da_b-c%22%5D%7D";
        assert_eq!(containers(true, &[label]), format!("/containers/json?all=true&{filters}"));
        assert_eq!(containers(false, &[label]), format!("/containers/json?{filters}"));
        assert_eq!(containers(false, &[]), "/containers/json");
        assert_eq!(networks(&[label]), format!("/networks?{filters}"));
        assert_eq!(container("0123"), "/containers/0123/json");
    }
}
