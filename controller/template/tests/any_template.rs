//! Whatever a model's directory holds: a template or a reason, and no rendering without an end.

use proptest::prelude::*;
use warmpath_jinja::{ContentFormat, Source, Template};
use warmpath_template::{Chat, Unwritten};

const CHAT: Chat<'_> = Chat {
    messages: br#"[{"role":"user","content":"a b"}]"#,
    tools: None,
    documents: None,
    arguments: None,
    reasoning_effort: None,
    is_continued: false,
    has_no_generation_prompt: false,
};

fn rendered(template: &str) -> Option<Result<String, Unwritten>> {
    let template = Template::compile(&Source { template, ..Source::default() }).ok()?;
    Some(template.render(&CHAT, Some(0)))
}

#[test]
fn a_template_that_never_ends_is_stopped() {
    for endless in [
        "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}x{% endfor %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 'x' * 1000000000 }}",
        "{% set ns = namespace(s='x') %}{% for a in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    ] {
        assert!(
            matches!(rendered(endless), Some(Err(Unwritten::TooCostly | Unwritten::Failed))),
            "{endless}"
        );
    }
}

#[test]
fn each_failure_has_its_reason() {
    assert_eq!(rendered("{{ raise_exception('no') }}"), Some(Err(Unwritten::Refused)));
    assert_eq!(rendered("{{ strftime_now('%Y') }}"), Some(Ok("1970".into())));
    assert_eq!(rendered("{{ messages.x.y }}"), Some(Err(Unwritten::Failed)));
    assert_eq!(rendered("{% for %}"), None);
}

proptest! {
    #[test]
    fn any_source_has_an_end(
        source in r"(\{%-? |\{\{ | -?%\}| \}\}|for |in |if |endfor|endif|set |macro |endmacro|messages|content|loop|x|\.|\[|\]|\(|\)|'|\||tojson|trim|=|,|-|1|[a-z ]|\PC){0,40}",
    ) {
        let _ = ContentFormat::of(&source);
        let _ = rendered(&source);
    }
}
