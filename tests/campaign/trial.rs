//! Carries out a plan on an engine, and judges what came of it.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::api::Api;
use crate::engine::Engine;
use crate::plan::{Fault, Moment, Plan, Remedy, Scene, Target, signal_name};
use crate::procs::{self, End, MARK};
use crate::proxy::Proxy;
use crate::pty::{Modes, Pty};
use crate::registry::Registry;
use crate::run::{Run, Transcript};
use crate::watch::{Event, Phase, Watch, is_steady};

/// Safety nets; what is waited for comes sooner, or the trial has failed.
const DEADLINE: Duration = Duration::from_secs(60);
/// For what does not come in every trial: the fault then strikes without it.
const LONG_ENOUGH: Duration = Duration::from_secs(20);
/// How long a process may take to vanish: one that was killed, or a question whose asker was.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// How close two interrupts may be for their order to be lost.
const AT_THE_SAME_TIME: Duration = Duration::from_millis(100);

/// What came of a trial.
pub struct Report {
    pub project: String,
    /// The row of the table that it belongs to.
    pub fault: String,
    /// The phase that the fault has struck.
    pub phase: Phase,
    /// From the fault to the end of the tool and its guard.
    pub time: Option<Duration>,
    pub problems: Vec<Problem>,
    pub lost_networks: usize,
    pub compose_panicked: bool,
    /// Struck itself, it has killed containers of its own accord.
    pub compose_killed: bool,
    /// Everything that is known about it.
    pub story: String,
}

pub enum Problem {
    /// A container, network, anonymous volume, process or lock.
    Left(String),
    /// A container that could have ended by SIGTERM and did not.
    Ungraceful(String),
    Code(String),
    Other(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Left(what) => write!(f, "left: {what}"),
            Problem::Ungraceful(service) => write!(f, "not stopped gracefully: {service}"),
            Problem::Code(code) => write!(f, "exit code: {code}"),
            Problem::Other(what) => write!(f, "{what}"),
        }
    }
}

/// Carries out a plan. Whatever happens, nothing is left of it afterwards.
pub fn play(engine: &Engine, plan: &Plan, project: &str) -> Report {
    let mut trial = Trial::new(engine, plan, project);
    let outcome = catch_unwind(AssertUnwindSafe(|| trial.perform()));
    if let Err(failure) = outcome {
        trial.problems.push(Problem::Other(message(failure.as_ref())));
    }
    let story = trial.story();
    procs::end_all(project);
    // Only what is left on purpose, unless there was a problem.
    if trial.problems.is_empty() {
        trial.api.clear_kept(project)
    } else {
        trial.api.clear(project)
    }
    let scene = match plan.scene {
        Scene::Foreground => "",
        Scene::Detach => "detach: ",
        Scene::Wait => "wait: ",
        Scene::Down => "down: ",
    };
    Report {
        project: project.to_string(),
        fault: format!(
            "{scene}{}{}{}{}{}",
            plan.fault,
            if plan.press_after.is_some() { ", then INT" } else { "" },
            if plan.unread { ", unread" } else { "" },
            if plan.silent { ", engine silent" } else { "" },
            if plan.namesake { ", namesake" } else { "" }
        ),
        phase: trial.phase.unwrap_or(Phase::Over),
        time: trial.time,
        problems: trial.problems,
        lost_networks: trial.lost_networks,
        compose_panicked: trial.compose_panicked,
        compose_killed: trial.compose_killed,
        story,
    }
}

