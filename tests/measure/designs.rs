//! Ways to end a running, attached `docker compose up` when the stack is to be taken down: raw Compose, without our
//! program, interrupted in each phase of its life.
//!
//! A good way leaves nothing behind, lets every container that was ready say farewell, and shows no crash of Compose's.
//! Of several good ones the fastest wins.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process_group};

use crate::ground::{Events, Ground, ends_within, is_ready_within, start, start_in_terminal};
use crate::support::engine::{DEADLINE, Engine};
use crate::support::run::Run;
use crate::support::stage::{stack, stubborn};
use crate::{Request, median};

/// Each with both kinds of output.
const ROUNDS: usize = 3;
/// How many services the stack has whose start takes a while.
const MANY: usize = 12;
/// How long an `up` that was not told to end may take to notice that its containers are gone.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long an `up` that was told to end may take: more than the grace of a container.
const LONG_PATIENCE: Duration = Duration::from_secs(20);
/// How long the engine may still be at work on what a killed client has asked for.
const SETTLE: Duration = Duration::from_secs(1);

/// What `up`, or the teardown, is doing when the interrupt comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Build,
    Pull,
    Create,
    Start,
    Health,
    Steady,
    Stop,
    Remove,
}

impl Phase {
    const ALL: [Phase; 8] = [
        Phase::Build,
        Phase::Pull,
        Phase::Create,
        Phase::Start,
        Phase::Health,
        Phase::Steady,
        Phase::Stop,
        Phase::Remove,
    ];

    fn name(self) -> &'static str {
        match self {
            Phase::Build => "building an image",
            Phase::Pull => "pulling an image",
            Phase::Create => "creating containers",
            Phase::Start => "starting containers",
            Phase::Health => "waiting for health",
            Phase::Steady => "everything is ready",
            Phase::Stop => "`stop` is at work",
            Phase::Remove => "`down` is at work",
        }
    }

    fn designs(self) -> &'static [Design] {
        match self {
            Phase::Stop | Phase::Remove => &[Design::KillBoth, Design::KillTeardown, Design::Beside],
            _ => &[Design::Int, Design::Term, Design::Down, Design::Stop, Design::Kill],
        }
    }
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Design {
    Int,
    Term,
    Down,
    Stop,
    Kill,
    KillBoth,
    KillTeardown,
    Beside,
}

impl Design {
    fn name(self) -> &'static str {
        match self {
            Design::Int => "SIGINT to `up`, then `down`",
            Design::Term => "SIGTERM to `up`, then `down`",
            Design::Down => "`down`",
            Design::Stop => "`stop`, then `down`",
            Design::Kill => "SIGKILL to `up`, then `down`",
            Design::KillBoth => "SIGKILL to `up` and to the teardown, then `down --timeout 0`",
            Design::KillTeardown => "SIGKILL to the teardown, then `down --timeout 0`",
            Design::Beside => "`down --timeout 0` beside both",
        }
    }
}

/// What `up` prints to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Terminal,
    Pipes,
}

/// How one round went.
struct Trial {
    clean: bool,
    /// A network that the engine has lost track of; not counted against `clean`.
    lost: bool,
    /// None if no service was ready when the interrupt came.
    graceful: Option<bool>,
    panicked: bool,
    /// `up` had to be killed because it did not end.
    hung: bool,
    /// Something had appeared, or was still there, when a second look was taken.
    late: bool,
    seconds: f64,
}

struct Row {
    phase: Phase,
    design: Design,
    output: Output,
    trials: Vec<Trial>,
}

pub fn measure(request: &Request) {
    for engine in &request.engines {
        let rows = measure_on(engine, request.rounds.unwrap_or(ROUNDS));
        let engine_version = engine.ask(&["version", "--format", "{{.Server.Version}}"]);
        let compose_version = engine.ask(&["compose", "version", "--short"]);
        println!("{}: Engine {engine_version}, Compose {compose_version}\n\n{}", engine.name, table(&rows));
    }
}

fn measure_on(engine: &'static Engine, rounds: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for phase in Phase::ALL {
        for &design in phase.designs() {
            rows.extend([Output::Terminal, Output::Pipes].map(|output| Row { phase, design, output, trials: vec![] }));
        }
    }
    // All designs take turns, so that a busy minute of the machine hits them all.
    for round in 1..=rounds {
        let mut grounds = Vec::new();
        for row in &mut rows {
            let ground = Ground::new(engine);
            let what = format!(
                "{} {round}/{rounds}, {}, {}, {:?}",
                engine.name,
                row.phase.name(),
                row.design.name(),
                row.output
            );
            let trial = catch_unwind(AssertUnwindSafe(|| play(&ground, row.phase, row.design, row.output)));
            let trial = trial.unwrap_or(Trial::FAILED);
            eprintln!("{what}: {}", trial.summary());
            row.trials.push(trial);
            grounds.push(ground);
        }
        // What the engine was still at work on has come to light by now.
        for (row, ground) in rows.iter_mut().zip(grounds) {
            let left = engine.left(&ground.project);
            if let Some(trial) = row.trials.last_mut().filter(|trial| trial.clean && !left.is_empty()) {
                eprintln!(
                    "{} {round}/{rounds}, {}, {}: appeared later: {left:?}",
                    engine.name,
                    row.phase.name(),
                    row.design.name()
                );
                trial.clean = false;
            }
        }
    }
    rows
}

