//! Locks, oneshot channels and notifications: filch's beside those of others, all of them on tokio, and all again
//! on filch. For locks the peers are futures, async-lock and tokio, for the rest tokio.
use std::sync::Arc;

use futures_util::lock::Mutex as FuturesMutex;

use crate::harness::{Metric, Row};
use crate::runtimes::{Contestants, Rt};

const TURNS: u64 = 50_000;
const TASKS: u64 = 8;
const ANSWERS: u64 = 20_000;
const NODS: u64 = 20_000;

/// The group.
pub fn rows(all: &'static Contestants) -> Vec<Row> {
    let mut rows = rows_on(&all.tokio, "tokio");
    rows.extend(rows_on(&all.filch, "filch"));
    rows
}

fn rows_on<R: Rt>(rt: &'static R, on: &str) -> Vec<Row> {
    let row = |name: String, ops: u64, aim| {
        let metric = Metric { name, unit: "ns", must: Some(1.0), aim, absolute: false, against: None };
        Row::of(vec![metric], ops as usize, usize::MAX, 2)
    };
    let mut alone = row(format!("Lock, uncontended, on {on}"), TURNS, Some(0.7));
    add(&mut alone, rt, "filch", turns::<R, filch::sync::Lock<u64>>, 1);
    add(&mut alone, rt, "futures", turns::<R, FuturesMutex<u64>>, 1);
    add(&mut alone, rt, "async-lock", turns::<R, async_lock::Mutex<u64>>, 1);
    add(&mut alone, rt, "tokio", turns::<R, tokio::sync::Mutex<u64>>, 1);
    let mut eight = row(format!("Lock, 8 tasks, on {on}"), TURNS, Some(0.7));
    add(&mut eight, rt, "filch", turns::<R, filch::sync::Lock<u64>>, TASKS);
    add(&mut eight, rt, "futures", turns::<R, FuturesMutex<u64>>, TASKS);
    add(&mut eight, rt, "async-lock", turns::<R, async_lock::Mutex<u64>>, TASKS);
    add(&mut eight, rt, "tokio", turns::<R, tokio::sync::Mutex<u64>>, TASKS);
    let mut answers = row(format!("oneshot: a task asks another, on {on}"), ANSWERS, None);
    add(&mut answers, rt, "filch", |_| asks_filch::<R>(), 1);
    add(&mut answers, rt, "tokio", |_| asks_tokio::<R>(), 1);
    let mut nods = row(format!("Notify: two tasks take turns, on {on}"), NODS, None);
    add(&mut nods, rt, "filch", |_| nods_of::<R, filch::sync::Notify>(), 1);
    add(&mut nods, rt, "tokio", |_| nods_of::<R, tokio::sync::Notify>(), 1);
    vec![alone, eight, answers, nods]
}

/// Adds a contestant whose work is a task of `rt`.
fn add<R: Rt, F: Future<Output = ()> + Send + 'static>(
    row: &mut Row,
    rt: &'static R,
    name: &'static str,
    work: fn(u64) -> F,
    tasks: u64,
) {
    row.entry(name, move || rt.block_on(async move { R::spawn(work(tasks)).await }));
}

/// A lock of some make round a number.
pub trait Turn: Send + Sync + 'static {
    /// A new one.
    fn make() -> Self;
    /// Locks it and adds one.
    fn turn(&self) -> impl Future<Output = u64> + Send;
}

macro_rules! turn {
    ($($lock:ty),*) => {$(
        impl Turn for $lock {
            fn make() -> Self {
                <$lock>::new(0)
            }
            #[inline]
            async fn turn(&self) -> u64 {
                let mut value = self.lock().await;
                *value += 1;
                *value
            }
        }
    )*};
}
turn!(filch::sync::Lock<u64>, FuturesMutex<u64>, async_lock::Mutex<u64>, tokio::sync::Mutex<u64>);

async fn turns<R: Rt, L: Turn>(tasks: u64) {
    let lock = Arc::new(L::make());
    let each = TURNS / tasks;
    let all: Vec<_> = (0..tasks)
        .map(|_| {
            let lock = lock.clone();
            R::spawn(async move {
                for _ in 0..each {
                    lock.turn().await;
                }
            })
        })
        .collect();
    for task in all {
        task.await;
    }
    assert_eq!(lock.turn().await, each * tasks + 1);
}

/// One task asks, another answers, each time through a new oneshot channel, which came through a channel of the
/// same make.
macro_rules! asks {
    ($name:ident, $oneshot:path, $channel:expr) => {
        async fn $name<R: Rt>() {
            use $oneshot as oneshot;
            let (ask, mut asked) = $channel;
            let task = R::spawn(async move {
                let mut count = 0;
                while let Some(answer) = asked.recv().await.into_iter().next() {
                    let answer: oneshot::Sender<u64> = answer;
                    count += 1;
                    let _ = answer.send(count);
                }
            });
            for count in 1..=ANSWERS {
                let (answer, answered) = oneshot::channel();
                let _ = ask.send(answer).await;
                assert_eq!(answered.await.ok(), Some(count));
            }
            drop(ask);
            task.await;
        }
    };
}
asks!(asks_tokio, tokio::sync::oneshot, tokio::sync::mpsc::channel(16));
asks!(asks_filch, filch::channel::oneshot, filch::channel::mpsc::bounded(16));

/// A notification of some make.
pub trait Nod: Send + Sync + 'static {
    /// A new one.
    fn make() -> Self;
    /// Notifies one.
    fn nod(&self);
    /// Waits to be notified.
    fn wait(&self) -> impl Future<Output = ()> + Send;
}

macro_rules! nod {
    ($($notify:ty),*) => {$(
        impl Nod for $notify {
            fn make() -> Self {
                <$notify>::new()
            }
            fn nod(&self) {
                self.notify_one();
            }
            async fn wait(&self) {
                self.notified().await;
            }
        }
    )*};
}
nod!(filch::sync::Notify, tokio::sync::Notify);

async fn nods_of<R: Rt, N: Nod>() {
    let pair = Arc::new((N::make(), N::make()));
    let other = {
        let pair = pair.clone();
        R::spawn(async move {
            for _ in 0..NODS / 2 {
                pair.0.wait().await;
                pair.1.nod();
            }
        })
    };
    for _ in 0..NODS / 2 {
        pair.0.nod();
        pair.1.wait().await;
    }
    other.await;
}