fn message(failure: &(dyn Any + Send)) -> String {
    let text = failure.downcast_ref::<String>().map(String::as_str).or(failure.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_string()
}

/// Something done to the run.
struct Strike {
    at: SystemTime,
    target: Target,
    signal: Signal,
}

struct Trial<'a> {
    engine: &'a Engine,
    plan: &'a Plan,
    project: &'a str,
    api: Api,
    /// In front of an engine that stops answering. Its socket is in `temp`, so it has to go first.
    proxy: Option<Proxy>,
    temp: TempDir,
    registry: Registry,
    watch: Watch,
    began: SystemTime,
    transcripts: Vec<(String, Arc<Transcript>)>,
    strikes: Vec<Strike>,
    /// The `dev down` of a checkout whose folder has the same name.
    namesake: Option<Run>,
    /// The services that had said that they are ready before anything was struck.
    ready: BTreeSet<String>,
    phase: Option<Phase>,
    time: Option<Duration>,
    problems: Vec<Problem>,
    lost_networks: usize,
    compose_panicked: bool,
    compose_killed: bool,
}

/// The command that the fault strikes, while it runs.
struct Struck {
    run: Run,
    transcript: Arc<Transcript>,
    end: End,
    /// The modes that its terminal had in the beginning, as long as it has one.
    modes: Option<Modes>,
}

impl<'a> Trial<'a> {
    fn new(engine: &'a Engine, plan: &'a Plan, project: &'a str) -> Trial<'a> {
        let api = Api::new(engine);
        let temp = tempfile::Builder::new().prefix("campaign-").tempdir().expect("a temporary folder");
        let watch = Watch::new(&api, project);
        let trial = Trial {
            engine,
            plan,
            project,
            api,
            proxy: None,
            temp,
            registry: Registry::open(),
            watch,
            began: SystemTime::now(),
            transcripts: Vec::new(),
            strikes: Vec::new(),
            namesake: None,
            ready: BTreeSet::new(),
            phase: None,
            time: None,
            problems: Vec::new(),
            lost_networks: 0,
            compose_panicked: false,
            compose_killed: false,
        };
        trial.set_up();
        trial
    }

    /// A Cargo workspace whose folder makes the project's name, and another one of that name elsewhere.
    fn set_up(&self) {
        let roots = [Some(self.root()), self.plan.namesake.then(|| self.root_of_namesake())];
        for root in roots.into_iter().flatten() {
            for folder in [root.join("src"), root.join(".stagecraft/dev"), self.proof(), self.runtime_dir()] {
                fs::create_dir_all(folder).expect("a folder");
            }
            let files = [
                ("Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n".to_string()),
                ("src/lib.rs", String::new()),
                (".stagecraft/dev/compose.yaml", self.compose()),
            ];
            for (path, text) in files {
                fs::write(root.join(path), text).expect("a file");
            }
        }
    }

    fn root_of_namesake(&self) -> PathBuf {
        self.temp.path().join("elsewhere").join(self.project)
    }

    fn root(&self) -> PathBuf {
        self.temp.path().join(self.project)
    }

    /// Where the containers leave word: what they print would be gone with them.
    fn proof(&self) -> PathBuf {
        self.temp.path().join("proof")
    }

    fn runtime_dir(&self) -> PathBuf {
        self.temp.path().join("run")
    }

    fn compose(&self) -> String {
        self.plan.compose(&self.proof().display().to_string(), &self.registry.address.to_string())
    }

    /// The services that have left word of this kind.
    fn testified(&self, word: &str) -> BTreeSet<String> {
        let names = fs::read_dir(self.proof()).expect("a folder").flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| Some(name.strip_suffix(word)?.to_string())).collect()
    }

    fn start(&mut self, args: &[&str], pty: Option<Pty>, unread: bool) -> (Run, Arc<Transcript>) {
        let tool = env!("CARGO_BIN_EXE_cargo-stagecraft");
        let mut command: Command = if self.plan.strict {
            let mut shell = self.engine.command("sh");
            shell.args(["-c", "umask 077; exec \"$0\" \"$@\"", tool]);
            shell
        } else {
            self.engine.command(tool)
        };
        command.args(args).current_dir(self.root());
        if let Some(proxy) = &self.proxy {
            command.env("DOCKER_HOST", proxy.host());
        }
        self.start_command(command, args, pty, unread)
    }

