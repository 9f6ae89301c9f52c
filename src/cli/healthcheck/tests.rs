use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use super::*;

/// Answers one connection with `answer`, and gives the URL and what was asked.
fn server(answer: &'static str) -> (Url, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/readyz", listener.local_addr().unwrap())).unwrap();
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            request.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(request).unwrap()
    });
    (url, asked)
}

fn error_from(answer: &'static str) -> String {
    let (url, asked) = server(answer);
    let error = probe(&url, PROBE_TIMEOUT).unwrap_err().to_string();
    asked.join().unwrap();
    error
}

#[test]
fn ready_is_200() {
    let (url, asked) = server("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n");
    assert_eq!(probe(&url, PROBE_TIMEOUT), Ok(()));
    let request = asked.join().unwrap();
    let host = format!("Host: {}:{}\r\n", url.host_str().unwrap(), url.port().unwrap());
    assert!(
        request.starts_with("GET /readyz HTTP/1.0\r\n") && request.contains(&host),
        "{request}"
    );
}

#[test]
fn an_error_is_one_line() {
    assert_eq!(
        error_from(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\r\n\
             {\"title\":\"Not ready\",\"status\":503,\"detail\":\"no source has answered yet\"}"
        ),
        "503 Service Unavailable: no source has answered yet"
    );
    assert_eq!(
        error_from("HTTP/1.1 503 Service Unavailable\r\n\r\ndraining\nsoon\n"),
        "503 Service Unavailable: draining soon"
    );
    assert_eq!(error_from("HTTP/1.1 404 Not Found\r\n\r\n"), "404 Not Found");
    assert_eq!(error_from("HTTP/1.1 2000 OK\r\n\r\n"), "2000 OK");
    assert_eq!(
        error_from("SSH-2.0-OpenSSH\r\n"),
        "the answer is not HTTP; is this the admin address?"
    );
    assert_eq!(error_from(""), "the answer is not HTTP; is this the admin address?");
}

#[test]
fn a_refused_connection_is_an_error() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = Url::parse(&format!("http://{address}/readyz")).unwrap();
    assert_eq!(probe(&url, PROBE_TIMEOUT), Err(ProbeError::Refused));
}

#[test]
fn no_answer_in_time_is_an_error() {
    // The kernel takes the connection; nobody ever reads from it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/readyz", listener.local_addr().unwrap())).unwrap();
    let limit = Duration::from_millis(20);
    assert_eq!(probe(&url, limit), Err(ProbeError::Timeout(limit)));
    assert_eq!(ProbeError::Timeout(PROBE_TIMEOUT).to_string(), "no answer within 2s");
}

#[test]
fn an_endless_answer_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/readyz", listener.local_addr().unwrap())).unwrap();
    let endless = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while stream.write_all(&[b'x'; 1024]).is_ok() {}
    });
    assert_eq!(probe(&url, PROBE_TIMEOUT), Err(ProbeError::NotHttp));
    endless.join().unwrap();
}

#[test]
fn only_http_and_https_urls_are_asked() {
    for (text, url) in [
        ("http://127.0.0.1:9001", "http://127.0.0.1:9001/readyz"),
        ("http://127.0.0.1:9001/", "http://127.0.0.1:9001/readyz"),
        ("http://[::1]:9001/healthz", "http://[::1]:9001/healthz"),
        ("https://localhost:9001", "https://localhost:9001/readyz"),
    ] {
        assert_eq!(parse_url(text).map(String::from), Ok(url.to_owned()));
    }
    for text in [
        "ftp://127.0.0.1:9001",
        "127.0.0.1:9001",
        "",
        "http://alice:hunter2@h/",
        "http://alice:hunter2%40h/",
    ] {
        let reason = parse_url(text).unwrap_err();
        assert!(!reason.contains("hunter2"), "{reason}");
    }
}

