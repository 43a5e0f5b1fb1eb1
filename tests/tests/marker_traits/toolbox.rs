//! The toolbox: what of it is not in the tables of the parent. A future that has a future of its own is what that is.

use std::future::Ready;

use filch::stream::Once;
use filch::{gather, generator, group, limit};

use super::*;

plain! {
    limit::Limiter: yes yes yes no no;
    limit::LimiterStats: yes yes yes yes yes;
    limit::LimiterError: yes yes yes yes yes;
    limit::Rate: yes yes yes no no;
    limit::Slot<'static>: yes yes yes yes yes;
    limit::Paced<limit::Window>: yes yes yes yes no;
    limit::Paced<limit::Bucket>: yes yes yes yes no;
    limit::Window: yes yes yes yes yes;
    limit::Bucket: yes yes yes yes yes;
    limit::Acquire<'static, limit::Window>: yes yes no no no;
    limit::AcquireMany<'static, limit::Bucket>: yes yes no no no;
    limit::TooMany: yes yes yes yes yes;
    limit::TryAcquireError: yes yes yes yes yes;
    limit::AcquireTimeoutError: yes yes yes yes yes;
    limit::KeyedError: yes yes yes yes yes;
    generator::Closed: yes yes yes yes yes;
    filch::Wait::FirstCompleted: yes yes yes yes yes;
    filch::Wait::FirstError: yes yes yes yes yes;
    filch::Wait::All: yes yes yes yes yes;
    filch::Backoff: yes yes yes yes yes;
    filch::Pauses: yes yes yes yes yes;
    filch::GaveUp: yes yes yes yes yes;
    filch::TaskGroup<Result<u8, u8>>: yes yes yes no no;
    group::GroupHandle<Result<u8, u8>>: yes yes yes no no;
    group::Completed<'static, Result<u8, u8>>: yes yes yes no no;
}

generic! {
    filch::Gather<Ready<T>>: send sync yes unwind ref_unwind;
    gather::Settled<Ready<T>>: send sync yes no no;
    gather::TryGather<Ready<T>, T>: send sync yes unwind ref_unwind;
    filch::AsCompleted<Ready<T>>: send sync yes unwind ref_unwind;
    gather::Limited<Ready<T>>: send sync yes no no;
    gather::Keyed<T, Ready<T>>: send sync yes unwind ref_unwind;
    gather::Map<Ready<T>, fn()>: send sync yes unwind ref_unwind;
    gather::Inspect<Ready<T>, fn()>: send sync yes unwind ref_unwind;
    gather::Then<Ready<T>, fn(), Ready<T>>: send sync yes unwind ref_unwind;
    gather::AndThen<Ready<T>, fn(), Ready<T>>: send sync yes unwind ref_unwind;
    gather::OrElse<Ready<T>, fn(), Ready<T>>: send sync yes unwind ref_unwind;
    gather::Finally<Ready<T>, fn()>: send sync yes unwind ref_unwind;
    gather::Race<Ready<T>>: send sync yes unwind ref_unwind;
    gather::Any<Ready<T>, T>: send sync yes unwind ref_unwind;
    filch::AllFailed<T>: send sync unpin unwind ref_unwind;
    gather::Shield<T>: send send yes unwind ref_unwind;
    gather::Waiting<Ready<T>, filch::Wait::All>: send sync yes unwind ref_unwind;
    gather::WaitLimited<Ready<T>, filch::Wait::All>: send sync yes no no;
    filch::Generator<T, Ready<T>>: send no yes no no;
    filch::TryGenerator<T, T, Ready<T>>: send no yes no no;
    filch::Yielder<'static, T>: send no yes no no;
    generator::Emit<'static, T>: send no yes no no;
    generator::EmitOrClosed<'static, T>: send no yes no no;
    limit::Keyed<T, limit::Window>: both both yes no no;
    limit::Debounce<T>: send send yes no no;
    limit::Throttle<T>: send send yes no no;
    limit::Debounced<Once<T>>: send sync yes no no;
    limit::Throttled<Once<T>>: send sync yes no no;
    limit::PacedStream<'static, Once<T>, limit::Window>: send sync no no no;
    filch::Retry<'static, T>: yes no yes no no;
    filch::RetryError<T>: send sync unpin unwind ref_unwind;
    filch::scope::TryScope<'static, T>: send send yes yes yes;
}

/// Public in private modules: what the macros expand to, and what the algorithms of limiters speak in.
const SEALED: [&str; 6] = ["Answer", "End", "KeepAll", "KeepOk", "List", "Now"];
/// Their types have no names, as they have closures in them, or other types of those.
const UNNAMED: [&str; 5] = ["Opened", "ScopeFuture", "TryScopeFuture", "TryWhole", "Whole"];

#[test]
fn no_public_type_is_missing() {
    let rooms = ["cancel/", "cleanup/", "gather/", "generator/", "group/", "limit/", "retry.rs", "scope/"];
    let mut sources = source::tree(&["runtime/src"]);
    sources.retain(|source| rooms.iter().any(|room| source.path.starts_with(&format!("runtime/src/{room}"))));
    let there = listing::types(&sources);
    let rows = [PLAIN, GENERIC, super::PLAIN, super::GENERIC].concat();
    let name = |row: &&str| {
        let path = row.split('<').next().unwrap_or_default().replace(' ', "");
        path.rsplit("::").next().unwrap_or_default().to_owned()
    };
    let listed: BTreeSet<String> = rows.iter().map(name).collect();
    let others = SEALED.into_iter().chain(UNNAMED).map(str::to_owned);
    let listed: BTreeSet<String> = listed.into_iter().chain(others).collect();
    let missing: Vec<_> = there.difference(&listed).collect();
    assert!(there.len() > 60 && missing.is_empty(), "not in the tables, of {}: {missing:#?}", there.len());
}
