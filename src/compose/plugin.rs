//! Where the Docker CLI finds Compose, its plugin. Source: `cli-plugins/manager` of docker/cli.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

const SYSTEM: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// Whether the plugin that the CLI would run is a program that has been installed. Not so where it cannot be seen from here,
/// or is a script, of which nobody knows what it does.
pub fn is_installed() -> bool {
    let config = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let config = config.or_else(|| Some(std::env::home_dir()?.join(".docker")));
    config.is_some_and(|config| is_installed_in(&config, &SYSTEM))
}

fn is_installed_in(config: &Path, system: &[&str]) -> bool {
    // Where it names other folders, they come first.
    let settings = fs::read_to_string(config.join("config.json")).unwrap_or_default();
    if settings.contains("cliPluginsExtraDirs") {
        return false;
    }
    let folders = [config.join("cli-plugins")].into_iter().chain(system.iter().map(PathBuf::from));
    let plugin = folders.map(|folder| folder.join("docker-compose")).find(|plugin| plugin.exists());
    plugin.is_some_and(|plugin| is_program(&plugin))
}

fn is_program(path: &Path) -> bool {
    let mut start = [0; 2];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start != *b"#!"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_plugin_hides_the_systems_and_a_script_is_none() {
        let temp = tempfile::tempdir().unwrap();
        let (config, system) = (temp.path().join("config"), temp.path().join("system"));
        let folders = [system.to_str().unwrap()];
        let put = |folder: &Path, text: &str| {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join("docker-compose"), text).unwrap();
        };
        assert!(!is_installed_in(&config, &folders));
        put(&system, "\x7fELF");
        assert!(is_installed_in(&config, &folders));
        put(&config.join("cli-plugins"), "#!/bin/sh");
        assert!(!is_installed_in(&config, &folders));
        put(&config.join("cli-plugins"), "\x7fELF");
        assert!(is_installed_in(&config, &folders));
        fs::write(config.join("config.json"), r#"{"cliPluginsExtraDirs": ["/elsewhere"]}"#).unwrap();
        assert!(!is_installed_in(&config, &folders));
    }
}
