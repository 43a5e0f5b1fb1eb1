//! The rules, each a function from sources to problems, and under each the proof that it can fail.

use std::collections::BTreeSet;

use super::source::{Source, is_test, is_word, item_length, line_of, words};

/// A module and what it may name besides itself.
pub(super) struct Room(pub(super) &'static str, pub(super) &'static [&'static str]);

/// Finds paths that name a room which the table does not let them name.
pub(super) fn layers(sources: &[Source], base: &str, rooms: &[Room]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources {
        let module = module_of(&source.path, base);
        if module.is_empty() || is_test(&source.path) {
            continue;
        }
        let Some(Room(room, may)) = room_of(&module, rooms) else {
            problems.push(format!("{}: no room in the table", source.path));
            continue;
        };
        for (at, target) in paths(&source.shipped, &module) {
            let target = room_of(&target, rooms).map_or("root", |Room(name, _)| name);
            // A room may name itself and the rooms in it.
            if !inside(target, room) && !may.iter().any(|may| inside(target, may)) {
                let line = line_of(&source.shipped, at);
                problems.push(format!("{}:{line}: {room} may not name {target}", source.path));
            }
        }
    }
    problems
}

fn inside(module: &str, room: &str) -> bool {
    module == room || module.strip_prefix(room).is_some_and(|rest| rest.starts_with("::"))
}

/// The room that a module is in: the longest name in the table.
fn room_of<'a>(module: &str, rooms: &'a [Room]) -> Option<&'a Room> {
    let module = module.strip_prefix("shim").map_or(module.to_owned(), |rest| format!("sync{rest}"));
    rooms.iter().filter(|Room(name, _)| inside(&module, name)).max_by_key(|Room(name, _)| name.len())
}

/// The module of a file; empty for `lib.rs`.
fn module_of(path: &str, base: &str) -> String {
    let module = path.trim_start_matches(base).trim_end_matches(".rs").trim_end_matches("/mod");
    if module == "lib" { String::new() } else { module.replace('/', "::") }
}

/// Every path into this crate, as a path from its root: where it stands and what it names. What is only passed
/// on by `pub use` is not counted: that is the face of a module, and not what its code leans on.
fn paths(code: &str, module: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, word) in words(code) {
        let (mut start, mut after) = match word {
            "crate" if !code[..at].ends_with('$') => (String::new(), &code[at + word.len()..]),
            "super" if !code[..at].ends_with("::") => {
                (parent(&inline_module(code, at, module)), &code[at + word.len()..])
            }
            _ => continue,
        };
        if code[..at].ends_with("pub use ") {
            continue;
        }
        while let Some(rest) = after.strip_prefix("::super") {
            (start, after) = (parent(&start), rest);
        }
        if let Some(tree) = after.strip_prefix("::") {
            let mut names = Vec::new();
            use_tree(tree, &start, &mut names);
            found.extend(names.into_iter().map(|name| (at, name)));
        }
    }
    found
}

/// The module at a place of a file, with the `mod name { .. }` that are open there.
fn inline_module(code: &str, at: usize, module: &str) -> String {
    let mut path = module.to_owned();
    for (start, _) in words(&code[..at]).filter(|(_, word)| *word == "mod") {
        let after = &code[start + 3..];
        let name = words(after).next().map_or("", |(_, name)| name);
        if after.trim_start()[name.len()..].trim_start().starts_with('{')
            && start + item_length(&code[start..]) > at
        {
            path = if path.is_empty() { name.to_owned() } else { format!("{path}::{name}") };
        }
    }
    path
}

fn parent(module: &str) -> String {
    module.rsplit_once("::").map_or("", |(parent, _)| parent).to_owned()
}

