//! The spec, the code and the tests say the same thing.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::sync::Mutex;
use std::time::Duration;

use cargo_stagecraft::internals::Code;
use cargo_stagecraft::internals::ColorChoice;
use cargo_stagecraft::internals::cargo;
use cargo_stagecraft::internals::command::{Executor, Invocation, OnExit, OnLine, Request, Running};
use cargo_stagecraft::internals::compose::{
    self, Attach, Compose, DownScope, Images, Logs, NameChoice, ProjectName, Traefik, Volumes,
};
use cargo_stagecraft::internals::engine;
use cargo_stagecraft::internals::image;
use cargo_stagecraft::internals::settings;
use cargo_stagecraft::internals::workspace::Workspace;
use serde::Deserialize;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[derive(Deserialize)]
struct Features {
    features: Vec<Feature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Feature {
    id: String,
    title: String,
    status: Status,
    spec: String,
    tests: Vec<String>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Done,
    Planned,
}

#[test]
fn every_feature_has_its_spec_and_its_tests() {
    let Features { features } = serde_yaml_ng::from_str(&read("spec/features.yaml")).unwrap();
    let ids: BTreeSet<_> = features.iter().map(|feature| &feature.id).collect();
    assert_eq!(ids.len(), features.len(), "an id stands twice");
    for id in ["CLI_DEV", "DEV_PROCESS_MGMT"] {
        assert!(ids.contains(&id.to_string()), "{id} is missing");
    }
    for feature in &features {
        let id = &feature.id;
        assert!(!feature.title.is_empty(), "{id} has no title");
        let page = read(&feature.spec);
        if feature.status == Status::Done {
            assert!(page.contains(&format!("Feature: {id}.")), "{} does not name {id}", feature.spec);
            assert!(!feature.tests.is_empty(), "{id} is done and has no tests");
        }
        for test in &feature.tests {
            let text = read(test);
            // The campaign is a program: it judges by its exit code.
            let is_program = text.contains("fn main() -> ExitCode");
            let has_tests = text.contains("#[test]")
                || (text.contains("on_both_pairs!") || text.contains("on_the_new_pair!"))
                || is_program
                || has_tests_beside(test);
            assert!(has_tests, "{test} of {id} has no test");
        }
    }
}

/// A test target's main file may only name the modules that hold the tests.
fn has_tests_beside(main: &str) -> bool {
    let folder = root().join(main).parent().unwrap().to_owned();
    main.ends_with("main.rs") && files(&folder, "rs").iter().any(|file| read(file).contains("#[test]"))
}

pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The lines of the fenced blocks of a page that are marked `sh`.
pub fn commands(page: &str) -> Vec<String> {
    let mut inside = false;
    let mut commands = Vec::new();
    for line in page.lines() {
        match line.trim_end() {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => commands.push(line.to_string()),
            _ => {}
        }
    }
    commands
}

const VOLUME: &str = r#"{"Name":"0123456789012345678901234567890123456789012345678901234567890123","Labels":""}"#;

/// Writes down what it is asked and answers nothing, but for what leads to a further question.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Executor for Recorder {
    fn output(&self, invocation: &Invocation) -> io::Result<Output> {
        let line = invocation.to_string();
        let stdout = match line.as_str() {
            ids if ids.contains("oneoff=False") && ids.contains(" ps ") => {
                r#"{"Id":"0123456789ab","Names":["hello-web-1"],"State":"running","Labels":{}}"#
            }
            volumes if volumes.contains("volume ls") && volumes.contains("Labels") => VOLUME,
            volumes if volumes.contains("volume ls --filter label=") && volumes.contains("Labels") => {
                r#"{"Name":"hello_data","Labels":""}"#
            }
            volume if volume.contains("volume inspect") => r#"{"Name":"hello_data","Labels":{}}"#,
            ids if ids.contains("image ls") => "0123456789ab\n",
            image if image.contains("{{json .Image}}'") => "\"sha256:0123\"",
            time if time.contains("SystemTime") => r#"{"SystemTime":"2026-01-02T03:04:05Z"}"#,
            version if version.contains(".Server.Os") => r#"{"Os":"linux","Arch":"amd64"}"#,
            one if one.contains("print") || one.contains("{{json .Name}}' hello") => "\"linux/amd64\"",
            _ => "",
        };
        // What cannot be removed leads to a further question.
        let status = if line.contains("volume rm") { 1 << 8 } else { 0 };
        self.0.lock().unwrap().push(line);
        Ok(Output { status: ExitStatus::from_raw(status), stdout: stdout.into(), stderr: Vec::new() })
    }

