//! `application/x-www-form-urlencoded`: `model=beta&stream=true`.

use super::Named;
use memchr::memchr;

/// The fields of a form.
pub(super) fn form(body: &[u8]) -> Named {
    let mut named = Named::default();
    for pair in body.split(|byte| *byte == b'&') {
        let (name, value) = match memchr(b'=', pair) {
            Some(at) => pair.split_at(at),
            None => (pair, b"=".as_slice()),
        };
        named.take(&decoded(name), &decoded(value.get(1..).unwrap_or_default()));
    }
    named
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decoded(&spaced)
}

/// Text with its `%XX` decoded; what is no such escape stays as it is.
pub fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr(b'%', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let digits = escape.get(1..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .filter(|_| escape.get(1) != Some(&b'+'));
        out.push(byte.unwrap_or(b'%'));
        rest = escape.get(if byte.is_some() { 3 } else { 1 }..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_and_the_last_counts() {
        let model = |body: &str| form(body.as_bytes()).model;
        assert_eq!(model("x=1&model=org%2FBeta+v2%3alatest"), "org/Beta v2:latest");
        assert_eq!(model("model=a&model=b&amodel=c"), "b");
        assert_eq!(model("mod%65l=%E6%A8%A1"), "模");
        assert_eq!(model("model=100%&%"), "100%");
        assert_eq!((model("model"), model(""), model("=&&=")), (String::new(), String::new(), String::new()));
        assert!(form(b"stream=true").is_stream && !form(b"stream=false").is_stream);
        assert_eq!(percent_decoded(b"%+1%4"), b"%+1%4");
    }
}
