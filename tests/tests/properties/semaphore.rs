//! `Semaphore`: against a number and a line.

use filch::sync::{AcquireError, Semaphore, SemaphorePermit};
use proptest::prelude::*;

use crate::{Line, config};

#[derive(Clone, Debug)]
enum Step {
    Acquire(u32),
    TryAcquire(u32),
    Poll(usize),
    GiveUp(usize),
    Release(usize),
    Forget(usize),
    Add(usize),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u32).prop_map(Step::Acquire),
        2 => (0..4_u32).prop_map(Step::TryAcquire),
        6 => (0..8_usize).prop_map(Step::Poll),
        3 => (0..8_usize).prop_map(Step::GiveUp),
        3 => (0..8_usize).prop_map(Step::Release),
        1 => (0..8_usize).prop_map(Step::Forget),
        1 => (0..3_usize).prop_map(Step::Add),
    ]
}

type Answer<'a> = Result<SemaphorePermit<'a>, AcquireError>;

/// What is free, and the line of those who have been polled, by what they need.
fn covers(line: &Line<'_, u32, Answer<'_>>, index: usize, free: usize) -> bool {
    let ahead = line.0[..index].iter().filter(|waiting| waiting.polled);
    let wanted: u32 = ahead.map(|waiting| waiting.key).sum();
    (wanted + line.0[index].key) as usize <= free
}

fn play(steps: Vec<Step>, fair: bool) {
    let semaphore = if fair { Semaphore::fair(2) } else { Semaphore::new(2) };
    let (mut total, mut closed) = (2, false);
    let mut line: Line<'_, u32, Answer<'_>> = Line::new();
    let mut held: Vec<SemaphorePermit<'_>> = Vec::new();
    for step in steps {
        match step {
            Step::Acquire(n) => line.add(n, semaphore.acquire_many(n)),
            Step::TryAcquire(n) => {
                let free = semaphore.available_permits();
                match semaphore.try_acquire_many(n) {
                    Ok(permit) => {
                        assert!(n as usize <= free && !closed);
                        held.push(permit);
                    }
                    Err(_) => assert!(closed || n as usize > free || line.0.iter().any(|waits| waits.polled)),
                }
            }
            Step::Poll(number) => {
                let Some(index) = line.pick(number) else { continue };
                let free = semaphore.available_permits();
                // One that comes for the first time stands behind all others.
                if !line.0[index].polled {
                    let newcomer = line.0.remove(index);
                    line.0.push(newcomer);
                    let index = line.0.len() - 1;
                    poll(&mut line, index, free, closed, fair, &mut held);
                } else {
                    poll(&mut line, index, free, closed, fair, &mut held);
                }
            }
            Step::GiveUp(number) => {
                let index = line.pick(number);
                index.into_iter().for_each(|index| _ = line.drop_one(index));
            }
            Step::Release(number) => {
                let index = number.checked_rem(held.len());
                index.into_iter().for_each(|index| drop(held.remove(index)));
            }
            Step::Forget(number) => {
                let Some(index) = number.checked_rem(held.len()) else { continue };
                total -= held[index].num_permits();
                held.remove(index).forget();
            }
            Step::Add(n) => {
                semaphore.add_permits(n);
                total += n;
            }
            Step::Close => {
                semaphore.close();
                closed = true;
            }
        }
        let out: usize = held.iter().map(SemaphorePermit::num_permits).sum();
        assert_eq!(out + semaphore.available_permits(), total, "permits come and go");
    }
    held.clear();
    semaphore.add_permits(4);
    line.settle(|_, permit| assert_eq!(permit.is_err(), closed));
    assert!(line.0.is_empty(), "{} wait for permits that are there", line.0.len());
}

fn poll<'a>(
    line: &mut Line<'a, u32, Answer<'a>>,
    index: usize,
    free: usize,
    closed: bool,
    fair: bool,
    held: &mut Vec<SemaphorePermit<'a>>,
) {
    let (covered, need) = (covers(line, index, free), line.0[index].key as usize);
    match line.poll(index) {
        Some((_, Ok(permit))) => {
            assert!(!closed && need <= free);
            assert!(covered || !fair || need == 0, "it went ahead of others");
            held.push(permit);
        }
        Some((_, Err(_))) => assert!(closed),
        None => assert!(!covered && !closed, "its turn has come"),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn sm2_permits_are_given_out_as_the_rule_says(steps in prop::collection::vec(step(), 0..60)) {
        play(steps, false);
    }

    #[test]
    fn nobody_is_overtaken_where_it_is_fair(steps in prop::collection::vec(step(), 0..60)) {
        play(steps, true);
    }

    #[test]
    fn sm3_all_who_wait_learn_of_the_end(
        before in prop::collection::vec(step(), 0..30),
        after in prop::collection::vec(step(), 0..20),
    ) {
        play(before.into_iter().chain([Step::Close]).chain(after).collect(), true);
    }
}
