use std::collections::HashSet;

mod before_build;
mod for_command;
mod watched;

use super::*;
use Interrupt::{Hup, Int, Term};

const FOREGROUND: Policy = Policy {
    leaves_running: false,
    waits: false,
    undo: Undo::Remove,
    found_running: false,
    precedes_build: false,
    watches: false,
};
const WATCHED: Policy = Policy { watches: true, ..FOREGROUND };
const WATCHED_KEEP: Policy = Policy { watches: true, ..FOREGROUND_KEEP };
const FOREGROUND_OF_A_RUNNING_STACK: Policy = Policy { found_running: true, ..FOREGROUND };
const FOREGROUND_KEEP: Policy = Policy { undo: Undo::StopOnly, ..FOREGROUND };
const DETACHED: Policy = Policy { leaves_running: true, ..FOREGROUND };
const DETACHED_ALONE: Policy = Policy { undo: Undo::Nothing, ..DETACHED };
const WAITING: Policy = Policy { waits: true, ..DETACHED };
const WAITING_ALONE: Policy = Policy { waits: true, ..DETACHED_ALONE };
const POLICIES: [Policy; 8] =
    [FOREGROUND, FOREGROUND_KEEP, DETACHED, DETACHED_ALONE, WAITING, WAITING_ALONE, WATCHED, WATCHED_KEEP];

/// Plays events and compares the action that each leads to; returns the last state.
fn play(policy: Policy, from: State, story: &[(RunEvent, Action)]) -> State {
    story.iter().enumerate().fold(from, |state, (row, (event, expected))| {
        let (state, action) = next(policy, state, *event);
        assert_eq!(action, *expected, "row {row}: {event:?} led to {state:?}");
        state
    })
}

const GOOD: RunEvent = RunEvent::UpEnded { success: true };
const BAD: RunEvent = RunEvent::UpEnded { success: false };
const CLEAN: RunEvent = RunEvent::Checked { clean: true };
const LEFT: RunEvent = RunEvent::Checked { clean: false };
const WELL: RunEvent = RunEvent::Judged(Judgement::Well);
const BADLY: RunEvent = RunEvent::Judged(Judgement::Badly);
const STARTED: RunEvent = RunEvent::Looked { shutdown: Some(UpShutdown::Cut) };
const NOT_STARTED: RunEvent = RunEvent::Looked { shutdown: None };

/// An interrupt during a start, until the second look at what is left.
const CUT_OFF_IN_ITS_START: [(RunEvent, Action); 7] = [
    (RunEvent::Interrupt(Int), Action::Lock),
    (RunEvent::Locked, Action::Look),
    (NOT_STARTED, Action::KillUpAndUndo(DownScope::File)),
    (BAD, Action::Idle),
    (RunEvent::UndoEnded, Action::Check),
    (CLEAN, Action::Wait(SETTLE)),
    (RunEvent::TimeIsUp, Action::Check),
];

/// The end of a start, and what it leads to.
fn started(shutdown: UpShutdown) -> (RunEvent, Action) {
    (RunEvent::Started { shutdown: Some(shutdown) }, Action::Unlock)
}

fn int(kind: Interrupt) -> RunEvent {
    RunEvent::Interrupt(kind)
}

#[test]
fn an_interrupt_in_the_steady_state_ends_up_and_looks_once() {
    let cut = [
        (int(Int), Action::Lock),
        (RunEvent::Locked, Action::Look),
        (STARTED, Action::KillUpAndUndo(DownScope::File)),
        (BAD, Action::Idle),
        (RunEvent::UndoEnded, Action::Check),
        (CLEAN, Action::Finish),
    ];
    let end = play(FOREGROUND, State::STARTING, &cut);
    assert_eq!(end.cause, Some(EndCause::Interrupted(Int)));
    assert_eq!(end.phase, Phase::Ended(End::Clean));
    let steady = play(FOREGROUND, State::STARTING, &[started(UpShutdown::Cut)]);
    play(
        FOREGROUND,
        steady,
        &[&cut[..1], &[(RunEvent::Locked, Action::KillUpAndUndo(DownScope::File))], &cut[3..]].concat(),
    );
}

