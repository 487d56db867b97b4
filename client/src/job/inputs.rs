//! Sources of the tasks of a [`Map`](crate::Map).

use std::task::{Context, Poll};

use bytes::Bytes;
use grid_protocol::client::{Denial, DenialCode};
use serde::Serialize;

use crate::cbor::to_cbor;

/// A source of tasks whose next input may have to be waited for. Every iterator of bytes is a source that never waits.
pub trait Inputs {
    /// The next task's input; `None` once there are no more, and from then on.
    ///
    /// If it returns [`Poll::Pending`], it must wake `cx` when an input has come.
    ///
    /// # Errors
    ///
    /// A [`Denial`] that [`Map::next`](crate::Map::next) then returns once; more inputs may follow it.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Denial>>>;
}

impl<I> Inputs for I
where
    I: Iterator<Item: Into<Bytes>>,
{
    fn poll_input(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Denial>>> {
        Poll::Ready(self.next().map(|input| Ok(input.into())))
    }
}

/// Encodes a program's own values as tasks, in CBOR.
pub struct CborInputs<I>(pub(crate) I);

impl<I> Inputs for CborInputs<I>
where
    I: Iterator<Item: Serialize>,
{
    fn poll_input(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Denial>>> {
        let encoded = self.0.next().map(|input| to_cbor(&input));
        Poll::Ready(encoded.map(|encoded| {
            encoded.map_err(|error| Denial {
                code: DenialCode::BadRequest,
                what: "a task".to_owned(),
                why: error.to_string(),
                help: "bring values that CBOR has a form for".to_owned(),
            })
        }))
    }
}
