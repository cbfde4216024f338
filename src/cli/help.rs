//! What stands below the options in the help of each verb: examples, exit codes, and at the top files and environment.
//! The man pages are made from it, too: a section is a line that ends in a colon and the indented rows below it.

use crate::exit::Code;

/// A term, and what is said of it.
type Row<'a> = (&'a str, &'a str);

/// No line is longer: clap would go on at the very left where it breaks one of these.
const WIDTH: usize = 80;
/// Below this column there is enough space for what is said.
const WIDEST_TERM: usize = 43;

const STACK: &[Row<'_>] = &[
    ("cargo stagecraft init", "which programs can be services"),
    ("cargo stagecraft init --service api:8080", "begin a dev stack in Cargo.toml"),
    ("cargo stagecraft dev", "build, run; Ctrl+C takes it down"),
    ("cargo stagecraft dev --detach --wait", "return when every service is ready"),
    ("cargo stagecraft dev status", "how each service is"),
    ("cargo stagecraft dev logs -f api", "what one of them prints"),
    ("cargo stagecraft dev env", "where they can be reached"),
    ("cargo stagecraft dev down", "take it down, whoever started it"),
    ("cargo stagecraft doctor", "what is wrong, when nothing works"),
    ("cargo stagecraft help dev", "more about one command"),
];

const STACK_FILES: &[Row<'_>] = &[
    (
        "Cargo.toml",
        "tables [workspace.metadata.stagecraft.dev] and, where binaries of packages are services, \
         [package.metadata.stagecraft.dev] describe the stack",
    ),
    (
        ".stagecraft/dev/compose.yaml",
        "the Compose file of the stack: made from these tables or, where there are none, written by hand",
    ),
    (".stagecraft/dev/.env", "variables for the Compose file, read by Compose"),
];

const ENVIRONMENT: &[Row<'_>] = &[
    ("COMPOSE_PROJECT_NAME", "Compose project to use, unless --project-name is given"),
    ("DOCKER_HOST, DOCKER_CONTEXT", "the engine, as for docker"),
    ("STAGECRAFT_TIMEOUT", "as --timeout"),
    ("STAGECRAFT_TRAEFIK", "as --traefik and --no-traefik"),
    ("STAGECRAFT_WAIT", "as --wait"),
    ("STAGECRAFT_WAIT_TIMEOUT", "as --wait-timeout"),
    ("CARGO_TERM_QUIET", "as --quiet"),
    ("CARGO_TERM_VERBOSE", "as --verbose"),
    ("CARGO_TERM_COLOR", "when to use colour, unless --color is given"),
    ("CARGO_TERM_HYPERLINKS", "whether addresses are links"),
    ("NO_COLOR", "no colour, unless it is empty"),
    ("CI", "if set, containers get 5 seconds to stop after an interrupt"),
    ("GITHUB_ACTIONS", "if true, logs are folded and failures annotated"),
];

const DEV: &[Row<'_>] = &[
    ("cargo stagecraft dev", "in the foreground; Ctrl+C takes it down"),
    ("cargo stagecraft dev --detach --wait", "in the background; exit code 0 when every service is ready"),
    ("cargo stagecraft dev --dry-run", "print the commands that would run"),
    ("cargo stagecraft dev -- --build web", "only web and what it depends on, images built anew"),
    ("cargo stagecraft dev down", "take it down, whoever started it"),
];

const DOWN: &[Row<'_>] = &[
    ("cargo stagecraft dev down", "stop and remove containers and networks"),
    ("cargo stagecraft dev down --volumes", "also delete the named volumes"),
    ("cargo stagecraft dev down --images", "also delete the images that were built"),
    ("cargo stagecraft dev down --timeout 0", "at once"),
];

const DOWN_CODES: &[Row<'_>] = &[
    ("0", "taken down, or there was nothing"),
    ("2", "wrong usage"),
    ("3", "no workspace, no stack, or project of another checkout"),
    ("4", "engine unavailable: docker or Compose v2 missing, daemon not answering"),
    ("6", "teardown incomplete: what is left is listed, with the command that removes it"),
    ("128+n", Code::INTERRUPTED),
];

const STATUS: &[Row<'_>] = &[
    ("cargo stagecraft dev status", "a line for each container"),
    ("cargo stagecraft dev status && cargo test", "go on only if all services are ready"),
];

const STATUS_CODES: &[Row<'_>] = &[
    ("0", "all services are ready"),
    ("1", "some are not"),
    ("2", "wrong usage"),
    ("3", "nothing has been started, or there is no stack"),
    ("4", "engine unavailable"),
];

const LOGS: &[Row<'_>] = &[
    ("cargo stagecraft dev logs", "all that the services have printed"),
    ("cargo stagecraft dev logs -f -n 20 api", "the last lines of one, and those to come"),
];

