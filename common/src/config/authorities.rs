//! `TLS_CA_FILE`: the authorities that the certificates of Postgres, Redis and the collector of
//! traces are checked against.

use super::raw::Raw;
use super::{ConfigError, Database, RedisConfig, TracesConfig, database};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::sync::Arc;

const NAME: &str = "TLS_CA_FILE";

/// Authorities in PEM: the system's (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others) and those of
/// `TLS_CA_FILE`.
#[derive(Clone)]
pub struct Authorities(Arc<[u8]>);

impl Authorities {
    /// All of them, in PEM.
    pub fn pem(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorities")
    }
}

/// The parts of the configuration that may ask for TLS.
pub(super) struct TlsUsers<'a> {
    pub(super) database: &'a Database,
    pub(super) replica: Option<&'a SecretString>,
    pub(super) redis: Option<&'a RedisConfig>,
    pub(super) traces: Option<&'a TracesConfig>,
}

/// The authorities; none where no back end's certificate is checked, and where the system has
/// none: the libraries have the public ones.
pub(super) fn read(
    raw: &Raw,
    users: &TlsUsers<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<Authorities>, ConfigError> {
    let mut all = Pem::default();
    let named = raw.get(NAME)?;
    if let Some(path) = &named {
        let fault = |fault: String| ConfigError::of(NAME, fault);
        let text = std::fs::read(path.trim()).map_err(|error| fault(format!("cannot be read: {error}")))?;
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| fault(format!("holds no sound PEM: {error}")))?;
            if !all.add(certificate) {
                return Err(fault("holds a certificate that cannot be an authority's".to_owned()));
            }
        }
        if all.0.is_empty() {
            return Err(fault("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned()));
        }
    }
    if named.is_none() && !users.check_certificates() {
        return Ok(None);
    }
    let system = rustls_native_certs::load_native_certs();
    if let Some(error) = system.errors.first() {
        warnings.push(format!("some of the system's certificate authorities cannot be read: {error}"));
    }
    for certificate in system.certs {
        // One that no library can use is left out, as they would.
        all.add(certificate);
    }
    Ok((!all.0.is_empty()).then(|| Authorities(all.0.into_bytes().into())))
}

impl TlsUsers<'_> {
    fn check_certificates(&self) -> bool {
        let redis = self.redis.is_some_and(|redis| {
            let servers = redis.nodes.iter().chain(redis.sentinel.as_ref().map(|sentinel| &sentinel.server));
            servers.into_iter().any(|url| url.expose_secret().starts_with("rediss:"))
        });
        let primary = match self.database {
            Database::Postgres(url) => Some(url),
            Database::Sqlite(_) => None,
        };
        let collector = self.traces.is_some_and(TracesConfig::uses_tls);
        redis || collector || primary.into_iter().chain(self.replica).any(database::checks_certificate)
    }
}

#[derive(Default)]
struct Pem(String);

impl Pem {
    fn add(&mut self, certificate: CertificateDer<'_>) -> bool {
        let lines = STANDARD.encode(&certificate);
        let sound = RootCertStore::empty().add(certificate).is_ok();
        if sound {
            self.0.extend(["-----BEGIN CERTIFICATE-----\n", &lines, "\n-----END CERTIFICATE-----\n"]);
        }
        sound
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Program;
    use crate::config::tests::{cluster, read};

    fn fault(path: &str) -> String {
        read(Program::Api, &cluster(&[("TLS_CA_FILE", path)])).expect_err("must not start").to_string()
    }

    #[test]
    fn authorities_that_cannot_be_read_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ca.pem");
        let named = path.to_str().expect("UTF-8");
        for (text, said) in [
            ("", "holds no certificate"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be an authority's"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "no sound PEM"),
        ] {
            std::fs::write(&path, text).expect("writes");
            let line = fault(named);
            assert!(line.starts_with("TLS_CA_FILE: ") && line.contains(said), "{line}");
        }
        let line = fault("/nowhere/at/all.pem");
        assert!(line.contains("cannot be read"), "{line}");
    }

    #[test]
    fn the_systems_authorities_are_read_where_any_certificate_is_checked() {
        let (plain, checked) = ("postgres://db/m?sslmode=require", "postgres://replica/m?sslmode=verify-full");
        for (primary, replica, is_checked) in
            [(plain, plain, false), (checked, plain, true), (plain, checked, true), (plain, "", false)]
        {
            let given = cluster(&[("DATABASE_URL", primary), ("DATABASE_READ_URL", replica)]);
            let config = read(Program::Api, &given).expect("starts");
            assert_eq!(config.authorities.is_some(), is_checked, "{primary} {replica}");
        }
    }
}
