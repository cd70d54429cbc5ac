//! A template's source in the dialect of the template engine.
//!
//! `{% generation %}` marks what models are trained to write; for the text of a prompt it is a scope of its own, which
//! `{% with %}` is, too.

use std::borrow::Cow;

/// Replaces the tags that only Hugging Face's templates have.
pub(crate) fn prepared(source: &str) -> Cow<'_, str> {
    if !source.contains("generation") {
        return Cow::Borrowed(source);
    }
    let mut prepared = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        prepared.push_str(before);
        let name = tag.trim_start_matches("{%").trim_start_matches(['-', '+']).trim_start();
        let (head, _) = tag.split_at(tag.len() - name.len());
        prepared.push_str(head);
        rest = name;
        for (theirs, ours) in [("generation", "with"), ("endgeneration", "endwith")] {
            if let Some(after) = name.strip_prefix(theirs)
                && after.trim_start().trim_start_matches(['-', '+']).starts_with("%}")
            {
                prepared.push_str(ours);
                rest = after;
            }
        }
    }
    prepared.push_str(rest);
    Cow::Owned(prepared)
}

#[cfg(test)]
mod tests {
    use super::prepared;

    #[test]
    fn only_the_tags_are_replaced() {
        assert_eq!(prepared("{%- generation -%}a{%endgeneration%}"), "{%- with -%}a{%endwith%}");
        for same in [
            "{% if add_generation_prompt %}generation{% endif %}",
            "{% set generation = 1 %}{{ generation }}",
            "{% generation",
        ] {
            assert_eq!(prepared(same), same);
        }
    }
}
