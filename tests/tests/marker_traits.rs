//! The promise: which types of the channels, and of files, processes and pools, may be sent to another thread, shared,
//! moved when pinned, or looked at after a panic, and which may not, whatever the message is.
//!
//! Two tables, checked by the compiler; the one test here compares them with the sources, so that no public type is
//! missing. The columns: `Send`, `Sync`, `Unpin`, `UnwindSafe`, `RefUnwindSafe`. A cell says when a type has the trait:
//!
//! | cell | the type has the trait |
//! |---|---|
//! | `yes`, `no` | always, never |
//! | `send`, `sync`, `unpin`, `unwind`, `ref_unwind` | when the message has the trait of that name |
//! | `both` | when the message is `Send` and `Sync` |
//! | `calm` | when the message is `UnwindSafe` and `RefUnwindSafe` |
#![allow(missing_docs)]

#[allow(dead_code)]
#[path = "cancel_everywhere/listing.rs"]
mod listing;
#[allow(dead_code)]
#[path = "tidy/source.rs"]
mod source;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::marker::{PhantomData, PhantomPinned};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::MutexGuard;

use filch::channel::{broadcast, error, oneshot, select, watch};
use filch::{fs, pool, process, sync, testing};
use filch_channels::probe;

/// The ends of the channels that have many kinds of them, by the folder that their sources are in.
mod ends {
    pub(super) use filch::channel::future::*;
    pub(super) use filch::channel::{
        Builder, Drain, IntoIter, Iter, Mpmc, Mpsc, Operation, Overflow, OwnedPermit, Permit, Permits,
        Receiver, Sender, Spsc, State, Stats, TryIter, WeakReceiver, WeakSender,
    };
}

/// Has an inherent constant for each trait that `T` has, which goes before the one of [`Lacks`].
struct Has<T: ?Sized>(PhantomData<T>);

trait Lacks {
    const SEND: bool = false;
    const SYNC: bool = false;
    const UNPIN: bool = false;
    const UNWIND: bool = false;
    const REF_UNWIND: bool = false;
}

impl<T: ?Sized> Lacks for Has<T> {}

#[allow(dead_code)]
impl<T: ?Sized + Send> Has<T> {
    const SEND: bool = true;
}

#[allow(dead_code)]
impl<T: ?Sized + Sync> Has<T> {
    const SYNC: bool = true;
}

#[allow(dead_code)]
impl<T: ?Sized + Unpin> Has<T> {
    const UNPIN: bool = true;
}

#[allow(dead_code)]
impl<T: ?Sized + UnwindSafe> Has<T> {
    const UNWIND: bool = true;
}

#[allow(dead_code)]
impl<T: ?Sized + RefUnwindSafe> Has<T> {
    const REF_UNWIND: bool = true;
}

/// What a type has.
#[derive(Clone, Copy)]
struct Traits {
    send: bool,
    sync: bool,
    unpin: bool,
    unwind: bool,
    ref_unwind: bool,
}

macro_rules! traits {
    ($ty:ty) => {
        Traits {
            send: Has::<$ty>::SEND,
            sync: Has::<$ty>::SYNC,
            unpin: Has::<$ty>::UNPIN,
            unwind: Has::<$ty>::UNWIND,
            ref_unwind: Has::<$ty>::REF_UNWIND,
        }
    };
}

/// Messages that lack one trait or more.
type Plain = u8;
type SendOnly = Cell<u8>;
type SyncOnly = PhantomData<MutexGuard<'static, u8>>;
type Neither = *const u8;
type Pinned = PhantomPinned;
type Exclusive = &'static mut u8;

// The probe itself: it tells them apart.
const _: () = {
    const fn is(of: Traits, cells: [bool; 5]) -> bool {
        of.send == cells[0]
            && of.sync == cells[1]
            && of.unpin == cells[2]
            && of.unwind == cells[3]
            && of.ref_unwind == cells[4]
    }
    const T: bool = true;
    const F: bool = false;
    assert!(is(traits!(Plain), [T, T, T, T, T]));
    assert!(is(traits!(SendOnly), [T, F, T, T, F]));
    assert!(is(traits!(SyncOnly), [F, T, T, T, T]));
    assert!(is(traits!(Neither), [F, F, T, T, T]));
    assert!(is(traits!(Pinned), [T, T, F, T, T]));
    assert!(is(traits!(Exclusive), [T, T, T, F, T]));
};

