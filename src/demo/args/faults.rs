//! The flags of `demo-upstream` that set faults.

use std::collections::HashMap;
use std::fmt;

use http::{HeaderValue, StatusCode};

use crate::demo::Endpoint;
use crate::demo::endpoint::UnknownSource;
use crate::demo::fault::{Fault, Garbage, UnknownGarbage};

/// An endpoint and its fault.
type SourceFault = (Endpoint, Fault);

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Faults (repeat a flag for several sources; one fault a source)")]
pub(super) struct FaultArgs {
    /// Never answer
    #[arg(long, value_name = "SOURCE", value_parser = at(Fault::Hang))]
    hang: Vec<SourceFault>,
    /// Stop in the middle of the body, with the connection open
    #[arg(long, value_name = "SOURCE", value_parser = at(Fault::Stall))]
    stall: Vec<SourceFault>,
    /// Close the connection in the middle of the body
    #[arg(long, value_name = "SOURCE", value_parser = at(Fault::CutOff))]
    cut_off: Vec<SourceFault>,
    /// Send the body at this many bytes per second [default: 100]
    #[arg(long, value_name = "SOURCE[=BYTES]", value_parser = drip)]
    drip: Vec<SourceFault>,
    /// Answer with this status, 201 to 599
    #[arg(long, value_name = "SOURCE=CODE", value_parser = status)]
    status: Vec<SourceFault>,
    /// Redirect (302) to this URL; the source's own path makes a loop
    #[arg(long, value_name = "SOURCE=URL", value_parser = redirect)]
    redirect: Vec<SourceFault>,
    /// Answer 200 with the wrong body: html, json (half of it), shape, utf8 or deep [default: html]
    #[arg(long, value_name = "SOURCE[=KIND]", value_parser = garbage)]
    garbage: Vec<SourceFault>,
    /// Answer 200 with an empty body
    #[arg(long, value_name = "SOURCE", value_parser = at(Fault::Empty))]
    empty: Vec<SourceFault>,
    /// Send a body without end
    #[arg(long, value_name = "SOURCE", value_parser = at(Fault::Endless))]
    endless: Vec<SourceFault>,
    /// Send a little gzip that decompresses to 256 MiB
    #[arg(long, value_name = "SOURCE", value_parser = at(Fault::Bomb))]
    bomb: Vec<SourceFault>,
    /// Answer every second call with 500
    #[arg(long, value_name = "SOURCE", value_parser = at(Fault::Flap))]
    flap: Vec<SourceFault>,
}

impl FaultArgs {
    pub(super) fn by_endpoint(self) -> Result<HashMap<Endpoint, Fault>, TwoFaults> {
        let requested = [
            self.hang,
            self.stall,
            self.cut_off,
            self.drip,
            self.status,
            self.redirect,
            self.garbage,
            self.empty,
            self.endless,
            self.bomb,
            self.flap,
        ];
        let mut faults = HashMap::new();
        for (endpoint, fault) in requested.into_iter().flatten() {
            let second = fault.flag();
            if let Some(first) = faults.insert(endpoint, fault) {
                return Err(TwoFaults { endpoint, first: first.flag(), second });
            }
        }
        Ok(faults)
    }
}

/// The error for two faults of one source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TwoFaults {
    endpoint: Endpoint,
    first: &'static str,
    second: &'static str,
}

impl fmt::Display for TwoFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, first, second } = self;
        if first == second {
            write!(f, "{first} names {endpoint} twice; give it once")
        } else {
            write!(f, "both {first} and {second} name {endpoint}; a source has at most one fault")
        }
    }
}

impl std::error::Error for TwoFaults {}

/// A parser for the name of a source that has this fault.
fn at(fault: Fault) -> impl Fn(&str) -> Result<SourceFault, UnknownSource> + Clone {
    move |source| Ok((source.parse()?, fault.clone()))
}

fn drip(text: &str) -> Result<SourceFault, String> {
    let (source, bytes) = text.split_once('=').unwrap_or((text, "100"));
    let per_second = bytes
        .parse()
        .map_err(|_| format!("{bytes:?} is not a number of bytes per second, from 1 up"))?;
    at_source(source, Fault::Drip(per_second))
}

fn status(text: &str) -> Result<SourceFault, String> {
    let (source, code) = text.split_once('=').ok_or("give a status, as in denial=503")?;
    let status =
        code.parse().ok().filter(|status| (201..600).contains(&StatusCode::as_u16(status)));
    at_source(
        source,
        Fault::Status(status.ok_or_else(|| format!("{code:?} is not a status from 201 to 599"))?),
    )
}

fn redirect(text: &str) -> Result<SourceFault, String> {
    let (source, url) =
        text.split_once('=').ok_or("give a URL, as in denial=http://127.0.0.1:9/")?;
    let url =
        HeaderValue::from_str(url).map_err(|_| format!("{url:?} is not a valid header value"))?;
    at_source(source, Fault::Redirect(url))
}

fn garbage(text: &str) -> Result<SourceFault, String> {
    let (source, kind) = text.split_once('=').unwrap_or((text, "html"));
    let kind: Garbage = kind.parse().map_err(|error: UnknownGarbage| error.to_string())?;
    at_source(source, Fault::Garbage(kind))
}

fn at_source(source: &str, fault: Fault) -> Result<SourceFault, String> {
    at(fault)(source).map_err(|error| error.to_string())
}
