//! What is said about stacks with one thing wrong, each a workspace of `fixtures/failures`. `spec/dev/readiness.md` records how raw
//! Compose fares with the same.

use crate::support::fixture::{self, Fixture};
use crate::support::stage::Stage;

macro_rules! fixtures {
    ($($name:ident),* $(,)?) => {
        $(fn $name(stage: &Stage) { plays(stage, stringify!($name)); })*
        on_both_pairs![$($name),*];
        const PLAYED: &[&str] = &[$(stringify!($name)),*];
    };
}

fixtures![
    aborts,
    command_cannot_be_executed,
    command_is_missing,
    command_of_a_script_is_missing,
    crashes_after_a_second,
    crashes_after_two_seconds,
    crashes_again_and_again,
    crashes_again_and_again_slowly,
    crashes_while_another_starts,
    dependency_crashes,
    dependency_is_never_healthy,
    dependency_is_unhealthy,
    ends_although_it_has_a_healthcheck,
    ends_well_again_and_again,
    exits_with_3,
    file_is_invalid,
    file_of_variables_is_missing,
    file_to_mount_becomes_a_folder,
    file_to_mount_is_missing,
    folder_to_work_in_is_none,
    good_crashes_once,
    good_healthcheck_of_none,
    good_late_health,
    good_listens_late,
    good_migration,
    good_one_shot,
    good_one_shot_at_the_second_try,
    good_with_a_profile,
    has_a_segmentation_fault,
    has_no_space_left,
    has_no_time,
    healthcheck_is_not_in_the_image,
    image_cannot_be_built,
    image_cannot_be_pulled,
    image_is_missing,
    is_for_another_architecture,
    is_killed,
    is_never_healthy,
    is_unhealthy,
    is_unhealthy_by_its_image,
    job_fails_late,
    listens_at_loopback,
    listens_nowhere,
    loader_is_missing,
    migration_fails,
    migration_fails_late,
    migration_never_ends,
    network_is_missing,
    one_replica_crashes,
    panics,
    port_is_held_by_a_container,
    port_is_held_by_a_process,
    port_is_wanted_by_each_replica,
    ports_contradict_each_other,
    profile_service_crashes,
    publishes_and_ends,
    restarts_once_and_gives_up,
    runs_out_of_memory,
    user_is_missing,
    variable_is_missing,
];

#[test]
fn every_fixture_is_played() {
    let played: Vec<String> = PLAYED.iter().map(|name| name.replace('_', "-")).collect();
    assert_eq!(fixture::names(), played);
}

fn plays(stage: &Stage, name: &str) {
    let fixture = Fixture::read(&name.replace('_', "-"));
    fixture.copy_to(&stage.root());
    let other = format!("e2e-other-{}", stage.id);
    stage.expect_project(&other);
    let port = fixture.take_port(stage.engine, &other);
    let expected = &fixture.expected;

    let ended = stage.tool(&fixture.args()).env("PORT", port.number.to_string()).run();
    Fixture::remove_images(stage.engine, &stage.project);
    let ended = ended.with(expected.exit);
    if let Some(log) = &expected.log {
        assert!(ended.stderr.contains(log) || ended.stdout.contains(log), "`{log}` is not shown");
    }
    if expected.exit == 0 {
        stage.tool(&["dev", "down", "--volumes"]).run().with(0);
        stage.assert_gone();
        return;
    }
    let line = port.named(&expected.line);
    assert!(ended.stderr.contains(&line), "`{line}` is not said");
    if let Some(service) = &expected.service {
        // From the error on it is we who speak.
        let at = ended.stderr.find("error: ").expect("an error");
        let error = &ended.stderr[at..];
        assert!(error.contains(&line), "`{line}` is not said at the end");
        assert!(error.contains(&format!("{service} ")) || error.contains(&format!("{service}: ")), "who is to blame");
    }
    drop(port);
    // What was created is taken back; data is kept.
    let left: Vec<_> = stage.engine.left(&stage.project).into_iter().filter(|thing| thing.kind != "volume").collect();
    assert!(left.is_empty(), "still on the engine: {left:#?}");
    if expected.exit != 3 {
        stage.tool(&["dev", "down", "--volumes"]).env("PORT", "1").run().with(0);
        stage.assert_gone();
    }
}
