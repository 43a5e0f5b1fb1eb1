//! Layer 0. The only file of this crate that names `std::sync::atomic`, `std::thread` or loom.
//!
//! Owns nothing: it passes on what `filch_channels` chose (the real primitives, or loom's in a model) and adds
//! the pair of fences that lets one side of a protocol go without a locked operation.

pub(crate) use filch_channels::__shim::*;

/// What `std::thread_local!` makes, which user code does with it: never loom's.
pub(crate) use std::thread::LocalKey as ThreadKey;