/// One round, from nothing to nothing.
fn play(ground: &Ground, phase: Phase, design: Design, output: Output) -> Trial {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    ground.write_compose_file(&compose_file(ground, phase, &listener));
    let events = ground.events();
    let up = start_up(ground, output);
    let teardown = wait_for_phase(ground, phase, &up, &events, &listener);

    let ready = ground.trace("ready");
    let interrupted = Instant::now();
    let mut scene = Scene { ground, screen: String::new(), hung: false, late: false };
    scene.end(design, up, teardown);
    let seconds = interrupted.elapsed().as_secs_f64();

    let (lost, left): (Vec<_>, Vec<_>) =
        ground.engine.remains(&ground.project).into_iter().partition(|thing| ground.engine.has_lost(thing));
    if !left.is_empty() {
        eprintln!("left behind: {left:?}");
    }
    let farewells = ground.trace("farewell");
    Trial {
        clean: left.is_empty(),
        lost: !lost.is_empty(),
        graceful: (!ready.is_empty()).then(|| ready.is_subset(&farewells)),
        panicked: ["panic:", "goroutine "].iter().any(|words| scene.screen.contains(words)),
        hung: scene.hung,
        late: scene.late,
        seconds,
    }
}

/// A stack that stays in this phase long enough to be interrupted there.
fn compose_file(ground: &Ground, phase: Phase, listener: &TcpListener) -> String {
    let web = || ground.witness("web", &[]);
    match phase {
        Phase::Build => {
            // The project's name makes the step new to the engine's cache.
            let step = format!("RUN echo at step $$((6 * 7)) of {}; sleep 3", ground.project);
            let build = format!("build:\n      dockerfile_inline: |\n        FROM stagecraft-test\n        {step}");
            stack(&[format!("  slow:\n    {build}\n    command: [sleep, '1000']\n"), web()])
        }
        Phase::Pull => {
            // Docker speaks to a registry on the loopback interface without being told to. This one never answers.
            let port = listener.local_addr().expect("a port").port();
            stack(&[format!("  slow:\n    image: 127.0.0.1:{port}/nothing\n"), web()])
        }
        Phase::Create | Phase::Start => {
            let services: Vec<String> = (1..=MANY).map(|n| ground.witness(&format!("s{n:02}"), &[])).collect();
            stack(&services)
        }
        Phase::Health => {
            let never = ["healthcheck: {test: [CMD, 'false'], interval: 1s, retries: 1000}"];
            let db = ground.witness("db", &never);
            stack(&[db, ground.witness("web", &["depends_on: {db: {condition: service_healthy}}"])])
        }
        Phase::Steady => stack(&[web(), ground.witness("db", &[]), ground.witness("cache", &[])]),
        Phase::Stop | Phase::Remove => stack(&[web(), ground.witness("db", &[]), stubborn("stubborn")]),
    }
}

fn start_up(ground: &Ground, output: Output) -> Run {
    match output {
        Output::Pipes => start(ground.compose(&["up"])),
        Output::Terminal => {
            // Only stdin is not the terminal.
            let mut up = ground.command("sh", &["-c", "exec \"$@\" < /dev/null", "sh", "docker"]);
            up.args(ground.compose(&["up"]).get_args().collect::<Vec<_>>());
            start_in_terminal(up)
        }
    }
}

/// Blocks until it is time for the interrupt. Returns the teardown that is running then, if that is what is interrupted.
fn wait_for_phase(ground: &Ground, phase: Phase, up: &Run, events: &Events, listener: &TcpListener) -> Option<Run> {
    let wait_until_up = |services: &[&str]| {
        events.wait_for("start", services.len());
        for name in services {
            up.wait_for(&format!("{name} is ready"));
        }
    };
    match phase {
        Phase::Build => up.wait_for("at step 42"),
        Phase::Pull => assert!(is_ready_within(listener, DEADLINE), "nobody asks the registry"),
        Phase::Create => events.wait_for("create", 1),
        Phase::Start => events.wait_for("start", 3),
        Phase::Health => events.wait_for("exec_die", 1),
        Phase::Steady => wait_until_up(&["web", "db", "cache"]),
        Phase::Stop => {
            wait_until_up(&["web", "db", "stubborn"]);
            let stop = start(ground.compose(&["stop"]));
            events.wait_for("die", 1);
            return Some(stop);
        }
        Phase::Remove => {
            wait_until_up(&["web", "db", "stubborn"]);
            let down = start(ground.compose(&["down"]));
            events.wait_for("destroy", 1);
            return Some(down);
        }
    }
    None
}

