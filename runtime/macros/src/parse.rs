//! Reads tokens: the arguments of an attribute, and the signature of the function under it.
//!
//! Knows nothing of what the attributes mean beyond the words they take.
#![forbid(unsafe_code)]

use proc_macro::{Delimiter, Group, Span, TokenStream, TokenTree};

use crate::expand::Macro;

/// What is wrong, and where.
pub(crate) struct Error {
    pub(crate) span: Span,
    pub(crate) message: String,
}

impl Error {
    fn new(span: Span, message: impl Into<String>) -> Error {
        Error { span, message: message.into() }
    }
}

/// The arguments of an attribute. Numbers stay literals: the compiler checks their range where they are used.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) workers: Option<TokenTree>,
    pub(crate) single_thread: bool,
    pub(crate) paused: bool,
    pub(crate) seed: Option<TokenTree>,
}

impl Arguments {
    pub(crate) fn parse(kind: Macro, stream: TokenStream) -> Result<Arguments, Error> {
        let mut arguments = Arguments::default();
        let mut spans = Vec::new();
        let mut tokens = stream.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let span = token.span();
            let word = token.to_string();
            if spans.iter().any(|(seen, _)| *seen == word) {
                return Err(Error::new(span, format!("`{word}` is given twice")));
            }
            match (word.as_str(), kind) {
                ("workers", _) => arguments.workers = Some(number(&mut tokens, "workers", span)?),
                ("single_thread", _) => arguments.single_thread = true,
                ("paused", Macro::Test) => arguments.paused = true,
                ("seed", Macro::Test) => arguments.seed = Some(number(&mut tokens, "seed", span)?),
                ("paused" | "seed", Macro::Main) => {
                    let message = format!(
                        "`{word}` belongs to `#[filch::test]`; in a program write \
                         `filch::Builder::new().paused_clock(seed)`"
                    );
                    return Err(Error::new(span, message));
                }
                _ => return Err(Error::new(span, unknown(kind, &word))),
            }
            spans.push((word, span));
            match tokens.next() {
                None => break,
                Some(TokenTree::Punct(comma)) if comma.as_char() == ',' => {}
                Some(other) => {
                    let message = format!("expected `,` between arguments, found `{other}`");
                    return Err(Error::new(other.span(), message));
                }
            }
        }
        arguments.check(&spans)?;
        Ok(arguments)
    }

    /// Refuses combinations that contradict each other, at the word that is too many.
    fn check(&self, spans: &[(String, Span)]) -> Result<(), Error> {
        let at =
            |name: &str| spans.iter().find(|(word, _)| word == name).map_or(Span::call_site(), |(_, s)| *s);
        if self.paused && self.workers.is_some() {
            return Err(Error::new(at("workers"), "a paused test has one thread: leave `workers` out"));
        }
        if self.paused && self.single_thread {
            let message = "a paused test has one thread already: leave `single_thread` out";
            return Err(Error::new(at("single_thread"), message));
        }
        if self.seed.is_some() && !self.paused {
            return Err(Error::new(
                at("seed"),
                "`seed` needs `paused`: only then does a seed decide the order",
            ));
        }
        if self.single_thread && self.workers.is_some() {
            let message = "`single_thread` and `workers` contradict each other: keep one";
            return Err(Error::new(at("workers"), message));
        }
        Ok(())
    }
}

fn unknown(kind: Macro, word: &str) -> String {
    let known = match kind {
        Macro::Main => "`workers = N` and `single_thread`",
        Macro::Test => "`workers = N`, `single_thread`, `paused` and `seed = N`",
    };
    format!("unknown argument `{word}`: {} takes {known}", kind.name())
}

/// Reads `= N` after the word `name`.
fn number(tokens: &mut impl Iterator<Item = TokenTree>, name: &str, span: Span) -> Result<TokenTree, Error> {
    let message = || format!("`{name}` needs a whole number: write `{name} = 4`");
    match tokens.next() {
        Some(TokenTree::Punct(equals)) if equals.as_char() == '=' => {}
        Some(other) => return Err(Error::new(other.span(), message())),
        None => return Err(Error::new(span, message())),
    }
    match tokens.next() {
        Some(TokenTree::Literal(literal))
            if literal.to_string().starts_with(|c: char| c.is_ascii_digit()) =>
        {
            Ok(TokenTree::Literal(literal))
        }
        Some(other) => Err(Error::new(other.span(), message())),
        None => Err(Error::new(span, message())),
    }
}

/// The function under the attribute, cut at the places where the new one differs from it.
pub(crate) struct Function {
    /// Attributes, visibility and qualifiers, without `async`.
    pub(crate) attributes: Vec<TokenTree>,
    pub(crate) visibility: Vec<TokenTree>,
    /// From `fn` to the end, the body included.
    pub(crate) rest: Vec<TokenTree>,
    pub(crate) name: TokenTree,
    /// From `(` to just before the body.
    pub(crate) signature: Vec<TokenTree>,
    pub(crate) body: Group,
}

impl Function {
    pub(crate) fn parse(kind: Macro, item: TokenStream) -> Result<Function, Error> {
        let mut attributes = Vec::new();
        let mut visibility = Vec::new();
        let mut is_async = false;
        let mut tokens = item.into_iter().peekable();
        let fn_token = loop {
            let Some(token) = tokens.next() else {
                let message = format!("{} goes on an `async fn`", kind.name());
                return Err(Error::new(Span::call_site(), message));
            };
            match token.to_string().as_str() {
                "fn" => break token,
                "async" => is_async = true,
                "#" => attributes.extend([Some(token), tokens.next()].into_iter().flatten()),
                word @ ("unsafe" | "const" | "extern") => {
                    let message = format!("{} cannot go on an `{word} fn`", kind.name());
                    return Err(Error::new(token.span(), message));
                }
                "struct" | "enum" | "mod" | "impl" | "trait" | "static" | "type" | "use" | "union" => {
                    let message = format!("{} goes on an `async fn`", kind.name());
                    return Err(Error::new(token.span(), message));
                }
                _ => visibility.push(token),
            }
        };
        if !is_async {
            let message = format!("{} goes on an `async fn`: put `async` before `fn`", kind.name());
            return Err(Error::new(fn_token.span(), message));
        }
        let rest: Vec<TokenTree> = std::iter::once(fn_token).chain(tokens).collect();
        Function::cut(kind, attributes, visibility, rest)
    }

    fn cut(
        kind: Macro,
        attributes: Vec<TokenTree>,
        visibility: Vec<TokenTree>,
        rest: Vec<TokenTree>,
    ) -> Result<Function, Error> {
        let what = kind.name();
        let (Some(name), Some(after), Some(TokenTree::Group(body))) = (rest.get(1), rest.get(2), rest.last())
        else {
            return Err(Error::new(Span::call_site(), format!("{what} needs a function with a body")));
        };
        match after {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => {
                if let Some(argument) = group.stream().into_iter().next() {
                    let message =
                        format!("a function under {what} takes no arguments: nobody is there to pass them");
                    return Err(Error::new(argument.span(), message));
                }
            }
            _ => {
                let message = format!("a function under {what} cannot be generic");
                return Err(Error::new(after.span(), message));
            }
        }
        if body.delimiter() != Delimiter::Brace {
            return Err(Error::new(body.span(), format!("{what} needs a function with a body")));
        }
        let (name, body) = (name.clone(), body.clone());
        let signature = rest[2..rest.len() - 1].to_vec();
        Ok(Function { attributes, visibility, rest, name, signature, body })
    }
}
