//! Unit tests of the semaphore.

use std::pin::{Pin, pin};
use std::task::Poll;

use super::*;
use crate::probe::{BUDGET, Wait};
use crate::shim::thread;
use crate::test_util::FakeTask;
use crate::testing::poll_with;

static CONST: Semaphore = Semaphore::const_new(1);

#[test]
fn permits_come_and_go() {
    let permit = CONST.try_acquire().unwrap();
    assert_eq!(CONST.try_acquire().unwrap_err(), TryAcquireError::NoPermits);
    assert!(std::ptr::eq(permit.semaphore(), &CONST));
    drop(permit);
    assert_eq!(CONST.available_permits(), 1);
    drop(block_on(CONST.acquire()).unwrap());
    drop(CONST.acquire_blocking().unwrap());
    drop(CONST.acquire_timeout(Duration::MAX).unwrap());
    drop(CONST.acquire_deadline(Instant::now()).unwrap());
    assert_eq!(CONST.acquire_many_deadline(2, Instant::now()).unwrap_err(), AcquireTimeoutError::Timeout);
    assert_eq!(CONST.available_permits(), 1);
}

#[test]
fn owned_permits_keep_the_semaphore() {
    let semaphore = Arc::new(Semaphore::new(3));
    let mut one = semaphore.clone().try_acquire_owned().unwrap();
    let two = block_on(semaphore.clone().acquire_many_owned(2)).unwrap();
    assert!(semaphore.clone().try_acquire_many_owned(1).is_err());
    assert_eq!(
        semaphore.clone().acquire_owned_timeout(Duration::ZERO).unwrap_err(),
        AcquireTimeoutError::Timeout
    );
    assert_eq!(
        semaphore.clone().acquire_owned_deadline(Instant::now()).unwrap_err(),
        AcquireTimeoutError::Timeout
    );
    one.merge(two);
    assert_eq!(one.num_permits(), 3);
    let weak = Arc::downgrade(&semaphore);
    drop(semaphore);
    let split = one.split(1).unwrap();
    assert!(one.split(3).is_none());
    drop(one);
    assert_eq!(weak.upgrade().unwrap().available_permits(), 2);
    drop(split);
    assert!(weak.upgrade().is_none());
    let semaphore = Arc::new(Semaphore::new(2));
    semaphore.clone().acquire_owned_blocking().unwrap().forget();
    assert_eq!(semaphore.available_permits(), 1);
}

#[test]
#[should_panic(expected = "merging permits of two semaphores")]
fn permits_of_two_semaphores_do_not_merge() {
    let (one, two) = (Semaphore::new(1), Semaphore::new(1));
    one.try_acquire().unwrap().merge(two.try_acquire().unwrap());
}

#[test]
fn forgetting_and_adding() {
    let semaphore = Semaphore::new(5);
    semaphore.try_acquire_many(2).unwrap().forget();
    assert_eq!(semaphore.available_permits(), 3);
    assert_eq!(semaphore.forget_permits(2), 2);
    assert_eq!(semaphore.forget_permits(2), 1);
    semaphore.add_permits(2);
    semaphore.add(0);
    assert_eq!(semaphore.available_permits(), 2);
    assert_eq!(semaphore.try_acquire_many(0).unwrap().num_permits(), 0);
}

#[test]
fn too_many_permits_panic_and_add_nothing() {
    let semaphore = Semaphore::new(Semaphore::MAX_PERMITS - 1);
    semaphore.add(1);
    for n in [1, Semaphore::MAX_PERMITS, usize::MAX] {
        let add = std::panic::AssertUnwindSafe(|| semaphore.add(n));
        assert!(std::panic::catch_unwind(add).is_err());
        assert_eq!(semaphore.available_permits(), Semaphore::MAX_PERMITS);
    }
    assert!(std::panic::catch_unwind(|| Semaphore::new(Semaphore::MAX_PERMITS + 1)).is_err());
}

