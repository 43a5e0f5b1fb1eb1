//! What is printed of the rows: a line a figure, filch beside tokio and smol, the ratio to the best peer, and
//! whether that is a win or a loss; CPU time and context switches in brackets. Losses are printed like wins.
use std::collections::HashMap;
use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};

use crate::floor::Floor;
use crate::harness::{Row, Score, median, ratio};

/// The whole table, as it grows.
#[derive(Debug)]
pub struct Report {
    table: Table,
    json: Option<std::fs::File>,
    /// Those that were measured.
    floors: HashMap<Floor, f64>,
}

impl Report {
    /// An empty one; each line goes to `json` too.
    pub fn new(json: Option<std::fs::File>) -> Report {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header([
            "row",
            "unit",
            "filch",
            "tokio",
            "smol",
            "best",
            "ratio",
            "95 %",
            "must",
            "aim",
            "verdict",
            "cpu f/t/s",
            "switches/1k f/t/s",
            "floors",
            "other peers",
        ]);
        for column in 2..9 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Report { table, json, floors: HashMap::new() }
    }

    /// Adds what a row gave, and prints it shortly, for those who watch.
    pub fn add(&mut self, row: &Row, scores: &[Score]) {
        let floor = row
            .floor
            .map(|(times, floor)| times * *self.floors.entry(floor).or_insert_with(|| floor.measure()));
        for (at, metric) in row.metrics.iter().enumerate() {
            let middle = |score: &Score| median(&score.figures[at]);
            let peers: Vec<&Score> = scores.iter().filter(|score| !score.name.starts_with("filch")).collect();
            let best = peers
                .iter()
                .filter(|peer| !middle(peer).is_nan() && metric.against.is_none_or(|name| peer.name == name))
                .min_by(|a, b| middle(a).total_cmp(&middle(b)));
            for ours in scores.iter().filter(|score| score.name.starts_with("filch")) {
                let (ratio, low, high) = best.map_or((f64::NAN, f64::NAN, f64::NAN), |best| {
                    ratio(&ours.figures[at], &best.figures[at])
                });
                let verdict = {
                    let judged = if metric.absolute { middle(ours) } else { ratio };
                    let side = match () {
                        () if ratio.is_nan() => "",
                        () if high < 1.0 => "win",
                        () if low > 1.0 => "LOSS",
                        () => "tie",
                    };
                    let goal = match (metric.must, metric.aim) {
                        (_, Some(aim)) if judged <= aim => ", aim",
                        (Some(must), _) if judged <= must => ", must",
                        (Some(_), _) => ", MISS",
                        _ => "",
                    };
                    format!("{side}{goal}").trim_start_matches(", ").to_owned()
                };
                let of = |prefix: &str| {
                    let mut of: Vec<&&Score> =
                        peers.iter().filter(|peer| peer.name.starts_with(prefix)).collect();
                    of.sort_by(|a, b| middle(a).total_cmp(&middle(b)));
                    of.first().copied().copied()
                };
                // A row without smol shows what the best peer used in its place.
                let third = of("smol").or(best.copied());
                let both = |figure: &dyn Fn(&Score) -> f64| {
                    let show = |score: Option<&Score>| score.map_or("-".into(), |score| short(figure(score)));
                    format!("{}/{}/{}", show(Some(ours)), show(of("tokio")), show(third))
                };
                let others: Vec<String> = peers
                    .iter()
                    .filter(|peer| !peer.name.starts_with("tokio") && !peer.name.starts_with("smol"))
                    .map(|peer| format!("{} {}", peer.name, short(middle(peer))))
                    .collect();
                let variant = ours.name.trim_start_matches("filch");
                let name = format!("{}{variant}", metric.name);
                let show = |score: Option<&Score>| score.map_or("-".into(), |score| short(middle(score)));
                let goal = |goal: Option<f64>| goal.map_or("".into(), |goal| goal.to_string());
                let cells = [
                    name.clone(),
                    metric.unit.into(),
                    short(middle(ours)),
                    show(of("tokio")),
                    show(of("smol")),
                    best.map_or("", |best| best.name).into(),
                    if ratio.is_nan() { "-".into() } else { format!("{ratio:.3}") },
                    if ratio.is_nan() { "-".into() } else { format!("{low:.2}-{high:.2}") },
                    goal(metric.must),
                    goal(metric.aim),
                    verdict.clone(),
                    both(&|score| median(&score.cpu)),
                    both(&|score| median(&score.switches)),
                    floor.map_or("".into(), |floor| short(middle(ours) / floor)),
                    others.join(", "),
                ];
                eprintln!("{}", cells.join("  "));
                self.table.add_row(cells);
                self.write(serde_json::json!({
                    "row": name,
                    "unit": metric.unit,
                    "filch": middle(ours),
                    "peers": peers.iter().map(|peer| (peer.name.to_owned(), middle(peer).into()))
                        .collect::<serde_json::Map<String, serde_json::Value>>(),
                    "best": best.map(|best| best.name),
                    "ratio": ratio,
                    "ci": [low, high],
                    "floor": floor,
                    "must": metric.must,
                    "aim": metric.aim,
                    "verdict": verdict,
                    "cpu_ns": scores.iter().map(|score| (score.name.to_owned(), median(&score.cpu).into()))
                        .collect::<serde_json::Map<String, serde_json::Value>>(),
                    "switches_per_1k": scores.iter()
                        .map(|score| (score.name.to_owned(), median(&score.switches).into()))
                        .collect::<serde_json::Map<String, serde_json::Value>>(),
                }));
            }
        }
    }

    fn write(&mut self, line: serde_json::Value) {
        if let Some(json) = &mut self.json {
            writeln!(json, "{line}").expect("the JSON file");
        }
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("{}", self.table);
    }
}

/// Three digits that matter.
pub fn short(figure: f64) -> String {
    match figure.abs() {
        _ if figure.is_nan() => "-".into(),
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}
