//! Control frames: floods of them, and as many as clients need.

use super::*;

const HEADERS_OF_REQUEST: u8 = 1;
const END_OF_HEADERS_AND_STREAM: u8 = 5;

/// What no flood may send more of before it is ended: the allowance of a connection with few
/// requests, and what is on its way.
const MAX_FLOOD_BYTES: usize = 256 << 10;

fn window_update(stream: u8, bytes: u32) -> Vec<u8> {
    frame(8, 0, stream, &bytes.to_be_bytes())
}

fn request(path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    let block = [&[0x82, 0x86, 0x04, length], path.as_bytes(), &[0x01, 4], b"test"].concat();
    frame(HEADERS_OF_REQUEST, END_OF_HEADERS_AND_STREAM, 1, &block)
}

/// Opens the connection, asks for a path, and reads nothing yet.
async fn open(settings: &[u8], path: &str) -> Served {
    let mut served = serve();
    let bytes = [PREFACE, &frame(4, 0, 0, settings), &request(path)].concat();
    served.client.write_all(&bytes).await.unwrap();
    served
}

/// Reads one frame; returns its kind and the length of its payload.
async fn receive(client: &mut DuplexStream) -> std::io::Result<(u8, u32)> {
    let mut head = [0; 9];
    client.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    client.read_exact(&mut vec![0; usize::try_from(length).unwrap()]).await?;
    Ok((head[3], length))
}

#[tokio::test(start_paused = true)]
async fn a_flood_ends_the_connection() {
    let kinds = [
        ("PING", PING.to_vec()),
        ("SETTINGS", EMPTY_SETTINGS.to_vec()),
        ("acknowledgements of PING", frame(6, 1, 0, &[7; 8])),
        ("PRIORITY", frame(2, 0, 3, &[0, 0, 0, 0, 9])),
        ("WINDOW_UPDATE", window_update(0, 1)),
        ("unknown", frame(0x42, 0, 0, &[0; 200])),
    ];
    for (name, flood) in kinds {
        let served = open(&[], "/never").await;
        let (mut reader, mut writer) = tokio::io::split(served.client);
        let drain = async { while reader.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {} };
        let send = async {
            let mut sent = 0;
            while writer.write_all(&flood).await.is_ok() {
                sent += flood.len();
                assert!(sent < MAX_FLOOD_BYTES, "{name}: it is never ended");
            }
            assert!(sent >= 60 << 10, "{name}: {sent} bytes are few");
        };
        let start = Instant::now();
        timeout(LONG, async { tokio::join!(drain, send) }).await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(1), "{name}: {:?}", start.elapsed());
        timeout(LONG, served.task).await.unwrap().unwrap();
        assert_eq!(served.open.load(Ordering::SeqCst), 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn updates_for_every_data_frame_of_a_large_body_do_not() {
    let mut served = open(&[], "/huge").await;
    let (mut received, mut updates) = (0, 0);
    while received < HUGE_BYTES {
        let (kind, length) = receive(&mut served.client).await.expect("the connection lasts");
        if kind == 0 && length > 0 {
            received += usize::try_from(length).unwrap();
            let both = [window_update(0, length), window_update(1, length)].concat();
            served.client.write_all(&both).await.unwrap();
            updates += both.len();
        }
    }
    assert!(updates > 64 << 10, "{updates} bytes of updates test nothing");
}

#[tokio::test(start_paused = true)]
async fn a_ping_every_second_for_an_hour_does_not() {
    let mut served = open(&[], "/never").await;
    for _ in 0..3600 {
        served.client.write_all(PING).await.unwrap();
        while receive(&mut served.client).await.expect("the connection lasts").0 != 6 {}
        sleep(Duration::from_secs(1)).await;
    }
    assert!(!served.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_dribble_of_window_updates_ends_the_connection() {
    // INITIAL_WINDOW_SIZE: 0.
    let mut served = open(&[0, 4, 0, 0, 0, 0], "/huge").await;
    let (update, mut sent, mut received) = (window_update(1, 1), 0, 0);
    while served.client.write_all(&update).await.is_ok() {
        sent += update.len();
        assert!(sent < MAX_FLOOD_BYTES, "it is never ended");
        while let Ok((kind, length)) = receive(&mut served.client).await {
            if kind == 0 {
                received += length;
                break;
            }
        }
    }
    assert!(received > 1000, "{received} bytes of the body tell nothing");
    timeout(LONG, served.task).await.unwrap().unwrap();
}
