//! The promise: values pass between processes, through a pipe or a queue, and none is lost with a process
//! that is killed.
//!
//! Starts itself again as workers, and as the other side of a pipe.
#![allow(missing_docs)]

#[path = "process_pool/jobs.rs"]
mod jobs;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::ExitCode;
use std::time::Duration;

use filch::process::{self, Command, Connection, Job, Pool, Queue, QueueError, RemoteQueue};
use filch_tests::{harness, poll_once, until_yielding};
use jobs::{LONG, is_gone, this_case};

/// Takes items until there are no more, and says what it has taken.
static DRAIN: Job<(RemoteQueue<u32>, RemoteQueue<u32>), u32> = Job::new("drain", |(from, to)| {
    let mut count = 0;
    while let Ok(item) = from.get() {
        to.put(&item).expect("the other queue");
        count += 1;
    }
    count
});
static FILL: Job<(u32, u32, RemoteQueue<u32>), ()> = Job::new("fill", |(from, to, queue)| {
    for item in from..to {
        queue.put(&item).expect("the queue");
    }
});
/// Waits for an item, in vain.
static WANT: Job<(RemoteQueue<u32>, RemoteQueue<u32>), u32> = Job::new("want", |(pids, queue)| {
    pids.put(&std::process::id()).expect("the queue");
    queue.get().expect("an item")
});
/// What a handle of a queue answers to all kinds of requests.
static ASK: Job<RemoteQueue<u32>, Vec<Result<u32, String>>> = Job::new("ask", |queue| {
    let words = |error: QueueError| error.to_string();
    vec![
        queue.get_timeout(Duration::ZERO).map_err(words),
        queue.get_timeout(Duration::from_millis(1)).map_err(words),
        queue.put_timeout(&1, Duration::ZERO).map(|()| 100).map_err(words),
        queue.put_timeout(&2, Duration::ZERO).map(|()| 100).map_err(words),
        queue.put_timeout(&2, Duration::from_millis(1)).map(|()| 100).map_err(words),
        queue.len().map(|len| len as u32).map_err(words),
        queue.get_timeout(Duration::MAX).map_err(words),
        queue.is_empty().map(u32::from).map_err(words),
        queue.close().map(|()| 100).map_err(words),
        queue.put(&3).map(|()| 100).map_err(words),
        queue.get().map_err(words),
    ]
});
static KEEP: Job<(RemoteQueue<u32>, RemoteQueue<u32>), String> = Job::new("keep", |(queue, go)| {
    queue.put(&1).expect("the queue");
    go.get().expect("a word");
    queue.get().expect_err("it is gone").to_string()
});

fn main() -> ExitCode {
    process::init(&[&DRAIN, &FILL, &WANT, &ASK, &KEEP]);
    match this_case().as_deref() {
        Some("echo") => echo(),
        _ => harness(TESTS),
    }
}

filch_tests::tests! {
    both_ends_of_a_pipe_send_and_receive,
    a_pipe_to_another_process,
    a_dropped_send_does_not_tear_the_stream,
    hostile_pipes_are_errors,
    a_queue_between_processes_loses_nothing,
    an_item_that_was_lent_comes_back,
    a_process_that_is_killed_while_it_waits_takes_nothing,
    a_remote_queue_answers_as_the_queue_does,
    waiting_in_the_owner,
    a_queue_that_is_gone_is_an_error,
    strangers_and_nonsense_change_nothing,
}

/// The other side of a pipe, which is this program's input.
fn echo() -> ExitCode {
    filch::run(async {
        let fd = std::io::stdin().as_fd().try_clone_to_owned().expect("the input");
        let connection = Connection::<Vec<String>>::from_fd(fd).expect("a connection");
        while let Some(mut words) = connection.recv().await.expect("words") {
            words.reverse();
            connection.send(&words).await.expect("the other side");
        }
        ExitCode::SUCCESS
    })
}

fn both_ends_of_a_pipe_send_and_receive() {
    filch::run(async {
        let (one, other) = process::pipe::<(u32, Vec<u8>)>().unwrap();
        for (from, to) in [(&one, &other), (&other, &one)] {
            from.send(&(7, vec![1, 2])).await.unwrap();
            from.send(&(8, vec![])).await.unwrap();
            assert_eq!(to.recv().await.unwrap(), Some((7, vec![1, 2])));
            assert_eq!(to.recv().await.unwrap(), Some((8, vec![])));
        }
        // Both at once, and more than fits.
        let large = (9, vec![5; 3 << 20]);
        let all = filch::gather!(one.send(&large), other.send(&large), one.recv(), other.recv());
        assert!(all.0.is_ok() && all.1.is_ok());
        assert_eq!((all.2.unwrap(), all.3.unwrap()), (Some(large.clone()), Some(large.clone())));
        one.send(&(1, vec![])).await.unwrap();
        drop(one);
        assert_eq!(other.recv().await.unwrap(), Some((1, vec![])));
        assert_eq!(other.recv().await.unwrap(), None);
        let error = other.send(&large).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        let error = other.send(&(0, vec![0; 65 << 20])).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    });
}

