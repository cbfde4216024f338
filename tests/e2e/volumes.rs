//! Anonymous volumes: a teardown removes those of its containers, however it comes about, and no other volume.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::support::stage::{Stage, polite, service, stack, stubborn, write};

on_both_pairs![
    go_with_their_containers,
    none_costs_nothing,
    of_an_image,
    of_a_replaced_container,
    renewed,
    of_one_off_and_profile,
    killed_in_the_middle_of_down,
    third_press,
    interrupted_start,
    used_by_another_container,
    named_like_anonymous_ones,
    kept,
    through_a_docker_that_is_a_script,
    images,
    pruned,
    doctor_finds_them,
];

const ANONYMOUS: &str = "volumes: [/data, {type: volume, target: /more}]";

/// The volumes of the project's containers whose names the engine made up.
fn anonymous(stage: &Stage) -> BTreeSet<String> {
    stage.anonymous_volumes_of_containers()
}

#[track_caller]
fn assert_exist(stage: &Stage, volumes: &BTreeSet<String>, exist: bool) {
    assert!(!volumes.is_empty(), "there are anonymous volumes");
    for volume in volumes {
        assert_eq!(stage.engine.has_volume(volume), exist, "whether {volume} exists");
    }
}

fn started(stage: &Stage) -> BTreeSet<String> {
    stage.start_detached();
    anonymous(stage)
}

fn go_with_their_containers(stage: &Stage) {
    let named = "volumes: [/data, 'data:/named']";
    stage.compose(&(stack(&[polite("web", &[ANONYMOUS]), polite("db", &[named])]) + "volumes:\n  data:\n"));
    let volumes = started(stage);
    assert_eq!(volumes.len(), 3);
    let down = stage.tool(&["dev", "down", "--verbose"]).run().with(0);
    let stays =
        format!("Removed {0}; kept volume {0}_data; remove with `cargo stagecraft dev down --volumes`", stage.project);
    assert!(down.stderr.contains(&stays), "{}", down.stderr);
    assert_eq!(down.stderr.matches("Running docker volume").count(), 1, "one command removes all: {}", down.stderr);
    assert_exist(stage, &volumes, false);
    assert!(stage.engine.has_volume(&format!("{}_data", stage.project)));
    stage.tool(&["dev", "down", "--volumes"]).run().with(0).says("nothing of it is left");
    stage.assert_gone();
}

fn none_costs_nothing(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &["tmpfs: [/data]", "volumes: ['./x:/x']"])]));
    stage.start_detached();
    let down = stage.tool(&["dev", "down", "--verbose"]).run().with(0).says("nothing of it is left");
    let started = down.stderr.lines().filter(|line| line.contains("Running ") && !line.contains("Running cargo"));
    assert_eq!(started.count(), 1, "nothing but `down` was started: {}", down.stderr);
}

/// Compose keeps the volume when it replaces the container, and then `down --volumes` does not remove it.
fn of_a_replaced_container(stage: &Stage) {
    let with = |value: &str| stack(&[polite("web", &[ANONYMOUS, &format!("environment: {{X: {value}}}")])]);
    stage.compose(&with("a"));
    let volumes = started(stage);
    stage.compose(&with("b"));
    assert_eq!(started(stage), volumes, "Compose hands them on");
    stage.tool(&["dev", "down", "--volumes"]).run().with(0);
    assert_exist(stage, &volumes, false);
}

fn renewed(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[ANONYMOUS]), polite("former", &[ANONYMOUS])]));
    let before = started(stage);
    assert_eq!(before.len(), 4);
    stage.compose(&stack(&[polite("web", &[ANONYMOUS])]));
    stage
        .tool(&["dev", "--detach", "--", "--renew-anon-volumes", "--force-recreate", "--remove-orphans"])
        .run()
        .with(0);
    let now = anonymous(stage);
    assert_eq!((now.len(), now.is_disjoint(&before)), (2, true));
    assert_exist(stage, &before, false);
    stage.take_down();
    assert_exist(stage, &now, false);
}

fn of_an_image(stage: &Stage) {
    let build = "build: {dockerfile_inline: \"FROM stagecraft-test\\nVOLUME /data\\n\"}";
    let web = polite("web", &[build]).replace("    image: stagecraft-test\n    pull_policy: never\n", "");
    stage.compose(&stack(&[web]));
    let run = stage.tool(&["dev"]).start();
    stage.wait_until_up(&run, &["web"]);
    let volumes = anonymous(stage);
    run.signal(Signal::INT);
    run.end()
        .with(130)
        .says(&format!("kept image {}-web; remove with `cargo stagecraft dev down --images`", stage.project));
    assert_exist(stage, &volumes, false);
}

