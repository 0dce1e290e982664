//! Progress on standard error: a bar on a terminal, nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::is_interactive;

/// A bar, a counter without an end, or nothing.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// Counts records up to `total`.
    pub fn records(total: u64, label: &str) -> Progress {
        let template = "{prefix:<10} {bar:30} {human_pos}/{human_len} {per_sec} {eta}";
        Progress::draw(|| ProgressBar::new(total), label, template)
    }

    /// Counts bytes up to `total`.
    pub fn bytes(total: u64, label: &str) -> Progress {
        let template = "{prefix:<10} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        Progress::draw(|| ProgressBar::new(total), label, template)
    }

    /// Counts records without knowing how many come.
    pub fn open_ended(label: &str) -> Progress {
        let template = "{prefix:<10} {spinner} {human_pos} {per_sec} {elapsed}";
        Progress::draw(ProgressBar::new_spinner, label, template)
    }

    pub fn none() -> Progress {
        Progress(None)
    }

    fn draw(bar: impl FnOnce() -> ProgressBar, label: &str, template: &str) -> Progress {
        if !is_interactive() {
            return Progress(None);
        }
        let style = ProgressStyle::with_template(template)
            .expect("the templates above are valid")
            .progress_chars("━╸─");
        let bar = bar().with_style(style).with_prefix(label.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress(Some(bar))
    }

    pub fn add(&self, count: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(count);
        }
    }

    /// Takes the bar away; what it showed is summed up by the caller.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
