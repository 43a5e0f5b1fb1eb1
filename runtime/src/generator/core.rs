//! Layer 3. What a generator's body and its consumer share: a slot for an item on its way out and for what goes
//! back in, and the box in which slot and body lie.
//!
//! Owns all that is unsafe about generators. [`Core`] is the consumer's end, [`Port`] the body's. Called by `mod.rs`,
//! `fallible.rs` and `emit.rs`, which give them a public face. Names no task, no runtime and no atomic: the body
//! runs only inside the consumer's call of [`Core::poll`], so the two never run at once.
//!
//! | turn       | set by                                    | what may happen next                                         |
//! |------------|-------------------------------------------|--------------------------------------------------------------|
//! | `New`      | birth                                     | the consumer asks: `Working`; or says something: `Answered`  |
//! | `Working`  | who asks, who takes the answer            | `emit`: `Full`                                               |
//! | `Full`     | `emit`, with its item in the slot         | the consumer takes it: `Asked`; `emit` drops it: `Working`   |
//! | `Asked`    | the consumer, which has the item          | it answers: `Answered`; it closes: `Ended`, or `Closing`     |
//! | `Answered` | the consumer, with its answer in the slot | `emit` takes it and is ready: `Working`                      |
//! | `Closing`  | the consumer, if `emit` listens           | the body cleans up and ends, or emits again: `Stopped`     |
//! | `Stopped`  | `emit`, while closing                     | the consumer drops the body where it stands: `Ended`         |
//! | `Ended`    | the consumer, before it drops the body    | nothing                                                      |
//!
//! `FullAlso` and `AskedAlso` stand for `Full` and `Asked` with something more in the slot that is seldom there: that
//! `emit` listens, or whom to wake. So the turn is all that is looked at for an ordinary item.
//!
//! The turn says what is in the slot: an item if it is `Full`, an answer if it is `Answered`. Besides, an item lies
//! there from when `emit` is called; until it is `Full` it belongs to that future.
//!
//! # Why this is sound
//! * **The slot outlives the body.** Both lie in one box, which `Core` frees after it has dropped the body. A port
//!   is made inside the body only, and given to a closure that must take one of *any* lifetime; so nothing that
//!   outlives the body can hold it, and no item or answer can carry it out, since their types were chosen before the
//!   lifetime. Leaking changes nothing: a leaked part of the body never runs again, and a leaked generator
//!   leaks its box.
//! * **One thread at a time.** The body runs in `Core::poll` and in its own destructor, for which the consumer lends or
//!   gives the only `Core`. A body may lend its port to a scoped thread, for part of one poll: the
//!   consumer stands in `Core::poll` then and touches nothing. There is one port, neither `Clone` nor `Sync`, and
//!   whoever uses it borrows it mutably.
//! * **No claim on the whole box.** It is kept as a raw pointer, since moving a `Box` would claim its memory for that
//!   `Box` alone. References are made for one operation, to the slot or to the body, never to both. Those to the
//!   slot are shared and may overlap, as when `emit` runs inside `poll`; its parts are `Cell`s, taken and put whole.
//! * **The body stays where it is** from when it is written into the box until it is dropped there.

use std::cell::{Cell, UnsafeCell};
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll, Waker};

use super::emit::Yielder;

/// Whose turn it is: the table at the head of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// A word of its own. As a byte it would share one with what is written at other times, and to read it would be slow.
#[repr(usize)]
pub(super) enum Turn {
    New,
    Working,
    Full,
    FullAlso,
    Asked,
    AskedAlso,
    Answered,
    Closing,
    Stopped,
    Ended,
}

/// What body and consumer share.
pub(super) struct Slot<T, R> {
    turn: Cell<Turn>,
    /// Where the waker lies with which the body is being polled. Compared, never followed.
    polled_with: Cell<*const Waker>,
    item: UnsafeCell<MaybeUninit<T>>,
    /// What the consumer sent in, until the body takes it.
    answer: UnsafeCell<MaybeUninit<R>>,
    /// In the turns `FullAlso` and `AskedAlso`: whether the `emit` that waits wants to hear of a `close`.
    listens: Cell<bool>,
    /// In the same turns: whom to wake before the body is polled again, for an `emit` which something inside the body
    /// polls only when it was woken.
    inner: Cell<Option<Waker>>,
}

impl<T, R> Slot<T, R> {
    #[inline]
    pub(super) fn turn(&self) -> Turn {
        self.turn.get()
    }

    /// Whether an item is in there for the consumer.
    fn is_full(&self) -> bool {
        matches!(self.turn.get(), Turn::Full | Turn::FullAlso)
    }

