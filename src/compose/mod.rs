//! Which `docker compose` command does what, and what Compose's answers mean. Nothing runs in here.
//!
//! Every command is run from the workspace root with the relative `-f .stagecraft/dev/compose.yaml` and with the project
//! name in the environment, so that the same line does the same thing on every machine.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use xshell::{Shell, cmd};

use crate::command::Invocation;
use crate::files::read;
use crate::reporter::ColorChoice;
use crate::workspace::{COMPOSE_FILE, ENV_FILE, Workspace};

mod fault;
mod model;
mod overlay;
mod questions;
mod remembered;
mod ssh;

pub(crate) use fault::{Fault, without_values, without_warnings};
pub use model::Stack;
pub(crate) use model::{Port, ResourceKind, Service, VolumeConfig};
pub(crate) use overlay::{Overlay, forget_overlay, has_overlay, overlay_file};
pub(crate) use questions::may_hide_a_fault;
pub use questions::{check, config, config_in_yaml, config_of, config_without_ssh, version};
pub(crate) use remembered::Place;
pub(crate) use ssh::cannot_print_json;

/// The service that `--no-traefik` leaves out.
pub(crate) const TRAEFIK: &str = "traefik";
/// The label of a service that can be reached by name: its URL.
pub(crate) const ROUTE_LABEL: &str = "dev.stagecraft.route";
/// The variable that names the project.
pub(crate) const PROJECT_NAME: &str = "COMPOSE_PROJECT_NAME";

/// The name of a Compose project: lower-case ASCII letters, digits, `-` and `_`, beginning with a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProjectName(String);

impl ProjectName {
    /// The name, if Compose would accept it as it is.
    ///
    /// # Errors
    /// If it would not; the error says what a name consists of.
    pub fn new(name: &str) -> Result<ProjectName, String> {
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.starts_with(['-', '_']) || name.is_empty() || !name.chars().all(valid) {
            return Err(
                "a project name consists of lower-case letters, digits, `-` and `_`, and begins with a letter or a digit"
                    .to_string(),
            );
        }
        Ok(ProjectName(name.to_string()))
    }

    /// A folder's name made into a project name by Compose's rule (`NormalizeProjectName` in compose-go): lower case,
    /// anything else dropped, no `-` or `_` in front. None if nothing remains.
    pub fn normalized(folder: &OsStr) -> Option<ProjectName> {
        let lower = folder.to_string_lossy().to_lowercase();
        let kept: String = lower.chars().filter(|c| ProjectName::new(&format!("a{c}")).is_ok()).collect();
        ProjectName::new(kept.trim_start_matches(['-', '_'])).ok()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether `up` stays attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// `up` streams logs until the stack ends.
    Foreground,
    /// `up -d` returns when the containers are started.
    Detached,
}

/// Whether the service `traefik` is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traefik {
    /// As the compose file says.
    On,
    /// Scaled to zero.
    Off,
}

impl From<bool> for Traefik {
    fn from(is_on: bool) -> Traefik {
        if is_on { Traefik::On } else { Traefik::Off }
    }
}

/// How wide a `down` reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownScope {
    /// What the compose file describes.
    File,
    /// Also services behind a profile, and containers of services that the file no longer has.
    Everything,
    /// Whatever carries the project's name on the engine; the compose file is not read, so it may be broken or gone.
    ByName,
}

/// Whether a `down` takes the volumes too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Volumes {
    /// Data outlives the stack.
    #[default]
    Keep,
    /// Named volumes of the file and anonymous ones are removed.
    Remove,
}

/// Whether a `down` takes the images too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Images {
    /// They are a cache.
    #[default]
    Keep,
    /// Those that were built, unless the file names them, are removed.
    Remove,
}

/// Which part of the logs to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// Whether to go on with what is still to come.
    pub follow: bool,
    /// How many of the last lines of each container; all of them without it.
    pub tail: Option<u32>,
    /// Only of these services; of all without any.
    pub services: Vec<String>,
}

