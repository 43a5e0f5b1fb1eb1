//! The attribute macros of filch: `#[filch::main]` and `#[filch::test]`.
//!
//! Owns the entry points that a user sees; `parse` reads the tokens, `expand` writes the new ones. There is no
//! `syn` here: an attribute needs the name of a function, its result and nothing of its body.
#![forbid(unsafe_code)]

mod expand;
mod parse;

use proc_macro::TokenStream;

/// Runs an `async fn main` on a runtime of its own, which is shut down in order when it returns.
///
/// Whatever `main` returns is passed through, so `Result<(), E>` works as usual.
///
/// | argument        | meaning                                                        |
/// |-----------------|----------------------------------------------------------------|
/// | `workers = N`   | how many worker threads; the default is one a CPU              |
/// | `single_thread` | everything on the calling thread, so that futures may be `!Send` |
///
/// # Examples
/// ```no_run
/// #[filch::main]
/// async fn main() -> std::io::Result<()> {
///     let listener = filch::net::TcpListener::bind("127.0.0.1:0").await?;
///     println!("{}", listener.local_addr()?);
///     Ok(())
/// }
/// ```
///
/// Only an `async fn` without arguments will do, and only the words of the table:
/// ```compile_fail
/// #[filch::main]
/// fn main() {}
/// ```
/// ```compile_fail
/// #[filch::main(flavor = "multi_thread")]
/// async fn main() {}
/// ```
/// ```compile_fail
/// #[filch::main]
/// async fn main(arguments: Vec<String>) {}
/// ```
///
/// # Panics
/// When the runtime cannot start: the message says why.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(expand::Macro::Main, arguments, item)
}

/// Runs an `async fn` as a test, on a runtime of its own.
///
/// | argument        | meaning                                                                     |
/// |-----------------|-----------------------------------------------------------------------------|
/// | (none)          | two workers                                                                 |
/// | `workers = N`   | that many                                                                   |
/// | `single_thread` | everything on the test's thread                                             |
/// | `paused`        | one thread, and a virtual clock that jumps when all is idle; the seed gives the order |
/// | `seed = N`      | with `paused`: the seed, instead of a new one each time                     |
///
/// A paused test that fails prints its seed. `FILCH_SEED=N cargo test NAME` repeats it.
///
/// # Examples
/// ```no_run
/// #[filch::test(paused, seed = 7)]
/// async fn a_day_passes_at_once() {
///     filch::time::sleep(std::time::Duration::from_secs(86_400)).await;
/// }
/// ```
///
/// Words that contradict each other are refused:
/// ```compile_fail
/// #[filch::test(paused, workers = 4)]
/// async fn one_thread_is_enough() {}
/// # fn main() {}
/// ```
/// ```compile_fail
/// #[filch::test(seed = 7)]
/// async fn a_seed_of_what() {}
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(expand::Macro::Test, arguments, item)
}
