//! Who goes first, under each policy: the order in which a line of readers and writers is served.

use std::task::Poll;

use super::*;
use crate::shim::Ordering::SeqCst;
use crate::test_util::FakeTask;

const POLICIES: [RwLockPolicy; 3] =
    [RwLockPolicy::Fair, RwLockPolicy::ReadersFirst, RwLockPolicy::WritersFirst];

/// A guard of any kind, kept until it is dropped.
trait Guard {}
impl<T> Guard for T {}
type Held<'a> = Box<dyn Guard + 'a>;

/// Somebody in line: a reader, an upgradable reader or a writer.
struct Party<'a> {
    name: char,
    future: Pin<Box<dyn Future<Output = Held<'a>> + 'a>>,
    count: Arc<Count>,
}

fn party<'a>(lock: &'a RwLock<u8>, name: char) -> Party<'a> {
    let future: Pin<Box<dyn Future<Output = Held<'a>> + 'a>> = match name {
        'r' => Box::pin(async { Box::new(lock.read().await) as Held<'a> }),
        'u' => Box::pin(async { Box::new(lock.upgradable_read().await) as Held<'a> }),
        _ => Box::pin(async { Box::new(lock.write().await) as Held<'a> }),
    };
    Party { name, future, count: Count::new() }
}

/// Lets all of `names` get in line behind a writer, and then serves whoever is woken, in turn; returns who was
/// in at the same time, step by step.
fn served(policy: RwLockPolicy, names: &str) -> Vec<String> {
    let lock = RwLock::with_policy(0, policy);
    let mut held: Vec<Held<'_>> = vec![Box::new(lock.try_write().unwrap())];
    let mut line: Vec<_> = names.chars().map(|name| party(&lock, name)).collect();
    for party in &mut line {
        assert!(party.count.poll(party.future.as_mut()).is_pending());
    }
    let mut steps = Vec::new();
    while !line.is_empty() {
        held.clear();
        let mut names = String::new();
        // All who are woken come, and wake others, until nobody is.
        while let Some(at) = line.iter().position(|party| party.count.get() > 0) {
            let mut party = line.remove(at);
            match party.count.clone().poll(party.future.as_mut()) {
                Poll::Ready(guard) => {
                    names.push(party.name);
                    held.push(guard);
                }
                Poll::Pending => panic!("woken for nothing"),
            }
        }
        assert!(!names.is_empty(), "nobody was woken");
        steps.push(names);
    }
    steps
}

#[test]
fn the_order_of_a_line() {
    assert_eq!(served(RwLockPolicy::Fair, "rwrrwwr"), ["r", "w", "rr", "w", "w", "r"]);
    assert_eq!(served(RwLockPolicy::ReadersFirst, "rwrrwwr"), ["rrrr", "w", "w", "w"]);
    assert_eq!(served(RwLockPolicy::WritersFirst, "rwrrwwr"), ["w", "w", "w", "rrrr"]);
    // An upgradable reader is a reader, of which there is one at a time.
    assert_eq!(served(RwLockPolicy::Fair, "rurwur"), ["rur", "w", "ur"]);
    assert_eq!(served(RwLockPolicy::ReadersFirst, "wuru"), ["ur", "u", "w"]);
    assert_eq!(served(RwLockPolicy::WritersFirst, "uruw"), ["w", "ur", "u"]);
}

/// Whether a newcomer that reads gets in beside a reader while a writer waits.
#[test]
fn a_waiting_writer_and_a_newcomer_that_reads() {
    for policy in POLICIES {
        let lock = RwLock::with_policy(0, policy);
        let reader = lock.try_read().unwrap();
        let mut writer = Box::pin(lock.write());
        let count = Count::new();
        assert!(count.poll(writer.as_mut()).is_pending());
        let readers_pass = policy == RwLockPolicy::ReadersFirst;
        assert_eq!(lock.try_read().is_ok(), readers_pass);
        assert_eq!(lock.read_timeout(Duration::ZERO).is_ok(), readers_pass);
        assert_eq!(Count::new().poll(Box::pin(lock.read()).as_mut()).is_ready(), readers_pass);
        assert_eq!(lock.try_upgradable_read().is_ok(), readers_pass);
        drop(reader);
        assert!(count.poll(writer.as_mut()).is_ready());
    }
}

/// Readers that overlap for ever: a writer gets through after the one that was there, but under the policy
/// that says otherwise.
#[test]
fn a_flood_of_readers() {
    for policy in POLICIES {
        let lock = RwLock::with_policy(0, policy);
        let mut current = Some(lock.try_read().unwrap());
        let mut writer = Box::pin(lock.write());
        let count = Count::new();
        let mut waiting = Vec::new();
        let mut served = None;
        for round in 0..100 {
            if served.is_none() && count.poll(writer.as_mut()).is_ready() {
                served = Some(round);
            }
            // The next reader comes before the last one leaves.
            let mut next = Box::pin(lock.read());
            match Count::new().poll(next.as_mut()) {
                Poll::Ready(guard) => drop(current.replace(guard)),
                Poll::Pending => {
                    waiting.push(next);
                    current = None;
                }
            }
        }
        let expected = if policy == RwLockPolicy::ReadersFirst { None } else { Some(1) };
        assert_eq!(served, expected, "{policy:?}");
    }
}

/// The same with writers that follow each other, and a reader.
#[test]
fn a_flood_of_writers() {
    for policy in POLICIES {
        let lock = RwLock::with_policy(0, policy);
        let mut current = lock.try_write().unwrap();
        let mut reader = Box::pin(lock.read());
        let count = Count::new();
        assert!(count.poll(reader.as_mut()).is_pending());
        let mut writers_before = 0;
        while count.get() == 0 && writers_before < 100 {
            let mut next = Box::pin(lock.write());
            let next_count = Count::new();
            assert!(next_count.poll(next.as_mut()).is_pending());
            drop(current);
            match next_count.poll(next.as_mut()) {
                Poll::Ready(guard) => current = guard,
                Poll::Pending => break,
            }
            writers_before += 1;
        }
        let expected = if policy == RwLockPolicy::WritersFirst { 100 } else { 0 };
        assert_eq!(writers_before, expected, "{policy:?}");
    }
}

/// A newcomer that writes gets in line before the readers that were woken and have not come yet.
#[test]
fn writers_first_is_a_matter_of_the_line() {
    let lock = RwLock::with_policy(0, RwLockPolicy::WritersFirst);
    let held = lock.try_write().unwrap();
    let (mut reader, reader_count) = (Box::pin(lock.read()), Count::new());
    assert!(reader_count.poll(reader.as_mut()).is_pending());
    drop(held);
    assert_eq!(reader_count.get(), 1);
    let (mut writer, writer_count) = (Box::pin(lock.write()), Count::new());
    let Poll::Ready(guard) = writer_count.poll(writer.as_mut()) else { panic!("it is free") };
    assert!(reader_count.poll(reader.as_mut()).is_pending());
    drop(guard);
    assert_eq!(reader_count.get(), 2);
    assert!(reader_count.poll(reader.as_mut()).is_ready());
}

#[test]
fn an_upgrade_goes_before_everybody() {
    for policy in POLICIES {
        let lock = RwLock::with_policy(0, policy);
        let upgradable = lock.try_upgradable_read().unwrap();
        let reader = lock.try_read().unwrap();
        let mut line: Vec<_> = ['w', 'r', 'w', 'u'].map(|name| party(&lock, name)).into();
        line.retain_mut(|party| party.count.poll(party.future.as_mut()).is_pending());
        let mut upgrade = Box::pin(RwLockUpgradableReadGuard::upgrade(upgradable));
        let count = Count::new();
        assert!(count.poll(upgrade.as_mut()).is_pending());
        drop(reader);
        assert_eq!(count.get(), 1, "{policy:?}");
        let Poll::Ready(mut guard) = count.poll(upgrade.as_mut()) else { panic!("{policy:?}") };
        *guard += 1;
        assert!(line.iter().all(|party| party.count.get() == 0));
        drop(guard);
        assert!(line.iter().any(|party| party.count.get() == 1));
    }
}

/// A task keeps a future that it does not poll, and asks once more: it does not wait for itself, nor do others
/// for it.
#[test]
fn a_future_that_nobody_polls_keeps_nobody_out() {
    for policy in POLICIES {
        let lock = RwLock::with_policy(0, policy);
        let held = lock.try_write().unwrap();
        let (sleeper, other) = (FakeTask::new(1), FakeTask::new(2));
        let (mut first, mut second) = (Box::pin(lock.write()), Box::pin(lock.read()));
        let mut third = Box::pin(lock.write());
        assert!(sleeper.poll_one(first.as_mut()).is_pending());
        assert!(other.poll_one(third.as_mut()).is_pending());
        drop(held);
        assert_eq!(sleeper.wakes.get(), 1);
        assert!(sleeper.poll_one(second.as_mut()).is_ready());
        sleeper.poll(|_| ());
        assert_eq!(other.wakes.get(), 1);
        let Poll::Ready(guard) = other.poll_one(third.as_mut()) else { panic!("{policy:?}") };
        drop(guard);
        assert!(sleeper.poll_one(first.as_mut()).is_ready());
    }
}

/// Whatever is done in whatever order: readers and writers are never in together, and nobody who could go on is
/// left in line.
#[test]
fn access_is_conserved() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for round in 0..300 {
        let lock = RwLock::with_policy(0, POLICIES[round % 3]);
        let mut line: Vec<Party<'_>> = Vec::new();
        let mut held: Vec<(char, Held<'_>)> = Vec::new();
        let check = |held: &[(char, Held<'_>)]| {
            let count = |kind| held.iter().filter(|(name, _)| *name == kind).count();
            let [r, u, w] = ['r', 'u', 'w'].map(count);
            assert!(w == 0 && u <= 1 || w == 1 && r + u == 0, "{r} {u} {w}");
        };
        for _ in 0..100 {
            match random(5) {
                0 | 1 => line.push(party(&lock, ['r', 'u', 'w'][random(3)])),
                2 if !held.is_empty() => drop(held.swap_remove(random(held.len()))),
                3 if !line.is_empty() => drop(line.swap_remove(random(line.len()))),
                _ if !line.is_empty() => {
                    let at = random(line.len());
                    let count = line[at].count.clone();
                    if let Poll::Ready(guard) = count.poll(line[at].future.as_mut()) {
                        held.push((line.swap_remove(at).name, guard));
                    }
                }
                _ => {}
            }
            check(&held);
        }
        held.clear();
        // Those who never asked do so now; then whoever is woken comes and leaves at once.
        for party in &mut line {
            party.count.0.fetch_add(1, SeqCst);
        }
        while let Some(at) = line.iter().position(|party| party.count.get() > 0) {
            line[at].count.0.store(0, SeqCst);
            let count = line[at].count.clone();
            if count.poll(line[at].future.as_mut()).is_ready() {
                drop(line.swap_remove(at));
            }
        }
        assert!(line.is_empty(), "{} are left, round {round}", line.len());
        assert!(lock.try_write().is_ok());
    }
}
