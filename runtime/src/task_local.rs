//! Layer 3. Task-local values: set for the time a future is polled, gone from the thread in between.
//!
//! Owns [`LocalKey`], the future that `LocalKey::scope` returns, and what a spawned task takes over from the
//! one that spawns it. A plain key lives in a thread-local slot that each poll fills and empties, as in tokio. A
//! key marked `#[inherit]` lives in a persistent list of shared values instead: entering a scope puts a node in
//! front, a spawn copies the pointer to the first node, and nobody ever changes a node.
#![forbid(unsafe_code)]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::shim::Arc;

/// Declares task-local values, each of type [`LocalKey`](crate::task::LocalKey).
///
/// A value is set for one future, by `NAME.scope(value, future)`, and is seen by everything that this future
/// polls, on whichever thread. A task that it spawns does not see it, unless the key is marked `#[inherit]`:
/// then every task spawned within the scope shares the value, and passes it on in turn. An inherited value is
/// seen by several threads, so its type must be `Send + Sync`.
///
/// # Examples
/// ```
/// filch::task_local! {
///     static USER: String;
///     #[inherit]
///     pub static REQUEST: u64;
/// }
///
/// # futures_lite::future::block_on(
/// REQUEST.scope(7, USER.scope("ada".to_string(), async {
///     assert_eq!(REQUEST.get(), 7);
///     USER.with(|user| assert_eq!(user, "ada"));
/// }))
/// # );
/// ```
#[macro_export]
macro_rules! task_local {
    () => {};
    // One declaration: its attributes are walked, to find `#[inherit]` among them.
    ($(#[$($attribute:tt)*])* $vis:vis static $name:ident: $type:ty $(; $($rest:tt)*)?) => {
        $crate::__task_local!([$(#[$($attribute)*])*] [] [task] $vis $name $type);
        $crate::task_local!($($($rest)*)?);
    };
}

/// The machinery of [`task_local!`]: `[attributes left] [attributes kept] [kind] vis name type`.
#[doc(hidden)]
#[macro_export]
macro_rules! __task_local {
    ([#[inherit] $($left:tt)*] $kept:tt $kind:tt $($rest:tt)*) => {
        $crate::__task_local!([$($left)*] $kept [inherit] $($rest)*);
    };
    ([#[$($one:tt)*] $($left:tt)*] [$($kept:tt)*] $kind:tt $($rest:tt)*) => {
        $crate::__task_local!([$($left)*] [$($kept)* #[$($one)*]] $kind $($rest)*);
    };
    ([] [$($kept:tt)*] [task] $vis:vis $name:ident $type:ty) => {
        $($kept)*
        $vis static $name: $crate::__private::LocalKey<$type> = {
            ::std::thread_local! {
                static SLOT: ::core::cell::RefCell<::core::option::Option<$type>> =
                    const { ::core::cell::RefCell::new(::core::option::Option::None) };
            }
            $crate::__private::LocalKey::__task(&SLOT)
        };
    };
    ([] [$($kept:tt)*] [inherit] $vis:vis $name:ident $type:ty) => {
        $($kept)*
        $vis static $name: $crate::__private::LocalKey<$type> = $crate::__private::LocalKey::__inherit();
    };
}

type Slot<T> = crate::shim::ThreadKey<RefCell<Option<T>>>;
type Value = Arc<dyn Any + Send + Sync>;

/// A task-local value, declared by [`task_local!`](crate::task_local).
pub struct LocalKey<T: 'static> {
    kind: Kind<T>,
}

enum Kind<T: 'static> {
    /// Of one task. The slot is full while a future of a `scope` is polled.
    Task(&'static Slot<T>),
    /// Passed on to the tasks spawned in the scope; `pack` is here because only its maker knows `T: Send + Sync`.
    Inherit { pack: fn(T) -> Value },
}

/// The task-local value is not set here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccessError(());

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this task-local value is not set here: read it inside `KEY.scope(value, future)`, and mark the key \
             `#[inherit]` if tasks spawned there should see it",
        )
    }
}

impl std::error::Error for AccessError {}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn __task(slot: &'static Slot<T>) -> LocalKey<T> {
        LocalKey { kind: Kind::Task(slot) }
    }

    #[doc(hidden)]
    pub const fn __inherit() -> LocalKey<T>
    where
        T: Send + Sync,
    {
        LocalKey { kind: Kind::Inherit { pack: |value| Arc::new(value) } }
    }

    /// Sets the value for as long as `future` is polled, however often, and while it is dropped.
    ///
    /// A scope within a scope hides the outer value until it ends.
    ///
    /// # Panics
    /// The future panics when it is polled inside [`with`](LocalKey::with) of the same key, unless that is marked
    /// `#[inherit]`.
    ///
    /// # Cancel safety
    /// That of `future`.
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> TaskLocalFuture<T, F> {
        TaskLocalFuture { future: Some(future), key: self, held: self.hold(value), _value: PhantomData }
    }

    /// Sets the value for as long as `f` runs.
    ///
    /// # Panics
    /// When called inside [`with`](LocalKey::with) of the same key, unless that is marked `#[inherit]`.
    #[track_caller]
    pub fn sync_scope<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        let mut held = self.hold(value);
        let _installed = Installed::new(self, &mut held).unwrap_or_else(|reason| panic!("{reason}"));
        f()
    }

    /// Calls `f` with the value.
    ///
    /// # Panics
    /// When the value is not set here; [`try_with`](LocalKey::try_with) is an error then.
    #[track_caller]
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        match self.try_with(f) {
            Ok(result) => result,
            Err(error) => panic!("{error}"),
        }
    }

    /// Calls `f` with the value.
    ///
    /// # Errors
    /// [`AccessError`] when the value is not set here; `f` is not called then.
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        match &self.kind {
            Kind::Task(slot) => slot
                .try_with(|slot| slot.try_borrow().ok()?.as_ref().map(f))
                .ok()
                .flatten()
                .ok_or(AccessError(())),
            Kind::Inherit { .. } => {
                // Out of the thread-local before `f` runs, which may enter a scope itself.
                let value = self.find().ok_or(AccessError(()))?;
                value.downcast_ref().map(f).ok_or(AccessError(()))
            }
        }
    }

    /// A copy of the value.
    ///
    /// # Panics
    /// When the value is not set here; [`try_get`](LocalKey::try_get) is an error then.
    #[track_caller]
    pub fn get(&'static self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    /// A copy of the value.
    ///
    /// # Errors
    /// [`AccessError`] when the value is not set here.
    pub fn try_get(&'static self) -> Result<T, AccessError>
    where
        T: Clone,
    {
        self.try_with(T::clone)
    }

    fn hold(&self, value: T) -> Held<T> {
        match &self.kind {
            Kind::Task(_) => Held::Task(Some(value)),
            Kind::Inherit { pack } => Held::Inherit(Inherited(Arc::new(Node {
                key: self.address(),
                value: pack(value),
                outer: None,
            }))),
        }
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn find(&self) -> Option<Value> {
        let inherited = inherited()?;
        let mut node = Some(&inherited);
        while let Some(Inherited(here)) = node {
            if here.key == self.address() {
                return Some(here.value.clone());
            }
            node = here.outer.as_ref();
        }
        None
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inherit = matches!(self.kind, Kind::Inherit { .. });
        f.debug_struct("LocalKey").field("inherit", &inherit).finish_non_exhaustive()
    }
}

/// The value of a scope while its future is not being polled.
enum Held<T> {
    Task(Option<T>),
    /// The node that the scope puts in front of those that it finds.
    Inherit(Inherited),
}

/// A value put where readers look for it, until this is dropped.
struct Installed<'a, T: 'static> {
    key: &'static LocalKey<T>,
    held: &'a mut Held<T>,
    /// The list that was there before.
    outer: Option<Inherited>,
}

impl<'a, T: 'static> Installed<'a, T> {
    /// Fails while a reader of the same plain key is at work on this thread, and when the thread is ending.
    fn new(key: &'static LocalKey<T>, held: &'a mut Held<T>) -> Result<Self, &'static str> {
        let mut outer = None;
        match (&key.kind, &mut *held) {
            (Kind::Task(slot), Held::Task(value)) => swap(slot, value)?,
            (_, Held::Inherit(node)) => {
                outer = inherited();
                node.put_before(&outer);
                drop(install(Some(node.clone())));
            }
            (Kind::Inherit { .. }, Held::Task(_)) => {}
        }
        Ok(Installed { key, held, outer })
    }
}

impl<T: 'static> Drop for Installed<'_, T> {
    fn drop(&mut self) {
        match (&self.key.kind, &mut *self.held) {
            // It was free when the scope was entered, and readers return before a scope does.
            (Kind::Task(slot), Held::Task(value)) => drop(swap(slot, value)),
            _ => drop(install(self.outer.take())),
        }
    }
}

/// Exchanges what is in the slot with what a scope holds.
fn swap<T>(slot: &'static Slot<T>, value: &mut Option<T>) -> Result<(), &'static str> {
    slot.try_with(|slot| match slot.try_borrow_mut() {
        Ok(mut slot) => {
            mem::swap(&mut *slot, value);
            Ok(())
        }
        Err(_) => Err("a scope of a task-local value was entered inside `with` of the same one"),
    })
    .unwrap_or(Err("a scope of a task-local value was entered while its thread was ending"))
}

pin_project! {
    /// A future that sees a task-local value; what [`LocalKey::scope`] returns.
    pub struct TaskLocalFuture<T: 'static, F> {
        #[pin]
        future: Option<F>,
        key: &'static LocalKey<T>,
        held: Held<T>,
        _value: PhantomData<T>,
    }

    impl<T: 'static, F> PinnedDrop for TaskLocalFuture<T, F> {
        fn drop(this: Pin<&mut Self>) {
            // The future's own destructor may read the value.
            let mut this = this.project();
            if this.future.is_some() {
                let _installed = Installed::new(this.key, this.held);
                this.future.set(None);
            }
        }
    }
}

