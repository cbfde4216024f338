//! The real engines that the scenarios run on, and what of a project exists there.
//!
//! `scripts/setup-engine.sh` makes them and writes the file `pairs`: one line a pair of engine and Compose, with name,
//! DOCKER_HOST and DOCKER_CONFIG. Without an engine a test fails with the line that says so; it never passes by
//! skipping.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};

/// What every project of this suite begins with.
pub const PREFIX: &str = "e2e-";
/// Where scripts/setup-engine.sh puts the engines unless it is told otherwise.
const DEFAULT_HOME: &str = "/var/lib/stagecraft-engines";
/// A safety net: nothing that the tests ask of an engine takes this long.
pub const DEADLINE: Duration = Duration::from_secs(60);
const PROJECT: &str = "com.docker.compose.project";

/// One engine with one Compose.
pub struct Engine {
    pub name: String,
    pub host: String,
    pub config: PathBuf,
    answers: OnceLock<Result<(), String>>,
}

/// Every pair that the machine has.
pub fn all() -> &'static [Engine] {
    static ENGINES: OnceLock<Result<Vec<Engine>, String>> = OnceLock::new();
    match ENGINES.get_or_init(read_pairs) {
        Ok(engines) => engines,
        Err(why) => missing("any", why),
    }
}

/// The engine of this name, which answers.
pub fn get(name: &str) -> &'static Engine {
    let Some(engine) = all().iter().find(|engine| engine.name == name) else {
        missing(name, "the file `pairs` does not name it")
    };
    let answers =
        engine.answers.get_or_init(|| engine.try_ask(&["version", "--format", "{{.Server.Version}}"]).map(drop));
    match answers {
        Ok(()) => engine,
        Err(why) => missing(name, why.lines().next().unwrap_or("it does not answer")),
    }
}

fn missing(name: &str, why: &str) -> ! {
    panic!("no engine `{name}` to test on ({why}): run scripts/setup-engine.sh")
}

/// Where scripts/setup-engine.sh has put the engines, and what else it brings.
pub fn home() -> PathBuf {
    std::env::var_os("STAGECRAFT_ENGINES").unwrap_or_else(|| DEFAULT_HOME.into()).into()
}

fn read_pairs() -> Result<Vec<Engine>, String> {
    let path = home().join("pairs");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.lines()
        .map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            [name, host, config] => Ok(Engine {
                name: name.to_string(),
                host: host.to_string(),
                config: config.into(),
                answers: OnceLock::new(),
            }),
            _ => Err(format!("{}: what does `{line}` mean?", path.display())),
        })
        .collect()
}

