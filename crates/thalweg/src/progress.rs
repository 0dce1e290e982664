//! Progress on standard error: a bar on a terminal, nothing elsewhere.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::output::{count, is_interactive};

/// A bar, a counter without an end, or nothing.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// Counts records up to `total`.
    pub fn records(total: u64, label: &str) -> Progress {
        let template = "{prefix:<10} {bar:30} {human_pos}/{human_len} {rate} {eta}";
        Progress::draw(|| ProgressBar::new(total), label, template)
    }

    /// Counts bytes up to `total`.
    pub fn bytes(total: u64, label: &str) -> Progress {
        let template = "{prefix:<10} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        Progress::draw(|| ProgressBar::new(total), label, template)
    }

    /// Counts records without knowing how many come.
    pub fn open_ended(label: &str) -> Progress {
        let template = "{prefix:<10} {spinner} {human_pos} {rate} {elapsed}";
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
            .with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
                // Nothing can be done about a terminal that takes no more.
                let _ = write!(out, "{}/s", count(state.per_sec() as i64));
            })
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
