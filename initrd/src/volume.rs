//! What the kernel's command line says of a volume, as one word:
//!
//! `counterfoil.volume.NAME=BLOCKS,ROOT,SALT,panic|restart`
//!
//! `BLOCKS` is the number of data blocks of 4096 bytes, in decimal, and the hash tree follows them;
//! `ROOT` is the root hash of the tree, in hexadecimal; `SALT` is the salt in hexadecimal, `-` for none,
//! or `disk` for 32 bytes that follow the tree. The last word is what the kernel does when a block is not what
//! the tree says. The command line is measured, and so are all of these.
//!
//! `counterfoil.volume.NAME=unverified` is a volume that nothing is known of: the disk is mounted as it
//! is, and the host can have anything on it.
//!
//! A salt on the disk binds no less: whoever changes it, or anything else, must find other data with
//! the same root hash. What it is for is to keep the root hash from telling which data it is of.

use core::fmt;

/// What a volume's word begins with, before its name.
pub const PREFIX: &str = "counterfoil.volume.";

/// What stands in the place of the parameters where a volume is not verified.
pub const UNVERIFIED: &str = "unverified";

/// What stands in the place of a salt that is on the disk.
pub const ON_DISK: &str = "disk";

/// The size of a block, of data or of the tree.
pub const BLOCK: u64 = 4096;

/// How many digests of SHA-256 a block of the tree holds.
const PER_BLOCK: u64 = BLOCK / 32;

/// The size of a salt that is on the disk, in bytes.
pub const SALT_ON_DISK: usize = 32;

/// The longest salt, in hexadecimal digits (Linux, drivers/md/dm-verity-target.c, takes 256 bytes;
/// nobody needs as many).
const MAX_SALT: usize = 128;

/// A volume's name: lower-case letters, digits and inner hyphens, at most 20 bytes, which is what the
/// serial number of a virtio disk holds (VIRTIO 1.2, section 5.2.6, VIRTIO_BLK_T_GET_ID).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct VolumeName<'a>(&'a str);

/// What the command line says of a volume.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Binding<'a> {
    /// Which bytes it has.
    Verified(Volume<'a>),
    /// Nothing: they are the host's to choose.
    Unverified,
}

/// A volume as the command line binds it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Volume<'a> {
    /// The name, which is the serial number of the disk that the guest looks for.
    pub name: VolumeName<'a>,
    /// The number of data blocks, not zero.
    pub data_blocks: u64,
    /// The root hash, 64 lower-case hexadecimal digits.
    pub root: &'a str,
    /// The salt.
    pub salt: Salt<'a>,
    /// What the kernel does about a wrong block.
    pub on_corruption: OnCorruption,
}

/// Where the salt is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Salt<'a> {
    /// On the command line, as a device-mapper table has it: lower-case hexadecimal digits, or `-`.
    Said(&'a str),
    /// On the disk, behind the tree.
    OnDisk,
}

/// What the kernel does when a block is not what the tree says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnCorruption {
    /// It panics.
    Panic,
    /// It restarts.
    Restart,
}

/// Why a word is not taken, or there is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "`Display` says it")]
pub enum VolumeError {
    Name,
    Missing,
    Twice,
    Form,
    Blocks,
    Root,
    Salt,
    Action,
}

