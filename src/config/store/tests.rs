use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::config::{Config, ConfigErrors, Overrides, from_yaml, load};

fn with_url(url: &str) -> Result<Config, ConfigErrors> {
    let url = url.replace('\\', "\\\\").replace('"', "\\\"");
    from_yaml("c.yaml", &format!("store: {{ url: \"{url}\" }}"))
}

fn postgres(url: &str) -> Postgres {
    match with_url(url) {
        Ok(Config { store: Store { url: StoreUrl::Postgres(postgres), .. }, .. }) => *postgres,
        other => panic!("{url}: {other:?}"),
    }
}

/// The message without its place.
fn refusal(url: &str) -> String {
    let message = with_url(url).expect_err(url).to_string();
    let place = "c.yaml:1:15: store.url: ";
    message.strip_prefix(place).unwrap_or_else(|| panic!("{url}: {message}")).to_owned()
}

const VERIFIED: PostgresTls = PostgresTls::Verified { authorities: None };

#[test]
fn nothing_is_stored_by_default() {
    let default = Config::default().store;
    assert_eq!(default, Store { url: StoreUrl::None, keep: Duration::from_hours(2160) });
    assert_eq!(with_url("none").unwrap(), Config::default());
}

#[test]
fn a_path_of_sqlite_is_taken_as_it_is() {
    let config = with_url("sqlite:/var/lib/my%20gateway/history.db").unwrap();
    let path = Path::new("/var/lib/my%20gateway/history.db");
    assert_eq!(config.store.url, StoreUrl::Sqlite(path.to_owned()));
}

#[test]
fn the_parts_of_a_postgres_url_are_decoded() {
    for (url, expected) in [
        ("postgres://u@db.example/d", ("db.example", 5432, "u", "d")),
        ("postgresql://u@db.example:6432/d", ("db.example", 6432, "u", "d")),
        ("  postgres://a%40b%3A@DB_1/my%2Fd%20b ", ("DB_1", 5432, "a@b:", "my/d b")),
        ("postgres://u@[2001:DB8::1]:1/d", ("2001:db8::1", 1, "u", "d")),
        ("postgres://u@[::1]/d?sslmode=disable", ("::1", 5432, "u", "d")),
        ("postgres://u@10.0.0.1/d?", ("10.0.0.1", 5432, "u", "d")),
        ("postgres://u@%2Frun%2Fpostgresql/d", ("/run/postgresql", 5432, "u", "d")),
        ("postgres://u@/d?host=/run/postgresql", ("/run/postgresql", 5432, "u", "d")),
        ("postgres://u@:65535/d?host=%2Frun", ("/run", 65535, "u", "d")),
        ("postgres://u@/d?host=/run&port=65535", ("/run", 65535, "u", "d")),
        ("postgres://u@/d?sslmode=require&host=db", ("db", 5432, "u", "d")),
        ("postgres://%C3%A9@h/%c3%a9+", ("h", 5432, "é", "é+")),
    ] {
        let postgres = postgres(url);
        let Postgres { host, port, user, database, .. } = &postgres;
        assert_eq!((host.as_str(), *port, user.as_str(), database.as_str()), expected, "{url}");
        assert_eq!(StoreUrl::Postgres(Box::new(postgres)).to_string(), url.trim());
    }
}

#[test]
fn a_connection_that_leaves_the_machine_is_encrypted_and_checked_unless_it_is_told_not_to_be() {
    for (rest, tls) in [
        ("db/d", VERIFIED),
        ("10.0.0.1/d", VERIFIED),
        ("localhost.example/d", VERIFIED),
        ("localhost/d", PostgresTls::Disabled),
        ("LocalHost/d", PostgresTls::Disabled),
        ("127.1.2.3/d", PostgresTls::Disabled),
        ("[::1]/d", PostgresTls::Disabled),
        ("[::ffff:127.0.0.1]/d", PostgresTls::Disabled),
        ("/d?host=/run", PostgresTls::Disabled),
        ("/d?host=/run&sslmode=disable", PostgresTls::Disabled),
        ("db/d?sslmode=disable", PostgresTls::Disabled),
        ("127.0.0.1/d?sslmode=require", VERIFIED),
        ("localhost/d?sslmode=verify-ca", VERIFIED),
        ("db/d?sslmode=verify-full", VERIFIED),
        ("localhost/d?sslrootcert=system", VERIFIED),
    ] {
        assert_eq!(postgres(&format!("postgres://u@{rest}")).tls, tls, "{rest}");
    }
}

