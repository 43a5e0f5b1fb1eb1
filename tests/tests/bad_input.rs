//! The promise: what makes no sense, or cannot be had, is an error that says what to do. Never a panic, never
//! half a runtime.

use std::io::ErrorKind;

use filch::{Builder, WORKERS_MAX};
use filch_tests::{Child, child_case, threads_named, until, watched, workers};

#[track_caller]
fn is_refused(builder: Builder, words: &[&str]) {
    let error = builder.build().map(drop).expect_err("it makes no sense");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text} should say {words:?}");
}

#[test]
fn ov2_no_workers() {
    is_refused(Builder::new().workers(0), &["0 workers", "at least 1", "single_thread()"]);
    is_refused(Builder::single_thread().workers(0), &["0 workers"]);
    is_refused(Builder::new().paused_clock(1).workers(0), &["0 workers"]);
}

#[test]
fn ov2_too_many_workers() {
    let most = WORKERS_MAX.to_string();
    for count in [WORKERS_MAX + 1, 1_000_000, usize::MAX] {
        is_refused(Builder::new().workers(count), &[&count.to_string(), &most, "processor"]);
    }
}

#[test]
fn ov2_names_that_no_thread_can_have() {
    is_refused(Builder::new().name(""), &["\"\"", "at least one character"]);
    is_refused(Builder::new().name("a\0b"), &["\"a\\0b\"", "no NUL"]);
    is_refused(Builder::single_thread().name("\0"), &["no NUL"]);
}

#[test]
fn ov2_names_of_any_length_and_script_will_do() {
    watched(|| {
        for name in ["x".repeat(10_000), "ё".to_owned(), "a b\n".to_owned()] {
            let runtime = Builder::new().workers(1).name(name).build().unwrap();
            assert_eq!(runtime.spawn(async { 1 }).join_blocking().unwrap(), 1);
        }
    });
}

#[test]
fn several_workers_where_there_is_one_thread() {
    is_refused(
        Builder::new().workers(2).paused_clock(1),
        &["2 workers", "paused clock", "leave workers() out"],
    );
    is_refused(Builder::new().paused_clock(1).workers(2), &["2 workers", "paused clock"]);
    is_refused(Builder::single_thread().workers(2), &["2 workers", "single_thread()", "Builder::new()"]);
}

#[test]
fn one_worker_where_there_is_one_thread_is_fine() {
    watched(|| {
        for builder in [Builder::single_thread().workers(1), Builder::new().workers(1).paused_clock(1)] {
            assert_eq!(builder.build().unwrap().block_on(async { 1 }), 1);
        }
    });
}

#[test]
fn ov2_options_out_of_range_are_brought_into_it() {
    watched(|| {
        let runtime = Builder::new().workers(1).blocking_threads(0).build().unwrap();
        assert_eq!(runtime.spawn_blocking(|| 1).join_blocking().unwrap(), 1);
        let runtime = Builder::new().workers(1).blocking_threads(usize::MAX).build().unwrap();
        assert_eq!(runtime.spawn_blocking(|| 1).join_blocking().unwrap(), 1);
        for limit in [std::time::Duration::ZERO, std::time::Duration::MAX] {
            let runtime = Builder::new().workers(1).on_slow_poll(limit, |_| ()).build().unwrap();
            assert_eq!(runtime.spawn(async { 1 }).join_blocking().unwrap(), 1);
        }
    });
}

#[test]
fn as_many_workers_as_there_may_be() {
    watched(|| {
        let runtime = workers(WORKERS_MAX);
        assert_eq!(runtime.spawn(async { 1 }).join_blocking().unwrap(), 1);
    });
}

/// More address space than there is: no thread that asks for such a stack can be started. Read by the standard library.
const NO_ROOM: &str = "281474976710656";

