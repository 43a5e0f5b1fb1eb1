//! Layer 1, wait queue. The invitations of a task that it did not take up by the end of a poll.
//!
//! Owns the word that an invitation leaves in the header of its task. Left there by the visits of `waiter` and
//! the passes of `wait_queue`, always under the lock of the queue; settled by the probe, at the end of a poll.
//!
//! # Settling invitations
//!
//! `Header::grant` is null, or a counted pointer to the `Core` of a queue that has invited the task.
//!
//! | step    | who, under which lock                   | header's grant     | entry                              |
//! |---------|-----------------------------------------|--------------------|------------------------------------|
//! | invite  | any thread, the queue's                 | null -> this core  | Woken, notes the task's phase `p`  |
//! |         |                                         | this core: left    | Woken, notes the phase             |
//! |         |                                         | other core: left   | Absent; the next one is invited too|
//! | claim   | the owner of the entry, the queue's     | left, or see below | Idle                               |
//! | drop    | the owner, on any thread, the queue's   | left               | Idle, its memory goes              |
//! | settle  | the thread that polled: takes the word  | core -> null       |                                    |
//! |         | ... then the queue's                    | null, or this core | age >= 2: Absent, else left Woken  |
//!
//! - *No dangling pointer.* The word owns one count of the core. Entries are reached through the list only,
//!   under its lock, where those that were claimed or dropped are not found; a leaked one is still there.
//!   Whether the primitive was freed or moved does not matter, since settling needs neither the units nor the
//!   `WaitQueue`.
//! - *No inversion.* `invite` touches the word, an atomic, under the queue's lock; `settle` empties the word
//!   before it takes that lock, and holds no other.
//! - *Mostly there is nothing to settle.* Whoever claims as the last that was invited takes this core out of
//!   the header again, under the lock: no entry of the queue is Woken then, so none relies on it.
//! - *No invitation slips through.* An inviter that finds its own core in the word has the queue's lock.
//!   Whoever takes that word out, even if it did so a moment ago, takes the lock afterwards, and finds the
//!   entry there.
//! - *Not too early.* The phase moves at each start and each end of a poll. Invited at `p`: if `p` is even,
//!   the next poll ends at `p + 2`; if `p` is odd, that poll is under way and ends at `p + 1`, which is too
//!   early, and the next one at `p + 3`. So an age of 2 says that a poll which began after the invitation has
//!   ended. An inviter may read an old phase; then the task may lose its turn to another, but keeps its place,
//!   and its wake-up.
//! - *No message is lost when an entry turns absent.* Its waker has been called, so its task, or the part of
//!   it that waits, will poll it; it then waits again, at its old place, and runs a pass.

use std::ptr;

use super::Core;
use crate::probe::{self, Header};
use crate::shim::Arc;
use crate::shim::Ordering::{AcqRel, Acquire, Relaxed};
use crate::wake_batch::WakeBatch;

/// Leaves word in the task's header that `core` has invited it. False: another queue's word is there.
pub(super) fn publish_grant(task: &Header, core: &Arc<Core>) -> bool {
    let mine = Arc::as_ptr(core).cast_mut().cast::<()>();
    // Ordering: Relaxed: a value that equals ours is only compared; the queue's lock orders the rest, see
    // above.
    if ptr::eq(task.grant.load(Relaxed), mine) {
        return true;
    }
    let word = Arc::into_raw(core.clone()).cast_mut().cast::<()>();
    // Ordering: AcqRel pairs with the swap in `settle`, which must find the core made; Acquire on failure is
    // not needed, as the other value is not followed.
    match task.grant.compare_exchange(ptr::null_mut(), word, AcqRel, Relaxed) {
        Ok(_) => true,
        Err(other) => {
            drop(redeem(word));
            ptr::eq(other, mine)
        }
    }
}

/// Takes the word out again that `core` has invited the task. Nobody of its queue is invited.
pub(super) fn withdraw_grant(task: &Header, core: &Arc<Core>) {
    let mine = Arc::as_ptr(core).cast_mut().cast::<()>();
    // Ordering: Relaxed, all: the word is only compared, and we have the core, so its count is not the last.
    if ptr::eq(task.grant.load(Relaxed), mine)
        && task.grant.compare_exchange(mine, ptr::null_mut(), Relaxed, Relaxed).is_ok()
    {
        drop(redeem(mine));
    }
}

/// The count that a grant word stands for. The caller has taken the word out of its header, or never put it
/// there.
fn redeem(word: *mut ()) -> Option<Arc<Core>> {
    // SAFETY: every word that is not null comes from `Arc::into_raw` in `publish_grant` or `settle`, and is
    // given up by whoever calls this.
    if word.is_null() { None } else { Some(unsafe { Arc::from_raw(word.cast_const().cast::<Core>()) }) }
}

/// Passes on the invitations that the task of `header` has not made use of: see the table above.
pub(crate) fn settle(header: &Header) {
    // Ordering: AcqRel pairs with the exchange in `publish_grant`: the core is ours to look at.
    let Some(core) = redeem(header.grant.swap(ptr::null_mut(), AcqRel)) else { return };
    let mut batch = WakeBatch::new();
    let mut list = core.list.lock();
    let is_task = |task: &probe::TaskRef| ptr::eq::<Header>(&**task, header);
    let (mut absent, fresh) = list.settle(is_task, header.phase(), false);
    if fresh && !publish_grant(header, &core) {
        // Another queue has the word now. Better one task woken too many than a waiter forgotten.
        absent += list.settle(is_task, header.phase(), true).0;
    }
    while absent > 0 {
        if !list.pass_on(&mut |task| publish_grant(task, &core), &mut batch) {
            break;
        }
        absent -= 1;
        if batch.is_full() {
            drop(list);
            batch.wake_all();
            list = core.list.lock();
        }
    }
    drop(list);
    batch.wake_all();
}

/// Gives back what a header's grant word holds when the header's memory goes.
pub(crate) fn forget_grant(header: &Header) {
    // Ordering: Acquire pairs with the exchange in `publish_grant`; nothing is published here.
    drop(redeem(header.grant.swap(ptr::null_mut(), Acquire)));
}
