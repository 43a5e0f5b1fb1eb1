//! Unit tests of the queues: each of the promises, one by one.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::*;
use crate::probe::{self, BUDGET, Wait};
use crate::shim::thread;
use crate::test_util::FakeTask;
use crate::testing::{Ledger, poll_once};

static CONST: Queue<u32> = Queue::new(1);

/// Does the same to a queue of each kind.
macro_rules! each {
    ($($test:ident($queue:ident, $maxsize:literal) $body:block)*) => {$(
        mod $test {
            use super::*;

            #[test]
            fn fifo() {
                let $queue = Queue::new($maxsize);
                $body
            }

            #[test]
            fn lifo() {
                let $queue = LifoQueue::new($maxsize);
                $body
            }

            #[test]
            fn priority() {
                let $queue = PriorityQueue::new($maxsize);
                $body
            }

            #[test]
            fn priority_with_ageing() {
                let $queue = PriorityQueue::new($maxsize).with_ageing(1);
                $body
            }
        }
    )*};
}

each! {
    items_come_and_go(queue, 2) {
        assert_eq!((queue.len(), queue.maxsize(), queue.is_empty(), queue.is_full()), (0, 2, true, false));
        assert_eq!(queue.try_get(), Err(TryGetError::Empty));
        queue.try_put(1).unwrap();
        block_on(queue.put(2)).unwrap();
        assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (2, false, true));
        assert_eq!(queue.try_put(3).unwrap_err(), TryPutError::Full(3));
        let mut sum = block_on(queue.get()).unwrap();
        queue.put_blocking(4).unwrap();
        sum += queue.get_blocking().unwrap() + queue.get_timeout(Duration::MAX).unwrap();
        assert_eq!(sum, 7);
        queue.put_timeout(5, Duration::MAX).unwrap();
        queue.put_deadline(6, Instant::now()).unwrap();
        assert_eq!(queue.get_deadline(Instant::now()).unwrap() + queue.try_get().unwrap(), 11);
    }

    timed_forms_give_up(queue, 1) {
        assert_eq!(queue.get_timeout(Duration::ZERO), Err(GetTimeoutError::Timeout));
        assert_eq!(queue.get_item_timeout(Duration::from_millis(1)).unwrap_err(), GetTimeoutError::Timeout);
        queue.try_put(1).unwrap();
        assert_eq!(queue.put_timeout(2, Duration::ZERO), Err(PutTimeoutError::Timeout(2)));
        assert_eq!(queue.put_deadline(2, Instant::now()), Err(PutTimeoutError::Timeout(2)));
        assert_eq!(queue.join_timeout(Duration::ZERO).unwrap_err().unfinished(), 1);
        assert_eq!(queue.join_deadline(Instant::now()).unwrap_err().to_string(),
            "1 items of the queue were not done in time");
        assert_eq!(queue.try_get(), Ok(1));
        queue.task_done().unwrap();
        assert_eq!((queue.join_timeout(Duration::ZERO), queue.len()), (Ok(()), 0));
    }

    no_limit_is_no_limit(queue, 0) {
        for number in 0..1_000 {
            block_on(queue.put(number)).unwrap();
        }
        assert!(!queue.is_full());
        assert_eq!((queue.len(), queue.stats().peak), (1_000, 1_000));
        assert_eq!((0..1_000).map(|_| queue.try_get().unwrap()).sum::<i32>(), 499_500);
    }

    a_get_waits_for_a_put(queue, 0) {
        let (mut get, count) = (Box::pin(queue.get()), Count::new());
        assert!(count.poll(get.as_mut()).is_pending());
        assert_eq!(queue.stats().waiting_get, 1);
        queue.try_put(7).unwrap();
        assert_eq!(count.get(), 1);
        assert_eq!(count.poll(get.as_mut()), Poll::Ready(Ok(7)));
        assert_eq!((queue.stats().waiting_get, queue.len()), (0, 0));
    }

    a_put_waits_for_room(queue, 1) {
        queue.try_put(1).unwrap();
        let (mut put, count) = (Box::pin(queue.put(2)), Count::new());
        assert!(count.poll(put.as_mut()).is_pending());
        assert_eq!((queue.stats().waiting_put, queue.unfinished()), (1, 1));
        assert_eq!(queue.try_get(), Ok(1));
        assert_eq!(count.get(), 1);
        assert_eq!(count.poll(put.as_mut()), Poll::Ready(Ok(())));
        assert_eq!((queue.try_get(), queue.unfinished()), (Ok(2), 2));
    }

    a_cancelled_get_passes_its_turn_on(queue, 0) {
        let (mut first, mut second) = (Box::pin(queue.get()), Box::pin(queue.get()));
        let (one, two) = (Count::new(), Count::new());
        drop(queue.get());
        assert!(one.poll(first.as_mut()).is_pending());
        assert!(two.poll(second.as_mut()).is_pending());
        queue.try_put(1).unwrap();
        assert_eq!((one.get(), two.get()), (1, 0));
        drop(first);
        assert_eq!(two.get(), 1);
        assert_eq!(two.poll(second.as_mut()), Poll::Ready(Ok(1)));
    }

    a_cancelled_put_passes_its_turn_on_and_gives_its_item_back(queue, 1) {
        queue.try_put(1).unwrap();
        let (mut first, mut second) = (Box::pin(queue.put(2)), Box::pin(queue.put(3)));
        let (one, two) = (Count::new(), Count::new());
        assert_eq!(Box::pin(queue.put(9)).as_mut().into_inner(), Some(9));
        assert!(one.poll(first.as_mut()).is_pending());
        assert!(two.poll(second.as_mut()).is_pending());
        assert_eq!(queue.try_get(), Ok(1));
        assert_eq!((one.get(), two.get()), (1, 0));
        assert_eq!(first.as_mut().into_inner(), Some(2));
        assert_eq!((first.as_mut().into_inner(), two.get()), (None, 1));
        assert_eq!(two.poll(second.as_mut()), Poll::Ready(Ok(())));
        assert_eq!(second.as_mut().into_inner(), None);
        assert_eq!((queue.try_get(), queue.unfinished()), (Ok(3), 2));
    }

    join_waits_for_the_last_one(queue, 0) {
        block_on(queue.join());
        queue.join_blocking();
        queue.join_timeout(Duration::ZERO).unwrap();
        assert_eq!(queue.task_done(), Err(TaskDoneError));
        queue.try_put(1).unwrap();
        queue.try_put(2).unwrap();
        let (mut one, mut two, count) = (Box::pin(queue.join()), Box::pin(queue.join()), Count::new());
        assert!(count.poll(one.as_mut()).is_pending());
        assert!(count.poll(two.as_mut()).is_pending());
        assert_eq!(queue.stats().waiting_join, 2);
        // To be taken is not to be done.
        assert!(queue.try_get().is_ok() && queue.try_get().is_ok());
        queue.task_done().unwrap();
        assert_eq!((count.get(), queue.unfinished()), (0, 1));
        queue.task_done().unwrap();
        assert_eq!(count.get(), 2);
        // What is put now is not waited for.
        queue.try_put(3).unwrap();
        assert!(count.poll(one.as_mut()).is_ready() && count.poll(two.as_mut()).is_ready());
        assert_eq!(queue.unfinished(), 1);
    }

    a_guard_marks_its_item_done(queue, 0) {
        for number in 1..=5 {
            queue.try_put(number).unwrap();
        }
        let mut item = block_on(queue.get_item()).unwrap();
        *item += 10;
        assert!(*item > 10 && format!("{item:?}").starts_with("Item(1"));
        drop(item);
        assert_eq!(queue.unfinished(), 4);
        drop((queue.try_get_item().unwrap(), queue.get_item_blocking().unwrap()));
        assert_eq!(queue.unfinished(), 2);
        Item::done(queue.get_item_timeout(Duration::ZERO).unwrap());
        assert_eq!(queue.unfinished(), 1);
        Item::into_inner(queue.get_item_deadline(Instant::now()).unwrap());
        assert_eq!(queue.unfinished(), 1);
        assert_eq!(queue.try_get_item().unwrap_err(), TryGetError::Empty);
        // A panic is an end of the work too.
        queue.try_put(6).unwrap();
        let work = || {
            let _item = queue.try_get_item().unwrap();
            panic!("the work on an item of a test panics");
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());
        assert_eq!(queue.unfinished(), 1);
    }

    a_guard_that_is_one_too_many_is_forgiven(queue, 0) {
        queue.try_put(1).unwrap();
        let item = queue.try_get_item().unwrap();
        queue.task_done().unwrap();
        drop(item);
        assert_eq!((queue.unfinished(), queue.task_done()), (0, Err(TaskDoneError)));
    }

    close_lets_the_rest_be_taken(queue, 2) {
        queue.try_put(1).unwrap();
        queue.try_put(2).unwrap();
        assert_eq!(queue.stats().state, QueueState::Open);
        let (mut put, count) = (Box::pin(queue.put(3)), Count::new());
        assert!(count.poll(put.as_mut()).is_pending());
        assert!(queue.close() && !queue.close() && queue.is_closed());
        assert_eq!(count.get(), 1);
        assert_eq!(count.poll(put.as_mut()), Poll::Ready(Err(PutError(3))));
        assert_eq!(queue.stats().state, QueueState::Closing);
        assert_eq!(queue.try_put(4), Err(TryPutError::Closed(4)));
        assert_eq!(block_on(queue.put(4)), Err(PutError(4)));
        assert_eq!(queue.put_blocking(4), Err(PutError(4)));
        assert_eq!(queue.put_timeout(4, Duration::MAX), Err(PutTimeoutError::Closed(4)));
        let sum = block_on(queue.get()).unwrap() + queue.get_timeout(Duration::MAX).unwrap();
        assert_eq!((sum, queue.stats().state), (3, QueueState::Closed));
        assert_eq!(block_on(queue.get()), Err(GetError));
        assert_eq!(queue.get_blocking(), Err(GetError));
        assert_eq!(queue.get_timeout(Duration::MAX), Err(GetTimeoutError::Closed));
        assert_eq!(queue.try_get(), Err(TryGetError::Closed));
        assert!(block_on(queue.get_item()).is_err() && queue.get_item_blocking().is_err());
        // What was taken is still to be done.
        assert!(queue.join_timeout(Duration::ZERO).is_err());
        queue.task_done().unwrap();
        queue.task_done().unwrap();
        queue.join_blocking();
    }

    close_ends_every_wait_for_an_item(queue, 0) {
        let mut gets = [0; 20].map(|_| (Box::pin(queue.get()), Count::new()));
        for (get, count) in &mut gets {
            assert!(count.poll(get.as_mut()).is_pending());
        }
        queue.try_put(1).unwrap();
        queue.close();
        let mut got = Vec::new();
        for (get, count) in &mut gets {
            assert_eq!(count.get(), 1);
            let Poll::Ready(answer) = count.poll(get.as_mut()) else { panic!("it was told of the end") };
            got.extend(answer);
        }
        assert_eq!(got, [1]);
    }

    close_now_gives_what_is_left(queue, 3) {
        for number in [2, 3, 1] {
            queue.try_put(number).unwrap();
        }
        let (mut put, mut join, count) = (Box::pin(queue.put(4)), Box::pin(queue.join()), Count::new());
        assert!(count.poll(put.as_mut()).is_pending());
        assert!(count.poll(join.as_mut()).is_pending());
        let taken = queue.try_get().unwrap();
        let mut left = vec![2, 3, 1];
        left.retain(|&number| number != taken);
        assert_eq!(queue.close_now(), left);
        assert_eq!(queue.close_now(), []);
        assert!(!queue.close());
        assert_eq!(count.poll(put.as_mut()), Poll::Ready(Err(PutError(4))));
        assert_eq!((queue.try_get(), queue.len(), queue.is_full()), (Err(TryGetError::Closed), 0, false));
        assert_eq!((queue.stats().put, queue.stats().taken, queue.stats().state), (3, 1, QueueState::Closed));
        // One is with us.
        assert!(count.poll(join.as_mut()).is_pending());
        queue.task_done().unwrap();
        assert!(count.poll(join.as_mut()).is_ready());
        assert_eq!(queue.task_done(), Err(TaskDoneError));
    }

    close_now_ends_a_join_when_nothing_is_with_anybody(queue, 0) {
        queue.try_put(1).unwrap();
        let (mut join, count) = (Box::pin(queue.join()), Count::new());
        assert!(count.poll(join.as_mut()).is_pending());
        queue.close();
        assert!(count.poll(join.as_mut()).is_pending());
        assert_eq!(queue.close_now(), [1]);
        assert_eq!(count.get(), 1);
        assert!(count.poll(join.as_mut()).is_ready());
    }

    close_now_when_more_was_done_than_taken(queue, 0) {
        queue.try_put(1).unwrap();
        queue.try_put(2).unwrap();
        queue.task_done().unwrap();
        assert_eq!(queue.close_now(), [1, 2]);
        assert_eq!(queue.unfinished(), 0);
        queue.join_blocking();
    }

    waiters_are_served_in_their_order(queue, 1) {
        let mut gets = [0; 3].map(|_| (Box::pin(queue.get()), Count::new()));
        for (get, count) in &mut gets {
            assert!(count.poll(get.as_mut()).is_pending());
        }
        for (number, (get, count)) in gets.iter_mut().enumerate() {
            queue.try_put(number).unwrap();
            assert_eq!(count.poll(get.as_mut()), Poll::Ready(Ok(number)));
        }
    }

    it_is_printed_without_its_items(queue, 3) {
        struct Opaque;
        queue.try_put(((), 1)).unwrap();
        let text = format!("{queue:?} {:?} {:?} {:?}", queue.put(((), 2)), queue.get_item(), queue.join());
        assert!(text.contains("Queue(Queue { len: 1, maxsize: 3, closed: false, unfinished: 1"), "{text}");
        let opaque = Queue::new(1);
        opaque.try_put(Opaque).unwrap();
        assert!(format!("{opaque:?} {:?}", opaque.try_put(Opaque)).ends_with("Err(Full(..))"));
    }

    tasks_and_threads_share_it(queue, 2) {
        let sum = thread::scope(|scope| {
            let queue = &queue;
            let getters = [false, true].map(|blocking| scope.spawn(move || {
                let mut sum = 0;
                loop {
                    let item = if blocking { queue.get_item_blocking() } else { block_on(queue.get_item()) };
                    let Ok(item) = item else { return sum };
                    sum += *item;
                }
            }));
            for blocking in [false, true] {
                scope.spawn(move || for number in 1..=500 {
                    if blocking { queue.put_blocking(number) } else { block_on(queue.put(number)) }.unwrap();
                });
            }
            while queue.stats().put < 1_000 {
                thread::yield_now();
            }
            queue.join_blocking();
            queue.close();
            getters.map(|getter| getter.join().unwrap()).iter().sum::<u64>()
        });
        assert_eq!((sum, queue.unfinished(), queue.stats().taken), (250_500, 0, 1_000));
    }
}

