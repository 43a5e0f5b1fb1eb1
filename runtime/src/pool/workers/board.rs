//! Layer 3, pool. Who of a `WorkerPool` is at work on what: the one record of it, behind one lock.
//!
//! Owns the desks, at each of which one worker after the other sits, and the rules by which a worker counts as hung
//! and a dead one is replaced. Knows no clock, thread or task: it is told what time it is. Called by `crew` with what
//! workers do, by `supervisor` for what is to be done, and by `WorkerPool` for reports.
//!
//! A desk's number of workers so far is its *generation*. A worker that hangs is away: its desk has no worker until
//! another starts, in the next generation, and when it comes back it finds that the desk is no longer its own, and
//! leaves.
//!
//! | state of a desk | its worker                                     | goes on to                |
//! |-----------------|------------------------------------------------|---------------------------|
//! | idle            | waits for a job                                | busy, left, down          |
//! | busy            | has one                                        | idle, left, down          |
//! | down            | is dead, or away; another will start           | idle, left                |
//! | left            | has gone, as the pool is closed and has no job | -                         |
//!
//! *Restarts*: so many in each span of time, whatever dies. Each restart is given its moment when the death is seen,
//! the first that leaves no more than so many in the span before it.
//!
//! *Who hangs is found without looking each second.* `look` says when it has to be called again, which is when the
//! first job's heartbeat could be over, and remembers it; `sit` compares that with the new job's, under the same lock,
//! and says whether the supervisor must be woken to look earlier.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use super::super::job::Ran;
use super::job::{JobContext, Ticket};
use super::report::{Death, DeathCause, Health, RunningJob, WorkerHealth, WorkerKind, WorkerState};
use crate::shim::Arc;
use crate::time::Instant;

/// What the pool was built with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) heartbeat: Option<Duration>,
    /// So many restarts ...
    pub(super) restarts: usize,
    /// ... in each such time.
    pub(super) within: Duration,
    /// A worker whose job panicked is not used again.
    pub(super) fresh_after_panic: bool,
}

/// Which worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seat {
    pub(super) desk: usize,
    generation: u64,
}

pub(super) struct Board {
    desks: Vec<Desk>,
    away: Vec<Away>,
    /// When workers were or will be restarted, in order.
    restarts: VecDeque<Instant>,
    /// How many workers have not gone, those that are away included.
    alive: usize,
    closed: bool,
    next_look: Option<Instant>,
    pub(super) totals: Totals,
}

#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Totals {
    pub(super) done: u64,
    pub(super) panicked: u64,
    pub(super) stopped: u64,
    pub(super) cancelled: u64,
    deaths: u64,
    restarted: u64,
}

struct Desk {
    kind: WorkerKind,
    name: String,
    generation: u64,
    state: State,
    done: u64,
}

enum State {
    Idle,
    Busy(Occupied),
    /// Why, until it was told; when another worker starts, if that is known.
    Down(Option<DeathCause>, Option<Instant>),
    Left,
}

struct Occupied {
    name: Option<Arc<str>>,
    location: &'static std::panic::Location<'static>,
    context: JobContext,
    heartbeat: Option<Duration>,
    began: Instant,
    /// How many signs of life there were, and since when there were no more.
    beats: u64,
    silent_since: Instant,
}

/// A worker that hangs, or did so and has not come back.
struct Away {
    seat: Seat,
    job: Occupied,
}

/// What the supervisor has to do.
#[derive(Default)]
pub(super) struct Look {
    /// To tell, outside of the lock.
    pub(super) deaths: Vec<Death>,
    /// Jobs that count as hung from now on, and how long they were silent.
    pub(super) hung: Vec<(JobContext, Duration)>,
    /// Workers to start.
    pub(super) starts: Vec<Seat>,
    /// When to look again, if nothing happens before.
    pub(super) next: Option<Instant>,
    /// All workers have gone for good.
    pub(super) over: bool,
}

impl Board {
    /// Desks without workers: the first look starts them all.
    pub(super) fn new(pool: &str, threads: usize, tasks: usize) -> Board {
        let desk = |kind: WorkerKind, number: usize| Desk {
            kind,
            name: format!("{pool}-{}-{number}", if kind == WorkerKind::Thread { "thread" } else { "task" }),
            generation: 0,
            state: State::Left,
            done: 0,
        };
        let threads = (1..=threads).map(|number| desk(WorkerKind::Thread, number));
        let desks = threads.chain((1..=tasks).map(|number| desk(WorkerKind::Task, number))).collect();
        Board {
            desks,
            away: Vec::new(),
            restarts: VecDeque::new(),
            alive: 0,
            closed: false,
            next_look: None,
            totals: Totals::default(),
        }
    }

