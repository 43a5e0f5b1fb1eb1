//! Layer 0. The only file of this crate, with its twin in the runtime, that names `std::sync::atomic`,
//! `std::thread` or loom.
//!
//! Owns the choice between the real primitives and loom's, so that every model runs on the code that ships.
//! Under `--cfg filch_loom` all of these are loom's. Atomics come in three kinds, by whose cache line they
//! live on, so that a count of locked operations can be told apart by what they cost on many cores:
//!
//! | module   | the line is written by                                        |
//! |----------|---------------------------------------------------------------|
//! | `owner`  | one thread most of the time (a worker, a timer shard)         |
//! | `task`   | whoever wakes, polls or joins one task, or uses one channel   |
//! | `shared` | every worker of a runtime                                     |
//!
//! The runtime crate uses this file too, through the hidden module `filch_channels::__shim`.
#![allow(missing_docs, missing_debug_implementations)]
#![forbid(unsafe_code)]

#[cfg(filch_loom)]
pub use loom::{
    sync::{Arc, MutexGuard, atomic::Ordering},
    thread,
};
#[cfg(not(filch_loom))]
pub use std::{
    sync::{Arc, MutexGuard, atomic::Ordering},
    thread,
};

#[cfg(filch_loom)]
use loom::sync::atomic as imp;
#[cfg(not(filch_loom))]
use std::sync::atomic as imp;

#[cfg(filch_loom)]
mod mutation;

/// Filled at most once, and never waited for: the value is made before the cell is touched, so std's will do
/// under a model too.
pub use std::sync::OnceLock;

/// A full fence: `SeqCst` in both worlds (loom honours the fence, though not `SeqCst` accesses).
#[inline(always)]
#[cfg_attr(filch_loom, track_caller)]
pub fn fence(order: Ordering) {
    #[cfg(filch_loom)]
    if mutation::lost("fence") {
        return;
    }
    imp::fence(order);
}

/// What orders a `SeqCst` read-modify-write before a later `SeqCst` load of another location, when the other
/// side of the handshake stores, fences and loads.
///
/// The memory model gives that order by itself (and x86 needs no instruction for it), so nothing stands here
/// but under loom, which treats a `SeqCst` access as `AcqRel` and honours the fence only.
#[inline(always)]
#[cfg_attr(filch_loom, track_caller)]
pub fn fence_between_seqcst_accesses() {
    #[cfg(filch_loom)]
    if !mutation::lost("fence") {
        imp::fence(Ordering::SeqCst);
    }
}

/// Whether a model is to lose the wake-up that the caller is about to give: see `mutation.rs`. False but in a model.
#[inline(always)]
#[cfg_attr(filch_loom, track_caller)]
pub fn loses_wake_up() -> bool {
    #[cfg(filch_loom)]
    return mutation::lost("wake");
    #[cfg(not(filch_loom))]
    false
}

/// What one thread parks on, and others unpark it by. An unpark that comes before the park is not lost.
///
/// Under loom it is a flag with a condition variable: loom's own `unpark` sets a thread running whatever it
/// is blocked on, so that one that is about to take a mutex would lose its wake-up.
#[derive(Clone, Debug)]
pub struct Parker(
    #[cfg(not(filch_loom))] thread::Thread,
    #[cfg(filch_loom)] Arc<(Mutex<bool>, loom::sync::Condvar)>,
);

impl Parker {
    /// For this thread, which alone may park on it.
    pub fn new() -> Parker {
        #[cfg(not(filch_loom))]
        return Parker(thread::current());
        #[cfg(filch_loom)]
        Parker(Arc::new((Mutex::new(false), loom::sync::Condvar::new())))
    }

    /// Parks this thread until it is unparked, until `deadline`, or for no reason. False: the deadline has
    /// passed.
    ///
    /// In a model only a deadline that has passed already comes.
    pub fn park_until(&self, deadline: Option<std::time::Instant>) -> bool {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(std::time::Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return false;
        }
        #[cfg(not(filch_loom))]
        match left {
            Some(left) => thread::park_timeout(left),
            None => thread::park(),
        }
        #[cfg(filch_loom)]
        {
            let mut unparked = self.0.0.lock();
            while !std::mem::take(&mut *unparked) {
                unparked = self.0.1.wait(unparked).unwrap();
            }
        }
        true
    }

