use super::*;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_hours(1);

fn message_of<T>(result: Result<T, ConfigErrorKind>) -> Result<T, String> {
    result.map_err(|message| message.to_string())
}

fn read_duration(text: &str) -> Result<Duration, String> {
    message_of(duration(&Node::verbatim(text, 0), MS..=HOUR))
}

fn read_size(text: &str) -> Result<u64, String> {
    message_of(size(&Node::verbatim(text, 0), 0..=u64::from(u32::MAX)))
}

#[test]
fn durations_need_a_unit() {
    for (text, millis) in [
        ("1500ms", 1500),
        ("30s", 30_000),
        ("1h", 3_600_000),
        ("1m 30s", 90_000),
        ("2.5s", 2500),
        (" 1s ", 1000),
        ("1s 999ns", 1000),
        ("1ms", 1),
    ] {
        assert_eq!(read_duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for (text, message) in [
        ("30", "`30` has no unit; write `30s` for seconds, `30ms` for milliseconds"),
        ("2.5", "`2.5` has no unit; write `2.5s` for seconds, `2.5ms` for milliseconds"),
        ("0", "`0` is out of range; give 1ms to 1h"),
        ("999us", "`999us` is out of range; give 1ms to 1h"),
        ("1h1ms", "`1h1ms` is out of range; give 1ms to 1h"),
        ("soon", "`soon` is not a duration, such as `1500ms`, `30s` or `1h`"),
        ("-1s", "`-1s` is not a duration, such as `1500ms`, `30s` or `1h`"),
        ("", "`` is not a duration, such as `1500ms`, `30s` or `1h`"),
        (
            "1 fortnight\u{1b}[31m",
            "`1 fortnight\\u{1b}[31m` is not a duration, such as `1500ms`, `30s` or `1h`",
        ),
        (
            "18446744073709551615s 1000000000ns",
            "`18446744073709551615s 1000000000ns` is not a duration, such as `1500ms`, `30s` or \
             `1h`",
        ),
    ] {
        assert_eq!(read_duration(text), Err(message.to_owned()));
    }
    assert_eq!(
        message_of(duration(&Node::verbatim("0", 0), Duration::ZERO..=HOUR)),
        Ok(Duration::ZERO)
    );
}

#[test]
fn sizes_have_binary_and_decimal_units() {
    for (text, bytes) in [
        ("0", 0),
        ("1000", 1000),
        ("64MiB", 64 << 20),
        ("64 MiB", 64 << 20),
        ("64mib", 64 << 20),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("2GB", 2_000_000_000),
        ("7B", 7),
        ("4294967295", 4_294_967_295),
    ] {
        assert_eq!(read_size(text), Ok(bytes), "{text}");
    }
    for text in ["64Mi", "64M", "MiB", "1.5GiB", "-1", "1 2", "", "64MiBs", "0x10"] {
        assert_eq!(
            read_size(text),
            Err(format!("`{text}` is not a size, such as `64MiB` or a number of bytes"))
        );
    }
    for text in ["4GiB", "99999999999999999999TiB"] {
        assert_eq!(read_size(text), Err(format!("`{text}` is out of range; give 0 to 4294967295")));
    }
    let longest = "9".repeat(100);
    assert!(
        read_size(&longest)
            .unwrap_err()
            .ends_with("…` is not a size, such as `64MiB` or a number of bytes")
    );
}

#[test]
fn counts_are_whole_numbers_in_a_range() {
    let read = |text| message_of(count(&Node::verbatim(text, 0), 1..=8, "a whole number"));
    assert_eq!(read("8"), Ok(8));
    for text in ["0", "9", "99999999999999999999999"] {
        assert_eq!(read(text), Err(format!("`{text}` is out of range; give 1 to 8")));
    }
    for text in ["", "+1", "-1", "1.0", "0x1", "one"] {
        assert_eq!(read(text), Err(format!("`{text}` is not a whole number")));
    }
}

#[test]
fn addresses_have_a_port_and_may_omit_the_host() {
    let read = |text| address(&Node::verbatim(text, 0));
    for (text, expected) in [
        ("0.0.0.0:9000", "0.0.0.0:9000"),
        ("[::1]:9000", "[::1]:9000"),
        ("localhost:9000", "127.0.0.1:9000"),
        (":9000", "0.0.0.0:9000"),
        (":0", "0.0.0.0:0"),
    ] {
        assert_eq!(read(text), Ok(expected.parse().unwrap()), "{text}");
    }
    for text in [
        "9000",
        "",
        ":",
        ":+1",
        ":65536",
        "localhost",
        "example.com:80",
        "::1:9000",
        "1.2.3.4",
        "http://1.2.3.4:5",
    ] {
        assert!(matches!(read(text), Err(ConfigErrorKind::Unparsable { .. })), "{text}");
    }
}

#[test]
fn urls_are_http_without_credentials_or_query() {
    let read = |text| url(&Node::verbatim(text, 0), "leave them out");
    for text in [
        "http://localhost:9002",
        "https://example.com/a/b/",
        "http://[::1]:1",
        "https://example.com/a@b",
    ] {
        assert_eq!(
            read(text).map(|url| url.to_string().trim_end_matches('/').to_owned()),
            Ok(text.trim_end_matches('/').to_owned())
        );
    }
    let held = || ConfigErrorKind::UrlCredentials { remedy: "leave them out" };
    for (text, message) in [
        ("http://a:b@h", held()),
        ("http://a@h", held()),
        ("http://@h", held()),
        ("http:a:b@h", held()),
        ("http:\\\\a:b@h", held()),
        ("ftp://h", ConfigErrorKind::UrlScheme),
        ("localhost:9002", ConfigErrorKind::UrlScheme),
        ("http://h/?a=b", ConfigErrorKind::UrlQuery),
        ("http://h/#a", ConfigErrorKind::UrlQuery),
        ("http://h?", ConfigErrorKind::UrlQuery),
    ] {
        assert_eq!(read(text), Err(message), "{text}");
    }
    for text in ["", "/path", "example.com", "https://", "http://a:b", "http://h:99999"] {
        assert!(matches!(read(text), Err(ConfigErrorKind::NotAUrl(_))), "{text}");
    }
}

#[test]
fn paths_cannot_lead_to_another_host() {
    let base = Url::parse("https://base/").unwrap();
    for text in ["/", "/incidents/denial/", "/a%20b", "/é", "/@host", "/a//b"] {
        assert_eq!(path(&Node::verbatim(text, 0)).as_deref(), Ok(text));
        assert_eq!(base.join(text).unwrap().host_str(), Some("base"));
    }
    for text in [
        "",
        "a",
        "//h",
        "//h/",
        "/\\h",
        "\\\\h",
        "http://h/",
        "/a?b",
        "/a#b",
        "/a b",
        "/a\n",
        "/\t/h",
    ] {
        assert!(
            matches!(path(&Node::verbatim(text, 0)), Err(ConfigErrorKind::Unparsable { .. })),
            "{text}"
        );
    }
}

#[test]
fn plain_seconds() {
    for (text, expected) in [
        ("10", "10s"),
        ("2.5", "2.5s"),
        (" 3 ", "3s"),
        ("10s", "10s"),
        ("1.", "1."),
        ("", ""),
        ("1e3", "1e3"),
    ] {
        assert_eq!(with_unit(text), expected);
    }
}

#[test]
fn shown_values() {
    for (millis, expected) in [
        (0, "0s"),
        (1900, "1900ms"),
        (30_000, "30s"),
        (90_000, "90s"),
        (3_600_000, "1h"),
        (60_000, "1m"),
    ] {
        assert_eq!(show_duration(Duration::from_millis(millis)), expected);
    }
    assert_eq!(show_duration(Duration::from_micros(1_000_001)), "1000001us");
    for (bytes, expected) in [
        (0, "0"),
        (1, "1"),
        (64 << 20, "64MiB"),
        (1500, "1500"),
        (3 << 40, "3TiB"),
        (u64::from(u32::MAX), "4294967295"),
    ] {
        assert_eq!(show_size(bytes), expected);
    }
    for (text, expected) in [
        ("reported_by", "reported_by"),
        ("/incidents/denial/", "/incidents/denial/"),
        ("https://example.com", "https://example.com"),
        ("", "\"\""),
        ("Null", "\"Null\""),
        ("no", "\"no\""),
        ("1.5", "\"1.5\""),
        ("a: b", "\"a: b\""),
        ("a\"\\\n", "\"a\\\"\\\\\\U0000000A\""),
        ("é", "\"\\U000000E9\""),
    ] {
        assert_eq!(show_text(text), expected);
    }
}
