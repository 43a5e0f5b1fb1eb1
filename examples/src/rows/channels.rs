//! Rows 65 to 71: the channel of the expert challenge, and what other languages have in its place.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use filch::channel::error::{RecvError, RecvTimeoutError, SendError, TrySendError};
use filch::channel::{self, Overflow, Select, State, Stats, oneshot};
use filch::pool::ThreadPool;
use filch::sync::{Event, Lock};
use filch::time::sleep;
use filch::{FutureExt, wait_for};

use super::Half::{Tasks, Threads};
use super::help::{BRIEFLY, LONG, demo_on_tasks, demo_on_threads, ms, on_tasks, paused, until, yield_until};
use super::{Check, row};
use crate::hybrid_channel;
use crate::story::{Story, each_thread};

pub(super) const CHECKS: &[Check] = &[
    row(65, Threads, hybrid_on_threads),
    row(65, Tasks, hybrid),
    row(66, Threads, room_on_threads),
    row(66, Tasks, room),
    row(67, Threads, select_on_threads),
    row(67, Tasks, select),
    row(68, Threads, pressure_on_threads),
    row(68, Tasks, pressure),
    row(69, Threads, states_on_threads),
    row(69, Tasks, states),
    row(70, Threads, stats_on_threads),
    row(70, Tasks, stats),
    row(71, Threads, elsewhere_on_threads),
    row(71, Tasks, elsewhere),
];

const HYBRID: hybrid_channel::Plan =
    hybrid_channel::Plan { senders: 3, receivers: 2, messages: 200, capacity: 4 };

fn hybrid_on_threads(story: &mut Story) {
    let (tx, rx) = channel::bounded(1);
    story.equal(
        "`sync_get(timeout)` of an empty one",
        rx.recv_timeout(BRIEFLY),
        Err(RecvTimeoutError::Timeout),
    );
    let runtime = super::help::two_workers();
    let task = runtime.spawn(async move { tx.send("from a task").await });
    story.equal("a thread gets what a task sends", rx.recv_blocking(), Ok("from a task"));
    task.join_blocking().expect("no panic").expect("it was received");
    demo_on_threads(HYBRID, story);
}

fn hybrid(story: &mut Story) {
    on_tasks(async {
        let (tx, rx) = channel::bounded(1);
        let late = wait_for(rx.recv(), BRIEFLY).await.is_err();
        story.is("a get from an empty one, with a time limit", late);
        let thread = thread::spawn(move || tx.send_blocking("from a thread"));
        story.equal("a task gets what a thread sends", rx.recv().await, Ok("from a thread"));
        thread.join().expect("no panic").expect("it was received");
    });
    demo_on_tasks(HYBRID, story);
}

fn room_on_threads(story: &mut Story) {
    let (tx, _rx) = channel::bounded(2);
    let went_in = (0..5).filter(|n| tx.try_send(*n).is_ok()).count();
    story.equal("buffered: so many go in though nobody receives", went_in, 2);
    let (tx, rx) = channel::rendezvous();
    story.equal("unbuffered: none does", tx.try_send(0), Err(TrySendError::Full(0)));
    let here = Event::new();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            here.set();
            rx.recv_blocking()
        });
        tx.send_blocking(1).expect("there is a receiver");
        story.is("a send is done when a receiver has come", here.is_set());
        story.equal("and it has the message", receiver.join().expect("no panic"), Ok(1));
    });
}

fn room(story: &mut Story) {
    on_tasks(async {
        let (tx, _rx) = channel::bounded(2);
        let went_in = (0..5).filter(|n| tx.try_send(*n).is_ok()).count();
        story.equal("buffered: so many go in though nobody receives", went_in, 2);
        let (tx, rx) = channel::rendezvous();
        story.equal("unbuffered: none does", tx.try_send(0), Err(TrySendError::Full(0)));
        let here = Arc::new(Event::new());
        let comes = here.clone();
        let receiver = filch::spawn(async move {
            comes.set();
            rx.recv().await
        });
        tx.send(1).await.expect("there is a receiver");
        story.is("a send is done when a receiver has come", here.is_set());
        story.equal("and it has the message", receiver.await.expect("no panic"), Ok(1));
    });
}

