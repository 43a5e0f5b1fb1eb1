//! Layer 2, lock. The order in which ranked locks may be taken.
//!
//! Owns the level of a lock and, in builds with debug assertions, the list of all ranked locks that are held,
//! each with its holder and the line that took it. A lock without a level costs one branch there, and in
//! other builds nobody pays anything. Called by `raw` and `all`.
//!
//! A holder is a task, where the probe says which; or else a thread, if it took the lock by a form that
//! blocks. A task of a runtime without the probe cannot be told from others on its thread, so what it takes
//! by `lock()` or `try_lock()` is neither checked nor noted: better no word than a wrong one.
#![forbid(unsafe_code)]

/// The level of a lock, if it has one.
#[derive(Debug)]
pub(super) struct Rank {
    level: Option<u32>,
    #[cfg(debug_assertions)]
    key: tracking::Key,
}

/// How a lock is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    Async,
    Try,
    Blocking,
}

impl Rank {
    pub(super) const fn new(level: Option<u32>) -> Rank {
        Rank {
            level,
            #[cfg(debug_assertions)]
            key: tracking::Key::new(),
        }
    }

    pub(super) fn level(&self) -> Option<u32> {
        self.level
    }
}

#[cfg(not(debug_assertions))]
mod tracking {
    use std::panic::Location;

    impl super::Rank {
        #[inline(always)]
        pub(in crate::lock) fn check(&self, _: super::Form, _: &'static Location<'static>) {}

        #[inline(always)]
        pub(in crate::lock) fn check_again(&self, _: super::Form, _: &'static Location<'static>) {}

        #[inline(always)]
        pub(in crate::lock) fn took(&self, _: super::Form, _: &'static Location<'static>) {}

        #[inline(always)]
        pub(in crate::lock) fn gave_back(&self) {}
    }
}

#[cfg(debug_assertions)]
mod tracking {
    use std::collections::BTreeMap;
    use std::panic::Location;

    use super::{Form, Rank};
    use crate::probe;
    use crate::shim::Ordering::Relaxed;
    use crate::shim::report::{AtomicU64, Mutex};
    use crate::shim::thread_number;

    /// What stands for a lock in the list, wherever it is moved to; `0` until it is first taken.
    #[derive(Debug)]
    pub(in crate::lock) struct Key(AtomicU64);

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Who {
        Task(u64),
        Thread(u64),
    }

    #[derive(Clone, Copy, Debug)]
    struct Held {
        who: Who,
        level: u32,
        location: &'static Location<'static>,
    }

    /// Nothing foreign is run while this is locked.
    static HELD: Mutex<BTreeMap<u64, Held>> = Mutex::new(BTreeMap::new());

    fn held<R>(f: impl FnOnce(&mut BTreeMap<u64, Held>) -> R) -> R {
        f(&mut HELD.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    fn who(form: Form) -> Option<Who> {
        match (probe::current_id(), form) {
            (0, Form::Blocking) => Some(Who::Thread(thread_number())),
            (0, _) => None,
            (id, _) => Some(Who::Task(id)),
        }
    }

    impl Key {
        pub(in crate::lock) const fn new() -> Key {
            Key(AtomicU64::new(0))
        }

        fn get(&self) -> u64 {
            static NEXT: AtomicU64 = AtomicU64::new(1);
            // Ordering: Relaxed: only the holder of the lock comes here, so no two do at once.
            if self.0.load(Relaxed) == 0 {
                self.0.store(NEXT.fetch_add(1, Relaxed), Relaxed);
            }
            self.0.load(Relaxed)
        }
    }

    impl Drop for Key {
        fn drop(&mut self) {
            // The lock goes while it is held: a guard was leaked.
            if *self.0.get_mut() != 0 {
                held(|held| held.remove(self.0.get_mut()));
            }
        }
    }

    impl Rank {
        /// Panics if whoever asks holds a lock of this level or a higher one.
        #[inline]
        #[track_caller]
        pub(in crate::lock) fn check(&self, form: Form, location: &'static Location<'static>) {
            if let (Some(level), true) = (self.level(), form != Form::Try) {
                check(level, 0, form, location);
            }
        }

        /// [`check`](Self::check), for whoever has this very lock, gives it back and will take it again.
        #[track_caller]
        pub(in crate::lock) fn check_again(&self, form: Form, location: &'static Location<'static>) {
            if let Some(level) = self.level() {
                check(level, self.key.get(), form, location);
            }
        }

        /// Notes that the lock was taken.
        #[inline]
        pub(in crate::lock) fn took(&self, form: Form, location: &'static Location<'static>) {
            if let (Some(level), Some(who)) = (self.level(), who(form)) {
                held(|held| held.insert(self.key.get(), Held { who, level, location }));
            }
        }

        /// Notes that the lock is free, or about to be.
        #[inline]
        pub(in crate::lock) fn gave_back(&self) {
            if self.level().is_some() {
                held(|held| held.remove(&self.key.get()));
            }
        }
    }

    #[cold]
    #[track_caller]
    fn check(level: u32, but: u64, form: Form, location: &'static Location<'static>) {
        let Some(who) = who(form) else { return };
        let highest = held(|held| {
            let mine = held.iter().filter(|(key, held)| held.who == who && **key != but);
            mine.map(|(_, held)| *held).max_by_key(|held| held.level)
        });
        if let Some(held) = highest.filter(|held| held.level >= level) {
            let party = if matches!(who, Who::Task(_)) { "task" } else { "thread" };
            panic!(
                "locks out of order: a lock of level {level} is to be taken at {location}, by a {party} that \
                 holds one of level {} since {}; levels must go up",
                held.level, held.location
            );
        }
    }
}
