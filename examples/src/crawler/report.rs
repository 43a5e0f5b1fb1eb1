//! What a crawl came to: counts, the live line while it goes on, and the table at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use comfy_table::{CellAlignment, Table};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::page::{Failure, Fetched};

/// What a crawl has come to so far, for a live line.
#[derive(Clone, Copy, Default, Debug)]
pub struct Progress {
    pub(super) fetched: usize,
    pub(super) under_way: usize,
    pub(super) waiting: usize,
    pub(super) failed: usize,
    pub(super) bytes: usize,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { fetched, under_way, waiting, failed, bytes } = self;
        write!(
            f,
            "{fetched} pages, {failed} failed, {under_way} under way, {waiting} waiting, {} KiB",
            bytes >> 10
        )
    }
}

/// What a crawl came to.
#[derive(Clone, Default, Debug)]
pub struct Report {
    statuses: BTreeMap<u16, usize>,
    failures: BTreeMap<Failure, usize>,
    latencies: Vec<Duration>,
    bytes: usize,
    most_at_once: usize,
    wall: Duration,
    /// What became of the very first page, when that failed.
    start: Option<Failure>,
}

impl Report {
    /// Counts one page in.
    pub(super) fn add(&mut self, result: &Result<Fetched, Failure>, latency: Duration) {
        match result {
            Ok(fetched) => {
                *self.statuses.entry(fetched.status).or_default() += 1;
                self.bytes += fetched.bytes;
                self.latencies.push(latency);
            }
            Err(failure) => {
                if self.pages() == 0 {
                    self.start = Some(*failure);
                }
                *self.failures.entry(*failure).or_default() += 1;
            }
        }
    }

    pub(super) fn progress(&self, under_way: usize, waiting: usize) -> Progress {
        let failed = self.failures.values().sum();
        Progress { fetched: self.statuses.values().sum(), under_way, waiting, failed, bytes: self.bytes }
    }

    pub(super) fn saw_at_once(&mut self, pages: usize) {
        self.most_at_once = self.most_at_once.max(pages);
    }

    pub(super) fn finish(mut self, wall: Duration) -> Report {
        self.latencies.sort_unstable();
        self.wall = wall;
        self
    }

    /// How many pages were tried.
    pub fn pages(&self) -> usize {
        self.statuses.values().sum::<usize>() + self.failures.values().sum::<usize>()
    }

    /// How many answers had this status.
    pub fn with_status(&self, status: u16) -> usize {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// How many pages failed in this way.
    pub fn with_failure(&self, failure: Failure) -> usize {
        self.failures.get(&failure).copied().unwrap_or(0)
    }

    /// How many pages were fetched at a time, at the most.
    pub fn most_at_once(&self) -> usize {
        self.most_at_once
    }

    /// How long it took.
    pub fn wall(&self) -> Duration {
        self.wall
    }

    /// Why nothing at all could be fetched, if so.
    pub fn start_failure(&self) -> Option<Failure> {
        self.start.filter(|_| self.pages() == 1)
    }

    /// The latency that so many percent of the answers stayed below.
    pub fn latency(&self, percent: usize) -> Option<Duration> {
        let last = self.latencies.len().checked_sub(1)?;
        self.latencies.get((self.latencies.len() * percent / 100).min(last)).copied()
    }
}

/// A line that shows a message and how long it has been there; nothing where there is no terminal.
pub(super) fn live_line() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    let style = ProgressStyle::with_template("{elapsed} {msg}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

/// The reports side by side.
pub(super) fn table(columns: &[(String, Report)]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(std::iter::once("").chain(columns.iter().map(|(name, _)| name.as_str())));
    let mut row = |name: &str, value: &dyn Fn(&Report) -> String| {
        table
            .add_row(std::iter::once(name.to_owned()).chain(columns.iter().map(|(_, report)| value(report))));
    };
    row("pages", &|report| report.pages().to_string());
    row("KiB", &|report| (report.bytes >> 10).to_string());
    let mut statuses: Vec<u16> =
        columns.iter().flat_map(|(_, report)| report.statuses.keys().copied()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    for status in statuses {
        row(&format!("status {status}"), &|report| report.with_status(status).to_string());
    }
    let mut failures: Vec<Failure> =
        columns.iter().flat_map(|(_, report)| report.failures.keys().copied()).collect();
    failures.sort_unstable();
    failures.dedup();
    for failure in failures {
        row(&failure.to_string(), &|report| report.with_failure(failure).to_string());
    }
    row("most at once", &|report| report.most_at_once().to_string());
    for percent in [50, 99] {
        row(&format!("p{percent}"), &|report| {
            report
                .latency(percent)
                .map_or("-".into(), |latency| format!("{:.1} ms", latency.as_secs_f64() * 1e3))
        });
    }
    row("wall time", &|report| format!("{:.2} s", report.wall().as_secs_f64()));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
