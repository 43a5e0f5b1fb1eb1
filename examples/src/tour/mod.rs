//! The tour: what filch promises, shown on real sockets in under a minute. It fails if a part does not hold.
//!
//! Owns the order of the parts and what is printed. Each part is a file here and shows its claims through
//! `Part::show`, which checks them.

mod asyncio;
mod chat;
mod crawl;
mod http;
mod primitives;
mod processes;
mod queues;
mod tasks;
mod wire;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub(crate) const ABOUT: &str =
    "shows all of filch on real sockets in under a minute, and checks what it shows";

/// No part takes longer than this: one that would is reported as a failure, not waited for.
const LONGEST_PART: Duration = Duration::from_secs(25);

/// Shows what filch does, on real sockets, and checks that it holds. Ends with status 0 only if all of it did.
///
/// `tour list` names the other demos, `tour NAME [arguments]` runs one; each has --help.
#[derive(Debug, clap::Parser)]
#[command(name = "tour")]
struct Args {
    /// How many worker threads
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: u32,
}

/// Runs the tour.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let args = match crate::parse::<Args>(arguments) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let runtime = match crate::runtime(args.workers as usize) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let began = Instant::now();
    println!("A tour of filch, on {} workers.", args.workers);
    let (mut shown, mut failed) = (0, 0);
    let parts: [(&str, Show); 8] = [
        ("Tasks", |part| Box::pin(tasks::show(part))),
        ("Queues", |part| Box::pin(queues::show(part))),
        ("Locks and channels, on threads and on tasks", |part| Box::pin(primitives::show(part))),
        ("Processes", |part| Box::pin(processes::show(part))),
        ("Many things at once, limits, and what goes wrong", |part| Box::pin(asyncio::show(part))),
        ("A web server", |part| Box::pin(http::show(part))),
        ("A crawler", |part| Box::pin(crawl::show(part))),
        ("A chat", |part| Box::pin(chat::show(part))),
    ];
    for (name, show) in parts {
        println!("\n{name}");
        let mut part = Part { shown: 0, failed: 0, last: Instant::now() };
        let result = runtime.block_on(async { filch::time::timeout(LONGEST_PART, show(&mut part)).await });
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => part.show(false, format_args!("the part broke off: {error}")),
            Err(_) => part.show(false, format_args!("the part took longer than {LONGEST_PART:?}")),
        }
        shown += part.shown;
        failed += part.failed;
    }
    drop(runtime);
    println!("\n{shown} claims shown in {:.1} s, {failed} of them failed.", began.elapsed().as_secs_f64());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

type Error = Box<dyn std::error::Error + Send + Sync>;
type BoxedPart<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;
type Show = fn(&mut Part) -> BoxedPart<'_>;

/// What a part has shown so far.
struct Part {
    shown: usize,
    failed: usize,
    last: Instant,
}

impl Part {
    /// Prints a claim, whether it holds, and how long it took to find out.
    fn show(&mut self, holds: bool, claim: impl std::fmt::Display) {
        let took = self.last.elapsed();
        let mark = if holds { "ok  " } else { "FAIL" };
        println!("  {mark} {:>8.1} ms  {claim}", took.as_secs_f64() * 1e3);
        self.shown += 1;
        self.failed += usize::from(!holds);
        self.last = Instant::now();
    }
}
