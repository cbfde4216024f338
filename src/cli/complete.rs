//! Finds the completions for the word at the cursor in the definition of the command line.
//!
//! clap_complete has an engine that does the same; it is three times as large as all of this, and its interface is not
//! promised to stay. The tests ask it too (`tests/it/completions.rs`): whatever it offers is offered here.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Arg, Command, ValueHint};
use crate::ops::{Candidate, CompleteOptions, Names, Offer, Selection};
use crate::workspace::ManifestOptions;

/// What may be asked of the words before the cursor, and the one at it, which is the last; without the program's name.
/// A word that makes no sense leads to fewer offers, never to an error: people are in the middle of typing.
pub(super) fn complete(mut command: Command, words: &[OsString]) -> CompleteOptions {
    command.build();
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let (current, mut before) = match words.split_last() {
        Some((current, before)) => (&**current, before),
        None => ("", &[][..]),
    };
    // As cargo calls it.
    if before.first().is_some_and(|word| word == "stagecraft") {
        before = &before[1..];
    }
    let mut line = Line { command: &command, pending: None, escaped: false, manifest_path: None };
    for word in before {
        line.read(word);
    }
    let manifest = ManifestOptions { path: line.manifest_path.take(), ..ManifestOptions::default() };
    let selection = Selection { manifest, project_name: None };
    CompleteOptions { selection, current: current.to_string(), offer: line.offer(current) }
}

/// What the words so far come to.
struct Line<'a> {
    /// The verb.
    command: &'a Command,
    /// The option whose value comes next.
    pending: Option<&'a Arg>,
    /// Whether `--` is behind us.
    escaped: bool,
    manifest_path: Option<PathBuf>,
}

impl<'a> Line<'a> {
    fn read(&mut self, word: &str) {
        if let Some(option) = self.pending.take() {
            self.note(option, word);
        } else if self.escaped {
            // One of the arguments of docker compose.
        } else if word == "--" {
            self.escaped = true;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            match (self.option(|option| option.get_long() == Some(name)), value) {
                (Some(option), Some(value)) => self.note(option, value),
                (option, _) => self.pending = option,
            }
        } else if let Some(flags) = word.strip_prefix('-') {
            // The first that takes a value has the rest of the word, if there is any.
            let option = |flag| self.option(|option| option.get_short() == Some(flag));
            let first = flags.char_indices().find_map(|(at, flag)| Some((at + flag.len_utf8(), option(flag)?)));
            self.pending = first.filter(|(end, _)| *end == flags.len()).map(|(_, option)| option);
        } else if let Some(verb) = self.command.find_subcommand(word) {
            self.command = verb;
        }
    }

    /// The option that takes a value and is the one.
    fn option(&self, is_it: impl Fn(&Arg) -> bool) -> Option<&'a Arg> {
        self.command.get_arguments().find(|arg| arg.get_action().takes_values() && is_it(arg))
    }

    fn note(&mut self, option: &Arg, value: &str) {
        if option.get_id() == "manifest_path" {
            self.manifest_path = Some(in_home(value));
        }
    }

    fn offer(&self, current: &str) -> Offer {
        if let Some(option) = self.pending {
            return self.values(option, "");
        }
        if self.escaped {
            return self.positional();
        }
        if let Some((name, _)) = current.strip_prefix("--").and_then(|long| long.split_once('=')) {
            let option = self.option(|option| option.get_long() == Some(name));
            return option.map_or_else(Offer::default, |option| self.values(option, &format!("--{name}=")));
        }
        if current.starts_with('-') {
            return Offer { candidates: self.flags(), ..Offer::default() };
        }
        let verbs = self.command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let verbs = verbs.map(|verb| candidate(verb.get_name(), verb.get_about()));
        let mut offer = if self.command.has_subcommands() { Offer::default() } else { self.positional() };
        offer.candidates.extend(verbs);
        offer
    }

    fn flags(&self) -> Vec<Candidate> {
        let visible = self.command.get_arguments().filter(|arg| !arg.is_hide_set());
        let flags = visible.flat_map(|arg| {
            let long = arg.get_long().map(|long| format!("--{long}"));
            let short = arg.get_short().map(|short| format!("-{short}"));
            long.into_iter().chain(short).map(|flag| candidate(&flag, arg.get_help()))
        });
        flags.collect()
    }

    fn positional(&self) -> Offer {
        self.command.get_positionals().next().map_or_else(Offer::default, |arg| self.values(arg, ""))
    }

    /// The values of an argument, each with what has to stand before it.
    fn values(&self, arg: &Arg, front: &str) -> Offer {
        let possible = arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set());
        let names = match (self.command.get_name(), arg.get_id().as_str()) {
            ("logs" | "run", "services") | ("dev", "args") => Some(Names::Services),
            ("init", "services") => Some(Names::Packages),
            _ => None,
        };
        Offer {
            candidates: possible.map(|it| candidate(&format!("{front}{}", it.get_name()), it.get_help())).collect(),
            names,
            front: front.to_string(),
            files: matches!(arg.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath),
        }
    }
}

fn candidate(value: &str, help: Option<&impl ToString>) -> Candidate {
    Candidate { value: value.to_string(), help: help.map(ToString::to_string).unwrap_or_default() }
}

/// The shell has not replaced `~` yet in a word that is still being typed.
fn in_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}
