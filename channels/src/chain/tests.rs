//! Tests and models of the chain.
#![forbid(unsafe_code)]

use super::*;
use crate::shim;
use crate::shim::{Arc, thread};

fn push<T>(chain: &Chain<T>, value: T) -> Push {
    chain.push(&mut Some(value))
}

#[cfg(not(filch_loom))]
mod unit {
    use std::collections::VecDeque;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::testing::Ledger;

    /// A plain generator of numbers, so that a failing run can be repeated.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % limit as u64) as usize
        }
    }

    /// A chain with its ends at the given position, as if that many messages had gone through.
    fn chain_at<T>(word: u64) -> Chain<T> {
        let chain = Chain::new();
        for end in [&chain.tail, &chain.head] {
            end.word.store(word, SeqCst);
            end.seen.store(word, SeqCst);
        }
        chain
    }

    #[test]
    fn does_what_a_deque_does() {
        // From the beginning, and across the place where positions wrap.
        for start in [0, 0_u64.wrapping_sub(3 * LAP * ONE)] {
            let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_add(start));
            let chain = chain_at(start);
            let mut model = VecDeque::new();
            let (mut reserved, mut pushed, mut popped) = (0, count(start), count(start));
            let mut peak = 0;
            for step in 0..40_000_u64 {
                // Phases that fill it take turns with phases that empty it.
                let favour = 2 + 3 * usize::from(step / 500 % 2 == 0);
                match random.below(10) {
                    n if n < favour => {
                        assert_eq!(push(&chain, step), Push::Done);
                        model.push_back(step);
                        pushed += 1;
                    }
                    7 => {
                        let limit = random.below(80);
                        let mut got = vec![0];
                        let taken = limit.min(model.len());
                        let expect = if taken == 0 && limit > 0 { Pop::Empty } else { Pop::Got(taken) };
                        assert_eq!(chain.pop_many(limit, &mut got), expect);
                        assert_eq!(got[1..], model.drain(..taken).collect::<Vec<_>>());
                        popped += taken as u64;
                    }
                    8 => {
                        let places = 1 + random.below(4);
                        assert_eq!(chain.reserve(places), Push::Done);
                        reserved += places;
                    }
                    9 if reserved > 0 => {
                        reserved -= 1;
                        if random.below(2) == 0 {
                            assert!(!chain.push_reserved(step));
                            model.push_back(step);
                            pushed += 1;
                        } else {
                            assert!(!chain.unreserve(1));
                        }
                    }
                    _ => {
                        popped += u64::from(!model.is_empty());
                        assert_eq!(chain.pop(), model.pop_front().map_or(Pop::Empty, Pop::Got));
                    }
                }
                let look = chain.look();
                peak = peak.max(model.len());
                assert_eq!((look.len, look.reserved, look.closed), (model.len(), reserved, false));
                assert_eq!(look.peak, peak);
                // They wrap too, but not at a power of two.
                let wraps = (u64::MAX / ONE / LAP + 1) * SLOTS;
                assert_eq!((look.pushed, look.popped), (pushed % wraps, popped % wraps));
                assert_eq!((chain.ready(), chain.free()), (model.len(), RESERVED_MAX - reserved));
            }
        }
    }

    #[test]
    fn it_is_shared_when_what_it_carries_may_be_sent() {
        fn is_shared<T: Send + Sync>(_: &T) {}
        is_shared(&Chain::<std::cell::Cell<u8>>::new());
    }

    #[test]
    fn a_sole_consumer_does_what_a_deque_does() {
        let mut random = Random(0x2545_F491_4F6C_DD1D);
        let (chain, mut consumer) = mpsc();
        let mut model = VecDeque::new();
        for step in 0..40_000_u64 {
            let favour = 1 + 2 * usize::from(step / 500 % 2 == 0);
            match random.below(6) {
                n if n < favour => {
                    assert_eq!(chain.push(&mut Some(step)), Push::Done);
                    model.push_back(step);
                }
                5 => {
                    let limit = 1 + random.below(80);
                    let mut got = Vec::new();
                    let taken = limit.min(model.len());
                    let expect = if taken == 0 { Pop::Empty } else { Pop::Got(taken) };
                    assert_eq!(consumer.pop_many(limit, &mut got), expect);
                    assert_eq!(got, model.drain(..taken).collect::<Vec<_>>());
                }
                _ => assert_eq!(consumer.pop(), model.pop_front().map_or(Pop::Empty, Pop::Got)),
            }
            assert_eq!(
                (chain.ready(), chain.look().popped + model.len() as u64),
                (model.len(), chain.look().pushed)
            );
            assert_eq!(chain.stock.lock().aside.len(), 0);
        }
        assert!(chain.close());
        consumer.drain();
        assert_eq!(consumer.pop(), Pop::Closed);
    }

    #[test]
    fn there_is_one_consumer_at_a_time() {
        let ledger = Ledger::new();
        let (chain, mut first) = mpsc();
        for id in 0..100 {
            assert_eq!(chain.push(&mut Some(ledger.message(id))), Push::Done);
        }
        assert!(Consumer::of(&chain).is_none());
        assert!(matches!(first.pop(), Pop::Got(message) if message.1 == 0));
        drop(first);
        let mut second = Consumer::of(&chain).unwrap();
        assert!(matches!(second.pop(), Pop::Got(message) if message.1 == 1));
        drop((chain, second));
        assert_eq!(ledger.drops(), 100);
    }

    #[test]
    fn blocks_are_used_again_and_a_burst_is_given_back() {
        let chain = Chain::new();
        let blocks = |chain: &Chain<usize>| {
            let stock = chain.stock.lock();
            (stock.spare.len(), stock.aside.len())
        };
        for value in 0..10_000 {
            assert_eq!(push(&chain, value), Push::Done);
        }
        assert_eq!(blocks(&chain), (0, 0));
        for value in 0..10_000 {
            assert_eq!(chain.pop(), Pop::Got(value));
        }
        assert_eq!(blocks(&chain), (Stock::<usize>::SPARE, 0));
        let spare = |chain: &Chain<usize>| -> Vec<*const Block<usize>> {
            chain.stock.lock().spare.iter().map(|block| &raw const **block).collect()
        };
        let mut ours: Vec<_> = spare(&chain);
        ours.push(chain.head.block.load(SeqCst));
        for value in 0..10_000 {
            assert_eq!(push(&chain, value), Push::Done);
            assert_eq!(chain.pop(), Pop::Got(value));
            assert!(ours.contains(&chain.head.block.load(SeqCst).cast_const()), "a block was made");
        }
    }

    #[test]
    fn a_block_waits_for_its_slowest_reader() {
        let chain = Chain::new();
        for value in 0..2 * SLOTS {
            assert_eq!(push(&chain, value), Push::Done);
        }
        // One has claimed the first value and does not get on.
        let Ok(mut slow) = chain.lift(1, false) else { unreachable!("it is not empty") };
        for value in 1..SLOTS + 1 {
            assert_eq!(chain.pop(), Pop::Got(value));
        }
        assert_eq!(chain.stock.lock().aside.len(), 1);
        assert_eq!(slow.next(), Some(0));
        assert_eq!(slow.next(), None);
        for value in SLOTS + 1..2 * SLOTS {
            assert_eq!(chain.pop(), Pop::Got(value));
        }
        assert_eq!((chain.stock.lock().aside.len(), chain.pop()), (0, Pop::Empty));
    }

    #[test]
    fn closed_is_for_good_once_nothing_is_reserved() {
        let chain = Chain::new();
        assert_eq!(push(&chain, 1), Push::Done);
        assert_eq!(chain.reserve(2), Push::Done);
        assert!(chain.close() && !chain.close() && chain.is_closed());
        assert_eq!((push(&chain, 0), chain.reserve(1)), (Push::Closed, Push::Closed));
        assert_eq!((chain.free(), chain.ready()), (usize::MAX, 1));
        assert_eq!(chain.pop(), Pop::Got(1));
        assert_eq!((chain.pop(), chain.ready()), (Pop::Empty, 0));
        assert!(chain.push_reserved(2));
        assert_eq!(chain.pop(), Pop::Got(2));
        assert_eq!(chain.pop(), Pop::Empty);
        assert!(chain.unreserve(1));
        assert_eq!((chain.pop(), chain.ready()), (Pop::Closed, usize::MAX));
        assert_eq!(chain.pop_many(3, &mut Vec::new()), Pop::Closed);
    }

    #[test]
    fn there_is_a_limit_to_reservations() {
        let chain = Chain::<()>::new();
        assert_eq!(chain.reserve(RESERVED_MAX - 1), Push::Done);
        assert_eq!((chain.reserve(2), chain.reserve(usize::MAX)), (Push::Full, Push::Full));
        assert_eq!((chain.free(), chain.reserve(1), chain.free()), (1, Push::Done, 0));
        assert_eq!((push(&chain, ()), chain.look().len), (Push::Done, 1));
        assert!(!chain.unreserve(RESERVED_MAX));
        assert_eq!(chain.free(), RESERVED_MAX);
    }

    #[test]
    fn what_is_left_is_dropped_with_the_chain() {
        let ledger = Ledger::new();
        let chain = Chain::new();
        for id in 0..100 {
            assert_eq!(push(&chain, ledger.message(id)), Push::Done);
        }
        for _ in 0..40 {
            assert!(matches!(chain.pop(), Pop::Got(_)));
        }
        assert_eq!(ledger.drops(), 40);
        drop(chain);
        assert_eq!(ledger.drops(), 100);
    }

    #[test]
    fn a_drop_that_panics_keeps_no_other() {
        struct Bad(Ledger, bool);
        impl Drop for Bad {
            fn drop(&mut self) {
                drop(self.0.message(0));
                assert!(!self.1, "a drop of a test panics");
            }
        }
        let ledger = Ledger::new();
        let chain = Chain::new();
        for id in 0..70 {
            assert_eq!(push(&chain, Bad(ledger.clone(), id == 1)), Push::Done);
        }
        let chain = AssertUnwindSafe(chain);
        assert!(catch_unwind(move || drop(chain)).is_err());
        assert_eq!(ledger.drops(), 70);
    }

    #[test]
    fn a_block_may_be_larger_than_the_stack() {
        // More than the stack of a test's thread, all slots together.
        let chain = Chain::new();
        assert_eq!(push(&chain, [7_u8; 70_000]), Push::Done);
        assert!(matches!(chain.pop(), Pop::Got(value) if value[69_999] == 7));
    }

    #[test]
    fn everything_goes_through_once_and_in_order() {
        const EACH: usize = 20_000;
        let chain = Chain::new();
        let seen = thread::scope(|scope| {
            let producers: Vec<_> = (0..2)
                .map(|producer| {
                    let chain = &chain;
                    scope.spawn(move || {
                        for value in 0..EACH {
                            assert_eq!(push(chain, (producer, value)), Push::Done);
                        }
                    })
                })
                .collect();
            let consumers = [1, 7].map(|limit| {
                let chain = &chain;
                scope.spawn(move || {
                    let mut seen = Vec::new();
                    while chain.pop_many(limit, &mut seen) != Pop::Closed {}
                    seen
                })
            });
            producers.into_iter().for_each(|producer| producer.join().unwrap());
            chain.close();
            consumers.map(|consumer| consumer.join().unwrap())
        });
        for seen in &seen {
            for producer in 0..2 {
                assert!(seen.iter().filter(|&&(by, _)| by == producer).is_sorted());
            }
        }
        let mut all = seen.concat();
        all.sort_unstable();
        let expect: Vec<_> = (0..2).flat_map(|by| (0..EACH).map(move |value| (by, value))).collect();
        assert_eq!(all, expect);
    }
}

