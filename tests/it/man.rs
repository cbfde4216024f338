//! The man pages in `man/` are made from the definition of the command line by clap_mangen. `BLESS=1 cargo test --test it
//! man` makes them anew: read the diff before it is committed.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cargo_stagecraft::internals::cli;
use cargo_stagecraft::internals::ops::PAGES;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::support::Sandbox;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/man"))
}

/// What stands below the options in the help of a verb, by section; the first may have no title.
fn sections(help: &str) -> Vec<(String, Vec<&str>)> {
    let mut sections = vec![(String::new(), Vec::new())];
    for line in help.lines().filter(|line| !line.is_empty()) {
        match line.strip_suffix(':').filter(|_| !line.starts_with(' ')) {
            Some(title) => sections.push((title.to_string(), Vec::new())),
            None => sections.last_mut().unwrap().1.push(line),
        }
    }
    sections
}

/// The rows of a section, each a term and what is said of it.
fn rows(lines: &[&str]) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = Vec::new();
    for line in lines {
        let (term, words) = match line.strip_prefix("   ") {
            Some(more) => ("", more),
            None => line.trim_start().split_once("  ").unwrap_or((line.trim_start(), "")),
        };
        if !term.is_empty() {
            rows.push((term.to_string(), String::new()));
        }
        let said = &mut rows.last_mut().expect("a term").1;
        said.push_str(if said.is_empty() || words.is_empty() { "" } else { " " });
        said.push_str(words.trim());
    }
    rows
}

/// The heading that a manual has for a section of the help.
fn heading(title: &str) -> String {
    match title.split(',').next().unwrap() {
        "Exit codes" => "EXIT STATUS".to_string(),
        title => title.to_uppercase(),
    }
}

fn section(title: &str, lines: &[&str], page: &mut Vec<u8>) -> io::Result<()> {
    let mut roff = Roff::default();
    roff.control("SH", [heading(title).as_str()]);
    for (term, words) in rows(lines) {
        roff.control("TP", []).text([bold(term)]).text([roman(words)]);
    }
    roff.to_writer(page)
}

/// A page as manuals have it: what goes in, what it does, how it ends, what it depends on, how it is used, what else
/// there is.
fn page(command: &clap::Command, stack: &clap::Command, name: &str, others: &[String]) -> io::Result<Vec<u8>> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let stack = stack.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut about = sections(&help);
    let (_, words) = about.remove(0);
    // What the whole program depends on concerns its main verb as much.
    if name == "cargo-stagecraft-dev" {
        about.extend(
            sections(&stack).into_iter().filter(|(title, _)| ["FILES", "ENVIRONMENT"].contains(&&*heading(title))),
        );
    }
    let order = ["EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES"];
    about.sort_by_key(|(title, _)| order.iter().position(|known| *known == heading(title)).expect("a known section"));

    let mut words: Vec<String> = vec![words.join(" ")];
    if name != "cargo-stagecraft" {
        words.push("The options that all commands have are described in cargo-stagecraft(1).".to_string());
    }
    words.retain(|paragraph| !paragraph.is_empty());
    let man = Man::new(for_manual(command, name, &words));
    let mut page = Vec::new();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for (title, lines) in &about {
        section(title, lines, &mut page)?;
    }
    let is_related = |other: &&String| *other != name && (other.starts_with(name) || name.starts_with(other.as_str()));
    let related: Vec<String> = others.iter().filter(is_related).map(|other| format!("{other}(1)")).collect();
    let mut roff = Roff::default();
    roff.control("SH", ["SEE ALSO"]).text([roman(related.join(", "))]);
    roff.to_writer(&mut page)?;
    // Each part brings this along; once is enough.
    let page = String::from_utf8(page).expect("a page is text").replace(APOSTROPHES, "");
    let head = format!(".TH {} 1 \"\" \"cargo-stagecraft {}\"\n", name.to_uppercase(), env!("CARGO_PKG_VERSION"));
    Ok(format!("{APOSTROPHES}{head}{page}").into_bytes())
}

/// What roff writes at the beginning.
const APOSTROPHES: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// The definition of a verb as its page shows it: named as the page, and short.
fn for_manual(command: &clap::Command, name: &str, words: &[String]) -> clap::Command {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let about: Vec<String> = [format!("{about}.")].into_iter().chain(words.iter().cloned()).collect();
    let is_top = name == "cargo-stagecraft";
    let name: &'static str = name.to_string().leak();
    let command = command.clone().name(name).after_help("").long_about(about.join("\n\n"));
    command.mut_args(|arg| {
        let is_common = arg.get_help_heading() == Some("Common options");
        let values = arg.get_possible_values();
        let values: Vec<&str> = values.iter().filter(|it| !it.is_hide_set()).map(|it| it.get_name()).collect();
        let arg = match arg.get_help() {
            Some(help) if !values.is_empty() => {
                let help = format!("{help} [possible values: {}]", values.join(", "));
                arg.hide_possible_values(true).help(help)
            }
            _ => arg,
        };
        if is_common && !is_top { arg.hide(true) } else { arg }
    })
}

/// Every verb that people see, by the name of its page.
fn verbs(command: &clap::Command, name: &str) -> Vec<(String, clap::Command)> {
    let below = command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help");
    let below = below.flat_map(|verb| verbs(verb, &format!("{name}-{}", verb.get_name())));
    [(name.to_string(), command.clone())].into_iter().chain(below).collect()
}

