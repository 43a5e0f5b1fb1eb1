//! `Lock`, `RwLock`, `Condition`: against who is inside, and who is in line.

use filch::sync::{
    Condition, Lock, LockGuard, RwLock, RwLockPolicy, RwLockReadGuard, RwLockUpgradableReadGuard,
    RwLockWriteGuard,
};
use proptest::prelude::*;

use crate::{Line, config};

#[derive(Clone, Debug)]
enum Step {
    /// Comes, and wants to read, to write, or to read and perhaps write later.
    Come(usize),
    /// The same without waiting.
    Try(usize),
    Poll(usize),
    GiveUp(usize),
    Release(usize),
    /// From writing to reading, or from upgradable to writing; notifies one.
    Change(usize),
    /// Notifies all.
    All,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize).prop_map(Step::Come),
        2 => (0..3_usize).prop_map(Step::Try),
        7 => (0..8_usize).prop_map(Step::Poll),
        3 => (0..8_usize).prop_map(Step::GiveUp),
        4 => (0..8_usize).prop_map(Step::Release),
        2 => (0..8_usize).prop_map(Step::Change),
        1 => Just(Step::All),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..80)
}

/// The one that a number means; one that comes for the first time gets behind all others first.
fn next_to_poll<K, T>(line: &mut Line<'_, K, T>, number: usize) -> Option<usize> {
    let index = line.pick(number)?;
    if line.0[index].polled {
        return Some(index);
    }
    let newcomer = line.0.remove(index);
    line.0.push(newcomer);
    Some(line.0.len() - 1)
}

fn one_at_a_time(steps: Vec<Step>, fair: bool) {
    let lock = if fair { Lock::fair(0_u64) } else { Lock::new(0) };
    let mut line: Line<'_, (), LockGuard<'_, u64>> = Line::new();
    let mut held: Option<LockGuard<'_, u64>> = None;
    let mut takes = 0;
    let mut take = |held: &mut Option<LockGuard<'_, u64>>| {
        let guard = held.as_mut().expect("it was taken");
        assert_eq!(**guard, takes, "what the last one left");
        **guard += 1;
        takes += 1;
    };
    for step in steps {
        match step {
            Step::Come(_) => line.add((), lock.lock()),
            Step::Try(_) => match lock.try_lock() {
                Ok(guard) => {
                    assert!(held.is_none(), "two have it");
                    held = Some(guard);
                    take(&mut held);
                }
                Err(_) => assert!(held.is_some() || line.0.iter().any(|waits| waits.polled)),
            },
            Step::Poll(number) => {
                let Some(index) = next_to_poll(&mut line, number) else { continue };
                let behind = line.0[..index].iter().any(|waits| waits.polled);
                match line.poll(index) {
                    Some(((), guard)) => {
                        assert!(held.is_none(), "two have it");
                        assert!(!fair || !behind, "it went ahead of others");
                        held = Some(guard);
                        take(&mut held);
                    }
                    None => assert!(held.is_some() || behind, "it is free, and nobody comes first"),
                }
            }
            Step::GiveUp(number) => {
                line.pick(number).into_iter().for_each(|index| _ = line.drop_one(index));
            }
            Step::Release(_) => held = None,
            Step::Change(_) | Step::All => {}
        }
        assert_eq!(lock.is_locked(), held.is_some());
    }
    drop(held);
    line.settle(|(), guard| drop(guard));
    assert!(line.0.is_empty(), "{} wait for a lock that is free", line.0.len());
    assert!(lock.try_lock().is_ok());
}

