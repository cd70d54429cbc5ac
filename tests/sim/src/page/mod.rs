//! What pages of measurements share, here and in the demo: one HTML page that needs nothing but itself, charts as
//! inline SVG without a library, colours as CSS variables that follow the reader's colour scheme.

pub mod svg;

use std::fmt::Write;

/// The look of every such page. Colours of arms are the page's own.
pub const CSS: &str = include_str!("page.css");

/// The end of a page.
pub const CLOSE: &str = "</body>\n</html>\n";

/// The beginning of a page: head, style and title; `css` comes after [`CSS`].
pub fn open(title: &str, css: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Warmpath: {title}</title>\n<style>\n{CSS}{css}</style>\n</head>\n<body>\n<h1>{title}</h1>\n",
        title = escape(title)
    )
}

/// One of the few numbers to remember; they stand in a `<dl class="facts">`.
pub fn fact(page: &mut String, value: &str, label: &str) {
    let _ = writeln!(page, "<div><dd>{}</dd><dt>{}</dt></div>", escape(value), escape(label));
}

/// Text from outside, safe between tags.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Milliseconds, or seconds when there are many.
pub fn time_ms(ms: f64) -> String {
    if ms < 10_000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1_000.0) }
}
