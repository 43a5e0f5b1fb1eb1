//! Layer 1, task. The allocation of a task, its table of functions, and all pointer casts.
//!
//! A task is one block: [`Header`] (the same for all tasks), a pointer to the scheduler, and the stage, which
//! holds the future until DONE and the output after. Types are erased behind a table for each pair of future
//! and scheduler. Called by `scheduler` (through [`Runnable`]), `waker` and `join`. What each field needs is
//! in the table of `state`.

use std::any::Any;
use std::future::Future;
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll, Waker};

use filch_channels::probe;

use super::error::{JoinError, PanicHook, TaskPanic};
use super::join::{Callbacks, JoinHandle};
use super::list::Links;
use super::state::{Complete, EndPoll, StartPoll, State};
use super::{Birth, waker};
use crate::shim::Ordering::{AcqRel, Acquire};
use crate::shim::UnsafeCell;
use crate::shim::task::AtomicPtr;
use crate::util::wake::{drop_payload, guarded};

/// What a task asks of whoever runs it. The only edge from this layer upward.
///
/// # Safety
/// A scheduler stays where it is, and alive, until every task made for it is done: a task that is not done
/// may call it at any time, from any thread.
pub(crate) unsafe trait Schedule {
    /// Takes a task that was woken. Must not run it, drop it or call other user code.
    fn schedule(&self, runnable: Runnable);

    /// What to do with a panic that nobody will see.
    fn panic_hook(&self) -> PanicHook;
}

/// The part of a task that does not depend on its types. At the start of the block.
#[repr(C)]
pub(crate) struct Header {
    /// First, so that the probe's pointer to it is a pointer to the whole header.
    pub(super) probe: probe::Header,
    pub(super) state: State,
    vtable: &'static Vtable,
    pub(super) links: UnsafeCell<Links>,
    parent: u64,
    location: &'static Location<'static>,
    /// Null until the task is given a name or a callback.
    extra: AtomicPtr<Extra>,
    /// Whose it is: see "the join waker slot" in `state`.
    pub(super) join_waker: UnsafeCell<Option<Waker>>,
    /// A model fails when one of these is left: when a task is not freed.
    #[cfg(filch_loom)]
    _freed: crate::shim::Arc<()>,
}

// SAFETY: all fields but two are atomics or never written; `links` belong to the task's list, and
// `join_waker` to the side that the state names.
unsafe impl Sync for Header {}

/// What few tasks have.
#[derive(Default)]
pub(super) struct Extra {
    name: Option<Box<str>>,
    pub(super) callbacks: Callbacks,
}

#[repr(C)]
struct Cell<F: Future, S> {
    header: Header,
    scheduler: *const S,
    stage: UnsafeCell<Stage<F>>,
}

/// Which one it is, the state says: `future` until DONE, `output` from then until it is taken.
union Stage<F: Future> {
    future: ManuallyDrop<F>,
    output: ManuallyDrop<Result<F::Output, JoinError>>,
}

/// How many bytes a task takes.
#[cfg(test)]
pub(super) const fn allocated<F: Future, S>() -> usize {
    size_of::<Cell<F, S>>()
}

struct Vtable {
    run: unsafe fn(NonNull<Header>) -> Ran,
    /// With the reason why the task could not be started, if that is why.
    cancel: unsafe fn(NonNull<Header>, Option<io::Error>) -> Done,
    schedule: unsafe fn(NonNull<Header>),
    /// Moves the output to `*mut Result<T, JoinError>`.
    take_output: unsafe fn(NonNull<Header>, *mut ()),
    /// Runs the callbacks with the output in its place.
    call_back: unsafe fn(NonNull<Header>),
    free: unsafe fn(NonNull<Header>),
}

/// The right to poll a task once. At most one exists for each task.
///
/// It is used up by [`run`](Self::run) or [`cancel`](Self::cancel); a dropped one would leave its task where
/// it is for ever.
#[must_use]
#[derive(Debug)]
pub(crate) struct Runnable(NonNull<Header>);