    fn start_command(
        &mut self,
        mut command: Command,
        args: &[&str],
        pty: Option<Pty>,
        unread: bool,
    ) -> (Run, Arc<Transcript>) {
        command.env(MARK, self.project);
        command.env("TMPDIR", self.temp.path()).env("XDG_RUNTIME_DIR", self.runtime_dir());
        let transcript = Arc::<Transcript>::default();
        self.transcripts.push((format!("cargo-stagecraft {}", args.join(" ")), transcript.clone()));
        let run = match pty {
            Some(pty) => {
                command.env("TERM", "xterm-256color");
                Run::start_in(pty, command, transcript.clone())
            }
            None => {
                // A group of its own, as a shell makes one for each job: a signal to it must not reach the campaign.
                std::os::unix::process::CommandExt::process_group(&mut command, 0);
                let start = if unread { Run::start_with_small_pipes } else { Run::start };
                start(command, transcript.clone())
            }
        };
        (run, transcript)
    }

    /// Runs a command that nothing happens to, to its end.
    fn run(&mut self, args: &[&str], codes: &[i32]) {
        let (run, _) = self.start(args, None, false);
        self.finish(run, args, codes);
    }

    fn finish(&mut self, run: Run, args: &[&str], codes: &[i32]) {
        let code = run.end_whatever_compose_says().code;
        if !codes.contains(&code) {
            self.problems.push(Problem::Code(format!("{code} of `{}` instead of one of {codes:?}", args.join(" "))));
        }
    }

    fn perform(&mut self) {
        if self.plan.scene == Scene::Down {
            self.run(&["dev", "--detach"], &[0]);
        }
        let mut struck = self.start_struck();
        let opened = self.await_moment(&mut struck);
        self.strike(&mut struck, opened);
        let from = self.bring_to_an_end(&mut struck);
        assert!(struck.end.wait(DEADLINE), "did not end within {} seconds", DEADLINE.as_secs());
        if let Some(proxy) = &self.proxy {
            // A guard waits until the engine answers again, and then takes the stack down.
            proxy.speak_again();
        }
        self.await_guard();
        struck.transcript.read_on();
        if let Some(namesake) = self.namesake.take() {
            // It waits for its turn, then finds nothing, or containers of the other checkout, which it leaves alone.
            self.finish(namesake, &["dev", "down"], &[0, 3]);
        }
        self.time = from.map(|from| from.elapsed());
        self.judge(struck);
    }

    fn start_struck(&mut self) -> Struck {
        self.proxy = self.plan.silent.then(|| Proxy::before(&self.engine.host, self.temp.path()));
        let pty = self.plan.terminal.then(Pty::open);
        let modes = pty.as_ref().map(Pty::modes);
        let (run, transcript) = self.start(self.plan.args(), pty, self.plan.unread);
        let pid = run.pid();
        let over = self.watch.over();
        // Reaped only when it is asked how it ended, which is after this.
        thread::spawn(move || {
            End::of(pid).wait(3 * DEADLINE);
            over();
        });
        Struck { end: End::of(pid), run, transcript, modes }
    }

