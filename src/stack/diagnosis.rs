//! Explains why a container failed, for the person who has to fix it. Pure.

use std::fmt;
use std::time::Duration;

use crate::engine::{Container, Inspected};
use crate::stack::readiness::{History, LOOP, Standing, meaning, summary};

/// Crashes in a row, with no steady run among them: a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crashes {
    /// How many.
    pub times: u32,
    /// From the first start to the last crash, where that was seen.
    pub within: Option<Duration>,
}

impl Crashes {
    /// Those of a container, if they make a loop.
    pub(crate) fn of(history: History) -> Option<Crashes> {
        (history.crashes >= LOOP).then_some(Crashes { times: history.crashes, within: None })
    }
}

impl fmt::Display for Crashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} times", self.times)?;
        // Rounded up: it was less than that.
        self.within.map_or(Ok(()), |within| write!(f, " in {} s", within.as_secs_f64().ceil().max(1.0)))
    }
}

/// What is known of one container of the stack, or of a service that has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The service.
    pub service: String,
    /// Its container; none if it was not created.
    pub container: Option<Inspected>,
    /// How it stands.
    pub standing: Standing,
    /// What it was seen to exit with the last time; it may be running again.
    pub last_exit: Option<i64>,
    /// The crashes that make a loop.
    pub crashes: Option<Crashes>,
    /// The cause, if more is known than the container's state.
    pub cause: Option<String>,
    /// The end of its log, where it has failed; oldest first.
    pub last_words: Vec<u8>,
}

impl Finding {
    /// A container that stands like this; why is what the engine says of its start, if anything.
    pub(crate) fn of(container: Inspected, standing: Standing) -> Finding {
        let service = container.service.clone();
        Finding { container: Some(container), standing, ..Finding::missing(&service, None) }
    }

    /// A container of which only the list is known; it is taken for what it should be.
    pub(crate) fn listed(container: &Container) -> Finding {
        let Container { id, name, service, state, ports, .. } = container.clone();
        Finding::of(Inspected { id, name, service, state, ports, ..Inspected::default() }, Standing::Ready)
    }

    /// A service that has no container although one was wanted.
    pub(crate) fn missing(service: &str, cause: Option<String>) -> Finding {
        let standing = if cause.is_some() { Standing::Failed } else { Standing::Pending };
        Finding {
            service: service.to_string(),
            container: None,
            standing,
            last_exit: None,
            crashes: None,
            cause,
            last_words: Vec::new(),
        }
    }

    /// The container's state in a few words.
    pub(crate) fn state(&self) -> String {
        self.container.as_ref().map_or("not created".to_string(), summary)
    }

    /// What it has exited with, if it has ended.
    pub(crate) fn exit_code(&self) -> Option<i64> {
        let container = self.container.as_ref()?;
        container.ended_with().or(self.last_exit.filter(|_| self.standing == Standing::Failed))
    }

    /// What its exit code stands for, where that is known and it has ended.
    pub(crate) fn meaning(&self) -> Option<String> {
        meaning(self.exit_code()?, self.container.as_ref()?.out_of_memory)
    }

    /// What the last probe of its healthcheck printed, if that failed.
    pub(crate) fn failed_probe(&self) -> Option<&str> {
        let health = self.container.as_ref()?.health.as_ref()?;
        health.failure.as_deref().filter(|output| !output.is_empty())
    }

    /// The command of its healthcheck, where it cannot run since the image does not have it.
    pub(crate) fn missing_probe(&self) -> Option<&str> {
        missing_command(self.failed_probe()?)
    }

    /// What helps against [`Finding::missing_probe`].
    pub(crate) fn help_for_missing_probe(&self) -> Option<String> {
        let command = self.missing_probe()?;
        let program = self.container.as_ref().map_or("", |container| container.program.as_str());
        let example = if program.starts_with('/') { program } else { "/program" };
        let shell = if command.ends_with("sh") { ", which a string `test` needs" } else { "" };
        Some(format!(
            "a healthcheck runs in the container, and its image has no `{command}`{shell}: run a program that it has, as in \
             `test: [\"CMD\", \"{example}\", …]`"
        ))
    }

