//! The demo `connection_pool`: a few connections that many share, however their uses end.
//!
//! Owns the command line and both halves. The guides' pool is a semaphore whose users must remember to release it;
//! here it is `filch::sync::Pool`, whose guard gives the connection back.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use filch::sync::{Pool, PoolError, PoolStats, Pooled};
use filch::time::sleep;
use filch::wait_for;

use crate::story::{self, Halves, Story, each_task, each_thread};

pub(crate) const ABOUT: &str =
    "a few connections shared by many: at most so many out, given back even by a panic, checked before reuse";

/// Many users share a few connections, on threads and on tasks.
///
/// Never more than the pool allows are out, each comes back when its user is done, gives up or panics, and one that
/// is broken is not lent again.
#[derive(Debug, clap::Parser)]
#[command(name = "connection_pool")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// Who shares how much.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many connections there are at most
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub connections: u32,
    /// How many threads, and how many tasks, use them
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub users: u32,
    /// How many queries each user makes, with a connection for each
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub queries: u32,
    /// How many microseconds a query takes
    #[arg(long, default_value_t = 200)]
    pub query_us: u64,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// What somebody waits for in vain.
const PATIENCE: Duration = Duration::from_millis(5);

struct Connection {
    /// 1 for the one opened first.
    number: u32,
    works: bool,
    shared: Arc<Server>,
}

/// What the other end of the connections counts.
#[derive(Default)]
struct Server {
    opened: AtomicU32,
    queries: AtomicU32,
    busy: AtomicU32,
    busy_max: AtomicU32,
}

impl Connection {
    fn open(server: &Arc<Server>) -> Connection {
        let number = 1 + server.opened.fetch_add(1, Ordering::Relaxed);
        Connection { number, works: true, shared: server.clone() }
    }

    /// A query needs a connection of its own: `&mut` says so, and the pool sees to it.
    fn query_blocking(&mut self, plan: &Plan) {
        self.begin();
        thread::sleep(Duration::from_micros(plan.query_us));
        self.shared.busy.fetch_sub(1, Ordering::Relaxed);
    }

    async fn query(&mut self, plan: &Plan) {
        self.begin();
        sleep(Duration::from_micros(plan.query_us)).await;
        self.shared.busy.fetch_sub(1, Ordering::Relaxed);
    }

    fn begin(&self) {
        self.shared.queries.fetch_add(1, Ordering::Relaxed);
        let busy = 1 + self.shared.busy.fetch_add(1, Ordering::Relaxed);
        self.shared.busy_max.fetch_max(busy, Ordering::Relaxed);
    }
}

type Connections = Pool<Connection>;

fn pool(plan: &Plan, server: &Arc<Server>) -> Connections {
    let server = server.clone();
    Pool::builder(plan.connections as usize)
        .check(|connection: &mut Connection| connection.works)
        .build(move || Connection::open(&server))
}

impl Halves for Plan {
    fn about(&self) -> String {
        format!(
            "{} users make {} queries each, over at most {} connections.",
            self.users, self.queries, self.connections
        )
    }

    fn threads(&self, story: &mut Story) {
        let server = Arc::default();
        let pool = pool(self, &server);
        let lent = "the pool is open, and connections can be made";
        each_thread(self.users, |_| {
            for _ in 0..self.queries {
                pool.get_blocking().expect(lent).query_blocking(self);
            }
        });
        tell_use(story, self, &server, pool.stats());

        let mut all: Vec<_> = (0..self.connections).map(|_| pool.get_blocking().expect(lent)).collect();
        let late = pool.get_timeout(PATIENCE).err();
        let left = pool.stats();
        all.pop();
        tell_wait(story, self, late == Some(PoolError::Timeout), left, pool.try_get().is_ok());
        drop(all);

        let died = catch_unwind(AssertUnwindSafe(|| {
            let _connection = pool.get_blocking().expect(lent);
            resume_unwind(Box::new("the user of the connection panics"));
        }));
        tell_panic(story, died.is_err(), pool.stats());

        let mut connection = pool.get_blocking().expect(lent);
        let broken = hang_up(&mut connection);
        drop(connection);
        let next = pool.get_blocking().expect(lent);
        tell_check(story, broken, next, pool.stats());

        pool.close();
        tell_end(story, pool.get_blocking().err(), pool.stats());
    }