#[test]
fn a_huge_maxsize_is_no_limit() {
    let queue = Queue::new(usize::MAX);
    queue.try_put(1).unwrap();
    assert_eq!((queue.maxsize(), queue.is_full(), queue.try_get()), (usize::MAX, false, Ok(1)));
}

#[test]
fn a_queue_can_be_a_static() {
    block_on(CONST.put(1)).unwrap();
    assert_eq!(block_on(CONST.get_item()).map(Item::done), Ok(1));
    CONST.join_blocking();
}

#[test]
fn each_has_its_order() {
    fn drained<T>(take: impl Fn() -> Result<T, TryGetError>) -> Vec<T> {
        std::iter::from_fn(|| take().ok()).collect()
    }
    let (fifo, lifo, lowest) = (Queue::new(0), LifoQueue::new(0), PriorityQueue::new(0));
    for item in [(2, 'a'), (1, 'b'), (3, 'c'), (1, 'a')] {
        fifo.try_put(item).unwrap();
        lifo.try_put(item).unwrap();
        lowest.try_put(item).unwrap();
    }
    assert_eq!(drained(|| fifo.try_get()), [(2, 'a'), (1, 'b'), (3, 'c'), (1, 'a')]);
    assert_eq!(drained(|| lifo.try_get()), [(1, 'a'), (3, 'c'), (1, 'b'), (2, 'a')]);
    assert_eq!(drained(|| lowest.try_get()), [(1, 'a'), (1, 'b'), (2, 'a'), (3, 'c')]);
    let ties = PriorityQueue::by(0, |a: &(u32, u32), b: &(u32, u32)| a.0.cmp(&b.0));
    for number in 0..100 {
        ties.try_put((number % 3, number)).unwrap();
    }
    let order = drained(|| ties.try_get());
    assert!(order.is_sorted() && order.len() == 100);
}

