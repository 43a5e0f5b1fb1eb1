//! The house rules that a reader could break without noticing: layers, rooms for unsafe, sizes, stale names.
//!
//! Owns the tables: what each room may name, and what is excepted, with the reason. `tidy/source.rs` reads the
//! tree, `tidy/checks.rs` holds the rules and shows of each that it can fail; `tidy/docs.rs` that of documentation.
#![allow(missing_docs)]

#[path = "tidy/checks.rs"]
mod checks;
#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/source.rs"]
mod source;

use std::process::Command;

use checks::Room;
use source::{Source, root, tree};

/// Which rooms of the runtime may name which; a room may always name itself. A name stands for what is inside
/// it too, and `root` for what `lib.rs` re-exports.
const RUNTIME_ROOMS: &[Room] = &[
    // Layer 0
    Room("sync", &[]),
    Room("blocks", &[]),
    Room("util", &["sync"]),
    // Layer 1: siblings that do not know each other.
    Room("task", &["sync", "blocks", "util"]),
    Room("driver", &["sync", "util"]),
    Room("driver::wheel", &[]),
    // Layer 2: the only rooms that know both.
    Room("scheduler::queue", &["sync", "util"]),
    Room("scheduler::injector", &["sync", "util"]),
    Room("scheduler::idle", &["sync", "util"]),
    Room("scheduler", &["task", "driver", "context", "sync", "util"]),
    Room("context", &["scheduler", "task", "driver", "sync", "util"]),
    // Layer 3: what users hold. No task, no queue, no atomic.
    Room("cancel::tree", &["sync"]),
    Room("cancel", &["sync", "util", "task", "task_local"]),
    Room("gather", &["sync", "util", "time", "root", "spawn", "cancel"]),
    Room("select", &["macros"]),
    Room("task_local", &["sync"]),
    // `yield_now` is the function, which `lib.rs` re-exports.
    Room("time", &["context", "driver", "sync", "root"]),
    Room("io", &["context", "driver", "sync"]),
    Room("async_fd", &["context", "driver", "io"]),
    Room("fs", &["context", "task", "sync", "root"]),
    Room("net", &["async_fd", "context", "driver", "io", "time", "sync", "root"]),
    Room("pool", &["gather", "sync", "util"]),
    // `Handle` is in the root.
    Room("pool::workers", &["pool", "cancel", "task", "time", "sync", "util", "root"]),
    Room("process", &["async_fd", "context", "driver", "io", "signal", "sync"]),
    // Its tasks and timers are those of any user; `crate::spawn` is the function, which reads as the room.
    Room(
        "process::pool",
        &["process", "context", "net", "signal", "sync", "task", "time", "util", "root", "spawn"],
    ),
    Room("signal", &["async_fd", "context", "driver", "io", "sync"]),
    // `crate::spawn` is the function, which `lib.rs` re-exports; it reads as the room of the same name.
    Room("generator", &[]),
    Room("limit", &["context", "time", "sync", "util", "root", "spawn"]),
    Room("retry", &["macros", "time"]),
    Room("hyper", &["async_fd", "context", "io", "net", "time", "root", "spawn"]),
    Room("tokio_io", &["async_fd", "context", "fs", "io", "net", "process"]),
    Room("local", &["context", "scheduler", "task", "sync", "util"]),
    // Layer 4
    Room("macros", &["gather", "select", "task_local", "util", "context", "root"]),
    // The front door in three parts, which know each other.
    Room("builder", &["runtime", "driver", "scheduler", "task", "sync"]),
    Room("runtime", &["builder", "spawn", "task_info", "context", "local", "scheduler", "task", "sync"]),
    Room("spawn", &["runtime", "context", "local", "scheduler", "task", "task_local"]),
    Room("task_info", &["task"]),
    // Layer 5: what is made of all that.
    Room("cleanup", &["sync", "util", "root"]),
    Room("group", &["cancel", "cleanup", "spawn", "task", "time", "sync", "root"]),
    Room("scope", &["cancel", "cleanup", "gather", "group", "task_local", "time", "util", "sync", "root"]),
];

