//! What the documentation of the channels has to say of each public operation, and the proof that the check can fail.

use std::collections::BTreeSet;

use super::source::{Source, is_test, words};

/// The fixed words, one of which begins each section on cancel safety.
const GRADES: [&str; 3] = ["**Strict.**", "**Loses its place in line.**", "**Not cancel safe:**"];

/// Futures that are set up in several calls, or are the end of a channel: what makes them has nothing to say.
const MADE_OTHERWISE: [&str; 2] = ["Receiver", "Select"];

/// Finds public operations that can be awaited and whose documentation says nothing of what becomes of one that is
/// dropped, or has no example, and public ones that may fail and do not say when.
pub(super) fn undocumented(sources: &[Source]) -> Vec<String> {
    let there: Vec<&Source> = sources.iter().filter(|source| !is_test(&source.path)).collect();
    let futures: BTreeSet<String> = there.iter().flat_map(|source| futures(&source.shipped)).collect();
    let mut problems = Vec::new();
    for source in there {
        let lines: Vec<&str> = source.text.lines().collect();
        let code: Vec<&str> = source.shipped.lines().collect();
        for (n, _) in code.iter().enumerate().filter(|(_, line)| is_public_fn(line)) {
            let signature = signature(&code[n..]);
            let (name, output) = (name_of(&signature), output_of(&signature));
            if output.starts_with("Self") || name.starts_with("poll_") {
                continue;
            }
            let docs = docs_above(&lines[..n]);
            let mut lacks = |what: &str| problems.push(format!("{}:{}: `{name}` {what}", source.path, n + 1));
            if is_future(&signature, &output, &futures) {
                match docs.split("# Cancel safety").nth(1) {
                    None => lacks("does not say what becomes of it when it is dropped"),
                    Some(words) if !GRADES.iter().any(|grade| words.trim_start().starts_with(grade)) => {
                        lacks("says so in other words than the rest");
                    }
                    Some(_) => {}
                }
                if !docs.contains("# Examples") {
                    lacks("has no example");
                }
            }
            let fails = output.starts_with("Result<") || output.contains("Output = Result<");
            if fails && !docs.contains("# Errors") && !docs.contains("$(#[$") {
                lacks("does not say when it fails");
            }
        }
    }
    problems
}

/// The types that are futures here, and other names for them.
fn futures(code: &str) -> BTreeSet<String> {
    let implemented =
        code.match_indices(" Future for ").map(|(at, found)| first_word(&code[at + found.len()..]));
    let mut names: BTreeSet<String> = implemented.collect();
    let aliases = code.split("pub type ").skip(1).filter_map(|alias| {
        let (name, of) = alias[..alias.find(';')?].split_once(" = ")?;
        Some((first_word(name), first_word(of)))
    });
    let of_operations = aliases.filter(|(_, of)| of == "Operation" || names.contains(of));
    let of_operations: Vec<String> = of_operations.map(|(name, _)| name).collect();
    names.extend(of_operations);
    // What macros are given as the name of a future.
    names.insert("$future".into());
    names.insert("$future_owned".into());
    names
}

fn first_word(text: &str) -> String {
    words(text).next().map_or_else(String::new, |(_, word)| word.to_owned())
}

fn is_public_fn(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("pub fn ") || line.starts_with("pub async fn ") || line.starts_with("pub const fn ")
}

/// From `pub fn` to the body, on one line.
fn signature(code: &[&str]) -> String {
    let mut text = String::new();
    for line in code {
        text.push_str(line.trim());
        text.push(' ');
        if line.contains('{') || line.trim_end().ends_with(';') || line.trim() == "where" {
            break;
        }
    }
    text.split(" {").next().unwrap_or_default().to_owned()
}

fn name_of(signature: &str) -> String {
    let after = signature.split("fn ").nth(1).unwrap_or_default();
    after.split(['(', '<']).next().unwrap_or_default().to_owned()
}

/// What stands behind the last arrow that is not in brackets.
fn output_of(signature: &str) -> String {
    let mut depth = 0;
    let mut before = ' ';
    for (at, c) in signature.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '>' if before == '-' && depth == 0 => return signature[at + 1..].trim().to_owned(),
            _ => {}
        }
        before = c;
    }
    String::new()
}

fn is_future(signature: &str, output: &str, futures: &BTreeSet<String>) -> bool {
    let name =
        output.split(|c: char| c != '$' && c != '_' && !c.is_alphanumeric()).next().unwrap_or_default();
    let named = futures.contains(name) && !MADE_OTHERWISE.contains(&name);
    signature.starts_with("pub async") || output.starts_with("impl Future") || named
}

/// The documentation right above, attributes left out.
fn docs_above(lines: &[&str]) -> String {
    let above = lines.iter().rev().map(|line| line.trim());
    let is_part =
        |line: &&str| line.starts_with("///") || !(line.is_empty() || line.ends_with(['{', '}', ';']));
    let above = above.take_while(is_part);
    let mut docs: Vec<&str> = above.map(|line| line.trim_start_matches("///").trim_start()).collect();
    docs.reverse();
    docs.join("\n")
}

#[test]
fn what_is_not_documented_is_found() {
    let good = "/// Waits.\n///\n/// # Examples\n/// ```\n/// wait();\n/// ```\n///\n\
                /// # Cancel safety\n/// **Strict.** More.\n\
                #[inline]\npub fn wait(&self, f: impl Fn() -> u8) -> Waiting<'_> {\n}\n\n\
                impl Future for Waiting<'_> {\n}\n";
    let check = |text: &str| undocumented(&[Source::new("channels/src/a.rs", text)]);
    assert_eq!(check(good), [""; 0]);
    let of = |problem: &str| vec![format!("channels/src/a.rs:11: `wait` {problem}")];
    assert_eq!(check(&good.replace("# Examples", "Examples")), of("has no example"));
    assert_eq!(check(&good.replace("**Strict.**", "Strict.")), of("says so in other words than the rest"));
    assert_eq!(
        check(&good.replace("# Cancel", "Cancel")),
        of("does not say what becomes of it when it is dropped")
    );
    let fails =
        "/// Tries.\n\npub fn a() {}\n/// Tries.\npub fn wait(\n&self,\n) -> Result<(), Error> {\n}\n";
    assert_eq!(check(fails), ["channels/src/a.rs:5: `wait` does not say when it fails"]);
    assert_eq!(check(&fails.replace("Tries.\npub fn w", "# Errors\npub fn w")), [""; 0]);
}
