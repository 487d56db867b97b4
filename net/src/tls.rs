//! Authentication of peers: TLS 1.3 with raw public keys (RFC 7250) in both directions.
//!
//! There are no certificates, no authorities and no expiry: a peer is its Ed25519 key. What a key may do is
//! decided above this crate.

use std::sync::Arc;

use grid_protocol::key::{BadKey, PublicKey, SecretKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme,
};

use crate::simulated;

/// The protocol that a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// Between a host and the manager.
    Host,
    /// Between a client and the manager.
    Client,
}

impl Alpn {
    pub(crate) fn name(self) -> &'static [u8] {
        match self {
            Self::Host => b"grid-host/1",
            Self::Client => b"grid-client/1",
        }
    }

    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Host, Self::Client].into_iter().find(|alpn| alpn.name() == name)
    }
}

/// The key that a dialler expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// This key and no other.
    Key(PublicKey),
    /// Any key; the caller checks it before it sends anything.
    Anybody,
}

/// The key that a peer proved, from the chain that TLS keeps.
pub(crate) fn peer_key(chain: &[CertificateDer<'_>]) -> Result<PublicKey, BadKey> {
    match chain {
        [key] => PublicKey::from_spki(key),
        _ => Err(BadKey),
    }
}

pub(crate) fn server_config(
    key: &SecretKey,
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ServerConfig, Error> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(AnyKey))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(own_key(key)?)));
    config.alpn_protocols = vec![Alpn::Host.name().to_vec(), Alpn::Client.name().to_vec()];
    // A resumed session would skip the check of the client's key.
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

pub(crate) fn client_config(
    key: &SecretKey,
    alpn: Alpn,
    expect: Expect,
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ClientConfig, Error> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ManagerKey { expect }))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(own_key(key)?)));
    config.alpn_protocols = vec![alpn.name().to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The TLS algorithms and their random source.
pub(crate) fn provider(simulated: bool) -> Arc<CryptoProvider> {
    Arc::new(if simulated { simulated::provider() } else { rustls::crypto::ring::default_provider() })
}

fn own_key(key: &SecretKey) -> Result<Arc<CertifiedKey>, Error> {
    let private = PrivatePkcs8KeyDer::from(key.pkcs8().to_vec());
    let signer = rustls::crypto::ring::sign::any_eddsa_type(&private)?;
    let public = CertificateDer::from(key.public().spki().to_vec());
    Ok(Arc::new(CertifiedKey::new(vec![public], signer)))
}

/// The server's check: accepts any valid key. The caller looks up its roles once the connection is
/// established.
#[derive(Debug)]
struct AnyKey;

/// The dialler's check of the manager's key.
#[derive(Debug)]
struct ManagerKey {
    expect: Expect,
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        alone(end_entity, intermediates).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ServerCertVerifier for ManagerKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = alone(end_entity, intermediates)?;
        match self.expect {
            // The handshake fails here; the dialler reads the key that was shown from this error's text.
            Expect::Key(expected) if expected != shown => Err(Error::General(format!("{WRONG_KEY}{shown}"))),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

const WRONG_KEY: &str = "another key was shown: ";

/// The key that the server showed, if a handshake failed because of it.
pub(crate) fn wrong_key(reason: &str) -> Option<PublicKey> {
    let (_, shown) = reason.split_once(WRONG_KEY)?;
    shown.split_whitespace().next()?.parse().ok()
}

fn alone(key: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<PublicKey, Error> {
    let key = PublicKey::from_spki(key).ok().filter(|_| others.is_empty());
    key.ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn verify_signature(
    message: &[u8],
    key: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = SubjectPublicKeyInfoDer::from(key.as_ref());
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    verify_tls13_signature_with_raw_key(message, &key, signature, &algorithms)
}
