//! `dev status`, `dev logs`, `dev list` and `dev env`.

use std::fs;
use std::path::Path;

use serde_json::json;
use snapbox::{assert_data_eq, str};

use crate::support::{COMPOSE_FILE, Reply, Sandbox, Verb, World};

/// Containers of both services run, and `api` publishes a port.
fn running() -> Sandbox {
    let sandbox = Sandbox::new();
    let root = sandbox.root().to_owned();
    sandbox.engine.world(|world| {
        let bindings = json!({ "8080/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "49153" }] });
        world.services.insert("api".to_string(), json!({ "bindings": bindings }));
        world.add_container("shop", "api", "running", &root).health = "healthy";
        world.add_container("shop", "db", "running", &root);
    });
    sandbox
}

// ------------------------------------------------------------------------------------------------------ status

#[test]
fn status_prints_each_service_and_says_0_if_all_are_ready() {
    let finished = running().run(["dev", "status"]).exits(0);
    assert_eq!(finished.stderr, "");
    assert_data_eq!(
        finished.stdout(),
        str![[r#"
SERVICE  STATE              UPTIME[..]  ADDRESSES               DETAIL
api      running (healthy)  [..]  http://localhost:49153
db       running            [..]

"#]]
    );
}

#[test]
fn status_says_1_if_one_is_not_ready_or_not_there() {
    type Change = fn(&mut World);
    let changes: [(&str, Change); 4] = [
        ("db       exited (3)", |world| world.exits("db", 3)),
        ("db       not created", |world| {
            world
                .services
                .insert("api".to_string(), json!({ "depends_on": { "db": { "condition": "service_started" } } }));
            world.containers.retain(|container| container.service != "db");
        }),
        ("api      running (unhealthy)", |world| world.containers[0].health = "unhealthy"),
        ("db       restarting (1)", |world| {
            world.containers[1].state = "restarting".to_string();
            world.containers[1].exit_code = 1;
        }),
    ];
    for (line, change) in changes {
        let sandbox = running();
        sandbox.engine.world(change);
        let finished = sandbox.run(["dev", "status"]).exits(1);
        assert!(finished.stdout().contains(line), "{}", finished.stdout());
    }
}

#[test]
fn status_logs_and_env_of_a_stack_that_was_not_started_are_exit_3() {
    for verb in ["status", "logs", "env"] {
        let sandbox = Sandbox::new();
        let finished = sandbox.run(["dev", verb]).exits(3).says("error: shop has not been started\nhelp: start it");
        assert_eq!(finished.stdout(), "");
    }
}

#[test]
fn the_stack_of_another_checkout_is_not_shown() {
    for verb in ["status", "logs", "env"] {
        let sandbox = Sandbox::new();
        let elsewhere = sandbox.outside().join("elsewhere");
        fs::create_dir_all(elsewhere.join(".stagecraft/dev")).unwrap();
        sandbox.engine.world(|world| drop(world.add_container("shop", "api", "running", &elsewhere).clone()));
        sandbox.run(["dev", verb]).exits(3).says("another checkout: [OUTSIDE]/elsewhere");
    }
}

#[test]
fn a_read_only_command_changes_nothing_and_takes_no_lock() {
    let sandbox = running();
    sandbox.engine.hold(Verb::Up);
    let start = sandbox.stagecraft(["dev", "--detach"]).start();
    sandbox.engine.wait_called(Verb::Up, 1);
    for verb in ["status", "env", "list", "logs"] {
        sandbox.run(["dev", verb]).exits(0);
    }
    assert_eq!(sandbox.engine.changes().len(), 1);
    sandbox.engine.release(Verb::Up);
    start.wait().exits(0);
}

// -------------------------------------------------------------------------------------------------------- logs

#[test]
fn logs_becomes_composes_logs_with_its_output_and_its_exit_code() {
    let file = "COMPOSE_PROJECT_NAME=shop docker compose -f .stagecraft/dev/compose.yaml logs";
    for (args, line) in [
        (&["dev", "logs"][..], ""),
        (&["dev", "logs", "-f", "--tail", "5", "api", "db"], " -f --tail 5 api db"),
        (&["dev", "logs", "-n", "0"], " --tail 0"),
    ] {
        let sandbox = running();
        sandbox.engine.answer(Verb::Logs, Reply::exit(7).stdout("api-1  | hello\n"));
        let run = sandbox.stagecraft(args).run().exits(7);
        assert_eq!(run.stdout(), "api-1  | hello\n");
        let call = sandbox.engine.only(Verb::Logs);
        assert_eq!(call.line(), format!("{file}{line}"));
        assert_eq!(call.cwd, sandbox.root());
    }
}

#[test]
fn logs_of_an_unknown_service_lists_the_services() {
    let sandbox = running();
    sandbox.run(["dev", "logs", "cache"]).exits(2).tells(str![[r#"
error: shop has no service `cache`
help: its services: api, db

"#]]);
    sandbox.run(["dev", "logs", "apy"]).exits(2).tells(str![[r#"
error: shop has no service `apy`
help: a service with a similar name exists: `api`

"#]]);
    assert!(sandbox.engine.calls_of(Verb::Logs).is_empty());
}

#[test]
fn logs_can_be_seen_also_when_the_file_is_gone() {
    let sandbox = running();
    sandbox.remove(COMPOSE_FILE);
    sandbox.run(["dev", "logs", "db"]).exits(0).says("using the project name `shop`");
    assert_eq!(sandbox.engine.only(Verb::Logs).line(), "docker compose -p shop logs db");
}

// -------------------------------------------------------------------------------------------------------- list

/// A stack of a worktree that is there, and one of a worktree that has been deleted.
fn worktrees() -> Sandbox {
    let sandbox = running();
    let gone = sandbox.outside().join("feature");
    sandbox.engine.world(|world| {
        world.add_container("feature", "api", "running", &gone);
        world.add_container("feature", "db", "exited", &gone);
        world.networks.push(("feature".to_string(), "feature_default".to_string()));
        // Of somebody who does not use cargo-stagecraft.
        let plain = world.add_container("plain", "web", "running", &gone);
        plain.working_dir = "/srv/plain".to_string();
    });
    sandbox
}

#[test]
fn list_shows_every_stack_and_marks_those_whose_workspace_is_gone() {
    let sandbox = worktrees();
    // From anywhere.
    let finished = sandbox.stagecraft(["dev", "list"]).cwd("/").run().exits(0);
    finished.stderr.contains("dev list --prune").then_some(()).expect("how to take them down");
    let stdout = finished.stdout().replace(&*sandbox.outside().to_string_lossy(), "[OUTSIDE]");
    assert_data_eq!(
        stdout,
        str![[r#"
PROJECT  CONTAINERS      WORKSPACE
feature  1 of 2 running  [OUTSIDE]/feature (gone)
shop     2 of 2 running  [OUTSIDE]/shop

"#]]
    );
}

#[test]
fn a_label_moves_no_cursor_and_ends_no_line() {
    let sandbox = worktrees();
    let evil = "/srv/\x1b]0;title\x07\n     Removed shop/.stagecraft/dev";
    sandbox.engine.world(|world| {
        world.containers.iter_mut().filter(|it| it.project == "plain").for_each(|it| it.working_dir = evil.to_string());
    });
    let finished = sandbox.run(["dev", "list"]).exits(0);
    assert!(finished.stdout().contains("/srv/\\u{1b}]0;title\\u{7}\\n     Removed shop"), "{}", finished.stdout());
    assert!(!finished.stdout().contains('\x1b'));
}

#[test]
fn prune_takes_down_exactly_those() {
    let sandbox = worktrees();
    sandbox.run(["dev", "list", "--prune", "--timeout", "3"]).exits(0).says("Removed feature; nothing of it is left");
    assert_eq!(sandbox.engine.changes(), ["docker compose -p feature down --remove-orphans --timeout 3"]);
    let projects =
        |world: &mut World| world.containers.iter().map(|container| container.project.clone()).collect::<Vec<_>>();
    assert_eq!(sandbox.engine.world(projects), ["shop", "shop", "plain"]);
    sandbox.run(["dev", "list", "--prune"]).exits(0).says("no stack on this engine belongs to a deleted workspace");
}

#[test]
fn a_dry_prune_prints_its_commands() {
    let sandbox = worktrees();
    let finished = sandbox.run(["dev", "list", "--prune", "--dry-run"]).exits(0);
    assert_eq!(finished.stdout(), "docker compose -p feature down --remove-orphans\n");
    assert!(sandbox.engine.changes().is_empty());
}

#[test]
fn leftovers_of_prune_are_exit_6() {
    let sandbox = worktrees();
    sandbox.engine.world(|world| {
        for container in world.containers.iter_mut().filter(|container| container.project == "feature") {
            container.stuck = true;
        }
    });
    sandbox.run(["dev", "list", "--prune"]).exits(6).says("feature is not completely torn down");
}

#[test]
fn a_project_that_has_containers_of_somebody_else_as_well_is_not_pruned() {
    let left_alone = |change: fn(&mut World, &Path), why: &str| {
        let sandbox = worktrees();
        let root = sandbox.root().to_owned();
        sandbox.engine.world(|world| change(world, &root));
        for args in [&["dev", "list", "--prune"][..], &["dev", "list", "--prune", "--dry-run"]] {
            let finished = sandbox.run(args).exits(6);
            finished
                .says("error: feature is left alone, because not all of it belongs to a deleted workspace:\n")
                .says(why);
        }
        assert!(sandbox.engine.changes().is_empty());
    };
    let of_a_workspace = |world: &mut World, root: &Path| {
        world.add_container("feature", "web", "running", root);
    };
    left_alone(of_a_workspace, "  feature-web-1 was started from ");
    let of_another_folder = |world: &mut World, root: &Path| {
        world.add_container("feature", "web", "running", root).working_dir = root.display().to_string();
    };
    left_alone(of_another_folder, "  feature-web-1 was started from ");
    let of_nowhere = |world: &mut World, root: &Path| {
        world.add_container("feature", "web", "running", root).working_dir = String::new();
    };
    left_alone(of_nowhere, "  feature-web-1 does not say where it was started from\n");
    let forged = |world: &mut World, _: &Path| world.forged.push("feature-api-1".to_string());
    left_alone(forged, "  feature-api-1 has the label from its image, which says nothing");
}

#[test]
fn a_workspace_restored_while_waiting_for_the_lock_is_not_pruned() {
    let sandbox = worktrees();
    let feature = sandbox.outside().join("feature");
    let dev_dir = feature.join(".stagecraft/dev");
    let mut asked = 0;
    // The first question is the list's, the second that under the lock.
    sandbox.engine.on(Verb::Containers, move |_, _| {
        asked += 1;
        if asked == 2 {
            fs::create_dir_all(&dev_dir).expect("a folder");
        }
        None
    });
    sandbox.run(["dev", "list", "--prune"]).exits(6).says("feature-api-1 was started from ").says("which is there");
    assert!(sandbox.engine.changes().is_empty());
}

#[test]
fn a_remote_engine_marks_no_workspace_and_rejects_prune() {
    for remote in [true, false] {
        let sandbox = worktrees();
        if !remote {
            // In a container that has the host's socket, or with an engine in a virtual machine.
            sandbox.engine.world(|world| world.host = "another".to_string());
        }
        let host = if remote { "tcp://build.example:2375" } else { "" };
        let list = sandbox.stagecraft(["dev", "list"]).env("DOCKER_HOST", host).run().exits(0);
        assert!(!list.stdout().contains("gone"), "{}", list.stdout());
        let prune = sandbox.stagecraft(["dev", "list", "--prune"]).env("DOCKER_HOST", host).run();
        prune.exits(3).says("the engine is on another host");
        assert!(sandbox.engine.changes().is_empty());
    }
}

#[test]
fn an_engine_without_stacks_is_a_note() {
    let finished = Sandbox::new().run(["dev", "list"]).exits(0);
    assert_eq!(finished.stdout(), "");
    assert_eq!(finished.stderr, "note: there is no stack of cargo-stagecraft on this engine\n");
}

// --------------------------------------------------------------------------------------------------------- env

#[test]
fn env_prints_variables_that_a_shell_takes() {
    let sandbox = running();
    let finished = sandbox.run(["dev", "env"]).exits(0);
    let expected = "API_8080_ADDR=127.0.0.1:49153\nAPI_8080_HOST=127.0.0.1\nAPI_8080_PORT=49153\n\
                    API_8080_URL=http://127.0.0.1:49153\n";
    assert_eq!(finished.stdout(), expected);
    let script = "export $(cargo-stagecraft dev env) && echo \"$API_8080_URL\"";
    let shell = sandbox.program("sh", ["-c", script]).run().exits(0);
    assert_eq!(shell.stdout(), "http://127.0.0.1:49153\n");
}

#[test]
fn env_of_a_remote_engine_names_its_host() {
    let sandbox = running();
    let finished = sandbox.stagecraft(["dev", "env"]).env("DOCKER_HOST", "tcp://build.example:2375").run().exits(0);
    assert!(finished.stdout().starts_with("API_8080_ADDR=build.example:49153\n"), "{}", finished.stdout());
}

/// A stack whose compose file is written by hand, with variables in Cargo.toml.
fn with_variables(table: &str) -> Sandbox {
    let sandbox = running();
    let manifest = fs::read_to_string(sandbox.root().join("Cargo.toml")).unwrap();
    sandbox.write("Cargo.toml", &format!("{manifest}\n[workspace.metadata.stagecraft.dev.env]\n{table}"));
    sandbox
}

#[test]
fn env_prints_described_variables_with_the_addresses_in_them() {
    let sandbox = with_variables("WEB = 'http://${API_8080_ADDR}/$USER_OF_TEST'\nNONE = '${DB_5432_ADDR}'\n");
    let finished = sandbox.stagecraft(["dev", "env"]).env("USER_OF_TEST", "me").run().exits(0);
    assert!(finished.stdout().ends_with("\nWEB=http://127.0.0.1:49153/me\n"), "{}", finished.stdout());
    assert_eq!(finished.stderr, "warning: variable NONE is left out, because DB_5432_ADDR has no value\n");
    let json = sandbox.stagecraft(["dev", "env", "--message-format", "json"]).env("USER_OF_TEST", "me").run().exits(0);
    let web = json.stdout().lines().find(|line| line.contains("\"WEB\"")).unwrap();
    assert_eq!(web, r#"{"reason":"variable","project":"shop","key":"WEB","value":"http://127.0.0.1:49153/me"}"#);
    with_variables("1 = ''\n").run(["dev", "--dry-run"]).exits(3).says("env] `1` is not the name of a variable");
}

#[test]
fn env_writes_a_file_between_markers() {
    let sandbox = with_variables("WEB = 'http://${API_8080_ADDR}'\n");
    sandbox.write("app/.env", "MINE=1\n");
    let write = || sandbox.stagecraft(["dev", "env", "--write", ".env"]).cwd(sandbox.root().join("app")).run();
    let finished = write().exits(0);
    assert_eq!((finished.stdout(), finished.stderr.as_str()), ("", "     Writing .env\n"));
    let text = fs::read_to_string(sandbox.root().join("app/.env")).unwrap();
    assert!(
        text.starts_with("MINE=1\n# >>> cargo stagecraft dev env") && text.contains("\nWEB=http://127.0.0.1:49153\n")
    );
    write().exits(0).says("Fresh .env");
    sandbox.write("app/.env", "# <<< cargo stagecraft dev env\n");
    let expected =
        "error: cannot update [ROOT]/app/.env\n\nCaused by:\n  its marker lines are not a pair\nhelp: remove the line";
    write().exits(3).says(expected);
}

#[test]
fn lost_output_is_not_a_success() {
    for verb in ["status", "env", "list"] {
        let sandbox = running();
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        sandbox.stagecraft(["dev", verb]).stdout(full).run().exits(1).says("cannot write to stdout");
    }
}