#[test]
fn whoever_sends_records_unencrypted_is_warned() {
    let warns = |url: &str| {
        let warnings = with_url(url).unwrap().warnings();
        warnings.iter().any(|warning| warning.to_string().starts_with("`store.url`: records go"))
    };
    assert!(warns("postgres://u@db/d?sslmode=disable"));
    assert!(!warns("postgres://u@db/d"));
    assert!(!warns("postgres://u@127.0.0.1/d"));
    assert!(!warns("postgres://u@/d?host=/run"));
    assert!(!warns("sqlite:/x"));
}

#[test]
fn a_wrong_address_is_refused_with_its_remedy() {
    let forms = "`none`, `sqlite:/absolute/path/history.db` or `postgres://user@host/database`";
    assert_eq!(refusal(""), format!("is empty; give {forms}"));
    for url in ["history.db", "/history.db", "mysql://u@h/d", "postgres:u@h/d", "None", "jdbc:x"] {
        assert_eq!(refusal(url), format!("is no address of a store; write it as {forms}"), "{url}");
    }
    let sqlite = "write `sqlite:/absolute/path/history.db`";
    for (url, message) in [
        ("sqlite:", format!("`` is not an absolute path; {sqlite}")),
        ("sqlite::memory:", format!("`:memory:` is not an absolute path; {sqlite}")),
        ("sqlite:./x.db", format!("`./x.db` is not an absolute path; {sqlite}")),
        (
            "sqlite:///x.db",
            "`///x.db` begins with `//`; write `sqlite:` and the absolute path after it".to_owned(),
        ),
        (
            "sqlite:/x.db?mode=ro",
            "`/x.db?mode=ro` has a query (`?`) or a fragment (`#`); remove it".to_owned(),
        ),
        (
            "sqlite:/var/lib/",
            "`/var/lib/` is a directory; add the name of a file, such as `history.db`".to_owned(),
        ),
    ] {
        assert_eq!(refusal(url), message, "{url}");
    }
    let long = format!("sqlite:/{}", "x".repeat(4096));
    assert_eq!(refusal(&long), "is longer than 4096 bytes; shorten it");
}

