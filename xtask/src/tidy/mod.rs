//! `cargo xtask tidy`: the house rules that a machine can check, each in its own file; std only and quick.
//!
//! Every rule appends findings (`where: what, what to do`); the task fails when there is one.

mod arrows;
mod dependencies;
mod headers;
mod lengths;
mod links;
mod sans_io;
mod source;
mod words;

use std::path::{Path, PathBuf};

use crate::{TaskResult, repository};

/// The text files of the repository, read once for all rules.
struct Tree {
    root: PathBuf,
    files: Vec<TextFile>,
}

struct TextFile {
    path: String,
    text: String,
}

impl Tree {
    fn read(root: &Path) -> Result<Tree, String> {
        let mut files = Vec::new();
        for path in repository::files(root)? {
            // A file that is not UTF-8 (golden bytes, an icon) has no text to judge.
            if let Ok(text) = std::fs::read_to_string(root.join(&path)) {
                files.push(TextFile { path, text });
            }
        }
        Ok(Tree {
            root: root.to_path_buf(),
            files,
        })
    }

    fn rust(&self) -> impl Iterator<Item = &TextFile> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    fn markdown(&self) -> impl Iterator<Item = &TextFile> {
        self.files.iter().filter(|file| file.path.ends_with(".md"))
    }
}

/// Checks all rules; `--update` lowers entries of the length baseline that have become shorter and drops those no longer needed.
pub fn run(arguments: &[String]) -> TaskResult {
    let update = match arguments {
        [] => false,
        [flag] if flag == "--update" => true,
        _ => return Err("usage: cargo xtask tidy [--update]".to_owned()),
    };
    let root = repository::root();
    let tree = Tree::read(&root)?;
    let mut findings = Vec::new();
    arrows::check(&root, &mut findings)?;
    sans_io::check(&tree, &mut findings);
    headers::check(&tree, &mut findings);
    lengths::check(&tree, update, &mut findings)?;
    links::check(&tree, &mut findings);
    words::check(&tree, &mut findings);
    dependencies::check(&tree, &mut findings);
    if findings.is_empty() {
        println!("tidy: {} files, no finding", tree.files.len());
        return Ok(());
    }
    Err(format!(
        "{} findings\n  {}",
        findings.len(),
        findings.join("\n  ")
    ))
}
