//! Rows 22 to 28: JavaScript's promises and its event loop, and what the quiz asks of `async` and `await`.

use filch::channel::oneshot;
use filch::time::{Instant, sleep};
use filch::{FutureExt, any, gather, race, try_gather};

use super::Half::Tasks;
use super::help::{Log, ms, paused, raise, raised, seeded};
use super::{Check, row};
use crate::story::Story;

pub(super) const CHECKS: &[Check] = &[
    row(22, Tasks, event_loop_order),
    row(23, Tasks, chain),
    row(24, Tasks, all),
    row(25, Tasks, all_settled),
    row(26, Tasks, first_to_settle),
    row(27, Tasks, first_to_succeed),
    row(28, Tasks, quiz),
];

fn event_loop_order(story: &mut Story) {
    let orders = (0..20).map(|seed| seeded(seed, crate::event_loop_order::guides()));
    let wrong = orders.filter(|order| order != "1 4 3 2").count();
    story.equal("of 20 orders of polls, those that are not 1 4 3 2", wrong, 0);
}

/// The guides' `fetchData`.
async fn fetch_data(url: &'static str) -> Result<String, &'static str> {
    sleep(ms(1_000)).await;
    if url.is_empty() { Err("No URL provided") } else { Ok(format!("Data from {url}")) }
}

fn chain(story: &mut Story) {
    let log = Log::default();
    let (resolved, rejected) = paused(async {
        let chain = |url| {
            let (then, caught, at_last) = (log.clone(), log.clone(), log.clone());
            fetch_data(url)
                .and_then(move |data| async move {
                    then.note("then");
                    // A promise in a promise: the chain flattens.
                    fetch_data("more").await.map(|more| data.len() + more.len())
                })
                .or_else(move |error| async move {
                    caught.note("catch");
                    if error == "No URL provided" { Ok(0) } else { Err(error) }
                })
                .finally(move || at_last.note("finally"))
        };
        let resolved = chain("users");
        log.note("called");
        (resolved.await, chain("").await)
    });
    story.equal("resolved", resolved, Ok(15 + 14));
    story.equal("rejected, and caught", rejected, Ok(0));
    let expected = "called then finally catch finally";
    story.equal("what was called, and when", log.told().as_str(), expected);
    let settled = paused(async {
        let (resolve, promise) = oneshot::channel();
        resolve.send(7).expect("somebody listens");
        promise.await
    });
    story.equal("`new Promise` is a channel for one value", settled, Ok(7));
}

/// Settles after so many milliseconds: an error if they are odd.
async fn settles(after: u64) -> Result<u64, u64> {
    sleep(ms(after)).await;
    if after.is_multiple_of(2) { Ok(after) } else { Err(after) }
}

fn all(story: &mut Story) {
    paused(async {
        story.equal("all in order", try_gather([30, 10, 20].map(settles)).await, Ok(vec![30, 10, 20]));
        let began = Instant::now();
        story.equal(
            "the first rejection rejects all",
            try_gather([20, 11, 5, 40].map(settles)).await,
            Err(5),
        );
        story.equal("at once", began.elapsed(), ms(5));
        let log = Log::default();
        let others = log.clone();
        let goes_on = filch::spawn(async move {
            sleep(ms(40)).await;
            others.note("the-other-ended");
            Ok(40)
        });
        let both = [filch::spawn(settles(5)), goes_on].map(async |task| task.await.expect("no panic"));
        let rejected = try_gather(both).await;
        sleep(ms(100)).await;
        story.equal("with tasks in place of futures", rejected, Err(5));
        story.equal("others go on, as in JavaScript", log.told().as_str(), "the-other-ended");
    });
}

fn all_settled(story: &mut Story) {
    paused(async {
        let settled = gather([30, 5, 20].map(settles)).await;
        story.equal("each with its value or its reason, in order", settled, vec![Ok(30), Err(5), Ok(20)]);
        let settled =
            gather([1, 2].map(|n| async move { if n == 1 { raise("thrown") } else { n } })).settled().await;
        let settled: Vec<_> =
            settled.into_iter().map(|one| one.map_err(|error| raised(error.into_panic()))).collect();
        story.equal("what is thrown is a reason, too", settled, vec![Err("thrown"), Ok(2)]);
    });
}

fn first_to_settle(story: &mut Story) {
    paused(async {
        story.equal("a success, if that is first", race([30, 10, 21].map(settles)).await, Ok(10));
        story.equal("a failure, if that is first", race([30, 11, 20].map(settles)).await, Err(11));
    });
}

fn first_to_succeed(story: &mut Story) {
    paused(async {
        let first = any([30, 11, 20].map(settles)).await.map_err(|failed| failed.errors);
        story.equal("the first success, though a failure came before", first, Ok(20));
        let failed = any([31, 11].map(settles)).await.map_err(|failed| failed.errors);
        story.equal("all errors together when all fail, in order", failed, Err(vec![31, 11]));
        let none = any(std::iter::empty::<std::future::Ready<Result<u64, u64>>>())
            .await
            .map_err(|failed| failed.errors.len());
        story.equal("of none, none succeeds", none, Err(0));
    });
}

fn quiz(story: &mut Story) {
    let log = Log::default();
    paused(async {
        let waits = |name: &'static str, latency| {
            let log = log.clone();
            async move {
                log.note(format_args!("{name}-begins"));
                sleep(ms(latency)).await;
                log.note(format_args!("{name}-ends"));
            }
        };
        let (one, other) = (waits("a", 10), waits("b", 20));
        log.note("called");
        filch::gather!(one, other);
    });
    let expected = "called a-begins b-begins a-ends b-ends";
    story.equal(
        "a call runs nothing; an await lets others run on the one thread",
        log.told().as_str(),
        expected,
    );
    let readme = include_str!("../../../README.md");
    let rows = ["asyncio.run(main())", "create_task(f())", "gather(*fs)", "Promise.all", "contextvars"];
    let missing: Vec<_> = rows.into_iter().filter(|row| !readme.contains(&format!("| `{row}`"))).collect();
    story.equal("rows that the README's table of names does not have", missing, vec![]);
}
