//! Layer 0. Keeps a value on cache lines of its own.
#![forbid(unsafe_code)]

use std::ops::Deref;

/// 128 bytes: x86 fetches lines in pairs, and other machines have lines that long.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> Deref for Padded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}