    /// What there is to say beside the state: the cause or the meaning of the exit code, and restarts.
    pub(crate) fn detail(&self) -> String {
        let restarts = match self.container.as_ref().map_or(0, |container| container.restarts) {
            // The crashes tell as much.
            _ if self.crashes.is_some() => None,
            0 => None,
            1 => Some("restarted once".to_string()),
            times => Some(format!("restarted {times} times")),
        };
        let probe = || match self.missing_probe() {
            Some(command) => Some(format!("its healthcheck runs `{command}`, which is not in the image")),
            None => self.failed_probe().and_then(|output| output.lines().next()).map(str::to_string),
        };
        let why = self.cause.clone().or_else(|| self.meaning()).or_else(probe);
        [why, restarts].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// What it has to be blamed for, as a sentence about the service.
    pub(crate) fn reason(&self) -> String {
        let service = &self.service;
        let Some(container) = &self.container else {
            let cause = self.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
            return format!("{service} was not created{cause}");
        };
        let because = |what: String| match self.detail().as_str() {
            "" => what,
            detail => format!("{what}: {detail}"),
        };
        if let (Some(crashes), Standing::Failed) = (self.crashes, self.standing) {
            return match self.exit_code() {
                Some(0) => because(format!("{service} ended {crashes} with exit code 0 and was started again")),
                Some(code) => because(format!("{service} crashed {crashes}, the last time with exit code {code}")),
                None => because(format!("{service} crashed {crashes}")),
            };
        }
        match container.state.as_str() {
            "created" if self.standing == Standing::Failed => because(format!("{service} could not be started")),
            _ => match (&container.health, self.exit_code(), self.standing) {
                (_, Some(code), _) => because(format!("{service} exited with {code}")),
                (Some(health), _, Standing::Failed) if health.status == "unhealthy" => {
                    because(format!("{service} is unhealthy"))
                }
                (.., Standing::Failed) => because(format!("{service} does not stay up")),
                _ => because(format!("{service} is still {}", self.state())),
            },
        }
    }
}

/// Why a container could not be started, by what the engine said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// This port of the host is taken.
    PortTaken(u16),
    /// Its program is for another architecture.
    WrongArchitecture,
    /// Something that needs no further question.
    Words(String),
}

/// Reads the engine's error of a container's start.
pub(crate) fn cause_of(error: &str) -> Cause {
    let has = |text: &str| error.contains(text);
    let is_taken = has("address already in use") || has("port is already allocated");
    if let (true, Some(port)) = (is_taken, port_in(error)) {
        return Cause::PortTaken(port);
    }
    if has("exec format error") {
        return Cause::WrongArchitecture;
    }
    let words = if has("no space left on device") {
        "the engine has no space left on its disk".to_string()
    } else if let (Some(source), true) = (between(error, "error mounting \"", "\""), has("not a directory")) {
        let target = between(error, "to rootfs at \"", "\"").unwrap_or_default();
        format!("{source}, which is mounted at {target}, is not a file: a missing file becomes a directory")
    } else if let Some(source) = after(error, "bind source path does not exist: ") {
        format!("mount source {source} does not exist")
    } else if let Some(command) = missing_command(error) {
        format!("its command `{command}` is not in the image")
    } else if let (Some(command), true) = (between(error, "exec: \"", "\""), has("permission denied")) {
        format!("its command `{command}` cannot be executed: permission denied")
    } else {
        // Each floor of the engine puts its own words in front.
        let last =
            ["unable to start container process: ", "OCI runtime create failed: ", "Error response from daemon: "];
        let words = last.into_iter().find_map(|front| error.rsplit_once(front)).map_or(error, |(_, words)| words);
        words.trim_end_matches(": unknown").to_string()
    };
    Cause::Words(words)
}

/// The command that could not be executed since there is no such file, in the engine's words.
fn missing_command(error: &str) -> Option<&str> {
    let is_missing = error.contains("executable file not found") || error.contains("no such file or directory");
    between(error, "exec: \"", "\"").filter(|_| is_missing)
}

/// A `container_name` that another container has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NameConflict<'a> {
    /// The name.
    pub name: &'a str,
    /// The id of that container.
    pub holder: &'a str,
}

