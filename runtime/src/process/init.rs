//! Layer 3, process. `init` where the feature `process-pool` is off: there is nothing to be run elsewhere.
//!
//! Owns that it is called once, as with the feature, so that a `main` that begins with it is the same in both. Called
//! by user code.
#![forbid(unsafe_code)]

use crate::shim::OnceLock;

/// A function that other processes can be asked to run. Without the feature `process-pool` there is none.
pub trait AnyJob: sealed::Run + Sync {}

mod sealed {
    pub trait Run {}
}

impl std::fmt::Debug for dyn AnyJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job(..)")
    }
}

static CALLED: OnceLock<()> = OnceLock::new();

/// Says what other processes of this program can be asked to run: without the feature `process-pool`, nothing. It
/// returns at once.
///
/// With the feature it is called first thing in `main`, and does not return in the processes that a `Pool` starts. A
/// `main` that begins with it, with a list that is empty where the feature is off, is right either way.
///
/// # Examples
/// First thing in `main`:
/// ```standalone_crate
/// filch::process::init(&[]);
/// ```
///
/// # Panics
/// When it is called a second time.
pub fn init(jobs: &[&'static dyn AnyJob]) {
    let _ = jobs;
    assert!(CALLED.set(()).is_ok(), "filch::process::init was called a second time; once is right");
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_called_once() {
        super::init(&[]);
        assert!(std::panic::catch_unwind(|| super::init(&[])).is_err());
    }
}
