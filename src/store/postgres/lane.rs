//! Lanes: connections that serve one purpose, so that a slow operation of one kind holds up no
//! other.
//!
//! A connection is used for one transaction at a time, and each statement is parsed anew: behind
//! pgbouncer nothing else is certain to reach the same session. After a failure, or when an
//! operation is dropped half-way, the connection is closed, which rolls the transaction back.

use std::fmt::Write as _;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use futures::try_join;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::Failure;

/// How long a connection may take until it can be used.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How much longer than its bound the answer to a statement may take.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

/// A parameter of a statement, with its type, so that the server needs not be asked for it.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// At most this many connections for one purpose.
pub(super) struct Lane(Pool);

impl Lane {
    pub(super) fn new(
        config: &tokio_postgres::Config,
        tls: &MakeRustlsConnect,
        connections: usize,
    ) -> Self {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config.clone(), tls.clone(), recycling);
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(CONNECT_TIMEOUT))
            .build()
            .expect("the runtime that timeouts need is given");
        Self(pool)
    }

    /// A connection, once one is free, for a transaction with these bounds.
    pub(super) async fn connection(&self, bounds: ServerBounds) -> Result<Connection, Failure> {
        let client = self.0.get().await?;
        Ok(Connection { client: Some(client), bounds })
    }
}

/// How long the server may work on a transaction. The client's own bound is longer, so that a
/// server that answers says what was slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerBounds {
    pub(super) statement: Duration,
    pub(super) lock: Duration,
}

impl ServerBounds {
    /// Statements that begin a transaction with these bounds.
    ///
    /// Two more end a transaction whose client has stopped in the middle of it, so that its locks
    /// do not remain, and a statement whose client has gone. (Requests to cancel a statement are
    /// no way: they may reach another one behind pgbouncer.) Plans are not compiled, because the
    /// statements here are short for what that takes.
    fn begin(self, mode: Mode) -> String {
        const MAX_IDLE: Duration = Duration::from_secs(15);
        const CLIENT_CHECK_INTERVAL: Duration = Duration::from_secs(1);
        let mut begin = match mode {
            // As the server's default is: an administrator may have made it read-only.
            Mode::Write => "BEGIN".to_owned(),
            Mode::Read | Mode::ReadInOrder => {
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned()
            }
        };
        for (setting, bound) in [
            ("statement_timeout", self.statement),
            ("lock_timeout", self.lock),
            ("idle_in_transaction_session_timeout", MAX_IDLE),
            ("client_connection_check_interval", CLIENT_CHECK_INTERVAL),
        ] {
            write!(begin, "; SET LOCAL {setting} = {}", bound.as_millis())
                .expect("a String can be written to");
        }
        begin.push_str("; SET LOCAL jit = off");
        begin.push_str(match mode {
            Mode::Read => "",
            Mode::ReadInOrder => {
                "; SET LOCAL enable_sort = off; SET LOCAL max_parallel_workers_per_gather = 0"
            }
            Mode::Write => "; SET LOCAL enable_seqscan = off",
        });
        begin
    }
}

/// Whether a transaction writes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    /// All its statements see the same state.
    Read,
    /// The first of many rows, in the order that an index has, whatever the database knows of them.
    ReadInOrder,
    /// Each of its statements sees what others had committed before it. Rows are found by indexes,
    /// whatever the database knows of the table.
    Write,
}

/// A connection of a [`Lane`]. It goes back to its lane by [`Self::give_back`]; if it is dropped
/// before, it is closed, and the server ends what it does for it.
pub(super) struct Connection {
    client: Option<Object>,
    bounds: ServerBounds,
}

impl Connection {
    pub(super) fn client(&self) -> &tokio_postgres::Client {
        self.client.as_ref().expect("it has not been given back")
    }

    /// Begins a transaction that reads and writes.
    pub(super) async fn begin(&self) -> Result<(), Failure> {
        self.answer(self.client().batch_execute(&self.bounds.begin(Mode::Write))).await
    }

    /// Waits for the answer to statements of the transaction. The server bounds each of them, so
    /// that without an answer the connection is lost, even if nobody says so: a proxy may keep it
    /// open. Otherwise a transaction of many statements would wait for its own, long bound.
    pub(super) async fn answer<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failure> {
        let bound = self.bounds.statement + ANSWER_GRACE;
        Ok(timeout(bound, answer).await.map_err(|_| Failure::TimedOut)??)
    }

    /// Commits the transaction, and gives the connection back.
    pub(super) async fn commit(self) -> Result<(), Failure> {
        self.answer(self.client().batch_execute("COMMIT")).await?;
        self.give_back();
        Ok(())
    }

    /// Rolls the transaction back, and gives the connection back.
    pub(super) async fn roll_back(self) -> Result<(), Failure> {
        self.answer(self.client().batch_execute("ROLLBACK")).await?;
        self.give_back();
        Ok(())
    }

    /// One statement in a transaction of its own, in one round trip. The server has the whole
    /// transaction at once, so that it ends even if this process is stopped.
    pub(super) async fn run(
        self,
        mode: Mode,
        statement: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, Failure> {
        let [rows] = self.run_all(mode, [(statement, params)]).await?;
        Ok(rows)
    }

    /// The same for several statements.
    pub(super) async fn run_all<const N: usize>(
        self,
        mode: Mode,
        statements: [(&str, &[Param<'_>]); N],
    ) -> Result<[Vec<Row>; N], Failure> {
        let client = self.client();
        let begin = self.bounds.begin(mode);
        let queries = statements.map(|(statement, params)| client.query_typed(statement, params));
        let ((), rows, ()) = try_join!(
            client.batch_execute(&begin),
            // Polls them, and so sends them, in their order.
            futures::future::try_join_all(queries),
            client.batch_execute("COMMIT"),
        )?;
        self.give_back();
        rows.try_into().map_err(|_| Failure::Unexpected("a statement has no result"))
    }

    /// Gives the connection, on which no transaction is open, back to its lane.
    pub(super) fn give_back(mut self) {
        drop(self.client.take());
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // Out of the pool; dropping it closes the connection.
            drop(Object::take(client));
        }
    }
}
