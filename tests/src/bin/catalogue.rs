//! Prints the catalogue of scenarios: what can go wrong, how it is shown, by which tests, and with what result.
//!
//! Owns the printing; `filch_tests::catalogue` has the table. Alone it tells which tests there are; what they came to
//! it reads from the output of a run that is piped in: `cargo test 2>&1 | cargo run -p filch-tests --bin catalogue -`.
//! `--lacking` prints those without a test only, `--markdown` a table to paste.

use std::collections::HashMap;
use std::io::Read;
use std::process::ExitCode;

use filch_tests::catalogue::{LATER, SCENARIOS, holders, tests};

/// What each test came to, by its last name, from what `cargo test` prints.
fn results(output: &str) -> HashMap<String, bool> {
    let mut all = HashMap::new();
    for line in output.lines() {
        let Some((name, result)) = line.strip_prefix("test ").and_then(|line| line.split_once(" ... "))
        else {
            continue;
        };
        let name = name.trim().rsplit("::").next().unwrap_or(name).trim_end_matches(" - should panic");
        // What a test prints may come between its name and its result.
        let ok = match result.trim() {
            "ok" => true,
            result if result.starts_with("FAILED") => false,
            _ => continue,
        };
        *all.entry(name.to_owned()).or_insert(true) &= ok;
    }
    all
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if let Some(unknown) = arguments.iter().find(|a| !["-", "--lacking", "--markdown"].contains(&a.as_str()))
    {
        eprintln!("catalogue: {unknown}? It knows -, --lacking and --markdown.");
        return ExitCode::from(2);
    }
    let mut output = String::new();
    if has("-") {
        std::io::stdin().read_to_string(&mut output).expect("the output of cargo test");
    }
    let (results, all) = (results(&output), tests());
    let (mut held, mut lacking, mut failed, mut count) = (0, 0, 0, 0);
    if has("--markdown") {
        println!("| code | scenario | method | tests | result |\n|---|---|---|---|---|");
    }
    for scenario in SCENARIOS {
        let holders = holders(scenario.code, &all);
        let later = LATER.contains(&scenario.code);
        let known: Vec<bool> = holders.iter().filter_map(|test| results.get(&test.name).copied()).collect();
        let result = match (holders.len(), known.len()) {
            (0, _) if later => "later".to_owned(),
            (0, _) => "LACKING".to_owned(),
            (_, 0) => "there".to_owned(),
            (_, ran) if known.iter().all(|ok| *ok) => format!("{ran} ok"),
            (_, ran) => format!("FAILED, {} of {ran}", known.iter().filter(|ok| !**ok).count()),
        };
        count += holders.len();
        held += usize::from(!holders.is_empty());
        lacking += usize::from(holders.is_empty() && !later);
        failed += usize::from(result.starts_with("FAILED"));
        if has("--lacking") && (later || !holders.is_empty()) {
            continue;
        }
        if has("--markdown") {
            let names: Vec<String> = holders.iter().map(|test| format!("`{}`", test.name)).collect();
            let names = if names.is_empty() { "–".to_owned() } else { names.join(", ") };
            println!("| {} | {} | {} | {names} | {result} |", scenario.code, scenario.line, scenario.method);
        } else {
            println!("{:<5} {:<4} {:<12} {}", scenario.code, scenario.method, result, scenario.line);
            holders.iter().for_each(|test| println!("{:24}{}  ({})", "", test.name, test.file));
        }
    }
    println!(
        "\n{} scenarios: {held} have tests ({count} of them), {} come later, {lacking} lack one, {failed} failed.",
        SCENARIOS.len(),
        LATER.len()
    );
    if lacking + failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
