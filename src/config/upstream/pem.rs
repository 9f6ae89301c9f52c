//! Certificates and keys in PEM files.

use std::path::PathBuf;

use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::values::file_path;
use super::{ClientCertificate, PemFile};
use crate::config::error::ConfigErrorKind;
use crate::config::files;
use crate::config::yaml::Node;

const CERTIFICATES: &str = "the path of a file with certificates in PEM";
const KEY: &str = "the path of a file with a private key in PEM";

/// Certificates that are trusted as roots; null means none.
pub(in crate::config) fn authorities(node: &Node) -> Result<Option<PemFile>, ConfigErrorKind> {
    let Some(file) = read(node, CERTIFICATES)? else { return Ok(None) };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(&file)? {
        roots.add(certificate).map_err(|_| no_certificate(&file))?;
    }
    Ok(Some(file))
}

/// A chain of certificates; null means none.
pub(in crate::config) fn chain(node: &Node) -> Result<Option<PemFile>, ConfigErrorKind> {
    let Some(file) = read(node, CERTIFICATES)? else { return Ok(None) };
    certificates(&file)?;
    Ok(Some(file))
}

/// A private key; null means none.
pub(in crate::config) fn key(node: &Node) -> Result<Option<PemFile>, ConfigErrorKind> {
    let Some(file) = read(node, KEY)? else { return Ok(None) };
    private_key(&file)?;
    Ok(Some(file))
}

/// Checks that the key belongs to the certificate.
pub(super) fn check_pair(client: &ClientCertificate) -> Result<(), ConfigErrorKind> {
    let (chain, key) = (certificates(&client.certificate)?, private_key(&client.key)?);
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map(|_| ()).map_err(|_| {
        ConfigErrorKind::Detail(format!(
            "{} is not the key of the first certificate in {}; give the two files of one pair",
            client.key.path.display(),
            client.certificate.path.display()
        ))
    })
}

fn read(node: &Node, expected: &'static str) -> Result<Option<PemFile>, ConfigErrorKind> {
    if node.is_null() {
        return Ok(None);
    }
    let path = PathBuf::from(file_path(node, expected)?);
    let pem = Bytes::from(files::pem(&path)?);
    Ok(Some(PemFile { path, pem }))
}

fn certificates(file: &PemFile) -> Result<Vec<CertificateDer<'static>>, ConfigErrorKind> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&file.pem)
        .collect::<Result<_, _>>()
        .map_err(|_| no_certificate(file))?;
    if certificates.is_empty() { Err(no_certificate(file)) } else { Ok(certificates) }
}

fn private_key(file: &PemFile) -> Result<PrivateKeyDer<'static>, ConfigErrorKind> {
    PrivateKeyDer::from_pem_slice(&file.pem).map_err(|_| {
        ConfigErrorKind::Detail(format!(
            "{} has no private key that can be read; it must be in PEM (PKCS#8, PKCS#1 or SEC1), \
             without a passphrase",
            file.path.display()
        ))
    })
}

fn no_certificate(file: &PemFile) -> ConfigErrorKind {
    ConfigErrorKind::Detail(format!(
        "{} is no file of X.509 certificates in PEM (`-----BEGIN CERTIFICATE-----`)",
        file.path.display()
    ))
}

#[cfg(test)]
mod tests;
