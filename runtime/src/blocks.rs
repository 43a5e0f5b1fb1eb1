//! Layer 0. Memory for tasks: blocks that were given back are kept for the next task of that size.
//!
//! Owns two magazines of free blocks a thread and a size, and a depot of full magazines that the threads
//! share. Called by `task` when a task is made and when it goes. The allocator is asked when all of them are
//! empty, and gets back what is too much for them.
//!
//! Why not leave it to the allocator: tasks are often made on one thread and freed on another, a few sizes of
//! them by the thousand. glibc keeps seven such blocks a thread and size, then takes a lock for each, which
//! was more than half of what a spawn cost. Here blocks change threads by the magazine, one lock for 32 of
//! them.
//!
//! After Bonwick and Adams, "Magazines and Vmem" (USENIX 2001): with two magazines a thread, one that makes
//! and frees in turn does not go to the depot at each step, wherever it stands.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::mem;
use std::ptr::NonNull;
// Not a model's: what happens under this lock and in the thread-local takes part in no protocol.
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sizes differ by this much. They are odd multiples of half of it, as what malloc has to give.
const STEP: usize = 16;
/// Larger blocks are the allocator's business, and so are those that want to be aligned to more than a step.
const SIZES: usize = 32;
/// How many blocks a magazine holds.
const ROUNDS: usize = 32;
/// How many full magazines of each size the depot keeps.
const DEPOT: usize = 256;

/// Up to `ROUNDS` free blocks of one size.
///
/// A block in a magazine is the magazine's alone: nobody else has a pointer to it.
#[derive(Debug)]
struct Magazine {
    size: usize,
    blocks: Vec<NonNull<u8>>,
}

// SAFETY: the blocks are the magazine's alone, and memory is of no thread.
unsafe impl Send for Magazine {}

impl Magazine {
    const fn new(size: usize) -> Magazine {
        Magazine { size, blocks: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.blocks.len() == ROUNDS
    }
}

impl Drop for Magazine {
    fn drop(&mut self) {
        for block in self.blocks.drain(..) {
            // SAFETY: the block is ours, and `take` got it from `alloc` with the layout of this size.
            unsafe { dealloc(block.as_ptr(), layout(self.size)) }
        }
    }
}

/// What a thread has of one size.
#[derive(Debug)]
struct Pair {
    /// Blocks are taken from here and given back here.
    loaded: Magazine,
    /// Full or empty.
    spare: Magazine,
}

impl Pair {
    #[inline]
    fn take(&mut self) -> Option<NonNull<u8>> {
        if self.loaded.blocks.is_empty() {
            self.load();
        }
        self.loaded.blocks.pop()
    }

    #[cold]
    fn load(&mut self) {
        mem::swap(&mut self.loaded, &mut self.spare);
        if self.loaded.blocks.is_empty() {
            if let Some(full) = depot(self.loaded.size).pop() {
                self.loaded = full;
            }
        }
    }

    /// Adds a block that nobody else has a pointer to.
    #[inline]
    fn give(&mut self, block: NonNull<u8>) {
        if self.loaded.blocks.len() == self.loaded.blocks.capacity() {
            self.make_room();
        }
        self.loaded.blocks.push(block);
    }

    #[cold]
    fn make_room(&mut self) {
        if self.loaded.is_full() {
            mem::swap(&mut self.loaded, &mut self.spare);
        }
        if self.loaded.is_full() {
            let size = self.loaded.size;
            let full = mem::replace(&mut self.loaded, Magazine::new(size));
            let mut depot = depot(size);
            // If there is no place, it goes to the allocator, after the lock.
            let _too_much = if depot.len() < DEPOT {
                depot.push(full);
                None
            } else {
                Some(full)
            };
            drop(depot);
        }
        if self.loaded.blocks.capacity() < ROUNDS {
            self.loaded.blocks.reserve_exact(ROUNDS);
        }
    }
}

static DEPOTS: [Mutex<Vec<Magazine>>; SIZES] = [const { Mutex::new(Vec::new()) }; SIZES];

fn depot(size: usize) -> MutexGuard<'static, Vec<Magazine>> {
    DEPOTS[size].lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static PAIRS: RefCell<[Pair; SIZES]> = const { RefCell::new(pairs()) };
}

const fn pairs() -> [Pair; SIZES] {
    let mut pairs = [const { Pair { loaded: Magazine::new(0), spare: Magazine::new(0) } }; SIZES];
    let mut size = 0;
    while size < SIZES {
        pairs[size].loaded.size = size;
        pairs[size].spare.size = size;
        size += 1;
    }
    pairs
}

/// The number of the size of a `T`, if blocks of that size are kept.
const fn size_of_block<T>() -> Option<usize> {
    let size = size_of::<T>().saturating_sub(STEP / 2).div_ceil(STEP);
    if size < SIZES && align_of::<T>() <= STEP { Some(size) } else { None }
}

