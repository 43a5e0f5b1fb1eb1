//! Models of the scheduler's protocols, on the code that ships: queue, injector, lease, the promise of
//! `idle`, the monitor's doze, a root's arrival, the blocking pool's accounts.

use std::panic::Location;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::scheduler::arrival::Arrival;
use crate::scheduler::idle::{Doze, Idle};
use crate::scheduler::injector::Injector;
use crate::scheduler::jobs::Jobs;
use crate::scheduler::lease::Lease;
use crate::scheduler::queue::{self, CAPACITY, Item, LocalQueue, Stealer};
use crate::shim::Ordering::SeqCst;
use crate::shim::shared::{AtomicBool, AtomicUsize};
use crate::shim::{Arc, Condvar, Mutex, UnsafeCell, model, thread};
use crate::task::{Birth, PanicHook, Root, RootPolled, Runnable, Schedule};
use crate::util::parker::Parker;

/// An item with a number.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
#[repr(transparent)]
struct Token(usize);

// SAFETY: a number in a pointer's place, and back.
unsafe impl Item for Token {}

/// That of `0..n` each came once.
#[track_caller]
fn assert_each_once(n: usize, parts: impl IntoIterator<Item = Vec<usize>>) {
    let mut all: Vec<usize> = parts.into_iter().flatten().collect();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..n), "{all:?}");
}

// The queue.

/// Steals once into a queue of its own; what was got.
fn steal(stealer: &Stealer<Token>) -> Vec<usize> {
    let (mut own, _) = queue::new();
    let first = stealer.steal_into(&mut own);
    first.into_iter().chain(std::iter::from_fn(|| own.pop())).map(|token| token.0).collect()
}

fn drain(queue: &mut LocalQueue<Token>) -> Vec<usize> {
    std::iter::from_fn(|| queue.pop()).map(|token| token.0).collect()
}

#[test]
fn ex2_model_queue_owner_against_two_stealers() {
    model(|| {
        let (mut queue, stealer) = queue::new();
        (0..2).for_each(|i| queue.push(Token(i)).unwrap());
        let thieves: Vec<_> = (0..2)
            .map(|_| {
                let stealer = stealer.clone();
                thread::spawn(move || steal(&stealer))
            })
            .collect();
        let mut got = vec![drain_one(&mut queue)];
        queue.push(Token(2)).unwrap();
        got.push(drain_one(&mut queue));
        got.extend(thieves.into_iter().map(|thief| thief.join().unwrap()));
        got.push(drain(&mut queue));
        assert_each_once(3, got);
    });
}

fn drain_one(queue: &mut LocalQueue<Token>) -> Vec<usize> {
    queue.pop().into_iter().map(|token| token.0).collect()
}

#[test]
fn ex3_model_queue_full_ring_goes_round_under_a_stealer() {
    model(|| {
        let (mut queue, stealer) = queue::new();
        (0..CAPACITY).for_each(|i| queue.push(Token(i)).unwrap());
        let thief = {
            let stealer = stealer.clone();
            thread::spawn(move || [steal(&stealer), steal(&stealer)].concat())
        };
        // The slots that are freed are used again while the thief may still look at them.
        let mut got = vec![drain_one(&mut queue), drain_one(&mut queue)];
        let mut next = CAPACITY;
        while next < CAPACITY + 2 && queue.push(Token(next)).is_ok() {
            next += 1;
        }
        got.push(thief.join().unwrap());
        got.push(drain(&mut queue));
        assert_each_once(next, got);
    });
}

#[test]
fn ex2_model_queue_overflow_against_a_stealer() {
    model(|| {
        let (mut queue, stealer) = queue::new();
        (0..CAPACITY).for_each(|i| queue.push(Token(i)).unwrap());
        let thief = {
            let stealer = stealer.clone();
            thread::spawn(move || steal(&stealer))
        };
        // As `Core::push_back`.
        let mut out = Vec::new();
        if let Err(token) = queue.push(Token(CAPACITY)) {
            out = queue.split();
            out.push(token);
        }
        let out: Vec<usize> = out.into_iter().map(|token| token.0).collect();
        assert!(out.is_sorted(), "oldest first: {out:?}");
        let stolen = thief.join().unwrap();
        assert_each_once(CAPACITY + 1, [out, stolen, drain(&mut queue)]);
    });
}

