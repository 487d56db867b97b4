//! Errors of WASI preview 1, by its numbers.

/// Why a call of a guest failed. The guest gets the number and continues.
///
/// # Source
///
/// WASI preview 1, `errno`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(in crate::sandbox) enum Errno {
    Badf = 8,
    Busy = 10,
    Exist = 20,
    Fbig = 22,
    Ilseq = 25,
    Inval = 28,
    Isdir = 31,
    Mfile = 33,
    Nametoolong = 37,
    Noent = 44,
    Nospc = 51,
    Notdir = 54,
    Notempty = 55,
    Perm = 63,
    Rofs = 69,
    Spipe = 70,
    Notcapable = 76,
}

impl Errno {
    /// The number that the guest gets.
    pub(in crate::sandbox) fn code(self) -> i32 {
        i32::from(self as u16)
    }
}