const CHANNELS_ROOMS: &[Room] = &[
    // `super` in a macro that is used one module further in.
    // `mutation` is a part of `sync`, in models only.
    Room("sync", &["root", "mutation"]),
    Room("mutation", &["root"]),
    // One edge goes up: at the end of a poll the probe asks the wait queue to settle what it granted.
    Room("probe", &["sync", "wait_queue", "holder"]),
    Room("holder", &["sync", "probe"]),
    Room("guarded", &["sync"]),
    // Containers and single slots: no waiting in them.
    Room("waker_slot", &["sync"]),
    Room("wake_batch", &["sync"]),
    Room("ring", &["sync"]),
    Room("chain", &["sync", "ring"]),
    Room("block", &["sync"]),
    Room("wait_queue", &["sync", "probe", "wake_batch", "block"]),
    Room("semaphore", &["sync", "probe", "wait_queue", "block"]),
    Room("lock", &["sync", "probe", "holder", "wait_queue", "block", "guarded"]),
    Room("rwlock", &["sync", "probe", "wait_queue", "block", "guarded", "lock"]),
    Room("rlock", &["sync", "probe", "wait_queue", "block", "guarded", "lock"]),
    Room("condition", &["sync", "probe", "wait_queue", "block", "lock"]),
    Room("notify", &["sync", "probe", "wait_queue", "block"]),
    Room("event", &["sync", "probe", "wait_queue", "block"]),
    Room("barrier", &["sync", "probe", "wait_queue", "block"]),
    Room("atomic_wait", &["sync", "probe", "wait_queue", "block"]),
    Room("counter", &["sync"]),
    Room("once_cell", &["sync", "probe", "semaphore", "event", "block"]),
    Room("pool", &["sync", "semaphore", "block"]),
    Room("queue", &["sync", "probe", "wait_queue", "block"]),
    Room(
        "channel",
        &["sync", "probe", "wait_queue", "waker_slot", "wake_batch", "ring", "chain", "block", "semaphore"],
    ),
    // For tests of what is here, which it does not name.
    Room("testing", &["sync", "block"]),
];

/// Where `unsafe` may stand. Every other file of the two libraries forbids it to itself.
const UNSAFE_FILES: &[&str] = &[
    "channels/src/chain/block.rs",
    "channels/src/chain/mod.rs",
    "channels/src/channel/oneshot/end.rs",
    "channels/src/guarded.rs",
    "channels/src/lock/guard.rs",
    "channels/src/probe.rs",
    "channels/src/ring/mod.rs",
    "channels/src/rlock/guard.rs",
    "channels/src/rwlock/guard.rs",
    "channels/src/rwlock/mod.rs",
    "channels/src/testing/evil_waker.rs",
    "channels/src/wait_queue/entry.rs",
    "channels/src/wait_queue/grant.rs",
    "channels/src/wait_queue/list.rs",
    "channels/src/wait_queue/waiter.rs",
    "channels/src/waker_slot.rs",
    "runtime/src/blocks.rs",
    "runtime/src/context.rs",
    "runtime/src/driver/timerfd.rs",
    "runtime/src/gather/ready.rs",
    "runtime/src/gather/set.rs",
    "runtime/src/generator/core.rs",
    "runtime/src/hyper.rs",
    "runtime/src/local.rs",
    "runtime/src/hyper.rs",
    "runtime/src/net/ucred.rs",
    "runtime/src/pool/fork.rs",
    "runtime/src/process/command.rs",
    "runtime/src/process/pidfd.rs",
    "runtime/src/process/pool/inherit.rs",
    "runtime/src/scheduler/blocking.rs",
    "runtime/src/scheduler/guest.rs",
    "runtime/src/scheduler/lease.rs",
    "runtime/src/scheduler/queue.rs",
    "runtime/src/scheduler/shared.rs",
    "runtime/src/signal/registry.rs",
    "runtime/src/tokio_io.rs",
    "runtime/src/sync.rs",
    "runtime/src/task/cell.rs",
    "runtime/src/task/join.rs",
    "runtime/src/task/list.rs",
    "runtime/src/task/raw.rs",
    "runtime/src/task/waker.rs",
    "runtime/src/tokio_io.rs",
    "runtime/src/util/glance.rs",
];

