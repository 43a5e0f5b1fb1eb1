//! Layer 5, group. What went wrong in a group or a scope: all of it, the source first.
//!
//! Owns values and their texts. Made by `group` and `scope`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::io;
use std::panic::Location;

use crate::JoinError;
use crate::cancel::Reason;

/// What became of one child that has no output to give.
#[derive(Debug)]
pub struct ChildError<E> {
    pub(crate) index: usize,
    pub(crate) name: Option<Box<str>>,
    pub(crate) location: &'static Location<'static>,
    pub(crate) cause: Cause<E>,
}

/// Why a child has no output to give.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause<E> {
    /// It came to its end with this error.
    Error(E),
    /// It panicked.
    Panic(JoinError),
    /// It was aborted, alone or with the group, or its runtime ended.
    Cancelled(JoinError),
}

impl<E> ChildError<E> {
    /// How many children had been spawned before it; `usize::MAX` for the body of a
    /// [`try_scope`](crate::try_scope).
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its name, if it was given one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where it was spawned.
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// Why.
    #[must_use]
    pub fn cause(&self) -> &Cause<E> {
        &self.cause
    }

    /// Why.
    #[must_use]
    pub fn into_cause(self) -> Cause<E> {
        self.cause
    }

    /// The error it came to, if that is why.
    #[must_use]
    pub fn error(&self) -> Option<&E> {
        match &self.cause {
            Cause::Error(error) => Some(error),
            Cause::Panic(_) | Cause::Cancelled(_) => None,
        }
    }

    /// Whether it panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panic(_))
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.cause, Cause::Cancelled(_))
    }
}

impl<E: fmt::Display> fmt::Display for ChildError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Error(error) => {
                match self.index {
                    usize::MAX => f.write_str("the body")?,
                    index => write!(f, "child {index}")?,
                }
                self.name.iter().try_for_each(|name| write!(f, " \"{name}\""))?;
                write!(f, ", spawned at {}, failed: {error}", self.location)
            }
            Cause::Panic(error) | Cause::Cancelled(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Display + fmt::Debug> Error for ChildError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            // It need not be an `Error`; its text is in ours.
            Cause::Error(_) => None,
            Cause::Panic(error) | Cause::Cancelled(error) => Some(error),
        }
    }
}

/// Not all children of a [`TaskGroup`](crate::TaskGroup) or a [`try_scope`](crate::try_scope) came to a good end.
///
/// Keeps all their errors, in the order in which they came: the first is the one for which the others were
/// cancelled. It is this error's `source`, too. Children that were only cancelled with the group are counted.
#[derive(Debug)]
pub struct GroupError<E> {
    pub(crate) errors: Vec<ChildError<E>>,
    pub(crate) cancelled: usize,
    pub(crate) reason: Option<Reason>,
}

impl<E> GroupError<E> {
    /// All errors, the source first. Empty if the group was cancelled, and no child failed.
    #[must_use]
    pub fn errors(&self) -> &[ChildError<E>] {
        &self.errors
    }

    /// All errors, the source first.
    #[must_use]
    pub fn into_errors(self) -> Vec<ChildError<E>> {
        self.errors
    }

    /// The error that came first.
    #[must_use]
    pub fn first(&self) -> Option<&ChildError<E>> {
        self.errors.first()
    }

    /// How many children were cancelled, with the group.
    #[must_use]
    pub fn cancelled(&self) -> usize {
        self.cancelled
    }

    /// Why the group was cancelled, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }
}

impl<E: fmt::Display> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.errors[..], &self.reason) {
            ([], None) => f.write_str("the group was cancelled")?,
            ([], Some(reason)) => write!(f, "the group was cancelled: {reason}")?,
            ([only], _) => write!(f, "{only}")?,
            ([first, others @ ..], _) => {
                write!(f, "{} children failed: {first}", others.len() + 1)?;
                others.iter().try_for_each(|other| write!(f, "; {other}"))?;
            }
        }
        match self.cancelled {
            0 => Ok(()),
            1 => f.write_str("; 1 child was cancelled"),
            many => write!(f, "; {many} children were cancelled"),
        }
    }
}

impl<E: fmt::Display + fmt::Debug + 'static> Error for GroupError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.first().map(|first| first as &(dyn Error + 'static))
    }
}

impl<E: fmt::Display + fmt::Debug + Send + Sync + 'static> From<GroupError<E>> for io::Error {
    fn from(error: GroupError<E>) -> io::Error {
        io::Error::other(error)
    }
}
