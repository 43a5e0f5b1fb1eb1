//! Layer 0, in models only. Weakens one memory ordering, or loses one wake-up, to see whether a model notices.
//!
//! Owns the choice, which is made at run time by the site, `file:line:column`, so that one build serves for all.
//! Called by `sync.rs` in every operation; `cargo run -p filch-tests --bin mutate` sets the variables, and keeps
//! the score.
//!
//! * `FILCH_SITES=PATH`: each site that is passed is written to that file, once, with its operation and orderings.
//! * `FILCH_MUTATE="SITE HOW"`: at that site, what `HOW` says; see [`Mutant::order`], [`lost`].
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::panic::Location;

use super::report::Mutex;
use super::{OnceLock, Ordering};

/// What is done, and where.
struct Mutant {
    file: String,
    line: u32,
    column: u32,
    how: String,
}

/// The file that sites are written to, and those that are in it.
type Sites = Mutex<(File, HashSet<(&'static str, u32, u32)>)>;

fn mutant() -> Option<&'static Mutant> {
    static MUTANT: OnceLock<Option<Mutant>> = OnceLock::new();
    let read = || {
        let text = std::env::var("FILCH_MUTATE").ok()?;
        let (site, how) = text.split_once(' ').expect("FILCH_MUTATE is `file:line:column how`");
        let mut parts = site.rsplitn(3, ':');
        let mut number = || parts.next()?.parse().ok();
        let (column, line) = (number(), number());
        let file = parts.next().expect("a file").to_owned();
        Some(Mutant {
            file,
            line: line.expect("a line"),
            column: column.expect("a column"),
            how: how.to_owned(),
        })
    };
    MUTANT.get_or_init(read).as_ref()
}

impl Mutant {
    fn is_at(&self, site: &Location<'_>) -> bool {
        (self.line, self.column) == (site.line(), site.column()) && self.file == site.file()
    }

    /// `relaxed`: no order at all. `acquire`, `release`: that half alone.
    fn order(&self, how: &str, order: Ordering) -> Ordering {
        match how {
            "relaxed" => Ordering::Relaxed,
            "acquire" => Ordering::Acquire,
            "release" => Ordering::Release,
            _ => order,
        }
    }
}

fn note(site: &'static Location<'static>, what: &str) {
    static SITES: OnceLock<Option<Sites>> = OnceLock::new();
    let open = || {
        let path = std::env::var_os("FILCH_SITES")?;
        let file = OpenOptions::new().create(true).append(true).open(path).expect("the file of the sites");
        Some(Mutex::new((file, HashSet::new())))
    };
    if let Some(sites) = SITES.get_or_init(open) {
        let mut sites = sites.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if sites.1.insert((site.file(), site.line(), site.column())) {
            writeln!(sites.0, "{}:{}:{} {what}", site.file(), site.line(), site.column()).expect("a site");
        }
    }
}

/// The ordering that an operation has: the one that was asked for, or that of the mutant.
#[track_caller]
pub(super) fn order(operation: &str, order: Ordering) -> Ordering {
    let site = Location::caller();
    note(site, &format!("{operation} {order:?}"));
    match mutant() {
        Some(mutant) if mutant.is_at(site) => mutant.order(&mutant.how, order),
        _ => order,
    }
}

/// The same for a compare-exchange, whose two orderings are weakened one at a time: `failure` makes the second
/// `Relaxed`, all else is about the first.
#[track_caller]
pub(super) fn exchange(success: Ordering, failure: Ordering) -> (Ordering, Ordering) {
    let site = Location::caller();
    note(site, &format!("compare_exchange {success:?} {failure:?}"));
    match mutant() {
        Some(mutant) if mutant.is_at(site) && mutant.how == "failure" => (success, Ordering::Relaxed),
        Some(mutant) if mutant.is_at(site) => (mutant.order(&mutant.how, success), failure),
        _ => (success, failure),
    }
}

/// Whether a fence, or a wake-up, is left out: `lost`.
#[track_caller]
pub(super) fn lost(operation: &str) -> bool {
    let site = Location::caller();
    note(site, operation);
    mutant().is_some_and(|mutant| mutant.is_at(site) && mutant.how == "lost")
}
