//! Reads `newc` archives, ours and others', as the kernel does (Linux `init/initramfs.c`), but
//! strictly: where the kernel leaves a member out or stops in silence, this is an error that says
//! where. Nothing in an archive is believed, and memory does not grow with it.
//!
//! ```text
//! let mut reader = Reader::new(input);
//! while let Some(member) = reader.next_member()? {
//!     io::copy(&mut reader.data(), &mut out)?;   // or not: what is left unread is skipped
//! }
//! ```

use std::io::{self, Read};
use std::ops::Range;

use super::{DIRECTORY, MAGIC, REGULAR, SYMLINK, TRAILER};

/// `c_magic` of a member with a checksum.
const MAGIC_SUMMED: &str = "070702";

/// The magic, and thirteen fields of eight digits.
const HEADER_SIZE: usize = 110;

/// The bits of `c_mode` that say what a member is.
const TYPE_MASK: u32 = 0o170_000;

/// The kernel's PATH_MAX, with the NUL: it leaves out what has a longer name.
const NAME_MAX: u32 = 4096;

/// Bytes that are skipped at a time.
const CHUNK: usize = 1 << 16;

/// An archive that is being read, from its first byte to its last.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    /// Bytes read so far.
    at: u64,
    /// Of the member at hand, the bytes of data that were not yet read.
    left: u64,
    /// The sum of those that were.
    sum: u32,
    /// What the sum must be.
    expected: Option<u32>,
    /// Where the member at hand begins.
    member: u64,
    archives: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Before the first archive or behind one: zeroes, then another or the end.
    Between,
    /// In an archive, which must end with its trailer.
    Within,
    /// Behind everything, or behind an error.
    Done,
}

/// What an archive says of one member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// Its name without the NUL, as it stands there: mostly without a leading slash.
    pub name: Vec<u8>,
    /// `c_ino`. Members of one archive that share it, and the device, are links to one file, of
    /// which mostly the last has the data.
    pub ino: u32,
    /// `c_mode`: what it is, and its permissions.
    pub mode: u32,
    /// `c_uid`.
    pub uid: u32,
    /// `c_gid`.
    pub gid: u32,
    /// `c_nlink`.
    pub nlink: u32,
    /// `c_mtime`, in seconds since 1970.
    pub mtime: u32,
    /// `c_filesize`: of a file its contents, of a symbolic link its target.
    pub size: u32,
    /// `c_devmajor` and `c_devminor`: the device it was on.
    pub dev: (u32, u32),
    /// `c_rdevmajor` and `c_rdevminor`: the device that it is, if it is one.
    pub rdev: (u32, u32),
    /// `c_check`: the sum of the data's bytes if `summed`, and otherwise without a meaning.
    pub check: u32,
    /// Whether the magic is `070702`. A file's sum is checked when the next member is asked for.
    pub summed: bool,
    /// Which archive of those behind one another it is in, from 0.
    pub archive: u64,
    /// Where its header begins, in bytes from the first.
    pub offset: u64,
    /// Where its data are.
    pub data: Range<u64>,
}

/// What a member is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Type {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A device, a FIFO, a socket, or nothing that there is.
    Special,
}

/// Bytes that are no archive, or one that is damaged.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It ends in the midst of something.
    #[error("the archive ends at byte {at}, in {what}")]
    Short {
        /// Where it ends.
        at: u64,
        /// What would have come.
        what: &'static str,
    },
    /// A member is wrong.
    #[error("the member at byte {offset}: {what}")]
    Malformed {
        /// Where it begins.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The archive could not be read.
    #[error("failed reading the archive at byte {at}")]
    Io {
        /// Where.
        at: u64,
        /// Why.
        source: io::Error,
    },
}

impl<R: Read> Reader<R> {
    /// A reader of the archives in `input`. It reads in small pieces: a file should be buffered.
    pub fn new(input: R) -> Self {
        Self {
            input,
            at: 0,
            left: 0,
            sum: 0,
            expected: None,
            member: 0,
            archives: 0,
            state: State::Between,
        }
    }

