//! Layer 4. The macros by example, `select!` and `task_local!`, and what every macro's expansion calls.
//!
//! Owns no state but the generator, one a thread, that picks where `select!` starts.
#![forbid(unsafe_code)]

/// Waits for several futures at once and runs the handler of the first one that is ready.
///
/// ```text
/// select! {
///     biased;                                     // optional, first
///     pattern = future => handler,
///     pattern = future if condition => handler,
///     pattern = keep place => handler,
///     else => handler,                            // optional, last
/// }
/// ```
///
/// 1. The conditions are evaluated, in order. Where one is false its branch is disabled, and its future is not
///    even made.
/// 2. The other futures are made, in order. Anything that is [`IntoFuture`] will do.
/// 3. They are polled, starting at a random one so that none starves the others; after `biased;` always from
///    the first to the last.
/// 4. The first output that matches its pattern wins. One that does not match disables its branch, and the
///    others go on.
/// 5. **All futures are dropped**, the losers too; whatever they had borrowed is free again. Then the handler
///    runs, and what it returns is the value of `select!`. It may `.await`, `return`, `break` and use `?`.
/// 6. When every branch is disabled, the `else` handler runs. Without one, that is a panic.
///
/// # Keeping a future
/// A branch takes its future by value: what has not won is cancelled, by being dropped. To go on with it later,
/// in the next turn of a loop say, write `keep place`. That borrows the future mutably. It must be `Unpin`: pin
/// it with [`std::pin::pin!`] first. A future that was kept and has won must not be polled again: guard the
/// branch with a condition, or put a new future in its place.
///
/// # Differences from tokio's `select!`
/// - `&mut future` is refused, since it hides that the future outlives the `select!`: write `keep future`.
/// - A condition comes without a comma (`future if condition`); with one, as in tokio, it is understood too.
/// - A future whose condition is false is not made; tokio makes it and does not poll it.
/// - A future expression that holds a bare `if` must stand in parentheses.
///
/// # Examples
/// ```
/// use std::future::{pending, ready};
///
/// # futures_lite::future::block_on(async {
/// let answer = filch::select! {
///     n = ready(42) => n,
///     _ = pending::<()>() => 0,
/// };
/// assert_eq!(answer, 42);
/// # });
/// ```
///
/// A loop that reads commands while one long job goes on:
/// ```
/// use std::pin::pin;
///
/// # async fn job() -> u32 { futures_lite::future::yield_now().await; 7 }
/// # futures_lite::future::block_on(async {
/// # let mut commands = vec!["b", "a"];
/// let mut job = pin!(job());
/// let done = loop {
///     filch::select! {
///         done = keep job => break done,
///         Some(command) = async { commands.pop() } => println!("{command}"),
///     }
/// };
/// assert_eq!(done, 7);
/// # });
/// ```
///
/// # Panics
/// When all branches are disabled and there is no `else`.
///
/// # Cancel safety
/// Losing a `select!` drops a future, so each branch is as cancel safe as the operation in it: see there.
#[macro_export]
macro_rules! select {
    () => { compile_error!("`select!` needs at least one branch: `pattern = future => handler`") };
    (biased; $($rest:tt)*) => { $crate::__select!(@branch true [] [] $($rest)*) };
    ($($rest:tt)*) => { $crate::__select!(@branch false [] [] $($rest)*) };
}

