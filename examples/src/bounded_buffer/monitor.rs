//! The guides' buffer: a lock, and two conditions on it. For threads alone, which it blocks.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

use super::{Blocking, Item};

pub(super) struct Monitor {
    capacity: usize,
    state: Mutex<State>,
    not_full: Condvar,
    not_empty: Condvar,
}

struct State {
    buffer: VecDeque<Item>,
    peak: usize,
}

impl Monitor {
    pub(super) fn new(capacity: usize) -> Monitor {
        Monitor {
            capacity,
            state: Mutex::new(State { buffer: VecDeque::with_capacity(capacity), peak: 0 }),
            not_full: Condvar::new(),
            not_empty: Condvar::new(),
        }
    }

    pub(super) fn peak(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).peak
    }
}

impl Blocking for Monitor {
    fn put_blocking(&self, item: Item) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // In a loop: whoever is woken may find that another was quicker, or that nobody had called.
        let mut state = self
            .not_full
            .wait_while(state, |state| state.buffer.len() >= self.capacity)
            .unwrap_or_else(PoisonError::into_inner);
        state.buffer.push_back(item);
        state.peak = state.peak.max(state.buffer.len());
        drop(state);
        self.not_empty.notify_one();
    }

    fn get_blocking(&self) -> Item {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self
            .not_empty
            .wait_while(state, |state| state.buffer.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let item = state.buffer.pop_front().expect("just looked at");
        drop(state);
        self.not_full.notify_one();
        item
    }
}