macro_rules! cell {
    (yes, $of:expr) => {
        true
    };
    (no, $of:expr) => {
        false
    };
    (both, $of:expr) => {
        $of.send && $of.sync
    };
    (calm, $of:expr) => {
        $of.unwind && $of.ref_unwind
    };
    ($field:ident, $of:expr) => {
        $of.$field
    };
}

macro_rules! check {
    ($ty:ty, $row:ty, $message:ty; $send:ident $sync:ident $unpin:ident $unwind:ident $ref_unwind:ident) => {{
        const HAS: Traits = traits!($row);
        #[allow(dead_code, reason = "not every cell looks at it")]
        const OF: Traits = traits!($message);
        assert!(
            HAS.send == cell!($send, OF),
            concat!("Send of ", stringify!($ty), ", T: ", stringify!($message))
        );
        assert!(
            HAS.sync == cell!($sync, OF),
            concat!("Sync of ", stringify!($ty), ", T: ", stringify!($message))
        );
        assert!(
            HAS.unpin == cell!($unpin, OF),
            concat!("Unpin of ", stringify!($ty), ", T: ", stringify!($message))
        );
        assert!(
            HAS.unwind == cell!($unwind, OF),
            concat!("UnwindSafe of ", stringify!($ty), ", T: ", stringify!($message))
        );
        assert!(
            HAS.ref_unwind == cell!($ref_unwind, OF),
            concat!("RefUnwindSafe of ", stringify!($ty), ", T: ", stringify!($message))
        );
    }};
}

/// Types without a message.
macro_rules! plain {
    ($($ty:ty: $($cell:ident)+;)*) => {
        const PLAIN: &[&str] = &[$(stringify!($ty)),*];
        $(const _: () = check!($ty, $ty, Plain; $($cell)+);)*
    };
}

/// Types with a message `T`, for messages of each kind.
macro_rules! generic {
    ($($ty:ty: $($cell:ident)+;)*) => {
        const GENERIC: &[&str] = &[$(stringify!($ty)),*];
        $(const _: () = {
            type Row<T> = $ty;
            check!($ty, Row<Plain>, Plain; $($cell)+);
            check!($ty, Row<SendOnly>, SendOnly; $($cell)+);
            check!($ty, Row<SyncOnly>, SyncOnly; $($cell)+);
            check!($ty, Row<Neither>, Neither; $($cell)+);
            check!($ty, Row<Pinned>, Pinned; $($cell)+);
            check!($ty, Row<Exclusive>, Exclusive; $($cell)+);
        };)*
    };
}

