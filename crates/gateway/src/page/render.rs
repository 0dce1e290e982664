//! The page's HTML: pure, from what was asked to text.

use std::fmt::Write;

use super::overview::{GroupRow, Overview, TopicRow};
use crate::backend::Backends;
use crate::foreign_page::name_of;
use crate::hybrid::HybridStatus;
use crate::mode::Mode;
use crate::text::{count, size};

/// More rows than this are not drawn; the page says how many there are.
const MOST_ROWS: usize = 200;

/// Which clusters these are, as whoever looks at the page can reach them.
pub struct Place {
    mode: Mode,
    /// `host:port` for Kafka clients.
    kafka: String,
    /// The cluster that hybrid mode forwards to.
    forwards_to: Option<String>,
}

impl Place {
    /// The embedded broker has the host by which the browser came; a Kafka cluster has its own addresses.
    pub fn new(backends: &Backends, host: &str) -> Place {
        let addresses = backends.primary().cluster().bootstrap();
        let port = addresses
            .first()
            .and_then(|address| address.rsplit_once(':'))
            .map_or("9092", |(_, port)| port);
        let kafka = match backends.mode() {
            Mode::Kafka => addresses.join(","),
            _ => format!("{}:{port}", name_of(host)),
        };
        let forwards_to = backends.in_memory().and(backends.kafka());
        Place {
            mode: backends.mode(),
            kafka,
            forwards_to: forwards_to.map(|kafka| kafka.cluster().bootstrap().join(",")),
        }
    }

    /// What client commands need to reach the cluster.
    fn flag(&self) -> String {
        match self.kafka.as_str() {
            "localhost:9092" | "127.0.0.1:9092" => String::new(),
            kafka => format!(" --kafka {}", escape(kafka)),
        }
    }
}

/// The whole page.
pub fn page(place: &Place, overview: &Overview, hybrid: Option<&HybridStatus>) -> String {
    let records: i64 = overview.topics.iter().map(|topic| topic.records).sum();
    let bytes: u64 = overview.topics.iter().map(|topic| topic.bytes).sum();
    let groups = overview.groups.len() + overview.more_groups;
    let mut body = String::new();
    let _ = writeln!(
        body,
        "<h1>Overview</h1>\n<p class=\"summary\">{} · {} records · {} · {}</p>",
        plural(overview.topics.len(), "topic"),
        count(records),
        size(bytes),
        plural(groups, "group")
    );
    addresses(&mut body, place, overview);
    if let Some(hybrid) = hybrid {
        forwarder(&mut body, place, hybrid);
    }
    first_commands(&mut body, place);
    topic_table(&mut body, &overview.topics);
    group_table(&mut body, overview);
    publish(&mut body, &overview.topics);
    tail(&mut body, &overview.topics);
    let state = format!("● {}", plural(overview.brokers, "broker"));
    document(place, "ok", &state, &body)
}

/// The page while the cluster does not answer.
pub fn away(place: &Place, reason: &str) -> String {
    let body = format!(
        "<h1>The cluster does not answer</h1>\n<p class=\"summary\">{}</p>\n\
         <p>Check that it runs and that its address and credentials are right: <code>thalweg doctor{}</code>. \
         Then reload this page.</p>\n",
        escape(reason),
        place.flag()
    );
    document(place, "bad", "■ not reachable", &body)
}

fn document(place: &Place, kind: &str, state: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Thalweg · {kafka}</title>\n<link rel=\"stylesheet\" href=\"assets/page.css\">\n<script defer src=\"assets/page.js\"></script>\n</head>\n<body>\n\
         <header><span class=\"mark\" aria-hidden=\"true\">◧</span><strong>thalweg</strong>\
         <span class=\"pill\">{mode}</span><span class=\"pill {kind}\">{state}</span>\
         <nav><a href=\"docs\">API</a><a href=\"metrics\">Metrics</a><a href=\"readyz?verbose\">Health</a></nav></header>\n\
         <main>\n{body}</main>\n</body>\n</html>\n",
        kafka = escape(&place.kafka),
        mode = place.mode.title(),
    )
}

fn addresses(body: &mut String, place: &Place, overview: &Overview) {
    let cluster = overview.cluster_id.as_deref().unwrap_or("—");
    let _ = writeln!(
        body,
        "<section class=\"cards\">\
         <div><span>Kafka</span><code>{}</code></div>\
         <div><span>REST</span><a href=\"docs\">/v1</a> and <a href=\"docs\">/api</a></div>\
         <div><span>OpenAPI</span><a href=\"openapi.json\">/openapi.json</a></div>\
         <div><span>Cluster</span><code>{}</code></div>\
         </section>",
        escape(&place.kafka),
        escape(cluster)
    );
}

