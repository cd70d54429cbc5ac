//! `multipart/form-data` (RFC 7578): uploads of audio and images, with the model in a part before or after the file.
//!
//! The parts are read as they come, and of files nothing is kept but the few bytes in which a boundary may begin.
//!
//! Parsers differ in what they make of odd forms, and a model that only the engine sees would pass every policy that looks at its name.
//! So what no client sends is malformed here: repeated parameters, values that are neither a word nor a whole quoted string, extended
//! names (`name*`), a boundary with something behind it. Of equal fields the last counts, as in FastAPI.

use super::{BodyError, Named};
use memchr::memmem;

/// Bytes of a part's headers, at most.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a field's value, at most: a model's name is far shorter.
const VALUE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a boundary; RFC 2046 allows 70.
const BOUNDARY_BYTES_MAX: usize = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct Multipart {
    /// What stands before each part: a line break, two dashes, the boundary.
    delimiter: Vec<u8>,
    place: Place,
    /// Bytes that are read but not understood yet.
    rest: Vec<u8>,
    named: Named,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first boundary.
    Preamble,
    /// Behind a boundary, before the end of the part's headers.
    Head,
    /// In a part whose value is kept, under this name.
    Field(Vec<u8>),
    /// In a part that is skipped.
    Skipped,
    /// Behind the last boundary.
    End,
    /// It is no form.
    Malformed,
}

/// The parameters of a header's value, each once.
struct Parameters<'a>(Vec<(&'a str, String)>);

/// The boundary that a `content-type` names; empty when it names none, or is malformed.
pub(super) fn boundary(content_type: &str) -> String {
    parameters(content_type).and_then(|found| found.take("boundary")).unwrap_or_default()
}

/// The parameters of a header's value; `None`: it is malformed.
fn parameters(value: &str) -> Option<Parameters<'_>> {
    let mut found = Parameters(Vec::new());
    let mut rest = value.split_once(';').map_or("", |(_, rest)| rest).trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let (text, after) = unquoted(after.trim_start())?;
        let key = key.trim();
        if found.has(key) {
            return None;
        }
        found.0.push((key, text));
        let after = after.trim_start();
        rest = if after.is_empty() { after } else { after.strip_prefix(';')?.trim_start() };
    }
    Some(found)
}

/// The text at the head of `value`, and what follows; `None`: it is malformed. In quotes, only a quote and a backslash are escaped:
/// browsers send paths with single backslashes.
fn unquoted(value: &str) -> Option<(String, &str)> {
    let Some(quoted) = value.strip_prefix('"') else {
        let (text, rest) = value.split_at(value.find(';').unwrap_or(value.len()));
        let text = text.trim_end();
        let is_word =
            text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\'));
        return is_word.then(|| (text.to_owned(), rest));
    };
    let mut text = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((text, quoted.get(at + 1..)?)),
            '\\' => text.push(
                characters.next_if(|(_, next)| matches!(next, '"' | '\\')).map_or('\\', |(_, next)| next),
            ),
            other => text.push(other),
        }
    }
    None
}

// === impl Multipart ===

impl Multipart {
    pub(super) fn new(boundary: &str) -> Self {
        let is_valid = !boundary.is_empty() && boundary.len() <= BOUNDARY_BYTES_MAX;
        Self {
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
            place: if is_valid { Place::Preamble } else { Place::Malformed },
            // The first boundary may open the body, without a line break.
            rest: b"\r\n".to_vec(),
            named: Named::default(),
        }
    }

