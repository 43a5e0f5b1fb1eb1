//! The promises of `gather`, its kin and its macros: order, who is polled and how often, borrowing, panics,
//! drops.
#![allow(missing_docs)]

#[path = "gather/gate.rs"]
mod gate;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use filch::testing::{Evil, Moment, cancel_at_every_await};
use filch::time::{Instant, sleep};
use filch_tests::{Drops, on_drop, watched};

use gate::{Wakes, drops, everywhere, on_tokio, poll, polls, posts, turn};

#[filch::test(paused)]
async fn ga1_outputs_come_in_the_order_of_the_arguments_after_the_longest() {
    let start = Instant::now();
    let outputs = filch::gather([30, 10, 20].map(|n| async move {
        sleep(Duration::from_secs(n)).await;
        n
    }));
    assert_eq!(outputs.await, [30, 10, 20]);
    assert_eq!(start.elapsed(), Duration::from_secs(30));
}

#[test]
fn it_runs_on_tokio_in_the_same_time() {
    on_tokio(async {
        let start = tokio::time::Instant::now();
        let outputs = filch::gather([30, 10, 20].map(|n| async move {
            tokio::time::sleep(Duration::from_secs(n)).await;
            n
        }));
        assert_eq!(outputs.await, [30, 10, 20]);
        assert_eq!(start.elapsed(), Duration::from_secs(30));
    });
}

#[test]
fn only_who_was_woken_is_polled() {
    let (wakes, waker) = Wakes::new();
    let posts = posts::<3>();
    let mut all = filch::gather(posts.iter().map(|post| post.gate(())));
    assert!(poll(&mut all, &waker).is_pending());
    assert_eq!(polls(&posts), [1, 1, 1]);

    assert!(poll(&mut all, &waker).is_pending());
    assert_eq!((polls(&posts), wakes.take()), (vec![1, 1, 1], 0), "nobody was woken");

    posts[1].wake();
    posts[1].wake();
    assert_eq!(wakes.take(), 1, "one wake until the next poll");
    assert!(poll(&mut all, &waker).is_pending());
    assert_eq!(polls(&posts), [1, 2, 1]);

    posts.iter().for_each(|post| post.open());
    assert_eq!(wakes.take(), 1);
    assert_eq!(poll(&mut all, &waker), Poll::Ready(vec![(), (), ()]));
    assert_eq!((polls(&posts), drops(&posts)), (vec![2, 3, 2], vec![1, 1, 1]));
    posts[0].wake();
    assert_eq!(wakes.take(), 0, "a late wake wakes nobody");
}

#[test]
fn a_future_is_dropped_as_soon_as_it_is_done_and_a_late_wake_of_it_polls_nothing() {
    let (wakes, waker) = Wakes::new();
    let posts = posts::<2>();
    let mut all = filch::gather(posts.iter().map(|post| post.gate(())));
    assert!(poll(&mut all, &waker).is_pending());
    posts[0].open();
    assert!(poll(&mut all, &waker).is_pending());
    assert_eq!(drops(&posts), [1, 0]);
    posts[0].wake();
    wakes.take();
    assert!(poll(&mut all, &waker).is_pending());
    assert_eq!(polls(&posts), [2, 1]);
    posts[1].open();
    assert_eq!((wakes.take(), poll(&mut all, &waker).is_ready()), (1, true));
}

/// A future that notes its polls, hands out its waker, and is ready at its second poll.
fn once<'a>(polls: &'a Cell<usize>, wakers: &'a RefCell<Vec<Waker>>) -> impl Future<Output = ()> + 'a {
    let mut polled = false;
    poll_fn(move |cx| {
        polls.set(polls.get() + 1);
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        wakers.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    })
}

