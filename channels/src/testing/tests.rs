//! The harness finds what it is there to find, and says where; the hostile do what they are asked to.
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::*;
use crate::shim::Ordering::SeqCst;
use crate::shim::task::AtomicUsize;
use crate::shim::{Mutex, thread};
use crate::sync::{Notify, Semaphore};

/// Runs `f`, which must panic, and returns the text.
#[track_caller]
fn panics<T: std::fmt::Debug>(f: impl FnOnce() -> T) -> String {
    text(&*catch_unwind(AssertUnwindSafe(f)).expect_err("a panic")).to_owned()
}

fn ignore<T>(_: T) {}

/// Without threads.
fn at_every_await(scenario: impl AsyncFnMut(Trial)) -> Report {
    Harness::new().patience(Duration::ZERO).run_blocking(scenario)
}

async fn yields(times: usize) {
    for _ in 0..times {
        yield_now().await;
    }
}

#[test]
fn each_fate_there_is_and_each_poll() {
    let fates = RefCell::new(Vec::new());
    let report = at_every_await(async |trial| {
        let fate = trial.fate();
        let ready = trial.run(yields(2)).await.is_some();
        fates.borrow_mut().push((fate, ready));
    });
    let dropped = |poll| [Fate::DroppedAfter(poll), Fate::DroppedWoken(poll), Fate::DroppedQuiet(poll)];
    let mut expected = vec![(Fate::Undisturbed, true), (Fate::Moved, true), (Fate::PolledInVain, true)];
    expected.push((Fate::DroppedUnpolled, false));
    expected.extend([1, 2].into_iter().flat_map(dropped).map(|fate| (fate, false)));
    expected.push((Fate::DroppedAfter(3), true));
    assert_eq!(*fates.borrow(), expected);
    assert!(expected[..3].iter().all(|(fate, _)| !fate.is_dropped()) && expected[3].0.is_dropped());
    let texts: HashSet<String> = expected.iter().map(|(fate, _)| fate.to_string()).collect();
    assert_eq!(texts.len(), expected.len());
    assert_eq!(report, Report { polls: 3, trials: 11, drops: 7 });
    assert_eq!(report.to_string(), "ready in poll 3; dropped in 7 of 11 trials");
    assert_eq!(block_on(cancel_at_every_await(async |trial| ignore(trial.run(yields(2)).await))), report);
}

#[test]
fn what_each_fate_does_to_polls_and_drops() {
    let seen = RefCell::new(Vec::new());
    at_every_await(async |trial| {
        let (fate, log) = (trial.fate(), RefCell::new(String::new()));
        let notify = Notify::new();
        let subject = async {
            let _end = Tell(&log, 'D');
            let mut wait = pin!(notify.notified());
            poll_fn(|cx| {
                log.borrow_mut().push('P');
                wait.as_mut().poll(cx)
            })
            .await;
        };
        let ahead = async {
            for _ in 0..2 {
                log.borrow_mut().push('a');
                yield_now().await;
            }
        };
        let beside = async {
            log.borrow_mut().push('b');
            notify.notify_one();
            yield_now().await;
            log.borrow_mut().push('c');
        };
        trial.ahead(ahead).beside(beside).run(subject).await;
        seen.borrow_mut().push((fate, log.into_inner()));
    });
    let seen = seen.into_inner();
    let log = |fate| seen.iter().find(|(at, _)| *at == fate).expect("this fate").1.as_str();
    assert_eq!(log(Fate::Undisturbed), "aPbaPDc");
    assert_eq!(log(Fate::Moved), "aPbaPDc");
    assert_eq!(log(Fate::DroppedUnpolled), "abac");
    assert_eq!(log(Fate::DroppedAfter(1)), "aPDbac");
    assert_eq!(log(Fate::DroppedWoken(1)), "aPbaDc");
    assert_eq!(log(Fate::DroppedQuiet(1)), "aPbacD");
    assert_eq!(log(Fate::DroppedAfter(2)), "aPbaPDc");
}