/// Reads `a::b`, or `{a, b::{c, d}}`, under the module `start`.
fn use_tree(tree: &str, start: &str, names: &mut Vec<String>) {
    let tree = tree.trim_start();
    let join = |name: &str| if start.is_empty() { name.to_owned() } else { format!("{start}::{name}") };
    if tree.starts_with('{') {
        let inside = &tree[1..item_length(tree).max(2) - 1];
        let mut depth = 0;
        let parts = inside.split(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        });
        parts.filter(|part| !part.trim().is_empty()).for_each(|part| use_tree(part, start, names));
        return;
    }
    let name = &tree[..tree.find(|c| !is_word(c)).unwrap_or(tree.len())];
    let path = if matches!(name, "" | "self") { start.to_owned() } else { join(name) };
    match tree[name.len()..].trim_start().strip_prefix("::") {
        Some(rest) if !name.is_empty() => use_tree(rest, &path, names),
        _ => names.push(path),
    }
}

#[test]
fn a_room_that_names_one_above_is_found() {
    let rooms = [Room("low", &[]), Room("low::pure", &[]), Room("high", &["low"]), Room("sync", &[])];
    let check = |path: &str, text: &str| layers(&[Source::new(path, text)], "src/", &rooms);
    assert_eq!(check("src/high.rs", "use crate::{low::{a, b}, high::c};"), [""; 0]);
    assert_eq!(
        check("src/low/mod.rs", "fn f() { crate::high::g() }"),
        ["src/low/mod.rs:1: low may not name high"]
    );
    assert_eq!(check("src/low/a.rs", "\nuse super::super::high;"), ["src/low/a.rs:2: low may not name high"]);
    assert_eq!(check("src/low/pure.rs", "use super::a;"), ["src/low/pure.rs:1: low::pure may not name low"]);
    assert_eq!(
        check("src/high.rs", "use crate::{low, shim::{Arc, x::Y}};"),
        ["src/high.rs:1: high may not name sync"; 2]
    );
    assert_eq!(check("src/high.rs", "use crate::spawn;"), ["src/high.rs:1: high may not name root"]);
    assert_eq!(check("src/low/a.rs", "mod b { use super::c; use super::super::super::high; }").len(), 1);
    assert_eq!(check("src/low/mod.rs", "pub use crate::high::X;"), [""; 0]);
    assert_eq!(check("src/low/a.rs", "// crate::high\n#[cfg(test)]\nuse crate::high;"), [""; 0]);
    assert_eq!(check("src/new.rs", ""), ["src/new.rs: no room in the table"]);
}

/// Finds a word of shipped code outside the files where it is allowed.
pub(super) fn without_word(sources: &[Source], needle: &str, allowed: &[&str]) -> Vec<String> {
    let there = sources.iter().filter(|source| !allowed.contains(&source.path.as_str()));
    there
        .flat_map(|source| {
            let found = words(&source.shipped).filter(|(_, word)| *word == needle);
            found.map(|(at, _)| format!("{}:{}: `{needle}`", source.path, line_of(&source.shipped, at)))
        })
        .collect()
}

/// Finds paths into a crate or module outside the places where they are allowed: `(file, path)`, and the empty
/// file stands for all.
pub(super) fn without_path(sources: &[Source], banned: &str, allowed: &[(&str, &str)]) -> Vec<String> {
    let first = banned.split("::").next().unwrap_or(banned);
    let mut problems = Vec::new();
    for source in sources {
        for (at, _) in words(&source.shipped).filter(|(_, word)| *word == first) {
            let mut names = Vec::new();
            use_tree(&source.shipped[at..], "", &mut names);
            for name in names.iter().filter(|name| inside(name, banned)) {
                let excepted = |(file, what): &(&str, &str)| {
                    (file.is_empty() || *file == source.path) && (what.is_empty() || inside(name, what))
                };
                if !allowed.iter().any(excepted) {
                    problems.push(format!("{}:{}: `{name}`", source.path, line_of(&source.shipped, at)));
                }
            }
        }
    }
    problems
}

/// Finds some text in code that is not a comment.
pub(super) fn without_text(sources: &[Source], needle: &str) -> Vec<String> {
    let with = sources.iter().filter_map(|source| Some((source, source.code.find(needle)?)));
    with.map(|(source, at)| format!("{}:{}: `{needle}`", source.path, line_of(&source.code, at))).collect()
}

