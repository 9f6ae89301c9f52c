//! An incident API, simulated from data: the requests that it expects, with its way of
//! authentication, and the pages that it answers with.
//!
//! A request that is not expected is answered 400 and recorded, so that a test sees what was asked
//! in place of what the API documents.

mod exchange;
mod expected_time;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::exchange::Asked;
pub use self::exchange::{Api, Exchange};

struct Shared {
    api: Api,
    base_url: String,
    /// The indices of the exchanges, in the order in which they took place.
    calls: Mutex<Vec<usize>>,
    unexpected: Mutex<Vec<String>>,
}

/// The API; it ends with all its connections when dropped.
pub struct SimulatedApi {
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

impl SimulatedApi {
    /// Serves the API that `api.json` in this directory describes, on a free port of 127.0.0.1.
    pub async fn start(directory: &Path) -> Self {
        Self::serve(Api::load(directory)).await
    }

    /// Serves an API.
    pub async fn serve(api: Api) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            api,
            base_url: format!("http://{address}"),
            calls: Mutex::default(),
            unexpected: Mutex::default(),
        });
        let mut server = JoinSet::new();
        server.spawn(accept(listener, Arc::clone(&shared)));
        Self { shared, _server: server }
    }

    pub fn api(&self) -> &Api {
        &self.shared.api
    }

    /// `http://127.0.0.1:port`
    pub fn base_url(&self) -> &str {
        &self.shared.base_url
    }

    /// The indices of the exchanges that took place, in order.
    pub fn calls(&self) -> Vec<usize> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// The requests that the API does not expect, with what is wrong.
    pub fn unexpected(&self) -> Vec<String> {
        self.shared.unexpected.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&shared), request));
            // The client may close the connection at any time.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let asked = Asked::new(&head, &body);
    let api = &shared.api;
    let Some(index) = api.exchanges.iter().position(|exchange| exchange.is_for(&asked, api)) else {
        let unexpected = format!("{asked:?}");
        shared.unexpected.lock().unwrap().push(unexpected.clone());
        return Ok(Response::builder().status(400).body(Full::from(unexpected)).unwrap());
    };
    shared.calls.lock().unwrap().push(index);
    let exchange = &api.exchanges[index];
    let mut response =
        Response::builder().status(exchange.status).header("content-type", "application/json");
    for (name, value) in &exchange.response_headers {
        response = response.header(name, value.replace("{base}", &shared.base_url));
    }
    let body = exchange.answer.replace("{base}", &shared.base_url);
    Ok(response.body(Full::from(body)).unwrap())
}