impl<T: 'static, F: Future> Future for TaskLocalFuture<T, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let _installed = Installed::new(this.key, this.held).unwrap_or_else(|reason| panic!("{reason}"));
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            panic!("a task-local scope was polled after it had ended");
        };
        let output = std::task::ready!(future.poll(cx));
        this.future.set(None);
        Poll::Ready(output)
    }
}

impl<T: 'static, F> fmt::Debug for TaskLocalFuture<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocalFuture").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The values that a task spawned now takes over: the first node of a list.
#[derive(Clone)]
pub(crate) struct Inherited(Arc<Node>);

struct Node {
    key: usize,
    value: Value,
    outer: Option<Inherited>,
}

impl Inherited {
    fn is(&self, other: &Inherited) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Makes `outer` what follows this node. It does already, save in a first poll or after a move to another
    /// task.
    fn put_before(&mut self, outer: &Option<Inherited>) {
        let same = match (&self.0.outer, outer) {
            (Some(a), Some(b)) => a.is(b),
            (None, None) => true,
            _ => false,
        };
        if !same {
            let Node { key, value, .. } = &*self.0;
            let (key, value) = (*key, value.clone());
            self.0 = Arc::new(Node { key, value, outer: outer.clone() });
        }
    }
}

thread_local! {
    static INHERITED: RefCell<Option<Inherited>> = const { RefCell::new(None) };
    /// Whether `INHERITED` holds anything: without a destructor, so that a spawn asks with one load.
    static ANY: Cell<bool> = const { Cell::new(false) };
}

