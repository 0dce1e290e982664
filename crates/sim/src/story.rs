//! What a simulation has done lately, for the one who must find out why it failed.
//!
//! Each simulation runs on one thread and tells its story there, so that a panic anywhere below it, also one of the
//! broker's own assertions, can be reported with the events that led to it.

use std::cell::RefCell;
use std::collections::VecDeque;

const REMEMBERED: usize = 60;

#[derive(Default)]
struct Story {
    title: String,
    lines: VecDeque<String>,
    is_printed: bool,
    digest: u64,
}

thread_local! {
    static STORY: RefCell<Story> = RefCell::default();
}

/// Begins the story of this thread anew; `title` is the command that tells it again.
pub fn begin(title: String) {
    STORY.with_borrow_mut(|story| {
        story.title = title;
        story.lines.clear();
        story.digest = 0;
    });
}

/// Prints each event as it happens, from now on.
pub fn print() {
    STORY.with_borrow_mut(|story| story.is_printed = true);
}

/// Adds an event.
pub fn tell(line: String) {
    STORY.with_borrow_mut(|story| {
        if story.is_printed {
            println!("{line}");
        }
        for byte in line.bytes() {
            story.digest = (story.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        if story.lines.len() == REMEMBERED {
            story.lines.pop_front();
        }
        story.lines.push_back(line);
    });
}

/// A number that two different stories hardly share.
pub fn digest() -> u64 {
    STORY.with_borrow(|story| story.digest)
}

/// The last events, and the command that tells them again.
pub fn last_events() -> String {
    STORY.with_borrow(|story| {
        let mut text = String::from("the last events:\n");
        for line in &story.lines {
            text.push_str("  ");
            text.push_str(line);
            text.push('\n');
        }
        text.push_str("replay it with: ");
        text.push_str(&story.title);
        text
    })
}
