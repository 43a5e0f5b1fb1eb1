//! Rows 84 to 92: processes, what they share and what they do not.
//!
//! Owns the roles that a child of this program plays, and how it is started: as this program once more, with a socket
//! in place of its standard input, through which the two talk in lines.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixDatagram, UnixStream as StdStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use filch::gather;
use filch::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use filch::net::{UnixListener, UnixStream};
use filch::process::{Child, Command, Stdio};
use filch::sync::Lock;

use super::Half::{Tasks, Threads};
use super::help::on_tasks;
use super::{Check, row};
use crate::story::Story;

pub(super) const CHECKS: &[Check] = &[
    row(84, Tasks, process),
    row(85, Tasks, pool_map),
    row(86, Tasks, pool_futures),
    row(87, Tasks, process_queue),
    row(88, Tasks, pipe),
    row(89, Threads, shared_value),
    row(90, Tasks, manager),
    row(91, Tasks, main_guard),
    row(92, Threads, no_gil),
];

/// Says to this program that it is a child, and which role it plays.
const CHILD: &str = "--child";
/// The same where the program is that of the tests, which would not take the argument.
const ROLE: &str = "FILCH_ROWS_CHILD";

/// What main calls first, as Python's guard has it: a child plays its role and does nothing else.
pub(super) fn child(arguments: &[OsString]) -> Option<ExitCode> {
    let [_, option, role] = arguments else { return None };
    (option == CHILD).then(|| match play(&role.to_string_lossy()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rows: a child in the role {role:?}: {error}");
            ExitCode::FAILURE
        }
    })
}

/// This program once more, in a role.
fn in_role(role: &str) -> Command {
    let program = std::env::current_exe().expect("the program has a path");
    let mut command = Command::new(&program);
    if cfg!(test) {
        command.args(["--exact", "rows::processes::tests::a_child_answers", "--nocapture"]).env(ROLE, role);
        command.stdout(Stdio::null());
    } else {
        // `tour` runs any demo, by its name.
        let by_name = (program.file_stem() != Some("rows".as_ref())).then_some("rows");
        command.args(by_name).args([CHILD, role]);
    }
    command.kill_on_drop(true);
    command
}

/// A child, and this end of the socket that it talks through.
struct Player {
    child: Child,
    line: BufReader<UnixStream>,
}

impl Player {
    fn start(role: &str) -> io::Result<Player> {
        let (here, there) = StdStream::pair()?;
        let child = in_role(role).stdin(OwnedFd::from(there)).spawn()?;
        here.set_nonblocking(true)?;
        Ok(Player { child, line: BufReader::new(UnixStream::from_std(here)?) })
    }

    async fn say(&mut self, text: &str) -> io::Result<()> {
        self.line.get_mut().write_all(format!("{text}\n").as_bytes()).await
    }

    /// The next line; an error when the child is gone.
    async fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.line.read_line(&mut line).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    async fn ask(&mut self, text: &str) -> io::Result<String> {
        self.say(text).await?;
        self.hear().await
    }

    /// Closes this end, waits for the child's end, and says whether that was a good one.
    async fn end(mut self) -> io::Result<bool> {
        drop(self.line);
        Ok(self.child.wait().await?.success())
    }
}

/// Memory of this process: that of a child is another.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// What a child does.
fn play(role: &str) -> io::Result<()> {
    let words: Vec<_> = role.split(' ').collect();
    let standard_input = io::stdin().as_fd().try_clone_to_owned()?;
    match words[..] {
        ["count"] => {
            let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
            writeln!(StdStream::from(standard_input), "{} {count}", std::process::id())
        }
        ["square"] => answer(standard_input, square),
        ["upper"] => {
            writeln!(StdStream::from(standard_input.try_clone()?), "hello from the child")?;
            answer(standard_input, |line| Some(line.to_uppercase()))
        }
        ["put", who] => {
            let queue = UnixDatagram::from(standard_input);
            (0..50).try_for_each(|number| queue.send(format!("{who} {number}").as_bytes()).map(drop))
        }
        ["add", path, slot] => add_1000(&File::options().read(true).write(true).open(path)?, slot),
        ["manage", path] => filch::run(manage(path, StdStream::from(standard_input))),
        _ => Err(io::Error::other("there is no such role")),
    }
}

