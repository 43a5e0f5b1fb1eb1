//! Layer 1, task. The half of a task that does not know its types: the header, the pointer to it, and those who
//! hold one.
//!
//! A task is one block: [`Header`] (the same for all tasks), a pointer to the scheduler, and the stage, which
//! holds the future until DONE and the output after. Types are erased behind a table for each pair of future
//! and scheduler, which `cell` makes. Called by `scheduler` (through [`Runnable`]), `waker` and `join`. What
//! each field needs is in the table of `state`.

use std::any::Any;
use std::io;
use std::mem::{self, MaybeUninit};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::{self, NonNull};
use std::task::{Context, Poll, Waker};

use filch_channels::probe;

use super::Birth;
use super::cell::{allocate, in_poll};
use super::error::{JoinError, PanicHook, TaskPanic};
use super::join::JoinHandle;
use super::list::Links;
use super::state::{State, WakeByVal};
use crate::shim::Ordering::{AcqRel, Acquire};
use crate::shim::task::AtomicPtr;
use crate::shim::{Mutex, UnsafeCell};
use crate::util::wake::guarded;

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

/// In the tag of a task, beside the index of its list: a shutdown lets it come to its own end, within its deadline,
/// and takes in more of the kind.
pub(crate) const LATE: u16 = 1 << 15;

/// The part of a task that does not depend on its types. At the start of the block.
#[repr(C)]
pub(crate) struct Header {
    /// First, so that the probe's pointer to it is a pointer to the whole header.
    pub(crate) probe: probe::Header,
    pub(crate) state: State,
    pub(super) table: &'static Table,
    pub(super) links: UnsafeCell<Links>,
    /// The id of the task that spawned it; `0`: none.
    pub(crate) parent: u64,
    pub(crate) location: &'static Location<'static>,
    /// Null until the task is given a name or a callback.
    extra: AtomicPtr<Extra>,
    /// Whose it is: see "the join waker slot" in `state`.
    pub(super) join_waker: UnsafeCell<Option<Waker>>,
    /// A model fails when one of these is left: when a task is not freed.
    #[cfg(filch_loom)]
    _freed: crate::shim::Arc<()>,
}

/// The address of a task. *Alive while used*: it is only used while one of these keeps the task, and whoever
/// has a copy says which.
///
/// * Its `Runnable`: the task is not done, so the scheduler has not given its reference back.
/// * The list that the task is in: that is the scheduler's reference too, and a [`Done`] still has it.
/// * A counted reference: a [`Task`], a `JoinHandle`, a waker.
///
/// The compiler does not check that, so none leaves this room, and to make one of an address is not safe.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct TaskPtr(NonNull<Header>);

// SAFETY: all fields of a header but two are atomics or never written; `links` belong to the task's list, and
// `join_waker` to the side that the state names. What else is in a task only its `Runnable` and its handle
// reach: a task made by `new` has a `Send` future, or a scheduler that runs it on one thread only, as the
// caller vouched; and the handle sees to the output.
unsafe impl Send for TaskPtr {}
// SAFETY: as above.
unsafe impl Sync for TaskPtr {}

impl Deref for TaskPtr {
    type Target = Header;

    #[inline]
    fn deref(&self) -> &Header {
        // SAFETY: alive while used.
        unsafe { self.0.as_ref() }
    }
}

/// What few tasks have.
#[derive(Default)]
struct Extra {
    name: Option<Box<str>>,
    /// What `on_done` left to call.
    callbacks: Mutex<Vec<Callback>>,
}

/// Gets the `Result<T, JoinError>` of the task, whatever `T` is.
pub(super) type Callback = Box<dyn FnOnce(&dyn Any) + Send>;

/// What `cell` does for a task of given types. Called with a task whose table this is, and no other.
pub(super) struct Table {
    pub(super) run: fn(Runnable) -> Ran,
    /// With the reason why the task could not be started, if that is why.
    pub(super) cancel: fn(Runnable, Option<io::Error>) -> Done,
    pub(super) schedule: fn(Runnable),
    /// Moves the output to `*mut Result<T, JoinError>`, as `cell::Typed::take_output`.
    pub(super) take_output: unsafe fn(TaskPtr, *mut ()),
    /// As `cell::Typed::call_back`.
    pub(super) call_back: unsafe fn(TaskPtr),
    /// For whoever gave back the last reference.
    pub(super) free: unsafe fn(TaskPtr),
}

/// The right to poll a task once. At most one exists for each task.
///
/// It is used up by [`run`](Self::run) or [`cancel`](Self::cancel); a dropped one would leave its task where
/// it is for ever.
#[must_use]
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Runnable(TaskPtr);

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

/// A task that is done, with the scheduler's reference. The scheduler takes it out of its list, then calls
/// `release`.
#[must_use]
#[derive(Debug)]
pub(crate) struct Done(pub(super) TaskPtr);

