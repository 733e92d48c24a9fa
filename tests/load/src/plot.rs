//! Curves as SVG: a logarithmic axis for what grows, a linear one from zero for what it comes to.

use std::fmt::Write as _;

/// One picture.
pub struct Plot<'a> {
    pub title: &'a str,
    pub across: &'a str,
    pub up: &'a str,
    pub points: &'a [(f64, f64)],
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Room for the labels: left, right, top, bottom.
const MARGIN: (f64, f64, f64, f64) = (84.0, 24.0, 40.0, 52.0);
const LINES: u32 = 5;

impl Plot<'_> {
    /// The picture; `None` without at least two points.
    pub fn svg(&self) -> Option<String> {
        let (first, last) = (self.points.first()?.0, self.points.last()?.0);
        if self.points.len() < 2 || first <= 0.0 || last <= first {
            return None;
        }
        let most =
            step(self.points.iter().map(|point| point.1).fold(0.0, f64::max) / f64::from(LINES)) * f64::from(LINES);
        let (left, right, top, bottom) = MARGIN;
        let x = |value: f64| left + (WIDTH - left - right) * (value / first).ln() / (last / first).ln();
        let y = |value: f64| HEIGHT - bottom - (HEIGHT - top - bottom) * value / most;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"{left}\" y=\"24\" font-size=\"15\">{}</text>\n",
            self.title
        );
        for line in 0..=LINES {
            let value = most * f64::from(line) / f64::from(LINES);
            let at = y(value);
            let end = WIDTH - right;
            // writing to a string cannot fail
            write!(
                out,
                "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{end}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                left - 8.0,
                at + 4.0,
                label(value)
            )
            .ok();
        }
        let mut curve = String::new();
        let mut previous = f64::NEG_INFINITY;
        for &(across, up) in self.points {
            let (px, py) = (x(across), y(up));
            write!(curve, "{px:.1},{py:.1} ").ok();
            writeln!(out, "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3.5\" fill=\"#1f6feb\"/>").ok();
            // labels that would run into each other are left out
            if px - previous >= 44.0 {
                previous = px;
                let under = HEIGHT - bottom + 18.0;
                writeln!(out, "<text x=\"{px:.1}\" y=\"{under}\" text-anchor=\"middle\">{}</text>", label(across)).ok();
            }
        }
        let middle = f64::midpoint(left, WIDTH - right);
        write!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f6feb\" stroke-width=\"2\"/>\n\
             <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n</svg>\n",
            curve.trim_end(),
            HEIGHT - 12.0,
            self.across,
            f64::midpoint(top, HEIGHT - bottom),
            self.up
        )
        .ok();
        Some(out)
    }
}

/// The least round number that is not below.
fn step(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|round| round * power)
        .find(|step| *step >= value * 0.999)
        .unwrap_or(value)
}

fn label(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{}M", value / 1e6),
        _ if value >= 1e4 => format!("{}k", (value / 100.0).round() / 10.0),
        _ => format!("{}", (value * 100.0).round() / 100.0),
    }
}
