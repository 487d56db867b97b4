//! Submissions: the inputs of tasks as they lie in a frame, which the manager keeps as they are.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::codec::{
    self, BorrowDecode, BorrowDecoder, Decode, Decoder, Encode, Encoder, PayloadRoom, Writer, error,
};
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

/// The inputs of tasks, each encoded as a [`Payload`], one after the other. A clone shares their memory.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EncodedInputs {
    count: u64,
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

/// A [`Payload`] whose bytes are elsewhere.
#[derive(Debug, Clone, Copy, Encode, BorrowDecode)]
pub enum BorrowedPayload<'a> {
    /// As [`Payload::Here`].
    Here(&'a [u8]),
    /// As [`Payload::Blob`].
    Blob(BlobRef),
}

impl<'a> From<&'a Payload> for BorrowedPayload<'a> {
    fn from(payload: &'a Payload) -> Self {
        match payload {
            Payload::Here(bytes) => Self::Here(bytes),
            Payload::Blob(stored) => Self::Blob(*stored),
        }
    }
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

/// Encodes inputs one after the other.
#[derive(Debug, Default)]
pub struct InputEncoder {
    count: usize,
    bytes: Vec<u8>,
}

impl InputEncoder {
    /// Adds an input.
    pub fn push(&mut self, input: BorrowedPayload<'_>) {
        codec::encode_into(&input, &mut self.bytes);
        self.count += 1;
    }

    /// Number of inputs.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The inputs.
    pub fn finish(self) -> EncodedInputs {
        EncodedInputs { count: self.count as u64, bytes: self.bytes.into() }
    }
}

impl<'a> FromIterator<BorrowedPayload<'a>> for EncodedInputs {
    fn from_iter<I: IntoIterator<Item = BorrowedPayload<'a>>>(inputs: I) -> Self {
        let mut encoder = InputEncoder::default();
        inputs.into_iter().for_each(|input| encoder.push(input));
        encoder.finish()
    }
}

impl EncodedInputs {
    /// Number of inputs.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Splits them, without a copy; `None` if there are more than [`BATCH_TASKS_MAX`].
    pub fn split(&self) -> Option<Vec<EncodedPayload>> {
        split_all(self.count, self.bytes.clone())
    }
}

/// Splits `bytes` into so many payloads, which must fill them, and be no more than [`BATCH_TASKS_MAX`].
fn split_all(count: u64, mut bytes: Bytes) -> Option<Vec<EncodedPayload>> {
    if count > BATCH_TASKS_MAX as u64 {
        return None;
    }
    let inputs = (0..count).map(|_| EncodedPayload::split_from(&mut bytes)).collect::<Option<_>>()?;
    bytes.is_empty().then_some(inputs)
}

impl fmt::Debug for EncodedInputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} inputs, {} bytes", self.count, self.bytes.len())
    }
}

// As a vector of payloads.
impl Encode for EncodedInputs {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), error::EncodeError> {
        self.count.encode(encoder)?;
        encoder.writer().write(&self.bytes)
    }
}

impl Decode<PayloadRoom> for EncodedInputs {
    fn decode<D: Decoder<Context = PayloadRoom>>(decoder: &mut D) -> Result<Self, error::DecodeError> {
        let (count, mut encoder) = (u64::decode(decoder)?, InputEncoder::default());
        for _ in 0..count {
            encoder.push(BorrowedPayload::from(&Payload::decode(decoder)?));
        }
        Ok(encoder.finish())
    }
}

impl<'de> BorrowDecode<'de, PayloadRoom> for EncodedInputs {
    fn borrow_decode<D: BorrowDecoder<'de, Context = PayloadRoom>>(
        decoder: &mut D,
    ) -> Result<Self, error::DecodeError> {
        let (count, mut encoder) = (u64::decode(decoder)?, InputEncoder::default());
        for _ in 0..count {
            encoder.push(BorrowedPayload::borrow_decode(decoder)?);
        }
        Ok(encoder.finish())
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
        if number != JOB_SUBMIT {
            return None;
        }
        Some(Self { job, first, inputs: split_all(count, body.slice(used..))? })
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

    fn encoded(inputs: &[Payload]) -> EncodedInputs {
        inputs.iter().map(BorrowedPayload::from).collect()
    }

    #[test]
    fn inputs_are_encoded_as_a_vector_of_payloads_is() {
        assert_eq!(codec::encode(&encoded(&payloads())), codec::encode(&payloads()));
    }

    #[test]
    fn a_submission_is_read_from_its_frame_with_each_input_as_it_is_kept() {
        let job = JobId([7; 16]);
        let inputs = payloads();
        let request = Request::JobSubmit { job, first: 300, inputs: encoded(&inputs) };
        let body = Bytes::from(request.to_body());
        let submission = JobSubmission::from_frame(&body).unwrap();
        let inputs = inputs.into_iter().map(EncodedPayload::of).collect();
        assert_eq!(submission, JobSubmission { job, first: 300, inputs });
        assert_eq!(Request::from_body(&body).as_ref(), Ok(&request));
        let Request::JobSubmit { inputs, .. } = request else { unreachable!() };
        assert_eq!(inputs.split().as_ref(), Some(&submission.inputs));
        for input in submission.inputs {
            let at = input.bytes.as_ptr() as usize - body.as_ptr() as usize;
            assert_eq!(body[at..at + input.bytes.len()], input.bytes, "it is a part of the frame");
            assert_eq!(EncodedPayload::split_from(&mut input.bytes.clone()), Some(input));
        }
    }

    #[test]
    fn what_is_no_submission_or_is_cut_or_too_long_is_left_to_be_decoded_as_a_request() {
        let job = JobId([7; 16]);
        let body = Request::JobSubmit { job, first: 0, inputs: encoded(&payloads()) }.to_body();
        for length in (0..100).chain([body.len() - 1]) {
            assert_eq!(JobSubmission::from_frame(&Bytes::copy_from_slice(&body[..length])), None);
        }
        assert_eq!(JobSubmission::from_frame(&[&body[..], b"x"].concat().into()), None);
        let many = encoded(&vec![Payload::Here(Bytes::new()); BATCH_TASKS_MAX + 1]);
        assert_eq!(many.split(), None);
        for other in [Request::JobSubmit { job, first: 0, inputs: many }, Request::JobClose { job }] {
            assert_eq!(JobSubmission::from_frame(&other.to_body().into()), None);
        }
    }
}
