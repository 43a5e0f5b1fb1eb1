//! Layer 3, gather. Which children of a set were woken, in what order, and whom to tell: a waker for each child
//! without an allocation for each.
//!
//! Owns one counted block for a whole set, [`Shared`]: a node for each child, the list of those woken, and the
//! waker of the parent, which is whoever polls the set. A child's waker is the address of its node, and one
//! count of the block. The block is made when a child first keeps its waker, so that children which are ready at
//! once cost none. Called by `set`, on the thread that polls, and by whoever wakes a child, on any.
//!
//! # The list
//! A stack of indices, linked through the nodes, which the parent takes whole and turns round: first woken,
//! first polled. The bit `QUEUED` of a node is set by who is to push it, and cleared by the parent just before
//! it polls the child; so a node is in the list once at most, and its link is written by who set the bit, then by
//! the parent.
//!
//! # The parent's sleep
//! | `top`    | the list  | the parent                                       | who pushes must           |
//! |----------|-----------|--------------------------------------------------|---------------------------|
//! | `EMPTY`  | is empty  | is being polled, or was told, or is gone         | do nothing more           |
//! | `PARKED` | is empty  | left its waker in `parent` before it set this    | take that waker, and wake |
//! | an index | has nodes | finds them when it next takes the list           | do nothing more           |
//!
//! A parent that cannot go from `EMPTY` to `PARKED` wakes itself. Whoever takes a waker out of `parent` wakes it
//! after that. So one that pushes on `PARKED` and finds no waker there is late: another took it after the parent
//! had parked, and the poll that comes of that takes the list anew.

use std::mem::ManuallyDrop;
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use crate::shim::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::shim::task::{AtomicPtr, AtomicU32};
use crate::shim::{Arc, Mutex, OnceLock};

/// The bit of [`Node::mark`] that says that the node is in a list, or on its way into one.
const QUEUED: u32 = 1 << 31;
/// No node: the end of a list.
const EMPTY: u32 = u32::MAX;
/// No node, and the parent waits to be woken.
const PARKED: u32 = u32::MAX - 1;

/// How many children a set may have.
pub(super) const CHILDREN_MAX: usize = (QUEUED - 1) as usize;

/// What a child's waker points to.
struct Node {
    /// The block that this node is in: of which a waker is one count.
    shared: AtomicPtr<Shared>,
    /// The index of the child, and `QUEUED`.
    mark: AtomicU32,
    /// The node below in the list, or `EMPTY`.
    next: AtomicU32,
}

impl Node {
    fn index(&self) -> u32 {
        // Relaxed: these bits never change.
        self.mark.load(Relaxed) & !QUEUED
    }
}

struct Shared {
    top: AtomicU32,
    parent: Mutex<Option<Waker>>,
    nodes: Box<[Node]>,
}

impl Shared {
    fn new(children: u32) -> Arc<Shared> {
        let node = |index| Node {
            shared: AtomicPtr::new(std::ptr::null_mut()),
            mark: AtomicU32::new(index),
            next: AtomicU32::new(EMPTY),
        };
        let nodes = (0..children).map(node).collect();
        let shared = Arc::new(Shared { top: AtomicU32::new(EMPTY), parent: Mutex::new(None), nodes });
        let address = Arc::as_ptr(&shared).cast_mut();
        for node in &shared.nodes {
            // Relaxed: no other thread knows the block yet; what hands it a waker orders this.
            node.shared.store(address, Relaxed);
        }
        shared
    }

    fn node(&self, index: u32) -> &Node {
        &self.nodes[index as usize]
    }

