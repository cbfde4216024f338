//! A stage for one scenario: a Cargo workspace with a unique name in a folder of its own, and the engine that it plays
//! on. However the scenario ends, the processes that it started and what its projects left on the engine are removed.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::support::engine::{self, Engine, PREFIX};
use crate::support::fixture::Fixture;
use crate::support::pty::Pty;
use crate::support::run::{Ended, Run, Transcript};

/// Plays a scenario on the engine of this name.
pub fn play(engine: &str, name: &str, scenario: fn(&Stage)) {
    let engine = engine::get(engine);
    let _turn = Turn::take();
    let stage = Stage::new(engine, name);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        scenario(&stage);
        stage.assert_empty();
    }));
    if let Err(failure) = outcome {
        stage.show();
        stage.clear();
        resume_unwind(failure);
    }
    stage.remove_images();
}

/// Where scenarios take place.
pub struct Stage {
    pub engine: &'static Engine,
    /// The Compose project that the workspace's folder makes.
    pub project: String,
    /// Unique, and what everything of this stage has in its name.
    pub id: String,
    temp: TempDir,
    began: String,
    /// Everything that may have to be removed at the end.
    projects: RefCell<Vec<(&'static Engine, String)>>,
    transcripts: RefCell<Vec<(String, Arc<Transcript>)>>,
    events: OnceCell<Run>,
}

impl Stage {
    fn new(engine: &'static Engine, name: &str) -> Stage {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock").as_nanos();
        let id =
            format!("{:08x}", u64::try_from(now & 0xffff_ffff).expect("32 bits") ^ u64::from(std::process::id()) << 12);
        let id = id[id.len() - 8..].to_string();
        let project = format!("{PREFIX}{}-{id}", name.replace('_', "-"));
        let stage = Stage {
            engine,
            project: project.clone(),
            id,
            temp: tempfile::Builder::new().prefix(PREFIX).tempdir().expect("a temporary folder"),
            began: format!("{}.{:09}", now / 1_000_000_000, now % 1_000_000_000),
            projects: RefCell::default(),
            transcripts: RefCell::default(),
            events: OnceCell::new(),
        };
        stage.expect_project(&project);
        stage.workspace(&project);
        stage
    }

    /// A folder in which nothing else happens.
    pub fn temp(&self) -> &Path {
        self.temp.path()
    }

    /// The root of the workspace.
    pub fn root(&self) -> PathBuf {
        self.temp().join(&self.project)
    }

    /// Writes one more Cargo workspace, with a member `app`.
    pub fn workspace(&self, folder: &str) -> PathBuf {
        let root = self.temp().join(folder);
        fs::create_dir_all(root.join("app/src")).expect("folders");
        fs::create_dir_all(root.join(".stagecraft/dev")).expect("folders");
        write(&root.join("Cargo.toml"), "[workspace]\nmembers = [\"app\"]\nresolver = \"2\"\n");
        write(&root.join("app/Cargo.toml"), "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
        write(&root.join("app/src/lib.rs"), "");
        root
    }

    /// Writes the compose file.
    pub fn compose(&self, text: &str) {
        compose_in(&self.root(), text);
    }

    /// Lets the end of the stage clear this project too.
    pub fn expect_project(&self, project: &str) {
        self.expect_project_on(self.engine, project);
    }

    pub fn expect_project_on(&self, engine: &'static Engine, project: &str) {
        assert!(project.starts_with(PREFIX), "`{project}` could be anybody's");
        self.projects.borrow_mut().push((engine, project.to_string()));
    }

    /// The program, in the workspace's root.
    pub fn tool(&self, args: &[&str]) -> Tool<'_> {
        let mut tool = self.program(env!("CARGO_BIN_EXE_cargo-stagecraft"), args);
        tool.title = format!("cargo-stagecraft {}", args.join(" "));
        tool
    }

    /// `cargo ARGS`, with the program on PATH.
    pub fn cargo(&self, args: &[&str]) -> Tool<'_> {
        let build = Path::new(env!("CARGO_BIN_EXE_cargo-stagecraft")).parent().expect("a folder");
        let path = format!("{}:{}", build.display(), std::env::var("PATH").expect("PATH"));
        self.program("cargo", args).env("PATH", path)
    }

