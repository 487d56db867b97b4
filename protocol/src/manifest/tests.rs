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

/// Checks the manifest, and then the module, as a host does.
fn admit(trust: &Trust, signed: &SignedManifest, module: &[u8]) -> Result<Manifest, ManifestRefusal> {
    let manifest = trust.admit_manifest(signed, NOW)?;
    manifest.check_module(module)?;
    Ok(manifest)
}

fn refusal(change: impl FnOnce(&mut Manifest)) -> ManifestRefusal {
    let mut changed = manifest();
    change(&mut changed);
    admit(&trust(), &SignedManifest::sign(&changed, &key(1)), &module()).unwrap_err()
}

#[test]
fn an_untouched_module_is_admitted() {
    let signed = SignedManifest::sign(&manifest(), &key(1));
    assert_eq!(admit(&trust(), &signed, &module()), Ok(manifest()));
    assert_eq!(SignedManifest::from_bytes(&signed.to_bytes()), Ok(signed));
}

#[test]
fn every_flipped_bit_of_manifest_signature_and_module_is_refused() {
    let bytes = SignedManifest::sign(&manifest(), &key(1)).to_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let admitted =
            SignedManifest::from_bytes(&flipped).and_then(|signed| admit(&trust(), &signed, &module()));
        assert!(admitted.is_err(), "bit {bit} of the signed manifest");
    }
    let signed = SignedManifest::sign(&manifest(), &key(1));
    let mut flipped = module();
    for bit in 0..flipped.len() * 8 {
        flipped[bit / 8] ^= 1 << (bit % 8);
        let refusal = admit(&trust(), &signed, &flipped).unwrap_err();
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
        let refusal = admit(&trust(), &signed, &module()[..end]).unwrap_err();
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
    assert_eq!(admit(&trust(), &other, &module()), Err(untrusted));
    let mut revoked = trust();
    revoked.revoke(key(1).public());
    let publisher = key(1).public();
    let signed = SignedManifest::sign(&manifest(), &key(1));
    let refused = admit(&revoked, &signed, &module());
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
