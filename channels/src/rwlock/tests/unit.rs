//! Unit tests of the lock for readers and writers: forms, guards, upgrade and downgrade.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

use super::*;
use crate::probe::Wait;
use crate::shim::thread;
use crate::test_util::FakeTask;

static CONST: RwLock<u32> = RwLock::const_new(0);

fn later() -> Instant {
    Instant::now() + Duration::from_secs(3_600)
}

#[test]
fn every_form_writes_and_reads() {
    *CONST.try_write().unwrap() += 1;
    *block_on(CONST.write()) += 1;
    *CONST.write_blocking() += 1;
    *CONST.blocking_write() += 1;
    *CONST.write_timeout(Duration::MAX).unwrap() += 1;
    *CONST.write_deadline(later()).unwrap() += 1;
    let readers = [
        CONST.try_read().unwrap(),
        block_on(CONST.read()),
        CONST.read_blocking(),
        CONST.blocking_read(),
        CONST.read_timeout(Duration::MAX).unwrap(),
        CONST.read_deadline(later()).unwrap(),
    ];
    assert!(readers.iter().all(|reader| **reader == 6));
    assert!(CONST.try_write().is_err());
    assert!(CONST.write_timeout(Duration::ZERO).is_err());
    assert!(CONST.write_deadline(Instant::now()).is_err());
    drop(readers);
    drop(block_on(CONST.upgradable_read()));
    drop(CONST.upgradable_read_blocking());
    drop(CONST.upgradable_read_timeout(Duration::MAX).unwrap());
    drop(CONST.upgradable_read_deadline(later()).unwrap());
    let upgradable = CONST.try_upgradable_read().unwrap();
    assert_eq!((*upgradable, *CONST.try_read().unwrap()), (6, 6));
    assert!(CONST.upgradable_read_deadline(Instant::now()).is_err());
    drop(upgradable);
    let writer = CONST.try_write().unwrap();
    assert!(CONST.read_timeout(Duration::ZERO).is_err());
    assert!(CONST.read_deadline(Instant::now()).is_err());
    assert!(CONST.upgradable_read_timeout(Duration::ZERO).is_err());
    assert!(CONST.try_upgradable_read().is_err());
    assert!(CONST.try_read().is_err());
    drop(writer);
}

#[test]
fn every_owned_form_writes_and_reads() {
    let lock = Arc::new(RwLock::new(0));
    *lock.clone().try_write_owned().unwrap() += 1;
    *block_on(lock.clone().write_owned()) += 1;
    *lock.clone().write_owned_blocking() += 1;
    *lock.clone().write_owned_timeout(Duration::MAX).unwrap() += 1;
    let mut writer = lock.clone().write_owned_deadline(later()).unwrap();
    *writer += 1;
    assert!(Arc::ptr_eq(OwnedRwLockWriteGuard::rwlock(&writer), &lock));
    assert!(lock.clone().try_read_owned().is_err());
    assert!(lock.clone().read_owned_timeout(Duration::ZERO).is_err());
    assert!(lock.clone().read_owned_deadline(Instant::now()).is_err());
    assert!(lock.clone().try_upgradable_read_owned().is_err());
    assert!(lock.clone().upgradable_read_owned_timeout(Duration::ZERO).is_err());
    drop(writer);
    let readers = [
        lock.clone().try_read_owned().unwrap(),
        block_on(lock.clone().read_owned()),
        lock.clone().read_owned_blocking(),
        lock.clone().read_owned_timeout(Duration::MAX).unwrap(),
        lock.clone().read_owned_deadline(later()).unwrap(),
    ];
    assert!(readers.iter().all(|reader| **reader == 5));
    assert!(Arc::ptr_eq(OwnedRwLockReadGuard::rwlock(&readers[0]), &lock));
    assert!(lock.clone().try_write_owned().is_err());
    assert!(lock.clone().write_owned_timeout(Duration::ZERO).is_err());
    assert!(lock.clone().write_owned_deadline(Instant::now()).is_err());
    drop(block_on(lock.clone().upgradable_read_owned()));
    drop(lock.clone().upgradable_read_owned_blocking());
    drop(lock.clone().upgradable_read_owned_timeout(Duration::MAX).unwrap());
    drop(lock.clone().upgradable_read_owned_deadline(later()).unwrap());
    let upgradable = lock.clone().try_upgradable_read_owned().unwrap();
    assert!(Arc::ptr_eq(OwnedRwLockUpgradableReadGuard::rwlock(&upgradable), &lock));
    let weak = Arc::downgrade(&lock);
    drop((lock, readers));
    assert_eq!(*upgradable, 5);
    drop(upgradable);
    assert!(weak.upgrade().is_none());
}

