//! Layer 3, pool. The supervisor of a `WorkerPool`: a task that hears of deaths, finds who hangs, and replaces both.
//!
//! Owns nothing but its turn: what is to be done is the board's to say. It does it outside of the board's lock, then
//! sleeps until somebody rings, or until the first heartbeat could be over or the next restart is due. It does not look
//! from time to time. With its runtime it ends, and the pool with it.
#![forbid(unsafe_code)]

use super::Shared;
use super::crew;
use crate::shim::Arc;
use crate::time::{Instant, timeout_at};
use crate::util::wake::guarded;

/// The supervisor is there.
pub(super) struct Watch {
    shared: Arc<Shared>,
    over: bool,
}

impl Watch {
    pub(super) fn new(shared: Arc<Shared>) -> Watch {
        Watch { shared, over: false }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.over {
            self.shared.close();
            self.shared.force("the runtime that the pool belonged to has ended");
        }
    }
}

pub(super) async fn supervise(mut watch: Watch) {
    let shared = watch.shared.clone();
    loop {
        let work = shared.has_work();
        let look = shared.board.lock().look(Instant::now(), &shared.rules, work);
        for (context, silent) in look.hung {
            context.stop(format!("it gave no sign of life for {silent:.1?}"));
        }
        for death in look.deaths {
            guarded("the death hook of a worker pool", || (shared.on_death)(&death));
        }
        if look.over {
            watch.over = true;
            shared.left.set();
            return;
        }
        // One that cannot be started has rung, and has its next turn.
        look.starts.into_iter().for_each(|seat| drop(crew::start(&shared, seat)));
        let rung = shared.bell.notified();
        match look.next {
            None => rung.await,
            Some(next) => {
                let _ = timeout_at(next, rung).await;
            }
        }
    }
}