/// The machinery of [`select!`], apart so that its arms do not clutter the documentation.
///
/// `@branch` reads one branch at a time and gathers conditions and branches; `@future` looks for an `if` after a
/// future, eight tokens a step; `@handler` reads a handler. Then `@list` nests the futures, and `@match` the
/// handlers.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // The end, with and without `else`.
    (@branch $biased:literal $conditions:tt $branches:tt) => {
        $crate::__select!(@run $biased $conditions $branches {
            ::core::panic!("every branch of this `select!` is disabled, and it has no `else`")
        })
    };
    (@branch $biased:literal $conditions:tt $branches:tt else => $handler:expr $(,)?) => {
        $crate::__select!(@run $biased $conditions $branches { $handler })
    };
    (@branch $biased:literal $conditions:tt $branches:tt else $($rest:tt)*) => {
        compile_error!("`else => handler` must be the last branch of `select!`")
    };

    // A future to keep, a borrowed one, and any other one, without a condition.
    (@branch $b:literal $c:tt $r:tt $p:pat = keep $place:expr => $($rest:tt)*) => {
        $crate::__select!(@handler $b $c $r [always] [$p] [&mut $place] $($rest)*)
    };
    (@branch $b:literal $c:tt $r:tt $p:pat = &mut $($rest:tt)*) => {
        compile_error!("`select!` takes futures by value: to borrow one, write `keep place`, not `&mut place`")
    };
    (@branch $b:literal $c:tt $r:tt $p:pat = $future:expr => $($rest:tt)*) => {
        $crate::__select!(@handler $b $c $r [always] [$p] [$future] $($rest)*)
    };

    // The same with a condition, as tokio writes it.
    (@branch $b:literal $c:tt $r:tt $p:pat = keep $place:expr, if $if:expr => $($rest:tt)*) => {
        $crate::__select!(@handler $b $c $r [$if] [$p] [&mut $place] $($rest)*)
    };
    (@branch $b:literal $c:tt $r:tt $p:pat = $future:expr, if $if:expr => $($rest:tt)*) => {
        $crate::__select!(@handler $b $c $r [$if] [$p] [$future] $($rest)*)
    };

    // And as it is written here: no fragment may be followed by `if`, so the tokens are walked.
    (@branch $b:literal $c:tt $r:tt $p:pat = keep $($rest:tt)*) => {
        $crate::__select!(@future $b $c $r [$p] [&mut] $($rest)*)
    };
    (@branch $b:literal $c:tt $r:tt $p:pat = $($rest:tt)*) => {
        $crate::__select!(@future $b $c $r [$p] [] $($rest)*)
    };
    (@branch $b:literal $c:tt $r:tt $($rest:tt)*) => {
        compile_error!(concat!(
            "`select!` expected `pattern = future => handler`, found: ",
            stringify!($($rest)*)
        ))
    };

    (@future $b:literal $c:tt $r:tt $p:tt [$($f:tt)+] if $if:expr => $($rest:tt)*) => {
        $crate::__select!(@handler $b $c $r [$if] $p [$($f)+] $($rest)*)
    };
    (@future $b:literal $c:tt $r:tt $p:tt [$($f:tt)*] $t1:tt if $if:expr => $($rest:tt)*) => {
        $crate::__select!(@handler $b $c $r [$if] $p [$($f)* $t1] $($rest)*)
    };
    (@future $b:literal $c:tt $r:tt $p:tt [$($f:tt)*] $t1:tt $t2:tt if $if:expr => $($rest:tt)*) => {
        $crate::__select!(@handler $b $c $r [$if] $p [$($f)* $t1 $t2] $($rest)*)
    };
    (@future $b:literal $c:tt $r:tt $p:tt [$($f:tt)*]
        $t1:tt $t2:tt $t3:tt if $if:expr => $($rest:tt)*) => {
        $crate::__select!(@handler $b $c $r [$if] $p [$($f)* $t1 $t2 $t3] $($rest)*)
    };
    (@future $b:literal $c:tt $r:tt $p:tt [$($f:tt)*] $t1:tt $t2:tt $t3:tt $t4:tt $($rest:tt)*) => {
        $crate::__select!(@future $b $c $r $p [$($f)* $t1 $t2 $t3 $t4] $($rest)*)
    };
    (@future $b:literal $c:tt $r:tt $p:tt [$($f:tt)*] $($rest:tt)*) => {
        compile_error!(concat!(
            "`select!` expected `=> handler` or `if condition => handler` after a future, near: ",
            stringify!($($f)* $($rest)*)
        ))
    };

    (@handler $b:literal [$($c:tt)*] [$($r:tt)*] $if:tt $p:tt $f:tt $handler:block, $($rest:tt)*) => {
        $crate::__select!(@branch $b [$($c)* $if] [$($r)* { $p $f [$handler] $if }] $($rest)*)
    };
    (@handler $b:literal [$($c:tt)*] [$($r:tt)*] $if:tt $p:tt $f:tt $handler:block $($rest:tt)*) => {
        $crate::__select!(@branch $b [$($c)* $if] [$($r)* { $p $f [$handler] $if }] $($rest)*)
    };
    (@handler $b:literal [$($c:tt)*] [$($r:tt)*] $if:tt $p:tt $f:tt $handler:expr) => {
        $crate::__select!(@branch $b [$($c)* $if] [$($r)* { $p $f [$handler] $if }])
    };
    (@handler $b:literal [$($c:tt)*] [$($r:tt)*] $if:tt $p:tt $f:tt $handler:expr, $($rest:tt)*) => {
        $crate::__select!(@branch $b [$($c)* $if] [$($r)* { $p $f [$handler] $if }] $($rest)*)
    };

    // Only `else`.
    (@run $biased:literal [] [] $else:block) => { $else };
    (@run $biased:literal [$($if:tt)+] $branches:tt $else:block) => {{
        let enabled = [$($crate::__select!(@condition $if)),+];
        let outcome = $crate::__private::Select::new(
            $crate::__select!(@list enabled (0) $branches),
            $biased,
        )
        .await;
        // The futures and their temporaries are gone here, before any handler runs.
        match outcome {
            #[allow(unused_mut)]
            ::core::option::Option::Some(mut outcome) => $crate::__select!(@match outcome $branches),
            ::core::option::Option::None => $else,
        }
    }};

    (@condition [always]) => { true };
    (@condition [$if:expr]) => { $if };

    (@list $enabled:ident $index:tt []) => { $crate::__private::End };
    (@list $enabled:ident ($($index:tt)+) [{ $p:tt $f:tt $handler:tt $if:tt } $($rest:tt)*]) => {
        $crate::__private::List::new(
            $crate::__select!(@make $enabled[$($index)+]; $if $f),
            $crate::__select!(@fits $p),
            $crate::__select!(@list $enabled ($($index)+ + 1) [$($rest)*]),
        )
    };

    // Without a block round it, so that its temporaries live as long as the future.
    (@make $enabled:expr; [always] [$($f:tt)+]) => {
        ::core::option::Option::Some(::core::future::IntoFuture::into_future($($f)+))
    };
    (@make $enabled:expr; $if:tt [$($f:tt)+]) => {
        if $enabled {
            ::core::option::Option::Some(::core::future::IntoFuture::into_future($($f)+))
        } else {
            ::core::option::Option::None
        }
    };

    // Whether the pattern fits, without moving the output: bindings are made after the guard, so never.
    (@fits [$p:pat]) => {
        |#[allow(unused_mut)] mut output| {
            let mut fits = false;
            #[allow(unused_variables, unused_mut, unreachable_code)]
            match output {
                $p if {
                    fits = true;
                    false
                } => ::core::unreachable!(),
                _ => {}
            }
            if fits { ::core::option::Option::Some(output) } else { ::core::option::Option::None }
        }
    };

    (@match $outcome:ident []) => { match $outcome {} };
    (@match $outcome:ident [{ [$p:pat] $f:tt [$handler:expr] $if:tt } $($rest:tt)*]) => {
        match $outcome {
            $crate::__private::Outcome::Here($p) => $handler,
            #[allow(unused_mut)]
            $crate::__private::Outcome::Later(mut outcome) => {
                $crate::__select!(@match outcome [$($rest)*])
            }
            #[allow(unreachable_patterns)]
            _ => ::core::unreachable!("an output that fitted its pattern no longer does"),
        }
    };
}

