//! Compares that panic, use the queue, or drop what waits in it; wakers and drops that use it.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::testing::{Counted, Ledger, poll_once};

/// What the compares of a test do.
struct Control {
    ledger: Ledger,
    /// How many go well before one panics.
    goes_well: Cell<usize>,
    /// What each of them does first.
    act: RefCell<Box<dyn Fn()>>,
}

struct Evil(Counted, Rc<Control>);

impl Control {
    fn new() -> Rc<Control> {
        let act: Box<dyn Fn()> = Box::new(|| {});
        Rc::new(Control { ledger: Ledger::new(), goes_well: Cell::new(usize::MAX), act: RefCell::new(act) })
    }

    fn item(self: &Rc<Self>, rank: usize) -> Evil {
        Evil(self.ledger.message(rank), self.clone())
    }

    /// Whether `f` panics when its `k`-th compare does.
    fn panics(&self, k: usize, f: impl FnOnce()) -> bool {
        self.goes_well.set(k);
        let panicked = catch_unwind(AssertUnwindSafe(f)).is_err();
        self.goes_well.set(usize::MAX);
        panicked
    }

    fn act(&self, act: impl Fn() + 'static) {
        *self.act.borrow_mut() = Box::new(act);
    }
}

fn compare(one: &Evil, other: &Evil) -> Ordering {
    let left = one.1.goes_well.get();
    one.1.goes_well.set(left.wrapping_sub(1));
    assert!(left != 0, "a compare of a test panics");
    (one.1.act.borrow())();
    one.0.1.cmp(&other.0.1)
}

fn queue(maxsize: usize) -> PriorityQueue<Evil> {
    PriorityQueue::by(maxsize, compare)
}

fn assert_sound(queue: &PriorityQueue<Evil>) {
    queue.shared.with_store(|store| match store {
        Store::Lowest(heap) => heap.assert_sound(),
        _ => unreachable!("it is a priority queue"),
    });
}

/// The k-th compare panics, for every k, in every operation that compares.
#[test]
fn a_compare_that_panics_changes_nothing() {
    for ageing in [false, true] {
        let mut met = [0; 3];
        for k in 0..12 {
            for (operation, met) in met.iter_mut().enumerate() {
                let control = Control::new();
                let queue = if ageing { queue(20).with_ageing(3) } else { queue(20) };
                for number in 0..20 {
                    queue.try_put(control.item(number * 7 % 20)).unwrap();
                }
                for _ in 0..3 {
                    drop(queue.try_get_item().unwrap());
                }
                let before = (queue.stats(), control.ledger.drops());
                let mut put = pin!(queue.put(control.item(0)));
                let panicked = control.panics(k, || match operation {
                    0 => drop(poll_once(put.as_mut())),
                    1 => drop(queue.get_blocking()),
                    _ => drop(queue.try_get_item()),
                });
                *met += usize::from(panicked);
                assert_sound(&queue);
                let put = put.as_mut().into_inner();
                if panicked {
                    assert_eq!((queue.stats(), control.ledger.drops()), before);
                    // Not put, so it is still with the future.
                    assert!(put.is_some());
                } else {
                    assert_ne!(queue.stats(), before.0);
                    assert_eq!(put.is_none(), operation == 0);
                }
                drop(put);
                drains(&queue, &control);
            }
        }
        assert!(met.iter().all(|&times| times >= 3), "{met:?}");
    }
}

/// Fills the queue, which shows that no room was lost, and empties it, which shows that no item was.
fn drains(queue: &PriorityQueue<Evil>, control: &Rc<Control>) {
    while !queue.is_full() {
        queue.try_put(control.item(99)).unwrap();
    }
    assert_eq!((queue.len(), queue.try_put(control.item(0)).is_err()), (20, true));
    for left in (0..20).rev() {
        queue.get_blocking().unwrap();
        assert_sound(queue);
        assert_eq!(queue.len(), left);
    }
    while queue.task_done().is_ok() {}
    assert_eq!((control.ledger.drops(), queue.unfinished()), (control.ledger.made(), 0));
}

