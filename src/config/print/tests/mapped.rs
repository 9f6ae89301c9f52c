//! Arbitrary upstreams, mapped sources and identity tables.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::{duration, path, upstream, url};
use crate::config::{
    Auth, AuthHeader, ClientAuth, DEFAULT_UPSTREAM, HttpOrigin, Incremental, NamedUpstream, OAuth2,
    Origin, Rate, Source, Table, TableRows, Upstream,
};
use crate::files::check_pattern;
use crate::json::{Path, Step};
use crate::mapping::{
    IdentityEntry, IdentityKind, Priority, PriorityMapping, PriorityRule, TimeUnit,
    TimestampMapping, TimestampRule,
};
use crate::request::{
    BodyTemplate, JsonPointer, JsonTemplate, NextPage, RequestTemplate, Target, Template,
};

/// The upstreams beside the default one, to which sources refer.
const UPSTREAMS: [&str; 2] = ["okta", "ms-graph"];

/// A text of one line, which YAML may read as something else.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{1,9}", "[ -~]{1,9}", Just("null".to_owned()), Just("0x1F".to_owned())]
}

fn header_value() -> impl Strategy<Value = String> {
    "[!-~]([ -~]{0,9}[!-~])?"
}

pub(super) fn named_upstreams() -> impl Strategy<Value = Vec<NamedUpstream>> {
    let named =
        |(name, settings): (&str, Upstream)| NamedUpstream { name: name.to_owned(), settings };
    vec(extended_upstream(), UPSTREAMS.len())
        .prop_map(move |settings| UPSTREAMS.into_iter().zip(settings).map(named).collect())
}

/// An upstream with all of its settings but those that name files.
pub(super) fn extended_upstream() -> impl Strategy<Value = Upstream> {
    (upstream(), option::of(auth()), option::of(proxy()), option::of(rate())).prop_map(
        |(upstream, auth, proxy, rate)| {
            let username = upstream.username.filter(|_| auth.is_none());
            let password = upstream.password.filter(|_| auth.is_none());
            Upstream { username, password, auth, proxy, rate, ..upstream }
        },
    )
}

pub(super) fn proxy() -> impl Strategy<Value = reqwest::Url> {
    let proxy = "https?://[a-z]{1,9}(:[1-9][0-9]{0,3})?/";
    proxy.prop_filter_map("a URL", |text| reqwest::Url::parse(&text).ok())
}

pub(super) fn rate() -> impl Strategy<Value = Rate> {
    let rate = (1..=1_000_000_u32, prop_oneof![Just(1), Just(60), Just(3600)]);
    rate.prop_map(|(requests, seconds)| Rate {
        requests,
        per: std::time::Duration::from_secs(seconds),
    })
}

pub(super) fn auth() -> impl Strategy<Value = Auth> {
    let basic = ("[^:\\p{Cc}]{1,9}", text())
        .prop_map(|(username, password)| Auth::Basic { username, password: password.into() });
    let header = (header_value(), option::of("[!-~][ -~]{0,5}"));
    let headers = btree_map("x-[a-z]{1,5}", header, 1..4).prop_map(|headers| {
        let header = |(name, (value, prefix)): (String, (String, Option<String>))| {
            let prefix = prefix.unwrap_or_default();
            let value = format!("{prefix}{value}").into();
            AuthHeader { name: name.parse().unwrap(), value, prefix }
        };
        Auth::Headers(headers.into_iter().map(header).collect())
    });
    let oauth2 = (url(), text(), option::of(text()), option::of(text()), any::<bool>());
    let oauth2 = oauth2.prop_map(|(token_url, client_id, scope, audience, is_basic)| {
        let client_auth = if is_basic { ClientAuth::Basic } else { ClientAuth::Body };
        let client_secret = "hunter2".into();
        Auth::OAuth2(OAuth2 { token_url, client_id, client_secret, scope, audience, client_auth })
    });
    let bearer = header_value().prop_map(|token| Auth::Bearer { token: token.into() });
    prop_oneof![Just(Auth::None), basic, bearer, headers, oauth2]
}

fn json_path() -> impl Strategy<Value = Path> {
    let texts = prop_oneof![
        text(),
        Just("/actor/id".to_owned()),
        Just("/a~1b/~0/0".to_owned()),
        Just("$.users[*].id".to_owned()),
        Just("$[-1]['a b']".to_owned()),
    ];
    texts.prop_filter_map("a path", |text| Path::parse(&text).ok())
}

