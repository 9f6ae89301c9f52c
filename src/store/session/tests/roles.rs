//! Who is the leader, and when.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_lone_process_reads_what_is_stored_before_it_leads() {
    let database = Arc::default();
    let process = Process::start(&database, 1, Link::Good);
    database.store_revision(3);
    let mut state = process.handle.subscribe();
    assert!(matches!(state.borrow().role, Role::Waiting));
    let first = state.wait_for(|state| !matches!(state.role, Role::Waiting)).await.unwrap().clone();
    assert!(is_leader(&first) && has_revision(3)(&first) && first.is_up());
    // What it stores itself is no news to it.
    database.store_revision(4);
    seconds(30.0).await;
    assert!(has_revision(3)(&process.handle.state()));
    assert!(process.holds_the_lease());
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_is_given_up_in_time_and_used_when_it_answers() {
    for link in [Link::Silent, Link::Refused, Link::WithoutHeads] {
        let database = Arc::default();
        let process = Process::start(&database, 1, link);
        let waited = process.becomes(is_detached).await;
        assert_eq!(waited, BUDGET, "{link:?}");
        assert!(!process.handle.state().is_up());
        seconds(60.0).await;
        assert_eq!(process.role_name(), "detached", "{link:?}");
        assert!(process.handle.state().last_error().is_some());
        process.set_link(Link::Good);
        // The first preparation may take long.
        let most = if link == Link::Silent { 17.1 } else { 5.1 };
        let waited = process.becomes(is_leader).await;
        assert!(waited < Duration::from_secs_f64(most), "{link:?}: {waited:?}");
        assert!(process.handle.state().is_up());
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_its_store_leads_until_its_lease_has_run_out() {
    for link in [Link::Silent, Link::Refused] {
        let database: Arc<Database> = Arc::default();
        let leader = Process::start(&database, 1, Link::Good);
        leader.becomes(is_leader).await;
        let follower = Process::start(&database, 2, Link::Good);
        follower.becomes(is_follower).await;
        seconds(7.3).await;
        leader.set_link(link);
        let Role::Leader { until, .. } = leader.role() else { panic!() };
        leader.becomes(is_detached).await;
        let late = until.elapsed();
        assert!(late < Duration::from_millis(20), "{link:?}: {late:?}");
        follower.becomes(is_leader).await;
        let takeover = until.elapsed();
        assert!(takeover < Duration::from_millis(1200), "{link:?}: {takeover:?}");
        leader.set_link(Link::Good);
        let back = leader.becomes(is_follower).await;
        assert!(back < Duration::from_secs(5), "{link:?}: {back:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_may_fail_twice() {
    let database = Arc::default();
    let leader = Process::start(&database, 1, Link::Good);
    leader.becomes(is_leader).await;
    let epoch = leader.role().epoch(Instant::now());
    for _ in 0..20 {
        leader.set_link(Link::Silent);
        seconds(6.0).await;
        leader.set_link(Link::Good);
        for _ in 0..40 {
            seconds(0.1).await;
            assert_eq!(leader.role().epoch(Instant::now()), epoch);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn followers_see_changes_within_a_second_without_notifications_and_at_once_with_them() {
    for (notifies, most) in [(false, 1.1), (true, 0.15)] {
        let database: Arc<Database> = Arc::default();
        *database.notifies.lock().unwrap() = notifies;
        let leader = Process::start(&database, 1, Link::Good);
        leader.becomes(is_leader).await;
        let follower = Process::start(&database, 2, Link::Good);
        follower.becomes(is_follower).await;
        for revision in 1..20 {
            seconds(0.37).await;
            database.store_revision(revision);
            let delay = follower.becomes(has_revision(revision)).await;
            assert!(delay < Duration::from_secs_f64(most), "{delay:?}");
        }
        // Nothing is published without a change.
        let mut state = follower.handle.subscribe();
        state.borrow_and_update();
        timeout(Duration::from_secs(30), state.changed()).await.expect_err("nothing has changed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_bears_a_connection_that_was_cut() {
    let database = Arc::default();
    let leader = Process::start(&database, 1, Link::Good);
    leader.becomes(is_leader).await;
    let follower = Process::start(&database, 2, Link::Good);
    follower.becomes(is_follower).await;
    follower.set_link(Link::Refused);
    seconds(1.5).await;
    assert!(!follower.handle.state().is_up());
    follower.set_link(Link::Good);
    seconds(1.5).await;
    assert!(follower.handle.state().is_up());
    assert_eq!(follower.role_name(), "follower");
    for (link, most) in [(Link::Refused, 5), (Link::Silent, 5), (Link::WithoutHeads, 20)] {
        follower.set_link(link);
        let waited = follower.becomes(is_detached).await;
        assert!(waited < Duration::from_secs(most), "{link:?}: {waited:?}");
        assert!(waited > Duration::from_secs(most / 2), "{link:?}: {waited:?}");
        follower.set_link(Link::Good);
        follower.becomes(is_follower).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_leaves_is_succeeded_at_once_and_follows() {
    let database: Arc<Database> = Arc::default();
    let leader = Process::start(&database, 1, Link::Good);
    leader.becomes(is_leader).await;
    let follower = Process::start(&database, 2, Link::Good);
    follower.becomes(is_follower).await;
    seconds(33.3).await;
    timeout(Duration::from_millis(100), leader.session.leave()).await.unwrap();
    assert_eq!(leader.role_name(), "follower");
    let takeover = follower.becomes(is_leader).await;
    assert!(takeover < Duration::from_millis(1100), "{takeover:?}");
    database.store_revision(9);
    assert!(leader.becomes(has_revision(9)).await < Duration::from_millis(1100));
    // It does not take the lease again.
    follower.session.leave().await;
    seconds(60.0).await;
    assert_eq!((leader.role_name(), follower.role_name()), ("follower", "follower"));
    assert_eq!(database.holder(), None);
}

#[tokio::test(start_paused = true)]
async fn leaving_ends_though_the_store_is_silent() {
    for healthy_for in [0.0, 0.5, 2.49] {
        let database = Arc::default();
        let leader = Process::start(&database, 1, Link::Good);
        leader.becomes(is_leader).await;
        seconds(healthy_for).await;
        leader.set_link(Link::Silent);
        let left = timeout(Duration::from_secs(5), leader.session.leave()).await;
        assert!(left.is_ok(), "{healthy_for}");
        assert!(!leader.holds_the_lease());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_without_knowing_what_is_stored_is_no_term() {
    let database: Arc<Database> = Arc::default();
    let leader = Process::start(&database, 1, Link::Good);
    leader.becomes(is_leader).await;
    let follower = Process::start(&database, 2, Link::Good);
    follower.becomes(is_follower).await;
    follower.set_link(Link::WithoutHeads);
    leader.session.leave().await;
    let waited = follower.becomes(is_detached).await;
    assert!(waited < Duration::from_secs(8), "nobody else can refresh: {waited:?}");
    assert_eq!(database.holder(), Some(2));
    follower.set_link(Link::Good);
    follower.becomes(is_leader).await;
    assert!(follower.handle.state().is_up());
}

#[tokio::test(start_paused = true)]
async fn others_learn_of_a_reload_within_seconds() {
    let database = Arc::default();
    let leader = Process::start(&database, 1, Link::Good);
    leader.becomes(is_leader).await;
    let follower = Process::start(&database, 2, Link::Good);
    follower.becomes(is_follower).await;
    let new = settings(&["denial", "okta"]);
    leader.session.set(new.clone());
    let is_known = |state: &StoreState| matches!(&state.role, Role::Follower { kept_up } if *kept_up == new.kept_up);
    assert!(follower.becomes(is_known).await < Duration::from_millis(1100));
}

/// Connections that fail at random never make two leaders, and a store that all can reach has one.
#[tokio::test(start_paused = true)]
async fn there_is_at_most_one_leader_and_soon_one() {
    const LINKS: [Link; 4] = [Link::Good, Link::Refused, Link::Silent, Link::WithoutHeads];
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let database = Arc::default();
        let mut processes: Vec<Process> =
            (0..3).map(|id| Process::start(&database, id, Link::Good)).collect();
        let mut next_id = 3;
        for _ in 0..8 {
            for _ in 0..random.u32(1..100) {
                if random.u32(..20) == 0 {
                    processes[random.usize(..3)].set_link(LINKS[random.usize(..LINKS.len())]);
                }
                if random.u32(..200) == 0 {
                    let killed = random.usize(..3);
                    processes[killed] = Process::start(&database, next_id, Link::Good);
                    next_id += 1;
                }
                seconds(random.f64()).await;
                let leaders = processes.iter().filter(|process| process.holds_the_lease());
                assert!(leaders.count() <= 1, "seed {seed}");
            }
            for process in &processes {
                process.set_link(Link::Good);
            }
            // Operations that began before take up to their bounds.
            seconds(45.0).await;
            let mut roles: Vec<_> = processes.iter().map(Process::role_name).collect();
            roles.sort_unstable();
            assert_eq!(roles, ["follower", "follower", "leader"], "seed {seed}");
            assert!(processes.iter().all(|process| process.handle.state().is_up()));
        }
    }
}
