//! The header of an x86 Linux kernel image (Linux `Documentation/arch/x86/boot.rst`).

/// Offset of `setup_sects`: sectors of 512 bytes after the first; 0 means 4.
const SETUP_SECTORS: usize = 0x1f1;
/// Offset of `syssize`: the rest in units of 16 bytes.
const SYSTEM_SIZE: usize = 0x1f4;
/// Offset of `boot_flag`, which is 0xaa55.
const BOOT_FLAG: usize = 0x1fe;
/// Offset of `header`, which is "HdrS".
const HEADER: usize = 0x202;
/// Offset of `version`, the boot protocol's.
const PROTOCOL: usize = 0x206;
/// Offset of `kernel_version`: a pointer to text, less 0x200.
const KERNEL_VERSION: usize = 0x20e;
/// Offset of `loadflags`; bit 0 says the kernel is loaded high.
const LOAD_FLAGS: usize = 0x211;
/// Offset of `xloadflags`; bit 0 says that it has a 64-bit entry point.
const XLOAD_FLAGS: usize = 0x236;
/// The longest version text that is believed.
const MAX_VERSION: usize = 256;
/// 2.12 brought `xloadflags` and the 64-bit entry point.
const MIN_PROTOCOL: u16 = 0x020c;

/// A kernel image that a guest cannot boot.
#[derive(Debug, thiserror::Error)]
pub enum BzImageError {
    /// Not a bzImage at all.
    #[error("not an x86 Linux kernel image: {0}")]
    NotBzImage(&'static str),
    /// Less than the header announces.
    #[error(
        "the kernel image is cut short: it should have {expected} bytes at least, it has {found}"
    )]
    Short {
        /// What the header announces.
        expected: u64,
        /// The image's length.
        found: u64,
    },
    /// A boot protocol from before 64-bit entry.
    #[error("boot protocol {}.{:02} is too old; a confidential guest needs 2.12", .0 >> 8, .0 & 0xff)]
    Protocol(u16),
    /// 32-bit.
    #[error("the kernel is not a 64-bit one")]
    NotLong,
}

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BzImage {
    /// The whole version text: release, builder, number, date.
    pub version: String,
    /// The boot protocol, major in the high byte.
    pub protocol: u16,
    /// Whether the image is a PE file, as firmware needs it to start it.
    pub efi_stub: bool,
}

impl BzImage {
    /// Reads the header of the kernel image in `bytes`.
    ///
    /// # Errors
    /// When it is no bzImage, or one that no confidential guest can boot.
    pub fn parse(bytes: &[u8]) -> Result<Self, BzImageError> {
        let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let cut = BzImageError::NotBzImage("it is shorter than a setup header");
        let (Some(flag), Some(protocol)) = (u16_at(BOOT_FLAG), u16_at(PROTOCOL)) else {
            return Err(cut);
        };
        if flag != 0xaa55 || bytes.get(HEADER..HEADER + 4) != Some(b"HdrS") {
            return Err(BzImageError::NotBzImage("it has no `HdrS` at byte 0x202"));
        }
        if protocol < MIN_PROTOCOL {
            return Err(BzImageError::Protocol(protocol));
        }
        let long = u16_at(XLOAD_FLAGS).is_some_and(|flags| flags & 1 == 1);
        let high = bytes.get(LOAD_FLAGS).is_some_and(|flags| flags & 1 == 1);
        if !long || !high {
            return Err(BzImageError::NotLong);
        }
        let sectors = match bytes.get(SETUP_SECTORS) {
            Some(0) | None => 4,
            Some(sectors) => u64::from(*sectors),
        };
        let size = bytes.get(SYSTEM_SIZE..SYSTEM_SIZE + 4).and_then(|b| b.try_into().ok());
        let expected =
            (sectors + 1) * 512 + size.map_or(0, |b| u64::from(u32::from_le_bytes(b)) * 16);
        if expected > bytes.len() as u64 {
            return Err(BzImageError::Short { expected, found: bytes.len() as u64 });
        }
        let version = u16_at(KERNEL_VERSION)
            .filter(|pointer| *pointer != 0)
            .and_then(|pointer| bytes.get(usize::from(pointer) + 0x200..))
            .map(|text| text.iter().take(MAX_VERSION).take_while(|b| **b != 0))
            .map(|text| String::from_utf8_lossy(&text.copied().collect::<Vec<_>>()).into_owned())
            .unwrap_or_default();
        Ok(Self { version, protocol, efi_stub: bytes.starts_with(b"MZ") })
    }

    /// The release alone, as `uname -r` has it.
    pub fn release(&self) -> &str {
        self.version.split(' ').next().unwrap_or_default()
    }
}
