use super::{FIRST_HOLD_SAMPLES, Level, MAX_COMPARISON_WINDOWS, Search};

/// A refresh of eight equal sources, of which as many as the limit run at once.
fn refresh(search: &mut Search, latency: impl Fn(f64) -> f64) {
    let at_once = f64::from(u32::try_from(search.limit()).unwrap());
    for source in 0..8 - 8 % search.limit() {
        search.record(source, at_once, latency(at_once));
    }
    search.end_window(search.limit() < 8);
}

fn square(at_once: f64) -> f64 {
    1.5 * (1.0 + 0.0463 * (at_once - 1.0).powi(2))
}

fn flat(_: f64) -> f64 {
    1.5
}

fn settled(search: &mut Search, latency: impl Fn(f64) -> f64) -> usize {
    (0..20).for_each(|_| refresh(search, &latency));
    search.limit()
}

#[test]
fn climbs_while_steps_are_gains() {
    assert_eq!(settled(&mut Search::new(3, 8), square), 4);
    assert_eq!(settled(&mut Search::new(3, 8), flat), 8);
    assert_eq!(settled(&mut Search::new(3, 6), flat), 6, "its maximum");
}

#[test]
fn descends_from_a_start_that_is_too_high() {
    assert_eq!(settled(&mut Search::new(3, 8), |at_once| at_once), 1);
    assert_eq!(settled(&mut Search::new(8, 8), square), 4);
}

#[test]
fn ignores_windows_without_samples() {
    let mut search = Search::new(3, 8);
    for _ in 0..100 {
        search.end_window(true);
    }
    assert_eq!(search.limit(), 3);
}

#[test]
fn does_not_climb_if_no_call_waits() {
    let mut search = Search::new(3, 8);
    for _ in 0..100 {
        (0..3).for_each(|source| search.record(source, 3.0, 1.5));
        search.end_window(false);
    }
    assert!(search.limit() <= 3);
}

#[test]
fn overload_takes_back_the_step_that_caused_it() {
    let mut search = Search::new(3, 8);
    refresh(&mut search, flat);
    assert_eq!(search.limit(), 4);
    assert!(search.step_may_have_caused(5), "this source was answered at 3");
    assert!(
        !search.step_may_have_caused(6),
        "this one was never answered, so it may be ill by itself"
    );
    search.back_off();
    assert_eq!(search.limit(), 3);
    let rest = FIRST_HOLD_SAMPLES / 6;
    (0..rest).for_each(|_| refresh(&mut search, flat));
    assert_eq!(search.limit(), 3, "it rests before it tries again");
    refresh(&mut search, flat);
    assert_eq!(search.limit(), 4);
}

#[test]
fn overload_lowers_the_limit_by_a_tenth() {
    let mut search = Search::new(40, 40);
    let mut limits = Vec::new();
    for _ in 0..12 {
        search.back_off();
        limits.push(search.limit());
    }
    assert_eq!(limits, [36, 32, 28, 25, 22, 19, 17, 15, 13, 11, 9, 8]);
    (0..20).for_each(|_| search.back_off());
    assert_eq!(search.limit(), 1);
}

#[test]
fn a_step_without_a_comparison_is_taken_back() {
    let mut search = Search::new(3, 8);
    refresh(&mut search, flat);
    search.is_proven = true;
    for _ in 0..MAX_COMPARISON_WINDOWS {
        assert_eq!(search.limit(), 4);
        search.record(100, 4.0, 0.1);
        search.end_window(true);
    }
    assert_eq!(search.limit(), 3);
}

#[test]
fn compares_each_source_with_itself() {
    let level = |runs: &[(usize, f64, f64)]| {
        let mut level = Level::default();
        for (source, in_flight, latency) in runs {
            level.sources.entry(*source).or_default().add(f64::ln(*in_flight), f64::ln(*latency));
        }
        level
    };
    // The quick source was measured at the lower level only, the slow one at the upper: neither may
    // tip the scale.
    let lower = level(&[(0, 3.0, 1.0), (1, 3.0, 2.0), (7, 3.0, 0.01)]);
    let upper = level(&[(0, 4.0, 1.0), (1, 4.0, 2.0), (8, 4.0, 60.0)]);
    assert!(lower.compare_with(&upper).unwrap().is_gain);
    let slower = level(&[(0, 4.0, 1.4), (1, 4.0, 2.8)]);
    assert!(!lower.compare_with(&slower).unwrap().is_gain);
    assert_eq!(level(&[(0, 3.0, 1.0)]).compare_with(&level(&[(1, 4.0, 1.0)])), None);
}