    async fn tasks(self, story: &mut Story) {
        let server = Arc::default();
        let pool = pool(&self, &server);
        let lent = "the pool is open, and connections can be made";
        let users = each_task(self.users, |_| {
            let pool = pool.clone();
            async move {
                for _ in 0..self.queries {
                    pool.get().await.expect(lent).query(&self).await;
                }
            }
        });
        users.await;
        tell_use(story, &self, &server, pool.stats());

        let mut all = Vec::new();
        for _ in 0..self.connections {
            all.push(pool.get().await.expect(lent));
        }
        let late = wait_for(pool.get(), PATIENCE).await;
        let left = pool.stats();
        all.pop();
        tell_wait(story, &self, late.is_err(), left, pool.try_get().is_ok());
        drop(all);

        let user = filch::spawn({
            let pool = pool.clone();
            async move {
                let _connection = pool.get().await.expect(lent);
                resume_unwind(Box::new("the user of the connection panics"));
            }
        });
        let died = user.await.is_err_and(|error| error.is_panic());
        tell_panic(story, died, pool.stats());

        let mut connection = pool.get().await.expect(lent);
        let broken = hang_up(&mut connection);
        drop(connection);
        let next = pool.get().await.expect(lent);
        tell_check(story, broken, next, pool.stats());

        pool.close();
        tell_end(story, pool.get().await.err(), pool.stats());
    }
}

/// The other end hangs up. Its number.
fn hang_up(connection: &mut Connection) -> u32 {
    connection.works = false;
    connection.number
}

fn tell_use(story: &mut Story, plan: &Plan, server: &Server, stats: PoolStats) {
    story.part("Everybody uses them");
    let [queries, busy_max] = [&server.queries, &server.busy_max].map(|count| count.load(Ordering::Relaxed));
    story.equal("queries answered", queries, plan.users * plan.queries);
    story.holds(
        "in use at a time, at most the connections there may be",
        busy_max <= plan.connections,
        busy_max,
    );
    let spared = stats.made <= u64::from(plan.connections);
    story.holds("connections opened, at most as many", spared, stats.made);
    story.equal("still out", stats.out, 0);
    story.equal("idle, of those opened", (stats.idle, stats.made), (stats.made as usize, stats.made));
    story.note(format_args!("an idle one was lent again {} times", stats.reused));
}

fn tell_wait(story: &mut Story, plan: &Plan, late: bool, left: PoolStats, lent: bool) {
    story.part("While all are out, one more wants a connection, and gives up");
    story.equal("out", left.out, plan.connections as usize);
    story.is("the wait ends in time", late);
    story.is("who comes next gets the one that is given back", lent);
}

fn tell_panic(story: &mut Story, died: bool, stats: PoolStats) {
    story.part("A user panics with a connection in hand");
    story.is("the panic is seen by whoever waits for the user", died);
    story.equal("connections that are out afterwards", stats.out, 0);
}

fn tell_check(story: &mut Story, broken: u32, next: Pooled<Connection>, stats: PoolStats) {
    story.part("A connection breaks, and is given back");
    story.holds(
        "another is lent instead",
        next.number != broken && next.works,
        format_args!("{} for {broken}", next.number),
    );
    story.equal("dropped by the pool", stats.dropped, 1);
}

fn tell_end(story: &mut Story, error: Option<PoolError>, stats: PoolStats) {
    story.part("The pool is closed");
    story.equal("who asks is told", error, Some(PoolError::Closed));
    story.equal("connections that are idle", stats.idle, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_connection_is_lost_and_none_too_many_is_opened() {
        for (connections, users, queries) in [(3, 10, 20), (1, 4, 5), (8, 2, 3)] {
            story::assert_holds(Plan { connections, users, queries, query_us: 20 });
        }
    }
}
