//! `thalweg consume`: the records of a topic on standard output, as a plain reader or as a member of a group.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use client::offsets::{OffsetQuery, Offsets};
use client::time::parse_duration;
use client::topics::Topic;
use client::{Admin, Bounds, Consumer, Event, IncomingRecord, Place, Position};

use super::{assignment, interruption};
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::{CommandError, Exit};
use crate::output::Format;
use crate::records::json;
use crate::records::template::{RecordView, Template};
use crate::records::time::now_ms;

/// How long a poll waits: the longest delay before an interruption is noticed.
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topic
    topic: String,
    /// Where to start: earliest, latest, -50 (the last 50 of each partition), offset:9, now-15m, time:2026-11-20T12:00:00Z.
    /// With --group only where the group has no offset yet, and only earliest or latest
    #[arg(long, default_value = "earliest", allow_hyphen_values = true)]
    from: Place,
    /// Read as a member of this group and commit what was printed
    #[arg(short, long)]
    group: Option<String>,
    /// Only this partition; may be repeated
    #[arg(short, long)]
    partition: Vec<i32>,
    /// Stop after this many records
    #[arg(short = 'n', long)]
    count: Option<u64>,
    /// Stop when everything that is there has been read
    #[arg(short, long)]
    exit_at_end: bool,
    /// Give up (code 124) when no record comes for this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    idle: Option<Duration>,
    #[arg(short, long, value_name = "TEMPLATE", help = format!("How a record is printed: {}", Template::HELP))]
    format: Option<String>,
    /// See only committed transactions
    #[arg(long)]
    committed: bool,
    /// A librdkafka property; may be repeated
    #[arg(short = 'X', long, value_name = "NAME=VALUE", value_parser = assignment)]
    property: Vec<(String, String)>,
    #[command(flatten)]
    pub client: ClientFlags,
}

/// How records are printed.
enum Printer {
    Template(Template),
    Json,
}

pub async fn run(context: &Context, args: Args) -> Result<(), CommandError> {
    let printer = printer(&context.output.format, args.format.as_deref())?;
    let mut admin = context.cluster().admin().await?;
    let topic = admin.topic(&args.topic).await?;
    let consumer = open(context, &args)?;
    let expected = match &args.group {
        Some(_) => {
            check_group_flags(&args)?;
            consumer.subscribe(&[&args.topic])?;
            None
        }
        None => {
            let positions = positions(&mut admin, &topic, &args).await?;
            consumer.assign(&args.topic, &positions)?;
            Some(positions.len())
        }
    };
    let interrupted = interruption()?;
    let mut reading = Reading::new(&args, expected);
    let result = reading.read(&consumer, &printer, || interrupted.load(Ordering::Relaxed));
    if args.group.is_some() {
        consumer.commit()?;
    }
    result
}

fn printer(format: &Format, template: Option<&str>) -> Result<Printer, CommandError> {
    let template = match (template, format) {
        (Some(template), _) => template.to_owned(),
        (None, Format::Json) => return Ok(Printer::Json),
        (None, Format::Template(template)) => template.clone(),
        (None, Format::Name) => "%k\\n".to_owned(),
        (None, Format::Table) => "%v\\n".to_owned(),
    };
    Template::parse(&template)
        .map(Printer::Template)
        .map_err(CommandError::Usage)
}