plain! {
    // Locks and signals: shared by all, and whole after a panic. Their futures stay where they are.
    sync::Semaphore: yes yes yes yes yes;
    sync::Acquire<'static>: yes yes no yes yes;
    sync::AcquireOwned: yes yes no yes yes;
    sync::SemaphorePermit<'static>: yes yes yes yes yes;
    sync::OwnedSemaphorePermit: yes yes yes yes yes;
    sync::AcquireError: yes yes yes yes yes;
    sync::TryAcquireError: yes yes yes yes yes;
    sync::AcquireTimeoutError: yes yes yes yes yes;
    sync::Notify: yes yes yes yes yes;
    sync::Notified<'static>: yes yes no yes yes;
    sync::Event: yes yes yes yes yes;
    sync::EventWait<'static>: yes yes no yes yes;
    sync::Barrier: yes yes yes yes yes;
    sync::BarrierWait<'static>: yes yes no yes yes;
    sync::BarrierWaitUnlessBroken<'static>: yes yes no yes yes;
    sync::BarrierWaitResult: yes yes yes yes yes;
    sync::BrokenBarrierError: yes yes yes yes yes;
    sync::BarrierError: yes yes yes yes yes;
    sync::AtomicWait: yes yes yes yes yes;
    sync::AtomicWait64: yes yes yes yes yes;
    sync::AtomicWaiting<'static>: yes yes no yes yes;
    sync::WaitOutcome: yes yes yes yes yes;
    sync::Counter: yes yes yes yes yes;
    sync::Condition: yes yes yes yes yes;
    sync::WaitTimeoutResult: yes yes yes yes yes;
    sync::LockStats: yes yes yes yes yes;
    sync::TryLockError: yes yes yes yes yes;
    sync::LockTimeoutError: yes yes yes yes yes;
    sync::RwLockPolicy: yes yes yes yes yes;
    sync::ReentryError: yes yes yes yes yes;
    sync::PoolStats: yes yes yes yes yes;
    sync::QueueState: yes yes yes yes yes;
    sync::QueueStats: yes yes yes yes yes;
    sync::GetError: yes yes yes yes yes;
    sync::TryGetError: yes yes yes yes yes;
    sync::GetTimeoutError: yes yes yes yes yes;
    sync::TaskDoneError: yes yes yes yes yes;
    sync::UnfinishedError: yes yes yes yes yes;
    // What channels say of themselves.
    ends::Builder: yes yes yes yes yes;
    ends::Overflow: yes yes yes yes yes;
    ends::Mpmc: yes yes yes yes yes;
    ends::Mpsc: yes yes yes yes yes;
    ends::Spsc: yes yes yes yes yes;
    select::Nothing: yes yes yes yes yes;
    select::TrySelectError: yes yes yes yes yes;
    select::SelectTimeoutError: yes yes yes yes yes;
    ends::State: yes yes yes yes yes;
    ends::Stats: yes yes yes yes yes;
    error::RecvError: yes yes yes yes yes;
    error::TryRecvError: yes yes yes yes yes;
    error::RecvTimeoutError: yes yes yes yes yes;
    broadcast::error::RecvError: yes yes yes yes yes;
    broadcast::error::TryRecvError: yes yes yes yes yes;
    broadcast::error::RecvTimeoutError: yes yes yes yes yes;
    // Files and folders. An operation under way holds buffers that a panic may have left half filled.
    fs::File: yes yes yes no no;
    fs::OpenOptions: yes yes yes yes yes;
    fs::ReadDir: yes yes yes no no;
    fs::DirEntry: yes yes yes yes yes;
    fs::DirBuilder: yes yes yes yes yes;
    fs::CopyProgress: yes yes yes yes yes;
    // Children and their pipes. What a command calls before the program may be anything.
    process::Command: yes yes yes no no;
    process::Child: yes yes yes yes yes;
    process::ChildStdin: yes yes yes yes yes;
    process::ChildStdout: yes yes yes yes yes;
    process::ChildStderr: yes yes yes yes yes;
    // Pools of processes.
    process::Pool: yes yes yes no no;
    process::PoolBuilder: yes yes yes yes yes;
    process::PoolReport: yes yes yes yes yes;
    process::PoolStats: yes yes yes yes yes;
    process::JobError: yes yes yes yes yes;
    process::QueueError: yes yes yes yes yes;
    // Pools of threads. What a panic carried may be anything.
    pool::ThreadPool: yes yes yes yes yes;
    pool::Builder: yes yes yes yes yes;
    pool::PoolReport: yes yes yes yes yes;
    pool::Unfinished: yes yes yes yes yes;
    pool::CancelOutcome: yes yes yes yes yes;
    pool::JobError: yes yes yes yes yes;
    pool::TaskQueue: yes yes yes no no;
    pool::TaskQueueBuilder: yes yes yes no no;
    pool::TaskQueueReport: yes yes yes yes yes;
    pool::TaskQueueClosed: yes yes yes yes yes;
    pool::TaskFailure: yes yes yes no no;
    // Its hook and its jobs may be anything.
    pool::WorkerPool: yes yes yes no no;
    pool::WorkerPoolBuilder: yes yes yes no no;
    pool::WorkerPoolReport: yes yes yes yes yes;
    pool::WorkerHealth: yes yes yes yes yes;
    pool::WorkerState: yes yes yes yes yes;
    pool::WorkerKind: yes yes yes yes yes;
    pool::WorkerError: yes yes yes yes yes;
    pool::Health: yes yes yes yes yes;
    pool::RunningJob: yes yes yes yes yes;
    pool::Death: yes yes yes yes yes;
    pool::DeathCause: yes yes yes yes yes;
    pool::JobContext: yes yes yes yes yes;
    pool::Priority: yes yes yes yes yes;
    pool::SubmitError: yes yes yes yes yes;
    // For runtimes: a task's header is shared by all who look at the task.
    probe::Wait: yes yes yes yes yes;
    probe::Header: yes yes yes yes yes;
    probe::Holder: yes yes yes yes yes;
    probe::Hooks: yes yes yes yes yes;
    probe::TaskRef: yes yes yes yes yes;
    // For tests. What is done at an evil moment is anybody's code; neighbours stay on their thread.
    testing::Wakes: yes yes yes yes yes;
    testing::Ledger: yes yes yes yes yes;
    testing::Counted: yes yes yes yes yes;
    testing::Moment: yes yes yes yes yes;
    testing::Evil: yes yes yes no no;
    testing::EvilValue: yes yes yes no no;
    testing::Harness: yes yes yes yes yes;
    testing::Report: yes yes yes yes yes;
    testing::Fate: yes yes yes yes yes;
    testing::Trial: yes yes yes yes yes;
    testing::World<'static>: no no yes no no;
    // Structured concurrency, in the runtime: told from anywhere. What is done on the way out is anybody's code.
    filch::CancelToken: yes yes yes yes yes;
    filch::cancel::Reason: yes yes yes yes yes;
    filch::Cancelled: yes yes yes yes yes;
    filch::cancel::Cancellation<'static>: yes yes no yes yes;
    filch::cancel::UntilCancelled<'static, std::future::Ready<()>>: yes yes no yes yes;
    filch::cancel::DropGuard: yes yes yes yes yes;
    filch::cleanup::ExitStack: yes no yes no no;
    filch::cleanup::Deferred: yes no yes no no;
    filch::Scope<'static>: yes yes yes yes yes;
    filch::scope::LocalScope<'static>: no no yes yes yes;
}

