//! Layer 0. How a future hears of what happens outside of its polls: for a scope, a child that is spawned from
//! elsewhere, a token that is cancelled. Called by `scope`.
//!
//! Owns the waker of whoever polls it, and whether it is at it. One waiter and no message, so this is a
//! waker's place rather than a line. No waker is called, cloned or dropped under the lock.
#![forbid(unsafe_code)]

use std::task::Waker;

use crate::shim::{Mutex, loses_wake_up};

#[derive(Default)]
pub(crate) struct Bell(Mutex<State>);

#[derive(Default)]
struct State {
    parent: Option<Waker>,
    /// The parent is in a poll, and looks at `rung` before it sleeps.
    awake: bool,
    rung: bool,
}

impl Bell {
    /// The parent begins a poll: what was rung for, it will see.
    pub(crate) fn begin(&self) {
        let mut state = self.0.lock();
        (state.awake, state.rung) = (true, false);
    }

    /// Has the parent look again.
    pub(crate) fn ring(&self) {
        let parent = {
            let mut state = self.0.lock();
            state.rung = true;
            if state.awake { None } else { state.parent.take() }
        };
        if let Some(parent) = parent.filter(|_| !loses_wake_up()) {
            parent.wake();
        }
    }

    /// The parent goes to sleep. False: it was rung for since `begin`, and looks again.
    #[must_use]
    pub(crate) fn rest(&self, parent: &Waker) -> bool {
        {
            let mut state = self.0.lock();
            let is_there = state.parent.as_ref().is_some_and(|there| there.will_wake(parent));
            if state.rung || is_there {
                state.awake = std::mem::take(&mut state.rung);
                return !state.awake;
            }
        }
        let parent = parent.clone();
        let (stale, rests) = {
            let mut state = self.0.lock();
            state.awake = std::mem::take(&mut state.rung);
            (state.parent.replace(parent), !state.awake)
        };
        drop(stale);
        rests
    }

    /// The parent is gone.
    pub(crate) fn forget(&self) {
        let parent = self.0.lock().parent.take();
        drop(parent);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;
    use crate::shim::Ordering::{Acquire, Release};
    use crate::shim::shared::AtomicUsize;
    use crate::shim::{Arc, model, thread};
    use crate::util::block;

    /// Two that bring something and ring, one that sleeps until it has both: none is missed.
    #[test]
    fn model_no_ring_is_missed() {
        model(|| {
            let (bell, brought) = (Arc::<Bell>::default(), Arc::new(AtomicUsize::new(0)));
            let threads = [(); 2].map(|()| {
                let (bell, brought) = (bell.clone(), brought.clone());
                thread::spawn(move || {
                    // Ordering: Release pairs with the load below.
                    brought.fetch_add(1, Release);
                    bell.ring();
                })
            });
            let mut parent = poll_fn(|cx| {
                bell.begin();
                loop {
                    // Ordering: Acquire pairs with the `fetch_add` above.
                    if brought.load(Acquire) == 2 {
                        return Poll::Ready(());
                    }
                    if bell.rest(cx.waker()) {
                        return Poll::Pending;
                    }
                }
            });
            block::on(&mut parent, None).expect("no limit");
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            bell.forget();
        });
    }
}