    #[cfg_attr(filch_loom, track_caller)]
    pub fn unpark(&self) {
        #[cfg(not(filch_loom))]
        self.0.unpark();
        #[cfg(filch_loom)]
        if !mutation::lost("unpark") {
            *self.0.0.lock() = true;
            self.0.1.notify_one();
        }
    }
}

impl Default for Parker {
    fn default() -> Parker {
        Parker::new()
    }
}

macro_rules! integers {
    ($($name:ident, $std:ident, $int:ty;)*) => {$(
        #[derive(Debug)]
        pub struct $name(imp::$std);

        impl $name {
            #[cfg(not(filch_loom))]
            #[inline(always)]
            pub const fn new(value: $int) -> Self {
                Self(imp::$std::new(value))
            }
            #[cfg(filch_loom)]
            #[track_caller]
            pub fn new(value: $int) -> Self {
                Self(imp::$std::new(value))
            }
            operations!($int; load(); swap(value: $int); fetch_add(value: $int); fetch_sub(value: $int);
                fetch_and(value: $int); fetch_or(value: $int););
            exchange!($int);
        }
    )*};
}

macro_rules! operations {
    ($int:ty; $($op:ident($($arg:ident: $ty:ty)?);)*) => {
        $(
            #[inline(always)]
            #[cfg_attr(filch_loom, track_caller)]
            pub fn $op(&self, $($arg: $ty,)? order: Ordering) -> $int {
                #[cfg(filch_loom)]
                let order = super::mutation::order(stringify!($op), order);
                self.0.$op($($arg,)? order)
            }
        )*
        #[inline(always)]
        #[cfg_attr(filch_loom, track_caller)]
        pub fn store(&self, value: $int, order: Ordering) {
            #[cfg(filch_loom)]
            let order = super::mutation::order("store", order);
            self.0.store(value, order)
        }
    };
}

macro_rules! exchange {
    ($int:ty) => {
        #[inline(always)]
        #[cfg_attr(filch_loom, track_caller)]
        pub fn compare_exchange(
            &self,
            current: $int,
            new: $int,
            success: Ordering,
            failure: Ordering,
        ) -> Result<$int, $int> {
            #[cfg(filch_loom)]
            let (success, failure) = super::mutation::exchange(success, failure);
            self.0.compare_exchange(current, new, success, failure)
        }
        #[inline(always)]
        #[cfg_attr(filch_loom, track_caller)]
        pub fn compare_exchange_weak(
            &self,
            current: $int,
            new: $int,
            success: Ordering,
            failure: Ordering,
        ) -> Result<$int, $int> {
            #[cfg(filch_loom)]
            let (success, failure) = super::mutation::exchange(success, failure);
            self.0.compare_exchange_weak(current, new, success, failure)
        }
    };
}

macro_rules! atomics {
    () => {
        use super::{Ordering, imp};

        integers! {
            AtomicU8, AtomicU8, u8;
            AtomicU16, AtomicU16, u16;
            AtomicU32, AtomicU32, u32;
            AtomicU64, AtomicU64, u64;
            AtomicUsize, AtomicUsize, usize;
        }

        #[derive(Debug)]
        pub struct AtomicBool(imp::AtomicBool);

        impl AtomicBool {
            #[cfg(not(filch_loom))]
            #[inline(always)]
            pub const fn new(value: bool) -> Self {
                Self(imp::AtomicBool::new(value))
            }
            #[cfg(filch_loom)]
            #[track_caller]
            pub fn new(value: bool) -> Self {
                Self(imp::AtomicBool::new(value))
            }
            operations!(bool; load(); swap(value: bool););
            exchange!(bool);
        }

        #[derive(Debug)]
        pub struct AtomicPtr<T>(imp::AtomicPtr<T>);

        impl<T> AtomicPtr<T> {
            #[cfg(not(filch_loom))]
            #[inline(always)]
            pub const fn new(value: *mut T) -> Self {
                Self(imp::AtomicPtr::new(value))
            }
            #[cfg(filch_loom)]
            #[track_caller]
            pub fn new(value: *mut T) -> Self {
                Self(imp::AtomicPtr::new(value))
            }
            operations!(*mut T; load(); swap(value: *mut T););
            exchange!(*mut T);
        }
    };
}

/// Atomics on a line that one thread writes most of the time.
pub mod owner {
    atomics!();
}

