//! "Did you mean …?": the nearest known word by edit distance.

/// The known word that `word` most likely meant: at most a third of its letters (and at least one) differ.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["kafka_port", "http_port", "data", "bind"];
        assert_eq!(nearest("kafka-port", known), Some("kafka_port"));
        assert_eq!(nearest("htp_port", known), Some("http_port"));
        assert_eq!(nearest("dta", known), Some("data"));
        assert_eq!(nearest("colour", known), None);
    }
}
