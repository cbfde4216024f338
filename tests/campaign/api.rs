//! Asks an engine through its socket. A trial asks often, and a `docker` each time would cost more than the answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::engine::{Engine, is_anonymous};

const PROJECT: &str = "com.docker.compose.project";
/// A safety net: nothing that is asked here takes this long.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct Api(PathBuf);

/// A container or network that is still there.
pub struct Thing {
    pub name: String,
    path: String,
    /// A network that the engine has lost track of: no container is on it, and yet "active endpoints" keep it.
    pub is_lost: bool,
}

impl Api {
    pub fn new(engine: &Engine) -> Api {
        let path = engine.host.strip_prefix("unix://").expect("an engine behind a Unix socket");
        Api(path.into())
    }

    /// The status and the body of the answer, which has only begun to come.
    fn send(&self, method: &str, path: &str) -> (u16, BufReader<UnixStream>) {
        let mut stream = UnixStream::connect(&self.0).expect("the engine's socket");
        // With version 1.0 the answer comes in one piece and ends with the connection.
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: docker\r\n\r\n").expect("a question to the engine");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).expect("an answer");
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        while !line.trim().is_empty() {
            line.clear();
            reader.read_line(&mut line).expect("a header");
        }
        (status, reader)
    }

    fn ask(&self, method: &str, path: &str) -> (u16, Value) {
        let (status, mut reader) = self.send(method, path);
        reader.get_ref().set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let mut body = Vec::new();
        reader.read_to_end(&mut body).expect("the whole answer");
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    fn list(&self, path: &str) -> Vec<Value> {
        match self.ask("GET", path) {
            (200, Value::Array(list)) => list,
            (_, Value::Null) => Vec::new(),
            (status, answer) => panic!("{path}: {status}: {answer}"),
        }
    }

    /// The containers and networks of a project.
    pub fn left(&self, project: &str) -> Vec<Thing> {
        self.with_lost_ones(self.containers_and_networks(&of_project(project)))
    }

    /// Those of all projects whose names begin like this.
    pub fn left_of_all(&self, prefix: &str) -> Vec<Thing> {
        let mut things = self.containers_and_networks(&labelled(PROJECT));
        things.retain(|thing| thing.name.contains(prefix));
        self.with_lost_ones(things)
    }

    /// The anonymous volumes of a container, if it is still there.
    pub fn anonymous_volumes_of(&self, container: &str) -> Vec<String> {
        let (_, about) = self.ask("GET", &format!("/containers/{container}/json"));
        let names = about["Mounts"].as_array().into_iter().flatten().map(|mount| word(&mount["Name"]));
        names.filter(|name| is_anonymous(name)).map(str::to_string).collect()
    }

    /// Whether there is a volume of this name.
    pub fn has_volume(&self, name: &str) -> bool {
        self.ask("GET", &format!("/volumes/{name}")).0 == 200
    }

    /// Removes a volume, if it can be removed.
    pub fn remove_volume(&self, name: &str) {
        self.ask("DELETE", &format!("/volumes/{name}"));
    }

    fn with_lost_ones(&self, mut things: Vec<Thing>) -> Vec<Thing> {
        for network in things.iter_mut().filter(|thing| thing.path.starts_with("/networks")) {
            network.is_lost = self.has_lost(&network.path);
        }
        things
    }

    fn containers_and_networks(&self, filters: &str) -> Vec<Thing> {
        let containers = self.list(&format!("/containers/json?all=1&{filters}")).into_iter().map(|container| Thing {
            name: format!("container {} ({})", word(&container["Names"][0]), word(&container["Status"])),
            path: format!("/containers/{}", word(&container["Id"])),
            is_lost: false,
        });
        let networks = self.list(&format!("/networks?{filters}")).into_iter().map(|network| Thing {
            name: format!("network {}", word(&network["Name"])),
            path: format!("/networks/{}", word(&network["Id"])),
            is_lost: false,
        });
        containers.chain(networks).collect()
    }

    /// Asking means trying to remove it, which is right for whatever should not be there.
    fn has_lost(&self, network: &str) -> bool {
        let (_, about) = self.ask("GET", network);
        let is_empty = about["Containers"].as_object().is_none_or(serde_json::Map::is_empty);
        is_empty && {
            let (status, answer) = self.ask("DELETE", network);
            status >= 400 && word(&answer["message"]).contains("has active endpoints")
        }
    }

    /// Removes everything that a project has here, also its volumes and images; what cannot be removed stays.
    pub fn clear(&self, project: &str) {
        for thing in self.containers_and_networks(&of_project(project)) {
            self.remove(&thing);
        }
        self.clear_kept(project);
    }

    /// Removes a container or network, if it can be removed.
    pub fn remove(&self, thing: &Thing) {
        self.ask("DELETE", &format!("{}?force=1&v=1", thing.path));
    }

    /// Removes what is left on purpose: volumes and images.
    pub fn clear_kept(&self, project: &str) {
        let label = of_project(project);
        let (_, volumes) = self.ask("GET", &format!("/volumes?{label}"));
        for volume in volumes["Volumes"].as_array().into_iter().flatten() {
            self.ask("DELETE", &format!("/volumes/{}?force=1", word(&volume["Name"])));
        }
        for image in self.list(&format!("/images/json?{label}")) {
            self.ask("DELETE", &format!("/images/{}?force=1", word(&image["Id"])));
        }
    }

    /// Removes from the build cache what builds with this step have left there.
    pub fn clear_build_cache(&self, step: &str) {
        let (_, usage) = self.ask("GET", "/system/df?type=build-cache");
        for entry in usage["BuildCache"].as_array().into_iter().flatten() {
            // Each build keeps the (empty) folder and the Dockerfile that it was given, of use to nobody.
            let is_ours = word(&entry["Description"]).ends_with(step) || word(&entry["Type"]) == "source.local";
            if is_ours && entry["InUse"] == false {
                let id = format!("{{\"id\":[{}]}}", entry["ID"]);
                self.ask("POST", &format!("/build/prune?all=1&filters={}", encoded(&id)));
            }
        }
    }

    /// The events of a project's containers from now on, one JSON a line, until the returned half is dropped.
    pub fn events_of_containers(&self, project: &str) -> (Listening, impl BufRead + use<>) {
        self.events(&format!("{{\"type\":[\"container\"],\"label\":[\"{PROJECT}={project}\"]}}"))
    }

    /// The same of its network, whose events have no labels.
    pub fn events_of_network(&self, project: &str) -> (Listening, impl BufRead + use<>) {
        self.events(&format!("{{\"type\":[\"network\"],\"network\":[\"{project}_default\"]}}"))
    }

    fn events(&self, filters: &str) -> (Listening, BufReader<UnixStream>) {
        let (status, reader) = self.send("GET", &format!("/events?filters={}", encoded(filters)));
        assert_eq!(status, 200, "the engine tells no events");
        (Listening(reader.get_ref().try_clone().expect("dup")), reader)
    }
}

/// Ends the stream of events when it is dropped.
pub struct Listening(UnixStream);

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

fn of_project(project: &str) -> String {
    labelled(&format!("{PROJECT}={project}"))
}

fn labelled(label: &str) -> String {
    format!("filters={}", encoded(&format!("{{\"label\":[{label:?}]}}")))
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
