//! What a file's name says about its content.

use std::path::Path;

/// How the records of a file are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileFormat {
    /// One JSON document (`.json`).
    Json,
    /// A JSON value a line (`.ndjson`, `.jsonl`).
    Lines,
    /// Comma-separated values with a header row (`.csv`).
    Csv,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compression {
    /// Not at all.
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

impl FileFormat {
    /// The format of a file of this name, and its compression; `None` if the name does not end like
    /// one of a known format. The pattern of a glob may be given as well.
    #[must_use]
    pub fn of(name: &Path) -> Option<(Self, Compression)> {
        let name = name.file_name()?.to_str()?.to_ascii_lowercase();
        let (name, compression) = if let Some(name) = name.strip_suffix(".gz") {
            (name, Compression::Gzip)
        } else if let Some(name) = name.strip_suffix(".zst") {
            (name, Compression::Zstd)
        } else {
            (&*name, Compression::None)
        };
        let (_, extension) = name.rsplit_once('.')?;
        let format = match extension {
            "json" => Self::Json,
            "ndjson" | "jsonl" => Self::Lines,
            "csv" => Self::Csv,
            _ => return None,
        };
        Some((format, compression))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides() {
        for (name, expected) in [
            ("a.json", Some((FileFormat::Json, Compression::None))),
            ("/data/a.b.JSON.GZ", Some((FileFormat::Json, Compression::Gzip))),
            ("a.ndjson.zst", Some((FileFormat::Lines, Compression::Zstd))),
            ("a.jsonl", Some((FileFormat::Lines, Compression::None))),
            ("/data/*/badge-*.csv", Some((FileFormat::Csv, Compression::None))),
            ("a.csv.gz", Some((FileFormat::Csv, Compression::Gzip))),
            ("a.gz", None),
            ("a.xml", None),
            ("csv", None),
            ("a.csv.gz.zst", None),
            ("", None),
        ] {
            assert_eq!(FileFormat::of(Path::new(name)), expected, "{name}");
        }
    }
}
