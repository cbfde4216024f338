//! Judges a trial that has ended: what is left, how containers ended, and the exit code.

use super::*;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Left(what) => write!(f, "left: {what}"),
            Problem::Ungraceful(service) => write!(f, "not stopped gracefully: {service}"),
            Problem::Code(code) => write!(f, "exit code: {code}"),
            Problem::Other(what) => write!(f, "{what}"),
        }
    }
}

impl Trial<'_> {
    pub(super) fn judge(&mut self, struck: Struck) {
        if self.strikes.iter().any(|strike| strike.target == Target::ToolAndGuard) {
            // What they have left may hold the output open, so this comes before it is read to its end.
            let began = Instant::now();
            self.clean_up(self.plan.remedy);
            self.time = Some(began.elapsed());
            self.judge_processes(LONG_ENOUGH);
        } else {
            self.judge_processes(LAST_BREATH);
        }
        if struck.modes.is_some_and(|before| struck.run.terminal().modes() != before) {
            self.problems.push(Problem::Other("the terminal's modes are not what they were".to_string()));
        }
        let ended = struck.run.end_whatever_compose_says();
        let text = ended.all;
        let codes = self.codes(&text);
        if !codes.contains(&ended.code) {
            self.problems.push(Problem::Code(format!("{} instead of one of {codes:?}", ended.code)));
        }
        let has_given_up = self.plan.silent && [4, 6].contains(&ended.code);
        if has_given_up || self.may_be_left(&text) {
            self.clean_up(Remedy::Down);
            self.judge_processes(LAST_BREATH);
        }
        for thing in self.api.left(self.project) {
            if thing.is_lost {
                self.lost_networks += 1;
            } else {
                self.problems.push(Problem::Left(thing.name));
            }
        }
        for volume in self.watch.anonymous_volumes().into_iter().filter(|volume| self.api.has_volume(volume)) {
            // Whoever has known it was killed, with the only one who had been told.
            if !self.strikes.iter().any(|strike| strike.target == Target::ToolAndGuard) {
                self.problems.push(Problem::Left(format!("anonymous volume {volume}")));
            }
            self.api.remove_volume(&volume);
        }
        self.problems
            .extend(self.locks_left(ended.code < 0).into_iter().map(|lock| Problem::Left(format!("lock {lock}"))));
        self.judge_containers(&text);
        let was_asked_to_crash =
            |strike: &Strike| strike.signal == Signal::QUIT && matches!(strike.target, Target::Docker | Target::Plugin);
        self.compose_panicked =
            (text.contains("goroutine ") || text.contains("panic:")) && !self.strikes.iter().any(was_asked_to_crash);
    }

    /// That no process is left, or comes to its end in this time.
    pub(super) fn judge_processes(&mut self, time: Duration) {
        let left = procs::wait_for_all(self.project, time);
        if !left.is_empty() {
            procs::end_all(self.project);
        }
        self.problems.extend(left.into_iter().map(|process| Problem::Left(format!("process `{}`", process.command))));
    }

    /// Whether the stack may still be there, given what the command has said.
    pub(super) fn may_be_left(&self, text: &str) -> bool {
        match self.plan.scene {
            Scene::Foreground => false,
            Scene::Detach | Scene::Wait => has_started(text),
            // Ended before it had touched anything.
            Scene::Down => !has_begun(text),
        }
    }

    /// What a user does about a stack that is left.
    pub(super) fn clean_up(&mut self, remedy: Remedy) {
        match remedy {
            Remedy::Down => {}
            Remedy::DetachAndDown => self.run(&["dev", "--detach"], &[0]),
            Remedy::ForegroundAndInterrupt => {
                let (run, transcript) = self.start(&["dev"], None, false);
                let end = End::of(run.pid());
                self.await_beginning(&transcript, &end);
                end.wait(self.plan.patience);
                run.signal(Signal::INT);
                let codes: &[i32] = if self.plan.finishes() { &[130, 0] } else { &[130] };
                self.finish(run, &["dev"], codes);
                self.await_guard();
                return;
            }
        }
        // A hurried trial may have containers that take minutes to stop, and a silent engine has kept them alive.
        let is_hurried = self.plan.silent && self.is_hurried();
        let args: &[&str] = if is_hurried { &["dev", "down", "--timeout", "0"] } else { &["dev", "down"] };
        self.run(args, &[0]);
        self.await_guard();
    }

    /// The exit codes that the specification has for what was done; negative: ended by that signal.
    pub(super) fn codes(&self, text: &str) -> Vec<i32> {
        let mut codes = Vec::new();
        let mut interrupted = false;
        let mut first = None;
        for strike in &self.strikes {
            let number = strike.signal.as_raw();
            match strike.target {
                Target::Guard => {}
                Target::ToolAndGuard => codes.push(-number),
                Target::Tool | Target::Group | Target::Keyboard | Target::Terminal => match strike.signal {
                    Signal::INT | Signal::TERM | Signal::HUP => {
                        // Nothing was hooked yet: it ends us as it would end any program.
                        if !has_begun(text) {
                            codes.push(-number);
                        }
                        // Which of two that come at almost the same time is heard first is the scheduler's affair.
                        let since = strike.at.duration_since(*first.get_or_insert(strike.at)).unwrap_or_default();
                        if !interrupted || since < AT_THE_SAME_TIME {
                            codes.push(128 + number);
                        }
                        interrupted = true;
                    }
                    _ => codes.push(-number),
                },
                // In a teardown the next wider step takes over, and the code is that of the interrupt, or of `dev down`.
                Target::Docker | Target::Plugin if interrupted || self.plan.scene == Scene::Down => {}
                // `up` was broken off, which is a failure; asked by INT or TERM it may also stop the stack in good order, and
                // that is "stopped from elsewhere". So is a crash of `docker` when its plugin has stopped the stack because
                // of it, and QUIT ends a Go program as a crash does.
                Target::Docker | Target::Plugin => match (self.plan.scene, strike.signal) {
                    (Scene::Foreground, Signal::INT | Signal::TERM | Signal::QUIT) => codes.extend([1, 0]),
                    _ => codes.push(1),
                },
            }
        }
        // An interrupt may come after the last moment in which it is heard.
        let is_over_by_itself = match self.plan.scene {
            Scene::Foreground => self.plan.finishes(),
            Scene::Detach | Scene::Wait => has_started(text),
            Scene::Down => has_removed(text),
        };
        if self.plan.silent {
            codes.extend([4, 6]);
        }
        // A kill may come between the last line and the end.
        let has_said_all = text.contains("stop it with `cargo stagecraft dev down`") || self.plan.scene == Scene::Down;
        if codes.is_empty() || is_over_by_itself && (has_said_all || codes.iter().all(|code| *code > 0)) {
            codes.push(0);
        }
        codes
    }

    /// Whether somebody has asked for containers to be killed: with a second interrupt, or with the first one of a teardown
    /// that was asked for. One that has begun by itself, since Compose was struck, is hurried by no first interrupt.
    pub(super) fn is_hurried(&self) -> bool {
        let mut tears_down = self.plan.scene == Scene::Down;
        let mut hung_up = false;
        for strike in &self.strikes {
            let press = Fault { target: strike.target, signal: strike.signal, presses: 1 };
            // A closing terminal tells twice, which is one wish.
            let is_echo = hung_up && strike.signal == Signal::HUP;
            if press.is_interrupt() && tears_down && !is_echo {
                return true;
            }
            hung_up |= press.is_interrupt() && strike.signal == Signal::HUP;
            tears_down |= press.is_interrupt();
        }
        false
    }

    /// Compose 2.26 hears a signal that strikes it alone in two places, and may take it for two presses: it then says that it
    /// is killing and does so, before the tool has asked for anything.
    pub(super) fn was_killed_by_compose(&self, text: &str) -> bool {
        let strikes_compose = |strike: &Strike| matches!(strike.target, Target::Docker | Target::Plugin);
        self.strikes.iter().any(strikes_compose) && text.lines().any(|line| line.trim_end().ends_with(" Killing"))
    }

    pub(super) fn judge_containers(&mut self, text: &str) {
        if self.is_hurried() {
            return;
        }
        if self.was_killed_by_compose(text) {
            self.compose_killed = true;
            return;
        }
        let farewells = self.testified(".farewell");
        for service in self.plan.active().filter(|service| service.is_polite()) {
            if self.ready.contains(&service.name) && !farewells.contains(&service.name) {
                self.problems.push(Problem::Ungraceful(service.name.clone()));
            }
        }
    }

    /// The locks that somebody holds or has forgotten. A tool that is killed before it has a guard forgets the file, which
    /// keeps nobody away.
    pub(super) fn locks_left(&self, may_forget: bool) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.runtime_dir().join("cargo-stagecraft")) else { return Vec::new() };
        let is_free = |path: PathBuf| File::open(path).is_ok_and(|file| file.try_lock().is_ok());
        let left = entries.flatten().filter(|entry| !may_forget || !is_free(entry.path()));
        left.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Everything that is known, for whoever looks into it.
    pub(super) fn story(&self) -> String {
        let mut story = format!("---- plan\n{:#?}\n---- compose.yaml\n{}", self.plan, self.compose());
        for (title, transcript) in &self.transcripts {
            let _ = write!(story, "---- {title}\n{}\n", transcript.text().trim_end());
        }
        let strikes =
            self.strikes.iter().map(|it| (it.at, format!("** {} to {:?}", signal_name(it.signal), it.target)));
        let mut lines: Vec<_> = self.watch.events().iter().map(|event| (event.at, event.to_string())).collect();
        lines.extend(strikes);
        lines.sort();
        story += "---- events\n";
        for (at, line) in lines {
            let _ = writeln!(story, "{:8.3} {line}", at.duration_since(self.began).unwrap_or_default().as_secs_f64());
        }
        let _ = writeln!(story, "---- ready before: {:?}; farewells: {:?}", self.ready, self.testified(".farewell"));
        story
    }
}
