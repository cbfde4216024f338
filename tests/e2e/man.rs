//! The manual, as man and mandoc read it.

use std::fs;
use std::path::PathBuf;

use crate::support::stage::Stage;

on_both_pairs![man_can_render_the_pages, help_is_shown_by_man];

/// Neither formatter has anything to complain of.
fn man_can_render_the_pages(stage: &Stage) {
    let folder = stage.temp().join("man/man1");
    stage.tool(&["man", &folder.display().to_string()]).run().with(0);
    let pages: Vec<PathBuf> = fs::read_dir(&folder).expect("pages").map(|page| page.expect("a page").path()).collect();
    assert!(pages.len() > 10, "{pages:?}");
    for page in pages {
        let page = page.display().to_string();
        let ended = stage.program("mandoc", &["-Tlint", "-Wwarning", &page]).run();
        // What is made from the definition alone has no date.
        let complaints = ended.stdout.lines().filter(|line| !line.contains("WARNING: missing date"));
        assert_eq!(complaints.collect::<Vec<_>>(), [] as [&str; 0], "mandoc of {page}");
        let shown = stage.program("man", &["--warnings=w", "-l", &page]).env("MANWIDTH", "80").run().with(0);
        assert_eq!(shown.stderr, "", "man of {page}");
        assert!(shown.stdout.contains("EXAMPLES"), "{}", shown.stdout);
    }
    // `man cargo-stagecraft-dev` finds it below a folder of MANPATH.
    let found = stage.program("man", &["-w", "cargo-stagecraft-dev"]).env("MANPATH", stage.temp().join("man")).run();
    assert!(found.with(0).stdout.ends_with("man1/cargo-stagecraft-dev.1\n"));
}

/// As `cargo help build` does, by the man that is there; what cargo itself asks for when it is asked for help prints.
fn help_is_shown_by_man(stage: &Stage) {
    let run = stage.tool(&["help", "dev", "down"]).env("MANPAGER", "cat").env("MANWIDTH", "80").start_in_terminal();
    run.end().with(0).says("CARGO-STAGECRAFT-DEV-DOWN(1)").does_not_say("Usage:");
    let printed = stage.cargo(&["help", "stagecraft"]).start_in_terminal();
    printed.end().with(0).says("Usage:").says("cargo stagecraft").does_not_say("(1)");
}