impl<'a> VolumeName<'a> {
    /// # Errors
    /// If this is not such a name.
    pub fn new(name: &'a str) -> Result<Self, VolumeError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let edges = name.starts_with('-') || name.ends_with('-');
        if name.is_empty() || name.len() > 20 || edges || !name.bytes().all(allowed) {
            return Err(VolumeError::Name);
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

impl<'a> Binding<'a> {
    /// What a command line says of the volume of this name.
    ///
    /// # Errors
    /// If there is no word for it, or several, or it is not of a form above.
    pub fn find(cmdline: &'a str, name: VolumeName<'a>) -> Result<Self, VolumeError> {
        let mut words = cmdline.split_ascii_whitespace().filter_map(|word| {
            word.strip_prefix(PREFIX)?.strip_prefix(name.as_str())?.strip_prefix('=')
        });
        let word = words.next().ok_or(VolumeError::Missing)?;
        match (words.next(), word) {
            (Some(_), _) => Err(VolumeError::Twice),
            (None, UNVERIFIED) => Ok(Self::Unverified),
            (None, _) => Volume::parse(name, word).map(Self::Verified),
        }
    }
}

impl<'a> Volume<'a> {
    fn parse(name: VolumeName<'a>, word: &'a str) -> Result<Self, VolumeError> {
        let mut parts = word.split(',');
        let mut part = || parts.next().ok_or(VolumeError::Form);
        let (blocks, root, salt, action) = (part()?, part()?, part()?, part()?);
        if parts.next().is_some() {
            return Err(VolumeError::Form);
        }
        let plain = !blocks.starts_with('0') && blocks.bytes().all(|b| b.is_ascii_digit());
        let data_blocks = blocks.parse().ok().filter(|_| plain).ok_or(VolumeError::Blocks)?;
        let hex =
            |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if root.len() != 64 || !hex(root) {
            return Err(VolumeError::Root);
        }
        let salt = match salt {
            ON_DISK => Salt::OnDisk,
            "-" => Salt::Said(salt),
            "" => return Err(VolumeError::Salt),
            _ if salt.len() <= MAX_SALT && salt.len() % 2 == 0 && hex(salt) => Salt::Said(salt),
            _ => return Err(VolumeError::Salt),
        };
        let on_corruption = match action {
            "panic" => OnCorruption::Panic,
            "restart" => OnCorruption::Restart,
            _ => return Err(VolumeError::Action),
        };
        let volume = Self { name, data_blocks, root, salt, on_corruption };
        // So many that a size in bytes is still a number.
        volume.bytes().ok_or(VolumeError::Blocks).map(|_| volume)
    }

    /// The first block behind the tree.
    fn end(&self) -> Option<u64> {
        let (mut blocks, mut end) = (self.data_blocks, self.data_blocks);
        while blocks > 1 {
            blocks = blocks.div_ceil(PER_BLOCK);
            end = end.checked_add(blocks)?;
        }
        Some(end)
    }

    /// Where the salt on the disk is, if it is there: in bytes from its start.
    pub fn salt_at(&self) -> Option<u64> {
        matches!(self.salt, Salt::OnDisk).then(|| self.end()?.checked_mul(BLOCK)).flatten()
    }

    /// How large a disk has to be, in bytes. `None` if no number is large enough to say it.
    pub fn bytes(&self) -> Option<u64> {
        let salt = u64::from(matches!(self.salt, Salt::OnDisk));
        self.end()?.checked_add(salt)?.checked_mul(BLOCK)
    }
}

impl fmt::Display for Volume<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, data_blocks, root, salt, on_corruption } = self;
        let salt = match salt {
            Salt::Said(salt) => salt,
            Salt::OnDisk => ON_DISK,
        };
        write!(f, "{PREFIX}{name}={data_blocks},{root},{salt},{on_corruption}")
    }
}

impl fmt::Display for OnCorruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panic => "panic",
            Self::Restart => "restart",
        })
    }
}

impl fmt::Display for VolumeName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for VolumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "not a volume's name: lower-case letters, digits and hyphens, at most 20",
            Self::Missing => "nothing on the command line binds it",
            Self::Twice => "the command line binds it twice",
            Self::Form => "not of the form BLOCKS,ROOT,SALT,ACTION",
            Self::Blocks => "not a number of blocks",
            Self::Root => "not a root hash",
            Self::Salt => "not a salt",
            Self::Action => "neither panic nor restart",
        })
    }
}

