//! Layer 1, task. A doubly linked list of live tasks, through their headers.
//!
//! Owns the links of every task in it, and for each the scheduler's reference. No lock inside: `scheduler`
//! keeps each list in a mutex. Called by `scheduler` at spawn, at completion, at shutdown and for reports.

use super::raw::{Done, Runnable, Task, TaskPtr};

/// The links of a task in its list. Only whoever has the list (`&mut TaskList`) touches them.
#[derive(Debug, Default)]
pub(super) struct Links {
    prev: Option<TaskPtr>,
    next: Option<TaskPtr>,
}

/// Live tasks, newest first.
///
/// *A task in a list is alive*: the scheduler's reference, given back only after `remove`, keeps it. Whoever
/// has `&mut` of the list has the sole right to the links of all tasks in it.
#[derive(Debug, Default)]
pub(crate) struct TaskList {
    head: Option<TaskPtr>,
    len: usize,
    /// How many tasks there have been in it.
    pub(crate) taken_in: u64,
    /// How often it was closed: at first for all but late tasks, then for all.
    closed: usize,
}

impl TaskList {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes in a new task. False: the list is closed, the task must be cancelled and is not in it.
    #[inline]
    #[must_use]
    pub(crate) fn push(&mut self, runnable: &Runnable) -> bool {
        if self.closed > usize::from(runnable.task().is_late()) {
            return false;
        }
        let task = runnable.task();
        let next = self.head.replace(task);
        // SAFETY: we have the list, hence the links of the new task and of its neighbour.
        unsafe {
            task.links.with_mut(|links| *links = Links { prev: None, next });
            if let Some(next) = next {
                next.links.with_mut(|links| (*links).prev = Some(task));
            }
        }
        self.len += 1;
        self.taken_in += 1;
        true
    }

    /// Takes out a task that is done. It must be in this list.
    #[inline]
    pub(crate) fn remove(&mut self, done: &Done) {
        // SAFETY: we have the list, hence the links of the task and of its neighbours.
        unsafe {
            let (prev, next) = done.0.links.with(|links| ((*links).prev, (*links).next));
            match prev {
                Some(prev) => prev.links.with_mut(|links| (*links).next = next),
                None => self.head = next,
            }
            if let Some(next) = next {
                next.links.with_mut(|links| (*links).prev = prev);
            }
        }
        self.len -= 1;
    }

    /// No task comes in from now on, but for late ones until it is closed again. Returns those that are in it.
    pub(crate) fn close(&mut self) -> Vec<Task> {
        self.closed += 1;
        self.tasks()
    }

    /// A counted reference to each task, newest first.
    pub(crate) fn tasks(&self) -> Vec<Task> {
        let mut tasks = Vec::with_capacity(self.len);
        let mut next = self.head;
        while let Some(task) = next {
            tasks.push(Task::new(task));
            // SAFETY: nobody changes links while we have `&self`, since that takes `&mut`.
            next = task.links.with(|links| unsafe { (*links).next });
        }
        tasks
    }
}
