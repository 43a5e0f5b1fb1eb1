//! Layer 3. What one can loop over: the iterators of a receiver, and its stream. Called by user code only.
#![forbid(unsafe_code)]

use std::borrow::BorrowMut;
use std::fmt;
use std::iter::{FusedIterator, Take};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::kind::{Kind, Mpmc, Mpsc, Rx, Spsc};
use super::operation::Operation;
use super::receive::Receive;
use super::recv::Receiver;

impl<T, K: Kind> Unpin for Receiver<T, K> {}

impl<T, K: Kind> Stream for Receiver<T, K> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.get_mut().poll_recv(cx)
    }
}

/// The iterator of [`Receiver::iter`]: it waits for each message.
pub struct Iter<'a, T, K: Kind = Mpmc, R = ()>(pub(super) Receive<'a, T, K, R>);

/// The iterator of [`Receiver::try_iter`]: it never waits.
pub struct TryIter<'a, T, K: Kind = Mpmc, R = ()>(pub(super) Receive<'a, T, K, R>);

/// The iterator of [`Receiver::drain`]: it never waits, and ends after what was there when it was made.
pub type Drain<'a, T, K = Mpmc, R = ()> = Take<TryIter<'a, T, K, R>>;

/// The iterator of a receiver that owns it: it waits for each message.
#[derive(Debug)]
pub struct IntoIter<T, K: Kind = Mpmc>(Receiver<T, K>);

impl<T, K: Kind, R: BorrowMut<Rx<T, K>>> Iterator for Iter<'_, T, K, R> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        Operation::block(self.0.again()).ok()
    }
}

impl<T, K: Kind, R: BorrowMut<Rx<T, K>>> Iterator for TryIter<'_, T, K, R> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.try_now().ok()
    }
}

impl<T, K: Kind> Iterator for IntoIter<T, K> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        Operation::block(Receive::new(&self.0.shared, &mut self.0.rx)).ok()
    }
}

// Once a channel is closed and empty it stays so.
impl<T, K: Kind, R: BorrowMut<Rx<T, K>>> FusedIterator for Iter<'_, T, K, R> {}
impl<T, K: Kind> FusedIterator for IntoIter<T, K> {}

impl<T, K: Kind> IntoIterator for Receiver<T, K> {
    type Item = T;
    type IntoIter = IntoIter<T, K>;

    fn into_iter(self) -> IntoIter<T, K> {
        IntoIter(self)
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut Receiver<T, Mpsc> {
    type Item = T;
    type IntoIter = Iter<'a, T, Mpsc, &'a mut Rx<T, Mpsc>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut Receiver<T, Spsc> {
    type Item = T;
    type IntoIter = Iter<'a, T, Spsc, &'a mut Rx<T, Spsc>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T, K: Kind, R> fmt::Debug for Iter<'_, T, K, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Iter").field(self.0.shared).finish()
    }
}

impl<T, K: Kind, R> fmt::Debug for TryIter<'_, T, K, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TryIter").field(self.0.shared).finish()
    }
}
