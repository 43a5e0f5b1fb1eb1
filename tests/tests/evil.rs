//! The promise: a waker or a value whose code panics, or does something with the very object that calls it, at whatever
//! moment, does no harm to others: nobody hangs, nothing is dropped twice or never, and the object goes on working.
//!
//! `evil/wakers.rs` puts an evil waker between two good ones in each line there is, `evil/toolbox.rs` in those of the
//! toolbox, and `evil/values.rs` sends evil values through everything that carries some. Each tries every moment there
//! is: see `Evil::at_each`.
#![allow(missing_docs)]

#[path = "evil/ends.rs"]
mod ends;
#[path = "evil/locks.rs"]
mod locks;
#[path = "evil/toolbox.rs"]
mod toolbox;
#[path = "evil/values.rs"]
mod values;
#[path = "evil/wakers.rs"]
mod wakers;

use std::panic::{AssertUnwindSafe, catch_unwind};

use filch::testing::Evil;
use filch_tests::panic_text;

/// Calls `f`, which may panic because of an evil one, but not otherwise.
fn tolerating<T>(f: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => Some(value),
        Err(payload) => {
            let text = panic_text(&*payload);
            assert_eq!(text, Evil::TEXT, "another panic than the evil one's");
            None
        }
    }
}
