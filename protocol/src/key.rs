//! Keys: the identity of a peer or publisher.
//!
//! All keys are Ed25519. A signature is always made under a [`Domain`], so a signature for one purpose is
//! invalid for any other.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::text::{self, TextError};

/// The purpose of a signature. Its label is signed in front of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Domain {
    /// A module's manifest.
    Manifest,
}

impl Domain {
    /// The label, which never changes. It ends in a zero byte, so that no label is a prefix of another.
    pub fn label(self) -> &'static [u8] {
        match self {
            Self::Manifest => b"grid-manifest/1\0",
        }
    }

    fn statement(self, bytes: &[u8]) -> Vec<u8> {
        let length = (bytes.len() as u64).to_le_bytes();
        [self.label(), &length, bytes].concat()
    }
}

/// A private key. `Debug` shows only the public key; the memory is wiped on drop.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the secret key of {}", self.public())
    }
}

impl SecretKey {
    /// The key of a 32-byte seed. The caller draws the seed at random once and stores it in a file of mode
    /// 0600.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, for storing in a file.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `bytes` for one purpose.
    pub fn sign(&self, domain: Domain, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(&domain.statement(bytes)).to_bytes()
    }

    /// Derives a secret that only the owner of this key can compute, the same after every restart: 32 bytes
    /// of HKDF-SHA256 of the seed under `label`.
    pub fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let mut secret = Zeroizing::new([0; 32]);
        let filled = Hkdf::<Sha256>::new(Some(b"grid-derive/1"), self.seed().as_slice())
            .expand(label.as_bytes(), secret.as_mut_slice());
        debug_assert!(filled.is_ok(), "32 bytes are within HKDF's reach");
        secret
    }

    /// The key as PKCS #8 (RFC 8410), for the TLS library.
    pub fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([PKCS8_PREFIX, self.seed().as_slice()].concat())
    }
}

/// DER of an RFC 8410 private key, before the seed.
const PKCS8_PREFIX: &[u8] =
    &[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// DER of an RFC 8410 public key, before the point.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A public key: a valid curve point that is not of small order, checked on construction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    const PREFIX: &'static str = "gk1";
    const TEXT_MAX: usize = 80;

    /// Checks the bytes of a key.
    ///
    /// # Errors
    ///
    /// [`BadKey`], if they are not a point of the curve, or are a point of small order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, BadKey> {
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(bytes)),
            _ => Err(BadKey),
        }
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// True if the owner of this key signed `bytes` for this purpose. Strict: malleable signatures are
    /// invalid.
    pub fn verify(&self, domain: Domain, bytes: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(&domain.statement(bytes), &signature).is_ok())
    }

    /// The key as TLS sends it: a SubjectPublicKeyInfo of 44 bytes (RFC 8410, RFC 7250).
    pub fn spki(&self) -> [u8; 44] {
        let mut spki = [0; 44];
        let (prefix, point) = spki.split_at_mut(SPKI_PREFIX.len());
        prefix.copy_from_slice(&SPKI_PREFIX);
        point.copy_from_slice(&self.0);
        spki
    }

    /// Decodes exactly what [`Self::spki`] encodes.
    ///
    /// # Errors
    ///
    /// [`BadKey`], if it is not the one encoding of a valid Ed25519 key.
    pub fn from_spki(spki: &[u8]) -> Result<Self, BadKey> {
        let point = spki.strip_prefix(&SPKI_PREFIX).and_then(|point| point.try_into().ok()).ok_or(BadKey)?;
        Self::from_bytes(point)
    }

    /// The first twenty hexadecimal digits of the key's SHA-256, in groups of four, for people to compare.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(self.0);
        let mut text = String::new();
        for (place, byte) in digest.iter().take(10).enumerate() {
            if place > 0 && place % 2 == 0 {
                text.push('-');
            }
            text.push_str(&alloc::format!("{byte:02x}"));
        }
        text
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::write(Self::PREFIX, &self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let bytes = text::read(Self::PREFIX, text, Self::TEXT_MAX)?;
        let bytes = bytes.try_into().map_err(|_| TextError::Contents)?;
        Self::from_bytes(bytes).map_err(|_| TextError::Contents)
    }
}

/// Bytes that are not an acceptable key; the sender must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid Ed25519 public key")]
pub struct BadKey;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    #[test]
    fn a_key_reads_back_as_it_was_written_and_no_slip_of_the_hand_passes() {
        let text = key(1).public().to_string();
        assert_eq!(text.parse(), Ok(key(1).public()));
        for place in 3..text.len() {
            let mut slip = text.clone().into_bytes();
            slip[place] = if slip[place] == b'a' { b'b' } else { b'a' };
            let slip = String::from_utf8(slip).unwrap();
            assert!(slip.parse::<PublicKey>().is_err(), "{slip}");
        }
    }

    #[test]
    fn a_weak_point_is_no_key() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_bytes(identity), Err(BadKey));
    }

    #[test]
    fn a_signature_is_worth_nothing_without_its_label() {
        let signature = key(1).sign(Domain::Manifest, b"x");
        assert!(key(1).public().verify(Domain::Manifest, b"x", &signature));
        assert!(!key(2).public().verify(Domain::Manifest, b"x", &signature));
        let bare = key(1).0.sign(b"x").to_bytes();
        assert!(!key(1).public().verify(Domain::Manifest, b"x", &bare));
    }

    #[test]
    fn only_the_one_encoding_of_a_key_is_read() {
        let spki = key(3).public().spki();
        assert_eq!(PublicKey::from_spki(&spki), Ok(key(3).public()));
        assert_eq!(PublicKey::from_spki(&spki[1..]), Err(BadKey));
        let mut other = spki;
        other[8] ^= 1;
        assert_eq!(PublicKey::from_spki(&other), Err(BadKey));
    }
}
