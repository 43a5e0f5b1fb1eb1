//! The promise: what becomes of a job in a process pool: outputs in order, crashes and kills that harm no
//! other job.
//!
//! Starts itself again as workers, so `main` is its own.
#![allow(missing_docs)]

#[path = "process_pool/jobs.rs"]
mod jobs;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use filch::process::{self, Job, JobError, Pool, PoolStats};
use filch::stream::StreamExt;
use filch_tests::{harness, until, until_yielding};
use jobs::*;

fn main() -> ExitCode {
    process::init(&JOBS);
    // What the caller has left open, all that it starts inherit, too.
    let inherited = open().into_iter().filter(|(fd, link)| *fd > 2 && !link.ends_with("/fd"));
    INHERITED.set(inherited.map(|(_, link)| link).collect()).expect("the first time");
    harness(TESTS)
}

static INHERITED: OnceLock<Vec<String>> = OnceLock::new();

filch_tests::tests! {
    outputs_come_in_order,
    two_hundred_jobs_over_four_processes,
    as_they_are_done,
    a_crash_is_the_error_of_its_job_alone,
    a_job_without_memory_is_the_only_one_that_fails,
    a_job_that_forks_harms_no_other,
    an_exit_is_an_error_with_its_code,
    in_a_chunk_only_the_job_that_runs_is_to_blame,
    a_panic_is_an_error_and_the_process_lives_on,
    a_limit_kills,
    a_limit_is_of_each_job,
    a_dropped_call_is_killed_with_all_that_it_has_started,
    a_dropped_call_that_waits_is_taken_out,
    a_dropped_map_is_taken_out_and_killed,
    values_that_cannot_be_passed_are_errors,
    jobs_that_are_not_registered_are_refused,
    processes_are_replaced_after_so_many_jobs,
    shutdown_waits_for_what_there_is,
    shutdown_kills_after_its_deadline,
    a_dropped_pool_kills,
    nothing_is_left_behind,
    threads_can_wait,
    any_runtime_will_do_and_its_end_is_the_pools,
    settings_that_make_no_sense_are_refused,
}

/// Runs a test on a pool of so many.
fn with<F: Future<Output = ()>>(workers: usize, test: impl FnOnce(Pool) -> F) {
    filch::run(async move { test(Pool::new(workers).expect("a pool")).await });
}

fn crashed(signal: i32) -> JobError {
    JobError::Crashed { signal: Some(signal), code: None }
}

fn outputs_come_in_order() {
    with(3, async |pool| {
        assert_eq!(pool.apply(&SQUARE, 12).await, Ok(144));
        for chunk in [0, 1, 3, 100] {
            let squares = pool.map(&SQUARE, 0..50).chunk(chunk).await;
            assert_eq!(squares, (0..50).map(|n| Ok(n * n)).collect::<Vec<_>>());
        }
        assert_eq!(pool.starmap(&POWER, [(2, 10), (3, 3), (1, 0)]).await, [Ok(1024), Ok(27), Ok(1)]);
        assert_eq!(pool.map(&SQUARE, []).await, []);
        assert_eq!(pool.map(&SQUARE, []).unordered().next().await, None);
    });
}

fn two_hundred_jobs_over_four_processes() {
    with(4, async |pool| {
        assert_eq!(pool.stats(), PoolStats::default(), "nothing is started before there is a job");
        let pids: BTreeSet<u32> = pool.map(&PID, [(); 200]).await.into_iter().map(Result::unwrap).collect();
        assert!((1..=4).contains(&pids.len()) && !pids.contains(&std::process::id()), "{pids:?}");
        let stats = pool.stats();
        assert_eq!((stats.answered, stats.queued, stats.running, stats.crashed), (200, 0, 0, 0));
        assert!(stats.started <= 4 && stats.processes as u64 == stats.started, "{stats:?}");

        // Four at once: each waits for all.
        let ((began, tell), (go, wait)) = (numbers(), numbers());
        let calls = pool.map(&WAIT, (0..4).map(|n| (n, tell.clone(), wait.clone()))).start();
        for _ in 0..4 {
            began.get().await.unwrap();
        }
        for n in 0..4 {
            go.put(&n).await.unwrap();
        }
        assert_eq!(calls.await, [Ok(0), Ok(1), Ok(2), Ok(3)]);
        assert_eq!(pool.stats().processes, 4);
    });
}