mod model {
    use super::*;

    /// A chain whose ends are so many slots on.
    fn chain(slots: u64) -> Arc<Chain<usize>> {
        let chain = Chain::new();
        for _ in 0..slots {
            assert_eq!((push(&chain, 0), chain.pop()), (Push::Done, Pop::Got(0)));
        }
        Arc::new(chain)
    }

    fn pop_hard(chain: &Chain<usize>) -> usize {
        loop {
            match chain.pop() {
                Pop::Got(value) => return value,
                _ => thread::yield_now(),
            }
        }
    }

    fn rest(chain: &Chain<usize>) -> Vec<usize> {
        let mut rest = Vec::new();
        let _ = chain.pop_many(10, &mut rest);
        rest
    }

    #[test]
    fn two_producers_meet_at_the_end_of_a_block() {
        // One slot is left in the block.
        shim::model(|| {
            let chain = chain(SLOTS - 1);
            let producer = thread::spawn({
                let chain = chain.clone();
                move || assert_eq!(push(&chain, 1), Push::Done)
            });
            assert_eq!(push(&chain, 2), Push::Done);
            producer.join().unwrap();
            let mut all = rest(&chain);
            all.sort_unstable();
            assert_eq!((all, chain.look().len), (vec![1, 2], 0));
        });
    }

