//! The files of a trial: its workspace, and where its containers testify.

use super::*;
use crate::plan::Edit;

/// Makes the build of the crate last, so that a fault can strike it.
const SLOW_BUILD: &str = "fn main() { std::thread::sleep(std::time::Duration::from_secs(1)) }\n";

impl Trial<'_> {
    /// A Cargo workspace whose folder makes the project's name, and another one of that name elsewhere.
    pub(super) fn set_up(&self) {
        let roots = [Some(self.root()), self.plan.namesake.then(|| self.root_of_namesake())];
        for root in roots.into_iter().flatten() {
            for folder in [root.join("src"), root.join(".stagecraft/dev"), self.proof(), self.runtime_dir()] {
                fs::create_dir_all(folder).expect("a folder");
            }
            let package = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
            let files = if self.plan.builds_a_crate {
                vec![
                    (
                        "Cargo.toml",
                        format!("{package}{}", self.plan.tables(&self.proof_path(), &self.registry_address())),
                    ),
                    ("src/main.rs", "fn main() { std::thread::park() }\n".to_string()),
                    ("build.rs", SLOW_BUILD.to_string()),
                ]
            } else {
                vec![
                    ("Cargo.toml", package.to_string()),
                    ("src/lib.rs", String::new()),
                    (".stagecraft/dev/compose.yaml", self.compose()),
                ]
            };
            for (path, text) in files {
                fs::write(root.join(path), text).expect("a file");
            }
        }
    }

    /// Changes files while the command runs.
    pub(super) fn edit(&self, command: Pid) {
        let (root, edits) = (self.root(), self.plan.edits.clone());
        let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("a manifest");
        thread::spawn(move || {
            let end = End::of(command);
            for (number, (after, edit)) in edits.into_iter().enumerate() {
                // Neither after the end nor, since the folder is gone then, after the trial.
                if end.wait(after) {
                    return;
                }
                let _ = match edit {
                    Edit::Program => {
                        let text = format!("fn main() {{ println!(\"{number}\"); loop {{ std::thread::park() }} }}\n");
                        fs::write(root.join("src/main.rs"), text)
                    }
                    Edit::Broken => fs::write(root.join("src/main.rs"), format!("fn main() {{ {number} }}\n")),
                    Edit::Table => {
                        fs::write(root.join("Cargo.toml"), format!("{manifest}environment = {{ N = '{number}' }}\n"))
                    }
                };
            }
        });
    }

    pub(super) fn root_of_namesake(&self) -> PathBuf {
        self.temp.path().join("elsewhere").join(self.project)
    }

    pub(super) fn root(&self) -> PathBuf {
        self.temp.path().join(self.project)
    }

    /// Where the containers leave word: what they print would be gone with them.
    pub(super) fn proof(&self) -> PathBuf {
        self.temp.path().join("proof")
    }

    pub(super) fn runtime_dir(&self) -> PathBuf {
        self.temp.path().join("run")
    }

    pub(super) fn proof_path(&self) -> String {
        self.proof().display().to_string()
    }

    pub(super) fn registry_address(&self) -> String {
        self.registry.address.to_string()
    }

    pub(super) fn compose(&self) -> String {
        self.plan.compose(&self.proof_path(), &self.registry_address())
    }
}