#[test]
fn an_attached_up_may_end_a_little_after_down_and_is_cut_off_if_it_does_not() {
    let begin = [
        started(UpShutdown::Attached),
        (int(Term), Action::Lock),
        (RunEvent::Locked, Action::Undo(DownScope::File)),
        (RunEvent::UndoEnded, Action::Wait(DRAIN)),
    ];
    let draining = play(FOREGROUND, State::STARTING, &begin);
    play(FOREGROUND, draining, &[(GOOD, Action::Check), (CLEAN, Action::Finish)]);
    let story = [
        (RunEvent::TimeIsUp, Action::KillUp),
        (BAD, Action::Check),
        (LEFT, Action::Undo(DownScope::Everything)),
        (RunEvent::UndoEnded, Action::Check),
        (CLEAN, Action::Wait(SETTLE)),
        (RunEvent::TimeIsUp, Action::Check),
        (CLEAN, Action::Finish),
    ];
    play(FOREGROUND, draining, &story);
}

#[test]
fn an_interrupted_start_is_cut_off_and_looked_at_twice() {
    let rest = [
        // The engine finished a request of the killed client: once more, and until it is quiet.
        (LEFT, Action::Undo(DownScope::Everything)),
        (RunEvent::UndoEnded, Action::Check),
        (CLEAN, Action::Wait(SETTLE)),
        (RunEvent::TimeIsUp, Action::Check),
        (CLEAN, Action::Finish),
    ];
    for policy in [FOREGROUND, DETACHED] {
        play(policy, State::STARTING, &[&CUT_OFF_IN_ITS_START[..], &rest].concat());
    }
}

#[test]
fn each_further_press_is_harder() {
    let begin = |shutdown| [started(shutdown), (int(Int), Action::Lock)];
    let cut = (RunEvent::Locked, Action::KillUpAndUndo(DownScope::File));
    let attached = (RunEvent::Locked, Action::Undo(DownScope::File));
    for (shutdown, first) in [(UpShutdown::Cut, cut), (UpShutdown::Attached, attached)] {
        let state = play(FOREGROUND, play(FOREGROUND, State::STARTING, &begin(shutdown)), &[first]);
        let story = [(int(Int), Action::Undo(DownScope::File)), (int(Term), Action::Finish)];
        let end = play(FOREGROUND, state, &story);
        assert_eq!(end.force, Force::AtOnce);
        assert_eq!(end.phase, Phase::Ended(End::Abandoned));
        assert_eq!(end.cause, Some(EndCause::Interrupted(Int)), "the first interrupt gives the exit code");
    }
}

#[test]
fn a_press_while_the_engine_is_being_asked_counts() {
    let story = [
        (int(Int), Action::Lock),
        (RunEvent::Locked, Action::Look),
        (int(Int), Action::KillUpAndUndo(DownScope::File)),
        (STARTED, Action::Idle),
    ];
    assert_eq!(play(FOREGROUND, State::STARTING, &story).force, Force::AtOnce);
    let story = [
        (int(Int), Action::Lock),
        (RunEvent::Locked, Action::Look),
        (GOOD, Action::Idle),
        (int(Int), Action::Undo(DownScope::File)),
        (RunEvent::UndoEnded, Action::Check),
        (CLEAN, Action::Finish),
    ];
    play(FOREGROUND, State::STARTING, &story);
}

#[test]
fn the_lock_is_given_back_while_the_stack_just_runs_and_taken_again_for_the_end() {
    let waiting = play(FOREGROUND, State::STARTING, &[started(UpShutdown::Cut), (int(Int), Action::Lock)]);
    // It is known already how far the start is.
    play(FOREGROUND, waiting, &[(RunEvent::Locked, Action::KillUpAndUndo(DownScope::File))]);
    let story = [(RunEvent::Started { shutdown: None }, Action::Unlock), (int(Int), Action::Lock)];
    let unknown = play(FOREGROUND, State::STARTING, &story);
    play(FOREGROUND, unknown, &[(RunEvent::Locked, Action::Look), (STARTED, Action::KillUpAndUndo(DownScope::File))]);
    // Another command has taken the stack down meanwhile.
    play(FOREGROUND, waiting, &[(GOOD, Action::Idle), (RunEvent::Locked, Action::Undo(DownScope::File))]);
    let story = [(int(Int), Action::KillUpAndUndo(DownScope::File)), (RunEvent::Locked, Action::Idle)];
    play(FOREGROUND, waiting, &story);
}