    #[test]
    fn the_short_way_meets_itself_and_the_end_of_a_block() {
        fn put(chain: &Chain<usize>, value: usize) {
            let mut value = Some(value);
            assert!(chain.push_at_once(&mut value) || chain.push(&mut value) == Push::Done);
        }
        fn take(chain: &Chain<usize>) -> Option<usize> {
            chain.pop_at_once().or_else(|| if let Pop::Got(value) = chain.pop() { Some(value) } else { None })
        }
        // Two slots are left in the block: a short way, and a long one.
        shim::model(|| {
            let chain = chain(SLOTS - 2);
            let producer = thread::spawn({
                let chain = chain.clone();
                move || put(&chain, 1)
            });
            let consumer = thread::spawn({
                let chain = chain.clone();
                move || take(&chain)
            });
            put(&chain, 2);
            producer.join().unwrap();
            let mut all: Vec<_> = consumer.join().unwrap().into_iter().collect();
            all.extend(std::iter::from_fn(|| take(&chain)));
            all.sort_unstable();
            assert_eq!(all, [1, 2]);
        });
    }

    #[test]
    fn two_consumers_meet_at_the_end_of_a_block() {
        shim::model(|| {
            let chain = chain(SLOTS - 1);
            for value in 1..=3 {
                assert_eq!(push(&chain, value), Push::Done);
            }
            let consumer = thread::spawn({
                let chain = chain.clone();
                move || pop_hard(&chain)
            });
            let mine = pop_hard(&chain);
            let mut all = vec![mine, consumer.join().unwrap()];
            all.sort_unstable();
            all.extend(rest(&chain));
            assert_eq!(all, [1, 2, 3]);
            // The block was left, and nobody reads it any more.
            let stock = chain.stock.lock();
            assert_eq!(stock.spare.len() + stock.aside.len(), 1);
        });
    }

