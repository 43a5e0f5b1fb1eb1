//! Layer 1, task. The half of a task that knows its types: the block itself, and what is done with the future
//! and the output in it.
//!
//! Called through the table that `raw` has in each header. "The table fits" is the type [`Typed`]; that the
//! stage is this thread's to touch, and what is in it, is [`Running`] and [`Ended`].

use std::any::Any;
use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use filch_channels::probe;

use super::error::JoinError;
use super::raw::{Done, Header, Ran, Runnable, Schedule, Table, TaskPtr};
use super::state::{Completed, State};
use super::{Birth, waker};
use crate::blocks;
use crate::shim::{UnsafeCell, loses_wake_up};
use crate::util::wake::{drop_payload, guarded};

#[repr(C)]
struct Cell<F: Future, S> {
    header: Header,
    scheduler: *const S,
    stage: UnsafeCell<Stage<F>>,
}

/// Which one it is, the state says: `future` until DONE, `output` from then until it is taken.
union Stage<F: Future> {
    future: ManuallyDrop<F>,
    output: ManuallyDrop<Result<F::Output, JoinError>>,
}

/// How many bytes a task takes.
#[cfg(test)]
pub(super) const fn allocated<F: Future, S>() -> usize {
    size_of::<Cell<F, S>>()
}

/// A task whose types are known: *the table fits*, for `allocate` put the table of these types there. Alive
/// while used, as a [`TaskPtr`].
struct Typed<F: Future, S>(NonNull<Cell<F, S>>);

/// Makes a task. Its only `Runnable`, and whatever references `state` counts, are the caller's to make.
#[inline]
pub(super) fn allocate<F: Future + 'static, S: Schedule + 'static>(
    future: F,
    scheduler: *const S,
    birth: Birth,
    state: State,
) -> TaskPtr {
    // Written field by field: a large future is not built on the stack first.
    let cell = blocks::take::<Cell<F, S>>();
    let place = cell.as_ptr();
    // SAFETY: the block is ours, and all three fields are written before it counts as a `Cell`.
    unsafe {
        (&raw mut (*place).header).write(Header::new(birth, state, Typed::<F, S>::TABLE));
        (&raw mut (*place).scheduler).write(scheduler);
        (&raw mut (*place).stage).write(UnsafeCell::new(Stage { future: ManuallyDrop::new(future) }));
        TaskPtr::from_raw(place.cast())
    }
}

impl<F: Future, S> Deref for Typed<F, S> {
    type Target = Cell<F, S>;

    #[inline]
    fn deref(&self) -> &Cell<F, S> {
        // SAFETY: the table fits, and alive while used.
        unsafe { self.0.as_ref() }
    }
}

impl<F: Future + 'static, S: Schedule + 'static> Typed<F, S> {
    const TABLE: &Table = &Table {
        // SAFETY: the table fits.
        run: |runnable| Running::<F, S>(unsafe { Typed::of(runnable.task()) }, runnable).run(),
        // SAFETY: the table fits.
        cancel: |runnable, why| Running::<F, S>(unsafe { Typed::of(runnable.task()) }, runnable).cancel(why),
        // SAFETY: the table fits. The task is not done, so its scheduler is there.
        schedule: |runnable| unsafe { (*Self::of(runnable.task()).scheduler).schedule(runnable) },
        // SAFETY: the table fits, so `to` is of the output's type, since handle and task are; the output is
        // the caller's.
        take_output: |task, to| unsafe {
            to.cast::<Result<F::Output, JoinError>>().write(Self::of(task).take_output())
        },
        // SAFETY: the table fits; the rest is the caller's word.
        call_back: |task| unsafe { Self::of(task).call_back() },
        // SAFETY: `allocate` took the block for this type, and filled it; the union drops nothing by itself.
        free: |task| unsafe {
            let cell = task.cast::<Cell<F, S>>();
            cell.drop_in_place();
            blocks::give(cell);
        },
    };

    /// # Safety
    /// The table fits: `allocate` made the task with these types.
    #[inline]
    unsafe fn of(task: TaskPtr) -> Typed<F, S> {
        Typed(task.cast())
    }

    /// # Safety
    /// The output is in its place, and the caller's to take, once.
    unsafe fn take_output(&self) -> Result<F::Output, JoinError> {
        // SAFETY: the caller says so.
        self.stage.with_mut(|stage| unsafe { ManuallyDrop::take(&mut (*stage).output) })
    }

    /// Runs the callbacks with the output in its place.
    ///
    /// # Safety
    /// The output is in its place, and nobody takes it meanwhile.
    unsafe fn call_back(&self) {
        // SAFETY: the caller says so; it is only read here.
        self.stage.with(|stage| self.header.call_back(unsafe { &*(*stage).output }));
    }
}

type Payload = Box<dyn Any + Send>;

/// A task that this thread runs. The stage is ours, by the `Runnable`, and holds the future.
struct Running<F: Future, S>(Typed<F, S>, Runnable);

/// The same when the future is gone, and the task not done yet. The stage is ours, and empty.
struct Ended<F: Future, S>(Typed<F, S>, Runnable);

