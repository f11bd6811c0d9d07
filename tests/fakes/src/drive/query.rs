//! The search language of `files.list` (`q`): read strictly, so that a client's wrong query is refused and not half understood.
//!
//! `and` and `or` are taken from left to right without precedence, as the documentation has it: a client that wants another
//! order writes brackets. `name =` ignores case. What an item answers to a term is [`Facts`]'s business, not this file's.
use std::iter::Peekable;
use std::str::Chars;

/// A query, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Query {
    /// Both sides.
    And(Box<Query>, Box<Query>),
    /// One side or the other.
    Or(Box<Query>, Box<Query>),
    /// The opposite.
    Not(Box<Query>),
    /// `field operator value`.
    Compare(Field, Operator, String),
    /// `'value' in collection`.
    Within(String, Collection),
    /// `properties has { key='..' and value='..' }`.
    Has(Field, String, String),
}

/// What can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// Equality ignores case; `contains` matches the beginning of words.
    Name,
    /// Name and text.
    FullText,
    /// Exact, or `contains` as a beginning.
    MimeType,
    /// A time.
    Modified,
    /// A time.
    Created,
    /// True or false.
    Trashed,
    /// True or false.
    Starred,
    /// True or false.
    SharedWithMe,
    /// Pairs.
    Properties,
    /// Pairs.
    AppProperties,
    /// An id.
    ShortcutTarget,
}

/// How it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    /// `=`
    Is,
    /// `!=`
    IsNot,
    /// `contains`
    Contains,
    /// `<`
    Before,
    /// `<=`
    UpTo,
    /// `>`
    After,
    /// `>=`
    From,
}

/// What a value can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collection {
    /// Ids of folders.
    Parents,
    /// Addresses.
    Owners,
    /// Addresses.
    Writers,
    /// Addresses.
    Readers,
}

/// An item, as a query asks about it.
pub(super) trait Facts {
    /// Text of a field, lower case where the field ignores case; truths are `true` and `false`, times RFC 3339 in milliseconds.
    fn text(&self, field: Field) -> String;
    /// Whether it is in a collection.
    fn within(&self, value: &str, collection: Collection) -> bool;
    /// Whether it has a pair.
    fn has(&self, field: Field, key: &str, value: &str) -> bool;
}

impl Query {
    /// Reads a query; the error says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Query, String> {
        let mut parser = Parser { tokens: tokens(text)?.into_iter().peekable() };
        let query = parser.sequence()?;
        match parser.tokens.next() {
            None => Ok(query),
            Some(token) => Err(format!("unexpected {token:?}")),
        }
    }

    /// Whether an item is meant.
    pub(super) fn matches(&self, item: &impl Facts) -> bool {
        match self {
            Query::And(left, right) => left.matches(item) && right.matches(item),
            Query::Or(left, right) => left.matches(item) || right.matches(item),
            Query::Not(inner) => !inner.matches(item),
            Query::Within(value, collection) => item.within(value, *collection),
            Query::Has(field, key, value) => item.has(*field, key, value),
            Query::Compare(field, operator, value) => compare(*field, *operator, &item.text(*field), value),
        }
    }
}

