//! Finds the Cargo workspace, its dev dir and the tables of its manifests. The only module that uses
//! cargo_metadata.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use cargo_metadata::MetadataCommand;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use xshell::cmd;

use crate::command::{Executor, Invocation};
use crate::exit::{Code, Failure};
use crate::files::read;
use crate::reporter::one_line;

/// The dev dir, relative to the workspace root.
pub(crate) const DEV_DIR: &str = ".stagecraft/dev";
/// The compose file, relative to the workspace root: the single source of truth for the stack.
pub const COMPOSE_FILE: &str = ".stagecraft/dev/compose.yaml";
/// The file of variables that Compose reads for it, relative to the workspace root.
pub(crate) const ENV_FILE: &str = ".stagecraft/dev/.env";

/// A Cargo workspace on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workspace {
    root: PathBuf,
    /// Where cargo puts what it builds.
    pub target_dir: PathBuf,
    /// `workspace.metadata.stagecraft.dev`; null without one, or where cargo could not be asked.
    pub metadata: Value,
    /// `workspace.metadata.stagecraft` without that; null in the same cases.
    pub settings: Value,
    /// What cargo is given whenever it is called: those of [`ManifestOptions`].
    pub cargo_flags: Vec<&'static str>,
    /// Its members, by name; none where cargo could not be asked.
    pub packages: Vec<Package>,
}

/// A member of the workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its Cargo.toml, absolute.
    pub manifest_path: PathBuf,
    /// `package.metadata.stagecraft.dev`; null without one.
    pub metadata: Value,
    /// `package.metadata.stagecraft` without that; null without one.
    pub settings: Value,
    /// The names of its binaries, sorted.
    pub binaries: Vec<String>,
    /// Whether `cargo build` in the workspace root builds it: it is one of the workspace's `default-members`.
    pub is_default: bool,
    /// Which of them `cargo run` runs, where it says.
    pub default_run: Option<String>,
    /// The names of its features.
    pub features: Vec<String>,
}

/// Where to look for the workspace, and what cargo may do meanwhile: the options that cargo itself calls so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestOptions {
    /// The Cargo.toml to start from instead of the current directory.
    pub path: Option<PathBuf>,
    /// `--frozen`, `--locked` and `--offline`, as far as they are given.
    pub flags: Vec<&'static str>,
}

/// What `cargo metadata` prints, as far as it matters here: of a large workspace it is half a megabyte.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
    /// Cargo 1.71 and newer.
    #[serde(default)]
    workspace_default_members: Vec<String>,
    #[serde(default)]
    metadata: Value,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    id: String,
    manifest_path: PathBuf,
    #[serde(default)]
    metadata: Value,
    targets: Vec<MetadataTarget>,
    #[serde(default)]
    default_run: Option<String>,
    features: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
struct MetadataTarget {
    name: String,
    kind: Vec<String>,
}

/// What to do where a member's manifest is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenMember {
    /// Report it: nothing is started in a workspace that cargo rejects.
    Refuse,
    /// Go on with the root alone: a broken manifest must not keep a stack alive.
    Tolerate,
}

impl Workspace {
    /// The workspace that the manifest of `options` or else `cwd` lies in, by `cargo metadata --no-deps`, which needs no network
    /// and writes no lock file.
    ///
    /// # Errors
    /// [`Code::NothingToRun`] if cargo finds no workspace or, with [`BrokenMember::Refuse`], rejects it.
    pub fn discover(
        executor: &dyn Executor,
        cwd: &Path,
        options: &ManifestOptions,
        broken_member: BrokenMember,
    ) -> Result<Workspace, Failure> {
        let manifest_path = options.path.as_deref();
        Workspace::from_metadata(executor, cwd, options)
            .or_else(|rejected| match broken_member {
                BrokenMember::Refuse => Err(rejected),
                BrokenMember::Tolerate => Workspace::from_locate_project(executor, cwd, manifest_path)
                    .or_else(|_| Workspace::from_dev_dir(cwd, manifest_path).ok_or(rejected)),
            })
            .map_err(|error| {
                let is_missing =
                    ["could not find `Cargo.toml`", "manifest path"].map(|words| error.to_string().contains(words));
                let failure = Code::NothingToRun.because(error);
                match is_missing.contains(&true) {
                    true => failure.help("run this inside a Cargo workspace, or point to one with `--manifest-path`"),
                    // Cargo has said what is wrong with the one that is there.
                    false => failure,
                }
            })
    }

