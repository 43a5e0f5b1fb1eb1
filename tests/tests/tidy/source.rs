//! Reads the tree: files, and their code without comments, text and tests.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file.
pub(super) struct Source {
    /// From the root of the repository.
    pub(super) path: String,
    pub(super) text: String,
    /// `text` with comments and the contents of strings blanked out; lines stay where they are.
    pub(super) code: String,
    /// `code` with everything under `#[cfg(test)]` blanked out too.
    pub(super) shipped: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Source {
        let code = without_comments(text);
        let shipped = if is_test(path) { blank(&code) } else { without_tests(&code) };
        Source { path: path.into(), text: text.into(), shipped, code }
    }
}

/// The root of the repository.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Every Rust file under these folders, in order.
pub(super) fn tree(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root().join(folder), &mut paths);
    }
    paths.sort();
    assert!(!paths.is_empty(), "nothing to read in {folders:?}");
    let relative = |path: &Path| path.strip_prefix(root()).expect("below the root").display().to_string();
    paths
        .iter()
        .map(|path| Source::new(&relative(path), &fs::read_to_string(path).expect("a file")))
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "target" && name != "fuzz" && !name.starts_with('.') {
                collect(&path, paths);
            }
        } else if name.ends_with(".rs") {
            paths.push(path);
        }
    }
}

/// Whether a file of a library holds nothing but tests, by its name.
pub(super) fn is_test(path: &str) -> bool {
    let mut parts = path.split('/').skip_while(|part| *part != "src");
    parts.any(|part| matches!(part, "tests" | "tests.rs" | "test_util.rs"))
}

fn blank(code: &str) -> String {
    code.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect()
}

/// Blanks out comments, and what stands in strings and characters.
pub(super) fn without_comments(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = match rest {
            ['/', '/', ..] => rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['r', '"' | '#', ..] if !in_word(&code) => raw_string(rest).unwrap_or(0),
            ['"', ..] => quoted(rest),
            // A character, and not a lifetime.
            ['\'', '\\', ..] | ['\'', _, '\'', ..] => character(rest),
            _ => 0,
        };
        if length == 0 {
            code.push(bytes[at]);
            at += 1;
        } else {
            code.extend(rest[..length].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at += length;
        }
    }
    code
}

/// Whether what was read last is part of a word, so that an `r` after it starts no raw string.
fn in_word(code: &str) -> bool {
    code.chars().next_back().is_some_and(|c| is_word(c) && c != 'b')
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let end = |at: &usize| {
        rest[*at] == '"' && rest[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
    };
    let from = 2 + hashes;
    Some((from..rest.len()).find(end).map_or(rest.len(), |at| at + 1 + hashes))
}

fn quoted(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

fn character(rest: &[char]) -> usize {
    let from = if rest[1] == '\\' { 3 } else { 2 };
    rest[from..].iter().position(|&c| c == '\'').map_or(1, |at| from + at + 1)
}

/// Blanks out each item under `#[cfg(test)]` and its like.
fn without_tests(code: &str) -> String {
    let mut code = code.to_owned();
    for attribute in ["#[cfg(test)]", "#[cfg(all(test"] {
        while let Some(start) = code.find(attribute) {
            let end = start + item_length(&code[start..]);
            code.replace_range(start..end, &blank(&code[start..end]));
        }
    }
    code
}

/// The length of the item at the start of `code`, attributes included: to its `;`, or to its closing brace.
pub(super) fn item_length(code: &str) -> usize {
    let mut depth = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth -= 1;
                if depth == 0 && c == '}' {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The words of some code, each with where it starts.
pub(super) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.match_indices(|c: char| is_word(c))
        .filter(|(at, _)| !code[..*at].ends_with(is_word))
        .map(|(at, _)| (at, code[at..].split(|c: char| !is_word(c)).next().unwrap_or("")))
}

/// The line of a place, from 1.
pub(super) fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

#[test]
fn comments_text_and_tests_are_blanked_out() {
    let code = without_comments(
        "a // b\n/* c /* d */ e */ f \"g \\\" h\" 'i' '\\'' &'life x r#\"j\" k\"# br\"l\" m",
    );
    let words: Vec<&str> = words(&code).map(|(_, word)| word).collect();
    assert_eq!(words, ["a", "f", "life", "x", "b", "m"]);
    let source =
        Source::new("runtime/src/x.rs", "use a;\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nfn c() {}\n");
    assert_eq!(source.shipped.split_whitespace().collect::<String>(), "usea;fnc(){}");
    assert!(is_test("runtime/src/task/tests.rs") && !is_test("tests/tests/tidy.rs"));
}
