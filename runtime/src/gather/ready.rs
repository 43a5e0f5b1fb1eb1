//! Layer 3, gather. Which children of a set were woken, and whom to tell: a waker for each child without an
//! allocation for each.
//!
//! Owns one counted block for a whole set, [`Shared`]: a bit for each child, a tree of bits over them that
//! leads to those which are set, and the waker of the parent, which is whoever polls the set. A child's waker
//! is the address of a byte in the group of its bit, and one count of the block. The block is made when a
//! child first keeps its waker, so that children which are ready at once cost none. Called by `set`, on the
//! thread that polls, and by whoever wakes a child, on any.
//!
//! # The tree
//! A bit of a word above says that a word below may have bits; the root is over all. The words between groups
//! and root lie in the groups: the one over 64 groups in the first of these, and so on. Who wakes a child
//! sets its bit, and goes up as long as the word was zero before: whoever made it other than zero has gone
//! up, or is on the way. The parent goes down from the root, takes each word whole, and leaves zero; so each
//! word that is not zero is on somebody's way up, or noted above, or the parent has noted it for itself. To
//! wake many of a group costs one locked operation each, and to find them costs one for all.
//!
//! A small set has no groups to look for: its children's bits are those of the root.
//!
//! # The parent's sleep
//! | the root           | children       | the parent                                  | who sets the first bit there |
//! |--------------------|----------------|---------------------------------------------|------------------------------|
//! | 0                  | none was woken | is being polled, or is gone                 | does nothing more            |
//! | `PARKED`           | none was woken | left its waker in `parent` before this      | takes that waker, and wakes  |
//! | bits, and `PARKED` | some were      | is woken by who set the first of the bits   | -                            |
//! | bits               | some were      | is being polled: it looks before it sleeps  | -                            |
//!
//! A parent that cannot go from 0 to `PARKED` wakes itself.
//!
//! # Whose the parent's waker is
//! Without a lock. The place belongs to the parent, but for when another has come to take the waker out: who finds
//! just `PARKED` as it sets the first bit. There is one such for each time that the parent has parked, at most; it
//! moves the waker out, says so in `taken`, and is done with the place. The parent learns of it from the root, which it
//! takes at the start of a poll and at the end of the set: `PARKED` and bits are there then. Before it touches the
//! place again it waits until `taken` says that this one is done, which mostly was the case long before, for it
//! was woken after that; but it may have been polled for another reason. If there was `PARKED` alone, nobody has come,
//! and as it is no longer there, nobody will.

use std::mem::{ManuallyDrop, offset_of};
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use crate::shim::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::shim::task::{AtomicPtr, AtomicU64, AtomicUsize};
use crate::shim::{Arc, OnceLock, Stamp, UnsafeCell};

/// How many bits of a word are used: all, and two in models, where a few children must make a tree.
const WIDTH: usize = if cfg!(filch_loom) { 2 } else { u64::BITS as usize };
/// The bit of the root that says that the parent waits to be woken.
const PARKED: u64 = 1 << 63;
/// How many bits of the root are used for what is below.
const ROOT_WIDTH: usize = WIDTH - 1;
/// A set of so many children has its bits in the root. (A model of three makes a tree.)
const FLAT_MAX: usize = if cfg!(filch_loom) { 2 } else { ROOT_WIDTH };
/// How many levels of words there are at most between the groups and the root.
const MIDDLE: usize = 3;
/// All levels: the groups, those in the middle, the root.
const LEVELS: usize = MIDDLE + 2;

/// How many children a set may have.
pub(super) const CHILDREN_MAX: usize = ROOT_WIDTH * WIDTH.pow(MIDDLE as u32 + 1);

/// The bits of neighbouring children, and where their wakers point.
struct Group {
    bits: AtomicU64,
    /// The words of the levels above that begin with this group, the lowest first; not used where none does.
    above: [AtomicU64; MIDDLE],
    /// The block that this is in: of which a waker is one count.
    shared: AtomicPtr<Shared>,
    index: u32,
    /// A byte for each child, with its place among these. A child's waker points to its byte.
    places: [u8; WIDTH],
}

