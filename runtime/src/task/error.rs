//! Layer 1, task. Why a task has no output: it panicked, it was cancelled, or it could not be started.
//!
//! Called by `raw`, which makes them, and `join`, which hands them out. A panic that nobody looks at is
//! reported through the [`PanicHook`] of the runtime the task ran on.
#![forbid(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::Location;

use crate::shim::{Arc, Mutex};
use crate::util::wake::{drop_payload, guarded, message};

/// What the runtime does with a panic that nobody will see: its policy.
pub(crate) type PanicHook = Arc<dyn Fn(&TaskPanic) + Send + Sync>;

/// A panic of a task whose handle was dropped, as the panic policy sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct TaskPanic {
    /// The task's id.
    pub id: u64,
    /// The task's name, if it was given one.
    pub name: Option<String>,
    /// Where the task was spawned.
    pub location: &'static Location<'static>,
    /// The text of the panic.
    pub message: String,
}

/// How every message about a task begins.
pub(crate) fn head(id: u64, name: Option<&str>, location: &Location<'_>) -> String {
    let name = name.map(|name| format!(" \"{name}\"")).unwrap_or_default();
    format!("task {id}{name}, spawned at {location}")
}

impl fmt::Display for TaskPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = head(self.id, self.name.as_deref(), self.location);
        write!(f, "{head}, panicked: {}", self.message)
    }
}

/// Why a task has no output.
///
/// Keeps the task's id, name and place of birth, and for a panic what it carried.
pub struct JoinError(Box<Inner>);

struct Inner {
    about: TaskPanic,
    cause: Cause,
}

enum Cause {
    /// With the reason why the task could not be started, if that is why.
    Cancelled(Option<io::Error>),
    /// The mutex is for `Sync`: a payload need not be.
    Panic { payload: Mutex<Box<dyn Any + Send>>, hook: PanicHook },
}

impl JoinError {
    pub(super) fn cancelled(about: TaskPanic, why: Option<io::Error>) -> JoinError {
        JoinError(Box::new(Inner { about, cause: Cause::Cancelled(why) }))
    }

    pub(super) fn panic(mut about: TaskPanic, payload: Box<dyn Any + Send>, hook: PanicHook) -> JoinError {
        about.message = message(&*payload).to_owned();
        JoinError(Box::new(Inner { about, cause: Cause::Panic { payload: Mutex::new(payload), hook } }))
    }

    /// For a future that panicked when the current task polled it, the one with this index among several.
    #[cfg(not(filch_loom))]
    pub(crate) fn of_child(
        index: usize,
        location: &'static Location<'static>,
        payload: Box<dyn Any + Send>,
    ) -> JoinError {
        let (id, name) = (filch_channels::probe::current_id(), Some(format!("future {index}")));
        let about = TaskPanic { id, name, location, message: String::new() };
        JoinError::panic(about, payload, Arc::new(|_| {}))
    }

    /// The task's id.
    pub fn id(&self) -> u64 {
        self.0.about.id
    }

    /// The task's name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.0.about.name.as_deref()
    }

    /// Where the task was spawned.
    pub fn location(&self) -> &'static Location<'static> {
        self.0.about.location
    }

    /// Whether the task was aborted, or its runtime shut down, before it had an output.
    pub fn is_cancelled(&self) -> bool {
        !self.is_panic()
    }

    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0.cause, Cause::Panic { .. })
    }

    /// What the task's panic carried.
    ///
    /// # Panics
    /// When the task did not panic; see [`is_panic`](Self::is_panic).
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        self.try_into_panic()
            .unwrap_or_else(|error| panic!("into_panic on an error that is no panic: {error}"))
    }

    /// What the task's panic carried, or the error back when it did not panic.
    ///
    /// # Errors
    /// The error itself, when the task did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.0.cause {
            Cause::Panic { payload, .. } => Ok(payload.into_inner()),
            cause => Err(JoinError(Box::new(Inner { about: self.0.about, cause }))),
        }
    }

    /// Nobody will look at this error. A panic goes to the runtime's policy, and what it carried is dropped
    /// with care.
    pub(super) fn unobserved(self) {
        if let Cause::Panic { payload, hook } = self.0.cause {
            guarded("the panic policy", || hook(&self.0.about));
            drop_payload(payload.into_inner());
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = &self.0.about;
        let Cause::Cancelled(why) = &self.0.cause else { return about.fmt(f) };
        let head = head(about.id, self.name(), about.location);
        match why {
            None => write!(f, "{head}, was cancelled"),
            Some(why) => write!(
                f,
                "{head}, was not run: no thread could be started for it ({why}); lower the number of threads in this \
                 process, or raise its limit"
            ),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> io::Error {
        io::Error::other(error)
    }
}
