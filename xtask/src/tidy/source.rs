//! Just enough Rust to measure it: comments and literals blanked out (lines kept), then functions found by their braces.

/// The source with comments, strings and character literals replaced by spaces; line breaks stay where they are.
pub fn code_only(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let after_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            'r' | 'b' | 'c' if !after_word => prefixed_literal(rest),
            '\'' => character(rest),
            _ => 0,
        };
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(
                rest[..length]
                    .chars()
                    .map(|c| if c == '\n' { '\n' } else { ' ' }),
            );
            rest = &rest[length..];
        }
    }
    code
}

/// Length of a block comment, nested ones included.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Length of a string that begins with its quote.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of `b"…"`, `b'…'`, `c"…"`, `r"…"`, `r#"…"#` and their combinations; 0 when the letter begins a word.
fn prefixed_literal(text: &str) -> usize {
    let letters = text
        .bytes()
        .take(2)
        .take_while(|byte| b"rbc".contains(byte))
        .count();
    let raw = text[..letters].contains('r');
    let after = &text[letters..];
    if raw {
        let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
        if !after[hashes..].starts_with('"') {
            return 0;
        }
        let end = format!("\"{}", "#".repeat(hashes));
        let body = hashes + 1;
        return letters
            + after[body..]
                .find(&end)
                .map_or(after.len(), |at| body + at + end.len());
    }
    match after.bytes().next() {
        Some(b'"') => letters + string(after),
        Some(b'\'') => match character(after) {
            0 => 0,
            length => letters + length,
        },
        _ => 0,
    }
}

/// Length of a character literal; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(text.len(), |at| at + 4),
        Some(_) => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// Whether `line` has `word` not as a part of a longer name.
pub fn has_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_name) && !line[at + word.len()..].starts_with(is_name)
    })
}

/// Lines of the file before its test module.
pub fn lines_before_tests(code: &str) -> usize {
    let lines: Vec<&str> = code.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0].trim() == "#[cfg(test)]" && has_word(pair[1], "mod"));
    tests.unwrap_or(lines.len())
}

pub struct Function {
    pub name: String,
    /// From the line of `fn` to that of its closing brace.
    pub lines: usize,
}

/// The functions of a source without comments and literals; those without a body are left out.
pub fn functions(code: &str) -> Vec<Function> {
    let mut functions = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let name: String = code[at + 3..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        if name.is_empty() {
            continue;
        }
        if let Some(end) = body_end(&code[at..]) {
            functions.push(Function {
                name,
                lines: code[at..at + end].matches('\n').count() + 1,
            });
        }
    }
    functions
}

/// Where the body of the function ends that begins here; None for a declaration.
fn body_end(code: &str) -> Option<usize> {
    let mut parentheses = 0i32;
    let mut braces = 0i32;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' => parentheses += 1,
            b')' | b']' => parentheses -= 1,
            b';' if braces == 0 && parentheses == 0 => return None,
            b'{' if parentheses == 0 || braces > 0 => braces += 1,
            b'}' if braces > 0 => {
                braces -= 1;
                if braces == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_literals_and_comments_do_not_count() {
        let text = "fn a<'x>() {\n  let b = \"}\"; // }\n  let c = '}'; /* } /* } */ } */\n  let d = r#\"}\"}\"#;\n  let e = b'{';\n}\nfn f();\n";
        let found = functions(&code_only(text));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].lines), ("a", 6));
    }

    #[test]
    fn an_array_length_in_a_signature_is_not_the_end_of_it() {
        let found = functions("fn a(b: [u8; 4]) -> [u8; 2] {\n}\n");
        assert_eq!(found[0].lines, 2);
    }

    #[test]
    fn escaped_quotes_stay_inside_their_literal() {
        assert_eq!(
            code_only(r#"a('\'', "\"{", '\u{7f}') b"#).replace(' ', ""),
            "a(,,)b"
        );
    }

    #[test]
    fn a_word_is_not_found_inside_a_longer_one() {
        assert!(has_word("std::time::Instant::now()", "Instant"));
        assert!(!has_word("InstantReply", "Instant"));
    }
}
