//! The tools of a chat with the fields that vLLM keeps, in its order: clients order them as they like, and templates write them as
//! JSON again.

use crate::Unwritten;
use crate::messages::{list, optional, text};
use std::borrow::Cow;
use warmpath_json::{KnownFields, Raw, Scanner};

/// See the module. Its fields as they are written, and the names that stand before them are left out.
#[derive(Clone, Debug)]
pub(crate) struct Tool<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) description: Option<Cow<'a, str>>,
    pub(crate) parameters: Option<Cow<'a, [u8]>>,
    /// Whether it says that it is strict, and what.
    pub(crate) strict: Option<bool>,
    /// Whether it says that it is loaded later.
    pub(crate) is_deferred: bool,
    written: Written<'a>,
}

/// What of a tool is JSON, as it is written.
#[derive(Clone, Debug)]
struct Written<'a> {
    name: Raw<'a>,
    description: Option<Raw<'a>>,
    strict: Option<Raw<'a>>,
    deferred: Option<Raw<'a>>,
    /// What stands beside the function, not in it.
    outer_deferred: Option<Raw<'a>>,
}

/// What of a function the formats have, under names of their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Function<'a> {
    pub(crate) name: Option<Raw<'a>>,
    pub(crate) description: Option<Raw<'a>>,
    pub(crate) parameters: Option<Cow<'a, [u8]>>,
    pub(crate) strict: Option<Raw<'a>>,
    pub(crate) deferred: Option<Raw<'a>>,
}

/// The tools of `/v1/chat/completions`.
pub(crate) fn tools(json: &[u8]) -> Result<Vec<Tool<'_>>, Unwritten> {
    tools_of(json, tool)
}

/// The tools of a list of any format.
pub(crate) fn tools_of<'a>(
    json: &'a [u8],
    read: impl Fn(&mut Scanner<'a>) -> Result<Tool<'a>, Unwritten>,
) -> Result<Vec<Tool<'a>>, Unwritten> {
    let mut scanner = Scanner::new(json);
    let found = list(&mut scanner, read)?;
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
    let mut found = Function::default();
    let mut scanner = function.ok_or(Unwritten::Malformed)?.scanner();
    let mut fields =
        KnownFields::open(&mut scanner, &["name", "description", "parameters", "strict", "defer_loading"])?;
    while let Some(field) = fields.next(&mut scanner)? {
        found.set(field, scanner.present()?);
    }
    found.deferred = found.deferred.or(deferred);
    found.tool(deferred)
}

// === impl Function ===

impl<'a> Function<'a> {
    /// Reads one that stands with other fields. `names`: the field that is returned as it is, and those of the function.
    pub(crate) fn read(
        scanner: &mut Scanner<'a>,
        names: &'static [&'static str],
    ) -> Result<(Self, Option<Raw<'a>>), Unwritten> {
        let (mut found, mut first) = (Self::default(), None);
        let mut fields = KnownFields::open(scanner, names)?;
        while let Some(field) = fields.next(scanner)? {
            let value = scanner.present()?;
            if names.first() == Some(&field) {
                first = value;
            } else {
                found.set(field, value);
            }
        }
        Ok((found, first))
    }

    /// Takes a field in: the name of the parameters is the only one in which formats differ.
    pub(crate) fn set(&mut self, field: &str, value: Option<Raw<'a>>) {
        match field {
            "name" => self.name = value,
            "description" => self.description = value,
            "strict" => self.strict = value,
            "defer_loading" => self.deferred = value,
            _ => self.parameters = value.map(|value| Cow::Borrowed(value.bytes())),
        }
    }

    /// The tool of this function, with what stands beside it.
    pub(crate) fn tool(self, outer_deferred: Option<Raw<'a>>) -> Result<Tool<'a>, Unwritten> {
        let name = self.name.ok_or(Unwritten::Malformed)?;
        Ok(Tool {
            name: text(name)?,
            description: optional(self.description)?,
            parameters: self.parameters,
            strict: self.strict.map(|strict| strict.parsed().ok_or(Unwritten::Malformed)).transpose()?,
            is_deferred: self.deferred.is_some(),
            written: Written {
                name,
                description: self.description,
                strict: self.strict,
                deferred: self.deferred,
                outer_deferred,
            },
        })
    }
}

// === impl Tool ===

impl Tool<'_> {
    /// The JSON of its function.
    pub(crate) fn function(&self) -> Vec<u8> {
        let null = b"null".as_slice();
        let Written { name, description, strict, deferred, .. } = &self.written;
        object([
            ("name", Some(name.bytes())),
            ("description", Some(description.map_or(null, Raw::bytes))),
            ("parameters", Some(self.parameters.as_deref().unwrap_or(null))),
            ("strict", strict.map(Raw::bytes)),
            ("defer_loading", deferred.map(Raw::bytes)),
        ])
    }

    /// The JSON of all of it.
    pub(crate) fn whole(&self) -> Vec<u8> {
        object([
            ("type", Some(br#""function""#.as_slice())),
            ("function", Some(&self.function())),
            ("defer_loading", self.written.outer_deferred.map(Raw::bytes)),
        ])
    }
}

fn object<const N: usize>(fields: [(&str, Option<&[u8]>); N]) -> Vec<u8> {
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
