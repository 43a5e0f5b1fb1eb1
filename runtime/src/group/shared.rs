//! Layer 5, group. What a group, its handles and its children share: who is there, who has ended, and what a failure
//! does.
//!
//! Owns the children's join handles. A child is in `children` from before it is spawned, and one of those running until
//! it has said, as its future was dropped, that it ended; then it is in `ended` as well, until whoever joins takes it
//! and waits for its task to be done, which is a matter of moments. So a join waits for tasks, not only for futures,
//! and takes a panic from where any task has it. A join of all is woken by the last to end only. Called by `mod.rs`, by
//! children (`child`), and by the group's token when it is cancelled.
//!
//! # How a group ends before its time
//! All ways lead through the token: a failure cancels it, a user does, a parent does, the drop of the group does. The
//! hook that the token calls then shuts the group for newcomers, and aborts the children, at once or after the
//! grace period. A child whose task is being spawned meanwhile is aborted by its spawner, who looks after it has
//! put the handle into its place, under the lock under which the order to abort was given.
//!
//! No user code runs under the lock: handles, futures and outputs are dropped outside of it.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, ready};

use filch_channels::sync::{Notified, Notify};
use slab::Slab;

use super::child::{Child, End, How};
use super::error::{Cause, ChildError};
use super::outcome::Outcome;
use crate::cancel::region::{Region, Shielded};
use crate::cancel::{CancelToken, Reason};
use crate::cleanup::{ExitStack, Work};
use crate::shim::{Arc, Mutex};
use crate::spawn::spawn_named;
use crate::task::Id;
use crate::time::{Duration, sleep};
use crate::{AbortHandle, Handle, JoinError, JoinHandle};

/// What is chosen before the first child.
#[derive(Clone, Default)]
pub(super) struct Options {
    pub(super) collects_all: bool,
    pub(super) discards: bool,
    pub(super) grace: Duration,
    pub(super) parent: Option<CancelToken>,
    pub(super) home: Option<Handle>,
}

/// A child, until its output is taken.
pub(super) struct Entry<R> {
    index: usize,
    name: Option<Box<str>>,
    location: &'static Location<'static>,
    /// `None` while it is being spawned.
    task: Option<JoinHandle<R>>,
    how: Option<How>,
}

struct State<R: Outcome> {
    children: Slab<Entry<R>>,
    /// How many of them have not ended.
    running: usize,
    /// Those that have, in the order in which they did.
    ended: VecDeque<usize>,
    /// What a `join` has collected so far.
    kept: Vec<Ended<R>>,
    spawned: usize,
    /// No child comes in any more.
    closed: bool,
    /// Children are to be aborted.
    aborting: bool,
    /// Where the last child was spawned.
    home: Option<Handle>,
    /// The task that waits for the end of the grace period.
    grace: Option<AbortHandle>,
    stack: Option<ExitStack>,
    /// Has the region that the group was made in wait for the children.
    outer: Option<Shielded>,
}

pub(super) struct Shared<R: Outcome> {
    state: Mutex<State<R>>,
    /// One has ended, or all have.
    news: Notify,
    /// All have.
    rest: Notify,
    pub(super) region: Arc<Region>,
    pub(super) options: Options,
    location: &'static Location<'static>,
}

/// A child that is done: who it was, its id, what it came to.
pub(super) struct Ended<R: Outcome> {
    pub(super) index: usize,
    pub(super) id: Id,
    pub(super) result: Result<R::Value, ChildError<R::Error>>,
}

