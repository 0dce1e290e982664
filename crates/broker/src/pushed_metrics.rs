//! Metrics that clients push (KIP-714), as this broker takes them and shows them beside its own.
//! Rules: broker_state::telemetry. A series is named as its client names it, with `thalweg_client_` in front and in
//! Prometheus's letters; it has the labels that the client gave, its client id and its instance id.

use std::collections::HashSet;
use std::fmt::Write as _;

use broker_state::configs::BrokerConfig;
use broker_state::step::Millis;
use broker_state::telemetry::{ClientFacts, Point, PushedSeries, Telemetry};
use parking_lot::Mutex;
use wire::Uuid;

use crate::connection::Connection;

/// The clients that push, and what they pushed last.
pub struct PushedMetrics {
    machine: Mutex<Telemetry>,
    /// `telemetry.max.bytes`: the most of one push, as it comes and decompressed.
    pub most_bytes: usize,
}

impl PushedMetrics {
    pub fn new(config: &BrokerConfig) -> Self {
        let most_bytes = usize::try_from(config.integer("telemetry.max.bytes"));
        Self {
            machine: Mutex::default(),
            most_bytes: most_bytes.unwrap_or(usize::MAX),
        }
    }

    /// Asks the machine.
    pub fn ask<T>(&self, question: impl FnOnce(&mut Telemetry) -> T) -> T {
        question(&mut self.machine.lock())
    }

    /// Keeps what a client has pushed.
    pub fn keep(&self, now_ms: i64, instance: Uuid, client_id: &str, points: Vec<Point>) {
        let mut machine = self.machine.lock();
        machine.keep(Millis(now_ms), instance, client_id, points);
    }

    /// Adds what was pushed to a page of metrics, before the mark of its end.
    pub fn write(&self, now_ms: i64, text: &mut String) {
        const END: &str = "# EOF\n";
        let (series, left_out) = self.ask(|machine| {
            let series = machine.series(Millis(now_ms));
            (series, machine.series_left_out())
        });
        if series.is_empty() && left_out == 0 {
            return;
        }
        let has_end = text.ends_with(END);
        if has_end {
            text.truncate(text.len() - END.len());
        }
        write_all(&series, left_out, text);
        if has_end {
            text.push_str(END);
        }
    }
}

impl Connection {
    /// What subscriptions can choose this client by; `address` is its own, as text.
    pub fn facts<'a>(&'a self, client_id: Option<&'a str>, address: &'a str) -> ClientFacts<'a> {
        let software = self.software.get();
        ClientFacts {
            client_id: client_id.unwrap_or_default(),
            software_name: software.map(|(name, _)| name.as_ref()),
            software_version: software.map(|(_, version)| version.as_ref()),
            address,
            port: self.peer.port(),
        }
    }
}

/// Series of one name follow each other, as the machine lists them.
fn write_all(series: &[PushedSeries], left_out: u64, text: &mut String) {
    let mut named = HashSet::new();
    for series in series {
        let name = metric_name(&series.name);
        let (kind, suffix) = match series.is_counter {
            true => ("counter", "_total"),
            false => ("gauge", ""),
        };
        if named.insert(name.clone()) {
            // Writing into a string does not fail.
            let _ = writeln!(text, "# TYPE {name} {kind}");
        }
        let _ = write!(text, "{name}{suffix}{{");
        let instance = series.instance.to_string();
        let known = [
            ("client_id", &series.client_id),
            ("client_instance_id", &instance),
        ];
        let own = series
            .labels
            .iter()
            .map(|(label, value)| (label.as_str(), value));
        let mut seen = HashSet::new();
        let labels = known.into_iter().chain(own);
        let labels = labels.map(|(label, value)| (letters(label), value));
        let labels = labels.filter(|(label, _)| seen.insert(label.clone()));
        for (index, (label, value)) in labels.enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let _ = write!(text, "{comma}{label}=\"{}\"", escaped(value));
        }
        let _ = writeln!(text, "}} {}", series.value);
    }
    let _ = writeln!(text, "# TYPE thalweg_client_series_left_out counter");
    let _ = writeln!(text, "thalweg_client_series_left_out_total {left_out}");
}

/// A client's name for a metric in Prometheus's letters; `_total` is put behind counters anyway.
fn metric_name(name: &str) -> String {
    let name = name.strip_suffix(".total").unwrap_or(name);
    format!("thalweg_client_{}", letters(name))
}

fn letters(name: &str) -> String {
    let letter = |letter: char| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => letter,
        _ => '_',
    };
    let name: String = name.chars().map(letter).collect();
    match name.chars().next() {
        Some('0'..='9') | None => format!("_{name}"),
        Some(_) => name,
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushed_series_are_shown_before_the_end_of_the_page() {
        let metrics = PushedMetrics::new(&BrokerConfig::default());
        let point = |name: &str, is_counter| Point {
            name: name.to_owned(),
            labels: vec![("topic".to_owned(), "a\"b".to_owned())],
            value: 2.5,
            is_delta: is_counter,
            is_counter,
        };
        let points = vec![
            point("org.apache.kafka.sent.total", true),
            point("1x-y", false),
        ];
        metrics.keep(0, Uuid([0; 16]), "c", points);
        let mut text = "thalweg_other 1\n# EOF\n".to_owned();
        metrics.write(1, &mut text);
        let labels = r#"client_id="c",client_instance_id="AAAAAAAAAAAAAAAAAAAAAA",topic="a\"b""#;
        let expected = [
            "thalweg_other 1".to_owned(),
            "# TYPE thalweg_client__1x_y gauge".to_owned(),
            format!("thalweg_client__1x_y{{{labels}}} 2.5"),
            "# TYPE thalweg_client_org_apache_kafka_sent counter".to_owned(),
            format!("thalweg_client_org_apache_kafka_sent_total{{{labels}}} 2.5"),
            "# TYPE thalweg_client_series_left_out counter".to_owned(),
            "thalweg_client_series_left_out_total 0".to_owned(),
            "# EOF\n".to_owned(),
        ];
        assert_eq!(text, expected.join("\n"));
    }

    #[test]
    fn a_page_without_pushed_series_is_as_it_was() {
        let metrics = PushedMetrics::new(&BrokerConfig::default());
        let mut text = "# EOF\n".to_owned();
        metrics.write(1, &mut text);
        assert_eq!(text, "# EOF\n");
    }
}