#[test]
fn without_locking() {
    let mut lock = RwLock::<u32>::default();
    *lock.get_mut() = 5;
    assert_eq!(lock.into_inner(), 5);
    assert_eq!(RwLock::from("x").into_inner(), "x");
    let unsized_lock: &RwLock<[u8]> = &RwLock::new([1, 2]);
    unsized_lock.try_write().unwrap()[0] = 3;
    assert_eq!(*unsized_lock.read_blocking(), [3, 2]);
    let owned: Arc<RwLock<dyn Fn() -> u8 + Send + Sync>> = Arc::new(RwLock::new(|| 7));
    assert_eq!((owned.read_owned_blocking())(), 7);
}

#[test]
fn up_and_down() {
    let lock = RwLock::new(0);
    let upgradable = lock.try_upgradable_read().unwrap();
    let reader = lock.try_read().unwrap();
    let upgradable = RwLockUpgradableReadGuard::try_upgrade(upgradable).unwrap_err();
    let upgradable = RwLockUpgradableReadGuard::upgrade_timeout(upgradable, Duration::ZERO).unwrap_err();
    let upgradable = RwLockUpgradableReadGuard::upgrade_deadline(upgradable, Instant::now()).unwrap_err();
    assert_eq!((*upgradable, *reader), (0, 0));
    drop(reader);
    let mut writer = RwLockUpgradableReadGuard::try_upgrade(upgradable).unwrap();
    *writer += 1;
    assert!(lock.try_read().is_err());
    let upgradable = writer.downgrade_to_upgradable();
    assert!(lock.try_read().is_ok() && lock.try_upgradable_read().is_err());
    let mut writer = RwLockUpgradableReadGuard::upgrade_blocking(upgradable);
    *writer += 1;
    let upgradable = writer.downgrade_to_upgradable();
    let upgradable = RwLockUpgradableReadGuard::upgrade_timeout(upgradable, Duration::MAX).unwrap();
    let upgradable = upgradable.downgrade_to_upgradable();
    let upgradable = RwLockUpgradableReadGuard::upgrade_deadline(upgradable, later()).unwrap();
    let upgradable = upgradable.downgrade_to_upgradable();
    let mut writer = block_on(RwLockUpgradableReadGuard::upgrade(upgradable));
    *writer += 1;
    let reader = RwLockUpgradableReadGuard::downgrade(writer.downgrade_to_upgradable());
    assert_eq!((*reader, *lock.try_upgradable_read().unwrap()), (3, 3));
    assert!(lock.try_write().is_err());
    drop(reader);
    let reader = lock.try_write().unwrap().downgrade();
    assert_eq!((*reader, *lock.try_read().unwrap()), (3, 3));
    drop(reader);
    assert!(lock.try_write().is_ok());
}