    /// The first worker of each desk.
    pub(super) fn open(&mut self) -> Vec<Seat> {
        (0..self.desks.len()).map(|desk| self.seat(desk)).collect()
    }

    /// Puts a new worker to a desk.
    fn seat(&mut self, desk: usize) -> Seat {
        self.alive += 1;
        let at = &mut self.desks[desk];
        at.generation += 1;
        at.state = State::Idle;
        Seat { desk, generation: at.generation }
    }

    pub(super) fn worker(&self, seat: Seat) -> (WorkerKind, &str) {
        (self.desks[seat.desk].kind, &self.desks[seat.desk].name)
    }

    fn is_at_its_desk(&self, seat: Seat) -> bool {
        self.desks[seat.desk].generation == seat.generation
            && matches!(self.desks[seat.desk].state, State::Idle | State::Busy(_))
    }

    /// A worker begins a job. True: the supervisor must look, as this job's heartbeat may be over before it does.
    #[must_use]
    pub(super) fn sit(&mut self, seat: Seat, ticket: &Ticket, now: Instant) -> bool {
        let job = Occupied {
            name: ticket.name.clone(),
            location: ticket.location,
            context: ticket.context.clone(),
            heartbeat: ticket.heartbeat,
            began: now,
            beats: ticket.context.beats(),
            silent_since: now,
        };
        let due = job.due();
        self.desks[seat.desk].state = State::Busy(job);
        due.is_some_and(|due| self.next_look.is_none_or(|next| due < next))
    }

    /// A worker has done a job. True: it goes on with the next.
    #[must_use]
    pub(super) fn rise(&mut self, seat: Seat, ran: Ran, rules: &Rules) -> bool {
        match ran {
            Ran::Not => {}
            Ran::Ended => self.totals.done += 1,
            Ran::Panicked => self.totals.panicked += 1,
            Ran::Stopped => self.totals.stopped += 1,
        }
        if !self.is_at_its_desk(seat) {
            return false;
        }
        let desk = &mut self.desks[seat.desk];
        desk.done += u64::from(ran != Ran::Not);
        let State::Busy(job) = std::mem::replace(&mut desk.state, State::Idle) else { return true };
        if ran == Ran::Panicked && rules.fresh_after_panic {
            let name = job.name.as_deref().map(str::to_owned);
            self.down(seat.desk, DeathCause::Panicked { name, location: job.location });
            return false;
        }
        true
    }

    /// A worker has gone. `why`: it did not mean to, or was not started. The desk of one that was away has another by
    /// now, or will have.
    pub(super) fn gone(&mut self, seat: Seat, why: Option<DeathCause>) {
        self.alive -= 1;
        self.away.retain(|away| away.seat != seat);
        if self.is_at_its_desk(seat) {
            match why {
                Some(why) => self.down(seat.desk, why),
                None => self.desks[seat.desk].state = State::Left,
            }
        }
    }

    fn down(&mut self, desk: usize, why: DeathCause) {
        self.totals.deaths += 1;
        self.desks[desk].state = State::Down(Some(why), None);
    }

    /// Nothing more comes in.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Everything that is to be done `now`. `work`: there are jobs that are not done.
    pub(super) fn look(&mut self, now: Instant, rules: &Rules, work: bool) -> Look {
        let (mut look, ends) = (Look::default(), self.closed && !work);
        for desk in 0..self.desks.len() {
            self.look_for_life(desk, now, &mut look);
            self.look_for_replacement(desk, now, rules, ends, &mut look);
        }
        look.over = ends && self.alive == 0;
        self.next_look = look.next;
        look
    }

    /// Whether the job there has given a sign of life in time.
    fn look_for_life(&mut self, desk: usize, now: Instant, look: &mut Look) {
        let at = &mut self.desks[desk];
        let State::Busy(job) = &mut at.state else { return };
        let beats = job.context.beats();
        if beats != job.beats {
            (job.beats, job.silent_since) = (beats, now);
        }
        let Some(due) = job.due() else { return };
        if now < due {
            look.next = earlier(look.next, due);
            return;
        }
        let (generation, kind, name) = (at.generation, at.kind, at.name.clone());
        let State::Busy(job) = std::mem::replace(&mut at.state, State::Left) else { unreachable!("seen") };
        let told = job.report(kind, &name, now);
        look.hung.push((job.context.clone(), told.silent_for));
        self.away.push(Away { seat: Seat { desk, generation }, job });
        self.down(desk, DeathCause::Hung(told));
    }

