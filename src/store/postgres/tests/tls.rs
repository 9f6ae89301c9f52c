//! TLS: the server's name and authority are checked, and nothing goes in plain text.

use super::server::{PostgresServer, Settings};
use super::{held, tcp_config};
use crate::config::{PemFile, Postgres, PostgresTls};
use crate::store::postgres::PostgresStore;
use crate::store::{Store, StoreError};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for this name, and its key, as PEM.
    fn certificate(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &*self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn trusted(&self) -> PostgresTls {
        let pem = self.0.pem().into();
        PostgresTls::Verified { authorities: Some(PemFile { path: "ca.crt".into(), pem }) }
    }
}

async fn refusal(config: Postgres) -> String {
    let refused = PostgresStore::new(&config).unwrap().prepare().await;
    let Err(StoreError::Unavailable(detail)) = refused else { panic!("{refused:?}") };
    detail
}

#[tokio::test]
async fn the_server_is_checked() {
    let authority = Authority::new();
    let (certificate, key) = authority.certificate("localhost");
    let settings = Settings {
        tls: Some((&certificate, &key)),
        requires_password: true,
        ..Settings::default()
    };
    let Some(server) = PostgresServer::start("the_server_is_checked", &settings) else { return };
    let database = server.create_database().await;
    server.query("postgres", "ALTER USER gateway PASSWORD 'correct'").await;
    let config = Postgres {
        host: "localhost".into(),
        password: Some("correct".into()),
        tls: authority.trusted(),
        ..tcp_config(&server, &database)
    };
    let store = PostgresStore::new(&config).unwrap();
    store.prepare().await.unwrap();
    assert!(held(&store).await.is_some());
    super::within(store.notified()).await;
    let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE NOT ssl AND application_name LIKE 'incident-gateway%'";
    assert_eq!(server.value(&database, plain).await, "0");

    // The address is not in the certificate.
    let detail = refusal(Postgres { host: "127.0.0.1".into(), ..config.clone() }).await;
    assert!(detail.contains("certificate"), "{detail}");
    let stranger = Authority::new();
    let detail = refusal(Postgres { tls: stranger.trusted(), ..config.clone() }).await;
    assert!(detail.contains("certificate"), "{detail}");
    // Without TLS the server refuses.
    let detail = refusal(Postgres { tls: PostgresTls::Disabled, ..config }).await;
    assert!(detail.contains("no encryption"), "{detail}");
}

#[tokio::test]
async fn a_server_without_tls_gets_no_password() {
    let test = "a_server_without_tls_gets_no_password";
    let Some(server) = PostgresServer::shared(test) else { return };
    let database = server.create_database().await;
    let tls = Authority::new().trusted();
    let detail = refusal(Postgres { tls, ..tcp_config(server, &database) }).await;
    assert!(detail.contains("TLS"), "{detail}");
}

#[test]
fn authorities_that_are_not_certificates_are_refused() {
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into();
    let config = Postgres {
        host: "db.example".into(),
        port: 5432,
        user: "gateway".into(),
        password: None,
        password_file: None,
        url: String::new(),
        database: "gateway".into(),
        tls: PostgresTls::Verified { authorities: Some(PemFile { path: "ca.crt".into(), pem }) },
    };
    let Err(StoreError::Unusable(detail)) = PostgresStore::new(&config).map(|_| ()) else {
        panic!("it is no certificate")
    };
    assert!(detail.contains("ca.crt"), "{detail}");
}
