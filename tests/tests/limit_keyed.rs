//! The promise: each key has a limit of its own, and a key that is idle costs nothing: its limiter is thrown out,
//! and nobody can tell. What is in use stays.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use filch::limit::{Keyed, KeyedError, RateLimiter, TokenBucket, TryAcquireError};
use filch::testing::cancel_at_every_await;
use filch::time::{Duration, Instant, sleep};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[filch::test(paused)]
async fn a_key_does_not_wait_for_another() {
    let hosts = Keyed::new(|_: &String| RateLimiter::new(1, SECOND));
    let start = Instant::now();
    let visit = async |host: &'static str| {
        hosts.acquire(host).await.unwrap();
        (host, start.elapsed())
    };
    let visits = filch::gather(["a", "b", "a", "b", "a"].map(visit)).await;
    let seconds: Vec<_> = visits.into_iter().map(|(host, at)| (host, at.as_millis())).collect();
    assert_eq!(seconds, [("a", 0), ("b", 0), ("a", 1_000), ("b", 1_000), ("a", 2_000)]);
    assert_eq!(hosts.try_acquire("a"), Err(KeyedError::Limited(TryAcquireError::NotYet(SECOND))));
    assert_eq!(hosts.len(), 2);
}

#[filch::test(paused)]
async fn a_key_may_have_another_limit_than_the_next() {
    let users = Keyed::new(|user: &u32| TokenBucket::new(*user as usize, SECOND));
    assert_eq!(users.try_acquire_many(&7, 7), Ok(()));
    assert!(matches!(
        users.acquire_many(&3, 4).await,
        Err(KeyedError::Limited(TryAcquireError::TooMany(error))) if error.capacity() == 3
    ));
    users.penalize(&3, 5 * SECOND).unwrap();
    let start = Instant::now();
    users.acquire(&3).await.unwrap();
    assert_eq!(start.elapsed(), 5 * SECOND);
}

#[filch::test(paused)]
async fn idle_keys_are_thrown_out_and_those_in_use_are_not() {
    let users = Keyed::new(|_: &u64| RateLimiter::new(2, SECOND));
    // A thousand new ones each second, for a minute; and one that is always in use.
    let mut most = 0;
    for second in 0..60 {
        for user in 0..1_000 {
            users.try_acquire(&(second * 1_000 + user)).unwrap();
        }
        users.acquire_many(&u64::MAX, 2).await.unwrap();
        most = most.max(users.len());
        sleep(500 * MS).await;
        assert!(users.try_acquire(&u64::MAX).is_err());
        sleep(500 * MS).await;
    }
    assert!((1_000..=4_100).contains(&most), "{most} at most");
    assert!(users.evict_idle() > 0);
    assert_eq!((users.len(), users.is_empty()), (0, true));
}

#[filch::test(paused)]
async fn what_is_waited_for_is_not_thrown_out() {
    let users = Arc::new(Keyed::new(|_: &u8| RateLimiter::new(1, SECOND)));
    users.acquire(&1).await.unwrap();
    users.penalize(&2, 10 * SECOND).unwrap();
    let held = users.acquire(&3);
    let waits = filch::spawn({
        let users = users.clone();
        async move { users.acquire(&1).await }
    });
    sleep(500 * MS).await;
    assert_eq!((users.evict_idle(), users.len()), (0, 3));
    waits.await.unwrap().unwrap();
    assert_eq!(users.evict_idle(), 0);
    sleep(SECOND).await;
    assert_eq!(users.evict_idle(), 1, "the first; there is a penalty for the second, a future of the third");
    held.await.unwrap();
    sleep(10 * SECOND).await;
    assert_eq!((users.evict_idle(), users.len()), (2, 0));
}

#[filch::test(paused)]
async fn there_are_no_more_keys_than_there_may_be() {
    let users = Keyed::new(|_: &u32| RateLimiter::new(1, SECOND)).max_keys(100);
    for user in 0..100 {
        users.acquire(&user).await.unwrap();
    }
    let error = users.acquire(&100).await.unwrap_err();
    assert_eq!(error, KeyedError::TooManyKeys(100));
    assert_eq!(
        error.to_string(),
        "there are 100 keys in use, and no room for another: see `Keyed::max_keys`"
    );
    assert!(matches!(users.try_acquire(&5), Err(KeyedError::Limited(_))), "it is there already");
    sleep(SECOND).await;
    assert_eq!(users.acquire(&100).await, Ok(()));
    assert_eq!(users.len(), 1);
}

/// Keys that all have the same hash.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Same(u32);

impl Hash for Same {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[filch::test(paused)]
async fn keys_of_the_same_hash_are_told_apart() {
    let keys = Keyed::new(|_: &Same| RateLimiter::new(1, SECOND));
    for round in 0..3 {
        for key in 0..10 {
            assert_eq!(keys.try_acquire(&Same(key)), Ok(()), "{round} {key}");
            assert!(keys.try_acquire(&Same(key)).is_err());
        }
        sleep(SECOND).await;
    }
}

/// A key that uses the map it is in, whenever it is hashed, compared or cloned.
struct Meddler(u8, Arc<std::sync::OnceLock<Arc<Keyed<Meddler, filch::limit::Window>>>>);

impl Meddler {
    fn meddle(&self) {
        if let Some(keys) = self.1.get() {
            assert!(keys.len() < 10);
        }
    }
}

impl Clone for Meddler {
    fn clone(&self) -> Meddler {
        self.meddle();
        Meddler(self.0, self.1.clone())
    }
}

impl PartialEq for Meddler {
    fn eq(&self, other: &Meddler) -> bool {
        self.meddle();
        self.0 == other.0
    }
}

impl Eq for Meddler {}

impl Hash for Meddler {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.meddle();
        state.write_u8(self.0 % 2);
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.meddle();
    }
}

#[test]
fn keys_may_use_the_map_they_are_in() {
    filch_tests::watched(|| {
        let cell = Arc::new(std::sync::OnceLock::new());
        let keys = Arc::new(Keyed::new(|key: &Meddler| {
            key.meddle();
            RateLimiter::new(1, Duration::from_nanos(1))
        }));
        assert!(cell.set(keys.clone()).is_ok());
        let mut passed = HashSet::new();
        for i in 0..12 {
            keys.acquire_blocking(&Meddler(i % 4, cell.clone())).unwrap();
            passed.insert(i % 4);
            keys.evict_idle();
        }
        assert_eq!(passed.len(), 4);
    });
}

#[filch::test(paused)]
async fn who_gives_up_anywhere_has_counted_for_nothing() {
    let report = cancel_at_every_await(async |trial| {
        let keys = Keyed::new(|_: &u8| RateLimiter::new(1, SECOND));
        keys.acquire(&1).await.unwrap();
        let start = Instant::now();
        let passed = trial.run(keys.acquire(&1)).await.is_some();
        keys.acquire(&1).await.unwrap();
        assert_eq!(start.elapsed(), if passed { 2 * SECOND } else { SECOND });
        sleep(SECOND).await;
        assert_eq!(keys.evict_idle(), 1);
    });
    report.await.assert_waited();
}
