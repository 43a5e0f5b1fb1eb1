//! Layer 3. What a sender waits for beside room: the end, and that it need no longer pause. Called by the
//! sender.
#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::decision::Party;
use super::kind::{Kind, Store};
use super::operation::{Place, Work, debug_by_name};
use super::shared::Shared;
use crate::probe::Wait;
use crate::wait_queue::WaitQueue;

/// The work of [`Sender::closed`](crate::channel::Sender::closed).
pub struct AwaitEnd<'a, T, K: Kind> {
    pub(super) shared: &'a Shared<T, K>,
}

impl<T, K: Kind> Work for AwaitEnd<'_, T, K> {
    type Output = ();

    const WAIT: Wait = Wait::Notify;

    fn address(&self) -> *const () {
        self.shared.address()
    }

    fn attempt(&mut self) -> Option<()> {
        self.shared.store.is_closed().then_some(())
    }

    fn poll(&mut self, place: Pin<&mut Place>, _: Option<Party<'_>>, cx: &mut Context<'_>) -> Poll<()> {
        poll_event(&self.shared.end, place, || self.shared.store.is_closed(), cx)
    }
}

/// The work of [`Sender::resumed`](crate::channel::Sender::resumed).
pub struct AwaitFlow<'a, T, K: Kind> {
    pub(super) shared: &'a Shared<T, K>,
}

impl<T, K: Kind> AwaitFlow<'_, T, K> {
    fn flows(&self) -> bool {
        !self.shared.flow.as_ref().is_some_and(|flow| flow.is_paused()) || self.shared.store.is_closed()
    }
}

impl<T, K: Kind> Work for AwaitFlow<'_, T, K> {
    type Output = ();

    const WAIT: Wait = Wait::Notify;

    fn address(&self) -> *const () {
        self.shared.address()
    }

    fn attempt(&mut self) -> Option<()> {
        self.flows().then_some(())
    }

    fn poll(&mut self, place: Pin<&mut Place>, _: Option<Party<'_>>, cx: &mut Context<'_>) -> Poll<()> {
        match &self.shared.flow {
            Some(flow) => poll_event(&flow.resumed, place, || self.flows(), cx),
            None => Poll::Ready(()),
        }
    }
}

/// Waits in a line for something to be so.
fn poll_event(
    line: &WaitQueue,
    place: Pin<&mut Place>,
    is_so: impl Fn() -> bool,
    cx: &mut Context<'_>,
) -> Poll<()> {
    place.waiter().poll_told(line, 0, || is_so().then_some(()), cx).map(|_| ())
}

debug_by_name!(AwaitEnd<'a, T, K>, AwaitFlow<'a, T, K>);
