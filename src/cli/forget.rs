//! `forget`: deletes one employee's records from the store.
//!
//! Exit codes: 0 deleted, also where there was nothing to delete; 1 the store cannot be used or
//! reached; 2 bad usage or configuration, or no store.

use std::path::PathBuf;
use std::process::ExitCode;

use super::runtime::run_until_signal;
use crate::app::store_of;
use crate::config::{self, ConfigErrors, Environment, Overrides};
use crate::store::sqlite::Access;
use crate::store::{Store, StoreError};

/// The longest id of an employee, in bytes. Records with a longer one are unattributed.
const MAX_ID_BYTES: usize = 256;

/// The arguments of `forget`.
#[derive(Clone, Debug, Eq, PartialEq, clap::Args)]
pub struct Args {
    /// The employee's id, as in `employee_id`
    #[arg(value_name = "EMPLOYEE_ID", value_parser = employee_id)]
    pub employee_id: String,
    /// The configuration file (else `CONFIG_PATH`, else none)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

fn employee_id(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("the id is empty".to_owned()),
        length if length > MAX_ID_BYTES => {
            Err(format!("no employee's id is longer than {MAX_ID_BYTES} bytes"))
        }
        _ => Ok(text.to_owned()),
    }
}

/// Loads the configuration and deletes the records.
///
/// # Errors
///
/// The errors of the configuration; files of upstreams, of `tls` and of `auth` need not be there.
pub fn run(args: Args, environment: &Environment) -> Result<ExitCode, ConfigErrors> {
    let overrides = Overrides { config: args.config, ..Overrides::default() };
    let config = config::load_for_store(&overrides, environment)?;
    // A gateway may be using it.
    let store = match store_of(&config.store.url, Access::Beside) {
        Ok(Some(store)) => store,
        Ok(None) => {
            return Ok(super::fail_usage(
                "there is no store to delete from (`store.url` is `none`); give the configuration \
                 of the gateway with `--config`, or set `store.url`",
            ));
        }
        Err(error) => return Ok(super::fail(&error.to_string())),
    };
    Ok(run_until_signal(async move {
        match delete(&*store, &args.employee_id).await {
            Ok(deleted) => {
                super::print_stderr(
                    "a source that still lists such records brings them back with its next refresh",
                );
                super::print_stdout(&format!("{}\n", report(deleted, &args.employee_id)))
            }
            Err(error) => super::fail(&error.to_string()),
        }
    }))
}

async fn delete(store: &dyn Store, employee_id: &str) -> Result<u64, StoreError> {
    store.prepare().await?;
    store.forget(employee_id).await
}

/// What was done, on one line.
fn report(deleted: u64, employee_id: &str) -> String {
    let records = if deleted == 1 { "record" } else { "records" };
    let mut line = format!("deleted {deleted} {records} of employee ");
    for c in employee_id.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_one_line_with_the_number() {
        assert_eq!(report(0, "E1"), "deleted 0 records of employee E1");
        assert_eq!(report(1, "Ann \"é\""), "deleted 1 record of employee Ann \"é\"");
        assert_eq!(report(2, "a\nb\u{1b}"), "deleted 2 records of employee a\\nb\\u{1b}");
    }
}