/// Answers line by line, until the other end is closed or there is no answer.
fn answer(line: OwnedFd, answer: impl Fn(&str) -> Option<String>) -> io::Result<()> {
    let mut out = StdStream::from(line.try_clone()?);
    for line in io::BufReader::new(StdStream::from(line)).lines() {
        match answer(&line?) {
            Some(answer) => writeln!(out, "{answer}")?,
            None => return Err(io::Error::other("it was told to die")),
        }
    }
    Ok(())
}

/// The squares of the numbers in a line, or those that a loop up to the number comes to.
fn square(line: &str) -> Option<String> {
    if let Some(times) = line.strip_prefix("loop ") {
        return Some(count_to(times.parse().ok()?).to_string());
    }
    let squares = line.split(' ').map(|number| Some(number.parse::<u64>().ok()?.pow(2).to_string()));
    Some(squares.collect::<Option<Vec<_>>>()?.join(" "))
}

fn process(story: &mut Story) {
    on_tasks(async {
        COUNT.store(7, Ordering::Relaxed);
        let mut child = Player::start("count")?;
        let id = child.child.id();
        let heard = child.hear().await?;
        let (pid, count) = heard.split_once(' ').unwrap_or_default();
        story.equal("the child knows its PID, as its parent does", pid.parse().ok(), id);
        story.is("which is another than that of the parent", id != Some(std::process::id()));
        story.equal("its memory is its own: it counted to", count, "1");
        story.equal("while the parent's count is", COUNT.load(Ordering::Relaxed), 7);
        story.is("it is joined, and ended well", child.end().await?);
        io::Result::Ok(())
    })
    .expect("children can be started");
}

/// So many children that square.
fn squarers(count: usize) -> io::Result<Vec<Player>> {
    (0..count).map(|_| Player::start("square")).collect()
}

fn pool_map(story: &mut Story) {
    let squares = on_tasks(async {
        let numbers: Vec<u64> = (1..=24).collect();
        let chunks: Vec<_> = numbers.chunks(5).map(|chunk| chunk.to_vec()).enumerate().collect();
        let (chunks, results) = (Arc::new(Lock::new(chunks)), Arc::new(Lock::new(BTreeMap::new())));
        let workers = squarers(3)?.into_iter().map(|mut child| {
            let (chunks, results) = (chunks.clone(), results.clone());
            // Who is free takes the next chunk; what passes between the processes is text.
            async move {
                while let Some((at, chunk)) = { chunks.lock().await.pop() } {
                    let text: Vec<_> = chunk.iter().map(u64::to_string).collect();
                    let squares = child.ask(&text.join(" ")).await?;
                    results.lock().await.insert(at, squares);
                }
                child.end().await
            }
        });
        for ended in gather(workers).await {
            story.is("a worker process ends well", ended?);
        }
        let results = results.lock().await;
        io::Result::Ok(results.values().cloned().collect::<Vec<_>>())
    });
    let squares = squares.expect("children can be started");
    story.equal("in chunks", squares.len(), 5);
    let expected: Vec<_> = (1..=24_u64).map(|n| (n * n).to_string()).collect();
    story.equal("and yet in the order of the arguments", squares.join(" "), expected.join(" "));
}

fn pool_futures(story: &mut Story) {
    on_tasks(async {
        let mut children = squarers(3)?.into_iter();
        let (mut good, mut bad, mut stuck) = match (children.next(), children.next(), children.next()) {
            (Some(good), Some(bad), Some(stuck)) => (good, bad, stuck),
            _ => unreachable!("there are three"),
        };
        let future = filch::spawn(async move { (good.ask("12").await, good) });
        let crashed = filch::spawn(async move { (bad.ask("die").await.is_err(), bad.end().await) });
        let (answer, good) = future.await.expect("no panic");
        story.equal("a future of what another process does", answer.ok().as_deref(), Some("144"));
        let (lost, status) = crashed.await.expect("no panic");
        story.equal(
            "a process that dies fails its future, and no other",
            (lost, status.ok()),
            (true, Some(false)),
        );
        stuck.say(&format!("loop {}", u64::MAX)).await?;
        stuck.child.kill().await?;
        story.is("one that computes for ever is killed, really", stuck.hear().await.is_err());
        story.is("and the first still lives", good.end().await?);
        io::Result::Ok(())
    })
    .expect("children can be started");
}

