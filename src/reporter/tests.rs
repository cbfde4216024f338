use std::sync::Arc;

use super::*;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

fn said(verbosity: Verbosity, color: bool) -> String {
    let err = Buffer::default();
    let shell = Shell::from_write(Box::new(err.clone()), Box::new(Buffer::default()), verbosity, color);
    shell.status("Started", "hello");
    shell.detail("Project", "hello");
    shell.command(OsStr::new("docker ps"));
    shell.note("n");
    shell.warn("w");
    shell.error("e");
    shell.help("h");
    shell.table(&[vec!["a".into(), "running".into()], vec!["long".into(), "up".into(), "x:1".into()]]);
    shell.replay(b"said\n\n");
    shell.restore_terminal();
    let bytes = err.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn an_excerpt_has_a_title_and_each_awaited_service_a_line() {
    let err = Buffer::default();
    let shell = Shell::from_write(Box::new(err.clone()), Box::new(Buffer::default()), Verbosity::Normal, false);
    shell.excerpt("log of web", b"boom\n\n");
    shell.waiting(&[("db".to_string(), "created".to_string())]);
    // Outside of CI there is nothing else to say about these: the error that follows has it.
    shell.event(&Event::PortsTaken { project: "shop", conflicts: Vec::new() });
    let said = String::from_utf8(err.0.lock().unwrap().clone()).unwrap();
    assert_eq!(said, "---- log of web\nboom\n     Waiting for db: created\n");
}

#[test]
fn a_check_is_one_line_with_its_fix_below() {
    let printed = |verbosity, color| {
        let out = Buffer::default();
        let shell = Shell::from_write(Box::new(Buffer::default()), Box::new(out.clone()), verbosity, color);
        shell.print_check(CheckState::Ok, "docker", "28.2.2", None).unwrap();
        shell.print_check(CheckState::Error, "dev files", "wrong:\nin line 7", Some("mend it")).unwrap();
        shell.print_verdict(CheckState::Error, "1 error").unwrap();
        String::from_utf8(out.0.lock().unwrap().clone()).unwrap()
    };
    let error = "       error dev files      wrong:\n                            in line 7\n                            \
                     help: mend it\n";
    let verdict = "    Finished 1 error\n";
    let ok = "          ok docker         28.2.2\n";
    assert_eq!(printed(Verbosity::Normal, false), format!("{ok}{error}{verdict}"));
    assert_eq!(printed(Verbosity::Quiet, false), format!("{error}{verdict}"));
    let coloured = printed(Verbosity::Normal, true);
    assert!(coloured.contains("\x1b[") && coloured.contains(" docker         28.2.2\n"), "{coloured:?}");
}

#[test]
fn quiet_keeps_errors_and_their_help() {
    assert_eq!(said(Verbosity::Quiet, false), "error: e\nhelp: h\nsaid\n");
}

#[test]
fn normal_is_without_commands_and_details() {
    let expected = "     Started hello\nnote: n\nwarning: w\nerror: e\nhelp: h\n             a     running\n             long  up       x:1\nsaid\n";
    assert_eq!(said(Verbosity::Normal, false), expected);
}

#[test]
fn verbose_shows_details_and_every_command_line() {
    let said = said(Verbosity::Verbose, false);
    assert!(said.contains("     Project hello\n     Running docker ps\n"), "{said}");
}

#[test]
fn color_wraps_verbs_labels_and_commands_only() {
    let said = said(Verbosity::Verbose, true);
    for piece in ["\x1b[36mdocker ps\x1b[0m\n", "hello\n", "m: n\n", "m: e\n"] {
        assert!(said.contains(piece), "{said:?} lacks {piece:?}");
    }
}

#[test]
fn a_closed_terminal_does_not_panic_and_lost_output_is_an_error() {
    let shell = Shell::from_write(Box::new(Gone), Box::new(Gone), Verbosity::Verbose, false);
    shell.status("Removed", "hello");
    shell.error("e");
    assert!(shell.print(OsStr::new("asked for")).is_err());
}
