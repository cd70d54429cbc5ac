//! What all pages of this repository have in common: one file with its own style, which follows the reader's colour
//! scheme and loads nothing.

use std::fmt::Write;

const CSS: &str = include_str!("page.css");

/// The end of a page.
pub const CLOSE: &str = "</body>\n</html>\n";

/// The beginning of a page: head, style and title.
pub fn open(title: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Warmpath: {title}</title>\n<style>\n{CSS}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    )
}

/// One of the few numbers to remember; they stand in a `<dl class="facts">`.
pub fn fact(page: &mut String, value: &str, label: &str) {
    let _ = writeln!(page, "<div><dd>{}</dd><dt>{}</dt></div>", escape(value), escape(label));
}

/// Text as HTML shows it.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
