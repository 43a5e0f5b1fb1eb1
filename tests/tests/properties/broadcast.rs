//! `broadcast`: against the list of all messages and a place in it for each receiver.

use std::pin::pin;

use filch::channel::broadcast::{self, error::RecvError};
use filch::testing::{Ledger, poll_once};
use proptest::prelude::*;

use crate::config;

#[derive(Clone, Debug)]
enum Step {
    Send,
    Subscribe,
    Leave(usize),
    /// Polls a fresh `recv` once, and drops it.
    Recv(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => Just(Step::Send),
        1 => Just(Step::Subscribe),
        1 => (0..8_usize).prop_map(Step::Leave),
        6 => (0..8_usize).prop_map(Step::Recv),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn each_receiver_sees_each_message_or_how_many_it_missed(
        capacity in 1..5_usize,
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let ledger = Ledger::new();
        let (tx, first) = broadcast::channel(capacity);
        let (mut sent, mut receivers) = (0, vec![(first, 0)]);
        for step in steps {
            match step {
                Step::Send => {
                    let outcome = tx.send(ledger.message(sent));
                    // Nobody hears it where nobody is.
                    prop_assert_eq!(outcome.is_ok(), !receivers.is_empty());
                    sent += usize::from(outcome.is_ok());
                }
                Step::Subscribe => receivers.push((tx.subscribe(), sent)),
                Step::Leave(number) => {
                    let index = number.checked_rem(receivers.len());
                    index.into_iter().for_each(|index| drop(receivers.remove(index)));
                }
                Step::Recv(number) => {
                    let Some(index) = number.checked_rem(receivers.len()) else { continue };
                    let (rx, next) = &mut receivers[index];
                    let (oldest, got) = (sent.saturating_sub(capacity), poll_once(pin!(rx.recv())));
                    if *next == sent {
                        prop_assert!(got.is_pending());
                    } else if *next < oldest {
                        let missed = (oldest - *next) as u64;
                        prop_assert!(matches!(got, std::task::Poll::Ready(Err(RecvError::Lagged(n))) if n == missed));
                        *next = oldest;
                    } else {
                        let std::task::Poll::Ready(Ok(message)) = got else { panic!("message {next} is there") };
                        prop_assert_eq!(message.id(), *next);
                        *next += 1;
                    }
                }
            }
            prop_assert_eq!(tx.receiver_count(), receivers.len());
        }
        drop((tx, receivers));
        ledger.assert_settled();
    }
}
