//! What needs no runtime: gather and its like, what follows a future, generators, tokens, and scopes.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use filch::gather::Wait;
use filch::stream::StreamExt;
use filch::testing::Ledger;
use filch::{CancelToken, FutureExt, Generator, generator, generator_with, try_generator};

use crate::turns;

/// Each waits longer than the one before, and holds a message of the ledger.
fn children(ledger: &Ledger) -> Vec<impl Future<Output = usize> + Unpin + use<>> {
    let child = |n| {
        let message = ledger.message(n);
        Box::pin(async move {
            turns(n + 1).await;
            message.id()
        })
    };
    (0..3).map(child).collect()
}

/// The same, of which the second fails.
fn fallible(ledger: &Ledger) -> Vec<impl Future<Output = Result<usize, usize>> + Unpin + use<>> {
    let fail = |n| if n == 1 { Err(n) } else { Ok(n) };
    children(ledger).into_iter().map(|child| child.map(fail)).collect()
}

fn one(ledger: &Ledger) -> impl Future<Output = usize> + use<> {
    children(ledger).remove(1)
}

/// Emits 0 to 3, and waits before and after each.
fn numbers() -> Generator<u32, impl Future<Output = ()>> {
    generator(async |mut y| {
        for n in 0..4 {
            turns(1).await;
            y.emit(n).await;
            turns(1).await;
        }
    })
}

