//! The flags of a command, and how they give way to the user's own.

use std::fmt::Display;

/// The flags of a command, in order.
#[derive(Debug, Default)]
pub(crate) struct Flags(Vec<(String, Vec<String>)>);

// === impl Flags ===

impl Flags {
    /// A flag with a value: `--name=value`.
    pub(crate) fn set(&mut self, name: &str, value: impl Display) {
        self.0.push((name.to_owned(), vec![value.to_string()]));
    }

    /// A flag with a value, where there is one.
    pub(crate) fn set_some(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// A flag without a value.
    pub(crate) fn switch(&mut self, name: &str) {
        self.0.push((name.to_owned(), Vec::new()));
    }

    /// A flag with a list of values, each its own argument.
    pub(crate) fn list(&mut self, name: &str, values: &[String]) {
        // One value could be written with `=`; a list of one is written as a list, so that its meaning does not hang on its length.
        let mut all = vec![String::new()];
        all.extend(values.iter().cloned());
        self.0.push((name.to_owned(), all));
    }

    /// The arguments: those flags that the user has not written, then the user's own as they are.
    pub(crate) fn into_args<'a>(self, user: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
        let named: Vec<String> = user.clone().filter_map(flag_name).collect();
        let mut args = Vec::new();
        for (name, values) in self.0 {
            if named.contains(&canonical(&name)) {
                continue;
            }
            match values.as_slice() {
                [] => args.push(name),
                [value] => args.push(format!("{name}={value}")),
                [_, values @ ..] => {
                    args.push(name);
                    args.extend(values.iter().cloned());
                }
            }
        }
        args.extend(user.map(str::to_owned));
        args
    }
}

/// The name of the flag that an argument begins, in one spelling: engines take dashes for underscores. `None`: it is a value.
pub(crate) fn flag_name(argument: &str) -> Option<String> {
    let name = argument.split_once('=').map_or(argument, |(name, _)| name);
    name.starts_with("--").then(|| canonical(name))
}

fn canonical(name: &str) -> String {
    let name = name.replace('_', "-");
    match name.strip_prefix("--no-") {
        Some(rest) => format!("--{rest}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::Flags;

    #[test]
    fn the_users_flags_replace_ours() {
        let mut flags = Flags::default();
        flags.set("--max-model-len", 4096);
        flags.switch("--enable-prompt-tokens-details");
        flags.list("--served-model-name", &["a".to_owned(), "b".to_owned()]);
        flags.set("--port", 8000);
        let user = ["--max_model_len", "8192", "--no-enable-prompt-tokens-details", "-O3"];
        let args = flags.into_args(user.into_iter());
        let expected = [
            "--served-model-name",
            "a",
            "b",
            "--port=8000",
            "--max_model_len",
            "8192",
            "--no-enable-prompt-tokens-details",
            "-O3",
        ];
        assert_eq!(args, expected);
    }
}
