//! What this machine takes for what no runtime can do without: an atomic, an allocation, a look at the clock, a wake of
//! another thread, a message through the kernel. Written by hand, without a scheduler.
//!
//! `floor` prints it; `compare` prints each row as a multiple of the floor that its group names.
use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::harness::median;

/// One thing that costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Floor {
    /// Two read-modify-writes of a line that this thread has.
    Atomic,
    /// One read-modify-write of a line that another thread writes all the time.
    SharedAtomic,
    /// A box of 128 bytes, made and dropped.
    Alloc,
    /// `Instant::now`.
    Clock,
    /// A thread is unparked, and answers by unparking: one way.
    Wake,
    /// A system call that does nothing.
    Syscall,
    /// 64 bytes go through the loopback device and come back, between two threads that block: a round trip.
    Echo,
    /// The same over 64 connections that one thread serves by `poll`, while others wait.
    EchoMany,
    /// A thread is started and joined.
    Thread,
}

impl Floor {
    /// All of them.
    pub const ALL: [Floor; 9] = [
        Floor::Atomic,
        Floor::SharedAtomic,
        Floor::Alloc,
        Floor::Clock,
        Floor::Wake,
        Floor::Syscall,
        Floor::Echo,
        Floor::EchoMany,
        Floor::Thread,
    ];

    /// As printed.
    pub fn name(self) -> &'static str {
        match self {
            Floor::Atomic => "two atomic read-modify-writes, own line",
            Floor::SharedAtomic => "an atomic read-modify-write, shared line",
            Floor::Alloc => "a box of 128 bytes, made and dropped",
            Floor::Clock => "a look at the clock",
            Floor::Wake => "a wake of another thread, one way",
            Floor::Syscall => "a system call",
            Floor::Echo => "64 B there and back, two threads that block",
            Floor::EchoMany => "64 B there and back, 64 connections, by poll",
            Floor::Thread => "a thread, started and joined",
        }
    }

    /// Nanoseconds: the median of some rounds.
    pub fn measure(self) -> f64 {
        let rounds: Vec<f64> = (0..7).map(|_| self.once()).collect();
        median(&rounds)
    }

    fn once(self) -> f64 {
        match self {
            Floor::Atomic => {
                let word = AtomicU64::new(0);
                each(1_000_000, || {
                    word.fetch_add(1, Ordering::AcqRel);
                    word.swap(2, Ordering::AcqRel);
                })
            }
            Floor::SharedAtomic => shared_atomic(),
            Floor::Alloc => each(300_000, || Box::new([0_u8; 128])),
            Floor::Clock => each(300_000, Instant::now),
            Floor::Wake => wake(),
            // SAFETY: takes and touches nothing.
            Floor::Syscall => each(100_000, || unsafe { libc::getppid() }),
            Floor::Echo => echo(1, 2_000),
            Floor::EchoMany => echo(64, 100),
            Floor::Thread => each(200, || std::thread::spawn(|| ()).join().expect("it does nothing")),
        }
    }
}

/// Nanoseconds of one of `times` calls.
fn each<T>(times: u32, mut f: impl FnMut() -> T) -> f64 {
    let begin = Instant::now();
    for _ in 0..times {
        black_box(f());
    }
    begin.elapsed().as_nanos() as f64 / f64::from(times)
}

fn shared_atomic() -> f64 {
    let (word, stop) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while stop.load(Ordering::Relaxed) == 0 {
                word.fetch_add(1, Ordering::AcqRel);
            }
        });
        std::thread::sleep(Duration::from_millis(1));
        let figure = each(300_000, || word.fetch_add(1, Ordering::AcqRel));
        stop.store(1, Ordering::Relaxed);
        figure
    })
}

fn wake() -> f64 {
    const TRIPS: u32 = 2_000;
    let turn = Arc::new(AtomicU64::new(0));
    let (me, of_other) = (std::thread::current(), turn.clone());
    let other = std::thread::spawn(move || {
        for _ in 0..TRIPS {
            while of_other.load(Ordering::Acquire) == 0 {
                std::thread::park();
            }
            of_other.store(0, Ordering::Release);
            me.unpark();
        }
    });
    let figure = each(TRIPS, || {
        turn.store(1, Ordering::Release);
        other.thread().unpark();
        while turn.load(Ordering::Acquire) == 1 {
            std::thread::park();
        }
    });
    other.join().expect("the other thread");
    figure / 2.0
}

/// Nanoseconds a round trip.
fn echo(connections: usize, trips: usize) -> f64 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let addr = listener.local_addr().expect("an address");
    let (ready, is_ready) = mpsc::channel();
    let server = std::thread::spawn(move || {
        let streams: Vec<_> = (0..connections)
            .map(|_| {
                let (stream, _) = listener.accept().expect("accept");
                stream.set_nodelay(true).expect("nodelay");
                stream
            })
            .collect();
        ready.send(()).expect("the client waits");
        each_ready(&streams, connections * trips, |_, mut stream| {
            let mut buf = [0; 64];
            let count = stream.read(&mut buf).expect("read");
            stream.write_all(&buf[..count]).expect("write");
        });
        // Kept open until the client is done: a stream that ends has something to read, too.
        streams
    });
    let streams: Vec<_> = (0..connections)
        .map(|_| {
            let stream = std::net::TcpStream::connect(addr).expect("connect");
            stream.set_nodelay(true).expect("nodelay");
            stream
        })
        .collect();
    is_ready.recv().expect("the server is there");
    let begin = Instant::now();
    for mut stream in &streams {
        stream.write_all(&[7; 64]).expect("write");
    }
    let mut left = vec![trips - 1; connections];
    each_ready(&streams, connections * trips, |at, mut stream| {
        stream.read_exact(&mut [0; 64]).expect("read");
        if left[at] > 0 {
            left[at] -= 1;
            stream.write_all(&[7; 64]).expect("write");
        }
    });
    let figure = begin.elapsed().as_nanos() as f64 / (connections * trips) as f64;
    drop(server.join().expect("the server"));
    figure
}

/// Calls `serve` for each stream that has something to read, `times` times in all.
fn each_ready(
    streams: &[std::net::TcpStream],
    times: usize,
    mut serve: impl FnMut(usize, &std::net::TcpStream),
) {
    use std::os::fd::AsRawFd;
    let mut polled: Vec<libc::pollfd> = streams
        .iter()
        .map(|stream| libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    let mut served = 0;
    while served < times {
        // SAFETY: the array is valid and as long as it is said to be.
        let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) };
        assert!(ready > 0, "poll: {}", std::io::Error::last_os_error());
        for at in (0..polled.len()).filter(|at| polled[*at].revents != 0) {
            served += 1;
            serve(at, &streams[at]);
        }
    }
}
