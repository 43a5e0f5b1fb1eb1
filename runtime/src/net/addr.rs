//! Layer 3, net. From what a user writes as an address to socket addresses, and errors that name them.
//!
//! Owns which forms need the resolver. `getaddrinfo` blocks, so a host name is looked up on the blocking pool;
//! a literal address never goes there. Called by the constructors of `tcp` and `udp`.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::Path;
use std::vec;

/// What can be taken for an address: a [`SocketAddr`] or its parts, `"127.0.0.1:80"`, `"example.org:80"`,
/// `("example.org", 80)`, or a slice of socket addresses.
///
/// Host names are looked up on the blocking pool. The trait is implemented here only.
pub trait ToSocketAddrs: sealed::ToAddrs {}

impl<T: sealed::ToAddrs + ?Sized> ToSocketAddrs for T {}

mod sealed {
    /// What is meant, before the resolver was asked.
    #[derive(Debug)]
    pub enum Addrs {
        /// Socket addresses, as they were given.
        Known(Vec<std::net::SocketAddr>),
        /// A host, to be looked up, and a port.
        Host(String, u16),
    }

    /// The work of `ToSocketAddrs`.
    pub trait ToAddrs {
        /// Reads the address.
        fn to_addrs(&self) -> std::io::Result<Addrs>;
    }
}

use sealed::{Addrs, ToAddrs};

macro_rules! known {
    ($($ty:ty),*) => {$(
        impl ToAddrs for $ty {
            fn to_addrs(&self) -> io::Result<Addrs> {
                Ok(Addrs::Known(vec![SocketAddr::from(*self)]))
            }
        }
    )*};
}

known!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl ToAddrs for [SocketAddr] {
    fn to_addrs(&self) -> io::Result<Addrs> {
        Ok(Addrs::Known(self.to_vec()))
    }
}

impl<const N: usize> ToAddrs for [SocketAddr; N] {
    fn to_addrs(&self) -> io::Result<Addrs> {
        self[..].to_addrs()
    }
}

impl ToAddrs for Vec<SocketAddr> {
    fn to_addrs(&self) -> io::Result<Addrs> {
        self[..].to_addrs()
    }
}

impl ToAddrs for (&str, u16) {
    fn to_addrs(&self) -> io::Result<Addrs> {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(ip) => (ip, port).to_addrs(),
            Err(_) => Ok(Addrs::Host(host.to_owned(), port)),
        }
    }
}

impl ToAddrs for (String, u16) {
    fn to_addrs(&self) -> io::Result<Addrs> {
        (self.0.as_str(), self.1).to_addrs()
    }
}

impl ToAddrs for str {
    fn to_addrs(&self) -> io::Result<Addrs> {
        if let Ok(addr) = self.parse::<SocketAddr>() {
            return addr.to_addrs();
        }
        let (host, port) = self.rsplit_once(':').ok_or_else(|| unreadable(self, "it has no port"))?;
        let port = port.parse().map_err(|_| unreadable(self, "its port is not a number from 0 to 65535"))?;
        if host.is_empty() {
            return Err(unreadable(self, "it has no host; 0.0.0.0 means every interface"));
        }
        if host.contains(':') {
            return Err(unreadable(self, "an IPv6 address goes into brackets: [::1]:8080"));
        }
        (host, port).to_addrs()
    }
}

impl ToAddrs for String {
    fn to_addrs(&self) -> io::Result<Addrs> {
        self.as_str().to_addrs()
    }
}

impl<T: ToAddrs + ?Sized> ToAddrs for &T {
    fn to_addrs(&self) -> io::Result<Addrs> {
        (**self).to_addrs()
    }
}

