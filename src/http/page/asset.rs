//! What the pages load: style, script, icon. They change only with the binary.

use http::Response;
use http::request::Parts;

use crate::http::body::Body;
use crate::http::context::Context;
use crate::http::static_content;

/// A file that is part of the binary.
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

/// The asset of that name.
pub(super) fn find(name: &str) -> Option<&'static Asset> {
    [&CSS, &JS, &ICON].into_iter().find(|asset| asset.name == name)
}

impl Asset {
    /// Where it is; another place for other content, so that no browser takes an old one from its
    /// cache.
    pub(super) fn url(&self) -> String {
        format!(
            "/assets/{}?v={:016x}",
            self.name,
            xxhash_rust::xxh3::xxh3_64(self.content.as_bytes())
        )
    }

    pub(super) fn response(&self, request: &Parts, context: &Context) -> Response<Body> {
        static_content::response(self.content, self.content_type, request, context)
    }
}