    /// Takes the answer, if there is one.
    #[inline]
    pub(super) fn take_answer(&self) -> Option<R> {
        if self.turn.get() != Turn::Answered {
            return None;
        }
        self.turn.set(Turn::Working);
        // SAFETY: in this turn an answer is there, and we have just ended the turn.
        Some(unsafe { (*self.answer.get()).assume_init_read() })
    }

    /// The consumer answers: in the turns `New`, `Asked` and `AskedAlso`.
    #[inline]
    pub(super) fn answer(&self, answer: R) {
        let turn = self.turn.get();
        debug_assert!(matches!(turn, Turn::New | Turn::Asked | Turn::AskedAlso), "{turn:?}");
        // SAFETY: in these turns there is no answer, which would be lost, and nobody else is in the slot.
        unsafe { (*self.answer.get()).write(answer) };
        self.turn.set(Turn::Answered);
        if turn == Turn::AskedAlso {
            self.wake_inner();
        }
    }

    /// The consumer asks for the first item, and says nothing.
    pub(super) fn begin(&self) {
        debug_assert_eq!(self.turn.get(), Turn::New);
        self.turn.set(Turn::Working);
    }

    /// Takes the item out. The consumer has `turn` before it, in which it is there.
    #[inline]
    fn take_item(&self, next: Turn) -> T {
        debug_assert!(self.is_full());
        self.turn.set(next);
        // SAFETY: the slot was full, and the turn that said so is over.
        unsafe { (*self.item.get()).assume_init_read() }
    }

    /// Before an `emit`, when it is not simply the body's turn.
    #[cold]
    fn make_way(&self) {
        assert!(self.turn.get() != Turn::New, "an `emit` before its generator was asked for an item");
        assert!(!self.is_full(), "two emits at once: an earlier one was leaked before its item was taken");
        // To an `emit` that was leaked, or the value of the first `resume_with`.
        drop(self.take_answer());
    }

    #[cold]
    fn wake_inner(&self) {
        if let Some(inner) = self.inner.take() {
            inner.wake();
        }
    }
}

impl<T> Slot<T, ()> {
    /// Asks for the next item, with nothing to say.
    #[inline(always)]
    pub(super) fn ask(&self) {
        if self.turn.get() == Turn::Asked {
            // The answer is there: it is `()`.
            self.turn.set(Turn::Answered);
        } else {
            self.ask_slow();
        }
    }

    #[cold]
    fn ask_slow(&self) {
        match self.turn.get() {
            Turn::New => self.begin(),
            Turn::AskedAlso => self.answer(()),
            _ => {}
        }
    }
}

/// What is in the box. `body` is pinned; it is dropped before the slot, by [`Core::drop`].
struct Shared<T, R, B> {
    slot: Slot<T, R>,
    body: Option<B>,
}

/// The consumer's end, which owns the body.
pub(super) struct Core<T, R, B> {
    shared: NonNull<Shared<T, R, B>>,
    owns: PhantomData<Shared<T, R, B>>,
}

// SAFETY: a `Core` owns the box as a `Box` would, and no thread is in there but the one that has the `Core` (see the
// head). What is `!Send` in there by itself is the address in `polled_with`, which is never followed.
unsafe impl<T: Send, R: Send, B: Send> Send for Core<T, R, B> {}

/// The body's end: the right to use the slot.
pub(super) struct Port<'a, T, R> {
    slot: NonNull<Slot<T, R>>,
    /// Invariant: the ports of two generators are of two types, and cannot be exchanged.
    brand: PhantomData<fn(&'a ()) -> &'a ()>,
}

// SAFETY: values of `T` and `R` cross between a port and the thread that polls the generator, so both must be `Send`.
// The slot itself is used by one thread at a time (see the head).
unsafe impl<T: Send, R: Send> Send for Port<'_, T, R> {}

impl<T, R> Port<'_, T, R> {
    #[inline]
    fn slot(&self) -> &Slot<T, R> {
        // SAFETY: the slot outlives the port, and no other thread is in it (see the head).
        unsafe { self.slot.as_ref() }
    }

    /// Takes what was sent in, if no `emit` has.
    pub(super) fn first(&mut self) -> Option<R> {
        self.slot().take_answer()
    }

    /// Begins an `emit`, which has the port to itself while it lives.
    #[inline]
    pub(super) fn emit(&mut self, item: T) -> Emission<'_, T, R> {
        let slot = self.slot();
        if slot.turn.get() != Turn::Working {
            slot.make_way();
        }
        // SAFETY: the slot is not full, and the `emit` to which an item in there might belong is gone, or leaked.
        unsafe { (*slot.item.get()).write(item) };
        Emission { port: Port { slot: self.slot, brand: PhantomData }, stage: Stage::Holds }
    }
}

