//! Alerts of Prometheus Alertmanager's API v2.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use reqwest::Url;

use super::tags;
use super::time::Time;
use crate::decode::{members, unescape};
use crate::render::{employee_path, is_json, member_value, sent_incident, write_string};
use crate::store::HistoryRow;

#[derive(Clone, Debug)]
pub(super) struct Alertmanager {
    /// The labels of the tags, each with a comma before it.
    labels: Vec<u8>,
    active_for: Duration,
    /// Where people reach the pages, with a slash at its end.
    public_url: Option<String>,
}

/// How long the alerts of a batch are active.
pub(super) struct Active {
    ends_at: Option<Time>,
}

impl Alertmanager {
    pub(super) fn new(
        tags: &[(String, String)],
        active_for: Duration,
        public_url: Option<&Url>,
    ) -> Self {
        // An empty label is none.
        let tags: Vec<_> = tags.iter().filter(|(_, value)| !value.is_empty()).cloned().collect();
        let public_url = public_url.map(|url| format!("{}/", url.as_str().trim_end_matches('/')));
        Self { labels: tags::members(&tags), active_for, public_url }
    }

    /// How long alerts are active that are sent at this time.
    pub(super) fn active(&self, sent_at: SystemTime) -> Active {
        let sent_at = Timestamp::try_from(sent_at).ok().map(Timestamp::as_duration);
        let active_for = SignedDuration::try_from(self.active_for).ok();
        let ends_at = sent_at.zip(active_for).and_then(|(sent_at, active_for)| {
            sent_at.checked_add(active_for).and_then(Time::since_epoch)
        });
        Active { ends_at }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, row: &HistoryRow, active: &Active) {
        out.extend_from_slice(b"{\"labels\":{\"alertname\":\"incident\"");
        let mut label = |name: &str, value: &str| {
            if !value.is_empty() {
                out.extend_from_slice(name.as_bytes());
                write_string(out, value);
            }
        };
        label(",\"type\":", &row.source);
        label(",\"priority\":", row.priority.map_or("", |priority| priority.as_str()));
        label(",\"employee_id\":", row.employee_id.as_deref().unwrap_or_default());
        out.extend_from_slice(b",\"id\":\"");
        row.id.write(out);
        out.push(b'"');
        out.extend_from_slice(&self.labels);
        out.extend_from_slice(b"},\"annotations\":{");
        if let Some(title) = title(&row.bytes) {
            out.extend_from_slice(b"\"title\":");
            write_string(out, &title);
            out.push(b',');
        }
        out.extend_from_slice(b"\"incident\":");
        let mut incident = Vec::with_capacity(row.bytes.len() + row.source.len() + 12);
        sent_incident(&mut incident, row);
        write_string(out, &String::from_utf8_lossy(&incident));
        out.push(b'}');
        write_times(out, row, active);
        if let (Some(public_url), Some(employee)) = (&self.public_url, &row.employee_id) {
            out.extend_from_slice(b",\"generatorURL\":");
            write_string(out, &format!("{public_url}{}", employee_path(employee)));
        }
        out.push(b'}');
    }
}

/// Writes when the alert began and when it ends. Alertmanager takes no alert that ends before it
/// began, and takes the first instant of the year 1 for no time.
fn write_times(out: &mut Vec<u8>, row: &HistoryRow, active: &Active) {
    let is_possible = |starts_at: &Time| {
        starts_at.year() >= 1 && active.ends_at.is_none_or(|ends_at| *starts_at < ends_at)
    };
    let starts_at = row.timestamp.and_then(Time::from_seconds).filter(is_possible);
    for (name, time) in [(",\"startsAt\":", starts_at), (",\"endsAt\":", active.ends_at)] {
        if let Some(time) = time {
            out.extend_from_slice(name.as_bytes());
            time.write(out);
        }
    }
}

/// The title of a record: its top-level member, if that is text.
fn title(bytes: &[u8]) -> Option<String> {
    if !is_json(bytes) {
        return None;
    }
    let (b'{', record) = bytes.split_first()? else { return None };
    // The last of several members with the same name counts.
    let title = members(record).filter(|(name, _)| name.as_deref() == Some("title")).last();
    let value = std::str::from_utf8(member_value(title?.1)).ok()?;
    let text = value.strip_prefix('"')?.strip_suffix('"')?;
    unescape(text).map(std::borrow::Cow::into_owned).filter(|title| !title.is_empty())
}
