//! The messages: what is wrong, and how to correct it.

use std::fmt;

use super::ConfigErrorKind;

impl fmt::Display for ConfigErrorKind {
    #[expect(clippy::too_many_lines, reason = "one message for each kind")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let did_you_mean = |nearest: &Option<String>| match nearest {
            Some(name) => format!("; did you mean `{name}`?"),
            None => String::new(),
        };
        match self {
            Self::Unreadable { path, reason } => {
                write!(f, "cannot read {path}: {reason}; give the path of a readable file")
            }
            Self::TooLarge { path, limit } => {
                write!(f, "{path} is larger than {limit} bytes; is it the right file?")
            }
            Self::FileNotUtf8 { path } => write!(f, "{path} is not UTF-8 text; save it as UTF-8"),
            Self::FileUtf16 { path } => write!(f, "{path} is UTF-16 text; save it as UTF-8"),
            Self::VariableNotUtf8 => write!(f, "the value is not UTF-8 text"),
            Self::EmptySecretFile { path } => write!(f, "{path} is empty; write the value into it"),
            Self::InvalidFile { path, detail } => write!(f, "{path} {detail}"),
            Self::InvalidLine { path, line, detail } => write!(f, "{path}:{line}: {detail}"),
            Self::Syntax(reason) => write!(f, "invalid YAML: {reason}"),
            Self::SecondDocument => {
                write!(
                    f,
                    "a second document begins here; remove this `---` and what follows, or merge \
                     the two"
                )
            }
            Self::Tag => write!(f, "YAML tags (`!…`) are not supported; remove it"),
            Self::AliasBomb => {
                write!(f, "the aliases (`*…`) expand to too much text; write the values out")
            }
            Self::AliasOfItself => {
                write!(
                    f,
                    "the alias (`*…`) refers to a value that contains it; write the value out"
                )
            }
            Self::KeyNotText => write!(f, "a key must be plain text, not a list or a map"),
            Self::DuplicateKey { key, first_line } => {
                write!(f, "{key} appears a second time (first on line {first_line}); keep one")
            }
            Self::UnknownKey { nearest: None, known } => {
                write!(f, "unknown key; known here: {known}")
            }
            Self::UnknownKey { nearest, .. } => write!(f, "unknown key{}", did_you_mean(nearest)),
            Self::UnknownVariable { nearest: None } => {
                write!(f, "unknown variable; unset it, or see docs/CONFIGURATION.md for the names")
            }
            Self::UnknownVariable { nearest } => {
                write!(f, "unknown variable{}", did_you_mean(nearest))
            }
            Self::Contradiction { other } => write!(f, "{other} sets the same; unset one of them"),
            Self::WrongShape { expected, found } => write!(f, "needs {expected}, not {found}"),
            Self::NoUnit { found } => {
                write!(
                    f,
                    "`{found}` has no unit; write `{found}s` for seconds, `{found}ms` for \
                     milliseconds"
                )
            }
            Self::Unparsable { found, expected } => write!(f, "{found} is not {expected}"),
            Self::OutOfRange { found, from, to } => {
                write!(f, "{found} is out of range; give {from} to {to}")
            }
            Self::TooMany { found, most } => write!(f, "has {found} items; give at most {most}"),
            Self::Empty { expected } => write!(f, "is empty; give {expected}"),
            Self::MissingKey { key } => write!(f, "the key `{key}` is missing; add it"),
            Self::NotAUrl(reason) => {
                write!(
                    f,
                    "is not a URL ({reason}); write it as https://host:port (not shown: it may \
                     hold a password)"
                )
            }
            Self::UrlScheme => {
                write!(
                    f,
                    "has another scheme than `http` and `https`; write it as https://host:port or \
                     http://host:port"
                )
            }
            Self::UrlCredentials { remedy } => {
                write!(f, "contains a user name or a password before the `@`; {remedy}")
            }
            Self::UrlQuery => write!(f, "contains a query (`?`) or a fragment (`#`); remove it"),
            Self::UsernameColon => {
                write!(
                    f,
                    "a user name cannot contain `:` (RFC 7617); a password belongs in \
                     ELEVATE_PASSWORD"
                )
            }
            Self::ControlCharacter => {
                write!(
                    f,
                    "contains a control character, such as a line break, which Basic auth forbids \
                     (RFC 7617)"
                )
            }
            Self::DuplicateSource { name } => {
                write!(f, "another source has the name `{name}`; choose another")
            }
            Self::ReservedSource { name } => {
                write!(f, "`{name}` is the name of an identity table; choose another")
            }
            Self::ReservedUpstream => {
                write!(f, "`default` is the upstream in the section `upstream`; set it there")
            }
            Self::SameVariables { other } => {
                write!(f, "the upstream `{other}` has the same variables; choose another name")
            }
            Self::UnknownUpstream { found, nearest: None } => {
                write!(f, "there is no upstream {found}; add it to `upstreams`")
            }
            Self::UnknownUpstream { found, nearest } => {
                write!(f, "there is no upstream {found}{}", did_you_mean(nearest))
            }
            Self::SameListener { admin } => {
                write!(
                    f,
                    "both listeners would use one address (`admin_listen` is {admin}); give each \
                     its own port"
                )
            }
            Self::StaleBelowTtl { stale_for, ttl } => write!(
                f,
                "data would be dropped before it is refreshed: `cache.stale_for` is {stale_for}, \
                 `cache.ttl` is {ttl}; \
                 make `cache.stale_for` at least {ttl}"
            ),
            Self::MissingCredentials { missing, used_by } => write!(
                f,
                "no credentials for the {} ({missing}); {}set ELEVATE_USERNAME and \
                 ELEVATE_PASSWORD (or \
                 ELEVATE_USERNAME_FILE and ELEVATE_PASSWORD_FILE to read them from files), or try \
                 it with `--demo`",
                if used_by.is_empty() { "upstream" } else { "default upstream" },
                other_upstream(used_by),
            ),
            Self::IncompleteCredentials { given, missing } => {
                write!(f, "no credentials for the upstream: `{given}` is set, `{missing}` is not")
            }
            Self::MaskedSecret { path } => write!(
                f,
                "the secret `{path}` is masked, as `check` prints it; write the secret, or the \
                 path of a file with it (`…_file`)"
            ),
            Self::Needs { others } => write!(f, "needs {others} beside it"),
            Self::Excludes { other } => write!(f, "excludes `{other}`; keep one of them"),
            Self::NotALine => {
                write!(f, "contains a control character, such as a line break; remove it")
            }
            Self::ControlCharacterInSecret => {
                write!(
                    f,
                    "the secret contains a control character, such as a line break; remove it"
                )
            }
            Self::NotAHeaderName => write!(
                f,
                "is not the name of a header (RFC 9110: ASCII letters, digits and \
                 !#$%&'*+-.^_`|~)"
            ),
            Self::GatewayHeader => {
                write!(f, "this header is set by the gateway alone; remove it")
            }
            Self::DuplicateHeader => {
                write!(f, "another spelling of this header appears above; keep one")
            }
            Self::NotAHeaderValue => write!(
                f,
                "contains a character that a header cannot hold; use visible ASCII characters"
            ),
            Self::Detail(detail) => f.write_str(detail),
        }
    }
}

/// Which of these sources and tables may use the default upstream by mistake, if there are any.
fn other_upstream(used_by: &[String]) -> String {
    /// The most that are named.
    const MAX_NAMES: usize = 10;
    let names: Vec<_> = used_by.iter().take(MAX_NAMES).map(|name| format!("`{name}`")).collect();
    let who = match names.as_slice() {
        [] => return String::new(),
        [only] => format!("{only} uses it"),
        _ if used_by.len() > MAX_NAMES => {
            format!("{} and {} more use it", names.join(", "), used_by.len() - MAX_NAMES)
        }
        [first @ .., last] => format!("{} and {last} use it", first.join(", ")),
    };
    format!("{who}: set `upstream: NAME` there if another one is meant, or ")
}