#[test]
fn a_put_that_panics_gives_its_room_to_the_next() {
    let (control, queue) = (Control::new(), queue(3));
    for number in 0..3 {
        queue.try_put(control.item(number)).unwrap();
    }
    let (mut first, mut second) =
        (Box::pin(queue.put(control.item(0))), Box::pin(queue.put(control.item(9))));
    let (one, two) = (Count::new(), Count::new());
    assert!(one.poll(first.as_mut()).is_pending());
    assert!(two.poll(second.as_mut()).is_pending());
    // No room comes free by a get that panics.
    assert!(control.panics(0, || drop(queue.try_get())));
    assert_eq!((one.get(), two.get()), (0, 0));
    assert_eq!(queue.try_get().unwrap().0.1, 0);
    assert_eq!((one.get(), two.get()), (1, 0));
    assert!(control.panics(0, || drop(one.poll(first.as_mut()))));
    assert_eq!(two.get(), 1);
    assert!(two.poll(second.as_mut()).is_ready());
    // The one that panicked may be polled again: it is a newcomer.
    assert!(one.poll(first.as_mut()).is_pending());
    assert_eq!(queue.try_get().unwrap().0.1, 1);
    assert!(one.poll(first.as_mut()).is_ready());
    assert_eq!(queue.try_get().unwrap().0.1, 0);
}

#[test]
fn a_get_that_panics_gives_its_item_to_the_next() {
    let (control, queue) = (Control::new(), queue(0));
    let mut gets = [0; 4].map(|_| (Box::pin(queue.get()), Count::new()));
    for (get, count) in &mut gets {
        assert!(count.poll(get.as_mut()).is_pending());
    }
    for number in 0..3 {
        queue.try_put(control.item(number)).unwrap();
    }
    assert_eq!(gets.each_ref().map(|(_, count)| count.get()), [1, 1, 1, 0]);
    assert!(control.panics(0, || drop(gets[0].1.poll(gets[0].0.as_mut()))));
    assert_eq!(gets.each_ref().map(|(_, count)| count.get()), [1, 1, 1, 1]);
    let mut got = Vec::new();
    for (get, count) in &mut gets[1..] {
        let Poll::Ready(item) = count.poll(get.as_mut()) else { panic!("it was invited") };
        got.push(item.unwrap().0.1);
    }
    assert_eq!(got, [0, 1, 2]);
}

/// Every operation that would take the lock panics in a compare, and does not hang; the others answer.
#[test]
fn a_compare_that_uses_the_queue_panics() {
    type Use = fn(&PriorityQueue<Evil>, &Rc<Control>);
    let refused: [Use; 13] = [
        |queue, _| drop(queue.try_get()),
        |queue, _| drop(queue.get_blocking()),
        |queue, _| drop(queue.get_timeout(Duration::ZERO)),
        |queue, _| drop(block_on(queue.get())),
        |queue, _| drop(block_on(queue.get_item())),
        |queue, control| drop(queue.try_put(control.item(0))),
        |queue, control| drop(queue.put_blocking(control.item(0))),
        |queue, control| drop(block_on(queue.put(control.item(0)))),
        |queue, _| queue.join_blocking(),
        |queue, _| block_on(queue.join()),
        |queue, _| assert!(queue.close()),
        |queue, _| drop(queue.close_now()),
        |queue, _| assert_eq!(queue.stats().len, 2),
    ];
    let allowed: [Use; 2] = [
        |queue, _| assert!(queue.len() == 2 && !queue.is_full() && !format!("{queue:?}").is_empty()),
        |queue, _| assert_eq!((queue.unfinished(), queue.is_closed(), queue.task_done()), (2, false, Ok(()))),
    ];
    let uses = refused.iter().map(|misuse| (misuse, true)).chain(allowed.iter().map(|usage| (usage, false)));
    for (usage, refused) in uses {
        let (control, queue) = (Control::new(), Rc::new(queue(3)));
        queue.try_put(control.item(1)).unwrap();
        queue.try_put(control.item(2)).unwrap();
        let (inner, usage, again) = (queue.clone(), *usage, control.clone());
        control.act(move || usage(&inner, &again));
        let panicked = catch_unwind(AssertUnwindSafe(|| queue.try_put(control.item(0)).unwrap()));
        control.act(|| {});
        assert_eq!(panicked.is_err(), refused);
        if let Err(panic) = panicked {
            let text = panic.downcast::<&str>().unwrap();
            assert!(text.contains("the compare of a PriorityQueue used that queue"), "{text}");
        }
        assert_eq!(queue.try_get().unwrap().0.1, usize::from(refused));
        assert_eq!(queue.len(), if refused { 1 } else { 2 });
    }
}

