//! One client: a task that reads its lines, and one that writes what it should see.
//!
//! The reader hands answers and rooms to the writer through a short queue, so that a client that sends commands
//! and reads no answers holds up nobody but itself. Posts come straight from the room's broadcast channel: a
//! writer that cannot keep up finds that it has missed some, says so, and ends the connection.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use filch::channel::broadcast::{self, error::RecvError};
use filch::channel::{Receiver, Sender, bounded};
use filch::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::hall::{FIRST_ROOM, Hall, Post};
use super::lines::{Line, Lines};
use crate::stop::Stop;

const HELP: &str = "* /join ROOM, /rooms, /who, /nick NAME, /quit; all else is said in the room";

/// How many answers may wait for a client that does not read them.
const ANSWERS: usize = 8;

enum ToWriter {
    Answer(String),
    Room(broadcast::Receiver<Post>),
}

/// Why a writer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The reader is gone: the client left.
    Left,
    /// It was too slow, and told so.
    TooSlow,
    /// It read nothing at all for so long that there was no telling it.
    Stalled,
    /// Its socket failed.
    Broken,
    /// The chat ends.
    Closing,
}

/// Serves one client until it leaves, is dropped, or the chat ends.
pub(super) async fn serve<R, W>(hall: Arc<Hall>, read: R, write: W, stop: Stop)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (id, name, posts) = hall.enter();
    let (answers, to_write) = bounded(ANSWERS);
    let writer = Writer { id, write, posts: Some(posts), stall: hall.limits.stall };
    let mut writer = filch::spawn(writer.run(to_write, stop));
    let mut lines = Lines::new(read, hall.limits.line);
    let hello = format!("* hello {name}, you are in {FIRST_ROOM}; /help tells what there is");
    let mut going_on = answers.send(ToWriter::Answer(hello)).await.is_ok();
    let mut ended = None;
    while going_on {
        going_on = filch::select! {
            end = keep writer => { ended = Some(end); false }
            line = lines.next() => match line {
                Ok(Some(Line::Text(line))) => obey(&hall, id, &line, &answers).await,
                Ok(Some(Line::TooLong)) => {
                    let bye = format!("* a line has at most {} bytes: goodbye", hall.limits.line);
                    let _ = answers.send(ToWriter::Answer(bye)).await;
                    false
                }
                Ok(None) | Err(_) => false,
            },
        };
    }
    // The writer writes what is left and ends when nobody can send to it any more.
    drop(answers);
    let ended = match ended {
        Some(ended) => ended,
        None => writer.await,
    };
    hall.leave(
        id,
        match ended {
            Ok(End::TooSlow) => "was dropped: reads too slowly",
            Ok(End::Stalled) => "was dropped: reads nothing",
            Ok(End::Left | End::Broken | End::Closing) | Err(_) => "left",
        },
    );
}

/// Does what a line says; `false` when the client wants to leave.
async fn obey(hall: &Hall, id: u64, line: &str, answers: &Sender<ToWriter>) -> bool {
    let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
    let argument = argument.trim();
    let answer = match command {
        "/quit" => {
            let _ = answers.send(ToWriter::Answer("* goodbye".into())).await;
            return false;
        }
        "/help" => HELP.to_owned(),
        "/rooms" => format!("* rooms: {}", hall.rooms()),
        "/who" => format!("* here: {}", hall.who(id)),
        "/nick" => match hall.rename(id, argument) {
            Ok(()) => format!("* you are {argument}"),
            Err(error) => format!("* {error}"),
        },
        "/join" => match hall.join(id, argument) {
            Ok(posts) => {
                if answers.send(ToWriter::Room(posts)).await.is_err() {
                    return false;
                }
                format!("* you are in {argument}")
            }
            Err(error) => format!("* {error}"),
        },
        "" if line.is_empty() => return true,
        unknown if unknown.starts_with('/') => format!("* there is no {unknown}; {}", &HELP[2..]),
        _ => {
            hall.say(id, line);
            return true;
        }
    };
    answers.send(ToWriter::Answer(answer)).await.is_ok()
}

/// The next post; never, when there is no room.
async fn next(posts: &mut Option<broadcast::Receiver<Post>>) -> Result<Post, RecvError> {
    match posts {
        Some(posts) => posts.recv().await,
        None => pending().await,
    }
}

struct Writer<W> {
    id: u64,
    write: W,
    /// What is said in the client's room. `None` between the end of a room that closed, the client having been
    /// the last one in it, and the news of the next one.
    posts: Option<broadcast::Receiver<Post>>,
    stall: Duration,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    async fn run(mut self, answers: Receiver<ToWriter>, stop: Stop) -> End {
        let end = loop {
            let line: Arc<str> = filch::select! {
                biased;
                () = stop.told() => break End::Closing,
                answer = answers.recv() => match answer {
                    Ok(ToWriter::Answer(answer)) => answer.into(),
                    Ok(ToWriter::Room(posts)) => {
                        self.posts = Some(posts);
                        continue;
                    }
                    Err(_) => break End::Left,
                },
                post = next(&mut self.posts) => match post {
                    Ok(post) if post.from == self.id => continue,
                    Ok(post) => post.text,
                    Err(RecvError::Lagged(missed)) => {
                        let told = format!("* you read too slowly and missed {missed} lines: goodbye");
                        break match self.line(&told).await {
                            Ok(()) => End::TooSlow,
                            Err(end) => end,
                        };
                    }
                    Err(RecvError::Closed) => {
                        self.posts = None;
                        continue;
                    }
                },
            };
            if let Err(end) = self.line(&line).await {
                break end;
            }
        };
        if end == End::Closing {
            let _ = self.line("* the chat ends: goodbye").await;
        }
        let _ = self.write.close().await;
        end
    }

    async fn line(&mut self, text: &str) -> Result<(), End> {
        let line = format!("{text}\n");
        match filch::time::timeout(self.stall, self.write.write_all(line.as_bytes())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Broken),
            Err(_) => Err(End::Stalled),
        }
    }
}
