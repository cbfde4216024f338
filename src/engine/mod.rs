//! Questions to the engine, by label: what exists of a project, which checkout it belongs to, and whether there is an engine at
//! all.
//!
//! Compose's own word is not enough here: its `down` says 0 with containers still running (a service behind a profile,
//! an orphan), and its `up -d` says 0 when they have crashed; so what is there is asked of the engine itself.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, anyhow};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::command::{Executor, Invocation};
use crate::compose::ProjectName;
use crate::exit::{Code, Failure};

mod about;
mod api;
mod endpoint;
mod events;
mod inspect;
mod leftovers;
mod list;
mod program;
mod volumes;

pub(crate) use about::{Address, ContainerProxies, Info, Server, Versions, container_proxies};
pub use about::{address, info, unused_networks, versions};
pub use endpoint::{Endpoint, host_name};
pub(crate) use endpoint::{is_on_this_host, is_our_host, lock_name};
pub(crate) use events::{Clock, ContainerEvent, Signal, now};
pub use events::{Past, container_events, signals};
pub(crate) use inspect::{Health, Inspected, Published, inspect_one, lacks_image, replaced_images};
pub use inspect::{
    architecture, architectures, has_the_labels_of_its_image, images, inspect, last_words, missing_images,
    remove_replaced_images,
};
pub use leftovers::{Leftovers, Network, look_into_networks, remains};
pub(crate) use list::containers_directly;
pub use list::{Container, compose_containers, containers, running_containers};
pub use program::{Process, processes, put_program, signal};
pub(crate) use volumes::{
    Kept, SortedOut, containers_for_teardown, kept, probably_anonymous, removal, remove_unused, sort_out_volumes,
};
pub use volumes::{anonymous_volumes, remove_anonymous, unused_anonymous_volumes, volume_configs};

const PROJECT_LABEL: &str = "label=com.docker.compose.project";
/// Containers that the file asks for, as opposed to those of `docker compose run`.
const NOT_ONE_OFF: &str = "label=com.docker.compose.oneoff=False";

/// The projects that have containers made from the compose file in `dev_dir`, by name.
///
/// # Errors
/// [`Code::EngineUnavailable`] if the engine does not answer.
pub(crate) fn projects_of(executor: &dyn Executor, dev_dir: &Path) -> Result<Vec<ProjectName>, Failure> {
    let canonical = fs::canonicalize(dev_dir).ok();
    let containers = compose_containers(executor)?;
    let ours = containers.iter().filter(|container| {
        // The dev dir itself may be gone by now; then the name that it had must do.
        let theirs = Path::new(&container.working_dir);
        theirs == dev_dir || fs::canonicalize(theirs).is_ok_and(|theirs| Some(theirs) == canonical)
    });
    let mut projects: Vec<ProjectName> = ours.filter_map(|c| ProjectName::new(&c.project).ok()).collect();
    projects.sort();
    projects.dedup();
    Ok(projects)
}

/// The first of the project's containers that is not made from the compose file in `dev_dir`.
///
/// Folders are compared through symlinks. One that is gone no longer counts, so that a moved workspace takes its stack
/// over. Containers that do not say where they come from are not ours either.
pub(crate) fn made_elsewhere<'a>(containers: &'a [Container], dev_dir: &Path) -> Option<&'a Container> {
    let ours = fs::canonicalize(dev_dir).ok();
    containers.iter().find(|container| {
        let theirs = Path::new(&container.working_dir);
        match fs::canonicalize(theirs) {
            _ if theirs.as_os_str().is_empty() => true,
            Ok(theirs) => Some(&theirs) != ours.as_ref(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            // It exists, but may not be read: another user's.
            Err(_) => Some(theirs) != ours.as_deref(),
        }
    })
}

/// Whether another checkout, which is still there, has made this container. Unlike [`made_elsewhere`], which refuses a start in doubt,
/// this is false in doubt: a teardown must not leave its own containers behind.
pub(crate) fn is_of_another_checkout(container: &Container, dev_dir: &Path) -> bool {
    let folders = fs::canonicalize(dev_dir).and_then(|ours| Ok((ours, fs::canonicalize(&container.working_dir)?)));
    folders.is_ok_and(|(ours, theirs)| ours != theirs)
}

/// The projects with a container that runs and was made from the compose file in `dev_dir`, by name.
pub(crate) fn running_projects_of(containers: &[Container], dev_dir: &Path) -> BTreeSet<String> {
    let canonical = fs::canonicalize(dev_dir).ok();
    let is_ours = |container: &&Container| {
        let theirs = Path::new(&container.working_dir);
        theirs == dev_dir || canonical.is_some() && fs::canonicalize(theirs).ok() == canonical
    };
    let running = containers.iter().filter(|container| container.is_up() && !container.project.is_empty());
    running.filter(is_ours).map(|container| container.project.clone()).collect()
}

/// That docker could not be started, as a failure with its exit code.
pub(crate) fn no_docker(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::TimedOut {
        return no_answer(anyhow!(error));
    }
    let missing = error.kind() == io::ErrorKind::NotFound;
    let error = anyhow!(error).context("cannot run `docker`");
    let failure = Code::EngineUnavailable.because(error);
    if missing { failure.help("install the Docker CLI with Compose v2, or put it on PATH") } else { failure }
}

/// `docker` with these words.
fn docker(words: &[&str]) -> Invocation {
    let mut command = Command::new("docker");
    command.args(words);
    Invocation::from(command)
}