impl<'a> NameConflict<'a> {
    /// Reads what the engine says of it.
    pub(crate) fn in_words(words: &'a str) -> Option<NameConflict<'a>> {
        let name = between(words, "The container name \"/", "\"")?;
        Some(NameConflict { name, holder: between(words, "is already in use by container \"", "\"")? })
    }
}

/// Why a container has ended, by the last lines that it has printed. None if they do not tell.
pub(crate) fn cause_in_log(log: &[u8]) -> Option<Cause> {
    let text = String::from_utf8_lossy(log);
    let mut last = text.lines().rev().map(str::trim).filter(|line| !line.is_empty()).take(LAST);
    last.find_map(|line| {
        if line.contains("exec format error") {
            return Some(Cause::WrongArchitecture);
        }
        if line.to_lowercase().contains("no space left on device") {
            return Some(Cause::Words("no space is left on the engine's disk or in one of its mounts".to_string()));
        }
        let program = line.strip_prefix("exec ")?.strip_suffix(": no such file or directory")?;
        Some(Cause::Words(format!("`{program}` or its dynamic loader is not in the image")))
    })
}

/// How many lines from the end may tell why it is the end.
const LAST: usize = 10;

fn between<'a>(text: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    Some(after(text, before)?.split_once(behind)?.0)
}

fn after<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.split_once(before).map(|(_, after)| after)
}

