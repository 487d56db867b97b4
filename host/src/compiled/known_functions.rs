//! Compiled functions on disk: a file for each module that was compiled, found by its scope.
//!
//! A compiler that hostile code has taken over may return anything for a function that an honest module has, too.
//! Therefore functions are reused among the modules of one publisher alone: nobody else could sign any of them. Code in
//! which functions were reused does not run for the same module signed by another.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use grid_disk::replace;
use grid_protocol::digest::Digest;
use grid_protocol::key::PublicKey;
use hmac::Mac;

use crate::cache::CacheError;
use crate::compile::{
    Compilation, CompileError, Compiler, FunctionPack, PACKS_BYTES_MAX, PACKS_MAX, compatibility,
};
use crate::compiled::{CompiledCache, MAC_BYTES};
use crate::sandbox::{CodeForm, Compiled};

/// A shorter module is compiled in less time than it takes to read the functions that are known: 256 KiB.
const REUSE_BYTES_MIN: usize = 256 << 10;

/// Whose modules share compiled functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReuseScope {
    /// The user of this machine: what programs of the user run in grids of their own, under keys that last as long as
    /// these, and what the user has compiled ahead.
    User,
    /// The publisher who signed them.
    Publisher(PublicKey),
}

impl ReuseScope {
    pub(super) fn to_bytes(self) -> [u8; 33] {
        let mut bytes = [0; 33];
        if let (Self::Publisher(key), [kind, rest @ ..]) = (self, &mut bytes) {
            *kind = 1;
            *rest = *key.as_bytes();
        }
        bytes
    }
}

impl fmt::Display for ReuseScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("user"),
            Self::Publisher(key) => Digest::from_bytes(*key.as_bytes()).fmt(f),
        }
    }
}

/// The compiled functions of one scope's modules, for one engine.
#[derive(Debug, Default)]
struct KnownFunctions {
    /// The last used first.
    packs: Vec<FunctionPack>,
    /// The file of each pack.
    paths: Vec<PathBuf>,
}

/// A module's code, perhaps with functions of other modules of its publisher in it.
pub struct ReusingCode {
    /// The code.
    pub code: Compiled,
    /// The number of functions that were not compiled, because they were known.
    pub reused: u32,
    /// The scope, if it had known functions: then this code may run for no module of another.
    pub only_for: Option<ReuseScope>,
    module: Digest,
    /// Hash of what the code depends on.
    compatibility: u64,
    /// `None` if functions were not to be reused.
    functions: Option<FunctionsToKeep>,
}

/// What compiling a module has brought for later modules of its scope.
struct FunctionsToKeep {
    scope: ReuseScope,
    /// The files whose functions were of use.
    of_use: Vec<PathBuf>,
    new: FunctionPack,
}

impl Compiler {
    /// As [`Self::compile`], with the functions of the scope's earlier modules that are in the cache. The cache gets nothing before
    /// [`CompiledCache::keep_reusing`]. Short modules are compiled without.
    ///
    /// # Errors
    ///
    /// [`CompileError`], whose variant says who must act. A cache that fails is none: it is logged.
    pub async fn compile_reusing(
        &self,
        cache: &CompiledCache,
        scope: ReuseScope,
        module: Digest,
        wasm: Bytes,
        form: CodeForm,
    ) -> Result<ReusingCode, CompileError> {
        let compatibility = compatibility(form)?;
        if wasm.len() < REUSE_BYTES_MIN || *self == Self::InProcess {
            let Compilation { code, .. } = self.compile(wasm, form, None).await?;
            return Ok(ReusingCode {
                code,
                reused: 0,
                only_for: None,
                module,
                compatibility,
                functions: None,
            });
        }
        let read = {
            let cache = cache.clone();
            tokio::task::spawn_blocking(move || cache.known_functions(scope, compatibility)).await
        };
        let known = read.inspect_err(|error| {
            tracing::warn!(%module, %error, "compiled functions are not read; this module is compiled in full");
        });
        let KnownFunctions { packs, paths } = known.unwrap_or_default();
        // Not what the compiler says that it has reused: functions that it was given may have taken it.
        let only_for = (!packs.is_empty()).then_some(scope);
        let Compilation { code, new, reused, used } = self.compile(wasm, form, Some(packs)).await?;
        let of_use = (0..).zip(paths).filter(|(number, _)| (used >> number) & 1 == 1);
        let of_use = of_use.map(|(_, path)| path).collect();
        let functions = Some(FunctionsToKeep { scope, of_use, new });
        Ok(ReusingCode { code, reused, only_for, module, compatibility, functions })
    }
}

