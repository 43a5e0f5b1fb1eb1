//! A buffer of two semaphores: one counts the free places, one the items. Tasks and threads may use it at once.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use filch::sync::{Semaphore, SemaphorePermit};

use super::{Blocking, Item, Waiting};

pub(super) struct Counted {
    places: Semaphore,
    items: Semaphore,
    // Held for a moment and never across an await, so std's will do.
    state: Mutex<State>,
}

struct State {
    buffer: VecDeque<Item>,
    peak: usize,
}

impl Counted {
    pub(super) fn new(capacity: usize) -> Counted {
        Counted {
            places: Semaphore::new(capacity),
            items: Semaphore::new(0),
            state: Mutex::new(State { buffer: VecDeque::with_capacity(capacity), peak: 0 }),
        }
    }

    pub(super) fn peak(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).peak
    }

    /// There is no await from the permit to the end, so a cancelled put has done all of it or nothing.
    fn put_with(&self, place: SemaphorePermit<'_>, item: Item) {
        place.forget();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.buffer.push_back(item);
        state.peak = state.peak.max(state.buffer.len());
        drop(state);
        self.items.add_permits(1);
    }

    fn get_with(&self, permit: SemaphorePermit<'_>) -> Item {
        permit.forget();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let item = state.buffer.pop_front().expect("a permit for each item");
        drop(state);
        self.places.add_permits(1);
        item
    }
}

impl Blocking for Counted {
    fn put_blocking(&self, item: Item) {
        self.put_with(self.places.acquire_blocking().expect("nobody closes it"), item);
    }

    fn get_blocking(&self) -> Item {
        self.get_with(self.items.acquire_blocking().expect("nobody closes it"))
    }
}

impl Waiting for Counted {
    async fn put(&self, item: Item) {
        self.put_with(self.places.acquire().await.expect("nobody closes it"), item);
    }

    async fn get(&self) -> Item {
        self.get_with(self.items.acquire().await.expect("nobody closes it"))
    }
}
