//! The files of this machine that a program needs in an image made from nothing: its shared libraries and their loader, CA
//! certificates, time zones, the locale C.UTF-8, and the names of users.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use object::FileKind;
use object::elf::{FileHeader32, FileHeader64};
use object::read::ReadCache;
use object::read::elf::{FileHeader, ProgramHeader as _};
use xshell::{Shell, cmd};

use super::USER;
use crate::command::{Executor, Invocation};
use crate::exit::{Code, Failure};
use crate::os;
use crate::supervisor;

/// Where the CA certificates are in an image, and the variable that tells programs.
pub(super) const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";
pub(super) const CERTIFICATES_VARIABLE: &str = "SSL_CERT_FILE";
/// Where systems have their CA certificates. Source: <https://github.com/rustls/openssl-probe>.
const SYSTEMS_CERTIFICATES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
    "/opt/homebrew/etc/ca-certificates/cert.pem",
];
const ZONES: &str = "usr/share/zoneinfo";
/// The same zones once more, with other leap seconds or under another name.
const COPIES_OF_ZONES: [&str; 2] = ["posix", "right"];
/// The locale that glibc has without any configuration, where it is a directory (since 2.35).
const LOCALE: &str = "usr/lib/locale/C.utf8";
/// Libraries that glibc opens when it resolves a name. Since 2.34 they are in libc.
const RESOLVER: [&str; 3] = ["libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"];

/// The content of a file in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Of this file.
    File(PathBuf),
    Text(String),
    /// A symbolic link to this path.
    Link(PathBuf),
}

/// The files of a program's runtime layer, by their path in the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runtime {
    pub files: BTreeMap<String, Content>,
}

impl Runtime {
    /// What a program needs besides itself.
    ///
    /// # Errors
    /// If the program cannot be read, or needs a library that this machine does not have.
    pub(crate) fn of(binary: &Path, executor: &dyn Executor) -> anyhow::Result<Runtime> {
        let mut files = BTreeMap::new();
        let loader = interpreter(binary).with_context(|| format!("cannot read {}", binary.display()))?;
        if let Some(loader) = loader {
            require_loader(&loader, binary)?;
            files.extend(libraries(binary, &loader, executor)?);
            files.insert(inside(&loader), Content::File(loader));
            files.insert("etc/nsswitch.conf".to_string(), Content::Text("hosts: files dns\n".to_string()));
            add_folder(LOCALE, &mut files);
        }
        if let Some(certificates) = SYSTEMS_CERTIFICATES.iter().find(|path| Path::new(path).is_file()) {
            files.insert(CERTIFICATES.to_string(), Content::File(PathBuf::from(certificates)));
        }
        add_folder(ZONES, &mut files);
        let users = format!("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:{USER}:{USER}:nonroot:/:/sbin/nologin\n");
        files.insert("etc/passwd".to_string(), Content::Text(users));
        let groups = format!("root:x:0:\nnonroot:x:{USER}:\n");
        files.insert("etc/group".to_string(), Content::Text(groups));
        Ok(Runtime { files })
    }

    /// Adds the supervisor, which is this very program, with the libraries that it needs. Whether that is possible: it is not if this
    /// program is no Linux program, or has other libraries of the same names than the one that it would supervise.
    ///
    /// # Errors
    /// If this program cannot be read, or its libraries cannot be found.
    pub(crate) fn add_supervisor(&mut self, executor: &dyn Executor) -> anyhow::Result<bool> {
        if !os::RUNS_LINUX_PROGRAMS {
            return Ok(false);
        }
        let this = std::env::current_exe().context("the path of this program cannot be found")?;
        let mut files = BTreeMap::new();
        if let Some(loader) = interpreter(&this).with_context(|| format!("cannot read {}", this.display()))? {
            files.extend(libraries(&this, &loader, executor)?);
            files.insert(inside(&loader), Content::File(loader));
        }
        files.insert(supervisor::PATH.to_string(), Content::File(this));
        let fits = |(path, content): (&String, &Content)| self.files.get(path).is_none_or(|there| there == content);
        if !files.iter().all(fits) {
            return Ok(false);
        }
        self.files.extend(files);
        Ok(true)
    }