impl CompiledCache {
    /// Reads the compiled functions of a scope's modules, for an engine with this hash of what its code depends on:
    /// those that were used last, at most 64 modules and 128 MiB. A file whose MAC is wrong is removed.
    ///
    /// Takes 0.1 s if there are many: not to be called where others wait.
    fn known_functions(&self, scope: ReuseScope, compatibility: u64) -> KnownFunctions {
        let (mut known, mut bytes) = (KnownFunctions::default(), 0);
        for (length, path) in self.folder.newest(&name_of(scope, compatibility), FUNCTIONS) {
            bytes += length;
            if known.packs.len() == PACKS_MAX || bytes > PACKS_BYTES_MAX as u64 {
                break;
            }
            match self.pack(scope, compatibility, &path) {
                Some(pack) => {
                    known.packs.push(pack);
                    known.paths.push(path);
                }
                None => {
                    tracing::warn!(path = %path.display(), "compiled functions were not written by this host")
                }
            }
        }
        known
    }

    /// Stores a module's code, and the functions that compiling it has added. If those cannot be written, that is logged.
    ///
    /// Takes a quarter of a second for a Python worker: not to be called where others wait.
    ///
    /// # Errors
    ///
    /// As [`Self::keep`].
    pub fn keep_reusing(&self, compiled: &ReusingCode) -> Result<(), CacheError> {
        let ReusingCode { module, compatibility, .. } = compiled;
        if let Some(functions) = &compiled.functions
            && let Err(error) = self.keep_functions(*compatibility, module, functions)
        {
            tracing::warn!(%module, %error, "compiled functions are not kept; the next such module is compiled in full");
        }
        self.keep(module, *compatibility, compiled.only_for, &compiled.code)
    }

    /// Stores the functions that compiling a module has added, and notes which of the known ones were of use. Of one
    /// scope as many modules stay as [`Self::known_functions`] reads.
    ///
    /// # Errors
    ///
    /// [`CacheError::Disk`] if the file cannot be written; nothing is stored then.
    fn keep_functions(
        &self,
        compatibility: u64,
        module: &Digest,
        functions: &FunctionsToKeep,
    ) -> Result<(), CacheError> {
        let (scope, new) = (functions.scope, &functions.new);
        for path in &functions.of_use {
            // The oldest files are removed first. If this fails, the file only looks older than it is.
            let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
        }
        let pack = new.bytes();
        if pack.is_empty() {
            return Ok(());
        }
        let prefix = name_of(scope, compatibility);
        let mut left = PACKS_BYTES_MAX as u64;
        left = left.saturating_sub((pack.len() + MAC_BYTES) as u64);
        for (number, (length, path)) in self.folder.newest(&prefix, FUNCTIONS).into_iter().enumerate() {
            left = left.saturating_sub(length);
            if left == 0 || number + 1 >= PACKS_MAX {
                // If it stays, it is not read: others are newer.
                let _ = fs::remove_file(path);
            }
        }
        self.folder.make_room((pack.len() + MAC_BYTES) as u64);
        let path = self.folder.path(&format!("{prefix}{module}.{FUNCTIONS}"));
        let mac = self.functions_mac(scope, compatibility, pack).finalize().into_bytes();
        Ok(replace(&path, &[&mac[..], pack].concat())?)
    }

    /// Reads a file of functions, if its MAC is right.
    fn pack(&self, scope: ReuseScope, compatibility: u64, path: &Path) -> Option<FunctionPack> {
        let bytes = Bytes::from(fs::read(path).ok()?);
        let (mac, pack) = bytes.split_at_checked(MAC_BYTES)?;
        self.functions_mac(scope, compatibility, pack).verify_slice(mac).ok()?;
        FunctionPack::from_bytes(bytes.slice(MAC_BYTES..))
    }

    fn functions_mac(&self, scope: ReuseScope, compatibility: u64, pack: &[u8]) -> hmac::Hmac<sha2::Sha256> {
        self.mac_of([b"grid-functions/1\0", &scope.to_bytes(), &compatibility.to_le_bytes(), pack])
    }
}

/// The extension of a file of functions.
const FUNCTIONS: &str = "functions";