// SAFETY: a task made by `new` has a `Send` future, or a scheduler that runs it on one thread only; its caller vouched
// for that.
unsafe impl Send for Runnable {}

/// What became of a run.
#[must_use]
#[derive(Debug)]
pub(crate) enum Ran {
    /// Pending: gone until it is woken.
    Idle,
    /// Pending, and woken meanwhile: to be scheduled.
    Again(Runnable),
    Done(Done),
}

/// A task that is done. The scheduler takes it out of its list, then calls `release`.
#[must_use]
#[derive(Debug)]
pub(crate) struct Done {
    header: NonNull<Header>,
    /// Whether it ended by itself, with an output or a panic.
    pub(crate) finished: bool,
}

/// Makes a task that is ready to be polled for the first time, and its handle.
///
/// # Safety
/// `scheduler` is valid until the task is done, as [`Schedule`] says. If `F` or its output is not `Send`, the
/// scheduler runs and cancels the task on the calling thread only.
#[inline]
pub(crate) unsafe fn new<F, S>(
    future: F,
    scheduler: *const S,
    birth: Birth,
) -> (Runnable, JoinHandle<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule + 'static,
{
    let header = allocate(future, scheduler, birth, State::new());
    (Runnable(header), JoinHandle::new(header))
}

#[inline]
fn allocate<F, S>(future: F, scheduler: *const S, birth: Birth, state: State) -> NonNull<Header>
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule + 'static,
{
    let extra = match birth.name {
        None => ptr::null_mut(),
        name => Box::into_raw(Box::new(Extra { name, ..Extra::default() })),
    };
    let header = Header {
        probe: probe::Header::new(birth.id, birth.list),
        state,
        vtable: vtable::<F, S>(),
        links: UnsafeCell::new(Links::new()),
        parent: birth.parent,
        location: birth.location,
        extra: AtomicPtr::new(extra),
        join_waker: UnsafeCell::new(None),
        #[cfg(filch_loom)]
        _freed: crate::shim::Arc::new(()),
    };
    // Written field by field: a large future is not built on the stack first.
    let mut cell = Box::<Cell<F, S>>::new_uninit();
    let place: *mut Cell<F, S> = MaybeUninit::as_mut_ptr(&mut cell);
    // SAFETY: the box is ours, and all three fields are written before it counts as a `Cell`.
    unsafe {
        (&raw mut (*place).header).write(header);
        (&raw mut (*place).scheduler).write(scheduler);
        (&raw mut (*place).stage).write(UnsafeCell::new(Stage { future: ManuallyDrop::new(future) }));
        NonNull::new_unchecked(Box::into_raw(cell.assume_init()).cast())
    }
}

fn vtable<F, S>() -> &'static Vtable
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule + 'static,
{
    const {
        &Vtable {
            run: run::<F, S>,
            cancel: cancel::<F, S>,
            schedule: schedule_as::<F, S>,
            take_output: take_output::<F, S>,
            call_back: call_back::<F, S>,
            free: free_as::<F, S>,
        }
    }
}

// The functions of the table. All share two facts. "The table fits": `header` is the start of a live `Cell<F,
// S>`, for `allocate` put this table there. "The stage is ours": see the table in `state` for who may touch
// it when.

/// # Safety
/// The table fits, and the caller holds the `Runnable`.
unsafe fn run<F, S>(header: NonNull<Header>) -> Ran
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule + 'static,
{
    // SAFETY: the table fits.
    let cell = unsafe { header.cast::<Cell<F, S>>().as_ref() };
    let state = &cell.header.state;
    let seen = match state.start_poll() {
        StartPoll::Poll { seen } => seen,
        // SAFETY: as for this function.
        StartPoll::Cancel { .. } => return Ran::Done(unsafe { cancel::<F, S>(header, None) }),
    };
    // SAFETY: the caller's `Runnable` keeps the task alive while it is polled.
    let waker = unsafe { waker::borrowed(header) };
    let mut cx = Context::from_waker(&waker);
    // SAFETY: the stage is ours: running.
    let Some((result, dropped)) = in_poll(&cell.header, || unsafe { poll_future(cell, &mut cx) }) else {
        settle(&cell.header);
        // SAFETY: we hold the `Runnable`.
        return unsafe { end_pending(header, seen) };
    };
    let output = match (result, dropped) {
        (Ok(output), None) => Ok(output),
        (Ok(output), Some(payload)) => {
            guarded("dropping the output of a task whose drop panicked", || drop(output));
            Err(panicked(cell, payload))
        }
        (Err(payload), second) => {
            second.into_iter().for_each(drop_payload);
            Err(panicked(cell, payload))
        }
    };
    settle(&cell.header);
    // SAFETY: the stage is ours and empty.
    Ran::Done(unsafe { complete(cell, output, true) })
}

type Payload = Box<dyn Any + Send>;

/// Pending, or what the poll came to, with what the drop's panic carried.
type Polled<T> = Option<(Result<T, Payload>, Option<Payload>)>;

/// Polls the future, and drops it unless it is pending (`None`). With the result comes what the drop's panic
/// carried.
///
/// # Safety
/// The stage is ours and holds the future; it is empty afterwards unless the answer is `None`.
#[inline]
unsafe fn poll_future<F: Future, S>(cell: &Cell<F, S>, cx: &mut Context<'_>) -> Polled<F::Output> {
    let polled = catch_unwind(AssertUnwindSafe(|| {
        cell.stage.with_mut(|stage| {
            // SAFETY: the stage is ours. The future does not move: it was written to the heap, and is dropped
            // there.
            let future = unsafe { Pin::new_unchecked(&mut *(*stage).future) };
            future.poll(cx)
        })
    }));
    let result = match polled {
        Ok(Poll::Pending) => return None,
        Ok(Poll::Ready(output)) => Ok(output),
        Err(payload) => Err(payload),
    };
    // SAFETY: the stage is ours, and the future is not polled again.
    Some((result, unsafe { drop_future(cell) }))
}

/// Runs `f` with the task as the current one of this thread.
#[inline]
fn in_poll<R>(header: &Header, f: impl FnOnce() -> R) -> R {
    header.probe.start_poll();
    // SAFETY: the task is alive until `f` has returned, and the pointer is replaced right after.
    let before = unsafe { probe::set_current(&header.probe) };
    // `f` does not unwind: what it calls of the user is in a `catch_unwind`.
    let result = f();
    // SAFETY: `before` was current before, and so is valid until whoever set it replaces it.
    unsafe { probe::set_current(before) };
    result
}

/// Ends a poll's account, outside of the poll: what it was granted and did not claim is passed on.
fn settle(header: &Header) {
    if header.probe.end_poll() {
        probe::settle_grants(&header.probe);
    }
}

/// # Safety
/// The caller holds the `Runnable`, and gives it up.
unsafe fn end_pending(ptr: NonNull<Header>, seen: u32) -> Ran {
    // SAFETY: the `Runnable` keeps the task until `State::end_pending`. No reference is an argument of this
    // function: with `Idle`, another thread may run the task to its end, and free it, before we return.
    let header = unsafe { ptr.as_ref() };
    if header.probe.woke_itself() {
        // The wakes that were seen stand for the one it gave itself: the `Runnable` simply lives on.
        return Ran::Again(Runnable(ptr));
    }
    match header.state.end_pending(seen) {
        EndPoll::Idle => Ran::Idle,
        EndPoll::Again => Ran::Again(Runnable(ptr)),
    }
}

/// Drops the future, and returns what its panic carried, if it did.
///
/// # Safety
/// The stage is ours, holds the future, and is empty afterwards.
unsafe fn drop_future<F: Future, S>(cell: &Cell<F, S>) -> Option<Payload> {
    catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: as the caller says.
        cell.stage.with_mut(|stage| unsafe { ManuallyDrop::drop(&mut (*stage).future) });
    }))
    .err()
}

