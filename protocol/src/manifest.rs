//! Manifests: a publisher's signed statement about a module, and the rules of whom to trust.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::{self, Decode, Encode};
use crate::digest::Digest;
use crate::key::{Domain, PublicKey, SecretKey};
use crate::limits::MODULE_BYTES_MAX;
use crate::worker::LimitsAsked;

/// A publisher's statement about a module.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Manifest {
    /// The module's name: 1 to 64 of `a`–`z`, `0`–`9`, `-`, `_` and `.`.
    pub name: String,
    /// Number of the release under this name; a lower one than was seen before is refused.
    pub serial: u64,
    /// The version, for people; at most 64 bytes.
    pub version: String,
    /// SHA-256 of the module.
    pub digest: Digest,
    /// Length of the module, in bytes.
    pub length: u64,
    /// The version of the guest ABI that the module needs.
    pub abi: u32,
    /// Limits that the module asks for; a host applies the smaller of these and its own.
    pub limits: LimitsAsked,
    /// When the manifest becomes valid, in seconds since 1970.
    pub not_before: u64,
    /// When the manifest expires, in seconds since 1970; 0 for never.
    pub expires: u64,
    /// The files that the module asks for.
    pub files: FilesAsked,
}

/// Files that a module asks for. Variants are numbered by position on the wire: append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[non_exhaustive]
pub enum FilesAsked {
    /// No files.
    #[default]
    Nothing,
    /// A folder of its own, in memory, for each run of a command: the input is a file in it, and files that
    /// the command writes to the output folder are returned.
    Folder,
}

/// A manifest without the `files` field. Manifests that ask for no files are still signed in this form, so
/// that older programs read them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Fileless {
    name: String,
    serial: u64,
    version: String,
    digest: Digest,
    length: u64,
    abi: u32,
    limits: LimitsAsked,
    not_before: u64,
    expires: u64,
}

impl From<Fileless> for Manifest {
    fn from(before: Fileless) -> Self {
        let Fileless { name, serial, version, digest, length, abi, limits, not_before, expires } = before;
        let files = FilesAsked::Nothing;
        Self { name, serial, version, digest, length, abi, limits, not_before, expires, files }
    }
}

/// The version of the guest ABI that this version of the grid runs.
pub const ABI_VERSION: u32 = 1;

/// Length limit of a name, in bytes.
pub const MODULE_NAME_BYTES_MAX: usize = 64;

/// Length limit of a signed manifest, in bytes; the name, the version text and twelve numbers need far less.
pub const MANIFEST_BYTES_MAX: usize = 4 << 10;

/// How far in the future, by the checker's clock, the start of validity may be, in seconds; clocks differ.
pub const CLOCK_SKEW_S: u64 = 300;

impl Manifest {
    /// The bytes that are signed.
    fn to_statement(&self) -> Vec<u8> {
        let mut statement = codec::encode(self);
        if self.files == FilesAsked::Nothing {
            // The older form is this one without its last byte.
            statement.pop();
        }
        statement
    }

    /// Decodes signed bytes in either form. They cannot be confused: the newer form is one byte longer, and
    /// the decoder refuses missing and trailing bytes.
    fn from_statement(statement: &[u8]) -> Result<Self, ManifestRefusal> {
        codec::decode::<Self, MANIFEST_BYTES_MAX>(statement)
            .or_else(|_| codec::decode::<Fileless, MANIFEST_BYTES_MAX>(statement).map(Self::from))
            .map_err(|_| ManifestRefusal::Malformed)
    }

    /// Checks the name, the version text and the length.
    fn is_well_formed(&self) -> bool {
        let letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(byte);
        (1..=MODULE_NAME_BYTES_MAX).contains(&self.name.len())
            && self.name.as_bytes().iter().all(letter)
            && self.version.len() <= MODULE_NAME_BYTES_MAX
            && !self.version.chars().any(char::is_control)
            && self.length <= MODULE_BYTES_MAX as u64
    }
}

/// A manifest with its signature, as it is sent and stored. It keeps the signed bytes and never re-encodes
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SignedManifest {
    publisher: PublicKey,
    signature: [u8; 64],
    statement: Vec<u8>,
}

