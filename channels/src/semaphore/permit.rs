//! Layer 2, semaphore. What has permits in hand, and gives them back.
//!
//! Owns the two guards, one for each way to hold the semaphore. Made by `acquire` and `Semaphore`.
#![forbid(unsafe_code)]

use std::mem;
use std::sync::Arc;

use super::Semaphore;

/// Permits of a [`Semaphore`], given back when this is dropped.
#[derive(Debug)]
#[must_use = "dropping a permit gives it back at once"]
pub struct SemaphorePermit<'a> {
    pub(super) semaphore: &'a Semaphore,
    pub(super) permits: usize,
}

/// Permits that keep their [`Semaphore`] alive, given back when this is dropped.
#[derive(Debug)]
#[must_use = "dropping a permit gives it back at once"]
pub struct OwnedSemaphorePermit {
    pub(super) semaphore: Arc<Semaphore>,
    pub(super) permits: usize,
}

macro_rules! permit {
    ($name:ident [$($life:lifetime)?], $semaphore:ty, $is_same:expr, $copy:expr) => {
        impl $(<$life>)? $name$(<$life>)? {
            /// Does not give the permits back: the semaphore has so many less from now on.
            pub fn forget(mut self) {
                self.permits = 0;
            }

            /// Adds the permits of `other` to this one.
            ///
            /// # Panics
            /// When they are permits of another semaphore.
            #[track_caller]
            pub fn merge(&mut self, mut other: Self) {
                assert!($is_same(&self.semaphore, &other.semaphore), "merging permits of two semaphores");
                self.permits += mem::take(&mut other.permits);
            }

            /// Splits off `n` permits; `None` when there are fewer.
            pub fn split(&mut self, n: usize) -> Option<Self> {
                self.permits = self.permits.checked_sub(n)?;
                Some(Self { semaphore: $copy(&self.semaphore), permits: n })
            }

            /// The semaphore that the permits belong to.
            pub fn semaphore(&self) -> &$semaphore {
                &self.semaphore
            }

            /// How many permits this stands for.
            pub fn num_permits(&self) -> usize {
                self.permits
            }
        }

        impl$(<$life>)? Drop for $name$(<$life>)? {
            fn drop(&mut self) {
                self.semaphore.put(self.permits);
            }
        }
    };
}

permit!(
    SemaphorePermit['a],
    Semaphore,
    |a: &&Semaphore, b: &&Semaphore| std::ptr::eq(*a, *b),
    |s: &&'a Semaphore| *s
);
permit!(OwnedSemaphorePermit[], Arc<Semaphore>, Arc::ptr_eq, Arc::clone);
