use http::StatusCode;
use tower::{ServiceExt as _, service_fn};

use super::super::testing::set_context;
use super::*;

#[tokio::test]
async fn probes_are_served_with_any_host() {
    let service = HostLayer::new(None).layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Body::empty()))
    }));
    let hosts: [&[&str]; 4] = [&[], &["outbound|9001||svc"], &["a", "b"], &["test"]];
    for hosts in hosts {
        for path in ["/healthz", "/readyz", "/incidents", "/", "/nowhere"] {
            let mut request = Request::get(path).body(()).unwrap();
            for host in hosts {
                request.headers_mut().append(header::HOST, host.parse().unwrap());
            }
            set_context(&mut request);
            let Ok(response) = service.clone().oneshot(request).await;
            let is_answered = hosts == ["test"] || path.ends_with('z');
            let expected = if is_answered { StatusCode::OK } else { StatusCode::BAD_REQUEST };
            assert_eq!(response.status(), expected, "{path} of {hosts:?}");
        }
    }
}

fn valid(version: Version, hosts: &[&'static str]) -> bool {
    let mut headers = HeaderMap::new();
    for host in hosts {
        headers.append(header::HOST, HeaderValue::from_static(host));
    }
    is_valid(version, &headers)
}

#[test]
fn names_and_addresses_are_hosts() {
    for host in [
        "localhost",
        "localhost:9000",
        "example.com:",
        "10.0.0.1:80",
        "[::1]",
        "[2001:db8::7]:9000",
        "under_score",
        "a%20b",
        "",
    ] {
        assert!(valid(Version::HTTP_11, &[host]), "{host:?}");
    }
    for host in [
        "a b", "a/b", "a@b", "http://a", "a?b", "a#b", "a:b", "a:1:2", "::1", "[::1", "[::1]9",
        "[a]", "a\\b", "a,b:c", "<a>",
    ] {
        assert!(!valid(Version::HTTP_11, &[host]), "{host:?}");
    }
}

#[test]
fn host_is_required_once_in_http_1_1_and_optional_in_other_versions() {
    assert!(!valid(Version::HTTP_11, &[]));
    assert!(valid(Version::HTTP_10, &[]) && valid(Version::HTTP_2, &[]));
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        assert!(valid(version, &["a"]), "{version:?}");
        assert!(!valid(version, &["a", "a"]) && !valid(version, &["a", "b"]), "{version:?}");
        assert!(!valid(version, &["a b"]), "{version:?}");
    }
}

/// Whether a request is allowed: the target of its request line, and its `Host`.
async fn status(allowed: &[&str], target: &str, host: Option<&str>, version: Version) -> u16 {
    let allowed = allowed.iter().map(|host| (*host).to_owned()).collect();
    let service = HostLayer::new(Some(allowed)).layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Body::empty()))
    }));
    let mut request = Request::get(target).version(version).body(()).unwrap();
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host.parse().unwrap());
    }
    set_context(&mut request);
    let Ok(response) = service.oneshot(request).await;
    response.status().as_u16()
}

#[tokio::test]
async fn only_the_allowed_hosts_are_served() {
    const ALLOWED: [&str; 2] = ["gateway.example", "[2001:db8::7]:9000"];
    for (host, expected) in [
        ("gateway.example", 200),
        ("GateWay.EXAMPLE", 200),
        ("[2001:DB8::7]:9000", 200),
        ("gateway.example:80", 421),
        ("gateway.example:", 421),
        ("gateway.example.", 421),
        ("a.gateway.example", 421),
        ("gateway.exampl", 421),
        ("[2001:db8::7]", 421),
        ("", 421),
        ("*", 421),
        ("gateway.example/", 400),
        ("gateway example", 400),
    ] {
        assert_eq!(status(&ALLOWED, "/incidents", Some(host), Version::HTTP_11).await, expected);
        assert_eq!(status(&ALLOWED, "/readyz", Some(host), Version::HTTP_11).await, 200);
    }
    assert_eq!(status(&ALLOWED, "/incidents", None, Version::HTTP_10).await, 421);
    assert_eq!(status(&ALLOWED, "/incidents", None, Version::HTTP_2).await, 421);
    assert_eq!(status(&[], "/incidents", Some("gateway.example"), Version::HTTP_11).await, 421);
}

#[tokio::test]
async fn the_authority_of_the_target_takes_precedence_over_the_host() {
    for (authority, host, version, expected) in [
        ("gateway.example", None, Version::HTTP_2, 200),
        ("GATEWAY.example", None, Version::HTTP_2, 200),
        ("gateway.example:443", None, Version::HTTP_2, 421),
        ("evil.example", Some("gateway.example"), Version::HTTP_2, 421),
        ("gateway.example", Some("evil.example"), Version::HTTP_2, 200),
        ("user@gateway.example", Some("gateway.example"), Version::HTTP_2, 421),
        ("evil.example", Some("gateway.example"), Version::HTTP_11, 421),
        ("gateway.example", Some("gateway.example"), Version::HTTP_11, 200),
        ("gateway.example", None, Version::HTTP_11, 400),
    ] {
        let target = format!("http://{authority}/incidents");
        let status = status(&["gateway.example"], &target, host, version).await;
        assert_eq!(status, expected, "{authority} {host:?} {version:?}");
    }
}
