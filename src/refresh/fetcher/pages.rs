//! Fetches a list from an upstream, page by page.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{StatusCode, header};
use reqwest::Url;
use tokio::time::{Instant, sleep_until};

use super::decoder::{Decoder, DecoderSettings};
use super::window::Window;
use super::{FetchMemory, FetchedBatch, HeldBatch, Validator};
use crate::background::spawn_cpu_bound;
use crate::config::{HttpOrigin, Incremental};
use crate::decode::{DecodeError, Incidents, PageEnd, members};
use crate::outcome::Outcome;
use crate::refresh::Batch;
use crate::request::{PageFacts, Pager, Request};
use crate::sources::SourceId;
use crate::upstream::{CallContext, UnverifiedAnswer, UpstreamError, Upstreams};

/// The longest wait that an upstream may ask for in the middle of a list. Giving up would lose the
/// earlier pages, which would have to be asked for again.
const MAX_WAIT_BETWEEN_PAGES: Duration = Duration::from_mins(2);

/// How long after the first page such waits may end. Without it they could add up to days.
const MAX_TIME_WITH_WAITS: Duration = Duration::from_hours(1);

/// The shortest wait there: an upstream that keeps asking for a wait of no time must not be called
/// without a pause.
const MIN_WAIT_BETWEEN_PAGES: Duration = Duration::from_secs(1);

/// A source that is a list of an upstream.
pub(super) struct HttpSource {
    id: SourceId,
    http: HttpOrigin,
    incremental: Option<Incremental>,
    decoder: DecoderSettings,
    base_url: Url,
    /// The most bytes of all pages together, and of the merged data of an incremental source.
    max_body: u64,
}

/// A list that was fetched to its end.
struct List {
    decoder: Decoder,
    pages: usize,
    duration: Duration,
    validator: Option<Validator>,
}

/// How the fetch of a list ended.
enum ListEnd {
    Whole(Box<List>),
    /// The only page has not changed; the call took this long.
    NotModified(Duration),
}

impl HttpSource {
    pub(super) fn new(
        id: SourceId,
        http: &HttpOrigin,
        incremental: Option<Incremental>,
        decoder: DecoderSettings,
        base_url: Url,
        max_body: u64,
    ) -> Self {
        Self { id, http: http.clone(), incremental, decoder, base_url, max_body }
    }

    pub(super) async fn fetch(
        &self,
        upstreams: &Upstreams,
        started: SystemTime,
        held: Option<HeldBatch>,
        context: CallContext,
    ) -> Result<FetchedBatch, UpstreamError> {
        let length = self.http.window.unwrap_or(HttpOrigin::DEFAULT_WINDOW);
        let window = Window::new(started, length, self.incremental, held.as_ref());
        let pager = Pager::new(
            &self.http.request,
            self.http.next.as_ref(),
            &self.base_url,
            window.times,
            self.http.max_pages,
        )
        .map_err(|error| UpstreamError::new(Outcome::Pages, error.detail))?;
        let now = self.incremental.map(|_| window.times.now);
        let mut memory = FetchMemory { now, full_at: now, ..FetchMemory::default() };
        let known = held.as_ref().and_then(|held| held.memory.validator.as_ref());
        let list = match self.list(upstreams, pager, known, context).await? {
            ListEnd::Whole(list) => list,
            ListEnd::NotModified(duration) => {
                let held = held.expect("only with data there is a validator");
                let HeldBatch { batch, memory } = held;
                return Ok(FetchedBatch { batch, pages: 1, duration, memory });
            }
        };
        let List { decoder, pages, duration, validator } = *list;
        memory.validator = validator;
        let previous = match held {
            Some(HeldBatch { batch: Batch::Incidents(previous), memory: before })
                if !window.is_full =>
            {
                memory.full_at = before.full_at;
                Some(previous)
            }
            _ => None,
        };
        let (earliest, max_body) = (window.earliest.as_microsecond(), self.max_body);
        let finish = move || match previous {
            None => Some(decoder.finish()),
            Some(previous) => merge(decoder.finish(), &previous, earliest, max_body),
        };
        let Some(batch) = spawn_cpu_bound(finish).await.map_err(|_| decoding_failed())? else {
            let detail = format!(
                "the records are larger than max_body of the upstream allows ({max_body} bytes) \
                 when they are merged; raise it, or ask for a shorter window"
            );
            return Err(UpstreamError::new(Outcome::TooLarge, detail));
        };
        let memory = Arc::new(memory);
        Ok(FetchedBatch { batch, pages, duration, memory })
    }