fn forwarder(body: &mut String, place: &Place, hybrid: &HybridStatus) {
    let (kind, mark) = match hybrid.state {
        "connected" => ("ok", "●"),
        "away" => ("warn", "▲"),
        _ => ("info", "◆"),
    };
    let to = place.forwards_to.as_deref().unwrap_or("Kafka");
    let _ = writeln!(
        body,
        "<h2>Forwarding to <code>{}</code></h2>\n<p class=\"empty\"><span class=\"{kind}\">{mark} {}</span> · {} records to go · {} forwarded{}</p>",
        escape(to),
        hybrid.state,
        count(hybrid.lag),
        count(hybrid.forwarded_records),
        hybrid
            .reason
            .as_ref()
            .map(|reason| format!(" · {}", escape(reason)))
            .unwrap_or_default()
    );
}

fn first_commands(body: &mut String, place: &Place) {
    let flag = place.flag();
    let _ = writeln!(
        body,
        "<h2>First commands</h2>\n<pre>echo hi | thalweg produce hello{flag}\nthalweg consume hello{flag}\n\
         thalweg lab keys{flag}   <i># partitions, keys and order, explained on this cluster</i></pre>"
    );
}

fn topic_table(body: &mut String, topics: &[TopicRow]) {
    body.push_str("<h2>Topics</h2>\n");
    if topics.is_empty() {
        body.push_str("<p class=\"empty\">No topics yet. A topic is a named log: <code>thalweg topic create orders</code></p>\n");
        return;
    }
    body.push_str(
        "<div class=\"table\"><table><thead><tr><th>Name</th><th class=\"n\">Partitions</th><th class=\"n\">Records</th>\
         <th class=\"n\">Size</th><th>Groups</th></tr></thead><tbody>\n",
    );
    for topic in topics.iter().take(MOST_ROWS) {
        let name = escape(&topic.name);
        let _ = writeln!(
            body,
            "<tr><td><a href=\"#live\" data-topic=\"{name}\"><code>{name}</code></a></td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\" title=\"{} bytes\">{}</td><td>{}</td></tr>",
            topic.partitions,
            count(topic.records),
            topic.bytes,
            size(topic.bytes),
            readers(&topic.groups)
        );
    }
    body.push_str("</tbody></table></div>\n");
    more(body, topics.len().saturating_sub(MOST_ROWS));
}

fn readers(groups: &[String]) -> String {
    match groups {
        [] => "—".to_owned(),
        [one] => escape(one),
        [first, rest @ ..] => format!("{} +{}", escape(first), rest.len()),
    }
}

fn group_table(body: &mut String, overview: &Overview) {
    body.push_str("<h2>Groups</h2>\n");
    if overview.groups.is_empty() {
        body.push_str("<p class=\"empty\">A group appears when a consumer joins: <code>thalweg consume hello --group readers</code></p>\n");
        return;
    }
    body.push_str(
        "<div class=\"table\"><table><thead><tr><th>Name</th><th>State</th><th class=\"n\">Members</th><th class=\"n\">Lag</th>\
         <th class=\"n\">Time lag</th></tr></thead><tbody>\n",
    );
    for group in &overview.groups {
        let _ = writeln!(
            body,
            "<tr><td><code>{}</code></td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&group.name),
            state(group),
            group.members,
            count(group.lag),
            group
                .lag_seconds
                .map_or_else(|| "—".to_owned(), |seconds| format!("{seconds:.1} s")),
        );
    }
    body.push_str("</tbody></table></div>\n");
    more(body, overview.more_groups);
}

/// A state is a shape, a word and a colour.
fn state(group: &GroupRow) -> String {
    let (kind, mark, word) = match group.state.as_str() {
        "Stable" => ("ok", "●", "stable"),
        "Empty" => ("info", "◆", "empty"),
        "Dead" => ("bad", "■", "dead"),
        "" => return "—".to_owned(),
        _ => ("warn", "▲", "rebalancing"),
    };
    format!("<span class=\"{kind}\">{mark} {word}</span>")
}

