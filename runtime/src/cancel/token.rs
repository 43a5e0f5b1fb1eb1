//! Layer 3, cancel. `CancelToken`, and the futures that wait for one.
//!
//! Owns a count of a node of the tree. Called by users on any thread, and by `group` and `scope`.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use filch_channels::sync::EventWait;
use pin_project_lite::pin_project;

use super::reason::{Cancelled, Reason};
use super::region::Region;
use super::tree::{Hook, Node, Owner};
use crate::shim::Arc;

/// Asks all who have a clone of it, or a child, to come to an end, and tells them why.
///
/// tokio-util's `CancellationToken`, with a [`Reason`]. Once cancelled, a token stays so. To clone it gives the same
/// token; a [`child`](Self::child) is cancelled with its parent, and can be cancelled alone. A token that is dropped
/// cancels nothing: see [`drop_guard`](Self::drop_guard). A child that nobody has any more leaves no trace in its
/// parent, however long that lives.
///
/// # Examples
/// A loop that looks each time, and one that is dropped where it waits:
/// ```
/// use filch::cancel::{CancelToken, Cancelled};
///
/// async fn count(token: CancelToken) -> Result<(), Cancelled> {
///     loop {
///         token.checkpoint()?;
///         filch::yield_now().await;
///     }
/// }
///
/// # filch::run(async {
/// let token = CancelToken::new();
/// let counting = filch::spawn(count(token.child()));
/// let waiting = filch::spawn({
///     let token = token.clone();
///     async move { token.run_until_cancelled(std::future::pending::<()>()).await }
/// });
/// token.cancel("enough");
/// assert_eq!(counting.await.unwrap().unwrap_err().reason().text(), "enough");
/// assert_eq!(waiting.await.unwrap().unwrap_err().reason().text(), "enough");
/// # });
/// ```
///
/// # Memory ordering
/// What happened before a cancellation is visible to those who learn of it.
#[derive(Clone)]
pub struct CancelToken(Arc<Owner<Reason>>);

impl CancelToken {
    /// A token without a parent.
    #[must_use]
    pub fn new() -> CancelToken {
        CancelToken(Arc::new(Owner::root()))
    }

    /// A token that is cancelled when this one is, with the same reason; at once if this one is already.
    #[must_use]
    pub fn child(&self) -> CancelToken {
        CancelToken(Arc::new(Owner::child(&self.0)))
    }

    /// That of the [`TaskGroup`](crate::TaskGroup) or [`scope`](crate::scope()) whose child is being polled on this
    /// thread, the innermost. `None` outside of those, and in tasks that a child spawned by itself.
    #[must_use]
    pub fn current() -> Option<CancelToken> {
        Region::current().map(|region| region.token.clone())
    }