/// The project name asked for, before Compose has been asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameChoice<'a> {
    /// From the command line or the environment: nothing overrides it.
    Given(&'a ProjectName),
    /// What the compose file or its `.env` says, else this.
    Default(&'a ProjectName),
}

fn shell_in(root: &Path) -> anyhow::Result<Shell> {
    let sh = Shell::new().context("the current directory cannot be found")?;
    sh.change_dir(root);
    Ok(sh)
}

/// Builds the commands for one project of one workspace.
pub struct Compose {
    sh: Shell,
    project: ProjectName,
    /// The file that is merged over the compose file, if the project has one.
    overlay: Option<String>,
    /// Whether that is not written, since nothing runs.
    is_dry: bool,
    color: ColorChoice,
}

impl Compose {
    /// Commands for `project`, to be run from the root of `workspace`, that paint as `color` says.
    ///
    /// # Errors
    /// If our own working directory is gone.
    pub fn new(workspace: &Workspace, project: ProjectName, color: ColorChoice) -> anyhow::Result<Compose> {
        let overlay = has_overlay(workspace.root(), &project).then(|| overlay_file(&project));
        Ok(Compose { sh: shell_in(workspace.root())?, project, overlay, is_dry: false, color })
    }

    /// The same for a project that would have an [overlay](overlay_file), to show its commands.
    #[must_use]
    pub(crate) fn isolated_when_it_runs(self) -> Compose {
        Compose { is_dry: true, ..self.isolated() }
    }

    /// The same for a project that has an [overlay](overlay_file), even if the file is gone.
    #[must_use]
    pub(crate) fn isolated(self) -> Compose {
        Compose { overlay: Some(overlay_file(&self.project)), ..self }
    }

    /// Whether the project has an overlay.
    pub(crate) fn is_isolated(&self) -> bool {
        self.overlay.is_some()
    }

    fn files(&self) -> Vec<String> {
        overlay::args_of(self.overlay.as_deref())
    }

    /// The project that these commands are about.
    pub fn project(&self) -> &ProjectName {
        &self.project
    }

    /// The folder that the commands run in.
    pub fn root(&self) -> PathBuf {
        self.sh.current_dir()
    }

    /// Starts the stack; `args` are the user's own, appended as they are.
    pub fn up(&self, attach: Attach, traefik: Traefik, args: &[OsString]) -> Invocation {
        let detach = (attach == Attach::Detached).then_some("-d");
        let scale: &[&str] = match traefik {
            Traefik::On => &[],
            Traefik::Off => &["--scale", "traefik=0"],
        };
        let sh = &self.sh;
        let files = self.files();
        let up = cmd!(sh, "docker compose {files...} up {detach...} {scale...} {args...}");
        // The menu puts the terminal into raw mode, and then Ctrl+C is no signal any more.
        let up = self.finish(up.env("COMPOSE_MENU", "0"));
        // A line for each container that stays as it is.
        up.leave_out(" Container ", " Running")
    }

    /// Stops and removes the stack. `timeout` is the grace in seconds; without it each service's own counts.
    pub fn down(&self, reach: DownScope, timeout: Option<u32>, volumes: Volumes, images: Images) -> Invocation {
        let volumes = (volumes == Volumes::Remove).then_some("--volumes");
        let images: &[&str] = if images == Images::Remove { &["--rmi", "local"] } else { &[] };
        let more: Vec<String> =
            timeout_args(timeout).into_iter().chain(volumes.iter().chain(images).map(ToString::to_string)).collect();
        let (sh, project, files) = (&self.sh, self.project.as_str(), self.files());
        match self.readable(reach) {
            DownScope::File => self.finish(cmd!(sh, "docker compose {files...} down {more...}")),
            DownScope::Everything => {
                self.finish(cmd!(sh, "docker compose {files...} --profile * down --remove-orphans {more...}"))
            }
            DownScope::ByName => {
                // From a folder that is always there: the workspace may be gone, and no file is read.
                let sh = sh.clone();
                sh.change_dir("/");
                self.paint(cmd!(sh, "docker compose -p {project} down --remove-orphans {more...}"))
            }
        }
    }

    /// Stops the containers and leaves them there to be looked at. `timeout` is the grace in seconds, as for `down`.
    pub fn stop(&self, timeout: Option<u32>) -> Invocation {
        let timeout = timeout_args(timeout);
        let (sh, project, files) = (&self.sh, self.project.as_str(), self.files());
        match self.readable(DownScope::File) {
            DownScope::ByName => self.paint(cmd!(sh, "docker compose -p {project} stop {timeout...}")),
            _ => self.finish(cmd!(sh, "docker compose {files...} stop {timeout...}")),
        }
    }

    /// By name where Compose would read its files for ever, since one is a pipe or a device; and where the overlay is gone, since the compose file
    /// alone may give volumes the names of those of another stack.
    fn readable(&self, reach: DownScope) -> DownScope {
        let is_endless = |file: &str| {
            let regular = read::require_regular(&self.root().join(file));
            regular.is_err_and(|error| error.kind() == ErrorKind::InvalidInput)
        };
        let overlay = self.overlay.as_ref().filter(|_| !self.is_dry);
        let lacks_overlay = overlay.is_some_and(|file| !self.root().join(file).is_file());
        if is_endless(COMPOSE_FILE) || is_endless(ENV_FILE) || lacks_overlay { DownScope::ByName } else { reach }
    }

    /// Shows the stack's logs; `reach` says whether the compose file is read for it.
    pub fn logs(&self, reach: DownScope, logs: &Logs) -> Invocation {
        let follow = logs.follow.then_some("-f");
        let tail = logs.tail.map(|lines| vec!["--tail".to_string(), lines.to_string()]).unwrap_or_default();
        let services = &logs.services;
        let (sh, project, files) = (&self.sh, self.project.as_str(), self.files());
        match self.readable(reach) {
            DownScope::ByName => {
                self.paint(cmd!(sh, "docker compose -p {project} logs {follow...} {tail...} {services...}"))
            }
            DownScope::File | DownScope::Everything => {
                self.finish(cmd!(sh, "docker compose {files...} logs {follow...} {tail...} {services...}"))
            }
        }
    }

    fn finish(&self, cmd: xshell::Cmd<'_>) -> Invocation {
        self.paint(cmd.env(PROJECT_NAME, self.project.as_str()))
    }

    fn paint(&self, cmd: xshell::Cmd<'_>) -> Invocation {
        Invocation::from(match self.color {
            // Not `--ansi never`, which would stop its progress from moving, too.
            ColorChoice::Never => cmd.env("NO_COLOR", "1"),
            // With `--ansi always` Compose 2.40 moves the cursor in pipes.
            ColorChoice::Auto | ColorChoice::Always => cmd,
        })
    }
}

fn timeout_args(seconds: Option<u32>) -> Vec<String> {
    let args = seconds.map(|seconds| vec!["--timeout".to_string(), seconds.to_string()]);
    args.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An absolute path everywhere.
    const ROOT: &str = if cfg!(windows) { "C:/" } else { "/" };

    fn compose() -> Compose {
        compose_in(ColorChoice::Auto)
    }

    fn compose_in(color: ColorChoice) -> Compose {
        let project = ProjectName::new("hello").unwrap();
        Compose::new(&Workspace::at(ROOT), project, color).unwrap()
    }

    #[test]
    fn only_color_never_is_passed_to_compose() {
        let all = |color| {
            let compose = compose_in(color);
            let logs = Logs::default();
            let downs = [DownScope::File, DownScope::Everything, DownScope::ByName]
                .map(|it| compose.down(it, None, Volumes::Keep, Images::Keep));
            let logs = [DownScope::File, DownScope::ByName].map(|reach| compose.logs(reach, &logs));
            let mut all = vec![compose.up(Attach::Detached, Traefik::On, &[]), compose.stop(None)];
            all.extend(downs.into_iter().chain(logs));
            all
        };
        for line in all(ColorChoice::Never) {
            assert!(line.env().contains(&("NO_COLOR".into(), "1".into())), "{line}");
        }
        assert_eq!(all(ColorChoice::Always), all(ColorChoice::Auto));
        assert!(all(ColorChoice::Auto).iter().all(|line| !line.to_string().contains("NO_COLOR")));
    }

    #[test]
    fn an_isolated_project_whose_overlay_is_gone_is_taken_down_by_name() {
        let temp = tempfile::tempdir().unwrap();
        let project = ProjectName::new("hello-1").unwrap();
        let compose = || Compose::new(&Workspace::at(temp.path()), project.clone(), ColorChoice::Auto).unwrap();
        let down = |compose: &Compose| compose.down(DownScope::File, None, Volumes::Remove, Images::Keep).to_string();
        let by_name = "docker compose -p hello-1 down --remove-orphans --volumes";
        assert_eq!(down(&compose().isolated()), by_name);
        let file = temp.path().join(overlay_file(&project));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "").unwrap();
        let compose = compose();
        let files = "-f .stagecraft/dev/compose.yaml -f .stagecraft/dev/stacks/hello-1.yaml";
        assert_eq!(down(&compose), format!("COMPOSE_PROJECT_NAME=hello-1 docker compose {files} down --volumes"));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(down(&compose), by_name);
    }

    #[test]
    fn up_is_built_from_every_combination_of_choices() {
        for (attach, detach) in [(Attach::Foreground, ""), (Attach::Detached, " -d")] {
            for (traefik, scale) in [(Traefik::On, ""), (Traefik::Off, " --scale traefik=0")] {
                for (args, shown) in [(vec![], ""), (vec!["--build".into(), "a b".into()], " --build 'a b'")] {
                    let up = compose().up(attach, traefik, &args);
                    let expected = format!(
                        "COMPOSE_MENU=0 COMPOSE_PROJECT_NAME=hello docker compose -f .stagecraft/dev/compose.yaml up{detach}{scale}{shown}"
                    );
                    assert_eq!(up.to_string(), expected);
                    assert_eq!(up.cwd(), Some(Path::new(ROOT)));
                }
            }
        }
    }

    #[test]
    fn down_is_built_from_every_combination_of_choices() {
        let file = "COMPOSE_PROJECT_NAME=hello docker compose -f .stagecraft/dev/compose.yaml";
        for (reach, words) in [
            (DownScope::File, format!("{file} down")),
            (DownScope::Everything, format!("{file} --profile '*' down --remove-orphans")),
            (DownScope::ByName, "docker compose -p hello down --remove-orphans".to_string()),
        ] {
            for (timeout, seconds) in [(None, ""), (Some(0), " --timeout 0"), (Some(10), " --timeout 10")] {
                for (volumes, flag) in [(Volumes::Keep, ""), (Volumes::Remove, " --volumes")] {
                    for (images, rmi) in [(Images::Keep, ""), (Images::Remove, " --rmi local")] {
                        let down = compose().down(reach, timeout, volumes, images);
                        assert_eq!(down.to_string(), format!("{words}{seconds}{flag}{rmi}"));
                    }
                }
            }
        }
        assert_eq!(compose().stop(Some(3)).to_string(), format!("{file} stop --timeout 3"));
    }

    #[test]
    fn the_default_name_comes_in_as_a_file_that_the_real_one_overrides() {
        let name = ProjectName::new("123").unwrap();
        let workspace = Workspace::at("/");
        let ask = |choice| config(&workspace, choice, &[]).unwrap().to_string();
        assert_eq!(
            ask(NameChoice::Default(&name)),
            "printf %s 'name: \"123\"' | docker compose --project-directory .stagecraft/dev -f - \
             -f .stagecraft/dev/compose.yaml config --format json"
        );
        assert_eq!(
            ask(NameChoice::Given(&name)),
            "COMPOSE_PROJECT_NAME=123 docker compose -f .stagecraft/dev/compose.yaml config --format json"
        );
    }

    #[test]
    fn a_project_name_is_what_compose_accepts() {
        for good in ["a", "0", "hello-stack", "a_b", "1-"] {
            assert_eq!(ProjectName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "_a", "Hello", "a b", "a.b", "\u{e9}"] {
            assert!(ProjectName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_folder_becomes_a_project_name_by_composes_rule() {
        for (folder, name) in [
            ("hello", Some("hello")),
            ("Hello World", Some("helloworld")),
            ("my.app_2-x", Some("myapp_2-x")),
            ("--_a", Some("a")),
            ("gr\u{f6}\u{df}e", Some("gre")),
            ("\u{65e5}\u{672c}", None),
            ("-_-", None),
            ("", None),
        ] {
            let normalized = ProjectName::normalized(OsStr::new(folder));
            assert_eq!(normalized.as_ref().map(ProjectName::as_str), name, "{folder}");
        }
    }
}