    fn from_metadata(executor: &dyn Executor, cwd: &Path, options: &ManifestOptions) -> anyhow::Result<Workspace> {
        let mut command = MetadataCommand::new();
        command.no_deps().current_dir(cwd);
        command.other_options(options.flags.iter().map(ToString::to_string).collect::<Vec<_>>());
        if let Some(path) = &options.path {
            command.manifest_path(path);
        }
        let invocation = Invocation::from(command.cargo_command());
        let stdout = ask_cargo(executor, &invocation)?;
        let metadata = serde_json::from_slice(&stdout).context("cannot read what `cargo metadata` printed")?;
        Ok(Workspace { cargo_flags: options.flags.clone(), ..Workspace::read(metadata) })
    }

    fn read(metadata: Metadata) -> Workspace {
        let default_members = metadata.workspace_default_members;
        let package = |package: MetadataPackage| {
            let (metadata, settings) = ours(&package.metadata);
            let is_binary = |target: &MetadataTarget| target.kind.iter().any(|kind| kind == "bin");
            let mut binaries: Vec<String> =
                package.targets.into_iter().filter(is_binary).map(|target| target.name).collect();
            binaries.sort();
            Package {
                is_default: default_members.contains(&package.id),
                name: package.name,
                manifest_path: package.manifest_path,
                metadata,
                settings,
                binaries,
                default_run: package.default_run,
                features: package.features.into_keys().collect(),
            }
        };
        let mut packages: Vec<Package> = metadata.packages.into_iter().map(package).collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        let (workspace_metadata, settings) = ours(&metadata.metadata);
        Workspace {
            root: metadata.workspace_root,
            target_dir: metadata.target_directory,
            metadata: workspace_metadata,
            settings,
            cargo_flags: Vec::new(),
            packages,
        }
    }

    fn from_locate_project(
        executor: &dyn Executor,
        cwd: &Path,
        manifest_path: Option<&Path>,
    ) -> anyhow::Result<Workspace> {
        let sh = xshell::Shell::new()?;
        sh.change_dir(cwd);
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let manifest_path = manifest_path.map(|path| [OsString::from("--manifest-path"), path.into()]);
        let manifest_path = manifest_path.into_iter().flatten();
        let invocation =
            Invocation::from(cmd!(sh, "{cargo} locate-project --workspace --message-format plain {manifest_path...}"));
        let stdout = ask_cargo(executor, &invocation)?;
        let manifest = PathBuf::from(String::from_utf8(stdout)?.trim_end_matches(['\r', '\n']));
        let root = manifest.parent().context("cargo named no workspace manifest")?;
        Ok(Workspace::at(root))
    }

    /// The nearest folder upwards that has a Cargo.toml and a dev dir: where the manifest that one stands at, or that of
    /// the root, is broken, cargo cannot tell.
    fn from_dev_dir(cwd: &Path, manifest_path: Option<&Path>) -> Option<Workspace> {
        let from = cwd.join(manifest_path.and_then(Path::parent).unwrap_or(Path::new("")));
        let is_root = |folder: &&Path| folder.join("Cargo.toml").is_file() && folder.join(DEV_DIR).is_dir();
        from.ancestors().find(is_root).map(Workspace::at)
    }

    /// A workspace whose root is known.
    pub fn at(root: impl Into<PathBuf>) -> Workspace {
        Workspace { root: root.into(), ..Workspace::default() }
    }

    /// The folder of the workspace's Cargo.toml, where every command runs.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether its manifests speak of a dev stack.
    pub fn describes_a_stack(&self) -> bool {
        !self.metadata.is_null() || self.packages.iter().any(|package| !package.metadata.is_null())
    }

    /// The dev dir as an absolute path.
    pub fn dev_dir(&self) -> PathBuf {
        self.root.join(DEV_DIR)
    }