    /// Fetches all pages.
    async fn list(
        &self,
        upstreams: &Upstreams,
        mut pager: Pager,
        known: Option<&Validator>,
        context: CallContext,
    ) -> Result<ListEnd, UpstreamError> {
        let mut decoder = self.decoder.decoder();
        let (mut size, mut duration) = (0, Duration::ZERO);
        let last_wait_end = Instant::now() + MAX_TIME_WITH_WAITS;
        let mut next = pager.first();
        let is_conditional = self.http.next.is_none() && self.incremental.is_none();
        loop {
            let asked = is_conditional.then(|| next.clone());
            let known = known.filter(|known| is_conditional && known.request == next);
            if let Some(known) = known {
                next.headers.insert(known.header.clone(), known.value.clone());
            }
            let page = pager.pages();
            let named = |error: UpstreamError| on_page(error, page);
            let max_body = self.max_body.saturating_sub(size);
            let call = CallContext { max_body, page, ..context.clone() };
            let answer = self.page(upstreams, next, call, last_wait_end).await.map_err(named)?;
            duration += answer.duration();
            if answer.is_not_modified() {
                if known.is_none() {
                    let detail = "304, although the gateway has no such answer yet";
                    return Err(answer.reject(named(UpstreamError::new(Outcome::Status, detail))));
                }
                drop(answer.accept());
                return Ok(ListEnd::NotModified(duration));
            }
            size += answer.body().len() as u64;
            let result = match decode_page(decoder, answer.body().clone()).await {
                Ok((returned, result)) => {
                    decoder = returned;
                    result
                }
                Err(error) => return Err(answer.reject(error)),
            };
            let following = result
                .map_err(|error| decode_error(&error))
                .and_then(|end| next_page(&mut pager, &answer, &end))
                .map_err(named);
            let following = match following {
                Ok(following) => following,
                Err(error) => return Err(answer.reject(error)),
            };
            let validator = asked.and_then(|asked| validator(asked, &answer));
            drop(answer.accept());
            match following {
                Some(request) => next = request,
                None => {
                    if pager.is_repeated() {
                        context.observer.repeated();
                    }
                    let list = List { decoder, pages: page, duration, validator };
                    return Ok(ListEnd::Whole(Box::new(list)));
                }
            }
        }
    }

