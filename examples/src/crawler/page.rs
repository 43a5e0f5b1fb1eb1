//! Addresses, links, and what came of fetching a page.

use std::fmt;
use std::io;
use std::str::FromStr;

use hyper::Uri;

/// An `http://` address: host, port, path with query.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Address {
    host: String,
    port: u16,
    path: String,
}

impl Address {
    pub(super) fn new(host: String, port: u16, path: &str) -> Address {
        Address { host, port, path: path.to_owned() }
    }

    /// The host and port, as a header and a resolver take them.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The path, with its query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where a link on this page leads, if that is on the same host.
    pub fn follow(&self, link: &str) -> Option<Address> {
        let link = link.split('#').next().unwrap_or("").trim();
        if link.is_empty() || link.bytes().any(|b| b.is_ascii_control() || b == b' ') {
            return None;
        }
        let same_host =
            |other: Address| (other.host == self.host && other.port == self.port).then_some(other);
        if let Some(rest) = link.strip_prefix("//") {
            return same_host(format!("http://{rest}").parse().ok()?);
        }
        let before_path = link.split(['/', '?']).next().unwrap_or("");
        if before_path.contains(':') {
            return same_host(link.parse().ok()?);
        }
        let base = self.path.split('?').next().unwrap_or("/");
        let path = if link.starts_with('/') {
            normal(link)
        } else if link.starts_with('?') {
            format!("{base}{link}")
        } else {
            let folder = base.rfind('/').map_or("/", |end| &base[..=end]);
            normal(&format!("{folder}{link}"))
        };
        Some(Address { path, ..self.clone() })
    }
}

/// Removes `.` and `..` from a path, and leaves its query alone.
fn normal(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    // What ends in a dot part is a folder.
    if path.ends_with("/.") || path.ends_with("/..") {
        parts.push("");
    }
    format!("/{}{query}", parts.join("/"))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}{}", self.host, self.port, self.path)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let uri: Uri = text.parse().map_err(|error| format!("not an address: {error}"))?;
        if uri.scheme_str() != Some("http") {
            return Err("only `http://` addresses can be crawled".into());
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("the address names no host")?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { normal(path) } else { format!("/{path}") };
        Ok(Address { host: host.to_ascii_lowercase(), port: uri.port_u16().unwrap_or(80), path })
    }
}

/// A page that was fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// The status of the response.
    pub status: u16,
    /// How many bytes its body had.
    pub bytes: usize,
    /// Where its links lead, or its redirection; on the same host.
    pub links: Vec<Address>,
    /// Its title, if it is a page that has one.
    pub title: Option<String>,
}

impl Fetched {
    /// Reads the links of a page.
    pub(super) fn new(
        at: &Address,
        status: u16,
        location: Option<&str>,
        is_html: bool,
        body: &[u8],
    ) -> Fetched {
        let (mut links, mut title): (Vec<Address>, _) = (Vec::new(), None);
        if (300..400).contains(&status) {
            links.extend(location.and_then(|link| at.follow(link)));
        } else if is_html && status == 200 {
            let page = String::from_utf8_lossy(body);
            links.extend(find_links(&page).filter_map(|link| at.follow(&link)));
            title = find_title(&page).map(str::to_owned);
        }
        Fetched { status, bytes: body.len(), links, title }
    }
}

/// Finds each `href="..."` of a page. A parser would find more; a demo needs no more.
fn find_links(page: &str) -> impl Iterator<Item = String> + '_ {
    page.split("href=").skip(1).filter_map(|after| {
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let end = after[1..].find(quote)?;
        Some(after[1..=end].replace("&amp;", "&"))
    })
}

/// Finds what the first `title` of a page encloses.
fn find_title(page: &str) -> Option<&str> {
    let (_, after) = page.split_once("<title>")?;
    after.split_once("</title>").map(|(title, _)| title.trim())
}

/// Why a page could not be fetched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Failure {
    /// It took longer than a page may.
    Timeout,
    /// It has more bytes than a page may.
    TooLong,
    /// Nobody answers there.
    Connect,
    /// The connection ended in the middle, or what came was no HTTP.
    Broken,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::Timeout => "timeout",
            Failure::TooLong => "too long",
            Failure::Connect => "no connection",
            Failure::Broken => "broken off",
        })
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::Timeout,
            _ => Failure::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_where_a_browser_would_go() {
        let page: Address = "http://Host:81/a/b.html?q".parse().unwrap();
        let follow = |link: &str| page.follow(link).map(|to| to.path);
        assert_eq!(follow("c.html").as_deref(), Some("/a/c.html"));
        assert_eq!(follow("../c?x=../y").as_deref(), Some("/c?x=../y"));
        assert_eq!(follow("../../../c").as_deref(), Some("/c"));
        assert_eq!(follow("/d/./e/").as_deref(), Some("/d/e/"));
        assert_eq!(follow("..").as_deref(), Some("/"));
        assert_eq!(follow("?r").as_deref(), Some("/a/b.html?r"));
        assert_eq!(follow("http://host:81/z#top").as_deref(), Some("/z"));
        assert_eq!(follow("//host:81").as_deref(), Some("/"));
        for elsewhere in ["http://host/z", "https://host:81/", "mailto:a@b", "#top", "", "//other/x", "a b"] {
            assert_eq!(follow(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn addresses_that_cannot_be_crawled_are_refused() {
        for wrong in ["", "host", "https://host/", "http://", "http:///x", "ftp://host/"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
        let address: Address = "http://[::1]:8000".parse().unwrap();
        assert_eq!(address.to_string(), "http://[::1]:8000/");
    }

    #[test]
    fn links_are_found_in_either_quotes_and_unfinished_ones_are_not() {
        let page = "<a href=\"/a?x&amp;y\">.<a href='/b'>.<a href=c>.<a href=\"/d";
        assert_eq!(find_links(page).collect::<Vec<_>>(), ["/a?x&y", "/b"]);
    }

    #[test]
    fn the_title_is_what_the_first_one_encloses() {
        assert_eq!(find_title("<p><title> A b </title><title>C</title>"), Some("A b"));
        assert_eq!(find_title("<title>unfinished"), None);
        assert_eq!(find_title("no title"), None);
    }
}
