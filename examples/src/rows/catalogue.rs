//! The catalogue: what the guides describe, a row for each, and what they say of it.
//!
//! Owns the rows; the checks of the rest of `rows` claim what their `semantics` say.

use super::Half;

/// A row of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Where in the catalogue it is.
    pub section: &'static str,
    /// What the guides call it.
    pub name: &'static str,
    /// What the guides say that it does.
    pub semantics: &'static str,
    /// The halves that it has. One, where it is about tasks alone, about processes, or about JavaScript, which
    /// has one thread.
    pub halves: &'static [Half],
}

const BOTH: &[Half] = &[Half::Threads, Half::Tasks];
const THREADS: &[Half] = &[Half::Threads];
const TASKS_ONLY: &[Half] = &[Half::Tasks];

const fn item(
    section: &'static str,
    name: &'static str,
    semantics: &'static str,
    halves: &'static [Half],
) -> Item {
    Item { section, name, semantics, halves }
}

const TASKS: &str = "Tasks, threads, futures";
const TIMEOUTS: &str = "Timeouts, context managers, generators";
const LOCKS: &str = "Locks and signals";
const QUEUES: &str = "Queues and channels";
const POOLS: &str = "Pools and workers";
const PROCESSES: &str = "Processes and shared memory";
const RATES: &str = "Rates, timing, patterns";
const HAZARDS: &str = "Hazards, demos, advice";

