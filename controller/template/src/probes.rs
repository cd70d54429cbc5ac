//! The chats that a template is tried with.
//!
//! A script is a word of messages, one letter each. Every text in it holds a mark of its own, has space around it, and quotes and
//! letters beyond ASCII in it, so that what the template does to the text shows.

use serde_json::{Value, json};
use std::fmt::Write;

/// What every mark begins with. No template has it.
pub(crate) const MARK: &str = "zq";

/// Turns of a conversation: the user, what the assistant does about it, and the assistant's last word.
///
/// `a` the assistant's text, `r` with reasoning; `A` and `B` a call with and without text, `D` and `C` two calls; `Q` and `q` a call
/// with reasoning, with and without text; `t` a tool's result, `n` one that names its tool.
const TURNS: [&str; 13] = [
    "ua", "ur", "uBta", "uAta", "uCtta", "uDtta", "uqta", "uQtr", "uBtAta", "uqtqtr", "uCttBna", "uAtQta",
    "uBtqta",
];

/// Turns before the one that is looked at.
const BEFORE: [&str; 2] = ["", "uBta"];

/// Words that are no turns.
const OTHERS: [&str; 16] = [
    "uu", "uua", "a", "au", "us", "uas", "uasua", "uasu", "uaus", "usu", "ssu", "uaau", "uBtu", "uBn",
    "uBna", "uBnuBna",
];

/// With several parts: `S`, `U` and `P` of the system, the user and the assistant.
const PARTS: [&str; 8] = ["U", "Su", "SU", "sU", "uPu", "UPU", "UaU", "uaU"];

/// The tools of a chat: whether each has a description and parameters, and whether it says that it is strict.
const TOOLS: [(bool, bool, Option<bool>); 9] = [
    (true, true, None),
    (true, true, None),
    (false, true, None),
    (true, false, None),
    (false, false, None),
    (true, true, Some(true)),
    (true, true, Some(false)),
    (false, true, Some(true)),
    (true, false, Some(false)),
];

/// Of the words from which a table is learned, one in so many is compared again, with other texts.
const STEP: usize = 4;

/// A chat to be rendered.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) messages: Vec<u8>,
    pub(crate) tools: Option<Vec<u8>>,
    pub(crate) has_no_generation_prompt: bool,
}

/// How texts look in a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Texts {
    /// As the module says.
    Marked,
    /// Of many kinds, by the number of the probe.
    Mixed(usize),
    /// Empty for messages of this letter, as many kinds otherwise.
    Empty(char),
}

/// The probes from which a table is learned.
pub(crate) fn to_learn(has_tools: bool, has_parts: bool) -> Vec<Probe> {
    let mut probes: Vec<Probe> =
        words(has_parts).iter().map(|word| probe(word, has_tools, Texts::Marked)).collect();
    let closed = |word: &&String| word.ends_with(['a', 'r']);
    for word in words(has_parts).iter().filter(closed) {
        probes.push(Probe { has_no_generation_prompt: true, ..probe(word, has_tools, Texts::Marked) });
    }
    probes
}

/// Chats that few clients send. What they contradict is kept, and they are not written.
pub(crate) fn rare(has_tools: bool) -> Vec<Probe> {
    let words = with_and_without_system(OTHERS.map(str::to_owned).to_vec());
    words.iter().map(|word| probe(word, has_tools, Texts::Marked)).collect()
}

/// Other chats, to compare with what was learned: the same words with other texts, and longer conversations.
pub(crate) fn to_compare(has_tools: bool, has_parts: bool) -> Vec<Probe> {
    let mut words: Vec<String> = words(has_parts).into_iter().step_by(STEP).collect();
    words.extend(with_and_without_system(OTHERS.map(str::to_owned).to_vec()));
    for (at, first) in TURNS.iter().enumerate() {
        for (step, second) in TURNS.iter().enumerate() {
            let third = TURNS.get((at * 5 + step * 3) % TURNS.len()).copied().unwrap_or_default();
            let cut = third.get(..1 + (at + step) % third.len()).unwrap_or(third);
            let system = if (at + step).is_multiple_of(2) { "s" } else { "" };
            words.push([system, first, second, cut].concat());
        }
    }
    let mixed = |(number, word): (usize, &String)| probe(word, has_tools, Texts::Mixed(number));
    words.iter().enumerate().map(mixed).collect()
}

