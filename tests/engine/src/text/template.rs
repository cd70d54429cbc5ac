//! The engine's chat template: messages and tools become one prompt text.
//!
//! ```text
//! <|im_start|>system
//! {tools, one JSON a line}{system text}<|im_end|>
//! <|im_start|>user
//! {content}<|im_end|>
//! <|im_start|>assistant
//! ```
//!
//! ChatML in shape. A conversation's next prompt begins with the last prompt and the last response, byte for byte,
//! so the next turn finds both in the cache.
//!
//! An engine with a model's tokenizer renders as that model's `chat_template` says, written here as code: only the one that
//! [`CHAT_ML`] spells. A renderer of Jinja, shared with the router, would hide its mistakes from the tests.

use serde_json::Value;

/// The only template that [`Template::ChatMl`] is.
pub const CHAT_ML: &str = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// How messages become a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Template {
    /// The engine's own, with tools.
    #[default]
    Own,
    /// [`CHAT_ML`], which knows no tools, and to which vLLM gives several parts of text as so many lines.
    ChatMl,
}

const START: &str = "<|im_start|>";
const END: &str = "<|im_end|>\n";

/// One message of a conversation, its content already flattened to text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// `system`, `user`, `assistant`, `tool`, ...
    pub role: String,
    /// The text.
    pub content: String,
}

// === impl Template ===

impl Template {
    /// The prompt whose response follows `turns`.
    pub fn render(self, tools: &[Value], turns: &[Turn]) -> String {
        match self {
            Self::Own => render(tools, turns),
            Self::ChatMl => render(&[], turns),
        }
    }

    /// What stands between the parts of a message.
    pub fn between_parts(self) -> &'static str {
        match self {
            Self::Own => "",
            Self::ChatMl => "\n",
        }
    }
}

/// The prompt whose response follows `turns`. Tools come first, with the system message if it is the first turn.
fn render(tools: &[Value], turns: &[Turn]) -> String {
    let bytes: usize = turns.iter().map(|turn| turn.content.len() + 64).sum();
    let mut prompt = String::with_capacity(bytes + 64);
    let (system, rest) = match turns.split_first() {
        Some((first, rest)) if first.role == "system" => (Some(first), rest),
        _ => (None, turns),
    };
    if system.is_some() || !tools.is_empty() {
        prompt.extend([START, "system\n"]);
        for tool in tools {
            prompt.push_str(&tool.to_string());
            prompt.push('\n');
        }
        prompt.push_str(system.map_or("", |turn| &turn.content));
        prompt.push_str(END);
    }
    for turn in rest {
        prompt.extend([START, &turn.role, "\n", &turn.content, END]);
    }
    prompt.extend([START, "assistant\n"]);
    prompt
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn turn(role: &str, content: &str) -> Turn {
        Turn { role: role.to_owned(), content: content.to_owned() }
    }

    #[test]
    fn tools_and_system_come_first() {
        let prompt = render(&[json!({"name": "f"})], &[turn("system", "Be kind."), turn("user", "Hi")]);
        assert_eq!(
            prompt,
            "<|im_start|>system\n{\"name\":\"f\"}\nBe kind.<|im_end|>\n\
             <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn the_next_prompt_begins_with_this_prompt_and_its_response() {
        let mut turns = vec![turn("user", "Hi")];
        let prompt = render(&[], &turns);
        turns.extend([turn("assistant", "sun sky "), turn("user", "More")]);
        assert!(render(&[], &turns).starts_with(&(prompt + "sun sky ")));
    }
}