    /// That there is a compose file that can be opened.
    ///
    /// # Errors
    /// [`Code::NothingToRun`] if it is missing or unreadable.
    pub fn require_compose_file(&self) -> Result<(), Failure> {
        let path = self.root.join(COMPOSE_FILE);
        let failure = |error: anyhow::Error| Code::NothingToRun.because(error);
        let env_file = self.root.join(ENV_FILE);
        match read::require_regular(&env_file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let error = anyhow!(error).context(format!("cannot read {}", env_file.display()));
                return Err(failure(error).help("Compose reads the variables of the dev stack from this file"));
            }
            _ => {}
        }
        let Err(error) = read::require_regular(&path).and_then(|()| fs::File::open(&path)) else { return Ok(()) };
        if error.kind() != io::ErrorKind::NotFound {
            let error = anyhow!(error).context(format!("cannot read {}", path.display()));
            return Err(failure(error).help("the dev stack is read from this file"));
        }
        let missing = failure(anyhow!("no compose file at {}", path.display()));
        let other = ["compose.yml", "docker-compose.yaml", "docker-compose.yml"]
            .into_iter()
            .find(|name| self.dev_dir().join(name).is_file());
        Err(match (other, self.compose_file_of_the_root(), self.workspace_above()) {
            (Some(other), ..) => missing.help(format!("rename {DEV_DIR}/{other} to compose.yaml")),
            _ if self.describes_a_stack() => {
                missing.help("generate it from Cargo.toml with `cargo stagecraft dev files`")
            }
            (None, Some(name), _) => missing.help(format!(
                "to use {name} of the workspace, write this one line to {COMPOSE_FILE}:\n\
                 include: [{{path: ../../{name}, project_directory: ../..}}]"
            )),
            (None, None, Some(manifest)) => missing.help(format!(
                "this is a workspace of its own; the one above it has a dev stack: `--manifest-path {}`",
                manifest.display()
            )),
            (None, None, None) => missing.help(format!(
                "write {COMPOSE_FILE}, or describe the stack in Cargo.toml with `cargo stagecraft init`"
            )),
        })
    }

    /// The name of the compose file in the workspace root that `docker compose` would take there, if there is one.
    fn compose_file_of_the_root(&self) -> Option<&'static str> {
        COMPOSE_FILES_OF_A_FOLDER.into_iter().find(|name| self.root.join(name).is_file())
    }

    /// The Cargo.toml of the nearest folder above this workspace that has a dev stack.
    fn workspace_above(&self) -> Option<PathBuf> {
        let describes = |manifest: &Path| read::text(manifest).is_ok_and(|text| text.contains("metadata.stagecraft"));
        let mut manifests = self.root.ancestors().skip(1).map(|folder| folder.join("Cargo.toml"));
        manifests.find(|manifest| {
            let has_file = manifest.parent().is_some_and(|folder| folder.join(COMPOSE_FILE).is_file());
            manifest.is_file() && (has_file || describes(manifest))
        })
    }
}

/// The compose files that `docker compose` looks for in a folder, in its order
/// (<https://docs.docker.com/compose/intro/compose-application-model/#the-compose-file>).
const COMPOSE_FILES_OF_A_FOLDER: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// What a manifest says of the dev stack, and what else it says to us.
fn ours(metadata: &Value) -> (Value, Value) {
    let mut ours = metadata.get("stagecraft").cloned().unwrap_or_default();
    let dev = ours.as_object_mut().and_then(|table| table.remove("dev"));
    (dev.unwrap_or_default(), ours)
}

/// The checkout of a dev dir, as text for a message. The folder may come from a label, so control characters are escaped.
pub(crate) fn checkout_name(folder: &Path) -> String {
    one_line(&checkout_of(folder).to_string_lossy()).into_owned()
}

/// The checkout that a dev dir stands for; any other folder stands for itself.
pub(crate) fn checkout_of(folder: &Path) -> &Path {
    if folder.ends_with(DEV_DIR) { folder.ancestors().nth(2).unwrap_or(folder) } else { folder }
}

