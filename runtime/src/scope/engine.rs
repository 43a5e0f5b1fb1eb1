//! Layer 5, scope. What all kinds of scopes do: poll the body and its children, hear of new ones, stop, clean up.
//!
//! Owns body and children; what their handles share is [`Shared`]. All of it is safe code, and sound whatever is
//! leaked: children are fields of the scope's future (or lie in the inbox, whose type has their lifetime), and are
//! polled by nobody else. So a scope that is forgotten never polls them again, and its handles cannot outlive what
//! the children borrow. Called by `plain` and `fallible`.
//!
//! A poll goes in this order: the body, new children, those that were woken, the token and the clock. So an output
//! that is ready when the scope is cancelled, or at its deadline, counts.
#![forbid(unsafe_code)]

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::cancel::region::Region;
use crate::cancel::{CancelToken, Reason};
use crate::cleanup::{ExitStack, Work};
use crate::gather::pool::Pool;
use crate::gather::set::Turn;
use crate::shim::{Arc, Mutex};
use crate::task_local::TaskLocalFuture;
use crate::time::{Duration, Instant, Sleep, sleep, sleep_until};
use crate::util::bell::Bell;
use crate::util::wake::{drop_payload, guarded};

/// What the scope's future and its handles share. `C` is a boxed child.
pub(super) struct Shared<C> {
    inbox: Mutex<Inbox<C>>,
    bell: Arc<Bell>,
    pub(super) region: Arc<Region>,
    pub(super) location: &'static Location<'static>,
}

struct Inbox<C> {
    /// Spawned since the scope looked.
    new: Vec<C>,
    spawned: usize,
    stack: Option<ExitStack>,
    /// No child comes in any more.
    closed: bool,
}

impl<C> Shared<C> {
    fn new(parent: Option<CancelToken>, location: &'static Location<'static>) -> Arc<Shared<C>> {
        let region = Region::new(parent.as_ref());
        let bell = Arc::<Bell>::default();
        let rung = bell.clone();
        region.token.on_cancel(Box::new(move || rung.ring()));
        let inbox = Inbox { new: Vec::new(), spawned: 0, stack: None, closed: false };
        Arc::new(Shared { inbox: Mutex::new(inbox), bell, region, location })
    }

    /// The number of the next child.
    pub(super) fn number(&self) -> usize {
        let mut inbox = self.inbox.lock();
        inbox.spawned += 1;
        inbox.spawned - 1
    }

    /// Takes a child in; or drops it, if the scope is over or cancelled.
    pub(super) fn push(&self, child: C) {
        let refused = {
            let mut inbox = self.inbox.lock();
            if inbox.closed || self.region.token.is_cancelled() {
                Some(child)
            } else {
                inbox.new.push(child);
                None
            }
        };
        match refused {
            Some(child) => drop(child),
            None => self.bell.ring(),
        }
    }

    pub(super) fn defer(&self, work: Work) {
        let late = {
            let mut inbox = self.inbox.lock();
            let location = self.location;
            match inbox.closed {
                // Handed over at once.
                true => Some((ExitStack::at(location), work)),
                false => {
                    inbox.stack.get_or_insert_with(|| ExitStack::at(location)).push_work(work);
                    None
                }
            }
        };
        if let Some((mut stack, work)) = late {
            stack.push_work(work);
        }
    }

    fn take_new(&self) -> Vec<C> {
        std::mem::take(&mut self.inbox.lock().new)
    }

    /// Takes no more children in; what was left.
    fn close(&self) -> (Vec<C>, Option<ExitStack>) {
        let mut inbox = self.inbox.lock();
        inbox.closed = true;
        (std::mem::take(&mut inbox.new), inbox.stack.take())
    }

    /// As `close`, unless there is a new child.
    fn close_if_empty(&self) -> Option<Option<ExitStack>> {
        let mut inbox = self.inbox.lock();
        inbox.new.is_empty().then(|| {
            inbox.closed = true;
            inbox.stack.take()
        })
    }
}

