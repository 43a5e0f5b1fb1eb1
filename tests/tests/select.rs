//! The promises of `select!`: who is polled, who is dropped and when, what disables a branch, what `keep` keeps.
//!
//! None of this needs a runtime: the futures are made by hand and polled on the spot.
#![allow(missing_docs)]

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_lite::future::block_on;

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn add(&self, entry: impl Into<String>) {
        self.0.borrow_mut().push(entry.into());
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// Ready at its `left`-th poll; logs polls and the drop.
struct Steps {
    name: &'static str,
    left: u32,
    log: Log,
}

impl Future for Steps {
    type Output = &'static str;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<&'static str> {
        self.log.add(format!("poll {}", self.name));
        self.left -= 1;
        if self.left == 0 {
            return Poll::Ready(self.name);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.log.add(format!("drop {}", self.name));
    }
}

fn steps(log: &Log, name: &'static str, left: u32) -> Steps {
    Steps { name, left, log: log.clone() }
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn biased_polls_in_order_and_drops_losers_before_the_handler() {
    let log = Log::default();
    let winner = block_on(async {
        filch::select! {
            biased;
            name = steps(&log, "a", 3) => { log.add("handler a"); name }
            name = steps(&log, "b", 2) => { log.add("handler b"); name }
            name = steps(&log, "c", 9) => { log.add("handler c"); name }
        }
    });
    assert_eq!(winner, "b");
    let expected =
        ["poll a", "poll b", "poll c", "poll a", "poll b", "drop b", "drop a", "drop c", "handler b"];
    assert_eq!(log.take(), expected);
}

#[test]
fn a_losing_branch_may_be_borrowed_again_in_the_handler() {
    let mut text = String::from("x");
    block_on(async {
        filch::select! {
            biased;
            () = ready(()) => text.push('y'),
            () = async { text.push('!'); pending::<()>().await } => {}
        }
    });
    assert_eq!(text, "xy");
}

#[test]
fn every_branch_wins_sometimes() {
    let mut wins = [0_u32; 4];
    for _ in 0..400 {
        let winner = block_on(async {
            filch::select! {
                _ = ready(()) => 0,
                _ = ready(()) => 1,
                _ = ready(()) => 2,
                _ = ready(()) => 3,
            }
        });
        wins[winner] += 1;
    }
    assert!(wins.iter().all(|&n| n > 0), "{wins:?}");
}

#[test]
fn whatever_the_start_each_branch_is_polled_once_a_turn() {
    for _ in 0..50 {
        let log = Log::default();
        let polls = Cell::new(0);
        let mut select = pin!(async {
            filch::select! {
                _ = steps(&log, "a", 100) => {}
                _ = poll_fn(|_| { polls.set(polls.get() + 1); Poll::<()>::Pending }) => {}
                _ = steps(&log, "c", 100) => {}
            }
        });
        assert!(poll_once(select.as_mut()).is_pending());
        let mut entries = log.take();
        entries.sort();
        assert_eq!(entries, ["poll a", "poll c"]);
        assert_eq!(polls.get(), 1);
    }
}

#[test]
fn a_pattern_that_does_not_fit_disables_its_branch_and_drops_its_future() {
    let log = Log::default();
    let value = block_on(async {
        filch::select! {
            biased;
            Some(n) = async { log.add("none"); None::<u32> } => n,
            Ok::<u32, u32>(n) = async { Err(1) } => n,
            name = steps(&log, "slow", 2) => { assert_eq!(name, "slow"); 5 }
        }
    });
    assert_eq!(value, 5);
    assert_eq!(log.take(), ["none", "poll slow", "poll slow", "drop slow"]);
}

#[test]
fn patterns_may_bind_by_reference_and_mutably_and_move() {
    let text = block_on(async {
        filch::select! {
            biased;
            Some(mut text) = ready(Some(String::from("a"))) => { text.push('b'); text }
            Ok(ref text) | Err(ref text) = pending::<Result<String, String>>() => text.clone(),
            ref mut whole = pending::<String>() => std::mem::take(whole),
        }
    });
    assert_eq!(text, "ab");
}

#[test]
fn else_runs_when_all_are_disabled() {
    let value = block_on(async {
        filch::select! {
            Some(n) = ready(None::<u32>) => n,
            n = ready(1) if false => n,
            else => 9,
        }
    });
    assert_eq!(value, 9);
    assert_eq!(
        block_on(async {
            filch::select! { else => 3 }
        }),
        3
    );
}

#[test]
#[should_panic = "every branch of this `select!` is disabled, and it has no `else`"]
fn all_disabled_without_else_is_a_panic() {
    block_on(async {
        filch::select! {
            Some(()) = ready(None) => {}
        }
    });
}

#[test]
fn conditions_come_first_and_a_future_that_is_disabled_is_not_made() {
    let log = Log::default();
    let condition = |name: &str, value: bool| {
        log.add(format!("if {name}"));
        value
    };
    let make = |name: &'static str| {
        log.add(format!("make {name}"));
        steps(&log, name, 1)
    };
    let winner = block_on(async {
        filch::select! {
            biased;
            name = make("a") if condition("a", false) => name,
            name = make("b"), if condition("b", true) => name,
            name = make("c") => name,
        }
    });
    assert_eq!(winner, "b");
    assert_eq!(log.take(), ["if a", "if b", "make b", "make c", "poll b", "drop b", "drop c"]);
}

#[test]
fn a_condition_may_follow_a_long_expression() {
    let yes = true;
    let value = block_on(async {
        filch::select! {
            n = async { [1, 2, 3].iter().copied().map(|n| n * 2).filter(|n| *n > 2).sum::<i32>() } if yes => n,
            n = std::future::ready::<i32>(1 + 2 * 3 - 4).into_future() if !yes => n,
        }
    });
    assert_eq!(value, 10);
}

#[test]
fn keep_leaves_the_pending_future_to_its_owner() {
    let log = Log::default();
    let mut long = steps(&log, "long", 3);
    for _ in 0..2 {
        let value = block_on(async {
            filch::select! {
                biased;
                _ = keep long => 0,
                n = ready(1) => n,
            }
        });
        assert_eq!(value, 1);
    }
    assert_eq!(log.take(), ["poll long", "poll long"]);
    assert_eq!(block_on(long), "long");
    assert_eq!(log.take(), ["poll long", "drop long"]);
}

#[test]
fn keep_takes_a_pinned_place_a_field_and_a_condition() {
    struct Holder<'a> {
        job: Pin<&'a mut (dyn Future<Output = u32> + 'a)>,
    }
    let job = pin!(async {
        futures_lite::future::yield_now().await;
        7
    });
    let mut holder = Holder { job };
    let mut turns = 0;
    let value = block_on(async {
        loop {
            turns += 1;
            filch::select! {
                biased;
                n = keep holder.job if turns < 100 => break n,
                () = ready(()) => {}
            }
        }
    });
    assert_eq!((value, turns), (7, 2));
}

