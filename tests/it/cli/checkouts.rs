//! Projects of other checkouts are left alone.

use super::*;

/// A container of project `shop` that was made by the workspace at `root`, running.
fn made_by(sandbox: &Sandbox, root: &Path) {
    sandbox.engine.world(|world| {
        world.add_container("shop", "api", "running", root);
    });
}

#[test]
fn a_project_of_another_checkout_is_refused_before_anything_is_touched() {
    for args in [&["dev"][..], &["dev", "--detach"], &["dev", "down"], &["dev", "down", "--volumes"]] {
        let sandbox = Sandbox::new();
        let other = sandbox.outside().join("other");
        fs::create_dir_all(other.join(".stagecraft/dev")).unwrap();
        made_by(&sandbox, &other);
        sandbox.run(args).exits(3).tells(str![[r#"
error: project `shop` already has containers of another checkout: [OUTSIDE]/other
help: choose another name with `--project-name`, or take that stack down first

"#]]);
        touches_nothing(&sandbox);
    }
}

#[test]
fn one_container_of_another_checkout_is_enough_to_reject() {
    let sandbox = Sandbox::new();
    made_by(&sandbox, sandbox.root());
    made_by(&sandbox, Path::new("/"));
    let other = sandbox.outside().join("other");
    fs::create_dir_all(other.join(".stagecraft/dev")).unwrap();
    made_by(&sandbox, &other);
    sandbox.run(["dev", "down"]).exits(3).says("another checkout: [OUTSIDE]/other\n");
    touches_nothing(&sandbox);
}

#[test]
fn another_name_stands_beside_a_project_of_another_checkout() {
    let sandbox = Sandbox::new();
    made_by(&sandbox, Path::new("/"));
    sandbox.run(["dev", "--detach", "--project-name", "mine"]).exits(0);
}

#[test]
fn a_container_without_the_label_belongs_to_another_checkout() {
    let sandbox = Sandbox::new();
    sandbox.engine.world(|world| {
        world.add_container("shop", "api", "running", Path::new("/")).working_dir.clear();
    });
    sandbox.run(["dev", "--detach"]).exits(3).says("something that is no compose file");
    touches_nothing(&sandbox);
}

#[test]
fn symlinks_to_the_workspace_are_resolved() {
    let sandbox = Sandbox::new();
    let link = sandbox.outside().join("link");
    symlink(sandbox.root(), &link).unwrap();
    made_by(&sandbox, &link);
    sandbox.run(["dev", "down"]).exits(0);
    assert_eq!(sandbox.engine.changes(), [DOWN]);
}

#[test]
fn a_workspace_reached_through_a_symlink_is_the_same_checkout() {
    let sandbox = Sandbox::new();
    let link = sandbox.outside().join("link");
    symlink(sandbox.root(), &link).unwrap();
    made_by(&sandbox, sandbox.root());
    // The folder's own name counts, not the link's.
    sandbox.stagecraft(["dev", "down"]).cwd(&link).run().exits(0);
    assert!(sandbox.engine.world(|world| world.is_empty()));
}

#[test]
fn a_checkout_whose_folder_is_gone_no_longer_counts() {
    let sandbox = Sandbox::new();
    made_by(&sandbox, &sandbox.outside().join("moved-away"));
    sandbox.run(["dev", "down"]).exits(0);
    assert!(sandbox.engine.world(|world| world.is_empty()));
}
