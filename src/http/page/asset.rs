//! The style sheet, script and icon of the pages.

use http::Response;
use http::request::Parts;

use super::links::Root;
use crate::http::body::Body;
use crate::http::context::Context;
use crate::http::static_content;

/// A file that is embedded in the binary.
pub(super) struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

pub(super) const CSS: Asset = Asset {
    name: "page.css",
    content_type: "text/css; charset=utf-8",
    content: include_str!("../../../assets/page.css"),
};

pub(super) const JS: Asset = Asset {
    name: "page.js",
    content_type: "text/javascript; charset=utf-8",
    content: include_str!("../../../assets/page.js"),
};

pub(super) const ICON: Asset = Asset {
    name: "icon.svg",
    content_type: "image/svg+xml",
    content: include_str!("../../../assets/icon.svg"),
};

/// The asset with this name.
pub(super) fn find(name: &str) -> Option<&'static Asset> {
    [&CSS, &JS, &ICON].into_iter().find(|asset| asset.name == name)
}

impl Asset {
    /// The link from a page. It contains a hash of the content, so that browsers do not use a
    /// cached copy of another version.
    pub(super) fn url(&self, root: Root) -> String {
        format!(
            "{root}assets/{}?v={:016x}",
            self.name,
            xxhash_rust::xxh3::xxh3_64(self.content.as_bytes())
        )
    }

    pub(super) fn response(&self, request: &Parts, context: &Context) -> Response<Body> {
        static_content::response(self.content, self.content_type, request, context)
    }
}