#[test]
fn the_man_pages_are_up_to_date() {
    let mut stack = cli::command();
    stack.build();
    let verbs = verbs(&stack, "cargo-stagecraft");
    let names: Vec<String> = verbs.iter().map(|(name, _)| name.clone()).collect();
    let mut wrong = Vec::new();
    for (name, command) in &verbs {
        let page = page(command, &stack, name, &names).unwrap();
        let path = folder().join(format!("{name}.1"));
        if std::env::var_os("BLESS").is_some_and(|bless| bless == "1") {
            fs::write(&path, &page).unwrap();
        }
        if fs::read(&path).ok() != Some(page) {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}: `BLESS=1` makes these pages anew");
    let mut files: Vec<String> = names.iter().map(|name| format!("{name}.1")).collect();
    let mut embedded: Vec<&str> = PAGES.iter().map(|(name, _)| *name).collect();
    files.sort();
    embedded.sort_unstable();
    assert_eq!(embedded, files, "src/ops/man.rs has others");
    let there = fs::read_dir(folder()).unwrap().count();
    assert_eq!(there, files.len(), "man/ has others");
}

#[test]
fn every_page_has_examples_and_exit_codes_and_the_main_ones_files_and_environment() {
    for (name, page) in PAGES {
        let mut needed = vec!["NAME", "SYNOPSIS", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"];
        if ["cargo-stagecraft.1", "cargo-stagecraft-dev.1"].contains(name) {
            needed.extend(["FILES", "ENVIRONMENT"]);
        }
        for heading in needed {
            let plain = page.contains(&format!(".SH {heading}\n"));
            assert!(plain || page.contains(&format!(".SH \"{heading}\"\n")), "{name} has no {heading}:\n{page}");
        }
    }
}

#[test]
fn man_writes_the_pages_into_a_folder_that_it_makes() {
    let sandbox = Sandbox::new();
    let dir = sandbox.outside().join("share/man/man1");
    let finished = sandbox.stagecraft(["man", "share/man/man1"]).cwd(sandbox.outside()).run().exits(0);
    finished.says("     Written ").says(" man pages to [OUTSIDE]/share/man/man1\n");
    for (name, page) in PAGES {
        assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), *page);
    }
    assert!(sandbox.engine.calls().is_empty());
}

#[test]
fn a_folder_for_the_pages_that_cannot_be_made_is_exit_1() {
    let sandbox = Sandbox::new();
    let finished = sandbox.run(["man", "src/lib.rs"]).exits(1);
    finished.says("error: cannot create the directory [ROOT]/src/lib.rs\n");
}

/// Puts a `man` on PATH.
fn install_man(sandbox: &Sandbox, script: &str) {
    let man = sandbox.outside().join("bin/man");
    fs::write(&man, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(man, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn help_shows_the_page_at_a_terminal_and_leaves_no_file() {
    let sandbox = Sandbox::new();
    let shown = sandbox.outside().join("shown");
    install_man(&sandbox, &format!("cat \"$@\" > '{}'; echo TURN THE PAGE", shown.display()));
    for (words, name) in [
        (&["help"][..], "cargo-stagecraft.1"),
        (&["stagecraft", "help", "doctor"], "cargo-stagecraft-doctor.1"),
        (&["help", "dev", "down"], "cargo-stagecraft-dev-down.1"),
        (&["dev", "help", "down"], "cargo-stagecraft-dev-down.1"),
        (&["--project-name", "init", "help", "dev"], "cargo-stagecraft-dev.1"),
    ] {
        let finished = sandbox.stagecraft(words).in_terminal().wait().exits(0);
        finished.says("TURN THE PAGE").does_not_say("Usage:");
        let page = PAGES.iter().find(|(page, _)| *page == name).unwrap().1;
        assert_eq!(fs::read_to_string(&shown).unwrap(), page, "{words:?}");
    }
}

#[test]
fn help_options_print_without_man() {
    let sandbox = Sandbox::new();
    install_man(&sandbox, "echo a page");
    for words in [&["--help"][..], &["-h"], &["dev", "--help"], &["dev", "-qh"], &["help", "help"]] {
        sandbox.stagecraft(words).in_terminal().wait().exits(0).says("Usage:").does_not_say("a page");
    }
    let (printed, asked) = (sandbox.run(["help", "dev"]).exits(0), sandbox.run(["dev", "--help"]).exits(0));
    assert_eq!(printed.stdout(), asked.stdout());
    sandbox.stagecraft(["help"]).env("TERM", "dumb").in_terminal().wait().exits(0).says("Usage:");
    sandbox.stagecraft(["help", "nothing"]).in_terminal().wait().exits(2).does_not_say("a page");
}

#[test]
fn help_is_printed_where_man_does_not_show_the_page() {
    let sandbox = Sandbox::new();
    install_man(&sandbox, "echo 'No manual entry' >&2; exit 16");
    sandbox.stagecraft(["help", "dev"]).in_terminal().wait().exits(0).says("No manual").says("Usage:");
    let nothing = sandbox.outside().join("nothing");
    let without_man = sandbox.stagecraft(["help", "dev"]).env("PATH", nothing).in_terminal();
    without_man.wait().exits(0).says("Usage:");
}

#[test]
fn ctrl_c_belongs_to_the_pager() {
    let sandbox = Sandbox::new();
    install_man(&sandbox, "trap 'echo to the pager; exit 2' INT; cat > /dev/null; echo turn; read -r key < /dev/tty");
    let terminal = sandbox.stagecraft(["help"]).in_terminal();
    terminal.wait_for_text("turn");
    terminal.press_ctrl_c();
    terminal.wait().exits(0).says("to the pager").does_not_say("Usage:");
}
