//! "Did you mean …?": the nearest known word by edit distance.

/// The known word that `word` most likely meant: at most a third of its letters (and at least one) differ.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, removed, replaced or swapped with their neighbour to turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                rows[i][j] = i.max(j);
                continue;
            }
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1)
                .min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_one_step() {
        assert_eq!(distance("kafka_prot", "kafka_port"), 1);
        assert_eq!(distance("data", "date"), 1);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["kafka_port", "http_port", "data", "bind"];
        assert_eq!(nearest("kafka-port", known), Some("kafka_port"));
        assert_eq!(nearest("htp_port", known), Some("http_port"));
        assert_eq!(nearest("dta", known), Some("data"));
        assert_eq!(nearest("colour", known), None);
    }
}
