//! The image of a crate's service that is made from nothing (`scratch`), as an archive that `docker load` reads. It has two layers:
//! what the program needs of this machine, and the program.
//!
//! The same files and the same settings give the same bytes, and so the same image: times are zero, owners and modes are fixed, and entries have one order. A label holds the digest of all of it, so the engine can be asked whether it has the
//! image; the id of an image differs between the engine's image stores.
//!
//! Source of the format: <https://github.com/moby/docker-image-spec/blob/main/v1.2.md>, "Combined Image JSON + Filesystem Changeset Format".

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};
use xshell::{Shell, cmd};

use self::runtime::{CERTIFICATES_VARIABLE, Content, Runtime};
use crate::command::{Archive, Invocation};
use crate::supervisor::{self, Supervision};

pub(crate) mod runtime;

/// The directory of the program in the image. It is in the PATH that every engine sets.
pub const BIN: &str = "usr/local/bin";
/// What an archive consists of.
const BLOCK: u64 = 512;
/// The user that the program runs as; distroless images use the same number.
const USER: u64 = 65532;
/// The label with the digest of the image.
pub(crate) const DIGEST_LABEL: &str = "dev.stagecraft.image";
/// No time of this machine is in an image.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// What an image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Its name on the engine.
    pub name: String,
    /// Its labels, without that of the digest.
    pub labels: BTreeMap<String, String>,
    /// The architecture, in the engine's words: `amd64`.
    pub architecture: String,
    /// The program on this machine.
    pub binary: PathBuf,
    /// Its name in the image.
    pub bin: String,
    /// Empty directories that the program can write to: mount points of volumes.
    pub writable: BTreeSet<String>,
    /// The user and group that own these directories; by default those that the program runs as.
    pub owner: Option<(u64, u64)>,
    /// What the program needs besides itself.
    pub runtime: Runtime,
    /// How it is supervised, if it can be replaced while it runs.
    pub supervision: Option<Supervision>,
}

/// Counts and hashes what is written to it.
struct Measuring {
    length: u64,
    hasher: Sha256,
}

/// The length of some bytes, and their SHA-256.
struct Measured {
    length: u64,
    sha256: String,
}

impl Measuring {
    fn new() -> Measuring {
        Measuring { length: 0, hasher: Sha256::new() }
    }

    fn end(self) -> Measured {
        Measured { length: self.length, sha256: hex(&self.hasher.finalize()) }
    }
}

impl Write for Measuring {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

impl Image {
    /// Everything but the program's content, for comparison with an earlier image.
    pub(crate) fn settings(&self) -> String {
        let Image { name, labels, architecture, binary: _, bin, writable, owner, runtime: _, supervision } = self;
        let entrypoint = supervision.as_ref().map(Supervision::entrypoint);
        let settings = json!({
            "name": name, "labels": labels, "architecture": architecture, "bin": bin, "writable": writable, "owner": owner,
            "supervision": entrypoint, "format": 1,
        });
        sha256(settings.to_string().as_bytes())
    }

    /// Writes the archive, and returns the digest of the image. The program is read once, so that a large one takes little time.
    ///
    /// # Errors
    /// If a file cannot be read, or changes meanwhile; if the archive cannot be written.
    pub(crate) fn write(&self, archive: &mut (impl Write + Seek)) -> io::Result<String> {
        let layers = [Layer::Runtime, Layer::Program];
        let names = layers.map(Layer::name);
        let measured = [self.add_layer(layers[0], archive)?, self.add_layer(layers[1], archive)?];
        let digest = format!("sha256:{}", sha256(self.config(&measured, None).to_string().as_bytes()));
        let config = self.config(&measured, Some(&digest)).to_string();
        let config_name = format!("{}.json", sha256(config.as_bytes()));
        let manifest =
            json!([{ "Config": config_name, "RepoTags": [tagged(&self.name)], "Layers": names }]).to_string();
        let mut archive = Builder::new(archive);
        for (name, content) in [(config_name.as_str(), &config), ("manifest.json", &manifest)] {
            let header = header(EntryType::Regular, 0o644, content.len() as u64, (0, 0));
            append(&mut archive, header, name, content.as_bytes())?;
        }
        archive.into_inner()?.flush()?;
        Ok(digest)
    }

    /// Adds a layer to the archive. Its header comes first and has its length, so it is written afterwards.
    fn add_layer(&self, layer: Layer, archive: &mut (impl Write + Seek)) -> io::Result<Measured> {
        let begin = archive.stream_position()?;
        archive.seek(SeekFrom::Start(begin + BLOCK))?;
        let mut measuring = Measuring::new();
        self.write_layer(layer, &mut Both(&mut *archive, &mut measuring))?;
        let measured = measuring.end();
        let padding = (BLOCK - measured.length % BLOCK) % BLOCK;
        io::copy(&mut io::repeat(0).take(padding), archive)?;
        let end = archive.stream_position()?;
        archive.seek(SeekFrom::Start(begin))?;
        let mut header = header(EntryType::Regular, 0o644, measured.length, (0, 0));
        header.set_path(layer.name())?;
        header.set_cksum();
        archive.write_all(header.as_bytes())?;
        archive.seek(SeekFrom::Start(end))?;
        Ok(measured)
    }

