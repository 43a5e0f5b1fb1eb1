//! Layer 1, task. A doubly linked list of live tasks, through their headers.
//!
//! Owns the links of every task in it, and for each the scheduler's reference. No lock inside: `scheduler`
//! keeps each list in a mutex. Called by `scheduler` at spawn, at completion, at shutdown and for reports.

use std::ptr::{self, NonNull};

use super::raw::{Done, Header, Runnable, Task};

/// The links of a task in its list. Only whoever has the list (`&mut TaskList`) touches them.
#[derive(Debug)]
pub(super) struct Links {
    prev: *mut Header,
    next: *mut Header,
}

impl Links {
    pub(super) const fn new() -> Links {
        Links { prev: ptr::null_mut(), next: ptr::null_mut() }
    }
}

/// Live tasks, newest first.
#[derive(Debug)]
pub(crate) struct TaskList {
    head: *mut Header,
    len: usize,
    closed: bool,
}

// SAFETY: the list owns a reference to each task in it, and touches of a task only links (which belong to the
// list) and what is `Sync` in a header.
unsafe impl Send for TaskList {}

impl TaskList {
    pub(crate) const fn new() -> TaskList {
        TaskList { head: ptr::null_mut(), len: 0, closed: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes in a new task. False: the list is closed, the task must be cancelled and is not in it.
    #[inline]
    #[must_use]
    pub(crate) fn push(&mut self, runnable: &Runnable) -> bool {
        if self.closed {
            return false;
        }
        let task = runnable.header().as_ptr();
        // SAFETY: "a task in a list is alive": the scheduler's reference, given back only after `remove`,
        // keeps `task` and `self.head`; `&mut self` gives the sole right to their links.
        unsafe {
            (*task).links.with_mut(|links| *links = Links { prev: ptr::null_mut(), next: self.head });
            if let Some(head) = NonNull::new(self.head) {
                head.as_ref().links.with_mut(|links| (*links).prev = task);
            }
        }
        self.head = task;
        self.len += 1;
        true
    }

    /// Takes out a task that is done. It must be in this list.
    #[inline]
    pub(crate) fn remove(&mut self, done: &Done) {
        let task = done.header().as_ptr();
        // SAFETY: "a task in a list is alive", its neighbours too, and `&mut self` gives the sole right to
        // the links.
        unsafe {
            let (prev, next) = (*task).links.with(|links| ((*links).prev, (*links).next));
            match NonNull::new(prev) {
                Some(prev) => prev.as_ref().links.with_mut(|links| (*links).next = next),
                None => self.head = next,
            }
            if let Some(next) = NonNull::new(next) {
                next.as_ref().links.with_mut(|links| (*links).prev = prev);
            }
        }
        self.len -= 1;
    }

    /// No task comes in from now on.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// A counted reference to each task, newest first.
    pub(crate) fn tasks(&self) -> Vec<Task> {
        let mut tasks = Vec::with_capacity(self.len);
        let mut next = NonNull::new(self.head);
        while let Some(header) = next {
            // SAFETY: "a task in a list is alive"; nobody changes links while we have `&self`, since that
            // takes `&mut`.
            unsafe {
                tasks.push(Task::new(header));
                next = NonNull::new(header.as_ref().links.with(|links| (*links).next));
            }
        }
        tasks
    }
}
