//! Futures that the test opens by hand, and the executors that all of this runs on.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Wake, Waker};

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// What a [`Gate`] waits for, and what became of it.
#[derive(Default)]
pub(super) struct Post {
    pub(super) polls: Cell<usize>,
    pub(super) drops: Cell<usize>,
    open: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Post {
    pub(super) fn new() -> Rc<Post> {
        Rc::default()
    }

    /// Opens the gate, and wakes who waits at it.
    pub(super) fn open(&self) {
        self.open.set(true);
        self.wake();
    }

    /// Wakes who waits at the gate, be it open or not. The waker stays.
    pub(super) fn wake(&self) {
        let waker = self.waker.borrow().clone();
        waker.expect("somebody waits").wake();
    }

    /// A future of `value`, ready once this is open.
    pub(super) fn gate<T>(self: &Rc<Post>, value: T) -> Gate<T> {
        Gate { post: self.clone(), value: Some(value) }
    }
}

/// See [`Post::gate`].
pub(super) struct Gate<T> {
    post: Rc<Post>,
    value: Option<T>,
}

impl<T> Unpin for Gate<T> {}

impl<T> Future for Gate<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.post.polls.set(self.post.polls.get() + 1);
        if self.post.open.get() {
            return Poll::Ready(self.value.take().expect("polled after it was ready"));
        }
        *self.post.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Gate<T> {
    fn drop(&mut self) {
        self.post.drops.set(self.post.drops.get() + 1);
    }
}

pub(super) fn posts<const N: usize>() -> [Rc<Post>; N] {
    [(); N].map(|()| Post::new())
}

pub(super) fn polls(posts: &[Rc<Post>]) -> Vec<usize> {
    posts.iter().map(|post| post.polls.get()).collect()
}

pub(super) fn drops(posts: &[Rc<Post>]) -> Vec<usize> {
    posts.iter().map(|post| post.drops.get()).collect()
}

/// Counts wakes.
#[derive(Default)]
pub(super) struct Wakes(AtomicUsize);

impl Wakes {
    pub(super) fn new() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::<Wakes>::default();
        (wakes.clone(), Waker::from(wakes))
    }

    /// How many since the last call.
    pub(super) fn take(&self) -> usize {
        self.0.swap(0, SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

pub(super) fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Runs `test` on filch and on tokio, both with a paused clock, and on an executor that has nothing else.
pub(super) fn everywhere<F: Future<Output = ()>>(test: impl Fn() -> F) {
    filch::Builder::new().paused_clock(1).build().unwrap().block_on(test());
    on_tokio(test());
    futures_lite::future::block_on(test());
}

pub(super) fn on_tokio<F: Future>(test: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(test)
}

/// Yields once.
pub(super) async fn turn() {
    futures_lite::future::yield_now().await;
}