fn publish(body: &mut String, topics: &[TopicRow]) {
    let _ = writeln!(
        body,
        "<h2>Publish</h2>\n<form id=\"publish\">\n<div class=\"bar\">{}\
         <label>Key<input name=\"key\" autocomplete=\"off\" placeholder=\"none\"></label>\
         <label class=\"wide\">Value<textarea name=\"value\" rows=\"1\" required></textarea></label>\
         <button class=\"primary\"{}>Publish</button></div>\n\
         <p class=\"said\" id=\"said\" role=\"status\"></p>\n</form>\n<noscript><p class=\"empty\">Publishing and the live tail need the script of this page; \
         <code>thalweg produce</code> and <code>thalweg consume</code> do the same.</p></noscript>",
        choice("publish-topic", topics),
        disabled(topics)
    );
}

fn tail(body: &mut String, topics: &[TopicRow]) {
    let _ = writeln!(
        body,
        "<h2 id=\"live\">Live tail</h2>\n<div class=\"bar\">{}<button id=\"follow\" type=\"button\"{}>Follow</button>\
         <button id=\"pause\" type=\"button\" hidden>Pause</button></div>\n\
         <p class=\"said\" id=\"tail-state\" role=\"status\"></p>\n\
         <div id=\"tail\" tabindex=\"0\"><table><thead><tr><th class=\"time\">Time (UTC)</th><th class=\"small n\">P</th>\
         <th class=\"offset n\">Offset</th><th class=\"key\">Key</th><th>Value</th></tr></thead><tbody id=\"rows\"></tbody></table></div>",
        choice("tail-topic", topics),
        disabled(topics)
    );
}

fn choice(id: &str, topics: &[TopicRow]) -> String {
    let options: String = topics
        .iter()
        .take(MOST_ROWS)
        .map(|topic| format!("<option>{}</option>", escape(&topic.name)))
        .collect();
    format!(
        "<label>Topic<select class=\"topic\" id=\"{id}\" name=\"topic\">{options}</select></label>"
    )
}

/// Without a topic there is nothing to write to or to follow.
fn disabled(topics: &[TopicRow]) -> &'static str {
    if topics.is_empty() { " disabled" } else { "" }
}

fn more(body: &mut String, hidden: usize) {
    if hidden > 0 {
        let _ = writeln!(
            body,
            "<p class=\"empty\">{} more; <code>GET /v1</code> and the command line list all.</p>",
            count(hidden as u64)
        );
    }
}

fn plural(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// Names come from clients: nothing of them may become markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use client::Cluster;

    use super::*;

    fn overview() -> Overview {
        Overview {
            brokers: 1,
            topics: vec![TopicRow {
                name: "<b>orders".into(),
                partitions: 3,
                records: 1_204_331,
                bytes: 612_000_000,
                groups: vec!["<i>readers".into()],
            }],
            ..Overview::default()
        }
    }

    fn place(host: &str) -> Place {
        let backends = Backends::in_memory_only(Cluster::new("127.0.0.1:9093"));
        Place::new(&backends, host)
    }

    #[test]
    fn the_page_shows_topics_and_nothing_becomes_markup() {
        let page = page(&place("localhost:8080\"><script>"), &overview(), None);
        assert!(page.contains("&lt;b&gt;orders"), "{page}");
        assert!(page.contains("1,204,331") && page.contains("612 MB"));
        assert!(!page.contains("<b>orders") && !page.contains("<i>readers"));
        assert!(!page.contains("\"><script>"), "{page}");
    }

    #[test]
    fn the_kafka_address_has_the_host_by_which_the_browser_came() {
        assert_eq!(place("box.local:8080").kafka, "box.local:9093");
        assert_eq!(place("[::1]:8080").kafka, "[::1]:9093");
        let cluster = Backends::kafka_only(Cluster::new("b1:9092,b2:9092"));
        assert_eq!(Place::new(&cluster, "box:8080").kafka, "b1:9092,b2:9092");
    }

    #[test]
    fn an_empty_cluster_says_how_to_begin() {
        let page = page(&place("localhost:8080"), &Overview::default(), None);
        assert!(page.contains("thalweg topic create orders"));
        assert!(page.contains("thalweg consume hello --group readers"));
        assert!(page.contains("<button class=\"primary\" disabled>"));
    }

    #[test]
    fn every_colour_is_a_token() {
        let rules = super::super::STYLE.split("/* rules */").nth(1);
        let rules = rules.expect("tokens, then rules");
        let colour = rules.split('#').skip(1).find(|rest| {
            rest.starts_with(|c: char| c.is_ascii_hexdigit() && !c.is_ascii_lowercase())
        });
        assert_eq!(colour, None, "a colour outside the tokens");
    }
}
