//! How the numbers of an array are written: as a tag of RFC 8746, and as Python's modules and numpy name it.

/// The tags of typed arrays: 0b010, is it of floats, are they signed, little-endian, and two bits for their length.
pub(super) const TAGS: std::ops::RangeInclusive<u64> = 64..=87;

pub(super) const IS_LITTLE: bool = cfg!(target_endian = "little");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unsigned,
    Signed,
    Float,
}

/// How the numbers of an array are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct ItemForm {
    kind: Kind,
    /// Bytes of a number: 1, 2, 4 or 8.
    pub(super) size: usize,
    pub(super) is_little: bool,
}

impl ItemForm {
    pub(super) const SINGLE: Self = Self { kind: Kind::Float, size: 4, is_little: IS_LITTLE };

    /// The form that a buffer's format says, as module `struct` writes it; `None` for what are no such numbers.
    pub(super) fn of_format(format: &str, size: usize) -> Option<Self> {
        let item = format.trim_start_matches(['@', '=', '<', '>', '!']);
        let is_little = if format.starts_with('<') {
            true
        } else if format.starts_with(['>', '!']) {
            false
        } else {
            IS_LITTLE
        };
        let kind = match item {
            "b" | "h" | "i" | "l" | "q" | "n" => Kind::Signed,
            "B" | "H" | "I" | "L" | "Q" | "N" => Kind::Unsigned,
            "e" | "f" | "d" => Kind::Float,
            _ => return None,
        };
        matches!(size, 1 | 2 | 4 | 8).then_some(Self { kind, size, is_little })
    }

    /// The form that a tag stands for; `None` for one that Python has no numbers for.
    pub(super) fn of_tag(tag: u64) -> Option<Self> {
        // 76 is reserved, 83 and 87 are numbers of 16 bytes.
        if !TAGS.contains(&tag) || matches!(tag, 76 | 83 | 87) {
            return None;
        }
        let (kind, smallest) = match tag >> 3 & 3 {
            0 => (Kind::Unsigned, 1),
            1 => (Kind::Signed, 1),
            _ => (Kind::Float, 2),
        };
        Some(Self { kind, size: smallest << (tag & 3), is_little: tag & 4 != 0 })
    }

    pub(super) fn tag(self) -> u64 {
        let (kind, smallest) = match self.kind {
            Kind::Unsigned => (0, 1),
            Kind::Signed => (1, 1),
            Kind::Float => (2, 2),
        };
        let length = u64::from((self.size / smallest).trailing_zeros());
        // With one byte there is no order, and the bit would mean another thing.
        *TAGS.start() | kind << 3 | u64::from(self.is_little && self.size > 1) << 2 | length
    }

    /// The letter that modules `array` and `struct` have for it, all of them of the same size everywhere.
    pub(super) fn letter(self) -> char {
        match (self.kind, self.size) {
            (Kind::Unsigned, 1) => 'B',
            (Kind::Unsigned, 2) => 'H',
            (Kind::Unsigned, 4) => 'I',
            (Kind::Unsigned, _) => 'Q',
            (Kind::Signed, 1) => 'b',
            (Kind::Signed, 2) => 'h',
            (Kind::Signed, 4) => 'i',
            (Kind::Signed, _) => 'q',
            (Kind::Float, 2) => 'e',
            (Kind::Float, 4) => 'f',
            (Kind::Float, _) => 'd',
        }
    }

    /// The name that numpy has for it, in the order of this machine.
    pub(super) fn dtype(self) -> String {
        let kind = match self.kind {
            Kind::Unsigned => 'u',
            Kind::Signed => 'i',
            Kind::Float => 'f',
        };
        format!("{kind}{}", self.size)
    }
}
