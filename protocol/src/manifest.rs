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

    /// Checks a manifest and that `module` is the module it describes. Does not read the module's code.
    ///
    /// `now` is in seconds since 1970. On success the caller records the serial ([`Self::note_serial`]).
    ///
    /// # Errors
    ///
    /// [`ManifestRefusal`], with the first reason found.
    pub fn admit(
        &self,
        signed: &SignedManifest,
        module: &[u8],
        now: u64,
    ) -> Result<Manifest, ManifestRefusal> {
        let manifest = self.admit_manifest(signed, now)?;
        manifest.check_module(module)?;
        Ok(manifest)
    }

    /// Checks a manifest as [`Self::admit`] does, without the module; the caller checks its length and
    /// digest.
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
mod tests {
    use super::*;
    use alloc::vec;

    const NOW: u64 = 1_000_000;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    fn module() -> Vec<u8> {
        (0..4096u32).map(|place| (place * 7 % 251) as u8).collect()
    }

    fn manifest() -> Manifest {
        Manifest {
            name: "primes".into(),
            serial: 5,
            version: "1.0".into(),
            digest: Digest::of(&module()),
            length: 4096,
            abi: ABI_VERSION,
            limits: LimitsAsked::default(),
            not_before: NOW - 1,
            expires: NOW + 1,
            files: FilesAsked::Nothing,
        }
    }

    fn trust() -> Trust {
        let mut trust = Trust::default();
        trust.trust(key(1).public());
        trust.note_serial(key(1).public(), "primes", 5);
        trust
    }

    fn refusal(change: impl FnOnce(&mut Manifest)) -> ManifestRefusal {
        let mut changed = manifest();
        change(&mut changed);
        trust().admit(&SignedManifest::sign(&changed, &key(1)), &module(), NOW).unwrap_err()
    }

    #[test]
    fn an_untouched_module_is_admitted() {
        let signed = SignedManifest::sign(&manifest(), &key(1));
        assert_eq!(trust().admit(&signed, &module(), NOW), Ok(manifest()));
        assert_eq!(SignedManifest::from_bytes(&signed.to_bytes()), Ok(signed));
    }

    #[test]
    fn every_flipped_bit_of_manifest_signature_and_module_is_refused() {
        let bytes = SignedManifest::sign(&manifest(), &key(1)).to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let admitted = SignedManifest::from_bytes(&flipped)
                .and_then(|signed| trust().admit(&signed, &module(), NOW));
            assert!(admitted.is_err(), "bit {bit} of the signed manifest");
        }
        let signed = SignedManifest::sign(&manifest(), &key(1));
        let mut flipped = module();
        for bit in 0..flipped.len() * 8 {
            flipped[bit / 8] ^= 1 << (bit % 8);
            let refusal = trust().admit(&signed, &flipped, NOW).unwrap_err();
            assert!(matches!(refusal, ManifestRefusal::WrongDigest { .. }), "bit {bit} of the module");
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn manifests_with_and_without_files_have_these_bytes_and_old_ones_are_read() {
        let small = |files| Manifest {
            name: "m".into(),
            serial: 1,
            version: "v".into(),
            digest: Digest::from_bytes([8; 32]),
            length: 2,
            abi: 1,
            limits: LimitsAsked { memory_bytes: Some(3), call_ms: None },
            not_before: 4,
            expires: 5,
            files,
        };
        // Name, serial, version, digest, length, ABI, limits, validity: the form without `files`.
        let old = [b"\x01m\x01\x01v".as_slice(), &[8; 32], b"\x02\x01\x01\x03\x00\x04\x05"].concat();
        let new = [&old[..], b"\x01"].concat();
        assert_eq!(small(FilesAsked::Nothing).to_statement(), old);
        assert_eq!(small(FilesAsked::Folder).to_statement(), new);
        assert_eq!(Manifest::from_statement(&old), Ok(small(FilesAsked::Nothing)));
        assert_eq!(Manifest::from_statement(&new), Ok(small(FilesAsked::Folder)));
        let said = [&old[..], b"\x00"].concat();
        assert_eq!(Manifest::from_statement(&said), Ok(small(FilesAsked::Nothing)));
        for wrong in [&old[..old.len() - 1], &[&old[..], b"\x02"].concat(), &[&new[..], b"\x00"].concat()] {
            assert_eq!(Manifest::from_statement(wrong), Err(ManifestRefusal::Malformed), "{wrong:?}");
        }
        let signed = SignedManifest::sign(&small(FilesAsked::Folder), &key(1));
        assert_eq!(signed.verify(), Ok(small(FilesAsked::Folder)));
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = SignedManifest::sign(&manifest(), &key(1)).to_bytes();
        for end in 0..bytes.len() {
            assert_eq!(SignedManifest::from_bytes(&bytes[..end]), Err(ManifestRefusal::Malformed), "{end}");
        }
        let signed = SignedManifest::sign(&manifest(), &key(1));
        for end in 0..4096 {
            let refusal = trust().admit(&signed, &module()[..end], NOW).unwrap_err();
            assert_eq!(refusal, ManifestRefusal::WrongLength { manifest: 4096, module: end as u64 });
        }
    }

    #[test]
    fn each_thing_that_is_wrong_has_a_reason_of_its_own() {
        let seen = ManifestRefusal::SerialTooOld { seen: 5, serial: 4 };
        assert_eq!(refusal(|manifest| manifest.serial = 4), seen);
        assert_eq!(refusal(|manifest| manifest.expires = NOW), ManifestRefusal::Expired { at: NOW });
        let from = NOW + CLOCK_SKEW_S + 1;
        assert_eq!(refusal(|manifest| manifest.not_before = from), ManifestRefusal::NotYetValid { from });
        assert_eq!(refusal(|manifest| manifest.abi = 2), ManifestRefusal::UnknownAbi { abi: 2 });
        for name in ["", "Primes", "a/b", "..\0"] {
            assert_eq!(refusal(|manifest| manifest.name = name.into()), ManifestRefusal::Malformed);
        }
        let publisher = key(2).public();
        let other = SignedManifest::sign(&manifest(), &key(2));
        let untrusted = ManifestRefusal::UntrustedPublisher { publisher };
        assert_eq!(trust().admit(&other, &module(), NOW), Err(untrusted));
        let mut revoked = trust();
        revoked.revoke(key(1).public());
        let publisher = key(1).public();
        let signed = SignedManifest::sign(&manifest(), &key(1));
        let refused = revoked.admit(&signed, &module(), NOW);
        assert_eq!(refused, Err(ManifestRefusal::RevokedPublisher { publisher }));
    }

    #[test]
    fn a_signature_under_another_label_is_refused() {
        use ed25519_dalek::Signer;
        let statement = manifest().to_statement();
        for label in [b"grid-ticket/1\0".as_slice(), b"", b"grid-manifest/1"] {
            let length = (statement.len() as u64).to_le_bytes();
            let signer = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
            let signature = signer.sign(&[label, &length, &statement].concat()).to_bytes();
            let publisher = key(1).public();
            let signed = SignedManifest { publisher, signature, statement: statement.clone() };
            assert_eq!(signed.verify(), Err(ManifestRefusal::BadSignature));
        }
    }

    #[test]
    fn a_revoked_publisher_is_believed_again_only_once_the_revocation_is_taken_back() {
        let (mut trust, publisher) = (trust(), key(1).public());
        trust.replace(vec![publisher], vec![publisher]);
        assert_eq!(trust.trusted().count(), 0);
        trust.replace(vec![publisher], vec![]);
        assert_eq!(trust.trusted().collect::<Vec<_>>(), [publisher]);
    }
}
