use std::time::Duration;

use super::*;
use std::path::PathBuf;

use crate::compose::{Attach, Images, Logs, Traefik, Volumes};
use crate::devfile::Reached;
use crate::ops::NewService;
use crate::reporter::{MessageFormat, Verbosity};
use crate::session::OnEnd;

fn parsed(line: &str) -> Result<Request, clap::Error> {
    parse(line.split(' ').map(OsString::from))
}

fn dev(line: &str) -> DevOptions {
    match parsed(line).unwrap().verb {
        Verb::Dev(options) => options,
        verb => panic!("{line} is {verb:?}"),
    }
}

#[test]
fn the_definition_is_sound() {
    command().debug_assert();
}

#[test]
fn cargo_and_the_user_may_both_call_it() {
    assert_eq!(dev("cargo-stagecraft stagecraft dev --detach").attach, Attach::Detached);
    assert_eq!(dev("cargo-stagecraft dev").attach, Attach::Foreground);
}

#[test]
fn flags_become_policies() {
    let options = dev("x dev --keep --no-traefik --timeout 7 --dry-run --project-name p --manifest-path M -- a -b");
    assert_eq!(options.settings.traefik, Some(Traefik::Off));
    assert_eq!(options.on_end, OnEnd::Keep);
    assert_eq!(options.settings.timeout, Some(7));
    assert!(options.dry_run);
    assert_eq!(options.args, ["a", "-b"]);
    assert_eq!(options.selection.project_name.unwrap().as_str(), "p");
    assert_eq!(options.selection.manifest.path.unwrap(), PathBuf::from("M"));
}

#[test]
fn options_that_both_verbs_know_may_stand_before_and_after_down() {
    for line in ["x dev down --timeout 3 --volumes --images -v", "x -v dev --timeout 3 down --images --volumes"] {
        let request = parsed(line).unwrap();
        assert_eq!(request.shell.verbosity, Verbosity::Verbose);
        let Verb::Down(options) = request.verb else { panic!("{line} is no down") };
        assert_eq!(options.timeout, Some(3));
        assert_eq!((options.volumes, options.images), (Volumes::Remove, Images::Remove));
    }
}

#[test]
fn a_wait_has_a_time() {
    let wait = |line: &str| dev(line).settings.wait();
    assert_eq!(wait("x dev -d"), None);
    assert_eq!(wait("x dev -d --wait"), Some(Duration::from_secs(120)));
    assert_eq!(wait("x dev --wait --wait-timeout 3"), Some(Duration::from_secs(3)));
    assert_eq!(wait("x dev --wait-timeout 3"), Some(Duration::from_secs(3)), "who says how long wants to wait");
}

#[test]
fn of_two_flags_that_contradict_each_other_the_last_one_counts() {
    let settings = |line: &str| dev(line).settings;
    assert_eq!(settings("x dev --wait --no-wait").wait, Some(false));
    assert_eq!(settings("x dev --no-wait --wait").wait, Some(true));
    assert_eq!(settings("x dev --traefik --no-traefik").traefik, Some(Traefik::Off));
    assert_eq!(settings("x dev --no-traefik --traefik").traefik, Some(Traefik::On));
}

#[test]
fn locked_offline_and_frozen_are_passed_by_every_command() {
    let flags = |line: &str| dev(line).selection.manifest.flags;
    assert!(flags("x dev").is_empty());
    assert_eq!(flags("x dev --locked --offline"), ["--locked", "--offline"]);
    let Verb::Down(options) = parsed("x dev --frozen down").unwrap().verb else { panic!("no down") };
    assert_eq!(options.selection.manifest.flags, ["--frozen"]);
}

#[test]
fn each_verb_has_its_options() {
    let verb = |line: &str| parsed(line).unwrap();
    assert_eq!(verb("x dev status --message-format json").shell.format, MessageFormat::Json);
    let Verb::Logs(options) = verb("x dev logs -f --tail 5 web db").verb else { panic!("no logs") };
    let services = ["web", "db"].map(str::to_string).to_vec();
    assert_eq!(options.logs, Logs { follow: true, tail: Some(5), services });
    let Verb::List(options) = verb("x dev list --prune --timeout 3 --dry-run").verb else { panic!("no list") };
    assert!(options.prune && options.dry_run && options.timeout == Some(3));
    assert!(matches!(verb("x dev env").verb, Verb::Env(_)));
    let Verb::Files(options) = verb("x dev files --check").verb else { panic!("no files") };
    assert!(options.check);
    assert!(matches!(verb("x doctor --message-format json").verb, Verb::Doctor(_)));
    let Verb::Init(options) = verb("x init --service api:8080 --service worker --route").verb else {
        panic!("no init")
    };
    let service = |name: &str, port| NewService { name: name.to_string(), port };
    assert_eq!(options.services, [service("api", Some(8080)), service("worker", None)]);
    assert_eq!((options.reached, options.dry_run), (Reached::Routed, false));
    assert!(matches!(verb("x completions zsh").verb, Verb::Completions(Interpreter::Zsh)));
    let Verb::Man(options) = verb("x man share/man/man1").verb else { panic!("no man") };
    assert_eq!(options.dir, PathBuf::from("share/man/man1"));
}

#[test]
fn a_wrong_command_line_is_exit_code_2_and_help_is_0() {
    for line in [
        "x",
        "x dev --nonsense",
        "x dev --detach down",
        "x dev down --detach",
        "x dev -q -v",
        "x dev --project-name Bad",
        "x dev --timeout -1",
        "x dev -- --wait",
        "x dev -- web -d",
        "x dev -- -Vd",
        "x dev -- --detach=true",
        "x dev -- --no-start",
        "x dev --wait-timeout 3 --no-wait",
        "x dev --wait status",
        "x dev --no-wait down",
        "x dev --traefik down",
        "x dev status web",
        "x dev status --dry-run",
        "x dev status --detach",
        "x dev env --no-traefik",
        "x dev list --timeout 3",
        "x dev env --timeout 3",
        "x dev logs --tail all",
        "x dev logs --message-format json",
        "x dev --message-format xml",
        "x dev files --dry-run",
        "x dev files --detach",
        "x init --service api:x",
        "x init --message-format json",
        "x doctor --dry-run",
        "x doctor web",
        "x completions",
        "x completions tcsh",
        "x completions bash --message-format json",
        "x man",
        "x man dir --message-format json",
    ] {
        assert_eq!(exit_code(&parsed(line).unwrap_err()), Code::Usage, "{line}");
    }
    assert_eq!(exit_code(&parsed("x dev --help").unwrap_err()), Code::Success);
    assert_eq!(exit_code(&parsed("x -V").unwrap_err()), Code::Success);
    assert!(parsed("x dev --detach -- --wait").is_ok());
    assert!(parsed("x dev -- --wait-timeout-of-some-kind --build db").is_ok());
}
