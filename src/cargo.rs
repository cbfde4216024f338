//! Lets cargo build the binaries that are services: static programs for Linux, which need nothing of an image.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::Deserialize;
use xshell::{Shell, cmd};

use crate::devfile::Crate;
use crate::exit::{Code, Failure};
use crate::process::{Executor, Invocation};
use crate::workspace::Workspace;

/// How much cargo is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// As always.
    Shown,
    /// Warnings and errors only.
    Quiet,
}

/// The folder below cargo's target directory that all of this goes to: other flags and another target than the developer's
/// own builds, which would otherwise wait for each other and build everything anew.
const TARGET_DIR: &str = "stagecraft";

/// What lets the C library be part of the program. With musl it is anyway.
const STATIC: [&str; 2] = ["-C", "target-feature=+crt-static"];

/// Rust's name for an architecture that the engine calls like this, and what stands behind the C library's name.
fn architecture(engines: &str) -> Option<(&'static str, &'static str)> {
    Some(match engines {
        "amd64" => ("x86_64", ""),
        "arm64" => ("aarch64", ""),
        "386" => ("i686", ""),
        "arm" => ("armv7", "eabihf"),
        "loong64" => ("loongarch64", ""),
        "ppc64le" => ("powerpc64le", ""),
        "riscv64" => ("riscv64gc", ""),
        "s390x" => ("s390x", ""),
        _ => return None,
    })
}

/// The target to build for: the one that is asked for, else the first of musl and gnu for the engine's architecture (as
/// Docker names it: `amd64`) that this toolchain has.
///
/// # Errors
/// [`Code::NothingToRun`] if the toolchain has none, with the command that adds it.
pub fn target(executor: &dyn Executor, asked_for: Option<&str>, engines: &str) -> Result<String, Failure> {
    let candidates = match (asked_for, architecture(engines)) {
        (Some(target), _) => vec![target.to_string()],
        (None, Some((arch, abi))) => ["musl", "gnu"].map(|libc| format!("{arch}-unknown-linux-{libc}{abi}")).to_vec(),
        (None, None) => {
            let error = anyhow!("the engine's architecture is {engines}, and it is not known what Rust calls that");
            let help = "name the target in [workspace.metadata.stagecraft.dev]: `target = \"…\"`";
            return Err(Code::NothingToRun.because(error).help(help));
        }
    };
    let libraries = sysroot(executor)?.join("lib/rustlib");
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

fn sysroot(executor: &dyn Executor) -> Result<PathBuf, Failure> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let ask = || -> anyhow::Result<PathBuf> {
        let sh = Shell::new()?;
        let output = executor.output(&Invocation::from(cmd!(sh, "{rustc} --print sysroot")))?;
        if !output.status.success() {
            return Err(anyhow!("{}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim_end()))
    };
    ask().context("cannot ask rustc which targets it has").map_err(|error| Code::NothingToRun.because(error))
}

/// The commands that build these crates for this target: one, or one for each profile.
///
/// # Errors
/// If our own working directory is gone.
pub fn build(
    workspace: &Workspace,
    crates: &BTreeMap<&str, &Crate>,
    target: &str,
    progress: Progress,
) -> anyhow::Result<Vec<Invocation>> {
    let profiles: BTreeSet<&str> = crates.values().map(|krate| krate.profile.as_str()).collect();
    let of_profile = |profile| {
        let crates: Vec<&Crate> = crates.values().copied().filter(|krate| krate.profile == profile).collect();
        build_profile(workspace, &crates, target, progress, profile)
    };
    profiles.into_iter().map(of_profile).collect()
}

fn build_profile(
    workspace: &Workspace,
    crates: &[&Crate],
    target: &str,
    progress: Progress,
    profile: &str,
) -> anyhow::Result<Invocation> {
    let once = |what: &str, values: BTreeSet<&str>| -> Vec<String> {
        values.into_iter().flat_map(|value| [what.to_string(), value.to_string()]).collect()
    };
    let packages = once("-p", crates.iter().map(|krate| krate.package.as_str()).collect());
    let bins = once("--bin", crates.iter().map(|krate| krate.bin.as_str()).collect());
    let features: BTreeSet<String> = crates
        .iter()
        .flat_map(|krate| krate.features.iter().map(move |feature| format!("{}/{feature}", krate.package)))
        .collect();
    let features = (!features.is_empty()).then(|| format!("--features={}", Vec::from_iter(features).join(",")));
    let quiet = (progress == Progress::Quiet).then_some("--quiet");
    let profile = (profile != "dev").then(|| format!("--profile={profile}"));
    let dir = workspace.target_dir.join(TARGET_DIR);
    let dir = dir.strip_prefix(workspace.root()).unwrap_or(&dir);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let sh = Shell::new().context("the current directory cannot be found")?;
    sh.change_dir(workspace.root());
    let mut config = Vec::new();
    let mut variable = None;
    if !target.contains("-musl") {
        // These replace what a configuration says, so whoever has set them is heard and not overruled.
        variable = [("CARGO_ENCODED_RUSTFLAGS", "\u{1f}"), ("RUSTFLAGS", " ")].into_iter().find_map(|(name, space)| {
            let flags = std::env::var(name).ok().filter(|flags| !flags.is_empty())?;
            Some((name, [flags.as_str(), STATIC[0], STATIC[1]].join(space)))
        });
        if variable.is_none() {
            config = vec!["--config".to_string(), format!("target.{target}.rustflags={STATIC:?}")];
        }
    }
    let mut command = cmd!(
        sh,
        "{cargo} build {quiet...} {packages...} {bins...} {features...} {profile...} --target {target} --target-dir {dir} {config...} --message-format json-render-diagnostics"
    );
    if let Some((name, flags)) = variable {
        command = command.env(name, flags);
    }
    Ok(Invocation::from(command).with_errors_shown())
}

/// Where cargo has put the binary of each of these crates, by service, by what [`build`] has printed.
pub fn binaries(workspace: &Workspace, crates: &BTreeMap<&str, &Crate>, printed: &str) -> BTreeMap<String, PathBuf> {
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
        let Ok(Artifact { manifest_path, target, executable: Some(executable) }) = serde_json::from_str(line) else {
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