#[test]
fn up_and_down_owned() {
    type Up = OwnedRwLockUpgradableReadGuard<u32>;
    let lock = Arc::new(RwLock::new(0_u32));
    let upgradable = lock.clone().try_upgradable_read_owned().unwrap();
    let reader = lock.try_read().unwrap();
    let upgradable = Up::try_upgrade(upgradable).unwrap_err();
    let upgradable = Up::upgrade_timeout(upgradable, Duration::ZERO).unwrap_err();
    let upgradable = Up::upgrade_deadline(upgradable, Instant::now()).unwrap_err();
    drop(reader);
    let mut writer = Up::try_upgrade(upgradable).unwrap();
    *writer += 1;
    let mut writer = Up::upgrade_blocking(writer.downgrade_to_upgradable());
    *writer += 1;
    let writer = Up::upgrade_timeout(writer.downgrade_to_upgradable(), Duration::MAX).unwrap();
    let writer = Up::upgrade_deadline(writer.downgrade_to_upgradable(), later()).unwrap();
    let writer = block_on(Up::upgrade(writer.downgrade_to_upgradable()));
    let reader = Up::downgrade(writer.downgrade_to_upgradable());
    assert_eq!((*reader, *lock.try_upgradable_read().unwrap()), (2, 2));
    drop(reader);
    let reader = lock.clone().try_write_owned().unwrap().downgrade();
    assert_eq!((*reader, *lock.try_read().unwrap()), (2, 2));
    drop(reader);
    assert!(lock.try_write().is_ok());
}

#[test]
fn a_part_of_the_value() {
    let lock = RwLock::new((1, Some(2)));
    let reader = RwLockReadGuard::map(lock.try_read().unwrap(), |pair| &pair.0);
    let reader = RwLockReadGuard::try_map(reader, |_| None::<&u8>).unwrap_err();
    assert_eq!(*RwLockReadGuard::try_map(reader, |one| Some(one)).unwrap(), 1);
    let writer = RwLockWriteGuard::try_map(lock.try_write().unwrap(), |_| None::<&mut u8>).unwrap_err();
    let part = RwLockWriteGuard::try_map(writer, |pair| pair.1.as_mut()).unwrap();
    let part = RwLockMappedWriteGuard::try_map(part, |_| None::<&mut u8>).unwrap_err();
    let part = RwLockMappedWriteGuard::try_map(part, |part| Some(part)).unwrap();
    let mut part = RwLockMappedWriteGuard::map(part, |part| part);
    *part += 1;
    assert!(lock.try_read().is_err());
    drop(part);
    *RwLockWriteGuard::map(lock.try_write().unwrap(), |pair| &mut pair.0) += 1;
    RwLockWriteGuard::into_mapped(lock.try_write().unwrap()).0 += 1;
    let writer = lock.try_write().unwrap();
    let writer = RwLockWriteGuard::try_downgrade_map(writer, |_| None::<&u8>).unwrap_err();
    assert!(lock.try_read().is_err(), "still a writer");
    let reader = RwLockWriteGuard::try_downgrade_map(writer, |pair| pair.1.as_ref()).unwrap();
    assert_eq!((*reader, lock.try_read().unwrap().0), (3, 3));
    drop(reader);
    assert_eq!(*RwLockWriteGuard::downgrade_map(lock.try_write().unwrap(), |pair| &pair.0), 3);
    assert!(lock.try_write().is_ok());
}

#[test]
fn a_part_of_the_value_owned() {
    let lock = Arc::new(RwLock::new((1, Some(2))));
    let write = || lock.clone().try_write_owned().unwrap();
    let reader = OwnedRwLockReadGuard::map(lock.clone().try_read_owned().unwrap(), |pair| &pair.0);
    let reader = OwnedRwLockReadGuard::try_map(reader, |_| None::<&u8>).unwrap_err();
    assert_eq!(*OwnedRwLockReadGuard::try_map(reader, |one| Some(one)).unwrap(), 1);
    let writer = OwnedRwLockWriteGuard::try_map(write(), |_| None::<&mut u8>).unwrap_err();
    let part = OwnedRwLockWriteGuard::try_map(writer, |pair| pair.1.as_mut()).unwrap();
    let part = OwnedRwLockMappedWriteGuard::try_map(part, |_| None::<&mut u8>).unwrap_err();
    let part = OwnedRwLockMappedWriteGuard::try_map(part, |part| Some(part)).unwrap();
    let mut part = OwnedRwLockMappedWriteGuard::map(part, |part| part);
    *part += 1;
    assert!(Arc::ptr_eq(OwnedRwLockMappedWriteGuard::rwlock(&part), &lock));
    drop(part);
    *OwnedRwLockWriteGuard::map(write(), |pair| &mut pair.0) += 1;
    OwnedRwLockWriteGuard::into_mapped(write()).0 += 1;
    let writer = OwnedRwLockWriteGuard::try_downgrade_map(write(), |_| None::<&u8>).unwrap_err();
    assert!(lock.try_read().is_err(), "still a writer");
    let reader = OwnedRwLockWriteGuard::try_downgrade_map(writer, |pair| pair.1.as_ref()).unwrap();
    assert_eq!((*reader, lock.try_read().unwrap().0), (3, 3));
    drop(reader);
    assert_eq!(*OwnedRwLockWriteGuard::downgrade_map(write(), |pair| &pair.0), 3);
    assert!(lock.try_write().is_ok());
}

