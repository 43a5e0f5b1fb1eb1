//! Tests and models of the ring.
#![forbid(unsafe_code)]

use super::*;
use crate::shim;
use crate::shim::{Arc, thread};

fn push<T>(ring: &Ring<T>, value: T) -> Push {
    ring.push(&mut Some(value))
}

#[cfg(not(filch_loom))]
mod unit {
    use std::collections::VecDeque;

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

    #[test]
    fn does_what_a_deque_with_a_bound_does() {
        for capacity in [1, 2, 3, 4, 5, 7, 8, 64] {
            let mut random = Random(0x9E37_79B9_7F4A_7C15 + capacity as u64);
            let ring = Ring::new(capacity);
            let mut model = VecDeque::new();
            let (mut reserved, mut pushed, mut popped, mut peak) = (0, 0, 0, 0);
            for step in 0..20_000_u64 {
                let full = model.len() + reserved >= capacity;
                match random.below(10) {
                    0..3 => {
                        let expect = if full { Push::Full } else { Push::Done };
                        assert_eq!(push(&ring, step), expect);
                        if !full {
                            model.push_back(step);
                            pushed += 1;
                        }
                    }
                    3..6 => {
                        popped += u64::from(!model.is_empty());
                        assert_eq!(ring.pop(), model.pop_front().map_or(Pop::Empty, Pop::Got));
                    }
                    6 => {
                        let count = 1 + random.below(capacity);
                        let fits = model.len() + reserved + count <= capacity;
                        assert_eq!(ring.reserve(count), if fits { Push::Done } else { Push::Full });
                        reserved += if fits { count } else { 0 };
                    }
                    7 if reserved > 0 => {
                        reserved -= 1;
                        if random.below(2) == 0 {
                            assert!(!ring.push_reserved(step));
                            model.push_back(step);
                            pushed += 1;
                        } else {
                            assert!(!ring.unreserve(1));
                        }
                    }
                    8 => {
                        let expect = match (full, model.front()) {
                            (false, _) => Force::Done,
                            (true, Some(&oldest)) => Force::Displaced(oldest),
                            (true, None) => Force::Full,
                        };
                        let mut value = Some(step);
                        assert_eq!(ring.force(&mut value), expect);
                        if expect != Force::Full {
                            popped += u64::from(full);
                            if full {
                                model.pop_front();
                            }
                            model.push_back(step);
                            pushed += 1;
                        }
                    }
                    9 => {
                        let limit = 1 + random.below(capacity + 1);
                        let mut got = Vec::new();
                        let count = limit.min(model.len());
                        let expect = if count == 0 { Pop::Empty } else { Pop::Got(count) };
                        assert_eq!(ring.pop_many(limit, &mut got), expect);
                        assert_eq!(got, model.drain(..count).collect::<Vec<_>>());
                        popped += count as u64;
                    }
                    _ => {}
                }
                let look = ring.look();
                peak = peak.max(model.len());
                assert_eq!((look.len, look.reserved, look.closed), (model.len(), reserved, false));
                assert_eq!(look.peak, peak);
                assert_eq!((look.pushed, look.popped), (pushed, popped));
                assert_eq!(ring.ready(), model.len());
                assert_eq!(ring.free(), capacity - model.len() - reserved);
            }
        }
    }

    #[test]
    fn a_sole_consumer_does_what_a_deque_does() {
        for capacity in [1, 2, 3, 8, 64] {
            let mut random = Random(0x2545_F491_4F6C_DD1D + capacity as u64);
            let (ring, mut consumer) = mpsc(capacity);
            let (mut model, mut peak) = (VecDeque::new(), 0);
            for step in 0..10_000_u64 {
                let full = model.len() == capacity;
                match random.below(6) {
                    0 | 1 => {
                        let expect = if full { Push::Full } else { Push::Done };
                        let mut value = Some(step);
                        assert_eq!(ring.push(&mut value), expect);
                        assert_eq!(value, full.then_some(step));
                        if !full {
                            model.push_back(step);
                        }
                    }
                    2 if !full => {
                        assert_eq!(ring.reserve(1), Push::Done);
                        assert!(!ring.push_reserved(step));
                        model.push_back(step);
                    }
                    3 => {
                        let limit = 1 + random.below(capacity);
                        let mut got = Vec::new();
                        let count = limit.min(model.len());
                        let expect = if count == 0 { Pop::Empty } else { Pop::Got(count) };
                        assert_eq!(consumer.pop_many(limit, &mut got), expect);
                        assert_eq!(got, model.drain(..count).collect::<Vec<_>>());
                    }
                    _ => assert_eq!(consumer.pop(), model.pop_front().map_or(Pop::Empty, Pop::Got)),
                }
                peak = peak.max(model.len());
                assert_eq!((ring.ready(), ring.free()), (model.len(), capacity - model.len()));
            }
            assert_eq!(ring.look().peak, peak);
            assert!(ring.close());
            assert_eq!(ring.push(&mut Some(0)), Push::Closed);
            consumer.drain();
            assert_eq!(consumer.pop(), Pop::Closed);
        }
    }