    /// Any program, in the workspace's root.
    pub fn program(&self, program: &str, args: &[&str]) -> Tool<'_> {
        let mut command = self.engine.command(program);
        command.args(args).current_dir(self.root());
        // Compose that is killed in the middle of a build leaves its temporary Dockerfile there.
        command.env("TMPDIR", self.temp());
        Tool { stage: self, command, title: format!("{program} {}", args.join(" ")) }
    }

    /// `dev --detach`, which has to succeed.
    #[track_caller]
    pub fn start_detached(&self) -> Ended {
        self.tool(&["dev", "--detach"]).run().with(0)
    }

    /// `dev down`, which has to succeed and to leave nothing.
    #[track_caller]
    pub fn take_down(&self) -> Ended {
        let ended = self.tool(&["dev", "down"]).run().with(0);
        self.assert_gone();
        ended
    }

    /// `docker compose` as a user types it, with the project's name.
    #[track_caller]
    pub fn compose_by_hand(&self, args: &[&str]) {
        let file = [&["compose", "-p", &self.project, "-f", ".stagecraft/dev/compose.yaml"], args].concat();
        self.program("docker", &file).run().with(0);
    }

    /// The state of each service's container.
    pub fn containers(&self) -> BTreeMap<String, String> {
        self.containers_of(&self.project)
    }

    pub fn containers_of(&self, project: &str) -> BTreeMap<String, String> {
        containers(self.engine, project)
    }

    /// Which services run.
    #[track_caller]
    pub fn assert_running(&self, services: &[&str]) {
        let containers = self.containers();
        let running: Vec<&str> =
            containers.iter().filter(|(_, state)| *state == "running").map(|(name, _)| name.as_str()).collect();
        assert_eq!(running, services, "which services run, of {containers:?}");
    }

    /// That nothing of the workspace's project exists.
    #[track_caller]
    pub fn assert_gone(&self) {
        let left = self.engine.left(&self.project);
        assert!(left.is_empty(), "still on the engine: {left:#?}");
    }

    /// The volumes of the project's containers whose names the engine may have made up.
    pub fn anonymous_volumes_of_containers(&self) -> BTreeSet<String> {
        let filter = format!("label=com.docker.compose.project={}", self.project);
        let mounts = self.engine.ask(&["ps", "--all", "--no-trunc", "--filter", &filter, "--format", "{{.Mounts}}"]);
        let names = mounts.split([',', '\n']).filter(|name| engine::is_anonymous(name));
        names.map(str::to_string).collect()
    }

    /// That nothing of any of the stage's projects exists.
    fn assert_empty(&self) {
        for (engine, project) in self.projects.borrow().iter() {
            let mut left = engine.left(project);
            left.extend(engine.anonymous_volumes_since(&self.began, project));
            assert!(left.is_empty(), "the scenario has left on the engine: {left:#?}");
        }
    }

    /// The id of a service's container.
    pub fn container(&self, service: &str) -> String {
        let label = format!("label=com.docker.compose.service={service}");
        let project = format!("label=com.docker.compose.project={}", self.project);
        self.engine.ask(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &project, "--filter", &label])
    }

    /// Blocks until a container has printed this.
    pub fn wait_for_log(&self, service: &str, text: &str) {
        self.program("docker", &["logs", "--follow", &self.container(service)]).start().wait_for(text);
    }

    /// What happens to the containers of the project, since the stage was set: `start web`, `kill web 15`, `die web 0`,
    /// `destroy web`.
    pub fn events(&self) -> &Run {
        self.events.get_or_init(|| self.listen())
    }

    fn listen(&self) -> Run {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let format = concat!(
            r#"{{.Action}} {{index .Actor.Attributes "com.docker.compose.service"}}"#,
            r#"{{with .Actor.Attributes.exitCode}} {{.}}{{end}}{{with .Actor.Attributes.signal}} {{.}}{{end}};"#
        );
        let args = ["events", "--since", &self.began, "--filter", &project, "--filter", "type=container", "--format"];
        self.program("docker", &[&args[..], &[format]].concat()).start()
    }

    /// Blocks until these services have said that they are ready and the engine knows that they run: its word comes a
    /// moment later than theirs.
    #[track_caller]
    pub fn wait_until_up(&self, run: &Run, services: &[&str]) {
        for service in services {
            run.wait_for(&format!("{service} is ready"));
            self.events().wait_for(&format!("start {service};"));
        }
    }

    /// What the programs have printed and what is on the engine, for whoever looks into a failure.
    fn show(&self) {
        for (title, transcript) in self.transcripts.borrow().iter() {
            eprintln!("---- {title}\n{}", transcript.text().trim_end());
        }
        for (engine, project) in self.projects.borrow().iter() {
            let filter = format!("label=com.docker.compose.project={project}");
            let format = "{{.Names}}\t{{.Status}}\t{{.Command}}";
            let containers = engine.try_ask(&["ps", "--all", "--filter", &filter, "--format", format]);
            eprintln!("---- docker ps -a of {project} on the {} engine", engine.name);
            eprintln!("{}", containers.unwrap_or_else(|error| error));
            eprintln!("---- all of it: {:#?}", engine.remains(project));
        }
    }

    /// Removes everything.
    fn clear(&self) {
        for (engine, project) in self.projects.borrow_mut().drain(..) {
            engine.remove(&project);
            Fixture::remove_images(engine, &project);
        }
    }

    /// Removes the images that were built, with a name or without one. No command of ours does that: they are a cache.
    fn remove_images(&self) {
        for (engine, project) in self.projects.borrow().iter() {
            Fixture::remove_images(engine, project);
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Nothing is left after a scenario that went well, and `play` has cleared after one that failed.
        if std::thread::panicking() {
            self.clear();
        }
    }
}

