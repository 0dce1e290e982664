//! What an expression is for one record. Without an answer, as for a missing field, it is `None`; `&&` and `||` get by without one
//! when the other side decides, as in CEL.

use std::cell::OnceCell;
use std::cmp::Ordering;

use client::Record;
use serde_json::Value as Json;

use super::parse::{Comparison, Expression, Step, TextTest, Variable};

/// A record, its value read at most once and only if the expression asks for it.
pub struct Subject<'a> {
    partition: i32,
    record: &'a Record,
    value: OnceCell<Option<Json>>,
}

impl<'a> Subject<'a> {
    pub fn new(partition: i32, record: &'a Record) -> Subject<'a> {
        Subject {
            partition,
            record,
            value: OnceCell::new(),
        }
    }

    /// JSON as it is, other text as text; nothing for other bytes.
    fn value(&self) -> Option<&Json> {
        let read = || {
            let Some(bytes) = &self.record.value else {
                return Some(Json::Null);
            };
            let text = || {
                std::str::from_utf8(bytes)
                    .ok()
                    .map(|text| Json::String(text.to_owned()))
            };
            serde_json::from_slice(bytes).ok().or_else(text)
        };
        self.value.get_or_init(read).as_ref()
    }
}

/// What expressions come to.
enum Value<'a> {
    Json(&'a Json),
    Text(&'a str),
    Int(i128),
    Float(f64),
    Bool(bool),
    Null,
    List(Vec<Value<'a>>),
    Headers(&'a Record),
}

/// Whether the expression is true of the record, and not merely something.
pub fn is_true(expression: &Expression, subject: &Subject<'_>) -> bool {
    truth(expression, subject) == Some(true)
}

fn truth(expression: &Expression, subject: &Subject<'_>) -> Option<bool> {
    match eval(expression, subject)? {
        Value::Bool(truth) => Some(truth),
        Value::Json(json) => json.as_bool(),
        _ => None,
    }
}

fn eval<'a>(expression: &'a Expression, subject: &'a Subject<'a>) -> Option<Value<'a>> {
    Some(match expression {
        Expression::Null => Value::Null,
        Expression::Bool(truth) => Value::Bool(*truth),
        Expression::Int(number) => Value::Int((*number).into()),
        Expression::Float(number) => Value::Float(*number),
        Expression::Text(text) => Value::Text(text),
        Expression::List(items) => {
            let items = items.iter().map(|item| eval(item, subject));
            Value::List(items.collect::<Option<_>>()?)
        }
        Expression::Variable(variable) => read(*variable, subject)?,
        Expression::Steps(start, steps) => {
            let start = eval(start, subject)?;
            steps
                .iter()
                .try_fold(start, |value, step| take_step(value, step, subject))?
        }
        Expression::Has(inner) => Value::Bool(eval(inner, subject).is_some()),
        Expression::Compare(comparison, left, right) => {
            let (left, right) = (eval(left, subject)?, eval(right, subject)?);
            Value::Bool(compare(*comparison, &left, &right)?)
        }
        Expression::In(item, list) => {
            Value::Bool(is_in(&eval(item, subject)?, &eval(list, subject)?)?)
        }
        Expression::Not(inner) => Value::Bool(!truth(inner, subject)?),
        Expression::Any(parts) => Value::Bool(decide(parts, subject, true)?),
        Expression::All(parts) => Value::Bool(decide(parts, subject, false)?),
    })
}

fn take_step<'a>(value: Value<'a>, step: &'a Step, subject: &'a Subject<'a>) -> Option<Value<'a>> {
    Some(match step {
        Step::Field(name) => field(value, name)?,
        Step::Index(index) => index_of(value, eval(index, subject)?)?,
        Step::Size => Value::Int(size(&value)?),
        Step::Test(test, argument) => {
            let argument = eval(argument, subject)?;
            let (of, argument) = (text(&value)?, text(&argument)?);
            Value::Bool(match test {
                TextTest::Contains => of.contains(argument),
                TextTest::StartsWith => of.starts_with(argument),
                TextTest::EndsWith => of.ends_with(argument),
            })
        }
    })
}

/// One part that is `decisive` decides whatever the others are; otherwise all must have an answer.
fn decide(parts: &[Expression], subject: &Subject<'_>, decisive: bool) -> Option<bool> {
    let mut has_answers = true;
    for part in parts {
        match truth(part, subject) {
            Some(answer) if answer == decisive => return Some(decisive),
            Some(_) => {}
            None => has_answers = false,
        }
    }
    has_answers.then_some(!decisive)
}

fn read<'a>(variable: Variable, subject: &'a Subject<'a>) -> Option<Value<'a>> {
    let record = subject.record;
    Some(match variable {
        Variable::Key => match &record.key {
            None => Value::Null,
            Some(key) => Value::Text(std::str::from_utf8(key).ok()?),
        },
        Variable::Value => Value::Json(subject.value()?),
        Variable::Headers => Value::Headers(record),
        Variable::Partition => Value::Int(subject.partition.into()),
        Variable::Offset => Value::Int(record.offset.into()),
        Variable::Timestamp => Value::Int(record.timestamp_ms.into()),
    })
}

fn field<'a>(of: Value<'a>, name: &str) -> Option<Value<'a>> {
    match of {
        Value::Json(json) => json.get(name).map(Value::Json),
        Value::Headers(record) => header(record, name),
        _ => None,
    }
}