fn as_they_are_done() {
    with(2, async |pool| {
        let ((began, tell), (go, wait)) = (numbers(), numbers());
        let mut jobs = pool.map(&WAIT, (0..3).map(|n| (n, tell.clone(), wait.clone()))).unordered();
        let first = [began.get().await.unwrap(), began.get().await.unwrap()];
        assert_eq!(BTreeSet::from(first), BTreeSet::from([0, 1]));
        let mut seen = BTreeSet::new();
        for n in 0..3 {
            go.put(&n).await.unwrap();
            let (index, output) = jobs.next().await.unwrap();
            assert_eq!(output, Ok(index as u32));
            seen.insert(index);
        }
        assert_eq!((seen.len(), jobs.next().await), (3, None));
    });
}

fn a_crash_is_the_error_of_its_job_alone() {
    with(2, async |pool| {
        for signal in [libc::SIGSEGV, libc::SIGKILL, libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGTERM]
        {
            let raised = pool.map(&RAISE, [0, 0, signal, 0, 0]).await;
            assert_eq!(raised, [Ok(0), Ok(0), Err(crashed(signal)), Ok(0), Ok(0)]);
        }
        assert_eq!(pool.stats().crashed, 6);
        let text = crashed(libc::SIGSEGV).to_string();
        assert!(text.contains("SIGSEGV"), "{text}");
    });
}

fn a_job_without_memory_is_the_only_one_that_fails() {
    with(1, async |pool| {
        let before = pool.apply(&PID, ()).await;
        // The allocator gives up by `abort`; the system's own way, SIGKILL, is among the signals above.
        assert_eq!(pool.apply(&EXHAUST, 256 << 20).await, Err(crashed(libc::SIGABRT)));
        assert_ne!(pool.apply(&PID, ()).await, before, "another process");
        assert_eq!(pool.stats().crashed, 1);
    });
}

fn a_job_that_forks_harms_no_other() {
    with(1, async |pool| {
        for _ in 0..5 {
            assert_eq!(pool.apply(&FORK, false).await, Ok(()));
        }
        assert_eq!(pool.stats().started, 1, "one process did them all");
        // Two that answer where one was asked: the second answer is nonsense, and ends whoever is there; what runs
        // there meanwhile is that process's, and the next is another's.
        assert_eq!(pool.apply(&FORK, true).await, Ok(()));
        let answers =
            [pool.apply(&SQUARE, 3).await, pool.apply(&SQUARE, 4).await, pool.apply(&SQUARE, 5).await];
        for (answer, right) in answers.iter().zip([9, 16, 25]) {
            assert!(answer == &Ok(right) || answer.is_err(), "never one that is wrong: {answer:?}");
        }
        assert_eq!(pool.apply(&SQUARE, 6).await, Ok(36));
    });
}

fn an_exit_is_an_error_with_its_code() {
    with(1, async |pool| {
        for code in [0, 3] {
            let ended = pool.apply(&EXIT, code).await;
            assert_eq!(ended, Err(JobError::Crashed { signal: None, code: Some(code) }));
        }
        assert_eq!(pool.apply(&SQUARE, 3).await, Ok(9));
    });
}

fn in_a_chunk_only_the_job_that_runs_is_to_blame() {
    with(1, async |pool| {
        let raised = pool.map(&RAISE, [0, libc::SIGKILL, 0, libc::SIGABRT, 0, 0]).chunk(6).await;
        let (killed, aborted) = (Err(crashed(libc::SIGKILL)), Err(crashed(libc::SIGABRT)));
        assert_eq!(raised, [Ok(0), killed, Ok(0), aborted, Ok(0), Ok(0)]);
        assert_eq!(pool.stats().started, 3);
    });
}