    /// Waits for the moment of the fault. True if the teardown was begun for it, by a first press.
    fn await_moment(&mut self, struck: &mut Struck) -> bool {
        let plan = self.plan;
        let steady = |events: &[Event]| is_steady(plan, events);
        match plan.moment {
            Moment::After(time) => drop(struck.end.wait(time)),
            Moment::Begun(time) => {
                self.await_beginning(&struck.transcript, &struck.end);
                struck.end.wait(time);
            }
            Moment::Event(number, time) => {
                let counts =
                    |event: &&Event| if plan.scene == Scene::Down { event.is_of_teardown() } else { event.is_step() };
                self.watch.wait(LONG_ENOUGH, |events| events.iter().filter(counts).count() >= number);
                struck.end.wait(time);
            }
            Moment::Steady(time) => {
                self.watch.wait(LONG_ENOUGH, steady);
                struck.end.wait(time);
            }
            Moment::Teardown(number, time) => {
                self.watch.wait(LONG_ENOUGH, steady);
                struck.end.wait(plan.patience);
                let first = match plan.fault {
                    fault if fault.is_press() => fault,
                    _ => Fault { target: Target::Tool, signal: Signal::INT, presses: 1 },
                };
                self.deliver(struck, first);
                let teardown = |events: &[Event]| events.iter().filter(|event| event.is_of_teardown()).count();
                let before = teardown(&self.watch.events());
                self.watch.wait(LONG_ENOUGH, |events| teardown(events) >= before + number);
                struck.end.wait(time);
                return true;
            }
        }
        false
    }

    /// Waits until a command says that it begins. By looking often, since that is all that a transcript offers.
    fn await_beginning(&self, transcript: &Transcript, end: &End) {
        let deadline = Instant::now() + LONG_ENOUGH;
        while !has_begun(&transcript.text()) && !end.wait(Duration::from_millis(2)) && Instant::now() < deadline {}
    }

    fn strike(&mut self, struck: &mut Struck, opened: bool) {
        let fault = self.plan.fault;
        // The one that has begun the teardown was the first press.
        let first = usize::from(opened && fault.is_press());
        for press in first..fault.presses {
            if press > first {
                struck.end.wait(self.plan.gaps[press]);
            }
            let at = self.deliver(struck, fault);
            if self.phase.is_none()
                && let Some((at, has_begun)) = at
            {
                self.phase = Some(Phase::at(at, self.plan, &self.watch.events(), has_begun, opened));
            }
        }
    }

    /// Strikes once, unless the command has ended. Says when, and whether it had begun by then.
    fn deliver(&mut self, struck: &mut Struck, fault: Fault) -> Option<(SystemTime, bool)> {
        let victim = self.victim(struck, fault.target)?;
        if self.strikes.is_empty() {
            self.ready = self.testified(".ready");
            if self.plan.unread {
                struck.transcript.pause();
            }
            if let Some(proxy) = &self.proxy {
                proxy.fall_silent();
            }
            if self.plan.namesake {
                let mut command = self.engine.command(env!("CARGO_BIN_EXE_cargo-stagecraft"));
                let args = ["dev", "down"];
                command.args(args).current_dir(self.root_of_namesake());
                self.namesake = Some(self.start_command(command, &args, None, false).0);
            }
        }
        let Fault { target, signal, .. } = fault;
        let has_begun = has_begun(&struck.transcript.text());
        let at = SystemTime::now();
        // Whoever has ended meanwhile is a zombie or gone, and does not care.
        let send = |pid: Pid| {
            let _ = kill_process(pid, signal);
        };
        match target {
            Target::Tool | Target::Docker | Target::Plugin | Target::Guard => send(victim),
            Target::Group => {
                let _ = kill_process_group(victim, signal);
            }
            Target::Keyboard => struck.run.press_ctrl_c(),
            Target::Terminal => {
                struck.modes = None;
                struck.run.close_terminal();
            }
            Target::ToolAndGuard => {
                // The guard first, or it might hear of the other's end.
                procs::guard_of(self.project, victim).into_iter().for_each(send);
                send(victim);
            }
        }
        self.strikes.push(Strike { at, target, signal });
        Some((at, has_begun))
    }

    /// The process to strike. Waits until there is one; None if the command ends before, or has ended.
    fn victim(&self, struck: &Struck, target: Target) -> Option<Pid> {
        let tool = struck.run.pid();
        let docker = || procs::docker_of(self.project, tool);
        let deadline = Instant::now() + LONG_ENOUGH;
        while !struck.end.has_come() && Instant::now() < deadline {
            let victim = match target {
                Target::Docker => docker(),
                Target::Plugin => docker().and_then(|docker| procs::plugin_of(self.project, docker)),
                Target::Guard => procs::guard_of(self.project, tool),
                _ => Some(tool),
            };
            if victim.is_some() {
                return victim;
            }
            // No event tells of a new process.
            struck.end.wait(Duration::from_millis(10));
        }
        None
    }

