//! What can go wrong in a runtime, as ninety scenarios, and which tests hold each of them.
//!
//! Owns the table. A test holds a scenario if its name begins with the scenario's code, as in
//! `tk2_model_wakes_by_reference_of_a_scheduled_task`; [`tests`] finds them in the sources, so that the table
//! cannot name one that is gone. The command `catalogue` prints it; `tests/tests/catalogue.rs` asks that it is whole.

use std::fs;
use std::path::{Path, PathBuf};

/// One of the ninety.
#[derive(Debug)]
pub struct Scenario {
    /// As in the names of tests, but in capitals.
    pub code: &'static str,
    /// How it is shown: **L** a model by loom, **S** the paused clock with a seed, **X** stress, **U** a unit test,
    /// **A** sanitizers too, **F** random operations against a plain model, **I** system calls that fail.
    pub method: &'static str,
    /// What happens, and what must come of it.
    pub line: &'static str,
}

/// What needs a simulator or a detector of deadlocks, which are not here yet.
pub const LATER: &[&str] = &["SI1", "SI2", "DD1", "DD2"];

const fn s(code: &'static str, method: &'static str, line: &'static str) -> Scenario {
    Scenario { code, method, line }
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    s("EX1", "L", "a thread spawns while the last searcher parks: no task is left with all workers asleep"),
    s("EX2", "L F", "owner against thieves, overflow during a theft: each task is got once, in order"),
    s("EX3", "L", "a thief falls asleep half-way while the ring goes round: nothing is got twice"),
    s("EX4", "S", "two tasks wake each other for ever: a third has its turn"),
    s("EX5", "X", "all workers spin: timers, sockets and tasks from outside are served"),
    s("EX6", "X", "a worker wakes a task and blocks: its whole queue runs elsewhere"),
    s("EX7", "X", "the worker that has timers and sockets blocks: another serves them"),
    s("EX8", "U", "a leaf that is always ready, in a loop: others have their turn; polls do not multiply"),
    s("EX9", "U", "block_on in a worker, small stacks, destructors of thread-locals: an answer, no abort"),
    s("TK1", "L", "a wake meets the end of a poll: one more poll, which sees what was written before"),
    s("TK2", "L", "a wake of a task that is scheduled already: its poll sees what was written before"),
    s("TK3", "L A", "wakers, output and handle dropped by several threads: each thing dropped once"),
    s("TK4", "L", "a handle polled with a new waker meets the end: the newest is woken"),
    s("TK5", "L", "an abort in each state, and twice: a value or Cancelled, never both"),
    s("TK6", "U", "a task that is not Send is aborted from elsewhere: it is dropped at home"),
    s("TK7", "U", "panics in poll, drop and output: told as documented, and nobody else suffers"),
    s("TK8", "U A", "wakers and values that panic or re-enter: no deadlock, the others are woken"),
    s(
        "TK9",
        "L U",
        "a wake after the end, after shutdown, after thread-locals are gone, between signals: harmless",
    ),
    s("TM1", "U", "zero, the past, Duration::MAX: no panic, and neither early nor spinning"),
    s("TM2", "L", "an earlier timer comes while the driver falls asleep: it wakes in time"),
    s("TM3", "L A", "a timer dropped or moved as it fires: its waker is used once at most"),
    s("TM4", "F", "random timers against a sorted map, wherever the clock starts: the same order"),
    s("TM5", "X", "sleeps of a year that lose a race: nothing is left of them"),
    s("TM6", "S", "an interval that stalls, or is stopped by a signal: ticks as in the table"),
    s("TM7", "S", "a sleep moves between tasks; the paused clock moves when nobody can run"),
    s("NT1", "I X", "no descriptor for an accept: it backs off, and goes on when there is one"),
    s("NT2", "I", "system calls of sockets fail once each: an error or another try, no panic, no hang"),
    s("NT3", "L", "readiness meets a WouldBlock: what is newer survives"),
    s("NT4", "U X", "a descriptor's number is used again: a stale event reaches nobody"),
    s("NT5", "I", "the selector refuses a descriptor: an error, and nothing is left"),
    s("NT6", "U", "reader and writer on one stream, and two readers: nobody's waker is lost"),
    s("NT7", "X", "a slow reader, and writes cancelled at random: every byte once and in order"),
    s("NT8", "U", "half-closes, resets, empty buffers: the rest is delivered, the end is exact"),
    s("NT9", "U", "an accept and a connect that are dropped: no connection and no descriptor is lost"),
    s("NT10", "X", "many idle connections and many that come and go: all descriptors come back"),
    s("BP1", "L", "a job meets a thread that gives up waiting: it is run"),
    s("BP2", "I", "no further thread for the pool: the job waits for one that is there"),
    s("BP3", "U", "panics, aborts and the cap of blocking jobs"),
    s("BP4", "U", "a job that never ends: shutdown returns at its deadline and names it"),
    s("PS1", "X", "thousands of children that end at once: each status, no zombie"),
    s("PS2", "X", "five hundred ends in one signal: each status"),
    s("PS3", "U", "children dropped, killed, waited for twice: reaped, the same status"),
    s("PS4", "U", "wake-ups of a wait that are no end: it stays pending"),
    s("PS5", "U", "full pipes, programs that are not there: no deadlock, no descriptor left or inherited"),
    s("PS6", "X", "a thousand signals, several listeners and runtimes: the last is never lost"),
    s("PS7", "X", "an alarm of one kilohertz round all tests of sockets: they pass"),
    s("LK1", "L", "an unlock meets the cancel of whom it invited: the next gets in"),
    s("LK2", "S", "one locks again and again: those who wait are served within the bound"),
    s("SM1", "L", "a big request is cancelled: its permits go to the next"),
    s("SM2", "F", "random operations against a number: permits are conserved"),
    s("SM3", "L", "close meets acquire and release: every wait ends"),
    s("RW1", "L", "many readers and a writer, many writers and a reader: all get in"),
    s("RW2", "U", "a writer in line goes: readers get in; a downgrade lets no writer in"),
    s("EV1", "L", "listen, look, and the event comes between: it is not lost"),
    s("EV2", "L", "whom a notification reached is gone: the next gets it"),
    s("CV1", "L", "wait meets notify, cancel, and the lock that is taken again"),
    s("CV2", "S", "eight are notified, some go on the way: each of the others returns once"),
    s("BA1", "S", "parties that give up, a hundred generations: one leader each"),
    s("OS1", "L A", "a send meets receive, close, drop and another waker: the value goes one way, once"),
    s("OS2", "U", "each end gone, in each order: the right error, no panic"),
    s("CH1", "L", "the last message and the end: the message comes first"),
    s("CH2", "L", "a receive that was woken is cancelled: the next is woken"),
    s("CH3", "L", "the last receiver meets the first send and the last sender: each value dropped once"),
    s("CH4", "X", "threads and tasks, four and four, of each capacity: all arrive, in each sender's order"),
    s("CH5", "U", "lengths at each boundary, a million polls in vain: exact, and nothing grows"),
    s("CH6", "U", "blocking forms on a worker, timeouts of Duration::MAX, permits round a close: no hang"),
    s("BC1", "L", "a send that wraps meets a slow receiver: Lagged is exact, nothing is torn"),
    s("BC2", "X", "a thousand receivers: one wake each; what nobody needs is dropped"),
    s("WA1", "L", "changed meets send, cancel and the end: the last value is seen"),
    s("WA2", "U", "a borrow under a send, versions after the end: as documented"),
    s("GA1", "U", "a hundred thousand children: two polls each; an error or panic drops the others once"),
    s("GA2", "A", "a child's drop panics: all others are dropped"),
    s("WF1", "S", "a value at its deadline wins; a child that spends the budget times out"),
    s("WF2", "S", "a deadline at each point of an operation: nothing is lost or doubled"),
    s("TG1", "U", "a child fails: the others are cancelled, the first error is told, nobody is left"),
    s("TG2", "U", "a group is dropped, spawned into, nested: nothing runs after its end"),
    s("TG3", "S", "a cancellation meets good ends: each child is seen once"),
    s("RL1", "S F", "random arrivals and cancels: no window holds too many, first come first served"),
    s("RL2", "S", "ten idle years, the end of time, extreme rates: no overflow"),
    s("GE1", "U", "a generator dropped, panicking, moved: destructors run once, then None for ever"),
    s("GE2", "U", "an item under a lock, two generators in turns: each keeps its own"),
    s("SI1", "S", "the same seed gives the same trace"),
    s("SI2", "S", "planted mistakes are found by seeds"),
    s("DD1", "S X", "deadlocks are told with their circle"),
    s("DD2", "X", "slow programs are told of nothing"),
    s("SH1", "L", "a spawn meets shutdown: its handle answers, its future is dropped once"),
    s("SH2", "X", "drops that wake, spawn and abort at shutdown: it ends, no thread or descriptor is left"),
    s("SH3", "U", "a runtime dropped inside itself; handles that outlive it: they answer"),
    s("OV1", "X", "more work than there is room: a bound holds, memory comes back"),
    s("OV2", "F", "options, addresses and frames of any kind: errors, never panics; options commute"),
];

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder above").to_owned()
}

