//! The part of each command's help below the options: examples, exit codes, and at the top level files and environment variables.
//! The man pages are generated from it, too: a section is a line that ends in a colon and the indented rows below it.

use clap::{Arg, Command};

use crate::exit::Code;

/// A term and its description.
type Row<'a> = (&'a str, &'a str);

/// The maximum line length. Clap would continue a longer line in the first column.
const WIDTH: usize = 80;
/// A wider term gets a line of its own.
const WIDEST_TERM: usize = 43;

/// Arguments that the brief help leaves out. Not by clap's `hide_short_help`: with it, `--help` puts each description on a line of its own.
const NOT_BRIEF: [&str; 15] = [
    "args",
    "isolated",
    "keep",
    "traefik",
    "no_traefik",
    "no_wait",
    "no_watch",
    "wait_timeout",
    "color",
    "message_format",
    "manifest_path",
    "locked",
    "offline",
    "frozen",
    "project_name",
];

/// The definition for `-h`: at most one screen of 24 lines, with the options that are needed every day.
pub(super) fn brief(command: Command) -> Command {
    let arg = |arg: Arg| {
        let text = arg.get_help().map(ToString::to_string).unwrap_or_default();
        // Without explanations, defaults, and other places where it can be set.
        let end = [" [", " (", ", ", "; "].iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
        match arg.get_id().as_str() {
            id if NOT_BRIEF.contains(&id) => arg.hide(true),
            "help" => arg.help("Print this summary; --help prints everything"),
            _ => arg.help(text[..end].to_string()).hide_env(true),
        }
    };
    let is_top = command.get_bin_name().is_none_or(|name| !name.contains("stagecraft "));
    let subcommand = |subcommand: Command| {
        let hidden = subcommand.is_hide_set() || (!is_top && subcommand.get_name() == "help");
        brief(subcommand.hide(hidden))
    };
    let command = match command.get_name() {
        // Clap would leave out the hidden arguments.
        "dev" => command.override_usage("cargo stagecraft dev [OPTIONS] [-- <ARGS>...] [COMMAND]"),
        _ => command,
    };
    command.after_help("").mut_args(arg).mut_subcommands(subcommand)
}

const STACK: &[Row<'_>] = &[
    ("cargo stagecraft init", "list possible services"),
    ("cargo stagecraft init --service api:8080", "add one to Cargo.toml"),
    ("cargo stagecraft dev", "start; Ctrl+C stops and removes it"),
    ("cargo stagecraft dev --detach --wait", "return when all services are ready"),
    ("cargo stagecraft dev run -- cargo test", "run the tests with a stack of their own"),
    ("cargo stagecraft dev status", "show the state of each service"),
    ("cargo stagecraft dev logs -f api", "follow the logs of one service"),
    ("cargo stagecraft dev env", "print their addresses"),
    ("cargo stagecraft dev down", "stop and remove the stack"),
    ("cargo stagecraft doctor", "check the environment"),
    ("cargo stagecraft help dev", "show the help of one command"),
];

const STACK_FILES: &[Row<'_>] = &[
    (
        "Cargo.toml",
        "describes the stack in [workspace.metadata.stagecraft.dev], and services built from packages in \
         [package.metadata.stagecraft.dev]",
    ),
    (
        ".stagecraft/dev/compose.yaml",
        "the Compose file of the stack: generated from these tables, or written by hand if there are none",
    ),
    (".stagecraft/dev/.env", "variables for the Compose file, read by Compose"),
];

