//! What a model's files say of prompts, and that they are read again when they change.

use crate::support;
use std::path::Path;
use std::time::Duration;
use warmpath::config::Pool;
use warmpath::events::format::{FormatError, Note, Written};
use warmpath::events::formats::Formats;
use warmpath_config::Prompt;

const TOKENIZER: &str = include_str!("../../../tests/engine/data/tiny-model/tokenizer.json");
const CONFIG: &str = include_str!("../../../tests/engine/data/tiny-model/tokenizer_config.json");

fn prompt(path: &Path) -> Prompt {
    Prompt { tokenizer: path.to_string_lossy().into_owned(), ..Prompt::default() }
}

fn model(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

#[test]
fn a_model_is_read_from_its_directory_or_its_tokenizer() {
    let directory = model(&[("tokenizer.json", TOKENIZER), ("tokenizer_config.json", CONFIG)]);
    let written = Written::read(&prompt(directory.path())).unwrap();
    assert!(written.template.contains("<|im_start|>"));
    let special = |name: &str| written.special_tokens.iter().find(|(known, _)| known == name);
    assert_eq!(special("eos_token").unwrap().1, "<|im_end|>");
    assert_eq!(special("bos_token"), None, "it is null");
    assert_eq!((written.format.text_prefix.as_str(), written.notes.len()), ("", 0));
    let alone = Written::read(&prompt(&directory.path().join("tokenizer.json"))).unwrap();
    assert_eq!((alone.id, alone.tokens), (written.id, written.tokens));
}

#[test]
fn the_template_is_the_one_that_engines_take() {
    let named =
        r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}"#;
    let of = |files: &[(&str, &str)], change: &dyn Fn(&mut Prompt, &Path)| {
        let directory = model(&[&[("tokenizer.json", TOKENIZER)], files].concat());
        let mut prompt = prompt(directory.path());
        change(&mut prompt, directory.path());
        let written = Written::read(&prompt).unwrap();
        (written.template, written.notes)
    };
    let nothing = |_: &mut Prompt, _: &Path| {};
    assert_eq!(of(&[], &nothing), (String::new(), vec![Note::NoTemplate]));
    assert_eq!(of(&[("tokenizer_config.json", named)], &nothing), ("d".to_owned(), vec![]));
    let beside = [("tokenizer_config.json", named), ("chat_template.jinja", "j")];
    assert_eq!(of(&beside, &nothing), ("j".to_owned(), vec![]));
    let own = |prompt: &mut Prompt, directory: &Path| {
        let path = directory.join("own.jinja");
        std::fs::write(&path, "o").unwrap();
        prompt.chat_template = Some(path.to_string_lossy().into_owned());
    };
    assert_eq!(of(&beside, &own), ("o".to_owned(), vec![]));
}