fn a_pipe_to_another_process() {
    filch::run(async {
        let (ours, theirs) = process::pipe::<Vec<String>>().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.args(["--case", "echo"]).stdin(theirs.into_stdio().unwrap()).spawn().unwrap();
        // The command has a copy of their end.
        drop(command);
        for words in [vec!["a", "b", "c"], vec![]] {
            let words: Vec<String> = words.into_iter().map(String::from).collect();
            ours.send(&words).await.unwrap();
            let back = ours.recv().await.unwrap().unwrap();
            assert_eq!(back.into_iter().rev().collect::<Vec<_>>(), words);
        }
        drop(ours);
        assert!(child.wait().await.unwrap().success());
    });
}

fn a_dropped_send_does_not_tear_the_stream() {
    filch::run(async {
        let (one, other) = process::pipe::<Vec<u8>>().unwrap();
        let large = vec![1; 1 << 20];
        {
            let mut send = Box::pin(one.send(&large));
            assert!(poll_once(&mut send).await.is_none(), "it is more than a socket holds");
        }
        // A receive that is dropped in the middle keeps what it has.
        assert!(poll_once(&mut Box::pin(other.recv())).await.is_none());
        let next = vec![2; 3];
        let (sent, first, second) = filch::gather!(one.send(&next), other.recv(), async {
            filch::yield_now().await;
            other.recv().await
        });
        sent.unwrap();
        assert_eq!((first.unwrap(), second.unwrap()), (Some(large), Some(next)));
    });
}

fn hostile_pipes_are_errors() {
    use std::io::ErrorKind;
    filch::run(async {
        let good = [14, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 42];
        let with = |at: usize, byte: u8| {
            let mut bytes = good;
            bytes[at] = byte;
            bytes.to_vec()
        };
        for (bytes, kind) in [
            (good.to_vec(), None),
            (good[..10].to_vec(), Some(ErrorKind::UnexpectedEof)),
            (with(3, 255), Some(ErrorKind::InvalidData)),
            (with(0, 2), Some(ErrorKind::InvalidData)),
            (with(4, 9), Some(ErrorKind::InvalidData)),
            // A varint without an end.
            (with(17, 0xff), Some(ErrorKind::InvalidData)),
        ] {
            let (mut raw, end) = UnixStream::pair().unwrap();
            let end = Connection::<u64>::from_fd(end.into()).unwrap();
            raw.write_all(&bytes).unwrap();
            drop(raw);
            match kind {
                None => assert_eq!(end.recv().await.unwrap(), Some(42)),
                Some(kind) => assert_eq!(end.recv().await.unwrap_err().kind(), kind, "{bytes:?}"),
            }
        }
    });
}

fn a_queue_between_processes_loses_nothing() {
    filch::run(async {
        let (from, to) = (Queue::<u32>::new(8).unwrap(), Queue::<u32>::new(0).unwrap());
        let pool = Pool::new(5).unwrap();
        let drains = pool.map(&DRAIN, vec![(from.remote(), to.remote()); 2]).start();
        let fills = pool.map(&FILL, (0..3).map(|n| (n * 100, n * 100 + 100, from.remote()))).await;
        assert!(fills.iter().all(Result::is_ok));
        for item in 300..350 {
            from.put(&item).await.unwrap();
        }
        from.close();
        let counts = drains.await.into_iter().map(Result::unwrap);
        assert_eq!(counts.sum::<u32>(), 350);
        let mut items = BTreeSet::new();
        while let Ok(item) = to.try_get() {
            assert!(items.insert(item), "{item} twice");
        }
        assert_eq!(items.len(), 350);
    });
}

/// A connection to a queue by hand. Its name is what it is serialised as.
fn raw(queue: &RemoteQueue<u32>) -> UnixStream {
    let text = format!("{queue:?}");
    let name = text.split('"').nth(1).expect("a name");
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).expect("the queue")
}

fn request(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = (13 + body.len() as u32).to_le_bytes().to_vec();
    bytes.push(tag);
    bytes.extend([0xff; 8]);
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

const GET: u8 = 33;

fn an_item_that_was_lent_comes_back() {
    let runtime = filch_tests::workers(2);
    runtime.block_on(async {
        let queue = Queue::<u32>::new(2).unwrap();
        queue.put(&1).await.unwrap();
        queue.put(&2).await.unwrap();
        let mut thief = raw(&queue.remote());
        thief.write_all(&request(GET, &[])).unwrap();
        // On a thread, as it blocks.
        let thief = filch::spawn_blocking(move || {
            let mut item = [0; 18];
            thief.read_exact(&mut item).unwrap();
            assert_eq!(item[17], 1);
            thief
        });
        let thief = thief.await.unwrap();
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.try_put(&3), Err(QueueError::TimedOut), "its place is kept");
        queue.close();
        assert_eq!(queue.get().await, Ok(2));
        let mut last = Box::pin(queue.get());
        assert!(poll_once(&mut last).await.is_none(), "closed and empty, but one may come back");
        drop(thief);
        assert_eq!(last.await, Ok(1));
        assert_eq!(queue.get().await, Err(QueueError::Closed));
    });
}

