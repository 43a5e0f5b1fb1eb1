//! The promise: what was put off, and what was opened, is done and closed on every way out, once; by the runtime if
//! nobody waits for it, and the end of the runtime waits for that, within its deadline.
#![allow(missing_docs)]

use std::future::{Future, pending};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use filch::cleanup::{ExitStack, Opened};
use filch::testing::cancel_at_every_await;
use filch::time::{Duration, Instant, sleep};
use filch::{AsyncResource, Builder, Handle, Runtime, defer, scope, wait_for, with};
use filch_tests::{Child, child_case, panic_text, single, watched, workers};

const MS: Duration = Duration::from_millis(1);
/// Longer than a test may take: who waits for it hangs.
const LONG: Duration = Duration::from_secs(3_600);

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn say(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn has(&self, what: &str) -> bool {
        self.0.lock().unwrap().iter().any(|said| said == what)
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Says it after a millisecond.
    fn later(&self, what: &'static str) -> impl Future<Output = ()> + Send + 'static {
        let log = self.clone();
        async move {
            sleep(MS).await;
            log.say(what);
        }
    }
}

/// Opens and closes in a millisecond each.
struct Door {
    log: Log,
    opens: bool,
    closes: bool,
}

impl Door {
    fn new(log: &Log) -> Door {
        Door { log: log.clone(), opens: true, closes: true }
    }
}

struct Room {
    log: Log,
    guests: u32,
    closes: bool,
}

impl AsyncResource for Door {
    type Value = Room;
    type Error = &'static str;

    async fn open(self) -> Result<Room, &'static str> {
        sleep(MS).await;
        self.log.say("opened");
        let Door { log, opens, closes } = self;
        if opens { Ok(Room { log, guests: 0, closes }) } else { Err("it does not open") }
    }

    async fn close(room: Room) -> Result<(), &'static str> {
        sleep(MS).await;
        room.log.say(format!("closed after {}", room.guests));
        if room.closes { Ok(()) } else { Err("it does not close") }
    }
}

fn paused() -> Runtime {
    Builder::new().paused_clock(1).build().unwrap()
}

async fn settle() {
    sleep(10 * MS).await;
}

#[filch::test(paused)]
async fn what_was_put_off_is_done_on_every_way_out() {
    let (log, start) = (Log::default(), Instant::now());
    defer(log.later("run")).run().await;
    assert_eq!((log.take(), start.elapsed()), (vec!["run".to_owned()], MS));
    defer(log.later("never")).cancel();
    // An error.
    let of_fallible = log.clone();
    let fallible = async move {
        let _on_exit = defer(of_fallible.later("after an error"));
        Err::<(), _>("bad")?;
        Ok(())
    };
    let ended: Result<(), &str> = fallible.await;
    assert!(ended.is_err() && log.take().is_empty());
    settle().await;
    assert_eq!(log.take(), ["after an error"]);
    // A panic.
    let of_panic = log.clone();
    let task = filch::spawn(async move {
        let _on_exit = defer(of_panic.later("after a panic"));
        panic!("at the disco");
    });
    assert!(task.await.unwrap_err().is_panic());
    settle().await;
    assert_eq!(log.take(), ["after a panic"]);
    // A timeout; and a half way through, without beginning again.
    let of_slow = log.clone();
    let half = async move {
        let on_exit = defer(async move {
            let start = Instant::now();
            of_slow.say("begun");
            sleep(5 * MS).await;
            of_slow.say(format!("done after {:?}", start.elapsed()));
        });
        on_exit.run().await;
    };
    assert!(wait_for(half, 2 * MS).await.is_err());
    assert_eq!(log.take(), ["begun"]);
    settle().await;
    assert_eq!(log.take(), ["done after 5ms"]);
    assert_eq!(Handle::current().tasks().len(), 1);
}

#[filch::test(paused)]
async fn a_clean_up_is_a_task_that_tells_where_it_comes_from() {
    let line = line!() + 1;
    drop(defer(pending()));
    let tasks = Handle::current().tasks();
    let task = tasks.iter().find(|task| task.name.as_deref() == Some("clean-up")).unwrap();
    assert_eq!((task.location.file(), task.location.line()), (file!(), line));
}

#[filch::test(paused)]
async fn a_stack_is_done_from_the_top_though_one_panics() {
    let log = Log::default();
    let mut stack = ExitStack::new();
    assert!(stack.is_empty());
    stack.push(log.later("one"));
    stack.push(async { panic!("two") });
    stack.push(log.later("three"));
    stack.push(async { panic!("four") });
    assert_eq!(stack.len(), 4);
    let payload = filch::spawn(async move { stack.close().await }).await.unwrap_err().into_panic();
    assert_eq!((panic_text(&*payload), log.take()), ("four", vec!["three".to_owned(), "one".to_owned()]));
    // Taken over by another.
    let mut stack = ExitStack::new();
    stack.push(log.later("kept"));
    let mut other = stack.take();
    drop(stack);
    other.close().await;
    other.close().await;
    assert_eq!(log.take(), ["kept"]);
    // Dropped, in the same order.
    let mut stack = ExitStack::new();
    stack.push(log.later("below"));
    stack.push(log.later("above"));
    drop(stack);
    settle().await;
    assert_eq!(log.take(), ["above", "below"]);
}

