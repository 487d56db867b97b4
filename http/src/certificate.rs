//! Certificates: one of files, or one that the program makes itself and keeps.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use grid_disk::DiskError;
use grid_protocol::digest::Digest;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Longest file that is read as a key or a chain of certificates, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A certificate and its key.
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    is_own: bool,
}

/// A certificate or its key cannot be used: the operator must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file is longer than any of its kind.
    #[error("{} is longer than {FILE_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no certificate or no key in PEM.
    #[error("{}: {why}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The certificate and the key do not belong together, or are of a kind that is not known.
    #[error("the certificate cannot be used with its key: {0}")]
    Tls(String),
    /// No certificate could be made.
    #[error("no certificate can be made: {0}")]
    Made(String),
}

impl Certificate {
    /// Reads a chain of certificates and its key, each from a PEM file.
    ///
    /// # Errors
    ///
    /// [`CertificateError`], which names the file.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let (chain_pem, key_pem) = (read(chain)?, read(key)?);
        let wrong = |path: &Path, why: String| CertificateError::Pem { path: path.to_path_buf(), why };
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain_pem).collect();
        let certificates = certificates.map_err(|error| wrong(chain, error.to_string()))?;
        if certificates.is_empty() {
            return Err(wrong(chain, "it holds no certificate in PEM".to_owned()));
        }
        let secret =
            PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| wrong(key, error.to_string()))?;
        Ok(Self { chain: certificates, key: secret, is_own: false })
    }

    /// The program's own certificate, self-signed, for these names and addresses; its key is kept in `file`.
    ///
    /// # Errors
    ///
    /// [`CertificateError`].
    pub fn own(file: &Path, names: Vec<String>) -> Result<Self, CertificateError> {
        let made = |error: rcgen::Error| CertificateError::Made(error.to_string());
        let key = if file.exists() {
            let der = PrivatePkcs8KeyDer::from(read(file)?);
            KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).map_err(made)?
        } else {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(made)?;
            grid_disk::replace(file, &key.serialize_der())?;
            key
        };
        let mut params = CertificateParams::new(names).map_err(made)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "grid");
        let certificate = params.self_signed(&key).map_err(made)?;
        let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Self { chain: vec![certificate.der().clone()], key: secret, is_own: true })
    }

    /// The SHA-256 of the certificate, which browsers show, if the program made it itself.
    pub fn own_digest(&self) -> Option<Digest> {
        self.chain.first().filter(|_| self.is_own).map(|certificate| Digest::of(certificate))
    }

    /// TLS with this certificate.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Tls`].
    pub(crate) fn acceptor(self) -> Result<TlsAcceptor, CertificateError> {
        let wrong = |error: tokio_rustls::rustls::Error| CertificateError::Tls(error.to_string());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)
            .map_err(wrong)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let disk = |error| DiskError { doing: "read", path: path.to_path_buf(), error };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(disk)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(disk)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(CertificateError::TooLong { path: path.to_path_buf() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_own_key_stays_the_same_and_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("page.key");
        let names = || vec!["localhost".to_owned(), "192.0.2.7".to_owned()];
        let first = Certificate::own(&file, names()).unwrap();
        let key = std::fs::read(&file).unwrap();
        assert!(first.own_digest().is_some() && first.acceptor().is_ok());
        Certificate::own(&file, names()).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), key);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
        std::fs::write(&chain, "nothing").unwrap();
        std::fs::write(&key, "nothing").unwrap();
        let error = Certificate::from_files(&chain, &key).err().unwrap().to_string();
        assert!(error.contains("chain.pem") && error.contains("no certificate"), "{error}");
        let missing = folder.path().join("missing.pem");
        let error = Certificate::from_files(&missing, &key).err().unwrap().to_string();
        assert!(error.contains("missing.pem"), "{error}");
    }
}
