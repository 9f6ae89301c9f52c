//! The data that the demo upstream serves.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use bytes::Bytes;

use super::Endpoint;
use super::generate::{Plan, live_page};
use super::list_query::ListQuery;

/// The kind of data that the endpoints serve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Data {
    /// Data that looks like production's: the incidents of about the last day, up to now. Every few
    /// seconds a new one arrives and the oldest is dropped.
    Live {
        /// Another seed gives other data.
        seed: u64,
    },
    /// A fixed set of records, generated at the start, whose timestamps end at the start.
    Generated(Plan),
    /// The data of `fixtures/`, embedded in the binary, with all the edge cases of the tests.
    Fixtures,
    /// One file for each endpoint, `<name>.json`, served as it is. Those of the mapped sources may
    /// be absent.
    Directory(PathBuf),
}

impl Default for Data {
    fn default() -> Self {
        Self::Live { seed: 0 }
    }
}

impl Data {
    /// Reads or generates the bodies. `now` is the time of the start.
    pub(super) fn load(&self, now: SystemTime) -> io::Result<Bodies> {
        let fixed = match self {
            Self::Live { seed } => return Ok(Bodies::Live { seed: *seed }),
            Self::Generated(plan) => {
                let bodies = Endpoint::PLAIN.map(|endpoint| plan.body_at(endpoint, now).into());
                return Ok(Bodies::Generated { plan: *plan, end: now, plain: bodies.into() });
            }
            Self::Fixtures => {
                Endpoint::ALL.map(|endpoint| Some(Bytes::from_static(fixture(endpoint)))).into()
            }
            Self::Directory(directory) => Endpoint::ALL
                .into_iter()
                .map(|endpoint| read(directory, endpoint))
                .collect::<io::Result<_>>()?,
        };
        Ok(Bodies::Fixed(fixed))
    }
}

/// Reads an endpoint's file; `None` if it may be absent, and is.
fn read(directory: &Path, endpoint: Endpoint) -> io::Result<Option<Bytes>> {
    let path = directory.join(format!("{endpoint}.json"));
    match fs::read(&path) {
        Ok(body) => Ok(Some(body.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !endpoint.is_plain() => Ok(None),
        Err(error) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "cannot read {}: {error}; the directory must hold one <source>.json for each of \
                 the eight endpoints",
                path.display()
            ),
        )),
    }
}

/// The bodies of the endpoints.
pub(super) enum Bodies {
    /// By [`Endpoint::index`]; `None` for an endpoint that is not served.
    Fixed(Vec<Option<Bytes>>),
    /// Fixed for the plain endpoints, by [`Endpoint::index`]; the others' parts are generated for
    /// each request.
    Generated { plan: Plan, end: SystemTime, plain: Vec<Bytes> },
    /// Generated for each request.
    Live { seed: u64 },
}

impl Bodies {
    /// Whether the endpoint is served.
    pub(super) fn has(&self, endpoint: Endpoint) -> bool {
        !matches!(self, Self::Fixed(bodies) if bodies[endpoint.index()].is_none())
    }

    /// What the query asks for of the endpoint's body at `now`; empty if it is not served.
    pub(super) fn get(&self, endpoint: Endpoint, query: &ListQuery, now: SystemTime) -> Bytes {
        match self {
            Self::Fixed(bodies) => bodies[endpoint.index()].clone().unwrap_or_default(),
            Self::Generated { plan, end, plain } => {
                let plain = plain.get(endpoint.index()).cloned();
                plain.unwrap_or_else(|| plan.page_at(endpoint, *end, query).into())
            }
            Self::Live { seed } => live_page(endpoint, *seed, now, query).into(),
        }
    }

    /// The body of an endpoint, if it is the same for every request.
    pub(super) fn fixed(&self, endpoint: Endpoint) -> Option<&Bytes> {
        match self {
            Self::Fixed(bodies) => bodies[endpoint.index()].as_ref(),
            Self::Generated { plain, .. } => plain.get(endpoint.index()),
            Self::Live { .. } => None,
        }
    }
}

fn fixture(endpoint: Endpoint) -> &'static [u8] {
    match endpoint {
        Endpoint::Identities => include_bytes!("../../fixtures/identities.json"),
        Endpoint::Denial => include_bytes!("../../fixtures/denial.json"),
        Endpoint::Intrusion => include_bytes!("../../fixtures/intrusion.json"),
        Endpoint::Executable => include_bytes!("../../fixtures/executable.json"),
        Endpoint::Misuse => include_bytes!("../../fixtures/misuse.json"),
        Endpoint::Unauthorized => include_bytes!("../../fixtures/unauthorized.json"),
        Endpoint::Probing => include_bytes!("../../fixtures/probing.json"),
        Endpoint::Other => include_bytes!("../../fixtures/other.json"),
        Endpoint::People => include_bytes!("../../fixtures/people.json"),
        Endpoint::Signin => include_bytes!("../../fixtures/signin.json"),
        Endpoint::Mail => include_bytes!("../../fixtures/mail.json"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_served_as_it_is_and_a_missing_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let data = Data::Directory(directory.path().to_owned());
        let now = SystemTime::now();
        let get = |bodies: &Bodies, endpoint| bodies.get(endpoint, &ListQuery::default(), now);
        for endpoint in Endpoint::PLAIN {
            let error = data.load(now).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&format!("{endpoint}.json")), "{error}");
            fs::write(directory.path().join(format!("{endpoint}.json")), endpoint.name()).unwrap();
        }
        let bodies = data.load(now).unwrap();
        assert_eq!(get(&bodies, Endpoint::Other), "other");
        assert!(bodies.has(Endpoint::Other) && !bodies.has(Endpoint::Mail));
        fs::write(directory.path().join("mail.json"), "mail").unwrap();
        assert_eq!(get(&data.load(now).unwrap(), Endpoint::Mail), "mail");
    }
}
