//! Encryption: whom we trust.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::Error;
use crate::store::postgres::Tls;

/// What makes encrypted connections: the server's certificate must be for its name, and from
/// somebody whom the file names, or else the system.
///
/// # Errors
///
/// *Unusable* where there is nobody to trust.
pub(super) fn connector(tls: &Tls) -> Result<MakeRustlsConnect, Error> {
    let roots = match &tls.ca_file {
        Some(path) => of_file(path)?,
        None => of_system()?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| Error::Unusable {
        what: "TLS can't be set up".to_owned(),
        source: Some(Box::new(error)),
    })?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn of_file(path: &Path) -> Result<RootCertStore, Error> {
    let at = path.display();
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| Error::Unusable {
        what: format!("the certificates to trust, {at}, can't be read; check the file's name"),
        source: Some(Box::new(error)),
    })?;
    for certificate in certificates {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        added.map_err(|why| Error::Unusable {
            what: format!("expected certificates (PEM) in {at}, found another form: {why}"),
            source: None,
        })?;
    }
    if roots.is_empty() {
        let what = format!("expected certificates (PEM) in {at}, found none");
        return Err(Error::Unusable { what, source: None });
    }
    Ok(roots)
}

fn of_system() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    // A system's list may hold what no longer parses; the rest of it is still good.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let what = "expected certificates to trust on this system, found none; install them, or \
                    name a file of certificates to trust"
            .to_owned();
        return Err(Error::Unusable { what, source: None });
    }
    Ok(roots)
}
