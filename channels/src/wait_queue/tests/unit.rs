//! Unit tests of the wait queue, on one thread unless a thread must block.

use std::future::pending;
use std::mem;
use std::task::{RawWaker, RawWakerVTable, Waker};
use std::time::Duration;

use super::*;
use crate::block::deadline_after;
use crate::probe::BUDGET;
use crate::shim::thread;

fn poll(future: &mut Boxed) -> (Poll<()>, Arc<Count>) {
    let count = Count::new();
    (count.poll(future.as_mut()), count)
}

#[test]
fn cancel_before_the_first_poll_leaves_no_trace() {
    let pool = Arc::new(Pool::new(0));
    drop(claim(&pool, 1));
    drop(Box::pin(Waiter::new()));
    assert!(pool.queue.is_empty());
    assert!(pool.queue.core.get().is_none(), "nobody waited, so nothing was allocated");
}

#[test]
fn cancel_while_waiting_leaves_the_line() {
    let pool = Arc::new(Pool::new(0));
    let mut futures = [claim(&pool, 1), claim(&pool, 1), claim(&pool, 1)];
    let counts = futures.each_mut().map(|future| poll(future).1);
    futures[1] = Box::pin(pending());
    pool.put(2);
    assert_eq!(counts.map(|count| count.get()), [1, 0, 1]);
    let [first, _, last] = futures;
    block_on(first);
    block_on(last);
    assert_eq!(pool.free(), 0);
    assert_eq!(pool.queue.lock().list.len(), 0);
}

#[test]
fn cancel_after_the_invitation_passes_it_on() {
    let pool = Arc::new(Pool::new(0));
    let (mut first, mut second) = (claim(&pool, 1), claim(&pool, 1));
    let (one, two) = (poll(&mut first).1, poll(&mut second).1);
    pool.put(1);
    assert_eq!((one.get(), two.get()), (1, 0));
    drop(first);
    assert_eq!(two.get(), 1);
    block_on(second);
}

#[test]
fn cancel_of_a_told_waiter_hands_the_message_back() {
    let queue = WaitQueue::new();
    let mut waiter = Box::pin(Waiter::new());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiter.as_mut().poll_told(&queue, 0, || None::<()>, &mut cx).is_pending());
    assert!(queue.notify_one(5));
    assert_eq!(waiter.as_mut().leave(), Some(5));
    assert_eq!(waiter.as_mut().leave(), None);
    // It can be used again.
    assert!(waiter.as_mut().poll_told(&queue, 0, || None::<()>, &mut cx).is_pending());
    assert!(waiter.is_waiting());
    assert!(queue.notify_last(6));
    assert_eq!(waiter.as_mut().poll_told(&queue, 0, || None::<()>, &mut cx), Poll::Ready(Outcome::Told(6)));
    assert!(!waiter.is_waiting());
}

#[test]
fn served_in_the_order_of_arrival() {
    let pool = Arc::new(Pool::new(0));
    let mut futures: Vec<_> = (0..20).map(|_| claim(&pool, 1)).collect();
    let counts: Vec<_> = futures.iter_mut().map(|future| poll(future).1).collect();
    for (turn, future) in futures.iter_mut().enumerate() {
        pool.put(1);
        assert!(counts.iter().enumerate().all(|(at, count)| count.get() == usize::from(at <= turn)));
        assert!(poll(future).0.is_ready());
    }
}

/// The front is before the back, and the head before both, whoever comes and goes meanwhile.
#[test]
fn served_by_place_and_then_by_arrival() {
    use Place::{Back, Front, Head};
    let places = [Back, Front, Back, Front, Head, Front, Back];
    for goes in 0..=places.len() {
        let pool = Arc::new(Pool::fair(0));
        let mut line: Vec<_> = places
            .iter()
            .enumerate()
            .map(|(id, &place)| {
                let pool = pool.clone();
                let future: Boxed = Box::pin(async move { pool.claim_at(1, place).await });
                (id, place, future, Count::new())
            })
            .collect();
        for (_, _, future, count) in &mut line {
            assert!(count.poll(future.as_mut()).is_pending());
        }
        if goes < line.len() {
            drop(line.remove(goes));
            // A latecomer finds its place all the same.
            let late = pool.clone();
            let mut future: Boxed = Box::pin(async move { late.claim_at(1, Front).await });
            let count = Count::new();
            assert!(count.poll(future.as_mut()).is_pending());
            line.push((7, Front, future, count));
        }
        let mut expected: Vec<_> = line.iter().map(|(id, place, ..)| (*id, *place)).collect();
        expected.sort_by_key(|(_, place)| [Head, Front, Back].iter().position(|other| other == place));
        for (id, _) in expected {
            pool.put(1);
            let woken = line.iter_mut().position(|(_, _, _, count)| count.get() == 1).unwrap();
            let (served, _, mut future, count) = line.remove(woken);
            assert_eq!(served, id, "when {goes} had gone");
            assert!(count.poll(future.as_mut()).is_ready());
        }
    }
}