#[test]
fn a_panic_unlocks() {
    let lock = RwLock::new(1);
    let panics = [
        catch_unwind(AssertUnwindSafe(|| {
            let mut writer = lock.write_blocking();
            *writer = 2;
            panic!("with the lock held");
        })),
        catch_unwind(AssertUnwindSafe(|| {
            let _ = RwLockWriteGuard::downgrade_map(lock.write_blocking(), |_| -> &u8 {
                panic!("in the closure")
            });
        })),
        catch_unwind(AssertUnwindSafe(|| {
            let _ = RwLockReadGuard::map(lock.read_blocking(), |_| -> &u8 { panic!("in the closure") });
        })),
    ];
    assert!(panics.iter().all(Result::is_err));
    assert_eq!(*lock.try_write().unwrap(), 2);
}

#[test]
fn debug_never_waits() {
    let lock = Arc::new(RwLock::new(1));
    assert_eq!(format!("{lock:?}"), "RwLock { value: 1, policy: Fair, waiting: 0 }");
    let writer = lock.try_write().unwrap();
    let mut waiting = Box::pin(lock.read());
    assert!(Count::new().poll(waiting.as_mut()).is_pending());
    assert_eq!(format!("{lock:?}"), "RwLock { value: <locked>, policy: Fair, waiting: 1 }");
    drop(waiting);
    assert_eq!(format!("{writer:?} {writer}"), "1 1");
    drop(writer);
    let upgradable = lock.try_upgradable_read().unwrap();
    assert_eq!(format!("{upgradable:?} {:?}", lock.try_read().unwrap()), "1 1");
    let upgrade = RwLockUpgradableReadGuard::upgrade(upgradable);
    let text = format!("{:?} {:?} {upgrade:?}", lock.read(), lock.clone().write_owned());
    assert!(
        ["Reading", "WritingOwned", "Upgrading", "unit.rs"].iter().all(|word| text.contains(word)),
        "{text}"
    );
}

#[test]
fn cancelled_at_each_stage() {
    let lock = RwLock::new(());
    drop((lock.read(), lock.write(), lock.upgradable_read()));
    let held = lock.try_write().unwrap();
    let (mut first, mut second) = (Box::pin(lock.write()), Box::pin(lock.read()));
    let (one, two) = (Count::new(), Count::new());
    assert!(one.poll(first.as_mut()).is_pending());
    assert!(two.poll(second.as_mut()).is_pending());
    drop(held);
    assert_eq!((one.get(), two.get()), (1, 0));
    drop(first);
    assert_eq!(two.get(), 1);
    drop(second);
    // A writer that leaves lets in the readers behind it.
    let reader = lock.try_read().unwrap();
    let (mut writer, mut behind) = (Box::pin(lock.write()), Box::pin(lock.read()));
    let count = Count::new();
    assert!(Count::new().poll(writer.as_mut()).is_pending());
    assert!(count.poll(behind.as_mut()).is_pending());
    drop(writer);
    assert_eq!(count.get(), 1);
    assert!(count.poll(behind.as_mut()).is_ready());
    drop(behind);
    drop(reader);
    assert!(lock.try_write().is_ok());
}