    #[test]
    fn there_is_one_consumer_at_a_time() {
        let ledger = Ledger::new();
        let (ring, mut first) = mpsc(4);
        for id in 0..3 {
            assert_eq!(ring.push(&mut Some(ledger.message(id))), Push::Done);
        }
        assert!(Consumer::of(&ring).is_none());
        assert!(matches!(first.pop(), Pop::Got(message) if message.1 == 0));
        drop(first);
        let mut second = Consumer::of(&ring).unwrap();
        assert!(matches!(second.pop(), Pop::Got(message) if message.1 == 1));
        drop((ring, second));
        assert_eq!(ledger.drops(), 3);
    }

    #[test]
    fn positions_wrap() {
        for capacity in [1, 2, 3] {
            let ring = Ring::new(capacity);
            // A lap before positions wrap, as if that many messages had gone through.
            let start = 0_u64.wrapping_sub(ring.slots.len() as u64 * ONE);
            for end in [&ring.tail, &ring.head] {
                end.word.store(start, SeqCst);
                end.seen.store(start, SeqCst);
            }
            for (index, slot) in ring.slots.iter().enumerate() {
                slot.stamp.set(start + index as u64 * ONE);
            }
            for round in 0..4 * capacity {
                for value in 0..capacity {
                    assert_eq!(push(&ring, (round, value)), Push::Done);
                }
                assert_eq!(push(&ring, (0, 0)), Push::Full);
                assert_eq!(ring.force(&mut Some((round, capacity))), Force::Displaced((round, 0)));
                assert_eq!(ring.look().len, capacity);
                for value in 1..=capacity {
                    assert_eq!(ring.pop(), Pop::Got((round, value)));
                }
                assert_eq!(ring.pop(), Pop::Empty);
            }
        }
    }

    #[test]
    fn closed_is_for_good_once_nothing_is_reserved() {
        let ring = Ring::new(3);
        assert_eq!(push(&ring, 1), Push::Done);
        assert_eq!(ring.reserve(2), Push::Done);
        assert!(ring.close() && !ring.close() && ring.is_closed());
        assert_eq!((push(&ring, 0), ring.reserve(1)), (Push::Closed, Push::Closed));
        assert_eq!(ring.force(&mut Some(0)), Force::Closed);
        assert_eq!((ring.free(), ring.ready()), (usize::MAX, 1));
        assert_eq!(ring.pop(), Pop::Got(1));
        assert_eq!((ring.pop(), ring.ready()), (Pop::Empty, 0));
        assert!(ring.push_reserved(2));
        assert_eq!(ring.pop(), Pop::Got(2));
        assert_eq!(ring.pop(), Pop::Empty);
        assert!(ring.unreserve(1));
        assert_eq!((ring.pop(), ring.ready()), (Pop::Closed, usize::MAX));
    }

    #[test]
    fn what_is_left_is_dropped_with_the_ring() {
        let ledger = Ledger::new();
        let ring = Ring::new(3);
        for id in 0..5_usize {
            let _ = push(&ring, ledger.message(id));
            assert_eq!(ledger.drops(), id.saturating_sub(2));
        }
        drop(ring);
        assert_eq!(ledger.drops(), 5);
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
        let ring = Ring::new(4);
        for id in 0..4 {
            let _ = push(&ring, Bad(ledger.clone(), id == 1));
        }
        let ring = std::panic::AssertUnwindSafe(ring);
        assert!(std::panic::catch_unwind(move || drop(ring)).is_err());
        assert_eq!(ledger.drops(), 4);
    }
}

mod model {
    use super::*;

    fn push_hard(ring: &Ring<usize>, value: usize) {
        let mut value = Some(value);
        while ring.push(&mut value) != Push::Done {
            thread::yield_now();
        }
    }

    fn pop_hard(ring: &Ring<usize>) -> usize {
        loop {
            match ring.pop() {
                Pop::Got(value) => return value,
                _ => thread::yield_now(),
            }
        }
    }

