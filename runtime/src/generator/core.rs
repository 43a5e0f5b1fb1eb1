//! Layer 3. What a generator's body and its consumer share: a slot for an item on its way out and for what goes
//! back in, and the box in which slot and body lie.
//!
//! Owns all that is unsafe about generators. [`Core`] is the consumer's end, [`Port`] the body's. Called by `mod.rs`,
//! `fallible.rs` and `emit.rs`, which give them a public face. Names no task, no runtime and no atomic: the body
//! runs only inside the consumer's call of [`Core::poll`], so the two never run at once.
//!
//! | turn         | set by                             | what may happen next                                      |
//! |--------------|------------------------------------|-----------------------------------------------------------|
//! | `New`        | birth                              | the consumer asks: `Working`; or answers: `Answered`      |
//! | `Working`    | who asks, who takes the answer     | `emit` is called: `Held`                                  |
//! | `Held`       | `emit`, with its item              | it is polled: `Full`; it drops the item: `Working`        |
//! | `Full`       | `emit`, as it is polled            | the consumer has it: `Asked`; `emit` drops it: `Working`  |
//! | `Asked`      | the consumer, which has the item   | it answers: `Answered`; it closes: `Ended`, or `Closing`  |
//! | `Answered`   | the consumer, with its answer      | `emit` takes it and is ready: `Working`                   |
//! | `Closing`    | the consumer, if `emit` listens    | `emit` hears of it and is ready: `Cleaning`               |
//! | `Cleaning`   | `emit`                             | the body ends; or it calls `emit` again: `HeldInVain`     |
//! | `HeldInVain` | `emit`, with its item              | it is polled: `Stopped`; it drops the item: `Cleaning`    |
//! | `Stopped`    | `emit`, which has dropped its item | the consumer drops the body where it stands: `Ended`      |
//! | `Ended`      | the consumer, as it drops the body | nothing                                                   |
//!
//! The turn says what is in the slot: an item if it is `Held`, `Full` or `HeldInVain`, an answer if it is `Answered`.
//! It also says how far the one `emit` there can be has come, which so keeps nothing but the way to the slot.
//!
//! An item costs the stores between two of them, more than anything else: some processors make one a cycle. So
//! * a stream, where the answer is `()`, gives it as it takes the item. This turn is `Free`: `Answered`, and `Working`
//!   as well, since there is nothing to be taken. It goes from `Free` to `Held`, `Full` and back.
//! * `FullAlso` and `AskedAlso` stand for `Full` and `Asked` with something more in the slot that is seldom there: that
//!   `emit` listens, or whom to wake. So the turn is all that is looked at for an ordinary item.
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
use std::task::{Context, Poll, Waker, ready};

use super::emit::Yielder;

/// Whose turn it is: the table at the head of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// A word of its own. As a byte it would share one with what is written at other times, and to read it would be slow.
#[repr(usize)]
pub(super) enum Turn {
    New,
    Working,
    Free,
    Held,
    Full,
    FullAlso,
    Asked,
    AskedAlso,
    Answered,
    Closing,
    Cleaning,
    HeldInVain,
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

