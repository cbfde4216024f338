//! Carries out a plan on an engine, and judges what came of it.

mod judging;
mod scenery;

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
use crate::plan::{Fault, Moment, Plan, Remedy, Scene, Target, signal_name};
use crate::procs::{self, End, MARK};
use crate::registry::Registry;
use crate::support::engine::Engine;
use crate::support::proxy::Proxy;
use crate::support::pty::{Modes, Pty};
use crate::support::run::{Run, Transcript};
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
            "{scene}{}{}{}{}{}{}{}",
            plan.fault,
            if plan.runs_a_command { ", for a command" } else { "" },
            match (plan.builds_a_crate, plan.edits.is_empty()) {
                (false, _) => "",
                (true, true) => ", with a crate",
                (true, false) => ", with edits",
            },
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
        self.edit(pid);
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