/// What a task spawned now takes over; `None` in most programs, and then one load tells.
#[inline]
pub(crate) fn inherited() -> Option<Inherited> {
    if !ANY.get() {
        return None;
    }
    INHERITED.try_with(|list| list.borrow().clone()).ok().flatten()
}

/// Makes `list` what tasks take over, and returns what was there before.
fn install(list: Option<Inherited>) -> Option<Inherited> {
    ANY.set(list.is_some());
    INHERITED.try_with(|slot| slot.replace(list)).ok().flatten()
}

pin_project! {
    /// The future of a task that took values over: they are in place around each of its polls, and its drop.
    pub(crate) struct WithInherited<F> {
        #[pin]
        future: Option<F>,
        inherited: Inherited,
    }

    impl<F> PinnedDrop for WithInherited<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _restore = Restore(install(Some(this.inherited.clone())));
            this.future.set(None);
        }
    }
}

impl<F> WithInherited<F> {
    pub(crate) fn new(inherited: Inherited, future: F) -> WithInherited<F> {
        WithInherited { future: Some(future), inherited }
    }
}

impl<F: Future> Future for WithInherited<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _restore = Restore(install(Some(this.inherited.clone())));
        match this.future.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Pending,
        }
    }
}

/// Puts back the list that a poll found, also when it panics.
struct Restore(Option<Inherited>);

impl Drop for Restore {
    fn drop(&mut self) {
        drop(install(self.0.take()));
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    crate::task_local! {
        #[inherit]
        static OUTER: u32;
        /// Documented, to show that other attributes stay.
        #[inherit]
        static INNER: String;
    }

    #[test]
    fn a_task_sees_what_was_set_where_it_was_spawned_and_puts_back_what_it_found() {
        assert!(inherited().is_none());
        let taken =
            OUTER.sync_scope(1, || INNER.sync_scope("a".into(), || inherited().expect("two values are set")));
        assert!(inherited().is_none());

        let mut task = Box::pin(WithInherited::new(taken, async {
            std::future::poll_fn(|_| Poll::<()>::Pending).await;
        }));
        let seen = std::cell::Cell::new(0);
        let mut reader = Box::pin(WithInherited::new(task.inherited.clone(), async {
            INNER.with(|inner| assert_eq!(inner, "a"));
            seen.set(OUTER.get());
        }));
        let cx = &mut Context::from_waker(Waker::noop());
        OUTER.sync_scope(5, || {
            assert!(task.as_mut().poll(cx).is_pending());
            assert!(reader.as_mut().poll(cx).is_ready());
            assert_eq!(OUTER.get(), 5);
        });
        assert_eq!(seen.get(), 1);
        assert_eq!(OUTER.try_get(), Err(AccessError(())));
    }

    #[test]
    fn a_scope_that_moves_between_tasks_takes_over_the_values_of_the_new_one() {
        let mut scope = Box::pin(INNER.scope("b".into(), async {
            std::future::poll_fn(|_| {
                INNER.with(|inner| assert_eq!(inner, "b"));
                if OUTER.try_get() == Ok(2) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(scope.as_mut().poll(cx).is_pending());
        OUTER.sync_scope(1, || assert!(scope.as_mut().poll(cx).is_pending()));
        OUTER.sync_scope(2, || assert!(scope.as_mut().poll(cx).is_ready()));
    }
}