fn compare(field: Field, operator: Operator, have: &str, value: &str) -> bool {
    let value = if matches!(field, Field::Name | Field::FullText) { value.to_lowercase() } else { value.to_owned() };
    match operator {
        Operator::Is => have == value,
        Operator::IsNot => have != value,
        Operator::Contains if field == Field::MimeType => have.starts_with(&value),
        Operator::Contains => {
            let starts = |(at, _): (usize, &str)| {
                at == 0 || !have.get(..at).and_then(|before| before.chars().last()).is_some_and(char::is_alphanumeric)
            };
            have.match_indices(&value).any(starts)
        }
        Operator::Before => have < value.as_str(),
        Operator::UpTo => have <= value.as_str(),
        Operator::After => have > value.as_str(),
        Operator::From => have >= value.as_str(),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(String),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut rest = text.chars().peekable();
    let mut out = Vec::new();
    while let Some(next) = rest.next() {
        match next {
            space if space.is_whitespace() => {}
            '\'' => out.push(Token::Text(quoted(&mut rest)?)),
            '(' | ')' | '{' | '}' => out.push(Token::Sign(next.to_string())),
            '=' => out.push(Token::Sign("=".into())),
            '!' | '<' | '>' => {
                let sign = rest.next_if_eq(&'=').map_or_else(|| next.to_string(), |_| format!("{next}="));
                out.push(Token::Sign(sign));
            }
            letter if letter.is_alphabetic() => {
                let mut word = letter.to_string();
                while let Some(more) = rest.next_if(|more| more.is_alphanumeric() || *more == '.') {
                    word.push(more);
                }
                out.push(Token::Word(word));
            }
            other => return Err(format!("unexpected {other:?}")),
        }
    }
    Ok(out)
}

/// Up to the closing quote. Only a quote and a backslash can be escaped.
fn quoted(rest: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let mut text = String::new();
    loop {
        match rest.next() {
            Some('\'') => return Ok(text),
            Some('\\') => match rest.next() {
                Some(escaped @ ('\'' | '\\')) => text.push(escaped),
                other => return Err(format!("wrong escape {other:?}")),
            },
            Some(other) => text.push(other),
            None => return Err("a quote does not end".into()),
        }
    }
}

struct Parser {
    tokens: Peekable<std::vec::IntoIter<Token>>,
}

impl Parser {
    fn sequence(&mut self) -> Result<Query, String> {
        let mut query = self.term()?;
        loop {
            if self.word("and") {
                query = Query::And(Box::new(query), Box::new(self.term()?));
            } else if self.word("or") {
                query = Query::Or(Box::new(query), Box::new(self.term()?));
            } else {
                return Ok(query);
            }
        }
    }

    fn term(&mut self) -> Result<Query, String> {
        if self.word("not") {
            return Ok(Query::Not(Box::new(self.term()?)));
        }
        match self.tokens.next() {
            Some(Token::Sign(sign)) if sign == "(" => {
                let inner = self.sequence()?;
                self.sign(")").map(|()| inner)
            }
            Some(Token::Text(value)) if self.word("in") => match self.tokens.next() {
                Some(Token::Word(name)) => Ok(Query::Within(value, collection(&name)?)),
                other => Err(format!("no collection: {other:?}")),
            },
            Some(Token::Word(name)) => self.comparison(field(&name)?),
            other => Err(format!("no term: {other:?}")),
        }
    }

    fn comparison(&mut self, field: Field) -> Result<Query, String> {
        if self.word("has") {
            if !matches!(field, Field::Properties | Field::AppProperties) {
                return Err("`has` is for properties".into());
            }
            self.sign("{")?;
            let key = self.named("key")?;
            if !self.word("and") {
                return Err("a value is missing".into());
            }
            let value = self.named("value")?;
            return self.sign("}").map(|()| Query::Has(field, key, value));
        }
        let operator = match self.tokens.next() {
            Some(Token::Sign(sign)) => operator(&sign)?,
            Some(Token::Word(word)) if word == "contains" => Operator::Contains,
            other => return Err(format!("no operator: {other:?}")),
        };
        if !fits(field, operator) {
            return Err(format!("{operator:?} does not go with {field:?}"));
        }
        match (field, self.tokens.next()) {
            (Field::Trashed | Field::Starred | Field::SharedWithMe, Some(Token::Word(truth)))
                if truth == "true" || truth == "false" =>
            {
                Ok(Query::Compare(field, operator, truth))
            }
            (Field::Trashed | Field::Starred | Field::SharedWithMe, other) => Err(format!("no truth: {other:?}")),
            (Field::Modified | Field::Created, Some(Token::Text(time))) => {
                let time = super::model::parse_time(&time).ok_or("no time")?;
                Ok(Query::Compare(field, operator, super::model::write_time(time)))
            }
            (_, Some(Token::Text(value))) => Ok(Query::Compare(field, operator, value)),
            (_, other) => Err(format!("no value: {other:?}")),
        }
    }

    fn named(&mut self, name: &str) -> Result<String, String> {
        if !self.word(name) {
            return Err(format!("{name} is missing"));
        }
        self.sign("=")?;
        match self.tokens.next() {
            Some(Token::Text(value)) => Ok(value),
            other => Err(format!("no value: {other:?}")),
        }
    }

    fn word(&mut self, word: &str) -> bool {
        self.tokens.next_if(|token| matches!(token, Token::Word(have) if have == word)).is_some()
    }

    fn sign(&mut self, sign: &str) -> Result<(), String> {
        match self.tokens.next() {
            Some(Token::Sign(have)) if have == sign => Ok(()),
            other => Err(format!("{sign} expected, not {other:?}")),
        }
    }
}

fn field(name: &str) -> Result<Field, String> {
    Ok(match name {
        "name" => Field::Name,
        "fullText" => Field::FullText,
        "mimeType" => Field::MimeType,
        "modifiedTime" => Field::Modified,
        "createdTime" => Field::Created,
        "trashed" => Field::Trashed,
        "starred" => Field::Starred,
        "sharedWithMe" => Field::SharedWithMe,
        "properties" => Field::Properties,
        "appProperties" => Field::AppProperties,
        "shortcutDetails.targetId" => Field::ShortcutTarget,
        other => return Err(format!("unknown field {other}")),
    })
}

fn collection(name: &str) -> Result<Collection, String> {
    Ok(match name {
        "parents" => Collection::Parents,
        "owners" => Collection::Owners,
        "writers" => Collection::Writers,
        "readers" => Collection::Readers,
        other => return Err(format!("unknown collection {other}")),
    })
}

fn operator(sign: &str) -> Result<Operator, String> {
    Ok(match sign {
        "=" => Operator::Is,
        "!=" => Operator::IsNot,
        "<" => Operator::Before,
        "<=" => Operator::UpTo,
        ">" => Operator::After,
        ">=" => Operator::From,
        other => return Err(format!("unknown operator {other}")),
    })
}

/// Which operators a field has.
fn fits(field: Field, operator: Operator) -> bool {
    let equality = matches!(operator, Operator::Is | Operator::IsNot);
    match field {
        Field::Name | Field::MimeType => equality || operator == Operator::Contains,
        Field::FullText => operator == Operator::Contains,
        Field::Modified | Field::Created => operator != Operator::Contains,
        Field::Trashed | Field::Starred | Field::SharedWithMe | Field::ShortcutTarget => equality,
        Field::Properties | Field::AppProperties => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Facts for Fixed {
        fn text(&self, field: Field) -> String {
            let text = match field {
                Field::Name => "the file's name.txt",
                Field::MimeType => "text/plain",
                Field::Trashed => "false",
                Field::Modified => "2025-01-02T03:04:05.678Z",
                _ => "",
            };
            text.into()
        }
        fn within(&self, value: &str, collection: Collection) -> bool {
            value == "0R" && collection == Collection::Parents
        }
        fn has(&self, _: Field, key: &str, value: &str) -> bool {
            (key, value) == ("k", "v")
        }
    }

    fn matches(text: &str) -> bool {
        Query::parse(text).unwrap().matches(&Fixed)
    }

    #[test]
    fn a_directory_is_listed_by_its_parent() {
        assert!(matches("trashed=false and ('0R' in parents)"));
        assert!(matches("trashed=false and ('other' in parents or '0R' in parents)"));
        assert!(!matches("trashed=true and ('0R' in parents)"));
    }

    #[test]
    fn a_name_is_compared_without_case_and_unescaped() {
        assert!(matches(r"name = 'The File\'s NAME.txt'"));
        assert!(!matches("name = 'the file'"));
        assert!(matches("name contains 'file'"));
        assert!(!matches("name contains 'ile'"));
    }

    #[test]
    fn and_and_or_are_taken_from_left_to_right() {
        assert!(!matches("trashed=false or trashed=false and mimeType='x'"));
        assert!(matches("trashed=false or (trashed=false and mimeType='x')"));
        assert!(matches("not trashed=true and not mimeType contains 'image/'"));
    }

    #[test]
    fn times_and_properties_are_understood() {
        assert!(matches("modifiedTime > '2025-01-01T00:00:00'"));
        assert!(!matches("modifiedTime < '2025-01-02T03:04:05Z'"));
        assert!(matches("properties has { key='k' and value='v' }"));
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let wrong = [
            "",
            "title='x'",
            "name='x' and",
            "name~'x'",
            "'0R' in folders",
            "name='x",
            "(name='x'",
            "name='x')",
            r"name='a\b'",
            "trashed='false'",
            "trashed contains true",
            "name < 'x'",
            "name='x' name='y'",
            "size > 5",
            "properties='x'",
            "modifiedTime > 'yesterday'",
            "name=x",
        ];
        for query in wrong {
            assert!(Query::parse(query).is_err(), "{query} was accepted");
        }
    }
}
