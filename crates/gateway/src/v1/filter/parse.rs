//! The text of a filter as an expression; bounded in length and depth.
//!
//! ```text
//! or       = and { "||" and }                 and     = relation { "&&" relation }
//! relation = unary [ ("==" | "!=" | "<" | "<=" | ">" | ">=" | "in") unary ]
//! unary    = "!" unary | postfix              postfix = primary { "." name [ "(" [ or ] ")" ] | "[" or "]" }
//! primary  = number | string | "true" | "false" | "null" | "(" or ")" | "[" [ or { "," or } ] "]" | name [ "(" or ")" ]
//! ```

/// Longer ones are refused.
const MOST_BYTES: usize = 4_096;
/// How deep expressions nest; each level costs a few stack frames of a few hundred bytes.
const MOST_DEPTH: usize = 50;

/// What a record offers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    Key,
    Value,
    Headers,
    Partition,
    Offset,
    Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextTest {
    Contains,
    StartsWith,
    EndsWith,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Expression>),
    Variable(Variable),
    /// Something and what is done to it in turn, so that a long path does not nest.
    Steps(Box<Expression>, Vec<Step>),
    Has(Box<Expression>),
    Compare(Comparison, Box<Expression>, Box<Expression>),
    In(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    /// Any of them, so that a long row does not nest.
    Any(Vec<Expression>),
    All(Vec<Expression>),
}

/// From a value to a part of it, or to an answer about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Field(String),
    Index(Expression),
    Size,
    Test(TextTest, Expression),
}

/// # Errors
/// What was expected, and the place, counted in characters from 1.
pub fn parse(source: &str) -> Result<Expression, String> {
    if source.len() > MOST_BYTES {
        return Err(format!("longer than {MOST_BYTES} bytes"));
    }
    let mut parser = Parser {
        source,
        at: 0,
        depth: 0,
    };
    let expression = parser.or()?;
    parser.skip_blanks();
    match parser.at == source.len() {
        true => Ok(expression),
        false => Err(parser.expected("an operator or the end")),
    }
}

struct Parser<'a> {
    source: &'a str,
    at: usize,
    depth: usize,
}

