//! The demo `rows`: every item of the guides as a small program that shows what the guides say of it.
//!
//! Owns the registry: a check runs one row of the catalogue on threads or on tasks, and claims what the catalogue
//! says of it. `catalogue` has the rows, each other file the checks of some; `help` is what they share. The list of
//! all demos is made from this, and the tests demand a check for each half of each row.

mod catalogue;
mod channels;
mod hazards;
mod help;
mod locks;
mod pools;
mod processes;
mod promises;
mod queues;
mod rates;
mod results;
mod sharing;
mod signals;
mod tasks;
mod timeouts;

use std::ffi::OsString;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use comfy_table::Table;

use crate::story::Story;

pub use catalogue::{CATALOGUE, Item};

pub(crate) const ABOUT: &str =
    "every row of the guides' catalogue as a small program, on threads and on tasks, checked";

/// Runs the rows of the guides' catalogue, each a small program that claims what the guides say of it.
///
/// `rows` runs all of them, `rows 7 40` some, `rows list` names them. With --verbose, each tells what it claims.
#[derive(Debug, clap::Parser)]
#[command(name = "rows")]
struct Args {
    /// Numbers of rows, or `list`; none for all
    rows: Vec<Wanted>,
    /// Print every claim
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    List,
    Row(usize),
}

impl std::str::FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Wanted, String> {
        let numbers = 1..=CATALOGUE.len();
        match text.parse() {
            Ok(number) if numbers.contains(&number) => Ok(Wanted::Row(number)),
            Err(_) if text == "list" => Ok(Wanted::List),
            _ => Err(format!("rows have the numbers 1 to {}, and `list` names them", CATALOGUE.len())),
        }
    }
}

/// On what a check runs its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// On threads, which block where they wait.
    Threads,
    /// On tasks, which wait without a thread.
    Tasks,
}

impl fmt::Display for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Half::Threads => "threads",
            Half::Tasks => "tasks",
        })
    }
}

/// One half of a row, as a program that tells what it claims.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// The number of the row.
    pub row: usize,
    /// On what it runs.
    pub half: Half,
    function: fn(&mut Story),
}

/// Registers a check of a row.
const fn row(row: usize, half: Half, function: fn(&mut Story)) -> Check {
    Check { row, half, function }
}

/// What other processes are asked to run by the rows about them.
pub(crate) use processes::{COUNT_HERE, LOOP, PAST_THE_GUARD};

/// All checks, in the order of the rows.
pub fn checks() -> Vec<Check> {
    let sections = [
        tasks::CHECKS,
        results::CHECKS,
        promises::CHECKS,
        timeouts::CHECKS,
        locks::CHECKS,
        signals::CHECKS,
        sharing::CHECKS,
        queues::CHECKS,
        channels::CHECKS,
        pools::CHECKS,
        processes::CHECKS,
        rates::CHECKS,
        hazards::CHECKS,
    ];
    let mut all = sections.concat();
    all.sort_by_key(|check| check.row);
    all
}

/// Longer than any check takes; one that hangs is found by it.
const LONGEST: Duration = Duration::from_secs(60);

/// What came of a check.
#[derive(Debug)]
pub struct Told {
    /// What it told, which is nothing if it did not come to its end.
    pub story: Story,
    /// Why it did not come to its end.
    pub broke_off: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Told {
    /// Whether it claimed something and all of it holds.
    pub fn ok(&self) -> bool {
        self.broke_off.is_none()
            && self.story.failures().next().is_none()
            && self.story.claims().next().is_some()
    }
}

impl Check {
    /// The row.
    pub fn item(&self) -> &'static Item {
        &CATALOGUE[self.row - 1]
    }

    /// Runs it, on a thread of its own.
    pub fn run(&self) -> Told {
        let (began, function) = (Instant::now(), self.function);
        let (done, told) = channel();
        thread::spawn(move || {
            let mut story = Story::default();
            let ended = catch_unwind(AssertUnwindSafe(|| function(&mut story)));
            // Whoever waited may have given up.
            let _ = done.send((story, ended.is_err().then(|| "it panicked".to_string())));
        });
        let (story, broke_off) = told.recv_timeout(LONGEST).unwrap_or_else(|error| {
            let why = match error {
                RecvTimeoutError::Timeout => format!("it is not done after {LONGEST:?}"),
                RecvTimeoutError::Disconnected => "its thread is gone".to_string(),
            };
            (Story::default(), Some(why))
        });
        Told { story, broke_off, took: began.elapsed() }
    }
}

