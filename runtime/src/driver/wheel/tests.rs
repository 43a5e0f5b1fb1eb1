//! The wheel alone: tables, and long random runs against a `BTreeMap`.

use std::collections::BTreeMap;

use super::*;

/// The width of a slot of level 0.
const SLOT: u64 = 1 << SLOT_BITS;

/// splitmix64, after Steele, Lea and Flood (2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A number of a random size: as often below 2^10 as above 2^50.
    fn any_size(&mut self) -> u64 {
        let bits = self.below(65) as u32;
        self.next().checked_shr(64 - bits).unwrap_or(0)
    }
}

impl<T> Wheel<T> {
    /// How many timers have yet to fire.
    pub(crate) fn armed(&self) -> usize {
        self.entries.iter().filter(|entry| entry.value.is_some()).count()
    }
}

/// Adds a timer on which its own index hangs.
fn insert(wheel: &mut Wheel<u32>, deadline: u64) -> u32 {
    let index = wheel.insert(deadline, NIL);
    *wheel.get_mut(index).unwrap() = index;
    index
}

/// Fires all that is due at `now` and gives the deadlines, in the order of firing.
fn fire(wheel: &mut Wheel<u32>, now: u64) -> Vec<u64> {
    let mut fired = Vec::new();
    wheel.expire(now, usize::MAX, &mut fired);
    fired.iter().map(|index| wheel.entries[*index as usize].deadline).collect()
}

/// What the wheel must do, by the simplest means.
#[derive(Default)]
struct Model {
    /// By deadline and number of insertion; the index in the wheel.
    due: BTreeMap<(u64, u64), u32>,
    /// By index, where it is in `due` (until it has fired).
    keys: BTreeMap<u32, Option<(u64, u64)>>,
    count: u64,
}

impl Model {
    fn insert(&mut self, index: u32, deadline: u64) {
        self.count += 1;
        self.due.insert((deadline, self.count), index);
        self.keys.insert(index, Some((deadline, self.count)));
    }

    fn remove(&mut self, index: u32) -> bool {
        let key = self.keys.remove(&index).flatten();
        key.is_some_and(|key| self.due.remove(&key).is_some())
    }

    fn fire(&mut self, now: u64, limit: usize) -> Vec<u32> {
        let due: Vec<_> = self.due.range(..=(now, u64::MAX)).take(limit).map(|(k, v)| (*k, *v)).collect();
        for (key, index) in &due {
            self.due.remove(key);
            self.keys.insert(*index, None);
        }
        due.into_iter().map(|(_, index)| index).collect()
    }
}

/// The invariants of [`Wheel`], entry by entry.
fn check(wheel: &Wheel<u32>) {
    let mut linked = 0;
    for (place, slot) in wheel.slots.iter().enumerate() {
        let (mut index, mut prev) = (slot.head, NIL);
        let is_occupied = wheel.occupied[place / SLOTS] >> (place % SLOTS) & 1 == 1;
        assert_eq!(is_occupied, index != NIL);
        while index != NIL {
            let entry = &wheel.entries[index as usize];
            assert_eq!((usize::from(entry.place), entry.prev), (place, prev));
            assert_eq!(wheel.place(entry.deadline), place);
            assert!(slot.earliest <= entry.deadline);
            linked += 1;
            (prev, index) = (index, entry.next);
        }
        assert!(!is_occupied || slot.tail == prev);
    }
    assert_eq!(linked, wheel.armed());
}

