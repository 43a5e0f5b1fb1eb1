//! Layer 3. `retry`: does again what failed, after a pause that grows.
//!
//! Owns the policy, `Backoff`, and the loop. Jitter is drawn from the random numbers of `select!`, so in a test
//! on the paused clock it follows from the seed. Called by users.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;

use crate::macros::support::random;
use crate::time::{Duration, Instant, sleep};

/// Calls `operation` until it succeeds, with pauses as `backoff` says.
///
/// Each error is tried again; to tell which are worth it, or to be told of them, use [`Retry`]. In a future
/// that is spawned, write `async move ||`; see [`Retry::run`].
///
/// # Examples
/// ```
/// use filch::time::{Duration, Instant};
/// use filch::{Backoff, retry};
///
/// let runtime = filch::Builder::new().paused_clock(1).build()?;
/// runtime.block_on(async {
///     let start = Instant::now();
///     let mut calls = 0;
///     let backoff = Backoff::exponential(Duration::from_millis(100)).no_jitter();
///     let result = retry(backoff, async || {
///         calls += 1;
///         if calls < 4 { Err("busy") } else { Ok("done") }
///     });
///     assert_eq!(result.await.unwrap(), "done");
///     assert_eq!(start.elapsed(), Duration::from_millis(100 + 200 + 400));
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// [`RetryError`] with the last error, when `backoff` allows no further attempt.
///
/// # Panics
/// When it has to pause outside of a filch runtime.
///
/// # Cancel safety
/// **Strict** if what `operation` returns is; the attempts that failed are forgotten.
pub async fn retry<T, E>(
    backoff: Backoff,
    operation: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, RetryError<E>> {
    Retry::new(backoff).run(operation).await
}

/// How long to pause between attempts, and when to give up.
///
/// The first pause is `first`; each is `factor` times as long as the one before (2, unless told otherwise), but
/// no longer than `cap` (a minute). Of that, *jitter* takes a random part away, so that many who failed together
/// do not come back together: all of it at most ([full](Self::full_jitter), the default), or half
/// ([equal](Self::equal_jitter)), or nothing ([none](Self::no_jitter)). There are 5 attempts, the first one
/// included, unless told otherwise.
///
/// | jitter | a pause of `d` is |
/// |--------|-------------------|
/// | full   | from 0 to `d`     |
/// | equal  | from `d / 2` to `d` |
/// | none   | `d`               |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    factor: u32,
    cap: Duration,
    jitter: Jitter,
    attempts: Option<u32>,
    deadline: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Jitter {
    None,
    Equal,
    Full,
    /// No pause is shorter than that.
    From(Duration),
}

impl Backoff {
    /// Pauses that grow: `first`, twice that, four times, and so on, with full jitter.
    #[must_use]
    pub fn exponential(first: Duration) -> Backoff {
        Backoff {
            first,
            factor: 2,
            cap: Duration::from_secs(60),
            jitter: Jitter::Full,
            attempts: Some(5),
            deadline: None,
        }
    }

    /// The same pause each time, without jitter.
    #[must_use]
    pub fn constant(pause: Duration) -> Backoff {
        Backoff { factor: 1, cap: Duration::MAX, jitter: Jitter::None, ..Backoff::exponential(pause) }
    }

    /// A random pause each time, between `least` and `most`. It breaks livelocks.
    ///
    /// # Panics
    /// When `least` is longer than `most`.
    #[must_use]
    #[track_caller]
    pub fn jittered(least: Duration, most: Duration) -> Backoff {
        assert!(least <= most, "no pause is at least {least:?} and at most {most:?}: swap them");
        Backoff { jitter: Jitter::From(least), ..Backoff::constant(most) }
    }

    /// How many times as long as the one before each pause is. With 1 they do not grow.
    #[must_use]
    pub fn factor(mut self, factor: u32) -> Backoff {
        self.factor = factor;
        self
    }

    /// No pause is longer.
    #[must_use]
    pub fn cap(mut self, longest: Duration) -> Backoff {
        self.cap = longest;
        self
    }

    /// Pauses are as computed.
    #[must_use]
    pub fn no_jitter(mut self) -> Backoff {
        self.jitter = Jitter::None;
        self
    }

    /// Pauses are shorter than computed by a random part of up to one half.
    #[must_use]
    pub fn equal_jitter(mut self) -> Backoff {
        self.jitter = Jitter::Equal;
        self
    }

    /// Pauses are a random part of what is computed.
    #[must_use]
    pub fn full_jitter(mut self) -> Backoff {
        self.jitter = Jitter::Full;
        self
    }

    /// Gives up after so many attempts, the first one included.
    ///
    /// # Panics
    /// When it is zero, as there would be no error to return.
    #[must_use]
    #[track_caller]
    pub fn attempts(mut self, attempts: u32) -> Backoff {
        assert!(attempts > 0, "no attempt at all has no outcome: allow one at least");
        self.attempts = Some(attempts);
        self
    }

    /// Tries without end, or until the [deadline](Self::deadline).
    #[must_use]
    pub fn forever(mut self) -> Backoff {
        self.attempts = None;
        self
    }

    /// Begins no attempt later than `limit` after the start of the first, and does not pause in vain.
    ///
    /// An attempt under way is not cut off. For that, put a [time limit](crate::wait_for) on each, or on all.
    #[must_use]
    pub fn deadline(mut self, limit: Duration) -> Backoff {
        self.deadline = Some(limit);
        self
    }

    /// The pauses, one after the other, for a loop of one's own. They end where the attempts do.
    ///
    /// # Examples
    /// ```
    /// use filch::Backoff;
    /// use filch::time::Duration;
    ///
    /// let ms = Duration::from_millis;
    /// let backoff = Backoff::exponential(ms(100)).cap(ms(500)).no_jitter();
    /// assert_eq!(backoff.pauses().collect::<Vec<_>>(), [ms(100), ms(200), ms(400), ms(500)]);
    /// ```
    #[must_use]
    pub fn pauses(&self) -> Pauses {
        Pauses { next: self.first, left: self.attempts.map(|attempts| attempts - 1), backoff: self.clone() }
    }
}

impl Default for Backoff {
    /// From 100 ms on, full jitter, 5 attempts.
    fn default() -> Backoff {
        Backoff::exponential(Duration::from_millis(100))
    }
}

/// The pauses of a [`Backoff`]; from [`Backoff::pauses`].
#[derive(Clone, Debug)]
pub struct Pauses {
    backoff: Backoff,
    next: Duration,
    left: Option<u32>,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = match self.left {
            Some(left) => Some(left.checked_sub(1)?),
            None => None,
        };
        let whole = self.next.min(self.backoff.cap);
        self.next = self.next.saturating_mul(self.backoff.factor);
        let least = match self.backoff.jitter {
            Jitter::None => whole,
            Jitter::Equal => whole / 2,
            Jitter::Full => Duration::ZERO,
            Jitter::From(least) => least.min(whole),
        };
        Some(least + part(whole - least))
    }
}

