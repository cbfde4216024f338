//! A workspace in a temporary folder.

use super::*;

/// A workspace named `shop` in a temporary folder, with an engine of its own.
pub struct Sandbox {
    pub engine: FakeEngine,
    pub(super) root: PathBuf,
    pub(super) dir: TempDir,
}

impl Sandbox {
    /// A workspace of one package, in a folder named `shop`.
    pub fn new() -> Sandbox {
        Sandbox::in_folder("shop")
    }

    /// A workspace of one package, in a folder of this name.
    pub fn in_folder(name: &str) -> Sandbox {
        let dir = tempfile::Builder::new().prefix("stagecraft-").tempdir().expect("a temporary folder");
        // Cargo tells canonical paths.
        let base = dir.path().canonicalize().expect("the temporary folder is there");
        let bin = base.join("bin");
        fs::create_dir(&bin).expect("a folder for programs");
        symlink(fake_docker(), bin.join("docker")).expect("the fake docker can be linked");
        symlink(env!("CARGO_BIN_EXE_cargo-stagecraft"), bin.join("cargo-stagecraft")).expect("so can the program");
        let engine = FakeEngine::listen(&base.join("engine.sock"));
        let sandbox = Sandbox { engine, root: base.join(name), dir };
        sandbox.write("Cargo.toml", "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        sandbox.write("src/lib.rs", "");
        sandbox.install_compose("#!/bin/sh\n");
        sandbox.configure_docker(r#"{"HttpHeaders": {}}"#);
        sandbox.write(COMPOSE_FILE, "services: {}\n");
        sandbox
    }

    /// The root of the workspace.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder round the workspace; `bin` in it is first on PATH.
    pub fn outside(&self) -> PathBuf {
        self.dir.path().canonicalize().expect("the temporary folder is there")
    }

    /// Puts this in the place of the Compose plugin. The fake docker does not run it; a script is what the program would
    /// rather ask.
    pub fn install_compose(&self, plugin: &str) {
        let plugins = self.outside().join("docker-config/cli-plugins");
        fs::create_dir_all(&plugins).expect("a folder for plugins");
        fs::write(plugins.join("docker-compose"), plugin).expect("the plugin can be written");
    }

    /// Configures the docker CLI. With headers, which only that would send, it is asked itself, and not the engine behind the
    /// socket of this machine.
    pub fn configure_docker(&self, config: &str) {
        fs::write(self.outside().join("docker-config/config.json"), config).expect("the configuration can be written");
    }

    /// Writes a file of the workspace.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folder can be made");
        fs::write(path, text).expect("the file can be written");
    }

    /// Removes a file of the workspace.
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.root.join(path)).expect("the file was there");
    }

    /// The program with these arguments, in the root of the workspace.
    pub fn stagecraft<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Program<'_> {
        self.program(env!("CARGO_BIN_EXE_cargo-stagecraft"), args)
    }

    /// Any program in the same surroundings: fake docker first on PATH, no variable set that could matter.
    pub fn program<A: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = A>) -> Program<'_> {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.root);
        let meddling = |key: &str| {
            let prefixes = ["COMPOSE_", "DOCKER_", "CARGO", "CLICOLOR", "GITHUB_", "STAGECRAFT_"];
            // What terminals set to be known by.
            let terminals = [
                "COLORTERM",
                "DOMTERM",
                "FORCE_HYPERLINK",
                "KONSOLE_VERSION",
                "TERM_PROGRAM",
                "VTE_VERSION",
                "WT_SESSION",
            ];
            let meddling = prefixes.iter().any(|prefix| key.starts_with(prefix))
                || terminals.contains(&key)
                || ["CI", "NO_COLOR"].contains(&key);
            // Without it cargo would look for its toolchains elsewhere.
            (meddling || key.to_lowercase().ends_with("_proxy")) && key != "CARGO_HOME"
        };
        for (key, _) in std::env::vars_os().filter(|(key, _)| meddling(&key.to_string_lossy())) {
            command.env_remove(key);
        }
        let mut path = self.outside().join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.env("PATH", path);
        command.env("FAKE_DOCKER", self.outside().join("engine.sock"));
        command.env("DOCKER_CONFIG", self.outside().join("docker-config"));
        // Where locks are.
        command.env("XDG_RUNTIME_DIR", self.outside());
        command.env("TERM", "xterm").env("COLUMNS", "100");
        // Were there ever a panic, a test would see all of it.
        command.env("RUST_BACKTRACE", "1");
        Program { sandbox: self, command, stdin: None, stdout: None, stderr: None, columns: 0, ignored: Vec::new() }
    }

    /// Runs the program with these arguments to its end.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Finished {
        self.stagecraft(args).run()
    }

    /// Blocks until the start of a run in the foreground is over and has been told: as another command would that changes the
    /// project.
    pub fn wait_until_unlocked(&self) {
        self.engine.wait_gone(Verb::Starts);
        let lock = File::open(self.outside().join("cargo-stagecraft/shop.lock")).expect("the lock is there");
        lock.lock().expect("it can be taken");
    }

    pub(super) fn redacted(&self, text: &str) -> String {
        let outside = self.outside();
        text.replace(&*self.root.to_string_lossy(), "[ROOT]").replace(&*outside.to_string_lossy(), "[OUTSIDE]")
    }
}

pub(super) fn fake_docker() -> PathBuf {
    let exe = std::env::current_exe().expect("the test has a path");
    // target/<profile>/deps/it-0123 → target/<profile>/examples/docker
    let profile = exe.ancestors().nth(2).expect("the test lies in target/<profile>/deps");
    let docker = profile.join("examples/docker");
    assert!(docker.is_file(), "no fake docker at {}: run `cargo build --examples`", docker.display());
    docker
}
