//! A bare client: it posts bodies one after another over one connection.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    path: String,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, host: address.to_string(), path: path.to_owned() }
    }

    /// Posts a body, and waits for the whole answer.
    pub(crate) async fn post(&mut self, body: Bytes) {
        let request = Request::post(&self.path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .body(Full::new(body))
            .unwrap();
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
    }
}

/// Posts bodies that are ready.
pub(crate) fn post(address: SocketAddr, path: &str, bodies: &[Bytes]) {
    super::runtime().block_on(async {
        let mut client = Client::connect(address, path).await;
        for body in bodies {
            client.post(body.clone()).await;
        }
    });
}