impl Group {
    fn new(index: usize) -> Group {
        Group {
            bits: AtomicU64::new(0),
            above: std::array::from_fn(|_| AtomicU64::new(0)),
            shared: AtomicPtr::new(std::ptr::null_mut()),
            index: index as u32,
            places: std::array::from_fn(|place| place as u8),
        }
    }

    /// What the waker of the child at `place` points to.
    fn data(&self, place: usize) -> *const () {
        debug_assert!(place < WIDTH);
        std::ptr::from_ref(self).wrapping_byte_add(offset_of!(Group, places) + place).cast()
    }
}

struct Shared {
    /// A bit for each word of the level below, or for each child of a small set, and `PARKED`.
    root: AtomicU64,
    is_flat: bool,
    /// How many levels there are between the groups and the root.
    middle: usize,
    /// The waker, and the how-manieth it will be that is taken out. Whose it is: see the head of the file.
    parent: UnsafeCell<(u64, Option<Waker>)>,
    /// How many were taken out.
    taken: Stamp,
    /// In the block itself, so that a small set needs no more.
    first: Group,
    others: Box<[Group]>,
}

// SAFETY: `parent` is the only part that is not `Sync` by itself, and one thread at a time is in there: see the head
// of the file. A waker may go to any thread.
unsafe impl Sync for Shared {}

// A panic of a waker's code leaves no more behind than a child that was not woken.
impl std::panic::RefUnwindSafe for Shared {}

impl Shared {
    fn new(children: usize) -> Arc<Shared> {
        let groups = children.div_ceil(WIDTH);
        let (mut middle, mut below) = (0, groups);
        while below > ROOT_WIDTH {
            below = below.div_ceil(WIDTH);
            middle += 1;
        }
        let shared = Arc::new(Shared {
            root: AtomicU64::new(0),
            is_flat: children <= FLAT_MAX,
            middle,
            parent: UnsafeCell::new((0, None)),
            taken: Stamp::new(0),
            first: Group::new(0),
            others: (1..groups).map(Group::new).collect(),
        });
        let address = Arc::as_ptr(&shared).cast_mut();
        for group in std::iter::once(&shared.first).chain(&shared.others) {
            // Relaxed: no other thread knows the block yet; what hands it a waker orders this.
            group.shared.store(address, Relaxed);
        }
        shared
    }

    fn group(&self, index: usize) -> &Group {
        if index == 0 { &self.first } else { &self.others[index - 1] }
    }

    /// The word with this index of a level; level 0 are the groups.
    fn word(&self, level: usize, index: usize) -> &AtomicU64 {
        match level.checked_sub(1) {
            None => &self.group(index).bits,
            Some(above) if above < self.middle => &self.group(index * WIDTH.pow(level as u32)).above[above],
            Some(_) => &self.root,
        }
    }

    /// Runs `f` with the waker of the child `index`, not counted: it borrows this, and a clone counts.
    #[inline]
    fn lend<R>(&self, index: usize, f: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let data = self.group(index / WIDTH).data(index % WIDTH);
        // SAFETY: this table takes its data to be a place in a live block, and it is that while `f` runs. The
        // waker is never dropped, so no count is given back that was not taken.
        let waker = ManuallyDrop::new(unsafe { Waker::new(data, &MADE) });
        f(&mut Context::from_waker(&waker))
    }