/// What the expansions of this crate's macros call. Not public API.
pub mod support {
    #![allow(missing_docs)]

    pub use crate::gather::tuple::{End as GatherEnd, List as GatherList, TryWhole, Whole};
    pub use crate::select::{End, List, Outcome, Select};
    pub use crate::task_local::LocalKey;

    use std::cell::Cell;
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher;
    use std::io;

    use crate::util::rng::Rng;
    use crate::{Builder, Runtime};

    /// What `#[filch::main]` and `#[filch::test]` do with a runtime that cannot be built.
    #[track_caller]
    pub fn no_start(error: io::Error) -> Runtime {
        panic!("filch: the runtime cannot start: {error}");
    }

    /// Runs the test `name` on the virtual clock, and prints the seed if it fails.
    ///
    /// The seed is the one given, else that of the variable `FILCH_SEED`, else a new one.
    #[track_caller]
    pub fn paused_test<F: Future>(
        seed: Option<u64>,
        name: &'static str,
        test: impl FnOnce() -> F,
        failed: impl FnOnce(&F::Output) -> bool,
    ) -> F::Output {
        let seed = seed.unwrap_or_else(|| match std::env::var("FILCH_SEED") {
            Ok(text) => text.parse().unwrap_or_else(|_| {
                panic!("FILCH_SEED is `{text}`, which is no number from 0 to {}", u64::MAX)
            }),
            Err(_) => RandomState::new().hash_one(name),
        });
        let print = PrintSeed { seed, name };
        // A paused runtime polls everything on this thread.
        self::seed(seed);
        let output = Builder::new().paused_clock(seed).build().unwrap_or_else(no_start).block_on(test());
        if !failed(&output) {
            std::mem::forget(print);
        }
        output
    }

    /// Dropped by a panic, and after an `Err`.
    struct PrintSeed {
        seed: u64,
        name: &'static str,
    }

    impl Drop for PrintSeed {
        fn drop(&mut self) {
            let PrintSeed { seed, name } = self;
            eprintln!(
                "`{name}` failed with the seed {seed}: repeat it with `FILCH_SEED={seed} cargo test {name}`"
            );
        }
    }

    /// Whether the output of a test means failure. A `Result` finds this trait first, anything else, one
    /// reference further, the other one.
    pub trait FailedResult {
        fn filch_failed(&self) -> bool;
    }

    impl<T, E> FailedResult for Result<T, E> {
        fn filch_failed(&self) -> bool {
            self.is_err()
        }
    }

    /// See [`FailedResult`].
    pub trait FailedOther {
        fn filch_failed(&self) -> bool;
    }

    impl<T> FailedOther for &T {
        fn filch_failed(&self) -> bool {
            false
        }
    }

    thread_local! {
        static RANDOM: Cell<Option<Rng>> = const { Cell::new(None) };
    }

    /// A number below `n`, which is not zero: where a `select!` starts.
    #[inline]
    pub fn random(n: u32) -> u32 {
        RANDOM.with(|random| {
            let mut rng = random.take().unwrap_or_else(Rng::from_entropy);
            let number = rng.below(n);
            random.set(Some(rng));
            number
        })
    }

    /// Makes the numbers that this thread draws from now on follow from `seed`.
    pub(crate) fn seed(seed: u64) {
        RANDOM.set(Some(Rng::new(seed)));
    }
}
