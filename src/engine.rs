//! Questions to the engine, asked by label: what of a project exists, whose is it, is there an engine at all.
//!
//! Compose's own word is not enough here: its `down` says 0 with containers still running (a service behind a profile,
//! an orphan), so what is left is asked of the engine itself.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::compose::{ProjectName, Volumes};
use crate::exit::{Code, Failure};
use crate::process::{Executor, Invocation};

const PROJECT_LABEL: &str = "label=com.docker.compose.project=";

/// A container of a project, in whatever state.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The engine's word: `created`, `running`, `exited` …
    pub state: String,
    /// The service that it belongs to.
    pub service: String,
    /// The folder of the compose file that it was made from; empty if it does not say.
    pub working_dir: String,
    /// The version of the Compose that made it; empty if it does not say.
    #[serde(default)]
    pub made_by: String,
}

impl Container {
    /// Whether it runs, or is about to again.
    pub fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "running" | "restarting" | "paused")
    }
}

/// Every container of a project.
///
/// # Errors
/// [`Code::EngineUnavailable`] if docker is missing or the daemon does not answer.
pub fn containers(executor: &dyn Executor, project: &ProjectName) -> Result<Vec<Container>, Failure> {
    let format = concat!(
        r#"{"name":{{json .Names}},"state":{{json .State}},"#,
        r#""service":{{json (.Label "com.docker.compose.service")}},"#,
        r#""working_dir":{{json (.Label "com.docker.compose.project.working_dir")}},"#,
        r#""made_by":{{json (.Label "com.docker.compose.version")}}}"#
    );
    let mut containers: Vec<Container> =
        ask(executor, &docker(&["ps", "--all", "--no-trunc", "--filter"], project, &["--format", format]))?;
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(containers)
}

/// The projects that have containers made from the compose file in `dev_dir`, by name.
///
/// # Errors
/// [`Code::EngineUnavailable`] if the engine does not answer.
pub fn projects_of(executor: &dyn Executor, dev_dir: &Path) -> Result<Vec<ProjectName>, Failure> {
    #[derive(Deserialize)]
    struct Origin {
        project: String,
        working_dir: PathBuf,
    }
    let mut command = Command::new("docker");
    command.args(["ps", "--all", "--filter", "label=com.docker.compose.project", "--format"]).arg(concat!(
        r#"{"project":{{json (.Label "com.docker.compose.project")}},"#,
        r#""working_dir":{{json (.Label "com.docker.compose.project.working_dir")}}}"#
    ));
    let containers: Vec<Origin> = ask(executor, &Invocation::from(command))?;
    let canonical = fs::canonicalize(dev_dir).ok();
    let ours = containers.iter().filter(|container| {
        // The dev dir itself may be gone by now; then the name that it had must do.
        let theirs = fs::canonicalize(&container.working_dir).ok();
        container.working_dir == dev_dir || (theirs.is_some() && theirs == canonical)
    });
    let mut projects: Vec<ProjectName> = ours.filter_map(|c| ProjectName::new(&c.project).ok()).collect();
    projects.sort();
    projects.dedup();
    Ok(projects)
}

/// A network of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// The containers on it that are not the project's, by name, once [`look_into_networks`] has asked.
    pub used_by: Vec<String>,
}

/// What is left of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Its containers.
    pub containers: Vec<Container>,
    /// Its networks.
    pub networks: Vec<Network>,
    /// Its volumes, by name, where they were to be removed.
    pub volumes: Vec<String>,
    /// Networks that the engine has lost track of: see [`look_into_networks`]. They do not count as left by us.
    pub lost: Vec<String>,
}

impl Remains {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.networks.is_empty() && self.volumes.is_empty()
    }

    /// The commands that remove what is left, as one line for a POSIX shell.
    pub fn removal(&self) -> String {
        let command = |verb: &[&str], names: &[&str]| {
            let mut command = Command::new("docker");
            command.args(verb).args(names);
            (!names.is_empty()).then(|| Invocation::from(command).to_string())
        };
        let containers: Vec<&str> = self.containers.iter().map(|container| container.name.as_str()).collect();
        let networks: Vec<&str> = self.networks.iter().map(|network| network.name.as_str()).collect();
        let volumes: Vec<&str> = self.volumes.iter().map(String::as_str).collect();
        let uses = self.networks.iter().flat_map(|network| network.used_by.iter().map(|user| (&network.name, user)));
        let disconnect = uses.filter_map(|(network, user)| command(&["network", "disconnect"], &[network, user]));
        let mut lines: Vec<String> = command(&["rm", "--force"], &containers).into_iter().collect();
        lines.extend(disconnect);
        lines.extend(command(&["network", "rm"], &networks));
        lines.extend(command(&["volume", "rm"], &volumes));
        lines.join(" && ")
    }
}

