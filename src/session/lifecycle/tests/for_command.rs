//! A stack for a command: before it, and after it.

use super::*;

const TAKEN_DOWN: Policy = FOREGROUND;

#[test]
fn the_end_of_the_command_is_the_beginning_of_a_teardown() {
    let (state, action) = State::after_the_command();
    assert_eq!(action, Action::Lock);
    let story = [
        (RunEvent::Locked, Action::Undo(DownScope::File)),
        (RunEvent::UndoEnded, Action::Check),
        (CLEAN, Action::Finish),
    ];
    let state = play(TAKEN_DOWN, state, &story);
    assert_eq!((state.phase, state.cause), (Phase::Ended(End::Clean), Some(EndCause::Requested)));
}

#[test]
fn the_first_interrupt_of_that_teardown_kills_containers_and_the_second_leaves_it_to_the_guard() {
    let (state, _) = State::after_the_command();
    let story = [
        (RunEvent::Locked, Action::Undo(DownScope::File)),
        (int(Int), Action::Undo(DownScope::File)),
        (int(Int), Action::Finish),
    ];
    assert_eq!(play(TAKEN_DOWN, state, &story).phase, Phase::Ended(End::Abandoned));
    // Also while another command has the lock.
    let (state, _) = State::after_the_command();
    play(TAKEN_DOWN, state, &[(int(Term), Action::Undo(DownScope::File))]);
}

#[test]
fn a_stack_that_runs_is_waited_for_and_left_alone() {
    let ready = [(RunEvent::Settled { success: true }, Action::Judge), (WELL, Action::Finish)];
    let state = play(WAITING_ALONE, State::WAITING, &ready);
    assert_eq!((state.phase, state.cause), (Phase::Ended(End::Clean), Some(EndCause::Finished)));
    let failed = [(RunEvent::Settled { success: false }, Action::Judge), (BADLY, Action::Finish)];
    assert_eq!(play(WAITING_ALONE, State::WAITING, &failed).cause, Some(EndCause::Failed));
    let state = play(WAITING_ALONE, State::WAITING, &[(int(Int), Action::Finish)]);
    assert_eq!((state.phase, state.cause), (Phase::Ended(End::Clean), Some(EndCause::Interrupted(Int))));
}
