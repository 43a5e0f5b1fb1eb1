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
mod acquire;
mod bucket;
mod clock;
mod debounce;
mod deferred;
mod error;
mod keyed;
mod limiter;
mod pace;
mod paced;
mod stream;
mod throttle;
mod window;

pub use acquire::{Acquire, AcquireMany};
pub use bucket::Bucket;
pub use debounce::Debounce;
pub use error::{AcquireTimeoutError, KeyedError, TooMany, TryAcquireError};
pub use keyed::Keyed;
pub use limiter::{Limiter, LimiterError, LimiterStats, Rate, Slot};
pub use pace::Pace;
pub use paced::{Paced, RateLimiter, TokenBucket};
pub use stream::{Debounced, LimitExt, PacedStream, Throttled};
pub use throttle::Throttle;
pub use window::Window;