#[test]
fn cancelled_halfway_drops_every_future_once() {
    let log = Log::default();
    {
        let mut select = pin!(async {
            filch::select! {
                biased;
                _ = steps(&log, "a", 9) => {}
                _ = steps(&log, "b", 9) => {}
            }
        });
        assert!(poll_once(select.as_mut()).is_pending());
    }
    assert_eq!(log.take(), ["poll a", "poll b", "drop a", "drop b"]);
}

#[test]
fn handlers_may_await_return_break_and_use_question_mark() {
    async fn run(input: Result<u32, String>) -> Result<u32, String> {
        let mut input = Some(input);
        loop {
            filch::select! {
                biased;
                value = async { input.take() } if input.is_some() => {
                    let value = value.ok_or("taken")??;
                    if value == 0 {
                        continue;
                    }
                    return Ok(ready(value).await + 1);
                }
                else => break Err("ended".into()),
            }
        }
    }
    assert_eq!(block_on(run(Ok(1))), Ok(2));
    assert_eq!(block_on(run(Ok(0))), Err("ended".into()));
    assert_eq!(block_on(run(Err("bad".into()))), Err("bad".into()));
}

#[test]
fn temporaries_of_a_future_live_as_long_as_it_and_no_longer() {
    struct Guard<'a>(&'a Log);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.add("drop guard");
        }
    }
    impl Guard<'_> {
        async fn work(&self) -> u32 {
            futures_lite::future::yield_now().await;
            1
        }
    }
    let log = Log::default();
    let value = block_on(async {
        filch::select! {
            n = Guard(&log).work() => { log.add("handler"); n }
        }
    });
    assert_eq!(value, 1);
    assert_eq!(log.take(), ["drop guard", "handler"]);
}

#[test]
fn thirty_two_branches_fit() {
    let value = block_on(async {
        filch::select! {
            n = pending() => n, n = pending() => n, n = pending() => n, n = pending() => n,
            n = pending() => n, n = pending() => n, n = pending() => n, n = pending() => n,
            n = pending() => n, n = pending() => n, n = pending() => n, n = pending() => n,
            n = pending() => n, n = pending() => n, n = pending() => n, n = pending() => n,
            n = pending() => n, n = pending() => n, n = pending() => n, n = pending() => n,
            n = pending() => n, n = pending() => n, n = pending() => n, n = pending() => n,
            n = pending() => n, n = pending() => n, n = pending() => n, n = pending() => n,
            n = pending() => n, n = pending() => n, n = pending() if true => n, n = ready(32) if true => n,
        }
    });
    assert_eq!(value, 32);
}

#[test]
fn a_select_of_send_futures_is_send() {
    fn check(_: impl Send) {}
    check(async {
        filch::select! {
            n = ready(1) => n,
            Some(n) = pending::<Option<i32>>() => n,
        }
    });
}
