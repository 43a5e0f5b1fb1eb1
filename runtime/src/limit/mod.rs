//! Limits: on how many may pass in a time, on how many may run at a time, and on how often something is done.
//!
//! | to …                                                       | use                                     |
//! |------------------------------------------------------------|-----------------------------------------|
//! | let at most so many pass in any window of time             | [`RateLimiter`]                         |
//! | let so many pass on average, and some at once after a rest | [`TokenBucket`]                         |
//! | do either for each user, address or host                   | [`Keyed`]                               |
//! | run at most so many at the same time, and at a rate        | [`Limiter`]                             |
//! | do something when it has been quiet for a while            | [`Debounce`], [`LimitExt::debounce`]    |
//! | do something at once, but not again for a while            | [`Throttle`], [`LimitExt::throttle`]    |
//! | slow down a stream                                         | [`LimitExt::paced`]                     |
//! | try again what failed, with pauses                         | [`retry`](crate::retry())               |
//!
//! All of them go by the runtime's clock, so they are exact under a paused one. What waits for a rate, or
//! makes a call later, needs a filch runtime, for its timers; threads wait by the forms that block.
//!
//! # Examples
//! ```
//! use filch::limit::RateLimiter;
//! use filch::time::{Duration, Instant};
//!
//! let runtime = filch::Builder::new().paused_clock(1).build()?;
//! runtime.block_on(async {
//!     let limiter = RateLimiter::new(2, Duration::from_secs(1));
//!     let start = Instant::now();
//!     let times = filch::gather((0..5).map(|_| async {
//!         limiter.acquire().await;
//!         start.elapsed().as_secs()
//!     }));
//!     assert_eq!(times.await, [0, 0, 1, 1, 2]);
//! });
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

// Layer 3. `paced` over an algorithm (`window`, `bucket`), a clock and a lock of the channels crate.
#[cfg(not(filch_loom))]
mod acquire;
mod bucket;
#[cfg(not(filch_loom))]
mod clock;
#[cfg(not(filch_loom))]
mod debounce;
#[cfg(not(filch_loom))]
mod deferred;
#[cfg(not(filch_loom))]
mod error;
#[cfg(not(filch_loom))]
mod keyed;
#[cfg(not(filch_loom))]
mod limiter;
mod pace;
#[cfg(not(filch_loom))]
mod paced;
#[cfg(not(filch_loom))]
mod stream;
#[cfg(not(filch_loom))]
mod throttle;
#[cfg(not(filch_loom))]
mod window;

#[cfg(not(filch_loom))]
pub use self::{
    acquire::{Acquire, AcquireMany},
    bucket::Bucket,
    debounce::Debounce,
    error::{AcquireTimeoutError, KeyedError, TooMany, TryAcquireError},
    keyed::Keyed,
    limiter::{Limiter, LimiterError, LimiterStats, Rate, Slot},
    pace::Pace,
    paced::{Paced, RateLimiter, TokenBucket},
    stream::{Debounced, LimitExt, PacedStream, Throttled},
    throttle::Throttle,
    window::Window,
};
