//! Layer 5, cleanup. What is opened and must be closed: `AsyncResource`, and `with`.
//!
//! Owns the place that an opened value comes back to when its user is done with it, however that ends, and the
//! close that follows. Called by users.
#![forbid(unsafe_code)]

use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::caught::caught;
use super::stack::ExitStack;
use crate::shim::{Arc, Mutex};

/// Something to be opened, used and closed, where opening and closing wait. Python's asynchronous context manager:
/// [`open`](Self::open) is `__aenter__`, [`close`](Self::close) is `__aexit__`, and [`with`] is `async with`.
///
/// It is implemented by what knows how to open: an address, a path, a pool. `Value` is what it opens.
///
/// # Examples
/// ```
/// use std::io;
/// use filch::AsyncResource;
///
/// struct Connect { to: String }
/// struct Connection { to: String }
///
/// impl AsyncResource for Connect {
///     type Value = Connection;
///     type Error = io::Error;
///
///     async fn open(self) -> io::Result<Connection> {
///         Ok(Connection { to: self.to })
///     }
///
///     async fn close(connection: Connection) -> io::Result<()> {
///         println!("goodbye, {}", connection.to);
///         Ok(())
///     }
/// }
///
/// # filch::run(async {
/// let greeting = filch::with(Connect { to: "ada".into() }, async |connection| format!("hello, {}", connection.to));
/// assert_eq!(greeting.await.unwrap(), "hello, ada");
/// # });
/// ```
pub trait AsyncResource {
    /// What is opened.
    type Value: Send + 'static;
    /// Why it could not be opened, or not be closed in order.
    type Error;

    /// Opens it. What this future has done half when it is dropped, its own destructors undo.
    fn open(self) -> impl Future<Output = Result<Self::Value, Self::Error>> + Send;

    /// Closes it. Called once for each value that was opened.
    fn close(value: Self::Value) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static;
}

/// Opens `resource`, runs `body` with it, and closes it, whatever `body` comes to. Python's `async with`.
///
/// The close is waited for when `body` has returned, with a value or with an error of its own, and when it has
/// panicked; the panic goes on afterwards. When the future of this is dropped half way, the value is closed by the
/// runtime, in a task that a [shutdown](crate::Runtime::shutdown) waits for: see [the module](crate::cleanup).
///
/// `body` gets the value by an owned guard, so that the whole may be `Send`. A guard that it hands out is closed by
/// the runtime once that is dropped.
///
/// # Examples
/// See [`AsyncResource`].
///
/// # Errors
/// That of the open, and then `body` is not run; or that of the close, and then the output of `body` is dropped.
/// Errors of `body` are a part of its output.
///
/// # Panics
/// When `body` does, after the close. When the close does.
///
/// # Cancel safety
/// **Not cancel safe:** `body` is dropped. The value is closed.
#[track_caller]
pub fn with<S, B, F>(resource: S, body: B) -> impl Future<Output = Result<F::Output, S::Error>>
where
    S: AsyncResource,
    B: FnOnce(Opened<S>) -> F,
    F: Future,
{
    with_at(resource, body, Location::caller())
}

async fn with_at<S, B, F>(
    resource: S,
    body: B,
    location: &'static Location<'static>,
) -> Result<F::Output, S::Error>
where
    S: AsyncResource,
    B: FnOnce(Opened<S>) -> F,
    F: Future,
{
    // Dropped last: what it has by then goes to the runtime.
    let home = Home::<S>::new(location);
    let value = resource.open().await?;
    let opened = Opened { value: Some(value), home: home.shared.clone() };
    let ended = match catch_unwind(AssertUnwindSafe(|| body(opened))) {
        Ok(body) => caught(body).await,
        Err(payload) => Err(payload),
    };
    let closed = home.close().await;
    match ended {
        Ok(output) => closed.map(|()| output),
        Err(payload) => resume_unwind(payload),
    }
}

/// An opened value, lent by [`with`].
pub struct Opened<S: AsyncResource> {
    /// `None` only in the destructor.
    value: Option<S::Value>,
    home: Arc<Shared<S>>,
}

impl<S: AsyncResource> Deref for Opened<S> {
    type Target = S::Value;

    fn deref(&self) -> &S::Value {
        self.value.as_ref().expect("it is there until the drop")
    }
}

impl<S: AsyncResource> DerefMut for Opened<S> {
    fn deref_mut(&mut self) -> &mut S::Value {
        self.value.as_mut().expect("it is there until the drop")
    }
}

impl<S: AsyncResource> Drop for Opened<S> {
    fn drop(&mut self) {
        let value = self.value.take();
        let late = {
            let mut place = self.home.place.lock();
            match *place {
                Place::Waits => {
                    *place = Place::Back(value.expect("it is there until the drop"));
                    None
                }
                _ => value,
            }
        };
        late.into_iter().for_each(|value| self.home.hand_over(value));
    }
}

