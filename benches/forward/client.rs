//! A bare client: it posts batches that are ready, one after another over one connection.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Posts each batch, and waits for its whole answer before the next.
pub(crate) fn post(address: SocketAddr, path: &str, batches: &[Bytes]) {
    super::runtime().block_on(async {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        for batch in batches {
            let request = Request::post(path)
                .header("host", address.to_string())
                .header("content-type", "application/json")
                .body(Full::new(batch.clone()))
                .unwrap();
            sender.ready().await.unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.unwrap();
        }
    });
}
