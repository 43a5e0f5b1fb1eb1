//! What the demos of the primitives share: two halves, what they tell, and who runs and prints them.
//!
//! Owns the story that a half tells, and its claims: what the demo says should hold, beside what was found. The
//! demos themselves, the tour and the tests call it.

use std::fmt::{self, Debug, Display};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use filch::JoinError;

/// A demo that does the same on threads and on tasks.
///
/// One that has more to show on tasks, or nothing on threads, says so by its constants.
pub trait Halves: Copy + Send + 'static {
    /// What threads do of it.
    const THREADS: Threads = Threads::Same;
    /// The tasks have a clock of their own, which stands still while one of them has something to do, and jumps when
    /// none has. So hours pass at once, and to the tick.
    const VIRTUAL: bool = false;

    /// What is done, in a sentence or two.
    fn about(&self) -> String;
    /// Does it on threads, which block where they wait.
    fn threads(&self, story: &mut Story);
    /// Does it on tasks.
    fn tasks(self, story: &mut Story) -> impl Future<Output = ()> + Send;
}

/// How much of a demo threads do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// What the tasks do.
    Same,
    /// A part of it: what they claim the tasks claim too.
    Some,
    /// Nothing: the guides have it for tasks only.
    None,
}

/// What a half tells: what it does, what came of it, and whether that is what should come of it.
#[derive(Debug, Default)]
pub struct Story {
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Part(String),
    Note(String),
    /// `found` may be empty, when there is no more to say.
    Claim {
        holds: bool,
        what: String,
        found: String,
    },
}

impl Story {
    /// What comes next.
    pub fn part(&mut self, title: impl Display) {
        self.lines.push(Line::Part(title.to_string()));
    }

    /// What the reader may want to know: a figure that differs from run to run.
    pub fn note(&mut self, text: impl Display) {
        self.lines.push(Line::Note(text.to_string()));
    }

    /// Claims that `what` is `expected`.
    pub fn equal<T: PartialEq + Debug>(&mut self, what: &str, found: T, expected: T) {
        let holds = found == expected;
        let found = if holds { format!("{found:?}") } else { format!("{found:?}, not {expected:?}") };
        self.lines.push(Line::Claim { holds, what: what.into(), found });
    }

    /// Claims that `what` is so; `found` says what was seen.
    pub fn holds(&mut self, what: &str, holds: bool, found: impl Display) {
        self.lines.push(Line::Claim { holds, what: what.into(), found: found.to_string() });
    }

    /// Claims that `what` is so.
    pub fn is(&mut self, what: &str, holds: bool) {
        self.holds(what, holds, if holds { "" } else { "that is not so" });
    }

    /// What was claimed, in order.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| match line {
            Line::Claim { what, .. } => Some(&**what),
            _ => None,
        })
    }

    /// The claims that do not hold.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        self.lines.iter().filter_map(|line| match line {
            Line::Claim { holds: false, what, found } => Some(format!("{what}: {found}")),
            _ => None,
        })
    }
}

impl Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            match line {
                Line::Part(title) => writeln!(f, "  {title}")?,
                Line::Note(text) => writeln!(f, "          {text}")?,
                Line::Claim { holds, what, found } => {
                    let colon = if found.is_empty() { "" } else { ": " };
                    writeln!(f, "    {}  {what}{colon}{found}", if *holds { "ok  " } else { "FAIL" })?;
                }
            }
        }
        Ok(())
    }
}

/// The story of the threads.
///
/// # Errors
/// When the half panics.
pub async fn of_threads(demo: impl Halves) -> Result<Story, JoinError> {
    // Its threads block, so they are waited for where that harms nobody.
    filch::spawn_blocking(move || {
        let mut story = Story::default();
        demo.threads(&mut story);
        story
    })
    .await
}

/// The story of the tasks.
///
/// # Errors
/// When the half panics.
pub async fn of_tasks<H: Halves>(demo: H) -> Result<Story, JoinError> {
    let tell = async move {
        let mut story = Story::default();
        demo.tasks(&mut story).await;
        story
    };
    if H::VIRTUAL { by_virtual_clock(tell).await } else { filch::spawn(tell).await }
}

/// Runs `future` by a clock that stands still while there is something to do, and jumps when there is not.
pub(crate) async fn with_virtual_clock<F: Future<Output: Send + 'static> + Send + 'static>(
    future: F,
) -> F::Output {
    by_virtual_clock(future).await.expect("it does not panic")
}

async fn by_virtual_clock<F>(future: F) -> Result<F::Output, JoinError>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    // The same order each time.
    const SEED: u64 = 1;
    // The clock is the runtime's. So there is another one, with one thread.
    let run = move || {
        let runtime = filch::Builder::new().paused_clock(SEED).build().expect("one more runtime can be had");
        runtime.block_on(future)
    };
    filch::spawn_blocking(run).await
}