impl core::error::Error for VolumeError {}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::ToString as _;

    use super::*;

    const ROOT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn name(text: &str) -> VolumeName<'_> {
        VolumeName::new(text).unwrap()
    }

    fn binding(word: &str) -> Result<Binding<'static>, VolumeError> {
        let cmdline = format!("initrd=initrd console=ttyS0 {word} panic=-1").leak();
        Binding::find(cmdline, name("model"))
    }

    fn find(word: &str) -> Result<Volume<'static>, VolumeError> {
        binding(word).map(|binding| match binding {
            Binding::Verified(volume) => volume,
            Binding::Unverified => panic!("{word} is not verified"),
        })
    }

    #[test]
    fn what_is_not_verified_says_so() {
        let word = "counterfoil.volume.model=unverified";
        assert_eq!(binding(word), Ok(Binding::Unverified));
        let both = format!("{word} counterfoil.volume.model=1,{ROOT},-,panic");
        assert_eq!(binding(&both), Err(VolumeError::Twice));
        assert_eq!(binding(&format!("{word},panic")), Err(VolumeError::Form));
        assert_eq!(binding("counterfoil.volume.model=unverified="), Err(VolumeError::Form));
    }

    #[test]
    fn a_word_is_read_and_written() {
        for (salt, action) in [("disk", "panic"), ("-", "restart"), ("00ff", "panic")] {
            let word = format!("counterfoil.volume.model=129,{ROOT},{salt},{action}");
            assert_eq!(find(&word).unwrap().to_string(), word);
        }
        let volume = find(&format!("counterfoil.volume.model=129,{ROOT},disk,panic")).unwrap();
        // Two blocks of hashes, and one above them.
        assert_eq!(volume.salt_at(), Some((129 + 3) * 4096));
        assert_eq!(volume.bytes(), Some((129 + 4) * 4096));
        let volume = find(&format!("counterfoil.volume.model=1,{ROOT},-,panic")).unwrap();
        assert_eq!((volume.bytes(), volume.salt_at()), (Some(4096), None));
    }

    #[test]
    fn other_words_are_not_taken() {
        use VolumeError as E;
        let word = |rest: &str| find(&format!("counterfoil.volume.model={rest}"));
        assert_eq!(find(""), Err(E::Missing));
        assert_eq!(find(&format!("counterfoil.volume.models=1,{ROOT},-,panic")), Err(E::Missing));
        assert_eq!(find(&format!("counterfoil.volume.mode=1,{ROOT},-,panic")), Err(E::Missing));
        let one = format!("counterfoil.volume.model=1,{ROOT},-,panic");
        assert_eq!(find(&format!("{one} {one}")), Err(E::Twice));
        assert_eq!(word(&format!("1,{ROOT},panic")), Err(E::Form));
        assert_eq!(word(&format!("1,{ROOT},-,panic,")), Err(E::Form));
        for blocks in ["", "0", "01", "+1", "1 ", "18446744073709551616", "4503599627370496"] {
            assert!(word(&format!("{blocks},{ROOT},-,panic")).is_err(), "{blocks}");
        }
        assert_eq!(word(&format!("1,{},-,panic", &ROOT[1..])), Err(E::Root));
        assert_eq!(word(&format!("1,{},-,panic", ROOT.to_uppercase())), Err(E::Root));
        for salt in ["", "0", "--", "FF"] {
            assert_eq!(word(&format!("1,{ROOT},{salt},panic")), Err(E::Salt));
        }
        assert_eq!(word(&format!("1,{ROOT},{},panic", "00".repeat(65))), Err(E::Salt));
        assert_eq!(word(&format!("1,{ROOT},-,ignore")), Err(E::Action));
    }

    #[test]
    fn names() {
        for good in ["a", "model-7b", "0", "abcdefghijklmnopqrst"] {
            assert!(VolumeName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a b", "abcdefghijklmnopqrstu"] {
            assert!(VolumeName::new(bad).is_err(), "{bad}");
        }
    }
}