fn select_on_threads(story: &mut Story) {
    let ((tx, rx), (other_tx, other_rx)) = (channel::bounded(1), channel::bounded(1));
    let nothing = Select::new()
        .recv(&rx, |_: Result<u32, RecvError>| "one")
        .recv(&other_rx, |_: Result<u32, RecvError>| "other")
        .select_timeout(BRIEFLY);
    story.is("with nothing to do it waits", nothing.is_err());
    tx.send_blocking(1).expect("there is room");
    other_tx.send_blocking(2).expect("there is room");
    let chosen = Select::new()
        .recv(&rx, |got: Result<u32, RecvError>| ("one", got))
        .recv(&other_rx, |got: Result<u32, RecvError>| ("other", got))
        .select_blocking();
    let (left, expected) = (rx.len() + other_rx.len(), if chosen.0 == "one" { Ok(1) } else { Ok(2) });
    story.equal("of two that can be done, exactly one is", (chosen.1, left), (expected, 1));
    rx.try_iter().chain(other_rx.try_iter()).for_each(drop);
    tx.send_blocking(3).expect("there is room");
    let mut message = Some(4);
    let chosen = Select::new()
        .send(&tx, &mut message, |_| "sent into a full one")
        .recv(&other_rx, |_: Result<u32, RecvError>| "received from an empty one")
        .try_select();
    story.equal("a message that was not sent stays", (chosen.is_err(), message), (true, Some(4)));
}

fn select(story: &mut Story) {
    paused(async {
        let ((tx, rx), (other_tx, other_rx)) = (channel::bounded(1), channel::bounded(1));
        let until = Select::new()
            .recv(&rx, |_: Result<u32, RecvError>| "one")
            .recv(&other_rx, |_: Result<u32, RecvError>| "other")
            .until(sleep(ms(10)));
        story.is("with nothing to do it waits", until.await.is_err());
        tx.send(1).await.expect("there is room");
        other_tx.send(2).await.expect("there is room");
        let chosen = Select::new()
            .recv(&rx, |got: Result<u32, RecvError>| ("one", got))
            .recv(&other_rx, |got: Result<u32, RecvError>| ("other", got))
            .await;
        let (left, expected) = (rx.len() + other_rx.len(), if chosen.0 == "one" { Ok(1) } else { Ok(2) });
        story.equal("of two that can be done, exactly one is", (chosen.1, left), (expected, 1));
        rx.try_iter().chain(other_rx.try_iter()).for_each(drop);
        tx.send(3).await.expect("there is room");
        let chosen = filch::select! {
            _ = tx.send(4) => "sent into a full one",
            _ = other_rx.recv() => "received from an empty one",
            () = sleep(ms(10)) => "neither",
        };
        story.equal("the macro, over any futures", chosen, "neither");
    });
}

fn pressure_on_threads(story: &mut Story) {
    let (tx, rx) = channel::bounded(3);
    (0..3).for_each(|n| tx.send_blocking(n).expect("there is room"));
    thread::scope(|scope| {
        let fourth = scope.spawn(|| tx.send_blocking(3));
        until(|| rx.stats().waiting_send == 1);
        story.is("a send into a full channel waits", !fourth.is_finished());
        story.equal("until one is received", rx.recv_blocking(), Ok(0));
        fourth.join().expect("no panic").expect("there is room");
    });
    story.equal("never more than there is room for", (rx.len(), rx.stats().peak), (3, 3));
    let (tx, rx) = channel::Builder::new().capacity(2).overflow(Overflow::DropOldest).build();
    (0..5).for_each(|n| tx.send_blocking(n).expect("it never waits"));
    story.equal("or the oldest give way", rx.try_iter().collect::<Vec<_>>(), vec![3, 4]);
}