/// Chats in which the messages of one letter are empty.
pub(crate) fn with_empty(letter: char, has_tools: bool) -> Vec<Probe> {
    let words = words(false);
    words
        .iter()
        .filter(|word| word.contains(letter))
        .map(|word| probe(word, has_tools, Texts::Empty(letter)))
        .collect()
}

/// A chat whose messages have names or other fields that few templates read.
pub(crate) fn with_names() -> [Probe; 2] {
    let plain = probe("suau", false, Texts::Marked);
    let text = String::from_utf8_lossy(&plain.messages);
    let named = text.replace("\"role\":\"", "\"name\":\"zqname\",\"task\":\"zqtask\",\"role\":\"");
    [plain.clone(), Probe { messages: named.into_bytes(), ..plain }]
}

fn words(has_parts: bool) -> Vec<String> {
    let mut words = Vec::new();
    for turn in TURNS {
        for before in BEFORE {
            words
                .extend((1..=turn.len()).filter_map(|end| turn.get(..end)).map(|cut| [before, cut].concat()));
            words.push([before, turn, "u"].concat());
            words.push([before, turn, "uBt"].concat());
        }
    }
    if has_parts {
        words.extend(PARTS.map(str::to_owned));
    }
    with_and_without_system(words)
}

fn with_and_without_system(mut words: Vec<String>) -> Vec<String> {
    let with_system =
        words.iter().filter(|word| !word.starts_with(['s', 'S'])).map(|word| ["s", word].concat());
    let with_system: Vec<String> = with_system.collect();
    words.extend(with_system);
    words.sort();
    words.dedup();
    words
}

pub(crate) fn probe(word: &str, has_tools: bool, texts: Texts) -> Probe {
    let mut writer = Writer { texts, marks: 0, letter: ' ' };
    let mut messages = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    for letter in word.chars() {
        writer.letter = letter;
        messages.push(writer.message(letter, &mut ids));
    }
    let tools = has_tools.then(|| writer.tools());
    let bytes = |value: &[Value]| serde_json::to_vec(value).unwrap_or_default();
    Probe { messages: bytes(&messages), tools: tools.as_deref().map(bytes), has_no_generation_prompt: false }
}

struct Writer {
    texts: Texts,
    marks: usize,
    letter: char,
}

impl Writer {
    fn mark(&mut self) -> String {
        self.marks += 1;
        let mut mark = MARK.to_owned();
        // Into a string, nothing fails.
        _ = write!(mark, "{:07}", self.marks);
        mark
    }

    fn text(&mut self) -> String {
        let mark = self.mark();
        let number = match self.texts {
            Texts::Marked => return format!("\n\n\n \t{mark} \"\u{e9}\" \\ it's\n <b>\n\n more \n\n\n"),
            Texts::Empty(letter) if letter == self.letter => return String::new(),
            Texts::Empty(_) => self.marks,
            Texts::Mixed(number) => number + self.marks,
        };
        match number % 9 {
            0 => mark,
            1 => format!("{mark}\n"),
            2 => format!("  {mark} \u{65e5}\u{672c}\u{8a9e} \u{1f469}\u{200d}\u{1f4bb}"),
            3 => format!("\n\n{mark} a\tb\r\nc\n\n"),
            4 => format!("{{\"{mark}\": [1, \"\\u00e9\"]}}"),
            5 => format!("{mark} <|end|> [INST] <tag> </s> ### 'quoted' \"twice\" \\n"),
            6 => format!("\t{mark}\u{a0}\u{2028}"),
            7 => format!("`{mark}`\n```json\n{{}}\n```"),
            _ => format!("{mark} {}", "word ".repeat(number % 40)),
        }
    }

