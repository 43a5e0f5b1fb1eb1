//! The path by which the frames of a pool of processes are known.
pub(crate) mod pool;