fn pressure(story: &mut Story) {
    on_tasks(async {
        let (tx, rx) = channel::bounded(3);
        for n in 0..3 {
            tx.send(n).await.expect("there is room");
        }
        let sends = tx.clone();
        let fourth = filch::spawn(async move { sends.send(3).await });
        yield_until(|| rx.stats().waiting_send == 1).await;
        story.is("a send into a full channel waits", !fourth.is_finished());
        story.equal("until one is received", rx.recv().await, Ok(0));
        fourth.await.expect("no panic").expect("there is room");
        story.equal("never more than there is room for", (rx.len(), rx.stats().peak), (3, 3));
        let (tx, rx) = channel::Builder::new().capacity(2).overflow(Overflow::DropOldest).build();
        for n in 0..5 {
            tx.send(n).await.expect("it never waits");
        }
        story.equal("or the oldest give way", rx.try_iter().collect::<Vec<_>>(), vec![3, 4]);
    });
}

fn states_on_threads(story: &mut Story) {
    let (tx, rx) = channel::bounded(2);
    tx.send_blocking(1).expect("it is open");
    let open = tx.stats().state;
    tx.close();
    story.equal("closing: no new message", tx.send_blocking(2), Err(SendError(2)));
    let closing = tx.stats().state;
    story.equal("what is left is received", rx.recv_blocking(), Ok(1));
    story.equal(
        "from open to closed",
        [open, closing, tx.stats().state],
        [State::Open, State::Closing, State::Closed],
    );
    story.equal("then everybody is told", rx.recv_blocking(), Err(RecvError));
    let (tx, rx) = channel::bounded::<u32>(2);
    let told = thread::scope(|scope| {
        let waiting = scope.spawn(|| rx.recv_blocking());
        until(|| tx.stats().waiting_recv == 1);
        tx.close();
        waiting.join().expect("no panic")
    });
    story.equal("and so is who waits at that time", told, Err(RecvError));
}

fn states(story: &mut Story) {
    on_tasks(async {
        let (tx, rx) = channel::bounded(2);
        tx.send(1).await.expect("it is open");
        let open = tx.stats().state;
        tx.close();
        story.equal("closing: no new message", tx.send(2).await, Err(SendError(2)));
        let closing = tx.stats().state;
        story.equal("what is left is received", rx.recv().await, Ok(1));
        let states = [open, closing, tx.stats().state];
        story.equal("from open to closed", states, [State::Open, State::Closing, State::Closed]);
        story.equal("then everybody is told", rx.recv().await, Err(RecvError));
        let (tx, rx) = channel::bounded::<u32>(2);
        let waiting = filch::spawn(async move { rx.recv().await });
        yield_until(|| tx.stats().waiting_recv == 1).await;
        tx.close();
        story.equal("and so is who waits at that time", waiting.await.expect("no panic"), Err(RecvError));
    });
}

fn tell_stats(story: &mut Story, empty: Stats, full: Stats) {
    story.equal(
        "empty: who waits for a message, who for room",
        (empty.waiting_recv, empty.waiting_send),
        (1, 0),
    );
    story.equal(
        "full: who waits for a message, who for room",
        (full.waiting_recv, full.waiting_send),
        (0, 1),
    );
    story.equal("its size and its room", (full.len, full.capacity), (2, 2));
    story.equal("sent, received, most at a time", (full.sent, full.received, full.peak), (3, 1, 2));
    story.equal("and its state", full.state, State::Open);
}

fn stats_on_threads(story: &mut Story) {
    let (tx, rx) = channel::bounded(2);
    let (empty, full) = thread::scope(|scope| {
        let receives = scope.spawn(|| rx.recv_blocking());
        until(|| tx.stats().waiting_recv == 1);
        let empty = tx.stats();
        tx.send_blocking(0).expect("it is open");
        receives.join().expect("no panic").expect("it was sent");
        (1..=2).for_each(|n| tx.send_blocking(n).expect("it is open"));
        let sends = scope.spawn(|| tx.send_blocking(3));
        until(|| tx.stats().waiting_send == 1);
        let full = tx.stats();
        rx.recv_blocking().expect("it is full");
        sends.join().expect("no panic").expect("it is open");
        (empty, full)
    });
    tell_stats(story, empty, full);
}