/// A design at work.
struct Scene<'a> {
    ground: &'a Ground,
    screen: String,
    hung: bool,
    late: bool,
}

impl Scene<'_> {
    fn end(&mut self, design: Design, up: Run, teardown: Option<Run>) {
        match design {
            Design::Int | Design::Term => {
                signal(&up, if design == Design::Int { Signal::INT } else { Signal::TERM });
                self.wait_for(up, LONG_PATIENCE);
                self.compose(&["down"]);
            }
            Design::Down => {
                self.compose(&["down"]);
                self.wait_for(up, PATIENCE);
            }
            Design::Stop => {
                self.compose(&["stop"]);
                self.wait_for(up, PATIENCE);
                self.compose(&["down"]);
            }
            Design::Kill => {
                signal(&up, Signal::KILL);
                self.wait_for(up, PATIENCE);
                self.compose(&["down"]);
            }
            Design::KillBoth | Design::KillTeardown | Design::Beside => {
                let teardown = teardown.expect("a running teardown");
                if design == Design::KillBoth {
                    signal(&up, Signal::KILL);
                }
                if design != Design::Beside {
                    signal(&teardown, Signal::KILL);
                }
                self.compose(&["down", "--timeout", "0"]);
                self.wait_for(teardown, PATIENCE);
                self.wait_for(up, PATIENCE);
            }
        }
        match design {
            Design::KillBoth | Design::KillTeardown => self.look_again(&["down", "--timeout", "0"]),
            _ if self.hung || design == Design::Kill => self.look_again(&["down"]),
            _ => {}
        }
    }

    fn compose(&mut self, args: &[&str]) {
        self.read(start(self.ground.compose(args)));
    }

    /// Waits for the end of something; kills it if that does not come.
    fn wait_for(&mut self, run: Run, patience: Duration) {
        if !ends_within(run.pid(), patience) {
            signal(&run, Signal::KILL);
            self.hung = true;
        }
        self.read(run);
    }

    fn read(&mut self, run: Run) {
        self.screen.push_str(&run.end_whatever_compose_says().all);
    }

    /// The engine may have been at work for a client that was killed.
    fn look_again(&mut self, down: &[&str]) {
        thread::sleep(SETTLE);
        if !self.ground.engine.remains(&self.ground.project).is_empty() {
            self.late = true;
            self.compose(down);
        }
    }
}

/// Signals the whole process group that a command leads.
fn signal(run: &Run, signal: Signal) {
    // It may have ended already.
    let _ = kill_process_group(run.pid(), signal);
}

impl Trial {
    /// The measurement itself came to nothing; why has been said.
    const FAILED: Trial = Trial {
        clean: false,
        lost: false,
        graceful: None,
        panicked: false,
        hung: true,
        late: false,
        seconds: DEADLINE.as_secs_f64(),
    };

    fn summary(&self) -> String {
        let remarks = [
            (!self.clean, "not clean"),
            (self.lost, "network lost by the engine"),
            (self.graceful == Some(false), "not graceful"),
            (self.panicked, "panic"),
            (self.hung, "had to be killed"),
            (self.late, "second look found something"),
        ];
        let remarks = remarks.iter().filter(|(applies, _)| *applies).map(|(_, remark)| format!(", {remark}"));
        format!("{:.2} s{}", self.seconds, remarks.collect::<String>())
    }
}

fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| interrupted while | design | output | clean | graceful | panics | had to be killed | second look found | lost by the engine | median s |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for both in rows.chunks(2) {
        let [terminal, pipes] = both else { unreachable!("rows come in twos") };
        let trials = [&terminal.trials[..], &pipes.trials[..]];
        let lines = if counts(trials[0].iter()) == counts(trials[1].iter()) {
            vec![("both", trials[0].iter().chain(trials[1]).collect::<Vec<_>>())]
        } else {
            vec![("terminal", trials[0].iter().collect()), ("pipes", trials[1].iter().collect())]
        };
        for (output, trials) in lines {
            let counts = counts(trials.iter().copied()).join(" | ");
            let seconds = median(trials.iter().map(|trial| trial.seconds));
            let (phase, design) = (terminal.phase.name(), terminal.design.name());
            let _ = writeln!(table, "| {phase} | {design} | {output} | {counts} | {seconds:.1} |");
        }
    }
    table
}

/// How many of the rounds went which way, a cell each.
fn counts<'a>(trials: impl Iterator<Item = &'a Trial> + Clone) -> Vec<String> {
    let count = |of: &dyn Fn(&Trial) -> Option<bool>| {
        let known: Vec<bool> = trials.clone().filter_map(of).collect();
        let yes = known.iter().filter(|yes| **yes).count();
        if known.is_empty() { "–".to_string() } else { format!("{yes}/{}", known.len()) }
    };
    vec![
        count(&|trial| Some(trial.clean)),
        count(&|trial| trial.graceful),
        count(&|trial| Some(trial.panicked)),
        count(&|trial| Some(trial.hung)),
        count(&|trial| Some(trial.late)),
        count(&|trial| Some(trial.lost)),
    ]
}
