//! The promise: what needs a runtime says so, and how to get one, instead of hanging or failing in the depths.

use std::future::{Future, pending};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use filch::Handle;
use filch_tests::{child_case, panics, watched, workers};

const SECOND: Duration = Duration::from_secs(1);

/// Polls once, with a waker that does nothing.
fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[track_caller]
fn is_clear(text: &str) {
    assert!(text.contains("no filch runtime on this thread"), "{text}");
    assert!(text.contains("filch::run") && text.contains("Handle::enter"), "it says what to do: {text}");
}

#[track_caller]
fn is_refused<T>(polled: Poll<io::Result<T>>) {
    match polled {
        Poll::Ready(Err(error)) => is_clear(&error.to_string()),
        Poll::Ready(Ok(_)) => panic!("it worked"),
        Poll::Pending => panic!("it waits for a runtime that is not there"),
    }
}

#[test]
fn spawning() {
    is_clear(&panics(|| drop(filch::spawn(async {}))));
    is_clear(&panics(|| drop(filch::spawn_blocking(|| ()))));
    is_clear(&panics(|| drop(filch::task::Builder::new().spawn(async {}))));
    is_clear(&panics(|| drop(filch::task::Builder::new().spawn_blocking(|| ()))));
}

#[test]
fn spawning_local_tasks() {
    let text = panics(|| drop(filch::spawn_local(async {})));
    assert!(text.contains("LocalSet::run_until") && text.contains("Builder::single_thread()"), "{text}");
    let text = panics(|| drop(filch::task::Builder::new().spawn_local(async {})));
    assert!(text.contains("LocalSet::run_until"), "{text}");
}

#[test]
fn blocking_on_a_future() {
    is_clear(&panics(|| filch::block_on(async {})));
}

#[test]
fn asking_for_the_current_runtime() {
    is_clear(&panics(|| drop(Handle::current())));
    assert!(Handle::try_current().is_none());
}

#[test]
fn timers() {
    let text = panics(|| assert!(poll(filch::time::sleep(SECOND)).is_ready()));
    is_clear(&text);
    assert!(text.contains("tests/no_runtime.rs"), "it says which sleep: {text}");
    is_clear(&panics(|| assert!(poll(filch::time::timeout(SECOND, pending::<()>())).is_ready())));
    is_clear(&panics(|| assert!(poll(filch::wait_for(pending::<()>(), SECOND)).is_ready())));
    is_clear(&panics(|| {
        let mut ticks = filch::time::interval_at(filch::time::Instant::now() + SECOND, SECOND);
        let _ = poll(ticks.tick());
    }));
    is_clear(&panics(|| assert!(poll(filch::time::advance(SECOND)).is_ready())));
}

#[test]
fn making_timers_and_reading_the_clock_needs_none() {
    let sleep = filch::time::sleep(SECOND);
    assert!(!sleep.is_elapsed());
    assert!(sleep.deadline() > filch::time::Instant::now());
}

#[test]
fn sockets() {
    is_refused(poll(filch::net::TcpListener::bind("127.0.0.1:0")));
    is_refused(poll(filch::net::TcpStream::connect("127.0.0.1:9")));
    is_refused(poll(filch::net::UdpSocket::bind("127.0.0.1:0")));
    is_refused(Poll::Ready(filch::net::UnixDatagram::pair()));
    is_refused(Poll::Ready(filch::net::UnixStream::pair()));
    let std = std::os::unix::net::UnixStream::pair().unwrap().0;
    std.set_nonblocking(true).unwrap();
    is_refused(Poll::Ready(filch::AsyncFd::new(std)));
    let path = std::env::temp_dir().join(format!("filch-no-runtime-{}", std::process::id()));
    is_refused(Poll::Ready(filch::net::UnixListener::bind(&path)));
    let _ = std::fs::remove_file(path);
}

#[test]
fn addresses_that_need_no_lookup_need_none() {
    let Poll::Ready(Ok(mut found)) = poll(filch::net::lookup_host("127.0.0.1:80")) else {
        panic!("not at once")
    };
    assert_eq!(found.next(), Some("127.0.0.1:80".parse().unwrap()));
}

#[test]
fn looking_up_a_name_is_refused_by_an_error() {
    // Documented as an error, like those of the sockets.
    match std::panic::catch_unwind(|| poll(filch::net::lookup_host("localhost:80")).map_ok(drop)) {
        Ok(polled) => is_refused(polled),
        Err(payload) => panic!("a panic, not an error: {}", filch_tests::panic_text(&*payload)),
    }
}

#[test]
fn primitives_need_none() {
    let semaphore = filch::sync::Semaphore::new(1);
    let permit = poll(semaphore.acquire());
    assert!(matches!(permit, Poll::Ready(Ok(_))));
    assert!(matches!(poll(filch::yield_now()), Poll::Pending));
}

#[test]
fn a_handle_is_polled_without_one() {
    watched(|| {
        let runtime = workers(1);
        let handle = runtime.spawn(async { 3 });
        assert_eq!(futures_lite::future::block_on(handle).unwrap(), 3);
    });
}

#[test]
fn on_a_thread_that_left_the_runtime() {
    watched(|| {
        assert!(child_case().is_none());
        let runtime = workers(1);
        drop(runtime.handle().enter());
        is_clear(&panics(|| drop(filch::spawn(async {}))));
        runtime.block_on(async {});
        is_clear(&panics(|| drop(filch::spawn(async {}))));
        let _ = panics(|| runtime.block_on(async { panic!("out") }));
        is_clear(&panics(|| drop(filch::spawn(async {}))));
        let in_std_thread = runtime.block_on(async {
            std::thread::spawn(|| panics(|| drop(filch::spawn(async {})))).join().unwrap()
        });
        is_clear(&in_std_thread);
    });
}