fn paths() -> impl Strategy<Value = Vec<Path>> {
    vec(json_path(), 0..3)
}

fn template() -> impl Strategy<Value = Template> {
    let texts = prop_oneof![
        text(),
        Just(String::new()),
        Just("{now}".to_owned()),
        Just("x {since:unix_ms} {y}".to_owned()),
        Just("{now:%Y-%m-%d %H:%M}".to_owned()),
    ];
    texts.prop_filter_map("a template", |text| Template::parse(&text).ok())
}

fn parameters() -> impl Strategy<Value = Vec<(String, Template)>> {
    btree_map(text(), vec(template(), 1..3), 0..4).prop_map(|names| {
        let repeated = |(name, values): (String, Vec<Template>)| {
            values.into_iter().map(move |value| (name.clone(), value))
        };
        names.into_iter().flat_map(repeated).collect()
    })
}

fn json() -> impl Strategy<Value = JsonTemplate> {
    let literals = ["null", "true", "false", "0", "-12", "1.50", "1e3", "-2.5E-7"];
    let literal = proptest::sample::select(literals.to_vec());
    let leaf = prop_oneof![
        literal.prop_map(|spelled| JsonTemplate::Literal(spelled.to_owned())),
        template().prop_map(JsonTemplate::String),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(JsonTemplate::Array),
            btree_map(text(), inner, 0..4)
                .prop_map(|members| JsonTemplate::Object(members.into_iter().collect())),
        ]
    })
}

fn body() -> impl Strategy<Value = Option<BodyTemplate>> {
    prop_oneof![
        Just(None),
        json().prop_map(|json| Some(BodyTemplate::Json(json))),
        parameters().prop_map(|form| Some(BodyTemplate::Form(form))),
    ]
}

/// What a request asks for, and how its pages follow each other.
fn pages() -> impl Strategy<Value = (Option<BodyTemplate>, Option<NextPage>)> {
    let numbers = (1..=1_000_000_u64, option::of(1..=1_000_000_u64), 0..=1_000_000_000_u64);
    let single =
        || json_path().prop_filter("one value", |path| !path.steps().contains(&Step::Each));
    let paths = (single(), option::of(single()));
    let names = ("[a-z$][ -~]{0,8}", option::of("[A-Z][ -~]{0,8}"), "(/[a-z]{1,3}){1,3}");
    (body(), 0..6, paths, numbers, names).prop_map(|(body, kind, (at, more), numbers, names)| {
        let (size, maybe_size, first) = numbers;
        let (name, end, pointer) = names;
        let pointer = JsonPointer::parse(&pointer).unwrap();
        let is_form = matches!(body, Some(BodyTemplate::Form(_)));
        let target = |name: String| match &body {
            Some(BodyTemplate::Json(json)) if json.check_place(&pointer).is_ok() => {
                Target::Body(pointer.clone())
            }
            _ if is_form => Target::Form(name),
            _ => Target::Query(name),
        };
        let end = end.map(|name| if is_form { Target::Form(name) } else { Target::Query(name) });
        let next = match kind {
            0 => None,
            1 => Some(NextPage::Link),
            2 => Some(NextPage::Url(at)),
            3 => Some(NextPage::Cursor { at, to: target(name) }),
            4 => Some(NextPage::Offset { at: target(name), size, end, more }),
            _ => Some(NextPage::Number { at: target(name), first, size: maybe_size, more }),
        };
        (body, next)
    })
}

fn http_origin() -> impl Strategy<Value = HttpOrigin> {
    let upstream = prop_oneof![Just(DEFAULT_UPSTREAM), Just(UPSTREAMS[0]), Just(UPSTREAMS[1])];
    let headers = btree_map("x-[a-z]{1,5}", header_value(), 0..3).prop_map(|headers| {
        let header = |(name, value): (String, String)| {
            (name.parse().unwrap(), Template::parse(&value).unwrap())
        };
        headers.into_iter().map(header).collect()
    });
    let window = option::of(duration(1, 3_600_000));
    let bounds = (window, 1..=1_000_000_usize, paths());
    (upstream, path(), parameters(), headers, pages(), bounds).prop_map(
        |(upstream, path, query, headers, (body, next), (window, max_pages, fail_if))| {
            let request = RequestTemplate { path, query, headers, body };
            let window = window.filter(|_| request.uses_since());
            let upstream = upstream.to_owned();
            HttpOrigin { upstream, request, window, next, max_pages, fail_if }
        },
    )
}

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![
        http_origin().prop_map(Origin::Http),
        "[ -~]{0,9}\\.json(\\.gz|\\.zst)?"
            .prop_filter("a pattern", |pattern| check_pattern(pattern).is_ok())
            .prop_map(Origin::File),
    ]
}

