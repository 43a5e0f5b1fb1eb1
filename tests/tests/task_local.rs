//! The promises of `task_local!`: where a value is seen, where it is not, and what a spawned task inherits.
#![allow(missing_docs)]

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

filch::task_local! {
    static PLAIN: u32;
    static TEXT: String;
    #[inherit]
    static REQUEST: Arc<str>;
    #[inherit]
    static DEPTH: u32;
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Pending once, then ready.
fn pause() -> impl Future<Output = ()> {
    let mut polled = false;
    poll_fn(move |_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending })
}

#[test]
fn a_value_is_seen_while_its_future_is_polled_and_not_between() {
    let mut scope = pin!(PLAIN.scope(1, async {
        assert_eq!(PLAIN.get(), 1);
        pause().await;
        assert_eq!(PLAIN.get(), 1);
    }));
    assert!(poll_once(scope.as_mut()).is_pending());
    assert!(PLAIN.try_get().is_err());
    assert!(poll_once(scope.as_mut()).is_ready());
    assert!(PLAIN.try_get().is_err());
}

#[test]
fn scopes_nest_and_two_futures_keep_their_own() {
    let inner = async {
        assert_eq!(TEXT.get(), "outer");
        PLAIN.scope(2, async { assert_eq!(PLAIN.get(), 2) }).await;
        TEXT.sync_scope("inner".into(), || assert_eq!(TEXT.get(), "inner"));
        pause().await;
        TEXT.with(|text| assert_eq!(text, "outer"));
    };
    let mut first = pin!(TEXT.scope("outer".into(), inner));
    let mut second = pin!(TEXT.scope("second".into(), async {
        pause().await;
        assert_eq!(TEXT.get(), "second");
    }));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    assert!(poll_once(first).is_ready());
    assert!(poll_once(second).is_ready());
}

#[test]
fn a_panic_in_a_scope_leaves_nothing_behind() {
    let result =
        std::panic::catch_unwind(|| DEPTH.sync_scope(1, || PLAIN.sync_scope(1, || panic!("on purpose"))));
    assert!(result.is_err());
    assert!(PLAIN.try_get().is_err());
    assert!(DEPTH.try_get().is_err());
}

#[test]
fn the_destructor_of_the_future_still_sees_the_value() {
    struct Reads(Arc<Mutex<Vec<u32>>>);
    impl Drop for Reads {
        fn drop(&mut self) {
            self.0.lock().unwrap().extend([PLAIN.get(), DEPTH.get()]);
        }
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let reads = Reads(seen.clone());
    drop(DEPTH.scope(
        4,
        PLAIN.scope(3, async move {
            let _reads = reads;
            pause().await;
        }),
    ));
    assert_eq!(*seen.lock().unwrap(), [3, 4]);
}

#[test]
fn an_unset_value_says_how_to_set_it() {
    let error = PLAIN.try_with(|n| *n).unwrap_err();
    assert!(error.to_string().contains("KEY.scope(value, future)"), "{error}");
}

#[test]
#[should_panic = "entered inside `with` of the same one"]
fn a_scope_inside_a_reader_of_the_same_key_is_a_panic_and_not_a_wrong_value() {
    PLAIN.sync_scope(1, || PLAIN.with(|_| PLAIN.sync_scope(2, || {})));
}

#[test]
fn an_inherited_key_may_be_set_inside_its_own_reader() {
    DEPTH.sync_scope(1, || DEPTH.with(|one| DEPTH.sync_scope(2, || assert_eq!((*one, DEPTH.get()), (1, 2)))));
}

// The handle leaves the scope: that is the point.
#[allow(clippy::async_yields_async)]
#[filch::test]
async fn spawned_tasks_see_inherited_keys_and_no_others() {
    let request: Arc<str> = "r-1".into();
    let scope = PLAIN.scope(
        1,
        REQUEST.scope(request, async {
            filch::spawn(async {
                assert!(PLAIN.try_get().is_err());
                assert_eq!(&*REQUEST.get(), "r-1");
                // Passed on in turn, with what was added on the way.
                let child =
                    DEPTH.scope(2, async { filch::spawn(async { (REQUEST.get(), DEPTH.get()) }) }).await;
                filch::yield_now().await;
                assert!(DEPTH.try_get().is_err());
                child.await.unwrap()
            })
            .await
            .unwrap()
        }),
    );
    let (request, depth) = scope.await;
    assert_eq!((&*request, depth), ("r-1", 2));
    assert!(filch::spawn(async { REQUEST.try_get() }).await.unwrap().is_err());
}
