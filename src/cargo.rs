//! Builds the binaries of the services with cargo: as the developer builds them where they run on the engine, else as static Linux
//! programs, which need no files from an image.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use cargo_config2::{Config, ResolveOptions};
use serde::Deserialize;
use xshell::{Shell, cmd};

use crate::command::{Executor, Invocation};
use crate::devfile::{Base, Crate, Topology};
use crate::exit::{Code, Failure};
use crate::os;
use crate::reporter::{ColorChoice, ShellOptions, Verbosity};
use crate::workspace::{Workspace, error_of};

/// The directory below cargo's target directory for static programs: other flags and another target than the developer's
/// own builds, which would otherwise wait for each other and build everything anew.
const TARGET_DIR: &str = "stagecraft";

/// Links the C library into the program.
const STATIC: [&str; 2] = ["-C", "target-feature=+crt-static"];

/// Architectures: the engine's name, that in Rust's targets, and what follows the C library's name there.
const ARCHITECTURES: [(&str, &str, &str); 8] = [
    ("amd64", "x86_64", ""),
    ("arm64", "aarch64", ""),
    ("386", "i686", ""),
    ("arm", "armv7", "eabihf"),
    ("loong64", "loongarch64", ""),
    ("ppc64le", "powerpc64le", ""),
    ("riscv64", "riscv64gc", ""),
    ("s390x", "s390x", ""),
];

/// Rust's name for an architecture of an engine, and what follows the C library's name.
fn architecture(engines: &str) -> Option<(&'static str, &'static str)> {
    ARCHITECTURES.iter().find(|(name, ..)| *name == engines).map(|(_, rust, abi)| (*rust, *abi))
}

/// The engine's name for the architecture of a target, or for one as the standard library names it.
pub(crate) fn engines_architecture(target: &str) -> &str {
    let arch = target.split('-').next().unwrap_or(target);
    match arch {
        "i586" | "x86" => "386",
        "powerpc64" => "ppc64le",
        "riscv64" => "riscv64",
        _ if arch.starts_with("arm") || arch.starts_with("thumb") => "arm",
        _ => ARCHITECTURES.iter().find(|(_, rust, _)| *rust == arch).map_or(arch, |(name, ..)| name),
    }
}

/// The target to build for: the one that is asked for, else the first of musl and gnu for the engine's architecture (as
/// Docker names it: `amd64`) that the toolchain in `sysroot` has.
///
/// # Errors
/// [`Code::NothingToRun`] if the toolchain has none, with the command that adds it.
pub(crate) fn target(sysroot: &Path, asked_for: Option<&str>, engines: &str) -> Result<String, Failure> {
    let candidates = match (asked_for, architecture(engines)) {
        (Some(target), _) => vec![target.to_string()],
        (None, Some((arch, abi))) => ["musl", "gnu"].map(|libc| format!("{arch}-unknown-linux-{libc}{abi}")).to_vec(),
        (None, None) => {
            let error = anyhow!("the engine's architecture is {engines}: no known Rust target");
            let help = "name the target in [workspace.metadata.stagecraft.dev]: `target = \"…\"`";
            return Err(Code::NothingToRun.because(error).help(help));
        }
    };
    let libraries = sysroot.join("lib/rustlib");
    let is_there = |target: &&String| libraries.join(target).join("lib").is_dir();
    if let Some(target) = candidates.iter().find(is_there) {
        return Ok(target.clone());
    }
    let error = match asked_for {
        Some(target) => anyhow!("this toolchain cannot build for {target}"),
        None => anyhow!("this toolchain cannot build static programs for the engine, which is {engines} with Linux"),
    };
    Err(Code::NothingToRun.because(error).help(format!("rustup target add {}", candidates[0])))
}