impl<S: AsyncResource<Value: fmt::Debug>> fmt::Debug for Opened<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Opened").field(&**self).finish()
    }
}

/// Where the value is.
enum Place<V> {
    /// With its user, or not opened yet.
    Waits,
    Back(V),
    /// It was taken out to be closed, or nobody waits for it any more.
    Left,
}

/// What `with` and the guard share.
struct Shared<S: AsyncResource> {
    place: Mutex<Place<S::Value>>,
    /// Empty; made where the runtime is known.
    stack: Mutex<ExitStack>,
}

impl<S: AsyncResource> Shared<S> {
    /// Closes `value` in the runtime.
    fn hand_over(&self, value: S::Value) {
        self.hand_over_close(Unseen {
            value: Some(value),
            start: S::close,
            close: None,
            name: type_name::<S>(),
        });
    }

    fn hand_over_close<F>(&self, unseen: Unseen<S::Value, F>)
    where
        F: Future<Output = Result<(), S::Error>> + Send + 'static,
    {
        let mut stack = self.stack.lock().take();
        stack.push_work(Box::pin(unseen));
    }
}

/// A close for nobody who would look at an error.
struct Unseen<V, F> {
    /// What is to be closed, until the first poll: `start` is user code.
    value: Option<V>,
    start: fn(V) -> F,
    close: Option<Pin<Box<F>>>,
    name: &'static str,
}

// The close is pinned in its box.
impl<V, F> Unpin for Unseen<V, F> {}

impl<V, E, F: Future<Output = Result<(), E>>> Future for Unseen<V, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(value) = self.value.take() {
            self.close = Some(Box::pin((self.start)(value)));
        }
        let close = self.close.as_mut().expect("there is a value or its close");
        close.as_mut().poll(cx).map(|closed| {
            // The error need not be `Debug`, so all that can be said is that there was one.
            if closed.is_err() {
                eprintln!("filch: the close of a {} that was left behind failed", self.name);
            }
        })
    }
}

/// The end of the value's way, kept by `with`.
struct Home<S: AsyncResource> {
    shared: Arc<Shared<S>>,
}

impl<S: AsyncResource> Home<S> {
    fn new(location: &'static Location<'static>) -> Home<S> {
        let (place, stack) = (Mutex::new(Place::Waits), Mutex::new(ExitStack::at(location)));
        Home { shared: Arc::new(Shared { place, stack }) }
    }

    fn take(&self) -> Option<S::Value> {
        match std::mem::replace(&mut *self.shared.place.lock(), Place::Left) {
            Place::Back(value) => Some(value),
            Place::Waits | Place::Left => None,
        }
    }

    /// Closes the value, if it is back. When this future is dropped, the close goes on in the runtime.
    async fn close(&self) -> Result<(), S::Error> {
        let Some(value) = self.take() else { return Ok(()) };
        closing(&self.shared, S::close, value).await
    }
}

impl<S: AsyncResource> Drop for Home<S> {
    fn drop(&mut self) {
        if let Some(value) = self.take() {
            self.shared.hand_over(value);
        }
    }
}

/// Closes `value` by `start`.
fn closing<S, F>(shared: &Shared<S>, start: fn(S::Value) -> F, value: S::Value) -> Closing<'_, S, F>
where
    S: AsyncResource,
    F: Future<Output = Result<(), S::Error>> + Send + 'static,
{
    Closing { shared, start, future: Some(Box::pin(start(value))) }
}

/// The close under way. Goes on in the runtime if it is dropped.
struct Closing<'a, S: AsyncResource, F: Future<Output = Result<(), S::Error>> + Send + 'static> {
    shared: &'a Shared<S>,
    start: fn(S::Value) -> F,
    future: Option<Pin<Box<F>>>,
}

impl<S, F> Future for Closing<'_, S, F>
where
    S: AsyncResource,
    F: Future<Output = Result<(), S::Error>> + Send + 'static,
{
    type Output = Result<(), S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Taken out: one that panics is not polled again.
        let mut future = self.future.take().expect("it is not done");
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            self.future = Some(future);
        }
        polled
    }
}

impl<S, F> Drop for Closing<'_, S, F>
where
    S: AsyncResource,
    F: Future<Output = Result<(), S::Error>> + Send + 'static,
{
    fn drop(&mut self) {
        if let Some(close) = self.future.take() {
            let name = type_name::<S>();
            self.shared.hand_over_close(Unseen { value: None, start: self.start, close: Some(close), name });
        }
    }
}
