//! The frame of the pages of demo and bench: the simulator's, with the colours of the arms.

pub use warmpath_sim::page::{CLOSE, escape, fact};

const CSS: &str = include_str!("page.css");

/// The beginning of a page: head, style and title.
pub fn open(title: &str) -> String {
    open_with(title, "")
}

/// The same with more style, after that of all pages.
pub fn open_with(title: &str, css: &str) -> String {
    warmpath_sim::page::open(title, &format!("{CSS}{css}"))
}
