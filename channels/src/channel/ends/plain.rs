//! Layer 3. A queue without limit, behind a lock.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::mem;

use crate::ring::{Look, Pop, Push};
use crate::shim::Mutex;

/// See the head of this file.
#[derive(Debug)]
pub struct Plain<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>,
    closed: bool,
    reserved: usize,
    pushed: u64,
    popped: u64,
}

impl<T> Plain<T> {
    pub(super) fn new() -> Plain<T> {
        Plain(Mutex::new(State { queue: VecDeque::new(), closed: false, reserved: 0, pushed: 0, popped: 0 }))
    }

    pub(super) fn push(&self, message: &mut Option<T>) -> Push {
        let mut state = self.0.lock();
        if state.closed {
            return Push::Closed;
        }
        if let Some(message) = message.take() {
            state.queue.push_back(message);
            state.pushed += 1;
        }
        Push::Done
    }

    pub(super) fn pop(&self) -> Pop<T> {
        let mut state = self.0.lock();
        match state.queue.pop_front() {
            Some(message) => {
                state.popped += 1;
                if state.queue.capacity() > 64 && state.queue.len() * 4 < state.queue.capacity() {
                    let keep = state.queue.len() * 2;
                    state.queue.shrink_to(keep);
                }
                Pop::Got(message)
            }
            None if state.closed && state.reserved == 0 => Pop::Closed,
            None => Pop::Empty,
        }
    }

    pub(super) fn pop_many(&self, limit: usize, to: &mut Vec<T>) -> Pop<usize> {
        let mut state = self.0.lock();
        let count = limit.min(state.queue.len());
        to.extend(state.queue.drain(..count));
        state.popped += count as u64;
        match count {
            0 if state.closed && state.reserved == 0 => Pop::Closed,
            0 => Pop::Empty,
            _ => Pop::Got(count),
        }
    }

    pub(super) fn reserve(&self, count: usize) -> Push {
        let mut state = self.0.lock();
        if state.closed {
            return Push::Closed;
        }
        state.reserved += count;
        Push::Done
    }

    pub(super) fn push_reserved(&self, message: T) -> bool {
        let mut state = self.0.lock();
        state.reserved -= 1;
        state.queue.push_back(message);
        state.pushed += 1;
        state.closed
    }

    pub(super) fn unreserve(&self, count: usize) -> bool {
        let mut state = self.0.lock();
        state.reserved -= count;
        state.closed
    }

    pub(super) fn close(&self) -> bool {
        !mem::replace(&mut self.0.lock().closed, true)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.lock().closed
    }

    pub(super) fn ready(&self) -> usize {
        let state = self.0.lock();
        match state.queue.len() {
            0 if state.closed && state.reserved == 0 => usize::MAX,
            len => len,
        }
    }

    pub(super) fn look(&self) -> Look {
        let state = self.0.lock();
        Look {
            len: state.queue.len(),
            reserved: state.reserved,
            closed: state.closed,
            pushed: state.pushed,
            popped: state.popped,
        }
    }

    pub(super) fn drain(&self) {
        let queue = mem::take(&mut self.0.lock().queue);
        drop(queue);
    }
}