/// The lines of `list`: each row with its checks, from the registry.
pub fn list() -> String {
    let checks = checks();
    let mut section = "";
    let lines = CATALOGUE.iter().enumerate().map(|(at, item)| {
        let halves: Vec<_> =
            checks.iter().filter(|check| check.row == at + 1).map(|check| check.half.to_string()).collect();
        let head = if item.section == section { String::new() } else { format!("  {}\n", item.section) };
        section = item.section;
        format!("{head}  {:>3}  {:14}  {}\n", at + 1, halves.join(", "), item.name)
    });
    lines.collect()
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    processes::begin();
    let Args { rows, verbose } = match crate::parse::<Args>(arguments) {
        Ok(args) => args,
        Err(code) => return code,
    };
    if rows.contains(&Wanted::List) {
        print!("{}", list());
        return ExitCode::SUCCESS;
    }
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::ASCII_MARKDOWN)
        .set_header(["row", "item", "half", "claims", "ms", ""]);
    let (mut ran, mut claims, mut failed) = (0, 0, Vec::new());
    for check in checks().iter().filter(|check| rows.is_empty() || rows.contains(&Wanted::Row(check.row))) {
        let told = check.run();
        if verbose || !told.ok() {
            println!("{} {}, on {}\n{}", check.row, check.item().name, check.half, told.story);
        }
        let count = told.story.claims().count();
        let verdict = match &told.broke_off {
            Some(why) => why,
            None if told.ok() => "ok",
            None => "FAIL",
        };
        table.add_row([
            check.row.to_string(),
            check.item().name.to_string(),
            check.half.to_string(),
            count.to_string(),
            format!("{:.1}", told.took.as_secs_f64() * 1e3),
            verdict.to_string(),
        ]);
        (ran, claims) = (ran + 1, claims + count);
        failed.extend((!told.ok()).then(|| format!("{} on {}", check.row, check.half)));
    }
    println!("{table}");
    if failed.is_empty() {
        println!("\nAll {claims} claims of {ran} checks hold.");
        ExitCode::SUCCESS
    } else {
        println!("\n{} of {ran} checks do NOT hold: {}.", failed.len(), failed.join(", "));
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Halves that have no check, each with the reason.
    const MISSING: &[(usize, Half, &str)] = &[];

    #[test]
    fn every_half_of_every_row_has_one_check_of_its_own() {
        let checks = checks();
        for (row, half, why) in MISSING {
            println!("row {row}, {}, has no check on {half}: {why}", CATALOGUE[row - 1].name);
        }
        for (at, item) in CATALOGUE.iter().enumerate() {
            let row = at + 1;
            let halves: Vec<_> =
                checks.iter().filter(|check| check.row == row).map(|check| check.half).collect();
            let missing = |half: &Half| MISSING.iter().any(|one| (one.0, one.1) == (row, *half));
            let expected: Vec<_> = item.halves.iter().copied().filter(|half| !missing(half)).collect();
            assert_eq!(halves, expected, "row {row}: {}", item.name);
        }
        for (at, check) in checks.iter().enumerate() {
            let shares =
                checks[..at].iter().find(|other| std::ptr::fn_addr_eq(other.function, check.function));
            assert!(shares.is_none(), "{check:?} and {shares:?} share a function");
        }
    }

    /// Rows of which the program starts itself again, which this one must not: `tests/processes.rs` runs them,
    /// with all others.
    const PROCESSES: std::ops::RangeInclusive<usize> = 84..=92;

    #[test]
    fn every_check_holds_and_no_two_rows_claim_the_same() {
        let (mut all, mut wrong): (Vec<(usize, Vec<String>)>, Vec<String>) = Default::default();
        for check in checks().into_iter().filter(|check| !PROCESSES.contains(&check.row)) {
            let told = check.run();
            if !told.ok() {
                wrong.push(format!(
                    "row {} on {}: {:?}\n{}",
                    check.row, check.half, told.broke_off, told.story
                ));
            }
            let claims: Vec<_> = told.story.claims().map(str::to_string).collect();
            if let Some((row, _)) = all.iter().find(|(row, others)| *row != check.row && *others == claims) {
                wrong.push(format!("rows {} and {row} claim the same", check.row));
            }
            all.push((check.row, claims));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_list_has_every_row_with_its_halves() {
        let list = list();
        for (at, item) in CATALOGUE.iter().enumerate() {
            let line = list.lines().find(|line| line.trim_start().starts_with(&format!("{}  ", at + 1)));
            assert!(line.is_some_and(|line| line.ends_with(item.name)), "{}", item.name);
        }
    }

    #[test]
    fn a_check_that_fails_or_breaks_off_or_claims_nothing_is_not_ok() {
        let of = |function| row(1, Half::Threads, function).run();
        assert!(of(|story| story.is("so", true)).ok());
        assert!(!of(|story| story.is("so", false)).ok());
        assert!(!of(|_| ()).ok());
        let told = of(|story| {
            story.is("so", true);
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(!told.ok() && told.broke_off.is_some());
    }

    #[test]
    fn the_command_line_takes_numbers_of_rows_and_refuses_others() {
        let run = |arguments: &[&str]| run(arguments.iter().map(OsString::from).collect());
        assert_eq!(run(&["rows", "list"]), ExitCode::SUCCESS);
        assert_eq!(run(&["rows", "3", "52"]), ExitCode::SUCCESS);
        for wrong in ["0", "106", "all"] {
            assert_eq!(run(&["rows", wrong]), ExitCode::from(crate::USAGE));
        }
    }
}