#[test]
fn a_teardown_waits_for_the_engine_and_is_done_again_when_it_is_back() {
    let away = |patience| RunEvent::Unanswered { patience };
    let begin = [
        (RunEvent::UndoEnded, Action::Check),
        (away(true), Action::Wait(RETRY)),
        (RunEvent::TimeIsUp, Action::Check),
        (away(true), Action::Wait(RETRY)),
    ];
    let waiting = play(FOREGROUND, State::taking_down(DownScope::File), &begin);
    let back = [
        (RunEvent::TimeIsUp, Action::Check),
        (LEFT, Action::Undo(DownScope::File)),
        (RunEvent::UndoEnded, Action::Check),
        (LEFT, Action::Undo(DownScope::Everything)),
        (RunEvent::UndoEnded, Action::Check),
        (away(true), Action::Wait(RETRY)),
        (RunEvent::TimeIsUp, Action::Check),
        (CLEAN, Action::Finish),
    ];
    assert_eq!(play(FOREGROUND, waiting, &back).phase, Phase::Ended(End::Clean));
    let for_good = [(RunEvent::TimeIsUp, Action::Check), (away(false), Action::Finish)];
    assert_eq!(play(FOREGROUND, waiting, &for_good).phase, Phase::Ended(End::Incomplete));
    assert_eq!(play(FOREGROUND, waiting, &[(int(Int), Action::Finish)]).phase, Phase::Ended(End::Incomplete));
    let hurried = State { force: Force::AtOnce, ..State::taking_down(DownScope::File) };
    play(FOREGROUND, hurried, &[(RunEvent::UndoEnded, Action::Check), (away(true), Action::Finish)]);
}

#[test]
fn a_stack_that_somebody_is_attached_to_is_stopped_before_it_is_removed() {
    let story = [(RunEvent::UndoEnded, Action::Undo(DownScope::File)), (RunEvent::UndoEnded, Action::Check)];
    play(FOREGROUND, State::stopping(), &story);
}

#[test]
fn a_terminal_that_sends_two_hups_is_one_interrupt() {
    let story = [
        (int(Hup), Action::Lock),
        (RunEvent::Locked, Action::Look),
        (STARTED, Action::KillUpAndUndo(DownScope::File)),
        (int(Hup), Action::Idle),
    ];
    let state = play(FOREGROUND, State::STARTING, &story);
    assert_eq!(state.force, Force::Graceful);
    play(FOREGROUND, state, &[(int(Int), Action::Undo(DownScope::File))]);
}

#[test]
fn a_foreground_run_that_ends_by_itself_is_judged_and_taken_down() {
    for (up, judged, cause) in
        [(GOOD, WELL, EndCause::Finished), (GOOD, BADLY, EndCause::Failed), (BAD, BADLY, EndCause::Failed)]
    {
        let begin = [
            (up, Action::Judge),
            (judged, Action::Lock),
            (RunEvent::Locked, Action::Undo(DownScope::File)),
            (RunEvent::UndoEnded, Action::Check),
        ];
        let state = play(FOREGROUND, State::STARTING, &begin);
        assert_eq!(state.cause, Some(cause));
    }
}

#[test]
fn a_failed_start_is_looked_at_twice_since_it_may_have_been_broken_off() {
    let story = [
        (BAD, Action::Judge),
        (BADLY, Action::Lock),
        (RunEvent::Locked, Action::Undo(DownScope::File)),
        (RunEvent::UndoEnded, Action::Check),
        (CLEAN, Action::Wait(SETTLE)),
        (RunEvent::TimeIsUp, Action::Check),
        (CLEAN, Action::Finish),
    ];
    play(DETACHED, State::STARTING, &story);
}

