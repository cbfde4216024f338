//! Whose stack is it? Project names, and checkouts that must not touch each other's containers.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::stage::{Stage, compose_in, polite, stack, write};

on_both_pairs![
    two_workspaces_of_the_same_name,
    moved_workspace,
    through_a_symlink,
    through_a_symlink_of_another_name,
    spaces_and_unicode,
    sub_directory_and_member,
    named_in_the_file,
    named_in_the_env_file,
    named_in_the_environment,
    dev_only_if_the_file_says_so,
    another_project_of_this_checkout,
    started_from_the_file_of_the_root,
    file_of_the_root_is_included,
    copied_file,
    missing_env_file_of_generated_files,
];

fn two_workspaces_of_the_same_name(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let second = stage.workspace(&format!("other/{}", stage.project));
    compose_in(&second, &stack(&[polite("api", &[])]));
    let renamed = format!("{}-second", stage.project);
    stage.expect_project(&renamed);

    stage.start_detached();
    let web = stage.container("web");
    let first = stage.root().canonicalize().expect("the workspace").display().to_string();
    for refused in [&["dev", "-d"][..], &["dev"], &["dev", "down"]] {
        stage.tool(refused).dir(&second).run().with(3).says(&first).says("`--project-name`");
    }
    assert_eq!(stage.container("web"), web);
    stage.assert_running(&["web"]);

    stage.tool(&["dev", "-d", "--project-name", &renamed]).dir(&second).run().with(0);
    stage.assert_running(&["web"]);
    assert_eq!(stage.containers_of(&renamed)["api"], "running");
    stage.tool(&["dev", "down", "--project-name", &renamed]).dir(&second).run().with(0);
    assert_eq!(stage.containers_of(&renamed).len(), 0);
    assert_eq!(stage.container("web"), web);
    stage.take_down();
}

fn moved_workspace(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    stage.start_detached();
    let moved = stage.temp().join("moved");
    fs::create_dir(&moved).expect("a folder");
    let moved = moved.join(&stage.project);
    fs::rename(stage.root(), &moved).expect("moved");
    stage.tool(&["dev", "-d"]).dir(&moved).run().with(0);
    assert_eq!(stage.containers()["web"], "running");
    stage.tool(&["dev", "down"]).dir(&moved).run().with(0);
    stage.assert_gone();
}

/// The same folder by another path is the same checkout.
fn through_a_symlink(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let elsewhere = stage.temp().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    let link = elsewhere.join(&stage.project);
    symlink(stage.root(), &link).expect("a link");
    let manifest = link.join("Cargo.toml");
    let manifest = manifest.to_str().expect("UTF-8");
    stage.start_detached();
    let web = stage.container("web");
    stage.tool(&["dev", "-d", "--manifest-path", manifest]).run().with(0);
    stage.assert_running(&["web"]);
    assert_eq!(stage.container("web"), web, "recreated");
    stage.tool(&["dev", "down", "--manifest-path", manifest]).run().with(0);
    stage.assert_gone();
}

fn through_a_symlink_of_another_name(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let other = format!("{}-link", stage.project);
    stage.expect_project(&other);
    let link = stage.temp().join(&other);
    symlink(stage.root(), &link).expect("a link");
    stage.start_detached();
    stage.tool(&["dev", "down"]).dir(&link).env("PWD", &link).run().with(0);
    stage.assert_gone();
    let manifest = link.join("Cargo.toml");
    stage.tool(&["dev", "-d", "--manifest-path", manifest.to_str().expect("UTF-8")]).run().with(0);
    stage.assert_running(&["web"]);
    stage.take_down();
}

fn spaces_and_unicode(stage: &Stage) {
    let root = stage.workspace(&format!("E2E-Größe und $HOME 'ñandú' {}", stage.id));
    let project = format!("e2e-greundhomeand{}", stage.id);
    stage.expect_project(&project);
    compose_in(&root, &stack(&[polite("web", &["volumes: ['./some data:/data']"])]));
    let started = stage.tool(&["dev", "-d"]).dir(&root).run().with(0);
    assert!(started.stderr.contains(&format!("Started {project} in ")));
    assert_eq!(stage.containers_of(&project)["web"], "running");
    stage.tool(&["dev", "down"]).dir(root.join("app")).run().with(0);
    assert_eq!(stage.containers_of(&project).len(), 0);
}

fn sub_directory_and_member(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    stage.tool(&["dev", "-d"]).dir(stage.root().join("app/src")).run().with(0);
    stage.assert_running(&["web"]);
    let web = stage.container("web");
    stage.tool(&["dev", "-d"]).dir(stage.root().join("app")).run().with(0);
    assert_eq!(stage.container("web"), web);
    let manifest = format!("{}/app/Cargo.toml", stage.project);
    stage.tool(&["dev", "down", "--manifest-path", &manifest]).dir(stage.temp()).run().with(0);
    stage.assert_gone();
    assert!(!stage.root().join("Cargo.lock").exists(), "a lock file was written");
}

/// The stack runs under this name, and not under the folder's.
fn runs_as(stage: &Stage, project: &str, env: &[(&str, &str)]) {
    let tool = |args: &[&str]| env.iter().fold(stage.tool(args), |tool, (name, value)| tool.env(name, value));
    stage.expect_project(project);
    tool(&["dev", "-d"]).run().with(0);
    assert_eq!(stage.containers_of(project)["web"], "running");
    assert_eq!(stage.containers().len(), 0);
    tool(&["dev", "down"]).run().with(0);
    assert_eq!(stage.containers_of(project).len(), 0);
}

