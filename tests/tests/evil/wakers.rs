//! An evil waker among good ones, in each line.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use filch::channel::{Receiver, Select, Sender, bounded, broadcast, oneshot, rendezvous, unbounded, watch};
use filch::sync::{
    AtomicWait, Barrier, Condition, Event, LifoQueue, Lock, Notify, OnceCell, Pool, PriorityQueue, Queue,
    RwLock, RwLockUpgradableReadGuard, Semaphore,
};
use filch::testing::{Evil, Moment, Wakes, poll_with};
use filch_tests::watched;

use crate::tolerating;

pub(crate) type Waiting<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// What an evil one does that does not panic. Set by each scene, for its own object.
#[derive(Clone, Default)]
struct Meddling(Arc<Mutex<Option<Deed>>>);

type Deed = Arc<dyn Fn() + Send + Sync>;

impl Meddling {
    fn meddle(&self) {
        let what = self.0.lock().unwrap().clone();
        what.into_iter().for_each(|what| what());
    }
}

/// One round of a scene.
pub(crate) struct Stage<'e> {
    evil: &'e Evil,
    meddling: Meddling,
    /// The future with the evil waker is dropped, and not polled to its end.
    drops_it: bool,
}

impl Stage<'_> {
    /// Says what the evil one does with the object, in the rounds in which it does not panic.
    pub(crate) fn meddle(&self, what: impl Fn() + Send + Sync + 'static) {
        *self.meddling.0.lock().unwrap() = Some(Arc::new(what));
    }

    /// All of these wait, the second one with evil wakers. `release` serves one of them or more, and is called so often
    /// that all have ended then. The good ones must be woken for it.
    pub(crate) fn play(&self, futures: Vec<Waiting<'_>>, mut release: impl FnMut()) {
        let evil_one = usize::from(futures.len() > 1);
        let wakes: Vec<_> = futures.iter().map(|_| Wakes::new()).collect();
        let mut seen = vec![0; futures.len()];
        let mut futures: Vec<_> = futures.into_iter().map(Some).collect();
        for (index, (place, (_, waker))) in futures.iter_mut().zip(&wakes).enumerate() {
            if index == evil_one {
                self.wait_evilly(place);
            } else if let Some(future) = place {
                // What was done evilly may have served those that come after it.
                let ready = poll_with(future.as_mut(), waker).is_ready();
                assert!(!ready || index > evil_one);
                place.take_if(|_| ready);
            }
        }
        let most = futures.len();
        for round in 0..2 * most {
            if round == 1 && self.drops_it {
                let evil_one = futures[evil_one].take();
                tolerating(|| drop(evil_one));
            }
            if round == most {
                self.evil.calm();
            }
            tolerating(&mut release);
            // Whoever was woken comes; the evil one comes anyhow, once it is calm.
            for (index, place) in futures.iter_mut().enumerate() {
                let woken = wakes[index].0.count() > seen[index] || (index == evil_one && round == most);
                if let (Some(future), true) = (&mut *place, woken) {
                    seen[index] = wakes[index].0.count();
                    let ready = poll_with(future.as_mut(), &wakes[index].1).is_ready();
                    place.take_if(|_| ready);
                }
            }
        }
        let left: Vec<_> = (0..most).filter(|&index| futures[index].is_some()).collect();
        assert!(left.is_empty(), "nobody wakes {left:?}, or what they wait for is gone");
    }

    /// Polls it with evil wakers. A future that panics is dropped, as a runtime would.
    fn wait_evilly(&self, place: &mut Option<Waiting<'_>>) {
        // The second takes the place of the first; then the same comes again.
        let (first, second) = (self.evil.waker(), self.evil.waker());
        for waker in [&first, &second, &second] {
            let Some(future) = place else { break };
            match tolerating(|| poll_with(future.as_mut(), waker)) {
                Some(polled) => drop(place.take_if(|_| polled.is_ready())),
                None => {
                    let panicked = place.take();
                    tolerating(|| drop(panicked));
                }
            }
        }
        for waker in [first, second] {
            tolerating(|| drop(waker));
        }
    }
}

/// The answer does not matter.
pub(crate) fn ignore<T>(_: T) {}