    fn spawn(&self, invocation: &Invocation, _: OnExit) -> io::Result<Box<dyn Running>> {
        self.output(invocation)?;
        Err(io::ErrorKind::Unsupported.into())
    }

    fn listen(&self, invocation: &Invocation, _: OnLine) -> io::Result<Box<dyn Running>> {
        self.output(invocation)?;
        Err(io::ErrorKind::Unsupported.into())
    }

    fn request(&self, _: &Request) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn exec(&self, _: &Invocation) -> io::Error {
        io::ErrorKind::Unsupported.into()
    }
}

#[test]
fn every_command_of_the_spec_is_built_by_the_program() {
    const YAML: &[u8] = b"name: hello\nservices:\n  web:\n    build:\n      ssh:\n        - 'default: /key'\n";
    let name = ProjectName::new("hello").unwrap();
    let workspace = Workspace::at("/");
    let compose = Compose::new(&workspace, name.clone(), ColorChoice::Auto).unwrap();
    let file_logs = |follow, tail, services: &[&str]| {
        let services = services.iter().map(ToString::to_string).collect();
        compose.logs(DownScope::File, &Logs { follow, tail, services })
    };
    let down = |reach, timeout| compose.down(reach, timeout, Volumes::Keep, Images::Keep);
    let mut built = vec![
        compose::config(&workspace, NameChoice::Default(&name), &[]).unwrap(),
        compose::config(&workspace, NameChoice::Given(&name), &[]).unwrap(),
        compose::config(&workspace, NameChoice::Given(&name), &["web", "debug"]).unwrap(),
        compose::config_of(&workspace, Some(NameChoice::Given(&name)), "services: {}").unwrap(),
        compose::config_in_yaml(&workspace, NameChoice::Default(&name), &[]).unwrap(),
        compose::config_in_yaml(&workspace, NameChoice::Given(&name), &[]).unwrap(),
        compose::config_without_ssh(&workspace, YAML, &[]).unwrap().unwrap(),
        compose::check(&workspace).unwrap(),
        compose::version(&workspace).unwrap(),
        down(DownScope::File, None),
        down(DownScope::File, Some(10)),
        down(DownScope::File, Some(0)),
        compose.down(DownScope::File, None, Volumes::Remove, Images::Keep),
        compose.down(DownScope::File, None, Volumes::Keep, Images::Remove),
        down(DownScope::Everything, None),
        down(DownScope::ByName, None),
        compose.stop(None),
        file_logs(true, Some(20), &[]),
        file_logs(false, None, &[]),
        file_logs(true, Some(20), &["web"]),
        compose.logs(DownScope::ByName, &Logs::default()),
        image::load(Path::new("/"), Path::new(".stagecraft/dev/images/web.tar")).unwrap(),
    ];
    for attach in [Attach::Foreground, Attach::Detached] {
        for traefik in [Traefik::On, Traefik::Off] {
            built.push(compose.up(attach, traefik, &[]));
        }
    }
    built.push(compose.up(Attach::Detached, Traefik::On, &["db".into()]));
    built.push(compose.up(Attach::Detached, Traefik::On, &["--no-deps".into(), "web".into()]));
    let engine = Recorder::default();
    engine::containers(&engine, &name).unwrap();
    engine::compose_containers(&engine).unwrap();
    engine::running_containers(&engine).unwrap();
    engine::remains(&engine, &name, Volumes::Remove).unwrap();
    let volume = "0123456789".repeat(7)[..64].to_string();
    let mounting =
        engine::Container { id: "0123456789ab".to_string(), volumes: vec![volume.clone()], ..Default::default() };
    engine::anonymous_volumes(&engine, &[mounting]);
    engine::remove_anonymous(&engine, engine::Leftovers::default(), &BTreeSet::from([volume])).unwrap();
    engine::unused_anonymous_volumes(&engine).unwrap();
    engine::volume_configs(&engine, &name).unwrap();
    engine::signals(&engine, &name, std::time::Instant::now()).unwrap();
    let networks = vec![engine::Network { name: "hello_default".to_string(), used_by: Vec::new() }];
    engine::look_into_networks(&engine, engine::Leftovers { networks, ..Default::default() });
    engine.output(&engine::container_events(&name, engine::Past::Told)).unwrap();
    engine.output(&engine::container_events(&name, engine::Past::Untold)).unwrap();
    let since = engine::Past::Since("2026-01-02T03:04:05Z".parse().unwrap());
    engine.output(&engine::container_events(&name, since)).unwrap();
    let container = "0123456789ab";
    let _ = engine::processes(&engine, container);
    // Any program that is there.
    let archive = image::program_archive(Path::new("/usr/bin/env"), "web").unwrap();
    let _ = engine::put_program(&engine, container, image::BIN, "web", archive);
    let _ = engine::signal(&engine, container, 64);
    engine::inspect(&engine, &name, &BTreeSet::new()).unwrap();
    engine::last_words(&engine, "hello-web-1", 50);
    engine::last_words(&engine, "hello-web-1", 1);
    engine::missing_images(&engine, &BTreeSet::from(["postgres".to_string()])).unwrap();
    engine::architectures(&engine, "hello-web-1").unwrap();
    let _ = engine::has_the_labels_of_its_image(&engine, "hello-web-1");
    engine::Endpoint::of_context(&engine, "build");
    engine::host_name(&engine).unwrap();
    engine::architecture(&engine).unwrap();
    engine::images(&engine, &["hello-web".to_string()]);
    engine::remove_replaced_images(&engine, &name, &["0123456789ab".to_string()].into());
    engine::info(&engine).unwrap();
    engine::unused_networks(&engine).unwrap();
    // The answers to these lead nowhere, and need not make sense.
    let _ = engine::address(&engine);
    let _ = engine::versions(&engine, Duration::ZERO);
    // What it answers leads nowhere; that it was asked is what counts.
    let _ = cargo::sysroot(&engine, &|_| None);
    let asked = engine.0.into_inner().unwrap();
    let built: BTreeSet<String> = built.iter().map(ToString::to_string).chain(asked).collect();

    let pages = ["spec/dev/process-mgmt.md", "spec/commands/logs.md", "spec/commands/doctor.md"].map(read);
    let said: BTreeSet<String> = pages.iter().flat_map(|page| commands(page)).collect();
    assert_eq!(said, built);
}

