//! Models of `ready`, on the code that ships: wakes against polls, against the end of the set, against a
//! parent that changes its waker.

use std::future::poll_fn;
use std::task::{Poll, Wake, Waker};

use crate::gather::ready::Ready;
use crate::shim::Ordering::{Relaxed, SeqCst};
use crate::shim::shared::AtomicUsize;
use crate::shim::{Arc, model, thread};
use crate::util::block;

/// Counts wakes.
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: std::sync::Arc<Self>) {
        // Relaxed: read after the threads were joined.
        self.0.fetch_add(1, Relaxed);
    }
}

fn counter() -> (std::sync::Arc<Wakes>, Waker) {
    let wakes = std::sync::Arc::new(Wakes(AtomicUsize::new(0)));
    (wakes.clone(), Waker::from(wakes))
}

/// A waker of the child `index`, kept as a future would keep it.
fn waker(ready: &mut Ready, index: usize) -> Waker {
    ready.lend(index, |cx| cx.waker().clone())
}

/// Blocks this thread until `done`, which looks at a child that was woken.
fn drive(ready: &mut Ready, mut done: impl FnMut(usize) -> bool) {
    let mut parent = poll_fn(|cx| {
        if !ready.find() {
            ready.take();
        }
        while ready.find() {
            if done(ready.lend_next(|index, _| index)) {
                return Poll::Ready(());
            }
        }
        if !ready.park(cx.waker()) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    });
    block::on(&mut parent, None).expect("no limit");
}

/// Two children of so many, each woken once by a thread of its own: none is missed, none comes twice, and
/// what was written before is seen.
fn each_wake_brings_one_poll(children: usize, woken: [usize; 2]) {
    model(move || {
        let mut ready = Ready::new(children);
        let written = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let threads = [0, 1].map(|thread| {
            let (waker, written) = (waker(&mut ready, woken[thread]), written[thread].clone());
            thread::spawn(move || {
                written.store(1, Relaxed);
                waker.wake();
            })
        });
        let mut polls = [0, 0];
        drive(&mut ready, |index| {
            let thread = woken.iter().position(|woken| *woken == index).expect("who was woken");
            polls[thread] += 1;
            assert_eq!(written[thread].load(Relaxed), 1, "a wake brings what was done before it");
            polls == [1, 1]
        });
        for thread in threads {
            thread.join().unwrap();
        }
        ready.take();
        assert!(!ready.find(), "nobody is woken any more");
    });
}

/// In models a word has two bits, and two children are a small set.
#[test]
fn model_children_of_a_small_set_are_woken() {
    each_wake_brings_one_poll(2, [0, 1]);
}

#[test]
fn model_neighbours_are_woken() {
    each_wake_brings_one_poll(3, [0, 1]);
}

#[test]
fn model_children_of_two_groups_are_woken() {
    each_wake_brings_one_poll(4, [1, 2]);
}

#[test]
fn model_children_far_apart_are_woken() {
    each_wake_brings_one_poll(8, [0, 7]);
}

/// One child, woken by two threads: a wake that finds the child woken already brings what it wrote all the
/// same.
#[test]
fn model_a_wake_beside_another_is_not_lost() {
    model(|| {
        let mut ready = Ready::new(1);
        let written = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let threads = [0, 1].map(|thread| {
            let (waker, written) = (waker(&mut ready, 0), written[thread].clone());
            thread::spawn(move || {
                written.store(1, Relaxed);
                waker.wake_by_ref();
            })
        });
        let mut polls = 0;
        drive(&mut ready, |_| {
            polls += 1;
            written.iter().all(|written| written.load(Relaxed) == 1)
        });
        assert!(polls <= 2);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// The set goes while its children are woken and their wakers are dropped: nothing is left behind, and the
/// parent is woken twice at most. (Loom sees a block that is not freed.)
#[test]
fn model_the_set_goes_while_children_are_woken() {
    model(|| {
        let (wakes, parent) = counter();
        let mut ready = Ready::new(2);
        let (first, second) = (waker(&mut ready, 0), waker(&mut ready, 1));
        assert!(ready.park(&parent));
        let threads = [
            thread::spawn(move || {
                let clone = first.clone();
                first.wake();
                clone.wake();
            }),
            thread::spawn(move || {
                second.wake_by_ref();
                drop(second);
            }),
        ];
        drop(ready);
        for thread in threads {
            thread.join().unwrap();
        }
        drop(parent);
        assert!(wakes.0.load(Relaxed) <= 1, "only one finds the parent's waker");
        assert_eq!(std::sync::Arc::strong_count(&wakes), 1, "the parent's waker is gone with the set");
    });
}

/// The parent is polled again with another waker while children are woken: who is woken after that poll wakes
/// the new one.
#[test]
fn model_the_newest_waker_is_woken() {
    model(|| {
        let (old_wakes, old) = counter();
        let (new_wakes, new) = counter();
        let mut ready = Ready::new(2);
        let wakers = [0, 1].map(|index| waker(&mut ready, index));
        assert!(ready.park(&old));
        let threads = wakers.map(|waker| thread::spawn(move || waker.wake()));
        let mut seen = 0;
        ready.take();
        while ready.find() {
            ready.lend_next(|_, _| ());
            seen += 1;
        }
        let parked = ready.park(&new);
        for thread in threads {
            thread.join().unwrap();
        }
        let (old_wakes, new_wakes) = (old_wakes.0.load(SeqCst), new_wakes.0.load(SeqCst));
        assert!(old_wakes + new_wakes <= 2);
        let mut late = 0;
        ready.take();
        while ready.find() {
            ready.lend_next(|_, _| ());
            late += 1;
        }
        assert_eq!(seen + late, 2);
        // Not parked: the parent wakes itself.
        assert!(!parked || late == 0 || new_wakes == 1, "{late} came after the poll, and nobody woke");
    });
}

/// Woken again as soon as it has been taken: the second wake is noted anew.
#[test]
fn model_a_child_is_woken_again_at_once() {
    model(|| {
        let mut ready = Ready::new(4);
        let (own, other) = (waker(&mut ready, 0), waker(&mut ready, 3));
        let again = own.clone();
        own.wake();
        let threads = [thread::spawn(move || again.wake()), thread::spawn(move || other.wake())];
        let mut polls = [0; 4];
        drive(&mut ready, |index| {
            polls[index] += 1;
            polls[0] > 0 && polls[3] > 0
        });
        for thread in threads {
            thread.join().unwrap();
        }
        ready.take();
        while ready.find() {
            polls[ready.lend_next(|index, _| index)] += 1;
        }
        assert!((1..=2).contains(&polls[0]) && polls[1..] == [0, 0, 1], "{polls:?}");
    });
}
