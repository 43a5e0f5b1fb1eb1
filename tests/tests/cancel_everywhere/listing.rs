//! Reads the sources of the channels for what can be awaited: methods that return a future, futures that users
//! make themselves, and streams.

use std::collections::BTreeSet;

use super::source::{Source, is_word, item_length, words};

/// Every operation of these sources that can be awaited: `Semaphore::acquire`, `oneshot::Receiver`,
/// `bounded::Receiver as Stream`.
pub(super) fn operations(sources: &[Source]) -> BTreeSet<String> {
    let items: Vec<Item> = sources.iter().flat_map(items).collect();
    let implements = |wanted: &str| -> BTreeSet<(&str, &str)> {
        let of = items.iter().filter(|item| item.of_trait.as_deref() == Some(wanted));
        of.map(|item| (item.room.as_str(), item.name.as_str())).collect()
    };
    let (futures, streams) = (implements("Future"), implements("Stream"));
    let mut found = BTreeSet::new();
    let mut returned = BTreeSet::<&(&str, &str)>::new();
    for item in items.iter().filter(|item| item.of_trait.is_none() && is_public(sources, item)) {
        for (name, output, is_async) in methods(&item.body) {
            let future = futures.iter().find(|(room, future)| {
                *room == item.room && words(&output).next().is_some_and(|(_, word)| word == *future)
            });
            returned.extend(future);
            if is_async || future.is_some() || output.contains("impl Future") || output.contains("dyn Future")
            {
                found.insert(format!("{}{}::{name}", item.room, item.name));
            }
        }
    }
    for source in sources {
        for (name, output, is_async) in methods(&without_impls(&source.shipped)) {
            if is_async
                || words(&output)
                    .next()
                    .is_some_and(|(_, word)| futures.contains(&(room(&source.path).as_str(), word)))
            {
                found.insert(format!("{}{name}", room(&source.path)));
            }
        }
    }
    let own = futures.iter().filter(|future| !returned.contains(*future));
    let own = own.filter(|(room, name)| is_declared_public(sources, room, name));
    found.extend(own.map(|(room, name)| format!("{room}{name}")));
    let streams = streams.iter().filter(|(room, name)| is_declared_public(sources, room, name));
    found.extend(streams.map(|(room, name)| format!("{room}{name} as Stream")));
    found
}

/// Every type that these sources declare `pub`, as the operations are named.
pub(super) fn types(sources: &[Source]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in sources {
        for kind in TYPES {
            let places = source.shipped.match_indices(kind).map(|(at, _)| &source.shipped[at + kind.len()..]);
            let names = places.map(last_name).filter(|name| !name.is_empty());
            found.extend(names.map(|name| format!("{}{name}", room(&source.path))));
        }
    }
    found
}

const TYPES: [&str; 2] = ["pub struct ", "pub enum "];

/// An `impl`.
struct Item {
    /// Of a type in a folder of `channel`, that folder and `::`; else empty.
    room: String,
    /// The type.
    name: String,
    of_trait: Option<String>,
    body: String,
}

/// What tells the `Receiver` of one channel from that of another.
fn room(path: &str) -> String {
    let inside = path.strip_prefix("channels/src/channel/").unwrap_or_default();
    let room = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    if matches!(room, "" | "mod" | "error") { String::new() } else { format!("{room}::") }
}

/// What stands for all types that a macro in this file makes: `queue`, with a small letter.
fn family(path: &str) -> String {
    let inside = path.rsplit_once("src/").map_or(path, |(_, inside)| inside);
    inside.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
}

fn items(source: &Source) -> Vec<Item> {
    let code = &source.shipped;
    let impls = words(code).filter(|(at, word)| *word == "impl" && starts_item(&code[..*at]));
    impls
        .filter_map(|(at, _)| {
            let item = &code[at..at + item_length(&code[at..])];
            let open = item.find('{')?;
            let head = without_generics(&item["impl".len()..open]);
            let head = head.split("where").next().unwrap_or_default();
            let (of_trait, of) = match head.split_once(" for ") {
                Some((of_trait, of)) => (Some(last_name(of_trait)), of),
                None => (None, head),
            };
            let name = if of.trim_start().starts_with('$') { family(&source.path) } else { last_name(of) };
            (!name.is_empty()).then(|| Item {
                room: room(&source.path),
                name,
                of_trait,
                body: item[open..].into(),
            })
        })
        .collect()
}

/// What stands outside of every `impl`.
fn without_impls(code: &str) -> String {
    let mut left = code.to_owned();
    for (at, _) in words(code).filter(|(at, word)| *word == "impl" && starts_item(&code[..*at])) {
        let end = at + item_length(&code[at..]);
        left.replace_range(at..end, &" ".repeat(end - at));
    }
    left
}

