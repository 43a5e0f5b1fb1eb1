//! What of a pool of processes takes bytes from outside.
#[path = "../codec.rs"]
pub(crate) mod codec;
#[path = "../../../../runtime/src/process/pool/frame.rs"]
mod frame;