impl<R: Outcome> Shared<R> {
    pub(super) fn new(options: Options, location: &'static Location<'static>) -> Arc<Shared<R>> {
        let region = Region::new(options.parent.as_ref());
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                children: Slab::new(),
                running: 0,
                ended: VecDeque::new(),
                kept: Vec::new(),
                spawned: 0,
                closed: false,
                aborting: false,
                home: None,
                grace: None,
                stack: None,
                outer: None,
            }),
            news: Notify::new(),
            rest: Notify::new(),
            region,
            options,
            location,
        });
        let weak = Arc::downgrade(&shared);
        shared
            .region
            .token
            .on_cancel(Box::new(move || weak.upgrade().into_iter().for_each(|it| it.cancelled())));
        shared
    }

    /// How many children have not ended.
    pub(super) fn len(&self) -> usize {
        self.state.lock().running
    }

    pub(super) fn has_spawned(&self) -> bool {
        self.state.lock().spawned > 0
    }

    #[track_caller]
    fn home(&self) -> Handle {
        self.options.home.clone().unwrap_or_else(Handle::current)
    }

    #[track_caller]
    pub(super) fn spawn<F>(self: &Arc<Self>, future: F, name: Option<Box<str>>) -> AbortHandle
    where
        F: Future<Output = R> + Send + 'static,
    {
        let location = Location::caller();
        self.spawn_by(name, |home, end, name| {
            spawn_named(&home.0, Child::new(self.region.within(future), end), name, location)
        })
    }

    #[track_caller]
    pub(super) fn spawn_blocking(self: &Arc<Self>, job: impl FnOnce() -> R + Send + 'static) -> AbortHandle {
        let location = Location::caller();
        self.spawn_by(None, |home, end, _| home.0.spawn_blocking(move || end.run(job), None, location))
    }

    #[track_caller]
    fn spawn_by(
        self: &Arc<Self>,
        name: Option<Box<str>>,
        spawn: impl FnOnce(&Handle, End<R>, Option<Box<str>>) -> JoinHandle<R>,
    ) -> AbortHandle {
        let home = self.home();
        let Some(key) = self.enter(&home, name.clone(), Location::caller()) else {
            // As after the end of a runtime: the future is dropped, and there is a task to show for it.
            drop(spawn);
            let refused = spawn_named(&home.0, std::future::pending::<()>(), name, Location::caller());
            refused.abort();
            return refused.abort_handle();
        };
        let task = spawn(&home, End::new(self.clone(), key), name);
        let abort = task.abort_handle();
        self.entered(key, task);
        abort
    }

    /// A place for a child to be spawned. `None`: the group is shut.
    fn enter(
        &self,
        home: &Handle,
        name: Option<Box<str>>,
        location: &'static Location<'static>,
    ) -> Option<usize> {
        let outer = self.region.shield_outer();
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            return None;
        }
        let index = state.spawned;
        state.spawned += 1;
        let unused = if state.outer.is_none() { std::mem::replace(&mut state.outer, outer) } else { outer };
        // It is asked for when there is a grace period to be waited for.
        let has_grace = !self.options.grace.is_zero();
        let before = if has_grace { state.home.replace(home.clone()) } else { None };
        state.running += 1;
        let key = state.children.insert(Entry { index, name, location, task: None, how: None });
        drop(state);
        drop((unused, before));
        Some(key)
    }

    /// The child has a task.
    fn entered(&self, key: usize, task: JoinHandle<R>) {
        let mut state = self.state.lock();
        let aborting = state.aborting;
        let abort = aborting.then(|| task.abort_handle());
        let entry = &mut state.children[key];
        entry.task = Some(task);
        if let Some(how) = entry.how {
            return self.leave(state, key, how);
        }
        drop(state);
        abort.into_iter().for_each(|abort| abort.abort());
    }

    /// The child's future is gone.
    pub(super) fn ended(&self, key: usize, how: How) {
        let mut state = self.state.lock();
        let entry = &mut state.children[key];
        entry.how = Some(how);
        let location = entry.location;
        if entry.task.is_some() {
            self.leave(state, key, how);
        } else {
            drop(state);
        }
        let text = match how {
            How::Failed => "a child of the group failed",
            How::Panicked => "a child of the group panicked",
            How::Cancelled | How::Well => return,
        };
        if !self.options.collects_all {
            self.region.token.cancel_for(&Reason::new(location, text.into()));
        }
    }

    /// The child has ended, and its task is known.
    fn leave(&self, mut state: crate::shim::MutexGuard<'_, State<R>>, key: usize, how: How) {
        let unseen = if how == How::Well && self.options.discards {
            Some(state.children.remove(key))
        } else {
            state.ended.push_back(key);
            None
        };
        state.running -= 1;
        let is_last = state.running == 0;
        let (grace, outer) = if is_last { (state.grace.take(), state.outer.take()) } else { (None, None) };
        drop(state);
        if is_last {
            self.news.notify_waiters();
            self.rest.notify_waiters();
        } else {
            self.news.notify_one();
        }
        grace.into_iter().for_each(|grace| grace.abort());
        drop((unseen, outer));
    }

    /// The token's hook.
    fn cancelled(self: &Arc<Self>) {
        let home = {
            let mut state = self.state.lock();
            state.closed = true;
            if state.running == 0 {
                return;
            }
            state.home.clone()
        };
        let grace = self.options.grace;
        let Some(home) = home.filter(|_| !grace.is_zero()) else { return self.abort_all() };
        let weak = Arc::downgrade(self);
        let task = crate::task::Builder::new().name("grace period").spawn_on(after(grace, weak), &home);
        let abort = task.abort_handle();
        let is_over = {
            let mut state = self.state.lock();
            let is_over = state.running == 0;
            if !is_over {
                state.grace = Some(abort.clone());
            }
            is_over
        };
        if is_over {
            abort.abort();
        }
    }

    /// Shuts the group, and aborts its children, without grace.
    pub(super) fn abort_all(&self) {
        let aborts: Vec<AbortHandle> = {
            let mut state = self.state.lock();
            (state.closed, state.aborting) = (true, true);
            state
                .children
                .iter()
                .filter_map(|(_, child)| child.task.as_ref().filter(|_| child.how.is_none()))
                .map(JoinHandle::abort_handle)
                .collect()
        };
        aborts.iter().for_each(AbortHandle::abort);
    }

    /// Waits until all children have ended, and keeps what they came to; then shuts the group.
    pub(super) async fn settled(&self) {
        let mut next = Next::new(self);
        loop {
            // From here on it is told; so what comes after the look is not missed.
            let rest = self.rest.notified();
            if self.len() > 0 {
                rest.await;
            }
            if poll_fn(|cx| next.poll_rest(cx)).await {
                return;
            }
        }
    }

    pub(super) fn take_kept(&self) -> Vec<Ended<R>> {
        std::mem::take(&mut self.state.lock().kept)
    }

    pub(super) fn defer(&self, work: Work) {
        let mut state = self.state.lock();
        state.stack.get_or_insert_with(|| ExitStack::at(self.location)).push_work(work);
    }

    pub(super) fn take_stack(&self) -> Option<ExitStack> {
        self.state.lock().stack.take()
    }

    /// Keeps `done`. The next child that has ended, if one has; whether it is worth waiting if not.
    fn take(&self, done: Option<Ended<R>>) -> (Option<Entry<R>>, bool) {
        let mut state = self.state.lock();
        state.kept.extend(done);
        let next = state.ended.pop_front().map(|key| state.children.remove(key));
        (next, state.running > 0)
    }

    /// Shuts the group if no child is left. False: there is one.
    fn close_if_empty(&self) -> bool {
        let mut state = self.state.lock();
        let is_empty = state.running == 0 && state.ended.is_empty();
        state.closed |= is_empty;
        is_empty
    }
}