/// Leaves word when it is dropped.
struct Tell<'a>(&'a RefCell<String>, char);

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().push(self.1);
    }
}

#[test]
fn a_future_that_is_polled_in_vain_stands_it() {
    let polls = Cell::new(0);
    at_every_await(async |trial| {
        let notify = Notify::new();
        let in_vain = trial.fate() == Fate::PolledInVain;
        polls.set(0);
        let mut wait = pin!(notify.notified());
        let subject = poll_fn(|cx| {
            polls.set(polls.get() + 1);
            wait.as_mut().poll(cx)
        });
        let beside = async {
            yields(3).await;
            notify.notify_one();
        };
        let seen = trial.beside(beside).run(subject).await;
        assert!(!in_vain || (seen.is_some() && polls.get() == 5), "{}", polls.get());
    });
}

/// Ready once the flag is up; keeps the first waker it gets.
async fn keeps_its_first_waker(flag: &Cell<bool>, slot: &RefCell<Option<Waker>>) {
    poll_fn(|cx| {
        if flag.get() {
            return Poll::Ready(());
        }
        slot.borrow_mut().get_or_insert_with(|| cx.waker().clone());
        Poll::Pending
    })
    .await;
}

#[test]
fn a_future_that_wakes_a_former_task_hangs_when_it_was_moved() {
    let text = panics(|| {
        at_every_await(async |trial| {
            let (flag, slot) = (Cell::new(false), RefCell::new(None));
            let mut twice = pin!(keeps_its_first_waker(&flag, &slot));
            // Polled twice before it is ready, so that there is a second waker.
            let subject = async {
                yield_to(twice.as_mut()).await;
                twice.await;
            };
            let beside = async {
                yields(3).await;
                flag.set(true);
                slot.take().into_iter().for_each(Waker::wake);
            };
            trial.beside(beside).run(subject).await;
        });
    });
    assert!(
        text.starts_with("with its future polled to its end, with another waker at each poll, "),
        "{text}"
    );
    assert!(text.contains("hangs: nobody wakes the future under test, after poll 2"), "{text}");
    assert!(text.contains("testing/tests.rs"), "{text}");
}

