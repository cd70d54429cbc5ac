//! How a template takes the content of a message: as one string, or as a list of parts.
//!
//! vLLM finds out by what the template does: one that loops over the content of a message takes parts. It looks at the syntax
//! tree, for names that stand for the messages, loops over those, and loops over the content of what such a loop yields. Here
//! the same is read from the tags' tokens: the template engine does not publish its tree.

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentFormat {
    /// As one string; the parts are joined by newlines.
    Text,
    /// As a list of parts.
    Parts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Name(String),
    Text(String),
    Number,
    Sign(char),
}

/// `for target in iterated`.
struct Loop {
    target: Vec<Token>,
    iterated: Vec<Token>,
    /// The innermost macro around it, by its place in the list.
    within: Option<usize>,
}

struct Macro {
    name: String,
    parameters: Vec<String>,
}

/// What the tags of a template show.
#[derive(Default)]
struct Outline {
    assigned: Vec<(Vec<Token>, Vec<Token>)>,
    loops: Vec<Loop>,
    macros: Vec<Macro>,
    /// All expressions and statements.
    tags: Vec<Vec<Token>>,
}

/// A loop that vLLM does not understand: it gives up, and takes the template for one that takes strings.
struct NotUnderstood;

// === impl ContentFormat ===

impl ContentFormat {
    /// What vLLM takes a template for.
    pub fn of(template: &str) -> Self {
        match Outline::of(template).takes_parts() {
            Ok(true) => Self::Parts,
            Ok(false) | Err(NotUnderstood) => Self::Text,
        }
    }
}

// === impl Outline ===

impl Outline {
    fn of(template: &str) -> Self {
        let mut outline = Self::default();
        let mut open_macros = Vec::new();
        for (is_statement, tag) in tags(template) {
            if is_statement {
                outline.add_statement(&tag, &mut open_macros);
            }
            outline.tags.push(tag);
        }
        outline
    }

    fn add_statement(&mut self, tag: &[Token], open_macros: &mut Vec<usize>) {
        let Some((Token::Name(keyword), rest)) = tag.split_first() else { return };
        match keyword.as_str() {
            "set" => {
                if let Some(at) = rest.iter().position(|token| *token == Token::Sign('=')) {
                    let (target, value) = rest.split_at(at);
                    self.assigned.push((target.to_vec(), value.get(1..).unwrap_or_default().to_vec()));
                }
            }
            "for" => {
                let Some(at) = rest.iter().position(|token| is_name(token, "in")) else { return };
                let (target, iterated) = rest.split_at(at);
                let iterated = iterated.get(1..).unwrap_or_default();
                let end =
                    iterated.iter().position(|token| is_name(token, "if") || is_name(token, "recursive"));
                let iterated = iterated.get(..end.unwrap_or(iterated.len())).unwrap_or_default().to_vec();
                let within = open_macros.last().copied();
                self.loops.push(Loop { target: target.to_vec(), iterated, within });
            }
            "macro" => {
                let Some((Token::Name(name), signature)) = rest.split_first() else { return };
                let parameters =
                    arguments(signature).into_iter().filter_map(|argument| match argument.first() {
                        Some(Token::Name(name)) => Some(name.clone()),
                        _ => None,
                    });
                open_macros.push(self.macros.len());
                self.macros.push(Macro { name: name.clone(), parameters: parameters.collect() });
            }
            "endmacro" => {
                open_macros.pop();
            }
            _ => {}
        }
    }

    fn takes_parts(&self) -> Result<bool, NotUnderstood> {
        let messages = self.message_names()?;
        let is_content =
            |tokens: &[Token]| messages.iter().any(|name| stands_for(tokens, name, Some("content")));
        for found in &self.loops {
            let plain = match found.iterated.as_slice() {
                [Token::Name(name)] => Some(name),
                _ => None,
            };
            let is_over_content = is_content(&found.iterated)
                || plain.is_some_and(|name| match found.within.and_then(|at| self.macros.get(at)) {
                    Some(within) => self.contents_of(within, &is_content).contains(name),
                    None => name == "content",
                });
            if is_over_content {
                return single_name(&found.target).map(|_| true);
            }
        }
        Ok(false)
    }

    /// The names that loops over the messages give to one of them.
    fn message_names(&self) -> Result<Vec<String>, NotUnderstood> {
        let mut lists = vec!["messages".to_owned()];
        let mut next = 0;
        while let Some(list) = lists.get(next).cloned() {
            next += 1;
            for (target, value) in &self.assigned {
                if stands_for(value, &list, None) {
                    let name = single_name(target)?;
                    if !lists.contains(&name) {
                        lists.push(name);
                    }
                }
            }
        }
        let over_messages = self
            .loops
            .iter()
            .filter(|found| lists.iter().any(|list| stands_for(&found.iterated, list, None)));
        over_messages.map(|found| single_name(&found.target)).collect()
    }