    #[test]
    fn a_consumer_follows_a_producer_into_the_next_block() {
        shim::model(|| {
            let chain = chain(SLOTS - 1);
            let producer = thread::spawn({
                let chain = chain.clone();
                move || (1..=2).for_each(|value| assert_eq!(push(&chain, value), Push::Done))
            });
            assert_eq!((pop_hard(&chain), pop_hard(&chain)), (1, 2));
            producer.join().unwrap();
            assert_eq!(chain.pop(), Pop::Empty);
        });
    }

    #[test]
    fn a_block_is_used_again_while_one_still_reads_it() {
        shim::model(|| {
            let chain = chain(SLOTS - 2);
            // The last two slots of the block, and the first one of the next.
            for value in 1..=3 {
                assert_eq!(push(&chain, value), Push::Done);
            }
            let consumers = [0, 1].map(|_| {
                let chain = chain.clone();
                thread::spawn(move || pop_hard(&chain))
            });
            // These want a block in their turn, at the end of the second.
            for value in 4..=5 {
                assert_eq!(push(&chain, value), Push::Done);
            }
            let mut all: Vec<_> = consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect();
            all.sort_unstable();
            all.extend(rest(&chain));
            assert_eq!(all, [1, 2, 3, 4, 5]);
        });
    }

