//! Color.

use super::*;

/// Whether a note is painted, with these arguments and variables.
fn is_painted(args: &[&str], variables: &[(&str, &str)], in_terminal: bool) -> bool {
    let sandbox = Sandbox::new();
    let mut program = sandbox.stagecraft(["dev", "--dry-run", "--no-traefik"].iter().chain(args));
    for (key, value) in variables {
        program = program.env(key, value);
    }
    let finished = if in_terminal { program.in_terminal().wait() } else { program.run() }.exits(0);
    let finished = finished.says("note");
    finished.stderr.contains("\x1b[")
}

#[test]
fn colour_follows_the_flag_then_cargo_term_color_then_no_color_then_the_terminal() {
    type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], bool, bool);
    const CARGO: &str = "CARGO_TERM_COLOR";
    let table: [Case; 15] = [
        // flag, variables, in a terminal, painted
        (&[], &[], true, true),
        (&[], &[], false, false),
        (&[], &[("NO_COLOR", "1")], true, false),
        (&[], &[("NO_COLOR", "")], true, true),
        (&[], &[(CARGO, "always")], false, true),
        (&[], &[(CARGO, "always"), ("NO_COLOR", "1")], false, true),
        (&[], &[(CARGO, "never")], true, false),
        (&[], &[(CARGO, "auto"), ("NO_COLOR", "1")], true, false),
        (&[], &[(CARGO, "auto")], true, true),
        (&["--color", "always"], &[], false, true),
        (&["--color", "always"], &[(CARGO, "never"), ("NO_COLOR", "1")], false, true),
        (&["--color", "never"], &[], true, false),
        (&["--color", "never"], &[(CARGO, "always")], true, false),
        (&["--color", "auto"], &[(CARGO, "never")], true, true),
        (&["--color", "auto"], &[(CARGO, "always")], false, false),
    ];
    for (args, variables, in_terminal, painted) in table {
        let seen = is_painted(args, variables, in_terminal);
        assert_eq!(seen, painted, "{args:?} {variables:?}, terminal: {in_terminal}");
    }
}

#[test]
fn the_lines_of_a_dry_run_are_never_painted() {
    let finished = Sandbox::new().run(["dev", "--dry-run", "--color", "always"]).exits(0);
    assert_eq!(finished.stdout(), format!("{UP}\n{DOWN}\n"));
}

#[test]
fn command_lines_are_shown_in_colour() {
    let finished = Sandbox::new().run(["dev", "--dry-run", "-v", "--color", "always"]).exits(0);
    let line = finished.stderr.lines().find(|line| line.contains(" config ")).expect("the line is echoed");
    assert!(line.starts_with("\x1b[") && line.ends_with("m"), "{line:?}");
}