    /// Cancels this token and all below it. False: it was cancelled before, and keeps its reason.
    ///
    /// Never waits. When it returns, all tokens below are cancelled, and those who waited for one are woken.
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.cancel_for(&Reason::new(Location::caller(), reason.into()))
    }

    pub(crate) fn cancel_for(&self, reason: &Reason) -> bool {
        Node::cancel(&self.0.node, reason)
    }

    /// Whether it was cancelled. Takes no lock.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.node.reason().is_some()
    }

    /// Why it was cancelled; `None` if it was not.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.0.node.reason().cloned()
    }

    /// An error if it was cancelled: for the `?` of code that works for long, and can stop between two steps.
    ///
    /// # Errors
    /// [`Cancelled`], with the reason.
    pub fn checkpoint(&self) -> Result<(), Cancelled> {
        self.reason().map_or(Ok(()), |reason| Err(Cancelled(reason)))
    }

    /// Waits until it is cancelled, and gives the reason.
    ///
    /// # Cancel safety
    /// **Strict.**
    #[track_caller]
    pub fn cancelled(&self) -> Cancellation<'_> {
        Cancellation { owner: &self.0, wait: self.0.node.event.wait() }
    }

    /// Runs `future` to its end, or drops it when this is cancelled.
    ///
    /// With a token that is cancelled already `future` is not polled at all. After that, an output that is ready
    /// when the token is cancelled wins.
    ///
    /// # Examples
    /// ```
    /// # filch::run(async {
    /// let token = filch::CancelToken::new();
    /// assert_eq!(token.run_until_cancelled(async { 5 }).await.unwrap(), 5);
    /// token.cancel("closed");
    /// let error = token.run_until_cancelled(async { 5 }).await.unwrap_err();
    /// assert_eq!(error.reason().text(), "closed");
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`Cancelled`], with the reason.
    ///
    /// # Cancel safety
    /// **Strict** if `future` is.
    #[track_caller]
    pub fn run_until_cancelled<F: IntoFuture>(&self, future: F) -> UntilCancelled<'_, F::IntoFuture> {
        UntilCancelled { future: Some(future.into_future()), begun: false, cancelled: self.cancelled() }
    }

    /// Cancels the token when what this returns is dropped: on every way out of a function.
    #[track_caller]
    pub fn drop_guard(self) -> DropGuard {
        DropGuard { token: Some(self), location: Location::caller() }
    }

    /// Has `hook` called when this is cancelled; now, if it is. With no lock held.
    pub(crate) fn on_cancel(&self, hook: Hook) {
        self.0.node.on_cancel(hook);
    }

    #[cfg(test)]
    pub(super) fn children(&self) -> usize {
        self.0.children()
    }
}

impl Default for CancelToken {
    fn default() -> CancelToken {
        CancelToken::new()
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("reason", &self.0.node.reason()).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`CancelToken::cancelled`].
    ///
    /// # Cancel safety
    /// **Strict.**
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Cancellation<'a> {
        owner: &'a Owner<Reason>,
        #[pin]
        wait: EventWait<'a>,
    }
}

impl Future for Cancellation<'_> {
    type Output = Reason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reason> {
        let this = self.project();
        std::task::ready!(this.wait.poll(cx));
        let reason = this.owner.node.reason().cloned();
        Poll::Ready(reason.expect("the reason is there before the event is set"))
    }
}

impl fmt::Debug for Cancellation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancellation").field("reason", &self.owner.node.reason()).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`CancelToken::run_until_cancelled`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct UntilCancelled<'a, F> {
        #[pin]
        future: Option<F>,
        begun: bool,
        #[pin]
        cancelled: Cancellation<'a>,
    }
}

impl<F: Future> Future for UntilCancelled<'_, F> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let owner: &Owner<Reason> = this.cancelled.owner;
        if *this.begun || owner.node.reason().is_none() {
            *this.begun = true;
            let future = this.future.as_mut().as_pin_mut();
            let future = future.expect("`run_until_cancelled` was polled again after it had been ready");
            if let Poll::Ready(output) = future.poll(cx) {
                this.future.set(None);
                return Poll::Ready(Ok(output));
            }
        }
        // Not only by the wait, which may find that the future has spent the budget.
        let reason = match owner.node.reason() {
            Some(reason) => reason.clone(),
            None => std::task::ready!(this.cancelled.poll(cx)),
        };
        this.future.set(None);
        Poll::Ready(Err(Cancelled(reason)))
    }
}

impl<F> fmt::Debug for UntilCancelled<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilCancelled").field("cancelled", &self.cancelled).finish_non_exhaustive()
    }
}

/// Cancels a token when it is dropped. Made by [`CancelToken::drop_guard`].
#[derive(Debug)]
#[must_use = "the token is cancelled when the guard is dropped"]
pub struct DropGuard {
    token: Option<CancelToken>,
    location: &'static Location<'static>,
}

impl DropGuard {
    /// The token back, which is then not cancelled by this.
    #[must_use]
    pub fn disarm(mut self) -> CancelToken {
        self.token.take().expect("only this and the drop take it")
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            token.cancel_for(&Reason::new(self.location, "its guard was dropped".into()));
        }
    }
}