const LOGS_CODES: &[Row<'_>] = &[
    ("2", "wrong usage, or no such service"),
    ("3", "nothing has been started, or there is no stack"),
    ("4", "engine unavailable"),
    ("else", "that of docker compose logs"),
];

const LIST: &[Row<'_>] = &[
    ("cargo stagecraft dev list", "every stack, and where it was started"),
    ("cargo stagecraft dev list --prune", "take down those of deleted worktrees"),
];

const LIST_CODES: &[Row<'_>] = &[
    ("0", "success"),
    ("2", "wrong usage"),
    ("3", "--prune, and the engine is not on this host"),
    ("4", "engine unavailable"),
    ("6", "teardown incomplete"),
    ("128+n", Code::INTERRUPTED),
];

const ENV: &[Row<'_>] = &[
    ("cargo stagecraft dev env", "lines like API_8080_ADDR=127.0.0.1:49153"),
    ("export $(cargo stagecraft dev env)", "for this shell"),
    ("cargo stagecraft dev env >> $GITHUB_ENV", "for the next steps of a job"),
];

const ENV_CODES: &[Row<'_>] = &[
    ("0", "success"),
    ("2", "wrong usage"),
    ("3", "nothing has been started, there is no stack, or two services make the same name"),
    ("4", "engine unavailable"),
];

const FILES: &[Row<'_>] = &[
    ("cargo stagecraft dev files", "make them, or bring them up to date"),
    ("cargo stagecraft dev files --check", "fail where they are not, for CI"),
];

const FILES_CODES: &[Row<'_>] = &[
    ("0", "the files are up to date"),
    ("1", "with --check: some are not"),
    ("2", "wrong usage"),
    ("3", "no stack is described, or a file is in the way"),
];

const INIT: &[Row<'_>] = &[
    ("cargo stagecraft init", "what can be a service"),
    ("cargo stagecraft init --service api:8080", "a service that listens at a port"),
    ("cargo stagecraft init --service worker", "one that does not"),
    ("cargo stagecraft init --service api:8080 --route", "one that is reached as http://api.localhost"),
];

const INIT_CODES: &[Row<'_>] =
    &[("0", "success"), ("2", "wrong usage"), ("3", "no workspace, no such binary, or it is a service already")];

const DOCTOR: &[Row<'_>] = &[
    ("cargo stagecraft doctor", "look at the machine and at this workspace"),
    ("cargo stagecraft doctor --verbose", "and show what is asked"),
];

const DOCTOR_CODES: &[Row<'_>] =
    &[("0", "nothing is wrong, but for warnings"), ("1", "something is"), ("2", "wrong usage")];

const COMPLETIONS: &[Row<'_>] = &[
    ("source <(cargo-stagecraft completions bash)", "in ~/.bashrc"),
    ("source <(cargo-stagecraft completions zsh)", "in ~/.zshrc, after compinit"),
    ("cargo-stagecraft completions fish | source", "in ~/.config/fish/config.fish"),
    ("eval (cargo-stagecraft completions elvish | slurp)", "in ~/.config/elvish/rc.elv"),
    ("cargo-stagecraft completions powershell | Out-String | Invoke-Expression", "in $PROFILE"),
];

const COMPLETIONS_CODES: &[Row<'_>] = &[("0", "success"), ("2", "wrong usage")];

const MAN: &[Row<'_>] = &[
    ("cargo stagecraft man ~/.cargo/share/man/man1", "where man looks if ~/.cargo/bin is on PATH"),
    ("man cargo-stagecraft-dev", "then read one"),
];

const MAN_CODES: &[Row<'_>] =
    &[("0", "the pages have been written"), ("1", "they cannot be written"), ("2", "wrong usage")];

/// Below the help of the program itself: all that a newcomer needs.
pub(super) fn stack() -> String {
    let files = ("Files, in the root of the workspace", STACK_FILES);
    with_all_codes(&[("Examples", STACK), files, ("Environment", ENVIRONMENT)])
}

pub(super) fn dev() -> String {
    let stack = "The stack is what .stagecraft/dev/compose.yaml in the workspace root describes. Where tables of \
                 Cargo.toml describe it, that file is made from them, and the binaries among its services are built \
                 first.";
    let settings = "Where an option has [env: ...] or [Cargo.toml: ...] it can be set by that variable, or by that key of \
                    the table [workspace.metadata.stagecraft]: the command line comes first, then the variable.";
    let paragraphs = [stack, settings].map(|words| wrapped(words, 0).join("\n") + "\n\n");
    paragraphs.concat() + &with_all_codes(&[("Examples", DEV)])
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
        verbs.filter(|verb| !verb.is_hide_set()).for_each(|verb| each_verb(verb, look));
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
    fn terms_are_in_a_column_and_what_is_said_of_them_is_wrapped_beside_it() {
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
