//! `init`: adds a dev stack to the Cargo.toml files of the workspace.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::files::DevFiles;
use super::{Context, Selection};
use crate::devfile::{NewTable, Reached, add_table, diff};
use crate::exit::{Code, Failure};
use crate::files::read;
use crate::files::replace::{Mode, Staged};
use crate::reporter::Logger;
use crate::suggest::suggestion;
use crate::workspace::{BrokenMember, COMPOSE_FILE, Package, Workspace};

/// What `init` is asked to do.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// Which workspace.
    pub selection: Selection,
    /// The services to begin with.
    pub services: Vec<NewService>,
    /// How their ports are published.
    pub reached: Reached,
    /// Show what would be written; write nothing.
    pub dry_run: bool,
}

/// A requested service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewService {
    /// A package or a binary, and the name of the service.
    pub name: String,
    /// The port that it listens at.
    pub port: Option<u16>,
}

/// Shows what can be a service, and writes the tables of those that are asked for.
///
/// # Errors
/// [`Code::NothingToRun`] if there is no such binary, it is a service already, or the stack is described by a compose file;
/// nothing has been written then.
pub(crate) fn init(options: &InitOptions, cx: &Context<'_>) -> anyhow::Result<Code> {
    let workspace = Workspace::discover(&cx.commander, cx.cwd, &options.selection.manifest, BrokenMember::Refuse)?;
    show(cx, &workspace);
    if options.services.is_empty() {
        cx.shell.help("name the services: `cargo stagecraft init --service api:8080`");
        return Ok(Code::Success);
    }
    if DevFiles::of(&workspace)?.topology.is_none() && workspace.root().join(COMPOSE_FILE).exists() {
        let error = anyhow!("{COMPOSE_FILE} describes the dev stack already, and was written by hand");
        let help =
            "to describe it in Cargo.toml, move its services to [workspace.metadata.stagecraft.dev] and remove it";
        return Err(Code::NothingToRun.because(error).help(help).into());
    }
    let mut texts: BTreeMap<PathBuf, (String, String)> = BTreeMap::new();
    for service in &options.services {
        let (package, table) = table_of(&workspace, service, options.reached)?;
        let manifest = &package.manifest_path;
        if texts.contains_key(manifest) {
            let error = anyhow!("package `{}` can be one service only", package.name);
            return Err(Code::NothingToRun.because(error).into());
        }
        let before = read::text(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        let after = add_table(&before, &table).with_context(|| relative(&workspace, manifest));
        texts.insert(manifest.clone(), (before, after.map_err(|error| Code::NothingToRun.because(error))?));
    }
    if options.dry_run {
        for (manifest, (before, after)) in &texts {
            let diff = diff(&relative(&workspace, manifest), before, after);
            cx.shell.print(OsStr::new(&diff)).context("cannot write to stdout")?;
        }
        return Ok(Code::Success);
    }
    write_all(&texts)?;
    for manifest in texts.keys() {
        let name = relative(&workspace, manifest);
        cx.shell.status("Adding", &format!("[package.metadata.stagecraft.dev] to {name}"));
    }
    cx.shell.note("build and start it with `cargo stagecraft dev`");
    Ok(Code::Success)
}

/// Writes all of these manifests or, if one cannot be written, none. Each is given with its text before and after.
fn write_all(texts: &BTreeMap<PathBuf, (String, String)>) -> anyhow::Result<()> {
    let stage = |manifest: &Path, text: &str| -> anyhow::Result<Staged> {
        let cannot = || format!("cannot write {}", manifest.display());
        // Behind a link, so that this stays one.
        let place = fs::canonicalize(manifest).with_context(cannot)?;
        let permissions = fs::metadata(&place).with_context(cannot)?.permissions();
        if permissions.readonly() {
            return Err(anyhow!("it is read-only").context(cannot()));
        }
        let write = |file: &mut fs::File| file.write_all(text.as_bytes());
        Staged::new(&place, &Mode::As(permissions), write).with_context(cannot)
    };
    let staged: Vec<Staged> =
        texts.iter().map(|(manifest, (_, after))| stage(manifest, after)).collect::<anyhow::Result<_>>()?;
    for (done, (staged, manifest)) in staged.into_iter().zip(texts.keys()).enumerate() {
        if let Err(error) = staged.commit() {
            for (manifest, (before, _)) in texts.iter().take(done) {
                stage(manifest, before)?.commit()?;
            }
            return Err(anyhow!(error).context(format!("cannot write {}", manifest.display())));
        }
    }
    Ok(())
}

fn relative(workspace: &Workspace, path: &Path) -> String {
    path.strip_prefix(workspace.root()).unwrap_or(path).display().to_string()
}

/// What there is that can be a service, and what is one already.
fn show(cx: &Context<'_>, workspace: &Workspace) {
    let head = ["PACKAGE", "BINARIES", "SERVICE"].map(str::to_string).to_vec();
    let service = |package: &Package| match &package.metadata {
        described if described.is_null() => String::new(),
        described => described["service"].as_str().unwrap_or(&package.name).to_string(),
    };
    let with_binaries = workspace.packages.iter().filter(|package| !package.binaries.is_empty());
    let rows = with_binaries.map(|package| vec![package.name.clone(), package.binaries.join(" "), service(package)]);
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        cx.shell.note("no package of this workspace has a binary");
    } else {
        cx.shell.status("Found", &workspace.root().display().to_string());
        cx.shell.table(&[vec![head], rows].concat());
    }
}

/// The package that is meant, and the keys that say so.
fn table_of<'a>(
    workspace: &'a Workspace,
    new: &NewService,
    reached: Reached,
) -> Result<(&'a Package, NewTable), Failure> {
    let name = &new.name;
    let refuse = |error: anyhow::Error| Code::NothingToRun.because(error);
    let of_this_name = workspace.packages.iter().find(|it| it.name == *name && !it.binaries.is_empty());
    let with_binary: Vec<&Package> = workspace.packages.iter().filter(|it| it.binaries.contains(name)).collect();
    let package = match (of_this_name, with_binary.as_slice()) {
        (Some(package), _) => package,
        (None, [package]) => *package,
        (None, []) => {
            let with_binaries = workspace.packages.iter().filter(|package| !package.binaries.is_empty());
            let known = with_binaries.flat_map(|package| package.binaries.iter().chain([&package.name]));
            let error = anyhow!("no package and no binary of this workspace is named `{name}`");
            return Err(refuse(error).help_if(suggestion("name", name, known.map(String::as_str))));
        }
        (None, several) => {
            let names: Vec<String> = several.iter().map(|package| format!("`{}`", package.name)).collect();
            let error = anyhow!("several packages have a binary `{name}`: {}", names.join(", "));
            return Err(refuse(error).help("name the package"));
        }
    };
    if !package.metadata.is_null() {
        let manifest = relative(workspace, &package.manifest_path);
        let error = anyhow!(
            "package `{}` is a service already: see [package.metadata.stagecraft.dev] in {manifest}",
            package.name
        );
        return Err(refuse(error));
    }
    let bin = match (package.binaries.as_slice(), &package.default_run) {
        ([_], _) => None,
        (all, _) if all.contains(name) => Some(name.clone()),
        (_, Some(_)) => None,
        (all, None) => {
            let error = anyhow!("package `{name}` has several binaries: {}", all.join(", "));
            return Err(refuse(error).help("name one of them"));
        }
    };
    let table = NewTable {
        service: (package.name != *name).then(|| name.clone()),
        bin: bin.filter(|bin| package.default_run.as_ref() != Some(bin)),
        port: new.port.map(|port| (port, reached)),
    };
    Ok((package, table))
}