#[test]
fn many_are_invited_by_one_release() {
    let pool = Arc::new(Pool::new(0));
    let mut futures: Vec<_> = (0..50).map(|_| claim(&pool, 1)).collect();
    let counts: Vec<_> = futures.iter_mut().map(|future| poll(future).1).collect();
    pool.put(49);
    assert_eq!(counts.iter().map(|count| count.get()).sum::<usize>(), 49);
    assert_eq!(counts[49].get(), 0);
}

#[test]
fn all_are_told_and_only_those_who_waited() {
    let queue = Arc::new(WaitQueue::new());
    let mut futures: Vec<_> = (0..50).map(|word| told(&queue, word)).collect();
    let count = Count::new();
    for future in &mut futures {
        assert!(count.poll(future.as_mut()).is_pending());
    }
    assert!(queue.notify_where(1, |word| word == 17));
    assert_eq!(block_on(futures.remove(17)), 1);
    assert!(queue.notify_last(3));
    assert_eq!(block_on(futures.pop().unwrap()), 3);
    assert_eq!(queue.notify_all(2), 48);
    assert_eq!(count.get(), 50);
    let mut late = told(&queue, 0);
    assert!(count.poll(late.as_mut()).is_pending());
    assert!(futures.into_iter().all(|future| block_on(future) == 2));
    assert_eq!(queue.waiters(), 1);
}

#[test]
fn a_closed_queue_tells_latecomers_who_cannot_take() {
    let pool = Arc::new(Pool::new(1));
    pool.queue.close(9);
    pool.queue.close(10);
    block_on(pool.claim(1));
    let mut waiter = pin!(Waiter::new());
    let mut cx = Context::from_waker(Waker::noop());
    let outcome = waiter.as_mut().poll_claim(&pool.queue, 1, || pool.free(), || pool.take(1), &mut cx);
    assert_eq!(outcome, Poll::Ready(Outcome::Told(9)));
}

#[test]
fn units_left_in_a_closed_queue_go_first() {
    let pool = Arc::new(Pool::new(0));
    let mut future = claim(&pool, 1);
    let (_, count) = poll(&mut future);
    pool.free.fetch_add(1, SeqCst);
    pool.queue.close(9);
    assert_eq!(count.get(), 1);
    block_on(future);
}

#[test]
fn the_last_waker_counts() {
    let pool = Arc::new(Pool::new(0));
    let mut future = claim(&pool, 1);
    let (_, old) = poll(&mut future);
    let (_, new) = poll(&mut future);
    assert_eq!(Arc::strong_count(&old), 1, "the waker that was replaced was dropped");
    pool.put(1);
    assert_eq!((old.get(), new.get()), (0, 1));
}

/// A hog takes the unit back before the waiter comes, again and again.
#[test]
fn lk2_a_waiter_is_overtaken_sixteen_times_at_most() {
    let pool = Arc::new(Pool::new(1));
    let mut hog = 1;
    assert!(pool.try_take(1));
    let mut future = claim(&pool, 1);
    assert!(poll(&mut future).0.is_pending());
    loop {
        pool.put(1);
        if !pool.try_take(1) {
            break;
        }
        hog += 1;
        assert!(poll(&mut future).0.is_pending());
        assert!(hog < 100);
    }
    assert_eq!(hog, 1 + usize::from(entry::OVERTAKEN_MAX));
    assert!(poll(&mut future).0.is_ready());
    // The gate is open again.
    pool.put(1);
    assert!(pool.try_take(1));
}