/// The `Runnable` back after a poll that was pending, or what the poll came to.
type Polled<F, S> = Result<(Ended<F, S>, Result<<F as Future>::Output, Payload>), Runnable>;

impl<F: Future + 'static, S: Schedule + 'static> Running<F, S> {
    fn run(self) -> Ran {
        let task = self.1.task();
        let (seen, cancelled) = task.state.start_poll();
        if cancelled {
            return Ran::Done(self.cancel(None));
        }
        match in_poll(task, |cx| self.poll(cx)) {
            Err(runnable) => runnable.end_pending(seen).map_or(Ran::Idle, Ran::Again),
            Ok((ended, result)) => {
                let output = result.map_err(|payload| ended.panicked(payload));
                Ran::Done(ended.complete(output, true))
            }
        }
    }

    fn cancel(self, why: Option<io::Error>) -> Done {
        let task = self.1.task();
        let (ended, dropped) = in_poll(task, |_| self.drop_future());
        let error = match dropped {
            Some(payload) => ended.panicked(payload),
            None => JoinError::cancelled(task.about(), why),
        };
        ended.complete(Err(error), false)
    }

    /// Polls the future, and drops it unless it is pending.
    #[inline]
    fn poll(self, cx: &mut Context<'_>) -> Polled<F, S> {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            self.0.stage.with_mut(|stage| {
                // SAFETY: the stage is ours. The future does not move: it was written to the heap, and is
                // dropped there.
                unsafe { Pin::new_unchecked(&mut *(*stage).future) }.poll(cx)
            })
        }));
        let result = match polled {
            Ok(Poll::Pending) => return Err(self.1),
            Ok(Poll::Ready(output)) => Ok(output),
            Err(payload) => Err(payload),
        };
        let (ended, dropped) = self.drop_future();
        Ok((ended, outcome(result, dropped)))
    }

    /// Drops the future, and returns what its panic carried, if it did.
    fn drop_future(self) -> (Ended<F, S>, Option<Payload>) {
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the stage is ours, and counts as empty from here on.
            self.0.stage.with_mut(|stage| unsafe { ManuallyDrop::drop(&mut (*stage).future) });
        }));
        (Ended(self.0, self.1), dropped.err())
    }
}

impl<F: Future + 'static, S: Schedule + 'static> Ended<F, S> {
    fn panicked(&self, payload: Payload) -> JoinError {
        // SAFETY: the task is not done, so its scheduler is there.
        let hook = unsafe { (*self.0.scheduler).panic_hook() };
        JoinError::panic(self.0.header.about(), payload, hook)
    }

    /// Stores the output, says so, and does what that asks for.
    fn complete(self, output: Result<F::Output, JoinError>, finished: bool) -> Done {
        let Ended(cell, runnable) = self;
        // SAFETY: the stage is ours, and empty.
        cell.stage.with_mut(|stage| unsafe { stage.write(Stage { output: ManuallyDrop::new(output) }) });
        // SAFETY: not done, so nobody takes the output.
        let Completed { drop_output, wake_join } =
            cell.header.state.complete(finished, || unsafe { cell.call_back() });
        if drop_output {
            // SAFETY: no handle, so the output is ours to take.
            discard(unsafe { cell.take_output() });
        }
        if wake_join {
            // SAFETY: the waker is set, and whoever set DONE takes it ("the join waker slot" in `state`).
            let waker = cell.header.join_waker.with_mut(|slot| unsafe { (*slot).take() });
            if let Some(waker) = waker.filter(|_| !loses_wake_up()) {
                guarded("the waker of a join handle", || waker.wake());
            }
        }
        runnable.done()
    }
}

/// Runs `f` with the task as the current one of this thread, and with its waker.
#[inline]
pub(super) fn in_poll<R>(task: TaskPtr, f: impl FnOnce(&mut Context<'_>) -> R) -> R {
    task.probe.start_poll();
    // SAFETY: the task is alive until `f` has returned, and the pointer is replaced right after.
    let before = unsafe { probe::set_current(&task.probe) };
    // `f` does not unwind: what it calls of the user is in a `catch_unwind`.
    let result = waker::lend(task, f);
    // SAFETY: `before` was current before, and so is valid until whoever set it replaces it.
    unsafe { probe::set_current(before) };
    // Outside of the poll: what the task was granted and did not claim is passed on.
    if task.probe.end_poll() {
        probe::settle_grants(&task.probe);
    }
    result
}

/// What a future came to whose poll gave `result`, and its drop a panic or none. A panic of the poll counts more
/// than one of the drop, and either more than the output.
pub(crate) fn outcome<T>(result: std::thread::Result<T>, dropped: Option<Payload>) -> std::thread::Result<T> {
    match (result, dropped) {
        (Ok(output), Some(payload)) => {
            guarded("dropping the output of a task whose drop panicked", || drop(output));
            Err(payload)
        }
        (result, second) => {
            second.into_iter().for_each(drop_payload);
            result
        }
    }
}

/// Drops an output that nobody will see. A panic in it goes to the policy, and one in its drop is only said.
pub(super) fn discard<T>(output: Result<T, JoinError>) {
    match output {
        Ok(output) => guarded("dropping the output of a task", || drop(output)),
        Err(error) => error.unobserved(),
    }
}