/// The state of each service's container of a project.
pub fn containers(engine: &Engine, project: &str) -> BTreeMap<String, String> {
    let filter = format!("label=com.docker.compose.project={project}");
    let format = r#"{{.Label "com.docker.compose.service"}} {{.State}}"#;
    let answer = engine.ask(&["ps", "--all", "--filter", &filter, "--format", format]);
    answer.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_string(), b.to_string())).collect()
}

pub fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Writes the compose file of the workspace at `root`.
pub fn compose_in(root: &Path, text: &str) {
    write(&root.join(".stagecraft/dev/compose.yaml"), text);
}

/// A command that is about to run on a stage.
pub struct Tool<'a> {
    stage: &'a Stage,
    command: Command,
    title: String,
}

impl Tool<'_> {
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    fn transcript(&self) -> Arc<Transcript> {
        let transcript = Arc::new(Transcript::default());
        self.stage.transcripts.borrow_mut().push((self.title.clone(), transcript.clone()));
        transcript
    }

    pub fn start(self) -> Run {
        let transcript = self.transcript();
        Run::start(self.command, transcript)
    }

    pub fn start_in_terminal(mut self) -> Run {
        self.command.env("TERM", "xterm-256color");
        let transcript = self.transcript();
        Run::start_in(Pty::open(), self.command, transcript)
    }

    #[track_caller]
    pub fn run(self) -> Ended {
        self.start().end()
    }
}

/// A compose file with these services.
pub fn stack(services: &[String]) -> String {
    format!("services:\n{}", services.concat())
}

/// A service that runs `script` in a shell; `more` is further YAML of the service, one line each.
pub fn service(name: &str, script: &str, more: &[&str]) -> String {
    let script = script.replace('$', "$$");
    let more: String = more.iter().map(|line| format!("    {line}\n")).collect();
    format!("  {name}:\n    image: stagecraft-test\n    pull_policy: never\n    command: [sh, -c, {script:?}]\n{more}")
}

/// Runs until it gets SIGTERM, and says so. Prints `NAME is ready` and `NAME says farewell`.
pub fn polite(name: &str, more: &[&str]) -> String {
    let script = format!("trap 'echo {name} says farewell; exit 0' TERM; echo {name} is ready; sleep 1000 & wait");
    service(name, &script, more)
}

/// As [`polite`], ready as soon as the engine has looked. Each look costs the machine a process.
pub fn healthy(name: &str, more: &[&str]) -> String {
    polite(name, &[&["healthcheck: {test: [CMD, 'true'], interval: 500ms}"], more].concat())
}

/// Runs until it is killed, with a grace that no test would wait for.
pub fn stubborn(name: &str) -> String {
    let script = format!("trap '' TERM; echo {name} is ready; while :; do sleep 1000; done");
    service(name, &script, &["stop_grace_period: 300s"])
}

/// Ends with this exit code.
pub fn ending(name: &str, code: u8) -> String {
    service(name, &format!("echo {name} has done its work; exit {code}"), &[])
}

/// Serves a page with this text on port 80, on a free port of the host. Prints `NAME is ready` once it answers.
pub fn page(name: &str, text: &str) -> String {
    let script = format!(
        "mkdir /www; echo {text} > /www/index.html; trap 'echo {name} says farewell; exit 0' TERM; \
         httpd -p 80 -h /www && echo {name} is ready; sleep 1000 & wait"
    );
    service(name, &script, &["ports: ['127.0.0.1::80']"])
}

/// A turn to play. Each scenario starts a handful of programs and containers; more than a few at a time only slow each
/// other down. It also tells the search for leftovers, which may be another process, that somebody plays.
struct Turn {
    _playing: OwnedFd,
}

static PLAYING: Mutex<usize> = Mutex::new(0);
static TURN_OVER: Condvar = Condvar::new();
const AT_ONCE: usize = 6;

impl Turn {
    fn take() -> Turn {
        let mut playing = PLAYING.lock().unwrap_or_else(PoisonError::into_inner);
        while *playing >= AT_ONCE {
            playing = TURN_OVER.wait(playing).unwrap_or_else(PoisonError::into_inner);
        }
        *playing += 1;
        drop(playing);
        let file = engine::lock_file();
        flock(&file, FlockOperation::LockShared).expect("a lock");
        Turn { _playing: file }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *PLAYING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        TURN_OVER.notify_one();
    }
}