fn panicked<F: Future, S: Schedule>(cell: &Cell<F, S>, payload: Payload) -> JoinError {
    // SAFETY: the task is not done, so its scheduler is there.
    let hook = unsafe { (*cell.scheduler).panic_hook() };
    JoinError::panic(cell.header.about(), payload, hook)
}

/// # Safety
/// The table fits, and the caller holds the `Runnable`.
unsafe fn cancel<F, S>(header: NonNull<Header>, why: Option<io::Error>) -> Done
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule + 'static,
{
    // SAFETY: the table fits.
    let cell = unsafe { header.cast::<Cell<F, S>>().as_ref() };
    // SAFETY: the stage is ours: the `Runnable` is, and the task is not done.
    let dropped = in_poll(&cell.header, || unsafe { drop_future(cell) });
    let error = match dropped {
        Some(payload) => panicked(cell, payload),
        None => cell.header.cancelled(why),
    };
    settle(&cell.header);
    // SAFETY: the stage is ours and empty.
    unsafe { complete(cell, Err(error), false) }
}

/// Stores the output, says so, and does what that asks for.
///
/// # Safety
/// The caller holds the `Runnable`, and the stage is empty.
unsafe fn complete<F, S>(cell: &Cell<F, S>, output: Result<F::Output, JoinError>, finished: bool) -> Done
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule + 'static,
{
    cell.stage.with_mut(|stage| {
        // SAFETY: the stage is ours, and empty.
        unsafe { stage.write(Stage { output: ManuallyDrop::new(output) }) };
    });
    let header = NonNull::from(&cell.header);
    let (drop_output, wake_join) = loop {
        match cell.header.state.complete() {
            // SAFETY: the table fits. Not done, so nobody takes the output.
            Complete::CallBack => unsafe { call_back::<F, S>(header) },
            Complete::Done { drop_output, wake_join } => break (drop_output, wake_join),
        }
    };
    if drop_output {
        let mut output = MaybeUninit::<Result<F::Output, JoinError>>::uninit();
        // SAFETY: no handle, so the output is ours to take.
        let output = unsafe {
            take_output::<F, S>(header, output.as_mut_ptr().cast());
            output.assume_init()
        };
        discard(output);
    }
    if wake_join {
        // SAFETY: the waker is set, and whoever set DONE takes it ("the join waker slot" in `state`).
        let waker = cell.header.join_waker.with_mut(|slot| unsafe { (*slot).take() });
        if let Some(waker) = waker {
            guarded("the waker of a join handle", || waker.wake());
        }
    }
    Done { header, finished }
}