    #[test]
    fn two_producers_meet_two_consumers() {
        fn pop(ring: &Ring<usize>) -> Vec<usize> {
            if let Pop::Got(value) = ring.pop() { vec![value] } else { vec![] }
        }
        shim::model(|| {
            let ring = Arc::new(Ring::new(2));
            // The second place is used first, so that the two producers go from one lap to the next.
            assert_eq!((push(&ring, 0), ring.pop()), (Push::Done, Pop::Got(0)));
            let producers = [1, 2].map(|value| {
                let ring = ring.clone();
                thread::spawn(move || assert_eq!(push(&ring, value), Push::Done))
            });
            let consumer = thread::spawn({
                let ring = ring.clone();
                move || pop(&ring)
            });
            let mut all = pop(&ring);
            all.extend(consumer.join().unwrap());
            for producer in producers {
                producer.join().unwrap();
            }
            while let Pop::Got(value) = ring.pop() {
                all.push(value);
            }
            all.sort_unstable();
            assert_eq!((all, ring.look().len), (vec![1, 2], 0));
        });
    }

    #[test]
    fn the_short_way_meets_itself_and_the_long_one() {
        fn put(ring: &Ring<usize>, value: usize) -> bool {
            let mut value = Some(value);
            ring.push_at_once(&mut value) || ring.push(&mut value) == Push::Done
        }
        fn take(ring: &Ring<usize>) -> Option<usize> {
            ring.pop_at_once().or_else(|| if let Pop::Got(value) = ring.pop() { Some(value) } else { None })
        }
        shim::model(|| {
            let ring = Arc::new(Ring::new(2));
            // There were two before, so that a second one needs no look.
            assert!(put(&ring, 0) && put(&ring, 0));
            assert_eq!((take(&ring), take(&ring)), (Some(0), Some(0)));
            assert!(put(&ring, 1));
            let producers = [2, 4].map(|value| {
                let ring = ring.clone();
                thread::spawn(move || put(&ring, value))
            });
            let first = take(&ring);
            let done = producers.map(|producer| usize::from(producer.join().unwrap()));
            let rest: usize = std::iter::from_fn(|| take(&ring)).sum();
            assert_eq!((first, rest), (Some(1), 2 * done[0] + 4 * done[1]));
            assert_ne!(done, [0, 0]);
        });
    }

    #[test]
    fn one_place_is_handed_back_and_forth() {
        shim::model(|| {
            let ring = Arc::new(Ring::new(1));
            let producer = thread::spawn({
                let ring = ring.clone();
                move || (1..=2).for_each(|value| push_hard(&ring, value))
            });
            assert_eq!((pop_hard(&ring), pop_hard(&ring)), (1, 2));
            producer.join().unwrap();
        });
    }

    #[test]
    fn a_reserved_place_is_kept_from_others() {
        shim::model(|| {
            let ring = Arc::new(Ring::new(2));
            assert_eq!(push(&ring, 1), Push::Done);
            let reserver = thread::spawn({
                let ring = ring.clone();
                move || {
                    let done = ring.reserve(1) == Push::Done;
                    done && !ring.push_reserved(10)
                }
            });
            let pushed = push(&ring, 100) == Push::Done;
            let first = pop_hard(&ring);
            let reserved = reserver.join().unwrap();
            let mut sum = first;
            while let Pop::Got(value) = ring.pop() {
                sum += value;
            }
            assert_eq!(sum, 1 + if pushed { 100 } else { 0 } + if reserved { 10 } else { 0 });
            assert!(pushed || reserved);
        });
    }

    #[test]
    fn force_meets_a_consumer() {
        shim::model(|| {
            let ring = Arc::new(Ring::new(1));
            assert_eq!(push(&ring, 1), Push::Done);
            let consumer = thread::spawn({
                let ring = ring.clone();
                move || pop_hard(&ring)
            });
            let out = loop {
                match ring.force(&mut Some(2)) {
                    Force::Done => break 0,
                    Force::Displaced(value) => break value,
                    _ => thread::yield_now(),
                }
            };
            let seen = consumer.join().unwrap();
            let left = if let Pop::Got(value) = ring.pop() { value } else { 0 };
            assert_eq!(out + seen + left, 3);
            assert!(out == 0 || (out, seen, left) == (1, 2, 0));
        });
    }

