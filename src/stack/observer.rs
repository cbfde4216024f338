//! Follows the engine's events during a start and reports when everything has started and when it is ready, which `up` does not
//! tell.

use std::collections::BTreeSet;
use std::io;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::expected::Expected;
use super::tracker::{Consequence, Overall, ServiceStanding, StartPhase, Tracker};
use crate::command::{Commander, Executor, Invocation, OnLine, Running};
use crate::compose::ProjectName;
use jiff::Timestamp;

use crate::engine::{self, Container, ContainerEvent, Endpoint, Inspected, Past};
use crate::stack::listening::deaf_ports;

/// What there is to tell of a start.
pub(crate) enum Observation {
    /// Every expected container has started, or there are no more events.
    Started(Option<(Vec<Container>, Endpoint)>),
    /// A container has ended by itself, and the engine starts it again.
    Crashed(Crash),
    /// The state of the services, after each change; while `up` runs, only of services with events.
    Progress(Vec<ServiceStanding>, StartPhase),
    /// What the wait for it has come to.
    Settled(Settled),
    /// Whether no container is running any more; false if there are no more events.
    Over(bool),
}

/// The end of a container that the engine starts again.
pub(crate) struct Crash {
    pub(crate) service: String,
    pub(crate) container: String,
    pub(crate) exit_code: i64,
    pub(crate) out_of_memory: bool,
    /// The last line that it has printed.
    pub(crate) last_line: String,
}

/// What a wait has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Every service is what it should be.
    Ready,
    /// Some service will not become that.
    Failed,
    /// The time was over before.
    Late,
}

/// What to wait for beyond the start, and for how long.
pub(crate) struct Wait {
    pub(crate) tracker: Tracker,
    /// Counted from the first container that is started, or from the end of `up -d`.
    pub(crate) timeout: Duration,
}

/// Listens to the engine. Ended when it is dropped.
pub(crate) struct Observer {
    listening: Box<dyn Running>,
    tell: Sender<Heard>,
}

enum Heard {
    Happened(ContainerEvent),
    /// `up -d` has ended with success.
    UpIsOver,
    /// There are no more events.
    Silence,
    /// Nobody wants to know any more.
    Enough,
}

/// Tells the thread that listens when the last line has come.
struct LastLine(Sender<Heard>);

impl Drop for LastLine {
    fn drop(&mut self) {
        let _ = self.0.send(Heard::Silence);
    }
}

impl Observer {
    /// Calls `tell` from another thread with [`Observation::Started`], once, when an attached `up` has started everything: by events
    /// `since` a time of the engine's, if one is given.
    /// With `wait` then with [`Observation::Progress`] and once with [`Observation::Settled`].
    ///
    /// The listener is in the process group of `up`, so that it ends with `up`.
    ///
    /// # Errors
    /// If docker cannot be started; then there are no events.
    pub(crate) fn attached(
        commander: &Commander,
        project: &ProjectName,
        up: u32,
        since: Option<Timestamp>,
        expected: Expected,
        wait: Option<Wait>,
        tell: impl Fn(Observation) + Send + 'static,
    ) -> io::Result<Observer> {
        // `up` is at work already.
        let past = since.map_or(Past::Told, Past::Since);
        let question = engine::container_events(project, past).beside(up);
        let (own, project) = (commander.clone(), project.clone());
        Observer::listen(commander, &question, move |hears| {
            let follower = Follower { commander: own, project, hears, tell };
            let Some(started) = follower.until_started(&expected) else { return };
            let go_on = started.is_some();
            let endpoint = || Endpoint::current(&follower.commander);
            (follower.tell)(Observation::Started(started.map(|containers| (containers, endpoint()))));
            if let Some(wait) = wait
                && go_on
            {
                follower.until_settled(wait, StartPhase::Over);
            }
        })
    }

    /// Calls `tell` from another thread with [`Observation::Progress`] and, once, with [`Observation::Settled`], while and after
    /// `up -d` runs. Call it before `up -d` starts, so that the result of an earlier start is not taken for that of this one.
    ///
    /// # Errors
    /// If docker cannot be started; then there are no events.
    pub(crate) fn detached(
        commander: &Commander,
        project: &ProjectName,
        wait: Wait,
        tell: impl Fn(Observation) + Send + 'static,
    ) -> io::Result<Observer> {
        let question = engine::container_events(project, Past::Untold);
        let (own, project) = (commander.clone(), project.clone());
        Observer::listen(commander, &question, move |hears| {
            Follower { commander: own, project, hears, tell }.until_settled(wait, StartPhase::UnderWay);
        })
    }

