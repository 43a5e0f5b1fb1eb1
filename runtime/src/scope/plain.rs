//! Layer 5, scope. `scope` and `scope_local`: children that cannot fail, of a body that gives the output.
//!
//! Owns the two kinds of boxed children, with and without `Send`, and the handles. Called by users, in any task, of
//! filch or elsewhere.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use filch_channels::channel::oneshot;
use pin_project_lite::pin_project;

use super::engine::{Lazy, Shared};
use crate::cancel::{CancelToken, Cancelled, Reason};
use crate::shim::Arc;
use crate::time::Duration;

/// A child that may go to another thread with its scope.
pub(super) type SendChild<'env> = Pin<Box<dyn Future<Output = ()> + Send + 'env>>;
/// A child that may not.
type LocalChild<'env> = Pin<Box<dyn Future<Output = ()> + 'env>>;

/// Runs `body`, and the children that it spawns, to their ends, in this task. Then gives the output of `body`.
///
/// Children are polled in turn by whoever polls the scope: they run on one thread at a time, need not be `'static`,
/// and may borrow whatever outlives the scope. To run in parallel, spawn tasks in a [`TaskGroup`](crate::TaskGroup).
/// Nothing outlives the scope: it ends when the body and all children have, and drops them when it is dropped, by a
/// timeout for example. So `wait_for(scope(..), limit)` is a deadline for all of it.
///
/// The [`Scope`] that `body` gets is cloned for children that spawn others. Children are `Send`, so that the whole may
/// be; for those that are not there is [`scope_local`]. For children that may fail there is
/// [`try_scope`](crate::try_scope).
///
/// `async move` moves what it names: make references before, of what children are to share.
///
/// # Examples
/// ```
/// # filch::run(async {
/// let words = vec![String::from("to"), String::from("borrow")];
/// let words = &words;
/// let letters = filch::scope(|s| async move {
///     let first = s.spawn(async { words[0].len() });
///     let second = s.spawn(async { words[1].len() });
///     first.await.unwrap() + second.await.unwrap()
/// });
/// assert_eq!(letters.await, 8);
/// # });
/// ```
///
/// A child cannot borrow from the body, which it outlives:
/// ```compile_fail,E0373
/// # filch::run(async {
/// filch::scope(|s| async move {
///     let short = String::from("gone");
///     s.spawn(async { short.len() });
/// })
/// .await;
/// # });
/// ```
///
/// Nor can it change what another one reads:
/// ```compile_fail,E0524
/// # filch::run(async {
/// let mut count = 0;
/// let count = &mut count;
/// filch::scope(|s| async move {
///     s.spawn(async { *count += 1 });
///     s.spawn(async { *count += 1 });
/// })
/// .await;
/// # });
/// ```
///
/// And nobody can take a scope out, to spawn what ends before it:
/// ```compile_fail,E0597
/// # filch::run(async {
/// let mut escaped = None;
/// let out = &mut escaped;
/// filch::scope(|s| async move { *out = Some(s) }).await;
/// {
///     let short = String::from("gone");
///     escaped.as_ref().unwrap().spawn(async { short.len() });
/// }
/// drop(escaped);
/// # });
/// ```
///
/// # Panics
/// When the body does, or a child: after all others were dropped, and what was [put off](Scope::defer) was done.
///
/// # Cancel safety
/// **Not cancel safe:** body and children are dropped where they stand.
#[track_caller]
pub fn scope<'env, F, B>(body: F) -> ScopeFuture<F, B, Scope<'env>>
where
    F: FnOnce(Scope<'env>) -> B,
    B: Future,
{
    ScopeFuture { lazy: Lazy::new(body, Location::caller()) }
}

/// [`scope`] for children that are not `Send`: those may share a `Cell` or an `Rc`. Nor is the future of this.
///
/// # Examples
/// ```
/// use std::cell::Cell;
///
/// # filch::run(async {
/// let count = Cell::new(0);
/// let count = &count;
/// filch::scope_local(|s| async move {
///     for n in 1..=3 {
///         s.spawn(async move { count.set(count.get() + n) });
///     }
/// })
/// .await;
/// assert_eq!(count.get(), 6);
/// # });
/// ```
///
/// # Panics
/// As [`scope`].
///
/// # Cancel safety
/// **Not cancel safe:** body and children are dropped where they stand.
#[track_caller]
pub fn scope_local<'env, F, B>(body: F) -> ScopeFuture<F, B, LocalScope<'env>>
where
    F: FnOnce(LocalScope<'env>) -> B,
    B: Future,
{
    ScopeFuture { lazy: Lazy::new(body, Location::caller()) }
}

/// What the two kinds of scopes differ in.
pub trait Kind: sealed::Kind {}

pub(super) mod sealed {
    use std::future::Future;

    use super::{Arc, Shared};

    pub trait Kind {
        type Child: Future<Output = ()> + Unpin;
        #[allow(private_interfaces, reason = "nobody outside can name this trait")]
        fn of(shared: Arc<Shared<Self::Child>>) -> Self;
    }
}

/// What all handles of scopes can do.
macro_rules! handle {
    ($handle:ident<$($generic:tt),*>) => {
        impl<$($generic),*> $handle<$($generic),*> {
            /// The scope's token: a child of that which it was put under, or which the group or scope has in whose
            /// child it runs. To cancel it is to cancel the scope.
            #[must_use]
            pub fn token(&self) -> CancelToken {
                self.shared.region.token.clone()
            }

            /// Cancels the scope: its children are dropped, at once or after its grace period, and new ones do not
            /// come in. False: it was cancelled before.
            #[track_caller]
            pub fn cancel(&self, reason: impl Into<Cow<'static, str>>) -> bool {
                let reason = Reason::new(Location::caller(), reason.into());
                self.shared.region.token.cancel_for(&reason)
            }

            /// Has `work` done when the scope ends, after body and children, the last one first; by the runtime if
            /// the scope is dropped: see [`cleanup`](crate::cleanup).
            pub fn defer<W>(&self, work: W)
            where
                W: IntoFuture<Output = (), IntoFuture: Send + 'static>,
            {
                self.shared.defer(Box::pin(work.into_future()));
            }
        }

        impl<$($generic),*> fmt::Debug for $handle<$($generic),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let token = &self.shared.region.token;
                f.debug_struct(stringify!($handle)).field("token", token).finish_non_exhaustive()
            }
        }
    };
}
pub(super) use handle;