const ENVIRONMENT: &[Row<'_>] = &[
    ("COMPOSE_PROJECT_NAME", "Compose project name, unless --project-name is given"),
    ("DOCKER_HOST, DOCKER_CONTEXT", "the engine to use, as for docker"),
    ("STAGECRAFT_TIMEOUT", "same as --timeout"),
    ("STAGECRAFT_TRAEFIK", "same as --traefik (true) and --no-traefik (false)"),
    ("STAGECRAFT_WAIT", "same as --wait (true) and --no-wait (false)"),
    ("STAGECRAFT_WAIT_FOR_PORTS", "if false, --wait does not wait for published ports"),
    ("STAGECRAFT_WAIT_TIMEOUT", "same as --wait-timeout"),
    ("CARGO_TERM_QUIET", "same as --quiet"),
    ("CARGO_TERM_VERBOSE", "same as --verbose"),
    ("CARGO_TERM_COLOR", "when to use color, unless --color is given"),
    ("CARGO_TERM_HYPERLINKS", "whether addresses are printed as links"),
    ("NO_COLOR", "if set and not empty, no color"),
    ("CI", "if set, containers get 5 seconds to stop after an interrupt"),
    ("GITHUB_ACTIONS", "if true, logs are folded and failures annotated"),
];

const DEV: &[Row<'_>] = &[
    ("cargo stagecraft dev", "run in the foreground; Ctrl+C stops and removes it"),
    ("cargo stagecraft dev --detach --wait", "run in the background; return when all services are ready"),
    ("cargo stagecraft dev --dry-run", "print the commands that would run"),
    ("cargo stagecraft dev -- --build web", "start web and its dependencies; rebuild the images"),
    ("cargo stagecraft dev down", "stop and remove the stack"),
];

const RUN: &[Row<'_>] = &[
    ("cargo stagecraft dev run -- cargo test", "run the tests with a stack of their own"),
    ("cargo stagecraft dev run --service db -- sqlx migrate run", "start only db and what it depends on"),
    ("cargo stagecraft dev run --reuse -- cargo run -p seed", "use the stack that runs"),
];

const DOWN: &[Row<'_>] = &[
    ("cargo stagecraft dev down", "stop and remove containers and networks"),
    ("cargo stagecraft dev down --volumes", "also delete the named volumes"),
    ("cargo stagecraft dev down --images", "also delete the images built for the stack"),
    ("cargo stagecraft dev down --timeout 0", "kill the containers at once"),
];

const DOWN_CODES: &[Row<'_>] = &[
    ("0", "removed, or nothing to remove"),
    ("2", "wrong usage"),
    ("3", "no workspace, no stack, or the project belongs to another checkout"),
    ("4", "engine unavailable: docker or Compose v2 missing, daemon not answering"),
    ("6", "teardown incomplete; the leftovers are listed with the command that removes them"),
    ("128+n", Code::INTERRUPTED),
];

const STATUS: &[Row<'_>] = &[
    ("cargo stagecraft dev status", "print one line per container"),
    ("cargo stagecraft dev status && cargo test", "continue only if all services are ready"),
];

const STATUS_CODES: &[Row<'_>] = &[
    ("0", "all services are ready"),
    ("1", "some services are not ready"),
    ("2", "wrong usage"),
    ("3", "the stack has not been started, or there is none"),
    ("4", "engine unavailable"),
];

const LOGS: &[Row<'_>] = &[
    ("cargo stagecraft dev logs", "print the logs of all services"),
    ("cargo stagecraft dev logs -f -n 20 api", "print the last 20 lines of api and follow"),
];

const LOGS_CODES: &[Row<'_>] = &[
    ("2", "wrong usage, or no such service"),
    ("3", "the stack has not been started, or there is none"),
    ("4", "engine unavailable"),
    ("else", "the exit code of docker compose logs"),
];

const LIST: &[Row<'_>] = &[
    ("cargo stagecraft dev list", "list every stack and its workspace"),
    ("cargo stagecraft dev list --prune", "remove those of deleted workspaces"),
];

const LIST_CODES: &[Row<'_>] = &[
    ("0", "success"),
    ("2", "wrong usage"),
    ("3", "--prune with an engine on another host"),
    ("4", "engine unavailable"),
    ("6", "teardown incomplete"),
    ("128+n", Code::INTERRUPTED),
];

const ENV: &[Row<'_>] = &[
    ("cargo stagecraft dev env", "print lines like API_8080_ADDR=127.0.0.1:49153"),
    ("export $(cargo stagecraft dev env)", "set them in this shell"),
    ("cargo stagecraft dev env >> $GITHUB_ENV", "set them for the next steps of a job"),
    ("cargo stagecraft dev env --write .env", "keep them in a file for sqlx and rust-analyzer"),
];