/// The port of the first `address:port` in a text.
fn port_in(text: &str) -> Option<u16> {
    text.split_whitespace().find_map(|word| {
        let (address, port) = match word.strip_prefix('[') {
            Some(v6) => v6.split_once("]:")?,
            None => word.split_once(':')?,
        };
        address.parse::<std::net::IpAddr>().ok()?;
        let digits = port.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Health;

    /// What Engine 20.10 and 28.5 say.
    #[test]
    fn the_engines_errors_become_causes() {
        let runc = |words: &str| {
            format!(
                "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: {words}: unknown"
            )
        };
        let words = |words: &str| Cause::Words(words.to_string());
        for (error, cause) in [
            (runc(r#"exec: "serve": executable file not found in $PATH"#), words("its command `serve` is not in the image")),
            (
                runc(r#"exec: "/app/serve": stat /app/serve: no such file or directory"#),
                words("its command `/app/serve` is not in the image"),
            ),
            (
                runc(r#"exec: "/etc/passwd": permission denied"#),
                words("its command `/etc/passwd` cannot be executed: permission denied"),
            ),
            (
                runc(r#"error during container init: error mounting "/w/app.toml" to rootfs at "/etc/app.toml": mount /w/app.toml:/etc/app.toml (via /proc/self/fd/6), flags: 0x5000: not a directory"#)
                    + ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type",
                words("/w/app.toml, which is mounted at /etc/app.toml, is not a file: a missing file becomes a directory"),
            ),
            (
                r#"invalid mount config for type "bind": bind source path does not exist: /w/gone"#.to_string(),
                words("mount source /w/gone does not exist"),
            ),
            (runc("exec /serve: exec format error"), Cause::WrongArchitecture),
            (
                "write /var/lib/docker/tmp/x: no space left on device".to_string(),
                words("the engine has no space left on its disk"),
            ),
            (
                "driver failed programming external connectivity on endpoint x-web-1 (a38f): Error starting userland proxy: listen tcp4 0.0.0.0:18099: bind: address already in use".to_string(),
                Cause::PortTaken(18099),
            ),
            (
                "failed to set up container networking: driver failed programming external connectivity on endpoint x-web-1 (73bb): failed to bind host port for 0.0.0.0:18099:10.213.4.2:80/tcp: address already in use".to_string(),
                Cause::PortTaken(18099),
            ),
            ("Bind for [::]:8080 failed: port is already allocated".to_string(), Cause::PortTaken(8080)),
            (
                "unable to find user nosuch: no matching entries in passwd file".to_string(),
                words("unable to find user nosuch: no matching entries in passwd file"),
            ),
            (runc(r#"chdir to cwd ("/x") set in config.json failed: not a directory"#), words(r#"chdir to cwd ("/x") set in config.json failed: not a directory"#)),
        ] {
            assert_eq!(cause_of(&error), cause, "{error}");
        }
    }

    /// What Engine 20.10 and 28.5 say.
    #[test]
    fn a_healthcheck_that_the_image_cannot_run_is_known() {
        let probed = |command: &str, words: &str| {
            let mut finding = finding("running", 0);
            let container = finding.container.as_mut().unwrap();
            let words = format!(
                "OCI runtime exec failed: exec failed: unable to start container process: exec: \"{command}\": {words}: unknown"
            );
            container.health = Some(Health { status: "unhealthy".to_string(), failure: Some(words) });
            container.program = "/web".to_string();
            finding
        };
        let curl = probed("curl", "executable file not found in $PATH");
        assert_eq!(curl.reason(), "web is unhealthy: its healthcheck runs `curl`, which is not in the image");
        let help = "a healthcheck runs in the container, and its image has no `curl`: run a program that it has, as in \
                    `test: [\"CMD\", \"/web\", …]`";
        assert_eq!(curl.help_for_missing_probe().as_deref(), Some(help));
        let shell = probed("/bin/sh", "stat /bin/sh: no such file or directory").help_for_missing_probe().unwrap();
        assert!(shell.contains("has no `/bin/sh`, which a string `test` needs: run"), "{shell}");
        assert_eq!(finding("running", 0).help_for_missing_probe(), None);
    }

    #[test]
    fn a_container_name_that_is_taken_is_known() {
        let words = r#"Conflict. The container name "/db" is already in use by container "3f9a". You have to remove (or rename) that container to be able to reuse that name."#;
        assert_eq!(NameConflict::in_words(words), Some(NameConflict { name: "db", holder: "3f9a" }));
        assert_eq!(NameConflict::in_words("no such image"), None);
    }

    #[test]
    fn the_last_lines_of_a_log_may_tell() {
        assert_eq!(cause_in_log(b"exec /serve: exec format error\n"), Some(Cause::WrongArchitecture));
        assert!(matches!(cause_in_log(b"Error: No space left on device (os error 28)"), Some(Cause::Words(_))));
        assert!(matches!(cause_in_log(b"exec /serve: no such file or directory\n"), Some(Cause::Words(_))));
        assert_eq!(cause_in_log(b"open config.toml: no such file or directory\n"), None);
        let long_ago = format!("no space left on device\n{}", "all is well\n".repeat(LAST));
        assert_eq!(cause_in_log(long_ago.as_bytes()), None);
    }

    fn finding(state: &str, exit_code: i64) -> Finding {
        let [service, state] = ["web", state].map(str::to_string);
        Finding::of(Inspected { service, state, exit_code, ..Inspected::default() }, Standing::Failed)
    }

    #[test]
    fn a_failure_names_service_event_and_cause() {
        let with = |finding: Finding, change: fn(&mut Inspected)| {
            let mut finding = finding;
            change(finding.container.as_mut().unwrap());
            finding
        };
        let cause = |finding: Finding, cause: &str| Finding { cause: Some(cause.to_string()), ..finding };
        let sick = |it: &mut Inspected| {
            let failure = Some("cannot connect\nto db".to_string());
            it.health = Some(Health { status: "unhealthy".to_string(), failure });
        };
        let waiting = Finding { standing: Standing::Pending, ..finding("running", 0) };
        for (finding, reason) in [
            (finding("exited", 3), "web exited with 3"),
            (finding("exited", 101), "web exited with 101: a panic in Rust"),
            (with(finding("exited", 137), |it| it.out_of_memory = true), "web exited with 137: out of memory"),
            (with(finding("restarting", 3), |it| it.restarts = 5), "web exited with 3: restarted 5 times"),
            (with(finding("running", 0), |it| it.restarts = 1), "web does not stay up: restarted once"),
            (Finding { last_exit: Some(101), ..finding("running", 0) }, "web exited with 101: a panic in Rust"),
            (cause(finding("created", 127), "no such command"), "web could not be started: no such command"),
            (with(finding("running", 0), sick), "web is unhealthy: cannot connect"),
            (
                Finding {
                    crashes: Some(Crashes { times: 3, within: Some(Duration::from_millis(3100)) }),
                    ..with(finding("restarting", 101), |it| it.restarts = 3)
                },
                "web crashed 3 times in 4 s, the last time with exit code 101: a panic in Rust",
            ),
            (waiting, "web is still running"),
            (Finding::missing("web", None), "web was not created"),
            (Finding::missing("web", Some("no image".to_string())), "web was not created: no image"),
        ] {
            assert_eq!(finding.reason(), reason);
        }
    }
}
