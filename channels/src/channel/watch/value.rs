//! Layer 3, watch. The value: read by many threads at a time, changed by one.
//!
//! Owns the value behind an [`Arc`], the list of who reads it, and a line of threads that wait for it. It is a
//! lock for readers and writers, with two differences: no lock of ours is held while a caller's code runs, and
//! a thread that would wait for itself panics. Called by the two ends.
//!
//! | the value is | readers | a read      | a replacement            | a change                       |
//! |--------------|---------|-------------|--------------------------|--------------------------------|
//! | here         | none    | shares it   | overwrites it            | takes it out                   |
//! | here         | some    | shares it   | puts another in its place| waits for them, or panics if   |
//! |              |         |             |                          | this thread is one of them     |
//! | taken out    | none    | waits, or panics if this thread has it out (all three)                 |
//!
//! So a reader delays nobody but those who change the value in place, and readers never wait for writers that
//! wait: a thread may read twice. Whoever was put off sets `wanted`, the last time when it stands in the line;
//! whoever then makes the value free finds that, under the same lock, and tells the line.
#![forbid(unsafe_code)]

use std::mem;
use std::ops::Deref;

use crate::shim::{Arc, Mutex, thread_number};
use crate::wait_queue::{Outcome, WaitQueue, Waiter};

/// See the head of this file.
pub(super) struct Value<T> {
    state: Mutex<State<T>>,
    /// Threads that wait for the value to be free.
    line: WaitQueue,
}

struct State<T> {
    /// None while it is taken out.
    value: Option<Arc<T>>,
    /// The number of the thread that has it out.
    out: u64,
    /// The numbers of the threads that read it, each as often as it does.
    readers: Vec<u64>,
    /// How often another was put in its place, wrapping. The readers of those before are not in the list.
    epoch: usize,
    /// Somebody waits in the line.
    wanted: bool,
}

/// Why something cannot be done at once. True: never, as this thread itself stands in the way.
enum Busy {
    TakenOut(bool),
    Read(bool),
}

impl Busy {
    /// Panics if waiting would be for ever. Must not be called under a lock.
    fn check(self) {
        match self {
            Busy::TakenOut(true) => panic!(
                "a closure that changes the value of a watch channel uses the same channel, and would wait for \
                 itself"
            ),
            Busy::Read(true) => panic!(
                "the value of a watch channel is changed in place by a thread that has borrowed it, and would \
                 wait for itself: drop the `Ref` first, or use `send`"
            ),
            Busy::TakenOut(false) | Busy::Read(false) => {}
        }
    }
}

impl<T> Value<T> {
    pub(super) fn new(value: T) -> Value<T> {
        let state =
            State { value: Some(Arc::new(value)), out: 0, readers: Vec::new(), epoch: 0, wanted: false };
        Value { state: Mutex::new(state), line: WaitQueue::new() }
    }

    /// Whether somebody waits for the value, or was about to.
    #[cfg(all(test, not(filch_loom)))]
    pub(super) fn is_wanted(&self) -> bool {
        self.state.lock().wanted
    }

    /// Tries until it can be done; on this thread, which may block meanwhile.
    fn insist<R>(&self, mut attempt: impl FnMut() -> Result<R, Busy>) -> R {
        match attempt() {
            Ok(done) => return done,
            Err(busy) => busy.check(),
        }
        loop {
            if let Some(Outcome::Taken(done)) = Waiter::told_blocking(&self.line, 0, || attempt().ok(), None)
            {
                return done;
            }
        }
    }

    /// Shares the value. `note` is called while it cannot change.
    pub(super) fn read<N>(&self, note: impl Fn() -> N) -> (Read<'_, T>, N) {
        let thread = thread_number();
        self.insist(|| {
            let mut state = self.state.lock();
            let Some(value) = state.value.clone() else { return Err(state.taken_out(thread)) };
            state.readers.push(thread);
            let hold = Hold { home: self, thread, epoch: state.epoch };
            Ok((Read { value, _hold: hold }, note()))
        })
    }

