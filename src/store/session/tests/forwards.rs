//! When the positions of forwards begin.

use super::*;

const DAY: Duration = Duration::from_hours(24);

fn start(database: &Arc<Database>, id: u32, link: Link, names: &[&str]) -> Process {
    Process::start_for(with_forwards(names), database, id, link, DAY)
}

/// The epoch and the names of each call since the last look.
fn begun(database: &Database) -> Vec<(u64, Vec<String>)> {
    let begun = database.with(|data| std::mem::take(&mut data.begun));
    let names = |forwards: Vec<(String, ForwardFrom)>| {
        forwards.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    begun.into_iter().map(|(epoch, forwards)| (epoch, names(forwards))).collect()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn forwards_begin_before_a_term_and_when_a_reload_changes_them() {
    let database: Arc<Database> = Arc::default();
    let leader = start(&database, 1, Link::Good, &["siem", "pager"]);
    let follower = start(&database, 2, Link::Good, &["siem"]);
    let mut state = leader.handle.subscribe();
    let first = state.wait_for(|state| !matches!(state.role, Role::Waiting)).await.unwrap().clone();
    assert!(is_leader(&first));
    let of_first_term = database.with(|data| data.begun.clone());
    let (siem, pager) = ("siem".to_owned(), "pager".to_owned());
    let expected = vec![(siem, ForwardFrom::Now), (pager, ForwardFrom::Beginning)];
    assert_eq!(of_first_term, [(1, expected)], "before anybody can write");
    begun(&database);
    follower.becomes(is_follower).await;
    follower.session.set(with_forwards(&["siem", "mail"]));
    seconds(30.0).await;
    assert_eq!(begun(&database), [], "renewals and followers begin nothing");

    leader.session.set(with_forwards(&["siem", "pager"]));
    leader
        .session
        .set(SessionSettings { kept_up: kept_up(&["okta"]), ..with_forwards(&["pager"]) });
    seconds(0.1).await;
    assert_eq!(begun(&database), [(1, names(&["pager"]))]);
    leader.session.set(settings(&["okta"]));
    seconds(30.0).await;
    assert_eq!(begun(&database), [], "there are none");

    leader.session.leave().await;
    follower.becomes(is_leader).await;
    assert_eq!(begun(&database), [(2, names(&["siem", "mail"]))]);
}

#[tokio::test(start_paused = true)]
async fn a_term_begins_once_its_forwards_have_begun() {
    let database: Arc<Database> = Arc::default();
    let process = start(&database, 1, Link::Full, &["siem"]);
    process.becomes(is_detached).await;
    seconds(60.0).await;
    assert_eq!(process.role_name(), "detached");
    let state = process.handle.state();
    assert_eq!(state.last_error().map(|error| &**error), Some("disk full"));
    process.set_link(Link::Good);
    assert!(process.becomes(is_leader).await < Duration::from_secs(3));
    assert_eq!(begun(&database), [(1, names(&["siem"]))]);
    assert!(process.handle.state().is_up());
}

#[tokio::test(start_paused = true)]
async fn a_forward_that_a_reload_adds_begins_when_the_store_can_be_written() {
    let database: Arc<Database> = Arc::default();
    let process = start(&database, 1, Link::Good, &["siem"]);
    process.becomes(is_leader).await;
    begun(&database);
    process.set_link(Link::Full);
    process.session.set(with_forwards(&["siem", "pager"]));
    seconds(60.0).await;
    assert!(process.holds_the_lease() && !process.handle.state().is_up());
    assert_eq!(begun(&database), []);
    process.set_link(Link::Good);
    seconds(3.0).await;
    assert_eq!(begun(&database), [(1, names(&["siem", "pager"]))]);
    assert!(process.handle.state().is_up());
}
