//! The ordering-mutation score: how many weakened memory orderings and lost wake-ups the models notice.
//!
//! Owns the list of mutants, the journal, and the score. One build of both libraries' models serves for all: each
//! mutant is chosen at run time by the variable `FILCH_MUTATE`, as `channels/src/mutation.rs` says. First each model
//! runs once as it is, and notes the sites that it passes; then each mutant runs through the models that pass its
//! site, quickest first, with few preemptions before many, until one fails. The journal in `target/mutate/` is gone
//! on with.
//!
//! A mutant is *caught* if a model fails, *survives* if all end well, and is *undecided* if none failed and some had
//! not ended in their time; the last two count against the score.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use filch_tests::catalogue::root;

const HELP: &str = "\
usage: cargo run -p filch-tests --bin mutate -- [OPTIONS]

  --only A,B       sites in files whose path contains one of these; else all
  --limit SECONDS  for one model with one mutant (20)
  --minutes N      stop after so long; the next call goes on (no limit)
  --jobs N         models that run at the same time (1)
  --preemptions N  at most (2, or LOOM_MAX_PREEMPTIONS)
  --report         print what the journal has, and run nothing
  --fresh          forget the journal";

struct Options {
    only: Vec<String>,
    limit: Duration,
    end: Option<Instant>,
    jobs: usize,
    preemptions: usize,
    report: bool,
    fresh: bool,
}

impl Options {
    fn parse() -> Result<Options, String> {
        let preemptions =
            std::env::var("LOOM_MAX_PREEMPTIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
        let (only, limit) = (Vec::new(), Duration::from_secs(20));
        let mut options =
            Options { only, limit, end: None, jobs: 1, preemptions, report: false, fresh: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
            let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
            match argument.as_str() {
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--limit" => options.limit = Duration::from_secs(number(value()?)?),
                "--minutes" => {
                    options.end = Some(Instant::now() + Duration::from_secs(60 * number(value()?)?))
                }
                "--jobs" => options.jobs = number(value()?)?.max(1) as usize,
                "--preemptions" => options.preemptions = number(value()?)? as usize,
                "--report" => options.report = true,
                "--fresh" => options.fresh = true,
                _ => return Err(HELP.to_owned()),
            }
        }
        Ok(options)
    }

    fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }
}

/// A model, in the binary of its crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Model {
    binary: PathBuf,
    name: String,
}

/// How a run of a model ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Well,
    Failed,
    NotInTime,
}

/// What is weakened, where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mutant {
    site: String,
    how: &'static str,
}

/// Every way to weaken what stands at a site, which is written there as `load Acquire`, or `compare_exchange AcqRel
/// Relaxed`. What loom does not tell apart is left out: it takes a `SeqCst` access for one that is `AcqRel`, and
/// honours the fences beside it, which are sites of their own.
fn ways(operation: &str) -> Vec<&'static str> {
    let words: Vec<&str> = operation.split(' ').collect();
    match words[..] {
        ["load", "Acquire" | "SeqCst"] | ["store", "Release" | "SeqCst"] => vec!["relaxed"],
        ["load" | "store", _] => vec![],
        [_, order] => halves(order),
        ["compare_exchange", order, failure] => {
            let mut ways = halves(order);
            ways.extend((failure != "Relaxed").then_some("failure"));
            ways
        }
        [_] => vec!["lost"],
        _ => vec![],
    }
}

/// Of a read-modify-write with both halves, one is taken away at a time.
fn halves(order: &str) -> Vec<&'static str> {
    match order {
        "AcqRel" | "SeqCst" => vec!["acquire", "release"],
        "Acquire" | "Release" => vec!["relaxed"],
        _ => vec![],
    }
}

/// Builds the models, and says where they are.
fn binaries() -> Vec<PathBuf> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "test",
            "--release",
            "-p",
            "filch-channels",
            "-p",
            "filch",
            "--lib",
            "--target-dir",
            "target/loom",
        ])
        .args(["--no-run", "--message-format=json"])
        .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("RUSTFLAGS", "--cfg filch_loom")
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo");
    assert!(output.status.success(), "the models do not build");
    let text = String::from_utf8_lossy(&output.stdout);
    let of = |line: &str| Some(PathBuf::from(line.split("\"executable\":\"").nth(1)?.split('"').next()?));
    text.lines().filter_map(of).collect()
}

