//! What the tests of worker pools share: pools that note deaths, and jobs that keep a thread.

use std::sync::{Arc, Mutex, mpsc};

use filch::pool::{Death, Job, WorkerPool, WorkerPoolBuilder};

pub(crate) type Deaths = Arc<Mutex<Vec<Death>>>;

/// A builder that keeps what is told of deaths.
pub(crate) fn watched_pool() -> (WorkerPoolBuilder, Deaths) {
    let deaths = Deaths::default();
    let told = deaths.clone();
    (WorkerPool::builder().on_death(move |death| told.lock().unwrap().push(death.clone())), deaths)
}

/// Keeps a thread of the pool until the sender sends or goes.
pub(crate) fn occupy(pool: &WorkerPool) -> (Job<()>, mpsc::Sender<()>) {
    let ((begun, has_begun), (free, freed)) = (mpsc::channel(), mpsc::channel());
    let job = pool.call(move || {
        begun.send(()).unwrap();
        let _ = freed.recv();
    });
    let job = job.heartbeat(None).submit_blocking().unwrap();
    has_begun.recv().unwrap();
    (job, free)
}

/// A panic that the hook does not print.
pub(crate) fn raise(text: &'static str) {
    std::panic::resume_unwind(Box::new(text));
}
