//! Rooms and names: who is where, and one broadcast channel a room.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use filch::channel::broadcast;

/// The room that everybody is in at first.
pub(super) const FIRST_ROOM: &str = "lobby";

/// The longest name of a room or a person.
const LONGEST_NAME: usize = 24;

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many lines of a room may wait for a slow reader.
    pub backlog: usize,
    /// How many bytes a line may have.
    pub line: usize,
    /// How long a client may read nothing at all while there is something for it to read.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { backlog: 256, line: 1024, stall: Duration::from_secs(20) }
    }
}

/// A line for everybody in a room.
#[derive(Clone, Debug)]
pub(super) struct Post {
    /// Who need not be told, having said it.
    pub(super) from: u64,
    pub(super) text: Arc<str>,
}

/// Everything that clients share.
pub(super) struct Hall {
    pub(super) limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_id: u64,
    people: BTreeMap<u64, Person>,
    rooms: BTreeMap<String, broadcast::Sender<Post>>,
}

struct Person {
    name: String,
    room: String,
}

impl Hall {
    pub(super) fn new(limits: Limits) -> Hall {
        Hall { limits, state: Mutex::new(State::default()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a new client in, under a name that nobody has.
    pub(super) fn enter(&self) -> (u64, String, broadcast::Receiver<Post>) {
        let mut state = self.state();
        state.last_id += 1;
        let id = state.last_id;
        let mut name = format!("guest{id}");
        while state.people.values().any(|person| person.name == name) {
            name.push('_');
        }
        state.people.insert(id, Person { name: name.clone(), room: String::new() });
        let posts = state.join(id, FIRST_ROOM, self.limits.backlog);
        (id, name, posts)
    }

    /// Lets a client go, and tells its room why.
    pub(super) fn leave(&self, id: u64, why: &str) {
        let mut state = self.state();
        state.post_of(id, |name| format!("* {name} {why}"));
        let person = state.people.remove(&id);
        state.tidy(person.map(|person| person.room));
    }

    /// Says a line in the client's room.
    pub(super) fn say(&self, id: u64, text: &str) {
        self.state().post_of(id, |name| format!("<{name}> {text}"));
    }

    /// Moves a client to another room, and returns what is said there from now on.
    pub(super) fn join(&self, id: u64, room: &str) -> Result<broadcast::Receiver<Post>, String> {
        check(room)?;
        let mut state = self.state();
        state.post_of(id, |name| format!("* {name} went to {room}"));
        Ok(state.join(id, room, self.limits.backlog))
    }

    /// Gives a client another name, which nobody else may have.
    pub(super) fn rename(&self, id: u64, name: &str) -> Result<(), String> {
        check(name)?;
        let mut state = self.state();
        if state.people.values().any(|person| person.name == name) {
            return Err(format!("{name} is taken"));
        }
        state.post_of(id, |old| format!("* {old} is now {name}"));
        if let Some(person) = state.people.get_mut(&id) {
            person.name = name.to_owned();
        }
        Ok(())
    }

    /// Every room and how many are in it.
    pub(super) fn rooms(&self) -> String {
        let state = self.state();
        let count = |room: &str| state.people.values().filter(|person| person.room == room).count();
        let rooms: Vec<String> = state.rooms.keys().map(|room| format!("{room} ({})", count(room))).collect();
        rooms.join(", ")
    }

    /// Who is in the client's room.
    pub(super) fn who(&self, id: u64) -> String {
        let state = self.state();
        let Some(room) = state.people.get(&id).map(|person| person.room.as_str()) else {
            return String::new();
        };
        let there = state.people.values().filter(|person| person.room == room);
        there.map(|person| person.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl State {
    /// Sends a line about a client to its room.
    fn post_of(&self, id: u64, text: impl FnOnce(&str) -> String) {
        let Some(person) = self.people.get(&id) else { return };
        if let Some(room) = self.rooms.get(&person.room) {
            // An error means that nobody is there to read it.
            let _ = room.send(Post { from: id, text: text(&person.name).into() });
        }
    }

    fn join(&mut self, id: u64, room: &str, backlog: usize) -> broadcast::Receiver<Post> {
        let channel = self.rooms.entry(room.to_owned()).or_insert_with(|| broadcast::channel(backlog).0);
        let posts = channel.subscribe();
        let left = match self.people.get_mut(&id) {
            Some(person) => Some(std::mem::replace(&mut person.room, room.to_owned())),
            None => None,
        };
        self.post_of(id, |name| format!("* {name} came in"));
        self.tidy(left);
        posts
    }

    /// Closes a room that nobody is in.
    fn tidy(&mut self, room: Option<String>) {
        if let Some(room) = room
            && !self.people.values().any(|person| person.room == room)
        {
            self.rooms.remove(&room);
        }
    }
}

/// Names are short and visible, so that lists of them can be read.
fn check(name: &str) -> Result<(), String> {
    let good = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.chars().count() > LONGEST_NAME || !name.chars().all(good) {
        return Err(format!("a name has 1 to {LONGEST_NAME} letters, digits, - or _"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_come_and_go_with_the_people_in_them() {
        let hall = Hall::new(Limits::default());
        let (ann, _, _ann_hears) = hall.enter();
        let (bob, _, _bob_hears) = hall.enter();
        hall.rename(ann, "ann").unwrap();
        assert_eq!(hall.rename(bob, "ann").unwrap_err(), "ann is taken");
        assert!(hall.rename(bob, "b b").is_err() && hall.rename(bob, "").is_err());
        let _posts = hall.join(bob, "rust").unwrap();
        assert_eq!(hall.rooms(), "lobby (1), rust (1)");
        assert_eq!(hall.who(ann), "ann");
        hall.leave(bob, "left");
        assert_eq!(hall.rooms(), "lobby (1)");
        hall.leave(ann, "left");
        assert_eq!(hall.rooms(), "");
    }
}
