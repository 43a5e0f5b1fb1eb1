//! Rows 84 to 92: processes, what they share and what they do not.
//!
//! Owns the jobs that other processes run for these rows; `main` must begin with [`crate::init`], else a pool says so.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use filch::process::{Command, Job, JobError, Pool, Queue, pipe};
use filch::stream::StreamExt;

use super::Half::{Tasks, Threads};
use super::help::{LONG, demo_on_tasks, demo_on_threads, ms, on_tasks, two_workers};
use super::{Check, row};
use crate::process_pool::{ADD, CONSUME, FRAGILE, PRODUCE, SQUARE, STUCK};
use crate::story::Story;
use crate::{manager, shared_memory};

pub(super) const CHECKS: &[Check] = &[
    row(84, Tasks, process_with_memory_of_its_own),
    row(85, Tasks, pool_maps),
    row(86, Tasks, futures_over_processes),
    row(87, Tasks, queue_between_processes),
    row(88, Tasks, pipe_both_ways),
    row(89, Threads, value_and_array),
    row(90, Tasks, manager_of_others),
    row(91, Tasks, main_guard),
    row(92, Threads, no_gil),
];

/// Memory of this process: that of another is another.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// Whether the rows have begun, which is behind the guard in `main`.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// The rows begin.
pub(super) fn begin() {
    BEGUN.store(true, Ordering::Relaxed);
}

/// Counts, and says which process did.
pub(crate) static COUNT_HERE: Job<(), (u32, u32)> =
    Job::new("rows::count_here", |()| (process::id(), COUNT.fetch_add(1, Ordering::Relaxed) + 1));
/// Whether this process came past the guard.
pub(crate) static PAST_THE_GUARD: Job<(), bool> =
    Job::new("rows::past_the_guard", |()| BEGUN.load(Ordering::Relaxed));
/// The guides' loop.
pub(crate) static LOOP: Job<u64, u64> = Job::new("rows::loop", count_to);

fn pool(processes: usize) -> Pool {
    Pool::new(processes).expect("a pool, if `main` begins with `init`")
}

fn process_with_memory_of_its_own(story: &mut Story) {
    on_tasks(async {
        COUNT.store(7, Ordering::Relaxed);
        let pool = pool(1);
        let (id, count) = pool.apply(&COUNT_HERE, ()).await.expect("it counts");
        story.is("it has a PID, another than its parent's", id != process::id());
        story.equal("its memory is its own: it counted to", count, 1);
        story.equal("while the parent's count is", COUNT.load(Ordering::Relaxed), 7);
        story.equal("it is there for the next call", pool.apply(&COUNT_HERE, ()).await, Ok((id, 2)));

        let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn().expect("there is a shell");
        story.is("a program is a child with a PID, too", child.id().is_some_and(|id| id != process::id()));
        let ended = child.wait().await.ok().and_then(|status| status.code());
        story.equal("`join`: it is waited for, and how it ended is known", ended, Some(3));
    });
}

fn pool_maps(story: &mut Story) {
    on_tasks(async {
        let pool = pool(3);
        let expected: Vec<_> = (0..24).map(|n| Ok(n * n)).collect();
        story.equal(
            "`map`, in chunks of 5: in order",
            pool.map(&SQUARE, 0..24).chunk(5).await,
            expected.clone(),
        );
        let mut unordered: Vec<_> = pool.map(&SQUARE, 0..24).unordered().collect().await;
        unordered.sort_by_key(|(place, _)| *place);
        let unordered: Vec<_> = unordered.into_iter().map(|(_, square)| square).collect();
        story.equal("`imap_unordered`, each with its place", unordered, expected);
        story.equal("`starmap`", pool.starmap(&ADD, [(1, 2), (3, 4)]).await, vec![Ok(3), Ok(7)]);
        let mut call = pool.apply(&SQUARE, 12).start();
        let got = filch::spawn_blocking(move || call.join_timeout(LONG)).await.expect("no panic");
        story.equal("`apply_async(..).get(timeout)`", got, Some(Ok(144)));
        story.equal("nothing is left", pool.shutdown(LONG).await.dropped, 0);
    });
}

fn futures_over_processes(story: &mut Story) {
    on_tasks(async {
        let pool = pool(2);
        story.equal("a future of what another process does", pool.apply(&SQUARE, 12).start().await, Ok(144));
        let crash = pool.apply(&FRAGILE, true).await;
        let crashed = matches!(crash, Err(JobError::Crashed { signal: Some(_), .. }));
        story.holds("one that crashes fails its own future", crashed, format_args!("{crash:?}"));
        let limit = ms(50);
        let late = pool.apply(&STUCK, ()).timeout(limit).await;
        story.equal("one that never ends is killed, really", late, Err(JobError::TimedOut { limit }));
        story.equal("and the pool goes on", pool.apply(&SQUARE, 3).await, Ok(9));
    });
}