#[test]
fn at_whatever_await_a_close_is_dropped_each_thing_is_done_once() {
    watched(|| {
        let drive = cancel_at_every_await(async |trial| {
            let log = Log::default();
            let mut stack = ExitStack::new();
            stack.push(log.later("one"));
            stack.push(log.later("two"));
            trial.run(stack.close()).await;
            stack.close().await;
            assert_eq!(log.take(), ["two", "one"]);
        });
        paused().block_on(drive).assert_waited();
        let drive = cancel_at_every_await(async |trial| {
            let log = Log::default();
            let deferred = defer(log.later("done"));
            trial.run(deferred.run()).await;
            settle().await;
            assert_eq!(log.take(), ["done"]);
        });
        paused().block_on(drive).assert_waited();
        let drive = cancel_at_every_await(async |trial| {
            let log = Log::default();
            let inside = log.clone();
            let used = with(Door::new(&log), async move |mut room: Opened<Door>| {
                inside.say("inside");
                sleep(MS).await;
                room.guests += 1;
            });
            trial.run(used).await;
            settle().await;
            let log = log.take();
            let (opens, closes) = ["opened", "closed"]
                .map(|what| log.iter().filter(|said| said.starts_with(what)).count())
                .into();
            assert_eq!(opens, closes, "{log:?}");
            assert!(opens <= 1);
        });
        paused().block_on(drive).assert_waited();
    });
}

#[filch::test(paused)]
async fn what_was_opened_is_closed_before_the_output_comes() {
    let (log, start) = (Log::default(), Instant::now());
    let output = with(Door::new(&log), async |mut room: Opened<Door>| {
        room.guests += 2;
        room.log.say("used");
        "output"
    });
    assert_eq!(output.await, Ok("output"));
    assert_eq!(
        (log.take(), start.elapsed()),
        (vec!["opened".into(), "used".into(), "closed after 2".into()], 2 * MS)
    );
    // An error of the body is its output.
    let output = with(Door::new(&log), |_room| async { Err::<(), _>("of the body") }).await;
    assert_eq!(
        (output, log.take()),
        (Ok(Err("of the body")), vec!["opened".into(), "closed after 0".into()])
    );
    // What does not open is not closed, and what does not close says so.
    let door = Door { opens: false, ..Door::new(&log) };
    let output = with(door, async |_room: Opened<Door>| unreachable!("it did not open")).await;
    assert_eq!((output, log.take()), (Err::<(), _>("it does not open"), vec!["opened".to_owned()]));
    let door = Door { closes: false, ..Door::new(&log) };
    assert_eq!(with(door, async |_room: Opened<Door>| 5).await, Err("it does not close"));
    log.take();
    // As a task.
    let of_task = log.clone();
    let task =
        filch::spawn(async move { with(Door::new(&of_task), async |room: Opened<Door>| room.guests).await });
    assert_eq!(task.await.unwrap(), Ok(0));
}

#[filch::test(paused)]
async fn what_was_opened_is_closed_after_a_panic_which_then_goes_on() {
    let log = Log::default();
    let of_task = log.clone();
    let panics = filch::spawn(async move {
        with(Door::new(&of_task), async |mut room: Opened<Door>| {
            room.guests = 1;
            if room.guests == 1 {
                panic!("among the guests");
            }
        })
        .await
    });
    assert_eq!(panic_text(&*panics.await.unwrap_err().into_panic()), "among the guests");
    assert_eq!(log.take(), ["opened", "closed after 1"]);
}

#[filch::test(paused)]
async fn what_was_opened_is_closed_by_the_runtime_when_its_user_is_dropped() {
    let (log, start) = (Log::default(), Instant::now());
    // In the body, which is dropped at once, and while it is closed, which goes on.
    for limit in [5 * MS, 12 * MS - MS / 2] {
        let slow = with(Door::new(&log), async |mut room: Opened<Door>| {
            room.guests = 7;
            sleep(10 * MS).await;
        });
        assert!(wait_for(slow, limit).await.is_err());
        assert_eq!(log.take(), ["opened"]);
        settle().await;
        assert_eq!(log.take(), ["closed after 7"]);
    }
    assert!(start.elapsed() < 40 * MS);
    // A guard that was handed out is closed when that is dropped.
    let room = with(Door::new(&log), async |room: Opened<Door>| room).await.unwrap();
    settle().await;
    assert_eq!(log.take(), ["opened"]);
    drop(room);
    settle().await;
    assert_eq!(log.take(), ["closed after 0"]);
}