/// Every row, in order: the first has the number 1.
pub const CATALOGUE: [Item; 105] = [
    item(
        TASKS,
        "Thread(target).start() and join(), fanned out",
        "start N, then join all; order of output free; staggered sleeps i*0.5",
        BOTH,
    ),
    item(TASKS, "daemon thread", "does not keep the process alive", BOTH),
    item(
        TASKS,
        "coroutine (lazy until awaited)",
        "calling async def runs nothing; await drives it",
        TASKS_ONLY,
    ),
    item(TASKS, "asyncio.run(main())", "create the loop, run, cancel what is left over, close", TASKS_ONLY),
    item(TASKS, "sequential await a; await b", "total = sum of latencies", BOTH),
    item(
        TASKS,
        "create_task(coro) then await",
        "scheduled at once, runs concurrently; result or exception once",
        BOTH,
    ),
    item(
        TASKS,
        "gather(*aws)",
        "results in argument order; first exception at once, others keep running; cancelling cancels all",
        BOTH,
    ),
    item(TASKS, "gather(return_exceptions=True)", "exceptions become values in place", BOTH),
    item(TASKS, "Future/Promise states", "Pending -> Resolved | Rejected, once", BOTH),
    item(
        TASKS,
        "future.result(timeout)",
        "blocks; value, re-raise, or TimeoutError (future stays alive)",
        BOTH,
    ),
    item(TASKS, "future.done()", "true if finished or cancelled", BOTH),
    item(TASKS, "future.cancel()", "executor future: only if not yet running, returns bool", BOTH),
    item(
        TASKS,
        "add_done_callback(fn)",
        "called once on completion; at once if already done; receives the future",
        BOTH,
    ),
    item(TASKS, "fire-and-forget", "result ignored, exception lost", BOTH),
    item(TASKS, "thread with return value: executor", "submit + result() in submit order", BOTH),
    item(
        TASKS,
        "thread with return value: result queue",
        "workers put (url,status|err); after joins drain with empty()",
        BOTH,
    ),
    item(TASKS, "exceptions in threads are silent", "join() does not raise; Future captures", BOTH),
    item(TASKS, "try/except around await", "exception surfaces at await", BOTH),
    item(
        TASKS,
        "run_coroutine_threadsafe(coro, loop)",
        "from any thread; returns a blocking-capable future",
        BOTH,
    ),
    item(TASKS, "run_in_executor(pool, fn)", "await blocking fn on pool", TASKS_ONLY),
    item(TASKS, "contextvars", "copied into each new task", BOTH),
    item(
        TASKS,
        "event-loop order 1, 4, 3, 2 (JavaScript)",
        "sync code, then microtasks, then macrotasks",
        TASKS_ONLY,
    ),
    item(
        TASKS,
        "new Promise, then, catch, finally (JavaScript)",
        "callbacks async; finally always; chain flattens",
        TASKS_ONLY,
    ),
    item(
        TASKS,
        "Promise.all",
        "order kept; first rejection rejects all (others not cancelled in JS)",
        TASKS_ONLY,
    ),
    item(TASKS, "Promise.allSettled", "[{status,value|reason}], never rejects", TASKS_ONLY),
    item(TASKS, "Promise.race", "first to settle, success or failure", TASKS_ONLY),
    item(TASKS, "Promise.any", "first success; all fail -> aggregate error", TASKS_ONLY),
    item(
        TASKS,
        "async fn / await definition quiz",
        "calling gives a coroutine, await suspends the task and not the thread",
        TASKS_ONLY,
    ),
    item(
        TIMEOUTS,
        "wait_for(aw, timeout)",
        "on expiry cancel inner, wait for its cancellation, raise TimeoutError; outer cancel passes through",
        TASKS_ONLY,
    ),
    item(TIMEOUTS, "timeouts of map, as_completed, get", "deadline for the whole iteration", BOTH),
    item(
        TIMEOUTS,
        "async with: __aenter__, __aexit__",
        "enter awaits; exit awaits on every path incl. exception",
        TASKS_ONLY,
    ),
    item(TIMEOUTS, "with executor/pool", "exit = shutdown(wait=True)", BOTH),
    item(
        TIMEOUTS,
        "async generator + async for",
        "lazy; suspended at yield; aclose on early exit",
        TASKS_ONLY,
    ),
    item(TIMEOUTS, "iterate until exhausted", "StopAsyncIteration", BOTH),
    item(LOCKS, "Lock", "one holder; not reentrant (self-deadlock); release by anyone in Py", BOTH),
    item(LOCKS, "acquire(timeout=1) -> bool", "false on expiry, not queued after", BOTH),
    item(LOCKS, "asyncio.Lock held across await", "FIFO; holder may await inside", TASKS_ONLY),
    item(LOCKS, "RLock", "same owner re-acquires; count; release same number", BOTH),
    item(LOCKS, "Recursive function under Lock/RLock", "Lock hangs, RLock works", BOTH),
    item(
        LOCKS,
        "Semaphore(n) counting/binary",
        "acquire decrements, block at 0; release by anyone may exceed n",
        BOTH,
    ),
    item(
        LOCKS,
        "BoundedSemaphore; mutex and semaphore compared",
        "ownership differs: mutex released by holder only",
        BOTH,
    ),
    item(LOCKS, "Event", "set wakes all, stays set; wait, clear, is_set", BOTH),
    item(LOCKS, "Event as start-up barrier and as shutdown signal", "one-time broadcast", BOTH),
    item(
        LOCKS,
        "Condition.wait/notify/notify_all",
        "wait releases the lock atomically, re-acquires before return; loop for spurious wake-ups",
        BOTH,
    ),
    item(LOCKS, "two Conditions on one lock", "not_full/not_empty share the mutex", BOTH),
    item(LOCKS, "BoundedBuffer(cap) put/get", "blocks full/empty, FIFO", BOTH),
    item(
        LOCKS,
        "ReadWriteLock acquire/release read/write",
        "many readers xor 1 writer; seed = reader priority; fairness is a choice",
        BOTH,
    ),
    item(LOCKS, "FairLock", "FIFO tickets by per-waiter events; direct hand-off", BOTH),
    item(LOCKS, "try_acquire + random backoff", "breaks livelock", BOTH),
    item(LOCKS, "lock ordering safe_transfer by id", "lower id first", BOTH),
    item(LOCKS, "lock hierarchy / priorities", "rank order enforced", BOTH),
    item(LOCKS, "AtomicInteger / AtomicCounter", "increment returns new value", BOTH),
    item(
        LOCKS,
        "counters: a lock, 16 locks, a queue for one",
        "V2 get sums under each lock (not a snapshot)",
        BOTH,
    ),
    item(LOCKS, "SharedArrayBuffer, Atomics.add/load/wait/notify", "futex-like wait on value, wake n", BOTH),
    item(
        LOCKS,
        "BankAccount / AsyncBankAccount",
        "check+update in one critical section; 10x100x10 from 1000 -> 0",
        BOTH,
    ),
    item(LOCKS, "ConnectionPool get/release", "at most n out", BOTH),
    item(
        QUEUES,
        "queue.Queue(maxsize) put/get",
        "FIFO, maxsize<=0 unbounded; put blocks full, get blocks empty",
        BOTH,
    ),
    item(QUEUES, "put/get(block=True, timeout=5)", "raise Full/Empty on expiry", BOTH),
    item(QUEUES, "put_nowait/get_nowait, Full/Empty", "never block", BOTH),
    item(
        QUEUES,
        "task_done() and join()",
        "unfinished += 1 per put, -= 1 per task_done; join wakes at 0; too many calls -> ValueError",
        BOTH,
    ),
    item(QUEUES, "poison pill: a sentinel None", "consumer stops on sentinel", BOTH),
    item(
        QUEUES,
        "producers and consumers of different speed",
        "buffer smooths; back-pressure on producer",
        BOTH,
    ),
    item(QUEUES, "asyncio.Queue", "as 57 for tasks", TASKS_ONLY),
    item(QUEUES, "PriorityQueue, LifoQueue", "lowest first; ties FIFO", BOTH),
    item(QUEUES, "hybrid Channel: sync and async put and get", "one queue seen by threads and tasks", BOTH),
    item(QUEUES, "channels buffered and unbuffered", "cap 0 = rendezvous", BOTH),
    item(QUEUES, "select-like over channels", "wait on many ops, take exactly one", BOTH),
    item(QUEUES, "back-pressure", "put waits when full", BOTH),
    item(
        QUEUES,
        "channel states: open, closing, closed",
        "CLOSING: no new puts, drain; then CLOSED, waiters get ChannelClosed",
        BOTH,
    ),
    item(QUEUES, "stats(): queue_size, waiters, state", "snapshot", BOTH),
    item(
        QUEUES,
        "Go channels, synchronized, CompletableFuture, ForkJoinPool",
        "each has its counterpart",
        BOTH,
    ),
    item(
        POOLS,
        "ThreadPoolExecutor(max_workers).submit",
        "lazily up to n threads, FIFO queue, returns Future",
        BOTH,
    ),
    item(POOLS, "executor.map", "lazy iterator, input order; first exception at its position", BOTH),
    item(POOLS, "as_completed(futs)", "yields in completion order", BOTH),
    item(POOLS, "dict future -> url", "correlate result to input", BOTH),
    item(POOLS, "executor.shutdown(wait)", "no new submits; wait", BOTH),
    item(POOLS, "thread-per-task vs pool", "reuse is cheaper", THREADS),
    item(
        POOLS,
        "BackgroundTaskQueue(num_workers): submit, wait",
        "daemon workers; exception logged, worker survives; task_done in finally; wait = join",
        BOTH,
    ),
    item(
        POOLS,
        "AsyncQueue(concurrency).push(task) (JavaScript)",
        "max n running; FIFO admission; returns task result; slot freed on error",
        TASKS_ONLY,
    ),
    item(
        POOLS,
        "WorkerPool(threads, async_workers, queue_size)",
        "accepts sync fn or async fn; submit, submit_sync(timeout); RuntimeError when stopping",
        BOTH,
    ),
    item(
        POOLS,
        "worker health monitor, restart on death",
        "detects done-with-exception, re-creates worker",
        TASKS_ONLY,
    ),
    item(POOLS, "graceful shutdown(timeout) then force", "stop intake, drain, wait, on timeout force", BOTH),
    item(
        POOLS,
        "Web Workers: postMessage, onmessage, onerror",
        "isolated, message passing, structured clone, error event",
        THREADS,
    ),
    item(PROCESSES, "Process(target).start/join, PID", "separate memory", TASKS_ONLY),
    item(PROCESSES, "Pool(n): map, starmap, apply_async", "order kept; chunking; args pickled", TASKS_ONLY),
    item(PROCESSES, "ProcessPoolExecutor", "futures over processes", TASKS_ONLY),
    item(PROCESSES, "multiprocessing.Queue (pickle)", "process safe FIFO", TASKS_ONLY),
    item(PROCESSES, "Pipe() duplex send/recv/close", "both ends bidirectional, pickled objects", TASKS_ONLY),
    item(PROCESSES, "Value + get_lock() (4x1000 = 4000), Array", "shared ctypes memory with lock", THREADS),
    item(PROCESSES, "Manager dict/list/Value/Lock", "proxy server process", TASKS_ONLY),
    item(PROCESSES, "if __name__ == \"__main__\"", "child re-imports module", TASKS_ONLY),
    item(
        PROCESSES,
        "the GIL: a loop on threads and on processes",
        "threads ~sequential, processes parallel",
        THREADS,
    ),
    item(
        RATES,
        "RateLimiter(max_calls, period)",
        "sliding-window log: at most n acquisitions in any window; waits until oldest leaves",
        BOTH,
    ),
    item(RATES, "Semaphore as limiter; DB-connection limit", "concurrency, not rate", BOTH),
    item(RATES, "debounce(fn, delay)", "trailing call after quiet period, last args", TASKS_ONLY),
    item(RATES, "throttle(fn, interval)", "leading call, others dropped", TASKS_ONLY),
    item(RATES, "concurrent HTTP, 10 and 100 URLs", "gather of fetches over one session", BOTH),
    item(
        RATES,
        "WebScraper(max_workers).scrape_urls",
        "result per URL in order: {url,title,status} or {url,error}; 10 s timeout",
        BOTH,
    ),
    item(RATES, "Data pipeline: chunk -> map -> concat", "chunk_size; order kept; sum of squares", BOTH),
    item(RATES, "retry / backoff", "on failed lock/timeouts", BOTH),
    item(
        HAZARDS,
        "deadlock, its four conditions, and its cures",
        "each waits for the other: never returns",
        BOTH,
    ),
    item(HAZARDS, "Livelock: mutual back-off; polite_thread", "active, no progress", BOTH),
    item(HAZARDS, "starvation, priority inversion, aging", "low priority never runs", BOTH),
    item(HAZARDS, "races: lost update, check then act", "wrong totals", BOTH),
    item(HAZARDS, "advice: do not spin, hold locks briefly, do not block the loop", "advice", BOTH),
];