fn a_process_that_is_killed_while_it_waits_takes_nothing() {
    filch::run(async {
        let (pids, queue) = (Queue::<u32>::new(0).unwrap(), Queue::<u32>::new(0).unwrap());
        let pool = Pool::new(1).unwrap();
        let call = pool.apply(&WANT, (pids.remote(), queue.remote())).start();
        let pid = pids.get().await.unwrap();
        drop(call);
        until_yielding(|| is_gone(pid)).await;
        for item in 0..20 {
            queue.put(&item).await.unwrap();
        }
        for item in 0..20 {
            assert_eq!(queue.get().await, Ok(item));
        }
        let call = pool.apply(&WANT, (pids.remote(), queue.remote())).start();
        queue.put(&20).await.unwrap();
        assert_eq!(call.await, Ok(20));
    });
}

fn a_remote_queue_answers_as_the_queue_does() {
    filch::run(async {
        let queue = Queue::<u32>::new(1).unwrap();
        let late = || Err("the time was up".to_owned());
        let closed = || Err("the queue is closed".to_owned());
        let pool = Pool::new(1).unwrap();
        let answers = pool.apply(&ASK, queue.remote()).await.unwrap();
        assert_eq!(
            answers,
            [late(), late(), Ok(100), late(), late(), Ok(1), Ok(1), Ok(1), Ok(100), closed(), closed()]
        );
        assert_eq!(queue.try_get(), Err(QueueError::Closed));
    });
}

fn waiting_in_the_owner() {
    filch::run(async {
        let queue = Queue::<u32>::new(1).unwrap();
        assert_eq!((queue.try_get(), queue.is_empty()), (Err(QueueError::TimedOut), true));
        {
            // Dropped at each stage, none of them takes or leaves anything.
            let mut get = Box::pin(queue.get());
            assert!(poll_once(&mut get).await.is_none());
            queue.put(&1).await.unwrap();
        }
        let mut put = Box::pin(queue.put(&2));
        assert!(poll_once(&mut put).await.is_none());
        assert_eq!(queue.get().await, Ok(1));
        drop(put);
        assert_eq!(queue.len(), 0);
        // Two who wait, and two items before either is polled.
        let queue = Queue::<u32>::new(0).unwrap();
        let (mut one, mut other) = (Box::pin(queue.get()), Box::pin(queue.get()));
        assert!(poll_once(&mut one).await.is_none() && poll_once(&mut other).await.is_none());
        queue.put(&1).await.unwrap();
        queue.put(&2).await.unwrap();
        assert_eq!((one.await, other.await), (Ok(1), Ok(2)));
        let copy = queue.clone();
        let mut end = Box::pin(copy.get());
        assert!(poll_once(&mut end).await.is_none());
        queue.close();
        assert_eq!((end.await, queue.put(&1).await), (Err(QueueError::Closed), Err(QueueError::Closed)));
    });
}

fn a_queue_that_is_gone_is_an_error() {
    filch::run(async {
        let (queue, go) = (Queue::<u32>::new(0).unwrap(), Queue::<u32>::new(0).unwrap());
        let pool = Pool::new(1).unwrap();
        let call = pool.apply(&KEEP, (queue.remote(), go.remote())).start();
        assert_eq!(queue.get().await, Ok(1));
        let remote = queue.remote();
        drop(queue);
        go.put(&0).await.unwrap();
        let text = call.await.unwrap();
        assert!(text.contains("cannot be reached"), "{text}");
        let never = filch::spawn_blocking(move || remote.put_timeout(&1, LONG)).await.unwrap();
        assert!(matches!(never, Err(QueueError::Lost { .. })), "{never:?}");
    });
}

fn strangers_and_nonsense_change_nothing() {
    let runtime = filch_tests::workers(2);
    runtime.block_on(async {
        let queue = Queue::<u32>::new(0).unwrap();
        queue.put(&1).await.unwrap();
        for bytes in [
            u32::MAX.to_le_bytes().to_vec(),
            vec![1, 0, 0, 0],
            request(99, &[]),
            // A word that nobody has asked for while it waits; half a request.
            [request(GET, &[]), request(GET, &[])].concat(),
            request(GET, &[])[..9].to_vec(),
        ] {
            let mut raw = raw(&queue.remote());
            let answer = filch::spawn_blocking(move || {
                raw.write_all(&bytes).unwrap();
                raw.shutdown(std::net::Shutdown::Write).unwrap();
                let mut answer = Vec::new();
                let _ = raw.read_to_end(&mut answer);
                answer
            });
            answer.await.unwrap();
            until_yielding(|| queue.len() == 1).await;
        }
        // What is no item of this type is an error for who takes it.
        let mut raw = raw(&queue.remote());
        raw.write_all(&request(32, &[0xff])).unwrap();
        assert_eq!(queue.get().await, Ok(1));
        assert!(matches!(queue.get().await, Err(QueueError::Item { .. })));
    });
}