    /// Calls `tell` from another thread with [`Observation::Over`], once, when no container that `is_ours` runs any more.
    ///
    /// # Errors
    /// If docker cannot be started; `tell` is not called then.
    pub(crate) fn until_over(
        commander: &Commander,
        project: &ProjectName,
        is_ours: impl Fn(&Inspected) -> bool + Send + 'static,
        tell: impl Fn(Observation) + Send + 'static,
    ) -> io::Result<Observer> {
        // With past events, so that a container that ends before the question arrives is not missed.
        let question = engine::container_events(project, Past::Told);
        let (own, project) = (commander.clone(), project.clone());
        Observer::listen(commander, &question, move |hears| {
            Follower { commander: own, project, hears, tell }.until_over(is_ours);
        })
    }

    fn listen(
        commander: &Commander,
        question: &Invocation,
        follow: impl FnOnce(Receiver<Heard>) + Send + 'static,
    ) -> io::Result<Observer> {
        let (tell, hears) = mpsc::channel();
        let last_line = LastLine(tell.clone());
        let on_line: OnLine = Box::new(move |line| {
            if let Some(event) = ContainerEvent::parse(line) {
                // Nobody listens any more when it is over.
                let _ = last_line.0.send(Heard::Happened(event));
            }
        });
        let listening = commander.listen(question, on_line)?;
        thread::spawn(move || follow(hears));
        Ok(Observer { listening, tell })
    }

    /// The process that listens.
    pub(crate) fn id(&self) -> u32 {
        self.listening.id()
    }

    /// From now on what is missing is missing.
    pub(crate) fn up_is_over(&self) {
        let _ = self.tell.send(Heard::UpIsOver);
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let _ = self.tell.send(Heard::Enough);
        self.listening.cut_off();
        // Reaped, so that it does not stay a zombie for as long as we live.
        let _ = self.listening.wait();
    }
}

/// Looks whether something listens at the published ports of containers that nothing else tells about. The engine tells of no such
/// thing, so it is looked again and again, ever more seldom, as long as somebody waits for it.
#[derive(Default)]
struct Ears {
    /// When to look again; none if nothing is waited for.
    next: Option<Instant>,
    pause: Duration,
    /// Whether the engine is on this host, once that is known.
    is_local: Option<bool>,
}

impl Ears {
    const SHORTEST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(1);

    fn listen(&mut self, executor: &dyn Executor, tracker: &mut Tracker) {
        let containers = tracker.to_be_heard();
        if containers.is_empty() {
            (self.next, self.pause) = (None, Self::SHORTEST);
            return;
        }
        if self.next.is_some_and(|next| Instant::now() < next) {
            return;
        }
        // The ports of another host may be behind anything.
        let is_local = *self.is_local.get_or_insert_with(|| Endpoint::current(executor).is_local());
        for container in containers {
            let deaf = if is_local { deaf_ports(&container) } else { Vec::new() };
            tracker.heard(&container.id, deaf);
        }
        self.pause = (self.pause * 3 / 2).clamp(Self::SHORTEST, Self::LONGEST);
        self.next = (!tracker.to_be_heard().is_empty()).then_some(Instant::now() + self.pause);
    }
}

struct Follower<T> {
    commander: Commander,
    project: ProjectName,
    hears: Receiver<Heard>,
    tell: T,
}

impl<T: Fn(Observation)> Follower<T> {
    /// The containers when all have been started; none of them when the engine tells no more. None when nobody wants to
    /// know.
    fn until_started(&self, expected: &Expected) -> Option<Option<Vec<Container>>> {
        loop {
            match self.hears.recv() {
                // `up` attaches to its containers once all are created, and then starts them; of a stack that runs
                // already, only the first event is needed.
                Ok(Heard::Happened(event)) if ["attach", "start"].contains(&event.action.as_str()) => {
                    // Several at once are one reason to look.
                    while let Ok(heard) = self.hears.try_recv() {
                        if let Heard::Enough = heard {
                            return None;
                        }
                    }
                    match engine::containers(&self.commander, &self.project) {
                        Ok(containers) if expected.have_started(&containers) => return Some(Some(containers)),
                        _ => {}
                    }
                }
                Ok(Heard::Happened(_) | Heard::UpIsOver) => {}
                Ok(Heard::Silence) => return Some(None),
                Ok(Heard::Enough) | Err(_) => return None,
            }
        }
    }