#[test]
fn a_detached_start_leaves_a_good_stack_running_and_a_bad_one_only_if_it_must() {
    for policy in [DETACHED, DETACHED_ALONE] {
        play(policy, State::STARTING, &[(GOOD, Action::Judge), (WELL, Action::Finish)]);
    }
    play(DETACHED, State::STARTING, &[(GOOD, Action::Judge), (BADLY, Action::Lock)]);
    play(DETACHED_ALONE, State::STARTING, &[(BAD, Action::Judge), (BADLY, Action::Finish)]);
}

#[test]
fn a_start_that_waits_is_judged_when_all_is_ready_or_never_will_be() {
    let ready = RunEvent::Settled { success: true };
    let not_ready = RunEvent::Settled { success: false };
    let waiting = play(WAITING, State::STARTING, &[(GOOD, Action::Idle)]);
    play(WAITING, waiting, &[(ready, Action::Judge), (WELL, Action::Finish)]);
    // The engine has the last word.
    play(WAITING, waiting, &[(ready, Action::Judge), (BADLY, Action::Lock)]);
    let late = [(not_ready, Action::Judge), (RunEvent::Judged(Judgement::TooSlowly), Action::Lock)];
    assert_eq!(play(WAITING, waiting, &late).cause, Some(EndCause::Late));
    play(WAITING_ALONE, waiting, &[(not_ready, Action::Judge), (BADLY, Action::Finish)]);
    // What has crashed does not come back while `up` waits for something else.
    let early = [
        (not_ready, Action::KillUpAndJudge),
        (BAD, Action::Idle),
        (BADLY, Action::Lock),
        (RunEvent::Locked, Action::Undo(DownScope::File)),
        (RunEvent::UndoEnded, Action::Check),
        (CLEAN, Action::Wait(SETTLE)),
    ];
    play(WAITING, State::STARTING, &early);
    // Without a wait the engine is not asked.
    play(DETACHED, State::STARTING, &[(BAD, Action::Judge)]);
}

#[test]
fn an_interrupted_wait_takes_back_a_fresh_start() {
    let waiting = play(WAITING, State::STARTING, &[(GOOD, Action::Idle)]);
    let story = [(int(Int), Action::Lock), (RunEvent::Locked, Action::Undo(DownScope::File))];
    play(WAITING, waiting, &story);
    play(WAITING_ALONE, waiting, &[(int(Int), Action::Finish)]);
}

#[test]
fn an_interrupted_detached_start_that_may_undo_nothing_ends_up_and_itself() {
    let story = [(int(Int), Action::KillUp), (int(Int), Action::Idle), (BAD, Action::Finish)];
    let end = play(DETACHED_ALONE, State::STARTING, &story);
    assert_eq!((end.phase, end.cause), (Phase::Ended(End::Clean), Some(EndCause::Interrupted(Int))));
    play(DETACHED_ALONE, State::STARTING, &[(GOOD, Action::Judge), (int(Int), Action::Finish)]);
}

#[test]
fn leftovers_are_removed_in_three_steps() {
    let story = [
        (RunEvent::UndoEnded, Action::Check),
        (LEFT, Action::Undo(DownScope::Everything)),
        (RunEvent::UndoEnded, Action::Check),
        (LEFT, Action::Undo(DownScope::ByName)),
        (RunEvent::UndoEnded, Action::Check),
        (LEFT, Action::Finish),
    ];
    let end = play(FOREGROUND, State::taking_down(DownScope::File), &story);
    assert_eq!(end.phase, Phase::Ended(End::Incomplete));
}

#[test]
fn a_teardown_that_was_asked_for_is_hurried_by_the_first_press_and_left_by_the_second() {
    let story = [(int(Int), Action::Undo(DownScope::File)), (RunEvent::UndoEnded, Action::Check)];
    let state = play(FOREGROUND, State::taking_down(DownScope::File), &story);
    assert_eq!((state.force, state.cause), (Force::AtOnce, Some(EndCause::Interrupted(Int))));
    play(FOREGROUND, state, &[(int(Int), Action::Finish)]);
}

