//! Models of the protocol at the top of `source.rs`, on its real code, and a table of its readiness rules. The
//! selector is a plain call of `set_ready`; the resource is a counter.
#![forbid(unsafe_code)]

use std::io;
use std::task::{Context, Poll, Wake, Waker};

use super::{Interest, Ready, Seen, Source, Waiter};
use crate::shim::Arc;
use crate::shim::Ordering::SeqCst;
use crate::shim::task::AtomicUsize;

/// A waker that counts. (`Wake` wants the real `Arc`, also in a model.)
#[derive(Debug)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Wakes {
    fn new() -> (std::sync::Arc<Wakes>, Waker) {
        let wakes = std::sync::Arc::new(Wakes(AtomicUsize::new(0)));
        (wakes.clone(), wakes.into())
    }

    fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

/// A source over a counter of messages, as a socket is one over a queue of the kernel.
struct Socket {
    source: Source,
    messages: AtomicUsize,
}

impl Socket {
    fn new() -> Arc<Socket> {
        Arc::new(Socket { source: Source::new(), messages: AtomicUsize::new(0) })
    }

    /// A message comes in and the selector reports it.
    fn deliver(&self) {
        self.messages.fetch_add(1, SeqCst);
        self.event(Ready::READABLE);
    }

    fn event(&self, ready: Ready) {
        let mut out = Vec::new();
        self.source.set_ready(ready, &mut out);
        out.into_iter().for_each(Waker::wake);
    }

    fn take(&self) -> io::Result<usize> {
        let left = self.messages.load(SeqCst);
        if left == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.messages.fetch_sub(1, SeqCst);
        Ok(left)
    }

    /// As `Registration::poll_io`. Arming reports the state there is, as the selector does.
    fn poll(&self, waiter: &mut Waiter, waker: &Waker, op: impl FnMut(Seen) -> io::Result<usize>) -> Got {
        let arm = |_| {
            self.source.set_armed(Interest::READABLE);
            if self.messages.load(SeqCst) > 0 {
                self.event(Ready::READABLE);
            }
            Ok(())
        };
        match self.source.poll_io(waiter, &mut Context::from_waker(waker), arm, op) {
            Poll::Ready(Ok(left)) => Got::Message(left),
            Poll::Ready(Err(error)) => Got::Failed(error.kind()),
            Poll::Pending => Got::Waits,
        }
    }
}

#[derive(Debug, PartialEq)]
enum Got {
    Message(usize),
    Failed(io::ErrorKind),
    Waits,
}

mod model {
    use super::*;
    use crate::shim::{model, thread};

    /// Newer readiness survives a clear, whatever the order.
    #[test]
    fn set_against_clear() {
        model(|| {
            let source = Arc::new(Source::new());
            source.set_ready(Ready::READABLE, &mut Vec::new());
            let setter = thread::spawn({
                let source = source.clone();
                move || source.set_ready(Ready::READABLE, &mut Vec::new())
            });
            let seen = source.seen();
            source.clear(seen, Interest::READABLE);
            setter.join().unwrap();
            let saw_both = seen.0 / super::super::TICK_ONE == 2;
            assert_eq!(source.seen().ready(Interest::READABLE).is_empty(), saw_both);
        });
    }

    /// A reader that waits is woken by the message that it did not see, and then gets it.
    #[test]
    fn park_against_dispatch() {
        model(|| {
            let socket = Socket::new();
            let (wakes, waker) = Wakes::new();
            let mut waiter = Waiter::slot(Interest::READABLE);
            let sender = thread::spawn({
                let socket = socket.clone();
                move || socket.deliver()
            });
            let got = socket.poll(&mut waiter, &waker, |_| socket.take());
            sender.join().unwrap();
            if got == Got::Waits {
                assert_eq!(wakes.count(), 1);
                assert_eq!(socket.poll(&mut waiter, &waker, |_| socket.take()), Got::Message(1));
            }
        });
    }

