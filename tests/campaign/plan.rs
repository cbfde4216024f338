//! From a seed to a trial: a stack, a fault and the moment at which it strikes. Nothing happens in here, so the same seed
//! always makes the same plan; only what the plan meets on the engine differs from run to run.

mod tables;

use std::fmt::{self, Write};
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;

/// What a build of the campaign runs, by which its traces in the build cache are found again.
pub const BUILD_STEP: &str = "sleep 1 # campaign";

/// Everything that is random about a trial.
#[derive(Debug)]
pub struct Plan {
    pub scene: Scene,
    pub services: Vec<Service>,
    /// Whether it runs in a terminal of its own.
    pub terminal: bool,
    pub moment: Moment,
    pub fault: Fault,
    /// The time before the second press and each one after it.
    pub gaps: Vec<Duration>,
    /// What has to clean up if the fault was one that may leave something.
    pub remedy: Remedy,
    /// How far a remedy is let go before it is interrupted, and how long a run goes on after a fault that ended nothing.
    pub patience: Duration,
    /// Whether nobody reads what the run prints, from the first strike to its end.
    pub unread: bool,
    /// How soon it is interrupted where the fault makes it begin a teardown by itself.
    pub press_after: Option<Duration>,
    /// Whether the engine that the run talks to stops answering when the fault strikes.
    pub silent: bool,
    /// Whether another checkout whose folder has the same name runs `dev down` when the fault strikes.
    pub namesake: bool,
    /// Whether the run has the umask 077.
    pub strict: bool,
    /// Whether Cargo.toml describes the stack, with a crate that is built when the other services are ready.
    pub builds_a_crate: bool,
    /// Whether changes of the files are applied while it runs; what is changed, and how long after the change before.
    pub edits: Vec<(Duration, Edit)>,
    /// Whether the stack is started for a command, which runs until it is ended.
    pub runs_a_command: bool,
}

/// A change of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Of the program, which is another one then.
    Program,
    /// Of the program, which does not compile any more.
    Broken,
    /// Of the table that describes the crate's service.
    Table,
}

/// The command that the fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    Foreground,
    Detach,
    /// A detached start that waits until everything is ready.
    Wait,
    /// `dev down` of a stack that `dev --detach` has started.
    Down,
}

#[derive(Debug)]
pub struct Service {
    pub name: String,
    pub kind: Kind,
    /// The service that has to be there first.
    pub after: Option<usize>,
    /// Whether it has the stack's named volume.
    pub volume: bool,
    /// Whether it has an anonymous volume.
    pub anonymous: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Says farewell on SIGTERM and ends.
    Quick,
    /// As `Quick`, after this many tenths of a second.
    Slow(u32),
    /// Ignores SIGTERM for a grace of this many seconds.
    Stubborn(u32),
    /// As `Quick`, and healthy a moment after the start.
    Healthy,
    /// As `Quick`, from an image that has to be built first.
    Built,
    /// Does something and exits with 0.
    OneShot,
    /// Behind a profile that nobody asks for.
    Profile,
    /// Of an image that a registry never hands out.
    Unpullable,
}

/// What is done to the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub target: Target,
    /// What is sent; Ctrl+C sends SIGINT, a closed terminal SIGHUP.
    pub signal: Signal,
    pub presses: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The process itself.
    Tool,
    /// Its process group, as a shell, timeout(1) and CI runners do.
    Group,
    /// Ctrl+C, typed in its terminal.
    Keyboard,
    /// Its terminal's window, closed.
    Terminal,
    /// The `docker` that it has started: `up`, or in a teardown `stop` or `down`.
    Docker,
    /// The plugin that this `docker` has started.
    Plugin,
    Guard,
    ToolAndGuard,
}

/// When the fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// This long after the start of the process.
    After(Duration),
    /// This long after the command has said that it begins.
    Begun(Duration),
    /// This long after the nth event of the engine about the stack.
    Event(usize, Duration),
    /// This long after everything has started.
    Steady(Duration),
    /// After an interrupt in the steady state: this long after the nth event of the teardown.
    Teardown(usize, Duration),
}

