//! Layer 3, pool. The workers of a `WorkerPool`: threads that make calls, tasks that drive futures.
//!
//! Owns the loop of each: take a job, say so at the board, run it, say so, look again; until the queue is closed and
//! empty, or the board says that the desk is another's. Whoever goes, by whatever way, says that, too: on a way that it
//! was not meant to take, by the drop of what it has in hand. Started by `supervisor`, and by `WorkerPool` at first.
//!
//! *The end is not missed.* It is when the pool is closed, no job is left, and no worker. Each of these three becomes
//! so once and stays so: nothing is put into a closed queue, a job is over when its item is dropped, and a worker is
//! started only while there is a job or the pool is open. Whoever makes one of them so asks after it for all three
//! (`Shared::settle`: `close`, `force`, and the drop of `AtWork`, before which the item is dropped), each under the
//! lock that it is kept by. So the last of them finds all.
//!
//! *No death is missed.* It is written on the board before the bell is rung, and the bell keeps a ring that comes while
//! the supervisor does not wait.
#![forbid(unsafe_code)]

use std::io;

use super::super::job::Ran;
use super::Shared;
use super::board::{Seat, not_started};
use super::job::Ticket;
use super::report::{DeathCause, WorkerKind};
use crate::shim::{Arc, thread};
use crate::task;
use crate::time::Instant;
use crate::util::wake::guarded;

/// Starts a worker. If the system does not, its desk is down, and the error is given back too.
pub(super) fn start(shared: &Arc<Shared>, seat: Seat) -> io::Result<()> {
    let (kind, name) = {
        let board = shared.board.lock();
        let (kind, name) = board.worker(seat);
        (kind, name.to_owned())
    };
    let worker = AtWork { shared: shared.clone(), seat, why: Some(DeathCause::Ended) };
    match kind {
        WorkerKind::Thread => {
            let mut unstarted = Some(worker);
            // Handed over when the thread is there: a closure that is never called would say that it ended.
            let (give, take) = filch_channels::channel::oneshot::channel();
            let work = move || take.recv_blocking().map_or((), calls);
            match thread::Builder::new().name(name).spawn(work) {
                Ok(_) => {
                    if let Some(worker) = unstarted.take() {
                        drop(give.send(worker));
                    }
                }
                Err(error) => {
                    if let Some(worker) = &mut unstarted {
                        worker.why = Some(not_started(&error));
                    }
                    return Err(error);
                }
            }
        }
        WorkerKind::Task => {
            drop(task::Builder::new().name(name).spawn_on(futures(worker), &shared.handle));
        }
    }
    Ok(())
}

/// A worker, until it goes.
struct AtWork {
    shared: Arc<Shared>,
    seat: Seat,
    /// Why it goes; `None`: it is meant to.
    why: Option<DeathCause>,
}

impl AtWork {
    fn sit(&self, ticket: &Ticket) {
        if self.shared.board.lock().sit(self.seat, ticket, Instant::now()) {
            self.shared.bell.notify_one();
        }
    }

    fn rise(&self, ran: Ran) -> bool {
        self.shared.board.lock().rise(self.seat, ran, &self.shared.rules)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.shared.board.lock().gone(self.seat, self.why.take());
        self.shared.settle();
        self.shared.bell.notify_one();
    }
}

/// What a thread does.
fn calls(mut worker: AtWork) {
    let shared = worker.shared.clone();
    // So that jobs can spawn tasks, and the clock is the pool's.
    let _inside = shared.handle.enter();
    while let Ok(entry) = shared.calls.get_item_blocking() {
        worker.sit(&entry.ticket);
        let goes_on = worker.rise(entry.job.run(&shared.name));
        // The output may go with it, whose drop is code of others: no worker is lost to that.
        guarded("dropping a job", || drop(entry));
        if !goes_on {
            break;
        }
    }
    worker.why = None;
}

/// What a task does.
async fn futures(mut worker: AtWork) {
    let shared = worker.shared.clone();
    while let Ok(entry) = shared.tasks.get_item().await {
        worker.sit(&entry.ticket);
        let ran = match entry.job.clone().begin(shared.name.clone()) {
            Some(running) => running.await,
            None => Ran::Not,
        };
        let goes_on = worker.rise(ran);
        guarded("dropping a job", || drop(entry));
        if !goes_on {
            break;
        }
    }
    worker.why = None;
}
