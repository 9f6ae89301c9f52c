//! Whether the grants of one configuration hold under another.

use super::*;

#[tokio::test]
async fn a_grant_holds_while_its_credential_gives_the_same() {
    let fixture = || {
        Fixture::new()
            .users(&[("ann", "right"), ("bob", "right")])
            .tokens(&[("ops", "token", "all"), ("own", "token-2", "self=7")])
    };
    let before = fixture();
    let access = before.access(None);
    let password = grant(&access, &basic("ann", "right")).await;
    let token = grant(&access, "Bearer token").await;
    let own = grant(&access, "Bearer token-2").await;
    let open = Arc::new(Grant::open());
    let holds = |access: &Access| {
        [&password, &token, &own, &open].map(|grant| access.still_grants(grant, None))
    };
    assert_eq!(holds(&access), [true, true, true, false]);
    // What does not concern them.
    let Fixture { config, .. } = fixture();
    let mut other = Fixture::new();
    other.config = config.clone();
    other.config.sign_in.users = before.config.sign_in.users.clone();
    other.config.cache.ttl = Duration::from_secs(7);
    assert_eq!(holds(&other.access(Some(&access))), [true, true, true, false]);
    // The hash is another one of the same password.
    assert_eq!(holds(&fixture().access(None)), [false, true, true, false]);
    let users =
        |fixture: &mut Fixture| fixture.config.sign_in.users = before.config.sign_in.users.clone();
    for (tokens, expected) in [
        // A name, a token, a scope, an employee.
        ([("other", "token", "all"), ("own", "token-2", "self=7")], [true, false, true, false]),
        ([("ops", "new", "all"), ("own", "token-2", "self=7")], [true, false, true, false]),
        ([("ops", "token", "metrics"), ("own", "token-2", "self=7")], [true, false, true, false]),
        ([("ops", "token", "all"), ("own", "token-2", "self=8")], [true, true, false, false]),
        // The name is another's now.
        ([("own", "token", "all"), ("ops", "token-2", "self=7")], [true, false, false, false]),
    ] {
        let mut after = Fixture::new().tokens(&tokens);
        users(&mut after);
        assert_eq!(holds(&after.access(None)), expected, "{tokens:?}");
    }
    let mut without_tokens = Fixture::new();
    users(&mut without_tokens);
    assert_eq!(holds(&without_tokens.access(None)), [true, false, false, false]);
    let without_ann = Fixture::new().users(&[("bob", "right")]);
    assert_eq!(holds(&without_ann.access(None)), [false; 4]);
    // Off, or other.
    assert_eq!(holds(&Access::open()), [false, false, false, true]);
    assert_eq!(holds(&Fixture::new().client_ca(CLIENT_CA).access(None)), [false; 4]);
}

#[test]
fn a_grant_holds_only_with_a_certificate_of_the_present_authorities() {
    let fixture = Fixture::new().client_ca(CLIENT_CA);
    let own = certificate(Some("ann"), CLIENT_CA);
    let access = fixture.access(None);
    let Decision::Ready(Ok(grant)) = access.authenticate(&headers(&[]), Some(PEER), Some(&own))
    else {
        panic!("a certificate is enough");
    };
    assert!(access.still_grants(&grant, Some(&own)));
    assert!(!access.still_grants(&grant, None));
    assert!(!Access::open().still_grants(&grant, Some(&own)));
    let others = Fixture::new().client_ca(b"others");
    assert!(!others.access(None).still_grants(&grant, Some(&own)));
    // A credential is needed now.
    let both = Fixture::new().client_ca(CLIENT_CA).tokens(&[("ann", "token", "all")]);
    let both = both.access(None);
    assert!(!both.still_grants(&grant, Some(&own)));
    let Decision::Ready(Ok(grant)) =
        both.authenticate(&headers(&["Bearer token"]), Some(PEER), Some(&own))
    else {
        panic!("both are there");
    };
    assert!(both.still_grants(&grant, Some(&own)));
    assert!(!both.still_grants(&grant, None));
    assert!(!others.access(None).still_grants(&grant, Some(&own)));
}