    /// Reads the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        if matches!(self.place, Place::End | Place::Malformed) {
            return;
        }
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(piece);
        let mut at = 0;
        while let Some(used) = self.step(bytes.get(at..).unwrap_or_default()) {
            at += used;
        }
        self.rest = bytes.split_off(at.min(bytes.len()));
    }

    /// The fields, if the form ended.
    pub(super) fn finish(self) -> Result<Named, BodyError> {
        if self.place == Place::End { Ok(self.named) } else { Err(BodyError::Form) }
    }

    /// Reads up to the next boundary or the end of a part's headers; returns the number of bytes read. `None`: more are
    /// needed.
    fn step(&mut self, bytes: &[u8]) -> Option<usize> {
        match &self.place {
            Place::End | Place::Malformed => None,
            Place::Head => self.head(bytes),
            Place::Preamble | Place::Field(_) | Place::Skipped => self.content(bytes),
        }
    }

    fn content(&mut self, bytes: &[u8]) -> Option<usize> {
        let is_field = matches!(self.place, Place::Field(_));
        let Some(at) = memmem::find(bytes, &self.delimiter) else {
            if is_field && bytes.len() > VALUE_BYTES_MAX + self.delimiter.len() {
                self.place = Place::Malformed;
            }
            let kept = if is_field { bytes.len() } else { self.delimiter.len().min(bytes.len()) };
            return Some(bytes.len() - kept).filter(|used| *used > 0);
        };
        // What follows distinguishes the last boundary from the others. Anything else is content to some and a boundary to others.
        let end = at + self.delimiter.len();
        let next = match bytes.get(end..end + 2)? {
            b"--" => Place::End,
            b"\r\n" => Place::Head,
            _ => Place::Malformed,
        };
        if let Place::Field(name) = &self.place {
            self.named.take(name, bytes.get(2..at).unwrap_or_default());
        }
        self.place = next;
        Some(end)
    }

    fn head(&mut self, bytes: &[u8]) -> Option<usize> {
        // The line break before the headers belongs to the boundary: a part without headers has its end at once.
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            if bytes.len() > HEAD_BYTES_MAX {
                self.place = Place::Malformed;
            }
            return None;
        };
        let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
        self.place = place_of(&head);
        // The line break that ends the headers is left: it begins the boundary behind an empty value.
        Some(end + 2)
    }
}

/// What a part with these headers is: a field that is read, or another, or a file.
fn place_of(head: &str) -> Place {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let disposition =
        lines.filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition")).last();
    let Some((_, disposition)) = disposition else { return Place::Skipped };
    let Some(found) = parameters(disposition).filter(|found| !found.has("name*")) else {
        return Place::Malformed;
    };
    let (is_file, is_extended) = (found.has("filename"), found.has("filename*"));
    let name = found.take("name").filter(|name| super::FIELDS.contains(&name.as_str()));
    match name {
        None => Place::Skipped,
        Some(_) if is_file => Place::Skipped,
        // A file to some parsers, a field to others.
        Some(_) if is_extended => Place::Malformed,
        Some(name) => Place::Field(name.into_bytes()),
    }
}

// === impl Parameters ===

