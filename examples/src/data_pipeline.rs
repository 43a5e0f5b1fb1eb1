//! The demo `data_pipeline`: numbers in chunks, squared by several at once, put together again in order.
//!
//! Owns the command line and both halves. The stages are joined by channels with little room, and a chunk is only
//! made when there is room for it in the whole of the pipe: the slow hold up the fast, and memory does not grow.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use filch::channel::{self, Receiver, Sender};
use filch::sync::Semaphore;

use crate::story::{self, Halves, Story};

pub(crate) const ABOUT: &str =
    "chunks through stages with back-pressure: mapped by several at once, and put together in order";

/// Numbers go through a pipeline: cut into chunks, squared by several workers at once, put together in order.
///
/// Never are more chunks in the pipe than it has room for, however fast they are made. On threads and on tasks.
#[derive(Debug, clap::Parser)]
#[command(name = "data_pipeline")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// What goes through.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many numbers
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub numbers: u64,
    /// How many numbers are in a chunk
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub chunk: u32,
    /// How many square them
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub mappers: u32,
    /// How many chunks may be in the pipe
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub room: u32,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { numbers: 1_000, chunk: 64, mappers: 3, room: 4 }
    }
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// A chunk, and its number.
type Chunk = (usize, Vec<u64>);

fn square(chunk: &mut Chunk) {
    chunk.1.iter_mut().for_each(|number| *number *= *number);
}

/// Puts chunks together that come in any order. Those that came too early wait; there is room for all that may be
/// in the pipe.
#[derive(Default)]
struct InOrder {
    early: BTreeMap<usize, Vec<u64>>,
    chunks: usize,
    numbers: Vec<u64>,
    early_max: usize,
}

impl InOrder {
    /// How many chunks have left the pipe by this one.
    fn add(&mut self, (at, chunk): Chunk) -> usize {
        let before = self.chunks;
        self.early.insert(at, chunk);
        self.early_max = self.early_max.max(self.early.len());
        while let Some(next) = self.early.remove(&self.chunks) {
            self.numbers.extend(next);
            self.chunks += 1;
        }
        self.chunks - before
    }
}

/// The pipe: a channel to those who square, one from them, and the room for chunks anywhere in it.
struct Pipe {
    to_map: (Sender<Chunk>, Receiver<Chunk>),
    mapped: (Sender<Chunk>, Receiver<Chunk>),
    room: Arc<Semaphore>,
}

impl Plan {
    fn pipe(&self) -> Pipe {
        Pipe {
            to_map: channel::bounded(2),
            mapped: channel::bounded(2),
            room: Arc::new(Semaphore::new(self.room as usize)),
        }
    }

    fn chunks(self) -> impl Iterator<Item = Chunk> + Send {
        let size = u64::from(self.chunk);
        (0..self.numbers.div_ceil(size))
            .map(move |at| (at as usize, (at * size..self.numbers.min((at + 1) * size)).collect()))
    }
}

impl Halves for Plan {
    fn about(&self) -> String {
        let Plan { numbers, chunk, mappers, room } = self;
        format!(
            "{numbers} numbers, {chunk} a chunk, {mappers} square them, at most {room} chunks are in the pipe."
        )
    }

    fn threads(&self, story: &mut Story) {
        let Pipe { to_map: (tx, rx), mapped: (squared, results), room } = self.pipe();
        let (plan, mut sink) = (*self, InOrder::default());
        thread::scope(|scope| {
            let makes = &room;
            scope.spawn(move || {
                for chunk in plan.chunks() {
                    makes.acquire_blocking().expect("nobody closes it").forget();
                    tx.send_blocking(chunk).expect("the mappers receive");
                }
            });
            for _ in 0..plan.mappers {
                let (rx, squared) = (rx.clone(), squared.clone());
                scope.spawn(move || {
                    for mut chunk in rx.iter() {
                        square(&mut chunk);
                        squared.send_blocking(chunk).expect("the sink receives");
                    }
                });
            }
            drop((rx, squared));
            for chunk in results.iter() {
                room.add_permits(sink.add(chunk));
            }
        });
        tell(story, self, &sink, room.available_permits());
    }

    async fn tasks(self, story: &mut Story) {
        let Pipe { to_map: (tx, rx), mapped: (squared, results), room } = self.pipe();
        let makes = room.clone();
        let mut stages = vec![filch::spawn(async move {
            for chunk in self.chunks() {
                makes.acquire().await.expect("nobody closes it").forget();
                tx.send(chunk).await.expect("the mappers receive");
            }
        })];
        for _ in 0..self.mappers {
            let (rx, squared) = (rx.clone(), squared.clone());
            stages.push(filch::spawn(async move {
                while let Ok(mut chunk) = rx.recv().await {
                    square(&mut chunk);
                    squared.send(chunk).await.expect("the sink receives");
                }
            }));
        }
        drop((rx, squared));
        let mut sink = InOrder::default();
        while let Ok(chunk) = results.recv().await {
            room.add_permits(sink.add(chunk));
        }
        for stage in filch::gather(stages).await {
            stage.expect("no stage panics");
        }
        tell(story, &self, &sink, room.available_permits());
    }
}

fn tell(story: &mut Story, plan: &Plan, sink: &InOrder, room: usize) {
    let squares = (0..plan.numbers).map(|n| n * n);
    story
        .is("the squares come in the order of the numbers", sink.numbers.iter().copied().eq(squares.clone()));
    story.equal("their sum", sink.numbers.iter().sum::<u64>(), squares.sum());
    let bounded = sink.early_max <= plan.room as usize;
    story.holds("chunks that wait for an earlier one, at most those in the pipe", bounded, sink.early_max);
    story.equal("all the room is free at the end", room, plan.room as usize);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        for (numbers, chunk, mappers, room) in
            [(1_000, 64, 3, 4), (7, 10, 2, 1), (0, 1, 1, 1), (500, 1, 8, 2)]
        {
            story::assert_holds(Plan { numbers, chunk, mappers, room });
        }
    }

    #[test]
    fn an_early_chunk_waits_for_the_ones_before() {
        let mut sink = InOrder::default();
        assert_eq!(sink.add((1, vec![2])), 0);
        assert_eq!(sink.add((0, vec![1])), 2);
        assert_eq!((sink.numbers, sink.early_max), (vec![1, 2], 2));
    }
}