#[test]
fn a_wrong_postgres_url_is_refused_with_its_remedy() {
    let form = "write it as `postgres://user@host/database`";
    let socket = "/x".repeat(50);
    for (rest, message) in [
        ("", format!("names no user; {form}")),
        ("h/d", format!("names no user; {form}")),
        ("@h/d", format!("names no user; {form}")),
        ("u@h", format!("names no database; {form}")),
        ("u@h/", format!("names no database; {form}")),
        ("u@/d", format!("names no host; {form}, or with `?host=/directory` of a Unix socket")),
        (
            "u@h/d/e",
            "names more than one database; percent-encode `/` in a name (`%2F`)".to_owned(),
        ),
        ("u@v@h/d", "contains more than one `@`; percent-encode those in names (`%40`)".to_owned()),
        (
            "u@h/d#e",
            "contains a fragment (`#`); remove it, or percent-encode it (`%23`)".to_owned(),
        ),
        (
            "u@h/d%",
            "has a database with a `%` without two hexadecimal digits after it; write \
            `%25` for the character itself"
                .to_owned(),
        ),
        (
            "u%zz@h/d",
            "has a user with a `%` without two hexadecimal digits after it; write `%25` \
            for the character itself"
                .to_owned(),
        ),
        ("u%ff@h/d", "has a user that is not UTF-8".to_owned()),
        ("u@h/d%00", "has a database with a control character; remove it".to_owned()),
        ("u@h:0/d", "has a port that is not a number from 1 to 65535".to_owned()),
        ("u@h:/d", "has a port that is not a number from 1 to 65535".to_owned()),
        ("u@h:+1/d", "has a port that is not a number from 1 to 65535".to_owned()),
        ("u@h:65536/d", "has a port that is not a number from 1 to 65535".to_owned()),
        (
            "u@::1/d",
            "has more than one `:` after the `@`; write an IPv6 address in brackets, such \
            as `[::1]`"
                .to_owned(),
        ),
        (
            "u@[::1/d",
            "has more than one `:` after the `@`; write an IPv6 address in brackets, \
            such as `[::1]`"
                .to_owned(),
        ),
        ("u@[x]/d", "has something in brackets that is no IPv6 address".to_owned()),
        ("u@[::1]x/d", "has something in brackets that is no IPv6 address".to_owned()),
        (
            "u@a:1,b:2/d",
            "names several hosts; name one: an address that always leads to the primary".to_owned(),
        ),
        (
            "u@/d?host=a,b",
            "names several hosts; name one: an address that always leads to the primary".to_owned(),
        ),
        ("u@h:1/d?port=1", "names a port before `?` and another after; keep one".to_owned()),
        ("u@h/d?port=x", "has a port that is not a number from 1 to 65535".to_owned()),
        ("u@h/d?host=i", "names a host before `?` and another after; keep one".to_owned()),
        (
            "u@h é/d",
            "has a host that is no host name of ASCII letters, digits, `-`, `.` and `_`, \
            no address, and no directory of a Unix socket, which begins with `/`"
                .to_owned(),
        ),
        (
            &format!("u@/d?host={socket}"),
            "has a directory of a Unix socket that is longer than 92 bytes; shorten it".to_owned(),
        ),
        (
            "u@h/d?sslmode=prefer",
            "`sslmode=prefer` would go on without encryption; write \
            `verify-full`, or `disable` where nobody can listen"
                .to_owned(),
        ),
        (
            "u@h/d?sslmode=on",
            "has an `sslmode` that is none of `disable`, `require`, `verify-ca` \
            and `verify-full`"
                .to_owned(),
        ),
        ("u@h/d?sslmode", format!("names no value of `sslmode`; {form}")),
        (
            "u@h/d?sslmode=disable&sslmode=require",
            "the parameter `sslmode` appears twice; keep one".to_owned(),
        ),
        (
            "u@h/d?sslmode=disable&sslrootcert=/ca",
            "has `sslrootcert` beside `sslmode=disable`; keep one of them".to_owned(),
        ),
        (
            "u@/d?host=/run&sslmode=require",
            "asks for TLS over a Unix socket, which does without; \
            remove `sslmode` and `sslrootcert`"
                .to_owned(),
        ),
        (
            "u@h/d?sslrootcert=/missing/ca",
            "cannot read /missing/ca: there is no such file; give \
            the path of a readable file"
                .to_owned(),
        ),
        (
            "u@h/d?application_name=x",
            "the parameter `application_name` is not supported; remove \
            it; known are `host`, `port`, `sslmode` and `sslrootcert`"
                .to_owned(),
        ),
    ] {
        assert_eq!(refusal(&format!("postgres://{rest}")), message, "{rest}");
    }
}

#[test]
fn a_password_in_the_url_is_refused_without_being_shown() {
    let message = "contains a password; write it into a file and name that in \
        `store.password_file`";
    for rest in ["u:hunter2@h/d", "u:@h/d", ":hunter2@h/d", "u@h/d?password=hunter2"] {
        assert_eq!(refusal(&format!("postgres://{rest}")), message, "{rest}");
    }
    let not_encoded = "contains an `@` after the host; percent-encode it (`%40`); a password \
        belongs in the file of `store.password_file`, not in the URL";
    for rest in ["u:hunter2/@h/d", "u:?hunter2@h/d", "u:#hunter2@h/d", "u@h/d?hunter2@x"] {
        assert_eq!(refusal(&format!("postgres://{rest}")), not_encoded, "{rest}");
    }
}