/// The rows of the first table below a heading, without its head.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, below) = page.split_once(&format!("{heading}\n")).unwrap_or_else(|| panic!("no `{heading}`"));
    let rows = below.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    rows.skip(2).map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect()).collect()
}

#[test]
fn the_exit_codes_of_spec_and_readme_are_those_of_the_code() {
    let mut codes: Vec<Vec<String>> =
        Code::TABLE.iter().map(|(code, words)| vec![code.number().to_string(), (*words).to_string()]).collect();
    codes.push(vec!["128+n".to_string(), Code::INTERRUPTED.to_string()]);
    codes.push(vec!["any".to_string(), Code::OF_SERVICE.to_string()]);
    assert_eq!(Code::Interrupted(2).number(), 130);
    assert_eq!(table(&read("spec/commands/dev.md"), "## Exit codes"), codes);
    assert_eq!(table(&read("README.md"), "## Exit codes"), codes);
}

#[test]
fn the_options_of_spec_and_readme_are_those_of_the_command_line() {
    let command = cargo_stagecraft::internals::cli::command();
    let dev = command.find_subcommand("dev").unwrap();
    let longs = |command: &clap::Command| -> BTreeSet<String> {
        command.get_arguments().filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")).collect()
    };
    let mut known: BTreeSet<String> = longs(&command);
    known.extend(longs(dev));
    known.retain(|long| !["--help", "--version"].contains(&long.as_str()));
    let said = |page: &str, heading: &str| -> BTreeSet<String> {
        let rows = table(&read(page), heading);
        let words = rows.iter().flat_map(|row| row[0].split(['`', ' ', ',']));
        words.filter(|word| word.starts_with("--") && word.len() > 2).map(str::to_string).collect()
    };
    assert_eq!(said("spec/commands/dev.md", "### Options of `dev`"), known);
    assert_eq!(said("README.md", "## Options"), known);
    let down = dev.find_subcommand("down").unwrap();
    let page = read("spec/commands/dev.md");
    let (_, below) = page.split_once("### Options of `dev down`").unwrap();
    for long in longs(down).into_iter().filter(|long| long != "--help") {
        assert!(below.split("##").next().unwrap().contains(&long), "{long} of `dev down` is not in the spec");
    }
}

