//! Standard output and standard error, written by a thread of its own.
//!
//! A reader that does not read (a full pipe, Ctrl+S) blocks a write, and the thread that tears the stack down must not block. So a
//! caller waits a short time for its line, which keeps the order of these lines and of the output of other programs, and then goes
//! on. Unread lines are kept up to a limit. Beyond it whole lines are dropped, and a note says how many.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::screen::Stream;

/// How long a line may take to be written before its caller goes on.
pub(super) const LINE_LIMIT: Duration = Duration::from_millis(200);
/// How many bytes are kept for a reader that does not read.
const LIMIT: usize = 256 * 1024;
/// A blocked write shows no progress, so long texts are written in parts of this size.
const PART: usize = 16 * 1024;

/// How long to wait until something is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// As long as it takes: what was asked for must not be lost.
    Unlimited,
    /// At most this long, and not at all while nothing is read.
    Limited(Duration),
}

/// Where everything that is said goes.
pub(super) struct Outlet {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    writers: Mutex<Writers>,
}

struct Writers {
    err: Box<dyn Write + Send>,
    out: Box<dyn Write + Send>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Piece>,
    /// How many bytes are in the queue.
    bytes: usize,
    has_thread: bool,
    is_writing: bool,
    /// Whether a write has been waited for in vain, and none has ended since.
    is_stalled: bool,
    /// Grows with each part that is written.
    progress: u64,
    is_given_up: bool,
}

enum Piece {
    Text {
        stream: Stream,
        bytes: Vec<u8>,
        written: Sender<io::Result<()>>,
    },
    /// This many lines had no room here.
    Dropped(usize),
}

impl Outlet {
    pub(super) fn new(err: Box<dyn Write + Send>, out: Box<dyn Write + Send>) -> Outlet {
        let writers = Mutex::new(Writers { err, out });
        Outlet { shared: Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), writers }) }
    }

    /// Writes all of it, or nothing if there is no room for it.
    ///
    /// # Errors
    /// If it is known by now that it cannot be written, or was dropped.
    pub(super) fn say(&self, stream: Stream, bytes: Vec<u8>, patience: Patience) -> io::Result<()> {
        let mut state = self.shared.state();
        let has_room = state.queue.is_empty() || state.bytes + bytes.len() <= LIMIT;
        if !has_room && matches!(patience, Patience::Limited(_)) {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count().max(1);
            match state.queue.back_mut() {
                Some(Piece::Dropped(dropped)) => *dropped += lines,
                _ => state.queue.push_back(Piece::Dropped(lines)),
            }
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if !state.has_thread {
            let shared = Arc::clone(&self.shared);
            if thread::Builder::new().spawn(move || shared.work()).is_err() {
                drop(state);
                return self.shared.write(stream, &bytes);
            }
            state.has_thread = true;
        }
        let (sender, written) = mpsc::channel();
        state.bytes += bytes.len();
        state.queue.push_back(Piece::Text { stream, bytes, written: sender });
        self.shared.changed.notify_all();
        let (progress, is_stalled) = (state.progress, state.is_stalled);
        drop(state);
        match patience {
            Patience::Unlimited => written.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())),
            Patience::Limited(_) if is_stalled => Ok(()),
            Patience::Limited(time) => match written.recv_timeout(time) {
                Ok(result) => result,
                Err(RecvTimeoutError::Disconnected) => Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    let mut state = self.shared.state();
                    state.is_stalled = state.progress == progress && state.is_writing;
                    Ok(())
                }
            },
        }
    }

    /// Whether the last line is still unread.
    pub(super) fn is_stalled(&self) -> bool {
        self.shared.state().is_stalled
    }

    /// Whether everything is written.
    pub(super) fn is_idle(&self) -> bool {
        self.shared.state().is_idle()
    }

    /// Waits until everything is written, or nothing of it was for this long, or [`Outlet::give_up`] is called. Whether it is.
    pub(super) fn flush(&self, limit: Option<Duration>) -> bool {
        let mut state = self.shared.state();
        while !state.is_idle() && !state.is_given_up {
            let progress = state.progress;
            let changed = &self.shared.changed;
            let is_same = |state: &mut State| state.progress == progress && !state.is_idle() && !state.is_given_up;
            let (now, over) = changed
                .wait_timeout_while(state, limit.unwrap_or(Duration::MAX), is_same)
                .unwrap_or_else(PoisonError::into_inner);
            state = now;
            if over.timed_out() {
                break;
            }
        }
        state.is_idle()
    }

    /// Ends a [`Outlet::flush`], now or later.
    pub(super) fn give_up(&self) {
        self.shared.state().is_given_up = true;
        self.shared.changed.notify_all();
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.is_writing
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let mut state = self.state();
            let piece = loop {
                match state.queue.pop_front() {
                    Some(piece) => break piece,
                    None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                }
            };
            state.is_writing = true;
            drop(state);
            let size = match piece {
                Piece::Text { stream, bytes, written } => {
                    let result = self.write(stream, &bytes);
                    let _ = written.send(result);
                    bytes.len()
                }
                Piece::Dropped(lines) => {
                    let s = if lines == 1 { "" } else { "s" };
                    let note = format!("note: {lines} line{s} of output were dropped because nobody read them\n");
                    let _ = self.write(Stream::Stderr, note.as_bytes());
                    0
                }
            };
            let mut state = self.state();
            state.bytes -= size;
            state.is_writing = false;
            self.has_advanced(&mut state);
        }
    }

    fn has_advanced(&self, state: &mut State) {
        state.progress += 1;
        state.is_stalled = false;
        self.changed.notify_all();
    }

    /// One write a line, so that the lines of others do not fall into ours.
    fn write(&self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = match stream {
            Stream::Stdout => &mut writers.out,
            Stream::Stderr => &mut writers.err,
        };
        for part in bytes.chunks(PART) {
            writer.write_all(part)?;
            self.has_advanced(&mut self.state());
        }
        writer.flush()
    }
}