/// Where the primitives of `std` may be named outside the two shims: `(file, what)`; no file means any.
const STD_ALLOWED: &[(&str, &str)] = &[
    ("channels/src/sync.rs", ""),
    ("runtime/src/sync.rs", ""),
    // None of these takes part in a protocol: one is set once, one only looks, one is a type, one asks the system.
    ("", "std::sync::OnceLock"),
    ("", "std::sync::Weak"),
    ("", "std::thread::Result"),
    ("", "std::thread::available_parallelism"),
    // The trait `std::task::Wake`, and methods on `Arc<Self>` as tokio has them, want the real one.
    ("channels/src/block.rs", "std::sync::Arc"),
    ("channels/src/lock/claim.rs", "std::sync::Arc"),
    ("channels/src/lock/guard.rs", "std::sync::Arc"),
    ("channels/src/lock/mod.rs", "std::sync::Arc"),
    ("channels/src/rlock/claim.rs", "std::sync::Arc"),
    ("channels/src/rlock/guard.rs", "std::sync::Arc"),
    ("channels/src/rlock/mod.rs", "std::sync::Arc"),
    ("channels/src/rwlock/claim.rs", "std::sync::Arc"),
    ("channels/src/rwlock/guard.rs", "std::sync::Arc"),
    ("channels/src/rwlock/mod.rs", "std::sync::Arc"),
    ("channels/src/rwlock/owned.rs", "std::sync::Arc"),
    ("channels/src/semaphore/acquire.rs", "std::sync::Arc"),
    ("channels/src/semaphore/mod.rs", "std::sync::Arc"),
    ("channels/src/semaphore/permit.rs", "std::sync::Arc"),
    ("channels/src/testing/evil.rs", "std::sync::Arc"),
    ("channels/src/testing/evil_waker.rs", "std::sync::Arc"),
    ("channels/src/testing/ledger.rs", "std::sync::Arc"),
    ("channels/src/testing/trial.rs", "std::sync::Arc"),
    ("channels/src/testing/wakes.rs", "std::sync::Arc"),
    ("runtime/src/util/block.rs", "std::sync::Arc"),
    // Trait objects, which loom's cannot have.
    ("runtime/src/pool/job.rs", "std::sync::Arc"),
    // A store of memory, touched for a few instructions, in no protocol; it must be a `static`.
    ("runtime/src/blocks.rs", "std::sync::Mutex"),
    ("runtime/src/blocks.rs", "std::sync::MutexGuard"),
    ("runtime/src/blocks.rs", "std::sync::PoisonError"),
];

/// Where a thread-local may be declared.
const THREAD_LOCAL_FILES: &[&str] = &[
    "channels/src/probe.rs",
    "channels/src/sync.rs",
    "runtime/src/blocks.rs",
    "runtime/src/context.rs",
    "runtime/src/local.rs",
    "runtime/src/macros.rs",
    "runtime/src/sync.rs",
    "runtime/src/task_local.rs",
    "runtime/src/util/glance.rs",
];

/// Functions that may be longer than 70 lines: `(file, function)`, with the reason.
const LONG_FUNCTIONS: &[(&str, &str)] = &[
    // One arm for each operation, beside what the model does for it: cut in two, neither half could be read alone.
    ("channels/src/ring/tests.rs", "does_what_a_deque_with_a_bound_does"),
    ("channels/src/channel/ends/tests/property.rs", "rendezvous_channels_do_what_two_queues_do"),
    ("runtime/src/driver/wheel/tests.rs", "run"),
    // A scenario, a table and a list of options, each read from top to bottom once.
    ("benches/src/stuck.rs", "late"),
    ("benches/src/table.rs", "add"),
    ("benches/src/bin/compare.rs", "main"),
];

/// Files that may be longer than 600 lines, with the reason.
const LONG_FILES: &[&str] = &[
    // More than half of it is documentation: what users may rely on.
    "channels/src/channel/broadcast/mod.rs",
    // One test after another.
    "runtime/src/scheduler/tests/model.rs",
];

