//! Calls of docker, and the answers.

use super::*;

/// What a call of docker asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `docker compose config`
    Config,
    /// `docker compose version`
    Version,
    /// `docker compose up`, attached or not
    Up,
    /// `docker compose down`
    Down,
    /// `docker compose stop`
    Stop,
    /// `docker compose logs`
    Logs,
    /// `docker ps`, the containers with what they belong to
    Containers,
    /// `docker ps`, the ids of those that the file asks for
    Ids,
    /// `docker container inspect`
    Inspect,
    /// `docker logs`
    LastWords,
    /// `docker image inspect`
    Image,
    /// `docker load`
    Load,
    /// `docker info`
    Info,
    /// `docker network ls`
    Networks,
    /// `docker volume ls`
    Volumes,
    /// `docker events` up to now
    Events,
    /// `docker events` from now on
    Starts,
    /// `docker version`
    Architecture,
    /// `docker context`
    Context,
    /// Anything else
    Other,
}

/// A call of docker, from its first word to its end.
#[derive(Clone, Debug)]
pub struct Call {
    pub verb: Verb,
    pub args: Vec<OsString>,
    /// `COMPOSE_…` and `DOCKER_…`, sorted.
    pub env: BTreeMap<OsString, OsString>,
    pub cwd: PathBuf,
    pub pid: i32,
    pub pgid: i32,
    /// What stdin held, where docker was told to read it.
    pub stdin: String,
    /// Whether stdin, stdout and stderr are terminals.
    pub tty: [bool; 3],
    /// Whether they are /dev/null.
    pub null: [bool; 3],
    /// Which signals it has got, SIGKILL apart.
    pub signals: Vec<i32>,
    /// It does now what it was called for: containers of an `up` exist.
    pub running: bool,
    /// The exit code that it has ended with by itself.
    pub exit: Option<i32>,
    /// It has ended.
    pub gone: bool,
}

impl Call {
    /// Whether it was killed before it could do what it was answered.
    pub fn was_killed(&self) -> bool {
        self.gone && self.exit.is_none()
    }

    /// The call as a line for a shell.
    pub fn line(&self) -> String {
        let quoted = |word: &OsStr| {
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(byte);
            if !word.is_empty() && word.as_bytes().iter().all(plain) {
                return word.to_string_lossy().into_owned();
            }
            let quoted = shlex::bytes::try_quote(word.as_bytes()).expect("no NUL in an argument");
            String::from_utf8_lossy(&quoted).into_owned()
        };
        let mut line = String::new();
        if !self.stdin.is_empty() {
            let _ = write!(line, "printf %s {} | ", quoted(OsStr::new(&self.stdin)));
        }
        for (key, value) in &self.env {
            let _ = write!(line, "{}={} ", key.to_string_lossy(), quoted(value));
        }
        line.push_str("docker");
        for arg in &self.args {
            let _ = write!(line, " {}", quoted(arg));
        }
        line
    }

    pub(super) fn has(&self, arg: &str) -> bool {
        self.args.iter().any(|a| a == arg)
    }

    pub(super) fn value_of(&self, option: &str) -> Option<String> {
        let at = self.args.iter().position(|arg| arg == option)?;
        Some(self.args.get(at + 1)?.to_string_lossy().into_owned())
    }

    /// The compose file that it reads.
    pub(super) fn file(&self) -> Option<String> {
        self.args.iter().find(|arg| *arg == COMPOSE_FILE).map(|arg| arg.to_string_lossy().into_owned())
    }

    /// The project that it is about, if it says so.
    pub(super) fn project(&self) -> Option<String> {
        let label = "label=com.docker.compose.project=";
        let by_label = self.args.iter().find_map(|arg| arg.to_string_lossy().strip_prefix(label).map(str::to_owned));
        let by_name = || {
            let name = self.env.get(OsStr::new("COMPOSE_PROJECT_NAME"))?.to_string_lossy().into_owned();
            // To Compose an empty name is none.
            (!name.is_empty()).then_some(name)
        };
        by_label.or_else(|| self.value_of("-p")).or_else(by_name)
    }
}

/// This machine's architecture, as Docker names it.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(super) fn verb_of(args: &[OsString]) -> Verb {
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let mut words = args.iter().map(|arg| &**arg);
    match words.next() {
        Some("ps") if args.iter().any(|arg| arg == "label=com.docker.compose.oneoff=False") => return Verb::Ids,
        Some("ps") => return Verb::Containers,
        Some("container") => return Verb::Inspect,
        Some("logs") => return Verb::LastWords,
        Some("image") => return Verb::Image,
        Some("load") => return Verb::Load,
        Some("info") => return Verb::Info,
        Some("version") => return Verb::Architecture,
        Some("context") => return Verb::Context,
        Some("network") => return Verb::Networks,
        Some("volume") => return Verb::Volumes,
        Some("events") if args.iter().any(|arg| arg == "--until") => return Verb::Events,
        Some("events") => return Verb::Starts,
        Some("compose") => {}
        _ => return Verb::Other,
    }
    while let Some(word) = words.next() {
        return match word {
            "-f" | "-p" | "--profile" | "--project-directory" => {
                words.next();
                continue;
            }
            "config" => Verb::Config,
            "version" => Verb::Version,
            "up" => Verb::Up,
            "down" => Verb::Down,
            "stop" => Verb::Stop,
            "logs" => Verb::Logs,
            _ => Verb::Other,
        };
    }
    Verb::Other
}

/// What docker prints, and how it ends.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) exit: i32,
}

impl Reply {
    pub fn exit(exit: i32) -> Reply {
        Reply { exit, ..Reply::default() }
    }

    pub fn stdout(mut self, text: impl Into<String>) -> Reply {
        self.stdout = text.into();
        self
    }

    pub fn stderr(mut self, text: impl Into<String>) -> Reply {
        self.stderr = text.into();
        self
    }

    pub(super) fn lines(values: impl IntoIterator<Item = Value>) -> Reply {
        let lines: String = values.into_iter().map(|value| format!("{value}\n")).collect();
        Reply::default().stdout(lines)
    }
}

/// A container on the engine.
#[derive(Clone, Debug)]
pub struct Container {
    pub project: String,
    pub service: String,
    pub name: String,
    pub id: String,
    pub state: String,
    pub exit_code: i64,
    /// `starting`, `healthy`, `unhealthy`, or empty without a healthcheck.
    pub health: &'static str,
    pub restarts: u32,
    /// Why it could not be started.
    pub error: String,
    /// As `docker ps` shows them.
    pub ports: String,
    pub is_one_off: bool,
    pub config_files: String,
    pub working_dir: String,
    /// The version of the Compose that made it.
    pub made_by: &'static str,
    /// No command stops or removes it.
    pub stuck: bool,
}

impl Container {
    pub(super) fn is_alive(&self) -> bool {
        ["created", "running", "restarting", "paused"].contains(&&*self.state)
    }
}

/// When `up` comes to its end, unless a test ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpEnds {
    /// Detached at once, attached when no container lives any more.
    AsItShould,
    /// When no container lives any more, also if detached: it still starts something.
    WithItsContainers,
    /// Not at all: it builds an image, and would start containers afterwards.
    Never,
}