/// What has to clean up after the tool and its guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    Down,
    DetachAndDown,
    ForegroundAndInterrupt,
}

impl Plan {
    pub fn new(seed: u64) -> Plan {
        let mut rng = Rng::with_seed(seed);
        let scene =
            weighted(&mut rng, &[(75, Scene::Foreground), (8, Scene::Detach), (8, Scene::Wait), (9, Scene::Down)]);
        let mut fault = fault(&mut rng, scene);
        let mut services = services(&mut rng, scene, fault);
        // `dev down` needs something to take down.
        if scene != Scene::Down && rng.f32() < 0.03 {
            services.truncate(3);
            let (name, kind) = ("nowhere".to_string(), Kind::Unpullable);
            services.push(Service { name, kind, after: None, volume: false, anonymous: false });
        }
        let moment = moment(&mut rng, scene, fault, &services);
        if matches!(moment, Moment::Teardown(..)) && fault.is_press() {
            // The first press begins the teardown, the others strike in it.
            fault.presses = fault.presses.max(2);
        }
        let is_typed = matches!(fault.target, Target::Keyboard | Target::Terminal);
        let mut plan = Plan {
            scene,
            terminal: is_typed || rng.f32() < 0.3,
            moment,
            gaps: (0..fault.presses).map(|_| millis(&mut rng, 120..2000)).collect(),
            remedy: match weighted(&mut rng, &[(2, 0), (1, 1), (1, 2)]) {
                // A start would hang for as long as the registry does.
                _ if services.iter().any(|service| service.kind == Kind::Unpullable) => Remedy::Down,
                0 => Remedy::Down,
                1 => Remedy::DetachAndDown,
                _ => Remedy::ForegroundAndInterrupt,
            },
            patience: millis(&mut rng, 200..2000),
            // What is drawn from here on came later, so that a seed from before makes the same plan but for this.
            services: services.into_iter().map(|it| Service { anonymous: rng.f32() < 0.3, ..it }).collect(),
            unread: false,
            press_after: None,
            silent: false,
            namesake: false,
            strict: false,
            builds_a_crate: false,
            edits: Vec::new(),
            runs_a_command: false,
            fault,
        };
        let draws = (rng.f32(), rng.f32(), millis(&mut rng, 0..1500));
        if scene == Scene::Foreground {
            plan.unread = !plan.terminal && draws.0 < 0.15;
            let strikes_compose = matches!(fault.target, Target::Docker | Target::Plugin);
            plan.press_after = (strikes_compose && draws.1 < 0.5).then_some(draws.2);
        }
        let draws = [rng.f32(), rng.f32(), rng.f32()];
        let strikes_tool = matches!(fault.target, Target::Tool | Target::Group | Target::Keyboard | Target::Terminal);
        plan.silent = scene == Scene::Foreground && strikes_tool && !plan.unread && draws[0] < 0.06;
        plan.namesake = !plan.silent && draws[1] < 0.1;
        plan.strict = draws[2] < 0.2;
        let is_plain = !plan.unread && !plan.silent && !plan.namesake && plan.scene != Scene::Down;
        let can_be_ready = plan.services.iter().all(|service| service.kind != Kind::Unpullable);
        plan.builds_a_crate = rng.f32() < 0.2 && is_plain && can_be_ready && !plan.finishes();
        // What ends `up` itself ends a watched run, too, but not in each of its states.
        let strikes_run = strikes_tool || fault.target == Target::ToolAndGuard;
        if plan.builds_a_crate && scene == Scene::Foreground && strikes_run && rng.bool() {
            let edit = [(6, Edit::Program), (2, Edit::Broken), (2, Edit::Table)];
            plan.edits =
                (0..rng.usize(1..=20)).map(|_| (millis(&mut rng, 0..2000), weighted(&mut rng, &edit))).collect();
        }
        // While the command runs there is no `docker` to strike.
        let can_run =
            scene == Scene::Foreground && is_plain && can_be_ready && !plan.finishes() && plan.edits.is_empty();
        plan.runs_a_command = rng.f32() < 0.15 && can_run && (strikes_run || fault.target == Target::Guard);
        plan
    }