    /// Puts the child `index` on the list, if it is not there, and wakes the parent if that is parked.
    fn wake(&self, index: u32) {
        let node = self.node(index);
        // Ordering: AcqRel. Release pairs with the `fetch_and` in `Ready::next`, also when the bit was set before: the
        // poll to come sees what was written before this wake. Acquire pairs with the same: the link is ours only
        // after the parent has read it.
        if node.mark.fetch_or(QUEUED, AcqRel) & QUEUED != 0 {
            return;
        }
        // Relaxed: the exchange below looks again.
        let mut top = self.top.load(Relaxed);
        loop {
            // Relaxed: published by the exchange.
            node.next.store(if top == PARKED { EMPTY } else { top }, Relaxed);
            // Ordering: Release pairs with the `swap` in `Ready::take`, which reads the link. A `PARKED` that is read
            // here needs no more: the lock below comes after the one under which the waker was left, or it would
            // order this read before the write that it reads.
            match self.top.compare_exchange_weak(top, index, Release, Relaxed) {
                Ok(_) => break,
                Err(now) => top = now,
            }
        }
        if top == PARKED {
            let parent = self.parent.lock().take();
            if let Some(parent) = parent {
                parent.wake();
            }
        }
    }
}

/// The parent's end of the list: what is taken from it, and when to sleep.
pub(super) struct Ready {
    /// Filled when a child keeps its waker for the first time.
    shared: OnceLock<Arc<Shared>>,
    children: u32,
    /// What was taken from the list and not polled yet: linked as the list was, first woken first.
    taken: u32,
}

impl Ready {
    /// For so many children, of which none has a waker yet.
    pub(super) fn new(children: usize) -> Ready {
        assert!(children <= CHILDREN_MAX, "more than {CHILDREN_MAX} futures in one set");
        Ready { shared: OnceLock::new(), children: children as u32, taken: EMPTY }
    }

    /// Takes what was woken since the last time. All that was taken before has been polled.
    pub(super) fn take(&mut self) {
        let Some(shared) = self.shared.get() else { return };
        debug_assert!(self.taken == EMPTY, "what was taken before is still there");
        // Ordering: Acquire pairs with the exchange in `Shared::wake`, those of all nodes in the list, since they
        // are one sequence of read-modify-writes: the links are seen.
        let mut top = shared.top.swap(EMPTY, Acquire);
        if top == PARKED {
            return;
        }
        while top != EMPTY {
            // Relaxed, both: `QUEUED` is set, and who set it is done with the link.
            let below = shared.node(top).next.load(Relaxed);
            shared.node(top).next.store(self.taken, Relaxed);
            self.taken = std::mem::replace(&mut top, below);
        }
    }

    /// Whether [`next`](Self::next) would give a child.
    pub(super) fn has_next(&self) -> bool {
        self.taken != EMPTY
    }

    /// A child to poll, the one woken first of those taken. From here on it can be woken again.
    pub(super) fn next(&mut self) -> Option<usize> {
        if self.taken == EMPTY {
            return None;
        }
        let index = self.taken;
        let node = self.shared.get()?.node(index);
        // Relaxed: written by `take`.
        self.taken = node.next.load(Relaxed);
        // Ordering: AcqRel. Acquire pairs with the `fetch_or` in `Shared::wake`, of each wake up to here: the poll
        // sees what came before them. Release pairs with the same: who sets the bit next may write the link that
        // was read above.
        node.mark.fetch_and(!QUEUED, AcqRel);
        Some(index as usize)
    }

    /// Leaves `parent` to be woken by the first child that is. False: one was woken already.
    #[must_use]
    pub(super) fn park(&mut self, parent: &Waker) -> bool {
        // Without a block no child has kept a waker, and none can be woken.
        let Some(shared) = self.shared.get() else { return true };
        let there = shared.parent.lock().as_ref().is_some_and(|there| there.will_wake(parent));
        if !there {
            // A waker's clone and drop are user code: not under the lock. Nobody but us leaves one here.
            let parent = parent.clone();
            let stale = shared.parent.lock().replace(parent);
            drop(stale);
        }
        // Relaxed: whoever finds `PARKED` takes the waker under the lock, see there; and on failure the next poll takes
        // the list.
        shared.top.compare_exchange(EMPTY, PARKED, Relaxed, Relaxed).is_ok()
    }