/// Atomics on a line that belongs to one task, or to one channel or lock.
pub mod task {
    atomics!();
}

/// Atomics on a line that every worker of a runtime writes.
pub mod shared {
    atomics!();
}

/// What only reports read, and nobody waits for: std's own in a model too, which need not try every order of
/// it.
pub mod report {
    pub use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize};
    pub use std::sync::{Arc, Mutex};
}

/// A mutex that a panic does not poison: every critical section here keeps its invariants by itself.
#[derive(Debug)]
pub struct Mutex<T>(#[cfg(filch_loom)] loom::sync::Mutex<T>, #[cfg(not(filch_loom))] std::sync::Mutex<T>);

impl<T> Mutex<T> {
    #[cfg(not(filch_loom))]
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }
    #[cfg(filch_loom)]
    #[track_caller]
    pub fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    #[inline]
    #[cfg_attr(filch_loom, track_caller)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    #[inline]
    #[cfg_attr(filch_loom, track_caller)]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }

    pub fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A condition variable for [`Mutex`].
#[derive(Debug)]
pub struct Condvar(#[cfg(filch_loom)] loom::sync::Condvar, #[cfg(not(filch_loom))] std::sync::Condvar);

impl Condvar {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        #[cfg(filch_loom)]
        return Self(loom::sync::Condvar::new());
        #[cfg(not(filch_loom))]
        Self(std::sync::Condvar::new())
    }

    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// May return early, as `wait` may.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: std::time::Duration,
    ) -> MutexGuard<'a, T> {
        self.0.wait_timeout(guard, timeout).unwrap_or_else(|poisoned| poisoned.into_inner()).0
    }

    #[cfg_attr(filch_loom, track_caller)]
    pub fn notify_one(&self) {
        #[cfg(filch_loom)]
        if mutation::lost("notify_one") {
            return;
        }
        self.0.notify_one();
    }

    #[cfg_attr(filch_loom, track_caller)]
    pub fn notify_all(&self) {
        #[cfg(filch_loom)]
        if mutation::lost("notify_all") {
            return;
        }
        self.0.notify_all();
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// An `UnsafeCell` whose accesses loom checks.
#[derive(Debug, Default)]
pub struct UnsafeCell<T: ?Sized>(
    #[cfg(filch_loom)] loom::cell::UnsafeCell<T>,
    #[cfg(not(filch_loom))] std::cell::UnsafeCell<T>,
);

impl<T> UnsafeCell<T> {
    #[cfg(not(filch_loom))]
    pub const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }
    #[cfg(filch_loom)]
    #[track_caller]
    pub fn new(value: T) -> Self {
        Self(loom::cell::UnsafeCell::new(value))
    }

    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> UnsafeCell<T> {
    /// Calls `f` with a pointer for reading; loom reports a concurrent write.
    #[inline(always)]
    #[cfg_attr(filch_loom, track_caller)]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        #[cfg(filch_loom)]
        return self.0.with(f);
        #[cfg(not(filch_loom))]
        f(self.0.get())
    }

    /// Calls `f` with a pointer for writing; loom reports any concurrent access.
    #[inline(always)]
    #[cfg_attr(filch_loom, track_caller)]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        #[cfg(filch_loom)]
        return self.0.with_mut(f);
        #[cfg(not(filch_loom))]
        f(self.0.get())
    }
}

/// A short wait for another thread that is between two steps of its own.
///
/// First a few pauses of the processor, as the other one has a handful of instructions to go; then the rest of
/// the time slice, over and over, as it has lost its processor. Nothing of the user's may run between those
/// two steps, and no lock be taken, so that the wait ends as soon as the system lets the other thread run.
#[derive(Debug)]
pub struct Spin(u32);

impl Spin {
    #[allow(clippy::new_without_default)]
    #[inline]
    pub fn new() -> Spin {
        Spin(0)
    }

    /// Waits a little; longer when it is called again.
    #[cold]
    pub fn turn(&mut self) {
        if !cfg!(filch_loom) && self.0 < 100 {
            self.0 += 1;
            std::hint::spin_loop();
        } else {
            thread::yield_now();
        }
    }
}

