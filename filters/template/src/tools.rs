//! The tools of a chat with the fields that vLLM keeps, in its order: clients order them as they like, and templates write them as
//! JSON again.

use crate::Unwritten;
use crate::messages::{list, text};
use std::borrow::Cow;
use warmpath_json::{KnownFields, Raw, Scanner};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Tool<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) description: Option<Cow<'a, str>>,
    pub(crate) parameters: Option<Raw<'a>>,
    pub(crate) is_strict: bool,
    fields: [Option<Raw<'a>>; 6],
}

pub(crate) fn tools(json: &[u8]) -> Result<Vec<Tool<'_>>, Unwritten> {
    let mut scanner = Scanner::new(json);
    let found = list(&mut scanner, tool)?;
    scanner.end()?;
    if found.is_empty() { Err(Unwritten::Malformed) } else { Ok(found) }
}

fn tool<'a>(scanner: &mut Scanner<'a>) -> Result<Tool<'a>, Unwritten> {
    let (mut kind, mut function, mut deferred) = (None, None, None);
    let mut fields = KnownFields::open(scanner, &["type", "function", "defer_loading"])?;
    while let Some(field) = fields.next(scanner)? {
        let target = match field {
            "type" => &mut kind,
            "function" => &mut function,
            _ => &mut deferred,
        };
        *target = scanner.present()?;
    }
    if kind.is_some_and(|kind| kind.string_body() != Some(b"function")) {
        return Err(Unwritten::Malformed);
    }
    let [mut name, mut description, mut parameters, mut strict, mut own_deferred] = [None; 5];
    let mut scanner = function.ok_or(Unwritten::Malformed)?.scanner();
    let mut fields =
        KnownFields::open(&mut scanner, &["name", "description", "parameters", "strict", "defer_loading"])?;
    while let Some(field) = fields.next(&mut scanner)? {
        let target = match field {
            "name" => &mut name,
            "description" => &mut description,
            "parameters" => &mut parameters,
            "strict" => &mut strict,
            _ => &mut own_deferred,
        };
        *target = scanner.present()?;
    }
    Ok(Tool {
        name: text(name.ok_or(Unwritten::Malformed)?)?,
        description: description.map(text).transpose()?,
        parameters,
        is_strict: strict.is_some() || own_deferred.or(deferred).is_some(),
        fields: [name, description, parameters, strict, own_deferred.or(deferred), deferred],
    })
}

impl Tool<'_> {
    /// The JSON of its function.
    pub(crate) fn function(&self) -> Vec<u8> {
        let [name, description, parameters, strict, deferred, _] = self.fields;
        let null = b"null".as_slice();
        let required = [("name", name), ("description", description), ("parameters", parameters)];
        let required = required.map(|(name, value)| (name, Some(value.map_or(null, Raw::bytes))));
        let optional = [("strict", strict), ("defer_loading", deferred)];
        object(required.into_iter().chain(optional.map(|(name, value)| (name, value.map(Raw::bytes)))))
    }

    /// The JSON of all of it.
    pub(crate) fn whole(&self) -> Vec<u8> {
        let function = self.function();
        let deferred = self.fields.last().copied().flatten().map(Raw::bytes);
        let fields = [
            ("type", Some(br#""function""#.as_slice())),
            ("function", Some(&function)),
            ("defer_loading", deferred),
        ];
        object(fields.into_iter())
    }
}

fn object<'a>(fields: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> Vec<u8> {
    let mut json = b"{".to_vec();
    for (name, value) in fields {
        let Some(value) = value else { continue };
        if json.len() > 1 {
            json.push(b',');
        }
        json.extend([b"\"", name.as_bytes(), b"\":", value].concat());
    }
    json.push(b'}');
    json
}