#[test]
fn no_thread_for_a_worker() {
    if child_case().is_some() {
        for builder in [Builder::new().workers(1), Builder::new().workers(8)] {
            let error = builder.name("unborn").build().map(drop).expect_err("no thread can be started");
            let text = error.to_string();
            assert!(text.starts_with("cannot start a worker: "), "{text}");
            assert!(text.contains("ask for fewer workers, or raise the limit on threads"), "{text}");
        }
        assert_eq!(threads_named("unborn"), 0);
        // One that needs none works.
        let runtime = Builder::single_thread().build().unwrap();
        assert_eq!(runtime.block_on(async { filch::spawn(async { 1 }).await.unwrap() }), 1);
        let error = runtime.block_on(async { filch::spawn_blocking(|| ()).await.unwrap_err() });
        assert!(error.is_cancelled() && error.to_string().contains("no thread could be started"), "{error}");
        return;
    }
    watched(|| drop(Child::new("no_thread_for_a_worker", "none").env("RUST_MIN_STACK", NO_ROOM).succeeds()));
}

#[test]
fn no_thread_for_the_last_of_many_workers_ends_the_first() {
    if child_case().is_some() {
        // Each stack takes 64 MiB of the 2 GiB that there are.
        let error =
            Builder::new().workers(200).name("halfborn").build().map(drop).expect_err("no room for all");
        assert!(error.to_string().contains("cannot start a worker"), "{error}");
        until(|| threads_named("halfborn") == 0);
        assert_eq!(workers(2).spawn(async { 1 }).join_blocking().unwrap(), 1);
        return;
    }
    watched(|| {
        let child = Child::new("no_thread_for_the_last_of_many_workers_ends_the_first", "half");
        drop(child.ulimit("-v 2000000").env("RUST_MIN_STACK", (64 << 20).to_string()).succeeds());
    });
}

#[test]
fn no_descriptor_for_the_event_queue() {
    if child_case().is_some() {
        for builder in [Builder::new().workers(2), Builder::single_thread(), Builder::new().paused_clock(1)] {
            let mut held = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                held.push(file);
            }
            let error = builder.name("no-fd").build().map(drop).expect_err("no descriptor is left");
            let text = error.to_string();
            assert!(text.starts_with("cannot open the runtime's event queue: "), "{text}");
            assert!(text.contains("close some descriptors"), "{text}");
            // With some, but not enough, it is the same.
            held.pop();
            assert!(Builder::new().workers(1).name("no-fd").build().is_err());
        }
        assert_eq!(threads_named("no-fd"), 0);
        return assert_eq!(workers(1).spawn(async { 1 }).join_blocking().unwrap(), 1);
    }
    watched(|| drop(Child::new("no_descriptor_for_the_event_queue", "none").ulimit("-n 12").succeeds()));
}

#[test]
fn run_says_why_it_cannot() {
    if child_case().is_some() {
        let text = filch_tests::panics(|| filch::run(async {}));
        return assert!(text.contains("filch::run: cannot start a worker"), "{text}");
    }
    watched(|| drop(Child::new("run_says_why_it_cannot", "run").env("RUST_MIN_STACK", NO_ROOM).succeeds()));
}

#[test]
fn no_thread_for_a_substitute_is_said_and_the_rest_goes_on_when_the_poll_ends() {
    const NAME: &str = "no_thread_for_a_substitute_is_said_and_the_rest_goes_on_when_the_poll_ends";
    if child_case().is_some() {
        // Room for this thread, the worker and the monitor, and no more.
        let runtime = Builder::new().workers(1).name("alone").build().unwrap();
        let (feed, fed) = std::sync::mpsc::channel::<()>();
        let stuck = runtime.spawn(async move { fed.recv().unwrap() });
        until(|| runtime.metrics().rescues > 0);
        let waits = runtime.spawn(async { 1 });
        feed.send(()).unwrap();
        stuck.join_blocking().unwrap();
        return assert_eq!(waits.join_blocking().unwrap(), 1);
    }
    watched(|| {
        let child =
            Child::new(NAME, "alone").ulimit("-v 3700000").env("RUST_MIN_STACK", (1 << 30).to_string());
        let said = child.succeeds();
        assert!(said.contains("a worker of \"alone\" is stuck in a task"), "{said}");
        assert!(said.contains("move the blocking call into spawn_blocking"), "{said}");
    });
}
