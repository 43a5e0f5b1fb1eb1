//! The rows of the table. Each file below is one group of workloads, written once, over `Rt`, for filch,
//! tokio and smol; or, of channels and locks, over the makes of these.
pub mod actors;
pub mod channels;
pub mod io;
pub mod load;
pub mod memory;
pub mod sets;
pub mod spawn;
pub mod switch;
pub mod sync;
pub mod time;

use crate::floor::Floor;
use crate::harness::Row;
use crate::runtimes::Contestants;

/// Where a row's first future runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// It is `block_on`'s own.
    BlockOn,
    /// It is a task, which `block_on` awaits.
    Spawned,
}

impl Root {
    /// Both, for rows where it matters.
    pub const BOTH: [Root; 2] = [Root::BlockOn, Root::Spawned];

    /// As printed behind a row's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Root::BlockOn => " (root in block_on)",
            Root::Spawned => " (root a task)",
        }
    }
}

/// Adds to `$row` a turn for each contestant: `$turn`, an expression over `$rt`, a `&'static` runtime of the
/// type `$R`.
#[macro_export]
macro_rules! contest {
    ($row:expr, $all:expr, |$rt:ident: $R:ident| $turn:expr) => {{
        let (row, all): (&mut $crate::harness::Row, &'static $crate::runtimes::Contestants) = ($row, $all);
        {
            type $R = $crate::runtimes::Filch;
            let $rt: &'static $R = &all.filch;
            row.entry("filch", $turn);
            if let Some($rt) = &all.filch_reactors {
                row.entry("filch, reactor a worker", $turn);
            }
        }
        {
            type $R = $crate::runtimes::Tokio;
            let $rt: &'static $R = &all.tokio;
            row.entry("tokio", $turn);
        }
        {
            type $R = $crate::runtimes::Smol;
            let $rt: &'static $R = &all.smol;
            row.entry("smol", $turn);
            let $rt: &'static $R = &all.smol_run;
            row.entry("smol-run", $turn);
        }
    }};
}

/// A row of a workload that is an `async fn` over `Rt`, with the root where `$root` says. `smol-run`, whose
/// root shares its thread with tasks, takes part where the root is `block_on`'s.
#[macro_export]
macro_rules! workload {
    ($all:expr, $name:expr, $ops:expr, $root:expr, $must:expr, $aim:expr, $work:ident($($arg:expr),*)) => {{
        let root: $crate::rows::Root = $root;
        let name = format!("{}{}", $name, root.suffix());
        let mut row = $crate::harness::Row::timed(name, $ops, $must, $aim);
        $crate::contest!(&mut row, $all, |rt: R| move || match root {
            $crate::rows::Root::BlockOn => rt.block_on($work::<R>($($arg),*)),
            $crate::rows::Root::Spawned => rt.block_on(async { R::spawn($work::<R>($($arg),*)).await }),
        });
        if root == $crate::rows::Root::Spawned {
            row.entries.retain(|entry| entry.name != "smol-run");
        }
        row
    }};
}

/// All rows, in the order of the table.
pub fn all(all: &'static Contestants) -> Vec<Row> {
    let above = |rows: Vec<Row>, times, floor| rows.into_iter().map(move |row: Row| row.above(times, floor));
    let mut rows = Vec::new();
    rows.extend(above(spawn::rows(all), 1.0, Floor::Alloc));
    rows.extend(above(switch::rows(all), 1.0, Floor::Atomic));
    rows.extend(above(time::rows(all), 1.0, Floor::Clock));
    rows.extend(io::rows(all));
    rows.extend(above(channels::rows(all), 1.0, Floor::Atomic));
    rows.extend(above(sync::rows(all), 1.0, Floor::Atomic));
    rows.extend(above(sets::rows(all), 1.0, Floor::Alloc));
    rows.extend(above(actors::rows(all), 1.0, Floor::Atomic));
    rows.extend(load::rows(all));
    rows.extend(memory::rows());
    rows
}
