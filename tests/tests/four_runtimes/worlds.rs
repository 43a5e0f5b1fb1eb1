//! Five worlds to run tasks in.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;
use std::thread;

use async_executor::Executor;
use filch::testing::block_on;
use filch_tests::{watched, workers};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where tasks run.
struct World {
    name: &'static str,
    spawn: Box<dyn Fn(Task)>,
}

fn filch() -> World {
    let runtime = workers(2);
    World { name: "filch", spawn: Box::new(move |task| drop(runtime.spawn(task))) }
}

fn tokio() -> World {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    World { name: "tokio", spawn: Box::new(move |task| drop(runtime.spawn(task))) }
}

fn smol() -> World {
    /// Ends the two threads, and waits for them.
    struct Threads(Option<filch::channel::Sender<()>>, Vec<thread::JoinHandle<()>>);
    impl Drop for Threads {
        fn drop(&mut self) {
            self.0 = None;
            self.1.drain(..).for_each(|thread| thread.join().expect("an executor"));
        }
    }
    let executor = Arc::new(Executor::new());
    let (stop, stopped) = filch::channel::bounded(1);
    let run = |_| {
        let (executor, stopped) = (executor.clone(), stopped.clone());
        thread::spawn(move || {
            let _ = futures_lite::future::block_on(executor.run(stopped.recv()));
        })
    };
    let threads = Threads(Some(stop), (0..2).map(run).collect());
    let spawn = move |task| {
        let _threads = &threads;
        executor.spawn(task).detach();
    };
    World { name: "smol", spawn: Box::new(spawn) }
}

fn threads() -> World {
    World { name: "threads", spawn: Box::new(|task| drop(thread::spawn(|| block_on(task)))) }
}

/// One task in each of the others, in turn.
fn mixed() -> World {
    let (worlds, next) = ([filch(), tokio(), smol(), threads()], Cell::new(0));
    let spawn = move |task| {
        let turn = next.replace(next.get() + 1);
        (worlds[turn % worlds.len()].spawn)(task);
    };
    World { name: "mixed", spawn: Box::new(spawn) }
}

/// The tasks and threads of one scenario.
pub(crate) struct Crew<'w> {
    world: &'w World,
    done: Sender<Result<(), Box<dyn Any + Send>>>,
    ended: Receiver<Result<(), Box<dyn Any + Send>>>,
    count: Cell<usize>,
}

impl Crew<'_> {
    /// A task in this world.
    pub(crate) fn task(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.count.set(self.count.get() + 1);
        let done = self.done.clone();
        let mut task = Box::pin(task);
        let task = async move {
            let result =
                std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
                    Ok(polled) => polled.map(Ok),
                    Err(payload) => Poll::Ready(Err(payload)),
                });
            let result = result.await;
            drop(task);
            let _ = done.send(result);
        };
        (self.world.spawn)(Box::pin(task));
    }

    /// A thread, which blocks.
    pub(crate) fn thread(&self, body: impl FnOnce() + Send + 'static) {
        self.count.set(self.count.get() + 1);
        let done = self.done.clone();
        thread::spawn(move || drop(done.send(catch_unwind(AssertUnwindSafe(body)))));
    }

    /// Waits for all of them. A panic of one is ours.
    pub(crate) fn join(&self) {
        for _ in 0..self.count.take() {
            if let Err(payload) = self.ended.recv().expect("our own sender") {
                resume_unwind(payload);
            }
        }
    }
}

/// Plays a scenario in each world.
pub(crate) fn everywhere(scenario: fn(&Crew<'_>)) {
    for make in [filch, tokio, smol, threads, mixed] {
        watched(move || {
            let world = make();
            let (done, ended) = channel();
            let crew = Crew { world: &world, done, ended, count: Cell::new(0) };
            let played = catch_unwind(AssertUnwindSafe(|| {
                scenario(&crew);
                crew.join();
            }));
            if let Err(payload) = played {
                eprintln!("in the world of {}:", world.name);
                resume_unwind(payload);
            }
        });
    }
}

/// Lets others go on, in any world.
pub(crate) async fn turn() {
    filch::testing::yield_now().await;
}

/// Runs the future, but gives up and drops it after so many polls. None: it was dropped.
pub(crate) async fn at_most<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), polls);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}
