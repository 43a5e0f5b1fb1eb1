//! How all rows are measured: rounds of a fixed number of operations, the contestants interleaved in a new
//! random order each round; medians, and the ratio of filch to the best peer with its bootstrap interval.
//!
//! CPU time and context switches of the whole process are taken round each turn, and shown beside the figure:
//! a win by spinning is not a win. The idle contestants sleep meanwhile; `compare idle` shows that they do.
use std::time::{Duration, Instant};

use crate::floor::Floor;

/// What the operator asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only rows whose name contains this.
    pub filter: Option<String>,
    /// Rounds that count.
    pub rounds: usize,
    /// Workers of each runtime.
    pub workers: usize,
    /// filch's variants run as well.
    pub variants: bool,
}

/// One contestant in one row: does all operations of a round.
pub struct Entry {
    /// Whose turn it is.
    pub name: &'static str,
    /// The turn. Where the figures of the row are not its duration, it returns them.
    pub turn: Box<dyn FnMut() -> Vec<f64>>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// One figure of a row.
#[derive(Debug, Clone)]
pub struct Metric {
    /// As printed.
    pub name: String,
    /// Of the figure.
    pub unit: &'static str,
    /// The ratio to the best peer that must be reached; a figure in the row's unit if `absolute`.
    pub must: Option<f64>,
    /// The ratio that is aimed for.
    pub aim: Option<f64>,
    /// `must` and `aim` are figures, not ratios.
    pub absolute: bool,
    /// The peer that the ratio is to, if it is not the best one.
    pub against: Option<&'static str>,
}

/// A workload with all its contestants.
#[derive(Debug)]
pub struct Row {
    /// What is measured: the time of an operation alone, or what the turns return.
    pub metrics: Vec<Metric>,
    /// Operations in a turn.
    pub ops: usize,
    /// The contestants; names that begin with `filch` are no peers.
    pub entries: Vec<Entry>,
    /// Rounds, where the row takes too long for as many as were asked for.
    pub rounds_max: usize,
    /// Turns that do not count.
    pub warm_up: usize,
    /// What an operation cannot do without, and how much of it.
    pub floor: Option<(f64, Floor)>,
}

impl Row {
    /// A row whose figure is the time of an operation.
    pub fn timed(name: impl Into<String>, ops: usize, must: Option<f64>, aim: Option<f64>) -> Row {
        let name = name.into();
        Row {
            metrics: vec![Metric { name, unit: "ns", must, aim, absolute: false, against: None }],
            ops,
            entries: Vec::new(),
            rounds_max: usize::MAX,
            warm_up: 2,
            floor: None,
        }
    }

    /// Says what an operation cannot do without: `times` as much as `floor`.
    pub fn above(mut self, times: f64, floor: Floor) -> Row {
        self.floor = Some((times, floor));
        self
    }

    /// A row whose turns return their figures.
    pub fn of(metrics: Vec<Metric>, ops: usize, rounds_max: usize, warm_up: usize) -> Row {
        Row { metrics, ops, entries: Vec::new(), rounds_max, warm_up, floor: None }
    }

    /// Adds a contestant whose turn is timed.
    pub fn entry(&mut self, name: &'static str, mut turn: impl FnMut() + 'static) {
        let ops = self.ops as f64;
        self.entries.push(Entry {
            name,
            turn: Box::new(move || {
                let start = Instant::now();
                turn();
                vec![start.elapsed().as_nanos() as f64 / ops]
            }),
        });
    }

