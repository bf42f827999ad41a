//! Certificates: the configured ones, and the one that the gateway makes for itself.
//!
//! # The self-made certificate
//!
//! It is for tests on one machine. A CA that exists only for this certificate signs it, and the
//! CA's key is discarded at once. So a client that trusts `dev-ca.pem` trusts only `localhost`,
//! `127.0.0.1`, `::1` and the address that the door is bound to, and only with the key that is
//! stored here.
//!
//! It is valid for [`VALIDITY_DAYS`], the longest time that all clients accept. A start replaces it
//! when less than [`RENEW_DAYS`] are left, when the door is bound to another address, or when its
//! files are missing, damaged or do not belong together. Clients must then trust the new CA.

mod validity;
mod watch;

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

pub(crate) use validity::Validity;
pub(crate) use watch::Watch;

/// How many days the gateway's own certificate is valid. Some clients accept at most 398.
pub(crate) const VALIDITY_DAYS: u32 = 397;
/// A start replaces it when fewer days are left.
pub(crate) const RENEW_DAYS: u32 = 30;

const CA_FILE: &str = "dev-ca.pem";
const CERT_FILE: &str = "server.pem";
const KEY_FILE: &str = "server-key.pem";
const NAME: &str = "localhost";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why there is no usable certificate. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configured file cannot be read.
    #[error(
        "cannot read the {what} {path}: {source}; check that the file is there and that this user \
         may read it"
    )]
    Read {
        /// "certificate" or "private key".
        what: &'static str,
        /// As it was configured.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A configured file has no valid content.
    #[error("the {what} {path} is not usable: {reason}; expected a PEM file with {expected}")]
    Content {
        /// "certificate" or "private key".
        what: &'static str,
        /// As it was configured.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What the file should hold.
        expected: &'static str,
    },
    /// Each file is valid, but they cannot be used together.
    #[error(
        "the certificate {cert} and the private key {key} cannot be used: {reason}; give the key \
         that belongs to the first certificate of the file"
    )]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls said.
        reason: rustls::Error,
    },
    /// The gateway's own certificate cannot be made.
    #[error(
        "cannot make a certificate: {0}; give one with --webhook-tls-cert and --webhook-tls-key"
    )]
    Make(#[from] rcgen::Error),
    /// The gateway's own certificate cannot be stored.
    #[error(
        "cannot keep a certificate in {path}: {source}; make that folder writable, or give a \
         certificate with --webhook-tls-cert and --webhook-tls-key"
    )]
    Keep {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A certificate chain with its key.
#[derive(Clone, Debug)]
pub struct Served {
    /// The configuration that serves it.
    pub config: Arc<ServerConfig>,
    /// When it becomes valid and when it expires.
    pub validity: Validity,
}

/// The gateway's own certificate.
#[derive(Clone, Debug)]
pub struct SelfMade {
    /// What a door serves.
    pub served: Served,
    /// The CA certificate that clients must trust.
    pub ca_path: PathBuf,
}

/// Reads a certificate chain (leaf first) and its private key (PKCS #8, PKCS #1 or SEC 1) from PEM
/// files.
///
/// Does not check whether the chain is valid now: see [`Validity`].
pub(crate) fn load(cert_path: &Path, key_path: &Path) -> Result<Served, Error> {
    let chain = chain(cert_path)?;
    let validity = Validity::of(cert_path.into(), &chain);
    let key = PrivateKeyDer::from_pem_slice(&read("private key", key_path)?).map_err(|error| {
        Error::Content {
            what: "private key",
            path: key_path.into(),
            reason: reason(&error),
            expected: "one unencrypted private key",
        }
    })?;
    let config = server_config(chain, key).map_err(|reason| Error::Pair {
        cert: cert_path.into(),
        key: key_path.into(),
        reason,
    })?;
    Ok(Served { config, validity })
}

/// The certificate in the folder `dir` for a door that is bound to `ip`. If there is none that is
/// usable at `now`, it is made.
pub fn self_made(dir: &Path, ip: IpAddr, now: SystemTime) -> Result<SelfMade, Error> {
    let ips = ips(ip);
    let ca_path = dir.join(CA_FILE);
    let (cert_path, key_path) = (dir.join(CERT_FILE), dir.join(KEY_FILE));
    if let Ok(served) = load(&cert_path, &key_path)
        && is_trusted(&ca_path, &cert_path, &ips, now + RENEW_DAYS * DAY)
    {
        return Ok(SelfMade { served, ca_path });
    }
    make(dir, &ips, now)?;
    let served = load(&cert_path, &key_path)?;
    Ok(SelfMade { served, ca_path })
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The crate's only crypto provider. The process-wide default is never set.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let content = |reason| Error::Content {
        what: "certificate",
        path: path.into(),
        reason,
        expected: "the server's certificate first, then those that lead to its CA",
    };
    let pem = read("certificate", path)?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| content(reason(&error)))?;
    if chain.is_empty() {
        return Err(content(reason(&pem::Error::NoItemsFound)));
    }
    Ok(chain)
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read {
        what,
        path: path.into(),
        source,
    })
}

