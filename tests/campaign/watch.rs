//! What happens to a stack, as the engine tells it, and which phase of its life that makes.

use std::collections::BTreeSet;
use std::fmt;
use std::io::BufRead;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::api::{Api, Listening};
use crate::plan::{Kind, Plan, Scene, Service};

/// Where a stack was when the fault struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The tool has started nothing yet.
    Before,
    Build,
    Pull,
    Create,
    Start,
    /// A service waits for another one to be healthy or done.
    Wait,
    Steady,
    Stop,
    Remove,
    /// The command had ended before, perhaps after a first press.
    Over,
}

#[derive(Clone, Debug)]
pub struct Event {
    /// By the engine's clock, which is ours.
    pub at: SystemTime,
    /// `create`, `start`, `die`, `destroy`, …, `network create`.
    pub action: String,
    pub service: String,
    detail: String,
}

/// Listens to the engine while it exists.
pub struct Watch {
    shared: Arc<Shared>,
    _listening: [Listening; 2],
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    events: Vec<Event>,
    /// The anonymous volumes of the containers that were created.
    anonymous: BTreeSet<String>,
    over: bool,
}

impl Watch {
    pub fn new(api: &Api, project: &str) -> Watch {
        let shared = Arc::new(Shared::default());
        let (containers, about_containers) = api.events_of_containers(project);
        let (network, about_network) = api.events_of_network(project);
        shared.clone().listen(about_containers, api);
        shared.clone().listen(about_network, api);
        Watch { shared, _listening: [containers, network] }
    }

    /// A word from elsewhere that there is nothing more to wait for.
    pub fn over(&self) -> impl FnOnce() + Send + use<> {
        let shared = self.shared.clone();
        move || {
            shared.lock().over = true;
            shared.changed.notify_all();
        }
    }

    /// Blocks until `done` is true of the events so far. False if that does not happen in time, or if it is over before.
    pub fn wait(&self, time: Duration, done: impl Fn(&[Event]) -> bool) -> bool {
        let deadline = Instant::now() + time;
        let mut state = self.shared.lock();
        loop {
            if done(&state.events) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.over || left.is_zero() {
                return false;
            }
            (state, _) = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The anonymous volumes that the containers of the stack have had. Each was asked for when it was created.
    pub fn anonymous_volumes(&self) -> BTreeSet<String> {
        self.shared.lock().anonymous.clone()
    }

    pub fn events(&self) -> Vec<Event> {
        self.shared.lock().events.clone()
    }
}

impl Shared {
    fn listen(self: Arc<Self>, lines: impl BufRead + Send + 'static, api: &Api) {
        let api = api.clone();
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
                self.lock().events.extend(Event::read(&value));
                self.changed.notify_all();
                if value["Type"] == "container" && value["Action"] == "create" {
                    let volumes = api.anonymous_volumes_of(value["Actor"]["ID"].as_str().unwrap_or_default());
                    self.lock().anonymous.extend(volumes);
                }
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Event {
    /// None if it is of no interest: health checks make three events a second.
    fn read(value: &Value) -> Option<Event> {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let action = word(&value["Action"]);
        let at = UNIX_EPOCH + Duration::from_nanos(value["timeNano"].as_u64()?);
        if value["Type"] == "network" {
            let is_of_interest = ["create", "destroy"].contains(&&*action);
            let action = format!("network {action}");
            return is_of_interest.then(|| Event { at, action, service: String::new(), detail: String::new() });
        }
        let is_of_interest =
            ["create", "start", "kill", "die", "destroy"].contains(&&*action) || action.starts_with("health_status");
        let about = &value["Actor"]["Attributes"];
        let detail = [word(&about["signal"]), word(&about["exitCode"])].concat();
        is_of_interest.then(|| Event { at, action, service: word(&about["com.docker.compose.service"]), detail })
    }

    /// Whether it is about the beginning or the end of a container.
    pub fn is_step(&self) -> bool {
        ["create", "start"].contains(&self.action.as_str()) || self.is_of_teardown()
    }

    pub fn is_of_teardown(&self) -> bool {
        ["kill", "die", "destroy"].contains(&self.action.as_str())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.action, self.service, self.detail)
    }
}

/// Whether every service of the stack has started.
pub fn is_steady(plan: &Plan, events: &[Event]) -> bool {
    plan.active().all(|service| has(events, "start", service))
}

fn has(events: &[Event], action: &str, service: &Service) -> bool {
    events.iter().any(|event| event.action == action && event.service == service.name)
}

impl Phase {
    /// The phase at a moment, from what the engine has told of until then (later events are left out), whether the tool had
    /// said what it is about to do, and whether an interrupt had been sent before.
    pub fn at(moment: SystemTime, plan: &Plan, events: &[Event], has_begun: bool, is_ending: bool) -> Phase {
        let events: Vec<Event> = events.iter().filter(|event| event.at <= moment).cloned().collect();
        let events = &events[..];
        if !has_begun {
            return Phase::Before;
        }
        if is_ending || plan.scene == Scene::Down {
            let removed = events.iter().any(|event| event.action == "destroy");
            return if removed { Phase::Remove } else { Phase::Stop };
        }
        let none_created = !events.iter().any(|event| event.action == "create");
        if none_created && plan.active().any(|service| service.kind == Kind::Unpullable) {
            return Phase::Pull;
        }
        if none_created && plan.active().any(|service| service.kind == Kind::Built) {
            return Phase::Build;
        }
        if !plan.active().all(|service| has(events, "create", service)) {
            return Phase::Create;
        }
        let mut open = plan.active().filter(|service| !has(events, "start", service)).peekable();
        if open.peek().is_none() {
            return Phase::Steady;
        }
        let waits = |service: &Service| {
            let Some(first) = service.after.map(|index| &plan.services[index]) else { return false };
            has(events, "start", first)
                && match first.kind {
                    Kind::OneShot => !has(events, "die", first),
                    Kind::Healthy => !has(events, "health_status: healthy", first),
                    _ => false,
                }
        };
        if open.any(waits) { Phase::Wait } else { Phase::Start }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Before => "before",
            Phase::Build => "build",
            Phase::Pull => "pull",
            Phase::Create => "create",
            Phase::Start => "start",
            Phase::Wait => "wait",
            Phase::Steady => "steady",
            Phase::Stop => "stop",
            Phase::Remove => "remove",
            Phase::Over => "over",
        })
    }
}
