//! Channels: messages of eight bytes through a channel with room for 128, without bound, and with no room at
//! all, from one task to one, from four to one and from four to four. filch, kanal, crossfire, flume,
//! async-channel, tokio, as far as they have such a channel; all of them on tokio, and all again on filch.
//!
//! `filch` is the general channel, `filch, typed` the one whose ends say that they are the only ones; the rows
//! with one sender or one receiver are judged by the latter. A rendezvous is judged by flume's, whose receive
//! may be cancelled as ours may; kanal's copies the message into the future that waits.
//!
//! Each turn makes a channel and its tasks, and ends when the last receiver has seen the end.
use std::future::Future;

use crate::harness::{Metric, Row};
use crate::runtimes::{Contestants, Rt};

/// Messages of a turn, where there is room, and where there is none.
const MESSAGES: u64 = 96_000;
const MEETINGS: u64 = 12_000;
/// The room of a bounded channel.
const ROOM: usize = 128;

/// A sending end of some make.
pub trait Tx: Send + 'static {
    /// Sends, waiting for room.
    fn put(&mut self, message: u64) -> impl Future<Output = ()> + Send;
    /// Another one.
    fn again(&self) -> Self;
}

/// A receiving end of some make.
pub trait Rx: Send + 'static {
    /// The next message; `None` at the end.
    fn get(&mut self) -> impl Future<Output = Option<u64>> + Send;
    /// Another one.
    fn again(&self) -> Self;
}

/// Ends whose methods are `send(..).await` and `recv().await`, as all makes have them. `sole` ones cannot be
/// cloned.
macro_rules! ends {
    ($($tx:ty, $rx:ty;)*) => {$( ends!(tx $tx); ends!(rx $rx); )*};
    (tx $tx:ty) => { ends!(tx $tx, |tx, message| tx.send(message).await, |tx| tx.clone()); };
    (rx $rx:ty) => { ends!(rx $rx, |rx| rx.recv().await.ok(), |rx| rx.clone()); };
    (sole tx $tx:ty) => { ends!(tx $tx, |tx, message| tx.send(message).await, |_tx| unreachable!("one only")); };
    (sole rx $rx:ty) => { ends!(rx $rx, |rx| rx.recv().await.ok(), |_rx| unreachable!("one only")); };
    (tx $tx:ty, |$me:ident, $message:ident| $send:expr, |$self:pat_param| $again:expr) => {
        impl Tx for $tx {
            #[inline]
            async fn put(&mut self, $message: u64) {
                let $me = self;
                $send.expect("there is a receiver");
            }
            fn again(&self) -> Self {
                let $self = self;
                $again
            }
        }
    };
    (rx $rx:ty, |$me:ident| $recv:expr, |$self:pat_param| $again:expr) => {
        impl Rx for $rx {
            #[inline]
            async fn get(&mut self) -> Option<u64> {
                let $me = self;
                $recv
            }
            fn again(&self) -> Self {
                let $self = self;
                $again
            }
        }
    };
}