#[test]
fn words_and_paths_are_found_whole_and_only_in_code() {
    let source = |text: &str| [Source::new("a.rs", text)];
    assert_eq!(without_word(&source("x\nfilch::y; filch_z"), "filch", &[]), ["a.rs:2: `filch`"]);
    assert_eq!(without_word(&source("filch"), "filch", &["a.rs"]).len(), 0);
    assert_eq!(without_path(&source("std::thread::park(); std::thread_local!"), "std::thread", &[]).len(), 1);
    assert_eq!(without_path(&source("// std::thread\n\"std::thread\""), "std::thread", &[]).len(), 0);
    let once = [("a.rs", "std::sync::OnceLock")];
    assert_eq!(
        without_path(&source("use std::sync::{OnceLock, Mutex};"), "std::sync", &once),
        ["a.rs:1: `std::sync::Mutex`"]
    );
    assert_eq!(
        without_path(&source("use std::{io, sync::Weak};"), "std::sync", &[("", "std::sync::Weak")]).len(),
        0
    );
    assert_eq!(without_text(&source("// later!\nlater!()"), "later!"), ["a.rs:2: `later!`"]);
}

/// Finds `unsafe` outside its rooms, and other files that do not forbid it.
pub(super) fn unsafe_rooms(sources: &[Source], rooms: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| !is_test(&source.path)) {
        let has = words(&source.shipped).any(|(_, word)| word == "unsafe");
        let forbids = source.code.contains("#![forbid(unsafe_code)]");
        let room = rooms.contains(&source.path.as_str());
        let root = source.path.ends_with("/lib.rs");
        if has && !room {
            problems.push(format!("{}: unsafe, and not in the list of its rooms", source.path));
        }
        if room && !has {
            problems.push(format!("{}: in the list of rooms for unsafe, and has none", source.path));
        }
        // What a module forbids, it forbids to those within it, so it cannot where one of them needs it.
        let above = source.path.trim_end_matches("mod.rs").trim_end_matches(".rs");
        let above = |room: &&str| room.starts_with(above) && **room != source.path;
        if !has && !forbids && !root && !rooms.iter().any(above) {
            problems.push(format!("{}: does not say #![forbid(unsafe_code)]", source.path));
        }
    }
    let missing = rooms.iter().filter(|room| !sources.iter().any(|source| source.path == **room));
    problems.extend(missing.map(|room| format!("{room}: in the list of rooms for unsafe, and not there")));
    problems
}

/// How many lines in a thousand say `unsafe`, tests left out.
pub(super) fn unsafe_per_thousand(sources: &[Source]) -> f64 {
    let mut lines = (0, 0);
    for source in sources.iter().filter(|source| !is_test(&source.path)) {
        let says = |line: &str| words(line).any(|(_, word)| word == "unsafe");
        lines.0 += source.shipped.lines().filter(|line| says(line)).count();
        lines.1 += source.text.lines().count();
    }
    1000.0 * lines.0 as f64 / lines.1.max(1) as f64
}

#[test]
fn unsafe_outside_its_rooms_is_found() {
    let sources = [
        Source::new("src/a.rs", "unsafe fn f() {}"),
        Source::new("src/b.rs", "// unsafe"),
        Source::new("src/c.rs", "#![forbid(unsafe_code)]"),
    ];
    let parent = [Source::new("src/x/mod.rs", "mod y;"), Source::new("src/x/y.rs", "unsafe fn f() {}")];
    assert_eq!(unsafe_rooms(&parent, &["src/x/y.rs"]), [""; 0]);
    assert_eq!(unsafe_rooms(&sources, &["src/a.rs"]), ["src/b.rs: does not say #![forbid(unsafe_code)]"]);
    assert_eq!(unsafe_rooms(&sources[..1], &[]).len(), 1);
    assert_eq!(unsafe_rooms(&sources[2..], &["src/c.rs", "src/d.rs"]).len(), 2);
    assert_eq!(unsafe_per_thousand(&sources).round(), 333.0);
}