    /// The answer in the turn `Free`.
    #[inline]
    fn free_answer(&self) -> R {
        debug_assert_eq!(self.turn.get(), Turn::Free);
        // SAFETY: only `Slot::<T, ()>::ask_slow` and `Core::<T, (), B>::poll_free` set this turn, so this is `()`,
        // of which there are as many as one likes.
        unsafe { (*self.answer.get()).assume_init_read() }
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

    /// Takes the item out, in a turn in which it is there. The turn is `next` then.
    #[inline]
    fn take_item(&self, next: Turn) -> T {
        debug_assert!(self.is_full() || matches!(self.turn.get(), Turn::Held | Turn::HeldInVain));
        self.turn.set(next);
        // SAFETY: an item was there, and the turn that said so is over.
        unsafe { (*self.item.get()).assume_init_read() }
    }

    /// Puts the item of an `emit` in. The turn says that there is none.
    #[inline]
    fn hold(&self, item: T, held: Turn) {
        // SAFETY: the slot is the body's while it runs, and nothing in there would be lost.
        unsafe { (*self.item.get()).write(item) };
        self.turn.set(held);
    }

    /// Begins an `emit` when it is not simply the body's turn.
    #[cold]
    #[inline(never)]
    fn hold_slow(&self, item: T) {
        match self.turn.get() {
            Turn::New => panic!("an `emit` before its generator was asked for an item"),
            Turn::Full | Turn::FullAlso => {
                panic!("two emits at once: an earlier one was leaked before its item was taken")
            }
            // Of an `emit` that was leaked before it was polled.
            Turn::Held => drop(self.take_item(Turn::Working)),
            Turn::HeldInVain => drop(self.take_item(Turn::Cleaning)),
            // To an `emit` that was leaked, or the value of the first `resume_with`.
            Turn::Answered => drop(self.take_answer()),
            // The one that was to hear of it is gone.
            Turn::Closing => self.turn.set(Turn::Cleaning),
            _ => {}
        }
        match self.turn.get() {
            Turn::Working => self.hold(item, Turn::Held),
            Turn::Cleaning => self.hold(item, Turn::HeldInVain),
            // The body has been told to stop, or is being dropped.
            _ => drop(item),
        }
    }

    /// Whether that is the waker of the consumer, passed on as it is: whoever did so polls us again when the body is
    /// polled again.
    #[inline]
    fn is_polled_with(&self, cx: &Context<'_>) -> bool {
        ptr::eq(self.polled_with.get(), cx.waker())
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
        if self.turn.get() != Turn::Free {
            self.ask_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn ask_slow(&self) {
        match self.turn.get() {
            Turn::New | Turn::Working => self.turn.set(Turn::Free),
            Turn::Asked | Turn::AskedAlso => self.answer(()),
            _ => {}
        }
    }
}

/// What is in the box. `body` is pinned; it is there until the turn is `Ended`, and dropped before the slot, by
/// [`Core::end`].
struct Shared<T, R, B> {
    slot: Slot<T, R>,
    body: MaybeUninit<B>,
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
        match slot.turn.get() {
            Turn::Free | Turn::Working => slot.hold(item, Turn::Held),
            _ => slot.hold_slow(item),
        }
        Emission { port: Some(Port { slot: self.slot, brand: PhantomData }) }
    }
}

/// One `emit` under way. The turn says how far it has come: `Port::emit` lets no other begin while it lives.
pub(super) struct Emission<'y, T, R> {
    /// `None`: it was ready.
    port: Option<Port<'y, T, R>>,
}

impl<T, R> Emission<'_, T, R> {
    /// `None`: the consumer has closed the generator, and this one `listens`.
    #[inline]
    pub(super) fn poll(&mut self, cx: &Context<'_>, listens: bool) -> Poll<Option<R>> {
        let Some(port) = &self.port else { panic!("an `emit` was polled after it was ready") };
        let slot = port.slot();
        let answer = match slot.turn.get() {
            // We wait for it: one that is not polled yet is `Held`.
            Turn::Free => Some(slot.free_answer()),
            Turn::Answered => slot.take_answer(),
            Turn::Held if !listens && slot.is_polled_with(cx) => {
                slot.turn.set(Turn::Full);
                return Poll::Pending;
            }
            _ => ready!(port.poll_slow(cx, listens)),
        };
        self.port = None;
        Poll::Ready(answer)
    }
}

impl<T, R> Port<'_, T, R> {
    /// Polls the `emit` that has this port, if it is not simply answered or to be offered.
    #[cold]
    #[inline(never)]
    fn poll_slow(&self, cx: &Context<'_>, listens: bool) -> Poll<Option<R>> {
        let slot = self.slot();
        match slot.turn.get() {
            Turn::Held | Turn::Full | Turn::FullAlso => {}
            Turn::HeldInVain => {
                drop(slot.take_item(Turn::Stopped));
                return Poll::Pending;
            }
            Turn::Closing if listens => {
                slot.turn.set(Turn::Cleaning);
                return Poll::Ready(None);
            }
            // Polled once more in the course of a clean-up, which this has ended.
            Turn::Stopped => return Poll::Pending,
            _ => {
                panic!("an `emit` was polled outside of its generator's body, such as in a destructor of it")
            }
        }
        let inner = (!slot.is_polled_with(cx)).then(|| cx.waker().clone());
        slot.listens.set(listens);
        drop(slot.inner.replace(inner));
        slot.turn.set(Turn::FullAlso);
        Poll::Pending
    }

    /// Takes back what the consumer has not got, or drops its answer.
    #[cold]
    #[inline(never)]
    fn give_up(&self) {
        let slot = self.slot();
        match slot.turn.get() {
            Turn::Held | Turn::Full | Turn::FullAlso => drop(slot.take_item(Turn::Working)),
            Turn::HeldInVain => drop(slot.take_item(Turn::Cleaning)),
            Turn::Answered => drop(slot.take_answer()),
            _ => {}
        }
    }
}

impl<T, R> Drop for Emission<'_, T, R> {
    #[inline]
    fn drop(&mut self) {
        if let Some(port) = &self.port {
            port.give_up();
        }
    }
}