#[test]
fn the_first_press_is_the_first_also_in_a_teardown_that_has_begun_by_itself() {
    let begin = [
        (BAD, Action::Judge),
        (BADLY, Action::Lock),
        (RunEvent::Locked, Action::Undo(DownScope::File)),
        (int(Int), Action::Idle),
    ];
    let state = play(FOREGROUND, State::STARTING, &begin);
    assert_eq!((state.force, state.cause), (Force::Graceful, Some(EndCause::Interrupted(Int))));
    play(FOREGROUND, state, &[(int(Term), Action::Undo(DownScope::File)), (int(Int), Action::Finish)]);

    // While the engine is away, too.
    let away = RunEvent::Unanswered { patience: true };
    let begin = [(RunEvent::UndoEnded, Action::Check), (away, Action::Wait(RETRY))];
    let (phase, cause) = (Phase::Undoing(DownScope::File), Some(EndCause::Failed));
    let waiting = State { phase, cause, up: Up::CutOff, ..State::STARTING };
    let waiting = play(FOREGROUND, waiting, &begin);
    let waiting = play(FOREGROUND, waiting, &[(int(Int), Action::Idle), (RunEvent::TimeIsUp, Action::Check)]);
    play(FOREGROUND, waiting, &[(away, Action::Wait(RETRY)), (int(Int), Action::Finish)]);
}

#[test]
fn a_start_that_fails_leaves_a_stack_alone_that_ran_before() {
    let story = [(BAD, Action::Judge), (BADLY, Action::Finish)];
    let end = play(FOREGROUND_OF_A_RUNNING_STACK, State::STARTING, &story);
    assert_eq!((end.phase, end.cause), (Phase::Ended(End::Clean), Some(EndCause::Failed)));
    play(FOREGROUND, State::STARTING, &[(BAD, Action::Judge), (BADLY, Action::Lock)]);
    // Stopped from elsewhere: that is no failure, and the rest is taken down.
    let stopped = play(FOREGROUND_OF_A_RUNNING_STACK, State::STARTING, &[(BAD, Action::Judge), (WELL, Action::Lock)]);
    assert!(!stopped.leaves_what_it_found(FOREGROUND_OF_A_RUNNING_STACK));
    // It was started, and fails later or is interrupted.
    let story = [started(UpShutdown::Cut), (BAD, Action::Judge), (BADLY, Action::Lock)];
    play(FOREGROUND_OF_A_RUNNING_STACK, State::STARTING, &story);
    play(FOREGROUND_OF_A_RUNNING_STACK, State::STARTING, &[(int(Int), Action::Lock)]);
}

#[test]
fn keep_stops_on_an_interrupt_and_widens_nothing() {
    let story = [
        (int(Int), Action::Lock),
        (RunEvent::Locked, Action::Look),
        (STARTED, Action::Undo(DownScope::File)),
        (GOOD, Action::Idle),
        (RunEvent::UndoEnded, Action::Check),
        (LEFT, Action::Finish),
    ];
    assert_eq!(play(FOREGROUND_KEEP, State::STARTING, &story).phase, Phase::Ended(End::Incomplete));
    let story = [(GOOD, Action::Judge), (WELL, Action::Finish)];
    play(FOREGROUND_KEEP, State::STARTING, &story);
}

#[test]
fn a_run_stays_while_a_container_runs_to_which_up_was_not_attached() {
    let begin = [(GOOD, Action::Judge), (RunEvent::Judged(Judgement::StillUp), Action::Stay)];
    let staying = play(FOREGROUND, State::STARTING, &begin);
    let over = (RunEvent::Over { known: true }, Action::Judge);
    play(FOREGROUND, staying, &[over, (WELL, Action::Lock), (RunEvent::Locked, Action::Undo(DownScope::File))]);
    // Started again meanwhile.
    play(FOREGROUND, staying, &[over, (RunEvent::Judged(Judgement::StillUp), Action::Stay)]);
    let blind = [(RunEvent::Over { known: false }, Action::Lock)];
    assert_eq!(play(FOREGROUND, staying, &blind).cause, Some(EndCause::Failed));
    let interrupt = [(int(Int), Action::Lock), (RunEvent::Locked, Action::Undo(DownScope::File))];
    play(FOREGROUND, staying, &interrupt);
    play(FOREGROUND_KEEP, staying, &interrupt);
}

