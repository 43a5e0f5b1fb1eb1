//! The reactor on real sockets, polled by the test itself: no runtime, no clock. What a loopback peer has done is
//! there to be reported when its call returns, so a look (a poll of zero timeout) is enough almost everywhere.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{EVENTS, Interest, Reactor, Ready, Registration};
use crate::shim::{Arc, thread};

const READ: Interest = Interest::READABLE;
const WRITE: Interest = Interest::WRITABLE;

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours, theirs)
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours, theirs)
}

/// Looks once and returns how many tasks that woke.
fn look(reactor: &Reactor) -> usize {
    let mut out = Vec::new();
    reactor.try_lock().unwrap().poll(Some(Duration::ZERO), &mut out).unwrap();
    let woken = out.len();
    out.into_iter().for_each(Waker::wake);
    woken
}

fn poll_read(registration: &Registration, mut from: impl Read) -> Poll<io::Result<Vec<u8>>> {
    let mut buf = [0; 8];
    let mut cx = Context::from_waker(Waker::noop());
    let got = registration.poll_io(READ, &mut cx, |seen| {
        let count = from.read(&mut buf)?;
        if 0 < count && count < buf.len() {
            registration.source.clear_short(seen, READ);
        }
        Ok(count)
    });
    got.map_ok(|count| buf[..count].to_vec())
}

/// What a read gives, when it gives something.
fn read(registration: &Registration, from: impl Read) -> Vec<u8> {
    match poll_read(registration, from) {
        Poll::Ready(Ok(bytes)) => bytes,
        other => panic!("nothing to read: {other:?}"),
    }
}

#[track_caller]
fn read_waits(registration: &Registration, from: impl Read) {
    assert!(poll_read(registration, from).is_pending());
}

#[test]
fn the_selector_hears_of_a_socket_when_it_first_would_block() {
    let reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = pair();
    let registration = Registration::new(reactor.clone(), ours.as_raw_fd());
    theirs.write_all(b"one").unwrap();
    assert_eq!(read(&registration, &ours), b"one");
    assert_eq!(reactor.sources(), 0);
    read_waits(&registration, &ours);
    assert_eq!(reactor.sources(), 1);
    theirs.write_all(b"two").unwrap();
    assert_eq!(look(&reactor), 1);
    assert_eq!(read(&registration, &ours), b"two");
    drop(registration);
    assert_eq!(reactor.sources(), 0);
}

#[test]
fn what_came_before_arming_is_reported() {
    let reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = pair();
    let registration = Registration::new(reactor.clone(), ours.as_raw_fd());
    theirs.write_all(b"early").unwrap();
    registration.arm(READ).unwrap();
    read_waits(&registration, &ours);
    assert_eq!(look(&reactor), 1);
    assert_eq!(read(&registration, &ours), b"early");
}

#[test]
fn a_short_read_saves_the_next_and_loses_nothing() {
    let reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = pair();
    let registration = Registration::new(reactor.clone(), ours.as_raw_fd());
    read_waits(&registration, &ours);
    theirs.write_all(b"12345678abc").unwrap();
    look(&reactor);
    assert_eq!(read(&registration, &ours), b"12345678");
    assert_eq!(read(&registration, &ours), b"abc");
    let fails = |_| -> io::Result<()> { panic!("tried although nothing came") };
    let mut cx = Context::from_waker(Waker::noop());
    assert!(registration.poll_io(READ, &mut cx, fails).is_pending());
    theirs.write_all(b"more").unwrap();
    look(&reactor);
    assert_eq!(read(&registration, &ours), b"more");
}

#[test]
fn a_half_close_gives_the_rest_and_then_the_end_again_and_again() {
    let reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    let registration = Registration::new(reactor.clone(), ours.as_raw_fd());
    read_waits(&registration, &ours);
    theirs.write_all(b"rest").unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    assert_eq!(look(&reactor), 1);
    assert!(registration.source.seen().ready(READ).is_read_closed());
    assert_eq!(read(&registration, &ours), b"rest");
    for _ in 0..3 {
        assert_eq!(read(&registration, &ours), b"");
    }
    (&ours).write_all(b"back").unwrap();
    let mut buf = [0; 4];
    theirs.read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"back");
}