/// Where the toolchain is installed. Only where cargo's place does not tell, by these variables, rustc is asked.
///
/// # Errors
/// [`Code::NothingToRun`] if rustc does not tell.
pub fn sysroot(executor: &dyn Executor, variable: &Variable<'_>) -> Result<PathBuf, Failure> {
    if let Some(sysroot) = rustups_sysroot(variable) {
        return Ok(sysroot);
    }
    let rustc = variable("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let ask = || -> anyhow::Result<PathBuf> {
        let sh = Shell::new()?;
        let output = executor.output(&Invocation::from(cmd!(sh, "{rustc} --print sysroot")))?;
        if !output.status.success() {
            return Err(error_of(&output.stderr));
        }
        Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim_end()))
    };
    ask().context("cannot ask rustc which targets it has").map_err(|error| Code::NothingToRun.because(error))
}

/// The value of a variable of the environment.
pub(crate) type Variable<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// The toolchain that rustup has chosen, where cargo, which has started us, is its cargo: both say so in variables, and `rustc` is
/// the one beside it then. Source: <https://rust-lang.github.io/rustup/environment-variables.html>.
fn rustups_sysroot(variable: &Variable<'_>) -> Option<PathBuf> {
    let (cargo, toolchain) = (PathBuf::from(variable("CARGO")?), PathBuf::from(variable("RUSTUP_TOOLCHAIN")?));
    let sysroot = cargo.parent()?.parent()?;
    // It is a name, or a path.
    let is_it = sysroot == toolchain || sysroot.file_name() == Some(toolchain.as_os_str());
    let rustc = sysroot.join("bin").join(format!("rustc{}", std::env::consts::EXE_SUFFIX));
    (is_it && variable("RUSTC").is_none() && rustc.is_file()).then(|| sysroot.to_owned())
}

/// What the crates of a stack are built for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Targets {
    /// The engine's architecture, in its words: `amd64`.
    pub architecture: String,
    /// Whether programs of this machine run on the engine.
    pub run_here: bool,
    /// Whether crates on `scratch` are built as the developer builds: their image gets the shared libraries of this machine.
    pub is_native: bool,
    /// The target of static programs. None if no crate is one.
    pub static_target: Option<String>,
}

impl Targets {
    /// What the crates of this stack are built for, on an engine of this architecture.
    ///
    /// # Errors
    /// [`Code::NothingToRun`] if the toolchain cannot build static programs for it and a crate has to be one.
    pub(crate) fn of(
        topology: &Topology,
        architecture: String,
        sysroot: impl FnOnce() -> Result<PathBuf, Failure>,
    ) -> Result<Targets, Failure> {
        let runs_here = os::RUNS_LINUX_PROGRAMS && engines_architecture(std::env::consts::ARCH) == architecture;
        let is_native = runs_here && !topology.is_static && topology.target.is_none();
        let mut targets = Targets { architecture, run_here: runs_here, is_native, static_target: None };
        if topology.crates.values().any(|krate| !targets.is_native(krate)) {
            targets.static_target = Some(target(&sysroot()?, topology.target.as_deref(), &targets.architecture)?);
        }
        Ok(targets)
    }

    /// Whether a crate is built as the developer builds. The libraries of another base image may be older than this machine's, so on
    /// one a program is static.
    pub(crate) fn is_native(&self, krate: &Crate) -> bool {
        self.is_native && krate.base == Base::Scratch
    }

    /// The target triple of a crate; none if it is built as the developer builds.
    fn triple(&self, krate: &Crate) -> Option<&str> {
        if self.is_native(krate) { None } else { self.static_target.as_deref() }
    }
}

/// A command that builds crates.
pub(crate) struct Build {
    pub(crate) command: Invocation,
    /// Whether they become static programs.
    pub(crate) is_static: bool,
}

/// What cargo and rustc print if a native library is missing: a build script did not find it, or the linker did not.
const MISSING_LIBRARY: [&str; 2] = ["failed to run custom build command for", "error: linking with "];

impl Build {
    /// The same build once more, for a reader that looks for the reason of its failure: [`lacks_a_library`].
    pub(crate) fn for_the_reason(&self) -> Invocation {
        self.command.clone().with_errors()
    }
}

