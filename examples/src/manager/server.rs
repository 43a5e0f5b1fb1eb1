//! The process in which the things live: one task that owns them, one for each connection.
//!
//! Owns the socket file, and the order of requests: they meet in a channel, and are done one after the other.
//! Who waits for the lock has no answer until it is its turn.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use filch::JoinHandle;
use filch::channel::{Receiver, Sender, bounded, oneshot};
use filch::net::{UnixListener, UnixStream};
use filch::process::Connection;
use filch::sync::Counter;
use tempfile::TempDir;

use super::{Answer, Message, Request};

/// How many requests may wait for the task that owns everything.
const BACKLOG: usize = 64;

/// A manager that runs until it is dropped.
pub(super) struct Manager {
    /// Only this user gets into it.
    folder: TempDir,
    accepting: JoinHandle<()>,
    rescued: Arc<Counter>,
}

impl Manager {
    pub(super) fn start() -> io::Result<Manager> {
        let folder = tempfile::Builder::new().prefix("filch-manager-").tempdir()?;
        let listener = UnixListener::bind(folder.path().join("socket"))?;
        let rescued = Arc::new(Counter::new());
        let (requests, received) = bounded(BACKLOG);
        drop(filch::spawn(own(received, rescued.clone())));
        let accepting = filch::spawn(async move {
            let mut clients = 0;
            while let Ok((stream, _)) = listener.accept().await {
                clients += 1;
                drop(filch::spawn(serve(clients, stream, requests.clone())));
            }
        });
        Ok(Manager { folder, accepting, rescued })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// How often the lock was taken back from somebody who was gone.
    pub(super) fn rescued(&self) -> u32 {
        self.rescued.get() as u32
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // The task that owns everything ends when the last connection does.
        self.accepting.abort();
    }
}

/// What happens, in the order in which it does.
enum Event {
    Asked { client: u64, request: Request, answer: oneshot::Sender<Answer> },
    Left { client: u64 },
}

async fn serve(client: u64, stream: UnixStream, events: Sender<Event>) {
    let talk = async {
        let connection = Connection::from_fd(stream.into_std().ok()?.into()).ok()?;
        while let Ok(Some(Message::Request(request))) = connection.recv().await {
            let (answer, answered) = oneshot::channel();
            events.send(Event::Asked { client, request, answer }).await.ok()?;
            // While this one waits for the lock it may be killed, and then should not get it.
            let answer = filch::select! {
                answer = answered => answer.ok()?,
                _ = connection.recv() => return None,
            };
            connection.send(&Message::Answer(answer)).await.ok()?;
        }
        Some(())
    };
    talk.await;
    // Nobody is there to hear it at the end of all.
    let _ = events.send(Event::Left { client }).await;
}

/// The things, and the lock of them.
#[derive(Default)]
struct Things {
    value: i64,
    dict: BTreeMap<String, i64>,
    list: Vec<String>,
    holder: Option<u64>,
    line: VecDeque<(u64, oneshot::Sender<Answer>)>,
}

async fn own(events: Receiver<Event>, rescued: Arc<Counter>) {
    let mut things = Things::default();
    while let Ok(event) = events.recv().await {
        match event {
            Event::Asked { client, request: Request::Lock, answer } => {
                things.line.push_back((client, answer));
                things.next();
            }
            Event::Asked { client, request, answer } => {
                // Whoever has asked may have left since.
                let _ = answer.send(things.answer(client, request));
            }
            Event::Left { client } => {
                things.line.retain(|(waits, _)| *waits != client);
                if things.holder == Some(client) {
                    things.holder = None;
                    rescued.increment();
                    things.next();
                }
            }
        }
    }
}

impl Things {
    fn answer(&mut self, client: u64, request: Request) -> Answer {
        match request {
            Request::Get => return Answer::Value(self.value),
            Request::Dict => return Answer::Dict(self.dict.clone()),
            Request::List => return Answer::List(self.list.clone()),
            Request::Set(value) => self.value = value,
            Request::Insert(key, value) => drop(self.dict.insert(key, value)),
            Request::Append(item) => self.list.push(item),
            Request::Unlock if self.holder == Some(client) => {
                self.holder = None;
                self.next();
            }
            Request::Unlock => return Answer::Refused("the lock is not yours".to_owned()),
            Request::Lock => unreachable!("it is answered when it is its turn"),
        }
        Answer::Done
    }

    /// Gives the lock to the next in line, if it is free.
    fn next(&mut self) {
        while self.holder.is_none() {
            let Some((client, answer)) = self.line.pop_front() else { return };
            if answer.send(Answer::Done).is_ok() {
                self.holder = Some(client);
            }
        }
    }
}
