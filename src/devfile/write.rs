//! Writes the dev files: only those that have changed, atomically, and never over a file that somebody else wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::plan::Topology;
use super::render::{EMPTY, contexts};
use super::{HEADER, IMAGES};
use crate::exit::{Code, Failure};
use crate::files::read;
use crate::files::replace::{Mode, Staged, make_folder};
use crate::reporter::event::FileChange;
use crate::workspace::{DEV_DIR, Workspace};

/// The files of which we may have written any, by their path in the dev dir.
const OURS: [&str; 5] =
    [".gitignore", "compose.yaml", "images/.gitignore", "traefik/dynamic.yaml", "traefik/traefik.yaml"];

/// Something that is to be done in the dev dir.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// What it is about, by its path in the dev dir.
    pub path: String,
    /// What is to be done.
    pub kind: Kind,
}

/// What is to be done with a dev file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is to have this text.
    Write(String),
    /// It is to go, since the manifests do not speak of it any more.
    Remove,
}

impl Kind {
    /// The change without the text.
    pub(crate) fn change(&self) -> FileChange {
        match self {
            Kind::Write(_) => FileChange::Write,
            Kind::Remove => FileChange::Remove,
        }
    }
}

/// What is to be done so that the dev dir holds exactly these files of ours. None of `files` without a topology.
///
/// # Errors
/// [`Code::NothingToRun`] if somebody else's file is in the way; [`Code::Failed`] if something cannot be read.
pub(crate) fn changes(workspace: &Workspace, files: &BTreeMap<String, String>) -> Result<Vec<Change>, Failure> {
    let dev_dir = workspace.dev_dir();
    let mut changes = Vec::new();
    if !files.is_empty() {
        require_inside(workspace, [])?;
    }
    for path in OURS {
        let there = read(&dev_dir.join(path))?;
        let is_ours = there.as_ref().is_some_and(|text| text.starts_with(HEADER.as_bytes()));
        match (files.get(path), there) {
            (Some(text), Some(there)) if there == text.as_bytes() => {}
            (Some(_), Some(_)) if !is_ours => match path {
                // What it ignores is for its author to say.
                ".gitignore" => {}
                _ => return Err(foreign(path)),
            },
            (Some(text), _) => changes.push(Change { path: path.to_string(), kind: Kind::Write(text.clone()) }),
            (None, Some(_)) if is_ours => changes.push(Change { path: path.to_string(), kind: Kind::Remove }),
            (None, _) => {}
        }
    }
    // Whatever is in there is removed, unless it is what is built.
    let images = dev_dir.join(IMAGES);
    let marker = format!("{IMAGES}/.gitignore");
    if files.contains_key(&marker) && holds_something(&images) && read(&images.join(".gitignore"))?.is_none() {
        return Err(foreign(IMAGES));
    }
    Ok(changes)
}

/// Whether there is anything in a folder, or in its place, but for what another start is about to put there at this moment.
fn holds_something(folder: &Path) -> bool {
    let is_new = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("..gitignore.");
    match fs::read_dir(folder) {
        Ok(mut entries) => entries.any(|entry| entry.map_or(true, |entry| !is_new(&entry.file_name()))),
        Err(_) => folder.exists(),
    }
}

fn foreign(path: &str) -> Failure {
    let error = anyhow!("{DEV_DIR}/{path} was written by somebody else, and Cargo.toml describes the dev stack too");
    Code::NothingToRun.because(error).help(match path {
        "compose.yaml" => {
            "move its services to [workspace.metadata.stagecraft.dev] and remove it, or remove the tables from Cargo.toml"
        }
        _ => "move it away: this is the place of something that is made from Cargo.toml",
    })
}

/// What stands in a file; none if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match read::bytes(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => Ok(None),
        Err(error) => {
            Err(Code::NothingToRun.because(anyhow!(error).context(format!("cannot read {}", path.display()))))
        }
    }
}

/// Whether the compose file is one of ours, which Cargo.toml describes.
pub(crate) fn is_generated(workspace: &Workspace) -> bool {
    let text = read(&workspace.dev_dir().join("compose.yaml"));
    text.is_ok_and(|text| text.is_some_and(|text| text.starts_with(HEADER.as_bytes())))
}

/// Does what is to be done.
///
/// # Errors
/// If the disk does not let us.
pub(crate) fn write(workspace: &Workspace, changes: &[Change]) -> anyhow::Result<()> {
    let dev_dir = workspace.dev_dir();
    for Change { path, kind } in changes {
        let file = dev_dir.join(path);
        match kind {
            Kind::Write(text) => {
                // Traefik reads its files in a container. The others may hold secrets, as the Cargo.toml that they come from may.
                let mode = if path.starts_with("traefik/") { Mode::Readable } else { Mode::Umask };
                fs::create_dir_all(&dev_dir).with_context(|| format!("cannot make {}", dev_dir.display()))?;
                replace(&file, &mode, |new| new.write_all(text.as_bytes()))?;
            }
            Kind::Remove => {
                match fs::remove_file(&file) {
                    // Another start has been faster.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed.with_context(|| format!("cannot remove {}", file.display()))?,
                }
                if path == &format!("{IMAGES}/.gitignore") {
                    remove(&dev_dir.join(IMAGES))?;
                } else if let Some(folder) = file.parent().filter(|folder| *folder != dev_dir) {
                    // It may hold something that is not ours.
                    let _ = fs::remove_dir(folder);
                }
            }
        }
    }
    Ok(())
}

