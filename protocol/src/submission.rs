//! Submissions: the inputs of tasks as they lie in a frame, which the manager keeps as they are.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::codec::{self, BorrowDecode};
use crate::job::JobId;
use crate::limits::{BATCH_TASKS_MAX, CONTROL_DECODED_BYTES_MAX};
use crate::payload::{BlobRef, Payload};
use crate::wire::Wire;

/// A payload and its encoding, which is the same in a frame and in a record on disk.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedPayload {
    payload: Payload,
    bytes: Bytes,
}

/// A [`Request::JobSubmit`](crate::client::Request::JobSubmit), with the encoding of each input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSubmission {
    /// The job.
    pub job: JobId,
    /// The number of the first task.
    pub first: u64,
    /// The tasks' inputs.
    pub inputs: Vec<EncodedPayload>,
}

/// A [`Payload`] as it is decoded without a copy.
#[derive(Debug, Clone, Copy, BorrowDecode)]
pub(crate) enum BorrowedPayload<'a> {
    Here(&'a [u8]),
    Blob(BlobRef),
}

impl BorrowedPayload<'_> {
    /// Decodes the first payload of `bytes`, and tells its length; `None` if they begin with something else.
    pub(crate) fn first_of(bytes: &[u8]) -> Option<(BorrowedPayload<'_>, usize)> {
        codec::decode_first::<BorrowedPayload<'_>, CONTROL_DECODED_BYTES_MAX>(bytes)
    }

    /// The payload; shares the memory of `bytes`, in which it lies.
    pub(crate) fn in_bytes(self, bytes: &Bytes) -> Payload {
        match self {
            Self::Here(here) => Payload::Here(bytes.slice_ref(here)),
            Self::Blob(stored) => Payload::Blob(stored),
        }
    }
}

/// The position of [`Request::JobSubmit`](crate::client::Request::JobSubmit) among the requests.
const JOB_SUBMIT: u32 = 22;

impl EncodedPayload {
    /// Encodes a payload.
    pub fn of(payload: Payload) -> Self {
        Self { bytes: payload.to_body().into(), payload }
    }

    /// Splits the first payload off `bytes`; `None` if they begin with something else.
    fn split_from(bytes: &mut Bytes) -> Option<Self> {
        let (payload, used) = BorrowedPayload::first_of(bytes)?;
        let payload = payload.in_bytes(bytes);
        Some(Self { payload, bytes: bytes.split_to(used) })
    }

    /// The same in memory of its own.
    pub fn copied(&self) -> Self {
        let mut bytes = Bytes::copy_from_slice(&self.bytes);
        Self::split_from(&mut bytes).unwrap_or_else(|| self.clone())
    }

    /// The payload.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The encoding.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for EncodedPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.payload.fmt(f)
    }
}

impl JobSubmission {
    /// Decodes the body of a frame without copying the inputs; they keep all of the frame in memory.
    ///
    /// `None` if the frame is another request, is malformed, or has more than [`BATCH_TASKS_MAX`] inputs: then it is to
    /// be decoded as a [`Request`](crate::client::Request), which says what is wrong.
    pub fn from_frame(body: &Bytes) -> Option<Self> {
        let ((number, job, first, count), used) =
            codec::decode_first::<(u32, JobId, u64, u64), CONTROL_DECODED_BYTES_MAX>(body)?;
        if number != JOB_SUBMIT || count > BATCH_TASKS_MAX as u64 {
            return None;
        }
        let mut rest = body.slice(used..);
        let inputs = (0..count).map(|_| EncodedPayload::split_from(&mut rest)).collect::<Option<_>>()?;
        rest.is_empty().then_some(Self { job, first, inputs })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::client::Request;

    fn payloads() -> Vec<Payload> {
        let long = Bytes::from(vec![7; 70_000]);
        let stored = BlobRef::of(&long);
        vec![Payload::Here(Bytes::new()), Payload::Here(long), Payload::Blob(stored)]
    }

    #[test]
    fn a_submission_is_read_from_its_frame_with_each_input_as_it_is_kept() {
        let job = JobId([7; 16]);
        let inputs = payloads();
        let body = Bytes::from(Request::JobSubmit { job, first: 300, inputs: inputs.clone() }.to_body());
        let submission = JobSubmission::from_frame(&body).unwrap();
        let inputs = inputs.into_iter().map(EncodedPayload::of).collect();
        assert_eq!(submission, JobSubmission { job, first: 300, inputs });
        for input in submission.inputs {
            let at = input.bytes.as_ptr() as usize - body.as_ptr() as usize;
            assert_eq!(body[at..at + input.bytes.len()], input.bytes, "it is a part of the frame");
            assert_eq!(EncodedPayload::split_from(&mut input.bytes.clone()), Some(input));
        }
    }

    #[test]
    fn what_is_no_submission_or_is_cut_or_too_long_is_left_to_be_decoded_as_a_request() {
        let job = JobId([7; 16]);
        let body = Request::JobSubmit { job, first: 0, inputs: payloads() }.to_body();
        for length in (0..100).chain([body.len() - 1]) {
            assert_eq!(JobSubmission::from_frame(&Bytes::copy_from_slice(&body[..length])), None);
        }
        assert_eq!(JobSubmission::from_frame(&[&body[..], b"x"].concat().into()), None);
        let many = vec![Payload::Here(Bytes::new()); BATCH_TASKS_MAX + 1];
        for other in [Request::JobSubmit { job, first: 0, inputs: many }, Request::JobClose { job }] {
            assert_eq!(JobSubmission::from_frame(&other.to_body().into()), None);
        }
    }
}