fn process_queue(story: &mut Story) {
    on_tasks(async {
        // A datagram is an item: it goes to one reader, whole, and in the order in which they were put.
        let (queue, put) = UnixDatagram::pair()?;
        let producers = ["0", "1"]
            .map(|who| in_role(&format!("put {who}")).stdin(OwnedFd::from(put.try_clone()?)).spawn());
        drop(put);
        let consumer = filch::spawn_blocking(move || {
            let (mut items, mut buffer) = (Vec::new(), [0; 64]);
            while items.len() < 100 {
                let length = queue.recv(&mut buffer)?;
                items.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
            io::Result::Ok(items)
        });
        for producer in producers {
            story.is("a producer has put its items and ended", producer?.wait().await?.success());
        }
        let items = consumer.await.expect("no panic")?;
        for who in ["0", "1"] {
            let own = items.iter().filter_map(|item| item.split_once(' ')).filter(|item| item.0 == who);
            let in_order = own.map(|item| item.1.to_string()).eq((0..50).map(|number| number.to_string()));
            story.is("those of one producer come once each, first in, first out", in_order);
        }
        io::Result::Ok(())
    })
    .expect("children can be started");
}

fn pipe(story: &mut Story) {
    on_tasks(async {
        let mut child = Player::start("upper")?;
        story.equal("the child sends", child.hear().await?.as_str(), "hello from the child");
        story.equal("and answers what the parent sends", child.ask("and back").await?.as_str(), "AND BACK");
        story.equal("again and again", child.ask("once more").await?.as_str(), "ONCE MORE");
        story.is("closed at one end, it ends at the other", child.end().await?);
        io::Result::Ok(())
    })
    .expect("children can be started");
}

/// Adds one to the first number of the file, a thousand times, each time with the file locked; then notes the
/// thousand in a slot of its own.
fn add_1000(file: &File, slot: &str) -> io::Result<()> {
    let slot: u64 = slot.parse().map_err(io::Error::other)?;
    let mut bytes = [0; 8];
    for _ in 0..1_000 {
        file.lock()?;
        file.read_exact_at(&mut bytes, 0)?;
        file.write_all_at(&(u64::from_le_bytes(bytes) + 1).to_le_bytes(), 0)?;
        file.unlock()?;
    }
    file.write_all_at(&1_000_u64.to_le_bytes(), 8 * slot)
}

fn shared_value(story: &mut Story) {
    let numbers = on_tasks(async {
        // What processes share here is a page of the system's, which a file names; the lock is the system's, too.
        let file = tempfile::NamedTempFile::new()?;
        file.as_file().write_all_at(&[0; 5 * 8], 0)?;
        let path = file.path().display();
        let children: io::Result<Vec<_>> =
            (1..=4).map(|slot| in_role(&format!("add {path} {slot}")).spawn()).collect();
        for mut child in children? {
            story.is("a child ended well", child.wait().await?.success());
        }
        let mut bytes = [0; 5 * 8];
        file.as_file().read_exact_at(&mut bytes, 0)?;
        io::Result::Ok(
            bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect::<Vec<_>>(),
        )
    });
    let numbers = numbers.expect("children can be started");
    story.equal("`Value`: four processes add 1 a thousand times, under its lock", numbers[0], 4_000);
    story.equal("`Array`: each has written into its own place", &numbers[1..], &[1_000; 4][..]);
}

/// The server of a manager: a table that its clients change by what they say. It ends with its parent's socket.
async fn manage(path: &str, parent: StdStream) -> io::Result<()> {
    let (listener, table) = (UnixListener::bind(path)?, Arc::new(Lock::new(BTreeMap::<String, i64>::new())));
    parent.set_nonblocking(true)?;
    let mut parent = BufReader::new(UnixStream::from_std(parent)?);
    parent.get_mut().write_all(b"ready\n").await?;
    let serve = async {
        loop {
            let (stream, _) = listener.accept().await?;
            let table = table.clone();
            drop(filch::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await? > 0 {
                    let (key, change) = line.trim_end().split_once(' ').unwrap_or_default();
                    let mut table = table.lock().await;
                    let value = table.entry(key.to_owned()).or_default();
                    *value += change.parse::<i64>().unwrap_or(0);
                    let value = *value;
                    let answer = format!("{value} {}\n", table.len());
                    drop(table);
                    stream.get_mut().write_all(answer.as_bytes()).await?;
                    line.clear();
                }
                io::Result::Ok(())
            }));
        }
    };
    let mut end = String::new();
    filch::select! {
        ended = serve => ended,
        _ = parent.read_line(&mut end) => Ok(()),
    }
}