    #[test]
    fn two_producers_meet_a_sole_consumer_at_the_end_of_a_block() {
        shim::model(|| {
            let (chain, mut consumer) = mpsc();
            for _ in 0..SLOTS - 1 {
                assert_eq!((chain.push(&mut Some(0)), consumer.pop()), (Push::Done, Pop::Got(0)));
            }
            let producers = [1, 2].map(|value| {
                let chain = chain.clone();
                thread::spawn(move || assert_eq!(chain.push(&mut Some(value)), Push::Done))
            });
            let mut all = Vec::new();
            let _ = consumer.pop_many(2, &mut all);
            producers.into_iter().for_each(|producer| producer.join().unwrap());
            let _ = consumer.pop_many(3, &mut all);
            all.sort_unstable();
            assert_eq!((all, consumer.pop()), (vec![1, 2], Pop::Empty));
        });
    }

    #[test]
    fn a_consumer_makes_way_for_another() {
        shim::model(|| {
            let (chain, mut consumer) = mpsc();
            for value in 1..=2 {
                assert_eq!(chain.push(&mut Some(value)), Push::Done);
            }
            let other = thread::spawn({
                let chain = chain.clone();
                move || {
                    let mut consumer = loop {
                        match Consumer::of(&chain) {
                            Some(consumer) => break consumer,
                            None => thread::yield_now(),
                        }
                    };
                    consumer.pop()
                }
            });
            assert_eq!(consumer.pop(), Pop::Got(1));
            drop(consumer);
            assert_eq!(other.join().unwrap(), Pop::Got(2));
        });
    }

    #[test]
    fn close_meets_a_push_at_the_end_of_a_block() {
        shim::model(|| {
            let chain = chain(SLOTS - 1);
            let producer = thread::spawn({
                let chain = chain.clone();
                move || [1, 2].map(|value| push(&chain, value) == Push::Done)
            });
            assert!(chain.close());
            let mut got = 0;
            loop {
                match chain.pop() {
                    Pop::Got(_) => got += 1,
                    Pop::Closed => break,
                    _ => thread::yield_now(),
                }
            }
            let done = producer.join().unwrap();
            assert!(done[0] || !done[1]);
            assert_eq!((done.into_iter().filter(|&done| done).count(), chain.pop()), (got, Pop::Closed));
        });
    }

    #[test]
    fn a_drain_meets_a_reserved_push() {
        shim::model(|| {
            let chain = chain(SLOTS - 1);
            assert_eq!((push(&chain, 1), chain.reserve(1)), (Push::Done, Push::Done));
            let producer = thread::spawn({
                let chain = chain.clone();
                move || {
                    if chain.push_reserved(2) {
                        chain.drain();
                    }
                }
            });
            assert!(chain.close());
            chain.drain();
            producer.join().unwrap();
            // Whoever comes second empties it.
            assert_eq!((chain.look().len, chain.look().reserved, chain.pop()), (0, 0, Pop::Closed));
        });
    }

    #[test]
    fn a_count_meets_values_that_pass_through() {
        let times = if cfg!(filch_loom) { 2 } else { 100 };
        shim::model(move || {
            let chain = chain(SLOTS - 1);
            let counter = thread::spawn({
                let chain = chain.clone();
                move || {
                    for _ in 0..times / 2 {
                        assert!(chain.look().len <= 1);
                        assert!(chain.ready() <= 1);
                    }
                }
            });
            for value in 0..times {
                assert_eq!((push(&chain, value), chain.pop()), (Push::Done, Pop::Got(value)));
            }
            counter.join().unwrap();
        });
    }
}
