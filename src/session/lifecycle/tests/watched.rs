//! A run that applies changes.

use super::*;

const ATTACHED: (RunEvent, Action) = (RunEvent::Started { shutdown: Some(UpShutdown::Cut) }, Action::Unlock);
const AGAIN: [(RunEvent, Action); 2] =
    [(RunEvent::Again, Action::KillUpAndLock), (RunEvent::Locked, Action::StartAgain)];

#[test]
fn another_up_follows_one_that_has_started_everything() {
    let steady = play(WATCHED, State::STARTING, &[ATTACHED]);
    let again = play(WATCHED, steady, &AGAIN);
    assert_eq!((again.phase, again.up, again.shutdown), (Phase::Running, Up::Alive, None));
    // It is in the middle of its start: an interrupt cuts it off and looks twice.
    play(WATCHED, again, &[&CUT_OFF_IN_ITS_START[..], &[(CLEAN, Action::Finish)]].concat());
}

#[test]
fn an_up_in_the_middle_of_its_start_is_followed_when_the_start_is_over() {
    let asked = play(WATCHED, State::STARTING, &[(RunEvent::Again, Action::Idle)]);
    let started = (ATTACHED.0, Action::KillUpAndLock);
    assert!(!play(WATCHED, asked, &[started, AGAIN[1]]).again, "once");
    // Or when it has ended by itself.
    play(WATCHED, asked, &[(GOOD, Action::Judge), (BADLY, Action::Lock), AGAIN[1]]);
}

#[test]
fn a_stack_that_is_over_waits_for_a_change() {
    for end in [WELL, BADLY] {
        let resting = play(WATCHED, State::STARTING, &[ATTACHED, (GOOD, Action::Judge), (end, Action::Rest)]);
        assert_eq!((resting.phase, resting.cause), (Phase::Resting, None));
        play(WATCHED, resting, &[(RunEvent::Again, Action::Lock), AGAIN[1], ATTACHED]);
        for policy in [WATCHED, WATCHED_KEEP] {
            let story = [
                (int(Int), Action::Lock),
                (RunEvent::Locked, Action::Undo(DownScope::File)),
                (RunEvent::UndoEnded, Action::Check),
                (CLEAN, Action::Finish),
            ];
            assert_eq!(play(policy, resting, &story).cause, Some(EndCause::Interrupted(Int)));
        }
    }
    // Containers that run on without an attached `up`.
    let still_up = (RunEvent::Judged(Judgement::StillUp), Action::Stay);
    play(WATCHED, State::STARTING, &[ATTACHED, (GOOD, Action::Judge), still_up, (RunEvent::Again, Action::Lock)]);
}

#[test]
fn a_first_start_that_compose_cannot_do_and_a_stop_from_elsewhere_end_it() {
    play(WATCHED, State::STARTING, &[(BAD, Action::Judge), (BADLY, Action::Lock)]);
    let elsewhere = RunEvent::Judged(Judgement::StoppedElsewhere);
    play(WATCHED, State::STARTING, &[ATTACHED, (GOOD, Action::Judge), (elsewhere, Action::Lock)]);
    // A later one can be mended by the next change.
    let again = play(WATCHED, State::STARTING, &[&[ATTACHED][..], &AGAIN].concat());
    play(WATCHED, again, &[(BAD, Action::Judge), (BADLY, Action::Rest)]);
}

#[test]
fn an_interrupt_between_two_ups_takes_the_stack_down() {
    let steady = play(WATCHED, State::STARTING, &[ATTACHED]);
    let story = [
        AGAIN[0],
        // The lock is still waited for.
        (int(Int), Action::Lock),
        (RunEvent::Locked, Action::Undo(DownScope::File)),
        (RunEvent::UndoEnded, Action::Check),
        (CLEAN, Action::Finish),
    ];
    play(WATCHED, steady, &story);
}