ends! {
    filch::channel::Sender<u64>, filch::channel::Receiver<u64>;
    kanal::AsyncSender<u64>, kanal::AsyncReceiver<u64>;
    async_channel::Sender<u64>, async_channel::Receiver<u64>;
    crossfire::MAsyncTx<crossfire::mpmc::Array<u64>>, crossfire::MAsyncRx<crossfire::mpmc::Array<u64>>;
}
ends!(tx crossfire::MAsyncTx<crossfire::mpsc::Array<u64>>);
ends!(sole rx crossfire::AsyncRx<crossfire::mpsc::Array<u64>>);
ends!(sole tx crossfire::AsyncTx<crossfire::spsc::Array<u64>>);
ends!(sole rx crossfire::AsyncRx<crossfire::spsc::Array<u64>>);
ends!(tx filch::channel::mpsc::Sender<u64>);
ends!(sole rx filch::channel::mpsc::Receiver<u64>);
ends!(sole tx filch::channel::spsc::Sender<u64>);
ends!(sole rx filch::channel::spsc::Receiver<u64>);
ends!(tx crossfire::MTx<crossfire::mpmc::List<u64>>, |tx, message| tx.send(message), |tx| tx.clone());
ends!(rx crossfire::MAsyncRx<crossfire::mpmc::List<u64>>);
ends!(tx crossfire::MTx<crossfire::mpsc::List<u64>>, |tx, message| tx.send(message), |tx| tx.clone());
ends!(sole rx crossfire::AsyncRx<crossfire::mpsc::List<u64>>);
ends!(tx crossfire::Tx<crossfire::spsc::List<u64>>, |tx, message| tx.send(message), |_tx| unreachable!("one only"));
ends!(tx flume::Sender<u64>, |tx, message| tx.send_async(message).await, |tx| tx.clone());
ends!(rx flume::Receiver<u64>, |rx| rx.recv_async().await.ok(), |rx| rx.clone());
ends!(tx tokio::sync::mpsc::Sender<u64>);
ends!(rx tokio::sync::mpsc::Receiver<u64>, |rx| rx.recv().await, |_rx| unreachable!("one only"));
ends!(tx tokio::sync::mpsc::UnboundedSender<u64>, |tx, message| tx.send(message), |tx| tx.clone());
ends!(rx tokio::sync::mpsc::UnboundedReceiver<u64>, |rx| rx.recv().await, |_rx| unreachable!("one only"));

/// How many send, and how many receive.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    name: &'static str,
    senders: u64,
    receivers: u64,
}

const SHAPES: [Shape; 3] = [
    Shape { name: "SPSC", senders: 1, receivers: 1 },
    Shape { name: "MPSC 4", senders: 4, receivers: 1 },
    Shape { name: "MPMC 4x4", senders: 4, receivers: 4 },
];

/// The group.
pub fn rows(all: &'static Contestants) -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in [Kind::Bounded, Kind::Unbounded, Kind::Rendezvous] {
        for shape in SHAPES {
            rows.push(row(&all.tokio, "tokio", kind, shape));
            rows.push(row(&all.filch, "filch", kind, shape));
        }
    }
    rows
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bounded,
    Unbounded,
    Rendezvous,
}

fn row<R: Rt>(rt: &'static R, on: &str, kind: Kind, shape: Shape) -> Row {
    let (what, messages) = match kind {
        Kind::Bounded => ("bounded(128)", MESSAGES),
        Kind::Unbounded => ("unbounded", MESSAGES),
        Kind::Rendezvous => ("rendezvous", MEETINGS),
    };
    let metric = Metric {
        name: format!("{what} {}, on {on}", shape.name),
        unit: "ns",
        must: Some(if kind == Kind::Rendezvous { 0.7 } else { 1.0 }),
        aim: (kind != Kind::Rendezvous).then_some(0.8),
        absolute: false,
        against: (kind == Kind::Rendezvous).then_some("flume"),
    };
    let mut row = Row::of(vec![metric], messages as usize, usize::MAX, 2);
    let mut contest = Contest { row: &mut row, rt, shape, messages };
    match kind {
        Kind::Bounded => bounded(&mut contest),
        Kind::Unbounded => unbounded(&mut contest),
        Kind::Rendezvous => rendezvous(&mut contest),
    }
    row
}

struct Contest<'a, R: 'static> {
    row: &'a mut Row,
    rt: &'static R,
    shape: Shape,
    messages: u64,
}

impl<R: Rt> Contest<'_, R> {
    fn add<T: Tx, V: Rx>(&mut self, name: &'static str, make: fn() -> (T, V)) {
        let (rt, shape, messages) = (self.rt, self.shape, self.messages);
        self.row.entry_of(name, move || {
            let start = std::time::Instant::now();
            rt.block_on(async move { R::spawn(pump::<R, T, V>(make, shape, messages)).await });
            vec![start.elapsed().as_nanos() as f64 / messages as f64]
        });
    }
}

