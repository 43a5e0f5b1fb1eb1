//! Reads the sources of the channels for what can be awaited: methods that return a future, futures that users
//! make themselves, and streams.

use std::collections::BTreeSet;

use super::source::{Source, is_word, item_length, words};

/// Every operation of these sources that can be awaited: `Semaphore::acquire`, `oneshot::Receiver`,
/// `bounded::Receiver as Stream`.
pub(super) fn operations(sources: &[Source]) -> BTreeSet<String> {
    let files = expanded(sources);
    let items: Vec<Item> = files.iter().flat_map(items).collect();
    let implements = |wanted: &str| -> BTreeSet<(&str, &str)> {
        let of = items.iter().filter(|item| item.of_trait.as_deref() == Some(wanted));
        of.map(|item| (item.room.as_str(), item.name.as_str())).collect()
    };
    let (futures, streams) = (implements("Future"), implements("Stream"));
    let aliases: BTreeSet<String> = files.iter().flat_map(|file| aliases(&file.code, &futures)).collect();
    let mut found = BTreeSet::new();
    let mut returned = BTreeSet::new();
    let mut awaits = |room: &str, output: &str, is_async: bool| {
        let name = words(output).next().map_or("", |(_, name)| name);
        let future = futures.iter().find(|(of, future)| *of == room && *future == name);
        returned.extend(future.copied());
        is_async
            || future.is_some()
            || aliases.contains(name)
            || ["impl Future", "dyn Future"].iter().any(|future| output.contains(future))
    };
    for item in
        items.iter().filter(|item| item.of_trait.is_none() && is_public(&files, &item.room, &item.name))
    {
        // What returns its own type sets something up.
        let sets_up =
            |output: &str| words(output).next().is_some_and(|(_, name)| name == item.name || name == "Self");
        let methods = methods(&item.body).into_iter().filter(|(_, output, _)| !sets_up(output));
        let methods = methods.filter(|(_, output, is_async)| awaits(&item.room, output, *is_async));
        found.extend(methods.map(|(name, ..)| format!("{}{}::{name}", item.room, item.name)));
    }
    for file in &files {
        let functions = methods(&without_impls(&file.code)).into_iter();
        let functions = functions.filter(|(_, output, is_async)| awaits(&file.room, output, *is_async));
        found.extend(functions.map(|(name, ..)| format!("{}{name}", file.room)));
    }
    // What methods return is known by them. The rest users make themselves, or it has a name of its own in an alias.
    let own = futures.iter().filter(|future| !returned.contains(*future) && !is_aliased(&files, future.1));
    let own = own.filter(|(room, name)| is_public(&files, room, name));
    found.extend(own.map(|(room, name)| format!("{room}{name}")));
    let streams = streams.iter().filter(|(room, name)| is_public(&files, room, name));
    found.extend(streams.map(|(room, name)| format!("{room}{name} as Stream")));
    found
}

/// `Recv` of `pub type Recv<'a, T> = Operation<..>`, where `Operation` is a future.
fn aliases(code: &str, futures: &BTreeSet<(&str, &str)>) -> Vec<String> {
    let declared = code.split("pub type ").skip(1).map(|rest| &rest[..rest.find(';').unwrap_or(0)]);
    let named = declared.filter_map(|alias| {
        let alias = without_generics(alias);
        let (name, of) = alias.split_once('=')?;
        Some((name.trim().to_owned(), last_name(of)))
    });
    let named = named.filter(|(name, of)| name != of && futures.iter().any(|(_, future)| future == of));
    named.map(|(name, _)| name).collect()
}

fn is_aliased(files: &[File], future: &str) -> bool {
    let all = BTreeSet::from([("", future)]);
    files.iter().any(|file| !aliases(&file.code, &all).is_empty())
}

/// A file whose own macros are written out.
struct File {
    room: String,
    code: String,
}

/// The simple macros of these sources written out where they are called: names are put in for the `$name:ident` of
/// the first arm, in order, and what else a macro can do is left as it stands.
fn expanded(sources: &[Source]) -> Vec<File> {
    let mut macros = Vec::new();
    let mut files = Vec::new();
    for source in sources {
        let mut code = source.shipped.clone();
        while let Some(at) = code.find("macro_rules!") {
            let end = at + item_length(&code[at..]);
            macros.extend(read_macro(&code[at + "macro_rules!".len()..end]));
            code.replace_range(at..end, "");
        }
        files.push(File { room: room(&source.path), code });
    }
    for file in &mut files {
        for (name, variables, body) in &macros {
            let call = format!("{name}!");
            let mut done = 0;
            while let Some(at) = file.code[done..].find(&call).map(|at| done + at) {
                let open = file.code[at..].find(['(', '{', '[']).map_or(file.code.len(), |open| at + open);
                let arguments = open;
                let end = open + group_length(&file.code[open..]);
                let given: Vec<&str> = words(&file.code[arguments..end]).map(|(_, word)| word).collect();
                let mut text = body.clone();
                // The longest first, as `$name` is the start of `$name_owned`.
                let mut pairs: Vec<_> = variables.iter().zip(given).collect();
                pairs.sort_by_key(|(variable, _)| std::cmp::Reverse(variable.len()));
                for (variable, word) in pairs {
                    text = text.replace(&format!("${variable}"), word);
                }
                done = at + text.len();
                file.code.replace_range(at..end, &text);
            }
        }
    }
    files
}