#[test]
fn a_cancelled_upgrade_gives_back_what_it_took_over() {
    let lock = RwLock::new(());
    drop(RwLockUpgradableReadGuard::upgrade(lock.try_upgradable_read().unwrap()));
    assert!(lock.try_write().is_ok(), "before its first poll");
    for leave in [false, true] {
        let upgradable = lock.try_upgradable_read().unwrap();
        let reader = lock.try_read().unwrap();
        let mut upgrade = Box::pin(RwLockUpgradableReadGuard::upgrade(upgradable));
        let (mut next, count) = (Box::pin(lock.upgradable_read()), Count::new());
        let upgrader = Count::new();
        assert!(upgrader.poll(upgrade.as_mut()).is_pending());
        assert!(count.poll(next.as_mut()).is_pending());
        if leave {
            // It was woken, and is dropped before it comes.
            drop(reader);
            assert_eq!(upgrader.get(), 1);
            drop(upgrade);
        } else {
            drop(upgrade);
            drop(reader);
        }
        assert_eq!(count.get(), 1);
        assert!(count.poll(next.as_mut()).is_ready());
        drop(next);
        assert!(lock.try_write().is_ok());
    }
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn polling_on_is_a_mistake() {
    let lock = RwLock::new(());
    let mut reading = pin!(lock.read());
    let _guard = block_on(reading.as_mut());
    let _ = block_on(reading);
}

#[test]
fn the_header_says_what_is_waited_for() {
    let lock = RwLock::new(0);
    let held = lock.try_write().unwrap();
    let task = FakeTask::new(1);
    let (mut reading, line) = (Box::pin(lock.read()), line!());
    assert!(task.poll_one(reading.as_mut()).is_pending());
    let (kind, resource, location) = task.header.wait();
    assert_eq!((kind, resource), (Wait::Lock, &raw const lock.raw as usize));
    assert_eq!((location.unwrap().file(), location.unwrap().line()), (file!(), line));
    drop(held);
}

#[test]
fn threads_and_tasks_share_it() {
    for policy in [RwLockPolicy::Fair, RwLockPolicy::ReadersFirst, RwLockPolicy::WritersFirst] {
        let lock = RwLock::with_policy((0, 0), policy);
        let write = |mut writer: RwLockWriteGuard<'_, (u32, u32)>| {
            writer.0 += 1;
            writer.1 += 1;
        };
        thread::scope(|scope| {
            for id in 0..4 {
                let (lock, write) = (&lock, &write);
                scope.spawn(move || {
                    for _ in 0..300 {
                        match id {
                            0 => write(lock.write_blocking()),
                            1 => write(block_on(lock.write())),
                            2 => {
                                let seen = block_on(lock.upgradable_read());
                                let before = seen.0;
                                let writer = block_on(RwLockUpgradableReadGuard::upgrade(seen));
                                assert_eq!(writer.0, before);
                                write(writer);
                            }
                            _ => {
                                let seen = lock.read_blocking();
                                assert_eq!(seen.0, seen.1);
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(lock.into_inner(), (900, 900));
    }
}

#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<RwLock<u8>>();
    crosses::<Reading<'_, u8>>();
    crosses::<ReadingUpgradableOwned<u8>>();
    crosses::<Writing<'_, u8>>();
    crosses::<Upgrading<'_, u8>>();
    crosses::<UpgradingOwned<u8>>();
    crosses::<RwLockReadGuard<'_, u8>>();
    crosses::<RwLockUpgradableReadGuard<'_, u8>>();
    crosses::<RwLockWriteGuard<'_, u8>>();
    crosses::<RwLockMappedWriteGuard<'_, u8>>();
    crosses::<OwnedRwLockReadGuard<u8>>();
    crosses::<OwnedRwLockUpgradableReadGuard<u8>>();
    crosses::<OwnedRwLockWriteGuard<u8>>();
    crosses::<OwnedRwLockMappedWriteGuard<u8, u8>>();
}