impl fmt::Display for Remains {
    /// One indented line for each thing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let containers = self.containers.iter().map(|c| format!("container {} ({})", c.name, c.state));
        let networks = self.networks.iter().map(|network| match network.used_by.as_slice() {
            [] => format!("network {}", network.name),
            users => format!("network {}, used by {}", network.name, users.join(", ")),
        });
        let volumes = self.volumes.iter().map(|name| format!("volume {name}"));
        let lines: Vec<String> = containers.chain(networks).chain(volumes).map(|line| format!("  {line}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// What of a project is still there; its volumes count only if they were to be removed.
///
/// # Errors
/// [`Code::EngineUnavailable`] if the engine does not answer: then nobody knows.
pub fn remains(executor: &dyn Executor, project: &ProjectName, volumes: Volumes) -> Result<Remains, Failure> {
    let names = |kind: &'static str| -> Result<Vec<String>, Failure> {
        let question = docker(&[kind, "ls", "--filter"], project, &["--format", "{{json .Name}}"]);
        let mut names: Vec<String> = ask(executor, &question)?;
        names.sort();
        Ok(names)
    };
    // Side by side: the answers do not depend on each other, and each costs a start of the docker CLI.
    thread::scope(|scope| {
        let networks = scope.spawn(|| names("network"));
        let volumes = scope.spawn(|| match volumes {
            Volumes::Remove => names("volume"),
            Volumes::Keep => Ok(Vec::new()),
        });
        let joined = |handle: thread::ScopedJoinHandle<'_, Result<Vec<String>, Failure>>| {
            handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        Ok(Remains {
            containers: containers(executor, project)?,
            networks: joined(networks)?.into_iter().map(|name| Network { name, used_by: Vec::new() }).collect(),
            volumes: joined(volumes)?,
            lost: Vec::new(),
        })
    })
}

/// Finds out why networks are left although the project has no container any more, by trying to remove each: somebody
/// else's container may be on it, or the engine has lost track of it.
///
/// Engine 20.10 sometimes loses an endpoint when a container goes. It then shows a network without any container and
/// refuses for ever to remove it, since it `has active endpoints`; only a restart of the daemon helps.
pub fn look_into_networks(executor: &dyn Executor, mut remains: Remains) -> Remains {
    let run = |args: &[&str]| {
        let mut command = Command::new("docker");
        command.args(args);
        executor.output(&Invocation::from(command))
    };
    remains.networks.retain_mut(|network| {
        let format = "{{range .Containers}}{{json .Name}}{{end}}";
        let Ok(users) = run(&["network", "inspect", "--format", format, &network.name]) else { return true };
        let users = serde_json::Deserializer::from_slice(&users.stdout).into_iter();
        network.used_by = users.collect::<Result<Vec<String>, _>>().unwrap_or_default();
        network.used_by.sort();
        if !network.used_by.is_empty() {
            return true;
        }
        let Ok(removal) = run(&["network", "rm", &network.name]) else { return true };
        let lost = String::from_utf8_lossy(&removal.stderr).contains("active endpoints");
        if lost {
            remains.lost.push(network.name.clone());
        }
        !(lost || removal.status.success())
    });
    remains
}

/// The question to which the engine goes on answering with what happens to the project's containers, a word a line.
///
/// What happened before the question reached the engine is told too. It is asked for everything, not only for what is of
/// interest, so that the docker that passes it on does not outlive whoever listens: a line that nobody reads ends it.
pub fn happenings(project: &ProjectName) -> Invocation {
    let before = ["events", "--since", "10s", "--filter", "type=container", "--filter"];
    docker(&before, project, &["--format", "{{.Action}}"])
}

/// The ids of the project's containers that somebody stopped or killed through the engine after `began`, and that have
/// not started again since.
///
/// A process that ends by itself makes no `kill` event, so this tells "stopped from elsewhere" from "crashed". The
/// engine remembers its last few hundred events only; the ones in question are a second old.
///
/// # Errors
/// [`Code::EngineUnavailable`] if the engine does not answer.
pub fn stopped_by_somebody(
    executor: &dyn Executor,
    project: &ProjectName,
    began: SystemTime,
) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    struct Happened {
        action: String,
        id: String,
        /// In nanoseconds since 1970.
        time: u128,
    }
    let began = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    // The CLI cuts `--until` down to whole seconds: `0s` would miss what has happened in this one, so it is asked to
    // listen until the next one begins.
    let before =
        ["events", "--since", "24h", "--until", "-1s", "--filter", "event=kill", "--filter", "event=start", "--filter"];
    let format = r#"{"action":{{json .Action}},"id":{{json .Actor.ID}},"time":{{json .TimeNano}}}"#;
    let events: Vec<Happened> = ask(executor, &docker(&before, project, &["--format", format]))?;
    let mut stopped: Vec<String> = Vec::new();
    for event in events.into_iter().filter(|event| event.time >= began) {
        stopped.retain(|id| *id != event.id);
        if event.action == "kill" {
            stopped.push(event.id);
        }
    }
    Ok(stopped)
}

/// The checkout that the project's containers belong to, if it is another than `dev_dir`.
///
/// Folders are compared through symlinks. One that is gone no longer counts, so that a moved workspace takes its stack
/// over. Containers that do not say where they come from are not ours either.
pub fn other_checkout(containers: &[Container], dev_dir: &Path) -> Option<PathBuf> {
    let ours = fs::canonicalize(dev_dir).ok();
    containers.iter().find_map(|container| {
        let theirs = Path::new(&container.working_dir);
        if theirs.as_os_str().is_empty() {
            return Some(theirs.to_owned());
        }
        match fs::canonicalize(theirs) {
            Ok(theirs) => (Some(&theirs) != ours.as_ref()).then_some(theirs),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // It is there, we just may not look: somebody else's.
            Err(_) => (Some(theirs) != ours.as_deref()).then(|| theirs.to_owned()),
        }
    })
}

/// That docker could not be started, as a failure with its exit code.
pub fn no_docker(error: io::Error) -> Failure {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let error = anyhow!(error).context("cannot run `docker`");
    let failure = Code::EngineUnavailable.because(error);
    if missing { failure.help("install the Docker CLI with Compose v2, or put it on PATH") } else { failure }
}

fn docker(before: &[&str], project: &ProjectName, after: &[&str]) -> Invocation {
    let mut command = Command::new("docker");
    command.args(before).arg(format!("{PROJECT_LABEL}{project}")).args(after);
    Invocation::from(command)
}

/// The answer of the engine, one JSON value a line.
fn ask<T: DeserializeOwned>(executor: &dyn Executor, question: &Invocation) -> Result<Vec<T>, Failure> {
    let mut output = executor.output(question).map_err(no_docker)?;
    if output.status.code().is_none() {
        // A signal to our process group may strike a command between its fork and its own group: nobody meant it.
        output = executor.output(question).map_err(no_docker)?;
    }
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let error = anyhow!("{}", words.trim()).context("the docker engine does not answer");
        return Err(Code::EngineUnavailable
            .because(error)
            .help("start the engine, or look at DOCKER_HOST and `docker context ls`; `docker info` asks it again"));
    }
    serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .collect::<Result<Vec<T>, _>>()
        .with_context(|| format!("cannot read what `{question}` printed"))
        .map_err(|error| Code::EngineUnavailable.because(error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{ExitStatus, Output};

    use super::*;
    use crate::process::{OnExit, Running};

    /// Answers every question with the same words.
    struct Says(i32, &'static str, &'static str);

    impl Executor for Says {
        fn output(&self, _: &Invocation) -> io::Result<Output> {
            let status = ExitStatus::from_raw(self.0 << 8);
            Ok(Output { status, stdout: self.1.into(), stderr: self.2.into() })
        }

        fn spawn(&self, _: &Invocation, _: OnExit) -> io::Result<Box<dyn Running>> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn project() -> ProjectName {
        ProjectName::new("x").unwrap()
    }

    fn container(name: &str, working_dir: &Path) -> Container {
        Container {
            name: name.to_string(),
            state: "running".to_string(),
            service: name.to_string(),
            working_dir: working_dir.display().to_string(),
            made_by: String::new(),
        }
    }

    #[test]
    fn containers_are_read_a_line_each_and_sorted() {
        let lines = r#"{"name":"b","state":"exited","service":"s","working_dir":"/a b\"c"}
            {"name":"a","state":"running","service":"s","working_dir":""}"#;
        let containers = containers(&Says(0, lines, ""), &project()).unwrap();
        let names: Vec<_> = containers.iter().map(|c| (c.name.as_str(), c.is_up())).collect();
        assert_eq!(names, [("a", true), ("b", false)]);
        assert_eq!(containers[1].working_dir, "/a b\"c");
    }

    #[test]
    fn an_engine_that_does_not_answer_is_exit_code_4_with_its_words() {
        let failure = remains(&Says(1, "", "Cannot connect to the Docker daemon\n"), &project(), Volumes::Keep);
        let failure = failure.unwrap_err();
        assert_eq!(failure.code(), Code::EngineUnavailable);
        assert_eq!(format!("{failure:#}"), "the docker engine does not answer: Cannot connect to the Docker daemon");
        let failure = containers(&Says(0, "no json", ""), &project()).unwrap_err();
        assert_eq!(failure.code(), Code::EngineUnavailable);
    }

    fn network(name: &str, used_by: &[&str]) -> Network {
        Network { name: name.to_string(), used_by: used_by.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn what_is_left_is_listed_with_the_command_that_removes_it() {
        let remains = Remains {
            containers: vec![container("x-web-1", Path::new("/"))],
            networks: vec![network("x_a", &[]), network("x_b", &["other"])],
            volumes: vec!["odd name".to_string()],
            lost: Vec::new(),
        };
        assert!(!remains.is_empty() && Remains::default().is_empty());
        assert_eq!(
            remains.to_string(),
            "  container x-web-1 (running)\n  network x_a\n  network x_b, used by other\n  volume odd name"
        );
        assert_eq!(
            remains.removal(),
            "docker rm --force x-web-1 && docker network disconnect x_b other && docker network rm x_a x_b \
             && docker volume rm 'odd name'"
        );
    }

    #[test]
    fn a_network_that_is_left_is_used_by_somebody_else_or_lost_by_the_engine() {
        /// Answers `network inspect` with these containers, and refuses `network rm` in these words.
        struct Refuses(&'static str, &'static str);
        impl Executor for Refuses {
            fn output(&self, invocation: &Invocation) -> io::Result<Output> {
                let inspect = invocation.args()[1] == "inspect";
                Says(i32::from(!inspect), self.0, self.1).output(invocation)
            }
            fn spawn(&self, _: &Invocation, _: OnExit) -> io::Result<Box<dyn Running>> {
                Err(io::ErrorKind::Unsupported.into())
            }
        }
        let look = |executor: &dyn Executor| {
            let networks = vec![network("x_default", &[])];
            let remains = look_into_networks(executor, Remains { networks, ..Remains::default() });
            (remains.networks, remains.lost)
        };
        let refusal = "error while removing network: network x_default id 1 has active endpoints";
        assert_eq!(look(&Refuses("", refusal)), (vec![], vec!["x_default".to_string()]));
        assert_eq!(look(&Refuses("\"b\"\"a\"\n", refusal)), (vec![network("x_default", &["a", "b"])], vec![]));
        assert_eq!(look(&Refuses("", "permission denied")), (vec![network("x_default", &[])], vec![]));
        assert_eq!(look(&Says(0, "", "")), (vec![], vec![]), "it could be removed after all");
    }

    #[test]
    fn only_containers_killed_since_their_last_start_were_stopped_by_somebody() {
        let events = r#"{"action":"kill","id":"old","time":999}
            {"action":"start","id":"a","time":1000} {"action":"kill","id":"a","time":1001}
            {"action":"start","id":"a","time":1002} {"action":"kill","id":"b","time":1003}
            {"action":"kill","id":"b","time":1004} {"action":"start","id":"c","time":1005}"#;
        let began = UNIX_EPOCH + std::time::Duration::from_nanos(1000);
        assert_eq!(stopped_by_somebody(&Says(0, events, ""), &project(), began).unwrap(), ["b"]);
    }

    #[test]
    fn another_checkout_is_one_that_still_exists_and_is_not_ours_through_symlinks() {
        let temp = tempfile::tempdir().unwrap();
        let (ours, theirs, link) = (temp.path().join("ours"), temp.path().join("theirs"), temp.path().join("link"));
        fs::create_dir_all(&ours).unwrap();
        fs::create_dir_all(&theirs).unwrap();
        std::os::unix::fs::symlink(&ours, &link).unwrap();
        let other = |folder: &Path| other_checkout(&[container("c", &ours), container("d", folder)], &ours);
        assert_eq!(other(&ours), None);
        assert_eq!(other(&link), None);
        assert_eq!(other(&temp.path().join("gone")), None);
        assert_eq!(other(&theirs), Some(fs::canonicalize(&theirs).unwrap()));
        assert_eq!(other(Path::new("")), Some(PathBuf::new()));
        assert_eq!(other_checkout(&[], &ours), None);
    }

    #[test]
    fn a_project_is_found_by_the_dev_dir_that_it_was_made_from() {
        let lines = r#"{"project":"b","working_dir":"/gone/dev"} {"project":"a","working_dir":"/gone/dev"}
            {"project":"a","working_dir":"/gone/dev"} {"project":"c","working_dir":"/also/gone"}
            {"project":"d","working_dir":"/"}"#;
        let names = |dev_dir: &str| {
            let projects = projects_of(&Says(0, lines, ""), Path::new(dev_dir)).unwrap();
            projects.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names("/gone/dev"), ["a", "b"]);
        assert_eq!(names("/usr/.."), ["d"]);
        assert!(names("/nowhere").is_empty());
    }
}