fn bounded<R: Rt>(contest: &mut Contest<'_, R>) {
    contest.add("filch", || filch::channel::bounded(ROOM));
    match contest.shape {
        Shape { senders: 1, .. } => contest.add("filch, typed", || filch::channel::spsc::bounded(ROOM)),
        Shape { receivers: 1, .. } => contest.add("filch, typed", || filch::channel::mpsc::bounded(ROOM)),
        _ => {}
    }
    contest.add("kanal", || kanal::bounded_async(ROOM));
    contest.add("flume", || flume::bounded(ROOM));
    contest.add("async-channel", || async_channel::bounded(ROOM));
    match contest.shape {
        Shape { senders: 1, .. } => contest.add("crossfire", || crossfire::spsc::bounded_async(ROOM)),
        Shape { receivers: 1, .. } => contest.add("crossfire", || crossfire::mpsc::bounded_async(ROOM)),
        _ => contest.add("crossfire", || crossfire::mpmc::bounded_async(ROOM)),
    }
    if contest.shape.receivers == 1 {
        contest.add("tokio", || tokio::sync::mpsc::channel(ROOM));
    }
}

fn unbounded<R: Rt>(contest: &mut Contest<'_, R>) {
    contest.add("filch", filch::channel::unbounded);
    match contest.shape {
        Shape { senders: 1, .. } => contest.add("filch, typed", filch::channel::spsc::unbounded),
        Shape { receivers: 1, .. } => contest.add("filch, typed", filch::channel::mpsc::unbounded),
        _ => {}
    }
    contest.add("kanal", kanal::unbounded_async);
    contest.add("flume", flume::unbounded);
    contest.add("async-channel", async_channel::unbounded);
    match contest.shape {
        Shape { senders: 1, .. } => contest.add("crossfire", crossfire::spsc::unbounded_async),
        Shape { receivers: 1, .. } => contest.add("crossfire", crossfire::mpsc::unbounded_async),
        _ => contest.add("crossfire", crossfire::mpmc::unbounded_async),
    }
    if contest.shape.receivers == 1 {
        contest.add("tokio", tokio::sync::mpsc::unbounded_channel);
    }
}

fn rendezvous<R: Rt>(contest: &mut Contest<'_, R>) {
    contest.add("filch", filch::channel::rendezvous);
    contest.add("kanal", || kanal::bounded_async(0));
    contest.add("flume", || flume::bounded(0));
}

/// All messages of a turn: what comes out is what went in.
async fn pump<R: Rt, T: Tx, V: Rx>(make: fn() -> (T, V), shape: Shape, messages: u64) {
    let (tx, rx) = make();
    let mut more: Vec<V> = (1..shape.receivers).map(|_| rx.again()).collect();
    more.push(rx);
    let receivers: Vec<_> = more
        .into_iter()
        .map(|mut rx| {
            R::spawn(async move {
                let (mut count, mut sum) = (0_u64, 0_u64);
                while let Some(message) = rx.get().await {
                    count += 1;
                    sum = sum.wrapping_add(message);
                }
                (count, sum)
            })
        })
        .collect();
    let mut more: Vec<T> = (1..shape.senders).map(|_| tx.again()).collect();
    more.push(tx);
    let each = messages / shape.senders;
    let senders: Vec<_> = more
        .into_iter()
        .map(|mut tx| {
            R::spawn(async move {
                for message in 0..each {
                    tx.put(message).await;
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await;
    }
    let (mut count, mut sum) = (0, 0);
    for receiver in receivers {
        let (one, of) = receiver.await;
        (count, sum) = (count + one, sum + of);
    }
    assert_eq!((count, sum), (each * shape.senders, shape.senders * (each * (each - 1) / 2)));
}
