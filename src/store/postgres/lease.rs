//! The lease, and the numbers of event generations.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::fault::Failure;
use super::lane::{Mode, Param};
use super::listen::NOTIFY;
use super::{PostgresStore, SESSION};
use crate::hex;
use crate::sources::Fingerprint;
use crate::store::{Epoch, KeptUp, Lease, StoreError};

/// How long a lease lasts, unless it is renewed.
const LEASE_DURATION: Duration = Duration::from_secs(10);

/// How often the lease is looked at again in one operation, when others change it meanwhile.
const ATTEMPTS: usize = 3;

/// True, with the row locked until the transaction ends, if this is the lease of a writer. It does
/// not hold up renewals, which leave the key as it is; a change of the holder waits for it.
///
/// Parameters: the epoch, the instance.
pub(super) const LOCK_LEASE: &str = "SELECT true FROM lease \
     WHERE epoch = $1 AND holder = $2 AND expires_at > clock_timestamp() FOR KEY SHARE";

/// The epoch that this process held last.
#[derive(Debug, Default)]
pub(super) struct HeldEpoch(Mutex<Option<Epoch>>);

impl HeldEpoch {
    /// Notes the epoch that is held now; whether it is another one than before.
    fn replace(&self, epoch: Epoch) -> bool {
        let before = self.0.lock().expect("no thread panics with it").replace(epoch);
        before != Some(epoch)
    }
}

/// The row of the lease.
struct Current {
    epoch: i64,
    holder: Option<String>,
    is_ours: bool,
    has_expired: bool,
    kept_up: String,
}

impl PostgresStore {
    pub(super) async fn acquire_or_renew_lease(&self, kept_up: &KeptUp) -> Result<Lease, Failure> {
        let ours = serialize(kept_up);
        for _ in 0..ATTEMPTS {
            // Taken before each request: the server's lease ends later than ours.
            let until = Instant::now() + LEASE_DURATION;
            let current = self.current_lease().await?;
            let epoch = if current.is_ours {
                self.renew(&current, &ours).await?
            } else if current.has_expired {
                self.take(&current, &ours).await?
            } else {
                return Ok(Lease::Other { kept_up: deserialize(&current.kept_up)? });
            };
            if let Some(epoch) = epoch {
                if self.held.replace(epoch) {
                    self.forgotten.reset();
                }
                return Ok(Lease::Held { epoch, until });
            }
        }
        Err(Failure::Unexpected("the lease changes too often"))
    }

