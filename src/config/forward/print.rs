//! Prints forwards.

use super::{Forward, ForwardFormat, ForwardFrom, Selection};
use crate::config::upstream::show_rate;
use crate::config::value::{show_duration, show_size, show_url};
use crate::config::written::{Fields, Written};

/// Prints the forwards as a block list, with masks in place of secrets; nothing if there are none.
pub(in crate::config) fn show(forwards: &[Forward]) -> String {
    forwards.iter().flat_map(|forward| ["\n".to_owned(), fields(forward).item(2)]).collect()
}

fn fields(forward: &Forward) -> Fields {
    let mut fields = Fields::default();
    fields.text("name", &forward.name);
    fields.text("url", forward.url.as_str());
    if let Some(auth) = &forward.auth {
        fields.add("auth", auth.written());
    }
    let client = forward.client_certificate.as_ref();
    for (key, file) in [
        ("ca_file", forward.ca.as_ref()),
        ("client_cert_file", client.map(|client| &client.certificate)),
        ("client_key_file", client.map(|client| &client.key)),
    ] {
        if let Some(file) = file {
            fields.text(key, &file.path.display().to_string());
        }
    }
    if let Some(proxy) = &forward.proxy {
        fields.scalar("proxy", show_url(proxy));
    }
    fields.text("format", forward.format.as_str());
    if forward.select != Selection::default() {
        fields.add("select", selection(&forward.select));
    }
    if !forward.tags.is_empty() {
        let mut tags = Fields::default();
        for (name, value) in &forward.tags {
            tags.text(name, value);
        }
        fields.add("tags", tags.into());
    }
    let mut batch = Fields::default();
    batch.scalar("max_records", forward.batch.max_records.to_string());
    batch.scalar("max_bytes", show_size(forward.batch.max_bytes as u64));
    batch.scalar("max_wait", show_duration(forward.batch.max_wait));
    fields.add("batch", batch.into());
    if let Some(rate) = forward.rate {
        fields.scalar("rate", show_rate(rate));
    }
    fields.scalar("timeout", show_duration(forward.timeout));
    fields.text(
        "from",
        match forward.from {
            ForwardFrom::Now => "now",
            ForwardFrom::Beginning => "beginning",
        },
    );
    if let ForwardFormat::Alertmanager { active_for } = forward.format {
        fields.scalar("active_for", show_duration(active_for));
    }
    fields
}

fn selection(selection: &Selection) -> Written {
    let mut fields = Fields::default();
    if let Some(priorities) = &selection.priorities {
        let names = priorities.iter().map(|priority| Written::text(priority.as_str())).collect();
        fields.add("priority", Written::one_or_more(names));
    }
    if let Some(types) = &selection.types {
        let names = types.iter().map(|name| Written::text(name)).collect();
        fields.add("type", Written::one_or_more(names));
    }
    if selection.unattributed {
        fields.scalar("unattributed", "true".to_owned());
    }
    fields.into()
}
