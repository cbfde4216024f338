//! What is left of a project on the engine, and the command that removes it.

use std::fmt;
use std::thread;

use serde::Deserialize;

use super::volumes::volumes_of;
use super::{Container, api, containers, docker, of_project};
use crate::command::Executor;
use crate::compose::{ProjectName, Volumes};
use crate::exit::Failure;

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
pub struct Leftovers {
    /// Its containers.
    pub containers: Vec<Container>,
    /// Its networks.
    pub networks: Vec<Network>,
    /// Its volumes, by name: anonymous ones, and named ones where they were to be removed.
    pub volumes: Vec<String>,
    /// Anonymous volumes that stay, since another container uses them. They do not count as left by us.
    pub in_use: Vec<String>,
    /// Networks that the engine has lost track of: see [`look_into_networks`]. They do not count as left by us.
    pub lost: Vec<String>,
}

impl Leftovers {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.networks.is_empty() && self.volumes.is_empty()
    }

    /// The kind (`container`, `network`, `volume`) and the name of each thing.
    pub fn names(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let containers = self.containers.iter().map(|it| ("container", it.name.as_str()));
        let networks = self.networks.iter().map(|it| ("network", it.name.as_str()));
        containers.chain(networks).chain(self.volumes.iter().map(|it| ("volume", it.as_str())))
    }

    /// The commands that remove what is left, as one line for a POSIX shell.
    pub fn removal(&self) -> String {
        let command =
            |verb: &[&str], names: &[&str]| (!names.is_empty()).then(|| docker(&[verb, names].concat()).to_string());
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

impl fmt::Display for Leftovers {
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
/// [`crate::exit::Code::EngineUnavailable`] if the engine does not answer.
pub fn remains(executor: &dyn Executor, project: &ProjectName, volumes: Volumes) -> Result<Leftovers, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Named {
        name: String,
    }
    let label = of_project(project);
    let networks = || -> Result<Vec<String>, Failure> {
        let command = docker(&["network", "ls", "--filter", &label, "--format", r#"{"Name":{{json .Name}}}"#]);
        let named: Vec<Named> = api::ask_or(executor, &[api::networks(&[&label])], &command)?;
        let mut names: Vec<String> = named.into_iter().map(|named| named.name).collect();
        names.sort();
        Ok(names)
    };
    // Side by side: the answers do not depend on each other, and each costs a start of the docker CLI.
    thread::scope(|scope| {
        let networks = scope.spawn(networks);
        let volumes = scope.spawn(|| match volumes {
            Volumes::Remove => volumes_of(executor, &label),
            Volumes::Keep => Ok(Vec::new()),
        });
        let joined = |handle: thread::ScopedJoinHandle<'_, Result<Vec<String>, Failure>>| {
            handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        Ok(Leftovers {
            containers: containers(executor, project)?,
            networks: joined(networks)?.into_iter().map(|name| Network { name, used_by: Vec::new() }).collect(),
            volumes: joined(volumes)?,
            ..Leftovers::default()
        })
    })
}

/// Finds out why networks are left although the project has no container any more, by trying to remove each: somebody
/// else's container may be on it, or the engine has lost track of it.
///
/// Engine 20.10 sometimes loses an endpoint when a container goes. It then shows a network without any container and
/// refuses for ever to remove it, since it `has active endpoints`; only a restart of the daemon helps.
pub fn look_into_networks(executor: &dyn Executor, mut remains: Leftovers) -> Leftovers {
    let run = |args: &[&str]| executor.output(&docker(args));
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::process::Output;

    use super::super::fake::{Says, container, project};
    use super::*;
    use crate::command::Invocation;
    use crate::exit::Code;

    #[test]
    fn an_engine_that_does_not_answer_is_exit_code_4_with_its_words() {
        let failure = remains(&Says(1, "", "Cannot connect to the Docker daemon\n"), &project(), Volumes::Keep);
        let failure = failure.unwrap_err();
        assert_eq!(failure.code(), Code::EngineUnavailable);
        assert_eq!(format!("{failure:#}"), "the docker engine does not answer: Cannot connect to the Docker daemon");
    }

    fn network(name: &str, used_by: &[&str]) -> Network {
        Network { name: name.to_string(), used_by: used_by.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn leftovers_are_listed_with_the_command_that_removes_them() {
        let remains = Leftovers {
            containers: vec![container("x-web-1", "/")],
            networks: vec![network("x_a", &[]), network("x_b", &["other"])],
            volumes: vec!["odd name".to_string()],
            ..Leftovers::default()
        };
        assert!(!remains.is_empty() && Leftovers::default().is_empty());
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
    fn a_leftover_network_is_in_use_or_lost_by_the_engine() {
        /// Answers `network inspect` with these containers, and refuses `network rm` in these words.
        struct Refuses(&'static str, &'static str);
        impl Executor for Refuses {
            fn output(&self, invocation: &Invocation) -> io::Result<Output> {
                let inspect = invocation.args()[1] == "inspect";
                Says(i32::from(!inspect), self.0, self.1).output(invocation)
            }

            crate::command::refuse!(spawn, listen, request, exec);
        }
        let look = |executor: &dyn Executor| {
            let networks = vec![network("x_default", &[])];
            let remains = look_into_networks(executor, Leftovers { networks, ..Leftovers::default() });
            (remains.networks, remains.lost)
        };
        let refusal = "error while removing network: network x_default id 1 has active endpoints";
        assert_eq!(look(&Refuses("", refusal)), (vec![], vec!["x_default".to_string()]));
        assert_eq!(look(&Refuses("\"b\"\"a\"\n", refusal)), (vec![network("x_default", &["a", "b"])], vec![]));
        assert_eq!(look(&Refuses("", "permission denied")), (vec![network("x_default", &[])], vec![]));
        assert_eq!(look(&Says(0, "", "")), (vec![], vec![]), "it could be removed after all");
    }
}