/// Runs a demo on a runtime with so many workers, prints what it tells, and says whether all of it holds.
pub(crate) fn run<H: Halves>(demo: H, workers: usize) -> ExitCode {
    let runtime = match crate::runtime(workers) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    println!("{}", demo.about());
    let (mut claims, mut failures) = (0, 0);
    let tasks = if H::VIRTUAL { "tasks, with a clock of their own" } else { "tasks" };
    for (half, threads) in [("threads", true), (tasks, false)] {
        if threads && H::THREADS == Threads::None {
            continue;
        }
        let told =
            runtime.block_on(async { if threads { of_threads(demo).await } else { of_tasks(demo).await } });
        match told {
            Ok(story) => {
                print!("\nOn {half}\n{story}");
                claims += story.claims().count();
                failures += story.failures().count();
            }
            Err(error) => {
                eprintln!("\nThe half on {half} broke off: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if failures == 0 {
        println!("\nAll {claims} claims hold.");
        ExitCode::SUCCESS
    } else {
        println!("\n{failures} of {claims} claims do NOT hold.");
        ExitCode::FAILURE
    }
}

/// What happened, in order, by whomever. Clones are handles to the same.
#[derive(Debug)]
pub(crate) struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Log<T> {
    pub(crate) fn new() -> Log<T> {
        Log(Arc::default())
    }

    pub(crate) fn note(&self, what: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Log<T> {
        Log(self.0.clone())
    }
}

/// Runs `job` on `count` threads at once, each with its number, and returns what they return, by number.
pub(crate) fn each_thread<T: Send>(count: u32, job: impl Fn(u32) -> T + Sync) -> Vec<T> {
    let job = &job;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || job(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    })
}

/// Runs `count` tasks at once, which `job` makes of their numbers, and returns what they return, by number.
pub(crate) async fn each_task<F>(count: u32, job: impl Fn(u32) -> F) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|number| filch::spawn(job(number))).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("no task panics"));
    }
    results
}

/// Awaits `future`, and calls `waits` once it has found that it must wait: it is in line then.
pub(crate) async fn once_in_line<F: Future>(future: F, waits: impl FnOnce()) -> F::Output {
    let (mut future, mut waits) = (pin!(future), Some(waits));
    poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        if let (true, Some(waits)) = (polled.is_pending(), waits.take()) {
            waits();
        }
        polled
    })
    .await
}

/// The stories of a demo, of each half that it has.
///
/// # Errors
/// When a half panics.
pub async fn of_all<H: Halves>(demo: H) -> Result<Vec<Story>, JoinError> {
    let mut stories = Vec::new();
    if H::THREADS != Threads::None {
        stories.push(of_threads(demo).await?);
    }
    stories.push(of_tasks(demo).await?);
    Ok(stories)
}

/// Runs both halves and fails the test if a claim does not hold, or if they do not show the same.
#[cfg(test)]
pub(crate) fn assert_holds<H: Halves>(demo: H) {
    let runtime = crate::runtime(2).unwrap();
    let (threads, tasks) =
        runtime.block_on(async { (of_threads(demo).await.unwrap(), of_tasks(demo).await.unwrap()) });
    for story in [&threads, &tasks] {
        assert_eq!(story.failures().count(), 0, "{}\n{story}", demo.about());
    }
    assert!(tasks.claims().count() > 1);
    let agree = match H::THREADS {
        Threads::Same => threads.claims().eq(tasks.claims()),
        Threads::Some => {
            threads.claims().count() > 1 && threads.claims().all(|claim| tasks.claims().any(|it| it == claim))
        }
        Threads::None => threads.claims().count() == 0,
    };
    assert!(agree, "the halves show the same\n{threads}\n{tasks}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Claims that its number is 2, or panics.
    #[derive(Clone, Copy)]
    struct Two(Option<u32>);

    impl Halves for Two {
        fn about(&self) -> String {
            "Two is two.".into()
        }

        fn threads(&self, story: &mut Story) {
            story.part("part");
            story.equal("two", self.0.unwrap(), 2);
        }

        async fn tasks(self, story: &mut Story) {
            story.note("note");
            story.holds("two", self.0.unwrap() == 2, self.0.unwrap());
        }
    }

    #[test]
    fn a_claim_that_does_not_hold_and_a_half_that_panics_are_failures() {
        assert_eq!(run(Two(Some(2)), 1), ExitCode::SUCCESS);
        assert_eq!(run(Two(Some(3)), 1), ExitCode::FAILURE);
        assert_eq!(run(Two(None), 1), ExitCode::FAILURE);
    }

    #[test]
    fn a_story_says_what_was_found_and_what_should_be() {
        let mut story = Story::default();
        Two(Some(3)).threads(&mut story);
        assert_eq!(story.to_string(), "  part\n    FAIL  two: 3, not 2\n");
        assert_eq!(story.failures().collect::<Vec<_>>(), ["two: 3, not 2"]);
        let mut story = Story::default();
        Two(Some(2)).threads(&mut story);
        assert_eq!(story.to_string(), "  part\n    ok    two: 2\n");
        assert_eq!(story.failures().count(), 0);
        let mut story = Story::default();
        story.is("so", true);
        story.is("so", false);
        assert_eq!(story.to_string(), "    ok    so\n    FAIL  so: that is not so\n");
    }

    #[test]
    fn results_come_by_number_and_waiting_is_told_once() {
        assert_eq!(each_thread(3, |number| number * 2), [0, 2, 4]);
        let runtime = crate::runtime(2).unwrap();
        runtime.block_on(async {
            assert_eq!(each_task(3, async |number| number * 2).await, [0, 2, 4]);
            let mut told = 0;
            once_in_line(filch::yield_now(), || told += 1).await;
            assert_eq!(told, 1);
            once_in_line(async {}, || unreachable!("it need not wait")).await;
        });
    }
}