/// Makes a task that is ready to be polled for the first time, and its handle.
///
/// # Safety
/// `scheduler` is valid until the task is done, as [`Schedule`] says. If `F` or its output is not `Send`, the
/// scheduler runs and cancels the task on the calling thread only.
#[inline]
pub(crate) unsafe fn new<F: Future + 'static, S: Schedule + 'static>(
    future: F,
    scheduler: *const S,
    birth: Birth,
) -> (Runnable, JoinHandle<F::Output>) {
    let task = allocate(future, scheduler, birth, State::new());
    (Runnable(task), JoinHandle::new(task))
}

impl TaskPtr {
    /// # Safety
    /// `raw` came from `cast`, and the task is alive while the result is used.
    #[inline]
    pub(super) unsafe fn from_raw(raw: *const ()) -> TaskPtr {
        // SAFETY: it was not null in `cast`.
        TaskPtr(unsafe { NonNull::new_unchecked(raw.cast_mut().cast()) })
    }

    pub(super) fn cast<T>(self) -> NonNull<T> {
        self.0.cast()
    }

    #[inline]
    pub(super) fn wake_by_ref(self) {
        if self.probe.is_current() {
            self.probe.wake_self();
        } else if self.state.wake_by_ref() {
            Runnable(self).schedule();
        }
    }

    /// As `wake_by_ref`, and gives a reference back.
    ///
    /// # Safety
    /// As for `drop_ref`.
    #[inline]
    pub(super) unsafe fn wake_by_val(self) {
        if self.probe.is_current() {
            self.probe.wake_self();
            // The poll under way holds the scheduler's reference, so this is not the last one.
            let last = self.state.drop_ref();
            debug_assert!(!last);
            return;
        }
        match self.state.wake_by_val() {
            WakeByVal::Nothing => {}
            WakeByVal::Schedule => Runnable(self).schedule(),
            // SAFETY: as in `drop_ref`.
            WakeByVal::Free => unsafe { (self.table.free)(self) },
        }
    }

    /// # Safety
    /// The caller has a reference, and gives it up.
    #[inline]
    pub(super) unsafe fn drop_ref(self) {
        if self.state.drop_ref() {
            // SAFETY: that was the last reference. So the task is done (the scheduler's goes last until then), and
            // its output taken.
            unsafe { (self.table.free)(self) };
        }
    }

    /// # Safety
    /// As for `Typed::take_output`; `T` is the task's output type.
    pub(super) unsafe fn take_output<T>(self) -> Result<T, JoinError> {
        let mut output = MaybeUninit::<Result<T, JoinError>>::uninit();
        // SAFETY: the caller says so; the function has written all of it.
        unsafe {
            (self.table.take_output)(self, output.as_mut_ptr().cast());
            output.assume_init()
        }
    }
}

impl Header {
    #[inline]
    pub(super) fn new(birth: Birth, state: State, table: &'static Table) -> Header {
        let extra =
            birth.name.map(|name| Box::into_raw(Box::new(Extra { name: Some(name), ..Extra::default() })));
        Header {
            probe: probe::Header::new(birth.id, birth.list),
            state,
            table,
            links: UnsafeCell::new(Links::default()),
            parent: birth.parent,
            location: birth.location,
            extra: AtomicPtr::new(extra.unwrap_or(ptr::null_mut())),
            join_waker: UnsafeCell::new(None),
            #[cfg(filch_loom)]
            _freed: crate::shim::Arc::new(()),
        }
    }

    pub(super) fn about(&self) -> TaskPanic {
        let name = self.name().map(str::to_owned);
        TaskPanic { id: self.probe.id(), name, location: self.location, message: String::new() }
    }

    pub(crate) fn is_late(&self) -> bool {
        self.probe.tag() & LATE != 0
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.extra().and_then(|extra| extra.name.as_deref())
    }

    fn extra(&self) -> Option<&Extra> {
        // Ordering: Acquire pairs with the Release of the exchange below, or the hand-over of the task after
        // `new`.
        // SAFETY: once set, the pointer stays until the task is freed.
        unsafe { self.extra.load(Acquire).as_ref() }
    }

    /// Leaves `callback` to be called with the output.
    pub(super) fn push_callback(&self, callback: Callback) {
        if self.extra().is_none() {
            let new = Box::into_raw(Box::<Extra>::default());
            if self.extra.compare_exchange(ptr::null_mut(), new, AcqRel, Acquire).is_err() {
                // SAFETY: ours, and nobody saw it.
                drop(unsafe { Box::from_raw(new) });
            }
        }
        let extra = self.extra().expect("it was made, here or on another thread");
        extra.callbacks.lock().push(callback);
    }

    /// Calls each callback, once. May run on two threads at once; each callback is called by one of them.
    pub(super) fn call_back(&self, output: &dyn Any) {
        let all = self.extra().map(|extra| mem::take(&mut *extra.callbacks.lock()));
        for callback in all.into_iter().flatten() {
            guarded("an on_done callback", || callback(output));
        }
    }
}

impl Drop for Header {
    fn drop(&mut self) {
        // Ordering: Acquire: the last reference was given back after any other thread's store of the pointer.
        let extra = self.extra.load(Acquire);
        if !extra.is_null() {
            // SAFETY: `new` or `push_callback` made it by a `Box`, and nobody else can reach it any more.
            drop(unsafe { Box::from_raw(extra) });
        }
    }
}