#[test]
fn model_queue_stealers_steal_from_each_other() {
    model(|| {
        let (mut queue, stealer) = queue::new();
        (0..2).for_each(|i| queue.push(Token(i)).unwrap());
        let (mut second, of_second) = queue::new();
        let thief = thread::spawn(move || {
            let first = stealer.steal_into(&mut second);
            first.into_iter().chain(std::iter::from_fn(|| second.pop())).map(|token| token.0).collect()
        });
        let third = thread::spawn(move || steal(&of_second));
        let got = drain_one(&mut queue);
        assert_each_once(2, [got, thief.join().unwrap(), third.join().unwrap(), drain(&mut queue)]);
    });
}

#[test]
fn model_injector_push_against_pop_batch() {
    model(|| {
        let injector = Arc::new(Injector::new());
        injector.push(0);
        let pushers: Vec<_> = (0..2)
            .map(|i| {
                let injector = injector.clone();
                thread::spawn(move || {
                    if i == 0 {
                        injector.push(1);
                    } else {
                        injector.push_batch([2, 3]);
                    }
                })
            })
            .collect();
        let mut got = Vec::new();
        let first = injector.pop_batch(1, |more| got.push(more));
        assert_eq!(first, Some(0), "it was there before");
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
        assert_eq!(injector.len(), 3 - got.len());
        got.extend(first);
        let rest = injector.pop_batch(9, |more| got.push(more));
        got.extend(rest);
        assert!(injector.is_empty());
        assert_each_once(4, [got]);
    });
}

// The lease.

/// A core that only one thread may touch at a time.
#[derive(Debug)]
struct Core(UnsafeCell<usize>);

impl Core {
    fn new() -> Box<Core> {
        Box::new(Core(UnsafeCell::new(0)))
    }

    /// Counts; loom reports it if another thread is at it, or has been without being seen.
    fn touch(&self) -> usize {
        self.0.with_mut(|count| {
            // SAFETY: that nobody else is here is what the model shows.
            unsafe {
                *count += 1;
                *count
            }
        })
    }
}

#[test]
fn model_lease_owner_against_revoke() {
    model(|| {
        let lease = Arc::new(Lease::new());
        lease.put(Core::new());
        let monitor = {
            let lease = lease.clone();
            thread::spawn(move || {
                let core = lease.revoke();
                core.iter().for_each(|core| _ = core.touch());
                core
            })
        };
        let entered = lease.enter().map(|core| core.touch()).is_some();
        let again = lease.enter().map(|core| core.touch()).is_some();
        assert!(entered || !again, "a core does not come back by itself");
        let mine = lease.take();
        mine.iter().for_each(|core| _ = core.touch());
        assert!(again || mine.is_none());
        // In its hands, the owner cannot enter; without a core neither.
        assert!(lease.enter().is_none());
        let theirs = monitor.join().unwrap();
        assert!(mine.is_some() != theirs.is_some(), "in one hand, exactly");
        assert!(lease.revoke().is_none(), "the place is empty, and the owner is inside");
        assert!(!lease.is_out());
    });
}

#[test]
fn model_lease_two_monitors_and_a_second_core() {
    model(|| {
        let lease = Arc::new(Lease::new());
        lease.put(Core::new());
        let monitors: Vec<_> = (0..2)
            .map(|_| {
                let lease = lease.clone();
                thread::spawn(move || {
                    let core = lease.revoke();
                    core.iter().for_each(|core| _ = core.touch());
                    usize::from(core.is_some())
                })
            })
            .collect();
        let mut mine = 0;
        match lease.take() {
            Some(core) => mine += usize::from(core.touch() > 0),
            None => {
                // The owner is given another one, which can be taken away as well.
                lease.put(Core::new());
                mine += lease.take().map_or(0, |core| usize::from(core.touch() > 0));
                mine += 1;
            }
        }
        let theirs: usize = monitors.into_iter().map(|monitor| monitor.join().unwrap()).sum();
        // One core, and the second one that exists only if the first was lost: none is lost, none is in two hands.
        assert!((1..=2).contains(&mine));
        assert!(theirs <= 2 && mine + theirs <= 3);
        assert!(!lease.is_out() && lease.take().is_none());
    });
}

#[test]
fn model_lease_a_loser_that_enters_again() {
    model(|| {
        let lease = Arc::new(Lease::new());
        lease.put(Core::new());
        let monitor = {
            let lease = lease.clone();
            thread::spawn(move || {
                // The second finds no core, and takes back the flag that the owner would learn by.
                [lease.revoke(), lease.revoke()].into_iter().flatten().filter(|core| core.touch() > 0).count()
            })
        };
        let entries = (0..2).filter(|_| lease.enter().map(|core| core.touch()).is_some()).count();
        let taken = lease.take();
        let lost = monitor.join().unwrap();
        assert_eq!(usize::from(taken.is_some()) + lost, 1);
        assert!(taken.is_none() || entries == 2);
        // As good as new.
        lease.put(taken.unwrap_or_else(Core::new));
        assert!(lease.enter().is_some());
        assert!(lease.take().is_some());
    });
}

