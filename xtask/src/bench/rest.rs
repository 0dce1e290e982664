//! `cargo xtask bench rest`: the HTTP side under load from wrk: single publishes, batches, consuming, a live tail, idle streams.
//!
//! One `thalweg start` with its defaults (every record is on the disk before it is answered), the load tool beside it on the same
//! cores. With `--karapace URL` a Karapace REST proxy on the same broker takes turns with it; the command that starts one is in the
//! report. Writes docs/benchmarks-rest.md.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::Spread;
use crate::thalweg::{self, Thalweg};
use crate::{TaskResult, page, process, repository};

const USAGE: &str = "usage: cargo xtask bench rest [--quick] [--rounds N] [--karapace HOST:PORT --broker-port PORT] [--no-report]";
const BATCH: usize = 500;
const TOPIC: &str = "bench";
/// Records a second that the live tail is offered, above what it must carry.
const TAIL_RATE: u32 = 25_000;

struct Options {
    quick: bool,
    rounds: usize,
    karapace: Option<SocketAddr>,
    broker_port: u16,
    report: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options {
            quick: false,
            rounds: 3,
            karapace: None,
            broker_port: 0,
            report: true,
        };
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let mut value = || rest.next().ok_or(USAGE);
            match flag.as_str() {
                "--quick" => (options.quick, options.rounds) = (true, 1),
                "--rounds" => options.rounds = value()?.parse().map_err(|_| USAGE)?,
                "--karapace" => options.karapace = Some(value()?.parse().map_err(|_| USAGE)?),
                "--broker-port" => options.broker_port = value()?.parse().map_err(|_| USAGE)?,
                "--no-report" => options.report = false,
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(options)
    }

    fn seconds(&self) -> u64 {
        if self.quick { 3 } else { 10 }
    }
}

/// One line of the report.
struct Line {
    what: &'static str,
    unit: &'static str,
    target: &'static str,
    ours: Spread,
    p99_ms: Option<Spread>,
    theirs: Option<Spread>,
}