    /// Whether a worker that is dead or away is replaced now.
    fn look_for_replacement(
        &mut self,
        desk: usize,
        now: Instant,
        rules: &Rules,
        ends: bool,
        look: &mut Look,
    ) {
        let kind = self.desks[desk].kind;
        let State::Down(why, due) = &self.desks[desk].state else { return };
        let (untold, mut due) = (why.is_some(), *due);
        if due.is_none() && !ends && self.away_of(kind) <= self.desks_of(kind) {
            due = Some(self.turn(now, rules));
        }
        let State::Down(why, at) = &mut self.desks[desk].state else { return };
        *at = due;
        if untold {
            if let Some(cause) = why.take() {
                let restart_in = due.map(|due| due.duration_since(now));
                let worker = self.desks[desk].name.clone();
                look.deaths.push(Death { worker, kind, cause, restart_in });
            }
        }
        match due {
            _ if ends => self.desks[desk].state = State::Left,
            Some(due) if due <= now => {
                self.totals.restarted += 1;
                look.starts.push(self.seat(desk));
            }
            Some(due) => look.next = earlier(look.next, due),
            // One that is away comes back first, and rings.
            None => {}
        }
    }

    fn desks_of(&self, kind: WorkerKind) -> usize {
        self.desks.iter().filter(|desk| desk.kind == kind).count()
    }

    fn away_of(&self, kind: WorkerKind) -> usize {
        self.away.iter().filter(|away| self.desks[away.seat.desk].kind == kind).count()
    }

    /// The next moment at which a worker may be restarted, which is taken.
    fn turn(&mut self, now: Instant, rules: &Rules) -> Instant {
        while self.restarts.len() > rules.restarts
            || self.restarts.front().is_some_and(|first| *first + rules.within <= now)
        {
            self.restarts.pop_front();
        }
        let full = self.restarts.len() >= rules.restarts;
        let first = if full { self.restarts[self.restarts.len() - rules.restarts] } else { now };
        let turn = if full { first + rules.within } else { now };
        self.restarts.push_back(turn);
        turn
    }

    /// The contexts of all jobs that run, away or not.
    pub(super) fn contexts(&self) -> Vec<JobContext> {
        self.occupied().map(|(_, _, job)| job.context.clone()).collect()
    }

    /// All jobs that run.
    pub(super) fn running(&self, now: Instant) -> Vec<RunningJob> {
        self.occupied().map(|(kind, name, job)| job.report(kind, name, now)).collect()
    }

    fn occupied(&self) -> impl Iterator<Item = (WorkerKind, &str, &Occupied)> {
        let there = self.desks.iter().filter_map(|desk| match &desk.state {
            State::Busy(job) => Some((desk.kind, &*desk.name, job)),
            _ => None,
        });
        there.chain(self.away.iter().map(|away| {
            let desk = &self.desks[away.seat.desk];
            (desk.kind, &*desk.name, &away.job)
        }))
    }

    /// Whether all workers have gone, given that there is no work.
    pub(super) fn is_over(&self) -> bool {
        self.closed && self.alive == 0
    }

    pub(super) fn health(&self, now: Instant) -> Health {
        let worker = |desk: &Desk| WorkerHealth {
            name: desk.name.clone(),
            kind: desk.kind,
            state: match &desk.state {
                State::Idle => WorkerState::Idle,
                State::Busy(job) => WorkerState::Busy(job.report(desk.kind, &desk.name, now)),
                State::Down(_, due) => {
                    WorkerState::Down { restart_in: due.map(|due| due.duration_since(now)) }
                }
                State::Left => WorkerState::Left,
            },
            done: desk.done,
            restarts: desk.generation.saturating_sub(1),
        };
        let hung = self.away.iter().map(|away| {
            let desk = &self.desks[away.seat.desk];
            away.job.report(desk.kind, &desk.name, now)
        });
        Health {
            workers: self.desks.iter().map(worker).collect(),
            hung: hung.collect(),
            waiting_calls: 0,
            waiting_tasks: 0,
            done: self.totals.done,
            panicked: self.totals.panicked,
            stopped: self.totals.stopped,
            deaths: self.totals.deaths,
            restarts: self.totals.restarted,
            open: !self.closed,
        }
    }
}

impl Occupied {
    /// When it counts as hung, if it gives no sign of life before.
    fn due(&self) -> Option<Instant> {
        self.silent_since.checked_add(self.heartbeat?)
    }

    fn report(&self, kind: WorkerKind, worker: &str, now: Instant) -> RunningJob {
        let silent = if self.context.beats() == self.beats { self.silent_since } else { now };
        RunningJob {
            worker: worker.to_owned(),
            kind,
            name: self.name.as_deref().map(str::to_owned),
            location: self.location,
            running_for: now.duration_since(self.began),
            silent_for: now.duration_since(silent),
        }
    }
}

/// The error of a thread that could not be started, as a cause of death.
pub(super) fn not_started(error: &io::Error) -> DeathCause {
    DeathCause::NotStarted(error.to_string())
}

fn earlier(one: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(one.map_or(other, |one| one.min(other)))
}