    /// Whether the stack is over by itself, sooner or later.
    pub fn finishes(&self) -> bool {
        self.active().all(|service| service.kind == Kind::OneShot)
    }

    /// The services that a start starts.
    pub fn active(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(|service| service.kind != Kind::Profile)
    }

    /// The arguments of the command that the fault strikes.
    pub fn args(&self) -> &'static [&'static str] {
        match self.scene {
            Scene::Foreground if !self.edits.is_empty() => &["dev", "--watch", "-v"],
            Scene::Foreground if self.runs_a_command => &["dev", "run", "--reuse", "-v", "--", "sleep", "1000"],
            Scene::Foreground => &["dev", "-v"],
            Scene::Detach => &["dev", "--detach", "-v"],
            Scene::Wait => &["dev", "--detach", "--wait", "-v"],
            Scene::Down => &["dev", "down", "-v"],
        }
    }

    /// The compose file; `proof` is the folder in which containers testify, `registry` the address of the one that never
    /// hands anything out.
    pub fn compose(&self, proof: &str, registry: &str) -> String {
        let mut text = "services:\n".to_string();
        for service in &self.services {
            service.describe(&mut text, &self.services, proof, registry);
        }
        if self.services.iter().any(|service| service.volume) {
            text += "volumes:\n  data: {}\n";
        }
        text
    }
}

impl Service {
    /// Whether it says farewell when it gets a SIGTERM.
    pub fn is_polite(&self) -> bool {
        matches!(self.kind, Kind::Quick | Kind::Slow(_) | Kind::Healthy | Kind::Built)
    }

    fn script(&self) -> String {
        let name = &self.name;
        // Once is enough: a second SIGTERM, from a second teardown, does not begin the farewell anew.
        let farewell = |before: &str| {
            format!(
                "trap 'trap \"\" TERM; {before}touch /proof/{name}.farewell; echo {name} says farewell; exit 0' TERM; \
                 touch /proof/{name}.ready; echo {name} is ready; sleep 1000 & wait"
            )
        };
        match self.kind {
            Kind::Slow(tenths) => farewell(&format!("sleep {}.{}; ", tenths / 10, tenths % 10)),
            Kind::Stubborn(_) => format!("trap '' TERM; echo {name} is ready; while :; do sleep 1000; done"),
            Kind::OneShot => format!("sleep 0.2; echo {name} has done its work"),
            Kind::Quick | Kind::Healthy | Kind::Built | Kind::Profile | Kind::Unpullable => farewell(""),
        }
    }

    fn describe(&self, text: &mut String, all: &[Service], proof: &str, registry: &str) {
        let mut line = |line: &str| writeln!(text, "{line}").expect("a string takes everything");
        line(&format!("  {}:", self.name));
        match self.kind {
            Kind::Built => {
                // Not cached, or only the first build would take a second.
                line("    build:");
                line("      no_cache: true");
                line(&format!("      dockerfile_inline: \"FROM stagecraft-test\\nRUN {BUILD_STEP}\\n\""));
            }
            Kind::Unpullable => line(&format!("    image: {registry}/nothing:latest")),
            _ => line("    image: stagecraft-test\n    pull_policy: never"),
        }
        line(&format!("    command: [sh, -c, {:?}]", self.script()));
        line(&format!(
            "    volumes: [{:?}{}{}]",
            format!("{proof}:/proof"),
            if self.volume { ", 'data:/data'" } else { "" },
            if self.anonymous { ", /anonymous" } else { "" }
        ));
        match self.kind {
            Kind::Stubborn(grace) => line(&format!("    stop_grace_period: {grace}s")),
            Kind::Healthy => {
                let test = format!("test -e /proof/{}.ready", self.name);
                line(&format!("    healthcheck: {{test: {test:?}, interval: 1s, timeout: 5s, retries: 20}}"));
            }
            Kind::Profile => line("    profiles: [extra]"),
            _ => {}
        }
        if let Some(first) = self.after.map(|index| &all[index]) {
            let condition = match first.kind {
                Kind::OneShot => "service_completed_successfully",
                Kind::Healthy => "service_healthy",
                _ => "service_started",
            };
            line(&format!("    depends_on: {{{}: {{condition: {condition}}}}}", first.name));
        }
    }
}

