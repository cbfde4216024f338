//! Each completion script in its shell: keys are typed at a terminal, and what the shell makes of them is run.
//! PowerShell is missing here, since Debian has none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::run::Run;
use crate::support::stage::{self, Stage, Tool, polite, stack};

on_both_pairs![bash, zsh, fish, elvish];

/// In the place of the program: it tells how it is called, and only completes.
const TELLTALE: &str = "#!/bin/sh\ncase $1 in\ncomplete | completions) exec PROGRAM \"$@\" ;;\nesac\n\
                        printf 'it ran: <%s>\\n' \"$*\"\n";

/// A shell that is to complete.
struct Shell<'a> {
    stage: &'a Stage,
    program: &'static str,
    args: Vec<String>,
    home: PathBuf,
    /// What accepts an option with its value.
    accept: &'static str,
}

impl Shell<'_> {
    /// `config` is what a user has in this file of theirs.
    fn new<'a>(stage: &'a Stage, program: &'static str, file: &str, config: &str) -> Shell<'a> {
        let home = stage.temp().join("home");
        write(&home.join(file), config);
        let telltale = home.join("bin/cargo-stagecraft");
        write(&telltale, &TELLTALE.replace("PROGRAM", env!("CARGO_BIN_EXE_cargo-stagecraft")));
        fs::set_permissions(&telltale, fs::Permissions::from_mode(0o755)).expect("it can be made a program");
        stage.compose(&stack(&[polite("web", &[]), polite("worker", &[])]));
        Shell { stage, program, args: Vec::new(), home, accept: "" }
    }

    fn start(&self, dir: &Path) -> Run {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let mut tool: Tool<'_> = self.stage.program(self.program, &args).dir(dir);
        for variable in ["ZDOTDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"] {
            tool = tool.env(variable, &self.home);
        }
        let path = std::env::var("PATH").expect("PATH");
        let tool = tool.env("PATH", format!("{}:{path}", self.home.join("bin").display()));
        tool.env("BASH_COMPLETION_USER_DIR", self.home.join("bash-completion")).start_in_terminal()
    }

    /// Types each line in a shell of its own, and waits until it has become this command.
    fn makes(&self, dir: &Path, lines: &[(&str, &str)]) {
        for (line, command) in lines {
            let run = self.start(dir);
            run.wait_for("ready>");
            run.terminal().type_in(line.as_bytes());
            run.wait_for(command);
            run.terminal().type_in(b"exit\r");
            run.end();
        }
    }

    /// What every shell completes.
    fn completes(&self) {
        let root = self.stage.root();
        let color = format!("cargo-stagecraft dev --color=alw\t{}\r", self.accept);
        self.makes(
            &root,
            &[
                ("cargo-stagecraft dev sta\t\r", "it ran: <dev status>"),
                ("cargo-stagecraft dev logs wor\t\r", "it ran: <dev logs worker>"),
                ("cargo-stagecraft dev logs web wor\t\r", "it ran: <dev logs web worker>"),
                ("cargo-stagecraft dev -- wor\t\r", "it ran: <dev -- worker>"),
                ("cargo-stagecraft dev --no-tr\t\r", "it ran: <dev --no-traefik>"),
                (&color, "it ran: <dev --color=always>"),
                ("cargo-stagecraft dev --manifest-path Cargo.to\t\r", "it ran: <dev --manifest-path Cargo.toml>"),
                ("cargo stagecraft dev logs wor\t\r", "it ran: <stagecraft dev logs worker>"),
            ],
        );
        let elsewhere = self.stage.temp().join("elsewhere");
        write(&elsewhere.join("the-only-file"), "");
        self.makes(&elsewhere, &[("cargo-stagecraft dev logs \tnothing\r", "it ran: <dev logs nothing>")]);
    }

    /// That cargo's own completion goes on as before.
    fn leaves_cargo_alone(&self) {
        self.makes(&self.stage.root(), &[("cargo locate-p\t\r", "{\"root\":\"")]);
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
    stage::write(path, text);
}

/// A file of the toolchain.
fn toolchain(path: &str) -> PathBuf {
    let rustc = std::process::Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc");
    Path::new(String::from_utf8(rustc.stdout).expect("a path").trim_end()).join(path)
}

fn bash(stage: &Stage) {
    let config = "unset HISTFILE\nPS1='ready''> '\n. /usr/share/bash-completion/bash_completion\n\
                  source <(cargo-stagecraft completions bash)\n";
    let mut shell = Shell::new(stage, "bash", "bashrc", config);
    shell.args = vec!["--rcfile".to_string(), shell.home.join("bashrc").display().to_string(), "-i".to_string()];
    shell.completes();
    // As bash-completion loads it: when it is asked for.
    let cargos = fs::read_to_string(toolchain("etc/bash_completion.d/cargo")).expect("cargo's own completion");
    write(&shell.home.join("bash-completion/completions/cargo"), &cargos);
    shell.leaves_cargo_alone();
    shell.makes(&stage.root(), &[("cargo +stable stagecraft dev sta\t\r", "it ran: <stagecraft dev status>")]);
}

fn zsh(stage: &Stage) {
    let config = format!(
        "PS1='ready''> '\nfpath=({} $fpath)\nautoload -Uz compinit && compinit -u -d $ZDOTDIR/compdump\n\
         source <(cargo-stagecraft completions zsh)\n",
        toolchain("share/zsh/site-functions").display()
    );
    let shell = Shell::new(stage, "zsh", ".zshrc", &config);
    shell.completes();
    shell.leaves_cargo_alone();
    // As a file that compinit finds.
    let folder = shell.home.join("functions");
    let script = include_str!("../../completions/_cargo-stagecraft");
    write(&folder.join("_cargo-stagecraft"), script);
    let config = config.replace("fpath=(", &format!("fpath=({} ", folder.display()));
    write(&shell.home.join(".zshrc"), &config.replace("source <(cargo-stagecraft completions zsh)\n", ""));
    fs::remove_file(shell.home.join("compdump")).expect("compinit has written it");
    shell.makes(
        &stage.root(),
        &[
            ("cargo-stagecraft dev logs wor\t\r", "it ran: <dev logs worker>"),
            ("cargo stagecraft dev logs wor\t\r", "it ran: <stagecraft dev logs worker>"),
        ],
    );
}

fn fish(stage: &Stage) {
    let prompt = "function fish_prompt; echo 'ready> '; end\nset -g fish_greeting\n";
    let shell =
        Shell::new(stage, "fish", "fish/config.fish", &format!("{prompt}cargo-stagecraft completions fish | source\n"));
    shell.completes();
    shell.leaves_cargo_alone();
}

fn elvish(stage: &Stage) {
    let config = "set edit:prompt = { put 'ready> ' }\neval (cargo-stagecraft completions elvish | slurp)\n";
    let mut shell = Shell::new(stage, "elvish", "elvish/rc.elv", config);
    // It puts quotes round a word with `=`, and asks whether that is meant.
    shell.accept = "\r";
    shell.completes();
    shell.makes(&stage.root(), &[("cargo locate-project --manifest-path Cargo.to\t\r", "{\"root\":\"")]);
}
