//! Where the repository is, what is in it, and where downloads for interop and bench are kept (never inside it).

use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace root: the parent of this package's folder under cargo, else the folder one stands in.
pub fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    match package.as_deref().and_then(Path::parent) {
        Some(parent) => parent.to_path_buf(),
        None => std::env::current_dir().unwrap_or_else(|_| ".".into()),
    }
}

/// Every file that is tracked or would be, relative to the root, in order.
pub fn files(root: &Path) -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("git ls-files: {error}; install git"))?;
    if !output.status.success() {
        return Err(format!(
            "git ls-files failed in {}: run it inside a clone",
            root.display()
        ));
    }
    let mut files: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|path| root.join(path).is_file())
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// The folder for jars, virtual environments and built tools: `$THALWEG_INTEROP_CACHE`, else the user's cache.
pub fn cache() -> Result<PathBuf, String> {
    let folder = if let Some(folder) = std::env::var_os("THALWEG_INTEROP_CACHE") {
        PathBuf::from(folder)
    } else if let Some(cache) = std::env::var_os("XDG_CACHE_HOME") {
        PathBuf::from(cache).join("thalweg-interop")
    } else if let Some(home) = std::env::var_os("HOME") {
        PathBuf::from(home).join(".cache/thalweg-interop")
    } else {
        return Err("no cache folder: set THALWEG_INTEROP_CACHE".to_owned());
    };
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// Where `cargo` puts what it builds for this workspace.
pub fn target_directory(root: &Path) -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root.join(folder),
        None => root.join("target"),
    }
}

/// A folder for one run, below `$TMPDIR`; removed with everything in it when dropped.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::env::var_os("THALWEG_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Makes a scratch folder; its name carries the pid, so two runs do not meet.
pub fn scratch(what: &str) -> Result<Scratch, String> {
    let path = std::env::temp_dir().join(format!("thalweg-{what}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Scratch { path })
}
