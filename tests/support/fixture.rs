//! The scenarios of `fixtures/failures`: each a workspace with one thing wrong, or none, and beside it what is expected of
//! `dev --detach --wait` in there.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::support::engine::Engine;

/// One scenario.
pub struct Fixture {
    folder: PathBuf,
    pub expected: Expected,
}

/// What stands in `expected.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// What is wrong, for whoever reads the table of the spec.
    pub about: String,
    /// More arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Who has the port `$PORT` that the file publishes.
    pub port: Option<Held>,
    /// The exit code; 0 says that a person would call the stack good.
    pub exit: i32,
    /// The service that is to blame.
    pub service: Option<String>,
    /// What a person needs to read: a part of what is said from the error on.
    pub line: String,
    /// A part of what is shown of the service's last words.
    pub log: Option<String>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Held {
    Process,
    Container,
    Free,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/failures")
}

/// The names of all, in order.
pub fn names() -> Vec<String> {
    let folders = fs::read_dir(folder()).expect("fixtures/failures");
    let mut names: Vec<String> =
        folders.map(|entry| entry.expect("a folder").file_name().into_string().expect("a name")).collect();
    names.sort();
    names
}

impl Fixture {
    pub fn read(name: &str) -> Fixture {
        let folder = folder().join(name);
        let path = folder.join("expected.yaml");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let expected = serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Fixture { folder, expected }
    }

    /// Puts the workspace into this folder.
    pub fn copy_to(&self, root: &Path) {
        copy(&self.folder, root);
    }

    /// The arguments of the program.
    pub fn args(&self) -> Vec<&str> {
        let more = self.expected.args.iter().map(String::as_str);
        ["dev", "--detach", "--wait"].into_iter().chain(more).collect()
    }

    /// Takes the port that the scenario is about. `other` is the project of whoever has it.
    pub fn take_port(&self, engine: &'static Engine, other: &str) -> Port {
        let listener = || TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let number = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let mut port = Port { number: 1, holder: String::new(), project: other.to_string(), engine, listener: None };
        match self.expected.port {
            None => {}
            Some(Held::Free) => port.number = number(&listener()),
            Some(Held::Process) => {
                let listener = listener();
                port.number = number(&listener);
                port.holder = fs::read_to_string("/proc/self/comm").expect("our own name").trim().to_string();
                port.listener = Some(listener);
            }
            Some(Held::Container) => {
                port.holder = format!("{other}-holder");
                let label = format!("com.docker.compose.project={other}");
                let run = ["run", "--detach", "--name", &port.holder, "--label", &label, "--publish", "127.0.0.1::80"];
                engine.ask(&[&run[..], &["stagecraft-test", "sleep", "1000"]].concat());
                let published = engine.ask(&["port", &port.holder, "80"]);
                let published = published.rsplit_once(':').expect("address and port").1;
                port.number = published.parse().expect("a port");
            }
        }
        port
    }

    /// Removes what it has built.
    pub fn remove_images(engine: &Engine, project: &str) {
        let label = format!("label=com.docker.compose.project={project}");
        let images = engine.try_ask(&["image", "ls", "--quiet", "--filter", &label]).unwrap_or_default();
        for image in images.lines() {
            let _ = engine.try_ask(&["image", "rm", "--force", image]);
        }
    }
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file");
        }
    }
}

/// The port that a scenario is about, for as long as somebody has it.
pub struct Port {
    pub number: u16,
    holder: String,
    project: String,
    engine: &'static Engine,
    listener: Option<TcpListener>,
}

impl Port {
    /// A text of `expected.yaml` with the names of this occasion.
    pub fn named(&self, text: &str) -> String {
        let pid = std::process::id().to_string();
        let text = text.replace("{PORT}", &self.number.to_string()).replace("{PID}", &pid);
        text.replace("{HOLDER}", &self.holder).replace("{PROJECT}", &self.project)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if self.listener.is_none() && !self.holder.is_empty() {
            let _ = self.engine.try_ask(&["rm", "--force", &self.holder]);
        }
    }
}
