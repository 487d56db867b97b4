//! Slices of a guest's memory.

use std::ops::Range;

use crate::sandbox::failure::Stop;

/// A slice of guest memory that a guest passed to a host call: an allegation until it is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuestSlice {
    pointer: u32,
    length: u32,
}

impl GuestSlice {
    pub(crate) fn new(pointer: i32, length: i32) -> Self {
        Self { pointer: pointer.cast_unsigned(), length: length.cast_unsigned() }
    }

    /// The range of the slice in a memory of `size` bytes.
    ///
    /// # Errors
    ///
    /// [`Stop::OutOfBounds`] if not all of it lies in that memory.
    pub(crate) fn check(self, size: usize) -> Result<Range<usize>, Stop> {
        let start = self.pointer as usize;
        let end = start.checked_add(self.length as usize).filter(|end| *end <= size);
        end.map(|end| start..end).ok_or(Stop::OutOfBounds {
            pointer: self.pointer,
            length: self.length,
            memory: size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_at_the_very_end_is_inside_and_one_byte_more_is_not() {
        assert_eq!(GuestSlice::new(10, 6).check(16), Ok(10..16));
        assert_eq!(GuestSlice::new(16, 0).check(16), Ok(16..16));
        assert!(GuestSlice::new(10, 7).check(16).is_err());
        assert!(GuestSlice::new(17, 0).check(16).is_err());
        assert!(GuestSlice::new(-1, -1).check(16).is_err());
        assert!(GuestSlice::new(1, -1).check(16).is_err());
    }
}
