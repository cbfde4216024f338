//! Nobody reads our output.

use super::*;

/// Writes to a pipe that nobody reads until nothing more fits.
fn fill(mut pipe: &PipeWriter) {
    rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK).unwrap();
    // In small pieces, so that it is full to the last byte.
    while let Ok(1..) = pipe.write(b"\n") {}
    rustix::fs::fcntl_setfl(pipe, OFlags::empty()).unwrap();
}

fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    fill(&writer);
    (reader, writer)
}

#[test]
fn a_reader_that_does_not_read_does_not_keep_the_stack_alive() {
    each(INTERRUPTS, |(signal, code)| {
        let sandbox = Sandbox::new();
        let (_err, full_err) = full_pipe();
        let (_out, full_out) = full_pipe();
        let args = ["dev", "--verbose", "--message-format", "json"];
        let run = sandbox.stagecraft(args).stdout(full_out).stderr(full_err).start();
        sandbox.engine.wait_running(Verb::Up);
        run.signal(signal);
        run.wait().exits(code);
        assert_eq!(sandbox.engine.changes(), [UP, DOWN], "{signal:?}");
        nothing_is_left(&sandbox);
    });
}

#[test]
fn a_third_interrupt_leaves_at_once_and_the_guard_acts_also_when_nobody_reads() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Down);
    let (_reader, full) = full_pipe();
    let run = sandbox.stagecraft(["dev"]).stderr(full).start();
    sandbox.engine.wait_running(Verb::Up);
    run.signal(Signal::INT);
    for presses in 1..=2 {
        sandbox.engine.wait_called(Verb::Down, presses);
        run.signal(Signal::INT);
    }
    run.wait().exits(130);
    sandbox.engine.wait_called(Verb::Down, 3);
    sandbox.engine.release(Verb::Down);
    sandbox.engine.wait_gone(Verb::Networks);
    nothing_is_left(&sandbox);
}

#[test]
fn a_down_with_blocked_output_is_run_again_into_a_pipe() {
    let sandbox = Sandbox::new();
    sandbox.engine.hold(Verb::Down);
    let (_reader, pipe) = io::pipe().unwrap();
    let run = sandbox.stagecraft(["dev"]).stderr(pipe.try_clone().unwrap()).start();
    sandbox.engine.wait_running(Verb::Up);
    run.signal(Signal::INT);
    sandbox.engine.wait_called(Verb::Down, 1);
    fill(&pipe);
    sandbox.engine.wait_called(Verb::Down, 2);
    assert!(sandbox.engine.wait_gone(Verb::Down).was_killed());
    sandbox.engine.release(Verb::Down);
    run.wait().exits(130);
    assert_eq!(sandbox.engine.changes(), [UP, DOWN, DOWN], "with the grace that it had");
    nothing_is_left(&sandbox);
}

#[test]
fn a_terminal_that_is_stopped_does_not_keep_the_stack_alive() {
    let sandbox = Sandbox::new();
    let run = sandbox.stagecraft(["dev"]).in_terminal();
    sandbox.engine.wait_running(Verb::Up);
    run.press_ctrl_s();
    // Ctrl+C would let the terminal go on.
    run.signal(Signal::TERM);
    sandbox.engine.wait_gone(Verb::Down);
    run.wait().exits(143);
    nothing_is_left(&sandbox);
}

#[test]
fn a_late_reader_gets_every_message_whole() {
    let sandbox = Sandbox::new();
    let (mut reader, full) = full_pipe();
    let run = sandbox.stagecraft(["dev", "--detach", "--message-format", "json"]).stdout(full).start();
    sandbox.engine.wait_gone(Verb::Up);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    run.wait().exits(0);
    let parse = |line| serde_json::from_str::<serde_json::Value>(line).expect(line);
    let messages: Vec<_> = text.trim_start().lines().map(parse).collect();
    assert_eq!(messages.last().unwrap()["exit_code"], 0, "{text}");
}
