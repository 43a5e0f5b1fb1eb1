//! The demo `crawler`: fetches a whole site, once with tasks and once with threads.
//!
//! Owns the command line. `site` is the site it serves itself, `page` knows addresses and links, `tasks` and
//! `threads` crawl, `report` counts and prints.

mod page;
mod report;
mod site;
mod tasks;
mod threads;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

pub use page::{Address, Failure, Fetched};
pub use report::Report;
pub use site::{SiteServer, serve_site};
pub use tasks::crawl;
pub use threads::crawl_with_threads;

pub(crate) use tasks::fetch;
pub(crate) use threads::fetch as fetch_blocking;

pub(crate) const ABOUT: &str =
    "fetches a whole site with bounded concurrency, on tasks and on threads side by side";

/// Fetches a whole site: every page that a link leads to, on one host.
///
/// Without an address it serves itself a site of generated pages on loopback, some of them slow, broken,
/// redirecting or endless.
#[derive(Debug, clap::Parser)]
#[command(name = "crawler")]
struct Args {
    /// Where to begin, such as http://127.0.0.1:8000/
    address: Option<Address>,
    #[command(flatten)]
    limits: Limits,
    /// How many pages the generated site has
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    size: u32,
    /// How many threads to compare with; 0 leaves the comparison out
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(0..=1024))]
    threads: u32,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// What a crawl may take.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Limits {
    /// How many pages to fetch at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub at_once: u32,
    /// How many milliseconds a page may take
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout_ms: u64,
    /// How many pages to fetch at most
    #[arg(long, default_value_t = 10_000)]
    pub pages: usize,
    /// How many bytes of a page to read at most
    #[arg(long, default_value_t = 4 << 20)]
    pub bytes: usize,
}

impl Limits {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let args = match crate::parse::<Args>(arguments) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let runtime = match crate::runtime(args.workers) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    match runtime.block_on(both(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crawler: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn both(args: &Args) -> io::Result<()> {
    let site = match args.address {
        Some(_) => None,
        None => Some(serve_site(args.size).await?),
    };
    let start = match (&args.address, &site) {
        (Some(address), _) => address.clone(),
        (None, Some(site)) => site.start(),
        (None, None) => unreachable!("without an address there is a site"),
    };
    println!(
        "Crawling {start}, {} pages at once, {} ms a page.",
        args.limits.at_once, args.limits.timeout_ms
    );
    let line = report::live_line();
    let on_tasks = crawl(start.clone(), args.limits, |progress| line.set_message(progress.to_string())).await;
    line.finish_and_clear();
    if let Some(failure) = on_tasks.start_failure() {
        return Err(io::Error::other(format!("{start}: {failure}")));
    }
    let mut columns = vec![("tasks".to_string(), on_tasks)];
    if args.threads > 0 {
        let (limits, threads, line) = (args.limits, args.threads, report::live_line());
        // On the blocking pool: the site that it crawls may be served by this very runtime.
        let crawl = filch::spawn_blocking(move || {
            let report = crawl_with_threads(&start, limits, threads as usize, |progress| {
                line.set_message(progress.to_string());
            });
            line.finish_and_clear();
            report
        });
        columns.push((format!("{} threads", args.threads), crawl.await.map_err(io::Error::other)?));
    }
    println!("{}", report::table(&columns));
    Ok(())
}