const fn layout(size: usize) -> Layout {
    match Layout::from_size_align(size * STEP + STEP / 2, STEP) {
        Ok(layout) => layout,
        Err(_) => panic!("small sizes make a layout"),
    }
}

/// Calls `f` with what this thread has of that size; `None` when it has nothing any more, at its end.
#[inline]
fn with_pair<R>(size: usize, f: impl FnOnce(&mut Pair) -> R) -> Option<R> {
    PAIRS.try_with(|pairs| pairs.try_borrow_mut().ok().map(|mut pairs| f(&mut pairs[size]))).ok().flatten()
}

/// Memory for a `T`, not initialised. It goes back by [`give`].
#[inline]
pub(crate) fn take<T>() -> NonNull<T> {
    let layout = match const { size_of_block::<T>() } {
        Some(size) => {
            if let Some(Some(block)) = with_pair(size, Pair::take) {
                return block.cast();
            }
            layout(size)
        }
        None => Layout::new::<T>(),
    };
    assert!(layout.size() != 0, "a block has a size");
    // SAFETY: the layout has a size.
    let block = unsafe { alloc(layout) };
    NonNull::new(block.cast()).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Gives memory back; what was in it is not dropped.
///
/// # Safety
/// It came from [`take`] for the same `T`, and nobody uses it any more.
#[inline]
pub(crate) unsafe fn give<T>(block: NonNull<T>) {
    let layout = match const { size_of_block::<T>() } {
        Some(size) => {
            if with_pair(size, |pair| pair.give(block.cast())).is_some() {
                return;
            }
            layout(size)
        }
        None => Layout::new::<T>(),
    };
    // SAFETY: `take` got it from `alloc` with this layout, and the caller has no more use for it.
    unsafe { dealloc(block.as_ptr().cast(), layout) }
}

#[cfg(all(test, not(filch_loom)))]
mod tests {
    use super::*;
    use crate::shim::thread;

    /// Of a size that no task of the other tests has.
    type Odd = [u64; 61];

    fn kept<T>() -> usize {
        let size = size_of_block::<T>().unwrap();
        with_pair(size, |pair| pair.loaded.blocks.len() + pair.spare.blocks.len()).unwrap()
    }

    fn give_all<T>(blocks: Vec<NonNull<T>>) {
        for block in blocks {
            // SAFETY: each came from `take` for this type, and goes back once.
            unsafe { give(block) };
        }
    }

    #[test]
    fn sizes_fit_what_is_put_in_them() {
        assert_eq!(size_of_block::<u64>(), Some(0));
        assert_eq!(size_of_block::<[u64; 2]>(), Some(1));
        assert_eq!(size_of_block::<[u64; 3]>(), Some(1));
        assert_eq!(size_of_block::<[u8; 504]>(), Some(31));
        assert_eq!(size_of_block::<[u8; 505]>(), None);
        assert_eq!(size_of_block::<crate::util::pad::Padded<u8>>(), None);
        for size in 0..SIZES {
            assert_eq!(layout(size).size() % STEP, STEP / 2);
        }
    }

    #[test]
    fn a_block_that_was_given_back_is_taken_next() {
        let first = take::<Odd>();
        give_all(vec![first]);
        assert_eq!(take::<Odd>(), first);
        give_all(vec![first]);
    }

    #[test]
    fn blocks_that_one_thread_frees_another_takes() {
        type Size = [u64; 59];
        let taken: Vec<_> = (0..5 * ROUNDS).map(|_| take::<Size>()).collect();
        let addresses: Vec<_> = taken.iter().map(|block| block.as_ptr() as usize).collect();
        give_all(taken);
        // Two magazines stay here, the others are in the depot.
        assert_eq!(kept::<Size>(), 2 * ROUNDS);
        let other = thread::spawn(move || {
            let taken: Vec<_> = (0..3 * ROUNDS).map(|_| take::<Size>()).collect();
            assert!(taken.iter().all(|block| addresses.contains(&(block.as_ptr() as usize))));
            give_all(taken);
        });
        other.join().unwrap();
    }

    #[test]
    fn more_than_the_depot_holds_goes_to_the_allocator() {
        type Size = [u64; 57];
        let size = size_of_block::<Size>().unwrap();
        give_all((0..(DEPOT + 4) * ROUNDS).map(|_| take::<Size>()).collect());
        assert_eq!(depot(size).len(), DEPOT);
        assert_eq!(kept::<Size>(), 2 * ROUNDS);
        depot(size).clear();
    }

    #[test]
    fn large_blocks_and_strictly_aligned_ones_come_from_the_allocator() {
        let large = take::<[u8; 4096]>();
        let aligned = take::<crate::util::pad::Padded<u8>>();
        assert!(aligned.is_aligned());
        give_all(vec![large]);
        give_all(vec![aligned]);
    }
}