    fn arguments(&mut self) -> String {
        let mark = self.mark();
        let number = if let Texts::Mixed(number) = self.texts { number } else { 0 };
        match number % 3 {
            1 => format!("{{\"{mark}\":1.50}}"),
            2 => format!("{{ \"a\" : {{\"b\":[ ]}},\"{mark}\":\"\\n\\u00e9\" }}"),
            _ => format!("{{\"k\": \"{mark} \\\"\u{e9}\\n<\", \"n\": [1, 2.5, null, true], \"o\": {{}}}}"),
        }
    }

    fn call(&mut self, ids: &mut Vec<String>) -> Value {
        let id = self.mark();
        ids.push(id.clone());
        let name = self.mark();
        json!({"id": id, "type": "function", "function": {"name": name, "arguments": self.arguments()}})
    }

    fn parts(&mut self) -> Value {
        let parts = [self.text(), self.text(), self.text()];
        parts.iter().map(|text| json!({"type": "text", "text": text})).collect()
    }

    fn message(&mut self, letter: char, ids: &mut Vec<String>) -> Value {
        match letter {
            's' => json!({"role": "system", "content": self.text()}),
            'S' => json!({"role": "system", "content": self.parts()}),
            'u' => json!({"role": "user", "content": self.text()}),
            'U' => json!({"role": "user", "content": self.parts()}),
            'P' => json!({"role": "assistant", "content": self.parts()}),
            't' | 'n' => {
                let id = if ids.is_empty() { self.mark() } else { ids.remove(0) };
                let mut result = json!({"role": "tool", "tool_call_id": id, "content": self.text()});
                if letter == 'n' {
                    add(&mut result, "name", json!(self.mark()));
                }
                result
            }
            _ => self.assistant(letter, ids),
        }
    }

    fn assistant(&mut self, letter: char, ids: &mut Vec<String>) -> Value {
        let mut message = json!({"role": "assistant", "content": null});
        if matches!(letter, 'r' | 'q' | 'Q') {
            add(&mut message, "reasoning_content", json!(self.text()));
        }
        if matches!(letter, 'a' | 'r' | 'A' | 'D' | 'Q') {
            add(&mut message, "content", json!(self.text()));
        }
        let calls = match letter {
            'A' | 'B' | 'q' | 'Q' => 1,
            'C' | 'D' => 2,
            _ => 0,
        };
        if calls > 0 {
            add(&mut message, "tool_calls", (0..calls).map(|_| self.call(ids)).collect());
        }
        message
    }

    fn tools(&mut self) -> Vec<Value> {
        let start = self.marks / 3 % TOOLS.len();
        let is_alone = self.marks.is_multiple_of(3);
        let mut tools = Vec::new();
        for (has_description, has_parameters, is_strict) in
            TOOLS.into_iter().cycle().skip(start).take(TOOLS.len())
        {
            let mut function = json!({"name": self.mark()});
            if has_description {
                add(&mut function, "description", json!(format!("{} \"\u{e9}\" does.", self.mark())));
            }
            if has_parameters {
                let mark = self.mark();
                let parameters = json!({
                    "type": "object",
                    "properties": {"p": {"type": "string", "description": mark, "enum": ["a", "b"]}, "items": {"type": "array"}},
                    "required": ["p"],
                });
                add(&mut function, "parameters", parameters);
            }
            if let Some(is_strict) = is_strict {
                add(&mut function, "strict", json!(is_strict));
            }
            tools.push(json!({"type": "function", "function": function}));
        }
        // The first alone, too: what stands before and after the only tool.
        if is_alone {
            tools.truncate(1);
        }
        tools
    }
}

fn add(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}