/// The name, the `$name:ident` of the first arm, and what it is written out to. None: it is not a simple one.
fn read_macro(text: &str) -> Option<(String, Vec<String>, String)> {
    let name = words(text).next()?.1.to_owned();
    let arms = text[text.find('{')? + 1..].trim_start();
    let pattern = &arms[..group_length(arms)];
    let inner = pattern[1..].trim_start();
    let inner = inner
        .strip_prefix("$(#[$doc:meta])*")
        .or_else(|| inner.strip_prefix("$(#[$meta:meta])*"))
        .unwrap_or(inner);
    if inner.trim_start().starts_with("$(") {
        return None;
    }
    let before = |at| pattern[..at].ends_with('$');
    let is_variable = |at, word: &str| before(at) && pattern[at + word.len()..].starts_with(":ident");
    let variables =
        words(pattern).filter(|(at, word)| is_variable(*at, word)).map(|(_, word)| word.to_owned()).collect();
    let after = arms[pattern.len()..].trim_start().strip_prefix("=>")?.trim_start();
    let body = &after[..group_length(after)];
    Some((name, variables, body[1..body.len() - 1].to_owned()))
}

/// The length of the brackets at the start, with what they hold.
fn group_length(code: &str) -> usize {
    let mut depth = 0;
    let end = code.find(|c| {
        depth += i32::from(matches!(c, '(' | '{' | '[')) - i32::from(matches!(c, ')' | '}' | ']'));
        depth == 0
    });
    end.map_or(code.len(), |end| end + 1)
}

/// Every type that these sources declare `pub`, as the operations are named.
pub(super) fn types(sources: &[Source]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in expanded(sources) {
        for kind in TYPES {
            let places = file.code.match_indices(kind).map(|(at, _)| &file.code[at + kind.len()..]);
            let names = places.map(last_name).filter(|name| !name.is_empty());
            found.extend(names.map(|name| format!("{}{name}", file.room)));
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

fn items(file: &File) -> Vec<Item> {
    let code = &file.code;
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
            let name = last_name(of);
            (!name.is_empty()).then(|| Item {
                room: file.room.clone(),
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
        let signature = &body[at..at + signature_length(&body[at..])];
        found.push((name.to_owned(), output(&without_generics(signature)).to_owned(), is_async));
    }
    found
}

/// The length up to the `{` or `;` after it; there may be some in its brackets, as in `[u8; 2]`.
fn signature_length(code: &str) -> usize {
    let mut depth = 0;
    let end = code.find(|c| {
        depth += i32::from(matches!(c, '(' | '[')) - i32::from(matches!(c, ')' | ']'));
        depth == 0 && matches!(c, '{' | ';')
    });
    end.unwrap_or(code.len())
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

/// Whether a type of this name is declared `pub` in that room.
fn is_public(files: &[File], of: &str, name: &str) -> bool {
    files.iter().filter(|file| file.room == of).any(|file| {
        TYPES.iter().any(|kind| {
            file.code.match_indices(kind).any(|(at, _)| last_name(&file.code[at + kind.len()..]) == name)
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
            pub fn fair(self) -> Lock<u8> {}
            pub async fn wait(&self) {}
            fn own() -> Locking {}
            pub(crate) fn ours() -> Locking {}
            pub fn poll_lock() -> Locking {}
            pub fn other(&self, f: impl Fn() -> u8) -> impl Future<Output = u8> {}
        }
        impl Inner { pub fn lock() -> Locking {} }
        macro_rules! methods { ($name:ident, $what:literal => $name_all:ident) => {
            pub fn $name(&self) -> Waiting<'a> {}
            pub fn $name_all() -> Later {}
        }; }
        macro_rules! future { ($(#[$doc:meta])* $name:ident [$($life:lifetime)?]) => {
            pub struct $name<$($life)?> {}
            impl<$($life)?> Future for $name<$($life)?> {}
        } }
        future! { Waiting ['a] }
        impl Lock<u8> { methods! { read, \"text\" => read_all } }
        pub type Later<'a> = Waiting<'a>;
        impl<T> Future for Locking<'_> { }
        pub fn lock_all(of: [u8; 2]) -> Locking<'a> {}
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
        "Lock::read",
        "Lock::read_all",
        "Lock::wait",
        "free",
        "lock_all",
        "oneshot::Receiver",
        "oneshot::Receiver as Stream",
    ];
    assert_eq!(operations(&sources).into_iter().collect::<Vec<_>>(), expected);
    let expected = ["Lock", "Locking", "Waiting", "oneshot::Receiver"];
    assert_eq!(types(&sources).into_iter().collect::<Vec<_>>(), expected);
}
