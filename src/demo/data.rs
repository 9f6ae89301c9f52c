//! Where the demo upstream's answers come from.

use std::path::PathBuf;
use std::{fs, io};

use bytes::Bytes;

use super::Endpoint;
use super::generate::Plan;

/// What the endpoints answer with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Data {
    /// The data set in `fixtures/`, which the binary carries.
    #[default]
    Fixtures,
    /// One file an endpoint, `<name>.json`, served as it is.
    Directory(PathBuf),
    /// Made at start.
    Generated(Plan),
}

impl Data {
    /// The body of each of [`Endpoint::ALL`].
    pub(super) fn bodies(&self) -> io::Result<Vec<Bytes>> {
        Endpoint::ALL.into_iter().map(|endpoint| self.body(endpoint)).collect()
    }

    fn body(&self, endpoint: Endpoint) -> io::Result<Bytes> {
        match self {
            Self::Fixtures => Ok(Bytes::from_static(embedded(endpoint))),
            Self::Directory(directory) => {
                let path = directory.join(format!("{endpoint}.json"));
                fs::read(&path).map(Bytes::from).map_err(|error| {
                    // What the caller asked for cannot be had; which of the two hardly matters.
                    let path = path.display();
                    let mend =
                        "the directory must hold one <source>.json for each of the eight endpoints";
                    io::Error::new(
                        io::ErrorKind::InvalidInput,
                        format!("cannot read {path}: {error}; {mend}"),
                    )
                })
            }
            Self::Generated(plan) => Ok(plan.body(endpoint).into()),
        }
    }
}

fn embedded(endpoint: Endpoint) -> &'static [u8] {
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
    fn the_binary_carries_the_fixtures() {
        let bodies = Data::Fixtures.bodies().unwrap();
        for endpoint in Endpoint::ALL {
            assert!(
                bodies[endpoint.index()] == crate::demo::generate::fixture(endpoint),
                "{endpoint}"
            );
        }
    }

    #[test]
    fn a_directory_is_served_as_it_is_and_what_it_lacks_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let data = Data::Directory(directory.path().to_owned());
        for endpoint in Endpoint::ALL {
            let error = data.bodies().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&format!("{endpoint}.json")), "{error}");
            fs::write(directory.path().join(format!("{endpoint}.json")), endpoint.name()).unwrap();
        }
        assert_eq!(data.bodies().unwrap()[7], "other");
    }
}
