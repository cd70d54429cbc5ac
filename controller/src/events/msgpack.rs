//! A reader of MessagePack that trusts nothing: a declared length allocates nothing, and nesting costs no stack.
//!
//! `rmp` knows the format; this adds what a reader of foreign input needs beside it, skipping and peeking. No serde: the
//! fields of one event come in two encodings and many versions, and most of the bytes are one list of integers.

use rmp::Marker;
use rmp::decode;

/// Larger times are none: 30,000 years.
const SECONDS_MAX: f64 = 1e12;

/// What is left of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// The input ends too early, or something else is there than was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The kinds of value that events distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Nil,
    Integer,
    Text,
    Bytes,
    Array,
    Map,
    Other,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// What comes next.
    pub(super) fn peek(&self) -> Result<Shape, Malformed> {
        Ok(match Marker::from_u8(*self.rest.first().ok_or(Malformed)?) {
            Marker::Null => Shape::Nil,
            Marker::FixPos(_)
            | Marker::FixNeg(_)
            | Marker::U8
            | Marker::U16
            | Marker::U32
            | Marker::U64
            | Marker::I8
            | Marker::I16
            | Marker::I32
            | Marker::I64 => Shape::Integer,
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => Shape::Text,
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => Shape::Bytes,
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => Shape::Array,
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => Shape::Map,
            _ => Shape::Other,
        })
    }

    /// The length of an array, whose elements come next. No more than the input can hold.
    pub(super) fn array(&mut self) -> Result<usize, Malformed> {
        let length = decode::read_array_len(&mut self.rest).map_err(|_| Malformed)?;
        self.within(length)
    }

    /// The number of entries of a map, each a key and a value. No more than the input can hold.
    pub(super) fn map(&mut self) -> Result<usize, Malformed> {
        let length = decode::read_map_len(&mut self.rest).map_err(|_| Malformed)?;
        self.within(length)
    }

    pub(super) fn unsigned<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        let number: u64 = decode::read_int(&mut self.rest).map_err(|_| Malformed)?;
        T::try_from(number).map_err(|_| Malformed)
    }

    /// An integer of 64 bits, signed or not, as its bits.
    pub(super) fn bits(&mut self) -> Result<u64, Malformed> {
        let mut other = self.rest;
        if let Ok(number) = decode::read_int::<u64, _>(&mut self.rest) {
            return Ok(number);
        }
        let number: i64 = decode::read_int(&mut other).map_err(|_| Malformed)?;
        self.rest = other;
        Ok(number.cast_unsigned())
    }

    /// Seconds with a fraction, as milliseconds; none if it is anything else.
    pub(super) fn milliseconds(&mut self) -> Result<Option<i64>, Malformed> {
        let value = *self;
        self.skip()?;
        let seconds =
            decode::read_f64(&mut { value.rest }).ok().filter(|seconds| seconds.abs() < SECONDS_MAX);
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "within the range, as just seen"
        )]
        Ok(seconds.map(|seconds| (seconds * 1_000.0) as i64))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = decode::read_str_len(&mut self.rest).map_err(|_| Malformed)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = decode::read_bin_len(&mut self.rest).map_err(|_| Malformed)?;
        self.take(length)
    }

    /// Reads a value if it is not nil.
    pub(super) fn some<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.peek()? == Shape::Nil {
            self.skip()?;
            return Ok(None);
        }
        read(self).map(Some)
    }

    /// Passes over one value with all that it contains.
    pub(super) fn skip(&mut self) -> Result<(), Malformed> {
        let mut pending: u64 = 1;
        while pending > 0 {
            let marker = decode::read_marker(&mut self.rest).map_err(|_| Malformed)?;
            let (bytes, values) = self.contents(marker)?;
            self.take(bytes)?;
            pending = pending.saturating_sub(1).saturating_add(values);
        }
        Ok(())
    }

    /// The bytes of a value that follow its marker and length, and the values that follow those.
    fn contents(&mut self, marker: Marker) -> Result<(u32, u64), Malformed> {
        Ok(match marker {
            Marker::Null | Marker::True | Marker::False | Marker::FixPos(_) | Marker::FixNeg(_) => (0, 0),
            Marker::U8 | Marker::I8 => (1, 0),
            // An extension has one byte of type.
            Marker::U16 | Marker::I16 | Marker::FixExt1 => (2, 0),
            Marker::U32 | Marker::I32 | Marker::F32 => (4, 0),
            Marker::U64 | Marker::I64 | Marker::F64 => (8, 0),
            Marker::FixStr(length) => (u32::from(length), 0),
            Marker::Str8 | Marker::Bin8 => (self.length(1)?, 0),
            Marker::Str16 | Marker::Bin16 => (self.length(2)?, 0),
            Marker::Str32 | Marker::Bin32 => (self.length(4)?, 0),
            Marker::FixArray(length) => (0, u64::from(length)),
            Marker::Array16 => (0, u64::from(self.length(2)?)),
            Marker::Array32 => (0, u64::from(self.length(4)?)),
            Marker::FixMap(length) => (0, 2 * u64::from(length)),
            Marker::Map16 => (0, 2 * u64::from(self.length(2)?)),
            Marker::Map32 => (0, 2 * u64::from(self.length(4)?)),
            Marker::FixExt2 => (3, 0),
            Marker::FixExt4 => (5, 0),
            Marker::FixExt8 => (9, 0),
            Marker::FixExt16 => (17, 0),
            Marker::Ext8 => (self.length(1)?.saturating_add(1), 0),
            Marker::Ext16 => (self.length(2)?.saturating_add(1), 0),
            Marker::Ext32 => (self.length(4)?.saturating_add(1), 0),
            Marker::Reserved => return Err(Malformed),
        })
    }

    fn length(&mut self, bytes: u32) -> Result<u32, Malformed> {
        Ok(self.take(bytes)?.iter().fold(0, |length, byte| length << 8 | u32::from(*byte)))
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Each value has one byte at least.
    fn within(&self, length: u32) -> Result<usize, Malformed> {
        usize::try_from(length).ok().filter(|length| *length <= self.rest.len()).ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Malformed, Reader, Shape};

    /// One value of each kind, each followed by nil.
    const VALUES: [&[u8]; 22] = [
        &[0xc0],
        &[0xc3],
        &[0x7f],
        &[0xff],
        &[0xcc, 200],
        &[0xd1, 1, 2],
        &[0xce, 1, 2, 3, 4],
        &[0xcb, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0xa2, b'a', b'b'],
        &[0xd9, 1, b'a'],
        &[0xda, 0, 1, b'a'],
        &[0xdb, 0, 0, 0, 1, b'a'],
        &[0xc4, 2, 1, 2],
        &[0xc5, 0, 1, 1],
        &[0x92, 1, 0x91, 2],
        &[0xdc, 0, 1, 0xa1, b'a'],
        &[0x81, 0xa1, b'a', 0x81, 1, 2],
        &[0xde, 0, 1, 1, 2],
        &[0xd4, 1, 2],
        &[0xd8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0xc7, 2, 1, 8, 9],
        &[0xdf, 0, 0, 0, 1, 1, 0xdd, 0, 0, 0, 0],
    ];

    #[test]
    fn a_value_of_any_kind_can_be_passed_over() {
        for value in VALUES {
            let bytes = [value, &[0xc0]].concat();
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.skip(), Ok(()), "{value:x?}");
            assert_eq!(reader.rest, [0xc0], "{value:x?}");
            for end in 0..value.len() {
                assert_eq!(Reader::new(&value[..end]).skip(), Err(Malformed), "{value:x?} cut at {end}");
            }
        }
        assert_eq!(Reader::new(&[0xc1]).skip(), Err(Malformed), "the format leaves it unused");
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let nested = vec![0x91; 1 << 20];
        assert_eq!(Reader::new(&nested).skip(), Err(Malformed));
    }

    #[test]
    fn a_length_beyond_the_input_is_refused_before_anything_is_allocated() {
        assert_eq!(Reader::new(&[0xdd, 0xff, 0xff, 0xff, 0xff, 1]).array(), Err(Malformed));
        assert_eq!(Reader::new(&[0xdf, 0xff, 0xff, 0xff, 0xff, 1]).map(), Err(Malformed));
        assert_eq!(Reader::new(&[0xc6, 0xff, 0xff, 0xff, 0xff, 1]).bytes(), Err(Malformed));
        assert_eq!(Reader::new(&[0xdb, 0xff, 0xff, 0xff, 0xff, 1]).text(), Err(Malformed));
    }

    #[test]
    fn signed_and_unsigned_hashes_are_their_bits() {
        let bits = |bytes: &[u8]| Reader::new(bytes).bits();
        assert_eq!(bits(&[0xcf, 0xff, 0, 0, 0, 0, 0, 0, 1]), Ok(0xff00_0000_0000_0001));
        assert_eq!(bits(&[0xd3, 0xff, 0, 0, 0, 0, 0, 0, 1]), Ok(0xff00_0000_0000_0001));
        assert_eq!(bits(&[0xff]), Ok(u64::MAX));
        assert_eq!(bits(&[0xa1, b'1']), Err(Malformed));
    }

    #[test]
    fn nil_is_the_lack_of_a_value() {
        assert_eq!(Reader::new(&[0xc0]).some(Reader::text), Ok(None));
        assert_eq!(Reader::new(&[0xa1, b'x']).some(Reader::text), Ok(Some("x")));
        assert_eq!(Reader::new(&[]).peek(), Err(Malformed));
        assert_eq!(Reader::new(&[0xcb]).peek(), Ok(Shape::Other));
    }
}
