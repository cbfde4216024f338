//! Builds the binaries of the services with cargo: static Linux programs that need no files from an image.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use cargo_config2::{Config, ResolveOptions};
use serde::Deserialize;
use xshell::{Shell, cmd};

use crate::command::{Executor, Invocation};
use crate::devfile::Crate;
use crate::exit::{Code, Failure};
use crate::reporter::{ColorChoice, ShellOptions, Verbosity};
use crate::workspace::{Workspace, error_of};

/// The folder below cargo's target directory that all of this goes to: other flags and another target than the developer's
/// own builds, which would otherwise wait for each other and build everything anew.
const TARGET_DIR: &str = "stagecraft";

/// Links the C library into the program.
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

/// The commands that build these crates for this target: one, or one for each profile. Verbosity and colors are those of `shell`.
///
/// # Errors
/// [`Code::NothingToRun`] if cargo's configuration cannot be read; if our own working directory is gone.
pub(crate) fn build(
    workspace: &Workspace,
    crates: &BTreeMap<&str, &Crate>,
    target: &str,
    shell: &ShellOptions,
) -> anyhow::Result<Vec<Invocation>> {
    let profiles: BTreeSet<&str> = crates.values().map(|krate| krate.profile.as_str()).collect();
    let of_profile = |profile| {
        let crates: Vec<&Crate> = crates.values().copied().filter(|krate| krate.profile == profile).collect();
        build_profile(workspace, &crates, target, shell, profile)
    };
    profiles.into_iter().map(of_profile).collect()
}

/// The target directory of these builds. It differs from the developer's, since builds with different flags would invalidate each
/// other. In a target directory outside the workspace, which other checkouts may share (`CARGO_TARGET_DIR`), it also differs for each
/// workspace, so that a binary of the same name is never taken from another checkout.
fn target_dir(workspace: &Workspace) -> PathBuf {
    let dir = workspace.target_dir.join(TARGET_DIR);
    if workspace.target_dir.starts_with(workspace.root()) {
        return dir;
    }
    let mut hasher = DefaultHasher::new();
    workspace.root().hash(&mut hasher);
    let name = workspace.root().file_name().unwrap_or_default().to_string_lossy();
    dir.join(format!("{name}-{:016x}", hasher.finish()))
}