impl Engine {
    /// A command in a clean environment that chooses this engine and its Compose.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // What cargo, rustup and docker need to be found at all; nothing that a developer has set for other reasons.
        let kept = ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "TMPDIR"];
        command.env_clear().envs(kept.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.env("DOCKER_HOST", &self.host).env("DOCKER_CONFIG", &self.config).env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null());
        command
    }

    /// What `docker ARGS` prints on stdout.
    pub fn ask(&self, args: &[&str]) -> String {
        self.try_ask(args).unwrap_or_else(|error| panic!("`docker {}` on {}: {error}", args.join(" "), self.name))
    }

    /// As `ask`; the error is what it prints on stderr.
    pub fn try_ask(&self, args: &[&str]) -> Result<String, String> {
        let mut command = self.command("docker");
        command.args(args);
        let output = output(command)?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_string())
        }
    }

    /// One line for each container, network and volume of the projects that `filter` accepts.
    fn things(&self, project: Option<&str>, accept: impl Fn(&str) -> bool) -> Vec<Thing> {
        let filter = project.map_or(format!("label={PROJECT}"), |project| format!("label={PROJECT}={project}"));
        let mut things = Vec::new();
        for (kind, list, name) in [
            ("container", &["ps", "--all"][..], r"{{.Names}}"),
            ("network", &["network", "ls"], r"{{.Name}}"),
            ("volume", &["volume", "ls"], r"{{.Name}}"),
        ] {
            let format = format!(r#"{{{{.Label "{PROJECT}"}}}}	{name}"#);
            let answer = self.ask(&[list, &["--filter", &filter, "--format", &format]].concat());
            let lines = answer.lines().filter_map(|line| line.split_once('\t'));
            let wanted = lines.filter(|(project, _)| accept(project));
            things.extend(wanted.map(|(_, name)| Thing { kind, name: name.to_string() }));
        }
        things
    }

    /// What exists of a project.
    pub fn remains(&self, project: &str) -> Vec<Thing> {
        self.things(Some(project), |_| true)
    }

    /// What exists of any project of this suite. For `tests/e2e_leftovers.rs`.
    pub fn leftovers(&self) -> Vec<Thing> {
        self.things(None, |project| project.starts_with(PREFIX))
    }

    /// What exists of a project, without what the engine has lost track of.
    pub fn left(&self, project: &str) -> Vec<Thing> {
        self.remains(project).into_iter().filter(|thing| !self.has_lost(thing)).collect()
    }

    /// Whether there is a volume of this name.
    pub fn has_volume(&self, name: &str) -> bool {
        self.try_ask(&["volume", "inspect", "--format", "{{.Name}}", name]).is_ok()
    }

    /// The anonymous volumes that the project's containers have had since then and that are still there, as far as the engine
    /// remembers: it keeps its last events.
    pub fn anonymous_volumes_since(&self, began: &str, project: &str) -> Vec<Thing> {
        let events = |filters: &[&str], format: &str| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock").as_secs_f64();
            let until = format!("{now:.9}");
            self.ask(&[&["events", "--since", began, "--until", &until, "--format", format], filters].concat())
        };
        let label = format!("label={PROJECT}={project}");
        let containers =
            events(&["--filter", "type=container", "--filter", "event=start", "--filter", &label], "{{.Actor.ID}}");
        let mounts = events(
            &["--filter", "type=volume", "--filter", "event=mount"],
            "{{.Actor.Attributes.container}} {{.Actor.ID}}",
        );
        let ours = |container: &str| containers.lines().any(|line| line == container);
        let ours = mounts.lines().filter_map(|line| line.split_once(' ')).filter(|(container, _)| ours(container));
        let names: BTreeSet<&str> = ours.map(|(_, name)| name).filter(|name| is_anonymous(name)).collect();
        let left = names.into_iter().filter(|name| self.has_volume(name));
        left.map(|name| Thing { kind: "volume", name: name.to_string() }).collect()
    }

    /// Removes what exists of a project, as far as the engine lets us.
    pub fn remove(&self, project: &str) {
        for Thing { kind, name } in self.remains(project) {
            let _ = match kind {
                "container" => self.try_ask(&["rm", "--force", "--volumes", &name]),
                "network" => self.try_ask(&["network", "rm", &name]),
                _ => self.try_ask(&["volume", "rm", "--force", &name]),
            };
        }
    }

    /// Whether this is a network that the engine itself has lost track of: no container is attached, and yet it cannot
    /// be removed because of "active endpoints". Engine 20.10 does that about once in a hundred stacks, whatever
    /// command is used, until it is restarted. Asking means trying to remove it.
    pub fn has_lost(&self, thing: &Thing) -> bool {
        let Thing { kind: "network", name } = thing else { return false };
        let attached = self.try_ask(&["network", "inspect", "--format", "{{len .Containers}}", name]);
        attached.as_deref() == Ok("0")
            && self.try_ask(&["network", "rm", name]).is_err_and(|error| error.contains("has active endpoints"))
    }
}

/// Whether the engine could have made up this name.
pub fn is_anonymous(volume: &str) -> bool {
    volume.len() == 64 && volume.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A container, network or volume.
#[derive(Debug)]
pub struct Thing {
    pub kind: &'static str,
    pub name: String,
}

/// Runs a command to its end, but not for ever.
fn output(mut command: Command) -> Result<Output, String> {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run {}: {error}", command.get_program().to_string_lossy()))?;
    let pid = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(DEADLINE) {
        Ok(output) => output.map_err(|error| error.to_string()),
        Err(_) => {
            // Not reaped yet, or the answer would be there.
            let _ = kill_process(pid, Signal::KILL);
            Err(format!("no answer within {} seconds", DEADLINE.as_secs()))
        }
    }
}

/// Locked shared by whoever plays a scenario, exclusively by the search for leftovers.
pub fn lock_file() -> OwnedFd {
    let path = std::env::temp_dir().join("cargo-stagecraft-e2e.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    file.unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}
