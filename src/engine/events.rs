//! What happens to a project's containers, as `docker events` tells it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::{NOT_ONE_OFF, ask, docker, of_project};
use crate::compose::ProjectName;
use crate::exit::Failure;
use crate::process::{Executor, Invocation};

/// Something that has happened to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Happening {
    /// The engine's word: `create`, `start`, `die`, `health_status: healthy` …
    pub action: String,
    /// The container's id.
    pub id: String,
    /// The service that it belongs to.
    pub service: String,
    /// What it exited with, where it `die`d; empty otherwise.
    pub exit_code: String,
}

impl Happening {
    /// Reads a line of what [`happenings`] answers. None if it is none.
    pub fn parse(line: &str) -> Option<Happening> {
        serde_json::from_slice(line.as_bytes()).ok()
    }
}

/// Whether what happened before a question reached the engine is told too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// What happened in the last seconds is.
    Told,
    /// Only what happens from now on.
    Untold,
}

/// The question to which the engine goes on answering with what happens to the project's containers, one line each, which
/// [`Happening::parse`] reads.
///
/// With [`Past::Told`] also with what has just happened. It is asked for everything, not only for what is of interest, so that
/// the docker that passes it on does not outlive whoever listens: a line that nobody reads ends it.
pub fn happenings(project: &ProjectName, past: Past) -> Invocation {
    let format = concat!(
        r#"{"action":{{json .Action}},"id":{{json .Actor.ID}},"#,
        r#""service":{{json (index .Actor.Attributes "com.docker.compose.service")}},"#,
        r#""exit_code":{{json (index .Actor.Attributes "exitCode")}}}"#
    );
    let project = of_project(project);
    let since: &[&str] = match past {
        Past::Told => &["--since", "10s"],
        Past::Untold => &[],
    };
    let filters = ["--filter", "type=container", "--filter", &project, "--filter", NOT_ONE_OFF];
    docker(&[&["events"], since, &filters[..], &["--format", format]].concat())
}

/// The ids of the project's containers that somebody stopped or killed through the engine after `began`, and that have
/// not started again since.
///
/// A process that ends by itself makes no `kill` event, so this tells "stopped from elsewhere" from "crashed". The
/// engine remembers its last few hundred events only; the ones in question are a second old.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if the engine does not answer.
pub fn stopped_by_somebody(
    executor: &dyn Executor,
    project: &ProjectName,
    began: SystemTime,
) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    struct Happened {
        action: String,
        id: String,
        /// In nanoseconds since 1970.
        time: u128,
    }
    let began = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    // The CLI cuts `--until` down to whole seconds: `0s` would miss what has happened in this one, so it is asked to
    // listen until the next one begins.
    let when = ["events", "--since", "24h", "--until", "-1s", "--filter", "event=kill", "--filter", "event=start"];
    let format = r#"{"action":{{json .Action}},"id":{{json .Actor.ID}},"time":{{json .TimeNano}}}"#;
    let project = of_project(project);
    let events: Vec<Happened> =
        ask(executor, &docker(&[&when[..], &["--filter", &project, "--format", format]].concat()))?;
    let mut stopped: Vec<String> = Vec::new();
    for event in events.into_iter().filter(|event| event.time >= began) {
        stopped.retain(|id| *id != event.id);
        if event.action == "kill" {
            stopped.push(event.id);
        }
    }
    Ok(stopped)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fake::{Says, project};
    use super::*;

    #[test]
    fn only_containers_killed_since_their_last_start_were_stopped_by_somebody() {
        let events = r#"{"action":"kill","id":"old","time":999}
            {"action":"start","id":"a","time":1000} {"action":"kill","id":"a","time":1001}
            {"action":"start","id":"a","time":1002} {"action":"kill","id":"b","time":1003}
            {"action":"kill","id":"b","time":1004} {"action":"start","id":"c","time":1005}"#;
        let began = UNIX_EPOCH + Duration::from_nanos(1000);
        assert_eq!(stopped_by_somebody(&Says(0, events, ""), &project(), began).unwrap(), ["b"]);
    }

    #[test]
    fn a_line_that_is_no_event_is_none() {
        let line = r#"{"action":"die","id":"1","service":"web","exit_code":"3"}"#;
        assert_eq!(Happening::parse(line).unwrap().exit_code, "3");
        assert_eq!(Happening::parse("unexpected EOF"), None);
    }
}
