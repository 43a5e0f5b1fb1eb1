//! Layer 5, group. Which outputs of a child are failures: `Outcome`.
//!
//! Called by `child` when one is done, and by `mod.rs` when its output is handed on.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::convert::Infallible;
use std::time::Duration;

/// What a child of a [`TaskGroup`](crate::TaskGroup) may come to: a `Result`, whose error fails the group, or a plain
/// value of many types, which does not.
///
/// For a type of your own, return `Ok(value)`, or say here what it is.
pub trait Outcome: Send + 'static {
    /// What is kept of a child that ended well.
    type Value: Send + 'static;
    /// What is kept of one that failed.
    type Error: Send + 'static;

    /// Whether it is a failure.
    fn is_failure(&self) -> bool;

    /// The value, or the error.
    ///
    /// # Errors
    /// The error, if it is a failure.
    fn into_result(self) -> Result<Self::Value, Self::Error>;
}

impl<T: Send + 'static, E: Send + 'static> Outcome for Result<T, E> {
    type Value = T;
    type Error = E;

    fn is_failure(&self) -> bool {
        self.is_err()
    }

    fn into_result(self) -> Result<T, E> {
        self
    }
}

/// Values that cannot fail.
macro_rules! plain {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> Outcome for $type {
            type Value = $type;
            type Error = Infallible;

            fn is_failure(&self) -> bool {
                false
            }

            fn into_result(self) -> Result<$type, Infallible> {
                Ok(self)
            }
        }
    )*};
}

plain! {
    [] ();
    [] bool;
    [] char;
    [] u8;
    [] u16;
    [] u32;
    [] u64;
    [] u128;
    [] usize;
    [] i8;
    [] i16;
    [] i32;
    [] i64;
    [] i128;
    [] isize;
    [] f32;
    [] f64;
    [] &'static str;
    [] String;
    [] Cow<'static, str>;
    [] Duration;
    [] std::time::Instant;
    [] crate::time::Instant;
    [T: Send + 'static] Vec<T>;
    [T: Send + 'static] Option<T>;
    [T: Send + 'static] Box<T>;
    [T: Send + 'static, const N: usize] [T; N];
    [A: Send + 'static, B: Send + 'static] (A, B);
    [A: Send + 'static, B: Send + 'static, C: Send + 'static] (A, B, C);
    [A: Send + 'static, B: Send + 'static, C: Send + 'static, D: Send + 'static] (A, B, C, D);
}