/// One random run. `now` starts at `start`, and moves by jumps of any size up to `2^jump`.
fn run(seed: u64, start: u64, jump: u64, steps: u32) {
    let mut random = Random(seed);
    let (mut wheel, mut model) = (Wheel::new(), Model::default());
    let mut now = start;
    fire(&mut wheel, now);
    for step in 0..steps {
        let pick = |random: &mut Random, model: &Model| {
            let nth = random.below(model.keys.len().max(1) as u64) as usize;
            model.keys.keys().nth(nth).copied()
        };
        let deadline = match random.below(8) {
            0 => now.saturating_sub(random.any_size()),
            1 => now,
            2 => u64::MAX - random.below(3),
            3 => now.saturating_add(random.below(3 * SLOT)),
            // Few values, so that there are ties.
            4 | 5 => (now | 0xff_ffff).saturating_add(random.below(4)),
            _ => now.saturating_add(random.any_size()),
        };
        match random.below(10) {
            0..=4 => {
                let index = insert(&mut wheel, deadline);
                model.insert(index, deadline);
            }
            5 => {
                if let Some(index) = pick(&mut random, &model) {
                    assert_eq!(wheel.release(index).is_some(), model.remove(index));
                }
            }
            6 => {
                if let Some(index) = pick(&mut random, &model) {
                    let armed = wheel.reset(index, deadline);
                    assert_eq!(armed, model.keys[&index].is_some());
                    if armed {
                        model.remove(index);
                        model.insert(index, deadline);
                    }
                }
            }
            _ => {
                now = match random.below(4) {
                    0 => wheel.next_wake().map_or(now, |next| now.max(next)),
                    1 => now,
                    _ => now.saturating_add(random.any_size() >> (64 - jump)),
                };
                let limit = if random.below(2) == 0 { usize::MAX } else { random.below(5) as usize };
                let mut fired = Vec::new();
                let count = wheel.expire(now, limit, &mut fired);
                assert_eq!(fired, model.fire(now, limit), "seed {seed}, step {step}, now {now}");
                assert_eq!(count, fired.len());
            }
        }
        assert_eq!(wheel.armed(), model.due.len());
        let first = model.due.first_key_value().map(|((deadline, _), _)| *deadline);
        assert_eq!(wheel.next_wake().is_some(), first.is_some());
        assert!(wheel.next_wake() <= first, "late: seed {seed}, step {step}");
        if step % 16 == 0 {
            check(&wheel);
        }
    }
    // From here on each stop at `next_wake` gets somewhere, and the stops are few.
    let mut stops = 0;
    while let Some(next) = wheel.next_wake() {
        now = now.max(next);
        let mut fired = Vec::new();
        wheel.expire(now, usize::MAX, &mut fired);
        assert_eq!(fired, model.fire(now, usize::MAX), "seed {seed}, at the end");
        stops += 1;
    }
    assert!(model.due.is_empty());
    assert!(stops <= 2 * steps as usize, "{stops} stops after {steps} steps");
    for index in model.keys.into_keys() {
        assert_eq!(wheel.release(index), None);
    }
    assert_eq!(wheel.used, 0);
}

#[test]
fn tm4_agrees_with_a_sorted_map_wherever_the_clock_starts() {
    let rounds = if cfg!(debug_assertions) { 60 } else { 2_000 };
    for seed in 0..rounds {
        let mut random = Random(!seed);
        let start = match seed % 4 {
            0 => random.any_size(),
            1 => u64::MAX - random.any_size() % (1 << 40),
            2 => random.next(),
            _ => (random.any_size() / SLOT * SLOT).wrapping_sub(1),
        };
        for jump in [17, 30, 64] {
            run(seed, start, jump, 400);
        }
    }
}

#[test]
fn fires_in_the_order_of_deadlines_and_ties_in_the_order_of_insertion() {
    let deadlines = [900, 5, 5 + SLOT, 900, 70 * SLOT, 5, 64 * SLOT, 64 * SLOT + 1, 6];
    let mut wheel = Wheel::new();
    let indices = deadlines.map(|deadline| insert(&mut wheel, deadline));
    let mut expected: Vec<usize> = (0..deadlines.len()).collect();
    expected.sort_by_key(|i| deadlines[*i]);
    let mut fired = Vec::new();
    assert_eq!(wheel.expire(100 * SLOT, usize::MAX, &mut fired), deadlines.len());
    assert_eq!(fired, expected.into_iter().map(|i| indices[i]).collect::<Vec<_>>());
}

#[test]
fn fires_to_the_tick_and_never_before() {
    for deadline in [1, SLOT - 1, SLOT, SLOT + 1, 64 * SLOT, 64 * SLOT - 1, 1 << 40, u64::MAX - 1, u64::MAX] {
        let mut wheel = Wheel::new();
        let _ = insert(&mut wheel, deadline);
        assert_eq!(wheel.next_wake(), Some(deadline));
        assert_eq!(fire(&mut wheel, deadline - 1), []);
        assert_eq!(wheel.next_wake(), Some(deadline));
        assert_eq!(fire(&mut wheel, deadline), [deadline]);
        assert_eq!(wheel.next_wake(), None);
    }
}