/// What counts as the core, of which there may be so many lines of code.
const CORE: &[&str] = &[
    "runtime/src/task/",
    "runtime/src/scheduler/",
    "runtime/src/driver/",
    "runtime/src/time/",
    "runtime/src/context.rs",
    "runtime/src/builder.rs",
    "runtime/src/runtime.rs",
    "runtime/src/spawn.rs",
];
/// What can be read in an afternoon, which is promised. Whoever needs more lines finds some that are needed no more.
const CORE_LINES: usize = 5_000;

/// Lines with `unsafe` in every thousand of the two libraries.
const UNSAFE_PER_THOUSAND: f64 = 8.0;

/// Crates that `filch` with its default features consists of.
const CRATES: usize = 14;

fn libraries() -> Vec<Source> {
    tree(&["runtime/src", "channels/src"])
}

fn everything() -> Vec<Source> {
    tree(&["runtime", "channels", "examples", "benches", "tests"])
}

#[track_caller]
fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn rooms_name_only_what_is_below_them() {
    none(checks::layers(&tree(&["runtime/src"]), "runtime/src/", RUNTIME_ROOMS));
    none(checks::layers(&tree(&["channels/src"]), "channels/src/", CHANNELS_ROOMS));
}

#[test]
fn channels_know_no_runtime() {
    none(checks::without_word(&tree(&["channels/src"]), "filch", &[]));
}

#[test]
fn the_primitives_of_std_come_through_the_shims() {
    for needle in ["std::sync", "core::sync", "std::thread", "loom"] {
        none(checks::without_path(&libraries(), needle, STD_ALLOWED));
    }
}

#[test]
fn thread_locals_stand_where_they_are_looked_for() {
    for macro_name in ["thread_local", "const_thread_local"] {
        none(checks::without_word(&libraries(), macro_name, THREAD_LOCAL_FILES));
    }
}

#[test]
fn unsafe_stays_in_its_rooms() {
    none(checks::unsafe_rooms(&libraries(), UNSAFE_FILES));
    let share = checks::unsafe_per_thousand(&libraries());
    assert!(
        share <= UNSAFE_PER_THOUSAND,
        "{share:.1} lines in 1,000 say `unsafe`, not {UNSAFE_PER_THOUSAND}"
    );
}

#[test]
fn functions_and_files_are_short() {
    none(checks::long_functions(&everything(), 70, LONG_FUNCTIONS));
    none(checks::long_files(&everything(), 600, LONG_FILES));
    none(checks::long_lines(&everything(), 120));
}

#[test]
fn every_file_says_what_it_owns() {
    none(checks::first_lines(&everything()));
}

#[test]
fn no_test_is_left_out() {
    // Put together here, so that a search of the tree for either finds nothing in this file.
    for needle in [concat!("#[", "ignore"), concat!("todo", "!("), concat!("unimplemented", "!(")] {
        none(checks::without_text(&everything(), needle));
    }
}

#[test]
fn the_map_names_every_file_and_no_other() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    none(checks::map(&map, &tree(&["runtime/src", "runtime/macros/src", "channels/src"])));
}

#[test]
fn comments_on_orderings_and_safety_name_what_exists() {
    none(checks::stale_names(&libraries()));
}

#[test]
fn what_can_be_awaited_says_what_becomes_of_it() {
    let mut channels = tree(&["channels/src"]);
    channels.retain(|source| {
        let inside = source.path.trim_start_matches("channels/src/");
        !["ring/", "chain/", "sync.rs", "probe.rs", "testing/"].iter().any(|other| inside.starts_with(other))
    });
    none(docs::undocumented(&channels));
}

#[test]
fn the_core_is_small() {
    let lines = checks::code_lines(&libraries(), CORE);
    assert!(lines > 0 && lines <= CORE_LINES, "the core has {lines} lines of code, more than {CORE_LINES}");
}

#[test]
fn filch_consists_of_few_crates() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--package", "filch", "--edges", "normal", "--prefix", "none"])
        .current_dir(root())
        .output()
        .expect("cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8_lossy(&output.stdout);
    let crates = checks::crates(&tree);
    assert!(crates.len() > 3 && crates.len() <= CRATES, "{} crates: {crates:?}", crates.len());
}