fn services(rng: &mut Rng, scene: Scene, fault: Fault) -> Vec<Service> {
    // Only a foreground run is there for sure to hear a second press.
    let is_hurried = scene == Scene::Foreground && fault.presses > 1 && fault.is_press();
    let number = match weighted(rng, &[(80, 0), (15, 1), (5, 2)]) {
        0 => rng.usize(1..=4),
        1 => rng.usize(5..=10),
        _ => rng.usize(11..=20),
    };
    let only_one_shots = rng.f32() < 0.04;
    let mut services: Vec<Service> = Vec::new();
    for index in 0..number {
        let kind = match index {
            _ if only_one_shots => Kind::OneShot,
            // One at least that runs until it is stopped.
            0 => Kind::Quick,
            _ => weighted(
                rng,
                &[
                    (35, Kind::Quick),
                    (15, Kind::Slow(10)),
                    (12, Kind::Stubborn(1)),
                    (15, Kind::Healthy),
                    (10, Kind::Built),
                    (10, Kind::OneShot),
                    (5, Kind::Profile),
                ],
            ),
        };
        let kind = match kind {
            Kind::Slow(_) => Kind::Slow(rng.u32(10..20)),
            // Nobody waits that long; only a second press ends it.
            Kind::Stubborn(_) if is_hurried && rng.bool() => Kind::Stubborn(300),
            Kind::Stubborn(_) => Kind::Stubborn(rng.u32(1..=2)),
            kind => kind,
        };
        // A service cannot depend on one that is not started.
        let firsts: Vec<usize> = (0..index).filter(|first| services[*first].kind != Kind::Profile).collect();
        let after = if rng.f32() < 0.35 && !firsts.is_empty() { Some(firsts[rng.usize(..firsts.len())]) } else { None };
        let letter = char::from(b'a' + u8::try_from(index).expect("at most 20"));
        let name = format!("{letter}-{}", kind.name());
        services.push(Service { name, kind, after, volume: rng.f32() < 0.1, anonymous: false });
    }
    services
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Quick => "quick",
            Kind::Slow(_) => "slow",
            Kind::Stubborn(_) => "stubborn",
            Kind::Healthy => "healthy",
            Kind::Built => "built",
            Kind::OneShot => "oneshot",
            Kind::Profile => "profile",
            Kind::Unpullable => "unpullable",
        }
    }
}

fn fault(rng: &mut Rng, scene: Scene) -> Fault {
    let several = weighted(rng, &[(50, 1), (25, 2), (13, 3), (6, 4), (6, 5)]);
    let to = weighted(rng, &[(2, Target::Tool), (1, Target::Group)]);
    let child = weighted(rng, &[(1, Target::Docker), (1, Target::Plugin)]);
    let any = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::KILL][rng.usize(..5)];
    let foreground = u32::from(scene == Scene::Foreground);
    let (target, signal, presses) = weighted(
        rng,
        &[
            (20, (Target::Keyboard, Signal::INT, several)),
            (12, (to, Signal::INT, several)),
            (12, (to, Signal::TERM, several)),
            (8, (to, Signal::HUP, several)),
            (6, (to, Signal::QUIT, 1)),
            (10, (Target::Tool, Signal::KILL, 1)),
            (5, (Target::Group, Signal::KILL, 1)),
            (7, (Target::Terminal, Signal::HUP, 1)),
            (10, (child, any, 1)),
            (4 * foreground, (Target::Guard, Signal::KILL, 1)),
            (6, (Target::ToolAndGuard, Signal::KILL, 1)),
        ],
    );
    Fault { target, signal, presses }
}

