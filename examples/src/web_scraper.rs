//! The demo `web_scraper`: the pages of a list, fetched a few at a time, with the title of each or what went wrong.
//!
//! Owns the command line and both halves. It serves itself a site on loopback some of whose pages are slow, endless,
//! broken or moved; the crawler's `fetch` gets each page.

use std::ffi::OsString;
use std::fmt;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use filch::limit::Limiter;
use filch::pool::ThreadPool;
use filch::{Handle, gather, wait_for};

use crate::crawler::{Address, Failure, Fetched, Limits, SiteServer, fetch, fetch_blocking, serve_site};
use crate::story::{self, Halves, Story};

pub(crate) const ABOUT: &str =
    "the pages of a list, a few at a time: the title of each, or its error, in the order of the list";

/// Fetches the pages of a list, so many at a time, on threads and on tasks.
///
/// Each has a time limit; what comes back is a line for each, in the order of the list: address, status and title, or
/// address and error. No page keeps the others from their results.
#[derive(Debug, clap::Parser)]
#[command(name = "web_scraper")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// How it is fetched.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many pages are fetched at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub max_workers: u32,
    /// How many milliseconds a page may take
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub timeout_ms: u64,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { max_workers: 4, timeout_ms: 1_000 }
    }
}

impl Plan {
    fn limits(&self) -> Limits {
        Limits { at_once: self.max_workers, timeout_ms: self.timeout_ms, pages: 100, bytes: 1 << 20 }
    }
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// What came of one address: the guides' `{url, title, status}` or `{url, error}`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Scraped {
    path: String,
    result: Result<(u16, Option<String>), Failure>,
}

impl fmt::Display for Scraped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Ok((status, Some(title))) => write!(f, "{}: {status}, {title:?}", self.path),
            Ok((status, None)) => write!(f, "{}: {status}", self.path),
            Err(failure) => write!(f, "{}: {failure}", self.path),
        }
    }
}

/// A path, and what comes of it.
type Expected = (&'static str, Result<(u16, Option<&'static str>), Failure>);

/// A status without a title, or the title of a page, or what goes wrong: for each page of the list what comes of it.
const EXPECTED: [Expected; 8] = [
    ("/page/7", Err(Failure::Timeout)),
    ("/", Ok((200, Some("Start")))),
    ("/page/3", Ok((200, Some("Page 3")))),
    ("/page/11", Err(Failure::Broken)),
    ("/page/13", Ok((200, Some("Page 14")))),
    ("/page/17", Ok((500, None))),
    ("/missing", Ok((404, None))),
    ("/page/1", Ok((200, Some("Page 1")))),
];

/// The list: the pages of the site, and at last one where nobody answers.
fn addresses(site: &SiteServer) -> Vec<Address> {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let nobody = format!("http://{}/nobody", nobody.expect("a port of loopback"));
    let start = site.start();
    let pages = EXPECTED.iter().map(|(path, _)| start.follow(path).expect("a path on the host"));
    pages.chain([nobody.parse().expect("an address")]).collect()
}

/// How many are being fetched, and the most that ever were.
#[derive(Default)]
struct AtOnce(AtomicU32, AtomicU32);

impl AtOnce {
    fn enter(&self) {
        self.1.fetch_max(self.0.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn scraped(address: &Address, result: Result<Fetched, Failure>) -> Scraped {
    let result = result.map(|page| (page.status, page.title));
    Scraped { path: address.path().to_owned(), result }
}

/// Where a page leads that has moved, to be fetched in its place.
fn moved(fetched: &Result<Fetched, Failure>) -> Option<Address> {
    fetched.as_ref().ok().filter(|page| (300..400).contains(&page.status))?.links.first().cloned()
}

fn scrape_blocking(address: &Address, limits: Limits) -> Scraped {
    let mut fetched = fetch_blocking(address, limits);
    if let Some(to) = moved(&fetched) {
        fetched = fetch_blocking(&to, limits);
    }
    scraped(address, fetched)
}

async fn scrape(address: &Address, limits: Limits) -> Scraped {
    let pages = async {
        let fetched = fetch(address, limits.bytes).await;
        match moved(&fetched) {
            Some(to) => fetch(&to, limits.bytes).await,
            None => fetched,
        }
    };
    let fetched = wait_for(pages, limits.timeout()).await.unwrap_or(Err(Failure::Timeout));
    scraped(address, fetched)
}

impl Halves for Plan {
    fn about(&self) -> String {
        let pages = EXPECTED.len() + 1;
        format!(
            "{pages} pages are fetched, {} at a time, in {} ms at most.",
            self.max_workers, self.timeout_ms
        )
    }

    fn threads(&self, story: &mut Story) {
        let site = Handle::current().block_on(serve_site(20)).expect("a port of loopback");
        let pool = ThreadPool::new(self.max_workers as usize).expect("threads can be started");
        let (at_once, limits) = (Arc::new(AtOnce::default()), self.limits());
        let scrapes = pool.map(addresses(&site), {
            let at_once = at_once.clone();
            move |address| {
                at_once.enter();
                let scraped = scrape_blocking(&address, limits);
                at_once.leave();
                scraped
            }
        });
        let all: Vec<_> = scrapes.map(|scraped| scraped.expect("no scrape panics")).collect();
        tell(story, self, &all, &at_once);
    }

    async fn tasks(self, story: &mut Story) {
        let site = serve_site(20).await.expect("a port of loopback");
        let (limiter, at_once, limits) =
            (Limiter::new(self.max_workers as usize), AtOnce::default(), self.limits());
        let (addresses, counts) = (addresses(&site), &at_once);
        let scrapes = addresses.iter().map(|address| {
            limiter.run(async move {
                counts.enter();
                let scraped = scrape(address, limits).await;
                counts.leave();
                scraped
            })
        });
        let all = gather(scrapes).await;
        tell(story, &self, &all, &at_once);
    }
}

fn tell(story: &mut Story, plan: &Plan, all: &[Scraped], at_once: &AtOnce) {
    all.iter().for_each(|one| story.note(one));
    let nobody: Expected = ("/nobody", Err(Failure::Connect));
    let expected = EXPECTED.into_iter().chain([nobody]).map(|(path, result)| Scraped {
        path: path.into(),
        result: result.map(|(status, title)| (status, title.map(str::to_owned))),
    });
    story.is("each has its line, in the order of the list", all.iter().cloned().eq(expected));
    let most = at_once.1.load(Ordering::Relaxed);
    story.holds("at most so many at a time as there may be", most <= plan.max_workers, most);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_its_line() {
        story::assert_holds(Plan { max_workers: 3, ..Plan::default() });
    }
}
