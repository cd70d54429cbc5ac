//! What traffic and engines are beside healthy streams of text that report their usage. Without an option nothing of it
//! happens, and a workload is what it was.

use crate::args::{not_negative, share};
use crate::workload::{Form, Job, Workload, mix};
use serde::Serialize;
use std::fmt::Write;
use warmpath_core::ids::CellHash;
use warmpath_engine::model::BlockHash;

/// Tokens of an image: whole blocks of 64, so that the text behind it stays cut as it was. The router's own estimate is
/// another, as in the field.
pub const IMAGE_TOKENS: usize = 19 * 64;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, clap::Args, Serialize)]
pub struct Mixture {
    /// Share of the sessions whose prompts hold an image of their own.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub images: f64,
    /// Share of the requests whose responses report no usage.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub no_usage: f64,
    /// Share of the requests whose responses are not streamed.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub not_streamed: f64,
    /// The first engine responds 500 to every request, in three milliseconds.
    #[arg(long)]
    pub failing: bool,
    /// How late metrics arrive, in milliseconds.
    #[arg(long, default_value_t = 0.0, value_parser = not_negative)]
    pub late_scrapes_ms: f64,
    /// Share of the times that metrics are asked for and do not come.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub failed_scrapes: f64,
}

// === impl Mixture ===

impl Mixture {
    /// Whether it changes anything.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// The options that are not the usual ones.
    pub fn options(&self) -> String {
        let named = [
            ("images", self.images),
            ("no-usage", self.no_usage),
            ("not-streamed", self.not_streamed),
            ("late-scrapes-ms", self.late_scrapes_ms),
            ("failed-scrapes", self.failed_scrapes),
        ];
        let mut options = String::new();
        for (name, value) in named.iter().filter(|(_, value)| *value > 0.0) {
            let _ = write!(options, " --{name} {value}");
        }
        if self.failing {
            options.push_str(" --failing");
        }
        options
    }

    /// Gives sessions their images, and requests their forms.
    pub fn apply(&self, workload: &mut Workload, seed: u64) {
        if self.is_usual() {
            return;
        }
        for (number, session) in workload.sessions.iter_mut().enumerate() {
            let salt = mix(seed ^ mix(number as u64));
            let has_image = chance(salt, 1) < self.images;
            // Behind the first question: what others share of the prompt stays shared.
            let at = session.turns.first().map_or(0, |first| first.job.blocks.len());
            for (turn, request) in session.turns.iter_mut().enumerate() {
                let salt_of_turn = mix(salt ^ turn as u64);
                if has_image {
                    add_image(&mut request.job, at, salt);
                }
                request.job.form.lacks_usage = chance(salt_of_turn, 2) < self.no_usage;
                request.job.form.is_whole = chance(salt_of_turn, 3) < self.not_streamed;
            }
        }
    }
}

/// Even between 0 and 1.
pub(crate) fn chance(salt: u64, kind: u64) -> f64 {
    mix(salt ^ mix(kind)) as f64 / u64::MAX as f64
}

/// Puts an image into a prompt before this block: whatever stands behind it is another prompt to both sides.
fn add_image(job: &mut Job, at: usize, salt: u64) {
    let at = at.min(job.blocks.len());
    let image = (0..(IMAGE_TOKENS / 64) as u64).map(|block| BlockHash(mix(salt ^ mix(block))));
    let behind = job.blocks[at..].iter().map(|block| BlockHash(block.0 ^ salt));
    job.blocks = job.blocks[..at].iter().copied().chain(image).chain(behind).collect();
    let cells = job.cells.iter().enumerate();
    job.cells =
        cells.map(|(number, cell)| if number < at { *cell } else { CellHash(cell.0 ^ salt) }).collect();
    job.prompt_tokens += IMAGE_TOKENS;
    job.form = Form { images: job.form.images + 1, ..job.form };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Session, Texts, Turn};

    fn workload() -> Workload {
        let mut texts = Texts::new(64);
        let session = |start: u32| {
            let first = (u64::from(start), 512);
            let mut turn = |rest: &[(u64, usize)]| {
                let parts = [(1, 1_024), first].into_iter().chain(rest.iter().copied());
                Turn { think_s: 0.0, job: texts.job(parts, 10) }
            };
            Session { group: 0, start_s: f64::from(start), turns: vec![turn(&[]), turn(&[(2, 256)])] }
        };
        Workload::by_clock((0..400).map(session).collect())
    }

    #[test]
    fn an_image_adds_tokens_and_parts_what_stands_behind_it() {
        let text = workload();
        let mut all = workload();
        Mixture { images: 1.0, ..Mixture::default() }.apply(&mut all, 1);
        for (with, without) in all.jobs().zip(text.jobs()) {
            assert_eq!(with.prompt_tokens, without.prompt_tokens + IMAGE_TOKENS);
            assert_eq!(with.blocks.len(), without.blocks.len() + IMAGE_TOKENS / 64);
            assert_eq!(
                (&with.cells[..24], &with.blocks[..24]),
                (&without.cells[..24], &without.blocks[..24])
            );
            assert!(with.cells.get(24).is_none_or(|cell| *cell != without.cells[24]));
            assert_eq!(with.cells.len(), without.cells.len());
        }
        let jobs: Vec<_> = all.jobs().collect();
        assert_eq!(jobs[0].blocks[24], jobs[1].blocks[24], "the image stays in its conversation");
        assert_ne!(jobs[0].blocks[24], jobs[2].blocks[24], "and each has its own");
    }

    #[test]
    fn shares_are_about_what_is_asked_for_and_nothing_changes_without_options() {
        let mut all = workload();
        Mixture { images: 0.5, no_usage: 0.25, not_streamed: 0.75, ..Mixture::default() }.apply(&mut all, 1);
        let count = |is: fn(&Form) -> bool| all.jobs().filter(|job| is(&job.form)).count();
        assert!((300..500).contains(&count(|form| form.images > 0)));
        assert!((120..280).contains(&count(|form| form.lacks_usage)));
        assert!((520..680).contains(&count(|form| form.is_whole)));
        let mut same = workload();
        Mixture::default().apply(&mut same, 1);
        assert!(same.jobs().zip(workload().jobs()).all(|(one, other)| one.blocks == other.blocks));
    }
}