/// What stands in the help of an option after `[<mark>: `, each up to its bracket.
fn marked(help: &str, mark: &str) -> BTreeSet<String> {
    let begins = format!("[{mark}: ");
    help.split(&*begins).skip(1).map(|rest| rest.split(']').next().unwrap().to_string()).collect()
}

#[test]
fn the_settings_of_the_spec_are_those_of_the_code_and_of_help() {
    let words = |cell: &str| -> BTreeSet<String> {
        cell.split(['`', ' ', ',']).filter(|word| !word.is_empty()).map(str::to_string).collect()
    };
    let rows = table(&read("spec/settings.md"), "# Settings");
    assert!(!rows.is_empty());
    // Each option's marks, by what is set.
    let mut said: BTreeSet<(BTreeSet<String>, BTreeSet<String>)> = BTreeSet::new();
    let (mut variables, mut keys) = (BTreeSet::new(), BTreeSet::new());
    let command = cargo_stagecraft::internals::cli::command();
    let dev = command.find_subcommand("dev").unwrap();
    let arguments: Vec<&clap::Arg> = command.get_arguments().chain(dev.get_arguments()).collect();
    let help = |long: &str| -> String {
        let arg = arguments.iter().find(|arg| arg.get_long() == long.strip_prefix("--")).expect(long);
        let variable = arg.get_env().map(|name| format!("[env: {}]", name.to_str().unwrap())).unwrap_or_default();
        format!("{}{variable}", arg.get_help().unwrap())
    };
    let dev_help = |long: &str| (marked(&help(long), "env"), marked(&help(long), "Cargo.toml"));
    for row in &rows {
        let [_, options, variable, key, _] = row.as_slice() else { panic!("{row:?}") };
        let (variable, key) = (words(variable), words(key));
        if let Some(first) = options.split('`').nth(1) {
            assert_eq!(dev_help(first), (variable.clone(), key.clone()), "{first}");
            said.insert((variable.clone(), key.clone()));
        }
        variables.extend(variable.into_iter().filter(|name| name.starts_with(settings::PREFIX)));
        keys.extend(key.into_iter().filter(|key| !key.starts_with("dev.")));
    }
    for arg in &arguments {
        let marks = arg.get_long().map(|long| dev_help(&format!("--{long}"))).unwrap_or_default();
        assert!(marks == Default::default() || said.contains(&marks), "{:?} is not in spec/settings.md", arg.get_id());
    }
    assert_eq!(variables, settings::VARIABLES.map(str::to_string).into());
    assert_eq!(keys, settings::KEYS.map(str::to_string).into());
}