/// A random part of `whole`, from nothing to all of it.
fn part(whole: Duration) -> Duration {
    if whole.is_zero() {
        return whole;
    }
    let (drawn, of) = (random(u32::MAX), u32::MAX - 1);
    let nanos = whole.as_nanos() * u128::from(drawn) / u128::from(of);
    // No more than `whole`, so it fits.
    Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
}

type When<'a, E> = dyn FnMut(&E) -> bool + Send + 'a;
type After<'a, E> = dyn FnMut(&E) -> Option<Duration> + Send + 'a;
type Told<'a, E> = dyn FnMut(&E, u32, Duration) + Send + 'a;

/// [`retry()`] with more to say: which errors are worth another attempt, how long a server asks to wait, and
/// who is told.
///
/// # Examples
/// ```
/// use filch::time::Duration;
/// use filch::{Backoff, GaveUp, Retry};
///
/// #[derive(Debug, PartialEq)]
/// enum Status { Busy { retry_after: Duration }, NotFound }
///
/// # filch::run(async {
/// let mut log = Vec::new();
/// let mut answers = vec![Err(Status::NotFound), Err(Status::Busy { retry_after: Duration::ZERO })];
/// let result: Result<(), _> = Retry::new(Backoff::default())
///     .when(|error| !matches!(error, Status::NotFound))
///     .retry_after(|error| match error {
///         Status::Busy { retry_after } => Some(*retry_after),
///         Status::NotFound => None,
///     })
///     .on_retry(|error, attempt, pause| log.push(format!("{attempt}: {error:?}, waits {pause:?}")))
///     .run(async || answers.pop().unwrap())
///     .await;
/// let error = result.unwrap_err();
/// assert_eq!((error.attempts(), error.gave_up()), (2, GaveUp::NotWorthIt));
/// assert_eq!(error.into_inner(), Status::NotFound);
/// assert_eq!(log, ["1: Busy { retry_after: 0ns }, waits 0ns"]);
/// # });
/// ```
#[must_use = "nothing is done before `run`"]
pub struct Retry<'a, E> {
    backoff: Backoff,
    when: Option<Box<When<'a, E>>>,
    after: Option<Box<After<'a, E>>>,
    told: Option<Box<Told<'a, E>>>,
}