    /// Fetches one page. In the middle of a list, a wait that the upstream asks for is waited out
    /// if it ends before `last_wait_end`.
    async fn page(
        &self,
        upstreams: &Upstreams,
        request: Request,
        mut context: CallContext,
        last_wait_end: Instant,
    ) -> Result<UnverifiedAnswer, UpstreamError> {
        if context.page == 1 {
            return upstreams.fetch(self.id, request, context).await;
        }
        let now = Instant::now();
        let longest = MAX_WAIT_BETWEEN_PAGES.min(last_wait_end.saturating_duration_since(now));
        context.max_wait = context.max_wait.max(longest);
        let give_up = now + longest;
        loop {
            let error = match upstreams.fetch(self.id, request.clone(), context.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let asks_for_wait = error.kind == Outcome::RateLimited
                || error.status == Some(StatusCode::SERVICE_UNAVAILABLE);
            let wait = error.retry_after.filter(|_| asks_for_wait);
            let Some(until) = wait
                .map(|wait| Instant::now() + wait.max(MIN_WAIT_BETWEEN_PAGES))
                .filter(|until| *until <= give_up)
            else {
                return Err(error);
            };
            context.on_retry.notify(&error, until);
            sleep_until(until).await;
        }
    }
}

/// Decodes a page on another thread.
async fn decode_page(
    mut decoder: Decoder,
    body: Bytes,
) -> Result<(Decoder, Result<PageEnd, DecodeError>), UpstreamError> {
    let decode = move || {
        let end = decoder.add_page(body);
        (decoder, end)
    };
    spawn_cpu_bound(decode).await.map_err(|_| decoding_failed())
}

fn decoding_failed() -> UpstreamError {
    let detail = "decoding the body failed; this is a fault of the gateway";
    UpstreamError::new(Outcome::Decode, detail)
}

fn decode_error(error: &DecodeError) -> UpstreamError {
    let outcome = error.outcome();
    let detail = match error {
        DecodeError::Json(error) => {
            format!("the body is not what this source should send: {error}")
        }
        DecodeError::Answer(error) => error.to_string(),
    };
    UpstreamError::new(outcome, detail)
}

fn next_page(
    pager: &mut Pager,
    answer: &UnverifiedAnswer,
    end: &PageEnd,
) -> Result<Option<Request>, UpstreamError> {
    let facts = PageFacts {
        url: answer.url(),
        headers: answer.headers(),
        records: end.records,
        next: end.next.as_deref(),
        more: end.more.as_deref(),
    };
    pager.next(&facts).map_err(|error| UpstreamError::new(Outcome::Pages, error.detail))
}

/// Says which page an error is of, if it is not the first.
fn on_page(error: UpstreamError, page: usize) -> UpstreamError {
    if page == 1 {
        return error;
    }
    UpstreamError { detail: format!("page {page}: {}", error.detail), ..error }
}

/// What the answer to this request can be validated by, if there is anything.
fn validator(request: Request, answer: &UnverifiedAnswer) -> Option<Validator> {
    let headers = answer.headers();
    let (header, value) = if let Some(etag) = headers.get(header::ETAG) {
        (header::IF_NONE_MATCH, etag)
    } else {
        (header::IF_MODIFIED_SINCE, headers.get(header::LAST_MODIFIED)?)
    };
    Some(Validator { request, header, value: value.clone() })
}

/// Merges new data into the previous; `None` if all records together are larger than allowed.
fn merge(newer: Batch, previous: &Incidents, earliest_us: i64, max_body: u64) -> Option<Batch> {
    let Batch::Incidents(newer) = newer else { return Some(newer) };
    let newer = Arc::into_inner(newer).expect("new data has one owner");
    let merged = Incidents::merged(previous, newer, earliest_us)?;
    // Envelopes are larger than the records in them, so that a small body needs no closer look.
    let is_too_large = merged.body().len() as u64 > max_body && record_bytes(&merged) > max_body;
    (!is_too_large).then(|| Batch::Incidents(Arc::new(merged)))
}

/// The size of all records as their source sent them, which is what `max_body` bounds.
fn record_bytes(incidents: &Incidents) -> u64 {
    let size = |envelope: &[u8]| {
        // The record is the last member of its envelope.
        let record = members(&envelope[1..]).last().map_or(0, |(_, member)| member.len());
        record.saturating_sub("\"record\":".len()) as u64
    };
    incidents.records().iter().map(|record| size(incidents.bytes(record))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn max_body_bounds_merged_records_without_their_envelopes() {
        let text = r#"
sources:
  - { name: api, query: { since: "{since}" }, incremental: {}, records: "", id: id, title: title,
      priority: { default: low }, timestamp: at, identity: who }
"#;
        let config = config::from_yaml("test.yaml", text).unwrap();
        let settings = DecoderSettings::incidents(&config.sources[0], false);
        let batch = |id: &str| {
            let mut decoder = settings.decoder();
            let record =
                format!(r#"{{"id":"{id}","title":"\"record\":","at":1772000000,"who":7}}"#);
            decoder.add_page(format!("[{record}]").into()).unwrap();
            (decoder.finish(), record.len() as u64)
        };
        let (Batch::Incidents(previous), size) = batch("a") else { unreachable!() };
        let merged = |max_body| merge(batch("b").0, &previous, 0, max_body);
        assert_eq!(merged(2 * size).unwrap().records(), 2);
        assert!(merged(2 * size).unwrap().size_bytes() as u64 > 2 * size);
        assert!(merged(2 * size - 1).is_none());
    }
}