impl Parameters<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
    }

    fn take(self, name: &str) -> Option<String> {
        self.0.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, text)| text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(boundary: &str, pieces: &[&[u8]]) -> Result<Named, BodyError> {
        let mut multipart = Multipart::new(boundary);
        for piece in pieces {
            multipart.push(piece);
        }
        multipart.finish()
    }

    fn part(headers: &str, content: &[u8]) -> Vec<u8> {
        [format!("--x7\r\n{headers}\r\n\r\n").as_bytes(), content, b"\r\n"].concat()
    }

    fn field(name: &str, value: &str) -> Vec<u8> {
        part(&format!("Content-Disposition: form-data; name=\"{name}\""), value.as_bytes())
    }

    fn file(content: &[u8]) -> Vec<u8> {
        part(
            "content-disposition: form-data; name=\"file\"; filename=\"model\"\r\nContent-Type: audio/wav",
            content,
        )
    }

    proptest! {
        #[test]
        fn the_model_is_found_before_and_after_a_file_whatever_the_cuts(
            content in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'-')], 0..200),
            model in "[a-z漢/ :]{0,20}",
            is_before in any::<bool>(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let parts = [field("stream", "true"), field("model", &model), file(&content)];
            let order = if is_before { [0, 1, 2] } else { [2, 1, 0] };
            let body = [order.map(|at| parts[at].clone()).concat(), b"--x7--\r\n".to_vec()].concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).chain([0, body.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read("x7", &pieces), Ok(Named { model, is_stream: true, is_steering: false }));
            prop_assert_eq!(read("x7", &[&body[..body.len() - 4]]), Err(BodyError::Form));
        }

        #[test]
        fn any_bytes_have_a_result(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'-')], 0..60)) {
            let _ = read("-", &[&bytes, b"\r\n---\r\n", &bytes]);
        }
    }

    #[test]
    fn the_last_model_counts_and_a_file_is_none() {
        let body =
            [field("model", "a"), file(b"x"), field("model", "b"), field("amodel", "c"), b"--x7--".to_vec()]
                .concat();
        assert_eq!(read("x7", &[&body]).unwrap().model, "b");
        let unquoted =
            [part("Content-Disposition: form-data; name=model", b"b"), b"--x7--".to_vec()].concat();
        assert_eq!(read("x7", &[b"preamble\r\n", &unquoted]).unwrap().model, "b");
        assert_eq!(read("x7", &[&file(b"x"), b"--x7--"]), Ok(Named::default()));
    }

    /// FastAPI's parser sees `secret` in each of them, or other parsers do.
    #[test]
    fn a_form_that_parsers_read_differently_is_malformed() {
        let disposition = |parameters: &str| format!("Content-Disposition: form-data; {parameters}");
        let whisper = field("model", "whisper");
        let with = |odd: Vec<u8>| [whisper.clone(), odd, b"--x7--".to_vec()].concat();
        for parameters in [
            r#"name="x"; name="model""#,
            r#"name="model"; name="x""#,
            r#"name="x"; NAME=model"#,
            "name=<model>",
            r#"name="model"x"#,
            r#"name="model"#,
            "name*=utf-8''model",
            r#"name="model"; filename*=utf-8''x"#,
        ] {
            let body = with(part(&disposition(parameters), b"secret"));
            assert_eq!(read("x7", &[&body]), Err(BodyError::Form), "{parameters}");
        }
        // A part within a file's bytes, behind what is no boundary to some.
        let hidden = [b"\r\n--x7Z\r\n".to_vec(), field("model", "secret")].concat();
        assert_eq!(read("x7", &[&with(file(&hidden))]), Err(BodyError::Form));
        // Others read these as we do.
        for parameters in [
            r#"name="mo\del""#,
            r#"name="file"; filename*=utf-8''%e6%a8%a1"#,
            r#"name="file"; filename="C:\model""#,
        ] {
            let body = with(part(&disposition(parameters), b"secret"));
            assert_eq!(read("x7", &[&body]).unwrap().model, "whisper", "{parameters}");
        }
    }

    #[test]
    fn nothing_without_end_is_kept() {
        let endless = |start: &[u8]| {
            let mut multipart = Multipart::new("x7");
            multipart.push(start);
            for _ in 0..100 {
                multipart.push(&[b'a'; 1024]);
            }
            multipart.rest.len()
        };
        for start in [
            b"".to_vec(),
            b"--x7\r\n".to_vec(),
            file(b"x"),
            b"--x7\r\nContent-Disposition: form-data; name=model\r\n\r\n".to_vec(),
        ] {
            assert!(endless(&start) <= HEAD_BYTES_MAX + 1024, "{}", String::from_utf8_lossy(&start));
        }
        assert_eq!(read("", &[b"----"]), Err(BodyError::Form));
    }

    #[test]
    fn boundaries_are_read_as_they_are_written() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=x7", "x7"),
            ("multipart/form-data; charset=utf-8; Boundary=\"a;b \\\"c\"; x=1", "a;b \"c"),
            ("multipart/form-data; boundary=x7 ; x=1", "x7"),
            ("multipart/form-data", ""),
            ("multipart/form-data; boundary", ""),
            ("multipart/form-data; boundary=x7;", "x7"),
            ("multipart/form-data; boundary=a; boundary=b", ""),
            ("multipart/form-data; boundary=\"x7", ""),
        ] {
            assert_eq!(boundary(content_type), expected, "{content_type}");
        }
    }
}
