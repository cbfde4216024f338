//! The engine accepts questions and does not answer.

use super::*;

const QUESTIONS: [Verb; 6] = [Verb::Containers, Verb::Ids, Verb::Inspect, Verb::Networks, Verb::Volumes, Verb::Info];
const WAITS: &str = "Waiting for the engine, which does not answer; 20 s at most";

#[test]
fn an_engine_that_accepts_and_does_not_answer_is_given_up() {
    each([&["dev"][..], &["dev", "--detach"], &["dev", "status"], &["dev", "list"], &["dev", "down"]], |args| {
        let sandbox = Sandbox::new();
        QUESTIONS.iter().for_each(|verb| sandbox.engine.hold(*verb));
        sandbox.run(args).exits(4).says(WAITS).says("it gave no answer within 20 seconds");
        assert!(sandbox.engine.changes().is_empty(), "{args:?}");
    });
}

#[test]
fn an_engine_that_falls_silent_under_a_stack_is_given_up_after_the_first_press() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    sandbox.wait_until_unlocked();
    let asked = sandbox.engine.calls_of(Verb::Containers).len();
    QUESTIONS.iter().for_each(|verb| sandbox.engine.hold(*verb));
    sandbox.engine.hold(Verb::Down);
    run.signal(Signal::INT);
    // `down` waits; meanwhile the engine is asked something.
    sandbox.engine.wait_called(Verb::Down, 1);
    sandbox.engine.wait_called(Verb::Containers, asked + 1);
    assert!(sandbox.engine.wait_gone(Verb::Down).was_killed());
    run.wait().exits(6).says(WAITS).says("docker compose -p shop down");
    assert_eq!(sandbox.engine.changes(), [UP, DOWN]);
}

#[test]
fn an_engine_that_answers_only_some_questions_is_given_up_as_well() {
    let sandbox = Sandbox::new();
    let run = started(&sandbox, &["dev"]);
    sandbox.wait_until_unlocked();
    // Seen with a deadlock in the networks of Engine 20.10: it lists containers and nothing else.
    sandbox.engine.hold(Verb::Networks);
    sandbox.engine.hold(Verb::Down);
    run.signal(Signal::INT);
    sandbox.engine.wait_called(Verb::Down, 1);
    sandbox.engine.wait_called(Verb::Networks, 1);
    assert!(sandbox.engine.wait_gone(Verb::Down).was_killed());
    run.wait().exits(6).says(WAITS).says("docker compose -p shop down");
    assert_eq!(sandbox.engine.changes(), [UP, DOWN]);
}