/// Every event in every state that can be reached.
fn every_row(policy: Policy) -> Vec<(State, RunEvent, State, Action)> {
    use Judgement::{Badly, StillUp, StoppedElsewhere, TooSlowly, Well};
    let mut events = vec![RunEvent::UndoEnded, RunEvent::TimeIsUp, RunEvent::Locked, RunEvent::Again];
    events.extend([Well, StoppedElsewhere, Badly, TooSlowly, StillUp].map(RunEvent::Judged));
    events.extend(Interrupt::ALL.map(RunEvent::Interrupt));
    for yes in [true, false] {
        events.extend([
            RunEvent::UpEnded { success: yes },
            RunEvent::Settled { success: yes },
            RunEvent::Over { known: yes },
            RunEvent::Started { shutdown: yes.then_some(UpShutdown::Attached) },
            RunEvent::Started { shutdown: yes.then_some(UpShutdown::Cut) },
            RunEvent::Looked { shutdown: yes.then_some(UpShutdown::Attached) },
            RunEvent::Looked { shutdown: yes.then_some(UpShutdown::Cut) },
            RunEvent::Checked { clean: yes },
            RunEvent::Unanswered { patience: yes },
        ]);
    }
    let mut rows = Vec::new();
    let mut seen = HashSet::new();
    let mut open = vec![State::STARTING];
    if policy == FOREGROUND {
        open.extend([
            State::taking_down(DownScope::File),
            State::stopping(),
            State::orphaned(Force::Graceful),
            State::orphaned(Force::AtOnce),
        ]);
    }
    while let Some(state) = open.pop() {
        if !seen.insert(format!("{state:?}")) {
            continue;
        }
        for event in &events {
            let (after, action) = next(policy, state, *event);
            rows.push((state, *event, after, action));
            open.push(after);
        }
    }
    rows
}

#[test]
fn every_sequence_of_events_ends_clean() {
    for policy in POLICIES {
        for (state, event, after, action) in every_row(policy) {
            let row = format!("{policy:?}: {state:?} + {event:?} = {after:?}, {action:?}");
            let over = |state: State| matches!(state.phase, Phase::Ended(_));
            assert_eq!(over(after) && !over(state), action == Action::Finish, "{row}");
            assert!(!over(state) || after == state, "the end is the end: {row}");
            assert!(state.force == Force::Graceful || after.force == Force::AtOnce, "never softer: {row}");
            let undoes = matches!(action, Action::Undo(_) | Action::KillUpAndUndo(_));
            assert!(!undoes || policy.undo != Undo::Nothing, "not ours to undo: {row}");
            let may_stay =
                policy.leaves_running && after.cause == Some(EndCause::Finished) || after.leaves_what_it_found(policy);
            if after.phase == Phase::Ended(End::Clean) && policy.undo == Undo::Remove && !may_stay {
                let seen = matches!(event, RunEvent::Checked { clean: true });
                assert!(seen || over(state), "clean is seen, not assumed: {row}");
            }
        }
    }
}

#[test]
fn three_presses_end_a_run_in_every_state() {
    for policy in POLICIES {
        for (state, ..) in every_row(policy) {
            let after = [Int, Term, Int].iter().fold(state, |state, press| next(policy, state, int(*press)).0);
            let waits_for_a_killed_up = after.up == Up::CutOff && matches!(after.phase, Phase::Draining(_));
            assert!(matches!(after.phase, Phase::Ended(_)) || waits_for_a_killed_up, "{state:?} is stuck in {after:?}");
        }
    }
}
