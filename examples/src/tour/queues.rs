//! The part about queues: producers and consumers, on threads and on tasks, and the end of a queue.

use super::{Error, Part};
use crate::{bounded_buffer, producer_consumer};

pub(super) async fn show(part: &mut Part) -> Result<(), Error> {
    let plan = producer_consumer::Plan {
        producers: 2,
        consumers: 3,
        items: 200,
        maxsize: 10,
        produce_us: 0,
        consume_us: 100,
    };
    let runs = producer_consumer::all(plan).await?;
    for (name, outcome) in runs {
        let claim = format!(
            "{name}: 400 items through a queue for 10 come out once, in order, in {:.1?}",
            outcome.took
        );
        part.show(outcome.check(&plan).is_ok(), claim);
    }
    let plan = bounded_buffer::Plan { capacity: 5, each: 2, items: 2_000 };
    let outcomes = bounded_buffer::all(plan).await?;
    let failed: Vec<_> = outcomes.iter().filter(|outcome| outcome.check(&plan).is_err()).collect();
    part.show(
        failed.is_empty(),
        "a buffer for 5 items, of a lock, of semaphores, or a queue, never holds more",
    );
    Ok(())
}
