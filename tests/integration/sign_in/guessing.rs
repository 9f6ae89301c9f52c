//! Guesses, and who else is served meanwhile.

use super::{ann, failures, ops};
use crate::support::protected_gateway::{ProtectedGateway, USERS, basic, bearer, loopback};

#[tokio::test]
async fn guesses_are_limited_by_address_and_others_are_served() {
    let protected = ProtectedGateway::start("").await;
    let (attacker, other) = (loopback(1), loopback(2));
    // Ann has signed in from the attacker's address before.
    assert_eq!(protected.get_from(attacker, &ann(), "/summary").await.status, 200);
    let guesses: Vec<String> = (0..200).map(|guess| basic("ann", &format!("{guess}"))).collect();
    let attack = futures::future::join_all(
        guesses.iter().map(|guess| protected.get_from(attacker, guess, "/summary")),
    );
    let rest = async {
        for _ in 0..50 {
            assert_eq!(protected.get_from(other, &ops(), "/summary").await.status, 200);
        }
        let zoe = basic(USERS[1].0, USERS[1].1);
        assert_eq!(protected.get_from(other, &zoe, "/summary").await.status, 200);
    };
    let (answers, ()) = futures::future::join(attack, rest).await;
    let (refused, limited): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 401);
    assert_eq!(refused.len(), 10);
    for answer in limited {
        let problem = "too-many-attempts".to_owned();
        assert_eq!((answer.status, answer.problem()), (429, problem));
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    // Even the right password, unless it was verified lately; tokens still.
    let zoe = basic(USERS[1].0, USERS[1].1);
    for (authorization, expected) in [
        (basic("ann", "wrong"), 429),
        (ann(), 200),
        (zoe, 200),
        (ops(), 200),
        (bearer("wrong"), 429),
        ("Basic !".to_owned(), 429),
    ] {
        let answer = protected.get_from(attacker, &authorization, "/summary").await;
        assert_eq!(answer.status, expected, "{authorization}");
    }
    assert_eq!(protected.get_from(other, &ann(), "/summary").await.status, 200);
    assert_eq!(failures(&protected, "password").await, 10);
    assert_eq!(failures(&protected, "limited").await, 193);
}
