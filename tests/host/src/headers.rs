//! Header maps, as a test writes and reads them, and their form in guest memory.
//!
//! A plain list in order of arrival. Envoy's inline-header rules (joining `via`, `cookie`...) are not
//! copied: no filter of ours depends on them.

/// An ordered multimap of header names, in lower case, to values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, Vec<u8>)>);

// === impl Headers ===

impl Headers {
    /// The first value of a header. Envoy gives the guest the first one too.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let name = name.to_ascii_lowercase();
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_slice())
    }

    /// The first value of a header, where it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// How many header lines there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every line, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Adds a line after those that are there.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        self.0.push((name.to_ascii_lowercase(), value.to_vec()));
    }

    /// Removes every line of that name, then adds one.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }

    /// Removes every line of that name.
    pub fn remove(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        self.0.retain(|(key, _)| *key != name);
    }

    /// The ABI's form: a count, the lengths of all names and values, then each of them ended by a zero.
    /// An empty map is no bytes at all.
    pub(crate) fn to_abi(&self) -> Vec<u8> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut bytes = (self.len() as u32).to_le_bytes().to_vec();
        for (name, value) in &self.0 {
            bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        }
        for (name, value) in &self.0 {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
            bytes.extend_from_slice(value);
            bytes.push(0);
        }
        bytes
    }

    /// Reads the ABI's form. Bytes that are too short read as an empty map, as in Envoy.
    pub(crate) fn from_abi(bytes: &[u8]) -> Self {
        Self::parse(bytes).unwrap_or_default()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let count = word(bytes, 0)?;
        let mut at = 4 + count.checked_mul(8)?;
        let mut headers = Self::default();
        for line in 0..count {
            let name_len = word(bytes, 4 + line * 8)?;
            let value_len = word(bytes, 8 + line * 8)?;
            let name = bytes.get(at..at + name_len)?;
            at += name_len + 1;
            let value = bytes.get(at..at + value_len)?;
            at += value_len + 1;
            headers.add(&String::from_utf8_lossy(name), value);
        }
        Some(headers)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> From<&[(N, V)]> for Headers {
    fn from(lines: &[(N, V)]) -> Self {
        let mut headers = Self::default();
        for (name, value) in lines {
            headers.add(name.as_ref(), value.as_ref());
        }
        headers
    }
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(word) as usize)
}
