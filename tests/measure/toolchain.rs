//! An image with this machine's own Rust toolchain and the linker that it needs, for Dockerfiles that compile: no registry
//! has to be reached for it.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;

use crate::ground::{Ground, succeed};
use crate::support::engine::{self, Engine};
use crate::support::stage::write;

/// What rustc calls to link, if it is not told otherwise, and what that calls in turn.
const LINKER: &str = "cc";
const LINKER_PROGRAMS: [&str; 3] = ["collect2", "ld", "lto-wrapper"];
const LINKER_PLUGIN: &str = "liblto_plugin.so";

/// The image on one engine, for as long as this lives.
pub struct Toolchain {
    ground: Ground,
    pub image: String,
    /// What it compiles for.
    pub target: String,
    /// The steps of builds that the engine knew before.
    before: BTreeSet<String>,
}

impl Toolchain {
    pub fn import(engine: &'static Engine) -> Toolchain {
        let ground = Ground::new(engine);
        let image = format!("{}-toolchain", ground.project);
        let before = steps(engine).into_iter().map(|step| step.id).collect();
        let mut toolchain = Toolchain { ground, image, target: String::new(), before };
        toolchain.target = toolchain.ask("rustc", &["--print", "host-tuple"]);
        let sysroot = PathBuf::from(toolchain.ask("rustc", &["--print", "sysroot"]));
        let cargo = sysroot.join("bin/cargo");
        let linker = find(LINKER);
        let mut programs = vec![cargo.clone(), sysroot.join("bin/rustc"), linker.clone()];
        programs
            .extend(LINKER_PROGRAMS.map(|name| find(&toolchain.ask(LINKER, &[&format!("-print-prog-name={name}")]))));
        programs.push(toolchain.ask(LINKER, &[&format!("-print-file-name={LINKER_PLUGIN}")]).into());
        // The libraries to link with, and, on some targets, a linker of the toolchain's own.
        let target = PathBuf::from(toolchain.ask("rustc", &["--print", "target-libdir"]));
        let target = target.parent().expect("a folder of the target").to_path_buf();
        programs.push(target.join("bin/rust-lld"));
        // A word without a path is the linker's way to say that it has no such file.
        programs.retain(|program| program.is_absolute() && program.exists());

        let mut files = toolchain.linked();
        for program in &programs {
            files.extend(toolchain.loaded(program));
        }
        files.extend(programs.iter().map(|program| plain(program)));
        files.retain(|file| !file.starts_with(&target));
        files.insert(target);
        let path = env::join_paths([&cargo, &linker].map(|program| program.parent().expect("a folder")));
        toolchain.fill(&files, &path.expect("a PATH").into_string().expect("UTF-8"));
        toolchain
    }

