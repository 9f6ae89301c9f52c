//! Simulated lists that are cut into pages in every way.

use proptest::prelude::*;

use super::*;

/// A server with a list of numbers, which it cuts into pages.
#[derive(Clone, Debug)]
struct Server {
    records: Vec<usize>,
    size: usize,
    /// After how many pages a record is put in front of the list.
    arrivals: usize,
    /// Whether the last page names a next one, which is empty.
    has_empty_end: bool,
    /// Whether the last page names itself as the next.
    names_itself: bool,
}

/// The number in the query at which a page begins.
fn start_of(request: &Request, name: &str) -> usize {
    let pairs: Vec<_> = request.url.query_pairs().into_owned().collect();
    let value = pairs.iter().find(|(other, _)| other == name);
    value.map_or(0, |(_, value)| value.parse().unwrap())
}

impl Server {
    /// The page that begins at this record.
    fn page(&self, start: usize, present: impl Fn(usize) -> Page) -> (Vec<usize>, Page) {
        let end = (start + self.size).min(self.records.len());
        let records = self.records.get(start..end).unwrap_or_default().to_vec();
        let is_last = end >= self.records.len();
        let page = if !is_last || (self.has_empty_end && start < self.records.len()) {
            present(end)
        } else if self.names_itself {
            present(start)
        } else {
            Page::default()
        };
        (records.clone(), Page { records: records.len(), ..page })
    }

    fn answer(&self, next: &NextPage, request: &Request) -> (Vec<usize>, Page) {
        match next {
            NextPage::Link => self.page(start_of(request, "from"), |start| Page {
                link: Some(format!("</v1/logs?from={start}>; rel=\"next\"")),
                ..Page::default()
            }),
            NextPage::Url(_) => self.page(start_of(request, "from"), |start| Page {
                next: Some(format!("\"?from={start}\"")),
                ..Page::default()
            }),
            NextPage::Cursor { .. } => self.page(start_of(request, "cursor"), |start| Page {
                next: Some(start.to_string()),
                ..Page::default()
            }),
            NextPage::Offset { .. } => self.page(start_of(request, "skip"), |_| Page::default()),
            NextPage::Number { .. } => {
                let number = start_of(request, "page");
                self.page((number - 1) * self.size, |_| Page::default())
            }
        }
    }
}

fn any_next(size: u64) -> impl Strategy<Value = NextPage> {
    let path = Path::name("next");
    prop_oneof![
        Just(NextPage::Link),
        Just(NextPage::Url(path.clone())),
        Just(NextPage::Cursor { at: path, to: query("cursor") }),
        Just(NextPage::Offset { at: query("skip"), size, end: None, more: None }),
        prop_oneof![Just(Some(size)), Just(None)].prop_map(|size| NextPage::Number {
            at: query("page"),
            first: 1,
            size,
            more: None
        }),
    ]
}

fn any_list() -> impl Strategy<Value = (Server, NextPage)> {
    (1_usize..6, 0_usize..30, 0_usize..3, any::<bool>(), any::<bool>()).prop_flat_map(
        |(size, records, arrivals, has_empty_end, names_itself)| {
            let server = Server {
                records: (100..100 + records).collect(),
                size,
                arrivals,
                has_empty_end,
                names_itself,
            };
            (Just(server), any_next(size as u64))
        },
    )
}

proptest! {
    /// Every record of a list that stands still comes exactly once, in order; of one that grows at
    /// its front while it is read, every record that was there at the start comes at least once.
    #[test]
    fn every_record_of_a_list_comes((mut server, next) in any_list()) {
        let at_start = server.records.clone();
        // So that a first page that names itself names the address or cursor that was asked for.
        let path = match next {
            NextPage::Link | NextPage::Url(_) => "/logs?from=0",
            NextPage::Cursor { .. } => "/logs?cursor=0",
            NextPage::Offset { .. } | NextPage::Number { .. } => "/logs",
        };
        let mut pager = pager(&get(path), &next, 1000);
        let mut request = Some(pager.first());
        let mut came = Vec::new();
        let mut requests = 0;
        while let Some(asked) = request {
            requests += 1;
            let (records, page) = server.answer(&next, &asked);
            came.extend(records);
            if requests <= server.arrivals {
                server.records.insert(0, 1000 + requests);
            }
            request = after(&mut pager, &asked, &page).unwrap();
            prop_assert!(requests <= 1000);
        }
        if server.arrivals == 0 {
            prop_assert_eq!(&came, &at_start);
            // At most one page more than the list fills tells that it has ended.
            prop_assert!(requests <= at_start.len() / server.size + 2, "{}", requests);
        }
        for record in &at_start {
            prop_assert!(came.contains(record), "{record} of {came:?}");
        }
    }

    /// Whatever a page says, the next request goes to the upstream.
    #[test]
    fn no_page_leads_elsewhere(next in "[ -~]{0,40}", link in "[ -~]{0,60}") {
        let base = Url::parse(BASE).unwrap();
        let page = Page {
            records: 1,
            next: Some(serde_json::to_string(&next).unwrap()),
            link: Some(link),
            ..Page::default()
        };
        for kind in [NextPage::Link, NextPage::Url(Path::name("next"))] {
            let mut pager = pager(&get("/logs"), &kind, 9);
            let first = pager.first();
            if let Ok(Some(request)) = after(&mut pager, &first, &page) {
                prop_assert_eq!(request.url.origin(), base.origin());
                prop_assert!(request.url.username().is_empty());
                prop_assert_ne!(request.url, first.url);
            }
        }
    }
}
