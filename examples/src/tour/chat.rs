//! The part about the chat: rooms over TCP and a Unix socket, and a reader that does not keep up.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use filch::net::{TcpStream, UnixStream};

use super::wire::LineClient;
use super::{Error, Part};
use crate::chat::{Config, Limits, serve};

/// How many lines are said before all quick readers are waited for: fewer than a room keeps for a reader.
const BURST: usize = 32;

pub(super) async fn show(part: &mut Part) -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("chat.sock");
    let limits = Limits { backlog: 4 * BURST, ..Limits::default() };
    let config = Config { addr: Some("127.0.0.1:0".parse()?), unix: Some(path.clone()), limits };
    let server = serve(config).await?;
    let addr = server.addr().ok_or("the chat has no address")?;

    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let mut ann = LineClient::new(stream);
    let mut bob = LineClient::new(UnixStream::connect(&path).await?);
    for (client, name) in [(&mut ann as &mut dyn Talk, "ann"), (&mut bob, "bob")] {
        client.command(&format!("/nick {name}"), &format!("you are {name}")).await?;
        client.command("/join tour", "you are in tour").await?;
    }
    ann.say("hello over TCP").await?;
    let heard = bob.hear_of("<ann>").await?;
    bob.say("hello over a Unix socket").await?;
    let answered = ann.hear_of("<bob>").await?;
    let right = heard == "<ann> hello over TCP" && answered == "<bob> hello over a Unix socket";
    part.show(right, "two people talk, one over TCP and one over a Unix socket");

    rooms(part, addr, &path, &mut ann).await?;
    slow_reader(part, &path, &mut ann, &mut bob).await?;

    let stopping = filch::spawn(server.stop(Duration::from_secs(5)));
    ann.hear_of("the chat ends").await?;
    bob.hear_of("the chat ends").await?;
    let all_left = stopping.await? && ann.hear().await?.is_none() && bob.hear().await?.is_none();
    part.show(all_left && !path.exists(), "the chat ends: all are told, and nothing is left behind");
    Ok(())
}

async fn rooms(
    part: &mut Part,
    addr: SocketAddr,
    path: &Path,
    ann: &mut LineClient<TcpStream>,
) -> Result<(), Error> {
    let mut others = Vec::new();
    for n in 0..20 {
        let mut client = LineClient::new(UnixStream::connect(path).await?);
        client.say(&format!("/join room{}", n % 5)).await?;
        client.hear_of("you are in room").await?;
        others.push(client);
    }
    ann.say("/rooms").await?;
    let rooms = ann.hear_of("* rooms").await?;
    let right = rooms == "* rooms: room0 (4), room1 (4), room2 (4), room3 (4), room4 (4), tour (2)";
    others[0].say("only here").await?;
    let near = others[5].hear_of("<").await?;
    part.show(
        right && near.ends_with("> only here"),
        "20 more in five rooms; what is said in one is heard in that one",
    );
    let mut rude = LineClient::new(TcpStream::connect(addr).await?);
    rude.say(&"x".repeat(5000)).await?;
    rude.hear_of("goodbye").await?;
    // What it sent and nobody read may turn the end of the connection into a reset.
    let closed = matches!(rude.hear().await, Ok(None) | Err(_));
    part.show(closed, "a line without end is refused, and its sender dropped");
    Ok(())
}

async fn slow_reader(
    part: &mut Part,
    path: &Path,
    ann: &mut LineClient<TcpStream>,
    bob: &mut LineClient<UnixStream>,
) -> Result<(), Error> {
    let mut slow = LineClient::new(UnixStream::connect(path).await?);
    slow.say("/nick slow").await?;
    slow.hear_of("you are slow").await?;
    slow.say("/join tour").await?;
    slow.hear_of("you are in tour").await?;
    // The socket of who does not read fills up first, then the backlog of the room.
    let text = "x".repeat(900);
    let mut said = 0;
    while said < 2000 {
        for _ in 0..BURST {
            ann.say(&text).await?;
        }
        // Then ann has been told all of it too: her own lines pass her by, in the order of the room.
        for _ in 0..BURST {
            bob.hear_of("<ann>").await?;
        }
        bob.say("go on").await?;
        ann.hear_of("<bob> go on").await?;
        said += BURST;
    }
    let mut read = 0;
    let last = loop {
        match slow.hear().await? {
            Some(line) if line.contains("too slowly") => break line,
            Some(_) => read += 1,
            None => return Err("the slow reader was dropped without a word".into()),
        }
    };
    let dropped = slow.hear().await?.is_none();
    bob.hear_of("slow was dropped").await?;
    let claim =
        format!("who reads {read} of {said} lines is told and dropped ({last}); the others miss none");
    part.show(dropped && read < said, claim);
    Ok(())
}

/// Clients of both kinds in one list.
trait Talk {
    fn command<'a>(
        &'a mut self,
        line: &'a str,
        answer: &'a str,
    ) -> std::pin::Pin<Box<dyn Future<Output = std::io::Result<String>> + Send + 'a>>;
}

impl<S> Talk for LineClient<S>
where
    S: filch::io::AsyncRead + filch::io::AsyncWrite + Unpin + Send,
{
    fn command<'a>(
        &'a mut self,
        line: &'a str,
        answer: &'a str,
    ) -> std::pin::Pin<Box<dyn Future<Output = std::io::Result<String>> + Send + 'a>> {
        Box::pin(async move {
            self.say(line).await?;
            self.hear_of(answer).await
        })
    }
}
