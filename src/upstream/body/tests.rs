//! Bodies in every coding, whole, cut and with foreign bytes, however their chunks fall.

use std::io::Write as _;

use futures::stream;
use libdeflater::{CompressionLvl, Compressor};

use super::super::content_coding::ContentCoding::{Brotli, Gzip, Zstd};
use super::*;

const TEXT: &[u8] = br#"{"results":[{"priority":"low"},{"priority":"low"}]}"#;

/// `TEXT` in brotli.
const BROTLI: &[u8] = &[
    0x1b, 0x32, 0x00, 0xf8, 0x1d, 0x87, 0x71, 0x2c, 0xb2, 0x8d, 0xa2, 0x48, 0xcb, 0xa7, 0x5a, 0x64,
    0x8f, 0x6d, 0x6b, 0xb3, 0xe8, 0x74, 0xf5, 0xa9, 0xb7, 0xbb, 0x96, 0xa4, 0x12, 0x57, 0xf6, 0x51,
    0x22, 0xf4, 0x62, 0xc4, 0xe5, 0x1f, 0xba, 0x06, 0x0d,
];

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut body = vec![0; compressor.gzip_compress_bound(plain.len())];
    let length = compressor.gzip_compress(plain, &mut body).unwrap();
    body.truncate(length);
    body
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    ::zstd::stream::encode_all(plain, 3).unwrap()
}

/// One body in each coding, all of `TEXT`.
fn encoded() -> [(&'static [ContentCoding], Vec<u8>); 6] {
    [
        (&[], TEXT.to_vec()),
        (&[Gzip], gzip(TEXT)),
        (&[Zstd], zstd(TEXT)),
        (&[Brotli], BROTLI.to_vec()),
        (&[Gzip, Gzip], gzip(&gzip(TEXT))),
        (&[Zstd, Gzip], gzip(&zstd(TEXT))),
    ]
}

async fn read_chunks(
    chunks: impl IntoIterator<Item = &[u8]>,
    codings: &[ContentCoding],
    max_body: u64,
) -> io::Result<Bytes> {
    let chunks: Vec<_> =
        chunks.into_iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    decode(stream::iter(chunks), None, codings, max_body).await
}

/// Reads the body in one chunk, in two that are split at each place, and byte by byte; they all
/// come to the same.
async fn read_in_any_chunks(body: &[u8], codings: &[ContentCoding]) -> io::Result<Bytes> {
    let whole = read_chunks([body], codings, 1 << 20).await;
    for at in 0..=body.len() {
        let (head, tail) = body.split_at(at);
        let split = read_chunks([head, tail], codings, 1 << 20).await;
        assert_eq!(split.as_ref().ok(), whole.as_ref().ok(), "{codings:?}, split at {at}");
    }
    let bytes = read_chunks(body.chunks(1), codings, 1 << 20).await;
    assert_eq!(bytes.as_ref().ok(), whole.as_ref().ok(), "{codings:?}, byte by byte");
    whole
}

#[tokio::test]
async fn every_coding_is_decoded_however_the_body_is_split() {
    for (codings, body) in encoded() {
        let read = read_in_any_chunks(&body, codings).await;
        assert_eq!(read.unwrap(), TEXT, "{codings:?}");
    }
}

#[tokio::test]
async fn members_and_frames_form_one_body() {
    let (head, tail) = TEXT.split_at(20);
    let members = [gzip(head), gzip(b""), gzip(tail)].concat();
    assert_eq!(read_in_any_chunks(&members, &[Gzip]).await.unwrap(), TEXT);
    let frames = [zstd(head), zstd(b""), zstd(tail)].concat();
    assert_eq!(read_in_any_chunks(&frames, &[Zstd]).await.unwrap(), TEXT);
    let stacked = gzip(&frames);
    assert_eq!(read_in_any_chunks(&stacked, &[Zstd, Gzip]).await.unwrap(), TEXT);
}

#[tokio::test]
async fn bytes_after_the_end_of_a_coding_are_refused() {
    let foreign: [&[u8]; 5] = [b"\0", b"\0\0\0\0\0\0\0\0\0\0", b"x", b"\x1f", b"{\"more\":[]}"];
    for (codings, body) in encoded().into_iter().filter(|(codings, _)| !codings.is_empty()) {
        for rest in foreign {
            let body = [&body, rest].concat();
            let read = read_in_any_chunks(&body, codings).await;
            assert!(read.is_err(), "{codings:?} before {rest:?}");
        }
    }
}

#[tokio::test]
async fn a_truncated_body_is_refused() {
    for (codings, body) in encoded().into_iter().filter(|(codings, _)| !codings.is_empty()) {
        for length in 1..body.len() {
            let cut = read_chunks([&body[..length]], codings, 1 << 20).await;
            assert!(cut.is_err(), "{codings:?}, {length} of {} bytes", body.len());
            let bytes = read_chunks(body[..length].chunks(1), codings, 1 << 20).await;
            assert!(bytes.is_err(), "{codings:?}, {length} of {} bytes, one by one", body.len());
        }
    }
}

#[tokio::test]
async fn a_truncated_second_member_is_refused() {
    let (head, tail) = TEXT.split_at(20);
    for (codings, first, second) in
        [(&[Gzip][..], gzip(head), gzip(tail)), (&[Zstd][..], zstd(head), zstd(tail))]
    {
        for length in 1..second.len() {
            let body = [&first[..], &second[..length]].concat();
            let cut = read_in_any_chunks(&body, codings).await;
            assert!(cut.is_err(), "{codings:?}, {length} of {} bytes", second.len());
        }
    }
}

#[tokio::test]
async fn the_decoded_size_is_bounded() {
    let max = TEXT.len() as u64;
    for (codings, body) in encoded() {
        assert!(read_chunks([&body[..]], codings, max).await.is_ok(), "{codings:?}");
        let error = read_chunks([&body[..]], codings, max - 1).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{codings:?}");
    }
    let bomb = gzip(&vec![0; 8 << 20]);
    for (codings, bomb) in [(&[Gzip][..], bomb.clone()), (&[Gzip, Gzip][..], gzip(&bomb))] {
        let error = read_chunks([&bomb[..]], codings, 1 << 20).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{codings:?}");
    }
}

#[tokio::test]
async fn encoded_bytes_that_decode_to_nothing_are_bounded() {
    let empty = gzip(b"");
    let members = empty.repeat((3 << 20) / empty.len());
    let error = read_chunks(members.chunks(64 << 10), &[Gzip], 1 << 20).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    // Small itself, but not what the first of two codings makes of it.
    let stacked = gzip(&members);
    let error = read_chunks([&stacked[..]], &[Gzip, Gzip], 1 << 20).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
}

#[tokio::test]
async fn a_zstd_window_beyond_8_mb_is_refused() {
    let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(24).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(&vec![b'x'; 1 << 10]).unwrap();
    let body = encoder.finish().unwrap();
    assert!(read_chunks([&body[..]], &[Zstd], 1 << 20).await.is_err());
}

#[tokio::test]
async fn a_false_content_length_changes_nothing_within_the_bound() {
    let whole = |announced, max| {
        decode(stream::iter([Ok(Bytes::from_static(TEXT))]), Some(announced), &[], max)
    };
    let length = TEXT.len() as u64;
    for announced in [0, 1, length - 1, length, length + 1, 1 << 20] {
        assert_eq!(whole(announced, 1 << 20).await.unwrap(), TEXT, "{announced} announced");
    }
    let error = whole((1 << 20) + 1, 1 << 20).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(whole(length, length).await.unwrap(), TEXT);
    assert!(whole(length, length - 1).await.is_err());
}
