//! The events of a project's containers, from `docker events`.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::anyhow;
use jiff::Timestamp;
use serde::Deserialize;

use super::{NOT_ONE_OFF, api, ask, docker, of_project};
use crate::command::{Executor, Invocation};
use crate::compose::ProjectName;
use crate::exit::{Code, Failure};

/// A signal, by its number on Linux, which is what containers run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(u8);

/// The names of the signals from 1 on (`signal(7)`).
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];
/// The first real-time signal that programs may use.
const RTMIN: u8 = 34;

impl Signal {
    /// What asks a container to stop, where neither its image nor the file says otherwise.
    pub const TERM: Signal = Signal(15);

    /// Parses a signal as the engine does: `15`, `TERM`, `SIGTERM`, `SIGRTMIN+3`. None if it is invalid.
    pub fn parse(text: &str) -> Option<Signal> {
        if let Ok(number) = text.parse() {
            return Some(Signal(number));
        }
        let name = text.strip_prefix("SIG").unwrap_or(text);
        if let Some(offset) = name.strip_prefix("RTMIN") {
            return Some(Signal(RTMIN + offset.strip_prefix('+').map_or(Some(0), |it| it.parse().ok())?));
        }
        let number = SIGNALS.iter().position(|it| *it == name)? + 1;
        Some(Signal(number.try_into().ok()?))
    }

    /// Its number on Linux.
    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// Whether this signal is meant to stop a container with this stop signal: a reload by `HUP` or `USR1` is not.
    pub fn ends(self, stop_signal: Signal) -> bool {
        self == stop_signal || ["TERM", "INT", "QUIT", "KILL"].iter().any(|name| Signal::parse(name) == Some(self))
    }
}

impl Default for Signal {
    fn default() -> Signal {
        Signal::TERM
    }
}

/// Something that has happened to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerEvent {
    /// The engine's word: `create`, `start`, `die`, `health_status: healthy` …
    pub action: String,
    /// The container's id.
    pub id: String,
    /// The service that it belongs to.
    pub service: String,
    /// What it exited with, where it `die`d; empty otherwise.
    pub exit_code: String,
    /// The number of the signal, where it is a `kill`; empty otherwise.
    pub signal: String,
    /// When, by the engine's clock, in nanoseconds since 1970.
    pub time: i128,
}

impl ContainerEvent {
    /// Reads a line of what [`container_events`] answers. None if it is none.
    pub(crate) fn parse(line: &str) -> Option<ContainerEvent> {
        serde_json::from_slice(line.as_bytes()).ok()
    }

    /// Whether it was before this time of the engine's.
    pub(crate) fn is_before(&self, time: Timestamp) -> bool {
        self.time < time.as_nanosecond()
    }
}

/// Whether earlier events are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// All that the engine remembers is: its last few hundred events.
    Told,
    /// Only what happens from now on.
    Untold,
    /// Only what happens from this time of the engine's on.
    Since(Timestamp),
}

const FORMAT: &str = concat!(
    r#"{"action":{{json .Action}},"id":{{json .Actor.ID}},"#,
    r#""service":{{json (index .Actor.Attributes "com.docker.compose.service")}},"#,
    r#""exit_code":{{json (index .Actor.Attributes "exitCode")}},"#,
    r#""signal":{{json (index .Actor.Attributes "signal")}},"time":{{json .TimeNano}}}"#
);

/// The question to which the engine goes on answering with what happens to the project's containers, one line each, which
/// [`ContainerEvent::parse`] reads.
///
/// It is asked for everything, not only for what is of interest, so that the docker that passes it on does not outlive whoever
/// listens: a line that nobody reads ends it.
pub fn container_events(project: &ProjectName, past: Past) -> Invocation {
    let project = of_project(project);
    // Docker reckons `--since 10s` by this machine's clock, and the engine compares that with its own. The beginning of 1970 is
    // the past by every clock.
    let time = if let Past::Since(time) = past { time.to_string() } else { "1".to_string() };
    let since: &[&str] = match past {
        Past::Told | Past::Since(_) => &["--since", &time],
        Past::Untold => &[],
    };
    let filters = ["--filter", "type=container", "--filter", &project, "--filter", NOT_ONE_OFF];
    docker(&[&["events"], since, &filters[..], &["--format", FORMAT]].concat())
}

/// The time by the engine's clock, which may be another than this machine's: a virtual machine's, a remote one's.
///
/// # Errors
/// [`Code::EngineUnavailable`] if the engine does not tell.
pub(crate) fn now(executor: &dyn Executor) -> Result<Timestamp, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Info {
        system_time: String,
    }
    let command = docker(&["info", "--format", r#"{"SystemTime":{{json .SystemTime}}}"#]);
    let answers: Vec<Info> = api::ask_or(executor, &[api::INFO.to_string()], &command)?;
    let answer = answers.first().and_then(|info| info.system_time.parse().ok());
    answer.ok_or_else(|| Code::EngineUnavailable.because(anyhow!("the engine's time cannot be read")))
}

/// The engine's clock, asked once. Later times of it are computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// What it showed, at the latest, at this moment.
    engines: Timestamp,
    ours: Instant,
}