#[test]
fn each_outside_crate_appears_in_its_one_room() {
    let rooms = [
        ("clap", "src/cli/"),
        ("cargo_config2", "src/cargo.rs"),
        ("cargo_metadata", "src/workspace.rs"),
        ("owo_colors", "src/reporter/mod.rs"),
        ("supports_hyperlinks", "src/reporter/screen.rs"),
        ("object", "src/image/runtime.rs"),
        ("sha2", "src/image.rs"),
        ("tar", "src/image.rs"),
        ("serde_saphyr", "src/devfile/render.rs"),
        ("strsim", "src/suggest.rs"),
        ("unicode_width", "src/reporter/table.rs"),
        ("toml_edit", "src/devfile/edit.rs"),
        ("ctrlc", "src/command/interrupt.rs"),
        ("signal_hook", "src/os/unix.rs"),
        ("rustix::stdio", "src/os/unix.rs"),
        ("rustix::termios", "src/os/terminal.rs"),
        ("windows_sys", "src/os/windows.rs"),
        ("shellexpand", "src/ops/env.rs"),
        ("shlex", "src/command/invocation.rs"),
        ("walkdir", "src/ops/dev/before_build.rs"),
        ("which", "src/ops/dev/run.rs"),
        ("notify", "src/watch/wake.rs"),
        ("ignore", "src/watch/set.rs"),
    ];
    for file in files(&root().join("src"), "rs") {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap();
        for (outside, room) in rooms {
            let used = text.contains(&format!("{outside}::"));
            let is_in_room = match room.ends_with('/') {
                true => name.starts_with(room),
                false => name == Path::new(room) || name == Path::new(room).with_extension("").join("tests.rs"),
            };
            assert!(!used || is_in_room, "{outside} is used in {}", name.display());
            assert!(used || name != Path::new(room), "{outside} is not used in {room}: mend this table");
        }
    }
}

#[test]
fn only_the_os_module_depends_on_the_operating_system() {
    let words =
        ["cfg(unix", "cfg(windows", "cfg(target_os", "cfg!(", "std::os::", "libc::", "rustix::", "\"/proc/", "\"/dev/"];
    for file in files(&root().join("src"), "rs").iter().filter(|file| !file.ends_with("tests.rs")) {
        let name = file.strip_prefix(root()).unwrap();
        let text = fs::read_to_string(file).unwrap();
        let program = text.split("#[cfg(test)]").next().unwrap();
        let code = program.lines().filter(|line| !line.trim_start().starts_with("//"));
        let knows = words.iter().any(|word| code.clone().any(|line| line.contains(word)));
        assert!(!knows || name.starts_with("src/os"), "{} knows what os is for", name.display());
    }
}

#[test]
fn every_operating_system_offers_the_same() {
    let offers = |files: &[&str]| -> BTreeSet<String> {
        let text: String = files.iter().map(|file| read(format!("src/os/{file}.rs"))).collect();
        let kinds = ["fn", "struct", "enum", "type"].map(|kind| format!("pub(crate) {kind} "));
        let of_line =
            |line: &'_ str| kinds.iter().find_map(|kind| Some(line.trim_start().strip_prefix(kind)?.to_string()));
        let items = text.lines().filter_map(of_line);
        items.map(|item| item.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_string()).collect()
    };
    let linux = offers(&["unix", "terminal", "linux"]);
    assert!(linux.contains("Tree") && linux.contains("port_holder"), "{linux:?}");
    assert_eq!(linux, offers(&["unix", "terminal", "macos"]));
    assert_eq!(linux, offers(&["windows"]));
    let page = read("src/os/mod.rs");
    for name in linux {
        assert!(page.contains(&format!("`{name}`")), "{name} is not described");
    }
}

#[test]
fn the_stated_rust_version_is_not_below_that_of_any_dependency() {
    // Only what this machine builds with is sure to be on it.
    let rustc = std::process::Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(rustc.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let options = ["--offline", "--locked", "--filter-platform", host].map(str::to_string);
    let mut command = cargo_metadata::MetadataCommand::new();
    let metadata = command.manifest_path(root().join("Cargo.toml")).other_options(options).exec().unwrap();
    let ours = metadata.root_package().unwrap().rust_version.clone().unwrap();
    for package in &metadata.packages {
        if let Some(theirs) = &package.rust_version {
            assert!(*theirs <= ours, "{} needs Rust {theirs}", package.name);
        }
    }
}

#[test]
fn the_changelog_has_this_version_or_unreleased() {
    let changelog = read("CHANGELOG.md");
    let version = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(changelog.contains(&version) || changelog.contains("## [Unreleased]"));
}

#[test]
fn no_source_file_has_more_than_500_lines() {
    for file in ["src", "tests"].iter().flat_map(|folder| files(&root().join(folder), "rs")) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 500, "{} has {lines} lines: split it by subject", file.display());
    }
}
