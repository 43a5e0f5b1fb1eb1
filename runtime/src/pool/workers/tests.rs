//! The rules of the board, by a clock of numbers: who hangs, who is replaced and when, and when it is over.

use std::panic::Location;
use std::time::Duration;

use super::board::{Board, Look, Rules, Seat};
use super::job::{JobContext, Priority, Ticket};
use super::report::{DeathCause, WorkerState};
use crate::pool::job::Ran;
use crate::time::Instant;

const S: Duration = Duration::from_secs(1);

struct Stage {
    board: Board,
    rules: Rules,
    start: Instant,
    seats: Vec<Seat>,
}

impl Stage {
    fn new(threads: usize, restarts: usize) -> Stage {
        let rules = Rules { heartbeat: Some(5 * S), restarts, within: 10 * S, fresh_after_panic: true };
        let mut board = Board::new("t", threads, 0);
        let seats = board.open();
        Stage { board, rules, start: Instant::now(), seats }
    }

    fn look(&mut self, second: u32, work: bool) -> Look {
        let look = self.board.look(self.start + second * S, &self.rules, work);
        look.starts.iter().for_each(|seat| self.seats[seat.desk] = *seat);
        look
    }

    /// The worker of that desk begins a job. The second: whether the supervisor must look.
    fn sit(&mut self, desk: usize, second: u32) -> (JobContext, bool) {
        let (context, heartbeat) = (JobContext::new(), self.rules.heartbeat);
        let (priority, location) = (Priority::Normal, Location::caller());
        let ticket = Ticket { priority, name: None, location, heartbeat, context: context.clone() };
        (context, self.board.sit(self.seats[desk], &ticket, self.start + second * S))
    }

    fn rise(&mut self, desk: usize, ran: Ran) -> bool {
        self.board.rise(self.seats[desk], ran, &self.rules)
    }
}

#[test]
fn the_supervisor_is_woken_for_a_job_that_could_hang_before_it_looks() {
    let mut stage = Stage::new(2, 9);
    assert_eq!(stage.look(0, false).next, None);
    let (_, wake) = stage.sit(0, 1);
    assert!(wake, "nobody would look");
    assert_eq!(stage.look(1, true).next, Some(stage.start + 6 * S));
    let (second, wake) = stage.sit(1, 2);
    assert!(!wake, "it looks at 6, and this one's time is 7");
    assert!(stage.rise(0, Ran::Ended));
    assert_eq!(stage.look(6, true).next, Some(stage.start + 7 * S));
    second.beat();
    let look = stage.look(7, true);
    assert_eq!((look.hung.len(), look.next), (0, Some(stage.start + 12 * S)), "seen alive at 7");
    let look = stage.look(12, true);
    assert_eq!(look.hung.len(), 1);
    assert!(matches!(look.deaths[0].cause, DeathCause::Hung(_)));
    assert_eq!((look.starts.len(), look.next), (1, None));
}

#[test]
fn one_that_comes_back_leaves_and_its_place_is_the_others() {
    let mut stage = Stage::new(1, 9);
    let _ = stage.sit(0, 0);
    let away = stage.seats[0];
    let look = stage.look(5, true);
    assert_eq!(look.starts.len(), 1);
    let _ = stage.sit(0, 6);
    assert_eq!(stage.board.running(stage.start + 6 * S).len(), 2);
    assert!(!stage.board.rise(away, Ran::Ended, &stage.rules), "it leaves");
    stage.board.gone(away, None);
    assert_eq!(stage.board.running(stage.start + 6 * S).len(), 1, "and takes nothing from the other");
    assert!(stage.rise(0, Ran::Ended));
    assert_eq!(stage.board.health(stage.start).workers[0].state, WorkerState::Idle);
    assert_eq!(stage.board.totals.done, 2);
}

#[test]
fn one_that_comes_back_before_it_is_replaced_leaves_too() {
    let mut stage = Stage::new(1, 1);
    let _ = stage.sit(0, 0);
    assert!(!stage.rise(0, Ran::Panicked));
    stage.board.gone(stage.seats[0], None);
    assert_eq!(stage.look(0, true).starts.len(), 1);
    let _ = stage.sit(0, 1);
    let look = stage.look(6, true);
    assert_eq!((look.hung.len(), look.starts.len(), look.next), (1, 0, Some(stage.start + 10 * S)));
    assert!(!stage.rise(0, Ran::Ended));
    stage.board.gone(stage.seats[0], None);
    assert_eq!(stage.look(10, true).starts.len(), 1);
}

/// Deaths at random: never more restarts in a span than the rule says, and each as early as that allows.
#[test]
fn restarts_keep_to_the_rule() {
    let mut random = 1_u64;
    for restarts in 1..6 {
        let (mut stage, mut when) = (Stage::new(8, restarts), Vec::new());
        for second in 0..400 {
            for desk in 0..8 {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let idle = stage.board.health(stage.start).workers[desk].state == WorkerState::Idle;
                if idle && random >> 60 == 0 {
                    let _ = stage.sit(desk, second);
                    assert!(!stage.rise(desk, Ran::Panicked));
                    stage.board.gone(stage.seats[desk], None);
                }
            }
            let look = stage.look(second, true);
            when.extend(look.starts.iter().map(|_| second));
            let down = stage.board.health(stage.start).workers.len()
                - stage
                    .board
                    .health(stage.start)
                    .workers
                    .iter()
                    .filter(|w| w.state == WorkerState::Idle)
                    .count();
            let recent = when.iter().filter(|then| **then + 10 > second).count();
            assert!(recent <= restarts, "{recent} of {restarts} in ten seconds, at {second}");
            assert!(down == 0 || recent == restarts, "one that could be restarted at {second} was not");
        }
        assert!(when.len() > 30 * restarts, "the rule was put to the test");
    }
}

#[test]
fn it_is_over_when_nobody_is_left_and_nothing_is_to_be_done() {
    let mut stage = Stage::new(2, 1);
    for desk in 0..2 {
        let _ = stage.sit(desk, 0);
        assert!(!stage.rise(desk, Ran::Panicked));
        stage.board.gone(stage.seats[desk], None);
    }
    let look = stage.look(0, true);
    assert_eq!((look.starts.len(), look.next), (1, Some(stage.start + 10 * S)));
    stage.board.close();
    assert!(!stage.look(1, true).over, "there is work, and one that does it");
    stage.board.gone(stage.seats[0], None);
    assert!(!stage.look(2, true).over, "there is work, and one that will do it");
    let look = stage.look(3, false);
    assert!(look.over && look.starts.is_empty() && look.next.is_none());
    assert!(stage.board.is_over());
}
