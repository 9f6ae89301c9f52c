//! How connections are made: addresses, TLS, timeouts.

use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::ExposeSecret as _;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::lane::CONNECT_TIMEOUT;
use crate::config::{Postgres, PostgresTls};
use crate::store::StoreError;

/// After this long without an acknowledgement, or an answer to probes, a connection is lost.
const TCP_TIMEOUT: Duration = Duration::from_secs(8);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_RETRIES: u32 = 3;

/// The settings of every connection, whose session is found by the server under this name.
pub(super) fn client_config(postgres: &Postgres, application_name: &str) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    if postgres.host.starts_with('/') {
        config.host_path(&postgres.host);
    } else {
        config.host(&postgres.host);
    }
    config
        .port(postgres.port)
        .user(&postgres.user)
        .dbname(&postgres.database)
        .application_name(application_name)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(TCP_TIMEOUT)
        .keepalives(true)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES)
        .ssl_mode(match postgres.tls {
            PostgresTls::Disabled => SslMode::Disable,
            // With `prefer`, a server without TLS would get the password in plain text.
            PostgresTls::Verified { .. } => SslMode::Require,
        });
    if let Some(password) = &postgres.password {
        config.password(password.expose_secret());
    }
    config
}

/// TLS that checks the server's name and authority.
pub(super) fn tls(postgres: &Postgres) -> Result<MakeRustlsConnect, StoreError> {
    let roots = match &postgres.tls {
        PostgresTls::Disabled => RootCertStore::empty(),
        PostgresTls::Verified { authorities: Some(file) } => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&file.pem) {
                let added = certificate.ok().and_then(|certificate| roots.add(certificate).ok());
                added.ok_or_else(|| unusable_authorities(&file.path.display().to_string()))?;
            }
            roots
        }
        PostgresTls::Verified { authorities: None } => {
            let (connect, _) = MakeRustlsConnect::with_native_certs().map_err(|_| {
                StoreError::Unusable(
                    "the system has no certificate authorities to check PostgreSQL's certificate \
                     with; install `ca-certificates` or set `sslrootcert` in `store.url`"
                        .to_owned(),
                )
            })?;
            return Ok(connect);
        }
    };
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn unusable_authorities(file: &str) -> StoreError {
    StoreError::Unusable(format!("`sslrootcert` of `store.url`: {file} has a bad certificate"))
}