/// Polls the future once, and is ready at its own second poll.
async fn yield_to(mut future: std::pin::Pin<&mut impl Future<Output = ()>>) {
    let mut polled = false;
    poll_fn(|cx| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        assert!(future.as_mut().poll(cx).is_pending());
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A key and a line for it. Whoever leaves the line is gone from it, but a wake-up that he got goes with him.
#[derive(Default)]
struct Key {
    free: Cell<bool>,
    line: RefCell<VecDeque<(usize, Waker)>>,
}

impl Key {
    fn give_back(&self) {
        self.free.set(true);
        let first = self.line.borrow_mut().pop_front();
        first.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Waits for the key, and gives it back at once.
    async fn take(&self, id: usize) {
        struct InLine<'a>(&'a Key, usize);
        impl Drop for InLine<'_> {
            fn drop(&mut self) {
                self.0.line.borrow_mut().retain(|(id, _)| *id != self.1);
            }
        }
        let _in_line = InLine(self, id);
        poll_fn(|cx| {
            let free = self.free.replace(false);
            if !free {
                self.line.borrow_mut().push_back((id, cx.waker().clone()));
            }
            if free { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.give_back();
    }
}

#[test]
fn a_wake_up_that_is_not_passed_on_is_found_and_its_victim_named() {
    let mut victim = 0;
    let text = panics(|| {
        at_every_await(async |trial| {
            let key = Key::default();
            victim = line!() + 1;
            let world = trial.beside(key.take(2));
            world.beside(async { key.give_back() }).run(key.take(1)).await;
        });
    });
    let names = format!("hangs: nobody wakes its neighbour of {}:{victim}:", file!());
    assert!(text.starts_with("with its future dropped when it was woken after poll 1, "), "{text}");
    assert!(text.contains(&names), "{text} does not say: {names}");
}

#[test]
fn a_check_that_fails_says_in_which_trial() {
    let text = panics(|| {
        at_every_await(async |trial| {
            let kept = trial.run(yields(1)).await.is_some();
            assert!(kept, "lost it");
        });
    });
    assert!(text.starts_with("with its future dropped before its first poll, "), "{text}");
    assert!(text.contains("testing/tests.rs") && text.ends_with("panics: lost it"), "{text}");
}

#[test]
fn scenarios_that_prove_nothing_are_refused() {
    let text = panics(|| at_every_await(async |_| ()));
    assert!(text.contains("without running its future under test"), "{text}");
    let spins = async |trial: Trial| ignore(trial.run(yields(usize::MAX)).await);
    let dropped_soon = async |trial: Trial| match trial.fate().is_dropped() {
        true => spins(trial).await,
        false => ignore(trial.run(yields(1)).await),
    };
    let text = panics(|| {
        Harness::default().polls_max(7).run_blocking(dropped_soon);
    });
    assert!(text.ends_with("is not ready after 7 polls"), "{text}");
    let text = panics(|| at_every_await(async |trial| ignore(trial.run(pending::<()>()).await)));
    assert!(text.contains("nobody wakes the future under test, after poll 1"), "{text}");
    let text = panics(|| {
        at_every_await(async |trial| {
            trial.run(yields(1)).await;
            pending::<()>().await;
        });
    });
    assert!(text.ends_with("nobody wakes the scenario itself, after its trial"), "{text}");
    let ready = at_every_await(async |trial| ignore(trial.run(async {}).await));
    assert_eq!(ready, Report { polls: 1, trials: 5, drops: 1 });
    assert!(catch_unwind(|| ready.assert_waited()).is_err());
}

#[test]
fn threads_may_take_part() {
    let report = cancel_at_every_await_blocking(async |trial| {
        let semaphore = Arc::new(Semaphore::new(0));
        let gives = semaphore.clone();
        let giver = thread::spawn(move || gives.add(1));
        let permit = trial.run(semaphore.acquire()).await;
        giver.join().unwrap();
        drop(permit);
        assert_eq!(semaphore.available_permits(), 1);
    });
    assert!(report.trials() >= 5, "{report}");
}

#[test]
fn a_ledger_knows_each_value() {
    let ledger = Ledger::default();
    let (one, two) = (ledger.message(7), ledger.message(7));
    assert!(one == two && one.id() == 7 && one != ledger.message(8));
    assert_eq!((ledger.made(), ledger.drops()), (3, 1));
    let three = one.clone();
    drop((one, two));
    assert_eq!((ledger.made(), ledger.drops()), (4, 3));
    assert_eq!(panics(|| ledger.assert_settled()), "1 of 4 values were not dropped");
    drop(three);
    ledger.assert_settled();
    // One is leaked, and another one dropped twice.
    let ledger = Ledger::new();
    std::mem::forget(ledger.message(1));
    let _ = ledger.message(2);
    drop(Counted(ledger.clone(), 2, 2));
    assert_eq!(panics(|| ledger.assert_settled()), "2 values, 2 drops: one was dropped twice");
}

#[test]
fn wakes_are_counted_and_waited_for() {
    let (wakes, waker) = Wakes::new();
    let waking = {
        let waker = waker.clone();
        thread::spawn(move || (0..3).for_each(|_| waker.wake_by_ref()))
    };
    wakes.wait_for(3);
    waking.join().unwrap();
    wakes.set_panic();
    assert!(catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err());
    assert_eq!(wakes.count(), 4);
}

/// Does to a waker what is done to wakers, so that each moment comes twice.
fn use_waker(waker: &Waker) {
    for _ in 0..2 {
        let clone = waker.clone();
        clone.wake_by_ref();
        drop(clone);
    }
}

#[test]
fn an_evil_waker_does_it_at_the_moment_that_was_asked_for() {
    for moment in Moment::OF_WAKERS {
        for (nth, deeds) in [(0, 2), (1, 1), (2, 1), (3, 0)] {
            let done = Arc::new(AtomicUsize::new(0));
            let does = done.clone();
            let evil = Evil::new([moment], nth, move || {
                does.fetch_add(1, SeqCst);
            });
            let waker = evil.waker();
            use_waker(&waker);
            assert_eq!((evil.seen(), evil.deeds(), evil.wakes()), (2, deeds, 2), "{moment:?} {nth}");
            assert_eq!(done.load(SeqCst), deeds);
            evil.calm();
            use_waker(&waker);
            assert_eq!((evil.seen(), evil.deeds(), evil.wakes()), (2, deeds, 4));
            waker.wake();
            assert_eq!((evil.wakes(), Arc::strong_count(&evil.plan)), (5, 1), "{evil:?}");
        }
        // Each panic leaves the count of the wakers right.
        for nth in [1, 2] {
            let evil = Evil::panics([moment], nth);
            let waker = evil.waker();
            let text = panics(|| use_waker(&waker));
            assert_eq!(text, Evil::TEXT);
            evil.calm();
            drop(waker);
            assert_eq!(Arc::strong_count(&evil.plan), 1, "{evil:?}");
        }
    }
}

#[test]
fn an_evil_value_does_it_at_the_moment_that_was_asked_for() {
    for moment in Moment::OF_VALUES {
        let evil = Evil::panics([moment], 1);
        let deed = || {
            let (one, two) = (evil.value(1), evil.value(2));
            let three = one.clone();
            assert!(one < two && one == three && three.id() == 1);
            drop(three);
            assert_eq!(HashSet::from([one, two]).len(), 2);
        };
        assert_eq!(panics(deed), Evil::TEXT);
        assert_eq!(evil.deeds(), 1);
        evil.ledger().assert_settled();
        evil.calm();
        deed();
        evil.ledger().assert_settled();
        assert_eq!((1..4).map(|id| evil.value(id)).collect::<BTreeSet<_>>().len(), 3);
    }
}

#[test]
fn the_evil_do_not_end_the_process() {
    // While a panic is under way, and while one is at it already, they let it be.
    let evil = Evil::panics([Moment::Drop], 0);
    let values = [evil.value(1), evil.value(2)];
    assert_eq!(panics(|| drop(values)), Evil::TEXT);
    assert_eq!((evil.seen(), evil.deeds()), (2, 1));
    evil.ledger().assert_settled();
    let again = Arc::new(Mutex::new(None::<Waker>));
    let evil = Evil::new([Moment::Wake], 0, {
        let again = again.clone();
        move || {
            let waker = again.lock().clone();
            waker.into_iter().for_each(Waker::wake);
        }
    });
    *again.lock() = Some(evil.waker());
    evil.waker().wake();
    assert_eq!((evil.wakes(), evil.deeds()), (2, 1));
    // One holds the other.
    *again.lock() = None;
}

#[test]
fn each_occasion_for_an_evil_deed_is_found() {
    let waker_moments = RefCell::new(Vec::new());
    let deeds = Evil::at_each(
        Moment::OF_WAKERS,
        || (),
        |evil| {
            use_waker(&evil.waker());
            waker_moments.borrow_mut().push((evil.seen(), evil.deeds()));
        },
    );
    // Twice a clone, a wake and a drop, then the drop of the waker itself.
    assert_eq!(deeds, 7);
    assert_eq!(waker_moments.into_inner(), [[(7, 1); 7].as_slice(), &[(7, 0)]].concat());
    let text = panics(|| Evil::at_each([Moment::Drop], || panic!("evil"), |evil| drop(evil.value(1))));
    assert_eq!(text, "with an evil deed at moment 1 of [Drop]: evil");
}
