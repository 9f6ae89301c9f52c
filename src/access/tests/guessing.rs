//! What counts as a failed attempt, and what too many of them stop.

use super::*;

#[tokio::test]
async fn no_credentials_are_no_failed_attempt() {
    let fixture = Fixture::new().users(&[("ann", "right")]).tokens(&[("ops", "token", "all")]);
    let access = fixture.access(None);
    for _ in 0..50 {
        assert_eq!(decide(&access, &[], PEER).await.unwrap_err(), UNAUTHORIZED);
        let repeated = decide(&access, &["Bearer x", "Bearer token"], PEER).await.unwrap_err();
        assert_eq!(repeated, Refusal::RepeatedAuthorization);
        grant(&access, "Bearer token").await;
    }
    assert_eq!(fixture.failures(Failure::Missing), 50);
    grant(&access, &basic("ann", "right")).await;
}

#[tokio::test(start_paused = true)]
async fn after_ten_failures_passwords_are_not_checked_for_a_minute() {
    let fixture = Fixture::new()
        .users(&[("ann", "right"), ("bob", "right")])
        .tokens(&[("ops", "token", "all")]);
    let access = fixture.access(None);
    let (ann, bob) = (basic("ann", "right"), basic("bob", "right"));
    grant(&access, &ann).await;
    // Of all kinds.
    for number in 0..5 {
        assert_eq!(refusal(&access, &basic("ann", &number.to_string())).await, UNAUTHORIZED);
        assert_eq!(refusal(&access, "Bearer wrong").await, INVALID_TOKEN);
    }
    let hashes = || access.checks.as_ref().unwrap().begun.load(Ordering::Relaxed);
    let hashes_before = hashes();
    let limited = Refusal::TooManyAttempts { retry_after: Duration::from_mins(1) };
    for authorization in [&bob, &basic("ann", "wrong"), "Basic !", "Bearer wrong", "Digest x"] {
        assert_eq!(refusal(&access, authorization).await, limited);
    }
    assert_eq!(hashes(), hashes_before, "unchecked");
    assert_eq!(fixture.failures(Failure::Limited), 5);
    // What is known is served, and so are other addresses.
    grant(&access, &ann).await;
    grant(&access, "Bearer token").await;
    decide(&access, &[&bob], OTHER_PEER).await.unwrap();
    assert_eq!(decide(&access, &[], PEER).await.unwrap_err(), UNAUTHORIZED);

    // A reload forgets passwords, but not the failures.
    let reloaded = fixture.access(Some(&access));
    assert_eq!(refusal(&reloaded, &ann).await, limited);
    let open = Fixture::new().access(Some(&reloaded));
    let reloaded = fixture.access(Some(&open));
    assert_eq!(refusal(&reloaded, &ann).await, limited);
    advance(Duration::from_secs(59)).await;
    let limited = Refusal::TooManyAttempts { retry_after: Duration::from_secs(1) };
    assert_eq!(refusal(&reloaded, &ann).await, limited);
    advance(Duration::from_secs(1)).await;
    grant(&reloaded, &ann).await;
}

#[tokio::test]
async fn the_address_is_the_connections_whatever_headers_say() {
    let fixture = Fixture::new().tokens(&[("ops", "token", "all")]);
    let access = fixture.access(None);
    let mut refusals = Vec::new();
    for number in 0..=attempts::MAX_FAILURES {
        let mut headers = headers(&["Bearer wrong"]);
        let address = format!("198.51.100.{number}");
        for name in ["x-forwarded-for", "x-real-ip"] {
            headers.insert(name, address.parse().unwrap());
        }
        headers.insert("forwarded", format!("for={address}").parse().unwrap());
        let Decision::Ready(result) = access.authenticate(&headers, Some(PEER), None) else {
            panic!("nothing takes time");
        };
        refusals.push(result.unwrap_err());
    }
    let last = refusals.pop().unwrap();
    assert!(refusals.iter().all(|refusal| *refusal == INVALID_TOKEN));
    assert!(matches!(last, Refusal::TooManyAttempts { .. }));
}

#[tokio::test]
async fn parallel_guesses_do_not_pass_the_limit() {
    let fixture = Fixture::new().users(&[("ann", "right")]);
    let access = fixture.access(None);
    let guesses: Vec<String> = (0..60).map(|number| basic("ann", &format!("{number}"))).collect();
    let refusals =
        futures::future::join_all(guesses.iter().map(|guess| refusal(&access, guess))).await;
    let checked = refusals.iter().filter(|refusal| **refusal == UNAUTHORIZED).count();
    assert_eq!(checked, attempts::MAX_FAILURES);
    assert_eq!(access.checks.as_ref().unwrap().begun.load(Ordering::Relaxed), checked);
    assert_eq!(fixture.failures(Failure::Limited), 60 - checked);
}

#[tokio::test]
async fn a_token_that_cannot_be_verified_for_lack_of_keys_is_no_failed_attempt() {
    let mut fixture = Fixture::new().users(&[("ann", "right")]);
    fixture.config.sign_in.jwt = Some(Jwt {
        // Nobody listens there.
        issuer: "http://127.0.0.1:1".to_owned(),
        audience: "incident-gateway".to_owned(),
        jwks_url: None,
        ca: None,
        proxy: None,
        employee_claim: "employee_id".to_owned(),
        scope_claim: "scope".to_owned(),
    });
    let access = fixture.access(None);
    // {"alg":"ES256","kid":"x"}, {}, sig
    let token = "Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6IngifQ.e30.c2ln";
    for _ in 0..2 * attempts::MAX_FAILURES {
        assert_eq!(refusal(&access, token).await, INVALID_TOKEN);
    }
    assert_eq!(fixture.failures(Failure::Key), 2 * attempts::MAX_FAILURES);
    grant(&access, &basic("ann", "right")).await;
    // Other tokens are wrong with or without keys.
    for _ in 0..attempts::MAX_FAILURES {
        assert_eq!(refusal(&access, "Bearer opaque").await, INVALID_TOKEN);
    }
    assert!(matches!(refusal(&access, "Bearer opaque").await, Refusal::TooManyAttempts { .. }));
    assert_eq!(refusal(&access, token).await, INVALID_TOKEN);
}
