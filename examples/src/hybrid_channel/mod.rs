//! The demo `hybrid_channel`: one channel for threads and tasks, with all that the guides' expert challenge asks.
//!
//! Owns the command line and both halves; each kind of thing that is shown has a function for threads and one for
//! tasks. `select` has those of the select. The guides' own channel keeps two queues, one for each side, and has no
//! select; this one is one queue.

mod select;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use filch::channel::error::{RecvError, SendError, SendTimeoutError, TryRecvError, TrySendError};
use filch::channel::{self, Overflow, Receiver, State, Stats};
use filch::sync::Event;
use filch::wait_for;

use crate::story::{self, Halves, Story};

pub(crate) const ABOUT: &str =
    "one channel for threads and tasks: buffered or not, back-pressure, select, states, stats";

/// Threads and tasks on both ends of the same channels.
///
/// Many send and many receive, and each message arrives once; a channel without room hands over; a full one makes its
/// senders wait, or drops, or says so; a select does one of several operations; and a channel that is closed first
/// gives out what is left.
#[derive(Debug, clap::Parser)]
#[command(name = "hybrid_channel")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// Who sends how much.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many threads, and how many tasks, send
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub senders: u32,
    /// How many threads and how many tasks receive, so many of each, in both halves
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub receivers: u32,
    /// How many messages each sender sends
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub messages: u32,
    /// How many messages the channel holds
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub capacity: u32,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// A message: who sent it, and its number.
type Message = (u32, u32);

/// What is waited for in vain.
const PATIENCE: Duration = Duration::from_millis(5);

impl Halves for Plan {
    fn about(&self) -> String {
        format!(
            "{} send {} messages each through a channel for {}; {} threads and as many tasks receive them.",
            self.senders, self.messages, self.capacity, self.receivers
        )
    }

    fn threads(&self, story: &mut Story) {
        let (tx, rx) = channel::bounded(self.capacity as usize);
        let (threads, tasks) = receive(self, &rx);
        drop(rx);
        let plan = *self;
        let senders: Vec<_> = (0..plan.senders)
            .map(|who| {
                let tx = tx.clone();
                thread::spawn(move || {
                    (0..plan.messages).all(|number| tx.send_blocking((who, number)).is_ok())
                })
            })
            .collect();
        drop(tx);
        let sent = senders.into_iter().all(|sender| sender.join().expect("no sender panics"));
        let threads = threads.into_iter().map(|thread| thread.join().expect("no receiver panics"));
        let tasks = tasks.into_iter().map(|task| task.join_blocking().expect("no receiver panics"));
        tell_messages(story, self, sent, &threads.chain(tasks).collect::<Vec<_>>());

        tell_handing_over(story, &hand_over_blocking());
        tell_pressure(story, &press_blocking());
        tell_overflow(
            story,
            [Overflow::DropNewest, Overflow::DropOldest, Overflow::Error].map(overflow_blocking),
        );
        select::tell(story, &select::select_blocking());
        tell_end(story, &end_blocking());
    }

    async fn tasks(self, story: &mut Story) {
        let (tx, rx) = channel::bounded(self.capacity as usize);
        let (threads, tasks) = receive(&self, &rx);
        drop(rx);
        let mut senders = Vec::new();
        for who in 0..self.senders {
            let tx = tx.clone();
            senders.push(filch::spawn(async move {
                for number in 0..self.messages {
                    if tx.send((who, number)).await.is_err() {
                        return false;
                    }
                }
                true
            }));
        }
        drop(tx);
        let (mut sent, mut received) = (true, Vec::new());
        for sender in senders {
            sent &= sender.await.expect("no sender panics");
        }
        for task in tasks {
            received.push(task.await.expect("no receiver panics"));
        }
        let joined =
            filch::spawn_blocking(|| threads.into_iter().map(thread::JoinHandle::join).collect::<Vec<_>>());
        for thread in joined.await.expect("to join does not panic") {
            received.push(thread.expect("no receiver panics"));
        }
        tell_messages(story, &self, sent, &received);

        tell_handing_over(story, &hand_over().await);
        tell_pressure(story, &press().await);
        let [newest, oldest, error] = [Overflow::DropNewest, Overflow::DropOldest, Overflow::Error];
        tell_overflow(story, [overflow(newest).await, overflow(oldest).await, overflow(error).await]);
        select::tell(story, &select::select().await);
        tell_end(story, &end().await);
    }
}

type Threads = Vec<thread::JoinHandle<Vec<Message>>>;
type Tasks = Vec<filch::JoinHandle<Vec<Message>>>;

/// Begins to receive, on threads and on tasks, from the same channel.
fn receive(plan: &Plan, rx: &Receiver<Message>) -> (Threads, Tasks) {
    let threads = (0..plan.receivers).map(|_| {
        let rx = rx.clone();
        thread::spawn(move || rx.iter().collect())
    });
    let tasks = (0..plan.receivers).map(|_| {
        let rx = rx.clone();
        filch::spawn(async move {
            let mut received = Vec::new();
            while let Ok(message) = rx.recv().await {
                received.push(message);
            }
            received
        })
    });
    (threads.collect(), tasks.collect())
}