#[test]
fn ageing_may_begin_late_and_starts_from_nothing() {
    let queue = PriorityQueue::new(0);
    for number in [9, 8, 1, 2, 3, 4] {
        queue.try_put(number).unwrap();
    }
    let queue = queue.with_ageing(1);
    let order = std::iter::from_fn(|| queue.try_get().ok()).collect::<Vec<_>>();
    // After one that overtook it, 9 is next; that counts for 8 too, which is next after that.
    assert_eq!(order, [1, 9, 8, 2, 3, 4]);
    let fifo = PriorityQueue::new(0).with_ageing(0);
    for number in [3, 1, 2] {
        fifo.try_put(number).unwrap();
    }
    assert_eq!(std::iter::from_fn(|| fifo.try_get().ok()).collect::<Vec<_>>(), [3, 1, 2]);
}

#[test]
fn memory_of_a_burst_goes_back() {
    let mut stores = [
        Store::Fifo(VecDeque::new()),
        Store::Lifo(Vec::new()),
        Store::Lowest(Heap::new(heap::Order::<u32>::own())),
    ];
    for store in &mut stores {
        for number in 0..10_000 {
            store.push(&mut Some(number));
        }
        for _ in 0..10_000 {
            assert!(store.pop().is_some());
        }
        let capacity = match store {
            Store::Fifo(items) => items.capacity(),
            Store::Lifo(items) => items.capacity(),
            Store::Lowest(heap) => heap.capacity(),
        };
        assert!(capacity < 256, "{capacity}");
    }
}