pub fn run(arguments: &[String]) -> TaskResult {
    let options = Options::parse(arguments)?;
    if !process::exists("wrk") {
        return Err("wrk is not installed; on Debian: apt-get install wrk".to_owned());
    }
    let binary = thalweg::build()?;
    let folder = repository::scratch("bench-rest")?;
    let port = match options.broker_port {
        0 => crate::probe::free_ports::<1>()?[0],
        port => port,
    };
    let mut server = Thalweg::start_at(port, &binary, folder.path(), &[])?;
    let http = http_address(folder.path())?;
    prepare(http, &binary, server.address)?;
    if let Some(karapace) = options.karapace {
        wait_for(karapace)?;
    }
    let scripts = Scripts::write(folder.path())?;
    let lines = vec![
        single_publishes(&options, &scripts, http)?,
        batches(&options, &scripts, http)?,
        reads(&options, &scripts, http)?,
        live_tail(&options, &binary, &server, http)?,
        idle_streams(&options, &server, http)?,
    ];
    server.stop()?;
    let text = report(&options, &lines);
    print!("{text}");
    if options.report {
        let path = repository::root().join("docs/benchmarks-rest.md");
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// The HTTP address that `--ready-json` told.
fn http_address(folder: &Path) -> Result<SocketAddr, String> {
    let http = page::http(folder)?;
    let address = http.trim_start_matches("http://");
    address
        .parse()
        .map_err(|_| format!("`{http}` is no address"))
}

/// Karapace can only be started when its broker is there: waits until it listens.
fn wait_for(karapace: SocketAddr) -> TaskResult {
    eprintln!("waiting for Karapace at {karapace}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(karapace).is_err() {
        if Instant::now() > deadline {
            return Err(format!("nothing listens at {karapace}"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// The topic and the producer that the requests name.
fn prepare(http: SocketAddr, binary: &Path, kafka: SocketAddr) -> TaskResult {
    process::output_of(
        Command::new(binary)
            .args(["topic", "create", TOPIC, "--partitions", "3", "--kafka"])
            .arg(kafka.to_string()),
    )?;
    post(
        http,
        "/api/producers",
        r#"{"producerId":"bench","name":"Bench"}"#,
    )?;
    Ok(())
}

fn post(http: SocketAddr, path: &str, body: &str) -> Result<String, String> {
    let say = |error: std::io::Error| format!("POST {path}: {error}");
    let mut stream = TcpStream::connect(http).map_err(say)?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {http}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(say)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(say)?;
    match answer.starts_with("HTTP/1.1 2") {
        true => Ok(answer),
        false => Err(format!(
            "POST {path}: {}",
            answer.lines().next().unwrap_or_default()
        )),
    }
}

/// wrk's request scripts.
struct Scripts {
    publish: PathBuf,
    batch: PathBuf,
    karapace_single: PathBuf,
    karapace_batch: PathBuf,
}

impl Scripts {
    fn write(folder: &Path) -> Result<Scripts, String> {
        let order = r#"{"orderId":9007199254740993,"customer":"c-1742","total":17.70,"currency":"EUR","lines":[{"sku":"A-31","qty":2}]}"#;
        let content = order.replace('"', "\\\"");
        let single =
            format!(r#"{{"producerId":"bench","topicName":"{TOPIC}","content":"{content}"}}"#);
        let records = |count: usize| {
            let record = format!(r#"{{"value":{order}}}"#);
            format!(r#"{{"records":[{}]}}"#, vec![record; count].join(","))
        };
        let save = |name: &str, media_type: &str, body: &str| -> Result<PathBuf, String> {
            let path = folder.join(name);
            let text = format!(
                "wrk.method = \"POST\"\nwrk.headers[\"Content-Type\"] = \"{media_type}\"\nwrk.body = [==[{body}]==]\n"
            );
            std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(path)
        };
        let theirs = "application/vnd.kafka.json.v2+json";
        Ok(Scripts {
            publish: save("publish.lua", "application/json", &single)?,
            batch: save("batch.lua", "application/json", &records(BATCH))?,
            karapace_single: save("karapace-single.lua", theirs, &records(1))?,
            karapace_batch: save("karapace-batch.lua", theirs, &records(BATCH))?,
        })
    }
}

/// What one run of wrk found.
struct Load {
    per_second: f64,
    p99_ms: f64,
}

fn wrk(seconds: u64, connections: u32, script: Option<&Path>, url: &str) -> Result<Load, String> {
    let mut command = Command::new("wrk");
    command.args(["-t", "1", "--latency"]).args([
        "-c",
        &connections.to_string(),
        "-d",
        &format!("{seconds}s"),
    ]);
    if let Some(script) = script {
        command.arg("-s").arg(script);
    }
    let output = process::output_of(command.arg(url))?;
    parse_wrk(&output)
}

fn parse_wrk(output: &str) -> Result<Load, String> {
    let field = |name: &str| {
        output
            .lines()
            .find_map(|line| line.trim().strip_prefix(name))
            .map(str::trim)
    };
    if let Some(refused) = field("Non-2xx or 3xx responses:") {
        return Err(format!(
            "{refused} requests were not answered with success\n{output}"
        ));
    }
    let per_second = field("Requests/sec:").and_then(|value| value.parse().ok());
    let p99_ms = field("99%").and_then(milliseconds);
    match (per_second, p99_ms) {
        (Some(per_second), Some(p99_ms)) => Ok(Load { per_second, p99_ms }),
        _ => Err(format!("wrk said nothing that can be read:\n{output}")),
    }
}

/// `1.25ms`, `870.00us` or `2.01s`.
fn milliseconds(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| c.is_alphabetic())?;
    let number: f64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "us" => Some(number / 1000.0),
        "ms" => Some(number),
        "s" => Some(number * 1000.0),
        _ => None,
    }
}

/// Ours and theirs in turns, after a short warm-up of each.
fn compare(
    options: &Options,
    line: (&'static str, &'static str, &'static str),
    records: f64,
    ours: impl Fn(u64) -> Result<Load, String>,
    theirs: Option<impl Fn(u64) -> Result<Load, String>>,
) -> Result<Line, String> {
    ours(1)?;
    if let Some(theirs) = &theirs {
        theirs(1)?;
    }
    let mut loads = Vec::new();
    let mut other = Vec::new();
    for _ in 0..options.rounds {
        loads.push(ours(options.seconds())?);
        if let Some(theirs) = &theirs {
            other.push(theirs(options.seconds())?);
        }
    }
    let rates = |loads: &[Load]| Spread::of(loads.iter().map(|load| load.per_second * records));
    let (what, unit, target) = line;
    Ok(Line {
        what,
        unit,
        target,
        ours: rates(&loads).ok_or("no rounds")?,
        p99_ms: Spread::of(loads.iter().map(|load| load.p99_ms)),
        theirs: rates(&other),
    })
}

fn single_publishes(
    options: &Options,
    scripts: &Scripts,
    http: SocketAddr,
) -> Result<Line, String> {
    let ours = format!("http://{http}/api/messages/publish");
    let theirs = options
        .karapace
        .map(|address| format!("http://{address}/topics/{TOPIC}"));
    compare(
        options,
        (
            "single publishes, 64 connections",
            "publishes/s",
            "≥ 15,000",
        ),
        1.0,
        |seconds| wrk(seconds, 64, Some(&scripts.publish), &ours),
        theirs.map(|url| move |seconds| wrk(seconds, 64, Some(&scripts.karapace_single), &url)),
    )
}

fn batches(options: &Options, scripts: &Scripts, http: SocketAddr) -> Result<Line, String> {
    let ours = format!("http://{http}/v1/topics/{TOPIC}/records");
    let theirs = options
        .karapace
        .map(|address| format!("http://{address}/topics/{TOPIC}"));
    compare(
        options,
        ("batches of 500, 8 connections", "records/s", "≥ 300,000"),
        BATCH as f64,
        |seconds| wrk(seconds, 8, Some(&scripts.batch), &ours),
        theirs.map(|url| move |seconds| wrk(seconds, 8, Some(&scripts.karapace_batch), &url)),
    )
}

fn reads(options: &Options, _: &Scripts, http: SocketAddr) -> Result<Line, String> {
    let url = format!("http://{http}/v1/topics/{TOPIC}/records?from=offset:0&limit=500");
    compare(
        options,
        ("stateless reads of 500, 8 connections", "records/s", "–"),
        BATCH as f64,
        |seconds| wrk(seconds, 8, None, &url),
        None::<fn(u64) -> Result<Load, String>>,
    )
}

/// One client that follows a topic while a Kafka client writes to it.
fn live_tail(
    options: &Options,
    binary: &Path,
    server: &Thalweg,
    http: SocketAddr,
) -> Result<Line, String> {
    let mut rates = Vec::new();
    for _ in 0..options.rounds {
        let mut events = Stream::open(http, "latest")?;
        let seconds = options.seconds();
        let count = u64::from(TAIL_RATE) * seconds;
        let mut producer = Command::new(binary)
            .args(["bench", "produce", "--topic", TOPIC])
            .args(["-n", &count.to_string()])
            .args(["--rate", &TAIL_RATE.to_string(), "--kafka"])
            .arg(server.address.to_string())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .map_err(|error| format!("thalweg bench produce: {error}"))?;
        let seen = events.count_records(Duration::from_secs(seconds + 1))?;
        let _ = producer.wait();
        rates.push(seen);
    }
    Ok(Line {
        what: "live tail, one client, 25,000 records/s written",
        unit: "records/s",
        target: "≥ 20,000",
        ours: Spread::of(rates).ok_or("no rounds")?,
        p99_ms: None,
        theirs: None,
    })
}

/// Resident memory of a client that follows a topic where nothing happens; as many of them as the server has connections for.
fn idle_streams(options: &Options, server: &Thalweg, http: SocketAddr) -> Result<Line, String> {
    let most = if options.quick { 1_000 } else { 10_000 };
    let clients = most.min(open_files(server.pid())? / 10 - 100);
    let (before, _) = process::memory(server.pid())?;
    let streams = (0..clients)
        .map(|_| Stream::open(http, "latest"))
        .collect::<Result<Vec<_>, _>>()?;
    let (after, _) = process::memory(server.pid())?;
    eprintln!(
        "{} idle event streams: {} bytes before, {after} after",
        streams.len(),
        before
    );
    drop(streams);
    let each = after.saturating_sub(before) as f64 / clients as f64 / 1000.0;
    Ok(Line {
        what: "idle event streams, memory of one (10,000 in 300 MB)",
        unit: "kB",
        target: "≤ 30",
        ours: Spread::of([each]).ok_or("no rounds")?,
        p99_ms: None,
        theirs: None,
    })
}

/// The limit of open files of a process.
fn open_files(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/limits");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    let limit = line.and_then(|line| line.split_whitespace().nth(3));
    let limit = limit.and_then(|limit| limit.parse().ok());
    limit.ok_or_else(|| format!("{path}: no limit of open files"))
}

/// A client of an event stream.
struct Stream(BufReader<TcpStream>);

impl Stream {
    /// Returns when the server has begun to answer.
    fn open(http: SocketAddr, from: &str) -> Result<Stream, String> {
        let say = |error: std::io::Error| format!("an event stream: {error}");
        let mut stream = TcpStream::connect(http).map_err(say)?;
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .map_err(say)?;
        let request = format!(
            "GET /v1/topics/{TOPIC}/records?from={from} HTTP/1.1\r\nHost: {http}\r\nAccept: text/event-stream\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).map_err(say)?;
        let mut reader = BufReader::with_capacity(512, stream);
        let mut status = String::new();
        reader.read_line(&mut status).map_err(say)?;
        match status.contains(" 200 ") {
            true => Ok(Stream(reader)),
            false => Err(format!("an event stream was refused: {status}")),
        }
    }

    /// Records a second from the first to the last that came within `limit`.
    fn count_records(&mut self, limit: Duration) -> Result<f64, String> {
        let deadline = Instant::now() + limit;
        let (mut count, mut first, mut last) = (0_usize, None, Instant::now());
        let mut buffer = vec![0; 256 * 1024];
        while Instant::now() < deadline {
            let read = match self.0.get_mut().read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => return Err(format!("an event stream: {error}")),
            };
            // Each record has one offset; one that is cut in two by the buffer is missed, which makes the figure smaller.
            let found = buffer[..read]
                .windows(9)
                .filter(|window| window == b"\"offset\":")
                .count();
            if found > 0 {
                last = Instant::now();
                first.get_or_insert(last);
                count += found;
            }
        }
        let first = first.ok_or("the live tail carried nothing")?;
        Ok(count as f64 / last.duration_since(first).as_secs_f64().max(0.001))
    }
}

fn report(options: &Options, lines: &[Line]) -> String {
    let mut text = String::from(
        "# REST benchmarks\nWritten by `cargo xtask bench rest`; do not edit. One `thalweg start` with its defaults: every record is on the disk before it\n\
         is answered. The load tool (wrk, one thread) runs on the same two cores. Median and range of the rounds; ratios and not absolutes are\n\
         what carries over to another machine.\n\n| what | target | found | range | p99 | Karapace | ratio |\n|---|---|---|---|---|---|---|\n",
    );
    for line in lines {
        let p99 = line
            .p99_ms
            .map_or_else(|| "–".to_owned(), |p99| format!("{:.1} ms", p99.median));
        let (theirs, ratio) = match line.theirs {
            Some(theirs) => (
                format!("{:.0}", theirs.median),
                format!("{:.1} ×", line.ours.median / theirs.median),
            ),
            None => ("–".to_owned(), "–".to_owned()),
        };
        text.push_str(&format!(
            "| {} | {} {} | {:.0} | {:.0} – {:.0} | {p99} | {theirs} | {ratio} |\n",
            line.what, line.target, line.unit, line.ours.median, line.ours.low, line.ours.high
        ));
    }
    text.push_str(&format!(
        "\n{} rounds of {} s.{}\n",
        options.rounds,
        options.seconds(),
        match options.karapace {
            Some(_) => " Karapace: its REST proxy on the same broker, its defaults, taking turns.",
            None => " Karapace was not part of this run: start its REST proxy on the port of `--broker-port` and pass `--karapace HOST:PORT`.",
        }
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_prints_is_read() {
        let output = "  Latency Distribution\n     50%    1.20ms\n     99%    4.75ms\n  100 requests in 1.00s\nRequests/sec:  18234.55\n";
        let load = parse_wrk(output).expect("it can be read");
        assert_eq!((load.per_second, load.p99_ms), (18_234.55, 4.75));
        let refused = format!("{output}  Non-2xx or 3xx responses: 12\n");
        assert!(parse_wrk(&refused).is_err());
        assert_eq!(milliseconds("870.00us"), Some(0.87));
    }
}