    pub fn engine(&self) -> &'static Engine {
        self.ground.engine
    }

    fn ask(&self, program: &str, args: &[&str]) -> String {
        succeed(self.ground.command(program, args)).trim().to_string()
    }

    /// Every file that goes into a link: of a static program, and of what runs within the compiler, build scripts and
    /// procedural macros.
    fn linked(&self) -> BTreeSet<PathBuf> {
        let source = self.ground.root().join("src/probe.rs");
        let rule = self.ground.temp().join("rule");
        let mut files = BTreeSet::new();
        for (text, kind) in [
            ("fn main() {}", ["-C", "target-feature=+crt-static"]),
            ("fn main() {}", ["--crate-type", "bin"]),
            ("", ["--crate-type", "proc-macro"]),
        ] {
            write(&source, text);
            let args =
                ["src/probe.rs", "-o", "probe", "-C", &format!("link-arg=-Wl,--dependency-file={}", rule.display())];
            succeed(self.ground.command("rustc", &[&args[..], &kind].concat()));
            let text = fs::read_to_string(&rule).expect("what has been linked");
            // The first rule has them all; the others are empty.
            let words = text.split("\n\n").next().unwrap_or_default().split_whitespace().map(Path::new);
            files.extend(words.filter(|word| word.is_absolute() && word.exists()).map(plain));
        }
        files.retain(|file| !file.starts_with(self.ground.temp()));
        files
    }

    /// The libraries that a program, or a library, is loaded with.
    fn loaded(&self, program: &Path) -> Vec<PathBuf> {
        // It fails for a static program.
        let output = self.ground.command("ldd", &[]).arg(program).output().expect("ldd");
        let output = String::from_utf8_lossy(&output.stdout);
        output.split_whitespace().map(Path::new).filter(|word| word.is_absolute()).map(plain).collect()
    }

    /// Makes the image out of these files and folders.
    fn fill(&self, files: &BTreeSet<PathBuf>, path: &str) {
        let list = self.ground.temp().join("files");
        let lines = files.iter().map(|file| format!("{}\n", file.strip_prefix("/").unwrap_or(file).display()));
        write(&list, &lines.collect::<String>());
        let tar = ["--create", "--dereference", "--hard-dereference", "--directory=/", "--files-from"];
        let mut tar = self.ground.command("tar", &tar);
        let mut tar = tar.arg(&list).stdout(Stdio::piped()).spawn().expect("tar starts");
        // Without /tmp the linker needs another place.
        let change = [&format!("ENV PATH={path}"), "ENV TMPDIR=/"];
        let mut import = self.ground.command("docker", &["import", "--change", change[0], "--change", change[1], "-"]);
        import.arg(&self.image).stdin(tar.stdout.take().expect("stdout")).stdout(Stdio::null());
        let imported = import.status().expect("docker starts");
        let packed = tar.wait().expect("reaped");
        assert!(packed.success() && imported.success(), "no image of the toolchain: {packed}, {imported}");
    }

    /// Removes what the engine keeps of our builds.
    fn forget_builds(&self) {
        let steps = steps(self.engine());
        // What compiles has our name among its words, and is based on the image, the files of which would stay.
        let mut ours: BTreeSet<&str> = ids(steps.iter().filter(|step| step.description.contains(&self.image)));
        // Each before the one that it is based on.
        while !ours.is_empty() {
            self.forget(&ours);
            ours = ids(steps
                .iter()
                .filter(|step| ours.contains(step.id.as_str()))
                .filter_map(|step| steps.iter().find(|parent| parent.id == step.parent)));
        }
        // Of a copy an older engine says only that it is one, so whatever has appeared meanwhile is taken for ours. Where
        // that is not so it has to be made once more, which gives another image: not while a scenario is played.
        let lock = engine::lock_file();
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let is_new = |step: &&Step| !self.before.contains(&step.id);
            self.forget(&ids(steps.iter().filter(is_new).filter(|step| step.is_copy())));
        }
    }

    fn forget(&self, steps: &BTreeSet<&str>) {
        for id in steps {
            // It is kept if anything else is based on it.
            let _ = self.engine().try_ask(&["builder", "prune", "--force", "--filter", &format!("id={id}")]);
        }
    }
}

impl Drop for Toolchain {
    fn drop(&mut self) {
        let _ = self.engine().try_ask(&["image", "rm", "--force", &self.image]);
        self.forget_builds();
    }
}

/// What an engine keeps of a step of a build.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Step {
    #[serde(rename = "ID")]
    id: String,
    parent: String,
    description: String,
}

impl Step {
    /// Whether it is a build context, or something that was copied from one.
    fn is_copy(&self) -> bool {
        let description = &self.description;
        description == "fileop target" || description.contains(" COPY ") || description.starts_with("local source")
    }
}

fn steps(engine: &Engine) -> Vec<Step> {
    let steps = engine.try_ask(&["system", "df", "--verbose", "--format", "{{json .BuildCache}}"]);
    steps.ok().and_then(|steps| serde_json::from_str(&steps).ok()).unwrap_or_default()
}

fn ids<'a>(steps: impl Iterator<Item = &'a Step>) -> BTreeSet<&'a str> {
    steps.map(|step| step.id.as_str()).collect()
}

/// A program as the shell finds it, or the same word if it does not.
fn find(program: &str) -> PathBuf {
    let folders = env::var_os("PATH").unwrap_or_default();
    let mut candidates = env::split_paths(&folders).map(|folder| folder.join(program));
    candidates.find(|candidate| candidate.is_file()).unwrap_or_else(|| program.into())
}

/// A path without detours. Symbolic links stay: they are the names under which a file is looked for.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(component);
        }
    }
    plain
}
