//! `grid module`.

mod author;
mod check;
mod test_run;

use std::path::{Path, PathBuf};

use wasm_grid::view::ModuleView;
use wasm_grid::{Bytes, Client, Digest, ModuleInfo, Publication, Reply, Request, SecretKey};

use crate::command::cli_error::CliError;
use crate::command::module::author::{Build, New};
use crate::command::module::test_run::TestRunArgs;
use crate::command::output::{Output, Rows, bytes, time};
use crate::command::{Common, compiled};

/// Modules: what workers run.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ModuleSubcommand {
    /// Write a worker that builds and runs, in a language of your choice, into a new folder.
    New(New),
    /// Build a worker with the toolchain of its language.
    Build(Build),
    /// Explain what the grid makes of a file, and what it would refuse, without talking to anybody.
    Check {
        /// The module, or the worker's folder once it is built.
        #[arg(default_value = ".")]
        file: PathBuf,
    },
    /// Try a module against a file of messages, in a sandbox on this machine, with its log and its limits shown.
    Test(TestRunArgs),
    /// Compile a module for its first start here; `build` does so by itself, beside what you do next.
    #[command(hide = true)]
    Precompile {
        /// The module.
        file: PathBuf,
    },
    /// Sign a module and bring it to the manager.
    Upload(Upload),
    /// List the modules.
    Ls,
    /// Show one module.
    Show {
        /// Its name, or the beginning of its digest.
        module: String,
    },
    /// Forget a module that nothing uses.
    Rm {
        /// Its name, or the beginning of its digest.
        module: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Upload {
    /// The module.
    file: PathBuf,
    /// Its name [default: that of the file].
    #[arg(long)]
    name: Option<String>,
    /// Its version, for people.
    #[arg(long, default_value = "")]
    version: String,
    /// Counts up with each release [default: the time].
    #[arg(long)]
    serial: Option<u64>,
    /// Days until it is no longer valid [default: for ever].
    #[arg(long, value_name = "DAYS")]
    expires: Option<u64>,
    /// The key to sign with [default: your own].
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The module is a WASI command that is to have files: each task finds a folder of its own, in memory, with its
    /// input in /input, and what it writes to /out comes back.
    #[arg(long)]
    with_files: bool,
}

impl ModuleSubcommand {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        match self {
            Self::New(new) => new.run(output),
            Self::Build(build) => build.run(common, output),
            Self::Check { file } => check::check(output, file),
            Self::Test(trial) => trial.run(common, output).await,
            Self::Precompile { file } => {
                let (_, wasm) = describe(&stem(file), read(file)?, false)?;
                compiled::precompile(&common.home, wasm).await
            }
            Self::Upload(upload) => upload.run(common, output).await,
            Self::Ls => print(output, list(&common.client()?).await?),
            Self::Show { module } => {
                let module = find(&list(&common.client()?).await?, module)?;
                show(output, &module)
            }
            Self::Rm { module } => {
                let client = common.client()?;
                let module = find(&list(&client).await?, module)?;
                client.request(Request::ModuleRemove { module: module.digest }).await?;
                output.done(&format!("{} is forgotten", module.name))
            }
        }
    }
}

/// Reads a module; a `.wat` file is converted to WebAssembly.
pub(crate) fn read(file: &Path) -> Result<Bytes, CliError> {
    let bytes = std::fs::read(file)
        .map_err(|error| CliError::not_found(format!("{} cannot be read: {error}", file.display())))?;
    if file.extension().is_none_or(|kind| kind != "wat") {
        return Ok(bytes.into());
    }
    wat::parse_bytes(&bytes)
        .map(|wasm| Bytes::from(wasm.into_owned()))
        .map_err(|error| CliError::rejected(format!("{} is no module", file.display()), error))
}

/// Makes a module's publication; returns it with the bytes to upload, which are marked if the command gets files.
pub(crate) fn describe(name: &str, wasm: Bytes, with_files: bool) -> Result<(Publication, Bytes), CliError> {
    let described = match with_files {
        true => Publication::with_files(name, wasm),
        false => Publication::new(name, &wasm).map(|publication| (publication, wasm)),
    };
    described.map_err(|error| CliError::rejected(format!("the grid does not run {name}"), error))
}

pub(crate) fn stem(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    stem.chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '-' })
        .collect()
}