/// The lines are not locked meanwhile.
#[test]
fn a_compare_may_drop_and_wake_what_waits_here() {
    let (control, queue) = (Control::new(), Rc::new(queue(2)));
    queue.try_put(control.item(1)).unwrap();
    queue.try_put(control.item(2)).unwrap();
    let mut waiting = {
        let (queue, item) = (queue.clone(), control.item(3));
        Box::pin(async move { drop(futures_lite::future::zip(queue.put(item), queue.join()).await) })
    };
    assert!(poll_once(waiting.as_mut()).is_pending());
    assert_eq!((queue.stats().waiting_put, queue.stats().waiting_join), (1, 1));
    let (mut join, count) = (Box::pin(queue.join()), Count::new());
    assert!(count.poll(join.as_mut()).is_pending());
    let (waiting, inner) = (Cell::new(Some(waiting)), queue.clone());
    control.act(move || {
        drop(waiting.take());
        while inner.task_done().is_ok() {}
    });
    assert_eq!((queue.try_get().unwrap().0.1, queue.try_get().unwrap().0.1), (1, 2));
    queue.try_put(control.item(5)).unwrap();
    let (drops, unfinished) = (control.ledger.drops(), queue.unfinished());
    assert_eq!((unfinished, count.get()), (3, 0));
    queue.try_put(control.item(4)).unwrap();
    // What waited is gone, and its item with it; and the other join heard of the end, before 4 was put.
    assert_eq!((control.ledger.drops(), count.get(), queue.unfinished()), (drops + 1, 1, 1));
    control.act(|| {});
    assert!(count.poll(join.as_mut()).is_ready());
    assert_eq!(queue.try_get().unwrap().0.1, 4);
}

/// A waker that uses the queue when it is woken, and panics after that.
struct Reenter(Arc<Queue<u32>>);

impl Wake for Reenter {
    fn wake(self: Arc<Self>) {
        let _ = (self.0.try_get(), self.0.stats(), self.0.try_put(7));
        panic!("a waker of a test panics");
    }
}

#[test]
fn wakers_may_use_the_queue_and_panic() {
    let queue = Arc::new(Queue::new(1));
    let waker = Waker::from(Arc::new(Reenter(queue.clone())));
    let mut cx = Context::from_waker(&waker);
    let mut get = Box::pin(queue.get());
    assert!(get.as_mut().poll(&mut cx).is_pending());
    queue.try_put(1).unwrap();
    assert_eq!(get.as_mut().poll(&mut cx), Poll::Ready(Ok(7)));
    queue.try_put(2).unwrap();
    let mut put = Box::pin(queue.put(3));
    assert!(put.as_mut().poll(&mut cx).is_pending());
    assert_eq!(queue.try_get(), Ok(2));
    // The waker was quicker, and has filled the queue.
    assert!(put.as_mut().poll(&mut cx).is_pending());
    drop(put);
    let mut join = Box::pin(queue.join());
    assert!(join.as_mut().poll(&mut cx).is_pending());
    assert_eq!(queue.close_now(), [7]);
    while queue.task_done().is_ok() {}
    assert!(join.as_mut().poll(&mut cx).is_ready());
}

/// An item that uses its queue when it is dropped.
struct Nosy(std::sync::Weak<Queue<Nosy>>);

impl Drop for Nosy {
    fn drop(&mut self) {
        if let Some(queue) = self.0.upgrade() {
            drop((queue.stats(), queue.try_get()));
        }
    }
}

#[test]
fn drops_may_use_the_queue() {
    let queue = Arc::new(Queue::new(2));
    let nosy = || Nosy(Arc::downgrade(&queue));
    assert!(queue.try_put(nosy()).is_ok() && queue.try_put(nosy()).is_ok());
    // The one that does not fit takes another out when it is dropped, and that one the last.
    drop(queue.try_put(nosy()));
    assert_eq!(queue.len(), 0);
    assert!(queue.try_put(nosy()).is_ok());
    drop(queue.close_now());
    assert!(queue.try_put(nosy()).is_err());
}