/// Aborts what is left of a group after its grace period.
async fn after<R: Outcome>(grace: Duration, group: Weak<Shared<R>>) {
    sleep(grace).await;
    if let Some(group) = group.upgrade() {
        group.abort_all();
    }
}

impl<R: Outcome> Entry<R> {
    fn finish(self, result: Result<R, JoinError>, id: Id) -> Ended<R> {
        let Entry { index, name, location, .. } = self;
        let result = match result {
            Ok(output) => output.into_result().map_err(Cause::Error),
            Err(error) if error.is_panic() => Err(Cause::Panic(error)),
            Err(error) => Err(Cause::Cancelled(error)),
        };
        Ended { index, id, result: result.map_err(|cause| ChildError { index, name, location, cause }) }
    }
}

/// Waits for the next child to be done. When it is dropped, the child it has in hand goes back.
pub(super) struct Next<'a, R: Outcome> {
    shared: &'a Shared<R>,
    /// Made when it has to wait for the first time.
    news: Option<Pin<Box<Option<Notified<'a>>>>>,
    /// It has ended, and its task is about to be done.
    in_hand: Option<Entry<R>>,
}

impl<'a, R: Outcome> Next<'a, R> {
    pub(super) fn new(shared: &'a Shared<R>) -> Next<'a, R> {
        Next { shared, news: None, in_hand: None }
    }

    /// `None`: no child is left.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ended<R>>> {
        loop {
            if let Some(ended) = ready!(self.poll_in_hand(cx)) {
                return Poll::Ready(Some(ended));
            }
            if let Some(news) = &mut self.news {
                if let Some(waits) = news.as_mut().as_pin_mut() {
                    ready!(waits.poll(cx));
                }
                news.set(None);
            }
            // From here on it is told; so what comes after the look is not missed.
            let news = self.shared.news.notified();
            match self.shared.take(None) {
                (None, false) => return Poll::Ready(None),
                (None, true) => self.news.get_or_insert_with(|| Box::pin(None)).set(Some(news)),
                (entry, _) => self.in_hand = entry,
            }
        }
    }

    /// Keeps what all have come to that have ended. Whether there are no others.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            let done = ready!(self.poll_in_hand(cx));
            self.in_hand = self.shared.take(done).0;
            if self.in_hand.is_none() {
                return Poll::Ready(self.shared.close_if_empty());
            }
        }
    }

    /// What the child in hand has come to, if there is one.
    fn poll_in_hand(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ended<R>>> {
        let Some(task) = self.in_hand.as_mut().and_then(|entry| entry.task.as_mut()) else {
            return Poll::Ready(None);
        };
        let id = task.id();
        let result = ready!(Pin::new(task).poll(cx));
        Poll::Ready(self.in_hand.take().map(|entry| entry.finish(result, id)))
    }
}

impl<R: Outcome> Drop for Next<'_, R> {
    fn drop(&mut self) {
        if let Some(entry) = self.in_hand.take() {
            let mut state = self.shared.state.lock();
            let key = state.children.insert(entry);
            state.ended.push_front(key);
            drop(state);
            self.shared.news.notify_one();
        }
    }
}