    /// Interrupts a run that the fault does not end. Says when what ended it happened.
    fn bring_to_an_end(&mut self, struck: &mut Struck) -> Option<Instant> {
        let goes_on = match self.strikes.last() {
            // Its end ends nothing.
            Some(Strike { target: Target::Guard, .. }) => Some(self.plan.patience),
            // Compose ends sooner or later, unless `docker` does not pass the signal on.
            Some(Strike { target: Target::Docker | Target::Plugin, .. }) => {
                Some(self.plan.press_after.unwrap_or(LONG_ENOUGH))
            }
            _ => None,
        };
        if let Some(time) = goes_on
            && !struck.end.wait(time)
        {
            self.deliver(struck, Fault { target: Target::Tool, signal: Signal::INT, presses: 1 });
            return Some(Instant::now());
        }
        let first = self.strikes.first()?;
        Some(Instant::now() - first.at.elapsed().unwrap_or_default())
    }

    fn await_guard(&mut self) {
        for guard in procs::of_trial(self.project).into_iter().filter(procs::Process::is_guard) {
            if !End::of(guard.pid).wait(DEADLINE) {
                self.problems.push(Problem::Other("the guard does not end".to_string()));
            }
        }
    }

    fn judge(&mut self, struck: Struck) {
        if self.strikes.iter().any(|strike| strike.target == Target::ToolAndGuard) {
            // What they have left may hold the output open, so this comes before it is read to its end.
            let began = Instant::now();
            self.clean_up(self.plan.remedy);
            self.time = Some(began.elapsed());
            self.judge_processes(LONG_ENOUGH);
        } else {
            self.judge_processes(LAST_BREATH);
        }
        if struck.modes.is_some_and(|before| struck.run.terminal().modes() != before) {
            self.problems.push(Problem::Other("the terminal's modes are not what they were".to_string()));
        }
        let ended = struck.run.end_whatever_compose_says();
        let text = ended.all;
        let codes = self.codes(&text);
        if !codes.contains(&ended.code) {
            self.problems.push(Problem::Code(format!("{} instead of one of {codes:?}", ended.code)));
        }
        let has_given_up = self.plan.silent && [4, 6].contains(&ended.code);
        if has_given_up || self.may_be_left(&text) {
            self.clean_up(Remedy::Down);
            self.judge_processes(LAST_BREATH);
        }
        for thing in self.api.left(self.project) {
            if thing.is_lost {
                self.lost_networks += 1;
            } else {
                self.problems.push(Problem::Left(thing.name));
            }
        }
        for volume in self.watch.anonymous_volumes().into_iter().filter(|volume| self.api.has_volume(volume)) {
            // Whoever has known it was killed, with the only one who had been told.
            if !self.strikes.iter().any(|strike| strike.target == Target::ToolAndGuard) {
                self.problems.push(Problem::Left(format!("anonymous volume {volume}")));
            }
            self.api.remove_volume(&volume);
        }
        self.problems
            .extend(self.locks_left(ended.code < 0).into_iter().map(|lock| Problem::Left(format!("lock {lock}"))));
        self.judge_containers(&text);
        let was_asked_to_crash =
            |strike: &Strike| strike.signal == Signal::QUIT && matches!(strike.target, Target::Docker | Target::Plugin);
        self.compose_panicked =
            (text.contains("goroutine ") || text.contains("panic:")) && !self.strikes.iter().any(was_asked_to_crash);
    }