    /// The saved operation after a short read loses no message that came meanwhile.
    #[test]
    fn short_read_against_dispatch() {
        model(|| {
            let socket = Socket::new();
            let (wakes, waker) = Wakes::new();
            let mut waiter = Waiter::slot(Interest::READABLE);
            assert_eq!(socket.poll(&mut waiter, &waker, |_| socket.take()), Got::Waits);
            socket.deliver();
            let sender = thread::spawn({
                let socket = socket.clone();
                move || socket.deliver()
            });
            let short = |seen| {
                let left = socket.take()?;
                if left == 1 {
                    socket.source.clear_short(seen, Interest::READABLE);
                }
                Ok(left)
            };
            let mut messages = 0;
            while socket.poll(&mut waiter, &waker, short) != Got::Waits {
                messages += 1;
            }
            let before = wakes.count();
            sender.join().unwrap();
            if messages < 2 {
                assert!(wakes.count() > before || !socket.source.seen().ready(Interest::READABLE).is_empty());
                assert!(matches!(socket.poll(&mut waiter, &waker, short), Got::Message(_)));
            }
        });
    }

    /// Of two who wait, one gives up while the event comes: the other is woken all the same.
    #[test]
    fn drop_against_dispatch() {
        model(|| {
            let socket = Socket::new();
            let (stays, stays_waker) = Wakes::new();
            let (_, leaves_waker) = Wakes::new();
            let mut first = Waiter::listed(Interest::READABLE, None);
            let mut second = Waiter::listed(Interest::READABLE, None);
            assert_eq!(socket.poll(&mut first, &leaves_waker, |_| socket.take()), Got::Waits);
            assert_eq!(socket.poll(&mut second, &stays_waker, |_| socket.take()), Got::Waits);
            let sender = thread::spawn({
                let socket = socket.clone();
                move || socket.deliver()
            });
            socket.source.forget(&mut first);
            sender.join().unwrap();
            assert_eq!(stays.count(), 1);
            assert_eq!(socket.poll(&mut second, &stays_waker, |_| socket.take()), Got::Message(1));
        });
    }

    /// Nobody waits for ever for a reactor that is gone.
    #[test]
    fn shut_down_against_park() {
        model(|| {
            let socket = Socket::new();
            let (wakes, waker) = Wakes::new();
            let mut waiter = Waiter::listed(Interest::READABLE, None);
            let ender = thread::spawn({
                let socket = socket.clone();
                move || {
                    let mut out = Vec::new();
                    socket.source.shut_down(&mut out);
                    out.into_iter().for_each(Waker::wake);
                }
            });
            let got = socket.poll(&mut waiter, &waker, |_| socket.take());
            ender.join().unwrap();
            if got == Got::Waits {
                assert_eq!(wakes.count(), 1);
            }
            let got = socket.poll(&mut waiter, &waker, |_| socket.take());
            assert_eq!(got, Got::Failed(io::ErrorKind::Other));
        });
    }
}

#[cfg(not(filch_loom))]
mod unit {
    use super::*;

    const READ: Interest = Interest::READABLE;
    const WRITE: Interest = Interest::WRITABLE;

    fn armed(ready: Ready) -> Source {
        let source = Source::new();
        source.set_armed(READ | WRITE);
        source.set_ready(ready, &mut Vec::new());
        source
    }

    #[test]
    fn each_event_reaches_the_interests_it_concerns() {
        let table = [
            (Ready::READABLE, true, false),
            (Ready::WRITABLE, false, true),
            (Ready::READ_CLOSED, true, false),
            (Ready::WRITE_CLOSED, false, true),
            (Ready::READABLE | Ready::WRITABLE, true, true),
        ];
        for (event, reads, writes) in table {
            let source = armed(event);
            assert_eq!(source.seen().may_try(READ), reads, "{event:?}");
            assert_eq!(source.seen().may_try(WRITE), writes, "{event:?}");
            assert!(source.seen().may_try(READ | WRITE), "{event:?}");
            source.clear(source.seen(), READ);
            assert!(!source.seen().may_try(READ), "{event:?}");
            assert_eq!(source.seen().may_try(WRITE), writes, "a clear of the other direction, {event:?}");
        }
    }

    #[test]
    fn what_is_not_armed_is_worth_a_try() {
        let source = Source::new();
        source.set_armed(READ);
        assert!(!source.seen().may_try(READ));
        assert!(source.seen().may_try(WRITE));
        assert!(source.seen().may_try(READ | WRITE));
    }