#[test]
fn items_are_dropped_once() {
    let ledger = Ledger::new();
    {
        let queue = Queue::new(2);
        queue.try_put(ledger.message(0)).unwrap();
        queue.try_put(ledger.message(1)).unwrap();
        let mut waits = Box::pin(queue.put(ledger.message(2)));
        assert!(poll_once(waits.as_mut()).is_pending());
        drop(queue.try_put(ledger.message(3)).unwrap_err());
        drop(queue.try_get_item().unwrap());
        assert_eq!(ledger.drops(), 2);
        drop(waits);
        assert_eq!(ledger.drops(), 3);
    }
    assert_eq!((ledger.made(), ledger.drops()), (4, 4));
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn polling_a_put_on_is_a_mistake() {
    let queue = Queue::new(0);
    let mut put = pin!(queue.put(1));
    block_on(put.as_mut()).unwrap();
    let _ = poll_once(put);
}

#[test]
fn a_task_yields_when_its_budget_is_spent() {
    let queue = Queue::new(0);
    let task = FakeTask::new(1);
    let put = task.poll(|cx| {
        let ready = |number: &usize| pin!(queue.put(*number)).poll(cx).is_ready();
        (0..1_000).take_while(ready).count()
    });
    assert_eq!((put, task.wakes.get(), queue.len()), (usize::from(BUDGET), 1, usize::from(BUDGET)));
    assert_eq!(task.header.wait().0, Wait::Yield);
    let got = task.poll(|cx| {
        let ready = |_: &usize| pin!(queue.get()).poll(cx).is_ready();
        (0..1_000).take_while(ready).count()
    });
    assert_eq!((got, queue.len()), (usize::from(BUDGET), 0));
}

#[test]
fn an_invited_task_takes_its_item_whatever_its_budget() {
    let queue = Queue::new(0);
    let task = FakeTask::new(1);
    let mut get = Box::pin(queue.get());
    assert!(task.poll_one(get.as_mut()).is_pending());
    queue.try_put(1).unwrap();
    let got = task.poll(|cx| {
        probe::set_budget(0);
        get.as_mut().poll(cx)
    });
    assert_eq!(got, Poll::Ready(Ok(1)));
}

#[test]
fn the_header_says_what_is_waited_for() {
    let queue = Queue::new(1);
    let task = FakeTask::new(1);
    let check = |future: std::pin::Pin<&mut dyn Future<Output = ()>>, kind, line| {
        assert!(task.poll_one(future).is_pending());
        let (waits, resource, location) = task.header.wait();
        assert_eq!((waits, resource), (kind, &raw const queue.shared as usize));
        assert_eq!((location.unwrap().file(), location.unwrap().line()), (file!(), line));
    };
    let (get, line) = (queue.get(), line!());
    check(pin!(async { get.await.map_or((), |_| ()) }), Wait::Recv, line);
    queue.try_put(1).unwrap();
    let (put, line) = (queue.put(2), line!());
    check(pin!(async { put.await.unwrap_or(()) }), Wait::Send, line);
    let (join, line) = (queue.join(), line!());
    check(pin!(join), Wait::Notify, line);
}

#[test]
fn errors_say_what_is_the_matter() {
    let texts = [
        PutError(()).to_string(),
        TryPutError::Full(()).to_string(),
        PutTimeoutError::Timeout(()).to_string(),
        GetError.to_string(),
        TryGetError::Empty.to_string(),
        GetTimeoutError::Timeout.to_string(),
        TaskDoneError.to_string(),
        UnfinishedError { unfinished: 2 }.to_string(),
    ];
    let mut different = texts.to_vec();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), texts.len());
    assert_eq!(TryPutError::from(PutError(1)), TryPutError::Closed(1));
    assert_eq!(PutTimeoutError::from(PutError(1)).into_inner(), 1);
    assert_eq!(TryPutError::Closed(()).to_string(), texts[0]);
    assert_eq!(PutTimeoutError::Closed(()).to_string(), texts[0]);
    assert_eq!(TryGetError::from(GetError).to_string(), texts[3]);
    assert_eq!(GetTimeoutError::from(GetError).to_string(), texts[3]);
    let debug = format!("{:?} {:?} {:?}", PutError(1), TryPutError::Closed(1), PutTimeoutError::Timeout(1));
    assert_eq!(debug, "PutError { .. } Closed(..) Timeout(..)");
}

#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    fn goes<T: Send>() {}
    /// Can be sent, but not shared.
    type Cell = std::cell::Cell<u8>;
    crosses::<Queue<Cell>>();
    crosses::<LifoQueue<Cell>>();
    crosses::<PriorityQueue<Cell>>();
    goes::<Put<'_, Cell>>();
    crosses::<Get<'_, Cell>>();
    crosses::<GetItem<'_, Cell>>();
    crosses::<Join<'_, Cell>>();
    goes::<Item<'_, Cell>>();
    crosses::<Item<'_, u8>>();
    crosses::<Arc<PriorityQueue<u8>>>();
}