#[cfg(test)]
#[cfg(unix)] // A pipe that is full.
mod tests {
    use std::io::{PipeReader, PipeWriter, Read as _};

    use super::*;

    fn outlet() -> (Outlet, PipeReader, PipeReader) {
        let (err_reader, err): (PipeReader, PipeWriter) = io::pipe().unwrap();
        let (out_reader, out) = io::pipe().unwrap();
        (Outlet::new(Box::new(err), Box::new(out)), err_reader, out_reader)
    }

    const A_MOMENT: Patience = Patience::Limited(Duration::from_millis(1));

    /// Writes numbered lines without a reader until one is dropped, and returns how many were not.
    fn fill(outlet: &Outlet) -> usize {
        (0..).find(|number| outlet.say(Stream::Stderr, line(*number), A_MOMENT).is_err()).unwrap()
    }

    fn line(number: usize) -> Vec<u8> {
        format!("{number:->999}\n").into_bytes()
    }

    #[test]
    fn a_blocked_reader_delays_nothing_and_gets_a_note_about_dropped_lines() {
        let (outlet, mut reader, _out) = outlet();
        let kept = fill(&outlet);
        assert!(outlet.is_stalled());
        assert!(outlet.say(Stream::Stderr, [line(0), line(1)].concat(), A_MOMENT).is_err());
        assert!(!outlet.flush(Some(Duration::from_millis(1))), "nobody reads");
        let reading = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        assert!(outlet.flush(None));
        assert!(!outlet.is_stalled());
        // The writing thread never closes the pipe. Drop it here, so that the reader reaches its end.
        outlet.shared.writers.lock().unwrap().err = Box::new(io::sink());
        let expected: Vec<u8> = (0..kept).flat_map(line).collect();
        let note = "note: 3 lines of output were dropped because nobody read them\n";
        assert_eq!(reading.join().unwrap(), String::from_utf8(expected).unwrap() + note);
    }

    #[test]
    fn a_slow_reader_gets_everything_in_order() {
        let (outlet, err, mut out) = outlet();
        drop(err);
        assert!(
            outlet.say(Stream::Stderr, b"gone\n".to_vec(), Patience::Unlimited).is_err(),
            "who is gone is an error"
        );
        let long = vec![b'x'; 3 * LIMIT];
        outlet.say(Stream::Stdout, long.clone(), A_MOMENT).unwrap();
        let mut read = vec![0; long.len()];
        let reading = thread::spawn(move || {
            out.read_exact(&mut read).unwrap();
            read
        });
        assert!(outlet.flush(Some(Duration::from_secs(60))));
        assert!(reading.join().unwrap() == long);
    }

    #[test]
    fn an_end_that_waits_for_a_reader_can_be_hurried() {
        let (outlet, _reader, _out) = outlet();
        fill(&outlet);
        thread::scope(|scope| {
            let flush = scope.spawn(|| outlet.flush(None));
            outlet.give_up();
            assert!(!flush.join().unwrap());
        });
    }
}