/// Whether a build failed because of a native library, by what [`Build::for_the_reason`] has printed.
pub(crate) fn lacks_a_library(printed: &str) -> bool {
    printed.lines().any(|line| MISSING_LIBRARY.iter().any(|words| line.contains(words)))
}

/// The commands that build the crates of `topology` that `is_wanted` selects by service: one for each profile and target, and where crates are
/// built as the developer builds, one for those that `cargo build` selects by itself and one for the others. Verbosity and colors are
/// those of `shell`.
///
/// # Errors
/// [`Code::NothingToRun`] if cargo's configuration cannot be read; if our own working directory is gone.
pub(crate) fn build(
    workspace: &Workspace,
    topology: &Topology,
    is_wanted: &dyn Fn(&str) -> bool,
    targets: &Targets,
    shell: &ShellOptions,
) -> anyhow::Result<Vec<Build>> {
    let mut groups: BTreeMap<_, Group<'_>> = BTreeMap::new();
    for (service, krate) in &topology.crates {
        let (profile, triple) = (krate.profile.as_str(), targets.triple(krate));
        let target_dir = topology.target_dir.as_deref();
        let is_default = triple.is_none() && is_default(workspace, krate);
        let new = || Group { profile, triple, is_default, crates: Vec::new(), bins: BTreeSet::new(), target_dir };
        let group = groups.entry((profile, triple, !is_default)).or_insert_with(new);
        group.crates.push(krate);
        group.bins.extend(is_wanted(service).then_some(krate.bin.as_str()));
    }
    let wanted = groups.into_values().filter(|group| !group.bins.is_empty());
    let build = |group: Group<'_>| {
        let command = build_group(workspace, &group, shell)?;
        Ok(Build { command, is_static: group.triple.is_some() })
    };
    wanted.map(build).collect()
}

/// Crates that one command builds.
struct Group<'a> {
    profile: &'a str,
    triple: Option<&'a str>,
    /// Whether `cargo build` selects their packages by itself.
    is_default: bool,
    /// All crates of the stack that belong here, so that cargo unifies the same features whatever is started.
    crates: Vec<&'a Crate>,
    /// The binaries to build.
    bins: BTreeSet<&'a str>,
    target_dir: Option<&'a str>,
}

/// The target directory of a build; none for cargo's own.
///
/// That of static programs differs from the developer's, since builds with different flags would invalidate each other. In a target
/// directory outside the workspace, which other checkouts may share (`CARGO_TARGET_DIR`), it also differs for each workspace, so that
/// a binary of the same name is never taken from another checkout.
fn target_dir(workspace: &Workspace, group: &Group<'_>) -> Option<PathBuf> {
    if let Some(dir) = group.target_dir {
        return Some(PathBuf::from(dir));
    }
    let dir = workspace.target_dir.join(TARGET_DIR);
    if let Ok(dir) = dir.strip_prefix(workspace.root()) {
        return group.triple.map(|_| dir.to_owned());
    }
    let mut hasher = DefaultHasher::new();
    workspace.root().hash(&mut hasher);
    let name = workspace.root().file_name().unwrap_or_default().to_string_lossy();
    Some(dir.join(format!("{name}-{:016x}", hasher.finish())))
}

/// Whether `cargo build` in the workspace root selects the package of a crate.
fn is_default(workspace: &Workspace, krate: &Crate) -> bool {
    workspace.packages.iter().any(|package| package.name == krate.package && package.is_default)
}

/// The packages to select. None if cargo selects them by itself: then features are unified as in the developer's own build, and nothing is
/// compiled twice.
fn packages<'a>(group: &Group<'a>) -> BTreeSet<&'a str> {
    if group.is_default {
        return BTreeSet::new();
    }
    group.crates.iter().map(|krate| krate.package.as_str()).collect()
}