fn of_one_off_and_profile(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[ANONYMOUS]), polite("tools", &[ANONYMOUS, "profiles: [extra]"])]));
    stage.start_detached();
    stage.compose_by_hand(&["--profile", "extra", "up", "--detach", "tools"]);
    stage.compose_by_hand(&["run", "--detach", "web", "sleep", "1000"]);
    let volumes = anonymous(stage);
    assert_eq!(volumes.len(), 6);
    stage.take_down();
    assert_exist(stage, &volumes, false);
}

/// A stack of which a `down` has removed one container while the other does not stop.
fn half_removed(stage: &Stage) -> (crate::support::run::Run, BTreeSet<String>) {
    let stub = stubborn("stub") + &format!("    {ANONYMOUS}\n");
    stage.compose(&stack(&[polite("web", &[ANONYMOUS]), stub]));
    let events = stage.events();
    let run = stage.tool(&["dev", "--timeout", "10"]).start();
    stage.wait_until_up(&run, &["web", "stub"]);
    let volumes = anonymous(stage);
    run.signal(Signal::INT);
    events.wait_for("destroy web;");
    (run, volumes)
}

fn killed_in_the_middle_of_down(stage: &Stage) {
    let (run, volumes) = half_removed(stage);
    run.signal(Signal::KILL);
    run.end().with(-9).says("nothing of it is left");
    assert_eq!(volumes.len(), 4);
    assert_exist(stage, &volumes, false);
}

fn third_press(stage: &Stage) {
    let (run, volumes) = half_removed(stage);
    run.signal(Signal::TERM);
    run.signal(Signal::INT);
    run.end().with(130).says("nothing of it is left");
    assert_exist(stage, &volumes, false);
}

fn interrupted_start(stage: &Stage) {
    stage.compose(&stack(&[
        polite("db", &[ANONYMOUS, "healthcheck: {test: [CMD, 'false'], interval: 1s, retries: 1000}"]),
        polite("web", &[ANONYMOUS, "depends_on: {db: {condition: service_healthy}}"]),
    ]));
    let events = stage.events();
    let run = stage.tool(&["dev"]).start();
    events.wait_for("exec_die db 1;");
    let volumes = anonymous(stage);
    assert_eq!(volumes.len(), 4);
    run.signal(Signal::INT);
    run.end().with(130).says("nothing of it is left");
    assert_exist(stage, &volumes, false);
}

fn used_by_another_container(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &["volumes: [/data]"])]));
    let volumes = started(stage);
    let other = format!("{}-other", stage.project);
    stage.expect_project(&other);
    let label = format!("com.docker.compose.project={other}");
    let web = stage.container("web");
    stage.engine.ask(&["create", "--label", &label, "--volumes-from", &web, "stagecraft-test", "true"]);
    let down = stage.tool(&["dev", "down", "--verbose"]).run().with(0).says("nothing of it is left");
    let volume = volumes.first().expect("a volume");
    assert!(down.stderr.contains(&format!("Keeping volume {volume}, which another container uses")), "{}", down.stderr);
    assert_exist(stage, &volumes, true);
    stage.engine.remove(&other);
    stage.engine.ask(&["volume", "rm", "--force", volume]);
}

/// An external volume that was created without a name has one like theirs, and is somebody's data.
fn named_like_anonymous_ones(stage: &Stage) {
    let given = stage.engine.ask(&["volume", "create"]);
    let with = |value: &str| {
        let services =
            stack(&[polite("web", &["volumes: ['given:/given', /data]", &format!("environment: {{X: {value}}}")])]);
        services + &format!("volumes:\n  given: {{external: true, name: {given}}}\n")
    };
    for value in ["a", "b"] {
        stage.compose(&with(value));
        stage.start_detached();
    }
    let mut volumes = anonymous(stage);
    assert!(volumes.remove(&given));
    stage.tool(&["dev", "down"]).run().with(0);
    assert_exist(stage, &volumes, false);
    assert!(stage.engine.has_volume(&given), "it was not ours to remove");
    stage.engine.ask(&["volume", "rm", &given]);
}