/// Whether an item may start after this, and not a type as in `-> impl Future`.
fn starts_item(before: &str) -> bool {
    matches!(before.trim_end().chars().next_back(), None | Some('{' | '}' | ';' | ']'))
}

/// `<..>` taken out; the arrow of a closure's bound is no bracket.
fn without_generics(head: &str) -> String {
    let mut depth = 0;
    let mut out = String::new();
    let mut before = ' ';
    for c in head.chars() {
        match c {
            '<' => depth += 1,
            '>' if before != '-' => depth -= 1,
            _ if depth == 0 => out.push(c),
            _ => {}
        }
        before = c;
    }
    out
}

/// `Stream` of `futures_core::Stream`.
fn last_name(path: &str) -> String {
    let path = path.trim().trim_start_matches(['&', '!']);
    let path = &path[..path.find(|c| !is_word(c) && c != ':').unwrap_or(path.len())];
    path.rsplit("::").next().unwrap_or_default().to_owned()
}

/// The public methods of a body: name, type of the output, and whether `async`.
fn methods(body: &str) -> Vec<(String, String, bool)> {
    let mut found = Vec::new();
    for (at, _) in words(body).filter(|(_, word)| *word == "fn") {
        let line = body[..at].rsplit(['{', '}', ';', ']']).next().unwrap_or_default();
        let is_async = words(line).any(|(_, word)| word == "async");
        let name = words(&body[at + 2..]).next().map_or("", |(_, name)| name);
        // `pub(crate)` is for us.
        if !words(line).any(|(_, word)| word == "pub") || line.contains("pub(") || name.starts_with("poll_") {
            continue;
        }
        let signature = &body[at..at + body[at..].find(['{', ';']).unwrap_or(0)];
        found.push((name.to_owned(), output(&without_generics(signature)).to_owned(), is_async));
    }
    found
}

/// What stands behind the arrow of a signature without generics.
fn output(signature: &str) -> &str {
    let mut depth = 0;
    let end = signature.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ')' && depth == 0
    });
    let after = end.map_or("", |end| signature[end + 1..].trim_start());
    after.strip_prefix("->").map_or("", |output| output.split("where").next().unwrap_or_default())
}

fn is_public(sources: &[Source], item: &Item) -> bool {
    item.name.starts_with(char::is_lowercase) || is_declared_public(sources, &item.room, &item.name)
}

/// Whether a type of this name is declared `pub` in that room.
fn is_declared_public(sources: &[Source], of: &str, name: &str) -> bool {
    sources.iter().filter(|source| room(&source.path) == of).any(|source| {
        TYPES.iter().any(|kind| {
            source
                .shipped
                .match_indices(kind)
                .any(|(at, _)| last_name(&source.shipped[at + kind.len()..]) == name)
        })
    })
}

#[test]
fn what_can_be_awaited_is_found() {
    let lock = "pub struct Lock<T: Fn() -> u8>;\npub struct Locking<'a>;\nstruct Inner;\n
        impl<'a> Lock<u8> {
            #[inline]
            pub fn lock<F: Fn() -> u8>(&'a self, f: &F) -> Locking<'a>
            where F: Fn() -> u8 { f() }
            pub fn try_lock(&self) -> Option<u8> {}
            pub async fn wait(&self) {}
            fn own() -> Locking {}
            pub(crate) fn ours() -> Locking {}
            pub fn poll_lock() -> Locking {}
            pub fn other(&self, f: impl Fn() -> u8) -> impl Future<Output = u8> {}
        }
        impl Inner { pub fn lock() -> Locking {} }
        macro_rules! locks { () => { impl<T> $name<T> { pub fn both(&self) -> Locking<'_> {} } } }
        impl<T> Future for Locking<'_> { }
        pub fn lock_all() -> Locking<'a> {}
        fn own() -> Locking {}
        pub async fn free() {}";
    let channel = "pub struct Receiver<T>(T);
        impl<T> Future for Receiver<T> {}
        impl<T> futures_core::Stream for Receiver<T> {}
        #[cfg(test)]
        mod tests { impl Receiver { pub async fn t() {} } }";
    let sources = [
        Source::new("channels/src/lock.rs", lock),
        Source::new("channels/src/channel/oneshot/mod.rs", channel),
    ];
    let expected = [
        "Lock::lock",
        "Lock::other",
        "Lock::wait",
        "free",
        "lock::both",
        "lock_all",
        "oneshot::Receiver",
        "oneshot::Receiver as Stream",
    ];
    assert_eq!(operations(&sources).into_iter().collect::<Vec<_>>(), expected);
    let expected = ["Lock", "Locking", "oneshot::Receiver"];
    assert_eq!(types(&sources).into_iter().collect::<Vec<_>>(), expected);
}