#[test]
fn closing_ends_every_wait() {
    let semaphore = Arc::new(Semaphore::new(1));
    let held = semaphore.try_acquire().unwrap();
    let mut waiting = pin!(semaphore.acquire());
    let count = Count::new();
    assert!(count.poll(waiting.as_mut()).is_pending());
    assert!(!semaphore.is_closed());
    semaphore.close();
    semaphore.close();
    assert!(semaphore.is_closed());
    assert_eq!(count.get(), 1);
    drop(held);
    assert_eq!(semaphore.available_permits(), 1);
    assert_eq!(block_on(waiting).unwrap_err(), AcquireError(()));
    assert!(block_on(semaphore.acquire_many(0)).is_err());
    assert!(block_on(semaphore.clone().acquire_owned()).is_err());
    assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::Closed);
    assert!(semaphore.acquire_blocking().is_err());
    assert_eq!(semaphore.acquire_timeout(Duration::MAX).unwrap_err(), AcquireTimeoutError::Closed);
    assert_eq!(semaphore.acquire_deadline(Instant::now()).unwrap_err(), AcquireTimeoutError::Closed);
    for error in [AcquireTimeoutError::Closed.to_string(), TryAcquireError::Closed.to_string()] {
        assert_eq!(error, AcquireError(()).to_string());
    }
    assert_ne!(TryAcquireError::NoPermits.to_string(), AcquireTimeoutError::Timeout.to_string());
}

#[test]
fn cancelled_at_each_stage() {
    let semaphore = Semaphore::new(1);
    drop(semaphore.acquire());
    let held = semaphore.try_acquire().unwrap();
    let (mut first, mut second) = (Box::pin(semaphore.acquire()), Box::pin(semaphore.acquire()));
    let (one, two) = (Count::new(), Count::new());
    assert!(one.poll(first.as_mut()).is_pending());
    assert!(two.poll(second.as_mut()).is_pending());
    assert!(format!("{semaphore:?} {first:?}").contains("waiting: 2"));
    drop(held);
    assert_eq!((one.get(), two.get()), (1, 0));
    drop(first);
    assert_eq!(two.get(), 1);
    drop(second);
    assert_eq!(semaphore.available_permits(), 1);
}

#[test]
fn a_big_request_blocks_the_small_ones_behind_it_when_fair() {
    let semaphore = Semaphore::fair(2);
    let held = semaphore.try_acquire().unwrap();
    let mut big = Box::pin(semaphore.acquire_many(2));
    let count = Count::new();
    assert!(count.poll(big.as_mut()).is_pending());
    assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::NoPermits);
    drop(held);
    assert_eq!(count.get(), 1);
    let both = block_on(big).unwrap();
    assert_eq!(both.num_permits(), 2);
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn polling_on_is_a_mistake() {
    let semaphore = Semaphore::new(1);
    let mut acquire = pin!(semaphore.acquire());
    let _permit = block_on(acquire.as_mut());
    let _ = block_on(acquire);
}

#[test]
fn a_task_yields_when_its_budget_is_spent() {
    let semaphore = Semaphore::new(usize::from(BUDGET) + 1);
    let task = FakeTask::new(1);
    let held = task.poll(|cx| {
        let mut held = Vec::new();
        while let Poll::Ready(permit) = pin!(semaphore.acquire()).poll(cx) {
            held.push(permit.unwrap());
        }
        held
    });
    assert_eq!((held.len(), task.wakes.get()), (usize::from(BUDGET), 1));
    assert_eq!(task.header.wait().0, Wait::Yield);
}

#[test]
fn an_invited_task_takes_its_permit_whatever_its_budget() {
    let semaphore = Semaphore::fair(0);
    let task = FakeTask::new(1);
    let mut acquire = Box::pin(semaphore.acquire());
    assert!(task.poll_one(acquire.as_mut()).is_pending());
    semaphore.add(1);
    let taken = task.poll(|cx| {
        probe::set_budget(0);
        acquire.as_mut().poll(cx)
    });
    assert!(taken.is_ready());
}

#[test]
fn the_header_says_what_is_waited_for() {
    let semaphore = Semaphore::new(0);
    let task = FakeTask::new(1);
    let (mut acquire, line) = (Box::pin(semaphore.acquire()), line!());
    assert!(task.poll_one(acquire.as_mut()).is_pending());
    let (kind, resource, location) = task.header.wait();
    assert_eq!((kind, resource), (Wait::Semaphore, &raw const semaphore as usize));
    assert_eq!((location.unwrap().file(), location.unwrap().line()), (file!(), line));
}

