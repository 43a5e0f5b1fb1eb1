//! `Select`: against three deques, of which exactly one changes each time.

use std::collections::VecDeque;

use filch::channel::{Receiver, Select, Sender, bounded, unbounded};
use proptest::prelude::*;

use crate::{Line, config};

/// So many messages wait in the channel that is selected for sending.
const ROOM: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    /// A select comes: biased or not.
    Come(bool),
    Poll(usize),
    GiveUp(usize),
    /// A message for the one or the other channel that selects receive from.
    Send(bool),
    /// Takes a message that a select has sent.
    Take,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(Step::Come),
        7 => (0..8_usize).prop_map(Step::Poll),
        3 => (0..8_usize).prop_map(Step::GiveUp),
        3 => any::<bool>().prop_map(Step::Send),
        2 => Just(Step::Take),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Done {
    First(usize),
    Second(usize),
    Sent,
}

/// Its message, and whether it is biased.
type Key = (usize, bool);

/// What was done, and the message if it was not sent.
type Answer = (Done, Option<usize>);

async fn select(
    first: &Receiver<usize>,
    second: &Receiver<usize>,
    to: &Sender<usize>,
    (message, biased): Key,
) -> Answer {
    let mut message = Some(message);
    let cases = Select::new()
        .recv(first, |message| Done::First(message.expect("it is open")))
        .recv(second, |message| Done::Second(message.expect("it is open")))
        .send(to, &mut message, |sent| sent.map(|()| Done::Sent).expect("it is open"));
    let done = if biased { cases.biased().await } else { cases.await };
    (done, message)
}

/// What the channels hold.
#[derive(Default)]
struct Plain {
    first: VecDeque<usize>,
    second: VecDeque<usize>,
    sent: VecDeque<usize>,
}

impl Plain {
    /// What a biased select does.
    fn in_order(&self) -> Option<Done> {
        let (first, second) = (self.first.front(), self.second.front());
        let sent = (self.sent.len() < ROOM).then_some(Done::Sent);
        first.map(|&id| Done::First(id)).or(second.map(|&id| Done::Second(id))).or(sent)
    }

    fn does(&mut self, (id, _): Key, (done, message): Answer) {
        match done {
            Done::First(got) => assert_eq!(self.first.pop_front(), Some(got)),
            Done::Second(got) => assert_eq!(self.second.pop_front(), Some(got)),
            Done::Sent => {
                assert!(self.sent.len() < ROOM, "there was no room");
                self.sent.push_back(id);
            }
        }
        assert_eq!(message, (done != Done::Sent).then_some(id), "one case only");
    }
}

fn play(steps: Vec<Step>) {
    let ((one, first), (two, second)) = (unbounded(), bounded(64));
    let (to, from) = bounded(ROOM);
    let mut line: Line<'_, Key, Answer> = Line::new();
    let mut plain = Plain::default();
    let mut next = 0;
    for step in steps {
        next += 1;
        match step {
            Step::Come(biased) => line.add((next, biased), select(&first, &second, &to, (next, biased))),
            Step::Poll(number) => {
                let Some(index) = line.pick(number) else { continue };
                let alone = !line.0.iter().enumerate().any(|(at, waits)| at != index && waits.polled);
                let expected = plain.in_order();
                let biased = line.0[index].key.1;
                match line.poll(index) {
                    Some((key, answer)) => {
                        assert!(!alone || !biased || expected == Some(answer.0), "in their order");
                        plain.does(key, answer);
                    }
                    None => {
                        assert!(!alone || expected.is_none(), "something can be done, and nobody else waits")
                    }
                }
            }
            Step::GiveUp(number) => {
                line.pick(number).into_iter().for_each(|index| _ = line.drop_one(index));
            }
            Step::Send(to_first) => {
                let (tx, to) = if to_first { (&one, &mut plain.first) } else { (&two, &mut plain.second) };
                if tx.try_send(next).is_ok() {
                    to.push_back(next);
                } else {
                    assert!(to.len() >= 64);
                }
            }
            Step::Take => match from.try_recv() {
                Ok(id) => assert_eq!(plain.sent.pop_front(), Some(id)),
                Err(_) => assert!(plain.sent.is_empty()),
            },
        }
        assert_eq!(
            (first.len(), second.len(), from.len()),
            (plain.first.len(), plain.second.len(), plain.sent.len())
        );
    }
    // Enough for all who wait.
    for id in next..next + line.0.len() {
        one.try_send(id).expect("there is always room");
        plain.first.push_back(id);
    }
    line.settle(|key, answer| plain.does(key, answer));
    assert!(line.0.is_empty(), "{} wait for messages that are there", line.0.len());
    for (rx, plain) in [(&first, &plain.first), (&second, &plain.second), (&from, &plain.sent)] {
        assert_eq!(rx.drain().collect::<VecDeque<_>>(), *plain, "no message is lost, and none is seen twice");
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn exactly_one_case_is_done(steps in prop::collection::vec(step(), 0..80)) {
        play(steps);
    }
}
