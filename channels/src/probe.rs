//! Layer 0. What stands between the primitives of this crate and a runtime that wants to look inside.
//!
//! Owns one thread-local pointer, to the public [`Header`] of the task being polled on this thread, and one
//! static table of [`Hooks`]. A leaf future asks here which task it runs in, spends that task's cooperative
//! budget, and leaves word of what it waits for. A runtime sets the pointer round each poll and installs the
//! hooks once. Where no runtime does (tokio, smol, plain threads) every call is one predicted branch.
//!
//! All accesses to a header are relaxed loads and stores: a header is written by the thread that polls its task,
//! and read by others only for reports. The one exception, the grant word, belongs to the wait queue and is
//! argued there.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::Location;
use std::ptr;
use std::task::{Context, Poll};

use crate::shim::Ordering::Relaxed;
use crate::shim::report;
use crate::shim::task::{AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicUsize};

pub use crate::holder::{Holder, holder_of};

/// How many operations that were ready at once a task may do in one poll before a leaf makes it yield.
pub const BUDGET: u8 = 128;

/// What a task waits for, as its last leaf future that was not ready said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum Wait {
    /// Nothing that a filch leaf knows of: a foreign future, or no wait at all.
    Unknown = 0,
    /// A lock of some kind.
    Lock = 1,
    /// Permits of a semaphore.
    Semaphore = 2,
    /// A notification or an event.
    Notify = 3,
    /// Room in a channel.
    Send = 4,
    /// A message of a channel.
    Recv = 5,
    /// A deadline.
    Timer = 6,
    /// A socket or another descriptor to become readable.
    Readable = 7,
    /// A socket or another descriptor to become writable.
    Writable = 8,
    /// Another task, through its join handle.
    Join = 9,
    /// A job on the blocking pool.
    Blocking = 10,
    /// The task yielded by itself, or its budget was spent.
    Yield = 11,
    /// One of several operations on channels.
    Select = 12,
}

impl Wait {
    fn from_u8(kind: u8) -> Wait {
        const ALL: [Wait; 13] = [
            Wait::Unknown,
            Wait::Lock,
            Wait::Semaphore,
            Wait::Notify,
            Wait::Send,
            Wait::Recv,
            Wait::Timer,
            Wait::Readable,
            Wait::Writable,
            Wait::Join,
            Wait::Blocking,
            Wait::Yield,
            Wait::Select,
        ];
        ALL.get(usize::from(kind)).copied().unwrap_or(Wait::Unknown)
    }
}