impl Clock {
    /// # Errors
    /// As those of [`now`].
    pub(crate) fn ask(executor: &dyn Executor) -> Result<Clock, Failure> {
        // Before the question, so that no computed time is earlier than the engine's.
        let ours = Instant::now();
        Ok(Clock { engines: now(executor)?, ours })
    }

    /// The engine's time at a moment of ours, late by at most the time that the question took.
    pub(crate) fn at(&self, moment: Instant) -> Timestamp {
        self.engines.checked_add(moment.saturating_duration_since(self.ours)).unwrap_or(self.engines)
    }
}

/// The signals that each of the project's containers was sent through the engine since this moment of ours and its last start, by id.
///
/// A process that ends by itself causes no `kill` event, so this distinguishes "stopped from elsewhere" from "crashed". The
/// engine remembers its last few hundred events only; the ones in question are a second old.
///
/// # Errors
/// [`crate::exit::Code::EngineUnavailable`] if the engine does not answer.
pub fn signals(
    executor: &dyn Executor,
    project: &ProjectName,
    began: Instant,
) -> Result<BTreeMap<String, Vec<Signal>>, Failure> {
    let until = now(executor)?;
    let began = until.saturating_sub(began.elapsed()).unwrap_or(Timestamp::UNIX_EPOCH);
    let (project, until) = (of_project(project), until.to_string());
    let filters = ["--filter", "event=kill", "--filter", "event=start", "--filter", &project];
    let question =
        docker(&[&["events", "--since", "1", "--until", &until], &filters[..], &["--format", FORMAT]].concat());
    let events: Vec<ContainerEvent> = ask(executor, &question)?;
    let mut signals: BTreeMap<String, Vec<Signal>> = BTreeMap::new();
    for event in events.into_iter().filter(|event| !event.is_before(began)) {
        match event.action.as_str() {
            "kill" => signals.entry(event.id).or_default().extend(Signal::parse(&event.signal)),
            _ => drop(signals.remove(&event.id)),
        }
    }
    Ok(signals)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::process::Output;
    use std::time::Duration;

    use super::super::fake::{Says, project};
    use super::*;

    /// An engine whose clock is years behind ours.
    struct Behind;

    impl Executor for Behind {
        fn output(&self, invocation: &Invocation) -> io::Result<Output> {
            let words: Vec<_> = invocation.args().iter().map(|word| word.to_string_lossy().into_owned()).collect();
            let answer = match words[0].as_str() {
                "info" => r#"{"SystemTime":"2001-09-09T01:46:50.000001+00:00"}"#,
                _ => {
                    assert_eq!(words[2..5], ["1", "--until", "2001-09-09T01:46:50.000001Z"]);
                    r#"{"action":"kill","id":"old","signal":"9","time":999999980000000000}
                    {"action":"start","id":"a","time":1000000000000001000} {"action":"kill","id":"a","signal":"15","time":1000000000000001001}
                    {"action":"start","id":"a","time":1000000000000001002} {"action":"kill","id":"b","signal":"1","time":1000000000000001003}
                    {"action":"kill","id":"b","signal":"9","time":1000000000000001004} {"action":"start","id":"c","time":1000000000000001005}"#
                }
            };
            Says(0, answer, "").output(invocation)
        }

        crate::command::refuse!(spawn, listen, request, exec);
    }

    #[test]
    fn only_signals_since_the_last_start_count_and_the_engines_clock_decides() {
        let signals = signals(&Behind, &project(), Instant::now() - Duration::from_secs(10)).unwrap();
        assert_eq!(signals, BTreeMap::from([("b".to_string(), vec![Signal(1), Signal(9)])]));
    }

    #[test]
    fn a_line_that_is_not_an_event_is_ignored() {
        let line = r#"{"action":"die","id":"1","service":"web","exit_code":"3","signal":"","time":5}"#;
        assert_eq!(ContainerEvent::parse(line).unwrap().exit_code, "3");
        assert_eq!(ContainerEvent::parse("unexpected EOF"), None);
    }

    #[test]
    fn a_signal_ends_a_container_if_it_is_its_stop_signal_or_ends_every_program() {
        for (text, number) in [("15", 15), ("TERM", 15), ("SIGUSR1", 10), ("SIGRTMIN+3", 37), ("RTMIN", 34)] {
            assert_eq!(Signal::parse(text), Some(Signal(number)), "{text}");
        }
        assert_eq!(Signal::parse("SIGNOTHING"), None);
        let ends = |sent: &str, stop: &str| Signal::parse(sent).unwrap().ends(Signal::parse(stop).unwrap());
        for ending in ["TERM", "INT", "QUIT", "KILL"] {
            assert!(ends(ending, "USR2"), "{ending}");
        }
        assert!(ends("WINCH", "WINCH") && !ends("HUP", "TERM") && !ends("USR1", "QUIT"));
    }
}