#[test]
fn chats_that_engines_write_by_their_own_code_have_no_template() {
    let of = |name: &str, content: &str| {
        let files = [("tokenizer.json", TOKENIZER), ("chat_template.jinja", "j"), (name, content)];
        let directory = model(&files);
        let beside = Written::read(&prompt(directory.path())).unwrap();
        let named = directory.path().join("chat_template.jinja").to_string_lossy().into_owned();
        let named = Prompt { chat_template: Some(named), ..prompt(directory.path()) };
        assert_eq!(
            Written::read(&named).unwrap().template,
            "j",
            "{content}: where a template is named, it counts"
        );
        (beside.template, beside.notes)
    };
    let coded = [
        ("config.json", r#"{"model_type": "gpt_oss", "architectures": ["GptOssForCausalLM"]}"#),
        ("config.json", r#"{"model_type": "deepseek_v32", "architectures": ["DeepseekV32ForCausalLM"]}"#),
        ("config.json", r#"{"architectures": ["DeepseekV41ForCausalLM"]}"#),
        (
            "config.json",
            r#"{"model_type": "inkling_mm_model", "architectures": ["InklingForConditionalGeneration"]}"#,
        ),
        ("tekken.json", "{}"),
    ];
    for (name, content) in coded {
        assert_eq!(of(name, content), (String::new(), vec![Note::Coded]), "{content}");
    }
    let templated = [
        r#"{"model_type": "cohere2", "architectures": ["Cohere2ForCausalLM"]}"#,
        r#"{"model_type": "glm_moe_dsa", "architectures": ["GlmMoeDsaForCausalLM"]}"#,
        r#"{"architectures": "DeepseekV32ForCausalLM"}"#,
    ];
    for content in templated {
        assert_eq!(of("config.json", content), ("j".to_owned(), vec![]), "{content}");
    }
}

#[test]
fn the_first_token_is_as_the_configuration_says() {
    let adds = r#"{"bos_token": {"content": "<|endoftext|>"}, "add_bos_token": true}"#;
    let directory = model(&[("tokenizer.json", TOKENIZER), ("tokenizer_config.json", adds)]);
    let written = Written::read(&prompt(directory.path())).unwrap();
    assert_eq!(written.format.text_prefix, "<|endoftext|>");
}

#[test]
fn files_that_are_of_no_use_are_named() {
    let missing = Written::read(&prompt(Path::new("/nowhere"))).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read /nowhere: mount the model's tokenizer there");
    let broken = model(&[("tokenizer.json", "{}")]);
    let broken = Written::read(&prompt(broken.path())).unwrap_err();
    assert!(matches!(broken, FormatError::Tokenizer { .. }), "{broken}");
    let config = model(&[("tokenizer.json", TOKENIZER), ("tokenizer_config.json", "[]")]);
    let config = Written::read(&prompt(config.path())).unwrap_err();
    assert!(matches!(config, FormatError::NoObject { .. }), "{config}");
}

/// Often, so that no test waits.
const LOOKS: Duration = Duration::from_millis(5);

fn pool_of(path: &Path) -> Pool {
    Pool { prompt: Some(prompt(path)), ..Pool::default() }
}

#[tokio::test]
async fn files_that_change_are_read_again() {
    let directory = model(&[("tokenizer.json", TOKENIZER), ("chat_template.jinja", "one")]);
    let pools = [pool_of(directory.path())];
    let mut formats = Formats::new(LOOKS);
    let template = |formats: &Formats| formats.of(&pools[0]).unwrap().template.clone();
    formats.follow(&pools);
    formats.known(Duration::from_mins(1)).await;
    assert_eq!(template(&formats), "one");
    let mut changes = formats.changes();
    changes.borrow_and_update();
    std::fs::write(directory.path().join("chat_template.jinja"), "another").unwrap();
    changes.changed().await.unwrap();
    assert_eq!(template(&formats), "another");
    std::fs::remove_file(directory.path().join("tokenizer.json")).unwrap();
    changes.changed().await.unwrap();
    assert_eq!(template(&formats), "another", "what was good stays");
    assert!(formats.fault(&pools[0]).unwrap().contains("cannot read"));
    formats.follow(&[]);
    assert!(formats.of(&pools[0]).is_none());
}

#[tokio::test]
async fn a_volume_that_hangs_holds_up_no_other_model() {
    let (hangs, reads) = (model(&[]), model(&[("tokenizer.json", TOKENIZER)]));
    // Whoever opens it waits for somebody who writes.
    let made = std::process::Command::new("mkfifo").arg(hangs.path().join("tokenizer.json")).status();
    assert!(made.unwrap().success());
    let pools = [hangs, reads].map(|directory| (pool_of(directory.path()), directory));
    let mut formats = Formats::new(LOOKS);
    formats.follow(&pools.each_ref().map(|(pool, _)| pool.clone()));
    let [hangs, reads] = pools.each_ref().map(|(pool, _)| pool);
    support::until("the other one is read", async || formats.of(reads)).await;
    assert!(formats.of(hangs).is_none() && formats.fault(hangs).is_none(), "it may respond");
}
