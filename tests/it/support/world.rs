//! What there is on the simulated engine, and what Compose makes of the compose file.

use super::*;

/// What there is on the engine, and what Compose makes of the compose file.
#[derive(Debug)]
pub struct World {
    /// The project's name that the compose file or its `.env` gives.
    pub name: Option<String>,
    /// The active services, as `config` shows them.
    pub services: BTreeMap<String, Value>,
    /// The state that containers are in after `up`.
    pub starts_as: &'static str,
    /// When `up` comes to its end.
    pub up_ends: UpEnds,
    /// Compose's version.
    pub compose: &'static str,
    /// The health of containers after `up`; empty without a healthcheck.
    pub health: &'static str,
    /// What each container has printed.
    pub log: &'static str,
    /// What the engine calls the host that it runs on.
    pub host: String,
    /// The engine's version.
    pub engine: &'static str,
    /// What it tells of itself besides.
    pub info: Value,
    /// Anonymous volumes that no container uses.
    pub anonymous: Vec<String>,
    /// The containers whose image has Compose's labels.
    pub forged: Vec<String>,
    /// The ids of images that newer ones have replaced.
    pub replaced: Vec<String>,
    /// The images that were loaded.
    pub images: Vec<Image>,
    pub containers: Vec<Container>,
    /// Project and name.
    pub networks: Vec<(String, String)>,
    /// Project and name.
    pub volumes: Vec<(String, String)>,
    pub(super) events: Vec<(String, Value)>,
    pub(super) made: usize,
}

/// An image that was loaded.
#[derive(Clone, Debug)]
pub struct Image {
    /// With its tag.
    pub name: String,
    /// Made of the name of its configuration, as by an engine.
    pub id: String,
    pub config: Value,
    /// The paths in its layers, in order.
    pub paths: Vec<String>,
}

impl Image {
    /// Reads an archive as an engine does.
    fn read(archive: &Path) -> Image {
        let bytes = fs::read(archive).expect("an archive");
        let file = |name: &str| -> Vec<u8> {
            let mut archive = tar::Archive::new(&bytes[..]);
            let entries = archive.entries().expect("entries").map(|entry| entry.expect("an entry"));
            let mut named = entries.filter(|entry| entry.path().is_ok_and(|path| path == Path::new(name)));
            let mut content = Vec::new();
            std::io::copy(&mut named.next().expect(name), &mut content).expect("its content");
            content
        };
        let manifest: Value = serde_json::from_slice(&file("manifest.json")).expect("a manifest");
        let config = manifest[0]["Config"].as_str().expect("a configuration");
        let layers = manifest[0]["Layers"].as_array().expect("layers");
        let paths = layers.iter().flat_map(|layer| {
            let layer = file(layer.as_str().expect("a name"));
            let mut layer = tar::Archive::new(&layer[..]);
            let entries = layer.entries().expect("entries").map(|entry| entry.expect("an entry"));
            entries.map(|entry| entry.path().expect("a path").display().to_string()).collect::<Vec<_>>()
        });
        Image {
            name: manifest[0]["RepoTags"][0].as_str().expect("a name").to_string(),
            id: format!("sha256:{}", config.trim_end_matches(".json")),
            config: serde_json::from_slice(&file(config)).expect("a configuration"),
            paths: paths.collect(),
        }
    }
}

impl World {
    pub(super) fn new() -> World {
        World {
            name: None,
            services: BTreeMap::from([("api".to_string(), json!({})), ("db".to_string(), json!({}))]),
            starts_as: "running",
            up_ends: UpEnds::AsItShould,
            compose: "2.26.1",
            health: "",
            log: "",
            host: fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_string(),
            engine: "28.5.2",
            info: json!({}),
            anonymous: Vec::new(),
            forged: Vec::new(),
            replaced: Vec::new(),
            images: Vec::new(),
            containers: Vec::new(),
            networks: Vec::new(),
            volumes: Vec::new(),
            events: Vec::new(),
            made: 0,
        }
    }