    /// Notes that a child of this group was woken, and wakes the parent if that is parked.
    fn wake(&self, group: &Group, place: usize) {
        let mut index = place;
        if !self.is_flat {
            // Ordering: Release, here and below, pairs with the `swap` in `Ready::descend`, also when bits were
            // there before: the poll to come sees what was written before this wake, and who takes a word sees
            // the bits in the words below.
            if group.bits.fetch_or(1 << place, Release) != 0 {
                return;
            }
            index = group.index as usize;
            for level in 1..=self.middle {
                if self.word(level, index / WIDTH).fetch_or(1 << (index % WIDTH), Release) != 0 {
                    return;
                }
                index /= WIDTH;
            }
        }
        // Ordering: Release pairs with the `swap` in `Ready::take`, as above. Acquire pairs with the exchange in
        // `Ready::park` that wrote `PARKED`: the waker is seen.
        if self.root.fetch_or(1 << index, AcqRel) == PARKED {
            // SAFETY: just `PARKED` was there, so we are the one that has come for this waker (see the head of the
            // file), and the parent keeps out until `taken` says that we are done.
            let (turn, parent) = self.parent.with_mut(|place| unsafe { ((*place).0, (*place).1.take()) });
            self.taken.set(turn);
            if let Some(parent) = parent {
                parent.wake();
            }
        }
    }

    /// Puts `waker` where the parent's lies, and returns what was there.
    ///
    /// # Safety
    /// Called by the parent, after `takers` have come, and nobody can come before this returns.
    unsafe fn put(&self, takers: u64, waker: Option<Waker>) -> Option<Waker> {
        self.taken.wait_for(takers);
        // SAFETY: the caller says that nobody is in the place who has not said that it is done.
        self.parent.with_mut(|place| unsafe { std::mem::replace(&mut *place, (takers + 1, waker)).1 })
    }
}

/// The parent's end: what it has noted of those woken, and when to sleep.
pub(super) struct Ready {
    /// Filled when a child keeps its waker for the first time.
    shared: OnceLock<Arc<Shared>>,
    children: usize,
    /// The bits of the word taken last at each level that were not looked at yet, and the index of that word.
    taken: [(u64, usize); LEVELS],
    /// The child being polled, while there is no block.
    lent: AtomicUsize,
    /// Of the first group, who was woken in its own poll while there was no block: those who do no more than
    /// yield need none. Written in a poll of a child, and then only its own bit, so that no locked operation
    /// is needed.
    own: AtomicU64,
    /// A waker lies in `parent`; but if the root has `PARKED` and bits, another has come for it.
    left: bool,
    /// How many have come for a waker, as far as the parent knows.
    takers: u64,
}

impl Ready {
    /// For so many children, of which none has a waker yet.
    pub(super) fn new(children: usize) -> Ready {
        assert!(children <= CHILDREN_MAX, "more than {CHILDREN_MAX} futures in one set");
        Ready {
            shared: OnceLock::new(),
            children,
            taken: [(0, 0); LEVELS],
            lent: AtomicUsize::new(0),
            own: AtomicU64::new(0),
            left: false,
            takers: 0,
        }
    }

    /// Takes note of those woken since the last time. All that was taken before has been looked at.
    pub(super) fn take(&mut self) {
        debug_assert!(self.taken.iter().all(|(bits, _)| *bits == 0), "what was taken before is still there");
        // Relaxed, here and elsewhere: whoever wrote it did so while it borrowed a waker from us, and that is
        // over.
        let own = self.own.load(Relaxed);
        if own != 0 {
            self.own.store(0, Relaxed);
            self.taken[0] = (own, 0);
        }
        let Some(shared) = self.shared.get() else { return };
        // Ordering: Acquire pairs with the `fetch_or`s in `Shared::wake`: the bits below are seen, and the polls of
        // a small set see what came before the wakes.
        let root = shared.root.swap(0, Acquire);
        let bits = root & !PARKED;
        if root & PARKED != 0 && bits != 0 {
            // Who set the first of the bits has come for the waker.
            (self.left, self.takers) = (false, self.takers + 1);
        }
        // Those that others woke come together with our own, so that none of the group is found twice.
        if shared.is_flat {
            self.taken[0] = (own | bits, 0);
            return;
        }
        if own != 0 {
            // Ordering: Acquire pairs with the `fetch_or` in `Shared::wake`: the polls see what came before
            // the wakes.
            self.taken[0].0 |= shared.first.bits.swap(0, Acquire);
        }
        self.taken[shared.middle + 1] = (bits, 0);
    }