fn a_panic_is_an_error_and_the_process_lives_on() {
    with(1, async |pool| {
        let before = pool.apply(&PID, ()).await;
        let panicked = pool.apply(&PANIC, "no such luck".to_owned()).await;
        assert_eq!(panicked, Err(JobError::Panicked { message: "no such luck".to_owned() }));
        let long = "long ".repeat(100_000);
        match pool.apply(&PANIC, long).await {
            Err(JobError::Panicked { message }) => {
                assert!(message.starts_with("long long") && message.len() < 10_000)
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.apply(&PID, ()).await, before);
    });
}

fn a_limit_kills() {
    with(1, async |pool| {
        let pid = pool.apply(&PID, ()).await.unwrap();
        let limit = Duration::from_millis(5);
        let late = pool.apply(&STUCK, ()).timeout(limit).await;
        assert_eq!(late, Err(JobError::TimedOut { limit }));
        assert!(is_gone(pid), "it was killed and waited for before the error was told");
        assert_ne!(pool.apply(&PID, ()).await, Ok(pid));
        assert_eq!((pool.stats().killed, pool.stats().started), (1, 2));
    });
}

fn a_limit_is_of_each_job() {
    with(1, async |pool| {
        // In one chunk, which as a whole would take too long with a limit for all.
        assert!(pool.map(&SQUARE, 0..500).chunk(500).timeout(LONG).await.iter().all(Result::is_ok));
        let mut jobs = pool.map(&STUCK, [(), ()]).chunk(2).timeout(Duration::from_millis(5)).await;
        assert!(jobs.drain(..).all(|job| matches!(job, Err(JobError::TimedOut { .. }))));
        assert_eq!(pool.apply(&SQUARE, 2).timeout(Duration::MAX).await, Ok(4));
    });
}

fn a_dropped_call_is_killed_with_all_that_it_has_started() {
    with(1, async |pool| {
        let (queue, remote) = numbers();
        let call = pool.apply(&PARENT, remote).start();
        let (pid, child) = (queue.get().await.unwrap(), queue.get().await.unwrap());
        assert!(!is_gone(pid) && !is_gone(child));
        drop(call);
        until_yielding(|| is_gone(pid) && is_gone(child)).await;
        assert_eq!(pool.apply(&SQUARE, 2).await, Ok(4));

        // So does a limit from outside.
        let (queue, remote) = numbers();
        let late = filch::wait_for(pool.apply(&TELL, remote), Duration::from_millis(5)).await;
        assert!(late.is_err());
        if let Ok(pid) = queue.try_get() {
            until_yielding(|| is_gone(pid)).await;
        }
        assert_eq!(pool.apply(&SQUARE, 2).await, Ok(4));
    });
}

fn a_dropped_call_that_waits_is_taken_out() {
    with(1, async |pool| {
        let ((began, tell), (go, wait)) = (numbers(), numbers());
        let first = pool.apply(&WAIT, (1, tell.clone(), wait.clone())).start();
        assert_eq!(began.get().await, Ok(1));
        let second = pool.apply(&WAIT, (2, tell.clone(), wait.clone())).start();
        let third = pool.apply(&WAIT, (3, tell, wait)).start();
        assert_eq!((pool.stats().queued, pool.stats().running), (2, 1));
        drop(second);
        assert_eq!(pool.stats().queued, 1);
        for n in 0..2 {
            go.put(&n).await.unwrap();
        }
        assert_eq!((first.await, third.await), (Ok(1), Ok(3)));
        assert_eq!((began.try_get(), began.len()), (Ok(3), 0), "the second has not run");
        assert_eq!(pool.stats().started, 1, "and nothing was killed for it");
    });
}

fn a_dropped_map_is_taken_out_and_killed() {
    with(2, async |pool| {
        for chunk in [1, 4] {
            let (queue, remote) = numbers();
            let map = pool.map(&TELL, vec![remote; 20]).chunk(chunk).start();
            let pids = [queue.get().await.unwrap(), queue.get().await.unwrap()];
            drop(map);
            until_yielding(|| pids.iter().all(|pid| is_gone(*pid))).await;
            assert_eq!(pool.apply(&SQUARE, 2).await, Ok(4));
            assert_eq!((pool.stats().queued, queue.len()), (0, 0), "none of the others has begun");
        }
    });
}

fn values_that_cannot_be_passed_are_errors() {
    filch::run(async {
        let pool = Pool::builder().workers(1).frame_limit(10_000).build().expect("a pool");
        let pid = pool.apply(&PID, ()).await;
        // Two bytes are for its length.
        assert_eq!(pool.apply(&COUNT, vec![0; 9_998]).await, Ok(9_998));
        let large = pool.apply(&COUNT, vec![0; 10_000]).await.unwrap_err();
        assert!(matches!(&large, JobError::Argument { reason } if reason.contains("10000 bytes")), "{large}");
        assert_eq!(pool.apply(&BYTES, 9_998).await.map(|bytes| bytes.len()), Ok(9_998));
        let large = pool.apply(&BYTES, 10_000).await.unwrap_err();
        assert!(matches!(&large, JobError::Output { reason } if reason.contains("10000 bytes")), "{large}");
        let odd = pool.apply(&ODD, Odd).await.unwrap_err();
        assert!(matches!(odd, JobError::Argument { .. }), "{odd}");
        let secret = pool.apply(&SECRET, ()).await.unwrap_err();
        assert!(matches!(secret, JobError::Output { .. }), "{secret}");
        let mixed = pool.map(&COUNT, [vec![0; 3], vec![0; 20_000], vec![0; 5]]).await;
        assert!(matches!(&mixed[..], [Ok(3), Err(JobError::Argument { .. }), Ok(5)]), "{mixed:?}");
        assert_eq!(pool.apply(&PID, ()).await, pid, "no process has suffered");

        // Much more than a socket holds, both ways.
        let pool = Pool::new(1).expect("a pool");
        let counts = pool.map(&COUNT, (1..4).map(|n| vec![1; n << 20])).chunk(3).await;
        assert_eq!(counts, [Ok(1 << 20), Ok(2 << 20), Ok(3 << 20)]);
        let bytes = pool.map(&BYTES, [1 << 20, 3 << 20]).chunk(2).await;
        assert!(bytes.iter().zip([1, 3]).all(|(bytes, n)| bytes.as_ref().unwrap().len() == n << 20));
    });
}

fn jobs_that_are_not_registered_are_refused() {
    static OTHER: Job<u64, u64> = Job::new("other", |n| n);
    static IMPOSTOR: Job<u64, String> = Job::new("square", |n| n.to_string());
    with(1, async |pool| {
        let unknown = pool.apply(&OTHER, 1).await.unwrap_err().to_string();
        assert!(unknown.contains("\"other\" is not registered") && unknown.contains("init"), "{unknown}");
        let impostor = pool.apply(&IMPOSTOR, 1).await.unwrap_err().to_string();
        assert!(impostor.contains("other types"), "{impostor}");
        assert!(pool.map(&OTHER, 0..3).await.iter().all(Result::is_err));
        assert_eq!(pool.stats().started, 0);
    });
}

fn processes_are_replaced_after_so_many_jobs() {
    filch::run(async {
        let pool = Pool::builder().workers(1).max_tasks_per_process(2).build().expect("a pool");
        for chunk in [1, 5] {
            let pids = pool.map(&PID, [(); 6]).chunk(chunk).await;
            let pids: Vec<u32> = pids.into_iter().map(Result::unwrap).collect();
            assert!(pids.chunks(2).all(|pair| pair[0] == pair[1]), "{pids:?}");
            assert_eq!(pids.iter().collect::<BTreeSet<_>>().len(), 3, "{pids:?}");
            until_yielding(|| pids.iter().all(|pid| is_gone(*pid))).await;
        }
        assert_eq!((pool.stats().crashed, pool.stats().killed, pool.stats().started), (0, 0, 6));
    });
}

fn shutdown_waits_for_what_there_is() {
    with(2, async |pool| {
        let jobs = pool.map(&SQUARE, 0..20).start();
        let report = pool.shutdown(LONG).await;
        assert_eq!((report.answered, report.killed.len(), report.dropped), (20, 0, 0));
        assert!(jobs.await.iter().all(Result::is_ok));
        assert_eq!(children(), [0; 0]);
    });
    with(2, async |pool| assert_eq!(pool.shutdown(LONG).await.answered, 0));
}

fn shutdown_kills_after_its_deadline() {
    with(1, async |pool| {
        let (queue, remote) = numbers();
        let stuck = pool.apply(&TELL, remote).start();
        let waiting = pool.map(&SQUARE, 0..3).start();
        let pid = queue.get().await.unwrap();
        let report = pool.shutdown(Duration::ZERO).await;
        assert_eq!((report.killed, report.dropped), (vec!["tell"], 3));
        assert!(is_gone(pid));
        assert_eq!(stuck.await, Err(JobError::Closed));
        assert_eq!(waiting.await, [const { Err::<u64, _>(JobError::Closed) }; 3]);
    });
}

fn a_dropped_pool_kills() {
    with(1, async |pool| {
        let (queue, remote) = numbers();
        let stuck = pool.apply(&TELL, remote).start();
        let waiting = pool.apply(&SQUARE, 3).start();
        let pid = queue.get().await.unwrap();
        drop(pool);
        assert_eq!((stuck.await, waiting.await), (Err(JobError::Closed), Err(JobError::Closed)));
        until_yielding(|| is_gone(pid)).await;
    });
}

fn nothing_is_left_behind() {
    filch::run(async {
        let round = async || {
            let pool = Pool::new(4).expect("a pool");
            let jobs = pool.map(&RAISE, (0..60).map(|n| if n % 5 == 0 { libc::SIGKILL } else { 0 })).await;
            assert_eq!(jobs.iter().filter(|job| job.is_err()).count(), 12);
            let (sockets, others) = pool.apply(&DESCRIPTORS, ()).await.unwrap();
            assert_eq!(sockets, 2, "one connection, which its two threads have");
            assert_eq!(Some(&others), INHERITED.get(), "and nothing of ours");
            let _ = pool.apply(&STUCK, ()).timeout(Duration::from_millis(1)).await;
            pool.shutdown(LONG).await;
        };
        // The first opens what the runtime keeps.
        round().await;
        let before = open().len();
        round().await;
        until_yielding(|| open().len() <= before).await;
        assert_eq!(children(), [0; 0], "no zombie either");
    });
}

fn threads_can_wait() {
    let runtime = filch_tests::workers(1);
    let pool = runtime.block_on(async { Pool::new(2).expect("a pool") });
    // From here on, this is a thread that the runtime does not know.
    assert_eq!(pool.apply(&SQUARE, 5).join(), Ok(25));
    assert_eq!(pool.map(&SQUARE, 0..3).join(), [Ok(0), Ok(1), Ok(4)]);
    let (queue, remote) = runtime.block_on(async { numbers() });
    let mut call = pool.apply(&TELL, remote).start();
    assert_eq!(call.join_timeout(Duration::from_millis(1)), None);
    let pid = runtime.block_on(queue.get()).unwrap();
    drop(call);
    until(|| is_gone(pid));
    assert_eq!(pool.map(&SQUARE, 0..2).start().join_timeout(LONG), Some(vec![Ok(0), Ok(1)]));
    // A blocking job of the runtime is a thread, too, whatever it has got done already.
    let joining = runtime.spawn_blocking(move || {
        assert!(pool.map(&SQUARE, 0..1_000).chunk(100).join().iter().all(Result::is_ok));
        pool.shutdown_blocking(LONG)
    });
    assert_eq!(joining.join_blocking().unwrap().answered, 1_006);
}

fn any_runtime_will_do_and_its_end_is_the_pools() {
    let runtime = filch_tests::single();
    let (pool, call, pid) = runtime.block_on(async {
        let pool = Pool::new(2).expect("a pool");
        let (queue, remote) = numbers();
        assert_eq!(pool.apply(&SQUARE, 5).await, Ok(25));
        let call = pool.apply(&TELL, remote).start();
        (pool, call, queue.get().await.unwrap())
    });
    drop(runtime);
    until(|| is_gone(pid));
    assert_eq!(call.join(), Err(JobError::Closed));
    assert_eq!(pool.apply(&SQUARE, 5).join(), Err(JobError::Closed));
    pool.shutdown_blocking(LONG);
}

fn settings_that_make_no_sense_are_refused() {
    let outside = Pool::new(1).unwrap_err().to_string();
    assert!(outside.contains("no filch runtime"), "{outside}");
    filch::run(async {
        for (pool, text) in [
            (Pool::builder().workers(100_000), "at most 1024"),
            (Pool::builder().frame_limit(1), "from 4096"),
            (Pool::builder().frame_limit(usize::MAX), "to 2147483648"),
            (Pool::builder().max_tasks_per_process(0), "at least 1"),
        ] {
            let error = pool.build().unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
        assert!(Pool::new(0).is_ok(), "as many as there are processors");
    });
}