operations! {
    by anywhere:

    gather: "gather" => async |trial| {
        let ledger = Ledger::new();
        assert!(trial.run(filch::gather(children(&ledger))).await.is_none_or(|all| all == [0, 1, 2]));
        ledger.assert_settled();
    };
    settled: "Gather::settled" => async |trial| {
        let ledger = Ledger::new();
        let all = trial.run(filch::gather(children(&ledger)).settled()).await;
        assert!(all.is_none_or(|all| all.into_iter().map(Result::unwrap).eq(0..3)));
        ledger.assert_settled();
    };
    try_gather: "try_gather" => async |trial| {
        let ledger = Ledger::new();
        assert!(trial.run(filch::try_gather(fallible(&ledger))).await.is_none_or(|all| all == Err(1)));
        ledger.assert_settled();
    };
    race: "race" => async |trial| {
        let ledger = Ledger::new();
        assert!(trial.run(filch::race(children(&ledger))).await.is_none_or(|first| first == 0));
        ledger.assert_settled();
    };
    any: "any" => async |trial| {
        let ledger = Ledger::new();
        let fail = |n| if n < 2 { Err(n) } else { Ok(n) };
        let all = children(&ledger).into_iter().map(|child| child.map(fail));
        assert!(trial.run(filch::any(all)).await.is_none_or(|first| first == Ok(2)));
        ledger.assert_settled();
    };
    as_completed: "AsCompleted as Stream", "AsCompleted::next" => async |trial| {
        let ledger = Ledger::new();
        let mut all = filch::as_completed(children(&ledger));
        let mut seen = Vec::from_iter(trial.run(all.next()).await.flatten());
        while let Some(n) = StreamExt::next(&mut all).await {
            seen.push(n);
        }
        assert_eq!(seen, [0, 1, 2]);
        ledger.assert_settled();
    };
    as_completed_keyed: "Keyed" => async |trial| {
        let ledger = Ledger::new();
        let mut all = filch::gather::as_completed_keyed("abc".chars().zip(children(&ledger)));
        let mut seen = Vec::from_iter(trial.run(all.next()).await.flatten());
        while let Some(pair) = all.next().await {
            seen.push(pair);
        }
        assert_eq!(seen, [('a', 0), ('b', 1), ('c', 2)]);
    };
    wait: "wait" => async |trial| {
        let ledger = Ledger::new();
        let mut all = children(&ledger);
        let waited = trial.run(filch::wait(&mut all, Wait::FirstCompleted)).await;
        assert!(waited.is_none_or(|(done, pending)| (done, pending.len()) == (vec![(0, 0)], 2)));
        assert!(ledger.drops() <= 1, "those that are not done stay, as they are borrowed");
        drop(all);
        ledger.assert_settled();
    };
    gather_macro: "Whole" => async |trial| {
        let ledger = Ledger::new();
        let all = async { filch::gather!(one(&ledger), async { "two" }, one(&ledger)) };
        assert!(trial.run(all).await.is_none_or(|all| all == (1, "two", 1)));
        ledger.assert_settled();
    };
    try_gather_macro: "TryWhole" => async |trial| {
        let ledger = Ledger::new();
        let late = async {
            turns(9).await;
            Ok::<_, usize>(1)
        };
        let all = async { filch::try_gather!(one(&ledger).map(Err::<(), _>), late) };
        assert!(trial.run(all).await.is_none_or(|all| all == Err(1)));
        ledger.assert_settled();
    };
    map: "Map", "Inspect" => async |trial| {
        let (ledger, seen) = (Ledger::new(), Cell::new(0));
        let all = one(&ledger).map(|n| n + 1).inspect(|n| seen.set(*n));
        let ended = trial.run(all).await;
        assert_eq!(ended.unwrap_or(0), seen.get());
        ledger.assert_settled();
    };
    then: "Then", "AndThen", "OrElse" => async |trial| {
        let ledger = Ledger::new();
        let all = one(&ledger)
            .then(|n| one(&ledger).map(move |m| Ok::<_, usize>(n + m)))
            .and_then(|n| one(&ledger).map(move |m| Err::<usize, _>(n + m)))
            .or_else(|n| one(&ledger).map(move |m| Ok::<_, usize>(n + m)));
        assert!(trial.run(all).await.is_none_or(|sum| sum == Ok(4)));
        ledger.assert_settled();
    };
    finally: "Finally" => async |trial| {
        let (ledger, calls) = (Ledger::new(), Cell::new(0));
        trial.run(one(&ledger).finally(|| calls.set(calls.get() + 1))).await;
        assert_eq!(calls.get(), 1);
        ledger.assert_settled();
    };

    generator_next: "Generator as Stream" => async |trial| {
        let mut numbers = numbers();
        let mut seen = Vec::from_iter(trial.run(numbers.next()).await.flatten());
        seen.extend(numbers.collect::<Vec<_>>().await);
        assert_eq!(seen, [0, 1, 2, 3]);
    };
    emit: "Yielder::emit", "Yielder::emit_or_closed" => async |trial| {
        // The loop of the consumer is dropped anywhere, and so is the emit in which the body stands.
        let (ledger, ended) = (Ledger::new(), Cell::new(false));
        let all = async {
            let mut items = generator(async |mut y| {
                let _message = ledger.message(0);
                y.emit(1).await;
                turns(1).await;
                while y.emit_or_closed(2).await.is_ok() {}
                ended.set(true);
            });
            assert_eq!(items.next().await, Some(1));
            turns(1).await;
            assert_eq!(items.next().await, Some(2));
            turns(1).await;
            items.close().await;
        };
        let has_ended = trial.run(all).await.is_some();
        assert_eq!(has_ended, ended.get());
        ledger.assert_settled();
    };
    generator_close: "Generator::close" => async |trial| {
        let cleaned = Cell::new(0);
        let mut items = generator(async |mut y| {
            let _ = y.emit_or_closed(1).await;
            for _ in 0..3 {
                turns(1).await;
                cleaned.set(cleaned.get() + 1);
            }
        });
        assert_eq!(items.next().await, Some(1));
        trial.run(items.close()).await;
        items.close().await;
        assert_eq!(cleaned.get(), 3);
    };
    resume_with: "Generator::resume_with", "Generator::item" => async |trial| {
        let mut echo = generator_with::<u32, _, _>(async |mut y| {
            let mut said = 0;
            loop {
                turns(1).await;
                said = y.emit(said).await;
            }
        });
        assert_eq!(echo.item().await, Some(0));
        let fate = trial.fate();
        let answer = match trial.run(echo.resume_with(7)).await {
            Some(answer) => answer,
            None if fate == filch::testing::Fate::DroppedUnpolled => echo.resume_with(7).await,
            None => echo.item().await,
        };
        assert_eq!(answer, Some(7));
    };
    try_generator_next: "TryGenerator as Stream", "TryGenerator::close" => async |trial| {
        let mut items = try_generator::<u32, &str, _>(async |mut y| {
            y.emit(1).await;
            let _ = y.emit_or_closed(2).await;
            turns(2).await;
            Err("the end")
        });
        assert_eq!(items.next().await, Some(Ok(1)));
        assert_eq!(items.next().await, Some(Ok(2)));
        let closed = trial.run(items.close()).await;
        let closed = match closed {
            Some(closed) => closed,
            None => items.close().await,
        };
        assert_eq!((closed, items.next().await), (Err("the end"), None));
    };

    cancelled: "CancelToken::cancelled" => async |trial| {
        let token = CancelToken::new();
        let cancels = async {
            turns(1).await;
            token.cancel("enough");
        };
        let reason = trial.beside(cancels).run(token.cancelled()).await;
        assert!(reason.is_none_or(|reason| reason.text() == "enough"));
        assert_eq!(token.cancelled().await.text(), "enough");
    };
    run_until_cancelled: "CancelToken::run_until_cancelled" => async |trial| {
        let (ledger, token) = (Ledger::new(), CancelToken::new());
        let message = ledger.message(0);
        let long = async move {
            let _message = message;
            std::future::pending::<()>().await;
        };
        let cancels = async {
            turns(1).await;
            token.cancel("enough");
        };
        let ended = trial.beside(cancels).run(token.run_until_cancelled(long)).await;
        assert!(ended.is_none_or(|ended| ended.is_err()));
        ledger.assert_settled();
    };

    scope: "scope", "Scope::spawn" => async |trial| {
        let ledger = Ledger::new();
        let all = filch::scope(|s| {
            let (first, second) = (s.spawn(one(&ledger)), one(&ledger));
            async move { first.await.unwrap() + s.spawn(second).await.unwrap() }
        });
        assert!(trial.run(all).await.is_none_or(|sum| sum == 2));
        ledger.assert_settled();
    };
    scope_local: "scope_local", "LocalScope::spawn" => async |trial| {
        let (ledger, seen) = (Ledger::new(), RefCell::new(Vec::new()));
        let all = filch::scope_local(|s| {
            let seen = &seen;
            for child in children(&ledger) {
                s.spawn(async move {
                    let n = child.await;
                    seen.borrow_mut().push(n);
                });
            }
            async {}
        });
        let has_ended = trial.run(all).await.is_some();
        assert!(!has_ended || *seen.borrow() == [0, 1, 2]);
        ledger.assert_settled();
    };
    a_handle_in_a_scope: "try_scope", "TryScope::spawn" => async |trial| {
        // The handle is dropped, and the child goes on.
        let (ledger, ended) = (Ledger::new(), AtomicBool::new(false));
        let all = filch::try_scope(|s| {
            let (child, ended) = (one(&ledger), &ended);
            let handle = s.spawn(async move {
                child.await;
                ended.store(true, Relaxed);
                Ok::<_, ()>(5)
            });
            async move { Ok(trial.run(handle).await) }
        });
        all.await.unwrap();
        assert!(ended.load(Relaxed));
        ledger.assert_settled();
    };
}