    pub(super) fn has_certificates(&self) -> bool {
        self.files.contains_key(CERTIFICATES)
    }

    /// The files of this machine that it is made of, for a record. A change of the time zones changes one of them.
    pub(crate) fn sources(&self) -> Vec<PathBuf> {
        let is_a_zone = |path: &str| path.starts_with(ZONES);
        let files = self.files.iter().filter_map(|(path, content)| match content {
            Content::File(file) if !is_a_zone(path) => Some(file.clone()),
            _ => None,
        });
        let zones = self.files.keys().any(|path| is_a_zone(path)).then(|| Path::new("/").join(ZONES));
        files.chain(zones).collect()
    }
}

/// A path of this machine as a path in an image.
fn inside(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_string()
}

/// The loader that a program names. None for a static program, and for one that is not a Linux program.
fn interpreter(binary: &Path) -> io::Result<Option<PathBuf>> {
    fn of<E: FileHeader<Endian = object::Endianness>>(data: &ReadCache<File>) -> object::read::Result<Option<PathBuf>> {
        let header = E::parse(data)?;
        let endian = header.endian()?;
        for segment in header.program_headers(endian, data)? {
            if let Some(path) = segment.interpreter(endian, data)? {
                return Ok(Some(PathBuf::from(String::from_utf8_lossy(path).into_owned())));
            }
        }
        Ok(None)
    }
    let data = ReadCache::new(File::open(binary)?);
    let found = match FileKind::parse(&data) {
        Ok(FileKind::Elf64) => of::<FileHeader64<object::Endianness>>(&data),
        Ok(FileKind::Elf32) => of::<FileHeader32<object::Endianness>>(&data),
        _ => Ok(None),
    };
    found.map_err(io::Error::other)
}

/// That this machine has the loader of a program, which another C library than its own may bring.
fn require_loader(loader: &Path, binary: &Path) -> Result<(), Failure> {
    if loader.is_file() {
        return Ok(());
    }
    let error = anyhow!("this machine does not have {}, the loader of {}", loader.display(), binary.display());
    let help = "install the C library that the program is built for, or link statically: `static = true` in \
                [workspace.metadata.stagecraft.dev]";
    Err(Code::Failed.because(error).help(help))
}

