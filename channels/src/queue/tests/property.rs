//! The queues against a plain model, with random cancels: the same seed, the same run.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use super::*;
use crate::shim::Ordering::Relaxed;
use crate::testing::{Counted, Ledger};

/// One of the three queues, behind one face. The items are compared by their numbers' remainder, so that there
/// are ties.
enum Any {
    Fifo(Queue<Counted>),
    Lifo(LifoQueue<Counted>),
    Lowest(PriorityQueue<Counted>),
}

macro_rules! on {
    ($any:expr, $queue:ident => $body:expr) => {
        match $any {
            Any::Fifo($queue) => $body,
            Any::Lifo($queue) => $body,
            Any::Lowest($queue) => $body,
        }
    };
}

fn rank(number: usize) -> usize {
    number % 5
}

/// What a queue is, in the plainest terms: the items in the order of their coming, each with how many have
/// overtaken it.
struct Plain {
    items: Vec<(usize, u64)>,
    ageing: Option<u64>,
    kind: usize,
}

impl Plain {
    fn pop(&mut self) -> usize {
        let overdue = self.ageing.and_then(|limit| self.items.iter().position(|item| item.1 >= limit));
        let at = match self.kind {
            0 => 0,
            1 => self.items.len() - 1,
            _ => overdue.unwrap_or_else(|| {
                let lowest = (0..self.items.len()).min_by_key(|&at| (rank(self.items[at].0), at));
                lowest.expect("it is not empty")
            }),
        };
        for item in &mut self.items[..at] {
            item.1 += 1;
        }
        self.items.remove(at).0
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// With the number of the item, which is gone once it is put.
type Putting<'a> = (Pin<Box<Put<'a, Counted>>>, Arc<Count>, usize);
type Waiting<F> = Vec<(Pin<Box<F>>, Arc<Count>)>;

/// One run: a queue, its plain image, and the futures under way.
struct Run<'a> {
    queue: &'a Any,
    plain: Plain,
    maxsize: usize,
    ledger: &'a Ledger,
    puts: Vec<Putting<'a>>,
    gets: Waiting<Get<'a, Counted>>,
    joins: Waiting<Join<'a, Counted>>,
    closed: bool,
    put: u64,
    taken: u64,
    unfinished: u64,
}