    fn config(&self, layers: &[Measured; 2], digest: Option<&str>) -> Value {
        let mut labels = self.labels.clone();
        labels.extend(digest.map(|digest| (DIGEST_LABEL.to_string(), digest.to_string())));
        let mut environment = vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_string()];
        if self.runtime.has_certificates() {
            environment.push(format!("{CERTIFICATES_VARIABLE}=/{}", runtime::CERTIFICATES));
        }
        let layer = |what: &str| json!({ "created": CREATED, "created_by": format!("cargo-stagecraft: {what}") });
        let ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", layer.sha256)).collect();
        let mut entrypoint = self.supervision.as_ref().map(Supervision::entrypoint).unwrap_or_default();
        entrypoint.push(format!("/{BIN}/{}", self.bin));
        json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": CREATED,
            "config": {
                "User": format!("{USER}:{USER}"),
                "Env": environment,
                "Entrypoint": entrypoint,
                "Labels": labels,
            },
            "rootfs": { "type": "layers", "diff_ids": ids },
            "history": [layer("files of the host"), layer(&self.bin)],
        })
    }

    fn write_layer(&self, layer: Layer, to: &mut impl Write) -> io::Result<()> {
        match layer {
            Layer::Runtime => self.write_runtime(to),
            Layer::Program => self.write_program(to),
        }
    }

    fn write_runtime(&self, to: &mut impl Write) -> io::Result<()> {
        let mut layer = Builder::new(to);
        add_directories(
            &mut layer,
            self.runtime.files.keys().filter_map(|path| Some(path.rsplit_once('/')?.0)),
            &BTreeMap::new(),
        )?;
        for (path, content) in &self.runtime.files {
            match content {
                Content::File(source) => {
                    let file = File::open(source)?;
                    let about = file.metadata()?;
                    append(&mut layer, header(EntryType::Regular, mode(path), about.len(), (0, 0)), path, file)?;
                }
                Content::Text(text) => {
                    let header = header(EntryType::Regular, mode(path), text.len() as u64, (0, 0));
                    append(&mut layer, header, path, text.as_bytes())?;
                }
                Content::Link(target) => {
                    layer.append_link(&mut header(EntryType::Symlink, 0o777, 0, (0, 0)), path, target)?;
                }
            }
        }
        layer.into_inner().map(drop)
    }

    /// The program, and the directories that it can write to.
    fn write_program(&self, to: &mut impl Write) -> io::Result<()> {
        let owner = self.owner.unwrap_or((USER, USER));
        let writable = self.writable.iter().map(|path| (path.trim_matches('/'), owner)).collect();
        let mut layer = Builder::new(to);
        add_directories(&mut layer, self.writable.iter().map(|path| path.trim_matches('/')).chain([BIN]), &writable)?;
        let program = File::open(&self.binary)?;
        let about = |file: &File| file.metadata().and_then(|it| Ok((it.len(), it.modified()?)));
        let before = about(&program)?;
        let header = header(EntryType::Regular, 0o755, before.0, (0, 0));
        append(&mut layer, header, &format!("{BIN}/{}", self.bin), &program)?;
        if about(&program)? != before {
            return Err(io::Error::other(format!("{} was built again meanwhile", self.binary.display())));
        }
        layer.into_inner().map(drop)
    }
}

/// A layer of an image.
#[derive(Clone, Copy)]
enum Layer {
    Runtime,
    Program,
}

impl Layer {
    /// Its path in the archive.
    fn name(self) -> &'static str {
        match self {
            Layer::Runtime => "runtime/layer.tar",
            Layer::Program => "program/layer.tar",
        }
    }
}

/// Adds these directories with those that they are in, which belong to root unless `owners` has them.
fn add_directories<'a>(
    layer: &mut Builder<impl Write>,
    paths: impl Iterator<Item = &'a str>,
    owners: &BTreeMap<&str, (u64, u64)>,
) -> io::Result<()> {
    let all: BTreeSet<&Path> = paths.flat_map(|path| Path::new(path).ancestors()).collect();
    for path in all.into_iter().filter_map(Path::to_str).filter(|path| !path.is_empty()) {
        let owner = owners.get(path).copied().unwrap_or((0, 0));
        append(layer, header(EntryType::Directory, 0o755, 0, owner), &format!("{path}/"), io::empty())?;
    }
    Ok(())
}

/// The mode of a file of the runtime: a loader is executed, and so is the supervisor.
fn mode(path: &str) -> u32 {
    if path.contains(".so") || path == supervisor::PATH { 0o755 } else { 0o644 }
}

/// An archive with nothing but a program, as a file of this name that everybody can run.
///
/// # Errors
/// If the program cannot be read.
pub fn program_archive(program: &Path, name: &str) -> io::Result<Archive> {
    let length = program.metadata()?.len();
    let mut header = header(EntryType::Regular, 0o755, length, (0, 0));
    header.set_path(name)?;
    header.set_cksum();
    // The file is filled up to a whole block, and two empty ones end the archive.
    let zeros = length.next_multiple_of(BLOCK) - length + 2 * BLOCK;
    Ok(Archive { head: header.as_bytes().to_vec(), file: program.to_owned(), length, zeros })
}

/// The command that loads an archive. `archive` is relative to the workspace root.
///
/// # Errors
/// If our own working directory is gone.
pub fn load(root: &Path, archive: &Path) -> anyhow::Result<Invocation> {
    let sh = Shell::new()?;
    sh.change_dir(root);
    Ok(Invocation::from(cmd!(sh, "docker load --quiet --input {archive}")).with_errors_shown())
}

/// Writes to both.
struct Both<'a, A, B>(&'a mut A, &'a mut B);

impl<A: Write, B: Write> Write for Both<'_, A, B> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes)?;
        self.1.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The name with a tag, which an archive requires.
fn tagged(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') { name.to_string() } else { format!("{name}:latest") }
}

fn header(kind: EntryType, mode: u32, size: u64, (uid, gid): (u64, u64)) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(uid);
    header.set_gid(gid);
    header.set_mtime(0);
    header
}

fn append(to: &mut Builder<impl Write>, mut header: Header, path: &str, content: impl Read) -> io::Result<()> {
    to.append_data(&mut header, path, content)
}

#[cfg(test)]
mod tests;
