//! The package as a user gets it: made, unpacked, installed by cargo, and run. It is built in a target folder of its own,
//! since the one of the tests has this very binary.

// unwrap: a test may panic in its helpers too.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}\n{said}", output.status);
    output
}

fn cargo(args: &[&str]) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(args).current_dir(root());
    cargo
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_package_is_installed_and_runs_and_is_packed_for_a_release() {
    let temp = tempfile::tempdir().unwrap();
    let target = root().join("target/package-check");
    let target = target.to_str().unwrap();

    let made = cargo(&["package", "--locked", "--allow-dirty", "--no-verify", "--target-dir", target]);
    let warnings = text(&run(&mut { made }).stderr);
    for warning in warnings.lines().filter(|line| line.starts_with("warning: ")) {
        // The tests stay at home, and cargo says so of each.
        assert!(warning.contains("is not included in the published package"), "{warning}");
    }
    let package = PathBuf::from(target).join(format!("package/cargo-stagecraft-{VERSION}.crate"));
    let size = fs::metadata(&package).unwrap().len();
    // More could only be something that is included by mistake.
    assert!(size < 1 << 20, "the package has {size} bytes");
    run(Command::new("tar").arg("-xzf").arg(&package).current_dir(temp.path()));
    let unpacked = temp.path().join(format!("cargo-stagecraft-{VERSION}"));

    let installed = temp.path().join("installed");
    let (from, to) = (unpacked.to_str().unwrap(), installed.to_str().unwrap());
    run(&mut cargo(&["install", "--locked", "--path", from, "--root", to, "--target-dir", target]));
    let bin = installed.join("bin");
    let path = std::env::join_paths(
        [bin.clone()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let subcommand = |args: &[&str]| {
        let mut cargo = cargo(args);
        cargo.env("PATH", path.as_ref().unwrap()).current_dir(temp.path());
        text(&run(&mut cargo).stdout)
    };
    assert_eq!(subcommand(&["stagecraft", "--version"]), format!("cargo-stagecraft {VERSION}\n"));
    // Something for which it has to find a workspace, and to change it.
    subcommand(&["new", "--quiet", "shop"]);
    let manifest = temp.path().join("shop/Cargo.toml");
    subcommand(&["stagecraft", "init", "--service", "shop:8080", "--manifest-path", manifest.to_str().unwrap()]);
    assert!(fs::read_to_string(manifest).unwrap().contains("ports = [\"127.0.0.1:8080:8080\"]"));

    let triple = "x86_64-unknown-linux-gnu";
    let packed = run(Command::new(root().join("scripts/pack-release.sh")).arg(triple).arg(&bin).arg(temp.path()));
    let archive = PathBuf::from(text(&packed.stdout).trim());
    // As package.metadata.binstall has it.
    let name = format!("cargo-stagecraft-{triple}-v{VERSION}");
    assert_eq!(archive, temp.path().join(format!("{name}.tgz")));
    let listed = text(&run(Command::new("tar").arg("-tzf").arg(&archive)).stdout);
    for file in ["cargo-stagecraft", "man/cargo-stagecraft.1", "completions/_cargo-stagecraft"] {
        assert!(listed.lines().any(|listed| listed == format!("{name}/{file}")), "{file} is not in {listed}");
    }
}
