//! Bars side by side, as an SVG: the plots of the README.
//!
//! Owns how they look. The demo `when_to_use` and the benches draw with it.

use plotters::prelude::*;

/// Bars of several kinds, in groups.
#[derive(Clone, Debug, Default)]
pub struct Bars {
    /// What is shown, in a line.
    pub title: String,
    /// What the length of a bar means. The scale is logarithmic.
    pub unit: String,
    /// What each bar of a group is, from the top.
    pub kinds: Vec<String>,
    /// Each group: its name, and a figure for each kind; none where there is none.
    pub groups: Vec<(String, Vec<Option<f64>>)>,
}

const WIDTH: u32 = 860;
const LEFT: i32 = 230;
const RIGHT: i32 = 90;
const TOP: i32 = 84;
const BAR: i32 = 14;
const GAP: i32 = 16;
const COLOURS: [RGBColor; 6] = [
    RGBColor(29, 111, 165),
    RGBColor(230, 130, 40),
    RGBColor(90, 160, 80),
    RGBColor(190, 70, 80),
    RGBColor(130, 105, 175),
    RGBColor(120, 120, 120),
];

impl Bars {
    /// The text of the SVG.
    ///
    /// # Panics
    /// When a figure is not a positive number, or there is none.
    pub fn svg(&self) -> String {
        let figures = || self.groups.iter().flat_map(|(_, figures)| figures).flatten();
        assert!(figures().all(|figure| figure.is_finite() && *figure > 0.0), "a bar needs a length");
        let most = figures().copied().fold(f64::NAN, f64::max);
        let least = figures().copied().fold(f64::NAN, f64::min);
        assert!(most > 0.0, "a plot needs a figure");
        // A decade below the least one, so that it has a length, too.
        let (low, high) = ((least / 2.0).log10().floor(), (most * 1.1).log10());
        let room = f64::from(WIDTH as i32 - LEFT - RIGHT);
        let at = |figure: f64| LEFT + ((figure.log10() - low) / (high - low) * room) as i32;

        let group = self.kinds.len() as i32 * BAR + GAP;
        let bottom = TOP + group * self.groups.len() as i32;
        let mut text = String::new();
        {
            let root = SVGBackend::with_string(&mut text, (WIDTH, (bottom + 34) as u32)).into_drawing_area();
            root.fill(&WHITE).expect("a text takes everything");
            let write = |words: &str, size: i32, place: (i32, i32)| {
                let style = ("sans-serif", size).into_font().color(&BLACK);
                root.draw(&Text::new(words.to_owned(), place, style)).expect("a text takes everything");
            };
            write(&self.title, 17, (16, 12));
            let mut x = 16;
            for (kind, colour) in self.kinds.iter().zip(COLOURS.iter().cycle()) {
                root.draw(&Rectangle::new([(x, 46), (x + 12, 58)], colour.filled())).expect("as above");
                write(kind, 13, (x + 17, 45));
                x += 34 + kind.chars().count() as i32 * 7;
            }
            for decade in low as i32..=high.floor() as i32 {
                let line = at(10_f64.powi(decade));
                root.draw(&PathElement::new([(line, TOP - 8), (line, bottom)], RGBColor(220, 220, 220)))
                    .expect("as above");
                write(&short(10_f64.powi(decade)), 12, (line - 8, bottom + 2));
            }
            write(&self.unit, 12, (WIDTH as i32 - 190, bottom + 18));
            for (number, (name, figures)) in self.groups.iter().enumerate() {
                let top = TOP + number as i32 * group;
                write(name, 13, (16, top + (group - GAP) / 2 - 8));
                for (row, (figure, colour)) in figures.iter().zip(COLOURS.iter().cycle()).enumerate() {
                    let Some(figure) = figure else { continue };
                    let y = top + row as i32 * BAR;
                    let bar = [(LEFT, y), (at(*figure), y + BAR - 2)];
                    root.draw(&Rectangle::new(bar, colour.filled())).expect("as above");
                    write(&short(*figure), 11, (at(*figure) + 4, y));
                }
            }
            root.present().expect("as above");
        }
        text
    }
}

/// Three digits that matter.
fn short(figure: f64) -> String {
    match figure {
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        figure if figure >= 0.1 => format!("{figure:.2}"),
        _ => format!("{figure}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_bar_and_longer_ones_are_longer() {
        let kinds = vec!["one".to_owned(), "other".to_owned()];
        let groups =
            vec![("a".to_owned(), vec![Some(1.0), Some(1_000.0)]), ("b".to_owned(), vec![None, Some(30.0)])];
        let bars = Bars { title: "Lengths < all".to_owned(), unit: "us".to_owned(), kinds, groups };
        let svg = bars.svg();
        assert!(svg.starts_with("<svg") && svg.contains("Lengths &lt; all"), "{svg}");
        let widths: Vec<i32> = svg
            .split("<rect ")
            .filter(|rect| rect.contains(&format!("x=\"{LEFT}\"")))
            .filter_map(|rect| rect.split_once("width=\"")?.1.split_once('"')?.0.parse().ok())
            .collect();
        assert_eq!(widths.len(), 3, "{svg}");
        assert!(widths[0] > 0 && widths[0] < widths[2] && widths[2] < widths[1], "{widths:?}");
    }
}