impl<'a, E> Retry<'a, E> {
    /// Retries after each error, as `backoff` says.
    pub fn new(backoff: Backoff) -> Retry<'a, E> {
        Retry { backoff, when: None, after: None, told: None }
    }

    /// Retries after those errors only for which `worth_it` returns true.
    pub fn when(mut self, worth_it: impl FnMut(&E) -> bool + Send + 'a) -> Retry<'a, E> {
        self.when = Some(Box::new(worth_it));
        self
    }

    /// Pauses as long as an error asks for, if it does, instead of what the policy says: `Retry-After`.
    pub fn retry_after(mut self, after: impl FnMut(&E) -> Option<Duration> + Send + 'a) -> Retry<'a, E> {
        self.after = Some(Box::new(after));
        self
    }

    /// Calls `told` before each pause, with the error, the number of the attempt that failed, and the pause.
    pub fn on_retry(mut self, told: impl FnMut(&E, u32, Duration) + Send + 'a) -> Retry<'a, E> {
        self.told = Some(Box::new(told));
        self
    }

    /// Calls `operation` until it succeeds.
    ///
    /// An async closure may change what it borrows, so it can count for example. The compiler does not believe
    /// yet that a future is `Send` in which such a closure *borrows* from around it: in one that is spawned,
    /// write `async move ||`, or use [`run_fn`](Self::run_fn).
    ///
    /// # Errors
    /// [`RetryError`] with the last error, and why there is no further attempt.
    ///
    /// # Panics
    /// When it has to pause outside of a filch runtime.
    ///
    /// # Cancel safety
    /// **Strict** if what `operation` returns is; the attempts that failed are forgotten.
    pub async fn run<T>(self, mut operation: impl AsyncFnMut() -> Result<T, E>) -> Result<T, RetryError<E>> {
        let mut course = self.begin();
        loop {
            match operation().await {
                Ok(value) => return Ok(value),
                Err(error) => course.pause_after(error).await?,
            }
        }
    }

    /// [`run`](Self::run) for a closure that returns a future: `|| async { .. }`. It may borrow from around it
    /// in a future that is spawned, but not change what it borrows.
    ///
    /// # Examples
    /// ```
    /// use filch::{Backoff, Retry};
    ///
    /// # filch::run(async {
    /// let task = filch::spawn(async {
    ///     let name = String::from("of the task");
    ///     let result: Result<usize, _> = Retry::<()>::new(Backoff::default())
    ///         .run_fn(|| async { Ok(name.len()) })
    ///         .await;
    ///     result.unwrap()
    /// });
    /// assert_eq!(task.await.unwrap(), 11);
    /// # });
    /// ```
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    ///
    /// # Cancel safety
    /// **Strict** if what `operation` returns is; the attempts that failed are forgotten.
    pub async fn run_fn<T, F>(self, mut operation: impl FnMut() -> F) -> Result<T, RetryError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut course = self.begin();
        loop {
            match operation().await {
                Ok(value) => return Ok(value),
                Err(error) => course.pause_after(error).await?,
            }
        }
    }

    fn begin(self) -> Course<'a, E> {
        Course { pauses: self.backoff.pauses(), retry: self, start: Instant::now(), attempts: 0 }
    }
}

/// How far it has come.
struct Course<'a, E> {
    retry: Retry<'a, E>,
    pauses: Pauses,
    start: Instant,
    attempts: u32,
}

impl<E> Course<'_, E> {
    /// An attempt failed: pauses before the next one, or gives up.
    async fn pause_after(&mut self, error: E) -> Result<(), RetryError<E>> {
        self.attempts = self.attempts.saturating_add(1);
        let pause = match self.pause(&error) {
            Ok(pause) => pause,
            Err(gave_up) => return Err(RetryError { error, attempts: self.attempts, gave_up }),
        };
        drop(error);
        sleep(pause).await;
        Ok(())
    }

    /// How long to pause.
    fn pause(&mut self, error: &E) -> Result<Duration, GaveUp> {
        let retry = &mut self.retry;
        if retry.when.as_mut().is_some_and(|worth_it| !worth_it(error)) {
            return Err(GaveUp::NotWorthIt);
        }
        let planned = self.pauses.next().ok_or(GaveUp::Attempts)?;
        let pause = retry.after.as_mut().and_then(|after| after(error)).unwrap_or(planned);
        if retry.backoff.deadline.is_some_and(|limit| self.start.elapsed().saturating_add(pause) > limit) {
            return Err(GaveUp::Deadline);
        }
        if let Some(told) = &mut retry.told {
            told(error, self.attempts, pause);
        }
        Ok(pause)
    }
}

impl<E> fmt::Debug for Retry<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("backoff", &self.backoff).finish_non_exhaustive()
    }
}

/// Why there was no further attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GaveUp {
    /// All attempts were made.
    Attempts,
    /// The next one would have begun after the deadline.
    Deadline,
    /// [`Retry::when`] said that the error is not worth it.
    NotWorthIt,
}

/// No attempt succeeded: the last error, and why there was no further one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryError<E> {
    error: E,
    attempts: u32,
    gave_up: GaveUp,
}

impl<E> RetryError<E> {
    /// The error of the last attempt.
    pub fn error(&self) -> &E {
        &self.error
    }

    /// The error of the last attempt, for `map_err(RetryError::into_inner)`.
    pub fn into_inner(self) -> E {
        self.error
    }

    /// How many attempts there were.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Why there were no more.
    pub fn gave_up(&self) -> GaveUp {
        self.gave_up
    }
}

impl<E: fmt::Display> fmt::Display for RetryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RetryError { error, attempts, gave_up } = self;
        let why = match gave_up {
            GaveUp::Attempts => "no more were allowed",
            GaveUp::Deadline => "the next would have been after the deadline",
            GaveUp::NotWorthIt => "this error is not worth another",
        };
        let s = if *attempts == 1 { "" } else { "s" };
        write!(f, "failed after {attempts} attempt{s}, and {why}: {error}")
    }
}

impl<E: Error + 'static> Error for RetryError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}
