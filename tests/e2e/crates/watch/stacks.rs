//! Changes of more than programs, and stacks whose programs cannot be replaced in their containers.

use super::*;
use crate::remote::address_of;
use crate::support::stage::{compose_in, service};

on_both_pairs![
    a_changed_table_is_applied,
    a_service_that_is_no_longer_described_is_removed,
    a_one_shot_runs_again_only_when_it_changes,
    a_read_only_container_is_replaced,
    a_remote_engine
];

mod by_files {
    use super::*;

    on_the_new_pair![
        a_renamed_crate_is_another_service,
        a_broken_manifest_changes_nothing,
        a_stack_without_crates,
        more_directories_than_the_system_watches
    ];
}

fn manifest(stage: &Stage, package: &str, change: impl Fn(String) -> String) {
    let path = stage.root().join(package).join("Cargo.toml");
    let text = fs::read_to_string(&path).expect("a manifest");
    write(&path, &change(text));
}

fn a_changed_table_is_applied(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED), server("db", PUBLISHED)]);
    let run = watch(stage, &["api", "db"]);
    let db = stage.container("db");
    manifest(stage, "api", |text| text + "environment = {WORD = 'new'}\n");
    run.wait_for("Writing .stagecraft/dev/compose.yaml");
    run.wait_for("Applying the changed stack");
    stage.events().wait_for("destroy api;");
    // Attached again.
    edit(stage, "db", "two");
    run.wait_for("db says two");
    let environment = ["container", "inspect", "--format", "{{.Config.Env}}"];
    let of_api = stage.engine.ask(&[&environment[..], &[&stage.container("api")]].concat());
    assert!(of_api.contains("WORD=new"), "{of_api}");
    assert_eq!(stage.container("db"), db);
    quit(stage, run);
}

fn a_service_that_is_no_longer_described_is_removed(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED), server("db", PUBLISHED)]);
    let run = watch(stage, &["api", "db"]);
    manifest(stage, "db", |text| text.split("[package.metadata").next().expect("its beginning").to_string());
    run.wait_for("Removing db, which the stack no longer has");
    stage.events().wait_for("destroy db;");
    edit(stage, "api", "two");
    run.wait_for("api says two");
    stage.assert_running(&["api"]);
    quit(stage, run);
}

fn a_renamed_crate_is_another_service(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let run = watch(stage, &["api"]);
    manifest(stage, "api", |text| text.replace("name = \"api\"", "name = \"shop\""));
    run.wait_for("shop says one");
    run.wait_for("Removing api, which the stack no longer has");
    stage.events().wait_for("destroy api;");
    assert_eq!(ask(stage, "shop", "/"), "one");
    quit(stage, run);
}

fn a_broken_manifest_changes_nothing(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let run = watch(stage, &["api"]);
    let container = stage.container("api");
    manifest(stage, "api", |text| text + "portz = ['1']\n");
    run.wait_for("`portz` is not known");
    assert_eq!(ask(stage, "api", "/"), "one");
    manifest(stage, "api", |text| text.replace("portz = ['1']\n", ""));
    run.wait_for("no program of the stack has changed");
    assert_eq!(stage.container("api"), container);
    quit(stage, run);
}

/// A compose file written by hand, and the variables that it gets from `.env`.
fn a_stack_without_crates(stage: &Stage) {
    let web = |word: &str| {
        let script = format!("trap 'exit 0' TERM; echo web says {word}-$WORD; sleep 1000 & wait");
        stack(&[service("web", &script, &["environment: {WORD: '${WORD}'}"])])
    };
    let env = stage.root().join(".stagecraft/dev/.env");
    compose_in(&stage.root(), &web("first"));
    write(&env, "WORD=a\n");
    let run = stage.tool(&["dev", "--watch"]).start();
    run.wait_for("web says first-a");
    run.wait_for(" the files of ");
    write(&env, "WORD=b\n");
    run.wait_for("Changed .stagecraft/dev/.env\n");
    run.wait_for("web says first-b");
    compose_in(&stage.root(), &web("second"));
    run.wait_for("Changed .stagecraft/dev/compose.yaml\n");
    run.wait_for("web says second-b");
    // One that Compose rejects changes nothing.
    compose_in(&stage.root(), "services: none\n");
    run.wait_for("error: ");
    stage.assert_running(&["web"]);
    quit(stage, run);
}

fn a_one_shot_runs_again_only_when_it_changes(stage: &Stage) {
    let once = "const ANSWER: &str = \"one\";\nfn main() {\n    println!(\"{} says {ANSWER}\", env!(\"CARGO_PKG_NAME\"));\n}\n";
    let keys = format!("{PUBLISHED}depends_on = {{seed = {{condition = 'service_completed_successfully'}}}}\n");
    workspace(stage, "", &[server("api", &keys), Package { name: "seed", keys: "", main: once.to_string() }]);
    let run = watch(stage, &["seed", "api"]);
    edit(stage, "api", "two");
    run.wait_for("api says two");
    run.wait_for("Reloaded api in ");
    assert_eq!(count(&run.transcript.text(), "seed says"), 1);
    edit(stage, "seed", "again");
    run.wait_for("Reloaded seed in ");
    // Compose 2.26 does not show the first lines of a container that another command has replaced.
    stage.wait_for_log("seed", "seed says again");
    let ended = quit(stage, run);
    assert_eq!(count(&ended.all, "api says"), 2, "the other one is left alone");
}

fn a_read_only_container_is_replaced(stage: &Stage) {
    let keys = format!("{PUBLISHED}read_only = true\n");
    workspace(stage, "", &[server("api", &keys)]);
    let run = watch(stage, &["api"]);
    let container = stage.container("api");
    edit(stage, "api", "two");
    run.wait_for("container replaced");
    // Compose 2.26 does not show the first lines of it.
    stage.wait_for_log("api", "api says two");
    assert_ne!(stage.container("api"), container);
    quit(stage, run);
}

/// Through docker, since there is no socket.
fn a_remote_engine(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let host = format!("tcp://{}", address_of(stage));
    let run = stage.tool(&["dev", "--watch", "-v"]).env("DOCKER_HOST", &host).start();
    watched(stage, &run, &["api"]);
    let container = stage.container("api");
    edit(stage, "api", "two");
    run.wait_for("api says two");
    run.wait_for("Reloaded api in ");
    assert_eq!(stage.container("api"), container);
    let ended = quit(stage, run);
    assert!(ended.all.contains("Running docker cp ") && ended.all.contains("Running docker kill --signal 64 "));
}

/// In a namespace of users whose limit is low.
fn more_directories_than_the_system_watches(stage: &Stage) {
    workspace(stage, "", &[server("api", PUBLISHED)]);
    let tool = env!("CARGO_BIN_EXE_cargo-stagecraft");
    let script = format!("echo 1 > /proc/sys/user/max_inotify_watches && exec {tool} dev --watch");
    let run = stage.program("unshare", &["--user", "--map-root-user", "sh", "-c", &script]).start();
    run.wait_for("the system watches no more directories for this user");
    run.wait_for("the files are looked at twice a second instead\n");
    run.wait_for("help: raise the limits, as root: `sysctl fs.inotify.max_user_watches=");
    watched(stage, &run, &["api"]);
    edit(stage, "api", "two");
    run.wait_for("api says two");
    quit(stage, run);
}