#[test]
fn a_listener_on_every_address_is_asked_on_loopback() {
    for (listen, ask) in [
        ("0.0.0.0:9001", "127.0.0.1:9001"),
        ("[::]:9001", "[::1]:9001"),
        ("[::ffff:0.0.0.0]:9001", "127.0.0.1:9001"),
        ("[::1]:9001", "[::1]:9001"),
        ("10.1.2.3:9001", "10.1.2.3:9001"),
    ] {
        assert_eq!(reachable(listen.parse().unwrap()), ask.parse().unwrap());
    }
    let at = |address: &str| {
        at_admin_listen(None, &[("INCIDENT_GATEWAY__ADMIN_LISTEN", address)].into_iter().collect())
            .unwrap()
            .map(String::from)
    };
    assert_eq!(at(":9005"), Ok("http://127.0.0.1:9005/readyz".to_owned()));
    let tls = [("INCIDENT_GATEWAY__ADMIN__TLS", "true")].into_iter().collect();
    let url = at_admin_listen(None, &tls).unwrap().map(String::from);
    assert_eq!(url, Ok("https://127.0.0.1:9001/readyz".to_owned()));
    assert_eq!(at("[::]:9005"), Ok("http://[::1]:9005/readyz".to_owned()));
    assert_eq!(
        at(":0"),
        Err("`admin_listen` (127.0.0.1:0) has no fixed port; give the address with --url"
            .to_owned())
    );
}

#[test]
fn work_that_takes_too_long_is_not_waited_for() {
    let (_sender, receiver) = mpsc::channel::<()>();
    assert_eq!(run_within(Duration::from_millis(1), move || receiver.recv()), None);
    assert_eq!(run_within(PROBE_TIMEOUT, || 7), Some(7));
}

/// A server that performs one TLS handshake with a certificate of nobody's, and answers.
fn tls_server(answer: &'static str) -> (Url, thread::JoinHandle<()>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("https://{}/readyz", listener.local_addr().unwrap())).unwrap();
    let serving = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let session = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::StreamOwned::new(session, stream);
        // A plain request fails here, and the alert is sent.
        let mut request = [0; 1024];
        if stream.read(&mut request).is_ok() {
            stream.write_all(answer.as_bytes()).unwrap();
        }
        let _ = stream.flush();
    });
    (url, serving)
}

#[test]
fn any_certificate_is_taken() {
    let (url, serving) = tls_server("HTTP/1.1 200 OK\r\n\r\nready");
    assert_eq!(probe(&url, PROBE_TIMEOUT), Ok(()));
    serving.join().unwrap();
    let (url, serving) = tls_server("HTTP/1.1 503 Service Unavailable\r\n\r\ndraining");
    let error = probe(&url, PROBE_TIMEOUT).unwrap_err().to_string();
    assert_eq!(error, "503 Service Unavailable: draining");
    serving.join().unwrap();
}

#[test]
fn the_wrong_scheme_is_named() {
    let (mut url, serving) = tls_server("");
    url.set_scheme("http").unwrap();
    assert_eq!(probe(&url, PROBE_TIMEOUT), Err(ProbeError::SpeaksTls));
    serving.join().unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("https://{}/", listener.local_addr().unwrap())).unwrap();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    assert_eq!(probe(&url, PROBE_TIMEOUT), Err(ProbeError::SpeaksNoTls));
    serving.join().unwrap();
}

#[test]
fn a_handshake_has_the_same_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("https://{}/", listener.local_addr().unwrap())).unwrap();
    let limit = Duration::from_millis(100);
    // A record of 16 KiB, of which each byte alone would be in time.
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&[0x16, 0x03, 0x03, 0x40, 0]).unwrap();
        while stream.write_all(&[0]).is_ok() {
            thread::sleep(limit / 4);
        }
    });
    let began = Instant::now();
    assert_eq!(probe(&url, limit), Err(ProbeError::Timeout(limit)));
    assert!(began.elapsed() < PROBE_TIMEOUT, "{:?}", began.elapsed());
    serving.join().unwrap();
}