/// One `emit` under way.
pub(super) struct Emission<'y, T, R> {
    port: Port<'y, T, R>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
enum Stage {
    /// Not polled yet. The item is in the slot, and ours.
    Holds,
    /// The item is in the slot for the consumer to take, or with the consumer.
    Waits,
    Done,
}

impl<T, R> Emission<'_, T, R> {
    /// `None`: the consumer has closed the generator, and this one `listens`.
    #[inline]
    pub(super) fn poll(&mut self, cx: &Context<'_>, listens: bool) -> Poll<Option<R>> {
        let slot = self.port.slot();
        match slot.turn.get() {
            // We wait for it: `Port::emit` has left no other, and lets no other `emit` begin while we live.
            Turn::Answered => {
                debug_assert!(self.stage == Stage::Waits);
                self.stage = Stage::Done;
                return Poll::Ready(slot.take_answer());
            }
            Turn::Working if self.stage == Stage::Holds && !listens && self.is_polled_by_consumer(cx) => {
                self.stage = Stage::Waits;
                slot.turn.set(Turn::Full);
                return Poll::Pending;
            }
            _ => {}
        }
        self.poll_slow(cx, listens)
    }

    /// With its waker, passed on as it is: whoever did so polls us again when the body is polled again.
    #[inline]
    fn is_polled_by_consumer(&self, cx: &Context<'_>) -> bool {
        ptr::eq(self.port.slot().polled_with.get(), cx.waker())
    }

    #[cold]
    #[inline(never)]
    fn poll_slow(&mut self, cx: &Context<'_>, listens: bool) -> Poll<Option<R>> {
        let slot = self.port.slot();
        match (self.stage, slot.turn.get()) {
            (Stage::Holds, Turn::Closing | Turn::Stopped) => {
                slot.turn.set(Turn::Stopped);
                return Poll::Pending;
            }
            (Stage::Holds, Turn::Working) => {}
            (Stage::Waits, Turn::Closing) if listens => {
                self.stage = Stage::Done;
                return Poll::Ready(None);
            }
            (Stage::Waits, Turn::Full | Turn::FullAlso) => {}
            // Polled once more in the course of a clean-up, though it has brought this about or has no part in it.
            (Stage::Waits, Turn::Closing | Turn::Stopped) => return Poll::Pending,
            (Stage::Holds | Stage::Waits, _) => {
                panic!("an `emit` was polled outside of its generator's body, such as in a destructor of it")
            }
            (Stage::Done, _) => panic!("an `emit` was polled after it was ready"),
        }
        let inner = (!self.is_polled_by_consumer(cx)).then(|| cx.waker().clone());
        slot.listens.set(listens);
        drop(slot.inner.replace(inner));
        slot.turn.set(Turn::FullAlso);
        self.stage = Stage::Waits;
        Poll::Pending
    }

    /// Takes back what the consumer has not got, or drops its answer.
    #[cold]
    #[inline(never)]
    fn give_up(&mut self) {
        let slot = self.port.slot();
        let stage = mem::replace(&mut self.stage, Stage::Done);
        if stage == Stage::Holds {
            // SAFETY: until it is polled an `emit` owns the item, and the slot keeps it.
            drop(unsafe { (*slot.item.get()).assume_init_read() });
        } else if slot.is_full() {
            drop(slot.take_item(Turn::Working));
        } else {
            drop(slot.take_answer());
        }
    }
}

impl<T, R> Drop for Emission<'_, T, R> {
    #[inline]
    fn drop(&mut self) {
        if self.stage != Stage::Done {
            self.give_up();
        }
    }
}

/// What a poll of the body brought.
pub(super) enum Step<T, O> {
    Item(T),
    /// The body has ended and is gone. An item is left when it forgot (leaked) the `emit`.
    End(Option<T>, O),
    /// The body was dropped where it emitted while it was to clean up.
    Stopped,
}

