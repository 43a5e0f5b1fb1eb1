//! Layer 4. What is told of a live task: `TaskInfo`.
//!
//! Owns no more than what it read from a task's header. Made by `runtime`, for `Handle::tasks`.
#![forbid(unsafe_code)]

use std::panic::Location;

use filch_channels::probe::Wait;

use crate::task::{Id, Task};

/// What a live task is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskState {
    /// It waits to be woken.
    Waiting,
    /// It was woken, and waits for its turn.
    Scheduled,
    /// It is being polled.
    Running,
    /// It will be dropped at its next turn.
    Cancelled,
}

/// What is known of a live task; see [`Handle::tasks`](crate::Handle::tasks).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Its id.
    pub id: Id,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub location: &'static Location<'static>,
    /// The task that spawned it, if a task did.
    pub parent: Option<Id>,
    /// What it does now.
    pub state: TaskState,
    /// How often it was polled.
    pub polls: u32,
    /// What it waits for, as its last leaf said that was not ready. `Unknown` without the feature `probe`.
    pub wait: Wait,
    /// The address of what it waits for, or the id of the task that it joins; `0`: none.
    pub wait_resource: usize,
    /// The line that waits, where the leaf noted it.
    pub wait_location: Option<&'static Location<'static>>,
}

impl TaskInfo {
    pub(crate) fn new(task: &Task) -> TaskInfo {
        let header = &task.probe;
        let state = if header.is_running() {
            TaskState::Running
        } else if task.state.is_cancelled() {
            TaskState::Cancelled
        } else if task.state.is_woken() {
            TaskState::Scheduled
        } else {
            TaskState::Waiting
        };
        let (wait, wait_resource, wait_location) = header.wait();
        TaskInfo {
            id: Id(header.id()),
            name: task.name().map(str::to_owned),
            location: task.location,
            parent: Some(task.parent).filter(|parent| *parent != 0).map(Id),
            state,
            polls: header.polls(),
            wait,
            wait_resource,
            wait_location,
        }
    }
}
