//! `Event`, `Barrier`, `AtomicWait`: against who is in line.

use filch::sync::{AtomicWait, Barrier, BarrierWaitResult, Event, WaitOutcome};
use proptest::prelude::*;

use crate::{Line, config};

#[derive(Clone, Debug)]
enum Step {
    Wait,
    Poll(usize),
    GiveUp(usize),
    /// Sets the event, changes the value, comes as one party more.
    Act(usize),
    /// Clears the event, changes the value back.
    Undo,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Wait),
        6 => (0..8_usize).prop_map(Step::Poll),
        3 => (0..8_usize).prop_map(Step::GiveUp),
        2 => (0..4_usize).prop_map(Step::Act),
        1 => Just(Step::Undo),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..80)
}

proptest! {
    #![proptest_config(config())]

    /// A wait that began before the event was set is over, also if it was cleared since.
    #[test]
    fn an_event_ends_every_wait_that_began_before_it(steps in steps()) {
        let event = Event::new();
        let (mut set, mut sets) = (false, 0);
        // The key: whether it is over by what came before, or how often it was set before.
        let mut line: Line<'_, (bool, usize), ()> = Line::new();
        for step in steps {
            match step {
                Step::Wait => line.add((set, sets), event.wait()),
                Step::Poll(number) => {
                    let Some(index) = line.pick(number) else { continue };
                    let (was_set, before) = line.0[index].key;
                    let over = was_set || sets > before;
                    prop_assert!(!over || line.is_woken(index) || !line.0[index].polled, "it was not woken");
                    prop_assert_eq!(line.poll(index).is_some(), over);
                }
                Step::GiveUp(number) => {
                    let index = line.pick(number);
                    index.into_iter().for_each(|index| _ = line.drop_one(index));
                }
                Step::Act(_) => {
                    event.set();
                    (set, sets) = (true, sets + 1);
                }
                Step::Undo => {
                    event.clear();
                    set = false;
                }
            }
            prop_assert_eq!(event.is_set(), set);
        }
    }

    /// Who withdraws does not count, and in each round one leads.
    #[test]
    fn a_barrier_opens_when_all_are_in_line(parties in 1..5_usize, steps in steps()) {
        let barrier = Barrier::new(parties);
        // Those who have arrived, and those whose round is over; they have not looked yet.
        let mut line: Line<'_, usize, BarrierWaitResult> = Line::new();
        let (mut arrived, mut round) = (0, 0);
        for step in steps {
            match step {
                Step::Wait => line.add(usize::MAX, barrier.wait()),
                Step::Poll(number) => {
                    let Some(index) = line.pick(number) else { continue };
                    let over = line.0[index].polled && line.0[index].key < round;
                    if line.0[index].polled {
                        prop_assert!(!over || line.is_woken(index), "it was not woken");
                        let passed = line.poll(index);
                        prop_assert_eq!(passed.map(|(_, result)| result.is_leader()), over.then_some(false));
                    } else if arrived + 1 == parties {
                        prop_assert!(line.poll(index).is_some_and(|(_, result)| result.is_leader()));
                        (arrived, round) = (0, round + 1);
                    } else {
                        line.0[index].key = round;
                        prop_assert!(line.poll(index).is_none());
                        arrived += 1;
                    }
                }
                Step::GiveUp(number) => {
                    let Some(index) = line.pick(number) else { continue };
                    let (key, polled) = line.drop_one(index);
                    arrived -= usize::from(polled && key == round);
                }
                Step::Act(_) => {
                    let leads = arrived + 1 == parties;
                    prop_assert_eq!(barrier.try_wait().is_ok_and(|result| result.is_leader()), leads);
                    if leads {
                        (arrived, round) = (0, round + 1);
                    }
                }
                Step::Undo => {}
            }
            prop_assert_eq!(barrier.arrived(), arrived);
        }
    }

    /// As many are woken as were asked for, in the order in which they went to sleep; a wake-up that is dropped goes to
    /// another that slept then.
    #[test]
    fn as_many_are_woken_as_was_asked_for(steps in steps()) {
        let value = AtomicWait::new(0);
        // The key: how many calls of `wake` came before it fell asleep, and whether it was told of one, and which.
        let mut line: Line<'_, (usize, Option<usize>), WaitOutcome> = Line::new();
        let mut calls = 0;
        for step in steps {
            match step {
                Step::Wait => {
                    line.add((calls, None), value.wait(0));
                    let index = line.0.len() - 1;
                    let awake = line.poll(index).map(|(_, outcome)| outcome);
                    prop_assert_eq!(awake, (value.load() != 0).then_some(WaitOutcome::NotEqual));
                }
                Step::Poll(number) => {
                    let Some(index) = line.pick(number) else { continue };
                    let told = line.0[index].key.1.is_some();
                    prop_assert_eq!(line.is_woken(index), told);
                    let woken = line.poll(index).map(|(_, outcome)| outcome);
                    prop_assert_eq!(woken, told.then_some(WaitOutcome::Woken));
                }
                Step::GiveUp(number) => {
                    let Some(index) = line.pick(number) else { continue };
                    let ((_, told), _) = line.drop_one(index);
                    let Some(call) = told else { continue };
                    let next = line.0.iter_mut().find(|waits| waits.key.1.is_none() && waits.key.0 <= call);
                    next.into_iter().for_each(|waits| waits.key.1 = Some(call));
                }
                Step::Act(most) => {
                    value.store(1);
                    let sleep = line.0.iter_mut().filter(|waits| waits.key.1.is_none());
                    let woken = sleep.take(most).map(|waits| waits.key.1 = Some(calls)).count();
                    prop_assert_eq!(value.wake(most), woken);
                    calls += usize::from(most > 0);
                }
                Step::Undo => value.store(0),
            }
        }
    }
}
