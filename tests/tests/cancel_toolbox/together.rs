//! What needs a runtime, for its tasks or its timers: groups, shields, clean-up, and waits with a limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use filch::cleanup::{ExitStack, Opened};
use filch::gather::Wait;
use filch::stream::StreamExt;
use filch::testing::Ledger;
use filch::time::{Duration, Instant, sleep};
use filch::{AsyncResource, TaskGroup, defer};

use crate::turns;

const MS: Duration = Duration::from_millis(1);

/// Three children, done in the order of their numbers.
fn group() -> TaskGroup<usize> {
    let group = TaskGroup::new();
    for n in 0..3 {
        group.spawn(async move {
            sleep((n as u32 + 1) * MS).await;
            n
        });
    }
    group
}

fn counter() -> (Arc<AtomicUsize>, impl Fn() + Clone + Send + 'static) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    (count, move || _ = counted.fetch_add(1, Relaxed))
}

/// Waits, and counts.
async fn work(count: impl Fn()) {
    turns(2).await;
    count();
}

/// Counts how often it was opened, and closed.
struct Door([Arc<AtomicUsize>; 2]);

impl AsyncResource for Door {
    type Value = Arc<AtomicUsize>;
    type Error = ();

    async fn open(self) -> Result<Arc<AtomicUsize>, ()> {
        turns(1).await;
        let [opened, closed] = self.0;
        opened.fetch_add(1, Relaxed);
        Ok(closed)
    }

    async fn close(closed: Arc<AtomicUsize>) -> Result<(), ()> {
        turns(2).await;
        closed.fetch_add(1, Relaxed);
        Ok(())
    }
}

operations! {
    by paused:

    join: "TaskGroup::join" => async |trial| {
        let group = group();
        let outputs = match trial.run(group.join()).await {
            Some(outputs) => outputs,
            None => group.join().await,
        };
        assert_eq!(outputs.unwrap(), [0, 1, 2]);
    };
    settled: "TaskGroup::settled" => async |trial| {
        let group = group();
        let results = match trial.run(group.settled()).await {
            Some(results) => results,
            None => group.settled().await,
        };
        assert!(results.into_iter().map(Result::unwrap).eq(0..3));
    };
    join_next: "TaskGroup::join_next", "Completed::next", "Completed as Stream" => async |trial| {
        let group = group();
        let (mut done, mut seen) = (group.as_completed(), Vec::new());
        let all = async {
            seen.extend(group.join_next().await.map(|(_, n)| n.unwrap()));
            seen.extend(done.next().await.map(|(_, n)| n.unwrap()));
            seen.extend(StreamExt::next(&mut done).await.map(|(_, n)| n.unwrap()));
        };
        trial.run(all).await;
        drop(done);
        seen.extend(group.join().await.unwrap());
        assert_eq!(seen, [0, 1, 2]);
    };
    shield: "shield" => async |trial| {
        let (count, counted) = counter();
        let fate = trial.fate();
        trial.run(filch::shield(work(counted))).await;
        sleep(MS).await;
        // It goes on, as soon as it was made.
        assert_eq!(count.load(Relaxed), 1, "{fate:?}");
    };
    wait_with_a_limit: "Waiting::timeout", "Waiting::deadline" => async |trial| {
        let ledger = Ledger::new();
        let child = |n: usize| {
            let message = ledger.message(n);
            Box::pin(async move {
                sleep((n as u32 + 1) * MS).await;
                message.id()
            })
        };
        let mut all = [child(0), child(1), child(2)];
        let limited = async {
            let (done, pending) = filch::wait(&mut all, Wait::All).timeout(MS + MS / 2).await;
            assert_eq!((done, pending.len()), (vec![(0, 0)], 2));
            filch::wait(pending.into_iter().map(|(_, child)| child), Wait::All).deadline(Instant::now() + MS).await
        };
        if let Some((done, pending)) = trial.run(limited).await {
            assert_eq!((done, pending.len()), (vec![(0, 1)], 1));
        }
        drop(all);
        ledger.assert_settled();
    };
    as_completed_with_a_limit: "Limited as Stream", "Limited::next" => async |trial| {
        let ledger = Ledger::new();
        let child = |n: usize| {
            let message = ledger.message(n);
            async move {
                sleep((n as u32 + 1) * MS).await;
                message.id()
            }
        };
        let mut all = filch::as_completed((0..3).map(child)).timeout(2 * MS + MS / 2);
        let mut seen = Vec::from_iter(trial.run(all.next()).await.flatten());
        while let Some(next) = StreamExt::next(&mut all).await {
            seen.push(next);
        }
        assert!(matches!(seen[..], [Ok(0), Ok(1), Err(_)]), "{seen:?}");
        drop(all);
        ledger.assert_settled();
    };

    deferred: "Deferred::run", "ExitStack::close" => async |trial| {
        let (count, counted) = counter();
        let (deferred, mut stack) = (defer(work(counted.clone())), ExitStack::new());
        stack.push(work(counted.clone()));
        stack.push(work(counted));
        let all = async {
            deferred.run().await;
            stack.close().await;
        };
        trial.run(all).await;
        drop(stack);
        sleep(MS).await;
        assert_eq!(count.load(Relaxed), 3, "each once, by whomever");
    };
    with: "with" => async |trial| {
        let [opened, closed] = [(); 2].map(|()| Arc::<AtomicUsize>::default());
        let door = Door([opened.clone(), closed.clone()]);
        trial.run(filch::with(door, async |_: Opened<Door>| turns(1).await)).await;
        sleep(MS).await;
        let (opened, closed) = (opened.load(Relaxed), closed.load(Relaxed));
        assert!(opened == closed && opened <= 1, "opened {opened} times, closed {closed}");
    };
}
