//! Unit tests of `Barrier`.

use super::*;
use crate::probe::BUDGET;
use crate::shim::thread;
use crate::test_util::FakeTask;
use crate::testing::Wakes;

static CONST: Barrier = Barrier::new(2);

fn is_pending(party: &mut Pin<Box<dyn Future<Output = Passed> + Send>>) -> bool {
    Count::new().poll(party.as_mut()).is_pending()
}

#[test]
fn nobody_passes_before_all_have_come() {
    assert_eq!(format!("{CONST:?}"), "Barrier { parties: 2, arrived: 0, broken: false }");
    for _ in 0..3 {
        let mut first = Box::pin(CONST.wait());
        let count = Count::new();
        assert!(count.poll(first.as_mut()).is_pending());
        assert_eq!((CONST.arrived(), CONST.parties()), (1, 2));
        assert!(block_on(CONST.wait()).is_leader());
        assert_eq!(count.get(), 1);
        assert!(!block_on(first).is_leader());
    }
    assert_eq!(CONST.try_wait(), Err(BarrierError::Incomplete));
    assert_eq!(CONST.wait_timeout(Duration::ZERO), Err(BarrierError::Incomplete));
    assert_eq!(CONST.wait_deadline(Instant::now()), Err(BarrierError::Incomplete));
    assert_eq!(CONST.arrived(), 0);
}

#[test]
fn one_party_or_none_always_leads() {
    for parties in [0, 1] {
        let barrier = Barrier::new(parties);
        assert_eq!(barrier.parties(), 1);
        assert!(block_on(barrier.wait()).is_leader());
        assert!(barrier.wait_blocking().is_leader());
        assert!(barrier.try_wait().unwrap().is_leader());
        assert!(barrier.wait_timeout(Duration::ZERO).unwrap().is_leader());
    }
}

#[test]
fn a_party_that_is_dropped_withdraws() {
    let barrier = Arc::new(Barrier::new(3));
    drop(wait(&barrier));
    let (mut first, mut second) = (wait(&barrier), wait(&barrier));
    assert!(is_pending(&mut first) && is_pending(&mut second));
    drop(first);
    assert_eq!(barrier.arrived(), 1);
    let mut third = wait(&barrier);
    assert!(is_pending(&mut third));
    assert_eq!(barrier.arrived(), 2);
    assert!(barrier.try_wait().unwrap().is_leader());
    // Passed and not polled: nothing to withdraw, also from the next round.
    let mut next = wait(&barrier);
    assert!(is_pending(&mut next));
    drop(second);
    assert_eq!(barrier.arrived(), 1);
    assert_eq!(block_on(third).map(|passed| passed.is_leader()), Ok(false));
}

#[test]
fn a_broken_barrier_sends_all_away_until_it_is_reset() {
    let barrier = Arc::new(Barrier::new(2));
    let mut waiting = wait(&barrier);
    assert!(is_pending(&mut waiting));
    barrier.abort();
    barrier.abort();
    assert!(barrier.is_broken());
    assert_eq!(block_on(waiting), Err(BrokenBarrierError));
    assert_eq!(block_on(barrier.wait_unless_broken()), Err(BrokenBarrierError));
    assert_eq!(barrier.try_wait(), Err(BarrierError::Broken));
    assert_eq!(barrier.wait_timeout(Duration::MAX), Err(BarrierError::Broken));
    barrier.reset();
    assert!(!barrier.is_broken());
    let (mut sent_away, mut stays) = (wait(&barrier), wait(&barrier));
    assert!(is_pending(&mut sent_away));
    barrier.reset();
    assert!(is_pending(&mut stays), "the one before it was sent away");
    assert_eq!(block_on(sent_away), Err(BrokenBarrierError));
    assert!(barrier.try_wait().is_ok());
    assert!(block_on(stays).is_ok());
    assert_eq!(BarrierError::Broken.to_string(), BrokenBarrierError.to_string());
    assert_ne!(BarrierError::Incomplete.to_string(), BrokenBarrierError.to_string());
}

#[test]
#[should_panic(expected = "use wait_unless_broken where abort is used")]
fn waiting_at_a_broken_barrier_panics() {
    let barrier = Barrier::new(2);
    barrier.abort();
    block_on(barrier.wait());
}

