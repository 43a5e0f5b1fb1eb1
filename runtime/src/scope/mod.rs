//! Children that borrow, polled inside their parent: `scope`.
//!
//! | to have …                                            | use                                     |
//! |------------------------------------------------------|-----------------------------------------|
//! | children that cannot fail, and the output of the body | [`scope`](crate::scope())              |
//! | the same without `Send`                              | [`scope_local`](crate::scope_local)     |
//! | children of which the first that fails ends the others | [`try_scope`](crate::try_scope)       |
//! | a time limit for all of it | [`wait_for`](crate::wait_for) round it, or [`TryScopeFuture::timeout`] |
//!
//! A scope runs on any executor; only grace periods and deadlines need a runtime of ours. It is as many polls as its
//! children need: each is polled when it was woken, at most 128 in one poll of the scope, and its place is used again
//! when it is done, so that a scope may live for long.
#![forbid(unsafe_code)]

// Layer 5. `engine` polls; `plain` and `fallible` are what users hold.
mod engine;
mod fallible;
mod plain;

pub use self::{
    fallible::{TryScope, TryScopeFuture, try_scope},
    plain::{LocalScope, Scope, ScopeFuture, ScopedHandle, scope, scope_local},
};
