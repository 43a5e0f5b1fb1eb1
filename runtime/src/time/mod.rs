//! Sleeping, time limits, and ticking at a fixed pace.
//!
//! | to …                                     | use                                       |
//! |------------------------------------------|-------------------------------------------|
//! | wait for a while, or until an instant    | [`sleep()`], [`sleep_until`]              |
//! | give up on a future after a while        | [`timeout()`], [`timeout_at`], [`wait_for`] |
//! | do something every so often              | [`interval()`], [`interval_at`]           |
//! | read the clock                           | [`Instant::now`]                          |
//! | move the clock of a paused runtime       | [`advance()`]                             |
//!
//! Nothing here fires early. On an idle Linux machine a timer is typically late by less than 0.2 ms. All
//! arithmetic saturates: [`Duration::MAX`] means "never" wherever a duration is taken, and costs nothing
//! while it waits.
//!
//! Under a paused runtime (`Builder::paused_clock`) time is virtual: it stands still while any task can run,
//! and jumps to the next deadline when none can. `sleep(Duration::from_secs(3600))` then takes no time at
//! all, and an [`Instant`] shows exactly one hour more after it.
//!
//! These futures may be made anywhere, but are polled inside a runtime; they panic otherwise.
//!
//! # Examples
//! ```no_run
//! use filch::time::{Duration, Instant, sleep, timeout};
//!
//! # async fn example() {
//! let start = Instant::now();
//! sleep(Duration::from_millis(10)).await;
//! assert!(start.elapsed() >= Duration::from_millis(10));
//!
//! let late = timeout(Duration::from_millis(10), std::future::pending::<()>()).await;
//! assert!(late.is_err());
//! # }
//! ```
#![forbid(unsafe_code)]

// Layer 3. Futures over `driver::timers`; they know no wheel, and of the runtime only what `context` tells.
mod advance;
mod instant;
mod interval;
mod sleep;
mod timeout;

pub use std::time::Duration;

pub use advance::advance;
pub use instant::Instant;
pub use interval::{Interval, MissedTick, MissedTick as MissedTickBehavior, interval, interval_at};
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Elapsed, Timeout, timeout, timeout_at, wait_for};