    /// Puts another value in the place of this one, which is returned to be dropped once all were told. `note`
    /// is called in the same step.
    pub(super) fn replace(&self, value: T, note: impl FnOnce()) -> Old<T> {
        let thread = thread_number();
        let mut new = Some((value, note));
        let (old, wanted) = self.insist(|| {
            let mut state = self.state.lock();
            let state = &mut *state;
            let Some(here) = &mut state.value else { return Err(state.taken_out(thread)) };
            let (value, note) = new.take().expect("done once");
            let mut wanted = false;
            let old = match Arc::get_mut(here) {
                Some(here) => Old::Unread(mem::replace(here, value)),
                None => {
                    state.epoch = state.epoch.wrapping_add(1);
                    state.readers.clear();
                    wanted = mem::take(&mut state.wanted);
                    Old::Read(mem::replace(here, Arc::new(value)))
                }
            };
            note();
            Ok((old, wanted))
        });
        if wanted {
            self.line.notify_all(0);
        }
        old
    }

    /// Takes the value out, to be changed in place.
    pub(super) fn take_out(&self) -> TakenOut<'_, T> {
        let thread = thread_number();
        self.insist(|| {
            let mut state = self.state.lock();
            if !state.readers.is_empty() {
                state.wanted = true;
                return Err(Busy::Read(state.readers.contains(&thread)));
            }
            let Some(value) = state.value.take() else { return Err(state.taken_out(thread)) };
            state.out = thread;
            Ok(TakenOut { home: self, value: Some(value) })
        })
    }
}

impl<T> State<T> {
    /// What somebody on `thread` is told, who finds the value taken out.
    fn taken_out(&mut self, thread: u64) -> Busy {
        self.wanted = true;
        Busy::TakenOut(self.out == thread)
    }
}

/// What a replacement leaves, to be dropped outside of all locks; with the last reader, in the second case.
#[must_use]
#[expect(dead_code, reason = "nobody looks at what is only kept to be dropped")]
pub(super) enum Old<T> {
    Unread(T),
    Read(Arc<T>),
}

/// A share of the value.
pub(super) struct Read<'a, T> {
    /// Dropped first, so that nobody shares the value when the list of readers is empty.
    value: Arc<T>,
    _hold: Hold<'a, T>,
}

impl<T> Deref for Read<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// One entry in the list of readers.
struct Hold<'a, T> {
    home: &'a Value<T>,
    thread: u64,
    epoch: usize,
}

impl<T> Drop for Hold<'_, T> {
    fn drop(&mut self) {
        let mut state = self.home.state.lock();
        if state.epoch != self.epoch {
            return;
        }
        if let Some(at) = state.readers.iter().position(|thread| *thread == self.thread) {
            state.readers.swap_remove(at);
        }
        let wanted = state.readers.is_empty() && mem::take(&mut state.wanted);
        drop(state);
        if wanted {
            self.home.line.notify_all(0);
        }
    }
}

/// The value, taken out. Goes back when this is dropped, also by a panic.
pub(super) struct TakenOut<'a, T> {
    home: &'a Value<T>,
    /// None once it is back.
    value: Option<Arc<T>>,
}

impl<T> TakenOut<'_, T> {
    pub(super) fn get_mut(&mut self) -> &mut T {
        let value = self.value.as_mut().expect("here until it goes back");
        Arc::get_mut(value).expect("taken out when nobody shared it")
    }

    /// Puts it back. `note` is called in the same step.
    pub(super) fn put_back(mut self, note: impl FnOnce()) {
        self.go_back(note);
    }

    fn go_back(&mut self, note: impl FnOnce()) {
        let Some(value) = self.value.take() else { return };
        let mut state = self.home.state.lock();
        state.value = Some(value);
        state.out = 0;
        note();
        let wanted = mem::take(&mut state.wanted);
        drop(state);
        if wanted {
            self.home.line.notify_all(0);
        }
    }
}

impl<T> Drop for TakenOut<'_, T> {
    fn drop(&mut self) {
        self.go_back(|| ());
    }
}