generic! {
    // A lock hands its value from one to the next; guards of it lend it. After a panic it is as the panic left it,
    // hence no `RefUnwindSafe`.
    sync::Lock<T>: send send unpin unwind no;
    sync::LockGuard<'static, T>: send both yes no no;
    sync::OwnedLockGuard<T>: send both yes no no;
    sync::MappedLockGuard<'static, T>: send sync yes ref_unwind ref_unwind;
    sync::OwnedMappedLockGuard<T, T>: send both yes no no;
    sync::Locking<'static, T>: send send no no no;
    sync::LockingOwned<T>: send send no no no;
    sync::ConditionWait<'static, sync::LockGuard<'static, T>>: send send no no no;
    // Its owner may have several guards, which lend the value: each may go elsewhere only if it may be shared.
    sync::RLock<T>: send send unpin unwind no;
    sync::RLockGuard<'static, T>: both both yes no no;
    sync::OwnedRLockGuard<T>: both both yes no no;
    sync::RLocking<'static, T>: send send no no no;
    sync::RLockingOwned<T>: send send no no no;
    // Readers share the value.
    sync::RwLock<T>: send both unpin unwind no;
    sync::RwLockReadGuard<'static, T>: sync sync yes ref_unwind ref_unwind;
    sync::RwLockWriteGuard<'static, T>: both both yes no no;
    sync::RwLockUpgradableReadGuard<'static, T>: both both yes no no;
    sync::RwLockMappedWriteGuard<'static, T>: send sync yes ref_unwind ref_unwind;
    sync::OwnedRwLockReadGuard<T>: both both yes no no;
    sync::OwnedRwLockWriteGuard<T>: both both yes no no;
    sync::OwnedRwLockUpgradableReadGuard<T>: both both yes no no;
    sync::OwnedRwLockMappedWriteGuard<T, T>: both both yes no no;
    sync::Reading<'static, T>: both both no no no;
    sync::ReadingOwned<T>: both both no no no;
    sync::ReadingUpgradable<'static, T>: both both no no no;
    sync::ReadingUpgradableOwned<T>: both both no no no;
    sync::Writing<'static, T>: both both no no no;
    sync::WritingOwned<T>: both both no no no;
    sync::Upgrading<'static, T>: both both no no no;
    sync::UpgradingOwned<T>: both both no no no;
    // The value is lent to all at once, so `Sync` asks for both.
    sync::OnceCell<T>: send both unpin unwind calm;
    sync::SetError<T>: send sync unpin unwind ref_unwind;
    // Things are handed from one to the next. Closures make and check them, and must be sendable themselves.
    sync::Pool<T, T>: send send yes yes yes;
    sync::Pool<T>: send send yes yes yes;
    sync::PoolBuilder<T>: yes yes yes no no;
    sync::Pooled<T>: send both unpin unwind ref_unwind;
    sync::PoolError<T>: send sync unpin unwind ref_unwind;
    // Queues hand items on, as channels do.
    sync::Queue<T>: send send unpin yes yes;
    sync::LifoQueue<T>: send send unpin yes yes;
    sync::PriorityQueue<T>: send send unpin yes yes;
    sync::Put<'static, T>: send both no unwind ref_unwind;
    sync::Get<'static, T>: send send no yes yes;
    sync::GetItem<'static, T>: send send no yes yes;
    sync::Join<'static, T>: send send no yes yes;
    sync::Item<'static, T>: send sync unpin unwind ref_unwind;
    sync::PutError<T>: send sync unpin unwind ref_unwind;
    sync::TryPutError<T>: send sync unpin unwind ref_unwind;
    sync::PutTimeoutError<T>: send sync unpin unwind ref_unwind;
    // Channels hand messages on, and lend none: `Send` is enough. What holds a message is as the message is.
    ends::Sender<T>: send send yes yes yes;
    ends::WeakSender<T>: send send yes yes yes;
    ends::Receiver<T>: send send yes yes yes;
    ends::WeakReceiver<T>: send send yes yes yes;
    ends::Permit<'static, T>: send send yes yes yes;
    ends::Permits<'static, T>: send send yes yes yes;
    ends::OwnedPermit<T>: send send yes yes yes;
    ends::Send<'static, T>: send both no unwind ref_unwind;
    ends::Recv<'static, T>: send send no yes yes;
    ends::RecvMany<'static, T>: send both no no ref_unwind;
    ends::Reserve<'static, T>: send send no yes yes;
    ends::ReserveMany<'static, T>: send send no yes yes;
    ends::ReserveOwned<T>: send send no yes yes;
    ends::Closed<'static, T>: send send no yes yes;
    ends::Resumed<'static, T>: send send no yes yes;
    ends::Iter<'static, T>: send send yes yes yes;
    ends::TryIter<'static, T>: send send yes yes yes;
    ends::IntoIter<T>: send send yes yes yes;
    ends::Drain<'static, T>: send send yes yes yes;
    // Exclusive ends are as the shared ones are.
    ends::Sender<T, ends::Spsc>: send send yes yes yes;
    ends::Receiver<T, ends::Mpsc>: send send yes yes yes;
    // What the futures above are made of.
    ends::Operation<ends::Receive<'static, T, ends::Mpmc, ()>>: send send no yes yes;
    ends::Receive<'static, T, ends::Mpmc, ()>: send send yes yes yes;
    ends::Gather<'static, T, ends::Mpmc, ()>: send both yes no ref_unwind;
    ends::Deliver<'static, T, ends::Mpmc, ()>: send both unpin unwind ref_unwind;
    ends::KeepRoom<'static, T, ends::Mpmc, ()>: send send yes yes yes;
    ends::KeepRooms<'static, T, ends::Mpmc, ()>: send send yes yes yes;
    ends::KeepOwned<T, ends::Mpmc>: send send yes yes yes;
    ends::AwaitEnd<'static, T, ends::Mpmc>: send send yes yes yes;
    ends::AwaitFlow<'static, T, ends::Mpmc>: send send yes yes yes;
    // A select keeps what was received until its closure gets it.
    select::Select<select::Nothing, T>: yes yes yes yes yes;
    select::Until<select::Nothing, T, std::future::Ready<()>>: yes yes yes yes yes;
    select::Case<ends::Receive<'static, T, ends::Mpmc, ()>, fn()>: send both no unwind ref_unwind;
    select::And<select::Nothing, ends::Receive<'static, T, ends::Mpmc, ()>, fn()>: send both no unwind ref_unwind;
    oneshot::Sender<T>: send send yes yes yes;
    oneshot::Receiver<T>: send send yes yes yes;
    oneshot::Closed<'static, T>: send send yes no yes;
    broadcast::Sender<T>: send send yes yes yes;
    broadcast::WeakSender<T>: send send yes yes yes;
    broadcast::Receiver<T>: send send yes yes yes;
    broadcast::Recv<'static, T>: send send no no yes;
    broadcast::Closed<'static, T>: send send no yes yes;
    // Lends the value to all receivers, on the thread of each.
    watch::Sender<T>: both both yes yes yes;
    watch::Receiver<T>: both both yes yes yes;
    watch::Ref<'static, T>: no both yes ref_unwind ref_unwind;
    watch::Closed<'static, T>: both both no yes yes;
    watch::Changed<'static, T>: both both no no yes;
    // A job's output goes to one who asks, wherever that is.
    process::Job<u8, T>: yes yes yes yes yes;
    process::Call<T>: yes yes yes no no;
    process::Outputs<T>: send sync yes no no;
    process::Unordered<T>: yes yes yes no no;
    process::Connection<T>: yes yes yes yes no;
    process::Queue<T>: yes yes yes no no;
    process::RemoteQueue<T>: yes yes yes yes yes;
    pool::Job<T>: yes yes yes no no;
    pool::Completed<T>: yes yes yes no no;
    pool::Submission<'static, T>: yes yes yes no no;
    pool::Worker<T, T>: send send yes yes yes;
    pool::WorkerBuilder<T, T>: yes no yes no no;
    pool::Map<std::vec::IntoIter<u8>, (), T>: yes yes yes no no;
    pool::MapUnordered<std::vec::IntoIter<u8>, (), T>: send send yes no no;
    error::SendError<T>: send sync unpin unwind ref_unwind;
    error::TrySendError<T>: send sync unpin unwind ref_unwind;
    error::SendTimeoutError<T>: send sync unpin unwind ref_unwind;
    // Outputs come from other threads, and nobody lends them.
    filch::scope::ScopedHandle<T>: send send yes yes yes;
    filch::group::Cause<T>: send sync unpin no no;
    filch::group::ChildError<T>: send sync unpin no no;
    filch::GroupError<T>: send sync unpin no no;
}