const ENV_CODES: &[Row<'_>] = &[
    ("0", "success"),
    ("1", "with --write: the file cannot be written"),
    ("2", "wrong usage"),
    (
        "3",
        "the stack has not been started, there is none, two services have the same variable name, or FILE cannot be updated",
    ),
    ("4", "engine unavailable"),
];

const FILES: &[Row<'_>] = &[
    ("cargo stagecraft dev files", "generate or update the files"),
    ("cargo stagecraft dev files --check", "fail if they are out of date (for CI)"),
];

const FILES_CODES: &[Row<'_>] = &[
    ("0", "the files are up to date"),
    ("1", "with --check: some files are out of date"),
    ("2", "wrong usage"),
    ("3", "no stack in Cargo.toml, or a file would be overwritten"),
];

const INIT: &[Row<'_>] = &[
    ("cargo stagecraft init", "list possible services"),
    ("cargo stagecraft init --service api:8080", "add a service that listens on a port"),
    ("cargo stagecraft init --service worker", "add a service without a port"),
    ("cargo stagecraft init --service api:8080 --route", "add one at http://api.localhost"),
];

const INIT_CODES: &[Row<'_>] =
    &[("0", "success"), ("2", "wrong usage"), ("3", "no workspace, no such binary, or already a service")];

const DOCTOR: &[Row<'_>] = &[
    ("cargo stagecraft doctor", "check this machine and this workspace"),
    ("cargo stagecraft doctor --verbose", "also print the commands that it runs"),
];

const DOCTOR_CODES: &[Row<'_>] =
    &[("0", "no errors (there may be warnings)"), ("1", "errors were found"), ("2", "wrong usage")];

const COMPLETIONS: &[Row<'_>] = &[
    ("source <(cargo-stagecraft completions bash)", "in ~/.bashrc"),
    ("source <(cargo-stagecraft completions zsh)", "in ~/.zshrc, after compinit"),
    ("cargo-stagecraft completions fish | source", "in ~/.config/fish/config.fish"),
    ("eval (cargo-stagecraft completions elvish | slurp)", "in ~/.config/elvish/rc.elv"),
    ("cargo-stagecraft completions powershell | Out-String | Invoke-Expression", "in $PROFILE"),
];

const COMPLETIONS_CODES: &[Row<'_>] = &[("0", "success"), ("2", "wrong usage")];

const MAN: &[Row<'_>] = &[
    ("cargo stagecraft man ~/.cargo/share/man/man1", "man finds them there if ~/.cargo/bin is on PATH"),
    ("man cargo-stagecraft-dev", "read a page"),
];

const MAN_CODES: &[Row<'_>] =
    &[("0", "the pages were written"), ("1", "the pages cannot be written"), ("2", "wrong usage")];

/// For the help of the program itself.
pub(super) fn stack() -> String {
    let files = ("Files, in the root of the workspace", STACK_FILES);
    with_all_codes(&[("Examples", STACK), files, ("Environment", ENVIRONMENT)])
}

pub(super) fn dev() -> String {
    let stack = "The stack is described by .stagecraft/dev/compose.yaml in the workspace root. If Cargo.toml describes \
                 a stack, this file is generated from it, and the services' binaries are built first.";
    let settings = "Options marked [env: ...] or [Cargo.toml: ...] can also be set by that environment variable, or by that \
                    key of [workspace.metadata.stagecraft]. Flags override environment variables, which override \
                    Cargo.toml.";
    let paragraphs = [stack, settings].map(|words| wrapped(words, 0).join("\n") + "\n\n");
    paragraphs.concat() + &with_all_codes(&[("Examples", DEV)])
}

pub(super) fn run() -> String {
    let numbers = Code::OF_RUN.map(|(code, _)| code.number().to_string());
    let mut codes: Vec<Row<'_>> = vec![("2", "wrong usage")];
    codes.extend(numbers.iter().zip(Code::OF_RUN).map(|(it, (_, words))| (&**it, words)));
    codes.push(("128+n", "interrupted by signal n before the command was run, and torn down"));
    codes.push(("else", "that of the command, 128+n if signal n has ended it"));
    with_codes(RUN, &codes)
}

pub(super) fn down() -> String {
    with_codes(DOWN, DOWN_CODES)
}

pub(super) fn status() -> String {
    with_codes(STATUS, STATUS_CODES)
}

pub(super) fn logs() -> String {
    with_codes(LOGS, LOGS_CODES)
}

pub(super) fn list() -> String {
    with_codes(LIST, LIST_CODES)
}

pub(super) fn env() -> String {
    with_codes(ENV, ENV_CODES)
}

pub(super) fn files() -> String {
    with_codes(FILES, FILES_CODES)
}

pub(super) fn init() -> String {
    with_codes(INIT, INIT_CODES)
}

pub(super) fn doctor() -> String {
    with_codes(DOCTOR, DOCTOR_CODES)
}

pub(super) fn completions() -> String {
    with_codes(COMPLETIONS, COMPLETIONS_CODES)
}

pub(super) fn man() -> String {
    with_codes(MAN, MAN_CODES)
}

fn with_codes(examples: &[Row<'_>], codes: &[Row<'_>]) -> String {
    text(&[("Examples", examples), ("Exit codes", codes)])
}

fn with_all_codes(sections: &[(&str, &[Row<'_>])]) -> String {
    let numbers = Code::TABLE.map(|(code, _)| code.number().to_string());
    let mut codes: Vec<Row<'_>> = numbers.iter().zip(Code::TABLE).map(|(it, (_, words))| (&**it, words)).collect();
    codes.push(("128+n", Code::INTERRUPTED));
    text(&[sections, &[("Exit codes", &codes)]].concat())
}

fn text(sections: &[(&str, &[Row<'_>])]) -> String {
    let sections = sections.iter().map(|(title, rows)| format!("{title}:\n{}", columns(rows)));
    sections.collect::<Vec<_>>().join("\n")
}

/// Terms on the left; a wide one has a line of its own.
fn columns(rows: &[Row<'_>]) -> String {
    let widths = rows.iter().map(|(term, _)| term.len()).filter(|width| *width <= WIDEST_TERM);
    let indent = 2 + widths.max().unwrap_or(0) + 2;
    let mut text = String::new();
    for (term, words) in rows {
        let mut left = format!("  {term}");
        if left.len() + 2 > indent {
            text += &format!("{left}\n");
            left.clear();
        }
        for line in wrapped(words, indent) {
            text += &format!("{left:indent$}{line}\n");
            left.clear();
        }
    }
    text
}

/// The lines of a text that begins at this column.
fn wrapped(words: &str, indent: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words.split(' ') {
        let line = lines.last().map_or(0, String::len);
        if line > 0 && indent + line + 1 + word.len() > WIDTH {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            let gap = if line.is_empty() { "" } else { " " };
            *line += gap;
            *line += word;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::{Command, command};
    use super::*;

    fn each_verb(command: &Command, look: &impl Fn(&str, &str)) {
        let below = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        look(command.get_name(), &below);
        let verbs = command.get_subcommands();
        verbs.filter(|verb| !verb.is_hide_set() && verb.get_name() != "help").for_each(|verb| each_verb(verb, look));
    }

    #[test]
    fn each_verb_has_examples_and_its_exit_codes_and_no_line_is_too_long() {
        each_verb(&command(), &|verb, below| {
            for title in ["Examples:\n", "Exit codes:\n"] {
                assert!(below.contains(title), "{verb} has no {title}");
            }
            for line in below.lines() {
                assert!(line.len() <= WIDTH && line == line.trim_end(), "{verb}: `{line}`");
            }
        });
    }

    #[test]
    fn help_tables_are_wrapped_in_columns() {
        let words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
        let wide = "w".repeat(WIDEST_TERM + 1);
        let text = columns(&[("a", words), ("long", "short"), (&wide, "below")]);
        let expected = format!(
            "  a     one two three four five six seven eight nine ten eleven twelve thirteen\n        fourteen\n  long  \
             short\n  {wide}\n        below\n"
        );
        assert_eq!(text, expected);
    }
}
