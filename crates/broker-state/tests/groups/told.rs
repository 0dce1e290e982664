//! The main stories, as data: read them in `testdata/groups` to learn the protocol.
//!
//! `UPDATE_STORIES=1 cargo test -p broker-state --test groups told` writes down what really happens; review the difference.

use std::path::PathBuf;

use crate::story::run;

#[test]
fn the_main_stories_go_as_they_are_told() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/groups");
    let files = std::fs::read_dir(&folder).expect("the folder of stories");
    let mut files: Vec<PathBuf> = files
        .map(|file| file.expect("a readable folder").path())
        .collect();
    files.sort();
    assert!(
        files.len() >= 7,
        "stories are missing in {}",
        folder.display()
    );
    for file in files {
        let told = std::fs::read_to_string(&file).expect("a readable story");
        let happened = run(&told) + "\n";
        if std::env::var_os("UPDATE_STORIES").is_some() {
            std::fs::write(&file, happened).expect("a writable story");
        } else {
            assert!(
                told == happened,
                "{} went differently:\n{happened}",
                file.display()
            );
        }
    }
}