fn tell_messages(story: &mut Story, plan: &Plan, sent: bool, received: &[Vec<Message>]) {
    story.part("All send through one channel, to threads and tasks");
    let shares: Vec<_> = received.iter().map(Vec::len).collect();
    story.note(format_args!("received by each: {shares:?}"));
    story.is("every send went well", sent);
    let in_order = received.iter().all(|messages| {
        (0..plan.senders).all(|who| messages.iter().filter(|message| message.0 == who).is_sorted())
    });
    story.is("nobody gets the messages of one sender in another order", in_order);
    let mut all = received.concat();
    all.sort_unstable();
    let expected = (0..plan.senders).flat_map(|who| (0..plan.messages).map(move |number| (who, number)));
    story.is("each message came once", all.into_iter().eq(expected));
}

/// What a channel without room does.
struct HandingOver {
    nobody_there: Result<(), TrySendError<u32>>,
    /// The message comes back from a send that was given up.
    given_up: Option<u32>,
    /// What was received, whether the receiver had come when the send was done, and what another got then.
    received: Result<u32, RecvError>,
    came: bool,
    another: Result<u32, TryRecvError>,
}

fn hand_over_blocking() -> HandingOver {
    let (tx, rx) = channel::rendezvous();
    let nobody_there = tx.try_send(1);
    let given_up = match tx.send_timeout(2, PATIENCE) {
        Err(SendTimeoutError::Timeout(message)) => Some(message),
        _ => None,
    };
    let comes = Arc::new(Event::new());
    let receiver = thread::spawn({
        let (rx, comes) = (rx.clone(), comes.clone());
        move || {
            comes.set();
            rx.recv_blocking()
        }
    });
    tx.send_blocking(3).expect("there is a receiver");
    let (came, another) = (comes.is_set(), rx.try_recv());
    HandingOver {
        nobody_there,
        given_up,
        received: receiver.join().expect("no receiver panics"),
        came,
        another,
    }
}

async fn hand_over() -> HandingOver {
    let (tx, rx) = channel::rendezvous();
    let nobody_there = tx.try_send(1);
    let mut send = std::pin::pin!(tx.send(2));
    let given_up = match wait_for(send.as_mut(), PATIENCE).await {
        // The future still has it.
        Err(_) => send.as_mut().into_inner(),
        Ok(_) => None,
    };
    let comes = Arc::new(Event::new());
    let receiver = filch::spawn({
        let (rx, comes) = (rx.clone(), comes.clone());
        async move {
            comes.set();
            rx.recv().await
        }
    });
    tx.send(3).await.expect("there is a receiver");
    let (came, another) = (comes.is_set(), rx.try_recv());
    HandingOver {
        nobody_there,
        given_up,
        received: receiver.await.expect("no receiver panics"),
        came,
        another,
    }
}

fn tell_handing_over(story: &mut Story, seen: &HandingOver) {
    story.part("A channel without room: a send is done when a receiver has its message");
    story.equal("with no receiver about, `try_send` says", &seen.nobody_there, &Err(TrySendError::Full(1)));
    story.equal("a send that is given up gives its message back", seen.given_up, Some(2));
    story.is("a send is not done before a receiver has come", seen.came);
    story.equal("which has the message then, so another finds", seen.another, Err(TryRecvError::Empty));
    story.equal("and the first one gets", seen.received, Ok(3));
}

/// What a full channel does to those who send.
struct Pressure {
    /// How many went in before there was no room.
    went_in: u32,
    waiting: usize,
    /// What came out after one was received, and how many then were in.
    after: (u32, usize),
    paused: [bool; 2],
}

fn press_blocking() -> Pressure {
    let (tx, rx) = channel::Builder::new().capacity(4).watermarks(1..=3).build();
    let went_in = (0..).take_while(|number| tx.try_send(*number).is_ok()).count() as u32;
    thread::scope(|scope| {
        let sender = scope.spawn(|| tx.send_blocking(went_in));
        while rx.stats().waiting_send == 0 {
            thread::yield_now();
        }
        let (waiting, first) = (rx.stats().waiting_send, rx.recv_blocking().expect("it is full"));
        sender.join().expect("the sender does not panic").expect("there is room now");
        let after = (first, rx.len());
        let high = tx.is_paused();
        rx.try_iter().take(3).for_each(drop);
        tx.resumed_blocking();
        Pressure { went_in, waiting, after, paused: [high, tx.is_paused()] }
    })
}

async fn press() -> Pressure {
    let (tx, rx) = channel::Builder::new().capacity(4).watermarks(1..=3).build();
    let went_in = (0..).take_while(|number| tx.try_send(*number).is_ok()).count() as u32;
    let sender = filch::spawn({
        let tx = tx.clone();
        async move { tx.send(went_in).await }
    });
    while rx.stats().waiting_send == 0 {
        filch::yield_now().await;
    }
    let (waiting, first) = (rx.stats().waiting_send, rx.recv().await.expect("it is full"));
    sender.await.expect("the sender does not panic").expect("there is room now");
    let after = (first, rx.len());
    let high = tx.is_paused();
    rx.try_iter().take(3).for_each(drop);
    tx.resumed().await;
    Pressure { went_in, waiting, after, paused: [high, tx.is_paused()] }
}

