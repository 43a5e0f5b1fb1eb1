//! Layer 3, process. What passes between processes: frames, and the values in them.
//!
//! Owns the format: a head of 17 bytes (how many follow the first four, a tag, the number of the job, the
//! place of its function in the table; little endian) and a value as postcard writes it. Pure: no descriptor,
//! no clock. Nothing is reserved on the word of a length, so that a hostile one costs no memory. Called by
//! all else in this folder.
#![forbid(unsafe_code)]

use std::fmt;

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How much a frame holds at most, if not said otherwise.
pub(super) const LIMIT: usize = 64 << 20;
/// The least that may be asked for: room for what is said about an error.
pub(super) const LIMIT_LEAST: usize = 4 << 10;
/// So that the length fits into its four bytes.
pub(super) const LIMIT_MOST: usize = 1 << 31;

const HEAD: usize = 17;
/// How much is read at once, at least.
const PIECE: usize = 16 << 10;
/// A buffer that has grown beyond this is given back once it is empty.
const KEEP: usize = 1 << 20;
/// How much of a text is sent.
const TEXT_MOST: usize = 2 << 10;

/// What a frame is for.
pub(super) mod tag {
    pub(in crate::process::pool) const HELLO: u8 = 1;
    pub(in crate::process::pool) const CALL: u8 = 2;
    pub(in crate::process::pool) const RETURNED: u8 = 3;
    pub(in crate::process::pool) const PANICKED: u8 = 4;
    pub(in crate::process::pool) const UNREADABLE: u8 = 5;
    pub(in crate::process::pool) const UNWRITABLE: u8 = 6;
    pub(in crate::process::pool) const VALUE: u8 = 16;
    pub(in crate::process::pool) const PUT: u8 = 32;
    pub(in crate::process::pool) const GET: u8 = 33;
    pub(in crate::process::pool) const TAKEN: u8 = 34;
    pub(in crate::process::pool) const LENGTH: u8 = 35;
    pub(in crate::process::pool) const CLOSE: u8 = 36;
    pub(in crate::process::pool) const DONE: u8 = 37;
    pub(in crate::process::pool) const ITEM: u8 = 38;
    pub(in crate::process::pool) const CLOSED: u8 = 39;
    pub(in crate::process::pool) const LATE: u8 = 40;
}

/// Why a value cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unwritable {
    TooLarge(usize),
    Format(String),
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unwritable::TooLarge(limit) => write!(
                f,
                "it takes more than the {limit} bytes that a frame may have; raise `frame_limit`, or pass \
                 the path of a file"
            ),
            Unwritable::Format(error) => {
                write!(
                    f,
                    "{error}; the format wants sequences that know their length, and serde's plain attributes"
                )
            }
        }
    }
}

/// A frame that is being written: postcard's output, with a limit, and room for the head before it.
struct Body {
    bytes: Vec<u8>,
    most: usize,
}

impl Flavor for Body {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() > self.most - self.bytes.len() {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.bytes)
    }
}

/// A whole frame with `value` in it, of at most `limit` bytes. Runs the value's `Serialize`.
pub(super) fn frame<T: Serialize + ?Sized>(
    tag: u8,
    id: u64,
    job: u32,
    limit: usize,
    value: &T,
) -> Result<Vec<u8>, Unwritable> {
    let body = Body { bytes: vec![0; HEAD], most: limit.saturating_add(HEAD) };
    let mut bytes = postcard::serialize_with_flavor(value, body).map_err(|error| match error {
        postcard::Error::SerializeBufferFull => Unwritable::TooLarge(limit),
        error => Unwritable::Format(error.to_string()),
    })?;
    set_head(&mut bytes, tag, id, job);
    Ok(bytes)
}

/// A frame whose value is in postcard's form already.
pub(super) fn frame_of_bytes(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEAD];
    bytes.extend_from_slice(body);
    set_head(&mut bytes, tag, 0, 0);
    bytes
}

/// A frame with a text, which is cut if it is long.
pub(super) fn text(tag: u8, id: u64, text: &str) -> Vec<u8> {
    let mut end = text.len().min(TEXT_MOST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let cut = if end < text.len() { format!("{}...", &text[..end]) } else { text.to_owned() };
    frame(tag, id, 0, LIMIT_LEAST, &cut).unwrap_or_else(|error| unreachable!("a short text: {error}"))
}

/// The value's bytes in a whole frame.
pub(super) fn body(frame: &[u8]) -> &[u8] {
    frame.get(HEAD..).unwrap_or_default()
}

/// Says of a finished frame which job it is for.
pub(super) fn set_id(frame: &mut [u8], id: u64) {
    frame[5..13].copy_from_slice(&id.to_le_bytes());
}

fn set_head(bytes: &mut [u8], tag: u8, id: u64, job: u32) {
    let length = u32::try_from(bytes.len() - 4).expect("below the limit");
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4] = tag;
    set_id(bytes, id);
    bytes[13..HEAD].copy_from_slice(&job.to_le_bytes());
}

/// The value of a frame. Runs its `Deserialize`.
pub(super) fn value<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes are left over after the value", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// A frame that has come whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) tag: u8,
    pub(super) id: u64,
    pub(super) job: u32,
    pub(super) body: Vec<u8>,
}

/// A frame that cannot be one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) String);

/// Puts frames together from what comes.
#[derive(Debug)]
pub(super) struct Reader {
    /// What is between `start` and `end` has come, and was not taken.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
}

impl Reader {
    pub(super) fn new(limit: usize) -> Reader {
        Reader { buffer: Vec::new(), start: 0, end: 0, limit }
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The next frame, if it is there.
    pub(super) fn take(&mut self) -> Result<Option<Message>, Malformed> {
        let bytes = &self.buffer[self.start..self.end];
        let Some((length, _)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length < HEAD - 4 {
            return Err(Malformed(format!("a frame says that it has {length} bytes, fewer than its head")));
        }
        if length - (HEAD - 4) > self.limit {
            let Reader { limit, .. } = self;
            return Err(Malformed(format!("a frame says that it has {length} bytes; {limit} are allowed")));
        }
        let Some(frame) = bytes.get(..length + 4) else { return Ok(None) };
        let number = |range: std::ops::Range<usize>| {
            frame[range].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let message = Message {
            tag: frame[4],
            id: number(5..13),
            job: number(13..HEAD) as u32,
            body: frame[HEAD..].to_vec(),
        };
        self.start += length + 4;
        Ok(Some(message))
    }

    /// Where to read to. At most twice as large as what has come.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > KEEP {
                self.buffer = Vec::new();
            }
        }
        if self.end == self.buffer.len() {
            if self.start > self.buffer.len() / 2 {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                self.buffer.resize((self.buffer.len() * 2).max(PIECE), 0);
            }
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes were read to there.
    pub(super) fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// Whether the beginning of a frame is there, or a whole one.
    pub(super) fn has_more(&self) -> bool {
        self.start < self.end
    }
}

#[cfg(test)]
mod tests;