/// What a poll of the body brought, if it was not simply an item.
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
        let shared = NonNull::from(Box::leak(Box::new(Shared { slot, body: MaybeUninit::uninit() })));
        // In case that `body` panics: there is none to be dropped then.
        let frees = Frees(shared);
        // SAFETY: the box is there. No reference to the whole is made, so none is to be had to the body.
        let slot = unsafe { NonNull::new_unchecked(&raw mut (*shared.as_ptr()).slot) };
        let body = body(Port { slot, brand: PhantomData });
        // SAFETY: the box is ours, and no reference to the body exists yet. From here on it does not move.
        unsafe { (*shared.as_ptr()).body.write(body) };
        mem::forget(frees);
        Core { shared, owns: PhantomData }
    }

    /// Polls the body, in turns in which it is there. `Err` for all that is not simply an item: to be given to
    /// [`Core::step`].
    #[inline(always)]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Result<T, Poll<B::Output>> {
        self.poll_then(cx, Turn::Asked)
    }

    /// With the turn in which the body is once the consumer has an item.
    // Inlined: an item costs as much as there are instructions here and in `emit`.
    #[inline(always)]
    fn poll_then(&mut self, cx: &mut Context<'_>, next: Turn) -> Result<T, Poll<B::Output>> {
        let slot = self.slot();
        // Mostly the same as last time: to look is cheaper than to write.
        if !ptr::eq(slot.polled_with.get(), cx.waker()) {
            slot.polled_with.set(cx.waker());
        }
        let ends = EndsOnPanic(self);
        let output = ends.0.body().poll(cx);
        mem::forget(ends);
        let slot = self.slot();
        match output {
            Poll::Pending if slot.turn() == Turn::Full => Ok(slot.take_item(next)),
            output => Err(output),
        }
    }

    /// What a poll of the body brought that gave this `output`.
    #[cold]
    pub(super) fn step(&mut self, output: Poll<B::Output>) -> Poll<Step<T, B::Output>> {
        match output {
            Poll::Pending => match self.slot().turn() {
                Turn::FullAlso => Poll::Ready(Step::Item(self.slot().take_item(Turn::AskedAlso))),
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
            Turn::Closing | Turn::Cleaning | Turn::HeldInVain => {}
            _ => drop(self.end()),
        }
    }
}

impl<T, B: Future> Core<T, (), B> {
    /// As [`Core::poll`]; and gives the answer to the item, which is `()`, at once.
    #[inline(always)]
    pub(super) fn poll_free(&mut self, cx: &mut Context<'_>) -> Result<T, Poll<B::Output>> {
        self.poll_then(cx, Turn::Free)
    }
}

impl<T, R, B> Core<T, R, B> {
    #[inline]
    pub(super) fn slot(&self) -> &Slot<T, R> {
        // SAFETY: the box lives as long as we do, and no other thread is in it (see the head).
        unsafe { &(*self.shared.as_ptr()).slot }
    }

    /// In turns in which it is there.
    #[inline]
    fn body(&mut self) -> Pin<&mut B> {
        debug_assert!(!self.is_ended());
        // SAFETY: the box lives as long as we do, nobody else makes references to the body, and it stays where it is.
        // It was written when the box was made, and only `end` drops it: the turn is `Ended` then, in which nobody
        // calls this.
        unsafe { Pin::new_unchecked((*self.shared.as_ptr()).body.assume_init_mut()) }
    }

    /// Drops the body, if it is still there. Returns the item of an `emit` that it leaked.
    #[cold]
    pub(super) fn end(&mut self) -> Option<T> {
        let slot = self.slot();
        let turn = slot.turn.replace(Turn::Ended);
        let (mut item, mut answer) = (None, None);
        match turn {
            Turn::Ended => return None,
            Turn::Held | Turn::HeldInVain | Turn::Full | Turn::FullAlso => {
                // SAFETY: in these turns an item was there, and the turn is over.
                item = Some(unsafe { (*slot.item.get()).assume_init_read() });
            }
            // SAFETY: in this turn an answer was there, and the turn is over.
            Turn::Answered => answer = Some(unsafe { (*slot.answer.get()).assume_init_read() }),
            _ => {}
        }
        // SAFETY: the box lives as long as we do, the body is there and nobody is in it: it is not polled while we are
        // borrowed, and it does not drop itself. The turn, which was not `Ended`, says from now on that it is gone.
        unsafe { (*self.shared.as_ptr()).body.assume_init_drop() };
        drop(answer);
        // What no consumer was to get yet goes with the body.
        item.filter(|_| matches!(turn, Turn::Full | Turn::FullAlso))
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

/// Frees the box, also if the body's destructor panics.
struct Frees<T, R, B>(NonNull<Shared<T, R, B>>);

impl<T, R, B> Drop for Frees<T, R, B> {
    fn drop(&mut self) {
        // SAFETY: it came from a `Box`, whoever has us owns it, and the body is gone or never was, and with it the
        // port.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl<T, R, B> Drop for Core<T, R, B> {
    fn drop(&mut self) {
        let _frees = Frees(self.shared);
        drop(self.end());
    }
}