    /// Whether a child was woken, of those taken: [`lend_next`](Self::lend_next) gives it then.
    #[inline]
    pub(super) fn find(&mut self) -> bool {
        self.taken[0].0 != 0 || self.descend()
    }

    /// Takes words on the way down, until one of a group has bits.
    fn descend(&mut self) -> bool {
        let Some(shared) = self.shared.get().filter(|shared| !shared.is_flat) else { return false };
        let mut level = 1;
        while level < LEVELS {
            let Some(below) = pop(&mut self.taken[level]) else {
                level += 1;
                continue;
            };
            level -= 1;
            // Ordering: Acquire pairs with the `fetch_or`s in `Shared::wake`: the polls see what came before
            // the wakes, and the bits below are seen.
            self.taken[level] = (shared.word(level, below).swap(0, Acquire), below);
            if level == 0 {
                if self.taken[0].0 != 0 {
                    return true;
                }
                level = 1;
            }
        }
        false
    }

    /// Leaves `parent` to be woken by the first child that is. False: one was woken already.
    #[must_use]
    pub(super) fn park(&mut self, parent: &Waker) -> bool {
        if self.own.load(Relaxed) != 0 {
            return false;
        }
        // Without a block no child has kept a waker, and none can be woken.
        let Some(shared) = self.shared.get() else { return true };
        // Relaxed: for the case that it is clear already; the exchange below looks again.
        if shared.root.load(Relaxed) != 0 {
            return false;
        }
        // SAFETY: a waker that is left is one that nobody has come for, and nobody can while `PARKED` is not there.
        let is_there = self.left
            && shared
                .parent
                .with(|place| unsafe { &(*place).1 }.as_ref().is_some_and(|there| there.will_wake(parent)));
        if !is_there {
            let parent = parent.clone();
            // SAFETY: all that have come were counted as the root was taken, and nobody can come while `PARKED` is
            // not there.
            let stale = unsafe { shared.put(self.takers, Some(parent)) };
            self.left = true;
            drop(stale);
        }
        // Ordering: Release pairs with the `fetch_or` of `Shared::wake` that finds `PARKED`: the waker is seen.
        // Relaxed on failure: the next poll takes the root.
        shared.root.compare_exchange(0, PARKED, Release, Relaxed).is_ok()
    }