    async fn current_lease(&self) -> Result<Current, Failure> {
        const READ_LEASE: &str = "SELECT (SELECT max(version) FROM schema_version), epoch, holder, \
             coalesce(holder = $1, false), expires_at <= clock_timestamp(), kept_up FROM lease";
        let params: [Param<'_>; 1] = [(&self.instance, Type::TEXT)];
        let rows = self.run_session(Mode::Read, READ_LEASE, &params).await?;
        let [row] = rows.as_slice() else {
            return Err(Failure::Unexpected("its table `lease` must have one row"));
        };
        self.check_schema(row.try_get::<_, Option<i32>>(0)?.unwrap_or_default())?;
        Ok(Current {
            epoch: row.try_get(1)?,
            holder: row.try_get(2)?,
            is_ours: row.try_get(3)?,
            has_expired: row.try_get(4)?,
            kept_up: row.try_get(5)?,
        })
    }

    async fn renew(&self, current: &Current, kept_up: &str) -> Result<Option<Epoch>, Failure> {
        const RENEW: &str = "UPDATE lease \
             SET expires_at = clock_timestamp() + $4 * interval '1 s', kept_up = $3 \
             WHERE epoch = $1 AND holder = $2 RETURNING epoch";
        let rows = self.change_lease(RENEW, current, kept_up).await?;
        epoch_of(&rows)
    }

    /// Takes a lease that has expired or was given back.
    async fn take(&self, current: &Current, kept_up: &str) -> Result<Option<Epoch>, Failure> {
        // The lock waits for writers that have checked the lease and not yet committed. The lease
        // is looked at again after it: meanwhile it may have been renewed or taken.
        const TAKE: &str = "WITH free AS MATERIALIZED ( \
                 SELECT epoch FROM lease \
                 WHERE epoch = $1 AND expires_at <= clock_timestamp() FOR UPDATE) \
             UPDATE lease SET epoch = lease.epoch + 1, holder = $2, kept_up = $3, \
                 expires_at = clock_timestamp() + $4 * interval '1 s' \
             FROM free WHERE lease.epoch = free.epoch RETURNING lease.epoch";
        if let Some(holder) = &current.holder {
            self.end_sessions_of(holder).await?;
        }
        let rows = self.change_lease(TAKE, current, kept_up).await?;
        epoch_of(&rows)
    }

    async fn change_lease(
        &self,
        statement: &str,
        current: &Current,
        kept_up: &str,
    ) -> Result<Vec<Row>, Failure> {
        let params: [Param<'_>; 4] = [
            (&current.epoch, Type::INT8),
            (&self.instance, Type::TEXT),
            (&kept_up, Type::TEXT),
            (&LEASE_DURATION.as_secs_f64(), Type::FLOAT8),
        ];
        self.run_session(Mode::Write, statement, &params).await
    }

    /// Ends the sessions of a former holder, which may have stopped in the middle of a write.
    async fn end_sessions_of(&self, holder: &str) -> Result<(), Failure> {
        const TERMINATE: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE application_name = $1 AND usename = current_user \
             AND datname = current_database() AND pid <> pg_backend_pid()";
        let rows = self.run_session(Mode::Write, TERMINATE, &[(&holder, Type::TEXT)]).await?;
        let ended: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        if ended > 0 {
            tracing::info!(holder, ended, "ended the sessions of the lease's former holder");
        }
        Ok(())
    }

    pub(super) async fn release_lease(&self, epoch: Epoch) -> Result<(), Failure> {
        const RELEASE: &str = "UPDATE lease SET holder = NULL, expires_at = '-infinity' \
             WHERE epoch = $1 AND holder = $2";
        let epoch = epoch_column(epoch)?;
        let release: [Param<'_>; 2] = [(&epoch, Type::INT8), (&self.instance, Type::TEXT)];
        let notify: [Param<'_>; 1] = [(&self.instance, Type::TEXT)];
        let connection = self.session.connection(SESSION.server).await?;
        let statements = [(RELEASE, release.as_slice()), (NOTIFY, notify.as_slice())];
        connection.run_all(Mode::Write, statements).await?;
        Ok(())
    }

    pub(super) async fn next_generation(&self, at_least: u64) -> Result<u64, Failure> {
        const NEXT: &str = "UPDATE counters SET value = greatest(value, $1) + 1 \
             WHERE name = 'generation' RETURNING value";
        let at_least = i64::try_from(at_least)
            .map_err(|_| Failure::Unexpected("the event generation is too large"))?;
        let rows = self.run_session(Mode::Write, NEXT, &[(&at_least, Type::INT8)]).await?;
        let row = rows.first().ok_or(Failure::Unexpected("its table `counters` lacks a row"))?;
        Ok(row.try_get::<_, i64>(0)?.unsigned_abs())
    }

    async fn run_session(
        &self,
        mode: Mode,
        statement: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, Failure> {
        let connection = self.session.connection(SESSION.server).await?;
        connection.run(mode, statement, params).await
    }
}

/// The epoch as its column has it. No lease has one that the column cannot have.
pub(super) fn epoch_column(epoch: Epoch) -> Result<i64, StoreError> {
    i64::try_from(epoch.0).map_err(|_| StoreError::LeaseLost)
}

fn epoch_of(rows: &[Row]) -> Result<Option<Epoch>, Failure> {
    let Some(row) = rows.first() else { return Ok(None) };
    let epoch: i64 = row.try_get(0)?;
    Ok(Some(Epoch(epoch.unsigned_abs())))
}

fn serialize(kept_up: &KeptUp) -> String {
    let sources: Vec<(&str, String)> = kept_up
        .0
        .iter()
        .map(|(name, fingerprint)| {
            let digits = hex::digits(fingerprint.0);
            (name.as_str(), digits.as_flattened().iter().copied().map(char::from).collect())
        })
        .collect();
    serde_json::to_string(&sources).expect("strings can be serialized")
}

fn deserialize(text: &str) -> Result<KeptUp, Failure> {
    const UNREADABLE: Failure = Failure::Unexpected("its table `lease` cannot be understood");
    let sources: Vec<(String, String)> = serde_json::from_str(text).map_err(|_| UNREADABLE)?;
    let sources = sources.into_iter().map(|(name, digits)| {
        let fingerprint = hex::bytes(&digits).ok_or(UNREADABLE)?;
        Ok((name, Fingerprint(fingerprint)))
    });
    Ok(KeptUp(std::sync::Arc::new(sources.collect::<Result<_, Failure>>()?)))
}
