//! The rules by which a container is ready, pending or failed, and the words for its state.
//!
//! Compose does not tell: its `up -d` says 0 for a container that has crashed, and its `--wait` passes one that crashes
//! again and again. The rules are those of `spec/dev/readiness.md`.

use std::time::Duration;

use jiff::Timestamp;

use crate::compose::Stack;
use crate::engine::Inspected;

/// How long a container has to be up without a break before it is believed to be.
pub(crate) const STEADY: Duration = Duration::from_secs(3);

/// After how many crashes in a row, with no run of [`STEADY`] among them, a container is in a loop that nothing ends.
pub(crate) const LOOP: u32 = 3;

/// What a container has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// To run, and to be healthy if its image has a healthcheck; or to do its work and exit with 0.
    Service,
    /// As [`Role::Service`]; it must also listen on its published ports if it has no healthcheck.
    Server,
    /// To be healthy, where the file gives it a healthcheck.
    Checked,
    /// To exit with 0, for which another service waits.
    OneShot,
}

/// Whether published ports count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ports {
    /// Something has to listen behind them.
    Awaited,
    /// They say nothing.
    #[default]
    Ignored,
}

/// What the containers of a service have to come to.
pub(crate) fn role(stack: &Stack, service: &str, ports: Ports) -> Role {
    match stack.services.get(service) {
        _ if stack.is_one_shot(service) => Role::OneShot,
        Some(service) if service.has_healthcheck() => Role::Checked,
        Some(service) if ports == Ports::Awaited && service.ports().iter().any(|port| port.protocol() == "tcp") => {
            Role::Server
        }
        _ => Role::Service,
    }
}

/// How a container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It is what it should be.
    Ready,
    /// It may still become that.
    Pending,
    /// It will not.
    Failed,
}

impl Standing {
    /// The word for it: `ready`, `pending` or `failed`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Standing::Ready => "ready",
            Standing::Pending => "pending",
            Standing::Failed => "failed",
        }
    }
}

/// What is known of a container beyond how it is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// Whether it has been up without a break for [`STEADY`], if it runs.
    pub is_steady: bool,
    /// How often it has crashed in a row, with no run of [`STEADY`] among them.
    pub crashes: u32,
}

impl History {
    /// As far as the engine remembers it; `now` is its time.
    pub(crate) fn of(container: &Inspected, now: Timestamp) -> History {
        let is_steady = container.uptime(now).is_some_and(|time| time >= STEADY);
        let last_run_was_short = container.last_run().is_some_and(|time| time < STEADY);
        let crashes = if container.state == "restarting" && last_run_was_short { container.restarts } else { 0 };
        History { is_steady, crashes }
    }
}

/// How a container stands.
///
/// As long as the engine will start it again, a crash is no failure: what it needs may not be there yet.
pub(crate) fn standing(container: &Inspected, role: Role, history: History) -> Standing {
    let health = container.health.as_ref().map(|health| health.status.as_str());
    let may_end = match role {
        Role::Checked => !container.has_healthcheck,
        Role::Server => false,
        Role::Service | Role::OneShot => true,
    };
    let ends_well = container.exit_code == 0 && may_end;
    match (container.state.as_str(), health, role) {
        _ if !container.error.is_empty() && container.state != "running" => Standing::Failed,
        ("running", Some("unhealthy"), _) => Standing::Failed,
        ("running", Some("healthy"), Role::Service | Role::Server | Role::Checked) => Standing::Ready,
        ("running", None, Role::Service | Role::Server | Role::Checked) if history.is_steady => Standing::Ready,
        ("running" | "restarting", ..) if history.crashes >= LOOP => Standing::Failed,
        ("exited", ..) if ends_well => Standing::Ready,
        ("exited" | "dead", ..) => Standing::Failed,
        _ => Standing::Pending,
    }
}

/// A container in a few words: its state and, where they say more, exit code and health.
pub(crate) fn summary(container: &Inspected) -> String {
    let health = container.health.as_ref().map(|health| health.status.as_str());
    match (container.state.as_str(), health) {
        ("exited" | "dead" | "restarting", _) => format!("{} ({})", container.state, container.exit_code),
        ("running", Some(health)) => format!("running ({health})"),
        (state, _) => state.to_string(),
    }
}

