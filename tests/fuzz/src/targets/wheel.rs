//! The timer wheel against a sorted map, wherever the clock starts.

use std::collections::BTreeMap;

use crate::Bytes;
use crate::wheel::Wheel;

pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut wheel = Wheel::new();
    let mut now = bytes.number();
    // Deadline and number of insertion, to the index in the wheel; and back, while it has not fired.
    let mut due: BTreeMap<(u64, u64), u32> = BTreeMap::new();
    let mut timers: BTreeMap<u32, Option<(u64, u64)>> = BTreeMap::new();
    let mut count = 0;
    assert_eq!(wheel.expire(now, usize::MAX, &mut Vec::new()), 0);
    while let Some(byte) = bytes.next() {
        count += 1;
        let deadline = match byte >> 5 {
            0 => now.saturating_sub(bytes.number()),
            1 => now,
            2 => u64::MAX - u64::from(byte & 3),
            3 | 4 => (now | 0xff_ffff).saturating_add(u64::from(byte & 3)),
            _ => now.saturating_add(bytes.number()),
        };
        let some = timers.keys().nth(bytes.below(timers.len())).copied();
        match (byte & 7, some) {
            (0..=2, _) => {
                // What hangs on a timer is its number of insertion.
                let index = wheel.insert(deadline, count);
                assert!(timers.insert(index, Some((deadline, count))).is_none());
                due.insert((deadline, count), index);
            }
            (3, Some(index)) => {
                let key = timers.remove(&index).flatten();
                assert_eq!(wheel.release(index).is_some(), key.is_some());
                key.map(|key| due.remove(&key));
            }
            (4, Some(index)) => {
                let armed = timers[&index];
                assert_eq!(wheel.reset(index, deadline), armed.is_some());
                if let Some(key) = armed {
                    due.remove(&key);
                    due.insert((deadline, count), index);
                    timers.insert(index, Some((deadline, count)));
                    *wheel.get_mut(index).expect("it is armed") = count;
                }
            }
            _ => {
                now = now.saturating_add(bytes.number());
                let limit = if byte & 8 == 0 { usize::MAX } else { 1 + bytes.below(4) };
                let mut fired = Vec::new();
                assert_eq!(wheel.expire(now, limit, &mut fired), fired.len());
                let expect: Vec<_> =
                    due.range(..=(now, u64::MAX)).take(limit).map(|(k, v)| (*k, *v)).collect();
                assert_eq!(fired, expect.iter().map(|(key, _)| key.1).collect::<Vec<_>>());
                for (key, index) in expect {
                    due.remove(&key);
                    timers.insert(index, None);
                }
            }
        }
        let first = due.keys().next().map(|key| key.0);
        assert_eq!(wheel.next_wake().is_some(), first.is_some());
        assert!(wheel.next_wake() <= first, "it would sleep too long");
    }
}