    /// That no process is left, or comes to its end in this time.
    fn judge_processes(&mut self, time: Duration) {
        let left = procs::wait_for_all(self.project, time);
        if !left.is_empty() {
            procs::end_all(self.project);
        }
        self.problems.extend(left.into_iter().map(|process| Problem::Left(format!("process `{}`", process.command))));
    }

    /// Whether the stack may still be there, given what the command has said.
    fn may_be_left(&self, text: &str) -> bool {
        match self.plan.scene {
            Scene::Foreground => false,
            Scene::Detach | Scene::Wait => has_started(text),
            // Ended before it had touched anything.
            Scene::Down => !has_begun(text),
        }
    }

    /// What a user does about a stack that is left.
    fn clean_up(&mut self, remedy: Remedy) {
        match remedy {
            Remedy::Down => {}
            Remedy::DetachAndDown => self.run(&["dev", "--detach"], &[0]),
            Remedy::ForegroundAndInterrupt => {
                let (run, transcript) = self.start(&["dev"], None, false);
                let end = End::of(run.pid());
                self.await_beginning(&transcript, &end);
                end.wait(self.plan.patience);
                run.signal(Signal::INT);
                let codes: &[i32] = if self.plan.finishes() { &[130, 0] } else { &[130] };
                self.finish(run, &["dev"], codes);
                self.await_guard();
                return;
            }
        }
        // A hurried trial may have containers that take minutes to stop, and a silent engine has kept them alive.
        let is_hurried = self.plan.silent && self.is_hurried();
        let args: &[&str] = if is_hurried { &["dev", "down", "--timeout", "0"] } else { &["dev", "down"] };
        self.run(args, &[0]);
        self.await_guard();
    }

    /// The exit codes that the specification has for what was done; negative: ended by that signal.
    fn codes(&self, text: &str) -> Vec<i32> {
        let mut codes = Vec::new();
        let mut interrupted = false;
        let mut first = None;
        for strike in &self.strikes {
            let number = strike.signal.as_raw();
            match strike.target {
                Target::Guard => {}
                Target::ToolAndGuard => codes.push(-number),
                Target::Tool | Target::Group | Target::Keyboard | Target::Terminal => match strike.signal {
                    Signal::INT | Signal::TERM | Signal::HUP => {
                        // Nothing was hooked yet: it ends us as it would end any program.
                        if !has_begun(text) {
                            codes.push(-number);
                        }
                        // Which of two that come at almost the same time is heard first is the scheduler's affair.
                        let since = strike.at.duration_since(*first.get_or_insert(strike.at)).unwrap_or_default();
                        if !interrupted || since < AT_THE_SAME_TIME {
                            codes.push(128 + number);
                        }
                        interrupted = true;
                    }
                    _ => codes.push(-number),
                },
                // In a teardown the next wider step takes over, and the code is that of the interrupt, or of `dev down`.
                Target::Docker | Target::Plugin if interrupted || self.plan.scene == Scene::Down => {}
                // `up` was broken off, which is a failure; asked by INT or TERM it may also stop the stack in good order, and
                // that is "stopped from elsewhere". So is a crash of `docker` when its plugin has stopped the stack because
                // of it, and QUIT ends a Go program as a crash does.
                Target::Docker | Target::Plugin => match (self.plan.scene, strike.signal) {
                    (Scene::Foreground, Signal::INT | Signal::TERM | Signal::QUIT) => codes.extend([1, 0]),
                    _ => codes.push(1),
                },
            }
        }
        // An interrupt may come after the last moment in which it is heard.
        let is_over_by_itself = match self.plan.scene {
            Scene::Foreground => self.plan.finishes(),
            Scene::Detach | Scene::Wait => has_started(text),
            Scene::Down => has_removed(text),
        };
        if self.plan.silent {
            codes.extend([4, 6]);
        }
        // A kill may come between the last line and the end.
        let has_said_all = text.contains("stop it with `cargo stagecraft dev down`") || self.plan.scene == Scene::Down;
        if codes.is_empty() || is_over_by_itself && (has_said_all || codes.iter().all(|code| *code > 0)) {
            codes.push(0);
        }
        codes
    }