/// Makes a generator that has not begun. `f` is called by the first poll.
pub(super) fn core<T, R, O, F>(f: F) -> Core<T, R, impl Future<Output = O>>
where
    F: for<'a> AsyncFnOnce(Yielder<'a, T, R>) -> O,
{
    // The lifetime stands for "as long as the body", which has no name here. `f` cannot make use of it: see the head.
    Core::new(|port: Port<'static, T, R>| f(Yielder::new(port)))
}

impl<T, R, B: Future> Core<T, R, B> {
    /// Private: `body` must keep the port to itself.
    fn new(body: impl FnOnce(Port<'static, T, R>) -> B) -> Self {
        let slot = Slot {
            turn: Cell::new(Turn::New),
            polled_with: Cell::new(ptr::null()),
            item: UnsafeCell::new(MaybeUninit::uninit()),
            answer: UnsafeCell::new(MaybeUninit::uninit()),
            listens: Cell::new(false),
            inner: Cell::new(None),
        };
        let shared = NonNull::from(Box::leak(Box::new(Shared { slot, body: None })));
        let core = Core { shared, owns: PhantomData };
        let body = body(Port { slot: core.slot_ptr(), brand: PhantomData });
        // SAFETY: the box is ours, and no reference to the body exists yet. From here on it does not move.
        unsafe { (*shared.as_ptr()).body = Some(body) };
        core
    }

    /// Polls the body, in the turns `Working`, `Answered` and `Closing`.
    // Inlined: an item costs as much as there are instructions here and in `emit`.
    #[inline(always)]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step<T, B::Output>> {
        self.slot().polled_with.set(cx.waker());
        let ends = EndsOnPanic(self);
        let body = ends.0.body().as_pin_mut().expect("a generator that ended is not polled");
        let output = body.poll(cx);
        mem::forget(ends);
        let slot = self.slot();
        match output {
            Poll::Pending => match slot.turn() {
                Turn::Full => Poll::Ready(Step::Item(slot.take_item(Turn::Asked))),
                Turn::FullAlso => Poll::Ready(Step::Item(slot.take_item(Turn::AskedAlso))),
                Turn::Stopped => {
                    self.end();
                    Poll::Ready(Step::Stopped)
                }
                _ => Poll::Pending,
            },
            Poll::Ready(output) => Poll::Ready(Step::End(self.end(), output)),
        }
    }

    /// Ends the body: at once, unless it waits where it wants to hear of this. Then the turn is `Closing`.
    pub(super) fn close(&mut self) {
        let slot = self.slot();
        match slot.turn() {
            Turn::AskedAlso if slot.listens.get() => {
                slot.turn.set(Turn::Closing);
                slot.wake_inner();
            }
            Turn::Closing => {}
            _ => drop(self.end()),
        }
    }
}

impl<T, R, B> Core<T, R, B> {
    fn slot_ptr(&self) -> NonNull<Slot<T, R>> {
        // SAFETY: the box lives as long as we do. No reference is made, so none is to be had to the body.
        unsafe { NonNull::new_unchecked(&raw mut (*self.shared.as_ptr()).slot) }
    }

    #[inline]
    pub(super) fn slot(&self) -> &Slot<T, R> {
        // SAFETY: the box lives as long as we do, and no other thread is in it (see the head).
        unsafe { &(*self.shared.as_ptr()).slot }
    }

    #[inline]
    fn body(&mut self) -> Pin<&mut Option<B>> {
        // SAFETY: the box lives as long as we do, nobody else makes references to the body, and it stays where it is.
        unsafe { Pin::new_unchecked(&mut (*self.shared.as_ptr()).body) }
    }

    /// Drops the body, if it is still there. Returns the item of an `emit` that it leaked.
    #[cold]
    pub(super) fn end(&mut self) -> Option<T> {
        let slot = self.slot();
        let item = slot.is_full().then(|| slot.take_item(Turn::Ended));
        let answer = slot.take_answer();
        slot.turn.set(Turn::Ended);
        self.body().set(None);
        drop(answer);
        item
    }

    #[inline]
    pub(super) fn is_ended(&self) -> bool {
        self.slot().turn.get() == Turn::Ended
    }
}

/// Drops the body, of which no more than a shell is left, when its poll panics: the generator has ended then.
struct EndsOnPanic<'a, T, R, B>(&'a mut Core<T, R, B>);

impl<T, R, B> Drop for EndsOnPanic<'_, T, R, B> {
    #[cold]
    fn drop(&mut self) {
        drop(self.0.end());
    }
}

impl<T, R, B> Drop for Core<T, R, B> {
    fn drop(&mut self) {
        /// Frees the box even if the body's destructor panics.
        struct Frees<T, R, B>(NonNull<Shared<T, R, B>>);

        impl<T, R, B> Drop for Frees<T, R, B> {
            fn drop(&mut self) {
                // SAFETY: it came from a `Box`, `Core` is being dropped, and the body is gone, and with it the port.
                drop(unsafe { Box::from_raw(self.0.as_ptr()) });
            }
        }

        let _frees = Frees(self.shared);
        drop(self.end());
    }
}