fn priority() -> impl Strategy<Value = PriorityMapping> {
    let one = proptest::sample::select(Priority::ALL.to_vec());
    let values = btree_map("[a-z0-9 ]{1,9}", one.clone(), 1..5);
    let values = values.prop_map(|values| PriorityRule::values(values.into_iter().collect()));
    let numbers = proptest::collection::btree_set(any::<i32>(), 4);
    let at_least = (numbers, 1..=4_usize).prop_map(|(numbers, count)| {
        let numbers = numbers.into_iter().map(|number| f64::from(number) / 8.0);
        PriorityRule::at_least(numbers.zip(Priority::ALL).take(count).collect())
    });
    let rule = prop_oneof![Just(Ok(PriorityRule::names())), values, at_least];
    (vec(json_path(), 1..3), rule, option::of(one), any::<bool>()).prop_map(
        |(at, rule, default, has_path)| {
            if has_path || default.is_none() {
                PriorityMapping::new(at, rule.unwrap(), default).unwrap()
            } else {
                PriorityMapping::new(Vec::new(), PriorityRule::names(), default).unwrap()
            }
        },
    )
}

fn timestamp() -> impl Strategy<Value = TimestampMapping> {
    let unit = proptest::sample::select(TimeUnit::ALL.to_vec());
    let zone = option::of(prop_oneof![Just("Europe/Oslo"), Just("+02:00"), Just("UTC")]);
    let format = option::of(prop_oneof![Just("%Y-%m-%d %H:%M:%S"), Just("%d %b %y, %I:%M %p")]);
    (vec(json_path(), 1..3), unit, zone, format).prop_map(|(at, unit, zone, format)| {
        let unit = if format.is_some() { TimeUnit::default() } else { unit };
        TimestampMapping { at, rule: TimestampRule::new(unit, zone, format).unwrap() }
    })
}

fn identity() -> impl Strategy<Value = Vec<IdentityEntry>> {
    let kind = option::of(proptest::sample::select(IdentityKind::ALL.to_vec()));
    let at = vec(json_path(), 1..3);
    vec((at, kind).prop_map(|(at, kind)| IdentityEntry { at, kind }), 1..4)
}

/// A mapped source.
pub(super) fn source() -> impl Strategy<Value = Source> {
    let every = option::of(duration(1, 3_600_000));
    let incremental = option::of((duration(0, 3_600_000), duration(1, 3_600_000)));
    let mapping = (option::of(priority()), option::of(timestamp()), identity());
    let paths = (vec(json_path(), 1..3), paths(), paths(), option::of(json_path()));
    (origin(), every, incremental, mapping, paths).prop_map(
        |(
            origin,
            every,
            incremental,
            (priority, timestamp, identity),
            (id, title, url, records),
        )| {
            let incremental = incremental.filter(|_| match &origin {
                Origin::Http(http) => http.request.uses_since(),
                Origin::File(_) => false,
            });
            Source {
                name: "mapped".to_owned(),
                origin,
                every,
                incremental: incremental
                    .map(|(overlap, full_every)| Incremental { overlap, full_every }),
                records,
                id,
                priority,
                timestamp,
                identity,
                title,
                url,
            }
        },
    )
}

/// Identity tables.
pub(super) fn tables() -> impl Strategy<Value = Vec<Table>> {
    let keys = proptest::sample::subsequence(
        vec![IdentityKind::Email, IdentityKind::Username, IdentityKind::Hostname, IdentityKind::Ip],
        1..=4,
    );
    let one_or_more = || vec(json_path(), 1..3);
    let paths = (option::of(json_path()), one_or_more(), paths());
    let rows = (paths, keys, vec(one_or_more(), 4)).prop_map(
        |((records, employee, name), kinds, key_paths)| TableRows {
            records,
            employee,
            keys: kinds.into_iter().zip(key_paths).collect(),
            name,
        },
    );
    let table = (origin(), option::of(duration(1, 3_600_000)), option::of(rows)).prop_map(
        |(mut origin, every, rows)| {
            if let Origin::Http(http) = &mut origin {
                http.window = None;
                if rows.is_none() {
                    http.next = None;
                    http.max_pages = HttpOrigin::DEFAULT_MAX_PAGES;
                }
            }
            Table { origin, every, rows }
        },
    );
    vec(table, 0..4)
}
