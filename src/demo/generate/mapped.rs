//! The records of the mapped sources, in shapes of their own: sign-in events in pages, and alerts
//! of a mail filter.

use std::time::{Duration, UNIX_EPOCH};

use super::records::{Incident, Records};
use super::{enclose, people, population, write};
use crate::demo::list_query::ListQuery;
use crate::demo::ticks::TICKS_PER_SECOND;

/// One event in this many has a severity that the demo's configuration does not map.
const ONE_UNMAPPED_IN: u64 = 200;

/// One event in this many has no e-mail address, only that of the client.
const ONE_ANONYMOUS_IN: u64 = 25;

/// One record in this many names somebody who is not in the table of people.
const ONE_STRANGER_IN: u64 = 60;

/// One alert in this many names the recipient by host only.
const ONE_BY_HOST_IN: u64 = 12;

const TICKS_PER_MILLISECOND: u64 = TICKS_PER_SECOND / 1_000;
const NANOSECONDS_PER_TICK: u64 = 1_000_000_000 / TICKS_PER_SECOND;

const SIGN_INS: [(&str, &str); 6] = [
    ("Sign-in from a new country", "SUCCESS"),
    ("Password guessed too often", "FAILURE"),
    ("Second factor refused by the user", "FAILURE"),
    ("Sign-in from an anonymous network", "SUCCESS"),
    ("Impossible travel between two sign-ins", "SUCCESS"),
    ("Account locked", "FAILURE"),
];

const COUNTRIES: [&str; 8] = ["BR", "DE", "JP", "KE", "NO", "PT", "US", "VN"];

const SUBJECTS: [&str; 6] = [
    "Credential phishing: \"Your mailbox is full\"",
    "Malicious attachment: invoice_2291.zip",
    "Link to a look-alike domain was opened",
    "Impersonation of an executive",
    "Bulk sending to outside recipients",
    "Message with a known malware hash",
];

/// A page of sign-in events: `{"events":[…],"page":{"next":…}}`. Each page begins with the last
/// event of the one before, as with APIs whose cursor is inclusive.
pub(super) fn signin_page(source: &Records, now: u64, query: &ListQuery) -> Vec<u8> {
    let wanted = wanted(source, now, query);
    let start = query.cursor.unwrap_or(wanted.start).clamp(wanted.start, wanted.end);
    let end = wanted.end.min(start.saturating_add(query.limit));
    let close = if end < wanted.end {
        format!("],\"page\":{{\"next\":\"{}\"}}}}", end - 1)
    } else {
        "],\"page\":{\"next\":null}}".to_owned()
    };
    enclose(b"{\"events\":[", start..end, close.as_bytes(), |out, number| {
        write_signin(out, source, number);
    })
}

/// All alerts of the mail filter: `{"value":{"alerts":[…]}}`.
pub(super) fn mail_list(source: &Records, now: u64, query: &ListQuery) -> Vec<u8> {
    let wanted = wanted(source, now, query);
    enclose(b"{\"value\":{\"alerts\":[", wanted, b"]}}", |out, number| {
        write_mail(out, source, number);
    })
}

/// The numbers of the records that the source lists at `now` and that arrived within the query's
/// times.
fn wanted(source: &Records, now: u64, query: &ListQuery) -> std::ops::Range<u64> {
    let window = source.window(query.until.unwrap_or(now).min(now));
    let first = query.since.map_or(0, |since| source.arrived_by(since.saturating_sub(1)));
    first.clamp(window.start, window.end)..window.end
}

fn write_signin(out: &mut Vec<u8>, source: &Records, number: u64) {
    let (mut rng, Incident { employee, priority, time }) = source.unrepeated(number);
    let severity = if rng.one_in(ONE_UNMAPPED_IN) {
        "NOTICE"
    } else {
        match priority {
            "low" => "INFO",
            "medium" => "WARN",
            "high" => "ERROR",
            _ => "FATAL",
        }
    };
    let (message, result) = rng.pick(&SIGN_INS);
    let (actor, machine) = if rng.one_in(ONE_STRANGER_IN) {
        let guest = rng.below(100);
        (format!("guest{guest}@partner.example"), population::unlisted_machine(&mut rng))
    } else {
        let machine = population::machine_of(employee, &mut rng);
        if rng.one_in(ONE_ANONYMOUS_IN) {
            ("unknown".to_owned(), machine)
        } else {
            (people::email(employee), machine)
        }
    };
    let (address, country) = (population::address(machine), rng.pick(&COUNTRIES));
    let (high, low) = (rng.next(), rng.next());
    let time = UNIX_EPOCH + Duration::from_nanos(time * NANOSECONDS_PER_TICK);
    let published = jiff::Timestamp::try_from(time).expect("the time is one of the calendar's");
    write(
        out,
        format_args!(
            "{{\"uuid\":\"{:08x}-{:04x}-{:04x}-{:04x}-{:012x}\",\"published\":\"{published:.6}\",\
             \"severity\":\"{severity}\",\"displayMessage\":\"{message}\",\
             \"outcome\":{{\"result\":\"{result}\"}},\
             \"actor\":{{\"type\":\"User\",\"alternateId\":\"{actor}\"}},\
             \"client\":{{\"ipAddress\":\"{address}\",\"country\":\"{country}\"}}}}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff,
        ),
    );
}

fn write_mail(out: &mut Vec<u8>, source: &Records, number: u64) {
    let (mut rng, Incident { employee, priority, time }) = source.unrepeated(number);
    let score = match priority {
        "low" => rng.below(40),
        "medium" => 40 + rng.below(30),
        "high" => 70 + rng.below(20),
        _ => 90 + rng.below(11),
    };
    let subject = serde_json::to_string(rng.pick(&SUBJECTS)).expect("a string is JSON");
    let recipient = if rng.one_in(ONE_STRANGER_IN) {
        "\"mail\":\"all-staff@corp.example\",\"device\":null".to_owned()
    } else if rng.one_in(ONE_BY_HOST_IN) {
        let host = people::hostname(employee).to_uppercase();
        format!("\"mail\":null,\"device\":\"{host}.corp.example\"")
    } else {
        format!("\"mail\":\"{}\",\"device\":null", people::email(employee))
    };
    let detected = time / TICKS_PER_MILLISECOND;
    write(
        out,
        format_args!(
            "{{\"alert\":{{\"id\":\"M-{number}\",\"subject\":{subject},\"score\":{score},\
             \"detected\":{detected}}},\"recipient\":{{{recipient}}},\
             \"links\":{{\"portal\":\"https://mail-filter.example/alerts/M-{number}\"}}}}"
        ),
    );
}