#[test]
fn ga1_a_hundred_thousand_are_polled_twice_each() {
    const COUNT: usize = 100_000;
    everywhere(|| async {
        let polls = vec![Cell::new(0); COUNT];
        let wakers = RefCell::new(Vec::new());
        let all = filch::gather(polls.iter().map(|polls| once(polls, &wakers)));
        // Woken in small groups, while the others wait.
        let waker = async {
            while polls[COUNT - 1].get() == 0 {
                turn().await;
            }
            while let Some(waker) = { wakers.borrow_mut().pop() } {
                waker.wake();
                if wakers.borrow().len() % 100 == 0 {
                    turn().await;
                }
            }
        };
        let (outputs, ()) = filch::gather!(all, waker);
        assert_eq!(outputs.len(), COUNT);
        assert!(polls.iter().all(|polls| polls.get() == 2));
    });
}

#[test]
fn one_poll_polls_128_and_then_lets_others_run() {
    let polled = Cell::new(0);
    let (wakes, waker) = Wakes::new();
    let mut all = filch::gather((0..300).map(|_| async { polled.set(polled.get() + 1) }));
    for (expected, is_ready) in [(128, false), (256, false), (300, true)] {
        assert_eq!(poll(&mut all, &waker).is_ready(), is_ready);
        assert_eq!((polled.get(), wakes.take()), (expected, usize::from(!is_ready)));
    }
}

#[test]
fn many_that_are_ready_do_not_hog_the_thread() {
    everywhere(|| async {
        let done = Cell::new(0_usize);
        let turns = Cell::new(0);
        let all = filch::gather((0..100_000).map(|_| async { done.set(done.get() + 1) }));
        let other = async {
            while done.get() < 100_000 {
                assert!(done.get() <= 128 * (turns.get() + 1), "{} after {}", done.get(), turns.get());
                turns.set(turns.get() + 1);
                turn().await;
            }
        };
        filch::gather!(all, other);
        assert!(turns.get() > 100_000 / 128);
    });
}

/// Children that need the budget: none is polled when nothing is left of it, or each would be polled in vain.
#[test]
fn who_finds_the_budget_spent_is_not_polled() {
    filch::Builder::new().paused_clock(1).build().unwrap().block_on(async {
        let (sender, receiver) = filch::channel::bounded(10_000);
        (0..10_000).for_each(|n| sender.try_send(n).unwrap());
        let polls = Cell::new(0);
        let all = filch::gather((0..10_000).map(|_| {
            let mut message = Box::pin(receiver.recv());
            let polls = &polls;
            poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                message.as_mut().poll(cx)
            })
        }));
        assert_eq!(all.await.len(), 10_000);
        assert_eq!(polls.get(), 10_000);
    });
}

#[test]
fn ex8_nested_ones_do_not_multiply_polls() {
    everywhere(|| async {
        let polls = Cell::new(0);
        let leaf = || async {
            polls.set(polls.get() + 1);
            turn().await;
            polls.set(polls.get() + 1);
        };
        let twig = || filch::gather((0..20).map(|_| leaf()));
        let branch = || filch::gather((0..20).map(|_| twig()));
        assert_eq!(filch::gather((0..20).map(|_| branch())).await.len(), 20);
        assert_eq!(polls.get(), 2 * 8_000);
    });
}

#[test]
fn futures_may_borrow_and_need_not_be_send() {
    everywhere(|| async {
        let texts = [Rc::new(String::from("a")), Rc::new(String::from("bc"))];
        let lengths = filch::gather(texts.iter().map(|text| async move {
            turn().await;
            text.len()
        }));
        assert_eq!(lengths.await, [1, 2]);
    });
}

#[test]
fn any_iterator_and_any_into_future_will_do() {
    everywhere(|| async {
        assert_eq!(filch::gather((0..10).filter(|n| n % 3 == 0).map(ready)).await, [0, 3, 6, 9]);
        assert_eq!(filch::gather([&mut ready(1)]).await, [1]);
        assert!(filch::gather(Vec::<std::future::Ready<u8>>::new()).await.is_empty());
        assert!(filch::gather(None::<std::future::Ready<u8>>).settled().await.is_empty());
        assert_eq!(filch::try_gather(None::<std::future::Ready<Result<u8, ()>>>).await, Ok(vec![]));
        assert_eq!(filch::join_all([ready(1)]).await, [1]);
        assert_eq!(filch::try_join_all([ready(Ok::<_, ()>(1))]).await, Ok(vec![1]));
    });
}