impl SignedManifest {
    /// Signs a manifest.
    pub fn sign(manifest: &Manifest, key: &SecretKey) -> Self {
        let statement = manifest.to_statement();
        let signature = key.sign(Domain::Manifest, &statement);
        Self { publisher: key.public(), signature, statement }
    }

    /// The encoded form, for storage and the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Decodes what [`Self::to_bytes`] encoded. Checks nothing: the caller trusts none of it before
    /// [`Self::verify`].
    ///
    /// # Errors
    ///
    /// [`ManifestRefusal::Malformed`]; the sender must act.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestRefusal> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestRefusal::Malformed);
        }
        codec::decode::<_, MANIFEST_BYTES_MAX>(bytes).map_err(|_| ManifestRefusal::Malformed)
    }

    /// The key that claims to have signed; unverified.
    pub fn publisher(&self) -> PublicKey {
        self.publisher
    }

    /// Verifies the signature over the received bytes, then decodes them. Does not check whether the
    /// publisher is trusted: see [`Trust::admit_manifest`].
    ///
    /// # Errors
    ///
    /// [`ManifestRefusal::BadSignature`] and [`ManifestRefusal::Malformed`]; the publisher must act.
    pub fn verify(&self) -> Result<Manifest, ManifestRefusal> {
        if !self.publisher.verify(Domain::Manifest, &self.statement, &self.signature) {
            return Err(ManifestRefusal::BadSignature);
        }
        let manifest = Manifest::from_statement(&self.statement)?;
        if manifest.is_well_formed() { Ok(manifest) } else { Err(ManifestRefusal::Malformed) }
    }
}

/// The publishers that somebody trusts. The manager has one, and each host has its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    trusted: BTreeSet<PublicKey>,
    revoked: BTreeSet<PublicKey>,
    serials: BTreeMap<(PublicKey, String), u64>,
}

impl Trust {
    /// Trusts `publisher`; without effect while it is revoked.
    pub fn trust(&mut self, publisher: PublicKey) {
        self.trusted.insert(publisher);
    }

    /// Revokes `publisher`, which outweighs trust.
    pub fn revoke(&mut self, publisher: PublicKey) {
        self.revoked.insert(publisher);
    }

    /// Replaces the trusted and the revoked publishers. A revocation that is not in `revoked` ends; serials
    /// are kept.
    pub fn replace(
        &mut self,
        trusted: impl IntoIterator<Item = PublicKey>,
        revoked: impl IntoIterator<Item = PublicKey>,
    ) {
        self.trusted = trusted.into_iter().collect();
        self.revoked = revoked.into_iter().collect();
    }

    /// The trusted publishers that are not revoked.
    pub fn trusted(&self) -> impl Iterator<Item = PublicKey> {
        self.trusted.difference(&self.revoked).copied()
    }

    /// The revoked publishers.
    pub fn revoked(&self) -> impl Iterator<Item = PublicKey> {
        self.revoked.iter().copied()
    }

    /// The highest serial seen of each publisher and name.
    pub fn serials(&self) -> impl Iterator<Item = (&PublicKey, &str, u64)> {
        self.serials.iter().map(|((publisher, name), serial)| (publisher, name.as_str(), *serial))
    }

    /// The highest serial seen of one name; 0 if there is none.
    pub fn serial(&self, publisher: PublicKey, name: &str) -> u64 {
        self.serials.get(&(publisher, String::from(name))).copied().unwrap_or_default()
    }

    /// Records that `serial` was seen; a lower one changes nothing. The caller stores it durably.
    pub fn note_serial(&mut self, publisher: PublicKey, name: &str, serial: u64) {
        let seen = self.serials.entry((publisher, String::from(name))).or_default();
        *seen = serial.max(*seen);
    }

