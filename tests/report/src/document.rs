//! A whole report: the few numbers to remember, then its sections.

use crate::{Section, html};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A report.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// What was compared.
    pub title: String,
    /// What to know first, for the page.
    pub lead: String,
    /// The few numbers to remember: value and what it is.
    pub facts: Vec<(String, String)>,
    /// What to know of them.
    pub notes: Vec<String>,
    /// The most important first.
    pub sections: Vec<Section>,
}

// === impl Document ===

impl Document {
    /// For the terminal: the most important last, where it is seen.
    pub fn to_text(&self) -> String {
        self.sections.iter().rev().map(Section::to_text).collect()
    }

    /// The page.
    pub fn to_html(&self) -> String {
        html::page(self).into_string()
    }

    /// Writes `report.json` and `report.html`; returns where they are.
    pub fn write(&self, folder: &Path, json: &str) -> anyhow::Result<Vec<PathBuf>> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let files = [("report.json", json.to_owned()), ("report.html", self.to_html())];
        let write = |(name, text): (&str, String)| -> io::Result<PathBuf> {
            let path = folder.join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        let paths = files.into_iter().map(write).collect::<io::Result<_>>();
        paths.with_context(|| format!("cannot write to {}", folder.display()))
    }
}
