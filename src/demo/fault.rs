//! What can be made to go wrong at one endpoint.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use http::{HeaderValue, StatusCode};

/// What an endpoint does instead of answering. It shows after the call's latency, for calls with
/// the right credentials.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Nothing comes, not even a status.
    Hang,
    /// Half of the body comes, then nothing more; the connection stays open.
    Stall,
    /// This status, with a text for a body; 401 with its challenge.
    Status(StatusCode),
    /// Half of the announced body comes, then the connection closes.
    CutOff,
    /// The body comes at this many bytes a second.
    Drip(NonZeroU32),
    /// 200 with a body that is none of the upstream's.
    Garbage(Garbage),
    /// 302 to this URL, absolute or not.
    Redirect(HeaderValue),
    /// 200 with no body at all.
    Empty,
    /// The body begins, and goes on for ever (with spaces, as fast as the client reads).
    Endless,
    /// Less than 2 MB of gzip, whatever the client accepts, that decompresses to
    /// [`Fault::BOMB_SIZE`].
    Bomb,
    /// Every second call is answered 500, the first one among them.
    Flap,
}

impl Fault {
    /// How large the body of [`Fault::Bomb`] is once it is decompressed, in bytes.
    pub const BOMB_SIZE: usize = 256 << 20;

    /// The flag that asks for it.
    #[must_use]
    pub const fn flag(&self) -> &'static str {
        match self {
            Self::Hang => "--hang",
            Self::Stall => "--stall",
            Self::Status(_) => "--status",
            Self::CutOff => "--cut-off",
            Self::Drip(_) => "--drip",
            Self::Garbage(_) => "--garbage",
            Self::Redirect(_) => "--redirect",
            Self::Empty => "--empty",
            Self::Endless => "--endless",
            Self::Bomb => "--bomb",
            Self::Flap => "--flap",
        }
    }
}

/// Kinds of bodies that are not what the endpoint promises.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Garbage {
    /// A proxy's page, `text/html`.
    Html,
    /// The first half of the true body, its length as if that were all.
    Json,
    /// JSON of another shape.
    Shape,
    /// JSON but for two bytes that are not UTF-8.
    Utf8,
    /// JSON that nests 10,000 deep.
    Deep,
}

impl Garbage {
    const ALL: [(&'static str, Self); 5] = [
        ("html", Self::Html),
        ("json", Self::Json),
        ("shape", Self::Shape),
        ("utf8", Self::Utf8),
        ("deep", Self::Deep),
    ];
}

impl FromStr for Garbage {
    type Err = UnknownGarbage;

    fn from_str(name: &str) -> Result<Self, UnknownGarbage> {
        let found = Self::ALL.into_iter().find(|&(known, _)| known == name);
        found.map(|(_, garbage)| garbage).ok_or_else(|| UnknownGarbage(name.to_owned()))
    }
}

/// A name that no kind of garbage has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownGarbage(String);

impl fmt::Display for UnknownGarbage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown kind {:?}; the kinds are {}",
            self.0,
            Garbage::ALL.map(|(name, _)| name).join(", ")
        )
    }
}

impl std::error::Error for UnknownGarbage {}