macro_rules! kind {
    ($(#[$meta:meta])* $handle:ident, $child:ident, $($send:ident)?) => {
        $(#[$meta])*
        #[derive(Clone)]
        pub struct $handle<'env> {
            shared: Arc<Shared<$child<'env>>>,
        }

        impl<'env> $handle<'env> {
            /// Puts a child into the scope. It is polled when the scope is, from its next turn on.
            ///
            /// The child stays in the scope when the handle is dropped. Once the scope was cancelled, or has ended,
            /// no child comes in: `future` is dropped unpolled, and the handle says so.
            #[track_caller]
            pub fn spawn<F>(&self, future: F) -> ScopedHandle<F::Output>
            where
                F: Future<Output: $($send +)? 'env> + $($send +)? 'env,
            {
                let (sender, receiver) = oneshot::channel();
                let child = async move {
                    let output = future.await;
                    drop(sender.send(output));
                };
                self.shared.push(Box::pin(self.shared.region.within(child)));
                ScopedHandle::new(receiver, &self.shared.region.token)
            }
        }

        impl<'env> sealed::Kind for $handle<'env> {
            type Child = $child<'env>;

            #[allow(private_interfaces, reason = "nobody outside can name this trait")]
            fn of(shared: Arc<Shared<$child<'env>>>) -> $handle<'env> {
                $handle { shared }
            }
        }

        impl Kind for $handle<'_> {}

        handle!($handle<'env>);
    };
}

kind! {
    /// The way to spawn children into a [`scope`]. Cloned freely, also into children.
    Scope, SendChild, Send
}
kind! {
    /// The way to spawn children into a [`scope_local`].
    LocalScope, LocalChild,
}

/// Waits for a child of a scope: a future of its output. To drop it is not to wait.
///
/// # Cancel safety
/// **Strict.** The output is taken only by the poll that returns it.
pub struct ScopedHandle<T> {
    receiver: oneshot::Receiver<T>,
    token: CancelToken,
    location: &'static Location<'static>,
}

impl<T> ScopedHandle<T> {
    #[track_caller]
    pub(super) fn new(receiver: oneshot::Receiver<T>, token: &CancelToken) -> ScopedHandle<T> {
        ScopedHandle { receiver, token: token.clone(), location: Location::caller() }
    }
}

impl<T> Future for ScopedHandle<T> {
    /// An error if the child has been dropped, or has failed.
    type Output = Result<T, Cancelled>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(cx).map(|received| {
            received.map_err(|_| {
                let ended =
                    || Reason::new(self.location, "the child is gone, and its scope has ended".into());
                Cancelled(self.token.reason().unwrap_or_else(ended))
            })
        })
    }
}

impl<T> fmt::Debug for ScopedHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedHandle").field("location", &self.location).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`scope`] and [`scope_local`]. Its options are chosen before its first poll.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct ScopeFuture<F, B: Future, H: Kind> {
        #[pin]
        lazy: Lazy<F, B, H::Child>,
    }
}

impl<F, B: Future, H: Kind> ScopeFuture<F, B, H> {
    /// Cancels the scope's children when `parent` is cancelled. Its body goes on, and can look at the token.
    pub fn within(mut self, parent: &CancelToken) -> Self {
        self.lazy.options.parent = Some(parent.clone());
        self
    }

    /// Gives children time to end by themselves when the scope is cancelled: so long from then, before they are
    /// dropped. Zero unless this is called. Needs a runtime of ours, for its timer.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.lazy.options.grace = grace;
        self
    }
}

impl<F, B, H> Future for ScopeFuture<F, B, H>
where
    F: FnOnce(H) -> B,
    B: Future,
    H: Kind,
{
    type Output = B::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<B::Output> {
        self.project().lazy.poll(cx, |start, shared| start(H::of(shared))).map(|ended| match ended {
            Ok(ended) => ended.output.expect("the body of a plain scope is not dropped"),
            Err(payload) => resume_unwind(payload),
        })
    }
}

impl<F, B: Future, H: Kind> fmt::Debug for ScopeFuture<F, B, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeFuture").finish_non_exhaustive()
    }
}