    /// A container as `up` in the workspace at `root` makes it.
    pub fn add_container(&mut self, project: &str, service: &str, state: &str, root: &Path) -> &mut Container {
        self.made += 1;
        self.containers.push(Container {
            project: project.to_string(),
            service: service.to_string(),
            name: format!("{project}-{service}-1"),
            id: format!("{:012x}{:052x}", self.made, self.made),
            state: state.to_string(),
            exit_code: 0,
            health: self.health,
            restarts: 0,
            error: String::new(),
            ports: String::new(),
            is_one_off: false,
            config_files: root.join(".stagecraft/dev/compose.yaml").display().to_string(),
            working_dir: root.join(".stagecraft/dev").display().to_string(),
            made_by: self.compose,
            stuck: false,
        });
        self.containers.last_mut().expect("it was just made")
    }

    /// `named`: the services that it is about; all if there are none.
    pub(super) fn up(&mut self, project: &str, root: &Path, without_traefik: bool, named: &[String]) {
        let network = (project.to_string(), format!("{project}_default"));
        if !self.networks.contains(&network) {
            self.networks.push(network);
        }
        if without_traefik {
            self.containers.retain(|c| c.project != project || c.service != "traefik");
        }
        for service in self.services.keys().cloned().collect::<Vec<_>>() {
            let exists = self.containers.iter().any(|c| c.project == project && c.service == service);
            let left_out = without_traefik && service == "traefik" || !named.is_empty() && !named.contains(&service);
            if !exists && !left_out {
                let state = self.starts_as;
                self.add_container(project, &service, state, root);
            }
        }
    }

    /// Lets a container end by itself.
    pub fn exits(&mut self, service: &str, code: i64) {
        for container in self.containers.iter_mut().filter(|c| c.service == service) {
            container.state = "exited".to_string();
            container.exit_code = code;
        }
    }

    /// Stops every container of a project, as `docker compose stop` does.
    pub fn stop(&mut self, project: &str) {
        for container in self.containers.iter_mut().filter(|c| c.project == project && c.is_alive() && !c.stuck) {
            self.events.push((project.to_string(), kill(&container.id)));
            container.state = "exited".to_string();
            container.exit_code = 143;
        }
    }

    /// Starts its containers again.
    pub fn start(&mut self, project: &str) {
        for container in self.containers.iter_mut().filter(|c| c.project == project) {
            self.events
                .push((project.to_string(), json!({ "action": "start", "id": container.id, "time": nanoseconds() })));
            container.state = "running".to_string();
            container.exit_code = 0;
        }
    }

    /// Removes a project, as `docker compose down` does: with `everything` also what the file does not name.
    pub fn down(&mut self, project: &str, everything: bool, volumes: bool) {
        let services = &self.services;
        self.containers
            .retain(|c| c.project != project || c.stuck || !everything && !services.contains_key(&c.service));
        if !self.containers.iter().any(|c| c.project == project) {
            self.networks.retain(|(owner, _)| owner != project);
        }
        if volumes {
            self.volumes.retain(|(owner, _)| owner != project);
        }
    }

    /// What `up` does, for a hook that answers in its place.
    pub fn up_for(&mut self, call: &Call) {
        let words = call.args.iter().map(|arg| arg.to_string_lossy().into_owned());
        let named: Vec<String> = words.filter(|word| self.services.contains_key(word)).collect();
        self.up(&call.project().unwrap_or_default(), &call.cwd, call.has("traefik=0"), &named);
    }

    /// What `down` does, for a hook that answers in its place.
    pub fn down_for(&mut self, call: &Call) {
        let everything = call.has("--remove-orphans");
        if call.has("--rmi") {
            // Those that the file does not name in a way of its own; here there are no others.
            self.images.clear();
        }
        self.down(&call.project().unwrap_or_default(), everything, call.has("--volumes"));
    }

    pub(super) fn is_up(&self, project: &str) -> bool {
        self.containers.iter().any(|c| c.project == project && c.is_alive() && !c.stuck)
    }

    pub(super) fn has_started(&self, project: &str) -> bool {
        let mut ours = self.containers.iter().filter(|c| c.project == project).peekable();
        ours.peek().is_some() && ours.all(|c| c.state != "created")
    }