fn header<'a>(record: &'a Record, name: &str) -> Option<Value<'a>> {
    let (_, value) = record.headers.iter().find(|(known, _)| known == name)?;
    match value {
        None => Some(Value::Null),
        Some(value) => std::str::from_utf8(value).ok().map(Value::Text),
    }
}

fn index_of<'a>(of: Value<'a>, index: Value<'_>) -> Option<Value<'a>> {
    if let Some(name) = text(&index) {
        return field(of, name);
    }
    let index = usize::try_from(int(&index)?).ok()?;
    match of {
        Value::Json(json) => json.get(index).map(Value::Json),
        Value::List(items) => items.into_iter().nth(index),
        _ => None,
    }
}

fn size(value: &Value<'_>) -> Option<i128> {
    let size = match value {
        Value::Json(json) => match json {
            Json::Array(items) => items.len(),
            Json::Object(fields) => fields.len(),
            Json::String(text) => text.chars().count(),
            _ => return None,
        },
        Value::Text(text) => text.chars().count(),
        Value::List(items) => items.len(),
        Value::Headers(record) => record.headers.len(),
        _ => return None,
    };
    i128::try_from(size).ok()
}

fn text<'a>(value: &'a Value<'_>) -> Option<&'a str> {
    match value {
        Value::Text(text) => Some(text),
        Value::Json(json) => json.as_str(),
        _ => None,
    }
}

fn int(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Json(json) => {
            let signed = json.as_i64().map(i128::from);
            signed.or_else(|| json.as_u64().map(i128::from))
        }
        _ => None,
    }
}

fn float(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Int(number) => Some(*number as f64),
        Value::Json(json) => json.as_f64(),
        _ => None,
    }
}

fn bool(value: &Value<'_>) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::Json(json) => json.as_bool(),
        _ => None,
    }
}

fn is_null(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Json(json) => json.is_null(),
        _ => false,
    }
}

/// The order of two numbers or two texts; whole numbers are compared as such, so that none is rounded.
fn order(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    if let (Some(left), Some(right)) = (int(left), int(right)) {
        return Some(left.cmp(&right));
    }
    if let (Some(left), Some(right)) = (float(left), float(right)) {
        return left.partial_cmp(&right);
    }
    Some(text(left)?.cmp(text(right)?))
}

fn is_equal(left: &Value<'_>, right: &Value<'_>) -> bool {
    if is_null(left) || is_null(right) {
        return is_null(left) && is_null(right);
    }
    if let (Some(left), Some(right)) = (bool(left), bool(right)) {
        return left == right;
    }
    if let (Value::Json(left), Value::Json(right)) = (left, right)
        && (left.is_array() || left.is_object())
    {
        return left == right;
    }
    order(left, right) == Some(Ordering::Equal)
}

/// What cannot be ordered is unequal, and neither less nor greater.
fn compare(comparison: Comparison, left: &Value<'_>, right: &Value<'_>) -> Option<bool> {
    Some(match comparison {
        Comparison::Equal => is_equal(left, right),
        Comparison::NotEqual => !is_equal(left, right),
        Comparison::Less => order(left, right)?.is_lt(),
        Comparison::LessOrEqual => order(left, right)?.is_le(),
        Comparison::Greater => order(left, right)?.is_gt(),
        Comparison::GreaterOrEqual => order(left, right)?.is_ge(),
    })
}

fn is_in(item: &Value<'_>, list: &Value<'_>) -> Option<bool> {
    match list {
        Value::List(items) => Some(items.iter().any(|other| is_equal(item, other))),
        Value::Headers(record) => Some(header(record, text(item)?).is_some()),
        Value::Json(json) => match json {
            Json::Array(items) => {
                let is_equal = |other| is_equal(item, &Value::Json(other));
                Some(items.iter().any(is_equal))
            }
            Json::Object(fields) => Some(fields.contains_key(text(item)?)),
            _ => None,
        },
        _ => None,
    }
}