fn build_group(workspace: &Workspace, group: &Group<'_>, shell: &ShellOptions) -> anyhow::Result<Invocation> {
    let once = |what: &str, values: &BTreeSet<&str>| -> Vec<String> {
        values.iter().flat_map(|value| [what.to_string(), value.to_string()]).collect()
    };
    let packages = once("-p", &packages(group));
    let bins = once("--bin", &group.bins);
    let features = group
        .crates
        .iter()
        .flat_map(|krate| krate.features.iter().map(move |feature| format!("{}/{feature}", krate.package)));
    let features: BTreeSet<String> = features.collect();
    let features = (!features.is_empty()).then(|| format!("--features={}", Vec::from_iter(features).join(",")));
    let quiet = (shell.verbosity == Verbosity::Quiet).then_some("--quiet");
    let color = match shell.color {
        ColorChoice::Auto => None,
        ColorChoice::Always => Some("--color=always"),
        ColorChoice::Never => Some("--color=never"),
    };
    let flags = &workspace.cargo_flags;
    let profile = (group.profile != "dev").then(|| format!("--profile={}", group.profile));
    let target = group.triple.into_iter().flat_map(|triple| ["--target", triple]);
    let dir = target_dir(workspace, group);
    let dir = dir.iter().flat_map(|dir| [OsString::from("--target-dir"), dir.into()]);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let sh = Shell::new().context("the current directory cannot be found")?;
    sh.change_dir(workspace.root());
    let mut command = cmd!(
        sh,
        "{cargo} build {quiet...} {color...} {flags...} {packages...} {bins...} {features...} {profile...} {target...} {dir...} --message-format json-render-diagnostics"
    );
    // With musl, programs are static anyway.
    if let Some(triple) = group.triple.filter(|triple| !triple.contains("-musl")) {
        let (name, flags) = static_rustflags(workspace.root(), triple, std::env::vars_os())?;
        command = command.env(name, flags);
    }
    Ok(Invocation::from(command).with_errors_shown())
}

/// The variable that adds [`STATIC`] to the rustflags with which cargo builds in this folder for this target. The variables of rustflags
/// replace every `rustflags` of a configuration, so the value repeats those. Evaluating a table `target.'cfg(…)'` runs rustc.
///
/// # Errors
/// [`Code::NothingToRun`] if cargo's configuration cannot be read.
fn static_rustflags(
    folder: &Path,
    target: &str,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(&'static str, String), Failure> {
    let resolve = || -> Result<_, cargo_config2::Error> {
        let options = ResolveOptions::default().env(variables);
        let mut flags = Config::load_with_options(folder, options)?.rustflags(target)?.unwrap_or_default();
        STATIC.into_iter().for_each(|flag| flags.push(flag));
        // A flag with a space in it needs the other variable.
        let plain = flags.encode_space_separated().map(|value| ("RUSTFLAGS", value));
        plain.or_else(|_| Ok(("CARGO_ENCODED_RUSTFLAGS", flags.encode()?)))
    };
    let what = || format!("cannot find out the rustflags for {target} in cargo's configuration");
    resolve().with_context(what).map_err(|error| Code::NothingToRun.because(error))
}

/// Where cargo has put the binary of each of these crates, by service, by what [`build`] has printed.
pub(crate) fn binaries(
    workspace: &Workspace,
    crates: &BTreeMap<&str, &Crate>,
    printed: &str,
) -> BTreeMap<String, PathBuf> {
    #[derive(Deserialize)]
    struct Artifact {
        manifest_path: PathBuf,
        target: Target,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let mut found = BTreeMap::new();
    for line in printed.lines() {
        let Ok(Artifact { manifest_path, target, executable: Some(executable) }) =
            serde_json::from_slice(line.as_bytes())
        else {
            continue;
        };
        let is_it = |krate: &Crate| krate.bin == target.name && manifest_of(workspace, krate) == Some(&manifest_path);
        for (service, _) in crates.iter().filter(|(_, krate)| is_it(krate)) {
            found.insert(service.to_string(), executable.clone());
        }
    }
    found
}

fn manifest_of<'a>(workspace: &'a Workspace, krate: &Crate) -> Option<&'a Path> {
    let package = workspace.packages.iter().find(|package| package.name == krate.package)?;
    Some(&package.manifest_path)
}

#[cfg(test)]
mod tests;