/// What is wrong with a file. The file may be a key, so it is not quoted.
fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "the file contains none".into(),
        pem::Error::MissingSectionEnd { .. } => "a section has no end".into(),
        pem::Error::IllegalSectionStart { .. } => "a section's first line is malformed".into(),
        pem::Error::Base64Decode(_) => "a section is not base64".into(),
        other => other.to_string(),
    }
}

/// The addresses by which clients on this machine may call a door that is bound to `ip`, besides
/// [`NAME`].
fn ips(ip: IpAddr) -> Vec<IpAddr> {
    let mut ips = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    if !ip.is_unspecified() && !ips.contains(&ip) {
        ips.push(ip);
    }
    ips
}

/// Whether a client that trusts `ca_path` would accept the certificate for [`NAME`] and each of
/// `ips`, at `time`.
fn is_trusted(ca_path: &Path, cert_path: &Path, ips: &[IpAddr], time: SystemTime) -> bool {
    let (Ok(ca), Ok(served)) = (chain(ca_path), chain(cert_path)) else {
        return false;
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(ca);
    let Ok(verifier) =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()
    else {
        return false;
    };
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH);
    let time = UnixTime::since_unix_epoch(since_1970.unwrap_or_default());
    let names = ServerName::try_from(NAME).into_iter();
    names
        .chain(ips.iter().copied().map(ServerName::from))
        .all(|name| {
            let (leaf, intermediates) = (&served[0], &served[1..]);
            verifier
                .verify_server_cert(leaf, intermediates, &name, &[], time)
                .is_ok()
        })
}

/// Makes CA and certificate, and stores everything except the CA's key. After a crash the next
/// start detects incomplete files.
fn make(dir: &Path, ips: &[IpAddr], now: SystemTime) -> Result<(), Error> {
    // The certificate must also be valid for a client whose clock is a little behind.
    let (from, until) = (now - DAY, now + (VALIDITY_DAYS - 1) * DAY);

    let mut ca = CertificateParams::default();
    ca.not_before = from.into();
    ca.not_after = until.into();
    ca.distinguished_name
        .push(DnType::OrganizationName, "verbex-gateway");
    ca.distinguished_name.push(
        DnType::CommonName,
        "verbex-gateway development CA for this machine only",
    );
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.name_constraints = Some(NameConstraints {
        permitted_subtrees: std::iter::once(GeneralSubtree::DnsName(NAME.into()))
            .chain(ips.iter().copied().map(host).map(GeneralSubtree::IpAddress))
            .collect(),
        excluded_subtrees: Vec::new(),
    });
    let issuer = Issuer::new(ca.clone(), KeyPair::generate()?);
    let ca = ca.self_signed(issuer.key())?;

    let names: Vec<String> = std::iter::once(NAME.to_owned())
        .chain(ips.iter().map(ToString::to_string))
        .collect();
    let mut server = CertificateParams::new(names)?;
    server.not_before = from.into();
    server.not_after = until.into();
    server.distinguished_name.push(DnType::CommonName, NAME);
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let server = server.signed_by(&key, &issuer)?;

    make_private_dir(dir).map_err(|source| Error::Keep {
        path: dir.into(),
        source,
    })?;
    for (name, content) in [
        (KEY_FILE, key.serialize_pem()),
        (CERT_FILE, server.pem()),
        (CA_FILE, ca.pem()),
    ] {
        let path = dir.join(name);
        write(&path, &content).map_err(|source| Error::Keep { path, source })?;
    }
    Ok(())
}

fn host(address: IpAddr) -> CidrSubnet {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    CidrSubnet::from_addr_prefix(address, bits)
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Writes a file that only this user may read, completely or not at all.
fn write(path: &Path, content: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    // A file that was left by a crash may be readable by others.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(&unfinished)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests;
