//! What another process has of the manager: a connection, and a method for each request.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use filch::net::UnixStream;
use filch::process::Connection;

use super::{Answer, Message, Request};

pub(super) struct Client {
    connection: Connection<Message>,
}

impl Client {
    pub(super) async fn connect(path: &Path) -> io::Result<Client> {
        let stream = UnixStream::connect(path).await?;
        Ok(Client { connection: Connection::from_fd(stream.into_std()?.into())? })
    }

    async fn ask(&self, request: Request) -> io::Result<Answer> {
        self.connection.send(&Message::Request(request)).await?;
        match self.connection.recv().await? {
            Some(Message::Answer(Answer::Refused(why))) => Err(io::Error::other(why)),
            Some(Message::Answer(answer)) => Ok(answer),
            Some(Message::Request(_)) => Err(odd()),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the manager is gone")),
        }
    }

    async fn done(&self, request: Request) -> io::Result<()> {
        match self.ask(request).await? {
            Answer::Done => Ok(()),
            _ => Err(odd()),
        }
    }

    pub(super) async fn get(&self) -> io::Result<i64> {
        match self.ask(Request::Get).await? {
            Answer::Value(value) => Ok(value),
            _ => Err(odd()),
        }
    }

    pub(super) async fn set(&self, value: i64) -> io::Result<()> {
        self.done(Request::Set(value)).await
    }

    pub(super) async fn insert(&self, key: &str, value: i64) -> io::Result<()> {
        self.done(Request::Insert(key.to_owned(), value)).await
    }

    pub(super) async fn dict(&self) -> io::Result<BTreeMap<String, i64>> {
        match self.ask(Request::Dict).await? {
            Answer::Dict(dict) => Ok(dict),
            _ => Err(odd()),
        }
    }

    pub(super) async fn append(&self, item: &str) -> io::Result<()> {
        self.done(Request::Append(item.to_owned())).await
    }

    pub(super) async fn list(&self) -> io::Result<Vec<String>> {
        match self.ask(Request::List).await? {
            Answer::List(list) => Ok(list),
            _ => Err(odd()),
        }
    }

    /// Waits until the lock is this one's.
    pub(super) async fn lock(&self) -> io::Result<()> {
        self.done(Request::Lock).await
    }

    pub(super) async fn unlock(&self) -> io::Result<()> {
        self.done(Request::Unlock).await
    }
}

fn odd() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the manager has answered another request")
}