// The promise: a task that was pushed is not left in a queue while all workers sleep.

/// Stands in for the scheduler. Task `0` ends by itself; others as the model says.
struct World {
    idle: Idle,
    injector: Injector<Token>,
    stealers: Vec<Stealer<Token>>,
    attendants: Vec<Mutex<Option<Arc<Parker>>>>,
    done: AtomicUsize,
    goal: usize,
}

impl World {
    fn new(workers: usize, goal: usize) -> (Arc<World>, Vec<LocalQueue<Token>>) {
        let (queues, stealers) = (0..workers).map(|_| queue::new()).unzip();
        let idle = Idle::new(workers);
        (0..workers).for_each(|_| idle.join(false));
        let world = World {
            idle,
            injector: Injector::new(),
            stealers,
            attendants: (0..workers).map(|_| Mutex::new(None)).collect(),
            done: AtomicUsize::new(0),
            goal,
        };
        (Arc::new(world), queues)
    }

    fn unpark(&self, core: Option<usize>) {
        if let Some(core) = core {
            if let Some(parker) = &*self.attendants[core].lock() {
                let _ = parker.unpark();
            }
        }
    }

    fn inject(&self, token: Token) {
        self.injector.push(token);
        self.unpark(self.idle.notify());
    }

    fn has_work(&self) -> bool {
        !self.injector.is_empty() || self.stealers.iter().any(|stealer| stealer.len() > 0)
    }

    fn is_over(&self) -> bool {
        self.done.load(SeqCst) == self.goal
    }

    /// A task has been run.
    fn ran(&self) {
        if self.done.fetch_add(1, SeqCst) + 1 == self.goal {
            (0..self.stealers.len()).for_each(|core| self.unpark(Some(core)));
        }
    }

    /// As `Worker::run`, `search`, `found` and `park`.
    fn work(
        &self,
        core: usize,
        queue: &mut LocalQueue<Token>,
        mut run: impl FnMut(Token, &mut LocalQueue<Token>),
    ) {
        let parker = Arc::new(Parker::new());
        *self.attendants[core].lock() = Some(parker.clone());
        let mut searching = false;
        while !self.is_over() {
            let mut next = queue.pop().or_else(|| self.take_injected(queue));
            if next.is_none() && (searching || self.idle.start_search()) {
                searching = true;
                let victims = (0..self.stealers.len()).filter(|&victim| victim != core);
                next = victims.filter_map(|victim| self.stealers[victim].steal_into(queue)).next();
                next = next.or_else(|| self.take_injected(queue));
            }
            if let Some(token) = next {
                if std::mem::take(&mut searching) && self.idle.end_search() {
                    self.unpark(self.idle.notify());
                }
                run(token, queue);
                self.ran();
                continue;
            }
            self.idle.sleep(core, searching);
            let found = self.has_work();
            if !found && !self.is_over() {
                parker.park(None);
            }
            searching = self.idle.wake(core, found);
        }
    }

    fn take_injected(&self, queue: &mut LocalQueue<Token>) -> Option<Token> {
        let first = self.injector.pop_batch(self.injector.len() / 2, |token| queue.push(token).unwrap());
        if !queue.is_empty() {
            self.unpark(self.idle.notify_local());
        }
        first
    }
}

#[test]
fn model_promise_a_push_from_outside() {
    model(|| {
        let (world, queues) = World::new(2, 1);
        let workers: Vec<_> = queues
            .into_iter()
            .enumerate()
            .map(|(core, mut queue)| {
                let world = world.clone();
                thread::spawn(move || world.work(core, &mut queue, |_, _| {}))
            })
            .collect();
        world.inject(Token(0));
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert!(world.is_over() && !world.has_work());
    });
}

#[test]
fn model_promise_two_pushes_and_one_worker() {
    model(|| {
        let (world, mut queues) = World::new(1, 2);
        let mut queue = queues.remove(0);
        let worker = {
            let world = world.clone();
            thread::spawn(move || world.work(0, &mut queue, |_, _| {}))
        };
        let other = {
            let world = world.clone();
            thread::spawn(move || world.inject(Token(1)))
        };
        world.inject(Token(0));
        other.join().unwrap();
        worker.join().unwrap();
        assert!(world.is_over() && !world.has_work());
    });
}

