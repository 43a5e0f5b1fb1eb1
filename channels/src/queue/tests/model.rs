//! Models of the queues: every interleaving under loom, a stress test elsewhere.

use std::pin::Pin;

use super::*;
use crate::shim::Ordering::Relaxed;
use crate::shim::task::AtomicUsize;
use crate::shim::{Arc, model, thread};

/// A future of a queue that owns the queue, so that any thread may poll and drop it.
type Owned<R> = Pin<Box<dyn Future<Output = R> + Send>>;

fn get(queue: &Arc<Queue<u32>>) -> Owned<Result<u32, GetError>> {
    let queue = queue.clone();
    Box::pin(async move { queue.get().await })
}

fn put(queue: &Arc<Queue<u32>>, item: u32) -> Owned<Result<(), PutError<u32>>> {
    let queue = queue.clone();
    Box::pin(async move { queue.put(item).await })
}

fn spawn<R: Send + 'static>(
    queue: &Arc<Queue<u32>>,
    f: impl FnOnce(&Queue<u32>) -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let queue = queue.clone();
    thread::spawn(move || f(&queue))
}

/// Two producers and a consumer share one place: nobody sleeps for ever, each item comes once.
#[test]
fn model_put_get_one_place() {
    model(|| {
        let queue = Arc::new(Queue::new(1));
        let putters = [
            spawn(&queue, |queue| block_on(queue.put(1)).unwrap()),
            spawn(&queue, |queue| queue.put_blocking(2).unwrap()),
        ];
        let sum = block_on(queue.get()).unwrap() + queue.get_blocking().unwrap();
        for putter in putters {
            putter.join().unwrap();
        }
        assert_eq!((sum, queue.len(), queue.unfinished()), (3, 0, 2));
    });
}

/// A get is dropped while an item comes: the other one gets it.
#[test]
fn model_put_cancelled_get() {
    model(|| {
        let queue = Arc::new(Queue::new(0));
        let mut given_up = get(&queue);
        assert!(Count::new().poll(given_up.as_mut()).is_pending());
        let putter = spawn(&queue, |queue| queue.try_put(1).unwrap());
        let canceller = thread::spawn(move || drop(given_up));
        assert_eq!(block_on(queue.get()), Ok(1));
        putter.join().unwrap();
        canceller.join().unwrap();
        assert!(queue.is_empty());
    });
}

/// A get is polled once more while an item comes, and dropped then: the item is with it, or with the other one.
#[test]
fn model_get_polled_and_dropped() {
    model(|| {
        let queue = Arc::new(Queue::new(0));
        let mut given_up = get(&queue);
        assert!(Count::new().poll(given_up.as_mut()).is_pending());
        let poller = thread::spawn(move || Count::new().poll(given_up.as_mut()).is_ready());
        let putter = spawn(&queue, |queue| queue.try_put(1).unwrap());
        putter.join().unwrap();
        let taken = poller.join().unwrap();
        assert_eq!(queue.try_get().is_ok(), !taken);
    });
}

/// A put is dropped while room comes: the other one gets it.
#[test]
fn model_get_cancelled_put() {
    model(|| {
        let queue = Arc::new(Queue::new(1));
        queue.try_put(0).unwrap();
        let mut given_up = put(&queue, 1);
        assert!(Count::new().poll(given_up.as_mut()).is_pending());
        let getter = spawn(&queue, |queue| queue.try_get().unwrap());
        let canceller = thread::spawn(move || drop(given_up));
        block_on(queue.put(2)).unwrap();
        assert_eq!(getter.join().unwrap(), 0);
        canceller.join().unwrap();
        assert_eq!((queue.try_get(), queue.unfinished()), (Ok(2), 2));
    });
}

/// What was put before the end comes out, what was not is given back, and the getter hears of the end.
#[test]
fn model_close_put_get() {
    model(|| {
        let queue = Arc::new(Queue::new(0));
        let putter = spawn(&queue, |queue| block_on(queue.put(1)).is_ok());
        let closer = spawn(&queue, |queue| assert!(queue.close()));
        let mut got = 0;
        while block_on(queue.get()).is_ok() {
            got += 1;
        }
        closer.join().unwrap();
        assert_eq!(got, usize::from(putter.join().unwrap()));
        assert_eq!(queue.stats().state, QueueState::Closed);
    });
}

/// One waits for room, another takes an item out, a third closes: all of them come to an end.
#[test]
fn model_close_full_queue() {
    model(|| {
        let queue = Arc::new(Queue::new(1));
        queue.try_put(0).unwrap();
        let putter = spawn(&queue, |queue| match queue.put_blocking(1) {
            Ok(()) => 1,
            Err(PutError(item)) => item - 1,
        });
        let closer = spawn(&queue, |queue| assert!(queue.close()));
        assert_eq!(queue.try_get(), Ok(0));
        let put = putter.join().unwrap();
        closer.join().unwrap();
        assert_eq!(queue.len(), put as usize);
        assert_eq!(queue.get_blocking().is_ok(), put == 1);
    });
}

