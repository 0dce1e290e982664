//! The page at `/`: addresses, first commands, topics and groups. Plain HTML with its own style, no script, light and dark.

use std::fmt::Write;

use broker::{Overview, TopicOverview};

use crate::text::{count, size};

const STYLE: &str = include_str!("landing.css");
/// More rows than this are not drawn; the page says how many there are.
const MOST_ROWS: usize = 200;

/// The page for a browser that reached us as `host` (with or without a port).
pub fn page(host: &str, kafka_port: u16, cluster_id: &str, overview: &Overview) -> String {
    let name = host_name(host);
    let kafka = format!("{name}:{kafka_port}");
    let topics: Vec<&TopicOverview> = overview
        .topics
        .iter()
        .filter(|topic| !topic.is_internal)
        .collect();
    let bytes: u64 = topics.iter().map(|topic| topic.bytes).sum();
    let records: i64 = topics.iter().map(|topic| topic.records).sum();
    let mut body = String::new();
    let summary = format!(
        "{} · {} records · {} · {}",
        plural(topics.len(), "topic"),
        count(records),
        size(bytes),
        plural(overview.groups.len(), "group")
    );
    addresses(&mut body, &kafka, cluster_id);
    first_commands(&mut body, &kafka);
    topic_table(&mut body, &topics);
    group_table(&mut body, overview);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Thalweg · {kafka}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header><span class=\"mark\" aria-hidden=\"true\">◧</span><strong>thalweg</strong>\
         <span class=\"state\">● ready</span><span class=\"version\">{version}</span></header>\n\
         <main>\n<h1>Overview</h1>\n<p class=\"summary\">{summary}</p>\n{body}</main>\n</body>\n</html>\n",
        kafka = escape(&kafka),
        version = env!("CARGO_PKG_VERSION"),
    )
}

fn addresses(body: &mut String, kafka: &str, cluster_id: &str) {
    let kafka = escape(kafka);
    let _ = writeln!(
        body,
        "<section class=\"cards\">\
         <div><span>Kafka</span><code>{kafka}</code></div>\
         <div><span>Metrics</span><a href=\"metrics\">/metrics</a></div>\
         <div><span>Health</span><a href=\"readyz?verbose\">/readyz?verbose</a></div>\
         <div><span>Cluster</span><code>{}</code></div>\
         </section>",
        escape(cluster_id)
    );
}

fn first_commands(body: &mut String, kafka: &str) {
    // What the commands try without a flag.
    let flag = match kafka {
        "localhost:9092" | "127.0.0.1:9092" => String::new(),
        _ => format!(" --kafka {}", escape(kafka)),
    };
    let _ = writeln!(
        body,
        "<h2>First commands</h2>\n<pre>echo hi | thalweg produce hello{flag}\nthalweg consume hello{flag}\n\
         thalweg demo{flag}   <i># 336,776 real flights, in and out again</i></pre>"
    );
}

fn topic_table(body: &mut String, topics: &[&TopicOverview]) {
    body.push_str("<h2>Topics</h2>\n");
    if topics.is_empty() {
        body.push_str("<p class=\"empty\">No topics yet. A topic is a named log: <code>thalweg topic create orders</code></p>\n");
        return;
    }
    body.push_str("<div class=\"table\"><table><thead><tr><th>Name</th><th class=\"n\">Partitions</th><th class=\"n\">Records</th><th class=\"n\">Size</th></tr></thead><tbody>\n");
    for topic in topics.iter().take(MOST_ROWS) {
        let _ = writeln!(
            body,
            "<tr><td><code>{}</code></td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\" title=\"{} bytes\">{}</td></tr>",
            escape(&topic.name),
            topic.partitions,
            count(topic.records),
            topic.bytes,
            size(topic.bytes)
        );
    }
    body.push_str("</tbody></table></div>\n");
    more(body, topics.len());
}

fn group_table(body: &mut String, overview: &Overview) {
    body.push_str("<h2>Groups</h2>\n");
    if overview.groups.is_empty() {
        body.push_str("<p class=\"empty\">A group appears when a consumer joins: <code>thalweg consume hello --group readers</code></p>\n");
        return;
    }
    body.push_str("<div class=\"table\"><table><thead><tr><th>Name</th><th>State</th><th class=\"n\">Members</th><th class=\"n\">Lag</th><th class=\"n\">Time lag</th></tr></thead><tbody>\n");
    for group in overview.groups.iter().take(MOST_ROWS) {
        let lags = overview.lags.iter().filter(|lag| lag.group == group.group);
        let records: i64 = lags.clone().map(|lag| lag.records).sum();
        let seconds = lags.filter_map(|lag| lag.seconds).reduce(f64::max);
        let mark = match group.state {
            "Stable" => "<span class=\"ok\">● stable</span>",
            "Empty" => "<span class=\"info\">◆ empty</span>",
            "Dead" => "<span class=\"bad\">■ dead</span>",
            _ => "<span class=\"warn\">▲ rebalancing</span>",
        };
        let _ = writeln!(
            body,
            "<tr><td><code>{}</code></td><td>{mark}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&group.group),
            group.members,
            count(records),
            seconds.map_or_else(|| "—".to_owned(), |seconds| format!("{seconds:.1} s")),
        );
    }
    body.push_str("</tbody></table></div>\n");
    more(body, overview.groups.len());
}

fn more(body: &mut String, total: usize) {
    if total > MOST_ROWS {
        let _ = writeln!(
            body,
            "<p class=\"empty\">The first {MOST_ROWS} of {total}; the command line lists all.</p>"
        );
    }
}

/// The host without its port; IPv6 keeps its brackets.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
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
    use super::*;

    fn overview() -> Overview {
        Overview {
            topics: vec![TopicOverview {
                name: "<b>orders".into(),
                is_internal: false,
                partitions: 3,
                records: 1_204_331,
                bytes: 612_000_000,
            }],
            groups: Vec::new(),
            lags: Vec::new(),
        }
    }

    #[test]
    fn the_page_shows_topics_and_nothing_becomes_markup() {
        let page = page("localhost:8080\"><script>", 9092, "id", &overview());
        assert!(page.contains("&lt;b&gt;orders"), "{page}");
        assert!(page.contains("1,204,331") && page.contains("612 MB"));
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn the_kafka_address_has_the_host_by_which_the_browser_came() {
        assert!(page("box.local:8080", 9093, "id", &overview()).contains("--kafka box.local:9093"));
        assert!(page("[::1]:8080", 9092, "id", &overview()).contains("[::1]:9092"));
    }

    #[test]
    fn every_colour_is_a_token() {
        let rules = STYLE
            .split("/* rules */")
            .nth(1)
            .expect("tokens, then rules");
        assert!(!rules.contains('#'), "a colour outside the tokens");
    }
}