/// Drops an output that nobody will see. A panic in it goes to the policy, and one in its drop is only said.
pub(super) fn discard<T>(output: Result<T, JoinError>) {
    match output {
        Ok(output) => guarded("dropping the output of a task", || drop(output)),
        Err(error) => error.unobserved(),
    }
}

/// # Safety
/// The table fits, and the caller made or holds the `Runnable`, which it gives up.
unsafe fn schedule_as<F: Future, S: Schedule>(header: NonNull<Header>) {
    // SAFETY: the table fits.
    let scheduler = unsafe { (*header.cast::<Cell<F, S>>().as_ptr()).scheduler };
    // SAFETY: the task is not done, so its scheduler is there.
    unsafe { (*scheduler).schedule(Runnable(header)) };
}

/// # Safety
/// The table fits, the task is done, and the output is the caller's to take, once.
unsafe fn take_output<F: Future, S>(header: NonNull<Header>, to: *mut ()) {
    // SAFETY: the table fits.
    let cell = unsafe { header.cast::<Cell<F, S>>().as_ref() };
    cell.stage.with_mut(|stage| {
        // SAFETY: the stage holds the output, which moves to the caller; `to` is of its type, since handle
        // and task are.
        unsafe { to.cast::<Result<F::Output, JoinError>>().write(ManuallyDrop::take(&mut (*stage).output)) };
    });
}

