//! Cuts what a client sends into lines that are safe to show to others.

use std::io;

use filch::io::{AsyncRead, AsyncReadExt};

/// Reads lines of limited length.
#[derive(Debug)]
pub(super) struct Lines<R> {
    read: R,
    longest: usize,
    buffer: Vec<u8>,
    /// How much of `buffer` has been searched for an end of line.
    searched: usize,
    ended: bool,
}

/// What was read.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Line {
    Text(String),
    TooLong,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(read: R, longest: usize) -> Lines<R> {
        Lines { read, longest, buffer: Vec::new(), searched: 0, ended: false }
    }

    /// The next line; `None` at the end. What stands after the last end of line is a line too.
    ///
    /// # Cancel safety
    /// **Strict.** What has been read stays in the buffer.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|&b| b == b'\n') {
                let rest = self.buffer.split_off(self.searched + end + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                self.searched = 0;
                return Ok(Some(self.line(&line[..line.len() - 1])));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > self.longest {
                return Ok(Some(Line::TooLong));
            }
            if self.ended {
                let line = std::mem::take(&mut self.buffer);
                self.searched = 0;
                return Ok((!line.is_empty()).then(|| self.line(&line)));
            }
            let mut piece = [0; 4096];
            let n = self.read.read(&mut piece).await?;
            self.buffer.extend_from_slice(&piece[..n]);
            self.ended = n == 0;
        }
    }

    fn line(&self, bytes: &[u8]) -> Line {
        if bytes.len() > self.longest {
            return Line::TooLong;
        }
        // A control character could move the cursor of everybody who reads this.
        Line::Text(String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Line> {
        let mut lines = Lines::new(bytes, 5);
        let mut found = Vec::new();
        filch::run(async {
            while let Some(line) = lines.next().await.unwrap() {
                let too_long = line == Line::TooLong;
                found.push(line);
                if too_long {
                    break;
                }
            }
        });
        found
    }

    #[test]
    fn lines_are_cut_and_cleaned() {
        let text = |text: &str| Line::Text(text.into());
        assert_eq!(all(b"a\nbc\r\n\nd"), [text("a"), text("bc"), text(""), text("d")]);
        assert_eq!(all(b"a\x1b[\xff\n"), [text("a[\u{fffd}")]);
        assert_eq!(all(b""), []);
        assert_eq!(all(b"12345\n123456\n"), [text("12345"), Line::TooLong]);
        assert_eq!(all(&[b'x'; 100_000]), [Line::TooLong]);
    }
}