    /// Checks a manifest without its module, which [`Manifest::check_module`] checks.
    ///
    /// `now` is in seconds since 1970. When the module was checked, too, the caller records the serial
    /// ([`Self::note_serial`]).
    ///
    /// # Errors
    ///
    /// [`ManifestRefusal`], with the first reason found.
    pub fn admit_manifest(&self, signed: &SignedManifest, now: u64) -> Result<Manifest, ManifestRefusal> {
        let publisher = signed.publisher;
        let manifest = signed.verify()?;
        if self.revoked.contains(&publisher) {
            return Err(ManifestRefusal::RevokedPublisher { publisher });
        }
        if !self.trusted.contains(&publisher) {
            return Err(ManifestRefusal::UntrustedPublisher { publisher });
        }
        if manifest.abi != ABI_VERSION {
            return Err(ManifestRefusal::UnknownAbi { abi: manifest.abi });
        }
        if manifest.expires != 0 && manifest.expires <= now {
            return Err(ManifestRefusal::Expired { at: manifest.expires });
        }
        if manifest.not_before > now.saturating_add(CLOCK_SKEW_S) {
            return Err(ManifestRefusal::NotYetValid { from: manifest.not_before });
        }
        match self.serials.get(&(publisher, manifest.name.clone())) {
            Some(seen) if manifest.serial < *seen => {
                Err(ManifestRefusal::SerialTooOld { seen: *seen, serial: manifest.serial })
            }
            _ => Ok(manifest),
        }
    }
}

impl Manifest {
    /// Checks that `module` has the length and digest of this manifest.
    ///
    /// # Errors
    ///
    /// [`ManifestRefusal::WrongLength`] and [`ManifestRefusal::WrongDigest`].
    pub fn check_module(&self, module: &[u8]) -> Result<(), ManifestRefusal> {
        let length = module.len() as u64;
        if self.length != length {
            return Err(ManifestRefusal::WrongLength { manifest: self.length, module: length });
        }
        let digest = Digest::of(module);
        if self.digest != digest {
            return Err(ManifestRefusal::WrongDigest { manifest: self.digest, module: digest });
        }
        Ok(())
    }
}

/// Why a manifest or module is refused. The publisher must act, except that an operator decides which
/// publishers are trusted and revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestRefusal {
    /// It is not a manifest of this version.
    #[error("the manifest makes no sense")]
    Malformed,
    /// The signature is not the publisher's, or not over these bytes.
    #[error("the signature does not fit the manifest")]
    BadSignature,
    /// The publisher was revoked.
    #[error("the publisher {publisher} was revoked")]
    RevokedPublisher {
        /// The publisher's key.
        publisher: PublicKey,
    },
    /// The publisher is not trusted here; the operator can change that.
    #[error("the publisher {publisher} is not trusted here")]
    UntrustedPublisher {
        /// The publisher's key.
        publisher: PublicKey,
    },
    /// The module needs another version of the guest ABI.
    #[error("the module is written for guest ABI {abi}, and this grid runs {ABI_VERSION}")]
    UnknownAbi {
        /// The version that it needs.
        abi: u32,
    },
    /// The manifest has expired.
    #[error("the manifest expired at {at} (seconds since 1970)")]
    Expired {
        /// When it expired, in seconds since 1970.
        at: u64,
    },
    /// The manifest is not valid yet, or this machine's clock is wrong.
    #[error("the manifest is valid only from {from} (seconds since 1970); is the clock right?")]
    NotYetValid {
        /// When it becomes valid, in seconds since 1970.
        from: u64,
    },
    /// A newer release of the same name was seen.
    #[error("serial {serial} is older than {seen}, which was seen already")]
    SerialTooOld {
        /// The highest serial seen.
        seen: u64,
        /// The manifest's serial.
        serial: u64,
    },
    /// The module's length is not the manifest's.
    #[error("the module has {module} bytes, and the manifest says {manifest}")]
    WrongLength {
        /// Length in the manifest, in bytes.
        manifest: u64,
        /// Length of the module, in bytes.
        module: u64,
    },
    /// The module is not the one that was signed.
    #[error("the module is {module}, and the manifest is for {manifest}")]
    WrongDigest {
        /// Digest in the manifest.
        manifest: Digest,
        /// Digest of the module.
        module: Digest,
    },
}

#[cfg(test)]
mod tests;
