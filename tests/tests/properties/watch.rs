//! `watch`: against a value, its version, and the version that each receiver has seen.

use filch::channel::watch::{self, Receiver};
use filch::testing::poll_once;
use proptest::prelude::*;

use crate::config;

#[derive(Clone, Debug)]
enum Step {
    Send,
    Modify(bool),
    Subscribe,
    Leave(usize),
    /// Polls a fresh `changed` once, and drops it.
    Changed(usize),
    Look(usize, bool),
    MarkChanged(usize),
    MarkUnchanged(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let number = 0..8_usize;
    prop_oneof![
        3 => Just(Step::Send),
        2 => any::<bool>().prop_map(Step::Modify),
        1 => Just(Step::Subscribe),
        1 => number.clone().prop_map(Step::Leave),
        5 => number.clone().prop_map(Step::Changed),
        3 => (number.clone(), any::<bool>()).prop_map(|(number, update)| Step::Look(number, update)),
        1 => number.clone().prop_map(Step::MarkChanged),
        1 => number.prop_map(Step::MarkUnchanged),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn each_receiver_knows_whether_it_has_seen_the_latest(steps in prop::collection::vec(step(), 0..80)) {
        let (tx, first) = watch::channel(0);
        // The value, and for each receiver whether it has seen it.
        let (mut value, mut receivers): (u32, Vec<(Receiver<u32>, bool)>) = (0, vec![(first, true)]);
        for step in steps {
            match step {
                Step::Send => {
                    let sent = tx.send(value + 1).is_ok();
                    // Nobody to see it: the value stays.
                    prop_assert_eq!(sent, !receivers.is_empty());
                    if sent {
                        value += 1;
                        receivers.iter_mut().for_each(|(_, seen)| *seen = false);
                    }
                }
                Step::Modify(says) => {
                    let said = tx.send_if_modified(|value| {
                        *value += 1;
                        says
                    });
                    prop_assert_eq!(said, says);
                    value += 1;
                    receivers.iter_mut().for_each(|(_, seen)| *seen &= !says);
                }
                Step::Subscribe => receivers.push((tx.subscribe(), true)),
                Step::Leave(number) => {
                    let index = number.checked_rem(receivers.len());
                    index.into_iter().for_each(|index| drop(receivers.remove(index)));
                }
                Step::Changed(number) => {
                    let Some(index) = number.checked_rem(receivers.len()) else { continue };
                    let (rx, seen) = &mut receivers[index];
                    prop_assert_eq!(rx.has_changed(), Ok(!*seen));
                    prop_assert_eq!(poll_once(std::pin::pin!(rx.changed())).is_ready(), !*seen);
                    *seen = true;
                }
                Step::Look(number, update) => {
                    let Some(index) = number.checked_rem(receivers.len()) else { continue };
                    let (rx, seen) = &mut receivers[index];
                    let looked = if update { rx.borrow_and_update() } else { rx.borrow() };
                    prop_assert_eq!((*looked, looked.has_changed()), (value, !*seen));
                    *seen |= update;
                }
                Step::MarkChanged(number) => {
                    let Some(index) = number.checked_rem(receivers.len()) else { continue };
                    receivers[index].0.mark_changed();
                    receivers[index].1 = false;
                }
                Step::MarkUnchanged(number) => {
                    let Some(index) = number.checked_rem(receivers.len()) else { continue };
                    receivers[index].0.mark_unchanged();
                    receivers[index].1 = true;
                }
            }
            prop_assert_eq!((tx.receiver_count(), tx.is_closed()), (receivers.len(), receivers.is_empty()));
        }
        drop(tx);
        for (mut rx, seen) in receivers {
            let ended = poll_once(std::pin::pin!(rx.changed())).map(|end| end.is_err());
            prop_assert_eq!(ended, std::task::Poll::Ready(seen));
        }
    }
}
