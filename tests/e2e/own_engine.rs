//! An engine of a scenario's own, which may be stopped, killed and started again.
//!
//! It runs the pair's own dockerd in namespaces of its own: beside the shared engines it would delete their bridges and
//! flush their chains when it is started again (see spec/dev/process-mgmt.md). The first process in there is a shell
//! that does as it is told through a pipe; when the pipe ends, also because the test was killed, it ends, and the kernel
//! ends everything else in there, takes the mounts away and deletes the network devices.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use crate::support::engine::DEADLINE;
use crate::support::stage::{Stage, write};

/// Words of the namespace's first process. It is a bash, which reaps the orphans that come to it: dockerd takes a zombie
/// of its old containerd for a living one. A daemon would use what is in /run together with the others.
const INIT: &str = r#"
mount -t tmpfs tmpfs /run && ip link set lo up || exit
echo ready
while read -r word; do
    case $word in
    start)
        dockerd --config-file "$HOME_OF_ENGINE/daemon.json" --host "unix://$HOME_OF_ENGINE/docker.sock" \
            --pidfile "$HOME_OF_ENGINE/dockerd.pid" --data-root "$HOME_OF_ENGINE/data" --exec-root "$HOME_OF_ENGINE/exec" \
            --iptables=false --ip6tables=false </dev/null >>"$HOME_OF_ENGINE/log" 2>&1 &
        dockerd=$!
        ;;
    *)
        kill -s "$word" "$dockerd" && wait "$dockerd"
        echo gone
        ;;
    esac
done
"#;

pub struct OwnEngine<'a> {
    stage: &'a Stage,
    home: PathBuf,
    init: Child,
    /// None once it is to end.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl<'a> OwnEngine<'a> {
    /// Starts one and gives it the test image. Like setting up the engines, this takes root.
    pub fn start(stage: &'a Stage) -> OwnEngine<'a> {
        OwnEngine::start_with(stage, "{}")
    }

    /// The same, with this configuration of the daemon.
    pub fn start_with(stage: &'a Stage, configuration: &str) -> OwnEngine<'a> {
        assert!(rustix::process::geteuid().is_root(), "an engine of a scenario's own can only be started by root");
        let home = stage.temp().join("engine");
        std::fs::create_dir(&home).expect("a folder");
        write(&home.join("daemon.json"), configuration);
        // The pair's dockerd, where it does not belong to the machine.
        let socket = stage.engine.host.strip_prefix("unix://").expect("an engine on a unix socket");
        let own = Path::new(socket).with_file_name("engine/usr");
        let path = std::env::var("PATH").expect("PATH");
        let path = format!("{}:{}:{path}", own.join("sbin").display(), own.join("bin").display());
        let mut command = stage.engine.command("unshare");
        command.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "bash", "-c", INIT]);
        command.env("PATH", path).env("HOME_OF_ENGINE", &home).current_dir("/");
        command.env_remove("DOCKER_HOST").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut init = command.spawn().expect("unshare starts");
        let orders = init.stdin.take();
        let answers = BufReader::new(init.stdout.take().expect("stdout"));
        let mut engine = OwnEngine { stage, home, init, orders, answers };
        engine.hear("ready");
        engine.come_back();
        let load = "docker save stagecraft-test | docker --host \"$0\" load";
        stage.program("sh", &["-c", load, &engine.host()]).run().with(0);
        engine
    }

    /// What to set DOCKER_HOST to.
    pub fn host(&self) -> String {
        format!("unix://{}", self.home.join("docker.sock").display())
    }

    /// Sends the daemon this signal (`TERM`, `KILL`) and waits for its end.
    pub fn end_with(&mut self, signal: &str) {
        self.order(signal);
        self.hear("gone");
    }

    /// Starts it and waits until it answers.
    pub fn come_back(&mut self) {
        self.order("start");
        // It tells nobody when it is ready, once it has no init system to tell.
        let deadline = Instant::now() + DEADLINE;
        while self.try_ask(&["version"]).is_none() {
            if Instant::now() > deadline {
                panic!("no answer; its log: {}", std::fs::read_to_string(self.home.join("log")).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// That nothing of the stage's project exists.
    #[track_caller]
    pub fn assert_gone(&self) {
        let filter = format!("label=com.docker.compose.project={}", self.stage.project);
        for list in [&["ps", "--all"][..], &["network", "ls"], &["volume", "ls"]] {
            let left = self.try_ask(&[list, &["--quiet", "--filter", &filter]].concat());
            assert_eq!(left.as_deref(), Some(""), "`docker {}`", list.join(" "));
        }
    }

    /// What docker answers; none if it fails.
    pub fn try_ask(&self, args: &[&str]) -> Option<String> {
        let output = self.stage.engine.command("docker").args(args).env("DOCKER_HOST", self.host()).output();
        let output = output.expect("docker starts");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    }

    fn order(&mut self, word: &str) {
        let orders = self.orders.as_mut().expect("it is not to end yet");
        writeln!(orders, "{word}").expect("the shell listens");
    }

    fn hear(&mut self, word: &str) {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        assert_eq!(line.trim_end(), word, "the shell in the namespaces");
    }
}

impl Drop for OwnEngine<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "---- the scenario's own engine\n{}",
                std::fs::read_to_string(self.home.join("log")).unwrap_or_default()
            );
        }
        drop(self.orders.take());
        let _ = self.init.wait();
    }
}