fn tell_pressure(story: &mut Story, seen: &Pressure) {
    story.part("Back-pressure: a channel for 4, with marks at 1 and 3");
    story.equal("messages that go in", seen.went_in, 4);
    story.equal("the next sender waits", seen.waiting, 1);
    story.equal("until the first is received: that, and how many are in then", seen.after, (0, 4));
    story.equal("senders are asked to pause: when full, and when drained to 1", seen.paused, [true, false]);
}

/// Sends 1 to 5 through a channel for 3. What arrives, and how many sends failed.
fn overflow_blocking(policy: Overflow) -> (Vec<u32>, usize) {
    let (tx, rx) = channel::Builder::new().capacity(3).overflow(policy).build();
    let failed = (1..=5).filter(|number| tx.send_blocking(*number).is_err()).count();
    (rx.try_iter().collect(), failed)
}

async fn overflow(policy: Overflow) -> (Vec<u32>, usize) {
    let (tx, rx) = channel::Builder::new().capacity(3).overflow(policy).build();
    let mut failed = 0;
    for number in 1..=5 {
        failed += usize::from(tx.send(number).await.is_err());
    }
    (rx.try_iter().collect(), failed)
}

fn tell_overflow(story: &mut Story, [newest, oldest, error]: [(Vec<u32>, usize); 3]) {
    story.part(
        "Or nobody waits: 1 to 5 are sent through a channel for 3; what arrives, and how many sends fail",
    );
    story.equal("drop the newest", newest, (vec![1, 2, 3], 0));
    story.equal("drop the oldest", oldest, (vec![3, 4, 5], 0));
    story.equal("an error", error, (vec![1, 2, 3], 2));
}

/// How a channel ends.
struct End {
    /// Before it is closed, after, and when it is empty.
    states: [State; 3],
    /// As it was closed with messages in it.
    closing: Stats,
    refused: Result<(), SendError<u32>>,
    left: Vec<u32>,
    after: Result<u32, RecvError>,
    /// What somebody gets who waits when an empty channel is closed.
    waiting: Result<u32, RecvError>,
}

fn end_blocking() -> End {
    let (tx, rx) = channel::bounded(4);
    tx.send_blocking(1).expect("it is open");
    tx.send_blocking(2).expect("it is open");
    let open = tx.stats().state;
    tx.close();
    let (refused, closing) = (tx.send_blocking(3), tx.stats());
    let left = rx.iter().collect();
    let (after, closed) = (rx.recv_blocking(), rx.stats().state);

    let (tx, rx) = channel::bounded(4);
    let waiting = thread::spawn(move || rx.recv_blocking());
    while tx.stats().waiting_recv == 0 {
        thread::yield_now();
    }
    tx.close();
    let waiting = waiting.join().expect("the receiver does not panic");
    End { states: [open, closing.state, closed], closing, refused, left, after, waiting }
}

async fn end() -> End {
    let (tx, rx) = channel::bounded(4);
    tx.send(1).await.expect("it is open");
    tx.send(2).await.expect("it is open");
    let open = tx.stats().state;
    tx.close();
    let (refused, closing) = (tx.send(3).await, tx.stats());
    let mut left = Vec::new();
    while let Ok(message) = rx.recv().await {
        left.push(message);
    }
    let (after, closed) = (rx.recv().await, rx.stats().state);

    let (tx, rx) = channel::bounded(4);
    let waiting = filch::spawn(async move { rx.recv().await });
    while tx.stats().waiting_recv == 0 {
        filch::yield_now().await;
    }
    tx.close();
    let waiting = waiting.await.expect("the receiver does not panic");
    End { states: [open, closing.state, closed], closing, refused, left, after, waiting }
}

fn tell_end(story: &mut Story, seen: &End) {
    story.part("The end: open, closed with two messages left, and drained");
    story.equal("states", seen.states, [State::Open, State::Closing, State::Closed]);
    story.equal("a message sent after the close comes back", &seen.refused, &Err(SendError(3)));
    let Stats { len, capacity, sent, received, senders, receivers, .. } = seen.closing;
    story.equal(
        "then its stats say: held, capacity, sent, received",
        (len, capacity, sent, received),
        (2, 4, 2, 0),
    );
    story.equal("and: senders, receivers", (senders, receivers), (1, 1));
    story.equal("what was left is received", &seen.left, &vec![1, 2]);
    story.equal("and then", seen.after, Err(RecvError));
    story.equal("who waits when an empty one is closed is told", seen.waiting, Err(RecvError));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_keeps_what_it_promises_to_threads_and_tasks() {
        for (senders, receivers, messages, capacity) in [(4, 2, 500, 16), (1, 1, 100, 1), (6, 1, 50, 2)] {
            story::assert_holds(Plan { senders, receivers, messages, capacity });
        }
    }
}
