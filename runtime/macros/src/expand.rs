//! Writes the new function: the old one, `async`, inside a plain one of the same name that runs it.
//!
//! The old function is kept token by token, so that the compiler's messages point into it.
#![forbid(unsafe_code)]

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

use crate::parse::{Arguments, Error, Function};

/// Which attribute is being expanded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Macro {
    Main,
    Test,
}

impl Macro {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Macro::Main => "`#[filch::main]`",
            Macro::Test => "`#[filch::test]`",
        }
    }
}

pub(crate) fn expand(kind: Macro, arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = match Function::parse(kind, item.clone()) {
        Ok(function) => function,
        // The item stays, so that no second error says that it is missing.
        Err(error) => return item.into_iter().chain(compile_error(error)).collect(),
    };
    let (arguments, error) = match Arguments::parse(kind, arguments) {
        Ok(arguments) => (arguments, None),
        Err(error) => (Arguments::default(), Some(compile_error(error))),
    };
    write(kind, &arguments, function).into_iter().chain(error.into_iter().flatten()).collect()
}

/// `#[test] vis fn name() -> T { async fn name() -> T { body } run(name) }`
fn write(kind: Macro, arguments: &Arguments, function: Function) -> TokenStream {
    let run = if arguments.paused {
        paused(arguments, &function.name)
    } else {
        let mut run = parse(builder(kind, arguments));
        run.extend(arguments.workers.iter().map(|number| {
            // `.workers(N)`, with the user's own token, so that an error about its type points there.
            TokenTree::from(Group::new(Delimiter::Parenthesis, TokenStream::from(number.clone())))
        }));
        run.extend(parse(".build().unwrap_or_else(::filch::__private::no_start).block_on"));
        run.extend([parenthesised(call(&function.name))]);
        run
    };
    let mut inside = parse("async");
    inside.extend(function.rest);
    inside.extend(run);
    let mut body = Group::new(Delimiter::Brace, inside);
    body.set_span(function.body.span());

    let mut output = match kind {
        Macro::Main => TokenStream::new(),
        Macro::Test => parse("#[::core::prelude::v1::test]"),
    };
    output.extend(function.attributes);
    output.extend(function.visibility);
    output.extend(parse("fn"));
    output.extend([function.name]);
    output.extend(function.signature);
    output.extend([TokenTree::from(body)]);
    output
}

fn builder(kind: Macro, arguments: &Arguments) -> &'static str {
    if arguments.single_thread {
        "::filch::Builder::single_thread()"
    } else if arguments.workers.is_some() {
        "::filch::Builder::new().workers"
    } else if kind == Macro::Test {
        "::filch::Builder::new().workers(2)"
    } else {
        "::filch::Builder::new()"
    }
}

/// `::filch::__private::paused_test(seed, "name", name, |output| failed)`
fn paused(arguments: &Arguments, name: &TokenTree) -> TokenStream {
    let mut inside = TokenStream::new();
    match &arguments.seed {
        Some(seed) => {
            inside.extend(parse("::core::option::Option::Some"));
            inside.extend([parenthesised(TokenStream::from(seed.clone()))]);
        }
        None => inside.extend(parse("::core::option::Option::None")),
    }
    inside.extend(parse(","));
    inside.extend([TokenTree::from(Literal::string(&name.to_string()))]);
    inside.extend(parse(","));
    inside.extend([name.clone()]);
    // Which of the two traits answers depends on whether the output is a `Result`: see `filch::__private`.
    inside.extend(parse(
        ", |output| { use ::filch::__private::{FailedOther as _, FailedResult as _}; output.filch_failed() }",
    ));
    let mut run = parse("::filch::__private::paused_test");
    run.extend([parenthesised(inside)]);
    run
}

/// `name()`
fn call(name: &TokenTree) -> TokenStream {
    [name.clone(), parenthesised(TokenStream::new())].into_iter().collect()
}

fn parenthesised(inside: TokenStream) -> TokenTree {
    TokenTree::from(Group::new(Delimiter::Parenthesis, inside))
}

/// Parses what this file spells out, which is always well formed.
fn parse(code: &str) -> TokenStream {
    code.parse().unwrap_or_else(|error| compile_error_at(Span::call_site(), &format!("{code}: {error:?}")))
}

fn compile_error(error: Error) -> TokenStream {
    compile_error_at(error.span, &error.message)
}

/// `::core::compile_error! { "message" }`, every token of it at `span`.
fn compile_error_at(span: Span, message: &str) -> TokenStream {
    let colon = |spacing| TokenTree::from(Punct::new(':', spacing));
    let mut literal = TokenTree::from(Literal::string(message));
    literal.set_span(span);
    let tokens = [
        colon(Spacing::Joint),
        colon(Spacing::Alone),
        TokenTree::from(Ident::new("core", span)),
        colon(Spacing::Joint),
        colon(Spacing::Alone),
        TokenTree::from(Ident::new("compile_error", span)),
        TokenTree::from(Punct::new('!', Spacing::Alone)),
        TokenTree::from(Group::new(Delimiter::Brace, TokenStream::from(literal))),
    ];
    tokens
        .into_iter()
        .map(|mut token| {
            token.set_span(span);
            token
        })
        .collect()
}