#[test]
fn the_password_is_read_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let load = |url: &str| {
        let path = path.display();
        from_yaml("c", &format!("store: {{ password_file: {path}, url: '{url}' }}"))
    };
    std::fs::write(&path, " hunter 2 \r\n").unwrap();
    let config = load("postgres://u@h/d").unwrap();
    let StoreUrl::Postgres(postgres) = &config.store.url else { panic!() };
    assert_eq!(postgres.password.as_ref().unwrap().expose_secret(), " hunter 2 ");
    assert_eq!(postgres.password_file.as_deref(), Some(path.as_path()));
    assert!(!format!("{config:?}{}", config.to_yaml()).contains("hunter"));

    for url in ["none", "sqlite:/x"] {
        let message = load(url).unwrap_err().to_string();
        assert!(
            message.ends_with(
                "store.password_file: needs `store.url` with a `postgres://` URL beside it"
            ),
            "{message}"
        );
    }
    // What is wrong with the URL is said once.
    assert_eq!(load("x").unwrap_err().errors.len(), 1);
    std::fs::write(&path, "hunter2\nhunter2\n").unwrap();
    let message = load("postgres://u@h/d").unwrap_err().to_string();
    assert!(message.contains("the secret contains a control character"), "{message}");
    std::fs::remove_file(&path).unwrap();
    let message = load("postgres://u@h/d").unwrap_err().to_string();
    assert!(message.contains("there is no such file"), "{message}");
}

#[test]
fn there_is_no_key_for_the_password_itself() {
    let message = from_yaml("c", "store: { password: hunter2 }").unwrap_err().to_string();
    let remedy = "store.password: unknown key; did you mean `password_file`?";
    assert_eq!(message, format!("c:1:10: {remedy}"));
    let environment = [("INCIDENT_GATEWAY__STORE__PASSWORD", "hunter2")].into_iter().collect();
    let message = load(&Overrides::default(), &environment).unwrap_err().to_string();
    assert!(message.ends_with("did you mean `INCIDENT_GATEWAY__STORE__PASSWORD_FILE`?"));
}

#[test]
fn records_are_kept_for_a_second_at_least() {
    let keep = |text: &str| from_yaml("c", &format!("store: {{ keep: {text} }}"));
    assert_eq!(keep("1s").unwrap().store.keep, Duration::from_secs(1));
    assert_eq!(keep("90d").unwrap().store.keep, Config::default().store.keep);
    for text in ["999ms", "0s", "876001h"] {
        let message = keep(text).unwrap_err().to_string();
        assert!(message.contains("is out of range; give 1s to 876000h"), "{message}");
    }
}

proptest! {
    #[test]
    fn no_address_panics_and_each_that_is_accepted_is_displayed(
        scheme in "|sqlite:/?|postgres(ql)?://",
        rest in "\\PC{0,40}|([a-zé%@:/?#&=,\\[\\]-]|host=|sslmode=|%2F|u@h/d){0,12}",
    ) {
        let url = format!("{scheme}{rest}");
        if let Ok(config) = with_url(&url) {
            prop_assert_eq!(config.store.url.to_string(), url.trim());
        }
    }

    #[test]
    fn no_password_is_shown(
        scheme in "postgres(ql)?",
        user in "[a-z%@:/?#]{0,5}",
        before in "[a-z0-9@:/?#\\[\\]%,&=;]{0,5}",
        after in "[a-z0-9@:/?#\\[\\]%,&=;]{0,5}",
        rest in "(h|\\[::1\\]|)(:5432)?(/d)?(\\?sslmode=disable|\\?x=1)?",
    ) {
        let url = format!("{scheme}://{user}:{before}hunter2{after}@{rest}");
        let errors = with_url(&url).unwrap_err();
        prop_assert!(!format!("{errors} {errors:?}").contains("hunter2"), "{url}: {errors}");
    }
}