#[test]
fn handles_of_tasks_on_many_threads_are_gathered() {
    let sum = watched(|| {
        filch::run(async {
            let tasks = (0..1_000_u64).map(|n| {
                filch::spawn(async move {
                    filch::yield_now().await;
                    n
                })
            });
            filch::gather(tasks).await.into_iter().map(|output| output.unwrap()).sum::<u64>()
        })
    });
    assert_eq!(sum, 499_500);
}

#[test]
fn it_is_woken_from_other_threads() {
    watched(|| {
        for _ in 0..200 {
            let (senders, receivers): (Vec<_>, Vec<_>) =
                (0..8).map(|_| tokio::sync::oneshot::channel()).unzip();
            let threads: Vec<_> = senders
                .into_iter()
                .enumerate()
                .map(|(n, sender)| std::thread::spawn(move || sender.send(n).unwrap()))
                .collect();
            let outputs = futures_lite::future::block_on(filch::gather(receivers));
            assert!(outputs.into_iter().map(Result::unwrap).eq(0..8));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    });
}

#[test]
fn dropped_at_each_poll_it_drops_each_future_once() {
    everywhere(|| async {
        let report = cancel_at_every_await(async |trial| {
            let drops = Drops::new();
            let token = || {
                let token = drops.token();
                async move {
                    turn().await;
                    turn().await;
                    token
                }
            };
            let outputs = trial.run(filch::gather([token(), token(), token()])).await;
            let kept = outputs.as_ref().map_or(0, Vec::len);
            assert_eq!(drops.count() + kept, 3);
            drop(outputs);
            assert_eq!(drops.count(), 3);
        });
        assert_eq!(report.await.polls(), 3);
    });
}

fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(|text| &**text)).unwrap()
}

#[test]
fn ga1_a_panic_goes_through_and_drops_the_others_once() {
    let drops = Drops::new();
    let child = |n: u32| {
        let token = drops.token();
        async move {
            let _token = token;
            turn().await;
            assert!(n != 1, "one is too many");
            pending::<()>().await;
        }
    };
    let mut all = Box::pin(filch::gather([child(0), child(1), child(2)]));
    assert!(poll(&mut all, Waker::noop()).is_pending());
    let panic = catch_unwind(AssertUnwindSafe(|| poll(&mut all, Waker::noop()))).unwrap_err();
    assert_eq!(message(&*panic), "one is too many");
    let again = catch_unwind(AssertUnwindSafe(|| poll(&mut all, Waker::noop()))).unwrap_err();
    assert!(message(&*again).contains("after one of them had panicked"));
    drop(all);
    assert_eq!(drops.count(), 3);
}

#[test]
fn polled_again_after_it_was_ready_it_panics() {
    fn check<F: Future + Unpin>(mut future: F) {
        assert!(poll(&mut future, Waker::noop()).is_ready());
        let panic = catch_unwind(AssertUnwindSafe(|| poll(&mut future, Waker::noop()).is_ready()));
        assert!(message(&*panic.unwrap_err()).contains("polled again after it had been ready"));
    }
    check(filch::gather([ready(1)]));
    check(filch::gather([ready(1)]).settled());
    check(filch::try_gather([ready(Ok::<_, ()>(1))]));
    check(filch::try_gather([ready(Err::<(), _>(1))]));
    check(filch::race([ready(1)]));
    check(filch::any([ready(Ok::<_, ()>(1))]));
    check(filch::wait([ready(1)], filch::Wait::All));
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the bomb went off");
    }
}