/// # Safety
/// The table fits, the output is in its place, and nobody takes it meanwhile.
unsafe fn call_back<F, S>(header: NonNull<Header>)
where
    F: Future + 'static,
    F::Output: 'static,
{
    // SAFETY: the table fits.
    let cell = unsafe { header.cast::<Cell<F, S>>().as_ref() };
    cell.stage.with(|stage| {
        // SAFETY: the stage holds the output, and is only read here.
        let output: &Result<F::Output, JoinError> = unsafe { &(*stage).output };
        cell.header.extra().callbacks.run(output);
    });
}

/// # Safety
/// The table fits, the task is done, its output was taken, and there is no reference left.
unsafe fn free_as<F: Future, S>(header: NonNull<Header>) {
    // SAFETY: `allocate` made the block by a `Box` of this type; the union drops nothing by itself.
    let cell = unsafe { Box::from_raw(header.cast::<Cell<F, S>>().as_ptr()) };
    // Ordering: Acquire: the last reference was given back after any other thread's store of the pointer.
    let extra = cell.header.extra.load(Acquire);
    if !extra.is_null() {
        // SAFETY: `allocate` or `extra` made it by a `Box`, and nobody else can reach it any more.
        drop(unsafe { Box::from_raw(extra) });
    }
}

// What the rest of this room calls through the table.

/// # Safety
/// A wake by the caller made the `Runnable`.
#[inline]
pub(super) unsafe fn schedule(header: NonNull<Header>) {
    // SAFETY: the task is not done, hence alive; the table is its own.
    unsafe { (header.as_ref().vtable.schedule)(header) };
}

/// # Safety
/// The caller gave back the last reference.
#[cold]
pub(super) unsafe fn free(header: NonNull<Header>) {
    // SAFETY: no reference: the task is done (the scheduler's goes last until then) and its output taken.
    unsafe { (header.as_ref().vtable.free)(header) };
}

/// # Safety
/// The caller has a reference, and gives it up.
#[inline]
pub(super) unsafe fn drop_ref(header: NonNull<Header>) {
    // SAFETY: the caller's reference keeps the task until this call.
    if unsafe { header.as_ref() }.state.drop_ref() {
        // SAFETY: that was the last reference.
        unsafe { free(header) };
    }
}

/// # Safety
/// As for the function of the table; `T` is the task's output type.
pub(super) unsafe fn output<T>(header: NonNull<Header>) -> Result<T, JoinError> {
    let mut output = MaybeUninit::<Result<T, JoinError>>::uninit();
    // SAFETY: the caller says so; the function has written all of it.
    unsafe {
        (header.as_ref().vtable.take_output)(header, output.as_mut_ptr().cast());
        output.assume_init()
    }
}

/// # Safety
/// As for the function of the table.
pub(super) unsafe fn callbacks(header: NonNull<Header>) {
    // SAFETY: the caller says so.
    unsafe { (header.as_ref().vtable.call_back)(header) };
}

impl Header {
    fn about(&self) -> TaskPanic {
        let name = self.name().map(str::to_owned);
        TaskPanic { id: self.probe.id(), name, location: self.location, message: String::new() }
    }

    fn cancelled(&self, why: Option<io::Error>) -> JoinError {
        match why {
            None => JoinError::cancelled(self.about()),
            Some(why) => JoinError::not_started(self.about(), why),
        }
    }

    pub(super) fn name(&self) -> Option<&str> {
        // SAFETY: once set, the pointer stays until the task is freed.
        unsafe { self.extra.load(Acquire).as_ref() }.and_then(|extra| extra.name.as_deref())
    }