    #[test]
    fn two_that_force_meet_a_consumer() {
        for capacity in [1, 2] {
            shim::model(move || {
                let ring = Arc::new(Ring::new(capacity));
                for value in 0..capacity {
                    assert_eq!(push(&ring, value), Push::Done);
                }
                let forcer = thread::spawn({
                    let ring = ring.clone();
                    move || ring.force(&mut Some(10))
                });
                let consumer = thread::spawn({
                    let ring = ring.clone();
                    move || pop_hard(&ring)
                });
                let mut all = vec![consumer.join().unwrap()];
                for forced in [ring.force(&mut Some(20)), forcer.join().unwrap()] {
                    match forced {
                        Force::Displaced(value) => all.push(value),
                        other => assert_eq!(other, Force::Done),
                    }
                }
                assert!(ring.look().len <= capacity);
                while let Pop::Got(value) = ring.pop() {
                    all.push(value);
                }
                all.sort_unstable();
                assert_eq!(all, (0..capacity).chain([10, 20]).collect::<Vec<_>>());
            });
        }
    }

    #[test]
    fn one_that_forces_meets_one_that_waits_for_room() {
        shim::model(|| {
            let ring = Arc::new(Ring::new(1));
            assert_eq!(push(&ring, 1), Push::Done);
            let producer = thread::spawn({
                let ring = ring.clone();
                move || push(&ring, 2) == Push::Done
            });
            let forced = ring.force(&mut Some(3));
            // It was full all the time.
            assert!(!producer.join().unwrap());
            assert_eq!((forced, ring.pop(), ring.pop()), (Force::Displaced(1), Pop::Got(3), Pop::Empty));
        });
    }

    #[test]
    fn a_count_meets_a_value_that_passes_through() {
        let times = if cfg!(filch_loom) { 1 } else { 100 };
        shim::model(move || {
            let ring = Arc::new(Ring::new(2));
            let counter = {
                let ring = ring.clone();
                thread::spawn(move || {
                    for _ in 0..times {
                        assert!(ring.free() <= 2);
                        assert!(ring.ready() <= 1);
                        assert!(ring.look().len <= 1);
                    }
                })
            };
            for value in 0..times {
                push_hard(&ring, value);
                assert_eq!(pop_hard(&ring), value);
            }
            counter.join().unwrap();
            assert_eq!(ring.free(), 2);
        });
    }

    #[test]
    fn a_producer_meets_a_sole_consumer() {
        for capacity in [1, 2] {
            shim::model(move || {
                let (ring, mut consumer) = mpsc(capacity);
                let producer = thread::spawn(move || {
                    for value in 1..=3 {
                        let mut value = Some(value);
                        while !ring.push_at_once(&mut value) && ring.push(&mut value) != Push::Done {
                            thread::yield_now();
                        }
                    }
                });
                for value in 1..=3 {
                    loop {
                        match consumer.pop_at_once().map_or_else(|| consumer.pop(), Pop::Got) {
                            Pop::Got(got) => break assert_eq!(got, value),
                            other => assert_eq!(other, Pop::Empty),
                        }
                        thread::yield_now();
                    }
                }
                producer.join().unwrap();
                assert_eq!(consumer.pop(), Pop::Empty);
            });
        }
    }

    #[test]
    fn two_producers_meet_a_sole_consumer() {
        shim::model(|| {
            let (ring, mut consumer) = mpsc(1);
            let producers = [1, 2].map(|value| {
                let ring = ring.clone();
                thread::spawn(move || ring.push(&mut Some(value)) == Push::Done)
            });
            let mut all = Vec::new();
            for _ in 0..2 {
                if let Pop::Got(value) = consumer.pop() {
                    all.push(value);
                }
            }
            let done = producers.map(|producer| producer.join().unwrap());
            if let Pop::Got(value) = consumer.pop() {
                all.push(value);
            }
            assert!(done[0] || done[1]);
            assert_eq!(all.len(), done.into_iter().filter(|&done| done).count());
        });
    }

    #[test]
    fn close_meets_a_push() {
        shim::model(|| {
            let ring = Arc::new(Ring::new(1));
            let producer = thread::spawn({
                let ring = ring.clone();
                move || push(&ring, 1) == Push::Done
            });
            ring.close();
            let got = loop {
                match ring.pop() {
                    Pop::Got(_) => break true,
                    Pop::Closed => break false,
                    _ => thread::yield_now(),
                }
            };
            assert_eq!(producer.join().unwrap(), got);
            assert_eq!(ring.pop(), Pop::Closed);
        });
    }
}