#[filch::test(paused)]
async fn what_a_scope_put_off_is_done_at_its_end_or_by_the_runtime() {
    let (log, start) = (Log::default(), Instant::now());
    let of_scope = &log;
    scope(|s| async move {
        s.defer(of_scope.later("first in"));
        let inner = s.clone();
        s.spawn(async move {
            inner.defer(of_scope.later("of a child"));
            sleep(5 * MS).await;
            of_scope.say("child");
        });
    })
    .await;
    assert_eq!(
        (log.take(), start.elapsed()),
        (vec!["child".into(), "of a child".into(), "first in".into()], 7 * MS)
    );
    let dropped = scope(|s| async move {
        s.defer(of_scope.later("left behind"));
        pending::<()>().await;
    });
    assert!(wait_for(dropped, MS).await.is_err());
    assert!(log.take().is_empty());
    settle().await;
    assert_eq!(log.take(), ["left behind"]);
}

#[test]
fn a_shutdown_waits_for_clean_ups_those_too_that_come_of_it() {
    watched(|| {
        for runtime in [paused(), single(), workers(1), workers(2)] {
            let (log, begun) = (Log::default(), Arc::new(AtomicUsize::new(0)));
            for n in 0..3 {
                let (log, begun) = (log.clone(), begun.clone());
                runtime.spawn(async move {
                    let _on_exit = defer(log.later("of a task"));
                    begun.fetch_add(1, SeqCst);
                    if n > 0 {
                        pending::<()>().await;
                    }
                });
            }
            let of_door = log.clone();
            runtime.spawn(async move {
                with(Door::new(&of_door), async |_room: Opened<Door>| pending::<()>().await).await
            });
            let of_root = log.clone();
            runtime.block_on(async {
                // All have something to clean up by then.
                while begun.load(SeqCst) < 3 || !of_root.has("opened") {
                    sleep(MS).await;
                }
                drop(defer(of_root.later("of the root")));
            });
            let report = runtime.shutdown(LONG);
            let mut said = log.take();
            said.sort();
            let expected = ["closed after 0", "of a task", "of a task", "of a task", "of the root", "opened"];
            assert_eq!((said, report.abandoned.len()), (expected.map(String::from).into(), 0), "{report}");
        }
    });
}

#[test]
fn a_clean_up_that_does_not_end_is_cut_at_the_deadline_and_reported() {
    watched(|| {
        for runtime in [paused(), single(), workers(1), workers(2)] {
            let log = Log::default();
            let token = Arc::new(());
            let held = token.clone();
            let line = line!() + 2;
            runtime.block_on(async {
                drop(defer(async move {
                    let _held = held;
                    pending::<()>().await;
                }));
                drop(defer(log.later("in time")));
            });
            let report = runtime.shutdown(100 * MS);
            assert_eq!(log.take(), ["in time"]);
            assert_eq!(report.abandoned.len(), 1, "{report}");
            let cut = &report.abandoned[0];
            assert_eq!((cut.name.as_deref(), cut.location.line()), (Some("clean-up"), line));
            assert_eq!(Arc::strong_count(&token), 1, "its future is gone");
        }
    });
}

#[test]
fn under_the_paused_clock_the_deadline_of_a_shutdown_is_exact() {
    watched(|| {
        let runtime = || {
            let (runtime, log) = (paused(), Log::default());
            let of_root = log.clone();
            runtime.block_on(async {
                drop(defer(async move {
                    sleep(500 * MS).await;
                    of_root.say("done");
                }));
            });
            (runtime, log)
        };
        let (just, log) = runtime();
        assert!(just.shutdown(500 * MS).abandoned.is_empty());
        assert_eq!(log.take(), ["done"]);
        let (late, log) = runtime();
        assert_eq!(late.shutdown(500 * MS - Duration::from_nanos(1)).abandoned.len(), 1);
        assert!(log.take().is_empty());
        // So is that of a drop, which is a second.
        let (dropped, log) = runtime();
        drop(dropped);
        assert_eq!(log.take(), ["done"]);
    });
}

#[test]
fn a_clean_up_without_a_runtime_is_said_and_one_that_knows_its_runtime_runs_there() {
    if child_case().is_some() {
        drop(defer(async { unreachable!("there is no runtime") }));
        let runtime = workers(1);
        let log = Log::default();
        let deferred = runtime.block_on(async { defer(log.later("at home")) });
        // On a thread that is in no runtime.
        drop(deferred);
        let late = runtime.block_on(async { defer(async { unreachable!("it is too late") }) });
        assert!(runtime.shutdown(LONG).abandoned.is_empty());
        assert_eq!(log.take(), ["at home"]);
        drop(late);
        return;
    }
    let test = "a_clean_up_without_a_runtime_is_said_and_one_that_knows_its_runtime_runs_there";
    let said = Child::new(test, "child").succeeds();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("was not run")).collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("filch: the clean-up made at ") && line.contains("cleanup.rs:"))
    );
}

#[test]
fn on_other_runtimes_clean_up_that_is_waited_for_works() {
    watched(|| {
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio.block_on(async {
            let log = Log::default();
            let (one, two) = (log.clone(), log.clone());
            defer(async move { one.say("run") }).run().await;
            let of_scope = log.clone();
            scope(|s| async move { s.defer(async move { of_scope.say("scope") }) }).await;
            two.say("end");
            assert_eq!(log.take(), ["run", "scope", "end"]);
        });
    });
}
