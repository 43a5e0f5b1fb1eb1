//! Layer 2, queue. The errors of the queues. Those of a put carry the item back. Called by the rest of `queue`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;

/// The queue is closed. Holds the item that was not put.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PutError<T>(pub T);

impl<T> PutError<T> {
    /// The item that was not put.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is closed")
    }
}

impl<T> Error for PutError<T> {}

/// Why an item was not put at once. Holds the item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TryPutError<T> {
    /// The queue has no room, or others wait who are to come first; it may have some later.
    Full(T),
    /// The queue is closed.
    Closed(T),
}

/// Why an item was not put in time. Holds the item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PutTimeoutError<T> {
    /// The queue had no room in time.
    Timeout(T),
    /// The queue is closed.
    Closed(T),
}

macro_rules! put_errors {
    ($($name:ident, $early:ident, $debug:literal, $text:literal;)*) => {$(
        impl<T> $name<T> {
            /// The item that was not put.
            pub fn into_inner(self) -> T {
                match self {
                    $name::$early(item) | $name::Closed(item) => item,
                }
            }

            /// Whether the queue is closed, so that there is no use in another try.
            pub fn is_closed(&self) -> bool {
                matches!(self, $name::Closed(_))
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(if self.is_closed() { "Closed(..)" } else { $debug })
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(if self.is_closed() { "the queue is closed" } else { $text })
            }
        }

        impl<T> Error for $name<T> {}

        impl<T> From<PutError<T>> for $name<T> {
            fn from(error: PutError<T>) -> $name<T> {
                $name::Closed(error.0)
            }
        }
    )*};
}

put_errors! {
    TryPutError, Full, "Full(..)", "the queue is full";
    PutTimeoutError, Timeout, "Timeout(..)", "the queue had no room in time";
}

/// The queue is closed and nothing is left in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GetError;

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is closed and empty")
    }
}

impl Error for GetError {}

/// Why there was no item at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryGetError {
    /// Nothing is there, or others wait who are to come first; something may come.
    Empty,
    /// Nothing is there, and nothing will come.
    Closed,
}

/// Why there was no item in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GetTimeoutError {
    /// Nothing came in time.
    Timeout,
    /// Nothing is there, and nothing will come.
    Closed,
}

macro_rules! get_errors {
    ($($name:ident, $early:ident, $text:literal;)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $name::$early => f.write_str($text),
                    $name::Closed => GetError.fmt(f),
                }
            }
        }

        impl Error for $name {}

        impl From<GetError> for $name {
            fn from(GetError: GetError) -> $name {
                $name::Closed
            }
        }
    )*};
}

get_errors! {
    TryGetError, Empty, "the queue is empty";
    GetTimeoutError, Timeout, "no item came in time";
}

/// One call of `task_done` too many: as many items were done as were put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskDoneError;

impl fmt::Display for TaskDoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("task_done() was called more often than items were put into the queue")
    }
}

impl Error for TaskDoneError {}

/// Not all items of a queue were done in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnfinishedError {
    pub(super) unfinished: u64,
}

impl UnfinishedError {
    /// How many were not done when the time was up.
    pub fn unfinished(&self) -> u64 {
        self.unfinished
    }
}

impl fmt::Display for UnfinishedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} items of the queue were not done in time", self.unfinished)
    }
}

impl Error for UnfinishedError {}