#[test]
fn a_reset_reaches_reader_and_writer() {
    let reactor = Reactor::new().unwrap();
    let (ours, theirs) = tcp_pair();
    let registration = Registration::new(reactor.clone(), ours.as_raw_fd());
    let mut cx = Context::from_waker(Waker::noop());
    registration.arm(READ | WRITE).unwrap();
    look(&reactor);
    read_waits(&registration, &ours);
    let blocked: Poll<io::Result<()>> =
        registration.poll_io(WRITE, &mut cx, |_| Err(io::ErrorKind::WouldBlock.into()));
    assert!(blocked.is_pending());
    socket2::SockRef::from(&theirs).set_linger(Some(Duration::ZERO)).unwrap();
    drop(theirs);
    assert_eq!(look(&reactor), 2);
    let ready = registration.source.seen().ready(READ | WRITE);
    assert!(ready.is_read_closed() && ready.is_write_closed() && ready.is_error(), "{ready:?}");
    let Poll::Ready(Err(error)) = poll_read(&registration, &ours) else { panic!("no error") };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// An error alone, without data: a reader that is only armed for reading hears of it.
#[test]
fn a_refused_datagram_wakes_the_reader() {
    let reactor = Reactor::new().unwrap();
    let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
    ours.set_nonblocking(true).unwrap();
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    ours.connect(nobody).unwrap();
    let registration = Registration::new(reactor.clone(), ours.as_raw_fd());
    let mut cx = Context::from_waker(Waker::noop());
    let mut receive = || registration.poll_io(READ, &mut cx, |_| ours.recv(&mut [0; 8]));
    assert!(receive().is_pending());
    ours.send(b"anybody?").unwrap();
    assert_eq!(look(&reactor), 1);
    assert!(matches!(receive(), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused));
    assert!(receive().is_pending());
}

/// A socket with an event pending is closed, and the next one gets its descriptor number and its place in the
/// table: neither a look nor a lookup by the old token, as for an event of a batch under way, finds the new one.
#[test]
fn nt4_a_stale_event_does_not_reach_the_next_socket_of_that_number() {
    let reactor = Reactor::new().unwrap();
    let (old, mut old_peer) = pair();
    let number = old.as_raw_fd();
    let registration = Registration::new(reactor.clone(), number);
    read_waits(&registration, &old);
    let stale = registration.token.lock().unwrap();
    old_peer.write_all(b"old").unwrap();
    drop(registration);
    // `dup` gives the lowest free number; other tests may take ours in between, so try until it comes up.
    drop(old);
    let (kept, _kept_peer) = pair();
    let mut spare: Vec<OwnedFd> = Vec::new();
    let new = loop {
        let fd = OwnedFd::from(kept.try_clone().unwrap());
        if fd.as_raw_fd() == number || spare.len() > 100 {
            break fd;
        }
        spare.push(fd);
    };
    let registration = Registration::new(reactor.clone(), new.as_raw_fd());
    read_waits(&registration, &kept);
    let fresh = registration.token.lock().unwrap();
    assert_eq!(stale.0 & super::INDEX_MASK, fresh.0 & super::INDEX_MASK);
    assert_ne!(stale, fresh);
    assert_eq!(look(&reactor), 0);
    let table = reactor.table.lock();
    assert!(table.get(stale).is_none());
    assert!(table.get(fresh).is_some());
}

#[test]
fn a_descriptor_that_the_selector_refuses_leaves_nothing_behind() {
    let reactor = Reactor::new().unwrap();
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let registration = Registration::new(reactor.clone(), file.as_raw_fd());
    let mut cx = Context::from_waker(Waker::noop());
    let refused: Poll<io::Result<()>> =
        registration.poll_io(READ, &mut cx, |_| Err(io::ErrorKind::WouldBlock.into()));
    assert!(matches!(refused, Poll::Ready(Err(_))));
    assert_eq!(reactor.sources(), 0);
    assert_eq!(reactor.table.lock().entries.len(), 0);
    drop(registration);
    assert_eq!(reactor.sources(), 0);
}

#[test]
fn arming_a_second_direction_keeps_the_first() {
    let reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = pair();
    let registration = Registration::new(reactor.clone(), ours.as_raw_fd());
    registration.arm(READ).unwrap();
    assert_eq!(registration.source.seen().ready(READ | WRITE), Ready::EMPTY);
    registration.arm(WRITE).unwrap();
    look(&reactor);
    assert_eq!(registration.source.seen().ready(READ | WRITE), Ready::WRITABLE);
    read_waits(&registration, &ours);
    theirs.write_all(b"in").unwrap();
    assert_eq!(look(&reactor), 1);
    assert_eq!(read(&registration, &ours), b"in");
    assert_eq!(reactor.sources(), 1);
}

#[test]
fn more_sockets_than_one_look_takes_are_all_reported() {
    let reactor = Reactor::new().unwrap();
    let pairs: Vec<_> = (0..EVENTS + 10).map(|_| pair()).collect();
    let registrations: Vec<_> =
        pairs.iter().map(|(ours, _)| Registration::new(reactor.clone(), ours.as_raw_fd())).collect();
    for (registration, (ours, theirs)) in registrations.iter().zip(&pairs) {
        read_waits(registration, ours);
        let mut theirs = theirs;
        theirs.write_all(b"x").unwrap();
    }
    assert_eq!((look(&reactor), look(&reactor), look(&reactor)), (EVENTS, 10, 0));
}

#[test]
fn try_io_tries_only_what_may_work() {
    let reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = pair();
    let registration = Registration::new(reactor.clone(), ours.as_raw_fd());
    let attempt = || registration.try_io(READ, |_| (&ours).read(&mut [0; 8]));
    assert_eq!(attempt().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    registration.arm(READ).unwrap();
    theirs.write_all(b"x").unwrap();
    assert_eq!(attempt().unwrap_err().kind(), io::ErrorKind::WouldBlock, "not before the event");
    look(&reactor);
    assert_eq!(attempt().unwrap(), 1);
    assert_eq!(attempt().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(registration.source.seen().ready(READ), Ready::EMPTY);
}

#[test]
fn only_one_thread_polls() {
    let reactor = Reactor::new().unwrap();
    let polling = reactor.try_lock().unwrap();
    assert!(reactor.try_lock().is_none());
    drop(polling);
    assert!(reactor.try_lock().is_some());
}

#[test]
fn wake_ends_the_poll_under_way_and_the_next_one() {
    let reactor = Reactor::new().unwrap();
    let waits = |timeout| reactor.try_lock().unwrap().poll(timeout, &mut Vec::new()).unwrap();
    reactor.wake().unwrap();
    assert_eq!(waits(None), 1, "woken before");
    assert_eq!(waits(Some(Duration::ZERO)), 0, "a wake is used up");
    let waker = thread::spawn({
        let reactor = reactor.clone();
        move || reactor.wake().unwrap()
    });
    assert_eq!(waits(None), 1);
    waker.join().unwrap();
}

/// Would hang if any of these timeouts were taken for "for ever", or ended by an error.
#[test]
fn timeouts_of_every_size_end() {
    let reactor = Reactor::new().unwrap();
    let mut out = Vec::new();
    for nanos in [1, 999, 1_000_001, 2_500_000] {
        reactor.try_lock().unwrap().poll(Some(Duration::from_nanos(nanos)), &mut out).unwrap();
    }
    for long in [Duration::MAX, Duration::from_secs(1 << 40), Duration::from_millis(1 << 33)] {
        reactor.wake().unwrap();
        reactor.try_lock().unwrap().poll(Some(long), &mut out).unwrap();
    }
    // The day that was armed last does not hold back a short wait.
    reactor.try_lock().unwrap().poll(Some(Duration::from_micros(1)), &mut out).unwrap();
}

#[test]
fn without_a_timer_descriptor_timeouts_still_end() {
    let reactor = Reactor::new().unwrap();
    let mut polling = reactor.try_lock().unwrap();
    polling.poller.timer = None;
    polling.poll(Some(Duration::from_nanos(1)), &mut Vec::new()).unwrap();
    reactor.wake().unwrap();
    polling.poll(Some(Duration::MAX), &mut Vec::new()).unwrap();
}

#[test]
fn after_shutdown_what_would_wait_fails_and_what_is_there_is_read() {
    let reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = pair();
    let (fresh, _fresh_peer) = pair();
    let registration = Registration::new(reactor.clone(), ours.as_raw_fd());
    let never_armed = Registration::new(reactor.clone(), fresh.as_raw_fd());
    read_waits(&registration, &ours);
    theirs.write_all(b"last").unwrap();
    let mut out = Vec::new();
    reactor.shutdown(&mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(read(&registration, &ours), b"last");
    for (registration, from) in [(&registration, &ours), (&never_armed, &fresh)] {
        let Poll::Ready(Err(error)) = poll_read(registration, from) else { panic!("it waits") };
        assert!(error.to_string().contains("has been shut down"), "{error}");
    }
}

#[test]
fn those_who_wait_on_one_socket_are_all_woken() {
    let reactor = Reactor::new().unwrap();
    let (ours, mut theirs) = pair();
    let registration = Registration::new(reactor.clone(), ours.as_raw_fd());
    let here = std::panic::Location::caller();
    let mut cx = Context::from_waker(Waker::noop());
    let mut waiting: Vec<_> = (0..3).map(|_| registration.wait(READ, here)).collect();
    for one in &mut waiting {
        assert!(one.poll_io(&mut cx, |_| (&ours).read(&mut [0; 8])).is_pending());
    }
    waiting.remove(0);
    theirs.write_all(b"x").unwrap();
    assert_eq!(look(&reactor), 2);
    let read = waiting[1].poll_io(&mut cx, |_| (&ours).read(&mut [0; 8]));
    assert!(matches!(read, Poll::Ready(Ok(1))));
}

/// Ordinary use by two threads: one polls for ever, the other reads what comes.
#[test]
fn a_thread_that_polls_serves_one_that_waits() {
    let reactor = Reactor::new().unwrap();
    let done = Arc::new(crate::shim::shared::AtomicBool::new(false));
    let poller = thread::spawn({
        let (reactor, done) = (reactor.clone(), done.clone());
        move || {
            let mut out = Vec::new();
            while !done.load(crate::shim::Ordering::SeqCst) {
                reactor.try_lock().unwrap().poll(None, &mut out).unwrap();
                out.drain(..).for_each(Waker::wake);
            }
        }
    });
    let (ours, mut theirs) = tcp_pair();
    let registration = Registration::new(reactor.clone(), ours.as_raw_fd());
    let echo = thread::spawn(move || {
        for round in 0..1000_u32 {
            theirs.write_all(&round.to_ne_bytes()).unwrap();
            let mut back = [0; 4];
            theirs.read_exact(&mut back).unwrap();
            assert_eq!(u32::from_ne_bytes(back), round);
        }
    });
    futures_lite::future::block_on(async {
        for _ in 0..1000 {
            let mut buf = [0; 4];
            let mut waiting = registration.wait(READ, std::panic::Location::caller());
            let count =
                std::future::poll_fn(|cx| waiting.poll_io(cx, |_| (&ours).read(&mut buf))).await.unwrap();
            assert_eq!(count, 4);
            (&ours).write_all(&buf).unwrap();
        }
    });
    echo.join().unwrap();
    done.store(true, crate::shim::Ordering::SeqCst);
    reactor.wake().unwrap();
    poller.join().unwrap();
}