const COMPARISONS: &[(&str, Comparison)] = &[
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes `token` if it is next.
    fn takes(&mut self, token: &str) -> bool {
        self.skip_blanks();
        let is_next = self.rest().starts_with(token);
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    fn require(&mut self, token: &str) -> Result<(), String> {
        match self.takes(token) {
            true => Ok(()),
            false => Err(self.expected(&format!("`{token}`"))),
        }
    }

    fn expected(&self, what: &str) -> String {
        self.wrong(self.at, &format!("expected {what}"))
    }

    fn wrong(&self, at: usize, what: &str) -> String {
        let place = self.source[..at].chars().count() + 1;
        format!("{what} at {place}")
    }

    /// One level deeper for as long as `inner` parses.
    fn nested(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<Expression, String>,
    ) -> Result<Expression, String> {
        if self.depth == MOST_DEPTH {
            return Err(self.wrong(self.at, &format!("nested deeper than {MOST_DEPTH}")));
        }
        self.depth += 1;
        let parsed = inner(self);
        self.depth -= 1;
        parsed
    }

    fn or(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.and()?];
        while self.takes("||") {
            parts.push(self.and()?);
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Expression::Any(parts),
        })
    }

    fn and(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.relation()?];
        while self.takes("&&") {
            parts.push(self.relation()?);
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Expression::All(parts),
        })
    }

    fn relation(&mut self) -> Result<Expression, String> {
        let left = self.unary()?;
        for (token, comparison) in COMPARISONS {
            if self.takes(token) {
                let right = Box::new(self.unary()?);
                return Ok(Expression::Compare(*comparison, Box::new(left), right));
            }
        }
        self.skip_blanks();
        let is_word = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if self.rest().strip_prefix("in").is_some_and(is_word) {
            self.at += 2;
            let right = Box::new(self.unary()?);
            return Ok(Expression::In(Box::new(left), right));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, String> {
        self.skip_blanks();
        if self.rest().starts_with('!') {
            self.at += 1;
            let inner = self.nested(Parser::unary)?;
            return Ok(Expression::Not(Box::new(inner)));
        }
        self.postfix()
    }

    fn postfix(&mut self) -> Result<Expression, String> {
        let start = self.primary()?;
        let mut steps = Vec::new();
        loop {
            if self.takes(".") {
                steps.push(self.member()?);
            } else if self.takes("[") {
                let index = self.nested(Parser::or)?;
                self.require("]")?;
                steps.push(Step::Index(index));
            } else if steps.is_empty() {
                return Ok(start);
            } else {
                return Ok(Expression::Steps(Box::new(start), steps));
            }
        }
    }

    fn member(&mut self) -> Result<Step, String> {
        let (at, name) = (self.at, self.name()?);
        if !self.takes("(") {
            return Ok(Step::Field(name.to_owned()));
        }
        let test = match name {
            "size" => {
                self.require(")")?;
                return Ok(Step::Size);
            }
            "contains" => TextTest::Contains,
            "startsWith" => TextTest::StartsWith,
            "endsWith" => TextTest::EndsWith,
            _ => return Err(self.wrong(at, "expected contains, startsWith, endsWith or size")),
        };
        let argument = self.nested(Parser::or)?;
        self.require(")")?;
        Ok(Step::Test(test, argument))
    }

    fn name(&mut self) -> Result<&'a str, String> {
        self.skip_blanks();
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let name = &rest[..end];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.expected("a name"));
        }
        self.at += end;
        Ok(name)
    }

    fn primary(&mut self) -> Result<Expression, String> {
        self.skip_blanks();
        match self.rest().chars().next() {
            None => Err(self.expected("a value")),
            Some('(') => {
                self.at += 1;
                let inner = self.nested(Parser::or)?;
                self.require(")")?;
                Ok(inner)
            }
            Some('[') => {
                self.at += 1;
                self.nested(Parser::list)
            }
            Some(quote @ ('"' | '\'')) => self.text(quote),
            Some(c) if c == '-' || c.is_ascii_digit() => self.number(),
            Some(_) => self.word(),
        }
    }

    fn list(&mut self) -> Result<Expression, String> {
        let mut items = Vec::new();
        while !self.takes("]") {
            if !items.is_empty() {
                self.require(",")?;
            }
            items.push(self.or()?);
        }
        Ok(Expression::List(items))
    }

    fn number(&mut self) -> Result<Expression, String> {
        let (at, rest) = (self.at, self.rest());
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
        // A sign stands at the start or behind an exponent.
        let mut end = 0;
        for (index, c) in rest.char_indices() {
            let is_sign = matches!(c, '-' | '+');
            let may_sign = index == 0 || rest[..index].ends_with(['e', 'E']);
            if !is_part(c) || (is_sign && !may_sign) {
                break;
            }
            end = index + c.len_utf8();
        }
        let digits = &rest[..end];
        self.at += end;
        let is_float = digits.contains(['.', 'e', 'E']);
        let parsed = match is_float {
            true => digits
                .parse()
                .ok()
                .filter(|n: &f64| n.is_finite())
                .map(Expression::Float),
            false => digits.parse().ok().map(Expression::Int),
        };
        parsed.ok_or_else(|| self.wrong(at, "expected a number of 64 bits"))
    }

    fn text(&mut self, quote: char) -> Result<Expression, String> {
        let at = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((index, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.at += index + 1;
                    return Ok(Expression::Text(text));
                }
                '\\' => {
                    let escaped = chars.next().and_then(|(_, c)| match c {
                        '\\' | '"' | '\'' => Some(c),
                        'n' => Some('\n'),
                        'r' => Some('\r'),
                        't' => Some('\t'),
                        _ => None,
                    });
                    let wrong =
                        || self.wrong(at, r#"expected one of \\ \" \' \n \r \t in the text"#);
                    text.push(escaped.ok_or_else(wrong)?);
                }
                c => text.push(c),
            }
        }
        Err(self.wrong(at, "expected a closing quote for the text"))
    }

    fn word(&mut self) -> Result<Expression, String> {
        let at = self.at;
        let name = self.name().map_err(|_| self.expected("a value"))?;
        let variable = match name {
            "true" => return Ok(Expression::Bool(true)),
            "false" => return Ok(Expression::Bool(false)),
            "null" => return Ok(Expression::Null),
            "has" | "size" => return self.call(at, name),
            "key" => Variable::Key,
            "value" => Variable::Value,
            "headers" => Variable::Headers,
            "partition" => Variable::Partition,
            "offset" => Variable::Offset,
            "timestamp" => Variable::Timestamp,
            _ => {
                let known =
                    "expected key, value, headers, partition, offset, timestamp, has() or size()";
                return Err(self.wrong(at, known));
            }
        };
        Ok(Expression::Variable(variable))
    }

    fn call(&mut self, at: usize, name: &str) -> Result<Expression, String> {
        self.require("(")?;
        let argument = self.nested(Parser::or)?;
        if !self.takes(")") {
            return Err(self.wrong(at, &format!("expected one argument of {name}()")));
        }
        Ok(match name {
            "has" => Expression::Has(Box::new(argument)),
            _ => Expression::Steps(Box::new(argument), vec![Step::Size]),
        })
    }
}