fn manager(story: &mut Story) {
    on_tasks(async {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("manager");
        let mut server = Player::start(&format!("manage {}", path.display()))?;
        story.equal("a process of its own has the table", server.hear().await?.as_str(), "ready");
        let clients = (0..3).map(|who| {
            let path = path.clone();
            async move {
                let mut proxy = BufReader::new(UnixStream::connect(&path).await?);
                let mut last = String::new();
                for change in [format!("client-{who} 5"), "all 1".into(), "all 1".into()] {
                    last.clear();
                    proxy.get_mut().write_all(format!("{change}\n").as_bytes()).await?;
                    proxy.read_line(&mut last).await?;
                }
                io::Result::Ok(last)
            }
        });
        for answer in gather(clients).await {
            story.is("a client changes it, through its proxy", answer?.split(' ').count() == 2);
        }
        let mut proxy = BufReader::new(UnixStream::connect(&path).await?);
        let mut seen = String::new();
        proxy.get_mut().write_all(b"all 0\n").await?;
        proxy.read_line(&mut seen).await?;
        story.equal("all see the same table: a sum, and how many entries", seen.trim_end(), "6 4");
        story.is("and it ends with its owner", server.end().await?);
        io::Result::Ok(())
    })
    .expect("children can be started");
}

fn main_guard(story: &mut Story) {
    on_tasks(async {
        COUNT.store(41, Ordering::Relaxed);
        let mut child = Player::start("count")?;
        let heard = child.hear().await?;
        story.holds(
            "the child runs this program from its beginning, with fresh statics",
            heard.ends_with(" 1"),
            &heard,
        );
        story.is("the guard: it plays its role and nothing else", child.hear().await.is_err());
        story.is("and ends", child.end().await?);
        let mut wrong = Player::start("no-such-role")?;
        story.is("a role that there is not is an error", wrong.hear().await.is_err() && !wrong.end().await?);
        io::Result::Ok(())
    })
    .expect("children can be started");
}

/// The guides' loop.
fn count_to(times: u64) -> u64 {
    (0..times).fold(0, |count, n| std::hint::black_box(count + u64::from(n % 2 == 0)))
}

/// The turns that two threads took, each of which waits for the other without giving up its processor: with a lock
/// round the interpreter, and nobody to take it away, neither would get on.
fn hand_to_and_fro(turns: u32) -> u32 {
    let (mine, taken) = (AtomicBool::new(true), AtomicU32::new(0));
    thread::scope(|scope| {
        for turn in [true, false] {
            let (mine, taken) = (&mine, &taken);
            scope.spawn(move || {
                for _ in 0..turns {
                    // Ordering: Acquire here and Release below: what one did is seen by the other.
                    while mine.load(Ordering::Acquire) != turn {
                        std::hint::spin_loop();
                    }
                    taken.fetch_add(1, Ordering::Relaxed);
                    mine.store(!turn, Ordering::Release);
                }
            });
        }
    });
    taken.into_inner()
}

fn no_gil(story: &mut Story) {
    const TIMES: u64 = 1_000_000;
    story.equal("two threads take turns, each spinning for the other", hand_to_and_fro(5), 10);
    let began = Instant::now();
    let one_after_the_other = [count_to(TIMES), count_to(TIMES)];
    let alone = began.elapsed();
    let began = Instant::now();
    let on_threads = thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| count_to(TIMES)));
        threads.map(|thread| thread.join().expect("no panic"))
    });
    let threads = began.elapsed();
    let (processes, in_processes) = on_tasks(async {
        let mut children = squarers(2)?;
        let began = Instant::now();
        let asked = children.iter_mut().map(|child| child.ask("loop 1000000"));
        let answers: io::Result<Vec<_>> = gather(asked.map(Box::pin)).await.into_iter().collect();
        io::Result::Ok((began.elapsed(), answers?))
    })
    .expect("children can be started");
    story.equal("two loops, one after the other and on threads", on_threads, one_after_the_other);
    let expected: Vec<_> = one_after_the_other.iter().map(u64::to_string).collect();
    story.equal("and in processes, come to the same", in_processes, expected);
    let processors = thread::available_parallelism().map_or(1, usize::from);
    story.note(format_args!(
        "two loops of {TIMES}, on {processors} processors: {alone:.1?} one after the other, {threads:.1?} on two \
         threads, {processes:.1?} in two processes"
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a child of the tests runs, too: it has a role then.
    #[test]
    fn a_child_answers() {
        if let Ok(role) = std::env::var(ROLE) {
            // Its parent hears no more than that it failed.
            std::process::exit(i32::from(play(&role).is_err()));
        }
        let answer = on_tasks(async { Player::start("square")?.ask("3 4").await });
        assert_eq!(answer.unwrap(), "9 16");
    }
}