fn moment(rng: &mut Rng, scene: Scene, fault: Fault, services: &[Service]) -> Moment {
    let active = services.iter().filter(|service| service.kind != Kind::Profile).count();
    let builds = services.iter().any(|service| service.kind == Kind::Built);
    if scene == Scene::Down {
        return match weighted(rng, &[(1, 0), (1, 1), (3, 2)]) {
            0 => Moment::After(millis(rng, 0..400)),
            1 => Moment::Begun(millis(rng, 0..400)),
            _ => Moment::Event(rng.usize(1..=3 * active), millis(rng, 0..200)),
        };
    }
    if services.iter().any(|service| service.kind == Kind::Unpullable) {
        return Moment::After(millis(rng, 0..3000));
    }
    // Rough, and longer when several trials share a machine.
    let steady = 900 + 350 * u64::try_from(active).expect("few") + if builds { 2500 } else { 0 };
    // A detached start that does not wait is over when the stack is steady, and nothing but a run that is interrupted has a
    // teardown.
    let lasts = u32::from(matches!(scene, Scene::Foreground | Scene::Wait));
    let has_teardown = u32::from(scene == Scene::Foreground && fault.target != Target::Guard);
    let weights = [(8, 0), (15, 1), (25, 2), (20, 3), (18 * lasts, 4), (15 * has_teardown, 5)];
    match weighted(rng, &weights) {
        0 => Moment::After(millis(rng, 0..400)),
        // Up to where `up` has been spawned, and perhaps builds.
        1 => Moment::Begun(millis(rng, 0..if builds { 2000 } else { 200 })),
        2 => Moment::After(millis(rng, 0..steady * 13 / 10)),
        3 => Moment::Event(rng.usize(1..=2 * active), millis(rng, 0..200)),
        4 => Moment::Steady(millis(rng, 0..1500)),
        _ => Moment::Teardown(rng.usize(0..=3 * active), millis(rng, 0..200)),
    }
}

fn millis(rng: &mut Rng, range: Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

fn weighted<T: Copy>(rng: &mut Rng, choices: &[(u32, T)]) -> T {
    let sum: u32 = choices.iter().map(|(weight, _)| weight).sum();
    let mut at = rng.u32(..sum);
    for (weight, choice) in choices {
        match at.checked_sub(*weight) {
            Some(rest) => at = rest,
            None => return *choice,
        }
    }
    unreachable!("less than the sum of all weights")
}

impl Fault {
    /// Whether it is sent to the tool, which hears it.
    pub fn is_interrupt(self) -> bool {
        let to_tool = matches!(self.target, Target::Tool | Target::Group | Target::Keyboard | Target::Terminal);
        to_tool && matches!(self.signal, Signal::INT | Signal::TERM | Signal::HUP)
    }

    /// Whether it is one of which a second one is a second wish. A hang-up is not.
    pub fn is_press(self) -> bool {
        self.is_interrupt() && self.signal != Signal::HUP
    }
}

impl fmt::Display for Fault {
    /// What a row of the table is called.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = signal_name(self.signal);
        match self.target {
            Target::Tool | Target::Group | Target::Keyboard => match (self.signal, self.presses) {
                (Signal::INT | Signal::TERM, 1) => write!(f, "{signal} ×1"),
                (Signal::INT, 2) => write!(f, "{signal} ×2"),
                (Signal::INT, _) => write!(f, "{signal} ×3–5"),
                (Signal::TERM, _) => write!(f, "{signal} ×2–5"),
                (Signal::KILL, _) if self.target == Target::Group => write!(f, "KILL, group"),
                _ => write!(f, "{signal}"),
            },
            Target::Terminal => write!(f, "terminal closed"),
            Target::Docker => write!(f, "to `docker`"),
            Target::Plugin => write!(f, "to the plugin"),
            Target::Guard => write!(f, "guard KILL, then INT"),
            Target::ToolAndGuard => write!(f, "tool + guard KILL"),
        }
    }
}

/// The name of a signal, without SIG.
pub fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::INT => "INT",
        Signal::TERM => "TERM",
        Signal::HUP => "HUP",
        Signal::QUIT => "QUIT",
        _ => "KILL",
    }
}
