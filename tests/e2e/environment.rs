//! What the program finds on the machine: which engine, which Compose, what kind of file.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::engine;
use crate::support::stage::{Stage, containers, polite, stack, write};

on_both_pairs![
    another_engine,
    no_daemon,
    no_compose_plugin,
    invalid_yaml,
    invalid_schema,
    no_compose_file,
    no_workspace,
    dry_run_lines_can_be_pasted,
];

/// This pair's Compose on the other pair's engine.
fn another_engine(stage: &Stage) {
    let other = engine::get(if stage.engine.name == "old" { "new" } else { "old" });
    stage.expect_project_on(other, &stage.project);
    stage.compose(&stack(&[polite("web", &[])]));
    stage.tool(&["dev", "-d"]).env("DOCKER_HOST", &other.host).run().with(0);
    assert_eq!(containers(other, &stage.project)["web"], "running");
    stage.assert_gone();
    stage.tool(&["dev", "down"]).env("DOCKER_HOST", &other.host).run().with(0);
    assert_eq!(other.remains(&stage.project).len(), 0);

    let run = stage.tool(&["dev"]).env("DOCKER_HOST", &other.host).start();
    run.wait_for("web is ready");
    run.signal(rustix::process::Signal::TERM);
    run.end().with(143);
    assert_eq!(other.remains(&stage.project).len(), 0);
}

fn no_daemon(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let nowhere = format!("unix://{}/nothing.sock", stage.temp().display());
    for args in [&["dev"][..], &["dev", "-d"], &["dev", "down"]] {
        let ended = stage.tool(args).env("DOCKER_HOST", &nowhere).run().with(4);
        assert!(ended.complaints().starts_with("error: the docker engine does not answer"));
        assert!(ended.complaints().contains("DOCKER_HOST"), "says where to look");
    }
}

/// A plugin that does not work hides every other one, so that docker behaves as if there were none.
fn no_compose_plugin(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[])]));
    let config = stage.temp().join("docker-config");
    let plugin = config.join("cli-plugins/docker-compose");
    fs::create_dir_all(plugin.parent().expect("a folder")).expect("folders");
    write(&plugin, "#!/bin/sh\nexit 1\n");
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).expect("executable");
    for args in [&["dev"][..], &["dev", "-d"], &["dev", "down"]] {
        let ended = stage.tool(args).env("DOCKER_CONFIG", &config).run().with(4);
        assert!(ended.complaints().contains("the Compose plugin is missing"));
    }
}

#[track_caller]
fn nothing_to_run(stage: &Stage, reason: &str) {
    for args in [&["dev"][..], &["dev", "-d"], &["dev", "down"], &["dev", "--dry-run"]] {
        let ended = stage.tool(args).run().with(3).says(reason);
        assert!(ended.stderr.starts_with("error: "), "one clear message");
        assert_eq!(ended.stdout, "");
    }
}

fn invalid_yaml(stage: &Stage) {
    stage.compose("services: [\n");
    nothing_to_run(stage, ".stagecraft/dev/compose.yaml is not valid");
}

fn invalid_schema(stage: &Stage) {
    stage.compose("services:\n  web:\n    imagine: stagecraft-test\n");
    nothing_to_run(stage, "imagine");
}

fn no_compose_file(stage: &Stage) {
    nothing_to_run(stage, "no compose file at ");
    write(&stage.root().join(".stagecraft/dev/compose.yml"), "services: {}\n");
    nothing_to_run(stage, "rename .stagecraft/dev/compose.yml to compose.yaml");
}

fn no_workspace(stage: &Stage) {
    let ended = stage.tool(&["dev"]).dir(stage.temp()).run().with(3);
    assert!(ended.complaints().contains("--manifest-path"));
}

fn dry_run_lines_can_be_pasted(stage: &Stage) {
    stage.compose(&stack(&[polite("traefik", &[]), polite("web", &[])]));
    let ended = stage.tool(&["dev", "-d", "--no-traefik", "--dry-run"]).run().with(0);
    stage.assert_gone();
    let [up, down] = ended.stdout.lines().collect::<Vec<_>>()[..] else { panic!("two lines") };
    stage.program("sh", &["-c", up]).run().with(0);
    stage.assert_running(&["web"]);
    stage.program("sh", &["-c", down]).run().with(0);
    stage.assert_gone();
}