fn queue_between_processes(story: &mut Story) {
    on_tasks(async {
        let (pool, queue) = (pool(2), Queue::new(2).expect("a queue"));
        let consumer = pool.apply(&CONSUME, queue.remote()).start();
        let producer = pool.apply(&PRODUCE, (queue.remote(), 20)).await;
        story.equal("one process puts, with room for two", producer, Ok(()));
        let items: Vec<_> = (0..20).map(|i| format!("item-{i}")).collect();
        story.equal("another gets all, first in, first out, until the sentinel", consumer.await, Ok(items));
        queue.put(&Some("here".to_string())).await.expect("it is open");
        story.equal(
            "and this one can use it as well",
            queue.get().await.ok(),
            Some(Some("here".to_string())),
        );
    });
}

fn pipe_both_ways(story: &mut Story) {
    on_tasks(async {
        let (here, there) = pipe::<Vec<u32>>()?;
        // A process that sends back what it gets; it has that end for its input and its output.
        let there = UnixStream::from(there.into_fd()?);
        there.set_nonblocking(false)?;
        let both_ways = OwnedFd::from(there);
        let mut echo = Command::new("cat").stdin(both_ways.try_clone()?).stdout(both_ways).spawn()?;
        here.send(&vec![1, 2, 3]).await?;
        here.send(&Vec::new()).await?;
        story.equal("objects go there, and come back", here.recv().await?, Some(vec![1, 2, 3]));
        story.equal("each of them whole", here.recv().await?, Some(vec![]));
        drop(here);
        story.is("closed at one end, it ends at the other", echo.wait().await?.success());

        let (one, other) = pipe::<String>()?;
        let (ping, pong) = ("ping".to_string(), "pong".to_string());
        let talks = filch::gather!(one.send(&ping), other.send(&pong));
        story.is("both ends send at once", talks.0.is_ok() && talks.1.is_ok());
        let heard = (one.recv().await?, other.recv().await?);
        story.equal("and both receive", heard, (Some(pong), Some(ping)));
        io::Result::Ok(())
    })
    .expect("pipes and processes");
}

fn value_and_array(story: &mut Story) {
    // The guides' numbers: four processes count to 1,000 each.
    demo_on_threads(shared_memory::Plan { processes: 4, times: 1_000, cells: 10 }, story);
}

fn manager_of_others(story: &mut Story) {
    demo_on_tasks(manager::Plan { processes: 3, times: 20 }, story);
}

fn main_guard(story: &mut Story) {
    on_tasks(async {
        COUNT.store(41, Ordering::Relaxed);
        let pool = pool(1);
        story.is("this process came past `init`, which is the guard", BEGUN.load(Ordering::Relaxed));
        let past = pool.apply(&PAST_THE_GUARD, ()).await;
        story.equal("one that it starts, from the beginning of `main`, did not", past, Ok(false));
        let fresh = pool.apply(&COUNT_HERE, ()).await.map(|(_, count)| count);
        story.equal("its statics are fresh", fresh, Ok(1));
        static STRANGER: Job<(), ()> = Job::new("rows::stranger", |()| ());
        let unknown = matches!(pool.apply(&STRANGER, ()).await, Err(JobError::Unregistered { .. }));
        story.is("what `init` was not given cannot be run there", unknown);
    });
}

fn count_to(times: u64) -> u64 {
    (0..times).fold(0, |count, n| std::hint::black_box(count + u64::from(n % 2 == 0)))
}

/// The turns that two threads took, each of which waits for the other without giving up its processor: with a lock
/// round the interpreter that is only given up at a wait, neither would get on.
fn hand_to_and_fro(turns: u32) -> u32 {
    let (mine, taken) = (AtomicBool::new(true), AtomicU32::new(0));
    thread::scope(|scope| {
        for turn in [true, false] {
            let (mine, taken) = (&mine, &taken);
            scope.spawn(move || {
                for _ in 0..turns {
                    // Ordering: Acquire here and Release below: what one did is seen by the other.
                    while mine.load(Ordering::Acquire) != turn {
                        std::hint::spin_loop();
                    }
                    taken.fetch_add(1, Ordering::Relaxed);
                    mine.store(!turn, Ordering::Release);
                }
            });
        }
    });
    taken.into_inner()
}

fn no_gil(story: &mut Story) {
    const TIMES: u64 = 1_000_000;
    story.equal("two threads take turns, each spinning for the other", hand_to_and_fro(5), 10);
    let began = Instant::now();
    let in_turn = [count_to(TIMES), count_to(TIMES)];
    let alone = began.elapsed();
    let began = Instant::now();
    let on_threads = thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| count_to(TIMES)));
        threads.map(|thread| thread.join().expect("no panic"))
    });
    let threads = began.elapsed();
    let runtime = two_workers();
    let _inside = runtime.handle().enter();
    let pool = pool(2);
    // The processes are there when it begins.
    drop(pool.map(&COUNT_HERE, [(), ()]).join());
    let began = Instant::now();
    let in_processes = pool.map(&LOOP, [TIMES; 2]).join();
    let processes = began.elapsed();
    story.equal("two loops on threads come to the same as one after the other", on_threads, in_turn);
    story.equal("and so do two in processes", in_processes, in_turn.map(Ok).to_vec());
    let processors = thread::available_parallelism().map_or(1, usize::from);
    story.note(format_args!(
        "two loops of {TIMES}, on {processors} processors: {alone:.1?} one after the other, {threads:.1?} on two \
         threads, {processes:.1?} in two processes"
    ));
}
