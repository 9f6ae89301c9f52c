//! Follows the frames that a client sends, as far as their deadlines and the bound on control
//! frames need it. h2 judges them.

/// The bytes with which a client opens a connection (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// The header of a frame: length, type, flags and stream (RFC 9113, section 4.1).
const FRAME_HEADER_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Where in its frames a client is. The preface with the first frame, which are the client's
/// `SETTINGS`, counts as one unit, and so do a header block and any other frame.
#[derive(Debug)]
pub(super) struct InboundFrames {
    preface_bytes_left: usize,
    header: [u8; FRAME_HEADER_BYTES],
    header_bytes: usize,
    payload_bytes_left: usize,
    /// Whether the header block of a request goes on in the next frame.
    is_header_block_open: bool,
    completed_units: u64,
    /// The bytes of all completed frames but `HEADERS`, `CONTINUATION` and `DATA`.
    control_bytes: u64,
}

impl InboundFrames {
    pub(super) fn new() -> Self {
        Self {
            preface_bytes_left: PREFACE_BYTES,
            header: [0; FRAME_HEADER_BYTES],
            header_bytes: 0,
            payload_bytes_left: 0,
            is_header_block_open: false,
            completed_units: 0,
            control_bytes: 0,
        }
    }

    /// Whether the client has begun a unit and not completed it. It owes the first one from the
    /// beginning.
    pub(super) fn is_within_unit(&self) -> bool {
        self.completed_units == 0
            || self.header_bytes > 0
            || self.payload_bytes_left > 0
            || self.is_header_block_open
    }

    /// How many units the client has completed.
    pub(super) fn completed_units(&self) -> u64 {
        self.completed_units
    }

    /// The size of the control frames that the client has completed, headers included.
    pub(super) fn control_bytes(&self) -> u64 {
        self.control_bytes
    }

    /// Call with the bytes that were read.
    pub(super) fn received(&mut self, mut bytes: &[u8]) {
        take(&mut bytes, &mut self.preface_bytes_left);
        while !bytes.is_empty() {
            if self.header_bytes < FRAME_HEADER_BYTES {
                let missing = FRAME_HEADER_BYTES - self.header_bytes;
                let (now, rest) = bytes.split_at(missing.min(bytes.len()));
                self.header[self.header_bytes..][..now.len()].copy_from_slice(now);
                self.header_bytes += now.len();
                bytes = rest;
                if self.header_bytes < FRAME_HEADER_BYTES {
                    return;
                }
                self.payload_bytes_left = self.payload_bytes() as usize;
            }
            take(&mut bytes, &mut self.payload_bytes_left);
            if self.payload_bytes_left == 0 {
                self.frame_complete();
            }
        }
    }

    fn payload_bytes(&self) -> u32 {
        let [high, middle, low, ..] = self.header;
        u32::from_be_bytes([0, high, middle, low])
    }

    fn frame_complete(&mut self) {
        self.header_bytes = 0;
        let [_, _, _, kind, flags, ..] = self.header;
        match kind {
            HEADERS | CONTINUATION => self.is_header_block_open = flags & END_HEADERS == 0,
            DATA => {}
            _ => self.control_bytes += FRAME_HEADER_BYTES as u64 + u64::from(self.payload_bytes()),
        }
        if !self.is_header_block_open {
            self.completed_units += 1;
        }
    }
}

/// Skips up to `left` bytes, and counts them off.
fn take(bytes: &mut &[u8], left: &mut usize) {
    let count = bytes.len().min(*left);
    *bytes = &bytes[count..];
    *left -= count;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: u8 = 4;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn opened() -> InboundFrames {
        let mut frames = InboundFrames::new();
        frames.received(&[PREFACE, &frame(SETTINGS, 0, &[])].concat());
        frames
    }

    #[test]
    fn the_client_owes_the_preface_and_its_settings() {
        let mut frames = InboundFrames::new();
        for bytes in [&PREFACE[..10], &PREFACE[10..], &frame(SETTINGS, 0, &[1; 6])[..12], &[1; 2]] {
            frames.received(bytes);
            assert!(frames.is_within_unit());
        }
        frames.received(&[1]);
        assert!(!frames.is_within_unit());
        assert_eq!(frames.completed_units(), 1);
    }

    #[test]
    fn a_header_block_is_one_unit() {
        let mut frames = opened();
        for (kind, flags, is_complete) in
            [(HEADERS, 1, false), (CONTINUATION, 0, false), (CONTINUATION, END_HEADERS, true)]
        {
            frames.received(&frame(kind, flags, b"abc"));
            assert_eq!(frames.is_within_unit(), !is_complete);
        }
        frames.received(&frame(HEADERS, END_HEADERS | 1, b""));
        assert!(!frames.is_within_unit());
        assert_eq!(frames.completed_units(), 3);
    }

    #[test]
    fn control_frames_are_counted_with_their_headers() {
        let mut frames = opened();
        assert_eq!(frames.control_bytes(), 9);
        for kind in [DATA, HEADERS, CONTINUATION] {
            frames.received(&frame(kind, END_HEADERS, b"abc"));
        }
        assert_eq!(frames.control_bytes(), 9);
        for kind in [2, 3, SETTINGS, 6, 8, 200] {
            frames.received(&frame(kind, 0, b"abc"));
        }
        assert_eq!(frames.control_bytes(), 9 + 6 * 12);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_bytes_are_cut(
            frames in prop::collection::vec((0_u8..12, any::<u8>(), 0_usize..300), 0..20),
            cuts in prop::collection::vec(1_usize..40, 1..20),
        ) {
            let mut bytes = PREFACE.to_vec();
            for (kind, flags, length) in frames {
                bytes.extend(frame(kind, flags, &vec![7; length]));
            }
            let mut whole = InboundFrames::new();
            whole.received(&bytes);
            let (mut cut, mut rest) = (InboundFrames::new(), &bytes[..]);
            for length in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*length).min(rest.len()));
                cut.received(now);
                rest = later;
            }
            prop_assert_eq!(whole.completed_units(), cut.completed_units());
            prop_assert_eq!(whole.is_within_unit(), cut.is_within_unit());
            prop_assert_eq!(whole.control_bytes(), cut.control_bytes());
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            InboundFrames::new().received(&bytes);
        }
    }
}