fn replace(file: &Path, mode: &Mode, write: impl FnOnce(&mut fs::File) -> io::Result<()>) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", file.display());
    make_folder(file.parent().with_context(cannot)?).with_context(cannot)?;
    Staged::new(file, mode, write).and_then(Staged::commit).with_context(cannot)
}

/// That what is written to, and removed from, is in the workspace: a checkout may carry links.
///
/// # Errors
/// [`Code::NothingToRun`] with the link.
fn require_inside(workspace: &Workspace, folders: impl IntoIterator<Item = PathBuf>) -> Result<(), Failure> {
    let is_link = |folder: &Path| fs::symlink_metadata(folder).is_ok_and(|it| it.is_symlink());
    let refuse = |folder: &Path| {
        let link = folder.strip_prefix(workspace.root()).unwrap_or(folder).display();
        let error = anyhow!("{link} is a symbolic link, and what it leads to is not changed");
        Code::NothingToRun
            .because(error)
            .help("remove the link: this is the place of something that is made from Cargo.toml")
    };
    let root = fs::canonicalize(workspace.root()).unwrap_or_default();
    let leads_out = |folder: &Path| is_link(folder) && !fs::canonicalize(folder).is_ok_and(|it| it.starts_with(&root));
    for folder in [workspace.root().join(".stagecraft"), workspace.dev_dir()] {
        if leads_out(&folder) {
            return Err(refuse(&folder));
        }
    }
    let dev_dir = workspace.dev_dir();
    let mut inner = ["images", "traefik"].map(|name| dev_dir.join(name)).into_iter().chain(folders);
    inner.find(|folder| is_link(folder)).map_or(Ok(()), |link| Err(refuse(&link)))
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(anyhow!(error).context(format!("cannot remove {}", folder.display())))
        }
        _ => Ok(()),
    }
}

/// Puts these binaries, by service, into their build contexts, which then hold nothing else. Whether any is another one than
/// before.
///
/// # Errors
/// If the disk does not let us.
pub fn place(workspace: &Workspace, topology: &Topology, binaries: &BTreeMap<String, PathBuf>) -> anyhow::Result<bool> {
    let images = workspace.dev_dir().join(IMAGES);
    require_inside(workspace, topology.crates.keys().map(|service| images.join(service)))?;
    let mut changed = false;
    for (service, needs_empty) in contexts(topology) {
        let (Some(binary), krate) = (binaries.get(service), &topology.crates[service]) else { continue };
        let context = images.join(service);
        let placed = context.join(&krate.bin);
        if !is_same(binary, &placed)? {
            replace(&placed, &Mode::Program, |new| copy(binary, new))?;
            changed = true;
        }
        let mut wanted = BTreeSet::new();
        wanted.insert(krate.bin.as_str());
        if needs_empty {
            wanted.insert(EMPTY);
            make_folder(&context.join(EMPTY)).with_context(|| format!("cannot write {}", context.display()))?;
        }
        remove_others(&context, &wanted)?;
    }
    let mut wanted: BTreeSet<&str> = topology.crates.keys().map(String::as_str).collect();
    wanted.insert(".gitignore");
    remove_others(&images, &wanted)?;
    Ok(changed)
}

/// Whether the two files hold the same. The engine looks at nothing else either; the time is there to spare us the reading of
/// what was copied from there and has not been built since.
fn is_same(binary: &Path, placed: &Path) -> anyhow::Result<bool> {
    let about = |path: &Path| fs::metadata(path).and_then(|file| Ok((file.len(), file.modified()?)));
    let built = about(binary).with_context(|| format!("cargo has not made {}", binary.display()))?;
    let Ok(there) = about(placed) else { return Ok(false) };
    if built == there {
        return Ok(true);
    }
    let same = built.0 == there.0 && hold_the_same(binary, placed)?;
    if same {
        // Built anew and the same: next time that is known without reading.
        fs::File::open(placed)?.set_modified(built.1)?;
    }
    Ok(same)
}

/// Piece by piece: whatever is read at once stays in our memory for as long as the stack runs.
fn hold_the_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (BufReader::new(fs::File::open(one)?), BufReader::new(fs::File::open(other)?));
    loop {
        let (a, b) = (one.fill_buf()?, other.fill_buf()?);
        let length = a.len().min(b.len());
        if a[..length] != b[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(a.len() == b.len());
        }
        one.consume(length);
        other.consume(length);
    }
}

/// Copies a program with its time.
fn copy(binary: &Path, to: &mut fs::File) -> io::Result<()> {
    let mut binary = fs::File::open(binary)?;
    io::copy(&mut binary, to)?;
    to.set_modified(binary.metadata()?.modified()?)
}

fn remove_others(folder: &Path, wanted: &BTreeSet<&str>) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().to_str().is_some_and(|name| wanted.contains(name)) {
            continue;
        }
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&path)?;
        } else {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}
