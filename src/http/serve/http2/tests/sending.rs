//! Responses that the client reads slowly, or not at all.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_is_reset_alone_after_the_grace() {
    let (mut requests, connected) = serve().connect(65_535).await;
    let mut stuck = get(&mut requests, "/large").await.into_body();
    let start = Instant::now();
    let error = async {
        while let Some(bytes) = stuck.data().await {
            if let Err(error) = bytes {
                return error;
            }
        }
        panic!("the body is whole");
    };
    let others = async {
        loop {
            let mut body = get(&mut requests, "/large").await.into_body();
            assert_eq!(read(&mut body, Duration::ZERO).await.unwrap(), LARGE_BYTES);
            sleep(Duration::from_secs(1)).await;
        }
    };
    let error = tokio::select! {
        error = error => error,
        () = others => unreachable!("it goes on for ever"),
    };
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    let grace = MIN_SEND_RATE_GRACE.as_secs();
    assert!((grace..=grace + 4).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    let mut body = get(&mut requests, "/large").await.into_body();
    assert_eq!(read(&mut body, Duration::ZERO).await.unwrap(), LARGE_BYTES, "the others go on");
    assert_eq!(connected.open.load(Ordering::SeqCst), 0, "the stream's body is dropped");
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_any_window_is_reset_alone() {
    let (mut requests, _connected) = serve().connect(0).await;
    let mut body = get(&mut requests, "/").await.into_body();
    let start = Instant::now();
    let error = timeout(LONG, body.data()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    assert_eq!(start.elapsed().as_secs(), MIN_SEND_RATE_GRACE.as_secs());
    assert_eq!(get(&mut requests, "/empty").await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_stuck_inside_the_protocol_end_the_connection() {
    // The first byte makes hyper hand over all of them.
    let (mut requests, connected) = serve().connect(1).await;
    let mut body = get(&mut requests, "/").await.into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "h");
    assert_eq!(connected.ends_after().await.as_secs(), MIN_SEND_RATE_GRACE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_at_the_least_rate_gets_the_whole_response() {
    let (mut requests, _connected) = serve().connect(65_535).await;
    let mut body = get(&mut requests, "/large").await.into_body();
    // The least rate is 16 KiB a second.
    let pause = Duration::from_millis(900);
    assert_eq!(timeout(LONG, read(&mut body, pause)).await.unwrap().unwrap(), LARGE_BYTES);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_a_little_now_and_then_loses_the_stream() {
    let (mut requests, _connected) = serve().connect(16_384).await;
    let mut body = get(&mut requests, "/large").await.into_body();
    let start = Instant::now();
    let read = timeout(LONG, read(&mut body, Duration::from_secs(5))).await.unwrap();
    assert_eq!(read.unwrap_err().reason(), Some(Reason::CANCEL));
    assert!(start.elapsed() <= Duration::from_secs(80), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_exempt_stream_may_be_read_as_slowly_as_the_client_likes() {
    let (mut requests, connected) = serve().connect(65_535).await;
    let mut body = get(&mut requests, "/exempt").await.into_body();
    sleep(LONG).await;
    assert!(!connected.task.is_finished());
    assert_eq!(read(&mut body, Duration::ZERO).await.unwrap(), LARGE_BYTES);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_of_the_connection_is_reset_after_the_grace() {
    let mut served = serve_with(1024, false);
    let headers = frame(1, 5, 1, GET);
    served.client.write_all(&[PREFACE, EMPTY_SETTINGS, &headers].concat()).await.unwrap();
    // `ends_after` keeps the client's end, and nobody reads from it.
    let Served { client, task, .. } = served;
    // The answers to these do not fit into the connection.
    let (_reader, mut writer) = tokio::io::split(client);
    let flood = tokio::spawn(async move { while writer.write_all(PING).await.is_ok() {} });
    let start = Instant::now();
    timeout(LONG, task).await.unwrap().unwrap();
    assert_eq!(start.elapsed().as_secs(), MIN_SEND_RATE_GRACE.as_secs());
    flood.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn memory_that_a_blocked_connection_holds_is_freed_in_spite_of_an_exempt_stream() {
    for is_aborted in [false, true] {
        let mut served = serve_with(1024, false);
        // An exempt stream and a large one with huge windows; nobody reads from the connection.
        let path = |path: &str| {
            [&[0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()], path.as_bytes()].concat()
        };
        let windows =
            [frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]), frame(8, 0, 0, &[0x70, 0, 0, 0])];
        let exempt = frame(1, 5, 1, &path("/exempt"));
        let large = frame(1, 5, 3, &path("/large"));
        let opening = [PREFACE, &windows.concat(), &exempt, &large].concat();
        served.client.write_all(&opening).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert!(served.open.load(Ordering::SeqCst) > 0);
        if is_aborted {
            served.handles.lock().unwrap().iter().for_each(ConnectionHandle::abort);
        }
        let open = Arc::clone(&served.open);
        let took = served.ends_after().await;
        assert_eq!(open.load(Ordering::SeqCst), 0);
        let most = if is_aborted { Duration::ZERO } else { MIN_SEND_RATE_GRACE };
        assert!(took <= most + Duration::from_secs(6), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_its_stream_alone() {
    let (mut requests, connected) = serve().connect(65_535).await;
    let mut exempt = get(&mut requests, "/exempt").await.into_body();
    let waiting = send(&mut requests, "/never");
    let late = send(&mut requests, "/late");
    sleep(Duration::from_secs(1)).await;
    let handles = std::mem::take(&mut *connected.handles.lock().unwrap());
    assert!(handles[0].bytes_sent() >= 65_535, "{}", handles[0].bytes_sent());
    assert_eq!(handles[1].bytes_sent(), 0);
    handles[0].abort();
    handles[1].abort();
    assert_eq!(waiting.await.unwrap_err().reason(), Some(Reason::CANCEL));
    assert_eq!(read(&mut exempt, Duration::ZERO).await.unwrap_err().reason(), Some(Reason::CANCEL));
    let mut body = late.await.unwrap().into_body();
    assert_eq!(read(&mut body, Duration::ZERO).await.unwrap(), 4);
}