/// Plays a scene with an evil deed at each moment there is.
pub(crate) fn hostile(scene: impl Fn(&Stage<'_>) + Send + 'static) {
    watched(move || {
        let mut deeds = 0;
        for drops_it in [false, true] {
            let meddling = Meddling::default();
            let play = |evil: &Evil| {
                scene(&Stage { evil, meddling: meddling.clone(), drops_it });
                meddling.0.lock().unwrap().take();
            };
            deeds += Evil::at_each(Moment::OF_WAKERS, || panic!("{}", Evil::TEXT), play);
            let meddles = meddling.clone();
            deeds += Evil::at_each(Moment::OF_WAKERS, move || meddles.meddle(), play);
        }
        assert!(deeds >= 12, "only {deeds} occasions: cloned, dropped and woken, four times over");
    });
}

#[test]
fn tk8_semaphore() {
    for semaphore in [Semaphore::new, Semaphore::fair] {
        hostile(move |stage| {
            let semaphore = Arc::new(semaphore(0));
            let one = semaphore.clone();
            stage.meddle(move || {
                drop(one.try_acquire());
                drop(one.acquire_timeout(Duration::ZERO));
                one.add_permits(1);
            });
            let takes = || -> Waiting<'_> { Box::pin(async { semaphore.acquire().await.unwrap().forget() }) };
            stage.play(vec![takes(), takes(), takes()], || semaphore.add_permits(1));
            semaphore.add_permits(1);
            assert!(semaphore.try_acquire().is_ok());
        });
    }
}

#[test]
fn tk8_semaphore_that_is_closed() {
    hostile(|stage| {
        let semaphore = Arc::new(Semaphore::new(0));
        let one = semaphore.clone();
        stage.meddle(move || {
            one.close();
            assert!(one.try_acquire().is_err());
        });
        let waits = || -> Waiting<'_> { Box::pin(async { assert!(semaphore.acquire().await.is_err()) }) };
        stage.play(vec![waits(), waits(), waits()], || semaphore.close());
    });
}

#[test]
fn tk8_lock() {
    for lock in [Lock::new, Lock::fair] {
        hostile(move |stage| {
            let lock = Arc::new(lock(0));
            let one = lock.clone();
            stage.meddle(move || {
                drop(one.try_lock());
                drop(one.lock_timeout(Duration::ZERO));
            });
            let mut held = lock.try_lock().ok();
            let adds = || -> Waiting<'_> { Box::pin(async { *lock.lock().await += 1 }) };
            stage.play(vec![adds(), adds(), adds()], || drop(held.take()));
            assert!((2..=3).contains(&*lock.try_lock().unwrap()));
        });
    }
}

#[test]
fn tk8_rw_lock() {
    hostile(|stage| {
        let lock = Arc::new(RwLock::new(0));
        let one = lock.clone();
        stage.meddle(move || {
            drop(one.try_read());
            drop(one.try_write());
            drop(one.write_timeout(Duration::ZERO));
        });
        let mut held = lock.try_write().ok();
        let reads = Box::pin(async { drop(lock.read().await) });
        let upgrades = Box::pin(async {
            let read = lock.upgradable_read().await;
            *RwLockUpgradableReadGuard::upgrade(read).await += 1;
        });
        let writes = Box::pin(async { *lock.write().await += 1 });
        stage.play(vec![reads, upgrades, writes], || drop(held.take()));
        assert!((1..=2).contains(&*lock.try_write().unwrap()));
    });
}

#[test]
fn tk8_condition() {
    hostile(|stage| {
        let both = Arc::new((Lock::new(()), Condition::new()));
        let one = both.clone();
        stage.meddle(move || {
            drop(one.0.try_lock());
            one.1.notify_one();
        });
        let (lock, condition) = &*both;
        let waits = || -> Waiting<'_> { Box::pin(async { drop(condition.wait(lock.lock().await).await) }) };
        stage.play(vec![waits(), waits(), waits()], || ignore(condition.notify_all()));
        assert!(lock.try_lock().is_ok());
    });
}

#[test]
fn tk8_notify() {
    for notifies in [Notify::notify_one, Notify::notify_last, Notify::notify_waiters] {
        hostile(move |stage| {
            let notify = Arc::new(Notify::new());
            let one = notify.clone();
            stage.meddle(move || {
                notifies(&one);
                let _ = one.notified_timeout(Duration::ZERO);
            });
            let waits = || -> Waiting<'_> { Box::pin(notify.notified()) };
            // For the one that meddles, and may have taken one.
            let mut times = 0;
            stage.play(vec![waits(), waits(), waits()], || {
                times += 1;
                notifies(&notify);
                if times == 3 {
                    notify.notify_waiters();
                }
            });
            notify.notify_one();
            assert!(notify.notified_timeout(Duration::ZERO));
        });
    }
}

#[test]
fn tk8_event() {
    hostile(|stage| {
        let event = Arc::new(Event::new());
        let one = event.clone();
        stage.meddle(move || {
            one.set();
            one.clear();
            let _ = one.wait_timeout(Duration::ZERO);
        });
        let waits = || -> Waiting<'_> { Box::pin(event.wait()) };
        stage.play(vec![waits(), waits(), waits()], || event.set());
        assert!(event.is_set());
    });
}

#[test]
fn tk8_barrier() {
    hostile(|stage| {
        let barrier = Arc::new(Barrier::new(4));
        let one = barrier.clone();
        stage.meddle(move || {
            let _ = one.wait_timeout(Duration::ZERO);
            let _ = one.arrived();
        });
        let waits = || -> Waiting<'_> { Box::pin(async { ignore(barrier.wait_unless_broken().await) }) };
        // The last party; if one has withdrawn there are too few, and it is broken up.
        stage.play(vec![waits(), waits(), waits()], || {
            if barrier.try_wait().is_err() {
                barrier.abort();
            }
        });
        barrier.reset();
        assert_eq!((barrier.arrived(), barrier.is_broken()), (0, false));
    });
}

#[test]
fn tk8_atomic_wait() {
    hostile(|stage| {
        let value = Arc::new(AtomicWait::new(0));
        let one = value.clone();
        stage.meddle(move || {
            one.wake(1);
            let _ = one.wait_timeout(0, Duration::ZERO);
        });
        let waits = || -> Waiting<'_> { Box::pin(async { ignore(value.wait(0).await) }) };
        stage.play(vec![waits(), waits(), waits()], || ignore(value.wake(1)));
        assert_eq!(value.wake_all(), 0);
    });
}

#[test]
fn tk8_once_cell() {
    hostile(|stage| {
        let cell = Arc::new(OnceCell::new());
        let one = cell.clone();
        stage.meddle(move || {
            let _ = one.set(2);
            let _ = one.get();
        });
        let waits = || -> Waiting<'_> { Box::pin(async { assert!(*cell.wait().await > 0) }) };
        stage.play(vec![waits(), waits(), waits()], || ignore(cell.set(1)));
        assert!(cell.initialized());
    });
}

#[test]
fn tk8_once_cell_whose_maker_gives_up() {
    hostile(|stage| {
        let cell = Arc::new(OnceCell::new());
        let one = cell.clone();
        stage.meddle(move || assert!(one.get().is_none_or(|value| *value == 1)));
        let mut maker = Some(Box::pin(cell.get_or_init(std::future::pending)));
        assert!(poll_with(maker.as_mut().unwrap().as_mut(), Waker::noop()).is_pending());
        let makes =
            || -> Waiting<'_> { Box::pin(async { assert_eq!(*cell.get_or_init(async || 1).await, 1) }) };
        stage.play(vec![makes(), makes(), makes()], || drop(maker.take()));
        assert!(cell.initialized());
    });
}

#[test]
fn tk8_pool() {
    hostile(|stage| {
        let pool = Arc::new(Pool::new(1, || 7));
        let one = pool.clone();
        stage.meddle(move || drop(one.try_get()));
        let mut lent = Some(pool.try_get().unwrap());
        let gets = || -> Waiting<'_> { Box::pin(async { drop(pool.get().await.unwrap()) }) };
        stage.play(vec![gets(), gets(), gets()], || drop(lent.take()));
        assert_eq!(pool.stats().out, 0);
        assert!(pool.try_get().is_ok());
    });
}

/// The three kinds have the same methods.
macro_rules! queues {
    ($($name:ident: $queue:ident;)*) => {$(
        #[test]
        fn $name() {
            hostile(|stage| {
                let queue = Arc::new($queue::new(0));
                let one = queue.clone();
                stage.meddle(move || {
                    one.try_put(1).unwrap();
                    let _ = one.try_get();
                    let _ = one.get_timeout(Duration::ZERO);
                });
                let gets = || -> Waiting<'_> { Box::pin(async { assert_eq!(queue.get().await, Ok(1)) }) };
                // One more, should the evil one have taken one.
                stage.play(vec![gets(), gets(), gets()], || {
                    queue.try_put(1).unwrap();
                    queue.try_put(1).unwrap();
                });
                assert_eq!(queue.stats().waiting_get, 0);
            });
            hostile(|stage| {
                let queue = Arc::new($queue::new(1));
                queue.try_put(1).unwrap();
                let one = queue.clone();
                stage.meddle(move || {
                    let _ = one.try_put(2);
                    let _ = one.put_timeout(3, Duration::ZERO);
                });
                let puts = || -> Waiting<'_> { Box::pin(async { queue.put(4).await.unwrap() }) };
                stage.play(vec![puts(), puts(), puts()], || while queue.try_get().is_ok() {});
                assert!(queue.len() <= 1);
            });
            hostile(|stage| {
                let queue = Arc::new($queue::new(0));
                queue.try_put(1).unwrap();
                let one = queue.clone();
                stage.meddle(move || {
                    let _ = one.task_done();
                    let _ = one.join_timeout(Duration::ZERO);
                });
                let joins = || -> Waiting<'_> { Box::pin(queue.join()) };
                stage.play(vec![joins(), joins(), joins()], || ignore(queue.task_done()));
                assert_eq!(queue.unfinished(), 0);
            });
        }
    )*};
}

queues! {
    queue: Queue;
    lifo_queue: LifoQueue;
    priority_queue: PriorityQueue;
}

#[test]
fn tk8_channel_recv() {
    for make in [|| bounded(4), unbounded, rendezvous] {
        receivers(make);
    }
}

fn receivers(make: fn() -> (Sender<u8>, Receiver<u8>)) {
    hostile(move |stage| {
        let (tx, rx) = make();
        let (one, other) = (tx.clone(), rx.clone());
        stage.meddle(move || {
            let _ = one.try_send(1);
            let _ = other.try_recv();
            let _ = other.recv_timeout(Duration::ZERO);
        });
        let takes = || -> Waiting<'_> { Box::pin(async { assert_eq!(rx.recv().await, Ok(1)) }) };
        stage.play(vec![takes(), takes(), takes()], || {
            let _ = tx.try_send(1);
            let _ = tx.try_send(1);
        });
        while rx.try_recv().is_ok() {}
        let mut next = Box::pin(rx.recv());
        assert!(poll_with(next.as_mut(), Waker::noop()).is_pending());
        tx.try_send(2).unwrap();
        assert_eq!(poll_with(next.as_mut(), Waker::noop()), Poll::Ready(Ok(2)));
    });
}

#[test]
fn tk8_rendezvous_send() {
    hostile(|stage| {
        let (tx, rx) = rendezvous();
        let (one, other) = (tx.clone(), rx.clone());
        stage.meddle(move || {
            let _ = one.try_send(1);
            let _ = other.recv_timeout(Duration::ZERO);
        });
        let sends = || -> Waiting<'_> { Box::pin(async { tx.send(4).await.unwrap() }) };
        stage.play(vec![sends(), sends(), sends()], || ignore(rx.try_recv()));
        assert!(rx.try_recv().is_err());
    });
}

#[test]
fn tk8_select() {
    hostile(|stage| {
        let ((tx, rx), (to, from)) = (bounded(2), rendezvous::<u8>());
        let (one, other) = (tx.clone(), from.clone());
        stage.meddle(move || {
            let _ = one.try_send(1);
            let _ = Select::new().recv(&other, |_| ()).try_select();
        });
        let selects = || -> Waiting<'_> {
            Box::pin(async {
                let mut message = Some(3);
                Select::new()
                    .recv(&rx, |message| assert_eq!(message, Ok(1)))
                    .send(&to, &mut message, |sent| sent.unwrap())
                    .await;
            })
        };
        let mut times = 0;
        stage.play(vec![selects(), selects(), selects()], || {
            times += 1;
            if times % 2 == 0 { ignore(tx.try_send(1)) } else { ignore(from.try_recv()) }
        });
        assert_eq!(rx.stats().waiting_recv, 0);
    });
}