impl Runnable {
    pub(super) fn task(&self) -> TaskPtr {
        self.0
    }

    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.0.probe.id()
    }

    /// The list that the task is in.
    pub(crate) fn list(&self) -> u16 {
        self.0.probe.tag() & !LATE
    }

    /// Polls the task once, on this thread. User code runs here, and does not unwind.
    #[inline]
    pub(crate) fn run(self) -> Ran {
        (self.0.table.run)(self)
    }

    /// Drops the future without polling it. User code (its drop) runs here, and does not unwind.
    /// `why`: it could not be started.
    pub(crate) fn cancel(self, why: Option<io::Error>) -> Done {
        (self.0.table.cancel)(self, why)
    }

    /// Hands it to the task's scheduler.
    #[inline]
    fn schedule(self) {
        (self.0.table.schedule)(self);
    }

    /// After a poll that was pending. Gives the `Runnable` back if the task was woken meanwhile.
    #[inline]
    pub(super) fn end_pending(self, seen: u32) -> Option<Runnable> {
        // A task that woke itself: the wakes that were seen stand for that one. No reference is an argument of
        // this function: with `Idle`, another thread may run the task to its end, and free it, before we
        // return.
        let again = self.0.probe.woke_itself() || self.0.state.end_pending(seen);
        again.then_some(self)
    }

    /// The task is done: what is left is the scheduler's reference.
    pub(super) fn done(self) -> Done {
        Done(self.0)
    }
}

impl Done {
    pub(crate) fn list(&self) -> u16 {
        self.0.probe.tag() & !LATE
    }

    /// Gives back the scheduler's reference. The task is in no list any more.
    #[inline]
    pub(crate) fn release(self) {
        // SAFETY: whoever completes a task has the scheduler's reference, and gives it up here.
        unsafe { self.0.drop_ref() };
    }
}

/// A counted reference to a task: to look at it, and to ask for its end.
#[derive(Debug)]
pub(crate) struct Task(TaskPtr);

impl Task {
    pub(super) fn new(task: TaskPtr) -> Task {
        task.state.add_ref();
        Task(task)
    }

    /// Asks for the task's end; see `AbortHandle::abort`.
    pub(crate) fn abort(&self) {
        if self.0.state.cancel() {
            Runnable(self.0).schedule();
        }
    }
}

impl Deref for Task {
    type Target = Header;

    fn deref(&self) -> &Header {
        &self.0
    }
}

impl Clone for Task {
    fn clone(&self) -> Task {
        Task::new(self.0)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // SAFETY: we have a reference, and give it up.
        unsafe { self.0.drop_ref() };
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
        let task = allocate(std::future::ready(()), scheduler, birth, State::new_detached());
        (Root(Task::new(task)), Runnable(task))
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.probe.id()
    }

    /// Polls the owner's future as this task. The owner holds the `Runnable`, in effect: it was born with it,
    /// or its scheduler got it.
    pub(crate) fn poll<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> RootPolled<T> {
        let task = self.0.0;
        // A root cannot be dropped by anyone but its owner: an abort is one more wake.
        let (seen, _) = task.state.start_poll();
        match self.with_context(poll) {
            Ok(Poll::Ready(output)) => RootPolled::Done(Ok(output)),
            Err(payload) => RootPolled::Done(Err(payload)),
            Ok(Poll::Pending) => {
                Runnable(task).end_pending(seen).map_or(RootPolled::Idle, |_| RootPolled::Again)
            }
        }
    }

    /// Runs `f`, such as the drop of the owner's future, as this task.
    pub(crate) fn within<R>(&self, f: impl FnOnce() -> R) -> std::thread::Result<R> {
        self.with_context(|_| f())
    }

    fn with_context<R>(&self, f: impl FnOnce(&mut Context<'_>) -> R) -> std::thread::Result<R> {
        in_poll(self.0.0, |cx| catch_unwind(AssertUnwindSafe(|| f(cx))))
    }

    /// The owner's future is gone. Called once, after `Done`, or instead of the first poll.
    pub(crate) fn complete(&self) -> Done {
        // The `Runnable` is with the owner. The stage holds only a `Ready`.
        Runnable(self.0.0).cancel(None)
    }
}

/// The name of the task that this thread is polling, if it has one.
pub(crate) fn current_name() -> Option<String> {
    probe::with_current(|header| {
        // SAFETY: as in `install_probe`: it is the first field of the header of a task that is alive while polled.
        let task = header.map(|header| unsafe { &*ptr::from_ref(header).cast::<Header>() });
        task.and_then(Header::name).map(str::to_owned)
    })
}

/// Tells the probe how tasks are counted.
pub(crate) fn install_probe() {
    // SAFETY: these do what `Hooks` says: every header given to `set_current` is the first field of a task's
    // `Header`, which whoever calls them keeps alive; and `release` gives back what `retain` took.
    unsafe {
        probe::install(probe::Hooks {
            retain: |header| TaskPtr::from_raw(ptr::from_ref(header).cast()).state.add_ref(),
            release: |header| TaskPtr::from_raw(header.cast()).drop_ref(),
        });
    }
}
