//! Layer 0, ring. What containers answer, who uses them, and how they are emptied.
//!
//! Owns the words that `ring` and `chain` have in common. Called by them and by `channel`.
#![forbid(unsafe_code)]

use std::mem;

/// How many use an end of a container.
pub(crate) trait Users: Send + Sync + 'static {
    const MANY: bool;
}

/// Any number, at the same time.
#[derive(Debug)]
pub enum Many {}

/// One, through its handle.
#[derive(Debug)]
pub enum Sole {}

impl Users for Many {
    const MANY: bool = true;
}

impl Users for Sole {
    const MANY: bool = false;
}

/// What came of a push or a reservation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Push {
    Done,
    Full,
    Closed,
}

/// What came of a pop.
#[derive(PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Pop<T> {
    Got(T),
    Empty,
    /// Empty for good: closed, and no place is reserved.
    Closed,
}

/// What came of a push that makes room for itself.
#[derive(PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Force<T> {
    Done,
    /// This was the oldest, and is out.
    Displaced(T),
    /// There is nothing to displace: every place is reserved.
    Full,
    Closed,
}

/// One look at both ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Look {
    pub(crate) len: usize,
    pub(crate) reserved: usize,
    pub(crate) closed: bool,
    /// The most there were.
    pub(crate) peak: usize,
    /// How many were pushed and popped so far; they wrap, after 2^40 at the least.
    pub(crate) pushed: u64,
    pub(crate) popped: u64,
}

/// Drops all values, also when the drop of one panics.
pub(crate) fn drop_all<T>(mut values: impl Iterator<Item = T>) {
    struct Rest<'a, T>(&'a mut dyn Iterator<Item = T>);
    impl<T> Drop for Rest<'_, T> {
        fn drop(&mut self) {
            drop_all(&mut *self.0);
        }
    }
    while let Some(value) = values.next() {
        let rest = Rest(&mut values);
        drop(value);
        mem::forget(rest);
    }
}