/// Each of 8 waiters gets its turn although the releaser takes the unit back at once every time.
#[test]
fn lk2_eight_waiters_behind_a_hog_are_served() {
    let pool = Arc::new(Pool::new(1));
    assert!(pool.try_take(1));
    let mut futures: Vec<_> = (0..8).map(|_| claim(&pool, 1)).collect();
    for future in &mut futures {
        assert!(poll(future).0.is_pending());
    }
    let mut served = Vec::new();
    for round in 0..8 * (usize::from(entry::OVERTAKEN_MAX) + 1) {
        pool.put(1);
        let hog = pool.try_take(1);
        for (at, future) in futures.iter_mut().enumerate() {
            if !served.contains(&at) && poll(future).0.is_ready() {
                assert!(!hog);
                served.push(at);
                break;
            }
        }
        assert!(pool.free() == 0, "round {round}: somebody has the unit");
    }
    assert_eq!(served, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_big_request_is_not_starved_by_small_ones() {
    let pool = Arc::new(Pool::new(4));
    assert!(pool.try_take(4));
    let mut big = claim(&pool, 4);
    let (_, count) = poll(&mut big);
    let mut taken = 4;
    let mut barged = 0;
    while count.get() == 0 {
        pool.put(1);
        taken -= 1;
        if pool.try_take(1) {
            taken += 1;
            barged += 1;
        }
        assert!(barged < 100);
    }
    // The gate shuts at the 16th release that was not enough, before anybody can barge again.
    assert_eq!((taken, barged), (0, usize::from(entry::OVERTAKEN_MAX) - 1));
    block_on(big);
}

#[test]
fn a_fair_queue_lets_nobody_barge() {
    let pool = Arc::new(Pool::fair(1));
    assert!(pool.try_take(1));
    let (mut first, mut second) = (claim(&pool, 1), claim(&pool, 1));
    let (one, two) = (Count::new(), Count::new());
    assert!(one.poll(first.as_mut()).is_pending());
    assert!(two.poll(second.as_mut()).is_pending());
    pool.put(1);
    assert!(!pool.try_take(1));
    assert!(two.poll(second.as_mut()).is_pending());
    assert!(one.poll(first.as_mut()).is_ready());
    pool.put(1);
    assert!(two.poll(second.as_mut()).is_ready());
    pool.put(1);
    assert!(pool.try_take(1));
}

/// One unit: while an invited waiter has not come, a release does not visit the lock; yet nobody is
/// forgotten.
#[test]
fn release_one_skips_and_forgets_nobody() {
    let pool = Arc::new(Pool::new(0));
    let (mut first, mut second) = (claim(&pool, 1), claim(&pool, 1));
    let (one, two) = (poll(&mut first).1, poll(&mut second).1);
    pool.put_one();
    assert!(pool.try_take(1));
    pool.put_one();
    assert_eq!((one.get(), two.get()), (1, 0));
    block_on(first);
    pool.put_one();
    assert_eq!(two.get(), 1);
    block_on(second);
}

/// The program of Oxide's RFD 609: a task keeps a future that is in line, awaits another on the same lock,
/// and the first is offered it. `gate` says whether the offer excludes newcomers.
fn futurelock(gate: bool, poll: impl Fn(Pin<&mut dyn Future<Output = ()>>) -> Poll<()>) {
    let pool = Arc::new(if gate { Pool::fair(1) } else { Pool::new(1) });
    assert!(pool.try_take(1));
    let mut kept = claim(&pool, 1);
    assert!(poll(kept.as_mut()).is_pending());
    let mut awaited = claim(&pool, 1);
    assert!(poll(awaited.as_mut()).is_pending());
    pool.put(1);
    assert!(poll(awaited.as_mut()).is_ready(), "the same task may take what its other future was offered");
    assert!(poll(kept.as_mut()).is_pending());
    pool.put(1);
    assert!(poll(kept.as_mut()).is_ready());
}

#[test]
fn futurelock_within_a_task_under_the_probe() {
    for gate in [false, true] {
        let task = FakeTask::new(1);
        futurelock(gate, |future| task.poll_one(future));
    }
}

#[test]
fn futurelock_within_a_task_by_its_waker() {
    for gate in [false, true] {
        let count = Count::new();
        let waker = Waker::from(count);
        futurelock(gate, |future| future.poll(&mut Context::from_waker(&waker)));
    }
}

#[test]
fn another_task_may_not_take_what_is_reserved() {
    let pool = Arc::new(Pool::fair(0));
    let mut kept = claim(&pool, 1);
    let (pending, _count) = poll(&mut kept);
    assert!(pending.is_pending());
    pool.put(1);
    assert!(poll(&mut claim(&pool, 1)).0.is_pending());
    FakeTask::new(1).poll(|cx| assert!(claim(&pool, 1).as_mut().poll(cx).is_pending()));
    FakeTask::new(2).poll(|_| assert!(!pool.try_take(1)));
    assert!(poll(&mut kept).0.is_ready());
}

/// The other half of futurelock: the invited task runs, but does not come, and a second task is behind it.
#[test]
fn an_invitation_moves_on_when_its_task_does_not_come() {
    for pool in [Pool::new(0), Pool::fair(0)] {
        let pool = Arc::new(pool);
        let (task, other) = (FakeTask::new(1), FakeTask::new(2));
        let (mut kept, mut behind) = (claim(&pool, 1), claim(&pool, 1));
        assert!(task.poll_one(kept.as_mut()).is_pending());
        assert!(other.poll_one(behind.as_mut()).is_pending());
        pool.put(1);
        assert_eq!((task.wakes.get(), other.wakes.get()), (1, 0));
        task.poll(|_| ());
        assert_eq!(other.wakes.get(), 1);
        assert!(other.poll_one(behind.as_mut()).is_ready());
        // It kept its place: it is the first to be invited once it has come again.
        let mut late = claim(&pool, 1);
        assert!(other.poll_one(late.as_mut()).is_pending());
        assert!(task.poll_one(kept.as_mut()).is_pending());
        pool.put(1);
        assert_eq!((task.wakes.get(), other.wakes.get()), (2, 1));
        assert!(task.poll_one(kept.as_mut()).is_ready());
    }
}

#[test]
fn an_invitation_given_during_a_poll_is_not_settled_by_it() {
    let pool = Arc::new(Pool::fair(0));
    let (task, other) = (FakeTask::new(1), FakeTask::new(2));
    let (mut kept, mut behind) = (claim(&pool, 1), claim(&pool, 1));
    task.poll(|cx| {
        assert!(kept.as_mut().poll(cx).is_pending());
        assert!(other.poll_one(behind.as_mut()).is_pending());
        pool.put(1);
    });
    assert_eq!((task.wakes.get(), other.wakes.get()), (1, 0));
    assert!(task.poll_one(kept.as_mut()).is_ready());
    assert!(task.header.grant.load(SeqCst).is_null());
    pool.put(1);
    assert!(other.poll_one(behind.as_mut()).is_ready());
}

#[test]
fn a_second_queue_that_finds_the_word_taken_invites_one_more() {
    let pools = [Arc::new(Pool::new(0)), Arc::new(Pool::new(0))];
    let (task, other) = (FakeTask::new(1), FakeTask::new(2));
    let mut kept = pools.each_ref().map(|pool| claim(pool, 1));
    let mut behind = pools.each_ref().map(|pool| claim(pool, 1));
    for (kept, behind) in kept.iter_mut().zip(&mut behind) {
        assert!(task.poll_one(kept.as_mut()).is_pending());
        assert!(other.poll_one(behind.as_mut()).is_pending());
    }
    pools[0].put(1);
    assert_eq!(other.wakes.get(), 0);
    pools[1].put(1);
    assert_eq!((task.wakes.get(), other.wakes.get()), (2, 1));
    assert!(task.poll_one(kept[0].as_mut()).is_ready());
    assert!(other.poll_one(behind[1].as_mut()).is_ready());
}

/// Leaking a pinned future ends the borrow that kept the primitive in place.
#[test]
fn a_leaked_future_does_not_lead_settling_astray() {
    let task = FakeTask::new(1);
    let pool = Box::new(Pool::new(0));
    let mut leaked = Box::pin(Waiter::new());
    assert!(task.poll(|cx| pool.poll(leaked.as_mut(), 1, cx)).is_pending());
    mem::forget(leaked);
    pool.put(1);
    let moved = *pool;
    task.poll(|_| ());
    assert_eq!(moved.free(), 1);
    assert!(moved.try_take(1));
}

#[test]
fn who_made_use_of_its_invitation_has_nothing_to_settle() {
    let pool = Arc::new(Pool::new(0));
    let task = FakeTask::new(1);
    let mut futures = [claim(&pool, 1), claim(&pool, 1)];
    for future in &mut futures {
        assert!(task.poll_one(future.as_mut()).is_pending());
    }
    pool.put(2);
    let core = Arc::downgrade(pool.queue.core());
    task.poll(|cx| {
        let [first, second] = &mut futures;
        assert!(first.as_mut().poll(cx).is_ready());
        assert!(!task.header.grant.load(SeqCst).is_null(), "the other one is invited still");
        assert!(second.as_mut().poll(cx).is_ready());
        assert!(task.header.grant.load(SeqCst).is_null());
    });
    drop((futures, pool));
    assert_eq!(core.strong_count(), 0);
}

#[test]
fn the_header_gives_back_a_grant_that_was_never_settled() {
    let pool = Arc::new(Pool::new(0));
    let task = FakeTask::new(1);
    let mut future = claim(&pool, 1);
    assert!(task.poll_one(future.as_mut()).is_pending());
    pool.put(1);
    let core = Arc::downgrade(pool.queue.core());
    drop((future, pool));
    assert_eq!(core.strong_count(), 1);
    drop(task);
    assert_eq!(core.strong_count(), 0);
}

#[test]
fn a_waiter_ignores_a_spent_budget_which_is_its_primitives_business() {
    let task = FakeTask::new(1);
    task.poll(|_| {
        assert_eq!(probe::set_budget(0), BUDGET);
        block_on(Pool::new(1).claim(1));
    });
}

#[test]
fn blocking_claims_end_in_time() {
    let pool = Pool::new(0);
    assert!(!pool.claim_blocking(1, deadline_after(Duration::ZERO)));
    assert!(!pool.claim_blocking(1, deadline_after(Duration::from_micros(10))));
    assert!(deadline_after(Duration::MAX).is_none());
    assert!(pool.queue.is_empty() || pool.queue.lock().is_empty());
    thread::scope(|scope| {
        scope.spawn(|| pool.put(1));
        assert!(pool.claim_blocking(1, deadline_after(Duration::MAX)));
    });
    let told = Waiter::told_blocking(&pool.queue, 0, || None::<()>, deadline_after(Duration::ZERO));
    assert_eq!(told, None);
}

/// What a hostile waker does when it is cloned, woken or dropped.
struct Hostile {
    pool: Arc<Pool>,
    panics: bool,
    woken: AtomicUsize,
}

impl Hostile {
    const TABLE: RawWakerVTable = RawWakerVTable::new(Self::clone, Self::wake, Self::wake, |_| ());

    fn waker(&'static self) -> Waker {
        // SAFETY: the data is a static reference, which the functions of the table read it as.
        unsafe { Waker::from_raw(RawWaker::new((&raw const *self).cast(), &Self::TABLE)) }
    }

    fn meddle(&self) {
        // Each of these takes the lock of the queue: a deadlock, if the caller holds it.
        drop(self.pool.queue.lock());
        assert!(poll(&mut claim(&self.pool, 100)).0.is_pending());
        self.pool.put(0);
        drop(self.pool.queue.lock());
    }

    fn clone(data: *const ()) -> RawWaker {
        // SAFETY: see `waker`.
        unsafe { &*data.cast::<Hostile>() }.meddle();
        RawWaker::new(data, &Self::TABLE)
    }

    fn wake(data: *const ()) {
        // SAFETY: see `waker`.
        let this = unsafe { &*data.cast::<Hostile>() };
        this.woken.fetch_add(1, SeqCst);
        this.meddle();
        assert!(!this.panics, "a waker that panics");
    }
}

#[test]
fn hostile_wakers_do_no_harm() {
    for panics in [false, true] {
        let pool = Arc::new(Pool::new(0));
        let hostile: &'static Hostile =
            Box::leak(Box::new(Hostile { pool: pool.clone(), panics, woken: AtomicUsize::new(0) }));
        let (mut first, mut second, mut third) = (claim(&pool, 1), claim(&pool, 1), claim(&pool, 1));
        let waker = hostile.waker();
        assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let (_, count) = poll(&mut second);
        assert!(third.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        pool.put(3);
        assert_eq!((hostile.woken.load(SeqCst), count.get()), (2, 1));
        for mut future in [first, second, third] {
            assert!(poll(&mut future).0.is_ready());
        }
        assert_eq!(pool.free(), 0);
    }
}

#[test]
fn shown_in_debug_in_every_state() {
    let queue = WaitQueue::fair();
    assert_eq!(format!("{queue:?}"), "WaitQueue { waiters: 0, fair: true }");
    assert_eq!(format!("{:?}", Waiter::new()), "Waiter { is_waiting: false, .. }");
    assert!(mem::size_of::<Waiter>() <= 128, "a waiter takes {} bytes", mem::size_of::<Waiter>());
}