enum Access<'a> {
    Read(RwLockReadGuard<'a, u64>),
    Upgradable(RwLockUpgradableReadGuard<'a, u64>),
    Write(RwLockWriteGuard<'a, u64>),
}

const READ: usize = 0;
const UPGRADABLE: usize = 1;
const WRITE: usize = 2;

fn kind(access: &Access<'_>) -> usize {
    match access {
        Access::Read(_) => READ,
        Access::Upgradable(_) => UPGRADABLE,
        Access::Write(_) => WRITE,
    }
}

/// Whether one more access of this kind goes with those that are there.
fn goes_with(inside: &[Access<'_>], more: usize) -> bool {
    let kinds = || inside.iter().map(kind);
    match more {
        READ => kinds().all(|kind| kind != WRITE),
        UPGRADABLE => kinds().all(|kind| kind == READ),
        _ => inside.is_empty(),
    }
}

async fn access(lock: &RwLock<u64>, kind: usize) -> Access<'_> {
    match kind {
        READ => Access::Read(lock.read().await),
        UPGRADABLE => Access::Upgradable(lock.upgradable_read().await),
        _ => Access::Write(lock.write().await),
    }
}

fn try_access(lock: &RwLock<u64>, kind: usize) -> Option<Access<'_>> {
    match kind {
        READ => lock.try_read().ok().map(Access::Read),
        UPGRADABLE => lock.try_upgradable_read().ok().map(Access::Upgradable),
        _ => lock.try_write().ok().map(Access::Write),
    }
}

fn many_read_or_one_writes(steps: Vec<Step>, policy: RwLockPolicy) {
    let lock = RwLock::with_policy(0, policy);
    let mut line: Line<'_, usize, Access<'_>> = Line::new();
    let mut inside: Vec<Access<'_>> = Vec::new();
    let mut written = 0;
    let mut enter = |inside: &[Access<'_>], access: &mut Access<'_>| {
        assert!(goes_with(inside, kind(access)), "it does not go with who is inside");
        match access {
            Access::Read(value) => assert_eq!(**value, written),
            Access::Upgradable(value) => assert_eq!(**value, written),
            Access::Write(value) => {
                assert_eq!(**value, written);
                written += 1;
                **value = written;
            }
        }
    };
    for step in steps {
        match step {
            Step::Come(kind) => line.add(kind, access(&lock, kind)),
            Step::Try(kind) => match try_access(&lock, kind) {
                Some(mut access) => {
                    enter(&inside, &mut access);
                    inside.push(access);
                }
                None => assert!(!goes_with(&inside, kind) || line.0.iter().any(|waits| waits.polled)),
            },
            Step::Poll(number) => {
                let Some(index) = next_to_poll(&mut line, number) else { continue };
                let alone = !line.0.iter().enumerate().any(|(at, waits)| at != index && waits.polled);
                let wants = line.0[index].key;
                let fits = goes_with(&inside, wants);
                match line.poll(index) {
                    Some((_, mut access)) => {
                        enter(&inside, &mut access);
                        inside.push(access);
                    }
                    None => assert!(!fits || !alone, "it fits, and nobody else waits"),
                }
            }
            Step::GiveUp(number) => {
                line.pick(number).into_iter().for_each(|index| _ = line.drop_one(index));
            }
            Step::Release(number) => {
                number.checked_rem(inside.len()).into_iter().for_each(|at| drop(inside.swap_remove(at)));
            }
            Step::Change(number) => {
                let Some(at) = number.checked_rem(inside.len()) else { continue };
                let changed = match inside.swap_remove(at) {
                    Access::Read(read) => Access::Read(read),
                    Access::Write(write) => Access::Read(write.downgrade()),
                    Access::Upgradable(read) => match RwLockUpgradableReadGuard::try_upgrade(read) {
                        Ok(write) => {
                            assert!(inside.is_empty(), "others read");
                            Access::Write(write)
                        }
                        Err(read) => Access::Upgradable(read),
                    },
                };
                inside.push(changed);
            }
            Step::All => {}
        }
    }
    inside.clear();
    line.settle(|_, access| drop(access));
    assert!(line.0.is_empty(), "{} wait for a lock that is free", line.0.len());
    assert_eq!(*lock.try_write().expect("it is free"), written);
}

/// By what a waiter of the condition was notified, if it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    No,
    ByOne,
    ByAll,
}

fn notifications_reach_whom_they_should(steps: Vec<Step>) {
    let (lock, condition) = (Lock::new(()), Condition::new());
    let mut line: Line<'_, Told, LockGuard<'_, ()>> = Line::new();
    let notify_one = |line: &mut Line<'_, Told, LockGuard<'_, ()>>| {
        let first = line.0.iter_mut().find(|waits| waits.key == Told::No);
        first.map(|waits| waits.key = Told::ByOne).is_some()
    };
    for step in steps {
        match step {
            Step::Come(_) => {
                let guard = lock.try_lock().expect("nobody has it between two steps");
                line.add(Told::No, condition.wait(guard));
                let index = line.0.len() - 1;
                assert!(line.poll(index).is_none() && !lock.is_locked());
            }
            Step::Poll(number) => {
                let Some(index) = line.pick(number) else { continue };
                let told = line.0[index].key != Told::No;
                assert_eq!(line.is_woken(index), told);
                assert_eq!(line.poll(index).is_some(), told);
            }
            Step::GiveUp(number) => {
                let Some(index) = line.pick(number) else { continue };
                // What was meant for one goes to the next.
                if line.drop_one(index).0 == Told::ByOne {
                    notify_one(&mut line);
                }
            }
            Step::Change(_) => assert_eq!(condition.notify_one(), notify_one(&mut line)),
            Step::All => {
                let waiting = line.0.iter_mut().filter(|waits| waits.key == Told::No);
                let count = waiting.map(|waits| waits.key = Told::ByAll).count();
                assert_eq!(condition.notify_all(), count);
            }
            Step::Try(_) | Step::Release(_) => {}
        }
    }
    condition.notify_all();
    line.settle(|_, guard| drop(guard));
    assert!(line.0.is_empty() && !lock.is_locked());
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_lock_is_had_by_one(steps in steps(), fair in any::<bool>()) {
        one_at_a_time(steps, fair);
    }

    #[test]
    fn a_rw_lock_is_read_by_many_or_written_by_one(steps in steps(), policy in 0..3_usize) {
        let policies = [RwLockPolicy::Fair, RwLockPolicy::ReadersFirst, RwLockPolicy::WritersFirst];
        many_read_or_one_writes(steps, policies[policy]);
    }

    #[test]
    fn a_condition_notifies_in_order_and_forgets_nobody(steps in steps()) {
        notifications_reach_whom_they_should(steps);
    }
}