impl Upload {
    async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        let wasm = read(&self.file)?;
        let name = self.name.clone().unwrap_or_else(|| stem(&self.file));
        let (mut publication, wasm) = describe(&name, wasm, self.with_files)?;
        let manifest = &mut publication.manifest;
        manifest.version.clone_from(&self.version);
        if let Some(days) = self.expires {
            // The serial is still the time.
            manifest.expires = manifest.serial.saturating_add(days.saturating_mul(24 * 3600));
        }
        let client = common.client()?;
        let publisher = self.signing_key(common)?;
        match self.serial {
            Some(serial) => publication.manifest.serial = serial,
            None => client.raise_serial(&mut publication, publisher.public()).await?,
        }
        let manifest = &publication.manifest;
        // A module that the manager has under the same name needs no new signature.
        let modules = list(&client).await?;
        let current = is_current(&modules, manifest.digest);
        let known = modules.into_iter().find(|module| {
            current
                && module.digest == manifest.digest
                && module.name == manifest.name
                && module.publisher == publisher.public()
        });
        let module = match known.filter(|_| self.serial.is_none() && self.expires.is_none()) {
            Some(known) => known,
            None => client.upload_signed(publication.sign(&publisher), wasm).await?,
        };
        let how = match module.known {
            true if module.publisher != publisher.public() => {
                format!("was there already, published by {}", module.publisher.fingerprint())
            }
            true => "was there already".to_owned(),
            false => "uploaded".to_owned(),
        };
        output.say(&format!("{} {how}, {}, serial {}", module.name, bytes(module.length), module.serial));
        let digest = module.digest.to_string();
        output.one(&digest, &digest, ModuleView::from(&module))
    }

    fn signing_key(&self, common: &Common) -> Result<SecretKey, CliError> {
        let path = self.key.clone().unwrap_or_else(|| common.home.join("user.key"));
        grid_disk::load_key(&path)
            .map_err(|error| CliError::failed("the key to sign with cannot be used", error))
    }
}

/// True if the manager has the module, and no newer one under its name. Hosts that have seen a newer serial refuse an
/// older one, so that an old module must be signed again.
pub(crate) fn is_current(modules: &[ModuleInfo], digest: Digest) -> bool {
    let newer = |this: &ModuleInfo, other: &ModuleInfo| {
        other.name == this.name && other.publisher == this.publisher && other.serial > this.serial
    };
    let known = modules.iter().find(|module| module.digest == digest);
    known.is_some_and(|known| !modules.iter().any(|other| newer(known, other)))
}

/// Lists the modules of the grid.
pub(crate) async fn list(client: &Client) -> Result<Vec<ModuleInfo>, CliError> {
    match client.request(Request::ModuleList).await? {
        Reply::Modules(modules) => Ok(modules),
        _ => Err(CliError::failed("no modules", "the manager answered something else")),
    }
}

/// The module with this name (the newest if there are several) or this beginning of its digest.
pub(crate) fn find(modules: &[ModuleInfo], name: &str) -> Result<ModuleInfo, CliError> {
    wasm_grid::find_module(modules, name).cloned().ok_or_else(|| {
        CliError::not_found(format!("there is no module `{name}`"))
            .help("`grid module ls` lists them; `grid module upload FILE` brings one")
    })
}

fn show(output: &Output, module: &ModuleInfo) -> Result<(), CliError> {
    let expires = if module.expires == 0 { "never".to_owned() } else { time(module.expires) };
    let lines = [
        format!("name      {}", module.name),
        format!("version   {}", module.version),
        format!("serial    {}", module.serial),
        format!("digest    {}", module.digest),
        format!("entry     {}", module.entry_point),
        format!("length    {}", bytes(module.length)),
        format!("publisher {}", module.publisher.fingerprint()),
        format!("expires   {expires}"),
    ];
    output.one(&lines[..], &module.digest.to_string(), ModuleView::from(module))
}

fn print(output: &Output, modules: Vec<ModuleInfo>) -> Result<(), CliError> {
    let row = |module: ModuleInfo| {
        let cells = vec![
            module.name.clone(),
            module.version.clone(),
            module.serial.to_string(),
            module.entry_point.clone(),
            bytes(module.length),
            module.digest.short().to_string(),
            module.publisher.fingerprint(),
        ];
        (cells, ModuleView::from(&module))
    };
    output.rows(Rows {
        headings: &["name", "version", "serial", "entry point", "length", "digest", "publisher"],
        rows: modules.into_iter().map(row).collect(),
        empty: "no modules; `grid module upload FILE` brings one",
    })
}