impl Run<'_> {
    fn has_room(&self) -> bool {
        self.maxsize == 0 || self.plain.items.len() < self.maxsize
    }

    fn did_put(&mut self, number: usize) {
        assert!(self.has_room() && !self.closed);
        self.plain.items.push((number, 0));
        self.put += 1;
        self.unfinished += 1;
    }

    fn did_get(&mut self, item: Counted) {
        assert_eq!(self.plain.pop(), item.1);
        self.taken += 1;
    }

    fn poll_put(&mut self, at: usize) {
        let (future, count, number) = &mut self.puts[at];
        let number = *number;
        count.0.store(0, Relaxed);
        if let Poll::Ready(done) = count.poll(future.as_mut()) {
            drop(self.puts.swap_remove(at));
            match done {
                Ok(()) => self.did_put(number),
                Err(PutError(item)) => assert!(self.closed && item.1 == number),
            }
        } else {
            assert!(!self.closed);
        }
    }

    fn poll_get(&mut self, at: usize) {
        let (future, count) = &mut self.gets[at];
        count.0.store(0, Relaxed);
        if let Poll::Ready(done) = count.poll(future.as_mut()) {
            drop(self.gets.swap_remove(at));
            match done {
                Ok(item) => self.did_get(item),
                Err(GetError) => assert!(self.closed && self.plain.items.is_empty()),
            }
        }
    }

    fn step(&mut self, random: &mut Random) {
        let queue = self.queue;
        match random.below(14) {
            0 | 1 => {
                let number = random.below(1_000);
                let put = on!(queue, queue => queue.put(self.ledger.message(number)));
                self.puts.push((Box::pin(put), Count::new(), number));
            }
            2 | 3 => {
                let get = on!(queue, queue => queue.get());
                self.gets.push((Box::pin(get), Count::new()));
            }
            4 | 5 if !self.puts.is_empty() => self.poll_put(random.below(self.puts.len())),
            6 | 7 if !self.gets.is_empty() => self.poll_get(random.below(self.gets.len())),
            8 if !self.puts.is_empty() => drop(self.puts.swap_remove(random.below(self.puts.len()))),
            9 if !self.gets.is_empty() => drop(self.gets.swap_remove(random.below(self.gets.len()))),
            10 => {
                let number = random.below(1_000);
                match on!(queue, queue => queue.try_put(self.ledger.message(number))) {
                    Ok(()) => self.did_put(number),
                    Err(TryPutError::Full(item)) => assert!(item.1 == number && !self.closed),
                    Err(TryPutError::Closed(item)) => assert!(item.1 == number && self.closed),
                }
            }
            11 => match on!(queue, queue => queue.try_get()) {
                Ok(item) => self.did_get(item),
                Err(TryGetError::Empty) => assert!(!self.closed || !self.plain.items.is_empty()),
                Err(TryGetError::Closed) => assert!(self.closed && self.plain.items.is_empty()),
            },
            12 => {
                let done = on!(queue, queue => queue.task_done());
                assert_eq!(done.is_ok(), self.unfinished > 0);
                self.unfinished = self.unfinished.saturating_sub(1);
                if self.unfinished == 0 {
                    // It was so just now, whatever is put next.
                    for (mut join, count) in std::mem::take(&mut self.joins) {
                        assert!(count.poll(join.as_mut()).is_ready());
                    }
                }
            }
            _ => {
                let mut join = Box::pin(on!(queue, queue => queue.join()));
                let count = Count::new();
                assert_eq!(count.poll(join.as_mut()).is_ready(), self.unfinished == 0);
                if self.unfinished > 0 {
                    self.joins.push((join, count));
                }
            }
        }
    }

    fn check(&mut self) {
        let stats = on!(self.queue, queue => queue.stats());
        assert_eq!((stats.len, stats.put, stats.taken), (self.plain.items.len(), self.put, self.taken));
        assert_eq!(stats.unfinished, self.unfinished);
        assert_eq!(on!(self.queue, queue => queue.is_full()), !self.has_room());
        for (_, count) in &self.joins {
            assert_eq!(count.get(), 0);
        }
    }

    /// Everybody who is woken comes. In the end nobody is left for whom there is something.
    fn settle(&mut self) {
        for at in (0..self.puts.len()).rev() {
            self.poll_put(at);
        }
        for at in (0..self.gets.len()).rev() {
            self.poll_get(at);
        }
        loop {
            if let Some(at) = self.puts.iter().position(|(_, count, _)| count.get() > 0) {
                self.poll_put(at);
            } else if let Some(at) = self.gets.iter().position(|(_, count)| count.get() > 0) {
                self.poll_get(at);
            } else {
                break;
            }
        }
        assert!(self.puts.is_empty() || (!self.has_room() && !self.closed));
        assert!(self.gets.is_empty() || (self.plain.items.is_empty() && !self.closed));
    }
}

fn run(kind: usize, ageing: Option<u64>, maxsize: usize, seed: u64) {
    let (ledger, mut random) = (Ledger::new(), Random(seed));
    let by_rank = |one: &Counted, other: &Counted| rank(one.1).cmp(&rank(other.1));
    let queue = match (kind, ageing) {
        (0, _) => Any::Fifo(Queue::new(maxsize)),
        (1, _) => Any::Lifo(LifoQueue::new(maxsize)),
        (_, None) => Any::Lowest(PriorityQueue::by(maxsize, by_rank)),
        (_, Some(limit)) => Any::Lowest(PriorityQueue::by(maxsize, by_rank).with_ageing(limit)),
    };
    let mut run = Run {
        queue: &queue,
        plain: Plain { items: Vec::new(), ageing, kind },
        maxsize,
        ledger: &ledger,
        puts: Vec::new(),
        gets: Vec::new(),
        joins: Vec::new(),
        closed: false,
        put: 0,
        taken: 0,
        unfinished: 0,
    };
    for _ in 0..150 {
        run.step(&mut random);
        run.check();
    }
    run.settle();
    run.check();
    run.closed = true;
    if random.below(2) == 0 {
        assert!(on!(&queue, queue => queue.close()));
    } else {
        let left = on!(&queue, queue => queue.close_now());
        let plain = std::mem::take(&mut run.plain.items);
        assert!(left.iter().map(|item| item.1).eq(plain.iter().map(|item| item.0)));
        run.unfinished = run.unfinished.saturating_sub(left.len() as u64);
        if run.unfinished == 0 {
            run.joins.clear();
        }
    }
    run.settle();
    for _ in 0..30 {
        run.step(&mut random);
    }
    run.check();
    drop(run);
    drop(queue);
    assert_eq!(ledger.drops(), ledger.made());
}

#[test]
fn a_queue_does_what_the_plain_one_does() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for (kind, ageing) in [(0, None), (1, None), (2, None), (2, Some(0)), (2, Some(1)), (2, Some(4))] {
        for maxsize in [0, 1, 2, 7] {
            for _ in 0..60 {
                seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                run(kind, ageing, maxsize, seed | 1);
            }
        }
    }
}