fn kept(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[ANONYMOUS])]));
    let run = stage.tool(&["dev", "--keep"]).start();
    stage.wait_until_up(&run, &["web"]);
    let volumes = anonymous(stage);
    run.signal(Signal::INT);
    run.end().with(130);
    assert_exist(stage, &volumes, true);
    stage.take_down();
    assert_exist(stage, &volumes, false);
}

/// Then docker is asked, and only for what it takes.
fn through_a_docker_that_is_a_script(stage: &Stage) {
    let path = std::env::var("PATH").expect("PATH");
    let docker = std::env::split_paths(&path).map(|folder| folder.join("docker")).find(|docker| docker.is_file());
    let bin = stage.temp().join("bin");
    std::fs::create_dir(&bin).expect("a folder");
    write(&bin.join("docker"), &format!("#!/bin/sh\nexec {} \"$@\"\n", docker.expect("docker on PATH").display()));
    std::fs::set_permissions(bin.join("docker"), PermissionsExt::from_mode(0o755)).expect("a script");
    let path = format!("{}:{path}", bin.display());
    stage.compose(
        &(stack(&[polite("web", &[ANONYMOUS]), polite("db", &["volumes: ['data:/data']"])]) + "volumes:\n  data:\n"),
    );
    let volumes = started(stage);
    let down = stage.tool(&["dev", "down", "--verbose"]).env("PATH", &path).run().with(0).says("; kept volume ");
    assert!(!down.stderr.contains("Asking"), "{}", down.stderr);
    assert_exist(stage, &volumes, false);
    let count = |command: &str| down.stderr.matches(&format!("Running docker {command}")).count();
    assert_eq!((count("container inspect"), count("volume rm")), (1, 1), "{}", down.stderr);
    stage.tool(&["dev", "down", "--volumes"]).env("PATH", &path).run().with(0);
    stage.compose(&stack(&[polite("web", &[])]));
    stage.start_detached();
    let down = stage.tool(&["dev", "down", "--verbose"]).env("PATH", &path).run().with(0);
    assert!(!down.stderr.contains("docker volume") && !down.stderr.contains("docker container"), "{}", down.stderr);
    assert_eq!(down.stderr.matches("Running docker ps").count(), 2, "before and after: {}", down.stderr);
}

fn images(stage: &Stage) {
    let build = "build: {dockerfile_inline: \"FROM stagecraft-test\\nLABEL a=b\\n\"}";
    let built = |name: &str| service(name, "sleep 1000", &["init: true", build]);
    let web = built("web").replace("    image: stagecraft-test\n    pull_policy: never\n", "");
    stage.compose(&stack(&[web, polite("db", &[])]));
    stage.start_detached();
    let image = format!("{}-web", stage.project);
    let is_there = || stage.engine.try_ask(&["image", "inspect", "--format", "{{.Id}}", &image]).is_ok();
    stage.tool(&["dev", "down"]).run().with(0).says(&format!("; kept image {image}; remove with `"));
    assert!(is_there());
    // The command that was said works also when the containers are gone.
    stage.tool(&["dev", "down", "--images"]).run().with(0).says("nothing of it is left");
    assert!(!is_there());
    stage.start_detached();
    stage.tool(&["dev", "down", "--images"]).run().with(0).says("nothing of it is left");
    assert!(!is_there());
}

fn pruned(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &[ANONYMOUS])]));
    let volumes = started(stage);
    std::fs::rename(stage.root().join(".stagecraft"), stage.temp().join("moved")).expect("the dev dir goes away");
    stage.tool(&["dev", "list", "--prune", "--timeout", "3"]).run().with(0);
    assert_exist(stage, &volumes, false);
}

fn doctor_finds_them(stage: &Stage) {
    stage.compose(&stack(&[polite("web", &["volumes: [/data]"])]));
    let volumes = started(stage);
    let volume = volumes.first().expect("a volume");
    let finds = || {
        let printed = stage.tool(&["doctor"]).run().with(0).stdout;
        printed.contains("anonymous volumes that no container uses: ") && printed.contains(volume)
    };
    assert!(!finds(), "it is used");
    // As by Compose, or by a version of the program that did not remove them.
    stage.compose_by_hand(&["down", "--timeout", "0"]);
    assert!(finds());
    stage.engine.ask(&["volume", "rm", volume]);
    assert!(!finds());
}