#[test]
fn tk8_channel_send() {
    hostile(|stage| {
        let (tx, rx) = bounded(1);
        tx.try_send(1).unwrap();
        let (one, other) = (tx.clone(), rx.clone());
        stage.meddle(move || {
            let _ = one.try_send(2);
            drop(one.try_reserve());
            let _ = one.force_send(3);
            let _ = other.try_recv();
        });
        let sends = || -> Waiting<'_> { Box::pin(async { tx.send(4).await.unwrap() }) };
        let reserves = Box::pin(async { drop(tx.reserve().await.unwrap()) });
        stage.play(vec![sends(), sends(), reserves], || while rx.try_recv().is_ok() {});
        while rx.try_recv().is_ok() {}
        tx.try_send(5).unwrap();
    });
}

#[test]
fn tk8_channel_that_is_closed() {
    hostile(|stage| {
        let (tx, rx) = bounded::<u8>(1);
        tx.try_send(1).unwrap();
        let (one, other) = (tx.clone(), rx.clone());
        stage.meddle(move || {
            one.close();
            assert!(one.try_send(1).is_err());
            drop(other.clone());
        });
        let ends = || -> Waiting<'_> { Box::pin(tx.closed()) };
        let sends = Box::pin(async { assert!(tx.send(2).await.is_err()) });
        stage.play(vec![ends(), sends, ends()], || ignore(rx.close()));
        assert_eq!(rx.try_recv(), Ok(1));
    });
}

