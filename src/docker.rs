//! Where the Docker CLI, its configuration and its Compose plugin are installed. Source of the search order:
//! `cli-plugins/manager` of docker/cli.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::files::read;

const SYSTEM: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// Where the CLI's configuration is.
pub(crate) fn config_folder() -> Option<PathBuf> {
    match env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty()) {
        Some(folder) => Some(PathBuf::from(folder)),
        None => Some(env::home_dir()?.join(".docker")),
    }
}

/// Whether the first `docker` on PATH is a program and not a script. A script can do anything: ask another
/// engine, or ask as another user.
pub(crate) fn is_program_on_path() -> bool {
    env::var_os("PATH").is_some_and(|path| is_program_in(&path))
}

fn is_program_in(path: &OsStr) -> bool {
    let name = format!("docker{}", env::consts::EXE_SUFFIX);
    let docker = env::split_paths(path).map(|folder| folder.join(&name)).find(|docker| docker.is_file());
    docker.is_some_and(|docker| is_program(&docker))
}

/// The Compose plugin that the CLI runs. None where it cannot be seen from here, or is a script, which may run another.
pub(crate) fn compose_plugin() -> Option<PathBuf> {
    compose_plugin_in(&config_folder()?, &SYSTEM)
}

fn compose_plugin_in(config: &Path, system: &[&str]) -> Option<PathBuf> {
    // Where it names other folders, they come first.
    let settings = read::text(&config.join("config.json")).unwrap_or_default();
    if settings.contains("cliPluginsExtraDirs") {
        return None;
    }
    let folders = [config.join("cli-plugins")].into_iter().chain(system.iter().map(PathBuf::from));
    folders.map(|folder| folder.join("docker-compose")).find(|plugin| plugin.exists()).filter(|it| is_program(it))
}

fn is_program(path: &Path) -> bool {
    let mut start = [0; 2];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start != *b"#!"
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_first_docker_on_path_counts() {
        let temp = tempfile::tempdir().unwrap();
        let folders = ["empty", "script", "program"].map(|name| temp.path().join(name));
        for (folder, text) in folders.iter().zip(["", "#!/bin/sh", "\x7fELF"]) {
            fs::create_dir(folder).unwrap();
            if !text.is_empty() {
                fs::write(folder.join(format!("docker{}", env::consts::EXE_SUFFIX)), text).unwrap();
            }
        }
        let [empty, script, program] = &folders;
        let is_program = |path: &[&PathBuf]| is_program_in(&env::join_paths(path).unwrap());
        assert!(!is_program(&[empty]));
        assert!(is_program(&[empty, program, script]));
        assert!(!is_program(&[empty, script, program]));
    }

    #[test]
    fn the_users_plugin_hides_the_systems_and_a_script_is_none() {
        let temp = tempfile::tempdir().unwrap();
        let (config, system) = (temp.path().join("config"), temp.path().join("system"));
        let folders = [system.to_str().unwrap()];
        let put = |folder: &Path, text: &str| {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join("docker-compose"), text).unwrap();
        };
        assert!(compose_plugin_in(&config, &folders).is_none());
        put(&system, "\x7fELF");
        assert!(compose_plugin_in(&config, &folders).is_some());
        put(&config.join("cli-plugins"), "#!/bin/sh");
        assert!(compose_plugin_in(&config, &folders).is_none());
        put(&config.join("cli-plugins"), "\x7fELF");
        assert!(compose_plugin_in(&config, &folders).is_some());
        fs::write(config.join("config.json"), r#"{"cliPluginsExtraDirs": ["/elsewhere"]}"#).unwrap();
        assert!(compose_plugin_in(&config, &folders).is_none());
    }
}
