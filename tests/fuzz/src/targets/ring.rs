//! The ring against a deque with a bound.

use std::collections::VecDeque;

use crate::Bytes;
use crate::ring::{Force, Pop, Push, Ring};

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let capacity = 1 + bytes.below(9);
    let ring = Ring::new(capacity);
    let (mut model, mut reserved, mut closed, mut step) = (VecDeque::new(), 0, false, 0_u64);
    while let Some(byte) = bytes.next() {
        step += 1;
        let full = model.len() + reserved >= capacity;
        let over = closed && reserved == 0;
        let empty = if over { Pop::Closed } else { Pop::Empty };
        match byte % 8 {
            0 | 1 => {
                let expect = if closed {
                    Push::Closed
                } else if full {
                    Push::Full
                } else {
                    Push::Done
                };
                let mut value = Some(step);
                assert_eq!(ring.push(&mut value), expect);
                assert_eq!(value.is_none(), expect == Push::Done);
                if expect == Push::Done {
                    model.push_back(step);
                }
            }
            2 | 3 => assert_eq!(ring.pop(), model.pop_front().map_or(empty, Pop::Got)),
            4 => {
                let count = 1 + bytes.below(capacity);
                let fits = model.len() + reserved + count <= capacity;
                let expect = if closed {
                    Push::Closed
                } else if fits {
                    Push::Done
                } else {
                    Push::Full
                };
                assert_eq!(ring.reserve(count), expect);
                reserved += if expect == Push::Done { count } else { 0 };
            }
            5 if reserved > 0 => {
                reserved -= 1;
                if bytes.below(2) == 0 {
                    assert_eq!(ring.push_reserved(step), closed);
                    model.push_back(step);
                } else {
                    assert_eq!(ring.unreserve(1), closed);
                }
            }
            6 => {
                let limit = 1 + bytes.below(capacity + 1);
                let (mut got, count) = (Vec::new(), limit.min(model.len()));
                let empty = if over { Pop::Closed } else { Pop::Empty };
                let expect = if count == 0 { empty } else { Pop::Got(count) };
                assert_eq!(ring.pop_many(limit, &mut got), expect);
                assert_eq!(got, model.drain(..count).collect::<Vec<_>>());
            }
            7 if byte == 255 => {
                assert_eq!(ring.close(), !closed);
                closed = true;
            }
            7 if !closed => {
                let expect = match (full, model.front()) {
                    (false, _) => Force::Done,
                    (true, Some(&oldest)) => Force::Displaced(oldest),
                    (true, None) => Force::Full,
                };
                assert_eq!(ring.force(&mut Some(step)), expect);
                if expect != Force::Full {
                    if full {
                        model.pop_front();
                    }
                    model.push_back(step);
                }
            }
            _ => {}
        }
        let look = ring.look();
        assert_eq!((look.len, look.reserved, look.closed), (model.len(), reserved, closed));
    }
}
