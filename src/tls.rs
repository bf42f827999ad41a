//! Certificates: those that the operator gives, and one that the gateway makes for itself.
//!
//! # The self-made certificate
//!
//! For trying things out on one machine. A CA that exists for this one certificate signs it, and its key is thrown away at once:
//! whoever trusts `dev-ca.pem` trusts nothing but `localhost`, `127.0.0.1` and `::1`, and only with the key that is kept here.
//!
//! It is good for [`VALIDITY_DAYS`], the longest that all clients accept. At start it is made anew when less than [`RENEW_DAYS`] are
//! left, or when its files are missing, damaged or do not belong together. The CA is then another one, and is to be trusted again.

use std::{
    fs, io,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::{
    RootCertStore, ServerConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
};

/// Days from the making of the gateway's own certificate to its end. Some clients accept no more than 398.
pub const VALIDITY_DAYS: u64 = 397;
/// Days before its end when it is made anew, at start.
pub const RENEW_DAYS: u64 = 30;

const CA_FILE: &str = "dev-ca.pem";
const CERT_FILE: &str = "server.pem";
const KEY_FILE: &str = "server-key.pem";
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why there is no certificate to serve. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that was given cannot be read.
    #[error("cannot read the {what} {path}: {source}; check that the file is there and that this user may read it")]
    Read {
        /// "certificate" or "private key".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that was given holds something else.
    #[error("the {what} {path} is not usable: {reason}; it is to be a PEM file with {expected}")]
    Content {
        /// "certificate" or "private key".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What it is to hold.
        expected: &'static str,
    },
    /// Each file is fine, but they cannot be used together.
    #[error("the certificate {cert} and the private key {key} cannot be used: {reason}; give the key that belongs to the first certificate of the file")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls said.
        reason: rustls::Error,
    },
    /// The gateway's own certificate cannot be made.
    #[error("cannot make a certificate: {0}; give one with --tls-cert and --tls-key")]
    Make(#[from] rcgen::Error),
    /// The gateway's own certificate cannot be kept.
    #[error("cannot keep a certificate in {path}: {source}; make that folder writable, or give a certificate with --tls-cert and --tls-key")]
    Keep {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The gateway's own certificate.
#[derive(Clone, Debug)]
pub struct SelfMade {
    /// Serves it.
    pub config: Arc<ServerConfig>,
    /// The CA certificate that a client is to trust.
    pub ca_path: PathBuf,
}

/// Reads a certificate chain (leaf first) and its private key (PKCS #8, PKCS #1 or SEC 1) from PEM files.
pub fn load(cert_path: &Path, key_path: &Path) -> Result<Arc<ServerConfig>, Error> {
    let chain = chain(cert_path)?;
    let key = PrivateKeyDer::from_pem_slice(&read("private key", key_path)?).map_err(|error| {
        Error::Content {
            what: "private key",
            path: key_path.into(),
            reason: reason(&error),
            expected: "one unencrypted private key",
        }
    })?;
    server_config(chain, key).map_err(|reason| Error::Pair {
        cert: cert_path.into(),
        key: key_path.into(),
        reason,
    })
}

/// The certificate that is kept in the folder `dir` for loopback addresses; made first if there is none that will do at `now`.
pub fn self_made(dir: &Path, now: SystemTime) -> Result<SelfMade, Error> {
    let ca_path = dir.join(CA_FILE);
    let (cert_path, key_path) = (dir.join(CERT_FILE), dir.join(KEY_FILE));
    if let Ok(config) = load(&cert_path, &key_path)
        && is_trusted(&ca_path, &cert_path, now + RENEW_DAYS * DAY)
    {
        return Ok(SelfMade { config, ca_path });
    }
    make(dir, now)?;
    let config = load(&cert_path, &key_path)?;
    Ok(SelfMade { config, ca_path })
}
