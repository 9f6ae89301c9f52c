//! Sends one request over a connection and reads the whole response.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Sends the request, reads the whole response, and returns how long that took. Each read
/// overwrites the buffer: the body is discarded.
pub(crate) async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
    buffer: &mut [u8],
) -> Duration {
    let asked = Instant::now();
    stream.write_all(request).await.unwrap();
    stream.flush().await.unwrap();
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