#[test]
#[should_panic(expected = "is broken")]
fn blocking_at_a_broken_barrier_panics() {
    let barrier = Barrier::new(2);
    barrier.abort();
    barrier.wait_blocking();
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn polling_on_is_a_mistake() {
    let barrier = Barrier::new(1);
    let mut wait = pin!(barrier.wait());
    block_on(wait.as_mut());
    block_on(wait);
}

#[test]
#[should_panic(expected = "at most u32::MAX parties")]
#[cfg(target_pointer_width = "64")]
fn too_many_parties() {
    let _ = Barrier::new(1 << 32);
}

#[test]
fn generations_wrap() {
    let barrier = Barrier::new(2);
    let last = Now { arrived: 0, broken: false, generation: u32::MAX >> 1 };
    barrier.set_now(last);
    let mut first = Box::pin(barrier.wait());
    assert!(Count::new().poll(first.as_mut()).is_pending());
    assert!(barrier.try_wait().is_ok());
    assert!(barrier.now() == Now { generation: 0, ..last });
    block_on(first);
}

#[test]
fn a_waker_that_panics_does_not_keep_the_others_waiting() {
    let barrier = Barrier::new(3);
    let ((bad, bad_waker), (good, good_waker)) = (Wakes::new(), Wakes::new());
    bad.set_panic();
    let parties = [&bad_waker, &good_waker].map(|waker| {
        let mut party = Box::pin(barrier.wait());
        assert!(party.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        party
    });
    assert!(block_on(barrier.wait()).is_leader());
    assert_eq!((bad.count(), good.count()), (1, 1));
    parties.into_iter().for_each(|party| assert!(!block_on(party).is_leader()));
}

/// Polls once, and withdraws if that is not too late. None: it did.
fn pass_or_give_up(barrier: &Barrier) -> Option<BarrierWaitResult> {
    let mut party = pin!(barrier.party());
    let passed = match party.as_mut().poll_pass(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(passed) => passed,
        Poll::Pending if party.as_mut().withdraw() => return None,
        Poll::Pending => block::block_on(|cx| party.as_mut().poll_pass(cx)),
    };
    Some(passed.unwrap())
}

/// BA1: parties that come and go, over a hundred rounds: one leader in each, and nobody passes alone.
#[test]
fn ba1_a_hundred_rounds_with_parties_that_give_up() {
    let barrier = Arc::new(Barrier::new(3));
    let leaders = AtomicU64::new(0);
    thread::scope(|scope| {
        for id in 0..3 {
            let (barrier, leaders) = (&barrier, &leaders);
            scope.spawn(move || {
                for round in 0..100 {
                    let at_first = if (round + id) % 2 == 0 { pass_or_give_up(barrier) } else { None };
                    let passed = at_first.unwrap_or_else(|| match id {
                        0 => barrier.wait_blocking(),
                        1 => block_on(barrier.wait()),
                        _ => barrier.wait_timeout(Duration::MAX).unwrap(),
                    });
                    let leads = passed.is_leader();
                    leaders.fetch_add(u64::from(leads), Relaxed);
                }
            });
        }
    });
    assert_eq!((leaders.load(Relaxed), barrier.arrived()), (100, 0));
}

#[test]
fn a_task_yields_when_its_budget_is_spent() {
    let (barrier, task) = (Barrier::new(1), FakeTask::new(1));
    let mut passed = 0;
    task.poll(|cx| {
        while pin!(barrier.wait()).poll(cx).is_ready() {
            passed += 1;
        }
    });
    assert_eq!((passed, task.wakes.get()), (BUDGET, 1));
}

#[test]
fn the_header_says_what_is_waited_for() {
    let (barrier, task) = (Barrier::new(2), FakeTask::new(1));
    let mut party = Box::pin(barrier.wait());
    assert!(task.poll_one(party.as_mut()).is_pending());
    let (kind, resource, location) = task.header.wait();
    assert_eq!((kind, resource), (Wait::Notify, &raw const barrier as usize));
    assert!(location.unwrap().file().ends_with("unit.rs"));
    assert!(format!("{party:?}").contains("waits: true"));
}

#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Barrier>();
    crosses::<BarrierWait<'_>>();
    crosses::<BarrierWaitUnlessBroken<'_>>();
}