/// Public in private modules, since public traits name them; nobody else can.
const SEALED: [&str; 15] = [
    "Granted",
    "Many",
    "RawLock",
    "Sole",
    "ends::Decision",
    "ends::First",
    "ends::Hope",
    "ends::Lone",
    "ends::Many",
    "ends::Meet",
    "ends::Only",
    "ends::Party",
    "ends::Place",
    "ends::Queued",
    "ends::ToOne",
];

#[test]
fn no_public_type_is_missing() {
    let mut sources = source::tree(&["channels/src"]);
    sources.retain(|source| source.path != "channels/src/sync.rs");
    let there = listing::types(&sources);
    // `sync::Acquire < 'static >` is `Acquire`, `broadcast::error::RecvError` is `broadcast::RecvError`.
    let name = |row: &&str| {
        let path = row.split('<').next().unwrap_or_default().replace(' ', "").replace("error::", "");
        let face = ["sync::", "probe::", "testing::"].into_iter().find_map(|face| path.strip_prefix(face));
        face.unwrap_or(&path).to_owned()
    };
    let listed: BTreeSet<String> = PLAIN.iter().chain(GENERIC).map(name).collect();
    let listed: BTreeSet<String> = listed.into_iter().chain(SEALED.map(str::to_owned)).collect();
    let missing: Vec<_> = there.difference(&listed).collect();
    assert!(there.len() > 60 && missing.is_empty(), "not in the tables, of {}: {missing:#?}", there.len());
}

#[path = "marker_traits/toolbox.rs"]
mod toolbox;