    /// The extra part, made if it was not there.
    pub(super) fn extra(&self) -> &Extra {
        // Ordering: Acquire pairs with the Release of the exchange below, or the hand-over of the task after
        // `allocate`.
        let mut extra = self.extra.load(Acquire);
        if extra.is_null() {
            let new = Box::into_raw(Box::<Extra>::default());
            extra = match self.extra.compare_exchange(ptr::null_mut(), new, AcqRel, Acquire) {
                Ok(_) => new,
                Err(there) => {
                    // SAFETY: ours, and nobody saw it.
                    drop(unsafe { Box::from_raw(new) });
                    there
                }
            };
        }
        // SAFETY: once set, the pointer stays until the task is freed.
        unsafe { &*extra }
    }
}

impl Runnable {
    pub(crate) fn header(&self) -> NonNull<Header> {
        self.0
    }

    #[inline]
    pub(crate) fn id(&self) -> u64 {
        // SAFETY: a `Runnable`'s task is not done, hence alive.
        unsafe { self.0.as_ref() }.probe.id()
    }

    /// The list that the task is in.
    pub(crate) fn list(&self) -> u16 {
        // SAFETY: a `Runnable`'s task is not done, hence alive.
        unsafe { self.0.as_ref() }.probe.tag()
    }

    /// Polls the task once, on this thread. User code runs here, and does not unwind.
    #[inline]
    pub(crate) fn run(self) -> Ran {
        // SAFETY: the table is the task's own, and we hold the `Runnable`.
        unsafe { (self.0.as_ref().vtable.run)(self.0) }
    }

    /// Drops the future without polling it. User code (its drop) runs here, and does not unwind.
    /// `why`: it could not be started.
    pub(crate) fn cancel(self, why: Option<io::Error>) -> Done {
        // SAFETY: as in `run`.
        unsafe { (self.0.as_ref().vtable.cancel)(self.0, why) }
    }

    pub(crate) fn into_raw(self) -> *mut () {
        self.0.as_ptr().cast()
    }

    /// # Safety
    /// `raw` came from `into_raw`, and is turned back once.
    pub(crate) unsafe fn from_raw(raw: *mut ()) -> Runnable {
        // SAFETY: it was not null in `into_raw`.
        Runnable(unsafe { NonNull::new_unchecked(raw.cast()) })
    }
}

impl Done {
    pub(crate) fn header(&self) -> NonNull<Header> {
        self.header
    }

    pub(crate) fn list(&self) -> u16 {
        // SAFETY: the scheduler's reference is ours until `release`.
        unsafe { self.header.as_ref() }.probe.tag()
    }

    /// Gives back the scheduler's reference. The task is in no list any more.
    #[inline]
    pub(crate) fn release(self) {
        // SAFETY: whoever completes a task has the scheduler's reference, and gives it up here.
        unsafe { drop_ref(self.header) };
    }
}

/// A counted reference to a task: to look at it, and to ask for its end.
#[derive(Debug)]
pub(crate) struct Task(NonNull<Header>);

// SAFETY: what it reaches of a header is `Sync`.
unsafe impl Send for Task {}
// SAFETY: as above.
unsafe impl Sync for Task {}

impl Task {
    /// # Safety
    /// The task is alive.
    pub(super) unsafe fn new(header: NonNull<Header>) -> Task {
        // SAFETY: the caller says so.
        unsafe { header.as_ref() }.state.add_ref();
        Task(header)
    }

    fn header(&self) -> &Header {
        // SAFETY: our reference keeps it.
        unsafe { self.0.as_ref() }
    }

    /// Asks for the task's end; see `AbortHandle::abort`.
    pub(crate) fn abort(&self) {
        if self.header().state.cancel() {
            // SAFETY: that made the `Runnable`.
            unsafe { schedule(self.0) };
        }
    }

    pub(crate) fn probe(&self) -> &probe::Header {
        &self.header().probe
    }

    pub(crate) fn parent(&self) -> u64 {
        self.header().parent
    }

    pub(crate) fn location(&self) -> &'static Location<'static> {
        self.header().location
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.header().name()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.header().state.is_done()
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.header().state.is_woken()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.header().state.is_cancelled()
    }
}