/// The shared libraries that the loader finds for a program. In the image they are where the loader looks by default: beside the C
/// library.
fn libraries(binary: &Path, loader: &Path, executor: &dyn Executor) -> anyhow::Result<BTreeMap<String, Content>> {
    let sh = Shell::new().context("the current directory cannot be found")?;
    let list = Invocation::from(cmd!(sh, "{loader} --list {binary}"));
    let output = executor.output(&list).with_context(|| format!("cannot run {}", loader.display()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_string();
        // The loader of glibc says the program's path first.
        let words = words.rsplit_once("shared libraries: ").map_or(words.as_str(), |(_, words)| words);
        let error = anyhow!("a shared library of {} was not found: {words}", binary.display());
        let help = "install it where the loader looks, or link statically: `static = true` in [workspace.metadata.stagecraft.dev]";
        return Err(Code::Failed.because(error).help(help).into());
    }
    let found = read_list(&String::from_utf8_lossy(&output.stdout));
    let is_libc = |(name, _): &&(String, PathBuf)| name.starts_with("libc.so") || name.starts_with("libc.musl");
    let libc = found.iter().find(is_libc).and_then(|(_, path)| path.parent());
    let home = libc.or(loader.parent()).unwrap_or(Path::new("/lib")).to_owned();
    let mut files = BTreeMap::new();
    for (name, path) in found {
        let place = if name.contains('/') { PathBuf::from(name) } else { home.join(name) };
        files.insert(inside(&place), Content::File(path));
    }
    for name in RESOLVER {
        let path = home.join(name);
        if path.is_file() {
            files.insert(inside(&path), Content::File(path));
        }
    }
    Ok(files)
}

/// The libraries in the output of a loader's `--list`, with where they are.
fn read_list(listed: &str) -> Vec<(String, PathBuf)> {
    let library = |line: &str| {
        let (name, rest) = line.trim().split_once(" => ")?;
        let path = rest.rsplit_once(" (").map_or(rest, |(path, _)| path);
        path.starts_with('/').then(|| (name.to_string(), PathBuf::from(path)))
    };
    listed.lines().filter_map(library).collect()
}

/// Adds the files of a directory of this machine at the same place, if it exists.
fn add_folder(place: &str, files: &mut BTreeMap<String, Content>) {
    for entry in fs::read_dir(Path::new("/").join(place)).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let is_copy = place == ZONES && COPIES_OF_ZONES.contains(&name.as_str());
        let place = format!("{place}/{name}");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !is_copy => add_folder(&place, files),
            Ok(kind) if kind.is_file() => {
                files.insert(place, Content::File(path));
            }
            // One that leads out of the directory would lead nowhere in the image.
            Ok(kind) if kind.is_symlink() => match fs::read_link(&path) {
                Ok(target) if target.is_relative() && path.exists() => {
                    files.insert(place, Content::Link(target));
                }
                _ => {}
            },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_the_list_of_a_loader() {
        let glibc = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibpq.so.5 => /usr/lib/x86_64-linux-gnu/libpq.so.5 (0x00007f)\n\
                     \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found =
            [("libpq.so.5", "/usr/lib/x86_64-linux-gnu/libpq.so.5"), ("libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6")];
        let found = found.map(|(name, path)| (name.to_string(), PathBuf::from(path))).to_vec();
        assert_eq!(read_list(glibc), found);
        assert_eq!(read_list("\tldd (0x7f)\n\tlibx.so => not found\n"), []);
    }

    #[test]
    fn a_program_of_this_machine_has_its_loader_and_its_c_library() {
        let this = std::env::current_exe().unwrap();
        // Not one of Linux, or static.
        let Some(loader) = interpreter(&this).unwrap() else { return };
        let runtime = Runtime::of(&this, &crate::command::System).unwrap();
        assert_eq!(runtime.files[&inside(&loader)], Content::File(loader));
        assert!(runtime.files.keys().any(|path| path.rsplit('/').next().unwrap().starts_with("libc.")));
        assert!(runtime.sources().len() >= 2);
    }

    #[test]
    fn a_loader_that_this_machine_does_not_have_is_named() {
        let this = std::env::current_exe().unwrap();
        let Some(loader) = interpreter(&this).unwrap() else { return };
        let loader = loader.to_str().unwrap();
        // Of the same length, so that everything else in the file stays where it is.
        let other = format!("/none/{}", &loader["/none/".len()..]);
        let mut program = fs::read(&this).unwrap();
        let at = program.windows(loader.len()).position(|bytes| bytes == loader.as_bytes()).unwrap();
        program[at..at + loader.len()].copy_from_slice(other.as_bytes());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::write(&path, program).unwrap();
        let error = Runtime::of(&path, &crate::command::System).unwrap_err();
        let expected = format!("this machine does not have {other}, the loader of {}", path.display());
        assert_eq!(error.to_string(), expected);
        assert!(error.downcast_ref::<Failure>().unwrap().next_step().unwrap().contains("`static = true`"));
    }

    #[test]
    fn a_file_that_is_no_program_has_no_loader() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "#!/bin/sh\n", "\u{7f}ELF"] {
            let file = dir.path().join("file");
            fs::write(&file, text).unwrap();
            assert_eq!(interpreter(&file).ok().flatten(), None);
        }
    }
}
