//! Channels against plain models, with operations that are cancelled at random.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use super::*;
use crate::test_util::Random;

/// A future that waits, and how often it was woken when it was last polled.
struct Waits<F> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
    waker: std::task::Waker,
    seen: usize,
    polled: bool,
}

impl<F: std::future::Future> Waits<F> {
    fn new(future: F) -> Waits<F> {
        let (wakes, waker) = Wakes::new();
        Waits { future: Box::pin(future), wakes, waker, seen: 0, polled: false }
    }

    fn poll(&mut self) -> Poll<F::Output> {
        self.seen = self.wakes.count();
        self.polled = true;
        poll_with(self.future.as_mut(), &self.waker)
    }

    fn is_woken(&self) -> bool {
        self.wakes.count() > self.seen
    }

    /// It was polled in vain and has not been woken since.
    fn sleeps(&self) -> bool {
        self.polled && !self.is_woken()
    }
}

/// The container: every message that went in, in order; every send and receive that waits.
fn container(capacity: Option<usize>, seed: u64) {
    let mut random = Random(seed);
    let (tx, rx) = capacity.map_or_else(unbounded, bounded);
    let limit = capacity.unwrap_or(usize::MAX);
    let mut model = VecDeque::new();
    let mut sends: Vec<(usize, Waits<Send<'_, usize>>)> = Vec::new();
    let mut receives: Vec<Waits<Recv<'_, usize>>> = Vec::new();
    for step in 0..4_000 {
        match random.below(9) {
            0 => match tx.try_send(step) {
                Ok(()) => model.push_back(step),
                Err(error) => assert!(error.is_full() && (model.len() == limit || !sends.is_empty())),
            },
            1 => match rx.try_recv() {
                Ok(message) => assert_eq!(Some(message), model.pop_front()),
                Err(_) => assert!(model.is_empty() || !receives.is_empty()),
            },
            2 if sends.len() < 6 => sends.push((step, Waits::new(tx.send(step)))),
            3 if receives.len() < 6 => receives.push(Waits::new(rx.recv())),
            4 | 5 if !sends.is_empty() => {
                let index = random.below(sends.len());
                let (message, send) = &mut sends[index];
                if let Poll::Ready(sent) = send.poll() {
                    assert_eq!(sent, Ok(()));
                    assert!(model.len() < limit);
                    model.push_back(*message);
                    sends.swap_remove(index);
                }
            }
            6 | 7 if !receives.is_empty() => {
                let index = random.below(receives.len());
                if let Poll::Ready(message) = receives[index].poll() {
                    assert_eq!(message.ok(), model.pop_front());
                    receives.swap_remove(index);
                }
            }
            8 => match random.below(2) {
                0 if !sends.is_empty() => {
                    let (message, mut send) = sends.swap_remove(random.below(sends.len()));
                    assert_eq!(send.future.as_mut().into_inner(), Some(message));
                }
                1 if !receives.is_empty() => drop(receives.swap_remove(random.below(receives.len()))),
                _ => {}
            },
            _ => {}
        }
        assert_eq!((tx.len(), tx.is_full()), (model.len(), model.len() == limit));
        // Nobody sleeps who could go on, unless another was woken for that.
        let (sleep, woken) = (receives.iter().any(Waits::sleeps), receives.iter().any(Waits::is_woken));
        assert!(model.is_empty() || !sleep || woken, "a message, and nobody was woken");
        let sleep = sends.iter().any(|(_, send)| send.sleeps());
        let woken = sends.iter().any(|(_, send)| send.is_woken());
        assert!(model.len() == limit || !sleep || woken, "room, and nobody was woken");
    }
    drop((sends, receives));
    assert_eq!(rx.drain().collect::<Vec<_>>(), Vec::from(model));
}

#[test]
fn bounded_channels_do_what_a_deque_does() {
    for capacity in [1, 2, 3, 8] {
        for seed in 1..6 {
            container(Some(capacity), seed * 0x9E37_79B9_7F4A);
        }
    }
}

#[test]
fn unbounded_channels_do_what_a_deque_does() {
    for seed in 1..6 {
        container(None, seed * 0x9E37_79B9_7F4A);
    }
}

/// The rendezvous: who waits, in order, and what was handed to whom.
#[derive(Default)]
struct Meeting {
    offers: VecDeque<usize>,
    wants: VecDeque<usize>,
    handed: Vec<(usize, usize)>,
    strays: VecDeque<usize>,
}

impl Meeting {
    /// Whether a sender that comes finds a receiver.
    fn hand(&mut self, message: usize) -> bool {
        let Some(want) = self.wants.pop_front() else { return false };
        self.handed.push((want, message));
        true
    }

    fn take(&mut self) -> Option<usize> {
        self.strays.pop_front().or_else(|| self.offers.pop_front())
    }

    fn handed_to(&mut self, want: usize) -> Option<usize> {
        let index = self.handed.iter().position(|(owner, _)| *owner == want)?;
        Some(self.handed.remove(index).1)
    }
}

#[test]
fn rendezvous_channels_do_what_two_queues_do() {
    for seed in 1..16 {
        let mut random = Random(seed * 0x9E37_79B9_7F4A);
        let (tx, rx) = rendezvous();
        let mut model = Meeting::default();
        let mut sends: Vec<(usize, Waits<Send<'_, usize>>)> = Vec::new();
        let mut receives: Vec<(usize, Waits<Recv<'_, usize>>)> = Vec::new();
        for step in 0..4_000 {
            match random.below(7) {
                0 => assert_eq!(tx.try_send(step).is_ok(), model.hand(step)),
                1 => assert_eq!(rx.try_recv().ok(), model.take()),
                2 if sends.len() < 6 => {
                    let mut send = Waits::new(tx.send(step));
                    let met = send.poll().is_ready();
                    assert_eq!(met, model.hand(step));
                    if !met {
                        model.offers.push_back(step);
                        sends.push((step, send));
                    }
                }
                3 if receives.len() < 6 => {
                    let mut receive = Waits::new(rx.recv());
                    match (receive.poll(), model.take()) {
                        (Poll::Ready(message), expected) => assert_eq!(message.ok(), expected),
                        (Poll::Pending, expected) => {
                            assert_eq!(expected, None);
                            model.wants.push_back(step);
                            receives.push((step, receive));
                        }
                    }
                }
                4 if !sends.is_empty() => {
                    let index = random.below(sends.len());
                    let (message, send) = &mut sends[index];
                    let met = !model.offers.contains(message);
                    assert_eq!(send.is_woken(), met);
                    assert_eq!(send.poll().is_ready(), met);
                    if met {
                        sends.swap_remove(index);
                    }
                }
                5 if !receives.is_empty() => {
                    let index = random.below(receives.len());
                    let (want, receive) = &mut receives[index];
                    let expected = model.handed_to(*want);
                    assert_eq!(receive.is_woken(), expected.is_some());
                    match receive.poll() {
                        Poll::Ready(message) => {
                            assert_eq!(message.ok(), expected);
                            receives.swap_remove(index);
                        }
                        Poll::Pending => assert_eq!(expected, None),
                    }
                }
                6 => match random.below(2) {
                    0 if !sends.is_empty() => {
                        let (message, mut send) = sends.swap_remove(random.below(sends.len()));
                        let offered = model.offers.iter().position(|offer| *offer == message);
                        let back = send.future.as_mut().into_inner();
                        assert_eq!(back, offered.and_then(|index| model.offers.remove(index)));
                    }
                    1 if !receives.is_empty() => {
                        let (want, receive) = receives.swap_remove(random.below(receives.len()));
                        drop(receive);
                        model.wants.retain(|other| *other != want);
                        if let Some(message) = model.handed_to(want) {
                            if !model.hand(message) {
                                model.strays.push_front(message);
                            }
                        }
                    }
                    _ => {}
                },
                _ => {}
            }
            assert_eq!(tx.len(), model.strays.len() + model.handed.len());
        }
        drop((sends, receives));
        let stats = tx.stats();
        assert_eq!(
            (stats.waiting_send, stats.waiting_recv, stats.received + stats.len as u64),
            (0, 0, stats.sent)
        );
    }
}