impl Clone for Task {
    fn clone(&self) -> Task {
        // SAFETY: our own reference keeps it alive.
        unsafe { Task::new(self.0) }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // SAFETY: we have a reference, and give it up.
        unsafe { drop_ref(self.0) };
    }
}

/// A task whose future stays with its owner: the root of `block_on`, which may borrow and need not be `Send`.
///
/// It has a header, wakers and a place in the list like any other. Its `Runnable` is never run: it goes to
/// the scheduler as a sign that the root was woken, and the owner polls in its stead.
#[derive(Debug)]
pub(crate) struct Root(Task);

/// What a root's poll came to.
pub(crate) enum RootPolled<T> {
    /// Pending, and nothing to do until the scheduler gets the `Runnable` again.
    Idle,
    /// Pending, and woken meanwhile: poll again.
    Again,
    Done(std::thread::Result<T>),
}

impl Root {
    /// # Safety
    /// `scheduler` is valid until `complete` has returned.
    pub(crate) unsafe fn new<S: Schedule + 'static>(scheduler: *const S, birth: Birth) -> (Root, Runnable) {
        let header = allocate(std::future::ready(()), scheduler, birth, State::new_detached());
        // SAFETY: just made, alive.
        (Root(unsafe { Task::new(header) }), Runnable(header))
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.probe().id()
    }

    /// Polls the owner's future as this task. The owner holds the `Runnable`, in effect: it was born with it,
    /// or its scheduler got it.
    pub(crate) fn poll<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> RootPolled<T> {
        let header = self.0.header();
        let seen = match header.state.start_poll() {
            // A root cannot be dropped by anyone but its owner: an abort is one more wake.
            StartPoll::Poll { seen } | StartPoll::Cancel { seen } => seen,
        };
        // SAFETY: our reference outlives the poll.
        let waker = unsafe { waker::borrowed(self.0.0) };
        let mut cx = Context::from_waker(&waker);
        let polled = in_poll(header, || catch_unwind(AssertUnwindSafe(|| poll(&mut cx))));
        settle(header);
        match polled {
            Ok(Poll::Ready(output)) => RootPolled::Done(Ok(output)),
            Err(payload) => RootPolled::Done(Err(payload)),
            Ok(Poll::Pending) if header.probe.woke_itself() => RootPolled::Again,
            Ok(Poll::Pending) => match header.state.end_pending(seen) {
                EndPoll::Idle => RootPolled::Idle,
                EndPoll::Again => RootPolled::Again,
            },
        }
    }

    /// Runs `f`, such as the drop of the owner's future, as this task.
    pub(crate) fn within<R>(&self, f: impl FnOnce() -> R) -> std::thread::Result<R> {
        let header = self.0.header();
        let result = in_poll(header, || catch_unwind(AssertUnwindSafe(f)));
        settle(header);
        result
    }

    /// The owner's future is gone. Called once, after `Done`, or instead of the first poll.
    pub(crate) fn complete(&self) -> Done {
        // SAFETY: the table is its own, and the `Runnable` is with the owner. The stage holds only a `Ready`.
        unsafe { (self.0.header().vtable.cancel)(self.0.0, None) }
    }
}

/// Tells the probe how tasks are counted.
pub(crate) fn install_probe() {
    unsafe fn retain(header: &probe::Header) {
        let header = ptr::from_ref(header).cast::<Header>();
        // SAFETY: every header given to `set_current` is the first field of a task's `Header`.
        unsafe { (*header).state.add_ref() };
    }
    unsafe fn release(header: *const probe::Header) {
        // SAFETY: as above; the reference is the one that `retain` took. Not null.
        unsafe { drop_ref(NonNull::new_unchecked(header.cast::<Header>().cast_mut())) };
    }
    // SAFETY: these do what `Hooks` says, for headers of ours, and only ours are given to `set_current`.
    unsafe { probe::install(probe::Hooks { retain, release }) };
}
