//! Layer 2, queue. The items of a queue, in one of three orders.
//!
//! Owns them, and the memory they lie in, which is given back after a burst. No lock and no waiting: `shared`
//! calls this under its lock.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use super::heap::Heap;

/// See the head of this file.
pub(super) enum Store<T> {
    /// First in, first out.
    Fifo(VecDeque<T>),
    /// Last in, first out.
    Lifo(Vec<T>),
    /// Lowest first.
    Lowest(Heap<T>),
}

impl<T> Store<T> {
    /// Whether it compares items, which is foreign code.
    pub(super) fn compares(&self) -> bool {
        matches!(self, Store::Lowest(_))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Store::Fifo(items) => items.len(),
            Store::Lifo(items) => items.len(),
            Store::Lowest(items) => items.len(),
        }
    }

    /// Puts the item in, and leaves `None` behind. When this panics, nothing has changed.
    pub(super) fn push(&mut self, slot: &mut Option<T>) {
        match self {
            Store::Fifo(items) => {
                items.reserve(1);
                items.extend(slot.take());
            }
            Store::Lifo(items) => {
                items.reserve(1);
                items.extend(slot.take());
            }
            Store::Lowest(items) => items.push(slot),
        }
    }

    /// Takes the item whose turn it is. When this panics, nothing has changed.
    pub(super) fn pop(&mut self) -> Option<T> {
        match self {
            Store::Fifo(items) => {
                let item = items.pop_front();
                if is_too_large(items.len(), items.capacity()) {
                    items.shrink_to(items.capacity() / 2);
                }
                item
            }
            Store::Lifo(items) => {
                let item = items.pop();
                shrink_vec(items);
                item
            }
            Store::Lowest(items) => items.pop(),
        }
    }

    /// All items, in the order in which they were put. Compares none.
    pub(super) fn drain(&mut self) -> Vec<T> {
        match self {
            Store::Fifo(items) => std::mem::take(items).into(),
            Store::Lifo(items) => std::mem::take(items),
            Store::Lowest(items) => items.drain(),
        }
    }
}

/// Room that is kept whatever happens.
const KEPT: usize = 64;

/// Whether so much memory was needed for a burst that is over. Halved at a quarter, it is not moved back and
/// forth.
fn is_too_large(len: usize, capacity: usize) -> bool {
    capacity > KEPT && len <= capacity / 4
}

pub(super) fn shrink_vec<T>(items: &mut Vec<T>) {
    if is_too_large(items.len(), items.capacity()) {
        items.shrink_to(items.capacity() / 2);
    }
}