/// How the names of a scope's files of functions begin.
fn name_of(scope: ReuseScope, compatibility: u64) -> String {
    format!("{scope}-{compatibility:016x}-")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use grid_protocol::key::SecretKey;

    use super::*;
    use crate::compiled::SHARED_BYTES_MAX;

    fn publisher(seed: u8) -> ReuseScope {
        ReuseScope::Publisher(SecretKey::from_seed(&[seed; 32]).public())
    }

    /// A pack of one function whose code has this length.
    fn pack(length: usize) -> FunctionPack {
        let told = u32::try_from(length).unwrap().to_le_bytes();
        let bytes = [&[0; 32][..], &told, &vec![7; length]].concat();
        FunctionPack::from_bytes(bytes.into()).unwrap()
    }

    /// Keeps a pack as that of a new module; returns its file.
    fn keep(cache: &CompiledCache, by: ReuseScope, name: &[u8], new: FunctionPack) -> PathBuf {
        let module = Digest::of(name);
        let functions = FunctionsToKeep { scope: by, of_use: Vec::new(), new };
        cache.keep_functions(1, &module, &functions).unwrap();
        // Files of one instant are in no order, so each is a second younger than the one before.
        static KEPT: AtomicU64 = AtomicU64::new(0);
        let age = Duration::from_secs(1_000_000 - KEPT.fetch_add(1, Ordering::Relaxed));
        let path = cache.folder.path(&format!("{}{module}.{FUNCTIONS}", name_of(by, 1)));
        File::open(&path).unwrap().set_modified(SystemTime::now() - age).unwrap();
        path
    }

    #[test]
    fn functions_are_given_only_to_their_publisher_and_engine_and_only_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path(), SHARED_BYTES_MAX).unwrap();
        let (one, other) = (publisher(1), publisher(2));
        let path = keep(&cache, one, b"a", pack(5));
        assert_eq!(cache.known_functions(one, 1).packs, [pack(5)]);
        assert!(cache.known_functions(other, 1).packs.is_empty());
        assert!(cache.known_functions(one, 2).packs.is_empty());
        for (stranger, compatibility) in [(other, 1), (ReuseScope::User, 1), (one, 2)] {
            let name = format!("{}{}.{FUNCTIONS}", name_of(stranger, compatibility), Digest::of(b"a"));
            fs::copy(&path, folder.path().join(name)).unwrap();
            assert!(cache.known_functions(stranger, compatibility).packs.is_empty(), "renamed");
        }
        let honest = fs::read(&path).unwrap();
        for bit in 0..honest.len() * 8 {
            let mut flipped = honest.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, flipped).unwrap();
            assert!(cache.known_functions(one, 1).packs.is_empty(), "bit {bit}");
        }
        // Compiled code has a MAC under the same key.
        // SAFETY: it is never loaded.
        let code = unsafe { Compiled::vouch(pack(5).bytes().clone()) };
        let named = Digest::of(b"a");
        cache.keep(&named, 1, None, &code).unwrap();
        fs::copy(cache.path(&named, 1, None), &path).unwrap();
        assert!(cache.known_functions(one, 1).packs.is_empty(), "a MAC over compiled code");
    }

    #[test]
    fn of_one_publisher_the_modules_stay_that_were_of_use_last_as_many_as_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(folder.path(), SHARED_BYTES_MAX).unwrap();
        let (one, other) = (publisher(1), publisher(2));
        let of_other = keep(&cache, other, b"other", pack(1));
        let paths: Vec<_> = (0..PACKS_MAX).map(|n| keep(&cache, one, &n.to_le_bytes(), pack(n))).collect();
        let known = cache.known_functions(one, 1);
        assert_eq!((known.packs.len(), &known.packs[PACKS_MAX - 1]), (PACKS_MAX, &pack(0)));
        // The oldest was of use.
        let of_use = vec![known.paths[PACKS_MAX - 1].clone()];
        let used = FunctionsToKeep { scope: one, of_use, new: FunctionPack::default() };
        cache.keep_functions(1, &Digest::of(b"none"), &used).unwrap();
        keep(&cache, one, b"new", pack(100));
        let left = paths.iter().map(|path| path.exists()).collect::<Vec<_>>();
        assert!(left[0] && !left[1] && left[2..].iter().all(|exists| *exists), "{left:?}");
        assert!(of_other.exists(), "another publisher's");
        keep(&cache, one, b"long", pack(PACKS_BYTES_MAX - 100));
        assert_eq!(cache.known_functions(one, 1).packs.len(), 1, "it takes all that one publisher has");
        assert!(!paths[0].exists() && of_other.exists());
    }
}