/// The filter for what belongs to a project.
fn of_project(project: &ProjectName) -> String {
    format!("{PROJECT_LABEL}={project}")
}

/// The answer of the engine, one JSON value a line.
fn ask<T: DeserializeOwned>(executor: &dyn Executor, question: &Invocation) -> Result<Vec<T>, Failure> {
    let said = docker_says(executor, question)?;
    let values: serde_json::Result<Vec<Value>> = serde_json::Deserializer::from_slice(&said).into_iter().collect();
    values
        .and_then(understood)
        .with_context(|| format!("cannot read what `{question}` printed"))
        .map_err(|error| Code::EngineUnavailable.because(error))
}

/// What is asked for, out of JSON that has been read: read at once, each type would bring a reader of its own.
fn understood<T: DeserializeOwned>(values: Vec<Value>) -> serde_json::Result<Vec<T>> {
    values.into_iter().map(serde_json::from_value).collect()
}

fn docker_says(executor: &dyn Executor, question: &Invocation) -> Result<Vec<u8>, Failure> {
    let mut output = executor.output(question).map_err(no_docker)?;
    if output.status.code().is_none() {
        // A signal to our process group can hit a command between its fork and its own group. It was not meant for it.
        output = executor.output(question).map_err(no_docker)?;
    }
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(no_answer(anyhow!("{}", words.trim())))
}

fn no_answer(cause: anyhow::Error) -> Failure {
    let error = cause.context("the docker engine does not answer");
    let help = "start the engine, or look at DOCKER_HOST and `docker context ls`; \
                `cargo stagecraft doctor` looks for the cause";
    Code::EngineUnavailable.because(error).help(help)
}

#[cfg(test)]
mod fake {
    use std::io;
    use std::process::Output;

    use super::Container;
    use crate::command::{Executor, Invocation};
    use crate::compose::ProjectName;
    use crate::os;

    /// Answers every question with the same exit code and words.
    pub(super) struct Says(pub i32, pub &'static str, pub &'static str);

    impl Executor for Says {
        fn output(&self, _: &Invocation) -> io::Result<Output> {
            Ok(Output { status: os::exited(self.0), stdout: self.1.into(), stderr: self.2.into() })
        }

        crate::command::refuse!(spawn, listen, request, exec);
    }

    pub(super) fn project() -> ProjectName {
        ProjectName::new("x").unwrap()
    }

    pub(super) fn container(name: &str, working_dir: &str) -> Container {
        let words = [name, "running", working_dir].map(str::to_string);
        let [name, state, working_dir] = words;
        Container { service: name.clone(), name, state, working_dir, ..Container::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::Says;
    use super::*;

    #[test]
    #[cfg(unix)] // Elsewhere a symlink is not for everybody to make.
    fn another_checkout_must_exist_and_symlinks_are_resolved() {
        use super::fake::container;

        let temp = tempfile::tempdir().unwrap();
        let (ours, theirs, link) = (temp.path().join("ours"), temp.path().join("theirs"), temp.path().join("link"));
        fs::create_dir_all(&ours).unwrap();
        fs::create_dir_all(&theirs).unwrap();
        std::os::unix::fs::symlink(&ours, &link).unwrap();
        let made_in = |name: &str, folder: &Path| container(name, folder.to_str().unwrap());
        let other = |folder: &Path| {
            let containers = [made_in("c", &ours), made_in("d", folder)];
            made_elsewhere(&containers, &ours).map(|container| container.name.clone())
        };
        assert_eq!(other(&ours), None);
        assert_eq!(other(&link), None);
        assert_eq!(other(&temp.path().join("gone")), None);
        assert_eq!(other(&theirs).as_deref(), Some("d"));
        assert_eq!(other(Path::new("")).as_deref(), Some("d"));
        assert_eq!(made_elsewhere(&[], &ours), None);
        let taken_over = |folder: &Path, ours: &Path| is_of_another_checkout(&made_in("c", folder), ours);
        assert!(taken_over(&theirs, &ours));
        for folder in [&ours, &link, &temp.path().join("gone"), Path::new("")] {
            assert!(!taken_over(folder, &ours), "{}", folder.display());
        }
        assert!(!taken_over(&theirs, &temp.path().join("gone")));
        let mut elsewhere = [made_in("c", &link), made_in("d", &theirs), made_in("e", &ours)];
        for (container, project) in elsewhere.iter_mut().zip(["one", "two", "three"]) {
            container.project = project.to_string();
        }
        elsewhere[2].state = "exited".to_string();
        assert_eq!(running_projects_of(&elsewhere, &ours), BTreeSet::from(["one".to_string()]));
    }

    #[test]
    fn a_project_is_found_by_the_dev_dir_that_it_was_made_from() {
        let line = |(project, working_dir): (&str, &str)| {
            let label = "com.docker.compose.project";
            let labels = format!(r#""{label}":"{project}","{label}.working_dir":"{working_dir}""#);
            format!(r#"{{"Id":"1","Names":["x"],"State":"running","Labels":{{{labels}}}}}"#)
        };
        let theirs = [("b", "/gone/dev"), ("a", "/gone/dev"), ("a", "/gone/dev"), ("c", "/also/gone"), ("d", "/")];
        let lines: String = theirs.map(line).concat();
        let engine = Says(0, lines.leak(), "");
        let names = |dev_dir: &str| {
            let projects = projects_of(&engine, Path::new(dev_dir)).unwrap();
            projects.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names("/gone/dev"), ["a", "b"]);
        assert_eq!(names("/usr/.."), ["d"]);
        assert!(names("/nowhere").is_empty());
    }
}