fn named_in_the_file(stage: &Stage) {
    let project = format!("e2e-from-the-file-{}", stage.id);
    stage.compose(&format!("name: {project}\n{}", stack(&[polite("web", &[])])));
    runs_as(stage, &project, &[]);
}

fn named_in_the_env_file(stage: &Stage) {
    let project = format!("e2e-from-env-file-{}", stage.id);
    stage.compose(&format!("name: e2e-from-the-file-{}\n{}", stage.id, stack(&[polite("web", &[])])));
    write(&stage.root().join(".stagecraft/dev/.env"), &format!("COMPOSE_PROJECT_NAME={project}\n"));
    runs_as(stage, &project, &[]);
}

fn named_in_the_environment(stage: &Stage) {
    let project = format!("e2e-from-env-{}", stage.id);
    stage.compose(&format!("name: e2e-from-the-file-{}\n{}", stage.id, stack(&[polite("web", &[])])));
    write(
        &stage.root().join(".stagecraft/dev/.env"),
        &format!("COMPOSE_PROJECT_NAME=e2e-from-env-file-{}\n", stage.id),
    );
    runs_as(stage, &project, &[("COMPOSE_PROJECT_NAME", &project)]);
}

/// Nothing is started here: a project `dev` could be anybody's.
fn dev_only_if_the_file_says_so(stage: &Stage) {
    let services = stack(&[polite("web", &[])]);
    stage.compose(&services);
    let ended = stage.tool(&["dev", "--dry-run"]).run().with(0);
    assert!(ended.stdout.contains(&format!("COMPOSE_PROJECT_NAME={} ", stage.project)));
    stage.compose(&format!("name: dev\n{services}"));
    let ended = stage.tool(&["dev", "--dry-run"]).run().with(0);
    assert!(ended.stdout.contains("COMPOSE_PROJECT_NAME=dev "));
    let ended = stage.tool(&["dev", "--dry-run", "--project-name", "mine"]).run().with(0);
    assert!(ended.stdout.contains("COMPOSE_PROJECT_NAME=mine "));
}

fn another_project_of_this_checkout(stage: &Stage) {
    let other = format!("{}-other", stage.project);
    stage.expect_project(&other);
    stage.compose(&stack(&[polite("web", &[])]));
    stage.tool(&["dev", "--detach", "--project-name", &other]).run().with(0);
    let warning = format!(
        "warning: this checkout also runs {other}; stop it with `cargo stagecraft dev down --project-name {other}`"
    );
    let down = stage.tool(&["dev", "down"]).run().with(0).says(&warning);
    down.says(&format!("Finished {} had no containers", stage.project)).does_not_say("Removed");
    stage.tool(&["dev", "status"]).run().with(3).says(&warning);
    stage.start_detached().says(&warning);
    stage.tool(&["dev", "status", "--project-name", &other]).run().says(&format!("also runs {}", stage.project));
    stage.tool(&["dev", "down", "--project-name", &other]).run().with(0).says("Removed");
    stage.take_down().does_not_say("warning");
}

fn started_from_the_file_of_the_root(stage: &Stage) {
    let text = stack(&[polite("web", &[])]);
    write(&stage.root().join("docker-compose.yml"), &text);
    stage.program("docker", &["compose", "-p", &stage.project, "up", "--detach"]).run().with(0);
    stage.compose(&text);
    let refused = stage.tool(&["dev", "--detach"]).run().with(3);
    refused
        .says(&format!("project `{}` is already started from this workspace's own docker-compose.yml", stage.project));
    stage.program("docker", &["compose", "-p", &stage.project, "down"]).run().with(0);
    stage.start_detached();
    stage.take_down();
}

/// The line that the error names does what it says.
fn file_of_the_root_is_included(stage: &Stage) {
    let web = polite("web", &["volumes: ['./here:/here']", "env_file: [web.env]"]);
    write(&stage.root().join("docker-compose.yml"), &stack(&[web]));
    write(&stage.root().join("web.env"), "A=1\n");
    fs::create_dir(stage.root().join("here")).expect("a folder");
    let ended =
        stage.tool(&["dev", "--detach"]).run().with(3).says("to use docker-compose.yml of the workspace, write this");
    let line = ended.stderr.lines().find(|line| line.trim_start().starts_with("include: ")).expect("a line").trim();
    stage.compose(&format!("{line}\n"));
    stage.start_detached();
    stage.assert_running(&["web"]);
    assert!(!stage.root().join(".stagecraft/dev/here").exists(), "paths are those of the root");
    stage.take_down();
}

fn copied_file(stage: &Stage) {
    fs::create_dir(stage.root().join("public")).expect("a folder");
    stage.compose(&stack(&[polite("web", &["volumes: ['./public:/srv', './data:/data']"])]));
    let ended = stage.start_detached();
    ended.says("warning: web mounts .stagecraft/dev/public, which does not exist; public of the workspace does");
    stage.take_down();
}

fn missing_env_file_of_generated_files(stage: &Stage) {
    let table =
        "[workspace.metadata.stagecraft.dev.services.web]\nimage = \"stagecraft-test\"\nenv_file = [\"gone.env\"]\n";
    write(&stage.root().join("Cargo.toml"), &format!("[workspace]\nmembers = [\"app\"]\nresolver = \"2\"\n{table}"));
    stage.tool(&["dev", "--dry-run"]).run().with(3).says("gone.env");
    assert!(!stage.root().join(".stagecraft/dev/compose.yaml").exists(), "nothing is written");
    write(&stage.root().join("gone.env"), "A=1\n");
    stage.tool(&["dev", "--dry-run"]).run().with(0);
}