/// Finds functions with more lines than that, from `fn` to the closing brace.
pub(super) fn long_functions(sources: &[Source], most: usize, allowed: &[(&str, &str)]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    for source in sources {
        for (at, _) in words(&source.code).filter(|(_, word)| *word == "fn") {
            let name = words(&source.code[at + 2..]).next().map_or("", |(_, name)| name);
            let lines = source.code[at..at + item_length(&source.code[at..])].lines().count();
            if lines <= most {
                continue;
            }
            match allowed.iter().find(|(file, function)| *file == source.path && *function == name) {
                Some(entry) => drop(used.insert(entry)),
                None => {
                    let line = line_of(&source.code, at);
                    problems.push(format!("{}:{line}: `{name}` has {lines} lines", source.path));
                }
            }
        }
    }
    let idle = allowed.iter().filter(|entry| !used.contains(entry));
    problems.extend(idle.map(|(file, function)| format!("{file}: `{function}` needs no exception")));
    problems
}

/// Finds files with more lines than that.
pub(super) fn long_files(sources: &[Source], most: usize, allowed: &[&str]) -> Vec<String> {
    let long = |source: &&Source| source.text.lines().count() > most;
    let listed = |source: &&Source| allowed.contains(&source.path.as_str());
    let problems = sources.iter().filter(long).filter(|source| !listed(source));
    let mut problems: Vec<String> =
        problems.map(|source| format!("{}: {} lines", source.path, source.text.lines().count())).collect();
    let idle = allowed.iter().filter(|file| !sources.iter().filter(long).any(|source| source.path == **file));
    problems.extend(idle.map(|file| format!("{file}: needs no exception")));
    problems
}

/// Finds lines wider than that; `rustfmt` looks at code alone.
pub(super) fn long_lines(sources: &[Source], most: usize) -> Vec<String> {
    let long = |source: &Source| {
        let lines = source.text.lines().enumerate().filter(|(_, line)| line.chars().count() > most);
        lines
            .map(|(n, line)| format!("{}:{}: {} wide", source.path, n + 1, line.chars().count()))
            .collect::<Vec<_>>()
    };
    sources.iter().flat_map(long).collect()
}

#[test]
fn what_is_long_is_found_unless_excepted() {
    let sources = [Source::new("a.rs", "fn f(x: [u8; 2]) {\n  { }\n}\nfn g();\n")];
    assert_eq!(long_functions(&sources, 2, &[]), ["a.rs:1: `f` has 3 lines"]);
    assert_eq!(long_functions(&sources, 2, &[("a.rs", "f")]), [""; 0]);
    assert_eq!(long_functions(&sources, 3, &[("a.rs", "f")]), ["a.rs: `f` needs no exception"]);
    assert_eq!(long_files(&sources, 3, &[]), ["a.rs: 4 lines"]);
    assert_eq!(long_files(&sources, 3, &["a.rs"]), [""; 0]);
    assert_eq!(long_files(&sources, 4, &["a.rs"]), ["a.rs: needs no exception"]);
    assert_eq!(long_lines(&sources, 17), ["a.rs:1: 18 wide"]);
}

/// Finds files that do not begin by saying what they own.
pub(super) fn first_lines(sources: &[Source]) -> Vec<String> {
    let silent = sources.iter().filter(|source| !source.text.starts_with("//! "));
    silent.map(|source| format!("{}: does not begin with `//! `", source.path)).collect()
}

/// Compares the tables of ARCHITECTURE.md with the files. A table whose head names a folder (`` `runtime/src/` ``)
/// has paths from there in its rows, `{a,b}` meaning two. Files of tests need no row.
pub(super) fn map(text: &str, sources: &[Source]) -> Vec<String> {
    let mut listed = BTreeSet::new();
    let mut base: Option<&str> = None;
    for line in text.lines() {
        if !line.starts_with('|') {
            base = None;
            continue;
        }
        let quoted: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        match base {
            None => base = Some(quoted.iter().find(|name| name.ends_with("src/")).copied().unwrap_or("")),
            Some("") => {}
            // The first cells, up to the one that holds the paths.
            Some(base) => {
                let cell = line.split('|').find(|cell| cell.contains(".rs`")).unwrap_or("");
                let paths = cell.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs"));
                listed.extend(paths.flat_map(braces).map(|path| format!("{base}{path}")));
            }
        }
    }
    let there: BTreeSet<String> = sources.iter().map(|source| source.path.clone()).collect();
    let missing = there.difference(&listed).filter(|path| !is_test(path));
    let mut problems: Vec<String> = missing.map(|path| format!("{path}: not in ARCHITECTURE.md")).collect();
    problems.extend(listed.difference(&there).map(|path| format!("ARCHITECTURE.md: there is no {path}")));
    problems
}