fn unreadable(text: &str, why: &str) -> io::Error {
    let message = format!("cannot read {text:?} as an address: {why} (want host:port, as in 127.0.0.1:8080)");
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Looks up the addresses of a host.
///
/// Literal addresses are returned at once. Anything else goes to the system's resolver, on the blocking pool.
///
/// # Errors
/// When the text is not an address, when the resolver knows none, and outside of a runtime.
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// filch::run(async {
///     let addresses: Vec<_> = filch::net::lookup_host("127.0.0.1:80").await?.collect();
///     assert_eq!(addresses, ["127.0.0.1:80".parse().unwrap()]);
///     Ok(())
/// })
/// # }
/// ```
///
/// # Cancel safety
/// **Strict.** The resolver cannot be stopped: when dropped, its answer is thrown away.
pub async fn lookup_host(host: impl ToSocketAddrs) -> io::Result<impl Iterator<Item = SocketAddr>> {
    resolve(host).await
}

/// As `lookup_host`, but never with an empty result.
pub(super) async fn resolve(host: impl ToSocketAddrs) -> io::Result<vec::IntoIter<SocketAddr>> {
    let addrs = match host.to_addrs()? {
        Addrs::Known(addrs) => addrs,
        Addrs::Host(host, port) => {
            // An error, where `spawn_blocking` panics.
            crate::context::scheduler()?;
            let name = host.clone();
            let look_up = move || {
                std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), port))
                    .map(Iterator::collect::<Vec<_>>)
            };
            let found = crate::spawn_blocking(look_up).await.map_err(io::Error::other)?;
            found.map_err(|error| {
                explain(
                    &format!("look up host {name:?}"),
                    "is it spelt right, and is there a network?",
                    error,
                )
            })?
        }
    };
    if addrs.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the list of addresses is empty"));
    }
    Ok(addrs.into_iter())
}

/// Tries `attempt` with each address of `host` in turn. The error is that of the last.
pub(super) async fn first_of<T>(
    host: impl ToSocketAddrs,
    mut attempt: impl AsyncFnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut addrs = resolve(host).await?;
    loop {
        // `resolve` gives at least one, and the last is returned below.
        let addr = addrs.next().ok_or(io::ErrorKind::InvalidInput)?;
        match attempt(addr).await {
            Err(_) if addrs.len() > 0 => {}
            result => return result,
        }
    }
}

/// An error of the system, with what was tried and what helps. The kind is the same, and so is the source.
#[derive(Debug)]
struct Explained {
    doing: String,
    hint: &'static str,
    source: io::Error,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.doing, self.source)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "; {}", self.hint) }
    }
}

impl std::error::Error for Explained {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn explain(doing: &str, hint: &'static str, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), Explained { doing: doing.to_owned(), hint, source })
}

/// `cannot listen on 127.0.0.1:80: Permission denied (os error 13); ports below 1024 take ...`.
pub(super) fn explain_address(doing: &str, address: SocketAddr, source: io::Error) -> io::Error {
    let hint = match source.kind() {
        io::ErrorKind::AddrInUse => "the port is in use: choose another, or 0 for any that is free",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address, or no port is free",
        io::ErrorKind::PermissionDenied => "ports below 1024 take a privilege: choose a higher one",
        io::ErrorKind::ConnectionRefused => "nobody listens there: has the server been started?",
        _ => "",
    };
    explain(&format!("{doing} {address}"), hint, source)
}

/// The same for the path of a Unix socket.
pub(super) fn explain_path(doing: &str, path: &Path, source: io::Error) -> io::Error {
    let hint = match source.kind() {
        io::ErrorKind::AddrInUse => "the file is there already: remove it, unless a server still uses it",
        io::ErrorKind::PermissionDenied => "check the rights of the file and of its folder",
        io::ErrorKind::ConnectionRefused => "the file is there, but nobody listens: has its server ended?",
        io::ErrorKind::NotFound => "there is no such file or folder: has the server been started?",
        _ => "",
    };
    explain(&format!("{doing} {}", path.display()), hint, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match text.to_addrs() {
            Ok(Addrs::Known(addrs)) => format!("{addrs:?}"),
            Ok(Addrs::Host(host, port)) => format!("{host} at {port}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn text_is_read_or_the_error_says_what_is_wrong() {
        assert_eq!(read("127.0.0.1:80"), "[127.0.0.1:80]");
        assert_eq!(read("[::1]:80"), "[[::1]:80]");
        assert_eq!(read("example.org:80"), "example.org at 80");
        for (text, part) in [
            ("localhost", "no port"),
            ("localhost:http", "not a number"),
            ("localhost:70000", "not a number"),
            (":80", "no host"),
            ("::1:80", "brackets"),
            ("", "no port"),
        ] {
            assert!(read(text).contains(part), "{text:?}: {}", read(text));
        }
    }

    #[test]
    fn an_explained_error_keeps_kind_and_source() {
        let denied = io::Error::from_raw_os_error(libc::EACCES);
        let error = explain_address("listen on", ([127, 0, 0, 1], 80).into(), denied);
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let text = error.to_string();
        assert!(text.starts_with("cannot listen on 127.0.0.1:80: Permission denied"), "{text}");
        assert!(text.ends_with("choose a higher one"), "{text}");
        let source = std::error::Error::source(error.get_ref().unwrap()).unwrap();
        assert_eq!(source.downcast_ref::<io::Error>().unwrap().raw_os_error(), Some(libc::EACCES));
    }
}
