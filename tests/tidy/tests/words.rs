//! Words that readers of the docs and of the product stumble over.
//!
//! One word for each thing, the field's own: an engine gives a response, a message is sent or published, a receiver
//! learns of a change. The list holds words that were used for these in several senses, and the phrases that came with
//! them. It looks into identifiers as well: `was_told` and `TellResult` count.

use warmpath_tidy::{assert_none, files};

/// The words, with their replacements.
const BANNED: [(&[&str], &str); 6] = [
    (&["answer", "answers", "answered", "answering"], "response, respond; result, return for a function"),
    (&["tell", "tells", "told", "telling", "untold"], "send, publish, report; distinguish"),
    (&["hear", "hears", "heard"], "receive"),
    (&["news"], "change, update"),
    (&["owe", "owes", "owed"], "pending"),
    (&["dear", "dearer", "dearest"], "expensive"),
];

/// Phrases with one reading too many, in lower case.
const BANNED_PHRASES: [&str; 9] = [
    "is no field",
    "is no url",
    "is no number",
    "is no error",
    "who finds",
    "who has ",
    " ten other",
    "made-up",
    "what it says",
];

/// Where the words are looked for: the product and what its users and contributors read.
const SEARCHED: [&str; 17] = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "controller/",
    "docs/",
    "envoy/",
    "filters/",
    "istio/",
    "tests/README.md",
    "tests/cluster/",
    "tests/engine/",
    "tests/gateways/",
    "tests/host/",
    "tests/http/",
    "tests/report/",
    "tests/wasm/",
];

/// Lines that may keep a banned word, by a part of their text, with the reason.
const ALLOWED: [(&str, &str, &str); 1] =
    [("README.md", "Tell me a story.", "a prompt for the reader to send")];

#[test]
fn the_product_and_its_docs_avoid_words_with_several_meanings() {
    let mut offenders = Vec::new();
    for file in files(&[".rs", ".md", ".yaml", ".toml"]) {
        if !SEARCHED.iter().any(|start| file.path.starts_with(start)) {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            if ALLOWED.iter().any(|(path, text, _)| file.path == *path && line.contains(text)) {
                continue;
            }
            if let Some((found, instead)) = offence(line) {
                offenders.push(format!("{}:{}: `{found}` (instead: {instead})", file.path, number + 1));
            }
        }
    }
    assert_none(&offenders, "words with a better one");
}

#[test]
fn words_are_found_in_prose_and_in_identifiers() {
    for line in ["it was told so", "fn was_told()", "enum TellResult", "Told.", "struct HTTPAnswer;"] {
        assert!(offence(line).is_some(), "{line}");
    }
    for line in ["a teller", "untellable", "shear", "newsletter", "fn answerable()"] {
        assert_eq!(offence(line), None, "{line}");
    }
}

fn offence(line: &str) -> Option<(String, &'static str)> {
    let lower = line.to_lowercase();
    if let Some(phrase) = BANNED_PHRASES.iter().find(|phrase| lower.contains(**phrase)) {
        return Some(((*phrase).to_owned(), "a plain sentence"));
    }
    words(line).into_iter().find_map(|word| {
        let (_, instead) = BANNED.iter().find(|(words, _)| words.contains(&word.as_str()))?;
        Some((word, *instead))
    })
}

/// The words of a line in lower case, identifiers taken apart at underscores and capitals.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut letters = line.chars().peekable();
    let mut was_lower = false;
    while let Some(letter) = letters.next() {
        let starts =
            letter.is_uppercase() && (was_lower || letters.peek().is_some_and(|next| next.is_lowercase()));
        if (starts || !letter.is_alphabetic()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_alphabetic() {
            word.extend(letter.to_lowercase());
        }
        was_lower = letter.is_lowercase();
    }
    words.push(word);
    words
}