    /// Adds a contestant whose turn returns its figures.
    pub fn entry_of(&mut self, name: &'static str, turn: impl FnMut() -> Vec<f64> + 'static) {
        self.entries.push(Entry { name, turn: Box::new(turn) });
    }
}

/// What one contestant reached.
#[derive(Debug)]
pub struct Score {
    /// Who.
    pub name: &'static str,
    /// One figure a round, for each metric.
    pub figures: Vec<Vec<f64>>,
    /// CPU time of an operation, in ns, a round.
    pub cpu: Vec<f64>,
    /// Context switches of 1,000 operations, a round.
    pub switches: Vec<f64>,
}

/// Takes the rounds of a row.
pub fn measure(row: &mut Row, options: &Options) -> Vec<Score> {
    let rounds = options.rounds.min(row.rounds_max);
    let mut scores: Vec<Score> = row
        .entries
        .iter()
        .map(|entry| Score {
            name: entry.name,
            figures: vec![Vec::new(); row.metrics.len()],
            cpu: Vec::new(),
            switches: Vec::new(),
        })
        .collect();
    let mut order: Vec<usize> = (0..row.entries.len()).collect();
    for round in 0..row.warm_up + rounds {
        fastrand::shuffle(&mut order);
        for &who in &order {
            // Those that had their turn fall asleep.
            std::thread::sleep(Duration::from_millis(1));
            let before = Usage::now();
            let figures = watched(&row.metrics[0].name, row.entries[who].name, &mut row.entries[who].turn);
            let used = Usage::now().since(before);
            if round < row.warm_up {
                continue;
            }
            for (all, figure) in scores[who].figures.iter_mut().zip(figures) {
                all.push(figure);
            }
            scores[who].cpu.push(used.cpu.as_nanos() as f64 / row.ops as f64);
            scores[who].switches.push(used.switches as f64 * 1e3 / row.ops as f64);
        }
    }
    scores
}

/// A turn that takes so long hangs.
const HANGS: Duration = Duration::from_secs(30);

/// Does a turn; one that does not end is reported, and ends the program, which could not go on.
fn watched(row: &str, who: &str, turn: &mut dyn FnMut() -> Vec<f64>) -> Vec<f64> {
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let (row, who) = (row.to_owned(), who.to_owned());
    let watch = std::thread::spawn(move || {
        if end.recv_timeout(HANGS) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("HANG: {who} in the row \"{row}\": no end after {HANGS:?}");
            std::process::exit(3);
        }
    });
    let figures = turn();
    drop(ended);
    watch.join().expect("the watch");
    figures
}

/// What the process used so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time of all threads.
    pub cpu: Duration,
    /// Voluntary and involuntary.
    pub switches: i64,
}

impl Usage {
    /// Of the process.
    pub fn now() -> Usage {
        Usage::of(libc::RUSAGE_SELF)
    }

    /// Of the calling thread alone.
    pub fn of_thread() -> Usage {
        Usage::of(libc::RUSAGE_THREAD)
    }

    fn of(who: libc::c_int) -> Usage {
        // SAFETY: all zeros is a `rusage`, and the call fills one in.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(who, &mut usage);
            usage
        };
        let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
        Usage { cpu: time(usage.ru_utime) + time(usage.ru_stime), switches: usage.ru_nvcsw + usage.ru_nivcsw }
    }

    /// What was used since `before`.
    pub fn since(self, before: Usage) -> Usage {
        Usage { cpu: self.cpu.saturating_sub(before.cpu), switches: self.switches - before.switches }
    }
}

/// The middle of `values`.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The value below which `part` of all lie.
pub fn percentile(values: &[f64], part: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = part * (sorted.len() - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (at - at.floor())
}

/// The ratio of the medians of `ours` and `theirs`, and the 95 % interval of 2,000 resamplings of the rounds.
/// A round is resampled as a whole, as both had the machine in the same state then.
pub fn ratio(ours: &[f64], theirs: &[f64]) -> (f64, f64, f64) {
    let rounds = ours.len().min(theirs.len());
    if rounds == 0 {
        return (f64::NAN, f64::NAN, f64::NAN);
    }
    let mut rng = fastrand::Rng::with_seed(1);
    let mut ratios: Vec<f64> = Vec::with_capacity(2000);
    for _ in 0..2000 {
        let picks: Vec<usize> = (0..rounds).map(|_| rng.usize(..rounds)).collect();
        let of = |values: &[f64]| median(&picks.iter().map(|&pick| values[pick]).collect::<Vec<_>>());
        ratios.push(of(ours) / of(theirs));
    }
    (median(ours) / median(theirs), percentile(&ratios, 0.025), percentile(&ratios, 0.975))
}