/// What an exit code stands for, where that is known. None for one that means what the program says.
pub(crate) fn meaning(exit_code: i64, out_of_memory: bool) -> Option<String> {
    let words = match exit_code {
        137 if out_of_memory => "out of memory",
        101 => "a panic in Rust",
        126 => "its command cannot be executed",
        127 => "its command was not found",
        134 => "aborted (SIGABRT), as Rust does at a panic with `panic = \"abort\"`",
        // The host's own want of memory ends a process without the engine's knowing why; and Engine 20.10 may hear of its own
        // too late.
        137 => "killed (SIGKILL), possibly out of memory",
        139 => "a segmentation fault (SIGSEGV)",
        143 => "ended by SIGTERM",
        _ if out_of_memory => "out of memory",
        signal @ 129..=192 => return Some(format!("ended by signal {}", signal - 128)),
        _ => return None,
    };
    Some(words.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Health;

    fn container(state: &str, exit_code: i64, health: &str) -> Inspected {
        let health = Some(health).filter(|health| !health.is_empty());
        let health = health.map(|status| Health { status: status.to_string(), failure: None });
        let has_healthcheck = health.is_some();
        Inspected { state: state.to_string(), exit_code, health, has_healthcheck, ..Inspected::default() }
    }

    #[test]
    fn the_rules_row_by_row() {
        use Role::{Checked, OneShot, Server, Service};
        use Standing::{Failed, Pending, Ready};
        for (state, code, health, role, steady, expected) in [
            ("created", 0, "", Service, false, Pending),
            ("running", 0, "", Service, false, Pending),
            ("running", 0, "", Service, true, Ready),
            ("running", 0, "starting", Service, true, Pending),
            ("running", 0, "healthy", Service, false, Ready),
            ("running", 0, "unhealthy", Service, true, Failed),
            ("paused", 0, "", Service, true, Pending),
            ("exited", 0, "", Service, false, Ready),
            ("exited", 3, "", Service, false, Failed),
            ("exited", 0, "", Server, false, Failed),
            ("running", 0, "", Server, true, Ready),
            ("exited", 0, "healthy", Service, false, Ready),
            ("exited", 0, "healthy", Checked, false, Failed),
            ("exited", 0, "starting", Checked, false, Failed),
            ("exited", 0, "", Checked, false, Ready),
            ("exited", 1, "", Checked, false, Failed),
            ("running", 0, "healthy", Checked, false, Ready),
            ("running", 0, "starting", Checked, true, Pending),
            ("restarting", 0, "", Service, false, Pending),
            ("restarting", 1, "starting", Checked, false, Pending),
            ("dead", 0, "", Service, true, Failed),
            ("running", 0, "", OneShot, true, Pending),
            ("running", 0, "healthy", OneShot, true, Pending),
            ("running", 0, "unhealthy", OneShot, true, Failed),
            ("exited", 0, "", OneShot, false, Ready),
            ("exited", 0, "healthy", OneShot, false, Ready),
            ("exited", 1, "", OneShot, false, Failed),
            ("restarting", 1, "", OneShot, false, Pending),
        ] {
            let it = container(state, code, health);
            let history = History { is_steady: steady, crashes: 0 };
            assert_eq!(standing(&it, role, history), expected, "{state} {code} {health} {role:?} {steady}");
        }
        let stillborn = Inspected { error: "no such program".to_string(), ..container("created", 127, "") };
        assert_eq!(standing(&stillborn, Service, History::default()), Failed);
    }

    #[test]
    fn a_loop_is_three_crashes_without_a_steady_run() {
        use Standing::{Failed, Pending, Ready};
        for (state, health, crashes, expected) in [
            ("restarting", "", LOOP - 1, Pending),
            ("restarting", "", LOOP, Failed),
            ("running", "", LOOP, Failed),
            ("running", "starting", LOOP, Failed),
            ("running", "healthy", LOOP, Ready),
        ] {
            let history = History { is_steady: false, crashes };
            assert_eq!(standing(&container(state, 1, health), Role::Service, history), expected, "{state} {health}");
        }
    }

    #[test]
    fn the_engine_remembers_the_last_run_and_how_often_it_has_started_a_container_again() {
        let at = |seconds: i64| Timestamp::from_second(1_000_000_000 + seconds).unwrap();
        let restarting = |restarts, ran| {
            let times = (Some(at(0)), Some(at(ran)));
            let (started_at, finished_at) = times;
            Inspected { restarts, started_at, finished_at, ..container("restarting", 1, "") }
        };
        let of = |it: &Inspected, now| History::of(it, at(now));
        assert_eq!(of(&restarting(5, 1), 2).crashes, 5);
        assert_eq!(of(&restarting(5, 60), 61).crashes, 0, "it ran well in between");
        let running = Inspected { restarts: 1, started_at: Some(at(0)), ..container("running", 0, "") };
        assert!(!of(&running, 2).is_steady && of(&running, 3).is_steady);
        assert!(!of(&Inspected { started_at: None, ..running }, 9).is_steady);
    }

    #[test]
    fn the_role_of_a_service_follows_from_the_file() {
        let json = br#"{"name": "x", "services": {
            "web": {"depends_on": {"job": {"condition": "service_completed_successfully"}}},
            "job": {"healthcheck": {"test": ["CMD", "x"]}},
            "db": {"healthcheck": {"test": ["CMD", "x"]}}, "off": {"healthcheck": {"disable": true}}}}"#;
        let stack = Stack::parse(json).unwrap();
        let roles: Vec<Role> =
            ["web", "job", "db", "off", "gone"].map(|name| role(&stack, name, Ports::Awaited)).into();
        assert_eq!(roles, [Role::Service, Role::OneShot, Role::Checked, Role::Service, Role::Service]);
        let json = br#"{"name": "x", "services": {
            "web": {"ports": [{"target": 80}]}, "dns": {"ports": [{"target": 53, "protocol": "udp"}]}}}"#;
        let stack = Stack::parse(json).unwrap();
        assert_eq!(role(&stack, "web", Ports::Awaited), Role::Server);
        assert_eq!(role(&stack, "web", Ports::Ignored), Role::Service);
        assert_eq!(role(&stack, "dns", Ports::Awaited), Role::Service);
    }

    #[test]
    fn a_summary_says_no_more_than_it_must() {
        for (state, code, health, expected) in [
            ("created", 0, "", "created"),
            ("running", 0, "", "running"),
            ("running", 0, "starting", "running (starting)"),
            ("exited", 3, "unhealthy", "exited (3)"),
            ("restarting", 1, "", "restarting (1)"),
        ] {
            assert_eq!(summary(&container(state, code, health)), expected);
        }
    }

    #[test]
    fn exit_codes_that_mean_something_everywhere_are_explained() {
        assert_eq!(meaning(137, true).as_deref(), Some("out of memory"));
        assert_eq!(meaning(137, false).as_deref(), Some("killed (SIGKILL), possibly out of memory"));
        assert_eq!(meaning(101, false).as_deref(), Some("a panic in Rust"));
        assert_eq!(meaning(136, false).as_deref(), Some("ended by signal 8"));
        for plain in [0, 1, 2, 125, 128, 255] {
            assert_eq!(meaning(plain, false), None, "{plain}");
        }
    }
}
