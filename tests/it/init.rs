//! `init`: what is found, what is written, and what is not.

use std::fs;

use crate::support::{COMPOSE_FILE, Finished, Sandbox};

/// A workspace with a package of one binary, one of two, and a library.
fn shop() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.remove(COMPOSE_FILE);
    sandbox.write("Cargo.toml", "[workspace]\nmembers = [\"api\", \"jobs\", \"types\"]\nresolver = \"3\"\n");
    let package = |name: &str, more: &str| {
        let text =
            format!("[package] # of the shop\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}");
        sandbox.write(&format!("{name}/Cargo.toml"), &text);
    };
    package("api", "\n[dependencies]\n");
    sandbox.write("api/src/main.rs", "fn main() {}\n");
    package("jobs", "");
    for bin in ["mail", "report"] {
        sandbox.write(&format!("jobs/src/bin/{bin}.rs"), "fn main() {}\n");
    }
    package("types", "");
    sandbox.write("types/src/lib.rs", "");
    sandbox
}

fn manifest(sandbox: &Sandbox, package: &str) -> String {
    fs::read_to_string(sandbox.root().join(package).join("Cargo.toml")).unwrap()
}

fn refused(sandbox: &Sandbox, args: &[&str]) -> Finished {
    let before = ["api", "jobs"].map(|package| manifest(sandbox, package));
    let finished = sandbox.run([&["init"], args].concat()).exits(3);
    assert_eq!(["api", "jobs"].map(|package| manifest(sandbox, package)), before, "something was written");
    finished
}

#[test]
fn it_shows_what_there_is_and_writes_nothing_unasked() {
    let sandbox = shop();
    let shown = sandbox.run(["init"]).exits(0);
    for line in ["PACKAGE  BINARIES     SERVICE", "api      api", "jobs     mail report"] {
        assert!(shown.stderr.contains(line), "{}", shown.stderr);
    }
    assert!(!shown.stderr.contains("types"), "a library is no service: {}", shown.stderr);
    assert!(shown.stderr.contains("help: name the services"), "{}", shown.stderr);
    assert!(!manifest(&sandbox, "api").contains("metadata"));
}

#[test]
fn it_writes_the_smallest_table_that_will_do() {
    let sandbox = shop();
    let args = ["init", "--service", "api:8080", "--service", "mail"];
    let diff = sandbox.run([&args[..], &["--dry-run"]].concat()).exits(0);
    assert!(diff.stdout().contains("+[package.metadata.stagecraft.dev]\n+ports = [\"127.0.0.1:8080:8080\"]\n"));
    assert!(!manifest(&sandbox, "api").contains("metadata"), "a dry run has written");

    let done = sandbox.run(args).exits(0);
    assert!(done.stderr.contains("Adding [package.metadata.stagecraft.dev] to api/Cargo.toml"), "{}", done.stderr);
    let expected = "[package] # of the shop\nname = \"api\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
                    [package.metadata.stagecraft.dev]\nports = [\"127.0.0.1:8080:8080\"]\n\n[dependencies]\n";
    assert_eq!(manifest(&sandbox, "api"), expected);
    let table = "\n[package.metadata.stagecraft.dev]\nservice = \"mail\"\nbin = \"mail\"\n";
    assert!(manifest(&sandbox, "jobs").ends_with(table), "{}", manifest(&sandbox, "jobs"));

    // And it is a stack now.
    sandbox.run(["dev", "files"]).exits(0);
    let compose = fs::read_to_string(sandbox.root().join(COMPOSE_FILE)).unwrap();
    assert!(compose.contains("  api:\n") && compose.contains("  mail:\n"), "{compose}");
    let shown = sandbox.run(["init"]).exits(0);
    assert!(shown.stderr.contains("jobs     mail report  mail"), "{}", shown.stderr);
}

#[test]
fn a_route_is_written_where_one_is_asked_for() {
    let sandbox = shop();
    sandbox.run(["init", "--service", "api:3000", "--route"]).exits(0);
    assert!(manifest(&sandbox, "api").contains("[package.metadata.stagecraft.dev]\nroute = 3000\n"));
}

#[test]
fn nothing_is_written_where_anything_is_wrong() {
    let sandbox = shop();
    for (args, words) in [
        (
            vec!["--service", "api", "--service", "nobody"],
            "no package and no binary of this workspace is named `nobody`",
        ),
        (vec!["--service", "repotr"], "is named `repotr`\nhelp: a name with a similar name exists: `report`"),
        (vec!["--service", "types"], "no package and no binary of this workspace is named `types`"),
        (vec!["--service", "jobs"], "package `jobs` has several binaries: mail, report"),
        (vec!["--service", "mail", "--service", "report"], "package `jobs` can be one service only"),
    ] {
        let finished = refused(&sandbox, &args);
        assert!(finished.stderr.contains(words), "{}", finished.stderr);
    }
    sandbox.run(["init", "--service", "api:0"]).exits(2);
    sandbox.run(["init", "--service", ":80"]).exits(2);

    sandbox.write(COMPOSE_FILE, "services: {}\n");
    let finished = refused(&sandbox, &["--service", "api"]);
    assert!(finished.stderr.contains("was written by hand"), "{}", finished.stderr);
    sandbox.remove(COMPOSE_FILE);

    sandbox.run(["init", "--service", "api"]).exits(0);
    let finished = refused(&sandbox, &["--service", "api:8080"]);
    assert!(finished.stderr.contains("package `api` is a service already"), "{}", finished.stderr);
}

#[test]
fn all_manifests_are_written_or_none() {
    let sandbox = shop();
    let second = sandbox.root().join("jobs/Cargo.toml");
    let mut permissions = fs::metadata(&second).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&second, permissions).unwrap();
    let before = ["api", "jobs"].map(|package| manifest(&sandbox, package));
    sandbox.run(["init", "--service", "api", "--service", "report"]).exits(1).says("it is read-only");
    assert_eq!(before, ["api", "jobs"].map(|package| manifest(&sandbox, package)));
}
