//! Faults that an endpoint can have.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use http::{HeaderValue, StatusCode};

/// What an endpoint does instead of sending its data. It happens after the call's latency, and only
/// to calls with valid credentials.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Sends nothing, not even a status.
    Hang,
    /// Sends half of the body, then nothing; the connection stays open.
    Stall,
    /// Sends this status with a text body; 401 with a challenge.
    Status(StatusCode),
    /// Sends half of the announced body, then closes the connection.
    CutOff,
    /// Sends the body at this many bytes per second.
    Drip(NonZeroU32),
    /// Sends 200 with an invalid body.
    Garbage(Garbage),
    /// Redirects (302) to this URL, absolute or relative.
    Redirect(HeaderValue),
    /// Sends 200 with an empty body.
    Empty,
    /// Sends a body of spaces without end, as fast as the client reads.
    Endless,
    /// Sends less than 2 MB of gzip, whatever the client accepts, that decompresses to
    /// [`Fault::BOMB_BYTES`].
    Bomb,
    /// Answers every second call with 500, beginning with the first.
    Flap,
}

impl Fault {
    /// The decompressed size of the body of [`Fault::Bomb`].
    pub const BOMB_BYTES: usize = 256 << 20;

    /// The flag of `demo-upstream` that sets it.
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

/// The bodies of [`Fault::Garbage`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Garbage {
    /// A sign-in page, `text/html`.
    Html,
    /// The first half of the right body, as if that were all of it.
    Json,
    /// Valid JSON of another shape.
    Shape,
    /// JSON with two bytes that are not UTF-8.
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

/// The error for an unknown kind of garbage.
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
