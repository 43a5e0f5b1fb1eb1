//! Wakers that panic.

use std::sync::Arc;
use std::task::{Wake, Waker};

/// When an evil waker panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evil {
    /// When it is woken.
    Wake,
    /// When the last of its clones is dropped, unless a panic is under way.
    Drop,
    /// At both.
    Both,
}

struct EvilWaker(Evil);

impl Wake for EvilWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        assert!(self.0 == Evil::Drop, "an evil waker was woken");
    }
}

impl Drop for EvilWaker {
    fn drop(&mut self) {
        assert!(self.0 == Evil::Wake || std::thread::panicking(), "an evil waker was dropped");
    }
}

/// A waker that panics.
pub fn evil_waker(evil: Evil) -> Waker {
    Waker::from(Arc::new(EvilWaker(evil)))
}