/// What is chosen before the first poll.
#[derive(Default)]
pub(super) struct Options {
    pub(super) grace: Duration,
    pub(super) deadline: Option<Instant>,
    pub(super) parent: Option<CancelToken>,
    /// Whether the body is dropped with the children when the scope is cancelled.
    pub(super) stops_body: bool,
}

/// When a scope ends before its time.
struct Stop {
    grace: Duration,
    deadline: Option<Sleep>,
    /// Runs since the scope was cancelled.
    over: Option<Sleep>,
}

impl Stop {
    /// Whether what is left is to be dropped.
    fn is_due(
        &mut self,
        region: &Region,
        location: &'static Location<'static>,
        cx: &mut Context<'_>,
    ) -> bool {
        if let Some(deadline) = self.deadline.as_mut().filter(|_| !region.token.is_cancelled()) {
            if deadline.poll_deadline(cx, true).is_ready() {
                region
                    .token
                    .cancel_for(&Reason::new(location, "the deadline of the scope has passed".into()));
            }
        }
        if !region.token.is_cancelled() {
            return false;
        }
        if self.grace.is_zero() {
            return true;
        }
        let over = self.over.get_or_insert_with(|| sleep(self.grace));
        over.poll_deadline(cx, true).is_ready()
    }
}

type Payload = Box<dyn Any + Send>;

/// What a scope came to.
pub(super) struct Ended<T> {
    /// `None`: the body was dropped.
    pub(super) output: Option<T>,
    /// How many children were dropped.
    pub(super) dropped: usize,
    /// Why it was cancelled, if it was.
    pub(super) reason: Option<Reason>,
}

pin_project! {
    /// See the head of the file.
    struct Engine<B: Future, C> {
        #[pin]
        body: Option<TaskLocalFuture<Arc<Region>, B>>,
        output: Option<B::Output>,
        pool: Pool<C>,
        shared: Arc<Shared<C>>,
        stop: Stop,
        stops_body: bool,
        dropped: usize,
        panicked: Option<Payload>,
        // What is done after the children.
        closing: Option<Work>,
        is_closing: bool,
    }

    impl<B: Future, C> PinnedDrop for Engine<B, C> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            guarded("the body of a scope, when dropped,", || this.body.set(None));
            guarded("a child of a scope, when dropped,", || this.pool.clear());
            let (new, stack) = this.shared.close();
            guarded("a child of a scope, when dropped,", || drop(new));
            guarded("a waker, when dropped,", || this.shared.bell.forget());
            // After the children, to the runtime. What is under way there goes by itself.
            drop(stack);
        }
    }
}

impl<B: Future, C: Future<Output = ()> + Unpin> Engine<B, C> {
    fn new(body: B, shared: Arc<Shared<C>>, options: &Options) -> Engine<B, C> {
        let deadline = options.deadline.map(sleep_until);
        Engine {
            body: Some(shared.region.within(body)),
            output: None,
            pool: Pool::new(),
            shared,
            stop: Stop { grace: options.grace, deadline, over: None },
            stops_body: options.stops_body,
            dropped: 0,
            panicked: None,
            closing: None,
            is_closing: false,
        }
    }