/// SM2: whatever is done in whatever order, the permits add up, and nobody waits for permits that are there.
#[test]
fn permits_are_conserved() {
    type Waiting<'a> = (u32, Pin<Box<Acquire<'a>>>, std::sync::Arc<Count>);
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for round in 0..200 {
        let semaphore = if round % 2 == 0 { Semaphore::new(3) } else { Semaphore::fair(3) };
        let (mut total, mut held, mut waiting) = (3, Vec::new(), Vec::<Waiting<'_>>::new());
        for _ in 0..200 {
            let pick = |len: usize, random: &mut dyn FnMut(u64) -> u64| random(len as u64) as usize;
            match random(8) {
                0 | 1 => {
                    let n = random(4) as u32;
                    waiting.push((n, Box::pin(semaphore.acquire_many(n)), Count::new()));
                }
                2 | 3 if !waiting.is_empty() => {
                    let at = pick(waiting.len(), &mut random);
                    let (_, acquire, count) = &mut waiting[at];
                    if let Poll::Ready(permit) = count.poll(acquire.as_mut()) {
                        held.push(permit.unwrap());
                        drop(waiting.swap_remove(at));
                    }
                }
                4 if !waiting.is_empty() => drop(waiting.swap_remove(pick(waiting.len(), &mut random))),
                5 if !held.is_empty() => drop(held.swap_remove(pick(held.len(), &mut random))),
                6 => held.extend(semaphore.try_acquire_many(random(3) as u32)),
                7 if total < 6 => {
                    semaphore.add(1);
                    total += 1;
                }
                _ => total -= semaphore.forget_permits(random(2) as usize),
            }
            let out: usize = held.iter().map(SemaphorePermit::num_permits).sum();
            assert_eq!(out + semaphore.available_permits(), total);
        }
        // Everybody who is woken comes, and gives back at once: in the end nobody is left who could be
        // served.
        held.clear();
        semaphore.add(4);
        for (_, acquire, count) in &mut waiting {
            if count.poll(acquire.as_mut()).is_ready() {
                count.0.store(usize::MAX, Relaxed);
            }
        }
        loop {
            let woken = waiting.iter_mut().find(|(_, _, count)| !matches!(count.get(), 0 | usize::MAX));
            let Some((_, acquire, count)) = woken else { break };
            count.0.store(0, Relaxed);
            if count.poll(acquire.as_mut()).is_ready() {
                count.0.store(usize::MAX, Relaxed);
            }
        }
        assert!(waiting.iter().all(|(_, _, count)| count.get() == usize::MAX), "round {round}");
    }
}

#[test]
fn threads_and_tasks_share_permits() {
    let semaphore = Semaphore::new(2);
    let inside = AtomicUsize::new(0);
    let work = |n| {
        assert!(inside.fetch_add(n, SeqCst) + n <= 2);
        inside.fetch_sub(n, SeqCst);
    };
    thread::scope(|scope| {
        for id in 0..4_u32 {
            let (semaphore, work) = (&semaphore, &work);
            scope.spawn(move || {
                for round in 0..1_000 {
                    let n = 1 + (id + round) % 2;
                    let permit = match id % 2 {
                        0 => semaphore.acquire_many_blocking(n).unwrap(),
                        _ => block_on(semaphore.acquire_many(n)).unwrap(),
                    };
                    work(permit.num_permits());
                }
            });
        }
    });
    assert_eq!(semaphore.available_permits(), 2);
}

#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Semaphore>();
    crosses::<Acquire<'_>>();
    crosses::<AcquireOwned>();
    crosses::<SemaphorePermit<'_>>();
    crosses::<OwnedSemaphorePermit>();
}

/// One who was invited because another left must not go ahead of who was invited before.
#[test]
fn an_invitation_that_was_passed_on_does_not_overtake() {
    let semaphore = Semaphore::fair(2);
    let wakers = [(); 4].map(|()| crate::testing::Wakes::new().1);
    let mut first = Box::pin(semaphore.acquire_many(3));
    assert!(poll_with(first.as_mut(), &wakers[0]).is_pending());
    let mut second = Box::pin(semaphore.acquire_many(0));
    assert!(poll_with(second.as_mut(), &wakers[1]).is_pending());
    let mut third = Box::pin(semaphore.acquire_many(1));
    assert!(poll_with(third.as_mut(), &wakers[2]).is_pending());
    drop(first);
    let mut fourth = Box::pin(semaphore.acquire_many(2));
    assert!(poll_with(fourth.as_mut(), &wakers[3]).is_pending());
    // The second and the third were invited; what the second leaves goes to the fourth.
    drop(second);
    assert!(poll_with(fourth.as_mut(), &wakers[3]).is_pending(), "the third comes first");
    let Poll::Ready(Ok(permit)) = poll_with(third.as_mut(), &wakers[2]) else { panic!("its turn has come") };
    drop(permit);
    assert!(poll_with(fourth.as_mut(), &wakers[3]).is_ready());
}