    /// Whether somebody has asked for containers to be killed: with a second interrupt, or with the first one of a teardown
    /// that was asked for. One that has begun by itself, since Compose was struck, is hurried by no first interrupt.
    fn is_hurried(&self) -> bool {
        let mut tears_down = self.plan.scene == Scene::Down;
        let mut hung_up = false;
        for strike in &self.strikes {
            let press = Fault { target: strike.target, signal: strike.signal, presses: 1 };
            // A closing terminal tells twice, which is one wish.
            let is_echo = hung_up && strike.signal == Signal::HUP;
            if press.is_interrupt() && tears_down && !is_echo {
                return true;
            }
            hung_up |= press.is_interrupt() && strike.signal == Signal::HUP;
            tears_down |= press.is_interrupt();
        }
        false
    }

    /// Compose 2.26 hears a signal that strikes it alone in two places, and may take it for two presses: it then says that it
    /// is killing and does so, before the tool has asked for anything.
    fn was_killed_by_compose(&self, text: &str) -> bool {
        let strikes_compose = |strike: &Strike| matches!(strike.target, Target::Docker | Target::Plugin);
        self.strikes.iter().any(strikes_compose) && text.lines().any(|line| line.trim_end().ends_with(" Killing"))
    }

    fn judge_containers(&mut self, text: &str) {
        if self.is_hurried() {
            return;
        }
        if self.was_killed_by_compose(text) {
            self.compose_killed = true;
            return;
        }
        let farewells = self.testified(".farewell");
        for service in self.plan.active().filter(|service| service.is_polite()) {
            if self.ready.contains(&service.name) && !farewells.contains(&service.name) {
                self.problems.push(Problem::Ungraceful(service.name.clone()));
            }
        }
    }

    /// The locks that somebody holds or has forgotten. A tool that is killed before it has a guard forgets the file, which
    /// keeps nobody away.
    fn locks_left(&self, may_forget: bool) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.runtime_dir().join("cargo-stagecraft")) else { return Vec::new() };
        let is_free = |path: PathBuf| File::open(path).is_ok_and(|file| file.try_lock().is_ok());
        let left = entries.flatten().filter(|entry| !may_forget || !is_free(entry.path()));
        left.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Everything that is known, for whoever looks into it.
    fn story(&self) -> String {
        let mut story = format!("---- plan\n{:#?}\n---- compose.yaml\n{}", self.plan, self.compose());
        for (title, transcript) in &self.transcripts {
            let _ = write!(story, "---- {title}\n{}\n", transcript.text().trim_end());
        }
        let strikes =
            self.strikes.iter().map(|it| (it.at, format!("** {} to {:?}", signal_name(it.signal), it.target)));
        let mut lines: Vec<_> = self.watch.events().iter().map(|event| (event.at, event.to_string())).collect();
        lines.extend(strikes);
        lines.sort();
        story += "---- events\n";
        for (at, line) in lines {
            let _ = writeln!(story, "{:8.3} {line}", at.duration_since(self.began).unwrap_or_default().as_secs_f64());
        }
        let _ = writeln!(story, "---- ready before: {:?}; farewells: {:?}", self.ready, self.testified(".farewell"));
        story
    }
}

/// Whether a command has hooked its signals and begins to touch something: it says so, in this order. In cargo's shapes, so
/// that it is not one of Compose's words; colours may follow.
fn has_begun(text: &str) -> bool {
    text.contains("    Starting") || text.contains("    Stopping")
}

/// Whether a detached start has succeeded.
fn has_started(text: &str) -> bool {
    text.contains("     Started")
}

/// Whether a teardown has succeeded.
fn has_removed(text: &str) -> bool {
    text.contains("     Removed")
}