#[test]
fn model_promise_a_push_by_a_worker_to_its_own_queue() {
    model(|| {
        let (world, queues) = World::new(2, 3);
        let mut queues = queues.into_iter();
        let (mut mine, mut theirs) = (queues.next().unwrap(), queues.next().unwrap());
        mine.push(Token(0)).unwrap();
        // Whoever runs task 0 pushes two more, without a fence.
        let run = |world: &World, token, queue: &mut LocalQueue<Token>| {
            if token == Token(0) {
                (1..3).for_each(|i| queue.push(Token(i)).unwrap());
                world.unpark(world.idle.notify_local());
            }
        };
        let other = {
            let world = world.clone();
            thread::spawn(move || world.work(1, &mut theirs, |token, queue| run(&world, token, queue)))
        };
        world.work(0, &mut mine, |token, queue| run(&world, token, queue));
        other.join().unwrap();
        assert!(world.is_over() && !world.has_work());
    });
}

#[test]
fn ex1_model_promise_the_last_searcher_sends_the_next() {
    // Task 1 waits for task 2: its worker is stuck, and the other must have been woken for the rest.
    model(|| {
        let (world, queues) = World::new(2, 2);
        let second_ran = Arc::new((Mutex::new(false), Condvar::new()));
        let workers: Vec<_> = queues
            .into_iter()
            .enumerate()
            .map(|(core, mut queue)| {
                let (world, second_ran) = (world.clone(), second_ran.clone());
                thread::spawn(move || {
                    world.work(core, &mut queue, |token, queue| {
                        // What it took along is left to others, as when the monitor takes its core.
                        let more: Vec<Token> = std::iter::from_fn(|| queue.pop()).collect();
                        more.into_iter().for_each(|token| world.inject(token));
                        let mut ran = second_ran.0.lock();
                        if token == Token(2) {
                            *ran = true;
                            second_ran.1.notify_all();
                        }
                        while !*ran {
                            ran = second_ran.1.wait(ran);
                        }
                    });
                })
            })
            .collect();
        world.inject(Token(1));
        world.inject(Token(2));
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert!(world.is_over() && !world.has_work());
    });
}

#[test]
fn model_promise_a_core_that_is_abandoned() {
    // All places are taken, by a guest: a push wakes nobody, unless the guest leaves.
    model(|| {
        let (world, mut queues) = World::new(1, 1);
        let mut queue = queues.remove(0);
        world.idle.join(false);
        let worker = {
            let world = world.clone();
            thread::spawn(move || world.work(0, &mut queue, |_, _| {}))
        };
        let guest = {
            let world = world.clone();
            thread::spawn(move || {
                // As `Scheduler::abandon`.
                world.idle.leave(false);
                if world.has_work() {
                    world.unpark(world.idle.notify());
                }
            })
        };
        world.inject(Token(0));
        guest.join().unwrap();
        worker.join().unwrap();
        assert!(world.is_over());
    });
}

// The monitor.

#[test]
fn model_monitor_does_not_sleep_while_a_worker_is_awake() {
    model(|| {
        let shared =
            Arc::new((Idle::new(1), Doze::new(), AtomicBool::new(false), Mutex::new(None::<Arc<Parker>>)));
        shared.0.join(false);
        shared.0.sleep(0, false);
        let monitor = {
            let shared = shared.clone();
            let parker = Arc::new(Parker::new());
            // The parker is the main thread's: it plays the monitor.
            *shared.3.lock() = Some(parker.clone());
            parker
        };
        let worker = {
            let shared = shared.clone();
            thread::spawn(move || {
                let (idle, doze, awake, parker) = &*shared;
                idle.wake(0, false);
                awake.store(true, SeqCst);
                if doze.must_rouse() {
                    let parker = parker.lock().clone().unwrap();
                    let _ = parker.unpark();
                }
            })
        };
        let (idle, doze, awake, _) = &*shared;
        if doze.begin(idle) {
            // The worker wakes sooner or later, and stays awake: sleeping on for ever would be a deadlock.
            monitor.park(None);
            assert!(awake.load(SeqCst));
        }
        doze.end();
        worker.join().unwrap();
        assert!(!idle.all_asleep());
    });
}

// A root, and where its wakes go.

/// As `RootSchedule`, with a bare parker in place of a worker.
struct Frame {
    arrived: Arrival,
    waiter: Arc<Parker>,
}

// SAFETY: it stays until the root is done, as `block_on`'s does.
unsafe impl Schedule for Frame {
    fn schedule(&self, _: Runnable) {
        self.arrived.give(&self.waiter, |parker| _ = parker.unpark());
    }

