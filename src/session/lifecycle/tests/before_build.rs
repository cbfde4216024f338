//! A start in two parts: what crates depend on first.

use super::*;

#[test]
fn a_start_that_is_given_up_undoes_what_it_has_started() {
    let interrupted = EndCause::Interrupted(Int);
    for (policy, cause, action) in [
        (DETACHED, EndCause::Failed, Action::Undo(DownScope::File)),
        (DETACHED, interrupted, Action::Undo(DownScope::File)),
        (FOREGROUND_KEEP, EndCause::Failed, Action::Finish),
        (FOREGROUND_KEEP, interrupted, Action::Undo(DownScope::File)),
        (DETACHED_ALONE, EndCause::Failed, Action::Finish),
        (DETACHED_ALONE, interrupted, Action::Finish),
        // A foreground run owns what it found, but its failure does not take it down.
        (Policy { precedes_build: true, ..FOREGROUND_OF_A_RUNNING_STACK }, EndCause::Failed, Action::Finish),
        (Policy { precedes_build: true, ..FOREGROUND_OF_A_RUNNING_STACK }, interrupted, Action::Undo(DownScope::File)),
    ] {
        let (state, first) = State::given_up(policy, cause);
        assert_eq!((first, state.cause), (action, Some(cause)), "{policy:?}");
        if first == Action::Undo(DownScope::File) && policy.undo == Undo::Remove {
            // A second interrupt kills; the teardown of a failure goes on at the first.
            let hurried = if cause == interrupted { Action::Undo(DownScope::File) } else { Action::Idle };
            let story = [(int(Int), hurried), (RunEvent::UndoEnded, Action::Check), (CLEAN, Action::Finish)];
            assert_eq!(play(policy, state, &story).phase, Phase::Ended(End::Clean));
        }
    }
}

#[test]
fn what_does_not_become_ready_before_the_build_is_left_if_it_ran_before() {
    let first = Policy { precedes_build: true, leaves_running: true, waits: true, ..FOREGROUND };
    for (judgement, found) in [(Judgement::Badly, true), (Judgement::TooSlowly, true), (Judgement::Badly, false)] {
        let policy = Policy { found_running: found, ..first };
        let end = if found { Action::Finish } else { Action::Lock };
        let story = [
            (GOOD, Action::Idle),
            (RunEvent::Settled { success: false }, Action::Judge),
            (RunEvent::Judged(judgement), end),
        ];
        play(policy, State::STARTING, &story);
    }
}
