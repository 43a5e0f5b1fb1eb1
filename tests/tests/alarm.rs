//! The promise: a signal that interrupts every thread a thousand times a second changes nothing. All tests of sockets,
//! again, under such an alarm; `tcp.rs` and the others say what they promise.
#![allow(missing_docs)]

#[path = "async_fd.rs"]
mod async_fd;
#[path = "io_in_runtime.rs"]
mod io_in_runtime;
#[path = "tcp.rs"]
mod tcp;
#[path = "udp.rs"]
mod udp;
#[path = "unix.rs"]
mod unix;

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use filch_tests::{until, watched, workers};

static RANG: AtomicUsize = AtomicUsize::new(0);

extern "C" fn ring(_: libc::c_int) {
    RANG.fetch_add(1, SeqCst);
}

/// Runs before `main`, so that there is no test without the alarm.
extern "C" fn set() {
    let handler: extern "C" fn(libc::c_int) = ring;
    let pause = libc::timeval { tv_sec: 0, tv_usec: 1_000 };
    // SAFETY: the handler only adds to an atomic; without SA_RESTART it interrupts what it may.
    let answers = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        let timer = libc::itimerval { it_interval: pause, it_value: pause };
        (
            libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()),
            libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()),
        )
    };
    assert_eq!(answers, (0, 0));
}

// SAFETY: the linker's list of functions to call at the start has this type, and the function needs nothing of Rust's.
#[used]
#[unsafe(link_section = ".init_array")]
static SET: extern "C" fn() = set;

#[test]
fn ps7_the_alarm_rings_during_the_tests_of_sockets() {
    let rang = RANG.load(SeqCst);
    watched(move || until(|| RANG.load(SeqCst) >= rang + 20));
    let names: Vec<_> = filch_tests::catalogue::tests();
    for file in ["async_fd", "io_in_runtime", "tcp", "udp", "unix"] {
        assert!(names.iter().any(|test| test.file == format!("tests/tests/{file}.rs")), "{file}");
    }
}

#[test]
fn tk9_wakes_of_a_thread_that_signals_interrupt_all_count() {
    watched(|| {
        let runtime = workers(2);
        let (waker, polls) = (Arc::new(Mutex::new(None::<Waker>)), Arc::new(AtomicUsize::new(0)));
        let (kept, counted) = (waker.clone(), polls.clone());
        let task = runtime.spawn(poll_fn(move |cx| {
            *kept.lock().unwrap() = Some(cx.waker().clone());
            if counted.fetch_add(1, SeqCst) == 5_000 { Poll::Ready(()) } else { Poll::Pending }
        }));
        let rang = RANG.load(SeqCst);
        while !task.is_finished() {
            if let Some(waker) = waker.lock().unwrap().take() {
                waker.wake_by_ref();
                waker.wake();
            }
        }
        task.join_blocking().unwrap();
        assert_eq!(polls.load(SeqCst), 5_001);
        until(|| RANG.load(SeqCst) > rang);
    });
}