    fn panic_hook(&self) -> PanicHook {
        unreachable!("a root's panic is its owner's")
    }
}

#[test]
fn model_root_is_polled_after_each_wake_and_leaves_its_frame() {
    model(|| {
        let seen = Arc::new(AtomicUsize::new(0));
        let wakers: Arc<Mutex<Vec<Waker>>> = Arc::new(Mutex::new(Vec::new()));
        let threads;
        let mut polls = 0;
        {
            // As `Guest::run`. On the heap, and freed at once, so that a use after the end is one that is found.
            let frame = Box::new(Frame { arrived: Arrival::new(), waiter: Arc::new(Parker::new()) });
            let birth = Birth { id: 1, parent: 0, location: Location::caller(), name: None, list: 0 };
            // SAFETY: the frame outlives the root.
            let (root, runnable) = unsafe { Root::new(&raw const *frame, birth) };
            let _ = runnable;
            let mut poll = || {
                polls += 1;
                root.poll(|cx| {
                    if polls == 1 {
                        wakers.lock().extend([cx.waker().clone(), cx.waker().clone()]);
                    }
                    if seen.load(crate::shim::Ordering::Relaxed) == 2 {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
            };
            frame.arrived.clear();
            assert!(matches!(poll(), RootPolled::Idle));
            threads = std::mem::take(&mut *wakers.lock()).into_iter().map(|waker| {
                let seen = seen.clone();
                thread::spawn(move || {
                    seen.fetch_add(1, crate::shim::Ordering::Relaxed);
                    waker.wake();
                })
            });
            let threads: Vec<_> = threads.collect();
            loop {
                if !frame.arrived.is_there() {
                    frame.waiter.park(None);
                    continue;
                }
                frame.arrived.clear();
                match poll() {
                    RootPolled::Done(output) => break output.unwrap(),
                    RootPolled::Again => frame.arrived.give_here(),
                    RootPolled::Idle => {}
                }
            }
            root.complete().release();
            drop(root);
            drop(frame);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        assert!((2..=4).contains(&polls), "{polls} polls");
    });
}

// The blocking pool's queue.

/// As `Scheduler::push_job`, with threads that note what they ran, and a clock that another thread moves.
fn push_job(pool: &Arc<Pool>, job: usize) -> Option<thread::JoinHandle<()>> {
    pool.jobs.push(job).unwrap()?;
    let pool = pool.clone();
    Some(thread::spawn(move || {
        let left = || Duration::from_secs(u64::from(!pool.expired.load(SeqCst)));
        while let Some(job) = pool.jobs.next(left) {
            pool.ran.lock().push(job);
        }
    }))
}

struct Pool {
    jobs: Jobs<usize>,
    ran: Mutex<Vec<usize>>,
    expired: AtomicBool,
}

fn pool() -> Arc<Pool> {
    Arc::new(Pool { jobs: Jobs::new(2), ran: Mutex::default(), expired: AtomicBool::new(false) })
}

#[test]
fn model_blocking_job_against_a_thread_that_gives_up() {
    model(|| {
        let pool = pool();
        let mut threads = vec![push_job(&pool, 0).expect("there was none")];
        let clock = {
            let pool = pool.clone();
            thread::spawn(move || {
                pool.expired.store(true, SeqCst);
                // Under the lock, as a thread whose time is over comes back to it.
                let _ = pool.jobs.depth();
                pool.jobs.rouse();
            })
        };
        threads.extend(push_job(&pool, 1));
        clock.join().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_each_once(2, [pool.ran.lock().clone()]);
        assert_eq!(pool.jobs.depth(), (0, 0));
    });
}

#[test]
fn model_blocking_jobs_are_run_or_given_back_when_the_pool_closes() {
    model(|| {
        let pool = pool();
        let threads = vec![push_job(&pool, 0).expect("there was none")];
        let closer = {
            let pool = pool.clone();
            thread::spawn(move || pool.jobs.close())
        };
        let refused = match pool.jobs.push(1) {
            Ok(None) => None,
            // A thread that could not be started: another one, or the caller, has its jobs.
            Ok(Some(_)) => return_jobs(&pool),
            Err(job) => Some(job),
        };
        let closed = closer.join().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_each_once(2, [pool.ran.lock().clone(), closed, refused.into_iter().collect()]);
        assert_eq!(pool.jobs.depth(), (0, 0));
    });
}

/// The job that nobody takes, if one is left.
fn return_jobs(pool: &Pool) -> Option<usize> {
    let jobs = pool.jobs.not_started();
    assert!(jobs.len() <= 1, "{jobs:?}");
    jobs.first().copied()
}
