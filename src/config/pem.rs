//! Certificates and keys in PEM files.

use std::path::PathBuf;

use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::ConfigErrorKind;
use super::files;

/// A PEM file, which was read and checked when the configuration was loaded.
#[derive(Clone, Eq, PartialEq)]
pub struct PemFile {
    /// Where it was read.
    pub path: PathBuf,
    /// Its content, which may be a private key; never printed.
    pub pem: Bytes,
}

impl std::fmt::Debug for PemFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PemFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A section of a PEM file, which begins with `-----BEGIN LABEL-----` and may be malformed.
struct Section<'f> {
    label: &'f [u8],
    /// Its first line, from 1.
    line: usize,
    /// From its first line to the next section.
    text: &'f [u8],
}

const BEGIN: &[u8] = b"-----BEGIN ";

impl Section<'_> {
    fn is_certificate(&self) -> bool {
        self.label == b"CERTIFICATE"
    }

    fn is_key(&self) -> bool {
        self.label.ends_with(b"PRIVATE KEY")
    }

    /// Whether it is a key with a passphrase: in PKCS#8, or by the headers of RFC 1421.
    fn is_encrypted(&self) -> bool {
        let is_header = |line: &[u8]| line.starts_with(b"Proc-Type:");
        self.label.starts_with(b"ENCRYPTED")
            || self.text.split(|byte| *byte == b'\n').any(is_header)
    }
}

impl PemFile {
    /// Reads the file; what is in it is not checked.
    fn read(path: &str) -> Result<Self, ConfigErrorKind> {
        let path = PathBuf::from(path);
        let pem = Bytes::from(files::pem(&path)?);
        Ok(Self { path, pem })
    }

    /// Certificates that are trusted as roots.
    pub(super) fn authorities(path: &str) -> Result<Self, ConfigErrorKind> {
        let file = Self::read(path)?;
        let sections = file.certificate_sections()?;
        for (section, certificate) in sections.iter().zip(&file.certificates(&sections)?) {
            let anchor = webpki::anchor_from_trusted_cert(certificate);
            anchor.map_err(|error| file.unusable_certificate(section, &error))?;
        }
        Ok(file)
    }

    /// A chain of certificates, the first of which is presented.
    pub(super) fn chain(path: &str) -> Result<Self, ConfigErrorKind> {
        let file = Self::read(path)?;
        let sections = file.certificate_sections()?;
        let certificates = file.certificates(&sections)?;
        for (index, (section, certificate)) in sections.iter().zip(&certificates).enumerate() {
            let parsed = match index {
                0 => webpki::EndEntityCert::try_from(certificate).map(|_| ()),
                // Certificates of version 1 are accepted of authorities alone.
                _ => webpki::anchor_from_trusted_cert(certificate).map(|_| ()),
            };
            parsed.map_err(|error| file.unusable_certificate(section, &error))?;
        }
        Ok(file)
    }

    /// A private key.
    pub(super) fn key(path: &str) -> Result<Self, ConfigErrorKind> {
        let file = Self::read(path)?;
        let key = file.private_key()?;
        let provider = rustls::crypto::ring::default_provider();
        if provider.key_provider.load_private_key(key).is_err() {
            return Err(file.invalid(
                "has a private key that cannot be used; it must be RSA of 2048 to 4096 bits, ECDSA \
                 of the curve P-256 or P-384, or Ed25519",
            ));
        }
        Ok(file)
    }

    /// Checks that `key` is the key of the first certificate.
    pub(super) fn check_key(&self, key: &Self) -> Result<(), ConfigErrorKind> {
        let chain = self.certificates(&self.certificate_sections()?)?;
        let provider = rustls::crypto::ring::default_provider();
        let pair = rustls::sign::CertifiedKey::from_der(chain, key.private_key()?, &provider);
        pair.map(|_| ()).map_err(|_| {
            key.invalid(&format!(
                "is not the key of the first certificate in {}; give the two files of one pair",
                self.path.display()
            ))
        })
    }