/// A test that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Its name, without modules.
    pub name: String,
    /// Its file, from the root of the workspace.
    pub file: String,
}

/// Every test in the sources of the two libraries, their tests and the examples.
pub fn tests() -> Vec<Found> {
    let mut all = Vec::new();
    for folder in ["channels/src", "runtime/src", "tests/tests", "examples"] {
        files(&root().join(folder), &mut |path, text| {
            let file = path.strip_prefix(root()).unwrap_or(path).display().to_string();
            all.extend(names(text).map(|name| Found { name: name.to_owned(), file: file.clone() }));
        });
    }
    all.sort();
    all
}

fn files(folder: &Path, each: &mut dyn FnMut(&Path, &str)) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, each);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            each(&path, &fs::read_to_string(&path).expect("a source"));
        }
    }
}

/// The names of the functions in `text` that are tests: those with an attribute of a test before them, and those in
/// the list of a harness, `tests! { a, b }`.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    let mut in_list = false;
    text.lines().flat_map(move |line| {
        let line = line.trim();
        if in_list || line.starts_with("filch_tests::tests! {") {
            in_list = !line.contains('}');
            let listed = line.rsplit('{').next().unwrap_or(line).split(['}', ',']).map(str::trim);
            return listed.filter(|name| is_name(name)).collect::<Vec<_>>();
        }
        if line.starts_with("#[test]") || line.contains("filch::test") && line.starts_with("#[") {
            is_test = true;
        } else if let Some((before, name)) = line.split_once("fn ")
            && is_test
            && before.split_whitespace().all(|word| ["pub", "async"].contains(&word))
        {
            is_test = false;
            return vec![name.split(['(', '<']).next().unwrap_or(name)];
        }
        Vec::new()
    })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
}

/// Which of `tests` hold the scenario of this code.
pub fn holders<'a>(code: &str, tests: &'a [Found]) -> Vec<&'a Found> {
    let prefix = format!("{}_", code.to_lowercase());
    tests.iter().filter(|test| test.name.starts_with(&prefix)).collect()
}
