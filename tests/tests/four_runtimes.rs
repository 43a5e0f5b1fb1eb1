//! The promise: the channels know no runtime. The same scenarios run under filch, under tokio, under smol's executor,
//! on plain threads, and with tasks of all four on the same objects. In each of them a thread takes part that blocks.
//!
//! `four_runtimes/worlds.rs` has the five worlds, the others the scenarios.
#![allow(missing_docs)]

#[path = "four_runtimes/channels.rs"]
mod channels;
#[path = "four_runtimes/locks.rs"]
mod locks;
#[path = "four_runtimes/worlds.rs"]
mod worlds;