#[test]
fn a_deadline_behind_the_cursor_is_due_at_once() {
    let mut wheel = Wheel::new();
    fire(&mut wheel, 1000 * SLOT);
    for deadline in [999 * SLOT, 0, 1000 * SLOT] {
        let _ = insert(&mut wheel, deadline);
    }
    assert_eq!(wheel.next_wake(), Some(0));
    assert_eq!(fire(&mut wheel, 1000 * SLOT), [0, 999 * SLOT, 1000 * SLOT]);
}

#[test]
fn ten_idle_years_cost_one_step() {
    const YEARS: u64 = 10 * 365 * 86_400 * 1_000_000_000;
    let mut wheel = Wheel::new();
    let _ = insert(&mut wheel, YEARS);
    let _ = insert(&mut wheel, YEARS + 1);
    assert_eq!(wheel.next_wake(), Some(YEARS));
    assert_eq!(fire(&mut wheel, YEARS), [YEARS]);
    assert_eq!(wheel.next_wake(), Some(YEARS + 1));
    assert_eq!(fire(&mut wheel, u64::MAX), [YEARS + 1]);
}

#[test]
fn an_older_now_fires_nothing_that_is_not_due_then() {
    let mut wheel = Wheel::new();
    fire(&mut wheel, 50 * SLOT);
    let _ = insert(&mut wheel, 40 * SLOT);
    let _ = insert(&mut wheel, 30 * SLOT);
    assert_eq!(fire(&mut wheel, 35 * SLOT), [30 * SLOT]);
    assert_eq!(fire(&mut wheel, 50 * SLOT), [40 * SLOT]);
}

#[test]
fn a_batch_leaves_the_rest_for_the_next() {
    let mut wheel = Wheel::new();
    for deadline in (0..10).rev() {
        let _ = insert(&mut wheel, deadline);
    }
    let mut fired = Vec::new();
    for expected in [4, 4, 2, 0] {
        assert_eq!(wheel.expire(SLOT, 4, &mut fired), expected);
    }
    assert_eq!(fired, (0..10).rev().collect::<Vec<u32>>());
}

#[test]
fn cancelled_timers_leave_nothing_behind() {
    let (mut wheel, mut random) = (Wheel::new(), Random(1));
    let rounds: u64 = if cfg!(debug_assertions) { 100_000 } else { 10_000_000 };
    let mut held = Vec::new();
    for i in 0..rounds {
        held.push(insert(&mut wheel, (i + 2_000).saturating_add(random.any_size())));
        if held.len() == 100 {
            held.drain(..).for_each(|index| assert_eq!(wheel.release(index), Some(index)));
        }
        if i % 1000 == 0 {
            fire(&mut wheel, i);
        }
    }
    assert!(wheel.entries.len() <= 128, "{} places for 100 timers", wheel.entries.len());
    for index in held {
        let _ = wheel.release(index);
    }
    assert_eq!(wheel.armed(), 0);
    assert_eq!(wheel.occupied, [0; LEVELS]);
}

#[test]
fn a_large_slab_is_given_back_when_empty() {
    let mut wheel = Wheel::new();
    let indices: Vec<_> = (0..10_000).map(|i| insert(&mut wheel, i)).collect();
    assert!(wheel.entries.capacity() < 12_600, "grows by a quarter");
    assert_eq!(fire(&mut wheel, 5_000).len(), 5_001);
    for index in indices {
        let _ = wheel.release(index);
    }
    assert_eq!((wheel.entries.len(), wheel.entries.capacity()), (0, 0));
    let index = insert(&mut wheel, 7_000);
    assert_eq!(fire(&mut wheel, 7_000), [7_000]);
    assert_eq!(wheel.release(index), None);
}

#[test]
fn an_entry_with_its_waker_is_small() {
    assert!(size_of::<Entry<std::task::Waker>>() <= 40);
}
