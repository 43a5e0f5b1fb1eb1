//! Frames of processes and lines of the chat, cut anywhere: the same comes out as in one piece, and nothing panics.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::frame::{Reader, frame, frame_of_bytes, value};
use crate::Bytes;

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    match bytes.below(3) {
        0 => hostile(bytes),
        1 => friendly(bytes),
        _ => crate::chat::in_pieces(bytes),
    }
}

/// All that a reader makes of `data` in pieces of these sizes: tags, numbers and bodies, and whether it ended in an error.
fn read(data: &[u8], mut size: impl FnMut() -> usize) -> (Vec<(u8, u64, u32, Vec<u8>)>, bool) {
    let (mut reader, mut rest, mut all) = (Reader::new(1 << 12), data, Vec::new());
    loop {
        loop {
            match reader.take() {
                Ok(Some(message)) => all.push((message.tag, message.id, message.job, message.body)),
                Ok(None) => break,
                Err(_) => return (all, true),
            }
        }
        if rest.is_empty() {
            return (all, reader.has_more());
        }
        let room = reader.room();
        assert!(!room.is_empty() && room.len() <= 1 << 20);
        let count = size().clamp(1, rest.len().min(room.len()));
        room[..count].copy_from_slice(&rest[..count]);
        reader.filled(count);
        rest = &rest[count..];
    }
}

/// Bytes that nobody wrote as frames.
fn hostile(mut bytes: Bytes<'_>) {
    let cut = 1 + bytes.below(40);
    let whole = read(bytes.0, || usize::MAX);
    assert_eq!(read(bytes.0, || cut), whole);
    for (_, _, _, body) in whole.0 {
        let _ = value::<(u64, String, Vec<Option<bool>>)>(&body);
        let _ = value::<Result<char, f64>>(&body);
    }
}

/// Frames, in pieces of any size.
fn friendly(mut bytes: Bytes<'_>) {
    let (mut written, mut expected) = (Vec::new(), Vec::new());
    for _ in 0..1 + bytes.below(6) {
        let count = bytes.below(200).min(bytes.0.len());
        let (body, rest) = bytes.0.split_at(count);
        bytes.0 = rest;
        if bytes.below(2) == 0 {
            written.extend(frame_of_bytes(7, body));
            expected.push((7, 0, 0, body.to_vec()));
        } else {
            let made = frame(9, 1 << 40, 3, 1 << 12, body).expect("it is short");
            let mut read = read(&made, || usize::MAX).0;
            assert_eq!(read.len(), 1);
            assert_eq!(value::<Vec<u8>>(&read[0].3).as_deref(), Ok(body));
            expected.append(&mut read);
            written.extend(made);
        }
    }
    assert_eq!(read(&written, || 1 + bytes.below(30)), (expected, false));
}

pub(crate) struct Pieces<'a>(pub(crate) &'a [u8], pub(crate) usize);

impl filch::io::AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = self.1.min(buf.len()).min(self.0.len());
        buf[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Poll::Ready(Ok(count))
    }
}
