//! The part about processes: the demos of them, with less to do.

use super::primitives::demo;
use super::{Error, Part};
use crate::{manager, process_pool, shared_memory};

pub(super) async fn show(part: &mut Part) -> Result<(), Error> {
    let plan = process_pool::Plan { processes: 2, numbers: 200, chunk: 20 };
    demo(
        part,
        plan,
        "jobs in other processes: a limit kills, a crash and a panic are errors of one job alone",
    )
    .await?;
    let plan = shared_memory::Plan { processes: 4, times: 1_000, cells: 10 };
    demo(part, plan, "4 processes count to 1,000 each in memory that they share, and make 4,000").await?;
    let plan = manager::Plan { processes: 2, times: 50 };
    demo(part, plan, "processes share a dictionary, a list and a value through one that has them").await
}
