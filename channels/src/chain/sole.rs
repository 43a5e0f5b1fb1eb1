//! Layer 0, chain. The handle of an end that has one user.
//!
//! Owns the right to take values out of a chain: there is one handle of it, which is not cloned, and whose
//! methods want `&mut self`. So a value is taken without any read-modify-write. (One producer would gain nothing:
//! its value is made known by one, as everybody's.) Called by `channel`.
#![forbid(unsafe_code)]

use std::iter;

use super::Chain;
use crate::ring::{Pop, Sole, drop_all};
use crate::shim::Arc;
use crate::shim::Ordering::{Acquire, Release};

/// A chain, and its one consumer.
pub(crate) fn mpsc<T>() -> (Arc<Chain<T, Sole>>, Consumer<T>) {
    let chain = Arc::new(Chain::empty());
    let consumer = Consumer::of(&chain).expect("a new chain has none");
    (chain, consumer)
}

/// The one consumer of a chain. Dropped, it makes way for another one.
pub(crate) struct Consumer<T> {
    chain: Arc<Chain<T, Sole>>,
}

impl<T> Consumer<T> {
    /// The consumer of this chain, if there is none.
    pub(crate) fn of(chain: &Arc<Chain<T, Sole>>) -> Option<Consumer<T>> {
        // Ordering: Acquire pairs with the Release in `drop`: we see how far the one before us came.
        (!chain.is_consumed.swap(true, Acquire)).then(|| Consumer { chain: chain.clone() })
    }

    /// See [`Chain::pop_at_once`].
    #[inline(always)]
    pub(crate) fn pop_at_once(&mut self) -> Option<T> {
        self.chain.next_at_once()
    }

    /// See [`Chain::pop`].
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Pop<T> {
        self.get(false)
    }

    /// See [`Chain::get`].
    #[inline(always)]
    pub(crate) fn get(&mut self, patient: bool) -> Pop<T> {
        // Ordering: Acquire as in `Chain::claim`, for `tail`.
        match self.chain.next(self.chain.head.word.load(Acquire), patient) {
            Ok(value) => Pop::Got(value),
            Err(why) => why,
        }
    }

    /// See [`Chain::pop_many`].
    pub(crate) fn pop_many(&mut self, limit: usize, to: &mut Vec<T>) -> Pop<usize> {
        let mut got = 0;
        while got < limit {
            // First, as nothing may go wrong once a value has been taken.
            to.reserve(1);
            match self.pop() {
                Pop::Got(value) => to.push(value),
                Pop::Closed if got == 0 => return Pop::Closed,
                Pop::Empty if got == 0 => return Pop::Empty,
                _ => break,
            }
            got += 1;
        }
        Pop::Got(got)
    }

    /// See [`Chain::drain`].
    pub(crate) fn drain(&mut self) {
        drop_all(iter::from_fn(|| if let Pop::Got(value) = self.pop() { Some(value) } else { None }));
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        // Ordering: Release pairs with the Acquire in `of`.
        self.chain.is_consumed.swap(false, Release);
    }
}
