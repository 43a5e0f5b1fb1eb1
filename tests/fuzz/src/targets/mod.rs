//! The targets, one a file.

pub mod builder;
pub mod channel;
pub mod ring;
pub mod wait_queue;
pub mod wheel;

/// Frames and lines, cut anywhere.
pub mod codec {
    pub use crate::process::pool::codec::run;
}