    /// Runs `f` with the waker of the child `index`, not counted: it borrows this, and a clone of it counts.
    pub(super) fn lend<R>(&self, index: usize, f: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let index = index as u32;
        let unmade = Unmade { ready: self, index };
        let (data, table) = match self.shared.get() {
            Some(shared) => (std::ptr::from_ref(shared.node(index)).cast(), &MADE),
            None => (std::ptr::from_ref(&unmade).cast(), &UNMADE),
        };
        // SAFETY: the tables take `data` to be a node of a live block, or an `Unmade`, and it is that while `f` runs:
        // `self` keeps the block, and `unmade` is here. The waker is lent and never dropped, so no count is given
        // back that was not taken.
        let waker = ManuallyDrop::new(unsafe { Waker::new(data, table) });
        f(&mut Context::from_waker(&waker))
    }

    /// The block, made now if it is not there.
    fn shared(&self) -> &Arc<Shared> {
        self.shared.get().unwrap_or_else(|| {
            let made = Shared::new(self.children);
            self.shared.get_or_init(|| made)
        })
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.get() {
            // A wake to come may find `PARKED`, but no waker.
            let parent = shared.parent.lock().take();
            drop(parent);
        }
    }
}

/// The wakers of a block that is there. "Their data is a node of a live block, and each is one count of it":
/// `clone` counts, `wake` and `drop` give back, and `lend` vouches for the one that is not counted.
static MADE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: the data of these wakers is a node of a live block.
        let (shared, index) = unsafe { open(data) };
        counted(Arc::clone(&shared), index)
    },
    |data| {
        // SAFETY: the data of these wakers is a node of a live block.
        let (shared, index) = unsafe { open(data) };
        ManuallyDrop::into_inner(shared).wake(index);
    },
    |data| {
        // SAFETY: the data of these wakers is a node of a live block.
        let (shared, index) = unsafe { open(data) };
        shared.wake(index);
    },
    |data| {
        // SAFETY: the data of these wakers is a node of a live block.
        let (shared, _) = unsafe { open(data) };
        drop(ManuallyDrop::into_inner(shared));
    },
);

/// A waker for the child `index`, for one count of the block.
fn counted(shared: Arc<Shared>, index: u32) -> RawWaker {
    let node = std::ptr::from_ref(shared.node(index));
    std::mem::forget(shared);
    RawWaker::new(node.cast(), &MADE)
}

/// What a waker stands for: the block and the child. To take the block out of its wrapper is to take over the
/// waker's count.
///
/// # Safety
/// `data` is a node of a live block.
unsafe fn open(data: *const ()) -> (ManuallyDrop<Arc<Shared>>, u32) {
    // SAFETY: it is a node, and the block that it is in lives.
    let node = unsafe { &*data.cast::<Node>() };
    // Relaxed: written before any waker was made.
    let shared = node.shared.load(Relaxed);
    // SAFETY: `Shared::new` got the address from the `Arc` of the block, which lives; the wrapper gives no count
    // back that is not ours.
    (ManuallyDrop::new(unsafe { Arc::from_raw(shared) }), node.index())
}

/// What stands for a child while there is no block.
struct Unmade<'a> {
    ready: &'a Ready,
    index: u32,
}

/// The wakers that `lend` gives out while there is no block. "Their data is a live `Unmade`", and they are no
/// count of anything: to clone one makes the block, and gives a waker of the other kind.
static UNMADE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: the data of these wakers is a live `Unmade`.
        let Unmade { ready, index } = unsafe { &*data.cast::<Unmade<'_>>() };
        counted(Arc::clone(ready.shared()), *index)
    },
    wake_unmade,
    wake_unmade,
    |_| {},
);

fn wake_unmade(data: *const ()) {
    // SAFETY: this is in the table of the wakers whose data is a live `Unmade`, and private.
    let Unmade { ready, index } = unsafe { &*data.cast::<Unmade<'_>>() };
    ready.shared().wake(*index);
}