fn build_profile(
    workspace: &Workspace,
    crates: &[&Crate],
    target: &str,
    shell: &ShellOptions,
    profile: &str,
) -> anyhow::Result<Invocation> {
    let once = |what: &str, values: BTreeSet<&str>| -> Vec<String> {
        values.into_iter().flat_map(|value| [what.to_string(), value.to_string()]).collect()
    };
    let packages = once("-p", crates.iter().map(|krate| krate.package.as_str()).collect());
    let bins = once("--bin", crates.iter().map(|krate| krate.bin.as_str()).collect());
    let features = crates
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
    let profile = (profile != "dev").then(|| format!("--profile={profile}"));
    let dir = target_dir(workspace);
    let dir = dir.strip_prefix(workspace.root()).unwrap_or(&dir);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let sh = Shell::new().context("the current directory cannot be found")?;
    sh.change_dir(workspace.root());
    let mut command = cmd!(
        sh,
        "{cargo} build {quiet...} {color...} {flags...} {packages...} {bins...} {features...} {profile...} --target {target} --target-dir {dir} --message-format json-render-diagnostics"
    );
    // With musl, programs are static anyway.
    if !target.contains("-musl") {
        let (name, flags) = static_rustflags(workspace.root(), target, std::env::vars_os())?;
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
mod tests {
    use std::fs;
    use std::io;
    use std::process::Output;

    use serde_json::json;

    use super::*;
    use crate::devfile::Base;
    use crate::os;
    use crate::workspace::Package;

    /// Answers every question like this.
    struct Says(i32, String);

    impl Executor for Says {
        fn output(&self, invocation: &Invocation) -> io::Result<Output> {
            assert!(invocation.to_string().ends_with(" --print sysroot"), "{invocation}");
            let status = os::exited(self.0);
            Ok(Output { status, stdout: self.1.clone().into(), stderr: "rustc: no luck\n".into() })
        }

        crate::command::refuse!(spawn, listen, request, exec);
    }

    /// What is chosen by a toolchain with these targets, or what is said.
    fn chosen(installed: &[&str], asked_for: Option<&str>, engines: &str) -> Result<String, String> {
        let sysroot = tempfile::tempdir().unwrap();
        for target in installed {
            fs::create_dir_all(sysroot.path().join("lib/rustlib").join(target).join("lib")).unwrap();
        }
        // A component that has its folder there and is no target.
        fs::create_dir_all(sysroot.path().join("lib/rustlib/src")).unwrap();
        let rustc = Says(0, format!("{}\n", sysroot.path().display()));
        let sysroot = super::sysroot(&rustc, &|_| None).unwrap();
        target(&sysroot, asked_for, engines).map_err(|failure| {
            assert_eq!(failure.code(), Code::NothingToRun);
            format!("{failure}\nhelp: {}", failure.next_step().unwrap())
        })
    }

    #[test]
    fn cargos_place_tells_the_sysroot_where_rustup_has_chosen_it() {
        let temp = tempfile::tempdir().unwrap();
        let toolchain = temp.path().join("toolchains/stable");
        fs::create_dir_all(toolchain.join("bin")).unwrap();
        fs::write(toolchain.join("bin").join(format!("rustc{}", std::env::consts::EXE_SUFFIX)), "").unwrap();
        let cargo = toolchain.join("bin/cargo");
        let (cargo, path) = (cargo.to_str().unwrap(), toolchain.to_str().unwrap());
        let sysroot = |variables: &[(&str, &str)]| {
            let value = |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into());
            rustups_sysroot(&value)
        };
        let found = Some(toolchain.clone());
        assert_eq!(sysroot(&[("CARGO", cargo), ("RUSTUP_TOOLCHAIN", "stable")]), found);
        assert_eq!(sysroot(&[("CARGO", cargo), ("RUSTUP_TOOLCHAIN", path)]), found);
        assert_eq!(sysroot(&[("CARGO", cargo), ("RUSTUP_TOOLCHAIN", "nightly")]), None);
        assert_eq!(sysroot(&[("CARGO", cargo), ("RUSTUP_TOOLCHAIN", "stable"), ("RUSTC", "x")]), None);
        assert_eq!(sysroot(&[("CARGO", "cargo"), ("RUSTUP_TOOLCHAIN", "stable")]), None);
        assert_eq!(sysroot(&[("CARGO", "/usr/bin/cargo"), ("RUSTUP_TOOLCHAIN", "stable")]), None);
        assert_eq!(sysroot(&[("CARGO", cargo)]), None);
        fs::remove_file(toolchain.join("bin").join(format!("rustc{}", std::env::consts::EXE_SUFFIX))).unwrap();
        assert_eq!(sysroot(&[("CARGO", cargo), ("RUSTUP_TOOLCHAIN", "stable")]), None);
    }

    #[test]
    fn the_first_static_target_that_the_toolchain_has_is_built_for() {
        const GNU: &str = "x86_64-unknown-linux-gnu";
        const MUSL: &str = "x86_64-unknown-linux-musl";
        assert_eq!(chosen(&[GNU], None, "amd64").unwrap(), GNU);
        assert_eq!(chosen(&[GNU, MUSL], None, "amd64").unwrap(), MUSL);
        assert_eq!(chosen(&[GNU, MUSL], Some(GNU), "amd64").unwrap(), GNU);
        for (engines, target) in [
            ("arm64", "aarch64-unknown-linux-musl"),
            ("arm", "armv7-unknown-linux-musleabihf"),
            ("arm", "armv7-unknown-linux-gnueabihf"),
            ("386", "i686-unknown-linux-gnu"),
            ("riscv64", "riscv64gc-unknown-linux-gnu"),
            ("s390x", "s390x-unknown-linux-gnu"),
            ("ppc64le", "powerpc64le-unknown-linux-gnu"),
            ("loong64", "loongarch64-unknown-linux-musl"),
        ] {
            // The host's own is of no use to an engine of another kind.
            assert_eq!(chosen(&[GNU, MUSL, target], None, engines).unwrap(), target, "{engines}");
        }
    }

    #[test]
    fn a_missing_target_is_reported_with_the_rustup_command() {
        let expected = "this toolchain cannot build static programs for the engine, which is arm64 with Linux\n\
                        help: rustup target add aarch64-unknown-linux-musl";
        assert_eq!(chosen(&["x86_64-unknown-linux-gnu"], None, "arm64").unwrap_err(), expected);
        let expected = "this toolchain cannot build for wasm32-wasip1\nhelp: rustup target add wasm32-wasip1";
        assert_eq!(chosen(&["x86_64-unknown-linux-gnu"], Some("wasm32-wasip1"), "amd64").unwrap_err(), expected);
        let expected = "the engine's architecture is vax: no known Rust target\n\
                        help: name the target in [workspace.metadata.stagecraft.dev]: `target = \"…\"`";
        assert_eq!(chosen(&["x86_64-unknown-linux-gnu"], None, "vax").unwrap_err(), expected);
        assert_eq!(
            chosen(&["vax-unknown-linux-gnu"], Some("vax-unknown-linux-gnu"), "vax").unwrap(),
            "vax-unknown-linux-gnu"
        );
    }

    #[test]
    fn a_rustc_that_fails_has_its_own_words() {
        let failure = sysroot(&Says(1, String::new()), &|_| None).unwrap_err();
        assert_eq!(failure.code(), Code::NothingToRun);
        let error = anyhow::Error::from(failure);
        assert_eq!(format!("{error:#}"), "cannot ask rustc which targets it has: rustc: no luck");
    }

    fn krate(package: &str, bin: &str, profile: &str, features: &[&str]) -> Crate {
        Crate {
            package: package.to_string(),
            bin: bin.to_string(),
            base: Base::Scratch,
            profile: profile.to_string(),
            features: features.iter().map(ToString::to_string).collect(),
        }
    }

    fn workspace() -> Workspace {
        let mut workspace = Workspace::at("/w/shop");
        workspace.target_dir = "/w/shop/target".into();
        workspace.packages = ["api", "web"]
            .map(|name| Package {
                name: name.to_string(),
                manifest_path: format!("/w/shop/{name}/Cargo.toml").into(),
                ..Package::default()
            })
            .to_vec();
        workspace
    }

    /// The commands without cargo itself, which the environment may name, and with paths as Unix has them.
    fn builds(workspace: &Workspace, crates: &[(&str, &Crate)], target: &str, shell: &ShellOptions) -> Vec<String> {
        let crates = crates.iter().copied().collect();
        let lines = build(workspace, &crates, target, shell).unwrap();
        let plain = |line: &Invocation| line.to_string().replace(r"\\", "/").replace('"', "");
        lines.iter().map(|line| plain(line).split_once(" build ").unwrap().1.to_string()).collect()
    }

    const TAIL: &str = "--target x86_64-unknown-linux-musl --target-dir target/stagecraft \
                        --message-format json-render-diagnostics";
    const MUSL: &str = "x86_64-unknown-linux-musl";
    const GNU: &str = "x86_64-unknown-linux-gnu";

    #[test]
    fn there_is_one_build_for_each_profile_with_all_that_it_needs() {
        let api = krate("api", "api", "dev", &["tls", "json"]);
        let web = krate("web", "server", "dev", &["tls"]);
        let worker = krate("worker", "worker", "release", &[]);
        let all = [("worker", &worker), ("front", &web), ("api", &api)];
        let expected = [
            format!("-p api -p web --bin api --bin server --features=api/json,api/tls,web/tls {TAIL}"),
            format!("-p worker --bin worker --profile=release {TAIL}"),
        ];
        assert_eq!(builds(&workspace(), &all, MUSL, &ShellOptions::default()), expected);
        let says = ShellOptions { verbosity: Verbosity::Quiet, color: ColorChoice::Never, ..ShellOptions::default() };
        let quiet = format!("--quiet --color=never -p worker --bin worker --profile=release {TAIL}");
        assert_eq!(builds(&workspace(), &[("worker", &worker)], MUSL, &says), [quiet]);
        assert!(builds(&workspace(), &[], MUSL, &ShellOptions::default()).is_empty());
    }

    #[test]
    fn a_target_directory_elsewhere_is_named_in_full() {
        let mut workspace = workspace();
        workspace.target_dir = "/cache/target".into();
        let line =
            builds(&workspace, &[("api", &krate("api", "api", "dev", &[]))], MUSL, &ShellOptions::default()).remove(0);
        assert!(line.contains(" --target-dir /cache/target/stagecraft/shop-"), "{line}");
        // Where another checkout builds a binary of the same name.
        let mut other = Workspace::at("/v/shop");
        other.target_dir = "/cache/target".into();
        assert_ne!(target_dir(&workspace), target_dir(&other));
    }

    #[test]
    fn only_programs_with_the_c_library_of_gnu_get_rustflags() {
        let api = krate("api", "api", "dev", &[]);
        let crates = BTreeMap::from([("api", &api)]);
        let line = |target| build(&workspace(), &crates, target, &ShellOptions::default()).unwrap()[0].to_string();
        let gnu = line(GNU);
        assert!(gnu.contains("RUSTFLAGS=") && gnu.contains("-C target-feature=+crt-static' "), "{gnu}");
        let musl = line(MUSL);
        assert!(!musl.contains("crt-static"), "{musl}");
    }

    #[test]
    fn static_programs_are_built_with_the_rustflags_that_cargo_would_use() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("shop");
        fs::create_dir_all(folder.join(".cargo")).unwrap();
        let home = ("CARGO_HOME", temp.path().join("home").into_os_string());
        let flags = |config: &str, variables: &[(&str, &str)]| {
            fs::write(folder.join(".cargo/config.toml"), config).unwrap();
            let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
            let variables = variables.chain([(home.0.into(), home.1.clone())]);
            static_rustflags(&folder, GNU, variables).map_err(|failure| {
                assert_eq!(failure.code(), Code::NothingToRun);
                format!("{:#}", anyhow::Error::from(failure))
            })
        };
        let plain = |flags: &str| Ok(("RUSTFLAGS", format!("{flags}-C target-feature=+crt-static")));
        assert_eq!(flags("", &[]), plain(""));
        let build = "[build]\nrustflags = [\"--cfg\", \"tokio_unstable\"]\n";
        assert_eq!(flags(build, &[]), plain("--cfg tokio_unstable "));
        assert_eq!(flags("build.rustflags = '--cfg tokio_unstable'", &[]), plain("--cfg tokio_unstable "));
        // A table of the target replaces that of `build`, and a variable replaces both.
        let both = format!("{build}[target.{GNU}]\nrustflags = '-C opt-level=1'\n");
        assert_eq!(flags(&both, &[]), plain("-C opt-level=1 "));
        assert_eq!(flags(&both, &[("RUSTFLAGS", "--cfg mine")]), plain("--cfg mine "));
        assert_eq!(flags(&both, &[("CARGO_ENCODED_RUSTFLAGS", "--cfg\u{1f}mine")]), plain("--cfg mine "));
        assert_eq!(flags("", &[("CARGO_BUILD_RUSTFLAGS", "--cfg mine")]), plain("--cfg mine "));
        let spaced = "--cfg\u{1f}name=\"a b\"\u{1f}-C\u{1f}target-feature=+crt-static".to_string();
        assert_eq!(
            flags("build.rustflags = [\"--cfg\", 'name=\"a b\"']", &[]),
            Ok(("CARGO_ENCODED_RUSTFLAGS", spaced))
        );
        let error = flags("build = 3", &[]).unwrap_err();
        assert!(
            error.starts_with(&format!("cannot find out the rustflags for {GNU} in cargo's configuration: ")),
            "{error}"
        );
    }

    #[test]
    fn the_binary_of_each_service_is_found_in_cargos_messages() {
        let artifact = |package: &str, name: &str, executable: Option<&str>| {
            let line = json!({
                "reason": "compiler-artifact", "manifest_path": format!("/w/shop/{package}/Cargo.toml"),
                "target": {"name": name, "kind": ["bin"]}, "executable": executable, "fresh": true,
            });
            format!("{line}\n")
        };
        let printed = [
            "what a build script has printed\n".to_string(),
            artifact("api", "api", None),
            artifact("api", "api", Some("/t/api")),
            // Another package's binary of the same name.
            artifact("web", "api", Some("/t/wrong")),
            artifact("web", "server", Some("/t/server")),
            artifact("elsewhere", "server", Some("/t/wrong")),
            "{\"reason\":\"build-finished\",\"success\":true}\n".to_string(),
        ];
        let (api, web, none) =
            (krate("api", "api", "dev", &[]), krate("web", "server", "dev", &[]), krate("api", "other", "dev", &[]));
        let crates = BTreeMap::from([("api", &api), ("front", &web), ("none", &none)]);
        let found = binaries(&workspace(), &crates, &printed.concat());
        let expected = [("api", "/t/api"), ("front", "/t/server")];
        assert_eq!(found, expected.map(|(service, path)| (service.to_string(), PathBuf::from(path))).into());
    }
}