    /// The next member, trailers left out, or `None` at the end. What was not read of the one before
    /// is skipped. After an error there is nothing more.
    ///
    /// # Errors
    /// When the archive is damaged, ends too early, or cannot be read.
    pub fn next_member(&mut self) -> Result<Option<Member>, ReadError> {
        let found = self.advance();
        if !matches!(found, Ok(Some(_))) {
            self.state = State::Done;
            (self.left, self.expected) = (0, None);
        }
        found
    }

    /// The data of the member at hand, from where they were left. They end too early only with an
    /// error.
    pub fn data(&mut self) -> Data<'_, R> {
        Data { reader: self }
    }

    /// How many archives were begun: an initrd may be several behind one another.
    pub fn archives(&self) -> u64 {
        self.archives
    }

    fn advance(&mut self) -> Result<Option<Member>, ReadError> {
        self.finish_member()?;
        loop {
            let mut header = [0; HEADER_SIZE];
            match self.state {
                State::Done => return Ok(None),
                State::Within => self.exactly(&mut header, "a member's header")?,
                State::Between => {
                    let Some(first) = self.skip_zeroes()? else { return Ok(None) };
                    header[0] = first;
                    self.exactly(&mut header[1..], "a member's header")?;
                    self.archives += 1;
                    self.state = State::Within;
                }
            }
            let member = self.member(&header)?;
            if member.name != TRAILER.as_bytes() {
                self.left = member.size.into();
                // Of links GNU cpio writes none; nor does the kernel look.
                let summed = member.summed && member.kind() == Type::File;
                self.expected = summed.then_some(member.check);
                self.member = member.offset;
                return Ok(Some(member));
            }
            if member.size != 0 {
                return Err(malformed(member.offset, "it marks the archive's end and has data"));
            }
            self.state = State::Between;
        }
    }

    /// The rest of a header, and the name behind it.
    fn member(&mut self, header: &[u8; HEADER_SIZE]) -> Result<Member, ReadError> {
        let offset = self.at - HEADER_SIZE as u64;
        // The kernel takes a header anywhere else for broken padding.
        if !offset.is_multiple_of(4) {
            return Err(malformed(offset, "it does not begin at a multiple of four bytes"));
        }
        let (magic, digits) = header.split_at(MAGIC.len());
        let summed = magic == MAGIC_SUMMED.as_bytes();
        if !summed && magic != MAGIC.as_bytes() {
            let shown = magic.escape_ascii();
            let what =
                format!("it begins with `{shown}` and not with `{MAGIC}` or `{MAGIC_SUMMED}`");
            return Err(malformed(offset, what));
        }
        let mut fields = [0; 13];
        for ((field, digits), name) in fields.iter_mut().zip(digits.chunks_exact(8)).zip(FIELDS) {
            *field = number(digits).ok_or_else(|| {
                let shown = digits.escape_ascii();
                malformed(
                    offset,
                    format!("its `{name}` is `{shown}`, not eight hexadecimal digits"),
                )
            })?;
        }
        let [ino, mode, uid, gid, nlink, mtime, size, major, minor, rmajor, rminor, name, check] =
            fields;
        let name = self.name(offset, name)?;
        let start = self.at;
        Ok(Member {
            name,
            ino,
            mode,
            uid,
            gid,
            nlink,
            mtime,
            size,
            dev: (major, minor),
            rdev: (rmajor, rminor),
            check,
            summed,
            archive: self.archives - 1,
            offset,
            data: start..start + u64::from(size),
        })
    }

    /// A name of so many bytes, with its NUL and the padding behind it.
    fn name(&mut self, offset: u64, size: u32) -> Result<Vec<u8>, ReadError> {
        if !(2..=NAME_MAX).contains(&size) {
            let what = format!("its name has {size} bytes; 2 to {NAME_MAX} are possible");
            return Err(malformed(offset, what));
        }
        let mut name = vec![0; usize::try_from(size).unwrap_or(0)];
        self.exactly(&mut name, "a member's name")?;
        let nul = name.iter().position(|byte| *byte == 0);
        match nul.map(|nul| nul + 1) {
            Some(end) if end == name.len() => name.truncate(end - 1),
            Some(_) => return Err(malformed(offset, "its name has a NUL before the end")),
            None => return Err(malformed(offset, "its name has no NUL at the end")),
        }
        self.padding(offset, "its name")?;
        Ok(name)
    }

    /// Reads what is left of the member at hand, and checks its sum.
    fn finish_member(&mut self) -> Result<(), ReadError> {
        if self.state != State::Within {
            return Ok(());
        }
        if self.left > 0 {
            let mut chunk = vec![0; CHUNK.min(usize::try_from(self.left).unwrap_or(CHUNK))];
            while self.left > 0 {
                let count = chunk.len().min(usize::try_from(self.left).unwrap_or(CHUNK));
                self.exactly(&mut chunk[..count], "a member's data")?;
                self.took(&chunk[..count]);
            }
        }
        let (found, expected) = (std::mem::take(&mut self.sum), self.expected.take());
        if let Some(expected) = expected
            && expected != found
        {
            let what = format!("its data sum up to {found:#010x}, not to {expected:#010x}");
            return Err(malformed(self.member, what));
        }
        self.padding(self.member, "its data")
    }

    /// Accounts for data of the member at hand.
    fn took(&mut self, bytes: &[u8]) {
        self.left = self.left.saturating_sub(bytes.len() as u64);
        if self.expected.is_some() {
            self.sum = bytes.iter().fold(self.sum, |sum, byte| sum.wrapping_add((*byte).into()));
        }
    }

    /// Zeroes up to a multiple of four bytes.
    fn padding(&mut self, offset: u64, what: &str) -> Result<(), ReadError> {
        let excess = usize::try_from(self.at % 4).unwrap_or(0);
        let mut zeroes = [0; 4];
        let zeroes = &mut zeroes[..(4 - excess) % 4];
        self.exactly(zeroes, "a member's padding")?;
        match zeroes.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(malformed(offset, format!("what pads {what} is not zero"))),
        }
    }

    /// The first byte that is not zero, or `None` at the end.
    fn skip_zeroes(&mut self) -> Result<Option<u8>, ReadError> {
        let mut byte = [0];
        loop {
            if self.fill(&mut byte)? == 0 {
                return Ok(None);
            }
            if byte != [0] {
                return Ok(Some(byte[0]));
            }
        }
    }

    fn exactly(&mut self, buffer: &mut [u8], what: &'static str) -> Result<(), ReadError> {
        match self.fill(buffer)? == buffer.len() {
            true => Ok(()),
            false => Err(ReadError::Short { at: self.at, what }),
        }
    }

    /// Reads until the buffer is full or nothing more comes; says how much came.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let mut count = 0;
        while count < buffer.len() {
            match self.input.read(&mut buffer[count..]) {
                Ok(0) => break,
                Ok(more) => {
                    count += more;
                    self.at += more as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ReadError::Io { at: self.at, source }),
            }
        }
        Ok(count)
    }
}