    /// Runs `f` with the waker of the child `index`. It is lent: to keep it is to clone it.
    #[inline]
    pub(super) fn lend<R>(&mut self, index: usize, f: impl FnOnce(&mut Context<'_>) -> R) -> R {
        if let Some(shared) = self.shared.get() {
            return shared.lend(index, f);
        }
        // Relaxed: see `own`.
        self.lent.store(index, Relaxed);
        // SAFETY: this table takes its data to be a `Ready` that is polling a child, and it is one while `f`
        // runs.
        let waker = ManuallyDrop::new(unsafe { Waker::new(std::ptr::from_ref(self).cast(), &UNMADE) });
        f(&mut Context::from_waker(&waker))
    }

    /// Runs `f` with the index and the waker of the child that was found, in the order of the indices until
    /// all that was taken is through. From here on it can be woken again.
    ///
    /// # Panics
    /// When none was found.
    #[inline]
    pub(super) fn lend_next<R>(&mut self, f: impl FnOnce(usize, &mut Context<'_>) -> R) -> R {
        let index = pop(&mut self.taken[0]).expect("a child was found");
        self.lend(index, |cx| f(index, cx))
    }

    /// The block, made now if it is not there.
    fn shared(&self) -> &Arc<Shared> {
        self.shared.get().unwrap_or_else(|| {
            let made = Shared::new(self.children);
            self.shared.get_or_init(|| made)
        })
    }
}

/// Takes the lowest bit of a word out, as the index of what it stands for.
#[inline]
fn pop((bits, word): &mut (u64, usize)) -> Option<usize> {
    let below = *word * WIDTH + bits.trailing_zeros() as usize;
    (*bits != 0).then(|| {
        *bits &= *bits - 1;
        below
    })
}

impl Drop for Ready {
    fn drop(&mut self) {
        let Some(shared) = self.shared.get().filter(|_| self.left) else { return };
        // Relaxed: nothing is read that another wrote. Nobody comes for the waker after this.
        let root = shared.root.swap(0, Relaxed);
        if root & PARKED == 0 || root == PARKED {
            // SAFETY: nobody has come for this waker, and nobody can any more.
            drop(unsafe { shared.put(self.takers, None) });
        }
    }
}

/// The wakers of a block that is there. "Their data is a place in a group of a live block, and each is one
/// count of it": `clone` counts, `wake` and `drop` give back, and `Shared::lend` vouches for the one that is
/// not counted.
static MADE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: the data of these wakers is a place in a live block.
        let (shared, _, _) = unsafe { open(data) };
        std::mem::forget(Arc::clone(&shared));
        RawWaker::new(data, &MADE)
    },
    |data| {
        // SAFETY: the data of these wakers is a place in a live block.
        let (shared, group, place) = unsafe { open(data) };
        // Given back also if the parent's waker panics.
        let shared = ManuallyDrop::into_inner(shared);
        shared.wake(group, place);
    },
    |data| {
        // SAFETY: the data of these wakers is a place in a live block.
        let (shared, group, place) = unsafe { open(data) };
        shared.wake(group, place);
    },
    |data| {
        // SAFETY: the data of these wakers is a place in a live block.
        let (shared, _, _) = unsafe { open(data) };
        drop(ManuallyDrop::into_inner(shared));
    },
);

/// What a waker stands for: the block, the group, and the place of the child in it. To take the block out of
/// its wrapper is to take over the waker's count.
///
/// # Safety
/// `data` comes from [`Group::data`], and the block of the group lives as long as what is returned is used.
unsafe fn open<'a>(data: *const ()) -> (ManuallyDrop<Arc<Shared>>, &'a Group, usize) {
    // SAFETY: it points to a byte of `Group::places`, which are never written.
    let place = usize::from(unsafe { *data.cast::<u8>() });
    let group = data.wrapping_byte_sub(offset_of!(Group, places) + place).cast::<Group>();
    // SAFETY: back at the start of the group, from which `Group::data` set out, and which lives with its
    // block.
    let group = unsafe { &*group };
    // Relaxed: written before any waker was made.
    let shared = group.shared.load(Relaxed);
    // SAFETY: `Shared::new` got the address from the `Arc` of the block, which lives; the wrapper gives no
    // count back that is not ours.
    (ManuallyDrop::new(unsafe { Arc::from_raw(shared) }), group, place)
}

/// The wakers that are lent while there is no block. "Their data is a `Ready` that is polling the child which
/// it has lent the waker to", and they are no count of anything: to clone one makes the block, and gives a
/// waker of the other kind.
static UNMADE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: the data of these wakers is a live `Ready`.
        let ready = unsafe { &*data.cast::<Ready>() };
        let (shared, index) = (ready.shared(), ready.lent.load(Relaxed));
        std::mem::forget(Arc::clone(shared));
        RawWaker::new(shared.group(index / WIDTH).data(index % WIDTH), &MADE)
    },
    wake_unmade,
    wake_unmade,
    |_| {},
);

fn wake_unmade(data: *const ()) {
    // SAFETY: this is in the table of the wakers whose data is a live `Ready`, and private.
    let ready = unsafe { &*data.cast::<Ready>() };
    let index = ready.lent.load(Relaxed);
    if index < WIDTH {
        return ready.own.store(ready.own.load(Relaxed) | 1 << index, Relaxed);
    }
    let shared = ready.shared();
    shared.wake(shared.group(index / WIDTH), index % WIDTH);
}
