//! What the path of a request means: a file that is open, a listing, another address, or a refusal.
//!
//! Everything here blocks, and is called on the blocking pool.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What must be escaped in a link, over and above control characters and what is not ASCII.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'\'')
    .add(b'&');

/// The folder being served.
#[derive(Debug)]
pub struct Site {
    /// Without symbolic links, so that other paths can be compared with it.
    root: PathBuf,
}

/// What a path means.
#[derive(Debug)]
pub(super) enum Found {
    File {
        file: File,
        metadata: Metadata,
        path: PathBuf,
    },
    Listing(String),
    /// A folder, asked for without the slash at its end.
    Moved(String),
}

/// Why a path means nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// Not a path.
    Bad,
    /// It leads out of the folder, or the server may not read it.
    Forbidden,
    Missing,
    /// The server's own trouble.
    Failed,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
                Refused::Missing
            }
            io::ErrorKind::PermissionDenied => Refused::Forbidden,
            _ => Refused::Failed,
        }
    }
}

impl Site {
    /// Blocks, for the disk.
    ///
    /// # Errors
    /// When `root` is no folder, or cannot be read.
    pub fn open(root: &Path) -> io::Result<Site> {
        let explain = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", root.display()));
        let root = root.canonicalize().map_err(explain)?;
        // Now, and not at the first request, is the time to say that this is no folder.
        fs::read_dir(&root)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", root.display())))?;
        Ok(Site { root })
    }

    /// Finds what `path`, as it stands in a request, means.
    pub(super) fn find(&self, path: &str) -> Result<Found, Refused> {
        let relative = relative(path)?;
        let (file, metadata, real) = self.open_inside(&relative)?;
        if metadata.is_file() {
            return if path.ends_with('/') {
                Err(Refused::Missing)
            } else {
                Ok(Found::File { file, metadata, path: real })
            };
        }
        if !metadata.is_dir() {
            // A device, a pipe or a socket: never read by a stranger.
            return Err(Refused::Forbidden);
        }
        if !path.ends_with('/') {
            return Ok(Found::Moved(format!("{}/", link(&relative))));
        }
        match self.open_inside(&relative.join("index.html")) {
            Ok((file, metadata, path)) if metadata.is_file() => Ok(Found::File { file, metadata, path }),
            _ => Ok(Found::Listing(listing(&real, &relative)?)),
        }
    }

    /// Opens first and looks afterwards where the descriptor really is, so that nobody can put a link in its
    /// place between the look and the opening.
    fn open_inside(&self, relative: &Path) -> Result<(File, Metadata, PathBuf), Refused> {
        // Without blocking, since opening a pipe waits for its other end.
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(self.root.join(relative))?;
        let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        if !real.starts_with(&self.root) {
            return Err(Refused::Forbidden);
        }
        let metadata = file.metadata()?;
        Ok((file, metadata, real))
    }
}

/// Turns the path of a request into one that is relative to the folder and stays in it, links aside.
fn relative(path: &str) -> Result<PathBuf, Refused> {
    let path = path.strip_prefix('/').ok_or(Refused::Bad)?;
    let mut relative = PathBuf::new();
    for part in path.split('/') {
        let name: Vec<u8> = percent_decode_str(part).collect();
        match name.as_slice() {
            b"" | b"." => {}
            b".." => return Err(Refused::Forbidden),
            name if name.contains(&0) => return Err(Refused::Bad),
            // An encoded slash would let a part be more than one name.
            name if name.contains(&b'/') => return Err(Refused::Forbidden),
            name if name[0] == b'.' => return Err(Refused::Missing),
            name => relative.push(OsStr::from_bytes(name)),
        }
    }
    Ok(relative)
}

/// The address of a path of the folder.
fn link(relative: &Path) -> String {
    let mut link = String::new();
    for part in relative {
        let _ = write!(link, "/{}", percent_encoding::percent_encode(part.as_bytes(), ESCAPED));
    }
    link
}

/// A page that names what a folder holds.
fn listing(folder: &Path, relative: &Path) -> io::Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let mut name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            name.push('/');
        }
        names.push(name);
    }
    names.sort();
    let title = escape(&format!("/{}", relative.display()));
    let mut page = format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n"
    );
    if !relative.as_os_str().is_empty() {
        page.push_str("<li><a href=\"../\">../</a>\n");
    }
    for name in &names {
        // `./` keeps a name with a colon from being read as a scheme.
        let _ =
            writeln!(page, "<li><a href=\"./{}\">{}</a>", utf8_percent_encode(name, ESCAPED), escape(name));
    }
    page.push_str("</ul>\n");
    Ok(page)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_folder() {
        for path in ["/../x", "/a/../../x", "/%2e%2e/x", "/..%2fx", "/a/%2E%2E/b", "/a%2fb"] {
            assert_eq!(relative(path), Err(Refused::Forbidden), "{path}");
        }
        assert_eq!(relative("/.git/config"), Err(Refused::Missing));
        assert_eq!(relative("/a%00b"), Err(Refused::Bad));
        assert_eq!(relative("*"), Err(Refused::Bad));
        assert_eq!(relative("//a/./b%20c/"), Ok(PathBuf::from("a/b c")));
    }

    #[test]
    fn links_that_lead_out_are_refused_and_others_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(folder.path().join("secret"), "no").unwrap();
        fs::write(root.join("sub/a.txt"), "yes").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("out")).unwrap();
        std::os::unix::fs::symlink("sub/a.txt", root.join("in")).unwrap();
        let site = Site::open(&root).unwrap();
        assert_eq!(site.find("/out").unwrap_err(), Refused::Forbidden);
        assert!(matches!(site.find("/in"), Ok(Found::File { .. })));
        assert_eq!(site.find("/sub/a.txt/").unwrap_err(), Refused::Missing);
        assert!(matches!(site.find("/sub"), Ok(Found::Moved(to)) if to == "/sub/"));
        assert!(matches!(site.find("/sub/"), Ok(Found::Listing(page)) if page.contains("./a.txt")));
        assert!(Site::open(&root.join("none")).is_err());
    }

    #[test]
    fn a_pipe_is_refused_and_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let status = std::process::Command::new("mkfifo").arg(folder.path().join("p")).status().unwrap();
        assert!(status.success());
        let site = Site::open(folder.path()).unwrap();
        assert_eq!(site.find("/p").unwrap_err(), Refused::Forbidden);
        assert!(site.find("/s").is_err());
    }

    #[test]
    fn names_cannot_break_out_of_a_listing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("<b>\"&.txt"), "").unwrap();
        fs::write(folder.path().join("javascript:x"), "").unwrap();
        let page = listing(folder.path(), Path::new("")).unwrap();
        assert!(page.contains("&lt;b&gt;&quot;&amp;.txt") && page.contains("%3Cb%3E%22%26.txt"), "{page}");
        assert!(page.contains("href=\"./javascript:x\""), "{page}");
        assert!(!page.contains("<b>"));
    }
}