    #[test]
    fn only_proof_clears_a_final_state() {
        let source = armed(Ready::READABLE | Ready::READ_CLOSED);
        source.clear_open(source.seen(), READ);
        assert_eq!(source.seen().ready(READ), Ready::READ_CLOSED);
        source.clear_short(source.seen(), READ);
        assert!(source.seen().may_try(READ));
        source.clear(source.seen(), READ);
        assert!(!source.seen().may_try(READ));
    }

    #[test]
    fn a_short_read_keeps_readiness_once_the_end_is_known() {
        for last in [Ready::READ_CLOSED, Ready::ERROR] {
            let source = armed(Ready::READABLE | last);
            source.clear_short(source.seen(), READ);
            assert!(source.seen().may_try(READ), "{last:?}");
        }
    }

    #[test]
    fn the_tick_wraps_and_touches_no_flag() {
        let source = armed(Ready::WRITABLE);
        source.word.fetch_or(!0 << 8, SeqCst);
        let seen = source.seen();
        source.set_ready(Ready::READABLE, &mut Vec::new());
        assert_eq!(source.seen().0 >> 8, 0);
        source.clear(seen, READ | WRITE);
        assert_eq!(source.seen().ready(READ | WRITE), Ready::READABLE | Ready::WRITABLE);
        assert!(source.seen().is_armed(READ | WRITE));
    }

    #[test]
    fn an_event_wakes_its_direction_only() {
        let socket = Socket::new();
        socket.source.set_armed(READ | WRITE);
        let (reads, reads_waker) = Wakes::new();
        let (writes, writes_waker) = Wakes::new();
        let blocks = |_: Seen| Err(io::ErrorKind::WouldBlock.into());
        assert_eq!(socket.poll(&mut Waiter::slot(READ), &reads_waker, blocks), Got::Waits);
        assert_eq!(socket.poll(&mut Waiter::slot(WRITE), &writes_waker, blocks), Got::Waits);
        socket.event(Ready::WRITABLE);
        assert_eq!((reads.count(), writes.count()), (0, 1));
        socket.event(Ready::READABLE);
        assert_eq!((reads.count(), writes.count()), (1, 1));
    }

    #[test]
    fn all_who_wait_are_woken_and_the_list_empties() {
        let socket = Socket::new();
        let mut waiters: Vec<_> = (0..3).map(|_| (Waiter::listed(READ, None), Wakes::new())).collect();
        for (waiter, (_, waker)) in &mut waiters {
            assert_eq!(socket.poll(waiter, waker, |_| socket.take()), Got::Waits);
        }
        socket.deliver();
        assert!(waiters.iter().all(|(_, (wakes, _))| wakes.count() == 1));
        let (waiter, (_, waker)) = &mut waiters[2];
        assert_eq!(socket.poll(waiter, waker, |_| socket.take()), Got::Message(1));
        waiters.iter_mut().for_each(|(waiter, _)| socket.source.forget(waiter));
        assert!(socket.source.waiters.lock().others.is_empty());
    }

    #[test]
    fn a_second_task_in_the_slot_wakes_the_first() {
        let socket = Socket::new();
        let (first, first_waker) = Wakes::new();
        let (second, second_waker) = Wakes::new();
        for waker in [&first_waker, &first_waker, &second_waker] {
            assert_eq!(socket.poll(&mut Waiter::slot(READ), waker, |_| socket.take()), Got::Waits);
        }
        assert_eq!((first.count(), second.count()), (1, 0));
        socket.deliver();
        assert_eq!((first.count(), second.count()), (1, 1));
    }

    #[test]
    fn an_interrupted_operation_is_tried_again() {
        let socket = Socket::new();
        let (_, waker) = Wakes::new();
        let mut results = [Err(io::ErrorKind::Interrupted.into()), Ok(7)].into_iter();
        let got = socket.poll(&mut Waiter::slot(READ), &waker, |_| results.next().unwrap());
        assert_eq!(got, Got::Message(7));
    }

    #[test]
    fn an_operation_that_cannot_be_armed_fails() {
        let source = Source::new();
        let (_, waker) = Wakes::new();
        let got = source.poll_io(
            &mut Waiter::slot(READ),
            &mut Context::from_waker(&waker),
            |_| Err(io::ErrorKind::StorageFull.into()),
            |_| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()),
        );
        assert!(matches!(got, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::StorageFull));
        assert!(source.waiters.lock().reader.is_none());
    }
}