#[test]
fn ga2_a_future_that_panics_in_its_drop_keeps_none_of_the_others() {
    for explosive in 0..3 {
        let drops = Drops::new();
        let child = |n| {
            let token = drops.token();
            async move {
                let _token = token;
                let _bomb = (n == explosive).then(|| Bomb);
                pending::<()>().await;
            }
        };
        let mut all = filch::gather([child(0), child(1), child(2)]);
        assert!(poll(&mut all, Waker::noop()).is_pending());
        let panic = catch_unwind(AssertUnwindSafe(|| drop(all))).unwrap_err();
        assert_eq!((message(&*panic), drops.count()), ("the bomb went off", 3));
    }
}

#[test]
fn settled_keeps_panics_in_their_places() {
    everywhere(|| async {
        let line = line!() + 1;
        let settled = filch::gather((0..4).map(child)).settled().await;
        async fn child(n: u32) -> u32 {
            turn().await;
            // Out of order: the last panics first.
            for _ in n..4 {
                turn().await;
            }
            if n % 2 == 1 { panic!("{n} is odd") } else { n }
        }
        let values: Vec<_> = settled.iter().map(|output| output.as_ref().ok()).collect();
        assert_eq!(values, [Some(&0), None, Some(&2), None]);
        for (n, output) in settled.into_iter().enumerate().filter(|(n, _)| n % 2 == 1) {
            let error = output.unwrap_err();
            assert!(error.is_panic() && !error.is_cancelled());
            assert_eq!(error.name(), Some(&*format!("future {n}")));
            assert_eq!((error.location().file(), error.location().line()), (file!(), line));
            assert!(error.to_string().ends_with(&format!("panicked: {n} is odd")), "{error}");
            assert_eq!(message(&*error.into_panic()), format!("{n} is odd"));
        }
    });
}

#[test]
fn settled_names_the_task() {
    filch::run(async {
        let task = filch::spawn(async {
            let settled = filch::gather([async { panic!("here") }]).settled().await;
            settled.into_iter().next().unwrap().unwrap_err().id()
        });
        let id = task.id();
        assert_eq!(filch::task::Id::to_string(&id), task.await.unwrap().to_string());
    });
}

#[test]
fn settled_catches_the_panic_of_a_drop_too() {
    struct Child {
        polls: u32,
        panics: bool,
        _bomb: Bomb,
    }
    impl Unpin for Child {}
    impl Future for Child {
        type Output = u32;
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u32> {
            self.polls += 1;
            assert!(!self.panics, "in its poll");
            cx.waker().wake_by_ref();
            if self.polls == 2 { Poll::Ready(2) } else { Poll::Pending }
        }
    }
    let child = |panics| Child { polls: 0, panics, _bomb: Bomb };
    let settled = futures_lite::future::block_on(filch::gather([child(false), child(true)]).settled());
    let texts: Vec<_> =
        settled.into_iter().map(|output| message(&*output.unwrap_err().into_panic()).to_owned()).collect();
    assert_eq!(texts, ["the bomb went off", "in its poll"]);
}

#[test]
fn evil_wakers_harm_nobody_else() {
    for evil in [&[Moment::Wake][..], &[Moment::Drop], &[Moment::Wake, Moment::Drop]] {
        let posts = posts::<2>();
        let mut all = filch::gather(posts.iter().map(|post| post.gate(())));
        let waker = Evil::panics(evil.iter().copied(), 0).waker();
        assert!(poll(&mut all, &waker).is_pending());
        let woken = catch_unwind(AssertUnwindSafe(|| posts[0].open()));
        assert_eq!(woken.is_err(), evil.contains(&Moment::Wake));
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(waker)));
        assert_eq!(dropped.is_err(), evil.contains(&Moment::Drop));

        let (wakes, waker) = Wakes::new();
        assert!(poll(&mut all, &waker).is_pending());
        posts[1].open();
        assert_eq!(wakes.take(), 1, "the new waker works");
        assert!(poll(&mut all, &waker).is_ready());
    }
}

