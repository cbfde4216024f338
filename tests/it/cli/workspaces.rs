//! How the workspace is found.

use super::*;

/// A workspace without a package of its own, with the member `api`.
fn virtual_workspace() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("Cargo.toml", "[workspace]\nmembers = [\"api\"]\nresolver = \"3\"\n");
    sandbox.remove("src/lib.rs");
    sandbox.write("api/Cargo.toml", "[package]\nname = \"api\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    sandbox.write("api/src/lib.rs", "");
    sandbox
}

#[test]
fn the_workspace_is_found_from_wherever_in_it_one_stands() {
    for dir in ["", "api", "api/src", ".stagecraft/dev"] {
        let sandbox = virtual_workspace();
        sandbox.stagecraft(["dev", "--detach"]).cwd(sandbox.root().join(dir)).run().exits(0);
        assert_eq!(sandbox.engine.changes(), [format!("{UP} -d")], "in {dir}");
        assert_eq!(sandbox.engine.only(Verb::Up).cwd, sandbox.root(), "in {dir}");
    }
}

#[test]
fn the_workspace_is_found_by_manifest_path() {
    for manifest in ["shop/Cargo.toml", "shop/api/Cargo.toml"] {
        let sandbox = virtual_workspace();
        let outside = sandbox.outside();
        for path in [Path::new(manifest).to_owned(), outside.join(manifest)] {
            let args = [OsStr::new("dev"), "--detach".as_ref(), "--manifest-path".as_ref(), path.as_ref()];
            sandbox.stagecraft(args).cwd(&outside).run().exits(0);
            assert_eq!(sandbox.engine.calls_of(Verb::Up).pop().unwrap().cwd, sandbox.root());
        }
    }
}

#[test]
fn a_manifest_path_that_leads_nowhere() {
    let sandbox = Sandbox::new();
    sandbox.run(["dev", "--manifest-path", "nowhere/Cargo.toml"]).exits(3).tells(str![[r#"
error: manifest path `nowhere/Cargo.toml` does not exist
help: run this inside a Cargo workspace, or point to one with `--manifest-path`

"#]]);
}

#[test]
fn finding_the_workspace_writes_no_lock_file() {
    let sandbox = virtual_workspace();
    sandbox.write("api/Cargo.toml", "[package]\nname = \"api\"\nversion = \"0.1.0\"\n[dependencies]\nserde = \"1\"\n");
    sandbox.run(["dev", "--detach"]).exits(0);
    assert!(!sandbox.root().join("Cargo.lock").exists());
    assert!(!sandbox.root().join("target").exists());
}

#[test]
fn a_broken_manifest_of_a_member_keeps_dev_from_starting_but_not_down_from_taking_down() {
    let sandbox = virtual_workspace();
    sandbox.run(["dev", "--detach"]).exits(0);
    sandbox.write("api/Cargo.toml", "[package\n");
    let before = sandbox.engine.calls().len();
    sandbox.run(["dev", "--detach"]).exits(3).says("error: ").says("api/Cargo.toml");
    assert_eq!(sandbox.engine.calls().len(), before);
    sandbox.run(["dev", "down"]).exits(0);
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

#[test]
fn down_works_also_where_one_stands_in_the_member_whose_manifest_is_broken() {
    for manifest in ["[package\n", "[package]\nname = \"api\"\nversion = \"one\"\n"] {
        let sandbox = virtual_workspace();
        sandbox.run(["dev", "--detach"]).exits(0);
        sandbox.write("api/Cargo.toml", manifest);
        sandbox.stagecraft(["dev", "down"]).cwd(sandbox.root().join("api")).run().exits(0);
        assert!(sandbox.engine.world(|world| world.is_empty()));
    }
}