/// What cargo printed; its own words are the error if it failed.
fn ask_cargo(executor: &dyn Executor, invocation: &Invocation) -> anyhow::Result<Vec<u8>> {
    let program = invocation.program().to_string_lossy();
    let output = executor.output(invocation).with_context(|| format!("cannot run `{program}`"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(error_of(&output.stderr))
}

/// The error that cargo or rustc has printed. With `RUST_BACKTRACE` set, rustup adds a backtrace of itself, which is left out.
pub(crate) fn error_of(stderr: &[u8]) -> anyhow::Error {
    let words = String::from_utf8_lossy(stderr);
    let words = words.split_once("\nStack backtrace:").map_or(&*words, |(words, _)| words).trim();
    anyhow!("{}", words.strip_prefix("error: ").unwrap_or(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtrace_of_rustups_is_left_out() {
        let words = b"error: no default is configured.\nhelp: run it\n\nStack backtrace:\n   0: main\n";
        assert_eq!(error_of(words).to_string(), "no default is configured.\nhelp: run it");
        assert_eq!(error_of(b"error: nothing to trace\n").to_string(), "nothing to trace");
    }

    fn dev_dir() -> (tempfile::TempDir, Workspace) {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join(DEV_DIR)).unwrap();
        let workspace = Workspace::at(temp.path());
        (temp, workspace)
    }

    #[test]
    fn a_missing_compose_file_is_an_error_that_names_misnamed_files() {
        let (_temp, workspace) = dev_dir();
        let failure = workspace.require_compose_file().unwrap_err();
        assert_eq!(failure.code(), Code::NothingToRun);
        let help = failure.next_step().unwrap();
        assert!(help.starts_with("write .stagecraft/dev/compose.yaml, or "), "{help}");
        let described = Workspace { metadata: serde_json::json!({}), ..workspace.clone() };
        let failure = described.require_compose_file().unwrap_err();
        assert_eq!(failure.next_step(), Some("generate it from Cargo.toml with `cargo stagecraft dev files`"));
        fs::write(workspace.dev_dir().join("docker-compose.yml"), "").unwrap();
        let failure = workspace.require_compose_file().unwrap_err();
        assert_eq!(failure.next_step(), Some("rename .stagecraft/dev/docker-compose.yml to compose.yaml"));
        fs::write(workspace.dev_dir().join("compose.yaml"), "").unwrap();
        workspace.require_compose_file().unwrap();
    }

    #[test]
    fn a_missing_compose_file_leads_to_that_of_the_root_and_to_the_workspace_above() {
        let (temp, above) = dev_dir();
        fs::write(temp.path().join("Cargo.toml"), "[workspace]\n").unwrap();
        fs::write(above.dev_dir().join("compose.yaml"), "").unwrap();
        fs::create_dir(temp.path().join("fuzz")).unwrap();
        let fuzz = Workspace::at(temp.path().join("fuzz"));
        let help = || fuzz.require_compose_file().unwrap_err().next_step().unwrap().to_string();
        let manifest = temp.path().join("Cargo.toml").display().to_string();
        assert!(
            help().ends_with(&format!("the one above it has a dev stack: `--manifest-path {manifest}`")),
            "{}",
            help()
        );
        fs::write(fuzz.root().join("docker-compose.yml"), "").unwrap();
        assert!(
            help().ends_with("\ninclude: [{path: ../../docker-compose.yml, project_directory: ../..}]"),
            "{}",
            help()
        );
        fs::write(fuzz.root().join("compose.yaml"), "").unwrap();
        assert!(help().starts_with("to use compose.yaml of the workspace"), "{}", help());
    }

    #[test]
    fn where_cargo_cannot_tell_the_nearest_folder_with_a_manifest_and_a_dev_dir_is_the_root() {
        let (temp, workspace) = dev_dir();
        let member = temp.path().join("crates/a");
        fs::create_dir_all(member.join("src")).unwrap();
        fs::write(member.join("Cargo.toml"), "broken").unwrap();
        assert_eq!(Workspace::from_dev_dir(&member, None), None);
        fs::write(temp.path().join("Cargo.toml"), "broken").unwrap();
        assert_eq!(Workspace::from_dev_dir(&member.join("src"), None), Some(workspace.clone()));
        let manifest = Some(Path::new("crates/a/Cargo.toml"));
        assert_eq!(Workspace::from_dev_dir(temp.path(), manifest), Some(workspace));
    }

    #[test]
    fn a_dev_dir_stands_for_its_checkout() {
        assert_eq!(checkout_of(Path::new("/w/shop/.stagecraft/dev")), Path::new("/w/shop"));
        assert_eq!(checkout_of(Path::new("/w/shop")), Path::new("/w/shop"));
    }

    #[test]
    fn a_folder_in_the_place_of_the_compose_file_is_unreadable() {
        let (_temp, workspace) = dev_dir();
        fs::create_dir(workspace.dev_dir().join("compose.yaml")).unwrap();
        let failure = workspace.require_compose_file().unwrap_err();
        assert_eq!(failure.code(), Code::NothingToRun);
        assert!(failure.to_string().starts_with("cannot read "), "{failure}");
    }
}
