//! Futures polled by hand on this thread, in turn, with a waker that does nothing: what is left is what they do, and
//! no scheduler. Used by the criterion benches of primitives.
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// Runs one future that never has to wait for another.
pub fn alone<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits for somebody, and nobody is there"),
    }
}

/// Polls all of them in turn until all are done.
pub fn together(futures: &mut [Pin<&mut dyn Future<Output = ()>>]) {
    let mut done = vec![false; futures.len()];
    while done.contains(&false) {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            *done = *done || future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        }
    }
}