/// A word that says whose turn it is, where a turn takes a few instructions: see [`Spin`].
///
/// A model parks those who wait, as it would be outgrown by turns of waiting. By `model` it knows what is in
/// the word and who has parked: between two operations on loom's types nobody else runs.
#[derive(Debug)]
pub struct Stamp {
    word: task::AtomicU64,
    #[cfg(filch_loom)]
    model: std::sync::Mutex<(u64, Vec<thread::Thread>)>,
}

impl Stamp {
    pub fn new(value: u64) -> Stamp {
        Stamp {
            word: task::AtomicU64::new(value),
            #[cfg(filch_loom)]
            model: std::sync::Mutex::new((value, Vec::new())),
        }
    }

    /// Ends the turn of this thread: who sees `value` sees all that this thread did before.
    #[inline(always)]
    #[cfg_attr(filch_loom, track_caller)]
    pub fn set(&self, value: u64) {
        self.word.store(value, Ordering::Release);
        #[cfg(filch_loom)]
        {
            let mut model = self.model.lock().unwrap();
            model.0 = value;
            model.1.drain(..).for_each(|waiting| waiting.unpark());
        }
    }

    #[inline(always)]
    #[cfg_attr(filch_loom, track_caller)]
    pub fn is(&self, value: u64) -> bool {
        self.word.load(Ordering::Acquire) == value
    }

    /// Waits until it is `value`.
    #[inline(always)]
    #[cfg_attr(filch_loom, track_caller)]
    pub fn wait_for(&self, value: u64) {
        if !self.is(value) {
            self.wait_longer(value);
        }
    }

    #[cold]
    #[cfg_attr(filch_loom, track_caller)]
    fn wait_longer(&self, value: u64) {
        let mut spin = Spin::new();
        while !self.is(value) {
            #[cfg(filch_loom)]
            {
                let mut model = self.model.lock().unwrap();
                if model.0 != value {
                    model.1.push(thread::current());
                    drop(model);
                    thread::park();
                    continue;
                }
            }
            spin.turn();
        }
    }
}

/// Runs `f` as a model: every interleaving (within the preemption bound) under loom, and elsewhere the same
/// code many times over as a stress test, so that every model also runs on each `cargo test`.
pub fn model(f: impl Fn() + Sync + Send + 'static) {
    #[cfg(filch_loom)]
    loom::model(f);
    #[cfg(not(filch_loom))]
    for _ in 0..200 {
        f();
    }
}

/// Constructors that are `const`, except under loom, whose atomics cannot be made in a constant.
macro_rules! const_unless_model {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),*) -> $out:ty $body:block)*) => {$(
        #[cfg(not(filch_loom))]
        $(#[$meta])* $vis const fn $name($($arg: $ty),*) -> $out $body
        #[cfg(filch_loom)]
        #[track_caller]
        $(#[$meta])* $vis fn $name($($arg: $ty),*) -> $out $body
    )*};
}
pub(crate) use const_unless_model;

/// A thread-local without a destructor; loom's own under a model, whose threads share one OS thread.
#[cfg(not(filch_loom))]
macro_rules! const_thread_local {
    ($(#[$meta:meta])* $vis:vis static $name:ident: $ty:ty = $init:expr;) => {
        std::thread_local! { $(#[$meta])* $vis static $name: $ty = const { $init } }
    };
}
#[cfg(filch_loom)]
macro_rules! const_thread_local {
    ($(#[$meta:meta])* $vis:vis static $name:ident: $ty:ty = $init:expr;) => {
        loom::thread_local! { $(#[$meta])* $vis static $name: $ty = $init; }
    };
}
pub(crate) use const_thread_local;

/// How many threads have been given a number.
#[cfg(not(filch_loom))]
static NUMBERED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
#[cfg(filch_loom)]
loom::lazy_static! {
    // Loom makes it anew for each run of a model. No model looks at it, so it is not one of loom's own.
    static ref NUMBERED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
}

const_thread_local! {
    static NUMBER: std::cell::Cell<u64> = std::cell::Cell::new(0);
}

/// The number of this thread: 1, 2, 3 and so on, in the order in which threads first ask. No two have the same.
#[inline]
pub fn thread_number() -> u64 {
    NUMBER.with(|number| {
        if number.get() == 0 {
            // Ordering: Relaxed: the number guards nothing; a read-modify-write hands out each one once.
            number.set(NUMBERED.fetch_add(1, Ordering::Relaxed) + 1);
        }
        number.get()
    })
}
