//! One of several operations: a worker that selects, on a thread and in a task.

use std::thread;

use filch::channel::{self, Receiver, Select, Sender};
use filch::time::sleep;

use super::PATIENCE;
use crate::story::Story;

/// What a worker is given to do by a select.
enum Event {
    Number(u32),
    Word(&'static str),
    Handed,
    Stop,
}

/// What selects have done.
pub(super) struct Selected {
    /// With nothing to do, at once and after a while.
    nothing: [bool; 2],
    /// What the worker got: the sum of the numbers, the letters of the words, the results it handed on.
    worker: (u32, usize, usize),
    results: Vec<u32>,
    /// Out of 100, with two channels that always have something: how often the first was chosen.
    biased: usize,
    fair: usize,
}

/// The channels of a worker: two to receive from, of different types, one to send to, and one that ends it.
struct Worker {
    numbers: Receiver<u32>,
    words: Receiver<&'static str>,
    results: Sender<u32>,
    stop: Receiver<()>,
}

struct Ends {
    numbers: Sender<u32>,
    words: Sender<&'static str>,
    results: Receiver<u32>,
    stop: Sender<()>,
}

fn worker() -> (Ends, Worker) {
    let (numbers, from_numbers) = channel::bounded(4);
    let (words, from_words) = channel::unbounded();
    let (to_results, results) = channel::bounded(1);
    let (stop, from_stop) = channel::rendezvous();
    (
        Ends { numbers, words, results, stop },
        Worker { numbers: from_numbers, words: from_words, results: to_results, stop: from_stop },
    )
}

/// What a worker has done so far.
#[derive(Default)]
struct Done {
    sum: u32,
    letters: usize,
    handed: usize,
    /// The double of the last number, for whoever wants it.
    result: Option<u32>,
}

impl Done {
    /// False: it is to stop.
    fn goes_on_after(&mut self, event: &Event) -> bool {
        match event {
            Event::Number(number) => {
                self.sum += number;
                self.result = Some(2 * number);
            }
            Event::Word(word) => self.letters += word.len(),
            Event::Handed => self.handed += 1,
            Event::Stop => return false,
        }
        true
    }

    fn counts(&self) -> (u32, usize, usize) {
        (self.sum, self.letters, self.handed)
    }
}

/// Does one thing at a time until it is told to stop: receives a number or a word, or hands on the result if there
/// is one.
fn work_blocking(worker: &Worker) -> Done {
    let mut done = Done::default();
    loop {
        let event = Select::new()
            .recv(&worker.numbers, |number| number.map_or(Event::Stop, Event::Number))
            .recv(&worker.words, |word| word.map_or(Event::Stop, Event::Word))
            .send(&worker.results, &mut done.result, |sent| sent.map_or(Event::Stop, |()| Event::Handed))
            .recv(&worker.stop, |_| Event::Stop)
            .select_blocking();
        if !done.goes_on_after(&event) {
            return done;
        }
    }
}

async fn work(worker: Worker) -> Done {
    let mut done = Done::default();
    loop {
        let event = Select::new()
            .recv(&worker.numbers, |number| number.map_or(Event::Stop, Event::Number))
            .recv(&worker.words, |word| word.map_or(Event::Stop, Event::Word))
            .send(&worker.results, &mut done.result, |sent| sent.map_or(Event::Stop, |()| Event::Handed))
            .recv(&worker.stop, |_| Event::Stop)
            .await;
        if !done.goes_on_after(&event) {
            return done;
        }
    }
}

/// What the worker is asked: so many numbers and words.
const NUMBERS: [u32; 4] = [1, 2, 3, 4];
const WORDS: [&str; 3] = ["one", "of", "several"];

/// So many choices, between two channels that always have something.
const CHOICES: usize = 100;

fn always_something() -> [Receiver<()>; 2] {
    [(); 2].map(|()| {
        let (tx, rx) = channel::unbounded();
        (0..CHOICES).for_each(|_| tx.try_send(()).expect("there is always room"));
        rx
    })
}

pub(super) fn select_blocking() -> Selected {
    let (ends, worker) = worker();
    let select = || Select::new().recv(&ends.results, drop);
    let nothing = [select().try_select().is_err(), select().select_timeout(PATIENCE).is_err()];
    let worker = thread::spawn(move || work_blocking(&worker).counts());
    let there = "the worker is there";
    WORDS.into_iter().for_each(|word| ends.words.send_blocking(word).expect(there));
    let mut results = Vec::new();
    for number in NUMBERS {
        ends.numbers.send_blocking(number).expect(there);
        results.push(ends.results.recv_blocking().expect(there));
    }
    while !ends.words.is_empty() {
        thread::yield_now();
    }
    ends.stop.send_blocking(()).expect(there);
    let worker = worker.join().expect("the worker does not panic");
    let [biased, fair] = [true, false].map(|biased| {
        thread::spawn(move || {
            let [first, second] = always_something();
            let select = || Select::new().recv(&first, |_| true).recv(&second, |_| false);
            let choice =
                || if biased { select().biased().select_blocking() } else { select().select_blocking() };
            (0..CHOICES).filter(|_| choice()).count()
        })
        .join()
        .expect("it does not panic")
    });
    Selected { nothing, worker, results, biased, fair }
}

pub(super) async fn select() -> Selected {
    let (ends, worker) = worker();
    let select = || Select::new().recv(&ends.results, drop);
    let nothing = [select().try_select().is_err(), select().until(sleep(PATIENCE)).await.is_err()];
    let worker = filch::spawn(async move { work(worker).await.counts() });
    let there = "the worker is there";
    for word in WORDS {
        ends.words.send(word).await.expect(there);
    }
    let mut results = Vec::new();
    for number in NUMBERS {
        ends.numbers.send(number).await.expect(there);
        results.push(ends.results.recv().await.expect(there));
    }
    while !ends.words.is_empty() {
        filch::yield_now().await;
    }
    ends.stop.send(()).await.expect(there);
    let worker = worker.await.expect("the worker does not panic");
    let choose = async |biased| {
        let [first, second] = always_something();
        let select = || Select::new().recv(&first, |_| true).recv(&second, |_| false);
        let mut chosen = 0;
        for _ in 0..CHOICES {
            chosen += usize::from(if biased { select().biased().await } else { select().await });
        }
        chosen
    };
    Selected { nothing, worker, results, biased: choose(true).await, fair: choose(false).await }
}

pub(super) fn tell(story: &mut Story, seen: &Selected) {
    story.part("Select: a worker receives numbers or words, or sends results, or is stopped");
    story.equal("with nothing to do it fails: at once, and in time", seen.nothing, [true, true]);
    let letters = WORDS.concat().len();
    let expected = (NUMBERS.iter().sum(), letters, NUMBERS.len());
    story.equal("sum of the numbers, letters of the words, results sent", seen.worker, expected);
    story.equal("results received", &seen.results, &NUMBERS.map(|number| 2 * number).to_vec());
    story.equal("of two that can be done, the first is chosen: biased", seen.biased, CHOICES);
    let fair = (1..CHOICES).contains(&seen.fair);
    story.holds("and fair, neither always nor never", fair, format_args!("{} of {CHOICES}", seen.fair));
}