fn stats(story: &mut Story) {
    on_tasks(async {
        let (tx, rx) = channel::bounded(2);
        let receiver = rx.clone();
        let receives = filch::spawn(async move { receiver.recv().await });
        yield_until(|| tx.stats().waiting_recv == 1).await;
        let empty = tx.stats();
        tx.send(0).await.expect("it is open");
        receives.await.expect("no panic").expect("it was sent");
        for n in 1..=2 {
            tx.send(n).await.expect("it is open");
        }
        let sender = tx.clone();
        let sends = filch::spawn(async move { sender.send(3).await });
        yield_until(|| tx.stats().waiting_send == 1).await;
        let full = tx.stats();
        rx.recv().await.expect("it is full");
        sends.await.expect("no panic").expect("it is open");
        tell_stats(story, empty, full);
    });
}

/// Fork and join, as in `ForkJoinPool`: each half as a job of its own.
fn sum_of_squares(pool: &ThreadPool, numbers: &[u64]) -> u64 {
    if numbers.len() < 100 {
        return numbers.iter().map(|n| n * n).sum();
    }
    let (left, right) = numbers.split_at(numbers.len() / 2);
    let (left, right) = pool.join(|| sum_of_squares(pool, left), || sum_of_squares(pool, right));
    left + right
}

fn elsewhere_on_threads(story: &mut Story) {
    let (tx, rx) = mpsc::channel();
    let (goes, gone) = channel::rendezvous();
    thread::spawn(move || goes.send_blocking("hello").map(|()| tx.send("sent")));
    story.equal("Go: a channel without room hands over", gone.recv_blocking(), Ok("hello"));
    story.equal("and then the goroutine goes on", rx.recv(), Ok("sent"));
    let monitor = Lock::new(0);
    each_thread(4, |_| (0..50).for_each(|_| *monitor.lock_blocking() += 1));
    story.equal("Java: `synchronized` is a lock round the value", monitor.into_inner(), 200);
    let (complete, future) = oneshot::channel();
    let doubled = thread::spawn(move || future.recv_blocking().map(|n: u32| 2 * n));
    complete.send(21).expect("it listens");
    story.equal(
        "`CompletableFuture`: completed by another, used by a third",
        doubled.join().expect("no panic"),
        Ok(42),
    );
    let (pool, numbers) = (ThreadPool::new(2).expect("it starts"), (1..=1_000).collect::<Vec<u64>>());
    story.equal("`ForkJoinPool`: the squares of 1 to 1,000", sum_of_squares(&pool, &numbers), 333_833_500);
}

fn elsewhere(story: &mut Story) {
    paused(async {
        let ((goes, gone), (quit, quits)) = (channel::rendezvous(), channel::bounded::<()>(1));
        let task = filch::spawn(async move {
            goes.send("hello").await.expect("it is received");
            drop(quit);
        });
        let mut got = Vec::new();
        // Go's `for { select { .. } }`.
        while let Some(word) = Select::new()
            .biased()
            .recv(&gone, |word: Result<&str, RecvError>| word.ok())
            .recv(&quits, |_: Result<(), RecvError>| None)
            .await
        {
            got.push(word);
        }
        task.await.expect("no panic");
        story.equal("Go: `select` in a loop, until `quit` is closed", got, vec!["hello"]);
        let monitor = Arc::new(Lock::new(0));
        let adds = monitor.clone();
        filch::spawn(async move { *adds.lock().await += 200 }).await.expect("no panic");
        story.equal("Java: `synchronized` is a lock round the value", *monitor.lock().await, 200);
        let (complete, future) = oneshot::channel::<u32>();
        let chained = future.map(|n| n.map(|n| 2 * n)).then(|n| async move { n.map(|n| n + 1) });
        complete.send(20).expect("it listens");
        story.equal(
            "`CompletableFuture`: `thenApply`, `thenCompose`",
            wait_for(chained, LONG).await,
            Ok(Ok(41)),
        );
        let halves = filch::gather!(async { (1..=500).map(|n: u64| n * n).sum::<u64>() }, async {
            (501..=1_000).map(|n: u64| n * n).sum::<u64>()
        });
        story.equal("`ForkJoinPool`: two halves, joined", halves.0 + halves.1, 333_833_500);
    });
}