    /// The parameters of a macro that stand for the content of a message in one of its calls.
    fn contents_of(&self, called: &Macro, is_content: &impl Fn(&[Token]) -> bool) -> Vec<String> {
        let mut contents = Vec::new();
        for tag in &self.tags {
            for (at, token) in tag.iter().enumerate() {
                let is_defined_here = at > 0 && tag.first().is_some_and(|token| is_name(token, "macro"));
                if !is_name(token, &called.name) || is_defined_here {
                    continue;
                }
                for (place, argument) in
                    arguments(tag.get(at + 1..).unwrap_or_default()).into_iter().enumerate()
                {
                    match argument.as_slice() {
                        [Token::Name(name), Token::Sign('='), value @ ..] if is_content(value) => {
                            contents.push(name.clone());
                        }
                        value if is_content(value) => contents.extend(called.parameters.get(place).cloned()),
                        _ => {}
                    }
                }
            }
        }
        contents
    }
}

fn single_name(target: &[Token]) -> Result<String, NotUnderstood> {
    match target {
        [Token::Name(name)] => Ok(name.clone()),
        _ => Err(NotUnderstood),
    }
}

fn is_name(token: &Token, name: &str) -> bool {
    matches!(token, Token::Name(found) if found == name)
}

/// Whether an expression is a variable, or a field of it, filtered, tested or cut in any way.
fn stands_for(tokens: &[Token], variable: &str, key: Option<&str>) -> bool {
    let Some((first, mut rest)) = tokens.split_first() else { return false };
    if !is_name(first, variable) {
        return false;
    }
    if let Some(key) = key {
        rest = match rest {
            [Token::Sign('.'), Token::Name(name), rest @ ..] if name == key => rest,
            [Token::Sign('['), Token::Text(text), Token::Sign(']'), rest @ ..] if text == key => rest,
            _ => return false,
        };
    }
    loop {
        rest = match rest {
            [] => return true,
            [Token::Sign('['), ..] => {
                let (inner, after) = bracketed(rest);
                if !inner.contains(&Token::Sign(':')) {
                    return false;
                }
                after
            }
            [Token::Sign('|'), Token::Name(_), after @ ..] => without_call(after),
            [Token::Name(is), Token::Name(test), after @ ..] if is == "is" && test != "not" => {
                match without_call(after) {
                    [Token::Number | Token::Text(_), after @ ..] | after => after,
                }
            }
            _ => return false,
        };
    }
}

fn without_call(tokens: &[Token]) -> &[Token] {
    if tokens.first() == Some(&Token::Sign('(')) { bracketed(tokens).1 } else { tokens }
}

/// What is between an opening bracket, which comes first, and its counterpart; and what follows.
fn bracketed(tokens: &[Token]) -> (&[Token], &[Token]) {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    let (inside, after) = tokens.split_at(at);
                    return (inside.get(1..).unwrap_or_default(), after.get(1..).unwrap_or_default());
                }
            }
            _ => {}
        }
    }
    (tokens.get(1..).unwrap_or_default(), &[])
}

/// The arguments of the call that begins here.
fn arguments(tokens: &[Token]) -> Vec<Vec<Token>> {
    if tokens.first() != Some(&Token::Sign('(')) {
        return Vec::new();
    }
    let mut found = vec![Vec::new()];
    let mut depth = 0_usize;
    for token in bracketed(tokens).0 {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
            Token::Sign(',') if depth == 0 => {
                found.push(Vec::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = found.last_mut() {
            last.push(token.clone());
        }
    }
    found
}

/// The tokens of each tag, and whether it is a statement.
pub(crate) fn tags(template: &str) -> Vec<(bool, Vec<Token>)> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        rest = rest.get(at + 1..).unwrap_or_default();
        if let Some(comment) = rest.strip_prefix('#') {
            rest = comment.split_once("#}").map_or("", |(_, after)| after);
        } else if let Some(tag) = rest.strip_prefix(['%', '{']) {
            let is_statement = rest.starts_with('%');
            let (tokens, after) = tokens(tag, if is_statement { "%}" } else { "}}" });
            found.push((is_statement, tokens));
            rest = after;
        }
    }
    found
}

/// The tokens up to the end of a tag, and what follows.
fn tokens<'a>(tag: &'a str, end: &str) -> (Vec<Token>, &'a str) {
    let mut found = Vec::new();
    let mut rest = tag.strip_prefix(['-', '+']).unwrap_or(tag);
    let mut open = 0_usize;
    loop {
        rest = rest.trim_start();
        if open == 0
            && let Some(after) = rest.trim_start_matches(['-', '+']).strip_prefix(end)
        {
            return (found, after);
        }
        let Some(first) = rest.chars().next() else { return (found, "") };
        if first == '"' || first == '\'' {
            let (text, after) = quoted(rest.get(1..).unwrap_or_default(), first);
            found.push(Token::Text(text));
            rest = after;
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let (word, after) = rest.split_at(length);
            let is_number = first.is_ascii_digit();
            found.push(if is_number { Token::Number } else { Token::Name(word.to_owned()) });
            rest = after;
        } else {
            match first {
                '(' | '[' | '{' => open += 1,
                ')' | ']' | '}' => open = open.saturating_sub(1),
                _ => {}
            }
            let (_, after) = rest.split_at(first.len_utf8());
            // A comparison is no assignment.
            if let Some(after) = rest.strip_prefix("==") {
                found.push(Token::Sign('~'));
                rest = after;
            } else {
                found.push(Token::Sign(first));
                rest = after;
            }
        }
    }
}

fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        if character == quote && !is_escaped {
            let (inside, after) = text.split_at(at);
            return (inside.to_owned(), after.get(1..).unwrap_or_default());
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    (text.to_owned(), "")
}
