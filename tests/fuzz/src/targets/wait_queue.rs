//! The wait queue: units are conserved, and nobody waits for what is there; messages come to the first in line.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use crate::wait_queue::{Outcome, WaitQueue, Waiter};
use crate::{Bytes, Count};

struct One {
    waiter: Pin<Box<Waiter>>,
    need: usize,
    count: Arc<Count>,
    waker: Waker,
    seen: usize,
    told: Option<usize>,
}

impl One {
    fn new(need: usize) -> One {
        let (count, waker) = Count::new();
        One { waiter: Box::pin(Waiter::new()), need, count, waker, seen: 0, told: None }
    }

    fn is_woken(&self) -> bool {
        self.count.get() != self.seen
    }
}

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    match bytes.below(3) {
        0 => units(bytes, WaitQueue::new()),
        1 => units(bytes, WaitQueue::fair()),
        _ => messages(bytes),
    }
}

fn take(units: &AtomicUsize, need: usize) -> Option<()> {
    units.fetch_update(SeqCst, SeqCst, |units| units.checked_sub(need)).is_ok().then_some(())
}

fn poll(one: &mut One, queue: &WaitQueue, units: &AtomicUsize) -> bool {
    one.seen = one.count.get();
    let (need, mut cx) = (one.need, Context::from_waker(&one.waker));
    let free = || units.load(SeqCst);
    match one.waiter.as_mut().poll_claim(queue, need, free, || take(units, need), &mut cx) {
        Poll::Ready(Outcome::Taken(())) => true,
        Poll::Ready(Outcome::Told(_)) => unreachable!("nobody tells"),
        Poll::Pending => false,
    }
}

fn units(mut bytes: Bytes<'_>, queue: WaitQueue) {
    let units = AtomicUsize::new(0);
    let free = || units.load(SeqCst);
    let (mut line, mut held, mut all) = (Vec::<One>::new(), 0, 0);
    let mut end = 300;
    loop {
        let byte = bytes.next();
        // At the end there is enough for everybody.
        let Some(byte) = byte.or_else(|| (!line.is_empty() && end > 0).then_some(1)) else { break };
        if bytes.0.is_empty() {
            end -= 1;
            all += 4;
            units.fetch_add(4, SeqCst);
            queue.release(free);
        }
        match byte % 6 {
            0 if line.len() < 16 => {
                let mut one = One::new(1 + bytes.below(4));
                if poll(&mut one, &queue, &units) {
                    held += one.need;
                } else {
                    line.push(one);
                }
            }
            1 | 2 => {
                // Whoever was woken comes, or the one that the bytes say.
                let woken = line.iter().position(One::is_woken);
                let chosen = if byte % 6 == 1 { woken } else { Some(bytes.below(line.len())) };
                if let Some(chosen) = chosen.filter(|&chosen| chosen < line.len())
                    && poll(&mut line[chosen], &queue, &units)
                {
                    held += line.remove(chosen).need;
                }
            }
            3 => {
                let count = 1 + bytes.below(3);
                all += count;
                units.fetch_add(count, SeqCst);
                queue.release(free);
            }
            4 if !line.is_empty() => drop(line.remove(bytes.below(line.len()))),
            5 if held > 0 => {
                let count = 1 + bytes.below(held);
                held -= count;
                units.fetch_add(count, SeqCst);
                queue.release(free);
            }
            _ => {
                if let Some(()) = queue.try_claim(|| take(&units, 1)) {
                    held += 1;
                }
            }
        }
        assert_eq!(units.load(SeqCst) + held, all);
        if !line.iter().any(One::is_woken)
            && let Some(first) = line.first()
        {
            assert!(first.need > units.load(SeqCst), "the first in line sleeps before what it waits for");
        }
    }
    assert!(line.is_empty(), "{} wait for ever", line.len());
    assert_eq!(queue.count_waiters(), 0);
}

fn messages(mut bytes: Bytes<'_>) {
    let queue = WaitQueue::new();
    let mut line = Vec::<One>::new();
    let mut message = 0;
    while let Some(byte) = bytes.next() {
        message += 1;
        match byte % 6 {
            0 if line.len() < 16 => {
                let mut one = One::new(0);
                let mut cx = Context::from_waker(&one.waker);
                assert!(one.waiter.as_mut().poll_told(&queue, 0, || None::<()>, &mut cx).is_pending());
                line.push(one);
            }
            1 if !line.is_empty() => {
                let chosen = bytes.below(line.len());
                let one = &mut line[chosen];
                let mut cx = Context::from_waker(&one.waker);
                match (one.waiter.as_mut().poll_told(&queue, 0, || None::<()>, &mut cx), one.told) {
                    (Poll::Ready(Outcome::Told(got)), Some(told)) if got == told => drop(line.remove(chosen)),
                    (Poll::Pending, None) => {}
                    other => panic!("{other:?}"),
                }
            }
            2 | 3 => {
                let untold = |one: &&mut One| one.told.is_none();
                let (told, expect) = if byte % 6 == 2 {
                    (queue.notify_one(message), line.iter_mut().find(untold))
                } else {
                    (queue.notify_last(message), line.iter_mut().rev().find(untold))
                };
                assert_eq!(told, expect.is_some());
                if let Some(one) = expect {
                    assert!(one.is_woken());
                    one.told = Some(message);
                }
            }
            4 if !line.is_empty() => {
                let mut one = line.remove(bytes.below(line.len()));
                assert_eq!(one.waiter.as_mut().leave(), one.told);
            }
            5 if byte > 240 => {
                let untold = line.iter_mut().filter(|one| one.told.is_none());
                assert_eq!(queue.notify_all(message), untold.map(|one| one.told = Some(message)).count());
                assert!(line.iter().all(One::is_woken));
            }
            _ => {}
        }
        assert_eq!(queue.count_waiters(), line.iter().filter(|one| one.told.is_none()).count());
    }
}