    /// The sections with certificates, at least one.
    fn certificate_sections(&self) -> Result<Vec<Section<'_>>, ConfigErrorKind> {
        let mut sections = self.sections();
        if !sections.iter().any(Section::is_certificate) {
            return Err(match sections.iter().find(|section| section.is_key()) {
                Some(key) => self.invalid_line(
                    key.line,
                    "a private key, where certificates are needed; are the files of certificate \
                     and key swapped?",
                ),
                None => self.no_section(
                    "is no file of X.509 certificates in PEM (`-----BEGIN CERTIFICATE-----`)",
                    "x509",
                ),
            });
        }
        sections.retain(Section::is_certificate);
        Ok(sections)
    }

    /// The certificates of these sections.
    fn certificates(
        &self,
        sections: &[Section<'_>],
    ) -> Result<Vec<CertificateDer<'static>>, ConfigErrorKind> {
        let malformed = |section: &Section<'_>| {
            let detail = "a certificate that is malformed, or not whole; write the file again";
            self.invalid_line(section.line, detail)
        };
        for section in sections {
            CertificateDer::from_pem_slice(section.text).map_err(|_| malformed(section))?;
        }
        // Those who use the file read it as a whole.
        let certificates = CertificateDer::pem_slice_iter(&self.pem).collect::<Result<Vec<_>, _>>();
        certificates.ok().filter(|certificates| certificates.len() == sections.len()).ok_or_else(
            || self.invalid("has a section that is malformed, or not whole; write the file again"),
        )
    }

    /// The private key, which must be the only one.
    fn private_key(&self) -> Result<PrivateKeyDer<'static>, ConfigErrorKind> {
        const NO_KEY: &str = "has no private key that can be read; it must be in PEM (PKCS#8, \
            PKCS#1 or SEC1), without a passphrase";
        let sections = self.sections();
        let keys: Vec<_> = sections.iter().filter(|section| section.is_key()).collect();
        let Some(key) = keys.first() else {
            return Err(match sections.iter().find(|section| section.is_certificate()) {
                Some(certificate) => self.invalid_line(
                    certificate.line,
                    "a certificate, where a private key is needed; are the files of certificate \
                     and key swapped?",
                ),
                None => self.no_section(NO_KEY, "pkey"),
            });
        };
        if let Some(second) = keys.get(1) {
            let detail = "a second private key; keep the one that belongs to the certificate";
            return Err(self.invalid_line(second.line, detail));
        }
        if key.is_encrypted() {
            let detail = "a private key with a passphrase; remove the passphrase with `openssl \
                pkey -in FILE -out FILE`";
            return Err(self.invalid_line(key.line, detail));
        }
        let parsed = PrivateKeyDer::from_pem_slice(&self.pem);
        parsed.map_err(|_| {
            let detail = "a private key that is malformed, or not whole; it must be in PEM \
                (PKCS#8, PKCS#1 or SEC1)";
            self.invalid_line(key.line, detail)
        })
    }

    /// The sections of the file, in order.
    fn sections(&self) -> Vec<Section<'_>> {
        let mut sections: Vec<Section<'_>> = Vec::new();
        let mut start = 0;
        for (index, line) in self.pem.split_inclusive(|byte| *byte == b'\n').enumerate() {
            if let Some(label) = line.strip_prefix(BEGIN) {
                if let Some(last) = sections.last_mut() {
                    last.text = &last.text[..last.text.len() - (self.pem.len() - start)];
                }
                let label = label.trim_ascii_end();
                let label = label.strip_suffix(b"-----").unwrap_or(label);
                sections.push(Section { label, line: index + 1, text: &self.pem[start..] });
            }
            start += line.len();
        }
        sections
    }

    /// The error of a file that has none of the needed sections; `command` of `openssl` converts
    /// it.
    fn no_section(&self, detail: &str, command: &str) -> ConfigErrorKind {
        /// The tag of an ASN.1 sequence, with which certificates and keys begin in DER.
        const SEQUENCE: u8 = 0x30;
        if self.pem.trim_ascii().is_empty() {
            return self.invalid("is empty; write the certificates or the key into it");
        }
        let is_binary = self.pem.iter().any(|byte| *byte < b'\t');
        if self.pem.first() == Some(&SEQUENCE) && is_binary {
            return self.invalid(&format!(
                "is in DER, not in PEM; convert it with `openssl {command} -inform der -in FILE \
                 -out FILE.pem`"
            ));
        }
        self.invalid(detail)
    }

    fn unusable_certificate(
        &self,
        section: &Section<'_>,
        error: &webpki::Error,
    ) -> ConfigErrorKind {
        let detail = format!(
            "a certificate that cannot be used ({error:?}); it must be an X.509 certificate of \
             version 3"
        );
        self.invalid_line(section.line, &detail)
    }

    fn invalid(&self, detail: &str) -> ConfigErrorKind {
        let path = self.path.display().to_string();
        ConfigErrorKind::InvalidFile { path, detail: detail.to_owned() }
    }

    fn invalid_line(&self, line: usize, detail: &str) -> ConfigErrorKind {
        let path = self.path.display().to_string();
        ConfigErrorKind::InvalidLine { path, line, detail: detail.to_owned() }
    }
}

#[cfg(test)]
mod tests;
