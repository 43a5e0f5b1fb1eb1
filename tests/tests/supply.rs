//! The promise: what comes in from outside is what `deny.toml` allows. `cargo deny` knows more, advisories above all;
//! this needs the lockfile only.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::fs;

use filch_tests::catalogue::root;

/// One `[[package]]` of the lockfile.
#[derive(Debug, Default)]
struct Package {
    fields: BTreeMap<String, String>,
}

fn packages() -> Vec<Package> {
    let text = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let mut all = Vec::new();
    for line in text.lines() {
        if line == "[[package]]" {
            all.push(Package::default());
        } else if let (Some((name, value)), Some(last)) = (line.split_once(" = "), all.last_mut()) {
            last.fields.insert(name.to_owned(), value.trim_matches('"').to_owned());
        }
    }
    all
}

fn deny() -> String {
    fs::read_to_string(root().join("deny.toml")).expect("deny.toml")
}

/// The texts in quotes of `name = ["...", "..."]`.
fn list(text: &str, name: &str) -> Vec<String> {
    let start = text.find(&format!("\n{name} = [")).unwrap_or_else(|| panic!("no {name}"));
    let rest = &text[start..];
    let inside = &rest[rest.find('[').expect("[") + 1..rest.find(']').expect("]")];
    inside
        .split(',')
        .map(|word| word.trim().trim_matches('"').to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

#[test]
fn every_crate_comes_from_the_one_registry_with_a_checksum() {
    let allowed: Vec<_> =
        list(&deny(), "allow-registry").iter().map(|url| format!("registry+{url}")).collect();
    let mut outside = 0;
    for package in packages() {
        let name = &package.fields["name"];
        match package.fields.get("source") {
            // Ours.
            None => assert!(name.starts_with("filch"), "{name} comes from nowhere"),
            Some(source) => {
                outside += 1;
                assert!(allowed.contains(source), "{name} comes from {source}");
                assert_eq!(
                    package.fields.get("checksum").map_or(0, String::len),
                    64,
                    "{name} has no checksum"
                );
            }
        }
    }
    assert!(outside > 10);
}

#[test]
fn nothing_that_is_denied_is_there() {
    let deny = deny();
    let denied: Vec<_> =
        deny.lines().filter_map(|line| line.trim().strip_prefix("{ crate = \"")?.split('"').next()).collect();
    assert!(denied.len() >= 3);
    for package in packages() {
        assert!(!denied.contains(&package.fields["name"].as_str()), "{package:?}");
    }
}

#[test]
fn our_crates_ask_for_versions_and_not_for_any() {
    let mut asked = 0;
    for manifest in ["Cargo.toml", "runtime/Cargo.toml", "channels/Cargo.toml", "runtime/macros/Cargo.toml"] {
        let text = fs::read_to_string(root().join(manifest)).expect(manifest);
        for line in text.lines().map(str::trim) {
            assert!(!line.contains("\"*\"") && !line.contains("git = "), "{manifest}: {line}");
            asked += usize::from(
                line.contains("version = \"") || line.contains(" = \"0.") || line.contains(" = \"2"),
            );
        }
    }
    assert!(asked > 10);
}
