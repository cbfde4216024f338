//! Targets, commands, rustflags and artifacts.

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
        // The host's own target is not chosen for an engine of another architecture.
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
        listen: Vec::new(),
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

fn topology(crates: &[(&str, &Crate)]) -> Topology {
    let crates = crates.iter().map(|(service, krate)| (service.to_string(), (*krate).clone()));
    Topology { crates: crates.collect(), ..Topology::default() }
}

/// Static programs for this target.
fn only_static(target: &str) -> Targets {
    Targets {
        architecture: "amd64".to_string(),
        run_here: false,
        is_native: false,
        static_target: Some(target.to_string()),
    }
}

/// Programs as the developer builds them, and static ones for other base images.
fn native() -> Targets {
    Targets { is_native: true, ..only_static(MUSL) }
}

/// The commands without cargo itself, which the environment may name, and with paths as Unix has them.
fn builds(workspace: &Workspace, crates: &[(&str, &Crate)], target: &str, shell: &ShellOptions) -> Vec<String> {
    commands(workspace, &topology(crates), &|_| true, &only_static(target), shell)
}

fn commands(
    workspace: &Workspace,
    topology: &Topology,
    is_wanted: &dyn Fn(&str) -> bool,
    targets: &Targets,
    shell: &ShellOptions,
) -> Vec<String> {
    let lines: Vec<Invocation> =
        build(workspace, topology, is_wanted, targets, shell).unwrap().into_iter().map(|build| build.command).collect();
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
fn native_programs_are_built_as_the_developer_builds() {
    const END: &str = "--message-format json-render-diagnostics";
    let (api, web) = (krate("api", "api", "dev", &[]), krate("web", "server", "dev", &[]));
    let based = Crate { base: Base::Image("debian".to_string()), ..krate("web", "tool", "dev", &[]) };
    let lines = |workspace: &Workspace, crates: &[(&str, &Crate)], wanted: &[&str]| {
        let is_wanted = |service: &str| wanted.contains(&service);
        commands(workspace, &topology(crates), &is_wanted, &native(), &ShellOptions::default())
    };
    let mut workspace = workspace();
    let all = [("api", &api), ("web", &web)];
    // Neither is a default member: each is selected, whatever is started.
    assert_eq!(lines(&workspace, &all, &["api"]), [format!("-p api -p web --bin api {END}")]);
    assert!(lines(&workspace, &all, &[]).is_empty());
    // Cargo's own selection is kept for default members, for the same features; the others are built apart.
    workspace.packages.iter_mut().filter(|package| package.name == "api").for_each(|package| package.is_default = true);
    assert_eq!(lines(&workspace, &all, &["api"]), [format!("--bin api {END}")]);
    let apart = [format!("--bin api {END}"), format!("-p web --bin server {END}")];
    assert_eq!(lines(&workspace, &all, &["api", "web"]), apart);
    workspace.packages.iter_mut().for_each(|package| package.is_default = true);
    assert_eq!(lines(&workspace, &all, &["web"]), [format!("--bin server {END}")]);
    // A base image may have older libraries than this machine.
    let both = lines(&workspace, &[("api", &api), ("tool", &based)], &["api", "tool"]);
    assert_eq!(both, [format!("--bin api {END}"), format!("-p web --bin tool {TAIL}")]);
    // Where rust-analyzer holds cargo's own.
    let elsewhere = Topology { target_dir: Some("target/dev".to_string()), ..topology(&[("api", &api)]) };
    let line = commands(&workspace, &elsewhere, &|_| true, &native(), &ShellOptions::default());
    assert_eq!(line, [format!("--bin api --target-dir target/dev {END}")]);
}

#[test]
fn programs_are_native_where_they_run_on_the_engine_unless_the_manifest_says_otherwise() {
    let scratch = krate("api", "api", "dev", &[]);
    let here = engines_architecture(std::env::consts::ARCH).to_string();
    let sysroot = tempfile::tempdir().unwrap();
    for target in ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"] {
        fs::create_dir_all(sysroot.path().join("lib/rustlib").join(target).join("lib")).unwrap();
    }
    let targets = |topology: &Topology, architecture: &str| {
        Targets::of(topology, architecture.to_string(), || Ok(sysroot.path().to_owned())).unwrap()
    };
    let plain = topology(&[("api", &scratch)]);
    let is_linux = os::RUNS_LINUX_PROGRAMS;
    assert_eq!(targets(&plain, &here).is_native(&scratch), is_linux);
    assert_eq!(targets(&plain, &here).static_target.is_none(), is_linux);
    let other = if here == "amd64" { "arm64" } else { "amd64" };
    assert!(!targets(&plain, other).is_native(&scratch));
    assert!(!targets(&Topology { is_static: true, ..plain.clone() }, "amd64").is_native(&scratch));
    let given = Topology { target: Some(MUSL.to_string()), ..plain };
    let run_here = is_linux && here == "amd64";
    assert_eq!(targets(&given, "amd64"), Targets { run_here, ..only_static(MUSL) });
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
    let api = krate("api", "api", "dev", &[]);
    assert_ne!(builds(&other, &[("api", &api)], MUSL, &ShellOptions::default()), [line]);
    // Also for the developer's own build: others may build a binary of the same name in there at the same moment.
    let crates = topology(&[("api", &api)]);
    let line = commands(&workspace, &crates, &|_| true, &native(), &ShellOptions::default()).remove(0);
    assert!(line.contains(" --target-dir /cache/target/stagecraft/shop-") && !line.contains("--target "), "{line}");
}

#[test]
fn only_programs_with_the_c_library_of_gnu_get_rustflags() {
    let api = krate("api", "api", "dev", &[]);
    let crates = topology(&[("api", &api)]);
    let line = |target| {
        let all = build(&workspace(), &crates, &|_| true, &only_static(target), &ShellOptions::default()).unwrap();
        all[0].command.to_string()
    };
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
    assert_eq!(flags("build.rustflags = [\"--cfg\", 'name=\"a b\"']", &[]), Ok(("CARGO_ENCODED_RUSTFLAGS", spaced)));
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

#[test]
fn engines_and_rust_name_the_same_architectures() {
    for (engines, rust, _) in ARCHITECTURES {
        assert_eq!(architecture(engines).unwrap().0, rust);
        assert_eq!(engines_architecture(&format!("{rust}-unknown-linux-gnu")), engines);
    }
    for (standard_library, engines) in
        [("x86", "386"), ("arm", "arm"), ("riscv64", "riscv64"), ("powerpc64", "ppc64le")]
    {
        assert_eq!(engines_architecture(standard_library), engines);
    }
}

#[test]
fn a_missing_library_is_known_by_the_words_of_cargo_and_rustc() {
    assert!(lacks_a_library("   Compiling a\nerror: linking with `cc` failed: exit status: 1\n"));
    assert!(lacks_a_library("error: failed to run custom build command for `openssl-sys v0.9.1`\n"));
    assert!(!lacks_a_library("error[E0308]: mismatched types\nerror: could not compile `a`\n"));
}
