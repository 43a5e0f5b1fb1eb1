//! Layer 3, cancel. The tree of tokens: who hears of a cancellation, and who is forgotten.
//!
//! Owns the nodes. A token is a count of an [`Owner`]; the owner has a [`Node`], which its parent's node keeps
//! too, until the owner is dropped. So the parent reaches its children without knowing whether anybody still
//! has their tokens, and a child that nobody has any more leaves the parent's list at once. Called by `mod.rs`.
//!
//! # Why nobody is missed
//! A node's reason and its list are written under one lock, so that a child either is in the list when that is
//! read, or finds the reason when it is born, and takes it over. No thread has two of these locks at once.
//!
//! *When [`Node::cancel`] returns, all nodes below have a reason*, also when two cancel at the same time: a list
//! is cleared only after all that is below has its reason, and who finds a node that has one already goes on to
//! its list all the same. So the second either finds the list, and does the work again, or finds that it was
//! done. A node's first reason stays.
//!
//! Who waits is woken after that, with no lock held, parents before children: a task that is woken by one token
//! finds no token of the tree that has not heard of it.
#![forbid(unsafe_code)]

use filch_channels::sync::Event;
use slab::Slab;

use crate::shim::{Arc, Mutex, OnceLock};

/// Called when a node is cancelled, with no lock held, by whoever cancels.
pub(crate) type Hook = Box<dyn FnOnce() + Send>;

struct Links<R> {
    /// Those that are to hear of it. Empty, and stays so, once all of them have.
    children: Slab<Arc<Node<R>>>,
    hooks: Vec<Hook>,
}

/// `R` is the type of the reasons.
pub(super) struct Node<R> {
    /// Written under the lock of `links`, read without.
    reason: OnceLock<R>,
    /// Set after that.
    pub(super) event: Event,
    links: Mutex<Links<R>>,
}

impl<R: Clone> Node<R> {
    fn new() -> Arc<Node<R>> {
        let links = Mutex::new(Links { children: Slab::new(), hooks: Vec::new() });
        Arc::new(Node { reason: OnceLock::new(), event: Event::new(), links })
    }

    pub(super) fn reason(&self) -> Option<&R> {
        self.reason.get()
    }

    /// Cancels this node and all below. False: it was cancelled before.
    pub(super) fn cancel(this: &Arc<Node<R>>, reason: &R) -> bool {
        let mut is_first = false;
        let mut found: Vec<(Arc<Node<R>>, Vec<Hook>)> = Vec::new();
        let mut next = vec![this.clone()];
        while let Some(node) = next.pop() {
            let hooks = {
                let mut links = node.links.lock();
                let is_new = node.reason.set(reason.clone()).is_ok();
                is_first |= is_new && found.is_empty();
                next.extend(links.children.iter().map(|(_, child)| child.clone()));
                std::mem::take(&mut links.hooks)
            };
            found.push((node, hooks));
        }
        for (node, _) in &found {
            let children = std::mem::take(&mut node.links.lock().children);
            drop(children);
        }
        for (node, hooks) in found {
            node.event.set();
            hooks.into_iter().for_each(|hook| hook());
        }
        is_first
    }

    /// Has `hook` called once this is cancelled: now, if it is.
    pub(super) fn on_cancel(&self, hook: Hook) {
        {
            let mut links = self.links.lock();
            if self.reason.get().is_none() {
                return links.hooks.push(hook);
            }
        }
        hook();
    }
}

/// What all clones of a token share. The last of them takes the node out of its parent's list.
pub(super) struct Owner<R> {
    pub(super) node: Arc<Node<R>>,
    /// The parent, and the place in its list. `None` too for a child of one that was cancelled.
    parent: Option<(Arc<Owner<R>>, usize)>,
}

impl<R: Clone> Owner<R> {
    pub(super) fn root() -> Owner<R> {
        Owner { node: Node::new(), parent: None }
    }

    pub(super) fn child(this: &Arc<Owner<R>>) -> Owner<R> {
        let node = Node::new();
        let mut links = this.node.links.lock();
        if let Some(reason) = this.node.reason.get() {
            drop(links);
            Node::cancel(&node, reason);
            return Owner { node, parent: None };
        }
        let key = links.children.insert(node.clone());
        drop(links);
        Owner { node, parent: Some((this.clone(), key)) }
    }

    #[cfg(test)]
    pub(super) fn children(&self) -> usize {
        self.node.links.lock().children.len()
    }
}

impl<R> Drop for Owner<R> {
    fn drop(&mut self) {
        // A loop, for a chain of tokens may be longer than the stack is deep.
        let mut above = self.parent.take();
        while let Some((parent, key)) = above {
            // Gone already if the parent was cancelled; nothing comes into its list after that.
            let node = parent.node.links.lock().children.try_remove(key);
            drop(node);
            above = Arc::try_unwrap(parent).ok().and_then(|mut parent| parent.parent.take());
        }
    }
}