/// Each item is got by one of the getters, or is left, or given back: once.
#[test]
fn model_close_now_put_get() {
    model(|| {
        let queue = Arc::new(Queue::new(0));
        queue.try_put(1).unwrap();
        let putter = spawn(&queue, |queue| queue.try_put(2).is_ok());
        let getter = spawn(&queue, |queue| queue.get_blocking().is_ok());
        let left = queue.close_now().len();
        let (put, got) = (putter.join().unwrap(), getter.join().unwrap());
        assert_eq!(left + usize::from(got), 1 + usize::from(put));
        assert_eq!(queue.unfinished(), u64::from(got));
        assert_eq!((queue.len(), queue.try_get()), (0, Err(TryGetError::Closed)));
    });
}

/// Two of them finish an item each; whoever waits for that sees what both have done before.
#[test]
fn model_task_done_join() {
    model(|| {
        let queue = Arc::new(Queue::new(0));
        let work = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        queue.try_put(0).unwrap();
        queue.try_put(1).unwrap();
        let workers = [(); 2].map(|()| {
            let work = work.clone();
            spawn(&queue, move |queue| {
                let item = queue.try_get_item().unwrap();
                // Not a read-modify-write: the queue alone makes it known.
                work[*item as usize].store(1, Relaxed);
            })
        });
        block_on(queue.join());
        assert_eq!(work.each_ref().map(|done| done.load(Relaxed)), [1, 1]);
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(queue.unfinished(), 0);
    });
}

/// A join is dropped while the last item is finished: the other one hears of it.
#[test]
fn model_task_done_cancelled_join() {
    model(|| {
        let queue = Arc::new(Queue::new(0));
        queue.try_put(1).unwrap();
        let mut given_up: Owned<()> = {
            let queue = queue.clone();
            Box::pin(async move { queue.join().await })
        };
        assert!(Count::new().poll(given_up.as_mut()).is_pending());
        let canceller = thread::spawn(move || drop(given_up));
        let worker = spawn(&queue, |queue| queue.task_done().unwrap());
        queue.join_blocking();
        canceller.join().unwrap();
        worker.join().unwrap();
        assert_eq!(queue.task_done(), Err(TaskDoneError));
    });
}

/// `close_now` takes out what is left, and somebody else finishes what he has: together they end the join.
#[test]
fn model_close_now_join() {
    model(|| {
        let queue = Arc::new(Queue::new(0));
        queue.try_put(1).unwrap();
        queue.try_put(2).unwrap();
        let item = queue.try_get().unwrap();
        let worker = spawn(&queue, |queue| queue.task_done().unwrap());
        let closer = spawn(&queue, |queue| queue.close_now());
        queue.join_blocking();
        worker.join().unwrap();
        assert_eq!((item, closer.join().unwrap()), (1, vec![2]));
        assert_eq!(queue.unfinished(), 0);
    });
}

/// A deadline that has passed: the item is got in time or stays for the next one, whose turn passes on.
#[test]
fn model_timed_get() {
    model(|| {
        let queue = Arc::new(Queue::new(0));
        let late = spawn(&queue, |queue| queue.get_timeout(Duration::ZERO).is_ok());
        let putter = spawn(&queue, |queue| queue.try_put(1).unwrap());
        let other = queue.get_timeout(Duration::ZERO).is_ok();
        let late = late.join().unwrap();
        putter.join().unwrap();
        assert!(!(late && other));
        assert_eq!(queue.len(), usize::from(!late && !other));
    });
}

/// The compare runs outside of the lines: puts and gets at once give each item once, and the lowest at the end.
#[test]
fn model_priority() {
    model(|| {
        let queue = Arc::new(PriorityQueue::new(2));
        queue.try_put(5).unwrap();
        let putters = [3, 4].map(|item| {
            let queue = queue.clone();
            thread::spawn(move || queue.put_blocking(item).unwrap())
        });
        let first = block_on(queue.get()).unwrap();
        for putter in putters {
            putter.join().unwrap();
        }
        let rest = [queue.try_get().unwrap(), queue.try_get().unwrap()];
        assert!(rest[0] < rest[1]);
        assert_eq!((first + rest[0] + rest[1], queue.len()), (12, 0));
    });
}

/// An item is put, and waited for, just when the one before is done: its wait does not end with that one.
#[test]
fn model_join_for_the_next_item() {
    model(|| {
        let queue = Arc::new(Queue::new(0));
        queue.try_put(1).unwrap();
        queue.try_get().unwrap();
        let worker = spawn(&queue, |queue| queue.task_done().unwrap());
        queue.try_put(2).unwrap();
        let mut join = Box::pin(queue.join());
        let first = Count::new().poll(join.as_mut());
        worker.join().unwrap();
        let second = if first.is_pending() { Count::new().poll(join.as_mut()) } else { first };
        assert_eq!((first.is_pending(), second.is_pending()), (true, true));
        queue.try_get().unwrap();
        queue.task_done().unwrap();
        assert!(Count::new().poll(join.as_mut()).is_ready());
    });
}
