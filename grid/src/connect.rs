//! Connecting a client to a manager elsewhere.

use std::path::{Path, PathBuf};

use grid_disk::{KeyFileError, Machine, load_or_make_key};
use grid_host::{KnownManagers, KnownManagersError};
use grid_net::Network;
use grid_protocol::client::Channel;
use grid_protocol::key::SecretKey;
use grid_protocol::role::Roles;
use grid_protocol::ticket::{ManagerAddress, ParseManagerError};

use crate::client::Client;
use crate::connection::{ConnectError, Connection, Dialer};

/// How a client shall be.
#[must_use = "nothing is connected before `connect`"]
pub struct ClientBuilder {
    home: PathBuf,
    key: Option<SecretKey>,
    channel: Option<Channel>,
    mail: bool,
    machine: Machine,
    network: Network,
}

/// The client could not be connected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The manager's address makes no sense.
    #[error(transparent)]
    Address(#[from] ParseManagerError),
    /// The client's key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The managers that are known by address.
    #[error(transparent)]
    KnownManagers(#[from] KnownManagersError),
    /// The manager.
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
    /// Takes key and known managers from `home`, not from the user's own folder.
    pub fn home(mut self, home: impl AsRef<Path>) -> Self {
        self.home = home.as_ref().to_path_buf();
        self
    }

    /// Uses this key, not the one on disk.
    pub fn key(mut self, key: SecretKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Uses this channel, not one drawn at random: two clients of one channel share their workers, and only
    /// the one that came last gets the mail.
    pub fn channel(mut self, channel: Channel) -> Self {
        self.channel = Some(channel);
        self
    }

    /// Only makes requests, and leaves the channel's mail alone.
    pub fn without_mail(mut self) -> Self {
        self.mail = false;
        self
    }

    /// Takes time and randomness from `machine`, and reaches managers on `network`: for a simulation.
    pub fn rehearse_on(mut self, machine: Machine, network: Network) -> Self {
        (self.machine, self.network) = (machine, network);
        self
    }

    /// Connects to a manager: a ticket, `KEY@HOST:PORT`, or `HOST:PORT` (trusted on first use).
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn connect(self, manager: &str) -> Result<Client, ClientError> {
        self.connect_to(manager.parse()?)
    }

    /// As [`Self::connect`], with an address that was read before.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn connect_to(self, manager: ManagerAddress) -> Result<Client, ClientError> {
        let (dialer, channel) = self.dialer(manager)?;
        let (key, machine) = (dialer.key.clone(), dialer.machine.clone());
        Ok(Client::remote(Connection::connect(dialer, channel)?, key, machine))
    }

    /// As [`Self::connect_to`], on the runtime that this is called on and without a thread of the client's own.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn connect_here(self, manager: ManagerAddress) -> Result<Client, ClientError> {
        let (dialer, channel) = self.dialer(manager)?;
        let (key, machine) = (dialer.key.clone(), dialer.machine.clone());
        Ok(Client::remote(Connection::connect_here(dialer, channel).await?, key, machine))
    }

    fn dialer(self, manager: ManagerAddress) -> Result<(Dialer, Option<Channel>), ClientError> {
        let key = match self.key {
            Some(key) => key,
            None => load_or_make_key(&self.home.join("user.key"))?,
        };
        let channel = match self.channel {
            Some(channel) => channel,
            // Above the channels that have a meaning.
            None => Channel(self.machine.dice() | 1 << 63),
        };
        let known_managers = KnownManagers::open(&self.home.join("known-managers"))?;
        let dialer = Dialer { manager, key, known_managers, machine: self.machine, network: self.network };
        Ok((dialer, self.mail.then_some(channel)))
    }
}

impl Client {
    /// Connects to a manager elsewhere with the user's own key.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn connect(manager: &str) -> Result<Self, ClientError> {
        ClientBuilder::default().connect(manager)
    }

    /// Begins to describe a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// What this client's key may do, as the manager said when it let it in.
    pub fn roles(&self) -> Option<Roles> {
        self.remote_roles()
    }
}
