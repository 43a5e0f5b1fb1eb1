//! The demo `chat`: a line chat over TCP and Unix sockets, with rooms. `nc` is its client.
//!
//! Owns the command line, the two accept loops and the orderly end. `hall` knows rooms and names, `client` talks
//! to one client, `lines` cuts bytes into lines.

mod client;
mod hall;
mod lines;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use filch::net::{TcpListener, UnixListener};

pub use hall::Limits;

use crate::stop::{Ended, Stop, stop};
use hall::Hall;

pub(crate) const ABOUT: &str =
    "a line chat with rooms over TCP and Unix sockets; slow readers are dropped and told so";

/// A line chat over TCP and Unix sockets.
///
/// Its client is nc: `nc 127.0.0.1 7777`, or `nc -U /path/of/the/socket`. What a line that begins with a slash
/// does, /help tells. Who reads too slowly to keep up with a room is told so, and dropped.
#[derive(Debug, clap::Parser)]
#[command(name = "chat")]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7777")]
    addr: SocketAddr,
    /// Listen on a Unix socket of this path, too
    #[arg(long)]
    unix: Option<PathBuf>,
    /// How many lines of a room may wait for a slow reader
    #[arg(long, default_value_t = Limits::default().backlog)]
    backlog: usize,
    /// How many worker threads; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let args = match crate::parse::<Args>(arguments) {
        Ok(args) => args,
        Err(code) => return code,
    };
    if args.backlog == 0 {
        eprintln!("chat: --backlog must be at least 1: a line must fit somewhere");
        return ExitCode::from(crate::USAGE);
    }
    let runtime = match crate::runtime(args.workers) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    match runtime.block_on(until_ctrl_c(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn until_ctrl_c(args: Args) -> io::Result<()> {
    let limits = Limits { backlog: args.backlog, ..Limits::default() };
    let config = Config { addr: Some(args.addr), unix: args.unix.clone(), limits };
    let server = serve(config).await?;
    if let Some(addr) = server.addr() {
        println!("Chat on {addr}: try `nc {} {}` (ctrl-c ends it)", addr.ip(), addr.port());
    }
    if let Some(path) = &args.unix {
        println!("Chat on {}: try `nc -U {}`", path.display(), path.display());
    }
    filch::signal::ctrl_c().await?;
    println!("Ending.");
    server.stop(Duration::from_secs(2)).await;
    Ok(())
}

/// Where to listen, and what a client may take.
#[derive(Clone, Default, Debug)]
pub struct Config {
    /// A TCP address; port 0 takes a free one.
    pub addr: Option<SocketAddr>,
    /// The path of a Unix socket. It must not exist yet.
    pub unix: Option<PathBuf>,
    /// What a client may take.
    pub limits: Limits,
}

/// A chat that is running. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    addr: Option<SocketAddr>,
    unix: Option<PathBuf>,
    ended: Ended,
}

impl Server {
    /// Its TCP address.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Says goodbye to everybody, and returns whether they had all left within `grace`.
    pub async fn stop(self, grace: Duration) -> bool {
        self.ended.tell();
        filch::wait_for(self.ended.wait(), grace).await.is_ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.tell();
        if let Some(path) = &self.unix {
            // Ours: `bind` would not have had it otherwise.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Starts a chat on the runtime of the calling task.
///
/// # Errors
/// When an address cannot be had, or the path of the socket exists already.
pub async fn serve(config: Config) -> io::Result<Server> {
    let hall = Arc::new(Hall::new(config.limits));
    let (stop, ended) = stop();
    let mut server = Server { addr: None, unix: None, ended };
    if let Some(addr) = config.addr {
        let listener = TcpListener::bind(addr).await.map_err(|error| explain(&addr.to_string(), &error))?;
        server.addr = Some(listener.local_addr()?);
        let (hall, stop) = (hall.clone(), stop.clone());
        filch::spawn(async move {
            while let Some((stream, _)) = accept(|| listener.accept(), &stop).await {
                // A line is sent when it is there, and not held back until the one before is acknowledged.
                let _ = stream.set_nodelay(true);
                let (read, write) = stream.into_split();
                filch::spawn(client::serve(hall.clone(), read, write, stop.clone()));
            }
        });
    }
    if let Some(path) = config.unix {
        let listener = bind_unix(&path)?;
        server.unix = Some(path);
        filch::spawn(async move {
            while let Some((stream, _)) = accept(|| listener.accept(), &stop).await {
                let (read, write) = stream.into_split();
                filch::spawn(client::serve(hall.clone(), read, write, stop.clone()));
            }
        });
    }
    Ok(server)
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(path).map_err(|error| {
        let mut error = explain(&path.display().to_string(), &error);
        if error.kind() == io::ErrorKind::AddrInUse {
            let hint = format!("{error}: the path exists; remove it if no chat runs there");
            error = io::Error::new(error.kind(), hint);
        }
        error
    })
}

fn explain(address: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
}

/// The next connection; `None` when the chat ends.
async fn accept<F, S>(accept: impl Fn() -> F, stop: &Stop) -> Option<S>
where
    F: Future<Output = io::Result<S>>,
{
    loop {
        let accepted = filch::select! {
            biased;
            () = stop.told() => return None,
            accepted = accept() => accepted,
        };
        match accepted {
            Ok(accepted) => return Some(accepted),
            Err(error) => eprintln!("chat: accept: {error}"),
        }
    }
}