    fn until_over(&self, is_ours: impl Fn(&Inspected) -> bool) {
        let none_is_up = || {
            // Not from the list: Engine 20.10 sends the event of an end before the list shows it.
            let containers = engine::inspect(&self.commander, &self.project, &BTreeSet::new());
            containers.is_ok_and(|all| !all.iter().any(|it| is_ours(it) && it.is_up()))
        };
        loop {
            match self.hears.recv() {
                Ok(Heard::Happened(event)) if ["die", "destroy"].contains(&event.action.as_str()) => {
                    if none_is_up() {
                        return (self.tell)(Observation::Over(true));
                    }
                }
                Ok(Heard::Happened(_) | Heard::UpIsOver) => {}
                Ok(Heard::Silence) => return (self.tell)(Observation::Over(none_is_up())),
                Ok(Heard::Enough) | Err(_) => return,
            }
        }
    }

    fn until_settled(&self, wait: Wait, mut start: StartPhase) {
        let Wait { mut tracker, timeout } = wait;
        let mut deadline = None;
        let mut said = Vec::new();
        let mut is_told = true;
        let mut ears = Ears::default();
        if start == StartPhase::Over {
            deadline = Some(Instant::now() + timeout);
            self.look(&mut tracker);
        }
        loop {
            if start == StartPhase::Over {
                ears.listen(&self.commander, &mut tracker);
            }
            let now = Instant::now();
            let services = tracker.services(start, now);
            if services != said {
                said = services.clone();
                (self.tell)(Observation::Progress(services, start));
            }
            if tracker.overall(start, now) == Overall::Ready && is_told && tracker.believes_in_silence() {
                // The engine's word of an end may be on its way.
                self.look(&mut tracker);
            }
            let change = match tracker.overall(start, now) {
                Overall::Ready => return (self.tell)(Observation::Settled(Settled::Ready)),
                Overall::Failed => return (self.tell)(Observation::Settled(Settled::Failed)),
                Overall::Pending(_) if deadline.is_some_and(|deadline| now >= deadline) => {
                    return (self.tell)(Observation::Settled(Settled::Late));
                }
                // No one receives the change.
                Overall::Pending(_) if start == StartPhase::Over && !is_told => {
                    return (self.tell)(Observation::Settled(Settled::Failed));
                }
                Overall::Pending(change) => change,
            };
            match self.next(change.into_iter().chain(deadline).chain(ears.next).min()) {
                Some(Heard::Happened(event)) => match tracker.happened(&event, Instant::now()) {
                    Consequence::None => {}
                    Consequence::Started => drop(deadline.get_or_insert(Instant::now() + timeout)),
                    Consequence::Ask => self.look_at(&mut tracker, &event),
                },
                Some(Heard::UpIsOver) => {
                    start = StartPhase::Over;
                    deadline.get_or_insert(Instant::now() + timeout);
                    self.look(&mut tracker);
                    // To be told once more, whether it has changed or not: now it counts.
                    said.clear();
                }
                // What it can still be asked is its last word.
                Some(Heard::Silence) => {
                    is_told = false;
                    self.look(&mut tracker);
                }
                Some(Heard::Enough) => return,
                None => {}
            }
        }
    }

    /// The next event; None if there is none until then.
    fn next(&self, until: Option<Instant>) -> Option<Heard> {
        match until {
            // The receiver is gone with the observer.
            None => Some(self.hears.recv().unwrap_or(Heard::Enough)),
            Some(until) => match self.hears.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(heard) => Some(heard),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Heard::Enough),
            },
        }
    }

    /// Asks the engine whether it restarts a container whose process has ended, and reports it if so.
    fn look_at(&self, tracker: &mut Tracker, event: &ContainerEvent) {
        let Some(container) = engine::inspect_one(&self.commander, &event.id) else { return };
        let Inspected { name, service, out_of_memory, .. } = container.clone();
        if tracker.saw_one(container, Instant::now()) {
            let log = engine::last_words(&self.commander, &name, 1);
            let last_line = String::from_utf8_lossy(&log).trim().to_string();
            let exit_code = event.exit_code.parse().unwrap_or_default();
            (self.tell)(Observation::Crashed(Crash { service, container: name, exit_code, out_of_memory, last_line }));
        }
    }

    /// Asks the engine for the final state. If it does not answer, the events so far are used.
    fn look(&self, tracker: &mut Tracker) {
        let executor = &self.commander;
        let (all, time) = thread::scope(|scope| {
            // Its clock shows how long an earlier container has been running.
            let time = tracker.asks_for_the_time().then(|| scope.spawn(|| engine::now(executor)));
            let all = engine::inspect(executor, &self.project, &BTreeSet::new());
            (all, time.map(|time| time.join().unwrap_or_else(|panic| resume_unwind(panic))))
        });
        if let Ok(all) = all {
            tracker.saw(all, time.and_then(Result::ok), Instant::now());
        }
    }
}
