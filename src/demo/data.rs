//! The data that the demo upstream serves.

use std::path::PathBuf;
use std::time::SystemTime;
use std::{fs, io};

use bytes::Bytes;

use super::Endpoint;
use super::generate::{Plan, live_body};

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
    /// One file for each endpoint, `<name>.json`, served as it is.
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
        if let Self::Live { seed } = self {
            return Ok(Bodies::Live { seed: *seed });
        }
        let bodies = Endpoint::ALL.into_iter().map(|endpoint| self.fixed_body(endpoint, now));
        Ok(Bodies::Fixed(bodies.collect::<io::Result<_>>()?))
    }

    fn fixed_body(&self, endpoint: Endpoint, now: SystemTime) -> io::Result<Bytes> {
        match self {
            Self::Live { seed } => Ok(live_body(endpoint, *seed, now).into()),
            Self::Generated(plan) => Ok(plan.body_at(endpoint, now).into()),
            Self::Fixtures => Ok(Bytes::from_static(fixture(endpoint))),
            Self::Directory(directory) => {
                let path = directory.join(format!("{endpoint}.json"));
                fs::read(&path).map(Bytes::from).map_err(|error| {
                    let path = path.display();
                    io::Error::new(
                        io::ErrorKind::InvalidInput,
                        format!(
                            "cannot read {path}: {error}; the directory must hold one \
                             <source>.json for each of the eight endpoints"
                        ),
                    )
                })
            }
        }
    }
}

/// The bodies of the endpoints.
pub(super) enum Bodies {
    /// By [`Endpoint::index`].
    Fixed(Vec<Bytes>),
    /// Generated for each request.
    Live { seed: u64 },
}

impl Bodies {
    /// The endpoint's body at `now`.
    pub(super) fn get(&self, endpoint: Endpoint, now: SystemTime) -> Bytes {
        match self {
            Self::Fixed(bodies) => bodies[endpoint.index()].clone(),
            Self::Live { seed } => live_body(endpoint, *seed, now).into(),
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
        for endpoint in Endpoint::ALL {
            let error = data.load(now).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&format!("{endpoint}.json")), "{error}");
            fs::write(directory.path().join(format!("{endpoint}.json")), endpoint.name()).unwrap();
        }
        assert_eq!(data.load(now).unwrap().get(Endpoint::Other, now), "other");
    }
}
