//! What a worker is.

/// A worker: made once from its spawn arguments, then given messages for as long as it lives.
pub trait Worker: Sized {
    /// Makes the worker from its spawn arguments.
    ///
    /// # Errors
    ///
    /// The reason why it will not start with these arguments.
    fn new(arguments: &[u8]) -> Result<Self, String>;

    /// Takes a message. What it sends from here and from [`Self::turn`] is the answer.
    fn handle_msg(&mut self, message: &[u8]);

    /// Does a slice of what is left to do. Called after each message, and again for as long as it returns
    /// [`Turn::Again`]; the message is done at the first [`Turn::Idle`].
    fn turn(&mut self) -> Turn {
        Turn::Idle
    }

    /// The last call, when the worker is stopped in good order.
    fn stop(&mut self) {}
}

/// What is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing, until the next message.
    Idle,
    /// Something: call again.
    Again,
}