/// `a/{b,c}.rs` means `a/b.rs` and `a/c.rs`.
fn braces(path: &str) -> Vec<String> {
    match path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (names, after))) => {
            names.split(',').map(|name| format!("{before}{}{after}", name.trim())).collect()
        }
        None => vec![path.to_owned()],
    }
}

#[test]
fn a_file_without_a_row_and_a_row_without_a_file_are_found() {
    let text =
        "| layer | `runtime/src/` |\n|--|--|\n| 0 | `a.rs`, `b/{c,d}.rs` | not `x.rs` |\n\n| `e.rs` |\n";
    let sources: Vec<Source> =
        ["runtime/src/a.rs", "runtime/src/b/c.rs", "runtime/src/f.rs", "runtime/src/tests.rs"]
            .map(|path| Source::new(path, ""))
            .into();
    assert_eq!(
        map(text, &sources),
        ["runtime/src/f.rs: not in ARCHITECTURE.md", "ARCHITECTURE.md: there is no runtime/src/b/d.rs",]
    );
    assert_eq!(first_lines(&sources[..1]).len(), 1);
}

/// Finds names in backticks, in comments on orderings and safety, that no code has any more.
pub(super) fn stale_names(sources: &[Source]) -> Vec<String> {
    let known: BTreeSet<&str> =
        sources.iter().flat_map(|source| words(&source.code)).map(|(_, word)| word).collect();
    let mut problems = Vec::new();
    for source in sources {
        let mut inside = false;
        let mut open = false;
        for (n, line) in source.text.lines().enumerate() {
            let comment =
                line.split_once("//").map(|(_, comment)| comment).filter(|c| !c.starts_with(['/', '!']));
            let Some(comment) = comment else {
                (inside, open) = (false, false);
                continue;
            };
            inside |= ["Ordering:", "SAFETY:"].iter().any(|tag| comment.trim_start().starts_with(tag));
            if !inside {
                continue;
            }
            // A name may be broken at the end of a line: then its end stands at the start of the next.
            for (part, text) in comment.split('`').enumerate() {
                let quoted = (part % 2 == 1) != open;
                let stale = words(text).find(|(_, word)| quoted && !known.contains(word) && !is_number(word));
                problems.extend(stale.map(|(_, word)| format!("{}:{}: no `{word}`", source.path, n + 1)));
            }
            open ^= comment.matches('`').count() % 2 == 1;
        }
    }
    problems
}

fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
}

#[test]
fn a_stale_name_is_found() {
    let text = "fn push() {\n// Ordering: pairs with `push` and\n// `pop of\n// it`; `2`.\nx();\n\
                // `gone` is no such comment\n}";
    assert_eq!(stale_names(&[Source::new("a.rs", text)]), ["a.rs:3: no `pop`", "a.rs:4: no `it`"]);
}

/// Lines of shipped code in these files and folders: no comments, no blank lines, no tests.
pub(super) fn code_lines(sources: &[Source], core: &[&str]) -> usize {
    let core = sources.iter().filter(|source| core.iter().any(|part| source.path.starts_with(part)));
    core.map(|source| source.shipped.lines().filter(|line| !line.trim().is_empty()).count()).sum()
}

/// The crates of `cargo tree --prefix none`.
pub(super) fn crates(tree: &str) -> BTreeSet<&str> {
    tree.lines().filter_map(|line| line.split_whitespace().next()).collect()
}

#[test]
fn lines_and_crates_are_counted_once() {
    let text = "//! A\n\nfn f() {\n    // no\n    g()\n}\n#[cfg(test)]\nmod tests { }\n";
    let sources = [Source::new("runtime/src/task/a.rs", text), Source::new("runtime/src/b.rs", text)];
    assert_eq!(code_lines(&sources, &["runtime/src/task/"]), 3);
    assert_eq!(crates("a v1\nb v2 (/x)\nb v2 (*)\n").len(), 2);
}
