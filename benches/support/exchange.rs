//! One request over a connection, and its whole answer.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends the request and reads the answer to its end into the buffer, from its beginning again when
/// it is full; returns how long that took.
pub(crate) async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    buffer: &mut [u8],
) -> Duration {
    let asked = Instant::now();
    stream.write_all(request).await.unwrap();
    let mut read = stream.read(buffer).await.unwrap();
    let head = buffer[..read].windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let text = std::str::from_utf8(&buffer[..head]).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let whole = head + length.parse::<usize>().unwrap();
    while read < whole {
        let more = stream.read(buffer).await.unwrap();
        assert!(more > 0);
        read += more;
    }
    asked.elapsed()
}
