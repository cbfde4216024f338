//! An engine with one stack, `shop`, of one service.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// How long anything may take. Nothing comes near it unless it hangs.
const DEADLINE: Duration = Duration::from_secs(120);

#[derive(Clone)]
pub struct Engine {
    pub address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

/// What is known in the engine.
#[derive(Default)]
pub struct State {
    /// Whether the container runs.
    pub runs: bool,
    /// Whether `down` is to wait.
    pub holds_down: bool,
    /// The folder of the compose file that the container was made from.
    pub dev_dir: String,
    /// The port that the service publishes, if it does.
    pub port: Option<u16>,
    /// The words of compose and docker that have been asked, in order; `lost up` where an `up` ended without an answer.
    pub heard: Vec<String>,
}

impl State {
    /// How often this was heard.
    pub fn count(&self, word: &str) -> usize {
        self.heard.iter().filter(|heard| *heard == word).count()
    }
}

impl Engine {
    pub fn start() -> Engine {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let engine = Engine { address, shared: Arc::default() };
        let listening = engine.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let engine = listening.clone();
                // A client that is killed is none that an answer reaches.
                thread::spawn(move || engine.serve(client).unwrap_or_default());
            }
        });
        engine
    }

    /// Changes what is known, and tells all that wait.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (state, changed) = &*self.shared;
        let result = change(&mut state.lock().expect("no scenario has failed in here"));
        changed.notify_all();
        result
    }

    /// Blocks until it is so.
    pub fn until(&self, what: &str, is_so: impl Fn(&State) -> bool) {
        let (state, changed) = &*self.shared;
        let state = state.lock().expect("no scenario has failed in here");
        let (state, waited) =
            changed.wait_timeout_while(state, DEADLINE, |state| !is_so(state)).expect("no scenario has failed in here");
        assert!(!waited.timed_out(), "{what} has not happened; heard: {:?}", state.heard);
    }

    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut asked = String::new();
        BufReader::new(client.try_clone()?).read_line(&mut asked)?;
        let words: Vec<&str> = asked.split_whitespace().collect();
        let known = ["config", "up", "down", "stop", "ps", "events", "inspect", "version", "ls", "logs"];
        let word = words.iter().find(|word| known.contains(word)).copied().unwrap_or_default();
        self.change(|state| state.heard.push(word.to_string()));
        let mut answer = |answer: Value| writeln!(client, "{answer}");
        match word {
            "config" => {
                let ports = self.change(|state| state.port).map(|port| {
                    json!([{ "target": 80, "published": port.to_string(), "protocol": "tcp", "mode": "ingress" }])
                });
                let web = json!({ "image": "web", "ports": ports.unwrap_or_else(|| json!([])) });
                answer(json!({ "says": json!({ "name": "shop", "services": { "web": web } }).to_string(), "exit": 0 }))
            }
            "ps" if self.change(|state| state.runs) => {
                let container = json!({
                    "Id": "c1", "Names": ["shop-web-1"], "State": "running", "PortsInWords": "", "Labels": {
                        "com.docker.compose.project": "shop", "com.docker.compose.service": "web",
                        "com.docker.compose.project.working_dir": self.change(|state| state.dev_dir.clone()),
                        "com.docker.compose.version": "2.26.0",
                    },
                });
                answer(json!({ "says": container.to_string(), "exit": 0 }))
            }
            "inspect" => {
                let container = json!({
                    "Id": "c1", "Name": "/shop-web-1", "RestartCount": 0, "NetworkSettings": { "Ports": {} },
                    "Config": { "Labels": {
                        "com.docker.compose.service": "web", "com.docker.compose.container-number": "1",
                    } },
                    "State": { "Status": "running", "ExitCode": 0 },
                });
                answer(json!({ "says": container.to_string(), "exit": 0 }))
            }
            "up" => {
                self.change(|state| state.runs = true);
                if words.contains(&"-d") {
                    return answer(json!({ "exit": 0 }));
                }
                let (engine, mut listening) = (self.clone(), client.try_clone()?);
                thread::spawn(move || {
                    // It says no more: this ends with it.
                    let _ = listening.read(&mut [0]);
                    engine.change(|state| state.heard.push("lost up".to_string()));
                });
                self.until("the end of up", |state| !state.runs);
                writeln!(client, "{}", json!({ "exit": 0 }))
            }
            "down" | "stop" => {
                self.until("leave to take down", |state| !state.holds_down);
                self.change(|state| state.runs = false);
                answer(json!({ "exit": 0 }))
            }
            "events" if !words.contains(&"--until") => {
                self.until("a start", |state| state.runs);
                let started = json!({ "action": "start", "id": "c1", "service": "web", "exit_code": "" });
                answer(json!({ "says": started.to_string() }))?;
                // Until it is killed.
                client.read(&mut [0]).map(drop)
            }
            "version" => answer(json!({ "says": "2.40.0", "exit": 0 })),
            _ => answer(json!({ "exit": 0 })),
        }
    }
}
