//! Renders the incidents of a view that meet a filter, and records of the history, as JSON, NDJSON
//! or CSV.

pub mod compress;
mod csv;
mod document;
mod employee_path;
mod filter;
mod history;
mod history_summary;
mod json;
mod member;
mod ndjson;
mod prefetch;
mod summary;

pub use csv::csv;
pub use document::{Document, Format};
pub(crate) use employee_path::{EMPLOYEE_KEY, employee_path, escape, is_path_segment};
pub use filter::{Filter, is_small};
pub use history::{HISTORY_COLUMNS, history};
pub(crate) use history::{is_json, open_sent_row, sent_incident, write_number};
pub use history_summary::history_summary;
pub use json::{employee, incidents, unattributed};
pub(crate) use json::{record_line, write_string};
pub(crate) use member::member_value;
pub use ndjson::ndjson;
pub use summary::summary;