#[test]
fn futures_that_wake_each_other_as_they_are_dropped_do_no_harm() {
    let (_, waker) = Wakes::new();
    let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
    let child = || {
        let all = wakers.clone();
        let last = on_drop(move || all.borrow().iter().for_each(Waker::wake_by_ref));
        let wakers = wakers.clone();
        async move {
            let _last = last;
            poll_fn(|cx| {
                wakers.borrow_mut().push(cx.waker().clone());
                Poll::<()>::Pending
            })
            .await;
        }
    };
    let mut all = filch::gather([child(), child(), child()]);
    assert!(poll(&mut all, &waker).is_pending());
    drop(all);
    assert_eq!(wakers.borrow().len(), 3);
    wakers.take().into_iter().for_each(Waker::wake);
}

#[filch::test(paused)]
async fn ga1_try_gather_drops_the_others_at_the_first_error() {
    let start = Instant::now();
    let drops = Drops::new();
    let child = |n: u64| {
        let token = drops.token();
        async move {
            let _token = token;
            sleep(Duration::from_secs(n)).await;
            if n == 2 { Err(n) } else { Ok(n) }
        }
    };
    assert_eq!(filch::try_gather([1, 2, 1_000].map(child)).await, Err(2));
    assert_eq!((start.elapsed(), drops.count()), (Duration::from_secs(2), 3));
    assert_eq!(filch::try_gather([3, 1].map(child)).await, Ok(vec![3, 1]));
}

#[test]
fn try_gather_drops_the_others_before_it_is_ready() {
    let posts = posts::<3>();
    let mut all = filch::try_gather(posts.iter().map(|post| post.gate(Err::<(), _>("no"))));
    assert!(poll(&mut all, Waker::noop()).is_pending());
    posts[2].open();
    posts[1].open();
    assert_eq!(poll(&mut all, Waker::noop()), Poll::Ready(Err("no")));
    assert_eq!((polls(&posts), drops(&posts)), (vec![1, 2, 1], vec![1, 1, 1]), "the first of them");
}

#[test]
fn what_waits_may_be_sent_and_shared_if_the_futures_may() {
    fn both<T: Send + Sync + Unpin>(_: &T) {}
    fn send<T: Send>(_: &T) {}
    let future = || ready(Ok::<u8, u8>(1));
    both(&filch::gather([future()]));
    both(&filch::gather([future()]).settled());
    both(&filch::try_gather([future()]));
    both(&filch::race([future()]));
    both(&filch::any([future()]));
    both(&filch::as_completed([future()]));
    both(&filch::as_completed([future()]).timeout(Duration::ZERO));
    both(&filch::wait([future()], filch::Wait::FirstError));
    both(&filch::wait([future()], filch::Wait::All).timeout(Duration::ZERO));
    both(&Box::pin(async { filch::gather!(future(), future()) }));
    send(&filch::gather([async { turn().await }]));
    send(&async { filch::try_gather!(future(), future()) });

    // Inherent associated constants go before those of traits, and this one is there only if `T` is `Send`.
    struct Check<T>(std::marker::PhantomData<T>);
    trait Otherwise {
        const IS_SEND: bool = false;
    }
    impl<T> Otherwise for Check<T> {}
    impl<T: Send> Check<T> {
        const IS_SEND: bool = true;
    }
    type Sent = std::future::Ready<u8>;
    type Kept = std::future::Ready<Rc<u8>>;
    let sent = [Check::<filch::Gather<Sent>>::IS_SEND, Check::<filch::AsCompleted<Sent>>::IS_SEND];
    let kept = [Check::<filch::Gather<Kept>>::IS_SEND, Check::<filch::AsCompleted<Kept>>::IS_SEND];
    assert_eq!((sent, kept), ([true; 2], [false; 2]));
}

#[test]
fn debug_asks_nothing_of_the_futures() {
    let all = filch::gather([async {}]);
    assert_eq!(format!("{all:?}"), "Gather(Set { children: 1, left: 1 })");
}