fn open(context: &Context, args: &Args) -> Result<Consumer, CommandError> {
    let reset = if args.from == Place::Latest {
        "latest"
    } else {
        "earliest"
    };
    let isolation = if args.committed {
        "read_committed"
    } else {
        "read_uncommitted"
    };
    let mut properties = vec![
        ("enable.partition.eof", "true"),
        ("auto.offset.reset", reset),
        ("isolation.level", isolation),
        ("enable.auto.offset.store", "false"),
    ];
    if let Some(group) = &args.group {
        properties.push(("group.id", group));
    }
    properties.extend(
        args.property
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    Ok(context.cluster().consumer(&properties)?)
}

fn check_group_flags(args: &Args) -> Result<(), CommandError> {
    if !matches!(args.from, Place::Earliest | Place::Latest) {
        let what =
            "with --group, --from is earliest or latest; move a group with `thalweg group reset`";
        return Err(CommandError::Usage(what.to_owned()));
    }
    if !args.partition.is_empty() {
        let what = "with --group the partitions are shared out by the group; leave --partition out";
        return Err(CommandError::Usage(what.to_owned()));
    }
    Ok(())
}

/// Where to start in each wanted partition.
async fn positions(
    admin: &mut Admin,
    topic: &Topic,
    args: &Args,
) -> Result<Vec<Position>, CommandError> {
    let exists = |wanted: &i32| {
        topic
            .partitions
            .iter()
            .any(|partition| partition.index == *wanted)
    };
    if let Some(missing) = args.partition.iter().find(|wanted| !exists(wanted)) {
        let last = topic.partitions.len().saturating_sub(1);
        let what = format!(
            "topic {} has no partition {missing}; it has 0 to {last}",
            topic.name
        );
        return Err(CommandError::new(Exit::NotFound, what));
    }
    let wanted: BTreeSet<i32> = match args.partition.is_empty() {
        true => topic
            .partitions
            .iter()
            .map(|partition| partition.index)
            .collect(),
        false => args.partition.iter().copied().collect(),
    };
    let topics = std::slice::from_ref(topic);
    let starts = admin.list_offsets(topics, OffsetQuery::Earliest).await?;
    let ends = admin.list_offsets(topics, OffsetQuery::Latest).await?;
    let at_time = match args.from.timestamp(now_ms()) {
        Some(ms) => admin.list_offsets(topics, OffsetQuery::AtTime(ms)).await?,
        None => Offsets::new(),
    };
    let position = |partition: i32| {
        let key = (topic.name.clone(), partition);
        let bounds = Bounds {
            start: starts.get(&key).copied().unwrap_or(0),
            end: ends.get(&key).copied().unwrap_or(0),
            at_time: at_time.get(&key).copied(),
        };
        Position {
            partition,
            offset: args.from.offset(bounds),
        }
    };
    Ok(wanted.into_iter().map(position).collect())
}

/// The loop's state: how much was printed, which partitions are at their end.
struct Reading<'a> {
    args: &'a Args,
    /// How many partitions are read; unknown for a group member until it has an assignment.
    expected: Option<usize>,
    printed: u64,
    ended: BTreeSet<i32>,
    last_record: Instant,
}

impl<'a> Reading<'a> {
    fn new(args: &'a Args, expected: Option<usize>) -> Reading<'a> {
        Reading {
            args,
            expected,
            printed: 0,
            ended: BTreeSet::new(),
            last_record: Instant::now(),
        }
    }

    fn read(
        &mut self,
        consumer: &Consumer,
        printer: &Printer,
        interrupted: impl Fn() -> bool,
    ) -> Result<(), CommandError> {
        let stdout = io::stdout();
        let by_line = stdout.is_terminal();
        let mut out = BufWriter::with_capacity(64 * 1024, stdout.lock());
        while !interrupted() && !self.is_done(consumer) {
            // What is printed must not wait for the next record; while there are more, it may.
            let wait = if out.buffer().is_empty() {
                POLL
            } else {
                Duration::ZERO
            };
            match consumer.poll(wait)? {
                Some(Event::Record(record)) => {
                    print(&mut out, printer, &record)?;
                    if by_line || self.args.group.is_some() {
                        out.flush()?;
                    }
                    if self.args.group.is_some() {
                        consumer.store(&record)?;
                    }
                    self.printed += 1;
                    self.last_record = Instant::now();
                    self.ended.remove(&record.partition());
                }
                Some(Event::EndOfPartition(partition)) => {
                    self.ended.insert(partition);
                    out.flush()?;
                }
                None => {
                    out.flush()?;
                    self.check_idle(consumer)?;
                }
            }
        }
        Ok(out.flush()?)
    }

    fn is_done(&self, consumer: &Consumer) -> bool {
        if self.args.count.is_some_and(|count| self.printed >= count) {
            return true;
        }
        if !self.args.exit_at_end || self.ended.is_empty() {
            return false;
        }
        match self.expected {
            Some(expected) => self.ended.len() >= expected,
            None => {
                let assigned = consumer.assigned_partitions();
                !assigned.is_empty()
                    && assigned
                        .iter()
                        .all(|partition| self.ended.contains(partition))
            }
        }
    }

    fn check_idle(&self, consumer: &Consumer) -> Result<(), CommandError> {
        let Some(limit) = self
            .args
            .idle
            .filter(|limit| self.last_record.elapsed() >= *limit)
        else {
            return Ok(());
        };
        let problem = consumer
            .last_problem()
            .map(|text| format!(" ({text})"))
            .unwrap_or_default();
        let what = format!(
            "no record of {} within {:.1} s{problem}; {} were printed",
            self.args.topic,
            limit.as_secs_f64(),
            self.printed
        );
        Err(CommandError::new(Exit::TimedOut, what))
    }
}

fn print(
    out: &mut impl Write,
    printer: &Printer,
    record: &IncomingRecord<'_>,
) -> Result<(), CommandError> {
    let view = RecordView {
        topic: record.topic(),
        partition: record.partition(),
        offset: record.offset(),
        timestamp_ms: record.timestamp_ms(),
        key: record.key(),
        value: record.value(),
        headers: record.headers().collect(),
    };
    match printer {
        Printer::Template(template) => template.write(out, &view)?,
        Printer::Json => {
            let line = json::line(&view).map_err(io::Error::from)?;
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}
