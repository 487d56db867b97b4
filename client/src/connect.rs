//! Connecting a client to a manager over the network.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use grid_disk::{KeyFileError, Machine, load_or_make_key};
use grid_net::Network;
use grid_net::{KnownManagers, KnownManagersError};
use grid_protocol::client::Channel;
use grid_protocol::key::SecretKey;
use grid_protocol::role::Roles;
use grid_protocol::ticket::{ManagerAddress, ParseManagerError};

use crate::client::Client;
use crate::connection::{ConnectError, Connection, Dialer};

/// Configuration of a [`Client`] over the network; made by [`Client::builder`].
#[must_use = "nothing is connected before `connect`"]
pub struct ClientBuilder {
    home: PathBuf,
    key: Option<SecretKey>,
    channel: Option<Channel>,
    mail: bool,
    machine: Machine,
    network: Network,
}

/// Why a client could not be connected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The manager's address cannot be parsed.
    #[error(transparent)]
    Address(#[from] ParseManagerError),
    /// The client's key cannot be read or made.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The file of known managers cannot be read.
    #[error(transparent)]
    KnownManagers(#[from] KnownManagersError),
    /// The manager was not reached, or refused the client.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            home: grid_disk::home(),
            key: None,
            channel: None,
            mail: true,
            machine: Machine::default(),
            network: Network::default(),
        }
    }
}

impl ClientBuilder {
    /// Reads the key and the known managers from `home`, not from the user's own folder.
    pub fn home(mut self, home: impl AsRef<Path>) -> Self {
        self.home = home.as_ref().to_path_buf();
        self
    }

    /// Uses this key instead of the one on disk.
    pub fn key(mut self, key: SecretKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Uses this channel instead of one drawn at random. Clients on one channel share their workers; only the one that
    /// connected last gets their messages and events, and the manager disconnects the others.
    pub fn channel(mut self, channel: Channel) -> Self {
        self.channel = Some(channel);
        self
    }

    /// Makes requests only: the client gets no messages and no events, and disconnects no other client. Its channel is
    /// then that of the command line, whatever [`Self::channel`] says.
    pub fn without_mail(mut self) -> Self {
        self.mail = false;
        self
    }

    /// For simulations: takes time and randomness from `machine`, and connects over `network`.
    pub fn rehearse_on(mut self, machine: Machine, network: Network) -> Self {
        (self.machine, self.network) = (machine, network);
        self
    }

    /// Connects to a manager: a ticket, `KEY@HOST:PORT`, or `HOST:PORT` (trusted on first use).
    ///
    /// Blocks until the manager has let the client in. From then on a thread of the client's own reconnects whenever
    /// the connection is lost, until the client is dropped.
    ///
    /// # Errors
    ///
    /// [`ClientError`], each variant with its cause; the first attempt is not repeated.
    pub fn connect(self, manager: &str) -> Result<Client, ClientError> {
        self.connect_to(manager.parse()?)
    }

    /// As [`Self::connect`], with an address that is parsed already.
    ///
    /// # Errors
    ///
    /// As [`Self::connect`].
    pub fn connect_to(self, manager: ManagerAddress) -> Result<Client, ClientError> {
        let (dialer, channel) = self.dialer(manager)?;
        let (key, machine) = (dialer.key.clone(), dialer.machine.clone());
        Ok(Client::new(Arc::new(Connection::connect(dialer, channel)?), key, machine))
    }

    /// As [`Self::connect_to`], on the tokio runtime of the caller and without a thread of the client's own.
    ///
    /// # Errors
    ///
    /// As [`Self::connect`].
    pub async fn connect_here(self, manager: ManagerAddress) -> Result<Client, ClientError> {
        let (dialer, channel) = self.dialer(manager)?;
        let (key, machine) = (dialer.key.clone(), dialer.machine.clone());
        Ok(Client::new(Arc::new(Connection::connect_here(dialer, channel).await?), key, machine))
    }

    fn dialer(self, manager: ManagerAddress) -> Result<(Dialer, Option<Channel>), ClientError> {
        let key = match self.key {
            Some(key) => key,
            None => load_or_make_key(&self.home.join("user.key"))?,
        };
        let channel = match self.channel {
            Some(channel) => channel,
            // The high bit keeps it apart from the channels with a fixed meaning.
            None => Channel(self.machine.dice() | 1 << 63),
        };
        let known_managers = KnownManagers::open(&self.home.join("known-managers"))?;
        let dialer = Dialer { manager, key, known_managers, machine: self.machine, network: self.network };
        Ok((dialer, self.mail.then_some(channel)))
    }
}

impl Client {
    /// Connects to a manager with the user's own key, as [`ClientBuilder::connect`] does.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::connect`].
    pub fn connect(manager: &str) -> Result<Self, ClientError> {
        ClientBuilder::default().connect(manager)
    }

    /// Describes a client over the network.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// The roles of this client's key when the manager last let it in; `None` in the manager's process.
    pub fn roles(&self) -> Option<Roles> {
        self.remote_roles()
    }
}
