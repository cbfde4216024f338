//! The first process of a container whose program can be replaced while it runs: this very program, in the image of a crate. Which
//! command lines it has, and how they are run.
//!
//! Its own instead of tini or catatonit: none of them starts its program again, or passes sockets on.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;

use crate::os::{self, Supervised};

/// Its path in an image.
pub(crate) const PATH: &str = ".stagecraft/supervisor";
/// The hidden subcommand.
const SUPERVISE: &str = "__supervise";
/// What a shell and the engine say of a program that cannot be started.
const CANNOT_START: u8 = 127;

/// How a program is supervised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Supervision {
    /// The number of the signal that asks it to end.
    pub stop_signal: u8,
    /// How long it may take then.
    pub grace: Duration,
    /// The addresses that are held open and passed on to it.
    pub listen: Vec<SocketAddr>,
}

impl Supervision {
    /// The beginning of a command line, which the program's own follows.
    pub(crate) fn entrypoint(&self) -> Vec<String> {
        let mut words = vec![format!("/{PATH}"), SUPERVISE.to_string()];
        words.extend([self.stop_signal.to_string(), self.grace.as_millis().to_string()]);
        words.extend([self.listen.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")]);
        words
    }
}

/// Whether a command line is that of a supervisor, or of a process that is about to become its program.
pub(crate) fn is_supervisor(line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').take(2).collect();
    matches!(words[..], [program, SUPERVISE] if program.strip_prefix('/') == Some(PATH))
        || words.get(1) == Some(&os::START)
}

/// Does what these arguments ask a supervisor for, and returns the exit code. None if they ask for something else.
pub(crate) fn run(args: &[OsString]) -> Option<anyhow::Result<u8>> {
    if let Some(error) = os::start_listening(args) {
        return Some(Err(error.into()));
    }
    let [_, verb, rest @ ..] = args else { return None };
    (verb == SUPERVISE).then(|| task(rest).and_then(|task| Ok(os::supervise(&task)?)))
}

/// Prints why nothing was started, and returns the exit code.
pub(crate) fn failed(error: &anyhow::Error) -> u8 {
    let _ = writeln!(std::io::stderr(), "{error:#}");
    CANNOT_START
}

fn task(words: &[OsString]) -> anyhow::Result<Supervised> {
    let [stop_signal, grace, listen, program, args @ ..] = words else { anyhow::bail!("arguments are missing") };
    let listen = text(listen)?.split(',').filter(|it| !it.is_empty());
    Ok(Supervised {
        program: program.clone(),
        args: args.to_vec(),
        stop_signal: text(stop_signal)?.parse()?,
        grace: Duration::from_millis(text(grace)?.parse()?),
        listen: listen.map(str::parse).collect::<Result<_, _>>()?,
    })
}

fn text(word: &OsStr) -> anyhow::Result<&str> {
    word.to_str().context("an argument is no text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_an_image_is_read_by_the_supervisor() {
        let listen = vec!["0.0.0.0:8080".parse().unwrap(), "[::]:9090".parse().unwrap()];
        let supervision = Supervision { stop_signal: 2, grace: Duration::from_millis(2500), listen: listen.clone() };
        let mut words: Vec<OsString> = supervision.entrypoint().into_iter().map(OsString::from).collect();
        words.extend(["/usr/local/bin/api", "--flag", ""].map(OsString::from));
        assert_eq!((words[0].to_str(), words[1].to_str()), (Some("/.stagecraft/supervisor"), Some(SUPERVISE)));
        let expected = Supervised {
            program: "/usr/local/bin/api".into(),
            args: vec!["--flag".into(), "".into()],
            stop_signal: 2,
            grace: Duration::from_millis(2500),
            listen,
        };
        assert_eq!(task(&words[2..]).unwrap(), expected);
        assert!(is_supervisor("/.stagecraft/supervisor __supervise 15 10000  /usr/local/bin/api"));
        assert!(is_supervisor("/proc/self/exe __start /usr/local/bin/api"));
        assert!(!is_supervisor("/usr/local/bin/api __supervise") && !is_supervisor(""));
    }

    #[test]
    fn other_arguments_are_not_its_own() {
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(run(&args(&["cargo-stagecraft", "dev"])).is_none() && run(&args(&["cargo-stagecraft"])).is_none());
        for words in [&[][..], &["15", "10000", ""], &["TERM", "10000", "", "x"], &["15", "10000", "8080", "x"]] {
            assert!(run(&args(&[&["x", SUPERVISE], words].concat())).unwrap().is_err(), "{words:?}");
        }
    }
}
