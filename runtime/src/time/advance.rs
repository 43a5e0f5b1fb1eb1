//! Layer 3, time. Moves the clock of a paused runtime by hand.
//!
//! Owns the step, and the two turns that it gives to the tasks whose timers it made due. For tests.
#![forbid(unsafe_code)]

use crate::context;
use crate::time::Duration;
use crate::yield_now;

/// Moves the virtual clock forward by `duration`, in one step.
///
/// It returns after the tasks whose timers became due have been woken, and has yielded twice to let them run
/// (who runs first is up to the seed of the runtime). All of them see the time after the step, also those
/// whose deadline was before; to see each deadline by itself, [`sleep`](crate::time::sleep()) for `duration`
/// instead. It may be used to have an [`Interval`](crate::time::Interval) miss ticks.
///
/// # Examples
/// ```
/// use filch::time::{Duration, Instant, advance};
///
/// let runtime = filch::Builder::new().paused_clock(1).build()?;
/// runtime.block_on(async {
///     let start = Instant::now();
///     advance(Duration::from_secs(86_400)).await;
///     assert_eq!(start.elapsed(), Duration::from_secs(86_400));
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// When it is polled where the clock is real, or outside of a runtime.
///
/// # Cancel safety
/// **Strict**, but for the step itself, which is done by the first poll.
pub async fn advance(duration: Duration) {
    let shard = context::timers().unwrap_or_else(|error| panic!("{error}"));
    let clock = shard.clock();
    assert!(
        clock.is_virtual(),
        "the clock of this runtime is real and cannot be moved: build the runtime with \
         `Builder::paused_clock`, or write `#[filch::test(paused)]`"
    );
    clock.advance_to(clock.now().saturating_add(crate::driver::clock::ticks(duration)));
    let mut due = Vec::new();
    while shard.fire(clock.now(), &mut due) > 0 {
        // The shard's lock is not held here.
        due.drain(..).for_each(std::task::Waker::wake);
    }
    // Twice: whom the timers woke may run in the first turn, and whom those wake in the second.
    yield_now().await;
    yield_now().await;
}