    /// Everything to its end. A panic of the body, or one that a child's future lets out, comes as an error, after
    /// the clean-up.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::thread::Result<Ended<B::Output>>> {
        if !*self.as_mut().project().is_closing {
            let polled = catch_unwind(AssertUnwindSafe(|| self.as_mut().poll_running(cx)));
            let mut this = self.as_mut().project();
            let stack = match polled {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(stack)) => stack,
                Err(payload) => {
                    *this.panicked = Some(payload);
                    guarded("the body of a scope, when dropped,", || this.body.set(None));
                    guarded("a child of a scope, when dropped,", || this.pool.clear());
                    let (new, stack) = this.shared.close();
                    guarded("a child of a scope, when dropped,", || drop(new));
                    stack
                }
            };
            *this.is_closing = true;
            if stack.is_some() || !this.shared.region.is_settled() {
                let region = this.shared.region.clone();
                *this.closing = Some(Box::pin(close(region, stack)));
            }
        }
        let this = self.project();
        if let Some(closing) = this.closing {
            let closed = catch_unwind(AssertUnwindSafe(|| closing.as_mut().poll(cx)));
            if matches!(closed, Ok(Poll::Pending)) {
                return Poll::Pending;
            }
            *this.closing = None;
            match (closed, &this.panicked) {
                (Err(second), Some(_)) => drop_payload(second),
                (Err(payload), None) => *this.panicked = Some(payload),
                (Ok(_), _) => {}
            }
        }
        let reason = this.shared.region.token.reason();
        let ended = Ended { output: this.output.take(), dropped: *this.dropped, reason };
        Poll::Ready(match this.panicked.take() {
            Some(payload) => {
                guarded("dropping the output of a scope that panicked", || drop(ended));
                Err(payload)
            }
            None => Ok(ended),
        })
    }

    /// Ready: body and children are done, or were dropped.
    fn poll_running(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ExitStack>> {
        let mut this = self.project();
        let shared = &**this.shared;
        shared.bell.begin();
        this.pool.begin();
        let mut turn = Turn::begin();
        if let Some(body) = this.body.as_mut().as_pin_mut() {
            // It is polled each time: its wakes are the scope's.
            if let Poll::Ready(output) = body.poll(cx) {
                *this.output = Some(output);
                this.body.set(None);
            }
        }
        loop {
            let is_over = loop {
                shared.take_new().into_iter().for_each(|child| this.pool.push(child));
                if this.pool.poll(&mut turn, cx).is_pending() {
                    break true;
                }
                if shared.inbox.lock().new.is_empty() {
                    break false;
                }
            };
            if (this.pool.left() > 0 || this.body.is_some())
                && this.stop.is_due(&shared.region, shared.location, cx)
            {
                *this.dropped += this.pool.left();
                this.pool.clear();
                let new = shared.take_new();
                *this.dropped += new.len();
                drop(new);
                if *this.stops_body {
                    this.body.set(None);
                }
            }
            if this.body.is_none() && this.pool.left() == 0 {
                if let Some(stack) = shared.close_if_empty() {
                    return Poll::Ready(stack);
                }
                continue;
            }
            if is_over {
                // The parent was woken.
                return Poll::Pending;
            }
            if !shared.bell.rest(cx.waker()) {
                continue;
            }
            if !this.pool.park(cx) {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
    }
}

/// Waits for what is shielded, then does what was put off.
async fn close(region: Arc<Region>, stack: Option<ExitStack>) {
    region.settled().await;
    if let Some(mut stack) = stack {
        stack.close().await;
    }
}

pin_project! {
    /// A scope that begins with its first poll, when it gets its body from `start`.
    pub(super) struct Lazy<F, B: Future, C> {
        start: Option<F>,
        pub(super) options: Options,
        location: &'static Location<'static>,
        #[pin]
        engine: Option<Engine<B, C>>,
    }
}

impl<F, B: Future, C: Future<Output = ()> + Unpin> Lazy<F, B, C> {
    pub(super) fn new(start: F, location: &'static Location<'static>) -> Lazy<F, B, C> {
        Lazy { start: Some(start), options: Options::default(), location, engine: None }
    }

    pub(super) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        body: impl FnOnce(F, Arc<Shared<C>>) -> B,
    ) -> Poll<std::thread::Result<Ended<B::Output>>> {
        let mut this = self.project();
        if let Some(start) = this.start.take() {
            let shared = Shared::new(this.options.parent.take(), this.location);
            let made = body(start, shared.clone());
            this.engine.set(Some(Engine::new(made, shared, this.options)));
        }
        let engine = this.engine.as_mut().as_pin_mut();
        let ended = engine.expect("a scope was polled again after it had ended").poll(cx);
        if ended.is_ready() {
            this.engine.set(None);
        }
        ended
    }
}
