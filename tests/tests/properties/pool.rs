//! `Pool`: against the number of things, and where each is.

use filch::sync::{Pool, PoolError, Pooled};
use filch::testing::{Counted, Ledger};
use proptest::prelude::*;

use crate::{Line, config};

#[derive(Clone, Debug)]
enum Step {
    Get,
    TryGet,
    Poll(usize),
    GiveUp(usize),
    GiveBack(usize),
    Spoil(usize),
    Discard(usize),
    Take(usize),
    Shrink(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Get),
        2 => Just(Step::TryGet),
        6 => (0..8_usize).prop_map(Step::Poll),
        2 => (0..8_usize).prop_map(Step::GiveUp),
        3 => (0..8_usize).prop_map(Step::GiveBack),
        1 => (0..8_usize).prop_map(Step::Spoil),
        1 => (0..8_usize).prop_map(Step::Discard),
        1 => (0..8_usize).prop_map(Step::Take),
        1 => (0..2_usize).prop_map(Step::Shrink),
    ]
}

/// A thing, and whether it is still good.
type Thing = (Counted, bool);

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_thing_gets_lost_and_no_bad_one_is_lent(
        max in 1..4_usize,
        idle_max in 0..3_usize,
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let ledger = Ledger::new();
        let maker = ledger.clone();
        let pool = Pool::builder(max).max_idle(idle_max).check(|thing: &mut Thing| thing.1);
        let pool = pool.build(move || (maker.message(0), true));
        let mut line: Line<'_, (), Result<Pooled<Thing>, PoolError>> = Line::new();
        let (mut lent, mut taken): (Vec<Pooled<Thing>>, Vec<Thing>) = (Vec::new(), Vec::new());
        for step in steps {
            let pick = |number: usize| number.checked_rem(lent.len());
            match step {
                Step::Get => line.add((), pool.get()),
                Step::TryGet => match pool.try_get() {
                    Ok(thing) => lent.push(thing),
                    Err(_) => prop_assert!(lent.len() == max || line.0.iter().any(|waits| waits.polled)),
                },
                Step::Poll(number) => {
                    let Some(index) = line.pick(number) else { continue };
                    let full = lent.len() == max;
                    match line.poll(index) {
                        Some(((), thing)) => {
                            prop_assert!(!full);
                            lent.push(thing.unwrap());
                        }
                        None => prop_assert!(full || line.0.len() > 1),
                    }
                }
                Step::GiveUp(number) => {
                    let index = line.pick(number);
                    index.into_iter().for_each(|index| _ = line.drop_one(index));
                }
                Step::GiveBack(number) => pick(number).into_iter().for_each(|index| drop(lent.remove(index))),
                Step::Spoil(number) => pick(number).into_iter().for_each(|index| lent[index].1 = false),
                Step::Discard(number) => {
                    pick(number).into_iter().for_each(|index| Pooled::discard(lent.remove(index)));
                }
                Step::Take(number) => {
                    pick(number).into_iter().for_each(|index| taken.push(Pooled::take(lent.remove(index))));
                }
                Step::Shrink(keep) => {
                    let idle = pool.stats().idle;
                    prop_assert_eq!(pool.shrink_to(keep), idle.saturating_sub(keep));
                }
            }
            let stats = pool.stats();
            prop_assert_eq!((stats.out, stats.made), (lent.len(), ledger.made() as u64));
            prop_assert_eq!(ledger.made() - ledger.drops(), stats.idle + lent.len() + taken.len());
            prop_assert_eq!(stats.waiting, line.0.iter().filter(|waits| waits.polled).count());
            prop_assert!(stats.out <= max && stats.idle <= idle_max);
        }
        lent.clear();
        line.settle(|(), thing| drop(thing.unwrap()));
        prop_assert!(line.0.is_empty(), "{} wait for a thing that is there", line.0.len());
        drop(line);
        drop((pool, taken));
        ledger.assert_settled();
    }
}
