//! Models of the lock for readers and writers: every interleaving under loom, a stress test elsewhere.

use super::*;
use crate::shim::{model, thread};

type Locked = Arc<RwLock<usize>>;

fn policies() -> [RwLockPolicy; 3] {
    [RwLockPolicy::Fair, RwLockPolicy::ReadersFirst, RwLockPolicy::WritersFirst]
}

fn write(lock: &Locked) -> thread::JoinHandle<()> {
    let lock = lock.clone();
    thread::spawn(move || *block_on(lock.write()) += 1)
}

#[test]
fn rw1_model_writers_and_a_reader() {
    model(|| {
        let lock = Arc::new(RwLock::new(0));
        let writer = write(&lock);
        let blocking = {
            let lock = lock.clone();
            thread::spawn(move || *lock.write_blocking() += 1)
        };
        let seen = *block_on(lock.read());
        assert!(seen <= 2);
        writer.join().unwrap();
        blocking.join().unwrap();
        assert_eq!(*lock.try_read().unwrap(), 2);
    });
}

#[test]
fn rw1_model_each_policy() {
    for policy in policies() {
        model(move || {
            let lock = Arc::new(RwLock::with_policy(0, policy));
            let writer = write(&lock);
            let reader = {
                let lock = lock.clone();
                thread::spawn(move || *block_on(lock.read()))
            };
            *lock.write_blocking() += 1;
            writer.join().unwrap();
            assert!(reader.join().unwrap() <= 2);
            assert_eq!(*lock.try_write().unwrap(), 2);
        });
    }
}

/// A writer in line is dropped while the reader before it leaves: the reader behind it gets in.
#[test]
fn rw2_model_release_against_a_writer_that_goes() {
    for policy in policies() {
        model(move || {
            let lock = Arc::new(RwLock::with_policy(0, policy));
            let held = lock.clone().try_write_owned().unwrap();
            let mut given_up = Box::pin(lock.clone().write_owned());
            assert!(Count::new().poll(given_up.as_mut()).is_pending());
            let canceller = thread::spawn(move || drop(given_up));
            let releaser = thread::spawn(move || drop(held.downgrade()));
            assert_eq!(*block_on(lock.read()), 0);
            canceller.join().unwrap();
            releaser.join().unwrap();
            assert!(lock.try_write().is_ok());
        });
    }
}

/// An upgrade, a reader that leaves, and a writer that waits.
#[test]
fn model_upgrade_against_a_reader_and_a_writer() {
    model(|| {
        let lock = Arc::new(RwLock::new(0));
        let upgradable = block_on(lock.clone().upgradable_read_owned());
        let reader = lock.clone().try_read_owned().unwrap();
        let leaver = thread::spawn(move || drop(reader));
        let writer = write(&lock);
        let mut upgraded = block_on(OwnedRwLockUpgradableReadGuard::upgrade(upgradable));
        assert_eq!(*upgraded, 0, "nobody writes in between");
        *upgraded += 1;
        drop(upgraded);
        leaver.join().unwrap();
        writer.join().unwrap();
        assert_eq!(*lock.try_write().unwrap(), 2);
    });
}

/// An upgrade is dropped while the reader that it waits for leaves.
#[test]
fn model_upgrade_against_cancel() {
    model(|| {
        let lock = Arc::new(RwLock::new(0));
        let upgradable = block_on(lock.clone().upgradable_read_owned());
        let reader = lock.clone().try_read_owned().unwrap();
        let mut upgrade = Box::pin(OwnedRwLockUpgradableReadGuard::upgrade(upgradable));
        assert!(Count::new().poll(upgrade.as_mut()).is_pending());
        let leaver = thread::spawn(move || drop(reader));
        let canceller = thread::spawn(move || drop(upgrade));
        *block_on(lock.write()) += 1;
        leaver.join().unwrap();
        canceller.join().unwrap();
        assert_eq!(*lock.try_write().unwrap(), 1);
    });
}

#[test]
fn rw2_model_downgrade_lets_readers_in() {
    model(|| {
        let lock = Arc::new(RwLock::new(0));
        let mut writer = lock.clone().try_write_owned().unwrap();
        let reader = {
            let lock = lock.clone();
            thread::spawn(move || *block_on(lock.read()))
        };
        let other = write(&lock);
        *writer += 1;
        let mine = writer.downgrade();
        assert_eq!(*mine, 1);
        drop(mine);
        assert!((1..=2).contains(&reader.join().unwrap()));
        other.join().unwrap();
        assert_eq!(*lock.try_write().unwrap(), 2);
    });
}
