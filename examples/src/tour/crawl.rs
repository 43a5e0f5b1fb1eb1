//! The part about the crawler: a whole site, with its troubles, on tasks and on threads.

use super::{Error, Part};
use crate::crawler::{Failure, Limits, Report, SiteServer, crawl, crawl_with_threads, serve_site};

const PAGES: u32 = 200;
const THREADS: usize = 8;

pub(super) async fn show(part: &mut Part) -> Result<(), Error> {
    let limits = Limits { at_once: 40, timeout_ms: 1000, pages: 10_000, bytes: 4 << 20 };
    let site = serve_site(PAGES).await?;
    let start = site.start();
    let on_tasks = crawl(start.clone(), limits, |_| {}).await;
    let claim = format!("{} pages on tasks, {} at a time", on_tasks.pages(), on_tasks.most_at_once());
    let bounded = on_tasks.most_at_once() <= limits.at_once as usize && on_tasks.most_at_once() > 1;
    part.show(on_tasks.pages() == site.addresses() && bounded, claim);
    part.show(
        troubles_are_right(&site, &on_tasks),
        "each page that hangs, breaks off, redirects or fails is told",
    );

    let crawl = filch::spawn_blocking(move || crawl_with_threads(&start, limits, THREADS, |_| {}));
    let on_threads = crawl.await?;
    let same = on_threads.pages() == site.addresses() && troubles_are_right(&site, &on_threads);
    let (tasks, threads) = (on_tasks.wall().as_secs_f64(), on_threads.wall().as_secs_f64());
    part.show(
        same,
        format_args!("{THREADS} threads find the same, in {threads:.2} s; the tasks took {tasks:.2} s"),
    );
    Ok(())
}

fn troubles_are_right(site: &SiteServer, report: &Report) -> bool {
    let (endless, broken, redirecting, failing) = site.troubles();
    report.with_failure(Failure::Timeout) == endless
        && report.with_failure(Failure::Broken) == broken
        && report.with_status(302) == redirecting
        && report.with_status(500) == failing
        && report.with_status(404) == 1
}
