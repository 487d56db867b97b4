//! Access to a guest's memory by the pointers and lengths of a call.

use super::wasi_process::Refused;
use crate::sandbox::failure::Stop;
use crate::sandbox::guest_slice::GuestSlice;

/// A guest's memory during a call. Every access checks that the slice lies in it.
pub(in crate::sandbox) struct Memory<'a>(pub(in crate::sandbox) &'a mut [u8]);

impl Memory<'_> {
    pub(in crate::sandbox) fn slice(&self, pointer: i32, length: i32) -> Result<&[u8], Stop> {
        let place = GuestSlice::new(pointer, length).check(self.0.len())?;
        Ok(self.0.get(place).unwrap_or_default())
    }

    pub(in crate::sandbox) fn slice_mut(&mut self, pointer: i32, length: i32) -> Result<&mut [u8], Stop> {
        let place = GuestSlice::new(pointer, length).check(self.0.len())?;
        Ok(self.0.get_mut(place).unwrap_or_default())
    }

    pub(super) fn put(&mut self, pointer: i32, bytes: &[u8]) -> Result<(), Refused> {
        let length = i32::try_from(bytes.len()).unwrap_or(-1);
        self.slice_mut(pointer, length)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes a number, which the caller bounds far below what 32 bits hold.
    pub(super) fn put_u32(&mut self, pointer: i32, number: usize) -> Result<(), Refused> {
        self.put(pointer, &u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes())
    }

    /// Pointer and length of buffer number `index` in a list that [`Self::buffers`] has checked.
    pub(in crate::sandbox) fn buffer(&self, buffers: i32, index: u32) -> Result<(i32, i32), Stop> {
        let place = buffers.wrapping_add((index * 8).cast_signed());
        let (pointer, length) = self.slice(place, 8)?.split_at_checked(4).unwrap_or_default();
        let number = |bytes: &[u8]| i32::from_le_bytes(bytes.try_into().unwrap_or_default());
        Ok((number(pointer), number(length)))
    }

    /// Checks that a list of buffers lies in memory; returns how many of them the call uses, at most [`BUFFERS_MAX`].
    pub(in crate::sandbox) fn buffers(&self, buffers: i32, count: i32) -> Result<u32, Stop> {
        let count = count.cast_unsigned();
        let length = count.checked_mul(8).map_or(-1, u32::cast_signed);
        self.slice(buffers, length)?;
        Ok(count.min(BUFFERS_MAX))
    }

    /// Copies bytes into buffers, as many as fit and one call may move; returns their number.
    pub(super) fn scatter(&mut self, buffers: i32, count: i32, bytes: &[u8]) -> Result<usize, Stop> {
        let bytes = bytes.get(..TRANSFER_BYTES_MAX).unwrap_or(bytes);
        let mut left = bytes;
        for index in 0..self.buffers(buffers, count)? {
            let (pointer, length) = self.buffer(buffers, index)?;
            let place = self.slice_mut(pointer, length)?;
            let (now, later) = left.split_at(place.len().min(left.len()));
            if let Some(place) = place.get_mut(..now.len()) {
                place.copy_from_slice(now);
            }
            left = later;
        }
        Ok(bytes.len() - left.len())
    }
}

/// Bytes that one call moves between a guest and its files: 1 MiB, which takes about 100 µs. A call for more is short.
/// A guest could name the same 240 MiB in each of 1 024 buffers, which would occupy a thread for minutes, and no
/// deadline stops a host call.
pub(super) const TRANSFER_BYTES_MAX: usize = 1 << 20;

/// Buffers that one read or write uses, as many as most systems take. A call with more is short: a guest could name 30
/// million of them, all empty.
const BUFFERS_MAX: u32 = 1024;