#[test]
fn tk8_oneshot_ends() {
    hostile(|stage| {
        let (tx, rx) = oneshot::channel();
        let mut tx = Some(tx);
        stage.play(vec![Box::pin(async { ignore(rx.await) })], || ignore(tx.take().map(|tx| tx.send(1))));
    });
    hostile(|stage| {
        let (mut tx, rx) = oneshot::channel::<u8>();
        let mut rx = Some(rx);
        stage.play(vec![Box::pin(tx.closed())], || drop(rx.take()));
        assert!(tx.is_closed());
    });
}

#[test]
fn tk8_watch_changed() {
    hostile(|stage| {
        let (tx, rx) = watch::channel(0);
        let tx = Arc::new(tx);
        let one = tx.clone();
        stage.meddle(move || {
            one.send_modify(|value| *value += 1);
            let mut again = one.subscribe();
            assert!(*again.borrow_and_update() > 0);
            let _ = again.changed_timeout(Duration::ZERO);
        });
        let mut ends = [rx.clone(), rx.clone(), rx];
        let waits = ends
            .iter_mut()
            .map(|rx| -> Waiting<'_> { Box::pin(async { assert!(rx.changed().await.is_ok()) }) });
        stage.play(waits.collect(), || tx.send_modify(|value| *value += 1));
        assert_eq!(tx.receiver_count(), 3);
    });
    hostile(|stage| {
        let (tx, rx) = watch::channel(0);
        let tx = Arc::new(tx);
        let one = tx.clone();
        stage.meddle(move || drop(one.subscribe()));
        let mut rx = Some(rx);
        let ends = || -> Waiting<'_> { Box::pin(tx.closed()) };
        stage.play(vec![ends(), ends(), ends()], || drop(rx.take()));
        assert!(tx.is_closed());
    });
}

#[test]
fn tk8_broadcast_recv() {
    hostile(|stage| {
        let (tx, _) = broadcast::channel(16);
        let tx = Arc::new(tx);
        let one = tx.clone();
        stage.meddle(move || {
            let mut again = one.subscribe();
            let _ = one.send(2);
            assert!(again.try_recv().is_ok());
        });
        let mut ends = [tx.subscribe(), tx.subscribe(), tx.subscribe()];
        let takes =
            ends.iter_mut().map(|rx| -> Waiting<'_> { Box::pin(async { assert!(rx.recv().await.is_ok()) }) });
        stage.play(takes.collect(), || ignore(tx.send(1)));
        drop(ends);
        assert_eq!(tx.receiver_count(), 0);
    });
}

#[test]
fn tk8_broadcast_closed() {
    hostile(|stage| {
        let (tx, rx) = broadcast::channel::<u8>(1);
        let tx = Arc::new(tx);
        let one = tx.clone();
        stage.meddle(move || drop(one.subscribe()));
        let mut rx = Some(rx);
        let ends = || -> Waiting<'_> { Box::pin(tx.closed()) };
        stage.play(vec![ends(), ends(), ends()], || drop(rx.take()));
    });
}