    /// Whether nothing at all is on the engine.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.networks.is_empty() && self.volumes.is_empty()
    }

    /// The beginning of what a call does, and its answer if that does not take longer.
    pub(super) fn begin(&mut self, call: &Call) -> Option<Reply> {
        let project = call.project().unwrap_or_default();
        let of_project = |list: &[(String, String)]| {
            let names: Vec<_> =
                list.iter().filter(|(owner, _)| *owner == project).map(|(_, name)| json!({ "Name": name })).collect();
            Some(Reply::lines(names))
        };
        let ours = self.containers.iter().filter(|c| project.is_empty() || c.project == project);
        if let Some(file) = call.file()
            && !call.cwd.join(&file).is_file()
        {
            return Some(Reply::exit(1).stderr(format!("open {file}: no such file or directory\n")));
        }
        match call.verb {
            Verb::Config => {
                let on_stdin = call.stdin.strip_prefix("name: \"").and_then(|rest| rest.split('"').next());
                let name = call.project().or(self.name.clone()).or(on_stdin.map(str::to_owned));
                let model = json!({ "name": name.unwrap_or("dev".to_string()), "services": self.services });
                Some(Reply::lines([model]))
            }
            Verb::Version => Some(Reply::exit(0).stdout(format!("{}\n", self.compose))),
            Verb::Up => {
                self.up_for(call);
                (call.has("-d") && self.up_ends == UpEnds::AsItShould).then(Reply::default)
            }
            Verb::Down => {
                self.down_for(call);
                Some(Reply::default())
            }
            Verb::Stop => {
                self.stop(&project);
                Some(Reply::default())
            }
            Verb::Inspect if call.has("{{json .Image}}") => {
                let id = call.args.last().expect("an id");
                Some(Reply::lines(self.containers.iter().filter(|c| **id == *c.id).map(|c| json!(c.name))))
            }
            Verb::Image if call.has("{{json .Config.Labels}}") => {
                let forged = self.forged.iter().any(|name| call.has(name));
                Some(Reply::lines([json!(forged.then(|| json!({"com.docker.compose.project.working_dir": "/"})))]))
            }
            Verb::Inspect => {
                let (there, gone): (Vec<_>, Vec<_>) =
                    call.args[4..].iter().partition(|id| self.containers.iter().any(|c| **id == *c.id));
                let there = self.containers.iter().filter(|c| there.iter().any(|id| **id == *c.id));
                let reply = Reply::lines(there.map(|c| self.row(c)));
                Some(match gone.first() {
                    None => reply,
                    Some(id) => Reply {
                        exit: 1,
                        stderr: format!("Error: No such container: {}\n", id.to_string_lossy()),
                        ..reply
                    },
                })
            }
            Verb::LastWords => Some(Reply::exit(0).stdout(self.log)),
            Verb::Image if call.has("ls") && call.has("dangling=true") => {
                Some(Reply::exit(0).stdout(self.replaced.join("\n")))
            }
            Verb::Image if call.has("rm") => {
                self.images.retain(|image| !call.has(&image.id));
                Some(Reply::default())
            }
            Verb::Image => {
                let names: Vec<String> = call.args[4..].iter().map(|arg| format!("{}:latest", arg.display())).collect();
                let there: Vec<&Image> = self.images.iter().filter(|image| names.contains(&image.name)).collect();
                let row = |it: &&Image| json!({ "Id": it.id, "RepoTags": [it.name], "Labels": it.config["config"]["Labels"] });
                let exit = i32::from(there.len() < names.len());
                Some(Reply { exit, ..Reply::lines(there.iter().map(row)) })
            }
            Verb::Load => {
                let image = Image::read(&call.cwd.join(call.args.last()?));
                let old = self.images.iter().filter(|it| it.name == image.name).map(|it| it.id.clone());
                self.replaced.extend(old);
                self.images.retain(|it| it.name != image.name);
                self.images.push(image);
                Some(Reply::default())
            }
            Verb::Info if call.has("{\"SystemTime\":{{json .SystemTime}}}") => {
                Some(Reply::lines([json!({ "SystemTime": now().to_string() })]))
            }
            Verb::Info if call.has("{{json .}}") => {
                let mut info = json!({
                    "Name": self.host,
                    "DockerRootDir": "/",
                    "ClientInfo": { "Plugins": [{ "Name": "compose", "Path": "/plugins/docker-compose" }] },
                });
                info.as_object_mut()?.extend(self.info.as_object()?.clone());
                Some(Reply::lines([info]))
            }
            Verb::Info => Some(Reply::lines([json!(self.host)])),
            Verb::Context => {
                let set = |name: &str| call.env.get(OsStr::new(name)).map(|value| value.to_string_lossy().into_owned());
                let context = set("DOCKER_CONTEXT").unwrap_or("default".to_string());
                let host = set("DOCKER_HOST").unwrap_or("unix:///var/run/docker.sock".to_string());
                Some(Reply::lines([json!({ "context": context, "host": host })]))
            }
            Verb::Architecture if call.has("{{json .}}") => {
                let server = json!({ "Version": self.engine, "Os": "linux", "Arch": architecture() });
                Some(Reply::lines([json!({ "Client": { "Version": "28.2.2" }, "Server": server })]))
            }
            Verb::Architecture => Some(Reply::lines([json!({ "Os": "linux", "Arch": architecture() })])),
            Verb::Ids | Verb::Containers => Some(Reply::lines(ours.map(|c| {
                json!({
                    "Id": c.id,
                    "Names": [c.name],
                    "State": c.state,
                    "Labels": {
                        "com.docker.compose.project": c.project,
                        "com.docker.compose.service": c.service,
                        "com.docker.compose.oneoff": if c.is_one_off { "True" } else { "False" },
                        "com.docker.compose.project.config_files": c.config_files,
                        "com.docker.compose.project.working_dir": c.working_dir,
                        "com.docker.compose.version": c.made_by,
                    },
                    "PortsInWords": c.ports,
                })
            }))),
            Verb::Networks if call.has("dangling=true") => {
                let used = |owner: &String| self.containers.iter().any(|c| c.project == *owner && c.is_alive());
                let unused = self.networks.iter().filter(|(owner, _)| !used(owner));
                Some(Reply::lines(unused.map(|(owner, name)| json!({ "project": owner, "name": name }))))
            }
            Verb::Networks => of_project(&self.networks),
            Verb::Volumes if call.has("rm") => {
                self.anonymous.retain(|name| !call.has(name));
                Some(Reply::default())
            }
            Verb::Volumes if call.has("dangling=true") => {
                Some(Reply::lines(self.anonymous.iter().map(|name| json!({ "Name": name, "Labels": "" }))))
            }
            Verb::Volumes => of_project(&self.volumes),
            Verb::Events => {
                Some(Reply::lines(self.events.iter().filter(|(owner, _)| *owner == project).map(|(_, e)| e.clone())))
            }
            Verb::Logs => Some(Reply::default()),
            Verb::Starts => self.has_started(&project).then(|| Reply::lines([json!({ "action": "start" })])),
            Verb::Other => Some(Reply::exit(125).stderr(format!("unknown to the fake docker: {}\n", call.line()))),
        }
    }

    /// As `docker container inspect` describes it.
    pub(super) fn row(&self, container: &Container) -> Value {
        let health = (!container.health.is_empty()).then(|| json!({ "Status": container.health }));
        json!({
            "Id": container.id,
            "Name": format!("/{}", container.name),
            "Config": { "Labels": {
                "com.docker.compose.service": container.service,
                "com.docker.compose.container-number": "1",
            } },
            "RestartCount": container.restarts,
            "State": {
                "Status": container.state,
                "ExitCode": container.exit_code,
                "Error": container.error,
                "StartedAt": "2026-01-02T03:04:05.6Z",
                "Health": health,
            },
            "NetworkSettings": {
                "Ports": self.services.get(&container.service).map(|service| service["bindings"].clone()),
            },
        })
    }
}

pub(super) type Hook = Box<dyn FnMut(&Call, &mut World) -> Option<Reply> + Send>;
