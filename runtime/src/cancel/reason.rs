//! Layer 3, cancel. Why something was cancelled: `Reason`, and `Cancelled`, the error that carries one.
//!
//! Owns text only. Made by whoever cancels; read by reports, and by those who were cancelled.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::panic::Location;

use filch_channels::probe;

use crate::shim::Arc;
use crate::task;

/// Why a [`CancelToken`](crate::CancelToken) was cancelled: by which task, on which line, and in what words.
///
/// All tokens below the one that was cancelled have the same. To clone it is to count a reference.
///
/// # Examples
/// ```
/// let token = filch::CancelToken::new();
/// token.cancel("the user left");
/// let reason = token.reason().unwrap();
/// assert_eq!(reason.text(), "the user left");
/// assert!(reason.location().file().ends_with(".rs"));
/// assert_eq!(reason.task_id(), None); // It was no task of filch that cancelled it.
/// ```
#[derive(Clone)]
pub struct Reason(Arc<Inner>);

struct Inner {
    /// The id of the task; `0`: none, or none that is known.
    id: u64,
    name: Option<String>,
    location: &'static Location<'static>,
    text: Cow<'static, str>,
}

impl Reason {
    /// A reason of whoever calls this.
    pub(crate) fn new(location: &'static Location<'static>, text: Cow<'static, str>) -> Reason {
        Reason(Arc::new(Inner { id: probe::current_id(), name: task::current_name(), location, text }))
    }

    /// The task that cancelled. `None` outside of tasks, and in those of other runtimes.
    #[must_use]
    pub fn task_id(&self) -> Option<task::Id> {
        (self.0.id != 0).then_some(task::Id(self.0.id))
    }

    /// The name of the task that cancelled, if it has one.
    #[must_use]
    pub fn task_name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// The line that cancelled; of a child that failed, the one that spawned it.
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.0.location
    }

    /// What it was cancelled for.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { id, name, location, text } = &*self.0;
        write!(f, "{text} (")?;
        if *id != 0 {
            write!(f, "task {id}")?;
            name.iter().try_for_each(|name| write!(f, " \"{name}\""))?;
            f.write_str(", ")?;
        }
        write!(f, "{location})")
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reason({self})")
    }
}

/// Something was cancelled before it had come to its end.
#[derive(Clone, Debug)]
pub struct Cancelled(pub(crate) Reason);

impl Cancelled {
    /// Why.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.0
    }

    /// Why.
    #[must_use]
    pub fn into_reason(self) -> Reason {
        self.0
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cancelled: {}", self.0)
    }
}

impl std::error::Error for Cancelled {}

impl From<Cancelled> for io::Error {
    fn from(cancelled: Cancelled) -> io::Error {
        io::Error::other(cancelled)
    }
}
