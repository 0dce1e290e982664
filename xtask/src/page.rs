//! `cargo xtask page`: the pages in a real browser, headless: looked at, published from, followed live. The script is interop/browser/page.js.
//!
//! Screenshots stay in `$THALWEG_SHOTS` when it is set. Needs Chromium, Node and npm; what is missing is named.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::thalweg::{self, Thalweg};
use crate::{TaskResult, process, repository};

const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

pub fn run(arguments: &[String]) -> TaskResult {
    if !arguments.is_empty() {
        return Err("usage: cargo xtask page".to_owned());
    }
    let browser = BROWSERS
        .into_iter()
        .find(|browser| process::exists(browser))
        .ok_or("no Chromium is installed (Debian: chromium)")?;
    if let Some(missing) = ["node", "npm"]
        .into_iter()
        .find(|name| !process::exists(name))
    {
        return Err(format!("{missing} is not installed"));
    }
    let binary = thalweg::build()?;
    let folder = repository::scratch("page")?;
    let modules = modules()?;
    let mut server = Thalweg::start(&binary, folder.path(), &["--provision", "lab"])?;
    let http = http(folder.path())?;
    let shots = std::env::var_os("THALWEG_SHOTS").map_or(folder.path().to_owned(), PathBuf::from);
    let passed = process::succeeds(
        Command::new("node")
            .arg(repository::root().join("interop/browser/page.js"))
            .args(["--base", &http, "--chromium"])
            .arg(which(browser)?)
            .arg("--shots")
            .arg(shots)
            .env("NODE_PATH", modules),
    )?;
    server.stop()?;
    match passed {
        true => Ok(()),
        false => Err("a claim about the pages does not hold".to_owned()),
    }
}

/// Where npm has put what package.json asks for; once for each version of it.
fn modules() -> Result<PathBuf, String> {
    let home = repository::cache()?.join("browser");
    let package = repository::root().join("interop/browser/package.json");
    let wanted = std::fs::read_to_string(&package).map_err(|error| error.to_string())?;
    let installed = std::fs::read_to_string(home.join("installed.json")).unwrap_or_default();
    if installed != wanted {
        let say = |error: std::io::Error| format!("{}: {error}", home.display());
        std::fs::create_dir_all(&home).map_err(say)?;
        std::fs::write(home.join("package.json"), &wanted).map_err(say)?;
        process::output_of(
            Command::new("npm")
                .args(["install", "--silent", "--no-audit", "--no-fund"])
                .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")
                .current_dir(&home),
        )?;
        std::fs::write(home.join("installed.json"), &wanted).map_err(say)?;
    }
    Ok(home.join("node_modules"))
}

fn which(program: &str) -> Result<PathBuf, String> {
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(program))
            .find(|file| file.exists())
    });
    found.ok_or_else(|| format!("{program} is not on the path"))
}

/// The address of the HTTP server, as it told when it was ready.
pub fn http(folder: &Path) -> Result<String, String> {
    let log = folder.join("server.log");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let told = text
            .split_once("\"http\":\"")
            .and_then(|(_, rest)| rest.split_once('"'));
        if let Some((address, _)) = told {
            return Ok(address.to_owned());
        }
        if Instant::now() > deadline {
            return Err(format!("no HTTP address in {}", log.display()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