fn models(binaries: &[PathBuf]) -> Vec<Model> {
    let mut all = Vec::new();
    for binary in binaries {
        let output = Command::new(binary).args(["model", "--list"]).output().expect("the list of models");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
        all.extend(names.map(|name| Model { binary: binary.clone(), name: name.to_owned() }));
    }
    all
}

impl Model {
    /// Its crate and name, without the hash of the build.
    fn label(&self) -> String {
        let file = self.binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
        format!("{}::{}", file.rsplit_once('-').map_or(file.as_str(), |(name, _)| name), self.name)
    }

    fn run(&self, preemptions: usize, limit: Duration, variable: (&str, &str)) -> (Ended, Duration) {
        let began = Instant::now();
        let mut child = Command::new(&self.binary)
            .args([self.name.as_str(), "--exact", "--test-threads=1", "-q"])
            .env("LOOM_MAX_PREEMPTIONS", preemptions.to_string())
            .env("RUST_BACKTRACE", "0")
            .env(variable.0, variable.1)
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a model");
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(status) = child.try_wait().expect("a status") {
                let ended = if status.success() { Ended::Well } else { Ended::Failed };
                return (ended, began.elapsed());
            }
            if began.elapsed() >= limit {
                child.kill().expect("a kill");
                child.wait().expect("a status");
                return (Ended::NotInTime, limit);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

/// What was found, a line each: `model LABEL MILLISECONDS ENDED SITES...`, `mutant SITE HOW RESULT BY`.
struct Journal {
    path: PathBuf,
    lines: Vec<String>,
}

impl Journal {
    /// The one for these binaries: what is in it holds for no others.
    fn open(binaries: &[PathBuf], fresh: bool) -> Journal {
        let folder = root().join("target/mutate");
        fs::create_dir_all(&folder).expect("target/mutate");
        let mark =
            binaries.iter().map(|binary| fs::read(binary).expect("a binary")).fold(0, |hash, bytes| {
                bytes.iter().fold(hash ^ 0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
                    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
                })
            });
        let path = folder.join(format!("journal-{mark:016x}"));
        if fresh {
            let _ = fs::remove_file(&path);
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        println!("The journal is {} ({} lines).", path.display(), text.lines().count());
        Journal { path, lines: text.lines().map(str::to_owned).collect() }
    }

    fn find(&self, start: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(start)?.strip_prefix(' '))
    }

    fn add(&mut self, line: String) {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path).expect("the journal");
        writeln!(file, "{line}").expect("a line of the journal");
        self.lines.push(line);
    }
}

/// A model as it is: how long it takes, and which sites it passes.
struct Known {
    model: Model,
    takes: Duration,
    sites: BTreeMap<String, String>,
}

/// Runs each model once that the journal does not know.
fn know(all: Vec<Model>, journal: &mut Journal, options: &Options) -> Vec<Known> {
    let mut known = Vec::new();
    let notes = journal.path.with_extension("sites");
    for model in all {
        let start = format!("model {}", model.label());
        if journal.find(&start).is_none() {
            if options.report || options.is_over() {
                continue;
            }
            let _ = fs::remove_file(&notes);
            let path = notes.to_string_lossy().into_owned();
            let (ended, takes) = model.run(options.preemptions, 3 * options.limit, ("FILCH_SITES", &path));
            let sites = fs::read_to_string(&notes).unwrap_or_default();
            let sites: Vec<String> = sites.lines().map(|line| line.replace(' ', "|")).collect();
            println!("{:6.1} s  {ended:?}  {} ({} sites)", takes.as_secs_f64(), model.label(), sites.len());
            journal.add(format!("{start} {} {ended:?} {}", takes.as_millis(), sites.join(" ")));
        }
        let Some(line) = journal.find(&start) else { continue };
        let mut words = line.split(' ');
        let takes =
            words.next().and_then(|word| word.parse().ok()).map_or(options.limit, Duration::from_millis);
        if words.next() == Some("Failed") {
            println!("WITHOUT ANY MUTANT FAILED: {}", model.label());
            continue;
        }
        let site =
            |word: &str| word.split_once('|').map(|(site, what)| (site.to_owned(), what.replace('|', " ")));
        known.push(Known { model, takes, sites: words.filter_map(site).collect() });
    }
    known.sort_by_key(|known| known.takes);
    known
}

/// Runs a mutant through those that pass its site: what came of it, and by whom.
fn judge(mutant: &Mutant, known: &[Known], options: &Options) -> (&'static str, String) {
    let variable = format!("{} {}", mutant.site, mutant.how);
    let over: Vec<&Known> = known.iter().filter(|known| known.sites.contains_key(&mutant.site)).collect();
    let mut late = BTreeSet::new();
    for preemptions in [1, options.preemptions] {
        for known in &over {
            // One that takes longer than a mutant may, as it is, is of use with few preemptions only.
            if preemptions > 1 && known.takes > options.limit {
                continue;
            }
            let (ended, _) = known.model.run(preemptions, options.limit, ("FILCH_MUTATE", &variable));
            match ended {
                Ended::Failed => return ("caught", known.model.label()),
                Ended::NotInTime => _ = late.insert(known.model.label()),
                Ended::Well => {}
            }
        }
    }
    if late.is_empty() {
        return ("survived", format!("{} models", over.len()));
    }
    ("undecided", late.into_iter().collect::<Vec<_>>().join(","))
}

fn print(mutants: &[Mutant], journal: &Journal) {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let (mut caught, mut judged) = (0, 0);
    for mutant in mutants {
        let Some(line) = journal.find(&format!("mutant {} {}", mutant.site, mutant.how)) else { continue };
        let is_caught = line.starts_with("caught");
        judged += 1;
        caught += usize::from(is_caught);
        let file = mutant.site.split(':').next().unwrap_or_default();
        let count = counts.entry(file).or_default();
        *count = (count.0 + usize::from(is_caught), count.1 + 1);
        if !is_caught {
            println!("{} {}: {line}", mutant.site, mutant.how);
        }
    }
    println!("\n| file | caught | of |\n|---|---|---|");
    counts.iter().for_each(|(file, (caught, all))| println!("| `{file}` | {caught} | {all} |"));
    let share = 100.0 * caught as f64 / judged.max(1) as f64;
    println!(
        "\n{caught} of {judged} mutants are caught: {share:.1} %. {} have not been run.",
        mutants.len() - judged
    );
}

fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(options) => options,
        Err(help) => {
            eprintln!("{help}");
            return ExitCode::from(2);
        }
    };
    let binaries = binaries();
    let mut journal = Journal::open(&binaries, options.fresh);
    let known = know(models(&binaries), &mut journal, &options);
    let sites: BTreeMap<String, String> = known.iter().flat_map(|known| known.sites.clone()).collect();
    let is_asked =
        |site: &str| options.only.is_empty() || options.only.iter().any(|part| site.contains(part));
    let of_library =
        |site: &str| ["channels/src/", "runtime/src/"].iter().any(|folder| site.starts_with(folder));
    let is_code = |site: &str| of_library(site) && !Path::new(site).iter().any(|part| part == "tests");
    let mutants: Vec<Mutant> = sites
        .iter()
        .filter(|(site, _)| {
            is_asked(site) && is_code(site) && !site.contains("tests.rs") && !site.contains("test_util")
        })
        .flat_map(|(site, what)| ways(what).into_iter().map(|how| Mutant { site: site.clone(), how }))
        .collect();
    println!("{} models, {} sites, {} mutants.", known.len(), sites.len(), mutants.len());
    let left: Vec<&Mutant> = mutants
        .iter()
        .filter(|mutant| journal.find(&format!("mutant {} {}", mutant.site, mutant.how)).is_none())
        .collect();
    for some in left.chunks(options.jobs) {
        if options.report || options.is_over() {
            break;
        }
        let results: Vec<_> = std::thread::scope(|scope| {
            let judges: Vec<_> =
                some.iter().map(|mutant| scope.spawn(|| judge(mutant, &known, &options))).collect();
            judges.into_iter().map(|judge| judge.join().expect("a judge")).collect()
        });
        for (mutant, (result, by)) in some.iter().zip(results) {
            println!("{result:9} {} {} ({by})", mutant.site, mutant.how);
            journal.add(format!("mutant {} {} {result} {by}", mutant.site, mutant.how));
        }
    }
    print(&mutants, &journal);
    ExitCode::SUCCESS
}