/// A line of somebody's code, or none, for reports: two threads may write and read it at once.
pub(crate) struct Place(report::AtomicPtr<Location<'static>>);

impl Place {
    pub(crate) const fn new() -> Place {
        Place(report::AtomicPtr::new(ptr::null_mut()))
    }

    #[inline]
    pub(crate) fn set(&self, location: Option<&'static Location<'static>>) {
        // Ordering: Relaxed, here and below: what is pointed to was there before the program began.
        self.0.store(location.map_or(ptr::null(), ptr::from_ref).cast_mut(), Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&'static Location<'static>> {
        // SAFETY: only `set` stores here, and always null or the address of a `&'static Location`.
        unsafe { self.0.load(Relaxed).as_ref() }
    }
}

/// Beside the kind of wait: the task was woken from inside its own poll. See [`Header::wake_self`].
const SELF_WAKE: u8 = 0x80;

/// The part of a task that both its runtime and the primitives see.
///
/// A runtime embeds one in each task, at the start of its own header.
#[repr(C)]
pub struct Header {
    id: u64,
    /// Twice the number of polls begun, less one while a poll is under way: odd means running.
    phase: AtomicU32,
    budget: AtomicU8,
    /// A `Wait`, and `SELF_WAKE` when the task woke itself during the poll under way.
    wait_kind: AtomicU8,
    /// Free for the runtime (filch keeps the index of the list here that the task is in).
    tag: AtomicU16,
    wait_resource: AtomicUsize,
    wait_location: Place,
    /// Not null: a wait queue invited this task to take something and may have to pass that on. A counted pointer
    /// that `wait_queue` owns, and argues.
    pub(crate) grant: AtomicPtr<()>,
}

impl Header {
    /// A header for the task `id`; `0` is reserved for "no task".
    pub fn new(id: u64, tag: u16) -> Header {
        Header {
            id,
            phase: AtomicU32::new(0),
            budget: AtomicU8::new(BUDGET),
            wait_kind: AtomicU8::new(Wait::Unknown as u8),
            tag: AtomicU16::new(tag),
            wait_resource: AtomicUsize::new(0),
            wait_location: Place::new(),
            grant: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The task's id.
    #[inline]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The runtime's own small number.
    #[inline]
    pub fn tag(&self) -> u16 {
        self.tag.load(Relaxed)
    }

    /// How often the task has been polled; wraps after 2^31.
    pub fn polls(&self) -> u32 {
        self.phase.load(Relaxed).div_ceil(2)
    }

    /// Whether a poll is under way.
    pub fn is_running(&self) -> bool {
        self.phase.load(Relaxed) & 1 == 1
    }

    /// The count that moves at each start and each end of a poll: odd while one is under way.
    #[inline]
    pub fn phase(&self) -> u32 {
        self.phase.load(Relaxed)
    }

    /// What the task waits for: the kind, the address of the resource (`0`: none) and the line that waits.
    ///
    /// The three are read one by one while the task may be running: a report, not a promise.
    pub fn wait(&self) -> (Wait, usize, Option<&'static Location<'static>>) {
        let kind = Wait::from_u8(self.wait_kind.load(Relaxed) & !SELF_WAKE);
        (kind, self.wait_resource.load(Relaxed), self.wait_location.get())
    }

    fn set_wait_kind(&self, kind: Wait) {
        self.wait_kind.store(self.wait_kind.load(Relaxed) & SELF_WAKE | kind as u8, Relaxed);
    }

    /// Called by the runtime, on the thread that is about to poll the task.
    #[inline]
    pub fn start_poll(&self) {
        // Ordering: Relaxed, here and below: only the polling thread writes, readers want a report.
        self.phase.store(self.phase.load(Relaxed).wrapping_add(1), Relaxed);
        self.budget.store(BUDGET, Relaxed);
        self.wait_kind.store(Wait::Unknown as u8, Relaxed);
    }

    /// True when `self` is the task that this thread is polling right now.
    #[inline]
    pub fn is_current(&self) -> bool {
        with_current(|current| current.is_some_and(|current| ptr::eq(current, self)))
    }

    /// The task is woken from inside its own poll: a plain store does, for only this thread will look.
    #[inline]
    pub fn wake_self(&self) {
        self.wait_kind.store(self.wait_kind.load(Relaxed) | SELF_WAKE, Relaxed);
    }

    /// Whether `wake_self` was called since the poll began.
    #[inline]
    pub fn woke_itself(&self) -> bool {
        self.wait_kind.load(Relaxed) & SELF_WAKE != 0
    }

    /// Called by the runtime, on the thread that polled the task. True: [`settle_grants`] must be called.
    #[inline]
    #[must_use]
    pub fn end_poll(&self) -> bool {
        self.phase.store(self.phase.load(Relaxed).wrapping_add(1), Relaxed);
        !self.grant.load(Relaxed).is_null()
    }
}

impl Drop for Header {
    fn drop(&mut self) {
        crate::wait_queue::forget_grant(self);
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("id", &self.id)
            .field("polls", &self.polls())
            .field("wait", &self.wait())
            .finish_non_exhaustive()
    }
}

/// What a runtime does for the primitives. Installed once in a process; see [`install`].
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    /// Keeps the memory of a task alive, as a clone of its waker does.
    pub retain: unsafe fn(&Header),
    /// Gives back what `retain` took; the memory may be freed by it.
    pub release: unsafe fn(*const Header),
}

static HOOKS: AtomicHooks = AtomicHooks(std::sync::OnceLock::new());

struct AtomicHooks(std::sync::OnceLock<Hooks>);

/// Installs the hooks of the runtime. The first call wins: one runtime in a process has the probe.
///
/// # Safety
/// `retain` and `release` must do what [`Hooks`] says for every header that is ever given to [`set_current`].
pub unsafe fn install(hooks: Hooks) {
    let _ = HOOKS.0.set(hooks);
}

crate::shim::const_thread_local! {
    static CURRENT: std::cell::Cell<*const Header> = std::cell::Cell::new(ptr::null());
}

/// Makes `header` the current task of this thread and returns the one before.
///
/// # Safety
/// `header` is null, or stays valid until the next call of this function on this thread; and [`install`] was called.
#[inline]
pub unsafe fn set_current(header: *const Header) -> *const Header {
    CURRENT.with(|current| current.replace(header))
}

/// Runs `f` on the header of the task that this thread is polling, if any.
#[inline]
pub fn with_current<R>(f: impl FnOnce(Option<&Header>) -> R) -> R {
    if !cfg!(feature = "probe") {
        return f(None);
    }
    let header = CURRENT.with(|current| current.get());
    // SAFETY: `set_current` promised that the pointer is valid until it is replaced, which happens on this thread,
    // after `f` has returned.
    f(unsafe { header.as_ref() })
}

/// The id of the task that this thread is polling; `0` when there is none, or none that is known.
#[inline]
pub fn current_id() -> u64 {
    with_current(|header| header.map_or(0, Header::id))
}

/// A counted reference to the task that is being polled: its memory, not its life.
pub struct TaskRef {
    header: *const Header,
    _not_copied: PhantomData<Header>,
}

// SAFETY: a header is made of atomics and an id; `retain` and `release` are as thread safe as a waker's clone and drop.
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

impl TaskRef {
    /// The current task of this thread; `None` outside of tasks and under runtimes without the probe.
    #[inline]
    pub fn current() -> Option<TaskRef> {
        with_current(|header| {
            let header = header?;
            let hooks = HOOKS.0.get()?;
            // SAFETY: `header` is the current one, so `set_current` vouches for it and for the hooks.
            unsafe { (hooks.retain)(header) };
            Some(TaskRef { header, _not_copied: PhantomData })
        })
    }
}

impl Deref for TaskRef {
    type Target = Header;

    #[inline]
    fn deref(&self) -> &Header {
        // SAFETY: `retain` keeps the header's memory until `release`, which only our `drop` calls.
        unsafe { &*self.header }
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        if let Some(hooks) = HOOKS.0.get() {
            // SAFETY: this gives back the one `retain` that `current` took.
            unsafe { (hooks.release)(self.header) };
        }
    }
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Ready when the current task may go on; when its budget is spent, wakes it and answers `Pending`.
///
/// A leaf calls this before it tries, and [`spend`] once it has got what it wanted.
#[inline]
pub fn poll_budget(cx: &mut Context<'_>) -> Poll<()> {
    with_current(|header| match header {
        Some(header) if header.budget.load(Relaxed) == 0 => yield_for(header, cx),
        _ => Poll::Ready(()),
    })
}

/// [`poll_budget`] and [`spend`] in one, for a leaf that is ready more often than not; one that is not gives
/// the unit back by [`unspend`].
#[inline(always)]
pub fn poll_spend(cx: &mut Context<'_>) -> Poll<()> {
    with_current(|header| {
        let Some(header) = header else { return Poll::Ready(()) };
        match header.budget.load(Relaxed).checked_sub(1) {
            Some(left) => {
                header.budget.store(left, Relaxed);
                Poll::Ready(())
            }
            None => yield_for(header, cx),
        }
    })
}

/// Takes one from the current task's budget. False: there is none left.
#[inline(always)]
pub(crate) fn try_spend() -> bool {
    with_current(|header| {
        let Some(header) = header else { return true };
        let left = header.budget.load(Relaxed);
        header.budget.store(left.saturating_sub(1), Relaxed);
        left != 0
    })
}

/// The budget of the task is spent.
#[cold]
fn yield_for(header: &Header, cx: &mut Context<'_>) -> Poll<()> {
    header.set_wait_kind(Wait::Yield);
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Wakes the current task, so that it is polled again once the others had a turn. False: it is not known.
#[cold]
pub(crate) fn yield_once(cx: &mut Context<'_>) -> bool {
    with_current(|header| header.is_some_and(|header| yield_for(header, cx).is_pending()))
}

/// Gives back to the current task's budget what [`poll_spend`] took.
pub fn unspend() {
    with_current(|header| {
        if let Some(header) = header {
            header.budget.store(header.budget.load(Relaxed).saturating_add(1), Relaxed);
        }
    });
}

/// Takes one from the current task's budget.
#[inline]
pub fn spend() {
    with_current(|header| {
        if let Some(header) = header {
            header.budget.store(header.budget.load(Relaxed).saturating_sub(1), Relaxed);
        }
    });
}

crate::shim::const_thread_local! {
    static TURN: std::cell::Cell<u64> = std::cell::Cell::new(0);
}

/// A number for choices that are to be fair: it looks like a random one. In a task that is known, it is the
/// same whenever the same polls come in the same order.
pub(crate) fn chance() -> u64 {
    let seed = with_current(|header| match header {
        Some(header) => {
            let (phase, budget) = (u64::from(header.phase()), u64::from(header.budget.load(Relaxed)));
            header.id << 40 ^ phase << 8 ^ budget
        }
        None => TURN.with(|turn| turn.replace(turn.get().wrapping_add(1))),
    });
    // The finisher of splitmix64.
    let mixed = (seed ^ seed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// [`poll_budget`], an attempt and [`spend`] in one look at the current task, whose id it gives to `take`.
///
/// False: there was no budget, and `take` was not asked; or it was, and said no.
#[inline]
pub(crate) fn take_within_budget(take: impl FnOnce(u64) -> bool) -> bool {
    with_current(|header| match header {
        Some(header) => {
            let budget = header.budget.load(Relaxed);
            let taken = budget != 0 && take(header.id);
            if taken {
                header.budget.store(budget - 1, Relaxed);
            }
            taken
        }
        None => take(0),
    })
}

/// Sets what is left of the current task's budget and returns what was left before (`0` outside of tasks).
///
/// For wrappers that lift the budget ("unconstrained"), or that must poll one more future when it is spent.
#[inline]
pub fn set_budget(left: u8) -> u8 {
    with_current(|header| match header {
        Some(header) => {
            let before = header.budget.load(Relaxed);
            header.budget.store(left, Relaxed);
            before
        }
        None => 0,
    })
}

/// Notes in the current task's header what it is about to wait for. Leaves call it just before `Pending`.
#[inline]
pub fn waiting(kind: Wait, resource: *const (), location: Option<&'static Location<'static>>) {
    with_current(|header| {
        if let Some(header) = header {
            header.wait_resource.store(resource as usize, Relaxed);
            header.wait_location.set(location);
            header.set_wait_kind(kind);
        }
    });
}

/// Passes on what wait queues granted to the task of `header` and it did not claim in the poll that just ended.
///
/// The runtime calls this when [`Header::end_poll`] says so, on the thread that polled, before the task can be
/// polled again.
///
/// Not needed after the last poll of a task, whose futures are dropped; the [`Header`] must then be dropped in its
/// turn, not only its memory freed.
pub fn settle_grants(header: &Header) {
    crate::wait_queue::settle(header);
}
