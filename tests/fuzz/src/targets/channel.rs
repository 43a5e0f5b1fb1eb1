//! Channels against a plain deque, with sends and receives that are given up anywhere.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use filch::channel::{bounded, unbounded};

use crate::{Bytes, Count};

/// `Ok`: a message that was received, or nothing. `Err`: the channel has ended.
type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Option<u32>, ()>> + 'a>>;

struct One<'a> {
    future: Waiting<'a>,
    /// The message of a send.
    sends: Option<u32>,
    count: Arc<Count>,
    waker: Waker,
    seen: usize,
}

impl One<'_> {
    fn poll(&mut self) -> Poll<Result<Option<u32>, ()>> {
        self.seen = self.count.get();
        self.future.as_mut().poll(&mut Context::from_waker(&self.waker))
    }
}

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let capacity = bytes.below(5);
    let (tx, rx) = if capacity == 4 { unbounded() } else { bounded(1 + capacity) };
    let capacity = if capacity == 4 { usize::MAX } else { 1 + capacity };
    let mut line: Vec<One<'_>> = Vec::new();
    let (mut model, mut message, mut closed) = (VecDeque::new(), 0, false);
    let mut end = 300;
    loop {
        let byte = bytes.next();
        // At the end all are polled that were woken.
        let is_woken = |one: &One<'_>| one.count.get() != one.seen;
        let Some(byte) = byte.or_else(|| (line.iter().any(is_woken) && end > 0).then_some(2)) else { break };
        end -= usize::from(bytes.0.is_empty());
        message += 1;
        match byte % 7 {
            0 | 1 if line.len() < 12 => {
                let (tx, rx) = (&tx, &rx);
                let sends = (byte % 7 == 0).then_some(message);
                let future: Waiting<'_> = match sends {
                    Some(message) => {
                        Box::pin(async move { tx.send(message).await.map(|()| None).map_err(drop) })
                    }
                    None => Box::pin(async move { rx.recv().await.map(Some).map_err(drop) }),
                };
                let (count, waker) = Count::new();
                line.push(One { future, sends, count, waker, seen: 0 });
                let last = line.len() - 1;
                settle(&mut line, last, &mut model, closed, capacity);
            }
            2 | 3 if !line.is_empty() => {
                let woken = line.iter().position(is_woken);
                let chosen = if byte % 7 == 2 { woken } else { Some(bytes.below(line.len())) };
                chosen.map(|chosen| settle(&mut line, chosen, &mut model, closed, capacity));
            }
            4 if !line.is_empty() => drop(line.remove(bytes.below(line.len()))),
            5 => {
                if let Ok(got) = rx.try_recv() {
                    assert_eq!(Some(got), model.pop_front());
                }
            }
            6 if byte == 251 => {
                tx.close();
                closed = true;
            }
            _ => {
                if tx.try_send(message).is_ok() {
                    assert!(!closed);
                    model.push_back(message);
                }
            }
        }
        assert!(model.len() <= capacity);
        assert_eq!(rx.len(), model.len());
        if !line.iter().any(is_woken) {
            let waits = |sends: bool| line.iter().any(|one| one.sends.is_some() == sends);
            assert!(!waits(false) || model.is_empty() && !closed, "a receiver sleeps beside a message");
            assert!(!waits(true) || model.len() == capacity && !closed, "a sender sleeps beside free room");
        }
    }
    drop(line);
    while let Ok(got) = rx.try_recv() {
        assert_eq!(Some(got), model.pop_front());
    }
    assert!(model.is_empty());
}

/// Polls one, and does in the model what it has done.
fn settle(line: &mut Vec<One<'_>>, chosen: usize, model: &mut VecDeque<u32>, closed: bool, capacity: usize) {
    match (line[chosen].poll(), line[chosen].sends) {
        (Poll::Pending, _) => return,
        (Poll::Ready(Ok(None)), Some(message)) => {
            assert!(!closed && model.len() < capacity);
            model.push_back(message);
        }
        (Poll::Ready(Ok(Some(got))), None) => assert_eq!(Some(got), model.pop_front()),
        (Poll::Ready(Err(())), sends) => assert!(closed && (sends.is_some() || model.is_empty())),
        (other, sends) => panic!("{other:?} of {sends:?}"),
    }
    line.remove(chosen);
}