/// The data of one member.
#[derive(Debug)]
pub struct Data<'a, R> {
    reader: &'a mut Reader<R>,
}

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.reader.left).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        if count == 0 {
            return Ok(0);
        }
        let count = self.reader.input.read(&mut buffer[..count])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.reader.at += count as u64;
        self.reader.took(&buffer[..count]);
        Ok(count)
    }
}

impl Member {
    /// What it is.
    pub fn kind(&self) -> Type {
        match self.mode & TYPE_MASK {
            DIRECTORY => Type::Directory,
            REGULAR => Type::File,
            SYMLINK => Type::Symlink,
            _ => Type::Special,
        }
    }

    /// Its permission bits.
    pub fn permissions(&self) -> u16 {
        u16::try_from(self.mode & 0o7777).unwrap_or(0)
    }
}

/// The fields of a header, in their order (`buffer-format.rst`).
const FIELDS: [&str; 13] = [
    "c_ino",
    "c_mode",
    "c_uid",
    "c_gid",
    "c_nlink",
    "c_mtime",
    "c_filesize",
    "c_devmajor",
    "c_devminor",
    "c_rdevmajor",
    "c_rdevminor",
    "c_namesize",
    "c_check",
];

/// Hexadecimal digits of either case: others write capitals.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        Some(number << 4 | digit)
    })
}

fn malformed(offset: u64, what: impl Into<String>) -> ReadError {
    ReadError::Malformed { offset, what: what.into() }
}
